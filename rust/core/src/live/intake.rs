//! Starts every listener, the log thread and the sync thread from the settings; reloads, drains, stops.
//!
//! ```text
//! let recovered = recover(&config, snapshot_position, &snapshot_state, last_revision, &metrics, |logged| count(logged))?;
//! let intake = Intake::start(config, recovered, &metrics)?;
//! while let Popped::Some(logged) = intake.logged().pop(tick) { count(&logged); intake.spare().give(logged.bytes); }
//! ```

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::batch::Logged;
use super::behind::Behind;
use super::feed::{Feed, Numbers};
use super::follow::Follower;
use super::journal::Journal;
use super::logger::{Log, Logger, Memory};
use super::metrics::Metrics;
use super::queue::{Mailbox, Pool, Queue, lock};
use super::reader::{Crowd, Desk, Door, Port, Reader};
use super::settings::{IntakeConfig, Listener};
use super::stdin::Pipe;
use super::tcp::{self, Allow};
use super::udp::Udp;
use super::wal::{Record, Stretch, Wal};
use super::{tls, unix};
use crate::error::{Error, Result};

/// Spare buffers, and the largest that is kept.
const SPARE: usize = 64;
const LARGEST: usize = 512 << 10;

/// What reception must know again after a restart: names of sources, where files are to be read on,
/// remembered message ids. Stored in the counting side's snapshot; opaque there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IntakeState {
    /// Its serialized form. Empty: the very first start.
    pub bytes: Vec<u8>,
}

/// The log, replayed and ready to go on.
pub struct Recovered {
    /// Where the log goes on.
    pub position: u64,
    /// Lines that were replayed.
    pub lines: u64,
    /// Bytes of the log that could not be read.
    pub damaged: u64,
    log: Log,
}

impl Recovered {
    /// Names of the sources, by number.
    #[must_use]
    pub fn sources(&self) -> BTreeMap<u32, String> {
        names(&self.log)
    }
}

fn names(log: &Log) -> BTreeMap<u32, String> {
    log.memory
        .sources
        .iter()
        .map(|(n, s)| (n, s.to_owned()))
        .collect()
}

/// Opens the write-ahead log and replays what follows the snapshot.
///
/// `from`: position of the snapshot (0: none). `state`: what [`Intake::state`] gave for that snapshot.
/// `at_least`: the highest position that was ever made known (snapshot, closed bins).
///
/// # Errors
/// The state folder cannot be read or written, or what `each` said.
pub fn recover(
    config: &IntakeConfig,
    from: u64,
    state: &IntakeState,
    at_least: u64,
    metrics: &Metrics,
    mut each: impl FnMut(&mut Logged) -> Result<()>,
) -> Result<Recovered> {
    let directory = config.directory.join("wal");
    let held = Wal::take_lock(&directory)?;
    let mut memory = Memory::new(config.limits.remembered_ids);
    memory.load(&state.bytes)?;
    let mut lines = 0;
    let replayed = Wal::replay_records(&directory, from, |record| {
        match record {
            Record::Lines {
                logged,
                resume,
                confirmed,
            } => {
                if confirmed {
                    memory.ids.remember(&logged.bytes);
                }
                if !resume.is_empty() {
                    memory.resume(logged.source, resume);
                }
                lines += u64::from(logged.lines);
                each(logged)?;
            }
            Record::Source { number, name } => {
                memory.sources.put(number, &String::from_utf8_lossy(name));
            }
            Record::Resume { source, resume } => memory.resume(source, resume),
        }
        Ok(())
    })?;
    metrics
        .counter("seismolog_wal_damaged_bytes_total")
        .add(replayed.damaged);
    metrics.counter("seismolog_replayed_lines_total").add(lines);
    let (wal, position) = Wal::open_locked(
        &directory,
        &config.wal,
        at_least.max(from),
        metrics,
        held,
        replayed.last,
    )?;
    let mut log = Log { wal, memory };
    log.repeat().map_err(|source| Error::Io {
        what: directory.display().to_string(),
        source,
    })?;
    Ok(Recovered {
        position,
        lines,
        damaged: replayed.damaged,
        log,
    })
}

