//! What does not fit is refused, all of it at once, with a way out.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hua_graph::{DType, Tensor};
use hua_model::checkpoint::{Checkpoint, CheckpointError, TensorPlan, save_safetensors};
use hua_model::{Model, ModelError, OpenOptions};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/models").join(name)
}

/// A copy of a golden in Hugging Face's layout, with tensors and settings changed.
struct Changed {
    folder: tempfile::TempDir,
    tensors: BTreeMap<String, Tensor>,
    config: serde_json::Value,
}

impl Changed {
    fn of(name: &str) -> Self {
        let checkpoint = Checkpoint::open(&golden(name)).unwrap();
        let tensors = checkpoint.names().map(|name| (name.to_owned(), checkpoint.tensor(name).unwrap())).collect();
        let config = serde_json::from_slice(&std::fs::read(golden(name).join("config.json")).unwrap()).unwrap();
        Self { folder: tempfile::tempdir().unwrap(), tensors, config }
    }

    fn open(&self, options: &OpenOptions) -> Result<Model, ModelError> {
        let plan =
            |(name, tensor): (&String, &Tensor)| TensorPlan { name: name.clone(), dtype: tensor.dtype(), shape: tensor.shape().to_vec() };
        let plan: Vec<_> = self.tensors.iter().map(plan).collect();
        let fetch = |name: &str| Ok::<_, CheckpointError>(self.tensors[name].clone());
        save_safetensors(&self.folder.path().join("model.safetensors"), &plan, &BTreeMap::new(), fetch).unwrap();
        std::fs::write(self.folder.path().join("config.json"), self.config.to_string()).unwrap();
        Model::open(self.folder.path(), options)
    }

    /// The message without the folder's name, which differs from run to run.
    fn error(&self, options: &OpenOptions) -> String {
        let error = self.open(options).unwrap_err();
        let causes = std::iter::successors(std::error::Error::source(&error), |error| error.source()).map(|cause| format!(": {cause}"));
        let message = format!("{error}{}", causes.collect::<String>()).replace(&self.folder.path().display().to_string(), "MODEL");
        match error.hint() {
            Some(hint) => format!("{message}\n\nhint: {hint}"),
            None => message,
        }
    }
}

#[test]
fn all_that_is_missing_misshapen_and_unused_is_said_at_once() {
    let mut changed = Changed::of("altclip-hf");
    changed.tensors.remove("logit_scale");
    changed.tensors.remove("visual_projection.weight");
    changed.tensors.insert("text_model.pre_LN.bias".into(), Tensor::from_f32(&[3], vec![0.0; 3]));
    let integers = Tensor::new(DType::I64, vec![20, 28], std::sync::Arc::new(vec![0u8; 20 * 28 * 8]), 0..20 * 28 * 8).unwrap();
    changed.tensors.insert("text_projection.weight".into(), integers);
    changed.tensors.insert("text_model.extra.weight".into(), Tensor::from_f32(&[1], vec![0.0]));
    let wanted = "`MODEL` lacks 2 tensors that AltCLIP needs: `visual_projection.weight`, `logit_scale`; \
        it has 2 tensors of another shape or type: `text_model.pre_LN.bias` is [3], wanted [32], \
        `text_projection.weight` is of i64, wanted f32, f16 or bf16; \
        it has 1 tensor that AltCLIP has no use for: `text_model.extra.weight`";
    assert_eq!(changed.error(&OpenOptions::default()), wanted);
}

#[test]
fn another_family_that_would_fit_is_named() {
    let options = OpenOptions { family: Some("clip".into()), ..OpenOptions::default() };
    let message = Changed::of("altclip-hf").error(&options);
    assert!(message.starts_with("`MODEL` lacks 52 tensors that CLIP needs: `text_model.embeddings.token_embedding.weight`, "), "{message}");
    assert!(message.contains("; it has 57 tensors that CLIP has no use for: "), "{message}");
    assert!(message.ends_with("\n\nhint: this looks like a checkpoint of AltCLIP; try `--family altclip`"), "{message}");
}

#[test]
fn buffers_without_use_are_passed_over() {
    let mut changed = Changed::of("altclip-hf");
    let ids = Tensor::new(DType::I64, vec![1, 20], std::sync::Arc::new(vec![0u8; 160]), 0..160).unwrap();
    changed.tensors.insert("text_model.roberta.embeddings.position_ids".into(), ids);
    changed.tensors.insert("text_model.roberta.pooler.dense.weight".into(), Tensor::from_f32(&[1], vec![0.0]));
    changed.open(&OpenOptions::default()).unwrap();
}

