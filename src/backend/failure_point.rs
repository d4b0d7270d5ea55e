//! Point of failure on the way to an address, by the kind of error.

use std::{io, net::SocketAddr};

/// Point at which a connection attempt to an address ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FailurePoint {
    /// Local: no route to the address.
    NoRoute,
    /// Local: the connection is forbidden, or no local port is free.
    Here,
    /// A router, or the network of the address: no such host.
    NoHost,
    /// Unknown: no answer.
    Silence,
    /// The host, or a firewall in front.
    Host,
    /// Somewhere else on the way.
    Elsewhere,
}

// === impl FailurePoint ===

impl FailurePoint {
    /// Where a connect that failed with `error` ended (`connect(2)`, `ip(7)`).
    pub(super) fn of(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NetworkUnreachable => Self::NoRoute,
            io::ErrorKind::PermissionDenied | io::ErrorKind::AddrNotAvailable => Self::Here,
            io::ErrorKind::HostUnreachable => Self::NoHost,
            io::ErrorKind::TimedOut => Self::Silence,
            io::ErrorKind::ConnectionRefused => Self::Host,
            _ => Self::Elsewhere,
        }
    }

    /// The failure to report first among several addresses: an address whose host was not reached.
    pub(super) fn of_all(tried: &[(SocketAddr, io::Error)]) -> Self {
        let mut points = tried.iter().map(|(_, error)| Self::of(error));
        points.find(|point| *point != Self::Host).unwrap_or(Self::Host)
    }

    /// Suggested checks.
    pub(super) fn remedy(self, port: u16) -> String {
        match self {
            Self::NoRoute => "this machine has no route to that address: check its routes (`ip route get ADDRESS`), the VPN \
                              or the VPC peering"
                .to_owned(),
            Self::Here => "this machine does not let the connection out: check its own firewall and network policies, and \
                           whether it has ports left"
                .to_owned(),
            Self::NoHost => "the packets came as far as a router, which knows no such host: check the address, and that the \
                             instance is up"
                .to_owned(),
            Self::Silence => format!(
                "no answer on the way: a firewall drops the packets, or there is no way back; check the rules for port {port} \
                 from this machine, and the VPC peering or Private Service Connect endpoint"
            ),
            Self::Host => format!(
                "the host answers, but nothing listens on port {port}: is the instance running, is the port correct?"
            ),
            Self::Elsewhere => format!("check the way to port {port} from this machine, hop by hop"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_point_has_its_own_remedy() {
        let points = [
            FailurePoint::NoRoute,
            FailurePoint::Here,
            FailurePoint::NoHost,
            FailurePoint::Silence,
            FailurePoint::Host,
            FailurePoint::Elsewhere,
        ];
        assert_eq!(
            points.map(|point| point.remedy(5432)).into_iter().collect::<HashSet<_>>().len(),
            points.len()
        );
    }

    #[test]
    fn an_address_that_was_not_reached_counts_before_one_that_refused() {
        let address = SocketAddr::from(([10, 0, 0, 1], 5432));
        let failed = |kind: io::ErrorKind| (address, io::Error::from(kind));
        let (refused, lost) = (io::ErrorKind::ConnectionRefused, io::ErrorKind::TimedOut);
        assert_eq!(FailurePoint::of_all(&[failed(refused), failed(lost)]), FailurePoint::Silence);
        assert_eq!(FailurePoint::of_all(&[failed(refused), failed(refused)]), FailurePoint::Host);
    }
}
