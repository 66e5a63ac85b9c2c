//! The usual query line of BIND 9.9 and later, read in three looks.
//!
//! `client [@0x…] ADDRESS#PORT (NAME): query: NAME IN TYPE FLAGS…` makes up nearly all of a query log. Here the ends
//! of its fields are taken from bit masks of 64 bytes at a time, where [`super::parse`] looks for them one by one.
//! What is not exactly so (a view, a key, an escape, a long name, the end of the block) is left to the full
//! reading; what is gives the same event (tested on random lines).

use super::scan::{byte, key, mask};
use super::type_and_flags;
use crate::event::QueryType;
use crate::wide::Wide;

/// Client, name and type of a query.
pub type Query<'a> = (&'a [u8], &'a [u8], QueryType);

/// Eight bytes; none where the block ends before.
#[inline(always)]
fn word(block: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*block.get(at..)?.first_chunk::<8>()?))
}

#[inline(always)]
fn window(block: &[u8], at: usize) -> Option<&[u8; 64]> {
    block.get(at..)?.first_chunk::<64>()
}

/// Whether the low `length` bytes (1 to 5) of a word are digits.
#[inline(always)]
const fn is_port(head: u64, length: usize) -> bool {
    if length == 0 || length > 5 {
        return false;
    }
    let used = mask(length);
    let digits = (head ^ 0x3030_3030_3030_3030) & used;
    // A digit is below ten: adding 0x76 does not reach the highest bit.
    (digits | digits.wrapping_add(0x7676_7676_7676_7676 & used)) & 0x8080_8080_8080_8080 == 0
}

/// Reads the message at `from`, whose line ends at `end`; the block may go on behind it.
#[inline(always)]
pub fn query<W: Wide>(wide: W, block: &[u8], from: usize, end: usize) -> Option<Query<'_>> {
    let front = window(block, from)?;
    if word(front, 0)? & mask(7) != key(b"client ") {
        return None;
    }
    let [spaces, hashes] = wide.positions(front, [b' ', b'#']);
    let mut spaces = spaces & !0x7f;
    let mut at = 7;
    if front[7] == b'@' {
        at = spaces.trailing_zeros() as usize + 1;
        spaces &= spaces.wrapping_sub(1);
    }
    let blank = spaces.trailing_zeros() as usize;
    if blank >= 63 {
        return None;
    }
    let hash = (hashes & (u64::MAX << at)).trailing_zeros() as usize;
    if hash >= blank || hash == at || front[blank + 1] != b'(' {
        return None;
    }
    if !is_port(word(block, from + hash + 1)?, blank - hash - 1) {
        return None;
    }
    let client = block.get(from + at..from + hash)?;

    let inner = from + blank + 2;
    let [spaces, closes, escapes] = wide.positions(window(block, inner)?, [b' ', b')', b'\\']);
    let close = closes.trailing_zeros() as usize;
    if close >= 62
        || spaces.trailing_zeros() as usize != close + 2
        || escapes & ((1 << close) - 1) != 0
        || word(block, inner + close)? != key(b"): query")
        || word(block, inner + close + 8)? & mask(2) != key(b": ")
    {
        return None;
    }

    let name = inner + close + 10;
    let [spaces] = wide.positions(window(block, name)?, [b' ']);
    let length = spaces.trailing_zeros() as usize;
    if length == 0 || length >= 64 || word(block, name + length)? & mask(4) != key(b" IN ") {
        return None;
    }
    let line = block.get(..end)?;
    let at = name + length + 4;
    // All fields so far lie before this one: if it lies within the line, they do.
    if byte(line, at) == 0 {
        return None;
    }
    let query_type = type_and_flags(line, at).ok()?;
    Some((client, &block[name..name + length], query_type))
}
