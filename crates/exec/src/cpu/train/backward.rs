//! Backward through a plan: the gradient of each value is made, used by the step that made the value, and dropped.
//!
//! A sum hands its own gradient to both its inputs, as one buffer: who adds to it later copies it if somebody else still reads it. In a tower of
//! residual blocks nobody does, so that one buffer is the gradient of the residual stream from the last block to the first.
use std::sync::Arc;

use hua_graph::{Kind, Param};
use hua_kernels::{
    Cores, Epilogue, HeadsGradient, LayerNormGradients, PartGradient, Precision, activate_backward, attention_backward,
    l2_normalize_backward, layer_norm_backward, product, scatter_add, weight_gradients,
};

use super::analysis::{Analysis, is_cheap};
use super::forward::{Pass, Shared};
use super::pool::Buffer;
use super::weights::Order;
use crate::cpu::plan::{Step, Work, activation, columns};
use crate::shapes::pixels;

/// A backward pass.
pub(super) struct Backward<'a> {
    pub(super) pass: Pass<'a>,
    pub(super) analysis: &'a Analysis,
    /// Values that the tape kept, or that were made again.
    pub(super) values: Vec<Option<Shared>>,
    /// Gradients of values, as far as they are known.
    pub(super) gradients: Vec<Option<Shared>>,
    /// Of the parameters.
    pub(super) grads: &'a mut [Vec<f32>],
}

