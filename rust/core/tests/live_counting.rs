//! The promise of live counting: whatever the order within the lateness, the rows of the highest revision are those
//! that `scan` gives for a file with these lines in the order received; and a state that is kept and restored at any
//! moment changes nothing.

#![allow(clippy::expect_used, reason = "a test fails by a panic")]

use std::collections::BTreeMap;
use std::io::Write;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float64Type, Int32Type, TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::DataType;
use proptest::prelude::*;
use seismolog_core::archive::scan::{Progress, ScanOptions, scan};
use seismolog_core::archive::source::Source;
use seismolog_core::count::worker::{LiveOptions, Saved, Worker};
use seismolog_core::count::{Limits, Options};
use seismolog_core::live::counter::tables;
use seismolog_core::syslog::time::Zone;

/// What the tables say: (table, key and source) -> column -> value.
type Rows = BTreeMap<(String, String), BTreeMap<String, String>>;

fn value(array: &ArrayRef, row: usize) -> String {
    if array.is_null(row) {
        return "-".into();
    }
    match array.data_type() {
        DataType::Timestamp(_, _) => array
            .as_primitive::<TimestampMicrosecondType>()
            .value(row)
            .to_string(),
        DataType::UInt8 => array.as_primitive::<UInt8Type>().value(row).to_string(),
        DataType::UInt16 => array.as_primitive::<UInt16Type>().value(row).to_string(),
        DataType::UInt32 => array.as_primitive::<UInt32Type>().value(row).to_string(),
        DataType::UInt64 => array.as_primitive::<UInt64Type>().value(row).to_string(),
        DataType::Int32 => array.as_primitive::<Int32Type>().value(row).to_string(),
        DataType::Float64 => format!("{:.9}", array.as_primitive::<Float64Type>().value(row)),
        DataType::Utf8 => array.as_string::<i32>().value(row).to_owned(),
        DataType::Utf8View => array.as_string_view().value(row).to_owned(),
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
        other => panic!("no column is {other}"),
    }
}

const KEYS: [&str; 10] = [
    "bin_start",
    "server",
    "kind",
    "query_type",
    "side",
    "client",
    "account",
    "origin",
    "port",
    "domain",
];

/// Puts the rows of a batch in, over those of the same key.
fn put(rows: &mut Rows, table: &str, batch: &RecordBatch, servers: &[String], once: bool) {
    let schema = batch.schema();
    for row in 0..batch.num_rows() {
        let mut key = Vec::new();
        let mut values = BTreeMap::new();
        for (field, column) in schema.fields().iter().zip(batch.columns()) {
            let mut text = value(column, row);
            let name = field.name().as_str();
            if name == "server" {
                text = servers[text.parse::<usize>().expect("a position")].clone();
            }
            if KEYS.contains(&name)
                && !(table == "domain" && name != "bin_start" && name != "server" && name != "domain")
            {
                key.push(text);
            } else if name == "source" {
                assert_eq!(text, "0", "no line of these tests is later than an hour");
            } else {
                values.insert(name.to_owned(), text);
            }
        }
        let before = rows.insert((table.to_owned(), key.join(" | ")), values);
        assert!(!once || before.is_none(), "twice: {table} {key:?}");
    }
}

/// Rows of which nothing is left.
fn drop_nothing(rows: &mut Rows) {
    rows.retain(|_, v| {
        let mut sums = ["count", "logins", "failures", "authenticated_sends"]
            .iter()
            .filter_map(|name| v.get(*name))
            .peekable();
        sums.peek().is_none() || sums.any(|n| n != "0")
    });
}

fn options() -> Options {
    Options {
        state: true,
        details: true,
        detail_minutes: 60,
        inside: vec![seismolog_core::count::address::Prefix::parse("10.0.0.0/8").expect("valid")],
        ..Options::default()
    }
}

