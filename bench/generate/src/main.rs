//! Writes the log files that the benchmark suite reads.
//!
//! The files look like those of a busy site: BIND 9.16 query logs of about 155 bytes a line, and mail logs in which
//! sendmail, Postfix, qpopper and Dovecot take turns; clients and names follow a Zipf law; time runs evenly over the
//! days asked for. The same options give the same bytes on any machine: all chance comes from one seeded generator.
//!
//! Limits: this is load, not a model of a site. Deliveries do not cause DNS queries here (`seismolog simulate` does
//! that); only the rates of lines, clients, names and query types are meant to be lifelike.

mod dns;
mod mail;
mod random;
mod time;

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;

const USAGE: &str = "usage: seismolog-bench-generate dns|mail --out FILE[.gz|.zst] --lines N
    --seed N          where all chance comes from (1)
    --clients N       client addresses (20000)
    --days N          days that the lines are spread over (1)
    --minutes N       spread over so many minutes instead
    --servers N       servers that write in turn (dns: 1)
    --ipv6            every other client has an IPv6 address (dns)
    --disorder N      lines come up to so many seconds late (dns: 0)
    --names zipf|unique   names asked for, or each one new (dns: zipf)";

/// What the command line asks for.
pub(crate) struct Options {
    pub lines: u64,
    pub seed: u64,
    pub clients: usize,
    pub minutes: u64,
    pub servers: u64,
    pub ipv6: bool,
    pub disorder: u64,
    pub unique_names: bool,
}

fn main() -> ExitCode {
    match run(std::env::args().skip(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::from(2)
        }
    }
}

fn run(mut arguments: impl Iterator<Item = String>) -> Result<(), String> {
    let kind = arguments.next().ok_or(USAGE)?;
    let mut options = Options {
        lines: 0,
        seed: 1,
        clients: 20_000,
        minutes: 24 * 60,
        servers: 1,
        ipv6: false,
        disorder: 0,
        unique_names: false,
    };
    let mut out = None;
    while let Some(flag) = arguments.next() {
        if flag == "--ipv6" {
            options.ipv6 = true;
            continue;
        }
        let value = arguments
            .next()
            .ok_or_else(|| format!("{flag} wants a value\n{USAGE}"))?;
        let number = || {
            value
                .parse::<u64>()
                .map_err(|_| format!("{flag} wants a number, not {value:?}"))
        };
        match flag.as_str() {
            "--out" => out = Some(value),
            "--lines" => options.lines = number()?,
            "--seed" => options.seed = number()?,
            "--clients" => {
                options.clients = usize::try_from(number()?)
                    .map_err(|e| e.to_string())?
                    .clamp(1, 1 << 24);
            }
            "--days" => options.minutes = number()?.max(1) * 24 * 60,
            "--minutes" => options.minutes = number()?.max(1),
            "--servers" => options.servers = number()?.max(1),
            "--disorder" => options.disorder = number()?,
            "--names" => options.unique_names = value == "unique",
            _ => return Err(format!("no such option: {flag}\n{USAGE}")),
        }
    }
    let out = out.ok_or(USAGE)?;
    let path = Path::new(&out);
    let file = File::create(path).map_err(|e| format!("{out}: {e}"))?;
    let file = BufWriter::with_capacity(1 << 20, file);
    write_to(file, path, &kind, &options).map_err(|e| format!("{out}: {e}"))
}

/// Writes through the compressor that the file's ending names.
fn write_to(file: BufWriter<File>, path: &Path, kind: &str, options: &Options) -> io::Result<()> {
    match path.extension().and_then(|e| e.to_str()) {
        Some("gz") => {
            let mut sink = flate2::write::GzEncoder::new(file, flate2::Compression::new(6));
            write_lines(&mut sink, kind, options)?;
            sink.finish()?.flush()
        }
        Some("zst") => {
            let mut sink = zstd::Encoder::new(file, 3)?;
            sink.multithread(2)?;
            write_lines(&mut sink, kind, options)?;
            sink.finish()?.flush()
        }
        _ => {
            let mut sink = file;
            write_lines(&mut sink, kind, options)?;
            sink.flush()
        }
    }
}

fn write_lines(sink: &mut impl Write, kind: &str, options: &Options) -> io::Result<()> {
    match kind {
        "dns" => dns::write(sink, options),
        "mail" => mail::write(sink, options),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, USAGE)),
    }
}
