//! The numbers of a model: typed bytes with a shape, owned or memory-mapped, never copied unless they must be.
//!
//! A [`Tensor`] is cheap to clone and to slice along its first dimension: it points into bytes that many tensors
//! share. Numbers are little-endian, as in every checkpoint format hua reads.
use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use half::{bf16, f16};

/// The type of a tensor's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DType {
    /// bfloat16.
    Bf16,
    /// IEEE half precision.
    F16,
    /// IEEE single precision.
    F32,
    /// Signed 64-bit integers: buffers such as `position_ids`, never weights.
    I64,
}

impl DType {
    /// Bytes of one element.
    pub fn size(self) -> usize {
        match self {
            Self::Bf16 | Self::F16 => 2,
            Self::F32 => 4,
            Self::I64 => 8,
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
            Self::F32 => "f32",
            Self::I64 => "i64",
        })
    }
}

/// What can hold the bytes of tensors: a `Vec<u8>`, a memory-mapped file.
pub trait Storage: AsRef<[u8]> + Send + Sync {
    /// These bytes are not needed for now: what can get them again, such as a mapped file, may let go of the memory they take.
    fn release(&self, _bytes: Range<usize>) {}
}

impl Storage for Vec<u8> {}
impl Storage for &'static [u8] {}

/// Why a tensor cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TensorError {
    /// The element type is not a floating-point one.
    #[error("a {found} tensor where floating-point numbers are wanted")]
    NotFloat {
        /// The type it has.
        found: DType,
    },
    /// The byte range is not inside the storage, or is not as long as the shape needs.
    #[error("a {dtype} tensor of shape {shape:?} does not fit bytes {start}..{end} of {len}")]
    OutOfRange {
        /// The element type.
        dtype: DType,
        /// The shape claimed.
        shape: Vec<usize>,
        /// First byte claimed.
        start: usize,
        /// End of the bytes claimed.
        end: usize,
        /// Bytes there are.
        len: usize,
    },
}

/// A typed, shaped view of shared bytes.
#[derive(Clone)]
pub struct Tensor {
    dtype: DType,
    shape: Vec<usize>,
    storage: Arc<dyn Storage>,
    range: Range<usize>,
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tensor({} {:?})", self.dtype, self.shape)
    }
}

impl Tensor {
    /// A view of `range` of `storage`; the range must be exactly as long as `shape` and `dtype` need.
    ///
    /// # Errors
    /// [`TensorError::OutOfRange`], also if the shape's size overflows.
    pub fn new(dtype: DType, shape: Vec<usize>, storage: Arc<dyn Storage>, range: Range<usize>) -> Result<Self, TensorError> {
        let len = (*storage).as_ref().len();
        let wanted = shape.iter().try_fold(dtype.size(), |n, &d| n.checked_mul(d));
        if range.start > range.end || range.end > len || wanted != Some(range.end - range.start) {
            return Err(TensorError::OutOfRange { dtype, shape, start: range.start, end: range.end, len });
        }
        Ok(Self { dtype, shape, storage, range })
    }

