//! One tensor of a file: where its elements lie, checked against the file before anything is read.
//!
//! Elements that lie in row-major order are viewed where they are. Transposed views, slices and foreign byte orders are
//! copied, and a copy is never greater than the storage it is made from: a stride of zero makes gigabytes out of four
//! bytes, so [`Entry::new`] refuses it.
use std::ops::Range;
use std::sync::Arc;

use hua_graph::{DType, Storage, Tensor};

use super::element::ElementType;
use super::error::Defect;

/// Expanded tensors (a stride of zero) up to this size are copied; greater ones are refused.
const MAX_EXPANDED_BYTES: u64 = 1 << 20;
/// More dimensions than any weight has.
const MAX_DIMENSIONS: usize = 16;

/// Where a tensor's elements are.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// Which of the checkpoint's files.
    pub(super) file: usize,
    pub(super) element: ElementType,
    pub(super) shape: Vec<usize>,
    place: Place,
}

#[derive(Clone, Debug)]
enum Place {
    /// Row-major, little-endian: bytes of the file.
    View(Range<usize>),
    /// Elements at `strides` (in elements) from `start` (in bytes of the file). Every one was checked to be in its storage.
    Strided { start: usize, strides: Vec<usize>, swapped: bool },
}

/// What a file claims about a tensor.
pub(super) struct Claim<'a> {
    pub(super) name: &'a str,
    pub(super) element: ElementType,
    pub(super) shape: &'a [u64],
    /// In elements; `None` for row-major.
    pub(super) strides: Option<&'a [u64]>,
    /// In elements, from the start of `storage`.
    pub(super) offset: u64,
    /// Bytes of the file, already known to be inside it.
    pub(super) storage: Range<usize>,
    /// Whether the file is big-endian.
    pub(super) swapped: bool,
}

impl Entry {
    /// Checks a claim; the first thing that is wrong is the error.
    pub(super) fn new(file: usize, claim: &Claim<'_>) -> Result<Self, Defect> {
        let bytes = (claim.storage.end - claim.storage.start) as u64;
        let size = claim.element.size() as u64;
        let misfit =
            || Defect::Shape { name: claim.name.to_owned(), shape: claim.shape.iter().copied().take(MAX_DIMENSIONS).collect(), bytes };
        if claim.shape.len() > MAX_DIMENSIONS || claim.strides.is_some_and(|s| s.len() != claim.shape.len()) {
            return Err(misfit());
        }
        let empty = claim.shape.contains(&0);
        // The product of the non-zero dimensions must be representable even for empty tensors: people multiply shapes.
        let product =
            claim.shape.iter().filter(|&&d| d != 0).try_fold(size, |n, &d| n.checked_mul(d)).filter(|&n| usize::try_from(n).is_ok());
        let wanted = if empty { 0 } else { product.ok_or_else(misfit)? };
        product.ok_or_else(misfit)?;
        let shape: Vec<usize> = claim.shape.iter().map(|&d| usize::try_from(d).map_err(|_| misfit())).collect::<Result<_, _>>()?;

        let row_major = claim.strides.is_none_or(|strides| is_row_major(claim.shape, strides));
        let last = match claim.strides {
            _ if empty => None,
            Some(strides) if !row_major => {
                claim.shape.iter().zip(strides).try_fold(claim.offset, |at, (&d, &s)| at.checked_add((d - 1).checked_mul(s)?))
            }
            _ => claim.offset.checked_add(wanted / size - 1),
        };
        let end = if empty { Some(0) } else { last.and_then(|last| last.checked_add(1)?.checked_mul(size)) };
        if end.is_none_or(|end| end > bytes) || (!empty && !row_major && wanted > bytes.max(MAX_EXPANDED_BYTES)) {
            return Err(misfit());
        }
        // `end` fits, so the offset does: these cannot overflow or leave the storage.
        let start = if empty { claim.storage.start } else { claim.storage.start + (claim.offset * size) as usize };
        let place = if empty || (row_major && !(claim.swapped && size > 1)) {
            Place::View(start..start + wanted as usize)
        } else {
            let strides = match claim.strides {
                Some(strides) if !row_major => {
                    strides.iter().zip(claim.shape).map(|(&s, &d)| if d == 1 { 0 } else { s as usize }).collect()
                }
                _ => row_major_strides(&shape),
            };
            Place::Strided { start, strides, swapped: claim.swapped }
        };
        Ok(Self { file, element: claim.element, shape, place })
    }

    /// Bytes of the elements, as a tensor has them.
    pub(super) fn bytes(&self) -> u64 {
        self.shape.iter().product::<usize>() as u64 * self.element.size() as u64
    }

