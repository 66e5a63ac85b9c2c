//! Rows of Arrow tables as InfluxDB's line protocol.

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use pyo3_arrow::PyTable;
use seismolog_core::line_protocol::{Layout, Precision, render};

use crate::{UsageError, funnel};

/// Renders the rows of a table.
#[pyfunction]
#[pyo3(signature = (table, *, measurement, tags, fields, time = "bin_start", precision = "s", lines = 0))]
#[expect(clippy::too_many_arguments, reason = "keyword arguments of Python")]
pub fn line_protocol(
    py: Python<'_>,
    table: PyTable,
    measurement: &str,
    tags: Vec<String>,
    fields: Vec<String>,
    time: &str,
    precision: &str,
    lines: usize,
) -> PyResult<Vec<Py<PyBytes>>> {
    let precision = Precision::named(precision).ok_or_else(|| {
        UsageError::new_err(format!(
            "precision: {precision:?} is none of \"s\", \"ms\", \"us\", \"ns\""
        ))
    })?;
    let (batches, _) = table.into_inner();
    let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
    let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
    let layout = Layout {
        measurement,
        tags: &tags,
        fields: &fields,
        time,
        precision,
        lines,
    };
    let mut texts = Vec::new();
    py.detach(|| {
        render(&batches, &layout, |text| {
            texts.push(Python::attach(|py| PyBytes::new(py, text).unbind()));
        })
    })
    .map_err(|e| funnel::exception(&e))?;
    Ok(texts)
}
