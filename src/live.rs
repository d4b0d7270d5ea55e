//! `Live<T>` to read, `Publisher<T>` to write: one writer by type.
//!
//! A reader loads once per decision and keeps the loaded value: values that must agree live in the same `T`. Each swap
//! increments a generation and wakes waiting readers.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;

struct SharedValue<T> {
    value: ArcSwap<T>,
    generation: watch::Sender<u64>,
}

/// The reading end: cheap to clone, never blocks.
pub struct Live<T> {
    shared: Arc<SharedValue<T>>,
}

/// The writing end. Not `Clone`: the holder is the only writer.
pub struct Publisher<T> {
    shared: Arc<SharedValue<T>>,
}

/// A writing and a reading end over `first`.
pub fn live<T>(first: T) -> (Publisher<T>, Live<T>) {
    let shared =
        Arc::new(SharedValue { value: ArcSwap::from_pointee(first), generation: watch::Sender::new(0) });
    let reader = Live { shared: Arc::clone(&shared) };
    (Publisher { shared }, reader)
}

// === impl Live ===

impl<T> Live<T> {
    /// A value that never changes.
    pub fn fixed(value: T) -> Self {
        live(value).1
    }

    /// The value now.
    #[must_use]
    pub fn load(&self) -> Arc<T> {
        self.shared.value.load_full()
    }

    /// Number of swaps.
    #[must_use]
    pub fn generation(&self) -> u64 {
        *self.shared.generation.borrow()
    }

    /// A receiver of generations, to await the next change.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.generation.subscribe()
    }
}

impl<T> Clone for Live<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

// === impl Publisher ===

impl<T> Publisher<T> {
    /// Swaps the value whole and wakes the waiting readers.
    pub fn publish(&mut self, value: T) {
        self.shared.value.store(Arc::new(value));
        self.shared.generation.send_modify(|generation| *generation += 1);
    }

    /// A further reading end.
    #[must_use]
    pub fn reader(&self) -> Live<T> {
        Live { shared: Arc::clone(&self.shared) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_swap_is_seen_whole_and_wakes_the_readers() {
        let (mut publisher, reader) = live((1, 1));
        let mut changes = reader.changes();
        let kept = reader.load();
        publisher.publish((2, 2));
        changes.changed().await.expect("the publisher lives");
        assert_eq!((*kept, *reader.load(), reader.generation()), ((1, 1), (2, 2), 1));
    }
}
