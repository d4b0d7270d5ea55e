//! What the client is about to say: all of it is judged together, before any of it is sent to a read pool.

use super::{
    client_messages::{ClientInput, MessageAction},
    messages::object,
};
use crate::{
    route::{RouteNeed, RouteSide, RoutingUnit, SessionRouteState},
    session::{
        common::Common,
        conversation::until_nul,
        pooled::{BackendEvent, Pooled},
        proxy_batch::ProxyBatch,
        split::{BeginScript, Opening, PortalUse},
        statement::text_of,
    },
    sql::{
        self, Classification, ClassifyReason, Effects, LexicalSettings, SessionStatement, StatementAccess,
        TransactionControl, TransactionModes,
    },
    wire::{Frame, Speaker, TransactionStatus, tag::frontend as f},
};

/// What is known of what comes.
enum Foreseen {
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
const MAY_WRITE: TransactionModes = TransactionModes { read_only: Some(false), serializable: None };
/// Statements that one batch may prepare; with more of them it is not judged.
const PREPARES: usize = 8;

impl Pooled {
    /// The client's message needs a backend, and there is none: says so, once it is known which.
    pub(super) fn want(&mut self, tag: u8, body: &[u8], shown: &ClientInput<'_>) -> MessageAction {
        let need = self.need_of(tag, body, shown);
        if self.begin.wants_backend() {
            self.begin.wait_for_statement();
        }
        let Some(split) = self.router.as_deref_mut() else {
            self.on_backend_event(BackendEvent::Needed);
            return MessageAction::Wait;
        };
        if let Some((need, judged, proved)) = need {
            split.need = need;
            split.lookahead.classify(judged, Some(proved));
            self.on_backend_event(BackendEvent::Needed);
        }
        MessageAction::Wait
    }

    /// A read pool's backend is held: whether the client's message may be sent there. If not, it is given up as soon as that
    /// can be.
    pub(super) fn may_stay(&mut self, tag: u8, body: &[u8], shown: &ClientInput<'_>) -> bool {
        let Some(split) = self.router.as_deref() else { return true };
        if self.backend.is_leaving() {
            return false;
        }
        if split.side == RouteSide::Writer
            || split.lookahead.is_classified()
            || matches!(tag, f::SYNC | f::FLUSH)
        {
            return true;
        }
        if self.conversation.queue.is_skipping() {
            // The server skips the message here; another server would execute the message.
            return true;
        }
        if self.conversation.in_batch && self.backend.held().is_some_and(|held| held.attempt.keeps_portal()) {
            // The bound portal exists only on the current backend.
            return true;
        }
        let settled = self.conversation.queue.is_settled();
        if split.lookahead.is_txn_state_unknown() && !settled && !self.conversation.in_batch {
            // In which state of its transaction the session will be only the answers tell.
            self.wait_for_answers();
            return false;
        }
        if self.conversation.status != TransactionStatus::Idle || !self.cleanup.pins().is_empty() {
            // The transaction began READ ONLY, and ends on the same backend, unless the transaction turns to something
            // else.
            return !self.moves_transaction(tag, body, shown);
        }
        let Some((need, judged, proved)) = self.need_of(tag, body, shown) else { return false };
        let batch = self.conversation.in_batch;
        let Some(split) = self.router.as_deref_mut() else { return true };
        if need.side == RouteSide::Reader {
            split.lookahead.classify(judged, (!batch).then_some(proved));
            return true;
        }
        if !settled {
            self.wait_for_answers();
            return false;
        }
        self.leave_reader();
        false
    }

    /// Where what comes has to go, how many messages that is, and whether it is proved to read. `None` until more is here.
    fn need_of(&mut self, tag: u8, body: &[u8], shown: &ClientInput<'_>) -> Option<(RouteNeed, usize, bool)> {
        let situation = self.router.as_deref()?.situation(self.begin.modes(), self.settings.values());
        let foreseen = self.foresee(tag, body, shown, &situation);
        let split = self.router.as_deref_mut()?;
        let (mut unit, count) = match foreseen {
            Foreseen::Unit(unit, count) => (unit, count),
            Foreseen::More(mut unit, count) => {
                unit.unfinished = split.lookahead.has_timed_out() || (shown.full && shown.at == 0);
                if !unit.unfinished && unit.need(&situation).side == RouteSide::Reader {
                    split.lookahead.wait();
                    return None;
                }
                (unit, count)
            }
        };
        split.lookahead.end_wait();
        split.lookahead.set_opens_transaction(unit.begins.is_some());
        if self.begin.has_failed() {
            unit.unfinished = true;
        }
        let need = unit.need(&situation);
        let need = split.replay.route(need);
        Some((need, count, unit.access == StatementAccess::Read))
    }

