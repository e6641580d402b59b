//! A small folder of pictures to try things on: what the walk-through (`docs/library.md`) calls `photos`, and what its test makes.
//!
//!     cargo run --release -p hua-cli --example photos -- photos
//!
//! Sixty-odd emoji of `data/emoji-9l` in the Fluent style (Microsoft, MIT) as PNG files with meaningful names, in folders by subject, each with one
//! caption in Chinese, Japanese or Arabic (Unicode CLDR, Unicode-3.0) in a JSON file beside it; and what real folders have too: a copy, a smaller
//! version of a picture, and a file that is no picture.

use std::collections::HashMap;
use std::fs;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use hua::image::{DecodeOptions, Filter, Picture};
use serde_json::{Value, json};

/// Folders, and the CLDR names of what is in them.
const PHOTOS: [(&str, &str); 6] = [
    (
        "animals",
        "cat;cat face;dog;dog face;horse;lion;panda;rabbit;elephant;penguin;owl;parrot;tropical fish;spouting whale;dolphin;octopus;honeybee;\
         snail",
    ),
    ("food", "banana;strawberry;watermelon;hamburger;sushi;steaming bowl;birthday cake;doughnut;ice cream;hot beverage;beer mug"),
    ("music", "violin;guitar;trumpet;musical keyboard;drum;saxophone"),
    ("plants", "rose;sunflower;tulip;cherry blossom"),
    (
        "places",
        "rainbow;sun;sunset;sunrise;snowflake;snowman;umbrella with rain drops;cloud with lightning and rain;crescent moon;beach with umbrella;\
         mountain;snow-capped mountain;volcano;camping;night with stars;bridge at night",
    ),
    ("travel", "soccer ball;basketball;bicycle;automobile;locomotive;airplane;sailboat;rocket;ship"),
];
/// Languages of captions, in turn.
const LANGUAGES: [&str; 3] = ["zh", "ja", "ar"];

/// Makes the folder from the data set in `data`.
pub fn make(folder: &Path, data: &Path) -> io::Result<()> {
    let mut names: HashMap<String, HashMap<String, String>> = HashMap::new();
    for line in BufReader::new(fs::File::open(data.join("valid_texts.jsonl"))?).lines() {
        let text: Value = serde_json::from_str(&line?)?;
        if let (Some(language), Some(name)) = (text["lang"].as_str(), text["text"].as_str()) {
            names.entry(text["image_ids"][0].to_string()).or_default().insert(language.into(), name.into());
        }
    }
    let mut wanted: HashMap<&str, (&str, usize)> = HashMap::new();
    for (place, list) in PHOTOS {
        fs::create_dir_all(folder.join(place))?;
        for name in list.split(';') {
            let number = wanted.len();
            wanted.insert(name, (place, number));
        }
    }
    for line in BufReader::new(fs::File::open(data.join("valid_imgs.tsv"))?).lines() {
        let line = line?;
        let Some((id, encoded)) = line.split_once('\t') else { continue };
        let Some(called) = names.get(id) else { continue };
        let Some((place, number)) = called.get("en").and_then(|name| wanted.get(name.as_str())) else { continue };
        let bytes = hua::data::decode_base64(encoded.trim().as_bytes()).map_err(|error| io::Error::other(error.to_string()))?;
        let picture = Picture::decode(&bytes, &DecodeOptions::default()).map_err(io::Error::other)?;
        let name = called["en"].replace(' ', "-");
        fs::write(folder.join(place).join(format!("{name}.png")), picture.encode_png())?;
        let language = LANGUAGES[number % LANGUAGES.len()];
        let mut beside = serde_json::Map::new();
        beside.insert(format!("caption_{language}"), json!(called[language]));
        fs::write(folder.join(place).join(format!("{name}.json")), Value::Object(beside).to_string())?;
        if name == "rainbow" {
            fs::create_dir_all(folder.join("phone"))?;
            fs::write(folder.join("phone/IMG_0001.png"), picture.encode_png())?;
        }
        if name == "cat-face" {
            fs::create_dir_all(folder.join("phone"))?;
            fs::write(folder.join("phone/IMG_0002.png"), picture.resize(100, 100, Filter::Bicubic).encode_png())?;
        }
    }
    fs::write(folder.join("phone/IMG_0003.jpg"), "<!DOCTYPE html><title>404 Not Found</title>")
}

#[allow(dead_code, reason = "the test of the walk-through takes in this file too")]
fn main() -> io::Result<()> {
    let folder = std::env::args_os().nth(1).unwrap_or("photos".into());
    make(Path::new(&folder), &Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/emoji-9l"))
}
