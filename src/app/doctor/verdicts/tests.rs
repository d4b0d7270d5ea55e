//! The table of verdicts, for constructed results.

use std::{io, sync::Arc, time::Duration};

use super::*;
use crate::{
    app::doctor::finding::Verdict,
    backend::ConnectFailure,
    credentials::TokenError,
    handshake::LoginError,
    names::{ClusterName, DatabaseName, EndpointName},
    telemetry::labels::ConnectPhase,
    tls::TlsError,
    topology::{Endpoint, NodeId},
};

fn error(failure: ConnectFailure) -> ConnectError {
    let endpoint = Endpoint {
        name: EndpointName::new("primary").unwrap(),
        cluster: ClusterName::new("orders").unwrap(),
        region: None,
        role: DeclaredRole::Primary,
        address: "10.20.30.40:5432".parse().unwrap(),
    };
    ConnectError::new(Arc::new(endpoint), failure)
}

fn user(name: &str) -> UserName {
    UserName::new(name).unwrap()
}

fn address() -> SocketAddr {
    "10.20.30.40:5432".parse().unwrap()
}

fn unreachable(kind: io::ErrorKind) -> ConnectError {
    error(ConnectFailure::Unreachable { tried: vec![(address(), kind.into())] })
}

fn rendered(opinion: &Opinion) -> String {
    format!("{opinion:?}")
}

#[test]
fn every_failure_has_words_and_a_remedy() {
    let late = |phase| ConnectFailure::Timeout { phase: Some(phase), limit: Duration::from_secs(10) };
    let broken = |phase| ConnectFailure::Broken { phase, source: io::ErrorKind::UnexpectedEof.into() };
    let stderr = || "no credentials".to_owned();
    for (failure, words, remedy) in [
        (
            ConnectFailure::Resolve { host: "db".into(), source: io::Error::other("no such name") },
            "`db` does not resolve: no such name",
            "resolver",
        ),
        (late(ConnectPhase::Resolve), "(resolve)", "resolver"),
        (late(ConnectPhase::Tls), "(tls)", "says nothing"),
        (late(ConnectPhase::Login), "(login)", "load"),
        (broken(ConnectPhase::Tls), "the connection broke", "hangs up"),
        (ConnectFailure::TlsRefused, "does not offer TLS", "turn TLS on"),
        (ConnectFailure::NotPostgres { byte: b'H' }, "answered `H`", "PostgreSQL server"),
        (ConnectFailure::Injected, "unencrypted bytes", "no PostgreSQL server"),
        (ConnectFailure::Tls(TlsError::UnknownCa { issuer: "CN=x".into() }), "signed by CN=x", "`ca_file`"),
        (
            ConnectFailure::Tls(TlsError::NameMismatch {
                expected: "10.20.30.40".into(),
                presented: vec!["primary.example".into()],
            }),
            "it is for primary.example, not for 10.20.30.40",
            "tls.server_name",
        ),
        (
            ConnectFailure::Tls(TlsError::Expired { not_after: jiff::Timestamp::UNIX_EPOCH }),
            "expired at 1970",
            "renew",
        ),
        (
            ConnectFailure::Token(TokenError::NotFound("gcloud".into())),
            "backend token command failed: endpoint `primary` at 10.20.30.40:5432: command not found: gcloud",
            "full path",
        ),
        (
            ConnectFailure::Token(TokenError::Failed { status: 1, stderr: stderr() }),
            "exited with status 1: no credentials",
            "by hand",
        ),
        (
            ConnectFailure::Token(TokenError::TimedOut { limit: Duration::from_secs(10), stderr: stderr() }),
            "not finished within 10 s",
            "token_timeout",
        ),
        (ConnectFailure::UnlistedUser { user: user("eve") }, "user `eve` is not among those", "`users`"),
        (
            ConnectFailure::Login(LoginError::Unanswerable(Method::Gss)),
            "requests GSSAPI",
            "instead of GSSAPI",
        ),
    ] {
        let opinion = assess_failure(&error(failure));
        assert_eq!(opinion.verdict(), Verdict::Failed);
        let text = rendered(&opinion);
        assert!(text.contains(words), "no `{words}` in {text}");
        let (_, remedies) = text.split_once("remedies").unwrap();
        assert!(remedies.contains(remedy), "no `{remedy}` in {remedies}");
    }
}