fn archive(lines: &[String], options: &Options, limits: &Limits, zone: &str, year: i64) -> Rows {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all((lines.join("\n") + "\n").as_bytes())
        .expect("written");
    let sources = [Source::look(file.path()).expect("a file")];
    let scan_options = ScanOptions {
        count: options.clone(),
        limits: limits.clone(),
        threads: 1,
        zone: Some(Zone::new(zone).expect("a zone")),
        year: Some(year),
        ..ScanOptions::default()
    };
    let found = scan(&sources, &scan_options, &Progress::default()).expect("scanned");
    let mut rows = Rows::new();
    assert!(
        found.split_bins.is_empty(),
        "rows of one key must stand together in these tests"
    );
    for (name, batches) in [
        ("client_traffic", &found.client_traffic.1),
        ("traffic", &found.traffic.1),
    ]
    .into_iter()
    .chain(found.details.iter().map(|(name, (_, batches))| (*name, batches)))
    {
        for batch in batches {
            put(&mut rows, name, batch, &found.servers, true);
        }
    }
    rows
}

/// Rounds so far.
struct Reader {
    rows: Rows,
    options: Options,
}

impl Reader {
    fn read(&mut self, worker: &mut Worker, now: i64, revise: i64, all: bool) -> usize {
        let mut bins = 0;
        loop {
            let round = worker.round(now, revise, all);
            if round.is_empty() {
                return bins;
            }
            bins += round.bins;
            let servers = round.servers.clone();
            let more = round.more;
            for told in tables(round, &self.options).expect("columns that fit together") {
                for batch in &told.batches {
                    put(&mut self.rows, told.name, batch, &servers, false);
                }
            }
            if !more {
                return bins;
            }
        }
    }
}

/// A line as it came: source, time of receipt (seconds), text.
type Came = (u32, i64, String);

struct Setting {
    options: Options,
    limits: Limits,
    live: LiveOptions,
}

fn setting(zone: &str) -> Setting {
    Setting {
        options: options(),
        limits: Limits::default(),
        live: LiveOptions {
            zone: Some(Zone::new(zone).expect("a zone")),
            ..LiveOptions::default()
        },
    }
}

/// Counts lines one by one, with rounds after each that `rounds` names, and restarts after those that `restarts` does.
fn live(came: &[Came], s: &Setting, rounds: &[usize], restarts: &[usize]) -> (Rows, Worker) {
    let mut worker = Worker::live(&s.options, &s.limits, &s.live);
    let mut reader = Reader {
        rows: Rows::new(),
        options: s.options.clone(),
    };
    let mut now = 0;
    for (i, (source, received, line)) in came.iter().enumerate() {
        now = *received;
        worker.receive(*source, received * 1_000_000, format!("{line}\n").as_bytes());
        if rounds.contains(&i) {
            reader.read(&mut worker, now, 1, false);
        }
        if restarts.contains(&i) {
            reader.read(&mut worker, now, 1, false);
            let saved = worker.save().expect("a state");
            worker = Worker::restore(&s.options, &s.limits, &s.live, &saved, true).expect("the state");
        }
    }
    reader.read(&mut worker, now + 4 * 3600, 0, false);
    assert_eq!(
        reader.read(&mut worker, now + 4 * 3600, 0, true),
        0,
        "everything was told"
    );
    drop_nothing(&mut reader.rows);
    (reader.rows, worker)
}

fn address() -> impl Strategy<Value = String> {
    prop_oneof![
        (0u8..3, 0u8..3).prop_map(|(a, b)| format!("10.0.{a}.{b}")),
        (0u8..3).prop_map(|a| format!("192.0.2.{a}")),
        (0u16..3).prop_map(|a| format!("2001:db8:1111:2222::{a:x}")),
    ]
}

