//! The state of a live worker as bytes, and back.
//!
//! The head (postcard) holds all but the bins; these follow as blobs, frozen. A frozen bin's blob is handed over
//! without a copy, so that taking the state costs what the bins at hand and the client table cost.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::super::bins::{BinKey, Told};
use super::super::frozen;
use super::super::memory::Half;
use super::super::timeline::Course;
use super::super::{Limits, Options};
use super::live::{Feed, Frozen, Home, LiveOptions};
use super::{Last, Tally, Worker};
use crate::syslog::header::Clock;

/// The state of a worker, in one head and many blobs.
#[derive(Clone, Debug, Default)]
pub struct Saved {
    /// All but the bins.
    pub head: Vec<u8>,
    /// The bins.
    pub blobs: Vec<Arc<[u8]>>,
}

#[derive(Serialize, Deserialize)]
struct Stream {
    server: u32,
    clock: Clock,
    course: Course,
    last: Option<Last>,
}

#[derive(Serialize, Deserialize)]
struct Bin {
    set: u16,
    minute: i64,
    hot: bool,
    closed: bool,
    told: Told,
}

#[derive(Serialize, Deserialize)]
struct Place {
    gone: i64,
    bins: Vec<Bin>,
}

#[derive(Serialize, Deserialize)]
struct State {
    servers: Vec<String>,
    hosts: Vec<(Vec<u8>, u32)>,
    streams: Vec<Stream>,
    homes: Vec<Place>,
    feeds: Vec<(u32, u32, Feed)>,
    late_set: u16,
    late_since: Option<i64>,
    kept: i64,
    clamped: u64,
    renewed: u64,
    clients: Vec<u8>,
    clients_shed: u64,
    clients_unparsed: u64,
    halves: Vec<(u64, Vec<Half>)>,
    evicted: u64,
    tally: Counts,
    /// The first blob is the details'.
    detailed: bool,
}

/// A [`Tally`] whose names are not those of the program.
#[derive(Serialize, Deserialize)]
struct Counts {
    sums: [u64; 4],
    dialects: BTreeMap<String, u64>,
    reasons: BTreeMap<String, u64>,
    shed: BTreeMap<String, u64>,
}

fn owned(map: &BTreeMap<&'static str, u64>) -> BTreeMap<String, u64> {
    map.iter().map(|(k, v)| ((*k).to_owned(), *v)).collect()
}

fn lasting(map: BTreeMap<String, u64>) -> BTreeMap<&'static str, u64> {
    map.into_iter()
        .map(|(k, v)| (super::super::lasting(k), v))
        .collect()
}

impl Worker {
    /// The state, from which [`Worker::restore`] goes on as this worker would. What was let go must have been told.
    ///
    /// # Errors
    /// Says what could not be written; it would be a bug.
    pub fn save(&mut self) -> Result<Saved, String> {
        self.digest_all();
        let mut blobs: Vec<Arc<[u8]>> = Vec::new();
        if let Some(detail) = &self.detail {
            blobs.push(detail.save().map_err(|e| e.to_string())?.into());
        }
        let Some(p) = &self.live else {
            return Err("only a live worker has a state".to_owned());
        };
        let mut homes = Vec::with_capacity(p.homes.len());
        for home in &p.homes {
            let mut bins = Vec::with_capacity(home.open.len() + home.frozen.len());
            for (&(set, minute), &at) in &home.open {
                let Some(Some(bin)) = self.bins.get_mut(at) else {
                    continue;
                };
                bins.push(Bin {
                    set,
                    minute,
                    hot: true,
                    closed: p.closed.get(at).copied().unwrap_or(false),
                    told: bin.told.clone(),
                });
                blobs.push(frozen::freeze(bin, &self.clients, self.limits.names_per_bin).into());
            }
            for (&(set, minute), f) in &home.frozen {
                bins.push(Bin {
                    set,
                    minute,
                    hot: false,
                    closed: f.closed,
                    told: f.told.clone(),
                });
                blobs.push(Arc::clone(&f.bytes));
            }
            homes.push(Place {
                gone: home.gone,
                bins,
            });
        }
        let mut clients = Vec::new();
        for id in 2..self.clients.len() {
            frozen::put_client(&mut clients, &self.clients, id as u32);
        }
        let tally = self.full_tally();
        let state = State {
            servers: self.servers.clone(),
            hosts: self.server_ids.iter().map(|(h, id)| (h.clone(), *id)).collect(),
            streams: self
                .streams
                .iter()
                .map(|s| Stream {
                    server: s.server,
                    clock: s.clock,
                    course: s.course.clone(),
                    last: s.last,
                })
                .collect(),
            homes,
            feeds: p.feeds.iter().map(|(k, f)| (k.0, k.1, *f)).collect(),
            late_set: p.late_set,
            late_since: p.late_since,
            kept: p.kept,
            clamped: p.clamped,
            renewed: p.renewed,
            clients,
            clients_shed: self.clients.shed,
            clients_unparsed: self.clients.unparsed,
            halves: self.memory.all().collect(),
            evicted: self.memory.evicted,
            tally: Counts {
                sums: [tally.lines, tally.matched, tally.ignored, tally.unmatched],
                dialects: owned(&tally.dialects),
                reasons: owned(&tally.reasons),
                shed: owned(&tally.shed),
            },
            detailed: self.detail.is_some(),
        };
        Ok(Saved {
            head: postcard::to_stdvec(&state).map_err(|e| e.to_string())?,
            blobs,
        })
    }

