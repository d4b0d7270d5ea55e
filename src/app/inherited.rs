//! Listening sockets of other processes: systemd's socket activation, and a handover.
//!
//! <https://www.freedesktop.org/software/systemd/man/latest/sd_listen_fds.html>

use std::{
    net::SocketAddr,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::{Path, PathBuf},
};

use listenfd::ListenFd;
use rustix::net::SocketAddrUnix;

use super::{
    handed_state::HandedState,
    handover::{self, HandedSocket, Predecessor},
};
use crate::frontend::Bind;

/// Inherited listening sockets, by address.
pub(super) struct Inherited {
    sockets: Vec<(Bind, OwnedFd)>,
    predecessor: Option<Predecessor>,
}

impl Inherited {
    /// Takes over the sockets in `LISTEN_FDS` and `LISTEN_PID`, and those of the process that listens at `handover`.
    /// Call once.
    pub(super) fn take(handover: Option<&Path>) -> Self {
        let mut given = ListenFd::from_env();
        let mut inherited = Self { sockets: Vec::new(), predecessor: None };
        for at in 0..given.len() {
            let socket = match given.take_tcp_listener(at) {
                Ok(Some(listener)) => Some(listener.into()),
                _ => given.take_unix_listener(at).ok().flatten().map(Into::into),
            };
            inherited.sockets.extend(socket.and_then(by_address));
        }
        match handover.map_or(Ok(None), handover::take_over) {
            Ok(None) => {}
            Ok(Some((mut predecessor, sockets))) => {
                tracing::info!(
                    sockets = sockets.len(),
                    "listening sockets taken over from a running process"
                );
                for HandedSocket { socket, owns_file } in sockets {
                    let Some((bind, socket)) = by_address(socket) else { continue };
                    if owns_file {
                        predecessor.note_file(bind.clone());
                    }
                    inherited.sockets.push((bind, socket));
                }
                inherited.predecessor = Some(predecessor);
            }
            Err(error) => {
                tracing::error!(%error, "the running process does not hand over its listening sockets")
            }
        }
        inherited
    }

    /// The inherited socket for `bind`, if any.
    pub(super) fn claim(&mut self, bind: &Bind) -> Option<OwnedFd> {
        let at = self.sockets.iter().position(|(listens, _)| listens == bind)?;
        Some(self.sockets.swap_remove(at).1)
    }

    /// Decisions of operators, by the process before this one.
    pub(super) fn state(&self) -> Option<&HandedState> {
        self.predecessor.as_ref().map(|predecessor| &predecessor.state)
    }

    /// Warns of sockets without a listener, and returns the process before this one.
    pub(super) fn finish(self) -> Option<Predecessor> {
        for (bind, _) in &self.sockets {
            tracing::warn!(%bind, "inherited socket matches no configured listener");
        }
        self.predecessor
    }
}

/// A socket with its address; `None` for an address that no listener can have.
fn by_address(socket: OwnedFd) -> Option<(Bind, OwnedFd)> {
    let address = rustix::net::getsockname(&socket).ok()?;
    let bind = match SocketAddr::try_from(address.clone()) {
        Ok(address) => Bind::Tcp(address),
        Err(_) => {
            let address = SocketAddrUnix::try_from(address).ok()?;
            let path = address.path_bytes().filter(|path| !path.is_empty())?;
            Bind::Unix(PathBuf::from(std::ffi::OsStr::from_bytes(path)))
        }
    };
    Some((bind, socket))
}
