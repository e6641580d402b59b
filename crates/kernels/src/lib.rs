//! Numbers: matrix products and row kernels on slices, and memory-mapped files; the only unsafe code of the project.
mod file;

pub use file::MappedFile;