    /// Looks ahead, from the message `tag`, `body` on.
    fn foresee(
        &self,
        tag: u8,
        body: &[u8],
        shown: &ClientInput<'_>,
        situation: &SessionRouteState,
    ) -> Foreseen {
        if shown.gathered {
            let mut unit = RoutingUnit::EMPTY;
            // It is all that is here.
            match tag {
                f::QUERY => unit.add(&self.unit_of(until_nul(body).0)),
                _ => unit.unfinished = true,
            }
            unit.unfinished |= self.conversation.in_batch;
            return Foreseen::Unit(unit, 1);
        }
        let mut batch = BatchUnit::new();
        let mut rest = shown.bytes.get(shown.at..).unwrap_or_default();
        let mut count = 0;
        while let Ok(Some(frame)) = Frame::read(Speaker::Client, rest) {
            rest = rest.get(frame.as_bytes().len()..).unwrap_or_default();
            // After an earlier error in the batch, the server skips the message, up to a Sync not known yet.
            let is_late = matches!(frame.tag(), f::QUERY | f::FUNCTION_CALL)
                && (count > 0 || self.conversation.in_batch);
            batch.unit.unfinished |= is_late;
            count += 1;
            let is_over = batch.add(self, &frame);
            if is_over || batch.unit.unfinished || batch.unit.need(situation).side == RouteSide::Writer {
                return Foreseen::Unit(batch.unit, count);
            }
        }
        Foreseen::More(batch.unit, count)
    }

    /// Handles a message within a READ ONLY transaction on a read pool. Releases the read pool's backend if the writer
    /// must serve the message, and commands alone recreate the transaction on the writer. True also if more of the
    /// batch is awaited.
    ///
    /// Commands suffice while the transaction has only savepoints, local settings, and reads with a snapshot per
    /// statement. Commands also suffice if the message ends the transaction before more statements
    /// (`COMMIT; INSERT …`).
    fn moves_transaction(&mut self, tag: u8, body: &[u8], shown: &ClientInput<'_>) -> bool {
        let Some(split) = self.router.as_deref() else { return false };
        let leaves_nothing = self.cleanup.is_clean() && !self.statements.is_on_backend();
        if self.conversation.in_batch || !leaves_nothing || !self.conversation.queue.is_settled() {
            return false;
        }
        let opening = split.opening.as_ref().filter(|opening| match opening.portal {
            PortalUse::Over => true,
            // Effects of the bound portal were noted.
            PortalUse::Bound => false,
            PortalUse::Begun => shown.rebinds_portal(tag),
        });
        let movable = opening.and_then(|opening| Some((opening.has_read, opening.commands()?)));
        let has_read = movable.as_ref().is_none_or(|(has_read, _)| *has_read);
        let (begun, has_failed) = match (movable, self.conversation.status) {
            (_, TransactionStatus::Idle) => return false,
            (Some((_, begun)), TransactionStatus::Open) => (begun, false),
            (_, status) if self.ends_transaction_first(tag, body) => {
                let mut begun = BeginScript::default();
                begun.say(b"BEGIN READ ONLY", TransactionModes { read_only: Some(true), serializable: None });
                (begun, status == TransactionStatus::Failed)
            }
            _ => return false,
        };
        let situation = split.situation(Some(begun.modes()), self.settings.values());
        let is_late = split.lookahead.has_timed_out() || (shown.full && shown.at == 0);
        let foreseen = self.foresee(tag, body, shown, &situation);
        let waits =
            matches!(&foreseen, Foreseen::More(unit, _) if unit.need(&situation).side == RouteSide::Reader);
        if let Some(split) = self.router.as_deref_mut() {
            if waits && !is_late {
                split.lookahead.wait();
            } else {
                split.lookahead.end_wait();
            }
        }
        if waits && !is_late {
            // The batch may end the transaction, and continue with something else.
            return true;
        }
        let (Foreseen::Unit(mut unit, _) | Foreseen::More(mut unit, _)) = foreseen;
        unit.unfinished |= waits;
        let may_turn = !has_read
            || unit.unfinished
            || (unit.ends && unit.begins == Some(MAY_WRITE))
            || unit.needs_writer_to_read()
            || self.ends_transaction(tag, body);
        if !may_turn || unit.need(&situation).side == RouteSide::Reader {
            return false;
        }
        self.begin.move_with(begun, has_failed);
        self.leave_reader();
        self.say_ahead(b"ROLLBACK", ProxyBatch::Aside);
        true
    }

