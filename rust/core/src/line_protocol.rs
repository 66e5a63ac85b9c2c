//! Rows of Arrow tables as InfluxDB's line protocol.
//!
//! A row becomes one line, `measurement,tag=value field=1i 1767225600`. Everything that does not change from row
//! to row (names of tags and fields, the words of a dictionary column) is escaped once; a row is then little more
//! than copying. What log lines can bring into a table is hostile, so:
//!
//! - In tags a backslash and control characters become `\xNN` (the two digits of each byte), and comma, equals
//!   sign and blank are escaped. Different values stay different, a value never ends in a backslash (which would
//!   take the comma behind it along), and no value holds a line break: each line is one point, always.
//! - In string fields quotation marks and backslashes are escaped, control characters become `\xNN` in plain text.
//! - A number that the protocol cannot say (NaN, an infinity) and a null leave their field out. A row without any
//!   field is left out.
//! - A null in a tag is the word `none`; an empty tag is left out, which is how InfluxDB sees it.
//!
//! Integers carry the suffix `i`, floats are the shortest text that reads back as the same number. Tags stand in
//! the order of their keys, which is the order that InfluxDB sorts them into.
//!
//! Limits: a time must be there in every row; unsigned integers beyond 2^63 - 1 are errors, since the protocol's
//! unsigned type is not known to all servers.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowDictionaryKeyType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
    UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{
    Array, BooleanArray, DictionaryArray, Float32Array, Float64Array, LargeStringArray, PrimitiveArray,
    RecordBatch, StringArray, StringViewArray,
};
use arrow_schema::{DataType, TimeUnit};

use crate::error::{Error, Result};

mod text;

use text::{Piece, Text};

/// The unit of the times that are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Milliseconds,
    /// Microseconds.
    Microseconds,
    /// Nanoseconds.
    Nanoseconds,
}

impl Precision {
    /// The precision that InfluxDB calls `s`, `ms`, `us` or `ns`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "s" => Self::Seconds,
            "ms" => Self::Milliseconds,
            "us" => Self::Microseconds,
            "ns" => Self::Nanoseconds,
            _ => return None,
        })
    }

    fn a_second(self) -> i64 {
        match self {
            Self::Seconds => 1,
            Self::Milliseconds => 1_000,
            Self::Microseconds => 1_000_000,
            Self::Nanoseconds => 1_000_000_000,
        }
    }
}

/// What of a table becomes what of a line.
#[derive(Clone, Debug)]
pub struct Layout<'a> {
    /// The measurement.
    pub measurement: &'a str,
    /// Columns of text that become tags of the same name.
    pub tags: &'a [&'a str],
    /// Columns that become fields of the same name.
    pub fields: &'a [&'a str],
    /// The column of times.
    pub time: &'a str,
    /// The unit of the times that are written.
    pub precision: Precision,
    /// Most lines of one text; 0 for one text whatever its length.
    pub lines: usize,
}

/// What stands for a null in a tag.
const NULL_TAG: &[u8] = b"none";

/// Renders the rows of batches, in their order, and hands over each text when it is whole.
///
/// # Errors
///
/// [`Error::Option`] names a column that is missing or whose type or value has no place in a line; what was handed
/// over before stands.
pub fn render(batches: &[RecordBatch], layout: &Layout<'_>, mut emit: impl FnMut(&[u8])) -> Result<()> {
    let mut text = Text::with_room(1 << 16);
    let mut lines = 0;
    let head = Piece::new(&escaped_name(layout.measurement, "measurement", b", ")?);
    for batch in batches {
        let time = Time::of(column(batch, layout.time, "time")?, layout)?;
        let mut tags = layout
            .tags
            .iter()
            .map(|name| Tag::of(column(batch, name, "tags")?, name))
            .collect::<Result<Vec<_>>>()?;
        tags.sort_by(|a, b| a.key.cmp(&b.key));
        let fields = layout
            .fields
            .iter()
            .map(|name| Field::of(column(batch, name, "fields")?, name))
            .collect::<Result<Vec<_>>>()?;
        let mut last_time = None;
        let mut time_text = Piece::new(b"");
        for row in 0..batch.num_rows() {
            let start = text.len();
            text.piece(&head);
            for tag in &tags {
                tag.write(row, &mut text);
            }
            let before = text.len();
            for field in &fields {
                field.write(row, &mut text)?;
            }
            if text.len() == before {
                text.cut(start);
                continue;
            }
            // Each field was written with a comma before it; the first one's is the blank behind the tags.
            text.set(before, b' ');
            let when = time.at(row)?;
            if last_time != Some(when) {
                last_time = Some(when);
                time_text = Piece::new(format!(" {when}\n").as_bytes());
            }
            text.piece(&time_text);
            lines += 1;
            if lines == layout.lines {
                emit(text.written());
                text.cut(0);
                lines = 0;
            }
        }
    }
    if text.len() > 0 {
        emit(text.written());
        text.cut(0);
    }
    Ok(())
}

