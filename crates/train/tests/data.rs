//! Pairs as they are read, drawn and loaded: every item once an epoch, the same bits for any number of threads, on from any batch, and
//! bad data named, counted, survived or refused.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hua_data::Source;
use hua_image::augment::{Augment, RandomAffine};
use hua_image::{Picture, Preprocess};
use hua_text::{Builtin, Tokenizer, TokenizerOptions};
use hua_train::Error;
use hua_train::data::{
    Cache, Duplicates, ListDropout, Loading, NewPicture, NewText, PairBatch, PairLoader, PairLoaderOptions, PairSet, ReadOptions, Sampling,
    TextAugment, Unit,
};
use proptest::prelude::*;

fn tokenizer() -> Tokenizer {
    Tokenizer::builtin(Builtin::ChineseClip, &TokenizerOptions::default()).unwrap()
}

/// A little picture that is like no other number's.
fn png(number: u32) -> Vec<u8> {
    let bytes = (0..12 * 10 * 3_u32).map(|i| (i.wrapping_mul(number * 2 + 7) >> 3) as u8).collect();
    let mut data: Vec<u8> = bytes;
    data[..4].copy_from_slice(&number.to_le_bytes());
    Picture::from_rgb8(12, 10, data).unwrap().encode_png()
}

fn picture(number: u32) -> NewPicture {
    NewPicture { name: format!("picture {number}"), source: Source::Bytes(png(number)) }
}

fn text(text: &str, language: &str, kind: &str, pictures: &[u32]) -> NewText {
    NewText { text: text.into(), language: language.into(), kind: kind.into(), pictures: pictures.to_vec() }
}

/// `groups` of two pictures with a name in each of three languages and keywords in one.
fn concepts(groups: u32) -> (Vec<NewPicture>, Vec<NewText>) {
    let pictures = (0..groups * 2).map(picture).collect();
    let texts = (0..groups).flat_map(|g| {
        let both = [2 * g, 2 * g + 1];
        let name = |language: &str| text(&format!("{language} {g}"), language, "name", &both);
        [name("en"), name("zh"), name("fr"), text(&format!("a{g}, b{g}, c{g}, d{g}, e{g}"), "en", "keyword", &both)]
    });
    (pictures, texts.collect())
}

fn unchecked() -> ReadOptions {
    ReadOptions { check: false, ..ReadOptions::default() }
}

fn set_of(groups: u32) -> Arc<PairSet> {
    let (pictures, texts) = concepts(groups);
    Arc::new(PairSet::new(pictures, texts, &ReadOptions::default()).unwrap())
}

fn options(batch: usize) -> PairLoaderOptions {
    PairLoaderOptions {
        batch,
        seed: 5,
        loading: Loading { threads: 0, ahead: 2, ..Loading::default() },
        ..PairLoaderOptions::new(Preprocess::chinese_clip(8), tokenizer())
    }
}

/// Without pictures, for tests of the order.
fn order_only(batch: usize) -> PairLoaderOptions {
    PairLoaderOptions { pixels: false, ..options(batch) }
}

/// A batch without the time it took.
fn next(loader: &mut PairLoader) -> PairBatch {
    PairBatch { waited: Default::default(), ..loader.next().unwrap() }
}

#[test]
fn groups_are_what_the_data_joins() {
    // Text 0 joins pictures 0 and 1, text 1 pictures 1 and 2; picture 3 is alone.
    let pictures = (0..4).map(picture).collect();
    let texts = vec![text("a", "en", "", &[0, 1]), text("b", "", "", &[2, 1]), text("c", "en", "name", &[3])];
    let set = PairSet::new(pictures, texts, &ReadOptions::default()).unwrap();
    assert_eq!((set.pictures(), set.texts(), set.groups()), (4, 3, 2));
    assert_eq!((0..4).map(|p| set.group_of_picture(p)).collect::<Vec<_>>(), [0, 0, 0, 1]);
    assert_eq!((set.group_pictures(0), set.group_texts(0), set.group_texts(1)), (&[0, 1, 2][..], &[0, 1][..], &[2][..]));
    assert_eq!((set.pictures_of(1), set.texts_of(1)), (&[1, 2][..], &[0, 1][..]));
    assert_eq!((set.text(1), set.language(1), set.kind(2), set.name(3)), ("b", "", "name", "picture 3"));
}

