//! Attention is held to its definition in f64, whatever the lengths, the blocks and the company.
use super::*;
use crate::Isa;

fn numbers(n: usize, seed: usize) -> Vec<f32> {
    (0..n).map(|i| ((i * 7919 + seed * 104_729) % 2003) as f32 / 500.0 - 2.0).collect()
}

/// One head of one query, in f64.
fn plain(q: &[f32], k: &[&[f32]], v: &[&[f32]]) -> Vec<f64> {
    let dot = |a: &[f32], b: &[f32]| -> f64 { a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum() };
    let weights: Vec<f64> = k.iter().map(|k| (dot(q, k) / (q.len() as f64).sqrt()).exp()).collect();
    let sum: f64 = weights.iter().sum();
    (0..q.len()).map(|d| weights.iter().zip(v).map(|(w, v)| w / sum * f64::from(v[d])).sum()).collect()
}

#[test]
fn ragged_heads_equal_their_definition() {
    for isa in Isa::available() {
        for (heads, size, lengths) in [(1, 1, vec![1]), (2, 5, vec![3, 1, 40]), (3, 64, vec![70, 9]), (2, 80, vec![31, 7])] {
            let (width, total) = (heads * size, lengths.iter().sum::<usize>());
            let data = numbers(total * width * 3, size);
            let part = |i| Heads { data: &data, stride: 3 * width, offset: i * width };
            let row = |of: usize, i: usize, head: usize| &data[i * 3 * width + of * width + head * size..][..size];
            for causal in [false, true] {
                let mut start = 0;
                let spans: Vec<Span> = lengths
                    .iter()
                    .map(|&n| {
                        start += n;
                        Span { queries: start - n..start, keys: start - n..start, position: 0 }
                    })
                    .collect();
                let of = Attention { q: part(0), k: part(1), v: part(2), heads, size, causal, spans: &spans };
                for threads in [1, 2] {
                    let mut out = vec![f32::NAN; total * width];
                    attention(&Cores::new(threads, isa).unwrap(), of, &mut out);
                    for span in &spans {
                        for i in span.queries.clone() {
                            for head in 0..heads {
                                let keys = span.keys.start..if causal { i + 1 } else { span.keys.end };
                                let k: Vec<_> = keys.clone().map(|j| row(1, j, head)).collect();
                                let v: Vec<_> = keys.map(|j| row(2, j, head)).collect();
                                let found = &out[i * width + head * size..][..size];
                                for (&found, wanted) in found.iter().zip(plain(row(0, i, head), &k, &v)) {
                                    assert!((f64::from(found) - wanted).abs() < 1e-5, "{isa:?} {heads} x {size}, causal {causal}");
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn spans_and_strides_that_lie_are_refused_before_anything_is_read() {
    let cores = Cores::new(2, Isa::best()).unwrap();
    let data = numbers(64, 1);
    let row = |stride, offset| Heads { data: &data, stride, offset };
    let span = |queries: Range<usize>, keys: Range<usize>, position| Span { queries, keys, position };
    let refused = |q, heads, size, causal, spans: &[Span], rows: usize| {
        let run = || {
            let mut out = vec![0.0; rows];
            attention(&cores, Attention { q, k: row(4, 0), v: row(4, 0), heads, size, causal, spans }, &mut out);
        };
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err()
    };
    let one = [span(0..2, 0..2, 0)];
    assert!(!refused(row(4, 0), 2, 2, true, &one, 8));
    // Backwards, so that rows have two tasks or the result is too short for the first.
    #[allow(clippy::reversed_empty_ranges, reason = "that is the point")]
    let back = [span(0..4, 0..2, 0), span(4..2, 0..2, 0)];
    assert!(refused(row(4, 0), 2, 2, false, &back, 8));
    assert!(refused(row(4, 0), 2, 2, false, &[span(1..2, 0..2, 0)], 8));
    // Numbers that overflow to small ones.
    let half = 1 << (usize::BITS - 1);
    assert!(refused(row(half, 0), 2, 2, false, &[span(0..3, 0..2, 0)], 12));
    assert!(refused(row(4, usize::MAX - 3), 2, 2, false, &one, 8));
    assert!(refused(row(4, 0), half, 2, false, &one, 0));
    assert!(refused(row(4, 0), 2, 2, true, &[span(0..1, 0..2, usize::MAX)], 4));
    assert!(refused(row(4, 0), 2, 2, true, &[span(0..2, 0..2, 1)], 8));
    assert!(refused(row(4, 0), 2, 2, false, &[span(0..2, 0..0, 0)], 8));
}

#[test]
fn a_query_alone_gives_what_it_gives_among_others() {
    for isa in Isa::available() {
        let (cores, width, n) = (Cores::new(1, isa).unwrap(), 48, 77);
        let data = numbers(n * width, 3);
        let rows = |first| Heads { data: &data[first * width..], stride: width, offset: 0 };
        for causal in [false, true] {
            let run = |first: usize, count: usize| {
                let spans = [Span { queries: 0..count, keys: 0..n, position: first }];
                let mut out = vec![0.0; count * width];
                let of = Attention { q: rows(first), k: rows(0), v: rows(0), heads: 2, size: 24, causal, spans: &spans };
                attention(&cores, of, &mut out);
                out
            };
            let all = run(0, n);
            for (first, count) in [(0, 1), (76, 1), (30, 7)] {
                assert_eq!(run(first, count), all[first * width..(first + count) * width], "{isa:?} causal {causal} {first}");
            }
        }
    }
}

/// Items of these lengths, one after the other.
fn spans(lengths: &[usize]) -> Vec<Span> {
    let mut end = 0;
    let span = |&n: &usize| {
        end += n;
        Span { queries: end - n..end, keys: end - n..end, position: 0 }
    };
    lengths.iter().map(span).collect()
}

#[test]
fn an_item_of_several_blocks_of_keys_equals_its_definition() {
    let (n, size) = (700, 12);
    // Scores that grow along the keys, so that the greatest changes from block to block.
    let mut data = numbers(3 * n * size, 5);
    for (i, x) in data.iter_mut().enumerate() {
        *x *= 0.5 + (i / (3 * size)) as f32 / n as f32;
    }
    let part = |i| Heads { data: &data, stride: 3 * size, offset: i * size };
    let row = |of: usize, i: usize| &data[i * 3 * size + of * size..][..size];
    for isa in Isa::available() {
        for causal in [false, true] {
            let mut out = vec![f32::NAN; n * size];
            let of = Attention { q: part(0), k: part(1), v: part(2), heads: 1, size, causal, spans: &spans(&[n]) };
            attention(&Cores::new(1, isa).unwrap(), of, &mut out);
            for i in (0..n).step_by(13).chain([319, 320, 335, 336, 699]) {
                let keys = if causal { i + 1 } else { n };
                let (k, v): (Vec<_>, Vec<_>) = (0..keys).map(|j| (row(1, j), row(2, j))).unzip();
                for (&found, wanted) in out[i * size..][..size].iter().zip(plain(row(0, i), &k, &v)) {
                    assert!((f64::from(found) - wanted).abs() < 1e-5, "{isa:?} causal {causal} query {i}");
                }
            }
        }
    }
}

#[test]
fn an_item_is_the_same_alone_in_a_batch_and_on_many_threads() {
    let (heads, size, lengths) = (3, 16, [5, 400, 12, 1, 130]);
    let (width, total) = (heads * size, lengths.iter().sum::<usize>());
    let data = numbers(total * width * 3, 9);
    for isa in Isa::available() {
        for causal in [false, true] {
            let run = |threads, first: usize, lengths: &[usize]| {
                let part = |i| Heads { data: &data[first * 3 * width..], stride: 3 * width, offset: i * width };
                let mut out = vec![f32::NAN; lengths.iter().sum::<usize>() * width];
                let of = Attention { q: part(0), k: part(1), v: part(2), heads, size, causal, spans: &spans(lengths) };
                attention(&Cores::new(threads, isa).unwrap(), of, &mut out);
                out
            };
            let all = run(1, 0, &lengths);
            for threads in [2, 3] {
                assert_eq!(run(threads, 0, &lengths), all, "{isa:?} {threads} threads");
            }
            for (span, n) in spans(&lengths).iter().zip(lengths) {
                let alone = run(1, span.queries.start, &[n]);
                assert_eq!(alone, all[span.queries.start * width..span.queries.end * width], "{isa:?} {n} tokens");
            }
        }
    }
}

#[test]
fn a_query_among_blocks_of_keys_gives_what_it_gives_alone() {
    let (n, width) = (700, 24);
    let data = numbers(n * width, 11);
    let rows = |first: usize| Heads { data: &data[first * width..], stride: width, offset: 0 };
    for isa in Isa::available() {
        let cores = Cores::new(1, isa).unwrap();
        for causal in [false, true] {
            let run = |first: usize, count: usize| {
                let spans = [Span { queries: 0..count, keys: 0..n, position: first }];
                let mut out = vec![0.0; count * width];
                attention(
                    &cores,
                    Attention { q: rows(first), k: rows(0), v: rows(0), heads: 1, size: width, causal, spans: &spans },
                    &mut out,
                );
                out
            };
            let all = run(0, n);
            for first in [0, 100, 239, 240, 241, 255, 256, 257, 479, 512, 699] {
                assert_eq!(run(first, 1), all[first * width..][..width], "{isa:?} causal {causal} query {first}");
            }
        }
    }
}

#[test]
fn a_query_knows_nothing_of_keys_and_values_that_it_does_not_see() {
    let (n, size) = (60, 16);
    let numbers = numbers(3 * n * size, 7);
    for isa in Isa::available() {
        let cores = Cores::new(1, isa).unwrap();
        let run = |data: &[f32]| {
            let part = |i| Heads { data, stride: 3 * size, offset: i * size };
            let mut out = vec![0.0; n * size];
            let of = Attention { q: part(0), k: part(1), v: part(2), heads: 1, size, causal: true, spans: &spans(&[n]) };
            attention(&cores, of, &mut out);
            out
        };
        let whole = run(&numbers);
        for bad in [f32::NAN, f32::INFINITY] {
            for first in [1, 8, 31, 59] {
                let mut data = numbers.clone();
                data[first * 3 * size..].fill(bad);
                let out = run(&data);
                assert_eq!(out[..first * size], whole[..first * size], "{isa:?}");
                assert!(out[first * size..].iter().all(|x| x.is_nan()), "{isa:?}");
            }
        }
    }
}

/// Gradients of q, k and v of one head in f64; `seen` keys for each query.
fn plain_backward(q: &[&[f32]], k: &[&[f32]], v: &[&[f32]], d: &[&[f32]], seen: impl Fn(usize) -> usize) -> [Vec<Vec<f64>>; 3] {
    let (size, dot) =
        (q[0].len(), |a: &[f32], b: &[f32]| -> f64 { a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>() });
    let scale = 1.0 / (size as f64).sqrt();
    let mut gradients = [q.len(), k.len(), v.len()].map(|rows| vec![vec![0.0; size]; rows]);
    for i in 0..q.len() {
        let weights: Vec<f64> = (0..seen(i)).map(|j| (dot(q[i], k[j]) * scale).exp()).collect();
        let sum: f64 = weights.iter().sum();
        let along: f64 = weights.iter().enumerate().map(|(j, w)| w / sum * dot(d[i], v[j])).sum();
        for (j, w) in weights.iter().enumerate() {
            let p = w / sum;
            let ds = p * (dot(d[i], v[j]) - along) * scale;
            for x in 0..size {
                gradients[0][i][x] += ds * f64::from(k[j][x]);
                gradients[1][j][x] += ds * f64::from(q[i][x]);
                gradients[2][j][x] += p * f64::from(d[i][x]);
            }
        }
    }
    gradients
}

#[test]
fn gradients_of_ragged_heads_equal_their_definition_on_any_number_of_threads() {
    for isa in Isa::available() {
        for (heads, size, lengths) in
            [(1, 1, vec![1]), (2, 5, vec![3, 1, 40]), (3, 64, vec![70, 9]), (2, 16, vec![12, 37]), (1, 80, vec![150])]
        {
            let (width, total) = (heads * size, lengths.iter().sum::<usize>());
            // Scores of a few units at most, whatever the size.
            let data: Vec<f32> = numbers(total * width * 3, size).iter().map(|x| x / 2.0).collect();
            let d_out = numbers(total * width, size + 1);
            let part = |i| Heads { data: &data, stride: 3 * width, offset: i * width };
            for causal in [false, true] {
                let spans = spans(&lengths);
                let of = Attention { q: part(0), k: part(1), v: part(2), heads, size, causal, spans: &spans };
                let run = |threads| {
                    let mut d = vec![f32::NAN; total * width * 3];
                    let to = [0, 1, 2].map(|i| HeadsGradient { buffer: 0, stride: 3 * width, offset: i * width });
                    attention_backward(&Cores::new(threads, isa).unwrap(), of, &d_out, &mut [&mut d], to);
                    d
                };
                let found = run(1);
                assert!(run(3) == found, "{isa:?} threads");
                for (span, head) in spans.iter().flat_map(|span| (0..heads).map(move |head| (span, head))) {
                    let rows = |of: usize| -> Vec<&[f32]> {
                        span.keys.clone().map(|i| &data[i * 3 * width + of * width + head * size..][..size]).collect()
                    };
                    let d: Vec<&[f32]> = span.keys.clone().map(|i| &d_out[i * width + head * size..][..size]).collect();
                    let n = span.keys.len();
                    let wanted = plain_backward(&rows(0), &rows(1), &rows(2), &d, |i| if causal { i + 1 } else { n });
                    for (of, i, x) in (0..3).flat_map(|of| (0..n).flat_map(move |i| (0..size).map(move |x| (of, i, x)))) {
                        let found = f64::from(found[(span.keys.start + i) * 3 * width + of * width + head * size + x]);
                        let wanted = wanted[of][i][x];
                        let most = 2e-5 * wanted.abs().max(1.0);
                        assert!((found - wanted).abs() < most, "{isa:?} {n} x {heads} x {size} {causal} {of}: {found} for {wanted}");
                    }
                }
            }
        }
    }
}

#[test]
fn gradients_of_one_query_an_item_reach_all_its_keys() {
    let (heads, size, lengths) = (2, 24, [50, 3, 17]);
    let (width, total) = (heads * size, lengths.iter().sum::<usize>());
    let (q, kv, d_out) = (numbers(lengths.len() * width, 1), numbers(total * 2 * width, 2), numbers(lengths.len() * width, 3));
    let spans: Vec<Span> = spans(&lengths)
        .into_iter()
        .enumerate()
        .map(|(i, span)| Span { queries: i..i + 1, position: span.keys.len() / 2, ..span })
        .collect();
    for (isa, causal) in Isa::available().into_iter().flat_map(|isa| [(isa, false), (isa, true)]) {
        let part = |i| Heads { data: &kv, stride: 2 * width, offset: i * width };
        let q_rows = Heads { data: &q, stride: width, offset: 0 };
        let of = Attention { q: q_rows, k: part(0), v: part(1), heads, size, causal, spans: &spans };
        let (mut dq, mut dkv) = (vec![f32::NAN; q.len()], vec![f32::NAN; kv.len()]);
        let to = [(0, width, 0), (1, 2 * width, 0), (1, 2 * width, width)];
        let to = to.map(|(buffer, stride, offset)| HeadsGradient { buffer, stride, offset });
        attention_backward(&Cores::new(2, isa).unwrap(), of, &d_out, &mut [&mut dq, &mut dkv], to);
        for (span, head) in spans.iter().flat_map(|span| (0..heads).map(move |head| (span, head))) {
            let rows =
                |of: usize| -> Vec<&[f32]> { span.keys.clone().map(|i| &kv[i * 2 * width + of * width + head * size..][..size]).collect() };
            let at = span.queries.start * width + head * size;
            let seen = if causal { span.position + 1 } else { span.keys.len() };
            let [wanted_q, wanted_k, wanted_v] = plain_backward(&[&q[at..][..size]], &rows(0), &rows(1), &[&d_out[at..][..size]], |_| seen);
            let near = |found: &[f32], wanted: &[f64]| {
                assert!(found.iter().zip(wanted).all(|(&f, w)| (f64::from(f) - w).abs() < 2e-5 * w.abs().max(1.0)), "{isa:?} {causal}");
            };
            near(&dq[at..][..size], &wanted_q[0]);
            for (i, key) in span.keys.clone().enumerate() {
                near(&dkv[key * 2 * width + head * size..][..size], &wanted_k[i]);
                near(&dkv[key * 2 * width + width + head * size..][..size], &wanted_v[i]);
            }
        }
    }
}

#[test]
fn gradients_that_would_share_numbers_are_refused() {
    let cores = Cores::new(1, Isa::best()).unwrap();
    let (data, d_out) = (numbers(24, 1), numbers(8, 2));
    let part = |i: usize| Heads { data: &data, stride: 12, offset: i * 4 };
    let spans = spans(&[2]);
    let of = Attention { q: part(0), k: part(1), v: part(2), heads: 2, size: 2, causal: false, spans: &spans };
    let refused = |to: [(usize, usize, usize); 3]| {
        let to = to.map(|(buffer, stride, offset)| HeadsGradient { buffer, stride, offset });
        let run = || attention_backward(&cores, of, &d_out, &mut [&mut [0.0; 24], &mut [0.0; 8]], to);
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err()
    };
    assert!(!refused([(0, 12, 0), (0, 12, 4), (0, 12, 8)]));
    assert!(!refused([(1, 4, 0), (0, 12, 4), (0, 12, 8)]));
    assert!(refused([(0, 12, 0), (0, 12, 3), (0, 12, 8)]));
    assert!(refused([(0, 12, 0), (0, 8, 4), (0, 12, 8)]));
    assert!(refused([(0, 12, 0), (0, 12, 4), (0, 12, 9)]));
    assert!(refused([(1, 12, 0), (0, 12, 4), (0, 12, 8)]));
}
