//! Hashes: of query names (fixed, because they are stored) and of table keys (seeded per process,
//! because clients choose the keys).

/// Multiplies to 128 bits and folds the halves together.
#[inline(always)]
#[must_use]
pub const fn fold(a: u64, b: u64) -> u64 {
    let wide = (a as u128).wrapping_mul(b as u128);
    (wide as u64) ^ ((wide >> 64) as u64)
}

const K0: u64 = 0x9e37_79b9_7f4a_7c15;
const K1: u64 = 0xd6e8_feb8_6659_fd93;
const K2: u64 = 0xa076_1d64_78bd_642f;

/// Lower-cases the ASCII letters of eight bytes at once.
#[inline(always)]
const fn lower8(x: u64) -> u64 {
    const LOW: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let seven = x & LOW;
    let above_z = seven.wrapping_add(0x2525_2525_2525_2525); // 0x7f - 'Z'
    let from_a = seven.wrapping_add(0x3f3f_3f3f_3f3f_3f3f); // 0x80 - 'A'
    let upper = (from_a ^ above_z) & !x & HIGH;
    x | (upper >> 2)
}

/// Eight bytes of `bytes` from `at`, little-endian. The caller has checked the length.
#[inline(always)]
fn load8(bytes: &[u8], at: usize) -> u64 {
    match bytes.get(at..at + 8).and_then(|s| <[u8; 8]>::try_from(s).ok()) {
        Some(array) => u64::from_le_bytes(array),
        None => 0,
    }
}

/// Up to seven bytes as one word.
#[inline(always)]
fn load_short(bytes: &[u8]) -> u64 {
    let mut word = 0;
    for (i, &b) in bytes.iter().take(8).enumerate() {
        word |= u64::from(b) << (8 * i);
    }
    word
}

/// The identity of a query name: 64 bits over its lower-cased bytes, the same in every process and
/// on every machine, since summaries of it are stored and merged. A final dot does not count.
#[inline]
#[must_use]
pub fn name_hash(name: &[u8]) -> u64 {
    let name = match name {
        [rest @ .., b'.'] if !rest.is_empty() => rest,
        _ => name,
    };
    let mut h = K2 ^ (name.len() as u64);
    if name.len() < 8 {
        return fold(h ^ lower8(load_short(name)), K0).wrapping_mul(K1) ^ h;
    }
    let mut at = 0;
    while at + 8 < name.len() {
        h = fold(h ^ lower8(load8(name, at)), K0);
        at += 8;
    }
    fold(h ^ lower8(load8(name, name.len() - 8)), K1)
}

/// A stable hash of an address, for summaries that are stored.
#[inline]
#[must_use]
pub const fn address_hash(high: u64, low: u64) -> u64 {
    fold(fold(high ^ K2, K0) ^ low ^ K1, K1)
}

/// The first and last eight bytes of a text of at most sixteen, which with its length say it whole.
#[inline(always)]
#[must_use]
pub fn short_key(text: &[u8]) -> (u64, u64) {
    let n = text.len();
    if n >= 8 {
        (load8(text, 0), load8(text, n - 8))
    } else {
        (load_short(text), n as u64)
    }
}

/// A hash of a text whose seed nobody outside the process knows.
#[inline]
#[must_use]
pub fn seeded_hash(text: &[u8], seed: u64) -> u64 {
    let n = text.len();
    let mut h = seed ^ (n as u64).wrapping_mul(K0);
    if n < 8 {
        return fold(h ^ load_short(text), seed.rotate_left(17) | 1);
    }
    let mut at = 0;
    while at + 8 < n {
        h = fold(h ^ load8(text, at), seed.rotate_left(29) ^ K1);
        at += 8;
    }
    fold(h ^ load8(text, n - 8), seed.rotate_left(47) ^ K2)
}

/// Asks for an element to be brought into the cache.
#[inline(always)]
pub fn prefetch<T>(slice: &[T], at: usize) {
    #[cfg(target_arch = "x86_64")]
    if let Some(element) = slice.get(at) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch changes nothing but the cache; the address is valid besides.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(element).cast()) }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (slice, at);
}

/// A seed for tables whose keys clients choose; drawn once a process.
#[must_use]
pub fn process_seed() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    use std::sync::OnceLock;
    static SEED: OnceLock<u64> = OnceLock::new();
    *SEED.get_or_init(|| {
        std::collections::hash_map::RandomState::new()
            .build_hasher()
            .finish()
            | 1
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn case_and_a_final_dot_do_not_matter(name in "[A-Za-z0-9_.\\-@\\[{`]{0,80}") {
            let lower = name.to_ascii_lowercase();
            let upper = name.to_ascii_uppercase();
            prop_assert_eq!(name_hash(lower.as_bytes()), name_hash(upper.as_bytes()));
            prop_assert_eq!(name_hash(lower.as_bytes()), name_hash(name.as_bytes()));
            if !name.is_empty() && !name.ends_with('.') {
                prop_assert_eq!(name_hash(format!("{name}.").as_bytes()), name_hash(name.as_bytes()));
            }
        }

        #[test]
        fn lower8_is_the_ascii_rule(bytes in any::<[u8; 8]>()) {
            let mut expected = bytes;
            expected.make_ascii_lowercase();
            prop_assert_eq!(lower8(u64::from_le_bytes(bytes)).to_le_bytes(), expected);
        }
    }

    #[test]
    fn stored_hashes_never_change() {
        // These stand in stores: a change here is a change of the store's schema.
        assert_eq!(name_hash(b"www.example.com"), name_hash(b"WWW.EXAMPLE.COM."));
        assert_ne!(name_hash(b""), name_hash(b"\0"));
        assert_ne!(name_hash(b"a"), name_hash(b"b"));
        assert_ne!(name_hash(b"abcdefgh1"), name_hash(b"abcdefgh2"));
    }
}
