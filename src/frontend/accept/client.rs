//! One client, from its start on a worker to the end of its session.

use std::{net::SocketAddr, os::fd::OwnedFd, sync::Arc};

use tokio::{
    net::{TcpStream, UnixStream},
    sync::OwnedSemaphorePermit,
};

use super::admission::Permit;
use crate::{
    frontend::{
        context::{ClientServices, ListenerContext},
        login::handshake::ClientHandshake,
        relay::{Relay, teardown::conclude},
    },
    session::Refusal,
    tasks,
    telemetry::ClientPresence,
    tls::Stream,
};

/// An accepted client connection, before the start of its task.
pub(crate) struct AcceptedClient {
    pub(crate) socket: OwnedFd,
    /// `None` through a Unix-domain socket.
    pub(crate) address: Option<SocketAddr>,
    /// Its place at the listener, and its share of the process's descriptors.
    pub(crate) permit: ClientPermits,
    /// It is to hear this as soon as it has said who it is.
    pub(crate) refusal: Option<Refusal>,
    pub(crate) presence: ClientPresence,
    pub(crate) context: Arc<ListenerContext>,
    pub(crate) services: Arc<ClientServices>,
}

/// What a client takes up, given back when this is dropped.
pub(crate) type ClientPermits = (Permit, Option<OwnedSemaphorePermit>);

/// Serves one client for life, on the worker that this is called on.
pub(crate) fn serve(accepted_client: AcceptedClient) -> impl Future<Output = ()> {
    // The login's future is large and short-lived: neither the future nor the client value may be part of the one that stays.
    let welcomed = Box::pin(welcome(accepted_client));
    async move {
        let Some((mut relay, _permit)) = welcomed.await else { return };
        let end = relay.run().await;
        Box::pin(conclude(&end, relay)).await;
    }
}

/// Everything up to the first ReadyForQuery; `None` when there is no session.
async fn welcome(accepted_client: AcceptedClient) -> Option<(Relay, ClientPermits)> {
    let AcceptedClient { socket, address, mut permit, refusal, mut presence, context, services } =
        accepted_client;
    presence.settle(tasks::current_worker());
    let stream = match adopt(socket, address) {
        Ok(stream) => stream,
        Err(error) => {
            tracing::warn!(listener = %context.settings.name, %error, "accepted socket is unusable");
            return None;
        }
    };
    let mut handshake = ClientHandshake::enter(stream, address, context, services).await?;
    let (startup, negotiation) = handshake.greet().await?;
    if let Some(refusal) = refusal {
        handshake.refuse(refusal).await;
        return None;
    }
    if let Some(console) = handshake.console() {
        Box::pin(handshake.visit(console, startup, negotiation, presence)).await;
        return None;
    }
    let login_result = handshake.log_in(startup, negotiation, &mut permit.0).await?;
    Some((handshake.into_relay(login_result, presence).await?, permit))
}

/// Makes the socket one of this worker's.
fn adopt(socket: OwnedFd, address: Option<SocketAddr>) -> std::io::Result<Stream> {
    Ok(match address {
        Some(_) => Stream::Tcp(TcpStream::from_std(socket.into())?),
        None => Stream::Unix(UnixStream::from_std(socket.into())?),
    })
}
