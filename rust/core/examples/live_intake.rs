//! What reception costs: lines over TCP into the write-ahead log, against a reader that discards them.
//!
//! `cargo run --release --example live_intake [LINES]` prints both in one run, in microseconds of this
//! process's CPU time a line (the sender, a thread, is measured apart and taken off).
//!
//! `live_intake serve DIR KIND ADDRESS` receives for real daemons (`relp`, `tcp`, `udp`, `unix`) until
//! its standard input ends, and writes what would be counted to standard output.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use seismolog_core::live::intake::{Intake, IntakeState, recover};
use seismolog_core::live::metrics::Metrics;
use seismolog_core::live::queue::Popped;
use seismolog_core::live::settings::{IntakeConfig, Listener, Protocol};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// CPU time of the calling thread, and of the whole process, in seconds.
fn cpu() -> (f64, f64) {
    let read = |clock| {
        let t = rustix::time::clock_gettime(clock);
        #[allow(clippy::cast_precision_loss)]
        let seconds = t.tv_sec as f64 + t.tv_nsec as f64 / 1e9;
        seconds
    };
    (
        read(rustix::time::ClockId::ThreadCPUTime),
        read(rustix::time::ClockId::ProcessCPUTime),
    )
}

fn block(lines: usize) -> Vec<u8> {
    let mut text = Vec::new();
    for i in 0..lines {
        let line = format!(
            "<30>Nov 25 10:00:{:02} ns1 named[1234]: client @0x7f2c5c0a1b2c 10.{}.{}.{}#40123 (host{i}.example.org): query: host{i}.example.org IN A +E(0)K (192.0.2.1)",
            i % 60,
            i % 7,
            i % 199,
            i % 251
        );
        text.extend_from_slice(line.get(..154.min(line.len())).unwrap_or(&line).as_bytes());
        text.resize(text.len() + 154_usize.saturating_sub(line.len()), b'x');
        text.push(b'\n');
    }
    text
}

/// Sends the lines; gives the CPU time it took.
fn send(address: &str, lines: usize) -> Outcome<f64> {
    let text = block(1000);
    let mut socket = TcpStream::connect(address)?;
    let (before, _) = cpu();
    for _ in 0..lines / 1000 {
        socket.write_all(&text)?;
    }
    socket.shutdown(std::net::Shutdown::Write)?;
    let _ = socket.read(&mut [0]);
    Ok(cpu().0 - before)
}

struct Measured {
    cpu: f64,
    seconds: f64,
}

fn measure(lines: usize, address: &str, wait: impl FnOnce() -> Outcome<()>) -> Outcome<Measured> {
    let since = Instant::now();
    let (_, before) = cpu();
    let address = address.to_owned();
    let sender = std::thread::spawn(move || send(&address, lines).unwrap_or(f64::NAN));
    wait()?;
    let seconds = since.elapsed().as_secs_f64();
    let (_, after) = cpu();
    let sent = sender.join().map_err(|_| "the sender ended by a fault")?;
    Ok(Measured {
        cpu: after - before - sent,
        seconds,
    })
}

fn discard(lines: usize) -> Outcome<Measured> {
    let socket = TcpListener::bind("127.0.0.1:0")?;
    let address = socket.local_addr()?.to_string();
    measure(lines, &address, || {
        let (mut stream, _) = socket.accept()?;
        let mut buffer = vec![0; 256 << 10];
        while stream.read(&mut buffer)? > 0 {}
        Ok(())
    })
}

fn start(directory: &Path, listener: Listener) -> Outcome<(Intake, Metrics)> {
    let config = IntakeConfig {
        directory: directory.to_owned(),
        listeners: vec![listener],
        ..IntakeConfig::default()
    };
    let metrics = Metrics::default();
    let recovered = recover(&config, 0, &IntakeState::default(), 0, &metrics, |_| Ok(()))?;
    Ok((Intake::start(config, recovered, &metrics)?, metrics))
}

fn receive(lines: usize, directory: &Path) -> Outcome<Measured> {
    let listener = Listener::Tcp {
        address: "127.0.0.1:0".parse()?,
    };
    let (intake, metrics) = start(directory, listener)?;
    let address = intake.addresses().into_values().next().ok_or("no listener")?;
    let mut counted = 0;
    let measured = measure(lines, &address, || {
        while counted < lines {
            match intake.logged().pop(Duration::from_secs(10)) {
                Popped::Some(logged) => {
                    counted += logged.lines as usize;
                    if logged.position % 64 == 0 {
                        intake.release(logged.position.saturating_sub(64 << 20));
                    }
                    intake.spare().give(logged.bytes);
                }
                _ => return Err("lines are missing".into()),
            }
        }
        Ok(())
    })?;
    intake.drain(Duration::from_secs(20));
    if std::env::var_os("SHOW").is_some() {
        for (name, value) in metrics.all() {
            println!("{name} {}", value.number());
        }
    }
    Ok(measured)
}

fn serve(directory: &Path, kind: &str, address: &str) -> Outcome<()> {
    let listener = match kind {
        "relp" => Listener::Relp {
            address: address.parse()?,
        },
        "tcp" => Listener::Tcp {
            address: address.parse()?,
        },
        "udp" => Listener::Udp {
            address: address.parse()?,
            receive_buffer: 64 << 20,
        },
        "unix" => Listener::Unix {
            path: PathBuf::from(address),
            mode: 0o666,
        },
        "pipe" => Listener::Stdin {
            protocol: match address {
                "confirm" => Protocol::Confirm,
                "transactions" => Protocol::Transactions,
                _ => Protocol::Plain,
            },
        },
        _ => return Err("relp, tcp, udp, unix or pipe".into()),
    };
    let piped = kind == "pipe";
    let (intake, metrics) = start(directory, listener)?;
    let intake = Arc::new(intake);
    let counter = {
        let intake = Arc::clone(&intake);
        std::thread::spawn(move || {
            let mut out = std::io::stdout().lock();
            loop {
                match intake.logged().pop(Duration::from_millis(100)) {
                    Popped::Some(logged) => {
                        if !piped && out.write_all(&logged.bytes).is_err() {
                            return;
                        }
                        intake.spare().give(logged.bytes);
                    }
                    Popped::Timeout => {
                        let _ = out.flush();
                    }
                    Popped::Closed => return,
                }
            }
        })
    };
    if piped {
        while !intake.ended() {
            std::thread::sleep(Duration::from_millis(5));
        }
    } else {
        std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    }
    let drained = intake.drain(Duration::from_secs(20));
    counter.join().map_err(|_| "the counter ended by a fault")?;
    for (name, value) in metrics.all() {
        eprintln!("{name} {}", value.number());
    }
    eprintln!("drained {drained}");
    Ok(())
}

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [command, directory, kind, address] = arguments.as_slice()
        && command == "serve"
    {
        return serve(Path::new(directory), kind, address);
    }
    let lines: usize = arguments.first().map_or(Ok(3_000_000), |n| n.parse())?;
    let folder = tempfile::tempdir()?;
    #[allow(clippy::cast_precision_loss)]
    let n = lines as f64;
    for round in 0..3 {
        let base = discard(lines)?;
        let full = receive(lines, &folder.path().join(round.to_string()))?;
        println!(
            "discard {:.3} us CPU a line, {:.0} lines/s; receive, frame, log {:.3} us CPU a line, {:.0} lines/s",
            base.cpu / n * 1e6,
            n / base.seconds,
            full.cpu / n * 1e6,
            n / full.seconds
        );
    }
    Ok(())
}
