//! Which pools an order is for.

use super::PoolKey;
use crate::names::{DatabaseName, EndpointName, ListenerName, UserName};

/// Selects pools by the fields that are set. The default selects all pools.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Listener of the pools.
    pub listener: Option<ListenerName>,
    /// Endpoint of the pools.
    pub endpoint: Option<EndpointName>,
    /// Database of the pools.
    pub database: Option<DatabaseName>,
    /// Database user of the pools.
    pub user: Option<UserName>,
}

impl Filter {
    /// All pools.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// The pools to `endpoint`.
    #[must_use]
    pub fn endpoint(endpoint: EndpointName) -> Self {
        Self { endpoint: Some(endpoint), ..Self::default() }
    }

    /// True if the filter selects the pool of `target`.
    #[must_use]
    pub fn matches(&self, target: &PoolKey) -> bool {
        let Self { listener, endpoint, database, user } = self;
        listener.as_ref().is_none_or(|wanted| *wanted == target.listener)
            && endpoint.as_ref().is_none_or(|wanted| *wanted == target.endpoint)
            && database.as_ref().is_none_or(|wanted| *wanted == target.database)
            && user.as_ref().is_none_or(|wanted| *wanted == target.user)
    }

    /// True if the filter selects every pool that `other` selects.
    pub(super) fn covers(&self, other: &Self) -> bool {
        fn wider<T: PartialEq>(one: &Option<T>, other: &Option<T>) -> bool {
            one.is_none() || one == other
        }
        wider(&self.listener, &other.listener)
            && wider(&self.endpoint, &other.endpoint)
            && wider(&self.database, &other.database)
            && wider(&self.user, &other.user)
    }
}
