//! Backward through norms of rows, and rows that are added where an index says.
//!
//! A layer norm keeps nothing but what it was given: mean and variance are found again, which costs less than to read them would. Gradients of
//! gains and offsets are sums over rows; each piece of rows has its own, and those are added in their order, whatever thread made them.
use super::sum;
use crate::Cores;
use crate::cores::Shared;
use crate::simd::{Kernel, Simd};

/// Rows whose sums are made by one task.
const PIECE: usize = 64;

/// Where the gradients of a layer norm go; those that are not wanted are not there.
#[derive(Debug, Default)]
pub struct LayerNormGradients<'a> {
    /// Of what it was given, `[rows, width]`.
    pub x: Option<&'a mut [f32]>,
    /// Whether that is added to what is there; the others always are.
    pub add: bool,
    /// Of the gain, `[width]`.
    pub weight: Option<&'a mut [f32]>,
    /// Of the offset, `[width]`.
    pub bias: Option<&'a mut [f32]>,
}

/// Backward through `layer_norm`: with `n = (x - mean) / √(var + eps)` and `g = dy · weight`, each row's
/// `dx = (g - mean of g - n · mean of g · n) / √(var + eps)`; `dweight` is the sum of `dy · n`, `dbias` that of `dy` (Ba et al., arXiv
/// 1607.06450, differentiated). `x` and `dy` are `[rows, width]`, `weight` is `[width]`.
///
/// # Panics
/// If a length does not fit.
pub fn layer_norm_backward(cores: &Cores, x: &[f32], weight: &[f32], eps: f32, dy: &[f32], to: LayerNormGradients<'_>) {
    let width = weight.len();
    let LayerNormGradients { x: dx, add, weight: dweight, bias: dbias } = to;
    assert!(width > 0 && x.len() == dy.len() && x.len().is_multiple_of(width), "layer norm of width {width}");
    assert!(dx.as_ref().is_none_or(|dx| dx.len() == x.len()), "a gradient of {} numbers", x.len());
    assert!([&dweight, &dbias].into_iter().flatten().all(|d| d.len() == width), "gradients of width {width}");
    let pieces = (x.len() / width).div_ceil(PIECE);
    let wanted = dweight.is_some() || dbias.is_some();
    let mut partial = vec![0.0; if wanted { pieces * 2 * width } else { 0 }];
    let (sums, dx) = (Shared::new(&mut partial), dx.map(Shared::new));
    cores.each(pieces, |i| {
        let range = i * PIECE * width..x.len().min((i + 1) * PIECE * width);
        // SAFETY: both are as long as is checked above, and each part of them is one task's.
        let (sums, dx) = unsafe {
            let sums = wanted.then(|| std::slice::from_raw_parts_mut(sums.at(i * 2 * width), 2 * width));
            (sums, dx.map(|dx| std::slice::from_raw_parts_mut(dx.at(range.start), range.len())))
        };
        cores.isa().run(LayerNorm { x: &x[range.clone()], weight, eps, dy: &dy[range], dx, add, sums });
    });
    for (d, part) in [(dweight, 0), (dbias, 1)] {
        if let Some(d) = d {
            for sums in partial.chunks_exact(2 * width) {
                d.iter_mut().zip(&sums[part * width..]).for_each(|(d, sum)| *d += sum);
            }
        }
    }
}

struct LayerNorm<'a> {
    x: &'a [f32],
    weight: &'a [f32],
    eps: f32,
    dy: &'a [f32],
    dx: Option<&'a mut [f32]>,
    add: bool,
    /// `[2, width]`: of `dy · n` and of `dy`.
    sums: Option<&'a mut [f32]>,
}

