//! Exponentials and activations of many numbers at once, with bounds on their errors that the tests hold them to.
//!
//! | function | error against f64, over all finite inputs |
//! | --- | --- |
//! | two to the power of x (-126 .. 127; less is taken for -126) | 2e-7 relative, 3e-7 where a multiply-add is rounded twice |
//! | GELU by erf | 1e-6 · max(1, abs x) |
//! | GELU by tanh, quick GELU | 1e-6 · max(1, abs x) |
//! | tanh | 5e-7 |
//! | the slopes of all of them | 2e-6 |
//!
//! Two to the power of x: its nearest whole number goes into the exponent, the rest into a polynomial of degree 5 that is 1 at 0,
//! with the least greatest relative error there is (1e-7). What else is an exponential is a multiple of x in it; the product's
//! rounding grows with x, but so does what the rounding is held to. Φ of GELU is 1/2 + x · P(x²) / Q(x²), of degrees 5 and 4, with
//! the least greatest error (1e-7, by Lawson's weights), and x clamped at 5.2.
//!
//! Polynomials are summed in pairs: a core has room for the instructions of about four registers at a time, so that how long one
//! waits for another counts for more than how many there are.
//!
//! Cycles a number on a Zen 3 core, a copy of it included (`--example attention`), and before pairs: GELU 1.26, 1.60; by tanh 1.41,
//! 2.47; quick 1.14, 1.99; tanh 1.18, 1.92; ReLU 0.25.
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

/// Backward through an activation: `d` becomes `d · act'(x)`, and `x` becomes `act(x)`, which the weights behind it want.
///
/// # Panics
/// If they are not as long.
pub fn activate_backward(isa: Isa, act: Activation, x: &mut [f32], d: &mut [f32]) {
    assert_eq!(x.len(), d.len(), "numbers and their gradients");
    isa.run(Backward { act, x, d });
}

struct Backward<'a> {
    act: Activation,
    x: &'a mut [f32],
    d: &'a mut [f32],
}

impl Kernel for Backward<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: the caller's promise.
        unsafe {
            match self.act {
                Activation::Gelu => backward::<S, Gelu>(self.x, self.d),
                Activation::GeluTanh => backward::<S, GeluTanh>(self.x, self.d),
                Activation::QuickGelu => backward::<S, QuickGelu>(self.x, self.d),
                Activation::Relu => backward::<S, Relu>(self.x, self.d),
                Activation::Tanh => backward::<S, Tanh>(self.x, self.d),
            }
        }
    }
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

    /// The function, with the bits of `of`, and its derivative.
    ///
    /// # Safety
    /// As [`Simd`].
    unsafe fn with_slope<S: Simd>(x: S::V) -> [S::V; 2];
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

/// # Safety
/// As [`Simd`].
#[inline(always)]
unsafe fn backward<S: Simd, F: Function>(x: &mut [f32], d: &mut [f32]) {
    let whole = x.len() / S::LANES * S::LANES;
    let rest = x.len() - whole;
    let (x, d) = (x.as_mut_ptr(), d.as_mut_ptr());
    // SAFETY: all addresses are inside `x` and `d`, which are as long.
    unsafe {
        for i in (0..whole).step_by(S::LANES) {
            let [value, slope] = F::with_slope::<S>(S::load(x.add(i)));
            S::store(x.add(i), value);
            S::store(d.add(i), S::mul(S::load(d.add(i)), slope));
        }
        if rest > 0 {
            let [value, slope] = F::with_slope::<S>(S::load_first(x.add(whole), rest));
            S::store_first(x.add(whole), rest, value);
            S::store_first(d.add(whole), rest, S::mul(S::load_first(d.add(whole), rest), slope));
        }
    }
}

struct Gelu;
struct GeluTanh;
struct QuickGelu;
struct Relu;
struct Tanh;

impl Gelu {
    /// Φ.
    ///
    /// # Safety
    /// As [`Simd`].
    #[inline(always)]
    unsafe fn phi<S: Simd>(x: S::V) -> S::V {
        const P: [f32; 6] = [0.398_941_03, 0.062_992_38, 6.257_745e-3, 4.415_623e-4, 5.773_236e-6, -1.720_593_4e-8];
        const Q: [f32; 5] = [1.0, 0.324_550_1, 0.044_801_537, 3.417_560_7e-3, 1.489_917_9e-4];
        // SAFETY: the caller's promise.
        unsafe {
            let near = S::min(S::splat(5.2), S::max(S::splat(-5.2), x));
            let u = S::mul(near, near);
            let square = S::mul(u, u);
            let p = S::fma(pair::<S>(P[4], P[5], u), square, pair::<S>(P[2], P[3], u));
            let p = S::fma(p, square, pair::<S>(P[0], P[1], u));
            let q = S::fma(S::splat(Q[4]), square, pair::<S>(Q[2], Q[3], u));
            let q = S::fma(q, square, pair::<S>(Q[0], Q[1], u));
            S::fma(near, S::div(p, q), S::splat(0.5))
        }
    }
}

