//! Logins with Google's tokens: minted by a fake Google, checked by the servers.

use std::{fs, path::Path, time::Duration};

use gatekeeper::testing::{
    sandbox::{ALICE, FakeGoogle, GoogleFault, SERVICE_ACCOUNT, SandboxOptions, Single},
    scram::{DEFAULT_ITERATIONS, Verifier},
};
use serde_json::Value;
use tokio::task::JoinSet;

use crate::harness::{
    Checked, Gatekeeper, Stand, check, connect, doctor,
    pki::Pki,
    refused, run_command,
    stand::{admin, config, listener},
    until,
};

const PATIENCE: Duration = Duration::from_secs(20);
/// Backends too old for a second use: each session logs in a new backend.
const LISTENER: &str = "auth = { method = \"trust\" }\npool = { max_lifetime = \"1ms\" }";
const ACCOUNT: &str = "my-sa@my-project.iam.gserviceaccount.com";

/// A server, a fake Google with tokens accepted by the server, and Gatekeeper in front.
struct Cloud {
    stand: Stand,
    google: FakeGoogle,
}

impl Cloud {
    /// `login` holds the keys of the endpoint's `login` besides `users`; `credentials` is written to the file named by
    /// `GOOGLE_APPLICATION_CREDENTIALS`.
    async fn start(
        login: &str,
        users: &[&str],
        credentials: impl FnOnce(&FakeGoogle) -> Option<Value>,
    ) -> Self {
        Self::start_with(login, users, credentials, |_| String::new()).await
    }

    /// Starts like `start`, with more tables, made by `rest` for the folder of the test.
    async fn start_with(
        login: &str,
        users: &[&str],
        credentials: impl FnOnce(&FakeGoogle) -> Option<Value>,
        rest: impl FnOnce(&Path) -> String,
    ) -> Self {
        let server = Single::start(SandboxOptions::default()).await.unwrap();
        let google = FakeGoogle::start_for(server.tokens()).await.unwrap();
        let mut variables = vec![
            ("NO_GCE_CHECK", String::new()),
            ("GCE_METADATA_HOST", google.host()),
            ("CLOUDSDK_API_ENDPOINT_OVERRIDES_IAMCREDENTIALS", google.url("")),
            ("CLOUDSDK_CONFIG", server.folder().display().to_string()),
        ];
        if let Some(json) = credentials(&google) {
            let file = server.folder().join("credentials.json");
            fs::write(&file, json.to_string()).unwrap();
            variables.push(("GOOGLE_APPLICATION_CREDENTIALS", file.display().to_string()));
        }
        let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let endpoint = format!("login = {{ {login}, users = {users:?} }}");
        let config = config(&server, &endpoint, LISTENER, &rest(server.folder()));
        let gatekeeper = Gatekeeper::start_with(server.folder(), &config, admin(&server), &variables).await;
        let listener = listener(&server);
        Self { stand: Stand { gatekeeper, server, listener }, google }
    }

    async fn logs_in(&self, user: &str) {
        let client = connect(self.stand.listener, &format!("user={user} dbname=app")).await.unwrap();
        let name: String = client.query_one("SELECT current_user::text", &[]).await.unwrap().get(0);
        assert_eq!(name, user);
    }

    /// Waits until the log contains `words`.
    async fn wait_for_log(&self, words: &str) {
        self.stand.gatekeeper.wait_for_log(words).await;
    }
}

#[tokio::test]
async fn a_service_account_of_the_metadata_server_logs_in() {
    for login in ["iam = \"metadata\"", "iam = \"auto\""] {
        let cloud = Cloud::start(login, &[SERVICE_ACCOUNT], |_| None).await;
        cloud.logs_in(SERVICE_ACCOUNT).await;
        cloud.logs_in(SERVICE_ACCOUNT).await;
        assert_eq!(cloud.google.count("/token?scopes="), 1, "{login}: the probe and both sessions share it");
    }
}

