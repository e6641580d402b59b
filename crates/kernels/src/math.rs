//! Exponentials and activations of many numbers at once, with bounds on their errors that the tests hold them to.
//!
//! | function | error against f64, over all finite inputs |
//! | --- | --- |
//! | `exp` (inputs in -87 .. 88, others clamped) | 2e-7 relative |
//! | GELU by erf | 1e-6 · max(1, abs x) |
//! | GELU by tanh, quick GELU | 1e-6 · max(1, abs x) |
//! | tanh | 5e-7 |
//!
//! `exp`: Cephes' polynomial after reduction by ln 2 in two parts. `erf`: the rational function of Eigen's and XLA's
//! single-precision `erf`, odd over even in x, clamped at 4.
use crate::Isa;
use crate::simd::{Kernel, Simd};

/// An activation, applied to each number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `x · Φ(x)`, by erf.
    Gelu,
    /// GELU's tanh approximation.
    GeluTanh,
    /// `x · σ(1.702 x)`.
    QuickGelu,
    /// `max(x, 0)`; a NaN stays one.
    Relu,
    /// Hyperbolic tangent.
    Tanh,
}

/// Applies an activation to each number of `x`.
pub fn activate(isa: Isa, act: Activation, x: &mut [f32]) {
    isa.run(Activate { act, x });
}

pub(crate) struct Activate<'a> {
    pub(crate) act: Activation,
    pub(crate) x: &'a mut [f32],
}

impl Kernel for Activate<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: the caller's promise.
        unsafe {
            match self.act {
                Activation::Gelu => map::<S, Gelu>(self.x),
                Activation::GeluTanh => map::<S, GeluTanh>(self.x),
                Activation::QuickGelu => map::<S, QuickGelu>(self.x),
                Activation::Relu => map::<S, Relu>(self.x),
                Activation::Tanh => map::<S, Tanh>(self.x),
            }
        }
    }
}

/// A function of one number, several at a time.
trait Function {
    /// # Safety
    /// As [`Simd`].
    unsafe fn of<S: Simd>(x: S::V) -> S::V;
}

/// # Safety
/// As [`Simd`].
#[inline(always)]
unsafe fn map<S: Simd, F: Function>(x: &mut [f32]) {
    let (at, whole) = (x.as_mut_ptr(), x.len() / S::LANES * S::LANES);
    let rest = x.len() - whole;
    // SAFETY: all addresses are inside `x`.
    unsafe {
        for i in (0..whole).step_by(S::LANES) {
            S::store(at.add(i), F::of::<S>(S::load(at.add(i))));
        }
        if rest > 0 {
            S::store_first(at.add(whole), rest, F::of::<S>(S::load_first(at.add(whole), rest)));
        }
    }
}

struct Gelu;
struct GeluTanh;
struct QuickGelu;
struct Relu;
struct Tanh;

impl Function for Gelu {
    #[inline(always)]
    unsafe fn of<S: Simd>(x: S::V) -> S::V {
        // SAFETY: the caller's promise.
        unsafe {
            let erf = erf::<S>(S::mul(x, S::splat(std::f32::consts::FRAC_1_SQRT_2)));
            let half = S::mul(x, S::splat(0.5));
            S::fma(half, erf, half)
        }
    }
}

impl Function for GeluTanh {
    #[inline(always)]
    unsafe fn of<S: Simd>(x: S::V) -> S::V {
        // x/2 · (1 + tanh t) = x · σ(2 t).
        // SAFETY: the caller's promise.
        unsafe {
            let cubic = S::fma(S::mul(x, x), S::splat(0.044_715), S::splat(1.0));
            let twice = S::mul(S::mul(x, cubic), S::splat(1.595_769));
            S::mul(x, sigmoid::<S>(twice))
        }
    }
}

impl Function for QuickGelu {
    #[inline(always)]
    unsafe fn of<S: Simd>(x: S::V) -> S::V {
        // SAFETY: the caller's promise.
        unsafe { S::mul(x, sigmoid::<S>(S::mul(x, S::splat(1.702)))) }
    }
}

