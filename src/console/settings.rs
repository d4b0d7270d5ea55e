//! What an operator may say about the console.

use crate::names::{DatabaseName, UserName};

/// Who may use the console, and what it is called. Without users there is none, and a database of that name is like any
/// other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsoleSettings {
    /// The database that clients ask for. Default `gatekeeper`.
    pub database: DatabaseName,
    /// Who may do everything. Default nobody.
    pub admin_users: Vec<UserName>,
    /// Who may only look. Default nobody.
    pub stats_users: Vec<UserName>,
    /// Also admits clients of `trust` listeners, where any client may claim any console user name.
    pub insecure_trust: bool,
}

/// What a user of the console may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ConsoleAccess {
    /// Look.
    Stats,
    /// Everything.
    Admin,
}

impl ConsoleSettings {
    /// The name, unless somebody says otherwise.
    pub const DATABASE: &str = "gatekeeper";

    /// Whether anybody may use it.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !(self.admin_users.is_empty() && self.stats_users.is_empty())
    }

    /// What `user` may do; `None` for nothing.
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
