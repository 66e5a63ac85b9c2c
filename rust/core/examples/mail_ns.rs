//! Measures the mail dialects: nanoseconds for one message, with the headers already cut off.
//!
//! ```text
//! cargo run --release -p seismolog-core --example mail_ns            the golden lines
//! cargo run --release -p seismolog-core --example mail_ns FILE…      log files of one's own
//! ```
//!
//! The messages are laid one behind the other in memory and read in many passes; the figure is the
//! fastest pass, so that other work on the machine shows as little as possible.

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Instant;

use seismolog_core::dialect::Dialect;
use seismolog_core::event::Verdict;
use seismolog_core::syslog::header::{self, Scratch};

const DIALECTS: [Dialect; 4] = [
    Dialect::Sendmail,
    Dialect::Postfix,
    Dialect::Qpopper,
    Dialect::Dovecot,
];

fn main() -> std::io::Result<()> {
    let mut files: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    if files.is_empty() {
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden");
        for dialect in DIALECTS {
            for case in std::fs::read_dir(golden.join(dialect.name()))? {
                files.push(case?.path().join("input.log"));
            }
        }
    }
    let texts: Vec<Vec<u8>> = files.iter().map(std::fs::read).collect::<Result<_, _>>()?;
    let mut scratch = Scratch::new();
    let mut lines: Vec<(Dialect, [Vec<u8>; 3])> = Vec::new();
    for line in texts.iter().flat_map(|text| text.split(|&b| b == b'\n')) {
        let read = header::parse(line, &mut scratch);
        if let Some(dialect) = Dialect::of_program(read.program) {
            lines.push((
                dialect,
                [read.program.to_vec(), read.pid.to_vec(), read.message.to_vec()],
            ));
        }
    }
    println!(
        "{:<10} {:>8} {:>8} {:>10} {:>10}",
        "dialect", "lines", "bytes", "ns/line", "events"
    );
    for dialect in DIALECTS {
        let own: Vec<_> = lines
            .iter()
            .filter(|(d, _)| *d == dialect)
            .map(|(_, l)| l)
            .collect();
        // Enough copies that the branch predictor cannot learn the file by heart.
        let copies: Vec<_> = own.iter().cycle().take(20_000.max(own.len())).collect();
        let (mut best, mut events) = (f64::INFINITY, 0);
        for _ in 0..30 {
            let start = Instant::now();
            events = copies
                .iter()
                .filter(|l| {
                    let verdict = dialect.parse(&l[0], &l[1], black_box(&l[2]));
                    matches!(black_box(verdict), Verdict::Event(_))
                })
                .count();
            best = best.min(start.elapsed().as_secs_f64());
        }
        if own.is_empty() {
            continue;
        }
        let n = copies.len();
        let bytes: usize = copies.iter().map(|l| l[2].len()).sum();
        println!(
            "{:<10} {:>8} {:>8} {:>10.1} {:>9.0}%",
            dialect.name(),
            own.len(),
            bytes / n,
            best * 1e9 / n as f64,
            100.0 * events as f64 / n as f64
        );
    }
    Ok(())
}