fn column<'a>(batch: &'a RecordBatch, name: &str, option: &'static str) -> Result<&'a dyn Array> {
    batch
        .column_by_name(name)
        .map(AsRef::as_ref)
        .ok_or_else(|| Error::Option {
            option,
            message: format!("the table has no column {name:?}"),
        })
}

fn wrong_type(option: &'static str, name: &str, found: &DataType, expected: &str) -> Error {
    Error::Option {
        option,
        message: format!("column {name:?} is of type {found}; {expected} is expected"),
    }
}

/// The names of measurements, tags and fields, which come from the program and not from a log.
fn escaped_name(name: &str, option: &'static str, escaped: &[u8]) -> Result<Vec<u8>> {
    if name.is_empty() || name.bytes().any(|b| b < 0x20 || b == 0x7f || b == b'\\') {
        return Err(Error::Option {
            option,
            message: format!("{name:?} is no name: empty, or with a control character or backslash"),
        });
    }
    let mut out = Vec::with_capacity(name.len() + 2);
    for b in name.bytes() {
        if escaped.contains(&b) {
            out.push(b'\\');
        }
        out.push(b);
    }
    Ok(out)
}

/// What becomes of a byte of a tag: 0 is copied, 1 gets a backslash, 2 becomes `\xNN`.
const TAG_BYTES: [u8; 256] = {
    let mut table = [0; 256];
    let mut b = 0;
    while b < 0x20 {
        table[b] = 2;
        b += 1;
    }
    table[0x7f] = 2;
    table[b'\\' as usize] = 2;
    table[b',' as usize] = 1;
    table[b'=' as usize] = 1;
    table[b' ' as usize] = 1;
    table
};

/// What becomes of a byte of a string field, in the same numbers.
const TEXT_BYTES: [u8; 256] = {
    let mut table = [0; 256];
    let mut b = 0;
    while b < 0x20 {
        table[b] = 2;
        b += 1;
    }
    table[0x7f] = 2;
    table[b'\\' as usize] = 1;
    table[b'"' as usize] = 1;
    table
};

/// Appends a text, its bytes handled as a table says; `backslash` is how a backslash is written in it.
#[inline]
fn escape(text: &str, table: &[u8; 256], backslash: &[u8], out: &mut Text) {
    let bytes = text.as_bytes();
    if bytes.iter().fold(0, |any, &b| any | table[usize::from(b)]) == 0 {
        out.bytes(bytes);
        return;
    }
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for &b in bytes {
        match table[usize::from(b)] {
            0 => out.byte(b),
            1 => out.bytes(&[b'\\', b]),
            _ => {
                out.bytes(backslash);
                out.bytes(&[b'x', DIGITS[usize::from(b >> 4)], DIGITS[usize::from(b & 15)]]);
            }
        }
    }
}

fn escape_tag(text: &str, out: &mut Text) {
    escape(text, &TAG_BYTES, b"\\", out);
}

/// A column of text, however Arrow holds it.
enum Strings<'a> {
    Small(&'a StringArray),
    Large(&'a LargeStringArray),
    View(&'a StringViewArray),
}

impl<'a> Strings<'a> {
    fn of(array: &'a dyn Array) -> Option<Self> {
        Some(match array.data_type() {
            DataType::Utf8 => Self::Small(array.as_string()),
            DataType::LargeUtf8 => Self::Large(array.as_string()),
            DataType::Utf8View => Self::View(array.as_string_view()),
            _ => return None,
        })
    }

    #[inline]
    fn at(&self, row: usize) -> Option<&'a str> {
        match self {
            Self::Small(a) => a.is_valid(row).then(|| a.value(row)),
            Self::Large(a) => a.is_valid(row).then(|| a.value(row)),
            Self::View(a) => a.is_valid(row).then(|| a.value(row)),
        }
    }
}

/// One tag of every row.
struct Tag<'a> {
    key: String,
    /// Comma, key, equals sign.
    start: Piece,
    /// The whole tag of a null.
    null: Piece,
    values: TagValues<'a>,
}

enum TagValues<'a> {
    Strings(Strings<'a>),
    /// Whole `,key=value` texts (empty where the tag is left out), and which one each row has. The last is that
    /// of a null.
    Words {
        words: Vec<Piece>,
        index: Vec<u32>,
    },
}

