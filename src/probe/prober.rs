//! Probes an endpoint periodically.

use std::{
    future::pending,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::{
    io::AsyncWriteExt,
    sync::{Notify, mpsc},
    time::{sleep, sleep_until, timeout},
};

use super::{ProbeSettings, held_clients::HeldClients, liveness::liveness_check, publisher::ProbeMessage};
use crate::{
    backend::{
        Backend, ConnectError, ConnectFailure, ConnectRequest, EndpointHandle, ProbeLogin, QueryError,
        Questions, query_state,
    },
    blame::{Blame, Chain},
    telemetry::labels::Outcome as CountedOutcome,
    topology::{Observation, ProbeOutcome},
    wire::{self, ProtocolVersion, StartupMessage, tag},
};

/// Probes an endpoint.
pub(super) struct Prober {
    id: u64,
    endpoint: EndpointHandle,
    settings: ProbeSettings,
    inbox: mpsc::WeakSender<ProbeMessage>,
    wake: Arc<Notify>,
    /// Clients on hold; `None` if the endpoint is not declared primary.
    held: Option<Arc<HeldClients>>,
    kept: Option<KeptConnection>,
    questions: Questions,
    failures: u32,
}

/// A connection that is asked again.
struct KeptConnection {
    backend: Backend,
    /// Time of the next probe with a new connection.
    login_due: Instant,
    /// Reason of the last failed login attempt.
    no_login: Option<Arc<str>>,
}

/// How long a connection is asked again: then a login has to prove that logins work, and a balancer may show another
/// node.
const RELOGIN_INTERVAL: Duration = Duration::from_secs(30);

/// Interval of logins without credentials: each may run the token command.
const CREDENTIALS_RETRY_INTERVAL: Duration = Duration::from_secs(10);

/// Interval of liveness checks: each opens a connection and writes a line to the server's log.
const LIVENESS_CHECK_INTERVAL: Duration = Duration::from_secs(10);

/// Interval of attempts while clients are on hold.
const HELD_INTERVAL: Duration = Duration::from_millis(250);

/// While clients are on hold, an attempt without an answer is joined by another after this time: the path to a new
/// server at the address may work although packets of the attempt were lost.
const SILENT_ATTEMPT: Duration = Duration::from_secs(1);

/// Time after which a probe without an answer is late. Reads over their deadline leave the endpoint then, long before the
/// probe fails.
const LATE_PROBE: Duration = Duration::from_millis(500);

/// Minimum interval of probes, for any amount of evidence.
const MIN_PROBE_INTERVAL: Duration = Duration::from_millis(200);

/// Maximum factor of the interval while probes fail.
const MAX_BACKOFF_FACTOR: u32 = 5;

/// How long a farewell may take.
const TERMINATE_TIMEOUT: Duration = Duration::from_millis(100);

// === impl Prober ===

impl Prober {
    pub(super) const fn new(
        id: u64,
        endpoint: EndpointHandle,
        settings: ProbeSettings,
        inbox: mpsc::WeakSender<ProbeMessage>,
        wake: Arc<Notify>,
        held: Option<Arc<HeldClients>>,
    ) -> Self {
        Self {
            id,
            endpoint,
            settings,
            inbox,
            wake,
            held,
            kept: None,
            questions: Questions::Replay,
            failures: 0,
        }
    }

    /// Probes until the publisher has ended.
    pub(super) async fn run(mut self) {
        loop {
            let began = Instant::now();
            let report = self.late_report(began);
            let limited = timeout(self.settings.timeout, self.probe_once());
            let (asked_at, outcome) = match report_if_late(limited, report).await {
                Ok(seen) => seen,
                Err(_elapsed) => {
                    // The previous connection is no longer needed.
                    self.kept = None;
                    let limit = self.settings.timeout;
                    (began, ProbeOutcome::Failed(format!("no answer to the probe within {limit:?}").into()))
                }
            };
            let ended_at = Instant::now();
            let failed = matches!(
                outcome,
                ProbeOutcome::Failed(_)
                    | ProbeOutcome::Refused(_)
                    | ProbeOutcome::Unasked(_)
                    | ProbeOutcome::NoCredentials { answer: None, .. }
            );
            self.failures = if failed { self.failures.saturating_add(1) } else { 0 };
            let counted = if failed { CountedOutcome::Error } else { CountedOutcome::Ok };
            self.endpoint.metrics().record_probe(counted, ended_at - began, SystemTime::now());
            let endpoint = self.endpoint.name().clone();
            let observation = Observation { endpoint, asked_at, ended_at, outcome };
            let Some(inbox) = self.inbox.upgrade() else { return };
            if inbox.send(ProbeMessage::Observed { prober: self.id, observation }).await.is_err() {
                return;
            }
            drop(inbox);
            self.wait_for_next(began).await;
        }
    }

    /// Reports that the probe which began then is late.
    fn late_report(&self, began: Instant) -> impl Future<Output = ()> + use<> {
        let (prober, endpoint, inbox) = (self.id, self.endpoint.name().clone(), self.inbox.clone());
        async move {
            let observation = Observation {
                endpoint,
                asked_at: began,
                ended_at: Instant::now(),
                outcome: ProbeOutcome::Late,
            };
            if let Some(inbox) = inbox.upgrade() {
                inbox.send(ProbeMessage::Observed { prober, observation }).await.ok();
            }
        }
    }

    /// Waits for the next probe: the scheduled time, or evidence. Evidence requires a new login, not only a working
    /// connection.
    async fn wait_for_next(&mut self, began: Instant) {
        sleep(MIN_PROBE_INTERVAL).await;
        let usual = match (&self.endpoint.settings().probe_login, self.failures) {
            (None, 0) => self.settings.interval.max(LIVENESS_CHECK_INTERVAL),
            _ => self.settings.interval,
        };
        // A failing endpoint is probed at the usual interval until the endpoint counts as down.
        let backoff =
            self.failures.saturating_sub(self.settings.failures).saturating_add(1).min(MAX_BACKOFF_FACTOR);
        let pause =
            (usual * backoff).mul_f64(0.9 + 0.2 * random_fraction()).saturating_sub(MIN_PROBE_INTERVAL);
        tokio::select! {
            () = sleep(pause) => {}
            () = self.wake.notified() => {
                if let Some(kept) = &mut self.kept {
                    kept.login_due = Instant::now();
                }
            }
            () = wait_for_held(self.held.as_deref()) => {
                sleep_until((began + HELD_INTERVAL).into()).await;
                // Another server may have taken over the address.
                if let Some(kept) = &mut self.kept {
                    kept.login_due = Instant::now();
                }
            }
        }
    }

    /// A single probe: result, and time of the query.
    async fn probe_once(&mut self) -> (Instant, ProbeOutcome) {
        let endpoint = self.endpoint.clone();
        match &endpoint.settings().probe_login {
            Some(login) => self.query_server(login).await,
            None => (Instant::now(), self.check_liveness().await),
        }
    }

    async fn query_server(&mut self, login: &ProbeLogin) -> (Instant, ProbeOutcome) {
        if self.kept.as_ref().is_some_and(|kept| Instant::now() < kept.login_due)
            && let Some(seen) = self.ask_kept().await
        {
            return seen;
        }
        // Half of the timeout is left for the server, however long the token command runs.
        let token_wait = Some(self.settings.timeout / 2);
        let request = ConnectRequest { token_wait, ..connect_request(login) };
        let endpoint = self.endpoint.clone();
        let connecting = self.race(|| endpoint.connect_for_probe(request.clone())).await;
        let asked_at = Instant::now();
        let mut backend = match connecting {
            Ok(backend) => backend,
            Err(error) if is_saturation(&error) => return (asked_at, ProbeOutcome::Alive),
            Err(error) if error.blame() == Blame::Credentials => return self.without_login(&error).await,
            Err(error) => return (asked_at, not_connected(&error)),
        };
        if let Some(old) = self.kept.take() {
            send_terminate(old.backend).await;
        }
        match self.ask(&mut backend).await {
            Ok(answer) => {
                self.kept =
                    Some(KeptConnection { backend, login_due: asked_at + RELOGIN_INTERVAL, no_login: None });
                (asked_at, ProbeOutcome::Answered(answer))
            }
            Err(error) => (asked_at, failed_outcome(&error)),
        }
    }

    /// Queries the kept connection; `None` without a connection or after a failure. A failure proves little, since the
    /// server may have restarted long ago: a new connection decides.
    async fn ask_kept(&mut self) -> Option<(Instant, ProbeOutcome)> {
        let mut kept = self.kept.take()?;
        let asked_at = Instant::now();
        let held = self.held.clone();
        let answer = tokio::select! {
            answer = self.ask(&mut kept.backend) => answer.ok()?,
            () = wait_for_silence(held.as_deref()) => return None,
        };
        let outcome = match &kept.no_login {
            None => ProbeOutcome::Answered(answer),
            Some(reason) => ProbeOutcome::NoCredentials { answer: Some(answer), reason: Arc::clone(reason) },
        };
        self.kept = Some(kept);
        Some((asked_at, outcome))
    }

    /// Probes without a new login, since `error` concerns Gatekeeper's credentials: over the kept connection, or,
    /// without any token, by a liveness check.
    async fn without_login(&mut self, error: &ConnectError) -> (Instant, ProbeOutcome) {
        let reason: Arc<str> = Chain(error).to_string().into();
        if let Some(kept) = &mut self.kept {
            if kept.no_login.is_none() {
                tracing::warn!(
                    endpoint = %self.endpoint.name(), error = %reason,
                    "probe has no credentials for a new login; its connection stays in use"
                );
            }
            kept.login_due = Instant::now() + CREDENTIALS_RETRY_INTERVAL;
            kept.no_login = Some(Arc::clone(&reason));
        }
        if let Some(seen) = self.ask_kept().await {
            return seen;
        }
        let asked_at = Instant::now();
        if !matches!(error.failure(), ConnectFailure::Token(_)) {
            return (asked_at, failed_login(error));
        }
        match self.check_liveness().await {
            ProbeOutcome::Alive => (asked_at, ProbeOutcome::NoCredentials { answer: None, reason }),
            outcome => (asked_at, outcome),
        }
    }

    /// Asks, and asks for less from then on when the server takes offence.
    async fn ask(&mut self, backend: &mut Backend) -> Result<crate::topology::ProbeAnswer, QueryError> {
        loop {
            let error = match query_state(&mut backend.stream, self.questions).await {
                Err(error) if error.is_about_the_question() => error,
                answer => return answer,
            };
            let Some(fewer) = self.questions.fewer() else { return Err(error) };
            let lost =
                if fewer == Questions::Role { "WAL positions stay" } else { "a pause of replay stays" };
            tracing::info!(
                endpoint = %self.endpoint.name(), error = %error,
                "probe lacks privileges: {lost} unknown"
            );
            self.questions = fewer;
        }
    }

    async fn check_liveness(&self) -> ProbeOutcome {
        let attempt = || async {
            let mut dialed = self.endpoint.dial_for_probe().await.map_err(|error| not_connected(&error))?;
            liveness_check(&mut dialed.stream).await.map_err(|error| failed_outcome(&error))
        };
        self.race(attempt).await.map_or_else(|outcome| outcome, |()| ProbeOutcome::Alive)
    }

    /// Runs attempts until one succeeds or the last one fails. While clients are on hold, an attempt without a result is
    /// joined by another.
    async fn race<T, E, F>(&self, attempt: impl Fn() -> F) -> Result<T, E>
    where
        F: Future<Output = Result<T, E>>,
    {
        let mut attempts = FuturesUnordered::new();
        attempts.push(attempt());
        loop {
            tokio::select! {
                Some(result) = attempts.next() => {
                    if result.is_ok() || attempts.is_empty() {
                        return result;
                    }
                }
                () = wait_for_silence(self.held.as_deref()) => attempts.push(attempt()),
            }
        }
    }
}

/// Output of `probing`. A late probe awaits `report` first.
async fn report_if_late<F: Future>(probing: F, report: impl Future<Output = ()>) -> F::Output {
    let mut probing = pin!(probing);
    tokio::select! {
        biased;
        output = &mut probing => return output,
        () = sleep(LATE_PROBE) => report.await,
    }
    probing.await
}

/// Waits until clients are on hold.
async fn wait_for_held(held: Option<&HeldClients>) {
    match held {
        Some(held) => held.wait_for_any().await,
        None => pending().await,
    }
}

/// Waits until an attempt counts as unanswered: for [`SILENT_ATTEMPT`], and until clients are on hold.
async fn wait_for_silence(held: Option<&HeldClients>) {
    sleep(SILENT_ATTEMPT).await;
    wait_for_held(held).await;
}

/// Login of the probe.
pub(crate) fn connect_request(login: &ProbeLogin) -> ConnectRequest {
    let mut startup = StartupMessage::new(ProtocolVersion::V3_0);
    startup.set("user", login.user.as_str());
    startup.set("database", login.database.as_str());
    startup.set("application_name", "gatekeeper probe");
    startup.set("client_encoding", "UTF8");
    ConnectRequest { user: login.user.clone(), startup, token_wait: None }
}

/// A server without free connections is busy, not down.
fn is_saturation(error: &ConnectError) -> bool {
    let sqlstate = error.refused().and_then(|refused| refused.sqlstate());
    sqlstate.is_some_and(|state| state.class() == "53")
}

fn not_connected(error: &ConnectError) -> ProbeOutcome {
    match error.blame() {
        Blame::Us => ProbeOutcome::Unasked(Chain(error).to_string().into()),
        _ => failed_login(error),
    }
}

fn failed_login(error: &ConnectError) -> ProbeOutcome {
    match error.refused() {
        Some(_) => ProbeOutcome::Refused(Chain(error).to_string().into()),
        None => failed_outcome(error),
    }
}

fn failed_outcome(error: &(dyn std::error::Error + 'static)) -> ProbeOutcome {
    ProbeOutcome::Failed(Chain(error).to_string().into())
}

/// Sends Terminate, so that the server logs no lost connection.
pub(super) async fn send_terminate(mut backend: Backend) {
    let mut terminate = Vec::new();
    wire::write_frame(&mut terminate, tag::frontend::TERMINATE, |_| {});
    let leave = async {
        backend.stream.write_all(&terminate).await?;
        backend.stream.shutdown().await
    };
    timeout(TERMINATE_TIMEOUT, leave).await.ok();
}

/// In 0..1.
fn random_fraction() -> f64 {
    let mut bytes = [0; 4];
    // Jitter works without randomness; no other code depends on the value.
    _ = aws_lc_rs::rand::fill(&mut bytes);
    f64::from(u32::from_le_bytes(bytes)) / (f64::from(u32::MAX) + 1.0)
}
