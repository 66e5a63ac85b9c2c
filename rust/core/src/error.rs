//! Every error of the core, in one list, each classed by what must be done about it.

use std::path::PathBuf;

/// What a caller must do about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The call was wrong: mend the argument and call again.
    Mend,
    /// The input could not be read (further): count what was read, name the rest, go on or stop.
    SkipAndCount,
    /// The work was cancelled by the caller.
    Stop,
}

/// An error of the core.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be opened.
    #[error("{path}: cannot be opened: {source}")]
    Open {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A file could be read only up to an offset.
    #[error("{path}: unreadable after {offset} bytes: {message}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Offset in the (decompressed) text up to which everything was read.
        offset: u64,
        /// What the decompressor or the operating system said.
        message: String,
    },
    /// A socket, a file of the live state or a thread could not be had or used.
    #[error("{what}: {source}")]
    Io {
        /// What was being done, with the file or address.
        what: String,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// An option has no meaning.
    #[error("{option}: {message}")]
    Option {
        /// Name of the option.
        option: &'static str,
        /// What was expected.
        message: String,
    },
    /// The caller asked to stop.
    #[error("interrupted")]
    Interrupted,
    /// A table could not be built.
    #[error("table: {0}")]
    Table(#[from] arrow_schema::ArrowError),
}

impl Error {
    /// What must be done about it.
    #[must_use]
    pub fn action(&self) -> Action {
        match self {
            Error::Open { .. } | Error::Read { .. } | Error::Io { .. } => Action::SkipAndCount,
            Error::Option { .. } | Error::Table(_) => Action::Mend,
            Error::Interrupted => Action::Stop,
        }
    }
}

/// A result of the core.
pub type Result<T> = std::result::Result<T, Error>;
