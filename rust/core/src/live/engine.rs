//! Reception and counting put together: start, replay, reload, drain, stop.
//!
//! ```text
//! start: snapshot -> Worker; write-ahead log after it -> Worker; then listeners, counting and closing thread
//! ```
//!
//! The state folder holds `wal/`, `snapshot` and `closed/`. A start after any end, `kill -9` too, goes on where the
//! log ends. What was told before and is told again after a start has a higher revision and is as right.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::batch::Logged;
use super::closed::{ClosedFile, ClosedLog};
use super::counter::{Closer, Counter, CountingConfig, Shared, WAITING};
use super::intake::{self, Intake, IntakeState};
use super::metrics::{Metrics, Value};
use super::queue::lock;
use super::settings::IntakeConfig;
use super::snapshot;
use crate::count::worker::{Top, Worker};
use crate::error::{Error, Result};

/// Batches between the thread that reads the log and the one that counts, at a start.
const REPLAYING: usize = 32;
/// How long [`Engine::top`] waits for the counting thread.
const TOP_PATIENCE: Duration = Duration::from_secs(5);

/// What a start found.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Started {
    /// Lines that were replayed.
    pub replayed_lines: u64,
    /// How long it took.
    pub seconds: f64,
}

struct Running {
    intake: Arc<Intake>,
    threads: Vec<JoinHandle<()>>,
    closed: Arc<ClosedLog>,
    shared: Arc<Shared>,
    counting: CountingConfig,
    /// Whether the end tells every bin and keeps the state.
    orderly: Arc<std::sync::atomic::AtomicBool>,
}

/// The daemon's engine.
pub struct Engine {
    directory: PathBuf,
    metrics: Metrics,
    configs: Mutex<(IntakeConfig, CountingConfig)>,
    running: Mutex<Option<Running>>,
    /// Highest revision that [`Engine::wait`] has given.
    seen: Mutex<u64>,
}

fn not_running() -> Error {
    Error::Option {
        option: "live",
        message: "not running; start it first".to_owned(),
    }
}

impl Engine {
    /// An engine over a state folder. Settings are looked at; nothing is opened yet.
    ///
    /// # Errors
    /// [`Error::Option`]: a setting has no meaning.
    pub fn new(directory: PathBuf, intake: IntakeConfig, counting: CountingConfig) -> Result<Engine> {
        counting.resolve()?;
        Ok(Engine {
            configs: Mutex::new((
                IntakeConfig {
                    directory: directory.clone(),
                    ..intake
                },
                counting,
            )),
            directory,
            metrics: Metrics::default(),
            running: Mutex::new(None),
            seen: Mutex::new(0),
        })
    }

