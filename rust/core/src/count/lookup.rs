//! The fast way past the header: neighbouring lines begin alike.
//!
//! [`crate::syslog::header::parse`] takes any line apart. Most lines differ from the one before only
//! in the seconds, the pid and the message, so that what it found is remembered: the minute's text
//! ([`TimeCache`]) and the text of host and program ([`TagCache`]). A hit gives the very same answer
//! as the full parser (tested on random lines), a miss asks it.

use crate::dialect::Dialect;
use crate::syslog::header::{Clock, Header};
use crate::wide::{Class, Wide};

use super::usual::Time;

/// How the time stands at the head of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// `Jul 15 18:00:01 `.
    Rfc3164,
    /// `2002-07-15T18:00:01.123456+09:00 `.
    Iso,
    /// `15-Jul-2002 18:00:01.123 `.
    Bind,
}

/// A remembered minute.
#[derive(Clone, Copy, Debug)]
pub struct TimeCache {
    shape: Shape,
    /// First and last eight bytes of the text up to the minute, overlapping where it is shorter.
    low: u64,
    high: u64,
    /// What follows the seconds and fraction of an ISO time (`Z`, `+09:00`, nothing).
    offset: [u8; 6],
    offset_length: u8,
    /// The clock.
    pub clock: Clock,
    /// The minute on that clock.
    pub minute: i64,
    /// The same as bits, for usual queries.
    pub time: Option<Time>,
}

#[inline(always)]
fn load8(line: &[u8], at: usize) -> u64 {
    match line.get(at..at + 8).and_then(|s| <[u8; 8]>::try_from(s).ok()) {
        Some(b) => u64::from_le_bytes(b),
        None => 0,
    }
}

#[inline(always)]
fn two_digits(line: &[u8], at: usize) -> bool {
    matches!(line.get(at..at + 2), Some([b'0'..=b'5', b'0'..=b'9']))
}

/// The end of an ISO time's seconds and fraction, and of the time.
#[inline(always)]
fn iso_tail(line: &[u8]) -> Option<(usize, usize)> {
    let mut at = 19;
    if line.get(at) == Some(&b'.') {
        at += 1;
        while line.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
        if at == 20 || at > 30 {
            return None;
        }
    }
    let end = (at..at + 7).find(|&i| line.get(i) == Some(&b' '))?;
    Some((at, end))
}

impl TimeCache {
    /// Remembers the time of a line that the full parser has read, if its shape is one of the three.
    #[must_use]
    pub fn learn(line: &[u8], header: &Header<'_>) -> Option<TimeCache> {
        let stamp = header.stamp?;
        let minute = stamp.seconds.div_euclid(60);
        let blank = TimeCache {
            shape: Shape::Rfc3164,
            low: load8(line, 0),
            high: 0,
            offset: [0; 6],
            offset_length: 0,
            clock: stamp.clock,
            minute,
            time: None,
        };
        let at = |i: usize| line.get(i).copied().unwrap_or(0);
        if stamp.clock == Clock::Yearless && at(12) == b':' && at(15) == b' ' && two_digits(line, 13) {
            return Some(TimeCache {
                high: load8(line, 4),
                time: Time::new(line, 16, 13, 0..0),
                ..blank
            });
        }
        if at(4) == b'-' && at(10) == b'T' && at(16) == b':' && two_digits(line, 17) {
            let (from, end) = iso_tail(line)?;
            let text = line.get(from..end)?;
            let mut offset = [0; 6];
            offset.get_mut(..text.len())?.copy_from_slice(text);
            let offset_length = text.len() as u8;
            return Some(TimeCache {
                time: Time::new(line, end + 1, 17, 20..from),
                shape: Shape::Iso,
                high: load8(line, 8),
                offset,
                offset_length,
                ..blank
            });
        }
        if stamp.clock == Clock::Local
            && at(2) == b'-'
            && at(6) == b'-'
            && at(17) == b':'
            && at(20) == b'.'
            && at(24) == b' '
            && two_digits(line, 18)
        {
            return Some(TimeCache {
                shape: Shape::Bind,
                high: load8(line, 9),
                time: Time::new(line, 25, 18, 21..24),
                ..blank
            });
        }
        None
    }

