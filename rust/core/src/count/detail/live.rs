//! Details of lines as they come: cells are told when their hour (or ten minutes) is over and again when they change,
//! let go an hour later, and kept over a restart.
//!
//! Keys are UTC here, so that cells lie in their bins whatever the zone. What an archive's rows take from the cell
//! before (the last target, the last minute asked) is looked up in the cells that are kept, and then in a *carry*:
//! what the cells that were let go ended with, for at most [`CARRY_MOST`] rows, the oldest half of which goes first.

use std::collections::{BTreeMap, BTreeSet};

use arrow_array::RecordBatch;

use super::cells::{Cell, CellKey, Cells};
use super::domain::Ten;
use super::names::Names;
use super::{
    Before, ByKey, Detail, Detailed, Hour, Look, Place, Query, Shed, Sums, TABLES, account, add_shed,
    client_domain, client_names, domain, drop_target, lighten, ptr_target,
};
use crate::count::hash::fold;
use crate::count::intern::Interner;
use crate::error::Result;

/// Rows whose end is remembered when their cell is let go (4 MiB).
const CARRY_MOST: usize = 1 << 17;

/// What rows ended with: by a hash of stream and key, with the number of the cell.
#[derive(Default)]
pub struct Carry {
    ends: ByKey<u64, (i64, i64)>,
}

impl Carry {
    fn put(&mut self, key: u64, end: i64, number: i64, shed: &mut Shed) {
        self.ends.insert(key, (end, number));
        if self.ends.len() > CARRY_MOST {
            let mut numbers: Vec<i64> = self.ends.values().map(|e| e.1).collect();
            let middle = numbers.len() / 2;
            let (_, &mut cut, _) = numbers.select_nth_unstable(middle);
            let before = self.ends.len();
            self.ends.retain(|_, e| e.1 > cut);
            add_shed(shed, "carried", (before - self.ends.len()) as u64);
        }
    }

    fn get(&self, key: u64) -> Option<i64> {
        self.ends.get(&key).map(|e| e.0)
    }
}

fn salt(key: CellKey, table: u64) -> u64 {
    fold(
        (u64::from(key.stream) << 24) ^ (u64::from(key.segment) << 8) ^ table,
        0x9e37_79b9_7f4a_7c15,
    )
}

fn ptr_key(salt: u64, client: u64) -> u64 {
    fold(client ^ salt, 0xd6e8_feb8_6659_fd93)
}

fn pair_key(salt: u64, client: u64, other: u64) -> u64 {
    fold(
        fold(client ^ salt, 0xd6e8_feb8_6659_fd93),
        other ^ 0xa076_1d64_78bd_642f,
    )
}

/// What streams are to the details.
pub struct Streams<'a> {
    /// The number of a stream's server.
    pub server: &'a dyn Fn(u32) -> u32,
    /// The watermark of a server: seconds.
    pub watermark: &'a dyn Fn(u32) -> i64,
}

/// Tables of the bins proper (0) or of a late set; servers are told by their number in the worker.
pub struct Told {
    /// The late set.
    pub set: u16,
    /// In the order of [`TABLES`].
    pub tables: [RecordBatch; TABLES.len()],
    /// Bins in them.
    pub bins: usize,
}

/// Late set, server, first minute of the bin.
type Bin = (u16, u32, i64);

impl Detail {
    /// Tells the bins that are over by the watermarks, those told before that have changed if `again`, and with `all`
    /// every bin that has changed.
    ///
    /// # Errors
    /// [`crate::error::Error::Table`] if columns do not fit together, which would be a bug.
    pub fn round(
        &mut self,
        streams: &Streams<'_>,
        clients: &Interner,
        again: bool,
        all: bool,
    ) -> Result<Vec<Told>> {
        let due = |set: u16, server: u32, end: i64, told: bool| {
            let _ = set;
            all || if told {
                again
            } else {
                (streams.watermark)(server) >= end * 60
            }
        };
        let hours = changed(&self.hours, 60, streams, due);
        let tens = changed(&self.tens, 10, streams, due);
        self.tell(&hours, &tens, streams, clients)
    }