#[test]
fn equal_pictures_and_equal_texts_are_marked_joined_or_ignored() {
    let make = |duplicates| {
        let mut pictures: Vec<NewPicture> = (0..4).map(picture).collect();
        pictures[2].source = Source::Bytes(png(0));
        let texts = vec![
            text("Red  cat", "en", "", &[0]),
            text("dog", "en", "", &[1]),
            text("fish", "en", "", &[2]),
            text("ｒｅｄ cat", "en", "", &[3]),
        ];
        PairSet::new(pictures, texts, &ReadOptions { duplicates, ..ReadOptions::default() }).unwrap()
    };
    let marked = make(Duplicates::Mark);
    assert_eq!(marked.groups(), 4);
    assert_eq!((marked.groups_like_picture(0), marked.groups_like_picture(1)), (&[0, 2][..], &[][..]));
    assert_eq!((marked.groups_like_text(3), marked.groups_like_text(2)), (&[0, 3][..], &[][..]));
    assert_eq!((marked.report().equal_pictures, marked.report().equal_texts), (2, 2));
    let joined = make(Duplicates::Join);
    assert_eq!((joined.groups(), joined.group_pictures(0)), (2, &[0, 2, 3][..]));
    let ignored = make(Duplicates::Ignore);
    assert_eq!((ignored.groups(), ignored.groups_like_picture(0)), (4, &[][..]));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn every_unit_comes_once_an_epoch_in_whole_batches_of_distinct_groups(groups in 8_u32..40, batch in 1_usize..8, seed: u64, by_group: bool) {
        let (pictures, texts) = concepts(groups);
        let set = Arc::new(PairSet::new(pictures, texts, &unchecked()).unwrap());
        let sampling = Sampling { unit: if by_group { Unit::Group } else { Unit::Pair }, ..Sampling::default() };
        let mut loader = PairLoader::new(Arc::clone(&set), PairLoaderOptions { seed, sampling, ..order_only(batch) }).unwrap();
        let units = if by_group { set.groups() } else { set.texts() };
        let mut counts = vec![0_usize; units];
        let mut drawn = 0;
        while drawn < 3 * units {
            let found = next(&mut loader);
            prop_assert_eq!(found.texts.len(), batch);
            let distinct: BTreeSet<_> = found.text_groups.iter().collect();
            prop_assert_eq!(distinct.len(), batch);
            prop_assert_eq!(&found.text_groups, &found.picture_groups);
            for (&text, &picture) in found.texts.iter().zip(&found.pictures) {
                prop_assert!(by_group || set.pictures_of(text).contains(&picture));
                prop_assert_eq!(set.group_of_text(text), set.group_of_picture(picture));
                counts[if by_group { set.group_of_text(text) } else { text } as usize] += 1;
            }
            drawn += batch;
        }
        // Units that wait for a batch without their group are late by a few batches, never lost or doubled.
        let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
        prop_assert!(*least >= 2 && *most <= 4, "{counts:?}");
        let waiting: Vec<_> = loader.cursor().waiting.iter().collect();
        prop_assert!(waiting.len() <= 9 * batch);
    }

    #[test]
    fn what_goes_on_from_a_cursor_is_what_would_have_come(groups in 6_u32..20, batch in 1_usize..6, at in 0_usize..30, seed: u64) {
        let set = { let (pictures, texts) = concepts(groups); Arc::new(PairSet::new(pictures, texts, &unchecked()).unwrap()) };
        let loader = || PairLoader::new(Arc::clone(&set), PairLoaderOptions { seed, ..order_only(batch) }).unwrap();
        let mut whole = loader();
        (0..at).for_each(|_| _ = next(&mut whole));
        let saved = serde_json::to_string(whole.cursor()).unwrap();
        let mut resumed = loader();
        // Wherever it was before.
        (0..at % 3).for_each(|_| _ = next(&mut resumed));
        resumed.seek(&serde_json::from_str(&saved).unwrap()).unwrap();
        for _ in 0..5 {
            prop_assert_eq!(next(&mut whole), next(&mut resumed));
        }
    }
}