    /// If the line's time lies in the remembered minute: where the text after the time begins.
    #[inline(always)]
    #[must_use]
    pub fn matches(&self, line: &[u8]) -> Option<usize> {
        if load8(line, 0) != self.low {
            return None;
        }
        match self.shape {
            Shape::Rfc3164 => {
                let same = load8(line, 4) == self.high;
                (same && line.get(12) == Some(&b':') && two_digits(line, 13) && line.get(15) == Some(&b' '))
                    .then_some(16)
            }
            Shape::Iso => {
                if load8(line, 8) != self.high || line.get(16) != Some(&b':') || !two_digits(line, 17) {
                    return None;
                }
                let (from, end) = iso_tail(line)?;
                let same = line.get(from..end)? == self.offset.get(..self.offset_length as usize)?;
                same.then_some(end + 1)
            }
            Shape::Bind => {
                let same = load8(line, 9) == self.high && line.get(17) == Some(&b':') && two_digits(line, 18);
                let millis = matches!(
                    line.get(20..25),
                    Some([b'.', b'0'..=b'9', b'0'..=b'9', b'0'..=b'9', b' '])
                );
                (same && millis).then_some(25)
            }
        }
    }

    /// Whether a text without host follows this time (BIND's own channels).
    #[inline(always)]
    #[must_use]
    pub fn is_bind(&self) -> bool {
        self.shape == Shape::Bind
    }
}

/// Whether a message may be a repetition, which the full way must look at.
#[inline(always)]
#[must_use]
pub fn is_repetition(message: &[u8]) -> bool {
    matches!(message.first(), Some(b'm' | b'l'))
        && (message.starts_with(b"message repeated ") || message.starts_with(b"last message "))
}

/// Line ends that are found ahead, and room for those of one more window.
const ENDS: usize = 4096;
const ENDS_ROOM: usize = ENDS + 64;
/// How far is looked at most.
const FAR: usize = 1 << 30;

/// The positions of the line ends of a block, found 64 bytes at a time and some thousand ahead: lines end where no
/// processor can guess, so that looking for the next end when it is needed would cost a wrong guess each.
pub struct LineEnds {
    found: Box<[u32; ENDS_ROOM]>,
}

impl Default for LineEnds {
    fn default() -> Self {
        LineEnds {
            found: Box::new([0; ENDS_ROOM]),
        }
    }
}

impl LineEnds {
    /// The first line ends of a text, and how far was looked: to its end if there are not too many.
    #[inline(always)]
    pub fn find<W: Wide>(&mut self, wide: W, text: &[u8]) -> (&[u32], usize) {
        let text = text.get(..FAR).unwrap_or(text);
        let (mut found, mut at) = (0, 0);
        while found < ENDS
            && let Some(window) = text.get(at..).and_then(|rest| rest.first_chunk::<64>())
        {
            let [mut bits] = wide.positions(window, [b'\n']);
            let behind = found + bits.count_ones() as usize;
            // Two ends at most stand in nearly every window: both places are written, whether there is one or not.
            for i in 0..2 {
                self.found[found + i] = at as u32 + bits.trailing_zeros();
                bits &= bits.wrapping_sub(1);
            }
            let mut i = found + 2;
            while bits != 0 {
                self.found[i] = at as u32 + bits.trailing_zeros();
                bits &= bits.wrapping_sub(1);
                i += 1;
            }
            found = behind;
            at += 64;
        }
        if found < ENDS {
            let rest = text.get(at..).unwrap_or_default();
            for (i, _) in rest.iter().enumerate().filter(|(_, b)| **b == b'\n') {
                self.found[found] = (at + i) as u32;
                found += 1;
            }
            at = text.len();
        }
        (&self.found[..found], at)
    }
}

/// What host and program of a line mean.
#[derive(Clone, Copy, Debug)]
pub struct Tag {
    head: [u8; 64],
    /// The bits of its bytes.
    bits: u64,
    head_length: u8,
    program_from: u8,
    /// Number of the server in the worker.
    pub server: u32,
    /// The dialect, if one claims the program.
    pub dialect: Option<Dialect>,
}

impl Tag {
    fn is(&self, head: &[u8]) -> bool {
        self.head.get(..self.head_length as usize) == Some(head)
    }
}

const WINDOW: usize = 48;
/// Places for heads, in pairs: two heads that meet have room side by side.
const PLACES: usize = 128;

const DIGITS: Class = Class::of(b"0123456789");
/// Digits that a pid may have.
const PID_MOST: usize = 11;

/// Host and program texts seen, by hash.
pub struct TagCache {
    tags: Vec<Option<Tag>>,
    /// What stands between time and message in BIND's own channels (`queries: info: `).
    literal: Vec<u8>,
    literal_tag: Option<(u32, Option<Dialect>)>,
}

impl Default for TagCache {
    fn default() -> Self {
        TagCache {
            tags: vec![None; PLACES],
            literal: Vec::new(),
            literal_tag: None,
        }
    }
}

/// A line's text after the time, taken apart.
pub struct Found<'a> {
    /// Number of the server in the worker.
    pub server: u32,
    /// The dialect, if one claims the program.
    pub dialect: Option<Dialect>,
    /// Program without pid.
    pub program: &'a [u8],
    /// Process id.
    pub pid: &'a [u8],
    /// The message.
    pub message: &'a [u8],
}

