//! Random numbers for augmentation and for the order of training data: SplitMix64, which is a counter and a mixing function.
//!
//! The same seed gives the same numbers on every machine and in every version: the generator is written out here, its derived numbers use
//! only operations that IEEE 754 fixes, and a snapshot in the tests holds it still. A generator is made from what it is for (an epoch, an item)
//! by [`Random::of`], so that no item depends on how many numbers another one took.
//!
//! Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014; the constants are Stafford's mix 13.

/// What the counter grows by: 2^64 divided by the golden ratio.
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// A source of random numbers. Not for secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Random {
    counter: u64,
}

impl Random {
    /// The generator of `seed`.
    pub fn new(seed: u64) -> Self {
        Self { counter: seed }
    }

    /// The generator of several numbers, in their order: a seed, an epoch, an item.
    pub fn of(parts: &[u64]) -> Self {
        Self::new(seed_of(parts))
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.counter = self.counter.wrapping_add(STEP);
        mix(self.counter)
    }

    /// A number from 0 up to and without 1, of 53 bits.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
    }

    /// A number from `low` to `high`.
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// A whole number below `count`, which must not be 0. Each is as likely as the others up to `count` in 2^64.
    pub fn below(&mut self, count: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(count)) >> 64) as u64
    }

    /// An index below `count`, which must not be 0.
    pub fn index(&mut self, count: usize) -> usize {
        self.below(count as u64) as usize
    }

    /// True with this probability. A number is taken even where the answer is certain, so that what follows does not depend on it.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// An index, each with the likelihood of its weight; none if no weight is above 0.
    pub fn weighted(&mut self, weights: impl IntoIterator<Item = f64, IntoIter: Clone>) -> Option<usize> {
        let weights = weights.into_iter();
        let total: f64 = weights.clone().filter(|&weight| weight > 0.0).sum();
        let mut left = self.unit() * total;
        let mut last = None;
        for (index, weight) in weights.enumerate().filter(|&(_, weight)| weight > 0.0) {
            last = Some(index);
            if left < weight {
                break;
            }
            left -= weight;
        }
        last
    }

    /// Brings `items` into a random order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.index(last + 1));
        }
    }
}

/// One seed of several numbers, in their order.
pub fn seed_of(parts: &[u64]) -> u64 {
    parts.iter().fold(parts.len() as u64, |seed, part| mix(seed.wrapping_add(STEP) ^ mix(part.wrapping_add(STEP))))
}

/// A permutation of the 64-bit numbers in which every bit depends on every other.
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_splitmix64() {
        // The first outputs for seed 1234567 in the public-domain C code of Vigna.
        let mut random = Random::new(1_234_567);
        let expected = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423, 4_593_380_528_125_082_431];
        assert_eq!(expected.map(|_| random.bits()), expected);
    }

    #[test]
    fn a_seed_depends_on_every_part_and_on_their_order() {
        let seeds = [seed_of(&[1, 2]), seed_of(&[2, 1]), seed_of(&[1]), seed_of(&[1, 2, 0]), seed_of(&[])];
        for (i, a) in seeds.iter().enumerate() {
            assert!(seeds[i + 1..].iter().all(|b| a != b));
        }
    }

    #[test]
    fn choices_are_as_likely_as_they_should_be() {
        let mut random = Random::new(7);
        let mut counts = [0; 4];
        for _ in 0..40_000 {
            counts[random.weighted([1.0, 0.0, 2.0, 1.0]).unwrap()] += 1;
        }
        assert_eq!(counts[1], 0);
        assert!((9_500..10_500).contains(&counts[0]) && (19_500..20_500).contains(&counts[2]), "{counts:?}");
        assert_eq!(random.weighted([0.0, 0.0]), None);
        let mean: f64 = (0..40_000).map(|_| random.unit()).sum::<f64>() / 40_000.0;
        assert!((mean - 0.5).abs() < 0.01, "{mean}");
        let mut below = [0; 3];
        (0..30_000).for_each(|_| below[random.index(3)] += 1);
        assert!(below.iter().all(|count| (9_500..10_500).contains(count)), "{below:?}");
    }
}
