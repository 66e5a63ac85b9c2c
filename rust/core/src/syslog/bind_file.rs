//! Category and severity, which BIND writes before the message where `print-category` and
//! `print-severity` are set: in its own files after the time, in syslog after the tag.

/// Categories of BIND 8 and 9.
const CATEGORIES: [&[u8]; 52] = [
    b"client",
    b"cname",
    b"config",
    b"database",
    b"db",
    b"default",
    b"delegation-only",
    b"dispatch",
    b"dnssec",
    b"dnstap",
    b"drop",
    b"edns-disabled",
    b"eventlib",
    b"general",
    b"insist",
    b"lame-servers",
    b"load",
    b"maintenance",
    b"ncache",
    b"network",
    b"notify",
    b"nsid",
    b"os",
    b"packet",
    b"panic",
    b"parser",
    b"queries",
    b"query-errors",
    b"rate-limit",
    b"resolver",
    b"response-checks",
    b"responses",
    b"rpz",
    b"rpz-passthru",
    b"security",
    b"serve-stale",
    b"sig0",
    b"spill",
    b"sslkeylog",
    b"statistics",
    b"trust-anchor-telemetry",
    b"unmatched",
    b"update",
    b"update-policy",
    b"update-security",
    b"xfer-in",
    b"xfer-out",
    b"xfer",
    b"zone",
    b"zoneload",
    b"log",
    b"netmgr",
];

/// The message after `queries: info: `, `info: ` or `queries: `; the message itself where none of
/// them stands.
#[inline]
#[must_use]
pub fn body(message: &[u8]) -> &[u8] {
    if let Some(rest) = message.strip_prefix(b"queries: info: ") {
        return rest;
    }
    if message.starts_with(b"client ") {
        return message;
    }
    let rest = after_category(message).unwrap_or(message);
    after_severity(rest).unwrap_or(rest)
}

/// What follows `CATEGORY: SEVERITY: `.
pub(super) fn after_both(message: &[u8]) -> Option<&[u8]> {
    after_severity(after_category(message)?)
}

/// What follows a category, or a severity, or both; None where neither stands.
pub(super) fn after_either(message: &[u8]) -> Option<&[u8]> {
    match after_category(message) {
        Some(rest) => Some(after_severity(rest).unwrap_or(rest)),
        None => after_severity(message),
    }
}

fn after_category(message: &[u8]) -> Option<&[u8]> {
    let length = message
        .iter()
        .take(23)
        .position(|byte| !(byte.is_ascii_lowercase() || *byte == b'-' || *byte == b'0'))?;
    let (name, rest) = message.split_at_checked(length)?;
    let rest = rest.strip_prefix(b": ")?;
    CATEGORIES.contains(&name).then_some(rest)
}

/// What follows `info: ` or another severity, `debug 3: ` among them.
pub(super) fn after_severity(message: &[u8]) -> Option<&[u8]> {
    let length = message
        .iter()
        .take(9)
        .position(|byte| !byte.is_ascii_lowercase())?;
    let (name, rest) = message.split_at_checked(length)?;
    match name {
        b"info" | b"notice" | b"warning" | b"error" | b"critical" => rest.strip_prefix(b": "),
        b"debug" => {
            let level = rest.strip_prefix(b" ")?;
            let digits = level
                .iter()
                .take(3)
                .take_while(|byte| byte.is_ascii_digit())
                .count();
            (digits > 0).then_some(())?;
            level.get(digits..)?.strip_prefix(b": ")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_presences() {
        let message: &[u8] = b"client 192.0.2.1#53 (a.example): query: a.example IN A +";
        for prefix in [
            "",
            "queries: ",
            "info: ",
            "queries: info: ",
            "queries: debug 3: ",
            "query-errors: error: ",
        ] {
            let line = [prefix.as_bytes(), message].concat();
            assert_eq!(body(&line), message, "{prefix}");
        }
    }

    #[test]
    fn other_words_stay() {
        for message in [
            "",
            "x: y",
            "zone example.org/IN: loaded serial 1",
            "info",
            "debug x: y",
            "debug : y",
            "queries:info: x",
        ] {
            assert_eq!(body(message.as_bytes()), message.as_bytes());
        }
    }
}
