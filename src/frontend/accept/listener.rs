//! One client-facing socket: accepts clients and passes each to the worker with the fewest.
//!
//! The socket is polled on a worker, not on a separate thread: a client that stays on that worker wakes no other
//! thread.

use std::{
    fs, io,
    net::SocketAddr,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::{
            fs::{FileTypeExt, PermissionsExt},
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::{
    io::Errno,
    net::{SendFlags, SocketFlags},
};
use socket2::SockRef;
use tokio::{io::unix::AsyncFd, time::sleep};

use super::{
    admission::Admitted,
    client::{self, AcceptedClient},
};
use crate::{
    backend::KEEPALIVE,
    client_error::ClientError,
    frontend::{
        Bind,
        context::{ClientServices, ListenerContext},
    },
    live::Live,
    pool::PoolMode,
    tasks::{self, ACCEPT_FAILURE_PAUSE, Workers},
    telemetry::labels::RefusalReason,
};

/// A bound socket that accepts clients.
pub struct Listener {
    socket: OwnedFd,
    bind: Bind,
    /// `None` for TCP, and for a file that another process created.
    file: Option<SocketFile>,
}

/// The file of a Unix-domain socket, removed when dropped.
pub struct SocketFile {
    path: Option<PathBuf>,
}

/// Backlog of the kernel: large enough for a burst of clients.
const ACCEPT_BACKLOG_CLIENTS: i32 = 4096;

impl Listener {
    /// Binds and listens. A socket file without a listening process is replaced; a new socket file has the permissions
    /// `mode`.
    ///
    /// # Errors
    /// The error of the operating system: the address is in use or not local, or the path is not writable.
    pub fn bind(bind: &Bind, mode: u32) -> io::Result<Self> {
        let socket = match bind {
            Bind::Tcp(address) => bind_tcp(*address)?,
            Bind::Unix(path) => bind_unix(path, mode)?,
        };
        let file = match bind {
            Bind::Tcp(_) => None,
            Bind::Unix(path) => Some(SocketFile::new(path)),
        };
        Ok(Self { socket, bind: bind.clone(), file })
    }

    /// Gives the socket file at `path` the permissions `mode`.
    ///
    /// # Errors
    /// The error of the operating system.
    pub fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))
    }

    /// Takes over a listening socket of the service manager, or of the process before this one. Its file stays.
    ///
    /// # Errors
    /// The error of the operating system, if the descriptor is not a socket.
    pub fn from_inherited(socket: OwnedFd, bind: Bind) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        if let Bind::Tcp(_) = bind {
            prepare_tcp(&SockRef::from(&socket))?;
        }
        Ok(Self { socket, bind, file: None })
    }

    /// A second descriptor of the socket.
    ///
    /// # Errors
    /// The error of the operating system: no free descriptor.
    pub fn duplicate_socket(&self) -> io::Result<OwnedFd> {
        self.socket.try_clone()
    }

    /// The socket's file, to be removed by the caller.
    pub fn take_file(&mut self) -> Option<SocketFile> {
        self.file.take()
    }

    /// The address of the socket; with port 0 in the settings, the port chosen by the system.
    ///
    /// # Errors
    /// The error of the operating system.
    pub fn local_address(&self) -> io::Result<Bind> {
        match &self.bind {
            Bind::Unix(path) => Ok(Bind::Unix(path.clone())),
            Bind::Tcp(_) => {
                let address = rustix::net::getsockname(&self.socket)?;
                SocketAddr::try_from(address).map(Bind::Tcp).map_err(Into::into)
            }
        }
    }

    /// Accepts forever, on the calling worker. A failed `accept()` is retried after a pause.
    ///
    /// Cancel safe: only connections that the kernel has not handed over are lost.
    pub async fn run(self, context: Live<ListenerContext>, services: Arc<ClientServices>, workers: Workers) {
        let watched = loop {
            match register_listener(&self.socket) {
                Ok(watched) => break watched,
                Err(error) => on_accept_error(&context.load(), &error).await,
            }
        };
        loop {
            let accepted = accept_client(&watched).await;
            let context = context.load();
            match accepted {
                Ok((socket, address)) => hand_over(socket, address, &context, &services, &workers),
                Err(error) => on_accept_error(&context, &error).await,
            }
        }
    }
}

async fn on_accept_error(context: &ListenerContext, error: &io::Error) {
    context.metrics.accept_failed();
    tracing::warn!(listener = %context.settings.name, %error, "accept failed; retrying");
    sleep(ACCEPT_FAILURE_PAUSE).await;
}