    /// Gives up a read pool's backend on which nothing of the client's is under way; a batch that has only prepared
    /// statements goes on elsewhere.
    fn leave_reader(&mut self) {
        let open = self.conversation.in_batch;
        self.conversation.in_batch = false;
        if let Some(held) = self.backend.held_mut() {
            held.attempt.forget();
        }
        self.on_backend_event(BackendEvent::GivenUp);
        if open {
            self.sync_aside();
        }
    }
}

impl Pooled {
    /// True if the first message of a unit ends the transaction; for a Query, only if more statements follow.
    fn ends_transaction_first(&self, tag: u8, body: &[u8]) -> bool {
        let is_end = |text: &[u8]| {
            matches!(sql::session_statement(text), SessionStatement::Commit | SessionStatement::Rollback)
        };
        match tag {
            f::QUERY => {
                let text = until_nul(body).0;
                let end = memchr::memchr(b';', text);
                end.is_some_and(|end| is_end(&text[..end]) && !is_end(text))
            }
            f::PARSE => is_end(text_of(until_nul(body).1)),
            f::BIND => self.statements.text(until_nul(until_nul(body).1).0).is_some_and(is_end),
            _ => false,
        }
    }

    /// True if a message ends the transaction: a Query with more statements, or the first statement of a batch.
    fn ends_transaction(&self, tag: u8, body: &[u8]) -> bool {
        let Some(split) = self.router.as_deref() else { return false };
        let mixed =
            || self.common.classify(until_nul(body).0, &split.meaning).control == TransactionControl::Mixed;
        self.ends_transaction_first(tag, body) || (tag == f::QUERY && mixed())
    }

    /// Notes the beginning of a transaction, while the transaction can still move. Called before a message of the
    /// transaction is sent to a read pool; `status` is the client's transaction status.
    pub(super) fn note_opening(&mut self, tag: u8, body: &[u8], status: TransactionStatus) {
        let (Some(split), Some(held)) = (self.router.as_deref(), self.backend.held()) else {
            return;
        };
        // Deferred commands precede the unit.
        let before = held.attempt.before();
        let is_first =
            (status == TransactionStatus::Idle || before.is_some()) && !held.attempt.keeps_portal();
        if !is_first && split.opening.is_none() {
            return;
        }
        let text = match tag {
            f::QUERY => until_nul(body).0,
            f::BIND => self.statements.text(until_nul(until_nul(body).1).0).unwrap_or_default(),
            f::EXECUTE => return self.note_portal_use(until_nul(body).1 == [0; 4]),
            f::FUNCTION_CALL => b"",
            _ => {
                // A client preparing only a statement, up to a Sync, has not continued yet.
                let opening = before.filter(|_| is_first).map(|begun| Opening::new(begun.clone()));
                if let Some(split) = self.router.as_deref_mut().filter(|_| opening.is_some()) {
                    split.opening = opening;
                }
                return;
            }
        };
        let so_far =
            if is_first { before.map(|begun| Opening::new(begun.clone())) } else { split.opening.clone() };
        let so_far = so_far.map(Opening::goes_on);
        let next = self.next_opening(so_far, text, is_first);
        // A portal with a name may be used until the transaction ends.
        let is_named = tag == f::BIND && !until_nul(body).0.is_empty();
        let next = next.map(|mut opening| {
            // A Query ends the unnamed portal.
            match tag {
                f::BIND => opening.portal = PortalUse::Bound,
                f::QUERY => opening.portal = PortalUse::Over,
                _ => {}
            }
            opening
        });
        if let Some(split) = &mut self.router {
            split.opening = next.map(|opening| if is_named { opening.stays() } else { opening });
        }
    }

