//! Headers of safetensors files and indexes of shards: JSON from strangers.
//!
//! An own reader instead of the `safetensors` crate's, for errors that name the tensor, and because a name that stands
//! twice is refused here. Otherwise both accept the same files: a test holds them against each other.
//! Format: <https://github.com/huggingface/safetensors#format>.
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Component, Path};

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::element::ElementType;
use super::entry::{Claim, Entry};
use super::error::Defect;

/// The format's own limit.
const MAX_HEADER: u64 = 100_000_000;
/// Tensors, or entries of the metadata or of an index: no honest file comes near, and a name costs far more than its bytes.
const MAX_NAMES: usize = 1 << 16;
const MAX_DIMENSIONS: usize = 16;
const METADATA: &str = "__metadata__";

/// What a header says: tensors in the order of their bytes, and the free text.
pub(super) struct Header {
    pub(super) tensors: Vec<(String, Entry)>,
    pub(super) metadata: BTreeMap<String, String>,
}

/// Whether `file` starts like a safetensors file.
pub(super) fn recognises(file: &[u8]) -> bool {
    file.len() > 8 && file[8] == b'{'
}

/// Reads the header of `file`, which is number `index` of its checkpoint.
pub(super) fn read(file: &[u8], index: usize) -> Result<Header, Defect> {
    let len = file.first_chunk().map(|len| u64::from_le_bytes(*len));
    let len = len.ok_or(Defect::Truncated { what: "the header's length", wanted: 8, found: file.len() as u64 })?;
    if len > MAX_HEADER {
        return Err(Defect::Limit { what: "bytes of the header", found: len, limit: MAX_HEADER });
    }
    let body = 8 + len as usize;
    let json = file.get(8..body).ok_or(Defect::Truncated { what: "the header", wanted: len, found: file.len() as u64 - 8 })?;
    let json = std::str::from_utf8(json)
        .map_err(|e| Defect::Json { what: "header", detail: format!("not UTF-8 at byte {}", 8 + e.valid_up_to()) })?;
    let Raw { metadata, mut infos } = serde_json::from_str(json).map_err(|e| Defect::Json { what: "header", detail: e.to_string() })?;
    infos.sort_unstable_by_key(|(_, info)| info.data_offsets);

    let bytes = (file.len() - body) as u64;
    let mut covered = 0;
    let mut previous = String::new();
    let mut tensors = Vec::with_capacity(infos.len());
    for (name, Info { dtype, shape: Shape(shape), data_offsets: (start, end) }) in infos {
        if start > end || end > bytes {
            return Err(Defect::Range { name, start, end, len: bytes });
        }
        if start < covered {
            return Err(Defect::Overlap { first: previous, second: name });
        }
        if start > covered {
            return Err(Defect::Hole { start: covered, end: start });
        }
        let Some(element) = ElementType::from_safetensors(&dtype) else { return Err(Defect::ElementType { name, found: dtype }) };
        let storage = body + start as usize..body + end as usize;
        let claim = Claim { name: &name, element, shape: &shape, strides: None, offset: 0, storage, swapped: false };
        let entry = Entry::new(index, &claim)?;
        if entry.bytes() != end - start {
            return Err(Defect::Shape { name, shape, bytes: end - start });
        }
        covered = end;
        previous.clone_from(&name);
        tensors.push((name, entry));
    }
    if covered != bytes {
        return Err(Defect::Hole { start: covered, end: bytes });
    }
    Ok(Header { tensors, metadata })
}

/// The index of a sharded checkpoint (`model.safetensors.index.json`, `pytorch_model.bin.index.json`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardIndex {
    weight_map: BTreeMap<String, String>,
}

impl ShardIndex {
    /// Reads the JSON text of an index.
    ///
    /// # Errors
    /// [`Defect::Json`], or [`Defect::ShardName`] if a shard is anything but a plain name beside the index.
    pub fn from_bytes(json: &[u8]) -> Result<Self, Defect> {
        #[derive(Deserialize)]
        struct Index {
            weight_map: Unique,
        }
        let index: Index = serde_json::from_slice(json).map_err(|e| Defect::Json { what: "index", detail: e.to_string() })?;
        let weight_map = index.weight_map.0;
        match weight_map.values().find(|shard| !is_plain(shard)) {
            Some(shard) => Err(Defect::ShardName { shard: shard.clone() }),
            None => Ok(Self { weight_map }),
        }
    }

