//! Looking at 64 bytes at once.
//!
//! The hot loops are generic over [`Wide`]: what every x86-64 processor has ([`Narrow`]), and AVX2 or AVX-512 where
//! the processor has them ([`Avx2`], [`Avx512`]), chosen once a block of lines. All give the same answers.

/// Positions of bytes in a window.
pub trait Wide: Copy {
    /// Whether looking at 64 bytes costs about what looking at a few of them does.
    const CHEAP: bool;

    /// For each of `bytes` one bit for each byte of the window that equals it.
    fn positions<const N: usize>(self, window: &[u8; 64], bytes: [u8; N]) -> [u64; N];

    /// One bit for each byte of the window that belongs to the class.
    fn of_class(self, window: &[u8; 64], class: &Class) -> u64;

    /// One bit for each byte that both windows have in common.
    fn common(self, one: &[u8; 64], other: &[u8; 64]) -> u64;

    /// One bit for each byte of the window that is a digit.
    fn digits(self, window: &[u8; 64]) -> u64;

    /// Whether each byte of the window is one of the `span + 1` bytes from `least` on that stand at its place.
    fn within(self, window: &[u8; 64], least: &[u8; 64], span: &[u8; 64]) -> bool;
}

/// A set of ASCII bytes, in the form in which vector instructions look bytes up: one bit for each upper half of a
/// byte, the bits of each lower half.
#[derive(Clone, Copy)]
pub struct Class {
    low: [u8; 16],
    high: [u8; 16],
}

impl Class {
    /// The set of these bytes, of which those above 127 are left out.
    #[must_use]
    pub const fn of(bytes: &[u8]) -> Class {
        let mut class = Class {
            low: [0; 16],
            high: [0; 16],
        };
        let mut i = 0;
        while i < 8 {
            class.high[i] = 1 << i;
            i += 1;
        }
        i = 0;
        while i < bytes.len() {
            let byte = bytes[i];
            if byte < 128 {
                class.low[(byte & 15) as usize] |= 1 << (byte >> 4);
            }
            i += 1;
        }
        class
    }

    /// Whether a byte is in the set.
    #[inline(always)]
    #[must_use]
    pub const fn has(&self, byte: u8) -> bool {
        self.low[(byte & 15) as usize] & self.high[(byte >> 4) as usize] != 0
    }
}

fn class_by_byte(window: &[u8; 64], class: &Class) -> u64 {
    window
        .iter()
        .enumerate()
        .fold(0, |bits, (i, &b)| bits | (u64::from(class.has(b)) << i))
}

fn common_by_byte(one: &[u8; 64], other: &[u8; 64]) -> u64 {
    one.iter()
        .zip(other)
        .enumerate()
        .fold(0, |bits, (i, (a, b))| bits | (u64::from(a == b) << i))
}

fn digits_by_byte(window: &[u8; 64]) -> u64 {
    window
        .iter()
        .enumerate()
        .fold(0, |bits, (i, b)| bits | (u64::from(b.is_ascii_digit()) << i))
}

/// Without a branch, so that the compiler makes vectors of it.
fn within_by_byte(window: &[u8; 64], least: &[u8; 64], span: &[u8; 64]) -> bool {
    let bytes = window.iter().zip(least.iter().zip(span));
    bytes.fold(0, |out, (b, (least, span))| {
        out | u8::from(b.wrapping_sub(*least) > *span)
    }) == 0
}

/// What every processor of the architecture has.
#[derive(Clone, Copy)]
pub struct Narrow;

impl Wide for Narrow {
    const CHEAP: bool = false;

    fn of_class(self, window: &[u8; 64], class: &Class) -> u64 {
        class_by_byte(window, class)
    }

    fn common(self, one: &[u8; 64], other: &[u8; 64]) -> u64 {
        common_by_byte(one, other)
    }

    fn digits(self, window: &[u8; 64]) -> u64 {
        digits_by_byte(window)
    }

    fn within(self, window: &[u8; 64], least: &[u8; 64], span: &[u8; 64]) -> bool {
        within_by_byte(window, least, span)
    }

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
            && std::arch::is_x86_feature_detected!("bmi2")
            && std::arch::is_x86_feature_detected!("lzcnt")
            && std::arch::is_x86_feature_detected!("popcnt");
        has.then_some(Avx2(()))
    }
}

