//! Weights as the products read them: packed into panels of columns, in one of three kinds of numbers.
//!
//! A panel holds `NR` output channels (two registers of f32: 16, or 32 with AVX-512), one step of the inner dimension after the
//! other, so that a tile of a product reads one run of bytes from beginning to end. Panels begin on a cache line; channels that
//! the last panel lacks are zeros.
//!
//! | precision | a panel |
//! | --- | --- |
//! | f32 | `[inner][NR]` |
//! | bf16 | `[inner / 2, rounded up][NR][2]`: two steps of a channel are one word, as `vdpbf16ps` wants them |
//! | int8 | `[inner / 4, rounded up to even][NR][4]`, then `[NR]` scales (f32) and `[NR]` sums of the channel's integers (i32) |
//!
//! The bytes depend on the weights and the layout alone, so that they can be kept in a file.
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::str::FromStr;

use crate::cores::Shared;
use crate::{Cores, Isa, int8};

/// The numbers that the weights of products are kept in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Precision {
    /// Weights rounded to bf16; sums in f32. Where the machine multiplies bf16, inputs are rounded too.
    Bf16,
    /// f32 throughout.
    F32,
    /// Weights in 8 bits, one scale for each output channel; inputs in 8 bits, one scale and zero point for each row.
    Int8,
}

