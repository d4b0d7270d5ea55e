//! The backend of a pooled session: wanted, held, or neither.
//!
//! Promises: every change of state is a row of [`TRANSITIONS`]; any other change is refused and leaves the state as it
//! is. Refuses to know: reasons for a change, and messages.

use crate::session::tracked_backend_state::TrackedBackendState;

/// Backend of a pooled session.
#[derive(Default)]
pub(in crate::session) struct BackendSlot {
    stage: Stage,
    lease: Lease,
}

/// State of the backend; present in each stage with a backend.
#[derive(Default)]
enum Lease {
    #[default]
    None,
    /// The backend was leased for a message not consumed yet, and stays until then. After an earlier return the same
    /// message would lease a backend again, endlessly.
    Unused(Box<TrackedBackendState>),
    Used(Box<TrackedBackendState>),
}

/// Stage of a pooled session's use of backends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub(in crate::session) enum Stage {
    /// No backend, and no need for one.
    #[default]
    None,
    /// No backend; the client's next message needs one.
    Wanted,
    /// A backend serves the client's messages.
    Ready,
    /// The backend was sent the session's settings; client messages wait for the response.
    Applying,
    /// The backend was asked for state left behind; client messages wait for the response.
    Checking,
    /// The backend is returned once all responses have arrived; client messages wait for the next backend.
    Leaving,
}

/// Cause of a change of stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::session) enum BackendEvent {
    /// A client message, or a deferred BEGIN, needs a backend.
    Needed,
    /// The driver hands over a leased backend.
    Leased,
    /// The driver has no backend for the session.
    Refused,
    /// Settings were sent that decide the permissions or the meaning of the next client message.
    SettingsSent,
    /// A state check or a catalog comparison was started whose result decides about the next client message.
    CheckStarted,
    /// An internal batch, or the comparison, is over.
    Answered,
    /// Another backend must serve the client's next message.
    GivenUp,
    /// The driver takes the backend back.
    Returned,
    /// The connection to the backend is lost.
    Lost,
}

/// Effect of a transition for the client and the driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::session) enum BackendAction {
    /// No visible effect.
    Nothing,
    /// The driver leases a backend; client messages wait.
    Lease,
    /// Client messages are processed.
    Process,
    /// Client messages wait for responses of the backend.
    Wait,
    /// The client's next request gets an error.
    Refuse,
    /// The driver returns the backend to the pool once all responses have arrived.
    Return,
}

/// Row of the transition table.
#[derive(Debug, Clone, Copy)]
pub(in crate::session) struct BackendTransition {
    from: Stage,
    event: BackendEvent,
    to: Stage,
    action: BackendAction,
}

const fn row(from: Stage, event: BackendEvent, to: Stage, action: BackendAction) -> BackendTransition {
    BackendTransition { from, event, to, action }
}

/// All permitted transitions.
pub(in crate::session) const TRANSITIONS: [BackendTransition; 21] = {
    use BackendAction::{Lease, Nothing, Process, Refuse, Return, Wait};
    use BackendEvent::{
        Answered, CheckStarted, GivenUp, Leased, Lost, Needed, Refused, Returned, SettingsSent,
    };
    [
        row(Stage::None, Needed, Stage::Wanted, Lease),
        row(Stage::Wanted, Needed, Stage::Wanted, Nothing),
        row(Stage::Wanted, Leased, Stage::Ready, Process),
        row(Stage::Wanted, Refused, Stage::None, Refuse),
        row(Stage::Ready, SettingsSent, Stage::Applying, Wait),
        row(Stage::Ready, CheckStarted, Stage::Checking, Wait),
        row(Stage::Ready, Answered, Stage::Ready, Nothing),
        row(Stage::Ready, GivenUp, Stage::Leaving, Return),
        row(Stage::Ready, Returned, Stage::None, Nothing),
        row(Stage::Ready, Lost, Stage::None, Nothing),
        row(Stage::Applying, Answered, Stage::Ready, Process),
        row(Stage::Applying, GivenUp, Stage::Leaving, Return),
        row(Stage::Applying, Lost, Stage::None, Nothing),
        row(Stage::Checking, Answered, Stage::Ready, Process),
        row(Stage::Checking, CheckStarted, Stage::Checking, Nothing),
        row(Stage::Checking, GivenUp, Stage::Leaving, Return),
        row(Stage::Checking, Lost, Stage::None, Nothing),
        row(Stage::Leaving, Answered, Stage::Leaving, Nothing),
        row(Stage::Leaving, GivenUp, Stage::Leaving, Nothing),
        row(Stage::Leaving, Returned, Stage::None, Nothing),
        row(Stage::Leaving, Lost, Stage::None, Nothing),
    ]
};

