//! Texts of one worker (accounts, domains) by number, bounded in number and in length.

use std::borrow::Cow;

use hashbrown::HashMap;

use crate::count::hash::{name_hash, process_seed, seeded_hash};
use crate::count::intern::SHED_NAME;

/// Bytes of a text that are kept.
const TEXT_MOST: usize = 256;

/// The number that all texts past the bound share.
pub const SHED: u32 = 0;

/// Texts by number.
pub struct Names {
    /// Numbers by a seeded hash: two of a million texts meet with a chance of one in 30 million.
    ids: HashMap<u64, u32, foldhash::quality::RandomState>,
    texts: Vec<Box<str>>,
    /// Hashes of the texts that are the same everywhere.
    hashes: Vec<u64>,
    most: usize,
    /// Times that a text past the bound was asked for.
    pub shed: u64,
}

impl Names {
    /// No texts but the shared one; at most `most` others.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Names {
            ids: HashMap::default(),
            texts: vec![SHED_NAME.into()],
            hashes: vec![name_hash(SHED_NAME.as_bytes())],
            most,
            shed: 0,
        }
    }

    /// The number of a text, of which at most 256 bytes count; what is no UTF-8 is replaced.
    pub fn id(&mut self, text: &[u8]) -> u32 {
        let text = cut(text);
        let key = seeded_hash(text.as_bytes(), process_seed());
        if let Some(&id) = self.ids.get(&key) {
            return id;
        }
        if self.texts.len() > self.most {
            self.shed += 1;
            return SHED;
        }
        let id = self.texts.len() as u32;
        self.hashes.push(name_hash(text.as_bytes()));
        self.texts.push(text.into());
        self.ids.insert(key, id);
        id
    }

    /// The text of a number.
    #[must_use]
    pub fn text(&self, id: u32) -> &str {
        self.texts.get(id as usize).map_or(SHED_NAME, |t| t)
    }

    /// A hash of the text that is the same everywhere.
    #[must_use]
    pub fn stable_hash(&self, id: u32) -> u64 {
        self.hashes.get(id as usize).copied().unwrap_or(0)
    }

    /// Number of texts, the shared one included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.texts.len()
    }

    /// Never: the shared one is always there.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// Whether it is three quarters full.
    #[must_use]
    pub fn is_filling(&self) -> bool {
        self.texts.len() > self.most / 4 * 3
    }

    /// A list of the texts that are used, and their numbers in it; the others are forgotten.
    #[must_use]
    pub fn renewed(&self, used: &[bool]) -> (Names, Vec<u32>) {
        let mut fresh = Names::new(self.most);
        fresh.shed = self.shed;
        let map = self
            .texts
            .iter()
            .enumerate()
            .map(|(id, text)| match used.get(id) {
                Some(true) if id > 0 => fresh.id(text.as_bytes()),
                _ => SHED,
            })
            .collect();
        (fresh, map)
    }

    /// A list of these texts in their order, with the bound of another.
    #[must_use]
    pub fn restored(texts: &[String], shed: u64, like: &Names) -> Names {
        let mut names = Names::new(usize::MAX);
        for text in texts {
            names.id(text.as_bytes());
        }
        Names {
            most: like.most,
            shed,
            ..names
        }
    }

    /// The texts by number, without the shared one.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.texts.iter().skip(1).map(AsRef::as_ref)
    }

    /// The numbers here of all texts of another list, by their numbers there.
    pub fn adopt(&mut self, other: &Names) -> Vec<u32> {
        let mut map = vec![SHED];
        map.extend(other.texts.iter().skip(1).map(|t| self.id(t.as_bytes())));
        self.shed += other.shed;
        map
    }
}

/// At most 256 bytes, cut where a character ends.
fn cut(text: &[u8]) -> Cow<'_, str> {
    let short = text.get(..TEXT_MOST).unwrap_or(text);
    let short = match std::str::from_utf8(short) {
        Ok(s) => return Cow::Borrowed(s),
        // A character that the bound cut in two is left out.
        Err(e) if short.len() < text.len() && e.error_len().is_none() => &short[..e.valid_up_to()],
        Err(_) => short,
    };
    let lossy = String::from_utf8_lossy(short);
    if lossy.len() <= TEXT_MOST {
        return lossy;
    }
    let end = (0..=TEXT_MOST)
        .rev()
        .find(|&i| lossy.is_char_boundary(i))
        .unwrap_or(0);
    Cow::Owned(lossy[..end].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_bounded_in_number_and_length() {
        let mut n = Names::new(2);
        let a = n.id(b"alice");
        assert_eq!(n.text(a), "alice");
        let long = n.id(&[&b"\xc3\xa9".repeat(200)[..], b"x"].concat());
        assert_eq!(n.text(long).len(), 256);
        assert_eq!(n.id(b"carol"), SHED);
        assert_eq!(n.text(SHED), "(shed)");
        assert_eq!((n.shed, n.id(b"alice")), (1, a));
    }

    #[test]
    fn hostile_bytes_stay_within_the_bound() {
        let mut n = Names::new(10);
        for bytes in [vec![0xff; 1000], b"\xe3\x81".repeat(300), Vec::new(), vec![0; 3]] {
            let id = n.id(&bytes);
            assert!(n.text(id).len() <= TEXT_MOST);
        }
    }
}