/// A listener that runs.
struct Running {
    config: Listener,
    address: String,
    /// Told to end.
    closed: Arc<AtomicBool>,
    port: Option<Arc<Port>>,
    thread: Option<JoinHandle<()>>,
}

struct Inside {
    config: IntakeConfig,
    running: BTreeMap<String, Running>,
    readers: Vec<JoinHandle<()>>,
    logger: Option<JoinHandle<()>>,
    syncer: Option<JoinHandle<()>>,
}

/// Reception, running.
pub struct Intake {
    feed: Arc<Feed>,
    log: Arc<Mutex<Log>>,
    logged: Arc<Queue<Logged>>,
    behind: Arc<Behind>,
    /// Folder of the log.
    directory: PathBuf,
    crowd: Arc<Crowd>,
    desks: Vec<Arc<Desk>>,
    metrics: Metrics,
    inside: Mutex<Inside>,
    stdin_open: Arc<AtomicBool>,
}

/// The name of a listener, which is also the name of its source.
#[must_use]
pub fn name(listener: &Listener) -> String {
    match listener {
        Listener::Tcp { address } => format!("tcp {address}"),
        Listener::Tls { address, .. } => format!("tls {address}"),
        Listener::Relp { address } => format!("relp {address}"),
        Listener::Udp { address, .. } => format!("udp {address}"),
        Listener::Unix { path, .. } => format!("unix {}", path.display()),
        Listener::UnixDatagram { path, .. } => format!("unix_datagram {}", path.display()),
        Listener::Files { patterns, .. } => format!("files {}", patterns.join(" ")),
        Listener::Journal { arguments, .. } => {
            format!("journal {}", arguments.join(" ")).trim_end().to_owned()
        }
        Listener::Stdin { .. } => "stdin".to_owned(),
    }
}

fn thread(name: &str, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name(name.chars().take(15).collect()) // the system shows no more
        .spawn(body)
        .map_err(|source| Error::Io {
            what: format!("thread {name}"),
            source,
        })
}

impl Intake {
    /// Starts all threads and listeners.
    ///
    /// # Errors
    /// A listener cannot be bound, a file of a certificate cannot be read: names it.
    pub fn start(config: IntakeConfig, recovered: Recovered, metrics: &Metrics) -> Result<Intake> {
        let allow = Allow::parse(&config.allow)?;
        let limits = &config.limits;
        raise_descriptors(limits.connections);
        let syncer = Arc::clone(recovered.log.wal.syncer());
        let stop = Arc::new(AtomicBool::new(false));
        let feed = Arc::new(Feed {
            queue: Arc::new(Queue::new(limits.queue_bytes)),
            spare: Arc::new(Pool::new(SPARE, LARGEST)),
            stop: Arc::clone(&stop),
            drain: Arc::new(AtomicBool::new(false)),
            line_length: AtomicUsize::new(limits.line_length.max(1)),
            rotated_seconds: AtomicU64::new(limits.rotated_seconds),
            datagram_patience_ms: AtomicU64::new(limits.datagram_patience_ms),
        });
        let logged = Arc::new(Queue::new(limits.logged_bytes));
        let behind = Arc::new(Behind::new(recovered.position, limits.behind_bytes));
        let queues = [
            (
                "receive",
                &feed.queue.fill,
                &feed.queue.waits,
                &feed.queue.waited_us,
                limits.queue_bytes,
            ),
            (
                "logged",
                &logged.fill,
                &logged.waits,
                &logged.waited_us,
                limits.logged_bytes,
            ),
            (
                "behind",
                &behind.fill,
                &behind.waits,
                &behind.waited_us,
                usize::try_from(limits.behind_bytes).unwrap_or(usize::MAX),
            ),
        ];
        for (queue, fill, waits, waited, most) in queues {
            metrics.show_gauge(&format!("seismolog_queue_bytes{{queue=\"{queue}\"}}"), fill);
            metrics.show_counter(
                &format!("seismolog_queue_waits_total{{queue=\"{queue}\"}}"),
                waits,
            );
            metrics.show_counter(
                &format!("seismolog_queue_wait_microseconds_total{{queue=\"{queue}\"}}"),
                waited,
            );
            metrics
                .gauge(&format!("seismolog_queue_bound_bytes{{queue=\"{queue}\"}}"))
                .set(most as u64);
        }
        let crowd = Arc::new(Crowd {
            allow: RwLock::new(allow),
            most: AtomicUsize::new(limits.connections),
            now: AtomicUsize::new(0),
            idle_seconds: AtomicUsize::new(usize::try_from(limits.idle_seconds).unwrap_or(usize::MAX)),
            partial_most: AtomicUsize::new(limits.partial_bytes),
            partial: AtomicUsize::new(0),
            unanswered_most: AtomicUsize::new(limits.relp_unanswered.max(1)),
            unread_most: AtomicUsize::new(limits.relp_unread_bytes),
        });
        let log = Arc::new(Mutex::new(recovered.log));
        let logger = Logger::new(&log, &feed.queue, &logged, &behind, &feed.spare, &stop, metrics);
        let mut desks = Vec::new();
        let mut readers = Vec::new();
        for _ in 0..limits.readers.max(1) {
            let desk = Arc::new(Desk {
                mailbox: Arc::new(Mailbox::new().map_err(no_descriptor)?),
                ports: Mutex::new(Vec::new()),
            });
            readers.push(Reader::new(&feed, &crowd, &desk).map_err(no_descriptor)?);
            desks.push(desk);
        }
        let mut inside = Inside {
            config: IntakeConfig {
                listeners: Vec::new(),
                ..config.clone()
            },
            running: BTreeMap::new(),
            readers: Vec::new(),
            logger: Some(thread("seismolog-log", move || logger.run())?),
            syncer: Some(thread("seismolog-sync", move || syncer.run())?),
        };
        for reader in readers {
            inside
                .readers
                .push(thread("seismolog-read", move || reader.run())?);
        }
        let intake = Intake {
            feed,
            log,
            logged,
            behind,
            directory: config.directory.join("wal"),
            crowd,
            desks,
            metrics: metrics.clone(),
            inside: Mutex::new(inside),
            stdin_open: Arc::new(AtomicBool::new(false)),
        };
        match intake.reload(config) {
            Ok(()) => Ok(intake),
            Err(error) => {
                intake.stop();
                Err(error)
            }
        }
    }

