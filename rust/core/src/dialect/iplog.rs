//! iplog 1.x and 2.x: the packet recorder beside a DNS server.
//!
//! iplog writes a line for each UDP datagram, TCP connection and ICMP message that it sees:
//!
//! ```text
//! UDP: dgram to domain from ns.example.org:1025 (38 data bytes)
//! UDP: dgram to 192.0.2.53:domain from 192.0.2.7:1025 (38 data bytes)     with --log-dest
//! UDP: dgram to port 33000 from 192.0.2.53:53 (120 data bytes)
//! TCP: to domain from 192.0.2.7:1026
//! ```
//!
//! A datagram to the service `domain` (or to port 53) is one `dns_query` of the sender. The log tells
//! neither name nor type. Nothing else counts: a datagram *from* port 53 to another port is an answer, a
//! TCP connection to `domain` is a retry of a truncated answer or a zone transfer and may carry any
//! number of queries, and ICMP, traceroutes and scans are no DNS.
//!
//! How it works: the destination is what stands before the first ` from `; the sender is what stands
//! between that and the last `:PORT (N data bytes)`. Host names come from reverse look-ups, so the
//! sender chooses them: a sender that holds a blank is not believed.
//!
//! Limits: a resolver of the time of BIND 4 asks from port 53, so that a query to, and an answer for, a
//! server beside the recorder look alike; both are counted, as the paper's pipeline counts them. iplog
//! knows no IPv6. With name resolution on, the client is a host name.

use memchr::memmem;

use crate::event::{Event, Kind, Verdict};

/// Whether the program is iplog. Its own log file has no program: there the protocol, which stands first
/// in each line, is what a reader of headers takes for one.
#[must_use]
pub fn claims(program: &[u8]) -> bool {
    let base = program.rsplit(|&b| b == b'/').next().unwrap_or(program);
    base == b"iplog" || protocol(program).is_some()
}

/// Whether a message without a program is iplog's.
#[must_use]
pub fn recognizes(message: &[u8]) -> bool {
    [
        &b"UDP: dgram to "[..],
        b"UDP: scan",
        b"UDP: traceroute ",
        b"TCP: to ",
        b"TCP: port scan ",
        b"ICMP: ",
    ]
    .iter()
    .any(|prefix| message.starts_with(prefix))
}

enum Protocol {
    Udp,
    Tcp,
    Icmp,
}

fn protocol(word: &[u8]) -> Option<Protocol> {
    match word {
        b"UDP" => Some(Protocol::Udp),
        b"TCP" => Some(Protocol::Tcp),
        b"ICMP" => Some(Protocol::Icmp),
        _ => None,
    }
}

/// Reads one message of iplog.
#[inline]
#[must_use]
pub fn parse<'a>(program: &'a [u8], _pid: &'a [u8], message: &'a [u8]) -> Verdict<'a> {
    let (first, rest) = match message.iter().take(6).position(|&b| b == b':') {
        Some(colon) if message.get(colon + 1) == Some(&b' ') => (&message[..colon], &message[colon + 2..]),
        _ => (&b""[..], message),
    };
    let (protocol, rest) = match (protocol(first), protocol(program)) {
        (Some(protocol), _) => (protocol, rest),
        (None, Some(protocol)) => (protocol, message),
        (None, None) => return Verdict::Ignored("program message"),
    };
    match protocol {
        Protocol::Udp => match rest.strip_prefix(b"dgram to ") {
            Some(rest) => datagram(rest),
            None if rest.starts_with(b"traceroute ") => Verdict::Ignored("traceroute"),
            None if rest.starts_with(b"scan") => Verdict::Ignored("scan"),
            None => Verdict::Unmatched("unknown UDP line"),
        },
        Protocol::Tcp => Verdict::Ignored("tcp"),
        Protocol::Icmp => Verdict::Ignored("icmp"),
    }
}

/// `[HOST:]SERVICE from SENDER:PORT (N data bytes)`
#[inline]
fn datagram(text: &[u8]) -> Verdict<'_> {
    let (to, from) = if let Some(rest) = text.strip_prefix(b"domain from ") {
        (&b"domain"[..], rest)
    } else {
        match memmem::find(text, b" from ") {
            Some(at) => (&text[..at], &text[at + 6..]),
            None => return Verdict::Unmatched("datagram without sender"),
        }
    };
    let service = match memchr::memrchr(b':', to) {
        Some(colon) => &to[colon + 1..],
        None => to,
    };
    if !matches!(service, b"domain" | b"53" | b"port 53" | b"dns") {
        return Verdict::Ignored("other service");
    }
    let Some(sender) = sender(from) else {
        return Verdict::Unmatched("datagram without sender");
    };
    Verdict::Event(Event {
        client: sender,
        ..Event::new(Kind::DnsQuery)
    })
}

