//! Counts files and prints how long it took: for profilers, which like a plain binary.
//!
//! `cargo run --release --example scan -- THREADS [kind|client|type|all|state|details] FILE...`

use seismolog_core::archive::scan::{Progress, ScanOptions, scan};
use seismolog_core::archive::source::Source;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let threads = arguments.next().ok_or("threads")?.parse()?;
    let what = arguments.next().ok_or("what")?;
    let level = ["kind", "client", "type", "all", "state", "details"]
        .iter()
        .position(|w| *w == what)
        .ok_or("what")?;
    let mut options = ScanOptions {
        threads,
        ..ScanOptions::default()
    };
    options.count.clients = level >= 1;
    options.count.query_types = level >= 2;
    options.count.names = level >= 3;
    options.count.state = level >= 4;
    options.count.details = level >= 5;
    let sources = arguments
        .map(|f| Source::look(f.as_ref()))
        .collect::<Result<Vec<_>, _>>()?;
    let start = std::time::Instant::now();
    let scanned = scan(&sources, &options, &Progress::default())?;
    let lines: u64 = scanned.sources.iter().map(|s| s.tally.lines).sum();
    let rows: usize = scanned.client_traffic.1.iter().map(|b| b.num_rows()).sum();
    println!(
        "{:.3} s, {lines} lines, {rows} rows",
        start.elapsed().as_secs_f64()
    );
    Ok(())
}
