//! RELP, the reliable protocol of rsyslog's omrelp: each message is answered once it is on disk.
//!
//! ```text
//! frame  TXNR SP COMMAND SP DATALEN [SP DATA] LF
//! >  1 open 85 relp_version=0\nrelp_software=librelp,1.11.0,...\ncommands=syslog
//! <  1 rsp 82 200 OK\nrelp_version=0\nrelp_software=seismolog\ncommands=syslog
//! >  2 syslog 34 <30>Nov 25 10:00:00 ns1 named[7]: x
//! <  2 rsp 6 200 OK
//! >  3 close 0
//! <  3 rsp 0
//! <  0 serverclose 0
//! ```
//!
//! Here is only the language; [`super::reader`] has the sockets. As in [`super::framing`], messages are
//! taken apart in place, in the batch that will be logged.
//!
//! A message is answered in the order of arrival. One that is too long is counted, dropped and answered
//! all the same, since its sender would send it again for ever. What is no frame ends the connection
//! with `serverclose`; the sender connects again and sends what was not answered.
//!
//! Limits: `open` must come first; of the offers only `commands` is looked at (`syslog` must be among
//! them); no TLS within RELP.

use std::collections::VecDeque;

use super::framing::{BadFrame, CARRY, DIGITS, Found, KEEP, place, splice};

/// Longer names of commands are none.
const COMMAND: usize = 32;
/// An `open` carries no more than this.
const OFFERS: usize = 4096;

/// A frame that is no message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// The session begins.
    Open {
        /// Its number.
        number: u32,
        /// Whether the sender offers `syslog`.
        syslog: bool,
    },
    /// The session ends.
    Close {
        /// Its number.
        number: u32,
    },
    /// Something that is not spoken here.
    Unknown {
        /// Its number.
        number: u32,
    },
}

/// The state of one connection.
#[derive(Debug, Default)]
pub struct Relp {
    partial: Vec<u8>,
    carried: usize,
    /// So many bytes of a message that is too long follow, then its line feed.
    skip: usize,
    opened: bool,
}

struct Header<'a> {
    number: u32,
    command: &'a [u8],
    /// Where the data begin, seen from the frame's begin.
    at: usize,
    length: usize,
}

enum Read<'a> {
    Short,
    Bad,
    Header(Header<'a>),
}

/// A decimal number and what follows it; none where it does not end within the text.
fn number(text: &[u8], most: usize) -> Result<Option<(usize, &[u8])>, BadFrame> {
    let mut value = 0usize;
    for (at, byte) in text.iter().enumerate() {
        match byte {
            b'0'..=b'9' if at < most => value = value * 10 + usize::from(byte - b'0'),
            _ if at == 0 => return Err(BadFrame),
            b' ' | b'\n' => return Ok(Some((value, text.get(at..).unwrap_or_default()))),
            _ => return Err(BadFrame),
        }
    }
    Ok(None)
}

fn header(text: &[u8]) -> Read<'_> {
    let read = || -> Result<Option<Header<'_>>, BadFrame> {
        let Some((transaction, rest)) = number(text, DIGITS)? else {
            return Ok(None);
        };
        let Some((b' ', rest)) = rest.split_first() else {
            return Err(BadFrame);
        };
        let letters = rest.iter().take_while(|b| b.is_ascii_alphabetic()).count();
        if letters > COMMAND {
            return Err(BadFrame);
        }
        let (command, rest) = rest.split_at(letters);
        let rest = match rest.split_first() {
            None => return Ok(None),
            Some((b' ', rest)) if letters > 0 => rest,
            Some(_) => return Err(BadFrame),
        };
        let Some((length, rest)) = number(rest, DIGITS)? else {
            return Ok(None);
        };
        // After a length of 0 the blank may be missing.
        let blank = match (rest.first(), length) {
            (Some(b' '), _) => 1,
            (_, 0) => 0,
            _ => return Err(BadFrame),
        };
        Ok(Some(Header {
            number: u32::try_from(transaction).unwrap_or(u32::MAX),
            command,
            at: text.len() - rest.len() + blank,
            length,
        }))
    };
    match read() {
        Ok(Some(header)) => Read::Header(header),
        Ok(None) => Read::Short,
        Err(BadFrame) => Read::Bad,
    }
}

