//! The promise of DESIGN section 1: merge(count(a), count(b)) = count(ab), for any split of any lines.
//!
//! Lines of several servers, dialects and clocks, with repetitions, held and cancelled events, New Year
//! and times out of order, are counted in one go, in parts that are joined, and by `scan` with several
//! threads. The tables must be equal, row for row.

#![allow(clippy::expect_used, reason = "a test fails by a panic")]

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use seismolog_core::count::worker::Worker;
use seismolog_core::count::{Limits, Options};

/// What a table says of one key.
type Rows = BTreeMap<String, String>;

fn options() -> Options {
    Options {
        state: true,
        inside: vec![seismolog_core::count::address::Prefix::parse("10.0.0.0/8").expect("valid")],
        ..Options::default()
    }
}

/// The rows of a worker whose later parts have been joined.
fn rows(worker: &mut Worker, later: Vec<seismolog_core::count::worker::Joined>) -> (Rows, Rows, String) {
    worker.seal_all();
    let place = |w: &Worker, key: seismolog_core::count::bins::BinKey| {
        let (server, clock, _) = w.stream(key.stream).expect("a stream of the worker");
        format!(
            "{:?} {} {} {}",
            clock, w.servers[server as usize], key.minute, key.segment
        )
    };
    let mut clients = Rows::new();
    let own = std::mem::take(&mut worker.columns);
    let parts = std::iter::once((&own, worker.clients.arena()))
        .chain(later.iter().map(|j| (&j.columns, j.arena.arena())));
    for (columns, arena) in parts {
        let mut at = 0;
        let mut from = 0usize;
        for run in &columns.runs {
            for _ in 0..run.rows {
                let view = columns.client[at].to_le_bytes();
                let length = u32::from_le_bytes(view[..4].try_into().expect("four bytes")) as usize;
                let text = if length <= 12 {
                    view[4..4 + length].to_vec()
                } else {
                    let offset = u32::from_le_bytes(view[12..].try_into().expect("four bytes")) as usize;
                    arena[offset..offset + length].to_vec()
                };
                let key = format!(
                    "{} {:?} {}",
                    place(worker, run.key),
                    run.kind,
                    String::from_utf8_lossy(&text)
                );
                let types: Vec<u16> = columns.types.iter().map(|t| t[at]).collect();
                let end = columns.state_end[at] as usize;
                let value = format!(
                    "{} {types:?} {} {:?}",
                    columns.count[at],
                    columns.distinct[at],
                    &columns.state[from..end]
                );
                from = end;
                assert!(clients.insert(key.clone(), value).is_none(), "twice: {key}");
                at += 1;
            }
        }
        assert_eq!(at, columns.count.len());
    }
    let mut traffic = Rows::new();
    for row in &worker.traffic {
        let key = format!(
            "{} {:?} {:?} {}",
            place(worker, row.key),
            row.kind,
            row.query_type,
            row.side
        );
        let value = format!(
            "{} {} {:?} {:?} {:?} {:?}",
            row.count, row.recipients, row.clients, row.names, row.client_state, row.name_state
        );
        assert!(traffic.insert(key.clone(), value).is_none(), "twice: {key}");
    }
    (
        clients,
        traffic,
        format!("{:?} {:?}", worker.full_tally(), worker.years()),
    )
}

fn count(parts: &[Vec<String>]) -> (Rows, Rows, String) {
    let limits = Limits::default();
    let mut joined = Vec::new();
    let mut whole: Option<Worker> = None;
    for part in parts {
        let mut worker = Worker::new(&options(), &limits);
        worker.lines(part.join("\n").as_bytes());
        match &mut whole {
            None => whole = Some(worker),
            Some(first) => joined.push(first.join(worker)),
        }
    }
    rows(&mut whole.expect("at least one part"), joined)
}

fn address() -> impl Strategy<Value = String> {
    prop_oneof![
        (0u8..4, 0u8..4).prop_map(|(a, b)| format!("10.0.{a}.{b}")),
        (0u8..4).prop_map(|a| format!("192.0.2.{a}")),
        (0u16..4).prop_map(|a| format!("2001:db8::{a:x}")),
    ]
}

