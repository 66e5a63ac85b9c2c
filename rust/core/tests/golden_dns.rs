//! The golden cases of the DNS and firewall dialects, properties over any bytes, and real lines.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::LazyLock;

use proptest::prelude::*;
use seismolog_core::dialect::Dialect;
use seismolog_core::syslog::header::{self, Scratch};

const MINE: [Dialect; 3] = [Dialect::Bind, Dialect::Iplog, Dialect::Netfilter];

#[test]
fn the_tag_is_cut_off() {
    let parts = |line: &'static str| {
        let (program, pid, message) = support::split(line.as_bytes());
        [program, pid, message].map(|b| std::str::from_utf8(b).unwrap_or("?"))
    };
    assert_eq!(
        parts("Jul 15 18:00:01 dns1 named[12]: client a: b"),
        ["named", "12", "client a: b"]
    );
    assert_eq!(
        parts("2002-07-15T18:00:01.5+09:00 mx postfix/smtpd[7]: x"),
        ["postfix/smtpd", "7", "x"]
    );
    assert_eq!(
        parts("Jul 15 18:00:01 fw kernel: IN=eth0"),
        ["kernel", "", "IN=eth0"]
    );
    assert_eq!(
        parts("15-Jul-2002 18:00:01.123 client 10.0.0.1#5: query: a"),
        ["", "", "client 10.0.0.1#5: query: a"]
    );
    assert_eq!(
        parts("client 10.0.0.1#5: query: a"),
        ["", "", "client 10.0.0.1#5: query: a"]
    );
}

#[test]
fn bind() {
    assert!(support::check("bind") > 150);
}

#[test]
fn iplog() {
    assert!(support::check("iplog") > 30);
}

#[test]
fn netfilter() {
    assert!(support::check("netfilter") > 40);
}

/// The cases are cut by a simple rule; the header parser must lead to the same answers.
#[test]
fn the_header_parser_leads_to_the_same_answers() {
    let (mut scratch, mut lines) = (Scratch::new(), 0);
    for dialect in MINE {
        for folder in std::fs::read_dir(support::golden_root().join(dialect.name())).unwrap() {
            let bytes = std::fs::read(folder.unwrap().path().join("input.log")).unwrap();
            for (_, line) in support::lines(&bytes) {
                let header = header::parse(line, &mut scratch);
                let taken = if header.program.is_empty() {
                    Dialect::of_message(header.message)
                } else {
                    Dialect::of_program(header.program)
                };
                let verdict = taken.map(|d| d.parse(header.program, header.pid, header.message));
                let (program, pid, message) = support::split(line);
                let plain = if program.is_empty() {
                    Dialect::of_message(message)
                } else {
                    Dialect::of_program(program)
                };
                let expected = plain.map(|d| d.parse(program, pid, message));
                assert_eq!(verdict, expected, "{}", String::from_utf8_lossy(line));
                lines += 1;
            }
        }
    }
    assert!(lines > 250);
}

/// Every message of the golden cases, as a start for mutations.
fn messages() -> &'static [Vec<u8>] {
    static MESSAGES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(read_messages);
    &MESSAGES
}

fn read_messages() -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    for dialect in MINE {
        let Ok(folders) = std::fs::read_dir(support::golden_root().join(dialect.name())) else {
            continue;
        };
        for folder in folders.flatten() {
            let Ok(bytes) = std::fs::read(folder.path().join("input.log")) else {
                continue;
            };
            out.extend(
                support::lines(&bytes)
                    .into_iter()
                    .map(|(_, line)| support::split(line).2.to_vec()),
            );
        }
    }
    assert!(!out.is_empty());
    out
}

