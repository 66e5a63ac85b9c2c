//! The boundary between the core and Python: conversions and nothing else.
//!
//! Every long call lets go of the GIL ([`funnel`]), looks for signals meanwhile, and turns a Rust error
//! into one of the exceptions below. Types and docstrings for Python stand in
//! `python/seismolog/_core.pyi`.

mod funnel;
mod line_protocol;
mod live;
mod options;
mod reading;
mod scanning;

use pyo3::prelude::*;

pyo3::create_exception!(
    _core,
    SeismologError,
    pyo3::exceptions::PyException,
    "An error of seismolog."
);
pyo3::create_exception!(_core, InputError, SeismologError, "The input could not be read.");
pyo3::create_exception!(_core, UsageError, SeismologError, "An argument has no meaning.");

/// The compiled core of seismolog.
#[pymodule]
mod _core {
    #[pymodule_export]
    use super::line_protocol::line_protocol;
    #[pymodule_export]
    use super::live::{Closed, Live};
    #[pymodule_export]
    use super::reading::{Explanations, digest, explain, identify, paper_counts, shapes, unlikely_domains};
    #[pymodule_export]
    use super::scanning::{Scan, merge_states, scan};
    #[pymodule_export]
    use super::{InputError, SeismologError, UsageError};
    use pyo3::prelude::*;
    use seismolog_core::event::{Kind, QueryType};

    #[pymodule_init]
    fn init(m: &Bound<'_, PyModule>) -> PyResult<()> {
        let py = m.py();
        m.add("VERSION", env!("CARGO_PKG_VERSION"))?;
        m.add(
            "KINDS",
            pyo3::types::PyTuple::new(py, Kind::ALL.iter().map(|k| k.name()))?,
        )?;
        m.add(
            "QTYPES",
            pyo3::types::PyTuple::new(py, QueryType::ALL.iter().map(|q| q.name()))?,
        )?;
        Ok(())
    }
}
