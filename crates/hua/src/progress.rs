//! How long work tells what it does: the program draws a bar, a library user may do nothing.

/// Told of long work as it goes. Calls may come from several threads.
pub trait Progress: Sync {
    /// A new piece of work begins, such as `embedding pictures`, of `total` steps; 0 if that is not known.
    fn start(&self, what: &str, total: u64);
    /// Some steps are done.
    fn advance(&self, steps: u64);
    /// So many steps of this piece of work have failed up to now.
    fn failed(&self, _steps: u64) {}
    /// The piece of work is done.
    fn finish(&self);
    /// Whether anybody watches: if so, it is worth finding out first how much there is to do.
    fn is_shown(&self) -> bool {
        false
    }
}

/// Tells nobody.
#[derive(Clone, Copy, Debug)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn start(&self, _: &str, _: u64) {}
    fn advance(&self, _: u64) {}
    fn finish(&self) {}
}
