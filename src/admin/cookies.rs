//! Browser sessions: a browser that has sent the key gets a read-only cookie.
//!
//! Promises: a cookie is random, and only its hash is stored; a session ends after a time limit, at logout and with the
//! process; the number of sessions is bounded. Refuses to know: the permissions of a session.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use aws_lc_rs::digest::{SHA256, digest};
use axum::http::{HeaderMap, HeaderValue, header};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::AdminSettings;

/// Browser sessions.
pub(super) struct Cookies {
    /// With TLS, the prefix makes the browser enforce: only this host, only encrypted, every path. Without TLS, the
    /// port distinguishes two programs on one host, because cookies are sent to all ports.
    ///
    /// <https://www.rfc-editor.org/rfc/rfc6265#section-8.5>
    name: String,
    secure: bool,
    /// Hashes of issued cookies with their times, oldest first.
    open: Mutex<VecDeque<([u8; 32], Instant)>>,
}

/// Lifetime of a browser session.
const BROWSER_SESSION_LIFETIME: Duration = Duration::from_secs(12 * 3600);
/// Maximum number of browser sessions; another one ends the oldest.
const MAX_BROWSER_SESSIONS: usize = 64;

/// SHA-256 of a secret. Only hashes are stored and compared.
pub(super) fn hash_secret(text: &[u8]) -> [u8; 32] {
    digest(&SHA256, text).as_ref().try_into().expect("SHA-256 has 32 bytes")
}

impl Cookies {
    pub(super) fn new(settings: &AdminSettings) -> Self {
        let secure = settings.tls.is_some();
        let name = match secure {
            true => "__Host-gatekeeper".to_owned(),
            false => format!("gatekeeper-{}", settings.bind.port()),
        };
        Self { name, secure, open: Mutex::default() }
    }

    /// Begins a session and returns the `Set-Cookie` value; `None` if the system provides no random numbers.
    pub(super) fn open(&self, now: Instant) -> Option<HeaderValue> {
        let mut chance = [0; 32];
        aws_lc_rs::rand::fill(&mut chance).ok()?;
        let value = URL_SAFE_NO_PAD.encode(chance);
        let mut open = self.lock();
        open.retain(|(_, since)| now.saturating_duration_since(*since) < BROWSER_SESSION_LIFETIME);
        if open.len() >= MAX_BROWSER_SESSIONS {
            open.pop_front();
        }
        open.push_back((hash_secret(value.as_bytes()), now));
        self.set_cookie_header(&value, BROWSER_SESSION_LIFETIME)
    }

    /// Ends the session of the request and returns the `Set-Cookie` value.
    pub(super) fn close(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        if let Some(shown) = self.shown(headers) {
            self.lock().retain(|(known, _)| *known != shown);
        }
        self.set_cookie_header("", Duration::ZERO)
    }

    /// True if the headers contain the cookie of an open session.
    pub(super) fn is_open(&self, headers: &HeaderMap, now: Instant) -> bool {
        let Some(shown) = self.shown(headers) else { return false };
        let open = self.lock();
        // Comparing hashes reveals nothing about the cookie through timing.
        open.iter().any(|(known, since)| {
            *known == shown && now.saturating_duration_since(*since) < BROWSER_SESSION_LIFETIME
        })
    }

    /// Hash of the request's cookie.
    fn shown(&self, headers: &HeaderMap) -> Option<[u8; 32]> {
        let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
        let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs.find(|(name, _)| *name == self.name).map(|(_, value)| hash_secret(value.as_bytes()))
    }

    fn set_cookie_header(&self, value: &str, life: Duration) -> Option<HeaderValue> {
        let secure = if self.secure { "; Secure" } else { "" };
        let (name, life) = (&self.name, life.as_secs());
        let text = format!("{name}={value}; Path=/; Max-Age={life}; HttpOnly; SameSite=Strict{secure}");
        HeaderValue::try_from(text).ok()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<([u8; 32], Instant)>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cookies() -> Cookies {
        Cookies::new(&AdminSettings {
            bind: "127.0.0.1:8080".parse().unwrap(),
            api_key: None,
            viewer_key: None,
            open_health: false,
            metrics_prefix: "gatekeeper".into(),
            tls: None,
        })
    }

    fn showing(cookie: &HeaderValue) -> HeaderMap {
        let pair = cookie.to_str().unwrap().split(';').next().unwrap().to_owned();
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, HeaderValue::try_from(format!("other=1; {pair}; more=2")).unwrap());
        headers
    }

    #[test]
    fn a_session_lasts_until_it_is_closed_or_old() {
        let (cookies, now) = (cookies(), Instant::now());
        let (one, two) = (cookies.open(now).unwrap(), cookies.open(now).unwrap());
        assert!(cookies.is_open(&showing(&one), now) && cookies.is_open(&showing(&two), now));
        let gone = cookies.close(&showing(&one)).unwrap();
        assert!(gone.to_str().unwrap().contains("=; Path=/; Max-Age=0;"), "{gone:?}");
        assert!(!cookies.is_open(&showing(&one), now) && cookies.is_open(&showing(&two), now));
        assert!(!cookies.is_open(&showing(&two), now + BROWSER_SESSION_LIFETIME));
        assert!(!cookies.is_open(&HeaderMap::new(), now));
    }

    #[test]
    fn there_are_never_more_than_a_few() {
        let (cookies, now) = (cookies(), Instant::now());
        let all: Vec<_> = (0..=MAX_BROWSER_SESSIONS).map(|_| cookies.open(now).unwrap()).collect();
        assert!(!cookies.is_open(&showing(&all[0]), now));
        assert!(all[1..].iter().all(|cookie| cookies.is_open(&showing(cookie), now)));
    }
}
