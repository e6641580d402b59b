//! The pictures and the model that hua carries: 1,638 emoji in Microsoft's Fluent 3D style with their names in nine languages, and a small
//! model that knows them, so that the first command of a fresh build answers.
//!
//! Both come from the folders `data/emoji-9l` and `models/hua-emoji-9l` of the repository, where their licences stand beside them.
use std::collections::HashMap;
use std::sync::OnceLock;

use hua_data::decode_base64;

static IMAGES: &str = include_str!("../../../data/emoji-9l/valid_imgs.tsv");
static TEXTS: &str = include_str!("../../../data/emoji-9l/valid_texts.jsonl");

/// The name of the built-in model.
pub const EMBEDDED_MODEL: &str = "hua-emoji-9l";

/// The built-in model's files by name, as a model folder has them.
pub(crate) static MODEL_FILES: [(&str, &[u8]); 6] = [
    ("config.json", include_bytes!("../../../models/hua-emoji-9l/config.json")),
    ("model.safetensors", include_bytes!("../../../models/hua-emoji-9l/model.safetensors")),
    ("preprocessor_config.json", include_bytes!("../../../models/hua-emoji-9l/preprocessor_config.json")),
    ("special_tokens_map.json", include_bytes!("../../../models/hua-emoji-9l/special_tokens_map.json")),
    ("tokenizer.json", include_bytes!("../../../models/hua-emoji-9l/tokenizer.json")),
    ("tokenizer_config.json", include_bytes!("../../../models/hua-emoji-9l/tokenizer_config.json")),
];

/// One picture of the gallery.
#[derive(Clone, Debug)]
pub(crate) struct GalleryPicture {
    /// Its id and English name, such as `9784 rainbow`.
    pub name: String,
    encoded: &'static str,
}

impl GalleryPicture {
    /// The bytes of the picture file (WebP).
    pub fn bytes(&self) -> Vec<u8> {
        decode_base64(self.encoded).expect("the gallery is part of the program and tested")
    }
}

/// All pictures of the gallery.
pub(crate) fn gallery() -> &'static [GalleryPicture] {
    static GALLERY: OnceLock<Vec<GalleryPicture>> = OnceLock::new();
    GALLERY.get_or_init(|| {
        let names = english_names();
        let pictures = IMAGES.lines().filter_map(|line| line.split_once('\t'));
        pictures
            .map(|(id, encoded)| GalleryPicture {
                name: names.get(id).map_or_else(|| id.to_owned(), |name| format!("{id} {name}")),
                encoded,
            })
            .collect()
    })
}

/// English names by picture id.
fn english_names() -> HashMap<String, String> {
    #[derive(serde::Deserialize)]
    struct Record {
        text: String,
        image_ids: Vec<u32>,
        lang: String,
    }
    let records = TEXTS.lines().filter_map(|line| serde_json::from_str::<Record>(line).ok());
    records.filter(|r| r.lang == "en").flat_map(|r| r.image_ids.into_iter().map(move |id| (id.to_string(), r.text.clone()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_gallery_picture_has_a_name_and_decodes() {
        assert_eq!(gallery().len(), 1638);
        for picture in gallery() {
            assert!(picture.name.contains(' '), "{}", picture.name);
            assert!(picture.bytes().starts_with(b"RIFF"), "{}", picture.name);
        }
    }
}
