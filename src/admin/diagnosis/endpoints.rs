//! Faults of the endpoints and of the writer.

use super::fault::{Fault, FaultKind};
use crate::{
    admin::moment::{Clock, Moment},
    events::Events,
    topology::{EndpointStatus, FenceCause, Health, ObservedRole, SnapshotChange, TopologySnapshot},
};

/// Faults that the probe has found.
pub(super) fn diagnose_endpoints(snapshot: &TopologySnapshot, events: &Events, clock: Clock) -> Vec<Fault> {
    let since = |wanted: &dyn Fn(&SnapshotChange) -> bool| -> Option<Moment> {
        events.last_change(wanted).map(|at| clock.since_time(at))
    };
    let mut faults = Vec::new();
    if snapshot.two_writers {
        let text = "Several servers accept writes: data may be diverging.".to_owned();
        let remedy = "Stop one of them at once; then compare what both have written.".to_owned();
        let began = since(&|change| matches!(change, SnapshotChange::TwoWriters { .. }));
        faults.push(Fault::new(FaultKind::TwoWriters, text, remedy, began));
    }
    for status in &snapshot.endpoints {
        let name = &status.endpoint.name;
        if snapshot.has_mismatch(status) {
            let began = since(
                &|change| matches!(change, SnapshotChange::Mismatch { endpoint, .. } if endpoint == name),
            );
            faults.push(describe_mismatch(snapshot, status, began));
        }
        if let Some(cause) = snapshot.control.fence_of(name) {
            let began = since(
                &|change| matches!(change, SnapshotChange::Fenced { endpoint, .. } if endpoint == name),
            );
            let text = format!("{name} is fenced ({}): it takes no writes.", describe_cause(cause));
            let remedy =
                "When its server is a standby or holds all data, end the fence: UNFENCE on the console.";
            let fault = Fault::new(FaultKind::Fenced, text, remedy.to_owned(), began);
            faults.push(fault.of_endpoint(name));
        }
        if status.health == Health::Down {
            let error = status.last_error.as_deref().unwrap_or("no answer");
            let remedy = format!("`gatekeeper doctor {name}` finds the step that fails, and its remedy.");
            let began = status.since.map(|since| clock.since(since));
            let fault =
                Fault::new(FaultKind::EndpointDown, format!("{name} is down: {error}."), remedy, began);
            faults.push(fault.of_endpoint(name));
        }
    }
    faults
}

fn describe_mismatch(snapshot: &TopologySnapshot, status: &EndpointStatus, began: Option<Moment>) -> Fault {
    let name = &status.endpoint.name;
    let observed = status.observed.map_or("nothing", ObservedRole::as_str);
    let text = format!("{name} is declared {}, but its server reports {observed}.", status.endpoint.role);
    let remedy = match snapshot.override_of_configuration() == Some(name) {
        true => "The writer was moved to it: exchange the roles in the configuration, too.",
        false => {
            "After a failover, exchange the roles in the configuration and reload; otherwise demote the server."
        }
    };
    Fault::new(FaultKind::RoleMismatch, text, remedy.to_owned(), began).of_endpoint(name)
}

const fn describe_cause(cause: FenceCause) -> &'static str {
    match cause {
        FenceCause::Moved => "the writer was moved",
        FenceCause::Replaced => "the writer was replaced",
        FenceCause::TwoWriters => "accepts writes beside the writer",
    }
}