fn holds_for(message: &[u8]) -> Result<(), TestCaseError> {
    for dialect in MINE {
        let program = if dialect == Dialect::Netfilter {
            &b"kernel"[..]
        } else {
            b"named"
        };
        let verdict = dialect.parse(program, b"1", message);
        prop_assert!(
            support::borrows_from(&verdict, &[message]),
            "{dialect:?} {verdict:?}"
        );
        let _ = dialect.recognizes(message);
        let _ = dialect.claims(message);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_bytes(message in proptest::collection::vec(any::<u8>(), 0..200)) {
        holds_for(&message)?;
    }

    #[test]
    fn a_real_message_with_some_bytes_changed(
        which in any::<prop::sample::Index>(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<prop::sample::Index>(),
        shorten in any::<bool>(),
    ) {
        let mut message = which.get(messages()).clone();
        prop_assume!(!message.is_empty());
        for (at, byte) in changes {
            let at = at.index(message.len());
            message[at] = byte;
        }
        if shorten {
            message.truncate(cut.index(message.len()));
        }
        holds_for(&message)?;
    }

    /// Whatever the name, it is the same client, and one query or nothing.
    #[test]
    fn a_name_changes_neither_client_nor_kind(name in "[ -~]{1,60}") {
        for message in [
            format!("client 192.0.2.7#53: query: {name} IN A + (10.0.0.1)"),
            format!("client @0x7f00 192.0.2.7#53 (x): query: {name} IN A + (10.0.0.1)"),
            format!("XX+/192.0.2.7/{name}/A/IN"),
        ] {
            if let seismolog_core::event::Verdict::Event(event) = Dialect::Bind.parse(b"named", b"1", message.as_bytes()) {
                prop_assert_eq!(event.client, b"192.0.2.7");
                prop_assert_eq!(event.kind, seismolog_core::event::Kind::DnsQuery);
            }
        }
    }
}

/// What the dialects make of the files of a corpus folder: how often each kind or reason.
fn tally(folder: &str, keep: impl Fn(&str) -> bool) -> Option<BTreeMap<String, usize>> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(support::corpora()?.join(folder))
        .ok()?
        .flatten()
        .map(|entry| entry.path())
        .collect();
    files.sort();
    let mut out = BTreeMap::new();
    for file in files
        .iter()
        .filter(|file| file.file_name().and_then(|n| n.to_str()).is_some_and(&keep))
    {
        let bytes = std::fs::read(file).ok()?;
        for (number, line) in support::lines(&bytes) {
            let seen = support::observe(number, line);
            *out.entry(seen.kind.unwrap_or(seen.reason)).or_default() += 1;
        }
    }
    Some(out)
}

#[test]
fn real_lines_of_bind() {
    let Some(tally) = tally("dns-bind", |name| !name.contains("nsd")) else {
        return eprintln!("skipped: no corpora");
    };
    println!("{tally:#?}");
    assert_eq!(tally.get("dns_query"), Some(&1));
    // All refusals but the line that says "name" for "named" and one with a date the simple rule cannot cut.
    assert!(tally.get("dns_denied").is_some_and(|&n| n >= 15), "{tally:?}");
    assert_eq!(tally.get("dns_error"), Some(&2));
    // "query (cache)" without an outcome.
    assert_eq!(tally.get("unmatched: unknown message about a client"), Some(&1));
}

#[test]
fn real_lines_of_firewalls() {
    let Some(tally) = tally("firewall", |_| true) else {
        return eprintln!("skipped: no corpora");
    };
    println!("{tally:#?}");
    assert_eq!(tally.get("firewall_drop"), Some(&2));
    assert_eq!(tally.get("ignored: packet let through"), Some(&3));
    assert!(
        tally.keys().all(|reason| !reason.starts_with("unmatched")),
        "{tally:?}"
    );
}

#[test]
fn every_dialect_has_a_fuzz_target_and_seeds() {
    let fuzz = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let manifest = std::fs::read_to_string(fuzz.join("Cargo.toml")).expect("fuzz/Cargo.toml");
    for dialect in Dialect::ALL {
        let name = dialect.name();
        assert!(
            manifest.contains(&format!("name = \"{name}\"")),
            "no fuzz target {name}"
        );
        assert!(fuzz.join("seeds").join(name).is_dir(), "no seeds for {name}");
    }
}
