//! Details: the tables of hours and of ten minutes that detectors read beside the per-minute ones.
//!
//! [`Detail`] is fed by the worker with each event once its client is known, if [`Options::details`] is
//! on; otherwise nothing of this runs. Each event is *read* once ([`Detail::read`]: texts become numbers)
//! and *counted* as often as it happened ([`Detail::count`]), which is what repeated, held and cancelled
//! lines need.
//!
//! Rows are gathered in cells of [`Options::detail_minutes`] of a stream's clock and segment. A cell is so
//! short that all of its minutes lie in one UTC hour whatever the zone (15 minutes; an hour where all zones
//! differ from UTC by whole hours), so that cells become hours when the file's zone and year are known
//! ([`Detail::tables`]). Joining the cells of neighbouring parts gives those of the whole: rows are sums,
//! mergeable summaries, and, where the order of lines matters, the first and the last of each part.
//!
//! Bounds: see [`Limits`](super::Limits). Where a cell has more rows than allowed the lighter half goes and its
//! events are counted as shed; a row that is heavy throughout is never among them. Only then can the rows
//! depend on how a file was split. A zone whose offset is no multiple of 15 minutes puts a line in the hour
//! of its cell's first minute.

pub mod account;
pub mod batch;
pub mod counts;
pub mod drop_target;
pub mod names;
pub mod origin;
pub mod ptr_target;
pub mod target;

use std::collections::BTreeMap;
use std::hash::Hash;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use hashbrown::HashMap;

use account::{Account, Part};
use drop_target::{ALL_PORTS, Drops};
use names::Names;
use target::{Address, Target};

use super::bins::BinKey;
use super::intern::{Interner, NONE};
pub use super::table::Place;
use super::{Limits, Options};
use crate::error::Result;
use crate::event::{Event, Kind, QueryType};

/// Rows of a cell by their key. Keys are chosen by clients, so the hash is seeded.
pub type ByKey<K, V> = HashMap<K, V, foldhash::quality::RandomState>;

/// Names of the tables, in the order of [`Detail::tables`].
pub const TABLES: [&str; 3] = ["account_activity", "ptr_target", "drop_target"];

/// Schemas of the tables, in the order of [`TABLES`].
#[must_use]
pub fn schemas() -> [SchemaRef; TABLES.len()] {
    [account::schema(), ptr_target::schema(), drop_target::schema()]
}

/// The bounds of the rows and of what each holds.
#[derive(Clone, Debug)]
pub struct Sizes {
    /// Items of a stored summary.
    pub set: usize,
    /// Rows of `ptr_target` in a cell.
    pub ptr_targets: usize,
    /// Rows of `drop_target` in a cell.
    pub drop_targets: usize,
}

impl Sizes {
    fn new(limits: &Limits) -> Self {
        Sizes {
            set: limits.client_summary_size,
            ptr_targets: limits.ptr_targets,
            drop_targets: limits.drop_targets,
        }
    }
}

impl Default for Sizes {
    fn default() -> Self {
        Sizes::new(&Limits::default())
    }
}

/// An event as the details count it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Detailed {
    /// No table of details counts it.
    #[default]
    Nothing,
    /// Something of an account.
    Account(u32, Part),
    /// A DNS query.
    Query(Query),
    /// A dropped packet, its destination and its port (0: not told).
    Drop(Option<Address>, u16),
}

/// A DNS query as the details count it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query {
    /// The address that it asks for in reverse.
    ptr: Option<Address>,
}

/// Stream, segment and cell of a clock.
type CellKey = (u32, u16, i64);

/// The rows of one cell.
#[derive(Default)]
struct Cell {
    /// The earliest minute of an event in it: where the cell stands in time.
    minute: Option<i64>,
    accounts: ByKey<u32, Account>,
    ptr: ByKey<u32, Target>,
    drops: ByKey<(u32, u32), Drops>,
    /// Nothing was added since its memory was given back.
    cool: bool,
}

/// Where the lines of a stream are counted now.
#[derive(Clone, Copy)]
struct Current {
    minute: i64,
    segment: u16,
    cell: usize,
}

/// Cells behind the newest of a stream that stay as they grow.
const WARM_CELLS: i64 = 2;

