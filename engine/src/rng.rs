//! A small seeded generator: for the simulator, for tests, for picking two endpoints at random.
//!
//! xoshiro256++ (Blackman and Vigna, "Scrambled linear pseudorandom number generators"), its state filled by
//! splitmix64. Fast and even, and the same sequence for the same seed for ever; not for secrets.

use std::time::Duration;

/// One step of splitmix64: also a good way to spread the bits of a number.
#[inline]
pub fn splitmix64(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// See the module's documentation.
#[derive(Clone, Debug)]
pub struct Rng {
    state: [u64; 4],
}

impl Rng {
    pub fn new(mut seed: u64) -> Self {
        Self { state: std::array::from_fn(|_| splitmix64(&mut seed)) }
    }

    #[inline]
    pub fn next_u64(&mut self) -> u64 {
        let [a, b, c, d] = self.state;
        let result = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
        let (c, d) = (c ^ a, d ^ b);
        self.state = [a ^ d, b ^ c, c ^ (b << 17), d.rotate_left(45)];
        result
    }

    /// A number from `0..bound`; zero when the bound is zero.
    ///
    /// Multiply and shift (Lemire) without the rejection step: the bias is below `bound / 2^64`.
    #[inline]
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// As [`Rng::below`], for an index.
    #[inline]
    pub fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// True in `numerator` of `denominator` cases.
    pub fn chance(&mut self, numerator: u64, denominator: u64) -> bool {
        self.below(denominator) < numerator
    }

    /// Two different indices below `len`, each pair equally likely; `None` when there are not two.
    #[inline]
    pub fn two_of(&mut self, len: usize) -> Option<(usize, usize)> {
        if len < 2 {
            return None;
        }
        let first = self.index(len);
        let second = self.index(len - 1);
        Some((first, if second < first { second } else { second + 1 }))
    }

    /// A time from zero up to `max`, for jitter.
    pub fn duration_up_to(&mut self, max: Duration) -> Duration {
        let nanos = u64::try_from(max.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(self.below(nanos.saturating_add(1)))
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.index(last + 1));
        }
    }

    pub fn fill(&mut self, bytes: &mut [u8]) {
        for piece in bytes.chunks_mut(8) {
            let random = self.next_u64().to_le_bytes();
            piece.copy_from_slice(&random[..piece.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The authors' C code with the state 1, 2, 3, 4 prints these.
    #[test]
    fn it_is_xoshiro256_plus_plus() {
        let mut rng = Rng { state: [1, 2, 3, 4] };
        let expected = [41_943_041, 58_720_359, 3_588_806_011_781_223, 3_591_011_842_654_386];
        assert_eq!(expected.map(|_| rng.next_u64()), expected);
    }

    #[test]
    fn splitmix_matches_its_reference() {
        let mut state = 1_234_567;
        assert_eq!(splitmix64(&mut state), 6_457_827_717_110_365_317);
        assert_eq!(splitmix64(&mut state), 3_203_168_211_198_807_973);
    }

    #[test]
    fn numbers_stay_below_their_bound_and_reach_every_value() {
        let mut rng = Rng::new(7);
        let mut seen = [0_u32; 10];
        for _ in 0..10_000 {
            seen[rng.index(10)] += 1;
        }
        assert!(seen.iter().all(|count| (800..1200).contains(count)), "{seen:?}");
        assert_eq!(rng.below(0), 0);
    }

    #[test]
    fn two_are_different_and_every_pair_comes() {
        let mut rng = Rng::new(8);
        assert_eq!(rng.two_of(1), None);
        let mut seen = [[0_u32; 3]; 3];
        for _ in 0..6000 {
            let (first, second) = rng.two_of(3).unwrap();
            seen[first][second] += 1;
        }
        for (first, row) in seen.iter().enumerate() {
            for (second, count) in row.iter().enumerate() {
                assert!(if first == second { *count == 0 } else { (800..1200).contains(count) }, "{seen:?}");
            }
        }
    }

    #[test]
    fn the_rest_keeps_its_bounds() {
        let mut rng = Rng::new(9);
        let max = Duration::from_millis(3);
        assert!((0..1000).all(|_| rng.duration_up_to(max) <= max));
        assert!(!rng.chance(0, 5) && rng.chance(5, 5));
        let mut items: Vec<u32> = (0..50).collect();
        rng.shuffle(&mut items);
        assert!(!items.is_sorted());
        items.sort_unstable();
        assert!(items.into_iter().eq(0..50));
        let mut bytes = [0; 13];
        rng.fill(&mut bytes);
        assert!(bytes.iter().filter(|byte| **byte != 0).count() > 8);
    }
}
