//! Gradients of weights, `dW += dyᵀ · x`: sums over rows, in which both matrices lie as they are wanted.
//!
//! A task has some rows of dW and some of its columns, and takes all rows of dy and x, a piece of them at a time: of x it copies panels of two
//! registers, of dy tiles of as many columns as a tile of dW has rows, each row after the other, so that a tile reads two runs of memory.
//! The sums of a piece stay in registers and are added to dW. Pieces are as equal as can be, and the same for every matrix, so that a sum
//! depends neither on the number of threads nor on how dW is cut into tasks. Gradients of biases are summed from the rows that are about to
//! be copied.
//!
//! Where the machine multiplies words of two bf16 (`words.rs`) and they are asked for, a step is two rows: a word has a number of each, rounded.
use std::cell::RefCell;
use std::ops::Range;

use super::{Dot, DotKernel, Dots, Line, load, room, store};
use crate::cores::Shared;
use crate::simd::{Kernel, Simd};
use crate::{Cores, Precision};

/// Steps whose products are summed in registers, at most: a panel of them fills half of L1 and a little more, or of 16 lanes all of it.
const PIECE: usize = 320;
/// Rows and columns of dW that are one task at most: both copies stay in L2.
const MOST: [usize; 2] = [192, 256];
/// Where dW is cut for the sake of threads, at least.
const LEAST: usize = 48;
/// Numbers of dW of a task that is not cut for more than one task a thread.
const ENOUGH: usize = 96 * 192;
/// Rows that are copied for one tile after the other, so that their cache lines are still there for the next, while those after them are asked
/// for.
const COPIED: usize = 16;
/// Steps that are taken at once.
const STEPS: usize = 4;

/// The gradients of one of the weights whose products lie side by side ([`Part`](crate::Part)), to be added to.
#[derive(Debug)]
pub struct PartGradient<'a> {
    /// Rows of the weight.
    pub out: usize,
    /// `[out, inner]`, if it is wanted.
    pub weight: Option<&'a mut [f32]>,
    /// `[out]`, if it is wanted.
    pub bias: Option<&'a mut [f32]>,
}

