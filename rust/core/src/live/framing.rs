//! Where a line ends in a stream of bytes, and lines out of datagrams and frames.
//!
//! A connection tells its framing with its first bytes: a number, a blank and `<` begin octet counting
//! (RFC 6587, RFC 5425); everything else is ended by line feeds. It stays so for the connection.
//!
//! The bytes are read straight into the batch that will be logged, and framed in place: in the usual
//! case, lines ended by line feeds, nothing is moved but the half line at the end, which waits with its
//! connection.
//!
//! Rules, the same for every path:
//! - A line that is longer than `limits.line_length` is counted and skipped to its end, never held.
//! - NUL bytes at both ends of a line are cut (some senders end with one), as are line ends within the
//!   count of a frame. A line feed inside a frame or datagram becomes a blank, so that one message is
//!   one line; so does a NUL at its side.
//! - What stands unfinished when the connection ends is a line. An empty frame or datagram is none.
//! - A wrong octet count cannot be mended: the connection is closed.

/// Unfinished lines of up to so many bytes are read on in the batch, longer ones apart, so that a
/// sender of single bytes does not have a long line copied for each.
pub(super) const CARRY: usize = 2048;
/// A frame's count has at most so many digits.
pub(super) const DIGITS: usize = 9;
/// A waiting half line keeps no more room than this once it is gone.
pub(super) const KEEP: usize = 4096;

/// A frame's count is no number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadFrame;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Not enough bytes seen.
    Unknown,
    Lines,
    Octets,
}

/// What was found in a stretch of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Lines that are in the batch now.
    pub lines: u32,
    /// Lines that were too long.
    pub too_long: u32,
}

/// The state of one connection.
#[derive(Debug)]
pub struct Framer {
    mode: Mode,
    /// The unfinished line or frame, unless it is in the batch (`carried`).
    partial: Vec<u8>,
    carried: usize,
    /// Lines: the rest of a line that is too long follows.
    skipping: bool,
    /// Octets: so many bytes of a frame that is too long follow.
    skip: usize,
}

impl Default for Framer {
    fn default() -> Self {
        Framer {
            mode: Mode::Unknown,
            partial: Vec::new(),
            carried: 0,
            skipping: false,
            skip: 0,
        }
    }
}

impl Framer {
    /// A stream that is known to be lines, such as a file.
    #[must_use]
    pub fn lines() -> Self {
        Framer {
            mode: Mode::Lines,
            ..Framer::default()
        }
    }

