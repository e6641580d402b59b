//! The best rows so far: a list of up to twice as many as are wanted, cut to those whenever it is full, which costs less than a heap.
//!
//! A score and its row are one integer, which is greater the better they are: equal scores are told apart by the row, the lower one being
//! better, so that the best do not depend on the order in which rows were offered.

/// The best `k` rows of those that were offered.
#[derive(Clone, Debug)]
pub struct Best {
    k: usize,
    /// Less than `2 k`.
    keys: Vec<u64>,
    floor: f32,
}

impl Best {
    /// None so far.
    pub fn new(k: usize) -> Self {
        Self { k, keys: vec![], floor: if k > 0 { f32::NEG_INFINITY } else { f32::NAN } }
    }

    /// A score below this one will not be among the best; if it is no number, none will.
    #[inline(always)]
    pub fn floor(&self) -> f32 {
        self.floor
    }

    /// Offers a row. A score that is no number is never among the best.
    pub fn offer(&mut self, score: f32, row: u32) {
        if score >= self.floor {
            self.keys.push(key(score, row));
            if self.keys.len() >= self.k.saturating_mul(2) {
                self.cut();
            }
        }
    }

    /// Offers all that another has.
    pub fn merge(&mut self, other: Self) {
        other.keys.into_iter().map(parts).for_each(|(score, row)| self.offer(score, row));
    }

    /// The best, best first: scores and rows.
    pub fn into_sorted(mut self) -> Vec<(f32, u32)> {
        self.keys.sort_unstable_by(|a, b| b.cmp(a));
        self.keys.truncate(self.k);
        self.keys.into_iter().map(parts).collect()
    }

    /// Leaves the best `k` of more.
    fn cut(&mut self) {
        let (_, &mut last, _) = self.keys.select_nth_unstable_by(self.k - 1, |a, b| b.cmp(a));
        self.keys.truncate(self.k);
        self.floor = parts(last).0;
    }
}

/// A score, in the order of numbers and -0 as 0, then the row in falling order.
fn key(score: f32, row: u32) -> u64 {
    let bits = (score + 0.0).to_bits();
    let ordered = if bits >> 31 == 1 { !bits } else { bits | 1 << 31 };
    u64::from(ordered) << 32 | u64::from(!row)
}

fn parts(key: u64) -> (f32, u32) {
    let ordered = (key >> 32) as u32;
    let bits = if ordered >> 31 == 1 { ordered & !(1 << 31) } else { !ordered };
    (f32::from_bits(bits), !(key as u32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_and_its_row_come_back_from_their_key_and_are_in_order() {
        let scores = [f32::NEG_INFINITY, -3.5, -1e-40, 0.0, 1e-40, 0.25, 1.0, f32::INFINITY];
        for pair in scores.windows(2) {
            assert!(key(pair[0], 0) < key(pair[1], u32::MAX));
            assert!(key(pair[0], 7) > key(pair[0], 8));
            assert_eq!(parts(key(pair[0], 8)), (pair[0], 8));
        }
        assert_eq!(key(-0.0, 3), key(0.0, 3));
    }

    #[test]
    fn the_best_are_those_of_a_sorted_list_in_whatever_order_they_come() {
        for (k, n) in [(0, 10), (1, 1000), (10, 1000), (10, 10), (10, 7), (1000, 1000), (2000, 1000)] {
            let scores: Vec<f32> = (0..n).map(|i| (i * 7919 % 101) as f32 / 10.0 - 5.0).collect();
            let mut wanted: Vec<(f32, u32)> = scores.iter().copied().zip(0..).collect();
            wanted.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            wanted.truncate(k);
            let (mut best, mut other) = (Best::new(k), Best::new(k));
            for i in 0..n {
                let row = i * 389 % n;
                [&mut best, &mut other][row % 2].offer(scores[row], row as u32);
                best.offer(f32::NAN, row as u32);
            }
            best.merge(other);
            assert_eq!(best.into_sorted(), wanted, "{k} of {n}");
        }
    }
}
