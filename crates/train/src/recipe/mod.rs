//! The recipe of a run: one TOML file, one struct a section, every key documented here with its unit and default.
//!
//! Decided here: unknown keys are refused; what is not said is filled in once, so that the copy in the run's folder says everything; the
//! same recipe gives the same run. `--set section.key=value` replaces single values before anything is checked.
mod check;
mod checkpoint;
mod data;
mod eval;
pub(crate) mod lists;
mod loss;
mod model;
mod optim;
mod read;
mod schedule;
mod train;

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::optim::{Start, suitable_lr};

pub use checkpoint::CheckpointSection;
pub use data::DataSection;
pub use eval::EvalSection;
pub use loss::{ContrastKind, Fit, ImageDistill, LossSection, TextDistill};
pub use model::{Lora, ModelSection, TowerSection, Trained};
pub use optim::{NoDecay, OptimKind, OptimSection};
pub use schedule::{Decay, ScheduleSection};
pub use train::{TrainPrecision, TrainSection};

/// What a run does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Which task it is; `hua train` has a command for each.
    pub kind: Kind,
    /// What it starts from.
    pub model: ModelSection,
    /// What it learns from, and what it is evaluated on.
    pub data: DataSection,
    /// The text tower.
    #[serde(default)]
    pub text: TowerSection,
    /// The image tower.
    #[serde(default)]
    pub image: TowerSection,
    /// What is made small.
    #[serde(default)]
    pub loss: LossSection,
    /// The optimiser.
    #[serde(default)]
    pub optim: OptimSection,
    /// How long, and the learning rate over that time.
    #[serde(default)]
    pub schedule: ScheduleSection,
    /// The steps.
    #[serde(default)]
    pub train: TrainSection,
    /// When it is evaluated, and when it stops early.
    #[serde(default)]
    pub eval: EvalSection,
    /// When checkpoints are written.
    #[serde(default)]
    pub checkpoint: CheckpointSection,
}

impl Recipe {
    /// Whether every number is one that can be.
    ///
    /// # Errors
    /// [`crate::Error::Recipe`], of the first that is not.
    pub fn check(&self) -> Result<()> {
        self.model.check(self.kind)?;
        self.data.check()?;
        self.text.check("text")?;
        self.image.check("image")?;
        self.loss.check()?;
        self.optim.check()?;
        self.schedule.check()?;
        self.train.check()?;
        self.eval.check()?;
        self.checkpoint.check()
    }

    /// The base learning rate: what the recipe says, or what suits its start and its batch.
    pub fn base_lr(&self) -> f64 {
        let lora = [&self.text, &self.image].iter().any(|tower| matches!(tower.train, Trained::Lora(_)));
        // A tower that was trained before needs care, whatever stands beside it.
        let tower = |section: &TowerSection, init: &Option<String>| section.train != Trained::None && init.is_none();
        let random = tower(&self.text, &self.model.init_text) || tower(&self.image, &self.model.init_image);
        let start = match self.kind {
            _ if lora => Start::Lora,
            _ if self.model.config.is_some() && random => Start::Scratch,
            Kind::Distill => Start::Student,
            Kind::Contrastive | Kind::Finetune => Start::Checkpoint,
        };
        self.optim.lr.unwrap_or_else(|| suitable_lr(start, self.train.batch))
    }
}

/// The tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Pictures and texts, towards each other.
    Contrastive,
    /// A text tower towards a teacher's vectors of parallel texts (AltCLIP's stage 1).
    Distill,
    /// A trained model further, on other data: all of it, some layers, or low-rank adapters.
    Finetune,
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Contrastive => "contrastive",
            Self::Distill => "distill",
            Self::Finetune => "finetune",
        })
    }
}
