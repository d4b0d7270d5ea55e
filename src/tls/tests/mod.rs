//! Both legs against each other, over loopback, with certificates made for the occasion.

mod channel_binding;
mod clients;
mod pki;
mod reload;
mod servers;

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::*;

/// Two ends of a TCP connection over loopback.
async fn connected() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let dialed = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (dialed, listener.accept().await.unwrap().0)
}

/// A handshake of `client` with `server`, with both results.
async fn shake(
    client: &ClientTls,
    server: &ServerTls,
) -> (Result<(Stream, Option<VerifiedTls>), TlsError>, Result<Stream, TlsError>) {
    let (dialed, accepted) = connected().await;
    tokio::join!(client.handshake(dialed), server.accept(accepted, client.negotiation()))
}

/// Both ends of a handshake that succeeds.
async fn shaken(client: &ClientTls, server: &ServerTls) -> (Stream, Stream) {
    let (client, server) = shake(client, server).await;
    (client.unwrap().0, server.unwrap())
}

/// Sends a few bytes there and back.
async fn talk(one: &mut Stream, other: &mut Stream) {
    say(one, other).await;
    say(other, one).await;
}

async fn say(from: &mut Stream, to: &mut Stream) {
    from.write_all(b"ping").await.unwrap();
    from.flush().await.unwrap();
    let mut received = [0; 4];
    to.read_exact(&mut received).await.unwrap();
    assert_eq!(&received, b"ping");
}
