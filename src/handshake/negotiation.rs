//! Negotiation of the protocol version with a client.

use crate::wire::{ProtocolVersion, StartupMessage, startup::write_negotiation};

/// Newest supported protocol version.
const NEWEST: ProtocolVersion = ProtocolVersion::V3_2;

/// Difference between requested and supported protocol.
///
/// <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-START-UP>
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Negotiation {
    version: ProtocolVersion,
    /// Unknown protocol options.
    unknown: Vec<Vec<u8>>,
    /// The client requested an unsupported version.
    lowered: bool,
}

impl Negotiation {
    /// Lowers `startup` to a supported version, and removes protocol options, which could change the meaning of
    /// messages.
    pub(super) fn settle(startup: &mut StartupMessage) -> Self {
        let unknown: Vec<Vec<u8>> = startup.protocol_options().map(<[u8]>::to_vec).collect();
        startup.remove_protocol_options();
        let version = startup.version().min(NEWEST);
        let lowered = version != startup.version();
        startup.set_version(version);
        Self { version, unknown, lowered }
    }

    /// True if the client needs a NegotiateProtocolVersion message first.
    #[must_use]
    pub const fn is_needed(&self) -> bool {
        self.lowered || !self.unknown.is_empty()
    }

    /// Appends the NegotiateProtocolVersion message, if needed.
    pub fn write(&self, out: &mut Vec<u8>) {
        if self.is_needed() {
            self.write_with(self.version, out);
        }
    }

    /// Appends the message with the version that an endpoint chose.
    pub(super) fn write_with(&self, version: ProtocolVersion, out: &mut Vec<u8>) {
        write_negotiation(out, version, self.unknown.iter().map(Vec::as_slice));
    }
}
