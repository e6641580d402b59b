//! Low-rank adapters: which layers get them, and how they are merged.
