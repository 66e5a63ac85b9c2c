//! A queue between threads, bounded in bytes; a mailbox for confirmations; a store of spare buffers.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::metrics::{Counter, Gauge};

/// What takes room in a [`Queue`].
pub trait Weigh {
    /// Bytes it takes.
    fn weight(&self) -> usize;
}

/// What a [`Queue::pop`] gave.
#[derive(Debug)]
pub enum Popped<T> {
    /// The oldest element.
    Some(T),
    /// Nothing within the time.
    Timeout,
    /// Nothing, and nothing will come: the queue was closed and is empty.
    Closed,
}

struct Inside<T> {
    waiting: VecDeque<T>,
    bytes: usize,
    closed: bool,
    // Who sleeps, so that nobody is woken (a system call) in vain.
    readers: usize,
    writers: usize,
}

/// First in, first out, bounded in bytes. One element larger than the bound fits when it is alone.
pub struct Queue<T> {
    inside: Mutex<Inside<T>>,
    filled: Condvar,
    drained: Condvar,
    most: usize,
    /// Bytes in it now.
    pub fill: Gauge,
    /// How often someone had to wait for room.
    pub waits: Counter,
    /// Microseconds waited for room.
    pub waited_us: Counter,
}

/// A poisoned lock is taken all the same: what it guards is valid between any two statements.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T: Weigh> Queue<T> {
    /// An empty queue that holds at most so many bytes.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Queue {
            inside: Mutex::new(Inside {
                waiting: VecDeque::new(),
                bytes: 0,
                closed: false,
                readers: 0,
                writers: 0,
            }),
            filled: Condvar::new(),
            drained: Condvar::new(),
            most: most.max(1),
            fill: Gauge::default(),
            waits: Counter::default(),
            waited_us: Counter::default(),
        }
    }

    /// The bound in bytes.
    #[must_use]
    pub fn most(&self) -> usize {
        self.most
    }

    /// Puts an element in, waiting for room as long as `patience` says (none: for ever).
    ///
    /// # Errors
    /// The element, if there was no room in time or the queue is closed.
    pub fn push(&self, element: T, patience: Option<Duration>) -> Result<(), T> {
        let weight = element.weight();
        let mut inside = lock(&self.inside);
        let full = |i: &Inside<T>| !i.closed && i.bytes > 0 && i.bytes + weight > self.most;
        if full(&inside) {
            self.waits.add(1);
            let since = Instant::now();
            loop {
                let left = match patience {
                    Some(patience) => match patience.checked_sub(since.elapsed()) {
                        Some(left) if !left.is_zero() => left,
                        _ => break,
                    },
                    None => Duration::from_secs(3600),
                };
                inside.writers += 1;
                inside = match self.drained.wait_timeout(inside, left) {
                    Ok((guard, _)) => guard,
                    Err(poisoned) => poisoned.into_inner().0,
                };
                inside.writers -= 1;
                if !full(&inside) {
                    break;
                }
            }
            self.waited_us
                .add(u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX));
        }
        if inside.closed || full(&inside) {
            return Err(element);
        }
        self.enter(inside, element);
        Ok(())
    }

    fn enter(&self, mut inside: MutexGuard<'_, Inside<T>>, element: T) {
        inside.bytes += element.weight();
        inside.waiting.push_back(element);
        self.fill.set(inside.bytes as u64);
        let wake = inside.readers > 0;
        drop(inside);
        if wake {
            self.filled.notify_one();
        }
    }

    /// Puts an element in without waiting. Where there is no room, `full` gets it with the newest one in the queue, and
    /// gives what is to be put in in spite of the bound: nothing, if the newest one now stands for both.
    ///
    /// False: the queue is closed.
    pub fn put(&self, element: T, full: impl FnOnce(T, Option<&mut T>) -> Option<T>) -> bool {
        let mut inside = lock(&self.inside);
        if inside.closed {
            return false;
        }
        let fits = inside.bytes == 0 || inside.bytes + element.weight() <= self.most;
        let element = if fits {
            Some(element)
        } else {
            self.waits.add(1);
            let newest = inside.waiting.back_mut();
            let before = newest.as_ref().map_or(0, |newest| newest.weight());
            let left = full(element, newest);
            let after = inside.waiting.back().map_or(0, Weigh::weight);
            inside.bytes = inside.bytes - before + after;
            left
        };
        // Where the newest one stands for both, whoever reads is awake already.
        if let Some(element) = element {
            self.enter(inside, element);
        }
        true
    }

    /// Takes the oldest element, waiting for one as long as `patience` says.
    pub fn pop(&self, patience: Duration) -> Popped<T> {
        let mut inside = lock(&self.inside);
        let mut deadline = None;
        loop {
            if let Some(element) = inside.waiting.pop_front() {
                inside.bytes -= element.weight();
                self.fill.set(inside.bytes as u64);
                // All who wait look again: they wait for rooms of different sizes.
                let wake = inside.writers > 0 && inside.bytes <= self.most / 2;
                drop(inside);
                if wake {
                    self.drained.notify_all();
                }
                return Popped::Some(element);
            }
            if inside.closed {
                return Popped::Closed;
            }
            let now = Instant::now();
            let end = *deadline.get_or_insert_with(|| now + patience);
            let Some(left) = end.checked_duration_since(now).filter(|l| !l.is_zero()) else {
                return Popped::Timeout;
            };
            inside.readers += 1;
            inside = match self.filled.wait_timeout(inside, left) {
                Ok((guard, _)) => guard,
                Err(poisoned) => poisoned.into_inner().0,
            };
            inside.readers -= 1;
        }
    }

    /// Nothing more goes in; what is in it can still be taken.
    pub fn close(&self) {
        lock(&self.inside).closed = true;
        self.filled.notify_all();
        self.drained.notify_all();
    }

    /// Bytes in it.
    #[must_use]
    pub fn bytes(&self) -> usize {
        lock(&self.inside).bytes
    }
}