impl Function for Gelu {
    #[inline(always)]
    unsafe fn of<S: Simd>(x: S::V) -> S::V {
        // SAFETY: the caller's promise.
        unsafe { S::mul(x, Self::phi::<S>(x)) }
    }

    /// Φ + x · φ.
    #[inline(always)]
    unsafe fn with_slope<S: Simd>(x: S::V) -> [S::V; 2] {
        /// 1 / √2π.
        const DENSITY: f32 = 0.398_942_3;
        // SAFETY: the caller's promise.
        unsafe {
            let phi = Self::phi::<S>(x);
            // Beyond 13 the density is 0 for all that f32 can say; a NaN stays one.
            let near = S::min(S::splat(13.0), S::max(S::splat(-13.0), x));
            let power = exp2::<S>(S::mul(S::mul(near, near), S::splat(-0.5 * std::f32::consts::LOG2_E)));
            [S::mul(x, phi), S::fma(S::mul(near, power), S::splat(DENSITY), phi)]
        }
    }
}

impl GeluTanh {
    /// 1 + e^-2t: x/2 · (1 + tanh t) = x / (1 + e^-2t).
    ///
    /// # Safety
    /// As [`Simd`].
    #[inline(always)]
    unsafe fn divisor<S: Simd>(x: S::V) -> S::V {
        /// log2 e · √(8/π), and 0.044715 times that.
        const LINEAR: f32 = -2.302_208_2;
        const CUBIC: f32 = -0.102_943_24;
        // SAFETY: the caller's promise.
        unsafe { one_and_power::<S>(S::mul(x, S::fma(S::mul(x, x), S::splat(CUBIC), S::splat(LINEAR)))) }
    }
}

impl Function for GeluTanh {
    #[inline(always)]
    unsafe fn of<S: Simd>(x: S::V) -> S::V {
        // SAFETY: the caller's promise.
        unsafe { S::div(x, Self::divisor::<S>(x)) }
    }

    /// With s = 1 / (1 + e^-2t): s + x · s · (1 - s) · 2t'.
    #[inline(always)]
    unsafe fn with_slope<S: Simd>(x: S::V) -> [S::V; 2] {
        /// √(8/π), and three times 0.044715 of it.
        const LINEAR: f32 = 1.595_769;
        const SQUARE: f32 = 0.214_064_44;
        // SAFETY: the caller's promise.
        unsafe {
            let divisor = Self::divisor::<S>(x);
            let s = S::div(S::splat(1.0), divisor);
            // Where s is 0 or 1 the square is of no matter; it shall not be infinite, though.
            let near = S::min(S::splat(1e4), S::max(S::splat(-1e4), x));
            let inner = S::fma(S::mul(near, near), S::splat(SQUARE), S::splat(LINEAR));
            // 1 - s, without what is lost beside 1.
            let other = S::mul(S::sub(divisor, S::splat(1.0)), s);
            [S::div(x, divisor), S::fma(S::mul(S::mul(near, s), other), inner, s)]
        }
    }
}

impl Function for QuickGelu {
    #[inline(always)]
    unsafe fn of<S: Simd>(x: S::V) -> S::V {
        const FACTOR: f32 = -1.702 * std::f32::consts::LOG2_E;
        // SAFETY: the caller's promise.
        unsafe { S::div(x, one_and_power::<S>(S::mul(x, S::splat(FACTOR)))) }
    }

    /// With s = σ(1.702 x): s + 1.702 x · s · (1 - s).
    #[inline(always)]
    unsafe fn with_slope<S: Simd>(x: S::V) -> [S::V; 2] {
        const FACTOR: f32 = -1.702 * std::f32::consts::LOG2_E;
        // SAFETY: the caller's promise.
        unsafe {
            let divisor = one_and_power::<S>(S::mul(x, S::splat(FACTOR)));
            let s = S::div(S::splat(1.0), divisor);
            let near = S::min(S::splat(100.0), S::max(S::splat(-100.0), x));
            let other = S::mul(S::sub(divisor, S::splat(1.0)), s);
            [S::div(x, divisor), S::fma(S::mul(S::mul(near, s), other), S::splat(1.702), s)]
        }
    }
}

impl Function for Relu {
    #[inline(always)]
    unsafe fn of<S: Simd>(x: S::V) -> S::V {
        // SAFETY: the caller's promise.
        unsafe { S::max(S::splat(0.0), x) }
    }

    /// 1 above 0, else 0: what is above 0 is, twice enlarged, at least 1.
    #[inline(always)]
    unsafe fn with_slope<S: Simd>(x: S::V) -> [S::V; 2] {
        // SAFETY: the caller's promise.
        unsafe {
            let value = S::max(S::splat(0.0), x);
            let large = S::splat(f32::MAX);
            [value, S::min(S::splat(1.0), S::mul(S::min(large, S::mul(value, large)), large))]
        }
    }
}

