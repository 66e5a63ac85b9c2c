//! The dialect of Postfix: every daemon of it, under any `syslog_name` (`postfix/smtpd`,
//! `postfix/submission/smtpd`, `mail-in/smtpd`, `postfix-out/smtp`).
//!
//! How it works: most lines are `QUEUE-ID: key=value, …` and the key says what the line is; the rest begin
//! with fixed words. Client addresses are read from `name[address]`, whose name Postfix has validated.
//! Recipients are the sender's text and are printed without quotes by default, so a recipient ends at the
//! `>` that is followed by `, relay=` (or `, orig_to=`), and the status is the first `, status=` after that;
//! the remote server's answer stands behind the status and is read only where the relay is on loopback.
//!
//! Counting: smtpd's `client=` or pickup's `uid=` is the one `smtp_accepted` of a message; qmgr's `from=`
//! comes again at every activation and is not counted. A hand-over to oneself (content filter on loopback,
//! local's `forwarded as`, a requeued message) is `smtp_reinjected`; it takes back the message that came in
//! over loopback under the id that the filter's answer names. A connection that postscreen ends
//! itself is counted at its `DISCONNECT`, one that it hands on at smtpd's `connect from`, so each counts
//! once. `docs/dialects/postfix.md` lists every shape.
//!
//! Limits: a filter that is run by `pipe` and puts the message back through the `sendmail` command cannot be
//! told from a final delivery; a recipient that spells out a whole tail of attributes (`>, relay=…, status=`)
//! is believed.

pub(super) mod quick;

use memchr::memmem::Finder;

use super::sendmail::mail_text::{
    Mark, after, contains, ends_on_loopback, find, first_bracket, is_loopback, last_bracket, number, rfind,
};
use crate::event::{Event, Kind, Memory, Verdict};

static STATUS: Mark = Mark::new(b", status=", || Finder::new(b", status="));

/// The daemons and commands of Postfix, as the last part of the program name.
const DAEMONS: &[&[u8]] = &[
    b"smtpd",
    b"smtp",
    b"lmtp",
    b"qmgr",
    b"oqmgr",
    b"nqmgr",
    b"pickup",
    b"cleanup",
    b"local",
    b"virtual",
    b"pipe",
    b"error",
    b"retry",
    b"discard",
    b"relay",
    b"bounce",
    b"defer",
    b"trace",
    b"verify",
    b"postscreen",
    b"dnsblog",
    b"tlsproxy",
    b"master",
    b"anvil",
    b"scache",
    b"tlsmgr",
    b"proxymap",
    b"proxywrite",
    b"trivial-rewrite",
    b"flush",
    b"showq",
    b"spawn",
    b"qmqpd",
    b"sendmail",
    b"postdrop",
    b"postsuper",
    b"postqueue",
    b"postlog",
    b"postlogd",
    b"postalias",
    b"postmap",
    b"postfix-script",
    b"postmulti",
    b"postcat",
    b"postconf",
];

/// Whether Postfix writes under this program name: `NAME/daemon` or `postfix…`.
#[must_use]
pub fn claims(program: &[u8]) -> bool {
    if program.starts_with(b"postfix") {
        return true;
    }
    match memchr::memrchr(b'/', program) {
        Some(at) => {
            let name = &program[..at];
            DAEMONS.contains(&&program[at + 1..])
                && ![&b"dovecot"[..], b"cyrus", b"courier", b"exim"].contains(&name)
        }
        None => false,
    }
}

/// Whether a message without a program name is Postfix's: a queue id with one of Postfix's own keys.
#[must_use]
pub fn recognizes(message: &[u8]) -> bool {
    let Some((_, rest)) = split_id(message) else {
        return false;
    };
    rest.starts_with(b"client=")
        || rest.starts_with(b"uid=")
        || rest.starts_with(b"message-id=")
        || rest.starts_with(b"reject: ")
        || rest.starts_with(b"milter-reject: ")
        || rest == b"removed"
        || (rest.starts_with(b"to=") && contains(rest, b", status="))
        || (rest.starts_with(b"from=<") && contains(rest, b", nrcpt="))
}

/// Reads one message.
#[inline]
#[must_use]
pub fn parse<'a>(program: &'a [u8], _pid: &'a [u8], message: &'a [u8]) -> Verdict<'a> {
    match split_id(message) {
        Some((id, rest)) => queued(id, rest),
        None => unqueued(program, message),
    }
}