#[test]
fn settings_that_hua_cannot_do_exactly_are_refused() {
    let cases: [(&str, serde_json::Value, &str); 12] = [
        (
            "/text_config/hidden_act",
            "silu".into(),
            "`text_config.hidden_act` = \"silu\", wanted `gelu`, `gelu_new`, `gelu_pytorch_tanh` or `quick_gelu`",
        ),
        ("/vision_config/hidden_act", 3.into(), "`vision_config.hidden_act` = 3, wanted the name of an activation"),
        (
            "/text_config/position_embedding_type",
            "relative_key".into(),
            "`text_config.position_embedding_type` = \"relative_key\", wanted \"absolute\"",
        ),
        ("/text_config/is_decoder", true.into(), "`text_config.is_decoder` = true, wanted false"),
        ("/vision_config/image_size", serde_json::json!([32, 16]), "`vision_config.image_size` = [32,16], wanted a square"),
        ("/vision_config/hidden_size", (-1).into(), "`vision_config.hidden_size` = -1, wanted a whole number"),
        ("/vision_config/num_hidden_layers", 4_000_000_000u64.into(), "the number of layers is 4000000000, wanted 1 to 1000"),
        ("/vision_config/num_attention_heads", 5.into(), "`blocks.0.attention`: width 24 is not a multiple of 5 heads"),
        ("/vision_config/patch_size", 0.into(), "the patch size is 0, wanted 1 to 32"),
        ("/vision_config/layer_norm_eps", (-1.0).into(), "the epsilon of the layer norms is -1, wanted a number from 0 to 1"),
        ("/text_config", "large".into(), "`text_config` = \"large\", wanted an object"),
        ("/projection_dim", u64::MAX.into(), "the embedding width is 18446744073709551615, wanted 1 to 32768"),
    ];
    for (at, value, wanted) in cases {
        let mut changed = Changed::of("altclip-hf");
        let (object, key) = at.rsplit_once('/').unwrap();
        changed.config.pointer_mut(object).unwrap()[key] = value;
        let message = changed.error(&OpenOptions::default());
        assert!(message.contains(wanted), "{at}: {message}");
    }
}

#[test]
fn towers_that_do_not_belong_together_are_refused() {
    let error = Model::open_pair(golden("taiyi/text"), golden("clip-hf-eos")).unwrap_err();
    assert!(error.to_string().contains("embeddings of 24 numbers") && error.to_string().contains("of 36"), "{error}");
    let error = Model::open_pair(golden("altclip-hf"), golden("clip-hf")).unwrap_err();
    assert!(matches!(error, ModelError::TwoImageTowers { .. }), "{error}");
    let error = Model::open(golden("taiyi/text"), &OpenOptions::default()).unwrap_err();
    assert!(error.to_string().ends_with("holds the text tower only; its picture tower, of width 24, is another model's"), "{error}");
    assert_eq!(error.hint().unwrap(), "name its CLIP with `--image-from`");
}

#[test]
fn what_is_of_no_family_is_said_to_be() {
    let mut changed = Changed::of("altclip-hf");
    changed.config["model_type"] = "siglip".into();
    changed.tensors = [("vision_model.head.probe".to_owned(), Tensor::from_f32(&[1], vec![0.0]))].into();
    let known = "`altclip`, `taiyi`, `chinese-clip`, `clip`";
    let message = changed.error(&OpenOptions::default());
    assert_eq!(message, format!("`MODEL` is of no family that hua knows ({known}); its `config.json` calls it `siglip`"));
    let options = OpenOptions { family: Some("blip".into()), ..OpenOptions::default() };
    assert_eq!(changed.error(&options), format!("there is no family `blip`, only {known}"));
}

#[test]
fn a_logit_scale_that_is_no_number_is_refused() {
    let mut changed = Changed::of("altclip-hf");
    changed.tensors.insert("logit_scale".into(), Tensor::from_f32(&[], vec![f32::NAN]));
    assert!(changed.error(&OpenOptions::default()).contains("logit scale NaN"));
}

#[test]
fn the_context_length_is_the_families_unless_told_otherwise() {
    let open = |context_length| {
        Model::open(golden("altclip-hf"), &OpenOptions { context_length, ..OpenOptions::default() }).unwrap().spec.context_length
    };
    // The golden has 20 positions, of which the first two are never a token's.
    assert_eq!([open(None), open(Some(7)), open(Some(500))], [18, 7, 18]);
}

#[test]
fn a_family_that_needs_a_configuration_says_where_and_which_family_needs_none() {
    let path = golden("clip-openai-vit/ViT-tiny.pt");
    let error = |path: &Path, family: Option<&str>| {
        let options = OpenOptions { family: family.map(str::to_owned), ..OpenOptions::default() };
        let error = Model::open(path, &options).unwrap_err();
        (error.to_string(), error.hint().unwrap_or_default())
    };
    let (message, hint) = error(&path, Some("chinese-clip"));
    assert_eq!(message, format!("`{}` lacks the `config.json` that Chinese-CLIP needs beside its weights", path.display()));
    assert_eq!(hint, "this looks like a checkpoint of CLIP; try `--family clip`");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.safetensors");
    std::fs::copy(golden("clip-hf/model.safetensors"), &path).unwrap();
    let (message, hint) = error(&path, None);
    assert_eq!(message, format!("`{}` lacks the `config.json` that CLIP needs beside its weights", path.display()));
    assert_eq!(hint, "hua looks beside files of the hubs' usual names only; name the model's folder");
    assert_eq!(error(folder.path(), None).1, "");
}
