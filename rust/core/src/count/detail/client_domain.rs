//! `client_domain`: what each client asks of each registered domain in an hour, heavy hitters only.
//!
//! *Names.* The distinct names of a pair are known one by one up to 256; past it those are kept whose hash
//! is small enough, as in a [`Summary`]. Label entropies and lengths are those of the names kept, each name
//! once: `label_entropy_sum` over `names_measured`, and `name_length_histogram`, whose index is the length.
//!
//! *Intervals.* Time is known by the minute. The interval of each query from the one before of the same
//! client, domain and server clock, by their minutes and not by the order of lines, is counted in 24 buckets of
//! minutes that leave the usual periods of programs a bucket of their own; [`INTERVALS`] holds where each begins. A
//! row keeps the minutes of its cell in which something was asked as bits, and that is all it needs: queries of one
//! minute have intervals of 0, and minutes those of their distances. The first query of a source has no interval;
//! that of another hour has, and is counted in the hour in which it ends.
//!
//! *Bounds.* `limits.client_domains` pairs a cell: past it the lighter half goes, so that what is heavy over the hour
//! stays whenever it began (a count can then lack what came before the pair last went). Of each hour and
//! server the `limits.client_domain_rows` heaviest pairs are kept. Both are counted.

use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, Int32Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, SchemaRef};
use serde::{Deserialize, Serialize};

use super::Binned;
use super::batch::{self, Histograms, Places, States};
use super::look::{ENTROPY_PARTS, Look};
use super::names::Names;
use crate::count::intern::Interner;
use crate::count::summary::{Summary, kept};
use crate::error::Result;

/// Distinct names of a pair that are known one by one.
pub const NAMES_MOST: usize = 256;

/// First minute of each bucket of intervals; the last has no end.
pub const INTERVALS: [u64; 24] = [
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 15, 20, 30, 45, 60, 90, 120, 180, 240, 360, 720, 1440,
];

fn bucket(minutes: u64) -> usize {
    INTERVALS.partition_point(|&from| from <= minutes) - 1
}

/// A name of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Asked {
    hash: u32,
    entropy: u16,
    length: u8,
}

/// The distinct names of a pair.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Asks {
    level: u8,
    fold_at: u16,
    /// The first name, while it is the only one: most pairs need no list.
    first: Option<Asked>,
    items: Vec<Asked>,
}

impl Asks {
    fn add(&mut self, name: Asked) {
        if self.items.is_empty() && self.level == 0 {
            match self.first {
                None => self.first = Some(name),
                Some(first) if first.hash != name.hash => {
                    self.first = None;
                    self.items = vec![first, name];
                }
                Some(_) => {}
            }
            return;
        }
        if !kept(name.hash, self.level) || self.items.last() == Some(&name) {
            return;
        }
        self.items.push(name);
        if self.items.len() >= usize::from(self.fold_at).max(8) {
            self.fold();
        }
    }

    fn fold(&mut self) {
        self.items.extend(self.first.take());
        self.items.sort_unstable_by_key(|n| (n.hash, n.entropy, n.length));
        self.items.dedup_by_key(|n| n.hash);
        let level = self.level;
        self.items.retain(|n| kept(n.hash, level));
        while self.items.len() > NAMES_MOST && self.level < 31 {
            self.level += 1;
            let level = self.level;
            let keep = self.items.partition_point(|n| kept(n.hash, level));
            self.items.truncate(keep);
        }
        self.fold_at = (self.items.len() * 2) as u16;
    }

    fn absorb(&mut self, other: &Asks) {
        self.level = self.level.max(other.level);
        self.items.extend_from_slice(&other.items);
        self.items.extend(other.first);
        self.fold();
    }
}

/// Counts of one client and domain in a cell.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Pair {
    /// Queries.
    pub count: u64,
    /// Minutes of the cell in which something was asked, one bit each.
    minutes: u64,
    asks: Asks,
    mail: u8,
}

