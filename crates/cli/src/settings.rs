//! What was typed and what the environment says, resolved once: flag, then environment, then default. Commands see only the result.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use hua::{PackedWhen, PrecisionChoice};

use crate::complaint::Complaint;
use crate::env;

/// Options of every command.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Options of every command")]
pub struct Global {
    /// Model to answer with: a name on a hub (`OFA-Sys/chinese-clip-vit-base-patch16`) or a path; default: the built-in one
    #[arg(long, short, global = true, value_name = "NAME-OR-PATH")]
    pub model: Option<String>,
    /// Read the model as this family (`clip`, `chinese-clip`, `altclip`, `taiyi`) instead of recognising it
    #[arg(long, global = true, value_name = "FAMILY")]
    pub family: Option<String>,
    /// Second folder that holds the image tower, for models that publish only the text tower (Taiyi)
    #[arg(long, global = true, value_name = "NAME-OR-PATH")]
    pub image_from: Option<String>,
    /// Longest text that is read, tokens; at most what the model has positions for [default: what the model was trained with]
    #[arg(long, global = true, value_name = "TOKENS")]
    pub context_length: Option<usize>,
    /// Threads to compute with; 0 = all cores
    #[arg(long, global = true, value_name = "N")]
    pub threads: Option<usize>,
    /// What computes: `cpu` is the fast one, `reference` the slow definition that the fast one is tested against
    #[arg(long, global = true, value_enum)]
    pub device: Option<Device>,
    /// Which numbers weights are kept in: `f32`, `bf16`, `int8`, or `auto`, the faster of f32 and bf16 on this machine [default: f32]
    #[arg(long, global = true, value_name = "PRECISION")]
    pub precision: Option<PrecisionChoice>,
    /// Match the original Python code where hua does better: ignores EXIF orientation, keeps cn_clip's resize and tokenizer rules
    #[arg(long, global = true)]
    pub compat: bool,
    /// Decode JPEGs far larger than the model's input at a half, a quarter or an eighth of their size (libjpeg's DCT scaling): nearly twice as
    /// quick, for slightly other vectors
    #[arg(long, global = true)]
    pub shrink_on_load: bool,
    /// No notes and no progress on stderr, only warnings and errors
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// When to colour
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value = "auto")]
    pub color: Color,
}

/// What computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Device {
    #[default]
    Cpu,
    Reference,
}

/// When to colour: `auto` means on a terminal, unless `NO_COLOR` is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Color {
    Always,
    #[default]
    Auto,
    Never,
}

/// The resolved settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// None: the built-in model.
    pub model: Option<String>,
    pub family: Option<String>,
    pub image_from: Option<String>,
    /// None: what the model says.
    pub context_length: Option<usize>,
    /// 0 = all cores.
    pub threads: usize,
    pub device: Device,
    pub precision: PrecisionChoice,
    /// What was asked for, if anything was: a recipe has a precision of its own.
    pub precision_asked: Option<PrecisionChoice>,
    pub packed: PackedWhen,
    pub compat: bool,
    pub shrink_on_load: bool,
    /// Folder for embeddings of pictures; None if the user has no home: nothing is kept.
    pub cache: Option<PathBuf>,
    pub quiet: bool,
    pub color: Color,
}

impl Settings {
    /// `variable` looks a name up in the environment.
    pub fn resolve(global: Global, variable: impl Fn(&str) -> Option<String>) -> Result<Self, Complaint> {
        let set = |wanted: &env::Variable| variable(wanted.name).filter(|value| !value.is_empty());
        let threads = match (global.threads, set(&env::THREADS)) {
            (Some(threads), _) => threads,
            (None, Some(text)) => text.parse().map_err(|_| wrong(&env::THREADS, &text, "a number, 0 for all cores"))?,
            (None, None) => 0,
        };
        let device = match (global.device, set(&env::DEVICE)) {
            (Some(device), _) => device,
            (None, Some(text)) => Device::from_str(&text, true).map_err(|_| wrong(&env::DEVICE, &text, "`cpu` or `reference`"))?,
            (None, None) => Device::default(),
        };
        let precision_asked = match (global.precision, set(&env::PRECISION)) {
            (Some(precision), _) => Some(precision),
            (None, Some(text)) => Some(text.parse().map_err(|_| wrong(&env::PRECISION, &text, "`f32`, `bf16`, `int8` or `auto`"))?),
            (None, None) => None,
        };
        let packed = match set(&env::PACKED).as_deref() {
            Some("always") => PackedWhen::Always,
            Some("auto") | None => PackedWhen::Auto,
            Some("off") => PackedWhen::Off,
            Some(text) => return Err(wrong(&env::PACKED, text, "`always`, `auto` or `off`")),
        };
        let color = match global.color {
            Color::Auto if set(&env::NO_COLOR).is_some() => Color::Never,
            color => color,
        };
        Ok(Self {
            model: global.model.or_else(|| set(&env::MODEL)),
            family: global.family.or_else(|| set(&env::FAMILY)),
            image_from: global.image_from,
            context_length: global.context_length,
            threads,
            device,
            precision: precision_asked.unwrap_or_default(),
            precision_asked,
            packed,
            compat: global.compat,
            shrink_on_load: global.shrink_on_load,
            cache: set(&env::CACHE).map(PathBuf::from).or_else(|| user_caches(set(&env::USER_CACHES)).map(|caches| caches.join("hua"))),
            quiet: global.quiet,
            color,
        })
    }