/// The Dockerfile's own example: variables of `config/compose.env`, with the named files in `secrets`.
#[tokio::test]
async fn the_image_starts_with_its_example() {
    let server = Single::start(SandboxOptions::default()).await.unwrap();
    let google = FakeGoogle::start_for(server.tokens()).await.unwrap();
    let secrets = server.folder().join("secrets");
    fs::create_dir(&secrets).unwrap();
    fs::copy(server.authority().ca_file(), secrets.join("orders-ca.pem")).unwrap();
    let identity = Pki::new(&secrets, "clients").issue("tls");
    assert_eq!(identity.cert, secrets.join("tls.crt"));
    let verifier = Verifier::derive(b"secret", b"sixteen byte salt", DEFAULT_ITERATIONS).unwrap();
    fs::write(secrets.join("users.toml"), format!("[users]\n\"{SERVICE_ACCOUNT}\" = \"{verifier}\"\n"))
        .unwrap();
    let example = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/config/compose.env")).unwrap();
    let (address, admin) = (server.address(), admin(&server));
    let mut variables: Vec<(&str, String)> = example
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| match name {
            "GATEKEEPER_BACKEND_HOST" => (name, address.ip().to_string()),
            "GATEKEEPER_LISTEN_HOST" => (name, admin.ip().to_string()),
            _ => (name, value.replace("/run/secrets", secrets.to_str().unwrap())),
        })
        .collect();
    assert!(variables.iter().any(|(name, _)| *name == "GATEKEEPER_BACKEND_IAM"), "{variables:?}");
    variables.extend([
        ("GATEKEEPER_BACKEND_PORT", address.port().to_string()),
        ("GATEKEEPER_API_HOST", admin.ip().to_string()),
        ("NO_GCE_CHECK", String::new()),
        ("GCE_METADATA_HOST", google.host()),
        ("CLOUDSDK_CONFIG", server.folder().display().to_string()),
    ]);
    let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let _gatekeeper = Gatekeeper::from_environment(&variables, admin).await;
    let waited = run_command(&["wait"], &variables).await;
    assert_eq!((waited.code, waited.settings.as_str()), (Some(0), "ready\n"), "{}", waited.stderr);
    let healthy = run_command(&["healthcheck"], &variables).await;
    assert_eq!((healthy.code, healthy.settings.as_str()), (Some(0), "ready\n"), "{}", healthy.stderr);
}

#[tokio::test]
async fn a_key_and_a_persons_login_log_in() {
    let key = |google: &FakeGoogle| Some(google.key_file(ACCOUNT).unwrap());
    Cloud::start("iam = \"auto\"", &[SERVICE_ACCOUNT], key).await.logs_in(SERVICE_ACCOUNT).await;
    let person = |google: &FakeGoogle| Some(google.user_file(ALICE));
    Cloud::start("iam = \"auto\"", &[ALICE], person).await.logs_in(ALICE).await;
}

#[tokio::test]
async fn a_pod_without_a_service_account_is_logged() {
    let cloud = Cloud::start("iam = \"metadata\", token_timeout = \"300ms\"", &[SERVICE_ACCOUNT], |google| {
        google.set_account(None);
        None
    })
    .await;
    let user = format!("user={SERVICE_ACCOUNT} dbname=app");
    let client_error = refused(connect(cloud.stand.listener, &user).await);
    client_error.gives_nothing_away(cloud.stand.server.folder());
    assert_eq!(client_error.message, "endpoint \"primary\" could not be logged in to: no token");
    cloud.wait_for_log("backend token request failed: endpoint `primary` at ").await;
    cloud.wait_for_log("answered 404: no service account is bound to this pod").await;
    cloud.google.set_account(Some(ACCOUNT));
    until(PATIENCE, async || connect(cloud.stand.listener, &user).await.map(drop).map_err(|e| e.to_string()))
        .await;
}

#[tokio::test]
async fn a_short_metadata_server_outage_fails_no_login() {
    let cloud = Cloud::start(
        "iam = \"metadata\", token_ttl = \"1s\", token_timeout = \"300ms\"",
        &[SERVICE_ACCOUNT],
        |_| None,
    )
    .await;
    cloud.logs_in(SERVICE_ACCOUNT).await;
    cloud.google.fail("/token", GoogleFault::Status(503, String::new()));
    let failed =
        "gatekeeper_token_mints_total{endpoint=\"primary\",backend_role=\"primary\",outcome=\"error\"}";
    until(PATIENCE, async || {
        cloud.logs_in(SERVICE_ACCOUNT).await;
        let failures = cloud.stand.gatekeeper.metric(failed).await.unwrap();
        if failures >= 2.0 { Ok(()) } else { Err(failures) }
    })
    .await;
}