/// [`TRANSITIONS`] by stage and event.
const BY_PAIR: [[Option<(Stage, BackendAction)>; EVENTS]; STAGES] = {
    let mut by_pair = [[None; EVENTS]; STAGES];
    let mut at = 0;
    while at < TRANSITIONS.len() {
        let BackendTransition { from, event, to, action } = TRANSITIONS[at];
        by_pair[from as usize][event as usize] = Some((to, action));
        at += 1;
    }
    by_pair
};
const STAGES: usize = Stage::Leaving as usize + 1;
const EVENTS: usize = BackendEvent::Lost as usize + 1;

/// A change that [`TRANSITIONS`] does not permit: an error of Gatekeeper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::session) struct IllegalTransition {
    from: Stage,
    event: BackendEvent,
}

// === impl BackendSlot ===

impl BackendSlot {
    /// State of the backend, if there is one.
    pub(in crate::session) fn held(&self) -> Option<&TrackedBackendState> {
        match &self.lease {
            Lease::None => None,
            Lease::Unused(held) | Lease::Used(held) => Some(held),
        }
    }

    /// State of the backend, if there is one.
    pub(in crate::session) fn held_mut(&mut self) -> Option<&mut TrackedBackendState> {
        match &mut self.lease {
            Lease::None => None,
            Lease::Unused(held) | Lease::Used(held) => Some(held),
        }
    }

    /// True if the session holds a backend.
    pub(in crate::session) const fn is_held(&self) -> bool {
        !matches!(self.lease, Lease::None)
    }

    /// True if the driver is asked for a backend.
    pub(in crate::session) fn is_wanted(&self) -> bool {
        self.stage == Stage::Wanted
    }

    /// True if client messages wait for the response to an internal batch.
    pub(in crate::session) const fn awaits_response(&self) -> bool {
        matches!(self.stage, Stage::Applying | Stage::Checking)
    }

    /// True if the backend is given up, whatever the client's transaction.
    pub(in crate::session) fn is_leaving(&self) -> bool {
        self.stage == Stage::Leaving
    }

    /// True if the message that the backend was leased for is not consumed yet.
    pub(in crate::session) const fn is_unused(&self) -> bool {
        matches!(self.lease, Lease::Unused(_))
    }

    /// Notes that client input was processed, or that none is left that needs the backend.
    pub(in crate::session) fn note_use(&mut self) {
        if self.is_unused() {
            self.lease = self.lease.take().map_or(Lease::None, Lease::Used);
        }
    }

    /// Takes over a leased backend.
    ///
    /// # Errors
    /// [`IllegalTransition`] without a need for a backend, or with a backend held already.
    pub(in crate::session) fn lease(
        &mut self,
        tracked_state: Box<TrackedBackendState>,
    ) -> Result<(), IllegalTransition> {
        self.on(BackendEvent::Leased)?;
        self.lease = Lease::Unused(tracked_state);
        Ok(())
    }

    /// Gives the backend back, at an appropriate moment.
    ///
    /// # Errors
    /// [`IllegalTransition`] while client messages wait for the backend, or without a backend.
    pub(in crate::session) fn give_back(
        &mut self,
    ) -> Result<Option<Box<TrackedBackendState>>, IllegalTransition> {
        self.on(BackendEvent::Returned)?;
        Ok(self.lease.take())
    }

    /// Takes the backend away at the end of the session, whatever the stage.
    pub(in crate::session) fn abandon(&mut self) -> Option<Box<TrackedBackendState>> {
        self.stage = Stage::None;
        self.lease.take()
    }

    /// Changes the stage by `event`.
    ///
    /// # Errors
    /// [`IllegalTransition`] without a row in [`TRANSITIONS`]; the stage stays.
    pub(in crate::session) fn on(&mut self, event: BackendEvent) -> Result<BackendAction, IllegalTransition> {
        let from = self.stage;
        let Some((to, action)) = BY_PAIR[from as usize][event as usize] else {
            return Err(IllegalTransition { from, event });
        };
        self.stage = to;
        if event == BackendEvent::Lost {
            self.lease = Lease::None;
        }
        Ok(action)
    }
}

// === impl Lease ===

impl Lease {
    /// Takes the backend away.
    fn take(&mut self) -> Option<Box<TrackedBackendState>> {
        match std::mem::take(self) {
            Self::None => None,
            Self::Unused(held) | Self::Used(held) => Some(held),
        }
    }
}

// === impl IllegalTransition ===

