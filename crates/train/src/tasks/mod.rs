//! The three recipes as tasks.
