//! Picture files to the pixels a model sees, byte for byte what Pillow gives.