fn message() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        (0u8..4, 0u8..3).prop_map(|(a, b)| format!("{a}.0.{b}.192.in-addr.arpa")),
        (0u8..6, 0u8..3).prop_map(|(n, d)| format!("n{n}.d{d}.example")),
        (0u8..3).prop_map(|d| format!("MAIL.d{d}.example.")),
    ];
    prop_oneof![
        6 => (address(), name, prop_oneof![Just("A"), Just("MX"), Just("PTR"), Just("AAAA")])
            .prop_map(|(c, n, t)| format!("named[7]: client {c}#53: query: {n} IN {t} +")),
        1 => (address(), 0u8..4).prop_map(|(c, q)| format!(
            "sendmail[9]: q{q}: from=<a@example.jp>, size=1, class=0, nrcpts=2, msgid=<m>, proto=ESMTP, daemon=MTA, relay=h [{c}]"
        )),
        1 => (0u8..4).prop_map(|q| format!(
            "sendmail[9]: q{q}: from=<a@example.jp>, size=1, class=0, nrcpts=1, msgid=<m>, proto=ESMTP, daemon=MTA, relay=localhost [127.0.0.1]"
        )),
        1 => (0u8..4).prop_map(|q| format!(
            "sendmail[8]: x{q}: to=<b@example.org>, delay=00:00:01, mailer=relay, relay=[127.0.0.1] [127.0.0.1], dsn=2.0.0, stat=Sent (q{q} Message accepted for delivery)"
        )),
        1 => address().prop_map(|c| format!("popper[]: Stats: joe 0 0 3 4567 host {c}")),
        1 => address().prop_map(|c| format!("popper[]: (v4.0.5) POP login by user \"joe\" at (host) {c}")),
        1 => (0u8..3, address()).prop_map(|(u, c)| format!(
            "dovecot[1]: imap-login: Login: user=<u{u}>, method=PLAIN, rip={c}, lip=192.0.2.1, mpid=3"
        )),
        1 => (0u8..3, address()).prop_map(|(u, c)| format!(
            "postfix/smtpd[4]: 3D0A1B2C{u}: client=h[{c}], sasl_method=PLAIN, sasl_username=u{u}@example.org"
        )),
        1 => (address(), 0u8..9, 0u16..3).prop_map(|(c, d, p)| format!(
            "kernel: DROP IN=eth0 OUT= SRC={c} DST=192.0.2.{d} LEN=60 PROTO=TCP SPT=4711 DPT={p}"
        )),
        1 => (1u8..5, address()).prop_map(|(n, c)| format!(
            "named[7]: message repeated {n} times: [ client {c}#53: query: r.example IN A +]"
        )),
        1 => (1u8..5).prop_map(|n| format!("last message repeated {n} times")),
        1 => Just("cron[1]: something else".to_owned()),
    ]
}

const ZONE: &str = "Asia/Tokyo";
const OFFSET: i64 = 9 * 3600;
/// 2002-07-15 14:00 UTC, 23:00 in Tokyo: the lines pass midnight. And New Year's Eve.
const BEGINS: [i64; 2] = [1_026_741_600, 1_041_343_200];

/// A time in the zone as `Jul 15 23:00:01`, or in full.
fn stamp(at: i64, yearless: bool) -> String {
    let local = at + OFFSET;
    let (year, month, day) = seismolog_core::syslog::time::civil_from_days(local.div_euclid(86_400));
    let second = local.rem_euclid(86_400);
    let (h, m, s) = (second / 3600, second / 60 % 60, second % 60);
    if yearless {
        let months = [
            "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
        ];
        format!("{} {day:>2} {h:02}:{m:02}:{s:02}", months[month as usize - 1])
    } else {
        format!("{year}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}+09:00")
    }
}

/// Lines in the order received, each written up to two minutes before; a server writes on one clock.
fn came() -> impl Strategy<Value = Vec<Came>> {
    (
        prop_oneof![Just(BEGINS[0]), Just(BEGINS[1])],
        proptest::collection::vec((0u32..3, 0i64..90, 0i64..119, 0u32..2, message()), 1..120),
    )
        .prop_map(|(begin, steps)| {
            let mut now = begin;
            steps
                .into_iter()
                .enumerate()
                .map(|(i, (server, ahead, delay, source, message))| {
                    now += ahead;
                    // A session has two lines at most: which of several a line cancels is not told.
                    let message = message.replace("popper[]", &format!("popper[{}]", i / 2));
                    let line = format!("{} ns{server} {message}", stamp(now - delay, server != 1));
                    (source, now, line)
                })
                .collect()
        })
}

fn texts(came: &[Came]) -> Vec<String> {
    came.iter().map(|c| c.2.clone()).collect()
}

fn year(came: &[Came]) -> i64 {
    seismolog_core::syslog::time::civil_from_days((came[0].1 + OFFSET).div_euclid(86_400)).0
}