/// `weight += dyᵀ · x` and `bias += sums of the columns of dy`, of each part with its columns. `dy` is `[rows, sum of the parts' out]`, `x` is
/// `[rows, inner]`; x is not looked at if no weight is wanted.
///
/// With [`Precision::Bf16`] numbers of dy and x are rounded to bf16 where the machine multiplies those; sums are f32 always.
///
/// # Panics
/// If a length does not fit.
pub fn weight_gradients(cores: &Cores, precision: Precision, dy: &[f32], x: &[f32], inner: usize, parts: &mut [PartGradient<'_>]) {
    let width = parts.iter().try_fold(0usize, |sum, part| sum.checked_add(part.out)).expect("as many columns as numbers can count");
    assert!(width > 0 && dy.len().is_multiple_of(width), "{} numbers are no rows of {width}", dy.len());
    let (rows, together) = (dy.len() / width, parts.iter().filter(|part| part.weight.is_some()).count());
    let mut offset = 0;
    let mut tasks = vec![];
    for part in parts {
        let wanted = part.weight.is_some();
        assert!(part.weight.as_ref().is_none_or(|w| Some(w.len()) == part.out.checked_mul(inner)), "a weight of {} x {inner}", part.out);
        assert!(part.bias.as_ref().is_none_or(|b| b.len() == part.out), "a bias of {}", part.out);
        assert!(!wanted || Some(x.len()) == rows.checked_mul(inner), "{rows} rows of {inner}");
        let inner = if wanted { inner } else { 0 };
        let weight = part.weight.as_mut().map(|weight| Shared::new(weight));
        let bias = part.bias.as_mut().map(|bias| Shared::new(bias));
        if weight.is_some() || bias.is_some() {
            let [down, across] = steps(cores, together.max(1), part.out, inner);
            for first in (0..part.out).step_by(down) {
                let rows = first..part.out.min(first + down);
                for column in (0..inner.max(1)).step_by(across) {
                    let columns = column..inner.min(column + across);
                    tasks.push(Task { offset, rows: rows.clone(), columns, weight, bias: bias.filter(|_| column == 0) });
                }
            }
        }
        offset += part.out;
    }
    cores.each(tasks.len(), |i| {
        SCRATCH.with_borrow_mut(|scratch| cores.isa().run(Run { precision, task: &tasks[i], dy, width, x, inner, rows, scratch }));
    });
}

/// How many rows and columns of a gradient `[out, inner]` are a task, if `parts` of the same rows are computed together.
///
/// Each row of a task costs a copy of a column of dy, and each column one of x: tasks are as large as L2 allows, but not fewer than two a thread,
/// and of small matrices one.
fn steps(cores: &Cores, parts: usize, out: usize, inner: usize) -> [usize; 2] {
    let units = [cores.isa().run(super::TileRows(Precision::F32)), cores.isa().panel()];
    let sizes = [out, inner];
    let mut pieces = [0, 1].map(|i: usize| sizes[i].div_ceil(MOST[i]).max(1));
    loop {
        let count = parts * pieces[0] * pieces[1];
        let [down, across] = [0, 1].map(|i| sizes[i] / pieces[i]);
        let wanted = if cores.threads() == 1 || down * across <= ENOUGH { cores.threads() } else { 2 * cores.threads() };
        // The longer side of a task.
        let side = usize::from(across >= down);
        if count >= wanted || sizes[side] / (pieces[side] + 1) < LEAST {
            break;
        }
        pieces[side] += 1;
    }
    [0, 1].map(|i| sizes[i].div_ceil(pieces[i]).next_multiple_of(units[i]).max(1))
}

/// Some rows and columns of one gradient.
struct Task {
    /// The first column of dy that is the part's.
    offset: usize,
    rows: Range<usize>,
    columns: Range<usize>,
    weight: Option<Shared>,
    bias: Option<Shared>,
}

thread_local! {
    /// What tasks keep for the next on their thread.
    static SCRATCH: RefCell<[Vec<Line>; 2]> = RefCell::default();
}

/// How rows are copied, and multiplied.
trait Steps<S: Simd> {
    /// Rows that are one step: a word has a number of each.
    const ROWS: usize;

    /// Words of the first `columns` columns, at most a register, and zeros; of rows that are `stride` apart, `rows` of a step's.
    ///
    /// # Safety
    /// As [`Simd`]; all that is there.
    unsafe fn words(from: *const f32, stride: usize, rows: usize, columns: usize) -> S::V;

    /// Copies the words of `columns` columns, at most as many as a tile has rows.
    ///
    /// # Safety
    /// As of `words`; there is room.
    unsafe fn copy(from: *const f32, stride: usize, rows: usize, columns: usize, to: *mut f32);

    /// Adds the products of words.
    ///
    /// # Safety
    /// As [`Simd`].
    unsafe fn multiply(dy: S::V, x: S::V, sum: S::V) -> S::V;
}

/// f32.
struct Single;

impl<S: Simd> Steps<S> for Single {
    const ROWS: usize = 1;

    #[inline(always)]
    unsafe fn words(from: *const f32, _stride: usize, _rows: usize, columns: usize) -> S::V {
        // SAFETY: the caller's promise.
        unsafe { if columns == S::LANES { S::load(from) } else { S::load_first(from, columns) } }
    }

    #[inline(always)]
    unsafe fn copy(from: *const f32, _stride: usize, _rows: usize, columns: usize, to: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { std::ptr::copy_nonoverlapping(from, to, columns) }
    }

    #[inline(always)]
    unsafe fn multiply(dy: S::V, x: S::V, sum: S::V) -> S::V {
        // SAFETY: the caller's promise.
        unsafe { S::fma(dy, x, sum) }
    }
}

/// Two bf16.
struct Double;

impl<S: Dot> Steps<S> for Double {
    const ROWS: usize = 2;

    #[inline(always)]
    unsafe fn words(from: *const f32, stride: usize, rows: usize, columns: usize) -> S::V {
        // SAFETY: the caller's promise.
        unsafe {
            let first = <Single as Steps<S>>::words(from, stride, 1, columns);
            S::word(first, if rows == 2 { <Single as Steps<S>>::words(from.add(stride), stride, 1, columns) } else { S::splat(0.0) })
        }
    }

    #[inline(always)]
    unsafe fn copy(from: *const f32, stride: usize, rows: usize, columns: usize, to: *mut f32) {
        // SAFETY: the caller's promise; where words of two are multiplied, tiles have fewer rows than registers have lanes.
        unsafe { S::store_first(to, columns, <Self as Steps<S>>::words(from, stride, rows, columns)) }
    }

    #[inline(always)]
    unsafe fn multiply(dy: S::V, x: S::V, sum: S::V) -> S::V {
        // SAFETY: the caller's promise.
        unsafe { S::dot(sum, dy, x) }
    }
}

struct Run<'a> {
    precision: Precision,
    task: &'a Task,
    dy: &'a [f32],
    width: usize,
    x: &'a [f32],
    inner: usize,
    rows: usize,
    scratch: &'a mut [Vec<Line>; 2],
}

