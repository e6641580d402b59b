//! Scans against plain loops over the same bytes, on every instruction set.
use half::f16;

use super::*;

/// Numbers between -1 and 1, always the same of a seed.
fn numbers(count: usize, seed: usize) -> Vec<f32> {
    let mut state = (seed as u32).wrapping_mul(747_796_405) + 1;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// Rows of a library that own their memory.
struct Library {
    rows: Vec<i8>,
    scales: Vec<f32>,
    stride: usize,
    dead: Vec<u64>,
}

impl Library {
    fn new(x: &[f32], width: usize) -> Self {
        let stride = stride(width);
        let mut rows = vec![1; x.len() / width * stride];
        let scales = x.chunks(width).zip(rows.chunks_mut(stride)).map(|(x, to)| quantise_row(x, to)).collect();
        Self { rows, scales, stride, dead: vec![] }
    }

    fn all(&self, first: u32) -> ScanRows<'_> {
        ScanRows { rows: &self.rows, scales: &self.scales, stride: self.stride, first, dead: &self.dead }
    }
}

/// The best by a plain loop over the bytes and words, and a sort.
fn wanted(query: &ScanQuery, rows: &ScanRows<'_>, k: usize, picked: impl Fn(u32) -> bool) -> Vec<(f32, u32)> {
    let mut all: Vec<(f32, u32)> = vec![];
    for (i, (row, scale)) in rows.rows.chunks(rows.stride).zip(rows.scales).enumerate() {
        let sum: i64 = row.iter().zip(&query.words).map(|(&a, &b)| i64::from(a) * i64::from(b)).sum();
        let (score, row) = (i32::try_from(sum).unwrap() as f32 * (query.scale * scale), rows.first + i as u32);
        let dead = rows.dead.get(row as usize / 64).is_some_and(|word| word & 1 << (row % 64) != 0);
        if !score.is_nan() && !dead && picked(row) {
            all.push((score, row));
        }
    }
    all.sort_by(|a, b| b.0.partial_cmp(&a.0).unwrap().then(a.1.cmp(&b.1)));
    all.truncate(k);
    all
}

#[test]
fn a_scan_finds_what_a_plain_loop_finds_on_every_instruction_set() {
    for (width, n) in (1..70).map(|width| (width, 3 + width % 9)).chain([(96, 0), (100, 1), (512, 333), (513, 40), (600, 130), (4097, 9)]) {
        let mut library = Library::new(&numbers(width * n, width), width);
        library.dead = (0..n as u64 / 100).map(|i| 0x1111_0000_0000_1111 << i).collect();
        let rows = library.all(7);
        let queries: Vec<ScanQuery> = numbers(5 * width, 999).chunks(width).map(ScanQuery::new).collect();
        for isa in Isa::available() {
            for (count, k) in [(1, 10), (2, 1), (3, 2 * n + 1), (5, 10)] {
                let mut best = vec![Best::new(k); count];
                scan(isa, &queries[..count], &rows, &mut best);
                for (query, best) in queries.iter().zip(best) {
                    assert_eq!(best.into_sorted(), wanted(query, &rows, k, |_| true), "{isa:?}: width {width}, {n} rows, {k} best");
                }
            }
        }
    }
}

#[test]
fn picked_rows_are_found_alone_and_dead_ones_never() {
    let (width, n) = (40, 700);
    let mut library = Library::new(&numbers(width * n, 3), width);
    library.dead = vec![0, 0, u64::MAX, 0, 1 << 63];
    let rows = library.all(100);
    let queries: Vec<ScanQuery> = numbers(3 * width, 5).chunks(width).map(ScanQuery::new).collect();
    for isa in Isa::available() {
        for step in [1, 2, 3, 50, 1000] {
            let picked: Vec<u32> = (100 + step / 2..800).step_by(step as usize).collect();
            let mut best = vec![Best::new(20); 3];
            scan_picked(isa, &queries, &rows, &picked, &mut best);
            for (query, best) in queries.iter().zip(best) {
                assert_eq!(best.into_sorted(), wanted(query, &rows, 20, |row| picked.contains(&row)), "{isa:?}: one of {step}");
            }
        }
    }
}