#[cfg(target_arch = "x86_64")]
impl Wide for Avx2 {
    const CHEAP: bool = true;

    #[inline(always)]
    fn of_class(self, window: &[u8; 64], class: &Class) -> u64 {
        use std::arch::x86_64::{
            _mm_loadu_si128, _mm256_and_si256, _mm256_broadcastsi128_si256, _mm256_cmpeq_epi8,
            _mm256_loadu_si256, _mm256_movemask_epi8, _mm256_set1_epi8, _mm256_setzero_si256,
            _mm256_shuffle_epi8, _mm256_srli_epi16,
        };
        // SAFETY: an `Avx2` exists only where the processor has AVX2; the loads are unaligned and lie within the
        // 64 and the 16 bytes.
        unsafe {
            let low = _mm256_broadcastsi128_si256(_mm_loadu_si128(class.low.as_ptr().cast()));
            let high = _mm256_broadcastsi128_si256(_mm_loadu_si128(class.high.as_ptr().cast()));
            let nibble = _mm256_set1_epi8(15);
            let mut found = 0;
            let mut half = 0;
            while half < 2 {
                let text = _mm256_loadu_si256(window.as_ptr().add(32 * half).cast());
                // A byte above 127 looks up nothing.
                let lows = _mm256_shuffle_epi8(low, text);
                let uppers = _mm256_and_si256(_mm256_srli_epi16::<4>(text), nibble);
                let both = _mm256_and_si256(lows, _mm256_shuffle_epi8(high, uppers));
                let not = _mm256_movemask_epi8(_mm256_cmpeq_epi8(both, _mm256_setzero_si256())) as u32;
                found |= u64::from(!not) << (32 * half);
                half += 1;
            }
            found
        }
    }

    #[inline(always)]
    fn common(self, one: &[u8; 64], other: &[u8; 64]) -> u64 {
        use std::arch::x86_64::{_mm256_cmpeq_epi8, _mm256_loadu_si256, _mm256_movemask_epi8};
        // SAFETY: an `Avx2` exists only where the processor has AVX2; the loads are unaligned and lie within the
        // 64 bytes.
        unsafe {
            let mut found = 0;
            let mut half = 0;
            while half < 2 {
                let a = _mm256_loadu_si256(one.as_ptr().add(32 * half).cast());
                let b = _mm256_loadu_si256(other.as_ptr().add(32 * half).cast());
                found |= u64::from(_mm256_movemask_epi8(_mm256_cmpeq_epi8(a, b)) as u32) << (32 * half);
                half += 1;
            }
            found
        }
    }

    #[inline(always)]
    fn digits(self, window: &[u8; 64]) -> u64 {
        use std::arch::x86_64::{
            _mm256_cmpeq_epi8, _mm256_loadu_si256, _mm256_min_epu8, _mm256_movemask_epi8, _mm256_set1_epi8,
            _mm256_sub_epi8,
        };
        // SAFETY: an `Avx2` exists only where the processor has AVX2; the loads are unaligned and lie within the
        // 64 bytes.
        unsafe {
            let mut found = 0;
            let mut half = 0;
            while half < 2 {
                let text = _mm256_loadu_si256(window.as_ptr().add(32 * half).cast());
                let above = _mm256_sub_epi8(text, _mm256_set1_epi8(b'0' as i8));
                let small = _mm256_cmpeq_epi8(_mm256_min_epu8(above, _mm256_set1_epi8(9)), above);
                found |= u64::from(_mm256_movemask_epi8(small) as u32) << (32 * half);
                half += 1;
            }
            found
        }
    }