/// A query as BIND 9.9 and later write it, or nearly so.
fn usual_query() -> impl Strategy<Value = String> {
    let odd = prop_oneof![
        20 => Just(("", "query", "+E(0)K (192.0.2.53)")),
        2 => Just(("", "query", "-")),
        1 => Just(("view inside: ", "query", "+")),
        1 => Just(("", "query", "response: NOERROR")),
        1 => Just(("", "updated", "+")),
    ];
    let pid = prop::bool::weighted(0.9);
    (address(), 0u8..6, any::<bool>(), prop::sample::select(vec!["A", "MX", "PTR", "AAAA", "TYPE65", "LOC"]), odd, pid)
        .prop_map(|(client, n, pointer, query_type, (view, what, flags), same)| {
            let pid = if same { 7 } else { 12_345 };
            let pointer = if pointer { "@0x7f85b4026ed0 " } else { "" };
            format!(
                "named[{pid}]: client {pointer}{client}#5353 (n{n}.example): {view}{what}: n{n}.example IN {query_type} {flags}"
            )
        })
}

fn message() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => (address(), 0u8..6, prop_oneof![Just("A"), Just("MX"), Just("PTR"), Just("AAAA")])
            .prop_map(|(c, n, t)| format!("named[7]: client {c}#53: query: n{n}.example IN {t} +")),
        8 => usual_query(),
        1 => (address(), 0u8..4).prop_map(|(c, q)| format!(
            "sendmail[9]: q{q}: from=<a@example.jp>, size=1, class=0, nrcpts=2, msgid=<m>, proto=ESMTP, daemon=MTA, relay=h [{c}]"
        )),
        1 => (0u8..4).prop_map(|q| format!(
            "sendmail[9]: q{q}: from=<a@example.jp>, size=1, class=0, nrcpts=1, msgid=<m>, proto=ESMTP, daemon=MTA, relay=localhost [127.0.0.1]"
        )),
        1 => (0u8..4).prop_map(|q| format!(
            "sendmail[8]: x{q}: to=<b@example.org>, delay=00:00:01, mailer=relay, relay=[127.0.0.1] [127.0.0.1], dsn=2.0.0, stat=Sent (q{q} Message accepted for delivery)"
        )),
        1 => (0u8..4, address()).prop_map(|(p, c)| format!("popper[{p}]: Stats: joe 0 0 3 4567 host {c}")),
        1 => (1u8..5).prop_map(|n| format!("last message repeated {n} times")),
        1 => (1u8..5, address()).prop_map(|(n, c)| format!(
            "named[7]: message repeated {n} times: [ client {c}#53: query: r.example IN A +]"
        )),
        1 => Just("cron[1]: something else".to_owned()),
    ]
}

/// Lines around a moment, minutes apart, a few out of order.
fn lines() -> impl Strategy<Value = Vec<String>> {
    let clock = prop_oneof![Just((7u32, 15u32)), Just((12, 31))];
    (
        clock,
        proptest::collection::vec((0u32..2, 0u32..3, 0u32..3, message()), 1..60),
    )
        .prop_map(|((month, day), steps)| {
            let mut minute = 23 * 60 + 40;
            steps
                .into_iter()
                .map(|(server, ahead, back, message)| {
                    minute += ahead;
                    let at = minute - back.min(minute);
                    let (month, day, of_day) = match (at / 1440, month) {
                        (0, _) => (month, day, at),
                        (_, 12) => (1, at / 1440, at % 1440),
                        (days, _) => (month, day + days, at % 1440),
                    };
                    let name = [
                        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
                    ][month as usize - 1];
                    format!(
                        "{name} {day:>2} {:02}:{:02}:01 ns{server} {message}",
                        of_day / 60,
                        of_day % 60
                    )
                })
                .collect()
        })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300,
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("proptest-regressions"))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_split_counts_like_the_whole(lines in lines(), cuts in proptest::collection::vec(0usize..60, 0..4)) {
        let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(lines.len())).collect();
        cuts.sort_unstable();
        let mut parts = Vec::new();
        let mut from = 0;
        for cut in cuts {
            parts.push(lines[from..cut].to_vec());
            from = cut;
        }
        parts.push(lines[from..].to_vec());
        let whole = count(&[lines]);
        let joined = count(&parts);
        prop_assert!(whole.0.is_empty() == whole.1.is_empty());
        prop_assert_eq!(&whole.0, &joined.0);
        prop_assert_eq!(&whole.1, &joined.1);
        prop_assert_eq!(&whole.2, &joined.2);
    }

    /// The caches in front of the header parser change nothing: a worker that sees each line alone
    /// (and so never hits them) counts the same.
    #[test]
    fn the_fast_way_is_the_slow_way(lines in lines()) {
        let whole = count(std::slice::from_ref(&lines));
        let alone: Vec<Vec<String>> = lines.into_iter().map(|l| vec![l]).collect();
        let joined = count(&alone);
        prop_assert_eq!(whole, joined);
    }
}

