//! The worker: lines of one part of one source, in order, become bins.

mod edges;
mod joining;
mod live;
mod reading;
mod shapes;
mod state;
mod waiting;

use std::collections::BTreeMap;

use hashbrown::HashMap;
use serde::{Deserialize, Serialize};

use crate::dialect::Dialect;
use crate::event::{Event, Kind, Memory as Relation, QueryType, Verdict};
use crate::syslog::header::{Clock, Scratch};

use super::bins::{BinKey, OpenBin, Pool, Recent};
use super::detail::{Detail, Detailed};
use super::hash::{fold, name_hash};
use super::intern::{Interner, NONE};
use super::lookup::{LineEnds, TagCache, TimeCache};
use super::memory::{Held, Memory};
use super::seal::{ClientColumns, Sealed, Sealer, TrafficRow};
use super::timeline::{Course, Years};
use super::usual::Heads;
use super::{Limits, Options};

pub use edges::Edge;
pub use joining::Joined;
pub use live::{LiveOptions, Part, Round, Seen, Top};
pub use state::Saved;

/// Minutes for which a bin stays open behind the newest of its server: late lines and cancels within
/// them find the bin as it was. Later lines open the bin again and are counted as `late`.
pub const OPEN_MINUTES: i64 = super::memory::HORIZON_SECONDS / 60;

/// What became of the lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Lines read.
    pub lines: u64,
    /// Lines that were counted as events.
    pub matched: u64,
    /// Lines of a known kind that is not counted.
    pub ignored: u64,
    /// Lines that nobody understood.
    pub unmatched: u64,
    /// Lines by dialect.
    pub dialects: BTreeMap<&'static str, u64>,
    /// Unmatched lines by reason.
    pub reasons: BTreeMap<&'static str, u64>,
    /// Bounds that were reached, and lines that came late.
    pub shed: BTreeMap<&'static str, u64>,
}

impl Tally {
    /// Adds another tally.
    pub fn add(&mut self, other: &Tally) {
        self.lines += other.lines;
        self.matched += other.matched;
        self.ignored += other.ignored;
        self.unmatched += other.unmatched;
        for (mine, theirs) in [
            (&mut self.dialects, &other.dialects),
            (&mut self.reasons, &other.reasons),
            (&mut self.shed, &other.shed),
        ] {
            for (name, n) in theirs {
                *mine.entry(name).or_default() += n;
            }
        }
    }
}

/// What the last line of a server was, for "last message repeated N times".
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Last {
    Event(Counted),
    Ignored,
    Unmatched,
}

/// An event as it was counted.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Counted {
    kind: Kind,
    client: u32,
    query_type: QueryType,
    hash: u64,
    recipients: u32,
}

/// A repeated line whose predecessor stands before this part.
#[derive(Clone, Copy, Debug)]
struct Repeat {
    key: BinKey,
    times: u32,
}

/// One server's lines on one clock.
struct Stream {
    server: u32,
    clock: Clock,
    course: Course,
    /// Minute of the last line on the stream's clock, with which the next line's is compared.
    turned: i64,
    /// Minute, segment and place of the bin that lines are counted in.
    minute: i64,
    segment: u16,
    bin: usize,
    /// Open bins by segment and minute.
    open: BTreeMap<(u16, i64), usize>,
    last: Option<Last>,
}

const NO_MINUTE: i64 = i64::MIN;