impl std::fmt::Display for IllegalTransition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "backend state {:?} does not permit the event {:?}", self.from, self.event)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::session::tests::fresh_backend;

    const ALL_STAGES: [Stage; 6] =
        [Stage::None, Stage::Wanted, Stage::Ready, Stage::Applying, Stage::Checking, Stage::Leaving];
    const ALL_EVENTS: [BackendEvent; 9] = [
        BackendEvent::Needed,
        BackendEvent::Leased,
        BackendEvent::Refused,
        BackendEvent::SettingsSent,
        BackendEvent::CheckStarted,
        BackendEvent::Answered,
        BackendEvent::GivenUp,
        BackendEvent::Returned,
        BackendEvent::Lost,
    ];

    /// Slot in `stage`, reached by permitted events only.
    fn slot_in(stage: Stage) -> BackendSlot {
        let mut slot = BackendSlot::default();
        let way: &[BackendEvent] = match stage {
            Stage::None => return slot,
            Stage::Wanted => &[],
            Stage::Ready => &[BackendEvent::Leased],
            Stage::Applying => &[BackendEvent::Leased, BackendEvent::SettingsSent],
            Stage::Checking => &[BackendEvent::Leased, BackendEvent::CheckStarted],
            Stage::Leaving => &[BackendEvent::Leased, BackendEvent::GivenUp],
        };
        slot.on(BackendEvent::Needed).unwrap();
        for event in way {
            apply(&mut slot, *event).unwrap();
        }
        assert_eq!(slot.stage, stage);
        slot
    }

    fn apply(slot: &mut BackendSlot, event: BackendEvent) -> Result<(), IllegalTransition> {
        match event {
            BackendEvent::Leased => slot.lease(fresh_backend()),
            BackendEvent::Returned => slot.give_back().map(|tracked_state| assert!(tracked_state.is_some())),
            event => slot.on(event).map(|_| ()),
        }
    }

    #[test]
    fn each_pair_has_one_row_or_is_refused() {
        for (stage, event) in ALL_STAGES.into_iter().flat_map(|stage| ALL_EVENTS.map(|event| (stage, event)))
        {
            let mut slot = slot_in(stage);
            let had_backend = slot.is_held();
            let rows: Vec<_> =
                TRANSITIONS.iter().filter(|row| (row.from, row.event) == (stage, event)).collect();
            match rows[..] {
                [] => {
                    assert_eq!(apply(&mut slot, event), Err(IllegalTransition { from: stage, event }));
                    assert_eq!((slot.stage, slot.is_held()), (stage, had_backend), "the slot is as before");
                }
                [row] => {
                    apply(&mut slot, event).unwrap();
                    assert_eq!(slot.stage, row.to);
                }
                _ => panic!("{stage:?} and {event:?} have several rows"),
            }
            let needs_backend = !matches!(slot.stage, Stage::None | Stage::Wanted);
            assert_eq!(slot.is_held(), needs_backend, "{stage:?} {event:?}");
        }
    }

    #[test]
    fn actions_follow_from_the_stages() {
        let waits = |stage| matches!(stage, Stage::Applying | Stage::Checking);
        for row in TRANSITIONS {
            let expected = match (row.from, row.to) {
                (from, to) if from == to => BackendAction::Nothing,
                (_, Stage::Wanted) => BackendAction::Lease,
                (_, Stage::Leaving) => BackendAction::Return,
                (_, to) if waits(to) => BackendAction::Wait,
                (_, Stage::Ready) => BackendAction::Process,
                (Stage::Wanted, _) => BackendAction::Refuse,
                _ => BackendAction::Nothing,
            };
            assert_eq!(row.action, expected, "{row:?}");
        }
    }

    #[test]
    fn every_stage_and_event_is_used() {
        let stages: HashSet<_> = TRANSITIONS.iter().flat_map(|row| [row.from, row.to]).collect();
        let events: HashSet<_> = TRANSITIONS.iter().map(|row| row.event).collect();
        assert_eq!((stages.len(), events.len()), (ALL_STAGES.len(), ALL_EVENTS.len()));
    }

    /// The table of all pairs, as a page of the documentation.
    fn page() -> String {
        let mut page = String::from(PAGE_HEAD);
        for stage in ALL_STAGES {
            page += &format!("| {stage:?} |");
            for event in ALL_EVENTS {
                let row = TRANSITIONS.iter().find(|row| (row.from, row.event) == (stage, event));
                page += &row.map_or(" – |".into(), |row| match row.action {
                    BackendAction::Nothing => format!(" {:?} |", row.to),
                    action => format!(" {:?}: {action:?} |", row.to),
                });
            }
            page.push('\n');
        }
        page
    }

    const PAGE_HEAD: &str = "# States of a pooled session's backend

Generated from `src/session/pooled/backend_state.rs` by its test `the_page_shows_the_table`; with
`GATEKEEPER_TEST_UPDATE=1` the test writes this page.

A cell holds the next state, and the visible effect after a colon. An empty cell (–) is an impossible pair: an internal
error, which ends the session and closes the backend.

| state | Needed | Leased | Refused | SettingsSent | CheckStarted | Answered | GivenUp | Returned | Lost |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
";

    #[test]
    fn the_page_shows_the_table() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/session-states.md");
        if std::env::var_os("GATEKEEPER_TEST_UPDATE").is_some() {
            std::fs::write(&path, page()).unwrap();
        }
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(written, page(), "docs/session-states.md: update by GATEKEEPER_TEST_UPDATE=1");
    }

    #[test]
    fn an_abandoned_backend_is_gone() {
        for stage in ALL_STAGES {
            let mut slot = slot_in(stage);
            assert_eq!(slot.is_held(), slot.abandon().is_some());
            assert!(!slot.is_held() && !slot.is_wanted());
        }
    }
}
