//! Calendar and time zones: from the time that a line tells to seconds since 1970, UTC.
//!
//! A line tells its time on one of three clocks ([`Clock`]): without a year, as local time, or as an
//! absolute time. The calendar functions are plain integer arithmetic on the proleptic Gregorian
//! calendar (the shift of the year to 1 March makes the leap day the last one, so that no table of
//! month lengths is needed; see H. Hinnant, "chrono-Compatible Low-Level Date Algorithms").
//!
//! [`Zone`] lays all changes of offset of one time zone out once, in local time, as segments that are
//! searched by bisection; the last segment found is tried first, because the lines of a log are close
//! to each other. The time zone database is compiled in: the answer does not depend on the machine.
//!
//! Two rules are needed where local time is no function of time:
//!
//! * *fold* (clocks go back, an hour of local time comes twice): the first pass is the earlier UTC
//!   time, the second pass the later one. The caller says which pass it is in.
//! * *gap* (clocks go forward, an hour of local time does not exist): the offset before the gap is
//!   used, so that the time moves forward by the length of the gap.
//!
//! Limits: changes of offset before 1970 and after 2100 are not known.

use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::{Timestamp, tz::TimeZone};

use super::header::{Clock, Stamp};

/// Seconds in a day; leap seconds do not exist on this clock.
pub const DAY: i64 = 86_400;

/// First second whose offsets are laid out (1970-01-01).
const HORIZON_START: i64 = 0;
/// End of the offsets that are laid out (2100-01-01).
const HORIZON_END: i64 = 4_102_444_800;

/// Days before each month in a year of 366 days.
const DAYS_BEFORE: [i64; 13] = [0, 31, 60, 91, 121, 152, 182, 213, 244, 274, 305, 335, 366];

/// Whether the year has a 29 February.
#[inline]
#[must_use]
pub const fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

/// Number of days of a month (1–12) in a year; 0 for any other month.
#[inline]
#[must_use]
pub const fn days_in_month(year: i64, month: u32) -> u32 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        _ => 0,
    }
}

/// Days since 1970-01-01 of a date (month 1–12, day 1–31; other values give a number without meaning).
#[inline]
#[must_use]
pub const fn days_from_civil(year: i64, month: u32, day: u32) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month as i64 + 9) % 12) + 2) / 5 + day as i64 - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Year, month (1–12) and day (1–31) of a number of days since 1970-01-01.
#[must_use]
pub const fn civil_from_days(days: i64) -> (i64, u32, u32) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * shifted_month + 2) / 5 + 1) as u32;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    } as u32;
    let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

/// Seconds since 1 January of a year of 366 days, for [`Clock::Yearless`]. None where the month or
/// the day does not exist; 29 February does.
#[inline]
#[must_use]
pub const fn yearless_seconds(month: u32, day: u32, second_of_day: u32) -> Option<i64> {
    if month == 0 || month > 12 || day == 0 || day > days_in_month(2000, month) {
        return None;
    }
    Some((DAYS_BEFORE[month as usize - 1] + day as i64 - 1) * DAY + second_of_day as i64)
}

/// Month, day and second of the day of a [`Clock::Yearless`] time. Times outside the year wrap.
#[must_use]
pub fn yearless_parts(seconds: i64) -> (u32, u32, u32) {
    let day_of_year = seconds.div_euclid(DAY).rem_euclid(366);
    let mut month = 1;
    while DAYS_BEFORE[month] <= day_of_year {
        month += 1;
    }
    let day = day_of_year - DAYS_BEFORE[month - 1] + 1;
    (month as u32, day as u32, seconds.rem_euclid(DAY) as u32)
}

/// A [`Clock::Yearless`] time in a given year, as seconds since 1970 as if local time were UTC.
/// None: 29 February in a year that has none.
#[inline]
#[must_use]
pub const fn yearless_to_local(seconds: i64, year: i64) -> Option<i64> {
    const MARCH: i64 = 60 * DAY;
    const LEAP_DAY: i64 = 59 * DAY;
    let january = days_from_civil(year, 1, 1) * DAY;
    if is_leap(year) || seconds < LEAP_DAY {
        Some(january + seconds)
    } else if seconds >= MARCH {
        Some(january + seconds - DAY)
    } else {
        None
    }
}

