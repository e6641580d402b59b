//! What is learnt from: pairs of pictures and texts, parallel texts, and the order they come in.
