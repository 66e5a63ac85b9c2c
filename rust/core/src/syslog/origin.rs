//! Host and tag: what stands between the time and the message.
//!
//! The plain shape is `HOST PROGRAM[PID]: MESSAGE`. Everything else is told apart by what the first
//! words look like, and each guess is listed in `docs/lines.md`:
//!
//! * the host is missing where the first word is itself a tag (`kernel:`, `named[1]:`) or begins a
//!   message that daemons write without a tag (`last message repeated …`);
//! * of two hosts the second one wrote the line, where a tag with a pid follows it;
//! * a tag without a colon or a pid is believed where the word can be a program's name.
//!
//! A tag is at most [`TAG_LIMIT`] bytes: a longer word is message.

use super::header::{Form, Header};
use super::{bind_file, repeat};

/// Longest program name that is taken for one.
const TAG_LIMIT: usize = 128;
/// Longest host name that is taken for one (RFC 1035 allows 253 bytes).
const HOST_LIMIT: usize = 256;

/// Bytes that a host name may hold. syslog-ng chains hosts with `@` and `/`.
const HOST: u8 = 1;
/// Bytes that a program name may hold.
const TAG: u8 = 2;

const CLASS: [u8; 256] = {
    let mut class = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let c = byte as u8;
        if c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b'_' | b'@' | b'/' | b'%') {
            class[byte] = HOST | TAG;
        } else if matches!(c, b'(' | b')' | b'+' | b'~' | b'<' | b'>') || c >= 0x80 {
            class[byte] = TAG;
        }
        byte += 1;
    }
    class
};

/// A tag: program, pid (may be empty), message.
#[derive(Clone, Copy)]
struct Tag<'a> {
    program: &'a [u8],
    pid: &'a [u8],
    message: &'a [u8],
}

impl<'a> Tag<'a> {
    fn on(self, host: &'a [u8]) -> Header<'a> {
        Header {
            stamp: None,
            host,
            program: self.program,
            pid: self.pid,
            message: self.message,
        }
    }
}

/// Reads host and tag from what follows the time.
#[inline]
pub(super) fn parse(text: &[u8], form: Form) -> Header<'_> {
    let text = skip_blanks(text);
    if form == Form::Bind {
        return Header::bare(bind_file::body(text));
    }
    let length = span(text, HOST, HOST_LIMIT);
    if length > 0
        && let Some((host, rest)) = text.split_at_checked(length)
        && let [b' ', rest @ ..] = rest
    {
        let rest = skip_blanks(rest);
        if let Some(tag) = tag(rest)
            && !(form != Form::Bsd && is_severity(host))
        {
            return tag.on(host);
        }
        return host_then(host, rest, text, form);
    }
    without_plain_host(text, length, form)
}

/// The rest where the first word can be a host but no plain tag follows it.
#[cold]
fn host_then<'a>(host: &'a [u8], rest: &'a [u8], text: &'a [u8], form: Form) -> Header<'a> {
    if begins_message(text) || matches!(host, b"--" | b"---") {
        return Header::bare(text);
    }
    if form == Form::Loose {
        // A daemon's own file: what stands here is no host.
        return Header::bare(text);
    }
    if form != Form::Bsd && is_severity(host) {
        return match tag(rest) {
            Some(tag) => tag.on(b""),
            None => Header::bare(rest),
        };
    }
    on_host(host, rest)
}

