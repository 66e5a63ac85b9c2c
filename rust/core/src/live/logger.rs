//! The log thread: takes batches from the queue, drops lines sent twice, appends, hands on to counting.
//!
//! One thread, so that the order in the log is the order of arrival. What it knows (the log, remembered
//! ids, names of sources, where files are to be read on) stands behind one lock, which is free but for
//! the moments when a snapshot asks for the state or releases files.
//!
//! Counting is not waited for, within a bound: see [`super::behind`].
//!
//! When the disk or the log is full it waits and tries again: the queue fills and reception pauses;
//! nothing is lost and nothing confirmed that is not there.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::batch::{Batch, Logged};
use super::behind::Behind;
use super::ids::Ids;
use super::metrics::{Counter, Gauge, Metrics};
use super::queue::{Pool, Popped, Queue, lock};
use super::sources::Sources;
use super::wal::{Syncer, Wal};
use crate::error::{Error, Result};

/// How often a full disk is tried again, and how often a waiting thread looks whether to stop.
pub(super) const TICK: Duration = Duration::from_millis(200);

/// The resume state of a source that has nothing to go on with.
pub(super) const NOTHING: &[u8] = &[0];

const STATE: [u8; 8] = *b"SEISTAT1";

/// What must be known again after a restart.
pub(super) struct Memory {
    pub ids: Ids,
    pub sources: Sources,
    /// Source -> its own state.
    pub resumes: BTreeMap<u32, Vec<u8>>,
}

impl Memory {
    pub fn new(remembered: usize) -> Self {
        Memory {
            ids: Ids::new(remembered),
            sources: Sources::default(),
            resumes: BTreeMap::new(),
        }
    }

    pub fn resume(&mut self, source: u32, state: &[u8]) {
        if state == NOTHING {
            self.resumes.remove(&source);
        } else if self.resumes.get(&source).is_none_or(|old| old != state) {
            self.resumes.insert(source, state.to_vec());
        }
    }

    /// The serialized form: magic, names, resume states, ids.
    pub fn save(&self) -> Vec<u8> {
        let mut out = STATE.to_vec();
        let names: Vec<(u32, &str)> = self.sources.iter().filter(|(_, name)| !name.is_empty()).collect();
        put(&mut out, names.len());
        for (number, name) in names {
            put(&mut out, number as usize);
            put(&mut out, name.len());
            out.extend_from_slice(name.as_bytes());
        }
        put(&mut out, self.resumes.len());
        for (source, state) in &self.resumes {
            put(&mut out, *source as usize);
            put(&mut out, state.len());
            out.extend_from_slice(state);
        }
        put(&mut out, self.ids.len());
        self.ids.save(&mut out);
        out
    }

    /// Takes what [`Memory::save`] wrote; empty: nothing.
    pub fn load(&mut self, bytes: &[u8]) -> Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.read(bytes).ok_or_else(|| Error::Io {
            what: "state of reception in the snapshot".to_owned(),
            source: io::Error::new(io::ErrorKind::InvalidData, "is damaged or of another version"),
        })
    }

    fn read(&mut self, bytes: &[u8]) -> Option<()> {
        let mut rest = bytes.strip_prefix(&STATE)?;
        for _ in 0..get(&mut rest)? {
            let number = get(&mut rest)?;
            let name = part(&mut rest)?;
            self.sources.put(number, std::str::from_utf8(name).ok()?);
        }
        for _ in 0..get(&mut rest)? {
            let source = get(&mut rest)?;
            let state = part(&mut rest)?;
            self.resumes.insert(source, state.to_vec());
        }
        let ids = get(&mut rest)? as usize;
        if rest.len() != ids.checked_mul(16)? {
            return None;
        }
        self.ids.load(rest);
        Some(())
    }
}

fn put(out: &mut Vec<u8>, number: usize) {
    out.extend_from_slice(&u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes());
}

fn get(rest: &mut &[u8]) -> Option<u32> {
    let (number, after) = rest.split_first_chunk::<4>()?;
    *rest = after;
    Some(u32::from_le_bytes(*number))
}

fn part<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = get(rest)? as usize;
    let (part, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(part)
}

/// The log with what belongs to it.
pub(super) struct Log {
    pub wal: Wal,
    pub memory: Memory,
}

impl Log {
    /// The number of a source; a new one is written down.
    pub fn source(&mut self, name: &str) -> Result<u32> {
        let (number, new) = self.memory.sources.number(name);
        if new {
            self.wal.append_source(number, name).map_err(|source| Error::Io {
                what: "write-ahead log".to_owned(),
                source,
            })?;
        }
        Ok(number)
    }

    /// Begins another file where the current one is full, and writes down there what must outlive those
    /// before it.
    fn make_room(&mut self) -> io::Result<()> {
        if self.wal.due() {
            self.wal.rotate().map_err(io::Error::other)?;
            self.repeat()?;
        }
        Ok(())
    }

    /// Writes down what every file of the log must hold: names of sources, and where each is to be read
    /// on.
    pub fn repeat(&mut self) -> io::Result<()> {
        for (number, name) in self.memory.sources.iter() {
            self.wal.append_source(number, name)?;
        }
        for (source, state) in &self.memory.resumes {
            self.wal.append_resume(*source, state)?;
        }
        Ok(())
    }

    fn append(&mut self, batch: &Batch, confirmed: bool) -> io::Result<u64> {
        self.make_room()?;
        let position = self.wal.append(batch, confirmed)?;
        if let Some(state) = &batch.resume {
            self.memory.resume(batch.source, state);
        }
        Ok(position)
    }
}

