//! The write-ahead log: whole lines on disk before anybody is told that they arrived.
//!
//! A folder of files named by the position at which they begin (16 hexadecimal digits, `.wal`). A
//! position counts bytes of the log from its first day, headers included; it never goes back.
//!
//! ```text
//! file    magic "SEISWAL1", position u64, created i64 (us), checksum u64; then records
//! record  lines' bytes u32, lines u32, source u32, kind u8, flags u8, resume's bytes u16,
//!         received i64 (us), checksum u64; the lines as they came; the resume state
//! ```
//!
//! All numbers little-endian. A record's checksum (XXH3) covers its position too, so that bytes which
//! an older file left on the disk are never taken for a record. The first record that does not hold
//! ends its file: what a crash left half written is cut off when the log is opened.
//!
//! Files that were released are kept, four at most and for an hour at most, and written again under a new
//! name (`spare_segments`, `segment_seconds`): that saves the system making pages and blocks. Until then
//! they hold old lines.
//!
//! One copy: the batch's buffer is written as it is, with `pwritev`. A second thread brings files to
//! disk ([`Syncer`]): at once when someone waits for a confirmation, all those who wait together; else
//! once in `sync_interval_ms`. After a failed sync nothing is confirmed any more until a restart, since
//! the system forgets which pages it could not write.
//!
//! Limits: one process at a time (a lock file). A full disk and a full log (`max_bytes`) are errors of
//! [`Wal::append`] that leave the log as it was; the caller tries again.

mod records;

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use rustix::fs::{FallocateFlags, FlockOperation};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::batch::{Batch, Confirm, Logged, now_us};
use super::metrics::{Counter, Gauge, Metrics};
use super::queue::{Confirmed, lock};
use super::settings::WalLimits;
use crate::error::{Error, Result};
use records::{Kind, Records};

pub use records::Stretch;

const MAGIC: [u8; 8] = *b"SEISWAL1";
/// Bytes before the first record of a file, and before the lines of a record.
const HEADER: usize = 32;

const LINES: u8 = 1;
const SOURCE: u8 = 2;
const RESUME: u8 = 3;

/// The lines may carry message ids that are to be remembered.
const CONFIRMED: u8 = 1;

/// How long a start waits for another process to leave the folder: a parent that restarts us may be
/// faster than we stop.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);

/// What a record of the log says.
pub enum Record<'a> {
    /// Lines.
    Lines {
        /// They, and what is known of them. May be taken.
        logged: &'a mut Logged,
        /// Where their source is to be read on; empty if that was not told.
        resume: &'a [u8],
        /// Whether they came over a confirmed path.
        confirmed: bool,
    },
    /// The name of a source.
    Source {
        /// Its number.
        number: u32,
        /// Its name.
        name: &'a [u8],
    },
    /// Where a source is to be read on.
    Resume {
        /// Its number.
        source: u32,
        /// Its own state.
        resume: &'a [u8],
    },
}

fn io_error(what: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
    let what = what.into();
    move |source| Error::Io { what, source }
}

fn segment_name(start: u64) -> String {
    format!("{start:016x}.wal")
}

/// The files of a folder with the positions at which they begin, in order.
fn segments(directory: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "wal")
            && let Some(start) = path
                .file_stem()
                .and_then(|stem| stem.to_str())
                .and_then(|stem| u64::from_str_radix(stem, 16).ok())
        {
            found.push((start, path));
        }
    }
    found.sort_unstable();
    Ok(found)
}

fn file_header(start: u64, created: i64) -> [u8; HEADER] {
    let mut header = [0u8; HEADER];
    header[..8].copy_from_slice(&MAGIC);
    header[8..16].copy_from_slice(&start.to_le_bytes());
    header[16..24].copy_from_slice(&created.to_le_bytes());
    let check = xxh3_64(&header[..24]);
    header[24..].copy_from_slice(&check.to_le_bytes());
    header
}

fn word(bytes: &[u8], at: usize) -> u64 {
    bytes
        .get(at..at + 8)
        .and_then(|b| <[u8; 8]>::try_from(b).ok())
        .map_or(0, u64::from_le_bytes)
}

fn half(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..at + 4)
        .and_then(|b| <[u8; 4]>::try_from(b).ok())
        .map_or(0, u32::from_le_bytes)
}

/// The head of a record, without its checksum.
struct Head {
    length: u32,
    lines: u32,
    source: u32,
    kind: u8,
    flags: u8,
    resume: u16,
    received_us: i64,
}

impl Head {
    fn to_bytes(&self) -> [u8; HEADER] {
        let mut bytes = [0u8; HEADER];
        bytes[..4].copy_from_slice(&self.length.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.lines.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.source.to_le_bytes());
        bytes[12] = self.kind;
        bytes[13] = self.flags;
        bytes[14..16].copy_from_slice(&self.resume.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.received_us.to_le_bytes());
        bytes
    }