/// A confirmation that came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confirmed {
    /// The receiver's number for the connection.
    pub connection: u64,
    /// The receiver's number for what is confirmed.
    pub mark: u64,
}

/// Where confirmations wait until their reader thread wakes up. Waking goes through an eventfd, so
/// that a thread that waits in epoll can be woken.
#[derive(Debug)]
pub struct Mailbox {
    letters: Mutex<Vec<Confirmed>>,
    full: AtomicBool,
    event: OwnedFd,
}

impl Mailbox {
    /// An empty one.
    ///
    /// # Errors
    /// The system has no file descriptor left.
    pub fn new() -> std::io::Result<Self> {
        use rustix::event::{EventfdFlags, eventfd};
        Ok(Mailbox {
            letters: Mutex::new(Vec::new()),
            full: AtomicBool::new(false),
            event: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        })
    }

    /// Leaves confirmations without waking anybody.
    pub fn leave(&self, letter: Confirmed) {
        lock(&self.letters).push(letter);
        self.full.store(true, Ordering::Release);
    }

    /// Wakes the receiver.
    pub fn wake(&self) {
        // A full counter (EAGAIN) wakes as well; nothing else can happen to an eventfd.
        let _ = rustix::io::write(&self.event, &1u64.to_ne_bytes());
    }

    /// The descriptor that becomes readable.
    #[must_use]
    pub fn event(&self) -> &OwnedFd {
        &self.event
    }

    /// Takes everything, and lets the descriptor become unreadable. `into` is cleared first.
    pub fn take(&self, into: &mut Vec<Confirmed>) {
        into.clear();
        let mut counter = [0u8; 8];
        let _ = rustix::io::read(&self.event, &mut counter);
        if self.full.swap(false, Ordering::AcqRel) {
            std::mem::swap(&mut *lock(&self.letters), into);
        }
    }
}

/// Spare buffers, so that a batch costs no allocation (and no page faults).
#[derive(Debug)]
pub struct Pool {
    spare: Mutex<Vec<Vec<u8>>>,
    most: usize,
    largest: usize,
}

