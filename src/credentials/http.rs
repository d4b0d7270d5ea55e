//! Sends one HTTP request to a token server and reads the response.
//!
//! Promises: a request ends within its time limit, however slowly bytes arrive. A response has at most
//! [`MAX_BODY_BYTES`]. A redirect is an ordinary response and is not followed. No proxy is used. A connection serves
//! one request. Refuses to know: the meaning of requests.

use std::{
    fmt::Write as _,
    io,
    net::IpAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{
    HeaderMap, Method, Request, Uri,
    client::conn::http1,
    header::{HOST, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

use super::Secret;

/// Longest response body. Tokens have a few KiB; a larger body comes from a wrong server.
pub(super) const MAX_BODY_BYTES: usize = 2 << 20;
/// Longest response head.
const MAX_HEAD_BYTES: usize = 64 << 10;

/// Sends requests.
pub(super) struct HttpClient {
    /// Built for the first `https` request: reading the system's roots takes milliseconds.
    tls: OnceLock<Option<Arc<ClientConfig>>>,
}

/// A request.
#[derive(Clone)]
pub(super) struct HttpRequest {
    pub(super) method: Method,
    pub(super) url: WebUrl,
    pub(super) headers: Vec<(String, Secret)>,
    pub(super) body: Option<Secret>,
}

/// A response, with any status.
pub(super) struct HttpResponse {
    pub(super) status: u16,
    headers: HeaderMap,
    body: Zeroizing<Vec<u8>>,
}

/// An absolute `http` or `https` URL.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct WebUrl(Uri);

/// Cause of a missing response. Cloned for every waiting login.
#[derive(Debug, Clone, thiserror::Error)]
pub enum HttpError {
    /// The name does not resolve, or no address takes the connection.
    #[error("connecting")]
    Connect(#[source] Arc<io::Error>),
    /// The TLS handshake failed.
    #[error("TLS handshake")]
    Tls(#[source] Arc<io::Error>),
    /// The system has no CA certificates.
    #[error("the system has no CA certificates")]
    NoRoots,
    /// The connection broke, or the response is not HTTP.
    #[error("exchanging HTTP messages")]
    Exchange(#[source] Arc<hyper::Error>),
    /// The response has too many bytes.
    #[error("the response has more than 2 MiB")]
    TooLong,
    /// The response did not end in time.
    #[error("no response within {:.1} s", .0.as_secs_f64())]
    TimedOut(Duration),
    /// A request header contains a character not allowed in HTTP.
    #[error("the request cannot be written as HTTP")]
    Request,
}

// === impl HttpClient ===

impl HttpClient {
    /// Creates a client that trusts the system's CA certificates.
    pub(super) const fn new() -> Self {
        Self { tls: OnceLock::new() }
    }

    /// Creates a client that trusts only `roots`.
    #[cfg(test)]
    pub(super) fn with_roots(roots: RootCertStore) -> Self {
        Self { tls: OnceLock::from(client_config(roots)) }
    }

    /// Sends `request` and reads the whole response within `limit`.
    ///
    /// Cancel safe: the connection is closed.
    ///
    /// # Errors
    /// [`HttpError`]; a response of any status is not an error here.
    pub(super) async fn send(
        &self,
        request: &HttpRequest,
        limit: Duration,
    ) -> Result<HttpResponse, HttpError> {
        timeout(limit, Box::pin(self.exchange(request))).await.unwrap_or(Err(HttpError::TimedOut(limit)))
    }

    async fn exchange(&self, request: &HttpRequest) -> Result<HttpResponse, HttpError> {
        let url = &request.url;
        let message = request.to_message()?;
        let connect = |error| HttpError::Connect(Arc::new(error));
        let stream = TcpStream::connect((url.host(), url.port())).await.map_err(connect)?;
        // A request is one write: Nagle's algorithm would gain nothing.
        stream.set_nodelay(true).ok();
        if !url.is_https() {
            return converse(stream, message).await;
        }
        let tls = self.tls.get_or_init(|| client_config(native_roots())).clone();
        let name = ServerName::try_from(url.host().to_owned())
            .map_err(|error| connect(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
        let connector = TlsConnector::from(tls.ok_or(HttpError::NoRoots)?);
        let stream =
            connector.connect(name, stream).await.map_err(|error| HttpError::Tls(Arc::new(error)))?;
        converse(stream, message).await
    }
}

/// Sends `message` over a new connection and reads the response.
async fn converse<S>(stream: S, message: Request<Full<Bytes>>) -> Result<HttpResponse, HttpError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let broken = |error| HttpError::Exchange(Arc::new(error));
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_HEAD_BYTES)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(broken)?;
    let exchange = async move {
        let (head, mut frames) = sender.send_request(message).await.map_err(broken)?.into_parts();
        let mut body = Zeroizing::new(Vec::new());
        while let Some(frame) = frames.frame().await {
            if let Ok(data) = frame.map_err(broken)?.into_data() {
                if data.len() > MAX_BODY_BYTES - body.len() {
                    return Err(HttpError::TooLong);
                }
                append_wiping(&mut body, &data);
            }
        }
        Ok(HttpResponse { status: head.status.as_u16(), headers: head.headers, body })
    };
    let (mut exchange, mut connection) = (std::pin::pin!(exchange), std::pin::pin!(connection));
    let mut open = true;
    loop {
        tokio::select! {
            response = &mut exchange => return response,
            // The exchange also observes the end of the connection, and may have frames left to read.
            _ = &mut connection, if open => open = false,
        }
    }
}

/// Appends `data`; wipes an outgrown vector.
fn append_wiping(body: &mut Zeroizing<Vec<u8>>, data: &[u8]) {
    let needed = body.len() + data.len();
    if needed > body.capacity() {
        let mut grown = Zeroizing::new(Vec::with_capacity(needed.next_power_of_two()));
        grown.extend_from_slice(body);
        *body = grown;
    }
    body.extend_from_slice(data);
}

fn native_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    // Old entries of a system's bundle may be beyond webpki; the rest is good.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

/// `None` without roots.
fn client_config(roots: RootCertStore) -> Option<Arc<ClientConfig>> {
    if roots.is_empty() {
        return None;
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .ok()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Some(Arc::new(config))
}

// === impl HttpRequest ===

impl HttpRequest {
    /// A request without a body.
    pub(super) const fn get(url: WebUrl) -> Self {
        Self { method: Method::GET, url, headers: Vec::new(), body: None }
    }

    /// A form; names and values are percent-encoded.
    pub(super) fn post_form(url: WebUrl, fields: &[(&str, &str)]) -> Self {
        // Allocates the full size at once: growth would leave copies in memory.
        let size = fields.iter().map(|(name, value)| 3 * (name.len() + value.len()) + 2).sum();
        let mut form = Zeroizing::new(String::with_capacity(size));
        for (name, value) in fields {
            if !form.is_empty() {
                form.push('&');
            }
            append_percent_encoded(&mut form, name);
            form.push('=');
            append_percent_encoded(&mut form, value);
        }
        Self { method: Method::POST, url, headers: Vec::new(), body: Some(Secret::from(form)) }
            .with_header("content-type", "application/x-www-form-urlencoded")
    }

    /// JSON.
    pub(super) fn post_json(url: WebUrl, body: &serde_json::Value) -> Self {
        Self { method: Method::POST, url, headers: Vec::new(), body: Some(Secret::new(body.to_string())) }
            .with_header("content-type", "application/json")
    }

    /// Adds a header to the request.
    pub(super) fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), Secret::new(value.to_owned())));
        self
    }

    /// Adds `token` as bearer authorization.
    pub(super) fn with_bearer(self, token: &Secret) -> Self {
        let value = Zeroizing::new(format!("Bearer {}", token.reveal()));
        self.with_header("authorization", &value)
    }

    fn to_message(&self) -> Result<Request<Full<Bytes>>, HttpError> {
        let body = match &self.body {
            Some(body) => Bytes::from_owner(Zeroizing::new(body.reveal().as_bytes().to_vec())),
            None => Bytes::new(),
        };
        let mut message = Request::new(Full::new(body));
        *message.method_mut() = self.method.clone();
        *message.uri_mut() =
            self.url.0.path_and_query().map_or_else(Uri::default, |path| path.clone().into());
        let headers = message.headers_mut();
        headers.insert(HOST, HeaderValue::from_str(&self.url.authority()).map_err(|_| HttpError::Request)?);
        headers
            .insert(USER_AGENT, HeaderValue::from_static(concat!("gatekeeper/", env!("CARGO_PKG_VERSION"))));
        for (name, value) in &self.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| HttpError::Request)?;
            let mut value = HeaderValue::from_str(value.reveal()).map_err(|_| HttpError::Request)?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        Ok(message)
    }
}

/// Appends `text`, with every byte except RFC 3986's unreserved bytes as `%XX`.
pub(super) fn append_percent_encoded(to: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            to.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(to, "%{byte:02X}");
        }
    }
}

