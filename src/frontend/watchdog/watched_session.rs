//! Observations of one session over time: how long a statement runs, and how long a peer is silent.
//!
//! Promises: a peer is given up only after it was silent for the whole limit; one answer ends a silence. Refuses to know:
//! sockets and clocks.

use std::time::{Duration, Instant};

use crate::{backend::TcpState, frontend::registry::entry::Activity};

/// State of a session with a backend at the last check.
#[derive(Debug, Default)]
pub(super) struct WatchedSession {
    /// Start of the session's last statement, by number, as far as seen.
    statement: Option<(u64, Instant)>,
    backend: Silence,
    client: Silence,
    /// The client's socket was found.
    is_client_known: bool,
}

/// State of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PeerState {
    /// The peer acknowledges, or nothing is known.
    Fine,
    /// The silence begins now.
    Suspect,
    /// The peer is silent, and not for long enough.
    Silent,
    /// The peer was silent for the limit.
    Lost,
}

/// Evidence about the backend of a session.
#[derive(Debug, Clone, Copy)]
pub(super) struct BackendEvidence {
    /// State of the connection; `None` if unknown.
    pub(super) tcp: Option<TcpState>,
    /// How long the endpoint has answered no probe, if it is down.
    pub(super) endpoint_silence: Option<Duration>,
}

/// Time since which a peer is silent.
#[derive(Debug, Default)]
struct Silence {
    since: Option<Instant>,
}

/// A statement that runs for less is not examined.
pub(super) const MIN_STATEMENT_TIME: Duration = Duration::from_secs(5);

/// Silence after which a client is given up: with the time to detect it, less than a minute.
const CLIENT_SILENCE_LIMIT: Duration = Duration::from_secs(40);

// === impl WatchedSession ===

impl WatchedSession {
    /// Notes the activity of the session. True if a statement has run for [`MIN_STATEMENT_TIME`].
    pub(super) fn is_long_at_work(&mut self, activity: Activity, now: Instant) -> bool {
        if !activity.busy {
            self.statement = None;
            self.backend = Silence::default();
            return false;
        }
        let (number, since) = *self.statement.get_or_insert((activity.begun, now));
        if number != activity.begun {
            self.statement = Some((activity.begun, now));
            self.backend = Silence::default();
            return false;
        }
        now.saturating_duration_since(since) >= MIN_STATEMENT_TIME
    }

    /// Judges the backend of a statement that is long at work; `limit` is the longest silence.
    pub(super) fn judge_backend(
        &mut self,
        evidence: BackendEvidence,
        limit: Duration,
        now: Instant,
    ) -> PeerState {
        let without_data = match evidence.tcp {
            Some(TcpState::Open(progress)) => Duration::from_millis(progress.last_data_ms.into()),
            // The connection has ended, and its session finds out.
            Some(TcpState::Gone) => return PeerState::Fine,
            None => self.statement.map_or(Duration::ZERO, |(_, since)| now.saturating_duration_since(since)),
        };
        let is_silent = matches!(evidence.tcp, Some(TcpState::Open(progress)) if progress.is_silent());
        match self.backend.note(is_silent, limit, now) {
            // A server may stand still although its kernel acknowledges.
            PeerState::Fine | PeerState::Silent | PeerState::Suspect
                if without_data >= limit
                    && evidence.endpoint_silence.is_some_and(|silence| silence >= limit) =>
            {
                PeerState::Lost
            }
            state => state,
        }
    }

    /// Judges the client. A socket that was never found may belong to another network namespace.
    pub(super) fn judge_client(&mut self, tcp: TcpState, now: Instant) -> PeerState {
        match tcp {
            TcpState::Gone if self.is_client_known => PeerState::Lost,
            TcpState::Gone => PeerState::Fine,
            TcpState::Open(progress) => {
                self.is_client_known = true;
                self.client.note(progress.is_silent(), CLIENT_SILENCE_LIMIT, now)
            }
        }
    }
}

// === impl Silence ===

