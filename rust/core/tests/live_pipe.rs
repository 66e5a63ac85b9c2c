//! Standard input as omprog and `program()` feed it, and kills at any moment: a child process of this
//! test binary receives, the test is its parent.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)] // failing is how tests speak

mod live;

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use live::{Lab, config, texts};
use seismolog_core::live::intake::{Intake, IntakeState, recover};
use seismolog_core::live::metrics::Metrics;
use seismolog_core::live::queue::Popped;
use seismolog_core::live::settings::{IntakeConfig, Listener, Protocol, WalLimits};

const ROLE: &str = "SEISMOLOG_TEST_ROLE";
const FOLDER: &str = "SEISMOLOG_TEST_FOLDER";

/// Small files, so that kills meet rotations as well.
fn limits() -> WalLimits {
    WalLimits {
        segment_bytes: 100_000,
        ..WalLimits::default()
    }
}

/// Not a test: what a child process does. Without a role it is none.
#[test]
fn child() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let folder = std::env::var(FOLDER).unwrap();
    let listener = match role.as_str() {
        "relp" => Listener::Relp {
            address: "127.0.0.1:0".parse().unwrap(),
        },
        role => Listener::Stdin {
            protocol: match role {
                "confirm" => Protocol::Confirm,
                "transactions" => Protocol::Transactions,
                _ => Protocol::Plain,
            },
        },
    };
    let config = IntakeConfig {
        wal: limits(),
        ..config(Path::new(&folder), vec![listener])
    };
    let metrics = Metrics::default();
    let recovered = recover(&config, 0, &IntakeState::default(), 0, &metrics, |_| Ok(())).unwrap();
    let intake = Intake::start(config, recovered, &metrics).unwrap();
    if role == "relp" {
        let address = intake.addresses().into_values().next().unwrap();
        std::fs::write(Path::new(&folder).join("address.new"), address).unwrap();
        std::fs::rename(
            Path::new(&folder).join("address.new"),
            Path::new(&folder).join("address"),
        )
        .unwrap();
    }
    while role == "relp" || !intake.ended() {
        if let Popped::Some(logged) = intake.logged().pop(Duration::from_millis(5)) {
            intake.spare().give(logged.bytes);
        }
    }
    intake.drain(Duration::from_secs(20));
    // The test harness must write nothing into the pipe.
    std::process::exit(0);
}

struct Program {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Program {
    fn start(role: &str, folder: &Path) -> Program {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture", "--quiet"])
            .env(ROLE, role)
            .env(FOLDER, folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut program = Program { child, input, output };
        if matches!(role, "confirm" | "transactions") {
            // The harness says what it runs before the first OK.
            while program.answer().is_some_and(|said| said != "OK") {}
        }
        program
    }

    fn say(&mut self, text: &str) -> bool {
        self.input
            .as_mut()
            .is_some_and(|input| input.write_all(text.as_bytes()).is_ok())
    }

    fn answer(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.output.read_line(&mut line) {
            Ok(n) if n > 0 => Some(line.trim_end().to_owned()),
            _ => None,
        }
    }

    fn end(mut self) {
        drop(self.input.take());
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).unwrap();
        assert!(self.child.wait().unwrap().success());
    }
}

/// Lines that are in the log, with how often.
fn logged(folder: &Path) -> HashMap<String, u32> {
    let lab = Lab::start(config(folder, Vec::new()));
    let mut found = HashMap::new();
    for line in texts(&lab.replayed) {
        *found.entry(line).or_insert(0) += 1;
    }
    lab.drain();
    found
}

fn line(i: u32) -> String {
    format!("<30>1 2026-11-25T10:00:00Z ns1 named 7 - [seismolog@32473 id=\"{i:032X}\"] query {i}")
}

#[test]
fn plain_lines_and_a_half_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut program = Program::start("plain", folder.path());
    for i in 0..20_000 {
        assert!(program.say(&(line(i) + "\n")));
    }
    program.say("half");
    program.end();
    let found = logged(folder.path());
    assert_eq!(found.len(), 20_001);
    assert_eq!(found["half"], 1);
}

#[test]
fn each_line_is_confirmed_and_many_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut program = Program::start("confirm", folder.path());
    for i in 0..20 {
        program.say(&(line(i) + "\n"));
        assert_eq!(program.answer().as_deref(), Some("OK"));
    }
    let many: String = (20..200).map(|i| line(i) + "\n").collect();
    program.say(&many);
    for _ in 20..200 {
        assert_eq!(program.answer().as_deref(), Some("OK"));
    }
    // What was confirmed survives a kill at once.
    program.child.kill().unwrap();
    program.child.wait().unwrap();
    let found = logged(folder.path());
    assert_eq!(found.len(), 200);
}

#[test]
fn transactions_are_confirmed_at_their_end() {
    let folder = tempfile::tempdir().unwrap();
    let mut program = Program::start("transactions", folder.path());
    for round in 0..10 {
        program.say("BEGIN TRANSACTION\n");
        assert_eq!(program.answer().as_deref(), Some("OK"));
        for i in 0..50 {
            program.say(&(line(round * 50 + i) + "\n"));
            assert_eq!(program.answer().as_deref(), Some("DEFER_COMMIT"));
        }
        program.say("COMMIT TRANSACTION\n");
        assert_eq!(program.answer().as_deref(), Some("OK"));
    }
    program.say("BEGIN TRANSACTION\n");
    program.say(&(line(9999) + "\n"));
    program.child.kill().unwrap();
    program.child.wait().unwrap();
    let found = logged(folder.path());
    assert_eq!(found.len(), 500);
}

