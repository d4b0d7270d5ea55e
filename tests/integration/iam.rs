//! Logins with Google's tokens: a fake Google mints them, and the servers check them.

use std::{fs, time::Duration};

use gatekeeper::sandbox::{ALICE, FakeGoogle, GoogleFault, SERVICE_ACCOUNT, SandboxOptions, Single};
use serde_json::Value;

use crate::harness::{
    Gatekeeper, Stand, connect, refused,
    stand::{admin, config, listener},
    until,
};

const PATIENCE: Duration = Duration::from_secs(20);
/// Backends too old to be used twice: each session's is logged in for it.
const LISTENER: &str = "auth = { method = \"trust\" }\npool = { max_lifetime = \"1ms\" }";
const ACCOUNT: &str = "my-sa@my-project.iam.gserviceaccount.com";

/// A server, a fake Google whose tokens it takes, and Gatekeeper in front.
struct Cloud {
    stand: Stand,
    google: FakeGoogle,
}

impl Cloud {
    /// `login` is what stands in the endpoint's `login` beside `users`; `credentials` is written to a file, which
    /// `GOOGLE_APPLICATION_CREDENTIALS` names.
    async fn start(
        login: &str,
        users: &[&str],
        credentials: impl FnOnce(&FakeGoogle) -> Option<Value>,
    ) -> Self {
        let server = Single::start(SandboxOptions::default()).await.unwrap();
        let google = FakeGoogle::start_for(server.tokens()).await.unwrap();
        let mut variables = vec![
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
        let config = config(&server, &endpoint, LISTENER, "");
        let gatekeeper = Gatekeeper::start_with(server.folder(), &config, admin(&server), &variables).await;
        let listener = listener(&server);
        Self { stand: Stand { gatekeeper, server, listener }, google }
    }

    async fn logs_in(&self, user: &str) {
        let client = connect(self.stand.listener, &format!("user={user} dbname=app")).await.unwrap();
        let name: String = client.query_one("SELECT current_user::text", &[]).await.unwrap().get(0);
        assert_eq!(name, user);
    }

    /// The log once it has said `words`.
    async fn says(&self, words: &str) {
        self.stand.gatekeeper.says(words).await;
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

#[tokio::test]
async fn a_key_and_a_persons_login_log_in() {
    let key = |google: &FakeGoogle| Some(google.key_file(ACCOUNT).unwrap());
    Cloud::start("iam = \"auto\"", &[SERVICE_ACCOUNT], key).await.logs_in(SERVICE_ACCOUNT).await;
    let person = |google: &FakeGoogle| Some(google.user_file(ALICE));
    Cloud::start("iam = \"auto\"", &[ALICE], person).await.logs_in(ALICE).await;
}

#[tokio::test]
async fn a_pod_without_a_service_account_is_told_so_in_the_log() {
    let cloud = Cloud::start("iam = \"metadata\", token_timeout = \"300ms\"", &[SERVICE_ACCOUNT], |google| {
        google.set_account(None);
        None
    })
    .await;
    let user = format!("user={SERVICE_ACCOUNT} dbname=app");
    let told = refused(connect(cloud.stand.listener, &user).await);
    told.gives_nothing_away(cloud.stand.server.folder());
    assert_eq!(told.message, "endpoint \"primary\" could not be logged in to: no token");
    cloud.says("backend token request failed: endpoint `primary` at ").await;
    cloud.says("answered 404: no service account is bound to this pod").await;
    cloud.google.set_account(Some(ACCOUNT));
    until(PATIENCE, async || connect(cloud.stand.listener, &user).await.map(drop).map_err(|e| e.to_string()))
        .await;
}

#[tokio::test]
async fn a_metadata_server_that_is_away_is_not_noticed() {
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