/// What follows a host and is no plain tag.
fn on_host<'a>(host: &'a [u8], rest: &'a [u8]) -> Header<'a> {
    let host = if host == b"-" { b"" } else { host };
    let bare = Header {
        host,
        ..Header::bare(rest)
    };
    if begins_message(rest) {
        return bare;
    }
    // AIX. The sender's host follows, then its tag.
    if let Some(inner) = rest.strip_prefix(b"Message forwarded from ")
        && let Some(end) = inner.iter().take(HOST_LIMIT).position(|byte| *byte == b' ')
        && let Some(origin) = inner.get(..end)
        && let Some(text) = inner.get(end + 1..)
    {
        let origin = origin.strip_suffix(b":").unwrap_or(origin);
        let text = skip_blanks(text);
        return match tag(text) {
            Some(tag) => tag.on(origin),
            None => Header {
                host: origin,
                ..Header::bare(text)
            },
        };
    }
    let length = span(rest, TAG, TAG_LIMIT);
    let Some((word, after)) = rest.split_at_checked(length).filter(|(word, _)| !word.is_empty()) else {
        return bare;
    };
    match after.first() {
        Some(b' ') => {
            let next = skip_blanks(after);
            // `fail2ban.actions   [123]: text`.
            if next.first() == Some(&b'[')
                && let Some((pid, text)) = bracket(next)
                && let Some(text) = text.strip_prefix(b":")
            {
                return Tag {
                    program: word,
                    pid,
                    message: clean(text),
                }
                .on(host);
            }
            if let Some(tag) = tag(next) {
                let numbered = !tag.pid.is_empty();
                // Cyrus names its slots: `imap30 sloti30t15/imap[1]:`.
                if numbered && tag.program.starts_with(b"slot") {
                    let length = rest.len() - next.len() + tag.program.len();
                    return Tag {
                        program: rest.get(..length).unwrap_or(word),
                        ..tag
                    }
                    .on(host);
                }
                if is_host(word) && (numbered || same_host(host, word)) {
                    return tag.on(word);
                }
            }
            // A tag without a colon.
            let first = word.first().copied().unwrap_or_default();
            if !next.is_empty() && (first.is_ascii_alphanumeric() || matches!(first, b'/' | b'_')) {
                return Header {
                    host,
                    program: word,
                    ..Header::bare(clean(next))
                };
            }
            bare
        }
        // `Net::Server[12]: text`, `unbound[12:0] text`, `agent[main]: text`.
        Some(b':' | b'[') => odd_tag(rest).map_or(bare, |tag| tag.on(host)),
        _ => bare,
    }
}

/// The first word can be no host: a tag, an IPv6 address, a priority, or message.
#[cold]
fn without_plain_host(text: &[u8], length: usize, form: Form) -> Header<'_> {
    // Nothing after the host.
    if length == text.len() {
        return if form == Form::Loose || text == b"-" {
            Header::bare(b"")
        } else {
            Header {
                host: text,
                ..Header::bare(b"")
            }
        };
    }
    // FreeBSD -v and -vv: `<4.3> host …`, `<auth.info> host …`.
    if let Some(inner) = text.strip_prefix(b"<")
        && let Some(end) = inner
            .iter()
            .take(24)
            .position(|byte| !(byte.is_ascii_alphanumeric() || *byte == b'.'))
        && inner.get(end) == Some(&b'>')
        && inner.get(end + 1) == Some(&b' ')
        && let Some(rest) = inner.get(end + 1..)
    {
        let rest = skip_blanks(rest);
        // At most one priority: no recursion without end.
        if rest.first() != Some(&b'<') {
            return parse(rest, form);
        }
        return Header::bare(rest);
    }
    if let Some(end) = text.iter().take(64).position(|byte| *byte == b' ')
        && let Some((word, rest)) = text.split_at_checked(end)
        && is_ipv6(word)
    {
        let rest = skip_blanks(rest);
        return match tag(rest) {
            Some(tag) => tag.on(word),
            None => on_host(word, rest),
        };
    }
    // BIND writes its categories into ISO files; in BSD files only both together are believed,
    // because `client:` may be anybody's tag.
    let own_file = if form == Form::Bsd {
        bind_file::after_both(text)
    } else {
        bind_file::after_either(text)
    };
    if let Some(message) =
        own_file.or_else(|| bind_file::after_severity(text).filter(|rest| rest.starts_with(b"client ")))
    {
        return Header::bare(message);
    }
    if let Some(rest) = after_dovecot_severity(text) {
        return match tag(rest) {
            Some(tag) => tag.on(b""),
            None => Header::bare(rest),
        };
    }
    // iplog's own file: the protocol belongs to the message.
    if [&b"UDP: "[..], b"TCP: ", b"ICMP: ", b"IGMP: "]
        .iter()
        .any(|word| text.starts_with(word))
    {
        return Header::bare(text);
    }
    match tag(text).or_else(|| odd_tag(text)) {
        Some(tag) => tag.on(b""),
        None => Header::bare(text),
    }
}