impl Kernel for Run<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: the caller's promise.
        unsafe {
            match self.precision {
                Precision::Bf16 if S::Dots::exist() => S::Dots::run(self),
                _ => self.run_as::<S, Single>(),
            }
        }
    }
}

impl DotKernel for Run<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Dot>(self) {
        // SAFETY: the caller's promise.
        unsafe { self.run_as::<S, Double>() }
    }
}

impl Run<'_> {
    /// # Safety
    /// As [`Simd`]; `weight_gradients` checked all lengths, and no other task has these rows and columns of the gradient.
    #[inline(always)]
    unsafe fn run_as<S: Simd, F: Steps<S>>(self) {
        let Self { task, dy, width, x, inner, rows, scratch: [tiles, panels], .. } = self;
        let panel = 2 * S::LANES;
        let (down, across) = (task.rows.len(), task.columns.len());
        let tiles = room(tiles, down.next_multiple_of(S::ROWS) * PIECE * 4).cast::<f32>();
        let panels = room(panels, across.next_multiple_of(panel) * PIECE * 4).cast::<f32>();
        // A multiple of `STEPS` rows is whole steps of either kind.
        let piece = rows.div_ceil(rows.div_ceil(PIECE * F::ROWS).max(1)).next_multiple_of(STEPS).max(STEPS);
        for first in (0..rows).step_by(piece) {
            let len = piece.min(rows - first);
            let steps = len.div_ceil(F::ROWS);
            // SAFETY: the caller's promise; there is room.
            unsafe {
                let dy = dy.as_ptr().add(first * width + task.offset + task.rows.start);
                let x = task.weight.map(|_| x.as_ptr().add(first * inner + task.columns.start));
                for begin in (0..len).step_by(COPIED) {
                    let end = len.min(begin + COPIED);
                    // The rows after these lie far apart, so that the machine does not see them coming.
                    for row in end..end + COPIED {
                        fetch::<S>(dy.wrapping_add(row * width), down);
                        if let Some(x) = x {
                            fetch::<S>(x.wrapping_add(row * inner), across);
                        }
                    }
                    if let Some(bias) = task.bias {
                        add_rows::<S>(dy.add(begin * width), width, end - begin, down, bias.at(task.rows.start));
                    }
                    if let Some(x) = x {
                        copy_tiles::<S, F>(dy, width, begin..end, steps, down, tiles);
                        copy_panels::<S, F>(x, inner, begin..end, steps, across, panels);
                    }
                }
                let Some(weight) = task.weight else { continue };
                for column in (0..across).step_by(panel) {
                    for row in (0..down).step_by(S::ROWS) {
                        let to = weight.at((task.rows.start + row) * inner + task.columns.start + column);
                        let (count, columns) = (S::ROWS.min(down - row), panel.min(across - column));
                        let place = Place { to, stride: inner, columns };
                        by_rows::<S, F>(count, tiles.add(row * steps), panels.add(column * steps), steps, place);
                    }
                }
            }
        }
    }
}

