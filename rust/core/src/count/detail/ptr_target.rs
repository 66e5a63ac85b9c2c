//! `ptr_target`: which addresses a client, or a /24 of clients, looks up in reverse in an hour.
//!
//! Counted are `dns_query` of type PTR whose name is a whole address: four labels of decimal octets under
//! `in-addr.arpa`, or 32 nibbles under `ip6.arpa`. Anything else (a zone, a service, a name of RFC 2317)
//! is no target. The row of a /24 is the sum of its clients' rows: its distances are those of each client's
//! consecutive targets. IPv6 clients and clients without an address have no /24.

use std::net::{Ipv4Addr, Ipv6Addr};

use arrow_array::RecordBatch;
use arrow_schema::{DataType, Field, SchemaRef};

use super::batch::{self, Histograms, Places, States};
use super::origin::{Origins, origin_array};
use super::target::{Address, Target};
use super::{Binned, Sizes};
use crate::count::address::Client;
use crate::count::intern::Interner;
use crate::error::Result;

/// The address that a reverse name stands for.
#[must_use]
pub fn address(name: &[u8]) -> Option<Address> {
    let name = name.strip_suffix(b".").unwrap_or(name);
    let client = if let Some(labels) = strip_zone(name, b".in-addr.arpa") {
        Client::V4(v4(labels)?)
    } else {
        Client::V6(v6(strip_zone(name, b".ip6.arpa")?)?, 128)
    };
    Some(of_client(&client))
}

/// The identity of an address as a target: that of the same address as a client.
#[must_use]
pub fn of_client(client: &Client) -> Address {
    Address {
        hash: (client.stable_hash() >> 32) as u32,
        v4: match client {
            Client::V4(a) => Some(a.to_bits()),
            _ => None,
        },
    }
}

fn strip_zone<'a>(name: &'a [u8], zone: &[u8]) -> Option<&'a [u8]> {
    let at = name.len().checked_sub(zone.len())?;
    let (labels, end) = name.split_at_checked(at)?;
    end.eq_ignore_ascii_case(zone).then_some(labels)
}

fn v4(labels: &[u8]) -> Option<Ipv4Addr> {
    let mut octets = [0u8; 4];
    let mut parts = labels.split(|&b| b == b'.');
    for octet in octets.iter_mut().rev() {
        let label = parts.next()?;
        if label.is_empty() || label.len() > 3 || (label.len() > 1 && label[0] == b'0') {
            return None;
        }
        let mut value = 0u16;
        for b in label {
            value = value * 10 + u16::from(b.is_ascii_digit().then(|| b - b'0')?);
        }
        *octet = u8::try_from(value).ok()?;
    }
    parts.next().is_none().then(|| Ipv4Addr::from(octets))
}

fn v6(labels: &[u8]) -> Option<Ipv6Addr> {
    if labels.len() != 63 {
        return None;
    }
    let mut bits = 0u128;
    for (i, pair) in labels.chunks(2).enumerate() {
        let nibble = (pair[0] as char).to_digit(16)?;
        if pair.get(1).is_some_and(|&dot| dot != b'.') {
            return None;
        }
        bits |= u128::from(nibble) << (4 * i);
    }
    Some(Ipv6Addr::from_bits(bits))
}

/// Schema of the table.
#[must_use]
pub fn schema() -> SchemaRef {
    batch::schema(vec![
        Field::new("origin", DataType::Utf8, true),
        Field::new("count", DataType::UInt64, false),
        Field::new("distinct_targets", DataType::UInt32, false),
        Field::new("target_state", DataType::BinaryView, true),
        Field::new("distance_histogram", batch::histogram_type(), false),
    ])
}

/// A batch of the rows of all hours.
///
/// # Errors
/// [`crate::error::Error::Table`] if the columns do not fit together, which would be a bug.
pub fn rows(
    hours: Binned<u32, Target>,
    clients: &Interner,
    source: u32,
    sizes: &Sizes,
) -> Result<RecordBatch> {
    let mut places = Places::default();
    let mut origins = Vec::new();
    let mut count = Vec::new();
    let mut targets = States::default();
    let mut distances = Histograms::default();
    for (place, rows) in hours {
        let mut all: Origins<(), Target> = Origins::default();
        for (client, row) in rows {
            all.add(clients, client, (), row, |sum, row| sum.add(row, sizes));
        }
        for (origin, (), row) in all.into_rows(clients) {
            places.push(place);
            origins.push(origin);
            count.push(row.count);
            distances.push(&row.distances);
            targets.push(row.targets.summary(sizes.set));
        }
    }
    let mut arrays = vec![origin_array(origins), batch::u64s(count)];
    arrays.extend(targets.arrays()?);
    arrays.push(distances.array()?);
    batch::batch(schema(), &places, arrays, source)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_whole_addresses_are_targets() {
        let known = |name: &str| address(name.as_bytes()).map(|a| a.v4.map(Ipv4Addr::from_bits));
        let v4 = "192.0.2.7".parse().ok();
        assert_eq!(known("7.2.0.192.in-addr.arpa"), Some(v4));
        assert_eq!(known("7.2.0.192.IN-ADDR.arpa."), Some(v4));
        for no in [
            "2.0.192.in-addr.arpa",
            "1.7.2.0.192.in-addr.arpa",
            "7.0/25.2.0.192.in-addr.arpa",
            "256.2.0.192.in-addr.arpa",
            "07.2.0.192.in-addr.arpa",
            "in-addr.arpa",
            "www.example.org",
            "",
            ".",
            "lb._dns-sd._udp.example.org",
            "8.b.d.0.1.0.0.2.ip6.arpa",
        ] {
            assert_eq!(known(no), None, "{no}");
        }
        let six = format!("1.{}8.b.d.0.1.0.0.2.ip6.arpa", "0.".repeat(23));
        assert_eq!(
            address(six.as_bytes()).map(|a| a.hash),
            Client::parse(b"2001:db8::1", 128).map(|c| of_client(&c).hash)
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_safe(bytes in proptest::collection::vec(any::<u8>(), 0..90)) {
            let _ = address(&bytes);
            let _ = address(&[&bytes[..], b".in-addr.arpa"].concat());
            let _ = address(&[&bytes[..], b".ip6.arpa"].concat());
        }
    }
}
