//! Events that two lines tell: held, and cancelled.
//!
//! The rule has no order: each cancel takes back one hold of the same identifier on the same server
//! within [`HORIZON_SECONDS`]. A held event is counted at once and taken back if its cancel comes
//! later; a cancel that comes first waits. The number of waiting halves is bounded; the oldest go
//! first and are counted.
//!
//! A source may have been cut out of a longer log: halves of its first and of its last hour may belong to halves in
//! the files around it. Those of the last hour are waiting at its end; those of the first that would have to go
//! are set aside as *heads*.
//!
//! Halves stand in one array, those of an identifier linked in the order of their arrival. Where identifiers come again
//! and again (a pid) and nothing is ever cancelled, a hold looks at the head of its list and writes at its tail: the
//! halves in between are not brought into the cache.

use std::collections::BTreeMap;

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

impl Half {
    /// Where it stands.
    #[must_use]
    pub const fn key(&self) -> BinKey {
        match self {
            Half::Held(held) => held.key,
            Half::Cancel(key) => *key,
        }
    }
}

/// No place.
const NOWHERE: u32 = u32::MAX;
/// What a place without a half links to while all are taken.
const UNUSED: u32 = u32::MAX - 1;

/// A half with its identifier, and the place of the next one of that.
#[derive(Clone, Copy)]
struct Node {
    id: u64,
    half: Half,
    next: u32,
    /// Rises with each half that comes.
    arrival: u64,
}

/// The list of one identifier.
#[derive(Clone, Copy)]
struct List {
    first: u32,
    last: u32,
    /// Held events in it.
    holds: u32,
    /// Cancels in it.
    cancels: u32,
}

/// The halves of one worker, by server and identifier.
#[derive(Default)]
pub struct Memory {
    lists: HashMap<u64, List, foldhash::quality::RandomState>,
    nodes: Vec<Node>,
    /// Places without a half.
    free: Vec<u32>,
    arrivals: u64,
    /// Halves given up because of the bound.
    pub evicted: u64,
    /// Heads that may be set aside.
    heads_most: usize,
    /// Halves of the first hour that wait no more.
    heads: Vec<(u64, Half)>,
    /// The first minute at which a half stood, by stream; known once halves had to go.
    firsts: BTreeMap<u32, i64>,
}

const HORIZON: i64 = HORIZON_SECONDS / 60;

fn near(a: BinKey, b: BinKey) -> bool {
    a.stream == b.stream && (a.minute - b.minute).abs() <= HORIZON
}

impl Memory {
    /// An empty one that sets so many heads aside.
    #[must_use]
    pub fn with_heads(heads_most: usize) -> Self {
        Memory {
            heads_most,
            ..Memory::default()
        }
    }

    /// A cancel: returns the event to take back, if it has been counted; else the cancel waits.
    pub fn cancel(&mut self, id: u64, key: BinKey, most: usize) -> Option<Held> {
        let found = self.take(
            id,
            |list| list.holds > 0,
            |half| matches!(half, Half::Held(held) if near(held.key, key)),
        );
        match found {
            Some(Half::Held(held)) => Some(held),
            _ => {
                self.wait(id, Half::Cancel(key), most);
                None
            }
        }
    }

    /// A hold: returns whether it is to be counted (no cancel was waiting).
    pub fn hold(&mut self, id: u64, held: Held, most: usize) -> bool {
        let found = self.take(
            id,
            |list| list.cancels > 0,
            |half| matches!(half, Half::Cancel(key) if near(*key, held.key)),
        );
        if found.is_none() {
            self.wait(id, Half::Held(held), most);
        }
        found.is_none()
    }

