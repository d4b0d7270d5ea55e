//! Batches of our own, which no client sees: a held-back BEGIN, settings to be given to a backend, and the look at what
//! a transaction has left behind.
//!
//! The look asks the server's catalogues. Names are qualified throughout, since the session's search path is anybody's.

use std::sync::Arc;

use super::{
    backend_statements::BackendStatements,
    pin::{Pin, Pins},
    reported_parameters::DEFAULT_READ_ONLY,
    setting_values::SettingValues,
    shared_statement::SharedStatement,
    split::LAST_ROUTE,
};
use crate::{
    route::RouteSide,
    sql::Effects,
    wire::{Frame, Reader, SqlState, frontend, tag::backend as b},
};

/// A batch of our own, from its first message to its Sync.
pub(super) enum ProxyBatch {
    /// A BEGIN that the client has had its answer to.
    Begin { failed: bool },
    /// `DISCARD SEQUENCES`: what other sessions left of theirs.
    Sequences,
    /// `DISCARD SEQUENCES` within a client's batch. `left` CloseComplete messages are pending.
    SequencesWithin { left: usize },
    /// Settings that the backend is given. `failed` once the server refused one.
    Apply { wanted: SettingValues, failed: Option<SqlState> },
    /// Applies start-up settings again after a reset. `left` CloseComplete messages are pending. With `synced` the batch has a Sync,
    /// and the client's request ends with the ReadyForQuery of the batch.
    Again { left: usize, synced: bool, failed: Option<SqlState> },
    /// A look at what there is.
    StateCheck(Box<StateCheck>),
    /// Statements made or closed under a client's own names.
    Aside,
    /// A node's replay position, which has to be `required` at least.
    Position { required: u64, replayed: Option<u64> },
    /// What the client has said, and will not hear the answer to: it is said again elsewhere.
    Dropped,
}

/// A look at what a transaction has left behind.
pub(super) struct StateCheck {
    /// The questions, in the order they are asked.
    asked: Vec<StateQuery>,
    /// How many are answered.
    answered: usize,
    pub(super) seen: StateReport,
    /// A response was too large to be read.
    pub(super) too_large: bool,
    /// The server refused a question.
    pub(super) failed: Option<SqlState>,
}

