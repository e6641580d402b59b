//! The thing people use: a model with its tokenizer and preprocessing, ready to embed.
//!
//! Towers are loaded into the device when they are first used: a search among pictures that a cache knows never touches the
//! vision tower.
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use hua_exec::{Batch, Cpu, Device, Measured, Precision, Program, Reference, Rows};
use hua_image::{Alpha, ConvertOrder, DecodeOptions, Preprocess};
use hua_model::{Model, ModelSpec, Preprocessing, Source, TokenizerKind, Tower};
use hua_text::{Builtin, Tokenizer, TokenizerOptions, WordPieceRules};
use rayon::prelude::*;

use crate::gallery::{EMBEDDED_MODEL, MODEL_FILES};
use crate::{Embeddings, Error, PackedOptions, PrecisionChoice, Truncation, hub};

/// Threads at most. Each tower has as many, so that a slip of the hand could bring a machine to its knees.
pub const MOST_THREADS: usize = 512;
/// Texts embedded at a time.
const TEXT_BATCH: usize = 64;

/// Which executor runs the towers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceKind {
    /// The fast one.
    #[default]
    Cpu,
    /// The plain one that defines every operation: for comparison.
    Reference,
}

/// How to open a model. The default looks for models where the environment says.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// The family, where the files alone would be taken for another.
    pub family: Option<String>,
    /// The folder of the image tower, for families that publish the text tower alone (Taiyi).
    pub image_from: Option<PathBuf>,
    /// The longest text, tokens, instead of what the model's files say; at most what its position table has.
    pub context_length: Option<usize>,
    /// Threads; 0 for as many as the machine has cores.
    pub threads: usize,
    /// Which executor.
    pub device: DeviceKind,
    /// Which numbers the fast executor's weights are kept in.
    pub precision: PrecisionChoice,
    /// Where packed weights are kept.
    pub packed: PackedOptions,
    /// Do what upstream's programs do, where hua does better by default: EXIF orientation ignored, transparency dropped, quotes not mapped, and
    /// pictures resized before they are converted to RGB where the files are cn_clip's or OpenAI's.
    pub compat: bool,
    /// Decode JPEGs far larger than the model's input at a half, a quarter or an eighth of their size, but no smaller than twice that input:
    /// nearly twice as quick, for slightly other vectors.
    pub shrink_on_load: bool,
    /// Where models are kept.
    pub hub: hub::Settings,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            family: None,
            image_from: None,
            context_length: None,
            threads: 0,
            device: DeviceKind::default(),
            precision: PrecisionChoice::default(),
            packed: PackedOptions::default(),
            compat: false,
            shrink_on_load: false,
            hub: hub::Settings::from_env(),
        }
    }
}

impl OpenOptions {
    pub(crate) fn model_options(&self) -> hua_model::OpenOptions {
        let (family, image_from) = (self.family.clone(), self.image_from.clone());
        hua_model::OpenOptions { family, image_from, context_length: self.context_length }
    }
}

/// A model that embeds texts and pictures into one space.
///
/// ```
/// use hua::{Embedder, OpenOptions};
///
/// let embedder = Embedder::embedded(&OpenOptions::default())?;
/// let words = embedder.embed_texts(&["rainbow", "彩虹", "violin"])?;
/// let cosines = hua::similarity(&words, &words)?;
/// assert!(cosines.row(0)[1] > 0.7, "two names of one thing are near");
/// assert!(cosines.row(0)[2] < 0.3, "two things are not");
/// # Ok::<(), hua::Error>(())
/// ```
pub struct Embedder {
    name: String,
    model: Model,
    tokenizer: Tokenizer,
    preprocess: Preprocess,
    pub(crate) decode: DecodeOptions,
    compat: bool,
    kind: DeviceKind,
    precision: Precision,
    measured: Option<Measured>,
    device: Box<dyn Device>,
    image: OnceLock<Arc<dyn Program>>,
    text: OnceLock<Arc<dyn Program>>,
    pub(crate) pool: rayon::ThreadPool,
}

impl fmt::Debug for Embedder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Embedder({}, {}, {:?})", self.name, self.fingerprint(), self.device)
    }
}

