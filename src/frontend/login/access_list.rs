//! Whom a listener lets in at all, and to which databases.

use crate::names::{DatabaseName, UserName};

/// The users and databases of one listener; an empty list is everybody, or every database.
///
/// A user who is not listed fails like one who does not exist wherever we ask for a proof, and is told openly where we
/// ask for none (`passthrough`, `trust`). A database that is not listed is refused after the proof: strangers learn
/// nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GuestList {
    /// The users, by the names they log in with.
    pub users: Vec<UserName>,
    /// The databases.
    pub databases: Vec<DatabaseName>,
}

// === impl GuestList ===

impl GuestList {
    /// Whether `user` may come in.
    #[must_use]
    pub fn has_user(&self, user: &UserName) -> bool {
        self.users.is_empty() || self.users.contains(user)
    }

    /// Whether clients may reach `database`.
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
        let open = GuestList::default();
        assert!(open.has_user(&postgres) && open.has_database(&template));
        let closed = GuestList { users: vec![app.clone()], databases: vec![orders.clone()] };
        assert!(closed.has_user(&app) && !closed.has_user(&postgres));
        assert!(closed.has_database(&orders) && !closed.has_database(&template), "names are exact");
    }
}
