//! `domain`: the queries for each registered domain in ten minutes.
//!
//! Counted are `dns_query` that tell a name. While a cell grows its queries are only written down (16 bytes
//! each); once it lies behind, or holds [`LOG_MOST`], they are sorted and become rows whose summaries stand
//! in stored form, one after the other, which takes a fraction of the memory of rows that can grow.
//!
//! Of each cell, and of each bin and server, the `limits.domain_rows` heaviest rows are kept; what goes is
//! counted. The domains that a worker knows are bounded by `limits.domains`: further ones share the name `(shed)`.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, StringArray, UInt32Array};
use arrow_schema::{DataType, Field, SchemaRef};

use super::batch::{self, Places, States};
use super::names::Names;
use super::{Place, Shed, Sizes, add_shed};
use crate::count::summary::Summary;
use crate::error::Result;
use crate::event::QueryType;

/// Queries written down before they are sorted (16 MiB).
const LOG_MOST: usize = 1 << 20;
/// Parts of a cell; more are joined into one.
const PARTS_MOST: usize = 4;
/// Largest count that one entry can hold.
const TIMES_MOST: u32 = (1 << 28) - 1;

/// A query, written down.
#[derive(Clone, Copy, serde::Serialize, serde::Deserialize)]
struct Entry {
    domain: u32,
    name: u32,
    /// 0 where there is none.
    client: u32,
    /// Query type in the upper 4 bits, times asked in the lower 28.
    what: u32,
}

/// The row of a domain; its summaries end at `names_end` and `clients_end` of its part's bytes.
#[derive(Clone, Copy, serde::Serialize, serde::Deserialize)]
struct Row {
    domain: u32,
    count: u64,
    types: [u32; QueryType::COUNT],
    names_end: usize,
    clients_end: usize,
}

/// Rows by rising number of the domain.
#[derive(Default, serde::Serialize, serde::Deserialize)]
struct Part {
    rows: Vec<Row>,
    bytes: Vec<u8>,
}

impl Part {
    fn push(&mut self, mut row: Row, names: &Summary, clients: &Summary) {
        names.write(true, &mut self.bytes);
        row.names_end = self.bytes.len();
        clients.write(true, &mut self.bytes);
        row.clients_end = self.bytes.len();
        self.rows.push(row);
    }

    /// The stored summaries of names and clients of a row.
    fn states(&self, at: usize) -> (&[u8], &[u8]) {
        let from = at
            .checked_sub(1)
            .and_then(|i| self.rows.get(i))
            .map_or(0, |r| r.clients_end);
        self.rows.get(at).map_or((&[], &[]), |r| {
            (
                &self.bytes[from..r.names_end],
                &self.bytes[r.names_end..r.clients_end],
            )
        })
    }
}

/// The rows of ten minutes.
#[derive(Default, serde::Serialize, serde::Deserialize)]
pub struct Ten {
    log: Vec<Entry>,
    parts: Vec<Part>,
}

impl Ten {
    /// Rows held; stored summaries, and queries that are only written down, as rows of a hundred bytes or so.
    pub fn held(&self) -> usize {
        let parts = self.parts.iter().map(|p| p.rows.len() + p.bytes.len() / 128);
        parts.sum::<usize>() + self.log.len() / 8
    }

    /// Adds queries for a name by a client, whose hash is 0 where there is none; whether it is time to fold.
    #[inline]
    pub fn count(&mut self, domain: u32, query_type: QueryType, name: u32, client: u32, times: u32) -> bool {
        let mut left = times;
        while left > 0 {
            let now = left.min(TIMES_MOST);
            self.log.push(Entry {
                domain,
                name,
                client,
                what: ((query_type as u32) << 28) | now,
            });
            left -= now;
        }
        self.log.len() >= LOG_MOST
    }

