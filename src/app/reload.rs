//! Reloads the configuration: read, check, build, then swap. A mistake changes nothing.

use std::time::SystemTime;

use tokio::sync::oneshot;

use super::{
    program::{Program, RunningListener},
    service_manager,
};
use crate::{
    admin::{ReloadFailure, ReloadReport, SettingChange},
    audit::{Record, record},
    backend::EndpointHandle,
    blame::Chain,
    config::Config,
    events::EventKind,
    files::Reload,
    frontend::{Bind, Endpoints, Listener, ListenerContext, classifier_options},
    names::ListenerName,
    telemetry::labels::Outcome,
};

type Answer = oneshot::Sender<Result<ReloadReport, ReloadFailure>>;

impl Program {
    /// Reloads, and reports the result to log, metrics, audit log and requester.
    pub(super) async fn on_reload(&mut self, trigger: &'static str, answer: Option<Answer>) {
        service_manager::report_reload();
        let done = self.reload().await;
        let outcome = if done.is_ok() { Outcome::Ok } else { Outcome::Error };
        self.builder.metrics.program().record_reload(outcome, SystemTime::now());
        let error = match &done {
            Ok(report) => {
                let changed = report.lines().collect();
                self.services.observers.events.record_event(EventKind::Reloaded { trigger, changed });
                tracing::info!(trigger, changed = ?report.changed, needs_restart = ?report.needs_restart, "configuration reloaded");
                for SettingChange { key, from, to, needs_restart } in &report.settings {
                    tracing::info!(trigger, key, from, to, needs_restart, "setting changed");
                }
                for warning in &report.warnings {
                    tracing::warn!(trigger, "{warning}");
                }
                None
            }
            Err(failure) => {
                let error = failure.detail_lines().into_iter().next().unwrap_or_else(|| failure.to_string());
                self.services.observers.events.record_event(EventKind::ReloadFailed { trigger, error });
                for line in failure.detail_lines() {
                    tracing::error!(trigger, "{line}");
                }
                tracing::error!(trigger, error = %failure, "configuration reload failed; nothing changed");
                Some(failure.to_string().into())
            }
        };
        let settings = done.iter().flat_map(|report| &report.settings).map(audited_change).collect();
        let reload = record::Reload { trigger, error, settings };
        self.services.observers.audit.submit_now(Record::ConfigReloaded(Box::new(reload)));
        service_manager::report_ready();
        if let Some(answer) = answer {
            answer.send(done).ok();
        }
    }

    async fn reload(&mut self) -> Result<ReloadReport, ReloadFailure> {
        let loaded = self.source.load().map_err(|problems| {
            ReloadFailure::Config(problems.0.iter().map(ToString::to_string).collect())
        })?;
        let mut report = ReloadReport::default();
        let built = self.build_again(&loaded.config, &mut report)?;
        report.warnings.extend(loaded.warnings.iter().map(ToString::to_string));
        let filter = loaded.config.log.filter.clone();
        // No step below fails.
        report.settings = self.configured.publish(&loaded);
        let at_start = report.settings.iter().filter(|change| change.needs_restart);
        let sentences = at_start.map(|change| format!("`{}` takes effect at the next start", change.key));
        report.needs_restart = sentences.collect();
        self.swap(loaded.config, built, &mut report).await;
        for reloaded in self.builder.files.reload() {
            match reloaded.result {
                Ok(Reload::Unchanged) => {}
                Ok(Reload::Swapped) => report.changed.push(format!("{}: read again", reloaded.what)),
                Err(error) => report.warnings.push(format!("{}: {}", reloaded.what, Chain(&*error))),
            }
        }
        if filter != self.config.log.filter {
            match self.log.replace(&filter) {
                Ok(()) => {
                    self.config.log.filter = filter;
                    self.log_override = None;
                }
                Err(error) => report.warnings.push(error.to_string()),
            }
        }
        if let Err(error) = self.services.observers.audit.reopen().await {
            report.warnings.push(format!("the audit log could not be opened again: {error}"));
        }
        Ok(report)
    }

    /// Builds all new components without activating them.
    fn build_again(&self, config: &Config, report: &mut ReloadReport) -> Result<Built, ReloadFailure> {
        let mut mistakes = Vec::new();
        let handles = self.build_endpoints(config, report, &mut mistakes);
        let endpoints = Endpoints::new(handles.iter().cloned());
        let listeners = self.build_listeners(config, &endpoints, report, &mut mistakes);
        if mistakes.is_empty() {
            Ok(Built { handles, listeners })
        } else {
            Err(ReloadFailure::Unusable(mistakes))
        }
    }

    /// Handles of the endpoints of `config`: the current handle where nothing changed.
    fn build_endpoints(
        &self,
        config: &Config,
        report: &mut ReloadReport,
        mistakes: &mut Vec<String>,
    ) -> Vec<EndpointHandle> {
        let current = self.services.routing.endpoints.load();
        let mut handles = Vec::new();
        for settings in &config.endpoints {
            let name = &settings.endpoint.name;
            match current.get(name) {
                Some(handle) if handle.settings() == settings => handles.push(handle.clone()),
                before => match self.builder.endpoint(settings, before) {
                    Ok(handle) => {
                        let word = if before.is_some() { "changed" } else { "added" };
                        report.changed.push(format!("endpoint `{name}` {word}"));
                        handles.push(handle);
                    }
                    Err(error) => mistakes.push(Chain(&error).to_string()),
                },
            }
        }
        for gone in current
            .iter()
            .filter(|handle| config.endpoints.iter().all(|new| new.endpoint.name != *handle.name()))
        {
            report.changed.push(format!("endpoint `{}` removed", gone.name()));
        }
        handles
    }

