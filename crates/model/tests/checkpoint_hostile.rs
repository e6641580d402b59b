//! Files made to do harm, and damaged ones: each is a clear error, soon, and in little memory.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod checkpoint_common;

use std::path::Path;

use checkpoint_common::{data, defect, end, exhaust, len, open, safetensors, script, tensor, torch, zip};
use hua_model::checkpoint::{Blame, Checkpoint, CheckpointError, Defect};

#[test]
fn no_pickled_code_is_run_whatever_calls_it() {
    let calls: [(&str, &[u8]); 12] = [
        ("os.system", b"\x80\x02cos\nsystem\nX\x04\0\0\0true\x85R."),
        ("posix.system", b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x04true\x85R."),
        ("os.system", b"\x80\x02(X\x04\0\0\0trueios\nsystem\n."),
        ("os.system", b"\x80\x02(cos\nsystem\nX\x04\0\0\0trueo."),
        ("subprocess.Popen", b"\x80\x02csubprocess\nPopen\n)\x81."),
        ("subprocess.Popen", b"\x80\x04\x8c\x0asubprocess\x8c\x05Popen\x93)}\x92."),
        ("builtins.eval", b"\x80\x02ccollections\nOrderedDict\n)Rcbuiltins\neval\nb."),
        ("builtins.getattr", b"\x80\x02cbuiltins\ngetattr\n."),
        ("torch.load", b"\x80\x02ctorch\nload\n."),
        ("torch.storage._load_from_bytes", b"\x80\x02ctorch.storage\n_load_from_bytes\n."),
        ("collections.OrderedDict.fromkeys", b"\x80\x02ccollections\nOrderedDict.fromkeys\n."),
        ("numpy.core.multiarray._reconstruct", b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n."),
    ];
    for (name, pickle) in calls {
        let error = defect(&torch(pickle));
        assert_eq!(error, Defect::Global { global: name.to_owned() });
        assert!(error.to_string().starts_with(&format!("this pickle calls `{name}`; hua never runs pickled code")), "{error}");
    }
    // Operations that call or fetch through tables of the interpreter.
    for opcode in [b'P', b'o', 0x82, 0x83, 0x84, 0x96, 0x97, 0x98] {
        assert!(matches!(defect(&torch(&[0x80, 2, b')', opcode, 0, 0, 0, 0, b'.'])), Defect::PickleOperation { .. }), "{opcode:x}");
    }
    // The names that are known take only the arguments that torch gives them.
    for pickle in [
        &b"\x80\x02ctorch\nFloatStorage\n)R."[..],
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)R.",
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(NK\0))tR.",
        b"\x80\x02ccollections\nOrderedDict\nX\x01\0\0\0a\x85R.",
        b"\x80\x02]]R.",
        b"\x80\x02]}b.",
        b"\x80\x02}NQ.",
        b"\x80\x02ctorch._tensor\n_rebuild_from_type_v2\n(ctorch._tensor\n_rebuild_from_type_v2\nN)NtR.",
    ] {
        assert!(matches!(defect(&torch(pickle)), Defect::Pickle { .. }), "{pickle:?}");
    }
}

#[test]
fn deep_circular_and_multiplying_pickles_end() {
    let open = |pickle: &[u8]| defect(&torch(pickle));
    // 100,000 lists in lists; a list, and a mapping, in itself.
    let deep = [b"\x80\x02".to_vec(), vec![b']'; 100_000], vec![b'a'; 99_999], b".".to_vec()].concat();
    assert!(matches!(open(&deep), Defect::NoTensors { .. }));
    assert!(matches!(open(b"\x80\x02]q\0h\0a."), Defect::NoTensors { .. }));
    assert!(matches!(open(b"\x80\x02}q\0X\x0a\0\0\0state_dicth\0s."), Defect::NoTensors { .. }));
    // More of anything than a checkpoint has.
    for operation in [&b"("[..], b")", b"\x85", b"2", b"}\x94"] {
        let many = [b"\x80\x04)", &operation.repeat((15 << 20) / operation.len())[..], b"."].concat();
        assert!(matches!(open(&many), Defect::Limit { .. }), "{operation:?}");
    }
    // A list of 1,000 pairs, copied into 100,000 mappings.
    let pairs = [b"\x80\x02](", &b"NN\x86".repeat(1000)[..], b"eq\0"].concat();
    let copies = [&pairs[..], &b"ccollections\nOrderedDict\nq\x01"[..], &b"h\x01h\0\x85R".repeat(100_000), b"."].concat();
    assert!(matches!(open(&copies), Defect::Limit { .. }));
}

