//! The random masks of training: which numbers dropout makes 0 and which tokens stay.
//!
//! Counter-based (as Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011): no state is kept or shared, and a bit depends on the
//! seed of the item, the node of the graph and the place within the item's value *alone*. So a batch that is cut into parts, a block that is
//! run again in the backward pass, and any number of threads see the same masks; all executors call this.
//!
//! The function: seed and node give 64 bits by SplitMix64's finaliser (Steele et al., "Fast splittable pseudorandom number generators",
//! 2014), used as two keys of 32 bits; the place goes through two rounds of a keyed bijection of 32 bits (multiplications and shifts
//! with the constants that Wellons' "hash prospector" found least biased). Only 32-bit multiplications, so that compilers make vectors of it.

/// The key of one node's mask for one item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaskKey([u32; 2]);

impl MaskKey {
    /// `seed` is the item's, `node` the place of the node in [`Graph::nodes`](hua_graph::Graph::nodes).
    pub fn new(seed: u64, node: usize) -> Self {
        let key = mix(mix(seed.wrapping_add(GOLDEN)) ^ (node as u64).wrapping_mul(GOLDEN));
        Self([key as u32, (key >> 32) as u32])
    }

    /// 32 random bits for a place.
    #[inline(always)]
    pub fn bits(self, place: u32) -> u32 {
        round(round(place ^ self.0[0]) ^ self.0[1])
    }
}

/// 2⁶⁴ divided by the golden ratio, odd: SplitMix64's step.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

fn mix(z: u64) -> u64 {
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[inline(always)]
fn round(x: u32) -> u32 {
    let x = (x ^ (x >> 16)).wrapping_mul(0x7feb_352d);
    let x = (x ^ (x >> 15)).wrapping_mul(0x846c_a68b);
    x ^ (x >> 16)
}

/// Dropout of one node at a rate: what its numbers are multiplied with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    below: u32,
    scale: f32,
}

impl Dropout {
    /// `rate` is at least 0 and less than 1.
    pub fn new(rate: f32) -> Self {
        Self { below: (f64::from(rate) * 2f64.powi(32)).round() as u32, scale: 1.0 / (1.0 - rate) }
    }

    /// 0, or `1 / (1 - rate)`: what the number at `place` of the item's value (row-major) is multiplied with, and its gradient too.
    #[inline(always)]
    pub fn factor(self, key: MaskKey, place: u32) -> f32 {
        if key.bits(place) < self.below { 0.0 } else { self.scale }
    }

    /// Multiplies `values`, which begin at `first` of the item's value.
    pub fn apply(self, key: MaskKey, first: usize, values: &mut [f32]) {
        for (place, x) in (first as u32..).zip(values) {
            // Not a product: what is dropped is 0 even if it was not finite.
            *x = if key.bits(place) < self.below { 0.0 } else { *x * self.scale };
        }
    }
}

/// How many of a sequence's `rows` rows [`Op::DropTokens`](hua_graph::Op::DropTokens) leaves: the first and `max(1, round(keep · others))`,
/// halves away from 0; never more than there are.
pub fn kept_count(rows: usize, keep: f32) -> usize {
    let others = rows.saturating_sub(1);
    let kept = (f64::from(keep) * others as f64).round() as usize;
    rows.min(1 + kept.clamp(1, others.max(1)))
}

/// Which rows those are, ascending: row 0, and of the others those with the least random bits, row `i` at place `i`.
pub fn kept_rows(key: MaskKey, rows: usize, keep: f32) -> Vec<usize> {
    let mut others: Vec<usize> = (1..rows).collect();
    others.sort_by_key(|&row| (key.bits(row as u32), row));
    others.truncate(kept_count(rows, keep).saturating_sub(1));
    others.sort_unstable();
    std::iter::once(0).filter(|_| rows > 0).chain(others).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_are_the_ones_that_runs_were_made_with() {
        // A change of these numbers changes every run: a checkpoint could not be resumed.
        let key = MaskKey::new(42, 7);
        assert_eq!([0, 1, 2].map(|place| key.bits(place)), [3_039_515_107, 303_528_671, 1_260_630_999]);
        assert_eq!(kept_rows(key, 17, 0.5), [0, 1, 2, 4, 6, 8, 10, 11, 14]);
    }

    #[test]
    fn a_mask_drops_as_many_as_its_rate_says_whatever_the_seed_and_node() {
        for rate in [0.0, 0.1, 0.5, 0.9] {
            let dropout = Dropout::new(rate);
            let (mut dropped, mut total) = (0, 0);
            for (seed, node) in [(0, 0), (0, 1), (1, 0), (u64::MAX, 3), (12345, 99)] {
                let key = MaskKey::new(seed, node);
                dropped += (0..100_000).filter(|&place| dropout.factor(key, place) == 0.0).count();
                total += 100_000;
            }
            let share = dropped as f32 / total as f32;
            // Five standard deviations.
            assert!((share - rate).abs() <= 5.0 * (rate * (1.0 - rate) / total as f32).sqrt(), "{share} for {rate}");
        }
    }

    #[test]
    fn masks_of_neighbours_have_nothing_to_do_with_each_other() {
        let agree = |a: MaskKey, b: MaskKey, by: u32| {
            let n = 1u32 << 16;
            let same = (0..n).filter(|&place| a.bits(place) >> 31 == b.bits(place + by) >> 31).count();
            (same as f64 / f64::from(n) - 0.5).abs() < 5.0 * 0.5 / f64::from(n).sqrt()
        };
        for seed in 0..20 {
            for node in 0..5 {
                let key = MaskKey::new(seed, node);
                assert!(agree(key, MaskKey::new(seed + 1, node), 0), "seeds {seed} and the next");
                assert!(agree(key, MaskKey::new(seed, node + 1), 0), "nodes {node} and the next");
                assert!(agree(key, key, 1) && agree(key, key, 64), "places");
            }
        }
    }

    #[test]
    fn tokens_stay_in_order_the_first_always_and_each_other_as_often() {
        let rows = 11;
        let mut stayed = vec![0; rows];
        for seed in 0..2000 {
            let kept = kept_rows(MaskKey::new(seed, 4), rows, 0.3);
            assert_eq!(kept.len(), 4);
            assert!(kept.is_sorted() && kept[0] == 0);
            kept.iter().for_each(|&row| stayed[row] += 1);
        }
        assert_eq!(stayed[0], 2000);
        assert!(stayed[1..].iter().all(|&n| (500..700).contains(&n)), "{stayed:?}");
        let counts = [(1, 0.5), (2, 0.1), (2, 1.0), (5, 0.01), (197, 0.5), (197, 1.0), (4, 0.5), (0, 0.5)];
        assert_eq!(counts.map(|(rows, keep)| kept_count(rows, keep)), [1, 2, 2, 2, 99, 197, 3, 0]);
        for (rows, keep) in counts {
            assert_eq!(kept_rows(MaskKey::new(1, 1), rows, keep).len(), kept_count(rows, keep));
        }
    }

    #[test]
    fn what_is_dropped_is_zero_and_what_stays_is_scaled() {
        let (key, dropout) = (MaskKey::new(3, 3), Dropout::new(0.25));
        let mut values = vec![f32::INFINITY; 64];
        dropout.apply(key, 10, &mut values);
        for (place, x) in (10..).zip(&values) {
            assert_eq!(*x, if dropout.factor(key, place) == 0.0 { 0.0 } else { f32::INFINITY });
        }
        let mut ones = vec![1.0; 64];
        dropout.apply(key, 0, &mut ones);
        assert!(ones.iter().all(|&x| x == 0.0 || x == 1.0 / 0.75));
    }
}
