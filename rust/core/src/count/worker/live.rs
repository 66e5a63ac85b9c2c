//! Counting lines as they come: bins in UTC, told as absolute rows when they close and again when they change.
//!
//! An archive's times are resolved when all of a file has been read; here each line's minute is resolved when it
//! comes (zone of its server, year by the time of receipt, the pass of a repeated hour by the course of the clock as
//! in an archive). Bins belong to a server and a UTC minute, whatever clocks its lines have.
//!
//! *Closing.* A feed is a pair of source and server. Its watermark is its newest event time less the lateness, or,
//! when nothing has come for that long, the wall clock less the lateness. A bin closes when the watermarks of all
//! feeds that have written to it have passed its end, and [`Worker::round`] tells it. What comes later changes the
//! bin, and a later round tells it again, all of it.
//!
//! *Keeping.* A closed bin is kept for [`OPEN_MINUTES`] behind the watermark, frozen when it has been quiet
//! ([`super::super::frozen`]), then let go. A line for a minute that was let go is counted in a *late set*: bins of their own
//! under a number of their own (column `source`, 0 elsewhere), of which a reader adds the rows. So sums stay right
//! however late a line is. A late set is told and let go after an hour, and the next one has the next number.
//!
//! *Determinism.* Where a line is counted depends on the lines and on when they were received, both of which the
//! write-ahead log holds, and never on the clock of whoever counts: upkeep runs when a batch of a new minute comes.
//! Only the rounds look at the clock, and they change nothing that is counted. So a replay ends in the same state.
//!
//! *Bounds.* Hot bins past `limits.open_bins` are frozen; frozen ones past `state_bytes` are let go, oldest first,
//! and counted as `state_bytes`. A client table that is three quarters full is renewed: clients that no hot bin
//! names are forgotten, so that a flood of spoofed addresses takes up the room for minutes, not for ever.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::UInt32Type;
use arrow_array::{RecordBatch, UInt32Array};
use serde::{Deserialize, Serialize};

use super::super::detail::live::Streams;
use super::super::detail::{self, ByKey};

use super::super::bins::{BinKey, OpenBin, Told};
use super::super::frozen;
use super::super::intern::{Interner, NONE};
use super::super::memory::Half;
use super::super::seal::{ClientColumns, TrafficRow};
use super::super::timeline::YEAR_MINUTES;
use super::super::{Limits, Options};
use super::shapes::UnmatchedShapes;
use super::{Last, NO_MINUTE, OPEN_MINUTES, Worker};
use crate::archive::years::local_seconds;
use crate::event::Kind;
use crate::syslog::header::Clock;
use crate::syslog::time::{Zone, civil_from_days, yearless_seconds};

/// Minutes behind the watermark after which a bin is frozen.
const HOT_MINUTES: i64 = 1;
/// Minutes after which a late set is told and let go.
const LATE_SET_MINUTES: i64 = 60;
/// Seconds after which a feed that has ended is forgotten.
const FEED_SECONDS: i64 = 86_400;
/// The part of the clients' bound that each table of details may name in a cell when the clients' table is too full.
const FLOODED: usize = 32;
/// Rows after which a round is told though more bins are due.
const ROUND_ROWS: usize = 500_000;
/// Bytes that a frozen bin takes beside its own.
const FROZEN_OVERHEAD: usize = 160;

/// How lines that come are to be read.
#[derive(Clone, Debug)]
pub struct LiveOptions {
    /// Zone of times that tell none; none: UTC.
    pub zone: Option<Zone>,
    /// Zones of servers that differ, by server name.
    pub server_zones: BTreeMap<String, Zone>,
    /// Seconds for which a bin waits for lines that come late.
    pub lateness: i64,
    /// Seconds by which a time may lie after its receipt; later ones are taken for the time of receipt.
    pub skew: i64,
    /// Bytes of closed bins that are kept for later lines.
    pub state_bytes: usize,
}

impl Default for LiveOptions {
    fn default() -> Self {
        LiveOptions {
            zone: None,
            server_zones: BTreeMap::new(),
            lateness: 120,
            skew: 300,
            state_bytes: 64 << 20,
        }
    }
}

/// A source's lines of one server.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Feed {
    /// Newest event time, seconds, but for a time that ran ahead by more than a day and came back.
    pub newest: i64,
    /// When the last line was received, seconds.
    pub received: i64,
}

impl Feed {
    fn watermark(&self, now: i64, lateness: i64) -> i64 {
        if self.received + lateness < now {
            now - lateness
        } else {
            self.newest - lateness
        }
    }
}

/// A bin at rest.
pub(super) struct Frozen {
    pub bytes: Arc<[u8]>,
    pub told: Told,
    pub closed: bool,
}

