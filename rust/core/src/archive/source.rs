//! A file as a stream of text, whatever its compression.
//!
//! The compression is told by the first bytes, never by the name. Members of a `.gz`, frames of a
//! `.zst` and streams of an `.xz` or `.bz2` follow each other as their tools allow. Of a damaged file
//! everything before the damage is read, then its error is told.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
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
        let stream = decoder(self.compression, Box::new(file)).map_err(open)?;
        if self.compression == Compression::Plain {
            return Ok(stream);
        }
        Ok(Box::new(Salvage {
            stream,
            path: self.path.clone(),
            compression: self.compression,
            offset: 0,
            slow: false,
            pending: None,
        }))
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
        Compression::Gzip => Box::new(Members {
            member: Some(flate2::bufread::GzDecoder::new(BufReader::with_capacity(
                INPUT_BUFFER,
                raw,
            ))),
        }),
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

/// The members of a `.gz`, one after another. Zeros behind a member are padding, as for gzip.
struct Members<R> {
    member: Option<flate2::bufread::GzDecoder<R>>,
}

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let Some(member) = self.member.as_mut() else {
                return Ok(0);
            };
            let n = member.read(buffer)?;
            if n > 0 || buffer.is_empty() {
                return Ok(n);
            }
            let Some(mut raw) = self.member.take().map(flate2::bufread::GzDecoder::into_inner) else {
                return Ok(0);
            };
            if skip_zeros(&mut raw)? {
                self.member = Some(flate2::bufread::GzDecoder::new(raw));
            }
        }
    }
}

/// Skips zeros; whether anything follows them.
fn skip_zeros(raw: &mut impl BufRead) -> io::Result<bool> {
    loop {
        let ahead = match raw.fill_buf() {
            Ok(ahead) => ahead,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        };
        if ahead.is_empty() {
            return Ok(false);
        }
        let zeros = ahead.iter().take_while(|b| **b == 0).count();
        let follows = zeros < ahead.len();
        raw.consume(zeros);
        if follows {
            return Ok(true);
        }
    }
}

/// The text of a compressed file up to its damage, to the byte.
///
/// A decoder drops what it wrote in the call that fails, up to a whole buffer. When that happens the
/// file is decoded a second time: past what was handed over already, and on byte by byte.
struct Salvage {
    stream: Box<dyn Read + Send>,
    path: PathBuf,
    compression: Compression,
    offset: u64,
    slow: bool,
    pending: Option<io::Error>,
}

impl Salvage {
    /// A second stream, at the same place.
    fn again(&self) -> io::Result<Box<dyn Read + Send>> {
        let mut stream = decoder(self.compression, Box::new(File::open(&self.path)?))?;
        io::copy(&mut stream.by_ref().take(self.offset), &mut io::sink())?;
        Ok(stream)
    }

    fn slowly(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut n = 0;
        for byte in buffer.chunks_mut(1) {
            // Text holds no NUL: another byte after a failure was decoded in the call that failed.
            byte.fill(0);
            match read_full(&mut self.stream, byte) {
                Ok(0) => break,
                Ok(_) => n += 1,
                Err(e) => {
                    n += usize::from(byte != [0]);
                    if n == 0 {
                        return Err(e);
                    }
                    self.pending = Some(e);
                    break;
                }
            }
        }
        self.offset += n as u64;
        Ok(n)
    }
}

impl Read for Salvage {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(error) = self.pending.take() {
            return Err(error);
        }
        if self.slow {
            return self.slowly(buffer);
        }
        match self.stream.read(buffer) {
            Ok(n) => {
                self.offset += n as u64;
                Ok(n)
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => Err(e),
            Err(error) => {
                self.slow = true;
                match self.again() {
                    Ok(stream) => {
                        self.stream = stream;
                        self.slowly(buffer)
                    }
                    Err(_) => Err(error),
                }
            }
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn packed(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        let written = encoder.write_all(text).and_then(|()| encoder.finish());
        written.unwrap_or_default()
    }

    fn text() -> Vec<u8> {
        (0..40_000u32)
            .flat_map(|i| format!("{} line\n", i.wrapping_mul(2_654_435_761)).into_bytes())
            .collect()
    }

    /// What is read of a file of these bytes, and whether an error ended it.
    fn read(name: &str, bytes: &[u8]) -> (Vec<u8>, bool) {
        let path = std::env::temp_dir().join(format!("seismolog-{}-{name}", std::process::id()));
        let mut out = Vec::new();
        let failed = std::fs::write(&path, bytes)
            .map_err(|_| ())
            .and_then(|()| Source::look(&path).map_err(|_| ()))
            .and_then(|source| source.open(&Arc::default()).map_err(|_| ()))
            .and_then(|mut stream| stream.read_to_end(&mut out).map_err(|_| ()))
            .is_err();
        let _ = std::fs::remove_file(&path);
        (out, failed)
    }

    #[test]
    fn members_and_padding() {
        let mut bytes = packed(b"one\n");
        bytes.extend(packed(b"two\n"));
        bytes.extend([0; 512]);
        bytes.extend(packed(b"three\n"));
        bytes.extend([0; 3]);
        assert_eq!(read("members.gz", &bytes), (b"one\ntwo\nthree\n".to_vec(), false));
    }

    #[test]
    fn everything_before_the_damage_is_read() {
        let text = text();
        let whole = packed(&text);
        for at in [whole.len() / 3, whole.len() / 2, whole.len() - 2000] {
            // A run of ones cannot stay a valid stream for long.
            let mut broken = whole.clone();
            broken[at..at + 500].fill(0xff);
            let (out, failed) = read("damage.gz", &broken);
            assert!(failed);
            let same = out.iter().zip(&text).take_while(|(a, b)| a == b).count();
            // The text grows evenly with its packed form.
            assert!(same as f64 > 0.97 * text.len() as f64 * at as f64 / whole.len() as f64);
        }
    }

    #[test]
    fn garbage_behind_the_end_costs_nothing() {
        let text = text();
        let mut bytes = packed(&text);
        bytes.extend_from_slice(b"no archive");
        let mut xz = Vec::new();
        let made = liblzma::read::XzEncoder::new(&text[..], 6).read_to_end(&mut xz);
        assert!(made.is_ok());
        xz.extend_from_slice(b"no archive");
        for (name, bytes) in [("garbage.gz", bytes), ("garbage.xz", xz)] {
            let (out, failed) = read(name, &bytes);
            assert!(failed);
            assert!(out == text, "{name}");
        }
    }
}