    #[inline(always)]
    fn within(self, window: &[u8; 64], least: &[u8; 64], span: &[u8; 64]) -> bool {
        use std::arch::x86_64::{
            _mm256_loadu_si256, _mm256_or_si256, _mm256_setzero_si256, _mm256_sub_epi8, _mm256_subs_epu8,
            _mm256_testz_si256,
        };
        // SAFETY: an `Avx2` exists only where the processor has AVX2; the loads are unaligned and lie within the
        // 64 bytes.
        unsafe {
            let mut past = _mm256_setzero_si256();
            let mut half = 0;
            while half < 2 {
                let load = |bytes: &[u8; 64]| _mm256_loadu_si256(bytes.as_ptr().add(32 * half).cast());
                let above = _mm256_sub_epi8(load(window), load(least));
                past = _mm256_or_si256(past, _mm256_subs_epu8(above, load(span)));
                half += 1;
            }
            _mm256_testz_si256(past, past) == 1
        }
    }

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

/// AVX-512 with byte instructions, which give the bits of 64 bytes at once. Made by [`Avx512::detect`] only, so that
/// whoever holds one may use it.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub struct Avx512(());

#[cfg(target_arch = "x86_64")]
impl Avx512 {
    /// AVX-512 on bytes with the bit instructions that came with AVX2, if the processor has them.
    #[inline]
    #[must_use]
    pub fn detect() -> Option<Avx512> {
        let has = std::arch::is_x86_feature_detected!("avx512bw")
            && std::arch::is_x86_feature_detected!("avx512vl")
            && Avx2::detect().is_some();
        has.then_some(Avx512(()))
    }
}

#[cfg(target_arch = "x86_64")]
impl Wide for Avx512 {
    const CHEAP: bool = true;

    #[inline(always)]
    fn of_class(self, window: &[u8; 64], class: &Class) -> u64 {
        use std::arch::x86_64::{
            _mm_loadu_si128, _mm512_and_si512, _mm512_broadcast_i32x4, _mm512_loadu_si512, _mm512_set1_epi8,
            _mm512_shuffle_epi8, _mm512_srli_epi16, _mm512_test_epi8_mask,
        };
        // SAFETY: an `Avx512` exists only where the processor has its instructions; the loads are unaligned and lie
        // within the 64 and the 16 bytes.
        unsafe {
            let low = _mm512_broadcast_i32x4(_mm_loadu_si128(class.low.as_ptr().cast()));
            let high = _mm512_broadcast_i32x4(_mm_loadu_si128(class.high.as_ptr().cast()));
            let text = _mm512_loadu_si512(window.as_ptr().cast());
            // A byte above 127 looks up nothing.
            let lows = _mm512_shuffle_epi8(low, text);
            let uppers = _mm512_and_si512(_mm512_srli_epi16::<4>(text), _mm512_set1_epi8(15));
            _mm512_test_epi8_mask(lows, _mm512_shuffle_epi8(high, uppers))
        }
    }

    #[inline(always)]
    fn common(self, one: &[u8; 64], other: &[u8; 64]) -> u64 {
        use std::arch::x86_64::{_mm512_cmpeq_epi8_mask, _mm512_loadu_si512};
        // SAFETY: an `Avx512` exists only where the processor has its instructions; the loads are unaligned and lie
        // within the 64 bytes.
        unsafe {
            _mm512_cmpeq_epi8_mask(
                _mm512_loadu_si512(one.as_ptr().cast()),
                _mm512_loadu_si512(other.as_ptr().cast()),
            )
        }
    }

    #[inline(always)]
    fn digits(self, window: &[u8; 64]) -> u64 {
        use std::arch::x86_64::{
            _mm512_cmple_epu8_mask, _mm512_loadu_si512, _mm512_set1_epi8, _mm512_sub_epi8,
        };
        // SAFETY: an `Avx512` exists only where the processor has its instructions; the load is unaligned and lies
        // within the 64 bytes.
        unsafe {
            let text = _mm512_loadu_si512(window.as_ptr().cast());
            let above = _mm512_sub_epi8(text, _mm512_set1_epi8(b'0' as i8));
            _mm512_cmple_epu8_mask(above, _mm512_set1_epi8(9))
        }
    }

    #[inline(always)]
    fn within(self, window: &[u8; 64], least: &[u8; 64], span: &[u8; 64]) -> bool {
        use std::arch::x86_64::{_mm512_cmpgt_epu8_mask, _mm512_loadu_si512, _mm512_sub_epi8};
        // SAFETY: an `Avx512` exists only where the processor has its instructions; the loads are unaligned and lie
        // within the 64 bytes.
        unsafe {
            let load = |bytes: &[u8; 64]| _mm512_loadu_si512(bytes.as_ptr().cast());
            _mm512_cmpgt_epu8_mask(_mm512_sub_epi8(load(window), load(least)), load(span)) == 0
        }
    }

