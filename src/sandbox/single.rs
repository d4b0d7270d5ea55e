//! A single server, for most tests: starts in a fraction of a second.

use std::{net::SocketAddr, path::Path, sync::Arc};

use super::{
    AddressBlock, Authority, Installation, Node, SandboxError, SandboxOptions, Tokens,
    site::{NodePlan, Site},
};

/// A single primary with users, tokens, database `app` and TLS like the servers of a [`super::Sandbox`]. Drop stops the
/// server and removes the files.
pub struct Single {
    site: Site,
    authority: Arc<Authority>,
    node: Node,
}

/// The DNS name in the certificate.
const DNS_NAME: &str = "primary.orders.example";

impl Single {
    /// Starts the server and waits until connections are accepted.
    ///
    /// Cancel safety: started processes are stopped.
    ///
    /// # Errors
    /// [`SandboxError`] if the machine lacks a requirement.
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
        site.tokens().set_writer(&node)?;
        node.start().await?;
        Ok(Self { site, authority, node })
    }

    /// The server.
    #[must_use]
    pub const fn node(&self) -> &Node {
        &self.node
    }

    /// Address of the server.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.node.address()
    }

    /// The name in the certificate.
    #[must_use]
    pub const fn dns_name(&self) -> &'static str {
        DNS_NAME
    }

    /// Issuer of the certificate.
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

    /// Block of addresses: host parts from 100 up are free for callers.
    #[must_use]
    pub const fn block(&self) -> &AddressBlock {
        self.site.block()
    }

    /// Installation of the server.
    #[must_use]
    pub fn installation(&self) -> &Installation {
        self.site.installation()
    }
}
