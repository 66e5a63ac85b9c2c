//! The counting thread: logged lines into bins, closed bins to the closing thread, snapshots now and then.
//!
//! ```text
//! Logged --> counting thread: Worker --Round, Saved--> closing thread: tables, closed-bin log, snapshot
//! ```
//!
//! The closing thread takes its work in order, so that a snapshot is on disk only when everything is that was told
//! before it was taken. It tries again for as long as a disk is full; its queue is short, so that counting waits,
//! then the log's queue, then whoever sends.
//!
//! Where counting cannot keep up, its queue holds a word for what stands in the log, and the lines are read from there;
//! bins close then by the time at which the lines that were counted last were received. The thread gives way to others
//! (`nice`): whoever sends lines to us on this machine goes first.
//!
//! A revision is the position in the write-ahead log up to which lines were counted, or one more than the one
//! before where nothing was logged between two rounds.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::batch::{Logged, now_us};
use super::closed::{ClosedLog, Told};
use super::intake::Intake;
use super::metrics::{Counter as Sum, Gauge, Metrics};
use super::queue::{Popped, lock};
use super::snapshot::{self, Snapshot};
use super::wal::Stretch;
use crate::count::address::Prefix;
use crate::count::worker::{LiveOptions, Round, Top, Worker};
use crate::count::{Limits, Options, detail, table};
use crate::domain::Suffixes;
use crate::error::{Error, Result};
use crate::syslog::time::Zone;

/// How often the clock is looked at for bins that are due.
const TICK: Duration = Duration::from_millis(50);
/// Stretch over which lines a second are told.
const PACE: Duration = Duration::from_secs(2);
/// Rounds and snapshots that wait for the closing thread.
pub const WAITING: usize = 4;
/// Minutes that [`Shared::top`] looks at.
const TOP_MINUTES: i64 = 5;

/// Every setting of counting, with its default. Whoever reads the configuration fills these.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CountingConfig {
    /// Zone of times that tell none; none: UTC.
    pub timezone: Option<String>,
    /// Zones of servers that differ, by server name.
    pub server_timezones: BTreeMap<String, String>,
    /// Server names for host names.
    pub server_names: BTreeMap<String, String>,
    /// Server name where the lines tell none.
    pub default_server: String,
    /// Prefixes that are inside the site.
    pub inside: Vec<String>,
    /// Addresses that hand messages over to the server itself.
    pub reinjection: Vec<String>,
    /// IPv6 clients are counted by prefixes of this length.
    pub client_prefix_v6: u8,
    /// Text of the public suffix list, for the registered domains of the details.
    pub public_suffixes: Option<String>,
    /// The tables of details.
    pub details: bool,
    /// Bounds of counting that differ from their defaults, by name.
    pub limits: BTreeMap<String, usize>,
    /// Seconds for which a bin waits for lines that come late.
    pub lateness: i64,
    /// Seconds by which a time may lie after its receipt; later ones are taken for the time of receipt.
    pub skew: i64,
    /// Seconds between two tellings of bins that have closed and change.
    pub revise: i64,
    /// Bytes of the write-ahead log after which a snapshot is taken.
    pub snapshot_bytes: u64,
    /// Seconds after which one is taken, if lines have come.
    pub snapshot_seconds: u64,
    /// Bytes of the closed-bin log; past it counting waits for whoever reads it.
    pub closed_bytes: u64,
    /// Bytes of closed bins that are kept for later lines.
    pub state_bytes: usize,
    /// By how much the counting thread gives way to others, as `nice` does: 0 to 19.
    pub nice: i32,
}

impl Default for CountingConfig {
    fn default() -> Self {
        let live = LiveOptions::default();
        CountingConfig {
            timezone: None,
            server_timezones: BTreeMap::new(),
            server_names: BTreeMap::new(),
            default_server: Options::default().default_server,
            inside: Vec::new(),
            reinjection: Vec::new(),
            client_prefix_v6: 128,
            public_suffixes: None,
            details: true,
            limits: BTreeMap::new(),
            lateness: live.lateness,
            skew: live.skew,
            revise: 5,
            snapshot_bytes: 256 << 20,
            snapshot_seconds: 300,
            closed_bytes: 4 << 30,
            state_bytes: live.state_bytes,
            nice: 19,
        }
    }
}

