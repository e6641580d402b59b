//! Lists of numbers, many of them in two vectors: which pictures each text has, and the like. And sets that grow together.

/// A list of numbers for each row.
#[derive(Clone, Debug, Default)]
pub(super) struct Lists {
    /// Where each row begins, and where the last ends.
    starts: Vec<u32>,
    items: Vec<u32>,
}

impl Lists {
    /// The lists of `(row, item)`, each in the order of `pairs`.
    pub(super) fn new(rows: usize, pairs: impl Iterator<Item = (u32, u32)> + Clone) -> Self {
        let mut starts = vec![0_u32; rows + 1];
        for (row, _) in pairs.clone() {
            starts[row as usize + 1] += 1;
        }
        for row in 0..rows {
            starts[row + 1] += starts[row];
        }
        let mut items = vec![0; starts[rows] as usize];
        let mut next = starts.clone();
        for (row, item) in pairs {
            items[next[row as usize] as usize] = item;
            next[row as usize] += 1;
        }
        Self { starts, items }
    }

    pub(super) fn row(&self, row: u32) -> &[u32] {
        let row = row as usize;
        &self.items[self.starts[row] as usize..self.starts[row + 1] as usize]
    }

    pub(super) fn rows(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }
}

/// Disjoint sets of the numbers below a count (union by the smaller number, paths halved).
pub(super) struct Sets(Vec<u32>);

impl Sets {
    pub(super) fn new(count: usize) -> Self {
        Self((0..count as u32).collect())
    }

    /// The smallest number of the set of `item`.
    pub(super) fn of(&mut self, mut item: u32) -> u32 {
        while self.0[item as usize] != item {
            let above = self.0[self.0[item as usize] as usize];
            self.0[item as usize] = above;
            item = above;
        }
        item
    }

    pub(super) fn join(&mut self, a: u32, b: u32) {
        let (a, b) = (self.of(a), self.of(b));
        self.0[a.max(b) as usize] = a.min(b);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_keep_the_order_of_their_pairs() {
        let pairs = [(2, 9), (0, 1), (2, 3), (0, 7)];
        let lists = Lists::new(4, pairs.into_iter());
        assert_eq!((0..4).map(|row| lists.row(row).to_vec()).collect::<Vec<_>>(), [vec![1, 7], vec![], vec![9, 3], vec![]]);
        assert_eq!(lists.rows(), 4);
    }

    #[test]
    fn sets_are_what_was_joined() {
        let mut sets = Sets::new(6);
        for (a, b) in [(4, 5), (5, 1), (3, 2)] {
            sets.join(a, b);
        }
        assert_eq!((0..6).map(|item| sets.of(item)).collect::<Vec<_>>(), [0, 1, 2, 2, 1, 1]);
    }
}
