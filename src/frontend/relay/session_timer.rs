//! Time limits of a session: for a statement, an idle transaction, an idle client, and a client that does not read.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep};

use crate::{client_error::ClientError, frontend::SessionTimeouts};

/// Activity of a session, as far as time limits depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SessionPhase {
    /// No transaction.
    Idle,
    /// An open transaction, and no statement runs.
    IdleInTransaction,
    /// A statement runs at the server.
    Statement,
    /// The client has not read all of a response.
    Writing,
    /// Wait for a backend, which `hold` and `query_wait_timeout` limit.
    Waiting,
}

/// Timer of the session's phase.
pub(super) struct SessionTimer {
    timeouts: SessionTimeouts,
    /// The phase, and a number that changes with each progress.
    current: Option<(SessionPhase, u64)>,
    sleep: Pin<Box<Sleep>>,
}

// === impl SessionTimer ===

impl SessionTimer {
    /// A timer; `None` without any limit.
    pub(super) fn new(timeouts: SessionTimeouts) -> Option<Self> {
        let has_limits = timeouts != SessionTimeouts::default();
        has_limits.then(|| Self { timeouts, current: None, sleep: Box::pin(sleep(Duration::ZERO)) })
    }

    /// Notes the phase; `progress` changes with each statement, and with each write to the client. Ready with the error that
    /// ends a session over its limit.
    pub(super) fn poll(
        &mut self,
        phase: SessionPhase,
        progress: u64,
        cx: &mut Context<'_>,
    ) -> Poll<ClientError> {
        let limit = self.limit(phase);
        if self.current != Some((phase, progress)) {
            self.current = Some((phase, progress));
            if !limit.is_zero() {
                self.sleep.as_mut().reset(Instant::now() + limit);
            }
        }
        if limit.is_zero() {
            return Poll::Pending;
        }
        ready!(self.sleep.as_mut().poll(cx));
        Poll::Ready(match phase {
            SessionPhase::Statement => ClientError::query_timeout(limit),
            SessionPhase::IdleInTransaction => ClientError::idle_transaction_timeout(),
            SessionPhase::Idle => ClientError::client_idle_timeout(),
            SessionPhase::Writing | SessionPhase::Waiting => ClientError::client_write_timeout(limit),
        })
    }

    const fn limit(&self, phase: SessionPhase) -> Duration {
        match phase {
            SessionPhase::Idle => self.timeouts.idle,
            SessionPhase::IdleInTransaction => self.timeouts.idle_transaction,
            SessionPhase::Statement => self.timeouts.query,
            SessionPhase::Writing => self.timeouts.write,
            SessionPhase::Waiting => Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::advance;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    async fn error(timer: &mut SessionTimer, phase: SessionPhase, progress: u64) -> Option<String> {
        poll_fn(|cx| {
            Poll::Ready(match timer.poll(phase, progress, cx) {
                Poll::Ready(error) => Some(error.sqlstate.as_str().to_owned()),
                Poll::Pending => None,
            })
        })
        .await
    }

    #[tokio::test(start_paused = true)]
    async fn each_phase_has_its_limit_and_sqlstate() {
        let timeouts = SessionTimeouts {
            query: SECOND,
            idle_transaction: SECOND * 2,
            idle: SECOND * 3,
            write: SECOND * 4,
        };
        for (phase, limit, sqlstate) in [
            (SessionPhase::Statement, 1, "57014"),
            (SessionPhase::IdleInTransaction, 2, "25P03"),
            (SessionPhase::Idle, 3, "57P05"),
            (SessionPhase::Writing, 4, "08006"),
        ] {
            let mut timer = SessionTimer::new(timeouts).unwrap();
            assert_eq!(error(&mut timer, phase, 0).await, None);
            advance(SECOND * limit - SECOND / 2).await;
            assert_eq!(error(&mut timer, phase, 0).await, None, "{phase:?}");
            advance(SECOND / 2).await;
            assert_eq!(error(&mut timer, phase, 0).await, Some(sqlstate.to_owned()), "{phase:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn progress_and_another_phase_begin_anew() {
        let mut timer =
            SessionTimer::new(SessionTimeouts { query: SECOND, ..SessionTimeouts::default() }).unwrap();
        for progress in 0..3 {
            assert_eq!(error(&mut timer, SessionPhase::Statement, progress).await, None);
            advance(SECOND * 3 / 4).await;
        }
        assert_eq!(error(&mut timer, SessionPhase::Idle, 3).await, None);
        advance(SECOND * 9).await;
        assert_eq!(error(&mut timer, SessionPhase::Waiting, 3).await, None, "no limit is set");
        assert_eq!(error(&mut timer, SessionPhase::Statement, 3).await, None);
    }

    #[tokio::test]
    async fn without_limits_there_is_no_timer() {
        assert!(SessionTimer::new(SessionTimeouts::default()).is_none());
    }
}
