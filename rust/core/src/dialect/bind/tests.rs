//! Unit tests and properties of the BIND dialect.
use proptest::prelude::*;

use super::scan::{find, word};
use super::types::{TYPES, type_of, type_of_word};
use super::usual::fields;
use super::*;
use crate::count::usual::SPAN;
use crate::wide::Narrow;

/// The fields of a line, read in every way that the processor has.
fn fields_of(line: &[u8; SPAN], from: usize, end: usize) -> Option<quick::Query<'_>> {
    let told = fields(Narrow, line, from, end);
    #[cfg(target_arch = "x86_64")]
    {
        use crate::wide::{Avx2, Avx512};
        let wide = Avx2::detect().map(|wide| fields(wide, line, from, end));
        assert_eq!(wide.unwrap_or(told), told);
        let wide = Avx512::detect().map(|wide| fields(wide, line, from, end));
        assert_eq!(wide.unwrap_or(told), told);
    }
    told
}

fn event(message: &str) -> Option<Event<'_>> {
    match parse(b"named", b"1", message.as_bytes()) {
        Verdict::Event(event) => Some(event),
        _ => None,
    }
}

#[test]
fn one_query_of_each_family() {
    for message in [
        "XX+/192.0.2.7/www.example.org/A/IN",
        "XX /192.0.2.7/www.example.org/A",
        "client 192.0.2.7#4711: query: www.example.org IN A",
        "client 192.0.2.7#4711: query: www.example.org IN A +",
        "client 192.0.2.7#4711/key k: query: www.example.org IN A -SEDC (192.0.2.53)",
        "client 192.0.2.7#4711 (www.example.org): query: www.example.org IN A + (192.0.2.53)",
        "client @0x7f85b4026ed0 192.0.2.7#4711/key k (www.example.org): view v: query: www.example.org IN A +E(0)K (192.0.2.53) [ECS 192.0.2.0/24/0]",
        "queries: info: client 192.0.2.7#4711: query: www.example.org IN A +",
    ] {
        let expected = Event {
            client: b"192.0.2.7",
            name: b"www.example.org",
            query_type: QueryType::A,
            ..Event::new(Kind::DnsQuery)
        };
        assert_eq!(event(message), Some(expected), "{message}");
    }
}

#[test]
fn a_field_is_found_at_any_length() {
    // Lengths around the steps of eight and sixteen bytes, at the end of the text and before it.
    for n in 1..70 {
        let name = "a".repeat(n);
        for tail in ["", " +", " + (192.0.2.53) and more text"] {
            for query_type in ["A", "AAAA", "HTTPS", "TYPE1234", "NSEC3PARAM"] {
                let message = format!("client 192.0.2.7#1: query: {name} IN {query_type}{tail}");
                let read = event(&message).unwrap_or_else(|| panic!("{message}"));
                assert_eq!(read.name, name.as_bytes());
                assert_eq!(read.query_type, type_of(query_type.as_bytes()));
            }
        }
    }
}

#[test]
fn a_search_equals_a_plain_one() {
    let text: Vec<u8> = (0..80).map(|i| b"abc #:/"[(i * i + i / 3) % 7]).collect();
    for end in 0..text.len() {
        for at in 0..=end + 2 {
            let text = &text[..end];
            for bytes in [[b'#', b':'], [b'/', b'z'], [b'z', b'y']] {
                let plain = text
                    .iter()
                    .skip(at)
                    .position(|b| bytes.contains(b))
                    .map(|i| at + i);
                assert_eq!(find(text, at, bytes), plain);
            }
            let plain = text
                .iter()
                .skip(at)
                .take(8)
                .rev()
                .fold(0, |n, &b| (n << 8) | u64::from(b));
            assert_eq!(word(text, at), plain);
        }
    }
}

#[test]
fn every_type_is_found_in_its_slot() {
    for (word, query_type) in TYPES {
        assert_eq!(type_of_word(word), query_type);
    }
    assert_eq!(type_of(b"TYPE65"), QueryType::Https);
    assert_eq!(type_of(b"TYPE65535"), QueryType::Other);
    assert_eq!(type_of(b"TYPE"), QueryType::Other);
    assert_eq!(type_of(b""), QueryType::Other);
}

#[test]
fn the_client_is_taken_from_the_front() {
    assert_eq!(event("client 192.0.2.7#1 (x): query: x): query: y IN A +"), None);
    assert_eq!(event("client x 192.0.2.7#1: query: y IN A +"), None);
    assert_eq!(event("XX+/x y/www.example.org/A/IN"), None);
    let read = event("XX+/192.0.2.7/client 192.0.2.66#1: query: y IN A/MX/IN").map(|e| e.client);
    assert_eq!(read, Some(&b"192.0.2.7"[..]));
}

#[test]
fn programs() {
    for name in [
        "named",
        "named-pkcs11",
        "named-sdb",
        "named-chroot",
        "bind9",
        "isc-bind-named",
        "/usr/sbin/named",
        "queries",
    ] {
        assert!(claims(name.as_bytes()), "{name}");
    }
    for name in ["", "unnamed", "name", "names", "binder", "config", "kernel"] {
        assert!(!claims(name.as_bytes()), "{name}");
    }
}

