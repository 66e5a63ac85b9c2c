//! RELP: answered means on disk; what is sent again is dropped.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)] // failing is how tests speak

mod live;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use live::{Lab, config, sorted, texts};
use seismolog_core::live::intake::IntakeState;
use seismolog_core::live::settings::Listener;

fn relp() -> Vec<Listener> {
    vec![Listener::Relp {
        address: "127.0.0.1:0".parse().unwrap(),
    }]
}

fn line(i: usize) -> String {
    format!("<30>1 2026-11-25T10:00:00Z ns1 named 7 - [seismolog@32473 id=\"{i:032X}\"] query {i}")
}

/// A sender as librelp is one: a window of messages, answers in order.
struct Sender {
    input: BufReader<TcpStream>,
    output: TcpStream,
    next: u32,
    answered: u32,
}

impl Sender {
    fn open(address: &str) -> Sender {
        let output = TcpStream::connect(address).unwrap();
        output.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let input = BufReader::new(output.try_clone().unwrap());
        let mut sender = Sender {
            input,
            output,
            next: 2,
            answered: 1,
        };
        let offers = "relp_version=0\nrelp_software=test\ncommands=syslog";
        writeln!(sender.output, "1 open {} {offers}", offers.len()).unwrap();
        let mut answer = String::new();
        for _ in 0..4 {
            sender.input.read_line(&mut answer).unwrap();
        }
        assert!(
            answer.starts_with("1 rsp 61 200 OK\nrelp_version=0\n"),
            "{answer}"
        );
        sender
    }

    fn send(&mut self, texts: &[String]) {
        let mut out = Vec::new();
        for text in texts {
            out.extend_from_slice(format!("{} syslog {} {text}\n", self.next, text.len()).as_bytes());
            self.next += 1;
        }
        self.output.write_all(&out).unwrap();
    }

    /// Reads answers until all are there or the connection ends; gives how many are answered by now.
    fn answers(&mut self) -> u32 {
        while self.answered + 1 < self.next {
            let mut answer = String::new();
            if self.input.read_line(&mut answer).unwrap_or(0) == 0 || !answer.contains(" rsp ") {
                break;
            }
            assert_eq!(answer, format!("{} rsp 6 200 OK\n", self.answered + 1));
            self.answered += 1;
        }
        self.answered - 1
    }
}

#[test]
fn every_message_is_answered_in_order_and_is_in_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let lab = Lab::start(config(folder.path(), relp()));
    let mut senders: Vec<Sender> = (0..4).map(|_| Sender::open(&lab.address("relp"))).collect();
    for round in 0..20 {
        for (s, sender) in senders.iter_mut().enumerate() {
            let texts: Vec<String> = (0..128).map(|i| line((round * 4 + s) * 128 + i)).collect();
            sender.send(&texts);
        }
        for sender in &mut senders {
            assert_eq!(sender.answers(), (round as u32 + 1) * 128);
        }
    }
    let mut last = senders.pop().unwrap();
    writeln!(last.output, "{} close 0", last.next).unwrap();
    let mut rest = String::new();
    last.input.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, format!("{} rsp 0\n0 serverclose 0\n", last.next));
    assert_eq!(lab.metrics.get("seismolog_waiting_confirmations"), 0);
    let syncs = lab.metrics.get("seismolog_wal_syncs_total");
    assert!(syncs < 20 * 128, "one sync for many: {syncs}");
    let expected: Vec<String> = (0..20 * 4 * 128).map(line).collect();
    assert_eq!(sorted(lab.drain()), sorted(expected.clone()));
    let again = Lab::start(config(folder.path(), relp()));
    assert_eq!(sorted(texts(&again.replayed)), sorted(expected));
}

#[test]
fn a_batch_sent_again_counts_once_after_a_restart_too() {
    let folder = tempfile::tempdir().unwrap();
    let lab = Lab::start(config(folder.path(), relp()));
    let first: Vec<String> = (0..100).map(line).collect();
    let mut sender = Sender::open(&lab.address("relp"));
    sender.send(&first);
    sender.answers();
    drop(sender);
    // The answers got lost on the way, say: the sender comes again.
    let mut sender = Sender::open(&lab.address("relp"));
    sender.send(&(50..150).map(line).collect::<Vec<_>>());
    assert_eq!(sender.answers(), 100);
    assert_eq!(lab.metrics.get("seismolog_duplicate_lines_total"), 50);
    let state = lab.intake.state().unwrap();
    let snapshot = lab.intake.position();
    sender.send(&(140..200).map(line).collect::<Vec<_>>());
    assert_eq!(sender.answers(), 160);
    assert_eq!(lab.drain().len(), 200);
    // Ids come back from the state of the snapshot, and from the log after it.
    let lab = Lab::resume(config(folder.path(), relp()), snapshot, &state);
    assert_eq!(texts(&lab.replayed), (150..200).map(line).collect::<Vec<_>>());
    let mut sender = Sender::open(&lab.address("relp"));
    sender.send(&(0..210).map(line).collect::<Vec<_>>());
    assert_eq!(sender.answers(), 210);
    assert_eq!(sorted(lab.drain()), sorted((200..210).map(line).collect()));
    // Without the state, from the log alone.
    let lab = Lab::resume(config(folder.path(), relp()), 0, &IntakeState::default());
    let mut sender = Sender::open(&lab.address("relp"));
    sender.send(&(0..210).map(line).collect::<Vec<_>>());
    assert_eq!(sender.answers(), 210);
    assert!(lab.drain().is_empty());
}

#[test]
fn a_drain_answers_what_it_took_and_says_goodbye() {
    let folder = tempfile::tempdir().unwrap();
    let lab = Lab::start(config(folder.path(), relp()));
    let mut sender = Sender::open(&lab.address("relp"));
    sender.send(&(0..1000).map(line).collect::<Vec<_>>());
    let lines = lab.drain();
    let answered = sender.answers();
    assert_eq!(answered as usize, lines.len());
    assert_eq!(answered, 1000);
}

#[test]
fn what_is_no_relp_is_closed_and_others_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let lab = Lab::start(config(folder.path(), relp()));
    let mut good = Sender::open(&lab.address("relp"));
    let mut bad = TcpStream::connect(lab.address("relp")).unwrap();
    bad.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    bad.write_all(b"<30>Nov 25 10:00:00 plain syslog\n").unwrap();
    let mut said = String::new();
    bad.read_to_string(&mut said).unwrap();
    assert_eq!(said, "0 serverclose 0\n");
    assert_eq!(lab.sum("seismolog_bad_frames_total"), 1);
    good.send(&[line(1)]);
    assert_eq!(good.answers(), 1);
    // Half a frame when the sender goes: not answered, not logged.
    write!(good.output, "3 syslog 100 <30>half").unwrap();
    drop(good);
    lab.until("gone", |lab| lab.sum("seismolog_connections") == 0);
    assert_eq!(lab.drain(), [line(1)]);
}
