//! AWS subject token: a signed `GetCallerIdentity` request. Google sends the request to identify the signer.
//!
//! <https://google.aip.dev/auth/4117#determining-the-subject-token-in-aws>

use std::time::Duration;

use aws_lc_rs::{digest, hmac};
use hyper::Method;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;
use zeroize::Zeroizing;

use super::{
    GoogleError, Secret,
    adc::SubjectFile,
    google_environment::{self as variable, GoogleEnvironment},
    http::{HttpRequest, HttpResponse, WebUrl, append_percent_encoded},
    requester::Requester,
};

/// Contents of `credential_source`.
pub(super) struct AwsSource {
    region_url: Option<WebUrl>,
    /// URL of the instance's list of roles; a role's key is one level below.
    keys_url: Option<WebUrl>,
    /// URL with the placeholder `{region}`.
    verification_url: String,
    session_token_url: Option<WebUrl>,
}

/// A key of AWS.
pub(super) struct AwsKey {
    pub(super) id: String,
    pub(super) secret: Secret,
    /// Session token of a temporary key.
    pub(super) session_token: Option<Secret>,
}

/// Request to sign.
pub(super) struct AwsRequest<'a> {
    pub(super) method: &'a str,
    /// URL as written: the sender of the request uses the same spelling.
    pub(super) written: &'a str,
    pub(super) url: &'a WebUrl,
    pub(super) region: &'a str,
    pub(super) service: &'a str,
    /// Further headers, names in lower case.
    pub(super) headers: Vec<(&'a str, String)>,
}

/// The metadata server's description of a role's key.
#[derive(Deserialize)]
struct RoleKey {
    #[serde(rename = "AccessKeyId")]
    id: String,
    #[serde(rename = "SecretAccessKey")]
    secret: Secret,
    #[serde(rename = "Token")]
    session_token: Option<Secret>,
}

/// Time limit of AWS's metadata server, on the local network.
const METADATA_TIMEOUT: Duration = Duration::from_secs(3);
/// Life of a session with AWS's metadata server, in seconds.
const SESSION_SECONDS: &str = "300";
const SESSION_HEADER: &str = "x-aws-ec2-metadata-token";
const ALGORITHM: &str = "AWS4-HMAC-SHA256";

// === impl AwsSource ===

impl AwsSource {
    pub(super) fn new(file: &SubjectFile) -> Result<Self, String> {
        match file.environment_id.as_deref() {
            Some("aws1") => {}
            other => return Err(format!("`environment_id` {:?} is not known", other.unwrap_or_default())),
        }
        let url = |name: &str, text: &Option<String>| match text {
            Some(text) => WebUrl::parse(text).map(Some).ok_or(format!("`{name}` is not a URL")),
            None => Ok(None),
        };
        Ok(Self {
            region_url: url("region_url", &file.region_url)?,
            keys_url: url("url", &file.url)?,
            session_token_url: url("imdsv2_session_token_url", &file.imdsv2_session_token_url)?,
            verification_url: file
                .regional_cred_verification_url
                .clone()
                .ok_or("`regional_cred_verification_url` is missing")?,
        })
    }

    /// Returns the request, signed for `audience`, in the form of the Security Token Service.
    pub(super) async fn obtain(
        &self,
        requester: &Requester<'_>,
        environment: &GoogleEnvironment,
        audience: &str,
        now: Timestamp,
    ) -> Result<Secret, GoogleError> {
        let session = self.session(requester, environment).await?;
        let region = self.region(requester, environment, session.as_ref()).await?;
        let key = self.key(requester, environment, session.as_ref()).await?;
        let written = self.verification_url.replace("{region}", &region);
        let url = WebUrl::parse(&written).ok_or_else(|| {
            GoogleError::Subject("`regional_cred_verification_url` is not a URL".to_owned())
        })?;
        let request = AwsRequest {
            method: "POST",
            written: &written,
            url: &url,
            region: &region,
            service: "sts",
            headers: vec![("x-goog-cloud-target-resource", audience.to_owned())],
        };
        Ok(request.to_subject_token(&key, now))
    }

    /// Opens a session with the metadata server (IMDSv2), if required.
    async fn session(
        &self,
        requester: &Requester<'_>,
        environment: &GoogleEnvironment,
    ) -> Result<Option<Secret>, GoogleError> {
        let all_known = known_region(environment).is_some() && known_key(environment).is_some();
        let Some(url) = self.session_token_url.clone().filter(|_| !all_known) else { return Ok(None) };
        let request = HttpRequest { method: Method::PUT, url, headers: Vec::new(), body: None }
            .with_header("x-aws-ec2-metadata-token-ttl-seconds", SESSION_SECONDS);
        fetch(requester, request, None).await.map(Some)
    }

    async fn region(
        &self,
        requester: &Requester<'_>,
        environment: &GoogleEnvironment,
        session: Option<&Secret>,
    ) -> Result<String, GoogleError> {
        if let Some(region) = known_region(environment) {
            return Ok(region.to_owned());
        }
        let Some(url) = self.region_url.clone() else {
            return Err(GoogleError::Subject(
                "AWS_REGION is not set, and there is no `region_url`".to_owned(),
            ));
        };
        // The response is a zone: the region plus one letter.
        let zone = fetch(requester, HttpRequest::get(url), session).await?;
        let mut region = zone.reveal().to_owned();
        region.pop();
        Ok(region)
    }

