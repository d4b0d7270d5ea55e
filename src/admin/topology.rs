//! What is known of the clusters and their endpoints.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use super::{context::Context, endpoint::EndpointView, error::ErrorBody, moment::Clock};

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
    clusters: Vec<ClusterView>,
    /// In the configuration's order.
    endpoints: Vec<EndpointView>,
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
pub(super) async fn topology(State(context): State<Arc<Context>>) -> Json<Topology> {
    let world = &context.api.world;
    let (snapshot, handles) = (world.topology.load(), world.endpoints.load());
    let clock = Clock::now();
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
    Json(Topology {
        writer: snapshot.writer.as_ref().map(ToString::to_string),
        two_writers: snapshot.two_writers,
        age_seconds: ages.collect::<Option<Vec<_>>>().and_then(|ages| ages.into_iter().reduce(f64::max)),
        clusters: clusters.into_values().collect(),
        // While a reload is under way, one of the two may be ahead of the other for a moment.
        endpoints: snapshot
            .endpoints
            .iter()
            .filter_map(|status| {
                let handle = handles.get(&status.endpoint.name)?;
                let sessions = world.sessions.on_endpoint(handle.name()) + world.pools.leased(handle.name());
                let writer = snapshot.writer.as_ref() == Some(handle.name());
                Some(EndpointView::new(status, handle, sessions, writer, clock))
            })
            .collect(),
    })
}
