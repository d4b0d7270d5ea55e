//! Time limit of the wait for more client messages.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep};

/// Time limit of the wait for the end of a batch: clients send a batch at once. A BEGIN also waits up to the limit for
/// the next message, so `now()` is at most 20 ms later than the client's BEGIN.
const BATCH_END_TIMEOUT: Duration = Duration::from_millis(20);

/// Timer of the wait for more client messages; the timer's memory is kept from wait to wait.
#[derive(Default)]
pub(super) struct BatchTimer {
    sleep: Option<Pin<Box<Sleep>>>,
    is_running: bool,
}

// === impl BatchTimer ===

impl BatchTimer {
    /// Stops the timer: no more messages are waited for.
    pub(super) const fn stop(&mut self) {
        self.is_running = false;
    }

    /// Starts the timer unless running. Ready at the end of the time limit; the timer is stopped then.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep(BATCH_END_TIMEOUT)));
        if !std::mem::replace(&mut self.is_running, true) {
            sleep.as_mut().reset(Instant::now() + BATCH_END_TIMEOUT);
        }
        let polled = sleep.as_mut().poll(cx);
        if polled.is_ready() {
            self.is_running = false;
        }
        polled
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stopped_timer_starts_anew() {
        let mut timer = BatchTimer::default();
        let is_over = |timer: &mut BatchTimer, cx: &mut Context<'_>| Poll::Ready(timer.poll(cx).is_ready());
        assert!(!poll_fn(|cx| is_over(&mut timer, cx)).await);
        advance(BATCH_END_TIMEOUT / 2).await;
        timer.stop();
        assert!(!poll_fn(|cx| is_over(&mut timer, cx)).await);
        advance(BATCH_END_TIMEOUT / 2).await;
        assert!(!poll_fn(|cx| is_over(&mut timer, cx)).await);
        advance(BATCH_END_TIMEOUT).await;
        assert!(poll_fn(|cx| is_over(&mut timer, cx)).await);
    }
}
