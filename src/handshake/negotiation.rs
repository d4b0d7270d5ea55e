//! Which version of the protocol is spoken with a client.

use crate::wire::{ProtocolVersion, StartupMessage, startup::write_negotiation};

/// The newest version spoken here.
const NEWEST: ProtocolVersion = ProtocolVersion::V3_2;

/// What a client asked for, brought down to what is spoken here.
///
/// <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-START-UP>
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Negotiation {
    version: ProtocolVersion,
    /// Names of protocol options that nobody knows.
    unknown: Vec<Vec<u8>>,
    /// Whether the client asked for a version that is not spoken here.
    lowered: bool,
}

impl Negotiation {
    /// Brings `startup` down: an older version if need be, and no protocol options, which could change what messages
    /// mean without our knowing.
    pub(super) fn settle(startup: &mut StartupMessage) -> Self {
        let unknown: Vec<Vec<u8>> = startup.protocol_options().map(<[u8]>::to_vec).collect();
        startup.remove_protocol_options();
        let version = startup.version().min(NEWEST);
        let lowered = version != startup.version();
        startup.set_version(version);
        Self { version, unknown, lowered }
    }

    /// Whether the client must be told, before anything else.
    #[must_use]
    pub const fn is_needed(&self) -> bool {
        self.lowered || !self.unknown.is_empty()
    }

    /// Appends the NegotiateProtocolVersion message, if it is needed.
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
