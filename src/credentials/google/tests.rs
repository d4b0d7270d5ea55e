//! Tests complete mints against a fake Google: each kind of credential, each failure.

use std::{fs, path::PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::sandbox::{FakeGoogle, GoogleFault};

const ACCOUNT: &str = "my-sa@my-project.iam.gserviceaccount.com";
const OTHER: &str = "other@my-project.iam.gserviceaccount.com";
const LIMIT: Duration = Duration::from_secs(30);

/// Fake Google servers with credentials files.
struct Cloud {
    google: FakeGoogle,
    folder: TempDir,
}

impl Cloud {
    async fn new() -> Self {
        Self { google: FakeGoogle::start().await.unwrap(), folder: tempfile::tempdir().unwrap() }
    }

    fn environment(&self, more: &[(&str, &str)]) -> GoogleEnvironment {
        let host = self.google.host();
        let base = self.google.url("");
        let mut variables = vec![
            ("GCE_METADATA_HOST", host.as_str()),
            ("CLOUDSDK_API_ENDPOINT_OVERRIDES_IAMCREDENTIALS", base.as_str()),
        ];
        variables.extend_from_slice(more);
        GoogleEnvironment::with(&variables)
    }

    fn login(credentials: GoogleCredentials) -> GoogleLogin {
        GoogleLogin { credentials, impersonate: None, delegates: Vec::new() }
    }

    fn metadata(&self, limit: Duration) -> GoogleMinter {
        GoogleMinter::new(Self::login(GoogleCredentials::Metadata), limit, self.environment(&[]))
    }

    fn file(&self, json: &Value) -> PathBuf {
        let path = self.folder.path().join("credentials.json");
        fs::write(&path, json.to_string()).unwrap();
        path
    }

    fn by_file(&self, json: &Value) -> GoogleMinter {
        let login = Self::login(GoogleCredentials::File(self.file(json)));
        GoogleMinter::new(login, LIMIT, self.environment(&[]))
    }

    /// Returns the targets of all requests.
    fn targets(&self) -> Vec<String> {
        self.google
            .requests()
            .iter()
            .map(|request| format!("{} {}", request.method, request.target))
            .collect()
    }
}

fn user(name: &str) -> UserName {
    UserName::new(name).unwrap()
}

async fn minted(minter: &GoogleMinter) -> String {
    let minted = minter.mint(&user("my-sa@my-project.iam")).await.unwrap_or_else(|error| panic!("{error}"));
    let left = minted.lifetime.expect("Google says how long");
    assert!(left > Duration::from_secs(3590) && left <= Duration::from_secs(3600), "{left:?}");
    minted.secret.reveal().to_owned()
}

async fn failed(minter: &GoogleMinter) -> GoogleError {
    minter.mint(&user("my-sa@my-project.iam")).await.err().expect("no token")
}

fn account(email: &str) -> TokenPrincipal {
    TokenPrincipal::Account(email.to_owned())
}

const LOGIN_TOKEN: &str = "GET /computeMetadata/v1/instance/service-accounts/default/token?scopes=https%3A%2F%2Fwww.googleapis.com%2Fauth%2Falloydb.login";

#[tokio::test]
async fn the_metadata_server_gives_a_narrow_token_and_its_owner() {
    let cloud = Cloud::new().await;
    let minter = cloud.metadata(LIMIT);
    assert_eq!(minted(&minter).await, "ya29.fake-1");
    assert_eq!(cloud.targets(), [LOGIN_TOKEN]);
    assert_eq!(minter.principal().await.unwrap(), account(ACCOUNT));
}

#[tokio::test]
async fn auto_ends_at_the_metadata_server() {
    let cloud = Cloud::new().await;
    let home = cloud.folder.path().display().to_string();
    let environment = cloud.environment(&[("HOME", &home)]);
    let minter = GoogleMinter::new(Cloud::login(GoogleCredentials::Auto), LIMIT, environment);
    assert_eq!(minted(&minter).await, "ya29.fake-1");
}

#[tokio::test]
async fn auto_without_a_metadata_server_says_where_it_looked() {
    let cloud = Cloud::new().await;
    let home = cloud.folder.path().display().to_string();
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let environment = GoogleEnvironment::with(&[("HOME", &home), ("GCE_METADATA_HOST", &dead)]);
    let minter = GoogleMinter::new(Cloud::login(GoogleCredentials::Auto), LIMIT, environment);
    let text = failed(&minter).await.to_string();
    for place in [
        "no credentials found: GOOGLE_APPLICATION_CREDENTIALS is not set; ",
        "application_default_credentials.json does not exist; ",
        &format!("metadata server {dead} did not respond: connecting: Connection refused"),
    ] {
        assert!(text.contains(place), "{text}");
    }
}

#[tokio::test]
async fn a_service_accounts_key_is_exchanged() {
    let cloud = Cloud::new().await;
    let minter = cloud.by_file(&cloud.google.key_file(ACCOUNT).unwrap());
    assert_eq!(minted(&minter).await, "ya29.fake-1");
    assert_eq!(cloud.targets(), ["POST /token"]);
    assert_eq!(minter.principal().await.unwrap(), account(ACCOUNT));
}

#[tokio::test]
async fn a_key_that_was_replaced_is_used() {
    let cloud = Cloud::new().await;
    let minter = cloud.by_file(&cloud.google.key_file(ACCOUNT).unwrap());
    minted(&minter).await;
    cloud.file(&cloud.google.key_file(OTHER).unwrap());
    assert_eq!(minter.principal().await.unwrap(), account(OTHER));
}

#[tokio::test]
async fn a_person_is_known_by_tokeninfo() {
    let cloud = Cloud::new().await;
    let minter = cloud.by_file(&cloud.google.user_file("alice@example.com"));
    assert_eq!(minter.principal().await.unwrap(), account("alice@example.com"));
    assert_eq!(cloud.targets(), ["POST /token", "GET /tokeninfo?access_token=ya29.fake-1"]);
}

#[tokio::test]
async fn a_login_that_was_revoked_is_told_with_its_remedy() {
    let cloud = Cloud::new().await;
    let mut file = cloud.google.user_file("alice@example.com");
    file["refresh_token"] = json!("revoked");
    let minter = cloud.by_file(&file);
    let error = failed(&minter).await;
    assert_eq!(
        error.to_string(),
        format!(
            "token endpoint {} answered 400: invalid_grant: Token has been expired or revoked.",
            cloud.google.host()
        )
    );
    assert!(error.remedy().contains("gcloud auth application-default login"));
    assert_eq!(cloud.targets().len(), 1, "asking again would not help");
    // Ends one attempt, not the source.
    cloud.file(&cloud.google.user_file("alice@example.com"));
    minted(&minter).await;
}

#[tokio::test]
async fn a_pod_without_a_service_account_is_told_so() {
    let cloud = Cloud::new().await;
    cloud.google.set_account(None);
    let error = failed(&cloud.metadata(Duration::from_millis(500))).await;
    let expected = "answered 404: no service account is bound to this pod";
    assert!(error.to_string().contains(expected), "{error}");
    assert!(cloud.google.count("/token") > 1, "GKE needs some seconds to know a new pod");
}

#[tokio::test]
async fn a_pods_first_seconds_fail_no_mint() {
    let cloud = Cloud::new().await;
    cloud.google.fail_times("/token", 1, GoogleFault::Status(404, String::new()));
    cloud.google.fail_times("/token", 1, GoogleFault::Status(500, "oops".into()));
    assert_eq!(minted(&cloud.metadata(LIMIT)).await, "ya29.fake-1");
    assert_eq!(cloud.google.count("/token"), 3);
}

#[tokio::test]
async fn a_server_that_is_busy_is_left_alone_for_as_long_as_it_says() {
    let cloud = Cloud::new().await;
    cloud.google.fail("/token", GoogleFault::RetryAfter(429, 40));
    let error = failed(&cloud.metadata(LIMIT)).await;
    assert_eq!(error.retry_after(), Some(Duration::from_secs(40)));
    assert_eq!(cloud.google.count("/token"), 1, "the time does not end within the mint's");
    cloud.google.heal();
    cloud.google.fail_times("/token", 1, GoogleFault::RetryAfter(503, 1));
    let began = Instant::now();
    minted(&cloud.metadata(LIMIT)).await;
    assert!(began.elapsed() >= Duration::from_secs(1), "it was asked before");
}

#[tokio::test]
async fn whatever_is_not_a_token_is_not_taken_for_one() {
    for (fault, expected) in [
        (GoogleFault::Body("{".into()), "answered without an access token"),
        (GoogleFault::Body("[1, 2]".into()), "answered without an access token"),
        (GoogleFault::Body("{\"expires_in\": 1}".into()), "answered without an access token"),
        (GoogleFault::Body("{\"access_token\": \"\"}".into()), "answered without an access token"),
        (GoogleFault::Body("{\"access_token\": \"a b\"}".into()), "answered without an access token"),
        (GoogleFault::Body("{\"access_token\": 1}".into()), "answered without an access token"),
        (GoogleFault::Redirect("http://127.0.0.1:1/".into()), "answered 302"),
        (GoogleFault::Status(403, String::new()), "answered 403"),
    ] {
        let cloud = Cloud::new().await;
        cloud.google.fail("/token", fault.clone());
        let minter = cloud.by_file(&cloud.google.key_file(ACCOUNT).unwrap());
        let text = failed(&minter).await.to_string();
        assert!(text.contains(expected), "{fault:?}: {text}");
        assert_eq!(cloud.targets().len(), 1, "{fault:?}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_googles_metadata_server_is_not_believed() {
    let cloud = Cloud::new().await;
    cloud.google.fail("/token", GoogleFault::WithoutFlavor);
    let text = failed(&cloud.metadata(LIMIT)).await.to_string();
    assert!(text.contains("answered without the header Metadata-Flavor: Google"), "{text}");
}

#[tokio::test]
async fn slow_floods_and_silence_end_with_the_mints_time() {
    for fault in [GoogleFault::Trickle, GoogleFault::Hang, GoogleFault::Flood(3 << 20)] {
        let cloud = Cloud::new().await;
        cloud.google.fail("/token", fault.clone());
        let error = failed(&cloud.metadata(Duration::from_millis(700))).await;
        assert!(matches!(error, GoogleError::Unreachable { .. }), "{fault:?}: {error}");
    }
}

#[tokio::test]
async fn credentials_of_another_universe_are_refused() {
    let cloud = Cloud::new().await;
    let environment = |universe| cloud.environment(&[("GOOGLE_CLOUD_UNIVERSE_DOMAIN", universe)]);
    let login = Cloud::login(GoogleCredentials::Metadata);
    let elsewhere = GoogleMinter::new(login.clone(), LIMIT, environment("example.goog"));
    let text = failed(&elsewhere).await.to_string();
    assert_eq!(text, "the credentials are of universe googleapis.com, where example.goog is expected");
    assert_eq!(cloud.targets(), ["GET /computeMetadata/v1/universe/universe-domain"]);
    cloud.google.set_universe(Some("example.goog"));
    minted(&elsewhere).await;
    let mut file = cloud.google.key_file(ACCOUNT).unwrap();
    file["universe_domain"] = json!("other.goog");
    let login = Cloud::login(GoogleCredentials::File(cloud.file(&file)));
    let text = failed(&GoogleMinter::new(login, LIMIT, environment("example.goog"))).await.to_string();
    assert!(text.contains("universe other.goog"), "{text}");
}

/// Builds a minter for a login with impersonation.
fn impersonating(cloud: &Cloud, impersonate: Impersonate, delegates: &[&str]) -> GoogleMinter {
    let login = GoogleLogin {
        impersonate: Some(impersonate),
        delegates: delegates.iter().map(|&it| it.to_owned()).collect(),
        ..Cloud::login(GoogleCredentials::Metadata)
    };
    GoogleMinter::new(login, LIMIT, cloud.environment(&[("GOOGLE_CLOUD_QUOTA_PROJECT", "billed")]))
}

fn generate(email: &str) -> String {
    format!("/v1/projects/-/serviceAccounts/{email}:generateAccessToken")
}

const CLOUD_TOKEN: &str = "GET /computeMetadata/v1/instance/service-accounts/default/token?scopes=https%3A%2F%2Fwww.googleapis.com%2Fauth%2Fcloud-platform";

#[tokio::test]
async fn one_account_is_impersonated_by_way_of_delegates() {
    let cloud = Cloud::new().await;
    let minter = impersonating(&cloud, Impersonate::Account(OTHER.into()), &[ACCOUNT]);
    assert_eq!(minted(&minter).await, "ya29.fake-2");
    assert_eq!(cloud.targets(), [CLOUD_TOKEN.to_owned(), format!("POST {}", generate(OTHER))]);
    let request = cloud.google.requests().remove(1);
    assert_eq!(request.header("authorization"), Some("Bearer ya29.fake-1"));
    assert_eq!(request.header("x-goog-user-project"), Some("billed"));
    assert_eq!(
        serde_json::from_str::<Value>(&request.body).unwrap(),
        json!({
            "delegates": [format!("projects/-/serviceAccounts/{ACCOUNT}")],
            "scope": ["https://www.googleapis.com/auth/alloydb.login"],
            "lifetime": "3600s",
        })
    );
    assert_eq!(minter.principal().await.unwrap(), account(OTHER));
}

#[tokio::test]
async fn each_user_gets_a_token_of_its_own_account() {
    let cloud = Cloud::new().await;
    let minter = impersonating(&cloud, Impersonate::User, &[]);
    for name in ["orders@p.iam", "invoices@p.iam"] {
        minter.mint(&user(name)).await.unwrap_or_else(|error| panic!("{error}"));
    }
    assert_eq!(
        cloud.targets(),
        [
            CLOUD_TOKEN.to_owned(),
            format!("POST {}", generate("orders@p.iam.gserviceaccount.com")),
            format!("POST {}", generate("invoices@p.iam.gserviceaccount.com")),
        ],
        "they share the token that impersonates"
    );
    assert_eq!(minter.principal().await.unwrap(), TokenPrincipal::EachUser);
    let error = minter.mint(&user("alice@example.com")).await.err().unwrap();
    assert_eq!(
        error.to_string(),
        "database user `alice@example.com` is not a service account's: there is nobody to impersonate"
    );
}

#[tokio::test]
async fn users_at_once_fetch_the_impersonating_token_once() {
    let cloud = Cloud::new().await;
    let minter = impersonating(&cloud, Impersonate::User, &[]);
    let users: Vec<_> = (0..10).map(|at| user(&format!("app-{at}@p.iam"))).collect();
    let minted = futures_util::future::join_all(users.iter().map(|user| minter.mint(user))).await;
    assert!(minted.iter().all(Result::is_ok));
    assert_eq!((cloud.google.count("/token?"), cloud.google.count(":generateAccessToken")), (1, 10));
}

#[tokio::test]
async fn a_revoked_impersonating_token_is_replaced_unnoticed() {
    let cloud = Cloud::new().await;
    let minter = impersonating(&cloud, Impersonate::User, &[]);
    minted(&minter).await;
    cloud.google.revoke_all();
    minted(&minter).await;
    assert_eq!((cloud.google.count("/token?"), cloud.google.count(":generateAccessToken")), (2, 3));
}

#[tokio::test]
async fn a_missing_grant_is_told_with_the_role() {
    let cloud = Cloud::new().await;
    let denied = json!({ "error": { "code": 403, "status": "PERMISSION_DENIED",
        "message": "Permission 'iam.serviceAccounts.getAccessToken' denied on resource" } });
    cloud.google.fail(":generateAccessToken", GoogleFault::Status(403, denied.to_string()));
    let error = failed(&impersonating(&cloud, Impersonate::User, &[])).await;
    let text = error.to_string();
    assert!(text.contains("answered 403: PERMISSION_DENIED: Permission 'iam.serviceAccounts"), "{text}");
    assert!(error.remedy().contains("roles/iam.serviceAccountTokenCreator"));
}

#[tokio::test]
async fn an_impersonating_file_narrows_the_scope_at_its_end() {
    let cloud = Cloud::new().await;
    let source = cloud.google.user_file("alice@example.com");
    let minter = cloud.by_file(&cloud.google.impersonated_file(&source, ACCOUNT, &[OTHER]));
    assert_eq!(minted(&minter).await, "ya29.fake-2");
    assert_eq!(cloud.targets(), ["POST /token".to_owned(), format!("POST {}", generate(ACCOUNT))]);
    let body: Value = serde_json::from_str(&cloud.google.requests()[1].body).unwrap();
    assert_eq!(body["delegates"], json!([format!("projects/-/serviceAccounts/{OTHER}")]));
    assert_eq!(body["scope"], json!(["https://www.googleapis.com/auth/alloydb.login"]));
    assert_eq!(minter.principal().await.unwrap(), account(ACCOUNT));
}

#[tokio::test]
async fn an_identity_of_another_cloud_impersonates_its_account() {
    let cloud = Cloud::new().await;
    let subject = cloud.folder.path().join("subject");
    fs::write(&subject, "eyJ.subject").unwrap();
    let source = json!({ "file": subject });
    let minter = cloud.by_file(&cloud.google.external_file(&source, Some(ACCOUNT)));
    assert_eq!(minted(&minter).await, "ya29.fake-2");
    assert_eq!(cloud.targets(), ["POST /v1/token".to_owned(), format!("POST {}", generate(ACCOUNT))]);
    let form = cloud.google.requests()[0].form();
    let field = |name: &str| form.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    assert_eq!(field("subject_token"), Some("eyJ.subject"));
    assert_eq!(field("scope"), Some("https://www.googleapis.com/auth/cloud-platform"));
    assert_eq!(minter.principal().await.unwrap(), account(ACCOUNT));
}

#[tokio::test]
async fn an_identity_without_an_account_has_no_principal() {
    let cloud = Cloud::new().await;
    let subject = cloud.folder.path().join("subject");
    fs::write(&subject, "eyJ.subject").unwrap();
    let minter = cloud.by_file(&cloud.google.external_file(&json!({ "file": subject }), None));
    minted(&minter).await;
    let form = cloud.google.requests()[0].form();
    assert!(form.contains(&("scope".into(), "https://www.googleapis.com/auth/alloydb.login".into())));
    assert_eq!(minter.principal().await.unwrap(), TokenPrincipal::Unknown);
}

#[tokio::test]
async fn a_workforce_login_refreshes() {
    let cloud = Cloud::new().await;
    let minter = cloud.by_file(&json!({
        "type": "external_account_authorized_user",
        "audience": "//iam.googleapis.com/locations/global/workforcePools/pool/providers/p",
        "client_id": "c", "client_secret": "s", "refresh_token": "1//refresh-alice@example.com",
        "token_url": cloud.google.url("/token"),
    }));
    minted(&minter).await;
    assert_eq!(cloud.google.requests()[0].header("authorization"), Some("Basic Yzpz"));
}

#[tokio::test]
async fn a_source_that_is_dropped_takes_its_secrets_along() {
    let cloud = Cloud::new().await;
    let minter = impersonating(&cloud, Impersonate::User, &[]);
    minted(&minter).await;
    let shared = minter.shared.lock().unwrap().clone().unwrap();
    drop(minter);
    assert_eq!(Arc::strong_count(&shared), 1, "nobody else holds the token that is wiped with it");
}
