//! Message ids that were seen: what a sender sends again is known by them and dropped.
//!
//! rsyslog sends a batch again when its confirmation got lost (a broken connection, a kill). Our
//! templates put `[seismolog@32473 id="UUID"]` into the structured data of RFC 5424, fixed before the
//! sender's queue. The ids of lines that came over a confirmed path are remembered in the order of
//! arrival; past the bound the oldest is forgotten. A sender resends at most what its action queue
//! holds, so the bound must be at least that.
//!
//! Nothing is written for the ids themselves: after a restart they are read from the lines in the
//! write-ahead log, and those before it from the state that a snapshot carries.
//!
//! Only structured data are looked at, never the message, which may hold anything.

use std::collections::VecDeque;

use foldhash::fast::RandomState;
use hashbrown::HashSet;
use memchr::memmem::Finder;
use xxhash_rust::xxh3::xxh3_128;

/// What stands before an id.
const MARK: &[u8] = b"[seismolog@32473 id=\"";
/// Longer ids are none.
const LONGEST: usize = 128;

/// The ids that are remembered.
pub struct Ids {
    order: VecDeque<u128>,
    known: HashSet<u128, RandomState>,
    most: usize,
    finder: Finder<'static>,
}

impl Ids {
    /// Remembers the last `most` ids.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Ids {
            order: VecDeque::new(),
            known: HashSet::with_hasher(RandomState::default()),
            most,
            finder: Finder::new(MARK),
        }
    }

    /// How many are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Another bound, from now on.
    pub fn set_most(&mut self, most: usize) {
        self.most = most;
        self.shrink();
    }

    fn shrink(&mut self) {
        while self.order.len() > self.most {
            if let Some(old) = self.order.pop_front() {
                self.known.remove(&old);
            }
        }
    }

    /// Remembers an id. False: it was known.
    pub fn insert(&mut self, id: u128) -> bool {
        if self.most == 0 {
            return true;
        }
        if !self.known.insert(id) {
            return false;
        }
        self.order.push_back(id);
        self.shrink();
        true
    }

    /// Remembers the ids of lines, as after a restart.
    pub fn remember(&mut self, lines: &[u8]) {
        let mut rest = lines;
        while let Some((_, id, next)) = self.next(rest) {
            self.insert(id);
            rest = rest.get(next..).unwrap_or_default();
        }
    }

    /// Remembers the ids of lines and takes out the lines whose id was known. Gives how many.
    pub fn drop_known(&mut self, lines: &mut Vec<u8>) -> u32 {
        let mut dropped = 0;
        let mut kept_to = 0; // what was looked at and kept ends here
        let mut read_to = 0; // everything before was looked at
        while let Some((start, id, next)) = self.next(lines.get(read_to..).unwrap_or_default()) {
            let (start, next) = (read_to + start, read_to + next);
            // Lines without an id, and this one if it is new, stay.
            let until = if self.insert(id) { next } else { start };
            if kept_to != read_to {
                lines.copy_within(read_to..until, kept_to);
            }
            kept_to += until - read_to;
            dropped += u32::from(until == start);
            read_to = next;
        }
        if kept_to != read_to {
            let end = lines.len();
            lines.copy_within(read_to..end, kept_to);
            lines.truncate(kept_to + (end - read_to));
        }
        dropped
    }

    /// The next line with an id: where it begins, the id, and where the line after it begins.
    fn next(&self, lines: &[u8]) -> Option<(usize, u128, usize)> {
        let mut from = 0;
        loop {
            let mark = from + self.finder.find(lines.get(from..)?)?;
            let start = memchr::memrchr(b'\n', lines.get(..mark)?).map_or(0, |at| at + 1);
            let next = memchr::memchr(b'\n', lines.get(mark..)?).map_or(lines.len(), |at| mark + at + 1);
            if let Some(id) = id_at(lines.get(start..next)?, mark - start) {
                return Some((start, id, next));
            }
            from = next;
        }
    }

    /// The remembered ids, oldest first, sixteen bytes each.
    pub fn save(&self, into: &mut Vec<u8>) {
        into.reserve(self.order.len() * 16);
        for id in &self.order {
            into.extend_from_slice(&id.to_le_bytes());
        }
    }

    /// Remembers what [`Ids::save`] wrote.
    pub fn load(&mut self, bytes: &[u8]) {
        for id in bytes.as_chunks::<16>().0 {
            self.insert(u128::from_le_bytes(*id));
        }
    }
}

