//! `client_names`: what the names look like that a client asks for in an hour.
//!
//! Counted are distinct things: names asked as MX, registered domains asked with a mail-like leftmost label
//! ([`MAIL_LABELS`](super::look::MAIL_LABELS)), those asked with three or more of these labels, and registered domains whose
//! name looks made up by a program ([`likely`](super::likely)). Only clients that have any of these have a row, so that the table
//! is small beside the others.
//!
//! A client's names and domains are known one by one up to [`MOST`]; past it those are kept whose hash is
//! small enough, as in a [`Summary`](crate::count::summary::Summary), and numbers are estimates. The rows of a cell are bounded by
//! `limits.client_domains`, as pairs are: past it the lighter half goes, and is counted under that name.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, SchemaRef};

use super::Binned;
use super::batch::{self, Places};
use super::look::{Look, MAIL, UNLIKELY};
use crate::count::intern::Interner;
use crate::count::summary::kept;
use crate::error::Result;
use crate::event::QueryType;

/// Names or domains of a client that are known one by one.
pub const MOST: usize = 256;

/// Mail-like labels on one domain that make it a probed one.
const PROBED: u32 = 3;

/// Hashes with marks: exact up to [`MOST`], a sample past it.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
struct Marked {
    level: u8,
    fold_at: u16,
    items: Vec<(u32, u8)>,
}

impl Marked {
    fn add(&mut self, hash: u32, marks: u8) {
        if !kept(hash, self.level) {
            return;
        }
        if let Some(last) = self.items.last_mut()
            && last.0 == hash
        {
            last.1 |= marks;
            return;
        }
        self.items.push((hash, marks));
        if self.items.len() >= usize::from(self.fold_at).max(8) {
            self.fold();
        }
    }

    fn fold(&mut self) {
        self.items.sort_unstable();
        self.items.dedup_by(|later, first| {
            let same = later.0 == first.0;
            if same {
                first.1 |= later.1;
            }
            same
        });
        let level = self.level;
        self.items.retain(|i| kept(i.0, level));
        while self.items.len() > MOST && self.level < 31 {
            self.level += 1;
            let level = self.level;
            let keep = self.items.partition_point(|i| kept(i.0, level));
            self.items.truncate(keep);
        }
        self.fold_at = (self.items.len() * 2) as u16;
    }

    fn absorb(&mut self, other: &Marked) {
        self.level = self.level.max(other.level);
        self.items.extend_from_slice(&other.items);
        self.fold();
    }

    /// Number of items that a test holds for; the list is folded.
    fn number(&self, test: impl Fn(u8) -> bool) -> u64 {
        (self.items.iter().filter(|i| test(i.1)).count() as u64) << self.level
    }
}

/// What a client's names look like.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Looked {
    /// Queries that counted.
    pub count: u64,
    mx: Marked,
    domains: Marked,
}

impl Looked {
    /// Whether a query says anything here.
    #[inline]
    #[must_use]
    pub fn concerns(look: Look, query_type: QueryType) -> bool {
        look.marks != 0 || query_type == QueryType::Mx
    }

    /// Adds queries for a name, given the upper halves of its hash and of its registered domain's.
    pub fn count(&mut self, name: u32, domain: u32, look: Look, query_type: QueryType, times: u32) {
        self.count += u64::from(times);
        if query_type == QueryType::Mx {
            self.mx.add(name, 0);
        }
        // Domains past the bound have no hash of their own.
        if look.marks != 0 && domain != 0 {
            self.domains.add(domain, look.marks);
        }
    }

    /// Adds another row.
    pub fn absorb(&mut self, other: &Looked) {
        self.count += other.count;
        self.mx.absorb(&other.mx);
        self.domains.absorb(&other.domains);
    }

    /// Gives back the memory that only a growing row needs.
    pub fn cool(&mut self) {
        for list in [&mut self.mx, &mut self.domains] {
            list.fold();
            list.items.shrink_to_fit();
        }
    }

