//! `[loss]`: what is made small.
use serde::{Deserialize, Serialize};

use crate::loss::Duplicates;
use crate::{Error, Result};

/// What is made small: a contrast of pictures and texts, and what is added to it. `hua train distill` has `text_distill` alone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LossSection {
    /// How pictures and texts are contrasted: `"info_nce"` (CLIP) or `"sigmoid"` (SigLIP). Default `"info_nce"`.
    pub contrast: ContrastKind,
    /// Other captions of a picture, other pictures of a caption: `"positive"` or `"ignored"`. Default `"positive"`.
    pub duplicates: Duplicates,
    /// Share of each target that is spread over the whole batch, 0 to 1; of InfoNCE alone. Default 0.
    pub smoothing: f32,
    /// Weight of InfoNCE between texts of a group that are in different languages. Default 0.
    pub text_text: f32,
    /// Weight of InfoNCE between pictures of a group. Default 0.
    pub image_image: f32,
    /// Texts towards a teacher's vectors. In `hua train distill` it is the loss; elsewhere it is added, over texts of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text_distill: Option<TextDistill>,
    /// Pictures towards a teacher's vectors of the same pictures (Chinese-CLIP's distillation).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_distill: Option<ImageDistill>,
}

/// How pictures and texts are contrasted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContrastKind {
    /// Symmetric softmax over the batch (arXiv 2103.00020).
    #[default]
    InfoNce,
    /// A yes-or-no question for each pair (arXiv 2303.15343), with a trained `logit_bias`.
    Sigmoid,
}

/// Texts towards a teacher's vectors. The weights of several losses add up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TextDistill {
    /// Weight of all of it. Default 1.
    pub weight: f32,
    /// The model whose text tower gives the targets; `[model] teacher` if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub teacher: Option<String>,
    /// Instead of a teacher, its vectors: a safetensors file with `vectors` `[n, width]`, and beside it a `.txt` of the same name with a text
    /// a line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vectors: Option<String>,
    /// Weight of the mean squared error of raw vectors (AltCLIP's stage 1). Default 1.
    pub mse: f32,
    /// Weight of one minus the mean cosine. Default 0.
    pub cosine: f32,
    /// Weight of InfoNCE between the student's vectors and the teacher's, with a temperature of its own. Default 0.
    pub contrastive: f32,
    /// What of the teacher's text tower: `"embedding"`, or a node's name such as `"final.pick"`, which is what AltCLIP learned: the teacher's
    /// vector before its projection. Default `"embedding"`.
    pub teacher_output: String,
    /// What of the student's. With both `"final.pick"` and projections of one size, the teacher's projection becomes the student's. Default
    /// `"embedding"`.
    pub student_output: String,
    /// What is done where the teacher is wider or narrower: `"projection"` (a trained matrix from the student's width to the teacher's) or
    /// `"pca"` (targets in the teacher's principal directions, for a student that is narrower). Default `"projection"`.
    pub fit: Fit,
    /// The language whose text the teacher reads for all texts of a row (AltCLIP: `"en"`); rows without it are left out. If absent, the teacher
    /// reads each text itself, for teachers that know the languages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pivot: Option<String>,
    /// Parallel text, or texts a line, that it learns from. `hua train distill` takes `[data] train` instead; elsewhere, if there are none, the
    /// texts of the training pairs.
    #[serde(deserialize_with = "crate::recipe::lists::one_or_many")]
    pub texts: Vec<String>,
    /// Items of a step's batch; as many as `[train] batch` if 0. Default 0.
    pub batch: usize,
}

impl Default for TextDistill {
    fn default() -> Self {
        Self {
            weight: 1.0,
            teacher: None,
            vectors: None,
            mse: 1.0,
            cosine: 0.0,
            contrastive: 0.0,
            teacher_output: "embedding".to_owned(),
            student_output: "embedding".to_owned(),
            fit: Fit::Projection,
            pivot: None,
            texts: vec![],
            batch: 0,
        }
    }
}

/// Pictures towards a teacher's vectors: one minus the mean cosine, after a trained matrix where widths differ.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ImageDistill {
    /// Its weight. Default 0.5, as upstream's.
    pub weight: f32,
    /// The model whose image tower gives the targets; `[model] teacher` if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub teacher: Option<String>,
    /// Instead of a teacher, its vectors: a safetensors file with `vectors` `[n, width]`, and beside it a `.txt` of the same name with the name
    /// of a picture a line: as hua has it, or what follows the last `/` or `#` in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vectors: Option<String>,
}

impl Default for ImageDistill {
    fn default() -> Self {
        Self { weight: 0.5, teacher: None, vectors: None }
    }
}

/// What is done where a teacher's vectors have another width.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fit {
    /// The teacher's vectors are reduced to their principal directions.
    Pca,
    /// The student's vectors go through a trained matrix.
    #[default]
    Projection,
}

impl LossSection {
    /// Refuses what cannot be.
    ///
    /// # Errors
    /// [`Error::Recipe`].
    pub fn check(&self) -> Result<()> {
        let mut weights = vec![("text_text", self.text_text), ("image_image", self.image_image)];
        if let Some(text) = &self.text_distill {
            weights.extend([
                ("text_distill.weight", text.weight),
                ("text_distill.mse", text.mse),
                ("text_distill.cosine", text.cosine),
                ("text_distill.contrastive", text.contrastive),
            ]);
            if text.mse == 0.0 && text.cosine == 0.0 && text.contrastive == 0.0 {
                return Err(Error::recipe("loss.text_distill", "without any loss", "a weight above 0 of `mse`, `cosine` or `contrastive`"));
            }
        }
        weights.extend(self.image_distill.iter().map(|image| ("image_distill.weight", image.weight)));
        if let Some((key, weight)) = weights.into_iter().find(|(_, weight)| !(*weight >= 0.0 && weight.is_finite())) {
            return Err(Error::recipe(format!("loss.{key}"), weight.to_string(), "a weight of at least 0"));
        }
        if !(0.0..1.0).contains(&self.smoothing) {
            return Err(Error::recipe("loss.smoothing", self.smoothing.to_string(), "a share from 0 to below 1"));
        }
        Ok(())
    }
}
