//! The identity of a text: a hash of its head, its length and a hash of the whole.
//!
//! A log grows at its end. Two files with the same head are the same log if the shorter one's text is
//! a prefix of the longer one's, which the hash of the longer one up to that length tells.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use crate::error::{Error, Result};

use super::source::{Source, read_full};

/// Bytes of text that the head's hash covers.
pub const HEAD: usize = 4096;

/// What a text is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digest {
    /// Hash of the first [`HEAD`] bytes, or of all there are, as 32 hexadecimal digits.
    pub head: String,
    /// Hash of the whole text.
    pub full: String,
    /// Bytes of text.
    pub length: u64,
    /// For each length asked for: the hash of the text up to there; none if it is shorter.
    pub prefixes: Vec<Option<String>>,
}

fn hex(hash: u128) -> String {
    format!("{hash:032x}")
}

/// The hash of the first bytes of a file's text, and how many there are (at most [`HEAD`]).
///
/// # Errors
/// [`Error::Open`], or [`Error::Read`] if not even the head can be read.
pub fn head(source: &Source) -> Result<(String, u64)> {
    let mut stream = source.open(&Arc::new(AtomicU64::new(0)))?;
    let mut bytes = vec![0u8; HEAD];
    let n = read_full(&mut stream, &mut bytes).map_err(|e| Error::Read {
        path: source.path.clone(),
        offset: 0,
        message: e.to_string(),
    })?;
    Ok((hex(xxh3_128(bytes.get(..n).unwrap_or_default())), n as u64))
}

/// Hashes a whole text, and its prefixes of the given lengths.
///
/// # Errors
/// [`Error::Open`], [`Error::Read`].
pub fn digest(source: &Source, lengths: &[u64]) -> Result<Digest> {
    let mut stream = source.open(&Arc::new(AtomicU64::new(0)))?;
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&i| lengths[i]);
    let mut prefixes = vec![None; lengths.len()];
    let mut next = order.into_iter().peekable();
    let mut whole = Xxh3::new();
    let mut head = String::new();
    let mut length = 0u64;
    let mut buffer = vec![0u8; 256 * 1024];
    loop {
        let n = read_full(&mut stream, &mut buffer).map_err(|e| Error::Read {
            path: source.path.clone(),
            offset: length,
            message: e.to_string(),
        })?;
        let mut block = buffer.get(..n).unwrap_or_default();
        if length == 0 {
            head = hex(xxh3_128(block.get(..HEAD.min(n)).unwrap_or_default()));
        }
        while let Some(i) = next.next_if(|&i| lengths[i] <= length + block.len() as u64) {
            let (before, after) =
                block.split_at(usize::try_from(lengths[i].saturating_sub(length)).unwrap_or(0));
            whole.update(before);
            length += before.len() as u64;
            prefixes[i] = Some(hex(whole.digest128()));
            block = after;
        }
        whole.update(block);
        length += block.len() as u64;
        if n < buffer.len() {
            break;
        }
    }
    Ok(Digest {
        head,
        full: hex(whole.digest128()),
        length,
        prefixes,
    })
}

/// Hashes a text while it is being read.
#[derive(Default)]
pub struct Running {
    whole: Xxh3,
    head: Vec<u8>,
    length: u64,
}

impl Running {
    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        if self.head.len() < HEAD {
            let room = HEAD - self.head.len();
            self.head
                .extend_from_slice(bytes.get(..room.min(bytes.len())).unwrap_or_default());
        }
        self.whole.update(bytes);
        self.length += bytes.len() as u64;
    }

    /// The identity of what was taken.
    #[must_use]
    pub fn finish(&self) -> Digest {
        Digest {
            head: hex(xxh3_128(&self.head)),
            full: hex(self.whole.digest128()),
            length: self.length,
            prefixes: Vec::new(),
        }
    }
}
