//! `account_activity`: logins, failures and authenticated sends of each account in an hour.
//!
//! A login is a `pop_access`, `imap_access`, `ftp_access` or `ssh_access` that names an account, a failure
//! an `auth_failure` that does, an authenticated send an `smtp_accepted` that does. The account is kept as
//! logged: at most 256 bytes, what is no UTF-8 replaced. Past `limits.accounts` further accounts share
//! the name `(shed)`. Networks are those of logins and sends: who only fails does not use an account.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, SchemaRef};

use super::batch::{self, Places, States};
use super::counts::{Counts, signed};
use super::names::Names;
use super::{Binned, Sizes};
use crate::count::address::Client;
use crate::count::intern::Interner;
use crate::error::Result;
use crate::event::Kind;

/// What an event is to an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Part {
    /// A successful login.
    Login,
    /// A failed authentication.
    Failure,
    /// A message accepted from the authenticated account.
    Send,
}

impl Part {
    /// What an event of this kind is to the account that it names.
    #[must_use]
    pub const fn of(kind: Kind) -> Option<Part> {
        match kind {
            Kind::PopAccess | Kind::ImapAccess | Kind::FtpAccess | Kind::SshAccess => Some(Part::Login),
            Kind::AuthFailure => Some(Part::Failure),
            Kind::SmtpAccepted => Some(Part::Send),
            _ => None,
        }
    }
}

/// Counts of one account.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Account {
    parts: [i64; 3],
    clients: Counts,
    /// Networks of logins and sends.
    networks: Counts,
}

impl Account {
    /// Adds events (negative: takes them back) from a client and its network, whose hashes are 0 where there is
    /// none.
    pub fn count(&mut self, part: Part, (client, network): (u32, u32), times: i32, sizes: &Sizes) {
        self.parts[part as usize] += i64::from(times);
        if client != 0 {
            self.clients.add(client, times, sizes.set);
        }
        if network != 0 && part != Part::Failure {
            self.networks.add(network, times, sizes.set);
        }
    }

    /// Adds the counts of another part.
    pub fn absorb(&mut self, other: &Account, sizes: &Sizes) {
        for (mine, theirs) in self.parts.iter_mut().zip(other.parts) {
            *mine += theirs;
        }
        self.clients.absorb(&other.clients, sizes.set);
        self.networks.absorb(&other.networks, sizes.set);
    }

    /// Gives back the memory that only a growing row needs.
    pub fn cool(&mut self, sizes: &Sizes) {
        self.clients.cool(sizes.set);
        self.networks.cool(sizes.set);
    }
}

/// The hashes of a client and of its network (a /24, or a /48 of IPv6; a host name is its own), 0 for none.
#[must_use]
pub fn place_of(clients: &Interner, client: u32) -> (u32, u32) {
    let Some(text) = clients.text(client) else {
        return (0, 0);
    };
    let own = (clients.known(client).hash >> 32) as u32;
    let network = match text.split('/').next().unwrap_or(text).parse() {
        Ok(IpAddr::V4(v4)) => Client::V4(Ipv4Addr::from_bits(v4.to_bits() & !0xff)),
        Ok(IpAddr::V6(v6)) => Client::V6(Ipv6Addr::from_bits(v6.to_bits() >> 80 << 80), 48),
        Err(_) => return (own, own),
    };
    (own, (network.stable_hash() >> 32) as u32)
}

/// A number of repetitions as a signed count.
#[must_use]
pub fn times(n: u32) -> i32 {
    signed(n)
}

/// Schema of the table.
#[must_use]
pub fn schema() -> SchemaRef {
    batch::schema(vec![
        Field::new("account", DataType::Utf8, false),
        Field::new("logins", DataType::UInt64, false),
        Field::new("failures", DataType::UInt64, false),
        Field::new("authenticated_sends", DataType::UInt64, false),
        Field::new("distinct_clients", DataType::UInt32, false),
        Field::new("client_state", DataType::BinaryView, true),
        Field::new("distinct_networks", DataType::UInt32, false),
        Field::new("network_state", DataType::BinaryView, true),
    ])
}

/// A batch of the rows of all hours; `nothing`: also those that have become nothing.
///
/// # Errors
/// [`crate::error::Error::Table`] if the columns do not fit together, which would be a bug.
pub fn rows(
    hours: Binned<u32, Account>,
    names: &Names,
    source: u32,
    sizes: &Sizes,
    nothing: bool,
) -> Result<RecordBatch> {
    let mut places = Places::default();
    let mut account = Vec::new();
    let mut parts: [Vec<u64>; 3] = Default::default();
    let (mut clients, mut networks) = (States::default(), States::default());
    for (place, rows) in hours {
        for (id, row) in rows {
            // A login that another line took back leaves a row of nothing.
            if !nothing && row.parts.iter().all(|&n| n <= 0) {
                continue;
            }
            places.push(place);
            account.push(names.text(id));
            for (column, n) in parts.iter_mut().zip(row.parts) {
                column.push(u64::try_from(n).unwrap_or(0));
            }
            clients.push(row.clients.summary(sizes.set));
            networks.push(row.networks.summary(sizes.set));
        }
    }
    let mut arrays: Vec<ArrayRef> = vec![Arc::new(StringArray::from(account))];
    arrays.extend(parts.into_iter().map(batch::u64s));
    arrays.extend(clients.arrays()?);
    arrays.extend(networks.arrays()?);
    batch::batch(schema(), &places, arrays, source)
}
