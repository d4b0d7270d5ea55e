//! The state of the service in one word, and the faults in sentences: cause, begin and remedy of all that clients and
//! operators suffer from now.
//!
//! Promises: the status page, the API and the log have the same faults; a fault disappears once mended, or a minute after
//! the last effect. Refuses to know: how a fault is shown, and the alerts, whose thresholds differ.

mod credentials;
mod endpoints;
mod fault;
mod fault_log;
mod program;
mod refusals;
mod replication;
mod transactions;
mod waits;
mod words;

use std::{sync::Arc, time::Instant};

use axum::{Json, extract::State};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

pub use self::fault::Fault;
use self::{
    fault::{FaultKind, FaultSeverity},
    fault_log::log_faults,
    waits::PoolWaits,
};
use super::{
    context::AdminContext, error::ErrorBody, health::Readiness, moment::Clock, monitor::ServiceMonitor,
    traffic::Traffic,
};
use crate::{
    closed_set::closed_set, frontend::ListenerContext, tasks::Tasks, telemetry::file_descriptors,
    tls::ServerTls,
};

/// The state of the service and its faults.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct Diagnosis {
    /// `healthy`; `faulty` with at least one warning or alarm; `holding` while sessions wait for a writer; `not_ready` if a
    /// listener cannot serve.
    state: &'static str,
    /// Alarms first, then warnings; each group in the order of the parts of the program.
    faults: Vec<Fault>,
}

closed_set! {
    /// State of the service.
    enum ServiceState {
        /// No fault is known.
        Healthy = "healthy",
        /// Clients are served, with faults.
        Faulty = "faulty",
        /// Sessions wait for a writer.
        Holding = "holding",
        /// A listener cannot serve.
        NotReady = "not_ready",
    }
}

/// The state of the service and its faults, each with its remedy.
#[utoipa::path(get, path = "/v1/verdict", tag = "topology", security(("key" = [])), responses(
    (status = 200, description = "The state and the faults.", body = Diagnosis),
    (status = 401, description = "No valid key was shown.", body = ErrorBody),
))]
pub(super) async fn verdict(State(context): State<Arc<AdminContext>>) -> Json<Diagnosis> {
    Json(Diagnosis::of(&context.monitor))
}

/// Current faults, the worst first.
#[must_use]
pub fn diagnose(monitor: &ServiceMonitor) -> Vec<Fault> {
    Diagnosis::of(monitor).faults
}

/// Samples the traffic and logs faults, in tasks of `tasks`.
pub fn start_diagnoses(monitor: &Arc<ServiceMonitor>, tasks: &Tasks) {
    let (sampled, metrics) = (Arc::clone(monitor), monitor.api.metrics.clone());
    tasks.spawn("traffic", async move { sampled.traffic.take_forever(metrics).await });
    tasks.spawn("fault log", log_faults(Arc::clone(monitor)));
}

/// Kinds that compare a number with its limit, or a state without a time: their begin is the first diagnosis. The fault
/// log looks every two seconds.
const DATED_BY_DIAGNOSIS: [FaultKind; 4] = [
    FaultKind::Errors,
    FaultKind::ClientsNearLimit,
    FaultKind::DescriptorsNearLimit,
    FaultKind::ListenerUnready,
];

fn date_faults(faults: &mut [Fault], monitor: &ServiceMonitor, clock: Clock) {
    let is_undated = |fault: &&mut Fault| DATED_BY_DIAGNOSIS.iter().any(|kind| kind.as_str() == fault.kind);
    let undated: Vec<_> = faults.iter_mut().filter(is_undated).collect();
    let keys = undated.iter().map(|fault| fault.key()).collect();
    let times = monitor.first_seen.update(keys, clock.time());
    for (fault, first) in undated.into_iter().zip(times) {
        fault.since = Some(clock.since_time(first));
    }
}

// === impl Diagnosis ===

impl Diagnosis {
    /// Diagnosis of the current state.
    fn of(monitor: &ServiceMonitor) -> Self {
        let traffic = monitor.traffic.traffic(&monitor.api.metrics, Instant::now());
        Self::new(monitor, &Readiness::of_all(monitor), &traffic, Clock::now())
    }

    pub(super) fn new(
        monitor: &ServiceMonitor,
        readiness: &Readiness,
        traffic: &Traffic,
        clock: Clock,
    ) -> Self {
        let mut faults = diagnose_service(monitor, readiness, clock);
        faults.extend(diagnose_traffic(monitor, traffic, clock));
        faults.extend(diagnose_credentials(monitor, clock));
        faults.extend(diagnose_program(monitor, clock));
        date_faults(&mut faults, monitor, clock);
        Self::from_faults(faults, readiness)
    }

    fn from_faults(mut faults: Vec<Fault>, readiness: &Readiness) -> Self {
        let rank = |severity| FaultSeverity::ALL.iter().rev().position(|it| it.as_str() == severity);
        faults.sort_by_key(|fault| rank(fault.severity));
        let is_faulty = faults.iter().any(|fault| fault.severity != FaultSeverity::Info.as_str());
        let state = if !readiness.is_ready() {
            ServiceState::NotReady
        } else if readiness.is_holding() {
            ServiceState::Holding
        } else if is_faulty {
            ServiceState::Faulty
        } else {
            ServiceState::Healthy
        };
        Self { state: state.as_str(), faults }
    }
}

