//! Times without a year, and clocks that are set back.
//!
//! A classic syslog line tells month, day and time of day. Which year that is depends on lines that
//! may stand in another part of the file, so a worker counts on a relative clock: minutes of years of
//! 366 days, years counted from the first line of its part. A step back by more than half a year is
//! New Year, a step forward by more than half a year is a late line of the old year. Both rules look
//! only at neighbouring lines, so that parts can be joined: the years of the later part are moved by
//! what the earlier part ended with. The true year is found when the whole file has been read
//! (see [`crate::archive::years`]).

use serde::{Deserialize, Serialize};

use crate::syslog::header::Clock;

/// Minutes of a year of 366 days.
pub const YEAR_MINUTES: i64 = 366 * 1440;

/// Years passed over a sequence of lines without a year.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Years {
    /// Minute of the year of the first and of the last such line.
    ends: Option<(i64, i64)>,
    /// Year of the last line, counted from that of the first.
    pub last: i64,
    /// Bits of the years, counted from the first, in which a 29 February was seen: the lowest bit is
    /// year -8, so that late lines before the first are covered too.
    pub leap_seen: u32,
    /// Minute of the year in which lines are received, where they are counted as they come: `last` is its
    /// year, and each line lies in the year that brings it nearest.
    received: Option<i64>,
}

const fn step(from: i64, to: i64) -> i64 {
    let d = to - from;
    if d < -YEAR_MINUTES / 2 {
        1
    } else if d > YEAR_MINUTES / 2 {
        -1
    } else {
        0
    }
}

const FEB_29: i64 = 31 + 28;

impl Years {
    /// Lines are now received in this minute on the clock of years of 366 days, counted from year 0.
    pub fn receive(&mut self, minute: i64) {
        self.last = minute.div_euclid(YEAR_MINUTES);
        self.received = Some(minute.rem_euclid(YEAR_MINUTES));
    }

    /// The minute on the relative clock of a line with this minute of the year, if no year has passed.
    #[inline(always)]
    #[must_use]
    pub fn place(&self, minute: i64) -> i64 {
        let year = match self.received {
            None => self.last,
            Some(received) => self.last + step(received, minute),
        };
        year * YEAR_MINUTES + minute
    }

    /// The minute on the relative clock of a line that need not be taken by [`advance`](Self::advance): one of the
    /// same minute of the year as the line before it, or one that is counted as it comes.
    #[inline(always)]
    #[must_use]
    pub fn unmoved(&self, minute: i64) -> Option<i64> {
        if self.received.is_none() && self.ends.is_none_or(|(_, last)| last != minute) {
            return None;
        }
        Some(self.place(minute))
    }

    /// Takes the next line's minute of the year; returns its minute on the relative clock.
    pub fn advance(&mut self, minute: i64) -> i64 {
        match &mut self.ends {
            None => self.ends = Some((minute, minute)),
            Some((_, last)) => {
                self.last += step(*last, minute);
                *last = minute;
            }
        }
        if minute / 1440 == FEB_29 && (-8..24).contains(&self.last) {
            self.leap_seen |= 1 << (self.last + 8);
        }
        self.last * YEAR_MINUTES + minute
    }

    /// Years to add to a later part's minutes when it is joined behind this one.
    #[must_use]
    pub fn shift_for(&self, later: &Years) -> i64 {
        match (self.ends, later.ends) {
            (Some((_, last)), Some((first, _))) => self.last + step(last, first),
            _ => 0,
        }
    }

    /// Joins a later part.
    pub fn join(&mut self, later: &Years) {
        let shift = self.shift_for(later);
        self.ends = match (self.ends, later.ends) {
            (Some((first, _)), Some((_, last))) => {
                self.last = shift + later.last;
                Some((first, last))
            }
            (None, ends) => {
                self.last = later.last;
                ends
            }
            (ends, None) => ends,
        };
        self.leap_seen |= match shift {
            0..=31 => later.leap_seen << shift,
            -31..=-1 => later.leap_seen >> -shift,
            _ => 0,
        };
    }

    /// Whether any line told no year.
    #[must_use]
    pub fn any(&self) -> bool {
        self.ends.is_some()
    }

    /// Relative minutes of the first and the last line without a year.
    #[must_use]
    pub fn span(&self) -> Option<(i64, i64)> {
        self.ends
            .map(|(first, last)| (first, self.last * YEAR_MINUTES + last))
    }

    /// Whether the first line may lie in `year`: every 29 February seen must exist.
    #[must_use]
    pub fn allows(&self, year: i64) -> bool {
        (0..32).filter(|bit| self.leap_seen & (1 << bit) != 0).all(|bit| {
            let y = year + bit - 8;
            y % 4 == 0 && (y % 100 != 0 || y % 400 == 0)
        })
    }
}

/// A step back of a clock by about an hour, as at the end of daylight saving time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepBack {
    /// Minute before the step.
    pub from: i64,
    /// Minute after it.
    pub to: i64,
}

/// Steps kept for one stream; more are no daylight saving, and later bins share the last segment.
pub const STEPS_MOST: usize = 64;

/// The course of one server's clock within a part of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Course {
    /// Minutes of the first and of the last line.
    pub ends: Option<(i64, i64)>,
    /// The newest minute seen, but for a clock that ran ahead by more than a day and came back.
    pub newest: i64,
    /// Steps back, in order; the bins after the i-th are in segment i + 1.
    pub steps: Vec<StepBack>,
}

/// A clock that is set back by this many minutes was set back on purpose: lines come late by seconds, and
/// the smallest fold of any zone is half an hour (Lord Howe Island).
const STEP_LEAST: i64 = 20;
/// The largest fold is an hour; the rest is room for a server that writes seldom.
const STEP_MOST: i64 = 90;