    /// Logged lines, for the counting thread to pop. Closed after [`Intake::drain`] or [`Intake::stop`].
    #[must_use]
    pub fn logged(&self) -> &Arc<Queue<Logged>> {
        &self.logged
    }

    /// The lines that counting has left to the log, from a position to another.
    pub(super) fn stretch(&self, from: u64, to: u64) -> Stretch {
        Stretch::new(&self.directory, from, to)
    }

    /// Everything up to a position is counted.
    pub(super) fn counted(&self, position: u64) {
        self.behind.counted(position);
    }

    /// Shows how far counting is behind the log.
    pub(super) fn show_behind(&self) {
        self.behind.show(lock(&self.log).wal.position());
    }

    /// Where counted buffers go back to.
    #[must_use]
    pub fn spare(&self) -> &Arc<Pool> {
        &self.feed.spare
    }

    /// The state to store with a snapshot, after everything it speaks of was brought to disk. Take it
    /// after the worker's state: it may be newer, never older.
    ///
    /// # Errors
    /// The log cannot be synced.
    pub fn state(&self) -> Result<IntakeState> {
        let (bytes, syncer) = {
            let log = lock(&self.log);
            (log.memory.save(), Arc::clone(log.wal.syncer()))
        };
        syncer.flush().map_err(|source| Error::Io {
            what: "write-ahead log".to_owned(),
            source,
        })?;
        Ok(IntakeState { bytes })
    }

    /// A snapshot covers everything before the position: files of the log wholly before it go.
    pub fn release(&self, up_to: u64) {
        let result = lock(&self.log).wal.release(up_to);
        self.metrics
            .trouble("wal files", result.err().map(|error| error.to_string()));
    }

    /// Where the log ends now.
    #[must_use]
    pub fn position(&self) -> u64 {
        lock(&self.log).wal.position()
    }

    /// Bytes of the log's files.
    #[must_use]
    pub fn wal_bytes(&self) -> u64 {
        lock(&self.log).wal.bytes()
    }