    fn of(bytes: &[u8; HEADER]) -> Head {
        Head {
            length: half(bytes, 0),
            lines: half(bytes, 4),
            source: half(bytes, 8),
            kind: bytes[12],
            flags: bytes[13],
            resume: u16::from_le_bytes([bytes[14], bytes[15]]),
            received_us: i64::from_le_bytes(word(bytes, 16).to_le_bytes()),
        }
    }

    fn size(&self) -> u64 {
        HEADER as u64 + u64::from(self.length) + u64::from(self.resume)
    }
}

fn checksum(position: u64, head: &[u8], lines: &[u8], resume: &[u8]) -> u64 {
    let seed = xxh3_64_with_seed(head, position);
    let of_lines = xxh3_64_with_seed(lines, seed);
    if resume.is_empty() {
        of_lines
    } else {
        xxh3_64_with_seed(resume, of_lines)
    }
}

/// What one pass over a file found.
struct Walked {
    /// Position after the last record that holds.
    end: u64,
    /// Bytes of the file after it.
    rest: u64,
}

/// Reads the records of a file. `each` gets the position of a record and the record.
fn walk(
    path: &Path,
    start: u64,
    scratch: &mut Logged,
    each: &mut impl FnMut(u64, Record<'_>) -> Result<()>,
) -> Result<Walked> {
    let mut records = Records::open(path, start, start)?;
    while let Some((position, kind)) = records.next(scratch)? {
        match kind {
            Kind::Lines { confirmed } => each(
                position,
                Record::Lines {
                    logged: scratch,
                    resume: &records.resume,
                    confirmed,
                },
            )?,
            Kind::Source => each(
                position,
                Record::Source {
                    number: scratch.source,
                    name: &scratch.bytes,
                },
            )?,
            Kind::Resume => each(
                position,
                Record::Resume {
                    source: scratch.source,
                    resume: &records.resume,
                },
            )?,
            Kind::Other => {}
        }
    }
    Ok(Walked {
        end: records.position(),
        rest: records.rest(),
    })
}

/// What a replay found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Position after the last record.
    pub end: u64,
    /// Where the last file's records end, if there is a file.
    pub last: Option<u64>,
    /// Bytes of complete files that belong to no whole record.
    pub damaged: u64,
    /// Bytes of the last file after its last whole record: half a record, or what an older file left.
    pub tail: u64,
}

struct Segment {
    start: u64,
    path: PathBuf,
    bytes: u64,
}

/// Released files that wait to be written again, with the time of their release.
#[derive(Default)]
struct Spares(VecDeque<(PathBuf, Instant)>);

impl Spares {
    /// Those that an earlier process left.
    fn find(directory: &Path) -> io::Result<Spares> {
        let mut found = Spares::default();
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            if path.extension().is_some_and(|e| e == "spare") {
                found.0.push_back((path, Instant::now()));
            }
        }
        Ok(found)
    }

    /// Takes a file of the log in, or removes it where there are enough.
    fn keep(&mut self, path: &Path, most: usize) -> io::Result<()> {
        if self.0.len() >= most {
            return fs::remove_file(path);
        }
        let spare = path.with_extension("spare");
        fs::rename(path, &spare)?;
        self.0.push_back((spare, Instant::now()));
        Ok(())
    }

    /// Removes those that waited for too long.
    fn expire(&mut self, limits: &WalLimits) {
        while self.0.len() > limits.spare_segments
            || self
                .0
                .front()
                .is_some_and(|(_, since)| since.elapsed().as_secs() >= limits.segment_seconds)
        {
            if let Some((path, _)) = self.0.pop_front() {
                // Gone already is as good.
                let _ = fs::remove_file(path);
            }
        }
    }
}

/// The log, open for appending.
pub struct Wal {
    directory: PathBuf,
    limits: WalLimits,
    spares: Spares,
    /// Files that are complete, oldest first.
    sealed: VecDeque<Segment>,
    sealed_bytes: u64,
    current: Segment,
    file: Arc<File>,
    opened: Instant,
    position: u64,
    syncer: Arc<Syncer>,
    bytes: Gauge,
    files: Gauge,
    appended: Counter,
    // Held for as long as the log is open.
    _lock: File,
}

impl Wal {
    /// Opens the log in a folder (made where it is missing), cuts off what a crash left half written,
    /// and gives the position where it goes on: at least `at_least`, so that positions that a snapshot
    /// or a closed bin has seen are never used twice.
    ///
    /// # Errors
    /// The folder or a file cannot be read or written, or another process has it open.
    pub fn open(
        directory: &Path,
        limits: &WalLimits,
        at_least: u64,
        metrics: &Metrics,
    ) -> Result<(Wal, u64)> {
        let held = Wal::take_lock(directory)?;
        Wal::open_locked(directory, limits, at_least, metrics, held, None)
    }

