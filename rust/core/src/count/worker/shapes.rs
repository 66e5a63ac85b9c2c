//! The most frequent shapes of the lines that nobody understood, as lines come.
//!
//! For dashboards: what does the daemon not understand *now*? (`seismolog explain --unmatched` groups files, with examples
//! and reasons.) A bounded number of shapes is kept after Space-Saving: a new one takes the place of the rarest and
//! its count, so what is frequent is kept whenever it began, and a count is too high by at most that of the rarest.
//!
//! A shape costs about a microsecond, counting a line a tenth of that. So of each second of receipt only the first
//! lines are looked at, ten for each shape that is kept; the others are counted as not looked at. A log of which much is
//! not understood is then sampled, and counting it does not slow down.
//!
//! Limits: nothing is kept over a restart.

use hashbrown::HashMap;

use crate::archive::shapes::shape_of;

/// Lines of a second that are looked at, for each shape that is kept.
const LOOKS: usize = 10;
/// Bytes of a program's name that make part of a shape.
const PROGRAM_MOST: usize = 64;

/// Shapes with the number of lines of each.
pub(super) struct UnmatchedShapes {
    groups: HashMap<String, u64, foldhash::quality::RandomState>,
    most: usize,
    second: i64,
    looked: usize,
    /// Lines that were not looked at.
    pub passed_over: u64,
}

impl UnmatchedShapes {
    /// Keeps `most` shapes.
    pub fn new(most: usize) -> UnmatchedShapes {
        UnmatchedShapes {
            groups: HashMap::default(),
            most: most.max(1),
            second: i64::MIN,
            looked: 0,
            passed_over: 0,
        }
    }

    /// A line was not understood.
    pub fn note(&mut self, received: i64, program: &[u8], message: &[u8]) {
        if received != self.second {
            self.second = received;
            self.looked = 0;
        }
        if self.looked >= self.most.saturating_mul(LOOKS) {
            self.passed_over += 1;
            return;
        }
        self.looked += 1;
        let program = program.get(..program.len().min(PROGRAM_MOST)).unwrap_or_default();
        let shape = shape_of(&String::from_utf8_lossy(program), message);
        if let Some(count) = self.groups.get_mut(&shape) {
            *count += 1;
            return;
        }
        let mut before = 0;
        if self.groups.len() >= self.most
            && let Some((rarest, &count)) = self.groups.iter().min_by_key(|(_, n)| **n)
        {
            before = count;
            let rarest = rarest.clone();
            self.groups.remove(&rarest);
        }
        self.groups.insert(shape, before + 1);
    }

    /// The shapes, most frequent first.
    pub fn sorted(&self) -> Vec<(String, u64)> {
        let mut all: Vec<(String, u64)> = self.groups.iter().map(|(s, n)| (s.clone(), *n)).collect();
        all.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequent_shapes_stay_among_rare_ones() {
        let mut shapes = UnmatchedShapes::new(8);
        for second in 0..50 {
            for n in 0..4 {
                shapes.note(second, b"cron", format!("({n}) CMD").as_bytes());
            }
            // Letters alone: every one is a shape of its own.
            let rare: String = (0..3)
                .map(|i| (b'a' + ((second >> (4 * i)) % 16) as u8) as char)
                .collect();
            shapes.note(second, b"app", rare.as_bytes());
        }
        let all = shapes.sorted();
        assert_eq!(all.len(), 8);
        assert_eq!(all[0], ("cron: (#) CMD".to_owned(), 200));
        assert_eq!(shapes.passed_over, 0);
    }

    #[test]
    fn a_flood_is_looked_at_in_part() {
        let mut shapes = UnmatchedShapes::new(2);
        for _ in 0..100 {
            shapes.note(7, b"", b"x");
        }
        assert_eq!(
            (shapes.sorted(), shapes.passed_over),
            (vec![("x".to_owned(), 20)], 80)
        );
        shapes.note(8, b"", b"x");
        assert_eq!(shapes.sorted()[0].1, 21);
    }
}