    /// Why nothing is confirmed any more: the disk failed, only a restart helps.
    #[must_use]
    pub fn failed(&self) -> Option<String> {
        let syncer = Arc::clone(lock(&self.log).wal.syncer());
        syncer.failed()
    }

    /// Names of the sources, by number.
    #[must_use]
    pub fn sources(&self) -> BTreeMap<u32, String> {
        names(&lock(&self.log))
    }

    /// Where listeners are bound: `tcp 127.0.0.1:0` (as configured) -> `127.0.0.1:40123`.
    #[must_use]
    pub fn addresses(&self) -> BTreeMap<String, String> {
        lock(&self.inside)
            .running
            .iter()
            .map(|(name, running)| (name.clone(), running.address.clone()))
            .collect()
    }

    /// Takes new settings: listeners are added and removed; those that stay lose nothing. Sizes of the
    /// queues, the number of readers and the state folder stay as they were started.
    ///
    /// # Errors
    /// A setting that has no meaning (nothing is changed), or a listener that cannot be started (all
    /// others are as the new settings say).
    pub fn reload(&self, config: IntakeConfig) -> Result<()> {
        let allow = Allow::parse(&config.allow)?;
        let mut wanted = BTreeMap::new();
        for listener in &config.listeners {
            if wanted.insert(name(listener), listener).is_some() {
                return Err(Error::Option {
                    option: "listen",
                    message: format!("{} is named twice", name(listener)),
                });
            }
        }
        let mut inside = lock(&self.inside);
        let limits = &config.limits;
        if let Ok(mut old) = self.crowd.allow.write() {
            *old = allow;
        }
        let crowd = &self.crowd;
        crowd.most.store(limits.connections, Ordering::Relaxed);
        crowd.partial_most.store(limits.partial_bytes, Ordering::Relaxed);
        crowd.idle_seconds.store(
            usize::try_from(limits.idle_seconds).unwrap_or(usize::MAX),
            Ordering::Relaxed,
        );
        let relp = limits.relp_unanswered.max(1);
        crowd.unanswered_most.store(relp, Ordering::Relaxed);
        crowd
            .unread_most
            .store(limits.relp_unread_bytes, Ordering::Relaxed);
        let feed = &self.feed;
        feed.line_length
            .store(limits.line_length.max(1), Ordering::Relaxed);
        feed.rotated_seconds
            .store(limits.rotated_seconds, Ordering::Relaxed);
        feed.datagram_patience_ms
            .store(limits.datagram_patience_ms, Ordering::Relaxed);
        {
            let mut log = lock(&self.log);
            log.wal.set_limits(&config.wal);
            log.memory.ids.set_most(limits.remembered_ids);
        }
        let gone: Vec<String> = inside
            .running
            .iter()
            .filter(|(name, running)| wanted.get(*name).is_none_or(|new| **new != running.config))
            .map(|(name, _)| name.clone())
            .collect();
        for name in gone {
            if let Some(running) = inside.running.remove(&name) {
                self.end(&name, running);
            }
        }
        let mut first = None;
        for (name, listener) in wanted {
            if inside.running.contains_key(&name) {
                continue;
            }
            match self.begin(&name, listener, &config) {
                Ok(running) => {
                    self.metrics.trouble(&name, None);
                    inside.running.insert(name, running);
                }
                Err(error) => {
                    self.metrics.trouble(&name, Some(error.to_string()));
                    first.get_or_insert(error);
                }
            }
        }
        inside.config = config;
        first.map_or(Ok(()), Err)
    }

