//! A journal entry as `journalctl -o json` writes it: one object a line.
//!
//! Only the names below are read, at the top level of the object; other values are stepped over
//! without recursion. A value is a string, null (too large to be shown), an array of byte numbers
//! (not UTF-8), or an array of these (a field that was given several times: the first counts).
//! A string without escapes is borrowed from the line; others are unescaped into the scratch.

use super::header::{Clock, Header, Scratch, Stamp};

/// Above this, the memory of one line is given back before the next.
const KEEP: usize = 1 << 20;

/// Where a value was found.
#[derive(Clone, Copy, Default)]
enum Value {
    #[default]
    Missing,
    /// In the line, from–to.
    Line(usize, usize),
    /// In the scratch, from–to.
    Scratch(usize, usize),
}

#[derive(Clone, Copy, Default)]
struct Fields {
    time: Value,
    host: Value,
    identifier: Value,
    command: Value,
    syslog_pid: Value,
    pid: Value,
    message: Value,
}

/// Reads a journal entry. None: no JSON object, one that was cut, or one without the time of a
/// journal entry.
pub(super) fn parse<'a>(line: &'a [u8], scratch: &'a mut Scratch) -> Option<Header<'a>> {
    if scratch.bytes.capacity() > KEEP {
        scratch.bytes = Vec::new();
    }
    scratch.bytes.clear();
    let fields = Reader {
        line,
        at: 0,
        scratch: &mut scratch.bytes,
    }
    .object()?;
    let unescaped: &'a [u8] = &scratch.bytes;
    let text = |value: Value| match value {
        Value::Missing => &b""[..],
        Value::Line(from, to) => line.get(from..to).unwrap_or_default(),
        Value::Scratch(from, to) => unescaped.get(from..to).unwrap_or_default(),
    };
    let either = |one: Value, other: Value| {
        if text(one).is_empty() {
            text(other)
        } else {
            text(one)
        }
    };
    if let Value::Missing = fields.time {
        return None;
    }
    let pid = either(fields.syslog_pid, fields.pid);
    Some(Header {
        stamp: microseconds(text(fields.time)),
        host: text(fields.host),
        program: either(fields.identifier, fields.command),
        pid: if pid.iter().all(u8::is_ascii_digit) {
            pid
        } else {
            b""
        },
        message: text(fields.message),
    })
}

/// Microseconds since 1970.
fn microseconds(digits: &[u8]) -> Option<Stamp> {
    if digits.is_empty() || digits.len() > 18 {
        return None;
    }
    let mut value = 0i64;
    for digit in digits {
        digit.is_ascii_digit().then_some(())?;
        value = value * 10 + i64::from(digit - b'0');
    }
    Some(Stamp {
        clock: Clock::Absolute,
        seconds: value / 1_000_000,
    })
}

struct Reader<'a, 'b> {
    line: &'a [u8],
    at: usize,
    scratch: &'b mut Vec<u8>,
}

impl Reader<'_, '_> {
    fn object(mut self) -> Option<Fields> {
        let mut fields = Fields::default();
        self.expect(b'{')?;
        if self.peek()? == b'}' {
            self.at += 1;
        } else {
            loop {
                let (from, to, _) = self.string()?;
                let name = self.line.get(from..to)?;
                let slot = match name {
                    b"__REALTIME_TIMESTAMP" => Some(&mut fields.time),
                    b"_HOSTNAME" => Some(&mut fields.host),
                    b"SYSLOG_IDENTIFIER" => Some(&mut fields.identifier),
                    b"_COMM" => Some(&mut fields.command),
                    b"SYSLOG_PID" => Some(&mut fields.syslog_pid),
                    b"_PID" => Some(&mut fields.pid),
                    b"MESSAGE" => Some(&mut fields.message),
                    _ => None,
                };
                self.expect(b':')?;
                match slot {
                    Some(slot) => *slot = self.value()?,
                    None => self.skip()?,
                }
                match self.next()? {
                    b',' => self.peek()?,
                    b'}' => break,
                    _ => return None,
                };
            }
        }
        // Nothing but blanks may follow.
        self.line
            .get(self.at..)?
            .trim_ascii()
            .is_empty()
            .then_some(fields)
    }

