//! Bins at rest: an open bin as bytes, a tenth of the memory, that need no client table.
//!
//! A bin that has closed is kept for an hour, since late lines may come. Until one does it is *frozen*: rows
//! with the addresses themselves, names as sorted hashes of which only the differences are written. Thawing gives
//! the bin back, byte for byte what counting goes on with. The same bytes stand in the snapshot.
//!
//! Form: LEB128 varints. For each kind that occurs its code plus one, the number of rows and the rows (client,
//! count, recipients, a mask of query types and their counts); 0; the level and whether a counter stood at its
//! end; the number of queries and the queries, by rising upper half of the hash. The lower half of a hash is not
//! kept: nothing that is counted looks at it.

use crate::event::{Kind, QueryType};

use super::address::Client;
use super::bins::{ASKED_MOST, Asked, BinKey, OpenBin, Told};
use super::intern::{Interner, NONE, SHED};

/// Appends a number.
pub fn put(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// Takes a number; none where the bytes end.
pub fn take(from: &mut &[u8]) -> Option<u64> {
    let mut n = 0u64;
    for shift in (0..64).step_by(7) {
        let (&b, rest) = from.split_first()?;
        *from = rest;
        n |= u64::from(b & 0x7f) << shift;
        if b & 0x80 == 0 {
            return Some(n);
        }
    }
    None
}

fn take_u32(from: &mut &[u8]) -> Option<u32> {
    take(from).and_then(|n| u32::try_from(n).ok())
}

/// Appends a client: a letter and what it needs.
pub fn put_client(out: &mut Vec<u8>, clients: &Interner, id: u32) {
    match (id, clients.text(id).and_then(Client::parse_canonical)) {
        (NONE, _) | (_, None) => out.push(0),
        (SHED, _) => out.push(1),
        (_, Some(Client::V4(a))) => {
            out.push(4);
            out.extend_from_slice(&a.octets());
        }
        (_, Some(Client::V6(a, prefix))) => {
            out.extend_from_slice(&[6, prefix]);
            out.extend_from_slice(&a.octets());
        }
        (_, Some(Client::Name(name))) => {
            out.push(7);
            put(out, name.len() as u64);
            out.extend_from_slice(name.as_bytes());
        }
    }
}

/// Takes a client; its number in `clients`, which makes room for it even at its bound.
pub fn take_client(from: &mut &[u8], clients: &mut Interner) -> Option<u32> {
    let (&tag, rest) = from.split_first()?;
    *from = rest;
    let client = match tag {
        0 => return Some(NONE),
        1 => return Some(SHED),
        4 => {
            let (octets, rest) = from.split_first_chunk::<4>()?;
            *from = rest;
            Client::V4((*octets).into())
        }
        6 => {
            let (head, rest) = from.split_first_chunk::<17>()?;
            *from = rest;
            let octets: [u8; 16] = head.get(1..)?.try_into().ok()?;
            Client::V6(octets.into(), head[0])
        }
        7 => {
            let n = usize::try_from(take(from)?).ok()?;
            let (name, rest) = from.split_at_checked(n)?;
            *from = rest;
            Client::Name(std::str::from_utf8(name).ok()?.into())
        }
        _ => return None,
    };
    Some(clients.take_in(client))
}

/// The bin as bytes. Its queries are folded; the details know them.
pub fn freeze(bin: &mut OpenBin, clients: &Interner, names_most: usize) -> Vec<u8> {
    bin.fold(names_most);
    let mut out = Vec::with_capacity(64 + bin.asked.len() * 7);
    for (kind, table) in Kind::ALL.iter().zip(&bin.tables) {
        let Some(table) = table else { continue };
        put(&mut out, *kind as u64 + 1);
        put(&mut out, table.rows.len() as u64);
        for row in &table.rows {
            put_client(&mut out, clients, row.client);
            put(&mut out, u64::from(row.count));
            put(&mut out, u64::from(row.recipients));
            if *kind == Kind::DnsQuery {
                let mask = row.types.iter().enumerate().filter(|(_, n)| **n > 0);
                put(&mut out, mask.fold(0, |m, (q, _)| m | 1 << q));
                for &n in row.types.iter().filter(|n| **n > 0) {
                    put(&mut out, u64::from(n));
                }
            }
        }
    }
    put(&mut out, 0);
    put(&mut out, u64::from(bin.level) << 1 | u64::from(bin.saturated));
    put(&mut out, bin.asked.len() as u64);
    let mut before = 0;
    for a in &bin.asked {
        let name = a.hash >> 32;
        put(&mut out, name - before);
        before = name;
        put(&mut out, u64::from(a.row));
        put(
            &mut out,
            u64::from((a.what & ASKED_MOST) << 4) | u64::from(a.what >> 28),
        );
    }
    out.shrink_to_fit();
    out
}

/// The bin of such bytes; none if they are no bin.
pub fn thaw(bytes: &[u8], key: BinKey, told: Told, clients: &mut Interner) -> Option<OpenBin> {
    let mut from = bytes;
    let mut bin = OpenBin::new(key);
    bin.told = told;
    loop {
        let code = take(&mut from)?;
        let Some(code) = code.checked_sub(1) else { break };
        let kind = *Kind::ALL.get(usize::try_from(code).ok()?)?;
        for _ in 0..take(&mut from)? {
            let client = take_client(&mut from, clients)?;
            let (_, row) = bin.row(kind, client);
            row.count = take_u32(&mut from)?;
            row.recipients = take_u32(&mut from)?;
            if kind == Kind::DnsQuery {
                let mask = take(&mut from)?;
                for q in 0..QueryType::COUNT {
                    if mask & 1 << q != 0 {
                        row.types[q] = take_u32(&mut from)?;
                    }
                }
            }
        }
    }
    let flags = take(&mut from)?;
    bin.saturated = flags & 1 != 0;
    bin.level = u8::try_from(flags >> 1).ok()?;
    let n = usize::try_from(take(&mut from)?).ok()?;
    let mut asked = Vec::with_capacity(n.min(bytes.len()));
    let mut name = 0u64;
    for _ in 0..n {
        name = name.checked_add(take(&mut from)?)?;
        let row = take_u32(&mut from)?;
        let what = take(&mut from)?;
        asked.push(Asked {
            hash: name << 32,
            row,
            what: u32::try_from((what & 0xf) << 28 | what >> 4).ok()?,
        });
    }
    bin.digested = asked.len();
    bin.asked = asked;
    from.is_empty().then_some(bin)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_bin_comes_back() {
        let key = BinKey {
            minute: 7,
            segment: 0,
            stream: 3,
        };
        let mut clients = Interner::new(&[], &[], 64, 3);
        let mut bin = OpenBin::new(key);
        for spelling in ["10.0.0.1", "2001:db8::1", "host.example", "", "192.0.2.9"] {
            let id = clients.id(spelling.as_bytes());
            let (at, row) = bin.row(Kind::DnsQuery, id);
            row.count += 3;
            row.types[QueryType::Mx as usize] += 3;
            let mut recent = super::super::bins::Recent::default();
            assert!(!bin.ask(u64::from(id + 1) << 40, at, QueryType::Mx, 3, (&mut recent, 0)));
            let (_, row) = bin.row(Kind::SmtpSent, id);
            row.count = u32::MAX;
            row.recipients = 5;
        }
        bin.level = 2;
        bin.saturated = true;
        let bytes = freeze(&mut bin, &clients, 100);
        // A table that is full makes room.
        let mut others = Interner::new(&[], &[], 64, 2);
        let mut back = thaw(&bytes, key, Told::default(), &mut others).expect("a bin");
        assert_eq!(freeze(&mut back, &others, 100), bytes);
        assert_eq!(
            (back.level, back.saturated, back.asked.len()),
            (2, true, bin.asked.len())
        );
        for cut in 0..bytes.len() {
            assert!(thaw(&bytes[..cut], key, Told::default(), &mut others).is_none());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_safe(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let key = BinKey { minute: 0, segment: 0, stream: 0 };
            let mut clients = Interner::new(&[], &[], 64, 2);
            let _ = thaw(&bytes, key, Told::default(), &mut clients);
        }

        #[test]
        fn numbers_come_back(n in any::<u64>()) {
            let mut out = Vec::new();
            put(&mut out, n);
            prop_assert_eq!(take(&mut &out[..]), Some(n));
        }
    }
}
