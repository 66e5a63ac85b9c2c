//! Measures the mail dialects: nanoseconds for one message, with the headers already cut off.
//!
//! ```text
//! cargo run --release -p seismolog-core --example mail_ns            typical traffic, then the golden lines
//! cargo run --release -p seismolog-core --example mail_ns FILE…      log files of one's own
//! ```
//!
//! The messages are laid one behind the other in memory and read in many passes; the figure is the
//! fastest pass, so that other work on the machine shows as little as possible.

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Instant;

use seismolog_core::dialect::Dialect;
use seismolog_core::event::Verdict;
use seismolog_core::syslog::header::{self, Scratch};

const DIALECTS: [Dialect; 4] = [
    Dialect::Sendmail,
    Dialect::Postfix,
    Dialect::Qpopper,
    Dialect::Dovecot,
];

/// What a message, a POP session and an IMAP session leave in the logs of an ordinary day.
const TYPICAL: &str = r#"
Jul 15 18:00:01 mx1 sm-mta[2101]: g6F900Qx002101: from=<ann@mail.example.org>, size=1834, class=0, nrcpts=1, msgid=<200207150900.AA01@mail.example.org>, proto=ESMTP, daemon=MTA, relay=mail.example.org [192.0.2.10]
Jul 15 18:00:02 mx1 sm-mta[2102]: g6F900Qx002101: to=<bob@example.net>, ctladdr=<ann@mail.example.org> (1001/100), delay=00:00:02, xdelay=00:00:01, mailer=esmtp, pri=31834, relay=mx.example.net. [198.51.100.25], dsn=2.0.0, stat=Sent (ok 1026723602 qp 8812)
Jul 15 18:00:03 mx1 sm-mta[2103]: g6F900Qx002102: to=<eve@slow.example>, delay=01:00:02, xdelay=00:01:01, mailer=esmtp, pri=121834, relay=mx.slow.example. [203.0.113.25], dsn=4.0.0, stat=Deferred: Connection timed out with mx.slow.example.
Jul 15 18:00:01 mx2 postfix/smtpd[3001]: connect from mail.example.net[198.51.100.25]
Jul 15 18:00:01 mx2 postfix/smtpd[3001]: 4F1A2B3C4D: client=mail.example.net[198.51.100.25]
Jul 15 18:00:01 mx2 postfix/cleanup[3002]: 4F1A2B3C4D: message-id=<20020715090001.4F1A2B3C4D@mail.example.net>
Jul 15 18:00:01 mx2 postfix/qmgr[3003]: 4F1A2B3C4D: from=<ann@example.net>, size=1834, nrcpt=1 (queue active)
Jul 15 18:00:01 mx2 postfix/smtpd[3001]: disconnect from mail.example.net[198.51.100.25] ehlo=1 mail=1 rcpt=1 data=1 quit=1 commands=5
Jul 15 18:00:02 mx2 postfix/smtp[3004]: 4F1A2B3C4D: to=<bob@example.org>, relay=mx.example.org[192.0.2.25]:25, delay=1.2, delays=0.1/0/0.6/0.5, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as 9F0123456)
Jul 15 18:00:02 mx2 postfix/qmgr[3003]: 4F1A2B3C4D: removed
Jul 15 18:00:03 pop1 popper[4001]: (v4.0.5) POP login by user "joe" at (client1.example.org) 192.0.2.101
Jul 15 18:00:03 pop1 popper[4001]: Stats: joe 0 0 3 4567 client1.example.org 192.0.2.101
Jul 15 18:00:04 pop2 dovecot: imap-login: Login: user=<joe@example.org>, method=PLAIN, rip=192.0.2.101, lip=192.0.2.25, mpid=5001, TLS, session=<q454Xu/vMwBZApgg>
Jul 15 18:00:05 pop2 dovecot: imap(joe@example.org)<5001><q454Xu/vMwBZApgg>: Logged out in=59 out=566 deleted=0 expunged=0
Jul 15 18:00:06 pop2 dovecot: pop3-login: Login: user=<ann>, method=PLAIN, rip=192.0.2.102, lip=192.0.2.25, mpid=5002, TLS, session=<q454Xu/vMwBZApgh>
"#;

fn main() -> std::io::Result<()> {
    let files: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    if files.is_empty() {
        println!("typical traffic");
        measure(&[TYPICAL.as_bytes().to_vec()]);
        println!("\ngolden lines");
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden");
        let mut texts = Vec::new();
        for dialect in DIALECTS {
            for case in std::fs::read_dir(golden.join(dialect.name()))? {
                texts.push(std::fs::read(case?.path().join("input.log"))?);
            }
        }
        measure(&texts);
    } else {
        let texts: Vec<Vec<u8>> = files.iter().map(std::fs::read).collect::<Result<_, _>>()?;
        measure(&texts);
    }
    Ok(())
}

/// Prints the table for these files.
fn measure(texts: &[Vec<u8>]) {
    let mut scratch = Scratch::new();
    let mut lines: Vec<(Dialect, [Vec<u8>; 3])> = Vec::new();
    for line in texts.iter().flat_map(|text| text.split(|&b| b == b'\n')) {
        let read = header::parse(line, &mut scratch);
        if let Some(dialect) = Dialect::of_program(read.program) {
            lines.push((
                dialect,
                [read.program.to_vec(), read.pid.to_vec(), read.message.to_vec()],
            ));
        }
    }
    println!(
        "{:<10} {:>8} {:>8} {:>10} {:>10}",
        "dialect", "lines", "bytes", "ns/line", "events"
    );
    for dialect in DIALECTS {
        let own: Vec<_> = lines
            .iter()
            .filter(|(d, _)| *d == dialect)
            .map(|(_, l)| l)
            .collect();
        // Enough copies that the branch predictor cannot learn the file by heart.
        let copies: Vec<_> = own.iter().cycle().take(20_000.max(own.len())).collect();
        let (mut best, mut events) = (f64::INFINITY, 0);
        for _ in 0..30 {
            let start = Instant::now();
            events = copies
                .iter()
                .filter(|l| {
                    let verdict = dialect.parse(&l[0], &l[1], black_box(&l[2]));
                    matches!(black_box(verdict), Verdict::Event(_))
                })
                .count();
            best = best.min(start.elapsed().as_secs_f64());
        }
        if own.is_empty() {
            continue;
        }
        let n = copies.len();
        let bytes: usize = copies.iter().map(|l| l[2].len()).sum();
        println!(
            "{:<10} {:>8} {:>8} {:>10.1} {:>9.0}%",
            dialect.name(),
            own.len(),
            bytes / n,
            best * 1e9 / n as f64,
            100.0 * events as f64 / n as f64
        );
    }
}
