//! Hands the listening sockets to the process that replaces this one, over a Unix-domain socket.
//!
//! The successor connects, and receives a copy of each listening socket, so that the kernel's queue of clients is never
//! without a reader. A successor reports that clients are served, and this process drains. An earlier end has no effect.
//! <https://man7.org/linux/man-pages/man7/unix.7.html>

use std::{
    fs,
    io::{self, IoSlice, IoSliceMut, Read, Write},
    mem::MaybeUninit,
    os::{
        fd::{BorrowedFd, OwnedFd},
        unix::{fs::PermissionsExt, net::UnixStream as BlockingStream},
    },
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use tokio::{
    io::AsyncReadExt,
    net::{UnixListener, UnixStream},
    time::{Instant, sleep, timeout_at},
};

use super::handed_state::HandedState;
use crate::{
    frontend::{Bind, SocketFile},
    tasks::{ACCEPT_FAILURE_PAUSE, Thread},
};

/// A listening socket on its way to a successor, or from a predecessor.
pub(super) struct HandedSocket<S> {
    pub(super) socket: S,
    /// True if the socket's file is to be removed at the end: the service manager did not create it.
    pub(super) owns_file: bool,
}

/// Waits for successors.
pub(super) struct HandoverServer {
    listener: UnixListener,
    file: SocketFile,
    /// A successor that has the sockets, and the deadline of the report.
    successor: Option<(UnixStream, Instant)>,
}

/// An event of a handover.
pub(super) enum HandoverEvent {
    /// A successor waits for the sockets.
    Requested(UnixStream),
    /// The successor serves clients.
    Ready(Successor),
    /// The successor has ended without serving.
    Failed,
}

/// The process that replaces this one.
pub(super) struct Successor {
    /// Its process id, if known.
    pub(super) pid: Option<u32>,
    /// The connection of the handover.
    pub(super) stream: UnixStream,
}

/// The process that this one replaces.
pub(super) struct Predecessor {
    /// Decisions of operators.
    pub(super) state: HandedState,
    stream: BlockingStream,
    /// Sockets whose files are left to this process.
    files: Vec<Bind>,
}

/// Version of the message with the sockets. Behind it: a byte for each socket, the length of the decisions in four bytes,
/// and the decisions in JSON.
const VERSION: u8 = b'2';
/// The successor's report of readiness.
const READY: u8 = b'R';
/// Maximum number of sockets in a message: `SCM_MAX_FD` of Linux.
const MAX_SOCKETS: usize = 253;
/// Time limit of the predecessor's answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Time limit of a successor from the sockets to the first client.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// Variables of the service manager that concern one process only.
const OWN_VARIABLES: [&str; 4] = ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "WATCHDOG_PID"];

/// Requests the sockets of the process that listens at `path`; `None` if no process does.
///
/// # Errors
/// The process does not answer as expected.
pub(super) fn take_over(path: &Path) -> io::Result<Option<(Predecessor, Vec<HandedSocket<OwnedFd>>)>> {
    let stream = match BlockingStream::connect(path) {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    let (sockets, state) = receive_message(&stream)?;
    Ok(Some((Predecessor { state, stream, files: Vec::new() }, sockets)))
}

fn receive_message(mut stream: &BlockingStream) -> io::Result<(Vec<HandedSocket<OwnedFd>>, HandedState)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_SOCKETS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    // The descriptors come with the first byte.
    let mut version = [0];
    let mut text = [IoSliceMut::new(&mut version)];
    let received = rustix::net::recvmsg(stream, &mut text, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut sockets = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            sockets.extend(descriptors);
        }
    }
    if (received.bytes, version) != (1, [VERSION]) {
        return Err(io::Error::other("the running process hands over in another way"));
    }
    let mut owns = vec![0; sockets.len()];
    stream.read_exact(&mut owns)?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut state = String::new();
    stream.take(u32::from_be_bytes(length).into()).read_to_string(&mut state)?;
    let sockets = sockets.into_iter().zip(owns);
    let sockets = sockets.map(|(socket, owns)| HandedSocket { socket, owns_file: owns == 1 }).collect();
    Ok((sockets, serde_json::from_str(&state)?))
}

