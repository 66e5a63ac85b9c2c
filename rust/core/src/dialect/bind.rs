//! BIND (`named`): the query log of BIND 8 and 9.0–9.20, refusals, rate limiting and query errors.
//!
//! A query is one line, in one of two families:
//!
//! ```text
//! XX+/192.0.2.7/www.example.org/A/IN                                                   BIND 8
//! client @0x7f… 192.0.2.7#4711/key k (www.example.org): view v: query: www.example.org IN A +E(0)K (192.0.2.1)
//! ```
//!
//! Of the second, only `client ADDRESS#PORT: query: NAME CLASS TYPE` stands in every version; the
//! pointer, the TSIG key, the name in parentheses, the view, the flags, the server's address and the
//! ECS suffix came later, one by one.
//!
//! How it works: the line is read once from its front, field by field, and a field that is not where it
//! belongs ends the reading. So a query name that looks like log text is never taken for a field:
//! the client is what stands before the first `#`, and the kind is decided by the word right after the
//! prefix. BIND 9 escapes blanks, parentheses and quotes in names (`\032`, `\(`), so a name ends at the
//! first bare blank; BIND 8 does not, and is read from the right.
//!
//! Millions of lines a second pass here. Fields are found eight bytes at a time in a register, and
//! keywords are compared as numbers: the fields are so short that the call of a vectorized search would
//! cost more than it saves. Everything that is no query is left to functions off the hot path.
//!
//! Limits: a response log is read far enough to know that it is none of ours. Addresses are not
//! validated here; the counter does that once for each spelling.

use memchr::memmem;

use self::scan::{byte, find, key, marks, mask, word};
use self::types::{is_class, looks_like_type, type_of, type_of_word};
use crate::event::{Event, Kind, QueryType, Verdict};

pub mod quick;
pub(super) mod scan;
#[cfg(test)]
mod tests;
mod types;
pub mod usual;

/// Names of `named` and of its builds; a directory before the name and a suffix after `-` are allowed.
const PROGRAMS: [&[u8]; 4] = [b"named", b"bind", b"bind9", b"isc-bind-named"];

/// Log categories that no other daemon would use as its name. `print-category` puts them where syslog
/// has the program.
const OWN_CATEGORIES: [&[u8]; 16] = [
    b"queries",
    b"query-errors",
    b"responses",
    b"security",
    b"update-security",
    b"rate-limit",
    b"lame-servers",
    b"edns-disabled",
    b"xfer-in",
    b"xfer-out",
    b"dnssec",
    b"rpz",
    b"rpz-passthru",
    b"serve-stale",
    b"trust-anchor-telemetry",
    b"zoneload",
];

/// The other log categories; as the name of a program they would be too common.
const OTHER_CATEGORIES: [&[u8]; 19] = [
    b"client",
    b"cname",
    b"config",
    b"database",
    b"default",
    b"delegation-only",
    b"dispatch",
    b"dnstap",
    b"general",
    b"infoblox-responses",
    b"network",
    b"notify",
    b"nsid",
    b"resolver",
    b"spill",
    b"sslkeylog",
    b"unmatched",
    b"update",
    b"query",
];

const SEVERITIES: [&[u8]; 6] = [b"info", b"notice", b"warning", b"error", b"critical", b"debug"];

/// How many prefixes (blanks, times, category, severity) are cut at most.
const MAX_PREFIXES: usize = 6;

/// Whether the program is BIND.
#[must_use]
pub fn claims(program: &[u8]) -> bool {
    let base = program.rsplit(|&b| b == b'/').next().unwrap_or(program);
    PROGRAMS.iter().any(|name| {
        base.strip_prefix(*name)
            .is_some_and(|rest| rest.is_empty() || rest[0] == b'-')
    }) || OWN_CATEGORIES.contains(&program)
}

