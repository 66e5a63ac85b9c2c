//! Details: the tables of hours and of ten minutes that detectors read beside the per-minute ones.
//!
//! [`Detail`] is fed by the worker if [`Options::details`] is on; otherwise nothing of this runs. Each event is
//! *read* once ([`Detail::read`]: texts become numbers) and *counted* as often as it happened ([`Detail::count`]),
//! which is what repeated, held and cancelled lines need. The names of DNS queries are not counted line by line:
//! bins write them down anyway, and [`Detail::digest`] takes them from there many at a time, equal ones added up.
//!
//! Rows are gathered in cells of [`Options::detail_minutes`] of a stream's clock and segment. A cell is so
//! short that all of its minutes lie in one UTC hour whatever the zone (15 minutes; an hour where all zones
//! differ from UTC by whole hours; a third or a sixth of that for bins of ten minutes), so that cells become
//! hours when the file's zone and year are known ([`Detail::tables`]). Joining the cells of neighbouring parts gives those of the whole: rows are sums,
//! mergeable summaries, and, where the order of lines matters, the first and the last of each part.
//!
//! Bounds: see [`Limits`](super::Limits). Where a cell has more rows than allowed the lighter half goes and its
//! events are counted as shed; a row that is heavy throughout is never among them. Only then can the rows
//! depend on how a file was split. A zone whose offset is no multiple of 15 minutes puts a line in the hour
//! of its cell's first minute.

pub mod account;
pub mod batch;
pub mod cells;
pub mod client_domain;
pub mod client_names;
pub mod counts;
pub mod domain;
pub mod drop_target;
pub mod likely;
pub mod live;
pub mod look;
pub mod names;
pub mod origin;
pub mod ptr_target;
pub mod target;

use std::collections::BTreeMap;
use std::hash::Hash;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use hashbrown::HashMap;

use account::{Account, Part};
use cells::Cells;
use client_domain::{Pair, PairHour};
use client_names::Looked;
use domain::Ten;
use drop_target::{ALL_PORTS, Drops};
use look::{Look, Looks};
use names::Names;
use target::{Address, Target};

use super::bins::{ASKED_MOST, Asked, BinKey, OpenBin};
use super::hash::name_hash;
use super::intern::{Interner, NONE};
pub use super::table::Place;
use super::{Limits, Options};
use crate::domain::Suffixes;
use crate::error::Result;
use crate::event::{Event, Kind, QueryType};

/// Rows of a cell by their key. Keys are chosen by clients, so the hash is seeded.
pub type ByKey<K, V> = HashMap<K, V, foldhash::quality::RandomState>;

/// Rows of bins.
pub type Binned<K, V> = Vec<(Place, ByKey<K, V>)>;

/// Names of the tables, in the order of [`Detail::tables`].
pub const TABLES: [&str; 6] = [
    "account_activity",
    "ptr_target",
    "drop_target",
    "domain",
    "client_domain",
    "client_names",
];

/// Schemas of the tables, in the order of [`TABLES`].
#[must_use]
pub fn schemas() -> [SchemaRef; TABLES.len()] {
    [
        account::schema(),
        ptr_target::schema(),
        drop_target::schema(),
        domain::schema(),
        client_domain::schema(),
        client_names::schema(),
    ]
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
    /// Rows of `domain` in a cell.
    pub domain_rows: usize,
    /// Rows of `client_domain` in a cell while it grows.
    pub client_domains: usize,
    /// Rows of `client_domain` in a cell that is complete, and of an hour and server.
    pub client_domain_rows: usize,
}

impl Sizes {
    fn new(limits: &Limits) -> Self {
        Sizes {
            set: limits.client_summary_size,
            ptr_targets: limits.ptr_targets,
            drop_targets: limits.drop_targets,
            domain_rows: limits.domain_rows,
            client_domains: limits.client_domains,
            client_domain_rows: limits.client_domain_rows,
        }
    }
}

impl Default for Sizes {
    fn default() -> Self {
        Sizes::new(&Limits::default())
    }
}

/// An event as the details count it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Query {
    /// What the name looks like; none where the line tells no name.
    pub look: Option<Look>,
    /// The address that it asks for in reverse.
    ptr: Option<Address>,
}

/// The rows of a cell.
#[derive(Default, serde::Serialize, serde::Deserialize)]
struct Hour {
    accounts: ByKey<u32, Account>,
    ptr: ByKey<u32, Target>,
    drops: ByKey<(u32, u32), Drops>,
    pairs: ByKey<(u32, u32), Pair>,
    looked: ByKey<u32, Looked>,
}

