//! Followed files over rotation and restarts: every line once.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)] // failing is how tests speak

mod live;

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;

use live::{Lab, config, texts};
use seismolog_core::live::settings::{IntakeConfig, Listener};

fn files(folder: &Path, pattern: &str, from_start: bool) -> IntakeConfig {
    let listener = Listener::Files {
        patterns: vec![folder.join(pattern).display().to_string()],
        from_start,
    };
    config(&folder.join("state"), vec![listener])
}

fn append(path: &Path) -> File {
    OpenOptions::new().create(true).append(true).open(path).unwrap()
}

fn write(file: &mut File, range: std::ops::Range<u32>) {
    let text: String = range.map(|i| format!("line {i}\n")).collect();
    file.write_all(text.as_bytes()).unwrap();
}

fn expected(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|i| format!("line {i}")).collect()
}

/// What was counted before and is replayed now.
fn restart(lab: Lab, config: IntakeConfig) -> Lab {
    let before = lab.drain();
    let lab = Lab::start(config);
    assert_eq!(
        &texts(&lab.replayed)[texts(&lab.replayed).len() - before.len()..],
        before
    );
    lab
}

#[test]
fn the_first_start_begins_at_the_end_and_later_ones_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mail.log");
    let mut log = append(&path);
    log.write_all(b"old\nhalf ").unwrap();
    let lab = Lab::start(files(folder.path(), "*.log", false));
    log.write_all(b"a line\n").unwrap();
    write(&mut log, 0..10);
    assert_eq!(lab.lines(11)[0], "half a line");
    // A file that is new now is read whole.
    write(&mut append(&folder.path().join("new.log")), 10..12);
    lab.lines(13);
    // While nobody looks: further lines, and a new file.
    log.write_all(b"unfinished").unwrap();
    let lab = restart(lab, files(folder.path(), "*.log", false));
    write(&mut append(&folder.path().join("while_away.log")), 20..22);
    log.write_all(b" no more\n").unwrap();
    let mut lines = lab.lines(3);
    lines.sort();
    assert_eq!(lines, ["line 20", "line 21", "unfinished no more"]);
    let lab = restart(lab, files(folder.path(), "*.log", false));
    assert!(lab.drain().is_empty());
}

#[test]
fn rotation_by_rename_with_a_writer_that_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mail.log");
    let mut log = append(&path);
    write(&mut log, 0..5);
    let lab = Lab::start(files(folder.path(), "mail.log*", true));
    lab.lines(5);
    for round in 0..3u32 {
        let at = 5 + round * 10;
        write(&mut log, at..at + 3);
        let rotated = folder.path().join(format!("mail.log.{round}"));
        fs::rename(&path, &rotated).unwrap();
        write(&mut log, at + 3..at + 6); // the writer has not noticed yet
        lab.lines((at + 6) as usize);
        log = append(&path);
        write(&mut log, at + 6..at + 10);
        lab.lines((at + 10) as usize);
    }
    assert_eq!(lab.drain(), expected(0..35));
}

#[test]
fn what_a_writer_adds_too_late_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mail.log");
    let mut log = append(&path);
    write(&mut log, 0..5);
    let mut config = files(folder.path(), "mail.log", true);
    config.limits.rotated_seconds = 0;
    let lab = Lab::start(config);
    lab.lines(5);
    fs::rename(&path, folder.path().join("mail.log.1")).unwrap();
    write(&mut append(&path), 5..8);
    lab.lines(8);
    // The old file is let go now, at the latest with the next look.
    std::thread::sleep(std::time::Duration::from_millis(2500));
    assert_eq!(lab.sum("seismolog_rotated_bytes_late_total"), 0);
    log.write_all(b"too late\n").unwrap();
    lab.until("late", |lab| lab.sum("seismolog_rotated_bytes_late_total") == 9);
    assert_eq!(lab.drain(), expected(0..8));
}

#[test]
fn copy_and_truncate() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mail.log");
    let mut log = append(&path);
    let lab = Lab::start(files(folder.path(), "mail.log", true));
    for round in 0..5u32 {
        // A text of which nothing was read cannot be told from the next one.
        write(&mut log, round * 100..round * 100 + 5);
        lab.lines(round as usize * 100 + 5);
        write(&mut log, round * 100 + 5..round * 100 + 50);
        fs::copy(&path, folder.path().join(format!("mail.log.{round}"))).unwrap();
        log.set_len(0).unwrap();
        write(&mut log, round * 100 + 50..round * 100 + 100);
        lab.lines((round as usize + 1) * 100);
        log.set_len(0).unwrap();
        // Seen as empty, else an equal length could hide the change.
        std::thread::sleep(std::time::Duration::from_millis(300));
    }
    assert_eq!(lab.drain(), expected(0..500));
}

fn compress(path: &Path) {
    let text = fs::read(path).unwrap();
    let mut name = path.as_os_str().to_owned();
    name.push(".gz");
    let file = File::create(&name).unwrap();
    let mut out = flate2::write::GzEncoder::new(file, flate2::Compression::default());
    out.write_all(&text).unwrap();
    let file = out.finish().unwrap();
    // gzip keeps the time.
    file.set_modified(fs::metadata(path).unwrap().modified().unwrap())
        .unwrap();
    fs::remove_file(path).unwrap();
}

#[test]
fn rotated_and_compressed_while_nobody_looked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mail.log");
    let mut log = append(&path);
    let lab = Lab::start(files(folder.path(), "*.log", true));
    write(&mut log, 0..10);
    lab.lines(10);
    assert_eq!(lab.drain(), expected(0..10));
    let mut at = 10;
    for (n, how) in [(3, "gz"), (2, "gz"), (1, "plain")] {
        write(&mut log, at..at + 5);
        let rotated = folder.path().join(format!("mail.log.{n}"));
        fs::rename(&path, &rotated).unwrap();
        if how == "gz" {
            compress(&rotated);
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
        at += 5;
        log = append(&path);
    }
    write(&mut log, at..at + 5);
    let lab = Lab::start(files(folder.path(), "*.log", true));
    assert_eq!(lab.lines(20), expected(10..30));
    let lab = restart(lab, files(folder.path(), "*.log", true));
    assert!(lab.drain().is_empty());
}

#[test]
fn copied_and_truncated_while_nobody_looked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mail.log");
    let mut log = append(&path);
    let lab = Lab::start(files(folder.path(), "*.log", true));
    write(&mut log, 0..10);
    lab.lines(10);
    lab.drain();
    write(&mut log, 10..20);
    fs::copy(&path, folder.path().join("mail.log.1")).unwrap();
    log.set_len(0).unwrap();
    write(&mut log, 20..60);
    let lab = Lab::start(files(folder.path(), "*.log", true));
    assert_eq!(lab.lines(50), expected(10..60));
    lab.drain();
}
