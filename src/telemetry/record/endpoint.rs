//! Metrics of an endpoint: connections, credentials, observed state.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{Each, Scope, unix_seconds};
use crate::{
    route::RerunCause,
    telemetry::{
        catalog::{self, Label},
        labels::{Certificate, ConnectPhase, Outcome, RoleState, TerminationReason},
        registry::{Counter, Gauge, Histogram, Level},
    },
    topology::{Endpoint, Health, ObservedRole, ReplayState, ReplicationLag},
};

/// Metrics of one endpoint.
pub struct EndpointMetrics {
    endpoint: Endpoint,
    info: Gauge,
    connects: Each<Outcome, Counter>,
    connect_failures: Each<ConnectPhase, Counter>,
    connect_duration: Each<ConnectPhase, Histogram>,
    backends: Level,
    backends_limit: Gauge,
    cancels: Each<Outcome, Counter>,
    mints: Each<Outcome, Counter>,
    mint_duration: Histogram,
    token_expiry: Gauge,
    mint_success: Gauge,
    mint_failure: Gauge,
    certificates: Each<Certificate, Gauge>,
    health: Each<Health, Gauge>,
    role: Each<RoleState, Gauge>,
    mismatch: Gauge,
    fenced: Gauge,
    probes: Each<Outcome, Counter>,
    probe_duration: Histogram,
    probe_success: Gauge,
    samples: Each<Outcome, Counter>,
    reruns: Each<RerunCause, Counter>,
    terminated: Each<TerminationReason, Counter>,
    position: Gauge,
    lag_bytes: Gauge,
    lag: Gauge,
    replay: Each<ReplayState, Gauge>,
    lagging: Gauge,
}

/// Counts a backend as open until dropped.
pub struct BackendPresence {
    metrics: Arc<EndpointMetrics>,
}

// === impl EndpointMetrics ===

impl EndpointMetrics {
    pub(super) fn new(scope: &Scope<'_>, endpoint: &Endpoint) -> Self {
        let info = scope
            .and(Label::Cluster, endpoint.cluster.as_str())
            .and(Label::Region, endpoint.region.as_deref().unwrap_or_default())
            .gauge(&catalog::ENDPOINT_INFO);
        Self {
            endpoint: endpoint.clone(),
            info,
            connects: scope.each(Label::Outcome, |scope| scope.counter(&catalog::CONNECTS)),
            connect_failures: scope.each(Label::Phase, |scope| scope.counter(&catalog::CONNECT_FAILURES)),
            connect_duration: scope.each(Label::Phase, |scope| scope.histogram(&catalog::CONNECT_DURATION)),
            backends: scope.level(&catalog::BACKENDS),
            backends_limit: scope.unknown(&catalog::BACKENDS_LIMIT),
            cancels: scope.each(Label::Outcome, |scope| scope.counter(&catalog::CANCELS)),
            mints: scope.each(Label::Outcome, |scope| scope.counter(&catalog::TOKEN_MINTS)),
            mint_duration: scope.histogram(&catalog::TOKEN_MINT_DURATION),
            token_expiry: scope.unknown(&catalog::TOKEN_EXPIRY),
            mint_success: scope.unknown(&catalog::TOKEN_MINT_SUCCESS),
            mint_failure: scope.unknown(&catalog::TOKEN_MINT_FAILURE),
            certificates: scope.each(Label::Certificate, |scope| scope.unknown(&catalog::CERTIFICATE_EXPIRY)),
            health: scope.each(Label::State, |scope| scope.gauge(&catalog::ENDPOINT_HEALTH)),
            role: scope.each(Label::Role, |scope| scope.gauge(&catalog::ENDPOINT_ROLE)),
            mismatch: scope.gauge(&catalog::ENDPOINT_ROLE_MISMATCH),
            fenced: scope.gauge(&catalog::ENDPOINT_FENCED),
            probes: scope.each(Label::Outcome, |scope| scope.counter(&catalog::PROBES)),
            probe_duration: scope.histogram(&catalog::PROBE_DURATION),
            probe_success: scope.unknown(&catalog::PROBE_SUCCESS),
            samples: scope.each(Label::Outcome, |scope| scope.counter(&catalog::WRITER_SAMPLES)),
            reruns: scope.each(Label::Cause, |scope| scope.counter(&catalog::RERUNS)),
            terminated: scope.each(Label::Reason, |scope| scope.counter(&catalog::BACKENDS_TERMINATED)),
            position: scope.unknown(&catalog::REPLICATION_POSITION),
            lag_bytes: scope.unknown(&catalog::REPLICATION_LAG_BYTES),
            lag: scope.unknown(&catalog::REPLICATION_LAG),
            replay: scope.each(Label::State, |scope| scope.gauge(&catalog::ENDPOINT_REPLAY)),
            lagging: scope.gauge(&catalog::ENDPOINT_LAGGING),
        }
    }

    /// Records the `duration` of a connection phase.
    pub fn record_phase(&self, phase: ConnectPhase, duration: Duration) {
        self.connect_duration.of(phase).record(duration);
    }

    /// Records a failed attempt to open a backend, with the failed phase.
    pub fn connect_failed(&self, phase: ConnectPhase) {
        self.connects.of(Outcome::Error).increment();
        self.connect_failures.of(phase).increment();
    }

