//! Mail logs: sendmail, Postfix, qpopper and Dovecot in turn, four hosts, one message or session after another.

use std::io::{self, Write};

use crate::Options;
use crate::dns::address;
use crate::random::{Random, Zipf};
use crate::time::{Clock, UPPER, decimal, hexadecimal};

const USERS: [&str; 10] = [
    "tanaka", "suzuki", "mueller", "garcia", "smith", "kowalski", "rossi", "dubois", "novak", "larsen",
];
const DOMAINS: [&str; 8] = [
    "example.com",
    "example.net",
    "example.org",
    "uni.example",
    "mail.example.com",
    "lists.example.org",
    "shop.example.net",
    "lab.test",
];

pub(crate) fn write(sink: &mut impl Write, options: &Options) -> io::Result<()> {
    let random = Random::new(options.seed);
    let clients = (0..options.clients as u64)
        .map(|k| address(k, options.ipv6 && k % 2 == 1))
        .collect();
    let mut log = Log {
        sink,
        random,
        clients,
        law: Zipf::new(options.clients, 1.05),
        clock: Clock::new(),
        line: Vec::with_capacity(512),
        written: 0,
        lines: options.lines,
        seconds: options.minutes * 60,
    };
    while log.written < log.lines {
        match log.random.below(100) {
            0..35 => log.sendmail()?,
            35..65 => log.postfix()?,
            65..82 => log.qpopper()?,
            _ => log.dovecot()?,
        }
    }
    Ok(())
}

struct Log<'a, W> {
    sink: &'a mut W,
    random: Random,
    clients: Vec<Vec<u8>>,
    law: Zipf,
    clock: Clock,
    line: Vec<u8>,
    written: u64,
    lines: u64,
    seconds: u64,
}