    /// Takes the first half that is looked for out of a list that may have one.
    #[inline]
    fn take(
        &mut self,
        id: u64,
        may_have: impl Fn(&List) -> bool,
        wanted: impl Fn(&Half) -> bool,
    ) -> Option<Half> {
        let list = self.lists.get_mut(&id).filter(|list| may_have(list))?;
        let (mut before, mut at) = (NOWHERE, list.first);
        while let Some(&node) = self.nodes.get(at as usize) {
            if wanted(&node.half) {
                if let Some(earlier) = self.nodes.get_mut(before as usize) {
                    earlier.next = node.next;
                } else {
                    list.first = node.next;
                }
                if list.last == at {
                    list.last = before;
                }
                match node.half {
                    Half::Held(_) => list.holds -= 1,
                    Half::Cancel(_) => list.cancels -= 1,
                }
                if list.first == NOWHERE {
                    self.lists.remove(&id);
                }
                self.free.push(at);
                return Some(node.half);
            }
            (before, at) = (at, node.next);
        }
        None
    }

    fn wait(&mut self, id: u64, half: Half, most: usize) {
        if self.len() >= most {
            self.evict();
        }
        self.push(id, half);
    }

    fn push(&mut self, id: u64, half: Half) {
        let node = Node {
            id,
            half,
            next: NOWHERE,
            arrival: self.arrivals,
        };
        self.arrivals += 1;
        let at = match self.free.pop() {
            Some(at) => {
                self.nodes[at as usize] = node;
                at
            }
            None => {
                self.nodes.push(node);
                (self.nodes.len() - 1) as u32
            }
        };
        let list = self.lists.entry(id).or_insert(List {
            first: at,
            last: NOWHERE,
            holds: 0,
            cancels: 0,
        });
        match half {
            Half::Held(_) => list.holds += 1,
            Half::Cancel(_) => list.cancels += 1,
        }
        if let Some(last) = self.nodes.get_mut(list.last as usize) {
            last.next = at;
        }
        list.last = at;
    }

    /// Gives up the older half of what waits.
    #[cold]
    fn evict(&mut self) {
        let minute = |h: &Half| h.key().minute;
        let before = self.len();
        let mut all: Vec<(u64, Half)> = self.drain_waiting().collect();
        self.learn_firsts(&all);
        // Halves past the horizon wait for nothing: most cancels have no hold.
        let newest = all.iter().map(|(_, h)| minute(h)).max().unwrap_or(0);
        self.keep(&mut all, newest - HORIZON);
        if all.len() > before / 2 {
            let mut minutes: Vec<i64> = all.iter().map(|(_, h)| minute(h)).collect();
            let middle = minutes.len() / 2;
            let (_, &mut cut, _) = minutes.select_nth_unstable(middle);
            let kept = all.len();
            self.keep(&mut all, cut + 1);
            self.evicted += (kept - all.len()) as u64;
        }
        for (id, half) in all {
            self.push(id, half);
        }
    }

    /// Keeps the halves from a minute on; of the others, which are in the order of arrival, heads are set aside.
    fn keep(&mut self, all: &mut Vec<(u64, Half)>, from: i64) {
        let (heads, firsts, most) = (&mut self.heads, &self.firsts, self.heads_most);
        all.retain(|(id, half)| {
            let key = half.key();
            let stays = key.minute >= from;
            if !stays
                && heads.len() < most
                && firsts
                    .get(&key.stream)
                    .is_some_and(|first| key.minute - first <= HORIZON)
            {
                heads.push((*id, *half));
            }
            stays
        });
    }

    /// Nothing has gone of a stream before its halves are first looked at here: the first of them is among these.
    fn learn_firsts(&mut self, all: &[(u64, Half)]) {
        if self.heads_most == 0 {
            return;
        }
        let mut found: BTreeMap<u32, i64> = BTreeMap::new();
        for (_, half) in all {
            let key = half.key();
            let first = found.entry(key.stream).or_insert(key.minute);
            *first = (*first).min(key.minute);
        }
        for (stream, first) in found {
            self.firsts.entry(stream).or_insert(first);
        }
    }

