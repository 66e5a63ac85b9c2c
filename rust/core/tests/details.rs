//! The promise of DESIGN section 1 for the tables of details: joined parts give the rows of the whole.
//!
//! Queries, look-ups, logins, failures, authenticated sends and dropped packets of two servers, repeated
//! and held ones and late ones among them, are counted in one go and in parts.

#![allow(clippy::expect_used, reason = "a test fails by a panic")]

use std::collections::BTreeMap;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int32Type, TimestampMicrosecondType, UInt32Type, UInt64Type};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::DataType;
use proptest::prelude::*;
use seismolog_core::count::bins::BinKey;
use seismolog_core::count::detail::{Place, TABLES};
use seismolog_core::count::worker::Worker;
use seismolog_core::count::{Limits, Options};

/// Rows as text, in order.
type Rows = BTreeMap<&'static str, Vec<String>>;

fn options() -> Options {
    Options {
        state: true,
        details: true,
        ..Options::default()
    }
}

fn value(array: &ArrayRef, row: usize) -> String {
    if array.is_null(row) {
        return "-".into();
    }
    match array.data_type() {
        DataType::Timestamp(_, _) => array
            .as_primitive::<TimestampMicrosecondType>()
            .value(row)
            .to_string(),
        DataType::UInt32 => array.as_primitive::<UInt32Type>().value(row).to_string(),
        DataType::UInt64 => array.as_primitive::<UInt64Type>().value(row).to_string(),
        DataType::Int32 => array.as_primitive::<Int32Type>().value(row).to_string(),
        DataType::Float64 => array.as_primitive::<Float64Type>().value(row).to_string(),
        DataType::Utf8 => array.as_string::<i32>().value(row).to_owned(),
        DataType::BinaryView => format!("{:?}", array.as_binary_view().value(row)),
        DataType::List(_) => format!(
            "{:?}",
            array
                .as_list::<i32>()
                .value(row)
                .as_primitive::<UInt32Type>()
                .values()
                .to_vec()
        ),
        other => panic!("no column of a table of details is {other}"),
    }
}

fn text(batch: &RecordBatch) -> Vec<String> {
    let mut rows: Vec<String> = (0..batch.num_rows())
        .map(|row| {
            batch
                .columns()
                .iter()
                .map(|c| value(c, row))
                .collect::<Vec<_>>()
                .join(" | ")
        })
        .collect();
    rows.sort();
    rows
}

fn count(parts: &[Vec<String>], options: &Options, limits: &Limits) -> Rows {
    let mut whole: Option<Worker> = None;
    for part in parts {
        let mut worker = Worker::new(options, limits);
        worker.lines(part.join("\n").as_bytes());
        match &mut whole {
            None => whole = Some(worker),
            Some(first) => {
                first.join(worker);
            }
        }
    }
    let mut worker = whole.expect("at least one part");
    worker.seal_all();
    let detail = worker.take_detail().expect("details were asked for");
    let place = |key: BinKey| {
        let (server, _, _) = worker.stream(key.stream).expect("a stream of the worker");
        Place {
            start: key.minute * 60,
            server: worker.servers[server as usize].bytes().map(u32::from).sum(),
        }
    };
    let (batches, _) = detail
        .tables(&worker.clients, 0, place)
        .expect("columns that fit together");
    TABLES.into_iter().zip(batches.iter().map(text)).collect()
}

fn address() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => (0u8..3, 0u8..3).prop_map(|(a, b)| format!("10.0.{a}.{b}")),
        1 => (0u16..3).prop_map(|a| format!("2001:db8::{a:x}")),
    ]
}

