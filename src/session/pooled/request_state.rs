//! Processing state of the client's next message.
//!
//! Promises: the next message is processed, answered with an error, or discarded, and never two of these. Refuses to
//! know: contents of messages.

use super::partial_message::PartialMessage;
use crate::client_error::ClientError;

/// Processing state of the client's next message.
#[derive(Default)]
pub(in crate::session) struct RequestState {
    next: NextMessage,
    rest: RestOfMessage,
    /// A request behind all other errors is told of lost session state.
    lost_state: LostState,
}

/// Treatment of the client's next message.
#[derive(Default)]
enum NextMessage {
    #[default]
    Process,
    /// Further responses of the server decide about the message.
    AwaitResponses,
    /// The next request gets the error.
    Refuse(ClientError),
    /// The next request gets the error, unless it ends the failed transaction.
    ReportInterruption(ClientError),
    /// Messages up to a Sync are discarded, after an error sent by Gatekeeper.
    SkipToSync,
}

/// Treatment of the rest of a message whose beginning was processed.
#[derive(Default)]
enum RestOfMessage {
    #[default]
    Forward,
    /// The message is larger than any buffer, and processed once complete.
    Gather(PartialMessage),
    Discard,
}

/// Lost state of the session.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum LostState {
    #[default]
    None,
    /// The client does not know of the loss.
    Untold,
}

// === impl RequestState ===

impl RequestState {
    /// True if further responses decide about the next message.
    pub(in crate::session) const fn awaits_responses(&self) -> bool {
        matches!(self.next, NextMessage::AwaitResponses)
    }

    /// Awaits further responses, which decide about the next message.
    pub(in crate::session) fn await_responses(&mut self) {
        self.next = NextMessage::AwaitResponses;
    }

    /// Ends the wait for responses, if there is one.
    pub(in crate::session) fn end_await(&mut self) {
        if self.awaits_responses() {
            self.next = NextMessage::Process;
        }
    }

    /// Answers the next request with `client_error`.
    pub(in crate::session) fn refuse_next(&mut self, client_error: ClientError) {
        self.next = NextMessage::Refuse(client_error);
    }

    /// Error for the next request, once.
    pub(in crate::session) fn take_refusal(&mut self) -> Option<ClientError> {
        match std::mem::take(&mut self.next) {
            NextMessage::Refuse(client_error) => Some(client_error),
            next => {
                self.next = next;
                None
            }
        }
    }

    /// Answers the next request with `client_error`, unless the request ends the failed transaction.
    pub(in crate::session) fn report_interruption(&mut self, client_error: ClientError) {
        self.next = NextMessage::ReportInterruption(client_error);
    }

    /// Answers the next request without another error with an error about lost session state, unless the request ends the
    /// failed transaction.
    pub(in crate::session) const fn report_lost_state(&mut self) {
        self.lost_state = LostState::Untold;
    }

    /// Error about an interruption for the next request, once. `rolls_back`: the request ends the failed transaction.
    pub(in crate::session) fn take_interruption(&mut self, rolls_back: bool) -> Option<ClientError> {
        match std::mem::take(&mut self.next) {
            NextMessage::ReportInterruption(client_error) => (!rolls_back).then_some(client_error),
            NextMessage::Process if !rolls_back => {
                let lost = std::mem::take(&mut self.lost_state);
                (lost == LostState::Untold).then(ClientError::session_state_lost)
            }
            next => {
                self.next = next;
                None
            }
        }
    }

    /// Discards messages up to a Sync.
    pub(in crate::session) fn skip_to_sync(&mut self) {
        self.next = NextMessage::SkipToSync;
    }

    /// True if messages up to a Sync are discarded.
    pub(in crate::session) const fn is_skipping(&self) -> bool {
        matches!(self.next, NextMessage::SkipToSync)
    }

    /// Handles the Sync: later messages are processed.
    pub(in crate::session) fn end_skip(&mut self) {
        self.next = NextMessage::Process;
    }

    /// Collects a message larger than any buffer.
    pub(in crate::session) fn gather(&mut self, message: PartialMessage) {
        self.rest = RestOfMessage::Gather(message);
    }

