//! Progress of long work, and a way to stop it.

use std::sync::atomic::{AtomicBool, Ordering};

/// Told how far a run is; asked whether to go on.
pub trait Progress: Sync {
    /// `done` of about `total` model evaluations are done. `total` may grow while an adaptive method works.
    fn report(&self, done: u64, total: u64);

    /// `done` of `total` rows are done, where rows are read and written a few at a time; evaluations are not told then.
    fn rows(&self, done: u64, total: u64) {
        self.report(done, total);
    }

    /// Whether the caller wants the run to end; asked between batches.
    fn is_cancelled(&self) -> bool {
        false
    }
}

/// Tells nobody and never stops.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn report(&self, _done: u64, _total: u64) {}
}

/// Stops when a flag is set, as by Ctrl-C; tells nobody.
#[derive(Debug)]
pub struct Stoppable<'a>(pub &'a AtomicBool);

impl Progress for Stoppable<'_> {
    fn report(&self, _done: u64, _total: u64) {}

    fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