/// Seconds since 1970, UTC, of a time that a line tells.
///
/// `year` is used by [`Clock::Yearless`] only, `zone` and `second_pass` (see [`Zone::to_utc`]) by all
/// clocks but [`Clock::Absolute`]. None: 29 February in a year that has none.
#[inline]
#[must_use]
pub fn resolve(stamp: Stamp, year: i64, zone: &Zone, second_pass: bool) -> Option<i64> {
    match stamp.clock {
        Clock::Absolute => Some(stamp.seconds),
        Clock::Local => Some(zone.to_utc(stamp.seconds, second_pass)),
        Clock::Yearless => Some(zone.to_utc(yearless_to_local(stamp.seconds, year)?, second_pass)),
    }
}

/// A time zone that is not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown time zone {name:?}: expected an IANA name such as \"Asia/Tokyo\", \"UTC\", or an offset such as \"+09:00\""
)]
pub struct UnknownZone {
    /// What was given.
    pub name: String,
}

/// A stretch of local time with one rule.
#[derive(Clone, Copy, Debug)]
struct Segment {
    /// First second of local time.
    start: i64,
    /// UTC offset in seconds, first pass.
    first: i64,
    /// UTC offset in seconds, second pass. Differs from `first` in a fold only.
    second: i64,
}

/// The offsets of one time zone, searched by local time.
///
/// Shared between threads without a lock; a look-up near the last one costs a few nanoseconds.
#[derive(Debug)]
pub struct Zone {
    name: String,
    /// By local time, for the way to UTC. Never empty; the first starts at the beginning of time.
    segments: Vec<Segment>,
    /// By UTC (start, offset), for the way back. Never empty.
    offsets: Vec<(i64, i64)>,
    /// The segment found last. Any value is correct, so relaxed order does.
    last: AtomicUsize,
}

impl Clone for Zone {
    fn clone(&self) -> Self {
        Zone {
            name: self.name.clone(),
            segments: self.segments.clone(),
            offsets: self.offsets.clone(),
            last: AtomicUsize::new(0),
        }
    }
}

impl Zone {
    /// Coordinated universal time.
    #[must_use]
    pub fn utc() -> Zone {
        Zone::fixed("UTC", 0)
    }

    /// A zone by its IANA name (`Asia/Tokyo`) or as an offset (`+09:00`, `-0330`).
    ///
    /// # Errors
    /// [`UnknownZone`] where the database has no such name.
    pub fn new(name: &str) -> Result<Zone, UnknownZone> {
        if let Some(offset) = parse_offset(name) {
            return Ok(Zone::fixed(name, offset));
        }
        let zone = TimeZone::get(name).map_err(|_| UnknownZone {
            name: name.to_owned(),
        })?;
        Ok(Zone::lay_out(name, &zone))
    }

    fn fixed(name: &str, offset: i64) -> Zone {
        Zone {
            name: name.to_owned(),
            segments: vec![Segment {
                start: i64::MIN,
                first: offset,
                second: offset,
            }],
            offsets: vec![(i64::MIN, offset)],
            last: AtomicUsize::new(0),
        }
    }

    fn lay_out(name: &str, zone: &TimeZone) -> Zone {
        let start = Timestamp::UNIX_EPOCH;
        let mut before = i64::from(zone.to_offset(start).seconds());
        let mut laid = Zone::fixed(name, before);
        for change in zone.following(start) {
            let at = change.timestamp().as_second();
            let after = i64::from(change.offset().seconds());
            if !(HORIZON_START..HORIZON_END).contains(&at) {
                break;
            }
            // A change of the abbreviation or the daylight flag alone.
            if after == before {
                continue;
            }
            let fold = after < before;
            // No two changes of one zone are closer than their size; max() keeps the order even so.
            let open = laid.segments.last().map_or(i64::MIN, |segment| segment.start);
            laid.segments.push(Segment {
                start: open.max(at + before.min(after)),
                first: before,
                second: if fold { after } else { before },
            });
            laid.segments.push(Segment {
                start: open.max(at + before.max(after)),
                first: after,
                second: after,
            });
            laid.offsets.push((at, after));
            before = after;
        }
        laid
    }

    /// The name that was given.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether local time differs from UTC by whole hours, now and ever.
    #[must_use]
    pub fn whole_hours(&self) -> bool {
        self.offsets.iter().all(|(_, offset)| offset % 3600 == 0)
    }