/// What is asked.
pub(super) enum StateQuery {
    /// Which visible pins there are.
    Pins,
    /// The value of a setting.
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

/// What was answered.
pub(super) struct StateReport {
    /// The visible pins, if they were asked for.
    pub(super) pins: Option<Pins>,
    /// Settings by name; `None` where there is none of that name.
    pub(super) settings: Vec<ReportedSetting>,
    /// [`StateQuery::Settings`] was asked: `settings` are all that are listed.
    pub(super) all: bool,
    /// Names of all statements prepared by message, if requested.
    pub(super) statements: Option<Vec<Box<[u8]>>>,
}

/// The statements that our own batches execute, prepared on a backend like any other.
pub(super) struct InternalStatements {
    pins: Arc<SharedStatement>,
    setting: Arc<SharedStatement>,
    settings: Arc<SharedStatement>,
    statements: Arc<SharedStatement>,
    set: Arc<SharedStatement>,
    position: Arc<SharedStatement>,
}

/// One letter for each kind of state that holds a backend.
const PINS: &str = "SELECT pg_catalog.concat(\
CASE WHEN EXISTS (SELECT 1 FROM pg_catalog.pg_listening_channels()) THEN 'L' END, \
CASE WHEN EXISTS (SELECT 1 FROM pg_catalog.pg_locks l WHERE l.locktype OPERATOR(pg_catalog.=) 'advisory' \
AND l.pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()) THEN 'A' END, \
CASE WHEN EXISTS (SELECT 1 FROM pg_catalog.pg_depend d WHERE d.refclassid OPERATOR(pg_catalog.=) \
'pg_catalog.pg_namespace'::pg_catalog.regclass AND d.refobjid OPERATOR(pg_catalog.=) \
pg_catalog.pg_my_temp_schema()) THEN 'T' END, \
CASE WHEN EXISTS (SELECT 1 FROM pg_catalog.pg_cursors c WHERE c.is_holdable) THEN 'C' END, \
CASE WHEN EXISTS (SELECT 1 FROM pg_catalog.pg_prepared_statements p WHERE p.from_sql) THEN 'P' END)";

/// Returns the value in the database encoding: the session encoding may change, and may lack characters of the value.
const SETTING: &str = "SELECT pg_catalog.convert_to(pg_catalog.current_setting($1, true), \
pg_catalog.getdatabaseencoding())";

/// As `pg_settings` shows them: in base units, which `set_config` understands.
const SETTINGS: &str = "SELECT s.name, pg_catalog.convert_to(s.setting, pg_catalog.getdatabaseencoding()) \
FROM pg_catalog.pg_settings s \
WHERE s.source OPERATOR(pg_catalog.=) 'session' AND s.context OPERATOR(pg_catalog.<>) 'internal'";

const STATEMENTS: &str = "SELECT p.name FROM pg_catalog.pg_prepared_statements p WHERE NOT p.from_sql";

/// How much a standby has replayed, in bytes; nothing of a server that is none (any more).
const POSITION: &str = "SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN \
pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_last_wal_replay_lsn(), '0/0')::pg_catalog.int8::pg_catalog.text END";

/// NULL restores the default. The value itself is not returned: the session encoding may lack characters of the value.
const SET: &str = "SELECT pg_catalog.set_config($1, \
pg_catalog.convert_from($2, pg_catalog.getdatabaseencoding()), $3) IS NULL";

/// Values of the third parameter of [`SET`]: the setting lasts until the end of the session, or of the transaction.
const FOR_SESSION: &[u8] = &[0];
const FOR_TRANSACTION: &[u8] = &[1];

/// Portal for internal statements within a client's batch; the client's own portals stay.
const PORTAL_WITHIN_BATCH: &[u8] = b"__gatekeeper";

/// Id in the name of the statement that clears sequences, closed after each use. No shared statement has the id.
const SEQUENCES_ID: u64 = 0;

/// Setting to apply again for a session.
pub(super) struct GivenSetting<'a> {
    pub(super) name: &'a [u8],
    pub(super) value: &'a [u8],
    /// Until the end of the transaction.
    pub(super) local: bool,
}

// === impl InternalStatements ===

impl InternalStatements {
    /// `intern` makes a statement of its definition.
    pub(super) fn new(intern: impl Fn(&[u8]) -> Arc<SharedStatement>) -> Self {
        let phrase = |text: &str| intern(&[text.as_bytes(), &[0, 0, 0]].concat());
        Self {
            pins: phrase(PINS),
            setting: phrase(SETTING),
            settings: phrase(SETTINGS),
            statements: phrase(STATEMENTS),
            set: phrase(SET),
            position: phrase(POSITION),
        }
    }
}

/// Where a batch of our own is written: behind what goes to the backend already.
pub(super) struct BatchWriter<'a> {
    pub(super) internal_statements: &'a InternalStatements,
    pub(super) prepared: &'a mut BackendStatements,
    pub(super) batch: u32,
    /// Number of the last Parse of any client.
    pub(super) parsed: u64,
    pub(super) out: &'a mut Vec<u8>,
}

impl BatchWriter<'_> {
    /// Sees to it that the backend has `statement` when what follows is executed. Returns the count of Close messages.
    pub(super) fn prepare(&mut self, statement: &SharedStatement) -> usize {
        let id = statement.id();
        if self.prepared.uses(id, self.batch, 0).is_some() {
            return 0;
        }
        let name = self.prepared.name(id);
        let had = self.prepared.may_have(id);
        if had {
            frontend::write_close_statement(self.out, &name);
        }
        frontend::write_parse(self.out, &name, statement.definition());
        let evicted = self.prepared.sent(id, self.batch, self.parsed);
        if let Some(closed) = evicted {
            frontend::write_close_statement(self.out, &self.prepared.name(closed));
        }
        usize::from(had) + usize::from(evicted.is_some())
    }

    fn execute(&mut self, statement: &SharedStatement, parameters: &[Option<&[u8]>]) {
        self.execute_in(b"", statement, parameters);
    }

    /// Returns the count of Close messages.
    fn execute_in(
        &mut self,
        portal: &[u8],
        statement: &SharedStatement,
        parameters: &[Option<&[u8]>],
    ) -> usize {
        let closes = self.prepare(statement);
        frontend::write_bind_binary(self.out, portal, &self.prepared.name(statement.id()), parameters);
        frontend::write_execute(self.out, portal);
        closes
    }

    /// Executes `statement` within a client's batch. Returns the count of Close messages, the last at the end.
    fn execute_within(&mut self, statement: &SharedStatement, parameters: &[Option<&[u8]>]) -> usize {
        let closes = self.execute_in(PORTAL_WITHIN_BATCH, statement, parameters);
        frontend::write_close_portal(self.out, PORTAL_WITHIN_BATCH);
        closes + 1
    }
}