impl<'a> Tag<'a> {
    fn of(array: &'a dyn Array, name: &str) -> Result<Self> {
        let mut start = vec![b','];
        start.extend(escaped_name(name, "tags", b",= ")?);
        start.push(b'=');
        let values = match array.data_type() {
            DataType::Dictionary(key, _) => Self::words(array, key, &start),
            _ => Strings::of(array).map(TagValues::Strings),
        };
        let values = values
            .ok_or_else(|| wrong_type("tags", name, array.data_type(), "text, plain or by dictionary"))?;
        Ok(Self {
            key: name.to_owned(),
            null: Piece::new(&[&start, NULL_TAG].concat()),
            start: Piece::new(&start),
            values,
        })
    }

    fn words(array: &'a dyn Array, key: &DataType, start: &[u8]) -> Option<TagValues<'a>> {
        match key {
            DataType::Int8 => Self::of_dictionary(array.as_dictionary::<Int8Type>(), start),
            DataType::Int16 => Self::of_dictionary(array.as_dictionary::<Int16Type>(), start),
            DataType::Int32 => Self::of_dictionary(array.as_dictionary::<Int32Type>(), start),
            DataType::Int64 => Self::of_dictionary(array.as_dictionary::<Int64Type>(), start),
            DataType::UInt8 => Self::of_dictionary(array.as_dictionary::<UInt8Type>(), start),
            DataType::UInt16 => Self::of_dictionary(array.as_dictionary::<UInt16Type>(), start),
            DataType::UInt32 => Self::of_dictionary(array.as_dictionary::<UInt32Type>(), start),
            DataType::UInt64 => Self::of_dictionary(array.as_dictionary::<UInt64Type>(), start),
            _ => None,
        }
    }

    fn of_dictionary<K: ArrowDictionaryKeyType>(
        array: &'a DictionaryArray<K>,
        start: &[u8],
    ) -> Option<TagValues<'a>> {
        let values = Strings::of(array.values().as_ref())?;
        let count = array.values().len();
        let null = [start, NULL_TAG].concat();
        let mut words: Vec<Piece> = (0..count)
            .map(|i| match values.at(i) {
                Some("") => Piece::new(b""),
                Some(value) => {
                    let mut word = Text::default();
                    word.bytes(start);
                    escape_tag(value, &mut word);
                    Piece::new(word.written())
                }
                None => Piece::new(&null),
            })
            .collect();
        words.push(Piece::new(&null));
        let index = (0..array.len())
            .map(|row| array.key(row).and_then(|k| u32::try_from(k).ok()))
            .map(|k| k.unwrap_or(u32::try_from(count).unwrap_or(u32::MAX)))
            .collect();
        Some(TagValues::Words { words, index })
    }

    #[inline]
    fn write(&self, row: usize, out: &mut Text) {
        match &self.values {
            TagValues::Words { words, index } => {
                if let Some(word) = words.get(index[row] as usize) {
                    out.piece(word);
                }
            }
            TagValues::Strings(strings) => match strings.at(row) {
                Some("") => {}
                Some(value) => {
                    out.piece(&self.start);
                    escape_tag(value, out);
                }
                None => out.piece(&self.null),
            },
        }
    }
}

/// One field of every row.
struct Field<'a> {
    name: String,
    /// Comma, key, equals sign.
    start: Piece,
    values: FieldValues<'a>,
}

