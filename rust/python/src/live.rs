//! `Live`: the engine that receives and counts lines as they come.

use std::path::PathBuf;
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use pyo3_arrow::PyTable;
use seismolog_core::event::Kind;
use seismolog_core::live::closed::ClosedFile;
use seismolog_core::live::counter::CountingConfig;
use seismolog_core::live::engine::Engine;
use seismolog_core::live::settings::IntakeConfig;
use serde::de::DeserializeOwned;

use crate::{UsageError, funnel};

/// Receives and counts lines as they come.
#[pyclass(frozen)]
pub struct Live {
    engine: Engine,
}

/// A round of bins that were told.
#[pyclass(frozen)]
pub struct Closed {
    file: ClosedFile,
}

/// A dict of plain values as settings; what is wrong is named by its key.
fn settings<T: DeserializeOwned>(option: &str, given: &Bound<'_, PyDict>) -> PyResult<T> {
    let usage = |message: String| UsageError::new_err(format!("{option}: {message}"));
    let text: String = given
        .py()
        .import("json")?
        .call_method1("dumps", (given,))
        .map_err(|e| usage(format!("plain values are expected: {e}")))?
        .extract()?;
    serde_json::from_str(&text).map_err(|e| usage(e.to_string()))
}

/// A number of seconds as a duration; a day at most, so that nothing overflows.
fn seconds(option: &str, given: f64) -> PyResult<Duration> {
    if given.is_nan() || given < 0.0 {
        return Err(UsageError::new_err(format!(
            "{option}: seconds from 0 on are expected"
        )));
    }
    Ok(Duration::from_secs_f64(given.min(86_400.0)))
}

/// How often signals are looked for while something is waited for.
const TICK: Duration = Duration::from_millis(200);

#[pymethods]
impl Live {
    #[new]
    #[pyo3(signature = (directory, *, intake, counting))]
    fn new(directory: PathBuf, intake: &Bound<'_, PyDict>, counting: &Bound<'_, PyDict>) -> PyResult<Self> {
        let intake: IntakeConfig = settings("intake", intake)?;
        let counting: CountingConfig = settings("counting", counting)?;
        let engine = Engine::new(directory, intake, counting).map_err(|e| funnel::exception(&e))?;
        Ok(Live { engine })
    }

