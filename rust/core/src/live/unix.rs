//! Unix sockets: streams (read by [`super::reader`]) and datagrams (a thread of their own).
//!
//! The socket's file is made with the mode of the settings; who may write to it may send. A file that a
//! crashed process left is taken away, one that somebody listens on is not.
//!
//! When the queue is full, a datagram waits a moment and is then dropped and counted: whoever calls
//! `syslog(3)` must never hang on us.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;

use super::feed::{FULL, Feed, Numbers};
use super::framing;
use crate::error::{Error, Result};

/// Datagrams are read into one buffer of this size; longer ones are cut by the system and counted.
const LARGEST: usize = 256 << 10;

fn clear(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => {
            let taken = UnixStream::connect(path).is_ok()
                || UnixDatagram::unbound().and_then(|s| s.connect(path)).is_ok();
            if taken {
                return Err(io::Error::new(
                    io::ErrorKind::AddrInUse,
                    "another process listens on it",
                ));
            }
            fs::remove_file(path)
        }
        Ok(_) => Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "is there and is no socket; remove it or choose another path",
        )),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// A listening stream socket.
///
/// # Errors
/// The file cannot be made.
pub fn listen(path: &Path, mode: u32) -> Result<UnixListener> {
    let open = || -> io::Result<UnixListener> {
        clear(path)?;
        let socket = UnixListener::bind(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    };
    open().map_err(|source| Error::Io {
        what: format!("unix {}: cannot listen", path.display()),
        source,
    })
}

/// A datagram socket.
///
/// # Errors
/// The file cannot be made.
pub fn bind_datagram(path: &Path, mode: u32) -> Result<UnixDatagram> {
    let open = || -> io::Result<UnixDatagram> {
        clear(path)?;
        let socket = UnixDatagram::bind(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
        socket.set_read_timeout(Some(super::logger::TICK))?;
        // So that a burst fits; the system may grant less.
        let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(4 << 20);
        Ok(socket)
    };
    open().map_err(|source| Error::Io {
        what: format!("unix {}: cannot be bound", path.display()),
        source,
    })
}

/// Reads datagrams until the end.
pub(super) fn read_datagrams(
    socket: &UnixDatagram,
    source: u32,
    feed: &Feed,
    numbers: &Numbers,
    closed: &Arc<std::sync::atomic::AtomicBool>,
) {
    let mut buffer = vec![0u8; LARGEST + 1];
    loop {
        // The first datagram is waited for, further ones are taken while there are any.
        let mut batch = feed.batch(source);
        let mut received = 0;
        let mut waiting = true;
        let end = loop {
            let result = if waiting {
                socket.recv(&mut buffer)
            } else {
                receive_now(socket, &mut buffer)
            };
            match result {
                Ok(n) => {
                    if waiting {
                        batch.received_us = super::batch::now_us();
                    }
                    waiting = false;
                    received += n as u64;
                    let text = buffer.get(..n).unwrap_or_default();
                    let found = framing::message(&mut batch.bytes, text, feed.most().min(LARGEST));
                    batch.lines += found.lines;
                    numbers.too_long.add(u64::from(found.too_long));
                    if batch.bytes.len() >= FULL {
                        break false;
                    }
                }
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    break feed.ending() || closed.load(std::sync::atomic::Ordering::Relaxed);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break true,
            }
        };
        numbers.bytes.add(received);
        if batch.lines > 0 {
            let lines = u64::from(batch.lines);
            numbers.lines.add(lines);
            if feed.queue.push(batch, Some(feed.datagram_patience())).is_err() {
                numbers.dropped.add(lines);
            }
        } else {
            feed.spare.give(batch.bytes);
        }
        // A datagram was there: look again before ending.
        if end && waiting {
            return;
        }
    }
}

fn receive_now(socket: &UnixDatagram, buffer: &mut [u8]) -> io::Result<usize> {
    let (n, _) = rustix::net::recv(socket, buffer, rustix::net::RecvFlags::DONTWAIT)?;
    Ok(n)
}