impl Kernel for LayerNorm<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Self { x, weight, eps, dy, mut dx, add, mut sums } = self;
        let width = weight.len();
        let whole = width / S::LANES * S::LANES;
        let rest = width - whole;
        for (row, (x, dy)) in x.chunks_exact(width).zip(dy.chunks_exact(width)).enumerate() {
            // SAFETY: all are `width` long, and the sums twice that.
            unsafe {
                let mean = sum::<S, false>(x, 0.0) / width as f32;
                let scale = 1.0 / (sum::<S, true>(x, mean) / width as f32 + eps).sqrt();
                let norm =
                    Norm::<S> { x: x.as_ptr(), dy: dy.as_ptr(), weight: weight.as_ptr(), mean: S::splat(mean), scale: S::splat(scale) };
                let sums = sums.as_mut().map(|sums| [sums.as_mut_ptr(), sums.as_mut_ptr().add(width)]);
                let mut totals = [S::splat(0.0); 2];
                for i in (0..whole).step_by(S::LANES) {
                    totals = norm.gather(i, S::LANES, sums, totals);
                }
                if rest > 0 {
                    totals = norm.gather(whole, rest, sums, totals);
                }
                let Some(dx) = &mut dx else { continue };
                let [g, gn, ..] = S::sums([totals[0], totals[1], totals[0], totals[1]]);
                let means = [g, gn].map(|sum| S::splat(sum / width as f32));
                let dx = dx.as_mut_ptr().add(row * width);
                for i in (0..whole).step_by(S::LANES) {
                    norm.spread(i, S::LANES, means, add, dx);
                }
                if rest > 0 {
                    norm.spread(whole, rest, means, add, dx);
                }
            }
        }
    }
}

/// One row.
struct Norm<S: Simd> {
    x: *const f32,
    dy: *const f32,
    weight: *const f32,
    mean: S::V,
    scale: S::V,
}

impl<S: Simd> Norm<S> {
    /// `n`, `dy` and `g` of the numbers from `i` on, zeros but for `n` where there are fewer than a register.
    ///
    /// # Safety
    /// As [`Simd`]; they are there.
    #[inline(always)]
    unsafe fn values(&self, i: usize, count: usize) -> [S::V; 3] {
        // SAFETY: the caller's promise.
        unsafe {
            let [x, dy, weight] = [self.x, self.dy, self.weight].map(|at| first::<S>(at.add(i), count));
            [S::mul(S::sub(x, self.mean), self.scale), dy, S::mul(dy, weight)]
        }
    }

    /// Adds to the sums of `dy · n` and `dy`, and to those of `g` and `g · n` over the row.
    ///
    /// # Safety
    /// As `values`.
    #[inline(always)]
    unsafe fn gather(&self, i: usize, count: usize, sums: Option<[*mut f32; 2]>, totals: [S::V; 2]) -> [S::V; 2] {
        // SAFETY: the caller's promise.
        unsafe {
            let [n, dy, g] = self.values(i, count);
            if let Some([weight, bias]) = sums {
                put::<S>(weight.add(i), count, S::fma(dy, n, first::<S>(weight.add(i), count)));
                put::<S>(bias.add(i), count, S::add(dy, first::<S>(bias.add(i), count)));
            }
            [S::add(totals[0], g), S::fma(g, n, totals[1])]
        }
    }

    /// Writes the gradients of the numbers.
    ///
    /// # Safety
    /// As `values`.
    #[inline(always)]
    unsafe fn spread(&self, i: usize, count: usize, means: [S::V; 2], add: bool, dx: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe {
            let [n, _, g] = self.values(i, count);
            let mut d = S::mul(S::sub(S::sub(g, means[0]), S::mul(n, means[1])), self.scale);
            if add {
                d = S::add(first::<S>(dx.add(i), count), d);
            }
            put::<S>(dx.add(i), count, d);
        }
    }
}

/// A register, or the first `count` numbers of one.
///
/// # Safety
/// As [`Simd`].
#[inline(always)]
unsafe fn first<S: Simd>(at: *const f32, count: usize) -> S::V {
    // SAFETY: the caller's promise.
    unsafe { if count == S::LANES { S::load(at) } else { S::load_first(at, count) } }
}

/// # Safety
/// As [`first`].
#[inline(always)]
unsafe fn put<S: Simd>(at: *mut f32, count: usize, v: S::V) {
    // SAFETY: the caller's promise.
    unsafe { if count == S::LANES { S::store(at, v) } else { S::store_first(at, count, v) } }
}