    /// UTC seconds of local seconds (seconds since 1970 as if local time were UTC).
    ///
    /// In a fold, `second_pass` chooses the later of the two. In a gap, the offset before the gap is
    /// used. Elsewhere `second_pass` changes nothing.
    #[inline]
    #[must_use]
    pub fn to_utc(&self, local_seconds: i64, second_pass: bool) -> i64 {
        let segment = self.segment(local_seconds);
        local_seconds
            - if second_pass {
                segment.second
            } else {
                segment.first
            }
    }

    /// Whether this local time comes twice.
    #[inline]
    #[must_use]
    pub fn is_fold(&self, local_seconds: i64) -> bool {
        let segment = self.segment(local_seconds);
        segment.first != segment.second
    }

    /// Local seconds of UTC seconds.
    #[must_use]
    pub fn to_local(&self, utc_seconds: i64) -> i64 {
        let after = self.offsets.partition_point(|(start, _)| *start <= utc_seconds);
        let offset = self
            .offsets
            .get(after.saturating_sub(1))
            .map_or(0, |(_, offset)| *offset);
        utc_seconds.saturating_add(offset)
    }

    #[inline]
    fn segment(&self, local: i64) -> Segment {
        let last = self.last.load(Ordering::Relaxed);
        if let Some(segment) = self.segments.get(last) {
            let end = self.segments.get(last + 1).map_or(i64::MAX, |next| next.start);
            if segment.start <= local && local < end {
                return *segment;
            }
        }
        self.find(local)
    }

    #[cold]
    fn find(&self, local: i64) -> Segment {
        let index = self
            .segments
            .partition_point(|segment| segment.start <= local)
            .saturating_sub(1);
        self.last.store(index, Ordering::Relaxed);
        self.segments.get(index).copied().unwrap_or(Segment {
            start: i64::MIN,
            first: 0,
            second: 0,
        })
    }
}

