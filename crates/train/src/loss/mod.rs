//! The losses and their gradients.
