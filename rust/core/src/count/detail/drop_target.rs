//! `drop_target`: where the packets went that a packet filter dropped, by origin and port, in an hour.
//!
//! An origin (client or /24) has one row over all ports (`port` null) and one for each destination port
//! (0 where the line tells none). The row over all ports also tells the distinct endpoints (destination and
//! port), which is what grows in a port scan. The row of a /24 is the sum of its clients' rows.
//!
//! Rows are bounded by `limits.drop_targets` a cell: past it the lighter half goes, which is counted, so
//! that a scan of all ports leaves its row over all ports and those of its most frequent ports.

use std::sync::Arc;

use arrow_array::{Int32Array, RecordBatch};
use arrow_schema::{DataType, Field, SchemaRef};

use super::batch::{self, Histograms, Places, States};
use super::counts::{Counts, signed};
use super::origin::{Origins, origin_array};
use super::target::{Address, Target};
use super::{Binned, Sizes};
use crate::count::address::Client;
use crate::count::hash::{fold, name_hash};
use crate::count::intern::Interner;
use crate::error::Result;

/// The port of the row over all ports.
pub const ALL_PORTS: u32 = u32::MAX;

/// A destination as spelled in a line; none where the line tells none.
#[must_use]
pub fn address(spelling: &[u8]) -> Option<Address> {
    if spelling.is_empty() {
        return None;
    }
    Some(match Client::parse(spelling, 128) {
        Some(client) => super::ptr_target::of_client(&client),
        None => Address {
            hash: (name_hash(spelling) >> 32) as u32,
            v4: None,
        },
    })
}

/// Counts of one origin and port.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Drops {
    /// The destinations.
    pub target: Target,
    /// Destinations and ports, on the row over all ports.
    endpoints: Counts,
}

impl Drops {
    /// Adds packets.
    pub fn count(&mut self, address: Option<Address>, port: Option<u16>, times: u32, sizes: &Sizes) {
        self.target.count(address, times, sizes);
        if let (Some(address), Some(port)) = (address, port) {
            let endpoint = fold(
                u64::from(address.hash) ^ 0xd6e8_feb8_6659_fd93,
                (u64::from(port) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15),
            );
            self.endpoints
                .add((endpoint >> 32) as u32, signed(times), sizes.set);
        }
    }

    /// Joins the row of the part that follows.
    pub fn join(&mut self, later: &Drops, sizes: &Sizes) {
        self.target.join(&later.target, sizes);
        self.endpoints.absorb(&later.endpoints, sizes.set);
    }

    /// Adds a row whose events do not follow those of this one.
    pub fn add(&mut self, other: &Drops, sizes: &Sizes) {
        self.target.add(&other.target, sizes);
        self.endpoints.absorb(&other.endpoints, sizes.set);
    }

    /// Gives back the memory that only a growing row needs.
    pub fn cool(&mut self, sizes: &Sizes) {
        self.target.targets.cool(sizes.set);
        self.endpoints.cool(sizes.set);
    }
}

/// Schema of the table.
#[must_use]
pub fn schema() -> SchemaRef {
    batch::schema(vec![
        Field::new("origin", DataType::Utf8, true),
        Field::new("port", DataType::Int32, true),
        Field::new("count", DataType::UInt64, false),
        Field::new("distinct_targets", DataType::UInt32, false),
        Field::new("target_state", DataType::BinaryView, true),
        Field::new("distance_histogram", batch::histogram_type(), false),
        Field::new("distinct_endpoints", DataType::UInt32, true),
        Field::new("endpoint_state", DataType::BinaryView, true),
    ])
}

/// A batch of the rows of all hours.
///
/// # Errors
/// [`crate::error::Error::Table`] if the columns do not fit together, which would be a bug.
pub fn rows(
    hours: Binned<(u32, u32), Drops>,
    clients: &Interner,
    source: u32,
    sizes: &Sizes,
) -> Result<RecordBatch> {
    let mut places = Places::default();
    let (mut origins, mut ports, mut count) = (Vec::new(), Vec::new(), Vec::new());
    let (mut targets, mut endpoints) = (States::default(), States::default());
    let mut distances = Histograms::default();
    for (place, rows) in hours {
        let mut all: Origins<u32, Drops> = Origins::default();
        for ((client, port), row) in rows {
            all.add(clients, client, port, row, |sum, row| sum.add(row, sizes));
        }
        for (origin, port, row) in all.into_rows(clients) {
            places.push(place);
            origins.push(origin);
            ports.push((port != ALL_PORTS).then_some(port as i32));
            count.push(row.target.count);
            distances.push(&row.target.distances);
            targets.push(row.target.targets.summary(sizes.set));
            if port == ALL_PORTS {
                endpoints.push(row.endpoints.summary(sizes.set));
            } else {
                endpoints.push_null();
            }
        }
    }
    let mut arrays = vec![
        origin_array(origins),
        Arc::new(Int32Array::from(ports)) as _,
        batch::u64s(count),
    ];
    arrays.extend(targets.arrays()?);
    arrays.push(distances.array()?);
    arrays.extend(endpoints.arrays()?);
    batch::batch(schema(), &places, arrays, source)
}
