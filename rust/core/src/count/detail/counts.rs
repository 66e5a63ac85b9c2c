//! Counts by hash that grow event by event and end as a [`Summary`].
//!
//! Items are only appended; they are added together when the list has doubled. Past `size` distinct items
//! the level rises as that of a [`Summary`] does, so that what is left depends on the set of events alone
//! and not on their order or on how they were split.

use crate::count::summary::{Summary, kept};

/// Lists below this length are not folded while they grow.
const FOLD_FROM: usize = 16;

/// Signed counts by the upper 32 bits of a hash: an event can be taken back.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Counts {
    level: u8,
    fold_at: u32,
    items: Vec<(u32, i32)>,
}

/// A number of events as a signed count.
#[must_use]
pub fn signed(times: u32) -> i32 {
    i32::try_from(times).unwrap_or(i32::MAX)
}

impl Counts {
    /// Adds `times` (negative: takes back) events of a hash; at most about twice `size` items are held.
    pub fn add(&mut self, hash: u32, times: i32, size: usize) {
        if !kept(hash, self.level) {
            return;
        }
        if let Some(last) = self.items.last_mut()
            && last.0 == hash
        {
            last.1 = last.1.saturating_add(times);
            return;
        }
        self.items.push((hash, times));
        if self.items.len() >= (self.fold_at as usize).max(FOLD_FROM) {
            self.fold(size);
        }
    }

    /// Adds equal hashes together and raises the level while more than `size` are left.
    pub fn fold(&mut self, size: usize) {
        self.items.sort_unstable_by_key(|i| i.0);
        self.items.dedup_by(|later, first| {
            let same = later.0 == first.0;
            if same {
                first.1 = first.1.saturating_add(later.1);
            }
            same
        });
        let level = self.level;
        self.items.retain(|i| i.1 != 0 && kept(i.0, level));
        while self.items.len() > size.max(1) && self.level < 31 {
            self.level += 1;
            let level = self.level;
            let keep = self.items.partition_point(|i| kept(i.0, level));
            self.items.truncate(keep);
        }
        self.fold_at = u32::try_from(self.items.len() * 2).unwrap_or(u32::MAX);
    }

    /// Adds another list.
    pub fn absorb(&mut self, other: &Counts, size: usize) {
        self.level = self.level.max(other.level);
        self.items.extend_from_slice(&other.items);
        self.fold(size);
    }

    /// Gives back the memory that only a growing list needs.
    pub fn cool(&mut self, size: usize) {
        self.fold(size);
        self.items.shrink_to_fit();
    }

    /// The summary; nothing is added afterwards.
    #[must_use]
    pub fn summary(mut self, size: usize) -> Summary {
        self.fold(size);
        Summary {
            level: self.level,
            items: self
                .items
                .iter()
                .map(|&(hash, n)| (hash, u64::from(n.unsigned_abs())))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::count::hash::name_hash;
    use proptest::prelude::*;

    fn hash(n: u16) -> u32 {
        (name_hash(&n.to_le_bytes()) >> 32) as u32
    }

    fn of(names: &[u16], size: usize) -> Counts {
        let mut counts = Counts::default();
        for &n in names {
            counts.add(hash(n), 1, size);
        }
        counts
    }

    proptest! {
        #[test]
        fn parts_and_growth_change_nothing(
            names in proptest::collection::vec(0u16..300, 0..500), cut in 0usize..500, size in 1usize..200,
        ) {
            let cut = cut.min(names.len());
            let mut settled = Summary {
                level: 0,
                items: names.iter().map(|&n| (hash(n), 1)).collect(),
            };
            settled.settle(size);
            prop_assert_eq!(&of(&names, size).summary(size), &settled);
            let mut joined = of(&names[..cut], size);
            joined.absorb(&of(&names[cut..], size), size);
            prop_assert_eq!(&joined.summary(size), &settled);
        }
    }

    #[test]
    fn what_is_taken_back_is_gone() {
        let mut counts = of(&[1, 2, 2], 16);
        counts.add(hash(1), -1, 16);
        let summary = counts.summary(16);
        assert_eq!(summary.items, vec![(hash(2), 2)]);
    }
}
