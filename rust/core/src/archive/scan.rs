//! Counting whole archives: files and parts of large files in parallel, joined in order.
//!
//! A plain file is cut at line starts into parts that are counted at the same time; a compressed one
//! is decompressed by one thread and counted by another where threads would idle. Every part ends as
//! a [`Worker`]; joining the workers of a file in the order of their parts gives what one worker would
//! have counted, so that the result is the same for any number of threads.

use std::collections::{BTreeMap, HashSet};
use std::io::Read;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;

use crate::count::bins::BinKey;
use crate::count::detail;
use crate::count::intern::Interner;
use crate::count::seal::ClientColumns;
use crate::count::table::{self, Place};
use crate::count::timeline::{YEAR_MINUTES, Years};
use crate::count::worker::{Tally, Worker};
use crate::count::{Limits, Options};
use crate::error::{Error, Result};
use crate::syslog::header::Clock;
use crate::syslog::time::Zone;

use super::blocks::{self, Block, Part};
use super::digest::{Digest, Running, digest};
use super::edges;
use super::source::{Compression, Source};
use super::years;

/// How to scan.
#[derive(Clone, Debug, Default)]
pub struct ScanOptions {
    /// What is counted.
    pub count: Options,
    /// The bounds.
    pub limits: Limits,
    /// Threads; 0 means as many as the machine has.
    pub threads: usize,
    /// Zone of times that tell none. `None`: UTC, and said to be a guess.
    pub zone: Option<Zone>,
    /// Zones of servers that differ, by server name.
    pub server_zones: BTreeMap<String, Zone>,
    /// Year of each file's first line, where lines tell none.
    pub year: Option<i64>,
    /// Hash every text.
    pub digest: bool,
}

/// Seen by another thread while a scan runs.
#[derive(Debug, Default)]
pub struct Progress {
    /// Bytes read from disk.
    pub bytes: Arc<AtomicU64>,
    /// Lines read.
    pub lines: AtomicU64,
    /// Set to stop the scan.
    pub cancel: AtomicBool,
}

impl Progress {
    /// Has a worker count a block, and tells its lines.
    pub(super) fn count(&self, worker: &mut Worker, block: Block<'_>) {
        let before = worker.tally.lines;
        match block {
            Block::Lines(lines) => worker.lines(lines),
            Block::TooLong => worker.too_long(),
        }
        self.lines
            .fetch_add(worker.tally.lines - before, Ordering::Relaxed);
    }
}

/// What a scan says of one file.
#[derive(Clone, Debug)]
pub struct SourceReport {
    /// The file.
    pub source: Source,
    /// Bytes of text read.
    pub bytes: u64,
    /// Its identity, if asked for and readable to the end.
    pub digest: Option<Digest>,
    /// What became of its lines.
    pub tally: Tally,
    /// Servers that wrote it.
    pub servers: Vec<String>,
    /// First and last minute, seconds since 1970, UTC.
    pub times: Option<(i64, i64)>,
    /// Years of the first and the last line where lines told none, if any did.
    pub years: Option<(i64, i64)>,
    /// Whether a time was read without any word on its zone.
    pub zone_guessed: bool,
    /// Offset up to which the text was read, and what happened there.
    pub error: Option<(u64, String)>,
}

/// The result of a scan.
pub struct Scanned {
    /// One report a file, in the order given.
    pub sources: Vec<SourceReport>,
    /// Server names; the tables hold their positions.
    pub servers: Vec<String>,
    /// Schema and batches of `client_traffic`; `source` is the position in `sources`.
    pub client_traffic: (SchemaRef, Vec<RecordBatch>),
    /// Schema and batches of `traffic`.
    pub traffic: (SchemaRef, Vec<RecordBatch>),
    /// The tables of details by name; without rows where they were not asked for. A source has one row a key.
    pub details: BTreeMap<&'static str, (SchemaRef, Vec<RecordBatch>)>,
    /// Schema and batches of the halves of events near the ends of each source, if they were asked for.
    pub edges: (SchemaRef, Vec<RecordBatch>),
    /// Bins (start in seconds, server) whose rows come from more than one place: several files, a
    /// repeated hour, lines later than an hour. Rows of one key must be added together there.
    pub split_bins: Vec<(i64, u32)>,
}

