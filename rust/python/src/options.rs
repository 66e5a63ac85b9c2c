//! Keyword arguments become options of the core.

use std::collections::BTreeMap;

use pyo3::prelude::*;
use seismolog_core::archive::scan::ScanOptions;
use seismolog_core::count::address::Prefix;
use seismolog_core::count::{Limits, Options};
use seismolog_core::syslog::time::Zone;

use crate::UsageError;

fn usage(option: &str, message: impl std::fmt::Display) -> PyErr {
    UsageError::new_err(format!("{option}: {message}"))
}

pub fn zone(option: &str, name: &str) -> PyResult<Zone> {
    Zone::new(name).map_err(|e| usage(option, e))
}

pub fn prefixes(option: &str, texts: &[String]) -> PyResult<Vec<Prefix>> {
    texts
        .iter()
        .map(|t| Prefix::parse(t).map_err(|e| usage(option, e)))
        .collect()
}

fn limits(given: &BTreeMap<String, usize>) -> PyResult<Limits> {
    let mut l = Limits::default();
    for (name, &value) in given {
        l.set(name, value).map_err(|e| usage("limits", e))?;
    }
    Ok(l)
}

/// What all functions that read lines are told about the site.
pub struct Site {
    pub zone: Option<Zone>,
    pub server_zones: BTreeMap<String, Zone>,
    pub year: Option<i64>,
    pub count: Options,
}

#[expect(clippy::too_many_arguments, reason = "mirrors the keyword arguments")]
pub fn site(
    timezone: Option<&str>,
    server_timezones: &BTreeMap<String, String>,
    server_names: BTreeMap<String, String>,
    default_server: &str,
    year: Option<i64>,
    inside: &[String],
    reinjection: &[String],
    client_prefix_v6: u8,
) -> PyResult<Site> {
    let mut server_zones = BTreeMap::new();
    for (server, name) in server_timezones {
        server_zones.insert(server.clone(), zone("server_timezones", name)?);
    }
    if client_prefix_v6 > 128 {
        return Err(usage(
            "client_prefix_v6",
            "a prefix length of 0 to 128 is expected",
        ));
    }
    Ok(Site {
        zone: timezone.map(|n| zone("timezone", n)).transpose()?,
        server_zones,
        year,
        count: Options {
            inside: prefixes("inside", inside)?,
            reinjection: prefixes("reinjection", reinjection)?,
            client_prefix_v6,
            default_server: default_server.to_owned(),
            server_names: server_names
                .into_iter()
                .map(|(k, v)| (k.to_ascii_lowercase(), v))
                .collect(),
            ..Options::default()
        },
    })
}

pub fn scan_options(
    site: Site,
    threads: usize,
    digest: bool,
    bounds: &BTreeMap<String, usize>,
) -> PyResult<ScanOptions> {
    Ok(ScanOptions {
        count: site.count,
        limits: limits(bounds)?,
        threads,
        zone: site.zone,
        server_zones: site.server_zones,
        year: site.year,
        digest,
    })
}