/// Counts the lines of one part of one source.
pub struct Worker {
    options: Options,
    limits: Limits,
    /// Clients known.
    pub clients: Interner,
    /// Server names, by number.
    pub servers: Vec<String>,
    server_ids: HashMap<Vec<u8>, u32, foldhash::quality::RandomState>,
    server_names: HashMap<String, u32, foldhash::quality::RandomState>,
    streams: Vec<Stream>,
    /// Stream of a server and clock, by `server * 3 + clock`.
    stream_ids: Vec<u32>,
    bins: Vec<Option<OpenBin>>,
    free: Vec<usize>,
    open: usize,
    /// Columns of sealed bins.
    pub columns: ClientColumns,
    /// Rows of sealed bins.
    pub traffic: Vec<TrafficRow>,
    sealer: Sealer,
    pool: Pool,
    recent: Recent,
    /// What became of the lines, but for the counters kept below.
    pub tally: Tally,
    by_dialect: [u64; 32],
    matched: u64,
    ignored: u64,
    years: Years,
    memory: Memory,
    repeats: Vec<Repeat>,
    times: [Option<TimeCache>; 2],
    tags: TagCache,
    heads: Heads,
    ends: Option<LineEnds>,
    scratch: Scratch,
    need_client: bool,
    /// Events are counted one line behind; not those of which the details need what a line says beside its client
    /// and name.
    behind: bool,
    /// Names are written down.
    names: bool,
    detail: Option<Box<Detail>>,
    /// What only lines as they come need.
    live: Option<Box<live::Present>>,
}

impl Worker {
    /// A worker that has read nothing.
    #[must_use]
    pub fn new(options: &Options, limits: &Limits) -> Self {
        Worker {
            options: options.clone(),
            limits: limits.clone(),
            clients: Interner::new(
                &options.inside,
                &options.reinjection,
                options.client_prefix_v6,
                limits.clients,
            ),
            servers: Vec::new(),
            server_ids: HashMap::default(),
            server_names: HashMap::default(),
            streams: Vec::new(),
            stream_ids: Vec::new(),
            bins: Vec::new(),
            free: Vec::new(),
            open: 0,
            columns: ClientColumns::default(),
            traffic: Vec::new(),
            sealer: Sealer::default(),
            pool: Pool::default(),
            recent: Recent::default(),
            tally: Tally::default(),
            by_dialect: [0; 32],
            matched: 0,
            ignored: 0,
            years: Years::default(),
            memory: Memory::with_heads(if options.edges { limits.held_events } else { 0 }),
            repeats: Vec::new(),
            times: [None, None],
            tags: TagCache::default(),
            heads: Heads::default(),
            ends: None,
            scratch: Scratch::default(),
            need_client: options.clients || options.details || !options.inside.is_empty(),
            behind: options.clients || options.details || !options.inside.is_empty(),
            names: options.names || options.details,
            detail: options.details.then(|| Box::new(Detail::new(options, limits))),
            live: None,
        }
    }

    /// Years passed over the lines without a year.
    #[must_use]
    pub fn years(&self) -> Years {
        self.years
    }

    /// Rows that are held: what memory grows with.
    #[must_use]
    pub fn held(&self) -> usize {
        let open: usize = self.bins.iter().flatten().map(OpenBin::rows).sum();
        open + self.columns.count.len() + self.traffic.len() + self.detail.as_ref().map_or(0, |d| d.held())
    }

    /// What is read follows lines of the same source, over which these years have passed.
    pub fn follow(&mut self, years: Years) {
        self.years = years;
    }

    /// Number of a stream's server, its clock and its course.
    #[must_use]
    pub fn stream(&self, id: u32) -> Option<(u32, Clock, &Course)> {
        self.streams
            .get(id as usize)
            .map(|s| (s.server, s.clock, &s.course))
    }

    /// Number of streams.
    #[must_use]
    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    /// A bound was reached `n` times.
    pub fn shed(&mut self, name: &'static str, n: u64) {
        if n > 0 {
            *self.tally.shed.entry(name).or_default() += n;
        }
    }

    /// Counts a line that was too long to be read.
    pub fn too_long(&mut self) {
        self.tally.lines += 1;
        self.unmatched("line too long");
        self.shed("line_length", 1);
    }

    /// The identity of the name that a query asks for; 0 where names are not counted or none is told.
    #[inline(always)]
    fn name_of(&self, event: &Event<'_>) -> u64 {
        let named = self.names && event.kind == Kind::DnsQuery && !event.name.is_empty();
        if named { name_hash(event.name).max(1) } else { 0 }
    }

