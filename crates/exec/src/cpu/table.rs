//! A matrix of which single rows are read: it stays where it is mapped, in whatever type it has.
use hua_graph::{DType, Tensor, TensorError};

/// Rows of a tensor, converted when they are read.
#[derive(Debug)]
pub(crate) struct Table {
    tensor: Tensor,
    /// Numbers of a row.
    width: usize,
}

impl Table {
    /// `tensor` is `[rows, width]`.
    pub(crate) fn new(tensor: &Tensor) -> Result<Self, TensorError> {
        match (tensor.dtype(), tensor.shape()) {
            (found @ DType::I64, _) => Err(TensorError::NotFloat { found }),
            (_, shape) => Ok(Self { tensor: tensor.clone(), width: shape.iter().skip(1).product() }),
        }
    }

    /// `out = row`.
    pub(crate) fn copy(&self, row: usize, out: &mut [f32]) {
        self.read(row, out, |out, x| *out = x);
    }

    /// `out += row`.
    pub(crate) fn add(&self, row: usize, out: &mut [f32]) {
        self.read(row, out, |out, x| *out += x);
    }

    fn read(&self, row: usize, out: &mut [f32], write: impl Fn(&mut f32, f32)) {
        let size = self.tensor.dtype().size();
        let bytes = &self.tensor.bytes()[row * self.width * size..][..self.width * size];
        let halves = bytes.chunks_exact(2).map(|b| [b[0], b[1]]);
        match self.tensor.dtype() {
            DType::F32 => {
                out.iter_mut().zip(bytes.chunks_exact(4)).for_each(|(out, b)| write(out, f32::from_le_bytes([b[0], b[1], b[2], b[3]])))
            }
            DType::F16 => out.iter_mut().zip(halves).for_each(|(out, b)| write(out, half::f16::from_le_bytes(b).to_f32())),
            DType::Bf16 => out.iter_mut().zip(halves).for_each(|(out, b)| write(out, half::bf16::from_le_bytes(b).to_f32())),
            DType::I64 => unreachable!("a table is of floating-point numbers"),
        }
    }
}