/// Plain files smaller than this are read by one thread.
pub(super) const PART_LEAST: u64 = 16 << 20;

pub(super) struct Job {
    pub(super) file: usize,
    pub(super) part: usize,
    pub(super) range: Option<(u64, u64)>,
}

#[derive(Default)]
pub(super) struct FileState {
    pub(super) parts: Vec<Option<Done>>,
    pub(super) digest: Option<Digest>,
}

impl FileState {
    /// A file of one part.
    pub(super) fn of(done: Done) -> Self {
        FileState {
            parts: vec![Some(done)],
            digest: None,
        }
    }
}

pub(super) struct Done {
    pub(super) worker: Worker,
    pub(super) bytes: u64,
    pub(super) error: Option<(u64, String)>,
    pub(super) running: Option<Digest>,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // A panic of another thread is reported when it is joined; the data behind stays whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs the same work on so many threads; a panic of one goes on here.
pub(super) fn on_threads(threads: usize, work: impl Fn() + Sync) {
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..threads).map(|_| scope.spawn(&work)).collect();
        for thread in all {
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
    });
}

/// Scans files.
///
/// # Errors
/// [`Error::Interrupted`] if cancelled. A file that cannot be opened or read is reported in its
/// [`SourceReport`], not here.
pub fn scan(sources: &[Source], options: &ScanOptions, progress: &Progress) -> Result<Scanned> {
    let (options, threads) = settled(options);
    let options = &options;
    let mut jobs = Vec::new();
    let mut files: Vec<FileState> = Vec::new();
    for (file, source) in sources.iter().enumerate() {
        let parts = if source.compression == Compression::Plain && source.regular && threads > 1 {
            (source.bytes / PART_LEAST).clamp(1, threads as u64)
        } else {
            1
        };
        let plain = source.compression == Compression::Plain && source.regular;
        for part in 0..parts {
            let range = plain.then(|| (source.bytes * part / parts, source.bytes * (part + 1) / parts));
            jobs.push(Job {
                file,
                part: part as usize,
                range,
            });
        }
        files.push(FileState {
            parts: (0..parts).map(|_| None).collect(),
            digest: None,
        });
    }
    let pipeline = jobs.len() < threads;
    let pool = threads.min(jobs.len().max(1));
    let queue = Mutex::new(jobs.into_iter().rev().collect::<Vec<_>>());
    let files = Mutex::new(files);
    on_threads(pool, || {
        loop {
            let Some(job) = lock(&queue).pop() else { break };
            let source = &sources[job.file];
            let worker = Worker::new(&options.count, &options.limits);
            let done = run(source, &job, options, progress, pipeline, worker);
            let split = {
                let mut files = lock(&files);
                let state = &mut files[job.file];
                state.parts[job.part] = Some(done);
                state.parts.len() > 1 && state.parts.iter().all(Option::is_some)
            };
            if split && options.digest {
                let d = digest(source, &[]).ok();
                lock(&files)[job.file].digest = d;
            }
        }
    });
    if progress.cancel.load(Ordering::Relaxed) {
        return Err(Error::Interrupted);
    }
    let files = files.into_inner().unwrap_or_else(PoisonError::into_inner);
    finish(sources, files, options, threads)
}

/// The options with what follows from others, and the number of threads.
pub(super) fn settled(options: &ScanOptions) -> (ScanOptions, usize) {
    let threads = match options.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        n => n,
    };
    let mut options = options.clone();
    let mut zones = options.zone.iter().chain(options.server_zones.values());
    options.count.detail_minutes = if zones.all(Zone::whole_hours) { 60 } else { 15 };
    (options, threads)
}

