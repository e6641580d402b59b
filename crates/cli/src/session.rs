//! What every command has at hand: the settings, the printer, and the model they name.

use std::path::Path;

use hua::{DeviceKind, Embedder, Failure, OpenOptions, PackedOptions, Truncation, hub};

use crate::printer::Printer;
use crate::progress::{Bar, Unit};
use crate::settings::{Device, Settings};
use crate::table::counted;

/// Failures and cut texts that are told one by one; more are counted.
const TOLD: usize = 10;

/// Settings and printer of one run.
pub struct Session {
    pub settings: Settings,
    pub printer: Printer,
}

impl Session {
    /// Opens the model that was named, or the built-in one, and says so in that case.
    pub fn embedder(&self) -> anyhow::Result<Embedder> {
        let options = self.open_options()?;
        let embedder = match &self.settings.model {
            Some(name) => Embedder::open_with(name, &options)?,
            None => {
                let embedder = Embedder::embedded(&options)?;
                let name = embedder.name();
                self.printer.note(format!("the built-in model `{name}` answers; name another with `--model NAME-OR-PATH` or HUA_MODEL"));
                embedder
            }
        };
        if let Some(measured) = embedder.measured() {
            self.printer.note(format!("computing in {}: on this machine {measured}", embedder.precision()));
        }
        Ok(embedder)
    }

    /// How a model is opened.
    pub fn open_options(&self) -> anyhow::Result<OpenOptions> {
        let hub = hub::Settings::from_env();
        let image_from = self.settings.image_from.as_deref().map(|name| hub::resolve(name, &hub)).transpose().map_err(hua::Error::from)?;
        Ok(OpenOptions {
            family: self.settings.family.clone(),
            image_from,
            context_length: self.settings.context_length,
            threads: self.settings.threads,
            device: match self.settings.device {
                Device::Cpu => DeviceKind::Cpu,
                Device::Reference => DeviceKind::Reference,
            },
            precision: self.settings.precision,
            packed: PackedOptions { folder: self.cache().map(|cache| cache.join("packed")), when: self.settings.packed },
            compat: self.settings.compat,
            shrink_on_load: self.settings.shrink_on_load,
            hub,
        })
    }

    /// Where embeddings of pictures are kept.
    pub fn cache(&self) -> Option<&Path> {
        self.settings.cache.as_deref()
    }

    /// A bar for work on pictures or texts.
    pub fn bar(&self) -> Bar {
        Bar::new(&self.printer, Unit::Items)
    }

    /// Tells which pictures could not be used.
    pub fn warn_failures(&self, failures: &[Failure]) {
        for Failure { path, reason } in failures.iter().take(TOLD) {
            self.printer.warning(format!("left out `{path}`: {reason}"));
        }
        if failures.len() > TOLD {
            self.printer.warning(format!("left out {} more", counted(failures.len() - TOLD, "picture")));
        }
    }

    /// Tells which texts were cut.
    pub fn warn_cut(&self, texts: &CutTexts) {
        for (start, cut) in &texts.first {
            let tokens = counted(*cut, "token");
            self.printer.warning(format!("the text `{start}…` is longer than the model reads: its last {tokens} did not count"));
        }
        if texts.more > 0 {
            self.printer.warning(format!("{} more cut so", counted(texts.more, "text")));
        }
    }
}

/// Texts that were longer than the model reads, over all batches of a run.
#[derive(Default)]
pub struct CutTexts {
    /// How the first few begin, and how many tokens of each were left out.
    first: Vec<(String, usize)>,
    more: usize,
}

impl CutTexts {
    /// Takes note of a batch.
    pub fn add(&mut self, texts: &[impl AsRef<str>], truncated: &[Truncation]) {
        for Truncation { index, cut } in truncated {
            if self.first.len() < TOLD {
                let start = texts.get(*index).map(|text| text.as_ref().chars().take(24).collect()).unwrap_or_default();
                self.first.push((start, *cut));
            } else {
                self.more += 1;
            }
        }
    }
}
