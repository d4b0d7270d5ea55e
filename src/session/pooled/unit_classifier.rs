//! Classification of the client's next messages, before any of them is sent to a read pool.
//!
//! Promises: a unit that may write, or that nobody can classify, is never taken for a read. Refuses to know: backends, and
//! where a unit goes.

use super::{
    analyzed_texts::AnalyzedTexts, client_input::ClientInput, client_message::ClientMessage,
    client_statements::ClientStatements,
};
use crate::{
    route::{RouteSide, RoutingUnit, SessionRouteState},
    session::database_state::DatabaseState,
    sql::{
        self, Analysis, Classification, ClassifyReason, Effects, SessionStatement, StatementAccess,
        TransactionControl, TransactionModes,
    },
    wire::{Frame, Speaker, tag::frontend as f},
};

/// Classification of a client's texts.
#[derive(Clone, Copy)]
pub(super) struct UnitClassifier<'a> {
    database: &'a DatabaseState,
    statements: &'a ClientStatements,
    texts: &'a AnalyzedTexts,
}

/// What is known of what comes.
pub(super) enum Foreseen {
    /// All that is judged together, and how many messages that is.
    Unit(RoutingUnit, usize),
    /// The end of it is not here.
    More(RoutingUnit, usize),
}

/// Effects able to pin the session to the backend.
const PINNING: Effects = Effects::TEMPORARY
    .union(Effects::LISTEN)
    .union(Effects::ADVISORY)
    .union(Effects::CURSOR)
    .union(Effects::PREPARE)
    .union(Effects::EXECUTE)
    .union(Effects::LOAD)
    .union(Effects::FUNCTION)
    .union(Effects::SEQUENCE_READ)
    .union(Effects::SETTINGS_HIDDEN);
/// Modes of a transaction not declared READ ONLY.
pub(super) const MAY_WRITE: TransactionModes =
    TransactionModes { read_only: Some(false), serializable: None };
/// Statements that one batch may prepare; with more of them it is not judged.
const PREPARES: usize = 8;
/// Unit of a statement prepared by SQL, or not at all.
const UNKNOWN: RoutingUnit = RoutingUnit {
    access: StatementAccess::Unproven,
    classify_reason: ClassifyReason::Named,
    ..RoutingUnit::EMPTY
};

// === impl UnitClassifier ===

impl<'a> UnitClassifier<'a> {
    /// Classification for a client with `statements`, and with `texts` in its next messages.
    pub(super) const fn new(
        database: &'a DatabaseState,
        statements: &'a ClientStatements,
        texts: &'a AnalyzedTexts,
    ) -> Self {
        Self { database, statements, texts }
    }

    /// Analysis of the text of a Query or Parse.
    pub(super) fn analyze(&self, message: &ClientMessage<'_>) -> Analysis {
        self.texts.analyze(message, self.database)
    }

    /// Analysis of the statement called `name`, and its text.
    pub(super) fn analyze_prepared(&self, name: &[u8]) -> Option<(Analysis, &'a [u8])> {
        if name.is_empty() {
            let unnamed = self.statements.unnamed();
            let analysis = unnamed.exists().then(|| self.texts.analyze_unnamed(unnamed, self.database));
            return analysis.map(|analysis| (analysis, unnamed.text()));
        }
        self.statements.get(name).map(|statement| {
            let analysis = Analysis {
                effects: self.database.effects(statement),
                transaction_commands: statement.transaction_commands(),
                lists_prepared: statement.lists_prepared(),
                classification: self
                    .texts
                    .lexical()
                    .map(|lexical| self.database.classify(statement.text(), &lexical)),
            };
            (analysis, statement.text())
        })
    }

    /// Looks ahead, from `message` on.
    pub(super) fn foresee(
        &self,
        message: &ClientMessage<'_>,
        is_in_batch: bool,
        shown: &ClientInput<'_>,
        situation: &SessionRouteState,
    ) -> Foreseen {
        if shown.is_gathered() {
            let mut unit = RoutingUnit::EMPTY;
            // It is all that is here.
            match message.tag() {
                f::QUERY => unit.add(&self.unit_of(message)),
                _ => unit.unfinished = true,
            }
            unit.unfinished |= is_in_batch;
            return Foreseen::Unit(unit, 1);
        }
        let mut batch = BatchUnit::new(self);
        let mut rest = shown.unread();
        let mut count = 0;
        while let Ok(Some(frame)) = Frame::read(Speaker::Client, rest) {
            let position = shown.position(shown.unread().len() - rest.len());
            rest = rest.get(frame.as_bytes().len()..).unwrap_or_default();
            // After an earlier error in the batch, the server skips the message, up to a Sync not known yet.
            let is_late = matches!(frame.tag(), f::QUERY | f::FUNCTION_CALL) && (count > 0 || is_in_batch);
            batch.unit.unfinished |= is_late;
            count += 1;
            let is_over = batch.add(&ClientMessage::of(&frame).at(position));
            if is_over || batch.unit.unfinished || batch.unit.need(situation).side == RouteSide::Writer {
                return Foreseen::Unit(batch.unit, count);
            }
        }
        Foreseen::More(batch.unit, count)
    }

