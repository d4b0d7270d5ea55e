//! One client, from its arrival on a worker to the end of its session.

use std::{net::SocketAddr, os::fd::OwnedFd, sync::Arc};

use tokio::{
    net::{TcpStream, UnixStream},
    sync::OwnedSemaphorePermit,
};

use super::admission::Permit;
use crate::{
    frontend::{
        context::{ListenerContext, World},
        login::handshake::ClientHandshake,
        relay::{Relay, teardown::conclude},
    },
    session::Refusal,
    tasks,
    telemetry::ClientPresence,
    tls::Stream,
};

/// A client that was accepted, on its way to its worker.
pub(crate) struct Arrival {
    pub(crate) socket: OwnedFd,
    /// `None` through a Unix-domain socket.
    pub(crate) address: Option<SocketAddr>,
    /// Its place at the listener, and its share of the process's descriptors.
    pub(crate) permit: Places,
    /// It is to hear this as soon as it has said who it is.
    pub(crate) refusal: Option<Refusal>,
    pub(crate) presence: ClientPresence,
    pub(crate) context: Arc<ListenerContext>,
    pub(crate) world: Arc<World>,
}

/// What a client takes up, given back when this is dropped.
pub(crate) type Places = (Permit, Option<OwnedSemaphorePermit>);

/// Serves one client for life, on the worker that this is called on.
pub(crate) fn serve(arrival: Arrival) -> impl Future<Output = ()> {
    // The login's future is large and short-lived: neither it nor the arrival may be part of the one that stays.
    let welcomed = Box::pin(welcome(arrival));
    async move {
        let Some((mut relay, _permit)) = welcomed.await else { return };
        let end = relay.run().await;
        Box::pin(conclude(&end, relay)).await;
    }
}

/// Everything up to the first ReadyForQuery; `None` when there is no session.
async fn welcome(arrival: Arrival) -> Option<(Relay, Places)> {
    let Arrival { socket, address, mut permit, refusal, mut presence, context, world } = arrival;
    presence.settle(tasks::current_worker());
    let stream = match adopt(socket, address) {
        Ok(stream) => stream,
        Err(error) => {
            tracing::warn!(listener = %context.settings.name, %error, "an accepted socket cannot be used");
            return None;
        }
    };
    let mut handshake = ClientHandshake::enter(stream, address, context, world).await?;
    let (startup, negotiation) = handshake.greet().await?;
    if let Some(refusal) = refusal {
        handshake.refuse(refusal).await;
        return None;
    }
    if let Some(console) = handshake.console() {
        Box::pin(handshake.visit(console, startup, negotiation, presence)).await;
        return None;
    }
    let opened = handshake.log_in(startup, negotiation, &mut permit.0).await?;
    Some((handshake.into_relay(opened, presence).await?, permit))
}

/// Makes the socket one of this worker's.
fn adopt(socket: OwnedFd, address: Option<SocketAddr>) -> std::io::Result<Stream> {
    Ok(match address {
        Some(_) => Stream::Tcp(TcpStream::from_std(socket.into())?),
        None => Stream::Unix(UnixStream::from_std(socket.into())?),
    })
}