    /// Lets cells go whose bin `gone` says is gone (late set, server, end in minutes); what has changed in them is
    /// told before.
    ///
    /// # Errors
    /// As [`Detail::round`].
    pub fn let_go(
        &mut self,
        streams: &Streams<'_>,
        clients: &Interner,
        gone: &dyn Fn(u16, u32, i64) -> bool,
    ) -> Result<Vec<Told>> {
        let going = |set: u16, server: u32, end: i64, _: bool| gone(set, server, end);
        let hours = changed(&self.hours, 60, streams, going);
        let tens = changed(&self.tens, 10, streams, going);
        let told = self.tell(&hours, &tens, streams, clients)?;
        let over = |key: &CellKey, minutes: i64, bin: i64| {
            let first = (key.number * minutes).div_euclid(bin) * bin;
            gone(key.segment, (streams.server)(key.stream), first + bin)
        };
        let minutes = self.hours.minutes();
        let old: Vec<CellKey> = self
            .hours
            .iter()
            .map(|(key, _)| key)
            .filter(|key| over(key, minutes, 60))
            .collect();
        for key in old {
            let Some(cell) = self.hours.remove(key) else {
                continue;
            };
            self.carry_on(key, &cell, clients);
        }
        let minutes = self.tens.minutes();
        let old: Vec<CellKey> = self
            .tens
            .iter()
            .map(|(key, _)| key)
            .filter(|key| over(key, minutes, 10))
            .collect();
        for key in old {
            self.tens.remove(key);
        }
        Ok(told)
    }

    fn carry_on(&mut self, key: CellKey, cell: &Hour, clients: &Interner) {
        let first = key.number * self.hours.minutes();
        let hash = |client: u32| clients.known(client).hash;
        let salts = [salt(key, 1), salt(key, 2), salt(key, 3)];
        for (client, row) in &cell.ptr {
            if let Some(end) = row.last() {
                let at = ptr_key(salts[0], hash(*client));
                self.carry.put(at, i64::from(end), key.number, &mut self.shed);
            }
        }
        for ((client, port), row) in &cell.drops {
            if let Some(end) = row.target.last() {
                let at = pair_key(salts[1], hash(*client), u64::from(*port));
                self.carry.put(at, i64::from(end), key.number, &mut self.shed);
            }
        }
        for ((client, domain), row) in &cell.pairs {
            if let Some(end) = row.last(first) {
                let at = pair_key(salts[2], hash(*client), self.domains.stable_hash(*domain));
                self.carry.put(at, end, key.number, &mut self.shed);
            }
        }
    }

    fn tell(
        &mut self,
        hours: &BTreeSet<Bin>,
        tens: &BTreeSet<Bin>,
        streams: &Streams<'_>,
        clients: &Interner,
    ) -> Result<Vec<Told>> {
        let sets: BTreeSet<u16> = hours.iter().chain(tens).map(|b| b.0).collect();
        let mut told = Vec::with_capacity(sets.len());
        for set in sets {
            told.push(self.tell_set(set, hours, tens, streams, clients)?);
        }
        Ok(told)
    }

