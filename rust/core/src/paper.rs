//! The five counts of the 2003 study, on raw bytes.
//!
//! The study counted with `grep` and `wc -l`; this module gives the same numbers for any bytes as
//! these pipelines under `LC_ALL=C` (`-a`: binary files are text):
//!
//! | count | pipeline |
//! | --- | --- |
//! | `d_q` | `grep -a domain \| wc -l` |
//! | `n_from` | `grep -a from= \| wc -l` |
//! | `n_ss` | `grep -a to= \| grep -a stat=Sent \| wc -l` |
//! | `n_sd` | `grep -a to= \| grep -a stat=Deferred \| wc -l` |
//! | `n_p` | `grep -a 'popper\[' \| wc -l` |
//!
//! A line ends at a line feed or at the end of the file, and nowhere else; a carriage return or a NUL
//! is a byte like any other.
//!
//! Four substring searches pass over stretches of whole lines that fit into the second-level cache.
//! After a hit the search goes on at the end of the line. The line that a block leaves open is kept as
//! what was found in it so far and its last few bytes, so a line of any length takes the same memory.

use memchr::memmem::Finder;

/// Longest pattern less one byte: what must be kept of an open line to find a pattern across a cut.
const OVERLAP: usize = b"stat=Deferred".len() - 1;

/// Bytes that one search passes over before the next one does.
const STRETCH: usize = 128 * 1024;

/// The five counts, in lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PaperCounts {
    /// D_q: lines that hold `domain`.
    pub d_q: u64,
    /// N_from: lines that hold `from=`.
    pub n_from: u64,
    /// N_SS: lines that hold `to=` and `stat=Sent`.
    pub n_ss: u64,
    /// N_SD: lines that hold `to=` and `stat=Deferred`.
    pub n_sd: u64,
    /// N_P: lines that hold `popper[`.
    pub n_p: u64,
}

impl PaperCounts {
    /// The counts by the names of the study, in its order.
    #[must_use]
    pub const fn rows(&self) -> [(&'static str, u64); 5] {
        [
            ("D_q", self.d_q),
            ("N_from", self.n_from),
            ("N_SS", self.n_ss),
            ("N_SD", self.n_sd),
            ("N_P", self.n_p),
        ]
    }
}

impl std::ops::AddAssign for PaperCounts {
    fn add_assign(&mut self, other: Self) {
        self.d_q += other.d_q;
        self.n_from += other.n_from;
        self.n_ss += other.n_ss;
        self.n_sd += other.n_sd;
        self.n_p += other.n_p;
    }
}

/// What was found in one line.
#[derive(Clone, Copy, Debug, Default)]
struct Found {
    domain: bool,
    from: bool,
    to: bool,
    sent: bool,
    deferred: bool,
    popper: bool,
}

/// Counts one file, fed in blocks of any size.
#[derive(Debug)]
pub struct PaperCounter {
    domain: Finder<'static>,
    from: Finder<'static>,
    to: Finder<'static>,
    stat: Finder<'static>,
    sent: Finder<'static>,
    deferred: Finder<'static>,
    popper: Finder<'static>,
    counts: PaperCounts,
    /// Whether a line is open, and what it held so far.
    open: Option<Found>,
    /// The last bytes of the open line, `kept` of them, at the front.
    last: [u8; OVERLAP],
    kept: usize,
}

impl Default for PaperCounter {
    fn default() -> Self {
        Self::new()
    }
}

impl PaperCounter {
    /// A counter at the start of a file.
    #[must_use]
    pub fn new() -> Self {
        PaperCounter {
            domain: Finder::new("domain"),
            from: Finder::new("from="),
            to: Finder::new("to="),
            stat: Finder::new("stat="),
            sent: Finder::new("stat=Sent"),
            deferred: Finder::new("stat=Deferred"),
            popper: Finder::new("popper["),
            counts: PaperCounts::default(),
            open: None,
            last: [0; OVERLAP],
            kept: 0,
        }
    }