/// Creates database users `app-0@my-project.iam` and so on, known to the server as service accounts.
async fn add_service_accounts(server: &Single, count: usize) -> Vec<String> {
    let users: Vec<String> = (0..count).map(|at| format!("app-{at}@my-project.iam")).collect();
    for user in &users {
        let sql = format!("CREATE ROLE \"{user}\" LOGIN IN ROLE alloydbiamuser");
        server.node().sql("postgres", &sql).await.unwrap();
    }
    users
}

#[tokio::test]
async fn each_user_logs_in_with_a_token_of_its_own_account() {
    let users: Vec<String> = (0..3).map(|at| format!("app-{at}@my-project.iam")).collect();
    let listed: Vec<&str> = users.iter().map(String::as_str).collect();
    let cloud = Cloud::start("iam = \"auto\", impersonate = \"user\"", &listed, |_| None).await;
    add_service_accounts(&cloud.stand.server, 3).await;
    for user in &users {
        cloud.logs_in(user).await;
        assert_eq!(cloud.google.count(&format!("/{user}.gserviceaccount.com:generateAccessToken")), 1);
    }
    assert_eq!(cloud.google.count("/token?scopes="), 1, "one token impersonates for all");
}

#[tokio::test]
async fn one_account_is_impersonated_for_its_database_user() {
    let login = format!("iam = \"metadata\", impersonate = \"{ACCOUNT}\"");
    let cloud = Cloud::start(&login, &[SERVICE_ACCOUNT], |google| {
        google.set_account(Some("gatekeeper@my-project.iam.gserviceaccount.com"));
        None
    })
    .await;
    cloud.logs_in(SERVICE_ACCOUNT).await;
}

#[tokio::test]
async fn an_identity_of_another_cloud_logs_in_as_its_account() {
    let cloud = Cloud::start("iam = \"auto\"", &[SERVICE_ACCOUNT], |google| {
        let subject = serde_json::json!({ "url": google.url("/subject") });
        google.fail("/subject", GoogleFault::Body("eyJ.subject".to_owned()));
        Some(google.external_file(&subject, Some(ACCOUNT)))
    })
    .await;
    cloud.logs_in(SERVICE_ACCOUNT).await;
}

#[tokio::test]
async fn a_thousand_logins_of_ten_users_at_once_cost_a_mint_each() {
    let users: Vec<String> = (0..10).map(|at| format!("app-{at}@my-project.iam")).collect();
    let listed: Vec<&str> = users.iter().map(String::as_str).collect();
    let cloud = Cloud::start("iam = \"auto\", impersonate = \"user\"", &listed, |_| None).await;
    add_service_accounts(&cloud.stand.server, 10).await;
    let mut logins = JoinSet::new();
    for at in 0..1_000 {
        let (listener, user) = (cloud.stand.listener, users[at % 10].clone());
        logins.spawn(async move {
            // The server has room for fewer sessions: only the token requests of logins count.
            drop(connect(listener, &format!("user={user} dbname=app")).await);
        });
    }
    logins.join_all().await;
    for user in &users {
        let mints = cloud.google.count(&format!("/{user}.gserviceaccount.com:generateAccessToken"));
        assert_eq!(mints, 1, "{user}");
    }
    assert_eq!(cloud.google.count("/token?scopes="), 1);
    cloud.logs_in(&users[0]).await;
}

