//! Places for connections to the admin API: a connection that requests nothing cannot keep one from a connection that
//! does.

use std::{collections::HashMap, net::IpAddr};

use tokio::sync::oneshot;

/// The places. A connection without a complete request is replaced when another connection needs the place.
#[derive(Default)]
pub(super) struct ConnectionPlaces {
    general: Vec<TakenPlace>,
    /// For health requests only, while every general place has served a request.
    health: Vec<TakenPlace>,
}

/// A place in use, oldest first in its list.
struct TakenPlace {
    from: IpAddr,
    /// If dropped, ends a connection that waits for the first request. Closed once the connection has sent a request.
    replace: oneshot::Sender<()>,
    /// Closed at the end of the connection.
    in_use: oneshot::Sender<()>,
}

/// A connection's half of its place.
pub(super) struct ConnectionPlace {
    /// Resolves when another connection takes the place. To be dropped with the first request, if more may follow.
    pub(super) replaced: oneshot::Receiver<()>,
    /// To be dropped at the end of the connection.
    pub(super) _in_use: oneshot::Receiver<()>,
}

/// A place for a new connection.
pub(super) enum Place {
    /// All requests are served.
    General(ConnectionPlace),
    /// One health request is served.
    Health(ConnectionPlace),
}

/// Maximum number of connections; [`MAX_HEALTH_CONNECTIONS`] allows more.
const MAX_CONNECTIONS: usize = 128;
/// Additional connections, for health requests only.
const MAX_HEALTH_CONNECTIONS: usize = 32;

// === impl ConnectionPlaces ===

impl ConnectionPlaces {
    /// A place for a connection from `from`, which may replace a connection that has requested nothing.
    pub(super) fn claim(&mut self, from: IpAddr) -> Place {
        self.general.retain(TakenPlace::is_in_use);
        self.health.retain(TakenPlace::is_in_use);
        if self.general.len() < MAX_CONNECTIONS || replace_silent(&mut self.general) {
            let (taken, place) = TakenPlace::new(from);
            self.general.push(taken);
            return Place::General(place);
        }
        if self.health.len() >= MAX_HEALTH_CONNECTIONS {
            replace_silent(&mut self.health);
        }
        let (taken, place) = TakenPlace::new(from);
        self.health.push(taken);
        Place::Health(place)
    }
}

/// Ends the oldest silent connection of the address that has the most of them; false without a silent connection.
fn replace_silent(places: &mut Vec<TakenPlace>) -> bool {
    let mut silent: HashMap<IpAddr, usize> = HashMap::new();
    for place in places.iter().filter(|place| place.is_silent()) {
        *silent.entry(place.from).or_default() += 1;
    }
    let Some(most) = silent.values().max().copied() else { return false };
    let oldest = places.iter().position(|place| place.is_silent() && silent.get(&place.from) == Some(&most));
    oldest.map(|at| drop(places.remove(at))).is_some()
}

// === impl TakenPlace ===

impl TakenPlace {
    fn new(from: IpAddr) -> (Self, ConnectionPlace) {
        let (replace, replaced) = oneshot::channel();
        let (in_use, _in_use) = oneshot::channel();
        (Self { from, replace, in_use }, ConnectionPlace { replaced, _in_use })
    }

    /// True until the first request.
    fn is_silent(&self) -> bool {
        !self.replace.is_closed()
    }

    fn is_in_use(&self) -> bool {
        !self.in_use.is_closed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    fn general(places: &mut ConnectionPlaces, from: IpAddr) -> ConnectionPlace {
        match places.claim(from) {
            Place::General(place) => place,
            Place::Health(_) => panic!("no general place"),
        }
    }

    /// Marks the first request of a connection.
    fn request(place: &mut ConnectionPlace) {
        place.replaced.close();
    }

    fn is_replaced(place: &mut ConnectionPlace) -> bool {
        matches!(place.replaced.try_recv(), Err(oneshot::error::TryRecvError::Closed))
    }

    #[test]
    fn the_busiest_address_loses_its_oldest() {
        let mut places = ConnectionPlaces::default();
        let mut lone = general(&mut places, OTHER);
        let mut flood: Vec<_> = (1..MAX_CONNECTIONS).map(|_| general(&mut places, ONE)).collect();
        let _next = general(&mut places, ONE);
        assert!(is_replaced(&mut flood[0]) && !is_replaced(&mut flood[1]));
        assert!(!is_replaced(&mut lone), "another address keeps its place");
    }

    #[test]
    fn a_connection_with_a_request_is_kept() {
        let mut places = ConnectionPlaces::default();
        let mut taken: Vec<_> = (0..MAX_CONNECTIONS).map(|_| general(&mut places, ONE)).collect();
        taken.iter_mut().for_each(request);
        let mut checks: Vec<_> = (0..=MAX_HEALTH_CONNECTIONS)
            .map(|_| match places.claim(ONE) {
                Place::Health(place) => place,
                Place::General(_) => panic!("every place is in use"),
            })
            .collect();
        assert!(is_replaced(&mut checks[0]) && !is_replaced(&mut checks[1]));
        taken.pop();
        general(&mut places, ONE);
    }
}