/// Whether a message without a program is BIND's: a `client ADDRESS#PORT` or `XX` line, with or without
/// category and severity before it, any message that has both of these, or one of the server's own that
/// is hardly another daemon's.
#[must_use]
pub fn recognizes(message: &[u8]) -> bool {
    let (rest, labelled) = cut_prefixes(message);
    labelled
        || is_xx(rest)
        || rest.strip_prefix(b"client ").is_some_and(starts_with_peer)
        || is_server_note(rest)
}

/// Whether a message without a program is one of [`SERVER_NOTES`] beyond doubt: a zone with its class, or
/// one that begins with more than a common word.
fn is_server_note(message: &[u8]) -> bool {
    match message.strip_prefix(b"zone ") {
        Some(rest) => rest
            .split(|&b| b == b' ')
            .next()
            .is_some_and(|zone| memmem::find(zone, b"/IN").is_some()),
        None => SERVER_NOTES
            .iter()
            .any(|(prefix, _)| prefix.len() >= 10 && message.starts_with(prefix)),
    }
}

/// Reads one message of `named`.
#[inline(always)]
#[must_use]
pub fn parse<'a>(_program: &'a [u8], _pid: &'a [u8], message: &'a [u8]) -> Verdict<'a> {
    if word(message, 0) & mask(7) == key(b"client ") {
        client_line(message, 7)
    } else if is_xx(message) {
        xx_line(message)
    } else {
        other_line(message)
    }
}

/// A line after `client `; `at` is where the pointer or the address begins.
#[inline(always)]
fn client_line(text: &[u8], mut at: usize) -> Verdict<'_> {
    if byte(text, at) == b'@' {
        // The address of the client object in memory, since 9.11.
        match find(text, at + 1, [b' ']) {
            Some(blank) => at = blank + 1,
            None => return Verdict::Unmatched("no client address"),
        }
    }
    let Some(hash) = find(text, at, [b'#', b' ']) else {
        return Verdict::Unmatched("no client address");
    };
    if hash == at || text[hash] != b'#' {
        return Verdict::Unmatched("no client address");
    }
    let client = &text[at..hash];
    // The port has one to five digits: looking for its end is one step, counting it would be a guess.
    at = match find(text, hash + 1, [b':', b' ', b'/']) {
        Some(end) => end,
        None => return Verdict::Unmatched("no text after the client"),
    };
    let mut head = word(text, at);
    if head & mask(1) == key(b"/") {
        // `/key NAME`: the TSIG key, a domain name.
        if head & mask(5) != key(b"/key ") {
            return Verdict::Unmatched("no text after the client");
        }
        at = match skip_name(text, at + 5, [b' ', b':', b'\\']) {
            Some(end) => end,
            None => return Verdict::Unmatched("no text after the client"),
        };
        head = word(text, at);
    }
    if head & mask(2) == key(b" (") {
        // The query name, since 9.9; not told when the query could not be read.
        at = match skip_name(text, at + 2, [b')', b' ', b'\\']) {
            Some(end) if text[end] == b')' => end + 1,
            _ => return Verdict::Unmatched("query name in parentheses does not end"),
        };
        head = word(text, at);
    }
    if head == key(b": query:") && byte(text, at + 8) == b' ' {
        return query(client, text, at + 9);
    }
    match head & mask(2) {
        x if x == key(b": ") => at += 2,
        // Infoblox: `client ADDRESS#PORT UDP: query: …`.
        x if x == key(b" U") || x == key(b" T") => at += 1,
        _ => return Verdict::Unmatched("no text after the client"),
    }
    if word(text, at) & mask(5) == key(b"view ") {
        // The administrator chose the name, so it may hold blanks; a colon before a blank ends it.
        at = match skip_name(text, at + 5, [b':', b'\\']) {
            Some(colon) => colon + 2,
            None => return Verdict::Unmatched("view without message"),
        };
    }
    if word(text, at) & mask(7) == key(b"query: ") {
        return query(client, text, at + 7);
    }
    let transport = word(text, at) & mask(5);
    if transport == key(b"UDP: ") || transport == key(b"TCP: ") {
        at += 5;
        if word(text, at) & mask(7) == key(b"query: ") {
            return query(client, text, at + 7);
        }
    }
    client_message(client, &text[at..])
}