/// Clients known to a live worker where the bound is an archive's default: fewer, since the table is renewed, and
/// since a flood must not take more than half a gigabyte.
const LIVE_CLIENTS: usize = 1 << 17;

fn option(option: &'static str) -> impl FnOnce(String) -> Error {
    move |message| Error::Option { option, message }
}

impl CountingConfig {
    /// What the worker is to be told.
    ///
    /// # Errors
    /// [`Error::Option`]: a value has no meaning; the message names the setting.
    pub fn resolve(&self) -> Result<(Options, Limits, LiveOptions)> {
        let prefixes = |name: &'static str, texts: &[String]| {
            texts
                .iter()
                .map(|t| Prefix::parse(t).map_err(option(name)))
                .collect::<Result<Vec<_>>>()
        };
        let zone = |name: &'static str, text: &str| Zone::new(text).map_err(|e| option(name)(e.to_string()));
        if self.client_prefix_v6 > 128 {
            return Err(option("client_prefix_v6")(
                "a prefix length of 0 to 128 is expected".into(),
            ));
        }
        for (name, value) in [
            ("lateness", self.lateness),
            ("skew", self.skew),
            ("revise", self.revise),
        ] {
            if !(0..=86_400).contains(&value) {
                return Err(option(name)(format!("{value}: 0 to 86400 seconds are expected")));
            }
        }
        let mut limits = Limits {
            clients: LIVE_CLIENTS,
            ..Limits::default()
        };
        for (name, value) in &self.limits {
            limits.set(name, *value).map_err(option("limits"))?;
        }
        if limits.clients == Limits::default().clients {
            limits.clients = LIVE_CLIENTS;
        }
        let live = LiveOptions {
            zone: self
                .timezone
                .as_deref()
                .map(|z| zone("timezone", z))
                .transpose()?,
            server_zones: self
                .server_timezones
                .iter()
                .map(|(server, z)| Ok((server.clone(), zone("server_timezones", z)?)))
                .collect::<Result<_>>()?,
            lateness: self.lateness,
            skew: self.skew,
            state_bytes: self.state_bytes,
        };
        let mut zones = live.zone.iter().chain(live.server_zones.values());
        let options = Options {
            clients: true,
            query_types: true,
            names: true,
            state: true,
            details: self.details,
            detail_minutes: if zones.all(Zone::whole_hours) { 60 } else { 15 },
            suffixes: Arc::new(
                self.public_suffixes
                    .as_deref()
                    .map(Suffixes::parse)
                    .unwrap_or_default(),
            ),
            edges: false,
            inside: prefixes("inside", &self.inside)?,
            reinjection: prefixes("reinjection", &self.reinjection)?,
            client_prefix_v6: self.client_prefix_v6,
            default_server: self.default_server.clone(),
            server_names: self
                .server_names
                .iter()
                .map(|(host, name)| (host.to_ascii_lowercase(), name.clone()))
                .collect(),
        };
        Ok((options, limits, live))
    }

    /// These settings with the defaults of those that can be taken over without a restart.
    fn lasting(&self) -> CountingConfig {
        let d = CountingConfig::default();
        CountingConfig {
            lateness: d.lateness,
            skew: d.skew,
            revise: d.revise,
            snapshot_bytes: d.snapshot_bytes,
            snapshot_seconds: d.snapshot_seconds,
            closed_bytes: d.closed_bytes,
            state_bytes: d.state_bytes,
            nice: d.nice,
            ..self.clone()
        }
    }

    /// Whether these settings can be taken over without a restart.
    #[must_use]
    pub fn differs_only_in_bounds(&self, other: &CountingConfig) -> bool {
        self.lasting() == other.lasting()
    }

    /// Stands for the settings by which rows have their keys.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        xxhash_rust::xxh3::xxh3_64(format!("{:?}", self.lasting()).as_bytes())
    }
}