    /// Turns what was written down into rows.
    #[cold]
    pub fn fold(&mut self, sizes: &Sizes, domains: &Names, shed: &mut Shed) {
        let mut log = std::mem::take(&mut self.log);
        log.sort_unstable_by_key(|e| (u64::from(e.domain) << 32) | u64::from(e.name));
        let mut groups: Vec<(u64, &mut [Entry])> = log
            .chunk_by_mut(|a, b| a.domain == b.domain)
            .map(|group| (group.iter().map(|e| u64::from(e.what & TIMES_MOST)).sum(), group))
            .collect();
        heaviest(&mut groups, sizes.domain_rows, domains, shed, |g| {
            (g.0, g.1.first().map_or(0, |e| e.domain))
        });
        let mut part = Part {
            rows: Vec::with_capacity(groups.len()),
            bytes: Vec::new(),
        };
        for (count, group) in groups {
            let mut row = Row {
                domain: group.first().map_or(0, |e| e.domain),
                count,
                types: [0; QueryType::COUNT],
                names_end: 0,
                clients_end: 0,
            };
            for entry in group.iter() {
                if let Some(n) = row.types.get_mut((entry.what >> 28) as usize) {
                    *n = n.saturating_add(entry.what & TIMES_MOST);
                }
            }
            let summary = |of: fn(&Entry) -> u32| {
                let items = group.iter().map(|e| (of(e), u64::from(e.what & TIMES_MOST)));
                let mut s = Summary {
                    level: 0,
                    items: items.filter(|i| i.0 != 0).collect(),
                };
                s.settle(sizes.set);
                s
            };
            part.push(row, &summary(|e| e.name), &summary(|e| e.client));
        }
        part.bytes.shrink_to_fit();
        if !part.rows.is_empty() {
            self.parts.push(part);
        }
        if self.parts.len() > PARTS_MOST {
            let parts = std::mem::take(&mut self.parts);
            let mut all = Part::default();
            for sum in sums(&parts.iter().collect::<Vec<_>>(), sizes, domains, shed) {
                let row = Row {
                    domain: sum.domain,
                    count: sum.count,
                    types: sum.types,
                    names_end: 0,
                    clients_end: 0,
                };
                all.push(row, &sum.names, &sum.clients);
            }
            all.rows.shrink_to_fit();
            all.bytes.shrink_to_fit();
            self.parts.push(all);
        }
    }

    /// Bytes that it takes, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let parts = self.parts.iter();
        self.log.capacity() * std::mem::size_of::<Entry>()
            + parts
                .map(|p| p.rows.capacity() * std::mem::size_of::<Row>() + p.bytes.capacity())
                .sum::<usize>()
    }

    /// Every domain that it names is told to `look`, which may change its number.
    pub fn each_domain(&mut self, mut look: impl FnMut(&mut u32)) {
        self.log.iter_mut().for_each(|e| look(&mut e.domain));
        let rows = self.parts.iter_mut().flat_map(|p| &mut p.rows);
        rows.for_each(|r| look(&mut r.domain));
    }

    /// Joins the cell of the part that follows, whose domains have these numbers here.
    pub fn absorb(&mut self, later: Ten, translate: impl Fn(u32) -> u32) {
        self.log.extend(later.log.into_iter().map(|e| Entry {
            domain: translate(e.domain),
            ..e
        }));
        for mut part in later.parts {
            for row in &mut part.rows {
                row.domain = translate(row.domain);
            }
            self.parts.push(part);
        }
    }
}

/// Keeps the heaviest of these by weight, then by a hash of the domain that is the same everywhere.
fn heaviest<T>(
    all: &mut Vec<T>,
    keep: usize,
    domains: &Names,
    shed: &mut Shed,
    of: impl Fn(&T) -> (u64, u32),
) {
    if all.len() <= keep {
        return;
    }
    all.sort_by_cached_key(|t| {
        let (weight, domain) = of(t);
        std::cmp::Reverse((weight, domains.stable_hash(domain)))
    });
    let gone = all.split_off(keep);
    add_shed(shed, "domain_rows", gone.iter().map(|t| of(t).0).sum());
}