/// A server's bins.
#[derive(Default)]
pub(super) struct Home {
    /// Bins at hand by number of the late set (0: none) and minute.
    pub open: BTreeMap<(u16, i64), usize>,
    /// Bins at rest.
    pub frozen: BTreeMap<(u16, i64), Frozen>,
    /// Newest minute that was let go.
    pub gone: i64,
    pub zone: Option<Zone>,
    /// The first stream of the server, under which the details count its names.
    pub stream: Option<u32>,
}

/// What only lines as they come need.
pub(super) struct Present {
    pub options: LiveOptions,
    pub source: u32,
    /// Time of receipt, seconds.
    pub received: i64,
    /// Streams that have turned since the source or the second changed.
    pub touched: Vec<u32>,
    pub feeds: ByKey<(u32, u32), Feed>,
    pub homes: Vec<Home>,
    /// Places of bins that have closed.
    pub closed: Vec<bool>,
    /// Number of the present late set, and the minute of receipt of its first line.
    pub late_set: u16,
    pub late_since: Option<i64>,
    /// Bins that were let go and must still be told.
    pub retired: Vec<(BinKey, Frozen)>,
    /// Tables of details of such bins.
    pub retired_details: Vec<detail::live::Told>,
    /// Second in which the details were looked through last.
    pub detailed: i64,
    /// Tables that could not be built, which would be a bug.
    pub failed: u64,
    pub frozen_bytes: usize,
    /// A frozen bin has changed since it was told.
    pub frozen_changed: bool,
    /// Minute of receipt of the last upkeep.
    pub kept: i64,
    /// Lines whose time lay too far in the future.
    pub clamped: u64,
    /// When changed bins that have closed were told last, seconds.
    pub revised: i64,
    /// Times that the client table was renewed.
    pub renewed: u64,
    /// Shapes of lines that nobody understood.
    pub shapes: UnmatchedShapes,
}

impl Present {
    /// The stream under which the details count the names of a server.
    pub(super) fn stream_of(&self, server: u32) -> u32 {
        self.homes
            .get(server as usize)
            .and_then(|h| h.stream)
            .unwrap_or(0)
    }

    /// The lowest watermark of a server's feeds, seconds; of one without any, that of the clock.
    fn lowest(&self, server: u32, now: i64) -> i64 {
        let lateness = self.options.lateness;
        let feeds = self.feeds.iter().filter(|(k, _)| k.0 == server);
        feeds
            .map(|(_, f)| f.watermark(now, lateness))
            .min()
            .unwrap_or(now - lateness)
    }

    /// The lowest watermark of each server that has feeds.
    fn lowest_all(&self, now: i64) -> ByKey<u32, i64> {
        let mut lowest: ByKey<u32, i64> = ByKey::default();
        for ((server, _), feed) in &self.feeds {
            let mark = feed.watermark(now, self.options.lateness);
            let low = lowest.entry(*server).or_insert(mark);
            *low = (*low).min(mark);
        }
        lowest
    }

    /// The home of the next server.
    fn add_home(&mut self, servers: &[String]) {
        let name = servers.get(self.homes.len());
        let zone = name.and_then(|n| self.options.server_zones.get(n));
        self.homes.push(Home {
            gone: i64::MIN,
            zone: zone.or(self.options.zone.as_ref()).cloned(),
            ..Home::default()
        });
    }
}

/// Rows of a round that belong together: those of the bins proper, or of a late set.
#[derive(Default)]
pub struct Part {
    /// 0, or the number of the late set.
    pub source: u32,
    /// Rows of `client_traffic`.
    pub columns: ClientColumns,
    /// The texts that their views point into.
    pub texts: Vec<u8>,
    /// The rows are of bins at rest, and their clients not in the worker's table.
    thawed: bool,
    /// Rows of `traffic`.
    pub traffic: Vec<TrafficRow>,
}

/// What a round tells.
#[derive(Default)]
pub struct Round {
    /// The rows.
    pub parts: Vec<Part>,
    /// Names of the servers in them.
    pub servers: Vec<String>,
    /// Their positions in `servers` by number in the worker.
    codes: ByKey<u32, u32>,
    /// Bins in it.
    pub bins: usize,
    /// Of them told before.
    pub again: usize,
    /// More is due.
    pub more: bool,
    /// The tables of details; their servers are numbers of the worker, see [`Round::take_details`].
    details: Vec<detail::live::Told>,
}

