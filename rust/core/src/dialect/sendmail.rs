//! The dialect of sendmail 8.9 to 8.18: `QUEUE-ID: from=…` and `QUEUE-ID: to=…` lines.
//!
//! How it works: the queue id is cut off, the first word of the rest says what the line is, and the
//! attributes are then walked from the front. Addresses (`from=`, `to=`, `ctladdr=`, `arg1=`) are read with
//! their quotes and angle brackets, so that a `, stat=Sent` inside one is text; what follows them up to
//! `, stat=` is written by sendmail alone; everything after `stat=` is the remote server's text and is only
//! looked at from its first word. The client of a `from=` line is the last bracket of its last `relay=`,
//! because the message id before it is printed as it came. A line whose quotes never close is unmatched,
//! not guessed at.
//!
//! Counting: `from=` is one `smtp_accepted`; over loopback it is held under its queue id and taken back by
//! the submission program's `stat=Sent (ID Message accepted for delivery)`, which is `smtp_reinjected`. So a
//! local message counts once in either order of the lines, and webmail over loopback still counts.
//! `docs/dialects/sendmail.md` lists every shape.
//!
//! Limits: a delivery list longer than a syslog line is printed in several lines (`[more]`), each of which
//! counts; a message that a filter refuses after DATA was accepted and rejected. The wrapped form for
//! systems with tiny syslog buffers is not read.

#[path = "mail_text.rs"]
pub(super) mod mail_text;
pub(super) mod quick;

use crate::event::{Event, Kind, Memory, Verdict};
use mail_text::{
    Mark, address, address_list, after, contains, ends_on_loopback, find, first_bracket, is_loopback,
    last_bracket, number, rfind,
};
use memchr::memmem::Finder;

static STAT: Mark = Mark::new(b", stat=", || Finder::new(b", stat="));
static NRCPTS: Mark = Mark::new(b", nrcpts=", || Finder::new(b", nrcpts="));

/// Whether sendmail writes under this program name (`sendmail`, `sm-mta`, `sm-msp-queue`, …).
#[must_use]
pub fn claims(program: &[u8]) -> bool {
    program.starts_with(b"sendmail")
        || (program.starts_with(b"sm-") && program != b"sm-notify")
        || program == b"newaliases"
        || program == b"MTA"
        || program == b"MSP"
}

/// Whether a message without a program name is sendmail's: a queue id, then `from=`, `to=` or `ruleset=`.
#[must_use]
pub fn recognizes(message: &[u8]) -> bool {
    let (id, rest) = split_id(without_tag(message));
    if rest.starts_with(b"ruleset=check_") {
        return true;
    }
    id.len() >= 8
        && ((rest.starts_with(b"from=") && contains(rest, b", nrcpts="))
            || (rest.starts_with(b"to=") && contains(rest, b", stat=")))
}

/// Reads one message.
#[inline]
#[must_use]
pub fn parse<'a>(program: &'a [u8], _pid: &'a [u8], message: &'a [u8]) -> Verdict<'a> {
    let message = if program.is_empty() {
        without_tag(message)
    } else {
        message
    };
    let (id, rest) = split_id(message);
    if let Some(rest) = rest.strip_prefix(b"to=") {
        return delivery(rest);
    }
    if let Some(rest) = rest.strip_prefix(b"from=") {
        return acceptance(id, rest);
    }
    if let Some(rest) = rest.strip_prefix(b"ruleset=") {
        return ruleset(id, rest);
    }
    other(rest)
}

/// The message behind `sm-mta[123]: `, for lines that were cut out of a log without time and host.
fn without_tag(message: &[u8]) -> &[u8] {
    let Some(open) = message.iter().take(32).position(|&b| b == b'[') else {
        return message;
    };
    if !claims(&message[..open]) {
        return message;
    }
    match number(&message[open + 1..]) {
        Some((_, rest)) => rest.strip_prefix(b"]: ").unwrap_or(message),
        None => message,
    }
}

/// The queue id (or `NOQUEUE`) and the text after it; an empty id where the message has none.
#[inline]
fn split_id(message: &[u8]) -> (&[u8], &[u8]) {
    let length = message
        .iter()
        .take(32)
        .take_while(|b| b.is_ascii_alphanumeric())
        .count();
    match message[length..].strip_prefix(b": ") {
        // The id starts with the letter that stands for the year's hour, or is NOQUEUE; words such as
        // "runqueue:" are no ids, but nothing below depends on telling them apart.
        Some(rest) if length >= 5 => (&message[..length], rest),
        _ => (b"", message),
    }
}

