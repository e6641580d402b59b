//! The element types that checkpoints have: more than models need, so that a file with one odd buffer still opens.
use std::fmt;

use hua_graph::DType;

/// What a tensor in a file is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ElementType {
    /// bfloat16.
    Bf16,
    /// One byte, zero or one.
    Bool,
    /// Two f32.
    C64,
    /// IEEE half precision.
    F16,
    /// IEEE single precision.
    F32,
    /// IEEE double precision.
    F64,
    /// Eight-bit float with four exponent bits.
    F8E4M3,
    /// Eight-bit float with five exponent bits.
    F8E5M2,
    /// Signed 8-bit integer.
    I8,
    /// Signed 16-bit integer.
    I16,
    /// Signed 32-bit integer.
    I32,
    /// Signed 64-bit integer.
    I64,
    /// Unsigned 8-bit integer.
    U8,
    /// Unsigned 16-bit integer.
    U16,
    /// Unsigned 32-bit integer.
    U32,
    /// Unsigned 64-bit integer.
    U64,
}

impl ElementType {
    /// Every type, with its safetensors name, its torch storage class, its torch dtype, and its bytes.
    const TABLE: &[(Self, &str, &str, &str, usize)] = &[
        (Self::Bf16, "BF16", "BFloat16Storage", "bfloat16", 2),
        (Self::Bool, "BOOL", "BoolStorage", "bool", 1),
        (Self::C64, "C64", "ComplexFloatStorage", "complex64", 8),
        (Self::F16, "F16", "HalfStorage", "float16", 2),
        (Self::F32, "F32", "FloatStorage", "float32", 4),
        (Self::F64, "F64", "DoubleStorage", "float64", 8),
        (Self::F8E4M3, "F8_E4M3", "", "float8_e4m3fn", 1),
        (Self::F8E5M2, "F8_E5M2", "", "float8_e5m2", 1),
        (Self::I8, "I8", "CharStorage", "int8", 1),
        (Self::I16, "I16", "ShortStorage", "int16", 2),
        (Self::I32, "I32", "IntStorage", "int32", 4),
        (Self::I64, "I64", "LongStorage", "int64", 8),
        (Self::U8, "U8", "ByteStorage", "uint8", 1),
        (Self::U16, "U16", "", "uint16", 2),
        (Self::U32, "U32", "", "uint32", 4),
        (Self::U64, "U64", "", "uint64", 8),
    ];

    /// Bytes of one element.
    pub fn size(self) -> usize {
        self.row().4
    }

    /// The type a model's tensor of these elements has; `None` for what no model of hua is made of.
    pub fn dtype(self) -> Option<DType> {
        match self {
            Self::Bf16 => Some(DType::Bf16),
            Self::F16 => Some(DType::F16),
            Self::F32 => Some(DType::F32),
            Self::I64 => Some(DType::I64),
            _ => None,
        }
    }

    /// The name safetensors headers use.
    pub(super) fn safetensors_name(self) -> &'static str {
        self.row().1
    }

    /// The class of `torch` whose storages hold these elements; empty for types younger than those classes.
    pub(super) fn storage_class(self) -> &'static str {
        self.row().2
    }

    pub(super) fn from_safetensors(name: &str) -> Option<Self> {
        Self::TABLE.iter().find(|row| row.1 == name).map(|row| row.0)
    }

    pub(super) fn from_storage_class(name: &str) -> Option<Self> {
        Self::TABLE.iter().find(|row| row.2 == name && !name.is_empty()).map(|row| row.0)
    }

    pub(super) fn from_torch_dtype(name: &str) -> Option<Self> {
        Self::TABLE.iter().find(|row| row.3 == name).map(|row| row.0)
    }

    fn row(self) -> &'static (Self, &'static str, &'static str, &'static str, usize) {
        Self::TABLE.iter().find(|row| row.0 == self).expect("the table has a row for every variant: a test counts them")
    }
}

impl From<DType> for ElementType {
    fn from(dtype: DType) -> Self {
        match dtype {
            DType::Bf16 => Self::Bf16,
            DType::F16 => Self::F16,
            DType::F32 => Self::F32,
            DType::I64 => Self::I64,
        }
    }
}

impl fmt::Display for ElementType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.safetensors_name().to_ascii_lowercase())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_has_its_row_in_the_order_of_the_variants() {
        assert_eq!(ElementType::TABLE.len(), ElementType::U64 as usize + 1);
        for (i, row) in ElementType::TABLE.iter().enumerate() {
            assert_eq!(row.0 as usize, i);
        }
        for dtype in [DType::Bf16, DType::F16, DType::F32, DType::I64] {
            assert_eq!(ElementType::from(dtype).dtype(), Some(dtype));
            assert_eq!(ElementType::from(dtype).size(), dtype.size());
        }
    }
}
