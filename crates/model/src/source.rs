//! What a model is opened from: a checkpoint and the files beside it.
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::de::Error as _;
use serde_json::{Map, Value};

use crate::ModelError;
use crate::checkpoint::{Checkpoint, CheckpointError};

/// A file of settings longer than this is none.
const LONGEST_SETTINGS: u64 = 2 << 20;
/// Prefixes that training tools put before every name: DataParallel's, ModelScope's.
const WRAPPERS: [&str; 2] = ["module.", "clip_model."];
/// Files that are always part of a folder, so that naming one means the folder.
const FOLDER_FILES: [&str; 4] = ["model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json"];

/// A checkpoint and its folder, open.
#[derive(Debug)]
pub struct Source {
    path: PathBuf,
    files: Files,
    checkpoint: Checkpoint,
    prefix: String,
    settings: BTreeMap<&'static str, Settings>,
}

/// Files by name, part of the program.
pub type StaticFiles = [(&'static str, &'static [u8])];

/// Where the files beside the weights are.
#[derive(Debug)]
enum Files {
    Folder(PathBuf),
    /// A file of weights alone.
    None,
    Static(&'static StaticFiles),
}

/// A file beside the weights.
#[derive(Clone, Debug)]
pub(crate) enum Companion {
    Path(PathBuf),
    Static(&'static [u8]),
}

impl Companion {
    /// Its content, if that is at most `longest` bytes.
    pub(crate) fn read(&self, longest: u64) -> io::Result<Cow<'static, [u8]>> {
        let too_long = || io::Error::new(io::ErrorKind::FileTooLarge, format!("longer than {longest} bytes"));
        match self {
            Self::Path(path) => {
                let mut bytes = vec![];
                File::open(path)?.take(longest.saturating_add(1)).read_to_end(&mut bytes)?;
                if bytes.len() as u64 > longest { Err(too_long()) } else { Ok(bytes.into()) }
            }
            Self::Static(bytes) => Ok((*bytes).into()),
        }
    }
}

/// A file of settings, as it was read.
pub type Settings = Map<String, Value>;

/// The files of settings that families look at.
const SETTINGS: [&str; 6] = [
    "config.json",
    "open_clip_config.json",
    "preprocessor_config.json",
    "text_model_config.json",
    "tokenizer_config.json",
    "vision_model_config.json",
];

impl Source {
    /// Opens a folder or a file of weights. A file named as the hubs name them stands for its folder; of any other file, such as a
    /// downloaded `.pt`, the neighbours are not looked at.
    ///
    /// # Errors
    /// [`ModelError::Checkpoint`], and [`ModelError::Json`] for settings that are not a JSON object.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        let checkpoint = Checkpoint::open(path)?;
        let named_as_in_folder = path.file_name().is_some_and(|name| FOLDER_FILES.iter().any(|file| name == *file));
        let files = match path.parent() {
            _ if path.is_dir() => Files::Folder(path.to_owned()),
            Some(parent) if named_as_in_folder => Files::Folder(parent.to_owned()),
            _ => Files::None,
        };
        Self::new(path.to_owned(), files, checkpoint)
    }

    /// The model called `name` whose files are part of the program, weights among them under one of the hubs' usual names.
    ///
    /// # Errors
    /// As [`Self::open`]; [`CheckpointError::NoWeights`] if there are no weights.
    pub fn from_memory(name: &str, files: &'static StaticFiles) -> Result<Self, ModelError> {
        let path = PathBuf::from(name);
        let weights = files.iter().find(|(file, _)| FOLDER_FILES.contains(file));
        let (file, bytes) = weights.ok_or_else(|| CheckpointError::NoWeights { path: path.clone(), foreign: vec![] })?;
        let checkpoint = Checkpoint::from_storage(&path.join(file), Arc::new(*bytes))?;
        Self::new(path, Files::Static(files), checkpoint)
    }

    /// A folder with a model's settings and tokenizer, whose weights, if it has any, are not looked at.
    pub(crate) fn without_weights(folder: &Path) -> Result<Self, ModelError> {
        Self::new(folder.to_owned(), Files::Folder(folder.to_owned()), Checkpoint::empty(folder))
    }

    fn new(path: PathBuf, files: Files, checkpoint: Checkpoint) -> Result<Self, ModelError> {
        let mut this = Self { path, files, prefix: wrapper(&checkpoint), checkpoint, settings: BTreeMap::new() };
        for file in SETTINGS {
            let Some(content) = this.companion(file) else { continue };
            let path = this.settings_path(file);
            let bytes = content.read(LONGEST_SETTINGS).map_err(ModelError::io(&path))?;
            this.settings.insert(file, parse_settings(&path, &bytes)?);
        }
        Ok(this)
    }

    /// What was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder around the weights, if it belongs to them.
    pub fn folder(&self) -> Option<&Path> {
        if let Files::Folder(folder) = &self.files { Some(folder) } else { None }
    }

    /// The file of that name beside the weights, if there is one.
    pub(crate) fn companion(&self, name: &str) -> Option<Companion> {
        match &self.files {
            Files::Folder(folder) => Some(folder.join(name)).filter(|path| path.is_file()).map(Companion::Path),
            Files::None => None,
            Files::Static(files) => files.iter().find(|(file, _)| *file == name).map(|(_, bytes)| Companion::Static(bytes)),
        }
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
        self.folder().unwrap_or(&self.path).join(file)
    }
}

/// The settings in `json`; `path` is for the message.
///
/// # Errors
/// [`ModelError::Json`].
pub(crate) fn parse_settings(path: &Path, json: &[u8]) -> Result<Settings, ModelError> {
    let error = |source| ModelError::Json { path: path.to_owned(), source };
    let found = match serde_json::from_slice(json).map_err(error)? {
        Value::Object(settings) => return Ok(settings),
        Value::Array(_) => "a list",
        Value::Bool(_) | Value::Null => "a word",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
    };
    Err(error(serde_json::Error::custom(format_args!("it is {found}"))))
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
