//! `hua train recipes`: the recipes that the program brings along, to be copied and changed.

use clap::Args;

use crate::complaint::Complaint;
use crate::session::Session;
use crate::table::{Align, Table};

#[derive(Args)]
#[command(after_long_help = "\
Examples:
  hua train recipes
  hua train recipes finetune-lora > my.toml")]
pub struct Arguments {
    /// The one to print
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

/// A recipe of the program: its name and its text, whose first line says what it is.
pub struct BuiltIn {
    pub name: &'static str,
    pub text: &'static str,
}

/// All of them.
pub const BUILT_IN: &[BuiltIn] = &[
    BuiltIn { name: "contrastive-locked", text: include_str!("../../../../../recipes/contrastive-locked.toml") },
    BuiltIn { name: "contrastive-unlocked", text: include_str!("../../../../../recipes/contrastive-unlocked.toml") },
    BuiltIn { name: "distill", text: include_str!("../../../../../recipes/distill.toml") },
    BuiltIn { name: "finetune", text: include_str!("../../../../../recipes/finetune.toml") },
    BuiltIn { name: "finetune-lora", text: include_str!("../../../../../recipes/finetune-lora.toml") },
];

impl BuiltIn {
    /// The one of that name.
    pub fn find(name: &str) -> Option<&'static Self> {
        BUILT_IN.iter().find(|recipe| recipe.name == name)
    }

    /// What it is, in a line.
    fn about(&self) -> &'static str {
        self.text.lines().next().unwrap_or_default().trim_start_matches('#').trim()
    }
}

pub fn run(Arguments { name }: Arguments, session: &Session) -> anyhow::Result<()> {
    let Some(name) = name else {
        let mut table = Table::plain(&[Align::Left, Align::Left]);
        BUILT_IN.iter().for_each(|recipe| table.row([recipe.name.to_owned(), recipe.about().to_owned()]));
        session.printer.data(table)?;
        session.printer.note("`hua train recipes NAME > my.toml` copies one, to be changed");
        return Ok(());
    };
    let recipe = BuiltIn::find(&name).ok_or_else(|| {
        let names: Vec<String> = BUILT_IN.iter().map(|recipe| format!("`{}`", recipe.name)).collect();
        Complaint::caller(format!("`{name}` is no recipe of this program")).hint(format!("there are {}", names.join(", ")))
    })?;
    Ok(session.printer.data(recipe.text.trim_end())?)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use hua_train::Recipe;

    use super::*;

    #[test]
    fn every_recipe_reads_and_says_what_it_is() {
        for recipe in BUILT_IN {
            assert!(recipe.text.starts_with("# ") && recipe.about().len() > 20, "{}", recipe.name);
            let read = Recipe::parse(Path::new(recipe.name), recipe.text, &[]).unwrap_or_else(|error| panic!("{}: {error}", recipe.name));
            assert!(recipe.name.starts_with(&read.kind.to_string()), "{}", recipe.name);
        }
    }
}
