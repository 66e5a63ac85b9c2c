//! The usual lines of Postfix, read by bit masks (see [`super::super::quick`]).

use super::{ID_CLASS, LONG, SHORT};
use crate::dialect::quick::{Line, below, first, may_be_loopback};
use crate::event::{Event, Kind, Verdict};
use crate::wide::{Class, Wide};

const SHORT_ID: Class = Class::of(b"0123456789ABCDEF");
/// Longer ids are left to the full reading.
const ID_MOST: usize = 24;

/// Reads the message at `from`, if its shape is a usual one.
#[inline(always)]
pub(in crate::dialect) fn read<W: Wide>(line: Line<'_, W>, from: usize) -> Option<Verdict<'_>> {
    let front = line.window(from)?;
    let [colons, opens, closes, blanks] = line.wide.positions(front, [b':', b'[', b']', b' ']);
    let colon = colons.trailing_zeros() as usize;
    let short = colon >= 5 && !line.wide.of_class(front, &SHORT_ID) & below(colon) == 0;
    if colon <= ID_MOST && front[colon + 1] == b' ' && (short || is_long(&front[..colon])) {
        return queued(line, from + colon + 2);
    }
    if line.has(from, b"connect ") && line.has(from + 5, b"ct from ") {
        let open = first(opens, 13);
        let close = first(closes, open + 1);
        if from + close + 1 != line.end || blanks & below(open) & !below(13) != 0 {
            return None;
        }
        return Some(Verdict::Event(Event {
            client: line.client(front, from, open + 1, close)?,
            ..Event::new(Kind::SmtpConnection)
        }));
    }
    if line.has(from, b"disconne") && line.has(from + 8, b"ct from ") {
        return Some(Verdict::Ignored("disconnect"));
    }
    None
}

/// Whether a text is a long queue id, which has digits and letters without vowels.
#[inline]
fn is_long(id: &[u8]) -> bool {
    id.len() >= 10
        && id
            .iter()
            .fold(SHORT | LONG, |class, &b| class & ID_CLASS[b as usize])
            & LONG
            != 0
}

#[inline(always)]
fn queued<W: Wide>(line: Line<'_, W>, at: usize) -> Option<Verdict<'_>> {
    if line.has(at, b"to=<") {
        return delivery(line, at + 4);
    }
    if line.has(at, b"client=") {
        let front = line.window(at)?;
        let [opens, closes] = line.wide.positions(front, [b'[', b']']);
        let open = first(opens, 0);
        let close = first(closes, open + 1);
        // What follows the client (a login, a hand-over) is read in full.
        if at + close + 1 != line.end {
            return None;
        }
        return Some(Verdict::Event(Event {
            client: line.client(front, at, open + 1, close)?,
            ..Event::new(Kind::SmtpAccepted)
        }));
    }
    if line.has(at, b"from=<") {
        // "returned to sender" is the only ending that counts.
        let last = line.block.get(line.end - 1)?;
        return (*last != b'r').then_some(Verdict::Ignored("queue manager"));
    }
    if line.has(at, b"message-") && line.has(at + 3, b"sage-id=") {
        return Some(Verdict::Ignored("message id"));
    }
    if line.has(at, b"removed") && at + 7 == line.end {
        return Some(Verdict::Ignored("queue manager"));
    }
    None
}

/// `a>, relay=host[address]:25, delay=…, status=sent (…)`, from the recipient's first byte on.
#[inline(always)]
fn delivery<W: Wide>(line: Line<'_, W>, at: usize) -> Option<Verdict<'_>> {
    let recipient = line.window(at)?;
    let [closes] = line.wide.positions(recipient, [b'>']);
    let close = closes.trailing_zeros() as usize;
    if close >= 64 || recipient[0] == b'"' || !line.has(at + close + 1, b", relay=") {
        return None;
    }
    let relay = at + close + 9;
    let front = line.window(relay)?;
    let [commas, blanks, opens, s, t] = line.wide.positions(front, [b',', b' ', b'[', b's', b't']);
    let relay_end = (commas & blanks >> 1).trailing_zeros() as usize;
    // A hand-over to oneself and local deliveries are read in full.
    if relay_end >= 63 || relay + relay_end >= line.end || line.has(relay, b"local") {
        return None;
    }
    let mut open = opens & below(relay_end);
    while open != 0 {
        if may_be_loopback(&front[open.trailing_zeros() as usize + 1..]) {
            return None;
        }
        open &= open - 1;
    }
    let mut window = relay;
    let mut marks = commas & s >> 2 & t >> 3;
    loop {
        while marks != 0 {
            let mark = window + marks.trailing_zeros() as usize;
            if mark >= line.end {
                return None;
            }
            if line.has(mark, b", status") && line.has(mark + 8, b"=") {
                let status = mark + 9;
                let kind = if line.has(status, b"sent ") {
                    Kind::SmtpSent
                } else if line.has(status, b"deferred") && line.has(status + 8, b" ") {
                    Kind::SmtpDeferred
                } else {
                    return None;
                };
                return Some(Verdict::Event(Event {
                    recipients: 1,
                    ..Event::new(kind)
                }));
            }
            marks &= marks - 1;
        }
        // A mark that begins in the last three bytes of a window shows in the next one only.
        window += 61;
        let [commas, s, t] = line.wide.positions(line.window(window)?, [b',', b's', b't']);
        marks = commas & s >> 2 & t >> 3;
    }
}