#[tokio::test]
async fn no_google_secret_is_written() {
    let cloud = Cloud::start_with(
        "iam = \"auto\", impersonate = \"user\", token_ttl = \"0\"",
        &[SERVICE_ACCOUNT],
        |google| Some(google.key_file("gatekeeper@my-project.iam.gserviceaccount.com").unwrap()),
        |folder| {
            format!(
                "[log]\nlevel = \"trace\"\n\n[audit]\nfile = {:?}\nlevel = \"statements\"\n",
                folder.join("audit.jsonl")
            )
        },
    )
    .await;
    cloud.logs_in(SERVICE_ACCOUNT).await;
    cloud.google.fail_times(
        ":generateAccessToken",
        1,
        GoogleFault::Status(400, "{\"error\": \"x\"}".to_owned()),
    );
    drop(connect(cloud.stand.listener, &format!("user={SERVICE_ACCOUNT} dbname=app")).await);
    let folder = cloud.stand.server.folder();
    let mut written =
        cloud.stand.gatekeeper.stderr() + &fs::read_to_string(folder.join("audit.jsonl")).unwrap();
    for path in ["/metrics", "/v1/topology", "/v1/sessions", "/v1/config"] {
        written += &cloud.stand.gatekeeper.get(path).await.unwrap().body;
    }
    let key: Value =
        serde_json::from_str(&fs::read_to_string(folder.join("credentials.json")).unwrap()).unwrap();
    let key = key["private_key"].as_str().unwrap().lines().nth(1).unwrap().to_owned();
    let mut secrets = vec![key[..40].to_owned(), key[key.len() - 40..].to_owned()];
    for request in cloud.google.requests() {
        if let Some(bearer) = request.header("authorization") {
            secrets.push(bearer["Bearer ".len()..][..40].to_owned());
        }
        secrets.extend(request.form().into_iter().filter(|(name, _)| name == "assertion").map(|(_, it)| it));
    }
    assert!(secrets.len() > 4, "{}", secrets.len());
    assert!(written.contains("token minted"), "the log was read");
    for secret in secrets {
        assert!(!written.contains(&secret), "{} bytes of a secret were written", secret.len());
    }
    assert!(!written.contains("ya29."), "a token was written");
}

/// Output of `gatekeeper check` about the configuration of `cloud`.
fn checked(cloud: &Cloud, more: &[(&str, &str)]) -> Checked {
    let host = cloud.google.host();
    let environment = [&[("NO_GCE_CHECK", ""), ("GCE_METADATA_HOST", host.as_str())], more].concat();
    check(Some(cloud.stand.gatekeeper.config_file()), &environment)
}

// The fake answers while the command runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_compares_the_principal_with_the_list() {
    let cloud = Cloud::start("iam = \"auto\"", &[SERVICE_ACCOUNT], |_| None).await;
    let fits = checked(&cloud, &[]);
    let principal = format!("endpoint `primary`: the token's principal is {ACCOUNT}");
    assert!(fits.settings.contains(&principal) && fits.stderr.is_empty(), "{fits:?}");
    cloud.google.set_account(Some("other@my-project.iam.gserviceaccount.com"));
    let differs = checked(&cloud, &[]);
    assert_eq!(
        differs.stderr,
        "warning: endpoint.primary.login: the token's principal is other@my-project.iam.gserviceaccount.com, the list says \
         `my-sa@my-project.iam`; list `other@my-project.iam` in `users`, or set `impersonate` = \"user\"\n"
    );
    assert_eq!(differs.code, Some(0), "the program may run elsewhere");
    cloud.google.set_account(None);
    let unbound = checked(&cloud, &[]);
    assert!(unbound.stderr.contains("answered 404: no service account is bound to this pod"), "{unbound:?}");
    let nowhere = checked(&cloud, &[("NO_GCE_CHECK", "true")]);
    assert!(
        nowhere.stderr.contains("no credentials found: GOOGLE_APPLICATION_CREDENTIALS is not set"),
        "{nowhere:?}"
    );
}

// The fake answers while the command runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_doctor_compares_the_principal_with_the_list() {
    let cloud = Cloud::start("iam = \"auto\"", &[SERVICE_ACCOUNT], |_| None).await;
    let host = cloud.google.host();
    let environment = [("NO_GCE_CHECK", ""), ("GCE_METADATA_HOST", host.as_str())];
    let run_doctor = || doctor(cloud.stand.gatekeeper.config_file(), &environment);
    let fits = run_doctor();
    assert!(fits.contains(&format!("the token's principal is {ACCOUNT}")), "{fits}");
    cloud.google.set_account(Some("other@my-project.iam.gserviceaccount.com"));
    let differs = run_doctor();
    for words in ["the token's principal is other@my-project", "the list says `my-sa@my-project.iam`"] {
        assert!(differs.contains(words), "{differs}");
    }
    cloud.google.set_account(None);
    let unbound = run_doctor();
    assert!(unbound.contains("no service account is bound to this pod"), "{unbound}");
}

#[tokio::test]
async fn a_rejected_token_is_replaced_within_the_login() {
    let cloud = Cloud::start("iam = \"metadata\"", &[SERVICE_ACCOUNT], |_| None).await;
    // Held, or the backend might serve the next session, too.
    let user = format!("user={SERVICE_ACCOUNT} dbname=app");
    let _held = connect(cloud.stand.listener, &user).await.unwrap();
    let before = cloud.google.count("/token?");
    cloud.stand.server.tokens().expire_all(cloud.stand.server.node()).await.unwrap();
    cloud.logs_in(SERVICE_ACCOUNT).await;
    assert_eq!(cloud.google.count("/token?"), before + 1);
}

