//! Reads the state of TCP connections from the kernel, by the addresses of a connection.
//!
//! `getsockopt(TCP_INFO)` has no safe interface in Rust. The kernel's `sock_diag` returns the same `tcp_info` as a
//! message, needs no privilege for sockets of the same network namespace, and also tells that no socket is left.
//!
//! Promises: never waits; a malformed answer is an error. Refuses to know: what a state means.
//!
//! <https://man7.org/linux/man-pages/man7/sock_diag.7.html>

use std::{
    io,
    net::{IpAddr, SocketAddr},
    os::fd::OwnedFd,
};

use rustix::{
    io::Errno,
    net::{
        AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType,
        netlink::{self, SocketAddrNetlink},
    },
};

use super::{TcpPath, TcpProgress, TcpState};

/// A connection to the kernel's `sock_diag`.
pub struct SocketDiag {
    netlink: OwnedFd,
    /// Number of the last request; the kernel repeats it in its answer.
    sequence: u32,
    received: Vec<u8>,
}

const HEADER_BYTES: usize = 16;
/// Behind the header: family, protocol, extensions, padding, states, and the addresses.
const REQUEST_BYTES: usize = 56;
/// `inet_diag_msg`, before the attributes.
const MESSAGE_BYTES: usize = 72;
/// Room for an answer with all attributes of a future kernel.
const ANSWER_BYTES: usize = 8 << 10;

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLMSG_ERROR: u16 = 2;
const NLM_F_REQUEST: u16 = 1;
const IPPROTO_TCP: u8 = 6;
const INET_DIAG_INFO: u16 = 2;
/// Requests the attribute [`INET_DIAG_INFO`].
const WANTS_INFO: u8 = 1 << (INET_DIAG_INFO - 1);
const ANY_STATE: u32 = u32::MAX;
const ANY_COOKIE: [u8; 8] = [0xff; 8];

/// States without a connection: TIME_WAIT, CLOSE and LISTEN. For a connection that is gone, the kernel returns the socket
/// that listens on its local address.
const STATES_WITHOUT_CONNECTION: [u8; 3] = [6, 7, 10];

// === impl SocketDiag ===

impl SocketDiag {
    /// Opens a connection to the kernel.
    ///
    /// # Errors
    /// The system's error, for example if the service's sandbox forbids netlink sockets.
    pub fn open() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let netlink = rustix::net::socket_with(
            AddressFamily::NETLINK,
            SocketType::DGRAM,
            flags,
            Some(netlink::SOCK_DIAG),
        )?;
        Ok(Self { netlink, sequence: 0, received: vec![0; ANSWER_BYTES] })
    }

    /// State of the connection `path`. Does not block: the kernel answers within the call.
    ///
    /// # Errors
    /// The system's error, for example without the kernel's module `tcp_diag`.
    pub fn read_state(&mut self, path: &TcpPath) -> io::Result<TcpState> {
        self.sequence = self.sequence.wrapping_add(1);
        let request = encode_request(path, self.sequence)?;
        rustix::net::sendto(&self.netlink, &request, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
        loop {
            let (_, count) = rustix::net::recv(&self.netlink, &mut self.received[..], RecvFlags::empty())?;
            let answer = self.received.get(..count).ok_or_else(malformed)?;
            // An answer to an earlier request may be left, if its read has failed.
            if word_at(answer, 8)? == self.sequence {
                return decode_answer(answer);
            }
        }
    }
}

fn encode_request(path: &TcpPath, sequence: u32) -> io::Result<Vec<u8>> {
    let family = match (path.local, path.peer) {
        (SocketAddr::V4(_), SocketAddr::V4(_)) => AddressFamily::INET,
        (SocketAddr::V6(_), SocketAddr::V6(_)) => AddressFamily::INET6,
        _ => return Err(io::ErrorKind::InvalidInput.into()),
    };
    let length = HEADER_BYTES + REQUEST_BYTES;
    let mut request = Vec::with_capacity(length);
    request.extend(u32::try_from(length).map_err(|_| malformed())?.to_ne_bytes());
    request.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    request.extend(NLM_F_REQUEST.to_ne_bytes());
    request.extend(sequence.to_ne_bytes());
    request.extend(0_u32.to_ne_bytes());
    let family = u8::try_from(family.as_raw()).map_err(|_| malformed())?;
    request.extend([family, IPPROTO_TCP, WANTS_INFO, 0]);
    request.extend(ANY_STATE.to_ne_bytes());
    request.extend(path.local.port().to_be_bytes());
    request.extend(path.peer.port().to_be_bytes());
    request.extend(address_bytes(path.local.ip()));
    request.extend(address_bytes(path.peer.ip()));
    request.extend(interface_of(path).to_ne_bytes());
    request.extend(ANY_COOKIE);
    Ok(request)
}

/// Address in a field that has room for IPv6.
fn address_bytes(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&address.to_bits().to_be_bytes());
            bytes
        }
        IpAddr::V6(address) => address.to_bits().to_be_bytes(),
    }
}