    /// Notes an Execute on a read pool, of all rows or some.
    fn note_portal_use(&mut self, is_whole: bool) {
        let opening = self.router.as_deref_mut().and_then(|split| split.opening.as_mut());
        if let Some(opening) = opening {
            opening.portal = match opening.portal {
                PortalUse::Bound | PortalUse::Begun if !is_whole => PortalUse::Begun,
                _ => PortalUse::Over,
            };
        }
    }

    /// Opening of the transaction on a read pool after `text`, about to be sent there behind the opening `so_far`.
    /// `is_first`: no statement of the transaction was sent before.
    fn next_opening(&self, so_far: Option<Opening>, text: &[u8], is_first: bool) -> Option<Opening> {
        let split = self.router.as_deref()?;
        let said = self.common.classify(text, &split.meaning);
        match (said.control, so_far) {
            (TransactionControl::Begin(modes), None) if is_first => {
                let mut begun = BeginScript::default();
                begun.say(text, modes).then(|| Opening::new(begun))
            }
            (TransactionControl::SetTransaction(modes), Some(opening))
                if modes != TransactionModes::default() =>
            {
                if opening.has_read {
                    Some(opening.stays())
                } else {
                    opening.set(text, modes)
                }
            }
            (TransactionControl::Savepoint, Some(opening)) => Some(opening.does(text)),
            (
                TransactionControl::Commit { chain: true } | TransactionControl::Rollback { chain: true },
                Some(opening),
            ) => Some(opening.chains()),
            (TransactionControl::None, Some(opening)) => {
                Some(self.with_statement(opening, text, said.reason))
            }
            // The server rejects the text as well.
            (TransactionControl::Mixed, Some(opening)) if said.reason == ClassifyReason::Unparsable => {
                Some(opening.stays())
            }
            _ => None,
        }
    }

    /// Notes a text without transaction control, about to be sent to a read pool in the transaction of `opening`.
    fn with_statement(&self, opening: Opening, text: &[u8], reason: ClassifyReason) -> Opening {
        let effects = self.common.with_catalogue(|catalogue| sql::effects(text, catalogue));
        if !effects.is_empty() {
            return opening.stays();
        }
        match (reason, sql::session_statement(text)) {
            (_, SessionStatement::SetLocal) => opening.does(text),
            (_, SessionStatement::Show) => opening,
            (ClassifyReason::Read, _) => {
                let level = self.settings.values().get(b"default_transaction_isolation");
                let moves_on =
                    level.is_none_or(|level| level == b"read committed") && !opening.keeps_snapshot();
                if moves_on { opening.reads() } else { opening.reads().stays() }
            }
            _ => opening.reads().stays(),
        }
    }

    /// What a text may do.
    fn unit_of(&self, text: &[u8]) -> RoutingUnit {
        let Some(split) = &self.router else { return RoutingUnit::EMPTY };
        let effects = self.common.with_catalogue(|catalogue| sql::effects(text, catalogue));
        unit(classify(&self.common, text, &split.meaning), effects)
    }

    /// What a statement may do that the client has prepared before.
    fn unit_of_prepared(&self, name: &[u8]) -> RoutingUnit {
        let Some(split) = &self.router else { return RoutingUnit::EMPTY };
        if name.is_empty() {
            return match self.statements.unnamed.number() {
                0 => RoutingUnit {
                    access: StatementAccess::Unproven,
                    classify_reason: ClassifyReason::Named,
                    ..RoutingUnit::EMPTY
                },
                _ => self.unit_of(self.statements.unnamed.text()),
            };
        }
        match self.statements.get(name) {
            Some(statement) => {
                let effects = self.common.effects(statement);
                unit(classify(&self.common, statement.text(), &split.meaning), effects)
            }
            // Prepared by SQL, or not at all.
            None => RoutingUnit {
                access: StatementAccess::Unproven,
                classify_reason: ClassifyReason::Named,
                ..RoutingUnit::EMPTY
            },
        }
    }

