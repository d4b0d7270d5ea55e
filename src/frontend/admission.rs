//! How many clients a listener takes, in all and from one address.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::ListenerLimits;
use crate::session::Refusal;

/// Counts the clients of one listener. It outlives a reload, so that limits count those who were there before.
#[derive(Default)]
pub(super) struct Admission {
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// A client's place; dropping it frees the place.
pub(super) struct Permit {
    admission: Arc<Admission>,
    /// `None` through a Unix-domain socket.
    address: Option<IpAddr>,
}

impl Admission {
    /// Gives a client from `address` a place.
    ///
    /// A refused client has a place too, so that it can be told: at most a tenth more than the limit (and sixteen), beyond
    /// which [`Admitted::Turned`] says that there is not even room to hear what they want.
    pub(super) fn admit(self: &Arc<Self>, address: Option<IpAddr>, limits: &ListenerLimits) -> Admitted {
        let mut counts = self.lock();
        if counts.all >= limits.max_clients + limits.max_clients / 10 + 16 {
            return Admitted::Turned(Refusal::too_many_clients());
        }
        let over_all = counts.all >= limits.max_clients;
        counts.all += 1;
        let mut over_address = false;
        if let Some(address) = address {
            let count = counts.by_address.entry(address).or_default();
            over_address = limits.max_clients_per_address > 0 && *count >= limits.max_clients_per_address;
            *count += 1;
        }
        drop(counts);
        let permit = Permit { admission: Arc::clone(self), address };
        match (over_all, over_address) {
            (true, _) => Admitted::Refused(permit, Refusal::too_many_clients()),
            (false, true) => Admitted::Refused(permit, Refusal::too_many_clients_of_address()),
            (false, false) => Admitted::Welcome(permit),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The answer to a new client.
pub(super) enum Admitted {
    /// Come in.
    Welcome(Permit),
    /// Hear why not.
    Refused(Permit, Refusal),
    /// Hear why not, and go: there is no room to hear you.
    Turned(Refusal),
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut counts = self.admission.lock();
        counts.all = counts.all.saturating_sub(1);
        if let Some(address) = self.address
            && let Some(count) = counts.by_address.get_mut(&address)
        {
            *count -= 1;
            if *count == 0 {
                counts.by_address.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(admitted: &Admitted) -> &'static str {
        match admitted {
            Admitted::Welcome(_) => "welcome",
            Admitted::Refused(_, refusal) => refusal.cause.as_str(),
            Admitted::Turned(_) => "turned",
        }
    }

    #[test]
    fn beyond_the_limit_clients_are_told_and_far_beyond_turned_away() {
        let limits = ListenerLimits { max_clients: 2, ..ListenerLimits::default() };
        let admission = Arc::new(Admission::default());
        let mut held: Vec<_> = (0..18).map(|_| admission.admit(None, &limits)).collect();
        let words: Vec<_> = held.iter().map(word).collect();
        assert_eq!(words[..3], ["welcome", "welcome", "max_clients"]);
        assert_eq!(word(&admission.admit(None, &limits)), "turned");
        held.clear();
        assert_eq!(word(&admission.admit(None, &limits)), "welcome");
    }

    #[test]
    fn one_address_cannot_take_every_place() {
        let limits = ListenerLimits { max_clients_per_address: 1, ..ListenerLimits::default() };
        let admission = Arc::new(Admission::default());
        let (a, b) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        let first = admission.admit(Some(a), &limits);
        assert_eq!(word(&first), "welcome");
        assert_eq!(word(&admission.admit(Some(a), &limits)), "max_clients_per_address");
        assert_eq!(word(&admission.admit(Some(b), &limits)), "welcome");
        drop(first);
        assert_eq!(word(&admission.admit(Some(a), &limits)), "welcome");
        assert!(admission.lock().by_address.is_empty(), "nobody is left to remember");
    }
}
