//! What a library is about: groups of pictures that show the like.
//!
//! Spherical k-means (Dhillon and Modha, 2001): centres of length one, each item with the centre of the highest cosine. The centres are
//! found on at most 32,768 items, evenly spread over the library, beginning with k-means++ (Arthur and Vassilvitskii, 2007) from a fixed
//! seed; then all items are assigned in one pass. The same library gives the same clusters. Memory is the sample (64 MB at 512 numbers), the
//! products of one batch, and what is kept of each cluster.
//!
//! A cluster is told by its representative, the item nearest to the centre, and by words that are frequent among its nearest items and
//! rare elsewhere (tf-idf over the clusters): tags if they have any, else words of captions.
use std::collections::{BTreeMap, BTreeSet};

use hua_index::{Filter, ItemId, Reader, SpaceId};
use hua_kernels::Cores;

use super::products::{BATCH, Rows};
use crate::{Error, Progress};

const SAMPLE: usize = 32_768;
const MOST_CLUSTERS: usize = 4096;
const MOST_ROUNDS: usize = 50;
const SEED: u64 = 0x68_75_61;
/// Words of a cluster at most.
const WORDS: usize = 4;

/// How clusters are made.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// How many, at most 4,096; without it the root of half the number of items, at most 200.
    pub count: Option<usize>,
    /// How many of the nearest items are kept of each cluster, and give it its words.
    pub examples: usize,
}

impl Default for ClusterOptions {
    fn default() -> Self {
        Self { count: None, examples: 50 }
    }
}

/// Items that show the like.
#[derive(Clone, Debug, PartialEq)]
pub struct Cluster {
    /// How many items.
    pub size: u64,
    /// The mean cosine of its items and its centre.
    pub tightness: f32,
    /// The items nearest to the centre with their cosines, nearest first; the first one represents it.
    pub examples: Vec<(ItemId, f32)>,
    /// What distinguishes it, if anything is written about its items.
    pub words: Vec<String>,
}

/// The clusters of a library.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Clusters {
    /// The largest first.
    pub clusters: Vec<Cluster>,
    /// Items with a vector.
    pub items: u64,
}

/// Clusters the vectors of a space.
///
/// # Errors
/// If the library cannot be read.
pub fn clusters(
    reader: &Reader,
    cores: &Cores,
    space: SpaceId,
    options: &ClusterOptions,
    progress: &dyn Progress,
) -> Result<Clusters, Error> {
    let total = reader.count(&Filter::all())? as usize;
    let step = total.div_ceil(SAMPLE).max(1);
    let (mut sample, mut width) = (vec![], 0);
    for row in reader.rows(space)?.step_by(step) {
        let (_, vector) = row?;
        width = vector.len();
        sample.extend(vector);
    }
    if sample.is_empty() {
        return Ok(Clusters::default());
    }
    let items = sample.len() / width * step;
    let count = options.count.unwrap_or_else(|| ((items as f64 / 2.0).sqrt().round() as usize).min(200)).clamp(1, MOST_CLUSTERS);
    let centres = centres(cores, width, &sample, count, progress);
    let mut made = vec![Cluster { size: 0, tightness: 0.0, examples: vec![], words: vec![] }; centres.len() / width];
    let mut sums = vec![0.0f64; made.len()];
    let packed = Rows::new(cores, width, &centres);
    progress.start("assigning pictures", total as u64);
    let (mut ids, mut data, mut out) = (vec![], vec![], vec![]);
    let mut assign = |ids: &mut Vec<ItemId>, data: &mut Vec<f32>| {
        for (item, cosines) in ids.iter().zip(packed.cosines(cores, data, &mut out).chunks_exact(packed.len())) {
            let (best, cosine) = nearest(cosines);
            made[best].size += 1;
            sums[best] += f64::from(cosine);
            keep(&mut made[best].examples, (*item, cosine), options.examples.max(1));
        }
        progress.advance(ids.len() as u64);
        ids.clear();
        data.clear();
    };
    for row in reader.rows(space)? {
        let (item, vector) = row?;
        ids.push(item);
        data.extend(vector);
        if ids.len() == BATCH {
            assign(&mut ids, &mut data);
        }
    }
    assign(&mut ids, &mut data);
    progress.finish();
    for (cluster, sum) in made.iter_mut().zip(sums) {
        cluster.tightness = (sum / cluster.size.max(1) as f64) as f32;
    }
    made.retain(|cluster| cluster.size > 0);
    made.sort_by(|a, b| b.size.cmp(&a.size).then(a.examples[0].0.cmp(&b.examples[0].0)));
    describe(reader, &mut made)?;
    Ok(Clusters { items: made.iter().map(|cluster| cluster.size).sum(), clusters: made })
}

