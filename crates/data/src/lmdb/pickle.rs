//! A pickled tuple of numbers and texts, and nothing else.
//!
//! `hua-model` has a larger machine for checkpoints, two floors above. This one knows the fifteen operations that `pickle.dumps((1, 2, "text"), protocol)`
//! is made of in protocols 2 to 5; whatever imports or calls is an unknown operation, and ends it.

/// Objects on the stack, entries of the memo.
const MOST: usize = 64;

#[derive(Clone, Debug, PartialEq)]
enum Object {
    Int(i64),
    Mark,
    Text(String),
    Tuple(Vec<Object>),
}

/// The picture's id and the text of a pickled `(image_id, text_id, text)`. An error says what was found, with its verb.
pub(super) fn pair(bytes: &[u8]) -> Result<(String, String), String> {
    let id = |object: Object| match object {
        Object::Int(number) => Some(number.to_string()),
        Object::Text(text) => Some(text),
        Object::Mark | Object::Tuple(_) => None,
    };
    let wanted = || "is no tuple of two ids and a text".to_owned();
    let Object::Tuple(items) = read(bytes)? else { return Err(wanted()) };
    let [image, text_id, Object::Text(text)] = <[Object; 3]>::try_from(items).map_err(|_| wanted())? else { return Err(wanted()) };
    id(text_id).ok_or_else(wanted)?;
    Ok((id(image).ok_or_else(wanted)?, text))
}

fn read(bytes: &[u8]) -> Result<Object, String> {
    let mut cursor = Cursor { rest: bytes };
    let mut stack: Vec<Object> = vec![];
    let (mut memo, mut memoized): (Vec<(i64, Object)>, i64) = (vec![], 0);
    let cut = || "is a pickle that is cut off".to_owned();
    loop {
        let operation = cursor.byte().ok_or_else(cut)?;
        let object = match operation {
            // PROTO, FRAME: nothing to do.
            0x80 => cursor.take(1).map(|_| None),
            0x95 => cursor.take(8).map(|_| None),
            b'.' => return stack.pop().ok_or_else(|| "is a pickle of nothing".into()),
            b'K' => cursor.int(1).map(|n| Some(Object::Int(n))),
            b'M' => cursor.int(2).map(|n| Some(Object::Int(n))),
            b'J' => cursor.int(4).map(|n| Some(Object::Int(i64::from(n as i32)))),
            // LONG1: as many bytes as the next one says, two's complement.
            0x8a => match cursor.byte() {
                Some(length) if length > 8 => return Err("holds an id of over 64 bits".into()),
                length => length.and_then(|n| cursor.signed(n.into())).map(|n| Some(Object::Int(n))),
            },
            0x8c => cursor.int(1).and_then(|n| cursor.text(n)),
            b'X' => cursor.int(4).and_then(|n| cursor.text(n)),
            0x8d => cursor.int(8).and_then(|n| cursor.text(n)),
            b'(' => Some(Some(Object::Mark)),
            b't' => {
                let mark = stack.iter().rposition(|object| *object == Object::Mark).ok_or_else(cut)?;
                let items = stack.split_off(mark + 1);
                stack.pop();
                Some(Some(Object::Tuple(items)))
            }
            0x85..=0x87 => {
                let from = stack.len().checked_sub(usize::from(operation - 0x84)).ok_or_else(cut)?;
                Some(Some(Object::Tuple(stack.split_off(from))))
            }
            // MEMOIZE, BINPUT, LONG_BINPUT; BINGET, LONG_BINGET.
            0x94 | b'q' | b'r' => {
                let key = match operation {
                    0x94 => Some(memoized),
                    b'q' => cursor.int(1),
                    _ => cursor.int(4),
                };
                // A tuple in a tuple in a tuple would cost what two to the power of it costs; no pair asks for a tuple twice.
                if let (Some(key), Some(top @ (Object::Int(_) | Object::Text(_)))) = (key, stack.last()) {
                    memo.push((key, top.clone()));
                }
                memoized += 1;
                key.map(|_| None)
            }
            b'h' | b'j' => {
                let key = cursor.int(if operation == b'h' { 1 } else { 4 }).ok_or_else(cut)?;
                let known = memo.iter().find(|(known, _)| *known == key);
                Some(Some(known.ok_or("is a pickle that asks for what it does not hold")?.1.clone()))
            }
            other => return Err(format!("is a pickle of something else (operation 0x{other:02x})")),
        };
        stack.extend(object.ok_or_else(cut)?);
        if stack.len() > MOST || memo.len() > MOST {
            return Err("is a pickle of too many things".into());
        }
    }
}

struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    /// Little-endian, without a sign; no length of eight bytes is as long as to have one.
    fn int(&mut self, count: usize) -> Option<i64> {
        let bytes = self.take(count)?;
        let number = bytes.iter().rev().fold(0_u64, |number, &byte| number << 8 | u64::from(byte));
        i64::try_from(number).ok()
    }

    fn signed(&mut self, count: usize) -> Option<i64> {
        let bytes = self.take(count)?;
        let negative = bytes.last().is_some_and(|&byte| byte >= 0x80);
        let mut full = [if negative { 0xFF } else { 0 }; 8];
        full[..count].copy_from_slice(bytes);
        Some(i64::from_le_bytes(full))
    }

    fn text(&mut self, length: i64) -> Option<Option<Object>> {
        let bytes = self.take(usize::try_from(length).ok()?)?;
        Some(Some(Object::Text(String::from_utf8_lossy(bytes).into_owned())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `pickle.dumps((7, 70_000, "虹 x"), 4)` and `pickle.dumps(("a", -3_000_000_000, "y" * 3), 2)`.
    const SHORT: &[u8] = b"\x80\x04\x95\x11\0\0\0\0\0\0\0K\x07Jp\x11\x01\0\x8c\x05\xe8\x99\xb9 x\x94\x87\x94.";
    const OLD: &[u8] = b"\x80\x02X\x01\0\0\0aq\0\x8a\x05\0\xa2/M\xffX\x03\0\0\0yyyq\x01\x87q\x02.";

    #[test]
    fn pairs_are_read_in_all_protocols() {
        assert_eq!(pair(SHORT).unwrap(), ("7".into(), "虹 x".into()));
        assert_eq!(pair(OLD).unwrap(), ("a".into(), "yyy".into()));
        assert_eq!(pair(b"\x80\x04(K\x01K\x02\x8c\x01zt.").unwrap(), ("1".into(), "z".into()));
        assert_eq!(pair(b"\x80\x04\x8c\x01z\x94h\0h\0\x87.").unwrap(), ("z".into(), "z".into()));
    }

    #[test]
    fn anything_else_is_refused() {
        for bytes in
            [&b"cos\nsystem\n(S'x'\ntR."[..], b"", b"\x80\x04.", b"K\x01.", b"K\x01K\x02\x86.", b"h\0.", b"X\xff\xff\xff\xffabc", b"t."]
        {
            assert!(pair(bytes).is_err(), "{bytes:?}");
        }
        assert!(pair(&b"(".repeat(100)).is_err());
        for at in 0..SHORT.len() {
            assert!(pair(&SHORT[..at]).is_err(), "{at}");
            for byte in 0..=255 {
                let mut changed = SHORT.to_vec();
                changed[at] = byte;
                let _ = pair(&changed);
            }
        }
    }
}