/// Skips a name that may hold escapes: to the first of `ends` (the last of which is the backslash) that
/// is not escaped. A colon counts when a blank follows, as names hold bare colons but no bare blanks.
#[inline(always)]
fn skip_name<const N: usize>(text: &[u8], mut at: usize, ends: [u8; N]) -> Option<usize> {
    loop {
        at = find(text, at, ends)?;
        match text[at] {
            b'\\' => at += 2,
            b':' if byte(text, at + 1) != b' ' => at += 1,
            _ => return Some(at),
        }
    }
}

/// A line after `query: `; `at` is where the name begins.
#[inline(always)]
fn query<'a>(client: &'a [u8], text: &'a [u8], at: usize) -> Verdict<'a> {
    let Some(blank) = find(text, at, [b' ']) else {
        return Verdict::Unmatched("query without class and type");
    };
    let name = &text[at..blank];
    if name.is_empty() {
        return Verdict::Unmatched("query without name");
    }
    let mut at = blank + 1;
    if word(text, at) & mask(3) == key(b"IN ") {
        at += 3;
    } else {
        match find(text, at, [b' ']) {
            Some(end) if is_class(&text[at..end]) => at = end + 1,
            _ => return Verdict::Unmatched("query without class and type"),
        }
    }
    match type_and_flags(text, at) {
        Ok(query_type) => Verdict::Event(Event {
            client,
            name,
            query_type,
            ..Event::new(Kind::DnsQuery)
        }),
        Err(verdict) => verdict,
    }
}

/// The query type at `at`, if what follows it may stand there.
#[inline(always)]
fn type_and_flags(text: &[u8], mut at: usize) -> Result<QueryType, Verdict<'_>> {
    let start = at;
    // A type is at most eight bytes long, but for a few that are none of ours.
    let head = word(text, at);
    let ends = marks(head, b' ') | marks(head, 0);
    let query_type = if ends == 0 {
        at = find(text, at, [b' ']).unwrap_or(text.len());
        QueryType::Other
    } else {
        let length = (ends.trailing_zeros() / 8) as usize;
        if length == 0 {
            return Err(Verdict::Unmatched("query without class and type"));
        }
        at += length;
        type_of_word(head & mask(length))
    };
    if query_type == QueryType::Other && !looks_like_type(&text[start..at]) {
        return Err(Verdict::Unmatched("query without class and type"));
    }
    // Nothing (to 9.2), the flags, or Infoblox' response. After a short type, they are already here.
    let after = if ends & mask(7) == 0 {
        word(text, at)
    } else {
        head >> (8 * (at - start))
    };
    match after & mask(2) {
        0 => {}
        x if x == key(b" +") || x == key(b" -") || x == key(b" ") => {}
        x if x == key(b" r") => return Err(after_type(&text[at + 1..])),
        _ => return Err(Verdict::Unmatched("no flags after the query type")),
    }
    Ok(query_type)
}

#[cold]
fn after_type(rest: &[u8]) -> Verdict<'_> {
    if rest.starts_with(b"response:") {
        Verdict::Ignored("response")
    } else {
        Verdict::Unmatched("no flags after the query type")
    }
}

