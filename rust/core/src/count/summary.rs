//! Mergeable summaries of who and what: distinct counts, entropies and the share of the top.
//!
//! A summary holds hashes with their counts. It is exact up to a stated size; past it, it keeps the
//! items whose hash falls below `2^(64 - level)`, each with its exact count, where `level` is the
//! smallest that fits. Which items those are depends on the set alone and not on the order of
//! arrival, so that merging is associative and exact: `merge(s(a), s(b)) = s(ab)`, byte for byte.
//! Past the size an estimate from `k` kept items of a set has a relative standard error of about
//! `1 / sqrt(k)` (adaptive sampling: Wegman; Flajolet, Computing 43, 1990).
//!
//! Stored form: one byte `level` (bit 7 set: a set without counts; bit 6 set: counts that are to be
//! taken away), then for each item in rising order of hash its upper 32 bits (little-endian) and, with
//! counts, the count as a LEB128 varint.

/// Numbers that a summary says, all functions of its stored form and the total count.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Numbers {
    /// Distinct items (an estimate when `level > 0`).
    pub distinct: u64,
    /// Shannon entropy of the items by count, in bits.
    pub entropy: f64,
    /// Share of the most frequent kept item, 0 to 1 (a lower bound when `level > 0`).
    pub top_share: f64,
}

/// A summary taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Sampling level; 0 means exact.
    pub level: u8,
    /// `(upper 32 bits of the hash, count)`, rising by hash, no hash twice.
    pub items: Vec<(u32, u64)>,
}

/// `c · log2(c)` of the counts below 1024; 0 of 0.
#[must_use]
pub fn small_c_log_c() -> &'static [f64; 1024] {
    use std::sync::OnceLock;
    static TABLE: OnceLock<Box<[f64; 1024]>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut t = Box::new([0.0; 1024]);
        for (i, v) in t.iter_mut().enumerate().skip(2) {
            *v = i as f64 * (i as f64).log2();
        }
        t
    })
}

/// `c · log2(c)`, from a table for the small counts that almost all are.
#[inline]
#[must_use]
pub fn c_log_c(c: u64) -> f64 {
    match small_c_log_c().get(c as usize) {
        Some(&v) => v,
        None => c as f64 * (c as f64).log2(),
    }
}

/// Whether a hash is kept at a level.
#[inline(always)]
#[must_use]
pub const fn kept(hash32: u32, level: u8) -> bool {
    level == 0 || (level < 32 && hash32 >> (32 - level as u32) == 0)
}

/// Entropy in bits of counts with sum `total` and `sum = Σ c log2 c`.
#[inline]
#[must_use]
pub fn entropy(total: f64, sum: f64) -> f64 {
    if total > 0.0 {
        (total.log2() - sum / total).max(0.0)
    } else {
        0.0
    }
}

impl Summary {
    /// Sorts, adds equal hashes together and raises the level until at most `size` items are left.
    pub fn settle(&mut self, size: usize) {
        self.items.sort_unstable_by_key(|i| i.0);
        self.items.dedup_by(|later, first| {
            let same = later.0 == first.0;
            if same {
                first.1 = first.1.saturating_add(later.1);
            }
            same
        });
        let level = self.level;
        self.items.retain(|i| kept(i.0, level));
        while self.items.len() > size.max(1) && self.level < 31 {
            self.level += 1;
            let level = self.level;
            // Rising order: what goes is the tail.
            let keep = self.items.partition_point(|i| kept(i.0, level));
            self.items.truncate(keep);
        }
    }

    /// Takes the counts of another summary away; what nothing is left of goes. Both are settled.
    pub fn take_away(&mut self, other: &Summary) {
        self.level = self.level.max(other.level);
        let level = self.level;
        let mut taken = other.items.iter().peekable();
        self.items.retain_mut(|item| {
            while taken.next_if(|t| t.0 < item.0).is_some() {}
            if let Some(t) = taken.next_if(|t| t.0 == item.0) {
                item.1 = item.1.saturating_sub(t.1);
            }
            item.1 > 0 && kept(item.0, level)
        });
    }

    /// The numbers, given the exact total of all items (kept or not).
    #[must_use]
    pub fn numbers(&self, total: u64) -> Numbers {
        let scale = (1u64 << self.level) as f64;
        let sum: f64 = self.items.iter().map(|i| c_log_c(i.1)).sum();
        let top = self.items.iter().map(|i| i.1).max().unwrap_or(0);
        let total = total as f64;
        Numbers {
            distinct: (self.items.len() as u64) << self.level,
            entropy: entropy(total, sum * scale),
            top_share: if total > 0.0 {
                (top as f64 / total).min(1.0)
            } else {
                0.0
            },
        }
    }

