//! Runs a plan on the items of a batch, a part of them at a time.
use hua_graph::{Kind, Mask, Param, Pick};
use hua_kernels::{
    Attention, Cores, Epilogue, Heads, PartUnpacked as Part, Span, activate, attention, l2_normalize, layer_norm,
    product_unpacked as product,
};

use super::conv;
use super::numbers::Numbers;
use super::plan::{Plan, Step, Work, activation, columns};
use crate::reference::picked_row;
use crate::shapes::{Items, pixels, width};
use crate::{ExecError, Rows};

/// Numbers of the largest value of the items that run together, about: more than that costs memory and gains nothing.
const TOGETHER: usize = 4 << 20;

/// The values of the plan's outputs. `free` is memory that was used before, and is again afterwards.
pub(crate) fn run(
    plan: &Plan,
    numbers: &Numbers,
    cores: &Cores,
    items: &Items<'_>,
    free: &mut Vec<Vec<f32>>,
) -> Result<Vec<Rows>, ExecError> {
    let rows = |&i: &usize| Rows { width: width(plan.steps[i].kind), ..Rows::default() };
    let mut outputs: Vec<Rows> = plan.outputs.iter().map(rows).collect();
    let mut first = 0;
    while first < items.count {
        let (mut end, mut room) = (first + 1, TOGETHER.saturating_sub(cost(plan, items, first)));
        while end < items.count && cost(plan, items, end) <= room {
            room -= cost(plan, items, end);
            end += 1;
        }
        let part = items.part(first..end);
        Run { plan, numbers, cores, items: &part, values: vec![], free }.all(&mut outputs)?;
        first = end;
    }
    Ok(outputs)
}

/// Numbers of an item's largest value, or of the windows of a convolution.
fn cost(plan: &Plan, items: &Items<'_>, item: usize) -> usize {
    let of = |step: &Step| {
        let wider = match step.work {
            Work::Conv { window, .. } => (columns(plan.steps[step.inputs[0]].kind) * window.size * window.size).max(columns(step.kind)),
            _ => columns(step.kind),
        };
        rows(step, items, item) * wider
    };
    plan.steps.iter().map(of).max().unwrap_or(0)
}

/// Rows of an item's value: pixels of an image.
fn rows(step: &Step, items: &Items<'_>, item: usize) -> usize {
    match step.kind {
        Kind::Image { .. } => pixels(step.kind),
        _ => step.length.rows(items.length(item)),
    }
}

struct Run<'a> {
    plan: &'a Plan,
    numbers: &'a Numbers,
    cores: &'a Cores,
    items: &'a Items<'a>,
    values: Vec<Vec<f32>>,
    /// Memory that was used before.
    free: &'a mut Vec<Vec<f32>>,
}