    /// Makes the folder and waits for its lock.
    pub(super) fn take_lock(directory: &Path) -> Result<File> {
        let what = || directory.display().to_string();
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o750)
            .create(directory)
            .map_err(io_error(what()))?;
        let path = directory.join("lock");
        let held = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o640)
            .open(&path)
            .map_err(io_error(path.display().to_string()))?;
        let since = Instant::now();
        loop {
            match rustix::fs::flock(&held, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(held),
                Err(rustix::io::Errno::WOULDBLOCK) if since.elapsed() < LOCK_PATIENCE => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    return Err(Error::Io {
                        what: what(),
                        source: io::Error::other(
                            "another seismolog uses this state folder; stop it or set another live.state",
                        ),
                    });
                }
                Err(error) => return Err(io_error(what())(error.into())),
            }
        }
    }

    /// `end`: the end of the last file, where a replay has just told it.
    pub(super) fn open_locked(
        directory: &Path,
        limits: &WalLimits,
        at_least: u64,
        metrics: &Metrics,
        held: File,
        end: Option<u64>,
    ) -> Result<(Wal, u64)> {
        let limits = &in_quarters(limits);
        let what = || directory.display().to_string();
        let mut sealed = VecDeque::new();
        let found = segments(directory).map_err(io_error(what()))?;
        let last = found.len();
        let mut position = at_least;
        for (i, (start, path)) in found.into_iter().enumerate() {
            let file = || io_error(path.display().to_string());
            let mut bytes = fs::metadata(&path).map_err(file())?.len();
            if i + 1 == last {
                let end = match end {
                    Some(end) => end,
                    None => walk(&path, start, &mut Logged::default(), &mut |_, _| Ok(()))?.end,
                };
                let keep = end.saturating_sub(start);
                if keep <= HEADER as u64 {
                    // Nothing in it: its name may be needed again.
                    fs::remove_file(&path).map_err(file())?;
                    position = position.max(start);
                    continue;
                }
                if keep < bytes {
                    let tail = OpenOptions::new().write(true).open(&path).map_err(file())?;
                    tail.set_len(keep).map_err(file())?;
                    tail.sync_data().map_err(file())?;
                    metrics.counter("seismolog_wal_cut_bytes_total").add(bytes - keep);
                    bytes = keep;
                }
                position = position.max(end);
            }
            sealed.push_back(Segment { start, path, bytes });
        }
        let mut spares = Spares::find(directory).map_err(io_error(what()))?;
        spares.expire(limits);
        let (current, file) = create(directory, position, limits, &mut spares)?;
        let syncer = Arc::new(Syncer::new(
            Arc::clone(&file),
            position + HEADER as u64,
            limits,
            metrics,
        ));
        let mut wal = Wal {
            directory: directory.to_owned(),
            limits: limits.clone(),
            spares,
            sealed_bytes: sealed.iter().map(|s| s.bytes).sum(),
            sealed,
            current,
            file,
            opened: Instant::now(),
            position: position + HEADER as u64,
            syncer,
            bytes: metrics.gauge("seismolog_wal_bytes"),
            files: metrics.gauge("seismolog_wal_segments"),
            appended: metrics.counter("seismolog_wal_appended_bytes_total"),
            _lock: held,
        };
        wal.show();
        let position = wal.position;
        Ok((wal, position))
    }

    /// Hands over every batch of lines that lies wholly after the position `from`, in order, and gives
    /// the position after the last.
    ///
    /// # Errors
    /// A file cannot be read, or what `each` said.
    pub fn replay(
        directory: &Path,
        from: u64,
        mut each: impl FnMut(&mut Logged) -> Result<()>,
    ) -> Result<u64> {
        let replayed = Wal::replay_records(directory, from, |record| match record {
            Record::Lines { logged, .. } => each(logged),
            Record::Source { .. } | Record::Resume { .. } => Ok(()),
        })?;
        Ok(replayed.end)
    }

    /// As [`Wal::replay`], with records of every kind. Names of sources are given from before `from`
    /// too, where the file that holds `from` has them.
    ///
    /// # Errors
    /// A file cannot be read, or what `each` said.
    pub fn replay_records(
        directory: &Path,
        from: u64,
        mut each: impl FnMut(Record<'_>) -> Result<()>,
    ) -> Result<Replayed> {
        let mut replayed = Replayed {
            end: from,
            last: None,
            damaged: 0,
            tail: 0,
        };
        let found = match segments(directory) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(io_error(directory.display().to_string())(error)),
        };
        let mut scratch = Logged::default();
        for (i, (start, path)) in found.iter().enumerate() {
            if found.get(i + 1).is_some_and(|(next, _)| *next <= from) {
                continue;
            }
            let walked = walk(path, *start, &mut scratch, &mut |position, record| {
                if position >= from || matches!(record, Record::Source { .. }) {
                    each(record)
                } else {
                    Ok(())
                }
            })?;
            replayed.end = replayed.end.max(walked.end);
            replayed.last = Some(walked.end);
            if i + 1 == found.len() {
                replayed.tail = walked.rest;
            } else {
                replayed.damaged += walked.rest;
            }
        }
        Ok(replayed)
    }

    /// Where the log ends.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Bytes of all files.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.sealed_bytes + self.current.bytes
    }

    /// The part that brings it to disk.
    #[must_use]
    pub fn syncer(&self) -> &Arc<Syncer> {
        &self.syncer
    }

    /// Other bounds, from now on.
    pub fn set_limits(&mut self, limits: &WalLimits) {
        self.limits = in_quarters(limits);
        self.syncer.set_interval(limits);
    }

    /// Whether the current file is full or old, so that the next append begins another. The caller
    /// then calls [`Wal::rotate`] and repeats what must stand in every file.
    #[must_use]
    pub fn due(&self) -> bool {
        self.current.bytes > HEADER as u64
            && (self.current.bytes >= self.limits.segment_bytes
                || self.opened.elapsed().as_secs() >= self.limits.segment_seconds)
    }

    /// Begins another file.
    ///
    /// # Errors
    /// The disk is full, the folder is gone. The log goes on in the file it has.
    pub fn rotate(&mut self) -> Result<()> {
        // What was reserved and not used goes back, and what an older file left goes. Before the new file
        // is there: else, after a kill between both, that would look like damage.
        let _ = self.file.set_len(self.current.bytes);
        let (current, file) = create(&self.directory, self.position, &self.limits, &mut self.spares)?;
        let old = std::mem::replace(&mut self.current, current);
        self.sealed_bytes += old.bytes;
        self.sealed.push_back(old);
        self.file = file;
        self.opened = Instant::now();
        self.position += HEADER as u64;
        self.syncer.rotated(Arc::clone(&self.file), self.position);
        self.show();
        Ok(())
    }

    /// Appends lines; gives the position after them. `confirmed`: they may carry message ids.
    ///
    /// # Errors
    /// The disk or the log is full; the log is as it was before.
    pub fn append(&mut self, batch: &Batch, confirmed: bool) -> io::Result<u64> {
        let resume = batch.resume.as_deref().unwrap_or_default();
        let flags = if confirmed { CONFIRMED } else { 0 };
        self.write(
            LINES,
            flags,
            batch.source,
            batch.lines,
            batch.received_us,
            &batch.bytes,
            resume,
        )
    }

    /// Appends the name of a source.
    ///
    /// # Errors
    /// As [`Wal::append`].
    pub fn append_source(&mut self, number: u32, name: &str) -> io::Result<u64> {
        self.write(SOURCE, 0, number, 0, 0, name.as_bytes(), &[])
    }

    /// Appends where a source is to be read on, without lines.
    ///
    /// # Errors
    /// As [`Wal::append`].
    pub fn append_resume(&mut self, source: u32, resume: &[u8]) -> io::Result<u64> {
        self.write(RESUME, 0, source, 0, 0, &[], resume)
    }

    #[allow(clippy::too_many_arguments)] // the fields of a record
    fn write(
        &mut self,
        kind: u8,
        flags: u8,
        source: u32,
        lines: u32,
        received_us: i64,
        bytes: &[u8],
        resume: &[u8],
    ) -> io::Result<u64> {
        let (Ok(length), Ok(resume_length)) = (u32::try_from(bytes.len()), u16::try_from(resume.len()))
        else {
            return Err(io::Error::other("a batch of 4 GiB or a resume state of 64 KiB"));
        };
        let head = Head {
            length,
            lines,
            source,
            kind,
            flags,
            resume: resume_length,
            received_us,
        };
        if self.bytes() + head.size() > self.limits.max_bytes {
            return Err(io::Error::new(
                io::ErrorKind::StorageFull,
                format!(
                    "the write-ahead log holds live.wal_size ({} bytes) that are not counted yet",
                    self.limits.max_bytes
                ),
            ));
        }
        let mut header = head.to_bytes();
        let check = checksum(self.position, header.get(..24).unwrap_or_default(), bytes, resume);
        header[24..].copy_from_slice(&check.to_le_bytes());
        if let Err(error) = write_all(&self.file, &[&header, bytes, resume], self.current.bytes) {
            // A half record would be cut off when the log is opened; the next append overwrites it.
            let _ = self.file.set_len(self.current.bytes);
            return Err(error);
        }
        self.position += head.size();
        self.current.bytes += head.size();
        self.appended.add(head.size());
        self.bytes.set(self.bytes());
        Ok(self.position)
    }

    /// Takes away the files that lie wholly before a position.
    ///
    /// # Errors
    /// A file cannot be removed; it is tried again next time.
    pub fn release(&mut self, up_to: u64) -> Result<()> {
        while let Some(first) = self.sealed.front() {
            let end = self.sealed.get(1).map_or(self.current.start, |next| next.start);
            if end > up_to {
                break;
            }
            // A file that is small is not worth keeping.
            let most = if first.bytes >= self.limits.segment_bytes {
                self.limits.spare_segments
            } else {
                0
            };
            match self.spares.keep(&first.path, most) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(io_error(first.path.display().to_string())(error));
                }
                _ => {}
            }
            self.sealed_bytes -= first.bytes;
            self.sealed.pop_front();
        }
        self.tidy();
        self.show();
        Ok(())
    }

    /// Removes spare files that waited for too long. Costs nothing where there are none.
    pub fn tidy(&mut self) {
        self.spares.expire(&self.limits);
    }

    fn show(&mut self) {
        self.bytes.set(self.bytes());
        self.files.set(self.sealed.len() as u64 + 1);
    }
}

