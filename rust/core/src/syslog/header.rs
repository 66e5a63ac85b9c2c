//! What stands before the message: priority, time, host, program, pid.
//!
//! [`parse`] looks at the first bytes of a line, reads the time in whichever shape it has, and hands
//! what follows to the part that knows the shape: host and tag (BSD and ISO syslog, journalctl), the
//! fields of RFC 5424, a journal entry as JSON, or the category and severity of BIND's own files.
//! Bytes are read by hand, once; nothing is allocated, except that JSON strings with escapes are
//! unescaped into a [`Scratch`] that is kept between lines.
//!
//! Limits: one line at a time, so that a line without a header (the rest of a message of several
//! lines) is all message; times are read to the second. `docs/lines.md` lists every shape.

use super::{date, json, origin, structured};

/// The calendar under its other name.
pub use super::time as civil;

pub use super::bind_file::body as bind_body;

/// Which kind of clock a time was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[repr(u8)]
pub enum Clock {
    /// Month, day and time of day without a year: seconds since 1 January of a year of 366 days.
    Yearless,
    /// A full date without an offset: seconds since 1970 as if the local time were UTC.
    Local,
    /// An absolute time: seconds since 1970, UTC.
    Absolute,
}

/// A time as the line tells it, to the second (fractions are cut, a leap second is the one before).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// How `seconds` is to be read.
    pub clock: Clock,
    /// Seconds on that clock.
    pub seconds: i64,
}

/// A line taken apart. Empty slices: not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// The time, or none.
    pub stamp: Option<Stamp>,
    /// Host name as spelled.
    pub host: &'a [u8],
    /// Program name without pid (`postfix/smtpd`).
    pub program: &'a [u8],
    /// Process id, digits.
    pub pid: &'a [u8],
    /// The text after the tag.
    pub message: &'a [u8],
}

impl<'a> Header<'a> {
    /// A header that tells nothing: everything is message.
    pub(super) const fn bare(message: &'a [u8]) -> Self {
        Header {
            stamp: None,
            host: b"",
            program: b"",
            pid: b"",
            message,
        }
    }
}

/// Memory for unescaped text, kept between lines.
#[derive(Debug, Default)]
pub struct Scratch {
    pub(super) bytes: Vec<u8>,
}

impl Scratch {
    /// An empty one. Nothing is allocated before the first escaped JSON string.
    #[must_use]
    pub const fn new() -> Self {
        Scratch { bytes: Vec::new() }
    }
}

/// What kind of time was read, as far as it decides how the rest is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `Jul 15 18:00:01`: host and tag follow.
    Bsd,
    /// `2002-07-15T18:00:01+09:00`: host and tag follow, or the category of a BIND channel.
    Iso,
    /// `2002-07-15 18:00:01`, or seconds since 1970: host and tag where both are seen, else a
    /// daemon's own file.
    Loose,
    /// `15-Jul-2002 18:00:01.123`: BIND's own file.
    Bind,
}

/// Takes one line apart. Never fails: what is not understood is message.
///
/// `line` is without its line feed; a carriage return at the end is cut. The slices of the header
/// point into `line` or, for JSON with escapes, into `scratch`.
#[inline]
#[must_use]
pub fn parse<'a>(line: &'a [u8], scratch: &'a mut Scratch) -> Header<'a> {
    let line = match line {
        [text @ .., b'\r'] => text,
        text => text,
    };
    // The plain syslog line goes straight through.
    if let Some(read) = date::bsd(line) {
        return finish(line, read, Form::Bsd);
    }
    parse_other(line, scratch)
}

/// Every shape but the plainest.
fn parse_other<'a>(line: &'a [u8], scratch: &'a mut Scratch) -> Header<'a> {
    match line.first() {
        Some(b'{') => json::parse(line, scratch).unwrap_or(Header::bare(line)),
        Some(b'<') => match priority(line) {
            Some(text) => structured::parse(text, true)
                .or_else(|| stamped(origin::skip_blanks(text)))
                .unwrap_or_else(|| without_time(text)),
            None => Header::bare(line),
        },
        Some(b'1') => structured::parse(line, false)
            .or_else(|| stamped(line))
            .unwrap_or(Header::bare(line)),
        Some(b'd') => dovecot_file(line)
            .or_else(|| stamped(line))
            .unwrap_or(Header::bare(line)),
        Some(_) => stamped(line).unwrap_or(Header::bare(line)),
        None => Header::bare(line),
    }
}

/// A line that begins with a time in any shape.
fn stamped(text: &[u8]) -> Option<Header<'_>> {
    let (read, form) = date::any(text)?;
    Some(finish(text, read, form))
}

#[inline]
fn finish(text: &[u8], read: date::Read, form: Form) -> Header<'_> {
    let rest = text.get(read.length..).unwrap_or_default();
    Header {
        stamp: read.stamp,
        ..origin::parse(rest, form)
    }
}

/// A line with a priority but no time: `<13>prog[1]: text`. A tag with a pid is believed, nothing else.
fn without_time(text: &[u8]) -> Header<'_> {
    let text = origin::skip_blanks(text);
    origin::tag_with_pid(text).unwrap_or(Header::bare(text))
}

/// What follows `<0>` … `<999>`.
fn priority(line: &[u8]) -> Option<&[u8]> {
    let inner = line.get(1..)?;
    let digits = inner
        .iter()
        .take(3)
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    match inner.get(digits) {
        Some(b'>') if digits > 0 => inner.get(digits + 1..),
        _ => None,
    }
}

/// `dovecot: Jul 15 18:00:01 Info: text`, the own file of Dovecot 1.
fn dovecot_file(line: &[u8]) -> Option<Header<'_>> {
    let text = line.strip_prefix(b"dovecot: ")?;
    let (read, _) = date::any(text)?;
    let rest = origin::skip_blanks(text.get(read.length..)?);
    let message = origin::after_dovecot_severity(rest).unwrap_or(rest);
    Some(Header {
        stamp: read.stamp,
        program: b"dovecot",
        ..Header::bare(message)
    })
}

#[cfg(test)]
mod tests;
