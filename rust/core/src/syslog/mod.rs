//! Syslog: headers, times and repetitions.
//!
//! [`header`] takes a line apart, [`time`] brings what it tells as time to UTC, [`repeat`] reads what
//! a syslog daemon writes in place of a repeated message. The accepted shapes are listed with
//! examples in `docs/lines.md`.
mod bind_file;
mod date;
pub mod header;
mod json;
mod origin;
pub mod repeat;
mod structured;
pub mod time;
