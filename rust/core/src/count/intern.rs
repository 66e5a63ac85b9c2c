//! The client table of one worker: each spelling is validated once and becomes a small number.
//!
//! A line's client is looked up by a hash of its spelling. The table is bounded: past
//! [`Limits::clients`](super::Limits) further clients share the number [`SHED`], and what was shed is
//! counted.

use hashbrown::HashMap;

use super::address::{Client, Prefix};
use super::hash::{fold, prefetch, process_seed, seeded_hash, short_key};

/// The number of "no client".
pub const NONE: u32 = 0;
/// The number that all clients past the bound share.
pub const SHED: u32 = 1;
/// How [`SHED`] is written in tables.
pub const SHED_NAME: &str = "(shed)";

/// What is known of a client.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// Hash that is the same everywhere; 0 for [`NONE`].
    pub hash: u64,
    /// Where the canonical text stands in the arena.
    offset: u32,
    length: u32,
    /// 0 no client, 1 inside, 2 outside.
    pub side: u8,
    /// On the site's re-injection list.
    pub reinjection: bool,
}

/// A place of the table of spellings: the upper 40 bits of a hash, and the number of the client plus one; 0 marks a
/// free one. A spelling is known by these bits and, roughly, by its place: 55 bits in a table of 20,000 spellings, 61 in
/// one of a million, of which two then meet with a chance of one in four million. Who does not know the seeds, drawn
/// once a process, cannot make them meet. The table fits the second-level cache together with the rows of a bin, where
/// one that keeps the spellings or all of their hashes does not.
type Slot = u64;

/// Bits of the number.
const NUMBER: u64 = (1 << 24) - 1;

/// Clients that a number can tell apart.
const CLIENTS_MOST: usize = NUMBER as usize - 2;

const fn slot(hash: u64, id: u32) -> Slot {
    (hash & !NUMBER) | (id as u64 + 1)
}

/// Clients by spelling and by number.
pub struct Interner {
    seed: u64,
    slots: Vec<Slot>,
    /// The whole hash of each slot, asked when the table grows.
    hashes: Vec<u64>,
    used: usize,
    canonical: HashMap<Client, u32, foldhash::quality::RandomState>,
    known: Vec<Known>,
    /// Views and sides by number: all that the sealing of a bin asks, in a part of the memory of `known`.
    views: Vec<u128>,
    sides: Vec<u8>,
    arena: Vec<u8>,
    inside: Vec<Prefix>,
    reinjection: Vec<Prefix>,
    prefix_v6: u8,
    max_clients: usize,
    /// Spellings that are neither address nor host name.
    pub unparsed: u64,
    /// Events whose client was past the bound.
    pub shed: u64,
}

impl Interner {
    /// An empty table.
    #[must_use]
    pub fn new(inside: &[Prefix], reinjection: &[Prefix], prefix_v6: u8, max_clients: usize) -> Self {
        let mut this = Interner {
            seed: process_seed(),
            slots: vec![0; 4096],
            hashes: vec![0; 4096],
            used: 0,
            canonical: HashMap::default(),
            known: Vec::new(),
            views: Vec::new(),
            sides: Vec::new(),
            arena: Vec::new(),
            inside: inside.to_vec(),
            reinjection: reinjection.to_vec(),
            prefix_v6,
            max_clients: max_clients.clamp(2, CLIENTS_MOST),
            unparsed: 0,
            shed: 0,
        };
        this.push("", 0, 0, false);
        this.push(SHED_NAME, super::hash::name_hash(SHED_NAME.as_bytes()), 2, false);
        this
    }

    /// An empty table like this one, which goes on with its counters.
    #[must_use]
    pub fn renewed(&self) -> Self {
        Interner {
            unparsed: self.unparsed,
            shed: self.shed,
            ..Interner::new(&self.inside, &self.reinjection, self.prefix_v6, self.max_clients)
        }
    }

    fn push(&mut self, text: &str, hash: u64, side: u8, reinjection: bool) -> u32 {
        let id = self.known.len() as u32;
        let offset = self.arena.len() as u32;
        self.arena.extend_from_slice(text.as_bytes());
        self.views.push(view_of(text.as_bytes(), offset));
        self.sides.push(side);
        self.known.push(Known {
            hash,
            offset,
            length: text.len() as u32,
            side,
            reinjection,
        });
        id
    }