/// What other threads see of the counting one.
#[derive(Default)]
pub struct Shared {
    top: Mutex<TopBoard>,
    answered: Condvar,
    /// Settings that are to be taken over.
    pub config: Mutex<Option<CountingConfig>>,
    /// The closing thread gives up trying.
    pub abandon: AtomicBool,
    /// The most frequent shapes of lines that were not understood.
    shapes: Mutex<Vec<(String, u64)>>,
    failed: Mutex<Option<String>>,
}

#[derive(Default)]
struct TopBoard {
    wanted: usize,
    asked: u64,
    told: u64,
    top: Top,
}

impl Shared {
    /// The newest minutes, as soon as the counting thread has looked; none if it does not within the time.
    pub fn top(&self, n: usize, patience: Duration) -> Option<Top> {
        let until = Instant::now() + patience;
        let mut board = lock(&self.top);
        board.wanted = board.wanted.max(n.max(1));
        board.asked += 1;
        let mine = board.asked;
        while board.told < mine {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            board = self
                .answered
                .wait_timeout(board, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        let mut top = board.top.clone();
        top.clients.truncate(n);
        Some(top)
    }

    /// The most frequent shapes of lines that were not understood since the start.
    #[must_use]
    pub fn unmatched_shapes(&self) -> Vec<(String, u64)> {
        lock(&self.shapes).clone()
    }

    /// Why counting has stopped, if it has.
    #[must_use]
    pub fn failed(&self) -> Option<String> {
        lock(&self.failed).clone()
    }

    /// A thread has ended that should not have.
    pub fn fail(&self, message: String) {
        lock(&self.failed).get_or_insert(message);
    }
}

/// Work for the closing thread.
pub enum Job {
    /// Tell these bins.
    Round {
        /// Its number.
        revision: u64,
        /// The rows.
        round: Box<Round>,
        /// When they were found to be due.
        at: Instant,
    },
    /// Keep this state.
    Snapshot(Box<Snapshot>),
}

/// The counting side's numbers.
struct Shown {
    lines: Sum,
    matched: Sum,
    ignored: Sum,
    unmatched: Sum,
    open: Gauge,
    frozen: Gauge,
    frozen_bytes: Gauge,
    clients: Gauge,
    clamped: Sum,
    renewed: Sum,
    unshaped: Sum,
    rounds: Sum,
    bins: Sum,
    revised: Sum,
    position: Gauge,
    damaged: Sum,
    snapshot_us: Gauge,
    rate: Gauge,
    /// 1 while the log takes nothing.
    paused: Gauge,
}

impl Shown {
    fn new(metrics: &Metrics) -> Shown {
        Shown {
            lines: metrics.counter("seismolog_counted_lines_total"),
            matched: metrics.counter("seismolog_matched_lines_total"),
            ignored: metrics.counter("seismolog_ignored_lines_total"),
            unmatched: metrics.counter("seismolog_unmatched_lines_total"),
            open: metrics.gauge("seismolog_open_bins"),
            frozen: metrics.gauge("seismolog_kept_bins"),
            frozen_bytes: metrics.gauge("seismolog_kept_bytes"),
            clients: metrics.gauge("seismolog_known_clients"),
            clamped: metrics.counter("seismolog_future_lines_total"),
            renewed: metrics.counter("seismolog_client_table_renewals_total"),
            unshaped: metrics.counter("seismolog_unshaped_lines_total"),
            rounds: metrics.counter("seismolog_closed_rounds_total"),
            bins: metrics.counter("seismolog_closed_bins_total"),
            revised: metrics.counter("seismolog_revised_bins_total"),
            position: metrics.gauge("seismolog_counted_position"),
            damaged: metrics.counter("seismolog_wal_damaged_bytes_total"),
            snapshot_us: metrics.gauge("seismolog_snapshot_pause_us"),
            rate: metrics.gauge("seismolog_lines_per_second"),
            paused: metrics.gauge("seismolog_paused"),
        }
    }
}

/// Sets a counter to a sum that is kept elsewhere.
fn raise(counter: &Sum, to: u64) {
    counter.add(to.saturating_sub(counter.get()));
}

/// The state of the counting thread.
pub struct Counter {
    worker: Worker,
    config: CountingConfig,
    metrics: Metrics,
    shown: Shown,
    shared: Arc<Shared>,
    jobs: SyncSender<Job>,
    position: u64,
    revision: u64,
    /// When the lines that were counted last were received.
    received_us: i64,
    fingerprint: u64,
    /// Position of the last snapshot, and when it was taken.
    saved: (u64, Instant),
    ticked: Instant,
    told: Instant,
    /// Lines counted at the beginning of the stretch that the rate is of, and when that was.
    paced: (u64, Instant),
}

impl Counter {
    /// Counts on from a position; `revision` is the highest that was ever told.
    #[must_use]
    #[expect(
        clippy::too_many_arguments,
        reason = "every part of the thread, once; called by the engine"
    )]
    pub fn new(
        worker: Worker,
        config: CountingConfig,
        position: u64,
        saved: u64,
        revision: u64,
        metrics: &Metrics,
        shared: Arc<Shared>,
        jobs: SyncSender<Job>,
    ) -> Counter {
        let now = Instant::now();
        let lines = worker.tally.lines;
        Counter {
            worker,
            fingerprint: config.fingerprint(),
            config,
            metrics: metrics.clone(),
            shown: Shown::new(metrics),
            shared,
            jobs,
            position,
            revision,
            received_us: now_us(),
            saved: (saved, now),
            ticked: now,
            told: now,
            paced: (lines, now),
        }
    }

