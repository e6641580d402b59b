//! Pictures that are nearly the same: copies, other sizes, edits, the next frame of a burst.
//!
//! Two items are near-duplicates if the cosine of their vectors reaches a threshold. Every pair is looked at, in blocks of f32 products,
//! so nothing is missed: n²/2 products, of which a million items of 512 numbers are 2.6e14 multiplications (an hour and more of two cores), and a
//! hundred thousand a hundredth of that. Memory is one block and two words an item, whatever is found: pairs are joined at once
//! (union-find) and not kept.
//!
//! Joining has a chain effect: a is near b and b near c, but a and c need not be alike, and a slow pan becomes one group. So each joined
//! set is cut into stars: the item with the most neighbours and those neighbours are a group, and so on with the rest; every member is near
//! the group's first item. A star may part two that are near each other, which `chains` undoes by leaving the sets whole. Sets of more
//! than 4,096 items are cut in the order of their items instead (each goes to the first leader that it is near to), which needs no table of
//! neighbours.
use std::collections::{BTreeMap, HashSet};

use hua_index::{Filter, ItemId, Reader, SpaceId};
use hua_kernels::Cores;

use super::dot;
use super::products::{BATCH, Rows};
use crate::{Error, Progress};

/// A threshold that copies and mild edits reach.
pub const SUGGESTED_COSINE: f32 = 0.97;

/// Numbers of a block that stays while all rows go by: 64 MB, and as much again packed.
const BLOCK: usize = 16 << 20;
/// The largest set that a table of neighbours is made for.
const TABLE: usize = 4096;

/// How near-duplicates are found.
#[derive(Clone, Debug)]
pub struct DuplicateOptions {
    /// The least cosine.
    pub least: f32,
    /// Leave sets whole whose members are joined by others.
    pub chains: bool,
    /// Which items are compared.
    pub filter: Filter,
}

impl Default for DuplicateOptions {
    fn default() -> Self {
        Self { least: SUGGESTED_COSINE, chains: false, filter: Filter::all() }
    }
}

/// Items that are nearly the same: at least two.
#[derive(Clone, Debug, PartialEq)]
pub struct DuplicateGroup {
    /// The one that the others are near to, then those, nearest first.
    pub items: Vec<Duplicate>,
}

/// A member of a group.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Duplicate {
    /// Which.
    pub item: ItemId,
    /// The cosine with the first of the group; below the threshold only with `chains`.
    pub score: f32,
    /// Whether its file is the same to the byte as the first one's.
    pub same_file: bool,
}

/// The groups of near-duplicates of a library, largest first, then by their first item.
///
/// # Errors
/// If the filter is wrong or the library cannot be read.
pub fn duplicates(
    reader: &Reader,
    cores: &Cores,
    space: SpaceId,
    options: &DuplicateOptions,
    progress: &dyn Progress,
) -> Result<Vec<DuplicateGroup>, Error> {
    let meant: Option<HashSet<ItemId>> = match options.filter.is_all() {
        true => None,
        false => Some(reader.items(&options.filter)?.into_iter().collect()),
    };
    let rows = || {
        let rows = reader.rows(space)?;
        Ok(rows.filter(|row| row.as_ref().map_or(true, |(item, _)| meant.as_ref().is_none_or(|meant| meant.contains(item)))))
    };
    let sets = joined(cores, rows, options.least, BLOCK, progress)?;
    let mut groups = vec![];
    for mut set in sets {
        set.sort_unstable();
        let vector = |item: &ItemId| Ok(reader.vector(space, *item)?.unwrap_or_default());
        let vectors = set.iter().map(vector).collect::<Result<Vec<Vec<f32>>, Error>>()?;
        for star in stars(&vectors, options.least, options.chains) {
            let first = star[0];
            let hash = |index: usize| Ok::<_, Error>(reader.item(set[index])?.and_then(|item| item.hash));
            let of_first = hash(first)?;
            let mut members = vec![];
            for index in star {
                let same_file = index != first && of_first.is_some() && hash(index)? == of_first;
                let score = if index == first { 1.0 } else { dot(&vectors[first], &vectors[index]) };
                members.push(Duplicate { item: set[index], score, same_file });
            }
            members[1..].sort_by(|a, b| b.score.total_cmp(&a.score).then(a.item.cmp(&b.item)));
            groups.push(DuplicateGroup { items: members });
        }
    }
    groups.sort_by(|a, b| b.items.len().cmp(&a.items.len()).then(a.items[0].item.cmp(&b.items[0].item)));
    Ok(groups)
}

