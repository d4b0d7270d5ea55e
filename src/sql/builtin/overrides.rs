//! Built-in functions whose volatility is misleading.

use crate::sql::{ClassifyReason, schema_info::Found};

/// Fixed decision for the built-in function `name`, independent of `pg_proc`.
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

/// Names with a fixed decision.
#[cfg(test)]
pub(in crate::sql) fn override_names() -> impl Iterator<Item = &'static str> {
    let decided = DECIDED.iter().filter(|(name, _)| *name != "current_setting").map(|(name, _)| *name);
    HARMLESS.iter().copied().chain(decided)
}

/// Volatile functions that neither write nor show the state of a server.
const HARMLESS: &[&str] = &[
    // Volatile only because time passes. The servers of a cluster have the same time, and two statements may be any
    // time apart.
    "clock_timestamp",
    "timeofday",
    // Random numbers. A session that called `setseed` is pinned.
    "random",
    "random_normal",
    "gen_random_uuid",
    "uuidv4",
    "uuidv7",
    // Wait the same on every server.
    "pg_sleep",
    "pg_sleep_for",
    "pg_sleep_until",
    // The client's text: the same on each server.
    "current_query",
    // File sizes. A standby's files are replayed from the primary, so the sizes are as fresh as data.
    "pg_relation_size",
    "pg_table_size",
    "pg_indexes_size",
    "pg_total_relation_size",
    "pg_database_size",
    "pg_tablespace_size",
    // Traverse `pg_inherits`; volatile only because of a newer snapshot.
    "pg_partition_tree",
    "pg_partition_ancestors",
    // Methods of TABLESAMPLE: the handlers return a list of functions.
    "bernoulli",
    "system",
];

/// Functions with a fixed reason.
const DECIDED: &[(&str, ClassifyReason)] = &[
    ("nextval", ClassifyReason::Writes),
    ("setval", ClassifyReason::Writes),
    ("pg_notify", ClassifyReason::Utility),
    // Read the result of an earlier `nextval` of the session.
    ("currval", ClassifyReason::Sequence),
    ("lastval", ClassifyReason::Sequence),
    // The caller checks the arguments first: `calls`.
    ("set_config", ClassifyReason::SessionState),
    ("setseed", ClassifyReason::SessionState),
    ("pg_cursor", ClassifyReason::SessionState),
    ("pg_prepared_statement", ClassifyReason::SessionState),
    ("pg_listening_channels", ClassifyReason::SessionState),
    ("pg_my_temp_schema", ClassifyReason::SessionState),
    ("pg_is_other_temp_schema", ClassifyReason::SessionState),
    ("current_setting", ClassifyReason::ServerState),
    // A sequence logs 32 values ahead: a standby shows another value.
    ("pg_sequence_last_value", ClassifyReason::Sequence),
    ("pg_get_sequence_data", ClassifyReason::Sequence),
    // Create the schema of temporary objects if `search_path` begins with the schema: impossible on a standby.
    ("current_schema", ClassifyReason::StandbyFunction),
    ("current_schemas", ClassifyReason::StandbyFunction),
    // Transaction IDs: a standby cannot assign any, and the snapshots differ.
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
    // Fail with "recovery is in progress", although the volatility is lower.
    ("pg_walfile_name", ClassifyReason::StandbyFunction),
    ("pg_walfile_name_offset", ClassifyReason::StandbyFunction),
    // State of the server, for any volatility.
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
    // Read relations named by the arguments.
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