#[test]
fn the_hop_where_a_connection_ended_is_told() {
    for (kind, words) in [
        (io::ErrorKind::NetworkUnreachable, "this machine has no route"),
        (io::ErrorKind::PermissionDenied, "its own firewall"),
        (io::ErrorKind::HostUnreachable, "a router, which knows no such host"),
        (io::ErrorKind::TimedOut, "a firewall drops the packets"),
        (io::ErrorKind::ConnectionRefused, "nothing listens on port 5432"),
    ] {
        let opinion = assess_route(&[(address(), Err(unreachable(kind)))]);
        assert_eq!(opinion.verdict(), Verdict::Failed);
        assert!(rendered(&opinion).contains(words), "{opinion:?}");
    }
}

#[test]
fn one_dead_address_of_several_is_a_warning_and_all_of_them_a_failure() {
    let dead = || (address(), Err(unreachable(io::ErrorKind::TimedOut)));
    let live = (address(), Ok("10.0.0.7:41000".parse().unwrap()));
    assert_eq!(assess_route(&[dead(), live]).verdict(), Verdict::Warning);
    assert_eq!(assess_route(&[dead(), dead()]).verdict(), Verdict::Failed);
}

#[test]
fn what_is_not_verified_is_a_warning_unless_it_stays_on_this_machine() {
    let facts = TlsFacts { version: "TLSv1.3", cipher: "X", resumed: false, alpn: true, server_name: None };
    for (mode, facts, stays_here, verdict) in [
        (TlsMode::VerifyFull, Some(&facts), false, Verdict::Ok),
        (TlsMode::VerifyCa, Some(&facts), false, Verdict::Ok),
        (TlsMode::Require, Some(&facts), false, Verdict::Warning),
        (TlsMode::Prefer, Some(&facts), false, Verdict::Warning),
        (TlsMode::Prefer, None, false, Verdict::Warning),
        (TlsMode::Disable, None, false, Verdict::Warning),
        (TlsMode::Disable, None, true, Verdict::Ok),
        (TlsMode::Require, Some(&facts), true, Verdict::Ok),
    ] {
        let opinion = assess_tls(mode, facts, "primary.example", stays_here);
        assert_eq!(opinion.verdict(), verdict, "{mode:?}: {opinion:?}");
    }
}

#[test]
fn of_a_token_only_its_length_is_told() {
    assert_eq!(assess_token(&Login::Passthrough, &user("alice@example.com"), 1024).verdict(), Verdict::Ok);
    let opinion = assess_token(&Login::Passthrough, &user("my-sa@my-project.iam.gserviceaccount.com"), 1024);
    assert_eq!(opinion.verdict(), Verdict::Warning);
    assert!(rendered(&opinion).contains("write the user as `my-sa@my-project.iam`"), "{opinion:?}");
}

#[test]
fn what_the_server_asks_of_others_tells_the_flag_from_the_user() {
    let mut user_alone = Opinion::failed("refused", "either");
    tell_the_flag_from_the_user(&mut user_alone, &[(user("bob"), Method::CleartextPassword)]);
    assert!(rendered(&user_alone).contains("this user is not an IAM user"), "{user_alone:?}");
    let mut all = Opinion::failed("refused", "either");
    tell_the_flag_from_the_user(&mut all, &[(user("bob"), Method::ScramSha256)]);
    assert!(rendered(&all).contains("`alloydb.iam_authentication` is off"), "{all:?}");
    let mut nobody = Opinion::failed("refused", "either");
    tell_the_flag_from_the_user(&mut nobody, &[]);
    assert_eq!(nobody, Opinion::failed("refused", "either"));
}

