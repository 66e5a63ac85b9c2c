//! Starts every listener, the log thread and the sync thread from the settings; reloads, drains, stops.
//!
//! ```text
//! let recovered = recover(&config, snapshot_position, &snapshot_state, last_revision, &metrics, |logged| count(logged))?;
//! let intake = Intake::start(config, recovered, &metrics)?;
//! while let Popped::Some(logged) = intake.logged().pop(tick) { count(&logged); intake.spare().give(logged.bytes); }
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::batch::Logged;
use super::metrics::Metrics;
use super::queue::{Pool, Queue};
use super::settings::IntakeConfig;
use crate::error::Result;

/// What reception must know again after a restart: names of sources, where files are to be read on,
/// remembered message ids. Stored in the counting side's snapshot; opaque there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IntakeState {
    /// Its serialized form. Empty: the very first start.
    pub bytes: Vec<u8>,
}

/// The log, replayed and ready to go on.
pub struct Recovered {
    /// Where the log goes on.
    pub position: u64,
    /// Lines that were replayed.
    pub lines: u64,
}

/// Opens the write-ahead log and replays what follows the snapshot.
///
/// `from`: position of the snapshot (0: none). `state`: what [`Intake::state`] gave for that snapshot.
/// `at_least`: the highest position that was ever made known (snapshot, closed bins).
///
/// # Errors
/// The state folder cannot be read or written, or what `each` said.
pub fn recover(
    _config: &IntakeConfig,
    _from: u64,
    _state: &IntakeState,
    _at_least: u64,
    _metrics: &Metrics,
    _each: impl FnMut(&mut Logged) -> Result<()>,
) -> Result<Recovered> {
    unimplemented!()
}

/// Reception, running.
pub struct Intake {
    logged: Arc<Queue<Logged>>,
    spare: Arc<Pool>,
}

impl Intake {
    /// Starts all threads and listeners.
    ///
    /// # Errors
    /// A listener cannot be bound, a file of a certificate cannot be read: names it.
    pub fn start(_config: IntakeConfig, _recovered: Recovered, _metrics: &Metrics) -> Result<Intake> {
        unimplemented!()
    }

    /// Logged lines, for the counting thread to pop. Closed after [`Intake::drain`] or [`Intake::stop`].
    #[must_use]
    pub fn logged(&self) -> &Arc<Queue<Logged>> {
        &self.logged
    }

    /// Where counted buffers go back to.
    #[must_use]
    pub fn spare(&self) -> &Arc<Pool> {
        &self.spare
    }

    /// The state to store with a snapshot, after everything it speaks of was brought to disk. Take it
    /// after the worker's state: it may be newer, never older.
    ///
    /// # Errors
    /// The log cannot be synced.
    pub fn state(&self) -> Result<IntakeState> {
        unimplemented!()
    }

    /// A snapshot covers everything before the position: files of the log wholly before it go.
    pub fn release(&self, _up_to: u64) {}

    /// Where the log ends now.
    #[must_use]
    pub fn position(&self) -> u64 {
        0
    }

    /// Bytes of the log's files. Past half of `wal.max_bytes` a snapshot is due at once.
    #[must_use]
    pub fn wal_bytes(&self) -> u64 {
        0
    }

    /// Names of the sources, by number.
    #[must_use]
    pub fn sources(&self) -> BTreeMap<u32, String> {
        BTreeMap::new()
    }

    /// Where listeners are bound: `tcp 127.0.0.1:0` (as configured) -> `127.0.0.1:40123`.
    #[must_use]
    pub fn addresses(&self) -> BTreeMap<String, String> {
        BTreeMap::new()
    }

    /// Takes new settings: listeners are added and removed; those that stay lose nothing.
    ///
    /// # Errors
    /// A setting that cannot change without a restart, or a new listener that cannot be started (the
    /// others are as the new settings say).
    pub fn reload(&self, _config: IntakeConfig) -> Result<()> {
        Ok(())
    }

    /// Whether every source has ended (standard input only).
    #[must_use]
    pub fn ended(&self) -> bool {
        false
    }

    /// Stops accepting, reads what has arrived, logs, syncs and confirms it; then closes the queue of
    /// logged lines. False: not done within the time.
    pub fn drain(&self, _patience: Duration) -> bool {
        true
    }

    /// Stops at once. What was not logged was not confirmed either.
    pub fn stop(&self) {}
}
