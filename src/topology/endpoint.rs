//! Clusters, endpoints, addresses and declared roles: the configured topology.

use std::{fmt, path::PathBuf, str::FromStr};

use crate::{
    closed_set::closed_set,
    names::{ClusterName, EndpointName},
};

/// AlloyDB cluster in a region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// Name of the cluster.
    pub name: ClusterName,
    /// Cloud region, as written: a label, not interpreted.
    pub region: Option<String>,
    /// Source cluster of a secondary cluster.
    pub replica_of: Option<ClusterName>,
}

/// Address with a declared role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The name in logs, metrics and audit.
    pub name: EndpointName,
    /// Cluster of the endpoint.
    pub cluster: ClusterName,
    /// Region of the cluster, copied because every record about an endpoint carries the region.
    pub region: Option<String>,
    /// Role in the configuration.
    pub role: DeclaredRole,
    /// Address to connect to.
    pub address: Address,
}

closed_set! {
    /// Role in the configuration. The values are those of the metric label `backend_role`.
    #[derive(PartialOrd, Ord)]
    pub enum DeclaredRole(
        /// True if route `read-pool` may use the endpoint.
        serves_reads: bool,
    ) {
        /// The writer of a cluster.
        Primary = "primary" { serves_reads: false },
        /// A single standby that serves reads: routed like a read pool, labeled as declared.
        Replica = "replica" { serves_reads: true },
        /// A read pool: an address in front of several standbys.
        ReadPool = "read-pool" { serves_reads: true },
        /// An instance of a secondary cluster.
        Secondary = "secondary" { serves_reads: false },
    }
}

/// Where an endpoint is dialed: a host and port, or a Unix-domain socket.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// A DNS name or an IP address (without brackets), resolved at each dial, and a port.
    Tcp {
        /// The name or address.
        host: String,
        /// The port.
        port: u16,
    },
    /// The path of a socket file.
    Unix(PathBuf),
}

/// Why a text is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// No host.
    #[error("an address needs a host, as in `10.20.30.40:5432`")]
    NoHost,
    /// The text behind the last colon is not a valid port.
    #[error("`{0}` is not a valid port: use a number from 1 to 65535")]
    Port(String),
    /// An IPv6 address has to stand in brackets when a port follows.
    #[error("write an IPv6 address in brackets, as in `[fd00::1]:5432`")]
    Brackets,
}

/// PostgreSQL's port.
const DEFAULT_PORT: u16 = 5432;

// === impl DeclaredRole ===

impl FromStr for DeclaredRole {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or(())
    }
}

impl fmt::Display for DeclaredRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

// === impl Address ===

impl Address {
    /// True if connections stay on the machine: a loopback address, `localhost`, or a Unix-domain socket.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        match self {
            Self::Unix(_) => true,
            Self::Tcp { host, .. } => {
                host.eq_ignore_ascii_case("localhost")
                    || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
            }
        }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    /// Reads `host`, `host:port`, `[v6]:port`, a bare IPv6 address, or an absolute path of a Unix-domain socket.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        if text.starts_with('/') {
            return Ok(Self::Unix(text.into()));
        }
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let (host, after) = rest.split_once(']').ok_or(AddressError::Brackets)?;
            match after {
                "" => (host, None),
                _ => (host, Some(after.strip_prefix(':').ok_or(AddressError::Brackets)?)),
            }
        } else if text.parse::<std::net::Ipv6Addr>().is_ok() {
            (text, None)
        } else {
            match text.rsplit_once(':') {
                None => (text, None),
                Some((host, _)) if host.contains(':') => return Err(AddressError::Brackets),
                Some((host, port)) => (host, Some(port)),
            }
        };
        if host.is_empty() {
            return Err(AddressError::NoHost);
        }
        let port = match port {
            None => DEFAULT_PORT,
            Some(digits) => match digits.parse() {
                Ok(port) if port > 0 => port,
                _ => return Err(AddressError::Port(digits.to_owned())),
            },
        };
        Ok(Self::Tcp { host: host.to_owned(), port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "{}", path.display()),
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written_back() {
        for (text, shown) in [
            ("10.20.30.40", "10.20.30.40:5432"),
            ("db.internal:6432", "db.internal:6432"),
            ("fd00::1", "[fd00::1]:5432"),
            ("[fd00::1]:5433", "[fd00::1]:5433"),
            ("/run/pg/.s.PGSQL.5432", "/run/pg/.s.PGSQL.5432"),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), shown);
        }
        assert_eq!(":5432".parse::<Address>(), Err(AddressError::NoHost));
        assert_eq!("a:0".parse::<Address>(), Err(AddressError::Port("0".into())));
        assert_eq!("a:70000".parse::<Address>(), Err(AddressError::Port("70000".into())));
        assert_eq!("fd00::1:x".parse::<Address>(), Err(AddressError::Brackets));
    }

    #[test]
    fn only_what_stays_on_this_machine_is_loopback() {
        for (text, expected) in [
            ("127.0.5.1:5432", true),
            ("[::1]:5432", true),
            ("localhost", true),
            ("/tmp/s", true),
            ("10.0.0.1", false),
            ("localhost.example.com", false),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().is_loopback(), expected, "{text}");
        }
    }
}