/// The rows of an hour.
#[derive(Default)]
struct Sums {
    accounts: ByKey<u32, Account>,
    ptr: ByKey<u32, Target>,
    drops: ByKey<(u32, u32), Drops>,
    pairs: ByKey<(u32, u32), PairHour>,
    looked: ByKey<u32, Looked>,
}

/// What rows ended with before a cell.
struct Before<'a> {
    ptr: &'a dyn Fn(u32) -> Option<u32>,
    drops: &'a dyn Fn((u32, u32)) -> Option<u32>,
    pairs: &'a dyn Fn((u32, u32)) -> Option<i64>,
}

impl Sums {
    /// Adds a cell whose first minute is this.
    fn add(&mut self, cell: &Hour, first: i64, before: &Before<'_>, sizes: &Sizes) {
        for (key, row) in &cell.accounts {
            self.accounts.entry(*key).or_default().absorb(row, sizes);
        }
        for (key, row) in &cell.ptr {
            let sum = self.ptr.entry(*key).or_default();
            let mut row = row.clone();
            row.bridge((before.ptr)(*key));
            sum.add(&row, sizes);
        }
        for (key, row) in &cell.drops {
            let sum = self.drops.entry(*key).or_default();
            let mut row = row.clone();
            row.target.bridge((before.drops)(*key));
            sum.add(&row, sizes);
        }
        for (key, row) in &cell.pairs {
            let sum = self.pairs.entry(*key).or_default();
            sum.add(row, first, (before.pairs)(*key));
        }
        for (key, row) in &cell.looked {
            self.looked.entry(*key).or_default().absorb(row);
        }
    }

    /// Keeps the heaviest pairs.
    fn lighten_pairs(&mut self, keep: usize, clients: &Interner, domains: &Names, shed: &mut Shed) {
        let gone = lighten(&mut self.pairs, keep, |k, v| {
            (v.count, clients.known(k.0).hash ^ domains.stable_hash(k.1))
        });
        add_shed(shed, "client_domain_rows", gone);
    }
}

/// The details of one worker.
pub struct Detail {
    sizes: Sizes,
    suffixes: Arc<Suffixes>,
    accounts: Names,
    domains: Names,
    looks: Looks,
    hours: Cells<Hour>,
    tens: Cells<Ten>,
    /// The last event of each stream, for repetitions.
    last: Vec<Option<Detailed>>,
    shed: Shed,
    carry: live::Carry,
    /// Scratch of [`Detail::digest`].
    pairs: Vec<Asks>,
}

/// Queries of one client for one name, on their way to the row of a pair.
#[derive(Clone, Copy)]
struct Asks {
    /// Client and domain.
    pair: u64,
    name: u32,
    query_type: QueryType,
    look: Look,
    times: u32,
}

/// Weight of what went with each bound.
type Shed = BTreeMap<&'static str, u64>;

impl Detail {
    /// Nothing counted yet.
    #[must_use]
    pub fn new(options: &Options, limits: &Limits) -> Self {
        let minutes = if options.detail_minutes == 60 { 60 } else { 15 };
        Detail {
            sizes: Sizes::new(limits),
            suffixes: options.suffixes.clone(),
            accounts: Names::new(limits.accounts),
            domains: Names::new(limits.domains),
            looks: Looks::default(),
            hours: Cells::new(minutes),
            // Cells of five minutes lie in one bin of ten for any offset of whole quarters.
            tens: Cells::new(if minutes == 60 { 10 } else { 5 }),
            last: Vec::new(),
            shed: Shed::new(),
            carry: live::Carry::default(),
            pairs: Vec::new(),
        }
    }

    /// Rows held in all cells.
    #[must_use]
    pub fn held(&self) -> usize {
        let of_hour =
            |h: &Hour| h.accounts.len() + h.ptr.len() + h.drops.len() + h.pairs.len() + h.looked.len();
        self.hours.each().map(of_hour).sum::<usize>() + self.tens.each().map(Ten::held).sum::<usize>()
    }

    /// What the tables need of an event, whose kind may have been changed by the counter.
    pub fn read(&mut self, event: &Event<'_>, kind: Kind) -> Detailed {
        match kind {
            Kind::DnsQuery => {
                let hash = if event.name.is_empty() {
                    0
                } else {
                    name_hash(event.name).max(1)
                };
                Detailed::Query(self.query(event.name, hash, event.query_type))
            }
            Kind::FirewallDrop => Detailed::Drop(drop_target::address(event.target), event.port),
            _ => match Part::of(kind) {
                Some(part) if !event.account.is_empty() => {
                    Detailed::Account(self.accounts.id(event.account), part)
                }
                _ => Detailed::Nothing,
            },
        }
    }

