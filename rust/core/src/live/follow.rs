//! Follows files that grow: no line lost, none twice, over rotation and restarts.
//!
//! A file is known by its device, inode and a hash of its first bytes, never by its name alone. How far
//! it was read is logged in one piece with the lines (see [`super::wal`]), so that a crash cannot part
//! them. What happens to it:
//!
//! - *renamed* (`mail.log` -> `mail.log.1`): the open file is read until nothing was added for
//!   `rotated_seconds`, since its writer may keep it open; the new file is read from its beginning;
//! - *copied and truncated*: seen by its length or its changed head. What had not been read of the old
//!   text is read from the copy, found beside it by its head, plain or compressed;
//! - *compressed after rotation*: nothing, as the open file is read to its end; after a restart the rest
//!   is read from the compressed file, found by its head;
//! - *several rotations while nobody looked*: the file last read is found by its head, and the rotated
//!   files younger than it are read in order.
//!
//! The system tells of changes (inotify on the folders); without it, as on network file systems, files
//! are looked at four times a second.
//!
//! Limits: lines that were added between the copying and the truncating of `copytruncate` are lost to
//! everybody. A half line waits for its end, and is a line when its file was rotated. Compressed files
//! and rotated ones that a pattern names are not followed. Rotated files are looked for in the same
//! folder under names like `mail.log.1`, `mail.log-20261125.gz`.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;
use xxhash_rust::xxh3::xxh3_64;

use super::batch::now_us;
use super::feed::{FULL, Feed, Numbers, ROOM};
use super::framing::Framer;
use super::glob;
use super::logger::{Log, NOTHING};
use super::metrics::{Counter, Gauge, Metrics};
use super::queue::lock;
use crate::archive::source::{Source, read_full};
use crate::error::Result;

/// The shortest time between two looks.
const CALM: Duration = Duration::from_millis(20);
/// How often is looked without being told.
const LOOK: Duration = Duration::from_secs(1);
const LOOK_UNTOLD: Duration = Duration::from_millis(250);
/// How often patterns are resolved again without being told.
const RESOLVE: Duration = Duration::from_secs(2);
/// Bytes of a file's head that its hash covers at most.
const HEAD: usize = 1024;
/// For how long, and how many, finished files of a path are looked at for what their writer adds too late.
const LOOK_BACK: Duration = Duration::from_secs(600);
const LOOKED_BACK: usize = 4;
/// At the very first start, the last line feed is looked for in so many bytes.
const TAIL: u64 = 1 << 20;

/// What a file is and how far it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    device: u64,
    inode: u64,
    /// Bytes of the head that are hashed.
    head: u32,
    hash: u64,
    /// Everything before it was logged.
    offset: u64,
}

const MARK: usize = 36;

impl Mark {
    fn save(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.device.to_le_bytes());
        out.extend_from_slice(&self.inode.to_le_bytes());
        out.extend_from_slice(&self.head.to_le_bytes());
        out.extend_from_slice(&self.hash.to_le_bytes());
        out.extend_from_slice(&self.offset.to_le_bytes());
    }

    fn load(bytes: &[u8; MARK]) -> Mark {
        let word = |at: usize| {
            bytes
                .get(at..at + 8)
                .and_then(|b| b.try_into().ok())
                .map_or(0, u64::from_le_bytes)
        };
        Mark {
            device: word(0),
            inode: word(8),
            head: u32::from_le_bytes([bytes[16], bytes[17], bytes[18], bytes[19]]),
            hash: word(20),
            offset: word(28),
        }
    }

    /// Whether a text that begins so is this file's.
    fn fits(&self, head: &[u8]) -> bool {
        head.get(..self.head as usize)
            .is_some_and(|h| xxh3_64(h) == self.hash)
    }
}

/// An open file.
struct Open {
    file: File,
    mark: Mark,
    /// Bytes that were read; past `mark.offset` by the half line.
    read: u64,
    framer: Framer,
    grown: Instant,
}

impl Open {
    fn at(path: &Path, offset: u64) -> std::io::Result<Open> {
        let file = File::open(path)?;
        let found = file.metadata()?;
        let mut open = Open {
            file,
            mark: Mark {
                device: found.dev(),
                inode: found.ino(),
                head: 0,
                hash: xxh3_64(&[]),
                offset,
            },
            read: offset,
            framer: Framer::lines(),
            grown: Instant::now(),
        };
        open.look_at_head()?;
        Ok(open)
    }