    /// Records an opened backend, counted as open until the returned value is dropped.
    #[must_use]
    pub fn connected(self: &Arc<Self>) -> BackendPresence {
        self.connects.of(Outcome::Ok).increment();
        self.backends.increment();
        BackendPresence { metrics: Arc::clone(self) }
    }

    /// Sets the maximum number of backends of all pools; `None` without a limit.
    #[expect(clippy::cast_precision_loss, reason = "nobody opens 2^53 backends")]
    pub fn backends_limit(&self, limit: Option<usize>) {
        self.backends_limit.set(limit.map_or(f64::NAN, |limit| limit as f64));
    }

    /// Records a cancel request.
    pub fn record_cancel(&self, outcome: Outcome) {
        self.cancels.of(outcome).increment();
    }

    /// Records a token minted in `duration`, valid until `expiry`.
    pub fn token_minted(&self, duration: Duration, expiry: SystemTime) {
        self.mints.of(Outcome::Ok).increment();
        self.mint_duration.record(duration);
        self.token_expiry.set(unix_seconds(expiry));
        self.mint_success.set(unix_seconds(SystemTime::now()));
    }

    /// Records a failed mint.
    pub fn token_failed(&self, duration: Duration) {
        self.mints.of(Outcome::Error).increment();
        self.mint_duration.record(duration);
        self.mint_failure.set(unix_seconds(SystemTime::now()));
    }

    /// Sets the expiry of a certificate; `None` without a certificate.
    pub fn certificate_ends(&self, certificate: Certificate, moment: Option<SystemTime>) {
        self.certificates.of(certificate).set(moment.map_or(f64::NAN, unix_seconds));
    }

    /// Records a health probe.
    pub fn record_probe(&self, outcome: Outcome, duration: Duration, now: SystemTime) {
        self.probes.of(outcome).increment();
        self.probe_duration.record(duration);
        if outcome == Outcome::Ok {
            self.probe_success.set(unix_seconds(now));
        }
    }

    /// Records a WAL sample of the writer.
    pub fn writer_sampled(&self, outcome: Outcome) {
        self.samples.of(outcome).increment();
    }

    /// Records `count` backends in use that were given up.
    pub fn backends_terminated(&self, reason: TerminationReason, count: usize) {
        self.terminated.of(reason).add(count as u64);
    }

    /// Records a statement that failed on this endpoint and was rerun on another.
    pub fn record_rerun(&self, cause: RerunCause) {
        self.reruns.of(cause).increment();
    }

    /// Sets health and role of an endpoint in use. `mismatch`: observed and declared role contradict each other.
    pub fn state(&self, health: Health, observed: Option<ObservedRole>, mismatch: bool) {
        self.info.set(1.0);
        self.health.enter(health);
        self.role.enter(observed.into());
        self.mismatch.set(if mismatch { 1.0 } else { 0.0 });
    }

    /// Sets the fence of an endpoint in use.
    pub fn set_fenced(&self, is_fenced: bool) {
        self.fenced.set(if is_fenced { 1.0 } else { 0.0 });
    }

    /// Sets the WAL position in bytes, and the lag; `None` while unknown.
    pub fn set_replication(&self, position: Option<u64>, lag: Option<ReplicationLag>) {
        #[expect(clippy::cast_precision_loss, reason = "2^53 bytes of WAL are eight pebibytes")]
        let number = |bytes: Option<u64>| bytes.map_or(f64::NAN, |bytes| bytes as f64);
        self.position.set(number(position));
        self.lag_bytes.set(number(lag.and_then(|lag| lag.bytes)));
        self.lag.set(lag.map_or(f64::NAN, |lag| lag.time.as_secs_f64()));
    }

    /// Sets the replay of an endpoint's standbys; `None` while unknown.
    pub fn set_replay(&self, replay: Option<ReplayState>, is_lagging: bool) {
        match replay {
            Some(replay) => self.replay.enter(replay),
            None => self.replay.leave(),
        }
        self.lagging.set(if is_lagging { 1.0 } else { 0.0 });
    }

    /// Ends the series of an endpoint that a reload has removed or replaced by `after`. Series whose labels no longer
    /// match a configured endpoint show no state: info, health and role are 0, times and distances `NaN`, so that no
    /// alert fires; counters keep their value. Call from the caller of [`EndpointMetrics::state`].
    pub fn replaced(&self, after: Option<&Endpoint>) {
        let before = &self.endpoint;
        let info =
            after.is_some_and(|after| (&after.cluster, &after.region) == (&before.cluster, &before.region));
        let state = after.is_some_and(|after| (&after.name, after.role) == (&before.name, before.role));
        if !info || !state {
            self.info.set(0.0);
        }
        if !state {
            self.health.leave();
            self.role.leave();
            self.mismatch.set(0.0);
            self.fenced.set(0.0);
            self.token_expiry.set(f64::NAN);
            self.mint_success.set(f64::NAN);
            self.mint_failure.set(f64::NAN);
            for certificate in Certificate::ALL {
                self.certificate_ends(certificate, None);
            }
            self.probe_success.set(f64::NAN);
            self.backends_limit(None);
            self.set_replication(None, None);
            self.set_replay(None, false);
        }
    }
}

// === impl BackendPresence ===

impl Drop for BackendPresence {
    fn drop(&mut self) {
        self.metrics.backends.decrement();
    }
}
