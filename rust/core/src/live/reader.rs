//! Reads connections: TCP, TLS, RELP and unix streams, ten thousand of them in one thread or a few.
//!
//! One epoll set a thread. Whatever is readable is read once a round, straight into the batch of its
//! source, and framed there; batches are handed on at the end of a round or when full. So a round over
//! many quiet connections makes one batch, and one busy connection fills its own.
//!
//! When senders trickle (many small writes), reading each at once would cost a round for a line or two:
//! then the thread sleeps for [`GATHER`] between rounds and finds more. Where a sender waits for
//! confirmations it does not.
//!
//! Bounds: connections (a new one takes the place of one that was silent for `idle_seconds`, else it is
//! refused), bytes of unfinished lines over all connections (the connection that goes past it is
//! closed), the time that a line, a frame or a handshake may stay unfinished (`idle_seconds`), RELP
//! messages without answer on one connection (`relp_unanswered`: reading pauses), and answers that it leaves
//! unread (`relp_unread_bytes`: it is closed). Each has a counter.

use std::collections::VecDeque;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, EventData, EventFlags};
use rustls::ServerConfig;

use super::batch::{Batch, Confirm, now_us};
use super::feed::{FULL, Feed, Numbers, ROOM};
use super::framing::Framer;
use super::queue::{Confirmed, Mailbox, lock};
use super::relp::{self, Command, Relp};
use super::tcp::Allow;
use super::tls::Tls;

/// How long a thread sleeps when senders trickle.
pub(super) const GATHER: Duration = Duration::from_micros(400);
/// Fewer bytes than this in a round are a trickle.
pub(super) const TRICKLE: usize = 32 << 10;
/// How often silent connections are looked for.
const SWEEP: Duration = Duration::from_secs(1);
/// How often one connection is read at a time while it fills the buffer.
const TURNS: usize = 4;
/// Connections accepted at a time.
const ACCEPTS: usize = 256;

const MAIL: u64 = u64::MAX;
const PORT: u64 = 1 << 63;

/// A listening socket.
pub(super) enum Door {
    Tcp(TcpListener),
    Tls(TcpListener, Arc<ServerConfig>),
    Relp(TcpListener),
    Unix(UnixListener),
}

impl AsFd for Door {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Door::Tcp(s) | Door::Tls(s, _) | Door::Relp(s) => s.as_fd(),
            Door::Unix(s) => s.as_fd(),
        }
    }
}

/// A listener as its readers know it.
pub(super) struct Port {
    pub door: Door,
    pub source: u32,
    pub numbers: Numbers,
    /// The settings do not name it any more: its connections are read to what is there, then closed.
    pub closed: AtomicBool,
}

/// Shared by all readers.
pub(super) struct Crowd {
    pub allow: RwLock<Allow>,
    pub most: AtomicUsize,
    pub now: AtomicUsize,
    pub idle_seconds: AtomicUsize,
    pub partial_most: AtomicUsize,
    pub partial: AtomicUsize,
    /// RELP messages that one connection may have without answer; rsyslog's window is 128 by default.
    pub unanswered_most: AtomicUsize,
    /// Bytes of answers that a connection may leave unread.
    pub unread_most: AtomicUsize,
}

/// How others speak to a reader.
pub(super) struct Desk {
    pub mailbox: Arc<Mailbox>,
    pub ports: Mutex<Vec<Arc<Port>>>,
}

enum Transport {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<Tls>),
}

impl Transport {
    fn read_into(&mut self, batch: &mut Vec<u8>) -> io::Result<usize> {
        if let Transport::Tls(tls) = self {
            return tls.read_into(batch);
        }
        Ok(rustix::io::read(
            self.as_fd(),
            rustix::buffer::spare_capacity(batch),
        )?)
    }
}

impl AsFd for Transport {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Transport::Tcp(socket) => socket.as_fd(),
            Transport::Unix(socket) => socket.as_fd(),
            Transport::Tls(tls) => tls.socket().as_fd(),
        }
    }
}

/// A RELP session.
#[derive(Default)]
struct Session {
    relp: Relp,
    /// Numbers of messages that are not answered yet.
    answers: VecDeque<u32>,
    /// How many were received and how many answered, ever.
    received: u64,
    answered: u64,
    out: Vec<u8>,
    /// Said to the sender, or by it: after the answers the connection ends.
    closing: bool,
    /// The sender is gone: it gets no more answers.
    deaf: bool,
}