/// Bits of the positions in the first 32 bytes that hold `byte`.
#[inline(always)]
fn positions(window: &[u8; 32], byte: u8) -> u32 {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_mm_cmpeq_epi8, _mm_loadu_si128, _mm_movemask_epi8, _mm_set1_epi8};
        // SAFETY: SSE2 is part of x86_64; both loads are unaligned and lie within the 32 bytes.
        unsafe {
            let wanted = _mm_set1_epi8(byte as i8);
            let low = _mm_loadu_si128(window.as_ptr().cast());
            let high = _mm_loadu_si128(window.as_ptr().add(16).cast());
            let low = _mm_movemask_epi8(_mm_cmpeq_epi8(low, wanted)) as u32;
            let high = _mm_movemask_epi8(_mm_cmpeq_epi8(high, wanted)) as u32;
            low | (high << 16)
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        window
            .iter()
            .enumerate()
            .fold(0, |bits, (i, &b)| bits | (u32::from(b == byte) << i))
    }
}

/// Where the head (`host program`) ends: at the first `[` or `:` after the first space.
#[inline(always)]
fn head_end(rest: &[u8]) -> Option<usize> {
    let window = rest.first_chunk::<32>()?;
    let spaces = positions(window, b' ');
    if spaces == 0 {
        return None;
    }
    let after = !((spaces & spaces.wrapping_neg()) | ((spaces & spaces.wrapping_neg()) - 1));
    let ends = (positions(window, b'[') | positions(window, b':')) & after;
    if ends != 0 {
        return Some(ends.trailing_zeros() as usize);
    }
    // A long host name: look on by the byte.
    rest.get(32..WINDOW.min(rest.len()))?
        .iter()
        .position(|b| matches!(b, b'[' | b':'))
        .map(|p| p + 32)
}

/// After the head: optional `[digits]`, then `: `.
#[inline(always)]
fn after_head(rest: &[u8], head: usize) -> Option<(&[u8], &[u8])> {
    let tail = rest.get(head..)?;
    if tail.first() == Some(&b'[') {
        let mut digits = 0;
        while digits < PID_MOST && tail.get(1 + digits).is_some_and(u8::is_ascii_digit) {
            digits += 1;
        }
        let message = tail.get(1 + digits..)?.strip_prefix(b"]: ")?;
        (digits > 0).then_some((&tail[1..1 + digits], message))
    } else {
        Some((&tail[..0], tail.strip_prefix(b": ")?))
    }
}

#[inline(always)]
fn place(head: &[u8]) -> usize {
    let n = head.len();
    place_by(load8(head, 0), load8(head, n.saturating_sub(8)), n)
}

/// The same, given the first and the last eight bytes and the length.
#[inline(always)]
fn place_by(first: u64, last: u64, length: usize) -> usize {
    (super::hash::fold(first ^ (length as u64), last ^ 0x9e37_79b9_7f4a_7c15) as usize) & (PLACES - 2)
}

