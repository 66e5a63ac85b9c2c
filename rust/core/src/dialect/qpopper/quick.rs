//! The `Stats:` line of qpopper, read by bit masks (see [`super::super::quick`]).

use crate::dialect::quick::{Line, below};
use crate::event::{Event, Kind, Memory, Verdict};
use crate::wide::{Class, Wide};

const NUMBERS: Class = Class::of(b"0123456789- ");

/// Reads the message at `from`, if it is `Stats: joe 0 0 3 4567 host 1.2.3.4` in at most 64 bytes behind the colon.
#[inline(always)]
pub(in crate::dialect) fn read<'a, W: Wide>(line: Line<'a, W>, pid: &'a [u8], from: usize) -> Option<Verdict<'a>> {
    if !line.has(from, b"Stats: ") || pid.is_empty() {
        return None;
    }
    let at = from + 7;
    let front = line.window(at)?;
    let length = line.end.checked_sub(at).filter(|length| *length <= 64)?;
    let [blanks, closes] = line.wide.positions(front, [b' ', b']']);
    let (blanks, closes) = (blanks & below(length), closes & below(length));
    let mut rest = blanks;
    for _ in 0..4 {
        rest &= rest.wrapping_sub(1);
    }
    // Name, four numbers, and at least one word more, each behind one blank.
    let numbers = rest.trailing_zeros() as usize;
    let name = blanks.trailing_zeros() as usize;
    let odd = !line.wide.of_class(front, &NUMBERS) & below(numbers) & !below(name);
    let last = 63_usize.checked_sub(rest.leading_zeros() as usize)? + 1;
    if odd != 0 || blanks & blanks >> 1 != 0 || blanks & 1 != 0 || closes != 0 || last == length {
        return None;
    }
    Some(Verdict::Event(Event {
        client: line.client(front, at, last, length)?,
        account: line.block.get(at..at + name)?,
        memory: Memory::Hold(pid),
        ..Event::new(Kind::PopAccess)
    }))
}