enum Speech {
    Lines(Framer),
    Relp(Box<Session>),
}

struct Connection {
    transport: Transport,
    speech: Speech,
    port: usize,
    since: Instant,
    /// When what is unfinished began.
    unfinished: Option<Instant>,
    flags: EventFlags,
    generation: u32,
}

impl Connection {
    fn waiting(&self) -> usize {
        match &self.speech {
            Speech::Lines(framer) => framer.waiting(),
            Speech::Relp(session) => session.relp.waiting(),
        }
    }

    fn unfinished(&self) -> bool {
        let handshake = matches!(&self.transport, Transport::Tls(tls) if tls.handshaking());
        handshake
            || match &self.speech {
                Speech::Lines(framer) => framer.unfinished(),
                Speech::Relp(session) => session.relp.unfinished(),
            }
    }
}

/// What reading a connection came to.
#[derive(PartialEq, Eq, Clone, Copy)]
enum Outcome {
    /// There may be more.
    More,
    /// Nothing now.
    Dry,
    /// The end of the stream.
    End,
    /// It must be closed.
    Close,
}

struct Slot {
    port: Arc<Port>,
    batch: Option<Batch>,
    connections: usize,
    /// The listening socket is in the epoll set.
    listening: bool,
}

/// One reading thread.
pub(super) struct Reader {
    feed: Arc<Feed>,
    crowd: Arc<Crowd>,
    desk: Arc<Desk>,
    epoll: std::os::fd::OwnedFd,
    ports: Vec<Option<Slot>>,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    generation: u32,
    letters: Vec<Confirmed>,
    commands: Vec<Command>,
    /// After running out of descriptors, nobody is accepted before this time.
    rest_until: Option<Instant>,
    lost: bool,
}

fn token(at: usize, generation: u32) -> u64 {
    (u64::from(generation) & 0x7fff_ffff) << 32 | at as u64
}

