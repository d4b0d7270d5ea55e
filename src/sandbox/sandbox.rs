//! The whole sandbox: two clusters, five servers, four endpoints.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use super::{
    AddressBlock, Authority, Installation, Middleman, Node, REPLICATOR, SandboxCluster, SandboxEndpoint,
    SandboxError, SandboxOptions, ServerTls, Stop, Tokens,
    run::wait_until,
    site::{NodePlan, Site},
};
use crate::tasks::Workers;

/// A primary cluster with a read pool of two nodes, and a secondary cluster with a leader and a read pool of a single
/// node. Drop stops everything and removes the files.
pub struct Sandbox {
    /// The first field, dropped first: the guard ends the servers.
    site: Site,
    primary: SandboxCluster,
    secondary: SandboxCluster,
    /// Proxy for the secondary cluster's WAL: the link between the regions.
    link: Middleman,
    _workers: Workers,
}

/// How an endpoint is made.
struct EndpointPlan {
    name: &'static str,
    role: &'static str,
    dns_name: &'static str,
    /// Host part of the endpoint's address; nodes have separate addresses.
    host: u8,
    nodes: &'static [(&'static str, u8)],
    /// Source of the nodes' WAL: the link, or a node of the cluster.
    follows: Option<&'static str>,
}

const PRIMARY: [EndpointPlan; 2] = [
    EndpointPlan {
        name: "primary",
        role: "primary",
        dns_name: "primary.orders.example",
        host: 1,
        nodes: &[("primary", 11)],
        follows: None,
    },
    EndpointPlan {
        name: "reads",
        role: "read-pool",
        dns_name: "reads.orders.example",
        host: 2,
        nodes: &[("reads-1", 12), ("reads-2", 13)],
        follows: Some("primary"),
    },
];
const SECONDARY: [EndpointPlan; 2] = [
    EndpointPlan {
        name: "dr",
        role: "secondary",
        dns_name: "dr.orders-dr.example",
        host: 3,
        nodes: &[("dr", 14)],
        follows: None,
    },
    EndpointPlan {
        name: "dr-reads",
        role: "secondary",
        dns_name: "reads.orders-dr.example",
        host: 4,
        nodes: &[("dr-reads-1", 15)],
        follows: Some("dr"),
    },
];
/// The host part of the link's address.
const LINK_HOST_PART: u8 = 9;
/// Time limit for the new writer to replay the WAL of the old writer.
const SWITCHOVER_TIMEOUT: Duration = Duration::from_secs(10);

impl Sandbox {
    /// Starts the sandbox; returns once every server accepts connections and every standby receives WAL.
    ///
    /// Cancel safety: started processes are stopped.
    ///
    /// # Errors
    /// [`SandboxError`] if the machine lacks a requirement.
    pub async fn start(options: SandboxOptions) -> Result<Self, SandboxError> {
        let tls = options.tls != ServerTls::Off;
        let site = Site::open(options).await?;
        let workers = Workers::start(1).map_err(SandboxError::io("starting the middlemen"))?;
        let link_address = site.block().address(LINK_HOST_PART);
        let upstream = format!(
            "host={} port={} user={} password={} sslmode={}",
            link_address.ip(),
            link_address.port(),
            REPLICATOR.name,
            REPLICATOR.password,
            if tls { "require" } else { "disable" }
        );
        let primary = Maker { site: &site, workers: &workers, link: &upstream, standby: false };
        let secondary = Maker { standby: true, ..primary };
        let (primary, secondary) = (
            primary.cluster("orders", "us-central1", None, &PRIMARY).await?,
            secondary.cluster("orders-dr", "us-east1", Some("orders"), &SECONDARY).await?,
        );
        let link = Middleman::start(&workers, link_address, &[primary.leader().address()])
            .map_err(SandboxError::io("opening the link between the clusters"))?;
        site.tokens().set_writer(primary.leader())?;
        let sandbox = Self { site, primary, secondary, link, _workers: workers };
        for node in sandbox.nodes() {
            node.start_without_waiting()?;
        }
        for node in sandbox.nodes() {
            node.ready().await?;
        }
        for standby in sandbox.nodes().skip(1) {
            standby.streaming().await?;
        }
        Ok(sandbox)
    }

    /// The cluster that writes at first: endpoints `primary` and `reads`.
    #[must_use]
    pub const fn primary_cluster(&self) -> &SandboxCluster {
        &self.primary
    }

    /// Both clusters.
    #[must_use]
    pub const fn clusters(&self) -> [&SandboxCluster; 2] {
        [&self.primary, &self.secondary]
    }

    /// The endpoint called `name`: `primary`, `reads`, `dr` or `dr-reads`.
    ///
    /// # Panics
    /// Without an endpoint of the name.
    #[must_use]
    pub fn endpoint(&self, name: &str) -> &SandboxEndpoint {
        let mut endpoints = self.clusters().into_iter().flat_map(SandboxCluster::endpoints);
        endpoints.find(|endpoint| endpoint.name == name).expect("one of the four names")
    }

