//! Sizes from shapes, for files that carry no configuration: OpenAI's and cn_clip's `.pt`.
use crate::ModelError;
use crate::arch::{Activation, Bert, BertHead, ClipText, EndOfText, ImageTower, ResNet, TextTower, Vit};
use crate::error::{Mismatch, Misshapen};
use crate::source::Source;

/// Attention heads are this wide where nothing else is said.
const HEAD: usize = 64;
/// The width of ViT-H.
const HUGE: usize = 1280;
/// ViT-H's heads are 80 wide.
const HUGE_HEADS: usize = 16;
/// What a ResNet divides an image's side by.
const STRIDE: usize = 32;
/// PyTorch's default for layer norms, and what OpenAI's code leaves.
const EPS: f32 = 1e-5;

/// BERT's layer norms have another.
const BERT_EPS: f32 = 1e-12;

/// Reads sizes from the shapes of a checkpoint's tensors.
pub(crate) struct Shapes<'a> {
    pub(crate) source: &'a Source,
    pub(crate) family: &'static str,
}

impl Shapes<'_> {
    /// OpenAI's image tower of either kind, under `visual.`. `activation` and `heads`, by width, are the transformer's.
    pub(crate) fn image(&self, activation: Activation, heads: impl Fn(usize) -> usize) -> Result<ImageTower, ModelError> {
        if self.source.has_prefix("visual.layer1.") {
            return Ok(ImageTower::ResNet(self.resnet()?));
        }
        let [width, channels, patch, _] = self.of("visual.conv1.weight")?;
        let [positions, _] = self.of("visual.positional_embedding")?;
        let [_, embedding] = self.of("visual.proj")?;
        let [mlp, _] = self.of("visual.transformer.resblocks.0.mlp.c_fc.weight")?;
        Ok(ImageTower::Vit(Vit {
            image_size: grid(positions).saturating_mul(patch),
            channels,
            patch,
            width,
            layers: self.count("visual.transformer.resblocks."),
            heads: heads(width),
            mlp,
            activation,
            eps: EPS,
            embedding,
        }))
    }

    fn resnet(&self) -> Result<ResNet, ModelError> {
        let [width, ..] = self.of::<4>("visual.layer1.0.conv1.weight")?;
        let [positions, pooled] = self.of("visual.attnpool.positional_embedding")?;
        let [embedding, _] = self.of("visual.attnpool.c_proj.weight")?;
        Ok(ResNet {
            image_size: grid(positions).saturating_mul(STRIDE),
            width,
            layers: [1, 2, 3, 4].map(|stage| self.count(&format!("visual.layer{stage}."))),
            heads: pooled / HEAD,
            embedding,
        })
    }

    /// OpenAI's text tower.
    pub(crate) fn clip_text(&self, activation: Activation, heads: Option<usize>) -> Result<ClipText, ModelError> {
        let [vocabulary, width] = self.of("token_embedding.weight")?;
        let [positions, _] = self.of("positional_embedding")?;
        let [_, embedding] = self.of("text_projection")?;
        let [mlp, _] = self.of("transformer.resblocks.0.mlp.c_fc.weight")?;
        let layers = self.count("transformer.resblocks.");
        let heads = heads.unwrap_or(width / HEAD);
        let end_of_text = EndOfText::HighestId;
        Ok(ClipText { vocabulary, positions, width, layers, heads, mlp, activation, eps: EPS, end_of_text, embedding })
    }

    /// cn_clip's text tower.
    pub(crate) fn bert(&self, activation: Activation, heads: Option<usize>) -> Result<Bert, ModelError> {
        let [vocabulary, width] = self.of("bert.embeddings.word_embeddings.weight")?;
        let [positions, _] = self.of("bert.embeddings.position_embeddings.weight")?;
        let [types, _] = self.of("bert.embeddings.token_type_embeddings.weight")?;
        let [mlp, _] = self.of("bert.encoder.layer.0.intermediate.dense.weight")?;
        let [_, embedding] = self.of("text_projection")?;
        let layers = self.count("bert.encoder.layer.");
        let heads = heads.unwrap_or(width / HEAD);
        let head = BertHead::Project { embedding };
        Ok(Bert { vocabulary, positions, first_position: 0, types, width, layers, heads, mlp, activation, eps: BERT_EPS, head })
    }

    /// The shape of a tensor that must be there.
    fn of<const N: usize>(&self, name: &str) -> Result<[usize; N], ModelError> {
        let mismatch = |missing, misshapen| {
            let path = self.source.path().to_owned();
            Box::new(Mismatch { path, family: self.family, missing, misshapen, unused: vec![], other_family: None })
        };
        let actual = format!("{}{name}", self.source.prefix());
        let Some(shape) = self.source.shape(name) else { return Err(mismatch(vec![actual], vec![]).into()) };
        let misshapen = || Misshapen { name: actual, found: format!("{shape:?}"), wanted: format!("{N} dimensions") };
        Ok(shape.try_into().map_err(|_| mismatch(vec![], vec![misshapen()]))?)
    }

    /// One more than the highest number after `start`: gaps show as missing tensors, and a number beyond reason as a wrong size.
    fn count(&self, start: &str) -> usize {
        let index = |name: &str| name.strip_prefix(start)?.split('.').next()?.parse::<usize>().ok();
        self.source.names().filter_map(index).max().map_or(0, |highest| highest.saturating_add(1))
    }
}

/// What is left of an image tower when only shapes are known.
pub(crate) fn implied_image(image: &ImageTower, heads: impl Fn(usize) -> usize) -> ImageTower {
    match image.clone() {
        ImageTower::ResNet(sizes) => ImageTower::ResNet(ResNet { heads: sizes.width * STRIDE / HEAD, ..sizes }),
        ImageTower::Vit(sizes) => ImageTower::Vit(Vit {
            image_size: sizes.image_size / sizes.patch * sizes.patch,
            heads: heads(sizes.width),
            activation: Activation::QuickGelu,
            eps: EPS,
            ..sizes
        }),
    }
}

/// What is left of a text tower when only shapes are known.
pub(crate) fn implied_text(text: &TextTower) -> TextTower {
    match text.clone() {
        TextTower::Bert(sizes) => {
            let heads = sizes.width / HEAD;
            TextTower::Bert(Bert { heads, first_position: 0, activation: Activation::Gelu, eps: BERT_EPS, ..sizes })
        }
        TextTower::Clip(sizes) => {
            let heads = sizes.width / HEAD;
            // The highest id there is, is the highest of any text that has it.
            let last = u32::try_from(sizes.vocabulary).ok().map(|n| EndOfText::FirstId(n.saturating_sub(1)));
            let end_of_text = last.filter(|last| *last == sizes.end_of_text).unwrap_or(EndOfText::HighestId);
            TextTower::Clip(ClipText { heads, activation: Activation::QuickGelu, eps: EPS, end_of_text, ..sizes })
        }
    }
}

/// Heads of OpenAI's vision transformers.
pub(crate) fn openai_heads(width: usize) -> usize {
    width / HEAD
}

/// Heads of Chinese-CLIP's vision transformers: those of ViT-H are 80 wide.
pub(crate) fn cn_clip_heads(width: usize) -> usize {
    if width == HUGE { HUGE_HEADS } else { width / HEAD }
}

/// The side of the square of positions, of which one more is the class token's.
fn grid(positions: usize) -> usize {
    positions.saturating_sub(1).isqrt()
}
