//! One connection to the admin API: plain or TLS, with HTTP/1.1 and limits.

use std::{net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::{Router, extract::Request};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use tokio::{
    net::TcpStream,
    sync::Notify,
    time::{sleep, timeout},
};
use tower::ServiceExt;

use super::{connection_places::ConnectionPlace, guard::Client};
use crate::{
    blame::Chain,
    tls::{ServerTls, Stream},
};

/// Time limit of a connection's TLS handshake and of the head of its first request.
const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Time limit of a request's head, counted from the end of the previous response; also ends idle connections.
const REQUEST_HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Size limit of a request's head in bytes. Only one route reads a body, a short one.
const MAX_REQUEST_HEAD_BYTES: usize = 16 << 10;
/// Headers of a request.
const MAX_REQUEST_HEADERS: usize = 64;
/// Lifetime of a connection, which ends after the response in progress.
const MAX_CONNECTION_LIFETIME: Duration = Duration::from_secs(600);
/// Time limit of a connection beyond the limit, which serves one request.
const SINGLE_REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
/// Time limit of that last response.
const LAST_RESPONSE_TIMEOUT: Duration = Duration::from_secs(60);

/// Serves one connection to the end, or until another connection needs the place before the first request.
pub(super) async fn serve(
    tcp: TcpStream,
    from: SocketAddr,
    tls: Option<ServerTls>,
    router: Router,
    place: ConnectionPlace,
) {
    let ConnectionPlace { replaced, _in_use } = place;
    let requested = Arc::new(Notify::new());
    let mut serving = pin!(serve_requests((tcp, from), tls, router, Some(Arc::clone(&requested))));
    tokio::select! {
        biased;
        () = serving.as_mut() => return,
        // `replaced` is dropped: the connection keeps its place.
        () = requested.notified() => {}
        _ = replaced => return,
        () = sleep(FIRST_REQUEST_TIMEOUT) => return,
    }
    serving.await;
}

/// Serves one request, with a short time limit, unless another connection needs the place.
pub(super) async fn serve_once(
    tcp: TcpStream,
    from: SocketAddr,
    tls: Option<ServerTls>,
    router: Router,
    place: ConnectionPlace,
) {
    let ConnectionPlace { replaced, _in_use } = place;
    tokio::select! {
        biased;
        () = serve_requests((tcp, from), tls, router, None) => {}
        _ = replaced => {}
        () = sleep(SINGLE_REQUEST_TIMEOUT) => {}
    }
}

/// Serves one request, or many if there is a receiver of their notifications.
async fn serve_requests(
    (tcp, from): (TcpStream, SocketAddr),
    tls: Option<ServerTls>,
    router: Router,
    requested: Option<Arc<Notify>>,
) {
    let keep_alive = requested.is_some();
    // Responses are written whole; without TCP_NODELAY the end of a large one waits for an acknowledgement.
    tcp.set_nodelay(true).ok();
    let stream = match tls {
        None => Stream::from(tcp),
        Some(tls) => match tls.accept_http(tcp).await {
            Ok(stream) => stream,
            Err(error) => {
                return tracing::debug!(client = %from, error = %Chain(&error), "TLS handshake with an admin API client failed");
            }
        },
    };
    let service = router.map_request(move |mut request: Request<_>| {
        if let Some(requested) = &requested {
            requested.notify_one();
        }
        request.extensions_mut().insert(Client(from));
        request
    });
    let mut http = Builder::new(TokioExecutor::new()).http1_only();
    http.http1()
        .timer(TokioTimer::new())
        .keep_alive(keep_alive)
        .header_read_timeout(REQUEST_HEAD_TIMEOUT)
        .max_buf_size(MAX_REQUEST_HEAD_BYTES)
        .max_headers(MAX_REQUEST_HEADERS);
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service)));
    tokio::select! {
        // The client knows the error, or is gone.
        _ = connection.as_mut() => return,
        () = sleep(MAX_CONNECTION_LIFETIME) => connection.as_mut().graceful_shutdown(),
    }
    timeout(LAST_RESPONSE_TIMEOUT, connection).await.ok();
}
