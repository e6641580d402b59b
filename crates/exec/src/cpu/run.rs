//! Runs a plan on the items of a batch, a part of them at a time.
use hua_graph::{Graph, Kind, Mask, Param, Pick};
use hua_kernels::{Attention, Cores, Epilogue, Heads, Part, Span, activate, attention, l2_normalize, layer_norm, product};

use super::arena::Arena;
use super::conv;
use super::numbers::Numbers;
use super::plan::{Plan, Step, Work, activation, columns};
use super::slots::{Place, Slots};
use crate::reference::picked_row;
use crate::shapes::{Items, Length, pixels, width};
use crate::{ExecError, Rows};

/// Numbers of the largest value of the items that run together, about: more than that costs memory and gains nothing.
const TOGETHER: usize = 4 << 20;
/// Weights of a product at most: queries, keys and values.
const PARTS: usize = 3;

/// A plan for some outputs, with all that can be known before there is a batch.
#[derive(Debug)]
pub(crate) struct Ready {
    /// The outputs.
    pub(crate) names: Vec<String>,
    /// Nodes of the graph that they need.
    pub(crate) needed: Vec<bool>,
    plan: Plan,
    slots: Slots,
    /// Rows and numbers of a row of every value, and of the windows of convolutions, each but once.
    sizes: Vec<(Length, usize)>,
}

impl Ready {
    pub(crate) fn new(names: Vec<String>, needed: Vec<bool>, plan: Plan) -> Self {
        let slots = Slots::of(&plan);
        let mut sizes = vec![];
        for step in &plan.steps {
            let wider = match step.work {
                Work::Conv { window, .. } => (columns(plan.steps[step.inputs[0]].kind) * window.size * window.size).max(columns(step.kind)),
                _ => columns(step.kind),
            };
            let size = match step.kind {
                Kind::Image { .. } => (Length::ONE, pixels(step.kind) * wider),
                _ => (step.length, wider),
            };
            if !sizes.contains(&size) {
                sizes.push(size);
            }
        }
        Self { names, needed, plan, slots, sizes }
    }

    /// Numbers of an item's largest value, or of the windows of a convolution.
    fn cost(&self, ids: usize) -> usize {
        self.sizes.iter().map(|(length, width)| length.rows(ids) * width).max().unwrap_or(0)
    }

    /// Floating-point operations of the products of one item with so many ids.
    pub(crate) fn flops(&self, graph: &Graph, ids: usize) -> u64 {
        let rows = |step: &Step| rows_of(step, 1, ids) as u64;
        let numbers = |weight: Param| graph.param(weight).shape.iter().product::<usize>() as u64;
        let of = |step: &Step| match &step.work {
            Work::Conv { weight, .. } => 2 * rows(step) * numbers(*weight),
            Work::Linear(parts) => 2 * rows(step) * parts.iter().map(|(weight, _)| numbers(*weight)).sum::<u64>(),
            Work::Attention { heads, size, .. } => 4 * rows(step) * rows(&self.plan.steps[step.inputs[1]]) * (heads * size) as u64,
            _ => 0,
        };
        self.plan.steps.iter().map(of).sum()
    }
}

/// The values of the plan's outputs.
pub(crate) fn run(ready: &Ready, numbers: &Numbers, cores: &Cores, items: &Items<'_>, arena: &mut Arena) -> Result<Vec<Rows>, ExecError> {
    let empty = |&i: &usize| {
        let step = &ready.plan.steps[i];
        let (width, len) = (width(step.kind), rows_of(step, items.count, items.tokens()) * columns(step.kind));
        Rows { width, lengths: Vec::with_capacity(items.count), data: Vec::with_capacity(len) }
    };
    let mut outputs: Vec<Rows> = ready.plan.outputs.iter().map(empty).collect();
    arena.reserve(ready.slots.count);
    // Parts of about equal cost, so that none is much worse for being small.
    let cost = |item: usize| ready.cost(items.length(item));
    let all: usize = (0..items.count).map(cost).sum();
    let parts = all.div_ceil(TOGETHER).max(1);
    let (mut first, mut before) = (0, 0);
    for part in 1..=parts {
        let mut end = first;
        while end < items.count && (part == parts || before * parts < part * all) {
            before += cost(end);
            end += 1;
        }
        if end > first {
            let items = items.part(first..end);
            Run { ready, numbers, cores, items: &items, tokens: items.tokens(), arena }.all(&mut outputs)?;
        }
        first = end;
    }
    Ok(outputs)
}