/// The queue id and the text after it. Short ids are upper-case hex; long ones have digits and letters
/// without vowels, so no word of English is one; `NOQUEUE` stands for none.
#[inline]
fn split_id(message: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut class = SHORT | LONG;
    let at = message.iter().take(32).position(|&b| {
        if b == b':' {
            return true;
        }
        class &= ID_CLASS[b as usize];
        false
    })?;
    let (id, rest) = (&message[..at], message[at + 1..].strip_prefix(b" ")?);
    ((class & SHORT != 0 && at >= 5) || (class & LONG != 0 && at >= 10) || id == b"NOQUEUE")
        .then_some((id, rest))
}

/// Byte of a short queue id.
const SHORT: u8 = 1;
/// Byte of a long queue id.
const LONG: u8 = 2;

const ID_CLASS: [u8; 256] = {
    let mut class = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        if matches!(b, b'0'..=b'9' | b'A'..=b'F') {
            class[byte] |= SHORT;
        }
        let vowel = matches!(b.to_ascii_lowercase(), b'a' | b'e' | b'i' | b'o' | b'u');
        if b.is_ascii_alphanumeric() && !vowel {
            class[byte] |= LONG;
        }
        byte += 1;
    }
    class
};

/// The last part of the program name.
#[inline]
fn daemon(program: &[u8]) -> &[u8] {
    memchr::memrchr(b'/', program).map_or(program, |at| &program[at + 1..])
}

/// A line with a queue id.
#[inline]
fn queued<'a>(id: &'a [u8], rest: &'a [u8]) -> Verdict<'a> {
    if let Some(rest) = rest.strip_prefix(b"to=") {
        return delivery(rest);
    }
    if let Some(rest) = rest.strip_prefix(b"client=") {
        return acceptance(id, rest);
    }
    if let Some(rest) = rest.strip_prefix(b"from=<") {
        // The line of an activation ends in "(queue active)", so the ending cannot be forged by a sender.
        let expired = rest
            .strip_suffix(b", returned to sender")
            .is_some_and(|r| r.ends_with(b">, status=expired") || r.ends_with(b">, status=force-expired"));
        return if expired {
            Verdict::Event(Event::new(Kind::SmtpBounced))
        } else {
            Verdict::Ignored("queue manager")
        };
    }
    if rest.starts_with(b"message-id=") || rest.starts_with(b"resent-message-id=") {
        return Verdict::Ignored("message id");
    }
    if rest == b"removed" {
        return Verdict::Ignored("queue manager");
    }
    if let Some(rest) = rest.strip_prefix(b"uid=") {
        // A message that postsuper put back passes pickup again and says so at the end; the sender
        // before it always ends in '>'.
        let again = rfind(rest, b"> orig_id=").is_some_and(|at| {
            rest[at + b"> orig_id=".len()..]
                .iter()
                .all(u8::is_ascii_alphanumeric)
        });
        return Verdict::Event(Event::new(if again {
            Kind::SmtpReinjected
        } else {
            Kind::SmtpAccepted
        }));
    }
    for refusal in [&b"reject: "[..], b"milter-reject: ", b"proxy-reject: "] {
        if let Some(rest) = rest.strip_prefix(refusal) {
            return rejection(rest);
        }
    }
    if ACTIONS.iter().any(|action| rest.starts_with(action)) {
        return Verdict::Ignored("content action");
    }
    if rest.starts_with(b"sender ") || rest.starts_with(b"postmaster ") {
        return Verdict::Ignored("notification");
    }
    if QUEUE_MANAGER.iter().any(|start| rest.starts_with(start)) {
        return Verdict::Ignored("queue manager");
    }
    if DELIVERY_DETAILS.iter().any(|start| rest.starts_with(start)) {
        return Verdict::Ignored("delivery detail");
    }
    if rest.starts_with(b"lost connection after ") || rest.starts_with(b"timeout after ") {
        return Verdict::Ignored("connection lost");
    }
    Verdict::Unmatched("unknown text after the queue id")
}

/// What an access table, a header check or a filter did to a message that goes on.
const ACTIONS: &[&[u8]] = &[
    b"reject_warning: ",
    b"discard: ",
    b"hold: ",
    b"filter: ",
    b"redirect: ",
    b"prepend: ",
    b"replace: ",
    b"strip: ",
    b"warn: ",
    b"warning: ",
    b"info: ",
    b"bcc: ",
    b"delay: ",
    b"pass: ",
    b"permit: ",
    b"trace: ",
    b"milter-discard: ",
    b"milter-hold: ",
    b"milter-header-",
    b"milter-body-",
    b"milter-",
    b"proxy-accept: ",
    b"client_checks",
];