/// Adds `len` rows of `columns` numbers, `stride` apart, to `sums`, one after the other.
///
/// # Safety
/// As [`Simd`]; all that is there.
#[inline(always)]
unsafe fn add_rows<S: Simd>(from: *const f32, stride: usize, len: usize, columns: usize, sums: *mut f32) {
    let mut column = 0;
    while column < columns {
        let count = (2 * S::LANES).min(columns - column);
        // SAFETY: the caller's promise.
        unsafe {
            let mut sum = [S::splat(0.0); 2];
            for row in 0..len {
                let [a, b] = load::<S>(from.add(row * stride + column), count);
                sum = [S::add(sum[0], a), S::add(sum[1], b)];
            }
            let [a, b] = load::<S>(sums.add(column), count);
            store::<S>(sums.add(column), count, [S::add(a, sum[0]), S::add(b, sum[1])]);
        }
        column += count;
    }
}

/// Asks for `columns` numbers, which need not be there.
///
/// # Safety
/// As [`Simd`].
#[inline(always)]
unsafe fn fetch<S: Simd>(from: *const f32, columns: usize) {
    for column in (0..columns).step_by(16) {
        // SAFETY: an address to fetch from need not be valid.
        unsafe { S::prefetch(from.wrapping_add(column)) };
    }
}

/// Columns of dy as `[tile][step][columns of the tile]`; the last tile may have fewer.
///
/// A register is copied where a tile has fewer numbers, which the next step overwrites: half as many instructions as exact copies, which
/// the last step of a tile has, and tiles behind which there is not as much.
///
/// # Safety
/// As [`add_rows`]; there is room, and `rows` begin with a step.
#[inline(always)]
unsafe fn copy_tiles<S: Simd, F: Steps<S>>(
    from: *const f32,
    stride: usize,
    rows: Range<usize>,
    steps: usize,
    columns: usize,
    to: *mut f32,
) {
    for column in (0..columns).step_by(S::ROWS) {
        let count = S::ROWS.min(columns - column);
        for row in rows.clone().step_by(F::ROWS) {
            let (step, rows) = (row / F::ROWS, F::ROWS.min(rows.end - row));
            // SAFETY: the caller's promise.
            unsafe {
                let (from, to) = (from.add(row * stride + column), to.add(column * steps + step * count));
                if S::ROWS <= S::LANES && column + S::LANES <= columns && step * S::ROWS + S::LANES <= steps * S::ROWS {
                    S::store(to, F::words(from, stride, rows, S::LANES));
                } else if count == S::ROWS {
                    F::copy(from, stride, rows, S::ROWS, to);
                } else {
                    F::copy(from, stride, rows, count, to);
                }
            }
        }
    }
}

/// Columns of x as `[panel][step][2 registers]`, zeros where the last panel has none.
///
/// # Safety
/// As [`copy_tiles`].
#[inline(always)]
unsafe fn copy_panels<S: Simd, F: Steps<S>>(
    from: *const f32,
    stride: usize,
    rows: Range<usize>,
    steps: usize,
    columns: usize,
    to: *mut f32,
) {
    let panel = 2 * S::LANES;
    for column in (0..columns).step_by(panel) {
        let count = panel.min(columns - column);
        for row in rows.clone().step_by(F::ROWS) {
            let (step, rows) = (row / F::ROWS, F::ROWS.min(rows.end - row));
            // SAFETY: the caller's promise.
            unsafe {
                let (from, to) = (from.add(row * stride + column), to.add(column * steps + step * panel));
                let words = if count == panel {
                    [F::words(from, stride, rows, S::LANES), F::words(from.add(S::LANES), stride, rows, S::LANES)]
                } else if count > S::LANES {
                    [F::words(from, stride, rows, S::LANES), F::words(from.add(S::LANES), stride, rows, count - S::LANES)]
                } else {
                    [F::words(from, stride, rows, count), S::splat(0.0)]
                };
                store::<S>(to, panel, words);
            }
        }
    }
}