/// Seconds of `+09:00`, `-0330`, `+09`, `Z`.
fn parse_offset(text: &str) -> Option<i64> {
    if text == "Z" {
        return Some(0);
    }
    let (seconds, length) = super::date::offset(text.as_bytes())?;
    (length == text.len()).then_some(())?;
    seconds
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(year: i64, month: u32, day: u32, hour: i64, minute: i64) -> i64 {
        days_from_civil(year, month, day) * DAY + hour * 3600 + minute * 60
    }

    #[test]
    fn calendar_agrees_with_known_dates() {
        assert_eq!(days_from_civil(1970, 1, 1), 0);
        assert_eq!(days_from_civil(2000, 2, 29), 11_016);
        assert_eq!(days_from_civil(2002, 7, 15) * DAY, 1_026_691_200);
        assert_eq!(days_from_civil(1900, 3, 1) - days_from_civil(1900, 2, 28), 1);
        assert_eq!(civil_from_days(-1), (1969, 12, 31));
    }

    #[test]
    fn yearless_counts_29_february_in_every_year() {
        assert_eq!(yearless_seconds(1, 1, 0), Some(0));
        assert_eq!(yearless_seconds(3, 1, 5), Some(60 * DAY + 5));
        assert_eq!(yearless_seconds(2, 29, 0), Some(59 * DAY));
        assert_eq!(yearless_seconds(12, 31, 86_399), Some(366 * DAY - 1));
        for (month, day) in [(2, 30), (4, 31), (0, 1), (13, 1), (1, 0), (1, 32)] {
            assert_eq!(yearless_seconds(month, day, 0), None, "{month}-{day}");
        }
    }

    #[test]
    fn yearless_lands_in_the_year() {
        let july = yearless_seconds(7, 15, 64_801);
        for year in [2002, 2004, 2100] {
            assert_eq!(
                july.and_then(|s| yearless_to_local(s, year)),
                Some(at(year, 7, 15, 18, 0) + 1)
            );
        }
        let leap = yearless_seconds(2, 29, 0);
        assert_eq!(leap.and_then(|s| yearless_to_local(s, 2003)), None);
        assert_eq!(
            leap.and_then(|s| yearless_to_local(s, 2004)),
            Some(at(2004, 2, 29, 0, 0))
        );
    }

    #[test]
    fn a_fold_has_two_passes() {
        let berlin = Zone::new("Europe/Berlin").unwrap_or_else(|_| Zone::utc());
        let local = at(2002, 10, 27, 2, 30);
        assert!(berlin.is_fold(local));
        assert_eq!(berlin.to_utc(local, false), at(2002, 10, 27, 0, 30));
        assert_eq!(berlin.to_utc(local, true), at(2002, 10, 27, 1, 30));
        for (outside, utc) in [
            (at(2002, 10, 27, 1, 59), at(2002, 10, 26, 23, 59)),
            (at(2002, 10, 27, 3, 0), at(2002, 10, 27, 2, 0)),
        ] {
            assert!(!berlin.is_fold(outside));
            assert_eq!(berlin.to_utc(outside, false), utc);
            assert_eq!(berlin.to_utc(outside, true), utc);
        }
    }

    #[test]
    fn a_gap_moves_forward() {
        let berlin = Zone::new("Europe/Berlin").unwrap_or_else(|_| Zone::utc());
        let local = at(2002, 3, 31, 2, 30);
        let utc = berlin.to_utc(local, false);
        assert_eq!(utc, at(2002, 3, 31, 1, 30));
        assert_eq!(berlin.to_local(utc), at(2002, 3, 31, 3, 30));
        assert_eq!(berlin.to_utc(at(2002, 3, 31, 3, 0), false), at(2002, 3, 31, 1, 0));
    }

    #[test]
    fn odd_zones() {
        // Half an hour of daylight saving.
        let howe = Zone::new("Australia/Lord_Howe").unwrap_or_else(|_| Zone::utc());
        let local = at(2024, 4, 7, 1, 45);
        assert_eq!(howe.to_utc(local, true) - howe.to_utc(local, false), 1800);
        // A whole day left out: 2011-12-30 in Samoa.
        let apia = Zone::new("Pacific/Apia").unwrap_or_else(|_| Zone::utc());
        let local = at(2011, 12, 30, 12, 0);
        assert_eq!(apia.to_local(apia.to_utc(local, false)), local + DAY);
    }

    #[test]
    fn names_and_offsets() {
        assert_eq!(Zone::new("+09:00").map(|z| z.to_utc(0, false)), Ok(-32_400));
        assert_eq!(Zone::new("-0330").map(|z| z.to_utc(0, false)), Ok(12_600));
        assert_eq!(Zone::new("Asia/Tokyo").map(|z| z.to_utc(0, false)), Ok(-32_400));
        assert!(Zone::new("Asia/Tokio").is_err());
        assert!(Zone::new("").is_err());
    }

    #[test]
    fn every_hour_of_a_year_goes_there_and_back() {
        for name in [
            "Europe/Berlin",
            "America/New_York",
            "Australia/Lord_Howe",
            "Asia/Tokyo",
            "Africa/Casablanca",
        ] {
            let zone = Zone::new(name).unwrap_or_else(|_| Zone::utc());
            for hour in 0..366 * 24 * 4 {
                let utc = at(2024, 1, 1, 0, 0) + hour * 900;
                let local = zone.to_local(utc);
                let passes = [zone.to_utc(local, false), zone.to_utc(local, true)];
                assert!(passes.contains(&utc), "{name} {utc}");
                assert_eq!(passes[0] != passes[1], zone.is_fold(local));
                assert!(passes[0] <= passes[1]);
            }
        }
    }

    proptest! {
        #[test]
        fn civil_goes_there_and_back(days in -1_000_000i64..4_000_000) {
            let (year, month, day) = civil_from_days(days);
            prop_assert_eq!(days_from_civil(year, month, day), days);
            prop_assert!(day >= 1 && day <= days_in_month(year, month));
        }

        #[test]
        fn yearless_goes_there_and_back(seconds in 0i64..366 * DAY) {
            let (month, day, second) = yearless_parts(seconds);
            prop_assert_eq!(yearless_seconds(month, day, second), Some(seconds));
        }

        #[test]
        fn any_local_time_is_answered(local in any::<i64>().prop_map(|x| x / 4)) {
            let zone = Zone::new("Europe/Berlin").unwrap_or_else(|_| Zone::utc());
            prop_assert!((zone.to_utc(local, false) - local).abs() < DAY);
        }
    }
}
