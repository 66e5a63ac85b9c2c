//! The classes and types of DNS, as BIND spells them.

use super::scan::{key, word};
use crate::event::QueryType;

pub(super) fn is_class(text: &[u8]) -> bool {
    match text {
        b"IN" | b"CH" | b"HS" | b"ANY" | b"NONE" | b"CHAOS" | b"HESIOD" => true,
        _ => text
            .strip_prefix(b"CLASS")
            .is_some_and(|digits| !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)),
    }
}

/// Whether the text may be the name of a type: capitals, digits and `-`, or `*`.
pub(super) fn looks_like_type(text: &[u8]) -> bool {
    text == b"*"
        || !text.is_empty()
            && text
                .iter()
                .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || *b == b'-')
}

#[inline]
pub(super) fn type_of(text: &[u8]) -> QueryType {
    if text.len() > 8 {
        return QueryType::Other;
    }
    type_of_word(word(text, 0))
}

/// The types that have a name of their own in the tables.
pub(super) const TYPES: [(u64, QueryType); 13] = [
    (key(b"A"), QueryType::A),
    (key(b"AAAA"), QueryType::Aaaa),
    (key(b"A6"), QueryType::Aaaa),
    (key(b"MX"), QueryType::Mx),
    (key(b"PTR"), QueryType::Ptr),
    (key(b"TXT"), QueryType::Txt),
    (key(b"SPF"), QueryType::Txt),
    (key(b"NS"), QueryType::Ns),
    (key(b"SRV"), QueryType::Srv),
    (key(b"HTTPS"), QueryType::Https),
    (key(b"SVCB"), QueryType::Https),
    (key(b"ANY"), QueryType::Any),
    (key(b"*"), QueryType::Any),
];

/// Where a word stands in [`SLOTS`]. Any odd number without a collision would do; a collision does not
/// compile.
#[inline]
pub(super) const fn slot(head: u64) -> usize {
    (head.wrapping_mul(SLOT_FACTOR) >> 59) as usize
}

const SLOT_FACTOR: u64 = 0xad45_f23d_3b1a_11df;

/// [`TYPES`] by their slot. The types of neighbouring lines differ, so that comparing them one after the
/// other would be guessed wrongly again and again; here it is one look.
const SLOTS: [(u64, QueryType); 32] = {
    let mut slots = [(0, QueryType::Other); 32];
    let mut i = 0;
    while i < TYPES.len() {
        let at = slot(TYPES[i].0);
        assert!(slots[at].0 == 0, "two types share a slot");
        slots[at] = TYPES[i];
        i += 1;
    }
    slots
};

/// The type that a word names, if it has a name of its own in the tables; of an empty word there is no telling.
#[inline(always)]
pub(super) fn known_type(head: u64) -> Option<QueryType> {
    let (name, query_type) = SLOTS[slot(head)];
    (name == head).then_some(query_type)
}

/// The type that a word of at most eight bytes names; zeros fill it up.
#[inline]
pub(super) fn type_of_word(head: u64) -> QueryType {
    let (name, query_type) = SLOTS[slot(head)];
    if name == head {
        query_type
    } else {
        type_of_number(head)
    }
}

/// `TYPE65` (BIND 9) or `65` (BIND 8): types that this version of named had no name for.
#[cold]
pub(super) fn type_of_number(head: u64) -> QueryType {
    let bytes = head.to_le_bytes();
    let text = &bytes[..bytes.iter().position(|&b| b == 0).unwrap_or(8)];
    let digits = text.strip_prefix(b"TYPE").unwrap_or(text);
    if digits.is_empty() || digits.len() > 5 || !digits.iter().all(u8::is_ascii_digit) {
        return QueryType::Other;
    }
    match digits.iter().fold(0_u32, |n, &b| n * 10 + u32::from(b - b'0')) {
        1 => QueryType::A,
        2 => QueryType::Ns,
        12 => QueryType::Ptr,
        15 => QueryType::Mx,
        16 | 99 => QueryType::Txt,
        28 | 38 => QueryType::Aaaa,
        33 => QueryType::Srv,
        64 | 65 => QueryType::Https,
        255 => QueryType::Any,
        _ => QueryType::Other,
    }
}
