//! The dialect of qpopper 2 to 4 (`popper`, `qpopper`, `in.qpopper`): one `pop_access` for each POP3 session.
//!
//! How it works: version 3 and later write a login line where they were built to, and every version writes
//! a `Stats:` line at the end of a session where statistics are on. Both carry the pid of the session's own
//! process: the `Stats:` line is held under it and the login line takes it back, so that a session counts
//! once, whichever of the two a site writes. Version 4 ends its lines in `[file.c:123]`, which is cut.
//!
//! A failed login prints up to three lines; only the answer to the client, `USER at HOST (ADDRESS): -ERR …`,
//! is counted, because every version prints it and it has the address. A user name holds no blanks, so the
//! words before the address are counted off from the front.
//!
//! Limits: lines without a pid are related by the user name instead; a site may configure another text for
//! the login line, which is then unmatched.

pub(super) mod quick;

use super::sendmail::mail_text::{address, after, rfind};
use crate::event::{Event, Kind, Memory, Verdict};

/// Whether qpopper writes under this program name.
#[must_use]
pub fn claims(program: &[u8]) -> bool {
    let name = memchr::memrchr(b'/', program).map_or(program, |at| &program[at + 1..]);
    let name = name.strip_prefix(b"in.").unwrap_or(name);
    [&b"popper"[..], b"qpopper", b"popper.ssl", b"spopper", b"qpop"].contains(&name)
}

/// Whether a message without a program name is qpopper's.
#[must_use]
pub fn recognizes(message: &[u8]) -> bool {
    login(message).is_some() || message.starts_with(b"Stats: ")
}

/// Reads one message.
#[inline]
#[must_use]
pub fn parse<'a>(_program: &'a [u8], pid: &'a [u8], message: &'a [u8]) -> Verdict<'a> {
    let text = without_place(message);
    if let Some(rest) = text.strip_prefix(b"Stats: ") {
        return statistics(pid, rest);
    }
    if let Some((account, client)) = login(text) {
        let id = if pid.is_empty() { account } else { pid };
        return Verdict::Event(Event {
            client,
            account,
            memory: if id.is_empty() {
                Memory::None
            } else {
                Memory::Cancel(id)
            },
            ..Event::new(Kind::PopAccess)
        });
    }
    if let Some(verdict) = refusal(text) {
        return verdict;
    }
    if text.starts_with(b"-ERR ") {
        return failure(b"", b"", text);
    }
    if KNOWN.iter().any(|known| text.starts_with(known)) {
        return Verdict::Ignored("session detail");
    }
    Verdict::Unmatched("unknown message")
}

/// Starts of messages that count nothing. `(v4.0.5)` begins the start-up, TLS and timing lines; `[AUTH]`
/// repeats a failure whose answer to the client is counted.
const KNOWN: &[&[u8]] = &[
    b"(v",
    b"[AUTH]",
    b"Failed attempted login to",
    b"Unable to ",
    b"Unable to open bulletin",
    b"Client at ",
    b"Client address ",
    b"warning: can't get client address",
    b"connect from ",
    b"refused connect from ",
    b"Servicing request from",
    b"Possible probe of account",
    b"Error ",
    b"I/O error",
    b"Timeout ",
    b"TLS ",
    b"OpenSSL ",
    b"SSL",
    b"timeout ",
    b"Drac",
    b"drac",
    b"Maildrop ",
    b"Set ",
    b"Using ",
    b"Trace and Debug",
    b"server mode",
];

/// The text without version 4's ` [pop_updt.c:309]`.
#[inline]
fn without_place(message: &[u8]) -> &[u8] {
    let Some(inside) = message.strip_suffix(b"]") else {
        return message;
    };
    let Some(open) = memchr::memrchr(b'[', inside) else {
        return message;
    };
    let place = &inside[open + 1..];
    let named = rfind(place, b":")
        .is_some_and(|at| place[..at].ends_with(b".c") && place[at + 1..].iter().all(u8::is_ascii_digit));
    match message[..open].strip_suffix(b" ") {
        Some(text) if named => text,
        _ => message,
    }
}

