//! Functions and name prefixes that leave session state.
//!
//! Built-in functions, and functions of common extensions. [`super::StatefulNames`] has the functions of a database.
//! `set_config` is not listed because the arguments decide: see [`super::settings`].

use super::Effects;

/// Functions by name. A name counts anywhere, called or not: `(row).function` is a call, too.
pub(super) const NAMES: &[(&str, Effects)] = &[
    // PostgreSQL, "Sequence Manipulation Functions".
    ("currval", Effects::SEQUENCE_READ),
    ("lastval", Effects::SEQUENCE_READ),
    ("nextval", Effects::SEQUENCE_MOVE),
    ("setval", Effects::SEQUENCE_MOVE),
    // No catalog shows the generator's state, and DISCARD ALL keeps the state.
    ("setseed", Effects::FUNCTION),
    // Bound to the session: "System Administration Functions".
    ("pg_backup_start", Effects::FUNCTION),
    ("pg_backup_stop", Effects::FUNCTION),
    ("pg_start_backup", Effects::FUNCTION),
    ("pg_stop_backup", Effects::FUNCTION),
    ("pg_replication_origin_session_setup", Effects::FUNCTION),
    ("pg_replication_origin_session_reset", Effects::FUNCTION),
    // A slot may be temporary.
    ("pg_create_logical_replication_slot", Effects::FUNCTION),
    ("pg_create_physical_replication_slot", Effects::FUNCTION),
    ("pg_copy_logical_replication_slot", Effects::FUNCTION),
    ("pg_copy_physical_replication_slot", Effects::FUNCTION),
    // Functions that run a text argument; a constant argument is scanned instead.
    ("query_to_xml", Effects::ALL),
    ("query_to_xmlschema", Effects::ALL),
    ("query_to_xml_and_xmlschema", Effects::ALL),
    ("ts_stat", Effects::ALL),
    ("crosstab", Effects::ALL),
    ("crosstab2", Effects::ALL),
    ("crosstab3", Effects::ALL),
    ("crosstab4", Effects::ALL),
    ("crosstab_hash", Effects::ALL),
    ("connectby", Effects::ALL),
    ("xpath_table", Effects::ALL),
    // The second of two arguments is the text.
    ("ts_rewrite", Effects::ALL),
    // pg_trgm: sets a threshold for the session.
    ("set_limit", Effects::FUNCTION),
    // sepgsql, set_user, temporal_tables.
    ("sepgsql_setcon", Effects::FUNCTION),
    ("set_user", Effects::FUNCTION),
    ("reset_user", Effects::FUNCTION),
    ("set_session_auth", Effects::FUNCTION),
    ("set_system_time", Effects::FUNCTION),
    // orafce: schemas of functions that keep state.
    ("dbms_alert", Effects::FUNCTION),
    ("dbms_output", Effects::FUNCTION),
    ("dbms_pipe", Effects::FUNCTION),
    ("dbms_random", Effects::FUNCTION),
    ("dbms_session", Effects::FUNCTION),
    ("dbms_sql", Effects::FUNCTION),
    ("plvdate", Effects::FUNCTION),
    ("utl_file", Effects::FUNCTION),
];

/// Functions by prefix.
pub(super) const PREFIXES: &[(&str, Effects)] = &[
    // All forms except transaction-level locks, see `NOT`.
    ("pg_advisory_", Effects::ADVISORY),
    ("pg_try_advisory_", Effects::ADVISORY),
    // `pg_temp`, `pg_temp_3`, `pg_toast_temp_3`.
    ("pg_temp", Effects::TEMPORARY),
    ("pg_toast_temp", Effects::TEMPORARY),
    // Named connections; the unnamed connection stays open, too.
    ("dblink_connect", Effects::FUNCTION),
    ("dblink_disconnect", Effects::FUNCTION),
    ("dblink_open", Effects::FUNCTION),
    ("dblink_send_query", Effects::FUNCTION),
    // Hypothetical indexes live in the session.
    ("hypopg", Effects::FUNCTION),
    // pg_variables.
    ("pgv_", Effects::FUNCTION),
];

/// Exceptions to the prefixes without session state: the locks end with the transaction.
const NOT: &[&str] = &["pg_advisory_xact_lock", "pg_try_advisory_xact_lock"];

/// Effects of the use of `name`, in any case.
pub(super) fn effects_of(name: &[u8]) -> Effects {
    let starts = |prefix: &str| {
        name.get(..prefix.len()).is_some_and(|front| front.eq_ignore_ascii_case(prefix.as_bytes()))
    };
    if let Some((_, effects)) = NAMES.iter().find(|(known, _)| known.as_bytes().eq_ignore_ascii_case(name)) {
        return *effects;
    }
    match PREFIXES.iter().find(|(prefix, _)| starts(prefix)) {
        Some(_) if NOT.iter().any(|known| starts(known)) => Effects::NONE,
        Some((_, effects)) => *effects,
        None => Effects::NONE,
    }
}