/// Shutdown, moves, endpoints, listeners.
fn diagnose_service(monitor: &ServiceMonitor, readiness: &Readiness, clock: Clock) -> Vec<Fault> {
    let (api, mut faults) = (&monitor.api, Vec::new());
    if monitor.is_draining() {
        let text = "This Gatekeeper is shutting down: sessions end after their transaction.".to_owned();
        let remedy = "Clients connect to another instance.".to_owned();
        faults.push(Fault::new(FaultKind::Draining, text, remedy, None));
    }
    if let Some(progress) = api.mover.progress() {
        let phase = progress.phase.as_str().replace('_', " ");
        let text = format!("The writer moves to {} ({phase}): new transactions wait.", progress.to);
        let remedy = "It ends by itself; DELETE /v1/topology/writer cancels it.".to_owned();
        let fault = Fault::new(FaultKind::WriterMove, text, remedy, Some(clock.since(progress.since)));
        faults.push(fault.of_endpoint(&progress.to));
    }
    let snapshot = api.routing.topology.load();
    faults.extend(endpoints::diagnose_endpoints(&snapshot, &api.observers.events, clock));
    for (listener, problem) in readiness.problems() {
        let text = format!("Listener {listener} cannot serve: {problem}.");
        let remedy = "`gatekeeper doctor` finds the step that fails, and its remedy.".to_owned();
        faults.push(Fault::new(FaultKind::ListenerUnready, text, remedy, None).of_listener(listener));
    }
    let lagging = snapshot.endpoints.iter().filter_map(|status| replication::diagnose_standby(status, clock));
    faults.extend(lagging);
    faults
}

/// Pools, transactions, refusals, errors, clients.
fn diagnose_traffic(monitor: &ServiceMonitor, traffic: &Traffic, clock: Clock) -> Vec<Fault> {
    let api = &monitor.api;
    // Lists of all sessions are made only if there is something to find: there may be thousands.
    let mut pools = api.routing.pools.list();
    pools.retain(|pool| pool.waiting() > 0);
    pools.sort_by_cached_key(|pool| pool.target().to_string());
    let sessions = if pools.is_empty() { Vec::new() } else { api.sessions.list() };
    let waits = pools.iter().filter_map(|pool| PoolWaits::of(&pool.status(), &sessions)?.diagnose(clock));
    let mut faults: Vec<_> = waits.collect();
    faults.extend(transactions::diagnose_transactions(transactions::find_stuck(&api.sessions), clock));
    faults.extend(refusals::diagnose_refusals(api.observers.events.recent_refusals(), clock));
    faults.extend(refusals::diagnose_errors(traffic.endpoints()));
    faults.extend(monitor.listeners().iter().filter_map(|listener| {
        let settings = &listener.settings;
        refusals::diagnose_clients(settings.name.as_str(), listener.clients(), settings.limits.max_clients)
    }));
    faults
}

/// Certificates and tokens.
fn diagnose_credentials(monitor: &ServiceMonitor, clock: Clock) -> Vec<Fault> {
    let (now, mut faults) = (Timestamp::now(), Vec::new());
    let certificates = monitor.tls().map(ServerTls::certificates).unwrap_or_default();
    faults.extend(credentials::diagnose_certificates("the admin API", &certificates, now, clock));
    for listener in monitor.listeners() {
        let ListenerContext { settings, tls, .. } = &*listener;
        let owner = format!("listener {}", settings.name);
        let certificates = tls.as_ref().map(ServerTls::certificates).unwrap_or_default();
        let found = credentials::diagnose_certificates(&owner, &certificates, now, clock);
        faults.extend(found.into_iter().map(|fault| fault.of_listener(&settings.name)));
    }
    let endpoints = monitor.api.routing.endpoints.load();
    let mut endpoints: Vec<_> = endpoints.iter().collect();
    endpoints.sort_by_key(|endpoint| endpoint.name());
    for endpoint in endpoints {
        let name = endpoint.name();
        let owner = format!("endpoint {name}");
        let found = credentials::diagnose_certificates(&owner, &endpoint.tls().certificates(), now, clock);
        faults.extend(found.into_iter().map(|fault| fault.of_endpoint(name)));
        faults.extend(
            endpoint
                .tokens()
                .and_then(|tokens| credentials::diagnose_tokens(name.as_str(), &tokens.status(), now, clock)),
        );
    }
    faults
}

/// Audit log, reloads, files, descriptors, panics.
fn diagnose_program(monitor: &ServiceMonitor, clock: Clock) -> Vec<Fault> {
    let api = &monitor.api;
    let (condition, now) = (api.observers.audit.condition(), Timestamp::now());
    let mut faults = program::diagnose_audit(&condition, now, clock);
    let failed = api.observers.events.failed_reload();
    faults.extend(failed.map(|failed| program::diagnose_reload(&failed, clock)));
    faults.extend(api.files.unusable().iter().map(|files| program::diagnose_files(files, clock)));
    faults.extend(file_descriptors().and_then(program::diagnose_descriptors));
    faults.extend(program::diagnose_panics(api.metrics.panics().panics(), now, clock));
    faults
}

#[cfg(test)]
mod tests;
