//! What counting lines as they come costs: for measuring and for profilers, without sockets or a log.
//!
//! `cargo run --release --example live_count -- MILLIONS LINES_A_MINUTE [nodetails] [flood]`
//!
//! Lines of BIND from 20,000 clients (the n-th of weight 1/n) for 200,000 names, 155 bytes each, in blocks of 128 KiB,
//! stamped as if so many came each minute; with `flood` every second one is of a new client and a new name. Prints the
//! processor time a line, of which for rounds, what a snapshot takes, and the memory.

use std::time::Instant;

use seismolog_core::count::worker::Worker;
use seismolog_core::live::counter::{CountingConfig, tables};

/// 2002-07-15 14:00 UTC.
const BEGIN: i64 = 1_026_741_600;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Small numbers are more frequent: the n-th as 1/n, about.
    fn ranked(&mut self, n: f64) -> u64 {
        let u = (self.next() >> 11) as f64 / (1u64 << 53) as f64;
        n.powf(u) as u64
    }
}

fn seconds_of_processor() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = stat.rsplit_once(')').map_or("", |s| s.1);
    let ticks = |at: usize| {
        after
            .split_whitespace()
            .nth(at)
            .and_then(|t| t.parse::<f64>().ok())
            .unwrap_or(0.0)
    };
    (ticks(11) + ticks(12)) / 100.0
}

fn memory(what: &str) -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with(what)).unwrap_or("?");
    line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| -> Result<u64, Box<dyn std::error::Error>> {
        Ok(given.get(at).ok_or("MILLIONS LINES_A_MINUTE")?.parse()?)
    };
    let (lines, a_minute) = (number(0)? * 1_000_000, number(1)?.max(1));
    let flag = |name: &str| given.iter().any(|g| g == name);
    let flood = flag("flood");
    let config = CountingConfig {
        details: !flag("nodetails"),
        ..CountingConfig::default()
    };
    let (options, limits, live) = config.resolve()?;
    let mut worker = Worker::live(&options, &limits, &live);
    let mut random = Random(88_172_645_463_325_252);
    let bodies: Vec<String> = (0..200_000)
        .map(|_| {
            let client = random.ranked(20_000.0);
            let name = random.ranked(200_000.0);
            let kind = ["A", "A", "A", "AAAA", "MX", "TXT"][(random.next() % 6) as usize];
            let text = if random.next().is_multiple_of(8) {
                format!("{}.{}.1.10.in-addr.arpa IN PTR", name % 250, name / 250 % 250)
            } else {
                format!("host{name}.department{}.domain{}.example IN {kind}", name % 7, name % 3001)
            };
            format!(
                " ns1 named[1201]: client @0x7f3a5c0a1b20 10.{}.{}.{}#53211 (x): query: {text} +E(0)K (192.0.2.53)\n",
                client >> 16,
                client >> 8 & 255,
                client & 255
            )
        })
        .collect();
    let (mut counted, mut at, mut rounds, mut rows) = (0u64, 0usize, 0.0, 0usize);
    let (mut block, mut longest) = (Vec::new(), 0.0f64);
    let mut told = 0;
    let mut spent = 0.0;
    while counted < lines {
        let second = BEGIN + (counted * 60 / a_minute) as i64;
        let day = second.rem_euclid(86_400);
        let stamp = format!(
            "2002-07-{:02}T{:02}:{:02}:{:02}Z",
            15 + (second - BEGIN + 14 * 3600) / 86_400,
            day / 3600,
            day / 60 % 60,
            day % 60
        );
        block.clear();
        while block.len() < 128 << 10 {
            block.extend_from_slice(stamp.as_bytes());
            if flood && counted % 2 == 0 {
                let n = random.next();
                block.extend_from_slice(
                    format!(
                        " ns1 named[1201]: client {}.{}.{}.{}#5 (x): query: r{n:x}.d{}.example IN A +\n",
                        n & 255,
                        n >> 8 & 255,
                        n >> 16 & 255,
                        n >> 24 & 255,
                        n >> 32 & 0xffff
                    )
                    .as_bytes(),
                );
            } else {
                block.extend_from_slice(bodies[at].as_bytes());
                at = random.next() as usize % bodies.len();
            }
            counted += 1;
        }
        let begun = Instant::now();
        worker.receive(0, second * 1_000_000, &block);
        spent += begun.elapsed().as_secs_f64();
        if second > told {
            told = second;
            let begun = Instant::now();
            let round = worker.round(second, 5, false);
            if !round.is_empty() {
                rows += tables(round, &options)?
                    .iter()
                    .flat_map(|t| &t.batches)
                    .map(|b| b.num_rows())
                    .sum::<usize>();
            }
            let took = begun.elapsed().as_secs_f64();
            rounds += took;
            longest = longest.max(took);
        }
    }
    let line = |s: f64| s / counted as f64 * 1e9;
    println!(
        "{counted} lines: {:.0} ns a line counting, {:.0} ns rounds ({rows} rows, longest {:.0} ms); processor {:.1} s",
        line(spent),
        line(rounds),
        longest * 1e3,
        seconds_of_processor()
    );
    let (begun, before) = (Instant::now(), seconds_of_processor());
    let saved = worker.save()?;
    let (took, spent) = (begun.elapsed(), seconds_of_processor() - before);
    let bytes = saved.head.len() + saved.blobs.iter().map(|b| b.len()).sum::<usize>();
    let begun = Instant::now();
    Worker::restore(&options, &limits, &live, &saved, true)?;
    println!(
        "snapshot {:.0} ms ({:.0} of processor), {:.1} MB, restored in {:.0} ms; kept {:?}; now {}, at most {}",
        took.as_secs_f64() * 1e3,
        spent * 1e3,
        bytes as f64 / 1e6,
        begun.elapsed().as_secs_f64() * 1e3,
        worker.kept(),
        memory("VmRSS"),
        memory("VmHWM")
    );
    println!("{:?}", worker.all_shed());
    Ok(())
}
