//! What only the files around a source can decide: halves of events near its ends.
//!
//! A held event that nothing has cancelled is counted; a cancel may stand in the file that follows, or, where lines
//! come out of order, in the one before. Whoever knows both files finds the pairs and takes the held events back.

use crate::event::Kind;

use super::super::bins::BinKey;
use super::super::detail::Detailed;
use super::super::detail::account::{Part, place_of};
use super::super::memory::{HORIZON_SECONDS, Half};
use super::Worker;

/// A half of an event that stands alone within the horizon of an end of its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge<'a> {
    /// The identifier, the same in every file.
    pub id: u64,
    /// Where it stands.
    pub key: BinKey,
    /// The event that was counted; none of a cancel.
    pub held: Option<Counted<'a>>,
}

/// An event that was counted and may have to be taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted<'a> {
    /// What was counted.
    pub kind: Kind,
    /// Its client's canonical text, if it has one.
    pub client: Option<&'a str>,
    /// 0 no client, 1 inside, 2 outside.
    pub side: u8,
    /// Hashes of the client and its network as stored summaries have them; 0 for none.
    pub place: (u32, u32),
    /// Addresses counted.
    pub recipients: u32,
    /// The account that it was counted for, and as what.
    pub account: Option<(&'a str, Part)>,
}

const HORIZON: i64 = HORIZON_SECONDS / 60;

impl Worker {
    /// The halves near the ends of what was read, in no order. To be asked before the details are taken.
    pub fn edges(&self) -> impl Iterator<Item = Edge<'_>> {
        self.memory
            .open()
            .filter(|(_, half)| self.is_near_an_end(half.key()))
            .map(|(id, half)| Edge {
                id,
                key: half.key(),
                held: match half {
                    Half::Held(held) => Some(Counted {
                        kind: held.kind,
                        client: self.clients.text(held.client),
                        side: self.clients.side(held.client),
                        place: place_of(&self.clients, held.client),
                        recipients: held.recipients,
                        account: match (held.detailed, &self.detail) {
                            (Detailed::Account(account, part), Some(detail)) => {
                                Some((detail.account(account), part))
                            }
                            _ => None,
                        },
                    }),
                    Half::Cancel(_) => None,
                },
            })
    }

    fn is_near_an_end(&self, key: BinKey) -> bool {
        let Some(stream) = self.streams.get(key.stream as usize) else {
            return false;
        };
        let first = stream.course.ends.map_or(key.minute, |ends| ends.0);
        key.minute - first <= HORIZON || stream.course.newest - key.minute <= HORIZON
    }
}
