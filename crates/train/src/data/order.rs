//! The order of an epoch: a permutation that is computed, not stored.
//!
//! A Feistel network over the next power of four turns a place into an item and back; places that fall outside of the data are walked on from
//! until they fall inside ("cycle walking", Black and Rogaway, CT-RSA 2002). So any place of any epoch is known at once, which is what makes a
//! run go on in the middle of an epoch, and a million items cost no memory.
use hua_image::augment::seed_of;

/// Rounds of the network; four are enough for an order that looks random (Luby and Rackoff).
const ROUNDS: u64 = 6;

/// A permutation of the numbers below a count.
#[derive(Clone, Copy, Debug)]
pub struct Permutation {
    count: u64,
    /// Bits of each half.
    half: u32,
    key: u64,
}

impl Permutation {
    /// The order of `count` items in an epoch of a run.
    pub fn new(count: u64, seed: u64, epoch: u64) -> Self {
        let bits = 64 - count.saturating_sub(1).leading_zeros();
        Self { count, half: bits.div_ceil(2).max(1), key: seed_of(&[seed, epoch]) }
    }

    /// The item at a place; both are below the count.
    ///
    /// # Panics
    /// If `place` is not.
    pub fn item(&self, place: u64) -> u64 {
        assert!(place < self.count, "place {place} of {}", self.count);
        let mut number = place;
        loop {
            number = self.once(number);
            if number < self.count {
                return number;
            }
        }
    }

    fn once(&self, number: u64) -> u64 {
        let mask = (1_u64 << self.half) - 1;
        let (mut left, mut right) = (number >> self.half, number & mask);
        for round in 0..ROUNDS {
            (left, right) = (right, left ^ (seed_of(&[self.key, round, right]) & mask));
        }
        (left << self.half) | right
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_item_comes_once(count in 1_u64..3000, seed: u64, epoch in 0_u64..5) {
            let order = Permutation::new(count, seed, epoch);
            let mut items: Vec<u64> = (0..count).map(|place| order.item(place)).collect();
            items.sort_unstable();
            prop_assert!(items.into_iter().eq(0..count));
        }
    }

    #[test]
    fn epochs_and_seeds_have_orders_of_their_own_and_neighbours_do_not_stay_neighbours() {
        let items = |seed, epoch| -> Vec<u64> { (0..1000).map(|place| Permutation::new(1000, seed, epoch).item(place)).collect() };
        let first = items(1, 0);
        assert_eq!(first, items(1, 0));
        for other in [items(1, 1), items(2, 0), (0..1000).collect()] {
            assert!(first.iter().zip(&other).filter(|(a, b)| a == b).count() < 10);
        }
        assert!(first.windows(2).filter(|pair| pair[0].abs_diff(pair[1]) == 1).count() < 10);
        // Each half of the order has its share of each half of the items.
        assert!((200..300).contains(&first[..500].iter().filter(|&&item| item < 500).count()));
    }

    #[test]
    fn the_order_is_the_same_in_every_version() {
        let order = Permutation::new(10, 7, 3);
        assert_eq!((0..10).map(|place| order.item(place)).collect::<Vec<_>>(), [6, 1, 9, 2, 4, 0, 3, 8, 5, 7]);
    }
}
