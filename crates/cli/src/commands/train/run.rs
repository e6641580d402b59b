//! `hua train contrastive|distill|finetune`: a run, from its beginning or from where it was.

use std::path::{Path, PathBuf};

use clap::Args;
use hua::PrecisionChoice;
use hua::exec::Precision;
use hua::shown::thousands;
use hua_train::observe::RunFiles;
use hua_train::recipe::Kind;
use hua_train::tasks::TrainOptions;
use hua_train::{Finish, Finished, Recipe, checkpoint};

use super::recipes::BuiltIn;
use super::watch::Watch;
use crate::complaint::Complaint;
use crate::session::Session;
use crate::stop;
use crate::table::counted;

/// Run a recipe
///
/// Ctrl-C ends the run after the step it is at, with a checkpoint; a second one ends it at once. `--resume` goes on from the last checkpoint.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  hua train finetune recipe.toml -o run
  hua train finetune recipe.toml -o run --resume
  hua train finetune finetune-lora -o run --set 'data.train=[\"my-pairs.csv\"]' --set 'loss.text_distill.texts=[\"queries.tsv\"]'
  hua train contrastive recipe.toml -o run --time-limit 2h --json > events.jsonl")]
pub struct Arguments {
    /// The recipe: a TOML file, or the name of one of `hua train recipes`; with `--resume`, that of the run if none is given
    #[arg(value_name = "RECIPE", required_unless_present = "resume")]
    recipe: Option<PathBuf>,
    /// The run's folder: made, and refused if there is something in it, unless the run is resumed
    #[arg(short = 'o', long = "output", value_name = "DIR")]
    output: PathBuf,
    /// Go on from the folder's last checkpoint; begin if there is none yet
    #[arg(long)]
    resume: bool,
    /// Replace one value of the recipe: `--set optim.lr=1e-4`
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// Stop after so long, with a checkpoint to go on from: `2h`, `90m`, `1h30m`
    #[arg(long, value_name = "TIME", value_parser = minutes)]
    time_limit: Option<f64>,
    /// Steps from one line of progress to the next, where stderr is no terminal [default: fifty lines a run]
    #[arg(long, value_name = "STEPS")]
    log_every: Option<u64>,
    /// Print all that happens on stdout, a JSON object a line, as in `metrics.jsonl`
    #[arg(long)]
    json: bool,
}

pub fn run(kind: Kind, arguments: Arguments, session: &Session) -> anyhow::Result<()> {
    let Arguments { recipe: path, output, resume, mut sets, time_limit, log_every, json } = arguments;
    if session.settings.compat {
        // Upstream's optimiser; what `--set` says goes before.
        sets.splice(0..0, ["optim.no_decay=cn_clip", "optim.clip=0"].map(str::to_owned));
    }
    sets.extend(time_limit.map(|minutes| format!("train.time_limit_minutes={minutes:?}")));
    sets.extend(precision(session)?.map(|precision| format!("train.precision={precision}")));
    if !resume && is_used(&output) {
        let message = format!("`{}` has something in it, wanted a folder for a new run", output.display());
        return Err(Complaint::caller(message).hint("`--resume` goes on with the run in it; another `-o` begins a new one").into());
    }
    let recipe = read(path.as_deref(), &output, &sets)?;
    if recipe.kind != kind {
        let name = path.as_deref().unwrap_or(&output).display();
        let message = format!("`{name}` is a recipe of kind `{}`, not `{kind}`", recipe.kind);
        return Err(Complaint::caller(message).hint(format!("`hua train {}` runs it", recipe.kind)).into());
    }
    let watch = Watch::new(&session.printer, json, log_every);
    let observer = Box::new(RunFiles::new(&output, watch));
    let options = TrainOptions {
        threads: session.settings.threads,
        device: session.open_options()?.device,
        resume: resume && has_checkpoint(&output)?,
        cache: None,
        stop: stop::shared(),
    };
    if resume && !options.resume {
        session.printer.note(format!("`{}` has no checkpoint yet; the run begins", output.display()));
    }
    let finished = hua_train::tasks::train(&recipe, &output, &options, observer)?;
    settle(&finished, kind, path.as_deref(), &output, session)
}