#[test]
fn modules_that_hold_themselves_or_multiply_end() {
    let cycle = b"\x80\x02c__torch__\nM\nq\0)\x81q\x01}X\x01\0\0\0mh\x01sb.";
    assert!(matches!(defect(&script(cycle)), Defect::Limit { .. }));
    // Each of 60 modules holds the next twice.
    let mut doubling = b"\x80\x02c__torch__\nM\nq\0)\x81q\x01".to_vec();
    for _ in 0..60 {
        doubling.extend(b"h\0)\x81}(X\x01\0\0\0ah\x01X\x01\0\0\0bh\x01ubq\x01");
    }
    doubling.push(b'.');
    assert!(matches!(defect(&script(&doubling)), Defect::Limit { .. }));
}

/// A pickle of a string of 8 MiB in the memo, then `rest`.
fn with_long_string(rest: &[u8]) -> Vec<u8> {
    [b"\x80\x02X\0\0\x80\0", &vec![b'k'; 8 << 20][..], b"q\0", rest, b"."].concat()
}

#[test]
fn a_long_string_that_is_meant_often_is_copied_never() {
    let rebuild = tensor("torch FloatStorage", 6, 0, &[6], &[1]);
    let rebuild = &rebuild[9..rebuild.len() - 2];
    // As the key of 100,000 values, as the value of as many keys, as the name of as many tensors and storages.
    let keys = [b"}(", &b"h\0K\x01".repeat(100_000)[..], b"u"].concat();
    assert!(matches!(defect(&torch(&with_long_string(&keys))), Defect::NoTensors { .. }));
    let pairs: Vec<u8> = (0..100_000).flat_map(|i| [&b"X\x06\0\0\0"[..], format!("{i:06}").as_bytes(), b"h\0"].concat()).collect();
    assert!(matches!(defect(&torch(&with_long_string(&[b"}(", &pairs[..], b"u"].concat()))), Defect::NoTensors { .. }));
    let named = [rebuild, b"q\x01}(", &b"h\0h\x01".repeat(100_000), b"u"].concat();
    assert!(matches!(defect(&torch(&with_long_string(&named))), Defect::Limit { what: "bytes of a tensor's name", .. }));
    let storage = b"(X\x07\0\0\0storagectorch\nFloatStorage\nh\0NK\x06tq\x01";
    let storages = [&storage[..], &b"h\x01Q0".repeat(100_000)].concat();
    assert!(matches!(defect(&torch(&with_long_string(&storages))), Defect::Limit { what: "bytes of a storage's name", .. }));
    let modules = [b"c__torch__\nM\n)\x81}(h\0", rebuild, b"ub"].concat();
    assert!(matches!(defect(&script(&with_long_string(&modules))), Defect::Limit { what: "bytes of a tensor's name", .. }));
    // 5,000 values beside the tensors.
    let many: Vec<u8> = (0..5000).flat_map(|i| [&b"X\x04\0\0\0"[..], format!("{i:04}").as_bytes(), b"\x88"].concat()).collect();
    let many = [b"\x80\x02}(", &many[..], b"u."].concat();
    assert!(matches!(defect(&torch(&many)), Defect::Limit { what: "values beside the tensors", .. }));
}