/// The next client's socket in non-blocking mode, with its address.
async fn accept_client(listening: &AsyncFd<BorrowedFd<'_>>) -> io::Result<(OwnedFd, Option<SocketAddr>)> {
    loop {
        let mut ready = listening.readable().await?;
        let accepted =
            rustix::net::acceptfrom_with(listening.get_ref(), SocketFlags::NONBLOCK | SocketFlags::CLOEXEC);
        match accepted {
            Ok((socket, address)) => {
                return Ok((socket, address.and_then(|address| SocketAddr::try_from(address).ok())));
            }
            Err(Errno::WOULDBLOCK) => ready.clear_ready(),
            // The client left before accept: not an error of the listener.
            Err(Errno::CONNABORTED | Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Registers a listening socket with the runtime. tokio's own listener types would register each client's socket here,
/// and the client's worker once more.
#[expect(
    deprecated,
    reason = "sound here: the descriptor is borrowed from its owner for as long as the registration lives"
)]
fn register_listener(socket: &OwnedFd) -> io::Result<AsyncFd<BorrowedFd<'_>>> {
    AsyncFd::new(socket.as_fd())
}

fn hand_over(
    socket: OwnedFd,
    address: Option<SocketAddr>,
    context: &Arc<ListenerContext>,
    services: &Arc<ClientServices>,
    workers: &Workers,
) {
    let admitted = context.admission.admit(address.map(|address| address.ip()), &context.settings.limits);
    let (permit, client_error) = match admitted {
        Admitted::Accepted(permit) => (permit, None),
        Admitted::Refused(permit, client_error) => (permit, Some(client_error)),
        Admitted::Turned(client_error) => {
            context.metrics.record_rejection(RefusalReason::MaxClients);
            let client_log = &services.observers.client_log;
            client_log.client_turned_away(&context.settings.name, address, &client_error);
            turn_away(&socket, &client_error);
            return;
        }
    };
    // A pooled session needs one descriptor; descriptors of pooled backends are already set aside.
    let needed = match context.settings.pool.mode {
        PoolMode::Session => 2,
        PoolMode::Transaction => 1,
    };
    let descriptors = Arc::clone(&services.descriptors).try_acquire_many_owned(needed).ok();
    if descriptors.is_none() {
        services.observers.client_log.out_of_descriptors(&context.settings.name);
    }
    let client_error = client_error.or_else(|| descriptors.is_none().then(ClientError::no_descriptors));
    // Prefers this worker among those with the fewest clients, which needs no wake-up.
    let here = tasks::current_worker();
    let worker = (0..workers.len()).min_by_key(|&index| (workers.live(index), index != here)).unwrap_or(here);
    let accepted_client = AcceptedClient {
        socket,
        address,
        permit: (permit, descriptors),
        client_error,
        presence: context.metrics.record_accept(),
        context: Arc::clone(context),
        services: Arc::clone(services),
    };
    if worker == here {
        tasks::spawn_here("client", client::serve_client(accepted_client));
    } else {
        workers.spawn_on(worker, "client", move || client::serve_client(accepted_client));
    }
}

/// Sends an error in plaintext before reading, as PostgreSQL does when it cannot fork: a few bytes into an empty socket
/// buffer.
fn turn_away(socket: &OwnedFd, client_error: &ClientError) {
    let mut bytes = Vec::new();
    client_error.write(&mut bytes);
    // A client that has left needs no error.
    rustix::net::send(socket, &bytes, SendFlags::NOSIGNAL).ok();
}

fn bind_tcp(address: SocketAddr) -> io::Result<OwnedFd> {
    use socket2::{Domain, Socket, Type};
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // `::` means every IPv6 address; dual stack needs two listeners, as in PostgreSQL.
        socket.set_only_v6(true)?;
    }
    prepare_tcp(&SockRef::from(&socket))?;
    socket.bind(&address.into())?;
    socket.listen(ACCEPT_BACKLOG_CLIENTS)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Sets the options of a listening TCP socket; accepted sockets inherit them.
///
/// Without `TCP_USER_TIMEOUT`, which would also end a client that is alive and reads slowly; the watchdog detects a client
/// that acknowledges nothing.
fn prepare_tcp(socket: &SockRef<'_>) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&KEEPALIVE)
}

fn bind_unix(path: &Path, mode: u32) -> io::Result<OwnedFd> {
    // Removes only a socket on which no process listens. Any other file at the path is a configuration mistake.
    let is_socket = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket());
    if is_socket && UnixStream::connect(path).is_err() {
        fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    Listener::set_mode(path, mode)?;
    listener.set_nonblocking(true)?;
    Ok(listener.into())
}

// === impl SocketFile ===

impl SocketFile {
    /// The file at `path`.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self { path: Some(path.to_owned()) }
    }

    /// Leaves the file to another process.
    pub fn keep(mut self) {
        self.path = None;
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            fs::remove_file(path).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn accepted_sockets_detect_a_vanished_client() {
        let inherited = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let bind = Bind::Tcp(inherited.local_addr().unwrap());
        let inherited = Listener::from_inherited(inherited.into(), bind).unwrap();
        for listener in [Listener::bind(&Bind::Tcp(([127, 0, 0, 1], 0).into()), 0).unwrap(), inherited] {
            let Bind::Tcp(address) = listener.local_address().unwrap() else { panic!("a TCP address") };
            let _client = std::net::TcpStream::connect(address).unwrap();
            let accepted = loop {
                match rustix::net::accept(&listener.socket) {
                    Err(Errno::WOULDBLOCK) => std::thread::yield_now(),
                    accepted => break accepted.unwrap(),
                }
            };
            let socket = SockRef::from(&accepted);
            assert!(socket.keepalive().unwrap() && socket.tcp_nodelay().unwrap());
            let detected = socket.tcp_keepalive_time().unwrap()
                + socket.tcp_keepalive_interval().unwrap() * socket.tcp_keepalive_retries().unwrap();
            assert_eq!(detected, Duration::from_secs(60));
            assert_eq!(socket.tcp_user_timeout().unwrap(), None, "it would cut clients that read slowly");
        }
    }

    #[test]
    fn only_a_socket_that_nobody_answers_on_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".s.PGSQL.5432");
        fs::write(&path, "precious").unwrap();
        assert!(bind_unix(&path, 0o660).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        fs::remove_file(&path).unwrap();
        let first = bind_unix(&path, 0o660).unwrap();
        assert!(bind_unix(&path, 0o660).is_err(), "somebody answers there");
        drop(first);
        bind_unix(&path, 0o660).unwrap();
    }
}