/// Everything that is random at once.
fn lively(threads: usize, cache: Cache) -> PairLoaderOptions {
    PairLoaderOptions {
        augment: Augment { affine: Some(RandomAffine { degrees: 20.0, ..RandomAffine::default() }), ..Augment::chinese_clip() },
        texts: TextAugment { list_dropout: Some(ListDropout::default()), recase: 0.3, ..TextAugment::default() },
        sampling: Sampling { unit: Unit::Group, texts_per_group: 2, pictures_per_group: 2, ..Sampling::default() },
        loading: Loading { threads, ahead: 3, cache, ..Loading::default() },
        ..options(5)
    }
}

#[test]
fn batches_are_the_same_bits_for_any_number_of_threads_and_with_a_cache() {
    let set = set_of(11);
    let batches = |threads, cache| -> Vec<PairBatch> {
        let mut loader = PairLoader::new(Arc::clone(&set), lively(threads, cache)).unwrap();
        (0..8).map(|_| next(&mut loader)).collect()
    };
    let expected = batches(0, Cache::None);
    assert_eq!(expected[0].pixels.len(), 10 * 3 * 8 * 8);
    assert!(expected[0] != expected[2] && expected[7].epoch > 0);
    for (threads, cache) in [(1, Cache::None), (4, Cache::Decoded), (0, Cache::Decoded)] {
        assert!(batches(threads, cache) == expected, "{threads} threads, {cache:?}");
    }
}

#[test]
fn a_run_that_goes_on_in_the_middle_of_an_epoch_sees_the_same_bits() {
    let set = set_of(11);
    let mut whole = PairLoader::new(Arc::clone(&set), lively(2, Cache::None)).unwrap();
    (0..3).for_each(|_| _ = next(&mut whole));
    let mut resumed = PairLoader::new(Arc::clone(&set), lively(0, Cache::Decoded)).unwrap();
    resumed.seek(whole.cursor()).unwrap();
    for _ in 0..4 {
        assert!(next(&mut whole) == next(&mut resumed));
    }
    // What an epoch ahead sees is not what was seen.
    let mut other = PairLoader::new(set, PairLoaderOptions { seed: 6, ..lively(0, Cache::None) }).unwrap();
    assert!(next(&mut other) != next(&mut whole));
}

#[test]
fn a_cursor_of_other_data_is_refused() {
    let mut loader = PairLoader::new(set_of(11), order_only(4)).unwrap();
    let cursor = PairLoader::new(set_of(12), order_only(4)).unwrap().cursor().clone();
    assert!(matches!(loader.seek(&cursor), Err(Error::BadData { .. })));
}

#[test]
fn texts_of_a_group_are_in_distinct_languages_and_kinds_have_their_weights() {
    let set = set_of(10);
    let sampling = |texts_per_group, keyword| Sampling {
        unit: Unit::Group,
        texts_per_group,
        kinds: BTreeMap::from([("keyword".to_owned(), keyword)]),
        ..Sampling::default()
    };
    let mut loader = PairLoader::new(Arc::clone(&set), PairLoaderOptions { sampling: sampling(3, 1.0), ..order_only(5) }).unwrap();
    let (mut keywords, mut english) = (0, 0);
    for _ in 0..200 {
        let batch = next(&mut loader);
        assert_eq!((batch.pictures.len(), batch.texts.len()), (5, 15));
        for group in batch.texts.chunks(3) {
            let languages: BTreeSet<_> = group.iter().map(|&text| set.language(text)).collect();
            assert_eq!(languages.len(), 3, "{languages:?}");
            keywords += group.iter().filter(|&&text| set.kind(text) == "keyword").count();
            english += 1;
        }
    }
    assert!((400..600).contains(&(keywords * 1000 / english)), "{keywords} of {english}");
    let mut names = PairLoader::new(Arc::clone(&set), PairLoaderOptions { sampling: sampling(5, 0.0), ..order_only(5) }).unwrap();
    let batch = next(&mut names);
    assert_eq!(batch.texts.len(), 15, "a group has three names");
    assert!(batch.texts.iter().all(|&text| set.kind(text) == "name"));
}

