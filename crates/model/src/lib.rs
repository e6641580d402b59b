//! Checkpoints in every format people have, and what each model family makes of them.
//!
//! A [`Checkpoint`](checkpoint::Checkpoint) is named tensors and knows no architecture. A [`Family`] says what one kind of checkpoint means:
//! which sizes it has, and by which [`layout`] its names become those of the [graphs](arch) built from the sizes. [`Model::open`] puts
//! it together, strictly: what is missing, misshapen or unused is an error. Nothing is computed here.
pub mod arch;
pub mod checkpoint;
mod config;
mod error;
pub mod families;
mod family;
mod fingerprint;
mod infer;
mod initialise;
pub mod layout;
mod load;
mod model;
mod names;
mod preset;
mod save;
mod source;
mod spec;

pub use arch::{Activation, ArchError, Bert, BertHead, ClipText, EndOfText, ImageTower, ResNet, TextTower, Vit};
pub use error::{Mismatch, Misshapen, ModelError};
pub use families::read_config;
pub use family::{FAMILIES, Family, Towers, family};
pub use model::{Model, OpenOptions, Tower};
pub use preset::{Preset, preset, presets};
pub use save::SaveOptions;
pub use source::{Settings, Source, StaticFiles};
pub use spec::{ModelSpec, Preprocessing, TokenizerKind, TokenizerSpec};
