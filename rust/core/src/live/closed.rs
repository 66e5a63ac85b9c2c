//! The closed-bin log: what a round told, on disk before anybody reads it.
//!
//! One file a round, `<revision>.closed`, written beside, synced and renamed, the folder synced after it. A file
//! holds the magic, a header (postcard: revision, servers, name and length of each table), the tables one after
//! the other, each an Arrow IPC stream, and an XXH3 hash of all before it. Revisions rise from file to file; the
//! newest file is kept even when it was released, so that the numbers go on after a restart.
//!
//! Bounds: when the files take more than `closed_bytes` the next round waits until a reader has released some.
//! Counting waits with it, then reception: nothing is thrown away. `seismolog_closed_bytes` and
//! `seismolog_closed_waits_total` show it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arrow_array::RecordBatch;
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::SchemaRef;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::metrics::{Counter, Gauge, Metrics};
use super::queue::lock;
use crate::error::{Error, Result};

/// First bytes of a file: what it is, and the version of its form.
const MAGIC: &[u8; 8] = b"smclose1";
const ENDING: &str = "closed";

/// A table of a round.
pub struct Told {
    /// Its name, as in the store.
    pub name: &'static str,
    /// Its schema.
    pub schema: SchemaRef,
    /// Its rows.
    pub batches: Vec<RecordBatch>,
}

#[derive(Serialize, Deserialize)]
struct Head {
    revision: u64,
    servers: Vec<String>,
    tables: Vec<(String, u64)>,
}

struct Inside {
    /// Bytes by revision.
    files: BTreeMap<u64, u64>,
    bytes: u64,
    /// Newest revision on disk, whether or not it was released.
    last: u64,
    released: u64,
    stopped: bool,
}

/// The log.
pub struct ClosedLog {
    folder: PathBuf,
    inside: Mutex<Inside>,
    changed: Condvar,
    bytes: Gauge,
    count: Gauge,
    waits: Counter,
}

fn io_error(what: String) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Io { what, source }
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Writes a file so that after a crash it is there whole or not at all.
///
/// # Errors
/// What the operating system said.
pub fn write_whole(folder: &Path, name: &str, parts: &[&[u8]]) -> io::Result<()> {
    let beside = folder.join(format!("{name}.tmp"));
    let written = (|| {
        let mut file = File::create(&beside)?;
        for part in parts {
            file.write_all(part)?;
        }
        file.sync_all()?;
        std::fs::rename(&beside, folder.join(name))?;
        sync_folder(folder)
    })();
    if written.is_err() {
        // Best effort: half a file must not take room that the next attempt needs.
        let _ = std::fs::remove_file(&beside);
    }
    written
}

impl ClosedLog {
    /// Opens the log in a folder, which is made where it is missing.
    ///
    /// # Errors
    /// [`Error::Io`]: the folder cannot be made or read.
    pub fn open(folder: &Path, metrics: &Metrics) -> Result<ClosedLog> {
        let what = || format!("closed-bin log {}", folder.display());
        std::fs::create_dir_all(folder).map_err(io_error(what()))?;
        let mut files = BTreeMap::new();
        for entry in std::fs::read_dir(folder).map_err(io_error(what()))? {
            let entry = entry.map_err(io_error(what()))?;
            let path = entry.path();
            let ending = path.extension().and_then(|e| e.to_str());
            if ending == Some("tmp") {
                std::fs::remove_file(&path).map_err(io_error(what()))?;
            }
            let revision = path
                .file_stem()
                .and_then(|s| s.to_str())
                .and_then(|s| s.parse::<u64>().ok());
            if let (Some(ENDING), Some(revision)) = (ending, revision) {
                let bytes = entry.metadata().map_err(io_error(what()))?.len();
                files.insert(revision, bytes);
            }
        }
        let log = ClosedLog {
            folder: folder.to_owned(),
            inside: Mutex::new(Inside {
                bytes: files.values().sum(),
                last: files.keys().next_back().copied().unwrap_or(0),
                files,
                released: 0,
                stopped: false,
            }),
            changed: Condvar::new(),
            bytes: metrics.gauge("seismolog_closed_bytes"),
            count: metrics.gauge("seismolog_closed_files"),
            waits: metrics.counter("seismolog_closed_waits_total"),
        };
        log.show(&lock(&log.inside));
        Ok(log)
    }

