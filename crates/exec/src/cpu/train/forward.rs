//! Forward through a plan, one step after the other, each value in a buffer of the pool.
//!
//! The same steps as `run.rs` does for use, but values are kept by who needs them later, and nothing is cut into parts: what
//! a batch needs is in memory at once anyway.
use std::sync::Arc;

use hua_graph::{Kind, Mask, Pick};
use hua_kernels::{Attention, Cores, Epilogue, Heads, Part, Span, activate, attention, l2_normalize, layer_norm, product};

use super::pool::{Buffer, Pool};
use super::weights::Weights;
use crate::cpu::conv;
use crate::cpu::plan::{Plan, Step, Work, activation, columns};
use crate::cpu::run::{avg_pool, mean, rows_of};
use crate::masks::{Dropout, MaskKey, kept_rows};
use crate::reference::picked_row;
use crate::shapes::{Items, pixels};

/// Numbers of the windows of a convolution that are made together, about.
const WINDOWS: usize = 16 << 20;

/// A value of a plan, shared by all that read it.
pub(super) type Shared = Arc<Buffer>;

/// A plan and a batch.
pub(super) struct Pass<'a> {
    pub(super) plan: &'a Plan,
    pub(super) weights: &'a Weights,
    pub(super) cores: &'a Cores,
    pub(super) pool: &'a Arc<Pool>,
    pub(super) items: Items<'a>,
    /// Of each item; none in use.
    pub(super) seeds: &'a [u64],
    /// Ids of all items.
    pub(super) tokens: usize,
}

