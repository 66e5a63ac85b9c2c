//! The ways of a line: what most lines begin with is remembered, and what is not known is taken apart in full.

use crate::dialect::Dialect;
use crate::dialect::bind::quick::{self, Query};
use crate::event::{Event, Kind, Memory as Relation, Verdict};
use crate::syslog::header::{self, Clock, Header};
use crate::syslog::repeat;
#[cfg(target_arch = "x86_64")]
use crate::wide::{Avx2, Avx512};
use crate::wide::{Narrow, Wide};

use super::super::bins::Recent;
use super::super::intern::NONE;
use super::super::lookup::{TimeCache, is_repetition};
use super::super::timeline::Years;
use super::super::usual::SPAN;
use super::waiting::{HANDS, Queue, Waiting};
use super::{Counted, Last, NO_MINUTE, Worker};

impl Worker {
    /// Reads complete lines (the last may lack its end).
    pub fn lines(&mut self, block: &[u8]) {
        #[cfg(target_arch = "x86_64")]
        if let Some(wide) = Avx512::detect() {
            // SAFETY: the processor has what the function is compiled for.
            unsafe { self.lines_avx512(wide, block) };
            return;
        }
        #[cfg(target_arch = "x86_64")]
        if let Some(wide) = Avx2::detect() {
            // SAFETY: the processor has what the function is compiled for.
            unsafe { self.lines_avx2(wide, block) };
            return;
        }
        self.lines_with(Narrow, block);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
    fn lines_avx2(&mut self, wide: Avx2, block: &[u8]) {
        self.lines_with(wide, block);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512bw,avx512vl,avx2,bmi1,bmi2,lzcnt,popcnt")]
    fn lines_avx512(&mut self, wide: Avx512, block: &[u8]) {
        self.lines_with(wide, block);
    }

    #[inline(always)]
    fn lines_with<W: Wide>(&mut self, wide: W, block: &[u8]) {
        let mut waiting = Queue::new();
        let mut ends = std::mem::take(&mut self.ends).unwrap_or_default();
        let (mut from, mut looked) = (0, 0);
        while let Some(text) = block.get(looked..).filter(|text| !text.is_empty()) {
            let (found, length) = ends.find(wide, text);
            for &end in found {
                let end = looked + end as usize;
                self.line_behind(wide, block, from, end, &mut waiting);
                from = end + 1;
            }
            looked += length;
        }
        if from < block.len() {
            self.line_behind(wide, block, from, block.len(), &mut waiting);
        }
        self.count_waiting(&mut waiting);
        self.ends = Some(ends);
    }

    /// Reads a line. Its event waits, if nothing it does must come before the next line is read; else what waits is
    /// counted first.
    #[inline(always)]
    fn line_behind<'b, W: Wide>(
        &mut self,
        wide: W,
        block: &'b [u8],
        from: usize,
        end: usize,
        waiting: &mut Queue<'b>,
    ) {
        self.tally.lines += 1;
        if self.behind
            && let Some(line) = block.get(from..).and_then(|rest| rest.first_chunk::<SPAN>())
            && let Some((server, query)) = self.usual(wide, line, end - from, waiting)
        {
            let hand = waiting.hands.get(server as usize % HANDS).copied().flatten();
            let stream = match hand {
                Some((at_hand, stream)) if at_hand == server => stream,
                _ => self.take_in_hand(server, waiting),
            };
            self.by_dialect[Dialect::Bind as usize] += 1;
            self.wait(stream, query, waiting);
            return;
        }
        waiting.hands = [None; HANDS];
        let line = block.get(from..end).unwrap_or_default();
        let line = match line {
            [rest @ .., b'\r'] => rest,
            _ => line,
        };
        let mut at = match &self.times[0] {
            Some(time) => time.matches(line),
            None => None,
        };
        if at.is_none() {
            at = self.earlier_minute(line);
        }
        if let Some(at) = at
            && let Some(time) = &self.times[0]
        {
            let (clock, minute, bind) = (time.clock, time.minute, time.is_bind());
            let end = from + line.len();
            if let Some(found) = self.tags.find(wide, block, from + at, end, bind)
                && let Some(dialect) = found.dialect
                && !is_repetition(found.message)
            {
                let stream = self.turned(found.server, clock, minute, waiting);
                self.by_dialect[dialect as usize] += 1;
                if dialect == Dialect::Bind
                    && let Some((client, name, query_type)) =
                        quick::query(wide, block, end - found.message.len(), end)
                {
                    if !self.behind {
                        let event = Event {
                            client,
                            name,
                            query_type,
                            ..Event::new(Kind::DnsQuery)
                        };
                        self.verdict(stream, dialect, Verdict::Event(event), 1);
                        return;
                    }
                    let fields = end - found.message.len() + b"client ".len();
                    self.heads
                        .learn(block.get(from + at..fields).unwrap_or_default(), found.server);
                    self.wait(stream, (client, name, query_type), waiting);
                    return;
                }
                let quick = if W::CHEAP {
                    dialect.quick(
                        wide,
                        found.program,
                        found.pid,
                        block,
                        end - found.message.len(),
                        end,
                    )
                } else {
                    None
                };
                let verdict = quick.unwrap_or_else(|| dialect.parse(found.program, found.pid, found.message));
                match verdict {
                    Verdict::Event(event)
                        if event.memory == Relation::None
                            && self.behind
                            && (self.detail.is_none() || event.kind == Kind::DnsQuery) =>
                    {
                        let client_hash = self.clients.hash(event.client);
                        self.clients.prefetch(client_hash);
                        let hash = self.name_of(&event);
                        self.matched += 1;
                        let full = waiting.push(Waiting {
                            stream,
                            client_hash,
                            spelling: event.client,
                            name: event.name,
                            hint: Recent::hint(hash, client_hash),
                            event: Counted {
                                kind: event.kind,
                                client: NONE,
                                query_type: event.query_type,
                                hash,
                                recipients: event.recipients,
                            },
                        });
                        if full {
                            self.count_waiting(waiting);
                        }
                    }
                    verdict => {
                        if let Verdict::Unmatched(_) = verdict {
                            self.unmatched_shape(found.program, found.message);
                        }
                        self.count_waiting(waiting);
                        self.verdict(stream, dialect, verdict, 1);
                    }
                }
                return;
            }
        }
        self.count_waiting(waiting);
        self.slow_line(line);
    }

    /// Reads a line that is a usual query of the minute at hand, or of the one before, which then is at hand.
    #[inline(always)]
    fn usual<'b, W: Wide>(
        &mut self,
        wide: W,
        line: &'b [u8; SPAN],
        end: usize,
        waiting: &mut Queue<'b>,
    ) -> Option<(u32, Query<'b>)> {
        let mut at = self.times[0].as_ref()?.time.as_ref()?.matches(wide, line);
        if at.is_none() {
            at = self.times[1].as_ref()?.time.as_ref()?.matches(wide, line);
            if at.is_some() {
                self.times.swap(0, 1);
                waiting.hands = [None; HANDS];
            }
        }
        self.heads.query(wide, line, at?, end)
    }

