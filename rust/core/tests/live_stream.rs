//! Lines over TCP, TLS and unix streams, and peers that mean no good.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)] // failing is how tests speak

mod live;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::time::Duration;

use live::{Lab, config, sorted, texts};
use seismolog_core::live::settings::{IntakeConfig, IntakeLimits, Listener, WalLimits};

fn tcp() -> Vec<Listener> {
    vec![Listener::Tcp {
        address: "127.0.0.1:0".parse().unwrap(),
    }]
}

fn line(i: usize) -> String {
    format!(
        "<30>Nov 25 10:00:00 ns1 named[7]: client 192.0.2.{}#53: query: n{i}.example.org IN A + ",
        i % 250
    )
}

#[test]
fn both_framings_at_once_and_the_half_line_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let lab = Lab::start(config(folder.path(), tcp()));
    let address = lab.address("tcp");
    let mut one = TcpStream::connect(&address).unwrap();
    let mut two = TcpStream::connect(&address).unwrap();
    let mut expected = Vec::new();
    for i in 0..5000 {
        let text = line(i);
        if i % 2 == 0 {
            one.write_all(format!("{text}\n").as_bytes()).unwrap();
        } else {
            two.write_all(format!("{} {text}", text.len()).as_bytes())
                .unwrap();
        }
        expected.push(text);
    }
    one.write_all(b"<30>half").unwrap();
    expected.push("<30>half".to_owned());
    drop((one, two));
    lab.lines(5001);
    assert_eq!(lab.sum("seismolog_received_lines_total"), 5001);
    assert_eq!(sorted(lab.drain()), sorted(expected.clone()));
    // All of it is in the log, and comes back.
    let again = Lab::start(config(folder.path(), tcp()));
    assert_eq!(sorted(texts(&again.replayed)), sorted(expected));
    assert_eq!(
        again.intake.sources().get(&0).map(String::as_str),
        Some("tcp 127.0.0.1:0")
    );
    assert!(again.drain().is_empty());
}

#[test]
fn a_drain_reads_what_has_arrived() {
    let folder = tempfile::tempdir().unwrap();
    let lab = Lab::start(config(folder.path(), tcp()));
    let mut socket = TcpStream::connect(lab.address("tcp")).unwrap();
    let text: String = (0..20_000).map(|i| line(i) + "\n").collect();
    socket.write_all(text.as_bytes()).unwrap();
    socket.write_all(b"the last").unwrap();
    let lines = lab.drain();
    assert_eq!(lines.len(), 20_001);
    assert_eq!(lines.last().map(String::as_str), Some("the last"));
}

#[test]
fn a_connection_a_line_and_many_connections() {
    let folder = tempfile::tempdir().unwrap();
    let lab = Lab::start(config(folder.path(), tcp()));
    let address = lab.address("tcp");
    for i in 0..500 {
        let mut socket = TcpStream::connect(&address).unwrap();
        socket.write_all(line(i).as_bytes()).unwrap();
    }
    let open: Vec<TcpStream> = (0..400).map(|_| TcpStream::connect(&address).unwrap()).collect();
    for (i, mut socket) in open.iter().enumerate() {
        socket.write_all((line(i + 500) + "\n").as_bytes()).unwrap();
    }
    lab.lines(900);
    assert_eq!(lab.sum("seismolog_connections"), 400);
    drop(open);
    lab.until("all gone", |lab| lab.sum("seismolog_connections") == 0);
    assert_eq!(sorted(lab.drain()), sorted((0..900).map(line).collect()));
}

#[test]
fn strangers_are_turned_away_and_the_crowd_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let lab = Lab::start(IntakeConfig {
        allow: vec!["192.0.2.0/24".to_owned()],
        ..config(folder.path(), tcp())
    });
    let address = lab.address("tcp");
    let closed = |mut socket: TcpStream| {
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        // A reset says the same.
        !matches!(socket.read(&mut [0]), Ok(1))
    };
    assert!(closed(TcpStream::connect(&address).unwrap()));
    lab.until("refused", |lab| lab.sum("seismolog_refused_peers_total") == 1);
    // The settings can say otherwise without a restart.
    let limits = IntakeLimits {
        connections: 2,
        ..IntakeLimits::default()
    };
    lab.intake
        .reload(IntakeConfig {
            limits,
            ..config(folder.path(), tcp())
        })
        .unwrap();
    assert_eq!(lab.address("tcp"), address);
    let mut first = TcpStream::connect(&address).unwrap();
    first.write_all(b"a\n").unwrap();
    let _second = TcpStream::connect(&address).unwrap();
    lab.until("two", |lab| lab.sum("seismolog_connections") == 2);
    assert!(closed(TcpStream::connect(&address).unwrap()));
    lab.until("shed", |lab| lab.sum("seismolog_shed_connections_total") == 1);
    first.write_all(b"b\n").unwrap();
    lab.lines(2);
    assert_eq!(lab.drain(), ["a", "b"]);
}

