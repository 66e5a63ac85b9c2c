//! netfilter: the packets that iptables, nftables, UFW, firewalld, Shorewall or ulogd log.
//!
//! ```text
//! [12345.678901] [UFW BLOCK] IN=eth0 OUT= MAC=… SRC=192.0.2.7 DST=192.0.2.1 LEN=60 … PROTO=TCP SPT=4711 DPT=22 …
//! ```
//!
//! What stands before `IN=` is the administrator's prefix, and the rest is the kernel's. A logged packet
//! is one `firewall_drop` of its source, as packets are rarely logged for any other reason, unless the
//! prefix says that it was let through: a word `accept`, `acc`, `allow`, `pass` or `permit` (in any case,
//! or the past tense), or UFW's `audit`. A word such as `drop`, `block`, `deny` or `reject` beside it
//! has the last word: `ACCEPT-chain DROP` is a drop.
//!
//! How it works: the packet begins at the `IN=` right before a ` OUT=`; its fields are whole words
//! `KEY=VALUE`, and the first of each kind is taken. An ICMP error quotes the packet that caused it in
//! brackets; reading ends there, so the outer source, which sent the error, is the client.
//!
//! Limits: a LOG rule before a rule that accepts, with a prefix that does not say so, is counted as a
//! drop. ARP lines have no address that could be believed and are ignored.

use memchr::memmem;

use crate::event::{Event, Kind, Verdict};

/// Programs that carry such lines.
const PROGRAMS: [&[u8]; 4] = [b"kernel", b"ulogd", b"ulogd2", b"shorewall"];

/// Words of a prefix that say that the packet was let through.
const PASSED: [&[u8]; 10] = [
    b"accept",
    b"accepted",
    b"acc",
    b"allow",
    b"allowed",
    b"pass",
    b"passed",
    b"permit",
    b"permitted",
    b"audit",
];

/// Words of a prefix that say that it was not, whatever else stands there.
const DROPPED: [&[u8]; 10] = [
    b"drop",
    b"dropped",
    b"drp",
    b"block",
    b"blocked",
    b"deny",
    b"denied",
    b"reject",
    b"rejected",
    b"blacklist",
];

/// Whether the program is the kernel, or one that logs packets in its place.
#[must_use]
pub fn claims(program: &[u8]) -> bool {
    PROGRAMS.iter().any(|name| name.eq_ignore_ascii_case(program))
}

/// Whether a message without a program is a logged packet.
#[must_use]
pub fn recognizes(message: &[u8]) -> bool {
    packet(message).is_some_and(|(_, fields)| memmem::find(fields, b" SRC=").is_some())
}

/// Reads one message of the kernel.
#[must_use]
pub fn parse<'a>(program: &'a [u8], _pid: &'a [u8], message: &'a [u8]) -> Verdict<'a> {
    let Some((prefix, fields)) = packet(message) else {
        return Verdict::Ignored(if program == b"kernel" {
            "kernel"
        } else {
            "program message"
        });
    };
    let (mut source, mut target, mut port) = (None, None, None);
    for field in fields.split(|&b| b == b' ') {
        if field.starts_with(b"[") {
            // `[SRC=…` quotes another packet, `[8 bytes]` says that this one was cut off.
            break;
        }
        if let Some(value) = field.strip_prefix(b"SRC=") {
            source.get_or_insert(value);
        } else if let Some(value) = field.strip_prefix(b"DST=") {
            target.get_or_insert(value);
        } else if let Some(value) = field.strip_prefix(b"DPT=") {
            port.get_or_insert(value);
        } else if field == b"ARP" {
            return Verdict::Ignored("arp");
        }
    }
    let (Some(client), Some(target)) = (source.filter(|v| !v.is_empty()), target.filter(|v| !v.is_empty()))
    else {
        return Verdict::Unmatched("packet without source and destination");
    };
    if let Some(reason) = let_through(prefix) {
        return Verdict::Ignored(reason);
    }
    let port = port.and_then(number).unwrap_or(0);
    Verdict::Event(Event {
        client,
        target,
        port,
        ..Event::new(Kind::FirewallDrop)
    })
}

/// The prefix, and the fields from ` OUT=` on. The prefix may touch the `IN=`.
fn packet(message: &[u8]) -> Option<(&[u8], &[u8])> {
    memmem::find_iter(message, b" OUT=").find_map(|out| {
        let start = memchr::memrchr(b' ', &message[..out]).map_or(0, |blank| blank + 1);
        let input = memmem::rfind(&message[start..out], b"IN=")?;
        Some((&message[..start + input], &message[out..]))
    })
}