    /// Names asked as MX; domains with a mail-like label, with three or more of them, and of an unlikely name.
    fn numbers(&mut self) -> [u64; 4] {
        self.mx.fold();
        self.domains.fold();
        let mail = |marks: u8| (marks & MAIL).count_ones();
        [
            self.mx.number(|_| true),
            self.domains.number(|m| mail(m) > 0),
            self.domains.number(|m| mail(m) >= PROBED),
            self.domains.number(|m| m & UNLIKELY != 0),
        ]
    }
}

/// Schema of the table.
#[must_use]
pub fn schema() -> SchemaRef {
    batch::schema(vec![
        Field::new("client", DataType::Utf8, true),
        Field::new("mx_names", DataType::UInt64, false),
        Field::new("mail_domains", DataType::UInt64, false),
        Field::new("probed_domains", DataType::UInt64, false),
        Field::new("unlikely_domains", DataType::UInt64, false),
    ])
}

/// A batch of the rows of all hours.
///
/// # Errors
/// [`crate::error::Error::Table`] if the columns do not fit together, which would be a bug.
pub fn rows(hours: Binned<u32, Looked>, clients: &Interner, source: u32) -> Result<RecordBatch> {
    let mut places = Places::default();
    let mut client = Vec::new();
    let mut columns: [Vec<u64>; 4] = Default::default();
    for (place, rows) in hours {
        for (of, mut row) in rows {
            let numbers = row.numbers();
            if numbers == [0; 4] {
                continue;
            }
            places.push(place);
            client.push(clients.text(of));
            for (column, n) in columns.iter_mut().zip(numbers) {
                column.push(n);
            }
        }
    }
    let mut arrays: Vec<ArrayRef> = vec![Arc::new(StringArray::from(client))];
    arrays.extend(columns.map(batch::u64s));
    batch::batch(schema(), &places, arrays, source)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn look(marks: u8) -> Look {
        Look {
            marks,
            ..Look::default()
        }
    }

    #[test]
    fn numbers_are_of_distinct_things() {
        let mut row = Looked::default();
        for (name, domain, marks, query_type) in [
            (1, 10, 1, QueryType::A),
            (1, 10, 1, QueryType::A),
            (2, 10, 2, QueryType::A),
            (3, 10, 4, QueryType::Mx),
            (4, 11, 1, QueryType::Mx),
            (4, 11, 1, QueryType::Mx),
            (5, 12, UNLIKELY, QueryType::A),
            (6, 0, UNLIKELY, QueryType::A),
        ] {
            row.count(name, domain, look(marks), query_type, 1);
        }
        assert_eq!(row.numbers(), [2, 2, 1, 1]);
        assert_eq!(row.count, 8);
    }

    #[test]
    fn a_client_holds_few_however_many_it_asks() {
        let mut row = Looked::default();
        for i in 1..50_000u32 {
            let hash = i.wrapping_mul(2_654_435_761);
            row.count(hash, hash, look(UNLIKELY), QueryType::Mx, 1);
        }
        assert!(row.mx.items.len() <= 2 * MOST && row.domains.items.len() <= 2 * MOST);
        for n in [row.numbers()[0], row.numbers()[3]] {
            assert!((n as f64 / 50_000.0 - 1.0).abs() < 0.25, "{n}");
        }
    }

    proptest! {
        #[test]
        fn parts_join_to_the_whole(
            events in proptest::collection::vec((1u32..400, 0u8..8), 0..1200), cut in 0usize..1200,
        ) {
            let cut = cut.min(events.len());
            let of = |part: &[(u32, u8)]| {
                let mut row = Looked::default();
                for &(n, marks) in part {
                    let hash = n.wrapping_mul(2_654_435_761);
                    row.count(hash, hash, look(marks), QueryType::Mx, 1);
                }
                row
            };
            let mut joined = of(&events[cut..]);
            joined.absorb(&of(&events[..cut]));
            joined.cool();
            prop_assert_eq!(joined.numbers(), of(&events).numbers());
        }
    }
}
