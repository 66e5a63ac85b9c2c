//! The time at the start of a line, in every shape.
//!
//! Each reader answers None where the text has not its shape, and a [`Read`] without a stamp where it
//! has the shape but no such time exists (31 April, 25:00:00): then the rest of the line is still read.

use super::header::{Clock, Form, Stamp};
use super::time::{DAY, days_from_civil, days_in_month, yearless_seconds};

/// A time that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Read {
    /// The time; none where no such time exists.
    pub stamp: Option<Stamp>,
    /// Bytes that it takes.
    pub length: usize,
}

/// Seconds since 1970 that are taken for a time: 1990 to 2100.
const PLAUSIBLE: std::ops::Range<i64> = 631_152_000..4_102_444_800;

/// Any shape, and what may follow it.
pub(super) fn any(text: &[u8]) -> Option<(Read, Form)> {
    let first = *text.first()?;
    match first {
        b'0'..=b'9' => iso(text)
            .or_else(|| bind(text).map(|read| (read, Form::Bind)))
            .or_else(|| year_first(text).map(|read| (read, Form::Bsd)))
            .or_else(|| epoch(text).map(|read| (read, Form::Loose))),
        b'@' => tai64(text)
            .or_else(|| shifted(epoch(text.get(1..)?), 1))
            .map(|read| (read, Form::Loose)),
        b'[' => {
            let read = epoch_digits(text.get(1..)?)?;
            (text.get(read.length + 1) == Some(&b']')).then_some(())?;
            Some((
                Read {
                    length: read.length + 2,
                    ..read
                },
                Form::Loose,
            ))
        }
        // Cisco marks a clock that is not set with a star, one that lost its server with a dot.
        b'*' | b'.' => shifted(bsd(text.get(1..)?), 1).map(|read| (read, Form::Bsd)),
        _ => bsd(text)
            .map(|read| (read, Form::Bsd))
            .or_else(|| with_weekday(text))
            .or_else(|| foreign(text).map(|read| (read, Form::Bsd))),
    }
}

fn shifted(read: Option<Read>, by: usize) -> Option<Read> {
    read.map(|read| Read {
        length: read.length + by,
        ..read
    })
}

/// `Jul 15 18:00:01`, with a day of one digit after one or two spaces, a fraction, a colon, and a year
/// before or after the time of day.
#[inline]
pub(super) fn bsd(text: &[u8]) -> Option<Read> {
    let [a, b, c, b' ', ..] = text else { return None };
    let month = month([*a, *b, *c])?;
    after_month(text, 4, month)
}

/// Day, time of day and year from `at` on.
#[inline]
fn after_month(text: &[u8], at: usize, month: u32) -> Option<Read> {
    // `15 18:00:01` or ` 5 18:00:01`: eleven bytes, nearly always.
    let fixed: &[u8; 11] = text.get(at..)?.first_chunk()?;
    let tens = if fixed[0] == b' ' { b'0' } else { fixed[0] };
    if let Some(day) = pair(tens, fixed[1])
        && fixed[2] == b' '
        && let Some(second) = clock([
            fixed[3], fixed[4], fixed[5], fixed[6], fixed[7], fixed[8], fixed[9], fixed[10],
        ])
    {
        return Some(tail(text, at + 11, month, day, second, None));
    }
    after_month_odd(text, at, month)
}

/// The same where the day stands alone (`Oct 4 …`) or a year stands before the time of day.
#[cold]
fn after_month_odd(text: &[u8], mut at: usize, month: u32) -> Option<Read> {
    at += blanks(text, at);
    let (day, length) = number(text.get(at..)?, 2)?;
    at += length;
    let gap = blanks(text, at);
    (gap > 0).then_some(())?;
    at += gap;
    let mut year = None;
    if let Some((value, 4)) = number(text.get(at..)?, 5)
        && text.get(at + 4) == Some(&b' ')
    {
        year = Some(value);
        at += 4 + blanks(text, at + 4);
    }
    let second = clock(*text.get(at..)?.first_chunk()?)?;
    Some(tail(text, at + 8, month, day, second, year))
}