fn message() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        (0u8..4, 0u8..3).prop_map(|(a, b)| format!("{a}.0.{b}.192.in-addr.arpa")),
        (0u8..6, 0u8..3).prop_map(|(n, d)| format!("n{n}.d{d}.example")),
        (0u8..3).prop_map(|d| format!("MAIL.d{d}.example.")),
    ];
    prop_oneof![
        6 => (address(), name, prop_oneof![Just("A"), Just("MX"), Just("PTR")])
            .prop_map(|(c, n, t)| format!("named[7]: client {c}#53: query: {n} IN {t} +")),
        1 => address().prop_map(|c| format!("popper[]: Stats: joe 0 0 3 4567 host {c}")),
        1 => address().prop_map(|c| format!(
            "popper[]: (v4.0.5) POP login by user \"joe\" at (host) {c}"
        )),
        2 => (0u8..3, address()).prop_map(|(u, c)| format!(
            "dovecot[1]: imap-login: Login: user=<u{u}>, method=PLAIN, rip={c}, lip=192.0.2.1, mpid=3"
        )),
        1 => (0u8..3, address()).prop_map(|(u, c)| format!(
            "dovecot[1]: imap-login: Aborted login (auth failed, 1 attempts in 2 secs): user=<u{u}>, method=PLAIN, rip={c}, lip=192.0.2.1"
        )),
        1 => (0u8..3, address()).prop_map(|(u, c)| format!(
            "postfix/smtpd[4]: 3D0A1B2C{u}: client=h[{c}], sasl_method=PLAIN, sasl_username=u{u}@example.org"
        )),
        2 => (address(), 0u8..9, 0u16..3).prop_map(|(c, d, p)| format!(
            "kernel: DROP IN=eth0 OUT= SRC={c} DST=192.0.2.{d} LEN=60 PROTO=TCP SPT=4711 DPT={p}"
        )),
        2 => (1u8..5).prop_map(|n| format!("last message repeated {n} times")),
        1 => Just("cron[1]: something else".to_owned()),
    ]
}

