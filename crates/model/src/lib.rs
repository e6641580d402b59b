//! Checkpoints in every format people have, and what each model family makes of them.
pub mod arch;
pub mod checkpoint;
mod preset;

pub use arch::{Activation, ArchError, Bert, BertHead, ClipText, EndOfText, ImageTower, ResNet, TextTower, Vit};
pub use preset::{Preset, preset, presets};
