//! Users and databases that a listener admits.

use crate::names::{DatabaseName, UserName};

/// Users and databases that one listener admits; an empty list admits every user, or every database.
///
/// With authentication by Gatekeeper, unlisted and unknown users get the same error. Without it (`passthrough`,
/// `trust`), the error names the list. An unlisted database is refused after authentication only, so strangers learn
/// nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AccessList {
    /// The users, by the names they log in with.
    pub users: Vec<UserName>,
    /// The databases.
    pub databases: Vec<DatabaseName>,
}

// === impl AccessList ===

impl AccessList {
    /// True if `user` is admitted.
    #[must_use]
    pub fn has_user(&self, user: &UserName) -> bool {
        self.users.is_empty() || self.users.contains(user)
    }

    /// True if clients may connect to `database`.
    #[must_use]
    pub fn has_database(&self, database: &DatabaseName) -> bool {
        self.databases.is_empty() || self.databases.contains(database)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_list_is_everybody_and_a_list_is_those_on_it() {
        let (app, postgres) = (UserName::new("app").unwrap(), UserName::new("postgres").unwrap());
        let (orders, template) = (DatabaseName::new("orders").unwrap(), DatabaseName::new("Orders").unwrap());
        let open = AccessList::default();
        assert!(open.has_user(&postgres) && open.has_database(&template));
        let closed = AccessList { users: vec![app.clone()], databases: vec![orders.clone()] };
        assert!(closed.has_user(&app) && !closed.has_user(&postgres));
        assert!(closed.has_database(&orders) && !closed.has_database(&template), "names are exact");
    }
}
