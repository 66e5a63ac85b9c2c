//! Columns of a partial result become Arrow record batches, without copying the large ones.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BinaryViewArray, Float64Array, RecordBatch, StringArray, StringViewArray,
    TimestampMicrosecondArray, UInt8Array, UInt16Array, UInt32Array, UInt64Array,
};
use arrow_buffer::{Buffer, NullBuffer, ScalarBuffer};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};

use crate::error::{Error, Result};
use crate::event::QueryType;

use super::Options;
use super::bins::BinKey;
use super::seal::{ClientColumns, TrafficRow};

/// What the resolver makes of a bin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// Start of the bin, seconds since 1970, UTC.
    pub start: i64,
    /// Code of the server in the scan's list.
    pub server: u32,
}

impl Place {
    /// The place of the bin of so many seconds that this one lies in.
    #[must_use]
    pub fn floor(self, seconds: i64) -> Place {
        Place {
            start: self.start.div_euclid(seconds) * seconds,
            ..self
        }
    }
}

/// The type of times.
pub(crate) fn time_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// Schema of `client_traffic`. `wide`: query types take 32 bits instead of 16.
#[must_use]
pub fn client_schema(options: &Options, wide: bool) -> SchemaRef {
    let mut fields = vec![
        Field::new("bin_start", time_type(), false),
        Field::new("server", DataType::UInt32, false),
        Field::new("kind", DataType::UInt8, false),
        Field::new("client", DataType::Utf8View, true),
        Field::new("count", DataType::UInt32, false),
    ];
    if options.query_types {
        let width = if wide { DataType::UInt32 } else { DataType::UInt16 };
        fields.extend(
            QueryType::ALL
                .iter()
                .map(|q| Field::new(q.name(), width.clone(), false)),
        );
    }
    if options.names {
        fields.push(Field::new("distinct_names", DataType::UInt32, false));
        if options.state {
            fields.push(Field::new("name_state", DataType::BinaryView, true));
        }
    }
    fields.push(Field::new("source", DataType::UInt32, false));
    Arc::new(Schema::new(fields))
}

/// A batch of `client_traffic`. `texts` are those that the views point into: an [`super::intern::Interner::arena`], or what
/// [`ClientColumns::take_texts`] made of it.
///
/// # Errors
/// [`Error::Table`] if the columns do not fit together, which would be a bug.
pub fn client_batch(
    columns: ClientColumns,
    texts: Vec<u8>,
    options: &Options,
    wide: bool,
    source: u32,
    place: impl Fn(BinKey) -> Place,
) -> Result<RecordBatch> {
    let rows = columns.count.len();
    let mut start = Vec::with_capacity(rows);
    let mut server = Vec::with_capacity(rows);
    let mut kind = Vec::with_capacity(rows);
    for run in &columns.runs {
        let p = place(run.key);
        let end = start.len() + run.rows as usize;
        start.resize(end, p.start * 1_000_000);
        server.resize(end, p.server);
        kind.resize(end, run.kind as u8);
    }
    let nulls = if columns.without_client.is_empty() {
        None
    } else {
        let mut valid = vec![true; rows];
        for &row in &columns.without_client {
            if let Some(v) = valid.get_mut(row as usize) {
                *v = false;
            }
        }
        Some(NullBuffer::from(valid))
    };
    let views = ScalarBuffer::from(columns.client);
    let texts = vec![Buffer::from(texts)];
    // SAFETY: every view was made by `Interner` from a text of its arena, which holds only the UTF-8 of
    // `Client`'s `Display`; the arena only grows, so that offset and length stay within it. `take_texts` copies
    // whole texts and moves the views with them.
    let client = unsafe { StringViewArray::new_unchecked(views, texts, nulls) };
    let mut arrays: Vec<ArrayRef> = vec![
        Arc::new(TimestampMicrosecondArray::from(start).with_timezone("UTC")),
        Arc::new(UInt32Array::from(server)),
        Arc::new(UInt8Array::from(kind)),
        Arc::new(client),
        Arc::new(UInt32Array::from(columns.count)),
    ];
    if options.query_types {
        for (q, values) in columns.types.into_iter().enumerate() {
            if wide {
                let mut values: Vec<u32> = values.into_iter().map(u32::from).collect();
                for &(row, _, value) in columns.wide.iter().filter(|w| w.1 as usize == q) {
                    if let Some(v) = values.get_mut(row as usize) {
                        *v = value;
                    }
                }
                arrays.push(Arc::new(UInt32Array::from(values)));
            } else {
                arrays.push(Arc::new(UInt16Array::from(values)));
            }
        }
    }
    if options.names {
        arrays.push(Arc::new(UInt32Array::from(columns.distinct)));
        if options.state {
            arrays.push(Arc::new(binary_views(columns.state, &columns.state_end)?));
        }
    }
    arrays.push(Arc::new(UInt32Array::from(vec![source; rows])));
    Ok(RecordBatch::try_new(client_schema(options, wide), arrays)?)
}