/// At least four files make the log: it is released by whole files, so one that is as large as the whole log would fill
/// it and never go.
fn in_quarters(limits: &WalLimits) -> WalLimits {
    WalLimits {
        segment_bytes: limits.segment_bytes.min(limits.max_bytes / 4),
        ..limits.clone()
    }
}

/// A new file of the log. A spare one gets its new name after its new head is on disk: under the old
/// head it would be taken for damaged.
fn create(
    directory: &Path,
    start: u64,
    limits: &WalLimits,
    spares: &mut Spares,
) -> Result<(Segment, Arc<File>)> {
    let path = directory.join(segment_name(start));
    let error = || io_error(path.display().to_string());
    let reused = spares.0.pop_front().and_then(|(spare, _)| {
        let file = OpenOptions::new().write(true).open(&spare).ok()?;
        Some((spare, file))
    });
    let (made_at, file) = match reused {
        Some(reused) => reused,
        None => {
            let file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o640)
                .open(&path)
                .map_err(error())?;
            (path.clone(), file)
        }
    };
    let made = (|| -> io::Result<()> {
        // Room is taken now, so that a full disk shows here and not when it is too late to say so
        // (delayed allocation). Not every file system can.
        let reserved = rustix::fs::fallocate(&file, FallocateFlags::KEEP_SIZE, 0, limits.segment_bytes);
        if reserved == Err(rustix::io::Errno::NOSPC) {
            return Err(rustix::io::Errno::NOSPC.into());
        }
        write_all(&file, &[&file_header(start, now_us())], 0)?;
        file.sync_data()?;
        if made_at != path {
            fs::rename(&made_at, &path)?;
        }
        File::open(directory)?.sync_all()
    })();
    if let Err(cause) = made {
        let _ = fs::remove_file(&made_at);
        let _ = fs::remove_file(&path);
        return Err(error()(cause));
    }
    let segment = Segment {
        start,
        path,
        bytes: HEADER as u64,
    };
    Ok((segment, Arc::new(file)))
}

