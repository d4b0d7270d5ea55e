//! Builds the components of the program from their settings: endpoints and listeners.

use std::sync::Arc;

use super::{principal::warn_of_mismatch, report};
use crate::{
    audit::Audit,
    backend::{EndpointHandle, EndpointSettings},
    credentials::{Login, TokenOrigin},
    events::Events,
    files::Files,
    frontend::{
        Auth, ClientLog, Endpoints, ListenerContext, ListenerSettings, Observers, Users, UsersFileError,
    },
    names::{EndpointName, ListenerName},
    pool::Pools,
    probe::EvidenceSink,
    tasks::{Tasks, Workers},
    telemetry::{
        LogSettings, Metrics,
        traces::{TraceSettings, Tracer},
    },
    tls::{ServerTls, TlsFileError},
};

/// Reason why a component cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A certificate or key file of an endpoint.
    #[error("TLS towards endpoint `{0}`")]
    EndpointTls(EndpointName, #[source] TlsFileError),
    /// A certificate or key file of a listener.
    #[error("TLS of listener `{0}`")]
    ListenerTls(ListenerName, #[source] TlsFileError),
    /// A listener's users.
    #[error("users of listener `{0}`")]
    Users(ListenerName, #[source] UsersFileError),
}

/// Builds endpoints and listeners, at the start and after a reload. Holds what they share.
pub(super) struct ComponentBuilder {
    pub(super) metrics: Metrics,
    pub(super) files: Files,
    /// On the control runtime.
    pub(super) tasks: Tasks,
    pub(super) audit: Audit,
    pub(super) events: Events,
    pub(super) pools: Arc<Pools>,
}

impl ComponentBuilder {
    /// Pools open their backends on `workers`.
    pub(super) fn new(metrics: Metrics, audit: Audit, workers: &Workers) -> Self {
        let pool_audit = audit.clone();
        let pools = Pools::new(
            workers,
            &metrics,
            Box::new(move |target, backend, event| {
                report::report_pooled_backend(target, backend, event, &pool_audit)
            }),
        );
        Self { metrics, files: Files::new(), tasks: Tasks::new(), audit, events: Events::default(), pools }
    }

    /// Receivers of reports; the exporter of traces runs on the control runtime.
    pub(super) fn observers(
        &self,
        traces: Option<&TraceSettings>,
        log: &LogSettings,
        evidence: EvidenceSink,
    ) -> Arc<Observers> {
        // Registered without traces, too: dashboards show 0.
        let spans = self.metrics.traces();
        let traces = traces.map_or_else(Tracer::off, |settings| {
            let (tracer, exporter) = Tracer::new(settings, spans);
            self.tasks.spawn("traces", exporter.run());
            tracer
        });
        Arc::new(Observers {
            audit: self.audit.clone(),
            traces,
            events: self.events.clone(),
            evidence,
            metrics: self.metrics.clone(),
            client_log: ClientLog::new(log.connections),
        })
    }

    /// One handle for each endpoint of the configuration.
    pub(super) fn endpoints(&self, settings: &[EndpointSettings]) -> Result<Vec<EndpointHandle>, BuildError> {
        settings.iter().map(|settings| self.endpoint(settings, None)).collect()
    }

    /// One context for each listener of the configuration.
    pub(super) fn listeners(
        &self,
        settings: &[ListenerSettings],
        endpoints: &Endpoints,
    ) -> Result<Vec<ListenerContext>, BuildError> {
        settings.iter().map(|settings| self.listener(settings, endpoints, None)).collect()
    }

    /// Builds an endpoint's handle, starts the renewal of its tokens and watches its files. Takes over the tokens of
    /// `before`.
    pub(super) fn endpoint(
        &self,
        settings: &EndpointSettings,
        before: Option<&EndpointHandle>,
    ) -> Result<EndpointHandle, BuildError> {
        let endpoint = Arc::clone(&settings.endpoint);
        let metrics = self.metrics.endpoint(&endpoint);
        let (handle, keeper) = EndpointHandle::replacing(before, settings.clone(), Arc::clone(&metrics))
            .map_err(|error| BuildError::EndpointTls(endpoint.name.clone(), error))?;
        if let Some(keeper) = keeper {
            let (audit, events) = (self.audit.clone(), self.events.clone());
            self.tasks.spawn("token keeper", async move {
                keeper.run(|mint| report::report_mint(&mint, &endpoint, &metrics, &audit, &events)).await;
            });
        }
        if let (Login::Token(login), Some(source)) = (&settings.login, handle.tokens())
            && matches!(login.origin, TokenOrigin::Google(_))
        {
            let warning =
                warn_of_mismatch(settings.endpoint.name.clone(), source.clone(), login.users.clone());
            self.tasks.spawn("token principal", warning);
        }
        handle.tls().watch(&self.files);
        // Sessions keep leased backends; old backends serve until new ones are made.
        let (mut changes, pools) = (handle.tls().changes(), Arc::clone(&self.pools));
        let whose = handle.name().clone();
        self.tasks.spawn("pooled TLS", async move {
            while changes.changed().await.is_ok() {
                pools.replace_backends(&whose);
            }
        });
        Ok(handle)
    }

    /// Builds a listener's context; `before` is the context before a reload.
    pub(super) fn listener(
        &self,
        settings: &ListenerSettings,
        endpoints: &Endpoints,
        before: Option<&ListenerContext>,
    ) -> Result<ListenerContext, BuildError> {
        let tls = settings.tls.as_ref().map(ServerTls::new).transpose();
        let tls = tls.map_err(|error| BuildError::ListenerTls(settings.name.clone(), error))?;
        if let Some(tls) = &tls {
            tls.watch(&self.files);
        }
        let users = match &settings.auth {
            Auth::Scram { users_file } => {
                let users = Users::open(users_file)
                    .map_err(|error| BuildError::Users(settings.name.clone(), error))?;
                let users = Arc::new(users);
                self.files.watch(&users);
                Some(users)
            }
            Auth::Passthrough | Auth::Trust | Auth::Certificate { .. } | Auth::Password { .. } => None,
        };
        Ok(ListenerContext::new(settings.clone(), tls, users, &self.metrics, endpoints, before))
    }
}
