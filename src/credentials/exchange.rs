//! Requests that turn a credential into an access token, and responses: no socket, no clock.

use std::time::Duration;

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{RSA_PKCS1_SHA256, RsaKeyPair},
};
use base64::{Engine as _, engine::general_purpose};
use jiff::Timestamp;
use rustls_pki_types::{PrivateKeyDer, pem::PemObject as _};
use serde::Deserialize;
use serde_json::json;
use zeroize::{Zeroize as _, Zeroizing};

use super::{
    GoogleError, Secret,
    adc::{AuthorizedUser, ClientSecret, ExternalAccount, ExternalUser, ServiceAccountKey},
    http::{HttpRequest, HttpResponse, WebUrl},
};

/// Enough to log in to AlloyDB, and for nothing else.
pub(super) const LOGIN_SCOPE: &str = "https://www.googleapis.com/auth/alloydb.login";
/// Scope of requests for impersonation, and for token exchange with impersonation.
pub(super) const CLOUD_SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
/// Longest lifetime available without an organization policy.
const MAX_TOKEN_LIFETIME: Duration = Duration::from_secs(3600);

/// Token with the lifetime stated by its issuer.
pub(super) struct MintedToken {
    pub(super) secret: Secret,
    /// `None`: the issuer did not say.
    pub(super) lifetime: Option<Duration>,
}

/// RFC 6749, section 5.1.
#[derive(Deserialize)]
struct TokenResponse {
    access_token: Option<Secret>,
    expires_in: Option<f64>,
}

#[derive(Deserialize)]
struct ImpersonationResponse {
    #[serde(rename = "accessToken")]
    access_token: Option<Secret>,
    #[serde(rename = "expireTime")]
    expire_time: Option<String>,
}

#[derive(Deserialize)]
struct TokenInfo {
    email: Option<String>,
}

// === a service account's key ===

/// A signed assertion for an access token of the key's account.
///
/// <https://developers.google.com/identity/protocols/oauth2/service-account#httprest>
pub(super) fn request_by_key(
    key: &ServiceAccountKey,
    scope: &str,
    now: Timestamp,
) -> Result<HttpRequest, GoogleError> {
    let assertion = sign_assertion(key, scope, now)?;
    let fields =
        [("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"), ("assertion", assertion.reveal())];
    Ok(HttpRequest::post_form(key.token_url.clone(), &fields))
}

fn sign_assertion(key: &ServiceAccountKey, scope: &str, now: Timestamp) -> Result<Secret, GoogleError> {
    let unusable =
        |why: &str| GoogleError::Unusable { place: format!("key of {}", key.email), why: why.to_owned() };
    let pair =
        read_key(&key.private_key).ok_or_else(|| unusable("`private_key` is not an RSA key in PEM"))?;
    let mut header = json!({ "alg": "RS256", "typ": "JWT" });
    if let Some(id) = &key.key_id {
        header["kid"] = json!(id);
    }
    let issued = now.as_second();
    let claims = json!({
        "iss": key.email,
        "scope": scope,
        "aud": key.token_url.to_text(),
        "iat": issued,
        "exp": issued + i64::try_from(MAX_TOKEN_LIFETIME.as_secs()).unwrap_or(0),
    });
    let encode = |json: &serde_json::Value| general_purpose::URL_SAFE_NO_PAD.encode(json.to_string());
    let mut assertion = Zeroizing::new(format!("{}.{}", encode(&header), encode(&claims)));
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), assertion.as_bytes(), &mut signature)
        .map_err(|_| unusable("`private_key` does not sign"))?;
    let signature = general_purpose::URL_SAFE_NO_PAD.encode(signature);
    let mut signed = Zeroizing::new(String::with_capacity(assertion.len() + 1 + signature.len()));
    for part in [assertion.as_str(), ".", &signature] {
        signed.push_str(part);
    }
    assertion.zeroize();
    Ok(Secret::from(signed))
}

fn read_key(pem: &Secret) -> Option<RsaKeyPair> {
    let mut der = PrivateKeyDer::from_pem_slice(pem.reveal().as_bytes()).ok()?;
    let pair = match &der {
        PrivateKeyDer::Pkcs8(key) => RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()).ok(),
        PrivateKeyDer::Pkcs1(key) => RsaKeyPair::from_der(key.secret_pkcs1_der()).ok(),
        _ => None,
    };
    der.zeroize();
    pair
}

// === people ===

/// Builds a refresh request for gcloud's login. Omits `scope` to keep the login's scopes; Google refuses scopes not
/// granted.
pub(super) fn request_by_user(user: &AuthorizedUser) -> HttpRequest {
    let fields = [
        ("grant_type", "refresh_token"),
        ("client_id", &user.client_id),
        ("client_secret", user.client_secret.reveal()),
        ("refresh_token", user.refresh_token.reveal()),
    ];
    HttpRequest::post_form(user.token_url.clone(), &fields)
}

/// A refresh of a workforce login.
pub(super) fn request_by_external_user(user: &ExternalUser) -> HttpRequest {
    let fields = [("grant_type", "refresh_token"), ("refresh_token", user.refresh_token.reveal())];
    with_client(HttpRequest::post_form(user.token_url.clone(), &fields), &user.client)
}

/// Builds a request for a token's identity. The endpoint is on the server that issued the token.
///
/// <https://developers.google.com/identity/protocols/oauth2>
pub(super) fn request_token_info(token_url: &WebUrl, token: &Secret) -> Option<HttpRequest> {
    let path = Zeroizing::new(format!("/tokeninfo?access_token={}", token.reveal()));
    token_url.with_path(&path).map(HttpRequest::get)
}

