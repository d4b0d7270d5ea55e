//! SQL of internal batches.
//!
//! Names are qualified throughout: the session's search path may be any.

use std::sync::Arc;

use super::shared_statement::SharedStatement;

/// Statements that internal batches execute, prepared on a backend like any other.
pub(super) struct InternalStatements {
    /// [`PINS`].
    pub pins: Arc<SharedStatement>,
    /// [`SETTING`].
    pub setting: Arc<SharedStatement>,
    /// [`SETTINGS`].
    pub settings: Arc<SharedStatement>,
    /// [`STATEMENTS`].
    pub statements: Arc<SharedStatement>,
    /// [`SET`].
    pub set: Arc<SharedStatement>,
    /// [`POSITION`].
    pub position: Arc<SharedStatement>,
    /// [`COMMIT_ID`].
    pub commit_id: Arc<SharedStatement>,
    /// [`COMMIT_STATUS`].
    pub commit_status: Arc<SharedStatement>,
    /// [`TERMINATE`].
    pub terminate: Arc<SharedStatement>,
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

/// `synchronous_commit`, insert and flush position in bytes of WAL, and the id of the current transaction, if one is assigned.
/// Assigns none.
///
/// <https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-INFO-SNAPSHOT>
const COMMIT_ID: &str = "SELECT pg_catalog.concat_ws(' ', pg_catalog.current_setting('synchronous_commit'), \
pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_insert_lsn(), '0/0')::pg_catalog.int8, \
pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_flush_lsn(), '0/0')::pg_catalog.int8, \
pg_catalog.pg_current_xact_id_if_assigned()::pg_catalog.text)";

/// Status of the transaction $1 after $2 seconds; NULL if it cannot be told. $3: the server was started since; $4 and $5: insert
/// and flush position in bytes of WAL when the id was known.
///
/// A crashed server may assign an id again whose WAL it had not flushed. So the id counts only if the WAL up to the insert
/// position has survived: recovery has replayed it, or the server was shut down in order behind it. WAL between the two
/// positions may be lost in a crash, and with it the transaction. WAL before the flush position is never lost, except by a
/// server with another history.
const COMMIT_STATUS: &str = "SELECT CASE \
WHEN NOT $3::pg_catalog.text::pg_catalog.bool THEN pg_catalog.pg_xact_status($1::pg_catalog.text::pg_catalog.xid8) \
WHEN w.replayed IS NULL THEN CASE WHEN (SELECT pg_catalog.pg_wal_lsn_diff(c.redo_lsn, '0/0') \
FROM pg_catalog.pg_control_checkpoint() c) OPERATOR(pg_catalog.>=) $4::pg_catalog.text::pg_catalog.numeric \
THEN pg_catalog.pg_xact_status($1::pg_catalog.text::pg_catalog.xid8) END \
WHEN w.replayed OPERATOR(pg_catalog.<) $5::pg_catalog.text::pg_catalog.numeric THEN NULL \
WHEN w.replayed OPERATOR(pg_catalog.<) $4::pg_catalog.text::pg_catalog.numeric THEN 'aborted' \
ELSE pg_catalog.pg_xact_status($1::pg_catalog.text::pg_catalog.xid8) END \
FROM pg_catalog.pg_sleep($2::pg_catalog.text::pg_catalog.float8), \
LATERAL (SELECT pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_last_wal_replay_lsn(), '0/0') AS replayed) w";

/// Ends the server process of a lost connection.
const TERMINATE: &str = "SELECT pg_catalog.pg_terminate_backend($1::pg_catalog.text::pg_catalog.int4)";

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
            commit_id: phrase(COMMIT_ID),
            commit_status: phrase(COMMIT_STATUS),
            terminate: phrase(TERMINATE),
        }
    }

    /// All statements.
    pub(super) fn all(&self) -> [&SharedStatement; 9] {
        let Self { pins, setting, settings, statements, set, position, commit_id, commit_status, terminate } =
            self;
        [pins, setting, settings, statements, set, position, commit_id, commit_status, terminate]
            .map(|statement| &**statement)
    }
}
