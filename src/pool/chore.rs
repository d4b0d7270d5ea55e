//! What is done to a backend between two sessions, in the background.

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;

use super::{
    Pool,
    exchange::{Exchange, Surprise},
    member::Member,
    slots::{Occupancy, Place},
};
use crate::{
    backend::{Columns, query},
    blame::Chain,
    telemetry::labels::CloseReason,
    wire::{TransactionStatus, frontend},
};

/// What is done to a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chore {
    /// Ask something, so that a cancel request whose socket has closed can have no effect on what comes later.
    Settle,
    /// Take away whatever its session left: `ROLLBACK`, `DISCARD ALL`.
    Reset,
}

/// How long it may take: after that it is cheaper to dial anew.
const LIMIT: Duration = Duration::from_secs(10);

/// The place of a backend that is being worked on: given up if the work is dropped half-way, or never begun.
pub(super) struct Workplace {
    pub(super) pool: Arc<Pool>,
    pub(super) place: Option<Place>,
}

impl Pool {
    /// Does it on the worker where the backend's socket is registered; then the backend serves again, or is closed.
    pub(super) fn start_chore(
        self: &Arc<Self>,
        place: Place,
        mut member: Member,
        chore: Chore,
        unread: Vec<u8>,
    ) {
        let worker = member.worker;
        let mut workplace = Workplace { pool: Arc::clone(self), place: Some(place) };
        self.spawn(worker, "pool chore", async move {
            match timeout(LIMIT, perform(&mut member, chore, unread)).await.unwrap_or(Err(Surprise::Late)) {
                Ok(()) => {
                    if let Some(place) = workplace.leave() {
                        workplace.pool.put_back(place, member);
                    }
                }
                Err(surprise) => {
                    let pool = Arc::clone(&workplace.pool);
                    if matches!(surprise, Surprise::Changed) {
                        pool.forget_welcome();
                    }
                    let (endpoint, pid) = (pool.endpoint().name(), member.running.pid());
                    tracing::debug!(%endpoint, pid, ?chore, error = %Chain(&surprise), "a backend is closed");
                    member.close();
                    if let Some(place) = workplace.leave() {
                        pool.lost(place, CloseReason::NotClean);
                    }
                }
            }
        });
    }

    /// The backend's chore, in the words that the pool's status shows.
    pub(super) fn occupancy(chore: Chore) -> Occupancy {
        match chore {
            Chore::Settle => Occupancy::Settling,
            Chore::Reset => Occupancy::Resetting,
        }
    }
}

/// Cancel safety: dropped half-way, the backend is of no more use.
async fn perform(member: &mut Member, chore: Chore, unread: Vec<u8>) -> Result<(), Surprise> {
    let mut say = Vec::with_capacity(64);
    let parameters = Arc::clone(&member.login.parameters);
    let mut exchange = Exchange::new(&mut member.stream, unread, &parameters);
    // Asked first of all, so that no transaction is rolled back that is not there: servers log that as a warning.
    frontend::write_sync(&mut say);
    let mut status = exchange.ask(&say).await?;
    if chore == Chore::Reset {
        if status != TransactionStatus::Idle {
            say.clear();
            frontend::write_query(&mut say, "ROLLBACK");
            status = exchange.ask(&say).await?;
        }
        if status == TransactionStatus::Idle {
            say.clear();
            frontend::write_query(&mut say, "DISCARD ALL");
            status = exchange.ask(&say).await?;
        }
    }
    exchange.end()?;
    if chore == Chore::Reset && status == TransactionStatus::Idle {
        reseed(member).await?;
    }
    if status != TransactionStatus::Idle {
        return Err(Surprise::Unexpected);
    }
    member.running.settled();
    if chore == Chore::Reset {
        member.memory.forget(parameters);
    }
    Ok(())
}

/// Resets the seed of `random()`, which `DISCARD ALL` leaves. Backends of a database whose functions may keep more
/// state are not reused.
async fn reseed(member: &mut Member) -> Result<(), Surprise> {
    let mut entropy = [0; 4];
    aws_lc_rs::rand::fill(&mut entropy).map_err(|_| Surprise::Unexpected)?;
    let seed = f64::from(i32::from_ne_bytes(entropy)) / f64::from(1_u32 << 31);
    let sql = reseed_sql(seed);
    let keeps_more = query(&mut member.stream, &sql, |row| {
        let mut columns = Columns::of(row)?;
        columns.next()?;
        Ok(columns.next()? != Some("f"))
    });
    match keeps_more.await {
        Ok(false) => Ok(()),
        Ok(true) => Err(Surprise::KeepsState),
        Err(error) => Err(Surprise::Unasked(error)),
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

// === impl Workplace ===

impl Workplace {
    /// The work is done: what becomes of the place is the caller's. A method, so that a closure that calls it takes the whole
    /// of this along: of a field that can be copied it would take a copy, and this would be dropped at once.
    pub(super) const fn leave(&mut self) -> Option<Place> {
        self.place.take()
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        if let Some(place) = self.place.take() {
            // Work is dropped when the process ends: what the pool lacks now is for its next tick, if there is one.
            self.pool.abandoned(place);
        }
    }
}
