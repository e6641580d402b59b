//! Checkpoints on disk: whole or not there, and enough to go on to the bit.
