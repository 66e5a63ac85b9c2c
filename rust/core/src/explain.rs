//! How one line parses, in words: for people who want to see why a number is what it is.
//!
//! This is the slow twin of [`crate::count::worker`]: the same header parser, the same dialects, no
//! caches and no counting. What it says of a line is what the counter does with it, but for what only
//! neighbouring lines decide (a held event that another line cancels, a repetition).

use crate::count::Options;
use crate::count::address::Client;
use crate::dialect::Dialect;
use crate::event::{Kind, Memory, QueryType, Verdict};
use crate::syslog::header::{self, Clock, Scratch};
use crate::syslog::repeat;
use crate::syslog::time::Zone;

/// What became of a line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Explanation {
    /// The dialect that read it.
    pub dialect: Option<&'static str>,
    /// What it counts as.
    pub kind: Option<Kind>,
    /// The server it names.
    pub server: String,
    /// Program as spelled.
    pub program: String,
    /// The client, canonical.
    pub client: Option<String>,
    /// Seconds since 1970, UTC.
    pub time: Option<i64>,
    /// Times it counts.
    pub count: u32,
    /// Query type, for DNS.
    pub query_type: Option<QueryType>,
    /// Query name, for DNS, as spelled.
    pub name: Option<String>,
    /// Account, where told.
    pub account: Option<String>,
    /// Addresses that it stands for.
    pub recipients: u32,
    /// Why it does not count, or what else decides.
    pub reason: Option<String>,
    /// Whether a dialect knows this line and does not count it.
    pub ignored: bool,
}

/// Reads single lines.
pub struct Explainer {
    options: Options,
    zone: Zone,
    server_zones: std::collections::BTreeMap<String, Zone>,
    /// Year of lines that tell none; else the latest for which the line is not newer than `limit`.
    year: Option<i64>,
    limit: i64,
    scratch: Scratch,
}

impl Explainer {
    /// `limit`: seconds since 1970 (UTC) than which no line is newer (when the file was written).
    #[must_use]
    pub fn new(
        options: &Options,
        zone: Option<Zone>,
        server_zones: std::collections::BTreeMap<String, Zone>,
        year: Option<i64>,
        limit: i64,
    ) -> Self {
        Explainer {
            options: options.clone(),
            zone: zone.unwrap_or_else(Zone::utc),
            server_zones,
            year,
            limit,
            scratch: Scratch::default(),
        }
    }

    /// Explains a line (without its end).
    pub fn line(&mut self, line: &[u8]) -> Explanation {
        let mut scratch = std::mem::take(&mut self.scratch);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let header = header::parse(line, &mut scratch);
        let mut out = Explanation {
            program: text(header.program),
            count: 1,
            ..Explanation::default()
        };
        let host = text(header.host).to_ascii_lowercase();
        out.server = if host.is_empty() {
            self.options.default_server.clone()
        } else {
            self.options.server_names.get(&host).cloned().unwrap_or(host)
        };
        if let Some(stamp) = header.stamp {
            let zone = self.server_zones.get(&out.server).unwrap_or(&self.zone);
            out.time = Some(match stamp.clock {
                Clock::Absolute => stamp.seconds,
                Clock::Local => zone.to_utc(stamp.seconds, false),
                Clock::Yearless => {
                    let mut years = crate::count::timeline::Years::default();
                    let minute = years.advance(stamp.seconds.div_euclid(60));
                    let limit = zone.to_local(self.limit);
                    let year = self
                        .year
                        .unwrap_or_else(|| crate::archive::years::first_year(&years, limit));
                    let local = crate::archive::years::local_seconds(minute, year);
                    zone.to_utc(local + stamp.seconds.rem_euclid(60), false)
                }
            });
        }
        if header.program.is_empty()
            && let Some(times) = repeat::last_message(header.message)
        {
            out.count = times;
            out.reason = Some(format!(
                "counts {times} times what the last line of this server was"
            ));
            self.scratch = scratch;
            return out;
        }
        if header.program.is_empty() && header.message == b"-- MARK --" && header.stamp.is_some() {
            out.count = 0;
            out.ignored = true;
            out.reason = Some("not counted: syslogd's own mark".to_owned());
            self.scratch = scratch;
            return out;
        }
        let message = match repeat::wrapped(header.message) {
            Some((times, inner)) => {
                out.count = times;
                inner
            }
            None => header.message,
        };
        let dialect = if header.program.is_empty() {
            Dialect::of_message(message)
        } else {
            Dialect::of_program(header.program)
        };
        out.dialect = dialect.map(Dialect::name);
        let no_time = header.stamp.is_none();
        match dialect {
            None => {
                out.count = 0;
                out.reason = Some(if header.program.is_empty() {
                    "no program name, and no dialect recognizes the text".to_owned()
                } else {
                    format!("no dialect claims the program {:?}", out.program)
                });
            }
            Some(dialect) => self.verdict(dialect.parse(header.program, header.pid, message), &mut out),
        }
        if no_time {
            out.count = 0;
            out.kind = None;
            out.ignored = false;
            out.reason = Some(
                if line.is_empty() {
                    "empty line"
                } else {
                    "no time: the line cannot be put into a bin"
                }
                .to_owned(),
            );
        }
        self.scratch = scratch;
        out
    }

    fn verdict(&self, verdict: Verdict<'_>, out: &mut Explanation) {
        match verdict {
            Verdict::Event(event) => {
                let client = Client::parse(event.client, self.options.client_prefix_v6);
                let mut kind = event.kind;
                if kind == Kind::SmtpAccepted
                    && client
                        .as_ref()
                        .is_some_and(|c| self.options.reinjection.iter().any(|p| p.contains(c)))
                {
                    kind = Kind::SmtpReinjected;
                    out.reason = Some("the client is on the site's re-injection list".to_owned());
                }
                out.kind = Some(kind);
                out.client = client.map(|c| c.to_string());
                out.recipients = event.recipients;
                if matches!(kind, Kind::DnsQuery | Kind::DnsDenied | Kind::DnsError) {
                    out.query_type = Some(event.query_type);
                    out.name = (!event.name.is_empty()).then(|| text(event.name));
                }
                out.account = (!event.account.is_empty()).then(|| text(event.account));
                match event.memory {
                    Memory::None => {}
                    Memory::Hold(id) => {
                        out.reason = Some(format!(
                            "counts unless a line about {} says that it is the same",
                            text(id)
                        ));
                    }
                    Memory::Cancel(id) => {
                        out.reason = Some(format!("takes back the line that counted {}", text(id)));
                    }
                }
            }
            Verdict::Ignored(what) => {
                out.ignored = true;
                out.count = 0;
                out.reason = Some(format!("not counted: {what}"));
            }
            Verdict::Unmatched(what) => {
                out.count = 0;
                out.reason = Some(format!("not understood: {what}"));
            }
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