/// Reads the e-mail address from a token-info response; `None` if the token's scopes hide the address.
pub(super) fn read_token_info(server: &str, response: &HttpResponse) -> Result<Option<String>, GoogleError> {
    if response.status != 200 {
        return Err(GoogleError::of_response(server, response));
    }
    serde_json::from_slice::<TokenInfo>(response.body()).map(|info| info.email).map_err(|_| {
        GoogleError::Senseless { server: server.to_owned(), expected: "a description of the token" }
    })
}

// === identities of foreign clouds ===

/// The exchange of a `subject` token at the Security Token Service.
///
/// <https://cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token>
pub(super) fn request_by_subject(account: &ExternalAccount, scope: &str, subject: &Secret) -> HttpRequest {
    let options = account.workforce_project.as_ref().filter(|_| account.client.is_none());
    let options = options.map(|project| json!({ "userProject": project }).to_string());
    let mut fields = vec![
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("audience", &account.audience),
        ("scope", scope),
        ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
        ("subject_token", subject.reveal()),
        ("subject_token_type", &account.subject_token_type),
    ];
    if let Some(options) = &options {
        fields.push(("options", options));
    }
    let request = HttpRequest::post_form(account.token_url.clone(), &fields);
    match &account.client {
        Some(client) => with_client(request, client),
        None => request,
    }
}

/// HTTP basic authentication (RFC 6749, section 2.3.1).
fn with_client(request: HttpRequest, client: &ClientSecret) -> HttpRequest {
    let pair = Zeroizing::new(format!("{}:{}", client.id, client.secret.reveal()));
    let encoded = Zeroizing::new(general_purpose::STANDARD.encode(pair.as_bytes()));
    request.with_header("authorization", &Zeroizing::new(format!("Basic {}", encoded.as_str())))
}

// === impersonation ===

/// Parameters of a request for another service account's token.
pub(super) struct ImpersonationRequest<'a> {
    pub(super) url: &'a WebUrl,
    /// Accounts between the requester and the impersonated account, each allowed to impersonate the next.
    pub(super) delegates: &'a [String],
    pub(super) scope: &'a str,
    pub(super) lifetime: Option<Duration>,
    pub(super) quota_project: Option<&'a str>,
}

impl ImpersonationRequest<'_> {
    /// Builds the request, authorized with the token `source`.
    ///
    /// <https://cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts/generateAccessToken>
    pub(super) fn to_http(&self, source: &Secret) -> HttpRequest {
        let delegates: Vec<String> = self.delegates.iter().map(|account| resource_name(account)).collect();
        let lifetime = format!("{}s", self.lifetime.unwrap_or(MAX_TOKEN_LIFETIME).as_secs());
        let body = json!({ "delegates": delegates, "scope": [self.scope], "lifetime": lifetime });
        let request = HttpRequest::post_json(self.url.clone(), &body).with_bearer(source);
        match self.quota_project {
            Some(project) => request.with_header("x-goog-user-project", project),
            None => request,
        }
    }
}

/// Returns the URL that issues tokens of the service account `email`.
pub(super) fn impersonation_url(base: &str, email: &str) -> Option<WebUrl> {
    let base = base.trim_end_matches('/');
    WebUrl::parse_secure(&format!("{base}/v1/{}:generateAccessToken", resource_name(email)))
}

/// The base of the IAM Service Account Credentials API of a universe.
pub(super) fn iam_credentials_base(universe: &str) -> String {
    format!("https://iamcredentials.{universe}")
}

/// Returns the service account in an impersonation URL.
pub(super) fn impersonated_email(url: &WebUrl) -> Option<&str> {
    let name = url.path().rsplit('/').next()?.strip_suffix(":generateAccessToken")?;
    name.contains('@').then_some(name)
}

fn resource_name(account: &str) -> String {
    match account.starts_with("projects/") {
        true => account.to_owned(),
        false => format!("projects/-/serviceAccounts/{account}"),
    }
}

/// Reads a token of another service account.
pub(super) fn read_impersonated(
    server: &str,
    response: &HttpResponse,
    now: Timestamp,
) -> Result<MintedToken, GoogleError> {
    if response.status != 200 {
        return Err(GoogleError::of_response(server, response));
    }
    let senseless = || GoogleError::Senseless { server: server.to_owned(), expected: "an access token" };
    let read: ImpersonationResponse = serde_json::from_slice(response.body()).map_err(|_| senseless())?;
    let until = read.expire_time.and_then(|text| text.parse::<Timestamp>().ok());
    let lifetime = until.map(|until| Duration::try_from(until.duration_since(now)).unwrap_or(Duration::ZERO));
    Ok(MintedToken { secret: read.access_token.and_then(usable).ok_or_else(senseless)?, lifetime })
}

// === all ===

/// Reads OAuth's response.
pub(super) fn read_token(server: &str, response: &HttpResponse) -> Result<MintedToken, GoogleError> {
    if response.status != 200 {
        return Err(GoogleError::of_response(server, response));
    }
    let senseless = || GoogleError::Senseless { server: server.to_owned(), expected: "an access token" };
    let read: TokenResponse = serde_json::from_slice(response.body()).map_err(|_| senseless())?;
    let lifetime = read.expires_in.and_then(|seconds| Duration::try_from_secs_f64(seconds.max(0.0)).ok());
    Ok(MintedToken { secret: read.access_token.and_then(usable).ok_or_else(senseless)?, lifetime })
}

/// Accepts a token without white space and control characters. Any other text would be sent as a password.
fn usable(token: Secret) -> Option<Secret> {
    let text = token.reveal();
    (!text.is_empty() && text.chars().all(|c| c.is_ascii_graphic())).then_some(token)
}

#[cfg(test)]
mod tests;