    /// Unit of what the message executes, or binds for execution; `None` for other messages.
    pub(super) fn executed_unit(&self, message: &ClientMessage<'_>) -> Option<RoutingUnit> {
        Some(match message.tag() {
            // The rest of the text may write.
            f::QUERY if message.is_cut() => UNKNOWN,
            f::QUERY => self.unit_of(message),
            f::BIND => self.unit_of_prepared(message.bound().statement()),
            f::FUNCTION_CALL => UNKNOWN,
            _ => return None,
        })
    }

    /// Unit of the text that a Parse prepares.
    pub(super) fn parsed_unit(&self, message: &ClientMessage<'_>) -> RoutingUnit {
        self.unit_of(message)
    }

    /// True if the first message of a unit ends the transaction; for a Query, only if more statements follow.
    pub(super) fn ends_transaction_first(&self, message: &ClientMessage<'_>) -> bool {
        let is_end = |text: &[u8]| {
            matches!(sql::session_statement(text), SessionStatement::Commit | SessionStatement::Rollback)
        };
        match message.tag() {
            f::QUERY => {
                let text = message.text();
                let end = memchr::memchr(b';', text);
                end.is_some_and(|end| is_end(&text[..end]) && !is_end(text))
            }
            f::PARSE => is_end(message.text()),
            f::BIND => self.statements.text(message.bound().statement()).is_some_and(is_end),
            _ => false,
        }
    }

    /// True if a message ends the transaction: a Query with more statements, or the first statement of a batch.
    pub(super) fn ends_transaction(&self, message: &ClientMessage<'_>) -> bool {
        let is_mixed = || {
            let classification = self.analyze(message).classification;
            classification.is_some_and(|known| known.control == TransactionControl::Mixed)
        };
        self.ends_transaction_first(message) || (message.tag() == f::QUERY && is_mixed())
    }

    /// A standby refused to write: the statement that is replayed first is remembered as a write. Any statement executed
    /// before it in its unit would have been answered. `pending` holds the messages to replay.
    pub(super) fn learn_write(&self, pending: &[u8]) {
        if let (Some(text), Some(lexical)) = (self.first_executed(pending), self.texts.lexical()) {
            self.database.learn_write(text, &lexical);
        }
    }

    /// Text of the statement that the `pending` messages execute first.
    fn first_executed<'p>(&self, pending: &'p [u8]) -> Option<&'p [u8]>
    where
        'a: 'p,
    {
        let mut rest = pending;
        let mut parsed: Option<(&[u8], &[u8])> = None;
        while let Ok(Some(frame)) = Frame::read(Speaker::Client, rest) {
            let message = ClientMessage::of(&frame);
            match message.tag() {
                f::QUERY => return Some(message.text()),
                f::PARSE => {
                    parsed = Some((message.parsed().0, message.text()));
                }
                f::BIND => {
                    let name = message.bound().statement();
                    let here = parsed.filter(|(known, _)| *known == name).map(|(_, text)| text);
                    return here.or_else(|| self.statements.text(name));
                }
                _ => {}
            }
            rest = rest.get(frame.as_bytes().len()..).unwrap_or_default();
        }
        None
    }

    /// Unit of the text of a Query or Parse.
    fn unit_of(&self, message: &ClientMessage<'_>) -> RoutingUnit {
        unit(&self.analyze(message), message.text())
    }

    /// What a statement may do that the client has prepared before.
    fn unit_of_prepared(&self, name: &[u8]) -> RoutingUnit {
        self.analyze_prepared(name).map_or(UNKNOWN, |(analysis, text)| unit(&analysis, text))
    }
}