/// `from=<a>, size=, class=, [pri=,] nrcpts=, [msgid=, bodytype=, proto=, daemon=,] relay=host [1.2.3.4]`
#[inline]
fn acceptance<'a>(id: &'a [u8], rest: &'a [u8]) -> Verdict<'a> {
    let Some(end) = sender_end(rest) else {
        return Verdict::Unmatched("sender address not closed");
    };
    let attributes = &rest[end..];
    // Between the sender and nrcpts there are numbers only, so the first one is the true one.
    let Some((recipients, tail)) = NRCPTS.split(attributes).and_then(|(_, n)| number(n)) else {
        return Verdict::Unmatched("no nrcpts");
    };
    let client = rfind(tail, b", relay=").map_or(&b""[..], |at| last_bracket(&tail[at..]));
    if recipients == 0 {
        // Where a rule set refused the recipients, its lines have counted already.
        let memory = if id.is_empty() {
            Memory::None
        } else {
            Memory::Hold(id)
        };
        return Verdict::Event(Event {
            client,
            memory,
            ..Event::new(Kind::SmtpRejected)
        });
    }
    let memory = if !id.is_empty() && is_loopback(client) {
        Memory::Hold(id)
    } else {
        Memory::None
    };
    Verdict::Event(Event {
        client,
        recipients,
        memory,
        ..Event::new(Kind::SmtpAccepted)
    })
}

/// Where the sender's address ends and `, size=` begins. sendmail cuts it after 200 bytes (100 in old
/// versions), which may leave a quote open.
#[inline]
fn sender_end(rest: &[u8]) -> Option<usize> {
    let follows = |at: usize| rest.get(at..).is_some_and(|r| r.starts_with(b", size="));
    match address_list(rest) {
        Some((_, end)) if follows(end) => Some(end),
        _ => [200, 100].into_iter().find(|&at| follows(at)),
    }
}

/// `to=<a>,<b>, [ctladdr=,] delay=, [xdelay=, mailer=, pri=, relay=, dsn=,] stat=…`
#[inline]
fn delivery(rest: &[u8]) -> Verdict<'_> {
    let Some((recipients, end)) = address_list(rest) else {
        return Verdict::Unmatched("recipient address not closed");
    };
    let mut attributes = &rest[end..];
    attributes = attributes.strip_prefix(b", [more]").unwrap_or(attributes);
    if let Some(controller) = attributes.strip_prefix(b", ctladdr=") {
        let Some((_, end)) = address_list(controller) else {
            return Verdict::Unmatched("controlling address not closed");
        };
        attributes = &controller[end..];
    }
    let Some((attributes, stat)) = STAT.split(attributes) else {
        return Verdict::Unmatched("no stat");
    };
    if let Some(response) = stat.strip_prefix(b"Sent") {
        let mut event = Event::new(Kind::SmtpSent);
        event.recipients = recipients;
        // Whatever stands behind relay= is a version number: the last bracket is the relay's.
        if !response.is_empty() && ends_on_loopback(attributes) {
            if let Some(id) = accepted_as(response) {
                event.kind = Kind::SmtpReinjected;
                event.memory = Memory::Cancel(id);
            } else if contains(response, b"queued as ") || contains(response, b"from MTA(") {
                event.kind = Kind::SmtpReinjected;
            }
        }
        return Verdict::Event(event);
    }
    let kind = if stat.starts_with(b"Deferred") {
        Kind::SmtpDeferred
    } else if stat.starts_with(b"queued") || stat.starts_with(b"quarantined") {
        return Verdict::Ignored("queued");
    } else if !contains(attributes, b", mailer=") {
        // No mailer was ever chosen: these are the recipients of a message that was refused after DATA
        // or given up by the client (the refusal has its own line).
        return Verdict::Ignored("not attempted");
    } else if contains(attributes, b", dsn=4.") {
        Kind::SmtpDeferred
    } else {
        Kind::SmtpBounced
    };
    Verdict::Event(Event {
        recipients,
        ..Event::new(kind)
    })
}

