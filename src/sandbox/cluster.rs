//! A cluster of a sandbox: CA and endpoints.

use std::{net::SocketAddr, sync::Arc};

use super::{Authority, Certificate, Middleman, Node, SandboxError};

/// A cluster: certificate authority and endpoints.
pub struct SandboxCluster {
    pub(super) name: &'static str,
    pub(super) region: &'static str,
    pub(super) replica_of: Option<&'static str>,
    pub(super) authority: Arc<Authority>,
    pub(super) endpoints: Vec<SandboxEndpoint>,
}

/// An address for clients, and the nodes behind.
pub struct SandboxEndpoint {
    pub(super) name: &'static str,
    pub(super) role: &'static str,
    pub(super) dns_name: &'static str,
    pub(super) middleman: Middleman,
    pub(super) nodes: Vec<Node>,
}

impl SandboxCluster {
    /// Name of the cluster.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Certificate authority of the cluster.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Endpoints: the writer, or writer after a promotion, then the read pool.
    #[must_use]
    pub fn endpoints(&self) -> &[SandboxEndpoint] {
        &self.endpoints
    }

    /// The first step of a rotation: a new CA signs from now on, and both are published.
    ///
    /// # Errors
    /// When the CA file cannot be replaced.
    pub fn begin_ca_rotation(&self) -> Result<(), SandboxError> {
        self.authority.begin_rotation()
    }

    /// The second step: every server gets a certificate by the CA that signs now, for new connections.
    ///
    /// # Errors
    /// When a certificate cannot be written.
    pub fn renew_certificates(&self) -> Result<(), SandboxError> {
        self.present(Certificate::Named)
    }

    /// The third step: the old CA is no longer published.
    ///
    /// # Errors
    /// When the CA file cannot be replaced.
    pub fn finish_ca_rotation(&self) -> Result<(), SandboxError> {
        self.authority.finish_rotation()
    }

    /// Gives every server a certificate of the given kind, for new connections.
    ///
    /// # Errors
    /// When a certificate cannot be written.
    pub fn present(&self, kind: Certificate) -> Result<(), SandboxError> {
        self.endpoints.iter().flat_map(|endpoint| &endpoint.nodes).try_for_each(|node| node.present(kind))
    }

    pub(super) fn leader(&self) -> &Node {
        &self.endpoints[0].nodes[0]
    }
}

impl SandboxEndpoint {
    /// Name in the sandbox's configuration.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The role that the configuration declares: `primary`, `read-pool` or `secondary`.
    #[must_use]
    pub const fn role(&self) -> &'static str {
        self.role
    }

    /// The address that clients dial.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.middleman.address()
    }

    /// The name in the certificates of the nodes.
    #[must_use]
    pub const fn dns_name(&self) -> &'static str {
        self.dns_name
    }

    /// The middleman between the address and the nodes.
    #[must_use]
    pub const fn middleman(&self) -> &Middleman {
        &self.middleman
    }

    /// Nodes behind the address.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }
}
