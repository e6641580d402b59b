//! The sums of a tile of int8: a few rows of inputs (bytes without sign) times a panel of weights (bytes with sign), in i32.
//!
//! Without an instruction for it, bytes are multiplied in two steps: `vpmaddubsw` adds two products in 16 bits, `vpmaddwd` by ones
//! widens two of those sums to 32. Since the weights are such that four products fit 16 bits (`weights.rs`), two `vpmaddubsw` are
//! added before one `vpmaddwd`: three multiplications for 64 products in place of four. `vpdpbusd` (VNNI) does 32 in one. The
//! integers are the same, so that VNNI is not an instruction set of its own: a tile uses it where the machine has it.
//!
//! Tried on a Zen 3 core, products a cycle, where a loop of nothing but registers reaches 38.7 (42.7 by the book; an addition now and
//! then takes the place of a multiplication): tiles of 3 rows of 16 channels 36.0, whole products of 1576 rows, 768 to 4096 long; of 4
//! rows 35.0, since a sum and a constant leave their registers; of 2 rows 31.6 to 34.4. To cut the inner dimension costs 3 to 8 %: a panel
//! longer than L1 comes from L2 in time. With 12 rows, weights from memory, 34 with what comes next asked for ahead, 27 without.
//! Four `vpmaddubsw` before one `vpmaddwd`: 44.2 by registers alone, but 37.1 where this had 37.6 in the same tile, for which there
//! are too few registers, and weights half as exact.
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;
use std::hint::black_box;

/// Part of the inner dimension of a tile.
#[derive(Clone, Copy)]
pub(crate) struct Bytes {
    /// The first input to multiply of the first row; rows are `stride` bytes apart.
    pub(super) x: *const u8,
    pub(super) stride: usize,
    /// `[len / 4][channels][4]`.
    pub(super) panel: *const i8,
    /// A multiple of 8.
    pub(super) len: usize,
    /// `[rows][channels]`.
    pub(super) sums: *mut i32,
    /// Whether to add to what is there.
    pub(super) add: bool,
    /// What will be read soon, and how many bytes of it to ask for with every 8 of `len`.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "for the tiles of x86-64"))]
    pub(super) ahead: *const u8,
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "for the tiles of x86-64"))]
    pub(super) step: usize,
}

/// How an instruction set multiplies tiles.
pub(crate) trait Tile {
    /// Rows of a tile at most.
    const ROWS: usize;

    /// `sums = x · wᵀ`, of `M` rows with a panel.
    ///
    /// # Safety
    /// The machine must have the instruction set; all addresses but `ahead` are valid, and nothing else uses those of `sums`.
    unsafe fn tile<const M: usize>(bytes: Bytes);

    /// What a tile does in `steps` groups of 8, with weights and sums that stay in registers: how many multiplications and additions that were.
    ///
    /// # Safety
    /// The machine must have the instruction set.
    unsafe fn registers(steps: usize) -> usize;
}

/// The instructions of a tile.
///
/// # Safety
/// Of every function: the machine must have the instruction set, and the caller its features. Addresses must be valid.
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "for the tiles of x86-64"))]
trait Lanes {
    /// A register of sums.
    type Sums: Copy;
    /// A register of bytes, 4 for each sum.
    type Bytes: Copy;
    const LANES: usize;

    unsafe fn zero() -> Self::Sums;
    unsafe fn load(at: *const i32) -> Self::Sums;
    unsafe fn store(at: *mut i32, sums: Self::Sums);
    /// 4 weights for each lane.
    unsafe fn weights(at: *const i8) -> Self::Bytes;
    /// 4 inputs, the same for all lanes.
    unsafe fn inputs(at: *const u8) -> Self::Bytes;
    /// `sums + x[0] · w[0] + x[1] · w[1]`: 8 products for each lane.
    unsafe fn dot(sums: Self::Sums, x: [Self::Bytes; 2], w: [Self::Bytes; 2]) -> Self::Sums;
    /// Asks for a cache line, whose address need not be valid.
    unsafe fn prefetch(at: *const u8);
}

