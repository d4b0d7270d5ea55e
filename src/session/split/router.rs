//! The state of a session that sends its reads to the read pools.

use std::{sync::Arc, time::Instant};

use super::{LastRoute, Lookahead, Opening, Replay, UnitProof};
use crate::{
    names::EndpointName,
    route::{Consistency, RouteNeed, RouteReason, RouteSide, SessionRouteState, SplitSettings},
    session::{
        reported_parameters::{DEFAULT_READ_ONLY, ReportedParameters},
        setting_values::SettingValues,
    },
    sql::{Hint, TransactionModes},
    wire::TransactionStatus,
};

/// Backend handed to a session with a split route.
#[derive(Debug, Clone, Copy)]
pub struct AssignedBackend<'a> {
    /// RouteSide of the backend.
    pub side: RouteSide,
    /// Reason of the route decision.
    pub reason: RouteReason,
    /// Name of the endpoint, for `SHOW gatekeeper.last_route`.
    pub endpoint: &'a EndpointName,
    /// Freshness of a read pool's node against the session's [floor](crate::session::Session::floor).
    pub freshness: FreshnessCheck,
}

/// Proof that a node shows all writes that the session must see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FreshnessCheck {
    /// The node shows all of them.
    Enough,
    /// The node does once its replay has reached a position, queried in the same write.
    Ask {
        /// Position in bytes of WAL.
        lsn: u64,
    },
}

/// State of a session that sends its reads to the read pools.
pub(in crate::session) struct Router {
    settings: Arc<SplitSettings>,
    /// Requirement for the next backend.
    need: RouteNeed,
    /// Transaction on the held backend.
    transaction: HeldTransaction,
    /// Time of the session's last commit that may have written.
    floor: Option<Instant>,
    /// Freshness of the assigned backend's node, until confirmed.
    freshness: Option<FreshnessCheck>,
    /// Classification of the client's next messages.
    lookahead: Lookahead,
    /// Messages to send to another backend.
    replay: Replay,
    /// Where units go and went.
    trace: LastRoute,
    news: News,
    result: ResultProgress,
    /// `default_transaction_read_only` of the client.
    read_only: bool,
    /// Values in the client's startup packet: `RESET` returns to them.
    options: RouteOptions,
}

/// Settings of Gatekeeper in a client's startup packet, by these names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RouteOptions {
    /// `gatekeeper.route`.
    pub route: Option<Box<[u8]>>,
    /// `gatekeeper.consistency`.
    pub consistency: Option<Box<[u8]>>,
}

/// Transaction on the held backend, as far as the route depends on it.
enum HeldTransaction {
    /// On a read pool. Holds the beginning of the transaction while the transaction can still move.
    Reader(Option<Opening>),
    /// On the writer, with statements proved to read alone.
    WriterReads,
    /// On the writer, which was sent a statement not proved to read.
    WriterMayWrite,
}

/// Result of the unit that is answered now.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum ResultProgress {
    /// The client has received no row.
    #[default]
    NoRow,
    /// The client has received rows, or a part of them.
    Rows,
}

/// Facts not reported to the driver yet.
#[derive(Default)]
struct News {
    /// Replay position reported by a node.
    position: Option<Option<u64>>,
    /// A commit has raised the floor.
    wrote: bool,
}

/// Settings that clients say things to us with.
pub(in crate::session) const ROUTE: &[u8] = b"gatekeeper.route";
pub(in crate::session) const CONSISTENCY: &[u8] = b"gatekeeper.consistency";
pub(in crate::session) const LAST_ROUTE: &[u8] = b"gatekeeper.last_route";

// === impl Router ===

impl Router {
    pub(in crate::session) fn new(settings: Arc<SplitSettings>, options: RouteOptions) -> Self {
        Self {
            settings,
            need: WRITER,
            transaction: HeldTransaction::WriterReads,
            floor: None,
            freshness: None,
            lookahead: Lookahead::default(),
            replay: Replay::default(),
            trace: LastRoute::default(),
            news: News::default(),
            result: ResultProgress::default(),
            read_only: false,
            options,
        }
    }

    /// Requirement for the next backend.
    pub(in crate::session) const fn need(&self) -> RouteNeed {
        self.need
    }

