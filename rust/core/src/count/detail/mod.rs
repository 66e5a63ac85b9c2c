//! Details: the tables of hours and of ten minutes that detectors read beside the per-minute ones.
//!
//! [`Detail`] is fed by the worker with each event once its client is known, if [`Options::details`] is
//! on; otherwise nothing of this runs. Each event is *read* once ([`Detail::read`]: texts become numbers)
//! and *counted* as often as it happened ([`Detail::count`]), which is what repeated, held and cancelled
//! lines need.
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
use client_domain::Pair;
use client_names::Looked;
use domain::Ten;
use drop_target::{ALL_PORTS, Drops};
use look::{Look, Looks};
use names::Names;
use target::{Address, Target};

use super::bins::BinKey;
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
    /// Upper half of the name's hash.
    name: u32,
    /// What the name looks like; none where the line tells no name.
    look: Option<Look>,
    query_type: QueryType,
    /// The address that it asks for in reverse.
    ptr: Option<Address>,
}

/// The rows of an hour.
#[derive(Default)]
struct Hour {
    accounts: ByKey<u32, Account>,
    ptr: ByKey<u32, Target>,
    drops: ByKey<(u32, u32), Drops>,
    pairs: ByKey<(u32, u32), Pair>,
    looked: ByKey<u32, Looked>,
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
        }
    }

    /// What the tables need of an event, whose kind may have been changed by the counter.
    pub fn read(&mut self, event: &Event<'_>, kind: Kind) -> Detailed {
        match kind {
            Kind::DnsQuery => {
                let hash = name_hash(event.name).max(1);
                Detailed::Query(Query {
                    name: (hash >> 32) as u32,
                    look: (!event.name.is_empty())
                        .then(|| self.looks.at(event.name, hash, &self.suffixes, &mut self.domains)),
                    query_type: event.query_type,
                    ptr: (event.query_type == QueryType::Ptr)
                        .then(|| ptr_target::address(event.name))
                        .flatten(),
                })
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

    /// Counts an event `times` times in the cells of this minute.
    pub fn count(&mut self, key: BinKey, client: u32, clients: &Interner, event: Detailed, times: u32) {
        if event == Detailed::Nothing || times == 0 {
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
                let Some(look) = query.look else { return };
                let row = hour.pairs.entry((client, look.domain)).or_default();
                row.count(key.minute, query.name, look, times);
                if hour.pairs.len() > sizes.client_domains {
                    hour.lighten_pairs(sizes.client_domains / 2, "client_domains", clients, domains, shed);
                }
                if Looked::concerns(look, query.query_type) {
                    let domain = (domains.stable_hash(look.domain) >> 32) as u32;
                    let row = hour.looked.entry(client).or_default();
                    row.count(query.name, domain, look, query.query_type, times);
                    if hour.looked.len() > sizes.client_domains {
                        let keep = sizes.client_domains / 2;
                        let gone = lighten(&mut hour.looked, keep, |k, v| (v.count, clients.known(*k).hash));
                        add_shed(shed, "client_domains", gone);
                    }
                }
                let ten = self.tens.at(key, |ten| ten.fold(sizes, domains, shed));
                let who = hash_of(clients, client);
                if ten.count(look.domain, query.query_type, query.name, who, times) {
                    ten.fold(sizes, domains, shed);
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
                let shift = key.minute - from.minute;
                mine.pairs.entry(pair).or_default().join(&row, shift);
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
        bridge(&mut self.hours);
        let mut hours: BTreeMap<Place, Hour> = BTreeMap::new();
        for (key, cell) in self.hours.into_ordered() {
            let sum = hours.entry(place(key).floor(3600)).or_default();
            merge(&mut sum.accounts, cell.accounts, |a, b| a.absorb(b, sizes));
            merge(&mut sum.ptr, cell.ptr, |a, b| a.add(b, sizes));
            merge(&mut sum.drops, cell.drops, |a, b| a.add(b, sizes));
            merge(&mut sum.pairs, cell.pairs, Pair::add);
            merge(&mut sum.looked, cell.looked, Looked::absorb);
        }
        let mut tens: BTreeMap<Place, Vec<Ten>> = BTreeMap::new();
        for (key, cell) in self.tens.into_ordered() {
            tens.entry(place(key).floor(600)).or_default().push(cell);
        }
        let (mut accounts, mut ptr, mut drops) = (Vec::new(), Vec::new(), Vec::new());
        let (mut pairs, mut looked) = (Vec::new(), Vec::new());
        for (place, mut hour) in hours {
            let most = sizes.client_domain_rows;
            hour.lighten_pairs(most, "client_domain_rows", clients, &self.domains, &mut self.shed);
            accounts.push((place, hour.accounts));
            ptr.push((place, hour.ptr));
            drops.push((place, hour.drops));
            pairs.push((place, hour.pairs));
            looked.push((place, hour.looked));
        }
        add_shed(&mut self.shed, "accounts", self.accounts.shed);
        add_shed(&mut self.shed, "domains", self.domains.shed);
        let tables = [
            account::rows(accounts, &self.accounts, source, sizes)?,
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

/// Adds what lies between the last event of a row in one cell and its first in a later one of its stream.
fn bridge(hours: &mut Cells<Hour>) {
    let mut ptr: ByKey<u32, u32> = ByKey::default();
    let mut drops: ByKey<(u32, u32), u32> = ByKey::default();
    let mut pairs: ByKey<(u32, u32), i64> = ByKey::default();
    let mut stream = None;
    hours.each_ordered(|now, hour| {
        if stream != Some(now) {
            stream = Some(now);
            ptr.clear();
            drops.clear();
            pairs.clear();
        }
        for (key, row) in &mut hour.ptr {
            if let Some(last) = row.bridge(ptr.get(key).copied()) {
                ptr.insert(*key, last);
            }
        }
        for (key, row) in &mut hour.drops {
            if let Some(last) = row.target.bridge(drops.get(key).copied()) {
                drops.insert(*key, last);
            }
        }
        for (key, row) in &mut hour.pairs {
            if let Some(last) = row.bridge(pairs.get(key).copied()) {
                pairs.insert(*key, last);
            }
        }
    });
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
