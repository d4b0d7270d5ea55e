//! Subject tokens from files, servers and programs.

use std::fs;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::Instant;

use super::*;
use crate::{
    credentials::http::HttpClient,
    sandbox::{FakeGoogle, GoogleFault},
};

const WANTED: SubjectRequest<'_> =
    SubjectRequest { audience: "//iam.example/p", token_type: "t", impersonated: Some("sa@p.iam") };

fn source(json: &Value) -> SubjectSource {
    SubjectSource::new(serde_json::from_value(json.clone()).unwrap()).unwrap()
}

async fn obtained_with(json: &Value, variables: &[(&str, &str)]) -> Result<String, String> {
    let client = HttpClient::new();
    let requester = Requester::new(&client, Instant::now() + Duration::from_secs(20));
    let environment = GoogleEnvironment::with(variables);
    let now = Timestamp::from_second(1_000).unwrap();
    let token = source(json).obtain(&requester, &environment, &WANTED, now).await;
    token.map(|token| token.reveal().to_owned()).map_err(|error| error.to_string())
}

async fn obtained(json: &Value) -> Result<String, String> {
    obtained_with(json, &[]).await
}

#[tokio::test]
async fn a_file_holds_a_text_or_json() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let format = json!({ "type": "json", "subject_token_field_name": "id" });
    let text = json!({ "file": file });
    let object = json!({ "file": file, "format": format });
    fs::write(&file, " eyJ.token\n").unwrap();
    assert_eq!(obtained(&text).await.unwrap(), "eyJ.token");
    fs::write(&file, "{\"n\": 1, \"id\": \"eyJ.other\"}").unwrap();
    assert_eq!(obtained(&object).await.unwrap(), "eyJ.other");
    for (written, json, expected) in [
        ("", &text, "empty"),
        ("eyJ.token", &object, "not a JSON object"),
        ("{\"id\": 5}", &object, "the field with the token is missing"),
    ] {
        fs::write(&file, written).unwrap();
        let problem = obtained(json).await.unwrap_err();
        assert_eq!(problem, format!("subject token: {}: {expected}", file.display()));
    }
    fs::remove_file(&file).unwrap();
    assert!(obtained(&text).await.unwrap_err().contains("No such file"));
}

#[tokio::test]
async fn a_server_nearby_is_asked_with_its_headers() {
    let google = FakeGoogle::start().await.unwrap();
    let json = json!({
        "url": google.url("/identity?resource=x"),
        "headers": { "Metadata": "True" },
        "format": { "type": "json", "subject_token_field_name": "access_token" },
    });
    google.fail_times("/identity", 1, GoogleFault::Status(503, String::new()));
    google.fail("/identity", GoogleFault::Body("{\"access_token\": \"eyJ.azure\"}".into()));
    assert_eq!(obtained(&json).await.unwrap(), "eyJ.azure");
    let seen = google.requests().remove(1);
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("GET", "/identity?resource=x"));
    assert_eq!(seen.header("metadata"), Some("True"));
    google.heal();
    assert_eq!(
        obtained(&json).await.unwrap_err(),
        format!("credential source {} answered 404", google.host())
    );
}

const ALLOWED: [(&str, &str); 1] = [("GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES", "1")];

/// Creates a program that runs `script`.
fn program(folder: &TempDir, script: &str) -> Value {
    let file = folder.path().join("program.sh");
    fs::write(&file, script).unwrap();
    json!({ "executable": { "command": format!("sh {}", file.display()) } })
}

#[tokio::test]
async fn a_program_runs_only_where_it_is_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let ran = folder.path().join("ran");
    let json = program(&folder, &format!("touch {}", ran.display()));
    let problem = obtained(&json).await.unwrap_err();
    assert_eq!(
        problem,
        "subject token: a program may be run only with GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES=1"
    );
    assert!(!ran.exists());
}

#[tokio::test]
async fn a_program_is_told_what_is_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let json = program(
        &folder,
        "e=$GOOGLE_EXTERNAL_ACCOUNT_AUDIENCE,$GOOGLE_EXTERNAL_ACCOUNT_TOKEN_TYPE\n\
         e=$e,$GOOGLE_EXTERNAL_ACCOUNT_INTERACTIVE,$GOOGLE_EXTERNAL_ACCOUNT_IMPERSONATED_EMAIL\n\
         echo '{\"version\": 1, \"success\": true, \"token_type\": \"t\", \"id_token\": \"'$e'\"}'",
    );
    assert_eq!(obtained_with(&json, &ALLOWED).await.unwrap(), "//iam.example/p,t,0,sa@p.iam");
}

#[tokio::test]
async fn a_programs_failures_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    for (script, expected) in [
        (
            "echo '{\"version\": 1, \"success\": false, \"code\": \"401\", \"message\": \"no login\"}'",
            "failed: 401: no login",
        ),
        ("echo '{\"version\": 2, \"success\": true}'", "version 2 is not known"),
        ("echo '{\"success\": true}'", "`version` or `success` is missing"),
        ("echo '{\"version\": 1, \"success\": true}'", "the token is missing"),
        (
            "echo '{\"version\": 1, \"success\": true, \"id_token\": \"x\", \"expiration_time\": 999}'",
            "the token has expired",
        ),
        ("echo eyJ.token", "printed something else than its JSON"),
        ("echo 'broken' >&2; exit 3", "exited with status 3: broken"),
    ] {
        let problem = obtained_with(&program(&folder, script), &ALLOWED).await.unwrap_err();
        assert_eq!(problem, format!("subject token: program: {expected}"), "{script}");
    }
}

#[tokio::test]
async fn a_programs_output_file_spares_a_run() {
    let folder = tempfile::tempdir().unwrap();
    let kept = folder.path().join("kept.json");
    let saml = "\"token_type\": \"urn:ietf:params:oauth:token-type:saml2\", \"saml_response\": \"<xml>\"";
    let mut json = program(&folder, &format!("echo '{{\"version\": 1, \"success\": true, {saml}}}'"));
    json["executable"]["output_file"] = json!(kept);
    let output = |until: i64| {
        format!("{{\"version\": 1, \"success\": true, \"id_token\": \"kept\", \"expiration_time\": {until}}}")
    };
    fs::write(&kept, output(2_000)).unwrap();
    assert_eq!(obtained_with(&json, &ALLOWED).await.unwrap(), "kept");
    fs::write(&kept, output(1_000)).unwrap();
    assert_eq!(obtained_with(&json, &ALLOWED).await.unwrap(), "<xml>");
}

#[tokio::test]
async fn a_program_has_no_more_time_than_the_mint() {
    let folder = tempfile::tempdir().unwrap();
    let client = HttpClient::new();
    let requester = Requester::new(&client, Instant::now() + Duration::from_millis(300));
    let source = source(&program(&folder, "sleep 100"));
    let environment = GoogleEnvironment::with(&ALLOWED);
    let obtained = source.obtain(&requester, &environment, &WANTED, Timestamp::UNIX_EPOCH).await;
    let problem = obtained.err().unwrap().to_string();
    assert!(problem.starts_with("subject token: program: not finished within 0."), "{problem}");
}