#[test]
fn segments_and_threads_find_what_one_scan_finds_with_many_equal_scores() {
    let (width, n) = (8, 20_000);
    // Few different rows: nearly all scores are equal to others.
    let x: Vec<f32> = numbers(width * n, 1).iter().map(|x| x.round()).collect();
    let library = Library::new(&x, width);
    let queries: Vec<ScanQuery> = [numbers(width, 2), vec![0.0; width]].iter().map(|query| ScanQuery::new(query)).collect();
    let whole = library.all(0);
    let segments = [whole.part(0..4096), whole.part(4096..4097), whole.part(4097..4097), whole.part(4097..15_000), whole.part(15_000..n)];
    let picked: Vec<u32> = (0..n as u32).filter(|row| row % 7 < 2).collect();
    for threads in [1, 3] {
        let cores = Cores::new(threads, Isa::best()).unwrap();
        for k in [0, 1, 100, 30_000] {
            let all = scan_segments(&cores, &queries, &segments, None, k);
            let some = scan_segments(&cores, &queries, &segments, Some(&picked), k);
            for ((query, all), some) in queries.iter().zip(all).zip(some) {
                assert_eq!(all.into_sorted(), wanted(query, &whole, k, |_| true));
                assert_eq!(some.into_sorted(), wanted(query, &whole, k, |row| row % 7 < 2));
            }
        }
        assert_eq!(scan_segments(&cores, &queries, &[], None, 5).len(), 2);
        assert!(scan_segments(&cores, &queries, &segments, Some(&[]), 5).into_iter().all(|best| best.into_sorted().is_empty()));
    }
}

#[test]
fn a_byte_is_within_half_a_step_of_its_number() {
    for width in [1, 31, 32, 33, 512, 600] {
        for (seed, size) in [(1, 1.0), (2, 1e-30), (3, 1e30), (4, 1e-42)] {
            let x: Vec<f32> = numbers(width, seed).iter().map(|x| x * size).collect();
            let mut bytes = vec![1i8; stride(width)];
            let scale = quantise_row(&x, &mut bytes);
            assert!(bytes[width..].iter().all(|&byte| byte == 0));
            for (x, &byte) in x.iter().zip(&bytes) {
                assert!((x - f32::from(byte) * scale).abs() <= 0.5001 * scale && byte != i8::MIN, "{x} as {byte}");
            }
        }
    }
}

#[test]
fn rows_of_zeros_score_zero_and_those_without_numbers_are_never_found() {
    let width = 33;
    let mut x = numbers(6 * width, 8);
    x[..width].fill(0.0);
    x[width + 3] = f32::NAN;
    x[2 * width] = f32::INFINITY;
    x[3 * width + 32] = f32::NEG_INFINITY;
    let library = Library::new(&x, width);
    for isa in Isa::available() {
        let found = |query: &[f32]| {
            let mut best = [Best::new(9)];
            scan(isa, &[ScanQuery::new(query)], &library.all(0), &mut best);
            let [best] = best;
            best.into_sorted()
        };
        let some = found(&numbers(width, 9));
        assert_eq!(some.len(), 3);
        assert!(some.contains(&(0.0, 0)) && some.iter().all(|(_, row)| [0, 4, 5].contains(row)));
        assert_eq!(found(&vec![0.0; width]), [(0.0, 0), (0.0, 4), (0.0, 5)]);
        assert_eq!(found(&[f32::NAN; 33]), []);
        assert_eq!(found(&[f32::INFINITY; 33]), []);
    }
}

