//! Standard input as a parent process feeds it: syslog-ng's `program()`, rsyslog's `omprog`.
//!
//! The protocol is a setting; nothing is guessed.
//!
//! | protocol | parent | answers |
//! | --- | --- | --- |
//! | plain | `program()`, omprog | none |
//! | confirm | omprog `confirmMessages="on"` | `OK` for each line, once it is on disk |
//! | transactions | omprog with `useTransactions="on"` too | `OK` to `BEGIN TRANSACTION`, `DEFER_COMMIT` to each line, `OK` to `COMMIT TRANSACTION` once all of it is on disk |
//!
//! What was answered of a transaction under way is kept over `kill -9` (see [`super::deferred`]).
//! With confirmation, omprog waits for an `OK` before anything, so one comes first. All lines that one
//! read brought are logged together and brought to disk once. A line that is too long is counted,
//! dropped and confirmed, since it would come again for ever.
//!
//! When the parent closes its end, what stands unfinished is a line, and [`super::intake::Intake::ended`]
//! tells that it is over.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::batch::{Batch, Confirm, now_us};
use super::deferred::Deferred;
use super::feed::{FULL, Feed, Numbers, ROOM};
use super::framing::Framer;
use super::queue::{Confirmed, Mailbox};
use super::reader::{GATHER, TRICKLE};
use super::settings::Protocol;

const BEGIN: &[u8] = b"BEGIN TRANSACTION";
/// Bytes that a pipe holds: what the system lets everybody have.
const PIPE: usize = 1 << 20;
const COMMIT: &[u8] = b"COMMIT TRANSACTION";

/// The reading side.
pub(super) struct Pipe<'a, R, W> {
    pub input: R,
    pub output: W,
    pub source: u32,
    pub feed: &'a Feed,
    pub numbers: &'a Numbers,
    pub mailbox: Arc<Mailbox>,
    /// Confirmations asked for so far.
    pub asked: u64,
    /// The state folder, which keeps the lines of an open transaction.
    pub directory: PathBuf,
}

/// Waits until a descriptor is readable. False: reception ends first.
fn readable(fd: &impl AsFd, feed: &Feed) -> io::Result<bool> {
    let tick = Timespec {
        tv_sec: 0,
        tv_nsec: 200_000_000,
    };
    loop {
        let mut fds = [PollFd::new(fd, PollFlags::IN)];
        match poll(&mut fds, Some(&tick)) {
            Ok(0) if feed.ending() => return Ok(false),
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => return Ok(true),
            Err(error) => return Err(error.into()),
        }
    }
}

