//! Open bins: the counts of one minute of one server while lines may still come.
//!
//! A bin has a table for each kind that occurs: rows in order of first appearance, found through a hash table
//! of their places that is as small as the rows are few, so that it stays in the cache. What names were asked is only written down (sixteen bytes a query); it is counted when the bin is sealed, in
//! two small hash tables that stay in the cache, which is far cheaper than a set operation a line.

use serde::{Deserialize, Serialize};

use crate::event::{Kind, QueryType};

use super::hash::{fold, prefetch};
use super::intern::{NONE, SHED};

/// Identity of a bin within a partial result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BinKey {
    /// Minute on the stream's clock (see [`super::timeline`]).
    pub minute: i64,
    /// Number of times the stream's clock was set back by about an hour before this bin.
    pub segment: u16,
    /// Number of the stream in the partial result.
    pub stream: u32,
}

/// Counts of one client and kind in one bin: one cache line.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
pub struct Row {
    /// Number in the worker's client table.
    pub client: u32,
    /// Events.
    pub count: u32,
    /// Addresses.
    pub recipients: u32,
    /// Distinct names; filled in when the bin is sealed.
    pub distinct: u32,
    /// Queries by type.
    pub types: [u32; QueryType::COUNT],
    /// Side of the client; filled in when the bin is sealed.
    pub side: u32,
}

/// Rows of one kind.
#[derive(Default)]
pub struct KindTable {
    /// One row a client, in order of first appearance.
    pub rows: Vec<Row>,
    /// Places of rows, at most half of them taken; a power of two, or none at all.
    slots: Vec<u32>,
}

/// A slot that no row has.
const FREE: u32 = u32::MAX;
/// Slots of a new table.
const SLOTS_LEAST: usize = 64;

impl KindTable {
    /// The slot that a client is looked for in first. Clients are numbered in order of appearance: a multiplication
    /// spreads neighbours over the whole table.
    #[inline(always)]
    fn slot_of(&self, client: u32) -> usize {
        let spread = client.wrapping_mul(0x9e37_79b1);
        (spread.rotate_left(16) ^ spread) as usize & self.slots.len().wrapping_sub(1)
    }

    /// The index of a client's row, which is made if needed.
    #[inline(always)]
    pub fn row_index(&mut self, client: u32) -> usize {
        let mut at = self.slot_of(client);
        while let Some(&slot) = self.slots.get(at) {
            match self.rows.get(slot as usize) {
                Some(row) if row.client == client => return slot as usize,
                Some(_) => at = (at + 1) & (self.slots.len() - 1),
                None => break,
            }
        }
        self.new_row(client, at)
    }

    #[inline(never)]
    fn new_row(&mut self, client: u32, at: usize) -> usize {
        let row = self.rows.len();
        if self.slots.is_empty() || row * 2 >= self.slots.len() {
            return self.grow(client);
        }
        self.rows.push(Row {
            client,
            ..Row::default()
        });
        self.slots[at] = row as u32;
        row
    }

    /// Makes room in the slots, or makes them again after they were given away, and looks for the row once more.
    #[cold]
    fn grow(&mut self, client: u32) -> usize {
        let least = (self.rows.len() + 1).next_power_of_two() * 2;
        self.slots.clear();
        self.slots.resize(least.max(SLOTS_LEAST), FREE);
        for i in 0..self.rows.len() {
            let mut at = self.slot_of(self.rows[i].client);
            while self.slots[at] != FREE {
                at = (at + 1) & (self.slots.len() - 1);
            }
            self.slots[at] = i as u32;
        }
        self.row_index(client)
    }

    /// Forgets the rows and keeps their memory.
    fn clear(&mut self) {
        self.rows.clear();
        self.slots.fill(FREE);
    }
}

/// One query, written down for the sealing.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// Identity of the name.
    pub hash: u64,
    /// Row of the client in the table of `dns_query`.
    pub row: u32,
    /// Query type in the upper 4 bits, times asked in the lower 28.
    pub what: u32,
}

impl Asked {
    /// Number by which equal ones stand together, those of one name side by side.
    #[inline]
    #[must_use]
    pub fn order(&self) -> u128 {
        u128::from(self.hash) << 64 | u128::from(self.row) << 32 | u128::from(self.what >> 28)
    }

    /// Adds an equal one's times, if there is room for them.
    #[inline]
    pub fn add(&mut self, other: &Asked) -> bool {
        let sum = (other.what & ASKED_MOST) + (self.what & ASKED_MOST);
        let fits = sum <= ASKED_MOST;
        if fits {
            self.what = (self.what & !ASKED_MOST) | sum;
        }
        fits
    }
}

/// Largest count that one [`Asked`] can hold.
pub const ASKED_MOST: u32 = (1 << 28) - 1;

/// Where equal queries stand in a busy bin: most are asked again soon, and need not be written down again.
///
/// A slot names the bin by a serial number and the place in its list; it is right only if what stands there is
/// equal, so that a newer query may take any slot, and bins may share the table.
#[derive(Default)]
pub struct Recent {
    slots: Vec<(u32, u32)>,
}