/// Centres of `sample`, `[n, width]`: at most `count`, `[k, width]`.
fn centres(cores: &Cores, width: usize, sample: &[f32], count: usize, progress: &dyn Progress) -> Vec<f32> {
    let mut centres = first_centres(cores, width, sample, count);
    let mut assigned: Vec<usize> = vec![];
    let mut out = vec![];
    progress.start("clustering", MOST_ROUNDS as u64);
    for _ in 0..MOST_ROUNDS {
        let packed = Rows::new(cores, width, &centres);
        let mut now = vec![];
        for batch in sample.chunks(BATCH * width) {
            now.extend(packed.cosines(cores, batch, &mut out).chunks_exact(packed.len()).map(|cosines| nearest(cosines).0));
        }
        progress.advance(1);
        if now == assigned {
            break;
        }
        assigned = now;
        let mut sums = vec![0.0f64; centres.len()];
        for (row, centre) in sample.chunks_exact(width).zip(&assigned) {
            for (to, x) in sums[centre * width..][..width].iter_mut().zip(row) {
                *to += f64::from(*x);
            }
        }
        for (centre, sum) in centres.chunks_exact_mut(width).zip(sums.chunks_exact(width)) {
            let length = sum.iter().map(|x| x * x).sum::<f64>().sqrt();
            // A centre that lost its items stays where it is.
            if length > 0.0 {
                centre.iter_mut().zip(sum).for_each(|(to, x)| *to = (x / length) as f32);
            }
        }
    }
    progress.finish();
    centres
}

/// k-means++: each next centre is an item, the likelier the further it is from all centres so far.
fn first_centres(cores: &Cores, width: usize, sample: &[f32], count: usize) -> Vec<f32> {
    let rows = sample.len() / width;
    let mut random = SEED;
    let mut centres = vec![];
    let mut distances = vec![f64::INFINITY; rows];
    let mut out = vec![];
    let mut chosen = (next(&mut random) % rows as u64) as usize;
    loop {
        let centre = &sample[chosen * width..][..width];
        centres.extend_from_slice(centre);
        if centres.len() == count.min(rows) * width {
            return centres;
        }
        let packed = Rows::new(cores, width, centre);
        for (batch, distances) in sample.chunks(BATCH * width).zip(distances.chunks_mut(BATCH)) {
            for (cosine, distance) in packed.cosines(cores, batch, &mut out).iter().zip(distances) {
                *distance = distance.min(f64::from(1.0 - cosine).max(0.0));
            }
        }
        // Vectors of one picture differ by rounding, and are no further centres.
        let weight = |distance: &f64| if *distance > 1e-6 { *distance } else { 0.0 };
        let total: f64 = distances.iter().map(weight).sum();
        let mut left = (next(&mut random) >> 11) as f64 / (1u64 << 53) as f64 * total;
        let Some(last) = distances.iter().rposition(|distance| weight(distance) > 0.0) else { return centres };
        let found = distances.iter().position(|distance| {
            left -= weight(distance);
            left < 0.0
        });
        chosen = found.unwrap_or(last);
    }
}

/// SplitMix64 (Steele, Lea and Flood, 2014).
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The first of the highest.
fn nearest(cosines: &[f32]) -> (usize, f32) {
    cosines.iter().copied().enumerate().fold((0, f32::MIN), |best, one| if one.1 > best.1 { one } else { best })
}

/// Puts an item into its place among the nearest, of which there are at most `most`.
fn keep(kept: &mut Vec<(ItemId, f32)>, one: (ItemId, f32), most: usize) {
    let place = kept.partition_point(|other| other.1 > one.1 || (other.1 == one.1 && other.0 < one.0));
    if place < most {
        kept.insert(place, one);
        kept.truncate(most);
    }
}

