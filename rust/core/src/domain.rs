//! Registered domains: the part of a name that somebody registers, by the public suffix list.
//!
//! [`Suffixes`] holds the list (<https://publicsuffix.org/list/>) as hashes of suffixes and finds the
//! longest rule of a name by hashing its labels from the right. Rules are plain (`com`, `co.jp`), wildcards
//! (`*.ck`: any label before `ck`) and exceptions (`!www.ck`); both sections of the list, that of ICANN and
//! the private one, count. Rules in other scripts are compared in their ASCII form (RFC 3492, RFC 5890),
//! which is how names stand in logs.
//!
//! Without a list, or where no rule fits, the last label is the suffix, so that a registered domain is the
//! last two labels. A name that is itself a suffix stands for itself.
//!
//! Limits: a dot escaped in a name (`\.`) parts labels. Rules are known by 64 bits of hash.

use hashbrown::HashMap;

use crate::count::hash::{fold, name_hash};

const RULE: u8 = 1;
const WILDCARD: u8 = 2;
const EXCEPTION: u8 = 4;

/// Labels of a name that are looked at, from the right; no rule has as many.
const DEPTH_MOST: usize = 12;

/// The public suffix list.
#[derive(Clone, Debug, Default)]
pub struct Suffixes {
    rules: HashMap<u64, u8, foldhash::quality::RandomState>,
}

#[inline]
fn longer(suffix: u64, label: &[u8]) -> u64 {
    fold(suffix ^ name_hash(label), 0x9e37_79b9_7f4a_7c15)
}

impl Suffixes {
    /// Reads the list's text. A line holds one rule up to the first space; `//` begins a comment.
    #[must_use]
    pub fn parse(text: &str) -> Suffixes {
        let mut rules = HashMap::default();
        for line in text.lines() {
            let rule = line.split_whitespace().next().unwrap_or("");
            if rule.is_empty() || rule.starts_with("//") {
                continue;
            }
            let (rule, kind) = if let Some(rest) = rule.strip_prefix('!') {
                (rest, EXCEPTION)
            } else if let Some(rest) = rule.strip_prefix("*.") {
                (rest, WILDCARD)
            } else {
                (rule, RULE)
            };
            let hash = rule
                .trim_matches('.')
                .rsplit('.')
                .fold(0, |suffix, label| longer(suffix, ascii_label(label).as_bytes()));
            *rules.entry(hash).or_insert(0) |= kind;
        }
        Suffixes { rules }
    }

    /// Number of suffixes that have a rule.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there is no rule.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Where the registered domain of a name begins. A final dot does not count; letters may be of any case.
    #[must_use]
    pub fn registered_from(&self, name: &[u8]) -> usize {
        let name = match name {
            [rest @ .., b'.'] if !rest.is_empty() => rest,
            _ => name,
        };
        // Where the labels begin, from the right.
        let mut starts = [0usize; DEPTH_MOST];
        let mut depth = 0;
        let mut suffix = 0;
        let mut suffix_labels = 1;
        let mut end = name.len();
        let mut wild = false;
        while depth < DEPTH_MOST {
            let start = memchr::memrchr(b'.', &name[..end]).map_or(0, |dot| dot + 1);
            starts[depth] = start;
            depth += 1;
            if wild {
                suffix_labels = depth;
            }
            suffix = longer(suffix, &name[start..end]);
            let rule = self.rules.get(&suffix).copied().unwrap_or(0);
            if rule & EXCEPTION != 0 {
                suffix_labels = depth - 1;
                break;
            }
            if rule & RULE != 0 {
                suffix_labels = depth;
            }
            wild = rule & WILDCARD != 0;
            if start == 0 || (depth == 2 && self.rules.is_empty()) {
                break;
            }
            end = start - 1;
        }
        starts[suffix_labels.min(depth - 1)]
    }
}

/// A label in its ASCII form: lower case, other scripts in Punycode behind `xn--`.
fn ascii_label(label: &str) -> String {
    if label.is_ascii() {
        return label.to_ascii_lowercase();
    }
    format!("xn--{}", punycode(&label.to_lowercase()))
}