#[test]
fn a_kind_of_pairs_comes_in_its_share_of_the_epochs() {
    let set = set_of(50);
    let sampling = Sampling { kinds: BTreeMap::from([("keyword".to_owned(), 0.25)]), ..Sampling::default() };
    let mut loader = PairLoader::new(Arc::clone(&set), PairLoaderOptions { sampling, ..order_only(10) }).unwrap();
    let epochs = 20;
    let per_epoch = loader.batches_per_epoch(10);
    assert_eq!(per_epoch, 16, "150 names and a quarter of 50 keywords");
    let texts: Vec<u32> = (0..epochs * per_epoch).flat_map(|_| next(&mut loader).texts).collect();
    let keywords = texts.iter().filter(|&&text| set.kind(text) == "keyword").count();
    assert!((180..320).contains(&keywords), "{keywords} of {}", texts.len());
}

#[test]
fn equal_pictures_and_texts_never_meet_in_a_batch() {
    // Group g and g + 10 have the same text; groups 0 and 1 the same picture.
    let mut pictures: Vec<NewPicture> = (0..20).map(picture).collect();
    pictures[1].source = Source::Bytes(png(0));
    let texts = (0..20_u32).map(|g| text(&format!("text {}", g % 10), "en", "", &[g])).collect();
    let set = Arc::new(PairSet::new(pictures, texts, &ReadOptions::default()).unwrap());
    let mut loader = PairLoader::new(Arc::clone(&set), order_only(5)).unwrap();
    let mut seen = BTreeSet::new();
    for _ in 0..40 {
        let batch = next(&mut loader);
        let texts: BTreeSet<_> = batch.texts.iter().map(|&text| set.text(text)).collect();
        assert_eq!(texts.len(), 5);
        assert!(!(batch.pictures.contains(&0) && batch.pictures.contains(&1)));
        seen.extend(batch.texts);
    }
    assert_eq!(seen.len(), 20);
}

/// Whether a picture and a text of a batch, by their places, are no wrong answers to each other.
fn no_strangers(batch: &PairBatch, picture: usize, text: usize) -> bool {
    batch.picture_groups[picture] == batch.text_groups[text] || batch.alike.contains(&(picture as u32, text as u32))
}

#[test]
fn where_most_is_alike_a_batch_is_whole_and_says_what_is_alike() {
    let pictures = (0..40).map(picture).collect();
    // Half of the pictures have the same text.
    let texts = (0..40_u32).map(|p| text(&if p % 2 == 0 { "product".to_owned() } else { format!("text {p}") }, "en", "", &[p])).collect();
    let set = Arc::new(PairSet::new(pictures, texts, &unchecked()).unwrap());
    let mut loader = PairLoader::new(Arc::clone(&set), order_only(8)).unwrap();
    for _ in 0..50 {
        let batch = next(&mut loader);
        assert_eq!(batch.texts.len(), 8);
        for (i, &a) in batch.texts.iter().enumerate() {
            for (j, &b) in batch.texts.iter().enumerate() {
                assert_eq!(set.text(a) == set.text(b), no_strangers(&batch, j, i));
            }
        }
    }
}

#[test]
fn texts_that_become_equal_by_being_varied_are_no_strangers() {
    let pictures = (0..20).map(picture).collect();
    let texts = (0..20_u32).map(|p| text(&format!("face, t{p}"), "en", "keyword", &[p])).collect();
    let set = Arc::new(PairSet::new(pictures, texts, &unchecked()).unwrap());
    let list_dropout = Some(ListDropout { least: 1, most: 1, ..ListDropout::default() });
    let options = PairLoaderOptions { texts: TextAugment { list_dropout, ..TextAugment::default() }, ..order_only(8) };
    let mut loader = PairLoader::new(set, options).unwrap();
    let mut merged = 0;
    for _ in 0..10 {
        let batch = next(&mut loader);
        for (i, a) in batch.ids.iter().enumerate() {
            for (j, b) in batch.ids.iter().enumerate() {
                assert_eq!(a == b, no_strangers(&batch, j, i));
                merged += usize::from(a == b && i != j);
            }
        }
    }
    assert!(merged > 0);
}