impl Relp {
    /// Bytes that wait for the rest of their frame.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.partial.len()
    }

    /// Whether a frame has begun and not ended.
    #[must_use]
    pub fn unfinished(&self) -> bool {
        !self.partial.is_empty() || self.skip > 0 || !self.opened
    }

    /// As [`super::framing::Framer::carry`].
    pub fn carry(&mut self, batch: &mut Vec<u8>) {
        if self.partial.len() <= CARRY {
            batch.extend_from_slice(&self.partial);
            self.carried = self.partial.len();
            self.partial.clear();
        }
    }

    /// After reading: leaves of `batch[start..]` the messages as lines, each ended by a line feed. The
    /// numbers of the messages to be answered are added to `answers`, other frames to `commands`.
    ///
    /// # Errors
    /// The stream is not RELP. Messages before it are in the batch.
    pub fn take(
        &mut self,
        batch: &mut Vec<u8>,
        start: usize,
        most: usize,
        answers: &mut VecDeque<u32>,
        commands: &mut Vec<Command>,
    ) -> (Found, Result<(), BadFrame>) {
        let mut found = Found::default();
        self.carried = 0;
        if !self.partial.is_empty() {
            if let Read::Header(head) = header(&self.partial)
                && self.partial.len() + (batch.len() - start) <= head.at + head.length
            {
                self.keep(batch, start, start);
                return (found, Ok(()));
            }
            splice(batch, start, &mut self.partial);
        }
        let (mut read, mut write) = (start, start);
        let result = loop {
            if self.skip > 0 {
                let step = self.skip.min(batch.len() - read);
                self.skip -= step;
                read += step;
                if self.skip > 0 {
                    batch.truncate(write);
                    break Ok(());
                }
            }
            let text = batch.get(read..).unwrap_or_default();
            let head = match header(text) {
                Read::Header(head) => head,
                Read::Short => {
                    self.keep(batch, read, write);
                    break Ok(());
                }
                Read::Bad => {
                    batch.truncate(write);
                    break Err(BadFrame);
                }
            };
            let syslog = head.command == b"syslog";
            let bound = if syslog { most } else { OFFERS };
            if syslog && !self.opened || !syslog && head.length > bound {
                batch.truncate(write);
                break Err(BadFrame);
            }
            if head.length > bound {
                found.too_long += 1;
                answers.push_back(head.number);
                self.skip = head.length + 1;
                read += head.at;
                continue;
            }
            let end = head.at + head.length;
            match text.get(end) {
                None => {
                    self.keep(batch, read, write);
                    break Ok(());
                }
                Some(b'\n') => {}
                Some(_) => {
                    batch.truncate(write);
                    break Err(BadFrame);
                }
            }
            let (from, to, next) = (read + head.at, read + end, read + end + 1);
            if syslog {
                answers.push_back(head.number);
                if let Some(end) = place(batch, from, to, write) {
                    write = end;
                    found.lines += 1;
                }
            } else {
                commands.push(match head.command {
                    b"open" => {
                        self.opened = true;
                        Command::Open {
                            number: head.number,
                            syslog: offers_syslog(text.get(head.at..end).unwrap_or_default()),
                        }
                    }
                    b"close" => Command::Close { number: head.number },
                    _ => Command::Unknown { number: head.number },
                });
            }
            read = next;
        };
        if self.partial.is_empty() && self.partial.capacity() > KEEP {
            self.partial = Vec::new();
        }
        (found, result)
    }

    fn keep(&mut self, batch: &mut Vec<u8>, from: usize, end: usize) {
        self.partial
            .extend_from_slice(batch.get(from..).unwrap_or_default());
        batch.truncate(end);
    }
}

fn offers_syslog(offers: &[u8]) -> bool {
    offers
        .split(|b| *b == b'\n')
        .filter_map(|line| line.strip_prefix(b"commands="))
        .flat_map(|commands| commands.split(|b| *b == b','))
        .any(|command| command == b"syslog")
}

/// The answer to a message that is on disk.
pub fn accepted(out: &mut Vec<u8>, number: u32) {
    decimal(out, number);
    out.extend_from_slice(b" rsp 6 200 OK\n");
}

/// The answer to a command.
pub fn answer(out: &mut Vec<u8>, command: &Command) {
    let data: &[u8] = match command {
        Command::Open { syslog: true, .. } => {
            b"200 OK\nrelp_version=0\nrelp_software=seismolog\ncommands=syslog"
        }
        Command::Open { syslog: false, .. } => b"500 the command syslog is required",
        Command::Unknown { .. } => b"500 unknown command",
        Command::Close { .. } => b"",
    };
    let (Command::Open { number, .. } | Command::Close { number } | Command::Unknown { number }) = command;
    decimal(out, *number);
    out.extend_from_slice(b" rsp ");
    decimal(out, u32::try_from(data.len()).unwrap_or(0));
    if !data.is_empty() {
        out.push(b' ');
        out.extend_from_slice(data);
    }
    out.push(b'\n');
}

/// What is said before the server closes a connection.
pub const SERVER_CLOSE: &[u8] = b"0 serverclose 0\n";

