//! The one way from Python into long work.

use std::sync::atomic::Ordering;
use std::time::Duration;

use pyo3::exceptions::PyKeyboardInterrupt;
use pyo3::prelude::*;
use seismolog_core::archive::scan::Progress;
use seismolog_core::error::{Action, Error};

use crate::{InputError, SeismologError, UsageError};

/// Turns an error of the core into an exception.
pub fn exception(error: &Error) -> PyErr {
    match error.action() {
        Action::Mend => UsageError::new_err(error.to_string()),
        Action::SkipAndCount => InputError::new_err(error.to_string()),
        Action::Stop => PyKeyboardInterrupt::new_err(()),
    }
}

/// How often signals are looked for and progress is told.
const TICK: Duration = Duration::from_millis(100);

/// Runs `work` on another thread without the GIL. Meanwhile signals are handled, which may cancel the
/// work, and `tell` is called with the bytes and lines read so far.
pub fn run<T: Send>(
    py: Python<'_>,
    progress: &Progress,
    tell: Option<(&Py<PyAny>, u64)>,
    work: impl FnOnce() -> Result<T, Error> + Send,
) -> PyResult<T> {
    let mut pending = None;
    let result = py.detach(|| {
        std::thread::scope(|scope| {
            let (done_tx, done_rx) = std::sync::mpsc::channel();
            let worker = scope.spawn(move || {
                let result = work();
                // The receiver waits in this very function.
                let _ = done_tx.send(());
                result
            });
            while let Err(std::sync::mpsc::RecvTimeoutError::Timeout) = done_rx.recv_timeout(TICK) {
                let told = Python::attach(|py| {
                    py.check_signals()?;
                    if let Some((callback, total)) = tell {
                        let bytes = progress.bytes.load(Ordering::Relaxed);
                        callback.call1(py, (bytes, total, progress.lines.load(Ordering::Relaxed)))?;
                    }
                    Ok::<(), PyErr>(())
                });
                if let Err(error) = told {
                    progress.cancel.store(true, Ordering::Relaxed);
                    pending = Some(error);
                    break;
                }
            }
            worker.join()
        })
    });
    if let Some(error) = pending {
        return Err(error);
    }
    match result {
        Ok(result) => {
            let result = result.map_err(|e| exception(&e))?;
            if let Some((callback, total)) = tell {
                let bytes = progress.bytes.load(Ordering::Relaxed);
                callback.call1(py, (bytes, total, progress.lines.load(Ordering::Relaxed)))?;
            }
            Ok(result)
        }
        Err(panic) => {
            let what = panic
                .downcast_ref::<&str>()
                .map(|s| (*s).to_owned())
                .or_else(|| panic.downcast_ref::<String>().cloned())
                .unwrap_or_else(|| "unknown".to_owned());
            Err(SeismologError::new_err(format!(
                "internal error, please report it: {what}"
            )))
        }
    }
}
