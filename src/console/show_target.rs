//! The tables of SHOW and their columns: PgBouncer's, in its order and of its types, then Gatekeeper's own.
//!
//! Exporters identify columns by name. Gatekeeper's columns follow PgBouncer's, so that positions match too.

use super::table::{Column, int4_column, int8_column, numeric_column, text_column};
use crate::closed_set::closed_set;

closed_set! {
    /// A table of SHOW.
    pub(super) enum ShowTarget(
        /// Columns of the table; `None` for help, which is a notice.
        columns: Option<&'static [Column]>,
    ) {
        ActiveSockets = "ACTIVE_SOCKETS" { columns: Some(SOCKETS) },
        Clients = "CLIENTS" { columns: Some(CLIENTS) },
        Config = "CONFIG" { columns: Some(CONFIG) },
        Databases = "DATABASES" { columns: Some(DATABASES) },
        Endpoints = "ENDPOINTS" { columns: Some(ENDPOINTS) },
        Faults = "FAULTS" { columns: Some(FAULTS) },
        Help = "HELP" { columns: None },
        Lists = "LISTS" { columns: Some(LISTS) },
        Pins = "PINS" { columns: Some(PINS) },
        Pools = "POOLS" { columns: Some(POOLS) },
        Servers = "SERVERS" { columns: Some(SERVERS) },
        Sockets = "SOCKETS" { columns: Some(SOCKETS) },
        State = "STATE" { columns: Some(STATE) },
        Stats = "STATS" { columns: Some(STATS) },
        StatsAverages = "STATS_AVERAGES" { columns: Some(STATS_TOTALS) },
        StatsTotals = "STATS_TOTALS" { columns: Some(STATS_TOTALS) },
        Totals = "TOTALS" { columns: Some(TOTALS) },
        Users = "USERS" { columns: Some(USERS) },
        Version = "VERSION" { columns: Some(VERSION) },
    }
}

// === impl ShowTarget ===

impl ShowTarget {
    /// The target named `word`, ignoring case.
    pub(super) fn find(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|target| target.as_str().eq_ignore_ascii_case(word))
    }
}

const POOLS: &[Column] = &[
    text_column("database"),
    text_column("user"),
    int4_column("cl_active"),
    int4_column("cl_waiting"),
    int4_column("cl_active_cancel_req"),
    int4_column("cl_waiting_cancel_req"),
    int4_column("sv_active"),
    int4_column("sv_active_cancel"),
    int4_column("sv_being_canceled"),
    int4_column("sv_idle"),
    int4_column("sv_used"),
    int4_column("sv_tested"),
    int4_column("sv_login"),
    int4_column("maxwait"),
    int4_column("maxwait_us"),
    text_column("pool_mode"),
    // Gatekeeper's own:
    text_column("endpoint"),
    text_column("listener"),
    int4_column("size"),
    int4_column("sv_pinned"),
    text_column("state"),
];

const CLIENTS: &[Column] = &[
    text_column("type"),
    text_column("user"),
    text_column("database"),
    text_column("state"),
    text_column("addr"),
    int4_column("port"),
    text_column("local_addr"),
    int4_column("local_port"),
    text_column("connect_time"),
    text_column("request_time"),
    int4_column("wait"),
    int4_column("wait_us"),
    int4_column("close_needed"),
    text_column("ptr"),
    text_column("link"),
    int4_column("remote_pid"),
    text_column("tls"),
    text_column("application_name"),
    // Gatekeeper's own:
    int8_column("id"),
    text_column("listener"),
    text_column("endpoint"),
    text_column("pins"),
];

const SERVERS: &[Column] = &[
    text_column("type"),
    text_column("user"),
    text_column("database"),
    text_column("state"),
    text_column("addr"),
    int4_column("port"),
    text_column("local_addr"),
    int4_column("local_port"),
    text_column("connect_time"),
    text_column("request_time"),
    int4_column("wait"),
    int4_column("wait_us"),
    int4_column("close_needed"),
    text_column("ptr"),
    text_column("link"),
    int4_column("remote_pid"),
    text_column("tls"),
    text_column("application_name"),
    // Gatekeeper's own:
    text_column("listener"),
    text_column("endpoint"),
];

const SOCKETS: &[Column] = &[
    text_column("type"),
    text_column("user"),
    text_column("database"),
    text_column("state"),
    text_column("addr"),
    int4_column("port"),
    text_column("local_addr"),
    int4_column("local_port"),
    text_column("connect_time"),
    text_column("request_time"),
    int4_column("wait"),
    int4_column("wait_us"),
    int4_column("close_needed"),
    text_column("ptr"),
    text_column("link"),
    int4_column("remote_pid"),
    text_column("tls"),
    text_column("application_name"),
    int4_column("recv_pos"),
    int4_column("pkt_pos"),
    int4_column("pkt_remain"),
    int4_column("send_pos"),
    int4_column("send_remain"),
    int4_column("pkt_avail"),
    int4_column("send_avail"),
];