/// The first differences, for a message that can be read.
fn differences(a: &Rows, b: &Rows) -> String {
    let mut out = String::new();
    for key in a.keys().chain(b.keys()) {
        if a.get(key) != b.get(key) && out.len() < 3000 {
            out += &format!(
                "{key:?}\n  live    {:?}\n  archive {:?}\n",
                a.get(key),
                b.get(key)
            );
        }
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn live_counts_like_an_archive(
        came in came(),
        rounds in proptest::collection::vec(0usize..120, 0..12),
        restarts in proptest::collection::vec(0usize..120, 0..4),
    ) {
        let s = setting(ZONE);
        let (rows, _) = live(&came, &s, &rounds, &restarts);
        let expected = archive(&texts(&came), &s.options, &s.limits, ZONE, year(&came));
        prop_assert!(rows == expected, "{}", differences(&rows, &expected));
    }

    #[test]
    fn any_state_is_safe(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let s = setting(ZONE);
        let saved = Saved { head: bytes.clone(), blobs: vec![bytes.as_slice().into()] };
        let _ = Worker::restore(&s.options, &s.limits, &s.live, &saved, true);
    }
}

/// Counts of `traffic` by start (minutes after the beginning) and source.
fn sums(worker: &mut Worker, now: i64, sums: &mut BTreeMap<(i64, u32), u64>) {
    let round = worker.round(now, 0, false);
    if round.is_empty() {
        return;
    }
    for part in &round.parts {
        let mut fresh: BTreeMap<(i64, u32), u64> = BTreeMap::new();
        for row in &part.traffic {
            *fresh
                .entry((row.key.minute - BEGINS[0] / 60, part.source))
                .or_default() += row.count;
        }
        sums.extend(fresh);
    }
}

fn query(at: i64, client: &str) -> String {
    format!(
        "{} ns1 named[7]: client {client}#53: query: a.example IN A +\n",
        stamp(at, true)
    )
}

#[test]
fn what_comes_when_its_minute_was_let_go_is_counted_in_a_set_of_its_own() {
    let s = setting(ZONE);
    let mut worker = Worker::live(&s.options, &s.limits, &s.live);
    let mut found = BTreeMap::new();
    for minute in 0..200 {
        let now = BEGINS[0] + minute * 60;
        worker.receive(0, now * 1_000_000, query(now, "10.0.0.1").as_bytes());
        sums(&mut worker, now, &mut found);
    }
    // Within the hour: the minute itself. Later: a late set, the same for an hour, whatever the minute.
    let now = BEGINS[0] + 200 * 60;
    for minute in [150, 30, 30, 31] {
        worker.receive(
            0,
            now * 1_000_000,
            query(BEGINS[0] + minute * 60, "10.0.0.2").as_bytes(),
        );
    }
    sums(&mut worker, now, &mut found);
    assert_eq!(found.get(&(150, 0)), Some(&2));
    assert_eq!((found.get(&(30, 0)), found.get(&(30, 1))), (Some(&1), Some(&2)));
    assert_eq!(found.get(&(31, 1)), Some(&1));
    assert_eq!(worker.full_tally().shed.get("late"), Some(&2));
    for minute in 201..300 {
        let now = BEGINS[0] + minute * 60;
        worker.receive(0, now * 1_000_000, query(now, "10.0.0.1").as_bytes());
        sums(&mut worker, now, &mut found);
    }
    let now = BEGINS[0] + 300 * 60;
    worker.receive(
        0,
        now * 1_000_000,
        query(BEGINS[0] + 30 * 60, "10.0.0.2").as_bytes(),
    );
    sums(&mut worker, now, &mut found);
    assert_eq!(found.get(&(30, 2)), Some(&1), "the next set");
    assert_eq!(found.get(&(30, 1)), Some(&2), "what was told stays");
    // All but the last three minutes, which have not closed.
    assert_eq!(found.values().sum::<u64>(), 299 + 5 - 3);
}

#[test]
fn a_flood_of_clients_takes_up_the_room_for_minutes_only() {
    let mut s = setting(ZONE);
    s.limits.clients = 1000;
    let mut worker = Worker::live(&s.options, &s.limits, &s.live);
    let flood: String = (0..20_000)
        .map(|i| query(BEGINS[0], &format!("172.16.{}.{}", i / 250, i % 250)))
        .collect();
    worker.receive(0, BEGINS[0] * 1_000_000, flood.as_bytes());
    assert!(worker.clients.shed > 18_000);
    for minute in 0..30 {
        let now = BEGINS[0] + minute * 60;
        let client = format!("10.0.{minute}.1");
        worker.receive(0, now * 1_000_000, query(now, &client).as_bytes());
        worker.round(now, 0, false);
    }
    assert!(worker.clamped_and_renewed().1 > 0);
    let top = worker.top(100, 5, BEGINS[0] + 29 * 60);
    let known: Vec<_> = top.clients.iter().filter_map(|c| c.client.as_deref()).collect();
    for minute in 25..30 {
        let client = format!("10.0.{minute}.1");
        assert!(known.contains(&client.as_str()), "{known:?}");
    }
}

#[test]
fn a_fast_clock_makes_nobody_late() {
    let s = setting(ZONE);
    let mut worker = Worker::live(&s.options, &s.limits, &s.live);
    let mut found = BTreeMap::new();
    let begin = BEGINS[0];
    // Source 1 writes for the same server four minutes ahead.
    for second in 0..600 {
        let now = begin + second;
        worker.receive(0, now * 1_000_000, query(now - 20, "10.0.0.1").as_bytes());
        worker.receive(1, now * 1_000_000, query(now + 240, "10.0.0.2").as_bytes());
        let round = worker.round(now, 0, false);
        for part in &round.parts {
            for row in &part.traffic {
                let minute = row.key.minute - begin / 60;
                *found.entry(minute).or_insert(0) += 1;
                // Only what the fast one alone has written to may close before the clock says so.
                assert!(minute * 60 + 60 + 120 <= second + 240, "{minute} at {second}");
            }
        }
    }
    assert_eq!(worker.clamped_and_renewed().0, 0);
    // The slow source's last closed minute was told; lines that came after the fast one closed it told it again.
    assert!(found.contains_key(&6), "{found:?}");
}

#[test]
fn the_hour_that_comes_twice_is_told_apart_as_in_an_archive() {
    let mut s = setting("Europe/Berlin");
    s.options.details = false;
    // 2002-10-26 23:30 UTC, 01:30 in Berlin; at 01:00 UTC the clock goes back from 03:00 to 02:00.
    let begin = 1_035_675_000;
    let zone = Zone::new("Europe/Berlin").expect("a zone");
    let came: Vec<Came> = (0..360)
        .map(|i| {
            let now = begin + i * 30;
            let local = zone.to_local(now - i % 7);
            let line = format!(
                "Oct 27 {:02}:{:02}:{:02} ns1 named[7]: client 10.0.0.{}#53: query: a.example IN A +",
                local.rem_euclid(86_400) / 3600,
                local / 60 % 60,
                local % 60,
                i % 5
            );
            (0, now, line)
        })
        .collect();
    let expected = archive(&texts(&came), &s.options, &s.limits, "Europe/Berlin", 2002);
    let (rows, _) = live(&came, &s, &[50, 100, 150, 200, 250], &[120, 240]);
    assert!(rows == expected, "{}", differences(&rows, &expected));
    let starts = |rows: &Rows| rows.keys().filter(|k| k.0 == "traffic").count();
    assert_eq!(starts(&rows), 180);
}

#[test]
fn other_settings_begin_a_late_set_and_lose_nothing() {
    let s = setting(ZONE);
    let mut worker = Worker::live(&s.options, &s.limits, &s.live);
    let mut found = BTreeMap::new();
    let begin = BEGINS[0];
    for second in 0..300 {
        let now = begin + second;
        worker.receive(0, now * 1_000_000, query(now, "10.0.0.1").as_bytes());
        sums(&mut worker, now, &mut found);
    }
    let saved = worker.save().expect("a state");
    // The network is outside now: rows of before must not stand beside new ones of the same bins.
    let mut other = setting(ZONE);
    other.options.inside.clear();
    let mut worker =
        Worker::restore(&other.options, &other.limits, &other.live, &saved, false).expect("a worker");
    for second in 300..600 {
        let now = begin + second;
        worker.receive(0, now * 1_000_000, query(now - 100, "10.0.0.1").as_bytes());
        sums(&mut worker, now, &mut found);
    }
    sums(&mut worker, begin + 4000, &mut found);
    assert_eq!(found.values().sum::<u64>(), 600, "{found:?}");
    let sets: std::collections::BTreeSet<u32> = found.keys().map(|k| k.1).collect();
    assert_eq!(sets.len(), 2);
}