/// Fraction, colon and year after the time of day, and the stamp of it all.
#[inline]
fn tail(
    text: &[u8],
    mut at: usize,
    month: u32,
    day: u32,
    second: Option<u32>,
    mut year: Option<u32>,
) -> Read {
    match text.get(at) {
        Some(b' ') => {}
        Some(b'.' | b',') => at += fraction(text, at),
        _ => {}
    }
    if text.get(at) == Some(&b':') {
        at += 1;
    }
    // A year after the time; a digit there is rare, a host name such as `2002` rarer.
    if year.is_none()
        && let Some([b' ', b'1' | b'2', ..]) = text.get(at..)
        && let Some((value, 4)) = text.get(at + 1..).and_then(|rest| number(rest, 5))
        && (1970..2200).contains(&value)
        // `2001:db8::1` is a host.
        && matches!(text.get(at + 5..), None | Some([] | [b' ', ..] | [b':'] | [b':', b' ', ..]))
    {
        year = Some(value);
        at += 5 + usize::from(text.get(at + 5) == Some(&b':'));
    }
    let stamp = match year {
        None => second
            .and_then(|second| yearless_seconds(month, day, second))
            .map(|seconds| Stamp {
                clock: Clock::Yearless,
                seconds,
            }),
        Some(year) => full(year, month, day, second, None),
    };
    Read { stamp, length: at }
}

/// `2002 Jul 15 18:00:01`.
fn year_first(text: &[u8]) -> Option<Read> {
    let (year, 4) = number(text, 5)? else { return None };
    let [b' ', a, b, c, b' ', ..] = text.get(4..)? else {
        return None;
    };
    let month = month([*a, *b, *c])?;
    let mut at = 9 + blanks(text, 9);
    let (day, length) = number(text.get(at..)?, 2)?;
    at += length;
    (text.get(at) == Some(&b' ')).then_some(())?;
    let second = clock(*text.get(at + 1..)?.first_chunk()?)?;
    Some(tail(text, at + 9, month, day, second, Some(year)))
}

/// `2002-07-15T18:00:01.123456+09:00`: `T` or a space, fraction and offset as they come.
fn iso(text: &[u8]) -> Option<(Read, Form)> {
    let date: &[u8; 19] = text.first_chunk()?;
    if date[4] != b'-' || date[7] != b'-' || !matches!(date[10], b'T' | b't' | b' ') {
        return None;
    }
    let year = pair(date[0], date[1])? * 100 + pair(date[2], date[3])?;
    let (month, day) = (pair(date[5], date[6])?, pair(date[8], date[9])?);
    let second = clock(*text.get(11..)?.first_chunk()?)?;
    let mut at = 19;
    if matches!(text.get(at), Some(b'.' | b',')) {
        at += fraction(text, at);
    }
    let mut form = if date[10] == b' ' { Form::Loose } else { Form::Iso };
    let mut away = None;
    match text.get(at) {
        Some(b'Z' | b'z' | b'+' | b'-') if let Some((zone, length)) = offset(text.get(at..)?) => {
            let Some(zone) = zone else {
                return Some((
                    Read {
                        stamp: None,
                        length: at + length,
                    },
                    form,
                ));
            };
            (away, form) = (Some(zone), Form::Iso);
            at += length;
        }
        // `18:00:01 +0900 ` and `18:00:01 UTC `.
        Some(b' ') => {
            let rest = text.get(at + 1..)?;
            let end = rest
                .iter()
                .take(7)
                .position(|byte| *byte == b' ')
                .unwrap_or(rest.len().min(7));
            let word = rest.get(..end)?;
            let zone = match word {
                b"UTC" | b"GMT" => Some(0),
                [b'+' | b'-', _, _, ..] => offset(word)
                    .filter(|(_, length)| *length == end)
                    .and_then(|(zone, _)| zone),
                _ => None,
            };
            if zone.is_some() {
                away = zone;
                at += 1 + end;
            }
        }
        // A zone that is no zone: the time is not known.
        Some(byte) if byte.is_ascii_alphabetic() => {
            let length = text
                .get(at..)?
                .iter()
                .take_while(|byte| byte.is_ascii_alphanumeric())
                .count();
            return Some((
                Read {
                    stamp: None,
                    length: at + length,
                },
                form,
            ));
        }
        Some(b':') => at += 1,
        _ => {}
    }
    Some((
        Read {
            stamp: full(year, month, day, second, away),
            length: at,
        },
        form,
    ))
}

