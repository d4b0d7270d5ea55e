//! Proxy between clients and servers: address of an endpoint, balancer, and network faults on demand.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, tcp},
    sync::watch,
    time::{sleep, timeout},
};

use crate::tasks::{Tasks, Workers};

/// An address, the servers behind, and the current fault.
///
/// Connections are spread round-robin; a server that does not accept is skipped. Bytes are relayed unread.
pub struct Middleman {
    address: SocketAddr,
    control: watch::Sender<Control>,
    turns: Arc<AtomicUsize>,
}

/// Treatment of connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Passage {
    /// Bytes pass.
    #[default]
    Open,
    /// Existing connections are reset, new connections are refused: no server is reachable.
    Cut,
    /// Connections stay open, and bytes wait until the end of the partition.
    BlackHole,
    /// Each read waits for the duration before the bytes pass, in each direction.
    Delayed(Duration),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Control {
    upstreams: Arc<[SocketAddr]>,
    passage: Passage,
}

/// Time limit for a server to accept before the next server is tried.
const ACCEPT_TIMEOUT: Duration = Duration::from_secs(1);
/// After an accept that failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Maximum bytes relayed per read.
const READ_BYTES: usize = 16 * 1024;

impl Middleman {
    /// Listens on `address` for the servers `upstreams`, on the first of `workers`.
    pub(super) fn start(
        workers: &Workers,
        address: SocketAddr,
        upstreams: &[SocketAddr],
    ) -> io::Result<Self> {
        let listener = listen(address)?;
        let (control, changes) =
            watch::channel(Control { upstreams: upstreams.into(), passage: Passage::Open });
        let turns = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&turns);
        workers.spawn_on(0, "sandbox middleman", move || async move {
            if let Err(error) = serve(address, listener, changes, &counted).await {
                tracing::error!(%address, %error, "sandbox middleman ended");
            }
        });
        Ok(Self { address, control, turns })
    }

    /// Address of the proxy.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Number of accepted connections.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.turns.load(Ordering::Relaxed)
    }

    /// Sets `passage` for new and existing connections, within a turn of the event loop.
    pub fn set(&self, passage: Passage) {
        self.control.send_modify(|control| control.passage = passage);
    }

    /// Leads new connections to the servers; existing connections stay.
    pub fn lead_to(&self, upstreams: &[SocketAddr]) {
        self.control.send_modify(|control| control.upstreams = upstreams.into());
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    // The standard library sets SO_REUSEADDR, so that an address can be taken again right after a cut.
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Serves until the middleman is dropped.
async fn serve(
    address: SocketAddr,
    first: TcpListener,
    mut changes: watch::Receiver<Control>,
    turns: &AtomicUsize,
) -> io::Result<()> {
    let mut first = Some(first);
    let for_relays = changes.clone();
    loop {
        let listener = match first.take() {
            Some(listener) => listener,
            None => listen(address)?,
        };
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let relays = Tasks::new();
        loop {
            tokio::select! {
                cut = changes.wait_for(|control| control.passage == Passage::Cut) => {
                    if cut.is_err() { return Ok(()) }
                    break;
                }
                accepted = listener.accept() => {
                    let Ok((client, _)) = accepted else {
                        // For example without free descriptors, which other connections may release.
                        sleep(ACCEPT_PAUSE).await;
                        continue;
                    };
                    let turn = turns.fetch_add(1, Ordering::Relaxed);
                    relays.spawn("sandbox relay", relay(client, turn, for_relays.clone()));
                }
            }
        }
        drop(listener);
        relays.shutdown().await;
        if changes.wait_for(|control| control.passage != Passage::Cut).await.is_err() {
            return Ok(());
        }
    }
}

async fn relay(mut client: TcpStream, turn: usize, mut changes: watch::Receiver<Control>) {
    // A relay that ends early resets the connection.
    let _ = client.set_zero_linger();
    if wait_while_held(&mut changes).await.is_err() {
        return;
    }
    let upstreams = Arc::clone(&changes.borrow().upstreams);
    for skipped in 0..upstreams.len() {
        let upstream = upstreams[turn.wrapping_add(skipped) % upstreams.len()];
        let Ok(Ok(mut server)) = timeout(ACCEPT_TIMEOUT, TcpStream::connect(upstream)).await else {
            continue;
        };
        let _ = server.set_zero_linger();
        let _ = client.set_nodelay(true);
        let _ = server.set_nodelay(true);
        let ((from_client, to_client), (from_server, to_server)) = (client.split(), server.split());
        let there = relay_direction(from_client, to_server, changes.clone());
        let back = relay_direction(from_server, to_client, changes);
        if tokio::try_join!(there, back).is_ok() {
            // Both directions have ended regularly; the peers may still be reading.
            let _ = SockRef::from(&client).set_linger(None);
            let _ = SockRef::from(&server).set_linger(None);
        }
        return;
    }
}

/// Relays a direction, and passes the end on.
async fn relay_direction(
    mut from: tcp::ReadHalf<'_>,
    mut to: tcp::WriteHalf<'_>,
    mut changes: watch::Receiver<Control>,
) -> io::Result<()> {
    let mut chunk = vec![0; READ_BYTES];
    loop {
        let read = from.read(&mut chunk).await?;
        wait_while_held(&mut changes).await?;
        if read == 0 {
            return to.shutdown().await;
        }
        to.write_all(&chunk[..read]).await?;
    }
}

/// Waits while the current fault holds bytes back.
async fn wait_while_held(changes: &mut watch::Receiver<Control>) -> io::Result<()> {
    let ended = |_| io::Error::from(io::ErrorKind::ConnectionAborted);
    let passage =
        changes.wait_for(|control| control.passage != Passage::BlackHole).await.map_err(ended)?.passage;
    if let Passage::Delayed(delay) = passage {
        sleep(delay).await;
    }
    Ok(())
}
