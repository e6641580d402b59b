//! Ctrl-C, for commands that can go on later: the first time asks the work to end, the second time ends the program.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

/// What a shell reports of a program that Ctrl-C ended.
const INTERRUPTED: i32 = 130;

static ASKED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// The same as [`asked`], for work that keeps it.
pub fn shared() -> Arc<AtomicBool> {
    asked();
    Arc::clone(&ASKED)
}

/// True once somebody wants the work to end. From this call on Ctrl-C no longer ends the program at once.
pub fn asked() -> &'static AtomicBool {
    // Where no handler can be set, Ctrl-C does what it always did, and what was committed stays.
    let _ = ctrlc::set_handler(|| {
        if ASKED.swap(true, Ordering::Relaxed) {
            std::process::exit(INTERRUPTED);
        }
    });
    &ASKED
}