impl Function for Tanh {
    #[inline(always)]
    unsafe fn of<S: Simd>(x: S::V) -> S::V {
        const FACTOR: f32 = -2.0 * std::f32::consts::LOG2_E;
        // SAFETY: the caller's promise.
        unsafe { S::sub(S::div(S::splat(2.0), one_and_power::<S>(S::mul(x, S::splat(FACTOR)))), S::splat(1.0)) }
    }

    /// 1 - tanh².
    #[inline(always)]
    unsafe fn with_slope<S: Simd>(x: S::V) -> [S::V; 2] {
        // SAFETY: the caller's promise.
        unsafe {
            let value = Self::of::<S>(x);
            [value, S::sub(S::splat(1.0), S::mul(value, value))]
        }
    }
}

/// `a + b · x`.
///
/// # Safety
/// As [`Simd`].
#[inline(always)]
unsafe fn pair<S: Simd>(a: f32, b: f32, x: S::V) -> S::V {
    // SAFETY: the caller's promise.
    unsafe { S::fma(S::splat(b), x, S::splat(a)) }
}

/// `1 + 2^x`; x is clamped to -126 .. 126.
///
/// # Safety
/// As [`Simd`].
#[inline(always)]
unsafe fn one_and_power<S: Simd>(x: S::V) -> S::V {
    // SAFETY: the caller's promise.
    unsafe { S::add(S::splat(1.0), exp2::<S>(S::min(S::splat(126.0), x))) }
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
        let square = S::mul(r, r);
        #[expect(clippy::approx_constant, reason = "the polynomial's own, near it")]
        let low = pair::<S>(1.0, 0.693_147, r);
        let high = S::fma(pair::<S>(0.009_671_513, 0.001_326_472_7, r), square, pair::<S>(0.240_222_42, 0.055_507_337, r));
        let p = S::fma(high, square, low);
        S::mul(p, S::exponent(rounded))
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
    fn slopes_keep_their_bound_and_come_with_the_same_values() {
        type Law = (Activation, fn(f64) -> f64);
        let laws: [Law; 5] = [
            (Activation::Gelu, |x| {
                0.5 * (1.0 + libm::erf(x / 2f64.sqrt())) + x * (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt()
            }),
            (Activation::GeluTanh, |x| {
                let c = (2.0 / std::f64::consts::PI).sqrt();
                let t = (c * (x + 0.044715 * x.powi(3))).tanh();
                0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * c * (1.0 + 3.0 * 0.044715 * x * x)
            }),
            (Activation::QuickGelu, |x| {
                let s = 1.0 / (1.0 + (-1.702 * x).exp());
                s + 1.702 * x * s * (1.0 - s)
            }),
            (Activation::Relu, |x| f64::from(u8::from(x > 0.0))),
            (Activation::Tanh, |x| 1.0 - x.tanh().powi(2)),
        ];
        for isa in Isa::available() {
            for (act, law) in laws {
                let mut x = grid();
                x.extend([1e-45, -1e-45, 1e-38, 3e38, -3e38, 0.0, -0.0]);
                let (mut y, mut values, mut d) = (x.clone(), x.clone(), vec![2.0; x.len()]);
                activate_backward(isa, act, &mut y, &mut d);
                activate(isa, act, &mut values);
                assert!(y.iter().zip(&values).all(|(a, b)| a.to_bits() == b.to_bits()), "{isa:?} {act:?}");
                for (&x, &d) in x.iter().zip(&d) {
                    let wanted = 2.0 * law(x.into());
                    assert!((f64::from(d) - wanted).abs() <= 4e-6, "{isa:?} {act:?} at {x}: {d} for {wanted}");
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
    fn powers_of_two_keep_their_bound() {
        struct Powers<'a>(&'a mut [f32]);
        impl Kernel for Powers<'_> {
            type Output = ();
            #[inline(always)]
            unsafe fn run<S: Simd>(self) {
                struct F;
                impl Function for F {
                    unsafe fn with_slope<S: Simd>(_x: S::V) -> [S::V; 2] {
                        unreachable!("only values are asked for")
                    }

                    #[inline(always)]
                    unsafe fn of<S: Simd>(x: S::V) -> S::V {
                        // SAFETY: the caller's promise.
                        unsafe { exp2::<S>(x) }
                    }
                }
                // SAFETY: the caller's promise.
                unsafe { map::<S, F>(self.0) }
            }
        }
        for isa in Isa::available() {
            let fused = !matches!(isa.name(), "scalar" | "wide");
            let bound = if fused { 2e-7 } else { 3e-7 };
            let x: Vec<f32> = grid().into_iter().filter(|x| (-126.0..127.0).contains(x)).collect();
            let mut y = x.clone();
            isa.run(Powers(&mut y));
            for (&x, &y) in x.iter().zip(&y) {
                let wanted = f64::from(x).exp2();
                assert!((f64::from(y) - wanted).abs() <= bound * wanted, "{isa:?}: two to the power of {x} gave {y}");
            }
        }
    }
}
