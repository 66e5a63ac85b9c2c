//! Events that two lines tell: held, and cancelled.
//!
//! The rule has no order: each cancel takes back one hold of the same identifier on the same server
//! within [`HORIZON_SECONDS`]. A held event is counted at once and taken back if its cancel comes
//! later; a cancel that comes first waits. The number of waiting halves is bounded; the oldest go
//! first and are counted.

use hashbrown::HashMap;
use serde::{Deserialize, Serialize};

use crate::event::Kind;

use super::bins::BinKey;
use super::detail::Detailed;

/// A hold and its cancel may be this far apart.
pub const HORIZON_SECONDS: i64 = 3600;

/// A counted event that may yet be taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Where it was counted.
    pub key: BinKey,
    /// What was counted.
    pub kind: Kind,
    /// Number of the client in the worker's table.
    pub client: u32,
    /// Addresses counted.
    pub recipients: u32,
    /// The same event as the details counted it.
    pub detailed: Detailed,
}

/// One half that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Half {
    /// A counted event.
    Held(Held),
    /// A cancel, at this bin.
    Cancel(BinKey),
}

/// The halves of one worker, by server and identifier.
#[derive(Default)]
pub struct Memory {
    halves: HashMap<u64, Vec<Half>, foldhash::quality::RandomState>,
    waiting: usize,
    /// Halves given up because of the bound.
    pub evicted: u64,
}

const HORIZON: i64 = HORIZON_SECONDS / 60;

fn near(a: BinKey, b: BinKey) -> bool {
    a.stream == b.stream && (a.minute - b.minute).abs() <= HORIZON
}

impl Memory {
    /// A cancel: returns the event to take back, if it has been counted; else the cancel waits.
    pub fn cancel(&mut self, id: u64, key: BinKey, most: usize) -> Option<Held> {
        if let Some(list) = self.halves.get_mut(&id)
            && let Some(at) = list
                .iter()
                .position(|h| matches!(h, Half::Held(held) if near(held.key, key)))
        {
            let half = list.swap_remove(at);
            self.waiting -= 1;
            if list.is_empty() {
                self.halves.remove(&id);
            }
            return match half {
                Half::Held(held) => Some(held),
                Half::Cancel(_) => None,
            };
        }
        self.wait(id, Half::Cancel(key), most);
        None
    }

    /// A hold: returns whether it is to be counted (no cancel was waiting).
    pub fn hold(&mut self, id: u64, held: Held, most: usize) -> bool {
        if let Some(list) = self.halves.get_mut(&id)
            && let Some(at) = list
                .iter()
                .position(|h| matches!(h, Half::Cancel(key) if near(*key, held.key)))
        {
            list.swap_remove(at);
            self.waiting -= 1;
            if list.is_empty() {
                self.halves.remove(&id);
            }
            return false;
        }
        self.wait(id, Half::Held(held), most);
        true
    }

    fn wait(&mut self, id: u64, half: Half, most: usize) {
        if self.waiting >= most {
            self.evict();
        }
        self.halves.entry(id).or_default().push(half);
        self.waiting += 1;
    }

    /// Gives up the older half of what waits.
    #[cold]
    fn evict(&mut self) {
        let minute = |h: &Half| match h {
            Half::Held(held) => held.key.minute,
            Half::Cancel(key) => key.minute,
        };
        // Halves past the horizon wait for nothing: most cancels have no hold.
        let newest = self.halves.values().flatten().map(minute).max().unwrap_or(0);
        self.halves.retain(|_, list| {
            list.retain(|h| minute(h) >= newest - HORIZON);
            !list.is_empty()
        });
        let all = self.waiting;
        self.waiting = self.halves.values().map(Vec::len).sum();
        if self.waiting <= all / 2 {
            return;
        }
        let mut minutes: Vec<i64> = self.halves.values().flatten().map(minute).collect();
        let middle = minutes.len() / 2;
        let (_, &mut cut, _) = minutes.select_nth_unstable(middle);
        let before = self.waiting;
        self.halves.retain(|_, list| {
            list.retain(|h| minute(h) > cut);
            !list.is_empty()
        });
        self.waiting = self.halves.values().map(Vec::len).sum();
        self.evicted += (before - self.waiting) as u64;
    }

    /// Takes everything that waits.
    pub fn drain(&mut self) -> impl Iterator<Item = (u64, Half)> {
        self.waiting = 0;
        std::mem::take(&mut self.halves)
            .into_iter()
            .flat_map(|(id, list)| list.into_iter().map(move |h| (id, h)))
    }

    /// Adds the details of all held events.
    pub fn collect_detailed<'a>(&'a mut self, into: &mut Vec<&'a mut Detailed>) {
        into.extend(self.halves.values_mut().flatten().filter_map(|half| match half {
            Half::Held(held) => Some(&mut held.detailed),
            Half::Cancel(_) => None,
        }));
    }

    /// Everything that waits, by identifier.
    pub fn all(&self) -> impl Iterator<Item = (u64, &[Half])> {
        self.halves.iter().map(|(id, list)| (*id, list.as_slice()))
    }

    /// Puts halves back that [`Memory::all`] gave.
    pub fn put(&mut self, id: u64, halves: Vec<Half>) {
        self.waiting += halves.len();
        self.halves.entry(id).or_default().extend(halves);
    }

    /// Looks at everything that waits.
    pub fn each(&self, mut look: impl FnMut(&Half)) {
        self.halves.values().flatten().for_each(&mut look);
    }

    /// Changes everything that waits.
    pub fn each_mut(&mut self, mut change: impl FnMut(&mut Half)) {
        self.halves.values_mut().flatten().for_each(&mut change);
    }

    /// Number of waiting halves.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> BinKey {
        BinKey {
            minute,
            segment: 0,
            stream: 1,
        }
    }

    fn held(minute: i64) -> Held {
        Held {
            key: at(minute),
            kind: Kind::PopAccess,
            client: 7,
            recipients: 0,
            detailed: Detailed::Nothing,
        }
    }

    #[test]
    fn order_does_not_matter_and_each_cancel_takes_one() {
        let mut m = Memory::default();
        assert!(m.hold(1, held(0), 100));
        assert!(m.hold(1, held(1), 100));
        assert_eq!(m.cancel(1, at(2), 100), Some(held(0)));
        assert_eq!(m.cancel(2, at(2), 100), None);
        assert!(!m.hold(2, held(3), 100));
        assert!(m.hold(2, held(3), 100));
        assert_eq!(m.len(), 2);
    }

    #[test]
    fn too_far_apart_is_not_the_same() {
        let mut m = Memory::default();
        assert!(m.hold(1, held(0), 100));
        assert_eq!(m.cancel(1, at(61), 100), None);
    }

    #[test]
    fn the_bound_holds_and_is_counted() {
        let mut m = Memory::default();
        for i in 0..1000 {
            assert!(m.hold(i, held(i as i64 % 30), 64));
        }
        assert!(m.len() <= 64);
        assert_eq!(m.evicted as usize + m.len(), 1000);
    }

    #[test]
    fn what_is_past_the_horizon_is_no_loss() {
        let mut m = Memory::default();
        for i in 0..1000 {
            assert_eq!(m.cancel(i, at(i as i64 * 10), 64), None);
        }
        assert_eq!((m.len() <= 64, m.evicted), (true, 0));
    }
}
