//! Looking at 64 bytes at once.
//!
//! The hot loops are generic over [`Wide`]: what every x86-64 processor has ([`Narrow`]), and AVX2 where the
//! processor has it ([`Avx2`]), chosen once a block of lines. Both give the same answers.

/// Positions of bytes in a window.
pub trait Wide: Copy {
    /// For each of `bytes` one bit for each byte of the window that equals it.
    fn positions<const N: usize>(self, window: &[u8; 64], bytes: [u8; N]) -> [u64; N];
}

/// What every processor of the architecture has.
#[derive(Clone, Copy)]
pub struct Narrow;

impl Wide for Narrow {
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn positions<const N: usize>(self, window: &[u8; 64], bytes: [u8; N]) -> [u64; N] {
        use std::arch::x86_64::{_mm_cmpeq_epi8, _mm_loadu_si128, _mm_movemask_epi8, _mm_set1_epi8};
        let mut found = [0; N];
        for quarter in 0..4 {
            // SAFETY: SSE2 is part of x86_64; the load is unaligned and lies within the 64 bytes.
            unsafe {
                let text = _mm_loadu_si128(window.as_ptr().add(16 * quarter).cast());
                for (bits, byte) in found.iter_mut().zip(bytes) {
                    let equal = _mm_cmpeq_epi8(text, _mm_set1_epi8(byte as i8));
                    *bits |= u64::from(_mm_movemask_epi8(equal) as u32) << (16 * quarter);
                }
            }
        }
        found
    }

    #[cfg(not(target_arch = "x86_64"))]
    #[inline(always)]
    fn positions<const N: usize>(self, window: &[u8; 64], bytes: [u8; N]) -> [u64; N] {
        bytes.map(|byte| {
            window
                .iter()
                .enumerate()
                .fold(0, |bits, (i, &b)| bits | (u64::from(b == byte) << i))
        })
    }
}

/// AVX2. Made by [`Avx2::detect`] only, so that whoever holds one may use it.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub struct Avx2(());

#[cfg(target_arch = "x86_64")]
impl Avx2 {
    /// AVX2 with the bit instructions that came with it, if the processor has them.
    #[inline]
    #[must_use]
    pub fn detect() -> Option<Avx2> {
        let has = std::arch::is_x86_feature_detected!("avx2")
            && std::arch::is_x86_feature_detected!("bmi1")
            && std::arch::is_x86_feature_detected!("bmi2");
        has.then_some(Avx2(()))
    }
}

#[cfg(target_arch = "x86_64")]
impl Wide for Avx2 {
    #[inline(always)]
    fn positions<const N: usize>(self, window: &[u8; 64], bytes: [u8; N]) -> [u64; N] {
        use std::arch::x86_64::{
            _mm256_cmpeq_epi8, _mm256_loadu_si256, _mm256_movemask_epi8, _mm256_set1_epi8,
        };
        // SAFETY: an `Avx2` exists only where the processor has AVX2; both loads are unaligned and lie within
        // the 64 bytes.
        unsafe {
            let low = _mm256_loadu_si256(window.as_ptr().cast());
            let high = _mm256_loadu_si256(window.as_ptr().add(32).cast());
            let mut found = [0; N];
            let mut i = 0;
            while i < N {
                let wanted = _mm256_set1_epi8(bytes[i] as i8);
                let low = _mm256_movemask_epi8(_mm256_cmpeq_epi8(low, wanted)) as u32;
                let high = _mm256_movemask_epi8(_mm256_cmpeq_epi8(high, wanted)) as u32;
                found[i] = u64::from(low) | (u64::from(high) << 32);
                i += 1;
            }
            found
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn both_ways_agree_with_the_definition(window in proptest::collection::vec(b'a'..b'e', 64), byte in b'a'..b'f') {
            let window: &[u8; 64] = window.as_slice().try_into().expect("64 bytes");
            let expected = window.iter().enumerate().fold(0, |bits, (i, &b)| bits | (u64::from(b == byte) << i));
            prop_assert_eq!(Narrow.positions(window, [byte, b'z']), [expected, 0]);
            #[cfg(target_arch = "x86_64")]
            if let Some(avx2) = Avx2::detect() {
                prop_assert_eq!(avx2.positions(window, [byte, b'z']), [expected, 0]);
            }
        }
    }
}
