//! A pool that knows next to nothing of what it carries: the least that transaction pooling can cost on this runtime.
//!
//! One thread, one task for each client, `N` backends that log in (SCRAM) before the first client is served. A client's
//! bytes take a backend from the free list, or wait for one, first come, first served; they are passed on as they are,
//! and so are the backend's until a ReadyForQuery that says `I` ends what was read: the backend is free again.
//!
//! That is enough for pgbench and for the benches' own clients and for nobody else. It tracks no state of sessions,
//! renames no prepared statements, and takes the first ReadyForQuery for the answer to all that the client has sent, so
//! pipelines with several Syncs break it. A client that leaves in mid-transaction ends the process, for a bench must not
//! go on with fewer backends than it says.

mod backend;
mod greet;
mod half;
mod ready;

use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    process,
    sync::{Arc, Mutex},
    task::Poll,
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    runtime::Builder,
    sync::Semaphore,
};
use tokio_rustls::TlsAcceptor;

use self::{greet::Greeter, half::Half, ready::Finder};
use crate::Error;

/// Who logs in to the server and, with the same name and password, the clients.
pub struct Account<'a> {
    pub user: &'a str,
    pub password: &'a str,
    pub database: &'a str,
}

/// The backends that nobody uses, and a place in the queue for each.
struct Pool {
    free: Semaphore,
    idle: Mutex<Vec<TcpStream>>,
}

/// A Terminate message begins so.
const TERMINATE: u8 = b'X';

/// Pools until the process ends. With `asks` clients prove who they are by SCRAM-SHA-256, else they are trusted.
///
/// # Errors
///
/// When a backend cannot log in, and when the address cannot be bound.
pub fn run(
    listen: SocketAddr,
    target: SocketAddr,
    size: usize,
    account: &Account<'_>,
    asks: bool,
    tls: Option<TlsAcceptor>,
) -> Result<(), Error> {
    let logins = (0..size).map(|_| backend::login(target, account)).collect::<Result<Vec<_>, _>>()?;
    let greeting = logins.first().ok_or("a pool of none")?.greeting.clone();
    let greeter = Arc::new(Greeter::new(greeting, asks.then_some(account.password), tls)?);
    Builder::new_current_thread().enable_io().build()?.block_on(async {
        let idle = logins.into_iter().map(|login| TcpStream::from_std(login.stream));
        let pool =
            Arc::new(Pool { free: Semaphore::new(size), idle: Mutex::new(idle.collect::<io::Result<_>>()?) });
        accept(TcpListener::bind(listen).await?, &greeter, &pool).await
    })
}

#[expect(
    clippy::disallowed_methods,
    reason = "the rule is Gatekeeper's, and this knows nothing of Gatekeeper"
)]
async fn accept(listener: TcpListener, greeter: &Arc<Greeter>, pool: &Arc<Pool>) -> Result<(), Error> {
    loop {
        let (client, _) = listener.accept().await?;
        let (greeter, pool) = (Arc::clone(greeter), Arc::clone(pool));
        tokio::spawn(async move {
            // A connection that fails is the bench's business, which counts what its clients were told.
            let _ = serve(client, &greeter, &pool).await;
        });
    }
}

async fn serve(mut client: TcpStream, greeter: &Greeter, pool: &Pool) -> io::Result<()> {
    client.set_nodelay(true)?;
    let first = greet::first_packet(&mut client).await?;
    match &greeter.tls {
        Some(acceptor) if first == greet::First::Tls => {
            let mut client = greet::upgrade(client, acceptor).await?;
            greet::first_packet(&mut client).await?;
            greeter.welcome(&mut client).await?;
            relay(&mut client, pool).await
        }
        _ => {
            if first == greet::First::Tls {
                greet::decline(&mut client).await?;
            }
            greeter.welcome(&mut client).await?;
            relay(&mut client, pool).await
        }
    }
}

/// One transaction after the other, until the client leaves.
async fn relay(client: &mut (impl AsyncRead + AsyncWrite + Unpin), pool: &Pool) -> io::Result<()> {
    let (mut up, mut down) = (Half::default(), Half::default());
    loop {
        match poll_fn(|cx| up.poll_fill(cx, client)).await? {
            None | Some(TERMINATE) => return Ok(()),
            Some(_) => {}
        }
        let permit = pool.free.acquire().await.expect("the queue is never closed");
        let mut backend =
            pool.idle.lock().expect("nothing panics with it").pop().expect("a permit is a backend");
        if let Err(error) = transaction(client, &mut backend, &mut up, &mut down).await {
            eprintln!("a transaction was left in the middle: {error}");
            process::exit(1);
        }
        pool.idle.lock().expect("nothing panics with it").push(backend);
        drop(permit);
        poll_fn(|cx| down.poll_drain(cx, client)).await?;
    }
}

/// Passes bytes both ways until the backend is idle again. The last of its bytes may still be in `down`.
async fn transaction(
    client: &mut (impl AsyncRead + AsyncWrite + Unpin),
    backend: &mut TcpStream,
    up: &mut Half,
    down: &mut Half,
) -> io::Result<()> {
    let mut finder = Finder::default();
    poll_fn(|cx| {
        // What the client has to say goes first; then it is read again, for it may be copying.
        while let Poll::Ready(()) = up.poll_drain(cx, backend)? {
            match up.poll_fill(cx, client)? {
                Poll::Ready(None) => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                Poll::Ready(Some(_)) => {}
                Poll::Pending => break,
            }
        }
        while let Poll::Ready(()) = down.poll_drain(cx, client)? {
            match down.poll_fill(cx, backend)? {
                Poll::Ready(None) => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                Poll::Ready(Some(_)) if finder.found(down.bytes()) => return Poll::Ready(Ok(())),
                Poll::Ready(Some(_)) => {}
                Poll::Pending => break,
            }
        }
        Poll::Pending
    })
    .await
}
