//! The tables of SHOW and their columns: PgBouncer's, in its order and of its types, then Gatekeeper's own.
//!
//! Exporters identify columns by name. Gatekeeper's columns follow PgBouncer's, so that positions match too.

use super::table::{Column, int4, int8, numeric, text};
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
    text("database"),
    text("user"),
    int4("cl_active"),
    int4("cl_waiting"),
    int4("cl_active_cancel_req"),
    int4("cl_waiting_cancel_req"),
    int4("sv_active"),
    int4("sv_active_cancel"),
    int4("sv_being_canceled"),
    int4("sv_idle"),
    int4("sv_used"),
    int4("sv_tested"),
    int4("sv_login"),
    int4("maxwait"),
    int4("maxwait_us"),
    text("pool_mode"),
    // Gatekeeper's own:
    text("endpoint"),
    text("listener"),
    int4("size"),
    int4("sv_pinned"),
    text("state"),
];

const CLIENTS: &[Column] = &[
    text("type"),
    text("user"),
    text("database"),
    text("state"),
    text("addr"),
    int4("port"),
    text("local_addr"),
    int4("local_port"),
    text("connect_time"),
    text("request_time"),
    int4("wait"),
    int4("wait_us"),
    int4("close_needed"),
    text("ptr"),
    text("link"),
    int4("remote_pid"),
    text("tls"),
    text("application_name"),
    // Gatekeeper's own:
    int8("id"),
    text("listener"),
    text("endpoint"),
    text("pins"),
];

const SERVERS: &[Column] = &[
    text("type"),
    text("user"),
    text("database"),
    text("state"),
    text("addr"),
    int4("port"),
    text("local_addr"),
    int4("local_port"),
    text("connect_time"),
    text("request_time"),
    int4("wait"),
    int4("wait_us"),
    int4("close_needed"),
    text("ptr"),
    text("link"),
    int4("remote_pid"),
    text("tls"),
    text("application_name"),
    // Gatekeeper's own:
    text("listener"),
    text("endpoint"),
];

const SOCKETS: &[Column] = &[
    text("type"),
    text("user"),
    text("database"),
    text("state"),
    text("addr"),
    int4("port"),
    text("local_addr"),
    int4("local_port"),
    text("connect_time"),
    text("request_time"),
    int4("wait"),
    int4("wait_us"),
    int4("close_needed"),
    text("ptr"),
    text("link"),
    int4("remote_pid"),
    text("tls"),
    text("application_name"),
    int4("recv_pos"),
    int4("pkt_pos"),
    int4("pkt_remain"),
    int4("send_pos"),
    int4("send_remain"),
    int4("pkt_avail"),
    int4("send_avail"),
];

const STATS: &[Column] = &[
    text("database"),
    numeric("total_xact_count"),
    numeric("total_query_count"),
    numeric("total_received"),
    numeric("total_sent"),
    numeric("total_xact_time"),
    numeric("total_query_time"),
    numeric("total_wait_time"),
    numeric("avg_xact_count"),
    numeric("avg_query_count"),
    numeric("avg_recv"),
    numeric("avg_sent"),
    numeric("avg_xact_time"),
    numeric("avg_query_time"),
    numeric("avg_wait_time"),
];

const STATS_TOTALS: &[Column] = &[
    text("database"),
    numeric("xact_count"),
    numeric("query_count"),
    numeric("bytes_received"),
    numeric("bytes_sent"),
    numeric("xact_time"),
    numeric("query_time"),
    numeric("wait_time"),
];

const TOTALS: &[Column] = &[text("name"), numeric("value")];

const DATABASES: &[Column] = &[
    text("name"),
    text("host"),
    int4("port"),
    text("database"),
    text("force_user"),
    int4("pool_size"),
    int4("min_pool_size"),
    int4("reserve_pool"),
    text("pool_mode"),
    int4("max_connections"),
    int4("current_connections"),
    int4("paused"),
    int4("disabled"),
];

const LISTS: &[Column] = &[text("list"), int4("items")];

const CONFIG: &[Column] = &[text("key"), text("value"), text("default"), text("changeable")];

const VERSION: &[Column] = &[text("version")];

const USERS: &[Column] = &[text("name"), text("pool_mode")];

const STATE: &[Column] = &[text("key"), text("value")];

const ENDPOINTS: &[Column] = &[
    text("name"),
    text("cluster"),
    text("region"),
    text("address"),
    text("declared_role"),
    text("observed_role"),
    text("writer"),
    text("health"),
    int4("health_seconds"),
    int4("failures"),
    text("last_error"),
    text("position"),
    text("node"),
    int4("nodes"),
    int4("sessions"),
];

const PINS: &[Column] = &[
    int8("id"),
    text("listener"),
    text("user"),
    text("database"),
    text("endpoint"),
    int4("remote_pid"),
    text("pin"),
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
