//! Deadline of a read that a read pool has not begun to answer.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep};

/// Interval between two checks of the read pool, once a read is over its deadline.
const CHECK_INTERVAL: Duration = Duration::from_millis(250);

/// Timer of a read without a response; the timer's memory is kept from read to read.
#[derive(Default)]
pub(super) struct ReadDeadline {
    sleep: Option<Pin<Box<Sleep>>>,
    is_running: bool,
}

// === impl ReadDeadline ===

impl ReadDeadline {
    /// Stops the timer: no read waits for its response to begin.
    pub(super) const fn stop(&mut self) {
        self.is_running = false;
    }

    /// Starts the timer unless running. True once the read has waited for `deadline`, and again after each
    /// [`CHECK_INTERVAL`].
    pub(super) fn is_over(&mut self, deadline: Duration, cx: &mut Context<'_>) -> bool {
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep(deadline)));
        if !std::mem::replace(&mut self.is_running, true) {
            sleep.as_mut().reset(Instant::now() + deadline);
        }
        let is_over = sleep.as_mut().poll(cx).is_ready();
        if is_over {
            sleep.as_mut().reset(Instant::now() + CHECK_INTERVAL);
            // The new time is polled, too: else nothing wakes the session.
            let _: Poll<()> = sleep.as_mut().poll(cx);
        }
        is_over
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::advance;

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(5);

    async fn is_over(deadline: &mut ReadDeadline) -> bool {
        poll_fn(|cx| Poll::Ready(deadline.is_over(DEADLINE, cx))).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_read_is_checked_from_its_deadline_on() {
        let mut deadline = ReadDeadline::default();
        assert!(!is_over(&mut deadline).await);
        advance(DEADLINE).await;
        assert!(is_over(&mut deadline).await && !is_over(&mut deadline).await);
        advance(CHECK_INTERVAL).await;
        assert!(is_over(&mut deadline).await);
        deadline.stop();
        assert!(!is_over(&mut deadline).await);
        advance(CHECK_INTERVAL).await;
        assert!(!is_over(&mut deadline).await, "the next read has a deadline of its own");
    }
}