impl Function for Relu {
    #[inline(always)]
    unsafe fn of<S: Simd>(x: S::V) -> S::V {
        // SAFETY: the caller's promise.
        unsafe { S::max(S::splat(0.0), x) }
    }
}

impl Function for Tanh {
    #[inline(always)]
    unsafe fn of<S: Simd>(x: S::V) -> S::V {
        // SAFETY: the caller's promise.
        unsafe { S::fma(S::splat(2.0), sigmoid::<S>(S::add(x, x)), S::splat(-1.0)) }
    }
}

/// `1 / (1 + e^-x)`.
///
/// # Safety
/// As [`Simd`].
#[inline(always)]
unsafe fn sigmoid<S: Simd>(x: S::V) -> S::V {
    // SAFETY: the caller's promise.
    unsafe { S::div(S::splat(1.0), S::add(S::splat(1.0), exp::<S>(S::sub(S::splat(0.0), x)))) }
}

/// # Safety
/// As [`Simd`].
#[inline(always)]
pub(crate) unsafe fn exp<S: Simd>(x: S::V) -> S::V {
    /// 1.5 · 2²³ + 127: added to a number below 2²², the low bits are that number, rounded, as an exponent.
    const ROUND: f32 = 12_583_039.0;
    // SAFETY: the caller's promise.
    unsafe {
        // A NaN passes through: the second operand of both is what stays.
        let x = S::min(S::splat(88.0), S::max(S::splat(-87.0), x));
        let rounded = S::fma(x, S::splat(std::f32::consts::LOG2_E), S::splat(ROUND));
        let n = S::sub(rounded, S::splat(ROUND));
        let r = S::fma(n, S::splat(-0.693_359_4), x);
        let r = S::fma(n, S::splat(2.121_944_4e-4), r);
        let p = S::splat(1.987_569_1e-4);
        let p = S::fma(p, r, S::splat(1.398_2e-3));
        let p = S::fma(p, r, S::splat(8.333_452e-3));
        let p = S::fma(p, r, S::splat(4.166_579_6e-2));
        let p = S::fma(p, r, S::splat(0.166_666_66));
        let p = S::fma(p, r, S::splat(0.5));
        let p = S::fma(p, S::mul(r, r), r);
        S::mul(S::add(p, S::splat(1.0)), S::exponent(rounded))
    }
}

/// Two to the power of x, at most 127; what is less than -126 is taken for that.
///
/// # Safety
/// As [`Simd`].
#[inline(always)]
pub(crate) unsafe fn exp2<S: Simd>(x: S::V) -> S::V {
    /// 1.5 · 2²³ + 127: added to a number below 2²², the low bits are that number, rounded, as an exponent.
    const ROUND: f32 = 12_583_039.0;
    // SAFETY: the caller's promise.
    unsafe {
        // A NaN passes through: the second operand is what stays.
        let x = S::max(S::splat(-126.0), x);
        let rounded = S::add(x, S::splat(ROUND));
        let r = S::sub(x, S::sub(rounded, S::splat(ROUND)));
        // Not one long chain: the sums of pairs wait for nothing but r.
        let square = S::mul(r, r);
        let high = S::fma(S::splat(0.001_326_472_7), r, S::splat(0.009_671_513));
        let middle = S::fma(S::splat(0.055_507_337), r, S::splat(0.240_222_42));
        #[expect(clippy::approx_constant, reason = "the polynomial's own, near it")]
        let low = S::fma(S::splat(0.693_147), r, S::splat(1.0));
        let p = S::fma(S::fma(high, square, middle), square, low);
        S::mul(p, S::exponent(rounded))
    }
}