/// The details of one worker.
pub struct Detail {
    sizes: Sizes,
    minutes: i64,
    accounts: Names,
    cells: Vec<Cell>,
    index: BTreeMap<CellKey, usize>,
    current: Vec<Option<Current>>,
    /// The last event of each stream, for repetitions.
    last: Vec<Option<Detailed>>,
    shed: BTreeMap<&'static str, u64>,
}

impl Detail {
    /// Nothing counted yet.
    #[must_use]
    pub fn new(options: &Options, limits: &Limits) -> Self {
        Detail {
            sizes: Sizes::new(limits),
            minutes: options.detail_minutes.clamp(1, 60),
            accounts: Names::new(limits.accounts),
            cells: Vec::new(),
            index: BTreeMap::new(),
            current: Vec::new(),
            last: Vec::new(),
            shed: BTreeMap::new(),
        }
    }

    /// What the tables need of an event, whose kind may have been changed by the counter.
    pub fn read(&mut self, event: &Event<'_>, kind: Kind) -> Detailed {
        match kind {
            Kind::DnsQuery => Detailed::Query(Query {
                ptr: (event.query_type == QueryType::Ptr)
                    .then(|| ptr_target::address(event.name))
                    .flatten(),
            }),
            Kind::FirewallDrop => Detailed::Drop(drop_target::address(event.target), event.port),
            _ => match Part::of(kind) {
                Some(part) if !event.account.is_empty() => {
                    Detailed::Account(self.accounts.id(event.account), part)
                }
                _ => Detailed::Nothing,
            },
        }
    }

    /// Remembers the last event of a stream.
    pub fn set_last(&mut self, stream: u32, event: Detailed) {
        let at = stream as usize;
        if self.last.len() <= at {
            self.last.resize(at + 1, None);
        }
        self.last[at] = Some(event);
    }

    /// The last event of a stream.
    #[must_use]
    pub fn last(&self, stream: u32) -> Detailed {
        self.last
            .get(stream as usize)
            .copied()
            .flatten()
            .unwrap_or_default()
    }

    fn key(&self, key: BinKey) -> CellKey {
        (key.stream, key.segment, key.minute.div_euclid(self.minutes))
    }

    /// The cell of a minute, which is made if needed.
    fn cell(&mut self, key: BinKey) -> usize {
        let stream = key.stream as usize;
        if let Some(Some(now)) = self.current.get(stream)
            && now.minute == key.minute
            && now.segment == key.segment
        {
            return now.cell;
        }
        let place = self.key(key);
        let cells = &mut self.cells;
        let new = !self.index.contains_key(&place);
        let cell = *self.index.entry(place).or_insert_with(|| {
            cells.push(Cell::default());
            cells.len() - 1
        });
        let here = &mut self.cells[cell];
        here.minute = Some(here.minute.map_or(key.minute, |m| m.min(key.minute)));
        here.cool = false;
        if self.current.len() <= stream {
            self.current.resize(stream + 1, None);
        }
        self.current[stream] = Some(Current {
            minute: key.minute,
            segment: key.segment,
            cell,
        });
        if new {
            self.cool(place);
        }
        cell
    }

    /// Gives back memory of the cells that lie well behind a new one.
    #[cold]
    fn cool(&mut self, newest: CellKey) {
        let (stream, _, cell) = newest;
        let old: Vec<usize> = self
            .index
            .range((stream, 0, i64::MIN)..=(stream, u16::MAX, i64::MAX))
            .filter(|((_, _, c), _)| *c < cell - WARM_CELLS)
            .map(|(_, &at)| at)
            .collect();
        for at in old {
            let cell = &mut self.cells[at];
            if cell.cool {
                continue;
            }
            cell.cool = true;
            for row in cell.accounts.values_mut() {
                row.cool(&self.sizes);
            }
            for row in cell.ptr.values_mut() {
                row.targets.cool(self.sizes.set);
            }
            for row in cell.drops.values_mut() {
                row.cool(&self.sizes);
            }
        }
    }