    fn begin(&self, name: &str, listener: &Listener, config: &IntakeConfig) -> Result<Running> {
        let closed = Arc::new(AtomicBool::new(false));
        let mut running = Running {
            config: listener.clone(),
            address: String::new(),
            closed: Arc::clone(&closed),
            port: None,
            thread: None,
        };
        let bound = |socket: &TcpListener, address: &SocketAddr| {
            socket
                .local_addr()
                .map_or_else(|_| address.to_string(), |a| a.to_string())
        };
        let door = match listener {
            Listener::Tcp { address } => {
                let socket = tcp::listen(name, *address)?;
                running.address = bound(&socket, address);
                Some(Door::Tcp(socket))
            }
            Listener::Relp { address } => {
                let socket = tcp::listen(name, *address)?;
                running.address = bound(&socket, address);
                Some(Door::Relp(socket))
            }
            Listener::Tls {
                address,
                certificate,
                key,
                client_ca,
            } => {
                let settings = tls::config(certificate, key, client_ca.as_deref())?;
                let socket = tcp::listen(name, *address)?;
                running.address = bound(&socket, address);
                Some(Door::Tls(socket, settings))
            }
            Listener::Unix { path, mode } => {
                running.address = path.display().to_string();
                Some(Door::Unix(unix::listen(path, *mode)?))
            }
            _ => None,
        };
        let numbers = Numbers::new(
            &self.metrics,
            // One journal, whichever part of it is read.
            if matches!(listener, Listener::Journal { .. }) {
                "journal"
            } else {
                name
            },
        );
        if let Some(door) = door {
            let source = lock(&self.log).source(name)?;
            let port = Arc::new(Port {
                door,
                source,
                numbers,
                closed: AtomicBool::new(false),
            });
            for desk in &self.desks {
                lock(&desk.ports).push(Arc::clone(&port));
                desk.mailbox.wake();
            }
            running.port = Some(port);
            return Ok(running);
        }
        let feed = Arc::clone(&self.feed);
        match listener {
            Listener::UnixDatagram { path, mode } => {
                let socket = unix::bind_datagram(path, *mode)?;
                let source = lock(&self.log).source(name)?;
                running.address = path.display().to_string();
                running.thread = Some(thread("seismolog-dgram", move || {
                    unix::read_datagrams(&socket, source, &feed, &numbers, &closed);
                })?);
            }
            Listener::Udp {
                address,
                receive_buffer,
            } => {
                let socket = Udp::bind(name, *address, *receive_buffer, &self.metrics)?;
                let source = lock(&self.log).source(name)?;
                running.address = socket
                    .address()
                    .map_or_else(|_| address.to_string(), |a| a.to_string());
                let crowd = Arc::clone(&self.crowd);
                running.thread = Some(thread("seismolog-udp", move || {
                    socket.run(source, &feed, &crowd.allow, &numbers, &closed);
                })?);
            }
            Listener::Files { patterns, from_start } => {
                let mut follower = Follower::new(
                    name,
                    patterns,
                    *from_start,
                    config.limits.files,
                    &feed,
                    &self.log,
                    &self.metrics,
                    &closed,
                );
                follower.begin()?;
                running.thread = Some(thread("seismolog-files", move || follower.run())?);
            }
            Listener::Journal { arguments, program } => {
                let (source, cursor) = {
                    let mut log = lock(&self.log);
                    let source = log.source("journal")?;
                    (
                        source,
                        log.memory.resumes.get(&source).cloned().unwrap_or_default(),
                    )
                };
                let (arguments, program, name) = (arguments.clone(), program.clone(), name.to_owned());
                let metrics = self.metrics.clone();
                running.thread = Some(thread("seismolog-jrnl", move || {
                    let starts = metrics.counter("seismolog_journalctl_starts_total");
                    let mut journal = Journal {
                        name,
                        program,
                        arguments,
                        source,
                        cursor,
                        feed: &feed,
                        numbers: &numbers,
                        metrics: &metrics,
                        closed: &closed,
                        starts,
                    };
                    journal.run();
                })?);
            }
            Listener::Stdin { protocol } => {
                let source = lock(&self.log).source(name)?;
                let mailbox = Arc::new(Mailbox::new().map_err(no_descriptor)?);
                let (metrics, name, protocol) = (self.metrics.clone(), name.to_owned(), *protocol);
                // A descriptor of our own: whoever holds the lock of `stdout` cannot stop answers.
                let output = std::io::stdout()
                    .as_fd()
                    .try_clone_to_owned()
                    .map_err(no_descriptor)?;
                let open = Arc::clone(&self.stdin_open);
                open.store(true, Ordering::Relaxed);
                let directory = config.directory.clone();
                running.thread = Some(thread("seismolog-pipe", move || {
                    let mut pipe = Pipe {
                        input: std::io::stdin(),
                        output: std::fs::File::from(output),
                        source,
                        feed: &feed,
                        numbers: &numbers,
                        mailbox,
                        asked: 0,
                        directory,
                    };
                    if let Err(error) = pipe.run(protocol) {
                        metrics.trouble(&name, Some(error.to_string()));
                    }
                    open.store(false, Ordering::Relaxed);
                })?);
            }
            Listener::Tcp { .. } | Listener::Tls { .. } | Listener::Relp { .. } | Listener::Unix { .. } => {}
        }
        Ok(running)
    }

