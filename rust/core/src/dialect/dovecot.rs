//! The dialect of Dovecot 1.0 to 2.4: the login processes of POP3 and IMAP.
//!
//! How it works: a message begins with the service that wrote it (`pop3-login: `, `imap(joe)<12><…>: `),
//! unless that is the program name already; words of severity (`Info: `) are skipped. The login processes
//! end every session with one line, `WHAT: user=<…>, method=…, rip=…, lip=…, …`. `WHAT` is Dovecot's own
//! text; the user name is the client's and may hold anything, so the address is taken from the last
//! `rip=` of the line, behind which the client has no say, and the name ends at the last `>` before it.
//!
//! Counting: a successful login is one `pop_access` or `imap_access`; a line of a login process that says
//! that authentication failed is one `auth_failure`, whatever number of attempts it names. The
//! authentication service tells the same failures again where `auth_verbose` is on, and is not counted.
//! Deliveries by LMTP and LDA were counted by the mail server that handed the message over.
//! `docs/dialects/dovecot.md` lists every shape.
//!
//! Limits: failures before a login that then succeeds in the same session are not told by Dovecot; a site
//! that orders `login_log_format_elements` with the user name last leaves the address to the client.

pub(super) mod quick;

use super::sendmail::mail_text::{address, contains, find, rfind};
use crate::event::{Event, Kind, Verdict};

/// Whether Dovecot writes under this program name.
#[must_use]
pub fn claims(program: &[u8]) -> bool {
    // `imap` alone may be another daemon's; `imap(joe)` is how Dovecot names a session.
    program.starts_with(b"dovecot")
        || PROGRAMS.contains(&program)
        || (base(program).len() < program.len() && is_service(base(program)))
}

/// The name without the user, pid and session behind it: `imap` of `imap(joe)<12><abc>`.
#[inline]
fn base(program: &[u8]) -> &[u8] {
    let length = program
        .iter()
        .take_while(|b| b.is_ascii_alphanumeric() || **b == b'-')
        .count();
    match program.get(length) {
        Some(b'(' | b'<') => &program[..length],
        _ => program,
    }
}

/// Program names of Dovecot's processes where they write under their own.
const PROGRAMS: &[&[u8]] = &[
    b"pop3-login",
    b"imap-login",
    b"managesieve-login",
    b"submission-login",
    b"imap-urlauth-login",
    b"auth-worker",
    b"auth",
];

/// Whether a message may begin with this as the name of a service.
#[inline]
fn is_service(name: &[u8]) -> bool {
    matches!(
        name,
        b"pop3-login"
            | b"imap-login"
            | b"managesieve-login"
            | b"submission-login"
            | b"imap-urlauth-login"
            | b"auth-worker"
            | b"auth"
            | b"imap"
            | b"IMAP"
            | b"pop3"
            | b"POP3"
            | b"managesieve"
            | b"MANAGESIEVE"
            | b"submission"
            | b"imap-hibernate"
            | b"imap-urlauth"
            | b"lmtp"
            | b"lda"
            | b"deliver"
            | b"master"
            | b"log"
            | b"anvil"
            | b"config"
            | b"stats"
            | b"director"
            | b"dict"
            | b"dict-async"
            | b"indexer"
            | b"indexer-worker"
            | b"doveadm"
            | b"doveadm-server"
            | b"replicator"
            | b"aggregator"
            | b"ipc"
            | b"ssl-params"
            | b"old-stats"
            | b"script"
            | b"dns-client"
            | b"health-check"
            | b"quota-status"
            | b"dovecot"
            | b"dovecot-auth"
            | b"child"
    )
}

/// Whether a message without a program name is Dovecot's.
#[must_use]
pub fn recognizes(message: &[u8]) -> bool {
    let message = skip_severity(message);
    [
        &b"pop3-login: "[..],
        b"imap-login: ",
        b"managesieve-login: ",
        b"submission-login: ",
        b"auth: ",
        b"auth(",
        b"auth-worker(",
        b"dovecot-auth: ",
        b"IMAP(",
        b"POP3(",
    ]
    .iter()
    .any(|start| message.starts_with(start))
}