impl Round {
    /// Whether there is nothing to tell.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bins == 0 && self.details.is_empty()
    }

    /// The tables of details, in the order of [`detail::TABLES`], once for each set that has some.
    ///
    /// # Errors
    /// [`crate::error::Error::Table`] would be a bug.
    pub fn take_details(&mut self) -> crate::error::Result<Vec<[RecordBatch; detail::TABLES.len()]>> {
        let mut all = Vec::new();
        for mut told in std::mem::take(&mut self.details) {
            for batch in &mut told.tables {
                let mut columns = batch.columns().to_vec();
                if let Some(column) = columns.get_mut(1) {
                    let servers = column.as_primitive::<UInt32Type>().values().iter();
                    let codes = servers.map(|s| self.codes.get(s).copied().unwrap_or(0));
                    *column = Arc::new(UInt32Array::from_iter_values(codes));
                }
                *batch = RecordBatch::try_new(batch.schema(), columns)?;
            }
            all.push(told.tables);
        }
        Ok(all)
    }

    fn add_details(&mut self, told: Vec<detail::live::Told>, names: &[String]) {
        for told in told {
            for batch in &told.tables {
                if let Some(column) = batch.columns().get(1) {
                    for server in column.as_primitive::<UInt32Type>().values() {
                        self.name_server(*server, names);
                    }
                }
            }
            self.bins += told.bins;
            self.details.push(told);
        }
    }

    /// Where a bin of this round stands.
    #[must_use]
    pub fn place(&self, key: BinKey) -> super::super::table::Place {
        super::super::table::Place {
            start: key.minute * 60,
            server: self.codes.get(&key.stream).copied().unwrap_or(0),
        }
    }

    fn name_server(&mut self, server: u32, names: &[String]) {
        let (servers, next) = (&mut self.servers, self.codes.len() as u32);
        self.codes.entry(server).or_insert_with(|| {
            servers.push(names.get(server as usize).cloned().unwrap_or_default());
            next
        });
    }
}

/// Counts of a client in the newest minutes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The client; none where lines tell none.
    pub client: Option<String>,
    /// Events.
    pub total: u64,
    /// Events by kind.
    pub kinds: [u64; Kind::ALL.len()],
}

/// The newest minutes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Top {
    /// Start of the first minute looked at, seconds.
    pub since: i64,
    /// Events by kind.
    pub kinds: [u64; Kind::ALL.len()],
    /// The most frequent clients, most frequent first.
    pub clients: Vec<Seen>,
    /// Clients in all.
    pub all: usize,
}

impl Worker {
    /// A worker for lines as they come.
    #[must_use]
    pub fn live(options: &Options, limits: &Limits, live: &LiveOptions) -> Worker {
        let mut worker = Worker::new(options, limits);
        worker.live = Some(Box::new(Present {
            options: live.clone(),
            source: u32::MAX,
            received: 0,
            touched: Vec::new(),
            feeds: ByKey::default(),
            homes: Vec::new(),
            closed: Vec::new(),
            late_set: 1,
            late_since: None,
            retired: Vec::new(),
            retired_details: Vec::new(),
            detailed: i64::MIN,
            failed: 0,
            frozen_bytes: 0,
            frozen_changed: false,
            kept: i64::MIN,
            clamped: 0,
            revised: 0,
            renewed: 0,
            shapes: UnmatchedShapes::new(limits.unmatched_shapes),
        }));
        worker
    }

    /// Changes how long bins wait, how far times may be ahead, and what is kept.
    pub fn set_live(&mut self, lateness: i64, skew: i64, state_bytes: usize) {
        if let Some(p) = &mut self.live {
            p.options.lateness = lateness;
            p.options.skew = skew;
            p.options.state_bytes = state_bytes;
        }
    }

    /// Counts whole lines of a source, received at this time (microseconds since 1970, UTC).
    pub fn receive(&mut self, source: u32, received_us: i64, lines: &[u8]) {
        let received = received_us.div_euclid(1_000_000);
        let Some(p) = &mut self.live else { return };
        if p.source != source || p.received != received {
            p.source = source;
            // A clock that is set back must not make every line one of the future.
            p.received = received;
            self.untouch();
            self.set_year(received);
            self.upkeep(received.div_euclid(60));
        }
        self.lines(lines);
    }

    /// The next line of each stream finds its bin anew.
    fn untouch(&mut self) {
        if let Some(p) = &mut self.live {
            for id in p.touched.drain(..) {
                if let Some(s) = self.streams.get_mut(id as usize) {
                    s.turned = NO_MINUTE;
                }
            }
        }
    }

    fn set_year(&mut self, received: i64) {
        let local = match self.live.as_ref().and_then(|p| p.options.zone.as_ref()) {
            Some(zone) => zone.to_local(received),
            None => received,
        };
        let (year, month, day) = civil_from_days(local.div_euclid(86_400));
        let second = local.rem_euclid(86_400) as u32;
        let within = yearless_seconds(month, day, second).unwrap_or(0);
        self.years.receive(year * YEAR_MINUTES + within.div_euclid(60));
    }

