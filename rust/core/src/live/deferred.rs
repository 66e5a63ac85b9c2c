//! Lines of an open transaction, where the death of this process does not reach them.
//!
//! omprog answers each line of a transaction with `DEFER_COMMIT`, and rsyslog (8.2302) goes on from the line it was at
//! when the program dies: lines that were answered do not come again. So each is written to a file before it is
//! answered. That is not on disk, but in the system's memory: `kill -9` leaves it there, and a power cut takes rsyslog's
//! transaction with it. When a transaction is committed the file is emptied; what stands in it at a start is logged first.
//!
//! A line that comes again after all is known by its message id.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// The file of one pipe.
pub(super) struct Deferred {
    file: File,
    held: u64,
}

impl Deferred {
    /// Opens the file of a state folder. Gives the whole lines that an earlier process left in it.
    ///
    /// # Errors
    /// The file cannot be opened or read.
    pub fn open(directory: &Path) -> io::Result<(Deferred, Vec<u8>)> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(directory.join("deferred"))?;
        let mut left = Vec::new();
        file.read_to_end(&mut left)?;
        // A line that was half written was not answered: it comes again.
        left.truncate(memchr::memrchr(b'\n', &left).map_or(0, |end| end + 1));
        let held = left.len() as u64;
        Ok((Deferred { file, held }, left))
    }

    /// Writes whole lines down.
    ///
    /// # Errors
    /// Those of the file, such as a full disk; nothing is held then of these lines.
    pub fn hold(&mut self, lines: &[u8]) -> io::Result<()> {
        self.file.write_all_at(lines, self.held)?;
        self.held += lines.len() as u64;
        Ok(())
    }

    /// Forgets all lines: they are in the log.
    ///
    /// # Errors
    /// Those of the file.
    pub fn clear(&mut self) -> io::Result<()> {
        if self.held > 0 {
            self.file.set_len(0)?;
            self.held = 0;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_lines_outlive_the_process() {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut first, left) = Deferred::open(folder.path()).expect("opens");
        assert!(left.is_empty());
        first.hold(b"one\n").expect("holds");
        first.hold(b"two\nhalf").expect("holds");
        drop(first);
        let (mut second, left) = Deferred::open(folder.path()).expect("opens");
        assert_eq!(left, b"one\ntwo\n");
        second.clear().expect("clears");
        drop(second);
        assert!(Deferred::open(folder.path()).expect("opens").1.is_empty());
    }
}