    /// The same of a DNS query, given the hash of its name (0: none is told).
    #[inline]
    pub fn query(&mut self, name: &[u8], hash: u64, query_type: QueryType) -> Query {
        Query {
            look: (hash != 0).then(|| self.looks.at(name, hash, &self.suffixes, &mut self.domains)),
            ptr: (query_type == QueryType::Ptr)
                .then(|| ptr_target::address(name))
                .flatten(),
        }
    }

    /// Asks for the place of a name to be brought into the cache.
    #[inline(always)]
    pub fn prefetch(&self, hash: u64) {
        self.looks.prefetch(hash);
    }

    /// Whether every bin must be digested and [`Detail::forget_looks`] called before the next event is read.
    #[inline]
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.looks.is_full()
    }

    /// Forgets the names, after every bin was digested.
    pub fn forget_looks(&mut self) {
        self.looks.clear();
    }

    /// Knows again what an earlier event's name looks like: it is counted once more.
    pub fn recall(&mut self, hash: u64, event: Detailed) {
        if let Detailed::Query(Query { look: Some(look), .. }) = event
            && hash != 0
        {
            self.looks.put(hash, look);
        }
    }

    /// Takes the queries of a bin that it does not know yet, sorted and equal ones added up. `key`: where they are
    /// counted.
    #[inline(never)]
    pub fn digest(&mut self, key: BinKey, bin: &mut OpenBin, clients: &Interner) {
        if bin.digested == bin.asked.len() {
            return;
        }
        bin.moved();
        let Some(table) = &bin.tables[Kind::DnsQuery as usize] else {
            return;
        };
        let Some(tail) = bin.asked.get_mut(bin.digested..).filter(|t| !t.is_empty()) else {
            return;
        };
        tail.sort_unstable_by_key(Asked::order);
        let mut kept = 0;
        for at in 1..tail.len() {
            let next = tail[at];
            let first = &mut tail[kept];
            if next.order() != first.order() || !first.add(&next) {
                kept += 1;
                tail[kept] = next;
            }
        }
        let all = bin.digested + kept + 1;
        bin.asked.truncate(all);
        let tail = bin.asked.get(bin.digested..).unwrap_or_default();
        bin.digested = all;
        let (sizes, domains, shed) = (&self.sizes, &self.domains, &mut self.shed);
        let ten = self.tens.at(key, |ten| ten.fold(sizes, domains, shed));
        self.pairs.clear();
        let (mut hash, mut look) = (0, Look::default());
        for asked in tail {
            if asked.hash != hash {
                hash = asked.hash;
                // Every name of a tail is remembered: the table is emptied only when there are no tails.
                look = self.looks.get(hash).unwrap_or_default();
            }
            let client = table.rows.get(asked.row as usize).map_or(NONE, |row| row.client);
            let (name, times) = ((hash >> 32) as u32, asked.what & ASKED_MOST);
            let query_type = QueryType::ALL
                .get((asked.what >> 28) as usize)
                .copied()
                .unwrap_or_default();
            if ten.count(look.domain, query_type, name, hash_of(clients, client), times) {
                ten.fold(sizes, domains, shed);
            }
            self.pairs.push(Asks {
                pair: u64::from(client) << 32 | u64::from(look.domain),
                name,
                query_type,
                look,
                times,
            });
        }
        self.pairs.sort_unstable_by_key(|p| p.pair);
        let minute = key.minute.rem_euclid(self.hours.minutes()) as u32;
        let hour = self
            .hours
            .at(key, |hour| hour.cool(sizes, clients, domains, shed));
        for pair in self.pairs.chunk_by(|a, b| a.pair == b.pair) {
            let id = pair.first().map_or(0, |p| p.pair);
            let row = hour.pairs.entry(((id >> 32) as u32, id as u32)).or_default();
            for asks in pair {
                row.count(minute, asks.name, asks.look, u64::from(asks.times));
            }
            for asks in pair.iter().filter(|a| Looked::concerns(a.look, a.query_type)) {
                let domain = (domains.stable_hash(asks.look.domain) >> 32) as u32;
                let row = hour.looked.entry((id >> 32) as u32).or_default();
                row.count(asks.name, domain, asks.look, asks.query_type, asks.times);
                if hour.looked.len() > sizes.client_domains {
                    let keep = sizes.client_domains / 2;
                    let gone = lighten(&mut hour.looked, keep, |k, v| (v.count, clients.known(*k).hash));
                    add_shed(shed, "client_domains", gone);
                }
            }
            if hour.pairs.len() > sizes.client_domains {
                hour.lighten_pairs(sizes.client_domains / 2, "client_domains", clients, domains, shed);
            }
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

    /// Counts an event `times` times in the cells of this minute; of a DNS query only what it asks for in reverse.
    pub fn count(&mut self, key: BinKey, client: u32, clients: &Interner, event: Detailed, times: u32) {
        let nothing = match event {
            Detailed::Nothing => true,
            Detailed::Query(query) => query.ptr.is_none(),
            _ => false,
        };
        if nothing || times == 0 {
            return;
        }
        let sizes = &self.sizes;
        let (domains, shed) = (&self.domains, &mut self.shed);
        let hour = self
            .hours
            .at(key, |hour| hour.cool(sizes, clients, domains, shed));
        match event {
            Detailed::Nothing => {}
            Detailed::Account(id, part) => {
                let row = hour.accounts.entry(id).or_default();
                row.count(
                    part,
                    account::place_of(clients, client),
                    account::times(times),
                    sizes,
                );
            }
            Detailed::Query(query) => {
                if query.ptr.is_some() {
                    let row = hour.ptr.entry(client).or_default();
                    row.count(query.ptr, times, sizes);
                    if hour.ptr.len() > sizes.ptr_targets {
                        let keep = sizes.ptr_targets / 2;
                        let gone = lighten(&mut hour.ptr, keep, |k, v| (v.count, clients.known(*k).hash));
                        add_shed(shed, "ptr_targets", gone);
                    }
                }
            }
            Detailed::Drop(address, port) => {
                let row = hour.drops.entry((client, ALL_PORTS)).or_default();
                row.count(address, Some(port), times, sizes);
                let row = hour.drops.entry((client, u32::from(port))).or_default();
                row.count(address, None, times, sizes);
                if hour.drops.len() > sizes.drop_targets {
                    let keep = sizes.drop_targets / 2;
                    let gone = lighten(&mut hour.drops, keep, |k, v| {
                        (v.target.count, clients.known(k.0).hash ^ u64::from(k.1))
                    });
                    add_shed(shed, "drop_targets", gone);
                }
            }
        }
    }

    /// Takes one counted event back. Only events that a later line can cancel (logins, accepted messages) are.
    pub fn take_back(&mut self, key: BinKey, client: u32, clients: &Interner, event: Detailed) {
        let Detailed::Account(id, part) = event else {
            return;
        };
        let row = self.hours.at(key, |_| ()).accounts.entry(id).or_default();
        row.count(part, account::place_of(clients, client), -1, &self.sizes);
    }

    /// The name of an account, given its number.
    #[must_use]
    pub fn account(&self, id: u32) -> &str {
        self.accounts.text(id)
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
            domains: self.domains.adopt(&later.domains),
        };
        for (name, n) in later.shed {
            add_shed(&mut self.shed, name, n);
        }
        let sizes = &self.sizes;
        for (from, cell) in later.hours.into_ordered() {
            let key = moved(from);
            let mine = self.hours.at(key, |_| ());
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
            for ((client, domain), row) in cell.pairs {
                let pair = (adopt(client), translation.domain(domain));
                mine.pairs.entry(pair).or_default().add(&row);
            }
            for (client, row) in cell.looked {
                mine.looked.entry(adopt(client)).or_default().absorb(&row);
            }
        }
        for (from, cell) in later.tens.into_ordered() {
            let mine = self.tens.at(moved(from), |_| ());
            mine.absorb(cell, |domain| translation.domain(domain));
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

    /// The tables, in the order of [`TABLES`], and the events that went with a bound, by its name. `place`
    /// tells where a bin stands in time.
    ///
    /// # Errors
    /// [`crate::error::Error::Table`] if columns do not fit together, which would be a bug.
    pub fn tables(
        mut self,
        clients: &Interner,
        source: u32,
        place: impl Fn(BinKey) -> Place,
    ) -> Result<([RecordBatch; TABLES.len()], Shed)> {
        let sizes = &self.sizes;
        let mut hours: BTreeMap<Place, Sums> = BTreeMap::new();
        let mut ptr: ByKey<u32, u32> = ByKey::default();
        let mut drops: ByKey<(u32, u32), u32> = ByKey::default();
        let mut pairs: ByKey<(u32, u32), i64> = ByKey::default();
        let mut stream = None;
        let minutes = self.hours.minutes();
        for (key, cell) in self.hours.into_ordered() {
            if stream != Some(key.stream) {
                stream = Some(key.stream);
                ptr.clear();
                drops.clear();
                pairs.clear();
            }
            let first = key.minute.div_euclid(minutes) * minutes;
            let sum = hours.entry(place(key).floor(3600)).or_default();
            let before = Before {
                ptr: &|k| ptr.get(&k).copied(),
                drops: &|k| drops.get(&k).copied(),
                pairs: &|k| pairs.get(&k).copied(),
            };
            sum.add(&cell, first, &before, sizes);
            ptr.extend(cell.ptr.iter().filter_map(|(k, r)| Some((*k, r.last()?))));
            drops.extend(
                cell.drops
                    .iter()
                    .filter_map(|(k, r)| Some((*k, r.target.last()?))),
            );
            pairs.extend(cell.pairs.iter().filter_map(|(k, r)| Some((*k, r.last(first)?))));
        }
        let mut ten_cells: Vec<(Place, Ten)> = self
            .tens
            .into_ordered()
            .map(|(key, cell)| (place(key).floor(600), cell))
            .collect();
        let mut tens: BTreeMap<Place, Vec<&Ten>> = BTreeMap::new();
        for (place, cell) in &mut ten_cells {
            cell.fold(sizes, &self.domains, &mut self.shed);
            tens.entry(*place).or_default().push(cell);
        }
        let (mut accounts, mut ptr, mut drops) = (Vec::new(), Vec::new(), Vec::new());
        let (mut pairs, mut looked) = (Vec::new(), Vec::new());
        for (place, mut hour) in hours {
            hour.lighten_pairs(sizes.client_domain_rows, clients, &self.domains, &mut self.shed);
            accounts.push((place, hour.accounts));
            ptr.push((place, hour.ptr));
            drops.push((place, hour.drops));
            pairs.push((place, hour.pairs));
            looked.push((place, hour.looked));
        }
        add_shed(&mut self.shed, "accounts", self.accounts.shed);
        add_shed(&mut self.shed, "domains", self.domains.shed);
        let tables = [
            account::rows(accounts, &self.accounts, source, sizes, false)?,
            ptr_target::rows(ptr, clients, source, sizes)?,
            drop_target::rows(drops, clients, source, sizes)?,
            domain::rows(tens.into_iter(), &self.domains, source, sizes, &mut self.shed)?,
            client_domain::rows(pairs, clients, &self.domains, source)?,
            client_names::rows(looked, clients, source)?,
        ];
        Ok((tables, self.shed))
    }
}

impl Hour {
    /// Gives back the memory that only a growing cell needs.
    fn cool(&mut self, sizes: &Sizes, clients: &Interner, domains: &Names, shed: &mut Shed) {
        self.accounts.values_mut().for_each(|row| row.cool(sizes));
        self.ptr.values_mut().for_each(|row| row.targets.cool(sizes.set));
        self.drops.values_mut().for_each(|row| row.cool(sizes));
        self.lighten_pairs(
            sizes.client_domain_rows,
            "client_domain_rows",
            clients,
            domains,
            shed,
        );
        self.pairs.values_mut().for_each(Pair::cool);
        self.pairs.shrink_to_fit();
        self.looked.values_mut().for_each(Looked::cool);
        self.looked.shrink_to_fit();
    }

    /// Keeps the heaviest pairs.
    #[cold]
    fn lighten_pairs(
        &mut self,
        keep: usize,
        bound: &'static str,
        clients: &Interner,
        domains: &Names,
        shed: &mut Shed,
    ) {
        let gone = lighten(&mut self.pairs, keep, |k, v| {
            (v.count, clients.known(k.0).hash ^ domains.stable_hash(k.1))
        });
        add_shed(shed, bound, gone);
    }
}

/// Numbers of a later part under those of the part that it joined.
pub struct Translation {
    accounts: Vec<u32>,
    domains: Vec<u32>,
}

impl Translation {
    fn account(&self, id: u32) -> u32 {
        self.accounts.get(id as usize).copied().unwrap_or(names::SHED)
    }

    fn domain(&self, id: u32) -> u32 {
        self.domains.get(id as usize).copied().unwrap_or(names::SHED)
    }

    /// The later part's event as one of this part.
    #[must_use]
    pub fn event(&self, event: Detailed) -> Detailed {
        match event {
            Detailed::Account(id, part) => Detailed::Account(self.account(id), part),
            Detailed::Query(query) => Detailed::Query(Query {
                look: query.look.map(|look| Look {
                    domain: self.domain(look.domain),
                    ..look
                }),
                ..query
            }),
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

fn add_shed(shed: &mut Shed, name: &'static str, n: u64) {
    if n > 0 {
        *shed.entry(name).or_default() += n;
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