const QUEUE_MANAGER: &[&[u8]] = &[
    b"skipped, still being delivered",
    b"placed on hold",
    b"released from hold",
    b"requeued",
    b"expired",
    b"recipient limit",
    b"from=",
];

const DELIVERY_DETAILS: &[&[u8]] = &[
    b"host ",
    b"conversation with ",
    b"lost connection with ",
    b"enabling PIX ",
    b"breaking line",
    b"Cannot start TLS",
    b"TLS is required",
    b"SASL authentication failed",
    b"uses ",
    b"server certificate",
    b"certificate ",
    b"SSL_connect",
    b"passing <CR><LF>",
    b"non-delivery",
];

/// `client=name[address], [sasl_method=, sasl_username=, sasl_sender=,] [orig_queue_id=, orig_client=]`
#[inline]
fn acceptance<'a>(id: &'a [u8], rest: &'a [u8]) -> Verdict<'a> {
    let Some((client, tail)) = first_bracket(rest) else {
        return Verdict::Unmatched("no client");
    };
    let mut event = Event {
        client,
        ..Event::new(Kind::SmtpAccepted)
    };
    if let Some(at) = find(tail, b", sasl_") {
        // A user name may hold anything, so nothing after it is believed but the end of the name. A
        // filter that hands a message back does not log in.
        if let Some(user) = after(&tail[at..], b", sasl_username=") {
            event.account = [&b", sasl_sender="[..], b", orig_queue_id=", b", orig_client="]
                .iter()
                .find_map(|next| find(user, next))
                .map_or(user, |end| &user[..end]);
        }
    } else if contains(tail, b", orig_queue_id=") || contains(tail, b", orig_client=") {
        event.kind = Kind::SmtpReinjected;
    } else if is_loopback(client) && id != b"NOQUEUE" {
        // Webmail, or a filter that does not tell the client: the filter's delivery names this id.
        event.memory = Memory::Hold(id);
    }
    Verdict::Event(event)
}

/// `to=<a>, [orig_to=<b>,] relay=, [conn_use=,] delay=, [delays=, tls=, dsn=,] status=sent (…)`
#[inline]
fn delivery(rest: &[u8]) -> Verdict<'_> {
    let Some(mut tail) = after_recipient(rest) else {
        return Verdict::Unmatched("no relay after the recipient");
    };
    if let Some(original) = tail.strip_prefix(b", orig_to=") {
        match after_recipient(original) {
            Some(rest) => tail = rest,
            None => return Verdict::Unmatched("no relay after the original recipient"),
        }
    }
    let Some((attributes, status)) = STATUS.split(tail) else {
        return Verdict::Unmatched("no status");
    };
    let length = status.iter().take(40).take_while(|&&b| b != b' ').count();
    let kind = match &status[..length] {
        b"sent" => return sent(attributes, &status[length..]),
        b"deferred" | b"SOFTBOUNCE" => Kind::SmtpDeferred,
        b"bounced" | b"expired" | b"force-expired" => Kind::SmtpBounced,
        b"deliverable" | b"undeliverable" | b"undeliverable-but-not-cached" => {
            return Verdict::Ignored("address probe");
        }
        _ => return Verdict::Unmatched("unknown status"),
    };
    Verdict::Event(Event {
        recipients: 1,
        ..Event::new(kind)
    })
}

/// The text behind a recipient, from `, relay=` or `, orig_to=` on.
#[inline]
fn after_recipient(text: &[u8]) -> Option<&[u8]> {
    let ends = |tail: &[u8]| tail.starts_with(b", relay=") || tail.starts_with(b", orig_to=");
    if !text.starts_with(b"<") {
        let at = find(text, b", ")?;
        return ends(&text[at..]).then_some(&text[at..]);
    }
    let mut from = 1;
    if text.get(1) == Some(&b'"') {
        // The external form (3.5 and later): nothing in the quotes can end the address.
        from = quoted_end(text).unwrap_or(1);
    }
    memchr::memchr_iter(b'>', text.get(from..)?)
        .map(|at| &text[from + at + 1..])
        .find(|tail| ends(tail))
}

/// The place behind `<"local part"` when an `@` follows.
fn quoted_end(text: &[u8]) -> Option<usize> {
    let mut at = 2;
    loop {
        match text.get(at)? {
            b'\\' => at += 2,
            b'"' if text.get(at + 1) == Some(&b'@') => return Some(at + 1),
            b'"' => return None,
            _ => at += 1,
        }
    }
}

