//! The write-ahead log: whole lines on disk before anybody is told that they arrived.

use std::path::Path;

use super::batch::Logged;
use super::metrics::Metrics;
use super::settings::WalLimits;
use crate::error::Result;

/// The log, open for appending.
pub struct Wal {}

impl Wal {
    /// Opens the log in a folder (made where it is missing), cuts off what a crash left half written,
    /// and gives the position where it goes on: at least `at_least`, so that positions that a snapshot
    /// or a closed bin has seen are never used twice.
    ///
    /// # Errors
    /// The folder or a file cannot be read or written.
    pub fn open(
        _directory: &Path,
        _limits: &WalLimits,
        _at_least: u64,
        _metrics: &Metrics,
    ) -> Result<(Wal, u64)> {
        unimplemented!()
    }

    /// Hands over every batch of lines that lies wholly after the position `from`, in order, and gives
    /// the position after the last.
    ///
    /// # Errors
    /// A file cannot be read, or what `each` said.
    pub fn replay(
        _directory: &Path,
        _from: u64,
        _each: impl FnMut(&mut Logged) -> Result<()>,
    ) -> Result<u64> {
        unimplemented!()
    }
}
