//! `method = "certificate"`: users allowed for the holder of a certificate.

use std::{fs, time::Duration};

use gatekeeper::testing::sandbox::{SandboxOptions, Single};

use crate::harness::{
    Psql, Stand,
    pki::{Identity, Pki},
    psql, refused,
    stand::config,
};

/// All clients become `app` at the endpoint.
const AS_APP: &str = "login = { user = \"app\", password = { file = \"app-password\" } }";

/// A listener that requests certificates, and the authority that signs them.
struct Certificates {
    stand: Stand,
    pki: Pki,
}

impl Certificates {
    /// `auth` holds further keys of the authentication.
    async fn start(auth: &str) -> Self {
        let server = Single::start(SandboxOptions::default()).await.unwrap();
        fs::write(server.folder().join("app-password"), "app-password\n").unwrap();
        let pki = Pki::new(server.folder(), "clients");
        let Identity { cert, key } = pki.issue("gatekeeper.example");
        let listener = format!(
            "auth = {{ method = \"certificate\"{auth} }}\n\
             tls = {{ cert = {cert:?}, key = {key:?}, client_certificates = \"optional\", client_ca_file = {:?} }}",
            pki.ca_file
        );
        let config = config(&server, AS_APP, &listener, "");
        Self { stand: Stand::start(server, &config).await, pki }
    }

    /// A session as `user`, by libpq.
    async fn as_user(&self, user: &str, identity: Option<&Identity>) -> Psql {
        let (host, port) = (self.stand.listener.ip(), self.stand.listener.port());
        let shown = match identity {
            Some(Identity { cert, key }) => format!("sslcert={} sslkey={}", cert.display(), key.display()),
            None => "sslcert=/nonexistent sslkey=/nonexistent".to_owned(),
        };
        let to = format!("host={host} port={port} user={user} dbname=app sslmode=require {shown}");
        psql(&to, "SELECT session_user").await
    }

    async fn failures(&self) -> Option<f64> {
        let series = "gatekeeper_authentication_failures_total{listener=\"app\",reason=\"certificate\"}";
        self.stand.gatekeeper.metric(series).await
    }
}

#[track_caller]
fn assert_rejected(answer: &Psql, words: &str) {
    let first_line = answer.stderr.lines().next().unwrap_or_default();
    assert!(!answer.success && first_line.ends_with(words), "{answer:?}");
}

#[tokio::test]
async fn without_a_map_the_certificate_name_is_the_user() {
    let listener = Certificates::start("").await;
    let carol = listener.pki.issue("carol");
    let answer = listener.as_user("carol", Some(&carol)).await;
    assert_eq!(answer.rows, "app", "{}", answer.stderr);
    for user in ["app", "nobody-of-that-name"] {
        let answer = listener.as_user(user, Some(&carol)).await;
        assert_rejected(&answer, &format!("FATAL:  certificate authentication failed for user \"{user}\""));
    }
    assert_eq!(listener.failures().await, Some(2.0));
}

#[tokio::test]
async fn a_map_selects_users_and_the_access_list_applies() {
    let auth = ", name = \"dns\", map = [\"orders.internal => app\", \"*.team.internal => *\"], users = [\"app\", \"erin\"]";
    let listener = Certificates::start(auth).await;
    let (orders, erin) = (listener.pki.issue("orders.internal"), listener.pki.issue("erin.team.internal"));
    let danny = listener.pki.issue("danny.team.internal");
    for (user, identity) in [("app", &orders), ("erin", &erin)] {
        let answer = listener.as_user(user, Some(identity)).await;
        assert_eq!(answer.rows, "app", "{user}: {}", answer.stderr);
    }
    for (user, identity) in
        [("erin", &orders), ("app", &erin), ("orders.internal", &orders), ("danny", &danny)]
    {
        let answer = listener.as_user(user, Some(identity)).await;
        assert_rejected(&answer, &format!("FATAL:  certificate authentication failed for user \"{user}\""));
    }
}

#[tokio::test]
async fn missing_foreign_and_expired_certificates_are_rejected() {
    let listener = Certificates::start("").await;
    assert_rejected(
        &listener.as_user("carol", None).await,
        "FATAL:  connection requires a valid client certificate",
    );
    let plain = refused(listener.stand.connect("user=carol dbname=app").await);
    assert_eq!(plain.sqlstate, "28000");
    assert_eq!(plain.message, "connection requires a valid client certificate");
    assert_eq!(listener.failures().await, Some(2.0));

    let folder = listener.stand.server.folder().join("strangers");
    fs::create_dir(&folder).unwrap();
    let strange = Pki::new(&folder, "strangers").issue("carol");
    assert!(!listener.as_user("carol", Some(&strange)).await.success);
    let outdated = listener.pki.issue_for("carol", Duration::ZERO);
    assert!(!listener.as_user("carol", Some(&outdated)).await.success);
    let good = listener.pki.issue("carol");
    assert!(listener.as_user("carol", Some(&good)).await.success);
}
