//! Packets before the first frame: a length and a code, without tag.

use super::{
    cancel_key::BackendKey,
    reader::{DecodeError, Reader},
    tag, writer,
};

/// A version of the protocol. Versions are ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProtocolVersion {
    /// 3, since PostgreSQL 7.4.
    pub major: u16,
    /// 0, or 2 since PostgreSQL 18.
    pub minor: u16,
}

/// First packet of a connection, or the next packet after an encryption request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FirstPacket {
    /// Request for TLS.
    SslRequest,
    /// Request for GSSAPI encryption.
    GssEncRequest,
    /// Request to cancel the current statement of a backend.
    CancelRequest(BackendKey),
    /// Login request.
    Startup(StartupMessage),
}

/// The StartupMessage: a version and all parameters in order.
///
/// Values are bytes: the encoding of a user's or a database's name is the server's business.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StartupMessage {
    version: ProtocolVersion,
    parameters: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Why the first bytes are no first packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StartupError {
    /// A length no first packet has: garbage, or another protocol.
    #[error("invalid length of startup packet: {0}")]
    Length(u32),
    /// A body that does not fit the code.
    #[error("invalid startup packet: {0}")]
    Layout(DecodeError),
}

/// `MAX_STARTUP_PACKET_LENGTH`, without the length's own bytes.
pub const MAX_STARTUP_BYTES: u32 = 10_000;

pub(super) const CANCEL_REQUEST: u32 = code(1234, 5678);
const SSL_REQUEST: u32 = code(1234, 5679);
const GSSENC_REQUEST: u32 = code(1234, 5680);

/// Prefix of protocol options.
const PROTOCOL_OPTION: &[u8] = b"_pq_.";

const fn code(high: u16, low: u16) -> u32 {
    (high as u32) << 16 | low as u32
}

// === impl ProtocolVersion ===

impl ProtocolVersion {
    /// Protocol 3.0: all servers.
    pub const V3_0: Self = Self { major: 3, minor: 0 };
    /// Protocol 3.2: PostgreSQL 18 and newer; longer cancel keys.
    pub const V3_2: Self = Self { major: 3, minor: 2 };

    const fn from_code(code: u32) -> Self {
        Self { major: (code >> 16) as u16, minor: (code & 0xffff) as u16 }
    }

    /// From the number in NegotiateProtocolVersion: PostgreSQL sends the whole code, the documentation asks for the
    /// minor version only.
    pub(super) const fn from_negotiation(code: u32) -> Self {
        match Self::from_code(code) {
            Self { major: 0, minor } => Self { major: 3, minor },
            version => version,
        }
    }

    /// As the number on the wire.
    #[must_use]
    pub const fn code(self) -> u32 {
        code(self.major, self.minor)
    }

    /// Size of a cancel key's secret, as chosen by PostgreSQL.
    #[must_use]
    pub fn secret_bytes(self) -> usize {
        if self >= Self::V3_2 { 32 } else { 4 }
    }
}

impl std::fmt::Display for ProtocolVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

// === impl FirstPacket ===

impl FirstPacket {
    /// Reads the packet at the start of `unread`, with the packet's size; `None` if bytes are missing.
    ///
    /// A packet with the code of an encryption request but the wrong length is, as with PostgreSQL, taken for a
    /// StartupMessage of an absurd version.
    ///
    /// # Errors
    /// [`StartupError`] if the peer does not speak the PostgreSQL protocol.
    pub fn read(unread: &[u8]) -> Result<Option<(Self, usize)>, StartupError> {
        let Some(&head) = unread.first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_be_bytes(head);
        if !(8..=MAX_STARTUP_BYTES + 4).contains(&length) {
            return Err(StartupError::Length(length));
        }
        let total = length as usize;
        let Some(packet) = unread.get(..total) else { return Ok(None) };
        Self::decode(packet).map(|packet| Some((packet, total))).map_err(StartupError::Layout)
    }

    fn decode(packet: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(packet);
        reader.u32()?;
        let code = reader.u32()?;
        match code {
            CANCEL_REQUEST => BackendKey::read(reader.rest()).map(Self::CancelRequest),
            SSL_REQUEST if reader.rest().is_empty() => Ok(Self::SslRequest),
            GSSENC_REQUEST if reader.rest().is_empty() => Ok(Self::GssEncRequest),
            _ => StartupMessage::decode(ProtocolVersion::from_code(code), reader.rest()).map(Self::Startup),
        }
    }

    /// Appends the packet.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::SslRequest => writer::write_packet(out, |body| body.extend(SSL_REQUEST.to_be_bytes())),
            Self::GssEncRequest => {
                writer::write_packet(out, |body| body.extend(GSSENC_REQUEST.to_be_bytes()))
            }
            Self::CancelRequest(key) => key.write_cancel_request(out),
            Self::Startup(startup) => startup.write(out),
        }
    }
}

