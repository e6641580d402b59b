//! Pickles read as data: a machine with a stack and a memo, and no way to call anything.
//!
//! A pickle is a program for a small machine that can import any Python name and call it. This machine knows the names
//! that `torch.save` writes (see [`Name`]) and turns each into plain data; any other name ends the reading, named in the
//! error. Objects live in one table and refer to each other by number, so deep or circular pickles cost no stack, and
//! everything is counted: operations, objects, bytes. Strings are views into the pickle.
//!
//! Operations as in `Lib/pickletools.py`; names as in `torch/_weights_only_unpickler.py` and, for TorchScript,
//! `torch/csrc/jit/serialization/pickler.cpp`. The machine is one file, longer than usual here, so that its table of operations
//! and the counters that every one of them goes through are read together.
mod name;

use std::collections::HashMap;

use super::bytes::Cursor;
use super::element::ElementType;
use super::error::Defect;
use name::Name;

/// A pickle of 2,000 tensors and their optimizer has about 1 MB.
pub(super) const MAX_BYTES: usize = 16 << 20;
/// Objects, marks and entries of the memo. A tensor takes some 20 objects, so this is 4,000 tensors and their optimizer.
const MAX_OBJECTS: usize = 1 << 18;
/// Pushes, and items copied from one object into another: what bounds the length of all lists together.
const MAX_WORK: usize = 1 << 20;

/// Bytes of a storage's name, which is looked up as often as the pickle means it.
const MAX_KEY: usize = 256;
/// What a tensor's shape and strides count for.
const TENSOR_WORK: usize = 16;

/// Number of an object in its [`Pickle`].
pub(super) type Id = usize;

/// What a pickle holds.
#[derive(Debug)]
pub(super) enum Object<'a> {
    Bool(bool),
    Dict(Vec<(Id, Id)>),
    Float(f64),
    /// A TorchScript module, with the mapping of its attributes once that was read.
    Instance(Option<Id>),
    Int(i64),
    Name(Name),
    None,
    /// Data that no checkpoint reader needs: big integers, byte strings, numpy scalars, `argparse` results.
    Opaque,
    /// Lists, tuples and sets.
    Sequence(Vec<Id>),
    Storage(StorageRef<'a>),
    Str(&'a str),
    Tensor(Box<TensorRef<'a>>),
}

/// The bytes of tensors, somewhere else in the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct StorageRef<'a> {
    /// `None` for untyped bytes.
    pub(super) element: Option<ElementType>,
    pub(super) key: &'a str,
    /// In elements, or in bytes if untyped.
    pub(super) len: u64,
}

/// A view of a storage; nothing here has been checked against it.
#[derive(Clone, Debug)]
pub(super) struct TensorRef<'a> {
    pub(super) storage: StorageRef<'a>,
    pub(super) element: ElementType,
    /// In elements.
    pub(super) offset: u64,
    pub(super) shape: Vec<u64>,
    /// In elements.
    pub(super) strides: Vec<u64>,
}

/// What a pickle came to.
#[derive(Debug)]
pub(super) struct Pickle<'a> {
    pub(super) objects: Vec<Object<'a>>,
    /// The object the pickle is of.
    pub(super) top: Id,
    /// Every storage named, by key.
    pub(super) storages: HashMap<&'a str, StorageRef<'a>>,
    /// Where the pickle ends in its bytes.
    pub(super) end: usize,
}

impl<'a> Pickle<'a> {
    /// Reads the pickle that starts at byte `start`.
    pub(super) fn read(bytes: &'a [u8], start: usize) -> Result<Self, Defect> {
        let window = &bytes[..bytes.len().min(start.saturating_add(MAX_BYTES))];
        let mut machine = Machine {
            cursor: Cursor::new(window, start),
            objects: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            storages: HashMap::new(),
            work: 0,
            at: start,
        };
        let top = machine.run()?;
        Ok(Self { objects: machine.objects, top, storages: machine.storages, end: machine.cursor.at() })
    }

    /// How many pairs a mapping has, whatever their keys.
    pub(super) fn len(&self, id: Id) -> usize {
        if let Object::Dict(pairs) = &self.objects[id] { pairs.len() } else { 0 }
    }