/// # Safety
/// As [`Tile::tile`], and the caller must have the features of `L`.
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "for the tiles of x86-64"))]
#[inline(always)]
unsafe fn tile<L: Lanes, const M: usize>(bytes: Bytes) {
    let Bytes { x, stride, panel, len, sums, add, ahead, step } = bytes;
    let width = 2 * L::LANES;
    // SAFETY: the caller's promise.
    unsafe {
        let xs: [*const u8; M] = std::array::from_fn(|i| x.add(i * stride));
        let mut totals = [[L::zero(); 2]; M];
        if add {
            totals = std::array::from_fn(|i| std::array::from_fn(|j| L::load(sums.add(i * width + j * L::LANES))));
        }
        for group in 0..len / 8 {
            let k = 8 * group;
            L::prefetch(ahead.wrapping_add(group * step));
            if step > 64 {
                L::prefetch(ahead.wrapping_add(group * step + 64));
            }
            let w: [[L::Bytes; 2]; 2] =
                std::array::from_fn(|j| std::array::from_fn(|half| L::weights(panel.add((k + 4 * half) * width + 4 * j * L::LANES))));
            for (xs, totals) in xs.iter().zip(&mut totals) {
                let x = [L::inputs(xs.add(k)), L::inputs(xs.add(k + 4))];
                *totals = [L::dot(totals[0], x, w[0]), L::dot(totals[1], x, w[1])];
            }
        }
        for (i, totals) in totals.into_iter().enumerate() {
            for (j, totals) in totals.into_iter().enumerate() {
                L::store(sums.add(i * width + j * L::LANES), totals);
            }
        }
    }
}

/// # Safety
/// As [`Tile::registers`], and the caller must have the features of `L`.
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "for the tiles of x86-64"))]
#[inline(always)]
unsafe fn registers<L: Lanes, const M: usize>(steps: usize) -> usize {
    let (x, w) = ([3; 4], [1; 64]);
    // SAFETY: the caller's promise; there are four inputs, and weights for a register.
    unsafe {
        let w: [[L::Bytes; 2]; 2] = std::array::from_fn(|_| std::array::from_fn(|_| L::weights(black_box(w.as_ptr()))));
        let mut totals = [[L::zero(); 2]; M];
        for _ in 0..steps {
            for totals in &mut totals {
                // Read anew, from where the compiler does not know, so that it multiplies them again; no port that multiplies does that.
                let x = [L::inputs(black_box(x.as_ptr())), L::inputs(black_box(x.as_ptr()))];
                *totals = [L::dot(totals[0], x, w[0]), L::dot(totals[1], x, w[1])];
            }
        }
        let mut sums = [0; 16];
        for total in totals.into_iter().flatten() {
            L::store(sums.as_mut_ptr(), total);
            black_box(&sums);
        }
    }
    steps * M * 2 * L::LANES * 8 * 2
}

/// Plain Rust, and what the compiler makes of it.
pub(crate) struct Plain<const LANES: usize>;

/// Products that plain Rust multiplies together: two of each of four lanes.
const TOGETHER: usize = 16;

/// Two products for each sum, first in 16 bits: loops over arrays of one length, so that the compiler sees what to do at once.
#[inline(always)]
fn add_products(sums: &mut [i32; TOGETHER], x: &[[i16; TOGETHER]; 2], w: (&[i8; TOGETHER], &[i8; TOGETHER])) {
    let mut products = [0; TOGETHER];
    for i in 0..TOGETHER {
        products[i] = x[0][i] * i16::from(w.0[i]) + x[1][i] * i16::from(w.1[i]);
    }
    for i in 0..TOGETHER {
        sums[i] += i32::from(products[i]);
    }
}

impl<const LANES: usize> Plain<LANES> {
    /// Row by row, compiled once for any number of them.
    ///
    /// # Safety
    /// As [`Tile::tile`].
    unsafe fn rows(rows: usize, bytes: Bytes) {
        let Bytes { x, stride, panel, len, sums, add, .. } = bytes;
        let width = 2 * LANES;
        for row in 0..rows {
            // SAFETY: the caller's promise.
            let (x, panel, sums) = unsafe {
                let panel = std::slice::from_raw_parts(panel, len * width);
                (std::slice::from_raw_parts(x.add(row * stride), len), panel, std::slice::from_raw_parts_mut(sums.add(row * width), width))
            };
            // Of each lane the four sums of every fourth product; two products, 4 apart, are added in 16 bits.
            let mut totals = [[[0i32; TOGETHER]; LANES]; 2];
            let totals = &mut totals.as_flattened_mut()[..4 * width / TOGETHER];
            for (x, panel) in x.as_chunks::<8>().0.iter().zip(panel.chunks_exact(8 * width)) {
                let x: [[i16; TOGETHER]; 2] = [0, 4].map(|half| std::array::from_fn(|i| x[half + i % 4].into()));
                let (first, second) = panel.split_at(4 * width);
                let weights = first.as_chunks::<TOGETHER>().0.iter().zip(second.as_chunks::<TOGETHER>().0);
                for (totals, w) in totals.iter_mut().zip(weights) {
                    add_products(totals, &x, w);
                }
            }
            for (sum, of) in sums.iter_mut().zip(totals.as_flattened().as_chunks::<4>().0) {
                *sum = if add { *sum } else { 0 } + of.iter().sum::<i32>();
            }
        }
    }
}