/// Reads one message.
#[inline]
#[must_use]
pub fn parse<'a>(program: &'a [u8], _pid: &'a [u8], message: &'a [u8]) -> Verdict<'a> {
    // The line that nearly every session writes, straight through.
    if let Some(text) = message.strip_prefix(b"imap-login: ") {
        if program == b"dovecot" {
            return login(Some(Kind::ImapAccess), skip_severity(text));
        }
    } else if let Some(text) = message.strip_prefix(b"pop3-login: ")
        && program == b"dovecot"
    {
        return login(Some(Kind::PopAccess), skip_severity(text));
    }
    let mut service = base(program.strip_prefix(b"dovecot/").unwrap_or(program));
    let mut text = skip_severity(message);
    // "dovecot: pop3-login: …", and "dovecot[1]: dovecot: auth(default): …" of version 1. Once a service is
    // known nothing behind it is one: a user name in `imap(NAME): …` may spell the name of another.
    while service == b"dovecot" || !is_service(service) {
        let Some((name, rest)) = split_service(text) else {
            break;
        };
        (service, text) = (name, skip_severity(rest));
    }
    match service {
        b"pop3-login" => login(Some(Kind::PopAccess), text),
        b"imap-login" => login(Some(Kind::ImapAccess), text),
        _ if is_login(service) => login(None, text),
        b"auth" | b"auth-worker" | b"dovecot-auth" => Verdict::Ignored("authentication service"),
        b"lmtp" | b"lda" | b"deliver" => Verdict::Ignored("local delivery"),
        b"imap" | b"IMAP" | b"pop3" | b"POP3" | b"managesieve" | b"MANAGESIEVE" | b"submission"
        | b"imap-hibernate" | b"imap-urlauth" => Verdict::Ignored("session detail"),
        _ if is_service(service) && service != b"dovecot" => Verdict::Ignored("daemon message"),
        _ if text.starts_with(b"Dovecot ") => Verdict::Ignored("daemon message"),
        _ if DAEMON.iter().any(|start| text.starts_with(start)) => Verdict::Ignored("daemon message"),
        _ => Verdict::Unmatched("unknown service"),
    }
}

/// What the master process of version 1 says without naming itself.
const DAEMON: &[&[u8]] = &[
    b"Killed with signal",
    b"SIGHUP received",
    b"Auth process died",
    b"Generating Diffie-Hellman",
    b"SSL parameters regeneration",
    b"Temporary failure in creating login processes",
    b"Created login processes",
    b"Login process died",
    b"Shutting down",
    b"Starting up",
    b"If you have trouble with authentication failures",
];

#[inline]
fn is_login(service: &[u8]) -> bool {
    service.ends_with(b"-login")
}

/// The text without `Info: ` and its like.
#[inline]
fn skip_severity(text: &[u8]) -> &[u8] {
    match text.first() {
        Some(b'I' | b'W' | b'E' | b'F' | b'P' | b'D') => {}
        _ => return text,
    }
    for word in [
        &b"Info: "[..],
        b"Warning: ",
        b"Warn: ",
        b"Error: ",
        b"Fatal: ",
        b"Panic: ",
        b"Debug: ",
    ] {
        if let Some(rest) = text.strip_prefix(word) {
            return rest;
        }
    }
    text
}

/// The service that a message begins with, and its text: `imap(joe)<12><abc>: text`. What stands between
/// the service's name and the colon (user, pid, session) is skipped.
#[inline]
fn split_service(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = text
        .iter()
        .take(24)
        .take_while(|b| b.is_ascii_alphanumeric() || **b == b'-')
        .count();
    let name = &text[..length];
    if !is_service(name) {
        return None;
    }
    match text.get(length)? {
        b':' => Some((name, text[length + 1..].strip_prefix(b" ").unwrap_or(b""))),
        b'(' | b'<' | b'[' => {
            // A login process has no user to name yet, so its text is never cut at a user's colon.
            let at = find(&text[length..], b": ")?;
            Some((name, &text[length + at + 2..]))
        }
        _ => None,
    }
}