impl Pass<'_> {
    /// The steps of `range`. A value is dropped when its last reader has had it, unless it is to `keep`; what `values` has is not made again.
    pub(super) fn forward(
        &self,
        range: std::ops::Range<usize>,
        values: &mut [Option<Shared>],
        last_use: &[usize],
        keep: impl Fn(usize) -> bool,
    ) {
        for i in range.clone() {
            if values[i].is_none() {
                values[i] = self.step(i, values);
            }
            for &input in &self.plan.steps[i].inputs {
                if last_use[input] == i && !keep(input) {
                    values[input] = None;
                }
            }
        }
    }

    /// Rows of a step's value, of all items.
    pub(super) fn rows(&self, i: usize) -> usize {
        rows_of(&self.plan.steps[i], self.items.count, self.tokens)
    }

    /// Numbers of a step's value.
    pub(super) fn len(&self, i: usize) -> usize {
        self.rows(i) * columns(self.plan.steps[i].kind)
    }

    /// Rows of each item.
    pub(super) fn lengths(&self, step: &Step) -> impl Iterator<Item = usize> {
        let (items, length) = (self.items, step.length);
        (0..items.count).map(move |item| length.rows(items.length(item)))
    }

    /// The row that stands for an item; none for the mean.
    pub(super) fn picked(&self, pick: Pick, item: usize) -> Option<usize> {
        picked_row(pick, self.items.ids.get(item).map_or(&[], |ids| ids))
    }

    /// The numbers of a value, or the batch's own pixels.
    pub(super) fn read<'v>(&'v self, i: usize, values: &'v [Option<Shared>]) -> &'v [f32] {
        match &values[i] {
            Some(value) => value,
            None if self.plan.steps[i].work == Work::Input => self.items.pixels,
            None => unreachable!("`{}` was dropped", self.plan.steps[i].name),
        }
    }

    /// A step's value; none for an input that is read where it is.
    fn step(&self, i: usize, values: &[Option<Shared>]) -> Option<Shared> {
        let step = &self.plan.steps[i];
        if step.work == Work::Flatten {
            return Some(values[step.inputs[0]].clone().unwrap_or_else(|| unreachable!("what is flattened is a value")));
        }
        if step.work == Work::Input && (self.plan.image_as_given || step.kind == Kind::Ids) {
            return None;
        }
        let mut out = self.pool.take(self.len(i));
        self.compute(i, values, &mut out);
        Some(Arc::new(out))
    }

    /// Writes a step's value to `out`.
    pub(super) fn compute(&self, i: usize, values: &[Option<Shared>], out: &mut [f32]) {
        let step = &self.plan.steps[i];
        let (cores, isa) = (self.cores, self.cores.isa());
        let value = |nth: usize| self.read(step.inputs[nth], values);
        let kind = |nth: usize| self.plan.steps[step.inputs[nth]].kind;
        let width = columns(step.kind);
        match &step.work {
            Work::Act(act) => {
                let from = value(0);
                cores.each_rows(out, 1, |first, piece| {
                    piece.copy_from_slice(&from[first..][..piece.len()]);
                    activate(isa, activation(*act), piece);
                });
            }
            Work::Add => {
                let (a, b) = (value(0), value(1));
                cores.each_rows(out, 1, |first, piece| {
                    piece.iter_mut().zip(&a[first..]).zip(&b[first..]).for_each(|((x, a), b)| *x = a + b);
                });
            }
            Work::AddPositions { table } => {
                let (from, table) = (value(0), self.weights.vector(*table));
                let places = self.places(step);
                cores.each_rows(out, width, |first, rows| {
                    for ((out, from), &place) in
                        rows.chunks_exact_mut(width).zip(from[first * width..].chunks_exact(width)).zip(&places[first..])
                    {
                        let row = &table[place as usize * width..][..width];
                        out.iter_mut().zip(from).zip(row).for_each(|((x, a), b)| *x = a + b);
                    }
                });
            }
            Work::Attention { .. } => attention(cores, self.attention(i, values, &self.spans(i)), out),
            Work::AvgPool { size } => avg_pool(cores, value(0), kind(0), *size, step.kind, out),
            Work::BatchNorm(norm) => {
                let (from, channels) = (value(0), self.weights.norm(norm));
                cores.each_rows(out, width, |first, rows| {
                    for (out, from) in rows.chunks_exact_mut(width).zip(from[first * width..].chunks_exact(width)) {
                        out.iter_mut().zip(from).zip(&channels).for_each(|((x, from), c)| *x = from * c.scale + c.offset);
                    }
                });
            }
            Work::Conv { weight, bias, .. } => {
                let parts = [self.weights.part(*weight, *bias)];
                let residual = step.inputs.last().filter(|_| step.fused.residual).map(|&input| self.read(input, values));
                self.each_windows(i, values, |first, windows, inner| {
                    let len = windows.len() / inner * width;
                    let residual = residual.map(|r| &r[first * width..][..len]);
                    product(cores, windows, inner, &parts, Epilogue { residual, ..epilogue(step) }, &mut out[first * width..][..len]);
                });
            }
            Work::Dropout { rate, picked } => {
                out.copy_from_slice(value(0));
                self.dropout(step, *rate, *picked, out);
            }
            Work::DropTokens { keep } => {
                let (from, rows) = (value(0), step.length.rows(0));
                let given = self.plan.steps[step.inputs[0]].length.rows(0);
                for (item, out) in out.chunks_exact_mut(rows * width).enumerate() {
                    let kept = self.kept_rows(step, *keep, item, given);
                    for (out, row) in out.chunks_exact_mut(width).zip(kept) {
                        out.copy_from_slice(&from[(item * given + row) * width..][..width]);
                    }
                }
            }
            Work::Embed { tokens, positions, first_position, types } => {
                let [tokens, positions] = [*tokens, *positions].map(|table| self.weights.vector(table));
                let types = types.map(|types| &self.weights.vector(types)[..width]);
                let rows = self.items.ids.iter().flat_map(|ids| ids.iter().enumerate());
                for (out, (place, &id)) in out.chunks_exact_mut(width).zip(rows) {
                    let (token, position) =
                        (&tokens[id as usize * width..][..width], &positions[(first_position + place) * width..][..width]);
                    out.iter_mut().zip(token).zip(position).for_each(|((x, a), b)| *x = a + b);
                    if let Some(types) = types {
                        out.iter_mut().zip(types).for_each(|(x, t)| *x += t);
                    }
                }
            }
            Work::Flatten => unreachable!("its value is its input's"),
            Work::Input => {
                let Kind::Image { channels, .. } = step.kind else { return };
                let numbers = conv::transposed(self.items.pixels, channels, pixels(step.kind));
                out.iter_mut().zip(numbers).for_each(|(x, number)| *x = number);
            }
            Work::L2Normalize => {
                out.copy_from_slice(value(0));
                cores.each_rows(out, width, |_, rows| l2_normalize(isa, rows, width));
            }
            Work::LayerNorm { weight, bias, eps } => {
                layer_norm(cores, value(0), self.weights.vector(*weight), self.weights.vector(*bias), *eps, out);
            }
            Work::Linear(parts) => {
                let parts: Vec<Part<'_>> = parts.iter().map(|&(weight, bias)| self.weights.part(weight, bias)).collect();
                let residual = step.inputs.last().filter(|_| step.fused.residual).map(|&input| self.read(input, values));
                product(cores, value(0), columns(kind(0)), &parts, Epilogue { residual, ..epilogue(step) }, out);
            }
            Work::Pick(pick) => {
                let (from, mut start) = (value(0), 0);
                for (item, (length, out)) in self.lengths(&self.plan.steps[step.inputs[0]]).zip(out.chunks_exact_mut(width)).enumerate() {
                    let rows = &from[start * width..][..length * width];
                    match self.picked(*pick, item) {
                        Some(row) => out.copy_from_slice(&rows[row * width..][..width]),
                        None => mean(rows, out),
                    }
                    start += length;
                }
            }
            Work::Prepend { token } => {
                let (from, token, rows) = (value(0), self.weights.vector(*token), self.item_rows(step));
                cores.each_rows(out, width, |first, out| {
                    for (at, (out, &(item, place))) in out.chunks_exact_mut(width).zip(&rows[first..]).enumerate() {
                        let before = (first + at).checked_sub(item as usize + 1).filter(|_| place > 0);
                        out.copy_from_slice(before.map_or(token, |row| &from[row * width..][..width]));
                    }
                });
            }
            Work::PrependMean => {
                let (mut from, mut rest) = (value(0), out);
                for length in self.lengths(step) {
                    let (rows, after) = from.split_at((length - 1) * width);
                    let (item, after_out) = rest.split_at_mut(length * width);
                    mean(rows, &mut item[..width]);
                    item[width..].copy_from_slice(rows);
                    (from, rest) = (after, after_out);
                }
            }
        }
    }

    /// The attention of a step, without its items.
    pub(super) fn attention<'v>(&'v self, i: usize, values: &'v [Option<Shared>], spans: &'v [Span]) -> Attention<'v> {
        let step = &self.plan.steps[i];
        let Work::Attention { heads, size, mask, columns: begins, .. } = step.work else { unreachable!("only attentions ask") };
        let part = |nth: usize| {
            let input = step.inputs[nth];
            Heads { data: self.read(input, values), stride: columns(self.plan.steps[input].kind), offset: begins[nth] }
        };
        Attention { q: part(0), k: part(1), v: part(2), heads, size, causal: mask == Mask::Causal, spans }
    }

    /// The rows of each item in an attention.
    pub(super) fn spans(&self, i: usize) -> Vec<Span> {
        let step = &self.plan.steps[i];
        let Work::Attention { picked, .. } = step.work else { unreachable!("only attentions ask") };
        let (mut query, mut key) = (0, 0);
        let lengths = self.lengths(step).zip(self.lengths(&self.plan.steps[step.inputs[1]]));
        let span = |(item, (queries, keys))| {
            let position = picked.and_then(|pick| self.picked(pick, item)).unwrap_or(0);
            (query, key) = (query + queries, key + keys);
            Span { queries: query - queries..query, keys: key - keys..key, position }
        };
        lengths.enumerate().map(span).collect()
    }

    /// The place of each row within its item.
    pub(super) fn places(&self, step: &Step) -> Vec<u32> {
        self.lengths(step).flat_map(|length| 0..length as u32).collect()
    }

    /// The item of each row and its place within it.
    pub(super) fn item_rows(&self, step: &Step) -> Vec<(u32, u32)> {
        (0u32..).zip(self.lengths(step)).flat_map(|(item, length)| (0..length as u32).map(move |place| (item, place))).collect()
    }

    /// Multiplies a value, or its gradient, by the factors of a dropout.
    pub(super) fn dropout(&self, step: &Step, rate: f32, picked: Option<Pick>, numbers: &mut [f32]) {
        let (width, dropout) = (columns(step.kind), Dropout::new(rate));
        let starts: Vec<(MaskKey, usize)> = (0..self.items.count)
            .zip(self.seeds)
            .flat_map(|(item, &seed)| {
                let key = MaskKey::new(seed, step.node);
                let first = picked.and_then(|pick| self.picked(pick, item)).unwrap_or(0);
                let rows =
                    if matches!(step.kind, Kind::Image { .. }) { pixels(step.kind) } else { step.length.rows(self.items.length(item)) };
                (first..first + rows).map(move |row| (key, row))
            })
            .collect();
        // An image lies as rows of pixels; its places are those of its channels, one after the other.
        let planes = match step.kind {
            Kind::Image { .. } => Some(pixels(step.kind)),
            _ => None,
        };
        self.cores.each_rows(numbers, width, |first, rows| {
            for (row, &(key, at)) in rows.chunks_exact_mut(width).zip(&starts[first..]) {
                match planes {
                    None => dropout.apply(key, at * width, row),
                    Some(planes) => {
                        row.iter_mut()
                            .enumerate()
                            .for_each(|(channel, x)| dropout.apply(key, channel * planes + at, std::slice::from_mut(x)));
                    }
                }
            }
        });
    }

    /// The rows of an item that stay.
    pub(super) fn kept_rows(&self, step: &Step, keep: f32, item: usize, rows: usize) -> Vec<usize> {
        kept_rows(MaskKey::new(self.seeds[item], step.node), rows, keep)
    }

    /// Calls `task` with the windows of some images of a convolution, the first row that they are, and how long a row is.
    pub(super) fn each_windows(&self, i: usize, values: &[Option<Shared>], mut task: impl FnMut(usize, &[f32], usize)) {
        let step = &self.plan.steps[i];
        let Work::Conv { window, .. } = step.work else { unreachable!("only convolutions ask") };
        let from = self.plan.steps[step.inputs[0]].kind;
        let images = self.read(step.inputs[0], values);
        let inner = columns(from) * window.size * window.size;
        if window.is_pixel() {
            return task(0, images, inner);
        }
        let (numbers, rows) = (columns(from) * pixels(from), pixels(step.kind));
        let together = (WINDOWS / (rows * inner)).clamp(1, self.items.count.max(1));
        let mut windows = self.pool.take(together * rows * inner);
        for (part, images) in images.chunks(together * numbers).enumerate() {
            let windows = &mut windows[..images.len() / numbers * rows * inner];
            conv::windows(self.cores, images, window, from, step.kind, windows);
            task(part * together * rows, windows, inner);
        }
    }
}

fn epilogue(step: &Step) -> Epilogue<'static> {
    Epilogue { act: step.fused.act.map(activation), residual: None, last: step.fused.last.map(activation), add: false }
}