#[tokio::test]
async fn each_metadata_server_failure_is_logged_and_recovers() {
    let login = "iam = \"metadata\", token_timeout = \"400ms\", token_ttl = \"0\"";
    let cloud = Cloud::start(login, &[SERVICE_ACCOUNT], |_| None).await;
    let user = format!("user={SERVICE_ACCOUNT} dbname=app");
    for (fault, words) in [
        (GoogleFault::Status(404, String::new()), "answered 404: no service account is bound to this pod"),
        (GoogleFault::Status(403, "{\"error\": \"access_denied\"}".into()), "answered 403: access_denied"),
        (GoogleFault::Status(500, "oops".into()), "answered 500"),
        (GoogleFault::Redirect(cloud.google.url("/elsewhere")), "answered 302"),
        (GoogleFault::Hang, "did not respond: no response within 0."),
        (GoogleFault::Trickle, "did not respond: no response within 0."),
        (GoogleFault::Flood(3 << 20), "did not respond: the response has more than 2 MiB"),
        (GoogleFault::Body("<html>".into()), "answered without the header Metadata-Flavor: Google"),
        (GoogleFault::WithoutFlavor, "answered without the header Metadata-Flavor: Google"),
    ] {
        cloud.google.heal();
        cloud.google.fail("/token", fault);
        // A backend of the login before may serve some.
        until(PATIENCE, async || {
            let result = connect(cloud.stand.listener, &user).await;
            if result.is_err() {
                let client_error = refused(result);
                client_error.gives_nothing_away(cloud.stand.server.folder());
                assert_eq!(
                    client_error.message, "endpoint \"primary\" could not be logged in to: no token",
                    "{words}"
                );
            }
            if cloud.stand.gatekeeper.stderr().contains(words) { Ok(()) } else { Err(words) }
        })
        .await;
        cloud.google.heal();
        until(PATIENCE, async || {
            connect(cloud.stand.listener, &user).await.map(drop).map_err(|error| error.to_string())
        })
        .await;
    }
    assert_eq!(cloud.google.count("/elsewhere"), 0, "a redirect leads nowhere");
}

#[tokio::test]
async fn the_retry_time_of_an_issuer_is_respected() {
    let cloud = Cloud::start("iam = \"metadata\", token_timeout = \"400ms\"", &[SERVICE_ACCOUNT], |google| {
        google.fail("/token", GoogleFault::RetryAfter(429, 3));
        None
    })
    .await;
    let user = format!("user={SERVICE_ACCOUNT} dbname=app");
    refused(connect(cloud.stand.listener, &user).await);
    cloud.wait_for_log("answered 429").await;
    let asked = cloud.google.count("/token?");
    for _ in 0..5 {
        refused(connect(cloud.stand.listener, &user).await);
    }
    assert!(cloud.google.count("/token?") <= asked + 1, "five logins asked again");
    cloud.google.heal();
    until(PATIENCE, async || {
        connect(cloud.stand.listener, &user).await.map(drop).map_err(|error| error.to_string())
    })
    .await;
}

#[tokio::test]
async fn a_slow_identity_provider_is_waited_for() {
    let cloud = Cloud::start("iam = \"auto\"", &[SERVICE_ACCOUNT], |google| {
        google.fail_times("/v1/token", 2, GoogleFault::Status(503, String::new()));
        google.fail("/subject", GoogleFault::Body("eyJ.subject".to_owned()));
        let subject = serde_json::json!({ "url": google.url("/subject") });
        Some(google.external_file(&subject, Some(ACCOUNT)))
    })
    .await;
    cloud.logs_in(SERVICE_ACCOUNT).await;
}

#[tokio::test]
async fn a_users_list_without_the_principal_is_a_warning() {
    let cloud = Cloud::start("iam = \"metadata\"", &[SERVICE_ACCOUNT], |google| {
        google.set_account(Some("other@my-project.iam.gserviceaccount.com"));
        None
    })
    .await;
    cloud
        .wait_for_log("the token's principal is other@my-project.iam.gserviceaccount.com, the list says")
        .await;
}
