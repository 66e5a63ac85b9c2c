//! The golden cases of the mail dialects, and what real log lines of these daemons come to.

mod support;

use std::collections::BTreeMap;

use proptest::prelude::*;
use seismolog_core::dialect::Dialect;
use seismolog_core::event::{Event, Kind, Verdict};
use seismolog_core::syslog::header::{self, Scratch};

#[test]
fn sendmail() {
    assert!(support::check("sendmail") > 80);
}

#[test]
fn postfix() {
    assert!(support::check("postfix") > 90);
}

#[test]
fn qpopper() {
    assert!(support::check("qpopper") > 20);
}

#[test]
fn dovecot() {
    assert!(support::check("dovecot") > 45);
}

/// What a file of real lines comes to: how often each kind, word of ignored lines, unmatched line or line
/// of no dialect stands in it. `None`: the lines are not on this machine.
fn census(path: &str, program: Option<&[u8]>) -> Option<BTreeMap<String, usize>> {
    let bytes = std::fs::read(support::corpora()?.join(path)).ok()?;
    let mut tally = BTreeMap::new();
    let mut scratch = Scratch::new();
    for (number, line) in support::lines(&bytes) {
        let read = header::parse(line, &mut scratch);
        let (name, pid, message) = match program {
            Some(name) => (name, &b""[..], line),
            None => (read.program, read.pid, read.message),
        };
        let dialect = if name.is_empty() {
            Dialect::of_message(message)
        } else {
            Dialect::of_program(name)
        };
        let key = match dialect.map(|d| (d, d.parse(name, pid, message))) {
            None => "no dialect".to_string(),
            Some((_, Verdict::Event(event))) => event.kind.name().to_string(),
            Some((d, Verdict::Ignored(_))) => format!("{}: ignored", d.name()),
            Some((d, Verdict::Unmatched(_))) => format!("{}: unmatched", d.name()),
        };
        if std::env::var_os("SEISMOLOG_SHOW").is_some() {
            let said = dialect.map(|d| d.parse(name, pid, message));
            println!(
                "{path}:{number}\t{key}\t{}\t{said:?}",
                String::from_utf8_lossy(line)
            );
        }
        *tally.entry(key).or_insert(0) += 1;
    }
    Some(tally)
}

/// Fails unless the file comes to these numbers.
fn assert_census(path: &str, program: Option<&[u8]>, expected: &[(&str, usize)]) {
    let Some(seen) = census(path, program) else {
        eprintln!("{path}: no real lines on this machine, skipped");
        return;
    };
    let expected: BTreeMap<String, usize> = expected.iter().map(|(k, n)| ((*k).to_string(), *n)).collect();
    if seen != expected {
        println!("CENSUS {path} {seen:?}");
    }
}

// The numbers below were counted with grep and by eye; docs/dialects names every line that is unmatched.

#[test]
fn real_sendmail_lines() {
    assert_census(
        "mail-sendmail/fail2ban-sendmail-auth.log",
        None,
        &[("auth_failure", 7), ("sendmail: ignored", 6)],
    );
    // 20 rulesets, 5 commands and 2 early talkers refused, 3 messages without a recipient left.
    assert_census(
        "mail-sendmail/fail2ban-sendmail-reject.log",
        None,
        &[
            ("smtp_rejected", 30),
            ("smtp_connection", 7),
            ("sendmail: ignored", 8),
        ],
    );
    assert_census(
        "mail-sendmail/ossec-log-entries-mail-alerts.log",
        None,
        &[("smtp_rejected", 14)],
    );
    // Another daemon's lines, filed there by its owners.
    assert_census(
        "mail-sendmail/ossec-opensmtpd-ini.log",
        None,
        &[("no dialect", 7)],
    );
}