/// Sends `sockets` and `state` to a successor that has just connected.
///
/// # Errors
/// The error of the operating system; the message is short, and does not wait for room.
fn send_message(
    stream: &UnixStream,
    sockets: &[HandedSocket<BorrowedFd<'_>>],
    state: &HandedState,
) -> io::Result<()> {
    if sockets.len() > MAX_SOCKETS {
        return Err(io::Error::other(format!("more than {MAX_SOCKETS} listeners")));
    }
    let mut message = vec![VERSION];
    message.extend(sockets.iter().map(|handed| u8::from(handed.owns_file)));
    let state = serde_json::to_vec(state)?;
    message.extend(u32::try_from(state.len()).map_err(io::Error::other)?.to_be_bytes());
    message.extend(state);
    let descriptors: Vec<BorrowedFd<'_>> = sockets.iter().map(|handed| handed.socket).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_SOCKETS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::Error::other("no room for the sockets"));
    }
    let sent = rustix::net::sendmsg(stream, &[IoSlice::new(&message)], &mut control, SendFlags::NOSIGNAL)?;
    if sent < message.len() {
        return Err(io::Error::other("no room for the decisions of operators"));
    }
    Ok(())
}

/// Starts the program again with the arguments of this process.
///
/// # Errors
/// The error of the operating system.
pub(super) fn start_successor() -> io::Result<u32> {
    let mut arguments = std::env::args_os();
    // The path as given, so that an upgraded program is the one that starts.
    let program = arguments.next().filter(|program| Path::new(program).components().count() > 1);
    let program = match program {
        Some(program) => program.into(),
        None => std::env::current_exe()?,
    };
    let mut successor = Command::new(program);
    successor.args(arguments).stdin(Stdio::null());
    for variable in OWN_VARIABLES {
        successor.env_remove(variable);
    }
    let mut successor = successor.spawn()?;
    let pid = successor.id();
    // Waited for, so that a failed start leaves no zombie. The thread ends with one of the two processes.
    Thread::start("successor", move || match successor.wait() {
        Ok(status) if status.success() => {}
        Ok(status) => tracing::error!(pid, %status, "the process that was to take over has ended"),
        Err(error) => tracing::warn!(pid, %error, "the process that was to take over cannot be watched"),
    })?;
    Ok(pid)
}

// === impl Successor ===

impl Successor {
    fn at(stream: UnixStream) -> Self {
        let pid = stream.peer_cred().ok().and_then(|peer| peer.pid()?.try_into().ok());
        Self { pid, stream }
    }
}

// === impl Predecessor ===

impl Predecessor {
    /// Notes a socket whose file is left to this process.
    pub(super) fn note_file(&mut self, bind: Bind) {
        self.files.push(bind);
    }

    /// Reports that this process serves; the predecessor drains from now on. Returns the sockets whose files belong to
    /// this process from now on, and not before: a start may fail. Also returns the connection, which lasts as long as
    /// the predecessor.
    pub(super) fn report_ready(mut self) -> (Vec<Bind>, Option<UnixStream>) {
        let reported = self.stream.write_all(&[READY]).and_then(|()| self.stream.set_nonblocking(true));
        let stream = reported.and_then(|()| UnixStream::from_std(self.stream));
        let failed =
            |error: &io::Error| tracing::warn!(%error, "the process before this one has ended already");
        (self.files, stream.inspect_err(failed).ok())
    }
}

// === impl HandoverServer ===

