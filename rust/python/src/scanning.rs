//! `scan`: archives become tables.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::UInt32Type;
use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, SchemaRef};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use pyo3_arrow::{PyArray, PyRecordBatch, PyTable};
use seismolog_core::archive::long;
use seismolog_core::archive::scan::{Progress, Scanned, SourceReport};
use seismolog_core::archive::source::Source;
use seismolog_core::count::worker::Tally;
use seismolog_core::domain::Suffixes;

use crate::{UsageError, funnel, options};

/// What a scan found.
#[pyclass(frozen)]
pub struct Scan {
    scanned: Scanned,
    other_year: Option<i64>,
}

/// Counts the lines of files. With `take`, one file in stretches of about `stretch` bytes of text
/// or `stretch_rows` rows: each but the last is
/// handed to `take`, and the last is returned.
#[pyfunction]
#[pyo3(signature = (
    paths, *, threads = 0, clients = true, query_types = true, names = true, state = false, details = false, edges = false, public_suffixes = None, timezone = None,
    server_timezones = BTreeMap::new(), server_names = BTreeMap::new(), default_server = "unknown", year = None,
    inside = Vec::new(), reinjection = Vec::new(), client_prefix_v6 = 128, digest = false,
    limits = BTreeMap::new(), progress = None, stretch = 0, stretch_rows = u64::MAX, take = None,
))]
#[expect(
    clippy::too_many_arguments,
    clippy::fn_params_excessive_bools,
    reason = "keyword arguments of Python"
)]
pub fn scan(
    py: Python<'_>,
    paths: Vec<PathBuf>,
    threads: usize,
    clients: bool,
    query_types: bool,
    names: bool,
    state: bool,
    details: bool,
    edges: bool,
    public_suffixes: Option<&str>,
    timezone: Option<&str>,
    server_timezones: BTreeMap<String, String>,
    server_names: BTreeMap<String, String>,
    default_server: &str,
    year: Option<i64>,
    inside: Vec<String>,
    reinjection: Vec<String>,
    client_prefix_v6: u8,
    digest: bool,
    limits: BTreeMap<String, usize>,
    progress: Option<Py<PyAny>>,
    stretch: u64,
    stretch_rows: u64,
    take: Option<Py<PyAny>>,
) -> PyResult<Scan> {
    let mut site = options::site(
        timezone,
        &server_timezones,
        server_names,
        default_server,
        year,
        &inside,
        &reinjection,
        client_prefix_v6,
    )?;
    site.count.clients = clients;
    site.count.query_types = query_types;
    site.count.names = names;
    site.count.state = state;
    site.count.details = details;
    site.count.edges = edges;
    if let (true, Some(list)) = (details, public_suffixes) {
        site.count.suffixes = Arc::new(Suffixes::parse(list));
    }
    let options = options::scan_options(site, threads, digest, &limits)?;
    let sources = look(&paths)?;
    let total = sources.iter().map(|s| s.bytes).sum();
    let seen = Progress::default();
    let tell = progress.as_ref().map(|callback| (callback, total));
    let Some(take) = take else {
        let scanned = funnel::run(py, &seen, tell, || {
            seismolog_core::archive::scan::scan(&sources, &options, &seen)
        })?;
        return Ok(Scan {
            scanned,
            other_year: None,
        });
    };
    let [source] = sources.as_slice() else {
        return Err(UsageError::new_err("take: one path is expected"));
    };
    let bounds = long::Bounds {
        bytes: stretch,
        rows: stretch_rows,
    };
    let (mut last, mut raised) = (None, None);
    let ended = funnel::run(py, &seen, tell, || {
        long::scan(source, &options, bounds, &seen, &mut |scanned, is_last| {
            if is_last {
                last = Some(scanned);
                return true;
            }
            let scan = Scan {
                scanned,
                other_year: None,
            };
            match Python::attach(|py| take.call1(py, (scan,))) {
                Ok(_) => true,
                Err(error) => {
                    raised = Some(error);
                    false
                }
            }
        })
    });
    match (raised, ended, last) {
        (Some(error), ..) | (None, Err(error), _) => Err(error),
        (None, Ok(ended), Some(scanned)) => Ok(Scan {
            scanned,
            other_year: ended.other_year,
        }),
        (None, Ok(_), None) => Err(UsageError::new_err("nothing was counted")),
    }
}

/// Looks at every file first, so that a wrong path is told before hours of work.
pub fn look(paths: &[PathBuf]) -> PyResult<Vec<Source>> {
    paths
        .iter()
        .map(|p| Source::look(p).map_err(|e| funnel::exception(&e)))
        .collect()
}

fn table(schema: &SchemaRef, batches: &[RecordBatch]) -> PyResult<PyTable> {
    PyTable::try_new(batches.to_vec(), schema.clone()).map_err(|e| UsageError::new_err(e.to_string()))
}

fn dict_of(py: Python<'_>, map: &BTreeMap<&'static str, u64>) -> PyResult<Py<PyDict>> {
    let d = PyDict::new(py);
    for (k, v) in map {
        d.set_item(k, v)?;
    }
    Ok(d.unbind())
}

