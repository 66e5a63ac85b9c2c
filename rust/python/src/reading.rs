//! What reads single lines or whole texts: explain, shapes, identity, the paper's counts.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};
use seismolog_core::archive::scan::Progress;
use seismolog_core::archive::shapes::{Lines, Shapes};
use seismolog_core::archive::source::Source;
use seismolog_core::count::detail::likely::unlikely;
use seismolog_core::explain::{Explainer, Explanation};

use crate::scanning::look;
use crate::{InputError, funnel, options};

/// Bytes of a line that `explain` reads.
const LINE_MOST: usize = 1 << 16;

/// An iterator over explained lines.
#[pyclass]
pub struct Explanations {
    state: Mutex<State>,
    path: PathBuf,
}

struct State {
    lines: Lines,
    explainer: Explainer,
    line: Vec<u8>,
}

fn now() -> i64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |d| i64::try_from(d.as_secs()).unwrap_or(i64::MAX))
}

fn dict<'py>(py: Python<'py>, number: u64, line: &[u8], e: &Explanation) -> PyResult<Bound<'py, PyDict>> {
    let d = PyDict::new(py);
    d.set_item("line", number)?;
    d.set_item("dialect", e.dialect)?;
    d.set_item("kind", e.kind.map(|k| k.name()))?;
    d.set_item("server", &e.server)?;
    d.set_item("program", &e.program)?;
    d.set_item("client", e.client.as_deref())?;
    d.set_item("time", e.time)?;
    d.set_item("count", e.count)?;
    d.set_item("query_type", e.query_type.map(|q| q.name()))?;
    d.set_item("name", e.name.as_deref())?;
    d.set_item("account", e.account.as_deref())?;
    d.set_item("recipients", e.recipients)?;
    d.set_item("ignored", e.ignored)?;
    d.set_item("reason", e.reason.as_deref())?;
    d.set_item("text", PyBytes::new(py, line))?;
    Ok(d)
}

#[pymethods]
impl Explanations {
    fn __iter__(this: PyRef<'_, Self>) -> PyRef<'_, Self> {
        this
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let mut state = self
            .state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let State {
            lines,
            explainer,
            line,
        } = &mut *state;
        let found = py
            .detach(|| lines.next(line).map(|more| more.then(|| explainer.line(line))))
            .map_err(|e| {
                InputError::new_err(format!(
                    "{}: unreadable after line {}: {e}",
                    self.path.display(),
                    lines.number
                ))
            })?;
        found.map(|e| dict(py, lines.number, line, &e)).transpose()
    }
}

/// Explains the lines of a file.
#[pyfunction]
#[pyo3(signature = (
    path, *, timezone = None, server_timezones = BTreeMap::new(), server_names = BTreeMap::new(),
    default_server = "unknown", year = None, inside = Vec::new(), reinjection = Vec::new(), client_prefix_v6 = 128,
))]
#[expect(clippy::too_many_arguments, reason = "keyword arguments of Python")]
pub fn explain(
    path: PathBuf,
    timezone: Option<&str>,
    server_timezones: BTreeMap<String, String>,
    server_names: BTreeMap<String, String>,
    default_server: &str,
    year: Option<i64>,
    inside: Vec<String>,
    reinjection: Vec<String>,
    client_prefix_v6: u8,
) -> PyResult<Explanations> {
    let site = options::site(
        timezone,
        &server_timezones,
        server_names,
        default_server,
        year,
        &inside,
        &reinjection,
        client_prefix_v6,
    )?;
    let source = Source::look(&path).map_err(|e| funnel::exception(&e))?;
    let stream = source
        .open(&Arc::new(AtomicU64::new(0)))
        .map_err(|e| funnel::exception(&e))?;
    let limit = source.written.unwrap_or_else(now);
    let explainer = Explainer::new(&site.count, site.zone, site.server_zones, site.year, limit);
    let state = Mutex::new(State {
        lines: Lines::new(stream, LINE_MOST),
        explainer,
        line: Vec::new(),
    });
    Ok(Explanations { state, path })
}

