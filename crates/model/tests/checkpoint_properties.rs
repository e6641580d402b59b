//! Properties of reading: bytes never panic, and safetensors are what the reference says they are.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod checkpoint_common;

use std::path::Path;

use checkpoint_common::{data, exhaust, open, safetensors, script, torch};
use hua_model::checkpoint::ShardIndex;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

const FILES: [&str; 6] = ["plain.safetensors", "state.bin", "legacy.bin", "script.pt", "trainer.pt", "big-endian.bin"];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn bytes_never_panic(bytes in vec(any::<u8>(), 0..200), start in select(vec![&b""[..], b"PK", b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."])) {
        exhaust(&[start, &bytes].concat());
        exhaust(&torch(&bytes));
        _ = ShardIndex::from_bytes(&bytes);
    }

    #[test]
    fn operations_in_any_order_never_panic(operations in vec(select(OPERATIONS.to_vec()), 0..60)) {
        exhaust(&torch(&[b"\x80\x02", operations.concat().as_slice(), b"."].concat()));
    }

    #[test]
    fn damaged_files_never_panic(name in select(FILES.to_vec()), damage in vec((any::<Index>(), vec(any::<u8>(), 0..9), 0usize..9), 1..6)) {
        let mut file = std::fs::read(data(name)).unwrap();
        for (at, bytes, removed) in damage {
            let at = at.index(file.len());
            let end = (at + removed).min(file.len());
            file.splice(at..end, bytes);
            prop_assume!(!file.is_empty());
        }
        exhaust(&file);
    }

    #[test]
    fn safetensors_are_accepted_exactly_when_the_reference_accepts_them(
        tensors in vec((select(vec![("U8", 1), ("F16", 2), ("F32", 4), ("I64", 8)]), vec(0u64..4, 0..3), -1i64..9, 0u64..40), 0..4),
        slack in select(vec![0usize, 0, 0, 0, 1, 4]),
        offsets in select(vec![false, false, false, true]),
        metadata in select(vec!["", r#""__metadata__":{"a":"b"},"#, r#""__metadata__":null,"#, r#""__metadata__":{"a":1},"#]),
    ) {
        let mut end = 0;
        let items = tensors.iter().enumerate().map(|(i, ((dtype, size), shape, lie, anywhere))| {
            let start = if offsets { *anywhere } else { end };
            end = start + shape.iter().product::<u64>() * size + if *lie == 8 { 1 } else { 0 };
            format!(r#""t{i}":{{"dtype":"{dtype}","shape":{shape:?},"data_offsets":[{start},{end}]}}"#)
        });
        let items = items.collect::<Vec<_>>().join(",");
        let header = format!("{{{metadata}{items}}}").replace(",}", "}");
        let file = safetensors(&header, end as usize + slack);
        let reference = safetensors::SafeTensors::deserialize(&file);
        let own = open(&file);
        prop_assert_eq!(reference.is_ok(), own.is_ok(), "{}: {:?}, {:?}", header, reference.err(), own.err());
    }
}

/// Operations with their arguments, so that random sequences get somewhere.
const OPERATIONS: [&[u8]; 30] = [
    b"(",
    b")",
    b"]",
    b"}",
    b"N",
    b"K\x02",
    b"K\0",
    b"\x88",
    b"X\x01\0\0\0t",
    b"X\x07\0\0\0storage",
    b"X\x01\0\0\x000",
    b"\x85",
    b"\x86",
    b"\x87",
    b"t",
    b"s",
    b"u",
    b"a",
    b"e",
    b"0",
    b"2",
    b"q\0",
    b"h\0",
    b"R",
    b"Q",
    b"b",
    b"\x81",
    b"ctorch\nFloatStorage\n",
    b"ctorch._utils\n_rebuild_tensor_v2\n",
    b"ccollections\nOrderedDict\n",
];

#[test]
fn what_fuzzing_found_stays_found() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    let files = |target: &str| {
        let folder = corpus.join(target);
        let mut files: Vec<_> =
            std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())).map(|f| f.unwrap().path()).collect();
        files.sort();
        files
    };
    let read = |target: &str| files(target).into_iter().map(|file| std::fs::read(file).unwrap()).collect::<Vec<_>>();
    let [checkpoints, pickles, headers, indexes] = ["checkpoint", "pickle", "safetensors", "shard_index"].map(read);
    assert!([&checkpoints, &pickles, &headers, &indexes].iter().all(|inputs| !inputs.is_empty()));
    for bytes in checkpoints {
        exhaust(&bytes);
    }
    for bytes in pickles {
        exhaust(&torch(&bytes));
        exhaust(&script(&bytes));
    }
    for bytes in headers {
        if let Ok(header) = std::str::from_utf8(&bytes) {
            exhaust(&safetensors(header, 64));
        }
    }
    for bytes in indexes {
        _ = ShardIndex::from_bytes(&bytes);
    }
}