    /// Opens the state, replays what the snapshot does not hold, starts threads and listeners.
    ///
    /// # Errors
    /// The state cannot be read or written, or a listener cannot be bound; nothing runs then.
    pub fn start(&self) -> Result<Started> {
        let begun = Instant::now();
        let mut running = lock(&self.running);
        if running.is_some() {
            return Err(Error::Option {
                option: "live",
                message: "already running".to_owned(),
            });
        }
        let (intake_config, counting) = lock(&self.configs).clone();
        let (options, limits, live) = counting.resolve()?;
        std::fs::create_dir_all(&self.directory).map_err(|source| Error::Io {
            what: format!("state folder {}", self.directory.display()),
            source,
        })?;
        let closed = Arc::new(ClosedLog::open(&self.directory.join("closed"), &self.metrics)?);
        let fingerprint = counting.fingerprint();
        let (mut worker, from, told, state) = match snapshot::read(&self.directory)? {
            None => (
                Worker::live(&options, &limits, &live),
                0,
                0,
                IntakeState::default(),
            ),
            Some((s, state)) => {
                let same = s.fingerprint == fingerprint;
                let worker =
                    Worker::restore(&options, &limits, &live, &s.worker, same).map_err(|message| {
                        Error::Read {
                            path: self.directory.join(snapshot::NAME),
                            offset: 0,
                            message,
                        }
                    })?;
                (worker, s.position, s.revision, state)
            }
        };
        let revision = told.max(closed.last());
        // One thread reads and checks the log while another counts.
        let (sender, receiver) = sync_channel::<Logged>(REPLAYING);
        let (recovered, counted) = std::thread::scope(|scope| {
            let counting = scope.spawn(move || {
                let mut position = from;
                for logged in receiver {
                    worker.receive(logged.source, logged.received_us, &logged.bytes);
                    position = logged.position;
                }
                (worker, position)
            });
            let recovered = intake::recover(
                &intake_config,
                from,
                &state,
                revision.max(from),
                &self.metrics,
                |logged| sender.send(std::mem::take(logged)).map_err(|_| not_running()),
            );
            drop(sender);
            (recovered, counting.join())
        });
        let (worker, position) = match counted {
            Ok(counted) => counted,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        let recovered = recovered?;
        let started = Started {
            replayed_lines: recovered.lines,
            seconds: begun.elapsed().as_secs_f64(),
        };
        let intake = Arc::new(Intake::start(intake_config, recovered, &self.metrics)?);
        let shared = Arc::new(Shared::default());
        let orderly = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let (jobs, work) = sync_channel(WAITING);
        let closer = Closer {
            log: Arc::clone(&closed),
            folder: self.directory.clone(),
            options,
            most: counting.closed_bytes,
            metrics: self.metrics.clone(),
            shared: Arc::clone(&shared),
        };
        let mut counter = Counter::new(
            worker,
            counting.clone(),
            position,
            from,
            revision,
            &self.metrics,
            Arc::clone(&shared),
            jobs,
        );
        let threads = vec![
            {
                let (intake, orderly) = (Arc::clone(&intake), Arc::clone(&orderly));
                spawn("counting", &shared, &closed, move || {
                    counter.run(&intake, || orderly.load(Ordering::Acquire));
                })?
            },
            {
                let intake = Arc::clone(&intake);
                spawn("closing", &shared, &closed, move || closer.run(&work, &intake))?
            },
        ];
        *running = Some(Running {
            intake,
            threads,
            closed,
            shared,
            counting,
            orderly,
        });
        Ok(started)
    }

    /// Waits for rounds that came into the closed-bin log since the last call (or the start).
    ///
    /// # Errors
    /// Not running, or a thread has ended that should not have: the message says why.
    pub fn wait(&self, patience: Duration) -> Result<Vec<u64>> {
        let (closed, shared) = self.with(|r| (Arc::clone(&r.closed), Arc::clone(&r.shared)))?;
        if let Some(message) = shared.failed() {
            return Err(Error::Io {
                what: "counting has stopped".to_owned(),
                source: std::io::Error::other(message),
            });
        }
        let seen = *lock(&self.seen);
        let news = closed.wait(seen, patience);
        if let Some(last) = news.last() {
            *lock(&self.seen) = *last;
        }
        Ok(news)
    }

    fn with<T>(&self, take: impl FnOnce(&Running) -> T) -> Result<T> {
        lock(&self.running).as_ref().map(take).ok_or_else(not_running)
    }

    /// Rounds above a revision, oldest first.
    ///
    /// # Errors
    /// Not running, or a file is damaged.
    pub fn closed_after(&self, revision: u64, most: usize) -> Result<Vec<ClosedFile>> {
        self.with(|r| Arc::clone(&r.closed))?.after(revision, most)
    }

    /// Rounds up to the revision may go.
    ///
    /// # Errors
    /// Not running, or a file cannot be deleted.
    pub fn release(&self, revision: u64) -> Result<()> {
        self.with(|r| Arc::clone(&r.closed))?.release(revision)
    }

    /// Every number now.
    #[must_use]
    pub fn metrics(&self) -> BTreeMap<String, Value> {
        self.metrics.all()
    }

    /// One number now; 0 where there is none of that name.
    #[must_use]
    pub fn number(&self, name: &str) -> u64 {
        self.metrics.get(name)
    }

    /// What is wrong now, by part.
    #[must_use]
    pub fn troubles(&self) -> BTreeMap<String, String> {
        let mut troubles = self.metrics.troubles();
        if let Ok((shared, intake)) = self.with(|r| (Arc::clone(&r.shared), Arc::clone(&r.intake))) {
            troubles.extend(shared.failed().map(|m| ("counting".to_owned(), m)));
            troubles.extend(intake.failed().map(|m| ("write-ahead log".to_owned(), m)));
        }
        troubles
    }

    /// The most frequent clients of the newest minutes; none if the counting thread does not answer.
    ///
    /// # Errors
    /// Not running.
    pub fn top(&self, n: usize) -> Result<Option<Top>> {
        Ok(self.with(|r| Arc::clone(&r.shared))?.top(n, TOP_PATIENCE))
    }

    /// The most frequent shapes of lines that were not understood since the start.
    #[must_use]
    pub fn unmatched_shapes(&self) -> Vec<(String, u64)> {
        self.with(|r| Arc::clone(&r.shared))
            .map_or_else(|_| Vec::new(), |shared| shared.unmatched_shapes())
    }

    /// Takes new settings.
    ///
    /// # Errors
    /// [`Error::Option`]: a setting that needs a restart has changed; nothing has changed then. Or what
    /// [`Intake::reload`] says.
    pub fn reload(&self, intake: IntakeConfig, counting: CountingConfig) -> Result<()> {
        counting.resolve()?;
        let intake = IntakeConfig {
            directory: self.directory.clone(),
            ..intake
        };
        let mut running = lock(&self.running);
        let Some(r) = running.as_mut() else {
            return Err(not_running());
        };
        if !counting.differs_only_in_bounds(&r.counting) {
            return Err(Error::Option {
                option: "counting",
                message:
                    "zones, server names, networks, details and limits are taken over by a restart only; the \
                          settings before hold on"
                        .to_owned(),
            });
        }
        *lock(&r.shared.config) = Some(counting.clone());
        r.counting = counting.clone();
        let handle = Arc::clone(&r.intake);
        drop(running);
        handle.reload(intake.clone())?;
        *lock(&self.configs) = (intake, counting);
        Ok(())
    }

    /// Stops accepting, counts what has arrived, tells every bin and keeps the state. False: not done within the
    /// time; stop then, and the next start replays.
    ///
    /// # Errors
    /// Not running.
    pub fn drain(&self, patience: Duration) -> Result<bool> {
        let until = Instant::now() + patience;
        let (intake, orderly) = self.with(|r| {
            r.orderly.store(true, Ordering::Release);
            (Arc::clone(&r.intake), Arc::clone(&r.orderly))
        })?;
        if !intake.drain(patience) {
            orderly.store(false, Ordering::Release);
            return Ok(false);
        }
        loop {
            if self.with(|r| r.threads.iter().all(JoinHandle::is_finished))? {
                return Ok(true);
            }
            if Instant::now() >= until {
                return Ok(false);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Whether every source has ended (standard input only).
    ///
    /// # Errors
    /// Not running.
    pub fn ended(&self) -> Result<bool> {
        self.with(|r| r.intake.ended())
    }

    /// Stops at once; the next start replays what was not kept. Does nothing if it does not run.
    pub fn stop(&self) {
        let Some(r) = lock(&self.running).take() else {
            return;
        };
        r.shared.abandon.store(true, Ordering::Release);
        r.intake.stop();
        r.closed.stop();
        for thread in r.threads {
            // A panic was told by the thread itself.
            let _ = thread.join();
        }
    }

    /// Where listeners are bound.
    ///
    /// # Errors
    /// Not running.
    pub fn addresses(&self) -> Result<BTreeMap<String, String>> {
        self.with(|r| r.intake.addresses())
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A thread whose panic is told to whoever waits, instead of leaving a daemon that receives and does not count.
fn spawn(
    name: &str,
    shared: &Arc<Shared>,
    closed: &Arc<ClosedLog>,
    work: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>> {
    let (shared, closed, part) = (Arc::clone(shared), Arc::clone(closed), name.to_owned());
    std::thread::Builder::new()
        .name(format!("seismolog-{name}"))
        .spawn(move || {
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
            if let Err(panic) = result {
                let what = panic
                    .downcast_ref::<&str>()
                    .map(|s| (*s).to_owned())
                    .or_else(|| panic.downcast_ref::<String>().cloned())
                    .unwrap_or_else(|| "unknown".to_owned());
                shared.fail(format!(
                    "internal error in the {part} thread, please report it: {what}"
                ));
                closed.stop();
            }
        })
        .map_err(|source| Error::Io {
            what: format!("thread {name}"),
            source,
        })
}