/// Settings that decide who one is: nothing may be executed before they are known to hold.
pub(super) const IDENTITY: [&[u8]; 2] = [SESSION_AUTHORIZATION, b"role"];
pub(super) const SESSION_AUTHORIZATION: &[u8] = b"session_authorization";

/// Whether giving a backend that holds `held` the settings `wanted` changes who its session is.
pub(super) fn changes_identity(held: &SettingValues, wanted: &SettingValues) -> bool {
    IDENTITY.iter().any(|name| held.get(name) != wanted.get(name))
}

/// Writes the batch that gives a backend on `side` with the settings `held` those of `wanted`.
pub(super) fn write_apply(
    held: &SettingValues,
    wanted: &SettingValues,
    side: RouteSide,
    mut pen: BatchWriter<'_>,
) -> ProxyBatch {
    // A read pool's backend does not learn to write: its server may be promoted.
    let would_write =
        |name: &[u8], value: &[u8]| side == RouteSide::Reader && name == DEFAULT_READ_ONLY && value != b"on";
    let internal_statements = pen.internal_statements;
    let mut set = |name: &[u8], value: Option<&[u8]>| {
        pen.execute(&internal_statements.set, &[Some(name), value, Some(FOR_SESSION)])
    };
    // What follows is done as whoever logged in, who has the rights.
    for name in IDENTITY.iter().rev().filter(|name| held.get(name).is_some()) {
        set(name, None);
    }
    for (name, value) in held.difference(wanted).filter(|(name, _)| !IDENTITY.contains(name)) {
        set(name, value.filter(|value| !would_write(name, value)));
    }
    for name in IDENTITY {
        if let Some(value) = wanted.get(name) {
            set(name, Some(value));
        }
    }
    frontend::write_sync(pen.out);
    ProxyBatch::Apply { wanted: wanted.clone(), failed: None }
}

/// Writes statements to apply reset settings again, on a backend on `side`, with a Sync for a separate batch. Returns
/// `None` without settings.
pub(super) fn write_again<'a>(
    settings: impl Iterator<Item = GivenSetting<'a>>,
    side: RouteSide,
    synced: bool,
    mut pen: BatchWriter<'_>,
) -> Option<ProxyBatch> {
    let internal_statements = pen.internal_statements;
    let mut left = 0;
    // A read pool's backend must not become writable: the server may be promoted.
    let settings =
        settings.filter(|it| side == RouteSide::Writer || it.name != DEFAULT_READ_ONLY || it.value == b"on");
    for GivenSetting { name, value, local } in settings {
        let span = if local { FOR_TRANSACTION } else { FOR_SESSION };
        let parameters = [Some(name), Some(value), Some(span)];
        left += if synced {
            pen.execute(&internal_statements.set, &parameters);
            1
        } else {
            pen.execute_within(&internal_statements.set, &parameters)
        };
    }
    if synced && left > 0 {
        frontend::write_sync(pen.out);
    }
    (left > 0).then_some(ProxyBatch::Again { left, synced, failed: None })
}

/// Writes `DISCARD SEQUENCES`, with a Sync for a separate batch. Unlike a Query, the messages leave the client's unnamed
/// statement and portal alone.
pub(super) fn write_sequences(synced: bool, pen: BatchWriter<'_>) -> ProxyBatch {
    let name = pen.prepared.name(SEQUENCES_ID);
    // An error may have left the statement behind.
    frontend::write_close_statement(pen.out, &name);
    frontend::write_parse(pen.out, &name, b"DISCARD SEQUENCES\0\0\0");
    frontend::write_bind_binary(pen.out, PORTAL_WITHIN_BATCH, &name, &[]);
    frontend::write_execute(pen.out, PORTAL_WITHIN_BATCH);
    frontend::write_close_portal(pen.out, PORTAL_WITHIN_BATCH);
    frontend::write_close_statement(pen.out, &name);
    if !synced {
        return ProxyBatch::SequencesWithin { left: 3 };
    }
    frontend::write_sync(pen.out);
    ProxyBatch::Sequences
}

