//! Time of the BIND dialect alone, in nanoseconds a line:
//! `cargo run --release -p seismolog-core --example bind_parse`.
//!
//! The messages lie one after the other in memory as in a block of a file, 8,000 of each shape with
//! 4,000 clients and 50,000 names from a seed. The best of five times 500 passes is printed, in
//! processor time where the kernel tells it (Linux), as the rest says more about the machine's neighbours
//! than about the code.

use std::fmt::Write as _;
use std::hint::black_box;
use std::time::Instant;

use seismolog_core::dialect::Dialect;
use seismolog_core::event::Verdict;

const LINES: usize = 8_000;

/// The kernel adds up processor time in steps of some milliseconds, so that one pass would be too short.
const ROUNDS: usize = 500;

struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

/// Processor time of this thread in nanoseconds, or none where the kernel does not tell.
fn cpu_nanoseconds() -> Option<f64> {
    std::fs::read_to_string("/proc/thread-self/schedstat")
        .ok()?
        .split(' ')
        .next()?
        .parse()
        .ok()
}

/// Writes one query (client, port, name, type) in a shape.
type WriteQuery = fn(&mut String, &str, u64, &str, &str);

fn main() {
    let shapes: [(&str, WriteQuery); 7] = [
        ("BIND 8", |out, client, _, name, kind| {
            let _ = write!(out, "XX+/{client}/{name}/{kind}/IN");
        }),
        ("9.2", |out, client, port, name, kind| {
            let _ = write!(out, "client {client}#{port}: query: {name} IN {kind}");
        }),
        ("9.8", |out, client, port, name, kind| {
            let _ = write!(
                out,
                "client {client}#{port}: query: {name} IN {kind} +ED (192.0.2.53)"
            );
        }),
        ("9.9", |out, client, port, name, kind| {
            let _ = write!(
                out,
                "client {client}#{port} ({name}): query: {name} IN {kind} + (192.0.2.53)"
            );
        }),
        ("9.18", |out, client, port, name, kind| {
            let _ = write!(
                out,
                "client @0x7f85b40{:05x} {client}#{port} ({name}): query: {name} IN {kind} +E(0)K (192.0.2.53)",
                port & 0xfffff
            );
        }),
        ("9.18, view", |out, client, port, name, kind| {
            let _ = write!(
                out,
                "client @0x7f85b40{:05x} {client}#{port} ({name}): view internal: query: {name} IN {kind} +E(0)K (192.0.2.53)",
                port & 0xfffff
            );
        }),
        ("9.18, denied", |out, client, port, name, kind| {
            let _ = write!(
                out,
                "client @0x7f85b40{:05x} {client}#{port} ({name}): query (cache) '{name}/{kind}/IN' denied",
                port & 0xfffff
            );
        }),
    ];
    for v6 in [false, true] {
        for (label, write) in shapes {
            if v6 && label != "9.18" {
                continue;
            }
            let mut random = Random(0x1234_5678_9abc_def1);
            let (mut buffer, mut ends) = (String::new(), Vec::with_capacity(LINES));
            for _ in 0..LINES {
                let c = random.below(4_000);
                let client = if v6 {
                    format!("2001:db8:{:x}::{:x}", c / 64, c * 7)
                } else {
                    format!("10.{}.{}.{}", c / 1000, c % 250, c * 7 % 250)
                };
                let n = random.below(50_000);
                let name = format!(
                    "{}{}.dom{}.example.{}",
                    ["www", "mail", "ns", "a", "cdn-static"][n as usize % 5],
                    n % 97,
                    n % 3001,
                    ["org", "com", "co.jp"][n as usize % 3]
                );
                let kind = ["A", "A", "A", "A", "AAAA", "AAAA", "PTR", "MX", "TXT", "HTTPS"]
                    [random.below(10) as usize];
                write(&mut buffer, &client, 1024 + random.below(60_000), &name, kind);
                ends.push(buffer.len());
            }
            let text = buffer.as_bytes();
            let mut best = f64::INFINITY;
            for _ in 0..5 {
                let (mut events, mut sum) = (0, 0);
                let (began, cpu) = (Instant::now(), cpu_nanoseconds());
                for _ in 0..ROUNDS {
                    let mut start = 0;
                    for &end in &ends {
                        if let Verdict::Event(event) =
                            Dialect::Bind.parse(b"named", b"1", black_box(&text[start..end]))
                        {
                            events += 1;
                            sum += event.client.len() + event.name.len() + event.query_type as usize;
                        }
                        start = end;
                    }
                }
                let wall = began.elapsed().as_secs_f64() * 1e9;
                let spent = match (cpu, cpu_nanoseconds()) {
                    (Some(before), Some(after)) => after - before,
                    _ => wall,
                };
                assert_eq!(events, ROUNDS * LINES);
                black_box(sum);
                best = best.min(spent / (ROUNDS * LINES) as f64);
            }
            let version = if v6 { "IPv6" } else { "IPv4" };
            println!(
                "{label:<13} {version}  {best:5.1} ns/line  {:4} bytes/line",
                text.len() / LINES
            );
        }
    }
}
