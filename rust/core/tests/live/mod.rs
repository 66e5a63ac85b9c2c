//! What the tests of reception share: an intake in a folder of its own and a thread that keeps what it
//! is given to count.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)] // each test file uses a part; failing is how tests speak

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use seismolog_core::live::batch::Logged;
use seismolog_core::live::intake::{Intake, IntakeState, recover};
use seismolog_core::live::metrics::Metrics;
use seismolog_core::live::queue::Popped;
use seismolog_core::live::settings::{IntakeConfig, Listener};

/// A running intake.
pub struct Lab {
    pub intake: Arc<Intake>,
    pub metrics: Metrics,
    pub replayed: Vec<u8>,
    counted: Arc<Mutex<Vec<u8>>>,
    counter: Option<JoinHandle<()>>,
}

pub fn config(directory: &Path, listeners: Vec<Listener>) -> IntakeConfig {
    IntakeConfig {
        directory: directory.to_owned(),
        listeners,
        ..IntakeConfig::default()
    }
}

impl Lab {
    pub fn start(config: IntakeConfig) -> Lab {
        Lab::resume(config, 0, &IntakeState::default())
    }

    pub fn resume(config: IntakeConfig, from: u64, state: &IntakeState) -> Lab {
        let metrics = Metrics::default();
        let mut replayed = Vec::new();
        let recovered = recover(&config, from, state, 0, &metrics, |logged| {
            replayed.extend_from_slice(&logged.bytes);
            Ok(())
        })
        .unwrap();
        let intake = Arc::new(Intake::start(config, recovered, &metrics).unwrap());
        let counted = Arc::new(Mutex::new(Vec::new()));
        let counter = {
            let (intake, counted) = (Arc::clone(&intake), Arc::clone(&counted));
            std::thread::spawn(move || {
                let mut last = 0;
                loop {
                    match intake.logged().pop(Duration::from_millis(100)) {
                        Popped::Some(Logged {
                            bytes,
                            position,
                            lines,
                            ..
                        }) => {
                            assert!(position > last);
                            last = position;
                            assert_eq!(memchr::memchr_iter(b'\n', &bytes).count(), lines as usize);
                            assert!(bytes.is_empty() || bytes.ends_with(b"\n"));
                            counted.lock().unwrap().extend_from_slice(&bytes);
                            intake.spare().give(bytes);
                        }
                        Popped::Timeout => {}
                        Popped::Closed => return,
                    }
                }
            })
        };
        Lab {
            intake,
            metrics,
            replayed,
            counted,
            counter: Some(counter),
        }
    }

    /// The address of the only listener whose name begins so.
    pub fn address(&self, name: &str) -> String {
        let addresses = self.intake.addresses();
        let (_, address) = addresses.iter().find(|(n, _)| n.starts_with(name)).unwrap();
        address.clone()
    }

    /// The sum of the numbers whose name begins so.
    pub fn sum(&self, name: &str) -> u64 {
        let all = self.metrics.all();
        all.iter()
            .filter(|(n, _)| n.starts_with(name))
            .map(|(_, v)| v.number())
            .sum()
    }

    /// Waits until something holds.
    pub fn until(&self, what: &str, mut holds: impl FnMut(&Lab) -> bool) {
        let since = Instant::now();
        while !holds(self) {
            assert!(
                since.elapsed() < Duration::from_secs(30),
                "{what}: not within 30 s; {:?} {:?}",
                self.metrics.all(),
                self.metrics.troubles()
            );
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    pub fn counted(&self) -> Vec<u8> {
        self.counted.lock().unwrap().clone()
    }

    /// Waits for so many lines.
    pub fn lines(&self, n: usize) -> Vec<String> {
        self.until(&format!("{n} lines"), |lab| {
            memchr::memchr_iter(b'\n', &lab.counted.lock().unwrap()).count() >= n
        });
        texts(&self.counted())
    }

    /// Drains and gives everything that was counted.
    pub fn drain(mut self) -> Vec<String> {
        assert!(
            self.intake.drain(Duration::from_secs(20)),
            "{:?}",
            self.metrics.all()
        );
        self.counter.take().unwrap().join().unwrap();
        texts(&self.counted())
    }
}

pub fn texts(bytes: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(bytes)
        .lines()
        .map(str::to_owned)
        .collect()
}

pub fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort();
    lines
}
