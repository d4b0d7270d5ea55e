//! Admin API client for `gatekeeper stop`, `wait` and `healthcheck`: each request has a separate connection.
//!
//! Promises: a response within the time limit, or an error with the address. The key is sent only to a server with the
//! configured certificate, if any. Refuses to know: the meaning of responses.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::AdminSettings;
use crate::{
    credentials::Secret,
    tls::{PinnedTls, PinnedTlsError, TlsFileError},
};

/// Client of the admin API in the given configuration.
pub struct AdminClient {
    address: SocketAddr,
    key: Option<Secret>,
    tls: Option<PinnedTls>,
}

/// Status code and body of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminResponse {
    /// The status code.
    pub status: u16,
    /// The body, as text.
    pub body: String,
}

/// Reasons why a request got no response.
#[derive(Debug, thiserror::Error)]
pub enum AdminClientError {
    /// Connection failure: usually no process listens at the address.
    #[error("cannot connect to the admin API at {0} (is Gatekeeper running with this configuration?)")]
    Connect(SocketAddr, #[source] io::Error),
    /// Another certificate, or no TLS.
    #[error("TLS handshake with the admin API at {0} failed")]
    Tls(SocketAddr, #[source] PinnedTlsError),
    /// The connection broke.
    #[error("the connection to the admin API at {0} broke")]
    Broken(SocketAddr, #[source] io::Error),
    /// The server is not Gatekeeper, or uses TLS without TLS in the configuration.
    #[error("the server at {0} is not the admin API")]
    NotHttp(SocketAddr),
    /// The time limit is over.
    #[error("the admin API at {0} did not answer within {1:?}")]
    TimedOut(SocketAddr, Duration),
}

/// Size limit of a response in bytes. Readiness of 100 listeners has 30 KiB.
const MAX_RESPONSE_BYTES: u64 = 4 << 20;

// === impl AdminClient ===

impl AdminClient {
    /// Reads the certificate expected from the server.
    ///
    /// # Errors
    /// The certificate's file cannot be used.
    pub fn new(settings: &AdminSettings) -> Result<Self, TlsFileError> {
        let tls = settings.tls.as_ref().map(|tls| PinnedTls::new(&tls.identity.cert)).transpose()?;
        Ok(Self { address: local_address(settings.bind), key: settings.api_key.clone(), tls })
    }

    /// Returns the address of the server.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// True if a key is configured and sent.
    #[must_use]
    pub fn has_key(&self) -> bool {
        self.key.is_some()
    }

    /// Sends one request and reads the response, within `limit`.
    ///
    /// Cancel safety: when dropped, the server may have received the request.
    ///
    /// # Errors
    /// [`AdminClientError`]
    pub async fn request(
        &self,
        method: &str,
        path: &str,
        limit: Duration,
    ) -> Result<AdminResponse, AdminClientError> {
        let timed = timeout(limit, self.request_without_limit(method, path)).await;
        timed.unwrap_or(Err(AdminClientError::TimedOut(self.address, limit)))
    }

    async fn request_without_limit(
        &self,
        method: &str,
        path: &str,
    ) -> Result<AdminResponse, AdminClientError> {
        let address = self.address;
        let tcp =
            TcpStream::connect(address).await.map_err(|error| AdminClientError::Connect(address, error))?;
        let received = match &self.tls {
            None => self.exchange(tcp, method, path).await,
            Some(tls) => {
                let stream =
                    tls.handshake(tcp).await.map_err(|error| AdminClientError::Tls(address, error))?;
                self.exchange(stream, method, path).await
            }
        };
        let received = received.map_err(|error| AdminClientError::Broken(address, error))?;
        parse_response(&received).ok_or(AdminClientError::NotHttp(address))
    }

    /// HTTP/1.0: the response ends with the connection, and is never chunked.
    async fn exchange(
        &self,
        mut stream: impl AsyncRead + AsyncWrite + Unpin,
        method: &str,
        path: &str,
    ) -> io::Result<Vec<u8>> {
        let mut request =
            format!("{method} {path} HTTP/1.0\r\nhost: {}\r\ncontent-length: 0\r\n", self.address);
        if let Some(key) = &self.key {
            request.push_str(&format!("authorization: Bearer {}\r\n", key.reveal()));
        }
        request.push_str("\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut received = Vec::new();
        match stream.take(MAX_RESPONSE_BYTES).read_to_end(&mut received).await {
            // Some servers close without a TLS `close_notify`; the response head proves completeness.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(received),
            Err(error) => Err(error),
            Ok(_) => Ok(received),
        }
    }
}

/// Returns the address of a socket bound to `bind`, as reached from the same machine.
fn local_address(bind: SocketAddr) -> SocketAddr {
    let ip = match bind.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, bind.port())
}

/// Returns status code and body; `None` if the response is not HTTP.
///
/// <https://www.rfc-editor.org/rfc/rfc9112#name-status-line>
fn parse_response(received: &[u8]) -> Option<AdminResponse> {
    let text = std::str::from_utf8(received).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut words = head.lines().next()?.split(' ');
    words.next().filter(|version| version.starts_with("HTTP/1."))?;
    let status = words.next().filter(|status| status.len() == 3)?.parse().ok()?;
    Some(AdminResponse { status, body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcard_binds_are_reached_by_loopback() {
        for (bind, reached) in [
            ("0.0.0.0:8080", "127.0.0.1:8080"),
            ("[::]:8080", "[::1]:8080"),
            ("10.0.0.7:8080", "10.0.0.7:8080"),
            ("127.0.0.1:9", "127.0.0.1:9"),
        ] {
            assert_eq!(local_address(bind.parse().unwrap()), reached.parse().unwrap(), "{bind}");
        }
    }

    #[test]
    fn only_whole_http_heads_are_responses() {
        let response = parse_response(b"HTTP/1.0 503 Service Unavailable\r\na: b\r\n\r\n{}");
        assert_eq!(response, Some(AdminResponse { status: 503, body: "{}".to_owned() }));
        for other in [
            &b""[..],
            b"HTTP/1.0 200 OK\r\na: b\r\n",
            b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
            b"HTTP/1.1 2000 OK\r\n\r\n",
            b"HTTP/1.1\r\n\r\n",
            b"\x15\x03\x03\x00\x02\x02\x32",
            b"HTTP/1.0 200 OK\r\n\r\n\xff",
        ] {
            assert_eq!(parse_response(other), None, "{other:?}");
        }
    }
}
