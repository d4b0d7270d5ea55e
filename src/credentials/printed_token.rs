//! Token printed as JSON by a command, with its expiry.
//!
//! Names follow OAuth, Google's APIs, and `gcloud config config-helper --format json`.

use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::{Secret, exchange::MintedToken};

/// The JSON.
#[derive(Deserialize)]
struct PrintedToken {
    #[serde(alias = "accessToken", alias = "token")]
    access_token: Option<Secret>,
    /// Seconds.
    expires_in: Option<Value>,
    /// A time as in RFC 3339, or seconds since 1970.
    #[serde(alias = "token_expiry", alias = "expireTime", alias = "expiration_time")]
    expiry: Option<Value>,
    credential: Option<Box<Self>>,
}

/// Reads a token from JSON; `None` without a token. An unreadable expiry counts as missing.
pub(super) fn read_json(text: &str, now: Timestamp) -> Option<MintedToken> {
    let mut printed: PrintedToken = serde_json::from_str(text).ok()?;
    if let Some(inner) = printed.credential.take() {
        printed = *inner;
    }
    let lifetime = match (&printed.expires_in, &printed.expiry) {
        (Some(seconds), _) => number(seconds).and_then(|it| Duration::try_from_secs_f64(it.max(0.0)).ok()),
        (None, Some(Value::String(text))) => text.parse().ok().map(|until| remaining(until, now)),
        (None, Some(Value::Number(seconds))) => {
            seconds.as_i64().and_then(|it| Timestamp::from_second(it).ok()).map(|until| remaining(until, now))
        }
        _ => None,
    };
    Some(MintedToken { secret: printed.access_token?, lifetime })
}

fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.parse().ok())
}

fn remaining(until: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(until.duration_since(now)).unwrap_or(Duration::ZERO)
}