#[test]
fn without_a_login_of_ours_an_answer_is_all_that_can_be_had() {
    let startup_verdict = |login| assess_startup(login, Ok(Method::ScramSha256)).verdict();
    assert_eq!(startup_verdict(&Login::Passthrough), Verdict::Skipped);
    let no_user = crate::credentials::PasswordLogin {
        user: None,
        password: crate::credentials::Secret::new("hunter2".into()),
    };
    assert_eq!(startup_verdict(&Login::Password(no_user)), Verdict::Warning);
    let broken =
        ConnectFailure::Broken { phase: ConnectPhase::Login, source: io::ErrorKind::ConnectionReset.into() };
    assert_eq!(assess_startup(&Login::Passthrough, Err(&error(broken))).verdict(), Verdict::Failed);
}

fn answer(role: ObservedRole, read_only: bool) -> ProbeAnswer {
    let node = NodeId { started_us: 7, address: None, port: None };
    ProbeAnswer {
        role,
        read_only,
        lsn: Some(0x16_B374_D848),
        timeline: Some(1),
        node: Some(node),
        standby: None,
    }
}

#[test]
fn a_role_that_is_not_the_declared_one_is_a_failure() {
    use ObservedRole::{Primary, Standby};
    for (declared, observed, read_only, verdict) in [
        (DeclaredRole::Primary, Primary, false, Verdict::Ok),
        (DeclaredRole::Primary, Primary, true, Verdict::Warning),
        (DeclaredRole::Primary, Standby, true, Verdict::Failed),
        (DeclaredRole::ReadPool, Standby, true, Verdict::Ok),
        (DeclaredRole::Replica, Primary, false, Verdict::Failed),
        (DeclaredRole::Secondary, Standby, true, Verdict::Ok),
        (DeclaredRole::Secondary, Primary, false, Verdict::Failed),
    ] {
        let opinion = assess_role(declared, false, &answer(observed, read_only));
        assert_eq!(opinion.verdict(), verdict, "{opinion:?}");
    }
    let peer = assess_role(DeclaredRole::Primary, true, &answer(Standby, true));
    assert_eq!(peer.verdict(), Verdict::Ok, "{peer:?}");
}

#[test]
fn lag_is_told_of_standbys_and_is_a_warning_only_when_it_will_not_end_or_is_not_known() {
    let primary = assess_lag(&answer(ObservedRole::Primary, false), None);
    assert!(rendered(&primary).contains("16/B374D848"), "{primary:?}");
    let standby = |replay| assess_lag(&answer(ObservedRole::Standby, true), Some(&replay)).verdict();
    let replay = ReplayProgress {
        replayed: Some("0/3000060".into()),
        behind: Some("48".into()),
        last_transaction: Some("86400.0".into()),
        paused: false,
    };
    assert_eq!(standby(Ok(replay.clone())), Verdict::Ok, "an idle writer looks like that");
    assert_eq!(standby(Ok(ReplayProgress { paused: true, ..replay })), Verdict::Warning);
    assert_eq!(standby(Ok(ReplayProgress::default())), Verdict::Warning);
    assert_eq!(standby(Err(QueryError::Nothing)), Verdict::Warning);
}

#[test]
fn users_that_cannot_log_in_are_warned_of() {
    let login = ProbeLogin { user: user("alice"), database: DatabaseName::new("postgres").unwrap() };
    let judged = |grants| assess_privileges(&login, None, &grants);
    assert_eq!(judged(Ok(Grants::default())).verdict(), Verdict::Ok);
    let bob = || Some("bob".to_owned());
    for grants in [
        Grants { missing: bob(), ..Grants::default() },
        Grants { shut_out: bob(), ..Grants::default() },
        Grants { not_iam: bob(), ..Grants::default() },
    ] {
        let opinion = judged(Ok(grants));
        assert_eq!(opinion.verdict(), Verdict::Warning);
        assert!(rendered(&opinion).contains("bob"), "{opinion:?}");
    }
    assert_eq!(judged(Err(QueryError::Nothing)).verdict(), Verdict::Ok, "a server may keep that to itself");
    let reduced = assess_privileges(&login, Some(&QueryError::Nothing), &Ok(Grants::default()));
    assert_eq!(reduced.verdict(), Verdict::Warning);
}
