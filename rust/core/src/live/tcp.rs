//! TCP sockets that listen, and which peers may connect.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

use crate::count::address::{Client, Prefix};
use crate::error::{Error, Result};

/// Connections that wait to be accepted.
const BACKLOG: i32 = 4096;

/// The networks whose hosts may send.
#[derive(Clone, Debug, Default)]
pub struct Allow {
    networks: Vec<Prefix>,
}

impl Allow {
    /// Reads networks such as `192.0.2.0/24` or `::1`.
    ///
    /// # Errors
    /// Names the one that is none.
    pub fn parse(networks: &[String]) -> Result<Allow> {
        let networks = networks
            .iter()
            .map(|text| {
                Prefix::parse(text).map_err(|message| Error::Option {
                    option: "listen.allow",
                    message,
                })
            })
            .collect::<Result<Vec<Prefix>>>()?;
        Ok(Allow { networks })
    }

    /// Whether a host may send. An IPv4 address within IPv6 is the IPv4 address.
    #[must_use]
    pub fn contains(&self, peer: IpAddr) -> bool {
        let client = match peer.to_canonical() {
            IpAddr::V4(address) => Client::V4(address),
            IpAddr::V6(address) => Client::V6(address, 128),
        };
        self.networks.iter().any(|network| network.contains(&client))
    }
}

/// A listening socket.
///
/// # Errors
/// The address cannot be bound: taken, not this machine's, or not allowed.
pub fn listen(what: &str, address: SocketAddr) -> Result<TcpListener> {
    let open = || -> io::Result<TcpListener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(address.ip() != IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED))?;
        }
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        Ok(socket.into())
    };
    open().map_err(|source| Error::Io {
        what: format!("{what}: cannot listen"),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_told_by_network() {
        let allow = Allow::parse(&[
            "127.0.0.1/32".into(),
            "2001:db8::/32".into(),
            "192.0.2.0/24".into(),
        ])
        .unwrap();
        for (peer, may) in [
            ("127.0.0.1", true),
            ("127.0.0.2", false),
            ("::ffff:192.0.2.7", true),
            ("2001:db8:1::1", true),
            ("2001:db9::1", false),
        ] {
            assert_eq!(allow.contains(peer.parse().unwrap()), may, "{peer}");
        }
        assert!(Allow::parse(&["localhost".into()]).is_err());
        assert!(!Allow::default().contains("127.0.0.1".parse().unwrap()));
    }
}
