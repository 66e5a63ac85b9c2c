//! Every shape of line, and any bytes.

use proptest::prelude::*;

use super::super::time::{DAY, days_from_civil, yearless_seconds};
use super::*;

/// 2002-07-15 18:00:01 as if local time were UTC.
const LOCAL: Option<Stamp> = Some(Stamp {
    clock: Clock::Local,
    seconds: 1_026_756_001,
});
/// 15 July, 18:00:01.
const YEARLESS: Option<Stamp> = Some(Stamp {
    clock: Clock::Yearless,
    seconds: 196 * DAY + 64_801,
});

fn absolute(seconds: i64) -> Option<Stamp> {
    Some(Stamp {
        clock: Clock::Absolute,
        seconds,
    })
}

/// Checks one line: stamp, then host, program, pid and message, divided by bars.
#[track_caller]
fn check(line: &str, stamp: Option<Stamp>, rest: &str) {
    let mut scratch = Scratch::new();
    let header = parse(line.as_bytes(), &mut scratch);
    let parts = [header.host, header.program, header.pid, header.message].map(String::from_utf8_lossy);
    assert_eq!(parts.join("|"), rest, "{line}");
    assert_eq!(header.stamp, stamp, "{line}");
}

#[test]
fn the_constants_are_right() {
    assert_eq!(
        LOCAL.map(|stamp| stamp.seconds),
        Some(days_from_civil(2002, 7, 15) * DAY + 64_801)
    );
    assert_eq!(
        YEARLESS.map(|stamp| stamp.seconds),
        yearless_seconds(7, 15, 64_801)
    );
}

#[test]
fn bsd_times() {
    for time in [
        "Jul 15 18:00:01",
        "<30>Jul 15 18:00:01",
        "<30> Jul 15 18:00:01",
        "JUL 15 18:00:01",
        "Jul 15 18:00:01.123456",
        "Jul 15 18:00:01,5",
        "Jul 15 18:00:01:",
        "*Jul 15 18:00:01.123:",
        ".Jul 15 18:00:01:",
    ] {
        check(
            &format!("{time} mx named[12]: text"),
            YEARLESS,
            "mx|named|12|text",
        );
    }
    for time in [
        "Jul 15 2002 18:00:01",
        "Jul 15 18:00:01 2002",
        "Jul 15 18:00:01.5 2002",
        "2002 Jul 15 18:00:01",
        "Mon Jul 15 18:00:01 2002",
        "<6>Jul 15 2002 18:00:01:",
    ] {
        check(&format!("{time} mx named[12]: text"), LOCAL, "mx|named|12|text");
    }
}

#[test]
fn days_of_one_digit() {
    let stamp = yearless_seconds(10, 4, 64_801).map(|seconds| Stamp {
        clock: Clock::Yearless,
        seconds,
    });
    for time in ["Oct  4 18:00:01", "Oct 4 18:00:01", "Oct 04 18:00:01"] {
        check(&format!("{time} mx named[12]: text"), stamp, "mx|named|12|text");
    }
    check(
        "Oct 4 2002 18:00:01 mx named[12]: text",
        Some(Stamp {
            clock: Clock::Local,
            seconds: days_from_civil(2002, 10, 4) * DAY + 64_801,
        }),
        "mx|named|12|text",
    );
}

#[test]
fn times_that_do_not_exist() {
    for time in [
        "Jul 32 18:00:01",
        "Jul 00 18:00:01",
        "Apr 31 18:00:01",
        "Jul 15 24:00:01",
        "Jul 15 18:60:01",
        "Jul 15 18:00:61",
        "Feb 29 2003 18:00:01",
        "2003-02-29T18:00:01Z",
        "2002-13-01T18:00:01+09:00",
        "2002-07-15T18:00:01+25:00",
        "2002-07-15T18:00:01FOO",
        "juil. 15 18:00:01",
    ] {
        // The point of the French month is no letter.
        if time.starts_with("juil.") {
            check(
                &format!("{time} mx named[12]: text"),
                None,
                &format!("|||{time} mx named[12]: text"),
            );
        } else {
            check(&format!("{time} mx named[12]: text"), None, "mx|named|12|text");
        }
    }
    check("août 15 18:00:01 mx named[12]: text", None, "mx|named|12|text");
    let leap = yearless_seconds(2, 29, 86_399).map(|seconds| Stamp {
        clock: Clock::Yearless,
        seconds,
    });
    check("Feb 29 23:59:60 mx named[12]: text", leap, "mx|named|12|text");
}