    /// Number of clients known, the two reserved ones included.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Never: two numbers are reserved.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// What is known of a number that this table gave out.
    #[inline]
    #[must_use]
    pub fn known(&self, id: u32) -> Known {
        self.known[id as usize]
    }

    /// The canonical text of a number; `None` for [`NONE`].
    #[must_use]
    pub fn text(&self, id: u32) -> Option<&str> {
        if id == NONE {
            return None;
        }
        let k = self.known.get(id as usize)?;
        let bytes = self
            .arena
            .get(k.offset as usize..(k.offset + k.length) as usize)?;
        std::str::from_utf8(bytes).ok()
    }

    /// The canonical text as an Arrow string view whose buffer 0 is [`Interner::arena`].
    #[inline]
    #[must_use]
    pub fn view(&self, id: u32) -> u128 {
        self.views[id as usize]
    }

    /// [`Known::side`] of a number that this table gave out.
    #[inline]
    #[must_use]
    pub fn side(&self, id: u32) -> u8 {
        self.sides[id as usize]
    }

    /// All canonical texts, one after the other.
    #[must_use]
    pub fn arena(&self) -> &[u8] {
        &self.arena
    }

    /// The hash of a spelling, by which [`Interner::id_of`] finds it. 0 for an empty one.
    #[inline(always)]
    #[must_use]
    pub fn hash(&self, spelling: &[u8]) -> u64 {
        let n = spelling.len();
        if n == 0 {
            return 0;
        }
        if n <= 16 {
            let (low, high) = short_key(spelling);
            let length = (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            fold(low ^ self.seed, high ^ length ^ self.seed.rotate_left(32)) | 1
        } else {
            seeded_hash(spelling, self.seed) | 1
        }
    }

    /// Asks for the place of a hash to be brought into the cache.
    #[inline(always)]
    pub fn prefetch(&self, hash: u64) {
        prefetch(&self.slots, (hash >> 1) as usize & (self.slots.len() - 1));
    }

    /// The number of the client spelled so.
    #[inline(always)]
    pub fn id(&mut self, spelling: &[u8]) -> u32 {
        self.id_of(self.hash(spelling), spelling)
    }

    /// The number of the client spelled so, given the spelling's [`Interner::hash`].
    #[inline(always)]
    pub fn id_of(&mut self, hash: u64, spelling: &[u8]) -> u32 {
        if hash == 0 {
            return NONE;
        }
        let mask = self.slots.len() - 1;
        let mut at = (hash >> 1) as usize & mask;
        loop {
            let slot = self.slots[at];
            if slot == 0 {
                return self.insert(spelling, hash);
            }
            if (slot ^ hash) & !NUMBER == 0 {
                let id = (slot & NUMBER) as u32 - 1;
                if id == SHED {
                    self.shed += 1;
                }
                return id;
            }
            at = (at + 1) & mask;
        }
    }

    #[cold]
    fn insert(&mut self, spelling: &[u8], hash: u64) -> u32 {
        let id = self.resolve(spelling);
        // A spelling of a shed or unreadable client is not remembered once the table is at its bound.
        if self.used >= self.max_clients.saturating_mul(2) {
            return id;
        }
        if self.used * 4 >= self.slots.len() * 3 {
            let size = self.slots.len() * 2;
            let old = std::mem::replace(&mut self.slots, vec![0; size]);
            let hashes = std::mem::replace(&mut self.hashes, vec![0; size]);
            for (slot, hash) in old.into_iter().zip(hashes).filter(|(slot, _)| *slot != 0) {
                self.place_slot(slot, hash);
            }
        }
        self.place_slot(slot(hash, id), hash);
        self.used += 1;
        id
    }

    fn place_slot(&mut self, slot: Slot, hash: u64) {
        let mask = self.slots.len() - 1;
        let mut at = (hash >> 1) as usize & mask;
        while self.slots[at] != 0 {
            at = (at + 1) & mask;
        }
        self.slots[at] = slot;
        self.hashes[at] = hash;
    }

    fn resolve(&mut self, spelling: &[u8]) -> u32 {
        match Client::parse(spelling, self.prefix_v6) {
            Some(client) => self.client_id(client),
            None => {
                self.unparsed += 1;
                NONE
            }
        }
    }

    /// The number of a canonical client.
    pub fn client_id(&mut self, client: Client) -> u32 {
        if let Some(&id) = self.canonical.get(&client) {
            return id;
        }
        if self.known.len() >= self.max_clients || self.arena.len() > (u32::MAX / 2) as usize {
            self.shed += 1;
            return SHED;
        }
        let inside = self.inside.iter().any(|p| p.contains(&client));
        let reinjection = self.reinjection.iter().any(|p| p.contains(&client));
        let side = if inside { 1 } else { 2 };
        let id = self.push(&client.to_string(), client.stable_hash(), side, reinjection);
        self.canonical.insert(client, id);
        id
    }

    /// The number of a canonical client, for which room is made where the table is at its bound: counts that
    /// were told under its own name go on under it.
    pub fn take_in(&mut self, client: Client) -> u32 {
        let bound = std::mem::replace(&mut self.max_clients, CLIENTS_MOST);
        let id = self.client_id(client);
        self.max_clients = bound;
        id
    }

    /// The number here of a client that another table knows as `id`.
    pub fn adopt(&mut self, other: &Interner, id: u32) -> u32 {
        match id {
            NONE | SHED => id,
            _ => match other.text(id).map(Client::parse_canonical) {
                Some(Some(client)) => self.client_id(client),
                _ => NONE,
            },
        }
    }
}

/// An Arrow string view: length, then the text itself if it has at most twelve bytes, else its first
/// four bytes, the buffer's number (0) and the offset.
fn view_of(text: &[u8], offset: u32) -> u128 {
    let mut view = [0u8; 16];
    view[..4].copy_from_slice(&(text.len() as u32).to_le_bytes());
    if text.len() <= 12 {
        view[4..4 + text.len()].copy_from_slice(text);
    } else {
        view[4..8].copy_from_slice(&text[..4]);
        view[12..].copy_from_slice(&offset.to_le_bytes());
    }
    u128::from_le_bytes(view)
}

impl Client {
    /// Reads back what [`Client`]'s `Display` wrote.
    #[must_use]
    pub fn parse_canonical(text: &str) -> Option<Client> {
        if let Some((address, prefix)) = text.split_once('/')
            && let (Ok(address), Ok(prefix)) = (address.parse(), prefix.parse())
        {
            return Some(Client::V6(address, prefix));
        }
        match text.parse() {
            Ok(std::net::IpAddr::V4(a)) => Some(Client::V4(a)),
            Ok(std::net::IpAddr::V6(a)) => Some(Client::V6(a, 128)),
            Err(_) => Some(Client::Name(text.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_share_a_number_and_the_bound_holds() {
        let inside = [Prefix::parse("10.0.0.0/8").expect("valid")];
        let mut t = Interner::new(&inside, &[], 64, 4);
        let a = t.id(b"10.0.0.1");
        assert_eq!(t.id(b"::ffff:10.0.0.1"), a);
        assert_eq!(t.known(a).side, 1);
        let b = t.id(b"192.0.2.7");
        assert_ne!(a, b);
        assert_eq!(t.known(b).side, 2);
        assert_eq!(t.id(b"192.0.2.8"), SHED);
        assert_eq!(t.id(b"192.0.2.8"), SHED);
        assert_eq!(t.shed, 2);
        assert_eq!(t.id(b"junk!"), NONE);
        assert_eq!(t.unparsed, 1);
        assert_eq!(t.text(a), Some("10.0.0.1"));
        assert_eq!(t.text(NONE), None);
    }

    #[test]
    fn a_hundred_thousand_clients_keep_their_numbers() {
        let mut t = Interner::new(&[], &[], 64, 1 << 20);
        let spell = |i: u32| std::net::Ipv4Addr::from_bits(i.wrapping_mul(2_654_435_761)).to_string();
        let ids: Vec<u32> = (0..100_000).map(|i| t.id(spell(i).as_bytes())).collect();
        for (i, id) in ids.iter().enumerate() {
            assert_eq!(t.id(spell(i as u32).as_bytes()), *id);
            assert_eq!(t.text(*id), Some(spell(i as u32).as_str()));
        }
    }
}