/// A message of a client that is no query.
#[inline(never)]
fn client_message<'a>(client: &'a [u8], message: &'a [u8]) -> Verdict<'a> {
    let event = Event {
        client,
        ..Event::new(Kind::DnsDenied)
    };
    let starts = |prefix: &[u8]| message.starts_with(prefix);

    if starts(b"query failed (") {
        return query_failed(event, message);
    }
    for subject in [
        &b"query (cache) "[..],
        b"query-on (cache) ",
        b"query-on ",
        b"query ",
        b"zone transfer ",
        b"update forwarding ",
        b"update ",
        b"notify ",
    ] {
        if let Some(verdict) = message
            .strip_prefix(subject)
            .and_then(|rest| access(event, subject, rest))
        {
            return verdict;
        }
    }
    if let Some(rest) = message.strip_prefix(b"rate limit ") {
        return rate_limited(event, rest);
    }
    if starts(b"no matching view in class ") || starts(b"request has invalid signature") {
        return Verdict::Event(event);
    }
    if let Some(rest) = message.strip_prefix(b"check-names failure ") {
        return Verdict::Event(name_type_class(event, rest));
    }
    if let Some(rest) = message.strip_prefix(b"bad zone transfer request: ") {
        let event = Event {
            kind: Kind::DnsError,
            ..event
        };
        return Verdict::Event(match quoted(rest) {
            Some((inner, _)) => name_type_class(event, inner),
            None => event,
        });
    }
    if starts(b"message parsing failed: ") || starts(b"request failed: ") {
        return Verdict::Event(Event {
            kind: Kind::DnsError,
            ..event
        });
    }
    for (prefix, reason) in CLIENT_NOTES {
        if starts(prefix) {
            return Verdict::Ignored(reason);
        }
    }
    Verdict::Unmatched("unknown message about a client")
}

/// Messages about a client that are counted by another line or not at all.
const CLIENT_NOTES: [(&[u8], &str); 32] = [
    (b"response: ", "response"),
    (b"would rate limit ", "rate limit, log only"),
    (b"rpz ", "response policy"),
    (b"disabled rpz ", "response policy"),
    (b"servfail cache hit ", "servfail cache"),
    (b"signer \"", "signer"),
    (b"updating zone '", "update"),
    (b"forwarding update for zone '", "update"),
    (b"update '", "update"),
    (b"deleting ", "update"),
    (b"adding ", "update"),
    (b"delete all rrsets ", "update"),
    (b"attempt to ", "update"),
    (b"transfer of '", "zone transfer"),
    (b"zone transfer ", "zone transfer"),
    (b"AXFR ", "zone transfer"),
    (b"IXFR ", "zone transfer"),
    (b"received notify for zone '", "notify"),
    (b"no more recursive clients", "quota"),
    (b"recursive-clients soft limit exceeded", "quota"),
    (b"no more TCP clients", "quota"),
    (b"TCP client quota reached", "quota"),
    (b"trust-anchor-telemetry '", "telemetry"),
    (b"EDNS client-subnet option: ", "malformed option"),
    (b"RFC 1918 response from Internet for ", "reverse zone hint"),
    (b"error sending response: ", "answer not sent"),
    (b"send failed: ", "answer not sent"),
    (b"dropped ", "answer not sent"),
    (b"recursion ", "debug"),
    (b"using view '", "debug"),
    (b"request ", "debug"),
    (b"missing signature for ", "debug"),
];

/// An access check: `'NAME/TYPE/CLASS' denied [(…)]`, `'…' approved`, or `denied` alone (to 9.2).
fn access<'a>(event: Event<'a>, subject: &[u8], rest: &'a [u8]) -> Option<Verdict<'a>> {
    let (event, outcome) = match quoted(rest) {
        Some((inner, after)) => (name_type_class(event, inner), after.strip_prefix(b" ")?),
        None => (event, rest),
    };
    if outcome == b"denied" || outcome.starts_with(b"denied ") {
        Some(if subject == b"notify " {
            Verdict::Ignored("notify")
        } else {
            Verdict::Event(event)
        })
    } else if outcome == b"approved" || outcome.starts_with(b"approved ") {
        Some(Verdict::Ignored("approved"))
    } else {
        None
    }
}