fn tally_into(py: Python<'_>, d: &Bound<'_, PyDict>, tally: &Tally) -> PyResult<()> {
    d.set_item("lines", tally.lines)?;
    d.set_item("matched", tally.matched)?;
    d.set_item("ignored", tally.ignored)?;
    d.set_item("unmatched", tally.unmatched)?;
    d.set_item("dialects", dict_of(py, &tally.dialects)?)?;
    d.set_item("reasons", dict_of(py, &tally.reasons)?)?;
    d.set_item("shed", dict_of(py, &tally.shed)?)
}

fn report_dict<'py>(py: Python<'py>, r: &SourceReport) -> PyResult<Bound<'py, PyDict>> {
    let d = PyDict::new(py);
    d.set_item("path", r.source.path.to_string_lossy())?;
    d.set_item("compression", r.source.compression.name())?;
    d.set_item("compressed_bytes", r.source.bytes)?;
    d.set_item("bytes", r.bytes)?;
    d.set_item("head_hash", r.digest.as_ref().map(|x| x.head.as_str()))?;
    d.set_item("full_hash", r.digest.as_ref().map(|x| x.full.as_str()))?;
    tally_into(py, &d, &r.tally)?;
    d.set_item("servers", &r.servers)?;
    d.set_item("first_time", r.times.map(|t| t.0))?;
    d.set_item("last_time", r.times.map(|t| t.1))?;
    d.set_item("years", r.years)?;
    d.set_item("timezone_guessed", r.zone_guessed)?;
    match &r.error {
        Some((offset, message)) => {
            let e = PyDict::new(py);
            e.set_item("offset", offset)?;
            e.set_item("message", message)?;
            d.set_item("error", e)?;
        }
        None => d.set_item("error", py.None())?,
    }
    Ok(d)
}

#[pymethods]
impl Scan {
    /// A table by name.
    fn table(&self, name: &str) -> PyResult<PyTable> {
        match name {
            "client_traffic" => table(&self.scanned.client_traffic.0, &self.scanned.client_traffic.1),
            "traffic" => table(&self.scanned.traffic.0, &self.scanned.traffic.1),
            "edges" => table(&self.scanned.edges.0, &self.scanned.edges.1),
            _ => match self.scanned.details.get(name) {
                Some((schema, batches)) => table(schema, batches),
                None => {
                    let known: Vec<&str> = self.scanned.details.keys().copied().collect();
                    Err(UsageError::new_err(format!(
                        "no table {name:?}; expected client_traffic, traffic, edges, {}",
                        known.join(", ")
                    )))
                }
            },
        }
    }

    /// The year of the first line, where a file that was counted in stretches shows that another one was taken.
    #[getter]
    fn other_year(&self) -> Option<i64> {
        self.other_year
    }

    /// Server names; the tables hold their positions.
    #[getter]
    fn servers(&self) -> Vec<String> {
        self.scanned.servers.clone()
    }

    /// Bins whose rows must be added together: (start in seconds since 1970, position of the server).
    #[getter]
    fn split_bins(&self) -> Vec<(i64, u32)> {
        self.scanned.split_bins.clone()
    }

    /// One report a file.
    #[getter]
    fn sources<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let list = PyList::empty(py);
        for r in &self.scanned.sources {
            list.append(report_dict(py, r)?)?;
        }
        Ok(list)
    }

    /// The sums over all files.
    #[getter]
    fn summary<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let mut sum = Tally::default();
        for r in &self.scanned.sources {
            sum.add(&r.tally);
        }
        let d = PyDict::new(py);
        tally_into(py, &d, &sum)?;
        Ok(d)
    }
}

/// Merges stored summaries by group.
#[pyfunction]
#[pyo3(signature = (group, state, size = 4096))]
pub fn merge_states(py: Python<'_>, group: PyArray, state: PyArray, size: usize) -> PyResult<PyRecordBatch> {
    let (group, _) = group.into_inner();
    let (state, _) = state.into_inner();
    let group = group
        .as_primitive_opt::<UInt32Type>()
        .filter(|g| g.null_count() == 0)
        .ok_or_else(|| UsageError::new_err("group: UInt32 without nulls is expected"))?;
    let value = |i: usize| -> Option<&[u8]> {
        if state.is_null(i) {
            return None;
        }
        match state.data_type() {
            DataType::BinaryView => Some(state.as_binary_view().value(i)),
            DataType::LargeBinary => Some(state.as_binary::<i64>().value(i)),
            DataType::Binary => Some(state.as_binary::<i32>().value(i)),
            _ => None,
        }
    };
    let binary = matches!(
        state.data_type(),
        DataType::BinaryView | DataType::LargeBinary | DataType::Binary
    );
    if !binary && state.null_count() != state.len() {
        return Err(UsageError::new_err("state: Binary is expected"));
    }
    let batch = py
        .detach(|| {
            let states: Vec<Option<&[u8]>> = (0..state.len()).map(value).collect();
            seismolog_core::count::table::merge_states(group.values(), &states, size)
        })
        .map_err(|e| funnel::exception(&e))?;
    Ok(PyRecordBatch::new(batch))
}
