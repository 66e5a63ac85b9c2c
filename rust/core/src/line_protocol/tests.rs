use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray, UInt64Array};
use proptest::prelude::*;

use super::*;

fn layout<'a>(tags: &'a [&'a str], fields: &'a [&'a str]) -> Layout<'a> {
    Layout {
        measurement: "m",
        tags,
        fields,
        time: "t",
        precision: Precision::Seconds,
        lines: 0,
    }
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter(columns).unwrap()
}

fn times(n: usize) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from(vec![1_500_000; n]))
}

fn texts(batches: &[RecordBatch], layout: &Layout<'_>) -> Result<Vec<String>> {
    let mut texts = Vec::new();
    render(batches, layout, |t| {
        texts.push(String::from_utf8(t.to_vec()).unwrap())
    })?;
    Ok(texts)
}

fn text(batch: &RecordBatch, layout: &Layout<'_>) -> String {
    texts(std::slice::from_ref(batch), layout).unwrap().concat()
}

#[test]
fn a_row_is_a_line_with_its_tags_in_order() {
    let b = batch(vec![
        ("server", Arc::new(StringArray::from(vec!["1dns"]))),
        ("client", Arc::new(StringArray::from(vec!["192.0.2.1"]))),
        ("count", Arc::new(Int64Array::from(vec![-12]))),
        ("entropy", Arc::new(Float64Array::from(vec![0.1]))),
        ("t", times(1)),
    ]);
    assert_eq!(
        text(&b, &layout(&["server", "client"], &["count", "entropy"])),
        "m,client=192.0.2.1,server=1dns count=-12i,entropy=0.1 1\n"
    );
}

#[test]
fn nulls_and_numbers_without_a_text_are_left_out() {
    let b = batch(vec![
        ("a", Arc::new(StringArray::from(vec![None, Some(""), Some("x")]))),
        ("n", Arc::new(Int64Array::from(vec![None, Some(1), None]))),
        (
            "f",
            Arc::new(Float64Array::from(vec![
                Some(f64::NAN),
                Some(f64::INFINITY),
                None,
            ])),
        ),
        (
            "g",
            Arc::new(Float64Array::from(vec![1e300, 2.0, f64::NEG_INFINITY])),
        ),
        ("t", times(3)),
    ]);
    assert_eq!(
        text(&b, &layout(&["a"], &["n", "f", "g"])),
        "m,a=none g=1e+300 1\nm n=1i,g=2.0 1\n"
    );
}

#[test]
fn hostile_text_stays_within_its_value() {
    let b = batch(vec![
        (
            "a",
            Arc::new(StringArray::from(vec!["x,y=z w\\", "\n,b=1 c=2 3\nm"])),
        ),
        ("s", Arc::new(StringArray::from(vec!["say \"no\"\\", "a\nb\0"]))),
        ("t", times(2)),
    ]);
    assert_eq!(
        text(&b, &layout(&["a"], &["s"])),
        "m,a=x\\,y\\=z\\ w\\x5c s=\"say \\\"no\\\"\\\\\" 1\n\
         m,a=\\x0a\\,b\\=1\\ c\\=2\\ 3\\x0am s=\"a\\\\x0ab\\\\x00\" 1\n"
    );
}

#[test]
fn dictionaries_and_plain_text_give_the_same() {
    let words: DictionaryArray<UInt8Type> = vec![Some("a b"), None, Some("\\"), Some("a b")]
        .into_iter()
        .collect();
    let plain = StringArray::from(vec![Some("a b"), None, Some("\\"), Some("a b")]);
    let n: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3, 4]));
    let one = batch(vec![("k", Arc::new(words)), ("n", n.clone()), ("t", times(4))]);
    let two = batch(vec![("k", Arc::new(plain)), ("n", n), ("t", times(4))]);
    let l = layout(&["k"], &["n"]);
    assert_eq!(text(&one, &l), text(&two, &l));
    assert_eq!(text(&one, &l).lines().nth(1), Some("m,k=none n=2i 1"));
}