/// `PROGRAM[PID]: MESSAGE`, `PROGRAM[PID] MESSAGE` or `PROGRAM: MESSAGE`.
#[inline]
fn tag(text: &[u8]) -> Option<Tag<'_>> {
    let length = span(text, TAG, TAG_LIMIT);
    let (program, after) = text
        .split_at_checked(length)
        .filter(|(program, _)| !program.is_empty())?;
    match after {
        [b':', b' ', rest @ ..] => Some(Tag {
            program,
            pid: b"",
            message: clean(rest),
        }),
        [b'[', rest @ ..] => {
            let digits = rest
                .iter()
                .take(20)
                .take_while(|byte| byte.is_ascii_digit())
                .count();
            let (pid, rest) = rest.split_at_checked(digits).filter(|(pid, _)| !pid.is_empty())?;
            match rest {
                [b']', b':', rest @ ..] => Some(Tag {
                    program,
                    pid,
                    message: clean(rest),
                }),
                [b']'] => Some(Tag {
                    program,
                    pid,
                    message: b"",
                }),
                [b']', b' ', rest @ ..] => Some(Tag {
                    program,
                    pid,
                    message: after_level(clean(rest)),
                }),
                _ => None,
            }
        }
        [b':'] | [b':', b'\t', ..] => Some(Tag {
            program,
            pid: b"",
            message: clean(after.get(1..)?),
        }),
        _ => None,
    }
}

/// A tag with a pid and a colon, for a line that has nothing else.
pub(super) fn tag_with_pid(text: &[u8]) -> Option<Header<'_>> {
    tag(text).filter(|tag| !tag.pid.is_empty()).map(|tag| tag.on(b""))
}

/// A program with colons, or something else than digits between the brackets.
fn odd_tag(text: &[u8]) -> Option<Tag<'_>> {
    let end = text
        .iter()
        .take(TAG_LIMIT)
        .position(|byte| *byte != b':' && CLASS[usize::from(*byte)] & TAG == 0)?;
    let (program, rest) = text
        .split_at_checked(end)
        .filter(|(program, _)| !program.is_empty())?;
    let (pid, rest) = bracket(rest)?;
    match rest {
        [] => Some(Tag {
            program,
            pid,
            message: b"",
        }),
        [b':', rest @ ..] => Some(Tag {
            program,
            pid,
            message: clean(rest),
        }),
        [b' ', rest @ ..] => Some(Tag {
            program,
            pid,
            message: after_level(clean(rest)),
        }),
        _ => None,
    }
}

/// The digits at the start of a short `[…]` without blanks, and what follows it.
fn bracket(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let inner = text.strip_prefix(b"[")?;
    let end = inner
        .iter()
        .take(64)
        .position(|byte| matches!(byte, b']' | b' ' | b'['))?;
    let (content, rest) = inner.split_at_checked(end)?;
    let rest = rest.strip_prefix(b"]")?;
    let digits = content.iter().take_while(|byte| byte.is_ascii_digit()).count();
    Some((content.get(..digits)?, rest))
}

/// The message without blanks before it and without the message id of Solaris
/// (`[ID 801593 mail.info] text`).
#[inline]
fn clean(text: &[u8]) -> &[u8] {
    let text = skip_blanks(text);
    match text {
        [b'[', b'I', b'D', b' ', rest @ ..] => after_solaris_id(rest).unwrap_or(text),
        _ => text,
    }
}