    /// Which tensors each shard holds, by file name.
    pub fn shards(&self) -> BTreeMap<&str, Vec<&str>> {
        let mut shards: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (name, shard) in &self.weight_map {
            shards.entry(shard).or_default().push(name);
        }
        shards
    }
}

/// One path component that is a name on every system, Windows included.
fn is_plain(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    matches!((parts.next(), parts.next()), (Some(Component::Normal(part)), None) if part == name) && !name.contains(['/', '\\', ':', '\0'])
}

/// A header as it stands in the file.
struct Raw {
    metadata: BTreeMap<String, String>,
    infos: Vec<(String, Info)>,
}

#[derive(Deserialize)]
struct Info {
    dtype: String,
    shape: Shape,
    data_offsets: (u64, u64),
}

/// A shape with so many dimensions as a tensor can have.
struct Shape(Vec<u64>);

/// A JSON object whose names stand once each.
struct Unique(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items;
        impl<'de> Visitor<'de> for Items {
            type Value = Raw;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensors")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
                let mut names = BTreeSet::new();
                let mut raw = Raw { metadata: BTreeMap::new(), infos: Vec::new() };
                while let Some(name) = map.next_key::<String>()? {
                    if !names.insert(name.clone()) {
                        return Err(twice(&name));
                    }
                    check_count(names.len())?;
                    if name == METADATA {
                        raw.metadata = map.next_value::<Option<Unique>>()?.map(|pairs| pairs.0).unwrap_or_default();
                    } else {
                        raw.infos.push((name, map.next_value()?));
                    }
                }
                Ok(raw)
            }
        }
        deserializer.deserialize_map(Items)
    }
}

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = BTreeMap<String, String>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = BTreeMap::new();
                while let Some((name, value)) = map.next_entry::<String, String>()? {
                    if pairs.insert(name.clone(), value).is_some() {
                        return Err(twice(&name));
                    }
                    check_count(pairs.len())?;
                }
                Ok(pairs)
            }
        }
        deserializer.deserialize_map(Pairs).map(Self)
    }
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Dimensions;
        impl<'de> Visitor<'de> for Dimensions {
            type Value = Vec<u64>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "at most {MAX_DIMENSIONS} dimensions")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
                let mut shape = Vec::new();
                while let Some(dimension) = sequence.next_element()? {
                    shape.push(dimension);
                    if shape.len() > MAX_DIMENSIONS {
                        return Err(A::Error::invalid_length(shape.len(), &self));
                    }
                }
                Ok(shape)
            }
        }
        deserializer.deserialize_seq(Dimensions).map(Self)
    }
}

fn check_count<E: Error>(count: usize) -> Result<(), E> {
    if count > MAX_NAMES { Err(E::custom(format_args!("more than {MAX_NAMES} names"))) } else { Ok(()) }
}

fn twice<E: Error>(name: &str) -> E {
    E::custom(format_args!("`{name}` stands twice"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_plain_names_beside_the_index() {
        let index = |shard: &str| ShardIndex::from_bytes(&serde_json::to_vec(&serde_json::json!({"weight_map": {"a": shard}})).unwrap());
        assert_eq!(index("model-00001-of-00002.safetensors").unwrap().shards()["model-00001-of-00002.safetensors"], ["a"]);
        for shard in ["", ".", "..", "../a", "/a", "b/a", "./a", "a/", "b\\a", "C:a", "a\0"] {
            assert_eq!(index(shard), Err(Defect::ShardName { shard: shard.to_owned() }));
        }
    }

    #[test]
    fn an_index_with_a_name_twice_is_refused() {
        let defect = ShardIndex::from_bytes(br#"{"weight_map": {"a": "x", "b": "y", "a": "y"}}"#).unwrap_err();
        assert!(matches!(defect, Defect::Json { detail, .. } if detail.contains("`a` stands twice")));
    }
}
