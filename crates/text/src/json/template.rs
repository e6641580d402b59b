//! The special tokens around a text, as the post-processor of `tokenizer.json` spells them.
use std::collections::HashMap;

use serde::Deserialize;

/// More special tokens on one side than this is not a model.
const MOST: usize = 16;

/// The post-processors that put tokens around a text, and the one that does not.
#[derive(Deserialize)]
#[serde(tag = "type")]
pub(super) enum ProcessorSpec {
    BertProcessing { sep: (String, u32), cls: (String, u32) },
    ByteLevel,
    RobertaProcessing { sep: (String, u32), cls: (String, u32) },
    Sequence { processors: Vec<ProcessorSpec> },
    TemplateProcessing { single: Vec<TemplatePiece>, special_tokens: HashMap<String, TemplateToken> },
}

#[derive(Deserialize)]
pub(super) enum TemplatePiece {
    Sequence {},
    SpecialToken { id: String },
}

#[derive(Deserialize)]
pub(super) struct TemplateToken {
    ids: Vec<u32>,
}

impl ProcessorSpec {
    /// The ids before and after the text; `None` unless there is at least one on each side.
    pub(super) fn around(&self) -> Option<(Vec<u32>, Vec<u32>)> {
        match self {
            Self::BertProcessing { sep, cls } | Self::RobertaProcessing { sep, cls } => Some((vec![cls.1], vec![sep.1])),
            Self::ByteLevel => None,
            Self::Sequence { processors } => processors.iter().find_map(Self::around),
            Self::TemplateProcessing { single, special_tokens } => template(single, special_tokens),
        }
    }
}

fn template(single: &[TemplatePiece], tokens: &HashMap<String, TemplateToken>) -> Option<(Vec<u32>, Vec<u32>)> {
    let text = single.iter().position(|piece| matches!(piece, TemplatePiece::Sequence {}))?;
    let ids = |pieces: &[TemplatePiece]| {
        let mut ids = Vec::new();
        for piece in pieces {
            match piece {
                TemplatePiece::Sequence {} => return None,
                TemplatePiece::SpecialToken { id } => ids.extend(&tokens.get(id)?.ids),
            }
        }
        (1..=MOST).contains(&ids.len()).then_some(ids)
    };
    Some((ids(&single[..text])?, ids(&single[text + 1..])?))
}
