//! The program `hua`: reads what was typed, resolves the settings once, and hands over to one command. Each command is a file in
//! [`commands`]: its arguments, its help, its work. Nothing here knows how a model computes.

mod commands;
mod complaint;
mod env;
mod output;
mod page;
mod printer;
mod progress;
mod session;
mod settings;
mod sheet;
mod stop;
mod table;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::commands::{bench, classify, convert, data, embed, eval, index, inspect, pull, search, similarity, train};
use crate::printer::Printer;
use crate::session::Session;
use crate::settings::{Global, Settings};

/// Search pictures with words of many languages.
///
/// hua puts pictures and words into one space with models of the CLIP, Chinese-CLIP, AltCLIP and Taiyi families, so that words find
/// pictures, pictures find pictures, and labels name them. Without a model named, a small built-in one answers (en zh es fr ru ja ko ar it).
#[derive(Parser)]
#[command(name = "hua", version, after_long_help = env::help(), propagate_version = true, disable_help_subcommand = false)]
struct Hua {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    global: Global,
}

#[derive(Subcommand)]
enum Command {
    Bench(bench::Arguments),
    Classify(classify::Arguments),
    Convert(convert::Arguments),
    Data(data::Arguments),
    Embed(embed::Arguments),
    Eval(eval::Arguments),
    Index(index::Arguments),
    Inspect(inspect::Arguments),
    Pull(pull::Arguments),
    Search(search::Arguments),
    Similarity(similarity::Arguments),
    Train(train::Arguments),
}

fn main() -> ExitCode {
    let Hua { command, global } = Hua::parse();
    let (color, quiet) = (global.color, global.quiet);
    let settings = match Settings::resolve(global, |name| std::env::var(name).ok()) {
        Ok(settings) => settings,
        Err(complaint) => return complaint::report(&Printer::new(color, quiet), &complaint.into()),
    };
    let printer = Printer::new(settings.color, settings.quiet);
    match run(command, &Session { settings, printer }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complaint::report(&printer, &error),
    }
}

fn run(command: Command, session: &Session) -> anyhow::Result<()> {
    if session.settings.threads > 0 {
        // Training and evaluation share some of their work among rayon's own threads, beside those of the executors; never more than it
        // would take by itself, so that the executors are the ones to refuse too many.
        let threads = session.settings.threads.min(std::thread::available_parallelism().map_or(1, usize::from));
        rayon::ThreadPoolBuilder::new().num_threads(threads).build_global()?;
    }
    match command {
        Command::Bench(arguments) => bench::run(arguments, session),
        Command::Classify(arguments) => classify::run(arguments, session),
        Command::Convert(arguments) => convert::run(arguments, session),
        Command::Data(arguments) => data::run(arguments, session),
        Command::Embed(arguments) => embed::run(arguments, session),
        Command::Eval(arguments) => eval::run(arguments, session),
        Command::Index(arguments) => index::run(arguments, session),
        Command::Inspect(arguments) => inspect::run(arguments, session),
        Command::Pull(arguments) => pull::run(arguments, session),
        Command::Search(arguments) => search::run(arguments, session),
        Command::Similarity(arguments) => similarity::run(arguments, session),
        Command::Train(arguments) => train::run(arguments, session),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Hua::command().debug_assert();
    }

    #[test]
    fn every_command_says_what_why_and_an_example() {
        for command in Hua::command().get_subcommands() {
            assert!(command.get_long_about().is_some(), "{}", command.get_name());
            let examples = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
            let nested = command.get_subcommands().next().is_some();
            assert!(nested || examples.starts_with("Examples:"), "{}", command.get_name());
        }
    }
}