    /// Counts what is logged until the queue is closed and empty, or the closing thread is gone. `last` says then
    /// whether every bin is to be told and the state kept.
    pub fn run(&mut self, intake: &Intake, last: impl FnOnce() -> bool) {
        give_way(self.config.nice);
        let queue = intake.logged().clone();
        let mut stretch: Option<(Stretch, Logged)> = None;
        loop {
            if let Some((lines, read)) = &mut stretch {
                // What is not counted is replayed by the next start.
                if self.shared.abandon.load(Ordering::Relaxed) {
                    return;
                }
                match lines.next(read) {
                    Ok(true) => self.take(read),
                    Ok(false) => stretch = None,
                    // What holds after it is counted all the same.
                    Err(e) => self.metrics.trouble("wal-reading", Some(e.to_string())),
                }
                if let Some((lines, _)) = &mut stretch {
                    self.shown.damaged.add(std::mem::take(&mut lines.damaged));
                }
            } else {
                let wait = TICK.saturating_sub(self.ticked.elapsed());
                match queue.pop(wait) {
                    Popped::Some(logged) if logged.behind() => {
                        let lines = intake.stretch(self.position, logged.position);
                        stretch = Some((lines, Logged::default()));
                    }
                    Popped::Some(logged) => {
                        self.take(&logged);
                        intake.spare().give(logged.bytes);
                    }
                    Popped::Timeout => {}
                    Popped::Closed => break,
                }
            }
            intake.counted(self.position);
            if self.ticked.elapsed() >= TICK {
                intake.show_behind();
                let now = match &stretch {
                    Some(_) => self.received_us,
                    None => now_us(),
                };
                if !self.tick(intake.wal_bytes(), now.div_euclid(1_000_000)) {
                    return;
                }
            }
        }
        if last() && self.tell(i64::MAX, true) {
            self.snapshot();
        }
        self.show();
    }

    fn take(&mut self, logged: &Logged) {
        self.worker
            .receive(logged.source, logged.received_us, &logged.bytes);
        self.position = logged.position;
        self.received_us = logged.received_us;
    }

    /// Tells what is due. False: nobody takes it.
    fn tell(&mut self, now: i64, all: bool) -> bool {
        loop {
            let at = Instant::now();
            let round = self.worker.round(now, self.config.revise, all);
            if round.is_empty() {
                return true;
            }
            let more = round.more;
            self.revision = self.position.max(self.revision + 1);
            self.shown.rounds.add(1);
            self.shown.bins.add(round.bins as u64);
            self.shown.revised.add(round.again as u64);
            let job = Job::Round {
                revision: self.revision,
                round: Box::new(round),
                at,
            };
            if self.jobs.send(job).is_err() {
                return false;
            }
            if !more {
                return true;
            }
        }
    }