fn after_solaris_id(text: &[u8]) -> Option<&[u8]> {
    let end = text.iter().take(40).position(|byte| *byte == b']')?;
    let (id, rest) = text.split_at_checked(end)?;
    let digits = id.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let word = id.get(digits..)?.strip_prefix(b" ")?;
    (digits > 0
        && word.contains(&b'.')
        && word
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || *byte == b'.'))
    .then_some(())?;
    rest.strip_prefix(b"] ").map(skip_blanks)
}

/// macOS writes the level after the pid: `prog[1] <Error>: text`.
fn after_level(text: &[u8]) -> &[u8] {
    let Some(inner) = text.strip_prefix(b"<") else {
        return text;
    };
    let letters = inner
        .iter()
        .take(12)
        .take_while(|byte| byte.is_ascii_alphabetic())
        .count();
    inner
        .get(letters..)
        .and_then(|rest| rest.strip_prefix(b">:"))
        .map_or(text, skip_blanks)
}

/// What follows `Info: `, which Dovecot writes into its own files.
pub(super) fn after_dovecot_severity(text: &[u8]) -> Option<&[u8]> {
    [
        &b"Info: "[..],
        b"Warning: ",
        b"Warn: ",
        b"Error: ",
        b"Fatal: ",
        b"Panic: ",
        b"Debug: ",
    ]
    .iter()
    .find_map(|word| text.strip_prefix(*word))
}

/// Whether this is the start of a message that is written without a tag.
fn begins_message(text: &[u8]) -> bool {
    match text.first() {
        Some(b'l' | b'-') => repeat::last_message(text).is_some(),
        Some(b'm') => repeat::wrapped(text).is_some(),
        // BIND: `client @0x7f00 192.0.2.1#53 …`, `client 192.0.2.1#53: …`.
        Some(b'c') => text.strip_prefix(b"client ").is_some_and(|rest| {
            rest.starts_with(b"@0x")
                || rest
                    .iter()
                    .take(64)
                    .take_while(|byte| **byte != b' ')
                    .any(|byte| *byte == b'#')
        }),
        _ => false,
    }
}

/// Whether two names can be the same host (`mx`, `mx.example.org`).
fn same_host(one: &[u8], other: &[u8]) -> bool {
    let label = |name: &[u8]| name.iter().position(|byte| *byte == b'.').unwrap_or(name.len());
    let (first, second) = (one.get(..label(one)), other.get(..label(other)));
    !one.is_empty()
        && first
            .zip(second)
            .is_some_and(|(first, second)| first.eq_ignore_ascii_case(second))
}

fn is_host(word: &[u8]) -> bool {
    word.iter().all(|byte| CLASS[usize::from(*byte)] & HOST != 0)
}

/// Whether a word is an IPv6 address by its looks; `::` at least, no tag of one colon.
fn is_ipv6(word: &[u8]) -> bool {
    let address = word.split(|byte| *byte == b'%').next().unwrap_or_default();
    address.iter().filter(|byte| **byte == b':').count() >= 2
        && address
            .iter()
            .all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.'))
}

/// Severities in capitals, which some systems write in place of the host.
fn is_severity(word: &[u8]) -> bool {
    matches!(
        word,
        b"INFO" | b"NOTICE" | b"WARNING" | b"ERR" | b"CRIT" | b"ALERT" | b"EMERG" | b"DEBUG"
    )
}

/// Number of bytes at the start that belong to a class, at most `limit`.
#[inline]
fn span(text: &[u8], class: u8, limit: usize) -> usize {
    text.iter()
        .take(limit)
        .take_while(|byte| CLASS[usize::from(**byte)] & class != 0)
        .count()
}

/// The text after spaces and tabs.
#[inline]
pub(super) fn skip_blanks(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = text {
        text = rest;
    }
    text
}
