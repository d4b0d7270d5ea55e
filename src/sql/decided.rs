//! PostgreSQL's own functions of which volatility tells the wrong thing.

use super::{Ground, knowledge::Found};

/// What is decided for the built-in function `name` whatever `pg_proc` says of it.
pub(super) fn function(name: &str) -> Option<Found> {
    if HARMLESS.contains(&name) {
        return Some(Found::Safe);
    }
    let ground =
        DECIDED.iter().find(|(known, _)| *known == name).map(|(_, ground)| *ground).or_else(|| {
            PREFIXES.iter().find(|(prefix, _)| name.starts_with(prefix)).map(|(_, ground)| *ground)
        });
    ground.map(Found::Unsafe)
}

/// Every name with a decision of its own.
#[cfg(test)]
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    let decided = DECIDED.iter().filter(|(name, _)| *name != "current_setting").map(|(name, _)| *name);
    HARMLESS.iter().copied().chain(decided)
}

/// Volatile, and yet they neither write nor show one server's own state.
const HARMLESS: &[&str] = &[
    // Clocks move on: that is all that makes them volatile. Servers of a cluster keep the same time, and a session has no
    // right to expect more of two statements than that time passes between them.
    "clock_timestamp",
    "timeofday",
    // Chance. A session that called `setseed` is held to its backend by that.
    "random",
    "random_normal",
    "gen_random_uuid",
    "uuidv4",
    "uuidv7",
    // They wait, wherever they are.
    "pg_sleep",
    "pg_sleep_for",
    "pg_sleep_until",
    // The text that the client sent: the same on each server.
    "current_query",
    // Sizes of files. A standby's are replayed from the primary's, so they are data with the same freshness.
    "pg_relation_size",
    "pg_table_size",
    "pg_indexes_size",
    "pg_total_relation_size",
    "pg_database_size",
    "pg_tablespace_size",
    // They walk `pg_inherits`, and are volatile only because they look at it with a newer snapshot.
    "pg_partition_tree",
    "pg_partition_ancestors",
    // Methods of TABLESAMPLE: their handlers answer with a list of functions.
    "bernoulli",
    "system",
];

/// What the use of these comes down to.
const DECIDED: &[(&str, Ground)] = &[
    ("nextval", Ground::Writes),
    ("setval", Ground::Writes),
    ("pg_notify", Ground::Utility),
    // They read what an earlier `nextval` left in the session.
    ("currval", Ground::Sequence),
    ("lastval", Ground::Sequence),
    // Whoever calls it judges its arguments first: `calls`.
    ("set_config", Ground::SessionState),
    ("setseed", Ground::SessionState),
    ("pg_cursor", Ground::SessionState),
    ("pg_prepared_statement", Ground::SessionState),
    ("pg_listening_channels", Ground::SessionState),
    ("pg_my_temp_schema", Ground::SessionState),
    ("pg_is_other_temp_schema", Ground::SessionState),
    ("current_setting", Ground::ServerState),
    // A sequence's value is logged 32 ahead: a standby shows another one.
    ("pg_sequence_last_value", Ground::Sequence),
    ("pg_get_sequence_data", Ground::Sequence),
    // They make the schema of temporary objects where search_path leads with it, which a standby cannot.
    ("current_schema", Ground::StandbyFunction),
    ("current_schemas", Ground::StandbyFunction),
    // Transaction identifiers: a standby cannot give one, and its snapshots are its own.
    ("txid_current", Ground::StandbyFunction),
    ("txid_current_if_assigned", Ground::StandbyFunction),
    ("txid_current_snapshot", Ground::StandbyFunction),
    ("txid_status", Ground::StandbyFunction),
    ("pg_current_xact_id", Ground::StandbyFunction),
    ("pg_current_xact_id_if_assigned", Ground::StandbyFunction),
    ("pg_current_snapshot", Ground::StandbyFunction),
    ("pg_xact_status", Ground::StandbyFunction),
    ("pg_export_snapshot", Ground::StandbyFunction),
    ("pg_xact_commit_timestamp", Ground::StandbyFunction),
    ("pg_xact_commit_timestamp_origin", Ground::StandbyFunction),
    ("pg_last_committed_xact", Ground::StandbyFunction),
    // "recovery is in progress", although one of them is immutable.
    ("pg_walfile_name", Ground::StandbyFunction),
    ("pg_walfile_name_offset", Ground::StandbyFunction),
    // About this server, whatever their volatility.
    ("version", Ground::ServerState),
    ("inet_server_addr", Ground::ServerState),
    ("inet_server_port", Ground::ServerState),
    ("inet_client_addr", Ground::ServerState),
    ("inet_client_port", Ground::ServerState),
    ("pg_backend_pid", Ground::ServerState),
    ("pg_postmaster_start_time", Ground::ServerState),
    ("pg_conf_load_time", Ground::ServerState),
    ("pg_is_in_recovery", Ground::ServerState),
    ("pg_jit_available", Ground::ServerState),
    ("pg_numa_available", Ground::ServerState),
    ("pg_config", Ground::ServerState),
    ("pg_available_extensions", Ground::ServerState),
    ("pg_available_extension_versions", Ground::ServerState),
    ("pg_extension_update_paths", Ground::ServerState),
    ("pg_show_all_settings", Ground::ServerState),
    ("pg_show_all_file_settings", Ground::ServerState),
    ("pg_hba_file_rules", Ground::ServerState),
    ("pg_ident_file_mappings", Ground::ServerState),
    ("pg_get_replication_slots", Ground::ServerState),
    ("pg_lock_status", Ground::ServerState),
    ("pg_blocking_pids", Ground::ServerState),
    ("pg_safe_snapshot_blocking_pids", Ground::ServerState),
    ("pg_prepared_xact", Ground::ServerState),
    ("pg_tablespace_location", Ground::ServerState),
    ("pg_tablespace_databases", Ground::ServerState),
    ("pg_current_logfile", Ground::ServerState),
    // They read relations that are named in their arguments, or put together from them.
    ("table_to_xml", Ground::StandbyFunction),
    ("table_to_xmlschema", Ground::StandbyFunction),
    ("table_to_xml_and_xmlschema", Ground::StandbyFunction),
    ("schema_to_xml", Ground::StandbyFunction),
    ("schema_to_xmlschema", Ground::StandbyFunction),
    ("schema_to_xml_and_xmlschema", Ground::StandbyFunction),
    ("database_to_xml", Ground::StandbyFunction),
    ("database_to_xmlschema", Ground::StandbyFunction),
    ("database_to_xml_and_xmlschema", Ground::StandbyFunction),
];

/// Families that grow with each release.
const PREFIXES: &[(&str, Ground)] = &[
    ("pg_advisory_", Ground::Locks),
    ("pg_try_advisory_", Ground::Locks),
    ("pg_stat_get_", Ground::ServerState),
    ("pg_stat_", Ground::Utility),
    ("pg_control_", Ground::ServerState),
    ("lo_", Ground::VolatileFunction),
];
