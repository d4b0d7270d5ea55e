//! A block of loopback addresses that one sandbox has to itself, so that several run side by side.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use super::SandboxError;

/// The addresses `127.x.y.1` to `127.x.y.253`, ours until dropped.
///
/// Linux answers on all of `127.0.0.0/8` without being asked. The block is claimed by a listening socket on its last
/// address, so a claim ends with the process that made it, however that ends.
#[derive(Debug)]
pub struct AddressBlock {
    _claim: TcpListener,
    network: [u8; 2],
    port: u16,
}

/// The host part of the address whose socket claims a block.
const CLAIM: u8 = 254;
/// PostgreSQL's port, and others in case something listens on it on every address.
const PORTS: [u16; 4] = [5432, 5433, 15432, 25432];

impl AddressBlock {
    /// Claims a block that nobody has.
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

    /// The address with host part `host` (1 to 253) and this block's port: 5432 where possible.
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
