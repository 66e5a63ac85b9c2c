//! Sealing: an open bin becomes rows of the tables `client_traffic` and `traffic`.
//!
//! Here the names that were only written down are counted: once by (name, query type, side) for the
//! distinct names, the entropy and the top share of `traffic`, once by (client, name) for the distinct
//! names of a client. Both tables are scratch that is reused, so that they stay in the cache.

use crate::event::{Kind, QueryType};

use super::bins::{ASKED_MOST, Asked, BinKey, KindTable, OpenBin};
use super::hash::{fold, prefetch, process_seed};
use super::intern::Interner;
use super::summary::{Numbers, Summary, c_log_c, entropy, small_c_log_c};
use super::{Limits, Options};

/// Rows of one kind and bin that stand together in [`ClientColumns`].
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// The bin.
    pub key: BinKey,
    /// The kind.
    pub kind: Kind,
    /// Number of rows.
    pub rows: u32,
}

/// `client_traffic` as columns; times and servers are told by the runs until they are resolved.
#[derive(Default)]
pub struct ClientColumns {
    /// What the rows belong to, in order.
    pub runs: Vec<Run>,
    /// Views of the clients' canonical texts (see [`Interner::view`]); 0 length with `valid` unset: none.
    pub client: Vec<u128>,
    /// Rows without a client.
    pub without_client: Vec<u32>,
    /// Events.
    pub count: Vec<u32>,
    /// Queries by type, cut to 16 bits; what does not fit stands in `wide`.
    pub types: [Vec<u16>; QueryType::COUNT],
    /// Row, type and value of the counts that need more than 16 bits.
    pub wide: Vec<(u32, u8, u32)>,
    /// Distinct names.
    pub distinct: Vec<u32>,
    /// Stored summaries of the names, one after the other, and where each ends.
    pub state: Vec<u8>,
    /// End of each row's summary in `state`.
    pub state_end: Vec<u64>,
}

impl ClientColumns {
    /// The texts that the views point into, apart from the client table: that of the rows and no other.
    pub fn take_texts(&mut self, arena: &[u8]) -> Vec<u8> {
        let mut texts = Vec::new();
        for view in &mut self.client {
            let mut bytes = view.to_le_bytes();
            let [a, b, c, d, ..] = bytes;
            let length = u32::from_le_bytes([a, b, c, d]) as usize;
            if length <= 12 {
                continue;
            }
            let [.., e, f, g, h] = bytes;
            let from = u32::from_le_bytes([e, f, g, h]) as usize;
            let offset = texts.len() as u32;
            // Made by the same table: the text lies within its arena.
            texts.extend_from_slice(arena.get(from..from + length).unwrap_or_default());
            bytes[12..].copy_from_slice(&offset.to_le_bytes());
            *view = u128::from_le_bytes(bytes);
        }
        texts
    }
}

/// One row of `traffic`.
#[derive(Clone, Debug)]
pub struct TrafficRow {
    /// The bin.
    pub key: BinKey,
    /// The kind.
    pub kind: Kind,
    /// Query type; none for kinds other than DNS.
    pub query_type: Option<QueryType>,
    /// 0 no client, 1 inside, 2 outside.
    pub side: u8,
    /// Events.
    pub count: u64,
    /// Addresses.
    pub recipients: u64,
    /// Who.
    pub clients: Numbers,
    /// What names, for DNS queries.
    pub names: Option<Numbers>,
    /// Stored summary of the clients; empty if not asked for.
    pub client_state: Box<[u8]>,
    /// Stored summary of the names; empty if not asked for.
    pub name_state: Box<[u8]>,
}

/// Queries that a look-up is asked for ahead of its turn.
const AHEAD: usize = 8;
const SIDES: usize = 3;
const CELLS: usize = (QueryType::COUNT + 1) * SIDES;
/// Cell row of events that have no query type.
const NO_TYPE: usize = QueryType::COUNT;

#[derive(Clone, Copy, Default)]
struct Cell {
    count: u64,
    recipients: u64,
    clients: u64,
    client_sum: f64,
    client_top: u64,
    names: u64,
    name_total: u64,
    name_sum: f64,
    name_top: u64,
    /// Events were here and were taken back.
    nothing: bool,
}

/// Seals bins; holds the scratch tables.
#[derive(Default)]
pub struct Sealer {
    name_keys: Vec<(u32, u32, u32)>,
    name_used: Vec<u32>,
    pairs: Vec<u64>,
    pair_used: Vec<u32>,
}