/// rsyslog goes on behind the lines of a transaction that were answered before a kill: they are not lost.
#[test]
fn what_was_answered_of_a_transaction_outlives_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let mut program = Program::start("transactions", folder.path());
    program.say("BEGIN TRANSACTION\n");
    assert_eq!(program.answer().as_deref(), Some("OK"));
    for i in 0..30 {
        program.say(&(line(i) + "\n"));
        assert_eq!(program.answer().as_deref(), Some("DEFER_COMMIT"));
    }
    program.child.kill().unwrap();
    program.child.wait().unwrap();
    // The next process; a few lines come again all the same.
    let mut program = Program::start("transactions", folder.path());
    program.say("BEGIN TRANSACTION\n");
    assert_eq!(program.answer().as_deref(), Some("OK"));
    for i in 25..40 {
        program.say(&(line(i) + "\n"));
        assert_eq!(program.answer().as_deref(), Some("DEFER_COMMIT"));
    }
    program.say("COMMIT TRANSACTION\n");
    assert_eq!(program.answer().as_deref(), Some("OK"));
    program.end();
    let found = logged(folder.path());
    assert_eq!(found.len(), 40);
    assert!(found.values().all(|n| *n == 1));
}

/// A parent that sends again what was not confirmed, as rsyslog does, over kills at any moment.
#[test]
fn kills_lose_nothing_that_was_confirmed_and_double_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut next = 0u32; // everything before is confirmed
    let mut random = 12345u64;
    for _ in 0..25 {
        let mut program = Program::start("transactions", folder.path());
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let life = Duration::from_micros(500 + (random >> 33) % 60_000);
        let pid = program.child.id();
        let killer = std::thread::spawn(move || {
            std::thread::sleep(life);
            let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        });
        loop {
            let size = 1 + u32::try_from((random >> 40) % 97).unwrap();
            let mut text = "BEGIN TRANSACTION\n".to_owned();
            text.extend((next..next + size).map(|i| line(i) + "\n"));
            text.push_str("COMMIT TRANSACTION\n");
            if !program.say(&text) {
                break;
            }
            let mut answers = 0;
            while answers < size + 2 && program.answer().is_some() {
                answers += 1;
            }
            if answers < size + 2 {
                break;
            }
            next += size;
        }
        killer.join().unwrap();
        program.child.wait().unwrap();
    }
    assert!(next > 1000, "{next}");
    let found = logged(folder.path());
    for i in 0..next {
        assert_eq!(found.get(&line(i)), Some(&1), "line {i} of {next}");
    }
    // What was in flight at a kill may be there, once.
    assert!(found.values().all(|n| *n == 1));
}

/// The same over RELP: a window of messages in flight, each kill in the middle of it.
#[test]
fn kills_under_relp_lose_nothing_and_double_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut answered = 0u32;
    let mut random = 99u64;
    for _ in 0..25 {
        let _ = std::fs::remove_file(folder.path().join("address"));
        let mut program = Program::start("relp", folder.path());
        let address = loop {
            match std::fs::read_to_string(folder.path().join("address")) {
                Ok(address) => break address,
                Err(_) => std::thread::sleep(Duration::from_millis(1)),
            }
        };
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let life = Duration::from_micros((random >> 33) % 50_000);
        let pid = program.child.id();
        let killer = std::thread::spawn(move || {
            std::thread::sleep(life);
            let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        });
        if let Ok(socket) = TcpStream::connect(address) {
            answered += session(socket, answered);
        }
        killer.join().unwrap();
        program.child.wait().unwrap();
    }
    assert!(answered > 1000, "{answered}");
    let found = logged(folder.path());
    for i in 0..answered {
        assert_eq!(found.get(&line(i)), Some(&1), "line {i} of {answered}");
    }
    assert!(found.values().all(|n| *n == 1));
}

/// Sends lines from `first` on until the other side dies; gives how many were answered.
fn session(mut socket: TcpStream, first: u32) -> u32 {
    let mut input = BufReader::new(socket.try_clone().unwrap());
    let mut answer = String::new();
    if socket.write_all(b"1 open 15 commands=syslog\n").is_err() {
        return 0;
    }
    for _ in 0..4 {
        if !matches!(input.read_line(&mut answer), Ok(n) if n > 0) {
            return 0;
        }
    }
    let (mut sent, mut answered) = (0, 0);
    loop {
        let mut out = String::new();
        while sent - answered < 128 {
            let text = line(first + sent);
            out.push_str(&format!("{} syslog {} {text}\n", sent + 2, text.len()));
            sent += 1;
        }
        if socket.write_all(out.as_bytes()).is_err() {
            // The answers that arrived before the end still count.
            sent = answered + 128;
        }
        answer.clear();
        match input.read_line(&mut answer) {
            Ok(n) if n > 0 && answer.ends_with('\n') => {
                assert_eq!(answer, format!("{} rsp 6 200 OK\n", answered + 2));
                answered += 1;
            }
            _ => return answered,
        }
    }
}
