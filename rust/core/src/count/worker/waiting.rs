//! Events that wait to be counted together.

use crate::dialect::bind::quick::Query;
use crate::event::{Kind, QueryType};

use super::super::bins::Recent;
use super::super::detail::Detailed;
use super::super::hash::name_hash;
use super::super::intern::NONE;
use super::{Counted, Last, Worker, add};

/// Servers that [`Queue`] has at hand, by their number.
pub(super) const HANDS: usize = 4;

/// Events that wait at most.
const WAITING: usize = 32;

/// Events of a block that wait to be counted together: what they are counted in has come into the cache by then, and
/// reading and counting are two short loops instead of a long one.
pub(super) struct Queue<'b> {
    /// Servers and their streams of the lines before, as far back as they were usual queries of the minute at hand: as
    /// long as such lines follow one another nothing happens but that they are counted, so that the minute of these
    /// streams is still theirs.
    pub(super) hands: [Option<(u32, usize)>; HANDS],
    pub(super) length: usize,
    events: [Waiting<'b>; WAITING],
}

impl<'b> Queue<'b> {
    pub(super) fn new() -> Self {
        let none = Waiting {
            stream: 0,
            client_hash: 0,
            spelling: &[],
            name: &[],
            hint: 0,
            event: Counted {
                kind: Kind::DnsQuery,
                client: NONE,
                query_type: QueryType::Other,
                hash: 0,
                recipients: 0,
            },
        };
        Queue {
            hands: [None; HANDS],
            length: 0,
            events: [none; WAITING],
        }
    }

    /// Adds an event; whether the queue is full then. One that is full must be counted before.
    #[inline(always)]
    pub(super) fn push(&mut self, event: Waiting<'b>) -> bool {
        if let Some(place) = self.events.get_mut(self.length) {
            *place = event;
            self.length += 1;
        }
        self.length == WAITING
    }
}

/// An event that waits.
#[derive(Clone, Copy)]
pub(super) struct Waiting<'b> {
    pub(super) stream: usize,
    pub(super) client_hash: u64,
    pub(super) spelling: &'b [u8],
    /// The name that a query asks for.
    pub(super) name: &'b [u8],
    /// Where a [`Recent`] has it.
    pub(super) hint: usize,
    pub(super) event: Counted,
}

impl Worker {
    /// Has a query wait.
    #[inline(always)]
    pub(super) fn wait<'b>(
        &mut self,
        stream: usize,
        (client, name, query_type): Query<'b>,
        waiting: &mut Queue<'b>,
    ) {
        let client_hash = self.clients.hash(client);
        self.clients.prefetch(client_hash);
        let (mut hash, mut hint) = (0, 0);
        if self.names {
            hash = name_hash(name).max(1);
            hint = Recent::hint(hash, client_hash);
            self.recent.prefetch(hint);
            if let Some(detail) = &self.detail {
                detail.prefetch(hash);
            }
        }
        self.matched += 1;
        let full = waiting.push(Waiting {
            stream,
            client_hash,
            spelling: client,
            name,
            hint,
            event: Counted {
                kind: Kind::DnsQuery,
                client: NONE,
                query_type,
                hash,
                recipients: 0,
            },
        });
        if full {
            self.count_waiting(waiting);
        }
    }

    /// Counts the events that wait.
    #[inline(always)]
    pub(super) fn count_waiting(&mut self, waiting: &mut Queue<'_>) {
        if waiting.length > 0 {
            self.count_queue(waiting);
        }
    }

    #[inline(never)]
    pub(super) fn count_queue(&mut self, queue: &mut Queue<'_>) {
        let events = queue.events.get_mut(..queue.length).unwrap_or_default();
        queue.length = 0;
        for w in events.iter_mut() {
            if w.event.hash != 0
                && let Some(Some(bin)) = self.bins.get(self.streams[w.stream].bin)
            {
                self.recent.prefetch_asked(w.hint, bin);
            }
            w.event.client = self.clients.id_of(w.client_hash, w.spelling);
        }
        if !self.options.reinjection.is_empty() {
            for w in events.iter_mut().filter(|w| w.event.kind == Kind::SmtpAccepted) {
                if self.clients.known(w.event.client).reinjection {
                    w.event.kind = Kind::SmtpReinjected;
                }
            }
        }
        if self.detail.is_some() {
            for w in events {
                self.detail_waiting(w);
                self.count_at(w.stream, w.event, 1, w.hint);
                self.streams[w.stream].last = Some(Last::Event(w.event));
            }
            return;
        }
        for alike in events.chunk_by(|a, b| a.stream == b.stream && a.event.kind == b.event.kind) {
            self.count_alike(alike);
        }
    }

    /// Counts events of one kind and stream.
    #[inline(always)]
    pub(super) fn count_alike(&mut self, mut events: &[Waiting<'_>]) {
        while let [first, ..] = events {
            let (stream, kind) = (first.stream, first.event.kind);
            let at = self.streams[stream].bin;
            let Some(Some(bin)) = self.bins.get_mut(at) else {
                // Never: a stream that has turned has a bin.
                return;
            };
            bin.tables[kind as usize].get_or_insert_with(|| self.pool.table(kind));
            // Up to the one with which it is time to fold.
            let full = events
                .iter()
                .position(|w| add(bin, w.event, 1, (&mut self.recent, w.hint)));
            let counted = full.map_or(events.len(), |last| last + 1);
            if let Some(last) = events.get(counted - 1) {
                self.streams[stream].last = Some(Last::Event(last.event));
            }
            events = events.get(counted..).unwrap_or_default();
            if full.is_some() {
                self.fold(at);
            }
        }
    }

    /// Counts the details of a query that waited; only queries wait where details are counted.
    #[inline(always)]
    pub(super) fn detail_waiting(&mut self, w: &Waiting<'_>) {
        self.make_room();
        if let Some(detail) = &mut self.detail {
            let detailed = Detailed::Query(detail.query(w.name, w.event.hash, w.event.query_type));
            detail.set_last(w.stream as u32, detailed);
            if w.event.query_type == QueryType::Ptr {
                self.count_detail(w.stream, w.event.client, detailed, 1);
            }
        }
    }
}
