//! Logs longer than memory: a source counted in stretches, each complete in itself.
//!
//! A stretch holds about as many bytes of text as it is told, or fewer where they make many rows, and ends at a line. Its tables are handed over before
//! the next stretch is counted, so that memory is that of one stretch, whatever the length of the log. Stretches
//! meet as the halves of a log that was cut do: rows of the minute and the hour at a cut are in both, and are added
//! together by whoever reads them. Years pass on from one stretch to the next.
//!
//! What a line takes back of another stretch is told as halves near the ends of each ([`super::edges`]), which whoever
//! adds the tables settles.
//!
//! Limits: as over two files, a repetition at the head of a stretch is of nothing. The year of the first line is taken when the
//! first stretch is done; should a later one show that it cannot be (a log of more than a year), the end says which
//! it is, and the log has to be counted again with that year.

use std::sync::Mutex;
use std::sync::atomic::Ordering;

use super::blocks::{self, Block};
use super::digest::digest;
use super::scan::{
    Done, FileState, Hashing, Job, Progress, ScanOptions, Scanned, join, lock, on_threads, piped,
    resolve_years, run, settled, tables,
};
use super::source::{Compression, Source};
use crate::count::timeline::Years;
use crate::count::worker::Worker;
use crate::error::{Error, Result};

/// What a stretch holds at most, about.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Bytes of text.
    pub bytes: u64,
    /// Rows of all tables together: memory grows with them, and quiet hours make more of them from a byte than busy ones.
    pub rows: u64,
}

/// The beginning of a plain file that is counted to learn how many rows its bytes make.
const PROBE: u64 = 8 << 20;
/// Plain files up to this are not probed: whatever they make fits.
const SHORT: u64 = 16 * PROBE;

/// Takes the tables of a stretch and whether it is the last; `false` stops the counting.
pub type Take<'a> = dyn FnMut(Scanned, bool) -> bool + Send + 'a;

/// What is known when the last stretch is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// Year of the first line without a year, if it is not the one that the stretches were given.
    pub other_year: Option<i64>,
}

/// Counts one source in stretches.
///
/// The report in each [`Scanned`] is of its stretch, but for its `bytes`, the place of an error and the identity, which
/// are of the source so far; the identity is in the last one only.
///
/// # Errors
/// [`Error::Interrupted`] if cancelled or stopped by `take`. A source that cannot be opened or read is reported in
/// its [`SourceReport`](super::scan::SourceReport), not here.
pub fn scan(
    source: &Source,
    options: &ScanOptions,
    bounds: Bounds,
    progress: &Progress,
    take: &mut Take<'_>,
) -> Result<Ended> {
    let (options, threads) = settled(options);
    let mut stretches = Stretches {
        source,
        options: &options,
        threads,
        read: 0,
        years: Years::default(),
        first_year: None,
        take,
    };
    if source.compression == Compression::Plain && source.regular {
        plain(&mut stretches, bounds, progress)?;
    } else {
        streamed(&mut stretches, bounds, progress)?;
    }
    Ok(stretches.ended())
}

/// Hands stretches over, one after the other.
struct Stretches<'a, 'b> {
    source: &'a Source,
    options: &'a ScanOptions,
    threads: usize,
    /// Bytes of text before the next stretch.
    read: u64,
    /// Years passed so far.
    years: Years,
    first_year: Option<i64>,
    take: &'a mut Take<'b>,
}

impl Stretches<'_, '_> {
    /// A worker for the next lines.
    fn worker(&self) -> Worker {
        let mut worker = Worker::new(&self.options.count, &self.options.limits);
        worker.follow(self.years);
        worker
    }

    fn resolved(&self) -> i64 {
        let one = std::slice::from_ref(self.source);
        resolve_years(one, &[self.years], self.options)
            .first()
            .copied()
            .unwrap_or(1970)
    }

    /// The parts of a stretch, in order, become tables.
    fn hand_over(&mut self, state: FileState, last: bool) -> Result<()> {
        let Some(mut file) = join(state, self.threads) else {
            return Ok(());
        };
        self.years = file.worker.years();
        let first_year = match self.first_year {
            Some(year) => year,
            None => self.resolved(),
        };
        if self.years.any() {
            self.first_year = Some(first_year);
        }
        if let Some((offset, _)) = &mut file.error {
            *offset += self.read;
        }
        self.read += file.bytes;
        file.bytes = self.read;
        let one = std::slice::from_ref(self.source);
        let scanned = tables(one, vec![file], &[first_year], self.options, self.threads)?;
        if (self.take)(scanned, last) {
            Ok(())
        } else {
            Err(Error::Interrupted)
        }
    }

    fn ended(&self) -> Ended {
        let year = self.resolved();
        Ended {
            other_year: self.first_year.filter(|&taken| taken != year).map(|_| year),
        }
    }
}

