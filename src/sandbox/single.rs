//! One server by itself: most tests need no more, and it is up in a fraction of a second.

use std::{net::SocketAddr, path::Path, sync::Arc};

use super::{
    AddressBlock, Authority, Installation, Node, SandboxError, SandboxOptions, Tokens,
    site::{NodePlan, Site},
};

/// One primary by itself, with everything the servers of a [`super::Sandbox`] have: users, tokens, database `app`, TLS.
/// Dropping it stops the server and removes its files.
pub struct Single {
    site: Site,
    authority: Arc<Authority>,
    node: Node,
}

/// The DNS name in the certificate.
const DNS_NAME: &str = "primary.orders.example";

impl Single {
    /// Starts it and waits until it accepts connections.
    ///
    /// Cancel safety: what was started is stopped.
    ///
    /// # Errors
    /// [`SandboxError`] says what is missing on this machine.
    pub async fn start(options: SandboxOptions) -> Result<Self, SandboxError> {
        let site = Site::open(options).await?;
        let authority = Arc::new(Authority::new("orders", site.folder())?);
        let address = site.block().address(1);
        let plan = NodePlan {
            name: "primary",
            address,
            authority: &authority,
            dns_name: DNS_NAME,
            dialed: address.ip(),
            upstream: None,
            standby: false,
        };
        let node = site.node(plan).await?;
        site.tokens().follow(&node)?;
        node.start().await?;
        Ok(Self { site, authority, node })
    }

    /// The server.
    #[must_use]
    pub const fn node(&self) -> &Node {
        &self.node
    }

    /// Its address.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.node.address()
    }

    /// The one name in its certificate.
    #[must_use]
    pub const fn dns_name(&self) -> &'static str {
        DNS_NAME
    }

    /// The CA of its certificate.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The tokens of IAM users.
    #[must_use]
    pub const fn tokens(&self) -> &Tokens {
        self.site.tokens()
    }

    /// A folder for the caller's own files, removed with the sandbox.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.site.folder()
    }

    /// Its block of addresses: host parts from 100 up are the caller's.
    #[must_use]
    pub const fn block(&self) -> &AddressBlock {
        self.site.block()
    }

    /// The PostgreSQL it runs.
    #[must_use]
    pub fn installation(&self) -> &Installation {
        self.site.installation()
    }
}