/// Slots of a [`Recent`] (2 MiB), in pairs.
const RECENT: usize = 1 << 18;
/// Queries in a list from which on equal ones are looked for.
const BUSY_FROM: usize = 1 << 13;

fn next_serial() -> u32 {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Recent {
    /// Where a query stands, given its name's hash and a number of its client that is always the same.
    #[inline(always)]
    #[must_use]
    pub const fn hint(hash: u64, client: u64) -> usize {
        (fold(hash, client ^ 0x9e37_79b9_7f4a_7c15) as usize % RECENT) & !1
    }

    /// Asks for what stands there to be brought into the cache.
    #[inline(always)]
    pub fn prefetch(&self, hint: usize) {
        prefetch(&self.slots, hint);
    }

    /// The same of the queries of a bin that it speaks of.
    #[inline(always)]
    pub fn prefetch_asked(&self, hint: usize, bin: &OpenBin) {
        if let Some(&[(first, at), (second, or)]) = self.slots.get(hint..hint + 2) {
            if first == bin.serial {
                prefetch(&bin.asked, at as usize);
            }
            if second == bin.serial {
                prefetch(&bin.asked, or as usize);
            }
        }
    }

    /// Adds to an equal query; false if it is to be written down, whose place is remembered.
    #[inline]
    fn add(&mut self, hint: usize, serial: u32, all: &mut [Asked], asked: &Asked) -> bool {
        if self.slots.is_empty() {
            self.slots.resize(RECENT, (0, 0));
        }
        for slot in [hint, hint + 1] {
            let (of, place) = self.slots[slot];
            if of == serial
                && let Some(earlier) = all.get_mut(place as usize)
                && earlier.order() == asked.order()
                && earlier.add(asked)
            {
                return true;
            }
        }
        // The newer one comes first; the other is the next to go.
        self.slots[hint + 1] = self.slots[hint];
        self.slots[hint] = (serial, all.len() as u32);
        false
    }
}

/// One open bin.
pub struct OpenBin {
    /// Which one.
    pub key: BinKey,
    /// A table for each kind that occurs.
    pub tables: [Option<Box<KindTable>>; Kind::ALL.len()],
    /// The queries, in order of appearance or folded.
    pub asked: Vec<Asked>,
    /// Only names whose hash falls below `2^(64 - level)` are in `asked`.
    pub level: u8,
    /// Length of `asked` at which it is folded.
    fold_at: usize,
    /// How many of `asked` the details know; they stand in front, folded.
    pub digested: usize,
    /// Queries are kept past the level until the details know them.
    pub detailed: bool,
    /// Which elements of `asked` a [`Recent`] may speak of: another number whenever they move.
    serial: u32,
    /// A counter stood at its largest value.
    pub saturated: bool,
    /// How far it has been told, where lines are counted as they come.
    pub told: Told,
}

/// How far an open bin has been told to those who wait for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Something was counted since it was told last.
    pub changed: bool,
    /// It was told before: what has become nothing since must be told as nothing.
    pub before: bool,
    /// Where its lines came from.
    pub sources: Vec<u32>,
}

/// Memory of sealed bins for the next ones: fresh memory costs a page fault each 4 KiB.
#[derive(Default)]
pub struct Pool {
    #[expect(clippy::vec_box, reason = "the boxes themselves are handed on")]
    tables: [Vec<Box<KindTable>>; Kind::ALL.len()],
    asked: Vec<Vec<Asked>>,
}

/// Pieces of each sort that a pool keeps, and the largest that it keeps (in elements).
const POOL_MOST: usize = 64;
const POOL_PIECE_MOST: usize = 1 << 16;

impl Pool {
    /// A table without rows, as large as one of this kind was.
    #[must_use]
    pub fn table(&mut self, kind: Kind) -> Box<KindTable> {
        self.tables[kind as usize].pop().unwrap_or_default()
    }

    /// A list of queries without elements.
    #[must_use]
    pub fn asked(&mut self) -> Vec<Asked> {
        self.asked.pop().unwrap_or_default()
    }

    /// Takes the memory of a sealed bin.
    pub fn keep(&mut self, bin: OpenBin) {
        for (mine, table) in self.tables.iter_mut().zip(bin.tables) {
            if let Some(mut table) = table
                && mine.len() < POOL_MOST
                && table.rows.capacity() <= POOL_PIECE_MOST
            {
                table.clear();
                mine.push(table);
            }
        }
        let mut asked = bin.asked;
        if self.asked.len() < POOL_MOST && asked.capacity() <= POOL_PIECE_MOST {
            asked.clear();
            self.asked.push(asked);
        }
    }
}

/// Folding starts here; below, duplicates cost less than looking for them.
const FOLD_FROM: usize = 1 << 16;