/// Counts one part of a file.
pub(super) fn run(
    source: &Source,
    job: &Job,
    options: &ScanOptions,
    progress: &Progress,
    pipeline: bool,
    mut worker: Worker,
) -> Done {
    let failed = |worker, message: String| Done {
        worker,
        bytes: 0,
        error: Some((0, message)),
        running: None,
    };
    let stream: Box<dyn Read + Send> = match job.range {
        Some((start, end)) => {
            let part = std::fs::File::open(&source.path).and_then(|file| {
                let from = blocks::line_start(&file, start, source.bytes)?;
                let to = if end >= source.bytes {
                    source.bytes
                } else {
                    blocks::line_start(&file, end, source.bytes)?
                };
                Ok(Part::new(file, from, to.max(from)))
            });
            match part {
                Ok(part) => Box::new(part),
                Err(e) => return failed(worker, format!("cannot be opened: {e}")),
            }
        }
        None => match source.open(&progress.bytes) {
            Ok(stream) => stream,
            Err(Error::Open { source: e, .. }) => return failed(worker, format!("cannot be opened: {e}")),
            Err(e) => return failed(worker, e.to_string()),
        },
    };
    let whole = job
        .range
        .is_none_or(|(start, end)| start == 0 && end >= source.bytes);
    let mut stream = Hashing::new(stream, options.digest && whole);
    let plain = job.range.is_some();
    let mut seen = 0u64;
    let mut take = |block: Block<'_>, offset: u64| {
        progress.count(&mut worker, block);
        if plain {
            progress.bytes.fetch_add(offset - seen, Ordering::Relaxed);
            seen = offset;
        }
        !progress.cancel.load(Ordering::Relaxed)
    };
    let (bytes, error) = if pipeline && !plain {
        piped(&mut stream, options.limits.line_length, &mut take)
    } else {
        blocks::each(&mut stream, options.limits.line_length, &mut take)
    };
    if whole && !pipeline {
        worker.seal_open();
    } else {
        worker.digest_all();
    }
    let error = error.map(|e| (bytes, e.to_string()));
    let running = stream.finish().filter(|_| error.is_none());
    Done {
        worker,
        bytes,
        error,
        running,
    }
}

pub(super) struct Hashing {
    inner: Box<dyn Read + Send>,
    running: Option<Running>,
}

impl Hashing {
    /// A stream, hashed as it is read if asked for.
    pub(super) fn new(inner: Box<dyn Read + Send>, hashed: bool) -> Self {
        Hashing {
            inner,
            running: hashed.then(Running::default),
        }
    }

    /// The identity of what was read.
    pub(super) fn finish(self) -> Option<Digest> {
        self.running.as_ref().map(Running::finish)
    }
}

impl Read for Hashing {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.inner.read(buffer)?;
        if let (Some(running), Some(bytes)) = (&mut self.running, buffer.get(..n)) {
            running.update(bytes);
        }
        Ok(n)
    }
}

enum Sent {
    Lines(Vec<u8>, u64),
    TooLong(u64),
}

/// Blocks in flight between the two threads.
const IN_FLIGHT: usize = 8;

