//! Lines that were not understood, grouped by shape: numbers, addresses and names become marks.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;

use hashbrown::HashMap;

use crate::explain::{Explainer, Explanation};

/// A group of lines of one shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// The shape.
    pub shape: String,
    /// Lines of that shape.
    pub count: u64,
    /// The first of them, cut to [`EXAMPLE_MOST`] bytes.
    pub example: Vec<u8>,
    /// Where it stands.
    pub path: PathBuf,
    /// Its line number, from 1.
    pub line: u64,
    /// Why it was not understood.
    pub reason: String,
}

/// Bytes kept of an example.
pub const EXAMPLE_MOST: usize = 400;
/// Shapes kept; lines of further shapes share one entry.
pub const SHAPES_MOST: usize = 10_000;
/// Words of a message that make its shape.
const WORDS: usize = 16;

/// The shape of a message.
#[must_use]
pub fn shape_of(program: &str, message: &[u8]) -> String {
    let text = String::from_utf8_lossy(message.get(..message.len().min(400)).unwrap_or_default());
    let mut out = String::with_capacity(80);
    if !program.is_empty() {
        out.push_str(program);
        out.push(':');
    }
    for word in text.split_whitespace().take(WORDS) {
        if !out.is_empty() {
            out.push(' ');
        }
        mark(word, &mut out);
    }
    out
}

/// What parts a mail address from what stands around it.
const AROUND_MAIL: &[char] = &['<', '>', ',', ';', '"', '\'', '(', ')', '[', ']', '=', '`'];

/// Replaces what varies in a word.
fn mark(word: &str, out: &mut String) {
    let mut rest = word;
    while let Some(at) = rest.find('@') {
        let start = rest[..at].rfind(AROUND_MAIL).map_or(0, |p| p + 1);
        let end = rest[at..].find(AROUND_MAIL).map_or(rest.len(), |p| at + p);
        pieces(&rest[..start], out);
        if start < at && at + 1 < end {
            out.push_str("MAIL");
        } else {
            pieces(&rest[start..end], out);
        }
        rest = &rest[end..];
    }
    pieces(rest, out);
}

/// Replaces what varies in a part of a word without mail addresses.
fn pieces(part: &str, out: &mut String) {
    let inner = |c: char| c.is_alphanumeric() || matches!(c, '.' | ':' | '-' | '_');
    let mut rest = part;
    while let Some(first) = rest.chars().next() {
        let end = if inner(first) {
            rest.find(|c| !inner(c)).unwrap_or(rest.len())
        } else {
            first.len_utf8()
        };
        let (piece, after) = rest.split_at(end);
        rest = after;
        let core = piece.trim_end_matches(['.', ':']);
        if core.parse::<std::net::IpAddr>().is_ok() {
            out.push_str("ADDR");
        } else if core.parse::<std::net::SocketAddr>().is_ok() {
            out.push_str("ADDR:#");
        } else if is_identifier(core) {
            out.push_str("ID");
        } else {
            digits(core, out);
        }
        out.push_str(&piece[core.len()..]);
    }
}

