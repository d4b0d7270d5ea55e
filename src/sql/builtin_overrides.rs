//! PostgreSQL's own functions of which volatility tells the wrong thing.

use super::{ClassifyReason, schema_info::Found};

/// What is decided for the built-in function `name` whatever `pg_proc` says of it.
pub(super) fn function(name: &str) -> Option<Found> {
    if HARMLESS.contains(&name) {
        return Some(Found::Safe);
    }
    let reason =
        DECIDED.iter().find(|(known, _)| *known == name).map(|(_, reason)| *reason).or_else(|| {
            PREFIXES.iter().find(|(prefix, _)| name.starts_with(prefix)).map(|(_, reason)| *reason)
        });
    reason.map(Found::Unsafe)
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
const DECIDED: &[(&str, ClassifyReason)] = &[
    ("nextval", ClassifyReason::Writes),
    ("setval", ClassifyReason::Writes),
    ("pg_notify", ClassifyReason::Utility),
    // They read what an earlier `nextval` left in the session.
    ("currval", ClassifyReason::Sequence),
    ("lastval", ClassifyReason::Sequence),
    // Whoever calls it judges its arguments first: `calls`.
    ("set_config", ClassifyReason::SessionState),
    ("setseed", ClassifyReason::SessionState),
    ("pg_cursor", ClassifyReason::SessionState),
    ("pg_prepared_statement", ClassifyReason::SessionState),
    ("pg_listening_channels", ClassifyReason::SessionState),
    ("pg_my_temp_schema", ClassifyReason::SessionState),
    ("pg_is_other_temp_schema", ClassifyReason::SessionState),
    ("current_setting", ClassifyReason::ServerState),
    // A sequence's value is logged 32 ahead: a standby shows another one.
    ("pg_sequence_last_value", ClassifyReason::Sequence),
    ("pg_get_sequence_data", ClassifyReason::Sequence),
    // They make the schema of temporary objects where search_path leads with it, which a standby cannot.
    ("current_schema", ClassifyReason::StandbyFunction),
    ("current_schemas", ClassifyReason::StandbyFunction),
    // Transaction identifiers: a standby cannot give one, and its snapshots are its own.
    ("txid_current", ClassifyReason::StandbyFunction),
    ("txid_current_if_assigned", ClassifyReason::StandbyFunction),
    ("txid_current_snapshot", ClassifyReason::StandbyFunction),
    ("txid_status", ClassifyReason::StandbyFunction),
    ("pg_current_xact_id", ClassifyReason::StandbyFunction),
    ("pg_current_xact_id_if_assigned", ClassifyReason::StandbyFunction),
    ("pg_current_snapshot", ClassifyReason::StandbyFunction),
    ("pg_xact_status", ClassifyReason::StandbyFunction),
    ("pg_export_snapshot", ClassifyReason::StandbyFunction),
    ("pg_xact_commit_timestamp", ClassifyReason::StandbyFunction),
    ("pg_xact_commit_timestamp_origin", ClassifyReason::StandbyFunction),
    ("pg_last_committed_xact", ClassifyReason::StandbyFunction),
    // "recovery is in progress", although one of them is immutable.
    ("pg_walfile_name", ClassifyReason::StandbyFunction),
    ("pg_walfile_name_offset", ClassifyReason::StandbyFunction),
    // About this server, whatever their volatility.
    ("version", ClassifyReason::ServerState),
    ("inet_server_addr", ClassifyReason::ServerState),
    ("inet_server_port", ClassifyReason::ServerState),
    ("inet_client_addr", ClassifyReason::ServerState),
    ("inet_client_port", ClassifyReason::ServerState),
    ("pg_backend_pid", ClassifyReason::ServerState),
    ("pg_postmaster_start_time", ClassifyReason::ServerState),
    ("pg_conf_load_time", ClassifyReason::ServerState),
    ("pg_is_in_recovery", ClassifyReason::ServerState),
    ("pg_jit_available", ClassifyReason::ServerState),
    ("pg_numa_available", ClassifyReason::ServerState),
    ("pg_config", ClassifyReason::ServerState),
    ("pg_available_extensions", ClassifyReason::ServerState),
    ("pg_available_extension_versions", ClassifyReason::ServerState),
    ("pg_extension_update_paths", ClassifyReason::ServerState),
    ("pg_show_all_settings", ClassifyReason::ServerState),
    ("pg_show_all_file_settings", ClassifyReason::ServerState),
    ("pg_hba_file_rules", ClassifyReason::ServerState),
    ("pg_ident_file_mappings", ClassifyReason::ServerState),
    ("pg_get_replication_slots", ClassifyReason::ServerState),
    ("pg_lock_status", ClassifyReason::ServerState),
    ("pg_blocking_pids", ClassifyReason::ServerState),
    ("pg_safe_snapshot_blocking_pids", ClassifyReason::ServerState),
    ("pg_prepared_xact", ClassifyReason::ServerState),
    ("pg_tablespace_location", ClassifyReason::ServerState),
    ("pg_tablespace_databases", ClassifyReason::ServerState),
    ("pg_current_logfile", ClassifyReason::ServerState),
    // They read relations that are named in their arguments, or put together from them.
    ("table_to_xml", ClassifyReason::StandbyFunction),
    ("table_to_xmlschema", ClassifyReason::StandbyFunction),
    ("table_to_xml_and_xmlschema", ClassifyReason::StandbyFunction),
    ("schema_to_xml", ClassifyReason::StandbyFunction),
    ("schema_to_xmlschema", ClassifyReason::StandbyFunction),
    ("schema_to_xml_and_xmlschema", ClassifyReason::StandbyFunction),
    ("database_to_xml", ClassifyReason::StandbyFunction),
    ("database_to_xmlschema", ClassifyReason::StandbyFunction),
    ("database_to_xml_and_xmlschema", ClassifyReason::StandbyFunction),
];

/// Families that grow with each release.
const PREFIXES: &[(&str, ClassifyReason)] = &[
    ("pg_advisory_", ClassifyReason::Locks),
    ("pg_try_advisory_", ClassifyReason::Locks),
    ("pg_stat_get_", ClassifyReason::ServerState),
    ("pg_stat_", ClassifyReason::Utility),
    ("pg_control_", ClassifyReason::ServerState),
    ("lo_", ClassifyReason::VolatileFunction),
];
