//! Rows as they are stored, in f16 or f32: what decides between the candidates of a scan.
//!
//! Plain Rust, which compilers make registers of: a candidate is somewhere in memory, and waiting for it is what it costs. Sums are of 32
//! lanes, multiplied and then added, and the lanes added by halves: a product is the same on every instruction set.
use crate::Isa;
use crate::packed::from_f16;
use crate::simd::{Kernel, Simd};

/// Sums that are kept at once.
const LANES: usize = 32;

/// The product of a query with a row of f16.
///
/// # Panics
/// If their lengths differ.
pub fn dot_f16(isa: Isa, query: &[f32], row: &[u16]) -> f32 {
    assert_eq!(query.len(), row.len(), "numbers of a query and of a row");
    isa.run(Dot { query, row })
}

/// The product of a query with a row of f32.
///
/// # Panics
/// If their lengths differ.
pub fn dot_f32(isa: Isa, query: &[f32], row: &[f32]) -> f32 {
    assert_eq!(query.len(), row.len(), "numbers of a query and of a row");
    isa.run(Dot { query, row })
}

/// Numbers as f16: the nearest, of two the even one; what is too great is infinite.
///
/// # Panics
/// If their lengths differ.
pub fn to_f16_row(isa: Isa, x: &[f32], to: &mut [u16]) {
    assert_eq!(x.len(), to.len(), "numbers and room for them");
    isa.run(ToF16(x, to));
}

/// Numbers of f16 as f32, exactly.
///
/// # Panics
/// If their lengths differ.
pub fn from_f16_row(isa: Isa, x: &[u16], to: &mut [f32]) {
    assert_eq!(x.len(), to.len(), "numbers and room for them");
    isa.run(FromF16(x, to));
}

/// A number as it is stored.
trait Stored: Copy {
    fn number(self) -> f32;
}

impl Stored for f32 {
    #[inline(always)]
    fn number(self) -> f32 {
        self
    }
}

impl Stored for u16 {
    #[inline(always)]
    fn number(self) -> f32 {
        from_f16(self)
    }
}

struct Dot<'a, T> {
    query: &'a [f32],
    row: &'a [T],
}

impl<T: Stored> Kernel for Dot<'_, T> {
    type Output = f32;

    #[inline(always)]
    unsafe fn run<S: Simd>(self) -> f32 {
        let (queries, last_query) = self.query.as_chunks::<LANES>();
        let (rows, last_row) = self.row.as_chunks::<LANES>();
        let mut sums = [0.0; LANES];
        for (query, row) in queries.iter().zip(rows) {
            for i in 0..LANES {
                sums[i] += query[i] * row[i].number();
            }
        }
        for (sum, (query, row)) in sums.iter_mut().zip(last_query.iter().zip(last_row)) {
            *sum += query * row.number();
        }
        let mut half = LANES / 2;
        while half > 0 {
            for i in 0..half {
                sums[i] += sums[i + half];
            }
            half /= 2;
        }
        sums[0]
    }
}

struct ToF16<'a>(&'a [f32], &'a mut [u16]);

impl Kernel for ToF16<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        for (&x, to) in self.0.iter().zip(self.1) {
            *to = to_f16(x);
        }
    }
}

struct FromF16<'a>(&'a [u16], &'a mut [f32]);

impl Kernel for FromF16<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        for (&x, to) in self.0.iter().zip(self.1) {
            *to = from_f16(x);
        }
    }
}

/// The nearest f16, of two the even one.
#[inline(always)]
fn to_f16(x: f32) -> u16 {
    /// The least that is infinite in f16, of those that are no halfway: 65,520 rounds to it by itself.
    const INFINITE: u32 = 0x4780_0000;
    /// The least number with a whole mantissa in f16: 2⁻¹⁴.
    const NORMAL: u32 = 0x3880_0000;
    let bits = x.to_bits();
    let (sign, size) = ((bits >> 16 & 0x8000) as u16, bits & 0x7fff_ffff);
    // A step of small numbers is 2⁻²⁴: an addition that leaves no bits behind it rounds to whole steps.
    let small = (f32::from_bits(size) + 0.5).to_bits().wrapping_sub(0.5f32.to_bits()) as u16;
    // Half a step less a bit, and the bit if the last that is kept is odd; the exponent is 112 less.
    let normal = (size.wrapping_add(0x0fff + (size >> 13 & 1)).wrapping_sub(112 << 23) >> 13) as u16;
    let special = if size > 0x7f80_0000 { 0x7e00 } else { 0x7c00 };
    sign | if size >= INFINITE {
        special
    } else if size < NORMAL {
        small
    } else {
        normal
    }
}