/// `query failed (RESULT) for NAME/CLASS/TYPE at FILE:LINE`; the part from ` for` on may be missing.
fn query_failed<'a>(event: Event<'a>, message: &'a [u8]) -> Verdict<'a> {
    let rest = message.strip_prefix(b"query failed (").unwrap_or_default();
    let Some(close) = memchr::memchr(b')', rest) else {
        return Verdict::Unmatched("query error without result");
    };
    if &rest[..close] == b"REFUSED" {
        // The access check that refused it has its own line, which is the one that counts.
        return Verdict::Ignored("refusal, counted by its own line");
    }
    let event = Event {
        kind: Kind::DnsError,
        ..event
    };
    let Some(subject) = rest[close + 1..].strip_prefix(b" for ") else {
        return Verdict::Event(event);
    };
    let subject = &subject[..memchr::memchr(b' ', subject).unwrap_or(subject.len())];
    let mut parts = subject.rsplitn(3, |&b| b == b'/');
    Verdict::Event(match (parts.next(), parts.next(), parts.next()) {
        (Some(query_type), Some(class), Some(name)) if is_class(class) => Event {
            name,
            query_type: type_of(query_type),
            ..event
        },
        _ => Event {
            name: subject,
            ..event
        },
    })
}

/// `drop|slip [KIND] response to NETWORK [for NAME [CLASS [TYPE]]  (HASH)]` after `rate limit `.
fn rate_limited<'a>(event: Event<'a>, rest: &'a [u8]) -> Verdict<'a> {
    let kind = rest
        .strip_prefix(b"drop ")
        .or_else(|| rest.strip_prefix(b"slip "))
        .unwrap_or_default();
    if kind.starts_with(b"REFUSED error ") || kind.starts_with(b"tsig ") {
        return Verdict::Ignored("refusal, counted by its own line");
    }
    let Some(at) = memmem::find(rest, b" for ") else {
        return Verdict::Event(event);
    };
    let mut words = rest[at + 5..].split(|&b| b == b' ');
    let name = words.next().unwrap_or_default();
    if name == b"(?)" {
        return Verdict::Event(event);
    }
    let query_type = match words.next() {
        Some(class) if is_class(class) => words.next().map_or(QueryType::Other, type_of),
        _ => QueryType::Other,
    };
    Verdict::Event(Event {
        name,
        query_type,
        ..event
    })
}

/// The text in quotes at the front of `text`, and what follows. The quote ends before a blank, a colon
/// or the end, as a name may hold quotes but no bare blank.
fn quoted(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let inner = text.strip_prefix(b"'")?;
    let mut from = 0;
    loop {
        let end = from + memchr::memchr(b'\'', &inner[from..])?;
        let after = &inner[end + 1..];
        if after.is_empty() || after[0] == b' ' || after.starts_with(b": ") {
            return Some((&inner[..end], after));
        }
        from = end + 1;
    }
}

/// `NAME/TYPE/CLASS` or `NAME/CLASS`. The name may hold slashes, so it is read from the right.
fn name_type_class<'a>(event: Event<'a>, text: &'a [u8]) -> Event<'a> {
    let (rest, class) = cut_last(text);
    if !is_class(class) {
        return Event { name: text, ..event };
    }
    match cut_last(rest) {
        (name, word) if !name.is_empty() && looks_like_type(word) => Event {
            name,
            query_type: type_of(word),
            ..event
        },
        _ => Event { name: rest, ..event },
    }
}

/// Before and after the last slash; without one, nothing and all.
fn cut_last(text: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memrchr(b'/', text) {
        Some(slash) => (&text[..slash], &text[slash + 1..]),
        None => (b"", text),
    }
}

#[inline]
fn is_xx(message: &[u8]) -> bool {
    let head = word(message, 0) & mask(4);
    head == key(b"XX+/") || head == key(b"XX /")
}

