//! Causes of a missing token: errors of Google's servers, or of servers in front.

use std::time::Duration;

use super::{http::HttpError, http::HttpResponse, redact};

/// Cause of a missing Google token. Holds names, addresses and redacted server messages; never a key or a token.
#[derive(Debug, Clone, thiserror::Error)]
pub enum GoogleError {
    /// No location holds credentials.
    #[error("no credentials found: {}", looked.join("; "))]
    NoCredentials {
        /// Locations searched, each with its finding.
        looked: Vec<String>,
    },
    /// Unusable credentials.
    #[error("{place}: {why}")]
    Unusable {
        /// File, or part of the file.
        place: String,
        /// Defect of the credentials.
        why: String,
    },
    /// A server did not respond.
    #[error("{server} did not respond")]
    Unreachable {
        /// Name of the server.
        server: String,
        /// Cause of the failure.
        #[source]
        source: HttpError,
    },
    /// A server refused.
    #[error("{server} answered {status}{}", code_and_words(.code, .words))]
    Refused {
        /// Name of the server.
        server: String,
        /// The HTTP status.
        status: u16,
        /// OAuth's `error`, or the API's `status`; may be empty.
        code: String,
        /// The server's message, redacted; may be empty.
        words: String,
        /// The time to wait before the next request.
        retry_after: Option<Duration>,
    },
    /// Response without the expected content.
    #[error("{server} answered without {expected}")]
    Senseless {
        /// Name of the server.
        server: String,
        /// Expected content.
        expected: &'static str,
    },
    /// With `impersonate = "user"`: no service account belongs to the database user.
    #[error("database user `{user}` is not a service account's: there is nobody to impersonate")]
    NotServiceAccount {
        /// The database user.
        user: String,
    },
    /// The credentials belong to another cloud.
    #[error("the credentials are of universe {found}, where {wanted} is expected")]
    WrongUniverse {
        /// The credentials' universe domain.
        found: String,
        /// Universe required by the environment or the credentials.
        wanted: String,
    },
    /// The credential of the foreign cloud, to be exchanged for Google's, was not available.
    #[error("subject token: {0}")]
    Subject(String),
}

/// Message for the metadata server's 404, whose body is empty or misleading.
const NO_SERVICE_ACCOUNT: &str = "no service account is bound to this pod or machine";

// === impl GoogleError ===

impl GoogleError {
    /// Reads the error of a `response` of `server`.
    pub(super) fn of_response(server: &str, response: &HttpResponse) -> Self {
        let (code, words) = read_error(response.body());
        Self::Refused {
            server: server.to_owned(),
            status: response.status,
            code,
            words,
            retry_after: response.retry_after(),
        }
    }

    /// Reads the error of a `response` of the metadata server.
    pub(super) fn of_metadata(server: &str, response: &HttpResponse) -> Self {
        let mut error = Self::of_response(server, response);
        if let Self::Refused { status: 404, words, .. } = &mut error {
            NO_SERVICE_ACCOUNT.clone_into(words);
        }
        error
    }

    /// True if a later request may succeed without intervention.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { source, .. } => {
                !matches!(source, HttpError::NoRoots | HttpError::Request | HttpError::TooLong)
            }
            // In a pod's first seconds, GKE's metadata server does not know the pod's service account.
            Self::Refused { status: 404, words, .. } => words == NO_SERVICE_ACCOUNT,
            Self::Refused { status, .. } => matches!(status, 408 | 429 | 500..=599),
            _ => false,
        }
    }

    /// Returns the retry time requested by the server.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Advice for the operator.
    pub(super) fn remedy(&self) -> &'static str {
        match self {
            Self::NoCredentials { .. } => {
                "bind a service account to this pod or machine, or write login = { iam = { file = \"…\" } }"
            }
            Self::Unusable { .. } => {
                "write the file again: `gcloud auth application-default login`, or a new key"
            }
            Self::Unreachable { .. } => {
                "check the way to this server: name, route, firewall, CA certificates"
            }
            Self::Refused { code, .. } if code == "invalid_grant" || code == "invalid_rapt" => {
                "log in again (`gcloud auth application-default login`); for a service account's key, check that the key \
                 exists and that this machine's clock is right"
            }
            Self::Refused { status: 404, words, .. } if words == NO_SERVICE_ACCOUNT => {
                "bind a service account (Workload Identity: annotate the Kubernetes service account, or grant it directly)"
            }
            Self::Refused { status: 403, .. } => {
                "grant roles/iam.serviceAccountTokenCreator on the impersonated service account to whoever asks, and enable \
                 the IAM Service Account Credentials API"
            }
            Self::Refused { status: 429 | 500..=599, .. } => "none: Gatekeeper asks again later",
            Self::Refused { .. } => "read what the server says: the credentials are not what it wants",
            Self::Senseless { .. } => "check that this server is Google's, or the one your credentials name",
            Self::NotServiceAccount { .. } => {
                "list service accounts only (`name@project.iam`), or write impersonate = \"sa@project.iam.gserviceaccount.com\""
            }
            Self::WrongUniverse { .. } => {
                "use credentials of that universe, or unset GOOGLE_CLOUD_UNIVERSE_DOMAIN"
            }
            Self::Subject(_) => "check the `credential_source` of the credentials file",
        }
    }
}

fn code_and_words(code: &str, words: &str) -> String {
    match (code, words) {
        ("", "") => String::new(),
        ("", text) | (text, "") => format!(": {text}"),
        (code, words) => format!(": {code}: {words}"),
    }
}

/// Reads code and message of an error: OAuth (RFC 6749, section 5.2) or Google API format.
fn read_error(body: &[u8]) -> (String, String) {
    let shown = |text: Option<&serde_json::Value>| {
        text.and_then(serde_json::Value::as_str)
            .map(|text| redact::first_line(text.as_bytes(), b""))
            .unwrap_or_default()
    };
    let Ok(json) = serde_json::from_slice::<serde_json::Value>(body) else { return Default::default() };
    match json.get("error") {
        Some(error) if error.is_object() => (shown(error.get("status")), shown(error.get("message"))),
        error => {
            let subtype = shown(json.get("error_subtype"));
            let code = if subtype == "invalid_rapt" { subtype } else { shown(error) };
            (code, shown(json.get("error_description")))
        }
    }
}
