//! Which rows of a batch belong together.
//!
//! A row of `a` and one of `b` are positives if they have the same group. Of several, one is a row's own: the first row of a group in
//! `a` has the first in `b`, the second the second, and so on round. In a batch of pairs that is the row of the same place.

/// What becomes of a positive that is not a row's own: another caption of its picture, another picture of its caption.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Duplicates {
    /// It is left out of the softmax: neither right nor wrong.
    Ignored,
    /// It is as right as one's own: targets are uniform over all positives (as in supervised contrastive learning, arXiv 2004.11362,
    /// with the sum inside the cross-entropy).
    #[default]
    Positive,
}

/// The positives of a batch, both ways.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Groups {
    /// For each row of `a`, the rows of `b` of its group, in order, and which of them is its own.
    forth: Vec<Positives>,
    /// The same for each row of `b`.
    back: Vec<Positives>,
}

/// Rows that belong to one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Positives {
    /// In order.
    pub all: Vec<usize>,
    /// One of them; nothing if there are none.
    pub own: Option<usize>,
    /// Rows that are neither right nor wrong, in order.
    pub neutral: Vec<usize>,
}

impl Groups {
    /// By the group of each row of `a` and of `b`.
    pub fn new(a: &[u32], b: &[u32]) -> Self {
        Self { forth: positives(a, b), back: positives(b, a) }
    }

    /// `count` pairs that have nothing to do with each other: CLIP's batch.
    pub fn pairs(count: usize) -> Self {
        let one = |i| Positives { all: vec![i], own: Some(i), neutral: vec![] };
        let forth: Vec<_> = (0..count).map(one).collect();
        Self { back: forth.clone(), forth }
    }

    /// The same, with a row of `a` and one of `b` that have another group and yet are no strangers: an equal caption or picture stands
    /// elsewhere in the data with the other one's group. Such pairs are left out of every loss. Pairs that have the same group stay as they
    /// are.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn leaving_out(mut self, alike: &[(u32, u32)]) -> Self {
        for &(i, j) in alike {
            let (i, j) = (i as usize, j as usize);
            if !self.forth[i].all.contains(&j) {
                self.forth[i].neutral.push(j);
                self.back[j].neutral.push(i);
            }
        }
        for row in self.forth.iter_mut().chain(&mut self.back) {
            row.neutral.sort_unstable();
            row.neutral.dedup();
        }
        self
    }

    /// Rows of `a`.
    pub fn rows(&self) -> usize {
        self.forth.len()
    }

    /// Rows of `b`.
    pub fn columns(&self) -> usize {
        self.back.len()
    }

    /// The rows of `b` that belong to each of `a`.
    pub(crate) fn forth(&self) -> &[Positives] {
        &self.forth
    }

    /// The rows of `a` that belong to each of `b`.
    pub(crate) fn back(&self) -> &[Positives] {
        &self.back
    }
}

fn positives(of: &[u32], among: &[u32]) -> Vec<Positives> {
    let mut members = std::collections::HashMap::<u32, Vec<usize>>::new();
    for (i, &group) in among.iter().enumerate() {
        members.entry(group).or_default().push(i);
    }
    let mut seen = std::collections::HashMap::<u32, usize>::new();
    of.iter()
        .map(|group| {
            let all = members.get(group).cloned().unwrap_or_default();
            let turn = seen.entry(*group).or_default();
            let own = (!all.is_empty()).then(|| all[*turn % all.len()]);
            *turn += 1;
            Positives { all, own, neutral: vec![] }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_a_batch_of_pairs_ones_own_is_the_row_of_the_same_place() {
        let groups = [4, 7, 4, 9, 4];
        let found = Groups::new(&groups, &groups);
        assert!(found.forth().iter().enumerate().all(|(i, row)| row.own == Some(i)));
        assert_eq!(found.forth()[2].all, [0, 2, 4]);
        assert_eq!(Groups::new(&[1, 2, 3], &[1, 2, 3]), Groups::pairs(3));
    }

    #[test]
    fn what_is_left_out_is_left_out_both_ways_and_once() {
        let found = Groups::new(&[1, 2], &[1, 2, 3]).leaving_out(&[(0, 2), (1, 0), (0, 2), (1, 1)]);
        assert_eq!(found.forth().iter().map(|row| &*row.neutral).collect::<Vec<_>>(), [&[2][..], &[0]]);
        assert_eq!(found.back().iter().map(|row| &*row.neutral).collect::<Vec<_>>(), [&[1][..], &[], &[0]]);
    }

    #[test]
    fn texts_of_a_group_share_its_pictures_in_turn() {
        let found = Groups::new(&[1, 1, 1, 2, 5], &[2, 1, 1]);
        assert_eq!(found.forth().iter().map(|row| row.own).collect::<Vec<_>>(), [Some(1), Some(2), Some(1), Some(0), None]);
        assert_eq!(found.back()[1], Positives { all: vec![0, 1, 2], own: Some(0), neutral: vec![] });
    }
}