    fn start<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let started = py
            .detach(|| self.engine.start())
            .map_err(|e| funnel::exception(&e))?;
        let d = PyDict::new(py);
        d.set_item("replayed_lines", started.replayed_lines)?;
        d.set_item("seconds", started.seconds)?;
        Ok(d)
    }

    fn wait(&self, py: Python<'_>, timeout: f64) -> PyResult<Vec<u64>> {
        let mut left = seconds("timeout", timeout)?;
        loop {
            let now = left.min(TICK);
            let news = py
                .detach(|| self.engine.wait(now))
                .map_err(|e| funnel::exception(&e))?;
            py.check_signals()?;
            left -= now;
            if !news.is_empty() || left.is_zero() {
                return Ok(news);
            }
        }
    }

    #[pyo3(signature = (revision, limit = 64))]
    fn closed_after(&self, py: Python<'_>, revision: u64, limit: usize) -> PyResult<Vec<Closed>> {
        let files = py
            .detach(|| self.engine.closed_after(revision, limit))
            .map_err(|e| funnel::exception(&e))?;
        Ok(files.into_iter().map(|file| Closed { file }).collect())
    }

    fn release(&self, py: Python<'_>, revision: u64) -> PyResult<()> {
        py.detach(|| self.engine.release(revision))
            .map_err(|e| funnel::exception(&e))
    }

    fn metrics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        use seismolog_core::live::metrics::Value;
        let (all, troubles) = py.detach(|| (self.engine.metrics(), self.engine.troubles()));
        let d = PyDict::new(py);
        let counters = PyList::empty(py);
        for (name, value) in all {
            d.set_item(&name, value.number())?;
            if let Value::Counter(_) = value {
                counters.append(name)?;
            }
        }
        d.set_item("counters", counters)?;
        let texts = PyDict::new(py);
        for (part, message) in troubles {
            texts.set_item(part, message)?;
        }
        d.set_item("troubles", texts)?;
        Ok(d)
    }

    fn unmatched_shapes(&self, py: Python<'_>) -> Vec<(String, u64)> {
        py.detach(|| self.engine.unmatched_shapes())
    }

    #[pyo3(signature = (n = 10))]
    fn top<'py>(&self, py: Python<'py>, n: usize) -> PyResult<Bound<'py, PyDict>> {
        let d = PyDict::new(py);
        let clients = PyList::empty(py);
        let top = py
            .detach(|| self.engine.top(n))
            .map_err(|e| funnel::exception(&e))?;
        let (lines, matched) = (
            self.engine.number("seismolog_counted_lines_total"),
            self.engine.number("seismolog_matched_lines_total"),
        );
        let share = if lines > 0 {
            Some(matched as f64 / lines as f64)
        } else {
            None
        };
        d.set_item("matched_share", share)?;
        d.set_item(
            "lines_per_second",
            self.engine.number("seismolog_lines_per_second"),
        )?;
        d.set_item("open_bins", self.engine.number("seismolog_open_bins"))?;
        let Some(top) = top else {
            // Counting is behind: an answer that says so is better than one that hangs.
            d.set_item("since", py.None())?;
            d.set_item("kinds", PyDict::new(py))?;
            d.set_item("clients", clients)?;
            d.set_item("distinct_clients", 0)?;
            return Ok(d);
        };
        let kinds = |counts: &[u64]| -> PyResult<Bound<'py, PyDict>> {
            let d = PyDict::new(py);
            for (kind, n) in Kind::ALL.iter().zip(counts).filter(|(_, n)| **n > 0) {
                d.set_item(kind.name(), n)?;
            }
            Ok(d)
        };
        for seen in &top.clients {
            let c = PyDict::new(py);
            c.set_item("client", seen.client.as_deref())?;
            c.set_item("total", seen.total)?;
            c.set_item("kinds", kinds(&seen.kinds)?)?;
            clients.append(c)?;
        }
        d.set_item("since", top.since)?;
        d.set_item("kinds", kinds(&top.kinds)?)?;
        d.set_item("clients", clients)?;
        d.set_item("distinct_clients", top.all)?;
        Ok(d)
    }

    fn reload(
        &self,
        py: Python<'_>,
        intake: &Bound<'_, PyDict>,
        counting: &Bound<'_, PyDict>,
    ) -> PyResult<()> {
        let intake: IntakeConfig = settings("intake", intake)?;
        let counting: CountingConfig = settings("counting", counting)?;
        py.detach(|| self.engine.reload(intake, counting))
            .map_err(|e| funnel::exception(&e))
    }

    fn drain(&self, py: Python<'_>, timeout: f64) -> PyResult<bool> {
        let patience = seconds("timeout", timeout)?;
        py.detach(|| self.engine.drain(patience))
            .map_err(|e| funnel::exception(&e))
    }

    fn ended(&self, py: Python<'_>) -> PyResult<bool> {
        py.detach(|| self.engine.ended())
            .map_err(|e| funnel::exception(&e))
    }

    fn stop(&self, py: Python<'_>) {
        py.detach(|| self.engine.stop());
    }

    fn addresses<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let found = py
            .detach(|| self.engine.addresses())
            .map_err(|e| funnel::exception(&e))?;
        let d = PyDict::new(py);
        for (listener, address) in found {
            d.set_item(listener, address)?;
        }
        Ok(d)
    }
}

#[pymethods]
impl Closed {
    #[getter]
    fn revision(&self) -> u64 {
        self.file.revision()
    }

    #[getter]
    fn servers(&self) -> Vec<String> {
        self.file.servers().to_vec()
    }

    fn tables(&self) -> Vec<String> {
        self.file.tables().into_iter().map(str::to_owned).collect()
    }

    fn table(&self, py: Python<'_>, name: &str) -> PyResult<PyTable> {
        let found = py
            .detach(|| self.file.table(name))
            .map_err(|e| funnel::exception(&e))?;
        let (schema, batches) = found.ok_or_else(|| {
            UsageError::new_err(format!(
                "no table {name:?} in this round; it has {}",
                self.file.tables().join(", ")
            ))
        })?;
        PyTable::try_new(batches, schema).map_err(|e| UsageError::new_err(e.to_string()))
    }
}
