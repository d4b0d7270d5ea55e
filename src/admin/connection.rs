//! One connection to the admin API: plain or TLS, with HTTP/1.1 and limits.

use std::{net::SocketAddr, pin::pin, time::Duration};

use axum::{Router, extract::Request};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use tokio::{
    net::TcpStream,
    time::{sleep, timeout},
};
use tower::ServiceExt;

use super::guard::Client;
use crate::{
    blame::Chain,
    tls::{ServerTls, Stream},
};

/// Time limit of a TLS handshake.
const TLS_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
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

/// Serves one connection to its end.
pub(super) async fn serve(tcp: TcpStream, from: SocketAddr, tls: Option<ServerTls>, router: Router) {
    serve_requests(tcp, from, tls, router, true).await;
}

/// Serves one request, with a short time limit.
pub(super) async fn serve_once(tcp: TcpStream, from: SocketAddr, tls: Option<ServerTls>, router: Router) {
    timeout(SINGLE_REQUEST_TIMEOUT, serve_requests(tcp, from, tls, router, false)).await.ok();
}

async fn serve_requests(
    tcp: TcpStream,
    from: SocketAddr,
    tls: Option<ServerTls>,
    router: Router,
    keep_alive: bool,
) {
    // Responses are written whole; without TCP_NODELAY the end of a large one waits for an acknowledgement.
    tcp.set_nodelay(true).ok();
    let stream = match tls {
        None => Stream::from(tcp),
        Some(tls) => match timeout(TLS_HANDSHAKE_TIMEOUT, tls.accept_http(tcp)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                return tracing::debug!(client = %from, error = %Chain(&error), "TLS handshake with an admin API client failed");
            }
            Err(_elapsed) => return,
        },
    };
    let service = router.map_request(move |mut request: Request<_>| {
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
