//! Writer of internal batches.

use super::{
    backend_statements::BackendStatements,
    internal_statements::InternalStatements,
    proxy_batch::ProxyBatch,
    reported_parameters::DEFAULT_READ_ONLY,
    setting_values::SettingValues,
    shared_statement::SharedStatement,
    split::LAST_ROUTE,
    state_check::{StateCheck, StateQuery},
};
use crate::{route::RouteSide, wire::frontend};

/// Writer of internal batches, behind the bytes that go to the backend already.
pub(super) struct BatchWriter<'a> {
    internal_statements: &'a InternalStatements,
    prepared: &'a mut BackendStatements,
    batch: u32,
    /// Number of the last Parse of any client.
    parsed: u64,
    out: &'a mut Vec<u8>,
}

/// Setting to apply again for a session.
pub(super) struct GivenSetting<'a> {
    /// Name in lower case.
    pub name: &'a [u8],
    /// Value in the database encoding.
    pub value: &'a [u8],
    /// The setting lasts until the end of the transaction only.
    pub local: bool,
}

/// Settings that decide the user: no statement may be executed before the server has accepted them.
pub(super) const IDENTITY: [&[u8]; 2] = [SESSION_AUTHORIZATION, b"role"];
pub(super) const SESSION_AUTHORIZATION: &[u8] = b"session_authorization";

/// Values of the third parameter of `set_config`: the setting lasts until the end of the session, or of the transaction.
const FOR_SESSION: &[u8] = &[0];
const FOR_TRANSACTION: &[u8] = &[1];

/// Portal for internal statements within a client's batch; the client's own portals stay.
const PORTAL_WITHIN_BATCH: &[u8] = b"__gatekeeper";

/// Id in the name of the statement that clears sequences, closed after each use. No shared statement has the id.
const SEQUENCES_ID: u64 = 0;

// === impl BatchWriter ===

impl<'a> BatchWriter<'a> {
    /// Creates a writer to `out` for a backend with the statements of `prepared`, in the session's `batch`. `parsed` is the
    /// number of the last Parse of any client.
    pub(super) const fn new(
        internal_statements: &'a InternalStatements,
        prepared: &'a mut BackendStatements,
        batch: u32,
        parsed: u64,
        out: &'a mut Vec<u8>,
    ) -> Self {
        Self { internal_statements, prepared, batch, parsed, out }
    }

    /// Sees to it that the backend has `statement` when what follows is executed. Returns the count of Close messages.
    fn prepare(&mut self, statement: &SharedStatement) -> usize {
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

    /// Ends a separate batch that may stand within the client's transaction, where the unnamed portal would stay.
    fn end_within_transaction(&mut self) {
        frontend::write_close_portal(self.out, b"");
        frontend::write_sync(self.out);
    }

    /// Executes `statement` within a client's batch. Returns the count of Close messages, the last at the end.
    fn execute_within(&mut self, statement: &SharedStatement, parameters: &[Option<&[u8]>]) -> usize {
        let closes = self.execute_in(PORTAL_WITHIN_BATCH, statement, parameters);
        frontend::write_close_portal(self.out, PORTAL_WITHIN_BATCH);
        closes + 1
    }
}

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
        pen.end_within_transaction();
    }
    match (left, synced) {
        (0, _) => None,
        (_, true) => Some(ProxyBatch::Again { failed: None }),
        (left, false) => Some(ProxyBatch::AgainWithin { left, failed: None }),
    }
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

/// Writes the batch of a state check.
pub(super) fn write_state_check(asked: Vec<StateQuery>, mut pen: BatchWriter<'_>) -> ProxyBatch {
    let internal_statements = pen.internal_statements;
    for query in &asked {
        match query {
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
    pen.end_within_transaction();
    ProxyBatch::Apply { wanted: held.with(LAST_ROUTE, Some(answer)), failed: None }
}

/// Writes the query for the id of the client's transaction, with a Sync for a separate batch.
pub(super) fn write_commit_id(synced: bool, mut pen: BatchWriter<'_>) -> ProxyBatch {
    let commit_id = &pen.internal_statements.commit_id;
    if synced {
        pen.execute(commit_id, &[]);
        pen.end_within_transaction();
        return ProxyBatch::CommitId { id: None };
    }
    let left = pen.execute_within(commit_id, &[]);
    // The server sends the id before it commits, with the Sync behind.
    frontend::write_flush(pen.out);
    ProxyBatch::CommitIdWithin { left, id: None }
}

/// Writes the batch that asks for the status of a transaction.
pub(super) fn write_commit_status(parameters: &[Option<&[u8]>], mut pen: BatchWriter<'_>) -> ProxyBatch {
    let commit_status = &pen.internal_statements.commit_status;
    pen.execute(commit_status, parameters);
    frontend::write_sync(pen.out);
    ProxyBatch::CommitStatus { status: None }
}

/// Writes the batch that ends the server process `pid`, if the login may do so.
pub(super) fn write_terminate(pid: i32, mut pen: BatchWriter<'_>) -> ProxyBatch {
    let terminate = &pen.internal_statements.terminate;
    pen.execute(terminate, &[Some(pid.to_string().as_bytes())]);
    frontend::write_sync(pen.out);
    ProxyBatch::Aside
}
