//! Records of the log's files, one after the other: a whole file at a start, a stretch of the log while it is written.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::{
    CONFIRMED, HEADER, Head, LINES, RESUME, SOURCE, checksum, file_header, io_error, segments, word,
};
use crate::error::{Error, Result};
use crate::live::batch::Logged;

/// Bytes read at a time.
const ROOM: usize = 1 << 18;

/// What kind of record was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Lines {
        confirmed: bool,
    },
    Source,
    Resume,
    /// A later version's record: it holds, it only means nothing here.
    Other,
}

/// The records of one file that hold, from its beginning or from one of them.
pub(super) struct Records {
    path: PathBuf,
    /// Position of the file's beginning.
    start: u64,
    /// Bytes of the file before the next record, and of all of it.
    at: u64,
    length: u64,
    reader: BufReader<File>,
    /// The resume state of the record that was read.
    pub resume: Vec<u8>,
}

impl Records {
    /// Opens a file at the record that begins at a position (the first one where it is before that).
    ///
    /// # Errors
    /// It cannot be read.
    pub fn open(path: &Path, start: u64, from: u64) -> Result<Records> {
        let what = || io_error(path.display().to_string());
        let file = File::open(path).map_err(what())?;
        let length = file.metadata().map_err(what())?.len();
        let mut records = Records {
            path: path.to_owned(),
            start,
            at: 0,
            length,
            reader: BufReader::with_capacity(ROOM, file),
            resume: Vec::new(),
        };
        if length >= HEADER as u64 {
            let mut header = [0u8; HEADER];
            records.reader.read_exact(&mut header).map_err(what())?;
            if header == file_header(start, i64::from_le_bytes(word(&header, 16).to_le_bytes())) {
                records.at = HEADER as u64;
                if from > start + records.at {
                    records.at = from - start;
                    records.reader.seek(SeekFrom::Start(records.at)).map_err(what())?;
                }
            }
        }
        Ok(records)
    }

    /// Position after the last record that was read: that of the file's beginning where its header does not hold.
    pub fn position(&self) -> u64 {
        self.start + self.at
    }

    /// Bytes of the file after it.
    pub fn rest(&self) -> u64 {
        self.length - self.at.min(self.length)
    }

    /// Position of the file's beginning.
    fn start(&self) -> u64 {
        self.start
    }

    /// Reads a record: its position and kind; its bytes and numbers are in `into`. None: no more holds, and none is to
    /// be asked for.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn next(&mut self, into: &mut Logged) -> Result<Option<(u64, Kind)>> {
        let path = &self.path;
        let what = || io_error(path.display().to_string());
        if self.at == 0 || self.at + HEADER as u64 > self.length {
            return Ok(None);
        }
        let mut header = [0u8; HEADER];
        self.reader.read_exact(&mut header).map_err(what())?;
        let head = Head::of(&header);
        if self.at + head.size() > self.length {
            return Ok(None);
        }
        into.bytes.clear();
        into.bytes.reserve(head.length as usize);
        self.resume.clear();
        let mut lines = self.reader.by_ref().take(u64::from(head.length));
        lines.read_to_end(&mut into.bytes).map_err(what())?;
        let mut state = self.reader.by_ref().take(u64::from(head.resume));
        state.read_to_end(&mut self.resume).map_err(what())?;
        let position = self.start + self.at;
        let check = checksum(
            position,
            header.get(..24).unwrap_or_default(),
            &into.bytes,
            &self.resume,
        );
        if check != word(&header, 24) {
            return Ok(None);
        }
        self.at += head.size();
        into.position = self.start + self.at;
        into.received_us = head.received_us;
        into.source = head.source;
        into.lines = head.lines;
        let kind = match head.kind {
            LINES => Kind::Lines {
                confirmed: head.flags & CONFIRMED != 0,
            },
            SOURCE => Kind::Source,
            RESUME => Kind::Resume,
            _ => Kind::Other,
        };
        Ok(Some((position, kind)))
    }
}

/// Lines of the log between two positions, read while the log is written.
pub struct Stretch {
    directory: PathBuf,
    /// Position after what was read, and after the stretch.
    at: u64,
    to: u64,
    records: Option<Records>,
    /// Bytes that do not hold what was written there.
    pub damaged: u64,
}

impl Stretch {
    /// The lines from the position after a record to that after another, both written.
    #[must_use]
    pub fn new(directory: &Path, from: u64, to: u64) -> Stretch {
        Stretch {
            directory: directory.to_owned(),
            at: from,
            to,
            records: None,
            damaged: 0,
        }
    }

    /// Reads the next lines into `into`. False: these were all.
    ///
    /// # Errors
    /// A file cannot be read, or its records end before the stretch does: what is after that is given up.
    pub fn next(&mut self, into: &mut Logged) -> Result<bool> {
        let found = self.find(into);
        if found.is_err() {
            self.damaged += self.to - std::mem::replace(&mut self.at, self.to);
        }
        found
    }