/// The sets of rows that are joined by pairs with a cosine of `least` or more. `rows` gives all of them again and again; a block is of
/// `block` numbers.
fn joined<I: Iterator<Item = hua_index::Result<(ItemId, Vec<f32>)>>>(
    cores: &Cores,
    rows: impl Fn() -> Result<I, Error>,
    least: f32,
    block: usize,
    progress: &dyn Progress,
) -> Result<Vec<Vec<ItemId>>, Error> {
    let (mut items, mut parents): (Vec<ItemId>, Vec<u32>) = (vec![], vec![]);
    let mut width = 0;
    for row in rows()? {
        let (item, vector) = row?;
        width = vector.len();
        items.push(item);
        parents.push(parents.len() as u32);
    }
    if items.is_empty() {
        return Ok(vec![]);
    }
    let rows_of_block = (block / width).max(1);
    // Work done is pairs; a step is a row of a block.
    progress.start("comparing pictures", items.len() as u64);
    for start in (0..items.len()).step_by(rows_of_block) {
        let mut here: Option<Rows> = None;
        let (mut data, mut first) = (vec![], start);
        let end = (start + rows_of_block).min(items.len());
        let (mut held, mut out) = (vec![], vec![]);
        let mut source = rows()?.skip(start).enumerate().peekable();
        while let Some((offset, row)) = source.next() {
            let (_, vector) = row?;
            let index = start + offset;
            if index < end {
                held.extend_from_slice(&vector);
            }
            data.extend(vector);
            let last = source.peek().is_none();
            // The block is whole when its last row has been seen; from then on all rows since its first are compared with it.
            if index + 1 < end || (data.len() < BATCH * width && !last && here.is_some()) {
                continue;
            }
            let block = here.get_or_insert_with(|| Rows::new(cores, width, &held));
            for batch in data.chunks(BATCH * width) {
                let cosines = block.cosines(cores, batch, &mut out);
                for (row, cosines) in cosines.chunks_exact(block.len()).enumerate() {
                    join(&mut parents, first + row, start, cosines, least);
                }
                first += batch.len() / width;
            }
            data.clear();
        }
        progress.advance((end - start) as u64);
    }
    progress.finish();
    let mut sets: BTreeMap<u32, Vec<ItemId>> = BTreeMap::new();
    for (index, &item) in items.iter().enumerate() {
        sets.entry(root(&mut parents, index as u32)).or_default().push(item);
    }
    Ok(sets.into_values().filter(|set| set.len() > 1).collect())
}

/// Joins row `row` with the earlier rows of a block from `start` on that it is near to.
fn join(parents: &mut [u32], row: usize, start: usize, cosines: &[f32], least: f32) {
    for (chunk, cosines) in cosines.chunks(64).enumerate() {
        if !cosines.iter().fold(false, |any, cosine| any | (*cosine >= least)) {
            continue;
        }
        for (column, cosine) in cosines.iter().enumerate() {
            let other = start + chunk * 64 + column;
            if *cosine >= least && other < row {
                let (a, b) = (root(parents, row as u32), root(parents, other as u32));
                parents[a.max(b) as usize] = a.min(b);
            }
        }
    }
}

fn root(parents: &mut [u32], mut node: u32) -> u32 {
    while parents[node as usize] != node {
        let grandparent = parents[parents[node as usize] as usize];
        parents[node as usize] = grandparent;
        node = grandparent;
    }
    node
}