    /// The pairs of a mapping whose keys are strings; other keys are left out.
    pub(super) fn items(&self, id: Id) -> impl Iterator<Item = (&'a str, Id)> + '_ {
        let pairs = match &self.objects[id] {
            Object::Dict(pairs) => pairs.as_slice(),
            _ => &[],
        };
        pairs.iter().filter_map(|&(key, value)| match self.objects[key] {
            Object::Str(key) => Some((key, value)),
            _ => None,
        })
    }
}

struct Machine<'a> {
    cursor: Cursor<'a>,
    objects: Vec<Object<'a>>,
    stack: Vec<Id>,
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
    storages: HashMap<&'a str, StorageRef<'a>>,
    /// Counts towards [`MAX_WORK`].
    work: usize,
    /// Where the current operation starts.
    at: usize,
}

impl<'a> Machine<'a> {
    fn run(&mut self) -> Result<Id, Defect> {
        const WHAT: &str = "the pickle";
        loop {
            self.at = self.cursor.at();
            let opcode = self.cursor.u8(WHAT)?;
            match opcode {
                // PROTO, FRAME: nothing to do.
                0x80 => match self.cursor.u8(WHAT)? {
                    2..=5 => {}
                    _ => return Err(self.defect("its protocol is not 2 to 5")),
                },
                0x95 => _ = self.cursor.u64(WHAT)?,
                b'.' => return self.pop(),

                b'N' => self.push(Object::None)?,
                0x88 => self.push(Object::Bool(true))?,
                0x89 => self.push(Object::Bool(false))?,
                b'K' => self.int(1)?,
                b'M' => self.int(2)?,
                b'J' => self.int(4)?,
                0x8a => {
                    let len = self.cursor.u8(WHAT)?;
                    self.long(len.into())?;
                }
                0x8b => {
                    let len = self.cursor.u32(WHAT)?;
                    if len > 255 {
                        return Err(Defect::Limit { what: "bytes of an integer in the pickle", found: len.into(), limit: 255 });
                    }
                    self.long(len.into())?;
                }
                b'G' => {
                    let value = f64::from_be_bytes(self.cursor.array(WHAT)?);
                    self.push(Object::Float(value))?;
                }

                // Strings, with lengths of one, four and eight bytes; then what Python 2 wrote; then bytes.
                0x8c | b'U' => {
                    let len = self.cursor.u8(WHAT)?;
                    self.text(len.into(), opcode == b'U')?;
                }
                b'X' | b'T' => {
                    let len = self.cursor.u32(WHAT)?;
                    self.text(len.into(), opcode == b'T')?;
                }
                0x8d => {
                    let len = self.cursor.u64(WHAT)?;
                    self.text(len, false)?;
                }
                b'C' => {
                    let len = self.cursor.u8(WHAT)?;
                    self.skip(len.into())?;
                }
                b'B' => {
                    let len = self.cursor.u32(WHAT)?;
                    self.skip(len.into())?;
                }
                0x8e => {
                    let len = self.cursor.u64(WHAT)?;
                    self.skip(len)?;
                }

                // Tuples, lists, sets, mappings.
                b')' | b']' | 0x8f => self.push(Object::Sequence(Vec::new()))?,
                b'}' => self.push(Object::Dict(Vec::new()))?,
                0x85..=0x87 => {
                    let from = self.depth(usize::from(opcode - 0x84))?;
                    let items = self.stack.split_off(from);
                    self.push(Object::Sequence(items))?;
                }
                b't' | b'l' | 0x91 => {
                    let items = self.pop_mark()?;
                    self.push(Object::Sequence(items))?;
                }
                b'd' => {
                    let items = self.pop_mark()?;
                    self.push(Object::Dict(Vec::new()))?;
                    self.set_items(&items)?;
                }
                b'a' => {
                    let item = self.pop()?;
                    self.append(&[item])?;
                }
                b'e' | 0x90 => {
                    let items = self.pop_mark()?;
                    self.append(&items)?;
                }
                b's' => {
                    let from = self.depth(2)?;
                    let items = self.stack.split_off(from);
                    self.set_items(&items)?;
                }
                b'u' => {
                    let items = self.pop_mark()?;
                    self.set_items(&items)?;
                }

                // The stack and the memo.
                b'(' => {
                    self.marks.push(self.stack.len());
                    self.within("marks on the pickle's stack", self.marks.len())?;
                }
                b'0' => _ = self.pop()?,
                b'1' => _ = self.pop_mark()?,
                b'2' => {
                    let top = self.top()?;
                    self.push_id(top)?;
                }
                b'q' | b'r' | 0x94 => {
                    let key = match opcode {
                        b'q' => self.cursor.u8(WHAT)?.into(),
                        b'r' => self.cursor.u32(WHAT)?,
                        _ => self.memo.len() as u32,
                    };
                    let top = self.top()?;
                    self.memo.insert(key, top);
                    self.within("entries of the pickle's memo", self.memo.len())?;
                }
                b'h' | b'j' => {
                    let key = if opcode == b'h' { self.cursor.u8(WHAT)?.into() } else { self.cursor.u32(WHAT)? };
                    let id = *self.memo.get(&key).ok_or_else(|| self.defect("it recalls what it never stored"))?;
                    self.push_id(id)?;
                }

                // Names, and what is made with them.
                b'c' => {
                    let (module, name) = (self.cursor.line(WHAT)?, self.cursor.line(WHAT)?);
                    self.name(&String::from_utf8_lossy(module), &String::from_utf8_lossy(name))?;
                }
                0x93 => {
                    let from = self.depth(2)?;
                    let names = self.stack.split_off(from);
                    let [Object::Str(module), Object::Str(name)] = [&self.objects[names[0]], &self.objects[names[1]]] else {
                        return Err(self.defect("it imports something that has no name"));
                    };
                    let (module, name) = (*module, *name);
                    self.name(module, name)?;
                }
                b'i' => {
                    let (module, name) = (self.cursor.line(WHAT)?, self.cursor.line(WHAT)?);
                    return Err(Defect::Global {
                        global: format!("{}.{}", String::from_utf8_lossy(module), String::from_utf8_lossy(name)),
                    });
                }
                b'Q' => {
                    let id = self.pop()?;
                    let storage = self.storage(id)?;
                    self.storages.insert(storage.key, storage);
                    self.push(Object::Storage(storage))?;
                }
                b'R' | 0x81 => {
                    let (arguments, callee) = (self.pop()?, self.pop()?);
                    let made = self.reduce(callee, arguments)?;
                    self.push_id(made)?;
                }
                0x92 => {
                    let from = self.depth(3)?;
                    let callee = self.stack.split_off(from)[0];
                    let made = self.reduce(callee, callee)?;
                    self.push_id(made)?;
                }
                b'b' => {
                    let state = self.pop()?;
                    let is_mapping = matches!(self.objects[state], Object::Dict(_));
                    let top = self.top()?;
                    match &mut self.objects[top] {
                        Object::Instance(attributes) if is_mapping => *attributes = Some(state),
                        // What a mapping carries beside its items (torch: `_metadata`) and what nobody reads.
                        Object::Dict(_) | Object::Opaque => {}
                        _ => return Err(self.defect("it sets the state of something that has none")),
                    }
                }
                _ => return Err(Defect::PickleOperation { opcode, at: self.at }),
            }
        }
    }

