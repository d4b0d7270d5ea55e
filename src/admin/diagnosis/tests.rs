use std::time::{Duration, SystemTime};

use jiff::{SignedDuration, Timestamp};

use super::{
    credentials::{diagnose_certificates, diagnose_tokens},
    fault::{Fault, FaultKind},
    program::{diagnose_audit, diagnose_descriptors, diagnose_files, diagnose_panics, diagnose_reload},
    refusals::{diagnose_clients, diagnose_errors, diagnose_refusals},
    replication::diagnose_standby,
    transactions::{OpenTransaction, diagnose_transactions},
    waits::{LeaseHolder, PoolWaits},
};
use crate::{
    admin::{moment::Clock, traffic::EndpointTraffic},
    audit::AuditCondition,
    credentials::{KeptToken, TokenError, TokenStatus},
    events::{FailedReload, RecentRefusals, RefusalKind},
    files::UnusableFiles,
    frontend::TransactionTimes,
    pool::PoolPhase,
    telemetry::FileDescriptors,
    tls::{CertificateFacts, CertificateUse},
    topology::{Endpoint, EndpointStatus, Health, ObservedRole, ReplayState, ReplicationLag},
};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Kind, severity and text of each fault.
fn shown(faults: impl IntoIterator<Item = Fault>) -> Vec<String> {
    let shown = |fault: Fault| {
        assert!(fault.remedy.ends_with('.') && fault.remedy.starts_with(|first: char| !first.is_lowercase()));
        assert!(fault.text.ends_with('.'), "{}", fault.text);
        format!("{} {}: {}", fault.severity, fault.kind, fault.text)
    };
    faults.into_iter().map(shown).collect()
}

fn waits(waiting: usize, longest_wait: Duration) -> PoolWaits {
    PoolWaits {
        listener: "app".to_owned(),
        endpoint: "primary".to_owned(),
        pool: "appdb/svc@primary".to_owned(),
        phase: PoolPhase::Open,
        size: 8,
        leased: 8,
        waiting,
        longest_wait,
        login_error: None,
        holder: Some(LeaseHolder {
            session: 12,
            described: "session 12 (svc, leaky-job), idle in transaction for 31 s".to_owned(),
        }),
    }
}

#[test]
fn a_long_wait_for_a_backend_names_the_holder() {
    let clock = Clock::now();
    assert!(waits(100, Duration::from_millis(1900)).diagnose(clock).is_none(), "a burst");
    let fault = waits(6, seconds(9)).diagnose(clock).unwrap();
    assert_eq!((fault.session, fault.since.as_ref().unwrap().age_seconds()), (Some(12), 9.0));
    assert!(fault.remedy.contains("DELETE /v1/sessions/12"), "{}", fault.remedy);
    assert_eq!(
        shown([fault]),
        [
            "alarm pool_waits: Pool appdb/svc@primary of listener app: 6 sessions waiting, longest 9 s; 8 of 8 backends in \
          use, the oldest lease by session 12 (svc, leaky-job), idle in transaction for 31 s."
        ]
    );
}

#[test]
fn a_wait_says_why_no_backend_comes() {
    let clock = Clock::now();
    let paused = PoolWaits { phase: PoolPhase::Paused, ..waits(1, seconds(3)) };
    let refused =
        PoolWaits { login_error: Some("role \"svc\" does not exist".into()), ..waits(2, seconds(3)) };
    let unknown = PoolWaits { holder: None, leased: 0, ..waits(2, seconds(3)) };
    let begin = "Pool appdb/svc@primary of listener app:";
    assert_eq!(
        shown([paused, refused, unknown].iter().filter_map(|it| it.diagnose(clock))),
        [
            format!("warning pool_paused: {begin} 1 session waiting, longest 3 s; the pool is paused."),
            format!(
                "alarm pool_waits: {begin} 2 sessions waiting, longest 3 s; logins fail: role \"svc\" does not exist."
            ),
            format!("alarm pool_waits: {begin} 2 sessions waiting, longest 3 s; 0 of 8 backends in use."),
        ]
    );
}

fn open(session: u64, listener: &str, idle_for: Option<u64>, open_for: u64) -> OpenTransaction {
    OpenTransaction {
        session,
        listener: listener.to_owned(),
        described: format!(
            "session {session} (svc, job), idle in transaction for {} s",
            idle_for.unwrap_or(0)
        ),
        times: TransactionTimes { open_for: seconds(open_for), idle_for: idle_for.map(seconds) },
    }
}