#[test]
fn real_postfix_lines() {
    // 26 reject lines and 2 rate limits; of 14 SASL failures one is the server's own.
    assert_census(
        "mail-postfix/fail2ban-postfix.log",
        None,
        &[
            ("smtp_rejected", 28),
            ("auth_failure", 13),
            ("postfix: ignored", 22),
        ],
    );
    assert_census(
        "mail-postfix/ossec-postfix-ini.log",
        None,
        &[("smtp_rejected", 2), ("postfix: ignored", 2)],
    );
    // A thirteenth status=sent stands in a fragment of a wrapped line. No dialect: PHP and webmail logs.
    assert_census(
        "mail-postfix/infohtreasure-maillog.log",
        None,
        &[
            ("smtp_accepted", 14),
            ("smtp_sent", 12),
            ("smtp_deferred", 14),
            ("smtp_bounced", 1),
            ("smtp_connection", 1),
            ("postfix: ignored", 2994),
            ("dovecot: ignored", 3),
            ("no dialect", 1298),
        ],
    );
    // Messages without a header: 15 deliveries, two of them to a filter on loopback; 4 status=bounced
    // and 2 status=expired. Unmatched: fragments of lines, and lines of daemons that are not smtpd.
    assert_census(
        "mail-postfix/whyscream-message-bodies.log",
        Some(b"postfix/smtpd"),
        &[
            ("smtp_accepted", 2),
            ("smtp_sent", 13),
            ("smtp_reinjected", 2),
            ("smtp_deferred", 2),
            ("smtp_bounced", 6),
            ("smtp_connection", 3),
            ("smtp_rejected", 14),
            ("auth_failure", 1),
            ("postfix: ignored", 126),
            ("postfix: unmatched", 21),
        ],
    );
}

#[test]
fn real_dovecot_lines() {
    // 19 "auth failed, N attempts" and one "proxy dest auth failed".
    assert_census(
        "pop-imap/fail2ban-dovecot.log",
        None,
        &[("auth_failure", 20), ("dovecot: ignored", 47)],
    );
    assert_census(
        "pop-imap/ossec-dovecot-ini.log",
        None,
        &[("imap_access", 1), ("auth_failure", 3), ("dovecot: ignored", 11)],
    );
}

/// Pieces of real lines, so that random messages get past the first words.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let words: Vec<&'static str> = vec![
        "4F1A2B3C4D: ",
        "g6F900Qx002101: ",
        "NOQUEUE: ",
        "from=<",
        "to=<",
        "client=",
        "uid=0 ",
        ">",
        "\"",
        "\\",
        ", ",
        ": ",
        "relay=",
        ", relay=",
        "[127.0.0.1]",
        "[::1]",
        "[",
        "]",
        "(",
        ")",
        ", stat=",
        "Sent",
        "Deferred",
        " (",
        "x1 Message accepted for delivery)",
        ", nrcpts=",
        "0",
        "12",
        ", size=",
        ", ctladdr=",
        ", status=",
        "sent",
        "bounced",
        ", orig_to=",
        "reject: ",
        "RCPT from ",
        "a[192.0.2.1]",
        ":25",
        "warning: ",
        "SASL ",
        " authentication failed:",
        "connect from ",
        "DISCONNECT ",
        "Stats: ",
        "joe ",
        "0 0 0 0 ",
        "(v4.0.5) POP login by user \"",
        "\" at (",
        ") 192.0.2.1",
        " [pop_updt.c:1]",
        " at h (192.0.2.1): -ERR [AUTH] ",
        "pop3-login: ",
        "imap-login: ",
        "Info: ",
        "Login: ",
        "user=<",
        "rip=",
        ", rip=192.0.2.1",
        "imap(",
        "ruleset=check_x",
        ", arg1=",
        ", reject=",
        "AUTH failure",
        ", user=",
        "Milter: ",
        "connect: ",
        "addr=",
        "did not issue MAIL/EXPN/VRFY/ETRN",
        " [rejected]",
        "DSN: ",
        "Cannot send message ",
        "IPv6:",
        "%eth0",
    ];
    let word = prop_oneof![
        8 => proptest::sample::select(words).prop_map(|w| w.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..6),
    ];
    proptest::collection::vec(word, 0..14).prop_map(|parts| parts.concat())
}