    /// Bytes that wait for the rest of their line.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.partial.len()
    }

    /// Whether a line or frame has begun and not ended.
    #[must_use]
    pub fn unfinished(&self) -> bool {
        !self.partial.is_empty() || self.skipping || self.skip > 0
    }

    /// Before reading: puts a short unfinished line at the end of the batch, so that what is read next
    /// stands behind it. Whether or not anything is read, [`Framer::take`] must follow, with the
    /// batch's length before this call.
    pub fn carry(&mut self, batch: &mut Vec<u8>) {
        if self.partial.len() <= CARRY {
            batch.extend_from_slice(&self.partial);
            self.carried = self.partial.len();
            self.partial.clear();
        }
    }

    /// After reading: leaves of `batch[start..]` the whole lines, each ended by a line feed.
    ///
    /// [`BadFrame`]: the stream counts octets and the count is wrong. Lines before it are in the batch
    /// and counted.
    pub fn take(&mut self, batch: &mut Vec<u8>, start: usize, most: usize) -> (Found, Result<(), BadFrame>) {
        let mut found = Found::default();
        let carried = std::mem::take(&mut self.carried);
        let mut fresh = start + carried; // what was not looked at yet begins here
        if batch.len() == fresh && carried == 0 {
            return (found, Ok(()));
        }
        if self.mode == Mode::Unknown {
            if !self.partial.is_empty() {
                splice(batch, start, &mut self.partial);
            }
            fresh = start;
            self.mode = tell(batch.get(start..).unwrap_or_default());
        }
        let result = match self.mode {
            Mode::Unknown => {
                self.keep(batch, start, start);
                Ok(())
            }
            Mode::Lines => {
                self.take_lines(batch, start, fresh, most, &mut found);
                Ok(())
            }
            Mode::Octets => self.take_octets(batch, start, most, &mut found),
        };
        if self.partial.is_empty() && self.partial.capacity() > KEEP {
            self.partial = Vec::new();
        }
        (found, result)
    }

    /// The connection has ended: what waits is a line.
    pub fn finish(&mut self, batch: &mut Vec<u8>, most: usize) -> Found {
        let partial = std::mem::take(&mut self.partial);
        let text = match self.mode {
            Mode::Octets => match header(&partial) {
                Header::Count { at, .. } => partial.get(at..).unwrap_or_default(),
                Header::Short | Header::Bad => &[],
            },
            Mode::Lines | Mode::Unknown => partial.as_slice(),
        };
        let found = if self.skipping || self.skip > 0 {
            Found::default()
        } else {
            message(batch, text, most)
        };
        *self = Framer {
            mode: self.mode,
            ..Framer::default()
        };
        found
    }

    fn keep(&mut self, batch: &mut Vec<u8>, from: usize, end: usize) {
        self.partial
            .extend_from_slice(batch.get(from..).unwrap_or_default());
        batch.truncate(end);
    }

    fn take_lines(
        &mut self,
        batch: &mut Vec<u8>,
        start: usize,
        mut fresh: usize,
        most: usize,
        found: &mut Found,
    ) {
        let new = batch.get(fresh..).unwrap_or_default();
        let last = memchr::memrchr(b'\n', new);
        if !self.partial.is_empty() {
            if last.is_none() {
                // A long line that goes on.
                self.keep(batch, fresh, start);
                self.bound(most, found);
                return;
            }
            let length = self.partial.len();
            splice(batch, start, &mut self.partial);
            fresh = start + length;
        }
        let text = batch.get(start..).unwrap_or_default();
        let nul = memchr::memchr(0, text).is_some();
        if !self.skipping && !nul && text.len() <= most {
            // The usual case: no line can be too long, nothing is to be cut.
            let scanned = fresh - start;
            let new = text.get(scanned..).unwrap_or_default();
            let lines = memchr::memchr_iter(b'\n', new).count();
            found.lines += u32::try_from(lines).unwrap_or(u32::MAX);
            let end = memchr::memrchr(b'\n', new).map_or(start, |at| fresh + at + 1);
            self.keep(batch, end, end);
            return;
        }
        let (mut read, mut scan, mut write) = (start, fresh, start);
        while let Some(at) = memchr::memchr(b'\n', batch.get(scan..).unwrap_or_default()) {
            let end = scan + at;
            let next = end + 1;
            if std::mem::take(&mut self.skipping) {
                // The end of what was too long.
            } else if end - read > most {
                found.too_long += 1;
            } else {
                let (from, to) = trimmed(batch, read, end, nul);
                batch.copy_within(from..to, write);
                write += to - from;
                batch[write] = b'\n';
                write += 1;
                found.lines += 1;
            }
            read = next;
            scan = next;
        }
        if self.skipping {
            batch.truncate(write);
        } else {
            self.keep(batch, read, write);
            self.bound(most, found);
        }
    }

    /// Lets go of an unfinished line that is too long already.
    fn bound(&mut self, most: usize, found: &mut Found) {
        if self.partial.len() > most {
            self.partial = Vec::new();
            self.skipping = true;
            found.too_long += 1;
        }
    }

    fn take_octets(
        &mut self,
        batch: &mut Vec<u8>,
        start: usize,
        most: usize,
        found: &mut Found,
    ) -> Result<(), BadFrame> {
        if !self.partial.is_empty() {
            // While the frame is far from whole, it stays apart.
            if let Header::Count { at, count } = header(&self.partial)
                && self.partial.len() + (batch.len() - start) < at + count
            {
                self.keep(batch, start, start);
                return Ok(());
            }
            splice(batch, start, &mut self.partial);
        }
        let (mut read, mut write) = (start, start);
        loop {
            if self.skip > 0 {
                let step = self.skip.min(batch.len() - read);
                self.skip -= step;
                read += step;
            }
            // Some senders end a frame with a line feed that they do not count.
            while matches!(batch.get(read), Some(b'\n' | b'\r' | 0)) {
                read += 1;
            }
            match header(batch.get(read..).unwrap_or_default()) {
                Header::Bad => {
                    batch.truncate(write);
                    return Err(BadFrame);
                }
                Header::Count { at, count } if count > most => {
                    found.too_long += 1;
                    self.skip = count;
                    read += at;
                }
                Header::Count { at, count } if batch.len() - read - at >= count => {
                    let (from, to) = (read + at, read + at + count);
                    read = to;
                    if let Some(end) = place(batch, from, to, write) {
                        write = end;
                        found.lines += 1;
                    }
                }
                Header::Short | Header::Count { .. } => {
                    self.keep(batch, read, write);
                    return Ok(());
                }
            }
        }
    }
}