    fn defect(&self, what: &'static str) -> Defect {
        Defect::Pickle { at: self.at, what }
    }

    fn within(&self, what: &'static str, found: usize) -> Result<(), Defect> {
        if found > MAX_OBJECTS { Err(Defect::Limit { what, found: found as u64, limit: MAX_OBJECTS as u64 }) } else { Ok(()) }
    }

    fn spend(&mut self, work: usize) -> Result<(), Defect> {
        self.work = self.work.saturating_add(work);
        if self.work > MAX_WORK {
            Err(Defect::Limit { what: "steps of the pickle", found: self.work as u64, limit: MAX_WORK as u64 })
        } else {
            Ok(())
        }
    }

    /// Stores an object without pushing it.
    fn store(&mut self, object: Object<'a>) -> Result<Id, Defect> {
        self.objects.push(object);
        self.within("objects in the pickle", self.objects.len())?;
        Ok(self.objects.len() - 1)
    }

    fn push(&mut self, object: Object<'a>) -> Result<(), Defect> {
        let id = self.store(object)?;
        self.push_id(id)
    }

    fn push_id(&mut self, id: Id) -> Result<(), Defect> {
        self.spend(1)?;
        self.stack.push(id);
        Ok(())
    }

    /// Where the stack must be cut to take `n` objects above the last mark.
    fn depth(&self, n: usize) -> Result<usize, Defect> {
        let floor = self.marks.last().copied().unwrap_or(0);
        self.stack
            .len()
            .checked_sub(n)
            .filter(|&from| from >= floor)
            .ok_or_else(|| self.defect("it takes more from its stack than there is"))
    }

