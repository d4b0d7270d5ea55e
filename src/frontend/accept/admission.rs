//! Limits on the clients of a listener: in total, per address, per user, and per database.

use std::{
    collections::HashMap,
    hash::Hash,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use foldhash::fast::RandomState;

use crate::{
    client_error::ClientError,
    frontend::{ListenerLimits, ListenerSettings},
    names::{DatabaseName, UserName},
};

/// Counts the clients of one listener. Kept across reloads, so that limits include existing clients.
#[derive(Default)]
pub(crate) struct Admission {
    counts: Mutex<AdmissionCounts>,
}

#[derive(Default)]
struct AdmissionCounts {
    all: usize,
    by_address: HashMap<IpAddr, usize, RandomState>,
    by_user: HashMap<UserName, usize, RandomState>,
    by_database: HashMap<DatabaseName, usize, RandomState>,
}

/// A counted client; dropping the permit ends the count.
pub(crate) struct Permit {
    admission: Arc<Admission>,
    /// `None` for a Unix-domain socket.
    address: Option<IpAddr>,
    /// User and database, once authenticated.
    login: Option<(UserName, DatabaseName)>,
}

impl Admission {
    /// Counts a client from `address`.
    ///
    /// Rejected clients are counted too, so that an error can be sent after the startup packet: up to the limit plus a
    /// tenth, at least sixteen. Beyond that, [`Admitted::Turned`] rejects without reading.
    pub(crate) fn admit(self: &Arc<Self>, address: Option<IpAddr>, limits: &ListenerLimits) -> Admitted {
        let mut counts = self.lock();
        if counts.all >= limits.max_clients + limits.max_clients / 10 + 16 {
            return Admitted::Turned(ClientError::too_many_clients());
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
        let permit = Permit { admission: Arc::clone(self), address, login: None };
        match (over_all, over_address) {
            (true, _) => Admitted::Refused(permit, ClientError::too_many_clients()),
            (false, true) => Admitted::Refused(permit, ClientError::too_many_clients_of_address()),
            (false, false) => Admitted::Accepted(permit),
        }
    }

    /// Number of counted clients.
    pub(crate) fn clients(&self) -> usize {
        self.lock().all
    }

    fn lock(&self) -> MutexGuard<'_, AdmissionCounts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Decision on a new client.
pub(crate) enum Admitted {
    /// Admitted.
    Accepted(Permit),
    /// Rejected; the error is sent after the startup packet.
    Refused(Permit, ClientError),
    /// Rejected; the error is sent at once, without reading.
    Turned(ClientError),
}

// === impl Permit ===

impl Permit {
    /// Counts a client authenticated as `user` against the limits of the user and of `database`.
    ///
    /// Call after authentication only, so that strangers cannot exhaust a user's limit.
    ///
    /// # Errors
    /// The error for the client: the database is not listed, or a limit is reached.
    pub(crate) fn claim(
        &mut self,
        user: &UserName,
        database: &DatabaseName,
        settings: &ListenerSettings,
    ) -> Result<(), ClientError> {
        let ListenerLimits { max_clients_per_user, max_clients_per_database, .. } = settings.limits;
        if !settings.access.has_database(database) {
            return Err(ClientError::database_not_allowed(database.as_str()));
        }
        let full =
            |limit: usize, taken: Option<&usize>| limit > 0 && taken.is_some_and(|taken| *taken >= limit);
        let mut counts = self.admission.lock();
        if full(max_clients_per_user, counts.by_user.get(user)) {
            return Err(ClientError::too_many_clients_of_user(user.as_str()));
        }
        if full(max_clients_per_database, counts.by_database.get(database)) {
            return Err(ClientError::too_many_clients_of_database(database.as_str()));
        }
        // Counted without a limit too, because a reload may set one.
        *counts.by_user.entry(user.clone()).or_default() += 1;
        *counts.by_database.entry(database.clone()).or_default() += 1;
        drop(counts);
        self.login = Some((user.clone(), database.clone()));
        Ok(())
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut counts = self.admission.lock();
        counts.all = counts.all.saturating_sub(1);
        if let Some(address) = &self.address {
            give_back(&mut counts.by_address, address);
        }
        if let Some((user, database)) = &self.login {
            give_back(&mut counts.by_user, user);
            give_back(&mut counts.by_database, database);
        }
    }
}

/// Decrements the count of `key`; removes the key at zero.
fn give_back<K: Eq + Hash>(counts: &mut HashMap<K, usize, RandomState>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        client_error::ClientErrorReason,
        frontend::{AccessList, Auth, Bind},
        names::ListenerName,
        pool::{PoolMode, PoolSettings},
        route::RoutePolicy,
    };

    fn word(admitted: &Admitted) -> &'static str {
        match admitted {
            Admitted::Accepted(_) => "accepted",
            Admitted::Refused(_, client_error) => client_error.reason.as_str(),
            Admitted::Turned(_) => "turned",
        }
    }

    #[test]
    fn beyond_the_limit_clients_are_told_and_far_beyond_turned_away() {
        let limits = ListenerLimits { max_clients: 2, ..ListenerLimits::default() };
        let admission = Arc::new(Admission::default());
        let mut held: Vec<_> = (0..18).map(|_| admission.admit(None, &limits)).collect();
        let words: Vec<_> = held.iter().map(word).collect();
        assert_eq!(words[..3], ["accepted", "accepted", "max_clients"]);
        assert_eq!(word(&admission.admit(None, &limits)), "turned");
        held.clear();
        assert_eq!(word(&admission.admit(None, &limits)), "accepted");
    }

    #[test]
    fn one_address_cannot_take_every_place() {
        let limits = ListenerLimits { max_clients_per_address: 1, ..ListenerLimits::default() };
        let admission = Arc::new(Admission::default());
        let (a, b) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        let first = admission.admit(Some(a), &limits);
        assert_eq!(word(&first), "accepted");
        assert_eq!(word(&admission.admit(Some(a), &limits)), "max_clients_per_address");
        assert_eq!(word(&admission.admit(Some(b), &limits)), "accepted");
        drop(first);
        assert_eq!(word(&admission.admit(Some(a), &limits)), "accepted");
        assert!(admission.lock().by_address.is_empty(), "nobody is left to remember");
    }

    fn settings(access: AccessList, limits: ListenerLimits) -> ListenerSettings {
        ListenerSettings {
            name: ListenerName::new("app").unwrap(),
            bind: Bind::Unix("/run/app".into()),
            socket_mode: 0o660,
            route: RoutePolicy::Primary,
            tls: None,
            auth: Auth::Trust,
            access,
            limits,
            tags_sessions: false,
            pool: Arc::new(PoolSettings::new(PoolMode::Session, 10)),
        }
    }

    fn names(user: &str, database: &str) -> (UserName, DatabaseName) {
        (UserName::new(user).unwrap(), DatabaseName::new(database).unwrap())
    }

    #[test]
    fn one_user_and_one_database_cannot_take_every_place() {
        let limits = ListenerLimits {
            max_clients_per_user: 1,
            max_clients_per_database: 2,
            ..ListenerLimits::default()
        };
        let settings = settings(AccessList::default(), limits);
        let admission = Arc::new(Admission::default());
        let enter = |user: &str, database: &str| {
            let Admitted::Accepted(mut permit) = admission.admit(None, &settings.limits) else { panic!() };
            let (user, database) = names(user, database);
            permit
                .claim(&user, &database, &settings)
                .map_err(|client_error| client_error.reason.as_str())
                .map(|()| permit)
        };
        let alice = enter("alice", "orders").ok().unwrap();
        assert_eq!(enter("alice", "stock").err(), Some("max_clients_per_user"));
        let bob = enter("bob", "orders").ok().unwrap();
        assert_eq!(enter("carol", "orders").err(), Some("max_clients_per_database"));
        let carol = enter("carol", "stock").ok().unwrap();
        drop(alice);
        let alice = enter("alice", "orders").ok().unwrap();
        drop((alice, bob, carol));
        let counts = admission.lock();
        assert!(counts.by_user.is_empty() && counts.by_database.is_empty(), "nobody is left to remember");
    }

    #[test]
    fn who_was_there_before_a_limit_counts_once_it_is_set() {
        let before = settings(AccessList::default(), ListenerLimits::default());
        let limits = ListenerLimits { max_clients_per_user: 1, ..ListenerLimits::default() };
        let after = settings(AccessList::default(), limits);
        let admission = Arc::new(Admission::default());
        let (user, database) = names("alice", "orders");
        let permit = || match admission.admit(None, &before.limits) {
            Admitted::Accepted(permit) => permit,
            _ => panic!(),
        };
        let mut first = permit();
        first.claim(&user, &database, &before).unwrap();
        assert_eq!(
            permit().claim(&user, &database, &after).unwrap_err().reason,
            ClientErrorReason::MaxClientsPerUser
        );
        drop(first);
        permit().claim(&user, &database, &after).unwrap();
    }

    #[test]
    fn a_database_that_is_not_on_the_list_gets_no_place() {
        let access = AccessList { users: Vec::new(), databases: vec![names("u", "orders").1] };
        let settings = settings(access, ListenerLimits::default());
        let admission = Arc::new(Admission::default());
        let Admitted::Accepted(mut permit) = admission.admit(None, &settings.limits) else { panic!() };
        let (user, stock) = names("alice", "stock");
        assert_eq!(permit.claim(&user, &stock, &settings).unwrap_err().reason, ClientErrorReason::NotAllowed);
        assert!(admission.lock().by_user.is_empty());
        permit.claim(&user, &names("alice", "orders").1, &settings).unwrap();
    }
}
