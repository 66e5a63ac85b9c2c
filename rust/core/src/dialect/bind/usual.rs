//! The fields of the usual query, within the bytes that [`crate::count::usual`] looks at.
//!
//! `[@0x…] ADDRESS#PORT (NAME): query: NAME IN TYPE FLAGS…`, of which a type has a name of its own in the tables and the
//! flags begin with a sign. [`super::quick`] reads more, and asks more.

use super::quick::Query;
use super::scan::{key, marks, mask};
use super::types::known_type;
use crate::count::usual::{SPAN, window};
use crate::wide::Wide;

#[inline(always)]
fn word(line: &[u8; SPAN], at: usize) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *window(line, at);
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

/// Bit masks of three windows side by side.
#[derive(Clone, Copy)]
struct Bits([u64; 3]);

impl Bits {
    /// The 64 bits from `at` (below 128) on.
    #[inline(always)]
    fn from(self, at: usize) -> u64 {
        let [a, b, c] = self.0;
        let (low, high) = if at < 64 { (a, b) } else { (b, c) };
        let shift = at & 63;
        (low >> shift) | (high << 1 << (63 - shift))
    }
}

/// Reads the fields from `from` on in a line that ends at `end`.
///
/// Where a field begins depends on where the ones before it end. Only the blanks between them say so, and these are
/// looked for in all windows at once: a look at a window that waits for the look before takes several times as long.
#[inline(always)]
pub fn fields<W: Wide>(wide: W, line: &[u8; SPAN], from: usize, end: usize) -> Option<Query<'_>> {
    let front = window(line, from);
    let [first, hashes] = wide.positions(front, [b' ', b'#']);
    let [second] = wide.positions(window(line, from + 64), [b' ']);
    let [third] = wide.positions(window(line, from + 128), [b' ']);
    let spaces = Bits([first, second, third]);

    let (mut at, mut blanks) = (0, first);
    if front[0] == b'@' {
        at = first.trailing_zeros() as usize + 1;
        blanks &= first.wrapping_sub(1);
    }
    let blank = blanks.trailing_zeros() as usize;
    if blank >= 63 {
        return None;
    }
    // `(NAME):` from `inner` on, `query: `, the name once more.
    let inner = blank + 2;
    let close = (spaces.from(inner).trailing_zeros() as usize).wrapping_sub(2);
    if close >= 62 {
        return None;
    }
    let name = inner + close + 10;
    let length = spaces.from(name & 127).trailing_zeros() as usize;
    if name >= 128 || length.wrapping_sub(1) >= 63 {
        return None;
    }
    let type_at = from + name + length + 4;
    let head = word(line, type_at);

    // The port: one to five digits from the first `#` to the blank.
    let hash = (hashes & (u64::MAX << at)).trailing_zeros() as usize;
    let port = blank.wrapping_sub(hash + 1);
    let others = !wide.digits(front) & (u64::MAX << 1 << (hash & 63));
    let [closes, escapes] = wide.positions(window(line, from + inner), [b')', b'\\']);
    let behind = from + inner + close;
    let strange = (port.wrapping_sub(1) >= 5)
        | (hash == at)
        | (others.trailing_zeros() as usize != blank)
        | (front[(blank + 1) & 63] != b'(')
        | (closes.trailing_zeros() as usize != close)
        | (escapes & closes.wrapping_sub(1) & !closes != 0)
        | (word(line, behind) != key(b"): query"))
        | (word(line, behind + 2) != key(b" query: "))
        | (word(line, from + name + length) & mask(4) != key(b" IN "));
    if strange {
        return None;
    }

    let type_end = (marks(head, b' ').trailing_zeros() / 8) as usize;
    if type_end.wrapping_sub(1) >= 6 {
        return None;
    }
    let query_type = known_type(head & mask(type_end))?;
    // `+` or `-`, which nobody can guess: the two differ in one bit of their distance from the first.
    let sign = ((head >> (8 * (type_end & 7)) >> 8) as u8).wrapping_sub(b'+') & !(b'-' - b'+');
    // Everything so far stands before the sign: if that lies within the line, all does.
    if (sign != 0) | (type_at + type_end + 1 >= end) {
        return None;
    }
    let client = line.get(from + at..from + hash)?;
    let name = from + name;
    Some((client, line.get(name..name + length)?, query_type))
}
