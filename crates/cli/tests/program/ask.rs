//! What people ask: composed queries, libraries with filters, nothing where nothing fits, groups and tags.

use base64::Engine;
use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::Place;

/// Every `step`th picture of the gallery as a file, `photos/ID name.webp`, a rainbow and a violin among them.
fn gallery(step: usize) -> Place {
    let place = Place::new();
    let data = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/emoji-9l");
    let names: std::collections::HashMap<String, String> = std::fs::read_to_string(data.join("valid_texts.jsonl"))
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|text| text["lang"] == "en")
        .map(|text| (text["image_ids"][0].to_string(), text["text"].as_str().unwrap().to_owned()))
        .collect();
    for (number, line) in std::fs::read_to_string(data.join("valid_imgs.tsv")).unwrap().lines().enumerate() {
        let (id, encoded) = line.split_once('\t').unwrap();
        let name = &names[id];
        if number % step == 0 || name == "rainbow" || name == "violin" {
            let bytes = base64::engine::general_purpose::STANDARD.decode(encoded).unwrap();
            place.write(&format!("photos/{}.webp", name.replace(['/', ':'], " ")), &bytes);
        }
    }
    place
}

fn library(place: &Place) {
    place.hua(&["index", "photos", "-o", "library", "--quiet"]).ok();
}

