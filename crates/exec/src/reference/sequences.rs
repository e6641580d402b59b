//! Operations on the sequence of an item, each with its gradient: embeddings, positions, rows that come, go or stand for all.
use hua_graph::Pick;

use super::number::{Number, Values, add, split};
use crate::masks::{Dropout, MaskKey, kept_rows};

/// `[rows, width]` and `table` `[positions, width]`: row i of every sequence gets row i of the table.
pub(super) fn add_positions<T: Number>(x: &Values<T>, table: &[T]) -> Vec<T> {
    x.sequences().flat_map(|rows| rows.iter().zip(table).map(|(&x, &t)| x + t)).collect()
}

/// Row i of the table has the sum of the gradients of the rows i.
pub(super) fn add_positions_backward(dy: &[f64], lengths: &[usize], width: usize, d_table: &mut [f64]) {
    split(dy, lengths, width).for_each(|dy| add(d_table, dy));
}

/// The tables of an embedding. `tokens` is `[vocabulary, width]`; `positions` `[positions, width]` starts at the first token's row; of `types`
/// `[types, width]` the first row is added.
pub(super) struct Tables<S> {
    pub(super) tokens: S,
    pub(super) positions: S,
    pub(super) types: S,
}

/// Ids to `[rows, width]`.
pub(super) fn embed<T: Number>(ids: &[Vec<u32>], width: usize, tables: &Tables<&[T]>) -> Vec<T> {
    let mut out = vec![];
    for ids in ids {
        for (i, &id) in ids.iter().enumerate() {
            for d in 0..width {
                let sum = tables.tokens[id as usize * width + d] + tables.positions[i * width + d];
                out.push(tables.types.get(d).map_or(sum, |&t| sum + t));
            }
        }
    }
    out
}

/// A row of a table has the sum of the gradients of the rows it was added to.
pub(super) fn embed_backward(ids: &[Vec<u32>], width: usize, dy: &[f64], mut into: Tables<Option<&mut [f64]>>) {
    let mut rows = dy.chunks_exact(width);
    for ids in ids {
        for ((i, &id), dy) in ids.iter().enumerate().zip(&mut rows) {
            for (table, row) in [(&mut into.tokens, id as usize), (&mut into.positions, i), (&mut into.types, 0)] {
                if let Some(table) = table {
                    add(&mut table[row * width..][..width], dy);
                }
            }
        }
    }
}

/// The row that stands for a sequence with these ids; none for the mean.
pub(crate) fn picked_row(pick: Pick, ids: &[u32]) -> Option<usize> {
    match pick {
        Pick::First => Some(0),
        Pick::FirstId(wanted) => Some(ids.iter().position(|&id| id == wanted).unwrap_or(0)),
        Pick::HighestId => Some((0..ids.len()).rev().max_by_key(|&i| ids[i]).unwrap_or(0)),
        Pick::Mean => None,
    }
}

/// The ids of an item; none of an image.
fn ids_of(ids: &[Vec<u32>], item: usize) -> &[u32] {
    ids.get(item).map_or(&[], |ids| ids)
}

/// The sequences of `[rows, width]` to one row each: `[items, width]`.
pub(super) fn pick<T: Number>(x: &Values<T>, ids: &[Vec<u32>], pick: Pick) -> Vec<T> {
    let mut out = vec![];
    for (item, rows) in x.sequences().enumerate() {
        match picked_row(pick, ids_of(ids, item)) {
            Some(row) => out.extend(&rows[row * x.width..][..x.width]),
            None => out.extend(mean(rows, x.width)),
        }
    }
    out
}

/// The row that was picked has all of the gradient; all rows have an equal part of it if their mean was.
pub(super) fn pick_backward(lengths: &[usize], width: usize, ids: &[Vec<u32>], pick: Pick, dy: &[f64], mut dx: &mut [f64]) {
    for ((item, &length), dy) in lengths.iter().enumerate().zip(dy.chunks_exact(width)) {
        let (rows, rest) = std::mem::take(&mut dx).split_at_mut(length * width);
        dx = rest;
        match picked_row(pick, ids_of(ids, item)) {
            Some(row) => add(&mut rows[row * width..][..width], dy),
            None => mean_backward(dy, rows),
        }
    }
}