/// `15-Jul-2002 18:00:01.123`.
fn bind(text: &[u8]) -> Option<Read> {
    let (day, digits) = number(text, 2)?;
    let [b'-', a, b, c, b'-', rest @ ..] = text.get(digits..)? else {
        return None;
    };
    let month = month([*a, *b, *c])?;
    let (year, 4) = number(rest, 5)? else { return None };
    let mut at = digits + 9;
    (text.get(at) == Some(&b' ')).then_some(())?;
    let second = clock(*text.get(at + 1..)?.first_chunk()?)?;
    at += 9;
    if text.get(at) == Some(&b'.') {
        at += fraction(text, at);
    }
    Some(Read {
        stamp: full(year, month, day, second, None),
        length: at,
    })
}

/// `Mon 2002-07-15 18:00:01 JST` (journalctl -o short-full) and `Mon Jul 15 18:00:01 2002`, which the C
/// library makes for daemons that write their own files.
fn with_weekday(text: &[u8]) -> Option<(Read, Form)> {
    let [a, b, c, b' ', rest @ ..] = text else {
        return None;
    };
    let name = [*a | 0x20, *b | 0x20, *c | 0x20];
    [b"mon", b"tue", b"wed", b"thu", b"fri", b"sat", b"sun"]
        .contains(&&name)
        .then_some(())?;
    if let Some(read) = bsd(rest) {
        return Some((
            Read {
                length: read.length + 4,
                ..read
            },
            Form::Loose,
        ));
    }
    let (read, _) = iso(rest)?;
    let mut length = read.length + 4;
    // The abbreviation of the zone. UTC and GMT were read already; others are ambiguous all over the
    // world, and the time is that of the machine.
    if let Some(Stamp {
        clock: Clock::Local, ..
    })
    | None = read.stamp
        && let Some((b' ', word)) = text
            .get(length..)
            .and_then(<[u8]>::split_first)
            .map(|(first, word)| (*first, word))
    {
        let letters = word
            .iter()
            .take(7)
            .take_while(|byte| byte.is_ascii_uppercase() || matches!(byte, b'+' | b'-' | b'0'..=b'9'))
            .count();
        if (2..=6).contains(&letters) && word.get(letters) == Some(&b' ') {
            length += 1 + letters;
        }
    }
    Some((Read { length, ..read }, Form::Iso))
}

/// A month that is no English month, with a day and a time of day: no time, but a header.
fn foreign(text: &[u8]) -> Option<Read> {
    let word = text.iter().take(12).position(|byte| *byte == b' ')?;
    (3..=10).contains(&word).then_some(())?;
    text.get(..word)?
        .iter()
        .all(|byte| byte.is_ascii_alphabetic() || *byte >= 0x80)
        .then_some(())?;
    let read = after_month(text, word + 1, 1)?;
    Some(Read { stamp: None, ..read })
}

/// Seconds (9 or 10 digits), with a fraction, or milliseconds (13 digits) since 1970, and a blank.
fn epoch(text: &[u8]) -> Option<Read> {
    let read = epoch_digits(text)?;
    matches!(text.get(read.length), Some(b' ' | b'\t')).then_some(read)
}

fn epoch_digits(text: &[u8]) -> Option<Read> {
    let mut value = 0i64;
    let mut length = 0;
    while let Some(digit @ b'0'..=b'9') = text.get(length) {
        (length < 13).then_some(())?;
        value = value * 10 + i64::from(digit - b'0');
        length += 1;
    }
    let seconds = match length {
        9 | 10 => value,
        13 => value / 1000,
        _ => return None,
    };
    PLAUSIBLE.contains(&seconds).then_some(())?;
    if text.get(length) == Some(&b'.') {
        length += fraction(text, length);
    }
    Some(Read {
        stamp: Some(Stamp {
            clock: Clock::Absolute,
            seconds,
        }),
        length,
    })
}

