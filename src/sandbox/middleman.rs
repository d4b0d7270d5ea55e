//! What stands between clients and servers: the address of an endpoint, a balancer, and bad weather on demand.

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

/// One address, the servers behind it, and what happens to the connections between them.
///
/// Connections are spread round-robin; a server that does not accept is skipped. Bytes are relayed unread.
pub struct Middleman {
    address: SocketAddr,
    control: watch::Sender<Control>,
    turns: Arc<AtomicUsize>,
}

/// What happens to connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Passage {
    /// They pass.
    #[default]
    Open,
    /// Those that exist are reset, new ones are refused: nobody is there.
    Cut,
    /// They are kept, and nothing passes: a partition. What was sent passes once it ends.
    BlackHole,
    /// What is read in one go waits for so long before it passes, in each direction.
    Delayed(Duration),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Control {
    upstreams: Arc<[SocketAddr]>,
    passage: Passage,
}

/// How long a server may take to accept before the next one is tried.
const ACCEPT_LIMIT: Duration = Duration::from_secs(1);
/// After an accept that failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Bytes relayed in one go.
const CHUNK: usize = 16 * 1024;

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

    /// The address it stands on.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections it has accepted so far.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.turns.load(Ordering::Relaxed)
    }

    /// From now on `passage` happens, to connections that exist too. It takes effect within a turn of the event loop.
    pub fn set(&self, passage: Passage) {
        self.control.send_modify(|control| control.passage = passage);
    }

    /// New connections go to these servers; those that exist stay.
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
                        // Out of descriptors, say: others may give some back.
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
    // Whatever ends a relay before its time is a reset, not a polite goodbye.
    let _ = client.set_zero_linger();
    if hold(&mut changes).await.is_err() {
        return;
    }
    let upstreams = Arc::clone(&changes.borrow().upstreams);
    for skipped in 0..upstreams.len() {
        let upstream = upstreams[turn.wrapping_add(skipped) % upstreams.len()];
        let Ok(Ok(mut server)) = timeout(ACCEPT_LIMIT, TcpStream::connect(upstream)).await else { continue };
        let _ = server.set_zero_linger();
        let _ = client.set_nodelay(true);
        let _ = server.set_nodelay(true);
        let ((from_client, to_client), (from_server, to_server)) = (client.split(), server.split());
        let there = pump(from_client, to_server, changes.clone());
        let back = pump(from_server, to_client, changes);
        if tokio::try_join!(there, back).is_ok() {
            // Both sides have said goodbye, and may still be reading.
            let _ = SockRef::from(&client).set_linger(None);
            let _ = SockRef::from(&server).set_linger(None);
        }
        return;
    }
}

/// Relays one direction to its end, which is passed on.
async fn pump(
    mut from: tcp::ReadHalf<'_>,
    mut to: tcp::WriteHalf<'_>,
    mut changes: watch::Receiver<Control>,
) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = from.read(&mut chunk).await?;
        hold(&mut changes).await?;
        if read == 0 {
            return to.shutdown().await;
        }
        to.write_all(&chunk[..read]).await?;
    }
}

/// Lets bytes pass when it is their time.
async fn hold(changes: &mut watch::Receiver<Control>) -> io::Result<()> {
    let ended = |_| io::Error::from(io::ErrorKind::ConnectionAborted);
    let passage =
        changes.wait_for(|control| control.passage != Passage::BlackHole).await.map_err(ended)?.passage;
    if let Passage::Delayed(delay) = passage {
        sleep(delay).await;
    }
    Ok(())
}
