//! What a model is opened from: a checkpoint and the files beside it.
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::ModelError;
use crate::checkpoint::Checkpoint;

/// A file of settings longer than this is none.
const LONGEST_SETTINGS: u64 = 16 << 20;
/// Prefixes that training tools put before every name: DataParallel's, ModelScope's.
const WRAPPERS: [&str; 2] = ["module.", "clip_model."];
/// Files that are always part of a folder, so that naming one means the folder.
const FOLDER_FILES: [&str; 4] = ["model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json"];

/// A checkpoint and its folder, open.
#[derive(Debug)]
pub struct Source {
    path: PathBuf,
    folder: Option<PathBuf>,
    checkpoint: Checkpoint,
    prefix: String,
    settings: BTreeMap<&'static str, Settings>,
    memory: &'static [(&'static str, &'static [u8])],
}

/// A file of settings, as it was read.
pub type Settings = Map<String, Value>;

/// The files of settings that families look at.
const SETTINGS: [&str; 6] =
    ["config.json", "open_clip_config.json", "preprocessor_config.json", "text_model_config.json", "tokenizer_config.json", "vision_model_config.json"];

impl Source {
    /// Opens a folder or a file of weights. A file named as the hubs name them stands for its folder; of any other file, such as a
    /// downloaded `.pt`, the neighbours are not looked at.
    ///
    /// # Errors
    /// [`ModelError::Checkpoint`], and [`ModelError::Json`] for settings that are not a JSON object.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        let checkpoint = Checkpoint::open(path)?;
        let named_as_in_folder = path.file_name().is_some_and(|name| FOLDER_FILES.iter().any(|file| name == *file));
        let folder = if path.is_dir() { Some(path) } else { path.parent().filter(|_| named_as_in_folder) };
        let mut settings = BTreeMap::new();
        for file in SETTINGS {
            let Some(path) = folder.map(|folder| folder.join(file)).filter(|path| path.is_file()) else { continue };
            settings.insert(file, parse_settings(&path, &read_settings(&path)?)?);
        }
        Ok(Self { path: path.to_owned(), folder: folder.map(Path::to_owned), prefix: wrapper(&checkpoint), checkpoint, settings, memory: &[] })
    }

    /// A model folder that is part of the program: its `files` by name, with `model.safetensors` among them. `name` is for messages.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn from_memory(name: &str, files: &'static [(&'static str, &'static [u8])]) -> Result<Self, ModelError> {
        let file = |name: &str| files.iter().find(|(file, _)| *file == name).map_or(&[][..], |(_, bytes)| *bytes);
        let path = Path::new(name);
        let checkpoint = Checkpoint::from_storage(&path.join(FOLDER_FILES[0]), Arc::new(file(FOLDER_FILES[0])))?;
        let mut settings = BTreeMap::new();
        for name in SETTINGS.into_iter().filter(|name| !file(name).is_empty()) {
            settings.insert(name, parse_settings(&path.join(name), file(name))?);
        }
        Ok(Self { path: path.to_owned(), folder: None, prefix: wrapper(&checkpoint), checkpoint, settings, memory: files })
    }

    /// The files of [`Self::from_memory`].
    pub(crate) fn memory(&self) -> &'static [(&'static str, &'static [u8])] {
        self.memory
    }

    /// What was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder around the weights, if it belongs to them.
    pub fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// The weights.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// What all names start with and families do not see: `module.` and the like, or nothing.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The names of all tensors, without [`Self::prefix`].
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.checkpoint.names().map(|name| &name[self.prefix.len()..])
    }

    /// The shape of a tensor, by its name without prefix.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.checkpoint.shape(&format!("{}{name}", self.prefix))
    }

    /// Whether there is a tensor of that name without prefix.
    pub fn has(&self, name: &str) -> bool {
        self.shape(name).is_some()
    }

    /// Whether a tensor's name without prefix starts so.
    pub fn has_prefix(&self, start: &str) -> bool {
        self.names().any(|name| name.starts_with(start))
    }

    /// A file of settings, if there is one.
    pub fn settings(&self, file: &str) -> Option<&Settings> {
        self.settings.get(file)
    }

    /// Where a file of settings is, or would be.
    pub fn settings_path(&self, file: &str) -> PathBuf {
        self.folder.as_deref().unwrap_or(&self.path).join(file)
    }
}

/// The settings in `json`; `path` is for the message.
///
/// # Errors
/// [`ModelError::Json`].
pub(crate) fn parse_settings(path: &Path, json: &[u8]) -> Result<Settings, ModelError> {
    serde_json::from_slice(json).map_err(|source| ModelError::Json { path: path.to_owned(), source })
}

fn read_settings(path: &Path) -> Result<Vec<u8>, ModelError> {
    let mut bytes = vec![];
    File::open(path).and_then(|file| file.take(LONGEST_SETTINGS).read_to_end(&mut bytes)).map_err(ModelError::io(path))?;
    Ok(bytes)
}

fn wrapper(checkpoint: &Checkpoint) -> String {
    let mut prefix = String::new();
    while let Some(wrapper) = WRAPPERS.iter().find(|w| {
        let longer = format!("{prefix}{w}");
        checkpoint.names().next().is_some() && checkpoint.names().all(|name| name.starts_with(&longer))
    }) {
        prefix.push_str(wrapper);
    }
    prefix
}
