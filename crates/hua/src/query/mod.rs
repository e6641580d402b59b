//! What people ask of pictures, and what helps them to ask.
//!
//! [`Query`] reads what was typed; [`vectors`] makes one vector of each query; [`Asking`] asks a library with filters, words and a
//! [`Calibration`] that knows when nothing fits. [`duplicates`], [`clusters`] and [`tag`] look at all pictures of a library at once.
mod ask;
mod calibrate;
mod clusters;
mod compose;
mod duplicates;
mod fold;
mod near;
mod parse;
mod products;
mod script;
mod tag;
mod template;

use hua_kernels::{Cores, Isa};

use crate::Error;

pub use ask::{Answer, Asking, Found, LibraryItems};
pub use calibrate::{Background, Calibration, SUGGESTED_LEVEL};
pub use clusters::{Cluster, ClusterOptions, Clusters, clusters};
pub use compose::{Aids, Items, NoItems, Vectors, vectors};
pub use duplicates::{Duplicate, DuplicateGroup, DuplicateOptions, SUGGESTED_COSINE, duplicates};
pub use fold::{fold, narrow, simplified, traditional};
pub use near::near;
pub use parse::{Content, Query, QueryError, Term};
pub use script::{Script, StrangeScript};
pub use tag::{TagOptions, Tagged, tag};
pub use template::Template;

/// What searches run on: `threads` threads, 0 for as many as the machine has cores.
///
/// # Errors
/// [`Error::Exec`] if `HUA_ISA` names instructions that the machine lacks, [`Error::Threads`] if the system gives no threads.
pub fn cores(threads: usize) -> Result<Cores, Error> {
    let isa = Isa::chosen().map_err(hua_exec::ExecError::from)?;
    Cores::new(threads, isa).map_err(|e| Error::Threads { threads, reason: e.to_string() })
}

/// The dot product of two vectors, summed in f64 and in order.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>() as f32
}
