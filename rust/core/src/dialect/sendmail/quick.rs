//! The usual lines of sendmail, read by bit masks (see [`super::super::quick`]).

use super::mail_text::number;
use crate::dialect::quick::{Line, below, may_be_loopback};
use crate::event::{Event, Kind, Verdict};
use crate::wide::{Class, Wide};

const ID: Class = Class::of(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz");

/// Reads the message at `from`, if its shape is a usual one.
#[inline(always)]
pub(in crate::dialect) fn read<W: Wide>(line: Line<'_, W>, from: usize) -> Option<Verdict<'_>> {
    let front = line.window(from)?;
    let [colons] = line.wide.positions(front, [b':']);
    let colon = colons.trailing_zeros() as usize;
    let id = !line.wide.of_class(front, &ID) & below(colon) == 0;
    if !(5..=31).contains(&colon) || !id || front[colon + 1] != b' ' {
        return None;
    }
    let at = from + colon + 2;
    if line.has(at, b"to=<") {
        return delivery(line, address_end(line, at + 4)?);
    }
    if line.has(at, b"from=<") {
        return acceptance(line, address_end(line, at + 6)?);
    }
    None
}

/// The place behind the `>` of an address without quotes and backslashes.
#[inline(always)]
fn address_end<W: Wide>(line: Line<'_, W>, at: usize) -> Option<usize> {
    let [closes, quotes, escapes] = line.wide.positions(line.window(at)?, [b'>', b'"', b'\\']);
    let close = closes.trailing_zeros() as usize;
    (close < 64 && (quotes | escapes) & below(close) == 0).then_some(at + close + 1)
}

/// `, size=, class=, nrcpts=, msgid=, …, relay=host [1.2.3.4]`, to the end of the line.
#[inline(always)]
fn acceptance<W: Wide>(line: Line<'_, W>, at: usize) -> Option<Verdict<'_>> {
    if !line.has(at, b", size=") {
        return None;
    }
    let [commas, n, r] = line.wide.positions(line.window(at)?, [b',', b'n', b'r']);
    // The numbers before it are short.
    let marks = commas & n >> 2 & r >> 3;
    let mark = at + marks.trailing_zeros() as usize;
    if marks == 0 || mark >= line.end || !line.has(mark, b", nrcpts") || !line.has(mark + 8, b"=") {
        return None;
    }
    let (recipients, tail) = number(line.block.get(mark + 9..line.end)?)?;
    let tail = line.end - tail.len();
    // The last 64 bytes hold the last relay, and its address ends the line.
    let last = line.end.checked_sub(64).filter(|last| *last >= tail)?;
    let back = line.window(last)?;
    let [opens, commas, r, equals] = line.wide.positions(back, [b'[', b',', b'r', b'=']);
    let mut relays = commas & r >> 2 & equals >> 7;
    let open = 63_usize.checked_sub(opens.leading_zeros() as usize)?;
    if back[63] != b']' || recipients == 0 {
        return None;
    }
    loop {
        let relay = 63_usize.checked_sub(relays.leading_zeros() as usize)?;
        if line.has(last + relay, b", relay=") {
            let client = line.client(back, last, open + 1, 63)?;
            return (relay < open).then_some(Verdict::Event(Event {
                client,
                recipients,
                ..Event::new(Kind::SmtpAccepted)
            }));
        }
        relays &= !(1 << relay);
    }
}

/// `, delay=, xdelay=, mailer=, pri=, relay=, dsn=, stat=…`
#[inline(always)]
fn delivery<W: Wide>(line: Line<'_, W>, at: usize) -> Option<Verdict<'_>> {
    if !line.has(at, b", delay=") {
        return None;
    }
    let mut window = at;
    loop {
        let front = line.window(window)?;
        let [commas, s, t, opens] = line.wide.positions(front, [b',', b's', b't', b'[']);
        let mut marks = commas & s >> 2 & t >> 3;
        let mut open = opens;
        let mut status = None;
        while marks != 0 {
            let mark = marks.trailing_zeros() as usize;
            if line.has(window + mark, b", stat=") {
                open &= below(mark);
                status = Some(window + mark + 7);
                break;
            }
            marks &= marks - 1;
        }
        // A relay on loopback may be this server itself.
        while open != 0 {
            let inside = window + open.trailing_zeros() as usize + 1;
            if inside < line.end && may_be_loopback(line.block.get(inside..)?) {
                return None;
            }
            open &= open - 1;
        }
        if let Some(status) = status {
            if status > line.end {
                return None;
            }
            let kind = if line.has(status, b"Sent") {
                Kind::SmtpSent
            } else if line.has(status, b"Deferred") {
                Kind::SmtpDeferred
            } else {
                return None;
            };
            return Some(Verdict::Event(Event {
                recipients: 1,
                ..Event::new(kind)
            }));
        }
        // A mark that begins in the last bytes of a window shows in the next one only.
        window += 61;
        if window >= line.end {
            return None;
        }
    }
}
