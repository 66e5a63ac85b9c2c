//! seismolog-core: parses the log lines of DNS and mail servers and counts per client address.
pub mod dialect;
pub mod event;
pub mod syslog;