/// Unit that the messages of a batch add up to.
struct BatchUnit<'a> {
    classifier: &'a UnitClassifier<'a>,
    unit: RoutingUnit,
    /// Statements parsed in the batch, by name.
    parsed: [(&'a [u8], RoutingUnit); PREPARES],
    parses: usize,
    uses_portal: bool,
    /// The transaction declared READ ONLY is over.
    has_ended: bool,
}

// === impl BatchUnit ===

impl<'a> BatchUnit<'a> {
    const fn new(classifier: &'a UnitClassifier<'a>) -> Self {
        let parsed: [(&[u8], RoutingUnit); PREPARES] = [(b"", RoutingUnit::EMPTY); PREPARES];
        Self { classifier, unit: RoutingUnit::EMPTY, parsed, parses: 0, uses_portal: false, has_ended: false }
    }

    /// Adds a message; true if the unit ends with the message, or the next messages are unknown.
    fn add(&mut self, message: &ClientMessage<'a>) -> bool {
        match message.tag() {
            f::QUERY => self.unit.add(&self.classifier.unit_of(message)),
            f::FUNCTION_CALL => {
                self.unit.add(&RoutingUnit {
                    access: StatementAccess::Unproven,
                    classify_reason: ClassifyReason::Uncovered,
                    ..RoutingUnit::EMPTY
                });
            }
            f::PARSE => self.add_parse(message),
            f::BIND => self.add_bind(message.bound().statement()),
            f::DESCRIBE => {
                if let Some(name) = message.statement_object() {
                    self.unit.add(&self.prepared(name));
                }
            }
            f::EXECUTE => self.uses_portal = true,
            // Later messages are unknown; statements only prepared can be prepared elsewhere, too.
            f::FLUSH => self.unit.keeps_portal = self.uses_portal,
            _ => {}
        }
        matches!(message.tag(), f::QUERY | f::FUNCTION_CALL | f::SYNC | f::TERMINATE | f::FLUSH)
    }

    fn add_parse(&mut self, message: &ClientMessage<'a>) {
        let name = message.parsed().0;
        let parsed = self.classifier.unit_of(message);
        match self.parsed.get_mut(self.parses) {
            Some(slot) => *slot = (name, parsed),
            None => self.unit.unfinished = true,
        }
        self.parses += 1;
        self.unit.add(&parsed);
    }

    fn add_bind(&mut self, name: &[u8]) {
        self.uses_portal = true;
        let bound = self.prepared(name);
        self.unit.add(&bound);
        if self.has_ended {
            self.unit.begins = Some(MAY_WRITE);
        }
        self.has_ended |= bound.ends;
    }

    /// Unit of a statement parsed in the batch, or before.
    fn prepared(&self, name: &[u8]) -> RoutingUnit {
        let parsed = &self.parsed[..self.parses.min(PREPARES)];
        let here = parsed.iter().rev().find(|(known, _)| *known == name).map(|(_, unit)| *unit);
        here.unwrap_or_else(|| self.classifier.unit_of_prepared(name))
    }
}

/// True if a read shows whether transactions are read-only that do not say otherwise. Only the writer can tell: a read pool's
/// backend always is read-only.
fn shows_read_only(reason: ClassifyReason, text: &[u8]) -> bool {
    const SETTING: &[u8] = b"read_only";
    reason == ClassifyReason::SessionState
        && text.windows(SETTING.len()).any(|word| word.eq_ignore_ascii_case(SETTING))
}

/// Unit of a text, by its analysis.
fn unit(analysis: &Analysis, text: &[u8]) -> RoutingUnit {
    analysis.classification.map_or(UNKNOWN, |known| classified_unit(known, analysis.effects, text))
}

fn classified_unit(classification: Classification, effects: Effects, text: &[u8]) -> RoutingUnit {
    let Classification { access, mut reason, control, hint } = classification;
    if shows_read_only(reason, text) {
        reason = ClassifyReason::ServerState;
    }
    let begins = match control {
        TransactionControl::Begin(modes) => Some(modes),
        // What comes behind it is in a transaction that nobody here can follow.
        TransactionControl::Mixed => Some(MAY_WRITE),
        TransactionControl::SetTransaction(modes)
            if modes.read_only.is_some() || modes.serializable.is_some() =>
        {
            Some(modes)
        }
        _ => None,
    };
    if matches!(control, TransactionControl::Mixed) {
        reason = reason.max(ClassifyReason::Transaction);
    }
    RoutingUnit {
        access,
        classify_reason: reason,
        begins,
        ends: matches!(control, TransactionControl::Commit { .. } | TransactionControl::Rollback { .. }),
        touches_session: !effects.is_empty(),
        pins: effects.intersects(PINNING),
        hint,
        unfinished: false,
        keeps_portal: false,
    }
}
