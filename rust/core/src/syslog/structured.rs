//! RFC 5424: `<PRI>1 TIME HOST APP PROCID MSGID SD MSG`, and the same without the priority, as rsyslog
//! writes it into a file.

use super::date;
use super::header::{Form, Header};
use super::origin::skip_blanks;

/// Reads what follows the priority. `prioritized`: whether there was one; without it only version 1
/// with a full time is believed, since a message may well begin with a number.
///
/// None: not of this shape.
pub(super) fn parse(text: &[u8], prioritized: bool) -> Option<Header<'_>> {
    // A time in letters, which is what follows most priorities, is turned away at once.
    let Some(b'1'..=b'9') = text.first() else {
        return None;
    };
    let (version, rest) = word(text)?;
    match version {
        b"1" => {}
        [b'1'..=b'9', digits @ ..]
            if prioritized && digits.len() < 3 && digits.iter().all(u8::is_ascii_digit) => {}
        _ => return None,
    }
    let (stamp, rest) = match rest {
        [b'-', b' ', rest @ ..] if prioritized => (None, rest),
        _ => {
            let (read, Form::Iso) = date::any(rest)? else {
                return None;
            };
            let rest = rest.get(read.length..)?.strip_prefix(b" ")?;
            (read.stamp, rest)
        }
    };
    let (host, rest) = word(rest)?;
    let (program, rest) = word(rest)?;
    let (procid, rest) = word(rest)?;
    let (_, rest) = word(rest)?;
    let (program, inner_pid) = split_pid(nil(program));
    let pid = if !procid.is_empty() && procid.iter().all(u8::is_ascii_digit) {
        procid
    } else {
        inner_pid
    };
    Some(Header {
        stamp,
        host: nil(host),
        program,
        pid,
        message: message(rest),
    })
}

/// A field and what follows its space. The last field of a short line counts as well.
fn word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    match memchr::memchr(b' ', text) {
        Some(0) => None,
        Some(at) => Some((text.get(..at)?, text.get(at + 1..)?)),
        None => (!text.is_empty()).then_some((text, b"")),
    }
}

/// A field with the nil value taken for empty.
fn nil(field: &[u8]) -> &[u8] {
    if field == b"-" { b"" } else { field }
}

/// Some senders leave the pid (and the colon) on the name.
fn split_pid(name: &[u8]) -> (&[u8], &[u8]) {
    let name = name.strip_suffix(b":").unwrap_or(name);
    let Some(inner) = name.strip_suffix(b"]") else {
        return (name, b"");
    };
    let digits = inner
        .iter()
        .rev()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let Some((before, pid)) = inner
        .split_at_checked(inner.len() - digits)
        .filter(|(_, pid)| !pid.is_empty())
    else {
        return (name, b"");
    };
    before
        .strip_suffix(b"[")
        .map_or((name, b""), |program| (program, pid))
}

/// The message after the structured data, without its byte order mark. Where the structured data do
/// not end, they are the message.
fn message(text: &[u8]) -> &[u8] {
    let rest = match text {
        [b'-', b' ', rest @ ..] => rest,
        b"-" => b"",
        [b'[', ..] => after_elements(text).unwrap_or(text),
        _ => text,
    };
    let rest = skip_blanks(rest);
    skip_blanks(rest.strip_prefix(b"\xef\xbb\xbf").unwrap_or(rest))
}

/// What follows `[id name="value"][…]`. A bracket within quotes belongs to the value; quotes,
/// backslashes and brackets in a value stand behind a backslash.
fn after_elements(text: &[u8]) -> Option<&[u8]> {
    let mut rest = text;
    while let [b'[', inner @ ..] = rest {
        let mut quoted = false;
        let mut at = 0;
        loop {
            let found = if quoted {
                memchr::memchr2(b'"', b'\\', inner.get(at..)?)
            } else {
                memchr::memchr2(b'"', b']', inner.get(at..)?)
            };
            at += found?;
            match inner.get(at)? {
                b'\\' => at += 2,
                b'"' => {
                    quoted = !quoted;
                    at += 1;
                }
                _ => break,
            }
        }
        rest = inner.get(at + 1..)?;
    }
    match rest {
        [b' ', rest @ ..] => Some(rest),
        [] => Some(rest),
        // No space: what follows belongs to no field, keep it.
        _ => Some(rest),
    }
}
