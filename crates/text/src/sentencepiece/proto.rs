//! The few fields of sentencepiece's `ModelProto` that a Unigram model needs, read from untrusted bytes.
//!
//! Protocol buffers by hand: a message is a list of (field, value), and only two kinds of values matter here. A library
//! would bring a code generator for five fields. The numbers are those of `sentencepiece_model.proto`.
use crate::TextError;

/// What a `.model` file says.
pub(super) struct ModelFile {
    /// In the order of their ids.
    pub pieces: Vec<Piece>,
    pub normalizer: NormalizerSpec,
}

/// One piece of the vocabulary.
#[derive(Debug)]
pub(super) struct Piece {
    pub text: String,
    pub score: f32,
    pub kind: PieceKind,
}

/// What a piece may stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PieceKind {
    Control,
    Normal,
    Unknown,
    Unused,
}

/// How text is cleaned; the defaults are those of the format.
#[derive(Debug)]
pub(super) struct NormalizerSpec {
    pub charsmap: Vec<u8>,
    pub add_dummy_prefix: bool,
    pub remove_extra_whitespaces: bool,
    pub escape_whitespaces: bool,
}

impl Default for NormalizerSpec {
    fn default() -> Self {
        Self { charsmap: Vec::new(), add_dummy_prefix: true, remove_extra_whitespaces: true, escape_whitespaces: true }
    }
}

/// Reads the whole file.
pub(super) fn parse(bytes: &[u8]) -> Result<ModelFile, TextError> {
    let mut file = ModelFile { pieces: Vec::new(), normalizer: NormalizerSpec::default() };
    for field in fields(bytes) {
        match field? {
            (1, Value::Bytes(message)) => file.pieces.push(piece(message)?),
            (2, Value::Bytes(message)) => check_trainer(message)?,
            (3, Value::Bytes(message)) => file.normalizer = normalizer(message)?,
            _ => {}
        }
    }
    Ok(file)
}

fn piece(message: &[u8]) -> Result<Piece, TextError> {
    let mut piece = Piece { text: String::new(), score: 0.0, kind: PieceKind::Normal };
    for field in fields(message) {
        match field? {
            (1, Value::Bytes(text)) => {
                let text = std::str::from_utf8(text).map_err(|e| TextError::invalid("a piece", format!("not UTF-8 ({e})"), "UTF-8"))?;
                text.clone_into(&mut piece.text);
            }
            (2, Value::Fixed32(bits)) => piece.score = f32::from_bits(bits),
            (3, Value::Number(kind)) => {
                piece.kind = match kind {
                    1 => PieceKind::Normal,
                    2 => PieceKind::Unknown,
                    3 => PieceKind::Control,
                    5 => PieceKind::Unused,
                    // User-defined (4) and byte (6) pieces have rules of their own; no model of ours has them.
                    other => return Err(TextError::invalid("the type of a piece", other.to_string(), "1, 2, 3 or 5")),
                }
            }
            _ => {}
        }
    }
    Ok(piece)
}

/// Refuses what is not Unigram with the space in front.
fn check_trainer(message: &[u8]) -> Result<(), TextError> {
    for field in fields(message) {
        match field? {
            (3, Value::Number(kind)) if kind != 1 => return Err(TextError::invalid("the model type", kind.to_string(), "1 (Unigram)")),
            (24, Value::Number(1..)) => return Err(TextError::invalid("`treat_whitespace_as_suffix`", "true", "false")),
            (35, Value::Number(1..)) => return Err(TextError::invalid("`byte_fallback`", "true", "false")),
            _ => {}
        }
    }
    Ok(())
}

fn normalizer(message: &[u8]) -> Result<NormalizerSpec, TextError> {
    let mut spec = NormalizerSpec::default();
    for field in fields(message) {
        match field? {
            (2, Value::Bytes(charsmap)) => spec.charsmap = charsmap.to_vec(),
            (3, Value::Number(on)) => spec.add_dummy_prefix = on != 0,
            (4, Value::Number(on)) => spec.remove_extra_whitespaces = on != 0,
            (5, Value::Number(on)) => spec.escape_whitespaces = on != 0,
            _ => {}
        }
    }
    Ok(spec)
}

/// The value of one field.
enum Value<'a> {
    Bytes(&'a [u8]),
    Fixed32(u32),
    Fixed64,
    Number(u64),
}

/// The fields of a message, until the first that is cut off.
fn fields(mut rest: &[u8]) -> impl Iterator<Item = Result<(u64, Value<'_>), TextError>> {
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let left = rest.len();
        let field = field(&mut rest);
        if field.is_none() {
            rest = &[];
        }
        Some(field.ok_or_else(|| {
            TextError::invalid("the SentencePiece model", format!("broken {left} bytes before the end of a message"), "protocol buffers")
        }))
    })
}

fn field<'a>(rest: &mut &'a [u8]) -> Option<(u64, Value<'a>)> {
    let key = varint(rest)?;
    let value = match key & 7 {
        0 => Value::Number(varint(rest)?),
        1 => {
            *rest = rest.get(8..)?;
            Value::Fixed64
        }
        2 => {
            let length = usize::try_from(varint(rest)?).ok()?;
            let (bytes, after) = rest.split_at_checked(length)?;
            *rest = after;
            Value::Bytes(bytes)
        }
        5 => {
            let (bits, after) = rest.split_first_chunk()?;
            *rest = after;
            Value::Fixed32(u32::from_le_bytes(*bits))
        }
        _ => return None,
    };
    Some((key >> 3, value))
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, after) = rest.split_first()?;
        *rest = after;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}
