//! Streams and parts of files cut into blocks of whole lines, in bounded memory.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

/// What a reader of blocks is given.
pub enum Block<'a> {
    /// Whole lines. Only the last block of a stream may end without a line end.
    Lines(&'a [u8]),
    /// A line was longer than allowed; its text is dropped.
    TooLong,
}

/// Size of the reads: it fits the second-level cache together with the tables.
pub const BLOCK: usize = 256 * 1024;

/// Reads a stream to its end. `take` returns `false` to stop. Returns the bytes of text that were
/// read, also when an error ended the reading.
pub fn each(
    stream: &mut dyn Read,
    line_most: usize,
    take: &mut dyn FnMut(Block<'_>, u64) -> bool,
) -> (u64, Option<io::Error>) {
    let mut buffer = vec![0u8; BLOCK];
    let mut filled = 0;
    let mut offset = 0u64;
    // The rest of a line that was too long is skipped.
    let mut skipping = false;
    loop {
        let error = match buffer.get_mut(filled..).map(|room| stream.read(room)) {
            Some(Ok(0)) | None => {
                if filled > 0 && !skipping {
                    take(Block::Lines(&buffer[..filled]), offset);
                }
                return (offset, None);
            }
            Some(Ok(n)) => {
                offset += n as u64;
                let from = filled;
                filled += n;
                let Some(last) = memchr::memrchr(b'\n', &buffer[from..filled]) else {
                    if skipping {
                        filled = 0;
                    } else if filled == buffer.len() {
                        if buffer.len() >= line_most {
                            skipping = true;
                            filled = 0;
                            if !take(Block::TooLong, offset) {
                                return (offset, None);
                            }
                        } else {
                            buffer.resize((buffer.len() * 2).min(line_most.max(BLOCK)), 0);
                        }
                    }
                    continue;
                };
                let mut start = 0;
                let end = from + last + 1;
                if skipping {
                    start = memchr::memchr(b'\n', &buffer[..end]).map_or(end, |p| p + 1);
                    skipping = false;
                }
                if start < end && !take(Block::Lines(&buffer[start..end]), offset) {
                    return (offset, None);
                }
                buffer.copy_within(end..filled, 0);
                filled -= end;
                None
            }
            Some(Err(e)) if e.kind() == io::ErrorKind::Interrupted => None,
            Some(Err(e)) => Some(e),
        };
        if let Some(error) = error {
            // What was readable counts: whole lines are done, a half line is not trusted.
            return (offset, Some(error));
        }
    }
}

/// A part of a plain file as a stream.
pub struct Part {
    file: File,
    at: u64,
    end: u64,
}

impl Part {
    /// The bytes of `file` from `start` to `end`.
    #[must_use]
    pub fn new(file: File, start: u64, end: u64) -> Part {
        Part { file, at: start, end }
    }
}

impl Read for Part {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let n = buffer.len().min(left);
        let Some(room) = buffer.get_mut(..n).filter(|r| !r.is_empty()) else {
            return Ok(0);
        };
        let n = self.file.read_at(room, self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}

/// The first line start at or after `offset`.
///
/// # Errors
/// Those of the file.
pub fn line_start(file: &File, offset: u64, end: u64) -> io::Result<u64> {
    if offset == 0 {
        return Ok(0);
    }
    let mut buffer = vec![0u8; 64 * 1024];
    // A line starts behind a line end: look from the byte before.
    let mut at = offset - 1;
    while at < end {
        let n = file.read_at(&mut buffer, at)?;
        if n == 0 {
            break;
        }
        if let Some(p) = memchr::memchr(b'\n', &buffer[..n]) {
            return Ok((at + p as u64 + 1).min(end));
        }
        at += n as u64;
    }
    Ok(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct Drip<'a>(&'a [u8], usize);
    impl Read for Drip<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let n = self.0.len().min(self.1).min(buffer.len());
            buffer[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }

    proptest! {
        #[test]
        fn lines_come_whole(text in "[a-c\n]{0,300}", drip in 1usize..50) {
            let mut out = Vec::new();
            let (offset, error) = each(&mut Drip(text.as_bytes(), drip), 1 << 20, &mut |block, _| {
                if let Block::Lines(b) = block { out.extend_from_slice(b) }
                true
            });
            prop_assert!(error.is_none());
            prop_assert_eq!(offset, text.len() as u64);
            prop_assert_eq!(out, text.into_bytes());
        }
    }

    #[test]
    fn a_line_past_the_bound_is_dropped_and_told() {
        let mut text = b"short\n".to_vec();
        text.extend(std::iter::repeat_n(b'x', 3 * BLOCK));
        text.extend_from_slice(b"\nafter\n");
        let (mut out, mut long) = (Vec::new(), 0);
        let _ = each(&mut Drip(&text, 70_000), BLOCK, &mut |block, _| {
            match block {
                Block::Lines(b) => out.extend_from_slice(b),
                Block::TooLong => long += 1,
            }
            true
        });
        assert_eq!(out, b"short\nafter\n");
        assert_eq!(long, 1);
    }
}
