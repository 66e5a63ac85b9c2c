//! The years of files whose lines tell none.
//!
//! The last line of a file was written before the file was: its year is the latest for which that
//! holds, with a day to spare for clocks and zones, and for which every 29 February seen exists. In a
//! rotated set a file ends where the next newer one begins, which reaches back past one year even
//! when all files carry one modification time.

use crate::count::timeline::{YEAR_MINUTES, Years};
use crate::syslog::time::yearless_to_local;

/// Seconds by which a line may be newer than its file.
const SPARE: i64 = 86_400;

/// A relative minute in local seconds, if its first line lies in `year`.
#[must_use]
pub fn local_seconds(minute: i64, year: i64) -> i64 {
    let (years, within) = (minute.div_euclid(YEAR_MINUTES), minute.rem_euclid(YEAR_MINUTES));
    let seconds = within * 60;
    match yearless_to_local(seconds, year + years) {
        Some(local) => local,
        // 29 February of a year that has none: the day after the 28th.
        None => yearless_to_local(seconds + 86_400, year + years).unwrap_or(0),
    }
}

/// The year of a file's first line, so that its last line is not newer than `limit` (local seconds).
#[must_use]
pub fn first_year(years: &Years, limit: i64) -> i64 {
    let Some((_, last)) = years.span() else {
        return 1970;
    };
    let newest = 1970 + limit.div_euclid(31_556_952) + 1;
    let latest = (newest - 12..=newest + 1)
        .rev()
        .map(|y| y - years.last)
        .filter(|&first| local_seconds(last, first) <= limit + SPARE);
    let mut fallback = None;
    for first in latest {
        fallback = fallback.or(Some(first));
        if years.allows(first) {
            return first;
        }
    }
    fallback.unwrap_or(newest - 1 - years.last)
}

/// The place of a file in a rotated set: the name without what rotation added, and how many
/// rotations ago it was written (0: the current file). Dates sort by themselves, newest first.
#[must_use]
pub fn rotation(path: &std::path::Path) -> (String, i64) {
    let folder = path
        .parent()
        .map(|p| p.to_string_lossy().into_owned())
        .unwrap_or_default();
    let mut name = path
        .file_name()
        .map(|n| n.to_string_lossy().into_owned())
        .unwrap_or_default();
    for ending in [".gz", ".zst", ".xz", ".bz2", ".Z", ".lz4"] {
        if let Some(bare) = name.strip_suffix(ending) {
            name = bare.to_owned();
            break;
        }
    }
    if let Some((stem, number)) = name.rsplit_once(['.', '-'])
        && !number.is_empty()
        && number.bytes().all(|b| b.is_ascii_digit())
        && let Ok(n) = number.parse::<i64>()
    {
        // `messages.3` is older than `messages.2`; `messages-20020715` is newer than `-20020714`.
        let rank = if number.len() >= 6 { -n } else { n };
        return (
            format!("{folder}/{stem}"),
            if number.len() >= 6 { rank + (1 << 40) } else { rank },
        );
    }
    (format!("{folder}/{name}"), -1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn years(minutes: &[i64]) -> Years {
        let mut y = Years::default();
        for &m in minutes {
            y.advance(m);
        }
        y
    }

    const JUL_15: i64 = (31 + 29 + 31 + 30 + 31 + 30 + 14) * 1440;
    const TIME_2002_08_01: i64 = 1_028_160_000;

    #[test]
    fn the_latest_year_that_the_file_allows() {
        assert_eq!(first_year(&years(&[JUL_15]), TIME_2002_08_01), 2002);
        assert_eq!(first_year(&years(&[JUL_15]), TIME_2002_08_01 - 30 * 86_400), 2001);
        // December, then January: the first line lies in the year before.
        assert_eq!(first_year(&years(&[YEAR_MINUTES - 5, 3]), TIME_2002_08_01), 2001);
        // 29 February 2000 is the last one before 2002.
        assert_eq!(
            first_year(&years(&[59 * 1440 + 7, JUL_15]), TIME_2002_08_01),
            2000
        );
    }

    #[test]
    fn rotated_names() {
        let of = |p: &str| rotation(std::path::Path::new(p));
        assert_eq!(of("/l/messages"), ("/l/messages".into(), -1));
        assert_eq!(of("/l/messages.1"), ("/l/messages".into(), 1));
        assert_eq!(of("/l/messages.2.gz").0, "/l/messages");
        assert!(of("/l/m-20020714.gz").1 > of("/l/m-20020715").1);
    }
}
