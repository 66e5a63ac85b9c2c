//! A log that is counted in stretches: the sums of its stretches are the counts of the whole.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::{TimestampMicrosecondType, UInt32Type};
use seismolog_core::archive::long::{self, Bounds};
use seismolog_core::archive::scan::{self, Progress, ScanOptions, Scanned};
use seismolog_core::archive::source::Source;
use seismolog_core::error::Error;

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// A UTC time as RFC 3164 or as RFC 3339 writes it.
fn stamp(seconds: i64, yearless: bool) -> String {
    let (mut days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let mut year = 1970;
    let leap = |y: i64| (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
    while days >= 365 + i64::from(leap(year)) {
        days -= 365 + i64::from(leap(year));
        year += 1;
    }
    let mut month = 0;
    let lengths = [
        31,
        28 + i64::from(leap(year)),
        31,
        30,
        31,
        30,
        31,
        31,
        30,
        31,
        30,
        31,
    ];
    while days >= lengths[month] {
        days -= lengths[month];
        month += 1;
    }
    if yearless {
        format!(
            "{} {:2} {hour:02}:{minute:02}:{second:02}",
            MONTHS[month],
            days + 1
        )
    } else {
        format!(
            "{year}-{:02}-{:02}T{hour:02}:{minute:02}:{second:02}Z",
            month + 1,
            days + 1
        )
    }
}

/// Lines of some servers over some days, with years or without.
fn text(lines: usize, yearless: bool) -> String {
    let mut text = String::new();
    let start = 1_764_500_000i64; // 30 November 2025
    for i in 0..lines {
        let time = stamp(start + i as i64 * 97, yearless);
        let (server, client, name) = (i % 2, i % 37, i % 101);
        text += &format!(
            "{time} ns{server} named[7]: client @0x7f00 10.0.0.{client}#5353 (n{name}.example): query: n{name}.example IN A + (10.0.0.53)\n"
        );
    }
    text
}

fn saved(folder: &Path, name: &str, text: &[u8]) -> Source {
    let path: PathBuf = folder.join(name);
    std::fs::write(&path, text).unwrap();
    Source::look(&path).unwrap()
}

fn zipped(text: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(text).unwrap();
    packed.finish().unwrap()
}

type Counts = BTreeMap<(i64, String, String), u64>;

fn add(counts: &mut Counts, scanned: &Scanned) {
    for batch in &scanned.client_traffic.1 {
        rows(batch, |start, server, client, n| {
            *counts
                .entry((start, scanned.servers[server as usize].clone(), client))
                .or_default() += n;
        });
    }
}

fn rows(batch: &RecordBatch, mut each: impl FnMut(i64, u32, String, u64)) {
    let column = |name: &str| batch.column_by_name(name).unwrap();
    let starts = column("bin_start").as_primitive::<TimestampMicrosecondType>();
    let servers = column("server").as_primitive::<UInt32Type>();
    let counts = column("count").as_primitive::<UInt32Type>();
    let clients = column("client").as_string_view();
    for i in 0..batch.num_rows() {
        each(
            starts.value(i),
            servers.value(i),
            clients.value(i).to_owned(),
            u64::from(counts.value(i)),
        );
    }
}

struct Found {
    counts: Counts,
    stretches: usize,
    lines: u64,
    last: Scanned,
    other_year: Option<i64>,
}

fn in_stretches(source: &Source, options: &ScanOptions, bytes: u64) -> Found {
    bounded(
        source,
        options,
        Bounds {
            bytes,
            rows: u64::MAX,
        },
    )
}

fn bounded(source: &Source, options: &ScanOptions, bounds: Bounds) -> Found {
    let (mut counts, mut stretches, mut lines, mut last) = (Counts::new(), 0, 0, None);
    let ended = long::scan(
        source,
        options,
        bounds,
        &Progress::default(),
        &mut |scanned, is_last| {
            add(&mut counts, &scanned);
            stretches += 1;
            lines += scanned.sources[0].tally.lines;
            assert!(last.is_none(), "nothing comes after the last");
            if is_last {
                last = Some(scanned);
            }
            true
        },
    )
    .unwrap();
    Found {
        counts,
        stretches,
        lines,
        last: last.unwrap(),
        other_year: ended.other_year,
    }
}

fn options(threads: usize) -> ScanOptions {
    let mut options = ScanOptions {
        threads,
        digest: true,
        ..ScanOptions::default()
    };
    options.count.details = true;
    options.count.state = true;
    options
}

fn whole(source: &Source) -> (Counts, Scanned) {
    let scanned = scan::scan(std::slice::from_ref(source), &options(2), &Progress::default()).unwrap();
    let mut counts = Counts::new();
    add(&mut counts, &scanned);
    (counts, scanned)
}

#[test]
fn stretches_of_any_log_add_up_to_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    for yearless in [false, true] {
        let text = text(15_000, yearless);
        for (name, bytes) in [
            ("log", text.clone().into_bytes()),
            ("log.gz", zipped(text.as_bytes())),
        ] {
            let source = saved(folder.path(), name, &bytes);
            let (expected, at_once) = whole(&source);
            assert_eq!(expected.values().sum::<u64>(), 15_000);
            for threads in [1, 2] {
                let found = in_stretches(&source, &options(threads), 300_000);
                assert!(found.stretches > 3, "{} stretches", found.stretches);
                assert_eq!(found.lines, 15_000);
                assert_eq!(found.counts, expected);
                let (one, other) = (&found.last.sources[0], &at_once.sources[0]);
                assert_eq!(one.bytes, text.len() as u64);
                assert_eq!(one.bytes, other.bytes);
                assert_eq!(
                    one.digest.as_ref().map(|d| (&d.head, &d.full)),
                    other.digest.as_ref().map(|d| (&d.head, &d.full))
                );
                assert_eq!(found.other_year, None);
                assert!(one.error.is_none());
            }
        }
    }
}

#[test]
fn a_log_of_one_stretch_is_as_any_other() {
    let folder = tempfile::tempdir().unwrap();
    for bytes in [text(50, false).into_bytes(), Vec::new()] {
        let source = saved(folder.path(), "log", &bytes);
        let found = in_stretches(&source, &options(2), 1 << 30);
        assert_eq!(found.stretches, 1);
        assert_eq!(found.counts, whole(&source).0);
    }
}

#[test]
fn a_log_of_years_without_years_says_which_its_first_was() {
    let folder = tempfile::tempdir().unwrap();
    // A line every half day, with the text of many between: four years.
    let mut text = String::new();
    for i in 0..2_900i64 {
        let time = stamp(1_640_995_200 + i * 43_200, true);
        for k in 0..5 {
            text += &format!(
                "{time} ns named[7]: client 10.0.0.{k}#53 (a.example): query: a.example IN A + (10.0.0.53)\n"
            );
        }
    }
    let mut source = saved(folder.path(), "log", text.as_bytes());
    source.written = Some(1_640_995_200 + 2_900 * 43_200);
    let (expected, _) = whole(&source);
    let found = in_stretches(&source, &options(2), 300_000);
    assert_eq!(found.other_year, Some(2022));
    let again = ScanOptions {
        year: found.other_year,
        ..options(2)
    };
    let found = in_stretches(&source, &again, 300_000);
    assert_eq!(found.other_year, None);
    assert_eq!(found.counts, expected);
}

#[test]
fn damage_is_told_with_its_place_and_what_came_before_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let text = text(15_000, false);
    let packed = zipped(text.as_bytes());
    let source = saved(folder.path(), "log.gz", &packed[..packed.len() * 3 / 4]);
    let (expected, at_once) = whole(&source);
    let found = in_stretches(&source, &options(2), 300_000);
    assert!(found.stretches > 2);
    assert_eq!(found.counts, expected);
    assert_eq!(found.last.sources[0].error, at_once.sources[0].error);
    assert!(found.last.sources[0].digest.is_none());
    let gone = Source {
        path: folder.path().join("gone.gz"),
        ..source
    };
    let found = in_stretches(&gone, &options(2), 300_000);
    assert_eq!(found.stretches, 1);
    let (_, message) = found.last.sources[0].error.clone().unwrap();
    assert!(message.contains("cannot be opened"));
}