#[test]
fn fewer_units_than_a_batch_has_are_refused() {
    let sampling = Sampling { unit: Unit::Group, ..Sampling::default() };
    let error = PairLoader::new(set_of(3), PairLoaderOptions { sampling, ..order_only(4) }).unwrap_err();
    assert_eq!(error.to_string(), "`data`: 3 groups that can be drawn; wanted at least as many as a batch of 4 has");
}

/// Ten pictures of which some cannot be decoded, though they look like pictures.
fn partly_damaged(damaged: &[u32]) -> Arc<PairSet> {
    let (mut pictures, texts) = concepts(10);
    for &picture in damaged {
        let bytes = png(picture);
        pictures[picture as usize].source = Source::Bytes(bytes[..bytes.len() / 2].to_vec());
    }
    Arc::new(PairSet::new(pictures, texts, &ReadOptions::default()).unwrap())
}

#[test]
fn a_bad_picture_is_replaced_by_one_of_its_text_and_told_once() {
    let set = partly_damaged(&[6]);
    let batches = |threads| -> Vec<PairBatch> {
        let loading = Loading { threads, ..Loading::default() };
        let mut loader = PairLoader::new(Arc::clone(&set), PairLoaderOptions { loading, max_bad: 0.2, ..options(4) }).unwrap();
        let batches = (0..30).map(|_| next(&mut loader)).collect();
        assert_eq!(loader.bad().count, 1);
        assert_eq!(loader.bad().examples[0].name, "picture 6");
        batches
    };
    let found = batches(0);
    assert!(found == batches(3));
    assert!(found.iter().all(|batch| batch.texts.len() == 4 && batch.pictures.len() == 4 && !batch.pictures.contains(&6)));
    assert_eq!(found.iter().map(|batch| batch.bad.len()).sum::<usize>(), 1);
    let texts: BTreeSet<u32> = found.iter().flat_map(|batch| batch.texts.iter().copied()).collect();
    assert_eq!(texts.len(), set.texts(), "its texts are learnt all the same");
}

#[test]
fn where_all_pictures_of_a_text_are_bad_another_unit_takes_its_place() {
    for unit in [Unit::Pair, Unit::Group] {
        let set = partly_damaged(&[6, 7]);
        let sampling = Sampling { unit, texts_per_group: 2, pictures_per_group: 2, ..Sampling::default() };
        let batches = |threads| -> Vec<PairBatch> {
            let loading = Loading { threads, ..Loading::default() };
            let options = PairLoaderOptions { sampling: sampling.clone(), loading, max_bad: 0.2, ..options(4) };
            let mut loader = PairLoader::new(Arc::clone(&set), options).unwrap();
            (0..30).map(|_| next(&mut loader)).collect()
        };
        let found = batches(0);
        assert!(found == batches(2));
        for batch in &found {
            assert!(!batch.text_groups.contains(&3) && !batch.pictures.contains(&6) && !batch.pictures.contains(&7));
            assert_eq!(batch.text_groups.iter().collect::<BTreeSet<_>>().len(), 4, "groups stay distinct");
        }
    }
}