/// The thread's parts.
pub(super) struct Logger {
    pub log: Arc<Mutex<Log>>,
    pub syncer: Arc<Syncer>,
    pub queue: Arc<Queue<Batch>>,
    pub logged: Arc<Queue<Logged>>,
    pub behind: Arc<Behind>,
    /// Where buffers go that are not handed on.
    pub spare: Arc<Pool>,
    /// Give up waiting: the process ends without what is not logged.
    pub stop: Arc<AtomicBool>,
    pub metrics: Metrics,
    pub lines: Counter,
    pub duplicates: Counter,
    pub errors: Counter,
    pub paused: Gauge,
}

impl Logger {
    pub fn new(
        log: &Arc<Mutex<Log>>,
        queue: &Arc<Queue<Batch>>,
        logged: &Arc<Queue<Logged>>,
        behind: &Arc<Behind>,
        spare: &Arc<Pool>,
        stop: &Arc<AtomicBool>,
        metrics: &Metrics,
    ) -> Self {
        Logger {
            syncer: Arc::clone(lock(log).wal.syncer()),
            log: Arc::clone(log),
            queue: Arc::clone(queue),
            logged: Arc::clone(logged),
            behind: Arc::clone(behind),
            spare: Arc::clone(spare),
            stop: Arc::clone(stop),
            metrics: metrics.clone(),
            lines: metrics.counter("seismolog_logged_lines_total"),
            duplicates: metrics.counter("seismolog_duplicate_lines_total"),
            errors: metrics.counter("seismolog_wal_errors_total"),
            paused: metrics.gauge("seismolog_paused"),
        }
    }

    /// Logs until the queue is closed and empty; then closes the queue of logged lines.
    pub fn run(&self) {
        loop {
            match self.queue.pop(Duration::from_secs(1)) {
                Popped::Some(batch) => {
                    if !self.take(batch) {
                        break;
                    }
                }
                Popped::Timeout => {
                    lock(&self.log).wal.tidy();
                    if self.stop.load(Ordering::Relaxed) {
                        break;
                    }
                }
                Popped::Closed => break,
            }
        }
        self.logged.close();
    }

    /// False: stop.
    fn take(&self, mut batch: Batch) -> bool {
        let mut confirm = std::mem::take(&mut batch.confirm);
        let confirmed = !confirm.is_empty();
        if confirmed {
            let dropped = lock(&self.log).memory.ids.drop_known(&mut batch.bytes);
            batch.lines = batch.lines.saturating_sub(dropped);
            self.duplicates.add(u64::from(dropped));
        }
        if batch.bytes.is_empty() && batch.resume.is_none() {
            // All of it was there before; it is confirmed when that is on disk.
            let position = lock(&self.log).wal.position();
            self.syncer.written(position, &mut confirm);
            return true;
        }
        let position = loop {
            // A log that cannot be trusted takes nothing more: its end may be on no disk.
            let result = match self.syncer.failed() {
                Some(message) => Err(io::Error::other(message)),
                None => lock(&self.log).append(&batch, confirmed),
            };
            match result {
                Ok(position) => break position,
                Err(error) => {
                    self.errors.add(1);
                    if self.paused.get() == 0 {
                        self.paused.set(1);
                    }
                    self.metrics.trouble(
                        "wal",
                        Some(format!("nothing is received until this is mended: {error}")),
                    );
                    std::thread::sleep(TICK);
                    if self.stop.load(Ordering::Relaxed) {
                        return false;
                    }
                }
            }
        };
        if self.paused.get() != 0 {
            self.paused.set(0);
            self.metrics.trouble("wal", None);
        }
        self.lines.add(u64::from(batch.lines));
        self.syncer.written(position, &mut confirm);
        let mut logged = Logged {
            position,
            received_us: batch.received_us,
            source: batch.source,
            lines: batch.lines,
            bytes: batch.bytes,
        };
        if self.behind.most > 0 {
            return self.behind.wait(position, &self.stop)
                && self
                    .logged
                    .put(logged, |logged, newest| self.left_to_the_log(logged, newest));
        }
        while let Err(refused) = self.logged.push(logged, Some(TICK)) {
            if self.stop.load(Ordering::Relaxed) {
                return false;
            }
            logged = refused;
        }
        true
    }

    /// Lines that the queue has no room for are read from the log when their turn comes.
    fn left_to_the_log(&self, logged: Logged, newest: Option<&mut Logged>) -> Option<Logged> {
        if logged.lines == 0 && logged.bytes.is_empty() {
            // Nothing to count; the position is told by those that follow.
            return None;
        }
        self.spare.give(logged.bytes);
        match newest {
            Some(newest) if newest.behind() => {
                newest.position = logged.position;
                newest.lines = newest.lines.saturating_add(logged.lines);
                None
            }
            _ => Some(Logged {
                bytes: Vec::new(),
                lines: logged.lines.max(1),
                ..logged
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_comes_back() {
        let mut memory = Memory::new(10);
        memory.sources.number("tcp a");
        memory.sources.number("file /var/log/x");
        memory.resume(1, b"offset 5");
        for id in 0..12 {
            memory.ids.insert(id);
        }
        let saved = memory.save();
        let mut again = Memory::new(10);
        again.load(&saved).unwrap();
        assert_eq!(again.sources, memory.sources);
        assert_eq!(again.resumes, memory.resumes);
        assert_eq!(again.save(), saved);
        again.load(&[]).unwrap();
        for cut in 1..saved.len() {
            assert!(Memory::new(10).load(&saved[..cut]).is_err(), "{cut}");
        }
    }
}