impl Silence {
    fn note(&mut self, is_silent: bool, limit: Duration, now: Instant) -> PeerState {
        if !is_silent {
            self.since = None;
            return PeerState::Fine;
        }
        match self.since {
            None => {
                self.since = Some(now);
                PeerState::Suspect
            }
            Some(since) if now.saturating_duration_since(since) >= limit => PeerState::Lost,
            Some(_) => PeerState::Silent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::TcpProgress;

    const SECOND: Duration = Duration::from_secs(1);
    const HOLD: Duration = Duration::from_secs(90);

    fn busy(begun: u64) -> Activity {
        Activity { begun, busy: true, ..Activity::default() }
    }

    fn tcp(retransmits: u8, last_data: Duration) -> TcpState {
        TcpState::Open(TcpProgress {
            unacknowledged: 1,
            retransmits,
            probes: 0,
            peer_window: None,
            last_data_ms: u32::try_from(last_data.as_millis()).unwrap(),
        })
    }

    fn evidence(tcp: Option<TcpState>, endpoint_silence: Option<Duration>) -> BackendEvidence {
        BackendEvidence { tcp, endpoint_silence }
    }

    #[test]
    fn only_a_statement_of_five_seconds_is_examined() {
        let (mut session, start) = (WatchedSession::default(), Instant::now());
        assert!(!session.is_long_at_work(busy(1), start));
        assert!(!session.is_long_at_work(busy(1), start + SECOND * 4));
        assert!(session.is_long_at_work(busy(1), start + SECOND * 5));
        assert!(!session.is_long_at_work(busy(2), start + SECOND * 6), "the next statement");
        assert!(!session.is_long_at_work(Activity { busy: false, ..busy(2) }, start + SECOND * 20));
        assert!(!session.is_long_at_work(busy(2), start + SECOND * 21));
    }

    #[test]
    fn a_silent_server_is_given_up_after_the_limit() {
        let (mut session, start) = (WatchedSession::default(), Instant::now());
        let silent = evidence(Some(tcp(9, SECOND * 600)), None);
        assert_eq!(session.judge_backend(silent, HOLD, start), PeerState::Suspect);
        assert_eq!(session.judge_backend(silent, HOLD, start + SECOND * 89), PeerState::Silent);
        let answering = evidence(Some(tcp(0, SECOND * 600)), None);
        assert_eq!(session.judge_backend(answering, HOLD, start + SECOND * 90), PeerState::Fine);
        assert_eq!(
            session.judge_backend(silent, HOLD, start + SECOND * 91),
            PeerState::Suspect,
            "begins anew"
        );
        assert_eq!(session.judge_backend(silent, HOLD, start + SECOND * 181), PeerState::Lost);
    }

    #[test]
    fn a_server_that_stands_still_is_given_up_with_its_endpoint() {
        let start = Instant::now();
        for (case, tcp, endpoint_silence, wanted) in [
            ("a long statement", Some(tcp(0, HOLD * 9)), None, PeerState::Fine),
            ("an endpoint that is down for short", Some(tcp(0, HOLD)), Some(SECOND * 20), PeerState::Fine),
            ("a result that still arrives", Some(tcp(0, SECOND)), Some(HOLD), PeerState::Fine),
            ("neither answers", Some(tcp(0, HOLD)), Some(HOLD), PeerState::Lost),
            ("a connection that has ended", Some(TcpState::Gone), Some(HOLD), PeerState::Fine),
        ] {
            let mut session = WatchedSession::default();
            session.is_long_at_work(busy(1), start);
            assert_eq!(session.judge_backend(evidence(tcp, endpoint_silence), HOLD, start), wanted, "{case}");
        }
        let mut session = WatchedSession::default();
        session.is_long_at_work(busy(1), start);
        let unknown = evidence(None, Some(HOLD));
        assert_eq!(session.judge_backend(unknown, HOLD, start + SECOND), PeerState::Fine);
        assert_eq!(session.judge_backend(unknown, HOLD, start + HOLD), PeerState::Lost);
    }

    #[test]
    fn a_vanished_client_is_given_up_within_a_minute() {
        let (mut session, start) = (WatchedSession::default(), Instant::now());
        assert_eq!(session.judge_client(TcpState::Gone, start), PeerState::Fine, "of another namespace");
        assert_eq!(session.judge_client(tcp(0, SECOND), start), PeerState::Fine);
        assert_eq!(session.judge_client(tcp(3, SECOND), start + SECOND * 5), PeerState::Suspect);
        assert_eq!(session.judge_client(tcp(7, SECOND), start + SECOND * 44), PeerState::Silent);
        assert_eq!(session.judge_client(tcp(7, SECOND), start + SECOND * 45), PeerState::Lost);
        assert_eq!(session.judge_client(TcpState::Gone, start + SECOND * 51), PeerState::Lost);
    }
}