#[test]
fn whoever_takes_the_stretches_can_stop() {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in [
        ("log", text(15_000, false).into_bytes()),
        ("log.gz", zipped(text(15_000, false).as_bytes())),
    ] {
        let source = saved(folder.path(), name, &bytes);
        let mut taken = 0;
        let result = long::scan(
            &source,
            &options(2),
            Bounds {
                bytes: 300_000,
                rows: u64::MAX,
            },
            &Progress::default(),
            &mut |_, _| {
                taken += 1;
                taken < 2
            },
        );
        assert!(matches!(result, Err(Error::Interrupted)));
        assert_eq!(taken, 2);
    }
}

#[test]
fn rows_end_a_stretch_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let text = text(15_000, false);
    for (name, bytes) in [
        ("log", text.clone().into_bytes()),
        ("log.gz", zipped(text.as_bytes())),
    ] {
        let source = saved(folder.path(), name, &bytes);
        let rows = Bounds {
            bytes: 600_000,
            rows: 4_000,
        };
        let found = bounded(&source, &options(2), rows);
        // A line makes a row of its client, and others of its domain and pair.
        assert!(found.stretches > 5, "{name}: {} stretches", found.stretches);
        assert_eq!(found.counts, whole(&source).0);
    }
}

#[test]
fn a_plain_log_is_probed_so_that_its_first_stretch_fits_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let text = text(1_200_000, false);
    assert!(text.len() > 128 << 20);
    let source = saved(folder.path(), "log", text.as_bytes());
    let all = bounded(
        &source,
        &options(2),
        Bounds {
            bytes: 1 << 30,
            rows: u64::MAX,
        },
    );
    assert_eq!(all.stretches, 1);
    let rows = 1_000_000;
    let found = bounded(&source, &options(2), Bounds { bytes: 1 << 30, rows });
    assert!(found.stretches > 2, "{} stretches", found.stretches);
    assert_eq!(found.counts, all.counts);
    assert_eq!(found.lines, 1_200_000);
}