    fn head(&self) -> std::io::Result<Vec<u8>> {
        let mut head = vec![0; HEAD];
        let mut n = 0;
        while n < HEAD {
            match self
                .file
                .read_at(head.get_mut(n..).unwrap_or_default(), n as u64)?
            {
                0 => break,
                more => n += more,
            }
        }
        head.truncate(n);
        Ok(head)
    }

    /// False: the text is another one than before. A head that has grown is remembered longer.
    fn look_at_head(&mut self) -> std::io::Result<bool> {
        let head = self.head()?;
        if !self.mark.fits(&head) {
            return Ok(false);
        }
        if head.len() > self.mark.head as usize {
            self.mark.head = u32::try_from(head.len()).unwrap_or(u32::MAX);
            self.mark.hash = xxh3_64(&head);
        }
        Ok(true)
    }
}

/// One path.
struct Followed {
    path: PathBuf,
    source: u32,
    numbers: Numbers,
    current: Option<Open>,
    /// Rotated ones that may still grow.
    old: Vec<Open>,
    /// Finished ones, with the length that was read: looked at for a while, to tell whether they were let go too early.
    gone: VecDeque<(File, u64, Instant)>,
    /// How far the files of this path were read before a restart, until that is taken up.
    saved: Option<Vec<Mark>>,
}

impl Followed {
    fn state(&self) -> Vec<u8> {
        self.state_with(&[])
    }

    /// The state while files that are not open are read.
    fn state_with(&self, others: &[Mark]) -> Vec<u8> {
        let mut out = Vec::new();
        let open = self.old.iter().chain(&self.current).map(|open| &open.mark);
        for mark in others.iter().chain(open) {
            mark.save(&mut out);
        }
        if out.is_empty() {
            out.extend_from_slice(NOTHING);
        }
        out
    }
}

/// All files of one listener.
pub(super) struct Follower {
    pub name: String,
    pub patterns: Vec<String>,
    pub from_start: bool,
    pub most: usize,
    pub feed: Arc<Feed>,
    pub log: Arc<Mutex<Log>>,
    pub metrics: Metrics,
    pub closed: Arc<AtomicBool>,
    files: Vec<Followed>,
    watch: Option<OwnedFd>,
    watched: Vec<PathBuf>,
    followed: Gauge,
    refused: Counter,
    rotations: Counter,
    recovered: Counter,
    late: Counter,
}

/// Whether a name is that of a rotated or compressed log.
fn rotated(name: &[u8]) -> bool {
    let plain = [&b".gz"[..], b".xz", b".bz2", b".zst", b".Z"]
        .iter()
        .find_map(|end| name.strip_suffix(*end));
    let stem = plain.unwrap_or(name);
    let digits = stem
        .iter()
        .rev()
        .take_while(|c| c.is_ascii_digit() || matches!(c, b'-' | b'.' | b'_'))
        .count();
    let suffix = stem.get(stem.len() - digits..).unwrap_or_default();
    plain.is_some()
        || matches!(suffix.first(), Some(b'.' | b'-' | b'_')) && suffix.iter().any(u8::is_ascii_digit)
}