/// Whether a piece is the name of one message, session or address in memory: letters and digits mixed.
fn is_identifier(piece: &str) -> bool {
    let plain = piece.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let number = piece.bytes().filter(u8::is_ascii_digit).count();
    let changes = piece
        .as_bytes()
        .windows(2)
        .filter(|w| {
            matches!(w, [a, b] if a.is_ascii_digit() && b.is_ascii_alphabetic()
                || a.is_ascii_alphabetic() && b.is_ascii_digit())
        })
        .count();
    let hex = piece.bytes().all(|b| b.is_ascii_hexdigit());
    plain && piece.len() >= 6 && number > 0 && number < piece.len() && (hex || (number >= 2 && changes >= 3))
}

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// Every number becomes one mark, and so does the month of a date.
fn digits(piece: &str, out: &mut String) {
    let mut parts = piece.split('-');
    if let (Some(day), Some(month), Some(year), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
        && MONTHS.contains(&month)
    {
        digits(day, out);
        out.push_str("-MON-");
        digits(year, out);
        return;
    }
    let mut within = false;
    for c in piece.chars().take(60) {
        if !c.is_ascii_digit() {
            out.push(c);
        } else if !within {
            out.push('#');
        }
        within = c.is_ascii_digit();
    }
}

/// Lines of a stream, without their ends, in bounded memory: of a longer line only the first bytes.
pub struct Lines {
    reader: BufReader<Box<dyn Read + Send>>,
    most: usize,
    /// Number of the line returned last, from 1.
    pub number: u64,
}

impl Lines {
    /// Lines of at most `most` bytes.
    #[must_use]
    pub fn new(stream: Box<dyn Read + Send>, most: usize) -> Self {
        Lines {
            reader: BufReader::with_capacity(64 * 1024, stream),
            most,
            number: 0,
        }
    }

    /// Reads the next line into `line`; `false` at the end.
    ///
    /// # Errors
    /// Those of the stream.
    pub fn next(&mut self, line: &mut Vec<u8>) -> std::io::Result<bool> {
        line.clear();
        let mut any = false;
        loop {
            let block = self.reader.fill_buf()?;
            if block.is_empty() {
                break;
            }
            any = true;
            let end = memchr::memchr(b'\n', block);
            let part = &block[..end.unwrap_or(block.len())];
            let room = self.most.saturating_sub(line.len());
            line.extend_from_slice(&part[..part.len().min(room)]);
            let used = end.map_or(block.len(), |e| e + 1);
            self.reader.consume(used);
            if end.is_some() {
                break;
            }
        }
        self.number += u64::from(any);
        Ok(any)
    }
}

/// Groups of lines by shape.
#[derive(Default)]
pub struct Shapes {
    groups: HashMap<String, Shape, foldhash::quality::RandomState>,
    /// Lines whose shape found no room.
    pub rest: u64,
}

impl Shapes {
    /// Takes a line that was not understood.
    pub fn add(&mut self, line: &[u8], explanation: &Explanation, path: &std::path::Path, number: u64) {
        let tail = line
            .windows(explanation.program.len().max(1))
            .position(|w| w == explanation.program.as_bytes())
            .and_then(|at| line.get(at..))
            .and_then(|t| t.iter().position(|&b| b == b' ').and_then(|p| t.get(p + 1..)))
            .unwrap_or(line);
        let message = if explanation.program.is_empty() {
            line
        } else {
            tail
        };
        let shape = shape_of(&explanation.program, message);
        if let Some(group) = self.groups.get_mut(&shape) {
            group.count += 1;
            return;
        }
        if self.groups.len() >= SHAPES_MOST {
            self.rest += 1;
            return;
        }
        self.groups.insert(
            shape.clone(),
            Shape {
                shape,
                count: 1,
                example: line
                    .get(..line.len().min(EXAMPLE_MOST))
                    .unwrap_or_default()
                    .to_vec(),
                path: path.to_owned(),
                line: number,
                reason: explanation.reason.clone().unwrap_or_default(),
            },
        );
    }

    /// The groups, most frequent first, then by shape.
    #[must_use]
    pub fn sorted(self) -> Vec<Shape> {
        let mut all: Vec<Shape> = self.groups.into_values().collect();
        all.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.shape.cmp(&b.shape)));
        all
    }

    /// Reads a stream and takes every line that is neither counted nor known and ignored.
    ///
    /// # Errors
    /// Those of the stream; what was read before is kept.
    pub fn read(
        &mut self,
        stream: Box<dyn Read + Send>,
        path: &std::path::Path,
        most: usize,
        explainer: &mut Explainer,
    ) -> std::io::Result<()> {
        let mut lines = Lines::new(stream, most);
        let mut line = Vec::new();
        while lines.next(&mut line)? {
            let e = explainer.line(&line);
            if e.count == 0 && !e.ignored {
                self.add(&line, &e, path, lines.number);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_varies_is_marked() {
        assert_eq!(
            shape_of("sshd", b"Accepted password for root from 192.0.2.7 port 4711"),
            "sshd: Accepted password for root from ADDR port #"
        );
        let x = |message: &[u8]| shape_of("", message);
        assert_eq!(x(b"[192.0.2.7] 3F2A9C <joe@example.org>"), "[ADDR] ID <MAIL>");
        assert_eq!(
            x(b"client @0x7fb13400eec0 192.0.2.1#61977 (a):"),
            "client @ID ADDR## (a):"
        );
        assert_eq!(
            x(b"relay=a.b[2001:db8::7]:25, 192.0.2.1:53."),
            "relay=a.b[ADDR]:#, ADDR:#."
        );
        assert_eq!(x(b"arg1=<a+b@c.d>,<e@f> @ x@"), "arg#=<MAIL>,<MAIL> @ x@");
        assert_eq!(
            x(b"id=1mo13H-003rK8-54 4RbXyz3Cq4z9sT2 g6F900Qx002101"),
            "id=ID ID ID"
        );
        assert_eq!(
            x(b"22.10.1999 18:00:01 version-2 12345678"),
            "#.#.# #:#:# version-# #"
        );
        assert_eq!(
            x(b"[05-Nov-2021 a-May-b] May 5-Jun"),
            "[#-MON-# a-MON-b] May #-Jun"
        );
        assert_eq!(x("ä1ö ☃".as_bytes()), "ä#ö ☃");
    }
}