    /// Counts an event `times` times in the cell of this minute.
    pub fn count(&mut self, key: BinKey, client: u32, clients: &Interner, event: Detailed, times: u32) {
        if event == Detailed::Nothing || times == 0 {
            return;
        }
        let at = self.cell(key);
        let cell = &mut self.cells[at];
        match event {
            Detailed::Nothing => {}
            Detailed::Account(id, part) => {
                let row = cell.accounts.entry(id).or_default();
                row.count(part, hash_of(clients, client), account::times(times), &self.sizes);
            }
            Detailed::Query(query) => {
                if query.ptr.is_some() {
                    let row = cell.ptr.entry(client).or_default();
                    row.count(query.ptr, times, &self.sizes);
                    if cell.ptr.len() > self.sizes.ptr_targets {
                        let keep = self.sizes.ptr_targets / 2;
                        let gone = lighten(&mut cell.ptr, keep, |k, v| (v.count, clients.known(*k).hash));
                        add_shed(&mut self.shed, "ptr_targets", gone);
                    }
                }
            }
            Detailed::Drop(address, port) => {
                let row = cell.drops.entry((client, ALL_PORTS)).or_default();
                row.count(address, Some(port), times, &self.sizes);
                let row = cell.drops.entry((client, u32::from(port))).or_default();
                row.count(address, None, times, &self.sizes);
                if cell.drops.len() > self.sizes.drop_targets {
                    let keep = self.sizes.drop_targets / 2;
                    let gone = lighten(&mut cell.drops, keep, |k, v| {
                        (v.target.count, clients.known(k.0).hash ^ u64::from(k.1))
                    });
                    add_shed(&mut self.shed, "drop_targets", gone);
                }
            }
        }
    }

    /// Takes one counted event back. Only events that a later line can cancel (logins, accepted messages) are.
    pub fn take_back(&mut self, key: BinKey, client: u32, clients: &Interner, event: Detailed) {
        let Detailed::Account(id, part) = event else {
            return;
        };
        let at = self.cell(key);
        let row = self.cells[at].accounts.entry(id).or_default();
        row.count(part, hash_of(clients, client), -1, &self.sizes);
    }

    /// Joins the part that follows. `moved` tells where its bins stand here and `adopt` the numbers of
    /// its clients; the answer translates its events.
    pub fn join(
        &mut self,
        later: Detail,
        moved: impl Fn(BinKey) -> BinKey,
        mut adopt: impl FnMut(u32) -> u32,
    ) -> Translation {
        let translation = Translation {
            accounts: self.accounts.adopt(&later.accounts),
        };
        for (name, n) in later.shed {
            add_shed(&mut self.shed, name, n);
        }
        let mut cells: Vec<Option<Cell>> = later.cells.into_iter().map(Some).collect();
        for ((stream, segment, _), at) in later.index {
            let Some(cell) = cells.get_mut(at).and_then(Option::take) else {
                continue;
            };
            let Some(minute) = cell.minute else { continue };
            let key = moved(BinKey {
                minute,
                segment,
                stream,
            });
            let mine = self.cell(key);
            let sizes = &self.sizes;
            let mine = &mut self.cells[mine];
            for (id, row) in cell.accounts {
                let id = translation.account(id);
                mine.accounts.entry(id).or_default().absorb(&row, sizes);
            }
            for (client, row) in cell.ptr {
                mine.ptr.entry(adopt(client)).or_default().join(&row, sizes);
            }
            for ((client, port), row) in cell.drops {
                let key = (adopt(client), port);
                mine.drops.entry(key).or_default().join(&row, sizes);
            }
        }
        for (stream, &event) in later.last.iter().enumerate() {
            if let Some(event) = event {
                let key = moved(BinKey {
                    minute: 0,
                    segment: 0,
                    stream: stream as u32,
                });
                self.set_last(key.stream, translation.event(event));
            }
        }
        translation
    }

