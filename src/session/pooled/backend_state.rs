//! The backend of a pooled session: wanted, held, or neither.
//!
//! Promises: every change of state is a row of [`TRANSITIONS`]; any other change is refused and leaves the state as it
//! is. Refuses to know: reasons for a change, and messages.

use crate::session::memory::Memory;

/// Backend of a pooled session.
#[derive(Default)]
pub(in crate::session) struct BackendSlot {
    stage: Stage,
    /// State of the backend; present in each stage with a backend.
    held: Option<Box<Memory>>,
    /// The backend was leased for a message not consumed yet, and stays until then. After an earlier return the same
    /// message would lease a backend again, endlessly.
    is_unused: bool,
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
    /// Settings were sent, and decide the meaning or the permissions of later messages.
    SettingsSent,
    /// A state check, or a catalog comparison, was started, and its result decides about later messages.
    CheckStarted,
    /// The responses awaited by client messages have arrived.
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
    pub(in crate::session) from: Stage,
    pub(in crate::session) event: BackendEvent,
    pub(in crate::session) to: Stage,
    pub(in crate::session) action: BackendAction,
}

const fn row(from: Stage, event: BackendEvent, to: Stage, action: BackendAction) -> BackendTransition {
    BackendTransition { from, event, to, action }
}

/// All permitted transitions.
pub(in crate::session) const TRANSITIONS: [BackendTransition; 27] = {
    use BackendAction::{Lease, Nothing, Process, Refuse, Return, Wait};
    use BackendEvent::{
        Answered, CheckStarted, GivenUp, Leased, Lost, Needed, Refused, Returned, SettingsSent,
    };
    [
        row(Stage::None, Needed, Stage::Wanted, Lease),
        row(Stage::None, Leased, Stage::Ready, Process),
        row(Stage::Wanted, Needed, Stage::Wanted, Nothing),
        row(Stage::Wanted, Leased, Stage::Ready, Process),
        row(Stage::Wanted, Refused, Stage::None, Refuse),
        row(Stage::Ready, SettingsSent, Stage::Applying, Wait),
        row(Stage::Ready, CheckStarted, Stage::Checking, Wait),
        row(Stage::Ready, Answered, Stage::Ready, Nothing),
        row(Stage::Ready, GivenUp, Stage::Leaving, Return),
        row(Stage::Ready, Returned, Stage::None, Nothing),
        row(Stage::Ready, Lost, Stage::None, Nothing),
        row(Stage::Applying, SettingsSent, Stage::Applying, Nothing),
        row(Stage::Applying, CheckStarted, Stage::Checking, Wait),
        row(Stage::Applying, Answered, Stage::Ready, Process),
        row(Stage::Applying, GivenUp, Stage::Leaving, Return),
        row(Stage::Applying, Returned, Stage::None, Nothing),
        row(Stage::Applying, Lost, Stage::None, Nothing),
        row(Stage::Checking, SettingsSent, Stage::Applying, Wait),
        row(Stage::Checking, CheckStarted, Stage::Checking, Nothing),
        row(Stage::Checking, Answered, Stage::Ready, Process),
        row(Stage::Checking, GivenUp, Stage::Leaving, Return),
        row(Stage::Checking, Returned, Stage::None, Nothing),
        row(Stage::Checking, Lost, Stage::None, Nothing),
        row(Stage::Leaving, Answered, Stage::Leaving, Nothing),
        row(Stage::Leaving, GivenUp, Stage::Leaving, Nothing),
        row(Stage::Leaving, Returned, Stage::None, Nothing),
        row(Stage::Leaving, Lost, Stage::None, Nothing),
    ]
};

/// A change that [`TRANSITIONS`] does not permit: an error of Gatekeeper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::session) struct IllegalTransition {
    pub(in crate::session) from: Stage,
    pub(in crate::session) event: BackendEvent,
}