    /// Contexts of the listeners of `config`, with a bound socket for each new address.
    fn build_listeners(
        &self,
        config: &Config,
        endpoints: &Endpoints,
        report: &mut ReloadReport,
        mistakes: &mut Vec<String>,
    ) -> Vec<BuiltListener> {
        let mut listeners = Vec::new();
        for settings in &config.listeners {
            let name = &settings.name;
            // The address identifies a socket: listeners may be renamed or exchange addresses.
            let before = self.listeners.get(&settings.bind).map(|listener| listener.context.reader().load());
            if before.as_ref().is_none_or(|before| before.settings != *settings) {
                let known = self.config.listeners.iter().any(|listener| listener.name == *name);
                report.changed.push(format!("listener `{name}` {}", if known { "changed" } else { "added" }));
            }
            let socket = match &before {
                Some(_) => None,
                None => match Listener::bind(&settings.bind, settings.socket_mode) {
                    Ok(socket) => Some(socket),
                    Err(error) => {
                        mistakes
                            .push(format!("listener `{name}` cannot listen on {}: {error}", settings.bind));
                        continue;
                    }
                },
            };
            match self.builder.listener(settings, endpoints, before.as_deref()) {
                Ok(context) => listeners.push((socket, context)),
                Err(error) => mistakes.push(Chain(&error).to_string()),
            }
        }
        for gone in self.names_gone(config) {
            report.changed.push(format!("listener `{gone}` removed"));
        }
        listeners
    }

    /// Listeners that are missing in `config`.
    fn names_gone<'a>(&'a self, config: &'a Config) -> impl Iterator<Item = &'a ListenerName> {
        let names = self.config.listeners.iter().map(|listener| &listener.name);
        names.filter(|name| config.listeners.iter().all(|new| new.name != **name))
    }

    async fn swap(&mut self, config: Config, built: Built, report: &mut ReloadReport) {
        self.swap_endpoints(&built.handles);
        self.probe.reconfigure(built.handles, config.probe.clone()).await;
        for name in self.names_gone(&config) {
            self.builder.metrics.listener(name).removed();
        }
        self.listeners.retain(|bind, _| config.listeners.iter().any(|listener| listener.bind == *bind));
        for listener in built.listeners {
            self.swap_listener(listener, report);
        }
        self.contexts.publish(self.listeners.values().map(|listener| listener.context.reader()).collect());
        self.keep_unchangeable_settings(config);
    }

    /// Publishes new endpoints; their pools are taken over or withdrawn.
    fn swap_endpoints(&mut self, handles: &[EndpointHandle]) {
        let before = self.services.routing.endpoints.load();
        let taken_over = |handle: &EndpointHandle| {
            handles
                .iter()
                .find(|now| now.name() == handle.name() && now.endpoint().role == handle.endpoint().role)
        };
        for now in before.iter().filter_map(taken_over) {
            self.services.routing.pools.replace(now);
        }
        self.endpoints.publish(Endpoints::new(handles.iter().cloned()));
        for handle in before.iter() {
            if taken_over(handle).is_none() {
                self.services.routing.pools.withdraw(handle.name());
            }
        }
    }

    /// Publishes the context of a listener; starts the listener if its socket is new.
    fn swap_listener(&mut self, (socket, context): BuiltListener, report: &mut ReloadReport) {
        let settings = &context.settings;
        self.services.routing.pools.configure(&settings.name, &settings.pool);
        let split = classifier_options(&settings.route);
        self.services.shared_states.configure(&settings.name, &settings.pool, split.as_ref());
        let bind = settings.bind.clone();
        match (socket, self.listeners.get_mut(&bind)) {
            (None, Some(listener)) => {
                let mode = settings.socket_mode;
                if let Bind::Unix(path) = &bind
                    && listener.context.reader().load().settings.socket_mode != mode
                    && let Err(error) = Listener::set_mode(path, mode)
                {
                    report.warnings.push(format!("the permissions of {bind} could not be changed: {error}"));
                }
                listener.context.publish(context);
            }
            (Some(socket), _) => {
                let worker = self.listeners.len();
                let listener = RunningListener::start(socket, context, &self.services, &self.workers, worker);
                self.listeners.insert(bind, listener);
            }
            (None, None) => unreachable!("a listener without a new socket keeps its old one"),
        }
    }

    /// Takes over `config`, except settings that need a restart: each reload compares these with the active ones.
    fn keep_unchangeable_settings(&mut self, config: Config) {
        let unchangeable = (self.config.admin.take(), self.config.audit.take(), self.config.log.clone());
        let (traces, metrics) = (self.config.traces.take(), self.config.metrics.take());
        let workers = self.config.runtime.workers;
        self.config = config;
        (self.config.admin, self.config.audit, self.config.log) = unchangeable;
        self.config.runtime.workers = workers;
        (self.config.traces, self.config.metrics) = (traces, metrics);
    }
}

fn audited_change(change: &SettingChange) -> record::ChangedSetting {
    let SettingChange { key, from, to, needs_restart } = change.clone();
    record::ChangedSetting { key, from, to, needs_restart }
}

/// A listener's context, with its socket if new.
type BuiltListener = (Option<Listener>, ListenerContext);

/// Components built by a reload and not yet active.
struct Built {
    handles: Vec<EndpointHandle>,
    listeners: Vec<BuiltListener>,
}