// === impl StartupMessage ===

impl StartupMessage {
    /// A message without parameters.
    #[must_use]
    pub const fn new(version: ProtocolVersion) -> Self {
        Self { version, parameters: Vec::new() }
    }

    fn decode(version: ProtocolVersion, body: &[u8]) -> Result<Self, DecodeError> {
        let mut parameters = Vec::new();
        // Other major versions have another layout: the version causes the error, not the layout.
        if version.major == 3 {
            let mut reader = Reader::new(body);
            loop {
                let name = reader.string()?;
                if name.is_empty() {
                    break;
                }
                parameters.push((name.to_vec(), reader.string()?.to_vec()));
            }
            reader.expect_end()?;
        }
        Ok(Self { version, parameters })
    }

    /// The version asked for.
    #[must_use]
    pub const fn version(&self) -> ProtocolVersion {
        self.version
    }

    /// Asks for another version.
    pub const fn set_version(&mut self, version: ProtocolVersion) {
        self.version = version;
    }

    /// The value of the parameter `name`; of several the last, as PostgreSQL does.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        let mut named = self.parameters.iter().rev().filter(|(known, _)| known == name.as_bytes());
        named.next().map(|(_, value)| value.as_slice())
    }

    /// As [`StartupMessage::get`], for values that must be UTF-8.
    ///
    /// # Errors
    /// [`std::str::Utf8Error`] if the value is not UTF-8.
    pub fn text(&self, name: &str) -> Result<Option<&str>, std::str::Utf8Error> {
        self.get(name).map(std::str::from_utf8).transpose()
    }

    /// Sets the parameter `name` to a single value, at the first position of the name or at the end. Writing drops
    /// NULs.
    pub fn set(&mut self, name: &str, value: impl Into<Vec<u8>>) {
        let value = value.into();
        match self.parameters.iter().position(|(known, _)| known == name.as_bytes()) {
            None => self.parameters.push((name.as_bytes().to_vec(), value)),
            Some(first) => {
                let mut at = 0;
                self.parameters.retain(|(known, _)| {
                    at += 1;
                    at <= first + 1 || known != name.as_bytes()
                });
                if let Some((_, old)) = self.parameters.get_mut(first) {
                    *old = value;
                }
            }
        }
    }

    /// Removes every occurrence of the parameter `name`.
    pub fn remove(&mut self, name: &str) {
        self.parameters.retain(|(known, _)| known != name.as_bytes());
        if self.parameters.is_empty() {
            // Frees the memory: the message lives as long as the session.
            self.parameters = Vec::new();
        }
    }

    /// All parameters in order.
    pub fn parameters(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.parameters.iter().map(|(name, value)| (name.as_slice(), value.as_slice()))
    }

    /// Names of protocol options, with the prefix `_pq_.`. PostgreSQL defines no option yet.
    pub fn protocol_options(&self) -> impl Iterator<Item = &[u8]> {
        self.parameters().map(|(name, _)| name).filter(|name| name.starts_with(PROTOCOL_OPTION))
    }

    /// Takes all protocol options out.
    pub fn remove_protocol_options(&mut self) {
        self.parameters.retain(|(name, _)| !name.starts_with(PROTOCOL_OPTION));
    }

    /// Appends the packet.
    pub fn write(&self, out: &mut Vec<u8>) {
        writer::write_packet(out, |body| {
            body.extend_from_slice(&self.version.code().to_be_bytes());
            // A parameter without a name would be read as the end of the list.
            for (name, value) in self.parameters().filter(|(name, _)| !name.is_empty()) {
                writer::write_string(body, name);
                writer::write_string(body, value);
            }
            body.push(0);
        });
    }
}

/// Appends NegotiateProtocolVersion: the negotiated version and the unknown protocol options.
///
/// The documentation asks for the minor version; PostgreSQL sends and libpq reads the whole code.
pub fn write_negotiation<'a>(
    out: &mut Vec<u8>,
    version: ProtocolVersion,
    unknown: impl Iterator<Item = &'a [u8]>,
) {
    writer::write_frame(out, tag::backend::NEGOTIATE_PROTOCOL_VERSION, |body| {
        body.extend_from_slice(&version.code().to_be_bytes());
        let count_at = body.len();
        body.extend_from_slice(&[0; 4]);
        let mut count = 0_u32;
        for name in unknown {
            writer::write_string(body, name);
            count += 1;
        }
        if let Some(field) = body.get_mut(count_at..).and_then(|from| from.first_chunk_mut()) {
            *field = count.to_be_bytes();
        }
    });
}
