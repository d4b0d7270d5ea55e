//! The wish that the writer be asked where it stands.

use std::sync::atomic::{
    AtomicBool,
    Ordering::{AcqRel, Relaxed},
};

use tokio::sync::Notify;

/// The wish that the writer be asked where it stands: many may have it, one fulfils it.
#[derive(Default)]
pub(super) struct Wanted {
    wanted: AtomicBool,
    woken: Notify,
}

// === impl Wanted ===

impl Wanted {
    /// Somebody has it. Whatever was asked of the writer before now does not fulfil it.
    pub(super) fn want(&self) {
        // A look first: while a thousand sessions wish the same, the cache line stays with all of them.
        if !self.wanted.load(Relaxed) && !self.wanted.swap(true, AcqRel) {
            self.woken.notify_one();
        }
    }

    /// Waits until somebody has it. It stays until it is taken.
    ///
    /// Cancel safe.
    pub(super) async fn wait(&self) {
        while !self.wanted.load(Relaxed) {
            self.woken.notified().await;
        }
    }

    /// Takes it: whoever has it from now on wants another sample. To be called before the clock is read.
    pub(super) fn take(&self) -> bool {
        self.wanted.swap(false, AcqRel)
    }
}
