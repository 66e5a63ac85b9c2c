//! The usual lines of Dovecot, read by bit masks (see [`super::super::quick`]).

use crate::dialect::quick::{Line, first};
use crate::event::{Event, Kind, Verdict};
use crate::wide::Wide;

/// Windows of 64 bytes that an address is looked for in, from the end of the line.
const LOOKS: usize = 4;

/// Reads the message of program `dovecot` at `from`, if its shape is a usual one.
#[inline(always)]
pub(in crate::dialect) fn read<W: Wide>(line: Line<'_, W>, from: usize) -> Option<Verdict<'_>> {
    let imap = line.has(from, b"imap");
    if !imap && !line.has(from, b"pop3") {
        return None;
    }
    if line.has(from + 4, b"(") {
        // A session's own line, if anything is said in it.
        let [colons, blanks] = line.wide.positions(line.window(from)?, [b':', b' ']);
        let said = from + first(colons & blanks >> 1, 4);
        return (said < from + 64 && said < line.end).then_some(Verdict::Ignored("session detail"));
    }
    if !line.has(from + 4, b"-login: ") || !line.has(from + 12, b"Login: u") || !line.has(from + 18, b" user=<") {
        return None;
    }
    let user = from + 25;
    // The last address of the line: behind it the client has no say.
    let mut last = line.end.checked_sub(64)?;
    let mut looks = LOOKS;
    let rip = loop {
        let [blanks, r, i, equals] = line.wide.positions(line.window(last)?, [b' ', b'r', b'i', b'=']);
        let mut marks = blanks & r >> 1 & i >> 2 & equals >> 4;
        let mut found = None;
        while marks != 0 {
            let mark = 63 - marks.leading_zeros() as usize;
            if line.has(last + mark, b" rip=") {
                found = Some(last + mark);
                break;
            }
            marks &= !(1 << mark);
        }
        if let Some(found) = found {
            break found;
        }
        looks -= 1;
        if last < user || looks == 0 {
            return None;
        }
        // A mark that ends in the first bytes of a window shows in the one before it only.
        last = last.checked_sub(60)?;
    };
    if rip < user {
        return None;
    }
    let tail = rip + 5;
    let front = line.window(tail)?;
    let [commas, blanks] = line.wide.positions(front, [b',', b' ']);
    let close = (commas | blanks).trailing_zeros() as usize;
    if tail + close >= line.end {
        return None;
    }
    // The account ends at the last '>' before the address.
    let before = rip.checked_sub(64)?;
    let [closes] = line.wide.positions(line.window(before)?, [b'>']);
    let end = before + 63_usize.checked_sub(closes.leading_zeros() as usize)?;
    if end < user {
        return None;
    }
    Some(Verdict::Event(Event {
        client: line.client(front, tail, 0, close)?,
        account: line.block.get(user..end)?,
        ..Event::new(if imap { Kind::ImapAccess } else { Kind::PopAccess })
    }))
}