    /// A tensor that owns `values`, `[shape]` in row-major order.
    ///
    /// # Panics
    /// If the number of values is not the product of the shape.
    pub fn from_f32(shape: &[usize], values: Vec<f32>) -> Self {
        assert_eq!(shape.iter().product::<usize>(), values.len(), "a tensor of shape {shape:?} from {} values", values.len());
        let storage = OwnedF32(values);
        let range = 0..storage.as_ref().len();
        Self { dtype: DType::F32, shape: shape.to_vec(), storage: Arc::new(storage), range }
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The shape, slowest dimension first; empty for a scalar.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        (self.range.end - self.range.start) / self.dtype.size()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    /// The elements' little-endian bytes.
    pub fn bytes(&self) -> &[u8] {
        &(*self.storage).as_ref()[self.range.clone()]
    }

    /// The elements' numbers are not needed for now: [`Storage::release`].
    pub fn release(&self) {
        self.storage.release(self.range.clone());
    }

    /// Rows `range` of the first dimension, without a copy; `None` if there are not so many.
    pub fn rows(&self, range: Range<usize>) -> Option<Self> {
        let (&first, rest) = self.shape.split_first()?;
        if range.start > range.end || range.end > first {
            return None;
        }
        let row = rest.iter().product::<usize>() * self.dtype.size();
        let mut shape = self.shape.clone();
        shape[0] = range.end - range.start;
        let start = self.range.start;
        Some(Self { shape, range: start + range.start * row..start + range.end * row, ..self.clone() })
    }

    /// `[n, m]` to `[m, n]`, copied; the type stays. `None` unless there are two dimensions.
    pub fn transposed(&self) -> Option<Self> {
        let &[n, m] = self.shape.as_slice() else { return None };
        let (size, bytes) = (self.dtype.size(), self.bytes());
        let mut out = Vec::with_capacity(bytes.len());
        for j in 0..m {
            for i in 0..n {
                let at = (i * m + j) * size;
                out.extend_from_slice(&bytes[at..at + size]);
            }
        }
        let range = 0..out.len();
        Some(Self { dtype: self.dtype, shape: vec![m, n], storage: Arc::new(out), range })
    }

    /// The elements as f32: borrowed if they are f32 and aligned, converted otherwise.
    ///
    /// # Errors
    /// [`TensorError::NotFloat`].
    pub fn to_f32(&self) -> Result<Cow<'_, [f32]>, TensorError> {
        let bytes = self.bytes();
        let halves = || bytes.chunks_exact(2).map(|b| [b[0], b[1]]);
        Ok(match self.dtype {
            DType::F32
                if cfg!(target_endian = "little")
                    && let Ok(view) = bytemuck::try_cast_slice(bytes) =>
            {
                Cow::Borrowed(view)
            }
            DType::F32 => bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
            DType::F16 => halves().map(|b| f16::from_le_bytes(b).to_f32()).collect(),
            DType::Bf16 => halves().map(|b| bf16::from_le_bytes(b).to_f32()).collect(),
            DType::I64 => return Err(TensorError::NotFloat { found: self.dtype }),
        })
    }

    /// The elements in another floating-point type, rounded to nearest even; the same tensor if it has that type already.
    ///
    /// # Errors
    /// [`TensorError::NotFloat`] if either type is an integer one.
    pub fn to_dtype(&self, dtype: DType) -> Result<Self, TensorError> {
        if dtype == self.dtype {
            return Ok(self.clone());
        }
        let values = self.to_f32()?;
        let out: Vec<u8> = match dtype {
            DType::F32 => return Ok(Self::from_f32(&self.shape, values.into_owned())),
            DType::F16 => values.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect(),
            DType::Bf16 => values.iter().flat_map(|&x| bf16::from_f32(x).to_le_bytes()).collect(),
            DType::I64 => return Err(TensorError::NotFloat { found: dtype }),
        };
        let range = 0..out.len();
        Ok(Self { dtype, shape: self.shape.clone(), storage: Arc::new(out), range })
    }
}

/// f32 values as storage: aligned, so that [`Tensor::to_f32`] borrows.
struct OwnedF32(Vec<f32>);

impl Storage for OwnedF32 {}

impl AsRef<[u8]> for OwnedF32 {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aligned_f32_is_borrowed_and_halves_are_converted() {
        let t = Tensor::from_f32(&[2, 2], vec![1.0, -2.5, 0.5, 65504.0]);
        assert!(matches!(t.to_f32(), Ok(Cow::Borrowed(_))));
        for dtype in [DType::F16, DType::Bf16] {
            let half = t.to_dtype(dtype).unwrap();
            assert_eq!((half.dtype(), half.bytes().len()), (dtype, 8));
            assert_eq!(half.to_f32().unwrap()[..3], [1.0, -2.5, 0.5]);
        }
        assert_eq!(t.to_dtype(DType::I64).unwrap_err(), TensorError::NotFloat { found: DType::I64 });
    }

    #[test]
    fn rows_and_transposes_address_the_right_elements() {
        let t = Tensor::from_f32(&[3, 2], vec![0., 1., 2., 3., 4., 5.]);
        let r = t.rows(1..3).unwrap();
        assert_eq!((r.shape(), &r.to_f32().unwrap()[..]), (&[2, 2][..], &[2., 3., 4., 5.][..]));
        assert_eq!(&t.transposed().unwrap().to_f32().unwrap()[..], &[0., 2., 4., 1., 3., 5.]);
        assert!(t.rows(2..4).is_none());
    }

    #[test]
    fn lengths_that_lie_are_refused() {
        let bytes: Arc<dyn Storage> = Arc::new(vec![0u8; 16]);
        assert!(Tensor::new(DType::F32, vec![4], bytes.clone(), 0..16).is_ok());
        assert!(Tensor::new(DType::F32, vec![4], bytes.clone(), 4..20).is_err());
        assert!(Tensor::new(DType::F32, vec![3], bytes.clone(), 0..16).is_err());
        assert!(Tensor::new(DType::F32, vec![usize::MAX, 8], bytes, 0..16).is_err());
    }
}
