//! (to come)
use crate::disk::Step;
pub(crate) fn step(_: Step, _: &std::path::Path) -> std::io::Result<()> {
    Ok(())
}