    async fn key(
        &self,
        requester: &Requester<'_>,
        environment: &GoogleEnvironment,
        session: Option<&Secret>,
    ) -> Result<AwsKey, GoogleError> {
        if let Some(key) = known_key(environment) {
            return Ok(key);
        }
        let missing =
            || GoogleError::Subject("AWS_ACCESS_KEY_ID is not set, and `url` names no role".to_owned());
        let url = self.keys_url.clone().ok_or_else(missing)?;
        let role = fetch(requester, HttpRequest::get(url.clone()), session).await?;
        let path = format!("{}/{}", url.path().trim_end_matches('/'), role.reveal());
        let url = url.with_path(&path).ok_or_else(missing)?;
        let server = server_name(&url);
        let described = fetch(requester, HttpRequest::get(url), session).await?;
        let key: RoleKey = serde_json::from_str(described.reveal())
            .map_err(|_| GoogleError::Senseless { server, expected: "a key" })?;
        Ok(AwsKey { id: key.id, secret: key.secret, session_token: key.session_token })
    }
}

fn known_region(environment: &GoogleEnvironment) -> Option<&str> {
    environment.get(variable::AWS_REGION).or_else(|| environment.get(variable::AWS_DEFAULT_REGION))
}

fn known_key(environment: &GoogleEnvironment) -> Option<AwsKey> {
    let secret = |name| environment.get(name).map(|text| Secret::new(text.to_owned()));
    Some(AwsKey {
        id: environment.get(variable::AWS_ACCESS_KEY_ID)?.to_owned(),
        secret: secret(variable::AWS_SECRET_ACCESS_KEY)?,
        session_token: secret(variable::AWS_SESSION_TOKEN),
    })
}

fn server_name(url: &WebUrl) -> String {
    format!("AWS metadata server {}", url.authority())
}

async fn fetch(
    requester: &Requester<'_>,
    mut request: HttpRequest,
    session: Option<&Secret>,
) -> Result<Secret, GoogleError> {
    if let Some(session) = session {
        request = request.with_header(SESSION_HEADER, session.reveal());
    }
    let server = server_name(&request.url);
    let read = |response: &HttpResponse| {
        if response.status != 200 {
            return Err(GoogleError::of_response(&server, response));
        }
        match str::from_utf8(response.body()).map(str::trim) {
            Ok(text) if !text.is_empty() => Ok(Secret::new(text.to_owned())),
            _ => Err(GoogleError::Senseless { server: server.clone(), expected: "a text" }),
        }
    };
    requester.send(&server, &request, METADATA_TIMEOUT, read).await
}

// === impl AwsRequest ===

impl AwsRequest<'_> {
    fn to_subject_token(&self, key: &AwsKey, now: Timestamp) -> Secret {
        let headers: Vec<_> =
            self.sign(key, now).iter().map(|(name, value)| json!({ "key": name, "value": value })).collect();
        let request = json!({ "headers": headers, "method": self.method, "url": self.written });
        let request = Zeroizing::new(request.to_string());
        let mut encoded = Zeroizing::new(String::with_capacity(3 * request.len()));
        append_percent_encoded(&mut encoded, &request);
        Secret::from(encoded)
    }

    /// Returns all headers of the request by name, including the signature.
    ///
    /// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>
    pub(super) fn sign(&self, key: &AwsKey, now: Timestamp) -> Vec<(String, String)> {
        let (date, time) = (now.strftime("%Y%m%d").to_string(), now.strftime("%Y%m%dT%H%M%SZ").to_string());
        let mut headers: Vec<(String, String)> =
            self.headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        headers.push(("host".to_owned(), self.url.authority()));
        headers.push(("x-amz-date".to_owned(), time.clone()));
        if let Some(token) = &key.session_token {
            headers.push(("x-amz-security-token".to_owned(), token.reveal().to_owned()));
        }
        headers.sort();
        let canonical_headers: String =
            headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let signed: Vec<&str> = headers.iter().map(|(name, _)| name.as_str()).collect();
        let signed = signed.join(";");
        let mut query: Vec<&str> = self.url.query().unwrap_or_default().split('&').collect();
        query.sort_unstable();
        let path = if self.url.path().is_empty() { "/" } else { self.url.path() };
        let (method, query, empty) = (self.method, query.join("&"), hex(digest_of(b"").as_ref()));
        let canonical = format!("{method}\n{path}\n{query}\n{canonical_headers}\n{signed}\n{empty}");
        let scope = format!("{date}/{}/{}/aws4_request", self.region, self.service);
        let text = format!("{ALGORITHM}\n{time}\n{scope}\n{}", hex(digest_of(canonical.as_bytes()).as_ref()));
        let seed = Zeroizing::new(format!("AWS4{}", key.secret.reveal()));
        let mut signing = Zeroizing::new(seed.as_bytes().to_vec());
        for part in [date.as_str(), self.region, self.service, "aws4_request", &text] {
            signing = Zeroizing::new(hmac_of(&signing, part).as_ref().to_vec());
        }
        let authorization = format!(
            "{ALGORITHM} Credential={}/{scope}, SignedHeaders={signed}, Signature={}",
            key.id,
            hex(&signing)
        );
        headers.push(("Authorization".to_owned(), authorization));
        headers.sort();
        headers
    }
}

fn digest_of(data: &[u8]) -> digest::Digest {
    digest::digest(&digest::SHA256, data)
}

fn hmac_of(key: &[u8], text: &str) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes())
}

fn hex(data: &[u8]) -> String {
    data.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