    fn tell_set(
        &mut self,
        set: u16,
        hours: &BTreeSet<Bin>,
        tens: &BTreeSet<Bin>,
        streams: &Streams<'_>,
        clients: &Interner,
    ) -> Result<Told> {
        let source = u32::from(set);
        let place = |bin: &Bin| Place {
            start: bin.2 * 60,
            server: bin.1,
        };
        let mut bins = 0;
        let mut unseen = Shed::new();
        let (mut accounts, mut ptr, mut drops) = (Vec::new(), Vec::new(), Vec::new());
        let (mut pairs, mut looked) = (Vec::new(), Vec::new());
        for bin in hours.iter().filter(|b| b.0 == set) {
            let (mut sum, again) = self.sum(bin, streams, clients);
            // What goes with a bound was counted when the bin was told first.
            let shed = if again { &mut unseen } else { &mut self.shed };
            sum.lighten_pairs(self.sizes.client_domain_rows, clients, &self.domains, shed);
            accounts.push((place(bin), sum.accounts));
            ptr.push((place(bin), sum.ptr));
            drops.push((place(bin), sum.drops));
            pairs.push((place(bin), sum.pairs));
            looked.push((place(bin), sum.looked));
            bins += 1;
        }
        let mut by_ten: BTreeMap<Place, Vec<CellKey>> = BTreeMap::new();
        for bin in tens.iter().filter(|b| b.0 == set) {
            by_ten.insert(place(bin), cells_of(&self.tens, bin, 10, streams));
            bins += 1;
        }
        for key in by_ten.values().flatten() {
            if let Some(cell) = self.tens.get_mut(*key) {
                let shed = if cell.told { &mut unseen } else { &mut self.shed };
                cell.rows.fold(&self.sizes, &self.domains, shed);
                cell.changed = false;
                cell.told = true;
            }
        }
        let cells = by_ten.into_iter().map(|(place, keys)| {
            let cells = keys.into_iter().filter_map(|key| self.tens.get(key));
            (place, cells.map(|c| &c.rows).collect::<Vec<&Ten>>())
        });
        let tables = [
            account::rows(accounts, &self.accounts, source, &self.sizes, true)?,
            ptr_target::rows(ptr, clients, source, &self.sizes)?,
            drop_target::rows(drops, clients, source, &self.sizes)?,
            domain::rows(cells, &self.domains, source, &self.sizes, &mut unseen)?,
            client_domain::rows(pairs, clients, &self.domains, source)?,
            client_names::rows(looked, clients, source)?,
        ];
        Ok(Told { set, tables, bins })
    }

    /// The rows of an hour, and whether it was told before; it is now.
    fn sum(&mut self, bin: &Bin, streams: &Streams<'_>, clients: &Interner) -> (Sums, bool) {
        let keys = cells_of(&self.hours, bin, 60, streams);
        let minutes = self.hours.minutes();
        let mut sum = Sums::default();
        let mut again = false;
        for key in &keys {
            let Some(cell) = self.hours.get(*key) else {
                continue;
            };
            again |= cell.told;
            let earlier: Vec<(CellKey, &Cell<Hour>)> = self.hours.before(*key).collect();
            let salts = [salt(*key, 1), salt(*key, 2), salt(*key, 3)];
            let hash = |client: u32| clients.known(client).hash;
            let before = Before {
                ptr: &|client| {
                    let kept = earlier.iter().find_map(|(_, c)| c.rows.ptr.get(&client)?.last());
                    kept.or_else(|| {
                        let end = self.carry.get(ptr_key(salts[0], hash(client)))?;
                        u32::try_from(end).ok()
                    })
                },
                drops: &|(client, port)| {
                    let kept = earlier
                        .iter()
                        .find_map(|(_, c)| c.rows.drops.get(&(client, port))?.target.last());
                    kept.or_else(|| {
                        let end = self
                            .carry
                            .get(pair_key(salts[1], hash(client), u64::from(port)))?;
                        u32::try_from(end).ok()
                    })
                },
                pairs: &|(client, domain)| {
                    let kept = earlier
                        .iter()
                        .find_map(|(k, c)| c.rows.pairs.get(&(client, domain))?.last(k.number * minutes));
                    kept.or_else(|| {
                        let domain = self.domains.stable_hash(domain);
                        self.carry.get(pair_key(salts[2], hash(client), domain))
                    })
                },
            };
            sum.add(&cell.rows, key.number * minutes, &before, &self.sizes);
        }
        for key in keys {
            if let Some(cell) = self.hours.get_mut(key) {
                cell.changed = false;
                cell.told = true;
            }
            // The next cells' rows begin with what this one's end with.
            if again {
                self.hours.change_after(key);
            }
        }
        (sum, again)
    }

    /// What went with each bound.
    #[must_use]
    pub fn all_shed(&self) -> Shed {
        let mut shed = self.shed.clone();
        add_shed(&mut shed, "accounts", self.accounts.shed);
        add_shed(&mut shed, "domains", self.domains.shed);
        shed
    }

    /// Cells that are kept.
    #[must_use]
    pub fn cells(&self) -> usize {
        self.hours.iter().count() + self.tens.iter().count()
    }

    /// Every client that a cell names.
    pub fn each_client(&self, mut look: impl FnMut(u32)) {
        for (_, cell) in self.hours.iter() {
            cell.rows.ptr.keys().for_each(|k| look(*k));
            cell.rows.drops.keys().for_each(|k| look(k.0));
            cell.rows.pairs.keys().for_each(|k| look(k.0));
            cell.rows.looked.keys().for_each(|k| look(*k));
        }
    }