#[test]
fn iso_times() {
    for time in [
        "2002-07-15T18:00:01+09:00",
        "2002-07-15T18:00:01.123456+09:00",
        "2002-07-15T18:00:01+0900",
        "2002-07-15T18:00:01.123456+0900",
        "2002-07-15T18:00:01+09",
        "2002-07-15 18:00:01.123+09:00",
        "2002-07-15 18:00:01 +0900",
        "<30>2002-07-15T18:00:01+09:00",
        "2002-07-15T09:00:01Z",
        "2002-07-15T09:00:01.5Z",
        "2002-07-15 09:00:01 UTC",
        "Mon 2002-07-15 09:00:01 UTC",
        "2002-07-15T05:00:01-0400",
    ] {
        check(
            &format!("{time} mx postfix/smtpd[12]: text"),
            absolute(1_026_723_601),
            "mx|postfix/smtpd|12|text",
        );
    }
    for time in [
        "2002-07-15T18:00:01",
        "2002-07-15 18:00:01.123",
        "2002-07-15 18:00:01,123",
        "Mon 2002-07-15 18:00:01 JST",
    ] {
        check(
            &format!("{time} mx postfix/smtpd[12]: text"),
            LOCAL,
            "mx|postfix/smtpd|12|text",
        );
    }
}

#[test]
fn epoch_times() {
    for time in [
        "1026723601",
        "1026723601.123",
        "@1026723601.5",
        "1026723601123",
        "[1026723601]",
    ] {
        check(
            &format!("{time} mx named[12]: text"),
            absolute(1_026_723_601),
            "mx|named|12|text",
        );
        check(
            &format!("{time} named[12]: text"),
            absolute(1_026_723_601),
            "|named|12|text",
        );
    }
    check(
        "@400000003d328f1b1ad27480 named: text",
        absolute(1_026_723_601),
        "|named||text",
    );
    // Too small, too large, no end.
    for line in [
        "12345678 x",
        "9999999999 x",
        "1026723601",
        "1026723601x y",
        "10267236011 x",
    ] {
        check(line, None, &format!("|||{line}"));
    }
}

#[test]
fn structured() {
    let time = absolute(1_026_723_601);
    for (line, rest) in [
        (
            "<22>1 2002-07-15T18:00:01.5+09:00 mx sendmail 12 - - from=<a>",
            "mx|sendmail|12|from=<a>",
        ),
        (
            "1 2002-07-15T18:00:01.5+09:00 mx sendmail 12 - - from=<a>",
            "mx|sendmail|12|from=<a>",
        ),
        (
            "<22>1 2002-07-15T09:00:01Z mx sendmail 12 ID47 - \u{feff}from=<a>",
            "mx|sendmail|12|from=<a>",
        ),
        (
            "<22>1 2002-07-15T09:00:01Z mx sendmail - - [a@1 b=\"c\"] from=<a>",
            "mx|sendmail||from=<a>",
        ),
        (
            "<22>1 2002-07-15T09:00:01Z mx sendmail - - [a b=\"\\\"] x\\]\"][c] from=<a>",
            "mx|sendmail||from=<a>",
        ),
        (
            "<22>1 2002-07-15T09:00:01Z mx sendmail - - [a b=\"]\"]",
            "mx|sendmail||",
        ),
        (
            "<22>1 2002-07-15T09:00:01Z mx sendmail - - [a b=\"cut",
            "mx|sendmail||[a b=\"cut",
        ),
        ("<22>1 2002-07-15T09:00:01Z - - - - -", "|||"),
        (
            "<22>1 2002-07-15T09:00:01Z mx named[12] - - - text",
            "mx|named|12|text",
        ),
        (
            "<22>1 2002-07-15T09:00:01Z mx named main - -  text",
            "mx|named||text",
        ),
    ] {
        check(line, time, rest);
    }
    check("<22>1 - mx named 12 - - text", None, "mx|named|12|text");
    check("<22>12 - mx named 12 - - text", None, "mx|named|12|text");
    // Without a priority, a number is no version.
    check("1 - mx named 12 - - text", None, "|||1 - mx named 12 - - text");
    check(
        "<22>1 2002-07-15T09:00:01Z mx",
        None,
        "|||1 2002-07-15T09:00:01Z mx",
    );
}