impl Pair {
    /// Adds queries for a name in a minute of the cell.
    pub fn count(&mut self, minute: u32, name: u32, look: Look, times: u64) {
        self.count += times;
        self.mail |= look.mail();
        self.asks.add(Asked {
            hash: name,
            entropy: look.entropy,
            length: look.length,
        });
        self.minutes |= 1 << (minute & 63);
    }

    /// The minute of the last query, if the cell begins at `first`.
    #[must_use]
    pub fn last(&self, first: i64) -> Option<i64> {
        (self.minutes != 0).then(|| first + 63 - i64::from(self.minutes.leading_zeros()))
    }

    /// Adds the counts of another part of the cell.
    pub fn add(&mut self, other: &Pair) {
        self.count += other.count;
        self.mail |= other.mail;
        self.asks.absorb(&other.asks);
        self.minutes |= other.minutes;
    }

    /// Gives back the memory that only a growing row needs.
    pub fn cool(&mut self) {
        if self.asks.first.is_none() {
            self.asks.fold();
            self.asks.items.shrink_to_fit();
        }
    }
}

/// Counts of one client and domain in an hour.
#[derive(Clone, Debug, Default)]
pub struct PairHour {
    /// Queries.
    pub count: u64,
    asks: Asks,
    intervals: [u32; INTERVALS.len()],
    mail: u8,
}

impl PairHour {
    fn interval(&mut self, minutes: u64, times: u64) {
        let n = &mut self.intervals[bucket(minutes)];
        *n = n.saturating_add(u32::try_from(times).unwrap_or(u32::MAX));
    }

    /// Adds a cell's row. `first`: the cell's first minute; `before`: that of the last query before it.
    pub fn add(&mut self, cell: &Pair, first: i64, before: Option<i64>) {
        let distinct = u64::from(cell.minutes.count_ones());
        self.count += cell.count;
        self.mail |= cell.mail;
        self.asks.absorb(&cell.asks);
        self.interval(0, cell.count.saturating_sub(distinct));
        let mut before = before;
        let mut rest = cell.minutes;
        while rest != 0 {
            let minute = first + i64::from(rest.trailing_zeros());
            if let Some(before) = before {
                self.interval(before.abs_diff(minute), 1);
            }
            before = Some(minute);
            rest &= rest - 1;
        }
    }
}

/// Schema of the table.
#[must_use]
pub fn schema() -> SchemaRef {
    batch::schema(vec![
        Field::new("client", DataType::Utf8, true),
        Field::new("domain", DataType::Utf8, false),
        Field::new("count", DataType::UInt64, false),
        Field::new("distinct_names", DataType::UInt32, false),
        Field::new("name_state", DataType::BinaryView, true),
        Field::new("names_measured", DataType::UInt64, false),
        Field::new("label_entropy_sum", DataType::Float64, false),
        Field::new("mean_label_entropy", DataType::Float64, false),
        Field::new("name_length_histogram", batch::histogram_type(), false),
        Field::new("median_name_length", DataType::Int32, false),
        Field::new("mail_label_bits", DataType::Int32, false),
        Field::new("mail_labels", DataType::Int32, false),
        Field::new("interval_histogram", batch::histogram_type(), false),
    ])
}