/// Largest data buffer of a view array: its offsets have 32 bits, and readers take them as signed.
const VIEW_BUFFER_MOST: usize = 1 << 30;

/// Views into one run of bytes cut at `ends`. An empty value is null.
pub(super) fn binary_views(bytes: Vec<u8>, ends: &[u64]) -> Result<BinaryViewArray> {
    let mut views = Vec::with_capacity(ends.len());
    let mut valid = Vec::with_capacity(ends.len());
    // Buffers are cut between values so that every offset fits.
    let mut cuts = vec![0usize];
    let mut from = 0usize;
    for &end in ends {
        let end = usize::try_from(end).unwrap_or(usize::MAX).min(bytes.len());
        let value = bytes.get(from..end).unwrap_or_default();
        let mut base = cuts.last().copied().unwrap_or(0);
        if end - base > VIEW_BUFFER_MOST {
            cuts.push(from);
            base = from;
        }
        views.push(view(value, (cuts.len() - 1) as u32, (from - base) as u32));
        valid.push(!value.is_empty());
        from = end;
    }
    let whole = Buffer::from(bytes);
    let mut buffers = Vec::with_capacity(cuts.len());
    for (i, &cut) in cuts.iter().enumerate() {
        let end = cuts.get(i + 1).copied().unwrap_or(whole.len());
        buffers.push(whole.slice_with_length(cut, end - cut));
    }
    Ok(BinaryViewArray::try_new(
        ScalarBuffer::from(views),
        buffers,
        Some(NullBuffer::from(valid)),
    )?)
}

fn view(value: &[u8], buffer: u32, offset: u32) -> u128 {
    let mut v = [0u8; 16];
    v[..4].copy_from_slice(&(value.len() as u32).to_le_bytes());
    if value.len() <= 12 {
        v[4..4 + value.len()].copy_from_slice(value);
    } else {
        v[4..8].copy_from_slice(&value[..4]);
        v[8..12].copy_from_slice(&buffer.to_le_bytes());
        v[12..].copy_from_slice(&offset.to_le_bytes());
    }
    u128::from_le_bytes(v)
}

/// Schema of `traffic`.
#[must_use]
pub fn traffic_schema(options: &Options) -> SchemaRef {
    let mut fields = vec![
        Field::new("bin_start", time_type(), false),
        Field::new("server", DataType::UInt32, false),
        Field::new("kind", DataType::UInt8, false),
        Field::new("query_type", DataType::Utf8, true),
        Field::new("side", DataType::Utf8, true),
        Field::new("count", DataType::UInt64, false),
        Field::new("recipients", DataType::UInt64, false),
        Field::new("distinct_clients", DataType::UInt32, true),
        Field::new("client_entropy", DataType::Float64, true),
    ];
    if options.names {
        fields.push(Field::new("distinct_names", DataType::UInt32, true));
        fields.push(Field::new("name_entropy", DataType::Float64, true));
        fields.push(Field::new("top_name_share", DataType::Float64, true));
    }
    if options.state {
        fields.push(Field::new("client_state", DataType::BinaryView, true));
        fields.push(Field::new("name_state", DataType::BinaryView, true));
    }
    fields.push(Field::new("source", DataType::UInt32, false));
    Arc::new(Schema::new(fields))
}