    /// The next byte that is no blank, not consumed.
    fn peek(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\t' | b'\r' | b'\n') = self.line.get(self.at) {
            self.at += 1;
        }
        self.line.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then_some(())
    }

    /// From, to (without quotes) and whether there are escapes.
    fn string(&mut self) -> Option<(usize, usize, bool)> {
        self.expect(b'"')?;
        let from = self.at;
        let mut escaped = false;
        loop {
            self.at += memchr::memchr2(b'"', b'\\', self.line.get(self.at..)?)?;
            if self.line.get(self.at) == Some(&b'"') {
                let to = self.at;
                self.at += 1;
                return Some((from, to, escaped));
            }
            escaped = true;
            self.at += 2;
        }
    }

    /// Steps over a value.
    fn skip(&mut self) -> Option<()> {
        let mut depth = 0usize;
        loop {
            match self.peek()? {
                b'"' => {
                    self.string()?;
                }
                b'[' | b'{' => {
                    self.at += 1;
                    depth += 1;
                }
                b']' | b'}' => {
                    depth = depth.checked_sub(1)?;
                    self.at += 1;
                }
                b',' | b':' if depth > 0 => {
                    self.at += 1;
                    continue;
                }
                b',' | b':' => return None,
                _ => self.bare()?,
            }
            if depth == 0 {
                return Some(());
            }
        }
    }

    /// Steps over a number, `true`, `false` or `null`.
    fn bare(&mut self) -> Option<()> {
        let length = self
            .line
            .get(self.at..)?
            .iter()
            .take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.'))
            .count();
        (length > 0).then_some(())?;
        self.at += length;
        Some(())
    }

    /// A value that is wanted.
    fn value(&mut self) -> Option<Value> {
        match self.peek()? {
            b'"' => self.text(),
            b'[' => self.array(),
            b'{' => self.skip().map(|()| Value::Missing),
            _ => {
                let from = self.at;
                self.bare()?;
                Some(if self.line.get(from..self.at)? == b"null" {
                    Value::Missing
                } else {
                    Value::Line(from, self.at)
                })
            }
        }
    }

    fn text(&mut self) -> Option<Value> {
        let (from, to, escaped) = self.string()?;
        if !escaped {
            return Some(Value::Line(from, to));
        }
        let start = self.scratch.len();
        unescape(self.line.get(from..to)?, self.scratch)?;
        Some(Value::Scratch(start, self.scratch.len()))
    }

    /// `[72, 105]`, or `["first", "second"]`, or `[[72, 105], "second"]`.
    fn array(&mut self) -> Option<Value> {
        self.expect(b'[')?;
        let value = match self.peek()? {
            b']' => {
                self.at += 1;
                return Some(Value::Missing);
            }
            b'"' => self.text()?,
            b'[' => {
                self.at += 1;
                self.byte_numbers()?
            }
            b'0'..=b'9' => return self.byte_numbers(),
            _ => {
                self.skip()?;
                Value::Missing
            }
        };
        loop {
            match self.next()? {
                b']' => return Some(value),
                b',' => self.skip()?,
                _ => return None,
            }
        }
    }

    /// Numbers of one byte each, up to and with the closing bracket.
    fn byte_numbers(&mut self) -> Option<Value> {
        let start = self.scratch.len();
        if self.peek()? == b']' {
            self.at += 1;
            return Some(Value::Missing);
        }
        loop {
            let mut number = 0u32;
            let mut digits = 0;
            self.peek()?;
            while let Some(digit @ b'0'..=b'9') = self.line.get(self.at) {
                number = number * 10 + u32::from(digit - b'0');
                digits += 1;
                self.at += 1;
                (digits <= 3).then_some(())?;
            }
            (digits > 0).then_some(())?;
            self.scratch.push(u8::try_from(number).ok()?);
            match self.next()? {
                b',' => {}
                b']' => return Some(Value::Scratch(start, self.scratch.len())),
                _ => return None,
            }
        }
    }
}

/// Appends a JSON string without its escapes. Half a surrogate pair becomes U+FFFD.
fn unescape(mut text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    loop {
        let Some(at) = memchr::memchr(b'\\', text) else {
            out.extend_from_slice(text);
            return Some(());
        };
        out.extend_from_slice(text.get(..at)?);
        let escape = *text.get(at + 1)?;
        text = text.get(at + 2..)?;
        out.push(match escape {
            b'"' | b'\\' | b'/' => escape,
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let mut code = hex4(text)?;
                text = text.get(4..)?;
                if (0xd800..0xdc00).contains(&code)
                    && let [b'\\', b'u', rest @ ..] = text
                    && let Some(low @ 0xdc00..0xe000) = hex4(rest)
                {
                    code = 0x1_0000 + ((code - 0xd800) << 10) + (low - 0xdc00);
                    text = rest.get(4..)?;
                }
                let letter = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
                out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
            _ => return None,
        });
    }
}

fn hex4(text: &[u8]) -> Option<u32> {
    let digits: &[u8; 4] = text.first_chunk()?;
    let mut value = 0;
    for digit in digits {
        value = value << 4 | (*digit as char).to_digit(16)?;
    }
    Some(value)
}
