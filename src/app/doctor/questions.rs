//! Queries beyond those of the probe: replay progress, and privileges of users.

use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    backend::{Columns, QueryError, query},
    names::UserName,
    wire::DecodeError,
};

/// Replay progress of a standby.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct ReplayProgress {
    /// `pg_last_wal_replay_lsn()`.
    pub(super) replayed: Option<String>,
    /// Bytes received but not yet replayed.
    pub(super) behind: Option<String>,
    /// Seconds since the commit of the last replayed transaction on the writer.
    pub(super) last_transaction: Option<String>,
    /// True if replay is paused.
    pub(super) paused: bool,
}

/// Privileges of an endpoint's users.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Grants {
    /// Databases to which the current user may connect.
    pub(super) databases: Option<String>,
    /// Users that do not exist.
    pub(super) missing: Option<String>,
    /// Users that may not log in, or not connect to this database.
    pub(super) shut_out: Option<String>,
    /// Users that are not IAM users, on a server with IAM users.
    pub(super) not_iam: Option<String>,
}

/// <https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-RECOVERY-INFO-TABLE>
const REPLAY: &str = "SELECT pg_last_wal_replay_lsn(), \
     greatest(pg_wal_lsn_diff(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()), 0)::int8, \
     round(extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::numeric, 1), \
     pg_is_wal_replay_paused()";

/// The role of users that log in with tokens.
const IAM_ROLE: &str = "alloydbiamuser";

/// Reads the replay progress of a standby.
///
/// Cancel safety: that of the probe's query.
pub(super) async fn read_replay_progress(
    connection: &mut (impl AsyncRead + AsyncWrite + Unpin),
) -> Result<ReplayProgress, QueryError> {
    query(connection, REPLAY, |row| {
        let mut columns = Columns::of(row)?;
        Ok(ReplayProgress {
            replayed: next_text(&mut columns)?,
            behind: next_text(&mut columns)?,
            last_transaction: next_text(&mut columns)?,
            paused: columns.next()? == Some("t"),
        })
    })
    .await
}

/// Reads the privileges of `users`, who log in with tokens, and of the current user.
///
/// Cancel safety: that of the probe's query.
pub(super) async fn read_grants(
    connection: &mut (impl AsyncRead + AsyncWrite + Unpin),
    users: &[UserName],
) -> Result<Grants, QueryError> {
    query(connection, &grants_sql(users), |row| {
        let mut columns = Columns::of(row)?;
        Ok(Grants {
            databases: next_text(&mut columns)?,
            missing: next_text(&mut columns)?,
            shut_out: next_text(&mut columns)?,
            not_iam: next_text(&mut columns)?,
        })
    })
    .await
}

fn grants_sql(users: &[UserName]) -> String {
    let users: Vec<String> = users.iter().map(|user| quote_literal(user.as_str())).collect();
    format!(
        "WITH listed AS (SELECT u AS name, r.oid, r.rolcanlogin FROM unnest(ARRAY[{}]::text[]) u \
         LEFT JOIN pg_catalog.pg_roles r ON r.rolname = u) \
         SELECT (SELECT string_agg(datname, ', ' ORDER BY datname) FROM pg_catalog.pg_database \
         WHERE datallowconn AND NOT datistemplate AND has_database_privilege(oid, 'CONNECT')), \
         (SELECT string_agg(name, ', ') FROM listed WHERE oid IS NULL), \
         (SELECT string_agg(name, ', ') FROM listed WHERE oid IS NOT NULL \
         AND NOT (rolcanlogin AND has_database_privilege(oid, current_database(), 'CONNECT'))), \
         (SELECT string_agg(l.name, ', ') FROM listed l JOIN pg_catalog.pg_roles i ON i.rolname = {} \
         WHERE l.oid IS NOT NULL AND NOT pg_has_role(l.oid, i.oid, 'MEMBER'))",
        users.join(", "),
        quote_literal(IAM_ROLE),
    )
}

/// A string constant, valid for any `standard_conforming_strings`.
fn quote_literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

fn next_text(columns: &mut Columns<'_>) -> Result<Option<String>, DecodeError> {
    Ok(columns.next()?.map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_its_quotes() {
        for (name, quoted) in [("o'brien", "E'o''brien'"), ("\\'; DROP", "E'\\\\''; DROP'"), ("", "E''")] {
            assert_eq!(quote_literal(name), quoted);
        }
    }
}