/// Writes the batch of a look.
pub(super) fn write_state_check(asked: Vec<StateQuery>, mut pen: BatchWriter<'_>) -> ProxyBatch {
    let internal_statements = pen.internal_statements;
    for question in &asked {
        match question {
            StateQuery::Pins => pen.execute(&internal_statements.pins, &[]),
            StateQuery::Setting(name) | StateQuery::HiddenSetting(name) => {
                pen.execute(&internal_statements.setting, &[Some(name)]);
            }
            StateQuery::Settings => pen.execute(&internal_statements.settings, &[]),
            StateQuery::Statements => pen.execute(&internal_statements.statements, &[]),
        }
    }
    frontend::write_sync(pen.out);
    ProxyBatch::StateCheck(Box::new(StateCheck::new(asked)))
}

/// Writes the batch that asks for a node's replay position.
pub(super) fn write_position(required: u64, mut pen: BatchWriter<'_>) -> ProxyBatch {
    let internal_statements = pen.internal_statements;
    pen.execute(&internal_statements.position, &[]);
    frontend::write_sync(pen.out);
    ProxyBatch::Position { required, replayed: None }
}

/// Writes the batch that lets the server say where the client's last statement went. `held` are the backend's settings.
pub(super) fn write_last_route(held: &SettingValues, answer: &[u8], mut pen: BatchWriter<'_>) -> ProxyBatch {
    let internal_statements = pen.internal_statements;
    pen.execute(&internal_statements.set, &[Some(LAST_ROUTE), Some(answer), Some(FOR_SESSION)]);
    frontend::write_sync(pen.out);
    ProxyBatch::Apply { wanted: held.with(LAST_ROUTE, Some(answer)), failed: None }
}

// === impl ProxyBatch ===

impl ProxyBatch {
    /// A message of the answer that is neither an error nor its end.
    pub(super) fn on_answer(&mut self, frame: &Frame<'_>) {
        match self {
            Self::StateCheck(look) => look.on_answer(frame),
            // Each applied setting ends with a Close of the portal.
            Self::Again { left, synced: false, .. } | Self::SequencesWithin { left }
                if frame.tag() == b::CLOSE_COMPLETE =>
            {
                *left = left.saturating_sub(1);
            }
            Self::Position { replayed, .. } if frame.tag() == b::DATA_ROW => {
                let mut row = Reader::new(frame.body());
                let text = row.i16().ok().and_then(|_| value(&mut row));
                *replayed = text.and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
            }
            _ => {}
        }
    }

    /// The server refused it.
    pub(super) fn on_error(&mut self, state: SqlState) {
        match self {
            Self::StateCheck(look) => look.failed = Some(state),
            Self::Apply { failed, .. } | Self::Again { failed, .. } => *failed = Some(state),
            Self::Begin { failed } => *failed = true,
            Self::Position { replayed, .. } => *replayed = None,
            Self::Sequences | Self::SequencesWithin { .. } | Self::Aside | Self::Dropped => {}
        }
    }

    /// Notes a response message too large to be read.
    pub(super) fn on_too_large(&mut self, tag: u8) {
        match self {
            Self::StateCheck(look) if tag == b::DATA_ROW => look.too_large = true,
            // No expected error is so large; any ErrorResponse counts as an error.
            _ if tag == b::ERROR_RESPONSE => self.on_error(SqlState::INTERNAL_ERROR),
            _ => {}
        }
    }

    /// True if the batch is over before a ReadyForQuery.
    pub(super) fn is_over(&self) -> bool {
        matches!(self, Self::Again { left: 0, synced: false, .. } | Self::SequencesWithin { left: 0 })
    }

    /// Whether the server refused it.
    fn has_failed(&self) -> bool {
        match self {
            Self::StateCheck(look) => look.failed.is_some(),
            Self::Apply { failed, .. } | Self::Again { failed, .. } => failed.is_some(),
            Self::Begin { failed } => *failed,
            Self::Position { replayed, .. } => replayed.is_none(),
            Self::Sequences | Self::SequencesWithin { .. } | Self::Aside | Self::Dropped => false,
        }
    }

