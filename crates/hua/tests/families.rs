//! What each family and layout is opened with: kind and rules of the tokenizer, context length, preprocessing, as hua has it and as
//! upstream's programs have it (`compat`).
#![allow(clippy::unwrap_used, reason = "helpers of tests")]
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hua::image::{Alpha, ConvertOrder, DecodeOptions, Preprocess};
use hua::model::checkpoint::{Checkpoint, CheckpointError, TensorPlan, save_safetensors};
use hua::text::{Tokenizer, TokenizerKind, WordPieceRules};
use hua::{Embedder, Error, OpenOptions};
use hua_graph::Tensor;
use serde_json::{Value, json};

/// A vocabulary for the CLIPs, whose goldens have none; their text towers have 60 ids and more.
const CLIP_TOKENS: [&str; 8] = ["c", "a", "t</w>", "ca", "cat</w>", "#", "<|startoftext|>", "<|endoftext|>"];

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden").join(path)
}

/// A golden as its model is published: without the golden itself, CLIPs with a vocabulary.
fn published(name: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy(&root("models").join(name), folder.path());
    if name.starts_with("clip-") {
        let vocabulary: BTreeMap<_, _> = CLIP_TOKENS.into_iter().zip(0..).collect();
        std::fs::write(folder.path().join("vocab.json"), serde_json::to_vec(&vocabulary).unwrap()).unwrap();
        std::fs::write(folder.path().join("merges.txt"), "#version: 0.2\nc a\nca t</w>\n").unwrap();
    }
    folder
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            std::fs::create_dir(&to).unwrap();
            copy(&entry.path(), &to);
        } else if !entry.file_name().to_string_lossy().starts_with("golden.") {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

fn open(path: &Path, compat: bool) -> Result<Embedder, Error> {
    Embedder::open_with(&path.to_string_lossy(), &OpenOptions { compat, threads: 1, ..OpenOptions::default() })
}

/// What an embedder was opened with. Rules are what the ids show; `None` where all three give the same.
#[derive(Debug, PartialEq)]
struct Setup {
    layout: String,
    kind: TokenizerKind,
    rules: Option<WordPieceRules>,
    context_length: usize,
    preprocess: Preprocess,
}

impl Setup {
    fn of(embedder: &Embedder) -> Self {
        let tokenizer = embedder.tokenizer();
        assert_eq!(tokenizer.context_length(), embedder.spec().context_length);
        Self {
            layout: embedder.spec().layout.clone(),
            kind: tokenizer.kind(),
            rules: (tokenizer.kind() == TokenizerKind::WordPiece).then(|| rules(tokenizer)),
            context_length: tokenizer.context_length(),
            preprocess: *embedder.preprocess(),
        }
    }
}

/// Training makes a curly quote a straight one; Hugging Face's rules see special tokens in the text.
fn rules(tokenizer: &Tokenizer) -> WordPieceRules {
    let ids = |text| tokenizer.encode(text).unwrap().ids;
    assert_ne!(ids("“")[1], tokenizer.special_ids().unk, "the goldens' vocabulary has both quotes");
    match (ids("“") == ids("\""), ids("[MASK]").len() == 3) {
        (true, false) => WordPieceRules::Training,
        (false, false) => WordPieceRules::CnClip,
        (false, true) => WordPieceRules::HuggingFace,
        other => panic!("no rules are {other:?}"),
    }
}

/// RGB first, white behind what is transparent: as hua has it.
fn clip(side: u32) -> Preprocess {
    Preprocess::clip(side)
}

fn squash(side: u32) -> Preprocess {
    Preprocess::chinese_clip(side)
}

/// As transformers has it.
fn hugging_face(preprocess: Preprocess) -> Preprocess {
    Preprocess { alpha: Alpha::Drop, ..preprocess }
}

/// As OpenAI's program and cn_clip have it.
fn resized_first(preprocess: Preprocess) -> Preprocess {
    Preprocess { alpha: Alpha::Drop, order: ConvertOrder::ResizeFirst, ..preprocess }
}

#[test]
fn each_family_and_layout_is_opened_as_it_was_trained_and_with_compat_as_upstream_opens_it() {
    use TokenizerKind::{ClipBpe, Unigram, WordPiece};
    use WordPieceRules::{CnClip, HuggingFace, Training};
    // Folder, layout, kind, rules without and with compat, context length (the goldens have few positions), preprocessing without and with.
    let none = (None, None);
    let trained = (Some(Training), Some(HuggingFace));
    let cn_clip = (Some(Training), Some(CnClip));
    let bert = (Some(HuggingFace), Some(HuggingFace));
    let table = [
        ("altclip-2022", "hugging-face", Unigram, none, 18, clip(24), hugging_face(clip(24))),
        ("altclip-hf", "hugging-face", Unigram, none, 18, clip(32), hugging_face(clip(32))),
        ("altclip-m18", "hugging-face", Unigram, none, 18, clip(24), hugging_face(clip(24))),
        ("chinese-clip-hf", "hugging-face", WordPiece, trained, 24, squash(32), hugging_face(squash(32))),
        ("chinese-clip-hf-bin", "hugging-face", WordPiece, trained, 22, squash(24), hugging_face(squash(24))),
        ("chinese-clip-modelscope", "cn-clip", WordPiece, cn_clip, 24, squash(32), resized_first(squash(32))),
        ("chinese-clip-pt", "cn-clip", WordPiece, cn_clip, 24, squash(24), Preprocess::cn_clip(24)),
        ("chinese-clip-pt-bare", "cn-clip", WordPiece, cn_clip, 24, squash(24), Preprocess::cn_clip(24)),
        ("chinese-clip-rn50", "cn-clip", WordPiece, cn_clip, 24, squash(32), Preprocess::cn_clip(32)),
        ("clip-hf", "hugging-face", ClipBpe, none, 16, clip(32), hugging_face(clip(32))),
        ("clip-hf-eos", "hugging-face", ClipBpe, none, 14, clip(24), hugging_face(clip(24))),
        ("clip-openai-rn", "openai", ClipBpe, none, 11, clip(64), resized_first(clip(64))),
        ("clip-openai-vit", "openai", ClipBpe, none, 12, clip(24), resized_first(clip(24))),
        ("clip-openai-vit-state", "openai", ClipBpe, none, 10, clip(24), resized_first(clip(24))),
        ("taiyi", "bert-for-sequence-classification", WordPiece, bert, 24, clip(24), hugging_face(clip(24))),
        ("taiyi-fengshen", "fengshen", WordPiece, bert, 24, clip(24), hugging_face(clip(24))),
        ("taiyi-large-h", "bert", WordPiece, bert, 24, clip(24), hugging_face(clip(24))),
    ];
    assert_eq!(table.len(), std::fs::read_dir(root("models")).unwrap().count());
    let mut wrong = vec![];
    for (name, layout, kind, rules, context_length, preprocess, upstream) in table {
        let folder = published(name);
        for (compat, rules, preprocess) in [(false, rules.0, preprocess), (true, rules.1, upstream)] {
            let embedder = open(folder.path(), compat).unwrap_or_else(|e| panic!("{name}: {e}"));
            let wanted = Setup { layout: layout.into(), kind, rules, context_length, preprocess };
            let found = Setup::of(&embedder);
            if found != wanted {
                wrong.push(format!("{name}, compat {compat}:\n  found  {found:?}\n  wanted {wanted:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn weights_without_a_tokenizer_get_the_well_known_one() {
    for (file, ids) in [("clip-openai-vit/ViT-tiny.pt", 49_408), ("chinese-clip-pt/clip_cn_vit-tiny.pt", 21_128)] {
        let Err(Error::Vocabulary { found, .. }) = open(&root("models").join(file), false) else { panic!("{file} is not that large") };
        assert_eq!(found, ids, "{file}");
    }
}

/// A golden with a position table of `rows`, all zero, under the name `table`.
fn with_positions(name: &str, table: &str, rows: usize) -> tempfile::TempDir {
    let folder = published(name);
    let weights = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let weights: Vec<_> =
        weights.filter(|path| path.extension().is_some_and(|e| ["bin", "pt", "safetensors"].iter().any(|x| e == *x))).collect();
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    let width = checkpoint.shape(table).unwrap()[1];
    let tensors: BTreeMap<_, _> = checkpoint.names().map(|name| (name.to_owned(), checkpoint.tensor(name).unwrap())).collect();
    let longer = Tensor::from_f32(&[rows, width], vec![0.0; rows * width]);
    let fetch = |name: &str| Ok::<_, CheckpointError>(if name == table { longer.clone() } else { tensors[name].clone() });
    let plan = tensors.keys().map(|name| {
        let tensor = fetch(name).unwrap();
        TensorPlan { name: name.clone(), dtype: tensor.dtype(), shape: tensor.shape().to_vec() }
    });
    let plan: Vec<_> = plan.collect();
    let aside = tempfile::tempdir().unwrap();
    save_safetensors(&aside.path().join("model.safetensors"), &plan, &BTreeMap::new(), fetch).unwrap();
    weights.iter().for_each(|path| std::fs::remove_file(path).unwrap());
    std::fs::copy(aside.path().join("model.safetensors"), folder.path().join("model.safetensors")).unwrap();
    change(&folder.path().join("config.json"), |config| config["text_config"]["max_position_embeddings"] = json!(rows));
    folder
}

/// Changes a file of settings, if it is there.
fn change(path: &Path, edit: impl FnOnce(&mut Value)) {
    let Ok(bytes) = std::fs::read(path) else { return };
    let mut settings = serde_json::from_slice(&bytes).unwrap();
    edit(&mut settings);
    std::fs::write(path, settings.to_string()).unwrap();
}

#[test]
fn texts_are_as_long_as_in_training_and_longer_only_if_the_caller_says_so() {
    // Folder, position table, its rows at full size, `model_max_length` that is published, tokens, tokens if 512 or more are asked for.
    let table = [
        ("altclip-hf", "text_model.roberta.embeddings.position_embeddings.weight", 514, Some(512), 77, 512),
        ("chinese-clip-hf", "text_model.embeddings.position_embeddings.weight", 512, None, 52, 512),
        ("chinese-clip-hf", "text_model.embeddings.position_embeddings.weight", 512, Some(512), 52, 512),
        ("chinese-clip-pt-bare", "bert.embeddings.position_embeddings.weight", 512, None, 52, 512),
        ("clip-hf", "text_model.embeddings.position_embedding.weight", 77, Some(77), 77, 77),
        ("taiyi-fengshen", "text_model.embeddings.position_embeddings.weight", 512, None, 77, 512),
    ];
    for (name, positions, rows, model_max_length, usual, most) in table {
        let folder = with_positions(name, positions, rows);
        if let Some(length) = model_max_length {
            change(&folder.path().join("tokenizer_config.json"), |config| config["model_max_length"] = json!(length));
        }
        for (context_length, wanted) in [(None, usual), (Some(30), 30), (Some(512), most), (Some(1000), most)] {
            let options = OpenOptions { context_length, threads: 1, ..OpenOptions::default() };
            let embedder = Embedder::open_with(&folder.path().to_string_lossy(), &options).unwrap();
            assert_eq!(embedder.tokenizer().context_length(), wanted, "{name}, {context_length:?}");
        }
    }
}

#[test]
fn pictures_are_turned_upright_unless_upstream_is_to_be_matched() {
    let path = root("image/files/turned6.jpg");
    let stored = hua::image::Picture::decode(&std::fs::read(&path).unwrap(), &DecodeOptions { orient: false, ..DecodeOptions::default() });
    let (width, height) = stored.map(|picture| (picture.width(), picture.height())).unwrap();
    assert_ne!(width, height);
    let folder = published("chinese-clip-pt");
    for (compat, size) in [(false, (height, width)), (true, (width, height))] {
        let picture = open(folder.path(), compat).unwrap().read_picture(&path).unwrap();
        assert_eq!((picture.width(), picture.height()), size, "compat {compat}");
    }
}

#[test]
fn pictures_of_taiyi_are_prepared_as_the_clip_beside_it_says() {
    let folder = published("taiyi");
    let halves = [0.5; 3];
    change(&folder.path().join("clip/preprocessor_config.json"), |config| config["image_mean"] = json!(halves));
    let embedder = open(folder.path(), false).unwrap();
    assert_eq!(embedder.preprocess().normalize.unwrap().mean, halves);
}