    /// Counts a block that follows the one before it.
    pub fn feed(&mut self, block: &[u8]) {
        let mut rest = block;
        if self.open.is_some() {
            let Some(end) = memchr::memchr(b'\n', rest) else {
                self.extend(rest);
                return;
            };
            self.extend(&rest[..end]);
            self.close();
            rest = &rest[end + 1..];
        }
        let whole = memchr::memrchr(b'\n', rest).map_or(0, |end| end + 1);
        let (mut lines, tail) = rest.split_at(whole);
        while !lines.is_empty() {
            // Up to the last line feed within a stretch, or to the first one after it.
            let length = match lines.get(..STRETCH) {
                None => lines.len(),
                Some(stretch) => memchr::memrchr(b'\n', stretch)
                    .or_else(|| memchr::memchr(b'\n', &lines[STRETCH..]).map(|end| end + STRETCH))
                    .map_or(lines.len(), |end| end + 1),
            };
            let (stretch, after) = lines.split_at(length);
            self.whole_lines(stretch);
            lines = after;
        }
        if !tail.is_empty() {
            self.extend(tail);
        }
    }

    /// Ends the file: a last line without a line feed counts. Gives the counts so far; what is fed
    /// after this begins with a new line.
    pub fn finish(&mut self) -> PaperCounts {
        self.close();
        self.counts
    }

    /// Counts a block of whole lines: four passes.
    fn whole_lines(&mut self, lines: &[u8]) {
        self.counts.d_q += lines_with(&self.domain, lines);
        self.counts.n_from += lines_with(&self.from, lines);
        self.counts.n_p += lines_with(&self.popper, lines);
        let mut at = 0;
        while let Some(hit) = self.stat.find(&lines[at..]) {
            let hit = at + hit;
            let end = memchr::memchr(b'\n', &lines[hit..]).map_or(lines.len(), |end| hit + end);
            let (sent, deferred) = self.state(&lines[hit..end]);
            // Only now does the start of the line matter. `at` is always the start of a line.
            if sent || deferred {
                let start = memchr::memrchr(b'\n', &lines[at..hit]).map_or(at, |start| at + start + 1);
                if self.to.find(&lines[start..end]).is_some() {
                    self.counts.n_ss += u64::from(sent);
                    self.counts.n_sd += u64::from(deferred);
                }
            }
            at = end;
            if at < lines.len() {
                at += 1;
            }
        }
    }

    /// Whether a text that begins with the first `stat=` of its line holds `stat=Sent`, `stat=Deferred`.
    #[inline]
    fn state(&self, mut text: &[u8]) -> (bool, bool) {
        let (mut sent, mut deferred) = (false, false);
        loop {
            sent |= text.starts_with(b"stat=Sent");
            deferred |= text.starts_with(b"stat=Deferred");
            // A remote answer may hold another one.
            let Some(hit) = self.stat.find(&text[1..]) else {
                return (sent, deferred);
            };
            text = &text[1 + hit..];
        }
    }

    /// Adds bytes without a line feed to the open line, or opens one.
    #[cold]
    fn extend(&mut self, bytes: &[u8]) {
        let mut found = self.open.unwrap_or_default();
        // Across the cut: the last bytes of what came before and the first of what comes.
        let mut joint = [0; 2 * OVERLAP];
        let head = bytes.len().min(OVERLAP);
        joint[..self.kept].copy_from_slice(&self.last[..self.kept]);
        joint[self.kept..self.kept + head].copy_from_slice(&bytes[..head]);
        let joint = &joint[..self.kept + head];
        for text in [joint, bytes] {
            found.domain |= self.domain.find(text).is_some();
            found.from |= self.from.find(text).is_some();
            found.to |= self.to.find(text).is_some();
            found.sent |= self.sent.find(text).is_some();
            found.deferred |= self.deferred.find(text).is_some();
            found.popper |= self.popper.find(text).is_some();
        }
        let source = if bytes.len() >= OVERLAP { bytes } else { joint };
        let kept = source.len().min(OVERLAP);
        self.last[..kept].copy_from_slice(&source[source.len() - kept..]);
        self.kept = kept;
        self.open = Some(found);
    }

