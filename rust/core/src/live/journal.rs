//! The systemd journal, read by `journalctl -o json --follow`.
//!
//! The program is asked for the few fields that are counted from. After a restart it goes on behind the
//! last entry that was logged (`--after-cursor`); the cursor is logged in one piece with the lines. At
//! the very first start it begins now. When the program ends it is started again, later each time.
//!
//! Limits: what journald drops under load (`RateLimitBurst=`) never comes here; the program needs the
//! right to read the journal (group `systemd-journal`).

use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::batch::now_us;
use super::feed::{FULL, Feed, Numbers, ROOM};
use super::framing::Framer;
use super::metrics::{Counter, Metrics};

const FIELDS: &str = "--output-fields=MESSAGE,_HOSTNAME,SYSLOG_IDENTIFIER,_COMM,SYSLOG_PID,_PID";
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// What is kept of the program's complaints.
const COMPLAINT: usize = 500;

/// How the journal is read.
pub(super) struct Journal<'a> {
    pub name: String,
    pub program: PathBuf,
    pub arguments: Vec<String>,
    pub source: u32,
    pub cursor: Vec<u8>,
    pub feed: &'a Feed,
    pub numbers: &'a Numbers,
    pub metrics: &'a Metrics,
    pub closed: &'a AtomicBool,
    pub starts: Counter,
}

/// The cursor of the last entry among lines.
fn last_cursor(lines: &[u8]) -> Option<&[u8]> {
    const KEY: &[u8] = b"\"__CURSOR\"";
    let mut end = lines.len();
    loop {
        let line_end = lines.get(..end)?.strip_suffix(b"\n").unwrap_or(lines.get(..end)?);
        if line_end.is_empty() {
            return None;
        }
        let start = memchr::memrchr(b'\n', line_end).map_or(0, |at| at + 1);
        let line = line_end.get(start..)?;
        if let Some(at) = memchr::memmem::find(line, KEY) {
            let rest = line.get(at + KEY.len()..)?;
            let rest = rest.trim_ascii_start().strip_prefix(b":")?.trim_ascii_start();
            let rest = rest.strip_prefix(b"\"")?;
            let length = memchr::memchr(b'"', rest)?;
            return rest.get(..length);
        }
        end = start;
    }
}

impl Journal<'_> {
    fn ending(&self) -> bool {
        self.feed.ending() || self.closed.load(Ordering::Relaxed)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(["--output=json", "--no-pager", "--quiet", FIELDS])
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Reads until the end.
    pub fn run(&mut self) {
        let mut wait = FIRST_WAIT;
        while !self.ending() {
            let since = Instant::now();
            if let Err(error) = self.once() {
                let message = format!("{}: {error}", self.program.display());
                self.metrics.trouble(&self.name, Some(message));
            }
            if since.elapsed() > LONGEST_WAIT {
                wait = FIRST_WAIT;
            }
            let until = Instant::now() + wait;
            while Instant::now() < until && !self.ending() {
                std::thread::sleep(Duration::from_millis(50));
            }
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    fn once(&mut self) -> std::io::Result<()> {
        if self.cursor.is_empty() {
            // From now on: the newest entry is where a restart would go on, even if nothing comes.
            let newest = self.command().args(["--lines=1"]).output()?;
            if let Some(cursor) = last_cursor(&newest.stdout) {
                self.cursor = cursor.to_vec();
                let mut batch = self.feed.batch(self.source);
                batch.resume = Some(self.cursor.clone());
                self.feed.push(batch);
            }
        }
        let mut command = self.command();
        command.arg("--follow");
        match std::str::from_utf8(&self.cursor) {
            Ok(cursor) if !cursor.is_empty() => {
                command.arg(format!("--after-cursor={cursor}")).arg("--lines=all")
            }
            _ => command.arg("--lines=0"),
        };
        self.starts.add(1);
        let mut child = command.spawn()?;
        let result = self.read(&mut child);
        // It may have ended by itself; then there is nothing to kill.
        let _ = child.kill();
        let mut complaint = Vec::new();
        if let Some(stderr) = child.stderr.take() {
            stderr.take(COMPLAINT as u64).read_to_end(&mut complaint)?;
        }
        let status = child.wait()?;
        if !self.ending() {
            let text = String::from_utf8_lossy(&complaint);
            let message = format!("{} ended ({status}): {}", self.program.display(), text.trim());
            self.metrics.trouble(&self.name, Some(message));
        }
        result
    }

    fn read(&mut self, child: &mut Child) -> std::io::Result<()> {
        let Some(out) = child.stdout.take() else {
            return Ok(());
        };
        let mut framer = Framer::lines();
        loop {
            let mut batch = self.feed.batch(self.source);
            let mut end = false;
            loop {
                // Waits for the first lines; then takes what is there.
                let tick = Timespec {
                    tv_sec: 0,
                    tv_nsec: if batch.bytes.is_empty() { 200_000_000 } else { 0 },
                };
                let mut fds = [PollFd::new(&out, PollFlags::IN)];
                match poll(&mut fds, Some(&tick)) {
                    Ok(0) | Err(rustix::io::Errno::INTR) => break,
                    Ok(_) => {}
                    Err(error) => return Err(error.into()),
                }
                let start = batch.bytes.len();
                framer.carry(&mut batch.bytes);
                batch.bytes.reserve(ROOM / 4);
                let n = rustix::io::read(&out, rustix::buffer::spare_capacity(&mut batch.bytes)).unwrap_or(0);
                let (found, _) = framer.take(&mut batch.bytes, start, self.feed.most());
                batch.lines += found.lines;
                self.numbers.bytes.add(n as u64);
                self.numbers.lines.add(u64::from(found.lines));
                self.numbers.too_long.add(u64::from(found.too_long));
                end = n == 0;
                if end || batch.bytes.len() >= FULL {
                    break;
                }
            }
            if batch.bytes.is_empty() {
                self.feed.spare.give(batch.bytes);
            } else {
                batch.received_us = now_us();
                if let Some(cursor) = last_cursor(&batch.bytes) {
                    self.cursor = cursor.to_vec();
                    batch.resume = Some(self.cursor.clone());
                }
                self.metrics.trouble(&self.name, None);
                if !self.feed.push(batch) {
                    return Ok(());
                }
            }
            // A half entry at the end is read again: the cursor stands before it.
            if end || self.ending() {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_cursor_is_found() {
        let lines = b"{\"__CURSOR\":\"s=1;i=2\",\"MESSAGE\":\"a\"}\n{ \"MESSAGE\" : \"b\", \"__CURSOR\" : \"s=1;i=3\" }\n";
        assert_eq!(last_cursor(lines), Some(&b"s=1;i=3"[..]));
        let with_noise = [&lines[..], b"{\"MESSAGE\":\"no cursor\"}\n"].concat();
        assert_eq!(last_cursor(&with_noise), Some(&b"s=1;i=3"[..]));
        assert_eq!(last_cursor(b"x\n"), None);
        assert_eq!(last_cursor(b""), None);
    }
}
