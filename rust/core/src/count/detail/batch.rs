//! What the tables of details share on their way to Arrow: keys, summaries and histograms as columns.

use std::sync::Arc;

use arrow_array::{ArrayRef, ListArray, RecordBatch, TimestampMicrosecondArray, UInt32Array, UInt64Array};
use arrow_buffer::{OffsetBuffer, ScalarBuffer};
use arrow_schema::{DataType, Field, Schema, SchemaRef};

use super::Place;
use crate::count::summary::Summary;
use crate::count::table::{binary_views, time_type};
use crate::error::Result;

/// A schema: bin and server before the columns given, the source after them.
#[must_use]
pub fn schema(own: Vec<Field>) -> SchemaRef {
    let mut fields = vec![
        Field::new("bin_start", time_type(), false),
        Field::new("server", DataType::UInt32, false),
    ];
    fields.extend(own);
    fields.push(Field::new("source", DataType::UInt32, false));
    Arc::new(Schema::new(fields))
}

/// Bins and servers of the rows.
#[derive(Default)]
pub struct Places {
    start: Vec<i64>,
    server: Vec<u32>,
}

impl Places {
    /// One more row.
    pub fn push(&mut self, place: Place) {
        self.start.push(place.start * 1_000_000);
        self.server.push(place.server);
    }
}

/// A batch of these columns.
///
/// # Errors
/// [`crate::error::Error::Table`] if the columns do not fit together, which would be a bug.
pub fn batch(schema: SchemaRef, places: &Places, own: Vec<ArrayRef>, source: u32) -> Result<RecordBatch> {
    let rows = places.start.len();
    let mut arrays: Vec<ArrayRef> = vec![
        Arc::new(TimestampMicrosecondArray::from(places.start.clone()).with_timezone("UTC")),
        Arc::new(UInt32Array::from(places.server.clone())),
    ];
    arrays.extend(own);
    arrays.push(Arc::new(UInt32Array::from(vec![source; rows])));
    Ok(RecordBatch::try_new(schema, arrays)?)
}

/// A column of counts.
#[must_use]
pub fn u64s(values: Vec<u64>) -> ArrayRef {
    Arc::new(UInt64Array::from(values))
}

/// Distinct counts and the summaries that they are read from.
#[derive(Default)]
pub struct States {
    distinct: Vec<Option<u32>>,
    bytes: Vec<u8>,
    ends: Vec<u64>,
}

impl States {
    /// One more row. An empty summary is stored as null.
    #[expect(clippy::needless_pass_by_value, reason = "the end of an accumulator's way")]
    pub fn push(&mut self, summary: Summary) {
        self.write(&summary, true);
    }

    /// One more row, of a set without counts.
    pub fn push_set(&mut self, summary: &Summary) {
        self.write(summary, false);
    }

    fn write(&mut self, summary: &Summary, counts: bool) {
        let distinct = summary.numbers(1).distinct;
        self.distinct
            .push(Some(u32::try_from(distinct).unwrap_or(u32::MAX)));
        if !summary.items.is_empty() {
            summary.write(counts, &mut self.bytes);
        }
        self.ends.push(self.bytes.len() as u64);
    }

    /// One more row of which nothing is known.
    pub fn push_null(&mut self) {
        self.distinct.push(None);
        self.ends.push(self.bytes.len() as u64);
    }

    /// The distinct counts and the summaries.
    ///
    /// # Errors
    /// [`crate::error::Error::Table`] if the views do not fit the bytes, which would be a bug.
    pub fn arrays(self) -> Result<[ArrayRef; 2]> {
        Ok([
            Arc::new(UInt32Array::from(self.distinct)),
            Arc::new(binary_views(self.bytes, &self.ends)?),
        ])
    }
}

/// The type of a histogram.
#[must_use]
pub fn histogram_type() -> DataType {
    DataType::List(Arc::new(Field::new_list_field(DataType::UInt32, false)))
}

/// Histograms, one a row; zeros at the end of each are left out.
#[derive(Default)]
pub struct Histograms {
    values: Vec<u32>,
    ends: Vec<i32>,
}

impl Histograms {
    /// One more row.
    pub fn push(&mut self, histogram: &[u32]) {
        let used = histogram.iter().rposition(|&n| n > 0).map_or(0, |at| at + 1);
        self.values.extend_from_slice(&histogram[..used]);
        self.ends
            .push(i32::try_from(self.values.len()).unwrap_or(i32::MAX));
    }

    /// The column.
    ///
    /// # Errors
    /// [`crate::error::Error::Table`] if more than 2^31 values do not fit an offset.
    pub fn array(self) -> Result<ArrayRef> {
        let mut offsets = vec![0];
        offsets.extend(self.ends);
        Ok(Arc::new(ListArray::try_new(
            Arc::new(Field::new_list_field(DataType::UInt32, false)),
            OffsetBuffer::new(ScalarBuffer::from(offsets)),
            Arc::new(UInt32Array::from(self.values)),
            None,
        )?))
    }
}