    fn snapshot(&mut self) -> bool {
        let begun = Instant::now();
        let worker = match self.worker.save() {
            Ok(worker) => worker,
            Err(message) => {
                self.metrics.trouble("snapshot", Some(message));
                return true;
            }
        };
        let snapshot = Snapshot {
            position: self.position,
            revision: self.revision,
            fingerprint: self.fingerprint,
            worker,
        };
        let us = begun.elapsed().as_micros();
        self.shown.snapshot_us.set(u64::try_from(us).unwrap_or(u64::MAX));
        self.saved = (self.position, Instant::now());
        self.jobs.send(Job::Snapshot(Box::new(snapshot))).is_ok()
    }

    fn tick(&mut self, wal_bytes: u64, now: i64) -> bool {
        self.ticked = Instant::now();
        if let Some(config) = lock(&self.shared.config).take() {
            self.worker
                .set_live(config.lateness, config.skew, config.state_bytes);
            self.config = config;
        }
        if !self.tell(now, false) {
            return false;
        }
        let behind = self.position.saturating_sub(self.saved.0);
        let old = self.saved.1.elapsed() >= Duration::from_secs(self.config.snapshot_seconds);
        let pressed = wal_bytes > self.config.snapshot_bytes.saturating_mul(2) && old_enough(self.saved.1);
        // The log is full, or the disk is, perhaps of it: what is counted makes room at once.
        let stuck = self.shown.paused.get() != 0;
        if behind > 0 && (old || behind >= self.config.snapshot_bytes || pressed || stuck) && !self.snapshot()
        {
            return false;
        }
        {
            let mut board = lock(&self.shared.top);
            if board.told < board.asked {
                let now = now_us().div_euclid(1_000_000);
                board.top = self.worker.top(board.wanted, TOP_MINUTES, now);
                board.told = board.asked;
                board.wanted = 0;
                self.shared.answered.notify_all();
            }
        }
        if self.told.elapsed() >= Duration::from_millis(500) {
            self.told = Instant::now();
            self.show();
        }
        true
    }

    fn show(&mut self) {
        let stretch = self.paced.1.elapsed();
        if stretch >= PACE {
            let lines = self.worker.tally.lines;
            let rate = (lines - self.paced.0) as f64 / stretch.as_secs_f64();
            self.shown.rate.set(rate.round() as u64);
            self.paced = (lines, Instant::now());
        }
        let tally = self.worker.full_tally();
        let (open, frozen, bytes) = self.worker.kept();
        let (clamped, renewed) = self.worker.clamped_and_renewed();
        let s = &self.shown;
        raise(&s.lines, tally.lines);
        raise(&s.matched, tally.matched);
        raise(&s.ignored, tally.ignored);
        raise(&s.unmatched, tally.unmatched);
        raise(&s.clamped, clamped);
        raise(&s.renewed, renewed);
        let (shapes, unshaped) = self.worker.unmatched_shapes();
        raise(&s.unshaped, unshaped);
        *lock(&self.shared.shapes) = shapes;
        s.open.set(open as u64);
        s.frozen.set(frozen as u64);
        s.frozen_bytes.set(bytes as u64);
        s.clients.set(self.worker.clients.len() as u64);
        s.position.set(self.position);
        for (kind, all) in [
            ("seismolog_shed_total{bound", self.worker.all_shed()),
            ("seismolog_dialect_lines_total{dialect", tally.dialects),
            ("seismolog_unmatched_reason_total{reason", tally.reasons),
        ] {
            for (name, n) in all {
                raise(&self.metrics.counter(&format!("{kind}=\"{name}\"}}")), n);
            }
        }
    }
}

/// Lets others go first: on a machine that is busy, lines are received and logged at once, and counted when there is time.
fn give_way(nice: i32) {
    // A system that refuses it (it never does to raise it) counts as soon as everybody else.
    let _ = rustix::process::setpriority_process(None, nice.clamp(0, 19));
}

fn old_enough(saved: Instant) -> bool {
    saved.elapsed() >= Duration::from_secs(5)
}

