//! Byte-level helpers that the mail dialects share.
//!
//! The lines of mail servers carry text that strangers chose: addresses, message ids, the answers of
//! remote servers, user names. These helpers take a line apart by its structure (quotes, angle brackets,
//! square brackets), never by looking for a word anywhere in it. They borrow, allocate nothing and accept
//! any bytes.

use std::sync::LazyLock;

use memchr::memmem::Finder;
use memchr::{memchr, memchr_iter, memchr2, memchr3, memrchr, memrchr_iter};

/// The first place of `needle`. Made for needles that begin with a byte that is rare in a log line
/// (a comma, a closing bracket): a whole substring searcher costs more to set up than such a line to read.
#[inline]
pub fn find(hay: &[u8], needle: &[u8]) -> Option<usize> {
    let (&first, rest) = needle.split_first()?;
    memchr_iter(first, hay).find(|&at| hay[at + 1..].starts_with(rest))
}

/// A searcher for one text that is looked for in nearly every line, built once.
pub struct Mark {
    text: &'static [u8],
    finder: LazyLock<Finder<'static>>,
}

impl Mark {
    /// A mark; `build` makes its searcher from the same text on first use.
    pub const fn new(text: &'static [u8], build: fn() -> Finder<'static>) -> Self {
        Mark {
            text,
            finder: LazyLock::new(build),
        }
    }

    /// The text before the first place of the mark, and the text after it.
    #[inline]
    pub fn split<'a>(&self, hay: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
        let at = self.finder.find(hay)?;
        Some((&hay[..at], &hay[at + self.text.len()..]))
    }
}

/// The last place of `needle`; for the same kind of needles as [`find`].
#[inline]
pub fn rfind(hay: &[u8], needle: &[u8]) -> Option<usize> {
    let (&first, rest) = needle.split_first()?;
    memrchr_iter(first, hay).find(|&at| hay[at + 1..].starts_with(rest))
}

/// Whether `needle` stands anywhere in `hay`.
#[inline]
pub fn contains(hay: &[u8], needle: &[u8]) -> bool {
    find(hay, needle).is_some()
}

/// The text from `mark` on, without it.
#[inline]
pub fn after<'a>(hay: &'a [u8], mark: &[u8]) -> Option<&'a [u8]> {
    find(hay, mark).map(|at| &hay[at + mark.len()..])
}

/// A decimal number at the start, and the text after it. Too large a number saturates.
#[inline]
pub fn number(text: &[u8]) -> Option<(u32, &[u8])> {
    let digits = text.iter().take_while(|b| b.is_ascii_digit()).count();
    if digits == 0 {
        return None;
    }
    let value = text[..digits].iter().fold(0_u32, |sum, b| {
        sum.saturating_mul(10).saturating_add(u32::from(b - b'0'))
    });
    Some((value, &text[digits..]))
}

/// The text as an address, without the tag `IPv6:`; empty where it is none (`unknown`, a socket path).
/// Only the alphabet is looked at: the counter validates each spelling once.
#[inline]
pub fn address(text: &[u8]) -> &[u8] {
    let bare = match text.get(..5) {
        Some(tag) if tag.eq_ignore_ascii_case(b"ipv6:") => &text[5..],
        _ => text,
    };
    // One pass without branches: nearly every address has neither scope nor stray byte.
    let seen = bare.iter().fold(0, |seen, &b| seen | ADDRESS_CLASS[b as usize]);
    if seen == SEPARATOR || (seen & STRAY != 0 && is_scoped(bare)) {
        bare
    } else {
        b""
    }
}

/// A dot or a colon.
const SEPARATOR: u8 = 1;
/// A byte that no address holds (but the scope behind a `%` may).
const STRAY: u8 = 2;

const ADDRESS_CLASS: [u8; 256] = {
    let mut class = [STRAY; 256];
    let mut byte = 0;
    while byte < 256 {
        match byte as u8 {
            b'.' | b':' => class[byte] = SEPARATOR,
            b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F' => class[byte] = 0,
            _ => {}
        }
        byte += 1;
    }
    class
};

/// Whether this is an address with a scope, `fe80::1%eth0`.
fn is_scoped(text: &[u8]) -> bool {
    let Some(at) = memchr(b'%', text) else {
        return false;
    };
    let (host, scope) = (&text[..at], &text[at + 1..]);
    host.iter().fold(0, |seen, &b| seen | ADDRESS_CLASS[b as usize]) == SEPARATOR
        && !scope.is_empty()
        && scope
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b))
}

/// The address in the first pair of square brackets (`host[1.2.3.4]:25` gives `1.2.3.4`), and the text
/// after the bracket. The address is empty where the brackets hold none.
#[inline]
pub fn first_bracket(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let open = memchr(b'[', text)?;
    let inside = &text[open + 1..];
    let close = memchr(b']', inside)?;
    Some((address(&inside[..close]), &inside[close + 1..]))
}

/// The address in the last pair of square brackets; empty where there is none.
#[inline]
pub fn last_bracket(text: &[u8]) -> &[u8] {
    address(in_last_bracket(text))
}

