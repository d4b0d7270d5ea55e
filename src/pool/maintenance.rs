//! Background work on a backend between two sessions.

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;

use super::{
    Pool,
    pooled_backend::PooledBackend,
    slots::{Occupancy, SlotKey},
};
use crate::{
    backend::{Columns, QueryClient, QueryError, QueryLimits, Strictness, query},
    blame::Chain,
    telemetry::labels::CloseReason,
    wire::{TransactionStatus, frontend},
};

/// Background work on a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Maintenance {
    /// Run a query, so that a cancel request with a closed socket cannot affect later statements.
    Settle,
    /// Remove session state: `ROLLBACK`, `DISCARD ALL`.
    Reset,
}

/// Time limit: a new login is cheaper afterwards.
const MAINTENANCE_TIMEOUT: Duration = Duration::from_secs(10);

/// Limits of each response; the time limit covers all queries.
const RESPONSE_LIMITS: QueryLimits = QueryLimits { max_bytes: 8 << 20, max_rows: 0, time: None };

/// Reason to close a backend after a maintenance.
#[derive(Debug, thiserror::Error)]
enum MaintenanceError {
    /// A query failed, or its response was not as expected.
    #[error("the backend could not be cleaned")]
    Query(#[from] QueryError),
    /// The query for leftover state failed.
    #[error("the backend could not be asked for leftover state")]
    Unasked(#[source] QueryError),
    /// Functions of the database may leave state that no statement removes.
    #[error("functions of its database may have left state that DISCARD ALL leaves")]
    KeepsState,
    /// The backend is in a transaction.
    #[error("the backend is in a transaction")]
    InTransaction,
    /// The system has no random numbers.
    #[error("the system provides no random numbers")]
    Entropy,
}

/// The place of a backend that is being worked on: given up if the work is dropped half-way, or never begun.
pub(super) struct SlotGuard {
    pub(super) pool: Arc<Pool>,
    pub(super) place: Option<SlotKey>,
}

impl Pool {
    /// Runs the work on the worker of the backend's socket; the backend then serves again, or is closed.
    pub(super) fn start_maintenance(
        self: &Arc<Self>,
        place: SlotKey,
        mut member: PooledBackend,
        maintenance: Maintenance,
        unread: Vec<u8>,
    ) {
        let worker = member.worker;
        let mut guard = SlotGuard { pool: Arc::clone(self), place: Some(place) };
        self.spawn(worker, "pool maintenance", async move {
            let late = |_elapsed| Err(QueryError::Late { limit: MAINTENANCE_TIMEOUT }.into());
            let work = perform_maintenance(&mut member, maintenance, unread);
            match timeout(MAINTENANCE_TIMEOUT, work).await.unwrap_or_else(late) {
                Ok(()) => {
                    if let Some(place) = guard.take_slot() {
                        guard.pool.put_back(place, member);
                    }
                }
                Err(error) => {
                    let pool = Arc::clone(&guard.pool);
                    if matches!(error, MaintenanceError::Query(QueryError::Changed)) {
                        pool.forget_startup_response();
                    }
                    let (endpoint, pid) = (pool.endpoint().name(), member.running.pid());
                    tracing::debug!(%endpoint, pid, ?maintenance, error = %Chain(&error), "closing a backend after failed maintenance");
                    member.close();
                    if let Some(place) = guard.take_slot() {
                        pool.discard_lost(place, CloseReason::NotClean);
                    }
                }
            }
        });
    }

    /// The backend's maintenance, in the words that the pool's status shows.
    pub(super) fn occupancy_during(maintenance: Maintenance) -> Occupancy {
        match maintenance {
            Maintenance::Settle => Occupancy::Settling,
            Maintenance::Reset => Occupancy::Resetting,
        }
    }
}

/// Cancel safety: dropped half-way, the backend is of no more use.
async fn perform_maintenance(
    member: &mut PooledBackend,
    maintenance: Maintenance,
    unread: Vec<u8>,
) -> Result<(), MaintenanceError> {
    let parameters = Arc::clone(&member.login.parameters);
    let strictness = Strictness::Unchanged(&parameters);
    let mut client = QueryClient::new(&mut member.stream, RESPONSE_LIMITS, strictness).with_unread(unread);
    let no_rows = |_: &[u8]| Ok(());
    // Sync first: a rollback outside of a transaction is a warning in the server's log.
    let mut sync = Vec::with_capacity(8);
    frontend::write_sync(&mut sync);
    client.send(&sync, no_rows).await?;
    if maintenance == Maintenance::Reset {
        if client.status() != TransactionStatus::Idle {
            client.query("ROLLBACK", no_rows).await?;
        }
        if client.status() == TransactionStatus::Idle {
            client.query("DISCARD ALL", no_rows).await?;
        }
    }
    let status = client.status();
    client.finish()?;
    if status != TransactionStatus::Idle {
        return Err(MaintenanceError::InTransaction);
    }
    if maintenance == Maintenance::Reset {
        reseed_random(member).await?;
    }
    member.running.settled();
    if maintenance == Maintenance::Reset {
        member.tracked_state.forget(parameters);
    }
    Ok(())
}

/// Resets the seed of `random()`, which `DISCARD ALL` leaves. Backends of a database whose functions may keep more
/// state are not reused.
async fn reseed_random(member: &mut PooledBackend) -> Result<(), MaintenanceError> {
    let mut entropy = [0; 4];
    aws_lc_rs::rand::fill(&mut entropy).map_err(|_| MaintenanceError::Entropy)?;
    let seed = f64::from(i32::from_ne_bytes(entropy)) / f64::from(1_u32 << 31);
    let sql = reseed_sql(seed);
    let keeps_more = query(&mut member.stream, &sql, |row| {
        let mut columns = Columns::of(row)?;
        columns.next()?;
        Ok(columns.next()? != Some("f"))
    });
    match keeps_more.await {
        Ok(false) => Ok(()),
        Ok(true) => Err(MaintenanceError::KeepsState),
        Err(error) => Err(MaintenanceError::Unasked(error)),
    }
}

/// Variables of procedural languages except PL/pgSQL live as long as the server process (`%_SHARED`, `GD`), like
/// connections of `dblink`. In general, neither is visible or removable from outside.
fn reseed_sql(seed: f64) -> String {
    format!(
        "SELECT pg_catalog.setseed('{seed:.9}'::pg_catalog.float8), EXISTS (\
         SELECT FROM pg_catalog.pg_language WHERE lanname OPERATOR(pg_catalog.<>) ALL \
         ('{{internal,c,sql,plpgsql}}'::pg_catalog.name[])) OR EXISTS (\
         SELECT FROM pg_catalog.pg_extension WHERE extname OPERATOR(pg_catalog.=) 'dblink'::pg_catalog.name)"
    )
}

// === impl SlotGuard ===

impl SlotGuard {
    /// Ends the work: the caller decides about the slot. A method, so that a closure captures the whole guard: a
    /// captured `Copy` field would be copied, and the guard dropped at once.
    pub(super) const fn take_slot(&mut self) -> Option<SlotKey> {
        self.place.take()
    }
}

impl Drop for SlotGuard {
    fn drop(&mut self) {
        if let Some(place) = self.place.take() {
            // The guard is dropped with work pending when the process ends: the next tick, if any, replaces the
            // backend.
            self.pool.discard_abandoned(place);
        }
    }
}