    /// Appends the stored form.
    pub fn write(&self, counts: bool, out: &mut Vec<u8>) {
        out.push(self.level | if counts { 0 } else { 0x80 });
        for &(hash, count) in &self.items {
            out.extend_from_slice(&hash.to_le_bytes());
            if counts {
                let mut c = count;
                while c >= 0x80 {
                    out.push(c as u8 | 0x80);
                    c >>= 7;
                }
                out.push(c as u8);
            }
        }
    }

    /// Reads the stored form, adding to what is here; `false` if the bytes are no summary.
    #[must_use]
    pub fn add_stored(&mut self, bytes: &[u8]) -> bool {
        self.level = self.level.max(level_of(bytes));
        each_stored(bytes, |hash, count| self.items.push((hash, count)))
    }
}

/// The level of a stored form; 0 of an empty one.
#[inline]
#[must_use]
pub fn level_of(stored: &[u8]) -> u8 {
    stored.first().map_or(0, |b| b & 0x1f)
}

/// Whether a stored form is a set without counts.
#[inline]
#[must_use]
pub fn is_set(stored: &[u8]) -> bool {
    stored.first().is_some_and(|b| b & 0x80 != 0)
}

/// Whether the counts of a stored form are to be taken away.
#[inline]
#[must_use]
pub fn is_taken_away(stored: &[u8]) -> bool {
    stored.first().is_some_and(|b| b & TAKEN_AWAY != 0)
}

/// The bit that marks counts that are to be taken away.
pub const TAKEN_AWAY: u8 = 0x40;

/// Every item of a stored form, each of a set counted once; `false` if the bytes are no summary.
#[inline]
#[must_use]
pub fn each_stored(stored: &[u8], mut each: impl FnMut(u32, u64)) -> bool {
    let Some((_, mut rest)) = stored.split_first() else {
        return true;
    };
    if is_set(stored) {
        let (hashes, torn) = rest.as_chunks::<4>();
        hashes.iter().for_each(|&h| each(u32::from_le_bytes(h), 1));
        return torn.is_empty();
    }
    while let Some((hash, tail)) = rest.split_first_chunk::<4>() {
        rest = tail;
        let mut count = 0u64;
        let mut shift = 0;
        loop {
            let Some((&b, tail)) = rest.split_first() else {
                return false;
            };
            rest = tail;
            if shift > 63 {
                return false;
            }
            count |= u64::from(b & 0x7f) << shift;
            shift += 7;
            if b & 0x80 == 0 {
                break;
            }
        }
        each(u32::from_le_bytes(*hash), count);
    }
    rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::count::hash::name_hash;
    use proptest::prelude::*;

    fn of(names: &[u16], size: usize) -> Summary {
        let items = names
            .iter()
            .map(|n| ((name_hash(n.to_string().as_bytes()) >> 32) as u32, 1))
            .collect();
        let mut s = Summary { level: 0, items };
        s.settle(size);
        s
    }

    proptest! {
        #[test]
        fn merging_is_exact_in_any_order(
            names in proptest::collection::vec(any::<u16>(), 0..400), cut in 0usize..400, size in 1usize..64,
        ) {
            let cut = cut.min(names.len());
            let whole = of(&names, size);
            let mut merged = Summary::default();
            for part in [&names[cut..], &names[..cut]] {
                let mut bytes = Vec::new();
                of(part, size).write(true, &mut bytes);
                prop_assert!(merged.add_stored(&bytes));
            }
            merged.settle(size);
            prop_assert_eq!(whole, merged);
        }

        #[test]
        fn what_is_taken_away_was_never_there(
            names in proptest::collection::vec(0u16..60, 0..400), gone in proptest::collection::vec(0u16..60, 0..60),
        ) {
            let mut all = names.clone();
            all.extend(&gone);
            let mut whole = of(&all, 64);
            whole.take_away(&of(&gone, 64));
            prop_assert_eq!(whole, of(&names, 64));
        }

        #[test]
        fn any_bytes_are_safe(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut s = Summary::default();
            let _ = s.add_stored(&bytes);
            s.settle(16);
        }
    }

    #[test]
    fn entropy_of_known_distributions() {
        let even = Summary {
            level: 0,
            items: (0..8).map(|i| (i, 5)).collect(),
        };
        let n = even.numbers(40);
        assert!((n.entropy - 3.0).abs() < 1e-12);
        assert_eq!(n.distinct, 8);
        assert!((n.top_share - 0.125).abs() < 1e-12);
        assert_eq!(
            Summary {
                level: 0,
                items: vec![(1, 7)]
            }
            .numbers(7)
            .entropy,
            0.0
        );
    }

    #[test]
    fn past_the_size_the_estimate_is_near() {
        let names: Vec<u16> = (0..50_000).collect();
        let n = of(&names, 4096).numbers(50_000);
        assert!((n.distinct as f64 / 50_000.0 - 1.0).abs() < 0.08, "{n:?}");
        assert!((n.entropy - 50_000f64.log2()).abs() < 1.0, "{n:?}");
    }
}