/// Groups lines that were not understood by shape.
#[pyfunction]
pub fn shapes<'py>(py: Python<'py>, paths: Vec<PathBuf>) -> PyResult<Bound<'py, PyList>> {
    let sources = look(&paths)?;
    let seen = Progress::default();
    let (groups, rest) = funnel::run(py, &seen, None, || {
        let mut shapes = Shapes::default();
        for source in &sources {
            let stream = source.open(&seen.bytes)?;
            let limit = source.written.unwrap_or_else(now);
            let mut explainer = Explainer::new(
                &seismolog_core::count::Options::default(),
                None,
                BTreeMap::new(),
                None,
                limit,
            );
            // What was readable is grouped; the scan reports where the reading ended.
            let _unreadable = shapes.read(stream, &source.path, LINE_MOST, &mut explainer).err();
        }
        let rest = shapes.rest;
        Ok((shapes.sorted(), rest))
    })?;
    let list = PyList::empty(py);
    for g in groups {
        let d = PyDict::new(py);
        d.set_item("shape", &g.shape)?;
        d.set_item("count", g.count)?;
        d.set_item("example", PyBytes::new(py, &g.example))?;
        d.set_item("path", g.path.to_string_lossy())?;
        d.set_item("line", g.line)?;
        d.set_item("reason", &g.reason)?;
        list.append(d)?;
    }
    if rest > 0 {
        let d = PyDict::new(py);
        d.set_item("shape", "(further shapes)")?;
        d.set_item("count", rest)?;
        d.set_item("example", PyBytes::new(py, b""))?;
        d.set_item("path", "")?;
        d.set_item("line", 0)?;
        d.set_item("reason", "more shapes than are kept")?;
        list.append(d)?;
    }
    Ok(list)
}

/// Looks at files without reading them through.
#[pyfunction]
pub fn identify<'py>(py: Python<'py>, paths: Vec<PathBuf>) -> PyResult<Bound<'py, PyList>> {
    let list = PyList::empty(py);
    for source in look(&paths)? {
        let head = if source.regular {
            py.detach(|| seismolog_core::archive::digest::head(&source))
                .map_err(|e| e.to_string())
        } else {
            Err("not a regular file".to_owned())
        };
        let d = PyDict::new(py);
        d.set_item("path", source.path.to_string_lossy())?;
        d.set_item("compression", source.compression.name())?;
        d.set_item("compressed_bytes", source.bytes)?;
        d.set_item("written", source.written)?;
        d.set_item("regular", source.regular)?;
        d.set_item("head_hash", head.as_ref().ok().map(|h| h.0.as_str()))?;
        d.set_item("head_bytes", head.as_ref().ok().map(|h| h.1))?;
        d.set_item("error", head.err())?;
        list.append(d)?;
    }
    Ok(list)
}

/// Hashes the text of a file, and its prefixes of the given lengths.
#[pyfunction]
#[pyo3(signature = (path, lengths = Vec::new()))]
pub fn digest<'py>(py: Python<'py>, path: PathBuf, lengths: Vec<u64>) -> PyResult<Bound<'py, PyDict>> {
    let source = Source::look(&path).map_err(|e| funnel::exception(&e))?;
    let found = py
        .detach(|| seismolog_core::archive::digest::digest(&source, &lengths))
        .map_err(|e| funnel::exception(&e))?;
    let d = PyDict::new(py);
    d.set_item("head_hash", found.head)?;
    d.set_item("full_hash", found.full)?;
    d.set_item("bytes", found.length)?;
    d.set_item("prefixes", found.prefixes)?;
    Ok(d)
}
/// The paper's five counts.
#[pyfunction]
#[pyo3(signature = (paths, threads = 0))]
pub fn paper_counts<'py>(
    py: Python<'py>,
    paths: Vec<PathBuf>,
    threads: usize,
) -> PyResult<Bound<'py, PyDict>> {
    let sources = look(&paths)?;
    let seen = Progress::default();
    let counts = funnel::run(py, &seen, None, || {
        seismolog_core::archive::paper::count(&sources, threads, &seen)
    })?;
    let d = PyDict::new(py);
    d.set_item("D_q", counts.d_q)?;
    d.set_item("N_from", counts.n_from)?;
    d.set_item("N_SS", counts.n_ss)?;
    d.set_item("N_SD", counts.n_sd)?;
    d.set_item("N_P", counts.n_p)?;
    Ok(d)
}

/// Whether the name of each registered domain looks made up by a program.
#[pyfunction]
pub fn unlikely_domains(domains: Vec<String>) -> Vec<bool> {
    domains
        .iter()
        .map(|d| unlikely(d.to_ascii_lowercase().as_bytes()))
        .collect()
}