impl<R: Read + AsFd, W: Write> Pipe<'_, R, W> {
    /// Reads until the end of the input, or until reception ends and nothing more is there.
    ///
    /// # Errors
    /// The parent cannot be read or answered any more.
    pub fn run(&mut self, protocol: Protocol) -> io::Result<()> {
        if protocol != Protocol::Plain {
            // omprog takes the first OK for "started well".
            self.answer(b"OK\n")?;
        }
        match protocol {
            Protocol::Plain => self.plain(),
            Protocol::Confirm => self.confirm(),
            Protocol::Transactions => self.transactions(),
        }
    }

    fn answer(&mut self, text: &[u8]) -> io::Result<()> {
        self.output.write_all(text)?;
        self.output.flush()
    }

    /// Reads once into `bytes` behind `start`; what is there before is whole lines. Gives the bytes read
    /// and the lines found; none at the end.
    fn read(&mut self, framer: &mut Framer, batch: &mut Batch) -> io::Result<Option<u32>> {
        let most = self.feed.most();
        let start = batch.bytes.len();
        framer.carry(&mut batch.bytes);
        batch.bytes.reserve(ROOM / 4);
        let n = loop {
            match rustix::io::read(&self.input, rustix::buffer::spare_capacity(&mut batch.bytes)) {
                Ok(n) => break n,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        };
        if start == 0 {
            batch.received_us = now_us();
        }
        let (mut found, _) = framer.take(&mut batch.bytes, start, most);
        if n == 0 {
            let last = framer.finish(&mut batch.bytes, most);
            found.lines += last.lines;
            found.too_long += last.too_long;
        }
        batch.lines += found.lines;
        self.numbers.bytes.add(n as u64);
        self.numbers.lines.add(u64::from(found.lines));
        self.numbers.too_long.add(u64::from(found.too_long));
        if n == 0 {
            return Ok(None);
        }
        Ok(Some(found.lines + found.too_long))
    }

    fn push(&self, batch: Batch) -> io::Result<()> {
        if self.feed.push(batch) {
            Ok(())
        } else {
            Err(io::Error::other("reception was stopped"))
        }
    }

    fn plain(&mut self) -> io::Result<()> {
        // The parent does not wait while we gather. A system that refuses keeps its 64 KiB: it waits sooner.
        let _ = rustix::pipe::fcntl_setpipe_size(&self.input, PIPE);
        let mut framer = Framer::lines();
        let mut batch = self.feed.batch(self.source);
        loop {
            if !readable(&self.input, self.feed)? {
                let last = framer.finish(&mut batch.bytes, self.feed.most());
                batch.lines += last.lines;
                self.numbers.lines.add(u64::from(last.lines));
                return if batch.lines > 0 { self.push(batch) } else { Ok(()) };
            }
            let before = batch.bytes.len();
            let read = self.read(&mut framer, &mut batch)?;
            // More is taken while there is more.
            let more = read.is_some() && batch.bytes.len() < FULL && self.ready()?;
            if more && batch.bytes.len() < before + TRICKLE {
                // A parent that writes each line by itself: to read them one by one would cost more than to count them.
                std::thread::sleep(GATHER);
            }
            if !more && !batch.bytes.is_empty() {
                let full = std::mem::replace(&mut batch, self.feed.batch(self.source));
                self.push(full)?;
            }
            if read.is_none() {
                break;
            }
        }
        self.feed.spare.give(batch.bytes);
        Ok(())
    }

    fn ready(&self) -> io::Result<bool> {
        let mut fds = [PollFd::new(&self.input, PollFlags::IN)];
        match poll(&mut fds, Some(&Timespec::default())) {
            Ok(n) => Ok(n > 0),
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Hands a batch on and waits until it is on disk.
    fn commit(&mut self, mut batch: Batch) -> io::Result<()> {
        self.asked += 1;
        batch.confirm.push(Confirm {
            to: Arc::clone(&self.mailbox),
            connection: 0,
            mark: self.asked,
        });
        self.push(batch)?;
        let mut letters: Vec<Confirmed> = Vec::new();
        loop {
            let tick = Timespec {
                tv_sec: 0,
                tv_nsec: 200_000_000,
            };
            let mut fds = [PollFd::new(self.mailbox.event(), PollFlags::IN)];
            match poll(&mut fds, Some(&tick)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            self.mailbox.take(&mut letters);
            if letters.iter().any(|letter| letter.mark >= self.asked) {
                return Ok(());
            }
            if self.feed.stopping() {
                return Err(io::Error::other("reception was stopped"));
            }
        }
    }

    fn confirm(&mut self) -> io::Result<()> {
        let mut framer = Framer::lines();
        let mut answers = Vec::new();
        loop {
            if !readable(&self.input, self.feed)? {
                return Ok(());
            }
            let mut batch = self.feed.batch(self.source);
            let read = self.read(&mut framer, &mut batch)?;
            let lines = read.unwrap_or(batch.lines);
            if lines > 0 {
                self.commit(batch)?;
                answers.clear();
                for _ in 0..lines {
                    answers.extend_from_slice(b"OK\n");
                }
                let answered = self.answer(&answers);
                if read.is_some() {
                    answered?;
                }
            } else {
                self.feed.spare.give(batch.bytes);
            }
            if read.is_none() {
                return Ok(());
            }
        }
    }

    fn transactions(&mut self) -> io::Result<()> {
        let mut framer = Framer::lines();
        let mut read = Batch::default();
        let mut batch = self.feed.batch(self.source);
        let mut answers = Vec::new();
        let mut open = false;
        // Lines of the transaction that are not answered yet.
        let mut fresh = Vec::new();
        let mut deferred = self.left_over()?;
        loop {
            // An open transaction is not left before its end: it would come again.
            if !readable(&self.input, self.feed)? {
                return Ok(());
            }
            read.bytes.clear();
            read.lines = 0;
            let more = self.read(&mut framer, &mut read)?;
            for _ in read.lines..more.unwrap_or(read.lines) {
                answers.extend_from_slice(b"DEFER_COMMIT\n"); // too long, dropped
            }
            let mut rest = read.bytes.as_slice();
            while let Some(end) = memchr::memchr(b'\n', rest) {
                let (line, after) = rest.split_at(end + 1);
                rest = after;
                match line.get(..end).unwrap_or_default() {
                    BEGIN if !open => {
                        open = true;
                        answers.extend_from_slice(b"OK\n");
                    }
                    COMMIT if open => {
                        open = false;
                        let full = std::mem::replace(&mut batch, self.feed.batch(self.source));
                        self.commit(full)?;
                        deferred.clear()?;
                        fresh.clear();
                        answers.extend_from_slice(b"OK\n");
                    }
                    _ => {
                        if batch.lines == 0 {
                            batch.received_us = read.received_us;
                        }
                        batch.bytes.extend_from_slice(line);
                        batch.lines += 1;
                        if !open {
                            // Outside of a transaction a line stands for itself.
                            let full = std::mem::replace(&mut batch, self.feed.batch(self.source));
                            self.commit(full)?;
                            answers.extend_from_slice(b"OK\n");
                            continue;
                        }
                        fresh.extend_from_slice(line);
                        answers.extend_from_slice(b"DEFER_COMMIT\n");
                        if batch.bytes.len() >= FULL {
                            let full = std::mem::replace(&mut batch, self.feed.batch(self.source));
                            self.commit_later(full)?;
                        }
                    }
                }
            }
            if !fresh.is_empty() {
                self.hold(&mut deferred, &fresh)?;
                fresh.clear();
            }
            if !answers.is_empty() {
                let answered = self.answer(&answers);
                answers.clear();
                if more.is_some() {
                    answered?;
                }
            }
            if more.is_none() {
                // A transaction without its end: what was answered of it is held for the next start.
                return Ok(());
            }
        }
    }

    /// Logs what an earlier process was told of a transaction that it did not live to see the end of.
    fn left_over(&mut self) -> io::Result<Deferred> {
        let (mut deferred, left) = Deferred::open(&self.directory)?;
        if !left.is_empty() {
            let mut batch = self.feed.batch(self.source);
            batch.received_us = now_us();
            batch.lines = memchr::memchr_iter(b'\n', &left).count() as u32;
            batch.bytes.extend_from_slice(&left);
            self.numbers.lines.add(u64::from(batch.lines));
            self.commit(batch)?;
            deferred.clear()?;
        }
        Ok(deferred)
    }

    /// Writes lines down before they are answered. While the disk is full, the parent waits.
    fn hold(&self, deferred: &mut Deferred, lines: &[u8]) -> io::Result<()> {
        loop {
            match deferred.hold(lines) {
                Err(error) if error.kind() == io::ErrorKind::StorageFull && !self.feed.stopping() => {
                    std::thread::sleep(Duration::from_millis(200));
                }
                other => return other,
            }
        }
    }

    /// Hands on a part of a transaction: its lines carry ids as the others do; nobody waits for it.
    fn commit_later(&mut self, mut batch: Batch) -> io::Result<()> {
        self.asked += 1;
        batch.confirm.push(Confirm {
            to: Arc::clone(&self.mailbox),
            connection: 0,
            mark: 0,
        });
        self.push(batch)
    }
}
