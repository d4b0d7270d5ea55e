//! Access to the admin API: a key, compared in constant time, or the cookie of a logged-in browser. A second key permits
//! reading only.

use std::{net::IpAddr, time::Instant};

use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header, uri::Authority};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{
    AdminSettings,
    cookies::{Cookies, hash_secret},
    error::Problem,
    page::is_page,
};

/// Access rules of the admin API.
pub(super) struct AdminAccess {
    /// Hash of the key. Comparing digests of equal length does not reveal the length of the key.
    key: Option<[u8; 32]>,
    /// Hash of the key that permits reading only.
    viewer_key: Option<[u8; 32]>,
    /// Only this machine can connect: health and metrics need no key.
    loopback: bool,
    /// Health paths need no key.
    open_health: bool,
    /// Logged-in browsers.
    pub(super) cookies: Cookies,
}

/// Decision on a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The request has the key.
    Known,
    /// The request reads, and has the key for viewers.
    Viewer,
    /// The request has the cookie of a logged-in browser.
    Session,
    /// The path needs no key.
    Open,
    /// The key is missing.
    NoKey,
    /// The key is wrong.
    WrongKey,
    /// The path needs no key, but another site's page sent the request through an operator's browser.
    Foreign,
    /// The request has a cookie and changes state. The status page never does, so another page sent the request.
    OnlyLooks,
    /// The request changes state, and has the key for viewers.
    ViewerChanges,
}

/// True for paths that report only health: cheap and not audited.
pub(super) fn is_health_check(path: &str) -> bool {
    matches!(path, "/livez" | "/readyz" | "/startup" | "/liveness" | "/readiness")
}

/// Paths requested every few seconds, whose responses reveal little.
pub(super) fn is_health(path: &str) -> bool {
    is_health_check(path) || path == "/metrics"
}

// === impl AdminAccess ===

impl AdminAccess {
    pub(super) fn new(settings: &AdminSettings) -> Self {
        Self {
            key: settings.api_key.as_ref().map(|key| hash_secret(key.reveal().as_bytes())),
            viewer_key: settings.viewer_key.as_ref().map(|key| hash_secret(key.reveal().as_bytes())),
            loopback: settings.bind.ip().is_loopback(),
            open_health: settings.open_health,
            cookies: Cookies::new(settings),
        }
    }

    pub(super) fn needs_key(&self) -> bool {
        self.key.is_some()
    }

    /// True if `shown` is a key that permits reading.
    pub(super) fn may_read(&self, shown: &[u8]) -> bool {
        is_key(self.key, shown) | is_key(self.viewer_key, shown)
    }

    pub(super) fn judge(&self, method: &Method, path: &str, headers: &HeaderMap) -> Verdict {
        if self.key.is_none() {
            // Browsers send Origin when a page changes something on another site. A name that another site has pointed
            // to this address shows up in the Host header.
            let foreign = !method.is_safe() && headers.contains_key(header::ORIGIN);
            let rebound = !is_health(path) && called_by_foreign_name(headers);
            return if foreign || rebound { Verdict::Foreign } else { Verdict::Open };
        }
        let open = match path {
            path if is_health_check(path) => self.loopback || self.open_health,
            "/metrics" => self.loopback,
            LOGIN => true,
            _ => is_page(path),
        };
        if open {
            return Verdict::Open;
        }
        match shown_key(headers) {
            Some(shown) if is_key(self.key, &shown) => Verdict::Known,
            Some(shown) if is_key(self.viewer_key, &shown) => match method.is_safe() {
                true => Verdict::Viewer,
                false => Verdict::ViewerChanges,
            },
            Some(_) => Verdict::WrongKey,
            None if !from_our_page(headers) || !self.cookies.is_open(headers, Instant::now()) => {
                Verdict::NoKey
            }
            None if method.is_safe() || path == LOGOUT => Verdict::Session,
            None => Verdict::OnlyLooks,
        }
    }
}

const LOGIN: &str = "/v1/login";
const LOGOUT: &str = "/v1/logout";

/// True if the request comes from the status page: not from another site, nor from another port of this host, which
/// cookies do not distinguish. Browsers without Sec-Fetch-Site do not send the cookie for other sites.
///
/// <https://www.w3.org/TR/fetch-metadata/#sec-fetch-site-header>
fn from_our_page(headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    matches!(site, None | Some(b"same-origin" | b"none"))
}

/// True if the Host header is a DNS name rather than an address or `localhost`.
fn called_by_foreign_name(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST).map(HeaderValue::to_str) else { return false };
    let Some(authority) = host.ok().and_then(|host| host.parse::<Authority>().ok()) else { return true };
    let host = authority.host().trim_matches(['[', ']']);
    !host.eq_ignore_ascii_case("localhost") && host.parse::<IpAddr>().is_err()
}

/// The key of `Authorization: Bearer KEY`, or the password of `Authorization: Basic …`; the user name does not matter.
///
/// <https://www.rfc-editor.org/rfc/rfc6750#section-2.1>, <https://www.rfc-editor.org/rfc/rfc7617#section-2>
fn shown_key(headers: &HeaderMap) -> Option<Zeroizing<Vec<u8>>> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let space = value.iter().position(|byte| *byte == b' ')?;
    let (scheme, credentials) = (&value[..space], value[space..].trim_ascii());
    if scheme.eq_ignore_ascii_case(b"Bearer") {
        return Some(Zeroizing::new(credentials.to_vec()));
    }
    if !scheme.eq_ignore_ascii_case(b"Basic") {
        return None;
    }
    let decoded = Zeroizing::new(STANDARD.decode(credentials).ok()?);
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    Some(Zeroizing::new(decoded[colon + 1..].to_vec()))
}

fn is_key(key: Option<[u8; 32]>, shown: &[u8]) -> bool {
    key.is_some_and(|key| bool::from(hash_secret(shown).ct_eq(&key)))
}

// === impl Verdict ===

impl Verdict {
    pub(super) fn denial(self) -> Option<Problem> {
        let (status, code, message) = match self {
            Self::Known | Self::Viewer | Self::Session | Self::Open => return None,
            Self::NoKey => (StatusCode::UNAUTHORIZED, "no_key", "show the key: Authorization: Bearer KEY"),
            Self::WrongKey => (StatusCode::UNAUTHORIZED, "wrong_key", "the key is wrong"),
            Self::Foreign => {
                let message = "web pages cannot change anything: configure a key to allow it";
                (StatusCode::FORBIDDEN, "foreign_origin", message)
            }
            Self::OnlyLooks => {
                let message = "browser sessions are read-only: send the key: Authorization: Bearer KEY";
                (StatusCode::FORBIDDEN, "only_looks", message)
            }
            Self::ViewerChanges => (
                StatusCode::FORBIDDEN,
                "read_only_key",
                "this key is read-only: send the key of `admin.api_key`",
            ),
        };
        Some(Problem::new(status, code, message))
    }
}
