//! The program `hua`.
fn main() {}
