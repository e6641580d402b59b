//! The families, one file each.
mod altclip;
mod chinese_clip;
mod clip;
mod taiyi;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

pub use altclip::AltClip;
pub use chinese_clip::ChineseClip;
pub use clip::Clip;
pub use taiyi::Taiyi;

use crate::arch::{Activation, Bert, ImageTower, Vit};
use crate::config::Config;
use crate::source::{Settings, Source, parse_settings};
use crate::{Family, ModelError, Towers};

/// The sizes that one of transformers' `config.json` claims, by its `model_type`, of CLIP, Chinese-CLIP or AltCLIP. What only tensors tell
/// is not in them: a model is opened with [`Model::open`](crate::Model::open).
///
/// # Errors
/// [`ModelError::Json`], [`ModelError::Value`].
pub fn read_config(json: &[u8]) -> Result<Towers, ModelError> {
    let path = Path::new("config.json");
    let settings = parse_settings(path, json)?;
    Ok(by_config(path, &settings)?.1)
}

/// The family that a `config.json` names, and the sizes that it claims.
pub(crate) fn by_config(path: &Path, settings: &Settings) -> Result<(&'static dyn Family, Towers), ModelError> {
    let config = Config::new(path, settings);
    let text_type = settings.get("text_config").and_then(|text| text.get("model_type")?.as_str());
    Ok(match settings.get("model_type").and_then(Value::as_str) {
        Some("altclip") => (&AltClip, altclip::from_config(&config, false)?),
        Some("chinese_clip") => (&ChineseClip, chinese_clip::from_config(&config)?),
        Some("clip") if text_type == Some("xlm-roberta") => (&AltClip, altclip::from_config(&config, false)?),
        Some("clip") => (&Clip, clip::from_config(&config)?),
        other => return Err(config.value("model_type", &other.into(), "`altclip`, `chinese_clip` or `clip`")),
    })
}

/// The `config.json` that a family's Hugging Face layout cannot be read without.
fn hugging_face<'a>(source: &'a Source, family: &'static str) -> Result<(PathBuf, &'a Settings), ModelError> {
    match source.settings("config.json") {
        Some(settings) => Ok((source.settings_path("config.json"), settings)),
        None => Err(ModelError::NoConfig { path: source.path().to_owned(), family, other_family: None }),
    }
}

/// transformers' name of an activation.
fn activation_name(activation: Activation) -> &'static str {
    match activation {
        Activation::Gelu => "gelu",
        Activation::GeluTanh => "gelu_pytorch_tanh",
        Activation::QuickGelu => "quick_gelu",
    }
}

/// transformers' `vision_config`; nothing for a ResNet, which transformers does not have.
fn vision_config(model_type: &str, image: &ImageTower) -> Option<Value> {
    let ImageTower::Vit(vit) = image else { return None };
    let &Vit { image_size, channels, patch, width, layers, heads, mlp, activation, eps, embedding } = vit;
    Some(json!({
        "model_type": model_type, "image_size": image_size, "num_channels": channels, "patch_size": patch, "hidden_size": width,
        "num_hidden_layers": layers, "num_attention_heads": heads, "intermediate_size": mlp, "hidden_act": activation_name(activation),
        "layer_norm_eps": short(eps), "projection_dim": embedding,
    }))
}

/// transformers' settings of a BERT.
fn bert_config(model_type: &str, bert: &Bert) -> Value {
    let &Bert { vocabulary, positions, first_position, types, width, layers, heads, mlp, activation, eps, .. } = bert;
    json!({
        "model_type": model_type, "vocab_size": vocabulary, "max_position_embeddings": positions, "type_vocab_size": types,
        "hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": heads, "intermediate_size": mlp,
        "hidden_act": activation_name(activation), "layer_norm_eps": short(eps), "pad_token_id": first_position.saturating_sub(1),
    })
}

/// The shortest number that is the same f32: `1e-5`, not `9.999999747378752e-6`.
fn short(x: f32) -> Value {
    serde_json::from_str(&x.to_string()).unwrap_or_else(|_| json!(x))
}
