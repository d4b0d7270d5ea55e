//! Deadline of a read that a read pool has not begun to answer.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep};

/// Interval between two checks of the read pool, once a read is over its deadline.
const CHECK_INTERVAL: Duration = Duration::from_millis(50);
/// Time ahead of the deadline in which a probe shows if the read pool answers.
const PROBE_TIME: Duration = Duration::from_millis(750);

/// Timer of a read without a response; the timer's memory is kept from read to read.
#[derive(Default)]
pub(super) struct ReadDeadline {
    sleep: Option<Pin<Box<Sleep>>>,
    stage: DeadlineStage,
}

/// DeadlineStage of the timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum DeadlineStage {
    #[default]
    Stopped,
    /// The deadline is not near.
    Early,
    /// The deadline is near, or over.
    Late,
}

/// Event of the timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DeadlineEvent {
    /// The deadline is near: now is the time for a probe.
    Near,
    /// The read is over its deadline.
    Over,
}

// === impl ReadDeadline ===

impl ReadDeadline {
    /// Stops the timer: no read waits for its response to begin.
    pub(super) const fn stop(&mut self) {
        self.stage = DeadlineStage::Stopped;
    }

    /// Starts the timer unless running. Ready once shortly before the read has waited for `deadline`, then at the deadline, and
    /// again after each [`CHECK_INTERVAL`].
    pub(super) fn poll_event(&mut self, deadline: Duration, cx: &mut Context<'_>) -> Poll<DeadlineEvent> {
        let probe_time = PROBE_TIME.min(deadline / 2);
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep(deadline)));
        if self.stage == DeadlineStage::Stopped {
            self.stage = DeadlineStage::Early;
            sleep.as_mut().reset(Instant::now() + deadline - probe_time);
        }
        ready!(sleep.as_mut().poll(cx));
        let (event, pause) = match self.stage {
            DeadlineStage::Late => (DeadlineEvent::Over, CHECK_INTERVAL),
            DeadlineStage::Stopped | DeadlineStage::Early => (DeadlineEvent::Near, probe_time),
        };
        self.stage = DeadlineStage::Late;
        sleep.as_mut().reset(Instant::now() + pause);
        // The new time is polled, too: else nothing wakes the session.
        let _: Poll<()> = sleep.as_mut().poll(cx);
        Poll::Ready(event)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::advance;

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(5);

    async fn event(timer: &mut ReadDeadline, deadline: Duration) -> Option<DeadlineEvent> {
        poll_fn(|cx| {
            Poll::Ready(match timer.poll_event(deadline, cx) {
                Poll::Ready(event) => Some(event),
                Poll::Pending => None,
            })
        })
        .await
    }

    #[tokio::test(start_paused = true)]
    async fn a_read_is_checked_from_its_deadline_on() {
        for (deadline, probe_time) in [(DEADLINE, PROBE_TIME), (PROBE_TIME, PROBE_TIME / 2)] {
            let mut timer = ReadDeadline::default();
            assert_eq!(event(&mut timer, deadline).await, None);
            advance(deadline - probe_time).await;
            assert_eq!(event(&mut timer, deadline).await, Some(DeadlineEvent::Near));
            assert_eq!(event(&mut timer, deadline).await, None);
            for pause in [probe_time, CHECK_INTERVAL, CHECK_INTERVAL] {
                advance(pause).await;
                assert_eq!(event(&mut timer, deadline).await, Some(DeadlineEvent::Over));
                assert_eq!(event(&mut timer, deadline).await, None);
            }
            timer.stop();
            assert_eq!(event(&mut timer, deadline).await, None);
            advance(CHECK_INTERVAL).await;
            assert_eq!(event(&mut timer, deadline).await, None, "the next read has a deadline of its own");
        }
    }
}