/// A plain file: each stretch is cut into parts for the threads.
fn plain(stretches: &mut Stretches<'_, '_>, bounds: Bounds, progress: &Progress) -> Result<()> {
    let (source, options, threads) = (stretches.source, stretches.options, stretches.threads as u64);
    let most = bounds.bytes.max(blocks::BLOCK as u64);
    let length = |bytes: u64, held: usize| {
        let length = u128::from(bounds.rows) * u128::from(bytes) / (held as u128).max(1);
        u64::try_from(length)
            .unwrap_or(u64::MAX)
            .clamp(blocks::BLOCK as u64, most)
    };
    let mut stretch = if source.bytes > SHORT {
        let job = Job {
            file: 0,
            part: 0,
            range: Some((0, PROBE)),
        };
        let worker = Worker::new(&options.count, &options.limits);
        let unseen = Progress::default();
        length(
            PROBE,
            run(source, &job, options, &unseen, false, worker).worker.held(),
        )
    } else {
        most
    };
    let mut from = 0;
    loop {
        let to = (from + stretch).min(source.bytes);
        let last = to >= source.bytes;
        let parts = ((to - from) / super::scan::PART_LEAST).clamp(1, threads);
        let cut = |part: u64| from + (to - from) * part / parts;
        let queue: Mutex<Vec<(Job, Worker)>> = Mutex::new(
            (0..parts)
                .rev()
                .map(|part| {
                    let job = Job {
                        file: 0,
                        part: part as usize,
                        range: Some((cut(part), cut(part + 1))),
                    };
                    // Only the first part follows lines that are known; the others are joined behind it.
                    let worker = if part == 0 {
                        stretches.worker()
                    } else {
                        Worker::new(&options.count, &options.limits)
                    };
                    (job, worker)
                })
                .collect(),
        );
        let state = Mutex::new(FileState {
            parts: (0..parts).map(|_| None).collect(),
            digest: None,
        });
        let unhashed = ScanOptions {
            digest: false,
            ..options.clone()
        };
        on_threads(parts as usize, || {
            let Some((job, worker)) = lock(&queue).pop() else {
                return;
            };
            let done = run(source, &job, &unhashed, progress, false, worker);
            lock(&state).parts[job.part] = Some(done);
        });
        if progress.cancel.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        let mut state = state
            .into_inner()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let failed = state.parts.iter().flatten().any(|part| part.error.is_some());
        if last && !failed && options.digest {
            state.digest = digest(source, &[]).ok();
        }
        let held: usize = state.parts.iter().flatten().map(|part| part.worker.held()).sum();
        stretches.hand_over(state, last || failed)?;
        if last || failed {
            return Ok(());
        }
        stretch = length(to - from, held);
        from = to;
    }
}

/// A stream: it is decompressed on a thread of its own, and counted on this one.
fn streamed(stretches: &mut Stretches<'_, '_>, bounds: Bounds, progress: &Progress) -> Result<()> {
    let (source, options, threads) = (stretches.source, stretches.options, stretches.threads);
    let mut stream = match source.open(&progress.bytes) {
        Ok(stream) => Hashing::new(stream, options.digest),
        Err(e) => {
            let message = match e {
                Error::Open { source: e, .. } => format!("cannot be opened: {e}"),
                other => other.to_string(),
            };
            let done = Done {
                worker: stretches.worker(),
                bytes: 0,
                error: Some((0, message)),
                running: None,
            };
            return stretches.hand_over(FileState::of(done), true);
        }
    };
    let mut worker = Some(stretches.worker());
    let (mut begun, mut seen, mut failed) = (0u64, 0u64, None);
    let (bytes, error) = {
        let mut take = |block: Block<'_>, offset: u64| {
            let full = seen - begun >= bounds.bytes.max(1)
                || worker.as_ref().is_some_and(|w| w.held() as u64 >= bounds.rows);
            if full && let Some(full) = worker.take() {
                let done = Done {
                    worker: full,
                    bytes: seen - begun,
                    error: None,
                    running: None,
                };
                if let Err(e) = stretches.hand_over(FileState::of(done), false) {
                    failed = Some(e);
                    return false;
                }
                begun = seen;
                worker = Some(stretches.worker());
            }
            let Some(worker) = &mut worker else { return false };
            progress.count(worker, block);
            seen = offset;
            !progress.cancel.load(Ordering::Relaxed)
        };
        if threads > 1 {
            piped(&mut stream, options.limits.line_length, &mut take)
        } else {
            blocks::each(&mut stream, options.limits.line_length, &mut take)
        }
    };
    if let Some(e) = failed {
        return Err(e);
    }
    if progress.cancel.load(Ordering::Relaxed) {
        return Err(Error::Interrupted);
    }
    let Some(worker) = worker else { return Ok(()) };
    let error = error.map(|e| (bytes - begun, e.to_string()));
    let running = stream.finish().filter(|_| error.is_none());
    let done = Done {
        worker,
        bytes: bytes - begun,
        error,
        running,
    };
    stretches.hand_over(FileState::of(done), true)
}