/// The id of a line whose mark stands at `mark`, if the mark is its structured data.
fn id_at(line: &[u8], mark: usize) -> Option<u128> {
    let before = line.get(..mark)?;
    // <PRI>1 TIME HOST APP PROCID MSGID
    if before.first() != Some(&b'<') || memchr::memchr_iter(b' ', before).count() != 6 {
        return None;
    }
    let rest = line.get(mark + MARK.len()..)?;
    let length = memchr::memchr(b'"', rest.get(..rest.len().min(LONGEST + 1))?)?;
    let text = rest.get(..length)?;
    (!text.is_empty()).then(|| uuid(text).unwrap_or_else(|| xxh3_128(text)))
}

/// A UUID as the number it is; rsyslog writes 32 hexadecimal digits, others put four hyphens in.
fn uuid(text: &[u8]) -> Option<u128> {
    let mut value = 0u128;
    let mut digits = 0;
    for &byte in text {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            b'-' => continue,
            _ => return None,
        };
        value = value << 4 | u128::from(digit);
        digits += 1;
    }
    (digits == 32).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn line(id: u32, text: &str) -> String {
        format!("<30>1 2026-11-25T10:00:00Z ns1 named 7 - [seismolog@32473 id=\"{id:032X}\"] {text}\n")
    }

    #[test]
    fn a_line_sent_again_is_dropped_and_others_stay() {
        let mut ids = Ids::new(100);
        let mut first = (line(1, "a") + "plain\n" + &line(2, "b")).into_bytes();
        assert_eq!(ids.drop_known(&mut first), 0);
        let mut again = (line(2, "b") + "plain\n" + &line(3, "c") + &line(1, "a") + "end").into_bytes();
        assert_eq!(ids.drop_known(&mut again), 2);
        assert_eq!(
            String::from_utf8(again).unwrap(),
            "plain\n".to_owned() + &line(3, "c") + "end"
        );
    }

    #[test]
    fn an_id_in_a_message_is_text() {
        let mut ids = Ids::new(100);
        let forged = "<30>1 2026-11-25T10:00:00Z ns1 named 7 - - x [seismolog@32473 id=\"01\"] y\n";
        let mut lines = (forged.to_owned() + forged).into_bytes();
        assert_eq!(ids.drop_known(&mut lines), 0);
        // A second mark behind the sender's own counts for nothing.
        let text = line(1, "[seismolog@32473 id=\"02\"]");
        let mut lines = (text + &line(2, "")).into_bytes();
        assert_eq!(ids.drop_known(&mut lines), 0);
    }

    #[test]
    fn the_oldest_is_forgotten_and_saved_ids_come_back_in_order() {
        let mut ids = Ids::new(3);
        for id in 0..5u128 {
            assert!(ids.insert(id));
        }
        assert!(ids.insert(1), "forgotten");
        assert!(!ids.insert(4));
        let mut saved = Vec::new();
        ids.save(&mut saved);
        let mut again = Ids::new(3);
        again.load(&saved);
        assert_eq!(again.order, [3, 4, 1]);
        assert!(again.insert(0)); // 3 goes
        assert!(again.insert(3));
    }

    #[test]
    fn spellings_of_a_uuid_are_one() {
        assert_eq!(
            uuid(b"01020304-0506-0708-090A-0b0c0d0e0f10"),
            uuid(b"0102030405060708090a0b0c0d0e0f10")
        );
        assert_eq!(uuid(b"0102"), None);
    }

    proptest! {
        #[test]
        fn dropping_is_what_one_line_at_a_time_would_do(
            numbers in proptest::collection::vec(0u32..12, 0..40),
            plain in proptest::collection::vec(any::<bool>(), 40),
            cut in 0usize..40,
        ) {
            let texts: Vec<String> = numbers
                .iter()
                .zip(&plain)
                .map(|(n, plain)| if *plain { format!("plain {n}\n") } else { line(*n, "x") })
                .collect();
            let mut seen = std::collections::HashSet::new();
            let expected: String = texts
                .iter()
                .filter(|t| t.starts_with("plain") || seen.insert((*t).clone()))
                .map(String::as_str)
                .collect();
            let mut ids = Ids::new(1000);
            let cut = cut.min(texts.len());
            let mut head = texts[..cut].concat().into_bytes();
            let mut tail = texts[cut..].concat().into_bytes();
            let dropped = ids.drop_known(&mut head) + ids.drop_known(&mut tail);
            head.extend_from_slice(&tail);
            prop_assert_eq!(String::from_utf8(head).unwrap(), expected.clone());
            prop_assert_eq!(dropped as usize, texts.len() - expected.lines().count());
        }
    }
}
