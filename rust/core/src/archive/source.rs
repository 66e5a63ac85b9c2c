//! A file as a stream of text, whatever its compression.
//!
//! The compression is told by the first bytes, never by the name. Members of a `.gz`, frames of a
//! `.zst` and streams of an `.xz` or `.bz2` follow each other as their tools allow.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result};

/// How a file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    Plain,
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstd,
    /// xz.
    Xz,
    /// bzip2.
    Bzip2,
}

impl Compression {
    /// The name shown to users.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Compression::Plain => "plain",
            Compression::Gzip => "gz",
            Compression::Zstd => "zst",
            Compression::Xz => "xz",
            Compression::Bzip2 => "bz2",
        }
    }

    /// Told by the first bytes of a file.
    #[must_use]
    pub fn of(head: &[u8]) -> Compression {
        match head {
            [0x1f, 0x8b, 8, ..] => Compression::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Compression::Zstd,
            // A skippable frame may come first.
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Compression::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Compression::Xz,
            [
                b'B',
                b'Z',
                b'h',
                b'1'..=b'9',
                0x31,
                0x41,
                0x59,
                0x26,
                0x53,
                0x59,
                ..,
            ] => Compression::Bzip2,
            [
                b'B',
                b'Z',
                b'h',
                b'1'..=b'9',
                0x17,
                0x72,
                0x45,
                0x38,
                0x50,
                0x90,
                ..,
            ] => Compression::Bzip2,
            _ => Compression::Plain,
        }
    }
}

/// A file that can be read.
#[derive(Clone, Debug)]
pub struct Source {
    /// The path as given. `-` is standard input.
    pub path: PathBuf,
    /// Its compression.
    pub compression: Compression,
    /// Bytes on disk; 0 where that cannot be told (a pipe).
    pub bytes: u64,
    /// When the text was last written: the time inside a gzip header if there is one, else the file's
    /// modification time. Seconds since 1970, or none.
    pub written: Option<i64>,
    /// Whether parts can be read at an offset.
    pub regular: bool,
}

impl Source {
    /// Looks at a file: it is opened, its first bytes are read.
    ///
    /// # Errors
    /// [`Error::Open`] if it cannot be opened or is a folder.
    pub fn look(path: &Path) -> Result<Source> {
        if path.as_os_str() == "-" {
            return Ok(Source {
                path: path.to_owned(),
                compression: Compression::Plain,
                bytes: 0,
                written: None,
                regular: false,
            });
        }
        let open = |source| Error::Open {
            path: path.to_owned(),
            source,
        };
        // A pipe must not be opened twice, and opening one without a writer would wait.
        let meta = std::fs::metadata(path).map_err(open)?;
        if meta.is_dir() {
            return Err(open(io::Error::new(
                io::ErrorKind::IsADirectory,
                "is a folder, a file is expected",
            )));
        }
        let mtime = meta
            .modified()
            .ok()
            .and_then(|t| t.duration_since(std::time::UNIX_EPOCH).ok())
            .and_then(|d| i64::try_from(d.as_secs()).ok());
        if !meta.is_file() {
            return Ok(Source {
                path: path.to_owned(),
                compression: Compression::Plain,
                bytes: 0,
                written: None,
                regular: false,
            });
        }
        let mut head = [0u8; 16];
        let mut file = File::open(path).map_err(open)?;
        let n = read_full(&mut file, &mut head).map_err(open)?;
        let head = head.get(..n).unwrap_or_default();
        let compression = Compression::of(head);
        let inside = match (
            compression,
            head.get(4..8).and_then(|b| <[u8; 4]>::try_from(b).ok()),
        ) {
            (Compression::Gzip, Some(b)) => Some(i64::from(u32::from_le_bytes(b))).filter(|&t| t > 0),
            _ => None,
        };
        Ok(Source {
            path: path.to_owned(),
            compression,
            bytes: meta.len(),
            written: match (inside, mtime) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            },
            regular: true,
        })
    }

    /// Opens the text. `progress` counts the bytes read from disk.
    ///
    /// # Errors
    /// [`Error::Open`].
    pub fn open(&self, progress: &Arc<AtomicU64>) -> Result<Box<dyn Read + Send>> {
        let open = |source| Error::Open {
            path: self.path.clone(),
            source,
        };
        if self.path.as_os_str() == "-" {
            let input = Counted {
                inner: io::stdin(),
                progress: Arc::clone(progress),
            };
            return sniff(Box::new(input)).map_err(open);
        }
        let file = Counted {
            inner: File::open(&self.path).map_err(open)?,
            progress: Arc::clone(progress),
        };
        if !self.regular {
            return sniff(Box::new(file)).map_err(open);
        }
        decoder(self.compression, Box::new(file)).map_err(open)
    }
}

/// Decides by the first bytes of a stream that cannot be read twice.
fn sniff(mut stream: Box<dyn Read + Send>) -> io::Result<Box<dyn Read + Send>> {
    let mut head = vec![0u8; 16];
    let n = read_full(&mut stream, &mut head)?;
    head.truncate(n);
    let compression = Compression::of(&head);
    decoder(compression, Box::new(io::Cursor::new(head).chain(stream)))
}

const INPUT_BUFFER: usize = 256 * 1024;

fn decoder(compression: Compression, raw: Box<dyn Read + Send>) -> io::Result<Box<dyn Read + Send>> {
    Ok(match compression {
        Compression::Plain => raw,
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(BufReader::with_capacity(
            INPUT_BUFFER,
            raw,
        ))),
        Compression::Zstd => {
            let mut d =
                zstd::stream::read::Decoder::with_buffer(BufReader::with_capacity(INPUT_BUFFER, raw))?;
            // Archives made with --long=31 are still read; the window bounds the memory.
            d.window_log_max(31)?;
            Box::new(d)
        }
        Compression::Xz => {
            let stream = liblzma::stream::Stream::new_auto_decoder(1 << 30, liblzma::stream::CONCATENATED)
                .map_err(io::Error::from)?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(
                BufReader::with_capacity(INPUT_BUFFER, raw),
                stream,
            ))
        }
        Compression::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(BufReader::with_capacity(
            INPUT_BUFFER,
            raw,
        ))),
    })
}

/// Reads until the buffer is full or the stream ends.
///
/// # Errors
/// Those of the stream, but for an interruption.
pub fn read_full(stream: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut n = 0;
    while let Some(rest) = buffer.get_mut(n..).filter(|r| !r.is_empty()) {
        match stream.read(rest) {
            Ok(0) => break,
            Ok(k) => n += k,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(n)
}

struct Counted<R> {
    inner: R,
    progress: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.progress.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}