#[test]
fn tags() {
    for (tail, rest) in [
        ("mx named[12]: text", "mx|named|12|text"),
        ("mx named[12] text", "mx|named|12|text"),
        ("mx named[12]:text", "mx|named|12|text"),
        ("mx named: text", "mx|named||text"),
        ("mx named:  text ", "mx|named||text "),
        ("mx named:", "mx|named||"),
        ("mx named[12]", "mx|named|12|"),
        ("mx named text", "mx|named||text"),
        (
            "mx postfix/smtps/smtpd[12]: text",
            "mx|postfix/smtps/smtpd|12|text",
        ),
        ("mx sshd(pam_unix)[12]: text", "mx|sshd(pam_unix)|12|text"),
        ("mx kernel: [ 123.456] IN=eth0", "mx|kernel||[ 123.456] IN=eth0"),
        ("mx unbound[12:0] info: x", "mx|unbound|12|info: x"),
        ("mx Net::Server[12]: text", "mx|Net::Server|12|text"),
        ("mx agent [12]: text", "mx|agent|12|text"),
        ("mx imap30 slot2/imap[12]: text", "mx|imap30 slot2/imap|12|text"),
        (
            "mx sendmail[12]: [ID 801593 mail.info] text",
            "mx|sendmail|12|text",
        ),
        ("mx sendmail[12]: [ID x] text", "mx|sendmail|12|[ID x] text"),
        ("mx sshd[12] <Error>: text", "mx|sshd|12|text"),
        ("mx %ASA-4-106023: text", "mx|%ASA-4-106023||text"),
        ("2001:db8::53 named[12]: text", "2001:db8::53|named|12|text"),
        ("src@mx/relay named[12]: text", "src@mx/relay|named|12|text"),
        ("<auth.info> mx named[12]: text", "mx|named|12|text"),
        ("<4.3> mx named[12]: text", "mx|named|12|text"),
        ("<4.3> <4.3> mx named[12]: text", "|||<4.3> mx named[12]: text"),
    ] {
        check(&format!("Jul 15 18:00:01 {tail}"), YEARLESS, rest);
        check(&format!("<30>Jul 15 18:00:01 {tail}\r"), YEARLESS, rest);
        check(&format!("2002-07-15T18:00:01 {tail}"), LOCAL, rest);
    }
}