fn lines() -> impl Strategy<Value = Vec<String>> {
    proptest::collection::vec((0u32..2, 0u32..9, 0u32..3, message()), 1..80).prop_map(|steps| {
        let mut minute = 60;
        steps
            .into_iter()
            .enumerate()
            .map(|(i, (server, ahead, back, message))| {
                minute += ahead;
                let at = minute - back;
                // A session has two lines at most: which of several a line cancels is not told.
                let message = message.replace("popper[]", &format!("popper[{}]", i / 2));
                format!(
                    "Jul 15 {:02}:{:02}:01 ns{server} {message}",
                    at / 60 % 24,
                    at % 60
                )
            })
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn any_split_counts_like_the_whole(
        lines in lines(), cuts in proptest::collection::vec(0usize..80, 0..4), hours in any::<bool>(),
    ) {
        let options = Options { detail_minutes: if hours { 60 } else { 15 }, ..options() };
        let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(lines.len())).collect();
        cuts.sort_unstable();
        let mut parts = Vec::new();
        let mut from = 0;
        for cut in cuts {
            parts.push(lines[from..cut].to_vec());
            from = cut;
        }
        parts.push(lines[from..].to_vec());
        // Small summaries, so that they are sampled in these tests too.
        let limits = Limits { client_summary_size: 4, ..Limits::default() };
        prop_assert_eq!(count(&[lines], &options, &limits), count(&parts, &options, &limits));
    }
}

fn told(lines: &[&str]) -> Rows {
    let lines = lines.iter().map(|l| format!("Jul 15 18:{l}")).collect::<Vec<_>>();
    count(&[lines], &options(), &Limits::default())
}

#[test]
fn the_lines_of_these_tests_do_count() {
    let rows = told(&[
        "00:01 ns0 named[7]: client 10.0.0.1#53: query: 1.0.0.192.in-addr.arpa IN PTR +",
        "00:01 ns0 dovecot[1]: imap-login: Login: user=<u1>, method=PLAIN, rip=10.0.0.1, lip=192.0.2.1, mpid=3",
        "00:01 ns0 last message repeated 3 times",
        "00:02 ns0 dovecot[1]: imap-login: Aborted login (auth failed, 1 attempts in 2 secs): user=<u1>, method=PLAIN, rip=10.0.0.2, lip=192.0.2.1",
        "00:02 ns0 postfix/smtpd[4]: 3D0A1B2C3D: client=h[10.0.0.1], sasl_method=PLAIN, sasl_username=u1",
        "00:03 ns0 kernel: DROP IN=eth0 OUT= SRC=10.0.0.1 DST=192.0.2.9 LEN=60 PROTO=TCP SPT=4711 DPT=22",
    ]);
    let account = &rows["account_activity"];
    assert_eq!(account.len(), 1);
    assert!(account[0].contains("| u1 | 4 | 1 | 1 | 2 |"), "{account:?}");
    assert_eq!(rows["ptr_target"].len(), 2, "a client and its /24");
    assert_eq!(rows["drop_target"].len(), 4, "both, by port and over all ports");
}

#[test]
fn a_login_that_a_later_line_cancels_counts_once() {
    let rows = told(&[
        "00:01 ns0 popper[9]: Stats: joe 0 0 3 4567 host 10.0.0.1",
        "00:02 ns0 popper[9]: (v4.0.5) POP login by user \"joe\" at (host) 10.0.0.1",
    ]);
    assert_eq!(rows["account_activity"].len(), 1);
    assert!(
        rows["account_activity"][0].contains("| joe | 1 | 0 | 0 | 1 |"),
        "{rows:?}"
    );
}

#[test]
fn distances_are_those_of_consecutive_targets_of_a_client() {
    let query = |minute: u32, client: u8, target: &str| {
        format!(
            "{minute:02}:01 ns0 named[7]: client 10.0.0.{client}#53: query: {target}.in-addr.arpa IN PTR +"
        )
    };
    // Client 1 searches in sequence, client 2 jumps far; their lines alternate over cells and hours.
    let lines: Vec<String> = (0..50)
        .flat_map(|i| {
            [
                query(i, 1, &format!("{i}.2.0.192")),
                query(i, 2, &format!("{}.2.0.192", i % 2 * 200)),
            ]
        })
        .collect();
    let rows = told(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    let of = |origin: &str| {
        rows["ptr_target"]
            .iter()
            .find(|r| r.contains(&format!("| {origin} |")))
            .cloned()
            .unwrap_or_default()
    };
    for (origin, numbers, distances) in [
        ("10.0.0.1", "| 50 | 50 |", "| [0, 49] |"),
        ("10.0.0.2", "| 50 | 2 |", "| [0, 0, 0, 0, 0, 49] |"),
    ] {
        let row = of(origin);
        assert!(row.contains(numbers) && row.contains(distances), "{rows:?}");
    }
    assert!(of("10.0.0.0/24").contains("| 100 | 51 |"), "{rows:?}");
    assert!(of("10.0.0.0/24").contains("| [0, 49, 0, 0, 0, 49] |"), "{rows:?}");
}

#[test]
fn bounds_hold_and_what_goes_is_counted() {
    let limits = Limits {
        accounts: 3,
        ptr_targets: 8,
        drop_targets: 8,
        ..Limits::default()
    };
    let mut lines = Vec::new();
    for i in 0..100u32 {
        let client = format!("10.0.{}.{}", i / 250, i % 250);
        let head = format!("Jul 15 18:{:02}:01 ns0", i / 10);
        lines.push(format!(
            "{head} named[7]: client {client}#53: query: 1.0.0.192.in-addr.arpa IN PTR +"
        ));
        lines.push(format!(
            "{head} named[7]: client 10.9.9.9#53: query: {i}.0.0.192.in-addr.arpa IN PTR +"
        ));
        lines.push(format!(
            "{head} kernel: DROP IN=eth0 OUT= SRC={client} DST=192.0.2.9 LEN=60 PROTO=TCP SPT=4711 DPT={i}"
        ));
        lines.push(format!(
            "{head} dovecot[1]: imap-login: Login: user=<u{i}>, method=PLAIN, rip={client}, lip=192.0.2.1, mpid=3"
        ));
    }
    let mut worker = Worker::new(&options(), &limits);
    worker.lines(lines.join("\n").as_bytes());
    let detail = worker.take_detail().expect("details");
    let place = |key: BinKey| Place {
        start: key.minute * 60,
        server: key.stream,
    };
    let (_, shed) = detail
        .tables(&worker.clients, 0, place)
        .expect("columns that fit");
    assert_eq!(shed["accounts"], 97);
    assert!(shed["ptr_targets"] > 80 && shed["drop_targets"] > 150, "{shed:?}");
    let rows = count(&[lines], &options(), &limits);
    assert_eq!(rows["account_activity"].len(), 4);
    assert!(
        rows["ptr_target"]
            .iter()
            .any(|r| r.contains("| 10.9.9.9 | 100 | 100 |")),
        "the heavy one stays: {rows:?}"
    );
}
