//! The beginning of the response to a unit that is kept for a replay.
//!
//! Messages that promise an answer without being one (ParseComplete, RowDescription, …) are held back until the next one
//! tells whether it is an error. Errors that the server's being a standby may explain are never the last word: the writer
//! has it. An error of the writer is an answer, unless the server ends the connection by a shutdown.

use crate::{
    route::{RerunCause, RouteSide},
    session::{
        pooled::interruption::is_shutdown,
        split::{ReplayBuffer, find_rerun_cause},
    },
    wire::{ErrorFields, Header, Speaker, tag::backend as b},
};

/// What the answer begins with.
pub(super) enum ResponseOpening {
    /// An answer: it passes.
    Answer,
    /// Nothing that tells yet.
    Unknown,
    /// All that was asked so far is answered, and it was to prepare statements.
    Prepared,
    /// A refusal that another server might not give.
    Refused(RerunCause),
}

// === impl ResponseOpening ===

impl ResponseOpening {
    /// Looks at the next answers of a server of the `side`, to the messages kept in `attempt`. `is_stuck`: no more of the
    /// answers will be shown.
    pub(super) fn read(attempt: &ReplayBuffer, side: RouteSide, unread: &[u8], is_stuck: bool) -> Self {
        let mut rest = unread;
        while let Ok(Some(header)) = Header::read(Speaker::Server, rest) {
            match header.tag() {
                b::PARSE_COMPLETE
                | b::BIND_COMPLETE
                | b::CLOSE_COMPLETE
                | b::NO_DATA
                | b::ROW_DESCRIPTION
                | b::PARAMETER_DESCRIPTION
                | b::PARAMETER_STATUS
                | b::NOTICE_RESPONSE => {}
                b::ERROR_RESPONSE => {
                    let Some(body) = rest.get(Header::BYTES..header.total()) else { break };
                    return match rerun_cause(side, &ErrorFields::new(body)) {
                        // Nobody knows how far it got.
                        Some(RerunCause::NodeLost) if !attempt.is_proved() => Self::Answer,
                        Some(cause) => Self::Refused(cause),
                        None => Self::Answer,
                    };
                }
                _ => return Self::Answer,
            }
            let Some(behind) = rest.get(header.total()..) else { break };
            rest = behind;
        }
        // Nobody flushes half of an answer that an end was asked for.
        let is_open = rest.is_empty() && !unread.is_empty() && attempt.is_open();
        match (is_stuck, is_open) {
            (true, _) => Self::Answer,
            (false, true) if attempt.keeps_portal() => Self::Answer,
            (false, true) => Self::Prepared,
            (false, false) => Self::Unknown,
        }
    }
}

/// Cause for which a unit runs again that a server of the `side` has refused.
fn rerun_cause(side: RouteSide, fault: &ErrorFields<'_>) -> Option<RerunCause> {
    match side {
        RouteSide::Reader => find_rerun_cause(fault),
        RouteSide::Writer => {
            let is_lost = fault.is_fatal() && fault.sqlstate().is_some_and(is_shutdown);
            is_lost.then_some(RerunCause::NodeLost)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire;

    use RouteSide::{Reader, Writer};

    fn answers(messages: &[(u8, &[u8])]) -> Vec<u8> {
        let mut out = Vec::new();
        for (tag, body) in messages {
            wire::write_frame(&mut out, *tag, |to| to.extend_from_slice(body));
        }
        out
    }

    fn kept(is_proved: bool) -> ReplayBuffer {
        let mut attempt = ReplayBuffer::default();
        attempt.begin(0, is_proved, None);
        attempt
    }

    #[test]
    fn a_promise_is_held_back_until_a_row() {
        let attempt = kept(true);
        let promise = answers(&[(b::PARSE_COMPLETE, b""), (b::BIND_COMPLETE, b"")]);
        assert!(matches!(ResponseOpening::read(&attempt, Reader, b"", false), ResponseOpening::Unknown));
        assert!(matches!(
            ResponseOpening::read(&attempt, Reader, &promise, false),
            ResponseOpening::Prepared
        ));
        let row = answers(&[(b::PARSE_COMPLETE, b""), (b::DATA_ROW, b"\0\0")]);
        assert!(matches!(ResponseOpening::read(&attempt, Reader, &row, false), ResponseOpening::Answer));
        let cut = &promise[..promise.len() - 1];
        assert!(matches!(ResponseOpening::read(&attempt, Reader, cut, false), ResponseOpening::Unknown));
        assert!(matches!(ResponseOpening::read(&attempt, Reader, cut, true), ResponseOpening::Answer));
    }

    #[test]
    fn a_lost_node_is_replaced_only_for_a_proved_read() {
        let fatal = answers(&[(b::ERROR_RESPONSE, b"SFATAL\0VFATAL\0C57P01\0Mm\0\0")]);
        let refused = |is_proved| ResponseOpening::read(&kept(is_proved), Reader, &fatal, false);
        assert!(matches!(refused(true), ResponseOpening::Refused(RerunCause::NodeLost)));
        assert!(matches!(refused(false), ResponseOpening::Answer));
    }

    #[test]
    fn an_error_of_the_writer_is_final() {
        for (severity, state, is_final) in [
            ("ERROR", "42P01", true),
            ("ERROR", "25006", true),
            ("ERROR", "57P01", true),
            ("FATAL", "57P05", true),
            ("FATAL", "57014", true),
            ("FATAL", "57P01", false),
            ("FATAL", "57P02", false),
        ] {
            let error =
                answers(&[(b::ERROR_RESPONSE, format!("SX\0V{severity}\0C{state}\0Mm\0\0").as_bytes())]);
            let opening = ResponseOpening::read(&kept(true), Writer, &error, false);
            assert_eq!(matches!(opening, ResponseOpening::Answer), is_final, "{severity} {state}");
        }
    }
}
