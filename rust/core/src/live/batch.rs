//! What runs through the queues: whole lines in one buffer, with what must be known of them.
//!
//! Lines are never looked at one by one between the socket and the counter: a batch is one buffer of
//! 64 to 256 KiB under load, filled across connections, and of whatever there was when it is quiet.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Lines that are in the write-ahead log and wait to be counted.
#[derive(Debug, Default)]
pub struct Logged {
    /// Byte position in the log just after these lines. Grows from batch to batch, across restarts too.
    pub position: u64,
    /// When they were received: microseconds since 1970, UTC.
    pub received_us: i64,
    /// Where they came from: a number of [`super::sources::Sources`].
    pub source: u32,
    /// How many lines.
    pub lines: u32,
    /// Whole lines, each ended by a line feed. Empty though there are lines: they are to be read from the log, all from
    /// the position up to which lines were counted to this one.
    pub bytes: Vec<u8>,
}

impl Logged {
    /// The lines are not here but in the log, and those of every batch before that was not counted yet.
    #[must_use]
    pub fn behind(&self) -> bool {
        self.bytes.is_empty() && self.lines > 0
    }
}

/// Lines that were received and wait to be logged.
#[derive(Debug, Default)]
pub struct Batch {
    /// Where they came from.
    pub source: u32,
    /// When the first was received: microseconds since 1970, UTC.
    pub received_us: i64,
    /// How many lines.
    pub lines: u32,
    /// Whole lines, each ended by a line feed.
    pub bytes: Vec<u8>,
    /// Whom to tell once they are on disk. Lines of such a batch may carry message ids.
    pub confirm: Vec<Confirm>,
    /// Where the source is to be read on after a restart; logged in one piece with the lines.
    pub resume: Option<Vec<u8>>,
}

/// Someone who waits until a batch is on disk.
#[derive(Debug, Clone)]
pub struct Confirm {
    /// Who is told.
    pub to: Arc<super::queue::Mailbox>,
    /// Which of his senders: his own number for a connection.
    pub connection: u64,
    /// What of it: his own number, such as how many messages are confirmed.
    pub mark: u64,
}

impl super::queue::Weigh for Batch {
    fn weight(&self) -> usize {
        self.bytes.len() + 256 + 64 * self.confirm.len()
    }
}

impl super::queue::Weigh for Logged {
    fn weight(&self) -> usize {
        self.bytes.len() + 256
    }
}

/// Now, in microseconds since 1970, UTC.
#[must_use]
pub fn now_us() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| i64::try_from(d.as_micros()).unwrap_or(i64::MAX))
}
