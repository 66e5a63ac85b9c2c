//! What a query name looks like: its registered domain, and numbers that tell made-up names from others.
//!
//! A name is looked at once and remembered by its hash, until the table is full. Then whoever still needs a look of
//! before asks for it, and the table begins anew.

use crate::count::detail::likely::unlikely;
use crate::count::detail::names::Names;
use crate::count::hash::prefetch;
use crate::domain::Suffixes;

/// Names that are remembered at once.
const NAMES_MOST: usize = 3 << 17;
/// Slots of the table at first, and at most (8 MiB).
const SLOTS_FIRST: usize = 1 << 12;
const SLOTS_MOST: usize = 1 << 19;

/// Leftmost labels that mail look-ups have, in the order of their bits (Ludeña, Musashi et al. on Mytob).
pub const MAIL_LABELS: [&[u8]; 6] = [b"mail", b"smtp", b"mx", b"ns", b"gate", b"relay"];

/// The marks that are bits of mail-like labels.
pub const MAIL: u8 = 0x3f;

/// The mark of a registered domain whose name looks made up.
pub const UNLIKELY: u8 = 0x80;

/// Parts of a bit in which label entropies are kept: sums of them are exact in any order.
pub const ENTROPY_PARTS: f64 = 4096.0;

/// What a name looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Look {
    /// Number of the registered domain.
    pub domain: u32,
    /// Shannon entropy, in 4096ths of a bit, of the characters left of the registered domain (dots left out).
    pub entropy: u16,
    /// Length of the name in bytes without a final dot, 255 at most.
    pub length: u8,
    /// Bit of the leftmost label in [`MAIL_LABELS`] (none where the domain begins with it), and [`UNLIKELY`].
    pub marks: u8,
}

impl Look {
    /// The bit of the leftmost label in [`MAIL_LABELS`], 0 where it is none.
    #[inline]
    #[must_use]
    pub const fn mail(self) -> u8 {
        self.marks & MAIL
    }
}

/// Names looked at.
pub struct Looks {
    /// By hash, 0 where a slot is free.
    slots: Vec<(u64, Look)>,
    used: usize,
    lower: Vec<u8>,
}

impl Default for Looks {
    fn default() -> Self {
        Looks {
            slots: vec![(0, Look::default()); SLOTS_FIRST],
            used: 0,
            lower: Vec::new(),
        }
    }
}

impl Looks {
    /// Whether the table is to be emptied; one more name fits even so.
    #[inline]
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.used >= NAMES_MOST
    }

    /// Forgets every name.
    pub fn clear(&mut self) {
        self.slots.fill((0, Look::default()));
        self.used = 0;
    }

    /// Asks for the place of a hash to be brought into the cache.
    #[inline(always)]
    pub fn prefetch(&self, hash: u64) {
        prefetch(&self.slots, hash as usize & (self.slots.len() - 1));
    }

    #[inline]
    fn slot(&self, hash: u64) -> usize {
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        while self.slots[at].0 != hash && self.slots[at].0 != 0 {
            at = (at + 1) & mask;
        }
        at
    }

    /// What is remembered of a hash.
    #[inline]
    #[must_use]
    pub fn get(&self, hash: u64) -> Option<Look> {
        let (known, look) = self.slots[self.slot(hash)];
        (known == hash).then_some(look)
    }

    /// Remembers a look, which was that of this hash before.
    pub fn put(&mut self, hash: u64, look: Look) {
        if self.used * 4 >= self.slots.len() * 3 && self.slots.len() < SLOTS_MOST {
            let bigger = vec![(0, Look::default()); self.slots.len() * 2];
            for (hash, look) in std::mem::replace(&mut self.slots, bigger) {
                if hash != 0 {
                    let at = self.slot(hash);
                    self.slots[at] = (hash, look);
                }
            }
        }
        if self.used + 1 >= self.slots.len() {
            return;
        }
        let at = self.slot(hash);
        self.used += usize::from(self.slots[at].0 == 0);
        self.slots[at] = (hash, look);
    }

    /// Looks at a name, given its hash, which is not 0.
    #[inline]
    pub fn at(&mut self, name: &[u8], hash: u64, suffixes: &Suffixes, domains: &mut Names) -> Look {
        match self.get(hash) {
            Some(look) => look,
            None => self.look(name, hash, suffixes, domains),
        }
    }

    #[inline(never)]
    fn look(&mut self, name: &[u8], hash: u64, suffixes: &Suffixes, domains: &mut Names) -> Look {
        let name = match name {
            [rest @ .., b'.'] if !rest.is_empty() => rest,
            _ => name,
        };
        self.lower.clear();
        self.lower.extend(name.iter().map(u8::to_ascii_lowercase));
        let (sub, domain) = self
            .lower
            .split_at(suffixes.registered_from(&self.lower).min(self.lower.len()));
        let label = sub.split(|&b| b == b'.').next().unwrap_or(b"");
        let look = Look {
            domain: domains.id(domain),
            entropy: (entropy(sub) * ENTROPY_PARTS).round() as u16,
            length: u8::try_from(name.len()).unwrap_or(u8::MAX),
            marks: MAIL_LABELS
                .iter()
                .position(|&m| m == label)
                .map_or(0, |bit| 1 << bit)
                | if unlikely(domain) { UNLIKELY } else { 0 },
        };
        self.put(hash, look);
        look
    }
}

/// Shannon entropy of the bytes of a text but for its dots, in bits: 0 to 8.
fn entropy(text: &[u8]) -> f64 {
    let mut counts = [0u32; 256];
    for &b in text.iter().filter(|&&b| b != b'.') {
        counts[b as usize] += 1;
    }
    let total = f64::from(counts.iter().sum::<u32>());
    counts
        .iter()
        .filter(|&&c| c > 0)
        .map(|&c| {
            let p = f64::from(c) / total;
            -p * p.log2()
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::count::hash::name_hash;

    #[test]
    fn names_are_looked_at_once_and_alike() {
        let suffixes = Suffixes::parse("example\nco.example\n");
        let mut domains = Names::new(100);
        let mut looks = Looks::default();
        let mut at = |name: &str| {
            let hash = name_hash(name.as_bytes()).max(1);
            let look = looks.at(name.as_bytes(), hash, &suffixes, &mut domains);
            assert_eq!(looks.at(name.as_bytes(), hash, &suffixes, &mut domains), look);
            (domains.text(look.domain).to_owned(), look)
        };
        let (domain, look) = at("abcd.efgh.Shop.co.EXAMPLE.");
        assert_eq!(domain, "shop.co.example");
        assert_eq!((look.entropy, look.length, look.mail()), (3 * 4096, 25, 0));
        assert_eq!(at("MX.shop.example").1.mail(), 4);
        assert_eq!(
            at("mail.example").1.mail(),
            0,
            "a domain called mail is no mail-like label of it"
        );
        assert_eq!(at(".").0, ".");
        assert_eq!(at("mail.xjwqkvzpth.example").1.marks, UNLIKELY | 1);
    }
}