/// Rows of a step's value for so many items with so many ids: pixels of images.
pub(crate) fn rows_of(step: &Step, items: usize, ids: usize) -> usize {
    match step.kind {
        Kind::Image { .. } => items * pixels(step.kind),
        _ => step.length.all_rows(items, ids),
    }
}

struct Run<'a> {
    ready: &'a Ready,
    numbers: &'a Numbers,
    cores: &'a Cores,
    items: &'a Items<'a>,
    /// Ids of all items.
    tokens: usize,
    arena: &'a mut Arena,
}

impl<'a> Run<'a> {
    fn all(mut self, outputs: &mut [Rows]) -> Result<(), ExecError> {
        for i in 0..self.ready.plan.steps.len() {
            self.turn(i)?;
        }
        for (out, &i) in outputs.iter_mut().zip(&self.ready.plan.outputs) {
            let step = &self.ready.plan.steps[i];
            out.lengths.extend((0..self.items.count).map(|item| step.length.rows(self.items.length(item))));
            match (&step.work, step.kind) {
                (Work::Input, Kind::Ids) => out.data.extend(self.items.ids.iter().flatten().map(|&id| id as f32)),
                (Work::Input, _) => out.data.extend(self.items.pixels),
                (_, Kind::Image { channels, .. }) => out.data.extend(conv::transposed(self.value(i), pixels(step.kind), channels)),
                _ => out.data.extend(self.value(i)),
            }
        }
        Ok(())
    }

    /// One step's turn: its slot is taken out, and put back with its value.
    fn turn(&mut self, i: usize) -> Result<(), ExecError> {
        let ready = self.ready;
        let step = &ready.plan.steps[i];
        let slots = &ready.slots;
        let Place::Slot(slot) = slots.places[i] else { return Ok(()) };
        if step.work == Work::Flatten {
            return Ok(());
        }
        if let (Some(slot), Work::Conv { window, .. }) = (slots.windows[i], &step.work) {
            let from = ready.plan.steps[step.inputs[0]].kind;
            let len = self.rows(i) * columns(from) * window.size * window.size;
            let mut windows = self.arena.take(slot, len);
            let images = if window.channels_first { self.items.pixels } else { self.value(step.inputs[0]) };
            conv::windows(self.cores, images, *window, from, step.kind, windows.get_mut(len));
            self.arena.put(slot, windows);
        }
        match step.work {
            Work::Attention { picked, .. } => self.set_spans(i, step.inputs[1], picked),
            Work::Embed { .. } => {
                let tokens = self.items.ids.iter().flat_map(|ids| ids.iter().enumerate().map(|(place, &id)| (id, place)));
                self.arena.tokens.clear();
                self.arena.tokens.extend(tokens);
            }
            _ => {}
        }
        let len = self.rows(i) * columns(step.kind);
        let mut out = self.arena.take(slot, len);
        let done = self.step(i, step, out.get_mut(len));
        self.arena.put(slot, out);
        done
    }

    fn rows(&self, i: usize) -> usize {
        rows_of(&self.ready.plan.steps[i], self.items.count, self.tokens)
    }

    /// The value of a step that had its turn, or the batch's own numbers.
    fn value(&self, i: usize) -> &[f32] {
        match self.ready.slots.places[i] {
            Place::Batch => self.items.pixels,
            Place::Slot(slot) => self.arena.get(slot, self.rows(i) * columns(self.ready.plan.steps[i].kind)),
        }
    }