/// The host of `HOST:PORT (N data bytes)`; of `NAME (ADDRESS)`, the address.
fn sender(text: &[u8]) -> Option<&[u8]> {
    let rest = text.trim_ascii_end().strip_suffix(b" data bytes)")?;
    let open = memmem::rfind(rest, b" (")?;
    all_digits(&rest[open + 2..])?;
    let colon = memchr::memrchr(b':', &rest[..open])?;
    all_digits(&rest[colon + 1..open])?;
    let host = &rest[..colon];
    let host = match host
        .strip_suffix(b")")
        .and_then(|h| Some(&h[memmem::find(h, b" (")? + 2..]))
    {
        Some(address) => address,
        None => host,
    };
    let plain = |b: &u8| b.is_ascii_graphic() && !b"()[]<>\"'/#".contains(b);
    (!host.is_empty() && host.iter().all(plain)).then_some(host)
}

fn all_digits(text: &[u8]) -> Option<()> {
    (!text.is_empty() && text.iter().all(u8::is_ascii_digit)).then_some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn client(message: &str) -> Option<&str> {
        match parse(b"iplog", b"1", message.as_bytes()) {
            Verdict::Event(event) => {
                assert_eq!(event.kind, Kind::DnsQuery);
                std::str::from_utf8(event.client).ok()
            }
            _ => None,
        }
    }

    #[test]
    fn a_datagram_to_domain_is_a_query() {
        assert_eq!(
            client("UDP: dgram to domain from 192.0.2.7:1025 (38 data bytes)"),
            Some("192.0.2.7")
        );
        assert_eq!(
            client("UDP: dgram to domain from mx.example.org:53 (38 data bytes)"),
            Some("mx.example.org")
        );
        assert_eq!(
            client("UDP: dgram to domain from mx.example.org (192.0.2.7):53 (3 data bytes)"),
            Some("192.0.2.7")
        );
        assert_eq!(
            client("UDP: dgram to 192.0.2.53:domain from 192.0.2.7:1025 (38 data bytes)"),
            Some("192.0.2.7")
        );
        assert_eq!(
            client("UDP: dgram to ns.example.org:port 53 from 192.0.2.7:1 (0 data bytes)"),
            Some("192.0.2.7")
        );
        assert_eq!(
            client("UDP: dgram to port 53 from 192.0.2.7:1025 (38 data bytes)"),
            Some("192.0.2.7")
        );
    }

    #[test]
    fn an_answer_or_another_service_is_none() {
        for message in [
            "UDP: dgram to port 1025 from 192.0.2.53:53 (38 data bytes)",
            "UDP: dgram to 192.0.2.7:port 1025 from domain:53 (38 data bytes)",
            "UDP: dgram to ntp from 192.0.2.7:123 (48 data bytes)",
            "UDP: dgram to domain.example.org:ntp from 192.0.2.7:123 (48 data bytes)",
        ] {
            assert_eq!(
                parse(b"iplog", b"", message.as_bytes()),
                Verdict::Ignored("other service"),
                "{message}"
            );
        }
        assert_eq!(
            parse(b"iplog", b"", b"TCP: to domain from 192.0.2.7:1026"),
            Verdict::Ignored("tcp")
        );
        assert_eq!(
            parse(b"iplog", b"", b"ICMP: echo from 192.0.2.7 (56 bytes)"),
            Verdict::Ignored("icmp")
        );
        assert_eq!(
            parse(b"iplog", b"", b"UDP: traceroute from 192.0.2.7"),
            Verdict::Ignored("traceroute")
        );
    }

    #[test]
    fn its_own_file_has_the_protocol_for_a_program() {
        assert!(claims(b"UDP"));
        let verdict = parse(
            b"UDP",
            b"",
            b"dgram to domain from 192.0.2.7:1025 (38 data bytes)",
        );
        assert!(matches!(verdict, Verdict::Event(event) if event.client == b"192.0.2.7"));
    }

    #[test]
    fn a_sender_that_names_itself_like_a_line_is_not_believed() {
        assert_eq!(
            client("UDP: dgram to domain from a from 192.0.2.9:1 (38 data bytes)"),
            None
        );
        assert_eq!(
            client("UDP: dgram to ntp from domain from 192.0.2.9:1 (38 data bytes)"),
            None
        );
        assert_eq!(
            client("UDP: dgram to domain from 192.0.2.9:1 (38 data bytes) and more"),
            None
        );
        assert_eq!(client("UDP: dgram to domain from :1 (38 data bytes)"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(message in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = parse(b"iplog", b"", &message);
            let _ = recognizes(&message);
        }

        #[test]
        fn the_client_lies_in_the_message(tail in "[a-z:0-9 ()]{0,60}( data bytes\\))?") {
            let message = format!("UDP: dgram to domain from {tail}");
            if let Verdict::Event(event) = parse(b"iplog", b"", message.as_bytes()) {
                let range = message.as_bytes().as_ptr_range();
                prop_assert!(range.contains(&event.client.as_ptr()));
                prop_assert!(event.client.as_ptr_range().end <= range.end);
            }
        }
    }
}