impl OpenBin {
    /// Rows of all kinds.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.tables.iter().flatten().map(|t| t.rows.len()).sum()
    }

    /// An empty bin.
    #[must_use]
    pub fn new(key: BinKey) -> Self {
        OpenBin {
            key,
            tables: Default::default(),
            asked: Vec::new(),
            level: 0,
            fold_at: FOLD_FROM,
            digested: 0,
            detailed: false,
            serial: next_serial(),
            saturated: false,
            told: Told::default(),
        }
    }

    /// The row of a client for a kind.
    #[inline(always)]
    pub fn row(&mut self, kind: Kind, client: u32) -> (usize, &mut Row) {
        let table = self.tables[kind as usize].get_or_insert_with(Default::default);
        let at = table.row_index(client);
        (at, &mut table.rows[at])
    }

    /// Writes a query down; whether it is time to fold.
    #[inline(always)]
    #[must_use]
    pub fn ask(
        &mut self,
        hash: u64,
        row: usize,
        query_type: QueryType,
        times: u32,
        (recent, hint): (&mut Recent, usize),
    ) -> bool {
        if self.level != 0 && !self.detailed && !name_kept(hash, self.level) {
            return false;
        }
        let mut left = times;
        loop {
            let now = left.min(ASKED_MOST);
            let asked = Asked {
                hash,
                row: row as u32,
                what: ((query_type as u32) << 28) | now,
            };
            left -= now;
            if self.asked.len() < BUSY_FROM || !recent.add(hint, self.serial, &mut self.asked, &asked) {
                self.asked.push(asked);
            }
            if left == 0 {
                break;
            }
        }
        self.asked.len() >= self.fold_at
    }

    /// The elements of `asked` have moved.
    pub fn moved(&mut self) {
        self.serial = next_serial();
    }

    /// Adds equal (name, client, type) together, and raises the level while more than `most` are left. The details
    /// must know all of them (see [`super::detail::Detail::digest`]).
    #[cold]
    pub fn fold(&mut self, most: usize) {
        // What was folded before is in order, and so may be the rest: a sort that looks for runs merges them.
        self.asked.sort_by_key(Asked::order);
        self.asked.dedup_by(|later, first| {
            let same = later.hash >> 32 == first.hash >> 32
                && later.row == first.row
                && later.what >> 28 == first.what >> 28;
            same && first.add(later)
        });
        let level = self.level;
        if level > 0 {
            self.asked.retain(|a| name_kept(a.hash, level));
        }
        while self.asked.len() > most.max(1) && self.level < 31 {
            self.level += 1;
            let level = self.level;
            let keep = self.asked.partition_point(|a| name_kept(a.hash, level));
            self.asked.truncate(keep);
        }
        self.fold_at = (self.asked.len() * 2).max(FOLD_FROM);
        self.digested = self.asked.len();
        self.moved();
    }

    /// Gives every row the number that its client has in another table; false, with nothing changed, where rows might
    /// come to share one.
    pub fn renumber(&mut self, mut adopt: impl FnMut(u32) -> u32) -> bool {
        let mut there = Vec::new();
        for row in self.tables.iter().flatten().flat_map(|t| &t.rows) {
            let client = adopt(row.client);
            if client != row.client && (client == SHED || client == NONE) {
                return false;
            }
            there.push(client);
        }
        let rows = self.tables.iter_mut().flatten().flat_map(|t| &mut t.rows);
        for (row, client) in rows.zip(there) {
            row.client = client;
        }
        self.forget_slots();
        true
    }

    /// The rows' numbers have changed.
    pub fn forget_slots(&mut self) {
        for table in self.tables.iter_mut().flatten() {
            table.slots = Vec::new();
        }
    }

    /// Adds a later part of the same bin, counted by a worker with another client table, of whose clients `adopt`
    /// gives the number here.
    pub fn absorb(&mut self, other: OpenBin, mut adopt: impl FnMut(u32) -> u32, most: usize) {
        self.saturated |= other.saturated;
        let mut map: Vec<u32> = Vec::new();
        for (kind, table) in Kind::ALL.iter().zip(other.tables) {
            let Some(table) = table else { continue };
            for row in &table.rows {
                let (at, sum) = self.row(*kind, adopt(row.client));
                let mut saturated = false;
                for (to, from) in [(&mut sum.count, row.count), (&mut sum.recipients, row.recipients)]
                    .into_iter()
                    .chain(sum.types.iter_mut().zip(row.types))
                {
                    let (value, over) = to.overflowing_add(from);
                    *to = if over { u32::MAX } else { value };
                    saturated |= over;
                }
                self.saturated |= saturated;
                if *kind == Kind::DnsQuery {
                    map.push(at as u32);
                }
            }
        }
        self.level = self.level.max(other.level);
        let level = self.level;
        self.asked.retain(|a| name_kept(a.hash, level));
        self.asked.extend(
            other
                .asked
                .iter()
                .filter(|a| name_kept(a.hash, level))
                .filter_map(|a| map.get(a.row as usize).map(|&row| Asked { row, ..*a })),
        );
        // Both parts have been digested: what is here stands in front, in order.
        self.fold(most);
    }
}

/// Whether a name is kept at a level.
#[inline(always)]
#[must_use]
pub const fn name_kept(hash: u64, level: u8) -> bool {
    super::summary::kept((hash >> 32) as u32, level)
}