#[test]
fn messages_without_a_program() {
    for message in [
        "client 192.0.2.7#1: x",
        "client @0x7f 2001:db8::7#1 (x): x",
        "XX+/192.0.2.7/x/A/IN",
        "general: info: zone x",
        "zone x/IN: loaded serial 1",
        "info: client 192.0.2.7#1: x",
    ] {
        assert!(recognizes(message.as_bytes()), "{message}");
    }
    for message in [
        "",
        "client",
        "client area#1",
        "client sent a packet 192.0.2.7#1",
        "XX",
        "zone x: loaded",
        "info: done",
    ] {
        assert!(!recognizes(message.as_bytes()), "{message}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_panic(message in proptest::collection::vec(any::<u8>(), 0..120)) {
        let _ = parse(b"named", b"", &message);
        let _ = recognizes(&message);
    }

    #[test]
    fn what_is_borrowed_lies_in_the_message(tail in "[ -~]{0,40}( IN )?[ -~]{0,20}") {
        for prefix in ["", "client 192.0.2.7#1: ", "client 192.0.2.7#1: query: ", "XX+/192.0.2.7/", "client 192.0.2.7#1: query 'x"] {
            let message = format!("{prefix}{tail}");
            if let Some(event) = event(&message) {
                let range = message.as_bytes().as_ptr_range();
                for part in [event.client, event.name].into_iter().filter(|p| !p.is_empty()) {
                    prop_assert!(range.start <= part.as_ptr() && part.as_ptr_range().end <= range.end);
                }
            }
        }
    }
}

/// Pieces that stand in query lines, and some that must not.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(vec![
            "client ", "@0x7f85b4026ed0 ", "192.0.2.7", "2001:db8::7", "#4711", "#53", "#", " (www.example.org)",
            " (www.example.org): query: www.example.org IN A +", ": query: ", "www.example.org", " IN A", " IN AAAA -E",
            " +", " CH TXT", "/key k", ": view v", " (", ")", "): query: ", "\\", " ", ":", "TYPE65 ", "\n", "IN HTTPS +E(0)K",
        ]).prop_map(str::to_owned),
        1 => "[a-z0-9.#:() \\\\]{0,70}",
    ]
}

proptest! {
    #[test]
    fn the_quick_reading_is_the_full_one(
        before in "[ a-z:]{0,40}",
        pointer in any::<bool>(),
        port in 0_u32..200_000,
        name in "[a-zA-Z0-9.\\-_)\\\\ ]{0,66}",
        again in prop::option::weighted(0.1, "[a-z.]{0,20}"),
        pieces in prop::collection::vec(piece(), 0..8),
        usual in prop::bool::weighted(0.6),
        query_type in prop::sample::select(vec!["A", "AAAA", "MX", "TYPE65", "NSEC3PARAM", "a", "", "65"]),
        tail in prop::sample::select(vec![" +", " -E(0)K (192.0.2.53)", "", " response: NOERROR", "x", " +\r"]),
        behind in "\\PC{0,80}",
    ) {
        let message = if usual {
            let asked = again.unwrap_or_else(|| name.clone());
            let pointer = if pointer { "@0x7f85b4026ed0 " } else { "" };
            format!("client {pointer}192.0.2.7#{port} ({name}): query: {asked} IN {query_type}{tail}")
        } else {
            pieces.concat().replace('\n', "")
        };
        // The block goes on behind the line.
        let block = format!("{before}{message}\n{behind}");
        let (from, end) = (before.len(), before.len() + message.len());
        if let Some((client, name, query_type)) = quick::query(Narrow, block.as_bytes(), from, end) {
            let expected = Event { client, name, query_type, ..Event::new(Kind::DnsQuery) };
            prop_assert_eq!(parse(b"named", b"1", message.as_bytes()), Verdict::Event(expected), "{}", message);
        }
        // The same of the reading that looks at the fields of a line at once, which says less often what it is.
        let long = format!("{block}{}", "query: a IN A + ".repeat(100));
        if let Some(line) = long.as_bytes().get(from..).and_then(|rest| rest.first_chunk::<SPAN>()) {
            let told = fields_of(line, "client ".len(), end - from);
            if let Some((client, name, query_type)) = told && message.starts_with("client ") {
                let expected = Event { client, name, query_type, ..Event::new(Kind::DnsQuery) };
                prop_assert_eq!(parse(b"named", b"1", message.as_bytes()), Verdict::Event(expected), "{}", message);
            }
        }
    }

    #[test]
    fn the_usual_line_is_read_quickly(name in "[a-z0-9.\\-]{1,50}", port in 1_u32..65_536) {
        let message = format!("client @0x7f85b4026ed0 10.1.2.3#{port} ({name}): query: {name} IN A +E(0) (192.0.2.53)");
        let block = format!("{message}\n{}", " ".repeat(64));
        prop_assert!(quick::query(Narrow, block.as_bytes(), 0, message.len()).is_some());
        let line = format!("{message}\n{}", " ".repeat(SPAN));
        let line = line.as_bytes().first_chunk::<SPAN>().expect("long enough");
        let known = ["client ".len(), 0].map(|from| fields_of(line, from, message.len()));
        let [told, nothing] = known;
        prop_assert_eq!(told.map(|(client, name, _)| (client, name)), Some((&b"10.1.2.3"[..], name.as_bytes())));
        prop_assert_eq!(nothing, None);
        // The line must hold all that is read.
        let cut = message.len() - " +E(0) (192.0.2.53)".len();
        prop_assert_eq!(fields_of(line, "client ".len(), cut + 1), None);
        prop_assert!(fields_of(line, "client ".len(), cut + 2).is_some());
    }
}
