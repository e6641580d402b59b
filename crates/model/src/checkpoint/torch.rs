//! Files of `torch.save` and `torch.jit.save`: a pickle that describes tensors, and the bytes they point to.
//!
//! Three containers: the zip archive of torch 1.6 and later, the chain of pickles before it, and the TorchScript archive
//! that OpenAI published CLIP in, where tensors are attributes of modules instead of items of a mapping.
//! Follows `torch/serialization.py` and `torch/csrc/jit/serialization/`.
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use super::Scalar;
use super::bytes::Cursor;
use super::entry::{Claim, Entry};
use super::error::{Defect, shown};
use super::pickle::{self, Id, Object, Pickle, StorageRef};
use super::zip;

/// How a legacy file starts: a pickle of the integer 0x1950a86a20f9469cfc6c, written with any protocol.
const LEGACY_MAGIC: &[u8] = b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
/// Mappings around the state dict: `{"state_dict": {"model": {…}}}` is as deep as people go.
const MAX_NESTING: usize = 4;
/// Modules within modules, and modules in all: TorchScript modules are shared, and sharing multiplies.
const MAX_MODULE_DEPTH: usize = 64;
const MAX_ATTRIBUTES: usize = 1 << 18;
/// Bytes of a tensor's name: a pickle stores a string once and may mean it a hundred thousand times.
const MAX_NAME: usize = 1 << 10;
/// Values kept beside the tensors; texts longer than a name are left out.
const MAX_METADATA: usize = 1 << 12;
/// Bytes of all tensors, for each byte of the file: views may share a storage, as tied weights do, but not make a model of little.
const MAX_SHARING: u64 = 4;
/// Bytes of tensors that are always allowed: expanded buffers are small.
const MAX_SHARED_BYTES: u64 = 1 << 20;

/// What a file of torch holds.
pub(super) struct Contents {
    pub(super) tensors: Vec<(String, Entry)>,
    pub(super) metadata: BTreeMap<String, Scalar>,
    pub(super) script: bool,
}

/// Where the storages of a file are.
struct Storages<'a> {
    ranges: HashMap<&'a str, Range<usize>>,
    swapped: bool,
}

/// Whether `file` starts like a file of torch before 1.6.
pub(super) fn recognises_legacy(file: &[u8]) -> bool {
    matches!(file, [0x80, 2..=5, rest @ ..] if rest.starts_with(LEGACY_MAGIC))
}

/// Reads the zip archive `file`, which is number `index` of its checkpoint.
pub(super) fn read_zip(file: &[u8], index: usize) -> Result<Contents, Defect> {
    let archive = zip::open(file)?;
    // All parts are in one folder, named after whatever the file was called first.
    let is_top =
        |name: &&str| name.strip_suffix("data.pkl").is_some_and(|folder| folder.is_empty() || folder.find('/') == Some(folder.len() - 1));
    let mut pickles = archive.keys().copied().filter(is_top);
    let pickle = pickles.next().ok_or_else(|| Defect::Missing { entry: "data.pkl".to_owned() })?;
    if let Some(second) = pickles.next() {
        return Err(Defect::Overlap { first: pickle.to_owned(), second: second.to_owned() });
    }
    let folder = pickle.strip_suffix("data.pkl").expect("`is_top` asked for it");
    let part = |name: &str| archive.get_key_value(format!("{folder}{name}").as_str());
    let swapped = match part("byteorder") {
        Some((name, part)) => &*part.read(file, name, 64)? == b"big",
        None => false,
    };
    let script = part("constants.pkl").is_some();

    let bytes = archive[pickle].read(file, pickle, pickle::MAX_BYTES)?;
    let pickle = Pickle::read(&bytes, 0)?;
    let mut ranges = HashMap::new();
    for (&key, storage) in &pickle.storages {
        let name = format!("{folder}data/{key}");
        let range = archive.get(name.as_str()).ok_or_else(|| Defect::Missing { entry: name.clone() })?.stored(&name)?;
        let wanted = storage_bytes(storage);
        if wanted != Some(range.len() as u64) {
            return Err(Defect::Range { name, start: 0, end: wanted.unwrap_or(u64::MAX), len: range.len() as u64 });
        }
        ranges.insert(key, range);
    }
    contents(file, &pickle, index, &Storages { ranges, swapped }, script)
}

