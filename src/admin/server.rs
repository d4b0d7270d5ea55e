//! The server of the admin API.

use std::{
    collections::VecDeque,
    io::{self, ErrorKind},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use axum::Router;
use tokio::{
    net::TcpListener,
    sync::{Semaphore, oneshot},
    time::sleep,
};

use super::{
    AdminSettings, Api, connection,
    context::AdminContext,
    router::{build_router, health_only},
};
use crate::{
    tasks::Tasks,
    tls::{ServerTls, TlsFileError},
};

/// The running admin API.
pub struct AdminServer {
    context: Arc<AdminContext>,
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

/// Maximum number of connections; [`MAX_HEALTH_CONNECTIONS`] allows more.
const MAX_CONNECTIONS: usize = 128;
/// Additional connections, for health requests only. A new connection replaces the oldest: idle connections, however
/// many, block no health check.
const MAX_HEALTH_CONNECTIONS: usize = 32;
/// Pause after an `accept()` that failed for want of a resource; there is no event to wait for.
const ACCEPT_FAILURE_PAUSE: Duration = Duration::from_millis(50);

// === impl AdminServer ===

impl AdminServer {
    /// Binds the address and serves in tasks of `tasks`.
    ///
    /// # Errors
    /// [`AdminError`]
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(settings: &AdminSettings, api: Api, tasks: &Tasks) -> Result<Self, AdminError> {
        let tls = settings.tls.as_ref().map(ServerTls::https).transpose().map_err(AdminError::Tls)?;
        if let Some(tls) = &tls {
            tls.watch(&api.files);
        }
        let socket = bind_address(settings.bind).map_err(|error| AdminError::Bind(settings.bind, error))?;
        let context = Arc::new(AdminContext::new(settings, api));
        let (sampled, metrics) = (Arc::clone(&context), context.api.metrics.clone());
        tasks.spawn("traffic", async move { sampled.traffic.take_forever(metrics).await });
        tasks.spawn("admin", accept_connections(socket, tls, build_router(Arc::clone(&context))));
        Ok(Self { context })
    }

    /// Turns readiness off. Other requests are served until the end.
    pub fn drain(&self) {
        self.context.drain();
    }
}

fn bind_address(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = std::net::TcpListener::bind(address)?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket)
}

/// Accepts forever. A failed `accept()` is retried after a pause.
async fn accept_connections(socket: TcpListener, tls: Option<ServerTls>, router: Router) {
    let connections = Tasks::new();
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let health = health_only(router.clone());
    // Dropping a sender ends its connection.
    let mut for_health: VecDeque<oneshot::Sender<()>> = VecDeque::new();
    let mut is_full = false;
    loop {
        match socket.accept().await {
            Ok((tcp, from)) => {
                let place = Arc::clone(&room).try_acquire_owned();
                if place.is_err() != is_full {
                    is_full = place.is_err();
                    if is_full {
                        tracing::warn!(client = %from, "too many admin API connections: new connections may only request health");
                    }
                }
                let Ok(place) = place else {
                    for_health.retain(|connection| !connection.is_closed());
                    if for_health.len() >= MAX_HEALTH_CONNECTIONS {
                        for_health.pop_front();
                    }
                    let (room_taken, gone) = oneshot::channel();
                    for_health.push_back(room_taken);
                    let serve = connection::serve_once(tcp, from, tls.clone(), health.clone());
                    connections.spawn("admin health connection", async move {
                        tokio::select! {
                            () = serve => {}
                            _ = gone => {}
                        }
                    });
                    continue;
                };
                let serve = connection::serve(tcp, from, tls.clone(), router.clone());
                connections.spawn("admin connection", async move {
                    serve.await;
                    drop(place);
                });
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