#[test]
fn modules_that_share_many_attributes_are_counted_as_often_as_they_are_read() {
    let numbers = b"K\x01N".repeat(100_000);
    let shared = [b"\x80\x02c__torch__\nM\nq\0)\x81q\x01}(", &numbers[..], b"ub0"].concat();
    let many: Vec<u8> = (0..10_000).flat_map(|i| [&b"X\x04\0\0\0"[..], format!("{i:04}").as_bytes(), b"h\x01"].concat()).collect();
    let top = [&shared[..], b"h\0)\x81}(", &many, b"ub."].concat();
    assert!(matches!(defect(&script(&top)), Defect::Limit { what: "attributes of modules", .. }));
}

#[test]
fn views_of_a_storage_do_not_make_a_large_model_of_a_small_file() {
    let one = tensor("torch FloatStorage", 1 << 18, 0, &[1 << 18], &[1]);
    let one = &one[9..one.len() - 2];
    let archive = |count: usize| {
        let names = (0..count).flat_map(|i| [&b"X\x02\0\0\0"[..], format!("{i:02}").as_bytes(), b"h\0"].concat()).collect::<Vec<_>>();
        let pickle = [b"\x80\x02", one, b"q\0}(", &names, b"u."].concat();
        zip(&[("a/data.pkl", &pickle), ("a/data/0", &vec![0; 1 << 20])])
    };
    assert!(exhaust(&archive(4)), "tied weights");
    assert!(matches!(defect(&archive(6)), Defect::Limit { what: "bytes of all tensors, which share storages", .. }));
}

