//! Peers of the benchmark suite that no package brings.
//!
//! `regex FILE` counts DNS queries by minute and client with the `regex` crate, a line at a time, as a careful
//! programmer would at first: one compiled expression, one hash table, no allocation for a key that is known.
//! `decompress FILE...` reads `.gz` and `.zst` files to their end on two threads and counts the bytes: the least that
//! any reader of these files must spend. The verbs of the live suite stand in the module `live`.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use regex::bytes::Regex;

mod live;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = live::run(&arguments).unwrap_or_else(|| match arguments.split_first() {
        Some((verb, files)) if verb == "regex" && files.len() == 1 => count(&files[0]),
        Some((verb, files)) if verb == "decompress" && !files.is_empty() => decompress(files),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "usage: seismolog-bench-peers regex FILE | decompress FILE... | send-tcp ADDRESS FILE TIMES | \
             discard-tcp ADDRESS [LINES] | discard-stdin LOG LINES | answer LOG LINES | send-udp ADDRESS FILE RATE COUNT",
        )),
    });
    match done {
        Ok(answer) => {
            println!("{answer}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Counts by (minute, client); answers `queries rows sum-of-squares`, which the suite compares among all peers.
fn count(path: &str) -> io::Result<String> {
    let pattern = Regex::new(concat!(
        r"(?-u)^(\w{3} [ \d]\d \d\d:\d\d):\d\d (\S+) named\[\d+\]: ",
        r"client (?:@0x[0-9a-f]+ )?([0-9a-fA-F.:]+)#\d+ \([^)]*\): query: (\S+) IN (\S+)"
    ))
    .map_err(io::Error::other)?;
    let mut input = BufReader::with_capacity(1 << 18, File::open(path)?);
    let mut table: HashMap<Vec<u8>, HashMap<Vec<u8>, u64>> = HashMap::new();
    let mut line = Vec::new();
    while input.read_until(b'\n', &mut line)? > 0 {
        if let Some(found) = pattern.captures(&line) {
            let (minute, client) = (&found[1], &found[3]);
            if !table.contains_key(minute) {
                table.insert(minute.to_vec(), HashMap::new());
            }
            if let Some(clients) = table.get_mut(minute) {
                match clients.get_mut(client) {
                    Some(count) => *count += 1,
                    None => {
                        clients.insert(client.to_vec(), 1);
                    }
                }
            }
        }
        line.clear();
    }
    let counts = || table.values().flat_map(HashMap::values);
    let (queries, rows) = (counts().sum::<u64>(), counts().count());
    Ok(format!(
        "{queries} {rows} {}",
        counts().map(|count| count * count).sum::<u64>()
    ))
}

/// Reads each file to its end, two at a time; answers the number of decompressed bytes.
fn decompress(paths: &[String]) -> io::Result<String> {
    let (next, bytes) = (AtomicUsize::new(0), AtomicU64::new(0));
    let work = || -> io::Result<()> {
        let mut buffer = vec![0; 1 << 18];
        while let Some(path) = paths.get(next.fetch_add(1, Ordering::Relaxed)) {
            let file = File::open(path)?;
            let mut input: Box<dyn Read> = if path.ends_with(".gz") {
                Box::new(flate2::bufread::MultiGzDecoder::new(BufReader::with_capacity(
                    1 << 18,
                    file,
                )))
            } else {
                Box::new(zstd::Decoder::new(file)?)
            };
            loop {
                match input.read(&mut buffer)? {
                    0 => break,
                    got => bytes.fetch_add(got as u64, Ordering::Relaxed),
                };
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(work);
        work()?;
        other.join().map_err(|_| io::Error::other("a thread panicked"))?
    })?;
    Ok(bytes.into_inner().to_string())
}