/// Whatever stands in the last pair of square brackets; empty where there is none.
#[inline]
fn in_last_bracket(text: &[u8]) -> &[u8] {
    let Some(close) = memrchr(b']', text) else {
        return b"";
    };
    // Backwards by hand: an address is too short for a vectorized search to pay.
    match text[..close].iter().rposition(|&b| b == b'[') {
        Some(open) => &text[open + 1..close],
        None => b"",
    }
}

/// Whether the last pair of square brackets holds an address of this machine's own.
#[inline]
pub fn ends_on_loopback(text: &[u8]) -> bool {
    let inside = in_last_bracket(text);
    matches!(inside.first(), Some(b'1' | b':' | b'I' | b'i')) && is_loopback(address(inside))
}

/// Whether an address is one of this machine's own: 127.0.0.0/8 or `::1`, also v4-mapped.
#[inline]
pub fn is_loopback(address: &[u8]) -> bool {
    let bare = match address.get(..7) {
        Some(tag) if tag.eq_ignore_ascii_case(b"::ffff:") => &address[7..],
        _ => address,
    };
    bare.starts_with(b"127.") || bare == b"::1"
}

/// Reads a comma-separated list of mail addresses as sendmail prints it and finds where it ends: at the
/// first `, ` (comma and space) that stands neither in quotes nor in angle brackets, or at the end of the
/// text. Returns the number of addresses and the length of the list. `None`: a quote or an angle bracket
/// is never closed, so that nothing after it can be trusted.
#[inline]
pub fn address_list(text: &[u8]) -> Option<(u32, usize)> {
    let (mut count, mut at, mut quoted) = (1_u32, 0, false);
    while let Some(&b) = text.get(at) {
        match b {
            b'\\' => at += 1,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'<' => match angle_end(text, at + 1) {
                Some(end) => at = end,
                None => return None,
            },
            b',' => match text.get(at + 1) {
                Some(b' ') | None => return Some((count, at)),
                Some(_) => count = count.saturating_add(1),
            },
            _ => {}
        }
        at += 1;
    }
    (!quoted).then_some((if text.is_empty() { 0 } else { count }, text.len()))
}

/// The place of the `>` that closes an angle bracket whose inside starts at `from`, quotes heeded.
#[inline]
fn angle_end(text: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        // Nearly every address has neither quote nor backslash and is passed in one step.
        at += memchr3(b'>', b'"', b'\\', text.get(at..)?)?;
        match text[at] {
            b'>' => return Some(at),
            b'"' => at = quote_end(text, at + 1)? + 1,
            _ => at += 2,
        }
    }
}

/// The place of the quote that closes one whose inside starts at `from`.
fn quote_end(text: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        at += memchr2(b'"', b'\\', text.get(at..)?)?;
        match text[at] {
            b'"' => return Some(at),
            _ => at += 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_lists_end_outside_quotes_and_brackets() {
        type Expected = Option<(u32, usize)>;
        let cases: &[(&[u8], Expected)] = &[
            (b"<a@x>, delay=1", Some((1, 5))),
            (b"<a@x>,<b@x>, delay=1", Some((2, 11))),
            (b"<a, stat=Sent@x>, delay=1", Some((1, 16))),
            (b"\"a, stat=Sent\"@x, delay=1", Some((1, 16))),
            (b"<\"a>, stat=Sent\"@x>, delay=1", Some((1, 19))),
            (b"<\"a\\\", b\"@x>, d", Some((1, 12))),
            (b"joe,ann,root, d", Some((3, 12))),
            (b"<a@x>,<b@x>,", Some((2, 11))),
            (b"<a@x", None),
            (b"\"a", None),
            (b"", Some((0, 0))),
        ];
        for (text, expected) in cases {
            assert_eq!(address_list(text), *expected, "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn brackets_hold_addresses_only() {
        assert_eq!(last_bracket(b"mx [192.0.2.1] (may be forged)"), b"192.0.2.1");
        assert_eq!(last_bracket(b"mx [IPv6:2001:db8::1]"), b"2001:db8::1");
        assert_eq!(last_bracket(b"mx[fe80::1%eth0]"), b"fe80::1%eth0");
        assert_eq!(last_bracket(b"unknown[unknown]"), b"");
        assert_eq!(last_bracket(b"[RESPONSE]"), b"");
        assert_eq!(last_bracket(b"]["), b"");
        assert_eq!(last_bracket(b"[fe80::1%]"), b"");
        assert_eq!(last_bracket(b"[abc]"), b"");
        assert!(ends_on_loopback(b"[x] [127.0.0.1], dsn=2.0.0") && ends_on_loopback(b"[IPv6:::1]"));
        assert!(!ends_on_loopback(b"[127.0.0.1] mx [198.51.100.1]") && !ends_on_loopback(b"["));
        assert_eq!(
            first_bracket(b"a[192.0.2.1]:25, b[192.0.2.2]").map(|(a, _)| a),
            Some(&b"192.0.2.1"[..])
        );
        assert!(is_loopback(b"127.0.0.1") && is_loopback(b"::1") && is_loopback(b"::ffff:127.0.0.1"));
        assert!(!is_loopback(b"12.7.0.1") && !is_loopback(b""));
    }

    #[test]
    fn numbers_saturate() {
        assert_eq!(number(b"12, x"), Some((12, &b", x"[..])));
        assert_eq!(number(b"99999999999999"), Some((u32::MAX, &b""[..])));
        assert_eq!(number(b"x"), None);
    }
}
