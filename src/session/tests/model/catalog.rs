//! Gatekeeper's own queries, as the fake server answers them.
//!
//! The texts are copies: a changed query is unknown to the fake server until its answer here is changed as well.

use super::{execute::Failure, settings::set, state::State};

/// Gatekeeper's own query.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum OwnQuery {
    Pins,
    Setting,
    Settings,
    Statements,
    SetConfig,
    Position,
}

/// Row of a result; `None` is NULL.
pub(super) type Row = Vec<Option<Vec<u8>>>;

const QUERIES: [(&str, OwnQuery, usize); 6] = [
    (PINS, OwnQuery::Pins, 0),
    (SETTING, OwnQuery::Setting, 1),
    (SETTINGS, OwnQuery::Settings, 0),
    (STATEMENTS, OwnQuery::Statements, 0),
    (SET_CONFIG, OwnQuery::SetConfig, 3),
    (POSITION, OwnQuery::Position, 0),
];

const PINS: &str = "SELECT pg_catalog.concat(\
CASE WHEN EXISTS (SELECT 1 FROM pg_catalog.pg_listening_channels()) THEN 'L' END, \
CASE WHEN EXISTS (SELECT 1 FROM pg_catalog.pg_locks l WHERE l.locktype OPERATOR(pg_catalog.=) 'advisory' \
AND l.pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()) THEN 'A' END, \
CASE WHEN EXISTS (SELECT 1 FROM pg_catalog.pg_depend d WHERE d.refclassid OPERATOR(pg_catalog.=) \
'pg_catalog.pg_namespace'::pg_catalog.regclass AND d.refobjid OPERATOR(pg_catalog.=) \
pg_catalog.pg_my_temp_schema()) THEN 'T' END, \
CASE WHEN EXISTS (SELECT 1 FROM pg_catalog.pg_cursors c WHERE c.is_holdable) THEN 'C' END, \
CASE WHEN EXISTS (SELECT 1 FROM pg_catalog.pg_prepared_statements p WHERE p.from_sql) THEN 'P' END)";

const SETTING: &str = "SELECT pg_catalog.convert_to(pg_catalog.current_setting($1, true), \
pg_catalog.getdatabaseencoding())";

const SETTINGS: &str = "SELECT s.name, pg_catalog.convert_to(s.setting, pg_catalog.getdatabaseencoding()) \
FROM pg_catalog.pg_settings s \
WHERE s.source OPERATOR(pg_catalog.=) 'session' AND s.context OPERATOR(pg_catalog.<>) 'internal'";

const STATEMENTS: &str = "SELECT p.name FROM pg_catalog.pg_prepared_statements p WHERE NOT p.from_sql";

const SET_CONFIG: &str = "SELECT pg_catalog.set_config($1, \
pg_catalog.convert_from($2, pg_catalog.getdatabaseencoding()), $3) IS NULL";

const POSITION: &str = "SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN \
pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_last_wal_replay_lsn(), '0/0')::pg_catalog.int8::pg_catalog.text END";

// === impl OwnQuery ===

impl OwnQuery {
    /// Query with this text, and its count of parameters.
    pub(super) fn with_text(text: &str) -> Option<(Self, usize)> {
        QUERIES.iter().find(|(known, ..)| *known == text).map(|(_, query, count)| (*query, *count))
    }

    pub(super) fn run(self, parameters: &[Option<Vec<u8>>], state: &mut State) -> Result<Vec<Row>, Failure> {
        let text = |at: usize| {
            let value = parameters[at].as_ref()?;
            Some(String::from_utf8(value.clone()).expect("the language is ASCII"))
        };
        let column = |value: &str| Some(value.as_bytes().to_vec());
        Ok(match self {
            Self::Pins => {
                let by_sql = state.prepared.values().any(|prepared| prepared.by_sql);
                let holds = state.cursors.values().any(|cursor| cursor.holds);
                let letters = [
                    (!state.listens.is_empty(), 'L'),
                    (!state.locks.is_empty(), 'A'),
                    (!state.kept.tables.is_empty(), 'T'),
                    (holds, 'C'),
                    (by_sql, 'P'),
                ];
                let letters: String =
                    letters.iter().filter(|(is, _)| *is).map(|(_, letter)| *letter).collect();
                vec![vec![column(&letters)]]
            }
            Self::Setting => {
                let name = text(0).expect("a name");
                vec![vec![state.value(&name).and_then(column)]]
            }
            Self::Settings => {
                let listed = ["application_name", "search_path", "work_mem"];
                let set = listed.iter().filter_map(|name| Some((*name, state.value_set(name)?)));
                set.map(|(name, value)| vec![column(name), column(&base_units(name, value))]).collect()
            }
            Self::Statements => {
                let by_message = state.prepared.iter().filter(|(_, prepared)| !prepared.by_sql);
                by_message.map(|(name, _)| vec![column(name)]).collect()
            }
            Self::Position => vec![vec![state.replayed.and_then(|at| column(&at.to_string()))]],
            Self::SetConfig => {
                let (name, local) = (text(0).expect("a name"), parameters[2] == Some(vec![1]));
                match text(1) {
                    Some(value) => set(state, &name, &value, local)?,
                    None => state.reset(&name),
                }
                vec![vec![Some(vec![u8::from(text(1).is_none() && state.value(&name).is_none())])]]
            }
        })
    }
}

/// Value in the form of `pg_settings`.
fn base_units(name: &str, value: &str) -> String {
    match value.strip_suffix("MB") {
        Some(megabytes) if name == "work_mem" => {
            (megabytes.parse::<u64>().expect("a number") * 1024).to_string()
        }
        _ => value.trim_end_matches("kB").to_owned(),
    }
}
