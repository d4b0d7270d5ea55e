//! One client, from the start of its task to the end of its session.

use std::{net::SocketAddr, os::fd::OwnedFd, sync::Arc};

use tokio::{
    net::{TcpStream, UnixStream},
    sync::OwnedSemaphorePermit,
};

use super::admission::Permit;
use crate::{
    client_error::ClientError,
    frontend::{
        context::{ClientServices, ListenerContext},
        login::handshake::ClientHandshake,
        relay::{Relay, teardown::tear_down},
    },
    tasks,
    telemetry::ClientPresence,
    tls::Stream,
};

/// An accepted client connection, before the start of its task.
pub(crate) struct AcceptedClient {
    pub(crate) socket: OwnedFd,
    /// `None` for a Unix-domain socket.
    pub(crate) address: Option<SocketAddr>,
    /// Permits of the client: limits of the listener, file descriptors of the process.
    pub(crate) permit: ClientPermits,
    /// Error to send after the startup packet.
    pub(crate) client_error: Option<ClientError>,
    pub(crate) presence: ClientPresence,
    pub(crate) context: Arc<ListenerContext>,
    pub(crate) services: Arc<ClientServices>,
}

/// Limits taken by a client, released on drop.
pub(crate) type ClientPermits = (Permit, Option<OwnedSemaphorePermit>);

/// Serves one client, on the calling worker.
pub(crate) fn serve_client(accepted_client: AcceptedClient) -> impl Future<Output = ()> {
    // The login's future is large and short: box it, so that the session's future does not contain it.
    let logged_in = Box::pin(log_in(accepted_client));
    async move {
        let Some((mut relay, _permit)) = logged_in.await else { return };
        let end = relay.run().await;
        Box::pin(tear_down(&end, relay)).await;
    }
}

/// Login, up to the first ReadyForQuery; `None` without a session.
async fn log_in(accepted_client: AcceptedClient) -> Option<(Relay, ClientPermits)> {
    let AcceptedClient { socket, address, mut permit, client_error, mut presence, context, services } =
        accepted_client;
    presence.settle(tasks::current_worker());
    let stream = match register_socket(socket, address) {
        Ok(stream) => stream,
        Err(error) => {
            tracing::warn!(listener = %context.settings.name, %error, "accepted socket is unusable");
            return None;
        }
    };
    let mut handshake = ClientHandshake::enter(stream, address, context, services).await?;
    let (startup, negotiation) = handshake.greet().await?;
    if let Some(client_error) = client_error {
        handshake.refuse(client_error).await;
        return None;
    }
    if let Some(console) = handshake.requested_console() {
        Box::pin(handshake.serve_console(console, startup, negotiation, presence)).await;
        return None;
    }
    let login_result = handshake.log_in(startup, negotiation, &mut permit.0).await?;
    Some((handshake.into_relay(login_result, presence).await?, permit))
}

/// Registers the socket with the calling worker.
fn register_socket(socket: OwnedFd, address: Option<SocketAddr>) -> std::io::Result<Stream> {
    Ok(match address {
        Some(_) => Stream::Tcp(TcpStream::from_std(socket.into())?),
        None => Stream::Unix(UnixStream::from_std(socket.into())?),
    })
}
