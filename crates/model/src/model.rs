//! A model, open: its specification, its towers as graphs with weights, its logit scale.
use std::path::{Path, PathBuf};

use hua_graph::{Graph, Tensor, Weights};
use serde_json::Value;

use crate::arch::{ImageTower, TextTower};
use crate::checkpoint::shown;
use crate::family::{self, Family, Towers, recognise};
use crate::fingerprint::fingerprint;
use crate::layout::Layout;
use crate::load::Loader;
use crate::source::{Companion, Source};
use crate::spec::{PREPROCESSOR, TOKENIZER_FILES, TOKENIZER_SETTINGS};
use crate::{ModelError, ModelSpec, Preprocessing, TokenizerSpec};

/// `model_max_length` above this means "none": transformers writes 10^30.
const NO_LIMIT: u64 = 1_000_000;
/// A folder that pairs a text tower with a CLIP has them in folders of these names.
const PAIR: [&str; 2] = ["text", "clip"];

/// A graph with its weights.
#[derive(Clone, Debug)]
pub struct Tower {
    /// What it computes; output `embedding` is not normalised.
    pub graph: Graph,
    /// The numbers: views of the checkpoint wherever it holds them as the graph needs them.
    pub weights: Weights,
}

/// A model, open.
#[derive(Clone, Debug)]
pub struct Model {
    /// What it is.
    pub spec: ModelSpec,
    /// From pictures to embeddings.
    pub image: Tower,
    /// From texts to embeddings.
    pub text: Tower,
    pub(crate) logit_scale: Tensor,
    /// The files that go along when the model is written, by name.
    pub(crate) companions: Vec<(&'static str, Companion)>,
}

/// What the caller knows better than the files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenOptions {
    /// The family to read it as, instead of the one that recognises it.
    pub family: Option<String>,
    /// The CLIP whose image tower goes with a text tower that is alone.
    pub image_from: Option<PathBuf>,
    /// The longest text, tokens, instead of what the family and the files say; at most what the position table has.
    pub context_length: Option<usize>,
}

impl Model {
    /// Opens a folder or a file of weights. Nothing is copied that can be viewed. A folder that holds folders `text` and `clip` is a
    /// text tower and the CLIP that goes with it.
    ///
    /// # Errors
    /// [`ModelError`]; if the tensors do not fit, all that is missing, misshapen or unused is in it.
    pub fn open(path: impl AsRef<Path>, options: &OpenOptions) -> Result<Self, ModelError> {
        let path = path.as_ref();
        let [text, clip] = PAIR.map(|name| path.join(name));
        if text.is_dir() && clip.is_dir() && options.image_from.is_none() {
            return Self::open(text, &OpenOptions { image_from: Some(clip), ..options.clone() });
        }
        Self::from_source(&Source::open(path)?, options)
    }

