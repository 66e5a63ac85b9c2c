//! Every setting of reception, with its default. Whoever reads the configuration fills these.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// All of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IntakeConfig {
    /// The state folder; the write-ahead log is its subfolder `wal`.
    pub directory: PathBuf,
    /// Where lines are taken from.
    pub listeners: Vec<Listener>,
    /// Networks whose hosts may connect or send (`127.0.0.1/32`). Unix sockets have their file mode.
    pub allow: Vec<String>,
    /// Bounds.
    pub limits: IntakeLimits,
    /// The write-ahead log.
    pub wal: WalLimits,
}

impl Default for IntakeConfig {
    fn default() -> Self {
        IntakeConfig {
            directory: PathBuf::from("/var/lib/seismolog/live"),
            listeners: Vec::new(),
            allow: vec!["127.0.0.1/32".to_owned(), "::1/128".to_owned()],
            limits: IntakeLimits::default(),
            wal: WalLimits::default(),
        }
    }
}

/// One place that lines come from. As JSON: `{"tcp": {"address": "127.0.0.1:5514"}}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum Listener {
    /// Syslog over TCP, by line feeds or octet counts (RFC 6587). Confirms nothing.
    Tcp {
        /// Where to listen; port 0 takes any.
        address: SocketAddr,
    },
    /// Syslog over TLS (RFC 5425).
    Tls {
        /// Where to listen.
        address: SocketAddr,
        /// The server's certificates, PEM.
        certificate: PathBuf,
        /// Its private key, PEM.
        key: PathBuf,
        /// With it, clients must show a certificate of one of these authorities, PEM.
        client_ca: Option<PathBuf>,
    },
    /// RELP, as rsyslog's omrelp speaks it. Confirms when lines are on disk.
    Relp {
        /// Where to listen.
        address: SocketAddr,
    },
    /// Syslog over UDP. What the kernel drops is counted.
    Udp {
        /// Where to listen.
        address: SocketAddr,
        /// Bytes of the socket's buffer; the system may grant less, which is shown.
        #[serde(default = "udp_buffer")]
        receive_buffer: usize,
    },
    /// A unix stream socket, framed as TCP.
    Unix {
        /// The socket's file.
        path: PathBuf,
        /// Its mode, such as `0o660`.
        #[serde(default = "socket_mode")]
        mode: u32,
    },
    /// A unix datagram socket such as `/dev/log`.
    UnixDatagram {
        /// The socket's file.
        path: PathBuf,
        /// Its mode.
        #[serde(default = "socket_mode")]
        mode: u32,
    },
    /// Files that grow.
    Files {
        /// Paths, in which `*` and `?` stand for parts of names.
        patterns: Vec<String>,
        /// Whether files that are there at the very first start are read from their beginning.
        #[serde(default)]
        from_start: bool,
    },
    /// The systemd journal through `journalctl`.
    Journal {
        /// Further arguments, such as `--unit=named.service`.
        #[serde(default)]
        arguments: Vec<String>,
        /// The program.
        #[serde(default = "journalctl")]
        program: PathBuf,
    },
    /// Standard input.
    Stdin {
        /// What the parent process expects.
        #[serde(default)]
        protocol: Protocol,
    },
}

fn udp_buffer() -> usize {
    64 << 20
}

fn socket_mode() -> u32 {
    0o660
}

fn journalctl() -> PathBuf {
    PathBuf::from("journalctl")
}

/// How a parent process speaks over standard input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// Lines; nothing is answered (omprog, syslog-ng `program()`).
    #[default]
    Plain,
    /// omprog with `confirmMessages="on"`: `OK` for every line, once it is on disk.
    Confirm,
    /// omprog with `confirmMessages="on" useTransactions="on"`: one confirmation a transaction.
    Transactions,
}

/// Bounds of reception.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IntakeLimits {
    /// Bytes of a line; longer ones are counted and skipped.
    pub line_length: usize,
    /// Connections at once, over all listeners.
    pub connections: usize,
    /// Seconds after which a silent connection with an unfinished line or frame is closed.
    pub idle_seconds: u64,
    /// Bytes of unfinished lines over all connections.
    pub partial_bytes: usize,
    /// Bytes of lines that wait to be logged.
    pub queue_bytes: usize,
    /// Bytes of lines that are logged and wait to be counted in memory.
    pub logged_bytes: usize,
    /// Bytes of the write-ahead log by which counting may be behind: what memory has no room for is read from there. Past
    /// it whoever sends waits.
    pub behind_bytes: u64,
    /// Threads that read connections.
    pub readers: usize,
    /// Message ids that are remembered.
    pub remembered_ids: usize,
    /// Files that are followed at once.
    pub files: usize,
    /// Seconds without growth after which a rotated file is finished.
    pub rotated_seconds: u64,
    /// RELP messages of one connection that may wait for their answer; then it is not read.
    pub relp_unanswered: usize,
    /// Bytes of answers that a RELP sender may leave unread; then its connection is closed.
    pub relp_unread_bytes: usize,
    /// Milliseconds for which datagrams of a unix socket wait for room in the queue; then they are dropped.
    pub datagram_patience_ms: u64,
}

impl Default for IntakeLimits {
    fn default() -> Self {
        IntakeLimits {
            line_length: 1 << 20,
            connections: 12_000,
            idle_seconds: 600,
            partial_bytes: 64 << 20,
            queue_bytes: 16 << 20,
            logged_bytes: 16 << 20,
            behind_bytes: 512 << 20,
            readers: 1,
            remembered_ids: 1 << 20,
            files: 1024,
            rotated_seconds: 10,
            relp_unanswered: 1 << 16,
            relp_unread_bytes: 1 << 20,
            datagram_patience_ms: 100,
        }
    }
}

/// Bounds of the write-ahead log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WalLimits {
    /// Bytes of one file of the log; at most a quarter of `max_bytes`.
    pub segment_bytes: u64,
    /// Seconds after which a file is closed though it is not full, so that old lines do not stay.
    pub segment_seconds: u64,
    /// Bytes of all files. When counting does not release them, reception pauses.
    pub max_bytes: u64,
    /// Milliseconds after which what nobody waits for is brought to disk as well.
    pub sync_interval_ms: u64,
    /// Released files that are kept to be written again, for `segment_seconds` at most. Writing over
    /// pages that are there costs half of what new ones cost.
    pub spare_segments: usize,
}

impl Default for WalLimits {
    fn default() -> Self {
        WalLimits {
            segment_bytes: 64 << 20,
            segment_seconds: 3600,
            max_bytes: 4 << 30,
            sync_interval_ms: 1000,
            spare_segments: 4,
        }
    }
}