impl Follower {
    #[allow(clippy::too_many_arguments)] // what a listener is made of
    pub fn new(
        name: &str,
        patterns: &[String],
        from_start: bool,
        most: usize,
        feed: &Arc<Feed>,
        log: &Arc<Mutex<Log>>,
        metrics: &Metrics,
        closed: &Arc<AtomicBool>,
    ) -> Follower {
        let watch = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK).ok();
        Follower {
            name: name.to_owned(),
            patterns: patterns.to_vec(),
            from_start,
            most,
            feed: Arc::clone(feed),
            log: Arc::clone(log),
            metrics: metrics.clone(),
            closed: Arc::clone(closed),
            files: Vec::new(),
            watch,
            watched: Vec::new(),
            followed: metrics.gauge("seismolog_followed_files"),
            refused: metrics.counter("seismolog_refused_files_total"),
            rotations: metrics.counter("seismolog_rotations_total"),
            recovered: metrics.counter("seismolog_rotated_bytes_recovered_total"),
            late: metrics.counter("seismolog_rotated_bytes_late_total"),
        }
    }

    fn ending(&self) -> bool {
        self.feed.ending() || self.closed.load(Ordering::Relaxed)
    }

    /// Opens what is there now. Afterwards everything that is added is read.
    ///
    /// # Errors
    /// The log cannot be written.
    pub fn begin(&mut self) -> Result<()> {
        let known = {
            let mut log = lock(&self.log);
            let own = log.source(&self.name)?;
            let known = log.memory.resumes.contains_key(&own);
            if !known {
                log.wal
                    .append_resume(own, b"1")
                    .map_err(|source| crate::error::Error::Io {
                        what: "write-ahead log".to_owned(),
                        source,
                    })?;
                log.memory.resume(own, b"1");
            }
            known
        };
        self.resolve(!known && !self.from_start);
        Ok(())
    }

    /// Follows until the end.
    pub fn run(&mut self) {
        let mut looked = Instant::now();
        let mut resolved = Instant::now();
        loop {
            let told = self.wait();
            if self.ending() {
                // What is there is read once more; half lines wait in their files.
                self.pass();
                self.followed.sub(self.files.len() as u64);
                return;
            }
            let every = if self.watch.is_some() { LOOK } else { LOOK_UNTOLD };
            if told || looked.elapsed() >= every {
                looked = Instant::now();
                if !self.pass() {
                    return;
                }
            }
            if told && resolved.elapsed() >= CALM || resolved.elapsed() >= RESOLVE {
                resolved = Instant::now();
                self.resolve(false);
            }
        }
    }

    /// Waits for news; true: something has changed.
    fn wait(&mut self) -> bool {
        std::thread::sleep(CALM);
        let Some(watch) = &self.watch else {
            std::thread::sleep(LOOK_UNTOLD.saturating_sub(CALM));
            return false;
        };
        let tick = Timespec {
            tv_sec: 0,
            tv_nsec: 200_000_000,
        };
        let mut fds = [PollFd::new(watch, PollFlags::IN)];
        if !matches!(poll(&mut fds, Some(&tick)), Ok(n) if n > 0) {
            return false;
        }
        // What has changed is seen by looking; here it is only taken off.
        let mut buffer = [0u8; 4096];
        while rustix::io::read(watch, &mut buffer).is_ok_and(|n| n > 0) {}
        true
    }

    /// Looks which files the patterns mean now.
    fn resolve(&mut self, at_end: bool) {
        let mut folders = Vec::new();
        let mut paths: Vec<PathBuf> = self
            .patterns
            .iter()
            .flat_map(|pattern| glob::files(Path::new(pattern), &mut folders))
            .collect();
        paths.sort();
        paths.dedup();
        folders.sort();
        folders.dedup();
        for folder in folders {
            if !self.watched.contains(&folder)
                && let Some(watch) = &self.watch
            {
                use inotify::WatchFlags as F;
                let what = F::CREATE | F::MODIFY | F::MOVED_TO | F::MOVED_FROM | F::DELETE;
                if inotify::add_watch(watch, &folder, what).is_ok() {
                    self.watched.push(folder);
                }
            }
        }
        for path in paths {
            if self.files.iter().any(|f| f.path == path) {
                continue;
            }
            let literal = self.patterns.iter().any(|p| Path::new(p) == path);
            let name = path.file_name().map(OsStrExt::as_bytes).unwrap_or_default();
            if !literal && rotated(name) {
                continue;
            }
            if self.files.len() >= self.most {
                self.refused.add(1);
                let message = format!(
                    "{}: more than live.followed_files ({})",
                    path.display(),
                    self.most
                );
                self.metrics.trouble(&self.name, Some(message));
                continue;
            }
            self.take_up(path, at_end);
        }
        // What is gone and read to its end needs no place.
        let before = self.files.len();
        self.files
            .retain(|f| f.saved.is_some() || f.current.is_some() || !f.old.is_empty() || f.path.exists());
        self.followed.sub((before - self.files.len()) as u64);
    }

    /// Begins with a path, or goes on with it.
    fn take_up(&mut self, path: PathBuf, at_end: bool) {
        let name = format!("file {}", path.display());
        let (source, saved) = {
            let mut log = lock(&self.log);
            let Ok(source) = log.source(&name) else {
                return; // the log is full; the next look tries again
            };
            (source, log.memory.resumes.get(&source).cloned())
        };
        let mut followed = Followed {
            numbers: Numbers::new(&self.metrics, &name),
            path,
            source,
            current: None,
            old: Vec::new(),
            gone: VecDeque::new(),
            saved: saved.map(|s| s.as_chunks::<MARK>().0.iter().map(Mark::load).collect()),
        };
        if followed.saved.is_none() {
            followed.current = Open::at(&followed.path, 0).ok();
            if at_end && let Some(open) = &mut followed.current {
                open.mark.offset = after_last_line(&open.file);
                open.read = open.mark.offset;
            }
            // Where it stands is known from now on, even if nothing is added.
            self.tell(&followed);
        }
        self.files.push(followed);
        self.followed.add(1);
    }

    /// Logs how far the files of a path were read. False: reception stops.
    fn tell(&self, followed: &Followed) -> bool {
        let mut batch = self.feed.batch(followed.source);
        batch.resume = Some(followed.state());
        self.feed.push(batch)
    }

    /// Goes on after a restart: with what is at the path if it is the same file, after what was rotated
    /// meanwhile.
    fn go_on(&self, followed: &mut Followed, marks: &[Mark]) -> bool {
        let now = Open::at(&followed.path, 0).ok();
        let head = now.as_ref().and_then(|open| open.head().ok()).unwrap_or_default();
        let size = now
            .as_ref()
            .and_then(|open| open.file.metadata().ok())
            .map_or(0, |m| m.len());
        let mut at = 0;
        for (i, mark) in marks.iter().enumerate() {
            let rest = marks.get(i + 1..).unwrap_or_default();
            let same = now.as_ref().is_some_and(|open| {
                open.mark.device == mark.device && open.mark.inode == mark.inode && size >= mark.offset
            }) && mark.fits(&head);
            if same {
                at = mark.offset;
            } else if !self.catch_up(followed, mark, rest, rest.is_empty()) {
                return false;
            }
        }
        followed.current = now.map(|mut open| {
            open.mark.offset = at;
            open.read = at;
            open
        });
        self.tell(followed)
    }

    /// Reads what was not read of a rotated file, and of those rotated after it (which only the last
    /// known one's can be new). `rest`: what is to be gone on with afterwards.
    fn catch_up(&self, followed: &Followed, mark: &Mark, rest: &[Mark], with_younger: bool) -> bool {
        let mut found = beside(&followed.path);
        let Some(at) = found
            .iter()
            .position(|other| mark.fits(&other.head) && (mark.head > 0 || other.inode == mark.inode))
        else {
            return true;
        };
        let younger = found.split_off(at + 1);
        let Some(own) = found.pop() else { return true };
        if !self.read_rest(followed, &own.path, *mark, rest) {
            return false;
        }
        if with_younger {
            let mut read = vec![own.head];
            for other in younger {
                // `.1` beside `.1.gz` is one file.
                if read.contains(&other.head) {
                    continue;
                }
                let mark = Mark {
                    device: other.device,
                    inode: other.inode,
                    head: u32::try_from(other.head.len()).unwrap_or(0),
                    hash: xxh3_64(&other.head),
                    offset: 0,
                };
                if !self.read_rest(followed, &other.path, mark, rest) {
                    return false;
                }
                read.push(other.head);
            }
        }
        true
    }

    /// Reads a file that grows no more, from an offset of its text on. False: reception stops.
    fn read_rest(&self, followed: &Followed, path: &Path, mut mark: Mark, rest: &[Mark]) -> bool {
        let opened = Source::look(path).and_then(|s| s.open(&Arc::new(AtomicU64::new(0))));
        let mut stream = match opened {
            Ok(stream) => stream,
            Err(error) => {
                self.metrics.trouble(&self.name, Some(error.to_string()));
                return true;
            }
        };
        if std::io::copy(&mut stream.by_ref().take(mark.offset), &mut std::io::sink()).is_err() {
            return true;
        }
        let mut framer = Framer::lines();
        let mut buffer = vec![0; ROOM / 2];
        let mut text = mark.offset;
        loop {
            let n = match read_full(&mut stream, &mut buffer) {
                Ok(n) => n,
                Err(error) => {
                    let message = format!("{}: {error}", path.display());
                    self.metrics.trouble(&self.name, Some(message));
                    0
                }
            };
            let mut batch = self.feed.batch(followed.source);
            let most = self.feed.most();
            framer.carry(&mut batch.bytes);
            batch.bytes.extend_from_slice(buffer.get(..n).unwrap_or_default());
            let (mut found, _) = framer.take(&mut batch.bytes, 0, most);
            if n == 0 {
                let last = framer.finish(&mut batch.bytes, most);
                found.lines += last.lines;
            }
            batch.lines = found.lines;
            text += n as u64;
            mark.offset = text - framer.waiting() as u64;
            let marks: Vec<Mark> = std::iter::once(mark).chain(rest.iter().copied()).collect();
            batch.resume = Some(followed.state_with(&marks));
            self.recovered.add(n as u64);
            count(&followed.numbers, n, found.lines, found.too_long);
            if !self.feed.push(batch) {
                return false;
            }
            if n == 0 {
                return true;
            }
        }
    }

    /// Reads what was added everywhere. False: reception stops.
    fn pass(&mut self) -> bool {
        let mut files = std::mem::take(&mut self.files);
        let well = files.iter_mut().all(|followed| self.look(followed));
        self.files = files;
        well
    }

    fn look(&self, followed: &mut Followed) -> bool {
        if let Some(marks) = followed.saved.take()
            && !self.go_on(followed, &marks)
        {
            return false;
        }
        let mut changed = false;
        // Rotated ones first: their lines are older.
        for i in 0..followed.old.len() {
            if !self.read(followed, Some(i)) {
                return false;
            }
        }
        let there = fs::metadata(&followed.path).ok();
        if let Some(open) = &mut followed.current {
            let same = there
                .as_ref()
                .is_some_and(|m| m.dev() == open.mark.device && m.ino() == open.mark.inode);
            let size = open.file.metadata().map_or(0, |m| m.len());
            let intact = size >= open.read && (size == open.read || open.look_at_head().unwrap_or(false));
            if !intact {
                // Copied and truncated.
                self.rotations.add(1);
                let mark = open.mark;
                followed.current = None;
                if !self.catch_up(followed, &mark, &[], false) {
                    return false;
                }
                followed.current = Open::at(&followed.path, 0).ok();
                changed = true;
            }
            if !self.read(followed, None) {
                return false;
            }
            if !same && let Some(open) = followed.current.take_if(|_| intact) {
                self.rotations.add(1);
                followed.old.push(open);
                changed = true;
            }
        }
        if followed.current.is_none() && there.is_some() {
            followed.current = Open::at(&followed.path, 0).ok();
            changed = true;
            if !self.read(followed, None) {
                return false;
            }
        }
        let patience = self.feed.rotated();
        let finished: Vec<Open> = followed
            .old
            .extract_if(.., |open| open.grown.elapsed() > patience)
            .collect();
        self.look_back(followed);
        for mut open in finished {
            let mut batch = self.feed.batch(followed.source);
            let last = open.framer.finish(&mut batch.bytes, self.feed.most());
            batch.lines = last.lines;
            batch.resume = Some(followed.state());
            count(&followed.numbers, 0, last.lines, last.too_long);
            if !self.feed.push(batch) {
                return false;
            }
            changed = false;
            followed.gone.push_back((open.file, open.read, Instant::now()));
        }
        !changed || self.tell(followed)
    }

    /// Counts what was added to files after they were finished.
    fn look_back(&self, followed: &mut Followed) {
        for (file, read, _) in &mut followed.gone {
            let size = file.metadata().map_or(0, |found| found.len());
            self.late.add(size.saturating_sub(*read));
            *read = size.max(*read);
        }
        while followed.gone.len() > LOOKED_BACK
            || (followed.gone.front()).is_some_and(|(_, _, since)| since.elapsed() > LOOK_BACK)
        {
            followed.gone.pop_front();
        }
    }

    /// Reads one open file to its end. `which`: of the rotated ones; none: the current one.
    fn read(&self, followed: &mut Followed, which: Option<usize>) -> bool {
        let most = self.feed.most();
        loop {
            let source = followed.source;
            let open = match which {
                Some(i) => followed.old.get_mut(i),
                None => followed.current.as_mut(),
            };
            let Some(open) = open else { return true };
            let mut batch = self.feed.batch(source);
            let mut end = false;
            let mut sum = 0;
            while !end && batch.bytes.len() < FULL {
                let start = batch.bytes.len();
                open.framer.carry(&mut batch.bytes);
                batch.bytes.reserve(ROOM / 4);
                let room = rustix::buffer::spare_capacity(&mut batch.bytes);
                let n = rustix::io::pread(&open.file, room, open.read).unwrap_or(0);
                let (found, _) = open.framer.take(&mut batch.bytes, start, most);
                batch.lines += found.lines;
                open.read += n as u64;
                sum += n;
                end = n == 0;
                count(&followed.numbers, n, found.lines, found.too_long);
            }
            if sum == 0 {
                self.feed.spare.give(batch.bytes);
                return true;
            }
            open.grown = Instant::now();
            open.mark.offset = open.read - open.framer.waiting() as u64;
            if (open.mark.head as usize) < HEAD {
                // Another text in this moment: the next look sees that too.
                let _ = open.look_at_head();
            }
            if batch.lines == 0 {
                self.feed.spare.give(batch.bytes);
                return true;
            }
            batch.received_us = now_us();
            batch.resume = Some(followed.state());
            if !self.feed.push(batch) {
                return false;
            }
            if end || self.feed.stopping() {
                return true;
            }
        }
    }
}