    /// Notes the unit that the client's next `count` messages belong to: its `need`, and its proof.
    pub(in crate::session) fn want_unit(&mut self, need: RouteNeed, count: usize, proof: UnitProof) {
        self.need = need;
        self.lookahead.classify(count, Some(proof));
    }

    /// Wants the writer, whatever the client's next messages are.
    pub(in crate::session) fn want_writer(&mut self) {
        self.need = WRITER;
        self.lookahead.classify(0, None);
    }

    /// Side of the held backend.
    pub(in crate::session) const fn side(&self) -> RouteSide {
        match self.transaction {
            HeldTransaction::Reader(_) => RouteSide::Reader,
            HeldTransaction::WriterReads | HeldTransaction::WriterMayWrite => RouteSide::Writer,
        }
    }

    /// True if the held backend is a read pool's.
    pub(in crate::session) fn is_on_reader(&self) -> bool {
        self.side() == RouteSide::Reader
    }

    /// Classification of the client's next messages.
    pub(in crate::session) const fn lookahead(&self) -> &Lookahead {
        &self.lookahead
    }

    /// Classification of the client's next messages.
    pub(in crate::session) const fn lookahead_mut(&mut self) -> &mut Lookahead {
        &mut self.lookahead
    }

    /// Messages to send to another backend.
    pub(in crate::session) const fn replay(&self) -> &Replay {
        &self.replay
    }

    /// Messages to send to another backend.
    pub(in crate::session) const fn replay_mut(&mut self) -> &mut Replay {
        &mut self.replay
    }

    // --- units and transactions

    /// Notes a message about to be sent to the held backend.
    pub(in crate::session) fn note_sent(&mut self) {
        self.trace.note_sent();
    }

    /// True if the transaction is on the writer, and all of its statements so far are proved to read.
    pub(in crate::session) const fn only_reads_on_writer(&self) -> bool {
        matches!(self.transaction, HeldTransaction::WriterReads)
    }

    /// Notes a statement about to be sent to the writer that is not proved to read.
    pub(in crate::session) fn note_write(&mut self) {
        debug_assert!(!self.is_on_reader(), "a read pool takes no writes");
        self.transaction = HeldTransaction::WriterMayWrite;
    }

    /// True if a unit of the transaction on the writer may have written.
    pub(in crate::session) const fn may_have_written(&self) -> bool {
        matches!(self.transaction, HeldTransaction::WriterMayWrite)
    }

    /// Notes rows of the unit that is answered now, about to be sent to the client.
    pub(in crate::session) const fn note_rows(&mut self) {
        self.result = ResultProgress::Rows;
    }

    /// True if the client has received rows of the unit that is answered now.
    pub(in crate::session) fn sends_rows(&self) -> bool {
        self.result == ResultProgress::Rows
    }

    /// Notes the end of a unit at `now`, with the transaction `status`; `is_settled`: no response is pending.
    pub(in crate::session) fn on_unit_over(
        &mut self,
        now: Instant,
        status: TransactionStatus,
        is_settled: bool,
    ) {
        self.result = ResultProgress::NoRow;
        match &mut self.transaction {
            HeldTransaction::Reader(opening) => {
                if is_settled {
                    self.lookahead.on_settled();
                    if let Some(opening) = opening {
                        opening.settle(status == TransactionStatus::Failed);
                    }
                }
            }
            HeldTransaction::WriterMayWrite if status == TransactionStatus::Idle => {
                if is_settled {
                    self.transaction = HeldTransaction::WriterReads;
                }
                // Otherwise messages sent behind the transaction may write, too.
                self.raise_floor(now);
            }
            HeldTransaction::WriterMayWrite | HeldTransaction::WriterReads => {}
        }
    }

    /// Beginning of the transaction on the read pool, while the transaction can still move.
    pub(in crate::session) const fn opening(&self) -> Option<&Opening> {
        match &self.transaction {
            HeldTransaction::Reader(opening) => opening.as_ref(),
            HeldTransaction::WriterReads | HeldTransaction::WriterMayWrite => None,
        }
    }