    /// Ends the open line, if there is one.
    fn close(&mut self) {
        self.kept = 0;
        let Some(found) = self.open.take() else { return };
        self.counts.d_q += u64::from(found.domain);
        self.counts.n_from += u64::from(found.from);
        self.counts.n_ss += u64::from(found.to && found.sent);
        self.counts.n_sd += u64::from(found.to && found.deferred);
        self.counts.n_p += u64::from(found.popper);
    }
}

/// Number of lines that hold the pattern.
#[inline]
fn lines_with(pattern: &Finder<'_>, lines: &[u8]) -> u64 {
    let mut count = 0;
    let mut at = 0;
    while let Some(hit) = pattern.find(&lines[at..]) {
        count += 1;
        let from = at + hit + pattern.needle().len();
        match memchr::memchr(b'\n', &lines[from..]) {
            Some(end) => at = from + end + 1,
            None => break,
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, line by line.
    fn naive(file: &[u8]) -> PaperCounts {
        let mut counts = PaperCounts::default();
        let mut lines: Vec<&[u8]> = file.split(|byte| *byte == b'\n').collect();
        if lines.last().is_some_and(|last| last.is_empty()) {
            lines.pop();
        }
        for line in lines {
            let has = |pattern: &[u8]| line.windows(pattern.len()).any(|window| window == pattern);
            counts.d_q += u64::from(has(b"domain"));
            counts.n_from += u64::from(has(b"from="));
            counts.n_ss += u64::from(has(b"to=") && has(b"stat=Sent"));
            counts.n_sd += u64::from(has(b"to=") && has(b"stat=Deferred"));
            counts.n_p += u64::from(has(b"popper["));
        }
        counts
    }

    fn streamed(file: &[u8], sizes: &[usize]) -> PaperCounts {
        let mut counter = PaperCounter::new();
        let mut rest = file;
        let mut sizes = sizes.iter().cycle();
        while !rest.is_empty() {
            let size = sizes.next().map_or(1, |size| (*size).clamp(1, rest.len()));
            let (block, after) = rest.split_at(size);
            counter.feed(block);
            rest = after;
        }
        counter.finish()
    }

    /// Pieces that make hits, near misses and odd bytes likely.
    fn log() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            Just(b"domain".to_vec()),
            Just(b"from=".to_vec()),
            Just(b"to=".to_vec()),
            Just(b"stat=Sent".to_vec()),
            Just(b"stat=Deferred".to_vec()),
            Just(b"stat=".to_vec()),
            Just(b"popper[".to_vec()),
            Just(b"\n".to_vec()),
            Just(b"\n\n".to_vec()),
            Just(b"\r\n".to_vec()),
            Just(b"\0".to_vec()),
            Just(b"doma".to_vec()),
            Just(b"in".to_vec()),
            Just(b"st".to_vec()),
            Just(b"at=Se".to_vec()),
            Just(b"nt".to_vec()),
            proptest::collection::vec(any::<u8>(), 0..20),
        ];
        proptest::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn any_split_gives_the_naive_counts(file in log(), sizes in proptest::collection::vec(1usize..40, 1..8)) {
            prop_assert_eq!(streamed(&file, &sizes), naive(&file));
            prop_assert_eq!(streamed(&file, &[usize::MAX]), naive(&file));
        }

        #[test]
        fn parts_of_whole_lines_add_up(file in log(), at in any::<prop::sample::Index>()) {
            let mut cut = if file.is_empty() { 0 } else { at.index(file.len()) };
            while cut > 0 && file[cut - 1] != b'\n' {
                cut -= 1;
            }
            let mut sum = naive(&file[..cut]);
            sum += streamed(&file[cut..], &[7]);
            prop_assert_eq!(sum, naive(&file));
        }
    }

    #[test]
    fn a_file_ends_its_line() {
        let mut counter = PaperCounter::new();
        counter.feed(b"to=");
        assert_eq!(counter.finish(), PaperCounts::default());
        counter.feed(b"stat=Sent");
        assert_eq!(counter.finish(), PaperCounts::default());
    }

    #[test]
    fn a_line_longer_than_a_stretch() {
        let mut file = b"x to=".to_vec();
        file.resize(3 * STRETCH, b'.');
        file.extend_from_slice(b" stat=Deferred\nfrom=\n");
        let expected = PaperCounts {
            n_sd: 1,
            n_from: 1,
            ..PaperCounts::default()
        };
        assert_eq!(streamed(&file, &[usize::MAX]), expected);
        assert_eq!(streamed(&file, &[1000, 13]), expected);
    }

    #[test]
    fn many_lines_in_one_block() {
        let lines: &[u8] = b"a to=<b> stat=Sent\nnamed domain\npopper[1]\n\nfrom= to=x, stat=Deferred: stat=Sent\nstat=Sent\n";
        let file = lines.repeat(10_000);
        let counts = streamed(&file, &[usize::MAX]);
        assert_eq!(
            counts,
            PaperCounts {
                d_q: 10_000,
                n_from: 10_000,
                n_ss: 20_000,
                n_sd: 10_000,
                n_p: 10_000
            }
        );
        assert_eq!(counts, streamed(&file, &[65_537]));
    }

    /// What the study ran: `grep -a FIRST FILE | grep -a SECOND | wc -l`. None: there is no grep here.
    fn pipeline(file: &std::path::Path, patterns: &[&str]) -> std::io::Result<Option<u64>> {
        use std::process::{Command, Stdio};
        let mut input = Stdio::from(std::fs::File::open(file)?);
        let mut last = None;
        for pattern in patterns {
            let grep = Command::new("grep")
                .env("LC_ALL", "C")
                .args(["-a", pattern])
                .stdin(input)
                .stdout(Stdio::piped())
                .spawn();
            let mut child = match grep {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
                child => child?,
            };
            input = child.stdout.take().map_or_else(Stdio::null, Stdio::from);
            last = Some(child);
        }
        let wc = Command::new("wc").arg("-l").stdin(input).output()?;
        if let Some(mut child) = last {
            child.wait()?;
        }
        let text = String::from_utf8_lossy(&wc.stdout).into_owned();
        text.trim().parse().map(Some).map_err(std::io::Error::other)
    }

    #[test]
    fn the_real_grep_agrees() -> std::io::Result<()> {
        let files: [&[u8]; 8] = [
            b"",
            b"\n",
            b"domain",
            b"domain\nfrom=\npopper[1]: x\nto=<a>, stat=Sent\nto=<a>, stat=Deferred: stat=Sent\n",
            b"a\0domain\0\nfrom=\r\npopper[\xff\xfe\nto=\0stat=Sent\n\nstat=Sent\nto=",
            b"\xffto= stat=Deferred\xe3\x81\n\x80from= domain domain\n\n\npopper",
            b"to=\nstat=Sent\nto=stat=Sentto=\rdomain\ndomai\nn\nstat=Deferre\nd to=",
            b"popper[to=stat=Deferredfrom=domainstat=Sent",
        ];
        let folder = std::env::temp_dir().join(format!("seismolog-paper-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        for (number, bytes) in files.iter().enumerate() {
            let file = folder.join(number.to_string());
            std::fs::write(&file, bytes)?;
            let counts = streamed(bytes, &[3]);
            let pipelines: [&[&str]; 5] = [
                &["domain"],
                &["from="],
                &["to=", "stat=Sent"],
                &["to=", "stat=Deferred"],
                &["popper\\["],
            ];
            for ((name, count), patterns) in counts.rows().into_iter().zip(pipelines) {
                let Some(expected) = pipeline(&file, patterns)? else {
                    return Ok(());
                };
                assert_eq!(count, expected, "{name} of {}", bytes.escape_ascii());
            }
        }
        std::fs::remove_dir_all(&folder)
    }
}