fn count(numbers: &Numbers, bytes: usize, lines: u32, too_long: u32) {
    numbers.bytes.add(bytes as u64);
    numbers.lines.add(u64::from(lines));
    numbers.too_long.add(u64::from(too_long));
}

/// A rotated file.
struct Rotated {
    changed: SystemTime,
    path: PathBuf,
    head: Vec<u8>,
    device: u64,
    inode: u64,
}

/// The rotated files beside a log, oldest first.
fn beside(path: &Path) -> Vec<Rotated> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let other = entry.file_name();
        let Some(suffix) = other.as_bytes().strip_prefix(name.as_bytes()) else {
            continue;
        };
        if suffix.is_empty() || !rotated(suffix) {
            continue;
        }
        let (Ok(meta), Ok(source)) = (entry.metadata(), Source::look(&entry.path())) else {
            continue;
        };
        let Ok(mut stream) = source.open(&Arc::new(AtomicU64::new(0))) else {
            continue;
        };
        let mut head = vec![0; HEAD];
        let Ok(n) = read_full(&mut stream, &mut head) else {
            continue;
        };
        head.truncate(n);
        found.push(Rotated {
            changed: meta.modified().unwrap_or(SystemTime::UNIX_EPOCH),
            path: entry.path(),
            head,
            device: meta.dev(),
            inode: meta.ino(),
        });
    }
    found.sort_by(|a, b| (a.changed, &a.path).cmp(&(b.changed, &b.path)));
    found
}

