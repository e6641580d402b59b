//! Strings to token ids, exactly as each model family was trained.
