//! What every receiving thread holds: the queue, spare buffers, bounds, and when to end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use super::batch::{Batch, now_us};
use super::metrics::{Counter, Gauge, Metrics};
use super::queue::{Pool, Queue};

/// Bytes of a batch at which it is handed on.
pub(super) const FULL: usize = 192 << 10;
/// Room that a batch is given.
pub(super) const ROOM: usize = 256 << 10;

/// Shared by all receiving threads.
pub(super) struct Feed {
    pub queue: Arc<Queue<Batch>>,
    pub spare: Arc<Pool>,
    /// Give up waiting.
    pub stop: Arc<AtomicBool>,
    /// Read what is there, then end.
    pub drain: Arc<AtomicBool>,
    pub line_length: AtomicUsize,
    pub rotated_seconds: AtomicU64,
    pub datagram_patience_ms: AtomicU64,
}

impl Feed {
    pub fn most(&self) -> usize {
        self.line_length.load(Ordering::Relaxed)
    }

    /// After how long without growth a rotated file is finished.
    pub fn rotated(&self) -> Duration {
        Duration::from_secs(self.rotated_seconds.load(Ordering::Relaxed))
    }

    /// How long datagrams wait for room in the queue.
    pub fn datagram_patience(&self) -> Duration {
        Duration::from_millis(self.datagram_patience_ms.load(Ordering::Relaxed))
    }

    pub fn stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    pub fn ending(&self) -> bool {
        self.drain.load(Ordering::Relaxed) || self.stopping()
    }

    /// An empty batch of a source.
    pub fn batch(&self, source: u32) -> Batch {
        let mut bytes = self.spare.take();
        bytes.reserve(ROOM);
        Batch {
            source,
            received_us: now_us(),
            bytes,
            ..Batch::default()
        }
    }

    /// Waits for room and hands a batch on. False: reception stops, the batch is lost (and was not
    /// confirmed).
    pub fn push(&self, mut batch: Batch) -> bool {
        while let Err(refused) = self.queue.push(batch, Some(super::logger::TICK)) {
            if self.stopping() {
                return false;
            }
            batch = refused;
        }
        true
    }
}

/// The numbers of one source.
#[derive(Clone, Debug)]
pub(super) struct Numbers {
    pub lines: Counter,
    pub bytes: Counter,
    pub too_long: Counter,
    pub bad_frames: Counter,
    pub connections: Gauge,
    pub accepted: Counter,
    pub refused: Counter,
    pub shed: Counter,
    pub dropped: Counter,
    pub pauses: Counter,
}

impl Numbers {
    pub fn new(metrics: &Metrics, source: &str) -> Self {
        // A label's value escapes backslashes and quotes.
        let label = source.replace('\\', "\\\\").replace('"', "\\\"");
        let name = |what: &str| format!("seismolog_{what}{{source=\"{label}\"}}");
        Numbers {
            lines: metrics.counter(&name("received_lines_total")),
            bytes: metrics.counter(&name("received_bytes_total")),
            too_long: metrics.counter(&name("long_lines_total")),
            bad_frames: metrics.counter(&name("bad_frames_total")),
            connections: metrics.gauge(&name("connections")),
            accepted: metrics.counter(&name("accepted_connections_total")),
            refused: metrics.counter(&name("refused_peers_total")),
            shed: metrics.counter(&name("shed_connections_total")),
            dropped: metrics.counter(&name("dropped_messages_total")),
            pauses: metrics.counter(&name("relp_pauses_total")),
        }
    }
}
