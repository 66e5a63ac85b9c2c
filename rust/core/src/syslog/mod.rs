//! Syslog: headers and times.
pub mod header;
