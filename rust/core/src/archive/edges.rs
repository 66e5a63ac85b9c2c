//! `edges`: halves of events near the ends of each source, as a table.
//!
//! A row is a half that found no other one in its source: an event that was counted and would be taken back by a
//! cancel of the same identifier within the hour on the same server, or such a cancel. Whoever counts the files
//! around a source finds the pairs.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray, UInt8Array, UInt32Array, UInt64Array,
};
use arrow_schema::{DataType, Field, Schema, SchemaRef};

use crate::count::bins::BinKey;
use crate::count::detail::account::Part;
use crate::count::table::{Place, time_type};
use crate::count::worker::{Edge, Worker};
use crate::error::Result;

/// Schema of the table. Columns from `kind` on are null of a cancel.
#[must_use]
pub fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::UInt64, false),
        Field::new("bin_start", time_type(), false),
        Field::new("server", DataType::UInt32, false),
        Field::new("kind", DataType::UInt8, true),
        Field::new("client", DataType::Utf8, true),
        Field::new("side", DataType::Utf8, true),
        Field::new("client_hash", DataType::UInt32, true),
        Field::new("network_hash", DataType::UInt32, true),
        Field::new("recipients", DataType::UInt32, true),
        Field::new("account", DataType::Utf8, true),
        Field::new("account_part", DataType::Utf8, true),
        Field::new("source", DataType::UInt32, false),
    ]))
}

/// The rows of one source, by rising time and identifier.
///
/// # Errors
/// [`crate::error::Error::Table`] if the columns do not fit together, which would be a bug.
pub fn batch(worker: &Worker, source: u32, place: impl Fn(BinKey) -> Place) -> Result<RecordBatch> {
    let mut edges: Vec<(Place, Edge<'_>)> = worker.edges().map(|edge| (place(edge.key), edge)).collect();
    edges.sort_unstable_by_key(|(at, edge)| (at.start, at.server, edge.id, edge.held.is_some()));
    let held = || edges.iter().map(|(_, edge)| edge.held);
    let hash = |pick: fn((u32, u32)) -> u32| -> ArrayRef {
        let found = held().map(|h| h.map(|h| pick(h.place)).filter(|&n| n != 0));
        Arc::new(found.collect::<UInt32Array>())
    };
    let side = |side: u8| match side {
        1 => Some("inside"),
        2 => Some("outside"),
        _ => None,
    };
    let part = |part: Part| match part {
        Part::Login => "logins",
        Part::Failure => "failures",
        Part::Send => "authenticated_sends",
    };
    let account = || held().map(|h| h.and_then(|h| h.account));
    let arrays: Vec<ArrayRef> = vec![
        Arc::new(UInt64Array::from_iter_values(edges.iter().map(|(_, e)| e.id))),
        Arc::new(
            TimestampMicrosecondArray::from_iter_values(edges.iter().map(|(p, _)| p.start * 1_000_000))
                .with_timezone("UTC"),
        ),
        Arc::new(UInt32Array::from_iter_values(edges.iter().map(|(p, _)| p.server))),
        Arc::new(held().map(|h| h.map(|h| h.kind as u8)).collect::<UInt8Array>()),
        Arc::new(held().map(|h| h.and_then(|h| h.client)).collect::<StringArray>()),
        Arc::new(
            held()
                .map(|h| h.and_then(|h| side(h.side)))
                .collect::<StringArray>(),
        ),
        hash(|place| place.0),
        hash(|place| place.1),
        Arc::new(held().map(|h| h.map(|h| h.recipients)).collect::<UInt32Array>()),
        Arc::new(account().map(|a| a.map(|a| a.0)).collect::<StringArray>()),
        Arc::new(account().map(|a| a.map(|a| part(a.1))).collect::<StringArray>()),
        Arc::new(UInt32Array::from(vec![source; edges.len()])),
    ];
    Ok(RecordBatch::try_new(schema(), arrays)?)
}
