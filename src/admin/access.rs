//! Who may ask: a bearer key, compared in constant time, or the cookie of a browser that has shown it; and the record of who
//! asked.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use aws_lc_rs::digest::{SHA256, digest};
use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header, uri::Authority},
    middleware::Next,
    response::{IntoResponse, Response},
};
use subtle::ConstantTimeEq;
use tokio::time::sleep;

use super::{
    AdminSettings, context::Context, cookies::Cookies, error::Problem, health::is_health_check, page::is_page,
};
use crate::{
    audit::{Record, record::AdminRequest},
    telemetry::labels::AdminOutcome,
};

/// What has to be shown, and where.
pub(super) struct Access {
    /// The key's hash: digests of one length are compared, so that not even the key's length can be measured.
    key: Option<[u8; 32]>,
    /// Only this machine can connect: health and metrics need no key.
    loopback: bool,
    /// Health needs no key, whoever asks.
    open_health: bool,
    /// The browsers that have shown the key.
    pub(super) cookies: Cookies,
}

/// The address that a request came from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Client(pub(super) SocketAddr);

/// An answer says that its request has shown the key in its own way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Authenticated;

/// Whether a request may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// It showed the key.
    Known,
    /// It comes from a browser that has shown the key.
    Session,
    /// It needs none.
    Open,
    /// It needs one and showed none.
    NoKey,
    /// It showed another.
    WrongKey,
    /// It needs none, and comes from a page of another site in an operator's browser.
    Foreign,
    /// It comes from a browser that has shown the key, and wants to change something. The page changes nothing, so some other
    /// page makes the browser ask.
    OnlyLooks,
}

/// How long a denial is held back: keys are not found by trying, and the audit log is not filled by it.
const DISCOURAGEMENT: Duration = Duration::from_millis(100);

/// Octets of a path that are worth recording.
const PATH: usize = 256;

/// Lets a request through or denies it, and counts and records it.
pub(super) async fn guard(State(context): State<Arc<Context>>, request: Request, next: Next) -> Response {
    let (client, method) = (request.extensions().get().copied(), request.method().clone());
    let path: String = request.uri().path().chars().take(PATH).collect();
    let verdict = context.access.judge(&method, &path, request.headers());
    let response = match verdict.denial() {
        None => next.run(request).await,
        Some(problem) => {
            sleep(DISCOURAGEMENT).await;
            problem.into_response()
        }
    };
    let status = response.status();
    let mut denied = verdict.denial().is_some();
    if !denied && status == StatusCode::UNAUTHORIZED {
        denied = true;
        sleep(DISCOURAGEMENT).await;
    }
    context.metrics.answered(match (denied, status.as_u16()) {
        (true, _) => AdminOutcome::Denied,
        (false, ..400) => AdminOutcome::Ok,
        (false, _) => AdminOutcome::Error,
    });
    if denied {
        tracing::warn!(client = ?client.map(|Client(address)| address), %method, path, ?verdict, "a request to the admin API was denied");
    }
    if denied || !(is_health(&path) || is_page(&path)) {
        let request = AdminRequest {
            client: client.map(|Client(address)| address),
            authenticated: matches!(verdict, Verdict::Known | Verdict::Session)
                || response.extensions().get::<Authenticated>().is_some(),
            method: method.as_str().into(),
            path: path.into(),
            status: status.as_u16(),
        };
        // The answer is made: it is told late rather than not at all, once the log has room.
        context.api.observers.audit.submit(Record::AdminRequest(Box::new(request))).await.ok();
    }
    response
}

/// Asked every few seconds, and telling little.
fn is_health(path: &str) -> bool {
    is_health_check(path) || path == "/metrics"
}

// === impl Access ===

impl Access {
    pub(super) fn new(settings: &AdminSettings) -> Self {
        Self {
            key: settings.api_key.as_ref().map(|key| hash(key.reveal().as_bytes())),
            loopback: settings.bind.ip().is_loopback(),
            open_health: settings.open_health,
            cookies: Cookies::new(settings),
        }
    }

    pub(super) fn needs_key(&self) -> bool {
        self.key.is_some()
    }

    /// Whether `shown` is the key.
    pub(super) fn is_key(&self, shown: &[u8]) -> bool {
        self.key.is_some_and(|key| bool::from(hash(shown).ct_eq(&key)))
    }

    fn judge(&self, method: &Method, path: &str, headers: &HeaderMap) -> Verdict {
        if self.key.is_none() {
            // Browsers say so themselves when a page of any site makes them change something elsewhere; and a site whose name
            // is made to lead here is called by its name.
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
        match bearer(headers) {
            Some(shown) if self.is_key(shown) => Verdict::Known,
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

/// Whether the request was not made by another site's page, nor by one of another port of this host, which cookies do not tell
/// apart. Browsers that do not say it do not send the cookie for other sites.
///
/// <https://www.w3.org/TR/fetch-metadata/#sec-fetch-site-header>
fn from_our_page(headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    matches!(site, None | Some(b"same-origin" | b"none"))
}

/// Whether the request is addressed to a name that anybody can have, rather than to an address or `localhost`.
fn called_by_foreign_name(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST).map(HeaderValue::to_str) else { return false };
    let Some(authority) = host.ok().and_then(|host| host.parse::<Authority>().ok()) else { return true };
    let host = authority.host().trim_matches(['[', ']']);
    !host.eq_ignore_ascii_case("localhost") && host.parse::<IpAddr>().is_err()
}

/// The key of `Authorization: Bearer KEY`.
///
/// <https://www.rfc-editor.org/rfc/rfc6750#section-2.1>
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let (scheme, key) = headers.get(header::AUTHORIZATION)?.as_bytes().split_at_checked(SCHEME.len())?;
    scheme.eq_ignore_ascii_case(SCHEME).then(|| key.trim_ascii())
}

const SCHEME: &[u8] = b"Bearer ";

pub(super) fn hash(text: &[u8]) -> [u8; 32] {
    digest(&SHA256, text).as_ref().try_into().expect("SHA-256 has 32 octets")
}

// === impl Verdict ===

impl Verdict {
    fn denial(self) -> Option<Problem> {
        let (status, code, message) = match self {
            Self::Known | Self::Session | Self::Open => return None,
            Self::NoKey => (StatusCode::UNAUTHORIZED, "no_key", "show the key: Authorization: Bearer KEY"),
            Self::WrongKey => (StatusCode::UNAUTHORIZED, "wrong_key", "this is not the key"),
            Self::Foreign => {
                let message = "a page of a website changes nothing here: configure a key to allow it";
                (StatusCode::FORBIDDEN, "foreign_origin", message)
            }
            Self::OnlyLooks => {
                let message =
                    "a browser's session looks and changes nothing: show the key: Authorization: Bearer KEY";
                (StatusCode::FORBIDDEN, "only_looks", message)
            }
        };
        Some(Problem::new(status, code, message))
    }
}