/// A message that was taken over: whether it has left, or comes back to this server.
#[inline]
fn sent<'a>(attributes: &'a [u8], response: &'a [u8]) -> Verdict<'a> {
    let mut event = Event {
        recipients: 1,
        ..Event::new(Kind::SmtpSent)
    };
    let relay = attributes.strip_prefix(b", relay=").unwrap_or(b"");
    let relay = find(relay, b", ").map_or(relay, |end| &relay[..end]);
    if relay == b"local" {
        // An alias or .forward made a new message of it, which is delivered under its own id.
        if response.starts_with(b" (forwarded as ") {
            event.kind = Kind::SmtpReinjected;
        }
    } else if ends_on_loopback(relay) {
        // A filter on this machine answers with what the server behind it said. What is stored here
        // (LMTP to Dovecot or Cyrus, a sink) has no new queue id.
        if let Some(text) = after(response, b"queued as ") {
            event.kind = Kind::SmtpReinjected;
            let length = text.iter().take_while(|b| b.is_ascii_alphanumeric()).count();
            if length > 0 {
                event.memory = Memory::Cancel(&text[..length]);
            }
        } else if contains(response, b"from MTA(") || contains(response, b"discarded, id=") {
            event.kind = Kind::SmtpReinjected;
        }
    }
    Verdict::Event(event)
}

/// `RCPT from name[address]:port: 554 …`, or cleanup's `header Subject: … from name[address]; from=<…`.
fn rejection(rest: &[u8]) -> Verdict<'_> {
    let mut event = Event::new(Kind::SmtpRejected);
    let verb = rest
        .iter()
        .take_while(|b| b.is_ascii_uppercase() || **b == b'-')
        .count();
    if verb > 0 {
        if let Some(from) = rest[verb..].strip_prefix(b" from ")
            && let Some(client) = leading_client(from)
        {
            event.client = client.0;
        }
    } else if let Some(at) = find(rest, b"]; from=<")
        && find(&rest[at + 1..], b"]; from=<").is_none()
    {
        // The header is the sender's text: where the mark stands twice, no client is better than a
        // forged one.
        event.client = last_bracket(&rest[..=at]);
    }
    Verdict::Event(event)
}

/// `name[address]` or `[address]` at the start, with the text behind the bracket (and the port, if any).
fn leading_client(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let open = memchr::memchr(b'[', text)?;
    if text[..open].contains(&b' ') {
        return None;
    }
    let (client, tail) = first_bracket(text)?;
    let tail = match tail.strip_prefix(b":").and_then(number) {
        Some((_, rest)) => rest,
        None => tail,
    };
    Some((client, tail))
}

/// A line without a queue id.
fn unqueued<'a>(program: &'a [u8], message: &'a [u8]) -> Verdict<'a> {
    if let Some(rest) = message.strip_prefix(b"connect from ") {
        return match leading_client(rest) {
            Some((client, b"")) => connection(client),
            _ => Verdict::Unmatched("no client"),
        };
    }
    if let Some(rest) = message.strip_prefix(b"DISCONNECT ") {
        return match leading_client(rest) {
            Some((client, b"")) => connection(client),
            _ => Verdict::Unmatched("no client"),
        };
    }
    if message.starts_with(b"disconnect from ") {
        return Verdict::Ignored("disconnect");
    }
    if let Some(rest) = message.strip_prefix(b"warning: ") {
        return warning(rest);
    }
    if let Some(rest) = message.strip_prefix(b"proxy-reject: ") {
        return rejection(rest);
    }
    for (start, word) in KNOWN {
        if message.starts_with(start) {
            return Verdict::Ignored(word);
        }
    }
    if is_debugging(message) {
        return Verdict::Ignored("debugging");
    }
    let talkative: &[&[u8]] = &[
        b"smtpd",
        b"smtp",
        b"lmtp",
        b"relay",
        b"postscreen",
        b"local",
        b"virtual",
        b"pipe",
        b"error",
        b"retry",
    ];
    if talkative.contains(&daemon(program)) || program.is_empty() {
        Verdict::Unmatched("unknown message")
    } else {
        // The other daemons write nothing countable without a queue id.
        Verdict::Ignored("daemon message")
    }
}

