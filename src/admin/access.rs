//! Who may ask: a bearer key, compared in constant time; and the record of who asked.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use aws_lc_rs::digest::{SHA256, digest};
use axum::{
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use subtle::ConstantTimeEq;
use tokio::time::sleep;

use super::{AdminSettings, context::Context, error::Problem};
use crate::{
    audit::{Record, record::AdminRequest},
    telemetry::labels::AdminOutcome,
};

/// What has to be shown, and where.
pub(super) struct Access {
    /// The key's hash: digests of one length are compared, so that not even the key's length can be measured.
    key: Option<[u8; 32]>,
    /// Health and metrics need no key.
    open_health: bool,
}

/// The address that a request came from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Client(pub(super) SocketAddr);

/// Whether a request may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// It showed the key.
    Known,
    /// It needs none.
    Open,
    /// It needs one and showed none.
    NoKey,
    /// It showed another.
    WrongKey,
    /// It needs none, and comes from a page of another site in an operator's browser.
    Foreign,
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
    let denied = verdict.denial().is_some();
    let status = response.status();
    context.metrics.answered(match (denied, status.as_u16()) {
        (true, _) => AdminOutcome::Denied,
        (false, ..400) => AdminOutcome::Ok,
        (false, _) => AdminOutcome::Error,
    });
    if denied {
        tracing::warn!(client = ?client.map(|Client(address)| address), %method, path, ?verdict, "a request to the admin API was denied");
    }
    if denied || !is_health(&path) {
        let request = AdminRequest {
            client: client.map(|Client(address)| address),
            authenticated: verdict == Verdict::Known,
            method: method.as_str().into(),
            path: path.into(),
            status: status.as_u16(),
        };
        // The answer is made: it is told late rather than not at all, once the log has room.
        context.api.world.audit.submit(Record::AdminRequest(Box::new(request))).await.ok();
    }
    response
}

/// Asked every few seconds, and telling little.
fn is_health(path: &str) -> bool {
    matches!(path, "/livez" | "/readyz" | "/metrics")
}

// === impl Access ===

impl Access {
    pub(super) fn new(settings: &AdminSettings) -> Self {
        Self {
            key: settings.api_key.as_ref().map(|key| hash(key.reveal().as_bytes())),
            open_health: settings.bind.ip().is_loopback(),
        }
    }

    fn judge(&self, method: &Method, path: &str, headers: &HeaderMap) -> Verdict {
        let Some(key) = &self.key else {
            // Browsers say so themselves when a page of any site makes them change something elsewhere.
            let foreign = !method.is_safe() && headers.contains_key(header::ORIGIN);
            return if foreign { Verdict::Foreign } else { Verdict::Open };
        };
        match bearer(headers) {
            _ if self.open_health && is_health(path) => Verdict::Open,
            None => Verdict::NoKey,
            Some(shown) if bool::from(hash(shown).ct_eq(key)) => Verdict::Known,
            Some(_) => Verdict::WrongKey,
        }
    }
}

/// The key of `Authorization: Bearer KEY`.
///
/// <https://www.rfc-editor.org/rfc/rfc6750#section-2.1>
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let (scheme, key) = headers.get(header::AUTHORIZATION)?.as_bytes().split_at_checked(SCHEME.len())?;
    scheme.eq_ignore_ascii_case(SCHEME).then(|| key.trim_ascii())
}

const SCHEME: &[u8] = b"Bearer ";

fn hash(text: &[u8]) -> [u8; 32] {
    digest(&SHA256, text).as_ref().try_into().expect("SHA-256 has 32 octets")
}

// === impl Verdict ===

impl Verdict {
    fn denial(self) -> Option<Problem> {
        let (status, code, message) = match self {
            Self::Known | Self::Open => return None,
            Self::NoKey => (StatusCode::UNAUTHORIZED, "no_key", "show the key: Authorization: Bearer KEY"),
            Self::WrongKey => (StatusCode::UNAUTHORIZED, "wrong_key", "this is not the key"),
            Self::Foreign => {
                let message = "a page of a website changes nothing here: configure a key to allow it";
                (StatusCode::FORBIDDEN, "foreign_origin", message)
            }
        };
        Some(Problem::new(status, code, message))
    }
}