/// A batch of `traffic`.
///
/// # Errors
/// [`Error::Table`] if the columns do not fit together, which would be a bug.
pub fn traffic_batch(
    rows: &[TrafficRow],
    options: &Options,
    source: u32,
    place: impl Fn(BinKey) -> Place,
) -> Result<RecordBatch> {
    let places: Vec<Place> = rows.iter().map(|r| place(r.key)).collect();
    let side = |r: &TrafficRow| match r.side {
        1 => Some("inside"),
        2 => Some("outside"),
        _ => None,
    };
    // Where clients were not told apart, or none was told, nothing is known of who asked.
    let who = |r: &TrafficRow| (r.side != 0).then_some(r.clients);
    let mut arrays: Vec<ArrayRef> = vec![
        Arc::new(
            TimestampMicrosecondArray::from_iter_values(places.iter().map(|p| p.start * 1_000_000))
                .with_timezone("UTC"),
        ),
        Arc::new(UInt32Array::from_iter_values(places.iter().map(|p| p.server))),
        Arc::new(UInt8Array::from_iter_values(rows.iter().map(|r| r.kind as u8))),
        Arc::new(
            rows.iter()
                .map(|r| r.query_type.map(QueryType::name))
                .collect::<StringArray>(),
        ),
        Arc::new(rows.iter().map(side).collect::<StringArray>()),
        Arc::new(UInt64Array::from_iter_values(rows.iter().map(|r| r.count))),
        Arc::new(UInt64Array::from_iter_values(rows.iter().map(|r| r.recipients))),
        Arc::new(
            rows.iter()
                .map(|r| who(r).map(|n| cut(n.distinct)))
                .collect::<UInt32Array>(),
        ),
        Arc::new(
            rows.iter()
                .map(|r| who(r).map(|n| n.entropy))
                .collect::<Float64Array>(),
        ),
    ];
    if options.names {
        arrays.push(Arc::new(
            rows.iter()
                .map(|r| r.names.map(|n| cut(n.distinct)))
                .collect::<UInt32Array>(),
        ));
        arrays.push(Arc::new(
            rows.iter()
                .map(|r| r.names.map(|n| n.entropy))
                .collect::<Float64Array>(),
        ));
        arrays.push(Arc::new(
            rows.iter()
                .map(|r| r.names.map(|n| n.top_share))
                .collect::<Float64Array>(),
        ));
    }
    if options.state {
        for pick in [
            |r: &TrafficRow| r.client_state.clone(),
            |r: &TrafficRow| r.name_state.clone(),
        ] {
            let mut bytes = Vec::new();
            let mut ends = Vec::with_capacity(rows.len());
            for row in rows {
                bytes.extend_from_slice(&pick(row));
                ends.push(bytes.len() as u64);
            }
            arrays.push(Arc::new(binary_views(bytes, &ends)?));
        }
    }
    arrays.push(Arc::new(UInt32Array::from(vec![source; rows.len()])));
    Ok(RecordBatch::try_new(traffic_schema(options), arrays)?)
}

fn cut(n: u64) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// Row numbers by rising group, rows of one group in their order.
fn grouped(groups: &[u32]) -> Vec<usize> {
    let most = groups.iter().max().map_or(0, |&g| g as usize);
    if most > groups.len().saturating_mul(4) {
        let mut order: Vec<usize> = (0..groups.len()).collect();
        order.sort_by_key(|&i| groups[i]);
        return order;
    }
    // Groups are numbered from 0 as a rule: they are counted, then each row is put where it belongs.
    let mut place = vec![0usize; most + 2];
    for &g in groups {
        place[g as usize + 1] += 1;
    }
    for at in 1..place.len() {
        place[at] += place[at - 1];
    }
    let mut order = vec![0; groups.len()];
    for (row, &g) in groups.iter().enumerate() {
        let at = &mut place[g as usize];
        order[*at] = row;
        *at += 1;
    }
    order
}