/// What the closing thread needs.
pub struct Closer {
    /// The log.
    pub log: Arc<ClosedLog>,
    /// Where the snapshot is kept.
    pub folder: std::path::PathBuf,
    /// Its options, for the tables' columns.
    pub options: Options,
    /// Bytes of the log.
    pub most: u64,
    /// Numbers and troubles.
    pub metrics: Metrics,
    /// What the threads share.
    pub shared: Arc<Shared>,
}

impl Closer {
    /// Takes work until nobody sends any.
    pub fn run(&self, jobs: &Receiver<Job>, intake: &Intake) {
        let took = self.metrics.gauge("seismolog_close_us");
        let longest = self.metrics.gauge("seismolog_close_us_max");
        let snapshots = self.metrics.counter("seismolog_snapshots_total");
        let saved = self.metrics.gauge("seismolog_snapshot_bytes");
        let slow = self.metrics.counter("seismolog_close_slow_total");
        for job in jobs {
            match job {
                Job::Round { revision, round, at } => {
                    if !self.log.wait_for_room(self.most) {
                        continue;
                    }
                    let servers = round.servers.clone();
                    let tables = match tables(*round, &self.options) {
                        Ok(tables) => tables,
                        Err(e) => {
                            // Columns that do not fit together would be a bug; the next round tells the bins
                            // that change, and this is shown until then.
                            self.metrics.trouble("closed", Some(e.to_string()));
                            continue;
                        }
                    };
                    self.again("closed", || self.log.write(revision, &servers, &tables));
                    let us = u64::try_from(at.elapsed().as_micros()).unwrap_or(u64::MAX);
                    took.set(us);
                    longest.set(longest.get().max(us));
                    if us > 250_000 {
                        slow.add(1);
                    }
                }
                Job::Snapshot(snapshot) => {
                    let position = snapshot.position;
                    let done = self.again("snapshot", || {
                        let state = intake.state()?;
                        let bytes = snapshot::write(&self.folder, &snapshot, &state)?;
                        saved.set(bytes);
                        Ok(())
                    });
                    if done {
                        snapshots.add(1);
                        intake.release(position);
                    }
                }
            }
        }
    }

    /// Tries until it is done, or nobody waits for it any longer.
    fn again(&self, part: &str, mut work: impl FnMut() -> Result<()>) -> bool {
        loop {
            match work() {
                Ok(()) => {
                    self.metrics.trouble(part, None);
                    return true;
                }
                Err(e) => {
                    self.metrics.trouble(part, Some(e.to_string()));
                    if self.shared.abandon.load(Ordering::Relaxed) {
                        return false;
                    }
                    std::thread::sleep(Duration::from_millis(500));
                }
            }
        }
    }
}

/// The tables of a round.
///
/// # Errors
/// [`Error::Table`] if columns do not fit together, which would be a bug.
pub fn tables(mut round: Round, options: &Options) -> Result<Vec<Told>> {
    let mut clients = Vec::new();
    let mut traffic = Vec::new();
    for part in std::mem::take(&mut round.parts) {
        if !part.columns.count.is_empty() {
            let place = |key| round.place(key);
            clients.push(table::client_batch(
                part.columns,
                part.texts,
                options,
                true,
                part.source,
                place,
            )?);
        }
        if !part.traffic.is_empty() {
            traffic.push(table::traffic_batch(
                &part.traffic,
                options,
                part.source,
                |key| round.place(key),
            )?);
        }
    }
    let mut told = Vec::new();
    let details = round.take_details()?;
    for (at, name) in detail::TABLES.into_iter().enumerate() {
        let batches: Vec<_> = details
            .iter()
            .filter_map(|tables| tables.get(at))
            .filter(|batch| batch.num_rows() > 0)
            .cloned()
            .collect();
        if let Some(batch) = batches.first() {
            told.push(Told {
                name,
                schema: batch.schema(),
                batches,
            });
        }
    }
    for (name, schema, batches) in [
        ("client_traffic", table::client_schema(options, true), clients),
        ("traffic", table::traffic_schema(options), traffic),
    ] {
        if !batches.is_empty() {
            told.push(Told {
                name,
                schema,
                batches,
            });
        }
    }
    Ok(told)
}
