//! seismolog-core: parses the log lines of DNS and mail servers and counts per client address.
//!
//! ```text
//! archive: bytes of files -> lines -> syslog: header -> dialect: message -> event -> count: tables (Arrow)
//! ```
//!
//! Nothing here knows Python, the store or a detector. A dialect knows no counting.

pub mod archive;
pub mod count;
pub mod dialect;
pub mod domain;
pub mod error;
pub mod event;
pub mod explain;
pub mod line_protocol;
#[cfg(target_os = "linux")]
pub mod live;
pub mod paper;
pub mod syslog;
pub mod wide;