    /// Whether the message may do what is not proved to read.
    pub(super) fn may_write(&self, tag: u8, body: &[u8]) -> bool {
        let unit = match tag {
            f::QUERY => self.unit_of(until_nul(body).0),
            f::BIND => self.unit_of_prepared(until_nul(until_nul(body).1).0),
            f::FUNCTION_CALL => return true,
            _ => return false,
        };
        unit.access != StatementAccess::Read
    }
}

/// Unit that the messages of a batch add up to.
struct BatchUnit<'a> {
    unit: RoutingUnit,
    /// Statements parsed in the batch, by name.
    parsed: [(&'a [u8], RoutingUnit); PREPARES],
    parses: usize,
    uses_portal: bool,
    /// The transaction declared READ ONLY is over.
    has_ended: bool,
}

impl<'a> BatchUnit<'a> {
    const fn new() -> Self {
        let parsed: [(&[u8], RoutingUnit); PREPARES] = [(b"", RoutingUnit::EMPTY); PREPARES];
        Self { unit: RoutingUnit::EMPTY, parsed, parses: 0, uses_portal: false, has_ended: false }
    }

    /// Adds a message; true if the unit ends with the message, or the next messages are unknown.
    fn add(&mut self, session: &Pooled, frame: &Frame<'a>) -> bool {
        let body = frame.body();
        match frame.tag() {
            f::QUERY => self.unit.add(&session.unit_of(until_nul(body).0)),
            f::FUNCTION_CALL => {
                self.unit.add(&RoutingUnit {
                    access: StatementAccess::Unproven,
                    classify_reason: ClassifyReason::Uncovered,
                    ..RoutingUnit::EMPTY
                });
            }
            f::PARSE => self.add_parse(session, body),
            f::BIND => {
                self.uses_portal = true;
                let bound = self.prepared(session, until_nul(until_nul(body).1).0);
                self.unit.add(&bound);
                if self.has_ended {
                    self.unit.begins = Some(MAY_WRITE);
                }
                self.has_ended |= bound.ends;
            }
            f::DESCRIBE => {
                if let Some((b'S', name)) = object(body) {
                    self.unit.add(&self.prepared(session, name));
                }
            }
            f::EXECUTE => self.uses_portal = true,
            // Later messages are unknown; statements only prepared can be prepared elsewhere, too.
            f::FLUSH => self.unit.keeps_portal = self.uses_portal,
            _ => {}
        }
        matches!(frame.tag(), f::QUERY | f::FUNCTION_CALL | f::SYNC | f::TERMINATE | f::FLUSH)
    }

    fn add_parse(&mut self, session: &Pooled, body: &'a [u8]) {
        let (name, definition) = until_nul(body);
        let parsed = session.unit_of(text_of(definition));
        match self.parsed.get_mut(self.parses) {
            Some(slot) => *slot = (name, parsed),
            None => self.unit.unfinished = true,
        }
        self.parses += 1;
        self.unit.add(&parsed);
    }

    /// Unit of a statement parsed in the batch, or before.
    fn prepared(&self, session: &Pooled, name: &[u8]) -> RoutingUnit {
        let parsed = &self.parsed[..self.parses.min(PREPARES)];
        let here = parsed.iter().rev().find(|(known, _)| *known == name).map(|(_, unit)| *unit);
        here.unwrap_or_else(|| session.unit_of_prepared(name))
    }
}

impl ClientInput<'_> {
    /// True if the next messages replace the unnamed portal before using a portal. `tag` is the first message's.
    fn rebinds_portal(&self, tag: u8) -> bool {
        if tag == f::QUERY || self.gathered {
            return tag == f::QUERY;
        }
        let mut rest = self.bytes.get(self.at..).unwrap_or_default();
        while let Ok(Some(frame)) = Frame::read(Speaker::Client, rest) {
            match frame.tag() {
                f::BIND => return until_nul(frame.body()).0.is_empty(),
                f::PARSE => {}
                f::DESCRIBE | f::CLOSE if frame.body().first() == Some(&b'S') => {}
                _ => return false,
            }
            rest = rest.get(frame.as_bytes().len()..).unwrap_or_default();
        }
        false
    }
}

/// What a text may do. Whether transactions are read-only that do not say otherwise only the writer can show: a read pool's
/// backend always is.
fn classify(common: &Common, text: &[u8], meaning: &LexicalSettings) -> Classification {
    const SETTING: &[u8] = b"read_only";
    let said = common.classify(text, meaning);
    let shows_setting = said.reason == ClassifyReason::SessionState
        && text.windows(SETTING.len()).any(|word| word.eq_ignore_ascii_case(SETTING));
    if shows_setting { Classification { reason: ClassifyReason::ServerState, ..said } } else { said }
}

fn unit(classification: Classification, effects: Effects) -> RoutingUnit {
    let Classification { access, mut reason, control, hint } = classification;
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