/// Starts of lines without a queue id that count nothing, with the word for each.
const KNOWN: &[(&[u8], &str)] = &[
    (b"lost connection after ", "connection lost"),
    (b"timeout after ", "connection lost"),
    (b"too many errors after ", "protocol error"),
    (b"improper command pipelining after ", "protocol error"),
    (b"bare <LF> received after ", "protocol error"),
    (b"SSL_accept error from ", "TLS"),
    (b"SSL_connect error to ", "TLS"),
    (b"Anonymous TLS connection established ", "TLS"),
    (b"Untrusted TLS connection established ", "TLS"),
    (b"Trusted TLS connection established ", "TLS"),
    (b"Verified TLS connection established ", "TLS"),
    (b"TLS connection established ", "TLS"),
    (b"setting up TLS connection ", "TLS"),
    (b"initializing the ", "TLS"),
    (b"certificate verification ", "TLS"),
    (b"server certificate verification ", "TLS"),
    (b"TLS SNI ", "TLS"),
    (b"TLS library problem", "TLS"),
    (b"CONNECT from ", "screened connection"),
    (b"PASS OLD ", "screening"),
    (b"PASS NEW ", "screening"),
    (b"HANGUP after ", "screening"),
    (b"PREGREET ", "screening"),
    (b"DNSBL rank ", "screening"),
    (b"WHITELIST", "screening"),
    (b"BLACKLISTED ", "screening"),
    (b"ALLOWLIST", "screening"),
    (b"DENYLISTED ", "screening"),
    (b"COMMAND ", "screening"),
    (b"NON-SMTP COMMAND ", "screening"),
    (b"BARE NEWLINE ", "screening"),
    (b"NOQUEUE: ", "unqueued"),
    (b"cache ", "cache"),
    (b"proxy-accept: ", "content action"),
    (b"discarding EHLO keywords", "session detail"),
    (b"connect to ", "delivery detail"),
    (b"reload", "daemon message"),
    (b"refreshing ", "daemon message"),
    (b"statistics: ", "statistics"),
    (b"fatal: ", "daemon error"),
    (b"panic: ", "daemon error"),
    (b"error: ", "daemon error"),
    (b"table ", "daemon message"),
    (b"> ", "debugging"),
    (b"< ", "debugging"),
    (b"input attribute ", "debugging"),
    (b"send attr ", "debugging"),
    (b"private/", "debugging"),
    (b"public/", "debugging"),
    (b"rewrite stream ", "debugging"),
    (b"proxymap stream ", "debugging"),
    (b"process generation", "debugging"),
    (b"mynetworks: ", "debugging"),
];

/// Whether a line comes of `-v` or `debug_peer_list`: it begins with the name of a C function or of a
/// setting, lower case with an underscore. Nothing that is counted begins so.
fn is_debugging(message: &[u8]) -> bool {
    let length = message
        .iter()
        .take_while(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || **b == b'_')
        .count();
    message[..length].contains(&b'_') && matches!(message.get(length), Some(b':' | b' '))
}

fn connection(client: &[u8]) -> Verdict<'_> {
    Verdict::Event(Event {
        client,
        ..Event::new(Kind::SmtpConnection)
    })
}

/// `warning: name[address]: SASL LOGIN authentication failed: …`, and the rate limits.
fn warning(rest: &[u8]) -> Verdict<'_> {
    if let Some((client, tail)) = leading_client(rest)
        && let Some(tail) = tail.strip_prefix(b": SASL ")
    {
        let Some(reason) = after(tail, b" authentication failed:") else {
            return Verdict::Ignored("warning");
        };
        if reason.starts_with(b" Connection lost to authentication server") {
            return Verdict::Ignored("no authentication server");
        }
        return Verdict::Event(Event {
            client,
            account: after(reason, b", sasl_username=").unwrap_or(b""),
            ..Event::new(Kind::AuthFailure)
        });
    }
    for limit in LIMITS {
        if let Some(tail) = rest.strip_prefix(*limit)
            && let Some(tail) = tail.strip_prefix(b" limit exceeded: ")
        {
            let from = after(tail, b" from ").unwrap_or(b"");
            return Verdict::Event(Event {
                client: leading_client(from).map_or(&b""[..], |(client, _)| client),
                ..Event::new(Kind::SmtpRejected)
            });
        }
    }
    Verdict::Ignored("warning")
}

/// What smtpd limits for each client; the client is refused with a 4xx and no other line.
const LIMITS: &[&[u8]] = &[
    b"Connection rate",
    b"Connection concurrency",
    b"Message delivery request rate",
    b"Recipient address rate",
    b"New TLS session rate",
    b"AUTH command rate",
];
