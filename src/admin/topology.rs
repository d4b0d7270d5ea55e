//! Observed state of the clusters and their endpoints.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Json, extract::State};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    context::AdminContext,
    endpoint::{EndpointUse, EndpointView},
    error::ErrorBody,
    moment::{Clock, Moment},
    writer::{FenceView, MoveView},
};
use crate::events::WriterPeriod;

/// Observed state of the clusters and their endpoints.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Topology {
    /// The current writer; absent while unknown.
    writer: Option<String>,
    /// True if several servers accept writes: an alarm.
    two_writers: bool,
    /// Endpoint that an operator made the writer although the configuration declares another role: exchange the roles
    /// in the configuration, too, since a restart forgets the move. Absent otherwise.
    appointed: Option<String>,
    /// Endpoints that take no writes until an operator ends the fence.
    fences: Vec<FenceView>,
    /// The move of the writer that is under way.
    r#move: Option<MoveView>,
    /// Greatest age of an endpoint's last successful probe, in seconds; absent while an endpoint has none.
    age_seconds: Option<f64>,
    /// History of the writer, newest first, as observed by the probe. Changes between two probes are seen at the
    /// second.
    writers: Vec<TermView>,
    clusters: Vec<ClusterView>,
    /// In the order of the configuration.
    endpoints: Vec<EndpointView>,
}

/// A period in which one server, or none, accepted writes.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TermView {
    /// The endpoint of the writer; absent if no endpoint accepted writes.
    endpoint: Option<String>,
    /// The server behind the address, as in `nodes`.
    node: Option<String>,
    /// Health of the endpoint: `unknown`, `up`, `down`. A writer that is down accepts no writes.
    health: &'static str,
    /// Time of the first observation.
    from: Moment,
    /// Time of the first different observation; absent for the current period.
    until: Option<Moment>,
}

/// A cluster.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ClusterView {
    name: String,
    region: Option<String>,
    /// Names of the endpoints.
    endpoints: Vec<String>,
}

/// Observed state of the clusters and their endpoints.
#[utoipa::path(get, path = "/v1/topology", tag = "topology", security(("key" = [])), responses(
    (status = 200, description = "What is known now.", body = Topology),
    (status = 401, description = "No valid key was shown.", body = ErrorBody),
))]
pub(super) async fn topology(State(context): State<Arc<AdminContext>>) -> Json<Topology> {
    Json(Topology::new(&context, Clock::now()))
}

// === impl Topology ===

impl Topology {
    pub(super) fn new(context: &AdminContext, clock: Clock) -> Self {
        let (routing, sessions) = (&context.api.routing, &context.api.sessions);
        let (snapshot, handles) = (routing.topology.load(), routing.endpoints.load());
        let mut clusters = BTreeMap::new();
        for status in &snapshot.endpoints {
            let endpoint = &status.endpoint;
            clusters
                .entry(&endpoint.cluster)
                .or_insert_with(|| ClusterView {
                    name: endpoint.cluster.to_string(),
                    region: endpoint.region.clone(),
                    endpoints: Vec::new(),
                })
                .endpoints
                .push(endpoint.name.to_string());
        }
        let open = sessions.open_transactions();
        let ages = snapshot.endpoints.iter().map(|status| status.last_success.map(|at| clock.age(at)));
        Self {
            writer: snapshot.writer.as_ref().map(ToString::to_string),
            two_writers: snapshot.two_writers,
            appointed: snapshot.override_of_configuration().map(ToString::to_string),
            fences: FenceView::all(&snapshot.control),
            r#move: context.api.mover.progress().map(|progress| MoveView::new(progress, clock)),
            age_seconds: ages.collect::<Option<Vec<_>>>().and_then(|ages| ages.into_iter().reduce(f64::max)),
            writers: context
                .api
                .observers
                .events
                .writer_periods()
                .iter()
                .map(|(term, until)| TermView::new(term, *until, clock))
                .collect(),
            clusters: clusters.into_values().collect(),
            // During a reload, the snapshot and the endpoints may differ for a moment.
            endpoints: snapshot
                .endpoints
                .iter()
                .filter_map(|status| {
                    let handle = handles.get(&status.endpoint.name)?;
                    let sessions = sessions.on_endpoint(handle.name()) + routing.pools.leased(handle.name());
                    let use_of_endpoint = EndpointUse::new(sessions, &open, handle.name());
                    Some(EndpointView::new(status, handle, &use_of_endpoint, &snapshot, clock))
                })
                .collect(),
        }
    }
}

// === impl TermView ===

impl TermView {
    fn new(term: &WriterPeriod, until: Option<Timestamp>, clock: Clock) -> Self {
        Self {
            endpoint: term.writer.as_ref().map(ToString::to_string),
            node: term.node.map(|node| node.to_string()),
            health: term.health.as_str(),
            from: clock.since_time(term.from),
            until: until.map(|at| clock.since_time(at)),
        }
    }
}