    /// The model in a source that is open.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn from_source(source: &Source, options: &OpenOptions) -> Result<Self, ModelError> {
        let (family, layout) = choose(source, options)?;
        let mut model = read(source, family, layout, options);
        let other = || recognise(source).map(|(other, _)| other.name()).filter(|&other| other != family.name());
        match &mut model {
            Err(ModelError::Tensors(mismatch)) => mismatch.other_family = other(),
            Err(ModelError::NoConfig { other_family, .. }) => *other_family = other(),
            _ => {}
        }
        model
    }

    /// Opens a text tower and the CLIP whose picture tower goes with it.
    ///
    /// # Errors
    /// As [`Self::open`]; [`ModelError::Pair`] if their embeddings are not equally wide.
    pub fn open_pair(text: impl AsRef<Path>, image: impl AsRef<Path>) -> Result<Self, ModelError> {
        Self::open(text, &OpenOptions { image_from: Some(image.as_ref().to_owned()), ..OpenOptions::default() })
    }

    /// The logarithm of what cosines are multiplied by, as checkpoints hold it.
    pub fn logit_scale(&self) -> f32 {
        scalar(&self.logit_scale)
    }

    /// What cosines are multiplied by before a softmax: `exp(logit_scale)`.
    pub fn scale(&self) -> f32 {
        self.logit_scale().exp()
    }

    /// The same model with other numbers, such as training gives: one tensor for each parameter of the graphs, in their order.
    ///
    /// # Errors
    /// [`ModelError::Weights`] for tensors that do not fit, [`ModelError::LogitScale`] for one that is not finite, [`ModelError::Io`] if the
    /// tokenizer's files can no longer be read.
    pub fn with_weights(&self, image: Vec<Tensor>, text: Vec<Tensor>, logit_scale: f32) -> Result<Self, ModelError> {
        let path = || self.spec.tokenizer.folder.clone().unwrap_or_else(|| PathBuf::from(&self.spec.family));
        if !logit_scale.is_finite() {
            return Err(ModelError::LogitScale { path: path(), found: logit_scale });
        }
        let tower = |graph: &Graph, tensors| match Weights::new(graph, tensors) {
            Ok(weights) => Ok(Tower { graph: graph.clone(), weights }),
            Err(source) => Err(ModelError::Weights { path: path(), source }),
        };
        let (image, text) = (tower(&self.image.graph, image)?, tower(&self.text.graph, text)?);
        let tokenizer: Vec<_> = self.companions.iter().filter(|(name, _)| TOKENIZER_FILES.contains(name)).cloned().collect();
        let mut spec = self.spec.clone();
        spec.fingerprint = fingerprint(&spec, [&image, &text], logit_scale, &tokenizer).map_err(ModelError::io(&path()))?;
        let logit_scale = Tensor::from_f32(self.logit_scale.shape(), vec![logit_scale]);
        Ok(Self { spec, image, text, logit_scale, companions: self.companions.clone() })
    }

    /// Number of trained scalars, the logit scale included.
    pub fn parameter_count(&self) -> u64 {
        self.image.graph.parameter_count() + self.text.graph.parameter_count() + 1
    }
}

fn choose(source: &Source, options: &OpenOptions) -> Result<(&'static dyn Family, &'static Layout), ModelError> {
    if let Some(name) = &options.family {
        let family = family::family(name)?;
        let most_usual = || family.layouts().first().copied().expect("every family has a layout, which a test checks");
        return Ok((family, family.recognises(source).unwrap_or_else(most_usual)));
    }
    recognise(source).ok_or_else(|| {
        let model_type = source.settings("config.json").and_then(|config| config.get("model_type")).and_then(Value::as_str);
        let some: Vec<_> = source.names().take(3).map(|name| format!("`{}`", shown(name))).collect();
        let found = match model_type {
            _ if some.is_empty() => "it holds no tensors".to_owned(),
            Some(model_type) => format!("its `config.json` calls it `{}`", shown(model_type)),
            None => format!("its {} tensors begin with {}", source.names().count(), some.join(", ")),
        };
        ModelError::Unrecognised { path: source.path().to_owned(), known: family::known(), found }
    })
}

/// What a model has for pictures, and the logit scale that was trained with it.
pub(crate) struct Pictures {
    pub(crate) sizes: ImageTower,
    pub(crate) tower: Tower,
    pub(crate) logit_scale: Tensor,
    pub(crate) preprocessing: Preprocessing,
    pub(crate) preprocessor_file: Option<Companion>,
}

fn read(source: &Source, family: &'static dyn Family, layout: &'static Layout, options: &OpenOptions) -> Result<Model, ModelError> {
    let path = source.path();
    let graph_error = |error| ModelError::Arch { path: path.to_owned(), source: error };
    let Towers { image, text: sizes } = family.towers(source, layout)?;
    let mut loader = Loader::new(source, layout, family.title());
    let text_plan = loader.plan(sizes.graph().map_err(graph_error)?, Layout::text_place)?;
    let image = match image {
        None => None,
        Some(sizes) => {
            let plan = loader.plan(sizes.graph().map_err(graph_error)?, Layout::image_place)?;
            Some((sizes, plan, loader.plan_logit_scale()))
        }
    };
    loader.check()?;

    let text = text_plan.read(source)?;
    let pictures = match (image, &options.image_from) {
        (Some((sizes, plan, logit_scale)), None) => {
            let preprocessing = preprocessing(source, family, &sizes);
            let logit_scale = source.checkpoint().tensor(&logit_scale)?;
            Pictures { tower: plan.read(source)?, sizes, logit_scale, preprocessing, preprocessor_file: source.companion(PREPROCESSOR) }
        }
        (None, Some(other)) => pictures_of(other, path, sizes.embedding_width())?,
        (None, None) => return Err(ModelError::NoImageTower { path: path.to_owned(), width: sizes.embedding_width() }),
        (Some(_), Some(other)) => return Err(ModelError::TwoImageTowers { path: path.to_owned(), other: other.clone() }),
    };
    assemble(source, family, layout.name, options, pictures, (sizes, text))
}