impl Embedder {
    /// Opens a model by path, or by hub name if it is in the hub's cache.
    ///
    /// # Errors
    /// [`Error::Hub`] if there is no such model here, [`Error::Model`] if its files make no model, [`Error::Text`] and
    /// [`Error::Preprocessing`] for what stands beside the weights.
    pub fn open(name_or_path: &str) -> Result<Self, Error> {
        Self::open_with(name_or_path, &OpenOptions::default())
    }

    /// [`Embedder::open`] with options.
    ///
    /// # Errors
    /// As [`Embedder::open`].
    pub fn open_with(name_or_path: &str, options: &OpenOptions) -> Result<Self, Error> {
        let path = hub::resolve(name_or_path, &options.hub)?;
        let model = Model::open(&path, &options.model_options())?;
        let tokenizer = tokenizer(&model.spec, options.compat)?;
        Self::assemble(name_or_path.to_owned(), model, tokenizer, options, true)
    }

    /// A model that is in memory, such as one in training, called `name`. Its tokenizer's files stand where its spec says.
    ///
    /// # Errors
    /// [`Error::Text`] and [`Error::Preprocessing`] for what stands beside the weights, [`Error::Exec`] if the device cannot be had.
    pub fn of_model(name: &str, model: Model, options: &OpenOptions) -> Result<Self, Error> {
        let tokenizer = tokenizer(&model.spec, options.compat)?;
        Self::assemble(name.to_owned(), model, tokenizer, options, false)
    }

    /// The model that is part of the program.
    ///
    /// # Errors
    /// [`Error::Exec`] if the device cannot be had.
    pub fn embedded(options: &OpenOptions) -> Result<Self, Error> {
        let source = Source::from_memory(EMBEDDED_MODEL, &MODEL_FILES)?;
        let model = Model::from_source(&source, &options.model_options())?;
        let (_, json) = MODEL_FILES.iter().find(|(name, _)| *name == "tokenizer.json").expect("the model has a tokenizer");
        let tokenizer = Tokenizer::from_json_bytes(json, &tokenizer_options(&model.spec, options.compat))?;
        Self::assemble(EMBEDDED_MODEL.to_owned(), model, tokenizer, options, false)
    }

    /// `keep`: whether packed weights may be kept in files.
    fn assemble(name: String, model: Model, tokenizer: Tokenizer, options: &OpenOptions, keep: bool) -> Result<Self, Error> {
        let preprocess = preprocess(&model.spec, options.compat)?;
        let cores = std::thread::available_parallelism().map_or(1, Into::into);
        let threads = if options.threads == 0 { cores } else { options.threads };
        if threads > MOST_THREADS {
            return Err(Error::Threads { threads, reason: format!("at most {MOST_THREADS} make sense") });
        }
        let (precision, measured) = match (options.device, options.precision) {
            (DeviceKind::Cpu, choice) => choice.choose()?,
            (DeviceKind::Reference, PrecisionChoice::Auto | PrecisionChoice::Just(Precision::F32)) => (Precision::F32, None),
            (DeviceKind::Reference, PrecisionChoice::Just(precision)) => return Err(Error::Precision { precision }),
        };
        let packed = options.packed.cache(&model.spec.fingerprint, precision).filter(|_| keep);
        let device: Box<dyn Device> = match options.device {
            DeviceKind::Cpu => Box::new(Cpu { threads, precision, isa: None, packed }),
            DeviceKind::Reference => Box::new(Reference),
        };
        let pool =
            rayon::ThreadPoolBuilder::new().num_threads(threads).build().map_err(|e| Error::Threads { threads, reason: e.to_string() })?;
        let mut decode = if options.compat { DecodeOptions::upstream() } else { DecodeOptions::default() };
        decode.shrink_on_load = preprocess.enough().filter(|_| options.shrink_on_load);
        let (image, text) = (OnceLock::new(), OnceLock::new());
        let (compat, kind) = (options.compat, options.device);
        Ok(Self { name, model, tokenizer, preprocess, decode, compat, kind, precision, measured, device, image, text, pool })
    }