/// The queue id in ` (ID Message accepted for delivery)`, also where a filter passes the answer on. Only
/// asked of a server on loopback.
#[inline]
fn accepted_as(response: &[u8]) -> Option<&[u8]> {
    let end = find(response, b" Message accepted for delivery")?;
    let head = &response[..end];
    let start = head
        .iter()
        .rposition(|b| !b.is_ascii_alphanumeric())
        .map_or(0, |at| at + 1);
    (start < end).then_some(&head[start..])
}

/// `ruleset=check_rcpt, arg1=<a>, [arg2=,] relay=host [1.2.3.4], reject=550 …`
fn ruleset<'a>(id: &'a [u8], rest: &'a [u8]) -> Verdict<'a> {
    let Some(at) = find(rest, b", ") else {
        return Verdict::Unmatched("ruleset without arguments");
    };
    let (name, mut rest) = (&rest[..at], &rest[at..]);
    if let Some(argument) = rest.strip_prefix(b", arg1=") {
        match address_list(argument) {
            Some((_, end)) => rest = &argument[end..],
            None => return Verdict::Unmatched("argument not closed"),
        }
    }
    // tls_server, tls_rcpt and try_tls judge the servers that this one delivers to.
    if !(name.starts_with(b"check_") || name == b"tls_client" || name == b"trust_auth") {
        return Verdict::Ignored("ruleset");
    }
    // The relay and what precedes it is sendmail's own text; the reason behind reject= is not.
    let Some(reject) = find(rest, b", reject=") else {
        return Verdict::Ignored("ruleset");
    };
    let head = &rest[..reject];
    let client = rfind(head, b", relay=").map_or(&b""[..], |at| last_bracket(&head[at..]));
    // The `from=` line that ends a message without recipients is not one refusal more.
    let memory = if id.is_empty() || id == b"NOQUEUE" {
        Memory::None
    } else {
        Memory::Cancel(id)
    };
    Verdict::Event(Event {
        client,
        memory,
        ..Event::new(Kind::SmtpRejected)
    })
}

/// Every line that is neither `from=` nor `to=` nor `ruleset=`.
fn other<'a>(rest: &'a [u8]) -> Verdict<'a> {
    let rejected = |client| {
        Verdict::Event(Event {
            client,
            ..Event::new(Kind::SmtpRejected)
        })
    };
    // At log level 11 a connection without mail is told twice, and by as many "connect from" lines of that
    // client as there are others; at the default level only once.
    let connection = |client: &'a [u8], first: bool| {
        let memory = match (client.is_empty(), first) {
            (true, _) => Memory::None,
            (_, true) => Memory::Cancel(client),
            (_, false) => Memory::Hold(client),
        };
        Verdict::Event(Event {
            client,
            memory,
            ..Event::new(Kind::SmtpConnection)
        })
    };
    if rest.starts_with(b"AUTH failure") {
        // user= is the client's text and relay= the last attribute.
        let user = after(rest, b", user=").unwrap_or(b"");
        let account = rfind(user, b", relay=").map_or(user, |at| &user[..at]);
        return Verdict::Event(Event {
            client: last_bracket(rest),
            account,
            ..Event::new(Kind::AuthFailure)
        });
    }
    if rest.starts_with(b"AUTH=") || rest.starts_with(b"STARTTLS=") || rest.starts_with(b"STARTTLS:") {
        return Verdict::Ignored("session detail");
    }
    if let Some(from) = rest.strip_prefix(b"connect from ") {
        return connection(last_bracket(from), true);
    }
    if let Some(from) = rest.strip_prefix(b"Null connection from ") {
        return connection(last_bracket(from), false);
    }
    if let Some(from) = rest.strip_prefix(b"rejecting commands from ") {
        return rejected(first_bracket(from).map_or(&b""[..], |(client, _)| client));
    }
    if let Some(milter) = rest.strip_prefix(b"Milter: ") {
        return match milter_refusal(milter) {
            Some(client) => rejected(client),
            None => Verdict::Ignored("filter"),
        };
    }
    if let Some((_, notice)) = notification(rest) {
        // Expiry is told here only; the other notices follow a to= line that was counted.
        if notice.starts_with(b"Cannot send message ") {
            return Verdict::Event(Event::new(Kind::SmtpBounced));
        }
        return Verdict::Ignored("notification");
    }
    // From here on the line begins with the client: `host [1.2.3.4] …`, `[1.2.3.4]: …`.
    if let Some((client, tail)) = leading_client(rest) {
        if tail.starts_with(b"did not issue MAIL/EXPN/VRFY/ETRN") {
            return connection(client, false);
        }
        if tail.ends_with(b" [rejected]") {
            return rejected(client);
        }
        if tail.starts_with(b"possible SMTP attack") {
            return Verdict::Ignored("attack warning");
        }
    }
    if KNOWN.iter().any(|known| rest.starts_with(known)) {
        return Verdict::Ignored("daemon message");
    }
    if rest.starts_with(b"lost input channel") || rest.starts_with(b"timeout waiting for input") {
        return Verdict::Ignored("connection lost");
    }
    if rest.starts_with(b"<-- ") || rest.starts_with(b"--- ") {
        return Verdict::Ignored("SMTP dialogue");
    }
    if rest.starts_with(b"<") || contains(rest, b"... ") {
        return Verdict::Ignored("refusal text");
    }
    Verdict::Unmatched("unknown message")
}