    /// Events that went with a bound, by its name.
    #[must_use]
    pub fn shed(&self) -> BTreeMap<&'static str, u64> {
        let mut shed = self.shed.clone();
        add_shed(&mut shed, "accounts", self.accounts.shed);
        shed
    }

    /// The tables, in the order of [`TABLES`]. `place` tells where a bin stands in time.
    ///
    /// # Errors
    /// [`crate::error::Error::Table`] if columns do not fit together, which would be a bug.
    pub fn tables(
        mut self,
        clients: &Interner,
        source: u32,
        place: impl Fn(BinKey) -> Place,
    ) -> Result<[RecordBatch; TABLES.len()]> {
        let sizes = self.sizes.clone();
        self.bridge();
        let mut hours: BTreeMap<Place, Cell> = BTreeMap::new();
        let mut cells: Vec<Option<Cell>> = self.cells.into_iter().map(Some).collect();
        for ((stream, segment, _), at) in self.index {
            let Some(cell) = cells.get_mut(at).and_then(Option::take) else {
                continue;
            };
            let Some(minute) = cell.minute else { continue };
            let at = place(BinKey {
                minute,
                segment,
                stream,
            });
            let hour = Place {
                start: at.start.div_euclid(3600) * 3600,
                ..at
            };
            let Some(sum) = hours.get_mut(&hour) else {
                hours.insert(hour, cell);
                continue;
            };
            merge(&mut sum.accounts, cell.accounts, |a, b| a.absorb(b, &sizes));
            merge(&mut sum.ptr, cell.ptr, |a, b| a.add(b, &sizes));
            merge(&mut sum.drops, cell.drops, |a, b| a.add(b, &sizes));
        }
        let (mut accounts, mut ptr, mut drops) = (Vec::new(), Vec::new(), Vec::new());
        for (hour, cell) in hours {
            accounts.push((hour, cell.accounts));
            ptr.push((hour, cell.ptr));
            drops.push((hour, cell.drops));
        }
        Ok([
            account::rows(accounts, &self.accounts, source, &sizes)?,
            ptr_target::rows(ptr, clients, source, &sizes)?,
            drop_target::rows(drops, clients, source, &sizes)?,
        ])
    }

    /// Adds what lies between the last event of a row in one cell and its first in a later one.
    fn bridge(&mut self) {
        let mut ptr: ByKey<u32, u32> = ByKey::default();
        let mut drops: ByKey<(u32, u32), u32> = ByKey::default();
        let mut stream = None;
        for ((now, _, _), &at) in &self.index {
            if stream != Some(*now) {
                stream = Some(*now);
                ptr.clear();
                drops.clear();
            }
            let cell = &mut self.cells[at];
            for (key, row) in &mut cell.ptr {
                if let Some(last) = row.bridge(ptr.get(key).copied()) {
                    ptr.insert(*key, last);
                }
            }
            for (key, row) in &mut cell.drops {
                if let Some(last) = row.target.bridge(drops.get(key).copied()) {
                    drops.insert(*key, last);
                }
            }
        }
    }
}

/// Numbers of a later part under those of the part that it joined.
pub struct Translation {
    accounts: Vec<u32>,
}

impl Translation {
    fn account(&self, id: u32) -> u32 {
        self.accounts.get(id as usize).copied().unwrap_or(names::SHED)
    }

    /// The later part's event as one of this part.
    #[must_use]
    pub fn event(&self, event: Detailed) -> Detailed {
        match event {
            Detailed::Account(id, part) => Detailed::Account(self.account(id), part),
            other => other,
        }
    }
}

/// The upper half of a client's hash, 0 for none.
fn hash_of(clients: &Interner, client: u32) -> u32 {
    if client == NONE {
        0
    } else {
        (clients.known(client).hash >> 32) as u32
    }
}

fn add_shed(shed: &mut BTreeMap<&'static str, u64>, name: &'static str, n: u64) {
    if n > 0 {
        *shed.entry(name).or_default() += n;
    }
}

fn merge<K: Eq + Hash, V: Default>(into: &mut ByKey<K, V>, from: ByKey<K, V>, add: impl Fn(&mut V, &V)) {
    for (key, row) in from {
        match into.get_mut(&key) {
            Some(sum) => add(sum, &row),
            None => {
                into.insert(key, row);
            }
        }
    }
}

/// Keeps the `keep` heaviest rows (by weight, then by a hash that is the same everywhere); returns the
/// weight of those that went.
fn lighten<K: Eq + Hash, V>(rows: &mut ByKey<K, V>, keep: usize, rank: impl Fn(&K, &V) -> (u64, u64)) -> u64 {
    if rows.len() <= keep {
        return 0;
    }
    let mut ranks: Vec<(u64, u64)> = rows.iter().map(|(k, v)| rank(k, v)).collect();
    let keep = keep.max(1);
    let (_, &mut least, _) = ranks.select_nth_unstable_by(keep - 1, |a, b| b.cmp(a));
    let mut gone = 0;
    rows.retain(|k, v| {
        let here = rank(k, v);
        let stays = here >= least;
        if !stays {
            gone += here.0;
        }
        stays
    });
    gone
}