/// Interface of a link-local connection; 0 otherwise.
fn interface_of(path: &TcpPath) -> u32 {
    match path.local {
        SocketAddr::V6(local) => local.scope_id(),
        SocketAddr::V4(_) => 0,
    }
}

fn decode_answer(answer: &[u8]) -> io::Result<TcpState> {
    let kind = u16::from_ne_bytes([byte_at(answer, 4)?, byte_at(answer, 5)?]);
    if kind == NLMSG_ERROR {
        let code = i32::from_ne_bytes(word_at(answer, HEADER_BYTES)?.to_ne_bytes());
        return match code.checked_neg() {
            Some(code) if code == Errno::NOENT.raw_os_error() => Ok(TcpState::Gone),
            Some(code) if code > 0 => Err(io::Error::from_raw_os_error(code)),
            _ => Err(malformed()),
        };
    }
    if STATES_WITHOUT_CONNECTION.contains(&byte_at(answer, HEADER_BYTES + 1)?) {
        return Ok(TcpState::Gone);
    }
    let attributes = answer.get(HEADER_BYTES + MESSAGE_BYTES..).ok_or_else(malformed)?;
    let info = find_attribute(attributes, INET_DIAG_INFO).ok_or_else(malformed)?;
    TcpProgress::parse(info).map(TcpState::Open).ok_or_else(malformed)
}

/// Value of the attribute `wanted`. Each has its length, its kind, its value, and padding to four bytes.
fn find_attribute(mut rest: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let (header, _) = rest.split_at_checked(4)?;
        let length = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let value = rest.get(4..length)?;
        if u16::from_ne_bytes([header[2], header[3]]) == wanted {
            return Some(value);
        }
        rest = rest.get(length.next_multiple_of(4)..)?;
    }
}

fn byte_at(bytes: &[u8], at: usize) -> io::Result<u8> {
    bytes.get(at).copied().ok_or_else(malformed)
}

fn word_at(bytes: &[u8], at: usize) -> io::Result<u32> {
    let word = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>()).ok_or_else(malformed)?;
    Ok(u32::from_ne_bytes(*word))
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "malformed message of sock_diag")
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use socket2::SockRef;

    use super::*;

    /// Both ends of a connection on the address `local`.
    fn connect(local: &str) -> (TcpStream, TcpStream, TcpListener) {
        let listener = TcpListener::bind((local, 0)).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        (client, server, listener)
    }

    fn path_of(stream: &TcpStream) -> TcpPath {
        TcpPath { local: stream.local_addr().unwrap(), peer: stream.peer_addr().unwrap() }
    }

    #[test]
    fn a_connection_is_found_until_it_is_reset() {
        let mut diag = SocketDiag::open().unwrap();
        for local in ["127.0.0.1", "::1"] {
            let (client, server, _listener) = connect(local);
            let (there, back) = (path_of(&client), path_of(&server));
            for path in [&there, &back] {
                let TcpState::Open(progress) = diag.read_state(path).unwrap() else {
                    panic!("gone: {path:?}")
                };
                assert!(!progress.is_silent(), "{progress:?}");
            }
            SockRef::from(&client).set_linger(Some(std::time::Duration::ZERO)).unwrap();
            drop(client);
            assert_eq!(diag.read_state(&there).unwrap(), TcpState::Gone);
            assert_eq!(diag.read_state(&back).unwrap(), TcpState::Gone, "and not the listening socket");
        }
    }

    #[test]
    fn a_peer_that_does_not_read_is_not_silent() {
        use std::io::Write;
        let mut diag = SocketDiag::open().unwrap();
        let (mut client, server, _listener) = connect("127.0.0.1");
        client.set_nonblocking(true).unwrap();
        while client.write(&[0; 1 << 16]).is_ok() {}
        let progress = |state| match state {
            TcpState::Open(progress) => progress,
            TcpState::Gone => panic!("the connection is open"),
        };
        // The kernel probes the closed window after 200 ms, 400 ms and so on.
        let end = std::time::Instant::now() + std::time::Duration::from_secs(2);
        while std::time::Instant::now() < end {
            let progress = progress(diag.read_state(&path_of(&client)).unwrap());
            assert!(!progress.is_silent(), "{progress:?}");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        drop(server);
    }

    #[test]
    fn answers_are_malformed_at_each_cut() {
        let mut diag = SocketDiag::open().unwrap();
        let (client, _server, _listener) = connect("127.0.0.1");
        diag.read_state(&path_of(&client)).unwrap();
        let length = usize::try_from(word_at(&diag.received, 0).unwrap()).unwrap();
        let whole = &diag.received[..length];
        assert!(decode_answer(whole).is_ok());
        for cut in 0..HEADER_BYTES + MESSAGE_BYTES + 4 {
            assert!(decode_answer(&whole[..cut]).is_err(), "{cut}");
        }
        assert!(find_attribute(&[2, 0, 2, 0], INET_DIAG_INFO).is_none(), "shorter than its own header");
    }
}
