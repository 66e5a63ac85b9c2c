//! Origins: a client, and the /24 that it is in.

use std::net::Ipv4Addr;
use std::sync::Arc;

use arrow_array::{ArrayRef, StringArray};

use super::ByKey;
use crate::count::intern::Interner;

/// Rows by origin and a further key.
pub struct Origins<K, V> {
    clients: Vec<(u32, K, V)>,
    networks: ByKey<(u32, K), V>,
}

impl<K, V> Default for Origins<K, V> {
    fn default() -> Self {
        Origins {
            clients: Vec::new(),
            networks: ByKey::default(),
        }
    }
}

impl<K: Copy + Eq + std::hash::Hash, V: Default> Origins<K, V> {
    /// Takes a client's row, and adds it to that of its /24.
    pub fn add(&mut self, clients: &Interner, client: u32, key: K, row: V, sum: impl Fn(&mut V, &V)) {
        if let Some(v4) = clients.text(client).and_then(|t| t.parse::<Ipv4Addr>().ok()) {
            sum(self.networks.entry((v4.to_bits() >> 8, key)).or_default(), &row);
        }
        self.clients.push((client, key, row));
    }

    /// All rows with the text of their origin, none where there is no client.
    pub fn into_rows<'a>(
        self,
        clients: &'a Interner,
    ) -> impl Iterator<Item = (Option<String>, K, V)> + use<'a, K, V> {
        let own = self
            .clients
            .into_iter()
            .map(|(client, key, row)| (clients.text(client).map(str::to_owned), key, row));
        let networks = self
            .networks
            .into_iter()
            .map(|((high, key), row)| (Some(format!("{}/24", Ipv4Addr::from_bits(high << 8))), key, row));
        own.chain(networks)
    }
}

/// The column `origin`.
#[must_use]
pub fn origin_array(origins: Vec<Option<String>>) -> ArrayRef {
    Arc::new(StringArray::from(origins))
}