impl Sealer {
    /// Turns a bin into rows.
    pub fn seal(
        &mut self,
        bin: &mut OpenBin,
        clients: &Interner,
        options: &Options,
        limits: &Limits,
        columns: &mut ClientColumns,
        traffic: &mut Vec<TrafficRow>,
    ) {
        let key = bin.key;
        for (kind, table) in Kind::ALL.iter().copied().zip(bin.tables.iter_mut()) {
            let Some(table) = table else { continue };
            for row in &mut table.rows {
                row.side = u32::from(clients.side(row.client));
                row.distinct = 0;
            }
            let named = options.names && kind == Kind::DnsQuery;
            let mut cells = [Cell::default(); CELLS];
            if named {
                self.count_pairs(&bin.asked, table, bin.level);
            }
            let typed = options.query_types && kind == Kind::DnsQuery;
            let again = bin.told.before;
            tally_clients(table, typed, again, &mut cells);
            if named {
                self.count_names(&bin.asked, table, typed, &mut cells);
            }
            for (at, cell) in cells.iter().enumerate().filter(|(_, c)| c.count > 0 || c.nothing) {
                let row = self.traffic_row(
                    key,
                    kind,
                    at,
                    cell,
                    table,
                    clients,
                    named.then_some(bin.level),
                    options,
                    limits,
                );
                traffic.push(row);
            }
            if named {
                self.clear_names();
            }
            if options.clients {
                append(columns, key, kind, table, clients, options, again);
                if named && options.state {
                    append_states(columns, &bin.asked, table, bin.level, limits, again);
                } else if options.state {
                    let end = columns.state.len() as u64;
                    columns.state_end.resize(columns.count.len(), end);
                }
            }
        }
    }

    /// Distinct names of each client.
    fn count_pairs(&mut self, asked: &[Asked], table: &mut KindTable, level: u8) {
        let size = (asked.len() * 2).next_power_of_two().max(1024);
        if self.pairs.len() < size {
            self.pairs = vec![0; size];
        }
        // Only the front is used: a quiet bin after a busy one stays in the cache.
        let mask = size - 1;
        let seed = process_seed();
        // Zero marks a free place; a pair that hashes to zero is moved aside.
        let pair_of =
            |a: &Asked| fold((a.hash >> 32) ^ seed, u64::from(a.row) ^ 0xa076_1d64_78bd_642f).max(1);
        for (i, a) in asked.iter().enumerate() {
            if let Some(later) = asked.get(i + AHEAD) {
                prefetch(&self.pairs, pair_of(later) as usize & mask);
            }
            let pair = pair_of(a);
            let mut at = pair as usize & mask;
            loop {
                let here = self.pairs[at];
                if here == pair {
                    break;
                }
                if here == 0 {
                    self.pairs[at] = pair;
                    self.pair_used.push(at as u32);
                    if let Some(row) = table.rows.get_mut(a.row as usize) {
                        row.distinct += 1;
                    }
                    break;
                }
                at = (at + 1) & mask;
            }
        }
        for &at in &self.pair_used {
            self.pairs[at as usize] = 0;
        }
        self.pair_used.clear();
        if level > 0 {
            for row in &mut table.rows {
                row.distinct = row.distinct.saturating_mul(1 << level);
            }
        }
    }

    /// Counts of each (name, query type, side), left in the scratch table.
    fn count_names(&mut self, asked: &[Asked], table: &KindTable, typed: bool, cells: &mut [Cell; CELLS]) {
        let size = (asked.len() * 2).next_power_of_two().max(1024);
        if self.name_keys.len() < size {
            self.name_keys = vec![(0, 0, 0); size];
        }
        let mask = size - 1;
        let seed = process_seed();
        // The identity of a name in a summary is the upper half of its hash: here too, so that the numbers
        // are the same whether summaries are stored or not.
        let name_of = |a: &Asked| (a.hash >> 32) as u32;
        let cell_of = |a: &Asked| {
            let side = table.rows.get(a.row as usize).map_or(0, |row| row.side as usize);
            cell_of(if typed { (a.what >> 28) as usize } else { NO_TYPE }, side)
        };
        let place = |name: u32, cell: usize| {
            fold(u64::from(name) ^ seed, cell as u64 ^ 0xd6e8_feb8_6659_fd93) as usize & mask
        };
        for (i, a) in asked.iter().enumerate() {
            if let Some(later) = asked.get(i + AHEAD) {
                prefetch(&self.name_keys, place(name_of(later), cell_of(later)));
            }
            let (name, cell) = (name_of(a), cell_of(a));
            let times = a.what & ASKED_MOST;
            let mut at = place(name, cell);
            loop {
                let here = &mut self.name_keys[at];
                if here.1 == 0 {
                    *here = (name, times, cell as u32);
                    self.name_used.push(at as u32);
                    break;
                }
                if here.0 == name && here.2 == cell as u32 {
                    here.1 = here.1.saturating_add(times);
                    break;
                }
                at = (at + 1) & mask;
            }
        }
        for &at in &self.name_used {
            let (_, times, cell) = self.name_keys[at as usize];
            let cell = &mut cells[cell as usize];
            let times = u64::from(times);
            cell.names += 1;
            cell.name_total += times;
            cell.name_sum += c_log_c(times);
            cell.name_top = cell.name_top.max(times);
        }
    }