/// Merges stored summaries by group: `(group, state, distinct, entropy, top_share)`, one row a group
/// in rising order. `groups` need not be sorted; `null` states are empty. Counts that are to be taken away are taken from
/// those of their group; where it has nothing else, it stays to be taken away.
///
/// # Errors
/// [`Error::Option`] if a state is no stored summary or the lengths differ.
pub fn merge_states(groups: &[u32], states: &[Option<&[u8]>], size: usize) -> Result<RecordBatch> {
    use super::summary::{Summary, TAKEN_AWAY, each_stored, is_set, is_taken_away, level_of};
    /// The half of a word that counts.
    const LOW: u64 = 0xffff_ffff;
    if groups.len() != states.len() {
        return Err(Error::Option {
            option: "state",
            message: "as many states as groups are expected".into(),
        });
    }
    let order = grouped(groups);
    let (mut group, mut distinct, mut entropy, mut top) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut bytes, mut ends) = (Vec::new(), Vec::new());
    let damaged = |i: usize| Error::Option {
        option: "state",
        message: format!(
            "row {i} is no stored summary: the store is damaged, or was written by another version"
        ),
    };
    let mut packed = Vec::new();
    for chunk in order.chunk_by(|&a, &b| groups[a] == groups[b]) {
        let mut s = Summary::default();
        let mut set = false;
        packed.clear();
        // One word an item: thousands of rows of a few hashes, or a few rows of thousands, are sorted in it.
        let mut large = false;
        let mut taken = Summary::default();
        for &i in chunk {
            let stored = states[i].unwrap_or_default();
            set |= is_set(stored);
            s.level = s.level.max(level_of(stored));
            let read = if is_taken_away(stored) {
                each_stored(stored, |hash, count| taken.items.push((hash, count)))
            } else {
                each_stored(stored, |hash, count| {
                    large |= count > LOW;
                    packed.push((u64::from(hash) << 32) | (count & LOW));
                })
            };
            if !read {
                return Err(damaged(i));
            }
        }
        if large {
            for stored in chunk.iter().map(|&i| states[i].unwrap_or_default()) {
                let _ = is_taken_away(stored) || s.add_stored(stored);
            }
        } else {
            if packed.len() / chunk.len() < 32 {
                packed.sort_unstable();
            } else {
                // What was stored is sorted, so this is a row of sorted runs: a stable sort finds and merges them.
                packed.sort();
            }
            s.items.reserve(packed.len());
            for run in packed.chunk_by(|&a, &b| a >> 32 == b >> 32) {
                let count = run.iter().map(|&p| p & LOW).fold(0, u64::saturating_add);
                s.items.push(((run[0] >> 32) as u32, count));
            }
        }
        if set {
            s.items.iter_mut().for_each(|i| i.1 = 1);
        }
        let only_taken = packed.is_empty() && !taken.items.is_empty();
        if only_taken {
            s.items = taken.items;
        } else if !taken.items.is_empty() {
            taken.settle(usize::MAX);
            s.settle(usize::MAX);
            s.take_away(&taken);
        }
        s.settle(size);
        if set {
            s.items.iter_mut().for_each(|i| i.1 = 1);
        }
        let kept: u64 = s.items.iter().map(|i| i.1).sum();
        let n = s.numbers(kept << s.level);
        group.push(groups[chunk[0]]);
        distinct.push(cut(n.distinct));
        entropy.push(n.entropy);
        top.push(n.top_share);
        if !s.items.is_empty() {
            let from = bytes.len();
            s.write(!set, &mut bytes);
            if only_taken && let Some(head) = bytes.get_mut(from) {
                *head |= TAKEN_AWAY;
            }
        }
        ends.push(bytes.len() as u64);
    }
    let schema = Schema::new(vec![
        Field::new("group", DataType::UInt32, false),
        Field::new("state", DataType::BinaryView, true),
        Field::new("distinct", DataType::UInt32, false),
        Field::new("entropy", DataType::Float64, false),
        Field::new("top_share", DataType::Float64, false),
    ]);
    let arrays: Vec<ArrayRef> = vec![
        Arc::new(UInt32Array::from(group)),
        Arc::new(binary_views(bytes, &ends)?),
        Arc::new(UInt32Array::from(distinct)),
        Arc::new(Float64Array::from(entropy)),
        Arc::new(Float64Array::from(top)),
    ];
    Ok(RecordBatch::try_new(Arc::new(schema), arrays)?)
}

#[cfg(test)]
mod tests {
    use super::super::summary::Summary;
    use super::*;
    use arrow_array::cast::AsArray;
    use arrow_array::types::UInt32Type;
    use proptest::prelude::*;