/// Where a tile of the gradient is.
#[derive(Clone, Copy)]
struct Place {
    to: *mut f32,
    stride: usize,
    columns: usize,
}

/// # Safety
/// As [`tile`].
#[inline(always)]
unsafe fn by_rows<S: Simd, F: Steps<S>>(rows: usize, dy: *const f32, x: *const f32, steps: usize, place: Place) {
    macro_rules! tile {
        ($($rows:literal)*) => {
            match rows {
                // SAFETY: the caller's promise.
                $($rows if S::ROWS >= $rows => unsafe { tile::<S, F, $rows>(dy, x, steps, place) },)*
                _ => unreachable!("a tile has 1 to {} rows", S::ROWS),
            }
        };
    }
    tile!(1 2 3 4 5 6 7 8 9 10 11 12 13 14)
}

/// Adds the products of `steps` to `M` rows of the gradient. `dy` is `[steps, M]`, `x` is `[steps, panel]`.
///
/// # Safety
/// As [`Simd`]; all that is there.
#[inline(always)]
unsafe fn tile<S: Simd, F: Steps<S>, const M: usize>(mut dy: *const f32, mut x: *const f32, steps: usize, place: Place) {
    let panel = 2 * S::LANES;
    // SAFETY: the caller's promise.
    unsafe {
        for row in 0..M {
            S::prefetch(place.to.add(row * place.stride));
            S::prefetch(place.to.add(row * place.stride + place.columns - 1));
        }
        let mut sums = [[S::splat(0.0); 2]; M];
        for _ in 0..steps / STEPS {
            for k in 0..STEPS {
                step::<S, F, M>(dy.add(k * M), x.add(k * panel), &mut sums);
            }
            (dy, x) = (dy.add(STEPS * M), x.add(STEPS * panel));
        }
        for k in 0..steps % STEPS {
            step::<S, F, M>(dy.add(k * M), x.add(k * panel), &mut sums);
        }
        for (row, sums) in sums.into_iter().enumerate() {
            let to = place.to.add(row * place.stride);
            let [a, b] = load::<S>(to, place.columns);
            store::<S>(to, place.columns, [S::add(a, sums[0]), S::add(b, sums[1])]);
        }
    }
}

