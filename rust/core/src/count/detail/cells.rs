//! Cells of a fixed number of minutes of a stream's clock and segment.

use std::collections::BTreeMap;

use crate::count::bins::BinKey;

/// Cells behind the newest of a stream that keep the memory to grow.
const WARM_CELLS: i64 = 2;

/// Stream, segment, and number of the cell on the stream's clock.
type CellKey = (u32, u16, i64);

struct Cell<C> {
    rows: C,
    /// The earliest minute of an event in it: where the cell stands in time.
    minute: i64,
    /// Nothing was added since its memory was given back.
    cool: bool,
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
    index: BTreeMap<CellKey, usize>,
    current: Vec<Option<Current>>,
}

impl<C: Default> Cells<C> {
    /// No cells yet; each will be so many minutes long.
    #[must_use]
    pub fn new(minutes: i64) -> Self {
        Cells {
            minutes: minutes.max(1),
            cells: Vec::new(),
            index: BTreeMap::new(),
            current: Vec::new(),
        }
    }

    /// The cell of a minute, which is made if needed. `cool` is called on the cells well behind a new one.
    #[inline]
    pub fn at(&mut self, key: BinKey, cool: impl FnMut(&mut C)) -> &mut C {
        let at = match self.current.get(key.stream as usize) {
            Some(Some(now)) if now.minute == key.minute && now.segment == key.segment => now.cell,
            _ => self.turn(key, cool),
        };
        &mut self.cells[at].rows
    }

    #[inline(never)]
    fn turn(&mut self, key: BinKey, cool: impl FnMut(&mut C)) -> usize {
        let place = (key.stream, key.segment, key.minute.div_euclid(self.minutes));
        let at = match self.index.get(&place) {
            Some(&at) => at,
            None => {
                self.cells.push(Cell {
                    rows: C::default(),
                    minute: key.minute,
                    cool: false,
                });
                let at = self.cells.len() - 1;
                self.index.insert(place, at);
                self.cool_behind(place, cool);
                at
            }
        };
        let cell = &mut self.cells[at];
        cell.minute = cell.minute.min(key.minute);
        cell.cool = false;
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

    fn cool_behind(&mut self, (stream, _, newest): CellKey, mut cool: impl FnMut(&mut C)) {
        let all = (stream, 0, i64::MIN)..=(stream, u16::MAX, i64::MAX);
        for ((_, _, cell), &at) in self.index.range(all) {
            let cell_at = &mut self.cells[at];
            if *cell < newest - WARM_CELLS && !cell_at.cool {
                cell_at.cool = true;
                cool(&mut cell_at.rows);
            }
        }
    }

    /// Every cell by stream, segment and time, with a bin that it stands for.
    pub fn into_ordered(self) -> impl Iterator<Item = (BinKey, C)> {
        let mut cells: Vec<Option<Cell<C>>> = self.cells.into_iter().map(Some).collect();
        self.index
            .into_iter()
            .filter_map(move |((stream, segment, _), at)| {
                let cell = cells.get_mut(at)?.take()?;
                let key = BinKey {
                    minute: cell.minute,
                    segment,
                    stream,
                };
                Some((key, cell.rows))
            })
    }

    /// Every cell by stream, segment and time, with its stream.
    pub fn each_ordered(&mut self, mut take: impl FnMut(u32, &mut C)) {
        for ((stream, _, _), &at) in &self.index {
            take(*stream, &mut self.cells[at].rows);
        }
    }
}
