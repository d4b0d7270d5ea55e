//! State of a TCP connection, as the kernel knows it: whether the peer acknowledges anything.
//!
//! Promises: a peer that acknowledges, if only with a closed window, is never silent. Refuses to know: how the state is
//! read, and what follows from silence.

use std::net::SocketAddr;

use crate::tls::Stream;

/// The two addresses of a TCP connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpPath {
    /// Address on this machine.
    pub local: SocketAddr,
    /// Address of the other side.
    pub peer: SocketAddr,
}

/// State of a TCP connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TcpState {
    /// No socket has the connection: the kernel has given it up, or the other side has reset it.
    Gone,
    /// A socket has the connection.
    Open(TcpProgress),
}

/// Progress of a connection: fields of Linux's `tcp_info`.
///
/// <https://man7.org/linux/man-pages/man7/tcp.7.html>
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpProgress {
    /// Segments sent and not acknowledged.
    pub unacknowledged: u32,
    /// Retransmissions in a row after a timeout, without an acknowledgement.
    pub retransmits: u8,
    /// Probes of a closed window, or of an idle connection, without an acknowledgement.
    pub probes: u8,
    /// The peer's window in bytes; `None` before Linux 5.4.
    pub peer_window: Option<u32>,
    /// Time since the last data of the peer, in milliseconds.
    pub last_data_ms: u32,
}

/// Least number of unanswered transmissions of a silent peer: a single one is lost now and then.
const MIN_UNANSWERED: u8 = 2;

// === impl TcpPath ===

impl TcpPath {
    /// The addresses of `stream`; `None` for a Unix-domain socket.
    #[must_use]
    pub fn of(stream: &Stream) -> Option<Self> {
        let tcp = stream.tcp()?;
        Some(Self { local: tcp.local_addr().ok()?, peer: tcp.peer_addr().ok()? })
    }
}

// === impl TcpProgress ===

impl TcpProgress {
    /// From the bytes of a `tcp_info`, whose length depends on the kernel; `None` if too short.
    #[must_use]
    pub fn parse(info: &[u8]) -> Option<Self> {
        let byte = |at: usize| info.get(at).copied();
        let word = |at: usize| {
            let bytes = info.get(at..at.checked_add(4)?)?;
            Some(u32::from_ne_bytes(bytes.try_into().ok()?))
        };
        Some(Self {
            retransmits: byte(2)?,
            probes: byte(3)?,
            unacknowledged: word(24)?,
            last_data_ms: word(52)?,
            peer_window: word(228),
        })
    }

    /// True if the peer answers nothing: neither data sent while its window was open, nor probes.
    ///
    /// The kernel counts no retransmission while the window is closed, and resets the count of probes with each
    /// acknowledgement. A peer that is alive and does not read is therefore not silent.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        let has_open_window = self.peer_window != Some(0);
        let is_unacknowledged = self.unacknowledged > 0 && self.retransmits >= MIN_UNANSWERED;
        (is_unacknowledged && has_open_window) || self.probes >= MIN_UNANSWERED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEALTHY: TcpProgress = TcpProgress {
        unacknowledged: 0,
        retransmits: 0,
        probes: 0,
        peer_window: Some(65_483),
        last_data_ms: 600_000,
    };

    #[test]
    fn only_a_peer_without_acknowledgements_is_silent() {
        for (case, progress, is_silent) in [
            ("a long statement", HEALTHY, false),
            ("data on its way", TcpProgress { unacknowledged: 9, ..HEALTHY }, false),
            ("a lost packet", TcpProgress { unacknowledged: 1, retransmits: 1, ..HEALTHY }, false),
            ("a black hole", TcpProgress { unacknowledged: 1, retransmits: 2, ..HEALTHY }, true),
            (
                "a black hole, before Linux 5.4",
                TcpProgress { unacknowledged: 1, retransmits: 4, peer_window: None, ..HEALTHY },
                true,
            ),
            ("a closed window", TcpProgress { peer_window: Some(0), ..HEALTHY }, false),
            (
                "a window that closed behind sent data",
                TcpProgress { unacknowledged: 3, retransmits: 5, peer_window: Some(0), ..HEALTHY },
                false,
            ),
            ("a probe on its way", TcpProgress { peer_window: Some(0), probes: 1, ..HEALTHY }, false),
            (
                "a closed window without an answer",
                TcpProgress { peer_window: Some(0), probes: 2, ..HEALTHY },
                true,
            ),
            ("keepalive without an answer", TcpProgress { probes: 2, ..HEALTHY }, true),
        ] {
            assert_eq!(progress.is_silent(), is_silent, "{case}");
        }
    }

    #[test]
    fn fields_are_read_from_each_length() {
        let mut info = vec![0; 232];
        (info[2], info[3]) = (7, 1);
        info[24..28].copy_from_slice(&5_u32.to_ne_bytes());
        info[52..56].copy_from_slice(&1_234_u32.to_ne_bytes());
        info[228..232].copy_from_slice(&99_u32.to_ne_bytes());
        let whole = TcpProgress {
            unacknowledged: 5,
            retransmits: 7,
            probes: 1,
            peer_window: Some(99),
            last_data_ms: 1_234,
        };
        assert_eq!(TcpProgress::parse(&info), Some(whole));
        assert_eq!(TcpProgress::parse(&info[..104]), Some(TcpProgress { peer_window: None, ..whole }));
        assert_eq!(TcpProgress::parse(&info[..55]), None);
    }
}
