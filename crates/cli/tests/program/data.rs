//! Data sets: into other forms and back, sound or not, and what is in them.

use std::path::Path;

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::{Place, Run};

/// A data set in Chinese-CLIP's form: three pictures, texts in two languages.
fn toy(place: &Place) {
    for (number, color) in [[200, 0, 0], [0, 200, 0], [0, 0, 200]].into_iter().enumerate() {
        place.picture(&format!("photos/{number}.png"), color);
    }
    let texts: Vec<Value> = [("en", "red", 0), ("zh", "红", 0), ("en", "green", 1), ("en", "blue", 2), ("zh", "蓝 色", 2)]
        .iter()
        .map(|(language, text, picture)| json!({"text": text, "language": language, "picture": picture}))
        .collect();
    let rows: String = (0..3)
        .map(|number| {
            let captions: Vec<_> = texts.iter().filter(|text| text["picture"] == number).collect();
            format!("{}\n", json!({"id": 10 + number, "filepath": format!("photos/{number}.png"), "captions": captions}))
        })
        .collect();
    place.write("toy.jsonl", rows.as_bytes());
    place.hua(&["data", "convert", "toy.jsonl", "-o", "toy", "--to", "chinese-clip", "--as-split", "valid"]).ok();
}

fn entries(place: &Place) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(place.0.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// stdout without the blanks that tables leave at the ends of lines.
fn shown(run: Run) -> String {
    run.stdout.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_data_set_goes_through_tar_and_parquet_and_comes_back_the_same() {
    let place = Place::new();
    toy(&place);
    let run = place.hua(&["data", "convert", "toy", "--split", "valid", "-o", "shards", "--to", "webdataset", "--shard", "2"]);
    assert_eq!(told(&run), "warning: this form has no place for `text_id` of texts: 5 left behind\n3 pictures with 5 captions\n");
    assert_eq!(run.ok(), "shards\n");
    assert_eq!(place.hua(&["data", "convert", "shards", "-o", "toy.parquet"]).ok(), "toy.parquet\n");
    place.hua(&["data", "convert", "toy.parquet", "-o", "list.csv", "--pictures", "bytes"]).ok();
    let run = place.hua(&["data", "convert", "list.csv", "-o", "again", "--to", "chinese-clip", "--as-split", "valid", "--json"]);
    let done = &run.json_lines()[0];
    assert_eq!((&done["pictures"], &done["captions"], &done["failures"]), (&json!(3), &json!(5), &json!([])));
    for file in ["valid_imgs.tsv", "valid_texts.jsonl"] {
        assert_eq!(place.read(&format!("toy/{file}")), place.read(&format!("again/{file}")), "{file}");
    }
    assert_snapshot!(place.read("again/valid_texts.jsonl"), @r#"
    {"image_ids":[10],"lang":"en","text":"red","text_id":0}
    {"image_ids":[10],"lang":"zh","text":"红","text_id":1}
    {"image_ids":[11],"lang":"en","text":"green","text_id":2}
    {"image_ids":[12],"lang":"en","text":"blue","text_id":3}
    {"image_ids":[12],"lang":"zh","text":"蓝 色","text_id":4}
    "#);
}

/// stderr without the lengths of picture files.
fn told(run: &Run) -> String {
    let line = |line: &str| match line.strip_suffix(" bytes of picture files").and_then(|line| line.rsplit_once(", ")) {
        Some((line, _)) => format!("{line}\n"),
        None => format!("{line}\n"),
    };
    run.stderr.lines().map(line).collect()
}

#[test]
fn what_is_left_behind_and_what_is_left_out_is_said() {
    let place = Place::new();
    toy(&place);
    place.write("page.png", b"<html>");
    place.write(
        "list.jsonl",
        "{\"id\": 1, \"filepath\": \"photos/0.png\", \"caption\": \"red\", \"tags\": [\"a\"], \"width\": 3}\n{\"id\": 1, \"filepath\": \"photos/1.png\"}\n\
         {\"filepath\": \"gone.png\"}\nnot JSON\n"
            .as_bytes(),
    );
    let run = place.hua(&["data", "convert", "list.jsonl", "-o", "set", "--to", "chinese-clip"]);
    assert_eq!((run.code, run.stdout.as_str()), (0, "set/train_imgs.tsv\nset/train_texts.jsonl\n"), "{}", run.stderr);
    assert_snapshot!(told(&run), @"
    warning: left out `gone.png`: No such file or directory (os error 2)
    warning: left out `list.jsonl#4`: expected ident at line 1 column 2; wanted a JSON object
    warning: this form has no place for fields of pictures: 1 left behind
    warning: this form has no place for tags of pictures: 1 left behind
    warning: an id that had come before has a number behind it now: 1 picture
    2 pictures with 1 caption
    ");
    let errors: Vec<Value> = place.read("set.errors.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(errors.len(), 2);
    assert_eq!((&errors[0]["name"], &errors[1]["name"]), (&json!("gone.png"), &json!("list.jsonl#4")));
    // What texts say beside what every form has is counted too.
    place.write("kinds/train_imgs.tsv", place.read("set/train_imgs.tsv").as_bytes());
    place.write(
        "kinds/train_texts.jsonl",
        b"{\"text\": \"red\", \"image_ids\": [1], \"kind\": \"name\"}\n{\"text\": \"x\", \"image_ids\": [9]}\n",
    );
    let run = place.hua(&["data", "convert", "kinds", "-o", "kinds.tar"]);
    assert_snapshot!(told(&run), @"
    warning: left out `kinds/train_texts.jsonl`: a text names picture `9`, which is not there: `x`
    warning: this form has no place for `kind` of texts: 1 left behind
    2 pictures with 1 caption
    ");
}

#[test]
fn calls_that_make_no_sense_write_nothing() {
    let place = Place::new();
    toy(&place);
    place.write("page", b"<html>");
    place.write("notes.csv", b"a,b\n1,2\n");
    let before = entries(&place);
    for (arguments, code, told) in [
        (&["toy", "-o", "out"][..], 2, "does not say what to write"),
        (&["toy", "-o", "out.lmdb", "--to", "lmdb"], 2, "hua reads LMDB and does not write it"),
        (&["toy", "-o", "toy.jsonl"], 2, "`toy.jsonl` is there already"),
        (&["toy", "-o", "photos", "--to", "folders"], 2, "`photos` is there already"),
        (&["none", "-o", "out.tar"], 2, "cannot read `none`"),
        (&["toy", "-o", "none/out.tar"], 2, "cannot write `none/out.tar`"),
        (&["toy", "--split", "train", "-o", "out.tar"], 1, "has no such split"),
        (&["notes.csv", "-o", "out.tar"], 1, "has the columns `a`, `b`, none with pictures"),
        (&["page", "-o", "out.tar"], 1, "left out `page`: it is in no format that hua knows"),
        (&["toy", "-o", "out", "--to", "chinese-clip", "--as-split", "a/b"], 2, "cannot be a split"),
    ] {
        let arguments = [&["data", "convert"], arguments].concat();
        let run = place.hua(&arguments);
        assert_eq!((run.code, run.stdout.as_str()), (code, ""), "{arguments:?} {}", run.stderr);
        assert!(run.stderr.contains(told), "{arguments:?} {}", run.stderr);
        assert_eq!(entries(&place), before, "{arguments:?}");
    }
}

#[cfg(unix)]
#[test]
fn a_full_disk_is_told_and_leaves_nothing() {
    let place = Place::new();
    toy(&place);
    let noise: Vec<u8> = (0..400_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    place.write("big/noise.png", &[b"\x89PNG\r\n\x1a\n", &*noise].concat());
    let before = entries(&place);
    for (to, out) in [("webdataset", "out.tar"), ("parquet", "out.parquet"), ("jsonl", "out.jsonl"), ("folders", "out"), ("csv", "out.csv")]
    {
        // No file may be longer than 64 blocks: the nearest that a test comes to a full disk.
        let hua = env!("CARGO_BIN_EXE_hua");
        let script = format!("trap '' XFSZ; ulimit -f 64; exec '{hua}' data convert big -o {out} --to {to} --pictures bytes");
        let mut command = place.command::<&str>(&[]);
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", &script]).current_dir(command.get_current_dir().unwrap()).env_clear().env("HOME", place.0.path());
        let run = Run::of(shell.output().unwrap());
        command.args(["data"]);
        assert_eq!((run.code, run.stdout.as_str()), (1, ""), "{to}: {}", run.stderr);
        assert!(run.stderr.contains(&format!("cannot write `{out}")) && run.stderr.contains("File too large"), "{to}: {}", run.stderr);
        assert_eq!(entries(&place), before, "{to}");
    }
}

#[test]
fn a_sound_data_set_passes_and_a_bad_one_does_not() {
    let place = Place::new();
    toy(&place);
    let run = place.hua(&["data", "check", "toy", "--decode"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_snapshot!(shown(run), @"
    sound  3  pictures
           3  captions in en
           2  captions in zh
    ");

    let photo = std::fs::read(place.path("photos/0.png")).unwrap();
    place.write("bad/cut.png", &photo[..photo.len() - 20]);
    place.write("bad/page.png", b"<html>");
    place.write("bad/copy.png", &photo);
    place.write("bad/copy.json", r#"{"captions": [{"language": "elvish", "text": "red"}, "caf\ufffd"]}"#.as_bytes());
    place.picture("bad/other.png", [1, 2, 3]);
    place.write("bad/other.txt", b"RED");
    place.write("bad/tiny.png", &hua::image::Picture::from_rgb8(1, 40, vec![0; 120]).unwrap().encode_png());
    let images = place.read("toy/valid_imgs.tsv");
    place.write("bad/set_imgs.tsv", format!("{}{}no tab\n", images, images.lines().next().unwrap().to_owned() + "\n").as_bytes());
    place.write(
        "bad/set_texts.jsonl",
        b"{\"text\": \"red\", \"image_ids\": [10]}\n{\"text\": \" \", \"image_ids\": [11, 99]}\n{\"text\": 5}\n",
    );
    let sources = ["cut.png", "page.png", "copy.png", "other.png", "tiny.png", "set_imgs.tsv"].map(|name| format!("bad/{name}"));
    let arguments: Vec<&str> = ["data", "check", "--decode"].into_iter().chain(sources.iter().map(String::as_str)).collect();
    let run = place.hua(&arguments);
    assert_eq!(run.code, 1);
    assert!(run.stderr.ends_with("the data set is not sound: 5 kinds of faults found\n"), "{}", run.stderr);
    assert_snapshot!(shown(run).replace(char::REPLACEMENT_CHARACTER, "?"), @"
    sound  7  pictures
           4  captions without a language
           1  captions in elvish
    wrong  3  listed, and cannot be used
    wrong  2  pictures that cannot be read or decoded
    wrong  1  ids that come twice
    wrong  1  captions without a letter
    wrong  1  captions that were not UTF-8
    note   2  pictures whose bytes came before
    note   2  captions that another picture has too
    note   5  pictures without caption or tag
    note   1  captions whose language is no code
    note   1  pictures with a side under 16 pixels

    listed, and cannot be used
      bad/set_texts.jsonl  `bad/set_texts.jsonl` line 3: invalid type: integer `5`, expected a string at line 1 column 10, wanted an object with `text` and `image_ids`
      bad/set_imgs.tsv     `bad/set_imgs.tsv` line 5: no tab, wanted an id, a tab and base64
      bad/set_texts.jsonl  a text names picture `99`, which is not there: ``

    pictures that cannot be read or decoded
      bad/cut.png   truncated PNG file: unexpected end of file
      bad/page.png  not a picture: the content looks like HTML; wanted JPEG, PNG, WebP, GIF, BMP or TIFF

    ids that come twice
      bad/set_imgs.tsv#10  `bad/set_imgs.tsv#10` comes again

    captions without a letter
      bad/set_imgs.tsv#11  an empty caption

    captions that were not UTF-8
      bad/copy.png  caf?

    pictures whose bytes came before
      bad/set_imgs.tsv#10  the same bytes as `bad/copy.png`
      bad/set_imgs.tsv#10  the same bytes as `bad/copy.png`

    captions that another picture has too
      bad/other.png        `RED`, as `bad/copy.png`
      bad/set_imgs.tsv#10  `red`, as `bad/copy.png`

    pictures without caption or tag
      bad/cut.png          nothing is said of it
      bad/page.png         nothing is said of it
      bad/tiny.png         nothing is said of it
      bad/set_imgs.tsv#12  nothing is said of it
      bad/set_imgs.tsv#10  nothing is said of it

    captions whose language is no code
      bad/copy.png  `elvish`

    pictures with a side under 16 pixels
      bad/tiny.png  1 x 40 pixels
    ");
}

#[test]
fn what_another_split_has_too_is_found() {
    let place = Place::new();
    toy(&place);
    let run = place.hua(&["data", "check", "photos/0.png", "photos/1.png", "--against", "toy", "--json"]);
    assert_eq!(run.code, 1);
    let found: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!((&found["findings"][0]["kind"], &found["findings"][0]["count"]), (&json!("leaked_picture"), &json!(2)));
    assert_eq!(found["findings"][0]["examples"][0]["what"], "the same bytes as `toy/valid_imgs.tsv#10`");
    // A caption alone is no fault.
    place.picture("new/a.png", [9, 9, 9]);
    place.write("new/a.txt", "蓝　色".as_bytes());
    let run = place.hua(&["data", "check", "new", "--against", "toy", "--json"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(run.stdout.contains("leaked_caption"), "{}", run.stdout);
    assert_eq!(place.hua(&["data", "check", "new", "--against", "toy", "--strict", "--json"]).code, 1);
}

#[test]
fn what_is_in_a_data_set_is_counted_by_language() {
    let place = Place::new();
    toy(&place);
    let run = place.hua(&["data", "stats", "toy"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let lines: Vec<&str> = run.stdout.lines().filter(|line| !line.contains("bytes")).collect();
    assert_snapshot!(lines.join("\n"), @"
    pictures    3
    captions    5  5 different
    tags        0  0 different

                           least  median   mean  95 %  most
    width                     40      40   40.0    40    40
    height                    30      30   30.0    30    30
    captions of a picture      1       2    1.7     2     2
    characters, en             3       4    4.0     5     5
    characters, zh             1       1    2.0     3     3

    language of captions
      en  3  ████████████████████████
      zh  2  ████████████████

    captions of a picture
      1  1  ████████████
      2  2  ████████████████████████
    ");
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/hua-emoji-9l");
    let stats: Value =
        serde_json::from_str(&place.hua(&["data", "stats", "toy", "--json", "--model", model.to_str().unwrap()]).ok()).unwrap();
    assert_eq!((&stats["pictures"], &stats["languages"]["zh"]["captions"]), (&json!(3), &json!(2)));
    assert_eq!(stats["languages"]["en"]["characters"]["max"], 5);
    assert!(stats["languages"]["en"]["tokens"]["min"].as_u64().unwrap() >= 3, "{stats}");
    assert_eq!(place.hua(&["data", "stats", "toy/valid_texts.jsonl"]).code, 1);
}