    fn show(&self, inside: &Inside) {
        self.bytes.set(inside.bytes);
        self.count
            .set(inside.files.range(inside.released + 1..).count() as u64);
    }

    fn path(&self, revision: u64) -> PathBuf {
        self.folder.join(name_of(revision))
    }

    /// The newest revision that was ever written.
    #[must_use]
    pub fn last(&self) -> u64 {
        lock(&self.inside).last
    }

    /// Waits until the files take less than `most` bytes; false if the log was stopped meanwhile.
    pub fn wait_for_room(&self, most: u64) -> bool {
        let mut inside = lock(&self.inside);
        if inside.bytes > most && !inside.stopped {
            self.waits.add(1);
        }
        while inside.bytes > most && !inside.stopped {
            inside = self
                .changed
                .wait_timeout(inside, Duration::from_secs(1))
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        !inside.stopped
    }

    /// Writes the tables of a round.
    ///
    /// # Errors
    /// [`Error::Io`]: nothing of it is there; [`Error::Table`] would be a bug.
    pub fn write(&self, revision: u64, servers: &[String], tables: &[Told]) -> Result<()> {
        let mut bodies = Vec::with_capacity(tables.len());
        for table in tables {
            let mut writer = StreamWriter::try_new(Vec::new(), &table.schema)?;
            for batch in &table.batches {
                writer.write(batch)?;
            }
            bodies.push(writer.into_inner()?);
        }
        let head = Head {
            revision,
            servers: servers.to_vec(),
            tables: tables
                .iter()
                .zip(&bodies)
                .map(|(t, b)| (t.name.to_owned(), b.len() as u64))
                .collect(),
        };
        let head = postcard::to_stdvec(&head).map_err(|e| Error::Io {
            what: "closed-bin log".to_owned(),
            source: io::Error::other(e),
        })?;
        let length = (head.len() as u32).to_le_bytes();
        let mut whole = xxhash_rust::xxh3::Xxh3::new();
        let mut parts: Vec<&[u8]> = vec![MAGIC, &length, &head];
        parts.extend(bodies.iter().map(Vec::as_slice));
        for part in &parts {
            whole.update(part);
        }
        let hash = whole.digest().to_le_bytes();
        parts.push(&hash);
        let bytes = parts.iter().map(|p| p.len() as u64).sum::<u64>();
        let name = name_of(revision);
        write_whole(&self.folder, &name, &parts).map_err(io_error(format!(
            "closed-bin log {}",
            self.path(revision).display()
        )))?;
        let mut inside = lock(&self.inside);
        inside.files.insert(revision, bytes);
        inside.bytes += bytes;
        inside.last = inside.last.max(revision);
        self.show(&inside);
        drop(inside);
        self.changed.notify_all();
        Ok(())
    }

    /// Waits for revisions above `seen`; none when the time is over or the log was stopped.
    #[must_use]
    pub fn wait(&self, seen: u64, patience: Duration) -> Vec<u64> {
        let until = Instant::now() + patience;
        let mut inside = lock(&self.inside);
        loop {
            let news: Vec<u64> = inside.files.range(seen + 1..).map(|f| *f.0).collect();
            let left = until.saturating_duration_since(Instant::now());
            if !news.is_empty() || left.is_zero() || inside.stopped {
                return news;
            }
            inside = self
                .changed
                .wait_timeout(inside, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Nobody waits any longer.
    pub fn stop(&self) {
        lock(&self.inside).stopped = true;
        self.changed.notify_all();
    }

    /// The files above a revision, oldest first.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Read`]: a file cannot be read or is damaged; the message names it.
    pub fn after(&self, revision: u64, most: usize) -> Result<Vec<ClosedFile>> {
        let revisions: Vec<u64> = {
            let inside = lock(&self.inside);
            let from = revision.max(inside.released).saturating_add(1);
            inside.files.range(from..).map(|f| *f.0).take(most).collect()
        };
        revisions
            .into_iter()
            .map(|revision| {
                let file = ClosedFile::open(&self.path(revision), revision)?;
                file.check()?;
                Ok(file)
            })
            .collect()
    }

    /// Everything up to the revision may go.
    ///
    /// # Errors
    /// [`Error::Io`]: a file cannot be deleted.
    pub fn release(&self, revision: u64) -> Result<()> {
        let mut inside = lock(&self.inside);
        inside.released = inside.released.max(revision);
        let newest = inside.files.keys().next_back().copied();
        let old: Vec<u64> = inside
            .files
            .range(..=inside.released)
            .map(|f| *f.0)
            .filter(|r| Some(*r) != newest)
            .collect();
        for revision in old {
            let path = self.path(revision);
            match std::fs::remove_file(&path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => {
                    return Err(io_error(format!("closed-bin log {}", path.display()))(e));
                }
                _ => {}
            }
            inside.bytes -= inside.files.remove(&revision).unwrap_or(0);
        }
        self.show(&inside);
        drop(inside);
        self.changed.notify_all();
        Ok(())
    }
}

fn name_of(revision: u64) -> String {
    format!("{revision:020}.{ENDING}")
}

/// A round that was told, read back. The file stays readable while this is held, released or not.
pub struct ClosedFile {
    path: PathBuf,
    file: File,
    head: Head,
    /// Where each table begins.
    from: Vec<u64>,
}

impl ClosedFile {
    fn open(path: &Path, revision: u64) -> Result<ClosedFile> {
        let damaged = |offset: u64, message: &str| Error::Read {
            path: path.to_owned(),
            offset,
            message: message.to_owned(),
        };
        let file = File::open(path).map_err(io_error(path.display().to_string()))?;
        let mut first = [0u8; 12];
        file.read_exact_at(&mut first, 0)
            .map_err(|_| damaged(0, "no closed-bin file"))?;
        let (magic, length) = first.split_at(8);
        if magic != MAGIC {
            return Err(damaged(0, "no closed-bin file of this version"));
        }
        let length = length.iter().rev().fold(0usize, |n, b| n << 8 | *b as usize);
        let size = file
            .metadata()
            .map_err(io_error(path.display().to_string()))?
            .len();
        if length as u64 > size {
            return Err(damaged(8, "a header longer than the file"));
        }
        let mut head = vec![0u8; length];
        file.read_exact_at(&mut head, 12)
            .map_err(|_| damaged(12, "the header is cut"))?;
        let head: Head = postcard::from_bytes(&head).map_err(|_| damaged(12, "the header is damaged"))?;
        let mut at = 12 + length as u64;
        let mut from = Vec::with_capacity(head.tables.len());
        for (_, bytes) in &head.tables {
            from.push(at);
            at = at.saturating_add(*bytes);
        }
        if head.revision != revision || at.saturating_add(8) != size {
            return Err(damaged(12, "the header does not fit the file"));
        }
        Ok(ClosedFile {
            path: path.to_owned(),
            file,
            head,
            from,
        })
    }

    /// Its number.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.head.revision
    }

    /// Server names; the tables hold their positions.
    #[must_use]
    pub fn servers(&self) -> &[String] {
        &self.head.servers
    }

    /// Names of the tables that have rows.
    #[must_use]
    pub fn tables(&self) -> Vec<&str> {
        self.head.tables.iter().map(|t| t.0.as_str()).collect()
    }

    /// A table; none where it has no rows in this round.
    ///
    /// # Errors
    /// [`Error::Read`]: the file is damaged.
    pub fn table(&self, name: &str) -> Result<Option<(SchemaRef, Vec<RecordBatch>)>> {
        let Some(at) = self.head.tables.iter().position(|t| t.0 == name) else {
            return Ok(None);
        };
        let (from, bytes) = (self.from[at], self.head.tables[at].1);
        let damaged = |message: String| Error::Read {
            path: self.path.clone(),
            offset: from,
            message,
        };
        let mut body = vec![0u8; usize::try_from(bytes).unwrap_or(usize::MAX)];
        self.file
            .read_exact_at(&mut body, from)
            .map_err(|e| damaged(e.to_string()))?;
        let reader = StreamReader::try_new(body.as_slice(), None).map_err(|e| damaged(e.to_string()))?;
        let schema = reader.schema();
        let batches = reader
            .collect::<std::result::Result<Vec<_>, _>>()
            .map_err(|e| damaged(e.to_string()))?;
        Ok(Some((schema, batches)))
    }

    /// Looks whether the file's hash is right.
    fn check(&self) -> Result<()> {
        let whole = std::fs::read(&self.path).map_err(io_error(self.path.display().to_string()))?;
        match whole.split_last_chunk::<8>() {
            Some((body, hash)) if xxh3_64(body) == u64::from_le_bytes(*hash) => Ok(()),
            _ => Err(Error::Read {
                path: self.path.clone(),
                offset: 0,
                message: "the hash is wrong".to_owned(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::UInt32Array;
    use arrow_schema::{DataType, Field, Schema};
    use std::sync::Arc;

    fn told(values: &[u32]) -> Told {
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::UInt32, false)]));
        let batch = RecordBatch::try_new(schema.clone(), vec![Arc::new(UInt32Array::from(values.to_vec()))]);
        Told {
            name: "traffic",
            schema,
            batches: vec![batch.expect("a batch")],
        }
    }

    #[test]
    fn what_is_written_is_read_and_released() {
        let folder = tempfile::tempdir().expect("a folder");
        let metrics = Metrics::default();
        let log = ClosedLog::open(folder.path(), &metrics).expect("a log");
        assert_eq!(log.last(), 0);
        for revision in [5, 9, 12] {
            let servers = vec![format!("ns{revision}")];
            log.write(revision, &servers, &[told(&[revision as u32])])
                .expect("written");
        }
        assert_eq!(log.wait(5, Duration::ZERO), [9, 12]);
        let files = log.after(5, 1).expect("files");
        assert_eq!((files.len(), files[0].revision()), (1, 9));
        files[0].check().expect("whole");
        log.release(12).expect("released");
        assert_eq!(log.after(0, 9).expect("files").len(), 0);
        // What is held stays readable; the newest file keeps the number.
        let (_, batches) = files[0].table("traffic").expect("whole").expect("there");
        assert_eq!(batches[0].num_rows(), 1);
        let again = ClosedLog::open(folder.path(), &metrics).expect("a log");
        assert_eq!(again.last(), 12);
        assert_eq!(again.after(0, 9).expect("files")[0].servers(), ["ns12"]);
    }

    #[test]
    fn a_damaged_file_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = ClosedLog::open(folder.path(), &Metrics::default()).expect("a log");
        log.write(7, &[], &[told(&[1, 2])]).expect("written");
        let path = folder.path().join(name_of(7));
        let whole = std::fs::read(&path).expect("a file");
        for cut in [0, 5, 11, 20, whole.len() - 1] {
            std::fs::write(&path, &whole[..cut]).expect("cut");
            assert!(log.after(0, 9).is_err(), "{cut}");
        }
        let mut wrong = whole.clone();
        wrong[whole.len() - 20] ^= 1;
        std::fs::write(&path, &wrong).expect("changed");
        assert!(log.after(0, 9).is_err());
    }
}