const STATS: &[Column] = &[
    text_column("database"),
    numeric_column("total_xact_count"),
    numeric_column("total_query_count"),
    numeric_column("total_received"),
    numeric_column("total_sent"),
    numeric_column("total_xact_time"),
    numeric_column("total_query_time"),
    numeric_column("total_wait_time"),
    numeric_column("avg_xact_count"),
    numeric_column("avg_query_count"),
    numeric_column("avg_recv"),
    numeric_column("avg_sent"),
    numeric_column("avg_xact_time"),
    numeric_column("avg_query_time"),
    numeric_column("avg_wait_time"),
];

const STATS_TOTALS: &[Column] = &[
    text_column("database"),
    numeric_column("xact_count"),
    numeric_column("query_count"),
    numeric_column("bytes_received"),
    numeric_column("bytes_sent"),
    numeric_column("xact_time"),
    numeric_column("query_time"),
    numeric_column("wait_time"),
];

const TOTALS: &[Column] = &[text_column("name"), numeric_column("value")];

const DATABASES: &[Column] = &[
    text_column("name"),
    text_column("host"),
    int4_column("port"),
    text_column("database"),
    text_column("force_user"),
    int4_column("pool_size"),
    int4_column("min_pool_size"),
    int4_column("reserve_pool"),
    text_column("pool_mode"),
    int4_column("max_connections"),
    int4_column("current_connections"),
    int4_column("paused"),
    int4_column("disabled"),
];

const LISTS: &[Column] = &[text_column("list"), int4_column("items")];

const CONFIG: &[Column] =
    &[text_column("key"), text_column("value"), text_column("default"), text_column("changeable")];

const VERSION: &[Column] = &[text_column("version")];

const USERS: &[Column] = &[text_column("name"), text_column("pool_mode")];

const STATE: &[Column] = &[text_column("key"), text_column("value")];

const ENDPOINTS: &[Column] = &[
    text_column("name"),
    text_column("cluster"),
    text_column("region"),
    text_column("address"),
    text_column("declared_role"),
    text_column("observed_role"),
    text_column("writer"),
    text_column("health"),
    int4_column("health_seconds"),
    int4_column("failures"),
    text_column("last_error"),
    text_column("position"),
    text_column("node"),
    int4_column("nodes"),
    int4_column("sessions"),
    text_column("fenced"),
    int8_column("lag_seconds"),
    text_column("lagging"),
    text_column("replay"),
];

const FAULTS: &[Column] = &[
    text_column("severity"),
    text_column("kind"),
    text_column("listener"),
    text_column("endpoint"),
    int8_column("id"),
    text_column("since"),
    int8_column("seconds"),
    text_column("fault"),
    text_column("remedy"),
];

const PINS: &[Column] = &[
    int8_column("id"),
    text_column("listener"),
    text_column("user"),
    text_column("database"),
    text_column("endpoint"),
    int4_column("remote_pid"),
    text_column("pin"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::table::ColumnType;

    /// Output of Debian's PgBouncer: a line for each command, followed by a line for each column.
    const PGBOUNCER: &str = include_str!("../../tests/data/console/pgbouncer-1.18.txt");

    fn shown(column: &Column) -> String {
        let kind = match column.kind {
            ColumnType::Text => "text",
            ColumnType::Int4 => "int4",
            ColumnType::Int8 => "int8",
            ColumnType::Numeric => "numeric",
        };
        format!("{} {kind}", column.name)
    }

    #[test]
    fn every_table_begins_with_pgbouncers_columns() {
        let mut compared = 0;
        for table in PGBOUNCER.split("\nSHOW ").skip(1) {
            let mut lines = table.lines();
            let name = lines.next().unwrap();
            let theirs: Vec<_> = lines.map(str::trim).filter(|line| !line.is_empty()).collect();
            let target = ShowTarget::find(name).unwrap_or_else(|| panic!("SHOW {name} is missing"));
            let ours: Vec<_> = target.columns().unwrap().iter().map(shown).collect();
            assert!(ours.len() >= theirs.len(), "SHOW {name}: {ours:?}");
            assert_eq!(ours[..theirs.len()], theirs, "SHOW {name}");
            compared += 1;
        }
        assert_eq!(compared, 14);
    }

    #[test]
    fn no_column_stands_twice() {
        for target in ShowTarget::ALL {
            let mut names: Vec<_> =
                target.columns().unwrap_or_default().iter().map(|column| column.name).collect();
            let all = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), all, "{target:?}");
        }
    }
}
