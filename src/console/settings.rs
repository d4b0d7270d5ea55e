//! Settings of the console.

use crate::names::{DatabaseName, UserName};

/// Users and name of the console. Without users, the console is off and its database name has no special meaning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsoleSettings {
    /// Database name of the console. Default `gatekeeper`.
    pub database: DatabaseName,
    /// Users with all rights. Default none.
    pub admin_users: Vec<UserName>,
    /// Users with the right to SHOW. Default none.
    pub stats_users: Vec<UserName>,
    /// Also admits clients of `trust` listeners, where any client may claim any console user name.
    pub insecure_trust: bool,
}

/// Rights of a console user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ConsoleAccess {
    /// SHOW only.
    Stats,
    /// All commands.
    Admin,
}

impl ConsoleSettings {
    /// Default name of the console's database.
    pub const DATABASE: &str = "gatekeeper";

    /// True if the console has users.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !(self.admin_users.is_empty() && self.stats_users.is_empty())
    }

    /// Rights of `user`; `None` without any.
    pub(super) fn access(&self, user: &UserName) -> Option<ConsoleAccess> {
        if self.admin_users.contains(user) {
            Some(ConsoleAccess::Admin)
        } else if self.stats_users.contains(user) {
            Some(ConsoleAccess::Stats)
        } else {
            None
        }
    }
}
