//! Compares each production request byte by byte.

use aws_lc_rs::{
    encoding::AsDer as _,
    rsa::{KeyPair, KeySize},
    signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey},
};
use serde_json::Value;

use super::*;

fn url(text: &str) -> WebUrl {
    WebUrl::parse_secure(text).unwrap()
}

fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}

/// Method, URL, headers and body.
fn written(request: &HttpRequest) -> (String, String, Vec<String>, String) {
    let headers = request.headers.iter().map(|(name, value)| format!("{name}: {}", value.reveal())).collect();
    let body = request.body.as_ref().map_or("", Secret::reveal);
    (request.method.to_string(), request.url.to_text(), headers, body.to_owned())
}

const FORM: &str = "content-type: application/x-www-form-urlencoded";

#[test]
fn a_key_signs_an_assertion_for_the_login_scope() {
    let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let der = general_purpose::STANDARD.encode(pair.as_der().unwrap().as_ref());
    let key = ServiceAccountKey {
        email: "app@p.iam.gserviceaccount.com".into(),
        key_id: Some("key-1".into()),
        private_key: secret(&format!("-----BEGIN PRIVATE KEY-----\n{der}\n-----END PRIVATE KEY-----\n")),
        token_url: url("https://oauth2.googleapis.com/token"),
    };
    let now = Timestamp::from_second(1_800_000_000).unwrap();
    let (method, to, headers, body) = written(&request_by_key(&key, LOGIN_SCOPE, now).unwrap());
    assert_eq!((method.as_str(), to.as_str()), ("POST", "https://oauth2.googleapis.com/token"));
    assert_eq!(headers, [FORM]);
    let assertion = body
        .strip_prefix("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=")
        .expect("the grant comes first");
    let (signed, signature) = assertion.rsplit_once('.').unwrap();
    let decode = |text: &str| general_purpose::URL_SAFE_NO_PAD.decode(text).unwrap();
    let parts: Vec<Value> =
        signed.split('.').map(|part| serde_json::from_slice(&decode(part)).unwrap()).collect();
    assert_eq!(parts[0], json!({ "alg": "RS256", "typ": "JWT", "kid": "key-1" }));
    assert_eq!(
        parts[1],
        json!({
            "iss": "app@p.iam.gserviceaccount.com",
            "scope": "https://www.googleapis.com/auth/alloydb.login",
            "aud": "https://oauth2.googleapis.com/token",
            "iat": 1_800_000_000,
            "exp": 1_800_003_600,
        })
    );
    UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, pair.public_key().as_ref())
        .verify(signed.as_bytes(), &decode(signature))
        .expect("signed by the key");
}

#[test]
fn a_key_that_is_not_one_is_not_quoted() {
    let key = ServiceAccountKey {
        email: "app@p.iam.gserviceaccount.com".into(),
        key_id: None,
        private_key: secret("-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"),
        token_url: url("https://oauth2.googleapis.com/token"),
    };
    let error = request_by_key(&key, LOGIN_SCOPE, Timestamp::UNIX_EPOCH).err().unwrap();
    assert_eq!(
        error.to_string(),
        "key of app@p.iam.gserviceaccount.com: `private_key` is not an RSA key in PEM"
    );
}

#[test]
fn a_person_refreshes_without_naming_a_scope() {
    let user = AuthorizedUser {
        client_id: "c".into(),
        client_secret: secret("s"),
        refresh_token: secret("1//r"),
        token_url: url("https://oauth2.googleapis.com/token"),
    };
    let body = "grant_type=refresh_token&client_id=c&client_secret=s&refresh_token=1%2F%2Fr";
    let to = "https://oauth2.googleapis.com/token";
    assert_eq!(written(&request_by_user(&user)), ("POST".into(), to.into(), vec![FORM.into()], body.into()));
}