impl Pool {
    /// Keeps at most `most` buffers of at most `largest` bytes.
    #[must_use]
    pub fn new(most: usize, largest: usize) -> Self {
        Pool {
            spare: Mutex::new(Vec::new()),
            most,
            largest,
        }
    }

    /// An empty buffer.
    #[must_use]
    pub fn take(&self) -> Vec<u8> {
        lock(&self.spare).pop().unwrap_or_default()
    }

    /// Gives a buffer back.
    pub fn give(&self, mut buffer: Vec<u8>) {
        if buffer.capacity() == 0 || buffer.capacity() > self.largest {
            return;
        }
        buffer.clear();
        let mut spare = lock(&self.spare);
        if spare.len() < self.most {
            spare.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    impl Weigh for usize {
        fn weight(&self) -> usize {
            *self
        }
    }

    #[test]
    fn a_full_queue_refuses_and_counts_the_wait() {
        let queue = Queue::new(10);
        queue.push(6usize, None).unwrap();
        assert_eq!(queue.push(5, Some(Duration::from_millis(5))), Err(5));
        assert_eq!(queue.waits.get(), 1);
        assert!(queue.waited_us.get() >= 5000);
        assert!(matches!(queue.pop(Duration::ZERO), Popped::Some(6)));
        assert!(matches!(queue.pop(Duration::ZERO), Popped::Timeout));
        queue.push(100, None).unwrap(); // alone it fits, else a long line would wait for ever
        queue.close();
        assert_eq!(queue.push(1, None), Err(1));
        assert!(matches!(queue.pop(Duration::ZERO), Popped::Some(100)));
        assert!(matches!(queue.pop(Duration::from_secs(9)), Popped::Closed));
    }

    #[test]
    fn what_has_no_room_stands_for_all_that_follows_it() {
        let queue = Queue::new(10);
        let one = |_: usize, newest: Option<&mut usize>| match newest {
            Some(newest) if *newest == 1 => None,
            _ => Some(1),
        };
        assert!(queue.put(6, one));
        assert_eq!((queue.waits.get(), queue.bytes()), (0, 6));
        for _ in 0..3 {
            assert!(queue.put(5, one));
        }
        assert_eq!((queue.waits.get(), queue.bytes()), (3, 7));
        assert!(matches!(queue.pop(Duration::ZERO), Popped::Some(6)));
        assert!(queue.put(5, one));
        assert!(matches!(queue.pop(Duration::ZERO), Popped::Some(1)));
        assert!(matches!(queue.pop(Duration::ZERO), Popped::Some(5)));
        assert_eq!(queue.bytes(), 0);
        queue.close();
        assert!(!queue.put(1, one));
    }

    #[test]
    fn the_order_is_kept_between_threads_and_the_bound_holds() {
        let queue = Arc::new(Queue::new(50));
        let writer = {
            let queue = Arc::clone(&queue);
            std::thread::spawn(move || {
                for i in 1..=20_000usize {
                    queue.push(1 + i % 13, None).unwrap();
                }
                queue.close();
            })
        };
        let mut next = 1usize;
        loop {
            assert!(queue.bytes() <= 50);
            match queue.pop(Duration::from_secs(5)) {
                Popped::Some(n) => {
                    assert_eq!(n, 1 + next % 13);
                    next += 1;
                }
                Popped::Closed => break,
                Popped::Timeout => panic!("nothing came"),
            }
        }
        assert_eq!(next, 20_001);
        writer.join().unwrap();
    }

    #[test]
    fn a_mailbox_gives_what_was_left() {
        let mailbox = Mailbox::new().unwrap();
        let mut got = vec![Confirmed {
            connection: 9,
            mark: 9,
        }];
        mailbox.take(&mut got);
        assert!(got.is_empty());
        let letter = Confirmed {
            connection: 1,
            mark: 2,
        };
        mailbox.leave(letter);
        mailbox.wake();
        mailbox.take(&mut got);
        assert_eq!(got, [letter]);
    }
}
