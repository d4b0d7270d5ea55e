//! The metadata server of Compute Engine, GKE and Cloud Run.
//!
//! <https://cloud.google.com/compute/docs/metadata/overview>

use std::time::Duration;

use super::{
    GoogleError, adc,
    exchange::{self, MintedToken},
    google_environment::{self as variable, GoogleEnvironment},
    http::{HttpRequest, HttpResponse, WebUrl, append_percent_encoded},
};

/// Required header of every request and response: a server without the header is not Google's.
const FLAVOR: (&str, &str) = ("metadata-flavor", "Google");
const DEFAULT_HOST: &str = "metadata.google.internal";
/// `GCE_METADATA_TIMEOUT` of Google's libraries.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(3);
/// `GCE_METADATA_DETECT_RETRIES` of Google's libraries.
const DEFAULT_DETECT_RETRIES: u32 = 3;

/// Metadata server, with retry settings.
pub(super) struct MetadataServer {
    host: String,
    limit: Duration,
    /// Attempts after which a server without any response counts as missing.
    pub(super) detect_attempts: u32,
}

// === impl MetadataServer ===

impl MetadataServer {
    pub(super) fn new(environment: &GoogleEnvironment) -> Self {
        let host = [variable::METADATA_HOST, variable::METADATA_ROOT, variable::METADATA_IP]
            .into_iter()
            .find_map(|name| environment.get(name))
            .unwrap_or(DEFAULT_HOST);
        let seconds = environment.get(variable::METADATA_TIMEOUT).and_then(|text| text.parse().ok());
        let retries = environment.get(variable::METADATA_RETRIES).and_then(|text| text.parse().ok());
        Self {
            host: host.to_owned(),
            limit: seconds
                .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
                .filter(|limit| !limit.is_zero())
                .unwrap_or(DEFAULT_TIMEOUT),
            detect_attempts: retries.unwrap_or(DEFAULT_DETECT_RETRIES).max(1),
        }
    }

    /// Server name in messages.
    pub(super) fn name(&self) -> String {
        format!("metadata server {}", self.host)
    }

    /// Time limit of one request.
    pub(super) const fn limit(&self) -> Duration {
        self.limit
    }

    /// Asks for a token of the default service account for `scope`.
    pub(super) fn request_token(&self, scope: &str) -> Result<HttpRequest, GoogleError> {
        let mut path = "instance/service-accounts/default/token?scopes=".to_owned();
        append_percent_encoded(&mut path, scope);
        self.request(&path)
    }

    /// Asks for the e-mail address of the default service account.
    pub(super) fn request_email(&self) -> Result<HttpRequest, GoogleError> {
        self.request("instance/service-accounts/default/email")
    }

    /// Builds a request for the machine's universe.
    pub(super) fn request_universe(&self) -> Result<HttpRequest, GoogleError> {
        self.request("universe/universe-domain")
    }

    pub(super) fn read_token(&self, response: &HttpResponse) -> Result<MintedToken, GoogleError> {
        self.check(response)?;
        exchange::read_token(&self.name(), response)
    }

    pub(super) fn read_email(&self, response: &HttpResponse) -> Result<String, GoogleError> {
        self.check(response)?;
        self.read_line(response, "an e-mail address")
    }

    pub(super) fn read_universe(&self, response: &HttpResponse) -> Result<String, GoogleError> {
        if response.status == 404 {
            return Ok(adc::DEFAULT_UNIVERSE.to_owned());
        }
        self.check(response)?;
        self.read_line(response, "a universe domain")
    }

    fn request(&self, path: &str) -> Result<HttpRequest, GoogleError> {
        let url =
            WebUrl::parse(&format!("http://{}/computeMetadata/v1/{path}", self.host)).ok_or_else(|| {
                GoogleError::Unusable {
                    place: self.name(),
                    why: "the name cannot be the host of a URL".to_owned(),
                }
            })?;
        Ok(HttpRequest::get(url).with_header(FLAVOR.0, FLAVOR.1))
    }

    fn check(&self, response: &HttpResponse) -> Result<(), GoogleError> {
        if response.status != 200 {
            return Err(GoogleError::of_metadata(&self.name(), response));
        }
        if response.header(FLAVOR.0) != Some(FLAVOR.1) {
            let expected = "the header Metadata-Flavor: Google";
            return Err(GoogleError::Senseless { server: self.name(), expected });
        }
        Ok(())
    }

    fn read_line(&self, response: &HttpResponse, expected: &'static str) -> Result<String, GoogleError> {
        str::from_utf8(response.body())
            .ok()
            .map(str::trim)
            .filter(|text| {
                !text.is_empty() && text.len() <= 255 && text.chars().all(|c| c.is_ascii_graphic())
            })
            .map(str::to_owned)
            .ok_or_else(|| GoogleError::Senseless { server: self.name(), expected })
    }
}

#[cfg(test)]
mod tests;
