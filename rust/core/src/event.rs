//! The vocabulary between the dialects and the counter: what one log line says.
//!
//! A dialect reads the message of a line and answers with a [`Verdict`]. It borrows from the line,
//! allocates nothing and knows nothing of bins or totals. The counter reads the verdict and knows
//! nothing of the daemon that wrote the line.

use serde::{Deserialize, Serialize};

/// What happened, in the terms of DESIGN section 1. The discriminant is the code in the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[repr(u8)]
pub enum Kind {
    /// A DNS query received by a DNS server (D_q).
    DnsQuery = 0,
    /// A refused or rate-limited query.
    DnsDenied,
    /// A query that failed, where the server logs it.
    DnsError,
    /// A message accepted by a mail server, once (N_S = N_from).
    SmtpAccepted,
    /// A delivery done (N_SS).
    SmtpSent,
    /// A delivery put off (N_SD).
    SmtpDeferred,
    /// A message returned to its sender.
    SmtpBounced,
    /// A refusal at SMTP time.
    SmtpRejected,
    /// A client connection to an SMTP server.
    SmtpConnection,
    /// A hand-over of a message to oneself (content filter, submission to MTA).
    SmtpReinjected,
    /// A POP3 session, once (N_P).
    PopAccess,
    /// An IMAP session, once.
    ImapAccess,
    /// An FTP session.
    FtpAccess,
    /// An SSH session.
    SshAccess,
    /// A failed authentication of any protocol.
    AuthFailure,
    /// A packet dropped by a packet filter.
    FirewallDrop,
}

impl Kind {
    /// Every kind, in the order of its code.
    pub const ALL: [Kind; 16] = [
        Kind::DnsQuery,
        Kind::DnsDenied,
        Kind::DnsError,
        Kind::SmtpAccepted,
        Kind::SmtpSent,
        Kind::SmtpDeferred,
        Kind::SmtpBounced,
        Kind::SmtpRejected,
        Kind::SmtpConnection,
        Kind::SmtpReinjected,
        Kind::PopAccess,
        Kind::ImapAccess,
        Kind::FtpAccess,
        Kind::SshAccess,
        Kind::AuthFailure,
        Kind::FirewallDrop,
    ];

    /// The name used in tables, on the command line and in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Kind::DnsQuery => "dns_query",
            Kind::DnsDenied => "dns_denied",
            Kind::DnsError => "dns_error",
            Kind::SmtpAccepted => "smtp_accepted",
            Kind::SmtpSent => "smtp_sent",
            Kind::SmtpDeferred => "smtp_deferred",
            Kind::SmtpBounced => "smtp_bounced",
            Kind::SmtpRejected => "smtp_rejected",
            Kind::SmtpConnection => "smtp_connection",
            Kind::SmtpReinjected => "smtp_reinjected",
            Kind::PopAccess => "pop_access",
            Kind::ImapAccess => "imap_access",
            Kind::FtpAccess => "ftp_access",
            Kind::SshAccess => "ssh_access",
            Kind::AuthFailure => "auth_failure",
            Kind::FirewallDrop => "firewall_drop",
        }
    }
}

/// The type of a DNS query, as far as the tables tell types apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[repr(u8)]
pub enum QueryType {
    /// IPv4 address.
    A = 0,
    /// IPv6 address (AAAA; A6 counts here too).
    Aaaa,
    /// Mail exchanger.
    Mx,
    /// Reverse look-up.
    Ptr,
    /// Text (SPF counts here too).
    Txt,
    /// Name server.
    Ns,
    /// Service.
    Srv,
    /// HTTPS and SVCB.
    Https,
    /// ANY (`*`).
    Any,
    /// Everything else, and queries whose type the log does not tell.
    #[default]
    Other,
}

impl QueryType {
    /// Number of query types.
    pub const COUNT: usize = 10;
    /// Every query type, in the order of its code.
    pub const ALL: [QueryType; Self::COUNT] = [
        QueryType::A,
        QueryType::Aaaa,
        QueryType::Mx,
        QueryType::Ptr,
        QueryType::Txt,
        QueryType::Ns,
        QueryType::Srv,
        QueryType::Https,
        QueryType::Any,
        QueryType::Other,
    ];

    /// The column name in the tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            QueryType::A => "a",
            QueryType::Aaaa => "aaaa",
            QueryType::Mx => "mx",
            QueryType::Ptr => "ptr",
            QueryType::Txt => "txt",
            QueryType::Ns => "ns",
            QueryType::Srv => "srv",
            QueryType::Https => "https",
            QueryType::Any => "any",
            QueryType::Other => "other",
        }
    }
}

/// What a line says about another line of the same server.
///
/// A few daemons write one thing twice. The rule is kept free of order: an event under
/// [`Memory::Hold`] counts unless somewhere in the server's log a [`Memory::Cancel`] of the same
/// identifier stands. Each cancel takes back one hold. A refusal takes back refusals only, any other
/// event takes back what is no refusal. Matching is done by the counter, within
/// [`crate::count::memory::HORIZON_SECONDS`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Memory<'a> {
    /// The line stands for itself.
    #[default]
    None,
    /// Count this event unless it is cancelled under this identifier.
    Hold(&'a [u8]),
    /// Count this event, and take back what is held under this identifier.
    Cancel(&'a [u8]),
}

/// One thing that happened, as a log line tells it. Everything is borrowed from the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// What happened.
    pub kind: Kind,
    /// The spelling of the client's address as the line has it (no port, no brackets; a scope or a
    /// v4-mapped prefix may stand: the counter validates and folds each spelling once). Empty: none.
    /// iplog may give a host name instead, which is kept in lower case.
    pub client: &'a [u8],
    /// Query type, for the DNS kinds.
    pub query_type: QueryType,
    /// Query name, for the DNS kinds, as spelled in the line. Empty: not told.
    pub name: &'a [u8],
    /// Addresses that the line stands for (`smtp_accepted`: nrcpts; deliveries: recipients listed
    /// in `to=`). 0 where it makes no sense.
    pub recipients: u32,
    /// Account name of a login, a failure or an authenticated submission. Empty: not told.
    pub account: &'a [u8],
    /// Destination address of a dropped packet, as spelled. Empty: not told.
    pub target: &'a [u8],
    /// Destination port of a dropped packet. 0: not told.
    pub port: u16,
    /// Relation to another line.
    pub memory: Memory<'a>,
}

impl Event<'_> {
    /// An event of `kind` with nothing else known.
    #[must_use]
    pub const fn new(kind: Kind) -> Self {
        Event {
            kind,
            client: b"",
            query_type: QueryType::Other,
            name: b"",
            recipients: 0,
            account: b"",
            target: b"",
            port: 0,
            memory: Memory::None,
        }
    }
}

/// What a dialect makes of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// The line is an event to be counted.
    Event(Event<'a>),
    /// The daemon is known and the line is of a kind that is not counted; the word says which
    /// (`"queue manager"`, `"disconnect"`).
    Ignored(&'static str),
    /// The daemon is known, but not this line; the word says what was missing.
    Unmatched(&'static str),
}