impl TagCache {
    /// Takes the text after the time apart, which stands in `block` from `from` to `end`, if its head has been seen.
    #[inline(always)]
    #[must_use]
    pub fn find<'a, W: Wide>(
        &self,
        wide: W,
        block: &'a [u8],
        from: usize,
        end: usize,
        bind: bool,
    ) -> Option<Found<'a>> {
        let rest = block.get(from..end)?;
        if bind {
            let (server, dialect) = self.literal_tag?;
            let message = rest.strip_prefix(self.literal.as_slice())?;
            // With an empty literal anything would match: only what surely is no category may pass.
            let sure = !self.literal.is_empty() || message.starts_with(b"client ");
            return sure.then_some(Found {
                server,
                dialect,
                program: &rest[..0],
                pid: &rest[..0],
                message,
            });
        }
        if W::CHEAP
            && let Some(found) = self.find_wide(wide, block, from, end)
        {
            return Some(found);
        }
        self.find_head(rest)
    }

    /// [`TagCache::find_head`] by bit masks of the first 64 bytes, of which the last may belong to later lines.
    #[inline(always)]
    fn find_wide<'a, W: Wide>(&self, wide: W, block: &'a [u8], from: usize, end: usize) -> Option<Found<'a>> {
        let window = block.get(from..)?.first_chunk::<64>()?;
        let [blanks, opens, colons, closes] = wide.positions(window, [b' ', b'[', b':', b']']);
        let after = |bits: u64, at: u64| bits & !(at | at.wrapping_sub(1));
        // The first blank, and what ends the head behind it, as bits.
        let blank = blanks & blanks.wrapping_neg();
        let ends = after(opens | colons, blank);
        let head = ends.trailing_zeros() as usize;
        if !(8..WINDOW).contains(&head) || blank == 0 {
            return None;
        }
        let place = place_by(load8(window, 0), load8(window, head - 8), head);
        let is_it = |tag: &Tag| {
            wide.common(window, &tag.head) & tag.bits == tag.bits && usize::from(tag.head_length) == head
        };
        let tag = match self.tags.get(place..place + 2)? {
            [Some(first), _] if is_it(first) => first,
            [_, Some(second)] if is_it(second) => second,
            _ => return None,
        };
        let (pid, message) = if window[head] == b'[' {
            let close = after(closes, 1 << head).trailing_zeros() as usize;
            let inside = (1_u64.checked_shl(close as u32).unwrap_or(0)).wrapping_sub(2 << head);
            if close > 61
                || !(1..=PID_MOST).contains(&(close - head - 1))
                || wide.of_class(window, &DIGITS) & inside != inside
                || window[close + 1..close + 3] != *b": "
            {
                return None;
            }
            (head + 1..close, close + 3)
        } else if window[head + 1] == b' ' {
            (head..head, head + 2)
        } else {
            return None;
        };
        // What lies behind the line's end is found only where this fails.
        let message = block.get(from + message..end)?;
        Some(Found {
            server: tag.server,
            dialect: tag.dialect,
            program: block.get(from + tag.program_from as usize..from + head)?,
            pid: block.get(from + pid.start..from + pid.end)?,
            message,
        })
    }

    #[inline(never)]
    fn find_head<'a>(&self, rest: &'a [u8]) -> Option<Found<'a>> {
        let end = head_end(rest)?;
        let head = rest.get(..end)?;
        let place = place(head);
        let pair = self.tags.get(place..place + 2)?;
        let tag = *pair.iter().flatten().find(|tag| tag.is(head))?;
        let (pid, message) = after_head(rest, end)?;
        Some(Found {
            server: tag.server,
            dialect: tag.dialect,
            program: head.get(tag.program_from as usize..)?,
            pid,
            message,
        })
    }

    /// Remembers what the full parser made of a line whose text after the time is `rest`.
    pub fn learn(
        &mut self,
        rest: &[u8],
        header: &Header<'_>,
        bind: bool,
        server: u32,
        dialect: Option<Dialect>,
    ) {
        let mut tag = Tag {
            head: [0; 64],
            bits: 0,
            head_length: 0,
            program_from: 0,
            server,
            dialect,
        };
        if bind {
            let literal = rest.len().saturating_sub(header.message.len());
            if header.host.is_empty()
                && header.program.is_empty()
                && literal <= 64
                && rest.ends_with(header.message)
            {
                self.literal = rest[..literal].to_vec();
                self.literal_tag = Some((server, dialect));
            }
            return;
        }
        let Some(end) = head_end(rest) else { return };
        let Some((pid, message)) = after_head(rest, end) else {
            return;
        };
        let host = header.host.len();
        let alike = end <= WINDOW
            && pid == header.pid
            && message == header.message
            && !header.host.is_empty()
            && !header.program.is_empty()
            && !header.program.contains(&b' ')
            && rest.get(..host) == Some(header.host)
            && rest.get(host) == Some(&b' ')
            && rest.get(host + 1..end) == Some(header.program);
        if alike {
            tag.head[..end].copy_from_slice(&rest[..end]);
            tag.bits = (1 << end) - 1;
            tag.head_length = end as u8;
            tag.program_from = (host + 1) as u8;
            // The newer one comes first, as it is asked for next.
            let at = place(&rest[..end]);
            if self.tags[at].is_some_and(|first| !first.is(&rest[..end])) {
                self.tags[at + 1] = self.tags[at];
            }
            self.tags[at] = Some(tag);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wide::Narrow;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_line_end_is_found(
            pieces in proptest::collection::vec(("[a-z]{0,90}", 1_usize..5000), 0..12),
        ) {
            // Lines of all lengths, and more empty ones than are found at a time.
            let text: String = pieces.iter().map(|(line, ends)| format!("{line}{}", "\n".repeat(*ends))).collect();
            let text = text.as_bytes();
            let expected: Vec<usize> = (0..text.len()).filter(|i| text[*i] == b'\n').collect();
            let (mut found, mut looked, mut ends) = (Vec::new(), 0, LineEnds::default());
            while looked < text.len() {
                let (next, length) = ends.find(Narrow, &text[looked..]);
                found.extend(next.iter().map(|end| looked + *end as usize));
                looked += length;
            }
            prop_assert_eq!(found, expected);
        }
    }
}