/// Account and address of `(v4.0.5) POP login by user "joe" at (host) 1.2.3.4`.
#[inline]
fn login(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = match text.strip_prefix(b"(") {
        Some(version) => {
            let close = memchr::memchr(b')', version)?;
            version[close + 1..].strip_prefix(b" ")?
        }
        None => text,
    };
    let rest = rest
        .strip_prefix(b"APOP ")
        .or_else(|| rest.strip_prefix(b"POP "))
        .unwrap_or(rest);
    let user = rest.strip_prefix(b"login by user \"")?;
    let end = rfind(user, b"\" at (")?;
    Some((&user[..end], last_word_address(user)))
}

/// The last word, if it is an address.
#[inline]
fn last_word_address(text: &[u8]) -> &[u8] {
    address(memchr::memrchr(b' ', text).map_or(text, |at| &text[at + 1..]))
}

/// `Stats: joe 0 0 3 4567 host 1.2.3.4`; version 2 has neither host nor address.
#[inline]
fn statistics<'a>(pid: &'a [u8], rest: &'a [u8]) -> Verdict<'a> {
    let Some(end) = memchr::memchr(b' ', rest) else {
        return Verdict::Unmatched("no statistics");
    };
    let (account, numbers) = (&rest[..end], &rest[end + 1..]);
    let mut words = numbers.split(|&b| b == b' ').filter(|word| !word.is_empty());
    if !words
        .by_ref()
        .take(4)
        .all(|word| word.iter().all(|b| b.is_ascii_digit() || *b == b'-'))
    {
        return Verdict::Unmatched("no statistics");
    }
    let id = if pid.is_empty() { account } else { pid };
    Verdict::Event(Event {
        client: words.next_back().map_or(&b""[..], address),
        account,
        memory: if id.is_empty() {
            Memory::None
        } else {
            Memory::Hold(id)
        },
        ..Event::new(Kind::PopAccess)
    })
}

/// `joe at host (1.2.3.4): -ERR …`.
fn refusal(text: &[u8]) -> Option<Verdict<'_>> {
    let at = memchr::memchr(b' ', text)?;
    let account = &text[..at];
    let rest = text[at..].strip_prefix(b" at ")?;
    let at = memchr::memchr(b' ', rest)?;
    let rest = rest[at..].strip_prefix(b" (")?;
    let close = memchr::memchr(b')', rest)?;
    let (client, rest) = (address(&rest[..close]), &rest[close..]);
    let answer = rest.strip_prefix(b"): ")?;
    let account = if account == b"(null)" { b"" } else { account };
    Some(failure(account, client, answer))
}

/// What the server answered: a failed login or another error.
fn failure<'a>(account: &'a [u8], client: &'a [u8], answer: &'a [u8]) -> Verdict<'a> {
    let Some(reason) = answer.strip_prefix(b"-ERR ") else {
        return Verdict::Ignored("session detail");
    };
    let tagged = reason.strip_prefix(b"[AUTH]");
    let reason = tagged.map_or(reason, |text| text.strip_prefix(b" ").unwrap_or(text));
    let failed = tagged.is_some()
        || reason.starts_with(b"Password supplied for ")
        || reason.starts_with(b"(shadow) Password supplied for ")
        || reason.starts_with(b"PAM authentication failed")
        || reason.starts_with(b"authentication failed");
    if !failed {
        return Verdict::Ignored("protocol error");
    }
    let named = || {
        let name = after(reason, b"\"")?;
        memchr::memchr(b'"', name).map(|end| &name[..end])
    };
    Verdict::Event(Event {
        client,
        account: if account.is_empty() {
            named().unwrap_or(b"")
        } else {
            account
        },
        ..Event::new(Kind::AuthFailure)
    })
}