/// Gives clusters their words.
fn describe(reader: &Reader, clusters: &mut [Cluster]) -> Result<(), Error> {
    let mut counts: Vec<BTreeMap<String, usize>> = vec![];
    let mut clusters_with: BTreeMap<String, usize> = BTreeMap::new();
    for cluster in clusters.iter() {
        let mut count: BTreeMap<String, usize> = BTreeMap::new();
        for (item, _) in &cluster.examples {
            let Some(item) = reader.item(*item)? else { continue };
            let tags: BTreeSet<String> = item.tags.into_iter().map(|tag| tag.tag).collect();
            let words = if tags.is_empty() { item.captions.iter().flat_map(|caption| words(&caption.text)).collect() } else { tags };
            words.into_iter().for_each(|word| *count.entry(word).or_default() += 1);
        }
        count.keys().for_each(|word| *clusters_with.entry(word.clone()).or_default() += 1);
        counts.push(count);
    }
    let total = clusters.len() as f64;
    for (cluster, count) in clusters.iter_mut().zip(counts) {
        // A word of a single item of many says nothing about the others.
        let least = if cluster.examples.len() > 3 { 2 } else { 1 };
        let weight = |(word, count): (String, usize)| (count as f64 * (1.0 + total / clusters_with[&word] as f64).ln(), word);
        let mut weighted: Vec<(f64, String)> = count.into_iter().filter(|(_, count)| *count >= least).map(weight).collect();
        weighted.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        cluster.words = weighted.into_iter().take(WORDS).map(|(_, word)| word).collect();
    }
    Ok(())
}

/// The words of a caption: runs of letters and digits, of three characters at least unless they are no Latin ones.
fn words(text: &str) -> BTreeSet<String> {
    let long = |word: &&str| word.chars().count() > 2 || word.chars().any(|c| c > '\u{24f}');
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).filter(long).map(str::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use hua_kernels::Isa;

    use super::*;
    use crate::NoProgress;

    #[test]
    fn well_parted_groups_are_found_again_and_again() {
        let mut random = 7;
        let mut noise = || (next(&mut random) >> 40) as f32 / (1 << 24) as f32 - 0.5;
        let (width, groups) = (16, 5);
        let mut rows = vec![];
        for index in 0..300 {
            let mut row: Vec<f32> = (0..width).map(|i| noise() * 0.2 + if i == index % groups { 1.0 } else { 0.0 }).collect();
            let length = row.iter().map(|x| x * x).sum::<f32>().sqrt();
            row.iter_mut().for_each(|x| *x /= length);
            rows.extend(row);
        }
        for threads in [1, 2] {
            let cores = Cores::new(threads, Isa::best()).unwrap();
            let found = centres(&cores, width, &rows, groups, &NoProgress);
            assert_eq!(found, centres(&Cores::new(1, Isa::best()).unwrap(), width, &rows, groups, &NoProgress));
            let mut out = vec![];
            let packed = Rows::new(&cores, width, &found);
            let of: Vec<usize> = packed.cosines(&cores, &rows, &mut out).chunks_exact(groups).map(|c| nearest(c).0).collect();
            for index in 0..300 {
                assert_eq!(of[index] == of[0], index % groups == 0);
            }
        }
        // No more centres than different rows.
        let cores = Cores::new(1, Isa::best()).unwrap();
        assert_eq!(centres(&cores, 2, &[1.0, 0.0, 1.0, 0.0, 0.0, 1.0], 9, &NoProgress).len(), 4);
    }

    #[test]
    fn the_nearest_are_kept_in_order_whatever_the_order_they_come_in() {
        let mut kept = vec![];
        for (item, score) in [(5, 0.1), (1, 0.9), (4, 0.5), (2, 0.5), (3, 0.7)] {
            keep(&mut kept, (ItemId(item), score), 3);
        }
        assert_eq!(kept, [(ItemId(1), 0.9), (ItemId(3), 0.7), (ItemId(2), 0.5)]);
    }

    #[test]
    fn captions_are_cut_into_words() {
        assert_eq!(words("A dog, 彩虹 on the  сноуборд-2024").into_iter().collect::<Vec<_>>(), ["2024", "dog", "the", "сноуборд", "彩虹"]);
    }
}