/// Reads on a thread of its own and takes the blocks here.
pub(super) fn piped(
    stream: &mut Hashing,
    line_most: usize,
    take: &mut dyn FnMut(Block<'_>, u64) -> bool,
) -> (u64, Option<std::io::Error>) {
    let (full_tx, full_rx) = mpsc::sync_channel::<Sent>(IN_FLIGHT);
    let (empty_tx, empty_rx) = mpsc::channel::<Vec<u8>>();
    std::thread::scope(|scope| {
        let reader = scope.spawn(move || {
            blocks::each(stream, line_most, &mut |block, offset| {
                let sent = match block {
                    Block::Lines(lines) => {
                        let mut buffer = empty_rx.try_recv().unwrap_or_default();
                        buffer.clear();
                        buffer.extend_from_slice(lines);
                        Sent::Lines(buffer, offset)
                    }
                    Block::TooLong => Sent::TooLong(offset),
                };
                full_tx.send(sent).is_ok()
            })
        });
        for sent in full_rx {
            let go_on = match sent {
                Sent::Lines(lines, offset) => {
                    let go_on = take(Block::Lines(&lines), offset);
                    // The reader may be gone already: then nobody needs the buffer.
                    let _ = empty_tx.send(lines);
                    go_on
                }
                Sent::TooLong(offset) => take(Block::TooLong, offset),
            };
            if !go_on {
                break;
            }
        }
        match reader.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// One file, joined.
pub(super) struct File {
    pub(super) worker: Worker,
    joined: Vec<(ClientColumns, Option<Interner>)>,
    pub(super) bytes: u64,
    digest: Option<Digest>,
    pub(super) error: Option<(u64, String)>,
}

pub(super) fn join(state: FileState, threads: usize) -> Option<File> {
    let mut parts = state.parts.into_iter().flatten();
    let first = parts.next()?;
    let mut file = File {
        worker: first.worker,
        joined: Vec::new(),
        bytes: first.bytes,
        digest: state.digest.or(first.running),
        error: first.error,
    };
    for part in parts {
        let joined = file.worker.join(part.worker);
        file.joined.push((joined.columns, Some(joined.arena)));
        if file.error.is_none() {
            file.error = part.error.map(|(offset, message)| (file.bytes + offset, message));
        }
        file.bytes += part.bytes;
    }
    let edges = file.worker.seal_all_on(threads);
    file.joined
        .insert(0, (std::mem::take(&mut file.worker.columns), None));
    // What stood open at the edges of the parts.
    file.joined
        .extend(edges.into_iter().map(|columns| (columns, None)));
    Some(file)
}

/// Year of each file's first line without a year.
pub(super) fn resolve_years(sources: &[Source], passed: &[Years], options: &ScanOptions) -> Vec<i64> {
    if let Some(year) = options.year {
        return vec![year; passed.len()];
    }
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |d| i64::try_from(d.as_secs()).unwrap_or(i64::MAX));
    let mut sets: BTreeMap<String, Vec<(i64, usize)>> = BTreeMap::new();
    for (i, source) in sources.iter().enumerate() {
        let (stem, rank) = years::rotation(&source.path);
        sets.entry(stem).or_default().push((rank, i));
    }
    let mut first = vec![1970; passed.len()];
    for mut set in sets.into_values() {
        set.sort_unstable();
        let mut newer: Option<i64> = None;
        for (_, i) in set {
            let years = passed[i];
            let Some((start, _)) = years.span() else { continue };
            let zone = options.zone.as_ref();
            let written = sources[i].written.unwrap_or(now);
            let mut limit = zone.map_or(written, |z| z.to_local(written));
            if let Some(newer) = newer {
                limit = limit.min(newer);
            }
            first[i] = years::first_year(&years, limit);
            newer = Some(years::local_seconds(start, first[i]));
        }
    }
    first
}

fn finish(
    sources: &[Source],
    states: Vec<FileState>,
    options: &ScanOptions,
    threads: usize,
) -> Result<Scanned> {
    let mut files = Vec::with_capacity(states.len());
    for state in states {
        // Every file has at least one part, and a part that fails is there with its error.
        files.extend(join(state, threads));
    }
    let years: Vec<Years> = files.iter().map(|f| f.worker.years()).collect();
    let first_years = resolve_years(sources, &years, options);
    tables(sources, files, &first_years, options, threads)
}

/// The tables of files that are joined, when their years are known.
pub(super) fn tables(
    sources: &[Source],
    mut files: Vec<File>,
    first_years: &[i64],
    options: &ScanOptions,
    threads: usize,
) -> Result<Scanned> {
    let mut servers: Vec<String> = Vec::new();
    let mut codes: BTreeMap<String, u32> = BTreeMap::new();
    for file in &files {
        for name in &file.worker.servers {
            if !codes.contains_key(name) {
                codes.insert(name.clone(), servers.len() as u32);
                servers.push(name.clone());
            }
        }
    }
    let utc = Zone::utc();
    let mut reports = Vec::with_capacity(files.len());
    let mut split = HashSet::new();
    let mut seen = HashSet::new();
    let mut tasks: Vec<(usize, ClientColumns, Option<Interner>)> = Vec::new();
    let mut resolvers = Vec::with_capacity(files.len());
    let mut halves = Vec::new();
    let mut details: BTreeMap<&'static str, (SchemaRef, Vec<RecordBatch>)> = detail::TABLES
        .into_iter()
        .zip(detail::schemas().map(|schema| (schema, Vec::new())))
        .collect();
    for (i, file) in files.iter_mut().enumerate() {
        let resolver = Resolver::new(&file.worker, first_years[i], options, &codes, &utc);
        let mut mine = HashSet::new();
        for (columns, _) in &file.joined {
            for run in &columns.runs {
                let place = resolver.place(run.key);
                if !mine.insert((place, run.kind)) || seen.contains(&(place, run.kind)) {
                    split.insert((place.start, place.server));
                }
            }
        }
        if !options.count.clients {
            let mut cells = HashSet::new();
            for row in &file.worker.traffic {
                let place = resolver.place(row.key);
                let cell = (place, row.kind, row.query_type, row.side);
                if !cells.insert(cell) || seen.contains(&(place, row.kind)) {
                    split.insert((place.start, place.server));
                }
                mine.insert((place, row.kind));
            }
        }
        seen.extend(mine);
        if options.count.edges {
            let batch = edges::batch(&file.worker, i as u32, |key| resolver.place(key))?;
            halves.extend((batch.num_rows() > 0).then_some(batch));
        }
        if let Some(found) = file.worker.take_detail() {
            let (batches, shed) = found.tables(&file.worker.clients, i as u32, |key| resolver.place(key))?;
            for (name, n) in shed {
                file.worker.shed(name, n);
            }
            for (name, batch) in detail::TABLES.into_iter().zip(batches) {
                if batch.num_rows() > 0
                    && let Some((_, all)) = details.get_mut(name)
                {
                    all.push(batch);
                }
            }
        }
        reports.push(report(&sources[i], file, first_years[i], options, &resolver));
        tasks.extend(file.joined.drain(..).map(|(columns, arena)| (i, columns, arena)));
        resolvers.push(resolver);
    }
    let wide = tasks.iter().any(|(_, c, _)| !c.wide.is_empty());
    let traffic = files
        .iter()
        .enumerate()
        .filter(|(_, f)| !f.worker.traffic.is_empty())
        .map(|(i, f)| {
            table::traffic_batch(&f.worker.traffic, &options.count, i as u32, |k| {
                resolvers[i].place(k)
            })
        })
        .collect::<Result<Vec<_>>>()?;
    tasks.retain(|(_, c, _)| !c.count.is_empty());
    let clients = build(tasks, &files, &resolvers, options, wide, threads)?;
    let mut split: Vec<(i64, u32)> = split.into_iter().collect();
    split.sort_unstable();
    Ok(Scanned {
        sources: reports,
        servers,
        client_traffic: (table::client_schema(&options.count, wide), clients),
        traffic: (table::traffic_schema(&options.count), traffic),
        details,
        edges: (edges::schema(), halves),
        split_bins: split,
    })
}

/// Builds the batches of `client_traffic`, several at a time, in order.
fn build(
    tasks: Vec<(usize, ClientColumns, Option<Interner>)>,
    files: &[File],
    resolvers: &[Resolver],
    options: &ScanOptions,
    wide: bool,
    threads: usize,
) -> Result<Vec<RecordBatch>> {
    let count = tasks.len();
    let queue = Mutex::new(tasks.into_iter().enumerate().collect::<Vec<_>>());
    let results = Mutex::new(
        (0..count)
            .map(|_| None)
            .collect::<Vec<Option<Result<RecordBatch>>>>(),
    );
    std::thread::scope(|scope| {
        for _ in 0..threads.min(count) {
            scope.spawn(|| {
                loop {
                    let Some((at, (i, columns, arena))) = lock(&queue).pop() else {
                        break;
                    };
                    let arena = arena.as_ref().unwrap_or(&files[i].worker.clients);
                    let place = |k| resolvers[i].place(k);
                    let batch = table::client_batch(
                        columns,
                        arena.arena().to_vec(),
                        &options.count,
                        wide,
                        i as u32,
                        place,
                    );
                    lock(&results)[at] = Some(batch);
                }
            });
        }
    });
    results
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner)
        .into_iter()
        .flatten()
        .collect()
}

fn report(
    source: &Source,
    file: &mut File,
    first_year: i64,
    options: &ScanOptions,
    resolver: &Resolver,
) -> SourceReport {
    let worker = &file.worker;
    let mut times: Option<(i64, i64)> = None;
    let mut zone_guessed = false;
    for id in 0..worker.streams() {
        let Some((server, clock, course)) = worker.stream(id as u32) else {
            continue;
        };
        let Some((first, last)) = course.ends else {
            continue;
        };
        let at = |minute| {
            resolver
                .place(BinKey {
                    minute,
                    segment: course.steps.len() as u16,
                    stream: id as u32,
                })
                .start
        };
        let (low, high) = (at(first).min(at(last)), at(last).max(at(course.newest)));
        times = Some(times.map_or((low, high), |(a, b)| (a.min(low), b.max(high))));
        let name = &worker.servers[server as usize];
        zone_guessed |=
            clock != Clock::Absolute && options.zone.is_none() && !options.server_zones.contains_key(name);
    }
    let years = worker.years();
    SourceReport {
        source: source.clone(),
        bytes: file.bytes,
        digest: file.digest.take(),
        tally: worker.full_tally(),
        servers: worker.servers.clone(),
        times,
        years: years.any().then(|| (first_year, first_year + years.last)),
        zone_guessed,
        error: file.error.take(),
    }
}

/// Resolves the bins of one file.
struct Resolver {
    first_year: i64,
    /// For each stream: clock, zone, code of the server, course.
    streams: Vec<(Clock, Zone, u32, crate::count::timeline::Course)>,
}

impl Resolver {
    fn new(
        worker: &Worker,
        first_year: i64,
        options: &ScanOptions,
        codes: &BTreeMap<String, u32>,
        utc: &Zone,
    ) -> Self {
        let streams = (0..worker.streams())
            .filter_map(|id| worker.stream(id as u32))
            .map(|(server, clock, course)| {
                let name = &worker.servers[server as usize];
                let zone = options
                    .server_zones
                    .get(name)
                    .or(options.zone.as_ref())
                    .unwrap_or(utc);
                (
                    clock,
                    zone.clone(),
                    codes.get(name).copied().unwrap_or(0),
                    course.clone(),
                )
            })
            .collect();
        Resolver { first_year, streams }
    }

    fn place(&self, key: BinKey) -> Place {
        let Some((clock, zone, server, course)) = self.streams.get(key.stream as usize) else {
            return Place { start: 0, server: 0 };
        };
        let start = match clock {
            Clock::Absolute => key.minute * 60,
            Clock::Local | Clock::Yearless => {
                let local = if *clock == Clock::Local {
                    key.minute * 60
                } else {
                    years::local_seconds(
                        key.minute.rem_euclid(YEAR_MINUTES),
                        self.first_year + key.minute.div_euclid(YEAR_MINUTES),
                    )
                };
                let second = zone.is_fold(local) && course.second_pass(key.segment, key.minute);
                zone.to_utc(local, second)
            }
        };
        Place {
            start: start.div_euclid(60) * 60,
            server: *server,
        }
    }
}