/// Towers and the files beside them, as one model.
pub(crate) fn assemble(
    source: &Source,
    family: &'static dyn Family,
    layout: &str,
    options: &OpenOptions,
    pictures: Pictures,
    (sizes, text): (TextTower, Tower),
) -> Result<Model, ModelError> {
    let path = source.path();
    let found = scalar(&pictures.logit_scale);
    if !found.is_finite() {
        return Err(ModelError::LogitScale { path: path.to_owned(), found });
    }

    let tokenizer: Vec<_> = TOKENIZER_FILES.iter().filter_map(|&file| Some((file, source.companion(file)?))).collect();
    let mut spec = ModelSpec {
        family: family.name().to_owned(),
        layout: layout.to_owned(),
        embedding_width: sizes.embedding_width(),
        context_length: context_length(source, family, &sizes, options),
        tokenizer: TokenizerSpec {
            kind: family.tokenizer(),
            folder: source.folder().filter(|_| !tokenizer.is_empty()).map(Path::to_owned),
        },
        image: pictures.sizes,
        text: sizes,
        preprocessing: pictures.preprocessing,
        fingerprint: String::new(),
    };
    spec.fingerprint = fingerprint(&spec, [&pictures.tower, &text], found, &tokenizer).map_err(ModelError::io(path))?;
    let settings = TOKENIZER_SETTINGS.iter().filter_map(|&file| Some((file, source.companion(file)?)));
    let companions = tokenizer.into_iter().chain(settings).chain(pictures.preprocessor_file.map(|file| (PREPROCESSOR, file))).collect();
    Ok(Model { spec, image: pictures.tower, text, logit_scale: pictures.logit_scale, companions })
}

/// The picture side of another model, for a text tower of that width in `text_path`.
fn pictures_of(other: &Path, text_path: &Path, width: usize) -> Result<Pictures, ModelError> {
    // Not `Model::open`: a pair has no pair inside, however deep the folders go.
    let Model { spec, image, logit_scale, companions, .. } = Model::from_source(&Source::open(other)?, &OpenOptions::default())?;
    if spec.embedding_width != width {
        let (text_path, image_path) = (text_path.to_owned(), other.to_owned());
        return Err(ModelError::Pair { text_path, text: width, image_path, image: spec.embedding_width });
    }
    let preprocessor_file = companions.into_iter().find(|(name, _)| *name == PREPROCESSOR).map(|(_, file)| file);
    Ok(Pictures { sizes: spec.image, tower: image, logit_scale, preprocessing: spec.preprocessing, preprocessor_file })
}

/// What the file says, or what the family does.
pub(crate) fn preprocessing(source: &Source, family: &dyn Family, sizes: &ImageTower) -> Preprocessing {
    match source.settings(PREPROCESSOR) {
        Some(settings) => Preprocessing::File(settings.clone().into()),
        None => family.preprocessing(sizes.image_size()),
    }
}

fn context_length(source: &Source, family: &dyn Family, text: &TextTower, options: &OpenOptions) -> usize {
    let longest = text.longest();
    let told = source.settings("tokenizer_config.json").and_then(|config| config.get("model_max_length")?.as_u64());
    let told = told.filter(|n| (1..=NO_LIMIT).contains(n)).and_then(|n| usize::try_from(n).ok());
    let usual = family.context_length(text).min(told.unwrap_or(longest));
    options.context_length.unwrap_or(usual).clamp(1, longest.max(1))
}

/// The number that a tensor of one element holds.
fn scalar(tensor: &Tensor) -> f32 {
    tensor.to_f32().ok().and_then(|values| values.first().copied()).unwrap_or(f32::NAN)
}