    /// Keeps the `keep` heaviest rows of each table that names clients, in each cell.
    pub fn lighten_all(&mut self, keep: usize, clients: &Interner) {
        let hash = |client: u32| clients.known(client).hash;
        let domains = &self.domains;
        let mut gone = [0; 4];
        for cell in self.hours.iter_mut() {
            let rows = &mut cell.rows;
            gone[0] += lighten(&mut rows.ptr, keep, |k, v| (v.count, hash(*k)));
            gone[1] += lighten(&mut rows.drops, keep, |k, v| {
                (v.target.count, hash(k.0) ^ u64::from(k.1))
            });
            gone[2] += lighten(&mut rows.pairs, keep, |k, v| {
                (v.count, hash(k.0) ^ domains.stable_hash(k.1))
            });
            gone[3] += lighten(&mut rows.looked, keep, |k, v| (v.count, hash(*k)));
        }
        let names = ["ptr_targets", "drop_targets", "client_domains", "client_domains"];
        for (name, n) in names.into_iter().zip(gone) {
            add_shed(&mut self.shed, name, n);
        }
    }

    /// Gives clients other numbers.
    pub fn renumber_clients(&mut self, there: impl Fn(u32) -> u32) {
        for cell in self.hours.iter_mut() {
            let rows = &mut cell.rows;
            rows.ptr = std::mem::take(&mut rows.ptr)
                .into_iter()
                .map(|(k, v)| (there(k), v))
                .collect();
            rows.drops = std::mem::take(&mut rows.drops)
                .into_iter()
                .map(|(k, v)| ((there(k.0), k.1), v))
                .collect();
            rows.pairs = std::mem::take(&mut rows.pairs)
                .into_iter()
                .map(|(k, v)| ((there(k.0), k.1), v))
                .collect();
            rows.looked = std::mem::take(&mut rows.looked)
                .into_iter()
                .map(|(k, v)| (there(k), v))
                .collect();
        }
    }

    /// Whether [`Detail::renew_names`] has something to do, before which every bin must be digested.
    #[must_use]
    pub fn is_filling(&self) -> bool {
        self.accounts.is_filling() || self.domains.is_filling()
    }

    /// Forgets accounts and domains that no cell names, where their lists fill up. `others`: further events that name
    /// some, such as those that may be taken back.
    pub fn renew_names(&mut self, others: &mut [&mut Detailed]) {
        if !self.is_filling() {
            return;
        }
        let mut accounts = vec![false; self.accounts.len()];
        let mut domains = vec![false; self.domains.len()];
        let mark = |used: &mut Vec<bool>, id: u32| {
            if let Some(u) = used.get_mut(id as usize) {
                *u = true;
            }
        };
        for cell in self.hours.iter_mut() {
            cell.rows.accounts.keys().for_each(|k| mark(&mut accounts, *k));
            cell.rows.pairs.keys().for_each(|k| mark(&mut domains, k.1));
        }
        for cell in self.tens.iter_mut() {
            cell.rows.each_domain(|d| mark(&mut domains, *d));
        }
        let named = |event: &Detailed, accounts: &mut Vec<bool>, domains: &mut Vec<bool>| match event {
            Detailed::Account(id, _) => mark(accounts, *id),
            Detailed::Query(Query { look: Some(look), .. }) => mark(domains, look.domain),
            _ => {}
        };
        for event in self.last.iter().flatten() {
            named(event, &mut accounts, &mut domains);
        }
        for event in others.iter() {
            named(event, &mut accounts, &mut domains);
        }
        let (fresh, accounts) = self.accounts.renewed(&accounts);
        self.accounts = fresh;
        let (fresh, domains) = self.domains.renewed(&domains);
        self.domains = fresh;
        // The looks know numbers of before.
        self.looks.clear();
        let new = |map: &[u32], id: u32| map.get(id as usize).copied().unwrap_or(super::names::SHED);
        for cell in self.hours.iter_mut() {
            let rows = &mut cell.rows;
            rows.accounts = std::mem::take(&mut rows.accounts)
                .into_iter()
                .map(|(k, v)| (new(&accounts, k), v))
                .collect();
            rows.pairs = std::mem::take(&mut rows.pairs)
                .into_iter()
                .map(|(k, v)| ((k.0, new(&domains, k.1)), v))
                .collect();
        }
        for cell in self.tens.iter_mut() {
            cell.rows.each_domain(|d| *d = new(&domains, *d));
        }
        let renumber = |event: &mut Detailed| match event {
            Detailed::Account(id, _) => *id = new(&accounts, *id),
            Detailed::Query(Query {
                look: Some(Look { domain, .. }),
                ..
            }) => *domain = new(&domains, *domain),
            _ => {}
        };
        self.last.iter_mut().flatten().for_each(renumber);
        for event in others.iter_mut() {
            renumber(event);
        }
    }

