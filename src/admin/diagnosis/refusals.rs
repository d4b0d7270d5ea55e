//! Statements and clients that were refused, statements that failed, and listeners that are nearly full.

use std::collections::BTreeMap;

use super::{
    fault::{Fault, FaultKind},
    words::describe_count,
};
use crate::{
    admin::{moment::Clock, traffic::EndpointTraffic},
    events::{RecentRefusals, RefusalKind},
};

/// Failed logins in a minute that are no storm.
const MAX_FAILED_LOGINS_PER_MINUTE: u64 = 10;
/// Part of the statements that may fail, from 0 to 1, as in the alert.
const MAX_ERROR_RATIO: f64 = 0.05;
/// Fewer failed statements in a minute are no ratio.
const MIN_FAILED_STATEMENTS: u64 = 5;
/// Part of the maximum number of clients that may be in use, from 0 to 1, as in the alert.
const MAX_CLIENTS_RATIO: f64 = 0.9;

/// One fault for each listener and kind of refusals.
pub(super) fn diagnose_refusals(refusals: Vec<RecentRefusals>, clock: Clock) -> Vec<Fault> {
    let mut groups: BTreeMap<(String, bool), Vec<RecentRefusals>> = BTreeMap::new();
    for refusal in refusals {
        if is_fault(&refusal) {
            let key = (refusal.listener.to_string(), refusal.of == RefusalKind::Client);
            groups.entry(key).or_default().push(refusal);
        }
    }
    let fault = |((listener, of_clients), mut found): ((String, bool), Vec<RecentRefusals>)| {
        found.sort_by_key(|refusal| std::cmp::Reverse(refusal.count));
        let total: u64 = found.iter().map(|refusal| refusal.count).sum();
        let since = found.iter().map(|refusal| refusal.since).min()?;
        let (kind, noun) = match of_clients {
            true => (FaultKind::ClientsRefused, "client"),
            false => (FaultKind::StatementsRefused, "statement"),
        };
        let reasons: Vec<_> = found
            .iter()
            .map(|refusal| format!("{} ({})", refusal.reason.replace('_', " "), refusal.count))
            .collect();
        let text = format!(
            "Listener {listener} refused {} in the last minute: {}.",
            describe_count(total, noun),
            reasons.join(", ")
        );
        let remedy = remedy_of(found.first()?.reason).to_owned();
        Some(Fault::new(kind, text, remedy, Some(clock.since_time(since))).of_listener(listener))
    };
    groups.into_iter().filter_map(fault).collect()
}

/// False for refusals that are the business of single clients.
fn is_fault(refusal: &RecentRefusals) -> bool {
    match (refusal.of, refusal.reason) {
        (RefusalKind::Statement, _) => true,
        (_, "protocol" | "login_timeout" | "shutdown") => false,
        (_, "authentication" | "user_not_listed" | "not_on_guest_list" | "tls_required" | "endpoint") => {
            refusal.count >= MAX_FAILED_LOGINS_PER_MINUTE
        }
        _ => true,
    }
}

fn remedy_of(reason: &str) -> &'static str {
    match reason {
        "pool_timeout" | "pool_overloaded" => {
            "All backends of the pool are in use: end what holds them, or raise `size` in [listener.pool]."
        }
        "no_endpoint" => "No endpoint of the route can serve: see the state of the endpoints.",
        "endpoint" => "The server refuses the login: `gatekeeper doctor` tries it, and shows the remedy.",
        "authentication" | "user_not_listed" | "not_on_guest_list" => {
            "The log names user, address and application: correct the password or the lists, or keep the address away."
        }
        "tls_required" => "Clients must use TLS: sslmode=require or stricter.",
        "max_clients" | "max_clients_per_address" | "max_clients_per_user" | "max_clients_per_database" => {
            "Find out who connects that often (the log names them), or raise the limit in [listener]."
        }
        "no_descriptors" => "Raise the limit on open files of the process: LimitNOFILE, ulimit -n.",
        "audit" => "Make the audit log writable, or free space.",
        _ => "The log names the clients and their errors.",
    }
}

/// One fault for each endpoint at which many statements fail.
pub(super) fn diagnose_errors(endpoints: &[EndpointTraffic]) -> Vec<Fault> {
    let fault = |EndpointTraffic { endpoint, traffic }: &EndpointTraffic| {
        // Refusals are faults of their own.
        let (failed, all) = (traffic.faults.saturating_sub(traffic.refused), traffic.statements);
        let ratio = ratio_of(failed, all);
        (failed >= MIN_FAILED_STATEMENTS && ratio > MAX_ERROR_RATIO).then(|| {
            let text = format!(
                "Endpoint {endpoint}: {failed} of {all} statements failed in the last minute ({:.0} %).",
                ratio * 100.0
            );
            let remedy = "The metric gatekeeper_statement_errors_total tells their SQLSTATE classes; the server's log has \
                          the errors.";
            Fault::new(FaultKind::Errors, text, remedy.to_owned(), None).of_endpoint(endpoint)
        })
    };
    endpoints.iter().filter_map(fault).collect()
}

/// The fault of a listener with `clients` of `limit` clients.
pub(super) fn diagnose_clients(listener: &str, clients: usize, limit: usize) -> Option<Fault> {
    (ratio_of(clients as u64, limit as u64) > MAX_CLIENTS_RATIO).then(|| {
        let text = format!("Listener {listener} has {clients} of at most {limit} clients.");
        let remedy = "Raise `max_clients` of the listener before clients are refused.".to_owned();
        Fault::new(FaultKind::ClientsNearLimit, text, remedy, None).of_listener(listener)
    })
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
fn ratio_of(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}