    /// True if a message is being collected.
    pub(in crate::session) const fn is_gathering(&self) -> bool {
        matches!(self.rest, RestOfMessage::Gather(_))
    }

    /// True if all of the message being collected is here, and the message is not processed yet.
    pub(in crate::session) const fn has_gathered(&self) -> bool {
        matches!(&self.rest, RestOfMessage::Gather(message) if message.is_complete())
    }

    /// Appends the next bytes of the message being collected.
    pub(in crate::session) fn gather_more(&mut self, bytes: &[u8]) {
        if let RestOfMessage::Gather(message) = &mut self.rest {
            message.append(bytes);
        }
    }

    /// Takes the message being collected, if all of the message is here.
    pub(in crate::session) fn take_gathered(&mut self) -> Option<PartialMessage> {
        match std::mem::take(&mut self.rest) {
            RestOfMessage::Gather(message) if message.is_complete() => Some(message),
            rest => {
                self.rest = rest;
                None
            }
        }
    }

    /// Discards or forwards the rest of the message that was processed in part.
    pub(in crate::session) fn set_discards_rest(&mut self, discards: bool) {
        self.rest = if discards { RestOfMessage::Discard } else { RestOfMessage::Forward };
    }

    /// True if the rest of the message is discarded.
    pub(in crate::session) const fn discards_rest(&self) -> bool {
        matches!(self.rest, RestOfMessage::Discard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_answers_one_request() {
        let mut state = RequestState::default();
        assert!(state.take_refusal().is_none());
        state.refuse_next(ClientError::cancelled());
        assert!(state.take_refusal().is_some() && state.take_refusal().is_none());
        assert!(!state.is_skipping());
    }

    #[test]
    fn an_interruption_is_reported_once() {
        let mut state = RequestState::default();
        state.report_interruption(ClientError::transaction_rolled_back());
        assert!(state.take_refusal().is_none());
        assert!(state.take_interruption(false).is_some() && state.take_interruption(false).is_none());
    }

    #[test]
    fn lost_state_is_told_behind_other_errors() {
        let mut state = RequestState::default();
        state.report_lost_state();
        state.report_interruption(ClientError::transaction_rolled_back());
        assert!(state.take_interruption(true).is_none(), "a rollback has no error");
        state.skip_to_sync();
        assert!(state.take_interruption(false).is_none() && state.is_skipping());
        state.end_skip();
        assert!(state.take_interruption(true).is_none());
        let told = state.take_interruption(false).map(|told| told.sqlstate.to_string());
        assert_eq!(told.as_deref(), Some("08006"));
        assert!(state.take_interruption(false).is_none(), "once");
    }

    #[test]
    fn only_a_wait_ends_with_a_response() {
        let mut state = RequestState::default();
        state.await_responses();
        assert!(state.awaits_responses());
        state.end_await();
        assert!(!state.awaits_responses());
        state.skip_to_sync();
        state.end_await();
        assert!(state.is_skipping());
    }

    #[test]
    fn skipping_ends_with_a_sync() {
        let mut state = RequestState::default();
        state.skip_to_sync();
        assert!(state.take_refusal().is_none());
        assert!(state.is_skipping());
        state.end_skip();
        assert!(!state.is_skipping());
    }

    #[test]
    fn a_message_is_taken_once_complete() {
        let mut state = RequestState::default();
        state.gather(PartialMessage::new(b'Q', b"Q", 3));
        state.gather_more(b"ab");
        assert!(state.take_gathered().is_none() && !state.has_gathered());
        state.gather_more(b"c");
        assert!(state.has_gathered());
        assert_eq!(state.take_gathered().map(|message| message.bytes().to_vec()), Some(b"Qabc".to_vec()));
        assert!(!state.is_gathering());
    }

    #[test]
    fn the_rest_is_discarded_until_the_next_message() {
        let mut state = RequestState::default();
        state.set_discards_rest(true);
        assert!(state.discards_rest() && !state.is_gathering());
        state.set_discards_rest(false);
        assert!(!state.discards_rest());
    }
}