#[test]
fn stuck_transactions_are_grouped_by_listener() {
    let clock = Clock::now();
    let harmless = [open(1, "app", Some(9), 9), open(2, "app", None, 299), open(3, "app", Some(1), 200)];
    assert_eq!(shown(diagnose_transactions(harmless, clock)), Vec::<String>::new());
    let stuck = [open(4, "app", Some(31), 40), open(5, "app", Some(12), 12), open(6, "batch", None, 400)];
    let faults = diagnose_transactions(stuck, clock);
    assert_eq!(faults.iter().map(|fault| fault.session).collect::<Vec<_>>(), [Some(4), Some(6)]);
    assert_eq!(
        shown(faults),
        [
            "warning stuck_transaction: Listener app: 2 transactions stuck, first that of session 4 (svc, job), idle in \
             transaction for 31 s; its transaction began 40 s ago.",
            "warning stuck_transaction: Listener batch: 1 transaction stuck, first that of session 6 (svc, job), idle in \
             transaction for 0 s; its transaction began 6 min 40 s ago.",
        ]
    );
}

fn refusal(of: RefusalKind, reason: &'static str, count: u64) -> RecentRefusals {
    let since = Timestamp::now() - SignedDuration::from_secs(200);
    RecentRefusals { listener: "app".parse().unwrap(), of, reason, count, since }
}

#[test]
fn refused_statements_are_an_alarm_from_the_first() {
    let clock = Clock::now();
    let refused = [("no_endpoint", 2), ("pool_timeout", 114)]
        .map(|(why, count)| refusal(RefusalKind::Statement, why, count));
    let faults = diagnose_refusals(refused.into(), clock);
    assert!(faults[0].since.as_ref().unwrap().age_seconds() >= 199.0);
    assert!(faults[0].remedy.contains("`size`"), "the remedy of the most frequent reason");
    assert_eq!(
        shown(faults),
        [
            "alarm statements_refused: Listener app refused 116 statements in the last minute: pool timeout (114), no \
          endpoint (2)."
        ]
    );
}

#[test]
fn single_failed_logins_are_no_fault() {
    let clock = Clock::now();
    let of = |reason, count| diagnose_refusals(vec![refusal(RefusalKind::Client, reason, count)], clock);
    for (reason, count) in [("authentication", 9), ("protocol", 500), ("login_timeout", 500), ("endpoint", 9)]
    {
        assert_eq!(shown(of(reason, count)), Vec::<String>::new());
    }
    assert_eq!(
        shown(of("authentication", 600)),
        [
            "warning clients_refused: Listener app refused 600 clients in the last minute: authentication (600)."
        ]
    );
    assert_eq!(shown(of("max_clients", 1)).len(), 1);
}

#[test]
fn many_errors_of_an_endpoint_are_a_fault() {
    let endpoints = [
        EndpointTraffic::new("primary", 200, 24, 0),
        EndpointTraffic::new("reads", 1000, 50, 0),
        EndpointTraffic::new("refused", 100, 50, 50),
        EndpointTraffic::new("few", 4, 4, 0),
    ];
    assert_eq!(
        shown(diagnose_errors(&endpoints)),
        ["alarm errors: Endpoint primary: 24 of 200 statements failed in the last minute (12 %)."]
    );
}

#[test]
fn a_listener_near_its_limit_is_a_fault() {
    assert!(diagnose_clients("app", 90, 100).is_none());
    assert_eq!(
        shown(diagnose_clients("app", 91, 100)),
        ["warning clients_near_limit: Listener app has 91 of at most 100 clients."]
    );
}

/// A read pool that answers, with `lag` in seconds.
fn standby(lag: u64, is_lower_bound: bool, replay: ReplayState) -> EndpointStatus {
    let endpoint = Endpoint {
        name: "reads".parse().unwrap(),
        cluster: "orders".parse().unwrap(),
        region: None,
        role: "read-pool".parse().unwrap(),
        address: "127.0.0.1:5432".parse().unwrap(),
    };
    let (time, bytes) = (seconds(lag), Some(11_500_000));
    EndpointStatus {
        health: Health::Up,
        observed: Some(ObservedRole::Standby),
        lag: Some(ReplicationLag { bytes, time, is_lower_bound, certain: time }),
        replay,
        ..EndpointStatus::unknown(std::sync::Arc::new(endpoint))
    }
}