    /// The name it was opened by.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Towers, spec and weights.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Everything about the model but its numbers.
    pub fn spec(&self) -> &ModelSpec {
        &self.model.spec
    }

    /// What tells this model from every other.
    pub fn fingerprint(&self) -> &str {
        &self.spec().fingerprint
    }

    /// Numbers of an embedding.
    pub fn width(&self) -> usize {
        self.spec().embedding_width
    }

    /// Which numbers its weights are kept in.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// What was measured to choose the precision, if it was to be chosen.
    pub fn measured(&self) -> Option<&Measured> {
        self.measured.as_ref()
    }

    /// What cosines are multiplied by before a softmax: `exp(logit_scale)` of the checkpoint.
    pub fn logit_scale(&self) -> f32 {
        self.model.scale()
    }

    /// How texts become ids.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// How pictures become pixels.
    pub fn preprocess(&self) -> &Preprocess {
        &self.preprocess
    }

    /// Vectors of texts. Texts longer than the model reads are cut, and [`Embeddings::truncated`] says which.
    ///
    /// # Errors
    /// [`Error::Text`] if a text cannot be tokenized, [`Error::NotFinite`] if the weights are damaged, [`Error::Exec`].
    pub fn embed_texts<S: AsRef<str> + Sync>(&self, texts: &[S]) -> Result<Embeddings, Error> {
        let (mut data, mut truncated) = (vec![], vec![]);
        for (start, batch) in texts.chunks(TEXT_BATCH).enumerate().map(|(i, batch)| (i * TEXT_BATCH, batch)) {
            let rows = self.text_rows(batch, "embedding", start, &mut truncated)?;
            data.extend(rows.data);
        }
        let embeddings = Embeddings::normalized(self.fingerprint(), self.width(), data);
        for (row, text) in embeddings.rows().zip(texts) {
            finite(row, &format!("the text `{}`", text.as_ref().chars().take(24).collect::<String>()))?;
        }
        Ok(embeddings.with_truncated(truncated))
    }

    /// Another output of the text tower, not normalised, a row a token: `last_hidden_state` and `projection_state` of AltCLIP, which
    /// condition diffusion models.
    ///
    /// # Errors
    /// As [`Embedder::embed_texts`]; [`hua_exec::ExecError::Output`] if the tower has no such output.
    pub fn text_output<S: AsRef<str> + Sync>(&self, texts: &[S], output: &str) -> Result<Rows, Error> {
        self.text_rows(texts, output, 0, &mut vec![])
    }

    fn text_rows<S: AsRef<str> + Sync>(
        &self,
        texts: &[S],
        output: &str,
        start: usize,
        truncated: &mut Vec<Truncation>,
    ) -> Result<Rows, Error> {
        let encodings = self.pool.install(|| texts.par_iter().map(|t| self.tokenizer.encode(t.as_ref())).collect::<Result<Vec<_>, _>>())?;
        let cut = encodings.iter().enumerate().filter(|(_, e)| e.truncated());
        truncated.extend(cut.map(|(i, e)| Truncation { index: start + i, cut: e.dropped }));
        let ids: Vec<Vec<u32>> = encodings.into_iter().map(|e| e.ids).collect();
        run(self.text_program()?, &Batch::Ids(&ids), output)
    }

    /// How pictures become the model's input, beside what the model itself says: `standard`, or the options that change it.
    pub(crate) fn preprocessing(&self) -> &'static str {
        match (self.compat, self.decode.shrink_on_load.is_some()) {
            (false, false) => "standard",
            (false, true) => "shrink-on-load",
            (true, false) => "compat",
            (true, true) => "compat shrink-on-load",
        }
    }

    /// What a cached picture vector depends on.
    pub(crate) fn picture_fingerprint(&self) -> String {
        let compat = if self.compat { "-compat" } else { "" };
        let shrunk = if self.decode.shrink_on_load.is_some() { "-shrunk" } else { "" };
        let device = match self.kind {
            DeviceKind::Cpu => "",
            DeviceKind::Reference => "-reference",
        };
        let precision = match self.precision {
            Precision::F32 => String::new(),
            other => format!("-{other}"),
        };
        format!("{}{compat}{shrunk}{device}{precision}", self.fingerprint())
    }

    pub(crate) fn image_program(&self) -> Result<&Arc<dyn Program>, Error> {
        load_once(&self.image, &*self.device, &self.model.image)
    }

    fn text_program(&self) -> Result<&Arc<dyn Program>, Error> {
        load_once(&self.text, &*self.device, &self.model.text)
    }
}