    /// Moves a stream to the minute of its next line.
    pub(super) fn turn_live(&mut self, stream: usize, clock: Clock, minute: i64) {
        let on_clock = if clock == Clock::Yearless {
            self.years.place(minute)
        } else {
            minute
        };
        let s = &mut self.streams[stream];
        let Some(p) = &mut self.live else { return };
        if s.turned == on_clock {
            return;
        }
        let server = s.server;
        while p.homes.len() <= server as usize {
            p.add_home(&self.servers);
        }
        let home = &mut p.homes[server as usize];
        home.stream.get_or_insert(stream as u32);
        let local = match clock {
            Clock::Yearless => local_seconds(
                on_clock.rem_euclid(YEAR_MINUTES),
                on_clock.div_euclid(YEAR_MINUTES),
            ),
            Clock::Local | Clock::Absolute => on_clock.saturating_mul(60),
        };
        let segment = s.course.advance(clock, on_clock);
        let mut seconds = match (&home.zone, clock) {
            (Some(zone), Clock::Yearless | Clock::Local) => {
                let second = zone.is_fold(local) && s.course.second_pass(segment, on_clock);
                zone.to_utc(local, second)
            }
            _ => local,
        };
        s.turned = on_clock;
        if seconds > p.received.saturating_add(p.options.skew) {
            p.clamped += 1;
            seconds = p.received;
            // Each line of that minute is looked at: the time of receipt goes on.
            s.turned = NO_MINUTE;
        }
        let utc = seconds.div_euclid(60);
        let now = p.received.div_euclid(60);
        let event = if utc == now { p.received } else { utc * 60 };
        let feed = p.feeds.entry((server, p.source)).or_insert(Feed {
            newest: event,
            received: p.received,
        });
        if event > feed.newest || event < feed.newest - 86_400 {
            feed.newest = event;
        }
        feed.received = p.received;
        let late = utc <= home.gone;
        let set = if late { p.late_set } else { 0 };
        if late && p.late_since.is_none() {
            p.late_since = Some(now);
        }
        p.touched.push(stream as u32);
        s.minute = utc;
        s.segment = set;
        let source = p.source;
        let key = BinKey {
            minute: utc,
            segment: set,
            stream: server,
        };
        let at = match home.open.get(&(set, utc)) {
            Some(&at) => at,
            None => self.open_live(key),
        };
        self.streams[stream].bin = at;
        if let Some(Some(bin)) = self.bins.get_mut(at) {
            bin.told.changed = true;
            if !bin.told.sources.contains(&source) {
                bin.told.sources.push(source);
            }
        }
    }

    /// The home of the next server.
    pub(super) fn add_home(&mut self) {
        if let Some(p) = &mut self.live {
            p.add_home(&self.servers);
        }
    }

    /// Adds the frozen bins' bytes up, after some were put in.
    pub(super) fn weigh_frozen(&mut self) {
        if let Some(p) = &mut self.live {
            let all = p.homes.iter().flat_map(|h| h.frozen.values());
            p.frozen_bytes = all.map(|f| f.bytes.len() + FROZEN_OVERHEAD).sum();
        }
    }

    /// Lets all bins at rest go, and ends the late set.
    pub(super) fn let_all_go(&mut self) {
        let Some(p) = &mut self.live else { return };
        p.late_set = p.late_set.checked_add(1).unwrap_or(1);
        p.late_since = None;
        let mut all = Vec::new();
        for (server, home) in p.homes.iter().enumerate() {
            all.extend(home.frozen.keys().map(|k| (server as u32, *k)));
        }
        for (server, key) in all {
            self.let_go(server, key);
        }
        self.let_details_go(&|_, _, _, _| true);
    }

    /// The place of a bin that is not at hand: thawed or new.
    pub(super) fn open_live(&mut self, key: BinKey) -> usize {
        let Some(p) = &mut self.live else { return 0 };
        let home = &mut p.homes[key.stream as usize];
        let mut closed = false;
        let mut bin = None;
        if let Some(f) = home.frozen.remove(&(key.segment, key.minute)) {
            p.frozen_bytes -= f.bytes.len() + FROZEN_OVERHEAD;
            closed = f.closed;
            // These bytes were written here, or were checked when the snapshot was read.
            bin = frozen::thaw(&f.bytes, key, f.told, &mut self.clients);
        } else if key.segment > 0 {
            *self.tally.shed.entry("late").or_default() += 1;
        }
        let mut bin = bin.unwrap_or_else(|| {
            let mut bin = OpenBin::new(key);
            bin.asked = self.pool.asked();
            bin
        });
        bin.detailed = self.detail.is_some();
        let at = self.free.pop().unwrap_or_else(|| {
            self.bins.push(None);
            self.bins.len() - 1
        });
        self.bins[at] = Some(bin);
        self.open += 1;
        if p.closed.len() < self.bins.len() {
            p.closed.resize(self.bins.len(), false);
        }
        p.closed[at] = closed;
        home.open.insert((key.segment, key.minute), at);
        if self.open > self.limits.open_bins {
            self.freeze_surplus(key);
        }
        at
    }

    /// The place of a bin that a counted event stands in, as long as it is kept.
    pub(super) fn place_live(&mut self, key: BinKey) -> Option<usize> {
        let server = self.streams.get(key.stream as usize)?.server;
        let home = self.live.as_ref()?.homes.get(server as usize)?;
        let at = (key.segment, key.minute);
        let place = match home.open.get(&at) {
            Some(&place) => place,
            None if home.frozen.contains_key(&at) => self.open_live(BinKey {
                stream: server,
                ..key
            }),
            None => return None,
        };
        if let Some(Some(bin)) = self.bins.get_mut(place) {
            bin.told.changed = true;
        }
        Some(place)
    }