    /// The state as bytes.
    ///
    /// # Errors
    /// What could not be written; it would be a bug.
    pub fn save(&self) -> postcard::Result<Vec<u8>> {
        let accounts: Vec<&str> = self.accounts.texts().collect();
        let domains: Vec<&str> = self.domains.texts().collect();
        let hours: Vec<_> = self.hours.iter().collect();
        let tens: Vec<_> = self.tens.iter().collect();
        let shed: Vec<(&str, u64)> = self.shed.iter().map(|(k, v)| (*k, *v)).collect();
        let carry: Vec<(u64, i64, i64)> = self.carry.ends.iter().map(|(k, e)| (*k, e.0, e.1)).collect();
        postcard::to_stdvec(&(
            (accounts, self.accounts.shed),
            (domains, self.domains.shed),
            (self.hours.minutes(), hours, tens),
            &self.last,
            shed,
            carry,
        ))
    }

    /// Takes a state over; false if it is none, or one of cells of another length.
    #[must_use]
    pub fn load(&mut self, bytes: &[u8]) -> bool {
        type Saved = (
            (Vec<String>, u64),
            (Vec<String>, u64),
            (i64, Vec<(CellKey, Cell<Hour>)>, Vec<(CellKey, Cell<Ten>)>),
            Vec<Option<Detailed>>,
            Vec<(String, u64)>,
            Vec<(u64, i64, i64)>,
        );
        let Ok((accounts, domains, cells, last, shed, carry)) = postcard::from_bytes::<Saved>(bytes) else {
            return false;
        };
        let (minutes, hours, tens) = cells;
        if minutes != self.hours.minutes() {
            return false;
        }
        self.accounts = Names::restored(&accounts.0, accounts.1, &self.accounts);
        self.domains = Names::restored(&domains.0, domains.1, &self.domains);
        for (key, cell) in hours {
            self.hours.put(key, cell);
        }
        for (key, cell) in tens {
            self.tens.put(key, cell);
        }
        self.last = last;
        for (name, n) in shed {
            add_shed(&mut self.shed, crate::count::lasting(name), n);
        }
        self.carry.ends = carry
            .into_iter()
            .map(|(k, end, number)| (k, (end, number)))
            .collect();
        true
    }
}

/// The bins with a changed cell of which `due` says so: late set, server, end in minutes, whether it was told before.
fn changed<C: Default>(
    cells: &Cells<C>,
    length: i64,
    streams: &Streams<'_>,
    due: impl Fn(u16, u32, i64, bool) -> bool,
) -> BTreeSet<Bin> {
    let mut found = BTreeSet::new();
    for (key, cell) in cells.iter().filter(|(_, c)| c.changed) {
        let server = (streams.server)(key.stream);
        let first = (key.number * cells.minutes()).div_euclid(length) * length;
        if due(key.segment, server, first + length, cell.told) {
            found.insert((key.segment, server, first));
        }
    }
    found
}

/// The cells of a bin.
fn cells_of<C: Default>(cells: &Cells<C>, bin: &Bin, length: i64, streams: &Streams<'_>) -> Vec<CellKey> {
    let numbers = bin.2.div_euclid(cells.minutes())..(bin.2 + length).div_euclid(cells.minutes());
    cells
        .iter()
        .map(|(key, _)| key)
        .filter(|key| {
            key.segment == bin.0 && numbers.contains(&key.number) && (streams.server)(key.stream) == bin.1
        })
        .collect()
}