#[test]
fn missing_parts() {
    for (tail, rest) in [
        (" named[12]: text", "|named|12|text"),
        (" kernel: [1.5] IN=eth0", "|kernel||[1.5] IN=eth0"),
        (" IN=eth0 OUT=", "|||IN=eth0 OUT="),
        (" mx", "mx|||"),
        (" mx ", "mx|||"),
        (" -", "|||"),
        ("", "|||"),
        (" ", "|||"),
        (" mx IN=eth0 OUT=", "mx|||IN=eth0 OUT="),
        (" mx -- MARK --", "mx|||-- MARK --"),
        (" mx fw:net:DROP:IN=eth0", "mx|||fw:net:DROP:IN=eth0"),
        (
            " UDP: dgram to domain from 192.0.2.1:53 (40 data bytes)",
            "|||UDP: dgram to domain from 192.0.2.1:53 (40 data bytes)",
        ),
        (
            " mx client 192.0.2.1#53: query: a IN A",
            "mx|||client 192.0.2.1#53: query: a IN A",
        ),
        (
            " client @0x7f 192.0.2.1#53 (a): query: a IN A",
            "|||client @0x7f 192.0.2.1#53 (a): query: a IN A",
        ),
        (" client named[1]: x", "client|named|1|x"),
        (
            " imap-login: Info: Login: user=<a>",
            "|imap-login||Info: Login: user=<a>",
        ),
        (
            " Info: imap-login: Login: user=<a>",
            "|imap-login||Login: user=<a>",
        ),
    ] {
        check(&format!("Jul 15 18:00:01{tail}"), YEARLESS, rest);
    }
    check(
        "dovecot: Jul 15 18:00:01 Info: pop3-login: Login: user=<a>",
        YEARLESS,
        "|dovecot||pop3-login: Login: user=<a>",
    );
    check("<30>named[12]: text", None, "|named|12|text");
    check("<30>a text", None, "|||a text");
}

#[test]
fn repetitions() {
    for (tail, rest) in [
        (
            "last message repeated 3 times",
            "|||last message repeated 3 times",
        ),
        (
            "mx last message repeated 3 times",
            "mx|||last message repeated 3 times",
        ),
        (
            "mx syslogd: last message repeated 3 times",
            "mx|syslogd||last message repeated 3 times",
        ),
        (
            "mx message repeated 2 times: [ x]",
            "mx|||message repeated 2 times: [ x]",
        ),
        (
            "mx named[1]: message repeated 2 times: [ x]",
            "mx|named|1|message repeated 2 times: [ x]",
        ),
        (
            "--- last message repeated 5 times ---",
            "|||--- last message repeated 5 times ---",
        ),
    ] {
        check(&format!("Jul 15 18:00:01 {tail}"), YEARLESS, rest);
    }
    check(
        "Jul 15 18:00:01: --- last message repeated 5 times ---",
        YEARLESS,
        "|||--- last message repeated 5 times ---",
    );
}

#[test]
fn two_hosts() {
    for (tail, rest) in [
        ("relay mx named[12]: text", "mx|named|12|text"),
        ("192.0.2.1 mx postfix/smtpd[12]: text", "mx|postfix/smtpd|12|text"),
        ("mx mx.example.org named: text", "mx.example.org|named||text"),
        ("relay tag Event: text", "relay|tag||Event: text"),
        (
            "relay Message forwarded from mx: sendmail[12]: text",
            "mx|sendmail|12|text",
        ),
        ("relay Message forwarded from mx: some text", "mx|||some text"),
    ] {
        check(&format!("Jul 15 18:00:01 {tail}"), YEARLESS, rest);
    }
}

#[test]
fn own_files_of_bind() {
    let message = "client 192.0.2.1#53 (a): query: a IN A";
    for prefix in [
        "",
        "queries: ",
        "info: ",
        "queries: info: ",
        "query-errors: debug 1: ",
    ] {
        check(
            &format!("15-Jul-2002 18:00:01.123 {prefix}{message}"),
            LOCAL,
            &format!("|||{message}"),
        );
        check(
            &format!("2002-07-15T18:00:01.123 {prefix}{message}"),
            LOCAL,
            &format!("|||{message}"),
        );
        check(
            &format!("2002-07-15T09:00:01.123Z {prefix}{message}"),
            absolute(1_026_723_601),
            &format!("|||{message}"),
        );
    }
    check(
        "15-Jul-2002 18:00:01.123 zone a/IN: loaded",
        LOCAL,
        "|||zone a/IN: loaded",
    );
    check(
        "Jul 15 18:00:01 security: info: client x",
        YEARLESS,
        "|||client x",
    );
}

