//! State check: catalog queries, after a transaction, for state left on the backend.

use std::sync::Arc;

use super::pin::{Pin, Pins};
use crate::{
    sql::Effects,
    wire::{Frame, Reader, tag::backend as b},
};

/// Queries for state that a transaction has left behind, with the responses so far.
pub(super) struct StateCheck {
    /// Queries, in the order sent.
    asked: Vec<StateQuery>,
    /// Count of answered queries.
    answered: usize,
    /// Visible pins, if requested.
    pins: Option<Pins>,
    /// Settings by name; `None` for a name without a setting.
    settings: Vec<ReportedSetting>,
    /// Names of all statements prepared by message, if requested.
    statements: Option<Vec<Box<[u8]>>>,
    failure: Option<CheckFailure>,
}

/// Failure of a state check.
#[derive(Clone, Copy, PartialEq, Eq)]
enum CheckFailure {
    /// The server refused a query.
    Refused,
    /// A response was too large to be read.
    TooLarge,
}

/// Query of a state check.
pub(super) enum StateQuery {
    /// Visible pins.
    Pins,
    /// Value of a setting.
    Setting(Arc<[u8]>),
    /// Value of a setting not set by the session's texts, if set in another way.
    HiddenSetting(Arc<[u8]>),
    /// All settings that were set in the session and that the server lists.
    Settings,
    /// Names of all statements prepared by message.
    Statements,
}

/// A setting's name and its value, if there is one.
pub(super) type ReportedSetting = (Arc<[u8]>, Option<Box<[u8]>>);

/// Responses of a state check.
pub(super) struct StateReport {
    /// Visible pins, if requested.
    pub pins: Option<Pins>,
    /// Settings by name; `None` for a name without a setting.
    pub settings: Vec<ReportedSetting>,
    /// True if `settings` are all that the server lists, by [`StateQuery::Settings`].
    pub all: bool,
    /// Names of all statements prepared by message, if requested.
    pub statements: Option<Vec<Box<[u8]>>>,
}

// === impl StateCheck ===

impl StateCheck {
    /// Creates a check without responses.
    pub(super) fn new(asked: Vec<StateQuery>) -> Self {
        let lists = asked.iter().any(|query| matches!(query, StateQuery::Statements));
        let statements = lists.then(Vec::new);
        Self { asked, answered: 0, pins: None, settings: Vec::new(), statements, failure: None }
    }

    /// Handles a message of the responses that is neither an error nor the end.
    pub(super) fn on_answer(&mut self, frame: &Frame<'_>) {
        match frame.tag() {
            b::COMMAND_COMPLETE => self.answered += 1,
            b::DATA_ROW => {
                let mut reader = Reader::new(frame.body());
                if reader.i16().is_err() {
                    return;
                }
                let first = next_value(&mut reader);
                match self.asked.get(self.answered) {
                    Some(StateQuery::Pins) => self.pins = Some(read_pins(first.unwrap_or_default())),
                    Some(StateQuery::Setting(name)) => {
                        self.settings.push((Arc::clone(name), first.map(Into::into)));
                    }
                    Some(StateQuery::HiddenSetting(name)) => {
                        // A setting not defined by any module stays behind empty after any session has set the setting
                        // on the backend.
                        if let Some(value) = first.filter(|value| !value.is_empty() && *value != b"none") {
                            self.settings.push((Arc::clone(name), Some(value.into())));
                        }
                    }
                    Some(StateQuery::Settings) => {
                        if let (Some(name), Some(value)) = (first, next_value(&mut reader)) {
                            self.settings.push((name.to_ascii_lowercase().into(), Some(value.into())));
                        }
                    }
                    Some(StateQuery::Statements) => {
                        self.statements.get_or_insert_default().extend(first.map(Into::into));
                    }
                    None => {}
                }
            }
            _ => {}
        }
    }

    /// Settings requested by name.
    pub(super) fn settings(&self) -> impl Iterator<Item = &Arc<[u8]>> {
        self.asked.iter().filter_map(|query| match query {
            StateQuery::Setting(name) => Some(name),
            _ => None,
        })
    }

    /// Notes that the server refused a query.
    pub(super) fn on_error(&mut self) {
        self.failure.get_or_insert(CheckFailure::Refused);
    }

    /// Notes a response too large to be read.
    pub(super) fn on_too_large(&mut self) {
        self.failure = Some(CheckFailure::TooLarge);
    }

    /// True if the check has failed so far.
    pub(super) const fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    /// True if a response was too large to be read.
    pub(super) fn is_too_large(&self) -> bool {
        self.failure == Some(CheckFailure::TooLarge)
    }

    /// True if every query was answered.
    pub(super) fn is_answered(&self) -> bool {
        !self.has_failed() && self.answered == self.asked.len()
    }

    /// Responses of the check.
    pub(super) fn into_report(self) -> StateReport {
        let all = self.asked.iter().any(|query| matches!(query, StateQuery::Settings));
        let Self { pins, settings, statements, .. } = self;
        StateReport { pins, settings, all, statements }
    }
}

/// The next column of a DataRow; `None` for a null, and for a malformed column.
pub(super) fn next_value<'a>(reader: &mut Reader<'a>) -> Option<&'a [u8]> {
    let length = usize::try_from(reader.i32().ok()?).ok()?;
    reader.bytes(length).ok()
}

fn read_pins(letters: &[u8]) -> Pins {
    letters.iter().fold(Pins::NONE, |pins, letter| match letter {
        b'L' => pins.with(Pin::Listen),
        b'A' => pins.with(Pin::AdvisoryLock),
        b'T' => pins.with(Pin::TemporaryObject),
        b'C' => pins.with(Pin::HoldCursor),
        b'P' => pins.with(Pin::SqlPrepared),
        _ => pins,
    })
}

/// Effects of statements that may leave state that [`StateQuery::Pins`] shows.
pub(super) const VISIBLE: Effects = Effects::TEMPORARY
    .union(Effects::LISTEN)
    .union(Effects::ADVISORY)
    .union(Effects::CURSOR)
    .union(Effects::PREPARE)
    .union(Effects::DISCARD)
    .union(Effects::EXECUTE)
    .union(Effects::BLOCK);