    /// A worker that goes on from a state. `same`: it was counted with the same options; else its bins are only
    /// told where they must be, and lines that still come for them are counted in a late set.
    ///
    /// # Errors
    /// Says what is wrong with the state.
    pub fn restore(
        options: &Options,
        limits: &Limits,
        live: &LiveOptions,
        saved: &Saved,
        same: bool,
    ) -> Result<Worker, String> {
        let state: State = postcard::from_bytes(&saved.head).map_err(|e| e.to_string())?;
        let mut worker = Worker::live(options, limits, live);
        let mut from = state.clients.as_slice();
        while !from.is_empty() {
            frozen::take_client(&mut from, &mut worker.clients).ok_or("the client table is damaged")?;
        }
        worker.clients.shed = state.clients_shed;
        worker.clients.unparsed = state.clients_unparsed;
        for name in &state.servers {
            worker.server_by_name(name);
        }
        worker.server_ids = if same {
            state.hosts.into_iter().collect()
        } else {
            Default::default()
        };
        let mut firsts: BTreeMap<u32, u32> = BTreeMap::new();
        for (at, s) in state.streams.into_iter().enumerate() {
            if s.server as usize >= worker.servers.len() || worker.stream_of(s.server, s.clock) != at {
                return Err("the streams are damaged".to_owned());
            }
            firsts.entry(s.server).or_insert(at as u32);
            worker.streams[at].course = s.course;
            worker.streams[at].last = s.last;
        }
        for (id, halves) in state.halves {
            worker.memory.put(id, halves);
        }
        worker.memory.evicted = state.evicted;
        let [lines, matched, ignored, unmatched] = state.tally.sums;
        worker.tally = Tally {
            lines,
            matched,
            ignored,
            unmatched,
            dialects: lasting(state.tally.dialects),
            reasons: lasting(state.tally.reasons),
            shed: lasting(state.tally.shed),
        };
        let mut blobs = saved.blobs.iter();
        if state.detailed {
            let bytes = blobs.next().ok_or("the details are missing")?;
            if let Some(detail) = &mut worker.detail
                && !detail.load(bytes)
                && same
            {
                return Err("the details are damaged".to_owned());
            }
        }
        let mut hot = Vec::new();
        for (server, place) in state.homes.into_iter().enumerate() {
            let server = server as u32;
            worker.add_home();
            let mut home = Home {
                gone: place.gone,
                stream: firsts.get(&server).copied(),
                ..worker
                    .live
                    .as_mut()
                    .and_then(|p| p.homes.pop())
                    .unwrap_or_default()
            };
            for bin in place.bins {
                let bytes = blobs.next().ok_or("a bin is missing")?;
                let key = BinKey {
                    minute: bin.minute,
                    segment: bin.set,
                    stream: server,
                };
                // Every blob is read once: what is damaged must show now.
                let mut clients = super::super::intern::Interner::new(&[], &[], 128, 2);
                if !bin.hot && frozen::thaw(bytes, key, Told::default(), &mut clients).is_none() {
                    return Err("a bin is damaged".to_owned());
                }
                if bin.hot && same {
                    hot.push((server, (bin.set, bin.minute)));
                }
                if !same && bin.set == 0 {
                    home.gone = home.gone.max(bin.minute);
                }
                home.frozen.insert(
                    (bin.set, bin.minute),
                    Frozen {
                        bytes: Arc::clone(bytes),
                        told: bin.told,
                        closed: bin.closed,
                    },
                );
            }
            if let Some(p) = &mut worker.live {
                p.homes.push(home);
            }
        }
        if let Some(p) = &mut worker.live {
            p.feeds = state.feeds.into_iter().map(|(a, b, f)| ((a, b), f)).collect();
            p.late_set = state.late_set;
            p.late_since = state.late_since;
            p.kept = state.kept;
            p.clamped = state.clamped;
            p.renewed = state.renewed;
            p.frozen_changed = true;
        }
        worker.weigh_frozen();
        for (server, key) in hot {
            let key = BinKey {
                minute: key.1,
                segment: key.0,
                stream: server,
            };
            let blob = worker.open_live(key);
            if worker.bins.get(blob).is_none_or(Option::is_none) {
                return Err("a bin is damaged".to_owned());
            }
        }
        if !same {
            worker.let_all_go();
        }
        Ok(worker)
    }
}