/// The offset after the last whole line.
fn after_last_line(file: &File) -> u64 {
    let size = file.metadata().map_or(0, |m| m.len());
    let start = size.saturating_sub(TAIL);
    let mut tail = vec![0; usize::try_from(size - start).unwrap_or(0)];
    match file.read_exact_at(&mut tail, start) {
        Ok(()) => memchr::memrchr(b'\n', &tail).map_or(start, |at| start + at as u64 + 1),
        Err(_) => size,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_rotated_files() {
        for (name, is) in [
            (".1", true),
            (".2.gz", true),
            ("-20261125", true),
            ("-20261125.xz", true),
            (".gz", true),
            ("mail.log", false),
            ("queries.log.0", true),
            (".old", false),
        ] {
            assert_eq!(rotated(name.as_bytes()), is, "{name}");
        }
    }

    #[test]
    fn a_mark_comes_back() {
        let mark = Mark {
            device: 1,
            inode: 2,
            head: 3,
            hash: xxh3_64(b"abc"),
            offset: 5,
        };
        let mut out = Vec::new();
        mark.save(&mut out);
        assert_eq!(Mark::load(out.as_slice().try_into().unwrap()), mark);
        assert!(mark.fits(b"abcd") && !mark.fits(b"ab") && !mark.fits(b"abd"));
    }
}