    #[inline(always)]
    fn wants_client(&self, kind: Kind) -> bool {
        self.need_client || (kind == Kind::SmtpAccepted && !self.options.reinjection.is_empty())
    }

    #[inline(always)]
    fn stream_of(&mut self, server: u32, clock: Clock) -> usize {
        match self.stream_ids.get(server as usize * 3 + clock as usize) {
            Some(&id) if id != u32::MAX => id as usize,
            _ => self.new_stream(server, clock),
        }
    }

    #[cold]
    fn new_stream(&mut self, server: u32, clock: Clock) -> usize {
        let at = server as usize * 3 + clock as usize;
        if self.stream_ids.len() <= at {
            self.stream_ids.resize(at + 3, u32::MAX);
        }
        let id = self.streams.len();
        self.stream_ids[at] = id as u32;
        self.streams.push(Stream {
            server,
            clock,
            course: Course::default(),
            turned: NO_MINUTE,
            minute: NO_MINUTE,
            segment: 0,
            bin: 0,
            open: BTreeMap::new(),
            last: None,
        });
        id
    }

    fn server_id(&mut self, host: &[u8]) -> u32 {
        if let Some(&id) = self.server_ids.get(host) {
            return id;
        }
        let lower = String::from_utf8_lossy(host).to_ascii_lowercase();
        let name = if host.is_empty() {
            self.options.default_server.clone()
        } else {
            self.options.server_names.get(&lower).cloned().unwrap_or(lower)
        };
        let id = match self.server_names.get(&name) {
            Some(&id) => id,
            None if self.servers.len() < self.limits.servers => self.server_by_name(&name),
            None => {
                self.shed("servers", 1);
                self.server_by_name(super::intern::SHED_NAME)
            }
        };
        if self.server_ids.len() < self.limits.servers.saturating_mul(2) {
            self.server_ids.insert(host.to_vec(), id);
        }
        id
    }

    /// Moves a stream to the minute of its next line.
    fn turn(&mut self, stream: usize, clock: Clock, minute: i64) {
        if self.live.is_some() {
            self.turn_live(stream, clock, minute);
            return;
        }
        let minute = if clock == Clock::Yearless {
            self.years.advance(minute)
        } else {
            minute
        };
        let s = &mut self.streams[stream];
        if s.turned == minute {
            return;
        }
        let segment = s.course.advance(clock, minute);
        s.turned = minute;
        s.minute = minute;
        s.segment = segment;
        let key = BinKey {
            minute,
            segment,
            stream: stream as u32,
        };
        let place = s.open.get(&(segment, minute)).copied();
        let bin = place.unwrap_or_else(|| self.open_bin(key));
        self.streams[stream].bin = bin;
    }

    fn open_bin(&mut self, key: BinKey) -> usize {
        let mut bin = OpenBin::new(key);
        bin.detailed = self.detail.is_some();
        bin.asked = self.pool.asked();
        let at = match self.free.pop() {
            Some(at) => {
                self.bins[at] = Some(bin);
                at
            }
            None => {
                self.bins.push(Some(bin));
                self.bins.len() - 1
            }
        };
        self.open += 1;
        let s = &mut self.streams[key.stream as usize];
        s.open.insert((key.segment, key.minute), at);
        let newest = s.course.newest;
        let first = s.course.ends.map_or(key.minute, |e| e.0);
        if key.minute < newest - OPEN_MINUTES {
            *self.tally.shed.entry("late").or_default() += 1;
        }
        // The first hour stays open as well: what comes before this part may add to it.
        let old: Vec<(u16, i64)> = s
            .open
            .keys()
            .filter(|(_, m)| {
                *m < newest - OPEN_MINUTES && (*m - first).abs() > OPEN_MINUTES && *m != key.minute
            })
            .copied()
            .collect();
        for bin in old {
            self.seal(key.stream as usize, bin);
        }
        if self.open > self.limits.open_bins {
            self.seal_surplus(key);
        }
        at
    }