#[test]
fn too_many_bad_pictures_end_the_run_with_their_names() {
    let set = partly_damaged(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    let mut loader = PairLoader::new(set, PairLoaderOptions { max_bad: 0.1, ..options(4) }).unwrap();
    let error = (0..30).find_map(|_| loader.next().err()).expect("half of the pictures are bad");
    assert!(error.to_string().contains("pictures cannot be used") && error.to_string().contains("`max_bad`"), "{error}");
}

/// Chinese-CLIP's files in a folder.
fn chinese_clip(images: &[(&str, Vec<u8>)], texts: &str) -> tempfile::TempDir {
    use base64::Engine as _;
    let folder = tempfile::tempdir().unwrap();
    let line = |(id, bytes): &(&str, Vec<u8>)| format!("{id}\t{}\n", base64::engine::general_purpose::STANDARD.encode(bytes));
    std::fs::write(folder.path().join("train_imgs.tsv"), images.iter().map(line).collect::<String>()).unwrap();
    std::fs::write(folder.path().join("train_texts.jsonl"), texts).unwrap();
    folder
}

fn open(path: &Path, options: &ReadOptions) -> hua_train::Result<PairSet> {
    PairSet::open(&[path.to_owned()], options)
}

#[test]
fn what_is_bad_in_chinese_clips_files_is_named_and_counted() {
    let texts = r#"{"text_id": 1, "text": "cat", "image_ids": [7, 8], "lang": "en", "kind": "name"}
{"text_id": 2, "text": "  ", "image_ids": [7], "lang": "en"}
{"text_id": 3, "text": "chien", "image_ids": [9, 99], "lang": "fr", "kind": "name"}
{"text_id": 4, "text": "nobody", "image_ids": [98]}
{"text_id": 5, "text": "page", "image_ids": [10]}
not JSON
{"text_id": 6, "text": "none", "image_ids": []}
"#;
    let page = b"<html>404</html>".to_vec();
    let folder = chinese_clip(&[("7", png(7)), ("8", png(8)), ("9", png(9)), ("10", page), ("7", png(1)), ("11", png(11))], texts);
    let set = open(folder.path(), &ReadOptions { max_bad: 1.0, ..ReadOptions::default() }).unwrap();
    assert_eq!((set.pictures(), set.texts(), set.groups()), (3, 2, 2));
    assert_eq!((set.text(0), set.language(1), set.kind(0), set.pictures_of(0)), ("cat", "fr", "name", &[0, 1][..]));
    let told: Vec<String> =
        set.report().bad.examples.iter().map(|f| format!("{}: {}", f.name.rsplit('/').next().unwrap(), f.reason)).collect();
    let expected = [
        "train_texts.jsonl",
        "train_imgs.tsv#7: the id was there before",
        "train_texts.jsonl: a text names picture `98`, which is not there: `nobody`",
        "train_texts.jsonl: a text names picture `99`, which is not there: `chien`",
        "train_texts.jsonl#2: an empty text",
        "train_texts.jsonl#6: a text of no picture",
        "train_imgs.tsv#10: not a picture: the content looks like HTML",
    ];
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    assert!(told.iter().zip(expected).all(|(told, expected)| told.starts_with(expected)), "{told:#?}");
    assert!(told[0].contains("line 6"), "{}", told[0]);
    assert_eq!(set.report().pictures_without_text.count, 1);
    assert!(set.report().pictures_without_text.examples[0].name.ends_with("#11"));
    assert_eq!(set.report().texts_left_out, 1, "the text of the page");

    let error = open(folder.path(), &ReadOptions::default()).unwrap_err().to_string();
    assert!(
        error.contains("7 of 15 pictures and texts cannot be used, the first `") && error.ends_with("wanted at most 5 % (`max_bad`)"),
        "{error}"
    );
}

#[test]
fn a_recipe_leaves_out_languages_kinds_and_pictures() {
    let texts = r#"{"text_id": 1, "text": "cat", "image_ids": [10, 13], "lang": "en", "kind": "name"}
{"text_id": 2, "text": "gato", "image_ids": [10, 13], "lang": "pt-BR", "kind": "name"}
{"text_id": 3, "text": "pet", "image_ids": [10, 13], "lang": "en", "kind": "keyword"}
{"text_id": 4, "text": "dog", "image_ids": [23], "lang": "en", "kind": "name"}
"#;
    let folder = chinese_clip(&[("10", png(1)), ("13", png(2)), ("23", png(3))], texts);
    let set = open(folder.path(), &ReadOptions { leave_out: vec!["*#*3".into()], ..ReadOptions::default() }).unwrap();
    assert_eq!((set.pictures(), set.texts(), set.report().pictures_left_out, set.report().texts_left_out), (1, 3, 2, 1));
    assert_eq!(set.report().bad.count, 0);
    let set = open(folder.path(), &ReadOptions { languages: vec!["pt".into()], ..ReadOptions::default() }).unwrap();
    assert_eq!((set.text(0), set.texts(), set.report().texts_left_out), ("gato", 1, 3));
    let set = open(folder.path(), &ReadOptions { kinds: vec!["keyword".into()], ..ReadOptions::default() }).unwrap();
    assert_eq!((set.text(0), set.texts()), ("pet", 1));
    let error = open(folder.path(), &ReadOptions { languages: vec!["de".into()], ..ReadOptions::default() }).unwrap_err().to_string();
    assert!(error.contains("no pair") && error.contains("4 texts left out"), "{error}");
}

#[test]
fn tables_and_folders_are_read_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| -> PathBuf { folder.path().join(name) };
    for class in ["cat", "dog"] {
        std::fs::create_dir_all(path("classes").join(class)).unwrap();
        (0..3_u32).for_each(|i| {
            std::fs::write(
                path("classes").join(class).join(format!("{i}.png")),
                png(i + class.len() as u32 + u32::from(class == "dog") * 5),
            )
            .unwrap()
        });
    }
    let set = open(&path("classes"), &ReadOptions { folders_are_classes: true, ..ReadOptions::default() }).unwrap();
    assert_eq!((set.pictures(), set.texts(), set.text(0), set.kind(5)), (6, 6, "cat", "class"));
    assert_eq!(set.groups_like_text(0), [0, 1, 2], "pictures of a class are no strangers");

    std::fs::write(
        path("list.csv"),
        "filepath,caption_en,caption_fr\nclasses/cat/0.png,a cat,un chat\nclasses/dog/1.png,a dog,\nclasses/none.png,x,y\n",
    )
    .unwrap();
    let set = open(&path("list.csv"), &ReadOptions { max_bad: 0.5, ..ReadOptions::default() }).unwrap();
    assert_eq!((set.pictures(), set.texts(), set.groups()), (2, 3, 2));
    assert_eq!((set.language(1), set.text(1)), ("fr", "un chat"));
    assert_eq!(set.report().bad.count, 1);
    assert!(set.report().bad.examples[0].name.contains("none.png"), "{:?}", set.report().bad);
    assert!(matches!(open(&path("nothing"), &ReadOptions::default()), Err(Error::Hua(hua::Error::Data(_)))));
}

