//! Counting: events become rows of per-minute tables, in bounded memory, mergeable in any split.
//!
//! A [`worker::Worker`] reads the lines of one part of one source in order. It keeps the bins of the
//! last hour of each server open ([`bins`]), seals older ones into columns ([`seal`]) and ends as a
//! partial result that still carries what only the neighbouring parts can decide: the bins at its
//! edges, repeated lines whose predecessor stands before it, held and cancelled events ([`memory`]),
//! and the course of its clocks ([`timeline`]). [`worker::Worker::join`] puts the parts of a source
//! together so that the result is that of reading it in one go.

pub mod address;
pub mod bins;
pub mod detail;
pub mod frozen;
pub mod hash;
pub mod intern;
pub mod lookup;
pub mod memory;
pub mod seal;
pub mod summary;
pub mod table;
pub mod timeline;
pub mod usual;
pub mod worker;

use address::Prefix;

/// The name of a counter that was read back: the program's own, which are few, made as lasting once each.
pub(crate) fn lasting(name: String) -> &'static str {
    use std::collections::BTreeSet;
    use std::sync::{Mutex, PoisonError};
    static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = names.get(name.as_str()) {
        return known;
    }
    let name: &'static str = Box::leak(name.into_boxed_str());
    names.insert(name);
    name
}

/// What is counted. Less is faster.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent switches of what is counted"
)]
pub struct Options {
    /// Per client (`client_traffic`); without it only `traffic`, by kind.
    pub clients: bool,
    /// By query type.
    pub query_types: bool,
    /// Distinct names and their entropy.
    pub names: bool,
    /// Stored summaries beside the numbers.
    pub state: bool,
    /// The tables of details (see [`detail`]), which carry their summaries always.
    pub details: bool,
    /// Length of a cell of details in minutes: 15, or 60 where every zone differs from UTC by whole hours.
    pub detail_minutes: i64,
    /// The public suffix list, by which names have registered domains.
    pub suffixes: std::sync::Arc<crate::domain::Suffixes>,
    /// Halves of events near the ends of each source are told (see [`worker::Worker::edges`]).
    pub edges: bool,
    /// Prefixes that are inside the site.
    pub inside: Vec<Prefix>,
    /// Addresses that hand messages over to the server itself (content filters).
    pub reinjection: Vec<Prefix>,
    /// IPv6 clients are counted by prefixes of this length.
    pub client_prefix_v6: u8,
    /// Server name where the lines tell none.
    pub default_server: String,
    /// Server names for host names as spelled in lower case.
    pub server_names: std::collections::BTreeMap<String, String>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            clients: true,
            query_types: true,
            names: true,
            state: false,
            details: false,
            detail_minutes: 15,
            suffixes: std::sync::Arc::default(),
            edges: false,
            inside: Vec::new(),
            reinjection: Vec::new(),
            client_prefix_v6: 128,
            default_server: "unknown".to_owned(),
            server_names: std::collections::BTreeMap::new(),
        }
    }
}

/// The bounds. Each is a setting `limits.<name>` and has a counter of the same name in the summary.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Clients known to one worker; more share one name.
    pub clients: usize,
    /// Distinct (name, client, type) of one bin; past it names are sampled.
    pub names_per_bin: usize,
    /// Items of a stored summary of `traffic`.
    pub summary_size: usize,
    /// Items of a stored set of one client.
    pub client_summary_size: usize,
    /// Bins that one worker keeps open.
    pub open_bins: usize,
    /// Servers known to one worker; more share one name.
    pub servers: usize,
    /// Bytes of a line; longer ones are counted as unmatched.
    pub line_length: usize,
    /// Events held or cancelled that wait for their other half.
    pub held_events: usize,
    /// Repeated lines that wait for what stands before them.
    pub pending_repeats: usize,
    /// Accounts known to one worker; more share one name.
    pub accounts: usize,
    /// Rows of `ptr_target` in a cell of details; past it the lighter half goes.
    pub ptr_targets: usize,
    /// Rows of `drop_target` in a cell of details; past it the lighter half goes.
    pub drop_targets: usize,
    /// Registered domains known to one worker; more share one name.
    pub domains: usize,
    /// Rows of `domain` in a cell of details; past it the lighter half goes.
    pub domain_rows: usize,
    /// Rows of `client_domain` in a cell of details that grows; past it the lighter half goes.
    pub client_domains: usize,
    /// Rows of `client_domain` of an hour and server; the heaviest are kept.
    pub client_domain_rows: usize,
    /// Shapes of lines that are not understood, as lines come; past it the rarest gives way.
    pub unmatched_shapes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            clients: 1 << 20,
            names_per_bin: 1 << 18,
            summary_size: 4096,
            client_summary_size: 1024,
            open_bins: 4096,
            servers: 10_000,
            line_length: 1 << 20,
            held_events: 1 << 16,
            pending_repeats: 1 << 16,
            accounts: 200_000,
            ptr_targets: 1 << 16,
            drop_targets: 1 << 16,
            domains: 1 << 18,
            domain_rows: 1 << 14,
            client_domains: 1 << 16,
            client_domain_rows: 20_000,
            unmatched_shapes: 200,
        }
    }
}

impl Limits {
    /// Sets a bound by its name.
    ///
    /// # Errors
    /// There is none of that name, or the value is 0.
    pub fn set(&mut self, name: &str, value: usize) -> Result<(), String> {
        let field = match name {
            "clients" => &mut self.clients,
            "names_per_bin" => &mut self.names_per_bin,
            "summary_size" => &mut self.summary_size,
            "client_summary_size" => &mut self.client_summary_size,
            "open_bins" => &mut self.open_bins,
            "servers" => &mut self.servers,
            "line_length" => &mut self.line_length,
            "held_events" => &mut self.held_events,
            "pending_repeats" => &mut self.pending_repeats,
            "accounts" => &mut self.accounts,
            "ptr_targets" => &mut self.ptr_targets,
            "drop_targets" => &mut self.drop_targets,
            "domains" => &mut self.domains,
            "domain_rows" => &mut self.domain_rows,
            "client_domains" => &mut self.client_domains,
            "client_domain_rows" => &mut self.client_domain_rows,
            "unmatched_shapes" => &mut self.unmatched_shapes,
            _ => return Err(format!("unknown bound {name:?}")),
        };
        if value == 0 {
            return Err(format!("{name} must be at least 1"));
        }
        *field = value;
        Ok(())
    }
}
