//! The names that towers have in the files of the world, one table each; families put them together into layouts.
use crate::layout::Form::{Plain, Transposed};
use crate::layout::{Rule, third};

/// transformers' CLIP vision tower, under `vision_model.` (`pre_layrnorm` is spelled so there).
pub(crate) const HF_VISION: &[Rule] = &[
    Rule("embed.patch.weight", "embeddings.patch_embedding.weight", Plain),
    Rule("embed.class", "embeddings.class_embedding", Plain),
    Rule("embed.positions", "embeddings.position_embedding.weight", Plain),
    Rule("embed.norm.*", "pre_layrnorm.*", Plain),
    Rule("final.norm.*", "post_layernorm.*", Plain),
];

/// transformers' CLIP text tower, under `text_model.`.
pub(crate) const HF_CLIP_TEXT: &[Rule] = &[
    Rule("embed.tokens.weight", "embeddings.token_embedding.weight", Plain),
    Rule("embed.positions.weight", "embeddings.position_embedding.weight", Plain),
    Rule("final.norm.*", "final_layer_norm.*", Plain),
];

/// transformers' CLIP blocks, in both towers.
pub(crate) const HF_BLOCKS: &[Rule] = &[
    Rule("blocks.#.norm.*", "encoder.layers.#.layer_norm1.*", Plain),
    Rule("blocks.#.q.*", "encoder.layers.#.self_attn.q_proj.*", Plain),
    Rule("blocks.#.k.*", "encoder.layers.#.self_attn.k_proj.*", Plain),
    Rule("blocks.#.v.*", "encoder.layers.#.self_attn.v_proj.*", Plain),
    Rule("blocks.#.out.*", "encoder.layers.#.self_attn.out_proj.*", Plain),
    Rule("blocks.#.mlp.norm.*", "encoder.layers.#.layer_norm2.*", Plain),
    Rule("blocks.#.mlp.up.*", "encoder.layers.#.mlp.fc1.*", Plain),
    Rule("blocks.#.mlp.down.*", "encoder.layers.#.mlp.fc2.*", Plain),
];

/// transformers' projection of pictures.
pub(crate) const HF_VISUAL_PROJECTION: &[Rule] = &[Rule("final.project.weight", "visual_projection.weight", Plain)];

/// transformers' projection of texts.
pub(crate) const HF_TEXT_PROJECTION: &[Rule] = &[Rule("final.project.weight", "text_projection.weight", Plain)];

/// transformers' BERT, RoBERTa and XLM-R, but for the attention.
pub(crate) const BERT: &[Rule] = &[
    Rule("embed.tokens.weight", "embeddings.word_embeddings.weight", Plain),
    Rule("embed.positions.weight", "embeddings.position_embeddings.weight", Plain),
    Rule("embed.types.weight", "embeddings.token_type_embeddings.weight", Plain),
    Rule("embed.norm.*", "embeddings.LayerNorm.*", Plain),
    Rule("blocks.#.norm.*", "encoder.layer.#.attention.output.LayerNorm.*", Plain),
    Rule("blocks.#.mlp.up.*", "encoder.layer.#.intermediate.dense.*", Plain),
    Rule("blocks.#.mlp.down.*", "encoder.layer.#.output.dense.*", Plain),
    Rule("blocks.#.mlp.norm.*", "encoder.layer.#.output.LayerNorm.*", Plain),
];

/// The attention of transformers' BERT.
pub(crate) const BERT_ATTENTION: &[Rule] = &[
    Rule("blocks.#.q.*", "encoder.layer.#.attention.self.query.*", Plain),
    Rule("blocks.#.k.*", "encoder.layer.#.attention.self.key.*", Plain),
    Rule("blocks.#.v.*", "encoder.layer.#.attention.self.value.*", Plain),
    Rule("blocks.#.out.*", "encoder.layer.#.attention.output.dense.*", Plain),
];

/// The same as cn_clip holds it while it uses FlashAttention.
pub(crate) const BERT_FLASH_ATTENTION: &[Rule] = &[
    Rule("blocks.#.q.*", "encoder.layer.#.attention.self.Wqkv.*", third(0)),
    Rule("blocks.#.k.*", "encoder.layer.#.attention.self.Wqkv.*", third(1)),
    Rule("blocks.#.v.*", "encoder.layer.#.attention.self.Wqkv.*", third(2)),
    Rule("blocks.#.out.*", "encoder.layer.#.attention.self.out_proj.*", Plain),
];

/// OpenAI's transformer blocks: under `visual.` in the image tower, without prefix in the text tower.
pub(crate) const OPENAI_BLOCKS: &[Rule] = &[
    Rule("blocks.#.norm.*", "transformer.resblocks.#.ln_1.*", Plain),
    Rule("blocks.#.q.*", "transformer.resblocks.#.attn.in_proj_*", third(0)),
    Rule("blocks.#.k.*", "transformer.resblocks.#.attn.in_proj_*", third(1)),
    Rule("blocks.#.v.*", "transformer.resblocks.#.attn.in_proj_*", third(2)),
    Rule("blocks.#.out.*", "transformer.resblocks.#.attn.out_proj.*", Plain),
    Rule("blocks.#.mlp.norm.*", "transformer.resblocks.#.ln_2.*", Plain),
    Rule("blocks.#.mlp.up.*", "transformer.resblocks.#.mlp.c_fc.*", Plain),
    Rule("blocks.#.mlp.down.*", "transformer.resblocks.#.mlp.c_proj.*", Plain),
];

/// OpenAI's vision transformer, under `visual.`.
pub(crate) const OPENAI_VIT: &[Rule] = &[
    Rule("embed.patch.weight", "conv1.weight", Plain),
    Rule("embed.class", "class_embedding", Plain),
    Rule("embed.positions", "positional_embedding", Plain),
    Rule("embed.norm.*", "ln_pre.*", Plain),
    Rule("final.norm.*", "ln_post.*", Plain),
    Rule("final.project.weight", "proj", Transposed),
];

/// OpenAI's ResNet, under `visual.`.
pub(crate) const OPENAI_RESNET: &[Rule] = &[
    Rule("embed.conv#.weight", "conv#.weight", Plain),
    Rule("embed.norm#.*", "bn#.*", Plain),
    Rule("stage#.#.conv#.weight", "layer#.#.conv#.weight", Plain),
    Rule("stage#.#.norm#.*", "layer#.#.bn#.*", Plain),
    Rule("stage#.#.conv_shortcut.weight", "layer#.#.downsample.0.weight", Plain),
    Rule("stage#.#.norm_shortcut.*", "layer#.#.downsample.1.*", Plain),
    Rule("pool.positions", "attnpool.positional_embedding", Plain),
    Rule("pool.q.*", "attnpool.q_proj.*", Plain),
    Rule("pool.k.*", "attnpool.k_proj.*", Plain),
    Rule("pool.v.*", "attnpool.v_proj.*", Plain),
    Rule("pool.out.*", "attnpool.c_proj.*", Plain),
];

/// OpenAI's text transformer.
pub(crate) const OPENAI_TEXT: &[Rule] = &[
    Rule("embed.tokens.weight", "token_embedding.weight", Plain),
    Rule("embed.positions.weight", "positional_embedding", Plain),
    Rule("final.norm.*", "ln_final.*", Plain),
];

/// OpenAI's and cn_clip's projection of texts.
pub(crate) const OPENAI_TEXT_PROJECTION: &[Rule] = &[Rule("final.project.weight", "text_projection", Transposed)];

/// What all files call the logit scale.
pub(crate) const LOGIT_SCALE: &str = "logit_scale";