const fn is_step_back(from: i64, to: i64) -> bool {
    let d = from - to;
    d > STEP_LEAST && d < STEP_MOST
}

/// One line with a wrong date must not make every later line late.
const fn newer(newest: i64, minute: i64) -> i64 {
    if minute > newest || minute < newest - 1440 {
        minute
    } else {
        newest
    }
}

impl Course {
    /// Takes the next minute; returns its segment.
    pub fn advance(&mut self, clock: Clock, minute: i64) -> u16 {
        match &mut self.ends {
            None => {
                self.ends = Some((minute, minute));
                self.newest = minute;
            }
            Some((_, last)) => {
                if clock != Clock::Absolute && is_step_back(*last, minute) && self.steps.len() < STEPS_MOST {
                    self.steps.push(StepBack {
                        from: *last,
                        to: minute,
                    });
                }
                *last = minute;
                self.newest = newer(self.newest, minute);
            }
        }
        self.steps.len() as u16
    }

    /// Segments to add to a later part's bins when it is joined behind this one, whose minutes have
    /// been moved by `shift` minutes.
    #[must_use]
    pub fn segments_for(&self, clock: Clock, later: &Course, shift: i64) -> u16 {
        let seam = match (self.ends, later.ends) {
            (Some((_, last)), Some((first, _))) => {
                clock != Clock::Absolute && is_step_back(last, first + shift)
            }
            _ => false,
        };
        (self.steps.len() + usize::from(seam)).min(STEPS_MOST) as u16
    }

    /// Joins a later part whose minutes are moved by `shift`.
    pub fn join(&mut self, clock: Clock, later: &Course, shift: i64) {
        let Some((later_first, later_last)) = later.ends.map(|(f, l)| (f + shift, l + shift)) else {
            return;
        };
        match &mut self.ends {
            None => {
                self.ends = Some((later_first, later_last));
                self.newest = later.newest + shift;
            }
            Some((_, last)) => {
                if clock != Clock::Absolute && is_step_back(*last, later_first) {
                    self.steps.push(StepBack {
                        from: *last,
                        to: later_first,
                    });
                }
                *last = later_last;
                self.newest = newer(self.newest, later.newest + shift);
            }
        }
        self.steps.extend(later.steps.iter().map(|s| StepBack {
            from: s.from + shift,
            to: s.to + shift,
        }));
        self.steps.truncate(STEPS_MOST);
    }

    /// Forgets steps back that lie more than a day behind: nothing will be near them again.
    pub fn forget_steps(&mut self) {
        let newest = self.newest;
        self.steps.retain(|s| s.from >= newest - 1440);
    }

    /// Whether a bin lies after a step back near it: the second pass of a repeated hour, if its time is
    /// one that comes twice. The hour's rest may be later than the last line before the step.
    #[must_use]
    pub fn second_pass(&self, segment: u16, minute: i64) -> bool {
        self.steps
            .iter()
            .take(segment as usize)
            .any(|s| s.to - STEP_LEAST <= minute && minute <= s.from + 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn over(minutes: &[i64]) -> (Years, Vec<i64>) {
        let mut y = Years::default();
        let relative = minutes.iter().map(|&m| y.advance(m)).collect();
        (y, relative)
    }

    proptest! {
        #[test]
        fn parts_join_to_the_whole(
            minutes in proptest::collection::vec(0..YEAR_MINUTES, 0..40), cut in 0usize..40,
        ) {
            let cut = cut.min(minutes.len());
            let (whole, all) = over(&minutes);
            let (mut a, mut left) = over(&minutes[..cut]);
            let (b, right) = over(&minutes[cut..]);
            let shift = a.shift_for(&b) * YEAR_MINUTES;
            left.extend(right.iter().map(|m| m + shift));
            prop_assert_eq!(left, all);
            a.join(&b);
            prop_assert_eq!((a.ends, a.last), (whole.ends, whole.last));
        }

        #[test]
        fn courses_join_to_the_whole(
            minutes in proptest::collection::vec(0i64..400, 0..40), cut in 0usize..40,
        ) {
            let cut = cut.min(minutes.len());
            let mut whole = Course::default();
            let all: Vec<u16> = minutes.iter().map(|&m| whole.advance(Clock::Local, m)).collect();
            let (mut a, mut b) = (Course::default(), Course::default());
            let mut left: Vec<u16> = minutes[..cut].iter().map(|&m| a.advance(Clock::Local, m)).collect();
            let right: Vec<u16> = minutes[cut..].iter().map(|&m| b.advance(Clock::Local, m)).collect();
            let add = a.segments_for(Clock::Local, &b, 0);
            left.extend(right.iter().map(|s| s + add));
            prop_assert_eq!(left, all);
            a.join(Clock::Local, &b, 0);
            prop_assert_eq!((a.ends, a.steps), (whole.ends, whole.steps));
        }
    }

    #[test]
    fn new_year_and_a_late_line_of_the_old_one() {
        let dec31 = YEAR_MINUTES - 1;
        let (y, relative) = over(&[dec31 - 1, dec31, 0, dec31, 1]);
        assert_eq!(
            relative,
            [dec31 - 1, dec31, YEAR_MINUTES, dec31, YEAR_MINUTES + 1]
        );
        assert_eq!(y.last, 1);
    }

    #[test]
    fn a_29_february_asks_for_a_leap_year() {
        let (y, _) = over(&[1000, FEB_29 * 1440 + 3]);
        assert!(y.allows(2024) && !y.allows(2023) && !y.allows(1900) && y.allows(2000));
        let (late, _) = over(&[YEAR_MINUTES - 1, FEB_29 * 1440]);
        assert!(late.allows(2023) && !late.allows(2024));
    }
}
