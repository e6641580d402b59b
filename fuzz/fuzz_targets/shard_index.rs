//! Any bytes as the index of a sharded checkpoint: no shard may be outside the folder.
#![no_main]

use hua_model::checkpoint::ShardIndex;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(index) = ShardIndex::from_bytes(bytes) {
        assert!(index.shards().keys().all(|shard| !shard.is_empty() && *shard != ".." && !shard.contains(['/', '\\'])));
    }
});