    fn clear_names(&mut self) {
        for &at in &self.name_used {
            self.name_keys[at as usize] = (0, 0, 0);
        }
        self.name_used.clear();
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "one row from the scratch of one bin; private"
    )]
    fn traffic_row(
        &self,
        key: BinKey,
        kind: Kind,
        at: usize,
        cell: &Cell,
        table: &KindTable,
        clients: &Interner,
        names_level: Option<u8>,
        options: &Options,
        limits: &Limits,
    ) -> TrafficRow {
        let (type_at, side) = (at / SIDES, at % SIDES);
        let total = cell.count;
        let mut client_state = Vec::new();
        let mut who = Numbers {
            distinct: cell.clients,
            entropy: entropy(total as f64, cell.client_sum),
            top_share: if total > 0 {
                cell.client_top as f64 / total as f64
            } else {
                0.0
            },
        };
        if side != 0 && (options.state || cell.clients as usize > limits.summary_size) {
            let mut s = Summary::default();
            s.items.extend(table.rows.iter().filter_map(|row| {
                let known = clients.known(row.client);
                let c = if type_at == NO_TYPE {
                    row.count
                } else {
                    row.types[type_at]
                };
                (known.side as usize == side && c > 0).then_some(((known.hash >> 32) as u32, u64::from(c)))
            }));
            s.settle(limits.summary_size);
            who = s.numbers(total);
            if options.state {
                s.write(true, &mut client_state);
            }
        }
        let mut name_state = Vec::new();
        let names = names_level.filter(|_| cell.names > 0).map(|level| {
            if level > 0 || options.state || cell.names as usize > limits.summary_size {
                let mut s = Summary {
                    level,
                    items: Vec::with_capacity(cell.names as usize),
                };
                s.items.extend(self.name_used.iter().filter_map(|&u| {
                    let (hash, times, c) = self.name_keys[u as usize];
                    (c as usize == at).then_some((hash, u64::from(times)))
                }));
                s.settle(limits.summary_size);
                if options.state {
                    s.write(true, &mut name_state);
                }
                s.numbers(total)
            } else {
                let total = cell.name_total as f64;
                Numbers {
                    distinct: cell.names,
                    entropy: entropy(total, cell.name_sum),
                    top_share: if total > 0.0 {
                        cell.name_top as f64 / total
                    } else {
                        0.0
                    },
                }
            }
        });
        TrafficRow {
            key,
            kind,
            query_type: QueryType::ALL.get(type_at).copied(),
            side: side as u8,
            count: total,
            recipients: cell.recipients,
            clients: if side == 0 { Numbers::default() } else { who },
            names,
            client_state: client_state.into(),
            name_state: name_state.into(),
        }
    }
}

#[inline(always)]
const fn cell_of(type_at: usize, side: usize) -> usize {
    type_at * SIDES + side
}

/// Sums of the rows by query type and side; `again`: cells that have become nothing are told as well.
fn tally_clients(table: &KindTable, typed: bool, again: bool, cells: &mut [Cell; CELLS]) {
    if again && !typed {
        for row in table.rows.iter().filter(|r| r.count == 0) {
            cells[cell_of(NO_TYPE, row.side as usize)].nothing = true;
        }
    }
    let small = small_c_log_c();
    let add = |cells: &mut [Cell; CELLS], type_at: usize, side: usize, count: u32, recipients: u32| {
        let cell = &mut cells[cell_of(type_at, side)];
        let c = u64::from(count);
        cell.count += c;
        cell.recipients += u64::from(recipients);
        cell.clients += 1;
        cell.client_sum += c_log_c(c);
        cell.client_top = cell.client_top.max(c);
    };
    for row in table.rows.iter().filter(|r| r.count > 0) {
        let side = row.side as usize;
        if typed && row.count < small.len() as u32 {
            // Most types of most rows are 0, but which ones nobody can guess: all are added, zeros as well.
            for (type_at, &count) in row.types.iter().enumerate() {
                let cell = &mut cells[cell_of(type_at, side)];
                let c = u64::from(count);
                cell.count += c;
                cell.clients += u64::from(c > 0);
                cell.client_sum += small[c as usize % small.len()];
                cell.client_top = cell.client_top.max(c);
            }
        } else if typed {
            for (type_at, &count) in row.types.iter().enumerate() {
                if count > 0 {
                    add(cells, type_at, side, count, 0);
                }
            }
        } else {
            add(cells, NO_TYPE, side, row.count, row.recipients);
        }
    }
}

