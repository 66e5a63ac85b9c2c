//! Syslog over UDP, many datagrams a system call, and what the kernel dropped.
//!
//! UDP confirms nothing. When lines arrive faster than they are logged they wait in the socket's buffer
//! (`udp_receive_buffer`, at most `net.core.rmem_max` unless the process may force it); past it the
//! kernel drops, and tells how many with each datagram (`SO_RXQ_OVFL`) and in `/proc/net/udp`, which is
//! read when nothing arrives. So received + dropped = sent.
//!
//! The count of the kernel is of 32 bits and of one socket; sums are kept here.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

use super::batch::now_us;
use super::feed::{FULL, Feed, Numbers};
use super::framing;
use super::metrics::{Counter, Gauge, Metrics};
use super::tcp::Allow;
use crate::error::{Error, Result};

/// Datagrams of one system call.
const AT_ONCE: usize = 64;
/// UDP carries no more.
const LARGEST: usize = 65_536;
/// How often `/proc/net/udp` is read.
const LOOK: Duration = Duration::from_secs(1);

/// Room for one control message with a 32-bit number, aligned as the kernel wants it.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control([u8; 32]);

/// A bound socket.
pub(super) struct Udp {
    socket: UdpSocket,
    dropped: Dropped,
}

/// What the kernel dropped.
struct Dropped {
    counter: Counter,
    seen: u32,
    inode: u64,
}

impl Dropped {
    /// The kernel's count, which only grows (and wraps).
    fn is(&mut self, count: u32) {
        let new = count.wrapping_sub(self.seen);
        // What was read in /proc may be newer than what a datagram says that waited in the buffer.
        if new < u32::MAX / 2 {
            self.counter.add(u64::from(new));
            self.seen = count;
        }
    }

    fn look(&mut self) {
        for file in ["/proc/net/udp", "/proc/net/udp6"] {
            if let Ok(text) = std::fs::read_to_string(file)
                && let Some(count) = drops(&text, self.inode)
            {
                self.is(count);
            }
        }
    }
}

/// The drops of the socket with an inode, in the text of `/proc/net/udp`.
fn drops(text: &str, inode: u64) -> Option<u32> {
    text.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let own = fields.get(9)?.parse::<u64>().ok()? == inode;
        own.then(|| fields.last()?.parse::<u64>().ok())?
            .map(|n| u32::try_from(n & u64::from(u32::MAX)).unwrap_or(0))
    })
}

impl Udp {
    /// Binds, and asks for a buffer of so many bytes.
    pub fn bind(name: &str, address: SocketAddr, buffer: usize, metrics: &Metrics) -> Result<Udp> {
        let open = || -> io::Result<Udp> {
            let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
            if address.is_ipv6() {
                socket.set_only_v6(address.ip() != std::net::IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED))?;
            }
            let size = libc::c_int::try_from(buffer).unwrap_or(libc::c_int::MAX);
            // Past net.core.rmem_max only for those who may administer the network.
            if option(&socket, libc::SO_RCVBUFFORCE, size).is_err() {
                socket.set_recv_buffer_size(buffer)?;
            }
            option(&socket, libc::SO_RXQ_OVFL, 1)?;
            socket.bind(&address.into())?;
            socket.set_read_timeout(Some(super::logger::TICK))?;
            // The kernel books twice what was asked for.
            let granted: Gauge = metrics.gauge(&format!("seismolog_udp_buffer_bytes{{source=\"{name}\"}}"));
            granted.set(socket.recv_buffer_size()? as u64 / 2);
            let dropped = Dropped {
                counter: metrics.counter(&format!("seismolog_kernel_dropped_total{{source=\"{name}\"}}")),
                seen: 0,
                inode: std::fs::metadata(format!("/proc/self/fd/{}", socket.as_raw_fd()))
                    .map_or(0, |m| m.ino()),
            };
            Ok(Udp {
                socket: socket.into(),
                dropped,
            })
        };
        open().map_err(|source| Error::Io {
            what: format!("{name}: cannot be bound"),
            source,
        })
    }

    /// Where it is bound.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Reads until the end. What was in the socket's buffer at the end is read too.
    pub fn run(
        mut self,
        source: u32,
        feed: &Feed,
        allow: &std::sync::RwLock<Allow>,
        numbers: &Numbers,
        closed: &AtomicBool,
    ) {
        let mut ring = Ring::new();
        let mut looked = Instant::now();
        loop {
            let mut batch = feed.batch(source);
            let mut first = true;
            let mut bytes = 0;
            loop {
                // The first is waited for, further ones are taken while there are any.
                let n = match ring.receive(&self.socket, first) {
                    Ok(n) => n,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error)
                        if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) =>
                    {
                        0
                    }
                    // An ICMP answer to something of ours; we never send.
                    Err(_) => 0,
                };
                if n == 0 {
                    break;
                }
                if first {
                    batch.received_us = now_us();
                    first = false;
                }
                let most = feed.most();
                let allowed = allow.read();
                for i in 0..n {
                    let (text, peer, count) = ring.datagram(i);
                    if let Some(count) = count {
                        self.dropped.is(count);
                    }
                    let may = peer.is_some_and(|p| allowed.as_ref().is_ok_and(|a| a.contains(p.ip())));
                    if !may {
                        numbers.refused.add(1);
                        continue;
                    }
                    bytes += text.len() as u64;
                    let found = framing::message(&mut batch.bytes, text, most);
                    batch.lines += found.lines;
                    numbers.too_long.add(u64::from(found.too_long));
                }
                drop(allowed);
                if n < AT_ONCE || batch.bytes.len() >= FULL {
                    break;
                }
            }
            numbers.bytes.add(bytes);
            numbers.lines.add(u64::from(batch.lines));
            if batch.lines == 0 {
                feed.spare.give(batch.bytes);
            } else if !feed.push(batch) {
                return;
            }
            if looked.elapsed() >= LOOK || first {
                looked = Instant::now();
                self.dropped.look();
            }
            if first && (feed.ending() || closed.load(Ordering::Relaxed)) {
                return;
            }
        }
    }
}

