//! A small seeded generator and a Zipf law drawn from in constant time.

/// SplitMix64 (Steele, Lea and Flood 2014): 64 bits of state, one multiplication chain a draw.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`, evenly (to 32 bits of precision).
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        ((self.next() >> 32) * bound) >> 32
    }
}

/// Draws 0‥n−1 with probability ∝ (k + 1)^−s, by Vose's alias method (1991).
pub(crate) struct Zipf {
    cells: Vec<(u32, u32)>,
}

impl Zipf {
    pub(crate) fn new(n: usize, s: f64) -> Self {
        let weights: Vec<f64> = (0..n).map(|k| ((k + 1) as f64).powf(-s)).collect();
        let scale = n as f64 / weights.iter().sum::<f64>();
        let mut share: Vec<f64> = weights.iter().map(|w| w * scale).collect();
        let (mut small, mut large): (Vec<usize>, Vec<usize>) = (0..n).partition(|&k| share[k] < 1.0);
        let mut cells: Vec<(u32, u32)> = (0..n).map(|k| (u32::MAX, k as u32)).collect();
        while let (Some(&less), Some(&more)) = (small.last(), large.last()) {
            small.pop();
            cells[less] = ((share[less] * f64::from(u32::MAX)) as u32, more as u32);
            share[more] -= 1.0 - share[less];
            if share[more] < 1.0 {
                large.pop();
                small.push(more);
            }
        }
        Self { cells }
    }

    pub(crate) fn draw(&self, random: &mut Random) -> usize {
        let cell = random.below(self.cells.len() as u64) as usize;
        let (keep, alias) = self.cells[cell];
        if (random.next() >> 32) as u32 <= keep {
            cell
        } else {
            alias as usize
        }
    }
}
