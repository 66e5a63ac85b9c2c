//! How far counting is behind the log.
//!
//! Reception is not slowed by counting: a batch for which the queue of logged lines has no room is left to the log, where
//! it stands anyway, and is read from there when its turn comes. What that costs in memory is one element of the queue,
//! however much waits. Past a bound the log thread waits for counting, its queue fills, and whoever sends waits.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::metrics::{Counter, Gauge};

/// How long the log thread sleeps before it looks whether counting has come on.
const LOOK: Duration = Duration::from_millis(2);

/// Shared by the log thread and the counting one.
pub(super) struct Behind {
    counted: AtomicU64,
    /// Bytes of the log by which counting may be behind; 0: what has no room in the queue waits.
    pub most: u64,
    /// Bytes by which it is.
    pub fill: Gauge,
    /// How often the log thread waited for it.
    pub waits: Counter,
    /// Microseconds that it waited.
    pub waited_us: Counter,
}

impl Behind {
    /// Everything up to a position is counted.
    pub fn new(counted: u64, most: u64) -> Self {
        Behind {
            counted: AtomicU64::new(counted),
            most,
            fill: Gauge::default(),
            waits: Counter::default(),
            waited_us: Counter::default(),
        }
    }

    /// Everything up to a position is counted.
    pub fn counted(&self, position: u64) {
        self.counted.store(position, Ordering::Relaxed);
    }

    fn by(&self, position: u64) -> u64 {
        let by = position.saturating_sub(self.counted.load(Ordering::Relaxed));
        self.fill.set(by);
        by
    }

    /// Shows how far it is behind the end of the log, and waits while that is too far. False: stop.
    pub fn wait(&self, position: u64, stop: &AtomicBool) -> bool {
        if self.by(position) <= self.most || self.most == 0 {
            return true;
        }
        self.waits.add(1);
        let since = Instant::now();
        while self.by(position) > self.most && !stop.load(Ordering::Relaxed) {
            std::thread::sleep(LOOK);
        }
        self.waited_us
            .add(u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX));
        !stop.load(Ordering::Relaxed)
    }

    /// Shows how far it is behind.
    pub fn show(&self, position: u64) {
        let _ = self.by(position);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn who_is_too_far_ahead_waits_until_counting_has_come_on() {
        let behind = Arc::new(Behind::new(100, 50));
        let stop = AtomicBool::new(false);
        assert!(behind.wait(150, &stop));
        assert_eq!((behind.fill.get(), behind.waits.get()), (50, 0));
        let counting = {
            let behind = Arc::clone(&behind);
            std::thread::spawn(move || {
                while behind.waits.get() == 0 {
                    std::thread::sleep(LOOK);
                }
                behind.counted(130);
            })
        };
        assert!(behind.wait(180, &stop));
        counting.join().unwrap();
        assert_eq!((behind.fill.get(), behind.waits.get()), (50, 1));
        stop.store(true, Ordering::Relaxed);
        assert!(!behind.wait(181, &stop));
    }
}
