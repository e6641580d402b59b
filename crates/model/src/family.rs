//! What one kind of checkpoint means: the trait, and the list of those that hua knows.
//!
//! **To add a family**: write `families/NAME.rs` with a unit struct that is a [`Family`], add it to [`FAMILIES`], and add a golden.
use std::fmt;

use serde_json::Value;

use crate::arch::{ImageTower, TextTower};
use crate::families::{AltClip, ChineseClip, Clip, Taiyi};
use crate::layout::Layout;
use crate::source::Source;
use crate::{ModelError, ModelSpec, Preprocessing, TokenizerKind};

/// A kind of checkpoint.
pub trait Family: fmt::Debug + Sync {
    /// Its name: lower case, as in `--family`.
    fn name(&self) -> &'static str;

    /// Its name as people write it.
    fn title(&self) -> &'static str;

    /// The layouts its checkpoints come in; the first is the one hua writes if it is told nothing else.
    fn layouts(&self) -> &'static [&'static Layout];

    /// The layout of a checkpoint, if it is one of this family. Tensors' names decide, since configurations mislead.
    fn recognises(&self, source: &Source) -> Option<&'static Layout>;

    /// The sizes of a checkpoint's towers.
    ///
    /// # Errors
    /// If the configuration lacks or has something that hua does not know.
    fn towers(&self, source: &Source, layout: &'static Layout) -> Result<Towers, ModelError>;

    /// How its texts become ids.
    fn tokenizer(&self) -> TokenizerKind;

    /// The longest text it is used with, tokens, special ones included.
    fn context_length(&self, text: &TextTower) -> usize;

    /// What its pictures go through where no file says it.
    fn preprocessing(&self, image_size: usize) -> Preprocessing;

    /// The towers as they would be read back from a file that carries no configuration.
    fn without_config(&self, spec: &ModelSpec) -> Towers {
        Towers { image: Some(spec.image.clone()), text: spec.text.clone() }
    }

    /// transformers' `config.json` of a model, if transformers knows such models.
    fn config(&self, spec: &ModelSpec) -> Option<Value>;
}

/// The sizes of a checkpoint's towers.
#[derive(Clone, Debug, PartialEq)]
pub struct Towers {
    /// The image tower, unless the checkpoint has none.
    pub image: Option<ImageTower>,
    /// The text tower.
    pub text: TextTower,
}

/// All families, the more particular first.
pub const FAMILIES: &[&dyn Family] = &[&AltClip, &Taiyi, &ChineseClip, &Clip];

/// The family of that name.
///
/// # Errors
/// [`ModelError::UnknownFamily`].
pub fn family(name: &str) -> Result<&'static dyn Family, ModelError> {
    let unknown = || ModelError::UnknownFamily { name: name.to_owned(), known: known() };
    FAMILIES.iter().find(|family| family.name() == name).copied().ok_or_else(unknown)
}

/// The names of all families, for messages.
pub(crate) fn known() -> String {
    FAMILIES.iter().map(|family| format!("`{}`", family.name())).collect::<Vec<_>>().join(", ")
}

/// The family that knows a checkpoint, and the checkpoint's layout.
pub(crate) fn recognise(source: &Source) -> Option<(&'static dyn Family, &'static Layout)> {
    FAMILIES.iter().find_map(|family| family.recognises(source).map(|layout| (*family, layout)))
}