    /// Everything that waits and all heads, with their identifiers.
    pub fn open(&self) -> impl Iterator<Item = (u64, &Half)> {
        let waiting = self
            .lists
            .iter()
            .flat_map(|(id, list)| Halves::new(&self.nodes, *list).map(move |at| (*id, at)));
        self.heads.iter().map(|(id, half)| (*id, half)).chain(waiting)
    }

    /// Takes everything that waits and all heads, those of an identifier in the order of arrival.
    pub fn drain(&mut self) -> impl Iterator<Item = (u64, Half)> + use<> {
        std::mem::take(&mut self.heads)
            .into_iter()
            .chain(self.drain_waiting())
    }

    fn drain_waiting(&mut self) -> impl Iterator<Item = (u64, Half)> + use<> {
        let mut nodes = std::mem::take(&mut self.nodes);
        for at in self.free.drain(..) {
            nodes[at as usize].next = UNUSED;
        }
        self.lists.clear();
        // Where no place was used twice they stand in order already.
        nodes.sort_by_key(|node| node.arrival);
        nodes
            .into_iter()
            .filter(|node| node.next != UNUSED)
            .map(|node| (node.id, node.half))
    }

    /// Adds the details of all held events.
    pub fn collect_detailed<'a>(&'a mut self, into: &mut Vec<&'a mut Detailed>) {
        into.extend(self.waiting_mut().filter_map(|half| match half {
            Half::Held(held) => Some(&mut held.detailed),
            Half::Cancel(_) => None,
        }));
    }

    /// Everything that waits, by identifier.
    pub fn all(&self) -> impl Iterator<Item = (u64, Vec<Half>)> {
        self.lists
            .iter()
            .map(|(id, list)| (*id, Halves::new(&self.nodes, *list).copied().collect()))
    }

    /// Puts halves back that [`Memory::all`] gave.
    pub fn put(&mut self, id: u64, halves: Vec<Half>) {
        for half in halves {
            self.push(id, half);
        }
    }

    /// Looks at everything that waits.
    pub fn each(&self, mut look: impl FnMut(&Half)) {
        for list in self.lists.values() {
            Halves::new(&self.nodes, *list).for_each(&mut look);
        }
    }

    /// Changes everything that waits.
    pub fn each_mut(&mut self, change: impl FnMut(&mut Half)) {
        self.waiting_mut().for_each(change);
    }

    fn waiting_mut(&mut self) -> impl Iterator<Item = &mut Half> {
        let mut waits = vec![true; self.nodes.len()];
        for &at in &self.free {
            if let Some(waits) = waits.get_mut(at as usize) {
                *waits = false;
            }
        }
        self.nodes
            .iter_mut()
            .zip(waits)
            .filter_map(|(node, waits)| waits.then_some(&mut node.half))
    }

    /// Number of waiting halves.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len() - self.free.len()
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The halves of one list.
struct Halves<'a> {
    nodes: &'a [Node],
    at: u32,
}

impl<'a> Halves<'a> {
    fn new(nodes: &'a [Node], list: List) -> Self {
        Halves {
            nodes,
            at: list.first,
        }
    }
}

impl<'a> Iterator for Halves<'a> {
    type Item = &'a Half;

    fn next(&mut self) -> Option<&'a Half> {
        let node = self.nodes.get(self.at as usize)?;
        self.at = node.next;
        Some(&node.half)
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
    fn halves_of_the_first_hour_are_set_aside() {
        let mut m = Memory::with_heads(100);
        for i in 0..1000 {
            assert_eq!(m.cancel(i, at(i as i64), 64), None);
        }
        let mut first: Vec<u64> = m
            .open()
            .filter(|(_, h)| h.key().minute <= 60)
            .map(|(id, _)| id)
            .collect();
        first.sort_unstable();
        assert_eq!(first, (0..=60).collect::<Vec<_>>());
        assert_eq!(m.drain().filter(|(_, h)| h.key().minute <= 60).count(), 61);
        assert_eq!(m.open().count(), 0);
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
