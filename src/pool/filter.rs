//! Which pools an order is for.

use super::Target;
use crate::names::{DatabaseName, EndpointName, ListenerName, UserName};

/// Which pools are meant: those that agree in everything that is said. The default means all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Those of this listener.
    pub listener: Option<ListenerName>,
    /// Those to this endpoint.
    pub endpoint: Option<EndpointName>,
    /// Those of this database.
    pub database: Option<DatabaseName>,
    /// Those of this database user.
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

    /// Whether the pool of `target` is meant.
    #[must_use]
    pub fn matches(&self, target: &Target) -> bool {
        let Self { listener, endpoint, database, user } = self;
        listener.as_ref().is_none_or(|wanted| *wanted == target.listener)
            && endpoint.as_ref().is_none_or(|wanted| *wanted == target.endpoint)
            && database.as_ref().is_none_or(|wanted| *wanted == target.database)
            && user.as_ref().is_none_or(|wanted| *wanted == target.user)
    }

    /// Whether it means every pool that `other` means.
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