#[test]
fn what_a_recipe_says_is_checked() {
    let sampling = |toml: &str| toml::from_str::<Sampling>(toml).unwrap();
    sampling("unit = \"group\"\ntexts_per_group = 3\nkinds = { keyword = 2.5 }").check("data.sampling").unwrap();
    let error = sampling("kinds = { keyword = 2.5 }").check("data.sampling").unwrap_err().to_string();
    assert_eq!(error, "recipe: `data.sampling.kinds.keyword` is 2.5, wanted a share of 0 to 1, since units are pairs");
    assert!(sampling("texts_per_group = 0").check("x").is_err());
    assert!(toml::from_str::<Sampling>("units = 1").unwrap_err().to_string().contains("unknown field"));
    let texts = |toml: &str| toml::from_str::<TextAugment>(toml).unwrap().check("t");
    texts("list_dropout = {}\nrecase = 0.5\ntemplates = { en = [\"a {}\"] }").unwrap();
    for wrong in ["recase = 2", "templates = { en = [\"a\"] }", "templates = { en = [] }", "list_dropout = { least = 5 }"] {
        assert!(texts(wrong).is_err(), "{wrong}");
    }
    assert!(toml::from_str::<Loading>("ahead = 0").unwrap().check("l").is_err());
    assert!(toml::from_str::<ReadOptions>("max_bad = -1.0").unwrap().check("r").is_err());
}