#[test]
fn a_standby_far_behind_is_a_fault() {
    let clock = Clock::now();
    let faults = |lag, is_lower_bound, replay| {
        let status = standby(lag, is_lower_bound, replay);
        let down = EndpointStatus { health: Health::Down, ..status.clone() };
        assert!(diagnose_standby(&down, clock).is_none(), "its lag is unknown");
        shown(diagnose_standby(&status, clock))
    };
    assert_eq!(faults(9, false, ReplayState::Replaying), Vec::<String>::new(), "a short lag");
    assert_eq!(
        faults(31, false, ReplayState::Replaying),
        ["warning replication_lag: Endpoint reads is 31 s behind its writer (12 MB of WAL)."]
    );
    assert_eq!(
        faults(36, true, ReplayState::Replaying),
        ["warning replication_lag: Endpoint reads is at least 36 s behind its writer (12 MB of WAL)."]
    );
    assert_eq!(
        faults(12, false, ReplayState::Stalled),
        [
            "alarm replay_stopped: WAL replay of endpoint reads stands still; it is 12 s behind its writer (12 MB of WAL)."
        ]
    );
    assert_eq!(
        faults(0, false, ReplayState::Paused),
        ["alarm replay_stopped: WAL replay of endpoint reads is paused."]
    );
}

fn certificate(usage: CertificateUse, subject: &str, ends: Timestamp) -> CertificateFacts {
    CertificateFacts {
        usage,
        subject: subject.to_owned(),
        issuer: String::new(),
        names: Vec::new(),
        not_before: Timestamp::MIN,
        not_after: ends,
    }
}

#[test]
fn a_certificate_is_a_fault_a_week_before_its_end() {
    let (now, clock): (Timestamp, _) = ("2026-05-01T00:00:00Z".parse().unwrap(), Clock::now());
    let facts =
        |hours| certificate(CertificateUse::Identity, "CN=app", now + SignedDuration::from_hours(hours));
    let faults = |hours| shown(diagnose_certificates("listener app", &[facts(hours)], now, clock));
    assert_eq!(faults(7 * 24 + 1), Vec::<String>::new());
    assert_eq!(
        faults(3 * 24),
        [
            "warning certificate_ends: The certificate of listener app (CN=app) ends in 3 d 0 h, at 2026-05-04T00:00:00Z."
        ]
    );
    assert_eq!(
        faults(-2),
        ["alarm certificate_ended: The certificate of listener app (CN=app) ended 2 h 0 min ago, at \
          2026-04-30T22:00:00Z."]
    );
    let soon = now + SignedDuration::from_hours(1);
    let of_endpoint = [
        certificate(CertificateUse::Ca, "CN=later", soon + SignedDuration::from_hours(9)),
        certificate(CertificateUse::Ca, "CN=root", soon),
        certificate(CertificateUse::Peer, "CN=server", soon),
    ];
    let faults = shown(diagnose_certificates("endpoint primary", &of_endpoint, now, clock));
    assert!(
        faults[0].contains("A CA certificate that endpoint primary trusts (CN=root) ends in"),
        "{faults:?}"
    );
    assert!(
        faults[1].contains("The server's certificate of endpoint primary (CN=server) ends"),
        "{faults:?}"
    );
    assert_eq!(faults.len(), 2, "one for each use: {faults:?}");
}

#[test]
fn a_token_that_is_not_renewed_is_a_fault() {
    let (now, clock) = (Timestamp::now(), Clock::now());
    let status = |kept: &[i64]| TokenStatus {
        mints: 1,
        failures: 3,
        failing: Some(TokenError::NotFound("gcloud".to_owned())),
        failing_since: Some(now - SignedDuration::from_secs(70)),
        kept: kept
            .iter()
            .map(|left| KeptToken {
                user: "svc".parse().unwrap(),
                minted_at: now,
                expires_at: now + SignedDuration::from_secs(*left),
            })
            .collect(),
    };
    let fault = |kept: &[i64]| shown(diagnose_tokens("primary", &status(kept), now, clock));
    assert_eq!(
        [fault(&[]), fault(&[100, 720]), fault(&[-60])].concat(),
        [
            "alarm token_missing: Endpoint primary has no token, and none can be minted: command not found: gcloud.",
            "warning token_not_renewed: The token of endpoint primary is not renewed, the last one ends in 12 min 0 s: \
             command not found: gcloud.",
            "warning token_not_renewed: The token of endpoint primary is not renewed, the last one ended 1 min 0 s ago \
             and is still tried: command not found: gcloud.",
        ]
    );
    let healthy = TokenStatus { failing: None, failing_since: None, ..status(&[-60]) };
    assert!(diagnose_tokens("primary", &healthy, now, clock).is_none());
}

