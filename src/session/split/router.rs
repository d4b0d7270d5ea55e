//! The state of a session that sends its reads to the read pools.

use std::{sync::Arc, time::Instant};

use super::{LastRoute, Lookahead, Opening, Replay};
use crate::{
    names::EndpointName,
    route::{Consistency, RouteNeed, RouteReason, RouteSide, SessionRouteState, SplitSettings},
    session::{
        reported_parameters::{DEFAULT_READ_ONLY, ReportedParameters},
        setting_values::SettingValues,
    },
    sql::{Hint, LexicalSettings, TransactionModes},
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

/// See [`crate::session`].
pub(in crate::session) struct Router {
    pub(in crate::session) settings: Arc<SplitSettings>,
    /// What the next backend is needed for.
    pub(in crate::session) need: RouteNeed,
    /// Which side the held backend is on.
    pub(in crate::session) side: RouteSide,
    /// Beginning of the transaction on the read pool, while the transaction can still move.
    pub(in crate::session) opening: Option<Opening>,
    /// When the session last committed what is not proved a read, as far as it knows.
    pub(in crate::session) floor: Option<Instant>,
    /// Something was said to the writer that is not proved a read, and its transaction is not over.
    pub(in crate::session) writing: bool,
    /// Freshness of the assigned backend's node, until confirmed.
    pub(in crate::session) freshness: Option<FreshnessCheck>,
    /// Classification of the client's next messages.
    pub(in crate::session) lookahead: Lookahead,
    /// Messages to send to another backend.
    pub(in crate::session) replay: Replay,
    /// Where units go and went.
    pub(in crate::session) trace: LastRoute,
    /// What the driver has not been told of.
    pub(in crate::session) news: News,
    /// What the client's texts mean, as far as its settings decide.
    pub(in crate::session) meaning: LexicalSettings,
    /// `default_transaction_read_only` of the client.
    pub(in crate::session) read_only: bool,
    /// Values in the client's startup packet: `RESET` returns to them.
    pub(in crate::session) options: RouteOptions,
}

/// Settings of Gatekeeper in a client's startup packet, by these names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RouteOptions {
    /// `gatekeeper.route`.
    pub route: Option<Box<[u8]>>,
    /// `gatekeeper.consistency`.
    pub consistency: Option<Box<[u8]>>,
}

/// What the driver is to hear.
#[derive(Default)]
pub(in crate::session) struct News {
    /// What a node said of how far it has replayed.
    pub(in crate::session) position: Option<Option<u64>>,
    /// What was committed raised the floor.
    pub(in crate::session) wrote: bool,
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
            side: RouteSide::Writer,
            opening: None,
            floor: None,
            writing: false,
            freshness: None,
            lookahead: Lookahead::default(),
            replay: Replay::default(),
            trace: LastRoute::default(),
            news: News::default(),
            meaning: LexicalSettings::default(),
            read_only: false,
            options,
        }
    }

    /// A transaction is over at `now` that may have written.
    pub(in crate::session) fn raise_floor(&mut self, now: Instant) {
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
    pub(in crate::session) fn consistency(&self, settings: &SettingValues) -> Consistency {
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
        let is =
            |name: &[u8], value: &[u8]| known.get(name).is_some_and(|said| said.eq_ignore_ascii_case(value));
        self.meaning = LexicalSettings {
            standard_strings: is(b"standard_conforming_strings", b"on"),
            utf8: is(b"client_encoding", b"UTF8"),
        };
        self.read_only = is(DEFAULT_READ_ONLY, b"on");
    }

    /// A backend is held from now on.
    pub(in crate::session) fn on_assigned(&mut self, assigned: AssignedBackend<'_>) {
        let AssignedBackend { side, reason, endpoint, freshness } = assigned;
        self.side = side;
        self.freshness = Some(freshness);
        self.trace.goes(side, endpoint, reason);
        self.replay.on_lease();
    }

    /// The session holds its backend no longer.
    pub(in crate::session) fn left(&mut self) {
        self.lookahead.on_return();
        self.opening = None;
        self.freshness = None;
    }
}

/// What anything may be sent to.
pub(in crate::session) const WRITER: RouteNeed =
    RouteNeed { side: RouteSide::Writer, reason: RouteReason::Writer };