    /// What a group comes to, one summary added to the other.
    fn plainly(states: &[&[u8]], size: usize) -> (Vec<u8>, u32) {
        let mut whole = Summary::default();
        let set = states.iter().any(|s| s.first().is_some_and(|b| b & 0x80 != 0));
        for state in states {
            assert!(whole.add_stored(state));
        }
        if set {
            whole.items.iter_mut().for_each(|i| i.1 = 1);
        }
        whole.settle(size);
        if set {
            whole.items.iter_mut().for_each(|i| i.1 = 1);
        }
        let mut bytes = Vec::new();
        if !whole.items.is_empty() {
            whole.write(!set, &mut bytes);
        }
        let distinct = whole.numbers(1).distinct;
        (bytes, cut(distinct))
    }

    /// A stored summary, with counts or without, of few hashes that others have as well; or nothing.
    fn state() -> impl Strategy<Value = Option<Vec<u8>>> {
        let items = proptest::collection::vec(
            (0u32..40, prop_oneof![8 => 1u64..300, 1 => 1u64 << 32..1u64 << 40]),
            0..12,
        );
        (items, 0u8..3, any::<bool>(), 0u8..8).prop_map(|(items, level, counts, some)| {
            let items = items
                .into_iter()
                .map(|(hash, n)| (hash << 25, if counts { n } else { 1 }));
            let mut summary = Summary {
                level,
                items: items.collect(),
            };
            summary.settle(100);
            if !counts {
                summary.items.iter_mut().for_each(|i| i.1 = 1);
            }
            let mut bytes = Vec::new();
            summary.write(counts, &mut bytes);
            (some > 0).then_some(bytes)
        })
    }

    proptest! {
        #[test]
        fn sets_and_counts_merge_as_they_are_defined_to(
            rows in proptest::collection::vec((0u32..6, state()), 0..60),
            apart in prop_oneof![Just(1u32), Just(1000)],
            size in 1usize..30,
        ) {
            let groups: Vec<u32> = rows.iter().map(|r| r.0 * apart).collect();
            let states: Vec<Option<&[u8]>> = rows.iter().map(|r| r.1.as_deref()).collect();
            let batch = merge_states(&groups, &states, size).unwrap();
            let mut wanted = groups.clone();
            wanted.sort_unstable();
            wanted.dedup();
            prop_assert_eq!(batch.column(0).as_primitive::<UInt32Type>().values(), wanted.as_slice());
            for (at, group) in wanted.iter().enumerate() {
                let mine: Vec<&[u8]> = (0..rows.len())
                    .filter(|&i| groups[i] == *group)
                    .map(|i| states[i].unwrap_or_default())
                    .collect();
                let (bytes, distinct) = plainly(&mine, size);
                prop_assert_eq!(batch.column(1).as_binary_view().value(at), bytes.as_slice());
                prop_assert_eq!(batch.column(2).as_primitive::<UInt32Type>().value(at), distinct);
            }
        }
    }

    #[test]
    fn counts_are_taken_away_from_those_of_their_group() {
        let stored = |items: &[(u32, u64)], taken: bool| {
            let mut bytes = Vec::new();
            let items = items.to_vec();
            Summary { level: 0, items }.write(true, &mut bytes);
            bytes[0] |= if taken {
                super::super::summary::TAKEN_AWAY
            } else {
                0
            };
            bytes
        };
        let (held, other) = (stored(&[(1, 2), (5, 1)], false), stored(&[(5, 3), (9, 1)], false));
        let back = stored(&[(5, 1), (1, 2)], true);
        let sorted = stored(&[(1, 2), (5, 1)], true);
        let states = [Some(back.as_slice()), Some(&held), Some(&other), Some(&back)];
        let batch = merge_states(&[0, 0, 0, 1], &states, 16).unwrap();
        let merged = batch.column(1).as_binary_view();
        assert_eq!(merged.value(0), stored(&[(5, 3), (9, 1)], false));
        assert_eq!(batch.column(2).as_primitive::<UInt32Type>().value(0), 2);
        assert_eq!(merged.value(1), sorted);
    }

    #[test]
    fn what_is_no_summary_is_named_by_its_row() {
        let good: &[u8] = &[0x80, 1, 0, 0, 0];
        for bad in [&[0x80, 1, 0][..], &[0, 1, 0, 0, 0][..]] {
            for group in [0, 1] {
                let error = merge_states(&[0, group], &[Some(good), Some(bad)], 16).unwrap_err();
                assert!(
                    error.to_string().contains("row 1 is no stored summary"),
                    "{error}"
                );
            }
        }
    }
}