#[test]
fn times_have_the_precision_asked_for() {
    let b = batch(vec![
        ("n", Arc::new(Int64Array::from(vec![1, 1]))),
        (
            "t",
            Arc::new(TimestampMicrosecondArray::from(vec![-1, 1_700_000_000_123_456])),
        ),
    ]);
    let at = |precision| {
        text(
            &b,
            &Layout {
                precision,
                ..layout(&[], &["n"])
            },
        )
    };
    assert_eq!(at(Precision::Seconds), "m n=1i -1\nm n=1i 1700000000\n");
    assert_eq!(at(Precision::Milliseconds), "m n=1i -1\nm n=1i 1700000000123\n");
    assert_eq!(
        at(Precision::Nanoseconds),
        "m n=1i -1000\nm n=1i 1700000000123456000\n"
    );
    assert_eq!(Precision::named("us"), Some(Precision::Microseconds));
    assert_eq!(Precision::named("m"), None);
}

#[test]
fn texts_are_cut_at_whole_lines_across_batches() {
    let b = batch(vec![
        (
            "n",
            Arc::new(Int64Array::from(vec![Some(0), None, Some(2), Some(30)])),
        ),
        ("t", times(4)),
    ]);
    let found = texts(
        &[b.clone(), b],
        &Layout {
            lines: 2,
            ..layout(&[], &["n"])
        },
    )
    .unwrap();
    assert_eq!(
        found,
        [
            "m n=0i 1\nm n=2i 1\n",
            "m n=30i 1\nm n=0i 1\n",
            "m n=2i 1\nm n=30i 1\n"
        ]
    );
}

#[test]
fn what_has_no_place_in_a_line_is_named() {
    let b = batch(vec![
        ("u", Arc::new(UInt64Array::from(vec![u64::MAX]))),
        ("n", Arc::new(Int64Array::from(vec![1]))),
        (
            "none",
            Arc::new(TimestampMicrosecondArray::from(vec![None::<i64>])),
        ),
        ("t", times(1)),
    ]);
    let message = |l: &Layout<'_>| texts(std::slice::from_ref(&b), l).unwrap_err().to_string();
    assert!(message(&layout(&[], &["u"])).contains("beyond 2^63 - 1"));
    assert!(message(&layout(&["n"], &["n"])).contains("text, plain or by dictionary"));
    assert!(message(&layout(&["x"], &["n"])).contains("no column \"x\""));
    assert!(
        message(&Layout {
            time: "none",
            ..layout(&[], &["n"])
        })
        .contains("no time")
    );
    assert!(
        message(&Layout {
            measurement: "a\\",
            ..layout(&[], &["n"])
        })
        .contains("no name")
    );
}

/// Reads a tag section back as InfluxDB's parser does: a backslash takes the special character behind it.
fn read_tag(line: &str) -> String {
    let mut found = String::new();
    let mut rest = line.strip_prefix("m,a=").unwrap().chars();
    loop {
        match rest.next().unwrap() {
            '\\' => {
                let next = rest.next().unwrap();
                if !matches!(next, ',' | '=' | ' ') {
                    found.push('\\');
                }
                found.push(next);
            }
            ' ' => return found,
            c => found.push(c),
        }
    }
}

proptest! {
    #[test]
    fn any_text_is_one_line_and_different_texts_differ(a in ".*", b in ".*") {
        let columns = vec![
            ("a", Arc::new(StringArray::from(vec![a.as_str(), b.as_str()])) as ArrayRef),
            ("s", Arc::new(StringArray::from(vec![a.as_str(), b.as_str()])) as ArrayRef),
            ("t", times(2)),
        ];
        let found = text(&batch(columns), &layout(&["a"], &["s"]));
        let lines: Vec<&str> = found.lines().collect();
        prop_assert_eq!(lines.len(), 2);
        prop_assert!(found.bytes().all(|c| c == b'\n' || c >= 0x20));
        if !a.is_empty() && !b.is_empty() {
            prop_assert_eq!(read_tag(lines[0]) == read_tag(lines[1]), a == b);
        }
    }

    #[test]
    fn floats_read_back_as_the_same_number(value in any::<f64>()) {
        let columns = vec![("f", Arc::new(Float64Array::from(vec![value])) as ArrayRef), ("t", times(1))];
        let found = text(&batch(columns), &layout(&[], &["f"]));
        if value.is_finite() {
            let shown = found.strip_prefix("m f=").and_then(|r| r.strip_suffix(" 1\n")).unwrap();
            prop_assert_eq!(shown.parse::<f64>().unwrap().to_bits(), value.to_bits());
        } else {
            prop_assert!(found.is_empty());
        }
    }
}