    /// The stream of a server that writes usual queries of the minute at hand.
    #[inline(never)]
    fn take_in_hand(&mut self, server: u32, waiting: &mut Queue<'_>) -> usize {
        // A line of its minute has just been read.
        let (clock, minute) = self.times[0].map_or((Clock::Local, NO_MINUTE), |t| (t.clock, t.minute));
        let stream = self.turned(server, clock, minute, waiting);
        waiting.hands[server as usize % HANDS] = Some((server, stream));
        stream
    }

    /// The stream of a server, which has turned to this minute.
    #[inline(always)]
    fn turned(&mut self, server: u32, clock: Clock, minute: i64, waiting: &mut Queue<'_>) -> usize {
        let stream = self.stream_of(server, clock);
        let known = minute_of(clock, minute, &self.years);
        if known == NO_MINUTE || self.streams[stream].turned != known {
            self.count_waiting(waiting);
            self.turn(stream, clock, minute);
            // Where too many bins are open, that of another stream may have been sealed.
            waiting.hands = [None; HANDS];
        }
        stream
    }

    /// Where minutes meet, lines of both come in turn: if the line lies in the minute before the one that is at hand,
    /// that one is at hand from now on.
    #[inline(never)]
    fn earlier_minute(&mut self, line: &[u8]) -> Option<usize> {
        let at = self.times[1].as_ref()?.matches(line)?;
        self.times.swap(0, 1);
        Some(at)
    }