/// `[rows, width]` to the mean of the rows.
pub(super) fn mean<T: Number>(rows: &[T], width: usize) -> Vec<T> {
    let n = (rows.len() / width) as f64;
    (0..width).map(|d| T::of(rows.chunks_exact(width).map(|row| row[d].wide()).sum::<f64>() / n)).collect()
}

fn mean_backward(dy: &[f64], rows: &mut [f64]) {
    let n = (rows.len() / dy.len()) as f64;
    for row in rows.chunks_exact_mut(dy.len()) {
        row.iter_mut().zip(dy).for_each(|(dx, dy)| *dx += dy / n);
    }
}

/// A new first row of each sequence: `first` of its rows.
pub(super) fn prepend<T: Number>(x: &Values<T>, first: impl Fn(&[T]) -> Vec<T>) -> Vec<T> {
    x.sequences().flat_map(|rows| [&first(rows)[..], rows].concat()).collect()
}

/// Each row's gradient goes to where the row was; that of the new row to `token`, or in equal parts to all if it was their mean. `lengths` are
/// those of the input.
pub(super) fn prepend_backward(
    lengths: &[usize],
    width: usize,
    dy: &[f64],
    mut dx: Option<&mut [f64]>,
    mut token: Option<&mut [f64]>,
    is_mean: bool,
) {
    let (mut from, mut to) = (0, 0);
    for &length in lengths {
        let (first, others) = dy[from..from + (length + 1) * width].split_at(width);
        if let Some(dx) = &mut dx {
            let rows = &mut dx[to..to + length * width];
            add(rows, others);
            if is_mean {
                mean_backward(first, rows);
            }
        }
        if let Some(token) = &mut token {
            add(token, first);
        }
        from += (length + 1) * width;
        to += length * width;
    }
}

/// Each number 0 or scaled; of a gradient, the gradient. `sizes` are the numbers of each item, `seeds` one for each.
pub(super) fn dropout<T: Number>(x: &[T], sizes: &[usize], seeds: &[u64], node: usize, rate: f32) -> Vec<T> {
    let dropout = Dropout::new(rate);
    let one = |(values, &seed): (&[T], &u64)| {
        let key = MaskKey::new(seed, node);
        let factor = move |(place, &x): (u32, &T)| match dropout.factor(key, place) {
            // Not a product: what is dropped is 0 even if it was not finite.
            0.0 => T::of(0.0),
            factor => T::of(x.wide() * f64::from(factor)),
        };
        (0..).zip(values).map(factor).collect::<Vec<T>>()
    };
    split(x, sizes, 1).zip(seeds).flat_map(one).collect()
}

/// The rows of each sequence that stay.
pub(super) fn drop_tokens<T: Number>(x: &Values<T>, seeds: &[u64], node: usize, keep: f32) -> Vec<T> {
    let mut out = vec![];
    for (rows, &seed) in x.sequences().zip(seeds) {
        for row in kept_rows(MaskKey::new(seed, node), rows.len() / x.width, keep) {
            out.extend(&rows[row * x.width..][..x.width]);
        }
    }
    out
}

/// What stayed has the gradient, what went has none. `lengths` are those of the input.
pub(super) fn drop_tokens_backward(
    lengths: &[usize],
    width: usize,
    (seeds, node): (&[u64], usize),
    keep: f32,
    dy: &[f64],
    mut dx: &mut [f64],
) {
    let mut dy = dy.chunks_exact(width);
    for (&length, &seed) in lengths.iter().zip(seeds) {
        let (rows, rest) = std::mem::take(&mut dx).split_at_mut(length * width);
        dx = rest;
        for (row, dy) in kept_rows(MaskKey::new(seed, node), length, keep).into_iter().zip(&mut dy) {
            add(&mut rows[row * width..][..width], dy);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picks_take_the_first_of_equals() {
        assert_eq!(picked_row(Pick::First, &[5, 9]), Some(0));
        assert_eq!(picked_row(Pick::FirstId(9), &[5, 9, 9]), Some(1));
        assert_eq!(picked_row(Pick::FirstId(7), &[5, 9, 9]), Some(0));
        assert_eq!(picked_row(Pick::HighestId, &[5, 9, 9, 1]), Some(1));
        assert_eq!(picked_row(Pick::Mean, &[5]), None);
    }
}