/// Puts the waiting half line between what was there and what was read.
pub(super) fn splice(batch: &mut Vec<u8>, start: usize, partial: &mut Vec<u8>) {
    let length = partial.len();
    let end = batch.len();
    batch.resize(end + length, 0);
    batch.copy_within(start..end, start + length);
    if let Some(room) = batch.get_mut(start..start + length) {
        room.copy_from_slice(partial);
    }
    partial.clear();
}

/// Which framing the first bytes of a connection tell.
fn tell(head: &[u8]) -> Mode {
    let digits = head.iter().take_while(|b| b.is_ascii_digit()).count();
    if digits == 0 || head.first() == Some(&b'0') || digits > DIGITS {
        return if head.is_empty() {
            Mode::Unknown
        } else {
            Mode::Lines
        };
    }
    match head.get(digits..) {
        Some([b' ', b'<', ..]) => Mode::Octets,
        Some([] | [b' ']) => Mode::Unknown,
        _ => Mode::Lines,
    }
}

enum Header {
    /// The count goes on.
    Short,
    Bad,
    /// The frame begins at `at`.
    Count {
        at: usize,
        count: usize,
    },
}

/// The count before a frame.
fn header(text: &[u8]) -> Header {
    let mut count = 0usize;
    for (at, &byte) in text.iter().enumerate() {
        match byte {
            b'0'..=b'9' if at < DIGITS => count = count * 10 + usize::from(byte - b'0'),
            b' ' if at > 0 => return Header::Count { at: at + 1, count },
            _ => return Header::Bad,
        }
    }
    Header::Short
}

/// A line without the NUL bytes at its ends.
fn trimmed(batch: &[u8], mut from: usize, mut to: usize, nul: bool) -> (usize, usize) {
    if nul {
        while from < to && batch.get(from) == Some(&0) {
            from += 1;
        }
        while from < to && batch.get(to - 1) == Some(&0) {
            to -= 1;
        }
    }
    (from, to)
}

/// Makes `buffer[from..to]`, a frame, the line that begins at `write` (before `from`) and gives where
/// the next one may begin. None: the frame is empty. There is room: a header stood before the frame.
pub(super) fn place(buffer: &mut [u8], mut from: usize, mut to: usize, write: usize) -> Option<usize> {
    while from < to && matches!(buffer.get(from), Some(0 | b'\n' | b'\r')) {
        from += 1;
    }
    while from < to && matches!(buffer.get(to - 1), Some(0 | b'\n' | b'\r')) {
        to -= 1;
    }
    if from == to {
        return None;
    }
    let end = write + (to - from);
    buffer.copy_within(from..to, write);
    if let Some(line) = buffer.get_mut(write..end)
        && memchr::memchr(b'\n', line).is_some()
    {
        blank(line);
    }
    *buffer.get_mut(end)? = b'\n';
    Some(end + 1)
}

/// Line feeds within a message become blanks.
fn blank(line: &mut [u8]) {
    for byte in line {
        if *byte == b'\n' {
            *byte = b' ';
        }
    }
}