fn names(answer: &Value) -> Vec<String> {
    let name = |hit: &Value| hit["path"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    answer["hits"].as_array().unwrap().iter().map(name).collect()
}

#[test]
fn a_library_answers_as_its_folder_does() {
    let place = gallery(20);
    library(&place);
    let queries = ["彩虹", "violin", "rainbow + violin - 0.5:heart", "--json", "-k", "5"];
    let folder = place.hua(&[&["search", "photos"], &queries[..]].concat()).json_lines();
    let library = place.hua(&[&["search", "library"], &queries[..]].concat()).json_lines();
    assert_eq!(library.len(), 3);
    for (folder, library) in folder.iter().zip(&library) {
        assert_eq!(names(folder), names(library));
        assert_eq!(folder["query"], library["query"]);
        for (a, b) in folder["hits"].as_array().unwrap().iter().zip(library["hits"].as_array().unwrap()) {
            assert!((a["score"].as_f64().unwrap() - b["score"].as_f64().unwrap()).abs() < 1e-3);
            let mut keys: Vec<&String> = b.as_object().unwrap().keys().collect();
            keys.sort();
            assert_eq!(keys, ["captions", "item", "path", "score", "tags", "taken"]);
        }
    }
    assert_eq!(names(&library[0])[0], "rainbow.webp");
    assert_eq!(names(&library[1])[0], "violin.webp");
}

#[test]
fn a_table_of_hits_has_what_the_json_has() {
    let place = gallery(20);
    library(&place);
    let queries = ["search", "library", "彩虹", "\"a violin, or \" + fiddle", "-k", "3"];
    let answers = place.hua(&[&queries[..], &["--json", "--table", "hits.csv"]].concat()).json_lines();
    let table = place.read("hits.csv");
    let mut lines = table.lines();
    assert_eq!(lines.next(), Some("query,rank,path,score,level,word_rank,item,taken,caption,tags"));
    for answer in &answers {
        for (rank, hit) in (1..).zip(answer["hits"].as_array().unwrap()) {
            let query = answer["query"].as_str().unwrap();
            let query = if query.contains(['"', ',']) { format!("\"{}\"", query.replace('"', "\"\"")) } else { query.to_owned() };
            let (path, score, item) = (hit["path"].as_str().unwrap(), &hit["score"], &hit["item"]);
            let found = lines.next().unwrap();
            assert!(found.starts_with(&format!("{query},{rank},{path},{score},,,{item},")), "{found}");
        }
    }
    assert_eq!(lines.next(), None);
    place.hua(&[&queries[..], &["--table", "hits.parquet"]].concat()).ok();
    let options = hua::data::Options::default();
    let rows = hua::data::read_table(&place.path("hits.parquet"), &options).unwrap().map(Result::unwrap).count();
    assert_eq!(rows, 6);
    let refused = place.hua(&[&queries[..], &["--table", "hits.xlsx"]].concat()).failed();
    assert!(refused.contains("does not end in `.csv`"), "{refused}");
}

#[test]
fn queries_are_put_together_in_one_argument_or_in_several() {
    let place = gallery(60);
    let ask = |arguments: &[&str]| {
        let answers = place.hua(&[&["search", "--in", "photos", "--json", "-k", "3"], arguments].concat()).json_lines();
        answers.iter().map(|answer| answer["hits"].clone()).collect::<Vec<_>>()
    };
    let picture = "photos/violin.webp";
    let whole = ask(&[&format!("rainbow + 2:{picture} - heart")]);
    assert_eq!(whole.len(), 1);
    assert_eq!(ask(&["rainbow", "+", &format!("2:{picture}"), "-", "heart"]), whole);
    assert_eq!(ask(&["rainbow", "--plus", &format!("2:{picture}"), "--minus", "heart"]), whole);
    assert_eq!(ask(&["--plus", "rainbow", "--plus", &format!("2:{picture}"), "--minus", "heart"]), whole);
    // Taken as words, it is another question.
    assert_ne!(ask(&["rainbow - heart", "--literal"]), ask(&["rainbow - heart"]));
    assert_eq!(ask(&["rainbow - heart", "--literal"]), ask(&["\"rainbow - heart\""]));
    let run = place.hua(&["search", "--in", "photos", "rainbow +"]);
    assert_snapshot!(run.failed(), @r#"
    exit code 2
    error: the query `rainbow +` has no term after its `+` (character 9)

    hint: to search for these very words, write "rainbow +"
    "#);
    let run = place.hua(&["search", "--in", "photos", "item:7"]);
    assert!(run.stderr.contains("error: `item:7` names an item of a library, and no library is searched"), "{}", run.stderr);
    assert_eq!(run.code, 2);
}

#[test]
fn what_is_asked_otherwise_than_typed_is_told() {
    let place = gallery(60);
    let run = place.hua(&["search", "--in", "photos", "ｒａｉｎｂｏｗ", "--json", "-k", "1"]);
    assert!(run.stderr.contains("`ｒａｉｎｂｏｗ` is asked as `rainbow`; `--no-fold` asks it as it is"), "{}", run.stderr);
    assert_eq!(names(&run.json_lines()[0]), ["rainbow.webp"]);
    let run = place.hua(&["search", "--in", "photos", "สายรุ้ง", "-k", "1"]);
    assert!(run.stderr.contains("warning: the model does not know"), "{}", run.stderr);
}

#[test]
fn filters_choose_among_the_items_of_a_library() {
    let place = gallery(40);
    place.picture("photos/deep/red.png", [250, 10, 10]);
    library(&place);
    let ask = |arguments: &[&str]| {
        let answers = place.hua(&[&["search", "library", "rainbow", "--json", "-k", "100"], arguments].concat()).json_lines();
        names(&answers[0])
    };
    let all = ask(&[]).len();
    assert_eq!(ask(&["--folder", "photos/deep"]), ["red.png"]);
    assert_eq!(ask(&["--folder", "photos/deep", "--folder", "photos"]).len(), all);
    assert_eq!(ask(&["--where", "name = 'violin.webp'"]), ["violin.webp"]);
    let red = ask(&["--where", "name LIKE 'r%'", "--where", "bytes > 0"]);
    assert!(red.contains(&"rainbow.webp".to_owned()) && red.iter().all(|name| name.to_lowercase().starts_with('r')), "{red:?}");
    assert!(ask(&["--after", "2024"]).is_empty(), "no emoji says when it was taken");
    assert!(ask(&["--near", "0,0,20000"]).is_empty(), "nor where");
    assert!(ask(&["--tag", "none"]).is_empty());
    let run = place.hua(&["search", "library", "rainbow", "--where", "DELETE FROM items"]);
    assert_eq!((run.code, run.stdout.as_str()), (2, ""));
    assert!(run.stderr.contains("error: cannot filter by `DELETE FROM items`"), "{}", run.stderr);
    let run = place.hua(&["search", "photos", "rainbow", "--tag", "x"]);
    assert_snapshot!(run.failed(), @"
    exit code 2
    error: `--tag` needs a library, and `photos` is none

    hint: `hua index DIR -o LIB` makes one
    ");
}

#[test]
fn more_like_an_item_leaves_the_item_out() {
    let place = gallery(40);
    library(&place);
    let violin = place.hua(&["search", "library", "violin", "--json", "-k", "1"]).json_lines().remove(0);
    let item = violin["hits"][0]["item"].to_string();
    let path = violin["hits"][0]["path"].as_str().unwrap().to_owned();
    let by_number = place.hua(&["search", "library", "--like", &item, "--json", "-k", "3"]).json_lines();
    let by_path = place.hua(&["search", "library", "--like", &path, "--json", "-k", "3"]).json_lines();
    assert_eq!(by_number[0]["hits"], by_path[0]["hits"]);
    assert_eq!(by_number[0]["hits"].as_array().unwrap().len(), 3);
    assert!(!names(&by_number[0]).contains(&"violin.webp".to_owned()));
    let run = place.hua(&["search", "library", "--like", "none"]);
    assert!(run.stderr.contains("error: the library has no item `none` with a vector"), "{}", run.stderr);
}

#[test]
fn nothing_is_an_answer() {
    let place = gallery(4);
    library(&place);
    for source in ["photos", "library"] {
        let arguments = ["search", source, "a submarine", "rainbow", "--min-score", "--json", "--sheet", "out.png", "--html", "out.html"];
        let run = place.hua(&arguments);
        assert!(run.stderr.contains("a submarine: nothing fits: the nearest picture has level 0."), "{}", run.stderr);
        let answers = run.json_lines();
        assert_eq!(answers[0]["hits"], json!([]));
        assert_eq!(names(&answers[1])[0], "rainbow.webp");
        assert!(answers[1]["hits"].as_array().unwrap().iter().all(|hit| hit["level"].as_f64().unwrap() >= 0.9));
        assert!(place.read("out.html").contains("nothing fits"));
        // The second time the library's calibration is known, and the answer the same.
        assert_eq!(place.hua(&arguments).json_lines(), answers);
    }
    let run = place.hua(&["search", "library", "rainbow", "--min-score=1.5"]);
    assert_eq!((run.code, run.stdout.as_str()), (2, ""));
}

#[test]
fn copies_are_found_and_told_from_pictures_that_are_nearly_the_same() {
    let place = gallery(60);
    std::fs::copy(place.path("photos/violin.webp"), place.path("photos/copy.webp")).unwrap();
    library(&place);
    let groups = place.hua(&["index", "dups", "library", "--least", "0.999", "--json"]).json_lines();
    assert_eq!(groups.len(), 1, "{groups:?}");
    let mut items: Vec<(String, bool)> = groups[0]["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| (item["path"].as_str().unwrap().rsplit('/').next().unwrap().to_owned(), item["same_file"].as_bool().unwrap()))
        .collect();
    assert_eq!(items.iter().map(|item| item.1).collect::<Vec<_>>(), [false, true]);
    items.sort();
    assert_eq!(items.iter().map(|item| &*item.0).collect::<Vec<_>>(), ["copy.webp", "violin.webp"]);
    assert!(place.hua(&["index", "dups", "library", "--least", "0.999"]).ok().contains("same file"));
    assert_eq!(place.hua(&["index", "dups", "library", "--least", "0.1"]).code, 2);
}

#[test]
fn tags_are_written_found_and_removed() {
    let place = gallery(8);
    library(&place);
    place.write("labels.txt", "rainbow\nviolin\na submarine\n".as_bytes());
    let tag = ["index", "tag", "library", "--labels", "labels.txt", "--json"];
    let done = place.hua(&tag).json_lines().remove(0);
    let of = |label: usize| done["labels"][label]["items"].as_u64().unwrap();
    assert!(of(0) >= 1 && of(0) < 20 && of(2) == 0, "{done}");
    assert_eq!(place.hua(&tag).json_lines().remove(0)["labels"], done["labels"]);
    let tagged = place.hua(&["search", "library", "rainbow", "--tag", "rainbow", "--json"]).json_lines().remove(0);
    assert_eq!(names(&tagged)[0], "rainbow.webp");
    assert!(tagged["hits"].as_array().unwrap().iter().all(|hit| hit["tags"][0]["source"] == "zero-shot"));
    let clusters = place.hua(&["index", "clusters", "library", "--count", "9", "--json"]).json_lines();
    assert_eq!(clusters, place.hua(&["index", "clusters", "library", "--count", "9", "--json", "--threads", "1"]).json_lines());
    let sizes: Vec<u64> = clusters.iter().map(|cluster| cluster["size"].as_u64().unwrap()).collect();
    assert!(sizes.len() <= 9 && sizes.is_sorted_by(|a, b| a >= b));
    assert_eq!(place.hua(&["index", "tag", "library", "--remove", "--json"]).json_lines()[0]["replaced"], count(&done));
    assert!(names(&place.hua(&["search", "library", "rainbow", "--tag", "rainbow", "--json"]).json_lines()[0]).is_empty());
}

fn count(done: &Value) -> u64 {
    done["labels"].as_array().unwrap().iter().map(|label| label["items"].as_u64().unwrap()).sum()
}

#[test]
fn words_of_captions_count_if_asked_for() {
    let place = gallery(40);
    place.write("photos/violin.txt", "the heirloom of aunt Elsbeth, 彩虹桥".as_bytes());
    library(&place);
    let ask = |query: &str, arguments: &[&str]| {
        place.hua(&[&["search", "library", query, "--json", "-k", "5"], arguments].concat()).json_lines().remove(0)
    };
    let found = ask("heirloom", &["--words=2"]);
    assert_eq!((names(&found)[0].as_str(), &found["hits"][0]["word_rank"]), ("violin.webp", &json!(1)));
    assert_eq!(found["hits"][0]["captions"][0]["text"], "the heirloom of aunt Elsbeth, 彩虹桥");
    assert!(ask("heirloom", &[])["hits"][0]["word_rank"].is_null());
    // In either spelling of Chinese.
    assert_eq!(names(&ask("虹橋", &["--words=2", "--no-fold"]))[0], "violin.webp");
    let table = place.hua(&["search", "library", "heirloom", "--words"]).ok();
    assert!(table.contains("the heirloom of aunt Elsbeth"), "{table}");
}