#[test]
fn own_files_of_others() {
    for (text, rest) in [
        (
            "1Ai79e-0000Dq-8i <= a@example.org",
            "|||1Ai79e-0000Dq-8i <= a@example.org",
        ),
        (
            "no host name found for IP address 192.0.2.1",
            "|||no host name found for IP address 192.0.2.1",
        ),
        ("H=(x) [192.0.2.1]: refused", "|||H=(x) [192.0.2.1]: refused"),
        ("imap-login: Info: Login", "|imap-login||Info: Login"),
        (
            "60 192.0.2.1 900 /pub/file b _ o a",
            "|||60 192.0.2.1 900 /pub/file b _ o a",
        ),
    ] {
        check(&format!("2002-07-15 18:00:01 {text}"), LOCAL, rest);
        check(&format!("Mon Jul 15 18:00:01 2002 {text}"), LOCAL, rest);
    }
    check(
        "2002-07-15T18:00:01.5+09:00 INFO kernel: [1.5] x",
        absolute(1_026_723_601),
        "|kernel||[1.5] x",
    );
}

#[test]
fn journal() {
    let time = absolute(1_026_723_601);
    for (line, rest) in [
        (
            r#"{"__REALTIME_TIMESTAMP":"1026723601123456","_HOSTNAME":"mx","SYSLOG_IDENTIFIER":"postfix/smtpd","_PID":"12","MESSAGE":"text"}"#,
            "mx|postfix/smtpd|12|text",
        ),
        (
            r#"{ "MESSAGE" : "a\"b\\c\/\u00e9\ud83d\ude00\n", "_COMM" : "named", "SYSLOG_PID" : "7", "_PID" : "12", "__REALTIME_TIMESTAMP" : "1026723601123456" }"#,
            "|named|7|a\"b\\c/é😀\n",
        ),
        (
            r#"{"__REALTIME_TIMESTAMP":"1026723601123456","MESSAGE":[104,105, 255]}"#,
            "|||hi\u{fffd}",
        ),
        (
            r#"{"__REALTIME_TIMESTAMP":"1026723601123456","MESSAGE":["one","two"]}"#,
            "|||one",
        ),
        (
            r#"{"__REALTIME_TIMESTAMP":"1026723601123456","MESSAGE":[[104,105],"two"]}"#,
            "|||hi",
        ),
        (
            r#"{"__REALTIME_TIMESTAMP":"1026723601123456","MESSAGE":null}"#,
            "|||",
        ),
        (
            r#"{"__REALTIME_TIMESTAMP":1026723601123456,"X":{"MESSAGE":"no","Y":[1,{"MESSAGE":"no"}]},"MESSAGE":"\ud800x"}"#,
            "|||\u{fffd}x",
        ),
    ] {
        check(line, time, rest);
    }
    for line in [
        "{",
        "{}",
        "{}x",
        r#"{"MESSAGE":"no journal entry"}"#,
        r#"{"__REALTIME_TIMESTAMP":"1026723601123456","MESSAGE":"cut"#,
        r#"{"__REALTIME_TIMESTAMP":"1026723601123456","MESSAGE":[104,256]}"#,
        r#"{"__REALTIME_TIMESTAMP":"1026723601123456","MESSAGE":"\x"}"#,
        r#"{"__REALTIME_TIMESTAMP":"1026723601123456","MESSAGE":"a"} Jul 15"#,
    ] {
        check(line, None, &format!("|||{line}"));
    }
}

#[test]
fn no_header() {
    for line in [
        "",
        " ",
        "\tcontinued",
        "client 192.0.2.1#53: query: a IN A",
        "sm-mta[12]: from=<a>",
        "<>x",
        "<1234>x",
        "<12x",
        "Jul",
        "Jul 15 18:00",
        "2002-07-15",
        "15-Jul-2002",
        "@",
        "[",
        "*",
    ] {
        check(line, None, &format!("|||{line}"));
    }
}

