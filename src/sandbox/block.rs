//! A block of loopback addresses for a sandbox, so that several sandboxes run side by side.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use super::SandboxError;

/// Addresses `127.x.y.1` to `127.x.y.253`, claimed until dropped.
///
/// Linux answers on all of `127.0.0.0/8` without configuration. A listening socket on the last address claims the
/// block, so the claim ends with the process in any case.
#[derive(Debug)]
pub struct AddressBlock {
    _claim: TcpListener,
    network: [u8; 2],
    port: u16,
}

/// Host part of the claiming socket's address.
const CLAIM: u8 = 254;
/// PostgreSQL's port, and alternatives for a machine with a wildcard listener on the port.
const PORTS: [u16; 4] = [5432, 5433, 15432, 25432];

impl AddressBlock {
    /// Claims a free block.
    ///
    /// # Errors
    /// [`SandboxError::NoAddress`] when every block tried is taken.
    pub fn claim() -> Result<Self, SandboxError> {
        // Processes begin at different places, and so seldom meet.
        let first = std::process::id().wrapping_mul(7919);
        for port in PORTS {
            for attempt in 0..512 {
                let place = first.wrapping_add(attempt).to_le_bytes();
                // 127.16.* to 127.239.*: clear of the addresses people type.
                let network = [16 + place[1] % 224, place[0]];
                if let Ok(claim) = TcpListener::bind((at(network, CLAIM), port)) {
                    return Ok(Self { _claim: claim, network, port });
                }
            }
        }
        Err(SandboxError::NoAddress)
    }

    /// Address with host part `host` (1 to 253) and the block's port: 5432 where possible.
    #[must_use]
    pub fn address(&self, host: u8) -> SocketAddr {
        (self.ip(host), self.port).into()
    }

    /// The address with host part `host` (1 to 253), for any port.
    #[must_use]
    pub const fn ip(&self, host: u8) -> Ipv4Addr {
        at(self.network, host)
    }
}

const fn at([x, y]: [u8; 2], host: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, x, y, host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_blocks_share_no_address() {
        let (one, two) = (AddressBlock::claim().unwrap(), AddressBlock::claim().unwrap());
        assert_ne!(one.ip(1), two.ip(1));
        TcpListener::bind(one.address(1)).unwrap();
        TcpListener::bind(two.address(1)).unwrap();
    }
}