#[test]
fn a_workforce_login_refreshes_by_basic_authentication() {
    let user = ExternalUser {
        token_url: url("https://sts.googleapis.com/v1/oauthtoken"),
        refresh_token: secret("r"),
        client: ClientSecret { id: "c".into(), secret: secret("s") },
    };
    let (_, to, headers, body) = written(&request_by_external_user(&user));
    assert_eq!(to, "https://sts.googleapis.com/v1/oauthtoken");
    assert_eq!(headers, [FORM, "authorization: Basic Yzpz"]);
    assert_eq!(body, "grant_type=refresh_token&refresh_token=r");
}

#[test]
fn a_subject_token_is_exchanged_at_the_security_token_service() {
    let source = serde_json::from_value(json!({ "file": "/t" })).unwrap();
    let mut account = ExternalAccount {
        audience: "//iam.googleapis.com/projects/1/providers/p".into(),
        subject_token_type: "urn:ietf:params:oauth:token-type:jwt".into(),
        token_url: url("https://sts.googleapis.com/v1/token"),
        subject: crate::credentials::subject::SubjectSource::new(source).unwrap(),
        client: None,
        workforce_project: None,
        impersonation: None,
        impersonated_lifetime: None,
    };
    let (_, to, headers, body) = written(&request_by_subject(&account, CLOUD_SCOPE, &secret("subject")));
    assert_eq!(to, "https://sts.googleapis.com/v1/token");
    assert_eq!(headers, [FORM]);
    let expected = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange\
        &audience=%2F%2Fiam.googleapis.com%2Fprojects%2F1%2Fproviders%2Fp\
        &scope=https%3A%2F%2Fwww.googleapis.com%2Fauth%2Fcloud-platform\
        &requested_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token\
        &subject_token=subject\
        &subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Ajwt";
    assert_eq!(body, expected);
    account.workforce_project = Some("123".into());
    let (.., body) = written(&request_by_subject(&account, CLOUD_SCOPE, &secret("subject")));
    assert_eq!(body, format!("{expected}&options=%7B%22userProject%22%3A%22123%22%7D"));
    account.client = Some(ClientSecret { id: "c".into(), secret: secret("s") });
    let (_, _, headers, body) = written(&request_by_subject(&account, CLOUD_SCOPE, &secret("subject")));
    assert_eq!((headers[1].as_str(), body.as_str()), ("authorization: Basic Yzpz", expected));
}

#[test]
fn impersonation_asks_for_the_login_scope_by_way_of_delegates() {
    let base = iam_credentials_base("googleapis.com");
    let target = impersonation_url(&base, "app@p.iam.gserviceaccount.com").unwrap();
    let wanted = ImpersonationRequest {
        url: &target,
        delegates: &["middle@p.iam.gserviceaccount.com".to_owned()],
        scope: LOGIN_SCOPE,
        lifetime: None,
        quota_project: Some("billed"),
    };
    let (method, to, headers, body) = written(&wanted.to_http(&secret("source")));
    assert_eq!(method, "POST");
    assert_eq!(
        to,
        "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/app@p.iam.gserviceaccount.com:generateAccessToken"
    );
    assert_eq!(
        headers,
        ["content-type: application/json", "authorization: Bearer source", "x-goog-user-project: billed"]
    );
    assert_eq!(
        serde_json::from_str::<Value>(&body).unwrap(),
        json!({
            "delegates": ["projects/-/serviceAccounts/middle@p.iam.gserviceaccount.com"],
            "scope": ["https://www.googleapis.com/auth/alloydb.login"],
            "lifetime": "3600s",
        })
    );
    assert_eq!(impersonated_email(&target), Some("app@p.iam.gserviceaccount.com"));
    let other =
        impersonation_url(&iam_credentials_base("example.goog"), "a@p.iam.gserviceaccount.com").unwrap();
    assert_eq!(other.host(), "iamcredentials.example.goog");
}

#[test]
fn tokeninfo_stands_beside_the_token_endpoint() {
    let request = request_token_info(&url("https://oauth2.googleapis.com/token"), &secret("ya29.t")).unwrap();
    let to = "https://oauth2.googleapis.com/tokeninfo?access_token=ya29.t";
    assert_eq!(written(&request), ("GET".into(), to.into(), Vec::new(), String::new()));
}
