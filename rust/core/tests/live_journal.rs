//! The journal, from a program that behaves as `journalctl` does.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)] // failing is how tests speak

mod live;

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use live::{Lab, config};
use seismolog_core::live::settings::{IntakeConfig, Listener};

/// Entries stand in a file; the program prints those behind the cursor, and follows.
const PROGRAM: &str = r#"#!/bin/sh
cd "$(dirname "$0")" || exit 1
after=0; follow=; lines=
for argument; do
    case $argument in
        --after-cursor=*) after=${argument#--after-cursor=c} ;;
        --follow) follow=1 ;;
        --lines=1) lines=1 ;;
        --unit=named) ;;
        --output=json|--no-pager|--quiet|--output-fields=*|--lines=*) ;;
        *) echo "unknown $argument" >&2; exit 2 ;;
    esac
done
[ -n "$lines" ] && exec tail -n 1 entries
if [ -n "$follow" ]; then exec tail -n +$((after + 1)) -f entries; fi
"#;

fn journal(folder: &Path) -> IntakeConfig {
    let listener = Listener::Journal {
        arguments: vec!["--unit=named".to_owned()],
        program: folder.join("journalctl"),
    };
    config(&folder.join("state"), vec![listener])
}

fn entry(i: u32) -> String {
    format!(
        "{{\"__CURSOR\":\"c{i}\",\"__REALTIME_TIMESTAMP\":\"1764064800000000\",\"MESSAGE\":\"query {i}\"}}"
    )
}

fn write(folder: &Path, range: std::ops::RangeInclusive<u32>) {
    let mut file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(folder.join("entries"))
        .unwrap();
    for i in range {
        writeln!(file, "{}", entry(i)).unwrap();
    }
}

#[test]
fn it_begins_now_and_goes_on_behind_the_last_entry() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("journalctl");
    std::fs::write(&program, PROGRAM).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    write(folder.path(), 1..=5);
    let lab = Lab::start(journal(folder.path()));
    lab.until("started", |lab| {
        lab.metrics.get("seismolog_journalctl_starts_total") == 1
    });
    write(folder.path(), 6..=8);
    assert_eq!(lab.lines(3), [entry(6), entry(7), entry(8)]);
    lab.drain();
    write(folder.path(), 9..=12);
    let lab = Lab::start(journal(folder.path()));
    assert_eq!(lab.lines(4), (9..=12).map(entry).collect::<Vec<_>>());
    assert!(lab.metrics.troubles().is_empty());
    lab.drain();
}

#[test]
fn a_program_that_fails_is_shown_with_its_words() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("journalctl");
    std::fs::write(
        &program,
        "#!/bin/sh\necho 'No journal files were opened' >&2\nexit 1\n",
    )
    .unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let lab = Lab::start(journal(folder.path()));
    lab.until("trouble", |lab| {
        lab.metrics
            .troubles()
            .values()
            .any(|t| t.contains("No journal files"))
    });
    lab.drain();
}
