//! Processes of a server that serve clients: which of Gatekeeper's connections lead to this server.
//!
//! Promises: a process is reported as absent only if the server shows that no process with this id has served a client for
//! about as long. Refuses to know: sessions.
//!
//! <https://www.postgresql.org/docs/current/monitoring-stats.html#MONITORING-PG-STAT-ACTIVITY-VIEW>

use std::{fmt::Write as _, time::Duration};

use super::Columns;
use crate::wire::DecodeError;

/// Answer of a server about some process ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerProcesses {
    /// `pg_postmaster_start_time()` in microseconds since 1970.
    started_us: i64,
    /// Process that has answered.
    own_pid: i32,
    found: Vec<ServerProcess>,
}

/// A process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ServerProcess {
    pid: i32,
    /// Time since the start of the process; `None` without permission to see it.
    age: Option<Duration>,
}

/// Longest time between the start of a process and the end of its login.
const MAX_LOGIN_TIME: Duration = Duration::from_secs(30);
/// Least age of a process of the server, in relation to the age of the connection: clocks are read at different moments.
const AGE_TOLERANCE: Duration = Duration::from_secs(2);

// === impl ServerProcesses ===

impl ServerProcesses {
    /// Query about the processes `pids`: a single row.
    pub(super) fn sql(pids: &[i32]) -> String {
        let mut sql = String::from(
            "SELECT (extract(epoch FROM pg_catalog.pg_postmaster_start_time()) * 1000000)::int8, \
             pg_catalog.pg_backend_pid(), \
             (SELECT pg_catalog.string_agg(pid || ':' || COALESCE((extract(epoch FROM \
             pg_catalog.clock_timestamp() - backend_start) * 1000)::int8::text, ''), ',') \
             FROM pg_catalog.pg_stat_activity WHERE pid IN (0",
        );
        for pid in pids {
            write!(sql, ",{pid}").expect("a String takes all bytes");
        }
        sql + "))"
    }

    /// Decodes the row of the response.
    ///
    /// # Errors
    /// [`DecodeError`] for a row of another query.
    pub(super) fn read(row: &[u8]) -> Result<Self, DecodeError> {
        let invalid = || DecodeError::Invalid("processes of the server");
        let mut columns = Columns::of(row)?;
        let mut number = || -> Result<i64, DecodeError> {
            columns.next()?.and_then(|text| text.parse().ok()).ok_or_else(invalid)
        };
        let (started_us, own_pid) = (number()?, number()?);
        let list = columns.next()?.unwrap_or_default();
        let found = list.split(',').filter(|entry| !entry.is_empty()).map(|entry| {
            let (pid, age_ms) = entry.split_once(':').ok_or_else(invalid)?;
            let age = match age_ms {
                "" => None,
                // A clock that was set back shows a negative age.
                age_ms => Some(age_ms.parse::<i64>().map_err(|_| invalid())?.max(0).unsigned_abs()),
            };
            let pid = pid.parse().map_err(|_| invalid())?;
            Ok(ServerProcess { pid, age: age.map(Duration::from_millis) })
        });
        Ok(Self {
            started_us,
            own_pid: i32::try_from(own_pid).map_err(|_| invalid())?,
            found: found.collect::<Result<_, DecodeError>>()?,
        })
    }

    /// Answer of the server started then, with processes by id and age in seconds.
    #[cfg(test)]
    pub(crate) fn for_test(started_us: i64, found: &[(i32, u64)]) -> Self {
        let found = found
            .iter()
            .map(|(pid, seconds)| ServerProcess { pid: *pid, age: Some(Duration::from_secs(*seconds)) });
        Self { started_us, own_pid: 1, found: found.collect() }
    }

    /// True if the answer comes from the process `pid`: no pooler gives ids of its own.
    #[must_use]
    pub const fn is_answer_of(&self, pid: i32) -> bool {
        self.own_pid == pid
    }

    /// True if the answer comes from the server that was started then.
    #[must_use]
    pub const fn is_of_server(&self, started_us: i64) -> bool {
        self.started_us == started_us
    }

    /// True if no process of the server is `pid` and has served a client since its login, `age` ago.
    #[must_use]
    pub fn lacks(&self, pid: i32, age: Duration) -> bool {
        let is_meant = |process: &ServerProcess| {
            process.pid == pid
                && process.age.is_none_or(|seen| seen + AGE_TOLERANCE >= age && seen <= age + MAX_LOGIN_TIME)
        };
        !self.found.iter().any(is_meant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn row(columns: [Option<&str>; 3]) -> Vec<u8> {
        let mut row = vec![0, 3];
        for column in columns {
            row.extend(column.map_or(-1, |text| i32::try_from(text.len()).unwrap()).to_be_bytes());
            row.extend(column.unwrap_or_default().as_bytes());
        }
        row
    }

    #[test]
    fn a_process_is_known_by_its_number_and_age() {
        let row = row([Some("1700000000000000"), Some("42"), Some("7:60500,8:,9:-3")]);
        let processes = ServerProcesses::read(&row).unwrap();
        assert!(processes.is_answer_of(42) && !processes.is_answer_of(7));
        assert!(processes.is_of_server(1_700_000_000_000_000) && !processes.is_of_server(1));
        for (pid, age, is_absent) in [
            (7, 60, false),
            (7, 62, false),
            (7, 63, true),
            (7, 31, false),
            (7, 30, true),
            (8, 1, false),
            (9, 1, false),
            (9, 100, true),
            (10, 60, true),
        ] {
            assert_eq!(processes.lacks(pid, SECOND * age), is_absent, "{pid} {age}");
        }
    }

    #[test]
    fn a_server_may_have_none_of_the_processes() {
        let processes = ServerProcesses::read(&row([Some("1"), Some("42"), None])).unwrap();
        assert!(processes.lacks(7, SECOND));
        for columns in
            [[None, Some("1"), None], [Some("1"), Some("1"), Some("7")], [Some("1"), Some("x"), None]]
        {
            assert!(ServerProcesses::read(&row(columns)).is_err(), "{columns:?}");
        }
    }

    #[test]
    fn the_query_names_each_process() {
        assert!(ServerProcesses::sql(&[7, 8]).ends_with("WHERE pid IN (0,7,8))"));
    }
}