    fn lengths(&self, step: &Step) -> impl Iterator<Item = usize> + use<'a> {
        let (items, length) = (self.items, step.length);
        (0..items.count).map(move |item| length.rows(items.length(item)))
    }

    fn ids(&self, item: usize) -> &[u32] {
        self.items.ids.get(item).map_or(&[], |ids| ids)
    }

    /// Computes a step's value into `out`, which holds its first input where the plan says so.
    fn step(&self, i: usize, step: &Step, out: &mut [f32]) -> Result<(), ExecError> {
        let (cores, isa) = (self.cores, self.cores.isa());
        let in_place = self.ready.slots.in_place[i];
        let value = |nth: usize| self.value(step.inputs[nth]);
        let kind = |nth: usize| self.ready.plan.steps[step.inputs[nth]].kind;
        if matches!(step.work, Work::Act(_) | Work::Add | Work::AddPositions { .. } | Work::BatchNorm(_) | Work::L2Normalize) && !in_place {
            out.copy_from_slice(value(0));
        }
        match &step.work {
            Work::Act(act) => cores.each_rows(out, 1, |_, piece| activate(isa, activation(*act), piece)),
            Work::Add => {
                let other = value(1);
                cores.each_rows(out, 1, |first, piece| piece.iter_mut().zip(&other[first..]).for_each(|(x, y)| *x += y));
            }
            Work::AddPositions { table } => self.add_positions(step, *table, out),
            Work::Attention { heads, size, mask, columns: begins, .. } => {
                let part = |nth: usize| Heads { data: value(nth), stride: columns(kind(nth)), offset: begins[nth] };
                let (causal, spans) = (*mask == Mask::Causal, &self.arena.spans[..]);
                let (q, k, v) = (part(0), part(1), part(2));
                attention(cores, Attention { q, k, v, heads: *heads, size: *size, causal, spans }, out);
            }
            Work::AvgPool { size } => avg_pool(cores, value(0), kind(0), *size, step.kind, out),
            Work::BatchNorm(norm) => {
                let (scale, offset) = self.numbers.norm(norm);
                cores.each_rows(out, scale.len(), |_, rows| {
                    for row in rows.chunks_exact_mut(scale.len()) {
                        row.iter_mut().zip(scale).zip(offset).for_each(|((x, scale), offset)| *x = *x * scale + offset);
                    }
                });
            }
            Work::Conv { weight, bias, window, .. } => {
                let parts = [self.numbers.part(*weight, *bias)];
                let inner = columns(kind(0)) * window.size * window.size;
                let windows = match self.ready.slots.windows[i] {
                    Some(slot) => self.arena.get(slot, self.rows(i) * inner),
                    None => value(0),
                };
                product(cores, windows, inner, &parts, self.epilogue(step), out);
            }
            Work::Dropout { .. } | Work::DropTokens { .. } => unreachable!("plans for use have no steps for training"),
            Work::Embed { tokens, positions, first_position, types } => {
                self.embed((*tokens, *positions, *types), *first_position, columns(step.kind), out);
            }
            Work::Flatten => {}
            Work::Input => {
                if let Kind::Image { channels, .. } = step.kind {
                    let numbers = conv::transposed(self.items.pixels, channels, pixels(step.kind));
                    out.iter_mut().zip(numbers).for_each(|(x, number)| *x = number);
                }
            }
            Work::L2Normalize => cores.each_rows(out, columns(step.kind), |_, rows| l2_normalize(isa, rows, columns(step.kind))),
            Work::LayerNorm { weight, bias, eps } => {
                layer_norm(cores, value(0), self.numbers.vector(*weight), self.numbers.vector(*bias), *eps, out);
            }
            Work::Linear(weights) => {
                let part = |at: usize| weights.get(at).or(weights.first()).map(|&(weight, bias)| self.numbers.part(weight, bias));
                let parts: [Part<'_>; PARTS] = std::array::from_fn(|at| part(at).expect("a product has a weight"));
                product(cores, value(0), columns(kind(0)), &parts[..weights.len()], self.epilogue(step), out);
            }
            Work::Pick(pick) => self.pick(step, *pick, out),
            Work::Prepend { token } => self.prepend(step, |_, row| row.copy_from_slice(self.numbers.vector(*token)), out),
            Work::PrependMean => self.prepend(step, mean, out),
        }
        Ok(())
    }

    fn epilogue(&self, step: &Step) -> Epilogue<'_> {
        let residual = step.inputs.last().filter(|_| step.fused.residual).map(|&i| self.value(i));
        Epilogue { act: step.fused.act.map(activation), residual, last: step.fused.last.map(activation), add: false }
    }

    /// The rows of each item in an attention whose keys are the value of step `keys`.
    fn set_spans(&mut self, i: usize, keys: usize, picked: Option<Pick>) {
        let steps = &self.ready.plan.steps;
        let mut spans = std::mem::take(&mut self.arena.spans);
        spans.clear();
        let (mut query, mut key) = (0, 0);
        for (item, (queries, keys)) in self.lengths(&steps[i]).zip(self.lengths(&steps[keys])).enumerate() {
            let position = picked.and_then(|pick| picked_row(pick, self.ids(item))).unwrap_or(0);
            spans.push(Span { queries: query..query + queries, keys: key..key + keys, position });
            (query, key) = (query + queries, key + keys);
        }
        self.arena.spans = spans;
    }

    /// Row i of every item gets row i of the table.
    fn add_positions(&self, step: &Step, table: Param, out: &mut [f32]) {
        let (table, width) = (self.numbers.table(table), columns(step.kind));
        if let Some(length) = step.length.same() {
            return self.cores.each_rows(out, width, |first, rows| {
                rows.chunks_exact_mut(width).enumerate().for_each(|(row, out)| table.add((first + row) % length, out));
            });
        }
        let mut rows = out.chunks_exact_mut(width);
        for length in self.lengths(step) {
            rows.by_ref().take(length).enumerate().for_each(|(row, out)| table.add(row, out));
        }
    }

    fn embed(&self, (tokens, positions, types): (Param, Param, Option<Param>), first_position: usize, width: usize, out: &mut [f32]) {
        let [tokens, positions] = [tokens, positions].map(|table| self.numbers.table(table));
        let types = types.map(|types| self.numbers.table(types));
        self.cores.each_rows(out, width, |first, rows| {
            for (out, &(id, place)) in rows.chunks_exact_mut(width).zip(&self.arena.tokens[first..]) {
                tokens.copy(id as usize, out);
                positions.add(first_position + place, out);
                if let Some(types) = types {
                    types.add(0, out);
                }
            }
        });
    }

    fn pick(&self, step: &Step, pick: Pick, out: &mut [f32]) {
        let width = columns(step.kind);
        let mut rest = self.value(step.inputs[0]);
        let from = &self.ready.plan.steps[step.inputs[0]];
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
    fn prepend(&self, step: &Step, first: impl Fn(&[f32], &mut [f32]) + Sync, out: &mut [f32]) {
        let width = columns(step.kind);
        let given = self.value(step.inputs[0]);
        if let Some(length) = step.length.same() {
            return self.cores.each_rows(out, width, |start, rows| {
                for (out, row) in rows.chunks_exact_mut(width).zip(start..) {
                    let (item, row) = (row / length, row % length);
                    let item = &given[item * (length - 1) * width..][..(length - 1) * width];
                    if row == 0 { first(item, out) } else { out.copy_from_slice(&item[(row - 1) * width..][..width]) }
                }
            });
        }
        let (mut rest, mut out) = (given, out);
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
pub(crate) fn mean(rows: &[f32], out: &mut [f32]) {
    let width = out.len();
    let count = (rows.len() / width) as f64;
    for (i, out) in out.iter_mut().enumerate() {
        *out = (rows.chunks_exact(width).map(|row| f64::from(row[i])).sum::<f64>() / count) as f32;
    }
}

/// `x` is rows of pixels.
pub(crate) fn avg_pool(cores: &Cores, x: &[f32], from: Kind, size: usize, to: Kind, out: &mut [f32]) {
    let (Kind::Image { channels, height, width }, Kind::Image { height: to_height, width: to_width, .. }) = (from, to) else {
        unreachable!("the builder gives pooling an image")
    };
    cores.each_rows(out, channels, |first, rows| {
        for (i, out) in (first..).zip(rows.chunks_exact_mut(channels)) {
            let (image, at) = (i / (to_height * to_width), i % (to_height * to_width));
            let corner = (image * height + at / to_width * size) * width + at % to_width * size;
            out.fill(0.0);
            for pixel in (0..size * size).map(|i| corner + i / size * width + i % size) {
                out.iter_mut().zip(&x[pixel * channels..][..channels]).for_each(|(sum, x)| *sum += x);
            }
            out.iter_mut().for_each(|sum| *sum /= (size * size) as f32);
        }
    });
}
