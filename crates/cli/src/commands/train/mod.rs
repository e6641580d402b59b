//! `hua train`: runs a recipe, a command for each kind of it; and what belongs to recipes and adapters.

mod adapters;
mod recipes;
mod run;
mod watch;

use clap::{Args, Subcommand};
use hua_train::recipe::Kind;

use crate::session::Session;

/// Train a model by a recipe, on this machine
///
/// A recipe is a TOML file that says all of a run: the model it starts from, the data, the loss, how long. `hua train recipes` lists some to
/// begin with. The run's folder gets the model (`best/` and `last/`, which every command takes as `--model`), a report to open in a browser,
/// metrics for TensorBoard and as JSONL, and the recipe as it ran. A run that was stopped or killed goes on with `--resume`, and ends with
/// the same numbers as one that was not.
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Teach pictures and texts to meet: CLIP's loss on pairs, from random or locked towers
    Contrastive(run::Arguments),
    /// Teach a text tower the vectors that a teacher gives to parallel texts (AltCLIP's stage 1)
    Distill(run::Arguments),
    /// Train a model further on other data: all of it, some layers, or low-rank adapters
    Finetune(run::Arguments),
    /// Write low-rank adapters into the model they belong to
    Merge(adapters::Merge),
    /// List recipes to begin with, or print one
    Recipes(recipes::Arguments),
    /// Take merged adapters out of a model again
    Unmerge(adapters::Unmerge),
}

pub fn run(Arguments { command }: Arguments, session: &Session) -> anyhow::Result<()> {
    match command {
        Command::Contrastive(arguments) => run::run(Kind::Contrastive, arguments, session),
        Command::Distill(arguments) => run::run(Kind::Distill, arguments, session),
        Command::Finetune(arguments) => run::run(Kind::Finetune, arguments, session),
        Command::Merge(arguments) => adapters::merge(arguments, session),
        Command::Recipes(arguments) => recipes::run(arguments, session),
        Command::Unmerge(arguments) => adapters::unmerge(arguments, session),
    }
}