impl Precision {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::F32, Self::Bf16, Self::Int8];

    /// `f32`, `bf16` or `int8`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bf16 => "bf16",
            Self::F32 => "f32",
            Self::Int8 => "int8",
        }
    }

    /// Bits of a weight.
    pub(crate) fn bits(self) -> usize {
        match self {
            Self::Bf16 => 16,
            Self::F32 => 32,
            Self::Int8 => 8,
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that is no precision's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is no precision; there are `f32`, `bf16` and `int8`", .found.escape_debug())]
pub struct PrecisionError {
    found: String,
}

impl FromStr for Precision {
    type Err = PrecisionError;

    fn from_str(name: &str) -> Result<Self, PrecisionError> {
        Self::ALL.into_iter().find(|p| p.name() == name).ok_or_else(|| PrecisionError { found: name.to_owned() })
    }
}

/// Weights of a channel that are packed at a time, an even number: those of a panel's channels stay in L1 while they are laid side by side.
const CUT: usize = 64;

/// How a weight `[out, inner]` lies when it is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Layout {
    precision: Precision,
    out: usize,
    inner: usize,
    /// Channels of a panel.
    panel: usize,
}

impl Layout {
    /// The layout of a weight `[out, inner]` for an instruction set.
    ///
    /// # Panics
    /// If `inner` is 0, or if so many weights cannot be counted.
    pub fn new(isa: Isa, precision: Precision, out: usize, inner: usize) -> Self {
        assert!(inner > 0, "a weight of {out} rows of nothing");
        let layout = Self { precision, out, inner, panel: isa.panel() };
        // Twice as many as are needed, so that no sum that follows overflows.
        let most = out.checked_add(layout.panel).and_then(|n| n.checked_mul(inner.checked_add(16)?)).and_then(|n| n.checked_mul(8));
        assert!(most.is_some(), "a weight of {out} rows of {inner}");
        layout
    }

    /// Bytes of the packed weight.
    pub fn bytes(self) -> usize {
        self.panels() * self.panel_bytes() + self.behind()
    }

    /// Bytes behind the last panel, zeros: a tile of bf16 reads two of them (`Simd::load_seconds`).
    fn behind(self) -> usize {
        if self.precision == Precision::Bf16 && self.out > 0 { 64 } else { 0 }
    }

    /// Kind of numbers.
    pub fn precision(self) -> Precision {
        self.precision
    }

    /// Output channels.
    pub fn out(self) -> usize {
        self.out
    }

    /// Weights of a channel.
    pub fn inner(self) -> usize {
        self.inner
    }

    /// Channels of a panel.
    pub(crate) fn panel(self) -> usize {
        self.panel
    }

    /// How many panels there are.
    pub(crate) fn panels(self) -> usize {
        self.out.div_ceil(self.panel)
    }

    /// Bytes of a panel: a multiple of a cache line.
    pub(crate) fn panel_bytes(self) -> usize {
        match self.precision {
            Precision::Bf16 => self.inner.div_ceil(2) * self.panel * 4,
            Precision::F32 => self.inner * self.panel * 4,
            Precision::Int8 => int8::inner(self.inner) * self.panel + self.panel * 8,
        }
    }
}

/// Numbers of a weight `[out, inner]` as a checkpoint stores them.
#[derive(Clone, Copy, Debug)]
pub enum Values<'a> {
    /// The upper halves of f32.
    Bf16(&'a [u16]),
    /// IEEE half precision.
    F16(&'a [u16]),
    /// Single precision.
    F32(&'a [f32]),
}

impl Values<'_> {
    fn len(self) -> usize {
        match self {
            Self::Bf16(values) | Self::F16(values) => values.len(),
            Self::F32(values) => values.len(),
        }
    }

    /// Those from `start` on, as many as `to` holds.
    fn widen(self, start: usize, to: &mut [f32]) {
        match self {
            Self::Bf16(values) => to.iter_mut().zip(&values[start..]).for_each(|(to, &x)| *to = f32::from_bits(u32::from(x) << 16)),
            Self::F16(values) => to.iter_mut().zip(&values[start..]).for_each(|(to, &x)| *to = from_f16(x)),
            Self::F32(values) => to.copy_from_slice(&values[start..][..to.len()]),
        }
    }
}

/// A half as f32, exactly.
#[inline(always)]
pub(crate) fn from_f16(x: u16) -> f32 {
    let (sign, rest) = (u32::from(x & 0x8000) << 16, u32::from(x & 0x7fff) << 13);
    // The exponent is 112 too small; infinities and what is no number have the greatest instead.
    let wide = if rest >= 0x0f80_0000 { f32::from_bits(rest | 0x7f80_0000) } else { f32::from_bits(rest) * 2f32.powi(112) };
    f32::from_bits(wide.to_bits() | sign)
}

/// The nearest bf16, of two the even one.
pub(crate) fn to_bf16(x: f32) -> u16 {
    let bits = x.to_bits();
    if x.is_nan() {
        return (bits >> 16) as u16 | 0x40;
    }
    ((bits + 0x7fff + (bits >> 16 & 1)) >> 16) as u16
}

/// Packs a weight: `to` becomes what [`Packed::new`] takes.
///
/// # Panics
/// If a length does not fit the layout, or the layout not the instruction set.
pub fn pack(cores: &Cores, layout: Layout, weight: Values<'_>, to: &mut [u8]) {
    let Layout { out, inner, panel, .. } = layout;
    assert_eq!(weight.len(), out * inner, "a weight of {out} rows of {inner}");
    assert_eq!(to.len(), layout.bytes(), "room for {layout:?}");
    let bytes = layout.panel_bytes();
    to[layout.panels() * bytes..].fill(0);
    let shared = Shared::new(to);
    cores.each(layout.panels(), |i| {
        // SAFETY: `to` has as many bytes as there are panels, and each is one task's.
        let to = unsafe { std::slice::from_raw_parts_mut(shared.at(i * bytes), bytes) };
        let channels = panel.min(out - i * panel);
        if channels < panel || !inner.is_multiple_of(2) || layout.precision == Precision::Int8 {
            to.fill(0);
        }
        // int8 has one scale for a whole channel.
        let cut = if layout.precision == Precision::Int8 { inner } else { CUT };
        let mut row = vec![0.0; cut.min(inner)];
        for start in (0..inner).step_by(cut) {
            let row = &mut row[..cut.min(inner - start)];
            for n in 0..channels {
                weight.widen((i * panel + n) * inner + start, row);
                match layout.precision {
                    Precision::Bf16 => place(row, n, panel, 2, &mut to[start * panel * 2..], |x| to_bf16(x).to_ne_bytes()),
                    Precision::F32 => place(row, n, panel, 1, &mut to[start * panel * 4..], f32::to_ne_bytes),
                    Precision::Int8 => int8::pack(cores.isa(), row, n, panel, to),
                }
            }
        }
    });
}

/// Packs the transposes of weights, one below the other, for the products of their gradients: `sources` are `[rows, out]` each, and their rows
/// together the layout's inner dimension.
///
/// # Panics
/// If a length does not fit the layout, the layout not the instruction set, or if it is int8.
pub fn pack_transposed(cores: &Cores, layout: Layout, sources: &[&[f32]], to: &mut [u8]) {
    let Layout { precision, out, inner, panel } = layout;
    assert_eq!(sources.iter().map(|source| source.len()).sum::<usize>(), out * inner, "weights of {inner} rows of {out}");
    assert!(sources.iter().all(|source| source.len().is_multiple_of(out.max(1))), "weights of whole rows of {out}");
    assert_eq!(to.len(), layout.bytes(), "room for {layout:?}");
    let bytes = layout.panel_bytes();
    to[layout.panels() * bytes..].fill(0);
    let shared = Shared::new(to);
    cores.each(layout.panels(), |i| {
        // SAFETY: `to` has as many bytes as there are panels, and each is one task's.
        let to = unsafe { std::slice::from_raw_parts_mut(shared.at(i * bytes), bytes) };
        let columns = i * panel..out.min((i + 1) * panel);
        if columns.len() < panel || !inner.is_multiple_of(2) {
            to.fill(0);
        }
        let rows = sources.iter().flat_map(|source| source.chunks_exact(out)).map(|row| &row[columns.clone()]);
        match precision {
            Precision::F32 => {
                for (row, to) in rows.zip(to.chunks_exact_mut(panel * 4)) {
                    row.iter().zip(to.chunks_exact_mut(4)).for_each(|(x, to)| to.copy_from_slice(&x.to_ne_bytes()));
                }
            }
            Precision::Bf16 => {
                for (step, row) in rows.enumerate() {
                    let words = to[step / 2 * panel * 4..].chunks_exact_mut(4);
                    row.iter().zip(words).for_each(|(&x, to)| to[step % 2 * 2..][..2].copy_from_slice(&to_bf16(x).to_ne_bytes()));
                }
            }
            Precision::Int8 => panic!("gradients in int8"),
        }
    });
}

/// Puts a channel into its column of a panel, `group` numbers side by side.
fn place<T: Copy, const N: usize>(row: &[T], column: usize, panel: usize, group: usize, to: &mut [u8], bytes: impl Fn(T) -> [u8; N]) {
    for (step, numbers) in row.chunks(group).enumerate() {
        for (i, &x) in numbers.iter().enumerate() {
            to[((step * panel + column) * group + i) * N..][..N].copy_from_slice(&bytes(x));
        }
    }
}

/// The first bytes.
fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes[..N].try_into().expect("as many as were asked for")
}

/// A packed weight: a view of bytes that [`pack`] made.
#[derive(Clone, Copy, Debug)]
pub struct Packed<'a> {
    layout: Layout,
    bytes: &'a [u8],
}

