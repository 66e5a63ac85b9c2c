//! What the live paths are measured against: senders that only send, sinks that only read, a program that only answers.
//!
//! Each prints what it did when it ends: lines, seconds from the first byte to the last, and for senders what the
//! system took of it.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

/// Bytes of one write or read: what a busy sender hands over at once.
const CHUNK: usize = 1 << 18;

fn usage(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text.to_owned())
}

fn report(lines: u64, started: Instant) -> String {
    let seconds = started.elapsed().as_secs_f64();
    format!("{lines} {seconds:.6}")
}

fn lines_in(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|&&b| b == b'\n').count() as u64
}

/// Sends the lines of a file `times` over to a TCP address, newline framed, as fast as they are taken.
pub fn send_tcp(address: &str, path: &str, times: u64) -> io::Result<String> {
    let mut text = Vec::new();
    File::open(path)?.read_to_end(&mut text)?;
    let lines = lines_in(&text) * times;
    let mut stream = TcpStream::connect(address)?;
    let started = Instant::now();
    for _ in 0..times {
        for part in text.chunks(CHUNK) {
            stream.write_all(part)?;
        }
    }
    // The receiver closes when it has read everything: the time ends there and not in a buffer.
    stream.shutdown(std::net::Shutdown::Write)?;
    let mut rest = [0; 64];
    while stream.read(&mut rest)? > 0 {}
    Ok(report(lines, started))
}

/// Reads one TCP connection until its end, or `most` lines, and keeps nothing but their number.
pub fn discard_tcp(address: &str, most: u64) -> io::Result<String> {
    let listener = TcpListener::bind(address)?;
    println!("{}", listener.local_addr()?);
    let (mut stream, _) = listener.accept()?;
    let started = Instant::now();
    let lines = discard(&mut stream, most)?;
    Ok(report(lines, started))
}

/// Reads standard input to its end. `log` is written when `most` lines have come: standard output may be the parent's.
pub fn discard_stdin(log: &str, most: u64) -> io::Result<String> {
    let mut input = io::stdin().lock();
    let started = Instant::now();
    let lines = discard(&mut input, most)?;
    std::fs::write(log, report(lines, started))?;
    discard(&mut input, u64::MAX)?;
    Ok(String::new())
}

fn discard(input: &mut impl Read, most: u64) -> io::Result<u64> {
    let mut buffer = vec![0; CHUNK];
    let mut lines = 0;
    while lines < most {
        match input.read(&mut buffer)? {
            0 => break,
            got => lines += lines_in(&buffer[..got]),
        }
    }
    Ok(lines)
}

/// An omprog program that only answers: `OK` once to begin with, then for every message, or for every transaction.
/// `log` is written when `most` messages were answered.
pub fn answer(log: &str, most: u64) -> io::Result<String> {
    let mut input = BufReader::with_capacity(CHUNK, io::stdin().lock());
    let mut output = io::stdout().lock();
    output.write_all(b"OK\n")?;
    output.flush()?;
    let (mut line, mut lines, mut open) = (Vec::new(), 0_u64, false);
    let mut started = None;
    while input.read_until(b'\n', &mut line)? > 0 {
        let first = *started.get_or_insert_with(Instant::now);
        let reply: &[u8] = match line.as_slice() {
            b"BEGIN TRANSACTION\n" => {
                open = true;
                b"OK\n"
            }
            b"COMMIT TRANSACTION\n" => {
                open = false;
                b"OK\n"
            }
            _ => {
                lines += 1;
                if open { b"DEFER_COMMIT\n" } else { b"OK\n" }
            }
        };
        output.write_all(reply)?;
        output.flush()?;
        if lines == most && reply == b"OK\n" {
            std::fs::write(log, report(lines, first))?;
        }
        line.clear();
    }
    Ok(String::new())
}

/// Sends datagrams of the lines of a file at a steady rate, in bursts of a millisecond.
pub fn send_udp(address: &str, path: &str, rate: u64, count: u64) -> io::Result<String> {
    let text = std::fs::read(path)?;
    let lines: Vec<&[u8]> = text.split(|&b| b == b'\n').filter(|l| !l.is_empty()).collect();
    if lines.is_empty() {
        return Err(usage("no lines to send"));
    }
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(address)?;
    let started = Instant::now();
    let mut sent = 0_u64;
    while sent < count {
        let due = (started.elapsed().as_secs_f64() * rate as f64) as u64;
        while sent < due.min(count) {
            let line = lines[sent as usize % lines.len()];
            match socket.send(line) {
                Ok(_) => sent += 1,
                // The receiver's buffer is the receiver's affair; the sender's own is waited for.
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) => return Err(e),
            }
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    Ok(report(sent, started))
}

/// One verb of the live suite; none when it is none of these.
pub fn run(arguments: &[String]) -> Option<io::Result<String>> {
    let number = |text: &String| text.parse::<u64>().map_err(|_| usage("a number is expected"));
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    Some(match words.as_slice() {
        ["send-tcp", address, path, _] => number(&arguments[3]).and_then(|n| send_tcp(address, path, n)),
        ["discard-tcp", address] => discard_tcp(address, u64::MAX),
        ["discard-tcp", address, _] => number(&arguments[2]).and_then(|n| discard_tcp(address, n)),
        ["discard-stdin", log, _] => number(&arguments[2]).and_then(|n| discard_stdin(log, n)),
        ["answer", log, _] => number(&arguments[2]).and_then(|n| answer(log, n)),
        ["send-udp", address, path, _, _] => number(&arguments[3])
            .and_then(|rate| number(&arguments[4]).and_then(|count| send_udp(address, path, rate, count))),
        _ => return None,
    })
}