/// A vector that has only numbers in it: one that has not would be compared with nothing, and sorted first.
pub(crate) fn finite(row: &[f32], of: &str) -> Result<Vec<f32>, Error> {
    if row.iter().all(|x| x.is_finite()) { Ok(row.to_vec()) } else { Err(Error::NotFinite { of: of.to_owned() }) }
}

fn run(program: &Arc<dyn Program>, batch: &Batch<'_>, output: &str) -> Result<Rows, Error> {
    Ok(program.run(batch, &[output])?.pop().expect("one output was asked for"))
}

fn load_once<'a>(slot: &'a OnceLock<Arc<dyn Program>>, device: &dyn Device, tower: &Tower) -> Result<&'a Arc<dyn Program>, Error> {
    if let Some(program) = slot.get() {
        return Ok(program);
    }
    let program = device.load(&tower.graph, &tower.weights)?;
    Ok(slot.get_or_init(|| program.into()))
}

/// What texts go through. Which rules matters for Chinese-CLIP alone: its training, its program and transformers differ.
fn tokenizer_options(spec: &ModelSpec, compat: bool) -> TokenizerOptions {
    let word_piece_rules = match (spec.family.as_str(), compat, spec.layout.as_str()) {
        ("chinese-clip", false, _) => WordPieceRules::Training,
        ("chinese-clip", true, layout) if layout.starts_with("cn-clip") => WordPieceRules::CnClip,
        _ => WordPieceRules::HuggingFace,
    };
    TokenizerOptions { context_length: Some(spec.context_length), kind: None, word_piece_rules }
}

fn tokenizer(spec: &ModelSpec, compat: bool) -> Result<Tokenizer, Error> {
    let options = tokenizer_options(spec, compat);
    let tokenizer = match (&spec.tokenizer.folder, spec.tokenizer.kind) {
        (Some(folder), _) => Tokenizer::from_dir(folder, &options)?,
        (None, TokenizerKind::ClipBpe) => Tokenizer::builtin(Builtin::OpenAiClip, &options)?,
        (None, TokenizerKind::WordPiece) => Tokenizer::builtin(Builtin::ChineseClip, &options)?,
        (None, TokenizerKind::Unigram) => return Err(Error::NoTokenizer { family: spec.family.clone() }),
    };
    let (found, wanted) = (tokenizer.vocabulary_size(), spec.text.vocabulary());
    if found > wanted {
        return Err(Error::Vocabulary { found, wanted });
    }
    Ok(tokenizer)
}

/// What pictures go through.
fn preprocess(spec: &ModelSpec, compat: bool) -> Result<Preprocess, Error> {
    let size = |size: usize| u32::try_from(size).unwrap_or(u32::MAX);
    let mut preprocess = match &spec.preprocessing {
        Preprocessing::ChineseClip { size: side } => Preprocess::chinese_clip(size(*side)),
        Preprocessing::Clip { size: side } => Preprocess::clip(size(*side)),
        Preprocessing::File(config) => Preprocess::from_config(config.to_string().as_bytes()).map_err(Error::Preprocessing)?,
    };
    if compat {
        preprocess.alpha = Alpha::Drop;
        // Of the programs that read these layouts, transformers alone converts first.
        if spec.layout == "openai" || spec.layout.starts_with("cn-clip") {
            preprocess.order = ConvertOrder::ResizeFirst;
        }
    }
    let (found, wanted) = (preprocess.output_size(), size(spec.image.image_size()));
    if (found.width, found.height) != (wanted, wanted) {
        return Err(Error::PictureSize { width: found.width, height: found.height, wanted });
    }
    Ok(preprocess)
}