    /// Seals the oldest bins when more are open than allowed.
    #[cold]
    fn seal_surplus(&mut self, keep: BinKey) {
        let mut all: Vec<(i64, usize, (u16, i64))> = Vec::with_capacity(self.open);
        for (id, s) in self.streams.iter().enumerate() {
            all.extend(s.open.keys().map(|k| (s.course.newest - k.1, id, *k)));
        }
        all.sort_unstable_by(|a, b| b.cmp(a));
        all.retain(|(_, id, k)| (*id as u32, *k) != (keep.stream, (keep.segment, keep.minute)));
        all.truncate(self.open / 4 + 1);
        self.shed("open_bins", all.len() as u64);
        for (_, id, key) in all {
            self.seal(id, key);
        }
    }

    fn seal(&mut self, stream: usize, key: (u16, i64)) {
        let s = &mut self.streams[stream];
        let Some(at) = s.open.remove(&key) else { return };
        if s.bin == at && s.minute == key.1 {
            s.turned = NO_MINUTE;
            s.minute = NO_MINUTE;
        }
        let Some(bin) = self.bins[at].take() else { return };
        self.free.push(at);
        self.open -= 1;
        self.seal_bin(bin);
    }

    fn seal_bin(&mut self, mut bin: OpenBin) {
        self.digest_bin(&mut bin);
        let mut sealed = Sealed {
            columns: std::mem::take(&mut self.columns),
            traffic: std::mem::take(&mut self.traffic),
            ..Sealed::default()
        };
        sealed.add(
            &mut self.sealer,
            &mut bin,
            &self.clients,
            &self.options,
            &self.limits,
        );
        self.columns = sealed.columns;
        self.traffic = sealed.traffic;
        self.shed("saturated", sealed.saturated);
        self.shed("names_per_bin", sealed.sampled);
        self.pool.keep(bin);
    }

    /// Seals every bin. Nothing can be joined afterwards.
    pub fn seal_all(&mut self) {
        self.seal_open();
        self.end();
    }

    /// Seals every bin of a part that is the whole source, before [`Worker::seal_all_on`] ends it.
    pub fn seal_open(&mut self) {
        for stream in 0..self.streams.len() {
            let keys: Vec<(u16, i64)> = self.streams[stream].open.keys().copied().collect();
            for key in keys {
                self.seal(stream, key);
            }
        }
    }