/// Reads the chain of pickles `file`: magic number, protocol, system, object, storage keys; then the storages, each after
/// its length in elements.
pub(super) fn read_legacy(file: &[u8], index: usize) -> Result<Contents, Defect> {
    let magic = Pickle::read(file, 0)?;
    let protocol = Pickle::read(file, magic.end)?;
    if !matches!(protocol.objects[protocol.top], Object::Int(1001)) {
        return Err(Defect::Pickle { at: magic.end, what: "the protocol of the file is not 1001" });
    }
    let system = Pickle::read(file, protocol.end)?;
    let swapped =
        system.items(system.top).any(|(key, value)| key == "little_endian" && matches!(system.objects[value], Object::Bool(false)));
    let pickle = Pickle::read(file, system.end)?;
    let keys = Pickle::read(file, pickle.end)?;
    let Object::Sequence(order) = &keys.objects[keys.top] else {
        return Err(Defect::Pickle { at: pickle.end, what: "the keys of the storages are not a list" });
    };

    let mut cursor = Cursor::new(file, keys.end);
    let mut ranges = HashMap::new();
    for &key in order {
        let Object::Str(key) = keys.objects[key] else {
            return Err(Defect::Pickle { at: pickle.end, what: "the key of a storage is not a string" });
        };
        let Some(storage) = pickle.storages.get(key) else {
            return Err(Defect::Pickle { at: pickle.end, what: "there is a storage that nothing uses, so its length is unknown" });
        };
        let len: [u8; 8] = cursor.array("the length of a storage")?;
        let len = if swapped { u64::from_be_bytes(len) } else { u64::from_le_bytes(len) };
        let bytes = storage_bytes(storage).unwrap_or(u64::MAX);
        if len != storage.len {
            return Err(Defect::Range { name: key.to_owned(), start: 0, end: storage.len, len });
        }
        let start = cursor.at();
        cursor.take("a storage", bytes)?;
        if ranges.insert(key, start..cursor.at()).is_some() {
            return Err(Defect::Duplicate { name: key.to_owned() });
        }
    }
    if let Some(missing) = pickle.storages.keys().find(|key| !ranges.contains_key(*key)) {
        return Err(Defect::Missing { entry: (*missing).to_owned() });
    }
    contents(file, &pickle, index, &Storages { ranges, swapped }, false)
}

fn storage_bytes(storage: &StorageRef<'_>) -> Option<u64> {
    storage.len.checked_mul(storage.element.map_or(1, |element| element.size()) as u64)
}

fn contents(file: &[u8], pickle: &Pickle<'_>, index: usize, storages: &Storages<'_>, script: bool) -> Result<Contents, Defect> {
    let mut metadata = BTreeMap::new();
    let named = match (script, &pickle.objects[pickle.top]) {
        (true, Object::Instance(_)) => attributes(pickle, &mut metadata)?,
        _ => state_dict(pickle, &mut metadata)?,
    };
    let limit = (file.len() as u64).saturating_mul(MAX_SHARING).saturating_add(MAX_SHARED_BYTES);
    let (mut tensors, mut bytes) = (BTreeMap::new(), 0u64);
    for (name, id) in named {
        let Object::Tensor(tensor) = &pickle.objects[id] else { continue };
        let storage = storages.ranges[tensor.storage.key].clone();
        let (shape, strides) = (tensor.shape.as_slice(), Some(tensor.strides.as_slice()));
        let claim =
            Claim { name: &name, element: tensor.element, shape, strides, offset: tensor.offset, storage, swapped: storages.swapped };
        let entry = Entry::new(index, &claim)?;
        bytes = bytes.saturating_add(entry.bytes());
        if bytes > limit {
            return Err(Defect::Limit { what: "bytes of all tensors, which share storages", found: bytes, limit });
        }
        // Python's mappings let the later item win; in a file of weights, two are a lie.
        if tensors.insert(name.to_string(), entry).is_some() {
            return Err(Defect::Duplicate { name: name.into_owned() });
        }
    }
    Ok(Contents { tensors: tensors.into_iter().collect(), metadata, script })
}

