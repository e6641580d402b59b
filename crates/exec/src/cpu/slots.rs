//! Where the values of a plan lie in memory: decided once for a plan, by how long each is needed.
//!
//! A slot holds one value after another. A step that changes each number by itself writes over its input if nobody reads that again,
//! and a `Flatten`, for which images lie right already, is its input. How long a slot is depends on the batch, so that only the
//! choice of slots is made here: the smallest free one that is large enough for items of usual size, or else the largest.
use hua_graph::Kind;

use crate::cpu::plan::{Plan, Step, Work, columns};
use crate::shapes::pixels;

/// Ids of a usual text.
const USUAL: usize = 32;

/// Where one step's value lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the batch itself.
    Batch,
    /// In a slot.
    Slot(usize),
}

#[derive(Debug)]
pub(crate) struct Slots {
    /// Of each step.
    pub(crate) places: Vec<Place>,
    /// Whether a step finds its first input where its value is to be, and changes it.
    pub(crate) in_place: Vec<bool>,
    /// For the windows of a convolution.
    pub(crate) windows: Vec<Option<usize>>,
    /// How many there are.
    pub(crate) count: usize,
}

impl Slots {
    pub(crate) fn of(plan: &Plan) -> Self {
        let steps = &plan.steps;
        let roots = roots(plan);
        let last_use = last_uses(plan, &roots);
        let mut slots = Self { places: vec![], in_place: vec![], windows: vec![], count: 0 };
        let mut pool = Pool::default();
        for (i, step) in steps.iter().enumerate() {
            let slot_of = |nth: usize| match slots.places[step.inputs[nth]] {
                Place::Slot(slot) => Some(slot),
                Place::Batch => None,
            };
            let root = |nth: usize| roots[step.inputs[nth]];
            // Whether nobody reads that input again, told once if it is there more than once.
            let dies = |nth: usize| last_use[root(nth)] == i && (0..nth).all(|before| root(before) != root(nth));
            let alone = (1..step.inputs.len()).all(|nth| root(nth) != root(0));
            let by_number =
                matches!(step.work, Work::Act(_) | Work::Add | Work::AddPositions { .. } | Work::BatchNorm(_) | Work::L2Normalize);
            let windows = match step.work {
                Work::Conv { window, .. } if !window.is_pixel() => {
                    Some(pool.take(usual_rows(step) * columns(plan.steps[step.inputs[0]].kind) * window.size * window.size))
                }
                _ => None,
            };
            let reused = match step.work {
                Work::Flatten => slot_of(0),
                _ if by_number && dies(0) && alone => slot_of(0),
                _ => None,
            };
            let place = match (&step.work, reused) {
                (Work::Input, _) if plan.image_as_given || step.kind == Kind::Ids => Place::Batch,
                (_, Some(slot)) => Place::Slot(slot),
                _ => Place::Slot(pool.take(usual_rows(step) * columns(step.kind))),
            };
            // What is free now may be taken by the next step, not by this one.
            for nth in 0..step.inputs.len() {
                if let Some(slot) = slot_of(nth).filter(|&slot| dies(nth) && place != Place::Slot(slot)) {
                    pool.give(slot);
                }
            }
            windows.into_iter().for_each(|slot| pool.give(slot));
            slots.in_place.push(by_number && reused.is_some());
            slots.places.push(place);
            slots.windows.push(windows);
        }
        slots.count = pool.sizes.len();
        slots
    }
}

/// The step that made the numbers of each step's value: its own, or the one whose image was flattened.
fn roots(plan: &Plan) -> Vec<usize> {
    let mut roots: Vec<usize> = vec![];
    for (i, step) in plan.steps.iter().enumerate() {
        roots.push(if step.work == Work::Flatten { roots[step.inputs[0]] } else { i });
    }
    roots
}

/// The last step that reads the numbers each root made; `usize::MAX` if they are an output.
fn last_uses(plan: &Plan, roots: &[usize]) -> Vec<usize> {
    let mut last_use: Vec<usize> = (0..plan.steps.len()).collect();
    for (i, step) in plan.steps.iter().enumerate() {
        step.inputs.iter().for_each(|&j| last_use[roots[j]] = i);
    }
    plan.outputs.iter().for_each(|&i| last_use[roots[i]] = usize::MAX);
    last_use
}

fn usual_rows(step: &Step) -> usize {
    match step.kind {
        Kind::Image { .. } => pixels(step.kind),
        _ => step.length.rows(USUAL),
    }
}

/// Slots that are in use or free, and how large their largest value is.
#[derive(Default)]
struct Pool {
    sizes: Vec<usize>,
    free: Vec<usize>,
}

impl Pool {
    fn take(&mut self, size: usize) -> usize {
        let fits = self.free.iter().enumerate().filter(|&(_, &slot)| self.sizes[slot] >= size).min_by_key(|&(_, &slot)| self.sizes[slot]);
        let chosen = fits.or_else(|| self.free.iter().enumerate().max_by_key(|&(_, &slot)| self.sizes[slot])).map(|(at, _)| at);
        match chosen {
            Some(at) => {
                let slot = self.free.swap_remove(at);
                self.sizes[slot] = self.sizes[slot].max(size);
                slot
            }
            None => {
                self.sizes.push(size);
                self.sizes.len() - 1
            }
        }
    }

    fn give(&mut self, slot: usize) {
        debug_assert!(!self.free.contains(&slot), "slot {slot} is free already");
        self.free.push(slot);
    }
}