/// # Safety
/// As [`tile`].
#[inline(always)]
unsafe fn step<S: Simd, F: Steps<S>, const M: usize>(dy: *const f32, x: *const f32, sums: &mut [[S::V; 2]; M]) {
    // SAFETY: the caller's promise.
    unsafe {
        let x = [S::load(x), S::load(x.add(S::LANES))];
        for (row, sums) in sums.iter_mut().enumerate() {
            let dy = S::splat(*dy.add(row));
            *sums = [F::multiply(dy, x[0], sums[0]), F::multiply(dy, x[1], sums[1])];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{rounded, rounds_inputs};
    use super::*;
    use crate::Isa;

    fn numbers(n: usize, seed: usize) -> Vec<f32> {
        (0..n).map(|i| ((i * 7919 + seed * 104_729) % 2003) as f32 / 1001.0 - 1.0).collect()
    }

    /// Every instruction set with every precision that training has.
    fn all() -> impl Iterator<Item = (Isa, Precision)> {
        Isa::available().into_iter().flat_map(|isa| [(isa, Precision::F32), (isa, Precision::Bf16)])
    }

    #[test]
    fn gradients_of_every_shape_equal_the_plain_sum_and_are_added() {
        for (isa, precision) in all() {
            let rounds = precision == Precision::Bf16 && rounds_inputs(isa);
            for (rows, inner, outs) in [
                (1, 1, &[1][..]),
                (3, 7, &[5, 2]),
                (300, 33, &[17, 1, 6]),
                (513, 70, &[100]),
                (20, 290, &[300]),
                (600, 16, &[12]),
                (1301, 9, &[10]),
            ] {
                let width: usize = outs.iter().sum();
                let (dy, x) = (numbers(rows * width, 1), numbers(rows * inner, 2));
                for threads in [1, 2] {
                    let mut weights: Vec<_> = outs.iter().map(|&o| numbers(o * inner, o)).collect();
                    let mut biases: Vec<_> = outs.iter().map(|&o| numbers(o, o + 1)).collect();
                    let mut parts: Vec<_> = weights
                        .iter_mut()
                        .zip(&mut biases)
                        .zip(outs)
                        .map(|((w, b), &out)| PartGradient { out, weight: Some(w), bias: Some(b) })
                        .collect();
                    weight_gradients(&Cores::new(threads, isa).unwrap(), precision, &dy, &x, inner, &mut parts);
                    let factor = |x: f32| f64::from(if rounds { rounded(x) } else { x });
                    let mut offset = 0;
                    for ((weight, bias), &out) in weights.iter().zip(&biases).zip(outs) {
                        let (first, first_bias) = (numbers(out * inner, out), numbers(out, out + 1));
                        for o in 0..out {
                            let dy = |r: usize| dy[r * width + offset + o];
                            for i in 0..inner {
                                let sum: f64 = (0..rows).map(|r| factor(dy(r)) * factor(x[r * inner + i])).sum();
                                let wanted = sum + f64::from(first[o * inner + i]);
                                let found = f64::from(weight[o * inner + i]);
                                let off = (found - wanted).abs();
                                assert!(off < 1e-5 * (rows as f64).sqrt(), "{isa:?} {precision} {rows} {inner}: {found} {wanted}");
                            }
                            let wanted = (0..rows).map(dy).map(f64::from).sum::<f64>() + f64::from(first_bias[o]);
                            assert!((f64::from(bias[o]) - wanted).abs() < 1e-5 * (rows as f64).sqrt(), "{isa:?} {rows}");
                        }
                        offset += out;
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_not_wanted_is_left_out_and_threads_change_no_bit() {
        for (isa, precision) in all() {
            let (rows, inner, outs) = (700, 210, [200, 90, 40]);
            let (dy, x) = (numbers(rows * 330, 1), numbers(rows * inner, 2));
            let run = |threads, wanted: [[bool; 2]; 3]| {
                let mut all = outs.map(|out| (vec![0.5; out * inner], vec![0.5; out]));
                let mut parts: Vec<_> = all
                    .iter_mut()
                    .zip(outs)
                    .zip(wanted)
                    .map(|(((w, b), out), [weight, bias])| PartGradient {
                        out,
                        weight: Some(&mut w[..]).filter(|_| weight),
                        bias: Some(&mut b[..]).filter(|_| bias),
                    })
                    .collect();
                weight_gradients(&Cores::new(threads, isa).unwrap(), precision, &dy, &x, inner, &mut parts);
                all
            };
            let all = run(1, [[true; 2]; 3]);
            for threads in [2, 3, 7] {
                assert!(run(threads, [[true; 2]; 3]) == all, "{isa:?} {precision} {threads} threads");
            }
            let some = run(2, [[true, false], [false, true], [false, false]]);
            assert!(some[0].0 == all[0].0 && some[1].1 == all[1].1, "{isa:?} {precision}");
            assert!([&some[0].1, &some[1].0, &some[2].0, &some[2].1].into_iter().flatten().all(|&x| x == 0.5), "{isa:?} {precision}");
        }
    }
}
