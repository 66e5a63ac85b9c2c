//! Cells of a fixed number of minutes of a stream's clock and segment.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::count::bins::BinKey;

/// Cells behind the newest of a stream that keep the memory to grow.
const WARM_CELLS: i64 = 2;

/// Which cell: of a stream and segment, by its number on the stream's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CellKey {
    /// The stream.
    pub stream: u32,
    /// The segment of its clock; the number of the late set where lines are counted as they come.
    pub segment: u16,
    /// Number of the cell: its first minute divided by the length.
    pub number: i64,
}

/// A cell and how far it has been told.
#[derive(Default, Serialize, Deserialize)]
pub struct Cell<C> {
    /// The rows.
    pub rows: C,
    /// The earliest minute of an event in it: where the cell stands in time.
    minute: i64,
    /// Nothing was added since its memory was given back.
    cool: bool,
    /// Something was counted since it was told last.
    pub changed: bool,
    /// It was told before.
    pub told: bool,
}

/// Where the lines of a stream are counted now.
#[derive(Clone, Copy)]
struct Current {
    minute: i64,
    segment: u16,
    cell: usize,
}

/// The cells of one worker.
pub struct Cells<C> {
    minutes: i64,
    cells: Vec<Cell<C>>,
    free: Vec<usize>,
    index: BTreeMap<CellKey, usize>,
    /// The cells whose memory was not given back: a new cell looks at these alone, not at years of cool ones.
    warm: BTreeSet<CellKey>,
    current: Vec<Option<Current>>,
}

impl<C: Default> Cells<C> {
    /// No cells yet; each will be so many minutes long.
    #[must_use]
    pub fn new(minutes: i64) -> Self {
        Cells {
            minutes: minutes.max(1),
            cells: Vec::new(),
            free: Vec::new(),
            index: BTreeMap::new(),
            warm: BTreeSet::new(),
            current: Vec::new(),
        }
    }

    /// The rows of every cell.
    pub fn each(&self) -> impl Iterator<Item = &C> {
        self.index
            .values()
            .filter_map(|&at| self.cells.get(at))
            .map(|cell| &cell.rows)
    }

    /// Length of a cell in minutes.
    #[must_use]
    pub fn minutes(&self) -> i64 {
        self.minutes
    }

    /// The cell of a minute, which is made if needed. `cool` is called on the cells well behind a new one.
    #[inline]
    pub fn at(&mut self, key: BinKey, cool: impl FnMut(&mut C)) -> &mut C {
        let at = match self.current.get(key.stream as usize) {
            Some(Some(now)) if now.minute == key.minute && now.segment == key.segment => now.cell,
            _ => self.turn(key, cool),
        };
        let cell = &mut self.cells[at];
        cell.changed = true;
        &mut cell.rows
    }

    #[inline(never)]
    fn turn(&mut self, key: BinKey, cool: impl FnMut(&mut C)) -> usize {
        let place = CellKey {
            stream: key.stream,
            segment: key.segment,
            number: key.minute.div_euclid(self.minutes),
        };
        let at = match self.index.get(&place) {
            Some(&at) => at,
            None => {
                let at = self.put(
                    place,
                    Cell {
                        minute: key.minute,
                        ..Cell::default()
                    },
                );
                self.cool_behind(place, cool);
                at
            }
        };
        let cell = &mut self.cells[at];
        cell.minute = cell.minute.min(key.minute);
        if std::mem::take(&mut cell.cool) {
            self.warm.insert(place);
        }
        let stream = key.stream as usize;
        if self.current.len() <= stream {
            self.current.resize(stream + 1, None);
        }
        self.current[stream] = Some(Current {
            minute: key.minute,
            segment: key.segment,
            cell: at,
        });
        at
    }

    /// Puts a cell in.
    pub fn put(&mut self, key: CellKey, cell: Cell<C>) -> usize {
        if !cell.cool {
            self.warm.insert(key);
        }
        let at = match self.free.pop() {
            Some(at) => {
                self.cells[at] = cell;
                at
            }
            None => {
                self.cells.push(cell);
                self.cells.len() - 1
            }
        };
        self.index.insert(key, at);
        at
    }