/// A message that holds a header of its own is no second header.
#[test]
fn injected_headers_stay_in_the_message() {
    check(
        "Jul 15 18:00:01 mx postfix/smtpd[12]: reject: helo=<Jul 15 18:00:01 x named[1]: y>",
        YEARLESS,
        "mx|postfix/smtpd|12|reject: helo=<Jul 15 18:00:01 x named[1]: y>",
    );
    check(
        "Jul 15 18:00:01 mx sendmail: named[1]: query",
        YEARLESS,
        "mx|sendmail||named[1]: query",
    );
}

/// Lines near to real ones: pieces of every shape in any order.
fn near_lines() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            "Jul 15 18:00:01",
            "Oct 4 18:00:01",
            "Jul 15 2002 18:00:01",
            " 2002",
            "2002-07-15T18:00:01",
            ".123456",
            "+09:00",
            "+09",
            "Z",
            "15-Jul-2002 18:00:01.123",
            "1026723601",
            "@",
            "[",
            "]",
            ":",
            " ",
            "  ",
            "<30>",
            "<",
            ">",
            "1 ",
            "-",
            "- ",
            "\"",
            "\\",
            "=",
            "mx",
            "named",
            "[12]",
            "named[12]:",
            "postfix/smtpd[12]: ",
            "kernel:",
            "last message repeated 3 times",
            "client @0x",
            "#53",
            "Message forwarded from ",
            "queries: ",
            "info: ",
            "Info: ",
            "[ID 1 mail.info] ",
            "{",
            "}",
            "\"MESSAGE\":",
            "\"__REALTIME_TIMESTAMP\":\"1026723601123456\"",
            ",",
            "\\ud83d",
            "\\u",
            "é",
            "\u{feff}",
            "\r",
            "\n",
            "\0",
            "Mon ",
            " UTC ",
            "*",
            "2001:db8::1 ",
            "slot1/imap[1]:",
            "<auth.info> ",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..8),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

fn inside(part: &[u8], whole: &[u8]) -> bool {
    part.is_empty()
        || whole.as_ptr_range().start <= part.as_ptr() && part.as_ptr_range().end <= whole.as_ptr_range().end
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_line_is_taken_apart(line in near_lines()) {
        let mut scratch = Scratch::new();
        let header = parse(&line, &mut scratch);
        let json = line.first() == Some(&b'{');
        for part in [header.host, header.program, header.pid, header.message] {
            prop_assert!(json || inside(part, &line));
        }
        prop_assert!(header.pid.iter().all(u8::is_ascii_digit));
        prop_assert!(!header.host.contains(&b' ') || json);
        if let Some(Stamp { clock: Clock::Yearless, seconds }) = header.stamp {
            prop_assert!((0..366 * DAY).contains(&seconds));
        }
        // The message is the end of the line (but for a carriage return).
        if !json && !header.message.is_empty() {
            let text = line.strip_suffix(b"\r").unwrap_or(&line);
            prop_assert!(text.ends_with(header.message));
        }
    }

    #[test]
    fn any_bytes_are_taken_apart(line in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut scratch = Scratch::new();
        let header = parse(&line, &mut scratch);
        prop_assert!(header.message.len() <= line.len());
    }

    #[test]
    fn a_real_prefix_before_any_bytes(text in prop::collection::vec(any::<u8>(), 0..60)) {
        let mut line = b"Jul 15 18:00:01 mx named[12]: ".to_vec();
        line.extend_from_slice(&text);
        let mut scratch = Scratch::new();
        let header = parse(&line, &mut scratch);
        prop_assert_eq!(header.host, b"mx");
        prop_assert_eq!(header.program, b"named");
        prop_assert_eq!(header.pid, b"12");
        prop_assert_eq!(header.stamp, YEARLESS);
    }

    #[test]
    fn json_strings_come_back(text in any::<String>()) {
        let line = serde_json::json!({"__REALTIME_TIMESTAMP": "1026723601123456", "MESSAGE": text}).to_string();
        let mut scratch = Scratch::new();
        let header = parse(line.as_bytes(), &mut scratch);
        prop_assert_eq!(header.message, text.as_bytes());
    }
}