/// Backward through `l2_normalize`: `d` becomes `(d - y · (d · y)) / length` of each row, with `y = x / length`. Both are `[rows, width]`, and `x` is
/// what was given to the norm.
///
/// # Panics
/// If a length does not fit.
pub fn l2_normalize_backward(x: &[f32], d: &mut [f32], width: usize) {
    assert!(width > 0 && x.len() == d.len() && x.len().is_multiple_of(width), "rows of width {width}");
    // One row an item: not worth registers.
    for (x, d) in x.chunks_exact(width).zip(d.chunks_exact_mut(width)) {
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
        let square = dot(x, x);
        let (along, inverse) = (dot(x, d) / square, 1.0 / square.sqrt());
        d.iter_mut().zip(x).for_each(|(d, &x)| *d = ((f64::from(*d) - f64::from(x) * along) * inverse) as f32);
    }
}

/// Row `index[i]` of `out` `[any, width]` gets row `i` of `rows` `[index.len(), width]` added, those of the same index in their order.
///
/// # Panics
/// If a length does not fit or a row is not there.
pub fn scatter_add(cores: &Cores, rows: &[f32], index: &[u32], width: usize, out: &mut [f32]) {
    assert!(width > 0 && Some(rows.len()) == index.len().checked_mul(width) && out.len().is_multiple_of(width), "rows of width {width}");
    let most = out.len() / width;
    assert!(index.iter().all(|&row| (row as usize) < most), "a row of {most}");
    let (tasks, shared) = (cores.threads(), Shared::new(out));
    cores.each(tasks, |task| {
        for (&row, from) in index.iter().zip(rows.chunks_exact(width)).filter(|(row, _)| **row as usize % tasks == task) {
            // SAFETY: the row is there, as is checked above, and no other task has it.
            let out = unsafe { std::slice::from_raw_parts_mut(shared.at(row as usize * width), width) };
            out.iter_mut().zip(from).for_each(|(out, x)| *out += x);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Isa;

    fn numbers(n: usize, seed: usize) -> Vec<f32> {
        (0..n).map(|i| ((i * 7919 + 13 * seed) % 1000) as f32 / 250.0 - 2.0).collect()
    }

    #[test]
    fn the_gradient_of_a_layer_norm_equals_its_definition_at_every_width() {
        for isa in Isa::available() {
            for (rows, width) in (1..36).map(|width| (3, width)).chain([(200, 48), (64, 768), (65, 100)]) {
                let (x, dy, weight) = (numbers(rows * width, 1), numbers(rows * width, 5), numbers(width, 3));
                let run = |threads, add| {
                    let (mut dx, mut dweight, mut dbias) = (vec![1.0; x.len()], vec![1.0; width], vec![1.0; width]);
                    let to = LayerNormGradients { x: Some(&mut dx), add, weight: Some(&mut dweight), bias: Some(&mut dbias) };
                    layer_norm_backward(&Cores::new(threads, isa).unwrap(), &x, &weight, 1e-5, &dy, to);
                    (dx, dweight, dbias)
                };
                let (dx, dweight, dbias) = run(1, false);
                let (added, ..) = run(1, true);
                assert!(run(3, false) == (dx.clone(), dweight.clone(), dbias.clone()), "{isa:?} threads at width {width}");
                let (mut gain, mut offset) = (vec![1.0; width], vec![1.0; width]);
                for row in 0..rows {
                    let [x, dy] = [&x, &dy].map(|of| of[row * width..][..width].iter().map(|&x| f64::from(x)).collect::<Vec<_>>());
                    let n = width as f64;
                    let mean = x.iter().sum::<f64>() / n;
                    let scale = 1.0 / (x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n + 1e-5).sqrt();
                    let norm: Vec<f64> = x.iter().map(|x| (x - mean) * scale).collect();
                    let g: Vec<f64> = dy.iter().zip(&weight).map(|(d, &w)| d * f64::from(w)).collect();
                    let mean_g = g.iter().sum::<f64>() / n;
                    let mean_gn = g.iter().zip(&norm).map(|(g, n)| g * n).sum::<f64>() / n;
                    for i in 0..width {
                        gain[i] += dy[i] * norm[i];
                        offset[i] += dy[i];
                        let wanted = scale * (g[i] - mean_g - norm[i] * mean_gn);
                        let at = row * width + i;
                        // A row of one number has no variance, and divides by the root of eps.
                        let most = 2e-6 * scale.max(1.0) * 4.0;
                        assert!((f64::from(dx[at]) - wanted).abs() < most, "{isa:?} width {width}: {} for {wanted}", dx[at]);
                        assert!((f64::from(added[at]) - wanted - 1.0).abs() < most, "{isa:?} width {width}");
                    }
                }
                for i in 0..width {
                    let most = 1e-5 * (rows as f64);
                    assert!((f64::from(dweight[i]) - gain[i]).abs() < most && (f64::from(dbias[i]) - offset[i]).abs() < most, "{isa:?}");
                }
            }
        }
    }

    #[test]
    fn what_is_not_wanted_of_a_layer_norm_is_left_out() {
        let cores = Cores::new(1, Isa::best()).unwrap();
        let (x, dy, weight) = (numbers(90, 1), numbers(90, 2), numbers(9, 3));
        let (mut all, mut weights, mut alone) = (vec![0.0; 90], vec![0.0; 9], vec![0.0; 90]);
        let to = LayerNormGradients { x: Some(&mut all), weight: Some(&mut weights), ..Default::default() };
        layer_norm_backward(&cores, &x, &weight, 1e-5, &dy, to);
        layer_norm_backward(&cores, &x, &weight, 1e-5, &dy, LayerNormGradients { x: Some(&mut alone), ..Default::default() });
        assert_eq!(all, alone);
        let mut bias = vec![0.0; 9];
        layer_norm_backward(&cores, &x, &weight, 1e-5, &dy, LayerNormGradients { bias: Some(&mut bias), ..Default::default() });
        assert!(bias.iter().zip(&weights).all(|(a, b)| a != b && *a != 0.0));
    }

    #[test]
    fn the_gradient_of_a_division_by_the_length_is_across_the_row() {
        let (x, d) = (numbers(3 * 17, 1), numbers(3 * 17, 2));
        let mut dx = d.clone();
        l2_normalize_backward(&x, &mut dx, 17);
        for ((x, d), dx) in x.chunks(17).zip(d.chunks(17)).zip(dx.chunks(17)) {
            let [x, d, dx] = [x, d, dx].map(|row| row.iter().map(|&x| f64::from(x)).collect::<Vec<_>>());
            let length = x.iter().map(|x| x * x).sum::<f64>().sqrt();
            assert!(x.iter().zip(&dx).map(|(x, dx)| x * dx).sum::<f64>().abs() < 1e-5);
            // Along any direction the difference of the loss is what the gradient says.
            let loss = |x: &[f64]| {
                let length = x.iter().map(|x| x * x).sum::<f64>().sqrt();
                x.iter().zip(&d).map(|(x, d)| x / length * d).sum::<f64>()
            };
            let step = 1e-6 * length;
            for i in [0, 7, 16] {
                let moved = |by: f64| x.iter().enumerate().map(|(j, &x)| if i == j { x + by } else { x }).collect::<Vec<_>>();
                let slope = (loss(&moved(step)) - loss(&moved(-step))) / (2.0 * step);
                assert!((slope - dx[i]).abs() < 1e-5, "{slope} {}", dx[i]);
            }
        }
    }

    #[test]
    fn rows_are_added_where_their_index_says_in_their_order() {
        let index = [3, 0, 3, 1, 3, 0];
        let rows = numbers(6 * 5, 4);
        for threads in [1, 2, 3] {
            let mut out = vec![1.0; 4 * 5];
            scatter_add(&Cores::new(threads, Isa::best()).unwrap(), &rows, &index, 5, &mut out);
            let mut wanted = vec![1.0f32; 4 * 5];
            for (&to, row) in index.iter().zip(rows.chunks(5)) {
                wanted[to as usize * 5..][..5].iter_mut().zip(row).for_each(|(w, x)| *w += x);
            }
            assert_eq!(out, wanted);
        }
    }
}