impl HandoverServer {
    /// Waits for successors at `path`, whose file is replaced.
    ///
    /// # Errors
    /// The error of the operating system.
    pub(super) fn bind(path: &Path) -> io::Result<Self> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        Ok(Self { listener, file: SocketFile::new(path), successor: None })
    }

    /// The next event.
    ///
    /// Cancel safe.
    pub(super) async fn next(&mut self) -> HandoverEvent {
        if let Some((successor, deadline)) = &mut self.successor {
            let mut word = [0];
            let read = timeout_at(*deadline, successor.read(&mut word)).await;
            return match (read, word, self.successor.take()) {
                (Ok(Ok(1)), [READY], Some((stream, _))) => HandoverEvent::Ready(Successor::at(stream)),
                _ => HandoverEvent::Failed,
            };
        }
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) if is_allowed(&stream) => return HandoverEvent::Requested(stream),
                Ok(_) => tracing::warn!("handover refused: the other process runs as another user"),
                Err(error) => {
                    tracing::warn!(%error, "accepting a successor failed");
                    sleep(ACCEPT_FAILURE_PAUSE).await;
                }
            }
        }
    }

    /// Hands `sockets` and `state` to the `successor`.
    pub(super) fn hand_over(
        &mut self,
        successor: UnixStream,
        sockets: &[HandedSocket<BorrowedFd<'_>>],
        state: &HandedState,
    ) {
        match send_message(&successor, sockets, state) {
            Ok(()) => {
                tracing::info!(sockets = sockets.len(), "listening sockets handed to another process");
                self.successor = Some((successor, Instant::now() + START_TIMEOUT));
            }
            Err(error) => tracing::error!(%error, "listening sockets could not be handed over"),
        }
    }

    /// Ends the wait; the file belongs to the successor.
    pub(super) fn leave_to_successor(self) {
        self.file.keep();
    }
}

/// True for a process of the same user, or of root.
fn is_allowed(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == own || peer.uid() == 0)
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, os::fd::AsFd, thread};

    use super::*;

    async fn requested(server: &mut HandoverServer) -> UnixStream {
        match server.next().await {
            HandoverEvent::Requested(stream) => stream,
            _ => panic!("a request is the first event"),
        }
    }

    #[tokio::test]
    async fn sockets_reach_the_successor_with_their_flags() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("handover.sock");
        let mut server = HandoverServer::bind(&path).unwrap();
        let sockets = [TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap()];
        let addresses = [0, 1].map(|at: usize| sockets[at].local_addr().unwrap());
        let asking = path.clone();
        let taking = thread::spawn(move || take_over(&asking).unwrap().unwrap());
        let stream = requested(&mut server).await;
        let handed = [(0, true), (1, false)]
            .map(|(at, owns_file): (usize, bool)| HandedSocket { socket: sockets[at].as_fd(), owns_file });
        server.hand_over(stream, &handed, &HandedState::default());
        let (predecessor, taken) = taking.join().unwrap();
        assert_eq!(taken.iter().map(|handed| handed.owns_file).collect::<Vec<_>>(), [true, false]);
        let taken: Vec<_> =
            taken.into_iter().map(|handed| TcpListener::from(handed.socket).local_addr().unwrap()).collect();
        assert_eq!(taken, addresses);
        predecessor.report_ready();
        let ready = server.next().await;
        assert!(
            matches!(ready, HandoverEvent::Ready(Successor { pid: Some(pid), .. }) if pid == std::process::id())
        );
        server.leave_to_successor();
        assert!(path.exists());
    }

    #[tokio::test]
    async fn a_successor_that_ends_has_no_effect() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("handover.sock");
        assert!(take_over(&path).unwrap().is_none(), "no process is there");
        let mut server = HandoverServer::bind(&path).unwrap();
        for _ in 0..2 {
            let asking = path.clone();
            let taking = thread::spawn(move || take_over(&asking).unwrap().unwrap());
            let stream = requested(&mut server).await;
            server.hand_over(stream, &[], &HandedState::default());
            drop(taking.join().unwrap());
            assert!(matches!(server.next().await, HandoverEvent::Failed));
        }
        drop(server);
        assert!(!path.exists());
        assert!(take_over(&path).unwrap().is_none());
    }
}