    /// The way of a line that the caches do not know.
    #[inline(never)]
    fn slow_line(&mut self, line: &[u8]) {
        let mut scratch = std::mem::take(&mut self.scratch);
        let header = header::parse(line, &mut scratch);
        self.parsed(line, &header);
        self.scratch = scratch;
    }

    fn parsed(&mut self, line: &[u8], header: &Header<'_>) {
        let Some(stamp) = header.stamp else {
            if !line.is_empty() {
                self.unmatched_shape(b"", line);
            }
            self.unmatched(if line.is_empty() { "empty line" } else { "no time" });
            return;
        };
        // A line that names no host but a repetition speaks of the line before it.
        let server = self.server_id(header.host);
        let stream = self.stream_of(server, stamp.clock);
        self.turn(stream, stamp.clock, stamp.seconds.div_euclid(60));
        if header.program.is_empty()
            && let Some(times) = repeat::last_message(header.message)
        {
            self.repeated(stream, times);
            return;
        }
        if header.program.is_empty() && header.message == b"-- MARK --" {
            self.ignored += 1;
            return;
        }
        let (times, message) = match repeat::wrapped(header.message) {
            Some((times, inner)) => (times, inner),
            None => (1, header.message),
        };
        let dialect = if header.program.is_empty() {
            Dialect::of_message(message)
        } else {
            Dialect::of_program(header.program)
        };
        self.learn(line, header, server, dialect);
        match dialect {
            Some(dialect) => {
                self.by_dialect[dialect as usize] += 1;
                let verdict = dialect.parse(header.program, header.pid, message);
                if let Verdict::Unmatched(_) = verdict {
                    self.unmatched_shape(header.program, message);
                }
                self.verdict(stream, dialect, verdict, times);
            }
            None => {
                self.streams[stream].last = Some(Last::Unmatched);
                self.unmatched_shape(header.program, message);
                self.unmatched(if header.program.is_empty() {
                    "no program"
                } else {
                    "unknown program"
                });
            }
        }
    }

    fn learn(&mut self, line: &[u8], header: &Header<'_>, server: u32, dialect: Option<Dialect>) {
        let known = self.times[0].as_ref().and_then(|t| t.matches(line)).is_some();
        if !known {
            let earlier = self.times[1].filter(|t| t.matches(line).is_some());
            let time = earlier.or_else(|| TimeCache::learn(line, header));
            if time.is_some() {
                self.times.swap(0, 1);
                self.times[0] = time;
            }
        }
        if let Some(time) = self.times[0]
            && let Some(rest) = time.matches(line).and_then(|at| line.get(at..))
        {
            self.tags.learn(rest, header, time.is_bind(), server, dialect);
        }
    }
}

/// The minute as a stream keeps it; [`NO_MINUTE`] where the line has to be taken as one that may bring a new year.
#[inline(always)]
fn minute_of(clock: Clock, minute: i64, years: &Years) -> i64 {
    if clock == Clock::Yearless {
        years.unmoved(minute).unwrap_or(NO_MINUTE)
    } else {
        minute
    }
}