/// Groups of at least two of `vectors`, each with the one first that the others are near to.
fn stars(vectors: &[Vec<f32>], least: f32, whole: bool) -> Vec<Vec<usize>> {
    let near = |a: usize, b: usize| dot(&vectors[a], &vectors[b]) >= least;
    if vectors.len() > TABLE {
        if whole {
            return vec![(0..vectors.len()).collect()];
        }
        let mut led: Vec<Vec<usize>> = vec![];
        for index in 0..vectors.len() {
            match led.iter_mut().find(|group| near(group[0], index)) {
                Some(group) => group.push(index),
                None => led.push(vec![index]),
            }
        }
        return led.into_iter().filter(|group| group.len() > 1).collect();
    }
    let neighbours: Vec<Vec<usize>> = (0..vectors.len()).map(|a| (0..vectors.len()).filter(|b| *b != a && near(a, *b)).collect()).collect();
    let mut left: Vec<bool> = vec![true; vectors.len()];
    let mut groups = vec![];
    loop {
        let free = |a: usize, left: &[bool]| neighbours[a].iter().filter(|b| left[**b]).count();
        // Of those with as many neighbours the first, which is the oldest item.
        let best = (0..vectors.len()).filter(|a| left[*a]).rev().max_by_key(|a| free(*a, &left)).filter(|a| free(*a, &left) > 0);
        let Some(first) = best else { return groups };
        let mut star = vec![first];
        match whole {
            true => star.extend((0..vectors.len()).filter(|b| *b != first)),
            false => star.extend(neighbours[first].iter().filter(|b| left[**b])),
        }
        star.iter().for_each(|index| left[*index] = false);
        groups.push(star);
    }
}

#[cfg(test)]
mod tests {
    use hua_kernels::Isa;
    use proptest::prelude::*;

    use super::*;
    use crate::NoProgress;

    fn unit(angles: &[f32]) -> Vec<f32> {
        let mut vector: Vec<f32> = angles.iter().map(|angle| angle.sin()).collect();
        vector.push(1.5);
        let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
        vector.iter().map(|x| x / length).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn sets_are_those_of_all_pairs_whatever_the_block(
            rows in prop::collection::vec(prop::array::uniform4(-0.5f32..0.5), 1..60),
            block in 1usize..400,
            least in 0.98f32..0.9999,
        ) {
            let rows: Vec<Vec<f32>> = rows.iter().map(|row| unit(row)).collect();
            let cores = Cores::new(1, Isa::best()).unwrap();
            let given = || Ok(rows.iter().enumerate().map(|(i, row)| Ok((ItemId(i as i64), row.clone()))));
            let found = joined(&cores, given, least, block, &NoProgress).unwrap();
            // Plain: labels spread over edges until nothing changes. Pairs at the threshold itself may fall to either side by rounding.
            let labels = |least: f32| {
                let mut labels: Vec<usize> = (0..rows.len()).collect();
                loop {
                    let before = labels.clone();
                    for a in 0..rows.len() {
                        for b in 0..rows.len() {
                            if dot(&rows[a], &rows[b]) >= least {
                                labels[a] = labels[a].min(labels[b]);
                            }
                        }
                    }
                    if labels == before {
                        return labels;
                    }
                }
            };
            prop_assume!(labels(least - 1e-6) == labels(least + 1e-6));
            let labels = labels(least);
            let mut expected: BTreeMap<usize, Vec<ItemId>> = BTreeMap::new();
            for (index, label) in labels.iter().enumerate() {
                expected.entry(*label).or_default().push(ItemId(index as i64));
            }
            let expected: Vec<Vec<ItemId>> = expected.into_values().filter(|set| set.len() > 1).collect();
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn every_member_of_a_star_is_near_its_first_and_in_no_other(
            rows in prop::collection::vec(prop::array::uniform4(-0.5f32..0.5), 1..40),
            least in 0.9f32..0.999,
        ) {
            let rows: Vec<Vec<f32>> = rows.iter().map(|row| unit(row)).collect();
            let groups = stars(&rows, least, false);
            let mut seen = HashSet::new();
            for group in &groups {
                prop_assert!(group.len() > 1);
                for index in group {
                    prop_assert!(seen.insert(*index));
                    prop_assert!(*index == group[0] || dot(&rows[group[0]], &rows[*index]) >= least);
                }
            }
            // Whoever is in no group is near nobody that is left over.
            let alone: Vec<usize> = (0..rows.len()).filter(|index| !seen.contains(index)).collect();
            for a in &alone {
                prop_assert!(alone.iter().all(|b| a == b || dot(&rows[*a], &rows[*b]) < least));
            }
        }
    }
}