/// # Safety
/// As [`Simd`].
#[inline(always)]
unsafe fn erf<S: Simd>(x: S::V) -> S::V {
    const ODD: [f32; 7] = [-2.726_142_3e-10, 2.770_681_4e-8, -2.101_024e-6, -5.692_506_4e-5, -7.349_906_3e-4, -2.954_6e-3, -1.609_603_3e-2];
    const EVEN: [f32; 5] = [-1.456_607_2e-5, -2.133_740_5e-4, -1.682_827e-3, -7.373_329_2e-3, -1.426_473_9e-2];
    // SAFETY: the caller's promise.
    unsafe {
        let x = S::min(S::splat(4.0), S::max(S::splat(-4.0), x));
        let square = S::mul(x, x);
        let mut odd = S::splat(ODD[0]);
        for c in &ODD[1..] {
            odd = S::fma(odd, square, S::splat(*c));
        }
        let mut even = S::splat(EVEN[0]);
        for c in &EVEN[1..] {
            even = S::fma(even, square, S::splat(*c));
        }
        S::div(S::mul(x, odd), even)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers from -100 to 100, dense about zero.
    fn grid() -> Vec<f32> {
        let half = (0..200_000).map(|i| 100.0 * (i as f32 / 200_000.0).powi(3));
        half.clone().chain(half.map(|x| -x)).collect()
    }

    #[test]
    fn activations_keep_their_bounds_on_every_instruction_set() {
        type Law = (Activation, fn(f64) -> f64, f64);
        let laws: [Law; 5] = [
            (Activation::Gelu, |x| 0.5 * x * (1.0 + libm::erf(x / 2f64.sqrt())), 1e-6),
            (Activation::GeluTanh, |x| 0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh()), 1e-6),
            (Activation::QuickGelu, |x| x / (1.0 + (-1.702 * x).exp()), 1e-6),
            (Activation::Relu, |x| x.max(0.0), 0.0),
            (Activation::Tanh, f64::tanh, 5e-7),
        ];
        for isa in Isa::available() {
            for (act, law, bound) in laws {
                let (x, mut y) = (grid(), grid());
                activate(isa, act, &mut y);
                for (&x, &y) in x.iter().zip(&y) {
                    let x = f64::from(x);
                    let error = (f64::from(y) - law(x)).abs();
                    assert!(error <= bound * x.abs().max(1.0), "{isa:?} {act:?} of {x}: {error:e}");
                }
            }
        }
    }

    #[test]
    fn a_nan_stays_one_and_no_other_number_changes() {
        for isa in Isa::available() {
            for act in [Activation::Gelu, Activation::GeluTanh, Activation::QuickGelu, Activation::Relu, Activation::Tanh] {
                for n in [1, 7, 8, 9, 33] {
                    let mut x = vec![1.0; n];
                    x[n / 2] = f32::NAN;
                    activate(isa, act, &mut x);
                    assert!(x.iter().enumerate().all(|(i, x)| x.is_nan() == (i == n / 2)), "{isa:?} {act:?}");
                }
            }
        }
    }

    #[test]
    fn exp_keeps_its_bound() {
        struct Exp<'a>(&'a mut [f32]);
        impl Kernel for Exp<'_> {
            type Output = ();
            #[inline(always)]
            unsafe fn run<S: Simd>(self) {
                struct F;
                impl Function for F {
                    #[inline(always)]
                    unsafe fn of<S: Simd>(x: S::V) -> S::V {
                        // SAFETY: the caller's promise.
                        unsafe { exp::<S>(x) }
                    }
                }
                // SAFETY: the caller's promise.
                unsafe { map::<S, F>(self.0) }
            }
        }
        for isa in Isa::available() {
            let x: Vec<f32> = grid().into_iter().filter(|x| (-87.0..88.0).contains(x)).collect();
            let mut y = x.clone();
            isa.run(Exp(&mut y));
            for (&x, &y) in x.iter().zip(&y) {
                let wanted = f64::from(x).exp();
                assert!((f64::from(y) - wanted).abs() <= 2e-7 * wanted, "{isa:?}: exp {x} gave {y}");
            }
        }
    }
}
