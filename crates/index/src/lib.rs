//! A library of pictures in one folder.