    /// The node called `name`: `primary`, `reads-1`, `reads-2`, `dr` or `dr-reads-1`.
    ///
    /// # Panics
    /// Without a node of the name.
    #[must_use]
    pub fn node(&self, name: &str) -> &Node {
        self.nodes().find(|node| node.name() == name).expect("one of the five names")
    }

    /// All nodes.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.clusters().into_iter().flat_map(SandboxCluster::endpoints).flat_map(SandboxEndpoint::nodes)
    }

    /// Link for the secondary cluster's WAL: a cut separates the regions.
    #[must_use]
    pub const fn link(&self) -> &Middleman {
        &self.link
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

    /// Installation of the servers.
    #[must_use]
    pub fn installation(&self) -> &Installation {
        self.site.installation()
    }

    /// Makes the secondary cluster write too, as AlloyDB's `promote` does: afterwards there are two writers.
    ///
    /// # Errors
    /// [`SandboxError::Command`] if the cluster accepts writes already.
    pub async fn promote_secondary(&self) -> Result<(), SandboxError> {
        self.secondary.leader().promote().await
    }

    /// Exchanges the roles of the clusters without losing a transaction, like AlloyDB's `switchover`. Addresses stay:
    /// the node behind `dr` accepts writes afterwards, and the node behind `primary` replicates. A second call
    /// exchanges the roles back.
    ///
    /// Cancel safety: none; a dropped call leaves the clusters in an intermediate state.
    ///
    /// # Errors
    /// [`SandboxError::Diverged`] if the new writer lacks a transaction; the old writer is stopped then.
    pub async fn switchover(&self) -> Result<(), SandboxError> {
        let (old, new) = if self.primary.leader().is_standby().await? {
            (self.secondary.leader(), self.primary.leader())
        } else {
            (self.primary.leader(), self.secondary.leader())
        };
        // A server that shuts down waits for the standbys that are connected, and for no others.
        new.streaming().await?;
        old.stop(Stop::Fast).await?;
        let last = old.last_checkpoint().await?;
        let replayed = format!("SELECT pg_last_wal_replay_lsn() > '{last}', pg_last_wal_replay_lsn()");
        let caught_up = wait_until("the new writer replaying", SWITCHOVER_TIMEOUT, async || {
            let seen = new.sql("postgres", &replayed).await?;
            Ok(if seen.starts_with('t') { Ok(()) } else { Err(seen) })
        });
        caught_up.await.map_err(|error| match error {
            SandboxError::Timeout { seen, .. } => SandboxError::Diverged { old: last, new: seen },
            other => other,
        })?;
        new.promote().await?;
        self.link.lead_to(&[new.address()]);
        self.site.tokens().set_writer(new)?;
        old.become_standby()?;
        old.start().await?;
        old.streaming().await
    }
}

/// Makes the files and endpoints of a cluster.
#[derive(Clone, Copy)]
struct Maker<'a> {
    site: &'a Site,
    workers: &'a Workers,
    /// How a leader reaches the other cluster.
    link: &'a str,
    /// True if the leader starts as a standby.
    standby: bool,
}

impl Maker<'_> {
    async fn cluster(
        &self,
        name: &'static str,
        region: &'static str,
        replica_of: Option<&'static str>,
        plans: &'static [EndpointPlan],
    ) -> Result<SandboxCluster, SandboxError> {
        let authority = Arc::new(Authority::new(name, self.site.folder())?);
        let mut endpoints = Vec::with_capacity(plans.len());
        for plan in plans {
            endpoints.push(self.endpoint(plan, &authority).await?);
        }
        Ok(SandboxCluster { name, region, replica_of, authority, endpoints })
    }

    async fn endpoint(
        &self,
        plan: &EndpointPlan,
        authority: &Arc<Authority>,
    ) -> Result<SandboxEndpoint, SandboxError> {
        let address = self.site.block().address(plan.host);
        let upstream = plan.follows.map(|leader| {
            // Within a cluster the WAL takes the short way.
            let folder = self.site.node_folder(leader);
            format!("host={} port={} user=postgres", folder.display(), address.port())
        });
        let mut nodes = Vec::with_capacity(plan.nodes.len());
        for &(name, host) in plan.nodes {
            let node = NodePlan {
                name,
                address: self.site.block().address(host),
                authority,
                dns_name: plan.dns_name,
                dialed: address.ip(),
                upstream: Some(upstream.as_deref().unwrap_or(self.link)),
                standby: self.standby || plan.follows.is_some(),
            };
            nodes.push(self.site.node(node).await?);
        }
        let upstreams: Vec<SocketAddr> = nodes.iter().map(Node::address).collect();
        let middleman = Middleman::start(self.workers, address, &upstreams)
            .map_err(SandboxError::io(format!("opening endpoint `{}`", plan.name)))?;
        Ok(SandboxEndpoint { name: plan.name, role: plan.role, dns_name: plan.dns_name, middleman, nodes })
    }
}
