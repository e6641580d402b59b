//! What developers of hua run.
fn main() {}