/// `XX+/ADDRESS/NAME/TYPE/CLASS`, to BIND 8.1 `XX /ADDRESS/NAME/TYPE`. The `+` says that recursion is
/// wanted. Names are not escaped, so type and class are read from the right.
#[inline]
fn xx_line(text: &[u8]) -> Verdict<'_> {
    let slash = match find(text, 4, [b'/', b' ']) {
        Some(slash) if slash > 4 && text[slash] == b'/' => slash,
        _ => return Verdict::Unmatched("no client address"),
    };
    let (client, rest) = (&text[4..slash], &text[slash + 1..]);
    let (mut name, mut last) = last_field(rest);
    if is_class(last) {
        (name, last) = last_field(name);
    }
    if name.is_empty() || last.is_empty() {
        return Verdict::Unmatched("query without class and type");
    }
    let query_type = type_of(last);
    if query_type == QueryType::Other && !looks_like_type(last) {
        return Verdict::Unmatched("query without class and type");
    }
    Verdict::Event(Event {
        client,
        name,
        query_type,
        ..Event::new(Kind::DnsQuery)
    })
}

/// As [`cut_last`], for fields of a few bytes.
#[inline]
fn last_field(text: &[u8]) -> (&[u8], &[u8]) {
    let mut at = text.len();
    while at > 0 {
        at -= 1;
        if text[at] == b'/' {
            return (&text[..at], &text[at + 1..]);
        }
    }
    (b"", text)
}

/// A line that starts neither with `client ` nor with `XX`: prefixes are cut, and the rest is told apart.
#[inline(never)]
fn other_line(message: &[u8]) -> Verdict<'_> {
    let (rest, _) = cut_prefixes(message);
    if rest.starts_with(b"client ") {
        return client_line(rest, 7);
    }
    if is_xx(rest) {
        return xx_line(rest);
    }
    if let Some(verdict) = bind8_refusal(rest) {
        return verdict;
    }
    let reason = SERVER_NOTES
        .iter()
        .find(|(prefix, _)| rest.starts_with(prefix))
        .map(|(_, reason)| *reason);
    Verdict::Ignored(reason.unwrap_or("server message"))
}

/// What the commonest other messages are about.
const SERVER_NOTES: [(&[u8], &str); 29] = [
    (b"zone ", "zone"),
    (b"managed-keys", "trust anchors"),
    (b"trust-anchor-telemetry ", "telemetry"),
    (b"transfer of ", "zone transfer"),
    (b"approved ", "zone transfer"),
    (b"error (", "resolver"),
    (b"success resolving ", "resolver"),
    (b"lame server ", "resolver"),
    (b"Lame server ", "resolver"),
    (b"bad referral ", "resolver"),
    (b"unexpected RCODE ", "resolver"),
    (b"DNS format error ", "resolver"),
    (b"FORMERR resolving ", "resolver"),
    (b"REFUSED unexpected RCODE ", "resolver"),
    (b"SERVFAIL unexpected RCODE ", "resolver"),
    (b"network unreachable resolving ", "resolver"),
    (b"host unreachable resolving ", "resolver"),
    (b"connection refused resolving ", "resolver"),
    (b"timed out resolving ", "resolver"),
    (b"resolver priming query ", "resolver"),
    (b"fetch ", "resolver"),
    (b"validating ", "dnssec"),
    (b"  validating ", "dnssec"),
    (b"no valid ", "dnssec"),
    (b"limit ", "rate limit, summary"),
    (b"continue limiting ", "rate limit, summary"),
    (b"stop limiting ", "rate limit, summary"),
    (b"*stop limiting ", "rate limit, summary"),
    (b"would ", "rate limit, log only"),
];