    fn pop(&mut self) -> Result<Id, Defect> {
        self.depth(1)?;
        self.stack.pop().ok_or_else(|| self.defect("it takes from an empty stack"))
    }

    fn top(&self) -> Result<Id, Defect> {
        self.depth(1).map(|at| self.stack[at])
    }

    fn pop_mark(&mut self) -> Result<Vec<Id>, Defect> {
        let mark = self.marks.pop().ok_or_else(|| self.defect("it goes back to a mark it never set"))?;
        Ok(self.stack.split_off(mark))
    }

    fn int(&mut self, len: u64) -> Result<(), Defect> {
        let bytes = self.cursor.take("an integer in the pickle", len)?;
        let value = match *bytes {
            [a] => i64::from(a),
            [a, b] => i64::from(u16::from_le_bytes([a, b])),
            [a, b, c, d] => i64::from(i32::from_le_bytes([a, b, c, d])),
            _ => unreachable!("only lengths 1, 2 and 4 are asked for"),
        };
        self.push(Object::Int(value))
    }

    /// A two's complement integer of `len` bytes; what no `i64` holds is nothing that anybody reads.
    fn long(&mut self, len: u64) -> Result<(), Defect> {
        let bytes = self.cursor.take("an integer in the pickle", len)?;
        if bytes.len() > 8 {
            return self.push(Object::Opaque);
        }
        let sign = if bytes.last().is_some_and(|b| b & 0x80 != 0) { 0xff } else { 0 };
        let mut wide = [sign; 8];
        wide[..bytes.len()].copy_from_slice(bytes);
        self.push(Object::Int(i64::from_le_bytes(wide)))
    }

    fn text(&mut self, len: u64, python2: bool) -> Result<(), Defect> {
        let bytes = self.cursor.take("a string in the pickle", len)?;
        match std::str::from_utf8(bytes) {
            Ok(text) => self.push(Object::Str(text)),
            Err(_) if python2 => self.push(Object::Opaque),
            Err(_) => Err(self.defect("a string is not UTF-8")),
        }
    }

    fn skip(&mut self, len: u64) -> Result<(), Defect> {
        self.cursor.take("a byte string in the pickle", len)?;
        self.push(Object::Opaque)
    }

    fn append(&mut self, items: &[Id]) -> Result<(), Defect> {
        let top = self.top()?;
        match &mut self.objects[top] {
            Object::Sequence(list) => list.extend_from_slice(items),
            Object::Opaque => {}
            _ => return Err(self.defect("it appends to something that is not a list")),
        }
        Ok(())
    }

    fn set_items(&mut self, items: &[Id]) -> Result<(), Defect> {
        let top = self.top()?;
        let (pairs, rest) = items.as_chunks::<2>();
        match &mut self.objects[top] {
            Object::Dict(dict) if rest.is_empty() => dict.extend(pairs.iter().map(|&[key, value]| (key, value))),
            Object::Opaque => {}
            _ => return Err(self.defect("it sets items of something that is not a mapping")),
        }
        Ok(())
    }

    fn name(&mut self, module: &str, name: &str) -> Result<(), Defect> {
        let known = Name::known(module, name).ok_or_else(|| Defect::Global { global: format!("{module}.{name}") })?;
        self.push(Object::Name(known))
    }

