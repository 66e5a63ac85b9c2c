//! Renders made-up rows as line protocol and prints how fast, on one core.
//!
//! `cargo run --release --example line_protocol`

use std::sync::Arc;
use std::time::Instant;

use arrow_array::types::UInt8Type;
use arrow_array::{
    ArrayRef, DictionaryArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringViewArray,
    TimestampMicrosecondArray,
};
use seismolog_core::line_protocol::{Layout, Precision, render};

const ROWS: usize = 200_000;
const TYPES: [&str; 10] = [
    "a", "aaaa", "mx", "ptr", "txt", "ns", "srv", "https", "any", "other",
];

fn words(value: impl Fn(usize) -> &'static str) -> ArrayRef {
    Arc::new(
        (0..ROWS)
            .map(|i| Some(value(i)))
            .collect::<DictionaryArray<UInt8Type>>(),
    )
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from_iter_values(
        (0..ROWS).map(|i| (1_790_000_000 + (i as i64 / 50) * 60) * 1_000_000),
    ));
    let clients = (0..ROWS).map(|i| format!("192.0.{}.{}", i % 20, i % 250));
    let clients: ArrayRef = Arc::new(StringViewArray::from_iter_values(clients));
    let server = words(|i| if i % 3 == 0 { "1dns" } else { "2dns" });
    let kind = words(|i| if i % 5 == 0 { "dns_denied" } else { "dns_query" });
    let mut columns = vec![
        ("bin_start", times.clone()),
        ("server", server.clone()),
        ("kind", kind.clone()),
        ("client", clients),
        (
            "count",
            Arc::new(Int32Array::from_iter_values((0..ROWS).map(|i| i as i32 % 700))) as ArrayRef,
        ),
    ];
    for (at, name) in TYPES.iter().enumerate() {
        let of_type = (0..ROWS).map(|i| if at < 3 { (i as i32 >> at) % 300 } else { 0 });
        columns.push((name, Arc::new(Int32Array::from_iter_values(of_type))));
    }
    columns.push((
        "distinct_names",
        Arc::new(Int32Array::from_iter_values((0..ROWS).map(|i| i as i32 % 90))),
    ));
    let mut fields = vec!["count"];
    fields.extend(TYPES);
    fields.push("distinct_names");
    measure(
        "client_traffic",
        RecordBatch::try_from_iter(columns)?,
        &["server", "kind", "client"],
        &fields,
    )?;

    let whole = |scale: i64| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(
            (0..ROWS).map(|i| i as i64 * scale % 50_000),
        ))
    };
    let real = |scale: f64| -> ArrayRef {
        Arc::new(Float64Array::from_iter_values(
            (0..ROWS).map(|i| (i as f64 * scale).sin().abs() * 9.0),
        ))
    };
    let columns = vec![
        ("bin_start", times),
        ("server", server),
        ("kind", kind),
        ("query_type", words(|i| TYPES[i % 10])),
        ("side", words(|i| if i % 2 == 0 { "inside" } else { "outside" })),
        ("count", whole(7)),
        ("recipients", whole(7)),
        ("distinct_clients", whole(3)),
        ("client_entropy", real(0.7)),
        ("distinct_names", whole(5)),
        ("name_entropy", real(0.3)),
        ("top_name_share", real(0.1)),
    ];
    let fields = columns[5..].iter().map(|c| c.0).collect::<Vec<_>>();
    let tags = ["server", "kind", "query_type", "side"];
    measure(
        "traffic",
        RecordBatch::try_from_iter(columns.clone())?,
        &tags,
        &fields,
    )?;
    Ok(())
}

fn measure(
    measurement: &str,
    batch: RecordBatch,
    tags: &[&str],
    fields: &[&str],
) -> Result<(), Box<dyn std::error::Error>> {
    let layout = Layout {
        measurement,
        tags,
        fields,
        time: "bin_start",
        precision: Precision::Seconds,
        lines: 10_000,
    };
    let mut best = f64::INFINITY;
    let mut bytes = 0;
    for _ in 0..9 {
        let start = Instant::now();
        bytes = 0;
        render(std::slice::from_ref(&batch), &layout, |text| bytes += text.len())?;
        best = best.min(start.elapsed().as_secs_f64());
    }
    println!(
        "{measurement}: {:.1} M points/s, {:.2} GB/s, {} bytes a point",
        ROWS as f64 / best / 1e6,
        bytes as f64 / best / 1e9,
        bytes / ROWS
    );
    Ok(())
}