proptest! {
    /// Where fewer bins may be open than servers write at a time, a line seals the bin of another server's line.
    #[test]
    fn a_line_counts_alone_as_in_its_block(lines in lines(), open_bins in 1usize..4) {
        let limits = Limits { open_bins, ..Limits::default() };
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let text = text.repeat(2) + &"x".repeat(2000);
        let count = |blocks: Vec<&str>| {
            let mut worker = Worker::new(&options(), &limits);
            for block in blocks {
                worker.lines(block.as_bytes());
            }
            worker.seal_all();
            let rows = std::mem::take(&mut worker.columns);
            let said = format!("{:?} {:?} {:?}", worker.full_tally(), worker.traffic, rows.runs);
            (said, rows.client, rows.count, rows.types)
        };
        prop_assert_eq!(count(vec![&text]), count(text.split_inclusive('\n').collect()));
    }
}

#[test]
fn the_lines_of_these_tests_do_count() {
    let line = "Jul 15 18:00:01 ns1 named[7]: client 10.0.0.1#53: query: n.example IN MX +".to_owned();
    let again = "Jul 15 18:00:02 ns1 last message repeated 3 times".to_owned();
    let (clients, traffic, _) = count(&[vec![line], vec![again]]);
    assert_eq!(clients.len(), 1);
    let (key, value) = clients.first_key_value().expect("one row");
    assert!(key.ends_with("DnsQuery 10.0.0.1"), "{key}");
    assert!(
        value.starts_with("4 [0, 0, 4, 0, 0, 0, 0, 0, 0, 0] 1 "),
        "{value}"
    );
    assert_eq!(traffic.len(), 1);
}

/// A repetition in the next minute, behind a line of another server, of a run that a cut divides.
#[test]
fn a_repetition_behind_another_server_counts_like_the_whole() {
    let query = |server: u32| {
        format!("Jul 15 23:40:01 ns{server} named[7]: client 10.0.0.0#53: query: n0.example IN A +")
    };
    let mut lines: Vec<String> = (0..24).map(|_| query(0)).collect();
    lines.push(query(1));
    lines.extend((0..3).map(|_| query(0)));
    lines.push("Jul 15 23:41:01 ns0 last message repeated 1 times".to_owned());
    lines.push(query(1));
    let whole = count(std::slice::from_ref(&lines));
    for cut in 0..lines.len() {
        let joined = count(&[lines[..cut].to_vec(), lines[cut..].to_vec()]);
        assert_eq!(whole, joined, "cut at {cut}");
    }
}

/// Two servers that write in turn where one bin may be open: each line seals the bin of the other.
#[test]
fn a_bin_that_another_line_sealed_is_opened_again() {
    let limits = Limits {
        open_bins: 1,
        ..Limits::default()
    };
    let mut worker = Worker::new(&options(), &limits);
    let query = |server: u32| {
        format!(
            "Jul 15 18:00:01 ns{server} named[7]: client 10.0.0.{server}#5353 (n.example): query: n.example IN A + (10.0.0.53)\n"
        )
    };
    let text: String = (0..20).map(|i| query(i % 2)).collect();
    worker.lines((text + &"x".repeat(2000)).as_bytes());
    worker.seal_all();
    assert_eq!(worker.columns.count.iter().sum::<u32>(), 20);
    assert_eq!(worker.columns.runs.len(), 20);
}