impl<W: Write> Log<'_, W> {
    /// Begins a line: its time and who says it.
    fn begin(&mut self, host: &str, program: &str, pid: u64) {
        let second = (u128::from(self.written) * u128::from(self.seconds) / u128::from(self.lines)) as u64;
        self.line.clear();
        self.line.extend_from_slice(self.clock.text(second));
        self.put(" ").put(host).put(" ").put(program).put("[");
        decimal(&mut self.line, pid);
        self.put("]: ");
    }

    /// Ends a line and writes it, unless all lines asked for are written.
    fn end(&mut self) -> io::Result<()> {
        if self.written < self.lines {
            self.line.push(b'\n');
            self.sink.write_all(&self.line)?;
            self.written += 1;
        }
        Ok(())
    }

    fn put(&mut self, text: &str) -> &mut Self {
        self.line.extend_from_slice(text.as_bytes());
        self
    }

    fn number(&mut self, number: u64) -> &mut Self {
        decimal(&mut self.line, number);
        self
    }

    fn client(&mut self, client: usize) -> &mut Self {
        self.line.extend_from_slice(&self.clients[client]);
        self
    }

    fn id(&mut self, id: u64, digits: u32) -> &mut Self {
        hexadecimal(&mut self.line, id, digits, UPPER);
        self
    }

    fn mailbox(&mut self, bits: u64) -> &mut Self {
        self.put(USERS[bits as usize % USERS.len()])
            .number(bits >> 8 & 1023);
        self.put("@").put(DOMAINS[(bits >> 20) as usize % DOMAINS.len()])
    }

    fn sendmail(&mut self) -> io::Result<()> {
        let (bits, client) = (self.random.next(), self.law.draw(&mut self.random));
        let (pid, recipients) = (2_000 + (bits & 0x3fff), 1 + (bits >> 50 & 3).saturating_sub(1));
        self.begin("mx1", "sendmail", pid);
        self.put("g6F9")
            .id(bits >> 8, 8)
            .put(": from=<")
            .mailbox(bits)
            .put(">, size=")
            .number(500 + bits % 90_000);
        self.put(", class=0, nrcpts=")
            .number(recipients)
            .put(", msgid=<2002071")
            .id(bits, 12);
        self.put("@host.example>, proto=ESMTP, daemon=MTA, relay=pc.example [")
            .client(client)
            .put("]");
        self.end()?;
        for recipient in 0..recipients {
            self.begin("mx1", "sendmail", pid + 1);
            self.put("g6F9")
                .id(bits >> 8, 8)
                .put(": to=<")
                .mailbox(bits >> (7 + recipient));
            self.put(">, delay=00:00:0")
                .number(bits % 9)
                .put(", xdelay=00:00:01, mailer=esmtp, pri=");
            self.number(30_000 + bits % 5_000)
                .put(", relay=mx.example.net. [198.51.100.");
            self.number(bits >> 12 & 255);
            if bits >> 40 & 7 == 0 {
                self.put("], dsn=4.0.0, stat=Deferred: Connection timed out with mx.example.net.");
            } else {
                self.put("], dsn=2.0.0, stat=Sent (ok 1026750000 qp 1234)");
            }
            self.end()?;
        }
        Ok(())
    }

    fn postfix(&mut self) -> io::Result<()> {
        let (bits, client) = (self.random.next(), self.law.draw(&mut self.random));
        let (pid, id) = (20_000 + (bits & 0x1fff), bits >> 8);
        self.begin("mx2", "postfix/smtpd", pid);
        self.put("connect from unknown[").client(client).put("]");
        self.end()?;
        if bits >> 60 == 0 {
            self.begin("mx2", "postfix/smtpd", pid);
            self.put("NOQUEUE: reject: RCPT from unknown[")
                .client(client)
                .put("]: 554 5.7.1 <")
                .mailbox(bits);
            self.put(">: Relay access denied; from=<")
                .mailbox(bits >> 5)
                .put("> to=<")
                .mailbox(bits);
            self.put("> proto=ESMTP helo=<pc.example>");
            self.end()?;
        } else {
            self.begin("mx2", "postfix/smtpd", pid);
            self.id(id, 11).put(": client=unknown[").client(client).put("]");
            self.end()?;
            self.begin("mx2", "postfix/cleanup", pid + 1);
            self.id(id, 11)
                .put(": message-id=<")
                .id(bits, 12)
                .put("@pc.example>");
            self.end()?;
            self.begin("mx2", "postfix/qmgr", 1_800);
            self.id(id, 11)
                .put(": from=<")
                .mailbox(bits >> 5)
                .put(">, size=")
                .number(500 + bits % 90_000);
            self.put(", nrcpt=1 (queue active)");
            self.end()?;
        }
        self.begin("mx2", "postfix/smtpd", pid);
        self.put("disconnect from unknown[")
            .client(client)
            .put("] ehlo=1 mail=1 rcpt=1 data=1 quit=1 commands=5");
        self.end()?;
        if bits >> 60 != 0 {
            self.begin("mx2", "postfix/smtp", pid + 2);
            self.id(id, 11)
                .put(": to=<")
                .mailbox(bits)
                .put(">, relay=mx.example.net[198.51.100.")
                .number(bits >> 12 & 255);
            self.put("]:25, delay=0.")
                .number(bits % 97)
                .put(", delays=0.01/0/0.1/0.2, ");
            if bits >> 40 & 7 == 0 {
                self.put("dsn=4.2.0, status=deferred (host mx.example.net said: 450 4.2.0 try again later)");
            } else {
                self.put("dsn=2.0.0, status=sent (250 2.0.0 Ok: queued as ")
                    .id(bits >> 3, 10)
                    .put(")");
            }
            self.end()?;
            self.begin("mx2", "postfix/qmgr", 1_800);
            self.id(id, 11).put(": removed");
            self.end()?;
        }
        Ok(())
    }

    fn qpopper(&mut self) -> io::Result<()> {
        let (bits, client) = (self.random.next(), self.law.draw(&mut self.random));
        self.begin("pop1", "popper", 4_000 + (bits & 0x3fff));
        self.put("Stats: ")
            .put(USERS[bits as usize % USERS.len()])
            .number(bits >> 8 & 1023);
        self.put(" ")
            .number(bits >> 20 & 7)
            .put(" ")
            .number(bits >> 24 & 0xffff)
            .put(" 0 0 pc.example ")
            .client(client);
        self.end()
    }

    fn dovecot(&mut self) -> io::Result<()> {
        let (bits, client) = (self.random.next(), self.law.draw(&mut self.random));
        let (pop, user) = (bits & 1 == 0, USERS[(bits >> 4) as usize % USERS.len()]);
        self.begin("imap1", "dovecot", 900);
        self.put(if pop { "pop3-login" } else { "imap-login" });
        if bits >> 58 == 0 {
            self.put(": Disconnected (auth failed, 1 attempts in 2 secs): user=<")
                .put(user);
        } else {
            self.put(": Login: user=<").put(user);
        }
        self.put(">, method=PLAIN, rip=")
            .client(client)
            .put(", lip=10.0.0.25, mpid=")
            .number(bits >> 12 & 0xffff);
        self.put(", TLS, session=<").id(bits, 12).put(">");
        self.end()?;
        if bits >> 58 != 0 {
            self.begin("imap1", "dovecot", 900);
            self.put(if pop { "pop3(" } else { "imap(" })
                .put(user)
                .put(")<")
                .number(bits >> 12 & 0xffff)
                .put("><");
            self.id(bits, 12)
                .put(">: Disconnected: Logged out in=")
                .number(bits >> 30 & 511)
                .put(" out=");
            self.number(bits >> 34 & 0xffff);
            self.end()?;
        }
        Ok(())
    }
}