fn option(socket: &Socket, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
    // SAFETY: the pointer and the size are those of a C int on this stack.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            name,
            std::ptr::from_ref(&value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// The buffers of `recvmmsg`, made once.
struct Ring {
    texts: Vec<u8>,
    names: Vec<libc::sockaddr_storage>,
    controls: Vec<Control>,
    lengths: Vec<(usize, usize)>,
}

impl Ring {
    fn new() -> Self {
        // SAFETY: an address of zeros is a valid value of this plain C structure.
        let name: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
        Ring {
            texts: vec![0; AT_ONCE * LARGEST],
            names: vec![name; AT_ONCE],
            controls: vec![Control([0; 32]); AT_ONCE],
            lengths: vec![(0, 0); AT_ONCE],
        }
    }

    /// Receives up to [`AT_ONCE`] datagrams.
    fn receive(&mut self, socket: &UdpSocket, wait: bool) -> io::Result<usize> {
        let mut vectors: [libc::iovec; AT_ONCE] = [libc::iovec {
            iov_base: std::ptr::null_mut(),
            iov_len: 0,
        }; AT_ONCE];
        for (vector, room) in vectors.iter_mut().zip(self.texts.chunks_exact_mut(LARGEST)) {
            vector.iov_base = room.as_mut_ptr().cast();
            vector.iov_len = room.len();
        }
        // SAFETY: headers of zeros are valid values; every pointer is set below.
        let mut headers: [libc::mmsghdr; AT_ONCE] = unsafe { std::mem::zeroed() };
        let rooms = vectors
            .iter_mut()
            .zip(self.names.iter_mut())
            .zip(self.controls.iter_mut());
        for (header, ((vector, name), control)) in headers.iter_mut().zip(rooms) {
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_name = std::ptr::from_mut(name).cast();
            header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            header.msg_hdr.msg_control = control.0.as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = control.0.len() as _;
        }
        let flags = if wait {
            libc::MSG_WAITFORONE
        } else {
            libc::MSG_DONTWAIT
        };
        // SAFETY: the headers point to buffers of the lengths they say, which live until the call ends.
        let n = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                AT_ONCE as libc::c_uint,
                flags as _,
                std::ptr::null_mut(),
            )
        };
        let n = usize::try_from(n).map_err(|_| io::Error::last_os_error())?;
        for (length, header) in self.lengths.iter_mut().zip(&headers).take(n) {
            *length = (header.msg_len as usize, header.msg_hdr.msg_controllen);
        }
        Ok(n)
    }

    /// One of the datagrams received: text, sender, and the kernel's count of drops if it was told.
    fn datagram(&self, i: usize) -> (&[u8], Option<SocketAddr>, Option<u32>) {
        let (length, control) = self.lengths.get(i).copied().unwrap_or_default();
        let at = i * LARGEST;
        let text = self.texts.get(at..at + length.min(LARGEST)).unwrap_or_default();
        let peer = self.names.get(i).and_then(address);
        let count = self.controls.get(i).and_then(|c| overflow(c, control));
        (text, peer, count)
    }
}

fn address(name: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match libc::c_int::from(name.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that this is an IPv4 address; the storage is large and aligned enough.
            let v4 = unsafe { &*std::ptr::from_ref(name).cast::<libc::sockaddr_in>() };
            let ip = std::net::Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes());
            Some(SocketAddr::from((ip, u16::from_be(v4.sin_port))))
        }
        libc::AF_INET6 => {
            // SAFETY: as above, IPv6.
            let v6 = unsafe { &*std::ptr::from_ref(name).cast::<libc::sockaddr_in6>() };
            let ip = std::net::Ipv6Addr::from(v6.sin6_addr.s6_addr);
            Some(SocketAddr::from((ip, u16::from_be(v6.sin6_port))))
        }
        _ => None,
    }
}

/// The number in a control message of SO_RXQ_OVFL, the only one that was asked for.
fn overflow(control: &Control, length: usize) -> Option<u32> {
    let header = size_of::<libc::cmsghdr>();
    if length < header + 4 {
        return None;
    }
    // SAFETY: plain C structure within aligned bytes that the kernel filled that far.
    let head = unsafe { &*control.0.as_ptr().cast::<libc::cmsghdr>() };
    if head.cmsg_level != libc::SOL_SOCKET || head.cmsg_type != libc::SO_RXQ_OVFL {
        return None;
    }
    let bytes = control.0.get(header..header + 4)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_are_found_by_inode() {
        let text = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n  500: 0100007F:158A 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 7001 2 0000000000000000 5\n  501: 0100007F:158B 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 7002 2 0000000000000000 42\n";
        assert_eq!(drops(text, 7002), Some(42));
        assert_eq!(drops(text, 7003), None);
    }

    #[test]
    fn the_kernels_count_may_wrap_and_be_told_twice() {
        let mut dropped = Dropped {
            counter: Counter::default(),
            seen: u32::MAX - 1,
            inode: 0,
        };
        dropped.is(3);
        dropped.is(1); // older news
        dropped.is(4);
        assert_eq!(dropped.counter.get(), 6);
    }
}
