//! A connection to a client or endpoint, plaintext or TLS.

use std::{
    io::{self, IoSlice},
    os::fd::{AsFd, BorrowedFd},
    pin::Pin,
    task::{Context, Poll},
};

use rustix::net::RecvFlags;
use rustls::{CommonState, HandshakeKind, ProtocolVersion};
use rustls_pki_types::CertificateDer;
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::{TcpStream, UnixStream},
};

use super::{PROTOCOL, certificate::end_point};

/// A connection to an endpoint or from a client. Small: the TLS state is boxed.
///
/// With TLS, written bytes may wait in a buffer: flush before awaiting a response. Socket readiness ignores decrypted
/// bytes: read to find out. A peer that closes without a TLS close alert (crash, cut connection) causes an error of
/// kind `UnexpectedEof`, where plaintext has an end of stream.
#[derive(Debug)]
pub enum Stream {
    /// Plaintext over TCP.
    Tcp(TcpStream),
    /// A Unix-domain socket.
    Unix(UnixStream),
    /// TLS as a client: towards an endpoint.
    Client(Box<tokio_rustls::client::TlsStream<TcpStream>>),
    /// TLS as a server: towards a client.
    Server(Box<ServerSide>),
}

/// TLS connection as a server.
#[derive(Debug)]
pub struct ServerSide {
    pub(super) tls: tokio_rustls::server::TlsStream<TcpStream>,
    /// Hash of the presented certificate, if defined.
    pub(super) end_point: Option<Vec<u8>>,
}

/// Activity on a connection without reader, as known to the runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quiet {
    /// No activity.
    Yes,
    /// Bytes.
    Spoke,
    /// The end, or an error.
    Ended,
}

/// Results of a handshake, for logs and the admin API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFacts {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// The cipher suite, in IANA's words.
    pub cipher: &'static str,
    /// True if an earlier session was resumed.
    pub resumed: bool,
    /// True if ALPN `postgresql` was agreed.
    pub alpn: bool,
    /// Server name requested by a client; `None` on the client side.
    pub server_name: Option<String>,
}

// === impl Stream ===

impl Stream {
    /// True with TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        matches!(self, Self::Client(_) | Self::Server(_))
    }

    /// Results of the handshake; `None` in plaintext.
    #[must_use]
    pub fn facts(&self) -> Option<TlsFacts> {
        let server_name = match self {
            Self::Server(side) => side.tls.get_ref().1.server_name().map(str::to_owned),
            _ => None,
        };
        let state = self.state()?;
        Some(TlsFacts {
            version: match state.protocol_version() {
                Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
                _ => "TLSv1.2",
            },
            cipher: state.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()).unwrap_or("?"),
            resumed: state.handshake_kind() == Some(HandshakeKind::Resumed),
            alpn: state.alpn_protocol() == Some(PROTOCOL),
            server_name,
        })
    }

    /// The certificate the other side showed.
    #[must_use]
    pub fn peer_certificate(&self) -> Option<&CertificateDer<'static>> {
        self.state()?.peer_certificates()?.first()
    }

    /// Channel binding data `tls-server-end-point`: hash of the server's certificate, on either side. `None` in
    /// plaintext, and for signatures without a hash in the RFC (Ed25519).
    ///
    /// <https://www.rfc-editor.org/rfc/rfc5929#section-4.1>
    #[must_use]
    pub fn server_end_point(&self) -> Option<Vec<u8>> {
        match self {
            Self::Client(_) => end_point(self.peer_certificate()?),
            Self::Server(side) => side.end_point.clone(),
            Self::Tcp(_) | Self::Unix(_) => None,
        }
    }

    /// The TCP socket underneath; `None` for a Unix-domain socket.
    #[must_use]
    pub fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Self::Tcp(tcp) => Some(tcp),
            Self::Unix(_) => None,
            Self::Client(tls) => Some(tls.get_ref().0),
            Self::Server(side) => Some(side.tls.get_ref().0),
        }
    }

    /// Activity since all bytes were read. No system call without activity: the runtime remembers socket events. Does
    /// not see decrypted bytes that were not read.
    #[must_use]
    pub fn quiet(&self) -> Quiet {
        let fd = self.as_fd();
        let look = || Ok(rustix::net::recv(fd, &mut [0; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT)?.1);
        let looked = match self {
            Self::Unix(unix) => unix.try_io(Interest::READABLE, look),
            Self::Tcp(tcp) => tcp.try_io(Interest::READABLE, look),
            Self::Client(tls) => tls.get_ref().0.try_io(Interest::READABLE, look),
            Self::Server(side) => side.tls.get_ref().0.try_io(Interest::READABLE, look),
        };
        match looked {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Quiet::Yes,
            Ok(1..) => Quiet::Spoke,
            Ok(0) | Err(_) => Quiet::Ended,
        }
    }

    /// Moves the socket's registration to the current runtime. TLS is unaffected.
    ///
    /// # Errors
    /// The system's error, for example without free descriptors; the previous registration stays.
    pub fn register_here(&mut self) -> io::Result<()> {
        let tcp = match self {
            Self::Unix(unix) => {
                *unix = UnixStream::from_std(unix.as_fd().try_clone_to_owned()?.into())?;
                return Ok(());
            }
            Self::Tcp(tcp) => tcp,
            Self::Client(tls) => tls.get_mut().0,
            Self::Server(side) => side.tls.get_mut().0,
        };
        // A second descriptor of the socket: dropping a registration consumes a descriptor.
        *tcp = TcpStream::from_std(tcp.as_fd().try_clone_to_owned()?.into())?;
        Ok(())
    }

    fn state(&self) -> Option<&CommonState> {
        match self {
            Self::Tcp(_) | Self::Unix(_) => None,
            Self::Client(tls) => Some(tls.get_ref().1),
            Self::Server(side) => Some(side.tls.get_ref().1),
        }
    }
}

/// Calls a method of the inner stream.
macro_rules! inner {
    ($this:expr, $stream:ident => $call:expr) => {
        match $this.get_mut() {
            Stream::Tcp($stream) => $call,
            Stream::Unix($stream) => $call,
            Stream::Client(tls) => {
                let $stream = tls.as_mut();
                $call
            }
            Stream::Server(side) => {
                let $stream = &mut side.tls;
                $call
            }
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        inner!(self, stream => Pin::new(stream).poll_read(cx, into))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        inner!(self, stream => Pin::new(stream).poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        inner!(self, stream => Pin::new(stream).poll_write_vectored(cx, parts))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        inner!(self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        inner!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(tcp) => tcp.as_fd(),
            Self::Unix(unix) => unix.as_fd(),
            Self::Client(tls) => tls.get_ref().0.as_fd(),
            Self::Server(side) => side.tls.get_ref().0.as_fd(),
        }
    }
}

impl From<TcpStream> for Stream {
    fn from(tcp: TcpStream) -> Self {
        Self::Tcp(tcp)
    }
}

impl From<UnixStream> for Stream {
    fn from(unix: UnixStream) -> Self {
        Self::Unix(unix)
    }
}
