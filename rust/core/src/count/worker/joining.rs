//! Joining the workers of the parts of a source.

use super::super::bins::{BinKey, OpenBin};
use super::super::intern::{Interner, NONE, SHED};
use super::super::memory::{Half, Held};
use super::super::seal::ClientColumns;
use super::super::timeline::{STEPS_MOST, YEAR_MINUTES};
use super::{Counted, Last, NO_MINUTE, Repeat, Worker, add};
use crate::syslog::header::Clock;

/// Sealed columns of a joined part, with the client table that their views point into.
pub struct Joined {
    /// The columns.
    pub columns: ClientColumns,
    /// Its client table.
    pub arena: Interner,
}

#[derive(Clone, Copy)]
struct Moved {
    stream: u32,
    minutes: i64,
    segments: u16,
}

impl Worker {
    /// Joins the part of the source that follows this one.
    pub fn join(&mut self, mut later: Worker) -> Joined {
        self.digest_all();
        later.digest_all();
        let year_shift = self.years.shift_for(&later.years) * YEAR_MINUTES;
        // Streams of the later part under this part's numbers, and how their bins move.
        let mut map = Vec::with_capacity(later.streams.len());
        for s in &later.streams {
            let server = self.server_by_name(&later.servers[s.server as usize]);
            let mine = self.stream_of(server, s.clock);
            let shift = if s.clock == Clock::Yearless { year_shift } else { 0 };
            let segments = self.streams[mine].course.segments_for(s.clock, &s.course, shift);
            map.push(Moved {
                stream: mine as u32,
                minutes: shift,
                segments,
            });
        }
        let moved = |key: BinKey| -> BinKey {
            let m = map[key.stream as usize];
            BinKey {
                minute: key.minute + m.minutes,
                segment: (key.segment + m.segments).min(STEPS_MOST as u16),
                stream: m.stream,
            }
        };
        // Repetitions at the later part's head are of this part's last lines.
        for repeat in std::mem::take(&mut later.repeats) {
            let key = moved(repeat.key);
            match self.streams[key.stream as usize].last {
                Some(Last::Event(event)) => {
                    self.matched += 1;
                    self.make_room();
                    let at = self.bin_at(key);
                    if let Some(detail) = &mut self.detail {
                        detail.recall(event.hash, detail.last(key.stream));
                    }
                    if let Some(bin) = &mut self.bins[at] {
                        let _ = add(bin, event, repeat.times, (&mut self.recent, 0));
                        self.fold(at);
                    }
                    if let Some(detail) = &mut self.detail {
                        let detailed = detail.last(key.stream);
                        detail.count(key, event.client, &self.clients, detailed, repeat.times);
                    }
                }
                Some(Last::Ignored) => self.ignored += 1,
                Some(Last::Unmatched) => self.unmatched("repetition of an unmatched line"),
                None => self.repeats.push(Repeat {
                    key,
                    times: repeat.times,
                }),
            }
        }
        // Clients of the later part under this part's numbers, each translated once.
        let mut known = vec![u32::MAX; later.clients.len()];
        let (clients, others) = (&mut self.clients, &later.clients);
        let mut adopt = |id: u32| match known.get_mut(id as usize) {
            Some(here) if *here != u32::MAX => *here,
            Some(here) => {
                let there = clients.adopt(others, id);
                // What is past the bound is counted each time.
                if there != SHED {
                    *here = there;
                }
                there
            }
            None => NONE,
        };
        // Details, after the repetitions of what stands here and before later lines ask for the last ones.
        let translation = match (&mut self.detail, later.detail.take()) {
            (Some(mine), Some(theirs)) => Some(mine.join(*theirs, moved, &mut adopt)),
            _ => None,
        };
        // Open bins.
        for (id, s) in later.streams.iter_mut().enumerate() {
            let m = map[id];
            for (_, at) in std::mem::take(&mut s.open) {
                let Some(mut bin) = later.bins[at].take() else {
                    continue;
                };
                bin.key = moved(bin.key);
                let mine = &mut self.streams[m.stream as usize];
                match mine.open.get(&(bin.key.segment, bin.key.minute)) {
                    None if bin.renumber(&mut adopt) => {
                        // Nothing of it is here: it goes on as it is.
                        mine.open
                            .insert((bin.key.segment, bin.key.minute), self.bins.len());
                        self.bins.push(Some(bin));
                        self.open += 1;
                    }
                    place => {
                        let at = place.copied().unwrap_or_else(|| {
                            mine.open
                                .insert((bin.key.segment, bin.key.minute), self.bins.len());
                            self.bins.push(Some(OpenBin::new(bin.key)));
                            self.open += 1;
                            self.bins.len() - 1
                        });
                        if let Some(mine) = &mut self.bins[at] {
                            mine.detailed = bin.detailed;
                            mine.absorb(bin, &mut adopt, self.limits.names_per_bin);
                        }
                    }
                }
            }
            let mine = &mut self.streams[m.stream as usize];
            mine.course.join(s.clock, &s.course, m.minutes);
            mine.turned = NO_MINUTE;
            mine.minute = NO_MINUTE;
            if let Some(last) = s.last {
                mine.last = Some(match last {
                    Last::Event(event) => Last::Event(Counted {
                        client: adopt(event.client),
                        ..event
                    }),
                    other => other,
                });
            }
        }
        // Halves of events.
        let most = self.limits.held_events;
        let halves: Vec<(u64, Half)> = later
            .memory
            .drain()
            .map(|(id, half)| match half {
                Half::Cancel(key) => (id, Half::Cancel(moved(key))),
                Half::Held(held) => {
                    let held = Held {
                        key: moved(held.key),
                        client: adopt(held.client),
                        detailed: translation
                            .as_ref()
                            .map_or(held.detailed, |t| t.event(held.detailed)),
                        ..held
                    };
                    (id, Half::Held(held))
                }
            })
            .collect();
        for (id, half) in halves {
            match half {
                Half::Cancel(key) => {
                    if let Some(held) = self.memory.cancel(id, key, most) {
                        self.take_back(held);
                    }
                }
                Half::Held(held) => {
                    if !self.memory.hold(id, held, most) {
                        self.take_back(held);
                    }
                }
            }
        }
        self.memory.evicted += later.memory.evicted;
        self.years.join(&later.years);
        self.tally.add(&later.tally);
        self.matched += later.matched;
        self.ignored += later.ignored;
        for (mine, theirs) in self.by_dialect.iter_mut().zip(later.by_dialect) {
            *mine += theirs;
        }
        self.clients.shed += later.clients.shed;
        self.clients.unparsed += later.clients.unparsed;
        for run in &mut later.columns.runs {
            run.key = moved(run.key);
        }
        for row in &mut later.traffic {
            row.key = moved(row.key);
        }
        self.traffic.append(&mut later.traffic);
        Joined {
            columns: later.columns,
            arena: later.clients,
        }
    }
}
