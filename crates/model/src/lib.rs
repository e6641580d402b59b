//! Checkpoints in every format people have, and what each model family makes of them.
