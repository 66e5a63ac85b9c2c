//! Lines as they happen: from sockets, files, the journal and standard input into the write-ahead log.
//!
//! ```text
//! listeners, followers --Batch--> queue --> log thread: drop known ids, append, --Logged--> queue --> counting
//!                                              |
//!                                              +--> sync thread: fdatasync for all who wait, then confirm
//! ```
//!
//! Threads, no interpreter lock. Every queue is bounded in bytes: when one is full, whoever feeds it
//! stops reading, so that a sender over TCP, RELP, a unix stream or a pipe waits; datagrams are dropped
//! by the kernel or here, and counted. Logged lines that have no room before counting are read from the log again,
//! up to a bound of its own: senders are not slowed by counting while a burst lasts.
//!
//! What is confirmed (RELP, omprog with confirmation) is on disk before the sender hears of it. What
//! was not confirmed and is sent again is known by its message id and dropped.
//!
//! Linux only: epoll, inotify, `fdatasync` of preallocated segments.

pub mod batch;
mod behind;
pub mod closed;
pub mod counter;
mod deferred;
pub mod engine;
mod feed;
mod follow;
pub mod framing;
pub mod glob;
pub mod ids;
pub mod intake;
mod journal;
mod logger;
pub mod metrics;
pub mod queue;
mod reader;
pub mod relp;
pub mod settings;
pub mod snapshot;
pub mod sources;
mod stdin;
pub mod tcp;
pub mod tls;
mod udp;
pub mod unix;
pub mod wal;