fn append(
    columns: &mut ClientColumns,
    key: BinKey,
    kind: Kind,
    table: &KindTable,
    clients: &Interner,
    options: &Options,
    again: bool,
) {
    let rows = &table.rows;
    let first = columns.count.len() as u32;
    // Held back and then cancelled events leave rows of zero, which a bin that was told before tells.
    let all = again || rows.iter().all(|r| r.count > 0);
    let live = |r: &&super::bins::Row| all || r.count > 0;
    columns
        .client
        .extend(rows.iter().filter(live).map(|r| clients.view(r.client)));
    columns.count.extend(rows.iter().filter(live).map(|r| r.count));
    for (at, row) in rows.iter().filter(live).enumerate() {
        if row.client == super::intern::NONE {
            columns.without_client.push(first + at as u32);
        }
    }
    if options.query_types {
        let added = columns.count.len();
        for column in &mut columns.types {
            column.resize(added, 0);
        }
        let mut parts = columns
            .types
            .each_mut()
            .map(|column| column[first as usize..].iter_mut());
        // One pass: a row is one cache line, and all of it is needed.
        for row in rows.iter().filter(live) {
            for (part, &value) in parts.iter_mut().zip(&row.types) {
                if let Some(to) = part.next() {
                    *to = value as u16;
                }
            }
        }
        for (at, row) in rows.iter().filter(live).enumerate() {
            if row.count > u32::from(u16::MAX) {
                for (q, &value) in row.types.iter().enumerate() {
                    if value > u32::from(u16::MAX) {
                        columns.wide.push((first + at as u32, q as u8, value));
                    }
                }
            }
        }
    }
    if options.names {
        columns
            .distinct
            .extend(rows.iter().filter(live).map(|r| r.distinct));
    }
    let added = columns.count.len() as u32 - first;
    if added > 0 {
        columns.runs.push(Run {
            key,
            kind,
            rows: added,
        });
    }
}

/// Stored sets of the names of each client; the numbers of rows past the size become the sets'.
fn append_states(
    columns: &mut ClientColumns,
    asked: &[Asked],
    table: &KindTable,
    level: u8,
    limits: &Limits,
    again: bool,
) {
    let mut pairs: Vec<(u32, u32)> = asked.iter().map(|a| (a.row, (a.hash >> 32) as u32)).collect();
    pairs.sort_unstable();
    pairs.dedup();
    let mut rest = pairs.as_slice();
    let mut at = columns.state_end.len();
    let mut set = Summary::default();
    for (index, row) in table.rows.iter().enumerate() {
        let mine = rest.partition_point(|p| p.0 <= index as u32);
        let (here, later) = rest.split_at(mine);
        rest = later;
        if row.count == 0 && !again {
            continue;
        }
        set.level = level;
        set.items.clear();
        set.items.extend(here.iter().map(|p| (p.1, 1)));
        set.settle(limits.client_summary_size);
        if let Some(distinct) = columns.distinct.get_mut(at) {
            *distinct = set.numbers(1).distinct as u32;
        }
        set.write(false, &mut columns.state);
        columns.state_end.push(columns.state.len() as u64);
        at += 1;
    }
}

/// What bins became.
#[derive(Default)]
pub struct Sealed {
    /// Rows of `client_traffic`.
    pub columns: ClientColumns,
    /// Rows of `traffic`.
    pub traffic: Vec<TrafficRow>,
    /// Bins with a counter that stood at its largest value.
    pub saturated: u64,
    /// Bins whose names were sampled.
    pub sampled: u64,
}

impl Sealed {
    /// Seals a bin, whose queries the details know.
    pub fn add(
        &mut self,
        sealer: &mut Sealer,
        bin: &mut OpenBin,
        clients: &Interner,
        options: &Options,
        limits: &Limits,
    ) {
        if bin.asked.len() > limits.names_per_bin {
            bin.fold(limits.names_per_bin);
        }
        self.saturated += u64::from(bin.saturated);
        self.sampled += u64::from(bin.level > 0);
        sealer.seal(
            bin,
            clients,
            options,
            limits,
            &mut self.columns,
            &mut self.traffic,
        );
    }
}