enum FieldValues<'a> {
    I8(&'a PrimitiveArray<Int8Type>),
    I16(&'a PrimitiveArray<Int16Type>),
    I32(&'a PrimitiveArray<Int32Type>),
    I64(&'a PrimitiveArray<Int64Type>),
    U8(&'a PrimitiveArray<UInt8Type>),
    U16(&'a PrimitiveArray<UInt16Type>),
    U32(&'a PrimitiveArray<UInt32Type>),
    U64(&'a PrimitiveArray<UInt64Type>),
    F32(&'a Float32Array),
    F64(&'a Float64Array),
    Boolean(&'a BooleanArray),
    Strings(Strings<'a>),
    Nulls,
}

impl<'a> Field<'a> {
    fn of(array: &'a dyn Array, name: &str) -> Result<Self> {
        let mut start = vec![b','];
        start.extend(escaped_name(name, "fields", b",= ")?);
        start.push(b'=');
        let values =
            match array.data_type() {
                DataType::Int8 => FieldValues::I8(array.as_primitive()),
                DataType::Int16 => FieldValues::I16(array.as_primitive()),
                DataType::Int32 => FieldValues::I32(array.as_primitive()),
                DataType::Int64 => FieldValues::I64(array.as_primitive()),
                DataType::UInt8 => FieldValues::U8(array.as_primitive()),
                DataType::UInt16 => FieldValues::U16(array.as_primitive()),
                DataType::UInt32 => FieldValues::U32(array.as_primitive()),
                DataType::UInt64 => FieldValues::U64(array.as_primitive()),
                DataType::Float32 => FieldValues::F32(array.as_primitive::<Float32Type>()),
                DataType::Float64 => FieldValues::F64(array.as_primitive::<Float64Type>()),
                DataType::Boolean => FieldValues::Boolean(array.as_boolean()),
                DataType::Null => FieldValues::Nulls,
                _ => FieldValues::Strings(Strings::of(array).ok_or_else(|| {
                    wrong_type("fields", name, array.data_type(), "a number, boolean or text")
                })?),
            };
        Ok(Self {
            name: name.to_owned(),
            start: Piece::new(&start),
            values,
        })
    }

    #[inline]
    fn write(&self, row: usize, out: &mut Text) -> Result<()> {
        match &self.values {
            FieldValues::I8(a) => self.whole(a.is_valid(row).then(|| a.value(row).into()), out),
            FieldValues::I16(a) => self.whole(a.is_valid(row).then(|| a.value(row).into()), out),
            FieldValues::I32(a) => self.whole(a.is_valid(row).then(|| a.value(row).into()), out),
            FieldValues::I64(a) => self.whole(a.is_valid(row).then(|| a.value(row)), out),
            FieldValues::U8(a) => self.whole(a.is_valid(row).then(|| a.value(row).into()), out),
            FieldValues::U16(a) => self.whole(a.is_valid(row).then(|| a.value(row).into()), out),
            FieldValues::U32(a) => self.whole(a.is_valid(row).then(|| a.value(row).into()), out),
            FieldValues::U64(a) => {
                if a.is_valid(row) {
                    let value = i64::try_from(a.value(row)).map_err(|_| Error::Option {
                        option: "fields",
                        message: format!("column {:?}: {} is beyond 2^63 - 1", self.name, a.value(row)),
                    })?;
                    self.whole(Some(value), out);
                }
            }
            FieldValues::F32(a) => {
                if a.is_valid(row) && a.value(row).is_finite() {
                    out.piece(&self.start);
                    out.bytes(zmij::Buffer::new().format_finite(a.value(row)).as_bytes());
                }
            }
            FieldValues::F64(a) => {
                if a.is_valid(row) && a.value(row).is_finite() {
                    out.piece(&self.start);
                    out.bytes(zmij::Buffer::new().format_finite(a.value(row)).as_bytes());
                }
            }
            FieldValues::Boolean(a) => {
                if a.is_valid(row) {
                    out.piece(&self.start);
                    out.byte(if a.value(row) { b't' } else { b'f' });
                }
            }
            FieldValues::Strings(strings) => {
                if let Some(text) = strings.at(row) {
                    out.piece(&self.start);
                    out.byte(b'"');
                    escape(text, &TEXT_BYTES, b"\\\\", out);
                    out.byte(b'"');
                }
            }
            FieldValues::Nulls => {}
        }
        Ok(())
    }

    #[inline]
    fn whole(&self, value: Option<i64>, out: &mut Text) {
        if let Some(value) = value {
            out.piece(&self.start);
            out.integer(value);
        }
    }
}

/// The times of every row.
struct Time<'a> {
    values: &'a [i64],
    nulls: Option<&'a arrow_buffer::NullBuffer>,
    /// Written = stored · `times` / `parts`, one of them 1.
    times: i64,
    parts: i64,
}

impl<'a> Time<'a> {
    fn of(array: &'a dyn Array, layout: &Layout<'_>) -> Result<Self> {
        let (values, stored): (&[i64], i64) = match array.data_type() {
            DataType::Timestamp(TimeUnit::Second, _) => {
                (array.as_primitive::<TimestampSecondType>().values(), 1)
            }
            DataType::Timestamp(TimeUnit::Millisecond, _) => {
                (array.as_primitive::<TimestampMillisecondType>().values(), 1_000)
            }
            DataType::Timestamp(TimeUnit::Microsecond, _) => (
                array.as_primitive::<TimestampMicrosecondType>().values(),
                1_000_000,
            ),
            DataType::Timestamp(TimeUnit::Nanosecond, _) => (
                array.as_primitive::<TimestampNanosecondType>().values(),
                1_000_000_000,
            ),
            other => return Err(wrong_type("time", layout.time, other, "a timestamp")),
        };
        let wanted = layout.precision.a_second();
        Ok(Self {
            values,
            nulls: array.nulls(),
            times: (wanted / stored).max(1),
            parts: (stored / wanted).max(1),
        })
    }

    #[inline]
    fn at(&self, row: usize) -> Result<i64> {
        if self.nulls.is_some_and(|n| n.is_null(row)) {
            return Err(Error::Option {
                option: "time",
                message: format!("row {row} has no time"),
            });
        }
        self.values[row]
            .div_euclid(self.parts)
            .checked_mul(self.times)
            .ok_or_else(|| Error::Option {
                option: "time",
                message: format!("row {row}: {} does not fit the precision", self.values[row]),
            })
    }
}

#[cfg(test)]
mod tests;
