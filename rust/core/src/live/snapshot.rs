//! The snapshot: the worker's state and reception's, so that a start replays minutes and not months.
//!
//! One file, `snapshot`, written beside, synced and renamed. It holds the magic with the version of its form, the
//! position and the revision it was taken at, a fingerprint of the settings of counting, and the parts, each with its
//! length; an XXH3 hash of all before it ends it. A file of another version, or a damaged one, is told as an error that
//! says what to do; it is never half read.

use std::io::ErrorKind;
use std::path::Path;

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::closed::write_whole;
use super::intake::IntakeState;
use crate::count::worker::Saved;
use crate::error::{Error, Result};

const MAGIC: &[u8; 8] = b"smsnap01";
/// Name of the file in the state folder.
pub const NAME: &str = "snapshot";

/// What is kept.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// Position in the write-ahead log up to which lines are counted.
    pub position: u64,
    /// The highest revision that was told.
    pub revision: u64,
    /// Stands for the settings that the bins were counted with.
    pub fingerprint: u64,
    /// The worker.
    pub worker: Saved,
}

/// Writes it; returns its bytes.
///
/// # Errors
/// [`Error::Io`]: the disk is full or fails; the snapshot before is still there.
pub fn write(folder: &Path, snapshot: &Snapshot, state: &IntakeState) -> Result<u64> {
    let mut lengths = Vec::new();
    for n in [
        snapshot.position,
        snapshot.revision,
        snapshot.fingerprint,
        snapshot.worker.blobs.len() as u64 + 2,
        state.bytes.len() as u64,
        snapshot.worker.head.len() as u64,
    ] {
        lengths.extend_from_slice(&n.to_le_bytes());
    }
    for blob in &snapshot.worker.blobs {
        lengths.extend_from_slice(&(blob.len() as u64).to_le_bytes());
    }
    let mut parts: Vec<&[u8]> = vec![MAGIC, &lengths, &state.bytes, &snapshot.worker.head];
    parts.extend(snapshot.worker.blobs.iter().map(|b| &**b));
    let mut whole = Xxh3::new();
    for part in &parts {
        whole.update(part);
    }
    let hash = whole.digest().to_le_bytes();
    parts.push(&hash);
    write_whole(folder, NAME, &parts).map_err(|source| Error::Io {
        what: format!("snapshot {}", folder.join(NAME).display()),
        source,
    })?;
    Ok(parts.iter().map(|p| p.len() as u64).sum())
}

/// Reads it; none where there is none.
///
/// # Errors
/// [`Error::Io`], or [`Error::Read`] where it is damaged or of another version.
pub fn read(folder: &Path) -> Result<Option<(Snapshot, IntakeState)>> {
    let path = folder.join(NAME);
    let whole = match std::fs::read(&path) {
        Ok(whole) => whole,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(Error::Io {
                what: format!("snapshot {}", path.display()),
                source,
            });
        }
    };
    parse(&whole).map(Some).map_err(|(offset, message)| Error::Read {
        path,
        offset,
        message: format!(
            "{message}: move it away and start again; what the write-ahead log still holds is then counted anew"
        ),
    })
}

fn parse(whole: &[u8]) -> std::result::Result<(Snapshot, IntakeState), (u64, &'static str)> {
    let (body, hash) = whole.split_last_chunk::<8>().ok_or((0, "no snapshot"))?;
    let rest = body
        .strip_prefix(MAGIC)
        .ok_or((0, "no snapshot of this version"))?;
    if xxh3_64(body) != u64::from_le_bytes(*hash) {
        return Err((0, "the hash is wrong"));
    }
    let cut = (8, "it is cut");
    let mut rest = rest;
    let mut number = || -> std::result::Result<u64, (u64, &'static str)> {
        let (n, more) = rest.split_first_chunk::<8>().ok_or(cut)?;
        rest = more;
        Ok(u64::from_le_bytes(*n))
    };
    let (position, revision, fingerprint, parts) = (number()?, number()?, number()?, number()?);
    if parts > whole.len() as u64 {
        return Err(cut);
    }
    let lengths = (0..parts)
        .map(|_| number())
        .collect::<std::result::Result<Vec<u64>, _>>()?;
    let mut pieces = Vec::with_capacity(lengths.len());
    for length in lengths {
        let length = usize::try_from(length).map_err(|_| cut)?;
        let (piece, more) = rest.split_at_checked(length).ok_or(cut)?;
        rest = more;
        pieces.push(piece);
    }
    let mut pieces = pieces.into_iter();
    let state = IntakeState {
        bytes: pieces.next().ok_or(cut)?.to_vec(),
    };
    let head = pieces.next().ok_or(cut)?.to_vec();
    let worker = Saved {
        head,
        blobs: pieces.map(Into::into).collect(),
    };
    Ok((
        Snapshot {
            position,
            revision,
            fingerprint,
            worker,
        },
        state,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_damage_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(read(folder.path()).expect("nothing").is_none());
        let snapshot = Snapshot {
            position: 7,
            revision: 9,
            fingerprint: 11,
            worker: Saved {
                head: b"head".to_vec(),
                blobs: vec![b"one".as_slice().into(), b"".as_slice().into()],
            },
        };
        let state = IntakeState {
            bytes: b"state".to_vec(),
        };
        let bytes = write(folder.path(), &snapshot, &state).expect("written");
        let (back, of_intake) = read(folder.path()).expect("whole").expect("there");
        assert_eq!((back.position, back.revision, back.fingerprint), (7, 9, 11));
        assert_eq!(back.worker.head, b"head");
        assert_eq!(back.worker.blobs, snapshot.worker.blobs);
        assert_eq!(of_intake, state);
        let path = folder.path().join(NAME);
        let whole = std::fs::read(&path).expect("a file");
        assert_eq!(whole.len() as u64, bytes);
        for at in 0..whole.len() {
            let mut wrong = whole.clone();
            wrong[at] ^= 1;
            assert!(parse(&wrong).is_err(), "{at}");
            assert!(parse(&whole[..at]).is_err(), "{at}");
        }
    }
}