    /// It is over: what it has parsed is there, or, when it was refused, may be there or not.
    pub(super) fn settle(&self, internal_statements: &InternalStatements, prepared: &mut BackendStatements) {
        let internal_statements = [
            &internal_statements.pins,
            &internal_statements.setting,
            &internal_statements.settings,
            &internal_statements.statements,
            &internal_statements.set,
            &internal_statements.position,
        ];
        for statement in internal_statements {
            if self.has_failed() {
                prepared.doubt(statement.id());
            } else {
                prepared.made(statement.id());
            }
        }
    }
}

// === impl StateCheck ===

impl StateCheck {
    /// Creates a check without responses.
    pub(super) fn new(asked: Vec<StateQuery>) -> Self {
        let has = |wanted: fn(&StateQuery) -> bool| asked.iter().any(wanted);
        let all = has(|question| matches!(question, StateQuery::Settings));
        let statements = has(|question| matches!(question, StateQuery::Statements)).then(Vec::new);
        let seen = StateReport { pins: None, settings: Vec::new(), all, statements };
        Self { asked, answered: 0, seen, too_large: false, failed: None }
    }

    fn on_answer(&mut self, frame: &Frame<'_>) {
        match frame.tag() {
            b::COMMAND_COMPLETE => self.answered += 1,
            b::DATA_ROW => {
                let mut reader = Reader::new(frame.body());
                if reader.i16().is_err() {
                    return;
                }
                let first = value(&mut reader);
                match self.asked.get(self.answered) {
                    Some(StateQuery::Pins) => self.seen.pins = Some(pins(first.unwrap_or_default())),
                    Some(StateQuery::Setting(name)) => {
                        self.seen.settings.push((Arc::clone(name), first.map(Into::into)));
                    }
                    Some(StateQuery::HiddenSetting(name)) => {
                        // A setting not defined by any module stays behind empty after any session has set the setting
                        // on the backend.
                        if let Some(value) = first.filter(|value| !value.is_empty() && *value != b"none") {
                            self.seen.settings.push((Arc::clone(name), Some(value.into())));
                        }
                    }
                    Some(StateQuery::Settings) => {
                        if let (Some(name), Some(value)) = (first, value(&mut reader)) {
                            self.seen.settings.push((name.to_ascii_lowercase().into(), Some(value.into())));
                        }
                    }
                    Some(StateQuery::Statements) => {
                        self.seen.statements.get_or_insert_default().extend(first.map(Into::into));
                    }
                    None => {}
                }
            }
            _ => {}
        }
    }

    /// Settings requested by name.
    pub(super) fn settings(&self) -> impl Iterator<Item = &Arc<[u8]>> {
        self.asked.iter().filter_map(|question| match question {
            StateQuery::Setting(name) => Some(name),
            _ => None,
        })
    }

    /// Whether every question was answered.
    pub(super) fn is_answered(&self) -> bool {
        self.failed.is_none() && self.answered == self.asked.len()
    }
}

/// The next column of a DataRow; `None` for a null, and for what makes no sense.
fn value<'a>(reader: &mut Reader<'a>) -> Option<&'a [u8]> {
    let length = usize::try_from(reader.i32().ok()?).ok()?;
    reader.bytes(length).ok()
}

fn pins(letters: &[u8]) -> Pins {
    letters.iter().fold(Pins::NONE, |pins, letter| match letter {
        b'L' => pins.with(Pin::Listen),
        b'A' => pins.with(Pin::AdvisoryLock),
        b'T' => pins.with(Pin::TemporaryObject),
        b'C' => pins.with(Pin::HoldCursor),
        b'P' => pins.with(Pin::SqlPrepared),
        _ => pins,
    })
}

/// What may leave something that [`StateQuery::Pins`] shows.
pub(super) const VISIBLE: Effects = Effects::TEMPORARY
    .union(Effects::LISTEN)
    .union(Effects::ADVISORY)
    .union(Effects::CURSOR)
    .union(Effects::PREPARE)
    .union(Effects::DISCARD)
    .union(Effects::EXECUTE)
    .union(Effects::BLOCK);
