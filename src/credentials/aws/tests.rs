//! Compares signatures with AWS's example, and tests the complete sequence with a fake metadata server.

use serde_json::Value;

use super::*;
use crate::{
    credentials::http::HttpClient,
    sandbox::{FakeGoogle, FakeRequest, GoogleFault},
};

const AUDIENCE: &str = "//iam.googleapis.com/projects/1/providers/aws";

fn now() -> Timestamp {
    "2015-08-30T12:36:00Z".parse().unwrap()
}

fn key(session_token: Option<&str>) -> AwsKey {
    AwsKey {
        id: "AKIDEXAMPLE".into(),
        secret: Secret::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".into()),
        session_token: session_token.map(|text| Secret::new(text.to_owned())),
    }
}

#[test]
fn the_signature_is_that_of_awss_own_example() {
    // <https://docs.aws.amazon.com/general/latest/gr/sigv4-signed-request-examples.html>
    let url = "https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08";
    let request = AwsRequest {
        method: "GET",
        written: url,
        url: &WebUrl::parse(url).unwrap(),
        region: "us-east-1",
        service: "iam",
        headers: vec![("content-type", "application/x-www-form-urlencoded; charset=utf-8".to_owned())],
    };
    let headers = request.sign(&key(None), now());
    let authorization = headers.iter().find(|(name, _)| name == "Authorization").unwrap();
    assert_eq!(
        authorization.1,
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, \
         SignedHeaders=content-type;host;x-amz-date, \
         Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
    );
}

/// `credential_source` as written by Google's console, with the fake in place of AWS's metadata server.
fn source(google: &FakeGoogle) -> AwsSource {
    let file = json!({
        "environment_id": "aws1",
        "region_url": google.url("/latest/meta-data/placement/availability-zone"),
        "url": google.url("/latest/meta-data/iam/security-credentials"),
        "imdsv2_session_token_url": google.url("/latest/api/token"),
        "regional_cred_verification_url":
            "https://sts.{region}.amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15",
    });
    AwsSource::new(&serde_json::from_value(file).unwrap()).unwrap()
}

fn decoded(text: &str) -> String {
    let body = format!("text={text}");
    let request = FakeRequest { method: String::new(), target: String::new(), headers: Vec::new(), body };
    request.form().remove(0).1
}

/// The request in a subject token.
async fn obtained(google: &FakeGoogle, variables: &[(&str, &str)]) -> Result<Value, GoogleError> {
    let client = HttpClient::new();
    let requester = Requester::new(&client, tokio::time::Instant::now() + Duration::from_secs(1));
    let environment = GoogleEnvironment::with(variables);
    let token = source(google).obtain(&requester, &environment, AUDIENCE, now()).await?;
    let decoded = decoded(token.reveal());
    Ok(serde_json::from_str(&decoded).unwrap())
}

fn header(request: &Value, name: &str) -> String {
    let headers = request["headers"].as_array().unwrap();
    let found = headers.iter().find(|header| header["key"] == name);
    found.and_then(|header| header["value"].as_str()).unwrap_or_default().to_owned()
}

#[tokio::test]
async fn the_environments_key_signs_without_a_metadata_server() {
    let google = FakeGoogle::start().await.unwrap();
    let variables = [
        ("AWS_REGION", "eu-west-1"),
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "s"),
        ("AWS_SESSION_TOKEN", "session"),
    ];
    let request = obtained(&google, &variables).await.unwrap();
    assert!(google.requests().is_empty());
    assert_eq!(
        request["url"],
        "https://sts.eu-west-1.amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15"
    );
    assert_eq!(request["method"], "POST");
    assert_eq!(header(&request, "x-goog-cloud-target-resource"), AUDIENCE);
    assert_eq!(header(&request, "host"), "sts.eu-west-1.amazonaws.com");
    assert_eq!(header(&request, "x-amz-date"), "20150830T123600Z");
    assert_eq!(header(&request, "x-amz-security-token"), "session");
    let signed = "SignedHeaders=host;x-amz-date;x-amz-security-token;x-goog-cloud-target-resource";
    assert!(header(&request, "Authorization").contains(signed), "{request}");
}

#[tokio::test]
async fn an_instances_role_signs_by_way_of_a_session() {
    let google = FakeGoogle::start().await.unwrap();
    let key = json!({ "AccessKeyId": "ASIA", "SecretAccessKey": "s", "Token": "temporary" });
    for (target, body) in [
        ("/latest/api/token", "session-1".to_owned()),
        ("/availability-zone", "us-east-2b".to_owned()),
        ("/security-credentials/my-role", key.to_string()),
        ("/security-credentials", "my-role".to_owned()),
    ] {
        google.fail(target, GoogleFault::Body(body));
    }
    let request = obtained(&google, &[]).await.unwrap();
    assert_eq!(header(&request, "host"), "sts.us-east-2.amazonaws.com");
    assert_eq!(header(&request, "x-amz-security-token"), "temporary");
    assert!(
        header(&request, "Authorization").contains("Credential=ASIA/20150830/us-east-2/sts/aws4_request")
    );
    let seen = google.requests();
    let summary: Vec<_> = seen.iter().map(|it| format!("{} {}", it.method, it.target)).collect();
    assert_eq!(
        summary,
        [
            "PUT /latest/api/token",
            "GET /latest/meta-data/placement/availability-zone",
            "GET /latest/meta-data/iam/security-credentials",
            "GET /latest/meta-data/iam/security-credentials/my-role",
        ]
    );
    assert_eq!(seen[0].header("x-aws-ec2-metadata-token-ttl-seconds"), Some("300"));
    assert!(seen[1..].iter().all(|it| it.header("x-aws-ec2-metadata-token") == Some("session-1")));
}

#[tokio::test]
async fn an_instance_without_a_role_is_told_so() {
    let google = FakeGoogle::start().await.unwrap();
    google.fail("/latest/api/token", GoogleFault::Body("session-1".into()));
    let error = obtained(&google, &[("AWS_DEFAULT_REGION", "eu-west-1")]).await.unwrap_err();
    assert_eq!(error.to_string(), format!("AWS metadata server {} answered 404", google.host()));
}
