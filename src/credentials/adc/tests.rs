//! Tests the search order of credentials and the formats of files.

use std::fs;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;

/// Folder for files, with environment variables.
struct Home(TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, json: &Value) -> String {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, json.to_string()).unwrap();
        path.display().to_string()
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }
}

fn user(id: &str) -> Value {
    json!({ "type": "authorized_user", "client_id": id, "client_secret": "s", "refresh_token": "r" })
}

fn found(variables: &[(&str, &str)]) -> Result<FoundCredential, GoogleError> {
    find(&GoogleCredentials::Auto, &GoogleEnvironment::with(variables))
}

/// Returns the client ID of the person whose credentials the search found.
fn client(variables: &[(&str, &str)]) -> String {
    match found(variables).ok().unwrap().credential {
        Credential::AuthorizedUser(user) => user.client_id,
        _ => panic!("a person was expected"),
    }
}

/// Returns the defect of a file.
fn wrong(json: &Value) -> String {
    let home = Home::new();
    let path = home.write("file.json", json);
    let error = read_file(Path::new(&path), "file").err().expect("a mistake");
    error.to_string()
}

#[test]
fn the_variable_wins_over_the_file_of_gcloud() {
    let home = Home::new();
    let named = home.write("named.json", &user("named"));
    home.write(".config/gcloud/application_default_credentials.json", &user("well-known"));
    home.write("sdk/application_default_credentials.json", &user("sdk"));
    let (root, sdk) = (home.path(""), home.path("sdk"));
    let (home_is, sdk_is) = (("HOME", root.as_str()), ("CLOUDSDK_CONFIG", sdk.as_str()));
    let named_is = ("GOOGLE_APPLICATION_CREDENTIALS", named.as_str());
    assert_eq!(client(&[home_is]), "well-known");
    assert_eq!(client(&[home_is, sdk_is]), "sdk");
    assert_eq!(client(&[home_is, sdk_is, named_is]), "named");
    assert_eq!(client(&[home_is, ("GOOGLE_APPLICATION_CREDENTIALS", "")]), "well-known");
}

#[test]
fn without_a_file_the_metadata_server_is_asked() {
    let home = Home::new();
    let root = home.path("");
    let there = found(&[("HOME", &root)]).ok().unwrap();
    assert!(matches!(there.credential, Credential::Metadata));
    let error = found(&[("HOME", &root), ("NO_GCE_CHECK", "True")]).err().unwrap();
    let file = home.path(".config/gcloud/application_default_credentials.json");
    assert_eq!(
        error.to_string(),
        format!(
            "no credentials found: GOOGLE_APPLICATION_CREDENTIALS is not set; {file} does not exist; \
             NO_GCE_CHECK says that there is no metadata server"
        )
    );
}

#[test]
fn a_named_file_that_is_missing_is_not_passed_over() {
    let error = found(&[("GOOGLE_APPLICATION_CREDENTIALS", "/nonexistent.json")]).err().unwrap();
    assert_eq!(
        error.to_string(),
        "GOOGLE_APPLICATION_CREDENTIALS=/nonexistent.json: No such file or directory (os error 2)"
    );
}

#[test]
fn a_file_says_universe_and_quota_project() {
    let home = Home::new();
    let mut file = user("c");
    file["universe_domain"] = json!("example.goog");
    file["quota_project_id"] = json!("billed");
    let path = home.write("file.json", &file);
    let found = |variables: &[(&str, &str)]| {
        let wanted = GoogleCredentials::File(path.clone().into());
        find(&wanted, &GoogleEnvironment::with(variables)).ok().unwrap()
    };
    assert_eq!(found(&[]).universe.as_deref(), Some("example.goog"));
    assert_eq!(found(&[]).quota_project.as_deref(), Some("billed"));
    let Credential::AuthorizedUser(user) = found(&[]).credential else { panic!() };
    assert_eq!(user.token_url.to_text(), "https://oauth2.example.goog/token");
    let other = found(&[("GOOGLE_CLOUD_QUOTA_PROJECT", "other")]);
    assert_eq!(other.quota_project.as_deref(), Some("other"));
}

#[test]
fn mistakes_in_a_file_are_named_and_not_quoted() {
    let secret = "GOCSPX-secret";
    for (json, expected) in [
        (json!({}), "has no `type`: not the JSON of credentials"),
        (
            json!({ "type": "gdch_service_account" }),
            "credentials of type \"gdch_service_account\" are not known",
        ),
        (json!({ "type": "authorized_user" }), "`client_id` is missing"),
        (json!([secret]), "not the JSON of credentials (line 1, column 17)"),
        (
            json!({ "type": "authorized_user", "client_secret": { "x": secret } }),
            "not the JSON of credentials",
        ),
        (json!({ "type": "authorized_user", "delegates": secret }), "not the JSON of credentials"),
        (
            json!({ "type": "service_account", "client_email": "a", "private_key": secret,
                    "token_uri": "http://oauth2.googleapis.com/token" }),
            "`token_uri` is not an https URL",
        ),
        (
            json!({ "type": "impersonated_service_account", "source_credentials": user("c"),
                    "service_account_impersonation_url": "http://iam.example/x" }),
            "`service_account_impersonation_url` is not an https URL",
        ),
        (
            json!({ "type": "external_account", "token_url": "https://sts.googleapis.com/v1/token",
                    "audience": "a", "subject_token_type": "t", "credential_source": {} }),
            "`credential_source` names neither a file nor a URL, a program or AWS",
        ),
        (
            json!({ "type": "external_account", "token_url": "https://sts.googleapis.com/v1/token",
                    "audience": "a", "subject_token_type": "t", "credential_source": { "certificate": {} } }),
            "`credential_source.certificate` (X.509) is not supported",
        ),
    ] {
        let problem = wrong(&json);
        assert!(problem.contains(expected), "{json}: {problem}");
        assert!(!problem.contains(secret), "{problem}");
    }
}

#[test]
fn a_source_of_another_universe_is_refused() {
    let mut source = user("c");
    source["universe_domain"] = json!("example.goog");
    let problem = wrong(&json!({
        "type": "impersonated_service_account",
        "service_account_impersonation_url": "https://iamcredentials.googleapis.com/v1/x",
        "source_credentials": source,
    }));
    assert!(problem.contains("are of universe example.goog, and the file of googleapis.com"), "{problem}");
}

#[test]
fn only_small_regular_files_are_read() {
    let home = Home::new();
    assert_eq!(read_bounded(home.0.path()).err().as_deref(), Some("not a regular file"));
    let large = home.0.path().join("large");
    let file = File::create(&large).unwrap();
    file.set_len(MAX_FILE_BYTES + 1).unwrap();
    assert_eq!(read_bounded(&large).err().as_deref(), Some("larger than 1 MiB"));
}