/// A refusal of BIND 8: `unapproved query from [ADDRESS].PORT for "NAME"`, `denied recursion for query
/// from …`, `denied update from …`, `unapproved AXFR from …`.
fn bind8_refusal(message: &[u8]) -> Option<Verdict<'_>> {
    let rest = message
        .strip_prefix(b"unapproved ")
        .or_else(|| message.strip_prefix(b"denied "))?;
    let subject = [
        &b"recursion for query from "[..],
        b"query from ",
        b"update from ",
        b"AXFR from ",
        b"IXFR from ",
        b"ZXFR from ",
    ]
    .iter()
    .find_map(|subject| rest.strip_prefix(*subject))?;
    // BIND 8 prints `[ADDRESS].PORT`, BIND 4 the address alone.
    let (client, after) = match subject.strip_prefix(b"[") {
        Some(inner) => {
            let close = memchr::memchr(b']', inner)?;
            (&inner[..close], &inner[close + 1..])
        }
        None => subject.split_at(memchr::memchr(b' ', subject)?),
    };
    if client.is_empty() || client.contains(&b' ') {
        return None;
    }
    let name = memmem::find(after, b" for ").map_or(&b""[..], |at| &after[at + 5..]);
    let name = match name.strip_prefix(b"\"") {
        Some(inner) => &inner[..memchr::memrchr(b'"', inner).unwrap_or(inner.len())],
        // `NAME CLASS`
        None => match memchr::memrchr(b' ', name) {
            Some(blank) if is_class(&name[blank + 1..]) => &name[..blank],
            _ => name,
        },
    };
    Some(Verdict::Event(Event {
        client,
        name,
        ..Event::new(Kind::DnsDenied)
    }))
}

/// Cuts what `print-time`, `print-category` and `print-severity` put before a message, also when syslog
/// carries them a second time. The second value says whether a category and a severity were there.
fn cut_prefixes(mut message: &[u8]) -> (&[u8], bool) {
    let (mut category, mut severity) = (false, false);
    for _ in 0..MAX_PREFIXES {
        message = message.trim_ascii_start();
        if let Some(rest) = cut_time(message) {
            message = rest;
            continue;
        }
        let Some(colon) = memchr::memchr(b':', &message[..message.len().min(32)]) else {
            break;
        };
        let (label, rest) = (&message[..colon], &message[colon + 1..]);
        if !rest.starts_with(b" ") {
            break;
        }
        if OWN_CATEGORIES.contains(&label) || OTHER_CATEGORIES.contains(&label) {
            category = true;
        } else if SEVERITIES.contains(&label)
            || label
                .strip_prefix(b"debug ")
                .is_some_and(|n| !n.is_empty() && n.iter().all(u8::is_ascii_digit))
        {
            severity = true;
        } else {
            break;
        }
        message = &rest[1..];
    }
    (message, category && severity)
}

/// Cuts `15-Jul-2002 18:00:01.123 ` or `2019-07-15T18:00:01.123Z ` (blank or offset at its end).
fn cut_time(message: &[u8]) -> Option<&[u8]> {
    for pattern in [&b"00-aaa-0000 00:00:00.000"[..], b"0000-00-00T00:00:00.000"] {
        let Some(head) = message.get(..pattern.len()) else {
            continue;
        };
        let fits = head.iter().zip(pattern).all(|(b, p)| match p {
            b'0' => b.is_ascii_digit(),
            b'a' => b.is_ascii_alphabetic(),
            _ => b == p,
        });
        if fits {
            let rest = &message[pattern.len()..];
            let zone = memchr::memchr(b' ', rest)?;
            return (zone <= 6).then(|| &rest[zone..]);
        }
    }
    None
}

/// Whether the text begins like `ADDRESS#` or `@0x… ADDRESS#`.
fn starts_with_peer(text: &[u8]) -> bool {
    let address = match text.strip_prefix(b"@0x") {
        Some(rest) => match memchr::memchr(b' ', &rest[..rest.len().min(20)]) {
            Some(blank) => &rest[blank + 1..],
            None => return false,
        },
        None => text,
    };
    address
        .iter()
        .take(64)
        .position(|&b| b == b'#')
        .is_some_and(|hash| {
            address[..hash].iter().any(|&b| b == b'.' || b == b':') && !address[..hash].contains(&b' ')
        })
}
