//! What the quick readings of the mail dialects share.
//!
//! A dialect's `parse` looks for one end of a field after the other: each is a loop, or the call of a search, that
//! ends where the processor did not expect it. A quick reading takes the ends of all fields from bit masks of 64 bytes
//! at a time, as [`super::bind::quick`] does for queries. It knows the few shapes that make up nearly all of a log;
//! whatever is not exactly so (a quote, an option, a long field, the end of the block) is left to the full reading.
//! What it answers is what the full reading answers: tested on random lines in each dialect.

use super::bind::scan::key;
use crate::wide::{Class, Wide};

/// What addresses are made of.
const ADDRESS: Class = Class::of(b"0123456789abcdefABCDEF.:");

/// The bits of the first `n` positions.
#[inline(always)]
pub(super) const fn below(n: usize) -> u64 {
    if n >= 64 { u64::MAX } else { (1 << n) - 1 }
}

/// The first of these positions from `at` on; 64 where there is none.
#[inline(always)]
pub(super) const fn first(bits: u64, at: usize) -> usize {
    (bits & !below(at)).trailing_zeros() as usize
}

/// A line in its block.
#[derive(Clone, Copy)]
pub(super) struct Line<'a, W> {
    pub wide: W,
    pub block: &'a [u8],
    /// Where the line ends.
    pub end: usize,
}

impl<'a, W: Wide> Line<'a, W> {
    /// 64 bytes of the block, of which the last may belong to later lines.
    #[inline(always)]
    pub fn window(self, at: usize) -> Option<&'a [u8; 64]> {
        self.block.get(at..)?.first_chunk::<64>()
    }

    /// Eight bytes of the block; zeros where it ends before.
    #[inline(always)]
    pub fn word(self, at: usize) -> u64 {
        match self.block.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
            Some(bytes) => u64::from_le_bytes(*bytes),
            None => 0,
        }
    }

    /// Whether a keyword of at most eight bytes stands there. A keyword holds no line end, so that it lies within the
    /// line if its first byte does.
    #[inline(always)]
    pub fn has(self, at: usize, text: &[u8]) -> bool {
        let unused = 64 - 8 * text.len() as u32;
        (self.word(at) ^ key(text)) << unused == 0
    }

    /// The address that fills the text from `open` to `close` of a window that begins at `at`; none where it may be
    /// none, or be this machine's own, or is written in another way than with its digits alone.
    #[inline(always)]
    pub fn client(self, window: &[u8; 64], at: usize, open: usize, close: usize) -> Option<&'a [u8]> {
        let inside = below(close) & !below(open);
        let [dots, colons] = self.wide.positions(window, [b'.', b':']);
        let stray = !self.wide.of_class(window, &ADDRESS) & inside;
        if close >= 64 || stray != 0 || (dots | colons) & inside == 0 {
            return None;
        }
        let client = self.block.get(at + open..at + close)?;
        (!may_be_loopback(client)).then_some(client)
    }
}