impl Backward<'_> {
    /// Through all steps.
    pub(super) fn run(&mut self) {
        let analysis = self.analysis;
        for segment in analysis.segments.iter().rev() {
            if segment.again {
                let keep = |i: usize| analysis.kept[i];
                self.pass.forward(segment.steps.clone(), &mut self.values, &analysis.last_use, keep);
            }
            for i in segment.steps.clone().rev() {
                if let Some(d) = self.gradients[i].take() {
                    self.step(i, d);
                }
                // Whoever reads it comes after it, and had its turn.
                self.values[i] = None;
            }
        }
    }

    fn flows(&self, i: usize, nth: usize) -> bool {
        self.analysis.gradient[self.pass.plan.steps[i].inputs[nth]]
    }

    /// A value, made again if it is not kept.
    fn make(&mut self, i: usize) {
        if self.values[i].is_some() || self.pass.plan.steps[i].work == Work::Input {
            return;
        }
        let step = &self.pass.plan.steps[i];
        assert!(is_cheap(step), "`{}` was not kept", step.name);
        self.make(step.inputs[0]);
        let mut out = self.pass.pool.take(self.pass.len(i));
        self.pass.compute(i, &self.values, &mut out);
        self.values[i] = Some(Arc::new(out));
    }

    /// The gradient of a value to write to, and whether there is something in it to add to.
    fn gradient(&mut self, i: usize) -> (Buffer, bool) {
        match self.gradients[i].take().map(Arc::try_unwrap) {
            None => (self.pass.pool.take(self.pass.len(i)), false),
            Some(Ok(own)) => (own, true),
            Some(Err(shared)) => {
                let mut own = self.pass.pool.take(shared.len());
                own.copy_from_slice(&shared);
                (own, true)
            }
        }
    }

    /// The gradient of a value to add to.
    fn sum(&mut self, i: usize) -> Buffer {
        let (mut d, add) = self.gradient(i);
        if !add {
            d.fill(0.0);
        }
        d
    }

    fn put(&mut self, i: usize, d: Buffer) {
        self.gradients[i] = Some(Arc::new(d));
    }

    /// Adds a gradient that others may have too.
    fn give(&mut self, i: usize, d: Shared) {
        if !self.analysis.gradient[i] {
            return;
        }
        if self.gradients[i].is_none() {
            self.gradients[i] = Some(d);
            return;
        }
        let (mut sum, _) = self.gradient(i);
        self.pass.cores.each_rows(&mut sum, 1, |first, piece| piece.iter_mut().zip(&d[first..]).for_each(|(sum, d)| *sum += d));
        self.put(i, sum);
    }

    /// A buffer of one's own with these numbers.
    fn own(&self, d: Shared) -> Buffer {
        Arc::try_unwrap(d).unwrap_or_else(|shared| {
            let mut own = self.pass.pool.take(shared.len());
            own.copy_from_slice(&shared);
            own
        })
    }

    /// The gradient of a parameter, if it is trained.
    fn trained(&mut self, param: Param) -> Option<&mut Vec<f32>> {
        Some(&mut self.grads[param.index()]).filter(|_| self.pass.weights.is_trained(param))
    }

    /// Given the gradient of a step's value: those of its inputs and parameters.
    fn step(&mut self, i: usize, d: Shared) {
        let plan = self.pass.plan;
        let step = &plan.steps[i];
        let width = columns(step.kind);
        let input = step.inputs.first().copied().unwrap_or(i);
        let flows = !step.inputs.is_empty() && self.flows(i, 0);
        match &step.work {
            Work::Act(act) => {
                // What it was given is overwritten, if nobody else needs it.
                let (isa, mut d) = (self.pass.cores.isa(), self.own(d));
                let mut x = self.own_value(input);
                let cores = self.pass.cores;
                cores.each_pair(&mut x, &mut d, |x, d| activate_backward(isa, activation(*act), x, d));
                self.give(input, Arc::new(d));
            }
            Work::Add => {
                self.give(step.inputs[1], d.clone());
                self.give(input, d);
            }
            Work::AddPositions { table } => {
                let places = self.pass.places(step);
                self.table(*table, 0, width, &d, &places, step.length.same());
                self.give(input, d);
            }
            Work::Attention { .. } => self.attention(i, &d),
            Work::AvgPool { size } => self.avg_pool(i, *size, &d),
            Work::BatchNorm(norm) => {
                let channels = self.pass.weights.norm(norm);
                if [norm.weight, norm.bias].into_iter().any(|param| self.pass.weights.is_trained(param)) {
                    self.make_if(input, self.pass.weights.is_trained(norm.weight));
                    let (mut dweight, mut dbias) = (vec![0.0; width], vec![0.0; width]);
                    d.chunks_exact(width).for_each(|row| dbias.iter_mut().zip(row).for_each(|(sum, d)| *sum += d));
                    if self.pass.weights.is_trained(norm.weight) {
                        let x = self.pass.read(input, &self.values);
                        for (x, d) in x.chunks_exact(width).zip(d.chunks_exact(width)) {
                            for (((sum, x), d), c) in dweight.iter_mut().zip(x).zip(d).zip(&channels) {
                                *sum += d * (x - c.mean) * c.inverse;
                            }
                        }
                    }
                    for (param, sums) in [(norm.weight, dweight), (norm.bias, dbias)] {
                        if let Some(grad) = self.trained(param) {
                            grad.iter_mut().zip(sums).for_each(|(grad, sum)| *grad += sum);
                        }
                    }
                }
                if flows {
                    let mut d = self.own(d);
                    self.pass.cores.each_rows(&mut d, width, |_, rows| {
                        for row in rows.chunks_exact_mut(width) {
                            row.iter_mut().zip(&channels).for_each(|(d, c)| *d *= c.scale);
                        }
                    });
                    self.give(input, Arc::new(d));
                }
            }
            Work::Conv { weight, bias, .. } => {
                self.residual(step, &d);
                self.conv(i, *weight, *bias, &d);
            }
            Work::Dropout { rate, picked } => {
                let mut d = self.own(d);
                self.pass.dropout(step, *rate, *picked, &mut d);
                self.give(input, Arc::new(d));
            }
            Work::DropTokens { keep } => {
                let (rows, given) = (step.length.rows(0), plan.steps[input].length.rows(0));
                let mut dx = self.sum(input);
                for (item, d) in d.chunks_exact(rows * width).enumerate() {
                    let kept = self.pass.kept_rows(step, *keep, item, given);
                    for (d, row) in d.chunks_exact(width).zip(kept) {
                        add(&mut dx[(item * given + row) * width..][..width], d);
                    }
                }
                self.put(input, dx);
            }
            Work::Embed { tokens, positions, first_position, types } => {
                let ids: Vec<u32> = self.pass.items.ids.iter().flatten().copied().collect();
                let places = self.pass.places(step);
                self.table(*tokens, 0, width, &d, &ids, None);
                self.table(*positions, *first_position, width, &d, &places, None);
                if let Some(types) = *types {
                    let cores = self.pass.cores;
                    if let Some(grad) = self.trained(types) {
                        add_columns(cores, &d, &mut grad[..width]);
                    }
                }
            }
            Work::Flatten => self.give(input, d),
            Work::Input => {}
            Work::L2Normalize => {
                let mut d = self.own(d);
                self.make(input);
                l2_normalize_backward(self.pass.read(input, &self.values), &mut d, width);
                self.give(input, Arc::new(d));
            }
            Work::LayerNorm { weight, bias, eps } => {
                self.make(input);
                let mut dx = flows.then(|| self.gradient(input));
                let [mut dweight, mut dbias] = [*weight, *bias].map(|param| self.trained(param).map(std::mem::take));
                let to = LayerNormGradients {
                    add: dx.as_ref().is_some_and(|dx| dx.1),
                    x: dx.as_mut().map(|dx| &mut dx.0[..]),
                    weight: dweight.as_deref_mut(),
                    bias: dbias.as_deref_mut(),
                };
                layer_norm_backward(self.pass.cores, self.pass.read(input, &self.values), self.pass.weights.vector(*weight), *eps, &d, to);
                for (param, grad) in [(*weight, dweight), (*bias, dbias)] {
                    grad.into_iter().for_each(|grad| self.grads[param.index()] = grad);
                }
                dx.into_iter().for_each(|dx| self.put(input, dx.0));
            }
            Work::Linear(parts) => {
                self.residual(step, &d);
                self.linear(i, parts, d);
            }
            Work::Pick(pick) => {
                let (mut dx, mut start) = (self.sum(input), 0);
                let lengths: Vec<usize> = self.pass.lengths(&plan.steps[input]).collect();
                for (item, (length, d)) in lengths.into_iter().zip(d.chunks_exact(width)).enumerate() {
                    let rows = &mut dx[start * width..][..length * width];
                    match self.pass.picked(*pick, item) {
                        Some(row) => add(&mut rows[row * width..][..width], d),
                        None => add_mean(rows, d),
                    }
                    start += length;
                }
                self.put(input, dx);
            }
            Work::Prepend { token } => {
                let lengths: Vec<usize> = self.pass.lengths(step).collect();
                if let Some(grad) = self.trained(*token) {
                    let mut rest = &d[..];
                    for length in lengths {
                        add(grad, &rest[..width]);
                        rest = &rest[length * width..];
                    }
                }
                if flows {
                    let (mut dx, there) = self.gradient(input);
                    let rows = self.pass.item_rows(&plan.steps[input]);
                    self.pass.cores.each_rows(&mut dx, width, |first, dx| {
                        for (at, (dx, &(item, _))) in dx.chunks_exact_mut(width).zip(&rows[first..]).enumerate() {
                            let d = &d[(first + at + item as usize + 1) * width..][..width];
                            if there { add(dx, d) } else { dx.copy_from_slice(d) }
                        }
                    });
                    self.put(input, dx);
                }
            }
            Work::PrependMean => {
                let mut dx = self.sum(input);
                let lengths: Vec<usize> = self.pass.lengths(step).collect();
                let (mut from, mut to) = (&d[..], &mut dx[..]);
                for length in lengths {
                    let (item, after) = from.split_at(length * width);
                    let (rows, after_to) = to.split_at_mut((length - 1) * width);
                    add(rows, &item[width..]);
                    add_mean(rows, &item[..width]);
                    (from, to) = (after, after_to);
                }
                self.put(input, dx);
            }
        }
    }

    fn make_if(&mut self, i: usize, wanted: bool) {
        if wanted {
            self.make(i);
        }
    }

    /// A value to overwrite: its own buffer if nobody reads it any more.
    fn own_value(&mut self, i: usize) -> Buffer {
        self.make(i);
        let last = self.analysis.uses[i] == 1;
        let value = if last { self.values[i].take() } else { self.values[i].clone() };
        match value {
            Some(value) => self.own(value),
            None => {
                let mut own = self.pass.pool.take(self.pass.items.pixels.len());
                own.copy_from_slice(self.pass.items.pixels);
                own
            }
        }
    }

    /// The gradient of what a product added to its sums is the product's own.
    fn residual(&mut self, step: &Step, d: &Shared) {
        if let Some(&input) = step.inputs.last().filter(|_| step.fused.residual) {
            self.give(input, d.clone());
        }
    }

    /// `d` is of the products side by side.
    fn linear(&mut self, i: usize, parts: &[(Param, Option<Param>)], d: Shared) {
        let (plan, cores) = (self.pass.plan, self.pass.cores);
        let (input, width) = (plan.steps[i].inputs[0], columns(plan.steps[i].kind));
        let inner = columns(plan.steps[input].kind);
        if self.flows(i, 0) {
            let weight = self.pass.weights.transposed(parts.iter().map(|part| part.0));
            let (mut dx, add) = self.gradient(input);
            product(cores, &d, width, &[weight], Epilogue { add, ..Epilogue::default() }, &mut dx);
            // An activation that nobody else reads: its values, which the weights want, come with its slope.
            if let (Work::Act(act), &[from]) = (&plan.steps[input].work, &plan.steps[input].inputs[..])
                && [input, from].into_iter().all(|value| self.analysis.uses[value] == 1)
                && self.values[input].is_none()
            {
                let mut x = self.own_value(from);
                let isa = cores.isa();
                cores.each_pair(&mut x, &mut dx, |x, d| activate_backward(isa, activation(*act), x, d));
                self.values[input] = Some(Arc::new(x));
                self.put(from, dx);
            } else {
                self.put(input, dx);
            }
        }
        let outs: Vec<usize> = parts.iter().map(|&(weight, _)| self.pass.weights.part(weight, None).weight.layout().out()).collect();
        let wanted = |param: Param| self.pass.weights.is_trained(param);
        if !parts.iter().any(|&(weight, bias)| wanted(weight) || bias.is_some_and(wanted)) {
            return;
        }
        if parts.iter().any(|&(weight, _)| wanted(weight)) {
            self.make(input);
        }
        let mut taken: Vec<[Option<Vec<f32>>; 2]> = vec![];
        for &(weight, bias) in parts {
            let mut take = |param: Option<Param>| param.and_then(|param| self.trained(param).map(std::mem::take));
            taken.push([take(Some(weight)), take(bias)]);
        }
        let mut gradients: Vec<PartGradient<'_>> = taken
            .iter_mut()
            .zip(&outs)
            .map(|([weight, bias], &out)| PartGradient { out, weight: weight.as_deref_mut(), bias: bias.as_deref_mut() })
            .collect();
        let x = if gradients.iter().any(|part| part.weight.is_some()) { self.pass.read(input, &self.values) } else { &[] };
        let precision = self.pass.weights.part(parts[0].0, None).weight.layout().precision();
        weight_gradients(cores, precision, &d, x, inner, &mut gradients);
        for (&(weight, bias), [dweight, dbias]) in parts.iter().zip(taken) {
            for (param, grad) in [(Some(weight), dweight), (bias, dbias)] {
                if let (Some(param), Some(grad)) = (param, grad) {
                    self.grads[param.index()] = grad;
                }
            }
        }
    }

    /// A table of which rows `first + index` were read. `same` is how many rows each item has, if their places are the index.
    fn table(&mut self, table: Param, first: usize, width: usize, d: &[f32], index: &[u32], same: Option<usize>) {
        let cores = self.pass.cores;
        let Some(grad) = self.trained(table) else { return };
        match same {
            // Items one below the other: a sum of columns.
            Some(rows) => add_columns(cores, d, &mut grad[first * width..][..rows * width]),
            None => scatter_add(cores, d, index, width, &mut grad[first * width..]),
        }
    }

    fn attention(&mut self, i: usize, d: &Shared) {
        let plan = self.pass.plan;
        let step = &plan.steps[i];
        let Work::Attention { columns: begins, heads, size, .. } = step.work else { unreachable!("only attentions ask") };
        let width = heads * size;
        for nth in 0..3 {
            self.make(step.inputs[nth]);
        }
        // Gradients go where the values are, side by side, if they fill them and nobody was there before.
        let mut sources: Vec<usize> = vec![];
        for &input in &step.inputs[..3] {
            if !sources.contains(&input) {
                sources.push(input);
            }
        }
        let covered = |input: usize| {
            let mut all: Vec<usize> = (0..3).filter(|&nth| step.inputs[nth] == input).map(|nth| begins[nth]).collect();
            all.sort_unstable();
            all.iter().enumerate().all(|(at, &begin)| begin == at * width) && all.len() * width == columns(plan.steps[input].kind)
        };
        let direct = sources.iter().all(|&input| self.gradients[input].is_none() && covered(input));
        let spans = self.pass.spans(i);
        let (mut buffers, to): (Vec<Buffer>, [HeadsGradient; 3]) = if direct {
            let buffers = sources.iter().map(|&input| self.pass.pool.take(self.pass.len(input))).collect();
            let to = [0, 1, 2].map(|nth: usize| {
                let input = step.inputs[nth];
                let buffer = sources.iter().position(|&source| source == input).expect("each input is a source");
                HeadsGradient { buffer, stride: columns(plan.steps[input].kind), offset: begins[nth] }
            });
            (buffers, to)
        } else {
            let buffers = (0..3).map(|nth| self.pass.pool.take(self.pass.rows(step.inputs[nth]) * width)).collect();
            (buffers, [0, 1, 2].map(|buffer| HeadsGradient { buffer, stride: width, offset: 0 }))
        };
        {
            let of = self.pass.attention(i, &self.values, &spans);
            let mut slices: Vec<&mut [f32]> = buffers.iter_mut().map(|buffer| &mut buffer[..]).collect();
            attention_backward(self.pass.cores, of, d, &mut slices, to);
        }
        if direct {
            for (input, buffer) in sources.into_iter().zip(buffers) {
                self.give(input, Arc::new(buffer));
            }
            return;
        }
        for (nth, buffer) in buffers.into_iter().enumerate().filter(|&(nth, _)| self.flows(i, nth)).collect::<Vec<_>>() {
            let (input, begin) = (step.inputs[nth], begins[nth]);
            let stride = columns(plan.steps[input].kind);
            let mut sum = self.sum(input);
            for (to, from) in sum.chunks_exact_mut(stride).zip(buffer.chunks_exact(width)) {
                add(&mut to[begin..][..width], from);
            }
            self.put(input, sum);
        }
    }

    /// `d` is rows of pixels.
    fn avg_pool(&mut self, i: usize, size: usize, d: &[f32]) {
        let (plan, input) = (self.pass.plan, self.pass.plan.steps[i].inputs[0]);
        let (Kind::Image { channels, height, width }, Kind::Image { height: to_height, width: to_width, .. }) =
            (plan.steps[input].kind, plan.steps[i].kind)
        else {
            unreachable!("the builder gives pooling an image")
        };
        let mut dx = self.sum(input);
        let share = 1.0 / (size * size) as f32;
        for (at, d) in d.chunks_exact(channels).enumerate() {
            let (image, at) = (at / (to_height * to_width), at % (to_height * to_width));
            let corner = (image * height + at / to_width * size) * width + at % to_width * size;
            for pixel in (0..size * size).map(|i| corner + i / size * width + i % size) {
                dx[pixel * channels..][..channels].iter_mut().zip(d).for_each(|(x, d)| *x += d * share);
            }
        }
        self.put(input, dx);
    }

    fn conv(&mut self, i: usize, weight: Param, bias: Option<Param>, d: &[f32]) {
        let (plan, cores) = (self.pass.plan, self.pass.cores);
        let step = &plan.steps[i];
        let (input, width) = (step.inputs[0], columns(step.kind));
        let Work::Conv { window, .. } = step.work else { unreachable!("only convolutions ask") };
        let from = plan.steps[input].kind;
        let (channels, area) = (columns(from), window.size * window.size);
        let inner = channels * area;
        if self.pass.weights.is_trained(weight) {
            self.make(input);
            let order = Order::of(channels, area, window.channels_first);
            let precision = self.pass.weights.part(weight, None).weight.layout().precision();
            let mut dweight = vec![0.0; width * inner];
            let mut dbias = bias.and_then(|bias| self.trained(bias).map(std::mem::take));
            self.pass.each_windows(i, &self.values, |first, windows, inner| {
                let d = &d[first * width..][..windows.len() / inner * width];
                let part = PartGradient { out: width, weight: Some(&mut dweight), bias: dbias.as_deref_mut() };
                weight_gradients(cores, precision, d, windows, inner, &mut [part]);
            });
            if let (Some(bias), Some(dbias)) = (bias, dbias) {
                self.grads[bias.index()] = dbias;
            }
            order.add(&dweight, &mut self.grads[weight.index()]);
        } else if let Some(grad) = bias.and_then(|bias| self.trained(bias)) {
            add_columns(cores, d, grad);
        }
        if !self.flows(i, 0) {
            return;
        }
        let transposed = self.pass.weights.transposed([weight]);
        if window.is_pixel() {
            let (mut dx, add) = self.gradient(input);
            product(cores, d, width, &[transposed], Epilogue { add, ..Epilogue::default() }, &mut dx);
            return self.put(input, dx);
        }
        let mut dx = self.sum(input);
        let (numbers, rows) = (channels * pixels(from), pixels(step.kind));
        // One image after the other: where their windows overlap, sums keep their order.
        let mut windows = self.pass.pool.take(rows * inner);
        for (d, dx) in d.chunks_exact(rows * width).zip(dx.chunks_exact_mut(numbers)) {
            product(cores, d, width, &[transposed], Epilogue::default(), &mut windows);
            crate::cpu::conv::add_windows(&windows, window, from, step.kind, dx);
        }
        self.put(input, dx);
    }
}

/// `to += from`.
fn add(to: &mut [f32], from: &[f32]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
}

/// Adds the sums of columns: of `rows`, as many numbers each as `sums`.
fn add_columns(cores: &Cores, rows: &[f32], sums: &mut [f32]) {
    let part = PartGradient { out: sums.len(), weight: None, bias: Some(sums) };
    weight_gradients(cores, Precision::F32, rows, &[], 0, &mut [part]);
}

/// The gradient of the mean of rows `[rows, d.len()]`.
fn add_mean(rows: &mut [f32], d: &[f32]) {
    let share = 1.0 / (rows.len() / d.len()) as f32;
    for row in rows.chunks_exact_mut(d.len()) {
        row.iter_mut().zip(d).for_each(|(x, d)| *x += d * share);
    }
}