    fn cool_behind(&mut self, newest: CellKey, mut cool: impl FnMut(&mut C)) {
        let all = CellKey {
            segment: 0,
            number: i64::MIN,
            ..newest
        }..=CellKey {
            segment: u16::MAX,
            number: i64::MAX,
            ..newest
        };
        let behind: Vec<CellKey> = self
            .warm
            .range(all)
            .filter(|key| key.number < newest.number - WARM_CELLS)
            .copied()
            .collect();
        for key in behind {
            self.warm.remove(&key);
            if let Some(cell) = self.get_mut(key) {
                cell.cool = true;
                cool(&mut cell.rows);
            }
        }
    }

    /// Every cell by stream, segment and time, with a bin that it stands for.
    pub fn into_ordered(self) -> impl Iterator<Item = (BinKey, C)> {
        let mut cells: Vec<Option<Cell<C>>> = self.cells.into_iter().map(Some).collect();
        self.index.into_iter().filter_map(move |(key, at)| {
            let cell = cells.get_mut(at)?.take()?;
            let key = BinKey {
                minute: cell.minute,
                segment: key.segment,
                stream: key.stream,
            };
            Some((key, cell.rows))
        })
    }

    /// Every cell by stream, segment and time.
    pub fn iter(&self) -> impl Iterator<Item = (CellKey, &Cell<C>)> {
        self.index.iter().map(|(key, &at)| (*key, &self.cells[at]))
    }

    /// Every cell, in no order, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Cell<C>> {
        self.cells.iter_mut()
    }

    /// A cell.
    #[must_use]
    pub fn get(&self, key: CellKey) -> Option<&Cell<C>> {
        self.index.get(&key).map(|&at| &self.cells[at])
    }

    /// A cell, to be changed.
    pub fn get_mut(&mut self, key: CellKey) -> Option<&mut Cell<C>> {
        self.index.get(&key).map(|&at| &mut self.cells[at])
    }

    /// Takes a cell out.
    pub fn remove(&mut self, key: CellKey) -> Option<C> {
        let at = self.index.remove(&key)?;
        self.warm.remove(&key);
        self.current.clear();
        self.free.push(at);
        Some(std::mem::take(&mut self.cells[at]).rows)
    }

    /// The cells of the same stream and segment before this one, the latest first.
    pub fn before(&self, key: CellKey) -> impl Iterator<Item = (CellKey, &Cell<C>)> {
        let first = CellKey {
            number: i64::MIN,
            ..key
        };
        self.index
            .range(first..key)
            .rev()
            .map(|(key, &at)| (*key, &self.cells[at]))
    }

    /// Marks the cells of the same stream and segment after this one as changed, if they were told.
    pub fn change_after(&mut self, key: CellKey) {
        let last = CellKey {
            number: i64::MAX,
            ..key
        };
        let after = (std::ops::Bound::Excluded(key), std::ops::Bound::Included(last));
        for (_, &at) in self.index.range(after) {
            let cell = &mut self.cells[at];
            cell.changed |= cell.told;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(cells: &mut Cells<u32>, stream: u32, hour: i64) -> u32 {
        let key = BinKey {
            stream,
            segment: 0,
            minute: hour * 60,
        };
        let rows = cells.at(key, |rows| *rows += 1);
        *rows
    }

    #[test]
    fn a_cell_well_behind_the_newest_of_its_stream_is_cooled_once() {
        let mut cells: Cells<u32> = Cells::new(60);
        at(&mut cells, 1, 0);
        for hour in 0..6 {
            at(&mut cells, 0, hour);
        }
        let cooled: Vec<u32> = cells.each().copied().collect();
        assert_eq!(cooled, [1, 1, 1, 0, 0, 0, 0]);
        assert_eq!(cells.warm.len(), 4);
    }

    #[test]
    fn a_cell_that_was_counted_in_again_is_cooled_again() {
        let mut cells: Cells<u32> = Cells::new(60);
        for hour in [0, 3, 0, 4, 5] {
            at(&mut cells, 0, hour);
        }
        let cooled: Vec<u32> = cells.each().copied().collect();
        assert_eq!(cooled, [2, 0, 0, 0]);
    }

    #[test]
    fn a_cell_that_was_taken_out_is_cooled_no_more() {
        let mut cells: Cells<u32> = Cells::new(60);
        at(&mut cells, 0, 0);
        let key = CellKey {
            stream: 0,
            segment: 0,
            number: 0,
        };
        assert_eq!(cells.remove(key), Some(0));
        at(&mut cells, 0, 9);
        assert_eq!(cells.each().copied().collect::<Vec<u32>>(), [0]);
    }
}
