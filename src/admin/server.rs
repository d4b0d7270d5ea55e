//! The server of the admin API.

use std::{
    io::{self, ErrorKind},
    net::SocketAddr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
};

use axum::Router;
use tokio::{net::TcpListener, sync::oneshot, time::sleep};

use super::{
    AdminSettings, connection,
    connection_places::{ConnectionPlaces, Place},
    context::AdminContext,
    monitor::ServiceMonitor,
    router::{build_router, health_only},
};
use crate::{
    tasks::{ACCEPT_FAILURE_PAUSE, Tasks},
    tls::{ServerTls, TlsFileError},
};

/// The running admin API. Drop ends all connections.
pub struct AdminServer {
    context: Arc<AdminContext>,
    /// A second descriptor of the listening socket.
    socket: OwnedFd,
    _accepting: oneshot::Sender<()>,
}

/// Reason for a failed start of the admin API.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The address cannot be bound.
    #[error("listening on {0}")]
    Bind(SocketAddr, #[source] io::Error),
    /// The certificate or key is invalid.
    #[error("TLS of the admin API")]
    Tls(#[source] TlsFileError),
}

/// Connections that the kernel queues before `accept()`: a flood must not delay the next client by a lost SYN.
const ACCEPT_BACKLOG_CONNECTIONS: i32 = 4096;

// === impl AdminServer ===

impl AdminServer {
    /// Binds the address, unless there is a `socket` already, and serves in tasks of `tasks`.
    ///
    /// # Errors
    /// [`AdminError`]
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(
        settings: &AdminSettings,
        monitor: Arc<ServiceMonitor>,
        socket: Option<OwnedFd>,
        tasks: &Tasks,
    ) -> Result<Self, AdminError> {
        let failed = |error| AdminError::Bind(settings.bind, error);
        let socket = socket.map_or_else(|| bind_address(settings.bind), Ok).map_err(failed)?;
        let handed = socket.try_clone().map_err(failed)?;
        let socket = std::net::TcpListener::from(socket);
        socket.set_nonblocking(true).map_err(failed)?;
        let socket = TcpListener::from_std(socket).map_err(failed)?;
        let tls = monitor.tls().cloned();
        let context = Arc::new(AdminContext::new(settings, monitor));
        let accept = accept_connections(socket, tls, build_router(Arc::clone(&context)));
        let (accepting, closed) = oneshot::channel::<()>();
        tasks.spawn("admin", async move {
            tokio::select! {
                () = accept => {}
                _ = closed => {}
            }
        });
        Ok(Self { context, socket: handed, _accepting: accepting })
    }

    /// The listening socket, for another process.
    #[must_use]
    pub fn listening_socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Turns readiness off. Other requests are served until the end.
    pub fn drain(&self) {
        self.context.monitor.drain();
    }
}

fn bind_address(address: SocketAddr) -> io::Result<OwnedFd> {
    use socket2::{Domain, Socket, Type};
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(ACCEPT_BACKLOG_CONNECTIONS)?;
    Ok(socket.into())
}

/// Accepts forever. A failed `accept()` is retried after a pause.
async fn accept_connections(socket: TcpListener, tls: Option<ServerTls>, router: Router) {
    let connections = Tasks::new();
    let mut places = ConnectionPlaces::default();
    let health = health_only(router.clone());
    let mut is_full = false;
    loop {
        match socket.accept().await {
            Ok((tcp, from)) => {
                let (place, is_general) = match places.claim(from.ip()) {
                    Place::General(place) => (place, true),
                    Place::Health(place) => (place, false),
                };
                if is_full == is_general {
                    is_full = !is_general;
                    if is_full {
                        tracing::warn!(client = %from, "too many admin API connections: new connections may only request health");
                    }
                }
                if is_general {
                    let serve = connection::serve(tcp, from, tls.clone(), router.clone(), place);
                    connections.spawn("admin connection", serve);
                } else {
                    let serve = connection::serve_once(tcp, from, tls.clone(), health.clone(), place);
                    connections.spawn("admin health connection", serve);
                }
            }
            // The client left before accept: not an error of the server.
            Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
            Err(error) => {
                tracing::warn!(%error, "admin API accept failed; retrying");
                sleep(ACCEPT_FAILURE_PAUSE).await;
            }
        }
    }
}