    fn take_bin(&mut self, server: u32, key: (u16, i64)) -> Option<(OpenBin, bool)> {
        let p = self.live.as_mut()?;
        let at = p.homes.get_mut(server as usize)?.open.remove(&key)?;
        let bin = self.bins.get_mut(at)?.take()?;
        let closed = p.closed[at];
        self.free.push(at);
        self.open -= 1;
        Some((bin, closed))
    }

    fn freeze(&mut self, server: u32, key: (u16, i64)) {
        let Some((mut bin, closed)) = self.take_bin(server, key) else {
            return;
        };
        self.digest_bin(&mut bin);
        let bytes = frozen::freeze(&mut bin, &self.clients, self.limits.names_per_bin);
        if let Some(p) = &mut self.live {
            p.frozen_bytes += bytes.len() + FROZEN_OVERHEAD;
            p.frozen_changed |= bin.told.changed;
            let told = std::mem::take(&mut bin.told);
            if let Some(home) = p.homes.get_mut(server as usize) {
                let bytes = bytes.into();
                home.frozen.insert(key, Frozen { bytes, told, closed });
            }
        }
        self.pool.keep(bin);
    }

    /// Freezes the oldest quarter of the bins at hand; streams that stand in one find it again.
    #[cold]
    fn freeze_surplus(&mut self, keep: BinKey) {
        let Some(p) = &mut self.live else { return };
        let mut all: Vec<(i64, u32, (u16, i64))> = Vec::with_capacity(self.open);
        for (server, home) in p.homes.iter().enumerate() {
            all.extend(home.open.keys().map(|k| (k.1, server as u32, *k)));
        }
        all.retain(|(_, server, k)| (*server, *k) != (keep.stream, (keep.segment, keep.minute)));
        all.sort_unstable();
        all.truncate(self.open / 4 + 1);
        self.untouch();
        for (_, server, key) in all {
            self.freeze(server, key);
        }
        self.bound_state();
    }

    /// Lets a frozen bin go.
    fn let_go(&mut self, server: u32, key: (u16, i64)) {
        let Some(p) = &mut self.live else { return };
        let Some(home) = p.homes.get_mut(server as usize) else {
            return;
        };
        let Some(f) = home.frozen.remove(&key) else { return };
        p.frozen_bytes -= f.bytes.len() + FROZEN_OVERHEAD;
        if key.0 == 0 {
            home.gone = home.gone.max(key.1);
        }
        if f.told.changed {
            let key = BinKey {
                minute: key.1,
                segment: key.0,
                stream: server,
            };
            p.retired.push((key, f));
        }
    }

    /// Lets the oldest frozen bins go while they take more than they may.
    fn bound_state(&mut self) {
        let Some(p) = &self.live else { return };
        let most = p.options.state_bytes;
        if p.frozen_bytes <= most {
            return;
        }
        let mut all: Vec<(i64, u32, (u16, i64))> = Vec::new();
        for (server, home) in p.homes.iter().enumerate() {
            all.extend(home.frozen.keys().map(|k| (k.1, server as u32, *k)));
        }
        all.sort_unstable();
        for (_, server, key) in all {
            if self.live.as_ref().is_none_or(|p| p.frozen_bytes <= most / 4 * 3) {
                break;
            }
            self.let_go(server, key);
            self.shed("state_bytes", 1);
        }
    }

    /// What is to be done once in each minute of receipt: freeze, let go, renew.
    fn upkeep(&mut self, now: i64) {
        let Some(p) = &mut self.live else { return };
        if p.kept == now {
            return;
        }
        p.kept = now;
        let seconds = now * 60;
        let (lateness, late_set) = (p.options.lateness, p.late_set);
        let over = p.late_since.is_some_and(|since| now - since >= LATE_SET_MINUTES);
        if over {
            p.late_since = None;
            p.late_set = p.late_set.checked_add(1).unwrap_or(1);
        }
        let mut rest = Vec::new();
        let mut gone = Vec::new();
        for (server, home) in p.homes.iter().enumerate() {
            let server = server as u32;
            let behind = |key: &(u16, i64), told: &Told| {
                watermark(&p.feeds, server, told, seconds, lateness).div_euclid(60) - key.1
            };
            for (key, &at) in &home.open {
                let Some(Some(bin)) = self.bins.get(at) else {
                    continue;
                };
                let behind = behind(key, &bin.told);
                if (key.0 > 0 && over) || (key.0 == 0 && behind > OPEN_MINUTES) {
                    rest.push((server, *key));
                    gone.push((server, *key));
                } else if behind > HOT_MINUTES {
                    rest.push((server, *key));
                }
            }
            for (key, f) in &home.frozen {
                if (key.0 > 0 && (over || key.0 != late_set))
                    || (key.0 == 0 && behind(key, &f.told) > OPEN_MINUTES)
                {
                    gone.push((server, *key));
                }
            }
        }
        p.feeds.retain(|_, f| f.received > seconds - FEED_SECONDS);
        for (server, key) in rest {
            self.freeze(server, key);
        }
        for (server, key) in gone {
            self.let_go(server, key);
        }
        self.let_details_go(&|p, set, server, end| {
            if set > 0 {
                over || set != late_set
            } else {
                p.lowest(server, seconds).div_euclid(60) - end > OPEN_MINUTES
            }
        });
        self.bound_state();
        for s in &mut self.streams {
            s.course.forget_steps();
        }
        if self.clients.len() > self.limits.clients / 4 * 3 {
            self.renew_clients();
        }
        if self.detail.as_ref().is_some_and(|d| d.is_filling()) {
            self.digest_all();
        }
        if let Some(detail) = &mut self.detail {
            let mut held: Vec<&mut detail::Detailed> = Vec::new();
            self.memory.collect_detailed(&mut held);
            detail.renew_names(&mut held);
        }
    }

