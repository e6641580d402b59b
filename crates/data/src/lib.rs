//! Readers of everything that lists pictures and captions.
