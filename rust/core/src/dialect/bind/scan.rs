//! Finding the ends of short fields, and comparing keywords as numbers.
//!
//! A field of a query line is a few bytes long. The call of a general search would cost more than it
//! saves, and a loop over single bytes ends where the processor did not expect it, once a field. So
//! sixteen bytes are compared at once, which nearly always settles a field in one step; the end of the
//! text is read with what lies before it and shifted, instead of byte by byte.

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// A keyword of at most eight bytes as [`word`] reads it.
pub(in crate::dialect) const fn key(text: &[u8]) -> u64 {
    let mut out = 0;
    let mut i = 0;
    while i < text.len() {
        out |= (text[i] as u64) << (8 * i);
        i += 1;
    }
    out
}

/// The low `n` bytes (0 to 8).
#[inline]
pub(super) const fn mask(n: usize) -> u64 {
    if n >= 8 { u64::MAX } else { (1 << (8 * n)) - 1 }
}

/// The eight bytes at `at`, the first in the lowest byte; zeros past the end.
#[inline]
pub(super) fn word(text: &[u8], at: usize) -> u64 {
    if let Some(chunk) = text.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        return u64::from_le_bytes(*chunk);
    }
    let left = text.len().saturating_sub(at);
    match text.last_chunk::<8>() {
        // The end of the text without a loop: its last eight bytes, the earlier ones pushed out.
        Some(chunk) if left > 0 => u64::from_le_bytes(*chunk) >> (8 * (8 - left)),
        Some(_) => 0,
        None => text
            .get(at..)
            .unwrap_or_default()
            .iter()
            .rev()
            .fold(0, |out, &b| (out << 8) | u64::from(b)),
    }
}

/// Marks each byte that equals `byte`. Bytes above the first match may be marked wrongly, so only the
/// lowest mark may be used; that holds for the union of several calls, too.
#[inline]
pub(super) const fn marks(word: u64, byte: u8) -> u64 {
    let x = word ^ (ONES * byte as u64);
    x.wrapping_sub(ONES) & !x & HIGHS
}

/// Position of the first of `bytes` from `at` on.
#[inline]
pub(super) fn find<const N: usize>(text: &[u8], mut at: usize, bytes: [u8; N]) -> Option<usize> {
    let rest = text.get(at..)?;
    // Nearly every field ends within the first sixteen bytes, so that this is one step without a guess.
    #[cfg(target_arch = "x86_64")]
    {
        let (chunks, _) = rest.as_chunks::<16>();
        for chunk in chunks {
            let hits = hits_in_16(chunk, bytes);
            if hits != 0 {
                return Some(at + hits.trailing_zeros() as usize);
            }
            at += 16;
        }
        if let Some(chunk) = text.last_chunk::<16>() {
            // The end of the text without a loop: its last sixteen bytes, the earlier ones pushed out.
            let hits = hits_in_16(chunk, bytes) >> (at + 16 - text.len());
            return (hits != 0).then(|| at + hits.trailing_zeros() as usize);
        }
        rest.iter().position(|b| bytes.contains(b)).map(|i| at + i)
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let (chunks, tail) = rest.as_chunks::<8>();
        for chunk in chunks {
            let word = u64::from_le_bytes(*chunk);
            let hits = bytes.iter().fold(0, |hits, &byte| hits | marks(word, byte));
            if hits != 0 {
                return Some(at + (hits.trailing_zeros() / 8) as usize);
            }
            at += 8;
        }
        tail.iter().position(|b| bytes.contains(b)).map(|i| at + i)
    }
}

/// One bit for each byte of the chunk that is one of `bytes`.
#[cfg(target_arch = "x86_64")]
#[inline]
fn hits_in_16<const N: usize>(chunk: &[u8; 16], bytes: [u8; N]) -> u32 {
    use std::arch::x86_64::{
        __m128i, _mm_cmpeq_epi8, _mm_loadu_si128, _mm_movemask_epi8, _mm_or_si128, _mm_set1_epi8,
        _mm_setzero_si128,
    };
    // SAFETY: these need SSE2, which every x86-64 processor has; the load takes any alignment and reads
    // the sixteen bytes of `chunk`.
    unsafe {
        let text = _mm_loadu_si128(chunk.as_ptr().cast::<__m128i>());
        let mut hits = _mm_setzero_si128();
        for byte in bytes {
            hits = _mm_or_si128(hits, _mm_cmpeq_epi8(text, _mm_set1_epi8(byte as i8)));
        }
        _mm_movemask_epi8(hits) as u32
    }
}

/// The byte at `at`; zero past the end (no field contains one that matters).
#[inline]
pub(super) fn byte(text: &[u8], at: usize) -> u8 {
    text.get(at).copied().unwrap_or(0)
}