impl<'a> Packed<'a> {
    /// # Panics
    /// If the bytes are not as many as the layout says, or do not begin on a cache line (64 bytes).
    pub fn new(layout: Layout, bytes: &'a [u8]) -> Self {
        assert_eq!(bytes.len(), layout.bytes(), "bytes of {layout:?}");
        assert!(bytes.is_empty() || bytes.as_ptr().addr().is_multiple_of(64), "a packed weight begins on a cache line");
        Self { layout, bytes }
    }

    /// How it lies.
    pub fn layout(self) -> Layout {
        self.layout
    }

    /// How far these weights are from those that they were packed from: the root of the squares of all differences, in shares of that
    /// of the squares of the weights. 0 for f32; of int8, one part in sixty to a hundred is usual.
    ///
    /// # Panics
    /// If they are not as many.
    pub fn error(self, weight: Values<'_>) -> f64 {
        let Layout { precision, out, inner, panel } = self.layout;
        assert_eq!(weight.len(), out * inner, "a weight of {out} rows of {inner}");
        let (mut row, mut differences, mut squares) = (vec![0.0; inner], 0.0, 0.0);
        for n in 0..out {
            weight.widen(n * inner, &mut row);
            let bytes = &self.bytes[n / panel * self.layout.panel_bytes()..][..self.layout.panel_bytes()];
            for (k, &wanted) in row.iter().enumerate() {
                let at = |group: usize, bits: usize| (k / group * panel + n % panel) * group * bits / 8 + k % group * bits / 8;
                let found = match precision {
                    Precision::Bf16 => f32::from_bits(u32::from(u16::from_ne_bytes(array(&bytes[at(2, 16)..]))) << 16),
                    Precision::F32 => f32::from_ne_bytes(array(&bytes[at(1, 32)..])),
                    Precision::Int8 => {
                        let scale = f32::from_ne_bytes(array(&bytes[int8::inner(inner) * panel + n % panel * 4..]));
                        f32::from(i8::from_ne_bytes(array(&bytes[at(4, 8)..]))) * scale
                    }
                };
                differences += (f64::from(found) - f64::from(wanted)).powi(2);
                squares += f64::from(wanted).powi(2);
            }
        }
        if differences == 0.0 { 0.0 } else { (differences / squares).sqrt() }
    }