    /// Whether [`Self::tensor`] copies.
    pub(super) fn is_view(&self) -> bool {
        matches!(self.place, Place::View(_))
    }

    /// The tensor; `storage` is the file this entry was checked against.
    pub(super) fn tensor(&self, dtype: DType, storage: &Arc<dyn Storage>) -> Tensor {
        let (storage, range): (Arc<dyn Storage>, _) = match &self.place {
            Place::View(range) => (storage.clone(), range.clone()),
            Place::Strided { start, strides, swapped } => {
                let file: &[u8] = (**storage).as_ref();
                let out = gather(&file[*start..], &self.shape, strides, dtype.size(), *swapped);
                let range = 0..out.len();
                (Arc::new(out), range)
            }
        };
        Tensor::new(dtype, self.shape.clone(), storage, range).expect("the entry was checked when the file was opened")
    }
}

/// Copies a non-empty strided tensor to row-major order.
fn gather(bytes: &[u8], shape: &[usize], strides: &[usize], size: usize, swapped: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(shape.iter().product::<usize>() * size);
    let mut index = vec![0; shape.len()];
    loop {
        let at = index.iter().zip(strides).map(|(i, s)| i * s).sum::<usize>() * size;
        let element = &bytes[at..at + size];
        if swapped {
            out.extend(element.iter().rev());
        } else {
            out.extend_from_slice(element);
        }
        let Some(d) = (0..shape.len()).rev().find(|&d| index[d] + 1 < shape[d]) else { return out };
        index[d] += 1;
        index[d + 1..].fill(0);
    }
}

fn is_row_major(shape: &[u64], strides: &[u64]) -> bool {
    let mut wanted = 1u64;
    shape.iter().zip(strides).rev().all(|(&d, &s)| {
        let right = d == 1 || s == wanted;
        wanted = wanted.saturating_mul(d);
        right
    })
}

fn row_major_strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for d in (1..shape.len()).rev() {
        strides[d - 1] = strides[d] * shape[d];
    }
    strides
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim<'a>(shape: &'a [u64], strides: Option<&'a [u64]>, offset: u64, swapped: bool) -> Claim<'a> {
        Claim { name: "t", element: ElementType::F32, shape, strides, offset, storage: 4..28, swapped }
    }

    fn values(claim: &Claim<'_>, bytes: Vec<u8>) -> Vec<f32> {
        let storage: Arc<dyn Storage> = Arc::new(bytes);
        Entry::new(0, claim).unwrap().tensor(DType::F32, &storage).to_f32().unwrap().into_owned()
    }

    #[test]
    fn views_slices_transposes_and_foreign_byte_orders_give_their_elements() {
        let little: Vec<u8> = (-1..6).flat_map(|x| (x as f32).to_le_bytes()).collect();
        let big: Vec<u8> = (-1..6).flat_map(|x| (x as f32).to_be_bytes()).collect();
        assert_eq!(values(&claim(&[2, 3], None, 0, false), little.clone()), [0., 1., 2., 3., 4., 5.]);
        assert_eq!(values(&claim(&[1, 3], Some(&[77, 1]), 3, false), little.clone()), [3., 4., 5.]);
        assert_eq!(values(&claim(&[3, 2], Some(&[1, 3]), 0, false), little.clone()), [0., 3., 1., 4., 2., 5.]);
        assert_eq!(values(&claim(&[2, 2], Some(&[3, 0]), 1, false), little.clone()), [1., 1., 4., 4.]);
        assert_eq!(values(&claim(&[3, 2], Some(&[1, 3]), 0, true), big.clone()), [0., 3., 1., 4., 2., 5.]);
        assert_eq!(values(&claim(&[], None, 5, true), big), [5.]);
        assert_eq!(values(&claim(&[0, 9], None, 99, false), little), [0f32; 0]);
    }

    #[test]
    fn claims_outside_the_storage_are_refused() {
        let refused = |c: Claim<'_>| assert!(Entry::new(0, &c).is_err(), "{:?}", c.shape);
        refused(claim(&[7], None, 0, false));
        refused(claim(&[2, 3], None, 1, false));
        refused(claim(&[3, 2], Some(&[1, 4]), 0, false));
        refused(claim(&[3, 2], Some(&[1]), 0, false));
        refused(claim(&[1 << 40], Some(&[0]), 0, false));
        refused(claim(&[1 << 32, 1 << 32], None, 0, false));
        refused(claim(&[0, 1 << 62, 1 << 62], None, 0, false));
        refused(claim(&[2, 2], Some(&[u64::MAX, 1]), 0, false));
        refused(claim(&[1], None, u64::MAX, false));
        refused(claim(&[1; 17], None, 0, false));
    }
}
