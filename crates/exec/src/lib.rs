//! Executors of a graph: the reference that defines every operation, and the fast one for CPUs.
