//! The stage of trials: a server with two equal databases, and Gatekeeper in front of one database.

use std::{fs, time::Duration};

use gatekeeper::testing::sandbox::{DATABASE, SUPERUSER, SandboxOptions, ServerTls, Single};
use tokio_postgres::Client;

use super::{grammar::PEEK, pair::One};
use crate::harness::{Stand, connect, stand::config, until};

/// Clients of a trial, at the most.
pub(super) const CLIENTS_MAX: usize = 4;
/// The database without a pool.
pub(super) const MIRROR: &str = "mirror";

const PATIENCE: Duration = Duration::from_secs(20);
/// Maximum number of polls of a condition in the background, and their interval.
const LOOKS_MAX: usize = 1000;
const BETWEEN_LOOKS: Duration = Duration::from_millis(5);

pub(super) struct Stage {
    pub(super) stand: Stand,
    /// An observing superuser.
    aside: Client,
    /// The same in the database that is pooled.
    inside: Client,
    /// Output of [`Stage::look`] on an unused backend.
    fresh: String,
}

/// Contents of both databases.
fn schema() -> String {
    let own: String = (0..CLIENTS_MAX).map(|me| format!("CREATE TABLE own_{me} (a int);\n")).collect();
    format!("{own}{}", include_str!("schema.sql"))
}

/// All of [`PEEK`], all other settings, and statements hidden from sessions.
fn look() -> String {
    format!(
        "SELECT pg_catalog.concat_ws(', ', ({PEEK}), (SELECT pg_catalog.string_agg(name || '=' || setting, ', ' ORDER BY name) \
         FROM pg_catalog.pg_settings WHERE name NOT LIKE 'transaction\\_%' AND name NOT LIKE '%.%'), \
         (SELECT pg_catalog.string_agg(name, ', ') FROM public.prepared WHERE from_sql OR name !~ '^__gatekeeper_'))"
    )
}

impl Stage {
    pub(super) async fn set() -> Self {
        let options = SandboxOptions { tls: ServerTls::Optional, ..SandboxOptions::default() };
        let server = Single::start(options).await.unwrap();
        let node = server.node();
        node.sql(DATABASE, &format!("CREATE DATABASE {MIRROR}")).await.unwrap();
        node.sql(DATABASE, "CREATE ROLE joe; CREATE ROLE ann").await.unwrap();
        for database in [DATABASE, MIRROR] {
            node.sql(database, &schema()).await.unwrap();
        }
        fs::write(server.folder().join("password"), SUPERUSER.password).unwrap();
        let login =
            format!("login = {{ user = \"{}\", password = {{ file = \"password\" }} }}", SUPERUSER.name);
        let keys = "auth = { method = \"trust\" }\npool = { mode = \"transaction\", size = 20 }";
        let config = config(&server, &login, keys, "");
        let stand = Stand::start(server, &config).await;
        let direct = |database: &str| {
            let as_whom =
                format!("user={} password={} dbname={database}", SUPERUSER.name, SUPERUSER.password);
            let address = stand.server.address();
            async move { connect(address, &as_whom).await.unwrap() }
        };
        let (aside, inside) = (direct(MIRROR).await, direct(DATABASE).await);
        let mut stage = Self { stand, aside, inside, fresh: String::new() };
        let mut first = stage.pooled().await;
        stage.fresh = first.ask(&look()).await.unwrap();
        // From the first query on, every session keeps the backend on which a sequence was moved.
        first.ask("SELECT currval('kept')").await.unwrap_err();
        first.end(true).await;
        stage
    }

    /// A client of Gatekeeper's.
    pub(super) async fn pooled(&self) -> One {
        One::log_in(self.stand.listener, DATABASE).await
    }

    /// A client of the server's own.
    pub(super) async fn direct(&self) -> One {
        One::log_in(self.stand.server.address(), MIRROR).await
    }