/// Why the packet was not dropped, if the prefix says so.
fn let_through(prefix: &[u8]) -> Option<&'static str> {
    let has = |words: &[&[u8]]| {
        prefix
            .split(|b| !b.is_ascii_alphanumeric())
            .any(|word| words.iter().any(|w| w.eq_ignore_ascii_case(word)))
    };
    (has(&PASSED) && !has(&DROPPED)).then_some("packet let through")
}

fn number(text: &[u8]) -> Option<u16> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PACKET: &str = "IN=eth0 OUT= MAC=02:00:00:00:00:01:02:00:00:00:00:02:08:00 SRC=192.0.2.7 DST=198.51.100.1 \
                          LEN=60 TOS=0x00 PREC=0x00 TTL=52 ID=1 DF PROTO=TCP SPT=4711 DPT=22 WINDOW=64240 RES=0x00 SYN URGP=0";

    fn read(message: &str) -> Verdict<'_> {
        parse(b"kernel", b"", message.as_bytes())
    }

    #[test]
    fn a_logged_packet_is_a_drop_of_its_source() {
        for prefix in [
            "",
            "[ 12.345678] ",
            "[UFW BLOCK] ",
            "[UFW LIMIT BLOCK] ",
            "DROP",
            "new-ssh: ",
            "passage ",
            "ACCEPT-in DROP ",
        ] {
            let message = format!("{prefix}{PACKET}");
            let Verdict::Event(event) = read(&message) else {
                panic!("{message}")
            };
            assert_eq!(event.kind, Kind::FirewallDrop);
            assert_eq!(
                (event.client, event.target, event.port),
                (&b"192.0.2.7"[..], &b"198.51.100.1"[..], 22)
            );
        }
    }

    #[test]
    fn a_packet_that_was_let_through_is_not() {
        for prefix in [
            "[UFW ALLOW] ",
            "[UFW AUDIT] ",
            "[1.5] SFW2-INext-ACC-TCP ",
            "Shorewall:loc2net:ACCEPT:",
            "pass:",
            "fw_Permit ",
        ] {
            assert_eq!(
                read(&format!("{prefix}{PACKET}")),
                Verdict::Ignored("packet let through"),
                "{prefix}"
            );
        }
    }

    #[test]
    fn an_icmp_error_is_its_senders() {
        let message = "IN=eth0 OUT= MAC= SRC=192.0.2.1 DST=192.0.2.9 LEN=88 PROTO=ICMP TYPE=3 CODE=3 \
                       [SRC=192.0.2.9 DST=192.0.2.1 LEN=60 PROTO=UDP SPT=53 DPT=33000 LEN=40 ]";
        let Verdict::Event(event) = read(message) else {
            panic!()
        };
        assert_eq!((event.client, event.port), (&b"192.0.2.1"[..], 0));
    }

    #[test]
    fn fields_count_only_as_words_after_the_interfaces() {
        let message =
            "SRC=192.0.2.66 IN=eth0 OUT= XSRC=192.0.2.67 SRC=192.0.2.7 DST=192.0.2.1 SRC=192.0.2.68 PROTO=2";
        let Verdict::Event(event) = read(message) else {
            panic!()
        };
        assert_eq!(event.client, b"192.0.2.7");
        assert_eq!(
            read("usb 1-1: Product: SRC=192.0.2.66 DST=192.0.2.1"),
            Verdict::Ignored("kernel")
        );
    }

    #[test]
    fn half_a_packet_is_unmatched() {
        assert_eq!(
            read("IN=eth0 OUT= MAC= SRC=192.0.2.7"),
            Verdict::Unmatched("packet without source and destination")
        );
        assert_eq!(
            read("IN=eth0 OUT= ARP HTYPE=1 PTYPE=0x0800 OPCODE=1"),
            Verdict::Ignored("arp")
        );
        assert!(
            matches!(read("IN=a OUT= SRC=192.0.2.7 DST=192.0.2.1 DPT=70000"), Verdict::Event(e) if e.port == 0)
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(message in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = parse(b"kernel", b"", &message);
            let _ = recognizes(&message);
        }

        #[test]
        fn what_is_borrowed_lies_in_the_message(fields in "( (SRC|DST|DPT|IN|OUT|\\[SRC)=[0-9.]{0,9}){0,8}") {
            let message = format!("IN=eth0 OUT={fields}");
            if let Verdict::Event(event) = parse(b"kernel", b"", message.as_bytes()) {
                let range = message.as_bytes().as_ptr_range();
                for part in [event.client, event.target] {
                    prop_assert!(range.start <= part.as_ptr() && part.as_ptr_range().end <= range.end);
                }
            }
        }
    }
}
