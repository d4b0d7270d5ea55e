//! Reports events outside sessions to log, metrics and audit log: mints, topology, files.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use crate::{
    audit::{
        Audit, Record,
        record::{self, TopologyChange},
    },
    backend::EndpointHandle,
    blame::Chain,
    credentials::Mint,
    events::{EventKind, Events, FailoverChange},
    files::Reloaded,
    frontend::ListenerContext,
    names::EndpointName,
    pool::{BackendEvent, BackendHandle, PoolKey},
    session::Fate,
    telemetry::{
        EndpointMetrics, ProgramMetrics,
        labels::{Certificate, Outcome},
    },
    tls::CertificateUse,
    topology::{Endpoint, SnapshotChange, TopologySnapshot},
    wire::BackendKey,
};

/// A pool's backend was opened or closed.
pub(super) fn report_pooled_backend(
    target: &PoolKey,
    backend: &BackendHandle,
    event: BackendEvent,
    audit: &Audit,
) {
    let backend_record = |duration, reason| {
        Box::new(record::BackendRecord {
            server: record::ServerRecord {
                endpoint: Arc::clone(backend.endpoint().endpoint()),
                backend_pid: backend.server_key().map(BackendKey::pid),
            },
            session: None,
            user: target.user.clone(),
            duration,
            reason,
        })
    };
    audit.submit_now(match event {
        BackendEvent::Opened(took) => Record::BackendOpened(backend_record(took, None)),
        BackendEvent::Closed(reason) => {
            let lived = backend.opened().elapsed().unwrap_or_default();
            Record::BackendClosed(backend_record(lived, Some(reason.as_str())))
        }
    });
}

/// A mint ended.
pub(super) fn report_mint(
    mint: &Mint,
    endpoint: &Arc<Endpoint>,
    metrics: &EndpointMetrics,
    audit: &Audit,
    events: &Events,
) {
    let mut mint_record = record::Mint {
        endpoint: Arc::clone(endpoint),
        user: Some(mint.user.clone()),
        duration: mint.took,
        error: None,
    };
    match &mint.result {
        Ok(expires_at) => {
            metrics.token_minted(mint.took, SystemTime::from(*expires_at));
            tracing::debug!(endpoint = %endpoint.name, user = %mint.user, took = ?mint.took, "token minted");
            audit.submit_now(Record::TokenMinted(Box::new(mint_record)));
        }
        Err(error) => {
            metrics.token_failed(mint.took);
            tracing::error!(
                endpoint = %endpoint.name,
                user = %mint.user,
                error = %Chain(error),
                remedy = error.remedy(),
                "{}",
                error.headline()
            );
            events.record_event(EventKind::TokenFailed {
                endpoint: endpoint.name.clone(),
                user: mint.user.clone(),
                error: Chain(error).to_string(),
            });
            mint_record.error = Some(Chain(error).to_string().into());
            audit.submit_now(Record::TokenFailed(Box::new(mint_record)));
        }
    }
}

/// The topology changed. The probe has logged and counted it.
pub(super) fn topology_changed(
    change: &SnapshotChange,
    snapshot: &TopologySnapshot,
    audit: &Audit,
    events: &Events,
) {
    let failovers = events.topology_changed(change, snapshot);
    let endpoint =
        change.endpoint().and_then(|name| snapshot.get(name)).map(|status| Arc::clone(&status.endpoint));
    audit.submit_now(Record::TopologyChanged(Box::new(TopologyChange {
        endpoint,
        what: change.kind(),
        from: change.from().map(Into::into),
        to: change.to().map(Into::into),
    })));
    for failover in failovers {
        audit_failover(&failover, snapshot, audit);
    }
}

fn audit_failover(change: &FailoverChange, snapshot: &TopologySnapshot, audit: &Audit) {
    let status = change.writer.as_ref().and_then(|name| snapshot.get(name));
    let record = Box::new(record::FailoverRecord {
        endpoint: status.map(|status| Arc::clone(&status.endpoint)),
        duration: change.duration.map(|duration| Duration::try_from(duration).unwrap_or_default()),
        rolled_back: change.fates.of(Fate::RolledBack),
        unknown: change.fates.of(Fate::Unknown),
        committed: change.fates.of(Fate::Committed),
        not_started: change.fates.of(Fate::NotStarted),
        reads_interrupted: change.fates.of(Fate::ReadInterrupted),
        sessions_lost: change.fates.of(Fate::SessionLost),
    });
    let writer = change.writer.as_ref().map(EndpointName::as_str);
    if let Some(duration) = change.duration {
        tracing::info!(writer, seconds = duration.as_secs_f64(), lost = %change.fates, "failover ended");
        audit.submit_now(Record::FailoverEnded(record));
    } else {
        tracing::warn!(writer, lost = %change.fates, "failover began");
        audit.submit_now(Record::FailoverBegan(record));
    }
}

/// Changed files were reloaded.
pub(super) fn file_reloaded(reloaded: &Reloaded, metrics: &ProgramMetrics, events: &Events) {
    let what = reloaded.what.clone();
    match &reloaded.result {
        Ok(_) => {
            metrics.file_reloaded(Outcome::Ok);
            events.record_event(EventKind::FilesReloaded { what });
            tracing::info!(what = reloaded.what, "changed files reloaded");
        }
        Err(error) => {
            metrics.file_reloaded(Outcome::Error);
            events.record_event(EventKind::FilesUnusable { what, error: Chain(&**error).to_string() });
            tracing::error!(what = reloaded.what, error = %Chain(&**error), "changed files are invalid; the previous ones stay in use");
        }
    }
}

/// Updates the expiry metrics of the certificates in use.
pub(super) fn update_certificate_metrics<'a>(
    endpoints: impl Iterator<Item = &'a EndpointHandle>,
    listeners: impl Iterator<Item = Arc<ListenerContext>>,
) {
    for endpoint in endpoints {
        let facts = endpoint.tls().certificates();
        for (label, usage) in [
            (Certificate::Ca, CertificateUse::Ca),
            (Certificate::Client, CertificateUse::Identity),
            (Certificate::Server, CertificateUse::Peer),
        ] {
            let earliest =
                facts.iter().filter(|facts| facts.usage == usage).map(|facts| facts.not_after).min();
            endpoint.metrics().certificate_ends(label, earliest.map(SystemTime::from));
        }
    }
    for listener in listeners {
        let facts = listener.tls.as_ref().map(crate::tls::ServerTls::certificates).unwrap_or_default();
        let own = facts.iter().filter(|facts| facts.usage == CertificateUse::Identity);
        if let Some(earliest) = own.map(|facts| facts.not_after).min() {
            listener.metrics.certificate_ends(SystemTime::from(earliest));
        }
    }
}