    fn find(&mut self, into: &mut Logged) -> Result<bool> {
        while self.at < self.to {
            let found = match &mut self.records {
                Some(records) => records.next(into)?,
                None => None,
            };
            match found {
                Some((_, kind)) => {
                    self.at = into.position;
                    if matches!(kind, Kind::Lines { .. }) && !into.bytes.is_empty() {
                        return Ok(true);
                    }
                }
                None => self.turn()?,
            }
        }
        Ok(false)
    }

    /// Opens the file that goes on where the one before has ended.
    fn turn(&mut self) -> Result<()> {
        let all = segments(&self.directory).map_err(io_error(self.directory.display().to_string()))?;
        let next = match &self.records {
            Some(before) => all.iter().find(|(start, _)| *start > before.start()),
            None => all
                .iter()
                .rev()
                .find(|(start, _)| *start <= self.at)
                .or(all.first()),
        };
        match next {
            Some((start, path)) if *start < self.to => {
                // A file that is complete has nothing after its last record.
                self.damaged += self.records.as_ref().map_or(0, Records::rest);
                self.records = Some(Records::open(path, *start, self.at)?);
                Ok(())
            }
            _ => Err(Error::Io {
                what: format!("write-ahead log in {}", self.directory.display()),
                source: std::io::Error::new(
                    std::io::ErrorKind::InvalidData,
                    format!(
                        "bytes {} to {} do not hold what was written there",
                        self.at, self.to
                    ),
                ),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Wal;
    use super::*;
    use crate::live::batch::Batch;
    use crate::live::metrics::Metrics;
    use crate::live::settings::WalLimits;

    fn log(folder: &Path) -> Wal {
        let limits = WalLimits {
            segment_bytes: 4096,
            ..WalLimits::default()
        };
        let (wal, _) = Wal::open(folder, &limits, 5000, &Metrics::default()).unwrap();
        wal
    }

    fn append(wal: &mut Wal, text: &str) -> u64 {
        if wal.due() {
            wal.rotate().unwrap();
            wal.append_source(7, "tcp").unwrap();
        }
        let batch = Batch {
            source: 7,
            received_us: 42,
            lines: 1,
            bytes: text.as_bytes().to_vec(),
            resume: text.ends_with("0\n").then(|| b"offset".to_vec()),
            ..Batch::default()
        };
        wal.append(&batch, false).unwrap()
    }

    fn read(stretch: &mut Stretch) -> Vec<String> {
        let (mut found, mut into) = (Vec::new(), Logged::default());
        while stretch.next(&mut into).unwrap() {
            assert_eq!((into.source, into.received_us, into.lines), (7, 42, 1));
            found.push(String::from_utf8(into.bytes.clone()).unwrap());
        }
        found
    }

    #[test]
    fn any_stretch_of_a_log_of_many_files_is_read_while_it_grows() {
        let folder = tempfile::tempdir().unwrap();
        let mut wal = log(folder.path());
        let mut ends = vec![0];
        let mut all = Vec::new();
        for i in 0..200 {
            all.push(format!("line {i} {}\n", "x".repeat(i)));
            ends.push(append(&mut wal, &all[i]));
        }
        assert!(segments(folder.path()).unwrap().len() > 4);
        for (from, to) in [(0, 200), (0, 1), (3, 3), (17, 120), (100, 101), (199, 200)] {
            let mut stretch = Stretch::new(folder.path(), ends[from], ends[to]);
            assert_eq!(read(&mut stretch), all[from..to]);
            assert_eq!(stretch.damaged, 0);
        }
        let mut stretch = Stretch::new(folder.path(), ends[150], append(&mut wal, "more\n"));
        assert_eq!(read(&mut stretch).last().map(String::as_str), Some("more\n"));
    }

    #[test]
    fn what_does_not_hold_is_told_and_the_rest_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let mut wal = log(folder.path());
        let mut end = 0;
        for i in 0..100 {
            end = append(&mut wal, &format!("line {i} {}\n", "x".repeat(100)));
        }
        let files = segments(folder.path()).unwrap();
        let mut bytes = std::fs::read(&files[1].1).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&files[1].1, &bytes).unwrap();
        let mut stretch = Stretch::new(folder.path(), 0, end);
        let found = read(&mut stretch);
        assert!(found.len() > 70 && found.len() < 95, "{}", found.len());
        assert!(found.last().is_some_and(|line| line.starts_with("line 99 ")));
        assert!(
            stretch.damaged > 1000 && stretch.damaged < 4096,
            "{}",
            stretch.damaged
        );

        let last = files.last().unwrap();
        let mut bytes = std::fs::read(&last.1).unwrap();
        bytes[HEADER + 8] ^= 1;
        std::fs::write(&last.1, &bytes).unwrap();
        let mut stretch = Stretch::new(folder.path(), last.0, end);
        let mut into = Logged::default();
        assert!(stretch.next(&mut into).is_err());
        assert!(!stretch.next(&mut into).unwrap());
        assert_eq!(stretch.damaged, end - last.0);
    }
}