    /// What Python would get by calling `callee`, or making an instance of it.
    fn reduce(&mut self, callee: Id, arguments: Id) -> Result<Id, Defect> {
        let Object::Name(name) = self.objects[callee] else { return Err(self.defect("it calls something that is not a name")) };
        // `callee` stands for the arguments that NEWOBJ_EX has in another form; only data that nobody reads is made that way.
        let arguments: &[Id] = match &self.objects[arguments] {
            Object::Sequence(items) => items,
            _ if name == Name::Inert => &[],
            _ => return Err(self.defect("it calls with arguments that are not a tuple")),
        };
        let mut work = 0;
        let made = match (name, arguments) {
            (Name::Inert, _) => Object::Opaque,
            (Name::Mapping, []) => Object::Dict(Vec::new()),
            // `defaultdict(list)`
            (Name::Mapping, &[only]) if matches!(self.objects[only], Object::Name(_) | Object::None) => Object::Dict(Vec::new()),
            (Name::Mapping, &[pairs]) => {
                let pairs = self.pairs(pairs)?;
                work = pairs.len();
                Object::Dict(pairs)
            }
            (Name::Script, []) => Object::Instance(None),
            (Name::List | Name::Size, []) => Object::Sequence(Vec::new()),
            (Name::List | Name::Size, &[only]) | (Name::Parameter | Name::Tagged, &[only, ..]) => return Ok(only),
            (Name::Tensor, _) => {
                work = TENSOR_WORK;
                self.tensor(arguments, None)?
            }
            (Name::TensorAndElement, &[_, _, _, _, _, _, element, ..]) => match self.objects[element] {
                Object::Name(Name::Element(element)) => {
                    work = TENSOR_WORK;
                    self.tensor(arguments, Some(element))?
                }
                _ => return Err(self.defect("a tensor lacks its element type")),
            },
            (Name::Typed, &[callee, _, arguments, ..]) => match self.objects[callee] {
                // Once only: a chain of these would be a recursion.
                Object::Name(Name::Tensor | Name::TensorAndElement | Name::Parameter) => return self.reduce(callee, arguments),
                _ => return Err(self.defect("a typed tensor is not made of a tensor")),
            },
            _ => return Err(self.defect("it calls a name with arguments that name does not take")),
        };
        self.spend(work)?;
        self.store(made)
    }

    /// A list of pairs as the items of a mapping.
    fn pairs(&self, list: Id) -> Result<Vec<(Id, Id)>, Defect> {
        let Object::Sequence(list) = &self.objects[list] else { return Err(self.defect("a mapping is not made of pairs")) };
        let pair = |&id: &Id| match &self.objects[id] {
            Object::Sequence(pair) if pair.len() == 2 => Ok((pair[0], pair[1])),
            _ => Err(self.defect("a mapping is not made of pairs")),
        };
        list.iter().map(pair).collect()
    }

    /// `("storage", class, key, device, length)`, and in old files a sixth for views of storages.
    fn storage(&self, id: Id) -> Result<StorageRef<'a>, Defect> {
        let Object::Sequence(parts) = &self.objects[id] else { return Err(self.defect("a persistent id is not a tuple")) };
        let &[tag, class, key, _, len, ref view @ ..] = parts.as_slice() else {
            return Err(self.defect("a storage is not described in full"));
        };
        if view.iter().any(|&id| !matches!(self.objects[id], Object::None)) {
            return Err(self.defect("it holds views of storages, which torch stopped writing in 2017"));
        }
        match [&self.objects[tag], &self.objects[class], &self.objects[key], &self.objects[len]] {
            [Object::Str("storage"), Object::Name(Name::Storage(element)), Object::Str(key), Object::Int(len)] => {
                if key.len() > MAX_KEY {
                    return Err(Defect::Limit { what: "bytes of a storage's name", found: key.len() as u64, limit: MAX_KEY as u64 });
                }
                let len = u64::try_from(*len).map_err(|_| self.defect("a storage has a negative length"))?;
                Ok(StorageRef { element: *element, key, len })
            }
            _ => Err(self.defect("a persistent id is not a storage")),
        }
    }

    /// `(storage, offset, shape, strides, …)`
    fn tensor(&self, arguments: &[Id], element: Option<ElementType>) -> Result<Object<'a>, Defect> {
        let &[storage, offset, shape, strides, ..] = arguments else { return Err(self.defect("a tensor is not described in full")) };
        let Object::Storage(storage) = self.objects[storage] else { return Err(self.defect("a tensor has no storage")) };
        let offset = self.number(offset)?;
        let (shape, strides) = (self.numbers(shape)?, self.numbers(strides)?);
        let element = element.or(storage.element).ok_or_else(|| self.defect("a tensor has no element type"))?;
        Ok(Object::Tensor(Box::new(TensorRef { storage, element, offset, shape, strides })))
    }

    fn number(&self, id: Id) -> Result<u64, Defect> {
        match self.objects[id] {
            Object::Int(n) if n >= 0 => Ok(n as u64),
            _ => Err(self.defect("a tensor's offset, shape or stride is not a natural number")),
        }
    }

    fn numbers(&self, id: Id) -> Result<Vec<u64>, Defect> {
        match &self.objects[id] {
            Object::Sequence(items) if items.len() <= 16 => items.iter().map(|&id| self.number(id)).collect(),
            _ => Err(self.defect("a tensor's shape or strides are not a short tuple")),
        }
    }
}
