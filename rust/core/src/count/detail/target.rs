//! Targets of one origin: how many, which, and how far the next one is from the one before.
//!
//! The distance of two IPv4 addresses is the Euclidean one of their four octets seen as a vector (Musashi
//! et al.: 1.0 to 2.0 where addresses are searched in sequence, 150.2 to 210.4 where at random). Distances
//! are counted in [`BUCKETS`] buckets:
//!
//! | bucket | distance d |
//! | --- | --- |
//! | 0 | 0: the same address again |
//! | 1 | 1.0 ≤ d ≤ 2.0 |
//! | 2 | 2.0 < d ≤ 8 |
//! | 3 | 8 < d ≤ 32 |
//! | 4 | 32 < d < 150.2 |
//! | 5 | 150.2 ≤ d ≤ 210.4 |
//! | 6 | 210.4 < d ≤ 300 |
//! | 7 | 300 < d ≤ 510 |
//!
//! *Consecutive* is by the order of lines of one origin, whatever other lines stand between.

use super::Sizes;
use super::counts::{Counts, signed};

/// Number of buckets of distances.
pub const BUCKETS: usize = 8;

/// Largest squared distance of each bucket but the last: squares of whole vectors are whole, and no whole
/// number lies between 150.2² and 22560.04's neighbours.
const SQUARES: [u32; BUCKETS - 1] = [0, 4, 64, 1024, 22_560, 44_268, 90_000];

/// The bucket of the distance of two addresses.
#[must_use]
pub fn bucket(a: u32, b: u32) -> usize {
    let square: u32 = a
        .to_be_bytes()
        .iter()
        .zip(b.to_be_bytes())
        .map(|(&x, y)| u32::from(x.abs_diff(y)).pow(2))
        .sum();
    SQUARES.partition_point(|&most| most < square)
}

/// What was asked for or sent to: its identity, and its address if it is one of IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Address {
    /// Upper half of the stable hash.
    pub hash: u32,
    /// The IPv4 address.
    pub v4: Option<u32>,
}

/// Counts of the targets of one origin.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Target {
    /// Events.
    pub count: u64,
    /// Events by target.
    pub targets: Counts,
    /// Distances of consecutive targets.
    pub distances: [u32; BUCKETS],
    /// Address of the first and of the last event: what neighbours need.
    ends: Option<(u32, u32)>,
}

impl Target {
    /// Adds events.
    pub fn count(&mut self, address: Option<Address>, times: u32, sizes: &Sizes) {
        self.count += u64::from(times);
        let Some(address) = address else { return };
        self.targets.add(address.hash, signed(times), sizes.set);
        if let Some(v4) = address.v4 {
            self.follow(v4, v4);
            self.distances[0] = self.distances[0].saturating_add(times.saturating_sub(1));
        }
    }

    /// The next stretch of addresses begins with `first` and ends with `last`.
    fn follow(&mut self, first: u32, last: u32) {
        match &mut self.ends {
            Some((_, mine)) => {
                let bucket = &mut self.distances[bucket(*mine, first)];
                *bucket = bucket.saturating_add(1);
                *mine = last;
            }
            None => self.ends = Some((first, last)),
        }
    }

    /// The address that the last event told.
    #[must_use]
    pub fn last(&self) -> Option<u32> {
        self.ends.map(|e| e.1)
    }

    /// Adds the distance from what an earlier row of this origin ended with.
    pub fn bridge(&mut self, before: Option<u32>) {
        if let (Some(before), Some((first, _))) = (before, self.ends) {
            let bucket = &mut self.distances[bucket(before, first)];
            *bucket = bucket.saturating_add(1);
        }
    }

    /// Joins the row of the part that follows.
    pub fn join(&mut self, later: &Target, sizes: &Sizes) {
        if let Some((first, last)) = later.ends {
            self.follow(first, last);
        }
        self.add(later, sizes);
    }

    /// Adds the counts of another row, whose events do not follow those of this one.
    pub fn add(&mut self, other: &Target, sizes: &Sizes) {
        self.count += other.count;
        self.targets.absorb(&other.targets, sizes.set);
        for (mine, theirs) in self.distances.iter_mut().zip(other.distances) {
            *mine = mine.saturating_add(theirs);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(text: &str) -> u32 {
        text.parse::<std::net::Ipv4Addr>().map(u32::from).unwrap_or(0)
    }

    #[test]
    fn the_bands_of_the_papers_have_buckets_of_their_own() {
        let from = v4("10.0.0.0");
        for (to, expected) in [
            ("10.0.0.0", 0),
            ("10.0.0.1", 1),
            ("10.0.0.2", 1),
            ("10.0.1.2", 2),
            ("10.0.0.9", 3),
            ("10.0.150.0", 4),
            ("10.0.150.8", 5),  // 150.21
            ("10.0.150.7", 4),  // 150.16
            ("10.0.210.12", 5), // 210.34
            ("10.0.210.13", 6), // 210.40: 44269 > 44268.16
            ("10.0.0.255", 6),
            ("10.255.255.0", 7),
        ] {
            assert_eq!(bucket(from, v4(to)), expected, "{to}");
        }
    }

    #[test]
    fn parts_join_to_the_whole() {
        let sizes = Sizes::default();
        let all: Vec<Address> = (0..20u32)
            .map(|i| Address {
                hash: i % 7,
                v4: (i % 5 != 0).then_some(i * 77),
            })
            .collect();
        let of = |part: &[Address]| {
            let mut t = Target::default();
            part.iter().for_each(|a| t.count(Some(*a), 2, &sizes));
            t
        };
        let whole = of(&all);
        for cut in 0..=all.len() {
            let mut joined = of(&all[..cut]);
            joined.join(&of(&all[cut..]), &sizes);
            assert_eq!((joined.count, joined.distances), (whole.count, whole.distances));
            assert_eq!(joined.ends, whole.ends);
            assert_eq!(joined.targets.summary(99), whole.targets.clone().summary(99));
        }
    }
}
