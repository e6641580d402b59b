//! Archives made by the `tar` crate, sound and damaged.
use std::io::Write;

use super::*;
use crate::Sources;

/// An archive of these members.
fn archive(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(vec![]);
    for (name, content) in members {
        let mut header = Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        // Sets the sum too; names of over 100 bytes become records of their own.
        builder.append_data(&mut header, name, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

fn read(bytes: &[u8]) -> Vec<Item> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("00000.tar");
    fs::write(&path, bytes).unwrap();
    let entries = Sources::open(&[path], &Options::default()).unwrap();
    // Parts are read while the file is there.
    entries.map(|entry| entry.map(|e| Entry { source: Source::Bytes(e.source.read(1 << 20).unwrap().into_owned()), ..e })).collect()
}

/// What is after the `!` of the names, and the bytes.
fn members(items: &[Item]) -> Vec<(String, Vec<u8>)> {
    let entries = items.iter().map(|item| item.as_ref().unwrap());
    entries.map(|e| (e.name.rsplit_once('!').unwrap().1.to_owned(), e.source.read(1 << 20).unwrap().into_owned())).collect()
}

#[test]
fn the_members_of_a_sample_are_one_entry() {
    let bytes = archive(&[
        ("000/0001.jpg", b"one"),
        ("000/0001.txt", "一只猫\n".as_bytes()),
        ("000/0001.json", r#"{"caption": "一只猫", "key": "0001", "tags": ["cat"]}"#.as_bytes()),
        ("000/0002.cls", b"7"),
        ("000/0002.png", &[9; 1000]),
        ("000/0003.txt", b"no picture"),
        ("000/0004.left.webp", b"l"),
        ("000/0004.right.webp", b"r"),
        ("000/0004.txt", b"both"),
        ("readme.md", b"?"),
        ("._0005.jpg", b"?"),
    ]);
    let items = read(&bytes);
    let expected =
        [("000/0001.jpg", &b"one"[..]), ("000/0002.png", &[9; 1000]), ("000/0004.left.webp", b"l"), ("000/0004.right.webp", b"r")];
    assert_eq!(members(&items), expected.map(|(name, bytes)| (name.to_owned(), bytes.to_owned())));
    let entry = |i: usize| items[i].as_ref().unwrap();
    assert_eq!(entry(0).captions, [crate::Caption { language: None, text: "一只猫".into() }]);
    assert_eq!(entry(0).meta.as_ref().unwrap()["key"], "0001");
    assert_eq!((entry(0).tags.clone(), entry(1).tags.clone()), (vec!["cat".to_owned()], vec!["7".to_owned()]));
    assert_eq!((entry(0).bytes, entry(3).captions[0].text.as_str()), (Some(3), "both"));
    assert!(entry(0).modified.is_some());
}

#[test]
fn long_names_are_read_as_gnu_and_pax_write_them() {
    let long = format!("{}/虹.png", "ordner".repeat(40));
    let mut builder = tar::Builder::new(vec![]);
    let records = [("path", "pax/虹.png".as_bytes()), ("mtime", b"1")];
    builder.append_pax_extensions(records).unwrap();
    let mut header = Header::new_ustar();
    header.set_size(1);
    builder.append_data(&mut header, "short.png", &b"2"[..]).unwrap();
    let mut bytes = builder.into_inner().unwrap();
    bytes.truncate(bytes.len() - 1024);
    bytes.extend(archive(&[(&long, b"1")]));
    let found = members(&read(&bytes));
    assert_eq!(found, [("pax/虹.png".to_owned(), b"2".to_vec()), (long, b"1".to_vec())]);
}

#[test]
fn a_compressed_archive_is_read_the_same() {
    let bytes = archive(&[("a.png", b"one"), ("a.txt", b"text"), ("b.jpg", &[0; 3000])]);
    let mut encoder = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
    encoder.write_all(&bytes).unwrap();
    let (plain, compressed) = (read(&bytes), read(&encoder.finish().unwrap()));
    assert_eq!(members(&plain), members(&compressed));
    assert_eq!(compressed[0].as_ref().unwrap().captions[0].text, "text");
}

#[test]
fn what_came_before_the_damage_stays() {
    let bytes = archive(&[("a.png", b"one"), ("b.png", &[0; 2000]), ("c.png", b"three")]);
    let cut = read(&bytes[..2000]);
    assert!(cut[0].is_ok());
    let failure = cut[1].as_ref().unwrap_err();
    assert!(failure.name.ends_with("00000.tar") && failure.reason == "the archive ends within its member `b.png`", "{failure:?}");
    let mut damaged = bytes.clone();
    damaged[1024 + 3] ^= 1;
    let items = read(&damaged);
    assert_eq!(items[1].as_ref().unwrap_err().reason, "the archive is damaged at byte 1024: wanted a header");
    assert_eq!((items.len(), read(b"").len(), read(&bytes[..100]).len()), (2, 0, 1));
}

#[test]
fn hostile_lengths_are_refused() {
    for size in [u64::MAX, i64::MAX as u64, 1 << 40, 2 << 20] {
        for kind in [EntryType::GNULongName, EntryType::XHeader, EntryType::Regular] {
            let mut header = Header::new_gnu();
            header.set_path("x.png").unwrap();
            header.set_entry_type(kind);
            header.set_size(size);
            header.set_cksum();
            let mut bytes = header.as_bytes().to_vec();
            bytes.extend([b'x'; 2048]);
            for compress in [false, true] {
                let mut encoder = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
                encoder.write_all(&bytes).unwrap();
                let items = read(&if compress { encoder.finish().unwrap() } else { bytes.clone() });
                assert!(items.len() == 1 && items[0].is_err(), "{size} {kind:?}: {items:?}");
            }
        }
    }
}

#[test]
fn no_byte_of_an_archive_makes_it_panic() {
    let bytes = archive(&[("a.png", b"one"), ("a.json", b"{}"), (&format!("{}.png", "long".repeat(30)), b"two")]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.tar");
    let exhaust = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        for entry in items(path.clone(), &Options::default()).unwrap().flatten() {
            let _ = entry.source.read(1 << 20);
        }
    };
    for at in 0..bytes.len() {
        // Within the zeros that fill blocks up nothing new can happen.
        if bytes[at] == 0 && at % 16 != 0 {
            continue;
        }
        for bit in [1, 0x80] {
            let mut flipped = bytes.clone();
            flipped[at] ^= bit;
            // With the right sum, so that the change is looked at.
            let from = at / 512 * 512;
            let mut header = Header::from_byte_slice(&flipped[from..from + 512]).clone();
            header.set_cksum();
            flipped[from..from + 512].copy_from_slice(header.as_bytes());
            exhaust(&flipped);
        }
        exhaust(&bytes[..at]);
    }
}
