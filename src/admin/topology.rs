//! What is known of the clusters and their endpoints.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Json, extract::State};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    context::AdminContext,
    endpoint::EndpointView,
    error::ErrorBody,
    moment::{Clock, Moment},
};
use crate::events::WriterPeriod;

/// What is known of the clusters and their endpoints.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Topology {
    /// The endpoint that is the writer now; absent while none is known.
    writer: Option<String>,
    /// Several servers say that they take writes: an alarm.
    two_writers: bool,
    /// Seconds since the endpoint that was looked at longest ago was last looked at with success; absent while one never
    /// was.
    age_seconds: Option<f64>,
    /// Who was the writer, the newest first: where writes went, as Gatekeeper saw it. What happens between two looks is
    /// seen at the second.
    writers: Vec<TermView>,
    clusters: Vec<ClusterView>,
    /// In the configuration's order.
    endpoints: Vec<EndpointView>,
}

/// A time in which writes went to one server, or to none.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TermView {
    /// The endpoint that was the writer; absent when nobody was.
    endpoint: Option<String>,
    /// The server behind its address, as in `nodes`.
    node: Option<String>,
    /// Whether a login to it worked: `unknown`, `up`, `down`. A writer that is down takes no writes.
    health: &'static str,
    /// When it was first seen so.
    from: Moment,
    /// When it was first seen otherwise; absent when it is so now.
    until: Option<Moment>,
}

/// A cluster.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ClusterView {
    name: String,
    region: Option<String>,
    /// The names of its endpoints.
    endpoints: Vec<String>,
}

/// What is known of the clusters and their endpoints.
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
        let ages = snapshot.endpoints.iter().map(|status| status.last_success.map(|at| clock.age(at)));
        Self {
            writer: snapshot.writer.as_ref().map(ToString::to_string),
            two_writers: snapshot.two_writers,
            age_seconds: ages.collect::<Option<Vec<_>>>().and_then(|ages| ages.into_iter().reduce(f64::max)),
            writers: context
                .api
                .observers
                .events
                .terms()
                .iter()
                .map(|(term, until)| TermView::new(term, *until, clock))
                .collect(),
            clusters: clusters.into_values().collect(),
            // While a reload is under way, one of the two may be ahead of the other for a moment.
            endpoints: snapshot
                .endpoints
                .iter()
                .filter_map(|status| {
                    let handle = handles.get(&status.endpoint.name)?;
                    let sessions = sessions.on_endpoint(handle.name()) + routing.pools.leased(handle.name());
                    let writer = snapshot.writer.as_ref() == Some(handle.name());
                    Some(EndpointView::new(status, handle, sessions, writer, clock))
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
