//! Client addresses: from the spelling in a line to one canonical form.
//!
//! Port and brackets are cut by the dialect; here the scope is dropped, a v4-mapped address is folded
//! to IPv4, an IPv6 address is cut to the site's client prefix, and a host name (iplog resolves
//! addresses) is kept in lower case.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::hash::{address_hash, name_hash};

/// A client, canonical.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Client {
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// An IPv6 address or prefix: the address with the host bits cut, and the prefix length.
    V6(Ipv6Addr, u8),
    /// A host name, where the log tells no address.
    Name(Box<str>),
}

impl Client {
    /// Reads a spelling. `None` if it is neither an address nor a host name (`unknown`, `?`, junk).
    #[must_use]
    pub fn parse(spelling: &[u8], prefix_v6: u8) -> Option<Client> {
        let text = std::str::from_utf8(spelling).ok()?;
        let text = text
            .strip_prefix('[')
            .and_then(|t| t.strip_suffix(']'))
            .unwrap_or(text);
        let text = match text.get(..5) {
            Some(tag) if tag.eq_ignore_ascii_case("IPv6:") => &text[5..],
            _ => text,
        };
        let (bare, scoped) = match text.split_once('%') {
            Some((address, _)) => (address, true),
            None => (text, false),
        };
        match bare.parse::<IpAddr>() {
            Ok(IpAddr::V4(v4)) if !scoped => Some(Client::V4(v4)),
            Ok(IpAddr::V4(_)) => None,
            Ok(IpAddr::V6(v6)) => Some(match v6.to_ipv4_mapped() {
                Some(v4) => Client::V4(v4),
                None => Client::V6(cut(v6, prefix_v6), prefix_v6.min(128)),
            }),
            Err(_) => host_name(text).map(Client::Name),
        }
    }

    /// A hash that is the same everywhere, for stored summaries.
    #[must_use]
    pub fn stable_hash(&self) -> u64 {
        match self {
            Client::V4(a) => address_hash(4, u64::from(a.to_bits())),
            Client::V6(a, prefix) => {
                let bits = a.to_bits();
                address_hash(((bits >> 64) as u64) ^ (u64::from(*prefix) << 1), bits as u64 ^ 6)
            }
            Client::Name(name) => name_hash(name.as_bytes()),
        }
    }
}

impl std::fmt::Display for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Client::V4(a) => a.fmt(f),
            Client::V6(a, 128) => a.fmt(f),
            Client::V6(a, prefix) => write!(f, "{a}/{prefix}"),
            Client::Name(name) => f.write_str(name),
        }
    }
}

/// Cuts the host bits.
fn cut(address: Ipv6Addr, prefix: u8) -> Ipv6Addr {
    let mask = u128::MAX
        .checked_shl(128 - u32::from(prefix.min(128)))
        .unwrap_or(0);
    Ipv6Addr::from_bits(address.to_bits() & mask)
}

/// A host name in lower case; it must hold a letter and a dot or be one plain label, so that
/// placeholders such as `unknown` and broken numbers do not become clients.
fn host_name(text: &str) -> Option<Box<str>> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    let ok = !text.is_empty()
        && text.len() <= 253
        && text.bytes().all(plain)
        && text.bytes().any(|b| b.is_ascii_alphabetic())
        && !text.starts_with('.')
        && !text.eq_ignore_ascii_case("unknown")
        && !text.eq_ignore_ascii_case("null");
    ok.then(|| text.to_ascii_lowercase().into_boxed_str())
}

/// An address range, for `site.inside` and the re-injection list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    address: IpAddr,
    length: u8,
}

impl Prefix {
    /// Reads `133.95.0.0/16`, `2001:db8::/32` or a single address.
    ///
    /// # Errors
    /// Says what was expected.
    pub fn parse(text: &str) -> Result<Prefix, String> {
        let (address, length) = match text.split_once('/') {
            Some((a, l)) => (a, Some(l)),
            None => (text, None),
        };
        let address: IpAddr = address
            .trim()
            .parse()
            .map_err(|_| format!("{text:?} is no address or prefix such as 133.95.0.0/16"))?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let length = match length {
            None => most,
            Some(l) => match l.trim().parse::<u8>() {
                Ok(l) if l <= most => l,
                _ => return Err(format!("{text:?} has a prefix length outside 0 to {most}")),
            },
        };
        Ok(Prefix { address, length })
    }

    /// Whether the client lies in the range. A host name lies in none.
    #[must_use]
    pub fn contains(&self, client: &Client) -> bool {
        match (self.address, client) {
            (IpAddr::V4(p), Client::V4(a)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.length)).unwrap_or(0);
                p.to_bits() & mask == a.to_bits() & mask
            }
            (IpAddr::V6(p), Client::V6(a, _)) => cut(p, self.length) == cut(*a, self.length),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(text: &str, prefix: u8) -> Option<String> {
        Client::parse(text.as_bytes(), prefix).map(|c| c.to_string())
    }

    #[test]
    fn spellings_of_one_client_are_one() {
        assert_eq!(shown("133.95.10.2", 64).as_deref(), Some("133.95.10.2"));
        assert_eq!(shown("::ffff:133.95.10.2", 64).as_deref(), Some("133.95.10.2"));
        assert_eq!(shown("[IPv6:2001:DB8::1]", 128).as_deref(), Some("2001:db8::1"));
        assert_eq!(
            shown("2001:db8:0:1:2:3:4:5", 64).as_deref(),
            Some("2001:db8:0:1::/64")
        );
        assert_eq!(shown("fe80::1%eth0", 128).as_deref(), Some("fe80::1"));
        assert_eq!(
            shown("PC-7.Example.AC.jp", 64).as_deref(),
            Some("pc-7.example.ac.jp")
        );
    }

    #[test]
    fn placeholders_and_junk_are_no_client() {
        for junk in [
            "",
            "unknown",
            "?",
            "1.2.3",
            "1.2.3.4.5",
            "300.1.1.1",
            "a b",
            "a\u{202e}b",
            "1.2.3.4%eth0",
            "[]",
        ] {
            assert_eq!(shown(junk, 64), None, "{junk:?}");
        }
        assert_eq!(Client::parse(b"\xff\xfe", 64), None);
    }

    #[test]
    fn prefixes() {
        let inside = Prefix::parse("133.95.0.0/16").expect("valid");
        assert!(inside.contains(&Client::V4(Ipv4Addr::new(133, 95, 255, 1))));
        assert!(!inside.contains(&Client::V4(Ipv4Addr::new(133, 96, 0, 1))));
        assert!(
            Prefix::parse("0.0.0.0/0")
                .expect("valid")
                .contains(&Client::V4(Ipv4Addr::new(1, 2, 3, 4)))
        );
        assert!(Prefix::parse("1.2.3.4/33").is_err());
        assert!(Prefix::parse("example").is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_safe(bytes in proptest::collection::vec(any::<u8>(), 0..64), prefix in 0u8..=255) {
            let _ = Client::parse(&bytes, prefix);
        }

        #[test]
        fn every_v4_address_comes_back(bits in any::<u32>()) {
            let a = Ipv4Addr::from_bits(bits);
            prop_assert_eq!(Client::parse(a.to_string().as_bytes(), 64), Some(Client::V4(a)));
        }
    }
}
