//! The study's five counts over whole archives: the text of every file, parts of large ones in parallel.

use std::io::Read;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};

use crate::error::{Error, Result};
use crate::paper::{PaperCounter, PaperCounts};

use super::blocks::{Part, line_start};
use super::scan::Progress;
use super::source::{Compression, Source};

/// Parts of a plain file are at least this long.
const PART_LEAST: u64 = 8 << 20;
/// Size of the reads; they stay in the second-level cache for all passes.
const BLOCK: usize = 256 * 1024;

/// Counts as the five pipelines do. A file's last line may lack its end; it does not run into the next
/// file.
///
/// # Errors
/// [`Error::Open`], [`Error::Read`]: the pipelines would have said so, too. [`Error::Interrupted`].
pub fn count(sources: &[Source], threads: usize, progress: &Progress) -> Result<PaperCounts> {
    let threads = match threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        n => n,
    };
    let mut jobs = Vec::new();
    for source in sources {
        let plain = source.compression == Compression::Plain && source.regular;
        let parts = if plain {
            (source.bytes / PART_LEAST).clamp(1, threads as u64 * 4)
        } else {
            1
        };
        for part in 0..parts {
            jobs.push((
                source,
                plain.then(|| (source.bytes * part / parts, source.bytes * (part + 1) / parts)),
            ));
        }
    }
    let pool = threads.min(jobs.len().max(1));
    let queue = Mutex::new(jobs.into_iter().rev().collect::<Vec<_>>());
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let total = Mutex::new((PaperCounts::default(), None));
    std::thread::scope(|scope| {
        for _ in 0..pool {
            scope.spawn(|| {
                while let Some((source, range)) = next() {
                    let counted = part(source, range, progress);
                    let mut total = total.lock().unwrap_or_else(PoisonError::into_inner);
                    match counted {
                        Ok(counts) => total.0 += counts,
                        Err(error) => total.1 = total.1.take().or(Some(error)),
                    }
                }
            });
        }
    });
    if progress.cancel.load(Ordering::Relaxed) {
        return Err(Error::Interrupted);
    }
    match total.into_inner().unwrap_or_else(PoisonError::into_inner) {
        (counts, None) => Ok(counts),
        (_, Some(error)) => Err(error),
    }
}

fn part(source: &Source, range: Option<(u64, u64)>, progress: &Progress) -> Result<PaperCounts> {
    let open = |source_error| Error::Open {
        path: source.path.clone(),
        source: source_error,
    };
    let mut stream: Box<dyn Read + Send> = match range {
        Some((start, end)) => {
            let file = std::fs::File::open(&source.path).map_err(open)?;
            let from = line_start(&file, start, source.bytes).map_err(open)?;
            let to = if end >= source.bytes {
                source.bytes
            } else {
                line_start(&file, end, source.bytes).map_err(open)?
            };
            Box::new(Part::new(file, from, to.max(from)))
        }
        None => source.open(&progress.bytes)?,
    };
    let mut counter = PaperCounter::new();
    let mut buffer = vec![0u8; BLOCK];
    let mut offset = 0u64;
    while !progress.cancel.load(Ordering::Relaxed) {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => {
                counter.feed(buffer.get(..n).unwrap_or_default());
                offset += n as u64;
                if range.is_some() {
                    progress.bytes.fetch_add(n as u64, Ordering::Relaxed);
                }
            }
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => {
                return Err(Error::Read {
                    path: source.path.clone(),
                    offset,
                    message: e.to_string(),
                });
            }
        }
    }
    Ok(counter.finish())
}