/// Punycode (RFC 3492, section 6.3) of a text.
fn punycode(text: &str) -> String {
    let adapt = |delta: u32, points: u32, first: bool| {
        let mut delta = delta / if first { 700 } else { 2 };
        delta += delta / points;
        let mut k = 0;
        while delta > 455 {
            delta /= 35;
            k += 36;
        }
        k + 36 * delta / (delta + 38)
    };
    let digit = |d: u32| char::from(b"abcdefghijklmnopqrstuvwxyz0123456789"[(d % 36) as usize]);
    let points: Vec<u32> = text.chars().map(u32::from).collect();
    let mut out: String = text.chars().filter(char::is_ascii).collect();
    let basic = out.len() as u32;
    if basic > 0 {
        out.push('-');
    }
    let (mut n, mut delta, mut bias, mut handled) = (128u32, 0u32, 72u32, basic);
    while (handled as usize) < points.len() {
        let Some(next) = points.iter().copied().filter(|&p| p >= n).min() else {
            break;
        };
        delta = delta.saturating_add((next - n).saturating_mul(handled + 1));
        n = next;
        for &point in &points {
            if point < n {
                delta += 1;
            }
            if point == n {
                let mut q = delta;
                let mut k = 36;
                loop {
                    let t = k.clamp(bias + 1, bias + 26) - bias;
                    if q < t {
                        break;
                    }
                    out.push(digit(t + (q - t) % (36 - t)));
                    q = (q - t) / (36 - t);
                    k += 36;
                }
                out.push(digit(q));
                bias = adapt(delta, handled + 1, handled == basic);
                delta = 0;
                handled += 1;
            }
        }
        delta += 1;
        n += 1;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIST: &str = "// comment\n\ncom\njp\nco.jp\n*.kobe.jp\n!city.kobe.jp\n*.ck\n!www.ck\n\
        example-host.net rest is comment\nnet\n公司.cn\ncn\narpa\nin-addr.arpa\n";

    fn registered(list: &Suffixes, name: &str) -> String {
        name[list.registered_from(name.as_bytes())..].to_owned()
    }

    #[test]
    fn rules_wildcards_and_exceptions() {
        let list = Suffixes::parse(LIST);
        for (name, expected) in [
            ("www.example.com", "example.com"),
            ("WWW.Example.COM.", "Example.COM."),
            ("example.com", "example.com"),
            ("com", "com"),
            ("a.b.example.co.jp", "example.co.jp"),
            ("co.jp", "co.jp"),
            ("a.b.c.kobe.jp", "b.c.kobe.jp"),
            ("c.kobe.jp", "c.kobe.jp"),
            ("kobe.jp", "kobe.jp"),
            ("a.city.kobe.jp", "city.kobe.jp"),
            ("city.kobe.jp", "city.kobe.jp"),
            ("a.www.ck", "www.ck"),
            ("a.b.c.ck", "b.c.ck"),
            ("a.b.example-host.net", "b.example-host.net"),
            ("a.b.unlisted", "b.unlisted"),
            ("www.xn--85x722f.xn--55qx5d.cn", "xn--85x722f.xn--55qx5d.cn"),
            ("7.2.0.192.in-addr.arpa", "192.in-addr.arpa"),
            ("localhost", "localhost"),
            (".", "."),
            ("", ""),
        ] {
            assert_eq!(registered(&list, name), expected, "{name}");
        }
    }

    #[test]
    fn without_a_list_the_last_two_labels() {
        let none = Suffixes::default();
        assert_eq!(registered(&none, "a.b.example.co.jp"), "co.jp");
        assert_eq!(registered(&none, "jp"), "jp");
    }

    #[test]
    fn punycode_of_known_labels() {
        for (label, expected) in [
            ("公司", "xn--55qx5d"),
            ("bücher", "xn--bcher-kva"),
            ("한국", "xn--3e0b707e"),
            ("PLAIN", "plain"),
        ] {
            assert_eq!(ascii_label(label), expected);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_safe(bytes in proptest::collection::vec(any::<u8>(), 0..80), list in ".{0,80}") {
            let list = Suffixes::parse(&list);
            prop_assert!(list.registered_from(&bytes) <= bytes.len());
        }

        #[test]
        fn many_labels_are_safe(n in 0usize..300) {
            let list = Suffixes::parse(LIST);
            let name = "a.".repeat(n) + "com";
            prop_assert_eq!(registered(&list, &name), if n == 0 { "com" } else { "a.com" });
        }
    }
}