    /// Lets the details go of which `gone` says so: late set (0: none), server, end in minutes.
    fn let_details_go(&mut self, gone: &dyn Fn(&Present, u16, u32, i64) -> bool) {
        let Some(detail) = &mut self.detail else { return };
        let Some(p) = &mut self.live else { return };
        let ends = std::cell::RefCell::new(Vec::new());
        let told = {
            let p = &*p;
            let streams = Streams {
                server: &|stream| self.streams.get(stream as usize).map_or(0, |s| s.server),
                watermark: &|_| 0,
            };
            detail.let_go(&streams, &self.clients, &|set, server, end| {
                let gone = gone(p, set, server, end);
                if gone && set == 0 {
                    ends.borrow_mut().push((server, end - 1));
                }
                gone
            })
        };
        match told {
            Ok(told) => p.retired_details.extend(told),
            Err(_) => p.failed += 1,
        }
        // A line for a cell that was let go would begin it anew: it belongs to a late set.
        for (server, minute) in ends.into_inner() {
            if let Some(home) = p.homes.get_mut(server as usize) {
                home.gone = home.gone.max(minute);
            }
        }
    }

    /// The clients that something names, by number.
    fn used_clients(&self) -> Vec<bool> {
        let mut used = vec![false; self.clients.len()];
        let mut use_id = |id: u32| {
            if let Some(u) = used.get_mut(id as usize) {
                *u = true;
            }
        };
        for bin in self.bins.iter().flatten() {
            for row in bin.tables.iter().flatten().flat_map(|t| &t.rows) {
                use_id(row.client);
            }
        }
        self.memory.each(|half| {
            if let Half::Held(held) = half {
                use_id(held.client);
            }
        });
        for s in &self.streams {
            if let Some(Last::Event(event)) = s.last {
                use_id(event.client);
            }
        }
        if let Some(detail) = &self.detail {
            detail.each_client(&mut use_id);
        }
        used
    }

    /// Forgets the clients that nothing names, if that makes room.
    fn renew_clients(&mut self) {
        let too_many = |used: &[bool], most: usize| used.iter().filter(|u| **u).count() > most / 2;
        let mut used = self.used_clients();
        if too_many(&used, self.limits.clients)
            && let Some(detail) = &mut self.detail
        {
            // The hours of the details name clients for up to two hours: of a flood, only the heaviest stay.
            detail.lighten_all(self.limits.clients / FLOODED, &self.clients);
            used = self.used_clients();
        }
        if too_many(&used, self.limits.clients) {
            return;
        }
        let mut fresh = self.clients.renewed();
        let map: Vec<u32> = used
            .iter()
            .enumerate()
            .map(|(id, used)| {
                if *used {
                    fresh.take_over(&self.clients, id as u32)
                } else {
                    NONE
                }
            })
            .collect();
        let there = |id: u32| map.get(id as usize).copied().unwrap_or(NONE);
        self.clients = fresh;
        for bin in self.bins.iter_mut().flatten() {
            bin.forget_slots();
            for row in bin.tables.iter_mut().flatten().flat_map(|t| &mut t.rows) {
                row.client = there(row.client);
            }
        }
        self.memory.each_mut(|half| {
            if let Half::Held(held) = half {
                held.client = there(held.client);
            }
        });
        for s in &mut self.streams {
            if let Some(Last::Event(event)) = &mut s.last {
                event.client = there(event.client);
            }
        }
        if let Some(detail) = &mut self.detail {
            detail.renumber_clients(there);
        }
        if let Some(p) = &mut self.live {
            p.renewed += 1;
        }
    }

