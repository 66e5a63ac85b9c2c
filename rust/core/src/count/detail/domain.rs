//! `domain`: the queries for each registered domain in ten minutes.
//!
//! Counted are `dns_query` that tell a name. Rows are bounded by `limits.domain_rows` a cell: past it the
//! lighter half goes, which is counted; and the domains that a worker knows by `limits.domains`: further
//! ones share the name `(shed)`.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, StringArray, UInt32Array};
use arrow_schema::{DataType, Field, SchemaRef};

use super::batch::{self, Places, States};
use super::counts::{Counts, signed};
use super::names::Names;
use super::{ByKey, Place, Sizes};
use crate::error::Result;
use crate::event::QueryType;

/// Counts of one domain.
#[derive(Clone, Debug, Default)]
pub struct Domain {
    /// Queries.
    pub count: u64,
    types: [u32; QueryType::COUNT],
    names: Counts,
    clients: Counts,
}

impl Domain {
    /// Adds queries for a name by a client, whose hash is 0 where there is none.
    pub fn count(&mut self, query_type: QueryType, name: u32, client: u32, times: u32, sizes: &Sizes) {
        self.count += u64::from(times);
        let of_type = &mut self.types[query_type as usize];
        *of_type = of_type.saturating_add(times);
        self.names.add(name, signed(times), sizes.set);
        if client != 0 {
            self.clients.add(client, signed(times), sizes.set);
        }
    }

    /// Adds the counts of another part.
    pub fn absorb(&mut self, other: &Domain, sizes: &Sizes) {
        self.count += other.count;
        for (mine, theirs) in self.types.iter_mut().zip(other.types) {
            *mine = mine.saturating_add(theirs);
        }
        self.names.absorb(&other.names, sizes.set);
        self.clients.absorb(&other.clients, sizes.set);
    }

    /// Gives back the memory that only a growing row needs.
    pub fn cool(&mut self, sizes: &Sizes) {
        self.names.cool(sizes.set);
        self.clients.cool(sizes.set);
    }
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

/// A batch of the rows of all bins.
///
/// # Errors
/// [`crate::error::Error::Table`] if the columns do not fit together, which would be a bug.
pub fn rows(
    bins: Vec<(Place, ByKey<u32, Domain>)>,
    domains: &Names,
    source: u32,
    sizes: &Sizes,
) -> Result<RecordBatch> {
    let mut places = Places::default();
    let (mut domain, mut count) = (Vec::new(), Vec::new());
    let mut types: [Vec<u32>; QueryType::COUNT] = Default::default();
    let (mut names, mut clients) = (States::default(), States::default());
    for (place, rows) in bins {
        for (id, row) in rows {
            places.push(place);
            domain.push(domains.text(id));
            count.push(row.count);
            for (column, n) in types.iter_mut().zip(row.types) {
                column.push(n);
            }
            names.push(row.names.summary(sizes.set));
            clients.push(row.clients.summary(sizes.set));
        }
    }
    let mut arrays: Vec<ArrayRef> = vec![Arc::new(StringArray::from(domain)), batch::u64s(count)];
    arrays.extend(types.map(|t| Arc::new(UInt32Array::from(t)) as ArrayRef));
    arrays.extend(names.arrays()?);
    arrays.extend(clients.arrays()?);
    batch::batch(schema(), &places, arrays, source)
}