// === impl HttpResponse ===

impl HttpResponse {
    pub(super) fn body(&self) -> &[u8] {
        &self.body
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Returns `Retry-After` in seconds. Google's servers do not send the date form.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        self.header(RETRY_AFTER.as_str())?.trim().parse().ok().map(Duration::from_secs)
    }
}

// === impl WebUrl ===

impl WebUrl {
    /// Parses an absolute `http` or `https` URL.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let uri: Uri = text.parse().ok()?;
        let has_scheme = matches!(uri.scheme_str(), Some("http" | "https"));
        let has_host = uri.host().is_some_and(|host| !host.is_empty());
        // Rejects URLs with a user: names and passwords in a URL are never sent.
        let has_user = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
        (has_scheme && has_host && !has_user).then_some(Self(uri))
    }

    /// Parses a URL that keys and tokens may be sent to: `https`, or `http` on this machine.
    pub(super) fn parse_secure(text: &str) -> Option<Self> {
        Self::parse(text).filter(|url| url.is_https() || url.is_loopback())
    }

    /// The host without the brackets of an IPv6 address.
    pub(super) fn host(&self) -> &str {
        self.0.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']')
    }

    /// Returns the host, with the port unless the port is the scheme's default.
    pub(super) fn authority(&self) -> String {
        let host = self.0.host().unwrap_or_default();
        match self.0.port_u16() {
            Some(port) if port != self.default_port() => format!("{host}:{port}"),
            _ => host.to_owned(),
        }
    }

    /// The URL on the same server with another path, and without a query.
    pub(super) fn with_path(&self, path: &str) -> Option<Self> {
        let scheme = self.0.scheme_str().unwrap_or_default();
        Self::parse(&format!("{scheme}://{}{path}", self.authority()))
    }

    /// Returns the complete URL. May contain a token: not for logs.
    pub(super) fn to_text(&self) -> String {
        self.0.to_string()
    }

    /// Returns the path as written.
    pub(super) fn path(&self) -> &str {
        self.0.path()
    }

    /// Returns the query as written.
    pub(super) fn query(&self) -> Option<&str> {
        self.0.query()
    }

    fn is_https(&self) -> bool {
        self.0.scheme_str() == Some("https")
    }

    fn is_loopback(&self) -> bool {
        let host = self.host();
        host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
    }

    fn port(&self) -> u16 {
        self.0.port_u16().unwrap_or_else(|| self.default_port())
    }

    fn default_port(&self) -> u16 {
        if self.is_https() { 443 } else { 80 }
    }
}

#[cfg(test)]
mod tests;