/// The last line of a login process: `WHAT: user=<joe>, method=PLAIN, rip=1.2.3.4, lip=…`.
#[inline]
fn login(access: Option<Kind>, text: &[u8]) -> Verdict<'_> {
    if is_success(text) {
        return match access {
            Some(kind) => {
                let (_, account, client) = elements(text);
                Verdict::Event(Event {
                    client,
                    account,
                    ..Event::new(kind)
                })
            }
            None => Verdict::Ignored("other service"),
        };
    }
    let (what, account, client) = elements(text);
    if is_failure(what, text) {
        return Verdict::Event(Event {
            client,
            account,
            ..Event::new(Kind::AuthFailure)
        });
    }
    if ENDINGS.iter().any(|start| what.starts_with(start)) {
        return Verdict::Ignored("no login");
    }
    if what.starts_with(b"proxy(") || what.starts_with(b"proxy: ") {
        return Verdict::Ignored("proxy");
    }
    Verdict::Unmatched("unknown ending of a session")
}

/// Starts of the line that ends a session without a login.
const ENDINGS: &[&[u8]] = &[
    b"Disconnected",
    b"Aborted login",
    b"Login aborted",
    b"Connection closed",
    b"Remote closed connection",
    b"Client has quit the connection",
    b"Maximum number of connections",
    b"Internal login failure",
    b"Login failed",
    b"SSL",
    b"TLS",
    b"Diffie-Hellman",
    b"Too many",
    b"Timeout",
    b"auth: ",
    b"master(",
    b"net_connect",
    b"connect(",
    b"read(",
    b"Killed with signal",
    b"Shutting down",
];

/// Whether the session began: a login here, or one on the server that this one stands before.
#[inline]
fn is_success(text: &[u8]) -> bool {
    text.starts_with(b"Login: ")
        || text.starts_with(b"Logged in: ")
        || text.starts_with(b"Login with referral: ")
        || text.starts_with(b"Started proxying to ")
        || (text.starts_with(b"proxy(")
            && contains(text, b"): started proxying to ")
            // The user name in the brackets is the client's: a failure that quotes the words is none.
            && !contains(text, b"): Login failed to "))
}

/// Whether the text before the elements says that a password (or a token) was refused.
#[inline]
fn is_failure(what: &[u8], text: &[u8]) -> bool {
    contains(what, b"(auth failed, ")
        || contains(what, b"(proxy dest auth failed)")
        || contains(what, b" authentication attempts)")
        // Version 1.0 tells no number: a mechanism was chosen and the client left without a login.
        || (what == b"Aborted login" && contains(&text[what.len()..], b", method="))
}

/// What happened, the account and the address. The elements begin at the first `: ` that is followed by
/// one of their names.
#[inline]
fn elements(text: &[u8]) -> (&[u8], &[u8], &[u8]) {
    let start = memchr::memchr_iter(b':', text)
        .find(|&at| {
            let rest = &text[at + 1..];
            rest.starts_with(b" user=<") || rest.starts_with(b" rip=") || rest.starts_with(b" method=")
        })
        .unwrap_or(text.len());
    let (what, list) = (&text[..start], &text[start..]);
    let Some(at) = rfind(list, b" rip=") else {
        // Without an address there is no end of the client's text: the first '>' may be in the name.
        let end = find(list, b">").map_or(0, |end| end + 1);
        return (what, user(&list[..end]), b"");
    };
    let tail = &list[at + b" rip=".len()..];
    let end = tail
        .iter()
        .position(|b| matches!(b, b',' | b' '))
        .unwrap_or(tail.len());
    (what, user(&list[..at]), address(&tail[..end]))
}

/// The user name in `: user=<joe>, method=PLAIN,`.
#[inline]
fn user(list: &[u8]) -> &[u8] {
    let Some(rest) = list.strip_prefix(b": user=<") else {
        return b"";
    };
    memchr::memrchr(b'>', rest).map_or(&b""[..], |end| &rest[..end])
}
