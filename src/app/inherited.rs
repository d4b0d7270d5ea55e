//! Sockets opened by the service manager: systemd's socket activation.
//!
//! <https://www.freedesktop.org/software/systemd/man/latest/sd_listen_fds.html>

use std::os::fd::OwnedFd;

use listenfd::ListenFd;

use crate::frontend::Bind;

/// Inherited listening sockets, by address.
pub(super) struct Inherited {
    sockets: Vec<(Bind, OwnedFd)>,
}

impl Inherited {
    /// Takes over the sockets in `LISTEN_FDS` and `LISTEN_PID`. Call once.
    pub(super) fn take() -> Self {
        let mut given = ListenFd::from_env();
        let mut sockets = Vec::new();
        for at in 0..given.len() {
            if let Ok(Some(listener)) = given.take_tcp_listener(at)
                && let Ok(address) = listener.local_addr()
            {
                sockets.push((Bind::Tcp(address), listener.into()));
            } else if let Ok(Some(listener)) = given.take_unix_listener(at)
                && let Some(path) =
                    listener.local_addr().ok().and_then(|address| address.as_pathname().map(Into::into))
            {
                sockets.push((Bind::Unix(path), listener.into()));
            }
        }
        Self { sockets }
    }

    /// The inherited socket for `bind`, if any.
    pub(super) fn claim(&mut self, bind: &Bind) -> Option<OwnedFd> {
        let at = self.sockets.iter().position(|(listens, _)| listens == bind)?;
        Some(self.sockets.swap_remove(at).1)
    }

    /// Addresses of the sockets without a listener.
    pub(super) fn unclaimed_binds(&self) -> impl Iterator<Item = &Bind> {
        self.sockets.iter().map(|(bind, _)| bind)
    }
}
