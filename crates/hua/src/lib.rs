//! hua: pictures and words of many languages in one space. The library: open a model, embed, compare, classify.

pub mod hub;