    /// Resets both databases.
    pub(super) async fn prepare(&self) {
        let own: Vec<_> = (0..CLIENTS_MAX).map(|me| format!("own_{me}")).collect();
        let made: String = (0..CLIENTS_MAX).map(|me| format!("DROP FUNCTION IF EXISTS made_{me};")).collect();
        let sql = format!("TRUNCATE {}, triggering; SELECT setval('kept', 1, false); {made}", own.join(", "));
        for client in [&self.aside, &self.inside] {
            client.batch_execute(&sql).await.unwrap();
        }
    }

    /// State seen by a new session through the pool, if different from the expected state.
    pub(super) async fn look(&self, probe: &mut One) -> Result<(), String> {
        let seen = probe.ask(&look()).await?;
        if seen == self.fresh {
            return Ok(());
        }
        let (fresh, seen): (Vec<_>, Vec<_>) = (self.fresh.split(", ").collect(), seen.split(", ").collect());
        let strange: Vec<_> = seen.iter().filter(|part| !fresh.contains(part)).collect();
        let missing: Vec<_> = fresh.iter().filter(|part| !seen.contains(part)).collect();
        Err(format!("another session sees {strange:?} in place of {missing:?}"))
    }

    /// Waits until a direct session is gone from the server.
    pub(super) async fn gone(&self, pid: i32) {
        until(PATIENCE, async || {
            let sql = "SELECT count(*) FROM pg_stat_activity WHERE pid = $1";
            let row = self.aside.query_one(sql, &[&pid]).await.unwrap();
            if row.get::<_, i64>(0) == 0 { Ok(()) } else { Err(pid) }
        })
        .await;
    }

    /// Waits until Gatekeeper has done with all sessions but so many.
    pub(super) async fn only(&self, sessions: usize) {
        until(PATIENCE, async || {
            let page = self.stand.gatekeeper.get("/v1/sessions").await.unwrap().body;
            let page: serde_json::Value = serde_json::from_str(&page).unwrap();
            if page["total"] == sessions { Ok(()) } else { Err(page) }
        })
        .await;
    }

    /// Waits until both databases have the same number of advisory locks; until there are none, with `none`.
    pub(super) async fn same_locks(&self, none: bool) -> Result<(), String> {
        let sql = format!(
            "SELECT coalesce(string_agg(concat(classid, ' ', objid, ' ', mode), ', ' ORDER BY classid, objid, mode), '') \
             FROM pg_database d LEFT JOIN pg_locks l ON l.database = d.oid AND locktype = 'advisory' \
             WHERE datname IN ('{DATABASE}', '{MIRROR}') GROUP BY datname ORDER BY datname"
        );
        let mut seen = Vec::new();
        for _ in 0..LOOKS_MAX {
            let rows = self.aside.query(&sql, &[]).await.unwrap();
            seen = rows.iter().map(|row| row.get::<_, String>(0)).collect();
            if seen[0] == seen[1] && (!none || seen[0].trim().is_empty()) {
                return Ok(());
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
        Err(format!("locks differ: {seen:?}"))
    }

    /// How many backends there are.
    pub(super) async fn backends(&self) -> usize {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid() \
                   AND backend_type = 'client backend'";
        let count: i64 = self.inside.query_one(sql, &[&DATABASE]).await.unwrap().get(0);
        usize::try_from(count).unwrap()
    }

    /// Waits until no session's temporary relations are left in the pooled database.
    pub(super) async fn no_temporary(&self) -> Result<(), String> {
        let sql = "SELECT coalesce(string_agg(relname, ', '), '') FROM pg_class \
                   WHERE pg_is_other_temp_schema(relnamespace)";
        let mut seen = String::new();
        for _ in 0..LOOKS_MAX {
            seen = self.inside.query_one(sql, &[]).await.unwrap().get(0);
            if seen.is_empty() {
                return Ok(());
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
        Err(format!("temporary relations are left: {seen}"))
    }
}
