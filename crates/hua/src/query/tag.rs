//! Tags from a list of labels, without training: each label is embedded, in sentences if some are given, and compared with every picture.
//!
//! A tag is written where the level of the label's cosine (`calibrate.rs`) reaches the least one: where the picture stands out among those of
//! the library for this label more than the best picture of most background queries does for them. So each label has a threshold of its
//! own, a label for which there is no picture gets none, and the level is what is written as the tag's score. Tags of a source are
//! replaced as a whole and can be removed as a whole; those of other sources stay.
use hua_index::{Filter, ItemId, Reader, SpaceId, Tag, Writer};
use hua_kernels::Cores;

use super::products::{BATCH, Rows};
use super::{Background, Calibration, SUGGESTED_LEVEL};
use crate::{Classifier, Error, Progress};

/// How tags are chosen.
#[derive(Clone, Debug)]
pub struct TagOptions {
    /// Who says so: what the tags are filed under.
    pub source: String,
    /// The least level.
    pub least_level: f32,
    /// Tags of an item at most, the best.
    pub most: usize,
}

impl Default for TagOptions {
    fn default() -> Self {
        Self { source: "zero-shot".into(), least_level: SUGGESTED_LEVEL, most: 5 }
    }
}

/// What was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tagged {
    /// Items that were looked at.
    pub items: u64,
    /// Of these, items with a tag.
    pub tagged: u64,
    /// The labels in the caller's order, and how many items have each.
    pub labels: Vec<(String, u64)>,
    /// Tags of the same source that were there before.
    pub replaced: u64,
}

/// Writes the labels of `classifier` that fit as tags, instead of those that the source has, and commits.
///
/// # Errors
/// If the library cannot be read or written.
pub fn tag(
    (reader, writer): (&Reader, &mut Writer),
    cores: &Cores,
    space: SpaceId,
    classifier: &Classifier,
    calibration: &Calibration,
    options: &TagOptions,
    progress: &dyn Progress,
) -> Result<Tagged, Error> {
    let labels = classifier.labels();
    let backgrounds: Vec<Background> = classifier.embeddings().rows().map(|row| calibration.background(row)).collect();
    let rows = Rows::new(cores, classifier.embeddings().width(), classifier.embeddings().as_slice());
    let mut done = Tagged { labels: labels.iter().map(|label| (label.clone(), 0)).collect(), ..Tagged::default() };
    done.replaced = writer.clear_tags(&options.source)?;
    progress.start("tagging pictures", reader.count(&Filter::all())?);
    let (mut data, mut items, mut out) = (vec![], vec![], vec![]);
    let mut write = |data: &mut Vec<f32>, items: &mut Vec<ItemId>| {
        let cosines = rows.cosines(cores, data, &mut out);
        for (item, cosines) in items.iter().zip(cosines.chunks_exact(labels.len())) {
            let levels = cosines.iter().zip(&backgrounds).map(|(cosine, background)| {
                let z = background.z(*cosine);
                (z, calibration.level(z))
            });
            let mut fitting: Vec<(usize, f32, f32)> = levels
                .enumerate()
                .filter(|(_, (_, level))| *level >= options.least_level)
                .map(|(label, (z, level))| (label, z, level))
                .collect();
            fitting.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            fitting.truncate(options.most);
            if !fitting.is_empty() {
                fitting.iter().for_each(|(label, ..)| done.labels[*label].1 += 1);
                let tag = |(label, _, level): &(usize, f32, f32)| Tag {
                    tag: labels[*label].clone(),
                    score: Some(f64::from(*level)),
                    source: options.source.clone(),
                };
                writer.set_tags(*item, &options.source, &fitting.iter().map(tag).collect::<Vec<_>>())?;
                done.tagged += 1;
            }
        }
        done.items += items.len() as u64;
        progress.advance(items.len() as u64);
        data.clear();
        items.clear();
        Ok::<(), Error>(())
    };
    for row in reader.rows(space)? {
        let (item, vector) = row?;
        items.push(item);
        data.extend(vector);
        if items.len() == BATCH {
            write(&mut data, &mut items)?;
        }
    }
    write(&mut data, &mut items)?;
    writer.commit()?;
    progress.finish();
    Ok(done)
}
