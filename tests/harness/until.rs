//! Waiting for a condition.

use std::{
    fmt::Debug,
    time::{Duration, Instant},
};

/// Polls `look` until `Ok`, and returns its value; `Err` carries the observed state. Polls at once, then every few
/// milliseconds.
///
/// # Panics
/// After `limit`, with the last observed state.
#[track_caller]
pub fn until<T, S: Debug>(
    limit: Duration,
    mut look: impl AsyncFnMut() -> Result<T, S>,
) -> impl Future<Output = T> {
    let caller = std::panic::Location::caller();
    async move {
        let end = Instant::now() + limit;
        loop {
            match look().await {
                Ok(value) => return value,
                Err(seen) if Instant::now() >= end => {
                    panic!("{caller}: not within {limit:?}; last seen: {seen:#?}")
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    }
}