/// Schema of the table.
#[must_use]
pub fn schema() -> SchemaRef {
    let mut fields = vec![
        Field::new("domain", DataType::Utf8, false),
        Field::new("count", DataType::UInt64, false),
    ];
    fields.extend(
        QueryType::ALL
            .iter()
            .map(|q| Field::new(q.name(), DataType::UInt32, false)),
    );
    fields.extend([
        Field::new("distinct_names", DataType::UInt32, false),
        Field::new("name_state", DataType::BinaryView, true),
        Field::new("distinct_clients", DataType::UInt32, false),
        Field::new("client_state", DataType::BinaryView, true),
    ]);
    batch::schema(fields)
}

/// The row of a domain over several parts.
struct Sum {
    domain: u32,
    count: u64,
    types: [u32; QueryType::COUNT],
    names: Summary,
    clients: Summary,
}

/// The rows of several parts, the heaviest that are kept.
fn sums(parts: &[&Part], sizes: &Sizes, domains: &Names, shed: &mut Shed) -> Vec<Sum> {
    // The rows of one domain, one in each part at most but for domains that share the name of the shed ones.
    let mut all: Vec<(u32, usize, usize)> = Vec::new();
    for (p, part) in parts.iter().enumerate() {
        all.extend(part.rows.iter().enumerate().map(|(r, row)| (row.domain, p, r)));
    }
    if parts.len() > 1 {
        all.sort_unstable();
    }
    let weight = |g: &[(u32, usize, usize)]| g.iter().map(|&(_, p, r)| parts[p].rows[r].count).sum::<u64>();
    let mut groups: Vec<_> = all.chunk_by(|a, b| a.0 == b.0).map(|g| (weight(g), g)).collect();
    heaviest(&mut groups, sizes.domain_rows, domains, shed, |g| {
        (g.0, g.1.first().map_or(0, |r| r.0))
    });
    let mut found = Vec::with_capacity(groups.len());
    for (count, group) in groups {
        let mut types = [0u32; QueryType::COUNT];
        let (mut names, mut clients) = (Summary::default(), Summary::default());
        for &(_, p, r) in group {
            for (sum, n) in types.iter_mut().zip(parts[p].rows[r].types) {
                *sum = sum.saturating_add(n);
            }
            let (of_names, of_clients) = parts[p].states(r);
            // Written above: they are well formed.
            let _ = names.add_stored(of_names) && clients.add_stored(of_clients);
        }
        if group.len() > 1 {
            names.settle(sizes.set);
            clients.settle(sizes.set);
        }
        found.push(Sum {
            domain: group.first().map_or(0, |r| r.0),
            count,
            types,
            names,
            clients,
        });
    }
    found
}

/// A batch of the rows of all bins, whose cells have been folded.
///
/// # Errors
/// [`crate::error::Error::Table`] if the columns do not fit together, which would be a bug.
pub fn rows<'a>(
    bins: impl Iterator<Item = (Place, Vec<&'a Ten>)>,
    domains: &Names,
    source: u32,
    sizes: &Sizes,
    shed: &mut Shed,
) -> Result<RecordBatch> {
    let mut places = Places::default();
    let (mut domain, mut count) = (Vec::new(), Vec::new());
    let mut types: [Vec<u32>; QueryType::COUNT] = Default::default();
    let (mut names, mut clients) = (States::default(), States::default());
    for (place, cells) in bins {
        let parts: Vec<&Part> = cells.iter().flat_map(|c| &c.parts).collect();
        for sum in sums(&parts, sizes, domains, shed) {
            places.push(place);
            domain.push(domains.text(sum.domain));
            count.push(sum.count);
            for (column, n) in types.iter_mut().zip(sum.types) {
                column.push(n);
            }
            names.push(sum.names);
            clients.push(sum.clients);
        }
    }
    let mut arrays: Vec<ArrayRef> = vec![Arc::new(StringArray::from(domain)), batch::u64s(count)];
    arrays.extend(types.map(|t| Arc::new(UInt32Array::from(t)) as ArrayRef));
    arrays.extend(names.arrays()?);
    arrays.extend(clients.arrays()?);
    batch::batch(schema(), &places, arrays, source)
}