/// Appends a message that came whole (a datagram, an unfinished last line) as a line.
pub fn message(batch: &mut Vec<u8>, text: &[u8], most: usize) -> Found {
    let mut found = Found::default();
    if text.len() > most {
        found.too_long = 1;
        return found;
    }
    let start = batch.len();
    batch.extend_from_slice(text);
    let end = batch.len();
    batch.push(0); // room for the line feed
    match place(batch, start, end, start) {
        Some(end) => {
            batch.truncate(end);
            found.lines = 1;
        }
        None => batch.truncate(start),
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Feeds the pieces one after another.
    fn feed(pieces: &[&[u8]], most: usize) -> (Vec<u8>, Found, Result<(), BadFrame>) {
        let mut framer = Framer::default();
        let mut batch = b"before\n".to_vec();
        let mut sum = Found::default();
        let mut result = Ok(());
        for piece in pieces {
            let start = batch.len();
            framer.carry(&mut batch);
            batch.extend_from_slice(piece);
            let (found, said) = framer.take(&mut batch, start, most);
            sum.lines += found.lines;
            sum.too_long += found.too_long;
            if said.is_err() {
                result = said;
                break;
            }
            assert!(framer.waiting() <= most + CARRY + DIGITS + 1);
        }
        if result.is_ok() {
            let found = framer.finish(&mut batch, most);
            sum.lines += found.lines;
            sum.too_long += found.too_long;
        }
        assert!(batch.starts_with(b"before\n"));
        let lines = batch.split_off(7);
        assert!(lines.is_empty() || lines.ends_with(b"\n"));
        (lines, sum, result)
    }

    fn text(pieces: &[&[u8]]) -> String {
        String::from_utf8(feed(pieces, 100).0).unwrap()
    }

    #[test]
    fn lines_and_frames_are_told_apart() {
        assert_eq!(text(&[b"<1>a\n<1>b\n<1>c"]), "<1>a\n<1>b\n<1>c\n");
        assert_eq!(text(&[b"4 <1>a5 <1>bc"]), "<1>a\n<1>bc\n");
        assert_eq!(text(&[b"2002-07-15 18:00 x\n"]), "2002-07-15 18:00 x\n");
        assert_eq!(
            text(&[b"1026723601.5 x\n1026723602"]),
            "1026723601.5 x\n1026723602\n"
        );
        assert_eq!(text(&[b"12 mails\n"]), "12 mails\n");
        assert_eq!(
            text(&[b"1", b"0", b" ", b"<1>ab", b"\ncdef", b"4 <2>x"]),
            "<1>ab cdef\n<2>x\n"
        );
        assert_eq!(text(&[b"12"]), "12\n");
        assert_eq!(text(&[b"", b"\n"]), "\n");
    }

    #[test]
    fn a_frame_is_one_line() {
        assert_eq!(text(&[b"8 <1>a\nb\n\x00"]), "<1>a b\n");
        assert_eq!(text(&[b"4 <1>a\n4 <1>b\n"]), "<1>a\n<1>b\n");
        assert_eq!(text(&[b"4 <1>a0 2 \n\x004 <1>b"]), "<1>a\n<1>b\n");
        assert_eq!(text(&[b"4 <1>a9 <1>h"]), "<1>a\n<1>h\n");
    }

    #[test]
    fn nul_bytes_at_the_ends_go() {
        assert_eq!(
            text(&[b"<1>a\x00\n\x00<1>b\n<1>c\x00d\n"]),
            "<1>a\n<1>b\n<1>c\x00d\n"
        );
        let mut batch = Vec::new();
        assert_eq!(message(&mut batch, b"<1>a\nb\r\n\x00", 100).lines, 1);
        assert_eq!(message(&mut batch, b"", 100).lines, 0);
        assert_eq!(message(&mut batch, b"\n", 100).lines, 0);
        assert_eq!(message(&mut batch, &[b'x'; 101], 100).too_long, 1);
        assert_eq!(batch, b"<1>a b\n");
    }

    #[test]
    fn a_wrong_count_ends_the_connection_after_the_lines_before_it() {
        let (lines, found, result) = feed(&[b"4 <1>a5 <1>bcx <1>d"], 100);
        assert_eq!(lines, b"<1>a\n<1>bc\n");
        assert_eq!((found.lines, result), (2, Err(BadFrame)));
        assert_eq!(feed(&[b"4 <1>a1234567890123 x"], 100).2, Err(BadFrame));
    }

    #[test]
    fn what_is_too_long_is_skipped_and_never_held() {
        let long = vec![b'x'; 5000];
        let (lines, found, _) = feed(&[b"a\n", &long, &long, b"y\nb\n", &long, b"\nc"], 4000);
        assert_eq!(lines, b"a\nb\nc\n");
        assert_eq!(
            found,
            Found {
                lines: 3,
                too_long: 2
            }
        );
        let (lines, found, _) = feed(&[b"4 <1>a10000 ", &long, &long, b"4 <1>b"], 4000);
        assert_eq!(lines, b"<1>a\n<1>b\n");
        assert_eq!(
            found,
            Found {
                lines: 2,
                too_long: 1
            }
        );
    }

    /// What the rules say, one line at a time.
    fn expected(lines: &[Vec<u8>], most: usize) -> Vec<u8> {
        let mut all = Vec::new();
        for line in lines.iter().filter(|l| l.len() <= most) {
            all.extend_from_slice(line);
            all.push(b'\n');
        }
        all
    }

    fn pieces<'a>(stream: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
        let mut cuts: Vec<usize> = cuts.iter().map(|c| c % (stream.len() + 1)).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        cuts.windows(2).map(|w| &stream[w[0]..w[1]]).collect()
    }

    proptest! {
        #[test]
        fn any_split_of_lines_gives_the_same_lines(
            lines in proptest::collection::vec("<[1-9]>[a-z \\x01\\r]{0,60}[a-z]", 1..20),
            long in proptest::collection::vec(0usize..20, 0..3),
            cuts in proptest::collection::vec(any::<usize>(), 0..30),
            most in prop_oneof![Just(40usize), Just(100_000)],
        ) {
            let mut lines: Vec<Vec<u8>> = lines.into_iter().map(String::into_bytes).collect();
            for at in long {
                let n = lines.len();
                lines[at % n].extend_from_slice(&[b'y'; 3000]);
            }
            let stream = lines.join(&b'\n');
            let (got, found, result) = feed(&pieces(&stream, &cuts), most);
            prop_assert_eq!(result, Ok(()));
            prop_assert_eq!(&got, &expected(&lines, most));
            let kept = lines.iter().filter(|l| l.len() <= most).count();
            prop_assert_eq!(found.lines as usize, kept);
            prop_assert_eq!(found.too_long as usize, lines.len() - kept);
        }

        #[test]
        fn any_split_of_frames_gives_the_same_lines(
            lines in proptest::collection::vec("<[1-9]>[a-z0-9 \\x01\\r]{0,60}[a-z]", 1..20),
            long in proptest::collection::vec(0usize..20, 0..3),
            cuts in proptest::collection::vec(any::<usize>(), 0..30),
            most in prop_oneof![Just(40usize), Just(100_000)],
        ) {
            let mut lines: Vec<Vec<u8>> = lines.into_iter().map(String::into_bytes).collect();
            for at in long {
                let n = lines.len();
                lines[at % n].extend_from_slice(&[b'y'; 3000]);
            }
            let mut stream = Vec::new();
            for line in &lines {
                stream.extend_from_slice(format!("{} ", line.len()).as_bytes());
                stream.extend_from_slice(line);
            }
            let (got, found, result) = feed(&pieces(&stream, &cuts), most);
            prop_assert_eq!(result, Ok(()));
            prop_assert_eq!(&got, &expected(&lines, most));
            prop_assert_eq!(found.lines as usize + found.too_long as usize, lines.len());
        }

        #[test]
        fn any_bytes_in_any_pieces(
            stream in proptest::collection::vec(prop_oneof![
                Just(b'\n'), Just(b'1'), Just(b'9'), Just(b' '), Just(b'<'), Just(0u8), any::<u8>()
            ], 0..400),
            cuts in proptest::collection::vec(any::<usize>(), 0..10),
            most in 1usize..200,
        ) {
            let whole = feed(&[&stream], most);
            let split = feed(&pieces(&stream, &cuts), most);
            prop_assert_eq!(&whole.0, &split.0);
            prop_assert_eq!(whole.2, split.2);
            prop_assert!(whole.0.split(|b| *b == b'\n').all(|line| line.len() <= most));
        }
    }
}