#[test]
fn no_sum_is_beyond_32_bits_whatever_the_bytes() {
    for width in [1, 2, 32, 511, 512, 513, 517, 600, 1024, 4096, MOST_WIDTH] {
        for sign in [1.0, -1.0] {
            let queries = [vec![sign; width], vec![sign * 3e38; width], (0..width).map(|i| if i % 2 == 0 { sign } else { 0.7 }).collect()];
            let rows = [[-128i8, -128], [127, 127], [-128, 127]].map(|pair| (0..stride(width)).map(|i| pair[i % 2]).collect::<Vec<i8>>());
            let (rows, scales) = (rows.concat(), [1.0; 3]);
            let rows = ScanRows { rows: &rows, scales: &scales, stride: stride(width), first: 0, dead: &[] };
            for query in queries.iter().map(|query| ScanQuery::new(query)) {
                let size: i64 = query.words.iter().map(|&word| i64::from(word).abs()).sum();
                assert!(size * 128 <= i64::from(i32::MAX) && (width > 512 || query.words.iter().any(|word| word.abs() == i16::MAX)));
                for isa in Isa::available() {
                    let mut best = [Best::new(3)];
                    scan(isa, std::slice::from_ref(&query), &rows, &mut best);
                    let [best] = best;
                    assert_eq!(best.into_sorted(), wanted(&query, &rows, 3, |_| true), "{isa:?}: width {width}");
                }
            }
        }
    }
}

#[test]
fn halves_are_those_of_the_half_crate() {
    let all: Vec<u16> = (0..=u16::MAX).collect();
    // Every half, the numbers halfway between two, and those next to all of them.
    let mut near: Vec<f32> = numbers(100_000, 4);
    for &bits in &all {
        let x = f16::from_bits(bits).to_f32().to_bits();
        near.extend([0, 1, 0x0fff, 0x1000, 0x1001, 0x1fff].map(|more| f32::from_bits(x.wrapping_add(more))));
        near.push(f32::from_bits(u32::from(bits) << 16 | 0x8765));
        // Halfway between small ones: an odd number of 2⁻²⁵.
        near.push(f32::from(bits) * 2f32.powi(-25));
    }
    for isa in Isa::available() {
        let mut back = vec![0.0; all.len()];
        from_f16_row(isa, &all, &mut back);
        for (&bits, back) in all.iter().zip(&back) {
            let wanted = f16::from_bits(bits);
            assert!(back.to_bits() == wanted.to_f32().to_bits() || wanted.is_nan() && back.is_nan(), "{isa:?}: {bits:04x}");
        }
        let mut bits = vec![0; near.len()];
        to_f16_row(isa, &near, &mut bits);
        for (x, bits) in near.iter().zip(&bits) {
            let wanted = f16::from_f32(*x);
            assert!(
                *bits == wanted.to_bits() || x.is_nan() && f16::from_bits(*bits).is_nan(),
                "{isa:?}: {x:e} is {bits:04x}, not {wanted:e}"
            );
        }
    }
}

#[test]
fn products_with_stored_rows_are_exact_enough_and_the_same_on_every_instruction_set() {
    for width in (0..70).chain([512, 513, 600]) {
        let (query, row) = (numbers(width, 11), numbers(width, 12));
        let mut bits = vec![0; width];
        to_f16_row(Isa::best(), &row, &mut bits);
        let halves: Vec<f32> = bits.iter().map(|&bits| f16::from_bits(bits).to_f32()).collect();
        for isa in Isa::available() {
            for (found, row, law) in [
                (dot_f32(isa, &query, &row), &row, dot_f32(Isa::named("scalar").unwrap(), &query, &row)),
                (dot_f16(isa, &query, &bits), &halves, dot_f16(Isa::named("scalar").unwrap(), &query, &bits)),
            ] {
                let wanted: f64 = query.iter().zip(row).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
                assert!((f64::from(found) - wanted).abs() < 1e-5, "{isa:?}: width {width}");
                assert_eq!(found.to_bits(), law.to_bits(), "{isa:?}: width {width}");
            }
        }
    }
}