    /// Tells the bins that have closed by now (seconds), and those told before that have changed if the last
    /// time is `revise` seconds ago. `all`: every bin, closed or not.
    pub fn round(&mut self, now: i64, revise: i64, all: bool) -> Round {
        let mut round = Round::default();
        let Some(p) = &mut self.live else { return round };
        let again = all || now - p.revised >= revise;
        let lateness = p.options.lateness;
        let mut due = Vec::new();
        for (server, home) in p.homes.iter().enumerate() {
            let server = server as u32;
            let passed = |key: &(u16, i64), told: &Told| {
                watermark(&p.feeds, server, told, now, lateness) >= (key.1 + 1) * 60
            };
            for (key, &at) in &home.open {
                let Some(Some(bin)) = self.bins.get(at) else {
                    continue;
                };
                let closed = p.closed[at];
                if bin.told.changed && (all || (closed && again) || (!closed && passed(key, &bin.told))) {
                    due.push((server, *key));
                }
            }
            if p.frozen_changed {
                for (key, f) in &home.frozen {
                    if f.told.changed && (all || (f.closed && again) || (!f.closed && passed(key, &f.told))) {
                        due.push((server, *key));
                    }
                }
            }
        }
        let retired = std::mem::take(&mut p.retired);
        self.untouch();
        // Bins at rest come with their clients: those of the worker depend on the lines alone.
        let mut rest = self.clients.renewed();
        for (key, f) in retired {
            if let Some(mut bin) = frozen::thaw(&f.bytes, key, f.told, &mut rest) {
                self.tell(&mut bin, Some(&rest), &mut round);
                self.pool.keep(bin);
            }
        }
        for (server, key) in due {
            if round.parts.iter().map(|p| p.columns.count.len()).sum::<usize>() > ROUND_ROWS {
                round.more = true;
                break;
            }
            self.tell_at(server, key, !all, &mut rest, &mut round);
        }
        if let Some(p) = &mut self.live
            && !round.more
        {
            // After the bins, whose names the details know by now.
            round.add_details(std::mem::take(&mut p.retired_details), &self.servers);
            if let Some(detail) = &mut self.detail
                && (all || again || p.detailed != now)
            {
                p.detailed = now;
                let lowest = p.lowest_all(now);
                let streams = Streams {
                    server: &|stream| self.streams.get(stream as usize).map_or(0, |s| s.server),
                    watermark: &|server| lowest.get(&server).copied().unwrap_or(now - lateness),
                };
                match detail.round(&streams, &self.clients, again, all) {
                    Ok(told) => round.add_details(told, &self.servers),
                    Err(_) => p.failed += 1,
                }
            }
            if again {
                p.revised = now;
            }
            p.frozen_changed =
                p.frozen_changed && p.homes.iter().any(|h| h.frozen.values().any(|f| f.told.changed));
        }
        for part in &mut round.parts {
            let arena = if part.thawed {
                rest.arena()
            } else {
                self.clients.arena()
            };
            part.texts = part.columns.take_texts(arena);
        }
        round
    }

    fn tell_at(&mut self, server: u32, at: (u16, i64), close: bool, rest: &mut Interner, round: &mut Round) {
        let Some(p) = &mut self.live else { return };
        let Some(home) = p.homes.get_mut(server as usize) else {
            return;
        };
        let key = BinKey {
            minute: at.1,
            segment: at.0,
            stream: server,
        };
        if let Some(&place) = home.open.get(&at) {
            if let Some(mut bin) = self.bins.get_mut(place).and_then(Option::take) {
                p.closed[place] |= close;
                self.tell(&mut bin, None, round);
                self.bins[place] = Some(bin);
            }
        } else if let Some(f) = home.frozen.get_mut(&at) {
            let told = f.told.clone();
            f.told.changed = false;
            f.told.before = true;
            f.closed |= close;
            if let Some(mut bin) = frozen::thaw(&f.bytes, key, told, rest) {
                self.tell(&mut bin, Some(rest), round);
                self.pool.keep(bin);
            }
        }
    }

    /// Tells a bin; `rest`: the table of its clients where it was at rest, and was digested.
    fn tell(&mut self, bin: &mut OpenBin, rest: Option<&Interner>, round: &mut Round) {
        if rest.is_none() {
            self.digest_bin(bin);
        }
        if bin.asked.len() > self.limits.names_per_bin {
            bin.fold(self.limits.names_per_bin);
        }
        if !bin.told.before {
            if bin.saturated {
                self.shed("saturated", 1);
            }
            if bin.level > 0 {
                self.shed("names_per_bin", 1);
            }
        }
        round.name_server(bin.key.stream, &self.servers);
        round.bins += 1;
        round.again += usize::from(bin.told.before);
        let source = u32::from(bin.key.segment);
        let thawed = rest.is_some();
        let same = |p: &Part| p.source == source && p.thawed == thawed;
        let at = match round.parts.iter().position(same) {
            Some(at) => at,
            None => {
                round.parts.push(Part {
                    source,
                    thawed,
                    ..Part::default()
                });
                round.parts.len() - 1
            }
        };
        let part = &mut round.parts[at];
        self.sealer.seal(
            bin,
            rest.unwrap_or(&self.clients),
            &self.options,
            &self.limits,
            &mut part.columns,
            &mut part.traffic,
        );
        bin.told.changed = false;
        bin.told.before = true;
    }