/// `@` and 24 hexadecimal digits: a TAI64N label, which multilog writes. Its seconds are 2^62 + 10
/// beyond those of UTC, since the library behind it knows no later leap seconds.
fn tai64(text: &[u8]) -> Option<Read> {
    let label: &[u8; 25] = text.first_chunk()?;
    let mut value = 0u64;
    for byte in &label[1..17] {
        value = value << 4 | u64::from((*byte as char).to_digit(16)?);
    }
    label[17..].iter().all(u8::is_ascii_hexdigit).then_some(())?;
    matches!(text.get(25), None | Some(b' ')).then_some(())?;
    let seconds = i64::try_from(value.checked_sub((1 << 62) + 10)?).ok()?;
    let stamp = PLAUSIBLE.contains(&seconds).then_some(Stamp {
        clock: Clock::Absolute,
        seconds,
    });
    Some(Read { stamp, length: 25 })
}

/// The stamp of a full date; `away`: its UTC offset in seconds.
fn full(year: u32, month: u32, day: u32, second: Option<u32>, away: Option<i64>) -> Option<Stamp> {
    let second = second?;
    let year = i64::from(year);
    if year == 0 || day == 0 || day > days_in_month(year, month) {
        return None;
    }
    let local = days_from_civil(year, month, day) * DAY + i64::from(second);
    Some(match away {
        Some(away) => Stamp {
            clock: Clock::Absolute,
            seconds: local - away,
        },
        None => Stamp {
            clock: Clock::Local,
            seconds: local,
        },
    })
}

/// `Z`, `+09:00`, `+0900`, `+09`: seconds (none where there is no such offset) and length.
pub(super) fn offset(text: &[u8]) -> Option<(Option<i64>, usize)> {
    let sign = match text.first()? {
        b'Z' | b'z' => return Some((Some(0), 1)),
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let hours = pair(*text.get(1)?, *text.get(2)?)?;
    let (minutes, length) = match text.get(3..).unwrap_or_default() {
        [b':', a, b, ..] => (pair(*a, *b)?, 6),
        [a @ b'0'..=b'9', b, ..] => (pair(*a, *b)?, 5),
        _ => (0, 3),
    };
    let seconds = sign * i64::from(hours * 3600 + minutes * 60);
    Some(((hours < 24 && minutes < 60).then_some(seconds), length))
}

/// `hh:mm:ss`: None where it has not the shape, Some(None) where there is no such time. A leap second
/// counts as the second before it, so that it stays in its minute and its day.
#[inline]
fn clock(text: [u8; 8]) -> Option<Option<u32>> {
    let (b':', b':') = (text[2], text[5]) else {
        return None;
    };
    let hour = pair(text[0], text[1])?;
    let minute = pair(text[3], text[4])?;
    let second = pair(text[6], text[7])?;
    Some((hour <= 23 && minute <= 59 && second <= 60).then(|| hour * 3600 + minute * 60 + second.min(59)))
}

/// Two digits.
#[inline]
fn pair(tens: u8, ones: u8) -> Option<u32> {
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    (tens < 10 && ones < 10).then(|| u32::from(tens) * 10 + u32::from(ones))
}

/// A number of at most `limit` digits (≤ 9) and its length.
fn number(text: &[u8], limit: usize) -> Option<(u32, usize)> {
    let mut value = 0;
    let mut length = 0;
    while length < limit
        && let Some(digit @ b'0'..=b'9') = text.get(length)
    {
        value = value * 10 + u32::from(digit - b'0');
        length += 1;
    }
    (length > 0).then_some((value, length))
}

/// Length of a point or comma and the digits after it; 0 where no digit follows.
fn fraction(text: &[u8], at: usize) -> usize {
    let digits = text
        .get(at + 1..)
        .unwrap_or_default()
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    if digits == 0 { 0 } else { digits + 1 }
}

/// Number of spaces from `at` on.
fn blanks(text: &[u8], at: usize) -> usize {
    text.get(at..)
        .unwrap_or_default()
        .iter()
        .take_while(|byte| **byte == b' ')
        .count()
}

/// 1–12 of an English month in any case.
#[inline]
fn month(name: [u8; 3]) -> Option<u32> {
    Some(match &[name[0] | 0x20, name[1] | 0x20, name[2] | 0x20] {
        b"jan" => 1,
        b"feb" => 2,
        b"mar" => 3,
        b"apr" => 4,
        b"may" => 5,
        b"jun" => 6,
        b"jul" => 7,
        b"aug" => 8,
        b"sep" => 9,
        b"oct" => 10,
        b"nov" => 11,
        b"dec" => 12,
        _ => return None,
    })
}