/// The mapping that holds tensors: what stands under `state_dict`, `model` or `module`, or else the top itself. Scalars
/// beside it (`epoch`, `step`, `name`) are metadata.
fn state_dict<'a>(pickle: &Pickle<'a>, metadata: &mut BTreeMap<String, Scalar>) -> Result<Vec<(Cow<'a, str>, Id)>, Defect> {
    let holds_tensors = |id: Id| pickle.items(id).any(|(_, value)| matches!(pickle.objects[value], Object::Tensor(_)));
    let mut at = pickle.top;
    for _ in 0..MAX_NESTING {
        pickle.items(at).try_for_each(|(key, value)| keep(metadata, key, &pickle.objects[value]))?;
        let inner = ["state_dict", "model", "module"].into_iter().find_map(|wanted| {
            pickle.items(at).find(|&(key, value)| key == wanted && pickle.items(value).next().is_some()).map(|(_, value)| value)
        });
        match inner {
            Some(inner) => at = inner,
            None if holds_tensors(at) => {
                let tensors = pickle.items(at).filter(|&(_, value)| matches!(pickle.objects[value], Object::Tensor(_)));
                return tensors.map(|(key, value)| check_name(key.len()).map(|()| (key.into(), value))).collect();
            }
            None => break,
        }
    }
    let found = match &pickle.objects[pickle.top] {
        Object::Dict(pairs) if pairs.is_empty() => "an empty mapping".to_owned(),
        Object::Dict(_) => {
            let keys: Vec<_> = pickle.items(pickle.top).take(8).map(|(key, _)| format!("`{}`", shown(key))).collect();
            if keys.is_empty() { "a mapping without names".to_owned() } else { keys.join(", ") }
        }
        Object::Sequence(items) => format!("a list of {}", items.len()),
        Object::Tensor(_) => "one tensor without a name".to_owned(),
        _ => "something else".to_owned(),
    };
    Err(Defect::NoTensors { found })
}

/// The tensors of TorchScript modules under the names that `state_dict()` gives them, numbers and strings of the outermost
/// module as metadata.
fn attributes<'a>(pickle: &Pickle<'a>, metadata: &mut BTreeMap<String, Scalar>) -> Result<Vec<(Cow<'a, str>, Id)>, Defect> {
    let mut named = Vec::new();
    let (mut visited, mut spelled) = (0, 0);
    let mut modules = vec![(String::new(), pickle.top, 0)];
    while let Some((prefix, module, depth)) = modules.pop() {
        let Object::Instance(Some(state)) = pickle.objects[module] else { continue };
        if depth > MAX_MODULE_DEPTH {
            return Err(Defect::Limit { what: "modules inside modules", found: depth as u64, limit: MAX_MODULE_DEPTH as u64 });
        }
        visited += pickle.len(state);
        if visited > MAX_ATTRIBUTES {
            return Err(Defect::Limit { what: "attributes of modules", found: visited as u64, limit: MAX_ATTRIBUTES as u64 });
        }
        for (key, value) in pickle.items(state) {
            let object = &pickle.objects[value];
            if matches!(object, Object::Instance(_) | Object::Tensor(_)) {
                // Prefixes are counted too: they are what grows when modules are nested.
                check_name(prefix.len() + key.len())?;
                spelled += prefix.len() + key.len();
                if spelled > pickle::MAX_BYTES {
                    let (found, limit) = (spelled as u64, pickle::MAX_BYTES as u64);
                    return Err(Defect::Limit { what: "bytes of the names of modules and tensors", found, limit });
                }
            }
            match object {
                Object::Tensor(_) => named.push((format!("{prefix}{key}").into(), value)),
                Object::Instance(_) => modules.push((format!("{prefix}{key}."), value, depth + 1)),
                Object::Bool(_) => {}
                object if depth == 0 => keep(metadata, key, object)?,
                _ => {}
            }
        }
    }
    Ok(named)
}

fn check_name(len: usize) -> Result<(), Defect> {
    if len <= MAX_NAME {
        return Ok(());
    }
    Err(Defect::Limit { what: "bytes of a tensor's name", found: len as u64, limit: MAX_NAME as u64 })
}

/// Keeps a scalar as metadata.
fn keep(metadata: &mut BTreeMap<String, Scalar>, key: &str, object: &Object<'_>) -> Result<(), Defect> {
    let Some(scalar) = scalar(object).filter(|_| key.len() <= MAX_NAME) else { return Ok(()) };
    metadata.insert(key.to_owned(), scalar);
    if metadata.len() <= MAX_METADATA {
        return Ok(());
    }
    Err(Defect::Limit { what: "values beside the tensors", found: metadata.len() as u64, limit: MAX_METADATA as u64 })
}

fn scalar(object: &Object<'_>) -> Option<Scalar> {
    Some(match object {
        Object::Bool(value) => Scalar::Bool(*value),
        Object::Float(value) => Scalar::Float(*value),
        Object::Int(value) => Scalar::Int(*value),
        Object::Str(value) if value.len() <= MAX_NAME => Scalar::Text((*value).to_owned()),
        _ => return None,
    })
}