    fn end(&self, name: &str, mut running: Running) {
        running.closed.store(true, Ordering::Relaxed);
        if let Some(port) = running.port.take() {
            port.closed.store(true, Ordering::Relaxed);
            for desk in &self.desks {
                lock(&desk.ports).retain(|p| !Arc::ptr_eq(p, &port));
                desk.mailbox.wake();
            }
        }
        if let Some(thread) = running.thread.take()
            && thread.join().is_err()
        {
            self.metrics.trouble(name, Some("ended by a fault".to_owned()));
        }
        remove_socket(&running.config);
    }

    /// Whether every source has ended (standard input only).
    #[must_use]
    pub fn ended(&self) -> bool {
        !self.stdin_open.load(Ordering::Relaxed)
    }

    /// Stops accepting, reads what has arrived, logs, syncs and confirms it; then closes the queue of
    /// logged lines. False: not done within the time; what was not logged was not confirmed either.
    pub fn drain(&self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        self.feed.drain.store(true, Ordering::Relaxed);
        for desk in &self.desks {
            desk.mailbox.wake();
        }
        let mut inside = lock(&self.inside);
        let mut threads: Vec<JoinHandle<()>> = inside.readers.drain(..).collect();
        let running: Vec<Running> = std::mem::take(&mut inside.running).into_values().collect();
        let mut sockets = Vec::new();
        for mut entry in running {
            threads.extend(entry.thread.take());
            sockets.push(entry.config);
        }
        let mut well = join(threads, until);
        self.feed.queue.close();
        well &= join(inside.logger.take().into_iter().collect(), until);
        if !well {
            self.feed.stop.store(true, Ordering::Relaxed);
        }
        self.logged.close();
        let syncer = Arc::clone(lock(&self.log).wal.syncer());
        well &= syncer.flush().is_ok();
        syncer.stop();
        well &= join(
            inside.syncer.take().into_iter().collect(),
            until.max(Instant::now() + Duration::from_secs(1)),
        );
        for config in &sockets {
            remove_socket(config);
        }
        well
    }

    /// Stops at once. What was not logged was not confirmed either.
    pub fn stop(&self) {
        self.feed.stop.store(true, Ordering::Relaxed);
        self.drain(Duration::from_secs(2));
    }
}

impl Drop for Intake {
    fn drop(&mut self) {
        if lock(&self.inside).syncer.is_some() {
            self.stop();
        }
    }
}

/// Waits for threads; false: one has not ended in time, or ended by a fault.
fn join(threads: Vec<JoinHandle<()>>, until: Instant) -> bool {
    let mut well = true;
    for thread in threads {
        while !thread.is_finished() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(2));
        }
        well &= thread.is_finished() && thread.join().is_ok();
    }
    well
}

fn no_descriptor(source: std::io::Error) -> Error {
    Error::Io {
        what: "live".to_owned(),
        source,
    }
}

fn remove_socket(listener: &Listener) {
    if let Listener::Unix { path, .. } | Listener::UnixDatagram { path, .. } = listener {
        remove(path);
    }
}

fn remove(path: &Path) {
    // Whoever comes next clears it away otherwise.
    let _ = std::fs::remove_file(path);
}

/// Lets the process have as many descriptors as its connections need, as far as it may.
fn raise_descriptors(connections: usize) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let now = getrlimit(Resource::Nofile);
    let wanted = connections as u64 + 1024;
    if now.current.is_some_and(|current| current < wanted) {
        let current = Some(now.maximum.map_or(wanted, |most| most.min(wanted)));
        // Where it may not, the connections past it are refused and counted.
        let _ = setrlimit(
            Resource::Nofile,
            Rlimit {
                current,
                maximum: now.maximum,
            },
        );
    }
}
