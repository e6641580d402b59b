//! The learning rate of each step.
