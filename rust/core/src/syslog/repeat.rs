//! Repetition: what a syslog daemon writes in place of a message that came again.
//!
//! Two shapes exist. The classic one stands for the previous line of that host
//! (`last message repeated 3 times`), under any program name or none. rsyslog's carries the message
//! itself (`message repeated 3 times: [ text]`), under the program that wrote it. Both are matched
//! against the whole message, so that a text which merely holds such words is no repetition.

/// N of `last message repeated N times`; the dashes that some daemons put around it are allowed.
/// None: another message, or a number that does not fit.
#[inline]
#[must_use]
pub fn last_message(message: &[u8]) -> Option<u32> {
    // Nearly every message is turned away by its first byte.
    let (b'l' | b'-' | b' ') = message.first()? else {
        return None;
    };
    let text = message.trim_ascii();
    let text = match text.strip_prefix(b"--- ") {
        Some(inner) => inner.strip_suffix(b" ---")?,
        None => text,
    };
    let (count, rest) = count(text.strip_prefix(b"last message repeated ")?)?;
    matches!(rest, b" times" | b" time").then_some(count)
}

/// N and the inner message of `message repeated N times: [ inner]`.
/// None: another message, a number that does not fit, or one that was cut before the bracket.
#[inline]
#[must_use]
pub fn wrapped(message: &[u8]) -> Option<(u32, &[u8])> {
    let (count, rest) = count(message.trim_ascii_start().strip_prefix(b"message repeated ")?)?;
    let rest = rest
        .strip_prefix(b" times: [")
        .or_else(|| rest.strip_prefix(b" time: ["))?;
    let inner = rest.trim_ascii_end().strip_suffix(b"]")?;
    Some((count, inner.strip_prefix(b" ").unwrap_or(inner)))
}

/// A number at the start and what follows it.
fn count(text: &[u8]) -> Option<(u32, &[u8])> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, rest) = text
        .split_at_checked(digits)
        .filter(|(number, _)| !number.is_empty())?;
    let mut value = 0u32;
    for digit in number {
        value = value.checked_mul(10)?.checked_add(u32::from(digit - b'0'))?;
    }
    Some((value, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classic() {
        assert_eq!(last_message(b"last message repeated 3 times"), Some(3));
        assert_eq!(last_message(b"last message repeated 1 time"), Some(1));
        assert_eq!(last_message(b"last message repeated 12 times "), Some(12));
        assert_eq!(last_message(b"--- last message repeated 5 times ---"), Some(5));
        assert_eq!(
            last_message(b"last message repeated 4294967295 times"),
            Some(u32::MAX)
        );
    }

    #[test]
    fn no_repetition() {
        for text in [
            &b""[..],
            b"last message",
            b"last message repeated times",
            b"last message repeated  times",
            b"last message repeated -1 times",
            b"last message repeated 4294967296 times",
            b"last message repeated 99999999999999999999999999 times",
            b"last message repeated 3 times from 192.0.2.1",
            b"the last message repeated 3 times",
            b"--- last message repeated 5 times",
        ] {
            assert_eq!(last_message(text), None, "{}", String::from_utf8_lossy(text));
            assert_eq!(wrapped(text), None);
        }
    }

    #[test]
    fn with_the_message() {
        assert_eq!(
            wrapped(b"message repeated 2 times: [ connect from a[192.0.2.1]]"),
            Some((2, &b"connect from a[192.0.2.1]"[..]))
        );
        assert_eq!(
            wrapped(b"message repeated 76 times: [-- MARK --]"),
            Some((76, &b"-- MARK --"[..]))
        );
        assert_eq!(wrapped(b"message repeated 1 time: [ x]"), Some((1, &b"x"[..])));
        assert_eq!(wrapped(b"message repeated 2 times: [ cut"), None);
        assert_eq!(wrapped(b"message repeated 4294967296 times: [ x]"), None);
        assert_eq!(wrapped(b"message repeated 2 times: []"), Some((2, &b""[..])));
    }
}
