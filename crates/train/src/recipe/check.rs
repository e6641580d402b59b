//! Bounds of numbers in a recipe.
use std::fmt::Display;
use std::ops::Range;

use crate::{Error, Result};

/// Within the range, its end left out.
pub(super) fn share<T: PartialOrd + Display>(key: &str, found: T, wanted: Range<T>) -> Result<()> {
    let within = found >= wanted.start && found < wanted.end;
    let wanted = || format!("a number from {} to below {}", wanted.start, wanted.end);
    if within { Ok(()) } else { Err(Error::recipe(key, found.to_string(), wanted())) }
}

/// Above 0 and finite.
pub(super) fn positive(key: &str, found: f64) -> Result<()> {
    let good = found > 0.0 && found.is_finite();
    if good { Ok(()) } else { Err(Error::recipe(key, found.to_string(), "a number above 0")) }
}

/// Above 0, at most 1.
pub(super) fn part(key: &str, found: f64) -> Result<()> {
    let good = found > 0.0 && found <= 1.0;
    if good { Ok(()) } else { Err(Error::recipe(key, found.to_string(), "a number above 0, at most 1")) }
}

/// At least 1.
pub(super) fn some(key: &str, found: usize) -> Result<()> {
    if found > 0 { Ok(()) } else { Err(Error::recipe(key, "0", "at least 1")) }
}
