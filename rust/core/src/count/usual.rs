//! The usual query line, read from its first byte to its flags in one go.
//!
//! Nearly all lines of a query log are of one shape, and neighbouring ones begin alike: the same minute, the same
//! host, the same `named[1201]: client `. Here such a line is held against what the lines before it began with, 64
//! bytes at a time, and its fields are cut by bit masks. All of it happens within the [`SPAN`] bytes from its start, so
//! that no step has to ask whether the block goes on. What is not exactly so (another minute, a view, a key, a long
//! name, an unknown type, the end of the block) is left to the ways that know all shapes; what is gives the same event
//! (tested on random lines).

use crate::dialect::bind::quick::Query;
use crate::dialect::bind::usual::fields;
use crate::wide::Wide;

/// Bytes from the start of a line within which everything is read: more than the sum of all that is added up.
pub const SPAN: usize = 1024;

/// 64 bytes of a line. Positions are sums of a few numbers below 128, which the compiler can see.
#[inline(always)]
pub(crate) fn window(line: &[u8; SPAN], at: usize) -> &[u8; 64] {
    const LAST: usize = SPAN - 64;
    match line[at.min(LAST)..].first_chunk::<64>() {
        Some(window) => window,
        // Never: 64 bytes stand behind the last place.
        None => &[0; 64],
    }
}

/// A text of up to 64 bytes some of which differ from line to line within bounds.
#[derive(Clone, Copy, Debug)]
struct Stencil {
    least: [u8; 64],
    span: [u8; 64],
}

impl Stencil {
    /// The first `length` bytes of a text (at most 64); behind them stands anything.
    fn new(text: &[u8], length: usize) -> Option<Stencil> {
        let mut stencil = Stencil {
            least: [0; 64],
            span: [255; 64],
        };
        stencil
            .least
            .get_mut(..length)?
            .copy_from_slice(text.get(..length)?);
        stencil.span.get_mut(..length)?.fill(0);
        Some(stencil)
    }

    /// At a place stands any digit up to this one.
    fn digit(&mut self, at: usize, most: u8) {
        if let (Some(least), Some(span)) = (self.least.get_mut(at), self.span.get_mut(at)) {
            (*least, *span) = (b'0', most);
        }
    }

    #[inline(always)]
    fn fits<W: Wide>(&self, wide: W, window: &[u8; 64]) -> bool {
        wide.within(window, &self.least, &self.span)
    }
}

/// The time that lines of one minute begin with.
#[derive(Clone, Copy, Debug)]
pub struct Time {
    stencil: Stencil,
    /// Where the text after the time begins.
    length: u8,
}

impl Time {
    /// The time at the head of a line, which ends before `length`, with its seconds (two digits) at `seconds` and the
    /// digits of their fraction, if it has some, in `fraction`.
    #[must_use]
    pub fn new(line: &[u8], length: usize, seconds: usize, fraction: std::ops::Range<usize>) -> Option<Time> {
        let mut stencil = Stencil::new(line, length)?;
        stencil.digit(seconds, 5);
        stencil.digit(seconds + 1, 9);
        fraction.for_each(|at| stencil.digit(at, 9));
        Some(Time {
            stencil,
            length: length as u8,
        })
    }

    /// Where the text after the time begins, if the line's time lies in this minute.
    #[inline(always)]
    #[must_use]
    pub fn matches<W: Wide>(&self, wide: W, line: &[u8; SPAN]) -> Option<usize> {
        let fits = self.stencil.fits(wide, window(line, 0));
        fits.then_some(usize::from(self.length) & 127)
    }
}

/// What stands between time and fields of the queries of one daemon: `ns1 named[1201]: client `.
#[derive(Clone, Copy)]
struct Head {
    stencil: Stencil,
    length: u8,
    server: u32,
}

/// Places for heads, by their first bytes (the host name).
const PLACES: usize = 64;

/// The heads that are known.
pub struct Heads {
    heads: [Option<Head>; PLACES],
}

impl Default for Heads {
    fn default() -> Self {
        Heads {
            heads: [None; PLACES],
        }
    }
}

#[inline(always)]
fn place(first: [u8; 8]) -> usize {
    (u64::from_le_bytes(first).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58) as usize
}

impl Heads {
    /// Remembers what a query began with: `head` stands between its time and its fields. Long ones are not kept.
    #[inline(never)]
    pub fn learn(&mut self, head: &[u8], server: u32) {
        let Some(first) = head.first_chunk::<8>() else {
            return;
        };
        if let Some(stencil) = Stencil::new(head, head.len()) {
            self.heads[place(*first)] = Some(Head {
                stencil,
                length: head.len() as u8,
                server,
            });
        }
    }

    /// Number of the server, client, name and type of a usual query whose time ends before `at`, and its line at `end`.
    #[inline(always)]
    pub fn query<'a, W: Wide>(
        &self,
        wide: W,
        line: &'a [u8; SPAN],
        at: usize,
        end: usize,
    ) -> Option<(u32, Query<'a>)> {
        let rest = window(line, at);
        let [a, b, c, d, e, f, g, h, ..] = *rest;
        let head = self.heads[place([a, b, c, d, e, f, g, h])].as_ref()?;
        if !head.stencil.fits(wide, rest) {
            return None;
        }
        let query = fields(wide, line, at + (usize::from(head.length) & 127), end)?;
        Some((head.server, query))
    }
}
