//! What can be seen from outside: counters and gauges with the names that Prometheus shows.
//!
//! Each part keeps its own atomics and registers them here; nothing is looked up by name on the way of
//! a line. A name may carry labels: `seismolog_received_lines_total{source="tcp"}`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::queue::lock;

/// A number that only grows.
#[derive(Clone, Debug, Default)]
pub struct Counter(Arc<AtomicU64>);

impl Counter {
    /// Adds.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// The sum so far.
    #[inline]
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that goes up and down.
#[derive(Clone, Debug, Default)]
pub struct Gauge(Arc<AtomicU64>);

impl Gauge {
    /// Sets it.
    #[inline]
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// Adds.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Takes away; not below zero in the end, though it may be read so in between.
    #[inline]
    pub fn sub(&self, n: u64) {
        self.0.fetch_sub(n, Ordering::Relaxed);
    }

    /// What it is now.
    #[inline]
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A value with the kind that Prometheus wants to know.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// Only grows.
    Counter(u64),
    /// Goes up and down.
    Gauge(u64),
}

impl Value {
    /// The number.
    #[must_use]
    pub fn number(self) -> u64 {
        match self {
            Value::Counter(n) | Value::Gauge(n) => n,
        }
    }
}

#[derive(Debug, Clone)]
enum Entry {
    Counter(Counter),
    Gauge(Gauge),
}

/// All numbers of one process, by name. Cloning gives a handle to the same.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    entries: Arc<Mutex<BTreeMap<String, Entry>>>,
    texts: Arc<Mutex<BTreeMap<String, String>>>,
}

impl Metrics {
    /// The counter of that name, new or the one there is.
    pub fn counter(&self, name: &str) -> Counter {
        let mut entries = lock(&self.entries);
        if let Some(Entry::Counter(counter)) = entries.get(name) {
            return counter.clone();
        }
        let counter = Counter::default();
        entries.insert(name.to_owned(), Entry::Counter(counter.clone()));
        counter
    }

    /// The gauge of that name, new or the one there is.
    pub fn gauge(&self, name: &str) -> Gauge {
        let mut entries = lock(&self.entries);
        if let Some(Entry::Gauge(gauge)) = entries.get(name) {
            return gauge.clone();
        }
        let gauge = Gauge::default();
        entries.insert(name.to_owned(), Entry::Gauge(gauge.clone()));
        gauge
    }

    /// Shows a counter that lives elsewhere.
    pub fn show_counter(&self, name: &str, counter: &Counter) {
        lock(&self.entries).insert(name.to_owned(), Entry::Counter(counter.clone()));
    }

    /// Shows a gauge that lives elsewhere.
    pub fn show_gauge(&self, name: &str, gauge: &Gauge) {
        lock(&self.entries).insert(name.to_owned(), Entry::Gauge(gauge.clone()));
    }

    /// Takes a name away, such as that of a listener that was closed.
    pub fn forget(&self, name: &str) {
        lock(&self.entries).remove(name);
    }

    /// Says what is wrong now with a part (`wal`, `tcp 127.0.0.1:514`), or that nothing is.
    pub fn trouble(&self, part: &str, message: Option<String>) {
        let mut texts = lock(&self.texts);
        match message {
            Some(message) => texts.insert(part.to_owned(), message),
            None => texts.remove(part),
        };
    }

    /// Everything that is wrong now: part -> message.
    #[must_use]
    pub fn troubles(&self) -> BTreeMap<String, String> {
        lock(&self.texts).clone()
    }

    /// Every number now.
    #[must_use]
    pub fn all(&self) -> BTreeMap<String, Value> {
        lock(&self.entries)
            .iter()
            .map(|(name, entry)| {
                let value = match entry {
                    Entry::Counter(c) => Value::Counter(c.get()),
                    Entry::Gauge(g) => Value::Gauge(g.get()),
                };
                (name.clone(), value)
            })
            .collect()
    }

    /// One number now; 0 if there is none of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> u64 {
        match lock(&self.entries).get(name) {
            Some(Entry::Counter(c)) => c.get(),
            Some(Entry::Gauge(g)) => g.get(),
            None => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_of_one_name_are_one_number() {
        let metrics = Metrics::default();
        metrics.counter("a_total").add(2);
        metrics.clone().counter("a_total").add(3);
        metrics.gauge("b").set(7);
        assert_eq!(metrics.get("a_total"), 5);
        assert_eq!(
            metrics.all().into_iter().collect::<Vec<_>>(),
            [
                ("a_total".to_owned(), Value::Counter(5)),
                ("b".to_owned(), Value::Gauge(7))
            ]
        );
        metrics.trouble("wal", Some("no space".to_owned()));
        assert_eq!(metrics.troubles().len(), 1);
        metrics.trouble("wal", None);
        assert!(metrics.troubles().is_empty());
    }
}