/// Writes all of up to three parts at an offset.
fn write_all(file: &File, parts: &[&[u8]], mut at: u64) -> io::Result<()> {
    let mut slices = [IoSlice::new(&[]), IoSlice::new(&[]), IoSlice::new(&[])];
    for (slice, part) in slices.iter_mut().zip(parts) {
        *slice = IoSlice::new(part);
    }
    let mut left = slices.as_mut_slice();
    IoSlice::advance_slices(&mut left, 0); // drops the empty ones
    while !left.is_empty() {
        match rustix::io::pwritev(file, left, at) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => {
                at += n as u64;
                IoSlice::advance_slices(&mut left, n);
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

struct SyncState {
    /// Files that were completed and are not on disk yet, then the current one.
    files: Vec<Arc<File>>,
    written: u64,
    synced: u64,
    waiting: VecDeque<(u64, Confirm)>,
    wanted: bool,
    interval: Duration,
    failed: Option<String>,
    stop: bool,
}

/// Brings the log to disk and tells those who wait. Its [`Syncer::run`] is a thread's whole life.
pub struct Syncer {
    state: Mutex<SyncState>,
    asked: Condvar,
    done: Condvar,
    metrics: Metrics,
    syncs: Counter,
    sync_us: Counter,
    confirmed: Counter,
    waiting: Gauge,
    durable: Gauge,
}

impl Syncer {
    fn new(file: Arc<File>, position: u64, limits: &WalLimits, metrics: &Metrics) -> Self {
        Syncer {
            state: Mutex::new(SyncState {
                files: vec![file],
                written: position,
                synced: position,
                waiting: VecDeque::new(),
                wanted: false,
                interval: Duration::from_millis(limits.sync_interval_ms.max(1)),
                failed: None,
                stop: false,
            }),
            asked: Condvar::new(),
            done: Condvar::new(),
            metrics: metrics.clone(),
            syncs: metrics.counter("seismolog_wal_syncs_total"),
            sync_us: metrics.counter("seismolog_wal_sync_microseconds_total"),
            confirmed: metrics.counter("seismolog_confirmed_total"),
            waiting: metrics.gauge("seismolog_waiting_confirmations"),
            durable: metrics.gauge("seismolog_wal_durable_position"),
        }
    }

    fn set_interval(&self, limits: &WalLimits) {
        lock(&self.state).interval = Duration::from_millis(limits.sync_interval_ms.max(1));
    }

    fn rotated(&self, file: Arc<File>, position: u64) {
        let mut state = lock(&self.state);
        state.files.push(file);
        state.written = state.written.max(position);
    }

    /// Tells that the log ends at `position`, and who waits until that is on disk. `confirm` is left
    /// empty.
    pub fn written(&self, position: u64, confirm: &mut Vec<Confirm>) {
        let mut state = lock(&self.state);
        state.written = position;
        if confirm.is_empty() {
            return;
        }
        self.waiting.add(confirm.len() as u64);
        state.waiting.extend(confirm.drain(..).map(|c| (position, c)));
        if !state.wanted {
            state.wanted = true;
            self.asked.notify_one();
        }
    }

    /// Waits until everything written so far is on disk.
    ///
    /// # Errors
    /// A sync has failed.
    pub fn flush(&self) -> io::Result<u64> {
        let mut state = lock(&self.state);
        let position = state.written;
        loop {
            if let Some(message) = &state.failed {
                return Err(io::Error::other(message.clone()));
            }
            if state.synced >= position {
                return Ok(state.synced);
            }
            if state.stop {
                return Err(io::Error::other("the write-ahead log was closed"));
            }
            state.wanted = true;
            self.asked.notify_one();
            state = match self.done.wait_timeout(state, Duration::from_secs(1)) {
                Ok((guard, _)) => guard,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }

    /// Up to where the log is on disk.
    #[must_use]
    pub fn synced(&self) -> u64 {
        lock(&self.state).synced
    }

    /// Why nothing is confirmed any more.
    #[must_use]
    pub fn failed(&self) -> Option<String> {
        lock(&self.state).failed.clone()
    }

    /// Ends [`Syncer::run`] after a last sync.
    pub fn stop(&self) {
        lock(&self.state).stop = true;
        self.asked.notify_all();
        self.done.notify_all();
    }

    /// Syncs whenever someone waits, and once an interval, until [`Syncer::stop`].
    pub fn run(&self) {
        let mut state = lock(&self.state);
        let mut last = Instant::now();
        loop {
            while !state.wanted && !state.stop {
                let left = state.interval.saturating_sub(last.elapsed());
                if left.is_zero() {
                    last = Instant::now();
                    if state.written > state.synced {
                        break;
                    }
                    continue;
                }
                state = match self.asked.wait_timeout(state, left) {
                    Ok((guard, _)) => guard,
                    Err(poisoned) => poisoned.into_inner().0,
                };
            }
            if state.failed.is_some() || (state.stop && state.synced >= state.written) {
                if state.stop {
                    return;
                }
                // Nothing can be promised: whoever waits does so until his patience ends.
                state.wanted = false;
                continue;
            }
            state.wanted = false;
            let files = state.files.clone();
            let position = state.written;
            drop(state);
            let since = Instant::now();
            let result = files.iter().try_for_each(|file| file.sync_data());
            last = Instant::now();
            self.syncs.add(1);
            self.sync_us
                .add(u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX));
            state = lock(&self.state);
            match result {
                Ok(()) => {
                    state.synced = state.synced.max(position);
                    self.durable.set(state.synced);
                    // The last of those synced is the one still written to, or was completed meanwhile.
                    let complete = files.len() - 1;
                    state.files.drain(..complete);
                    let ready = state.waiting.partition_point(|(at, _)| *at <= position);
                    let letters: Vec<(u64, Confirm)> = state.waiting.drain(..ready).collect();
                    drop(state);
                    self.tell(&letters);
                    self.done.notify_all();
                    state = lock(&self.state);
                }
                Err(error) => {
                    let message =
                        format!("cannot be brought to disk ({error}); nothing is confirmed until a restart");
                    self.metrics.trouble("wal", Some(message.clone()));
                    self.metrics.counter("seismolog_wal_errors_total").add(1);
                    state.failed = Some(message);
                    self.done.notify_all();
                }
            }
        }
    }

    fn tell(&self, letters: &[(u64, Confirm)]) {
        self.waiting.sub(letters.len() as u64);
        self.confirmed.add(letters.len() as u64);
        for (i, (_, confirm)) in letters.iter().enumerate() {
            confirm.to.leave(Confirmed {
                connection: confirm.connection,
                mark: confirm.mark,
            });
            // One call wakes a reader for all of its connections that stand in a row.
            let more = letters
                .get(i + 1)
                .is_some_and(|(_, next)| Arc::ptr_eq(&next.to, &confirm.to));
            if !more {
                confirm.to.wake();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn batch(i: u64, size: usize) -> Batch {
        let mut bytes = format!("line {i} ").into_bytes();
        bytes.resize(bytes.len() + size, b'x');
        bytes.push(b'\n');
        Batch {
            source: 3,
            received_us: i64::try_from(i).unwrap(),
            lines: 1,
            bytes,
            confirm: Vec::new(),
            resume: i.is_multiple_of(3).then(|| i.to_le_bytes().to_vec()),
        }
    }

    fn numbers(directory: &Path, from: u64) -> (Vec<(u64, u64)>, Replayed) {
        let mut found = Vec::new();
        let replayed = Wal::replay_records(directory, from, |record| {
            if let Record::Lines { logged, resume, .. } = record {
                let text = String::from_utf8(logged.bytes.clone()).unwrap();
                let i: u64 = text.split(' ').nth(1).unwrap().parse().unwrap();
                assert_eq!(logged.received_us, i64::try_from(i).unwrap());
                assert_eq!(logged.source, 3);
                assert_eq!(resume.is_empty(), !i.is_multiple_of(3));
                found.push((i, logged.position));
            }
            Ok(())
        })
        .unwrap();
        (found, replayed)
    }

    fn small() -> WalLimits {
        WalLimits {
            segment_bytes: 2000,
            ..WalLimits::default()
        }
    }

    fn filled(directory: &Path, limits: &WalLimits, n: u64) -> Vec<u64> {
        let (mut wal, _) = Wal::open(directory, limits, 0, &Metrics::default()).unwrap();
        (0..n)
            .map(|i| {
                if wal.due() {
                    wal.rotate().unwrap();
                }
                wal.append(&batch(i, 100), false).unwrap()
            })
            .collect()
    }

    #[test]
    fn what_was_appended_is_replayed_from_any_position() {
        let folder = tempfile::tempdir().unwrap();
        let positions = filled(folder.path(), &small(), 50);
        assert!(positions.is_sorted());
        assert!(segments(folder.path()).unwrap().len() > 3);
        for from in 0..50usize {
            let start = if from == 0 { 0 } else { positions[from - 1] };
            let (found, replayed) = numbers(folder.path(), start);
            let expected: Vec<(u64, u64)> = (from..50).map(|i| (i as u64, positions[i])).collect();
            assert_eq!(found, expected);
            assert_eq!(replayed.end, positions[49]);
            assert_eq!(replayed.damaged, 0);
        }
    }

    #[test]
    fn positions_never_go_back() {
        let folder = tempfile::tempdir().unwrap();
        let end = *filled(folder.path(), &small(), 5).last().unwrap();
        for _ in 0..3 {
            let (_, position) = Wal::open(folder.path(), &small(), 0, &Metrics::default()).unwrap();
            assert_eq!(position, end + HEADER as u64);
        }
        let (mut wal, position) = Wal::open(folder.path(), &small(), 1 << 40, &Metrics::default()).unwrap();
        assert_eq!(position, (1 << 40) + HEADER as u64);
        wal.append(&batch(5, 1), false).unwrap();
        drop(wal);
        assert_eq!(numbers(folder.path(), 0).0.len(), 6);
        assert_eq!(numbers(folder.path(), 1 << 40).0.len(), 1);
    }

    #[test]
    fn release_takes_whole_files_only() {
        let folder = tempfile::tempdir().unwrap();
        let positions = filled(folder.path(), &small(), 50);
        let (mut wal, _) = Wal::open(folder.path(), &small(), 0, &Metrics::default()).unwrap();
        let before = wal.bytes();
        wal.release(positions[30]).unwrap();
        assert!(wal.bytes() < before);
        let kept: Vec<u64> = numbers(folder.path(), 0).0.iter().map(|(i, _)| *i).collect();
        assert!(kept[0] <= 31 && kept[0] > 10);
        assert_eq!(*kept.last().unwrap(), 49);
        wal.release(u64::MAX).unwrap();
        assert_eq!(segments(folder.path()).unwrap().len(), 1);
        assert_eq!(wal.bytes(), HEADER as u64);
    }

    #[test]
    fn a_full_log_refuses_and_goes_on_after_a_release() {
        let folder = tempfile::tempdir().unwrap();
        let limits = WalLimits {
            max_bytes: 6000,
            ..small()
        };
        let (mut wal, _) = Wal::open(folder.path(), &limits, 0, &Metrics::default()).unwrap();
        let mut n = 0;
        let error = loop {
            if wal.due() {
                wal.rotate().unwrap();
            }
            match wal.append(&batch(n, 100), false) {
                Ok(_) => n += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert!(wal.bytes() <= 6000);
        wal.rotate().unwrap();
        wal.release(wal.position()).unwrap();
        wal.append(&batch(n, 100), false).unwrap();
    }

    #[test]
    fn a_file_that_is_written_again_shows_nothing_of_what_it_held() {
        let folder = tempfile::tempdir().unwrap();
        let limits = WalLimits {
            max_bytes: 1 << 20,
            ..small()
        };
        let (mut wal, _) = Wal::open(folder.path(), &limits, 0, &Metrics::default()).unwrap();
        let files = || {
            let names = fs::read_dir(folder.path()).unwrap();
            names
                .map(|e| e.unwrap().file_name().into_string().unwrap())
                .collect::<Vec<_>>()
        };
        for i in 0..200 {
            if wal.due() {
                wal.rotate().unwrap();
            }
            wal.append(&batch(i, 100), false).unwrap();
            let spares = files().iter().filter(|f| f.ends_with(".spare")).count();
            assert!(spares <= 4);
            if i % 40 == 39 {
                wal.release(wal.position()).unwrap();
                // As after a kill: what follows the last record is what the file held before.
                let (found, replayed) = numbers(folder.path(), 0);
                assert!(found.iter().all(|(n, _)| *n <= i) && found.len() < 40);
                assert_eq!((replayed.damaged, replayed.end), (0, wal.position()));
            }
        }
        drop(wal);
        let (mut wal, position) = Wal::open(folder.path(), &limits, 0, &Metrics::default()).unwrap();
        wal.append(&batch(200, 1), false).unwrap();
        let (found, replayed) = numbers(folder.path(), 0);
        assert_eq!(found.last().map(|(n, _)| *n), Some(200));
        assert!(replayed.end > position);
        // Those that nobody writes again do not stay.
        wal.set_limits(&WalLimits {
            segment_seconds: 0,
            ..limits
        });
        wal.tidy();
        assert!(!files().iter().any(|f| f.ends_with(".spare")));
    }

    #[test]
    fn one_process_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let _held = Wal::take_lock(folder.path()).unwrap();
        let other = File::options()
            .write(true)
            .open(folder.path().join("lock"))
            .unwrap();
        assert!(rustix::fs::flock(&other, FlockOperation::NonBlockingLockExclusive).is_err());
    }

    #[test]
    fn those_who_wait_are_told_after_the_sync() {
        let folder = tempfile::tempdir().unwrap();
        let metrics = Metrics::default();
        let (mut wal, _) = Wal::open(folder.path(), &small(), 0, &metrics).unwrap();
        let syncer = Arc::clone(wal.syncer());
        let mailbox = Arc::new(super::super::queue::Mailbox::new().unwrap());
        let thread = {
            let syncer = Arc::clone(&syncer);
            std::thread::spawn(move || syncer.run())
        };
        let mut got = Vec::new();
        for i in 0..40 {
            if wal.due() {
                wal.rotate().unwrap();
            }
            let position = wal.append(&batch(i, 100), false).unwrap();
            let mut confirm = vec![Confirm {
                to: Arc::clone(&mailbox),
                connection: 1,
                mark: i,
            }];
            syncer.written(position, &mut confirm);
        }
        assert_eq!(syncer.flush().unwrap(), wal.position());
        while got.len() < 40 {
            let mut some = Vec::new();
            mailbox.take(&mut some);
            got.extend(some.iter().map(|c| c.mark));
        }
        assert_eq!(got, (0..40).collect::<Vec<_>>());
        syncer.stop();
        thread.join().unwrap();
        assert_eq!(metrics.get("seismolog_confirmed_total"), 40);
        assert_eq!(metrics.get("seismolog_waiting_confirmations"), 0);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn cut_anywhere_every_whole_record_before_is_there(n in 1u64..12, cut in 0.0f64..1.0, noise in any::<bool>()) {
            let folder = tempfile::tempdir().unwrap();
            let limits = WalLimits::default();
            let positions = filled(folder.path(), &limits, n);
            let path = segments(folder.path()).unwrap()[0].1.clone();
            let length = fs::metadata(&path).unwrap().len();
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
            let keep = (length as f64 * cut) as u64;
            let file = File::options().write(true).open(&path).unwrap();
            file.set_len(keep).unwrap();
            if noise {
                write_all(&file, &[&[0xff; 77]], keep).unwrap();
            }
            drop(file);
            let whole: Vec<u64> = (0..n).filter(|&i| positions[usize::try_from(i).unwrap()] <= keep).collect();
            let found: Vec<u64> = numbers(folder.path(), 0).0.iter().map(|(i, _)| *i).collect();
            prop_assert_eq!(&found, &whole);
            // Opened again, the log goes on behind them.
            let (mut wal, _) = Wal::open(folder.path(), &limits, 0, &Metrics::default()).unwrap();
            wal.append(&batch(99, 5), false).unwrap();
            let found: Vec<u64> = numbers(folder.path(), 0).0.iter().map(|(i, _)| *i).collect();
            prop_assert_eq!(found, whole.into_iter().chain([99]).collect::<Vec<_>>());
        }

        #[test]
        fn a_changed_bit_is_seen(at in 32usize..2000, bit in 0u8..8) {
            let folder = tempfile::tempdir().unwrap();
            let positions = filled(folder.path(), &WalLimits::default(), 12);
            let path = segments(folder.path()).unwrap()[0].1.clone();
            let mut bytes = fs::read(&path).unwrap();
            let at = at.min(bytes.len() - 1);
            bytes[at] ^= 1 << bit;
            fs::write(&path, &bytes).unwrap();
            let (found, replayed) = numbers(folder.path(), 0);
            let whole = positions.iter().filter(|p| **p <= at as u64).count();
            prop_assert_eq!(found.len(), whole);
            prop_assert!(replayed.tail > 0);
        }
    }
}