impl Run<'_> {
    fn all(mut self, outputs: &mut [Rows]) -> Result<(), ExecError> {
        let steps = &self.plan.steps;
        let mut last_use: Vec<usize> = (0..steps.len()).collect();
        steps.iter().enumerate().for_each(|(i, step)| step.inputs.iter().for_each(|&j| last_use[j] = i));
        self.plan.outputs.iter().for_each(|&i| last_use[i] = usize::MAX);
        for (i, step) in steps.iter().enumerate() {
            let value = self.step(step)?;
            self.values.push(value);
            for &j in &step.inputs {
                if last_use[j] == i {
                    self.free.push(std::mem::take(&mut self.values[j]));
                }
            }
        }
        for (out, &i) in outputs.iter_mut().zip(&self.plan.outputs) {
            let step = &steps[i];
            out.lengths.extend((0..self.items.count).map(|item| step.length.rows(self.items.length(item))));
            match (&step.work, step.kind) {
                (Work::Input, Kind::Ids) => out.data.extend(self.items.ids.iter().flatten().map(|&id| id as f32)),
                (Work::Input, _) => out.data.extend(self.items.pixels),
                (_, Kind::Image { channels, .. }) => out.data.extend(conv::transpose(&self.values[i], pixels(step.kind), channels)),
                _ => out.data.extend(&self.values[i]),
            }
        }
        self.free.append(&mut self.values);
        Ok(())
    }

    /// Memory for so many numbers, whatever they are: the smallest that is free and fits, or else new, in place of the largest, so that there
    /// are never more pieces than one run needed at once.
    fn buffer(&mut self, len: usize) -> Vec<f32> {
        let size = |i: &usize| self.free[*i].capacity();
        let fit = (0..self.free.len()).filter(|i| size(i) >= len).min_by_key(size);
        let mut buffer = fit.or_else(|| (0..self.free.len()).max_by_key(size)).map(|i| self.free.swap_remove(i)).unwrap_or_default();
        if buffer.capacity() < len {
            buffer = Vec::new();
        }
        buffer.resize(len, 0.0);
        buffer
    }

    fn lengths(&self, step: &Step) -> impl Iterator<Item = usize> {
        (0..self.items.count).map(|item| rows(step, self.items, item))
    }

    fn ids(&self, item: usize) -> &[u32] {
        self.items.ids.get(item).map_or(&[], |ids| ids)
    }

    fn step(&mut self, step: &Step) -> Result<Vec<f32>, ExecError> {
        let len = self.lengths(step).sum::<usize>() * columns(step.kind);
        let mut out = match step.work {
            Work::Input => vec![],
            _ => self.buffer(len),
        };
        let mut windows = match step.work {
            Work::Conv { weight, window, .. } if !window.is_pixel() => {
                let inner = self.numbers.table(weight).len() / columns(step.kind);
                self.buffer(self.lengths(step).sum::<usize>() * inner)
            }
            _ => vec![],
        };
        let (cores, isa) = (self.cores, self.cores.isa());
        let value = |nth: usize| &self.values[step.inputs[nth]][..];
        let kind = |nth: usize| self.plan.steps[step.inputs[nth]].kind;
        match &step.work {
            Work::Act(act) => {
                out.copy_from_slice(value(0));
                cores.each_rows(&mut out, 1, |_, piece| activate(isa, activation(*act), piece));
            }
            Work::Add => {
                let (a, b) = (value(0), value(1));
                cores.each_rows(&mut out, 1, |first, piece| {
                    piece.iter_mut().zip(&a[first..]).zip(&b[first..]).for_each(|((x, a), b)| *x = a + b);
                });
            }
            Work::AddPositions { table } => {
                out.copy_from_slice(value(0));
                let longest = self.lengths(step).max().unwrap_or(0);
                let table = self.numbers.table(*table).rows(0..longest).expect("the batch was checked");
                let (table, mut rest) = (table.to_f32()?, &mut out[..]);
                for length in self.lengths(step) {
                    let (item, after) = rest.split_at_mut(length * columns(step.kind));
                    item.iter_mut().zip(&table[..]).for_each(|(x, t)| *x += t);
                    rest = after;
                }
            }
            Work::Attention { .. } => self.attention(step, &mut out),
            Work::AvgPool { size } => avg_pool(value(0), kind(0), *size, step.kind, &mut out),
            Work::BatchNorm(norm) => {
                let (scale, offset) = self.numbers.scale_and_offset(norm);
                let x = value(0);
                cores.each_rows(&mut out, scale.len(), |first, rows| {
                    let x = &x[first * scale.len()..];
                    rows.iter_mut().zip(x).enumerate().for_each(|(i, (y, x))| {
                        let c = i % scale.len();
                        *y = x * scale[c] + offset[c];
                    });
                });
            }
            Work::Conv { weight, bias, window, .. } => {
                let images = if window.channels_first { self.items.pixels } else { value(0) };
                let (weight, bias) = self.numbers.conv(*weight, *bias);
                let inner = weight.len() / columns(step.kind);
                let parts = [Part { weight, bias }];
                if window.is_pixel() {
                    product(cores, images, inner, &parts, self.epilogue(step), &mut out);
                } else {
                    conv::windows(cores, images, *window, kind(0), step.kind, &mut windows);
                    product(cores, &windows, inner, &parts, self.epilogue(step), &mut out);
                }
            }
            Work::Embed { tokens, positions, first_position, types } => {
                let at = (*tokens, *positions, *types);
                self.embed(at, *first_position, columns(step.kind), &mut out)?;
            }
            Work::Flatten => out.copy_from_slice(value(0)),
            Work::Input => {
                if let Kind::Image { channels, .. } = step.kind
                    && !self.plan.image_as_given
                {
                    out = conv::transpose(self.items.pixels, channels, pixels(step.kind));
                }
            }
            Work::L2Normalize => {
                out.copy_from_slice(value(0));
                l2_normalize(isa, &mut out, columns(step.kind));
            }
            Work::LayerNorm { weight, bias, eps } => {
                layer_norm(cores, value(0), self.numbers.get(*weight), self.numbers.get(*bias), *eps, &mut out);
            }
            Work::Linear(parts) => {
                let get = |&(weight, bias): &(Param, Option<Param>)| Part {
                    weight: self.numbers.get(weight),
                    bias: bias.map(|b| self.numbers.get(b)),
                };
                let parts: Vec<Part<'_>> = parts.iter().map(get).collect();
                product(cores, value(0), columns(kind(0)), &parts, self.epilogue(step), &mut out);
            }
            Work::Pick(pick) => self.pick(step, *pick, &mut out),
            Work::Prepend { token } => {
                let token = self.numbers.get(*token);
                self.prepend(step, |_, row| row.copy_from_slice(token), &mut out);
            }
            Work::PrependMean => self.prepend(step, mean, &mut out),
        }
        if windows.capacity() > 0 {
            self.free.push(windows);
        }
        Ok(out)
    }

    fn epilogue(&self, step: &Step) -> Epilogue<'_> {
        let residual = step.inputs.last().filter(|_| step.fused.residual).map(|&i| &self.values[i][..]);
        Epilogue { act: step.fused.act.map(activation), residual, last: step.fused.last.map(activation) }
    }

    fn attention(&self, step: &Step, out: &mut [f32]) {
        let Work::Attention { heads, size, mask, columns: begins, picked } = step.work else { return };
        let part = |nth: usize| {
            let from = step.inputs[nth];
            Heads { data: &self.values[from], stride: columns(self.plan.steps[from].kind), offset: begins[nth] }
        };
        let keys = &self.plan.steps[step.inputs[1]];
        let (mut query, mut key, mut spans) = (0, 0, vec![]);
        for (item, (queries, keys)) in self.lengths(step).zip(self.lengths(keys)).enumerate() {
            let position = picked.and_then(|pick| picked_row(pick, self.ids(item))).unwrap_or(0);
            spans.push(Span { queries: query..query + queries, keys: key..key + keys, position });
            (query, key) = (query + queries, key + keys);
        }
        let of = Attention { q: part(0), k: part(1), v: part(2), heads, size, causal: mask == Mask::Causal, spans: &spans };
        attention(self.cores, of, out);
    }

    fn embed(
        &self,
        (tokens, positions, types): (Param, Param, Option<Param>),
        first_position: usize,
        width: usize,
        out: &mut [f32],
    ) -> Result<(), ExecError> {
        let longest = self.items.ids.iter().map(Vec::len).max().unwrap_or(0);
        let row = |param, rows| self.numbers.table(param).rows(rows).expect("the batch was checked");
        let positions = row(positions, first_position..first_position + longest);
        let types = types.map(|types| row(types, 0..1));
        let (positions, types) = (positions.to_f32()?, types.as_ref().map(|types| types.to_f32()).transpose()?);
        let places = self.items.ids.iter().flat_map(|ids| ids.iter().enumerate());
        for ((place, &id), out) in places.zip(out.chunks_exact_mut(width)) {
            let token = row(tokens, id as usize..id as usize + 1);
            let position = &positions[place * width..][..width];
            for ((x, t), p) in out.iter_mut().zip(&token.to_f32()?[..]).zip(position) {
                *x = t + p;
            }
            if let Some(types) = &types {
                out.iter_mut().zip(&types[..]).for_each(|(x, t)| *x += t);
            }
        }
        Ok(())
    }

    fn pick(&self, step: &Step, pick: Pick, out: &mut [f32]) {
        let width = columns(step.kind);
        let mut rest = &self.values[step.inputs[0]][..];
        let from = &self.plan.steps[step.inputs[0]];
        for (item, (length, out)) in self.lengths(from).zip(out.chunks_exact_mut(width)).enumerate() {
            let (rows, after) = rest.split_at(length * width);
            match picked_row(pick, self.ids(item)) {
                Some(row) => out.copy_from_slice(&rows[row * width..][..width]),
                None => mean(rows, out),
            }
            rest = after;
        }
    }

    /// A new first row for each item, written by `first` from the item's rows.
    fn prepend(&self, step: &Step, first: impl Fn(&[f32], &mut [f32]), out: &mut [f32]) {
        let width = columns(step.kind);
        let (mut rest, mut out) = (&self.values[step.inputs[0]][..], out);
        for length in self.lengths(step) {
            let (rows, after) = rest.split_at((length - 1) * width);
            let (item, after_out) = out.split_at_mut(length * width);
            first(rows, &mut item[..width]);
            item[width..].copy_from_slice(rows);
            (rest, out) = (after, after_out);
        }
    }
}

/// The mean of rows `[rows, out.len()]`.
fn mean(rows: &[f32], out: &mut [f32]) {
    let width = out.len();
    let count = (rows.len() / width) as f64;
    for (i, out) in out.iter_mut().enumerate() {
        *out = (rows.chunks_exact(width).map(|row| f64::from(row[i])).sum::<f64>() / count) as f32;
    }
}

/// `x` is rows of pixels.
fn avg_pool(x: &[f32], from: Kind, size: usize, to: Kind, out: &mut [f32]) {
    let (Kind::Image { channels, height, width }, Kind::Image { height: to_height, width: to_width, .. }) = (from, to) else {
        unreachable!("the builder gives pooling an image")
    };
    for (i, out) in out.chunks_exact_mut(channels).enumerate() {
        let (image, at) = (i / (to_height * to_width), i % (to_height * to_width));
        let corner = (image * height + at / to_width * size) * width + at % to_width * size;
        out.fill(0.0);
        for pixel in (0..size * size).map(|i| corner + i / size * width + i % size) {
            out.iter_mut().zip(&x[pixel * channels..][..channels]).for_each(|(sum, x)| *sum += x);
        }
        out.iter_mut().for_each(|sum| *sum /= (size * size) as f32);
    }
}
