//! What stands before the message: priority, time, host, program, pid.

/// Which kind of clock a time was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Clock {
    /// Month, day and time of day without a year: seconds since 1 January of a year of 366 days.
    Yearless,
    /// A full date without an offset: seconds since 1970 as if the local time were UTC.
    Local,
    /// An absolute time: seconds since 1970, UTC.
    Absolute,
}

/// A time as the line tells it, to the second (fractions are cut).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// How `seconds` is to be read.
    pub clock: Clock,
    /// Seconds on that clock.
    pub seconds: i64,
}

/// A line taken apart. Empty slices: not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// The time, or none.
    pub stamp: Option<Stamp>,
    /// Host name as spelled.
    pub host: &'a [u8],
    /// Program name without pid (`postfix/smtpd`).
    pub program: &'a [u8],
    /// Process id, digits.
    pub pid: &'a [u8],
    /// The text after the tag.
    pub message: &'a [u8],
}