/// Whether a text may begin with an address of this machine's own, however it is written.
#[inline(always)]
pub(super) fn may_be_loopback(text: &[u8]) -> bool {
    match text.first_chunk::<4>() {
        // What an address begins with nobody can guess: all is asked, and the answer is nearly always no.
        Some(head) => (head == b"127.") | (head[0] == b':') | (head[0] | 0x20 == b'i'),
        None => matches!(text.first(), Some(b':' | b'I' | b'i') | None),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::dialect::Dialect;
    use crate::event::Verdict;
    #[cfg(target_arch = "x86_64")]
    use crate::wide::{Avx2, Avx512};
    use crate::wide::{Class, Narrow};

    /// Program, pid and message of every line of the golden cases of the mail dialects, and of usual lines.
    fn messages() -> Vec<(Dialect, String, String, String)> {
        use crate::syslog::header::{Scratch, parse};
        let mut all = Vec::new();
        let mut take = |line: &str| {
            let mut scratch = Scratch::new();
            let header = parse(line.as_bytes(), &mut scratch);
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            if let Some(dialect) = Dialect::of_program(header.program) {
                all.push((
                    dialect,
                    text(header.program),
                    text(header.pid),
                    text(header.message),
                ));
            }
        };
        USUAL.lines().for_each(&mut take);
        let golden = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden");
        for dialect in ["postfix", "sendmail", "dovecot", "qpopper"] {
            let cases = std::fs::read_dir(golden.join(dialect)).expect("the golden cases");
            for case in cases.flatten() {
                let lines = std::fs::read(case.path().join("input.log")).expect("the lines of a case");
                String::from_utf8_lossy(&lines).lines().for_each(&mut take);
            }
        }
        all
    }

    /// The answer of the quick reading, which is that of the full one if there is one.
    fn answers(dialect: Dialect, program: &str, pid: &str, message: &str, next: &str) -> bool {
        let (program, pid) = (program.as_bytes(), pid.as_bytes());
        let block = format!("{BEFORE}{message}\n{next}");
        let (block, from, end) = (block.as_bytes(), BEFORE.len(), BEFORE.len() + message.len());
        let full = dialect.parse(program, pid, message.as_bytes());
        let told = |quick: Option<Verdict<'_>>| {
            if let Some(quick) = quick {
                assert_eq!(quick, full, "{message:?}");
            }
            quick.is_some()
        };
        let narrow = told(dialect.quick(Narrow, program, pid, block, from, end));
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = Avx2::detect().map(|wide| told(dialect.quick(wide, program, pid, block, from, end)));
            let avx512 =
                Avx512::detect().map(|wide| told(dialect.quick(wide, program, pid, block, from, end)));
            assert_eq!(avx2.unwrap_or(narrow), narrow, "{message:?}");
            assert_eq!(avx512.unwrap_or(narrow), narrow, "{message:?}");
        }
        narrow
    }

    /// What stands in the block before the line: nothing of it may be taken for the line's.
    const BEFORE: &str =
        "imap-login: Login: user=<a>, rip=10.9.9.9, [127.0.0.1], nrcpts=1, relay=b [::1], status=sent: ";

    const USUAL: &str = "\
Jul  1 00:00:00 mx2 postfix/smtpd[23353]: connect from unknown[10.25.0.6]
Jul  1 00:00:00 mx2 postfix/smtpd[23353]: E0F1600CC4D: client=mail.example[2001:db8::7]
Jul  1 00:00:00 mx2 postfix/smtpd[23353]: 4bXyz23Cq4z9sT2: client=mail.example[2001:db8::7]
Jul  1 00:00:00 mx2 postfix/cleanup[23354]: E0F1600CC4D: message-id=<0F1600CC4D19@pc.example>
Jul  1 00:00:00 mx2 postfix/qmgr[1800]: E0F1600CC4D: from=<rossi610@example.com>, size=14317, nrcpt=1 (queue active)
Jul  1 00:00:00 mx2 postfix/smtpd[23353]: disconnect from unknown[10.25.0.6] ehlo=1 mail=1 rcpt=1 data=1 quit=1 commands=5
Jul  1 00:00:00 mx2 postfix/smtp[23355]: E0F1600CC4D: to=<dubois77@mail.example.com>, relay=mx.example.net[198.51.100.196]:25, delay=0.74, delays=0.01/0/0.1/0.2, dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as E2C01989A3)
Jul  1 00:00:00 mx2 postfix/smtp[23355]: E0F1600CC4D: to=<dubois77@mail.example.com>, relay=none, delay=0.74, delays=0.01/0/0.1/0.2, dsn=4.2.0, status=deferred (host mx.example.net said: 450 4.2.0 try again later)
Jul  1 00:00:00 mx2 postfix/qmgr[1800]: E0F1600CC4D: removed
Jul  1 00:00:00 mx1 sendmail[14767]: g6F95DCBE531: from=<suzuki305@shop.example.net>, size=83491, class=0, nrcpts=2, msgid=<2002071905DCBE531DF@host.example>, proto=ESMTP, daemon=MTA, relay=pc.example [10.193.0.1]
Jul  1 00:00:00 mx1 sendmail[14768]: g6F95DCBE531: to=<dubois970@example.net>, delay=00:00:02, xdelay=00:00:01, mailer=esmtp, pri=32991, relay=mx.example.net. [198.51.100.83], dsn=4.0.0, stat=Deferred: Connection timed out with mx.example.net.
Jul  1 00:00:00 mx1 sendmail[16505]: g6F90B302278: to=<kowalski68@shop.example.net>, delay=00:00:05, xdelay=00:00:01, mailer=esmtp, pri=33680, relay=mx.example.net. [198.51.100.39], dsn=2.0.0, stat=Sent (ok 1026750000 qp 1234)
Jul  1 00:00:00 imap1 dovecot[900]: imap-login: Login: user=<novak>, method=PLAIN, rip=10.2.0.2, lip=10.0.0.25, mpid=25575, TLS, session=<ECB1763E79AD>
Jul  1 00:00:00 imap1 dovecot[900]: pop3-login: Login: user=<novak>, method=PLAIN, rip=2001:db8::7, lip=10.0.0.25, mpid=25575, TLS, session=<ECB1763E79AD>
Jul  1 00:00:00 imap1 dovecot[900]: imap(novak)<25575><ECB1763E79AD>: Disconnected: Logged out in=197 out=15148
Jul  1 00:00:00 pop1 popper[16138]: Stats: novak559 4 55565 0 0 pc.example 10.193.0.1";

    /// What lines are taken apart by.
    const PIECES: &[&str] = &[
        " ",
        ",",
        ", ",
        ":",
        ": ",
        "<",
        ">",
        ">, ",
        "\"",
        "\\",
        "[",
        "]",
        "[127.0.0.1]",
        "[::1]",
        "127.0.0.1",
        "::1",
        "::ffff:127.0.0.1",
        "IPv6:",
        "[IPv6:::1]",
        "10.1.2.3",
        "fe80::1%eth0",
        "unknown",
        "1",
        "0",
        "a",
        "-",
        ", relay=",
        ", relay=local",
        ", relay=mx[192.0.2.1]:25",
        ", status=",
        ", status=sent ",
        ", status=deferred ",
        ", stat=",
        ", stat=Sent",
        ", stat=Deferred",
        ", nrcpts=",
        ", nrcpts=0",
        ", size=",
        ", delay=",
        ", ctladdr=<a>",
        " rip=",
        ", rip=10.1.2.3, ",
        " user=<",
        "Login: ",
        "imap(",
        "pop3-login: ",
        "connect from ",
        "disconnect from ",
        "to=<",
        "from=<",
        "client=",
        "message-id=",
        "removed",
        "NOQUEUE: ",
        "4FA21C0D3: ",
        "Stats: ",
        ", returned to sender",
        "status=expired",
        ", sasl_username=joe",
        ", orig_client=a",
        "queued as 4FA21C0D3",
        "\r",
        "\u{202e}",
        "é",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    ];

    #[test]
    fn usual_lines_are_read_quickly() {
        for (dialect, program, pid, message) in messages().iter().take(USUAL.lines().count()) {
            let next = "x".repeat(200);
            assert!(answers(*dialect, program, pid, message, &next), "{message}");
            // The last line of a block is read in full.
            let _ = answers(*dialect, program, pid, message, "");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]
        #[test]
        fn the_quick_reading_is_the_full_one(
            which in any::<prop::sample::Index>(),
            usual in any::<bool>(),
            next in any::<prop::sample::Index>(),
            changes in proptest::collection::vec(
                (any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0_usize..12), 0..4,
            ),
        ) {
            use std::sync::LazyLock;
            static ALL: LazyLock<Vec<(Dialect, String, String, String)>> = LazyLock::new(messages);
            let from = if usual { &ALL[..USUAL.lines().count()] } else { &ALL[..] };
            let (dialect, program, pid, message) = which.get(from);
            let mut message: Vec<char> = message.chars().collect();
            for (at, piece, gone) in &changes {
                let at = at.index(message.len() + 1);
                let gone = at..(at + gone).min(message.len());
                message.splice(gone, piece.get(PIECES).chars());
            }
            let message: String = message.into_iter().collect();
            let next = format!("{}\n{}", next.get(&ALL).3, "x".repeat(64));
            let _ = answers(*dialect, program, pid, message.trim_end_matches('\r'), &next);
        }

        #[test]
        fn a_class_is_a_set(set in proptest::collection::vec(any::<u8>(), 0..40), byte in any::<u8>()) {
            prop_assert_eq!(Class::of(&set).has(byte), byte < 128 && set.contains(&byte));
        }
    }
}