impl<const LANES: usize> Tile for Plain<LANES> {
    const ROWS: usize = if LANES > 8 { 10 } else { 3 };

    #[inline(always)]
    unsafe fn tile<const M: usize>(bytes: Bytes) {
        // SAFETY: the caller's promise.
        unsafe { Self::rows(M, bytes) }
    }

    unsafe fn registers(steps: usize) -> usize {
        let (x, panel, mut sums) = ([3; 8], [[1; LANES]; 16], [0; 64]);
        for _ in 0..steps {
            let (x, panel) = (black_box(x.as_ptr()), panel.as_flattened().as_ptr());
            let bytes = Bytes { x, stride: 0, panel, len: 8, sums: sums.as_mut_ptr(), add: true, ahead: x, step: 0 };
            // SAFETY: a row of 8 inputs, 8 weights for each channel, and room for their sums.
            unsafe { Self::tile::<1>(bytes) };
        }
        steps * 2 * LANES * 8 * 2
    }
}

/// One way to multiply on x86-64: its registers, and a tile as a function that has the features.
#[cfg(target_arch = "x86_64")]
macro_rules! x86 {
    (
        $(#[$about:meta])* $name:ident, $tile:ident, $registers:ident, $features:literal, $lanes:literal lanes of $register:ident,
        $zero:ident $load:ident $store:ident $splat:ident,
        |$sums:ident, $x:ident, $w:ident| $dot:expr
    ) => {
        $(#[$about])*
        struct $name;

        #[target_feature(enable = $features)]
        unsafe fn $tile<const M: usize>(bytes: Bytes) {
            // SAFETY: the caller's promise, and this function has the features.
            unsafe { tile::<$name, M>(bytes) }
        }

        #[target_feature(enable = $features)]
        unsafe fn $registers<const M: usize>(steps: usize) -> usize {
            // SAFETY: as above.
            unsafe { registers::<$name, M>(steps) }
        }

        // SAFETY, of every block below: the promise of the trait's caller.
        #[allow(clippy::undocumented_unsafe_blocks, reason = "said once, above")]
        impl Lanes for $name {
            type Sums = $register;
            type Bytes = $register;
            const LANES: usize = $lanes;

            #[inline(always)]
            unsafe fn zero() -> $register {
                unsafe { $zero() }
            }
            #[inline(always)]
            unsafe fn load(at: *const i32) -> $register {
                unsafe { $load(at.cast()) }
            }
            #[inline(always)]
            unsafe fn store(at: *mut i32, sums: $register) {
                unsafe { $store(at.cast(), sums) }
            }
            #[inline(always)]
            unsafe fn weights(at: *const i8) -> $register {
                unsafe { $load(at.cast()) }
            }
            #[inline(always)]
            unsafe fn inputs(at: *const u8) -> $register {
                unsafe { $splat(at.cast::<i32>().read_unaligned()) }
            }
            #[inline(always)]
            unsafe fn dot($sums: $register, $x: [$register; 2], $w: [$register; 2]) -> $register {
                unsafe { $dot }
            }
            #[inline(always)]
            unsafe fn prefetch(at: *const u8) {
                unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
x86! {
    Words8, words8, words8_registers, "avx2", 8 lanes of __m256i,
    _mm256_setzero_si256 _mm256_loadu_si256 _mm256_storeu_si256 _mm256_set1_epi32,
    |sums, x, w| {
        let words = _mm256_add_epi16(_mm256_maddubs_epi16(x[0], w[0]), _mm256_maddubs_epi16(x[1], w[1]));
        _mm256_add_epi32(sums, _mm256_madd_epi16(words, _mm256_set1_epi16(1)))
    }
}
#[cfg(target_arch = "x86_64")]
x86! {
    Vnni8, vnni8, vnni8_registers, "avx2,avxvnni", 8 lanes of __m256i,
    _mm256_setzero_si256 _mm256_loadu_si256 _mm256_storeu_si256 _mm256_set1_epi32,
    |sums, x, w| _mm256_dpbusd_avx_epi32(_mm256_dpbusd_avx_epi32(sums, x[0], w[0]), x[1], w[1])
}
#[cfg(target_arch = "x86_64")]
x86! {
    Words16, words16, words16_registers, "avx512f,avx512bw", 16 lanes of __m512i,
    _mm512_setzero_si512 _mm512_loadu_si512 _mm512_storeu_si512 _mm512_set1_epi32,
    |sums, x, w| {
        let words = _mm512_add_epi16(_mm512_maddubs_epi16(x[0], w[0]), _mm512_maddubs_epi16(x[1], w[1]));
        _mm512_add_epi32(sums, _mm512_madd_epi16(words, _mm512_set1_epi16(1)))
    }
}
#[cfg(target_arch = "x86_64")]
x86! {
    Vnni16, vnni16, vnni16_registers, "avx512f,avx512vnni", 16 lanes of __m512i,
    _mm512_setzero_si512 _mm512_loadu_si512 _mm512_storeu_si512 _mm512_set1_epi32,
    |sums, x, w| _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(sums, x[0], w[0]), x[1], w[1])
}

/// AVX2, with VNNI where the machine has it.
#[cfg(target_arch = "x86_64")]
pub(crate) struct Avx2;

#[cfg(target_arch = "x86_64")]
impl Tile for Avx2 {
    const ROWS: usize = 3;

    #[inline(always)]
    unsafe fn tile<const M: usize>(bytes: Bytes) {
        if is_x86_feature_detected!("avxvnni") {
            // SAFETY: the caller's promise, and the machine has the features.
            unsafe { vnni8::<M>(bytes) }
        } else {
            // SAFETY: as above.
            unsafe { words8::<M>(bytes) }
        }
    }

    unsafe fn registers(steps: usize) -> usize {
        if is_x86_feature_detected!("avxvnni") {
            // SAFETY: the caller's promise, and the machine has the features.
            unsafe { vnni8_registers::<{ Self::ROWS }>(steps) }
        } else {
            // SAFETY: as above.
            unsafe { words8_registers::<{ Self::ROWS }>(steps) }
        }
    }
}

/// AVX-512, with VNNI where the machine has it; the first machines had not even instructions for bytes.
#[cfg(target_arch = "x86_64")]
pub(crate) struct Avx512;

#[cfg(target_arch = "x86_64")]
impl Tile for Avx512 {
    const ROWS: usize = 10;

    #[inline(always)]
    unsafe fn tile<const M: usize>(bytes: Bytes) {
        if is_x86_feature_detected!("avx512vnni") {
            // SAFETY: the caller's promise, and the machine has the features.
            unsafe { vnni16::<M>(bytes) }
        } else if is_x86_feature_detected!("avx512bw") {
            // SAFETY: as above.
            unsafe { words16::<M>(bytes) }
        } else {
            // SAFETY: as above.
            unsafe { Plain::<16>::tile::<M>(bytes) }
        }
    }

    unsafe fn registers(steps: usize) -> usize {
        if is_x86_feature_detected!("avx512vnni") {
            // SAFETY: the caller's promise, and the machine has the features.
            unsafe { vnni16_registers::<{ Self::ROWS }>(steps) }
        } else if is_x86_feature_detected!("avx512bw") {
            // SAFETY: as above.
            unsafe { words16_registers::<{ Self::ROWS }>(steps) }
        } else {
            // SAFETY: as above.
            unsafe { Plain::<16>::registers(steps) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes as far from 0 as they may be, in the ways that are the worst for sums of 16 bits, and others.
    fn numbers(len: usize, seed: usize) -> Vec<u8> {
        (0..len).map(|i| if seed == 0 { 255 } else { (i * 7919 + seed * 104_729 + i / 13) as u8 }).collect()
    }

    /// Weights `[channels, len]`, all of whose halves of groups of 8 are at the bound of `weights.rs`, or below.
    fn weights(channels: usize, len: usize, seed: usize) -> Vec<i8> {
        let mut weights = vec![0i8; channels * len];
        for (n, group) in weights.chunks_mut(8).enumerate() {
            for (half, places) in [[0, 1, 4, 5], [2, 3, 6, 7]].into_iter().enumerate() {
                let extreme = [
                    [127, 1, 0, 0],
                    [32, 32, 32, 32],
                    [0, 127, 1, 0],
                    [-128, 0, 0, 0],
                    [-1, -127, 0, 0],
                    [-64, -64, 64, 64],
                    [0, 64, 0, 64],
                ];
                let values = match seed {
                    0 => extreme[(n + half) % extreme.len()],
                    _ => std::array::from_fn(|i| ((n * 31 + i * 7 + half * 3 + seed) % 65) as i8 - 32),
                };
                places.into_iter().zip(values).for_each(|(at, value)| group[at] = value);
            }
        }
        weights
    }

    fn check<T: Tile, const M: usize>(channels: usize) {
        for (len, seed) in [(8, 0), (8, 1), (16, 2), (264, 0), (264, 1)] {
            let (x, w) = (numbers(M * (len + 8), seed), weights(channels, len, seed));
            let mut panel = vec![0i8; channels * len];
            for (n, w) in w.chunks(len).enumerate() {
                w.iter().enumerate().for_each(|(k, &w)| panel[(k / 4 * channels + n) * 4 + k % 4] = w);
            }
            let mut sums = vec![5; M * channels];
            let bytes = |from: usize, len, add, sums: *mut i32| {
                let (x, panel) = (x[from..].as_ptr(), panel[from * channels..].as_ptr());
                Bytes { x, stride: 0, panel, len, sums, add, ahead: std::ptr::null(), step: 64 }
            };
            // In one run, and in two.
            for cut in [0, len / 16 * 8] {
                // SAFETY: the machine has what `T` needs, and all is as long as it has to be.
                unsafe {
                    let stride = len + 8;
                    T::tile::<M>(Bytes { stride, ..bytes(0, if cut == 0 { len } else { cut }, false, sums.as_mut_ptr()) });
                    if cut > 0 {
                        T::tile::<M>(Bytes { stride, ..bytes(cut, len - cut, true, sums.as_mut_ptr()) });
                    }
                }
                for (i, &sum) in sums.iter().enumerate() {
                    let (x, w) = (&x[i / channels * (len + 8)..][..len], &w[i % channels * len..][..len]);
                    let wanted: i32 = x.iter().zip(w).map(|(&x, &w)| i32::from(x) * i32::from(w)).sum();
                    assert_eq!(sum, wanted, "{M} rows, {len} long, seed {seed}, element {i}");
                }
            }
        }
    }

    #[test]
    fn tiles_are_the_plain_sums_whatever_the_bytes() {
        check::<Plain<8>, 1>(16);
        check::<Plain<8>, 4>(16);
        check::<Plain<16>, 10>(32);
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") {
                check::<Avx2, 1>(16);
                check::<Avx2, 2>(16);
                check::<Avx2, 3>(16);
                check::<Avx2, 4>(16);
            }
            if is_x86_feature_detected!("avx512f") {
                check::<Avx512, 1>(32);
                check::<Avx512, 7>(32);
                check::<Avx512, 10>(32);
            }
        }
    }

    /// Each way to multiply that the machine has, not only the one that it would choose.
    #[test]
    #[cfg(target_arch = "x86_64")]
    fn every_way_to_multiply_gives_the_same_integers() {
        macro_rules! check_each {
            ($($feature:tt $name:ident $tile:ident $channels:literal)*) => {$(
                if is_x86_feature_detected!($feature) {
                    struct Way;
                    impl Tile for Way {
                        const ROWS: usize = 4;
                        unsafe fn tile<const M: usize>(bytes: Bytes) {
                            // SAFETY: the machine has the feature, and those that it implies.
                            unsafe { $tile::<M>(bytes) }
                        }
                        unsafe fn registers(_steps: usize) -> usize {
                            0
                        }
                    }
                    check::<Way, 3>($channels);
                    check::<Way, 4>($channels);
                }
            )*};
        }
        check_each! { "avx2" Words8 words8 16 "avxvnni" Vnni8 vnni8 16 "avx512bw" Words16 words16 32 "avx512vnni" Vnni16 vnni16 32 }
    }
}