/// A batch of the rows of all hours.
///
/// # Errors
/// [`crate::error::Error::Table`] if the columns do not fit together, which would be a bug.
pub fn rows(
    hours: Binned<(u32, u32), PairHour>,
    clients: &Interner,
    domains: &Names,
    source: u32,
) -> Result<RecordBatch> {
    let mut places = Places::default();
    let (mut client, mut domain) = (Vec::new(), Vec::new());
    let (mut count, mut measured) = (Vec::new(), Vec::new());
    let (mut entropy_sum, mut entropy_mean, mut median) = (Vec::new(), Vec::new(), Vec::new());
    let (mut mail, mut mail_ones) = (Vec::new(), Vec::new());
    let (mut lengths, mut intervals) = (Histograms::default(), Histograms::default());
    let mut names = States::default();
    for (place, rows) in hours {
        for ((of, id), mut row) in rows {
            row.asks.fold();
            let asked = &row.asks.items;
            places.push(place);
            client.push(clients.text(of));
            domain.push(domains.text(id));
            count.push(row.count);
            measured.push(asked.len() as u64);
            let sum = asked.iter().map(|n| u64::from(n.entropy)).sum::<u64>() as f64 / ENTROPY_PARTS;
            entropy_sum.push(sum);
            entropy_mean.push(sum / asked.len().max(1) as f64);
            let mut by_length = [0u32; 256];
            for n in asked {
                by_length[n.length as usize] += 1;
            }
            lengths.push(&by_length);
            median.push(lower_median(&by_length));
            mail.push(i32::from(row.mail));
            mail_ones.push(row.mail.count_ones() as i32);
            intervals.push(&row.intervals);
            names.push_set(&Summary {
                level: row.asks.level,
                items: asked.iter().map(|n| (n.hash, 1)).collect(),
            });
        }
    }
    let mut arrays: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(client)),
        Arc::new(StringArray::from(domain)),
        batch::u64s(count),
    ];
    arrays.extend(names.arrays()?);
    arrays.extend([
        batch::u64s(measured),
        Arc::new(Float64Array::from(entropy_sum)) as ArrayRef,
        Arc::new(Float64Array::from(entropy_mean)),
        lengths.array()?,
        Arc::new(Int32Array::from(median)),
        Arc::new(Int32Array::from(mail)),
        Arc::new(Int32Array::from(mail_ones)),
        intervals.array()?,
    ]);
    batch::batch(schema(), &places, arrays, source)
}

/// Index at which half of the counts are reached.
fn lower_median(histogram: &[u32]) -> i32 {
    let total: u64 = histogram.iter().map(|&n| u64::from(n)).sum();
    let mut reached = 0;
    let at = histogram.iter().position(|&n| {
        reached += u64::from(n);
        reached * 2 >= total
    });
    at.map_or(0, |i| i as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_have_their_buckets() {
        for (minutes, expected) in [
            (0, 0),
            (1, 1),
            (10, 10),
            (14, 11),
            (15, 12),
            (59, 15),
            (60, 16),
            (1439, 22),
            (1 << 40, 23),
        ] {
            assert_eq!(bucket(minutes), expected, "{minutes}");
        }
    }

    #[test]
    fn intervals_are_those_of_the_minutes_in_their_order() {
        let mut pair = Pair::default();
        for minute in [7, 5, 5, 59, 7, 5] {
            pair.count(minute, 1, Look::default(), 1);
        }
        assert_eq!(pair.last(120), Some(179));
        let mut hour = PairHour::default();
        hour.add(&pair, 120, Some(115));
        // From 115 to 125, twice within it, to 127, once within it, to 179.
        let mut expected = [0; INTERVALS.len()];
        expected[bucket(10)] += 1;
        expected[bucket(0)] += 3;
        expected[bucket(2)] += 1;
        expected[bucket(52)] += 1;
        assert_eq!(hour.intervals, expected);
    }

    #[test]
    fn the_lower_median() {
        assert_eq!(lower_median(&[0, 2, 0, 2]), 1);
        assert_eq!(lower_median(&[0, 1, 0, 2]), 3);
        assert_eq!(lower_median(&[]), 0);
    }

    #[test]
    fn a_pair_holds_few_names_however_many_are_asked() {
        let mut pair = Pair::default();
        for i in 0..100_000u32 {
            pair.count(i / 100 % 60, i.wrapping_mul(2_654_435_761), Look::default(), 1);
        }
        assert!(pair.asks.items.len() <= 2 * NAMES_MOST);
        pair.asks.fold();
        let distinct = (pair.asks.items.len() as f64) * f64::from(1u32 << pair.asks.level);
        assert!((distinct / 100_000.0 - 1.0).abs() < 0.2, "{distinct}");
    }
}