    /// The options with which another process opens the same model in the same way, but for the precision.
    pub fn model_flags(&self) -> Vec<String> {
        let named = [("--model", &self.model), ("--family", &self.family), ("--image-from", &self.image_from)];
        let mut flags: Vec<String> = named.into_iter().filter_map(|(flag, value)| Some(format!("{flag}={}", value.as_ref()?))).collect();
        flags.extend(self.context_length.map(|tokens| format!("--context-length={tokens}")));
        flags.push(format!("--threads={}", self.threads));
        flags.extend(self.compat.then(|| "--compat".to_owned()));
        flags
    }
}

/// The user's cache folder, as the freedesktop.org base directories have it.
fn user_caches(set: Option<String>) -> Option<PathBuf> {
    set.map(PathBuf::from).or_else(|| std::env::home_dir().map(|home| home.join(".cache")))
}

fn wrong(variable: &env::Variable, found: &str, wanted: &str) -> Complaint {
    Complaint::caller(format!("`{}` is `{found}`, not {wanted}", variable.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(name: &str) -> Option<String> {
        [("HUA_MODEL", "from-environment"), ("HUA_THREADS", "3"), ("HUA_DEVICE", "reference"), ("NO_COLOR", "1"), ("HUA_FAMILY", "")]
            .into_iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value.to_owned())
    }

    #[test]
    fn a_flag_wins_over_the_environment_and_the_environment_over_the_default() {
        let flags = Global { model: Some("from-flag".into()), device: Some(Device::Cpu), ..Global::default() };
        let settings = Settings::resolve(flags, environment).unwrap();
        assert_eq!(settings.model.as_deref(), Some("from-flag"));
        assert_eq!((settings.threads, settings.device, settings.color), (3, Device::Cpu, Color::Never));
        let settings = Settings::resolve(Global::default(), environment).unwrap();
        assert_eq!((settings.model.as_deref(), settings.device), (Some("from-environment"), Device::Reference));
        let cache = std::env::home_dir().map(|home| home.join(".cache").join("hua"));
        assert_eq!(Settings::resolve(Global::default(), |_| None).unwrap(), Settings { cache, ..Settings::default() });
    }

    #[test]
    fn precision_and_packing_are_read_from_the_environment() {
        let look = |precision: &'static str, packed: &'static str| {
            Settings::resolve(Global::default(), move |name| match name {
                "HUA_PRECISION" => Some(precision.to_owned()),
                "HUA_PACKED" => Some(packed.to_owned()),
                _ => None,
            })
        };
        let settings = look("auto", "always").unwrap();
        assert_eq!((settings.precision, settings.packed), (PrecisionChoice::Auto, PackedWhen::Always));
        let complaint = look("fp16", "auto").unwrap_err().to_string();
        assert_eq!(complaint, "`HUA_PRECISION` is `fp16`, not `f32`, `bf16`, `int8` or `auto`");
        let complaint = look("int8", "never").unwrap_err().to_string();
        assert_eq!(complaint, "`HUA_PACKED` is `never`, not `always`, `auto` or `off`");
    }

    #[test]
    fn an_empty_variable_counts_as_unset() {
        assert_eq!(Settings::resolve(Global::default(), environment).unwrap().family, None);
    }

    #[test]
    fn a_variable_that_cannot_be_read_is_the_callers_fault() {
        let complaint = Settings::resolve(Global::default(), |name| (name == "HUA_THREADS").then(|| "many".into())).unwrap_err();
        assert_eq!(complaint.to_string(), "`HUA_THREADS` is `many`, not a number, 0 for all cores");
        assert_eq!(complaint.exit_code(), 2);
    }

    #[test]
    fn every_variable_that_is_read_is_in_the_list() {
        let seen = std::cell::RefCell::new(Vec::new());
        let look = |name: &str| {
            seen.borrow_mut().push(name.to_owned());
            None
        };
        Settings::resolve(Global::default(), look).unwrap();
        for name in seen.into_inner() {
            assert!(env::OURS.iter().any(|variable| variable.name == name), "{name}");
        }
    }
}