    /// Notes the beginning of the transaction on the read pool; `None`: the transaction cannot move.
    pub(in crate::session) fn note_opening(&mut self, opening: Option<Opening>) {
        debug_assert!(self.is_on_reader(), "a transaction on the writer cannot move");
        self.transaction = HeldTransaction::Reader(opening);
    }

    /// Notes an Execute on a read pool, of all rows or some.
    pub(in crate::session) fn note_execute(&mut self, is_whole: bool) {
        if let HeldTransaction::Reader(Some(opening)) = &mut self.transaction {
            opening.note_execute(is_whole);
        }
    }

    /// Freshness check that the assigned backend's node must pass, once.
    pub(in crate::session) fn take_freshness(&mut self) -> Option<FreshnessCheck> {
        self.freshness.take()
    }

    /// Notes the replay position reported by a node.
    pub(in crate::session) fn note_position(&mut self, replayed: Option<u64>) {
        self.news.position = Some(replayed);
    }

    /// Replay position last reported by a node, once.
    pub(in crate::session) fn poll_position(&mut self) -> Option<Option<u64>> {
        self.news.position.take()
    }

    /// True once per commit that the next reads of a session with `settings` must see.
    pub(in crate::session) fn poll_wrote(&mut self, settings: &SettingValues) -> bool {
        std::mem::take(&mut self.news.wrote) && self.consistency(settings) == Consistency::Session
    }

    /// Endpoint of the last unit, with the reason of the route decision.
    pub(in crate::session) fn last_route(&self) -> Option<(&EndpointName, RouteReason)> {
        self.trace.last()
    }

    /// Notes the end, at `now`, of a transaction that may have written.
    fn raise_floor(&mut self, now: Instant) {
        self.floor = Some(now);
        self.news.wrote = true;
    }

    /// What a read must not be older than, if anything.
    pub(in crate::session) fn floor(&self, now: Instant, settings: &SettingValues) -> Option<Instant> {
        match self.consistency(settings) {
            Consistency::Session => self.floor,
            // Nothing was written before the clock began that would matter.
            Consistency::Bounded => now.checked_sub(self.settings.max_lag),
            Consistency::Eventual => None,
        }
    }

    /// What the session's reads must show: as it has said, or as the listener does.
    fn consistency(&self, settings: &SettingValues) -> Consistency {
        let wish = settings.get(CONSISTENCY).or(self.options.consistency.as_deref());
        let consistency = wish.and_then(|word| std::str::from_utf8(word).ok()?.parse().ok());
        consistency.unwrap_or(self.settings.consistency)
    }

    /// What decides where a unit goes, besides the unit.
    pub(in crate::session) fn situation(
        &self,
        begun: Option<TransactionModes>,
        settings: &SettingValues,
    ) -> SessionRouteState {
        let wish = settings.get(ROUTE).or(self.options.route.as_deref());
        SessionRouteState {
            begun,
            read_only: self.read_only,
            serializable: settings.get(b"default_transaction_isolation") == Some(b"serializable"),
            wish: wish.and_then(Hint::named),
            hints: self.settings.hints,
        }
    }

    /// The client was told of its settings.
    pub(in crate::session) fn learn(&mut self, known: &ReportedParameters) {
        self.read_only = known.is(DEFAULT_READ_ONLY, b"on");
    }

    /// A backend is held from now on.
    pub(in crate::session) fn on_assigned(&mut self, assigned: AssignedBackend<'_>) {
        let AssignedBackend { side, reason, endpoint, freshness } = assigned;
        self.transaction = match side {
            RouteSide::Reader => HeldTransaction::Reader(None),
            RouteSide::Writer => HeldTransaction::WriterReads,
        };
        self.freshness = Some(freshness);
        self.trace.goes(side, endpoint, reason);
        self.replay.on_lease();
    }

    /// The session holds its backend no longer.
    pub(in crate::session) fn left(&mut self) {
        self.lookahead.on_return();
        if let HeldTransaction::Reader(opening) = &mut self.transaction {
            *opening = None;
        }
        self.freshness = None;
        self.result = ResultProgress::NoRow;
    }
}

/// What anything may be sent to.
pub(in crate::session) const WRITER: RouteNeed =
    RouteNeed { side: RouteSide::Writer, reason: RouteReason::Writer };