#[test]
fn what_strangers_wrote_is_shown_short_and_without_control_characters() {
    let header = |name: &str| format!(r#"{{{name:?}:{{"dtype":"F4","shape":[1],"data_offsets":[0,4]}}}}"#);
    let message = defect(&safetensors(&header(&"n".repeat(1_000_000)), 4)).to_string();
    assert!(message.len() < 400 && message.starts_with("`nnnn") && message.contains('…'), "{}", message.len());
    let colour = r#"{"a\u001b[31m\nhint: run it":{"dtype":"F4","shape":[1],"data_offsets":[0,4]}}"#;
    let error = defect(&safetensors(colour, 4));
    assert_eq!(error.to_string(), r"`a\u{1b}[31m\nhint: run it` has elements of type `F4`, which hua does not know");
    let call = [b"\x80\x02c", &vec![b'm'; 1_000_000][..], b"\nsystem\n."].concat();
    assert!(defect(&torch(&call)).to_string().len() < 400);
    let text = format!("\"{}\"", "x".repeat(1_000_000));
    assert!(defect(&safetensors(&format!(r#"{{"a": {text}}}"#), 0)).to_string().len() < 400);
}

#[test]
fn lengths_in_pickles_are_not_believed() {
    let open = |pickle: &[u8]| defect(&torch(&[b"\x80\x04", pickle].concat()));
    for pickle in [
        &b"X\xff\xff\xff\xffabc."[..],
        b"\x8d\xff\xff\xff\xff\xff\xff\xff\xffabc.",
        b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7fabc.",
        b"B\0\0\0\x80abc.",
        b"\x8a\xff\x01.",
        b"\x8b\xff\0\0\0\x01.",
        b"cno line feed",
    ] {
        assert!(matches!(open(pickle), Defect::Truncated { .. }), "{pickle:?}");
    }
    assert!(matches!(open(b"\x8b\xff\xff\xff\xff\x01."), Defect::Limit { .. }));
    // Taking what is not there.
    for pickle in [
        &b"."[..],
        b"0.",
        b"a.",
        b"Ns.",
        b"\x87.",
        b"t.",
        b"1.",
        b"h\x07.",
        b"j\xff\xff\xff\xff.",
        b"N(0.",
        b"(\x85.",
        b"N\x93.",
        b"R.",
        b"X\x01\0\0\0\xff.",
    ] {
        assert!(matches!(open(pickle), Defect::Pickle { .. }), "{pickle:?}");
    }
    // Numbers that look like a reason to allocate, and are none.
    assert!(matches!(open(b"}r\xff\xff\xff\xff."), Defect::NoTensors { .. }));
    assert!(matches!(open(b"\x95\xff\xff\xff\xff\xff\xff\xff\xff}."), Defect::NoTensors { .. }));
}

#[test]
fn tensors_stay_inside_their_storage() {
    let float = |numel, offset, shape: &[i64], strides: &[i64]| torch(&tensor("torch FloatStorage", numel, offset, shape, strides));
    assert!(exhaust(&float(6, 0, &[2, 3], &[3, 1])));
    assert!(exhaust(&float(6, 0, &[3, 2], &[1, 3])));
    assert!(exhaust(&float(6, 5, &[77, 1], &[0, 1])));
    for (offset, shape, strides) in [
        (1, &[2, 3][..], &[3, 1][..]),
        (0, &[7], &[1]),
        (0, &[3, 2], &[1, 4]),
        (0, &[1 << 40], &[0]),
        (0, &[1 << 40, 1 << 40], &[0, 0]),
        (0, &[0, i64::MAX, i64::MAX], &[1, 1, 1]),
        (i64::MAX, &[1], &[1]),
        (0, &[2], &[i64::MAX]),
        (0, &[2, 3], &[1]),
    ] {
        assert!(matches!(defect(&float(6, offset, shape, strides)), Defect::Shape { .. }), "{offset} {shape:?} {strides:?}");
    }
    for (offset, shape, strides) in [(-1, &[1][..], &[1][..]), (0, &[-1], &[1]), (5, &[2], &[-1]), (0, &[1; 17], &[1; 17])] {
        assert!(matches!(defect(&float(6, offset, shape, strides)), Defect::Pickle { .. }), "{offset} {shape:?} {strides:?}");
    }
    // A storage that is longer or shorter than its file, of another type, or of none.
    for numel in [0, 5, 7, 1 << 61, i64::MAX] {
        assert!(matches!(defect(&float(numel, 0, &[1], &[1])), Defect::Range { .. }), "{numel}");
    }
    assert!(matches!(defect(&torch(&tensor("torch DoubleStorage", 6, 0, &[6], &[1]))), Defect::Range { .. }));
    assert!(matches!(defect(&torch(&tensor("torch UntypedStorage", 24, 0, &[6], &[1]))), Defect::Pickle { .. }));
    assert!(matches!(defect(&torch(&tensor("torch Storage", 6, 0, &[6], &[1]))), Defect::Global { .. }));
}

#[test]
fn archives_that_lie_are_refused() {
    let pickle = tensor("torch FloatStorage", 6, 0, &[6], &[1]);
    let honest = torch(&pickle);
    assert!(exhaust(&honest));
    let table = honest.windows(4).position(|w| w == b"PK\x01\x02").unwrap();
    let patched = |at: usize, bytes: &[u8]| {
        let mut file = honest.clone();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        defect(&file)
    };
    assert!(matches!(patched(table + 8, &[1]), Defect::Zip { what } if what.contains("encrypted")));
    assert!(matches!(patched(table + 10, &[8]), Defect::Zip { .. }), "two methods");
    assert!(matches!(patched(table + 20, &[0xfe; 8]), Defect::Range { .. }), "longer than the file");
    assert!(matches!(patched(table + 20, &[9]), Defect::Zip { .. }), "two lengths");
    assert!(matches!(patched(table + 20, &[0xff; 4]), Defect::Zip { .. }), "no zip64 field");
    assert!(matches!(patched(table + 42, &[1]), Defect::Zip { .. }), "not where it says");
    assert!(matches!(patched(table + 42, &[0xfe; 4]), Defect::Zip { .. }), "outside");
    assert!(
        matches!(patched(honest.len() - 12, &[0xff, 0xff]), Defect::Truncated { .. } | Defect::Zip { .. }),
        "more parts than there are"
    );
    assert!(matches!(patched(honest.len() - 6, &[0xff; 4]), Defect::Zip { .. }), "table outside");
    assert!(matches!(patched(honest.len() - 2, &[1]), Defect::Zip { .. }), "a comment that is not there");
    assert!(matches!(defect(&zip(&[("a/data.pkl", &pickle), ("a/data.pkl", &pickle)])), Defect::Duplicate { .. }));
    assert!(matches!(defect(&zip(&[("a/data.pkl", &pickle), ("b/data.pkl", &pickle)])), Defect::Overlap { .. }), "two pickles");
    assert!(matches!(defect(&zip(&[("a/data.pkl", &pickle)])), Defect::Missing { entry } if entry == "a/data/0"));
    assert!(matches!(defect(&zip(&[("a/b/data.pkl", &pickle)])), Defect::Missing { entry } if entry == "data.pkl"));
    assert!(matches!(defect(&zip(&[])), Defect::Missing { .. } | Defect::NotWeights { .. }));

    // Ten names for the same bytes.
    let mut file = zip(&[("a/data.pkl", &pickle)]);
    let start = file.windows(4).position(|w| w == b"PK\x01\x02").unwrap();
    let table = file[start..file.len() - 22].to_vec();
    file.truncate(start);
    end(&mut file, &table.repeat(10), 10);
    assert!(matches!(defect(&file), Defect::Duplicate { .. }));
    // A part inside another.
    let inner = zip(&[("x", b"")]);
    let mut file = zip(&[("a/data.pkl", &inner)]);
    let start = file.len() - 22 - (46 + 10);
    let table = file[start..file.len() - 22].to_vec();
    let mut nested = inner[inner.len() - 22 - 47..inner.len() - 22].to_vec();
    nested[42] = 40;
    file.truncate(start);
    end(&mut file, &[table, nested].concat(), 2);
    assert!(matches!(defect(&file), Defect::Overlap { .. }));
}

#[test]
fn what_inflates_is_bounded_before_it_does() {
    let zeros = miniz_oxide::deflate::compress_to_vec(&vec![0; 64 << 20], 6);
    let bomb = |claimed: u32| {
        let mut file = zip(&[("a/data.pkl", &zeros)]);
        let table = file.windows(4).position(|w| w == b"PK\x01\x02").unwrap();
        for method in [8, table + 10] {
            file[method] = 8;
        }
        file[table + 24..table + 28].copy_from_slice(&claimed.to_le_bytes());
        defect(&file)
    };
    assert!(matches!(bomb(64 << 20), Defect::Limit { .. }));
    assert!(matches!(bomb(1000), Defect::Zip { what } if what.contains("inflate")));
    assert!(matches!(bomb(15 << 20), Defect::Zip { what } if what.contains("inflate")));
    assert_eq!(len(&zeros)[3], 0);
}

#[test]
fn safetensors_that_lie_are_refused() {
    let one = |dtype: &str, shape: &str, start: u64, end: u64| {
        format!(r#"{{"t":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{start},{end}]}}}}"#)
    };
    assert!(exhaust(&safetensors(&one("F32", "[2]", 0, 8), 8)));
    assert!(matches!(defect(&safetensors(&one("F32", "[2]", 0, 8), 9)), Defect::Hole { start: 8, end: 9 }));
    assert!(matches!(defect(&safetensors(&one("F32", "[1]", 4, 8), 8)), Defect::Hole { start: 0, end: 4 }));
    assert!(matches!(defect(&safetensors(&one("F32", "[2]", 0, 8), 7)), Defect::Range { .. }));
    assert!(matches!(defect(&safetensors(&one("F32", "[2]", 8, 0), 8)), Defect::Range { .. }));
    assert!(matches!(defect(&safetensors(&one("F32", "[3]", 0, 8), 8)), Defect::Shape { .. }));
    assert!(matches!(defect(&safetensors(&one("F32", "[1]", 0, 8), 8)), Defect::Shape { .. }));
    assert!(matches!(defect(&safetensors(&one("F32", "[18446744073709551615,4]", 0, 8), 8)), Defect::Shape { .. }));
    assert!(matches!(defect(&safetensors(&one("F4", "[2]", 0, 1), 1)), Defect::ElementType { found, .. } if found == "F4"));
    let two = r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}}"#;
    assert_eq!(defect(&safetensors(two, 6)), Defect::Overlap { first: "a".to_owned(), second: "b".to_owned() });
    for header in [
        r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}"#,
        r#"{"__metadata__":{"a":"b","a":"c"}}"#,
        r#"{"__metadata__":{"a":1}}"#,
        r#"{"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}}"#,
        r#"{"a":{"dtype":"U8","shape":[1.5],"data_offsets":[0,1]}}"#,
        r#"{"a":{"dtype":"U8","shape":[1]}}"#,
        r#"{"a":{"dtype":"U8","shape":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,2],"data_offsets":[0,2]}}"#,
        r#"{"a":[]}"#,
        r#"{"a""#,
        "{\0}",
    ] {
        assert!(matches!(defect(&safetensors(header, 2)), Defect::Json { .. }), "{header}");
    }
    let empty = |i| format!(r#""{i}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#);
    let many = format!("{{{}}}", (0..70_000).map(empty).collect::<Vec<_>>().join(","));
    assert!(matches!(defect(&safetensors(&many, 0)), Defect::Json { detail, .. } if detail.contains("more than 65536 names")));
    let nested = format!("{{\"a\":{}", "[".repeat(100_000));
    assert!(matches!(defect(&safetensors(&nested, 0)), Defect::Json { .. }));
    let mut file = safetensors(&one("F32", "[2]", 0, 8), 8);
    file[10] = 0xff;
    assert!(matches!(defect(&file), Defect::Json { detail, .. } if detail == "not UTF-8 at byte 10"));
    file[..8].copy_from_slice(&100_000_001u64.to_le_bytes());
    assert!(matches!(defect(&file), Defect::Limit { .. }));
    file[..8].copy_from_slice(&99_000_000u64.to_le_bytes());
    assert!(matches!(defect(&file), Defect::Truncated { .. }));
}

#[test]
fn what_is_not_weights_is_named() {
    let cases: [(&[u8], &str); 12] = [
        (b"", "an empty file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "`git lfs pull`"),
        (b"\n<!DOCTYPE html><html>", "a web page"),
        (b"<html lang=zh>", "a web page"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (b"GGUF\x03\0\0\0", "GGUF"),
        (b"\x1f\x8b\x08\0", "gzip"),
        (b"\x80\x03}q\0.", "`torch.save` did not write"),
        (b"\x81\xa6params\x82", "Flax"),
        (b"{\"architectures\": []}", "JSON"),
        (b"PK\x03\x04", "the file was cut"),
        (b"hello, world, how are you?", "like no format"),
    ];
    for (bytes, wanted) in cases {
        let message = defect(bytes).to_string();
        assert!(message.contains(wanted), "{message}");
    }
    assert_eq!(defect(b"").blame(), Blame::Unsupported);
    assert_eq!(defect(&torch(b"\x80\x02cos\nsystem\n.")).blame(), Blame::File);
    assert_eq!(Checkpoint::open(Path::new("/nowhere/at/all.pt")).unwrap_err().blame(), Blame::Caller);
}

#[test]
fn an_index_cannot_leave_its_folder_nor_promise_what_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors.index.json");
    let shard = folder.path().join("shard.safetensors");
    std::fs::copy(data("plain.safetensors"), &shard).unwrap();
    let open = |map: &str| {
        std::fs::write(&path, format!(r#"{{"weight_map": {map}}}"#)).unwrap();
        Checkpoint::open(folder.path())
    };
    // What the index does not name is not there.
    assert_eq!(open(r#"{"f32": "shard.safetensors"}"#).unwrap().names().collect::<Vec<_>>(), ["f32"]);
    assert!(matches!(open(r#"{"f32": "../shard.safetensors"}"#), Err(CheckpointError::File { defect: Defect::ShardName { .. }, .. })));
    assert!(matches!(open(r#"{"f32": "/etc/passwd"}"#), Err(CheckpointError::File { defect: Defect::ShardName { .. }, .. })));
    assert!(
        matches!(open(r#"{"f33": "shard.safetensors"}"#), Err(CheckpointError::File { path, defect: Defect::ShardLacks { .. } }) if path == shard)
    );
    let error = open(r#"{"f32": "shard.safetensors", "a": "gone.safetensors", "b": "lost.safetensors"}"#).unwrap_err();
    let wanted = format!("`{}` names 2 shards that are not there: `gone.safetensors`, `lost.safetensors`", path.display());
    assert_eq!((error.to_string(), error.blame()), (wanted, Blame::Caller));
    assert!(matches!(
        open(r#"{"f32": "model.safetensors.index.json"}"#),
        Err(CheckpointError::File { defect: Defect::NotWeights { what: "JSON", .. }, .. })
    ));
    assert!(matches!(open("[]"), Err(CheckpointError::File { defect: Defect::Json { .. }, .. })));
    assert!(matches!(open("{}"), Ok(empty) if empty.names().count() == 0));
}

/// What opens for ever, ends never, or is a folder that leads to itself is an error at once.
#[cfg(unix)]
#[test]
fn what_is_no_file_is_never_opened() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for name in ["pipe", "pipe.index.json", "shard"] {
        assert!(std::process::Command::new("mkfifo").arg(at(name)).status().unwrap().success());
    }
    for name in ["zero", "zero.index.json"] {
        std::os::unix::fs::symlink("/dev/zero", at(name)).unwrap();
    }
    std::fs::write(at("x.index.json"), r#"{"weight_map": {"a": "shard"}}"#).unwrap();
    for (name, file) in [
        ("pipe", "pipe"),
        ("pipe.index.json", "pipe.index.json"),
        ("x.index.json", "shard"),
        ("zero", "zero"),
        ("zero.index.json", "zero.index.json"),
    ] {
        let error = Checkpoint::open(&at(name)).unwrap_err().to_string();
        assert_eq!(error, format!("`{}`: this is a pipe or a device, not weights that hua reads; name a file", at(file).display()));
    }
    for target in [".", "nested"] {
        let model = at(&format!("to-{target}"));
        std::fs::create_dir_all(model.join("nested")).unwrap();
        std::os::unix::fs::symlink(target, model.join("model.safetensors")).unwrap();
        assert!(matches!(Checkpoint::open(&model), Err(CheckpointError::NoWeights { path, .. }) if path == model));
    }
}

const FILES: [&str; 5] = ["plain.safetensors", "state.bin", "legacy.bin", "script.pt", "repacked.bin"];

#[test]
fn a_file_cut_anywhere_is_an_error() {
    for name in FILES {
        let file = std::fs::read(data(name)).unwrap();
        for n in 0..64 {
            let cut = file.len() * n / 64;
            assert!(open(&file[..cut]).is_err(), "{name} cut to {cut}");
        }
        assert!(open(&file[..file.len() - 1]).is_err(), "{name} without its last byte");
    }
}

#[test]
fn any_byte_may_be_wrong() {
    for name in &FILES[..3] {
        let mut file = std::fs::read(data(name)).unwrap();
        for at in 0..file.len() {
            let right = file[at];
            for wrong in [0, 0xff, right ^ 1] {
                file[at] = wrong;
                exhaust(&file);
            }
            file[at] = right;
        }
    }
}