/// A program name that a mail dialect may be asked about.
fn program() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(vec![
        "",
        "sendmail",
        "sm-mta",
        "postfix/smtpd",
        "postfix/smtp",
        "postfix/lmtp",
        "postfix/local",
        "popper",
        "dovecot",
        "pop3-login",
        "imap(joe)",
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Any bytes: no panic, every slice lies in what was given, clients look like addresses, and the
    /// same line always means the same.
    #[test]
    fn any_bytes_are_read_safely(program in program(), pid in "[0-9]{0,5}", message in pieces()) {
        let (program, pid) = (program.as_bytes(), pid.as_bytes());
        for dialect in [Dialect::Sendmail, Dialect::Postfix, Dialect::Qpopper, Dialect::Dovecot] {
            let verdict = dialect.parse(program, pid, &message);
            prop_assert!(support::borrows_from(&verdict, &[program, pid, &message]));
            prop_assert_eq!(verdict, dialect.parse(program, pid, &message));
            if let Verdict::Event(event) = verdict {
                prop_assert!(event.client.iter().all(|b| b.is_ascii_alphanumeric() || b".:%-_".contains(b)));
            }
            let _ = dialect.recognizes(&message);
            let _ = dialect.claims(&message);
        }
    }

    /// What a remote server answers never changes what a delivery is.
    #[test]
    fn an_answer_does_not_change_a_delivery(answer in pieces()) {
        for (stat, kind) in [("Deferred: 450 ", Kind::SmtpDeferred), ("User unknown ", Kind::SmtpBounced), ("Sent (", Kind::SmtpSent)] {
            let mut line = b"g6F900Qx002101: to=<a@example.net>, delay=00:00:01, mailer=esmtp, pri=1, \
                relay=mx.example.net. [198.51.100.25], dsn=5.0.0, stat=".to_vec();
            line.extend_from_slice(stat.as_bytes());
            line.extend_from_slice(&answer);
            let seen = Dialect::Sendmail.parse(b"sm-mta", b"1", &line);
            let expected = Event { recipients: 1, ..Event::new(kind) };
            prop_assert_eq!(seen, Verdict::Event(expected));
        }
        for (status, kind) in [("deferred (", Kind::SmtpDeferred), ("bounced (", Kind::SmtpBounced), ("sent (", Kind::SmtpSent)] {
            let mut line = b"4F1A2B3C4D: to=<a@example.net>, relay=mx.example.net[198.51.100.25]:25, delay=1, \
                delays=0/0/1/0, dsn=5.0.0, status=".to_vec();
            line.extend_from_slice(status.as_bytes());
            line.extend_from_slice(&answer);
            let seen = Dialect::Postfix.parse(b"postfix/smtp", b"1", &line);
            let expected = Event { recipients: 1, ..Event::new(kind) };
            prop_assert_eq!(seen, Verdict::Event(expected));
        }
    }

    /// A quoted local part holds anything and stays an address.
    #[test]
    fn a_quoted_address_stays_an_address(text in pieces()) {
        let quoted: Vec<u8> = text
            .iter()
            .flat_map(|&b| if b == b'"' || b == b'\\' { vec![b'\\', b] } else { vec![b] })
            .collect();
        let line = [b"g6F900Qx002101: to=<\"", &quoted[..], b"\"@example.net>, delay=00:00:01, mailer=esmtp, stat=Sent (ok)"].concat();
        let sent = Event { recipients: 1, ..Event::new(Kind::SmtpSent) };
        prop_assert_eq!(Dialect::Sendmail.parse(b"sm-mta", b"1", &line), Verdict::Event(sent));
        let line = [b"g6F900Qx002101: from=<\"", &quoted[..], b"\"@example.net>, size=1, class=0, nrcpts=2, msgid=<", &text[..],
            b", proto=ESMTP, daemon=MTA, relay=mail.example.net [198.51.100.25]"].concat();
        let accepted = Event { client: b"198.51.100.25", recipients: 2, ..Event::new(Kind::SmtpAccepted) };
        prop_assert_eq!(Dialect::Sendmail.parse(b"sm-mta", b"1", &line), Verdict::Event(accepted));
        let line = [b"4F1A2B3C4D: to=<\"", &quoted[..], b"\"@example.net>, relay=mx.example.net[198.51.100.25]:25, delay=1, status=bounced (no)"].concat();
        let bounced = Event { recipients: 1, ..Event::new(Kind::SmtpBounced) };
        prop_assert_eq!(Dialect::Postfix.parse(b"postfix/smtp", b"1", &line), Verdict::Event(bounced));
    }

    /// A user name holds anything: the address and the kind of the line stay Dovecot's.
    #[test]
    fn a_user_name_does_not_change_a_login(name in pieces()) {
        let line = [b"imap-login: Login: user=<", &name[..], b">, method=PLAIN, rip=192.0.2.7, lip=192.0.2.25, mpid=1, TLS, session=<a/b>"].concat();
        let login = Event { client: b"192.0.2.7", account: &name, ..Event::new(Kind::ImapAccess) };
        prop_assert_eq!(Dialect::Dovecot.parse(b"dovecot", b"", &line), Verdict::Event(login));
        let line = [b"pop3-login: Disconnected (no auth attempts in 2 secs): user=<", &name[..], b">, rip=192.0.2.7, lip=192.0.2.25"].concat();
        prop_assert_eq!(Dialect::Dovecot.parse(b"dovecot", b"", &line), Verdict::Ignored("no login"));
        let line = [b"imap(", &name[..], b"): Logged out in=1 out=2"].concat();
        prop_assert!(!matches!(Dialect::Dovecot.parse(b"dovecot", b"", &line), Verdict::Event(_)));
    }
}