impl Reader {
    /// A reader that is told what to do through `desk`.
    ///
    /// # Errors
    /// The system has no descriptor left.
    pub fn new(feed: &Arc<Feed>, crowd: &Arc<Crowd>, desk: &Arc<Desk>) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(
            &epoll,
            desk.mailbox.event(),
            EventData::new_u64(MAIL),
            EventFlags::IN,
        )?;
        Ok(Reader {
            feed: Arc::clone(feed),
            crowd: Arc::clone(crowd),
            desk: Arc::clone(desk),
            epoll,
            ports: Vec::new(),
            connections: Vec::new(),
            free: Vec::new(),
            generation: 0,
            letters: Vec::new(),
            commands: Vec::new(),
            rest_until: None,
            lost: false,
        })
    }

    /// Reads until told to stop, or, when draining, until everything is read and answered.
    pub fn run(mut self) {
        let mut events: Vec<epoll::Event> = Vec::with_capacity(1024);
        let mut swept = Instant::now();
        let mut round = Instant::now();
        let mut draining = false;
        self.follow_desk();
        loop {
            events.clear();
            let patience = rustix::event::Timespec {
                tv_sec: 0,
                tv_nsec: if draining { 20_000_000 } else { 500_000_000 },
            };
            match epoll::wait(
                &self.epoll,
                rustix::buffer::spare_capacity(&mut events),
                Some(&patience),
            ) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(_) => break,
            }
            if self.feed.stopping() || self.lost {
                break;
            }
            let mut read = 0;
            let mut answering = false;
            for event in &events {
                let data = event.data.u64();
                if data == MAIL {
                    self.follow_desk();
                    answering = true;
                } else if data & PORT != 0 {
                    let at = usize::try_from(data & !PORT).unwrap_or(usize::MAX);
                    self.accept(at);
                } else {
                    let (bytes, relp) = self.serve(data, event.flags);
                    read += bytes;
                    answering |= relp;
                }
            }
            self.hand_on();
            if swept.elapsed() >= SWEEP {
                swept = Instant::now();
                self.sweep();
            }
            if self.feed.drain.load(Ordering::Relaxed) {
                if !draining {
                    draining = true;
                    self.stop_accepting();
                }
                if self.drained() {
                    break;
                }
            }
            let trickles = read > 0 && read < TRICKLE && !answering;
            if trickles && round.elapsed() < 2 * GATHER {
                std::thread::sleep(GATHER);
            }
            round = Instant::now();
        }
        self.end();
    }

    /// Looks what came in: confirmations, listeners that are new or gone.
    fn follow_desk(&mut self) {
        let mut letters = std::mem::take(&mut self.letters);
        self.desk.mailbox.take(&mut letters);
        for letter in &letters {
            self.confirmed(letter);
        }
        self.letters = letters;
        let wanted = lock(&self.desk.ports).clone();
        for port in &wanted {
            let known = self
                .ports
                .iter()
                .flatten()
                .any(|slot| Arc::ptr_eq(&slot.port, port));
            if !known && !port.closed.load(Ordering::Relaxed) {
                self.listen(port);
            }
        }
        for at in 0..self.ports.len() {
            let gone = self
                .ports
                .get(at)
                .and_then(Option::as_ref)
                .is_some_and(|slot| slot.port.closed.load(Ordering::Relaxed));
            if gone {
                self.leave(at);
            }
        }
    }

    fn listen(&mut self, port: &Arc<Port>) {
        let at = self.ports.iter().position(Option::is_none).unwrap_or_else(|| {
            self.ports.push(None);
            self.ports.len() - 1
        });
        let added = epoll::add(
            &self.epoll,
            port.door.as_fd(),
            EventData::new_u64(PORT | at as u64),
            EventFlags::IN | EventFlags::EXCLUSIVE,
        );
        if let Some(slot) = self.ports.get_mut(at) {
            *slot = Some(Slot {
                port: Arc::clone(port),
                batch: None,
                connections: 0,
                listening: added.is_ok(),
            });
        }
    }

    /// The settings have taken a listener away: what its connections have sent is read, then they end.
    fn leave(&mut self, at: usize) {
        self.accept(at); // whoever had connected already
        self.deaf(at);
        let tokens: Vec<u64> = self
            .connections
            .iter()
            .enumerate()
            .filter_map(|(i, c)| {
                c.as_ref()
                    .filter(|c| c.port == at)
                    .map(|c| token(i, c.generation))
            })
            .collect();
        for token in tokens {
            self.read_out(token);
            self.bid_farewell(token);
        }
        self.hand_on();
        if let Some(entry) = self.ports.get_mut(at)
            && entry.as_ref().is_some_and(|slot| slot.connections == 0)
        {
            *entry = None;
        }
    }

    fn deaf(&mut self, at: usize) {
        if let Some(Some(slot)) = self.ports.get_mut(at)
            && std::mem::take(&mut slot.listening)
        {
            // It is in the set; nothing else can go wrong.
            let _ = epoll::delete(&self.epoll, slot.port.door.as_fd());
        }
    }

    fn stop_accepting(&mut self) {
        for at in 0..self.ports.len() {
            self.accept(at);
            self.deaf(at);
        }
    }

    fn accept(&mut self, at: usize) {
        for _ in 0..ACCEPTS {
            let Some(Some(slot)) = self.ports.get(at) else {
                return;
            };
            let port = Arc::clone(&slot.port);
            let accepted = match &port.door {
                Door::Tcp(socket) | Door::Relp(socket) | Door::Tls(socket, _) => {
                    socket.accept().map(|(stream, peer)| {
                        let may = self
                            .crowd
                            .allow
                            .read()
                            .is_ok_and(|allow| allow.contains(peer.ip()));
                        may.then_some(Transport::Tcp(stream))
                    })
                }
                Door::Unix(socket) => socket.accept().map(|(stream, _)| Some(Transport::Unix(stream))),
            };
            match accepted {
                Ok(Some(transport)) => self.welcome(at, &port, transport),
                Ok(None) => port.numbers.refused.add(1),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted
                    ) => {}
                Err(_) => {
                    // No descriptors or no memory: others must end first.
                    port.numbers.shed.add(1);
                    self.rest_until = Some(Instant::now() + Duration::from_millis(200));
                    self.deaf(at);
                    return;
                }
            }
        }
    }

    fn welcome(&mut self, at: usize, port: &Arc<Port>, transport: Transport) {
        if self.crowd.now.load(Ordering::Relaxed) >= self.crowd.most.load(Ordering::Relaxed) && !self.evict()
        {
            port.numbers.shed.add(1);
            return;
        }
        let made = match (transport, &port.door) {
            (Transport::Tcp(socket), door) => socket
                .set_nonblocking(true)
                .and_then(|()| socket.set_nodelay(true))
                .and_then(|()| match door {
                    Door::Tls(_, config) => Ok(Transport::Tls(Box::new(Tls::new(socket, config)?))),
                    _ => Ok(Transport::Tcp(socket)),
                }),
            (Transport::Unix(socket), _) => socket.set_nonblocking(true).map(|()| Transport::Unix(socket)),
            (tls @ Transport::Tls(_), _) => Ok(tls),
        };
        let Ok(transport) = made else {
            port.numbers.shed.add(1);
            return;
        };
        let speech = match port.door {
            Door::Relp(_) => Speech::Relp(Box::default()),
            _ => Speech::Lines(Framer::default()),
        };
        let index = self.free.pop().unwrap_or_else(|| {
            self.connections.push(None);
            self.connections.len() - 1
        });
        self.generation = self.generation.wrapping_add(1);
        let flags = EventFlags::IN | EventFlags::RDHUP;
        let data = EventData::new_u64(token(index, self.generation));
        if epoll::add(&self.epoll, transport.as_fd(), data, flags).is_err() {
            self.free.push(index);
            port.numbers.shed.add(1);
            return;
        }
        let now = Instant::now();
        let connection = Connection {
            transport,
            speech,
            port: at,
            since: now,
            unfinished: None,
            flags,
            generation: self.generation,
        };
        if let Some(entry) = self.connections.get_mut(index) {
            *entry = Some(connection);
        }
        if let Some(Some(slot)) = self.ports.get_mut(at) {
            slot.connections += 1;
        }
        self.crowd.now.fetch_add(1, Ordering::Relaxed);
        port.numbers.accepted.add(1);
        port.numbers.connections.add(1);
    }

    /// Closes the connection that was silent for longest, if that is long enough.
    fn evict(&mut self) -> bool {
        let oldest = self
            .connections
            .iter()
            .enumerate()
            .filter_map(|(i, c)| c.as_ref().map(|c| (c.since, i)))
            .min();
        let idle = Duration::from_secs(self.crowd.idle_seconds.load(Ordering::Relaxed) as u64);
        match oldest {
            Some((since, index)) if since.elapsed() > idle => {
                self.shed(index);
                true
            }
            _ => false,
        }
    }

    fn shed(&mut self, index: usize) {
        if let Some(Some(connection)) = self.connections.get(index)
            && let Some(Some(slot)) = self.ports.get(connection.port)
        {
            slot.port.numbers.shed.add(1);
        }
        self.close(index);
    }

    fn find(&self, data: u64) -> Option<usize> {
        let index = usize::try_from(data & 0xffff_ffff).ok()?;
        let connection = self.connections.get(index)?.as_ref()?;
        (token(index, connection.generation) == data).then_some(index)
    }

    /// Something happened on a connection. Gives the bytes read, and whether a sender waits for answers.
    fn serve(&mut self, data: u64, flags: EventFlags) -> (usize, bool) {
        let Some(index) = self.find(data) else {
            return (0, false);
        };
        if flags.contains(EventFlags::OUT) && !self.write(index) {
            return (0, false);
        }
        if !flags.intersects(EventFlags::IN | EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR) {
            return (0, false);
        }
        if let Some(Some(connection)) = self.connections.get(index)
            && let Speech::Relp(session) = &connection.speech
            && session.closing
        {
            // It only waits for its answers. What it still sends is not read.
            if flags.intersects(EventFlags::HUP | EventFlags::ERR) {
                self.close(index);
            }
            return (0, true);
        }
        let mut sum = 0;
        for _ in 0..TURNS {
            let (bytes, outcome) = self.read(index);
            sum += bytes;
            match outcome {
                Outcome::More if bytes >= ROOM / 4 => {}
                Outcome::More | Outcome::Dry => break,
                Outcome::End | Outcome::Close => {
                    self.close(index);
                    return (sum, false);
                }
            }
        }
        let relp = matches!(
            self.connections.get(index),
            Some(Some(Connection {
                speech: Speech::Relp(_),
                ..
            }))
        );
        (sum, relp)
    }

    /// Reads once.
    fn read(&mut self, index: usize) -> (usize, Outcome) {
        let most = self.feed.most();
        let Some(Some(connection)) = self.connections.get_mut(index) else {
            return (0, Outcome::Dry);
        };
        let Some(Some(slot)) = self.ports.get_mut(connection.port) else {
            return (0, Outcome::Close);
        };
        let batch = slot
            .batch
            .get_or_insert_with(|| self.feed.batch(slot.port.source));
        let before = connection.waiting();
        let start = batch.bytes.len();
        if start == 0 {
            batch.received_us = now_us();
        }
        match &mut connection.speech {
            Speech::Lines(framer) => framer.carry(&mut batch.bytes),
            Speech::Relp(session) => session.relp.carry(&mut batch.bytes),
        }
        batch.bytes.reserve(ROOM / 4);
        let result = connection.transport.read_into(&mut batch.bytes);
        let numbers = &slot.port.numbers;
        let mut outcome = match &result {
            Ok(0) => Outcome::End,
            Ok(_) => Outcome::More,
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Outcome::Dry,
                _ => Outcome::Close,
            },
        };
        let bytes = *result.as_ref().unwrap_or(&0);
        let (found, well) = match &mut connection.speech {
            Speech::Lines(framer) => {
                let (mut found, result) = framer.take(&mut batch.bytes, start, most);
                let well = result.is_ok();
                if well && matches!(outcome, Outcome::End | Outcome::Close) {
                    let last = framer.finish(&mut batch.bytes, most);
                    found.lines += last.lines;
                    found.too_long += last.too_long;
                }
                (found, well)
            }
            Speech::Relp(session) => {
                self.commands.clear();
                let unanswered = session.answers.len();
                let (found, result) = session.relp.take(
                    &mut batch.bytes,
                    start,
                    most,
                    &mut session.answers,
                    &mut self.commands,
                );
                let new = session.answers.len() - unanswered;
                if new > 0 {
                    session.received += new as u64;
                    let data = token(index, connection.generation);
                    match batch.confirm.last_mut() {
                        Some(last) if last.connection == data => last.mark = session.received,
                        _ => batch.confirm.push(Confirm {
                            to: Arc::clone(&self.desk.mailbox),
                            connection: data,
                            mark: session.received,
                        }),
                    }
                }
                for command in &self.commands {
                    relp::answer(&mut session.out, command);
                    match command {
                        Command::Open { syslog: true, .. } | Command::Unknown { .. } => {}
                        Command::Open { .. } | Command::Close { .. } => session.closing = true,
                    }
                }
                if result.is_err() {
                    session.closing = true;
                }
                (found, result.is_ok())
            }
        };
        batch.lines += found.lines;
        numbers.lines.add(u64::from(found.lines));
        numbers.bytes.add(bytes as u64);
        numbers.too_long.add(u64::from(found.too_long));
        if bytes > 0 {
            connection.since = Instant::now();
        }
        if connection.unfinished() {
            if connection.unfinished.is_none() || found.lines > 0 {
                connection.unfinished = Some(connection.since);
            }
        } else {
            connection.unfinished = None;
        }
        let after = connection.waiting();
        if after >= before {
            let sum = self.crowd.partial.fetch_add(after - before, Ordering::Relaxed) + (after - before);
            if after > before && sum > self.crowd.partial_most.load(Ordering::Relaxed) {
                numbers.shed.add(1);
                outcome = Outcome::Close;
            }
        } else {
            self.crowd.partial.fetch_sub(before - after, Ordering::Relaxed);
        }
        let relp = matches!(connection.speech, Speech::Relp(_));
        if !well {
            numbers.bad_frames.add(1);
            if !relp {
                outcome = Outcome::Close;
            }
        }
        if batch.bytes.len() >= FULL
            && let Some(batch) = slot.batch.take()
        {
            self.lost |= !self.feed.push(batch);
        }
        if relp && outcome != Outcome::Close {
            if !self.write(index) {
                return (bytes, Outcome::Dry); // closed there
            }
            self.pause(index);
        }
        (bytes, outcome)
    }

    /// What was logged may be answered.
    fn confirmed(&mut self, letter: &Confirmed) {
        let Some(index) = self.find(letter.connection) else {
            return;
        };
        if let Some(Some(connection)) = self.connections.get_mut(index)
            && let Speech::Relp(session) = &mut connection.speech
        {
            while session.answered < letter.mark {
                let Some(number) = session.answers.pop_front() else {
                    break;
                };
                relp::accepted(&mut session.out, number);
                session.answered += 1;
            }
        }
        if self.write(index) {
            self.pause(index);
        }
    }

    /// Sends answers, as far as the socket takes them. False: the connection is closed now.
    fn write(&mut self, index: usize) -> bool {
        let Some(Some(connection)) = self.connections.get_mut(index) else {
            return false;
        };
        let mut blocked = false;
        let mut end = false;
        let mut unread = None;
        match &mut connection.speech {
            Speech::Relp(session) if session.deaf => {
                if !session.closing {
                    return true;
                }
                end = true;
            }
            Speech::Lines(_) => {
                if let Transport::Tls(tls) = &mut connection.transport {
                    end = tls.flush().is_err();
                    blocked = tls.wants_write();
                }
            }
            Speech::Relp(session) => {
                if session.closing && session.answers.is_empty() && !session.out.ends_with(relp::SERVER_CLOSE)
                {
                    session.out.extend_from_slice(relp::SERVER_CLOSE);
                }
                while !session.out.is_empty() {
                    let sent = rustix::net::send(
                        connection.transport.as_fd(),
                        &session.out,
                        rustix::net::SendFlags::NOSIGNAL | rustix::net::SendFlags::DONTWAIT,
                    );
                    match sent {
                        Ok(n) => drop(session.out.drain(..n)),
                        Err(rustix::io::Errno::INTR) => {}
                        Err(rustix::io::Errno::WOULDBLOCK) => {
                            blocked = true;
                            break;
                        }
                        Err(_) => {
                            // Gone, but what it sent before is here, and may be nowhere else: rsyslog takes a
                            // message off its queue when omrelp has sent it.
                            session.deaf = true;
                            session.out.clear();
                            if session.closing {
                                end = true;
                            } else {
                                unread = Some(token(index, connection.generation));
                            }
                            break;
                        }
                    }
                }
                if session.out.len() > self.crowd.unread_most.load(Ordering::Relaxed) {
                    end = true;
                    if let Some(Some(slot)) = self.ports.get(connection.port) {
                        slot.port.numbers.shed.add(1);
                    }
                }
                end |= session.closing && session.answers.is_empty() && session.out.is_empty();
            }
        }
        if let Some(data) = unread {
            // What does not come within its time is read later, up to the end that is reported then.
            self.read_out(data);
            return self.find(data).is_some();
        }
        if end {
            self.close(index);
            return false;
        }
        self.interest(index, EventFlags::OUT, blocked);
        true
    }

    /// A sender with too many messages unanswered, or one that is to end, is not read.
    fn pause(&mut self, index: usize) {
        if let Some(Some(connection)) = self.connections.get(index)
            && let Speech::Relp(session) = &connection.speech
        {
            let most = self.crowd.unanswered_most.load(Ordering::Relaxed);
            let full = session.answers.len() >= most;
            if full
                && connection.flags.contains(EventFlags::IN)
                && let Some(Some(slot)) = self.ports.get(connection.port)
            {
                slot.port.numbers.pauses.add(1);
            }
            let read = !session.closing && !full;
            self.interest(index, EventFlags::IN | EventFlags::RDHUP, read);
        }
    }

    fn interest(&mut self, index: usize, what: EventFlags, wanted: bool) {
        let Some(Some(connection)) = self.connections.get_mut(index) else {
            return;
        };
        let mut flags = connection.flags;
        flags.set(what, wanted);
        if flags != connection.flags {
            connection.flags = flags;
            let data = EventData::new_u64(token(index, connection.generation));
            let fd = connection.transport.as_fd();
            if epoll::modify(&self.epoll, fd, data, flags).is_err() {
                self.close(index);
            }
        }
    }

    fn close(&mut self, index: usize) {
        let Some(Some(mut connection)) = self.connections.get_mut(index).map(Option::take) else {
            return;
        };
        self.crowd
            .partial
            .fetch_sub(connection.waiting(), Ordering::Relaxed);
        self.crowd.now.fetch_sub(1, Ordering::Relaxed);
        if let Some(Some(slot)) = self.ports.get_mut(connection.port) {
            slot.connections -= 1;
            slot.port.numbers.connections.sub(1);
        }
        if let Transport::Tls(tls) = &mut connection.transport {
            tls.close();
        }
        // Closing the only descriptor takes it out of the set; TLS holds the only one as well.
        let _ = epoll::delete(&self.epoll, connection.transport.as_fd());
        self.free.push(index);
    }

    /// Hands every batch on that has something.
    fn hand_on(&mut self) {
        for slot in self.ports.iter_mut().flatten() {
            if let Some(batch) = slot.batch.take() {
                if batch.bytes.is_empty() && batch.confirm.is_empty() {
                    slot.batch = Some(batch);
                } else {
                    self.lost |= !self.feed.push(batch);
                }
            }
        }
    }

    /// Closes what stays unfinished for too long; listens again after a rest.
    fn sweep(&mut self) {
        let idle = Duration::from_secs(self.crowd.idle_seconds.load(Ordering::Relaxed) as u64);
        let slow: Vec<usize> = self
            .connections
            .iter()
            .enumerate()
            .filter_map(|(i, c)| {
                let c = c.as_ref()?;
                let began = c.unfinished.or_else(|| c.unfinished().then_some(c.since))?;
                (began.elapsed() > idle).then_some(i)
            })
            .collect();
        for index in slow {
            // Its half line is a line, as with any connection that ends.
            if let Some(Some(connection)) = self.connections.get_mut(index)
                && let Some(Some(slot)) = self.ports.get_mut(connection.port)
                && let Speech::Lines(framer) = &mut connection.speech
            {
                let batch = slot
                    .batch
                    .get_or_insert_with(|| self.feed.batch(slot.port.source));
                let waiting = framer.waiting();
                let found = framer.finish(&mut batch.bytes, self.feed.most());
                self.crowd.partial.fetch_sub(waiting, Ordering::Relaxed);
                batch.lines += found.lines;
                slot.port.numbers.lines.add(u64::from(found.lines));
            }
            self.shed(index);
        }
        self.hand_on();
        if self.rest_until.is_some_and(|until| until <= Instant::now()) {
            self.rest_until = None;
            for (at, slot) in self.ports.iter_mut().enumerate() {
                if let Some(slot) = slot
                    && !slot.listening
                    && !slot.port.closed.load(Ordering::Relaxed)
                {
                    let added = epoll::add(
                        &self.epoll,
                        slot.port.door.as_fd(),
                        EventData::new_u64(PORT | at as u64),
                        EventFlags::IN | EventFlags::EXCLUSIVE,
                    );
                    slot.listening = added.is_ok();
                }
            }
        }
    }

    /// Reads what a connection has sent so far.
    fn read_out(&mut self, data: u64) {
        let end = Instant::now() + Duration::from_secs(1);
        while let Some(index) = self.find(data) {
            match self.read(index).1 {
                Outcome::More if Instant::now() < end => {}
                Outcome::More | Outcome::Dry => return,
                Outcome::End | Outcome::Close => {
                    self.close(index);
                    return;
                }
            }
        }
    }

    /// Ends a connection from our side: what is unfinished is a line; RELP senders get their answers
    /// first.
    fn bid_farewell(&mut self, data: u64) {
        let Some(index) = self.find(data) else { return };
        let Some(Some(connection)) = self.connections.get_mut(index) else {
            return;
        };
        match &mut connection.speech {
            Speech::Relp(session) => {
                session.closing = true;
                if self.write(index) {
                    self.pause(index);
                }
            }
            Speech::Lines(framer) => {
                if let Some(Some(slot)) = self.ports.get_mut(connection.port) {
                    let batch = slot
                        .batch
                        .get_or_insert_with(|| self.feed.batch(slot.port.source));
                    let waiting = framer.waiting();
                    let found = framer.finish(&mut batch.bytes, self.feed.most());
                    self.crowd.partial.fetch_sub(waiting, Ordering::Relaxed);
                    batch.lines += found.lines;
                    slot.port.numbers.lines.add(u64::from(found.lines));
                }
                self.close(index);
            }
        }
    }

    /// Reads out and bids farewell to all; true when nobody is left.
    fn drained(&mut self) -> bool {
        let tokens: Vec<u64> = self
            .connections
            .iter()
            .enumerate()
            .filter_map(|(i, c)| c.as_ref().map(|c| token(i, c.generation)))
            .collect();
        for data in tokens {
            let closing = self.find(data).is_some_and(|index| {
                matches!(
                    self.connections.get(index),
                    Some(Some(Connection { speech: Speech::Relp(session), .. })) if session.closing
                )
            });
            if !closing {
                self.read_out(data);
                self.bid_farewell(data);
            }
        }
        self.hand_on();
        self.connections.iter().all(Option::is_none)
    }

    fn end(&mut self) {
        for index in 0..self.connections.len() {
            self.close(index);
        }
    }
}