/// Says how the run ended, and how to go on.
fn settle(finished: &Finished, kind: Kind, recipe: Option<&Path>, output: &Path, session: &Session) -> anyhow::Result<()> {
    let steps = counted(usize::try_from(finished.step)?, "step");
    let output = output.display();
    let printer = &session.printer;
    if let Some((headline, step)) = finished.best {
        printer.note(format!("best: {headline:.2} at step {}, in `{output}/best`", thousands(step)));
    }
    if finished.skipped > 0 {
        printer.warning(format!("{} skipped for numbers that are not finite", counted(usize::try_from(finished.skipped)?, "step")));
    }
    printer.note(format!("`{output}/report.html` shows the run"));
    let recipe = recipe.map_or_else(String::new, |recipe| format!(" {}", recipe.display()));
    let go_on = format!("`hua train {kind}{recipe} -o {output} --resume` goes on from here");
    match finished.why {
        Finish::Done => printer.note(format!("done: {steps}")),
        Finish::NoBetter => printer.note(format!("ended after {steps}: no evaluation was better for as long as the recipe has patience")),
        Finish::TimeUp => printer.note(format!("the time is up after {steps}; {go_on}")),
        Finish::Stopped => return Err(Complaint::file(format!("stopped after {steps}; `{output}/last` is saved")).hint(go_on).into()),
    }
    Ok(())
}

/// The recipe that was named: a file, one of the program's, or that of the run.
fn read(path: Option<&Path>, output: &Path, sets: &[String]) -> anyhow::Result<Recipe> {
    let Some(path) = path else {
        return Ok(Recipe::read(&output.join("recipe.toml"), sets)?);
    };
    let built_in = path.to_str().filter(|_| !path.exists()).and_then(BuiltIn::find);
    if built_in.is_none() && !path.exists() {
        let message = format!("`{}` does not exist, wanted a recipe", path.display());
        return Err(Complaint::caller(message).hint("`hua train recipes` lists those that the program brings along").into());
    }
    Ok(match built_in {
        Some(recipe) => Recipe::parse(path, recipe.text, sets)?,
        None => Recipe::read(path, sets)?,
    })
}

/// The precision that was asked for, of those that there is training in.
fn precision(session: &Session) -> Result<Option<&'static str>, Complaint> {
    match session.settings.precision_asked {
        None => Ok(None),
        Some(PrecisionChoice::Just(Precision::Bf16)) => Ok(Some("bf16")),
        Some(PrecisionChoice::Just(Precision::F32)) => Ok(Some("f32")),
        Some(other) => Err(Complaint::caller(format!("there is no training in `{other}`, wanted `f32` or `bf16`"))),
    }
}

/// Whether there is anything to go on from.
fn has_checkpoint(folder: &Path) -> hua_train::Result<bool> {
    Ok(checkpoint::find(folder, checkpoint::LAST)?.is_some() || checkpoint::find(folder, checkpoint::BEST)?.is_some())
}

/// Whether a folder holds anything, or is none.
fn is_used(folder: &Path) -> bool {
    match std::fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_some(),
        Err(_) => folder.exists(),
    }
}

/// Minutes of `2h`, `90m`, `45s`, `1h30m`.
fn minutes(text: &str) -> Result<f64, String> {
    let wrong = || "wanted hours, minutes or seconds: `2h`, `90m`, `1h30m`".to_owned();
    let (mut minutes, mut rest) = (0.0, text);
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let number: f64 = rest[..end].parse().map_err(|_| wrong())?;
        let mut unit = rest[end..].chars();
        minutes += number
            * match unit.next() {
                Some('h') => 60.0,
                Some('m') => 1.0,
                Some('s') => 1.0 / 60.0,
                _ => return Err(wrong()),
            };
        rest = unit.as_str();
    }
    if minutes > 0.0 { Ok(minutes) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_hours_minutes_and_seconds() {
        assert_eq!(["2h", "90m", "1h30m", "1.5h", "30s"].map(|text| minutes(text).unwrap()), [120.0, 90.0, 90.0, 90.0, 0.5]);
        for wrong in ["", "2", "h", "2d", "0m", "-1h", "1h 30m", "1..5h"] {
            assert!(minutes(wrong).is_err(), "{wrong}");
        }
    }
}