    pub(crate) fn bytes(self) -> &'a [u8] {
        self.bytes
    }
}

/// Bytes that begin on a cache line (64 bytes), zeros at first: packed weights that no file holds.
#[derive(Debug, Default)]
pub struct AlignedBytes {
    /// A map of no file, so that large ones begin on a page and cost nothing before they are written.
    map: Option<memmap2::MmapMut>,
}

impl AlignedBytes {
    /// `len` zeros.
    ///
    /// # Panics
    /// If the system has no memory left.
    pub fn new(len: usize) -> Self {
        let map = (len > 0).then(|| memmap2::MmapMut::map_anon(len).expect("the system has memory"));
        #[cfg(target_os = "linux")]
        if let Some(map) = &map {
            // Fewer pages to look up where weights stream from memory; a wish that may be refused.
            let _ = map.advise(memmap2::Advice::HugePage);
        }
        Self { map }
    }
}

impl Deref for AlignedBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.map.as_deref().unwrap_or_default()
    }
}

impl DerefMut for AlignedBytes {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.map.as_deref_mut().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_and_bf16_are_what_ieee_says() {
        for (bits, wanted) in [(0x3c00, 1.0), (0xc000, -2.0), (0x7bff, 65504.0), (0x0001, 2f32.powi(-24)), (0x8000, -0.0)] {
            assert_eq!(from_f16(bits).to_bits(), f32::to_bits(wanted));
        }
        assert_eq!(from_f16(0x7c00), f32::INFINITY);
        assert!(from_f16(0xfe00).is_nan());
        // Half way: to the even one.
        for (bits, wanted) in
            [(0x3f80_8000, 0x3f80), (0x3f81_8000, 0x3f82), (0x3f80_8001, 0x3f81), (0x7f7f_ffff, 0x7f80), (0xff80_0000, 0xff80)]
        {
            assert_eq!(to_bf16(f32::from_bits(bits)), wanted);
        }
        assert!(f32::from_bits(u32::from(to_bf16(f32::from_bits(0x7f80_0001))) << 16).is_nan());
    }

