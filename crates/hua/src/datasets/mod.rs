//! Data sets as files: into another form ([`convert`]), whether they are sound ([`check`]), what is in them ([`stats`]).
//!
//! All three read what [`hua_data::Sources`] reads, one picture after another, and keep of each no more than its name, hashes and sizes.
mod check;
mod convert;
mod scan;
mod stats;

pub use check::{Checked, Example, Finding, Severity, check};
pub use convert::{Converted, convert};
pub use scan::ScanOptions;
pub use stats::{Distribution, LanguageStats, Stats, stats};