    /// The same on several threads, each of which gives columns of its own; their views point into the client table
    /// here.
    pub fn seal_all_on(&mut self, threads: usize) -> Vec<ClientColumns> {
        self.digest_all();
        let mut bins = Vec::with_capacity(self.open);
        for s in &mut self.streams {
            (s.turned, s.minute) = (NO_MINUTE, NO_MINUTE);
            for at in std::mem::take(&mut s.open).into_values() {
                bins.extend(self.bins[at].take());
                self.free.push(at);
            }
        }
        self.open = 0;
        let weight = |bin: &OpenBin| bin.asked.len() + bin.rows();
        let share = bins.iter().map(weight).sum::<usize>() / threads.max(1) + 1;
        let mut shares: Vec<Vec<OpenBin>> = Vec::new();
        let mut full = share;
        for bin in bins {
            if full >= share {
                shares.push(Vec::new());
                full = 0;
            }
            full += weight(&bin);
            if let Some(last) = shares.last_mut() {
                last.push(bin);
            }
        }
        let (clients, options, limits) = (&self.clients, &self.options, &self.limits);
        let seal = |bins: Vec<OpenBin>| {
            let mut sealed = Sealed::default();
            let mut sealer = Sealer::default();
            for mut bin in bins {
                sealed.add(&mut sealer, &mut bin, clients, options, limits);
            }
            sealed
        };
        let all: Vec<Sealed> = std::thread::scope(|scope| {
            let first = (!shares.is_empty()).then(|| shares.remove(0));
            let others: Vec<_> = shares
                .into_iter()
                .map(|bins| scope.spawn(|| seal(bins)))
                .collect();
            let first = first.map(seal);
            let others = others.into_iter().map(|thread| match thread.join() {
                Ok(sealed) => sealed,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            first.into_iter().chain(others).collect()
        });
        let mut columns = Vec::with_capacity(all.len());
        for sealed in all {
            self.traffic.extend(sealed.traffic);
            self.shed("saturated", sealed.saturated);
            self.shed("names_per_bin", sealed.sampled);
            columns.push(sealed.columns);
        }
        self.end();
        columns
    }

    /// What is known when every line has been read and every bin sealed.
    fn end(&mut self) {
        for _ in std::mem::take(&mut self.repeats) {
            self.unmatched("repetition of nothing");
        }
        let (clients, unparsed, evicted) = (self.clients.shed, self.clients.unparsed, self.memory.evicted);
        self.shed("clients", clients);
        self.shed("client_unparsed", unparsed);
        self.shed("held_events", evicted);
    }

    /// Takes the details, if they were counted.
    pub fn take_detail(&mut self) -> Option<Box<Detail>> {
        self.detail.take()
    }

    /// The tally with every counter in it.
    #[must_use]
    pub fn full_tally(&self) -> Tally {
        let mut tally = self.tally.clone();
        tally.matched += self.matched;
        tally.ignored += self.ignored;
        for dialect in Dialect::ALL {
            let n = self.by_dialect[*dialect as usize];
            if n > 0 {
                *tally.dialects.entry(dialect.name()).or_default() += n;
            }
        }
        tally
    }

    #[cold]
    #[inline(never)]
    fn unmatched(&mut self, reason: &'static str) {
        self.tally.unmatched += 1;
        *self.tally.reasons.entry(reason).or_default() += 1;
    }

    #[inline(always)]
    fn verdict(&mut self, stream: usize, dialect: Dialect, verdict: Verdict<'_>, times: u32) {
        match verdict {
            Verdict::Event(event) => {
                self.matched += 1;
                let last = self.event(stream, dialect, &event, times);
                self.streams[stream].last = Some(Last::Event(last));
            }
            Verdict::Ignored(_) => {
                self.ignored += 1;
                self.streams[stream].last = Some(Last::Ignored);
            }
            Verdict::Unmatched(reason) => {
                self.streams[stream].last = Some(Last::Unmatched);
                self.unmatched(reason);
            }
        }
    }

    #[inline(always)]
    fn event(&mut self, stream: usize, dialect: Dialect, event: &Event<'_>, times: u32) -> Counted {
        let mut kind = event.kind;
        let client = if self.wants_client(kind) {
            self.clients.id(event.client)
        } else {
            NONE
        };
        if kind == Kind::SmtpAccepted && self.clients.known(client).reinjection {
            kind = Kind::SmtpReinjected;
        }
        let hash = self.name_of(event);
        let counted = Counted {
            kind,
            client,
            query_type: event.query_type,
            hash,
            recipients: event.recipients,
        };
        self.make_room();
        let detailed = match &mut self.detail {
            Some(detail) => {
                let detailed = detail.read(event, kind);
                detail.set_last(stream as u32, detailed);
                detailed
            }
            None => Detailed::Nothing,
        };
        match event.memory {
            Relation::None => {
                self.count(stream, counted, times);
                self.count_detail(stream, client, detailed, times);
            }
            _ => self.remember(stream, dialect, event.memory, counted, detailed, times),
        }
        counted
    }

    #[inline(always)]
    fn count(&mut self, stream: usize, event: Counted, times: u32) {
        let hint = Recent::hint(event.hash, u64::from(event.client));
        self.count_at(stream, event, times, hint);
    }

    #[inline(always)]
    fn count_at(&mut self, stream: usize, event: Counted, times: u32, hint: usize) {
        let at = self.streams[stream].bin;
        if let Some(Some(bin)) = self.bins.get_mut(at) {
            let table = &mut bin.tables[event.kind as usize];
            if table.is_none() {
                *table = Some(self.pool.table(event.kind));
            }
            if add(bin, event, times, (&mut self.recent, hint)) {
                self.fold(at);
            }
        }
    }

    /// Folds the names of a bin, which the details know then.
    #[cold]
    #[inline(never)]
    fn fold(&mut self, at: usize) {
        self.digest(at);
        if let Some(Some(bin)) = self.bins.get_mut(at) {
            bin.fold(self.limits.names_per_bin);
        }
    }

    /// Tells the details of the names that a bin has written down.
    fn digest(&mut self, at: usize) {
        if self.detail.is_some()
            && let Some(mut bin) = self.bins.get_mut(at).and_then(Option::take)
        {
            self.digest_bin(&mut bin);
            self.bins[at] = Some(bin);
        }
    }

    fn digest_bin(&mut self, bin: &mut OpenBin) {
        let key = self.key_of_details(bin.key);
        if let Some(detail) = &mut self.detail {
            detail.digest(key, bin, &self.clients);
        }
    }

    /// Where the details count the names of a bin.
    fn key_of_details(&self, key: BinKey) -> BinKey {
        match &self.live {
            // A bin is a server's; the details count by stream.
            Some(live) => BinKey {
                stream: live.stream_of(key.stream),
                ..key
            },
            None => key,
        }
    }

    /// Tells the details of every query that is written down, as a join does: it can be done before, on the part's own
    /// thread.
    pub fn digest_all(&mut self) {
        if self.detail.is_some() {
            for at in 0..self.bins.len() {
                self.digest(at);
            }
        }
    }

    /// Makes room for what the next name looks like.
    #[inline(always)]
    fn make_room(&mut self) {
        if self.detail.as_ref().is_some_and(|d| d.is_full()) {
            self.forget_looks();
        }
    }

    #[cold]
    #[inline(never)]
    fn forget_looks(&mut self) {
        self.digest_all();
        if let Some(detail) = &mut self.detail {
            detail.forget_looks();
        }
    }

    /// Counts an event in the tables of details, at the stream's minute.
    #[inline]
    fn count_detail(&mut self, stream: usize, client: u32, detailed: Detailed, times: u32) {
        if let Some(detail) = &mut self.detail {
            let s = &self.streams[stream];
            let key = BinKey {
                minute: s.minute,
                segment: s.segment,
                stream: stream as u32,
            };
            detail.count(key, client, &self.clients, detailed, times);
        }
    }

    #[cold]
    fn remember(
        &mut self,
        stream: usize,
        dialect: Dialect,
        relation: Relation<'_>,
        event: Counted,
        detailed: Detailed,
        times: u32,
    ) {
        let s = &self.streams[stream];
        let key = BinKey {
            minute: s.minute,
            segment: s.segment,
            stream: stream as u32,
        };
        let most = self.limits.held_events;
        match relation {
            Relation::None => {
                self.count(stream, event, times);
                self.count_detail(stream, event.client, detailed, times);
            }
            Relation::Hold(id) => {
                let id = identifier(&self.servers[s.server as usize], dialect, event.kind, id);
                let held = Held {
                    key,
                    kind: event.kind,
                    client: event.client,
                    recipients: event.recipients,
                    detailed,
                };
                for _ in 0..times {
                    if self.memory.hold(id, held, most) {
                        self.count(stream, event, 1);
                        self.count_detail(stream, event.client, detailed, 1);
                    }
                }
            }
            Relation::Cancel(id) => {
                let id = identifier(&self.servers[s.server as usize], dialect, event.kind, id);
                self.count(stream, event, times);
                self.count_detail(stream, event.client, detailed, times);
                if let Some(held) = self.memory.cancel(id, key, most) {
                    self.take_back(held);
                }
            }
        }
    }

    /// Takes a counted event back from its bin, which is open within the horizon.
    fn take_back(&mut self, held: Held) {
        let place = if self.live.is_some() {
            self.place_live(held.key)
        } else {
            self.streams
                .get(held.key.stream as usize)
                .and_then(|s| s.open.get(&(held.key.segment, held.key.minute)))
                .copied()
        };
        match place.and_then(|at| self.bins[at].as_mut()) {
            Some(bin) => {
                let (_, row) = bin.row(held.kind, held.client);
                row.count = row.count.saturating_sub(1);
                row.recipients = row.recipients.saturating_sub(held.recipients);
                if let Some(detail) = &mut self.detail {
                    detail.take_back(held.key, held.client, &self.clients, held.detailed);
                }
            }
            None => self.shed("late_cancel", 1),
        }
    }

    /// "last message repeated N times".
    fn repeated(&mut self, stream: usize, times: u32) {
        match self.streams[stream].last {
            Some(Last::Event(event)) => {
                self.matched += 1;
                self.make_room();
                let detailed = match &mut self.detail {
                    Some(detail) => {
                        let detailed = detail.last(stream as u32);
                        detail.recall(event.hash, detailed);
                        detailed
                    }
                    None => Detailed::Nothing,
                };
                self.count(stream, event, times);
                if self.detail.is_some() {
                    self.count_detail(stream, event.client, detailed, times);
                }
            }
            Some(Last::Ignored) => self.ignored += 1,
            Some(Last::Unmatched) => self.unmatched("repetition of an unmatched line"),
            None if self.live.is_some() => self.unmatched("repetition of nothing"),
            None => {
                let s = &self.streams[stream];
                let key = BinKey {
                    minute: s.minute,
                    segment: s.segment,
                    stream: stream as u32,
                };
                if self.repeats.len() < self.limits.pending_repeats {
                    self.repeats.push(Repeat { key, times });
                } else {
                    self.unmatched("repetition of nothing");
                    self.shed("pending_repeats", 1);
                }
            }
        }
    }

    fn server_by_name(&mut self, name: &str) -> u32 {
        if let Some(&id) = self.server_names.get(name) {
            return id;
        }
        let id = self.servers.len() as u32;
        self.servers.push(name.to_owned());
        self.server_names.insert(name.to_owned(), id);
        id
    }

    /// The place of a bin, opened if needed, without sealing others.
    fn bin_at(&mut self, key: BinKey) -> usize {
        let s = &mut self.streams[key.stream as usize];
        if let Some(&at) = s.open.get(&(key.segment, key.minute)) {
            return at;
        }
        let at = self.bins.len();
        let mut bin = OpenBin::new(key);
        bin.detailed = self.detail.is_some();
        self.bins.push(Some(bin));
        s.open.insert((key.segment, key.minute), at);
        self.open += 1;
        at
    }
}

/// Counts an event in a bin; whether it is time to fold its names.
#[inline(always)]
fn add(bin: &mut OpenBin, event: Counted, times: u32, recent: (&mut Recent, usize)) -> bool {
    let (at, row) = bin.row(event.kind, event.client);
    let mut over = false;
    let mut plus = |to: &mut u32, n: u32| {
        let (value, o) = to.overflowing_add(n);
        *to = if o { u32::MAX } else { value };
        over |= o;
    };
    plus(&mut row.count, times);
    if event.kind == Kind::DnsQuery {
        plus(&mut row.types[event.query_type as usize], times);
    } else {
        plus(&mut row.recipients, event.recipients.saturating_mul(times));
    }
    if over {
        bin.saturated = true;
    }
    event.hash != 0 && bin.ask(event.hash, at, event.query_type, times, recent)
}

fn identifier(server: &str, dialect: Dialect, kind: Kind, id: &[u8]) -> u64 {
    // Identifiers are the daemons' own (a queue id, a pid): those of two daemons do not mix. A message
    // that was accepted for some recipients and refused for others bears one identifier for both.
    let group = ((dialect as u64) << 1) | u64::from(kind == Kind::SmtpRejected);
    fold(
        name_hash(server.as_bytes()) ^ (group << 56),
        name_hash(id) ^ 0x9e37_79b9_7f4a_7c15,
    )
}