#[test]
fn endless_lines_and_slow_ones_cost_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let limits = IntakeLimits {
        line_length: 10_000,
        idle_seconds: 1,
        partial_bytes: 20_000,
        ..IntakeLimits::default()
    };
    let lab = Lab::start(IntakeConfig {
        limits,
        ..config(folder.path(), tcp())
    });
    let address = lab.address("tcp");
    // 64 MiB without a line feed.
    let mut endless = TcpStream::connect(&address).unwrap();
    let block = vec![b'x'; 1 << 20];
    for _ in 0..64 {
        endless.write_all(&block).unwrap();
    }
    endless.write_all(b"\nafter\n").unwrap();
    assert_eq!(lab.lines(1), ["after"]);
    assert_eq!(lab.sum("seismolog_long_lines_total"), 1);
    // A wrong count ends its connection, others go on.
    let mut wrong = TcpStream::connect(&address).unwrap();
    wrong.write_all(b"4 <1>a6 <1>b\n\nrest").unwrap();
    lab.until("bad frame", |lab| lab.sum("seismolog_bad_frames_total") == 1);
    assert_eq!(lab.lines(3)[1..], ["<1>a", "<1>b"]);
    // Half lines together are bounded.
    let halves: Vec<TcpStream> = (0..3)
        .map(|_| {
            let mut socket = TcpStream::connect(&address).unwrap();
            socket.write_all(&[b'y'; 8000]).unwrap();
            socket
        })
        .collect();
    lab.until("shed", |lab| lab.sum("seismolog_shed_connections_total") >= 1);
    // Half a line for longer than a second: it is taken, and the connection is closed.
    lab.until("slow ones end", |lab| lab.sum("seismolog_connections") <= 1);
    drop(halves);
    let lines = lab.drain();
    assert_eq!(lines.iter().filter(|l| l.starts_with("yy")).count(), 2);
}

#[test]
fn listeners_come_and_go_and_those_that_stay_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let unix = Listener::Unix {
        path: folder.path().join("log.sock"),
        mode: 0o600,
    };
    let both = vec![tcp()[0].clone(), unix.clone()];
    let lab = Lab::start(config(folder.path(), both));
    let mut stays = TcpStream::connect(lab.address("tcp")).unwrap();
    let mut goes = UnixStream::connect(lab.address("unix")).unwrap();
    stays.write_all(b"one\ntw").unwrap();
    goes.write_all(b"unix one\nunix tw").unwrap();
    lab.lines(2);
    lab.intake.reload(config(folder.path(), tcp())).unwrap();
    assert_eq!(lab.lines(3).iter().filter(|l| *l == "unix tw").count(), 1);
    assert!(!folder.path().join("log.sock").exists());
    stays.write_all(b"o\n").unwrap();
    lab.lines(4);
    lab.intake
        .reload(config(folder.path(), vec![tcp()[0].clone(), unix]))
        .unwrap();
    let mut again = UnixStream::connect(lab.address("unix")).unwrap();
    again.write_all(b"unix three\n").unwrap();
    stays.write_all(b"three\n").unwrap();
    lab.lines(6);
    assert_eq!(
        sorted(lab.drain()),
        ["one", "three", "two", "unix one", "unix three", "unix tw"]
    );
}

#[test]
fn datagrams_of_a_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dev-log");
    let listener = Listener::UnixDatagram {
        path: path.clone(),
        mode: 0o666,
    };
    let lab = Lab::start(config(folder.path(), vec![listener]));
    let socket = UnixDatagram::unbound().unwrap();
    socket.connect(&path).unwrap();
    for i in 0..2000 {
        socket.send(line(i).as_bytes()).unwrap();
    }
    socket.send(b"<30>two\nlines\n\0").unwrap();
    let mut expected: Vec<String> = (0..2000).map(line).collect();
    expected.push("<30>two lines".to_owned());
    assert_eq!(lab.drain(), expected);
}

#[test]
fn a_full_log_stops_the_sender_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let wal = WalLimits {
        segment_bytes: 1 << 20,
        max_bytes: 4 << 20,
        ..WalLimits::default()
    };
    let limits = IntakeLimits {
        queue_bytes: 1 << 20,
        ..IntakeLimits::default()
    };
    let lab = Lab::start(IntakeConfig {
        wal,
        limits,
        ..config(folder.path(), tcp())
    });
    let mut socket = TcpStream::connect(lab.address("tcp")).unwrap();
    let writer = std::thread::spawn(move || {
        for i in 0..200_000 {
            socket.write_all((line(i) + "\n").as_bytes()).unwrap();
        }
    });
    lab.until("paused", |lab| lab.metrics.get("seismolog_paused") == 1);
    assert!(lab.metrics.troubles()["wal"].contains("write-ahead log"));
    assert!(lab.intake.wal_bytes() <= 4 << 20);
    assert!(!writer.is_finished());
    // A snapshot covers what was counted; its files go, reception goes on.
    while !writer.is_finished() {
        let position = lab.intake.position();
        lab.until("counted", |lab| lab.intake.logged().bytes() == 0);
        lab.intake.release(position);
        std::thread::sleep(Duration::from_millis(5));
    }
    writer.join().unwrap();
    let release = std::sync::Arc::clone(&lab.intake);
    let done = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let ended = std::sync::Arc::clone(&done);
    let releaser = std::thread::spawn(move || {
        while !ended.load(std::sync::atomic::Ordering::Relaxed) {
            release.release(release.position());
            std::thread::sleep(Duration::from_millis(5));
        }
    });
    let lines = lab.lines(200_000);
    done.store(true, std::sync::atomic::Ordering::Relaxed);
    releaser.join().unwrap();
    assert_eq!(lines, (0..200_000).map(line).collect::<Vec<_>>());
    assert!(lab.metrics.troubles().is_empty());
    lab.drain();
}
