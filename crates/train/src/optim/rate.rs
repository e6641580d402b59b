//! Base learning rates for recipes that say none: published points, and between them a rule that knows the batch.
//!
//! - A trained model further: `3e-6 · batch / 48`, at most 5e-5. It goes through cn_clip's notebook (3e-6 at 48) and close to its scripts (5e-5 at
//!   8 × 128); above that the paper's rates no longer grow. People who took the scripts' 5e-5 to a batch of 96 fell below the model that they
//!   had started from (`Chinese-CLIP` issues 28, 116, 396).
//! - Low-rank adapters: ten times that. They begin at nothing and are few.
//! - Random weights: `1e-3 · √(batch / 1024)`, at most 1e-3: open_clip's example of a thousand pairs, by the square-root rule of adaptive
//!   optimisers (Malladi et al., arXiv 2205.10287).
//! - A student towards a teacher's vectors: `1e-4 · √(batch / 1024)`, at most 1e-4, as AltCLIP's first stage.

/// What a run starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// A trained model, all of whose chosen parameters are trained.
    Checkpoint,
    /// A trained model and new low-rank adapters.
    Lora,
    /// Random weights.
    Scratch,
    /// A trained text tower, towards a teacher's vectors.
    Student,
}

/// A base learning rate that suits the start and the batch (items of a step).
pub fn suitable_lr(start: Start, batch: usize) -> f64 {
    let batch = batch as f64;
    let root = (batch / 1024.0).sqrt().min(1.0);
    let further = (3e-6 * batch / 48.0).min(5e-5);
    match start {
        Start::Checkpoint => further,
        Start::Lora => 10.0 * further,
        Start::Scratch => 1e-3 * root,
        Start::Student => 1e-4 * root,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_points_are_met() {
        assert!((suitable_lr(Start::Checkpoint, 48) - 3e-6).abs() < 1e-12);
        assert!((suitable_lr(Start::Checkpoint, 1024) - 5e-5).abs() < 1e-12);
        assert!((suitable_lr(Start::Checkpoint, 32_768) - 5e-5).abs() < 1e-12);
        assert!((suitable_lr(Start::Scratch, 1024) - 1e-3).abs() < 1e-12);
        assert!((suitable_lr(Start::Scratch, 256) - 5e-4).abs() < 1e-12);
        assert!((suitable_lr(Start::Student, 4096) - 1e-4).abs() < 1e-12);
    }
}
