//! Replay: transmission of client messages to another backend.

use crate::route::{RerunCause, RouteNeed, RouteReason, RouteSide};

/// Client messages that another backend must serve, ahead of the client's next messages.
#[derive(Default)]
pub(in crate::session) struct Replay {
    pending: Vec<u8>,
    /// RouteReason; decides about the route of the next unit.
    reason: Option<RouteReason>,
    /// Count of replays of the units without a response. The beginning of the last response ends the count, and so does a
    /// unit on the writer that is not kept.
    count: u8,
    /// Reason not reported to the driver yet.
    unreported: Option<RouteReason>,
}

/// Maximum replays of a unit on read pools before the writer must serve the unit.
const READER_REPLAYS_MAX: u8 = 1;
/// Maximum replays of a unit.
const REPLAYS_MAX: u8 = 2;

// === impl Replay ===

impl Replay {
    /// True if messages wait.
    pub(in crate::session) fn is_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Messages that wait.
    pub(in crate::session) fn pending(&self) -> &[u8] {
        &self.pending
    }

    /// Buffer for messages that wait.
    pub(in crate::session) fn pending_mut(&mut self) -> &mut Vec<u8> {
        &mut self.pending
    }

    /// Takes the messages that wait; [`Self::put_back`] must follow.
    pub(in crate::session) fn take_pending(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.pending)
    }

    /// Puts back the messages not sent; without any the replay is over.
    pub(in crate::session) fn put_back(&mut self, rest: Vec<u8>) {
        if rest.is_empty() {
            self.reason = None;
        }
        self.pending = rest;
    }

    /// Begins a replay for `reason`.
    pub(in crate::session) fn begin(&mut self, reason: RouteReason) {
        self.count = self.count.saturating_add(1);
        (self.reason, self.unreported) = (Some(reason), Some(reason));
    }

    /// Has the writer serve the next replay: a read pool has not begun to answer in time, and another one might not either.
    pub(in crate::session) fn leave_readers(&mut self) {
        self.count = self.count.max(READER_REPLAYS_MAX);
    }

    /// True if a unit lost on the writer may run again.
    pub(in crate::session) const fn is_permitted(&self) -> bool {
        self.count < REPLAYS_MAX
    }

    /// Notes the beginning of the last response, or a unit whose response is final.
    pub(in crate::session) fn on_answered(&mut self) {
        self.count = 0;
    }

    /// Notes a leased backend.
    pub(in crate::session) fn on_lease(&mut self) {
        if self.pending.is_empty() {
            // No message of the unit was sent where it could not be served.
            self.reason = None;
        }
    }

    /// Route of the next unit, which would need `need` without a replay.
    pub(in crate::session) fn route(&self, need: RouteNeed) -> RouteNeed {
        match self.reason {
            // A lost node says nothing about the next one.
            Some(RouteReason::Rerun(RerunCause::NodeLost)) if self.count <= READER_REPLAYS_MAX => need,
            Some(reason) => RouteNeed { side: RouteSide::Writer, reason },
            None => need,
        }
    }

    /// Reason of the last replay, once.
    pub(in crate::session) fn poll_reason(&mut self) -> Option<RouteReason> {
        self.unreported.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ: RouteNeed = RouteNeed { side: RouteSide::Reader, reason: RouteReason::ReadOnly };
    const LOST: RouteReason = RouteReason::Rerun(RerunCause::NodeLost);

    fn side(replay: &Replay) -> RouteSide {
        replay.route(READ).side
    }

    #[test]
    fn a_lost_node_is_replaced_once_by_another() {
        let mut replay = Replay::default();
        assert_eq!(side(&replay), RouteSide::Reader);
        replay.begin(LOST);
        assert_eq!(side(&replay), RouteSide::Reader);
        replay.begin(LOST);
        assert_eq!(side(&replay), RouteSide::Writer);
        replay.on_answered();
        replay.begin(LOST);
        assert_eq!(side(&replay), RouteSide::Reader);
    }

    #[test]
    fn an_overdue_read_runs_again_on_the_writer() {
        let mut replay = Replay::default();
        replay.leave_readers();
        assert_eq!(side(&replay), RouteSide::Reader, "the node may answer yet");
        replay.begin(LOST);
        assert_eq!(side(&replay), RouteSide::Writer);
        replay.on_answered();
        replay.begin(LOST);
        assert_eq!(side(&replay), RouteSide::Reader);
    }

    #[test]
    fn a_unit_is_replayed_twice_at_most() {
        let mut replay = Replay::default();
        for _ in 0..2 {
            assert!(replay.is_permitted());
            replay.begin(LOST);
        }
        assert!(!replay.is_permitted());
        replay.on_answered();
        assert!(replay.is_permitted());
    }

    #[test]
    fn a_refusal_leads_to_the_writer() {
        let mut replay = Replay::default();
        let refused = RouteReason::Rerun(RerunCause::ReadOnlyRefused);
        replay.begin(refused);
        assert_eq!(replay.route(READ), RouteNeed { side: RouteSide::Writer, reason: refused });
        assert_eq!((replay.poll_reason(), replay.poll_reason()), (Some(refused), None));
    }

    #[test]
    fn a_replay_ends_with_its_last_message() {
        let mut replay = Replay::default();
        replay.pending_mut().extend(b"QQ");
        replay.begin(LOST);
        replay.on_lease();
        let mut messages = replay.take_pending();
        messages.truncate(1);
        replay.put_back(messages);
        assert!(replay.is_pending() && replay.reason.is_some());
        replay.put_back(Vec::new());
        assert!(!replay.is_pending() && replay.reason.is_none());
    }
}