/// Starts of messages that count nothing.
const KNOWN: &[&[u8]] = &[
    b"starting daemon",
    b"stopping daemon",
    b"restarting ",
    b"started as",
    b"alias database",
    b"/etc/",
    b"runqueue",
    b"Skipping queue run",
    b"grew WorkList",
    b"rejecting connections on daemon",
    b"accepting connections again",
    b"SYSERR",
    b"NOQUEUE: SYSERR",
    b"Authentication-Warning",
    b"gethostby",
    b"My unqualified host name",
    b"unable to qualify my own domain name",
    b"SMTP outgoing connect",
    b"clone",
    b"done; ",
    b"discarded",
    b"locked",
    b"removed",
    b"forward ",
    b"alias ",
    b"Losing ",
    b"bogus queue file",
    b"Milter",
    b"milter",
    b"setsender:",
    b"cannot prescan from",
    b"collect: ",
    b"SMTP MAIL command",
    b"tcpwrappers",
    b"daemon ",
    b"Warning: ",
    b"return receipt",
    b"return-receipt",
];

/// `host [1.2.3.4] (may be forged): TEXT`, also without a host name or with a space for the colon.
fn leading_client(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    let open = memchr::memchr(b'[', rest)?;
    // A host name holds no blanks; one stands between it and the bracket.
    if rest[..open]
        .strip_suffix(b" ")
        .unwrap_or(&rest[..open])
        .contains(&b' ')
    {
        return None;
    }
    let (client, tail) = first_bracket(rest)?;
    let tail = tail.strip_prefix(b" (may be forged)").unwrap_or(tail);
    Some((
        client,
        tail.strip_prefix(b":").unwrap_or(tail).strip_prefix(b" ")?,
    ))
}

/// `ID2: DSN: User unknown` and its like: the notice that sendmail sends, with the new message's id.
fn notification(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    let (id, rest) = split_id(rest);
    if id.is_empty() {
        return None;
    }
    [
        &b"DSN: "[..],
        b"sender notify: ",
        b"return to sender: ",
        b"postmaster notify: ",
        b"return receipt: ",
    ]
    .iter()
    .find_map(|kind| rest.strip_prefix(*kind))
    .map(|text| (id, text))
}

/// The client (or nothing) of `connect: host=, addr=, reject=…`, `to=<a>, reject=…`, `data, reject=…`;
/// `None` where the filter refused nothing.
fn milter_refusal(text: &[u8]) -> Option<&[u8]> {
    if text.starts_with(b"connect") {
        let tail = after(text, b", addr=")?;
        let end = find(tail, b", ")?;
        let action = &tail[end + 2..];
        let refused = action.starts_with(b"reject") || action.starts_with(b"temp failing");
        return refused.then(|| address(&tail[..end]));
    }
    let end = match text.strip_prefix(b"to=").or_else(|| text.strip_prefix(b"from=")) {
        Some(value) => text.len() - value.len() + address_list(value)?.1,
        None => find(text, b", ")?,
    };
    text[end..].starts_with(b", reject=").then_some(b"")
}
