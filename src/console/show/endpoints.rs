//! `SHOW ENDPOINTS`.

use std::time::Instant;

use super::ShowContext;
use crate::{
    console::{
        response::CommandResponse,
        table::{Row, Value},
    },
    topology::{EndpointStatus, FenceCause, ObservedRole},
};

/// One endpoint a row, in the configuration's order.
pub(super) fn show_endpoints(shown: ShowContext<'_>) -> CommandResponse {
    let snapshot = shown.context.routing.topology.load();
    let rows: Vec<Row> = snapshot
        .endpoints
        .iter()
        .map(|status| {
            let writer = snapshot.writer.as_ref() == Some(&status.endpoint.name);
            let name = &status.endpoint.name;
            let sessions =
                shown.context.sessions.on_endpoint(name) + shown.context.routing.pools.leased(name);
            endpoint_row(status, writer, sessions, snapshot.control.fence_of(name))
        })
        .collect();
    CommandResponse::rows(rows)
}

fn endpoint_row(status: &EndpointStatus, writer: bool, sessions: usize, fence: Option<FenceCause>) -> Row {
    let endpoint = &status.endpoint;
    let position = status.position.map(|position| {
        let lsn = position.lsn;
        format!("{:X}/{:X}", lsn >> 32, lsn & 0xFFFF_FFFF)
    });
    let since = status.since.map(|since| Instant::now().saturating_duration_since(since).as_secs());
    vec![
        endpoint.name.as_str().into(),
        endpoint.cluster.as_str().into(),
        endpoint.region.clone().into(),
        endpoint.address.to_string().into(),
        endpoint.role.as_str().into(),
        status.observed.map(ObservedRole::as_str).into(),
        if writer { "yes" } else { "no" }.into(),
        status.health.as_str().into(),
        since.into(),
        status.failures.into(),
        status.last_error.as_deref().map_or(Value::Null, Value::from),
        position.into(),
        status.node.map(|node| node.to_string()).into(),
        status.nodes.len().into(),
        sessions.into(),
        fence.map(FenceCause::as_str).into(),
        status.lag.map(|lag| lag.time.as_secs()).into(),
        if status.is_lagging { "yes" } else { "no" }.into(),
        status.replay.as_str().into(),
    ]
}