    #[inline(always)]
    fn positions<const N: usize>(self, window: &[u8; 64], bytes: [u8; N]) -> [u64; N] {
        use std::arch::x86_64::{_mm512_cmpeq_epi8_mask, _mm512_loadu_si512, _mm512_set1_epi8};
        // SAFETY: an `Avx512` exists only where the processor has its instructions; the load is unaligned and lies
        // within the 64 bytes.
        unsafe {
            let text = _mm512_loadu_si512(window.as_ptr().cast());
            let mut found = [0; N];
            let mut i = 0;
            while i < N {
                found[i] = _mm512_cmpeq_epi8_mask(text, _mm512_set1_epi8(bytes[i] as i8));
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
        fn all_ways_agree_with_the_definition(window in proptest::collection::vec(b'a'..b'e', 64), byte in b'a'..b'f') {
            let window: &[u8; 64] = window.as_slice().try_into().expect("64 bytes");
            let expected = window.iter().enumerate().fold(0, |bits, (i, &b)| bits | (u64::from(b == byte) << i));
            prop_assert_eq!(Narrow.positions(window, [byte, b'z']), [expected, 0]);
            #[cfg(target_arch = "x86_64")]
            if let Some(avx2) = Avx2::detect() {
                prop_assert_eq!(avx2.positions(window, [byte, b'z']), [expected, 0]);
            }
            #[cfg(target_arch = "x86_64")]
            if let Some(avx512) = Avx512::detect() {
                prop_assert_eq!(avx512.positions(window, [byte, b'z']), [expected, 0]);
            }
        }

        #[test]
        fn classes_and_equal_bytes_agree_with_the_definition(
            one in proptest::collection::vec(any::<u8>(), 64),
            other in proptest::collection::vec(any::<u8>(), 64),
            take in any::<u64>(),
            set in proptest::collection::vec(any::<u8>(), 0..80),
        ) {
            let one: &[u8; 64] = one.as_slice().try_into().expect("64 bytes");
            let mut other: [u8; 64] = other.as_slice().try_into().expect("64 bytes");
            for i in (0..64).filter(|i| take >> i & 1 == 1) {
                other[i] = one[i];
            }
            let class = Class::of(&set);
            for byte in 0..=255 {
                prop_assert_eq!(class.has(byte), byte < 128 && set.contains(&byte));
            }
            prop_assert_eq!(Narrow.common(one, &other) & take, take);
            let least = other.map(|b| b.wrapping_sub(4));
            let spans = [[255; 64], [take as u8 | 127; 64], least].map(|mut span| {
                (0..64).filter(|i| take >> i & 1 == 1).for_each(|i| span[i] = span[i].max(4));
                span
            });
            let digits = Narrow.digits(one);
            for (i, b) in one.iter().enumerate() {
                prop_assert_eq!(digits >> i & 1 == 1, b.is_ascii_digit());
            }
            for span in &spans {
                let all = (0..64).all(|i| one[i].wrapping_sub(least[i]) <= span[i]);
                prop_assert_eq!(Narrow.within(one, &least, span), all);
                #[cfg(target_arch = "x86_64")]
                if let Some(avx2) = Avx2::detect() {
                    prop_assert_eq!(avx2.within(one, &least, span), all);
                    prop_assert_eq!(avx2.digits(one), digits);
                }
                #[cfg(target_arch = "x86_64")]
                if let Some(avx512) = Avx512::detect() {
                    prop_assert_eq!(avx512.within(one, &least, span), all);
                    prop_assert_eq!(avx512.digits(one), digits);
                }
            }
            #[cfg(target_arch = "x86_64")]
            if let Some(avx2) = Avx2::detect() {
                prop_assert_eq!(avx2.of_class(one, &class), Narrow.of_class(one, &class));
                prop_assert_eq!(avx2.common(one, &other), Narrow.common(one, &other));
            }
            #[cfg(target_arch = "x86_64")]
            if let Some(avx512) = Avx512::detect() {
                prop_assert_eq!(avx512.of_class(one, &class), Narrow.of_class(one, &class));
                prop_assert_eq!(avx512.common(one, &other), Narrow.common(one, &other));
            }
        }
    }
}