#[test]
fn an_audit_log_in_trouble_is_an_alarm() {
    let (now, clock) = (Timestamp::now(), Clock::now());
    let faults = |condition| shown(diagnose_audit(&condition, now, clock));
    assert_eq!(faults(AuditCondition::default()), Vec::<String>::new());
    let failing = Some((now - SignedDuration::from_secs(20), "No space left on device".to_owned()));
    let blocking = AuditCondition { write_error: failing.clone(), blocks: true, losses: None };
    assert_eq!(
        faults(blocking),
        [
            "alarm audit_failing: The audit log cannot be written: No space left on device; clients wait and are refused \
          (on_full = \"block\")."
        ]
    );
    let lost = |ago| Some((7, now - SignedDuration::from_secs(ago)));
    let shedding = AuditCondition { write_error: failing, blocks: false, losses: lost(61) };
    assert_eq!(
        faults(shedding),
        [
            "alarm audit_failing: The audit log cannot be written: No space left on device; records are lost once its \
             queue is full (on_full = \"shed\").",
            "alarm audit_lost: The audit log has lost 7 records since the start, the last one 1 min 1 s ago.",
        ]
    );
    let mended = AuditCondition { losses: lost(301), ..AuditCondition::default() };
    assert_eq!(faults(mended), Vec::<String>::new());
}

#[test]
fn rejected_configuration_and_files_are_faults() {
    let clock = Clock::now();
    let failed = FailedReload { since: Timestamp::now(), error: "unknown key `porty`".to_owned() };
    let files = UnusableFiles {
        what: "TLS of listener app".to_owned(),
        since: SystemTime::now(),
        error: "no certificate".to_owned(),
    };
    assert_eq!(
        shown([diagnose_reload(&failed, clock), diagnose_files(&files, clock)]),
        [
            "warning reload_failed: The configuration could not be reloaded, and the next start will fail: unknown key \
             `porty`.",
            "warning file_unusable: Changed files cannot be used, the previous contents stay: TLS of listener app: no \
             certificate.",
        ]
    );
}

#[test]
fn few_descriptors_left_are_a_fault() {
    let of = |open| diagnose_descriptors(FileDescriptors { open, limit: 1024 });
    assert_eq!(shown(of(921)), Vec::<String>::new());
    let faults = of(922);
    assert!(faults.as_ref().unwrap().remedy.contains("LimitNOFILE"));
    assert_eq!(
        shown(faults),
        ["warning descriptors_near_limit: Gatekeeper has 922 of at most 1024 file descriptors open."]
    );
    let unlimited = FileDescriptors { open: 1_000_000, limit: u64::MAX };
    assert!(diagnose_descriptors(unlimited).is_none());
}

#[test]
fn a_panic_is_a_fault_for_a_quarter_of_an_hour() {
    let (clock, now) = (Clock::now(), Timestamp::now());
    let of = |count, ago| {
        let last = now.checked_sub(SignedDuration::from_secs(ago)).unwrap();
        diagnose_panics(Some((count, last.into())), now, clock)
    };
    assert!(diagnose_panics(None, now, clock).is_none());
    assert!(of(3, 901).is_none(), "as in the alert");
    let fault = of(2, 61).unwrap();
    assert_eq!(fault.since.as_ref().unwrap().age_seconds().round(), 61.0);
    assert_eq!(
        shown([fault]),
        [
            "warning panicked: A bug in Gatekeeper has ended 2 tasks by a panic since the start, the last one 1 min 1 s \
             ago."
        ]
    );
}

#[test]
fn every_kind_of_fault_is_documented() {
    let (page, api) = (include_str!("../../../docs/console.md"), crate::admin::description().to_string());
    for kind in FaultKind::ALL {
        let name = format!("`{}`", kind.as_str());
        assert!(page.contains(&name), "docs/console.md lacks {name}");
        assert!(api.contains(&name), "the description of `Fault::kind` lacks {name}");
    }
}
