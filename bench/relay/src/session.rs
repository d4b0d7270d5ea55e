//! A relay that knows nothing of what it carries.
//!
//! Laid out as Gatekeeper is (one single-threaded runtime for each worker, one task for each connection, which lives on
//! its worker for life), on the same tokio and rustls, and nothing more: [`tokio::io::copy_bidirectional`].
//! With an acceptor clients speak TLS after an SSLRequest; with a connector so does the leg to the server.

use std::{io, net::SocketAddr, sync::Arc, thread};

use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    runtime::Builder,
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    task::LocalSet,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::{Error, tls::SSL_REQUEST};

/// What every connection needs to know.
pub struct Legs {
    pub target: SocketAddr,
    pub clients: Option<TlsAcceptor>,
    pub server: Option<TlsConnector>,
}

/// Relays until the process ends.
pub fn run(listen: SocketAddr, workers: usize, legs: Legs) -> Result<(), Error> {
    let legs = Arc::new(legs);
    let inboxes: Vec<_> = (0..workers)
        .map(|_| {
            let (sender, receiver) = unbounded_channel();
            let legs = Arc::clone(&legs);
            thread::spawn(move || work(receiver, &legs));
            sender
        })
        .collect();
    Builder::new_current_thread().enable_io().build()?.block_on(async {
        let listener = TcpListener::bind(listen).await?;
        let mut turn = 0;
        loop {
            let (client, _) = listener.accept().await?;
            // Registered with the runtime of its worker, not with this one.
            let _ = inboxes[turn % workers].send(client.into_std()?);
            turn += 1;
        }
    })
}

/// One worker: takes connections out of its inbox and relays each on a task of its own.
#[expect(
    clippy::disallowed_methods,
    reason = "the rule is Gatekeeper's, and this knows nothing of Gatekeeper"
)]
fn work(mut inbox: UnboundedReceiver<std::net::TcpStream>, legs: &Arc<Legs>) {
    let runtime = Builder::new_current_thread().enable_io().build().expect("the system has an epoll to give");
    LocalSet::new().block_on(&runtime, async move {
        while let Some(client) = inbox.recv().await {
            let legs = Arc::clone(legs);
            tokio::task::spawn_local(async move {
                // A connection that fails is the bench's business, which counts what its clients were told.
                let _ = serve(client, &legs).await;
            });
        }
    });
}

async fn serve(client: std::net::TcpStream, legs: &Legs) -> io::Result<()> {
    let client = TcpStream::from_std(client)?;
    client.set_nodelay(true)?;
    match &legs.clients {
        None => reach(client, legs).await,
        Some(acceptor) => {
            let mut client = client;
            let mut request = [0; SSL_REQUEST.len()];
            client.read_exact(&mut request).await?;
            if request != SSL_REQUEST {
                return Err(io::ErrorKind::InvalidData.into());
            }
            client.write_all(b"S").await?;
            reach(acceptor.accept(client).await?, legs).await
        }
    }
}

async fn reach(mut client: impl AsyncRead + AsyncWrite + Unpin, legs: &Legs) -> io::Result<()> {
    let mut server = TcpStream::connect(legs.target).await?;
    server.set_nodelay(true)?;
    match &legs.server {
        None => copy_bidirectional(&mut client, &mut server).await?,
        Some(connector) => {
            server.write_all(&SSL_REQUEST).await?;
            if server.read_u8().await? != b'S' {
                return Err(io::ErrorKind::InvalidData.into());
            }
            let name = ServerName::try_from("localhost").expect("a valid name");
            let mut server = connector.connect(name, server).await?;
            copy_bidirectional(&mut client, &mut server).await?
        }
    };
    Ok(())
}