    #[test]
    fn the_same_weights_give_the_same_bytes_whatever_they_were_stored_in() {
        for isa in Isa::available() {
            for precision in Precision::ALL {
                let layout = Layout::new(isa, precision, 37, 21);
                // Numbers that all three can hold.
                let exact: Vec<f32> = (0..37 * 21).map(|i| ((i * 7919) % 255) as f32 / 128.0 - 1.0).collect();
                let bf16: Vec<u16> = exact.iter().map(|&x| to_bf16(x)).collect();
                let f16: Vec<u16> = exact.iter().map(|&x| half(x)).collect();
                let packed = [Values::F32(&exact), Values::Bf16(&bf16), Values::F16(&f16)].map(|values| {
                    [1, 3].map(|threads| {
                        let mut bytes = AlignedBytes::new(layout.bytes());
                        bytes.fill(7);
                        pack(&Cores::new(threads, isa).unwrap(), layout, values, &mut bytes);
                        bytes.to_vec()
                    })
                });
                assert!(packed.iter().flatten().all(|bytes| *bytes == packed[0][0]), "{isa:?} {precision}");
            }
        }
    }

    #[test]
    fn what_is_packed_transposed_is_what_the_transpose_is_packed_as() {
        for isa in Isa::available() {
            let cores = Cores::new(2, isa).unwrap();
            for (precision, rows, out) in
                [Precision::F32, Precision::Bf16].into_iter().flat_map(|p| [(p, [3, 4], 5), (p, [16, 15], 33), (p, [7, 0], 64)])
            {
                let inner: usize = rows.iter().sum();
                let weight: Vec<f32> = (0..inner * out).map(|i| ((i * 7919) % 2003) as f32 / 1001.0 - 1.0).collect();
                let transposed: Vec<f32> = (0..out * inner).map(|i| weight[i % inner * out + i / inner]).collect();
                let layout = Layout::new(isa, precision, out, inner);
                let [mut found, mut wanted] = [7, 8].map(|fill| {
                    let mut bytes = AlignedBytes::new(layout.bytes());
                    bytes.fill(fill);
                    bytes
                });
                let (first, second) = weight.split_at(rows[0] * out);
                pack_transposed(&cores, layout, &[first, second], &mut found);
                pack(&cores, layout, Values::F32(&transposed), &mut wanted);
                assert!(found[..] == wanted[..], "{isa:?} {precision} {inner} x {out}");
            }
        }
    }

    #[test]
    fn packed_weights_tell_how_far_they_are_from_those_that_were_packed() {
        for isa in Isa::available() {
            let cores = Cores::new(1, isa).unwrap();
            let error = |precision, weight: &[f32]| {
                let layout = Layout::new(isa, precision, weight.len() / 50, 50);
                let mut bytes = AlignedBytes::new(layout.bytes());
                pack(&cores, layout, Values::F32(weight), &mut bytes);
                Packed::new(layout, &bytes).error(Values::F32(weight))
            };
            let weight: Vec<f32> = (0..50 * 37).map(|i| ((i * 7919) % 2003) as f32 / 1001.0 - 1.0).collect();
            assert_eq!(error(Precision::F32, &weight), 0.0);
            // Of bf16 at most half of 1 in 128, of int8 about a 12th of the square of a step: the sum of four of the greatest weights by 128.
            let (bf16, int8) = (error(Precision::Bf16, &weight), error(Precision::Int8, &weight));
            assert!((5e-4..4e-3).contains(&bf16) && (5e-3..2e-2).contains(&int8), "{isa:?} {bf16} {int8}");
            for precision in Precision::ALL {
                assert_eq!(error(precision, &[0.0; 100]), 0.0);
                assert!(error(precision, &[f32::NAN; 100]).is_nan());
            }
        }
    }

    /// Of numbers that a half holds.
    fn half(x: f32) -> u16 {
        let wanted = (0..=u16::MAX).find(|&bits| from_f16(bits).to_bits() == x.to_bits());
        wanted.unwrap()
    }

    #[test]
    fn precisions_have_names() {
        for precision in Precision::ALL {
            assert_eq!(precision.name().parse(), Ok(precision));
        }
        assert_eq!(Precision::from_str("f16").unwrap_err().to_string(), "`f16` is no precision; there are `f32`, `bf16` and `int8`");
    }
}