fn decimal(out: &mut Vec<u8>, mut number: u32) {
    let mut digits = [0u8; 10];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct Heard {
        lines: Vec<u8>,
        answers: Vec<u32>,
        commands: Vec<Command>,
        found: Found,
        result: Result<(), BadFrame>,
    }

    fn feed(pieces: &[&[u8]], most: usize) -> Heard {
        let mut relp = Relp::default();
        let mut batch = b"before\n".to_vec();
        let (mut answers, mut commands) = (VecDeque::new(), Vec::new());
        let mut sum = Found::default();
        let mut result = Ok(());
        for piece in pieces {
            let start = batch.len();
            relp.carry(&mut batch);
            batch.extend_from_slice(piece);
            let (found, said) = relp.take(&mut batch, start, most, &mut answers, &mut commands);
            sum.lines += found.lines;
            sum.too_long += found.too_long;
            assert!(relp.waiting() <= most.max(OFFERS) + CARRY);
            if said.is_err() {
                result = said;
                break;
            }
        }
        Heard {
            lines: batch.split_off(7),
            answers: answers.into(),
            commands,
            found: sum,
            result,
        }
    }

    const OPEN: &[u8] = b"1 open 46 relp_version=0\nrelp_software=x\ncommands=syslog\n";

    #[test]
    fn a_session() {
        let heard = feed(
            &[
                OPEN,
                b"2 syslog 5 <1>ab\n3 syslog 7 <1>a\nb\n\n4 syslog 0\n5 close 0\n",
            ],
            1000,
        );
        assert_eq!(heard.lines, b"<1>ab\n<1>a b\n");
        assert_eq!(heard.answers, [2, 3, 4]);
        assert_eq!(
            heard.commands,
            [
                Command::Open {
                    number: 1,
                    syslog: true
                },
                Command::Close { number: 5 }
            ]
        );
        assert_eq!((heard.found.lines, heard.result), (2, Ok(())));
    }

    #[test]
    fn answers_are_frames() {
        let mut out = Vec::new();
        accepted(&mut out, 4_294_967_295);
        answer(
            &mut out,
            &Command::Open {
                number: 10,
                syslog: true,
            },
        );
        answer(&mut out, &Command::Close { number: 0 });
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "4294967295 rsp 6 200 OK\n10 rsp 61 200 OK\nrelp_version=0\nrelp_software=seismolog\ncommands=syslog\n0 rsp 0\n"
        );
    }

    #[test]
    fn what_is_no_relp_is_refused() {
        for bad in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"<1>plain\n",
            b"1 syslog 5 <1>ab\n", // before open
            b"1 open 99999 x",
            b"1 open x",
            b"1  0\n",
            b"1\n",
        ] {
            assert_eq!(feed(&[bad], 1000).result, Err(BadFrame), "{bad:?}");
        }
        let heard = feed(&[OPEN, b"2 syslog 2 abX"], 1000);
        assert_eq!(
            (heard.lines, heard.answers, heard.result),
            (vec![], vec![], Err(BadFrame))
        );
    }

    #[test]
    fn what_is_too_long_is_answered_and_not_held() {
        let long = vec![b'x'; 5000];
        let heard = feed(
            &[OPEN, b"2 syslog 10000 ", &long, &long, b"\n3 syslog 1 a\n"],
            4000,
        );
        assert_eq!(heard.lines, b"a\n");
        assert_eq!(heard.answers, [2, 3]);
        assert_eq!(
            heard.found,
            Found {
                lines: 1,
                too_long: 1
            }
        );
    }

    proptest! {
        #[test]
        fn any_split_of_a_session_is_the_same_session(
            lines in proptest::collection::vec("<[1-9]>[a-z0-9 \\x01]{0,60}[a-z]", 1..20),
            long in proptest::collection::vec(0usize..20, 0..3),
            cuts in proptest::collection::vec(any::<usize>(), 0..30),
            most in prop_oneof![Just(64usize), Just(100_000)],
        ) {
            let mut lines: Vec<Vec<u8>> = lines.into_iter().map(String::into_bytes).collect();
            for at in long {
                let n = lines.len();
                lines[at % n].extend_from_slice(&[b'y'; 3000]);
            }
            let mut stream = OPEN.to_vec();
            let mut expected = Vec::new();
            for (i, line) in lines.iter().enumerate() {
                stream.extend_from_slice(format!("{} syslog {} ", i + 2, line.len()).as_bytes());
                stream.extend_from_slice(line);
                stream.push(b'\n');
                if line.len() <= most {
                    expected.extend_from_slice(line);
                    expected.push(b'\n');
                }
            }
            let mut cuts: Vec<usize> = cuts.iter().map(|c| c % (stream.len() + 1)).collect();
            cuts.extend([0, stream.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|w| &stream[w[0]..w[1]]).collect();
            let heard = feed(&pieces, most);
            prop_assert_eq!(heard.result, Ok(()));
            prop_assert_eq!(heard.lines, expected);
            let numbers: Vec<u32> = (2..).take(lines.len()).collect();
            prop_assert_eq!(heard.answers, numbers);
            prop_assert_eq!(heard.commands.len(), 1);
        }

        #[test]
        fn any_bytes(stream in proptest::collection::vec(prop_oneof![
            Just(b'\n'), Just(b'1'), Just(b' '), Just(b's'), any::<u8>()
        ], 0..300), most in 1usize..100) {
            let _ = feed(&[OPEN, &stream], most);
            let _ = feed(&[&stream], most);
        }
    }
}