    /// Bins at hand, bins at rest and the bytes of these.
    #[must_use]
    pub fn kept(&self) -> (usize, usize, usize) {
        let frozen = self.live.as_ref().map_or((0, 0), |p| {
            (p.homes.iter().map(|h| h.frozen.len()).sum(), p.frozen_bytes)
        });
        (self.open, frozen.0, frozen.1)
    }

    /// Every bound that was reached, and how often.
    #[must_use]
    pub fn all_shed(&self) -> BTreeMap<&'static str, u64> {
        let mut shed = self.tally.shed.clone();
        if let Some(detail) = &self.detail {
            for (name, n) in detail.all_shed() {
                *shed.entry(name).or_default() += n;
            }
        }
        for (name, n) in [
            ("clients", self.clients.shed),
            ("client_unparsed", self.clients.unparsed),
            ("held_events", self.memory.evicted),
        ] {
            if n > 0 {
                *shed.entry(name).or_default() += n;
            }
        }
        shed
    }

    /// Notes the shape of a line that was not understood, where lines are counted as they come.
    #[cold]
    #[inline(never)]
    pub(super) fn unmatched_shape(&mut self, program: &[u8], message: &[u8]) {
        if let Some(p) = &mut self.live {
            p.shapes.note(p.received, program, message);
        }
    }

    /// The most frequent shapes of lines that were not understood since the start, and how many such lines were
    /// not looked at.
    #[must_use]
    pub fn unmatched_shapes(&self) -> (Vec<(String, u64)>, u64) {
        self.live
            .as_ref()
            .map_or((Vec::new(), 0), |p| (p.shapes.sorted(), p.shapes.passed_over))
    }

    /// Lines whose time lay too far in the future, and times that the client table was renewed.
    #[must_use]
    pub fn clamped_and_renewed(&self) -> (u64, u64) {
        self.live.as_ref().map_or((0, 0), |p| (p.clamped, p.renewed))
    }

    /// The most frequent clients of the newest `minutes`.
    #[must_use]
    pub fn top(&self, n: usize, minutes: i64, now: i64) -> Top {
        let since = now.div_euclid(60) - minutes + 1;
        let mut top = Top {
            since: since * 60,
            ..Top::default()
        };
        let mut sums: ByKey<u32, [u64; Kind::ALL.len()]> = ByKey::default();
        let mut clients = self.clients.renewed();
        let mut add = |bin: &OpenBin, numbers: &mut dyn FnMut(u32) -> u32| {
            for (kind, table) in bin.tables.iter().enumerate() {
                for row in table.iter().flat_map(|t| &t.rows) {
                    let n = u64::from(row.count);
                    sums.entry(numbers(row.client)).or_default()[kind] += n;
                    top.kinds[kind] += n;
                }
            }
        };
        for bin in self.bins.iter().flatten().filter(|b| b.key.minute >= since) {
            add(bin, &mut |id| clients.take_over(&self.clients, id));
        }
        let homes = self.live.iter().flat_map(|p| &p.homes);
        for (key, f) in homes.flat_map(|h| &h.frozen).filter(|(k, _)| k.1 >= since) {
            let key = BinKey {
                minute: key.1,
                segment: key.0,
                stream: 0,
            };
            if let Some(bin) = frozen::thaw(&f.bytes, key, Told::default(), &mut clients) {
                add(&bin, &mut |id| id);
            }
        }
        top.all = sums.len();
        let mut all: Vec<(u64, u32)> = sums.iter().map(|(id, k)| (k.iter().sum(), *id)).collect();
        all.sort_unstable_by(|a, b| b.cmp(a));
        all.truncate(n);
        top.clients = all
            .into_iter()
            .map(|(total, id)| Seen {
                client: clients.text(id).map(str::to_owned),
                total,
                kinds: sums.get(&id).copied().unwrap_or_default(),
            })
            .collect();
        top
    }
}

/// The lowest watermark of the feeds that wrote to a bin; that of a feed that has ended is the clock's.
fn watermark(feeds: &ByKey<(u32, u32), Feed>, server: u32, told: &Told, now: i64, lateness: i64) -> i64 {
    told.sources
        .iter()
        .map(|source| match feeds.get(&(server, *source)) {
            Some(feed) => feed.watermark(now, lateness),
            None => now - lateness,
        })
        .min()
        .unwrap_or(now - lateness)
}

impl Interner {
    /// The number here of a client that another table knows as `id`, for which room is made.
    fn take_over(&mut self, other: &Interner, id: u32) -> u32 {
        match other
            .text(id)
            .and_then(super::super::address::Client::parse_canonical)
        {
            Some(client) if id > super::super::intern::SHED => self.take_in(client),
            _ => id.min(super::super::intern::SHED),
        }
    }
}
