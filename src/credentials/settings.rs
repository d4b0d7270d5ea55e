//! What an operator may say about logging in to an endpoint.

use std::{path::PathBuf, time::Duration};

use super::Secret;
use crate::names::UserName;

/// How Gatekeeper logs in to an endpoint.
#[derive(Clone, PartialEq, Eq)]
pub enum Login {
    /// The client's own dialog with the server is relayed.
    Passthrough,
    /// With a short-lived token as the password.
    Token(TokenLoginSettings),
    /// With a password of ours.
    Password(PasswordLogin),
}

/// A login with a minted token.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenLoginSettings {
    /// What mints it.
    pub origin: TokenOrigin,
    /// Maximum time to live of a token; zero mints a token for each login. `None`: the issuer's lifetime, 5 min if not
    /// stated.
    pub ttl: Option<Duration>,
    /// Time limit of a mint. Default 10 s.
    pub timeout: Duration,
    /// The database users that may be logged in this way; all others are refused before a token is spent.
    pub users: TokenUsers,
    /// Sends the token over connections that were not verified.
    pub insecure_without_verification: bool,
}

/// Database users with permission to get tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenUsers {
    /// Every user. The server binds each token to one user; only clients of the local machine get tokens.
    Any,
    /// Listed users, each once.
    Listed(Vec<UserName>),
}

/// Origin of tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenOrigin {
    /// Command that prints tokens.
    Command(TokenCommand),
    /// Google's servers.
    Google(GoogleLogin),
}

/// Tokens of Google's servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GoogleLogin {
    /// Identity that requests tokens.
    pub credentials: GoogleCredentials,
    /// Principal of the tokens, if different from the requesting identity.
    pub impersonate: Option<Impersonate>,
    /// Service accounts between the requesting and the impersonated identity, each allowed to impersonate the next.
    pub delegates: Vec<String>,
}

/// Where credentials are found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GoogleCredentials {
    /// Application Default Credentials.
    Auto,
    /// The metadata server of Compute Engine, GKE or Cloud Run.
    Metadata,
    /// A credentials file.
    File(PathBuf),
}

/// Service account whose tokens are requested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Impersonate {
    /// Account with the given e-mail address.
    Account(String),
    /// Each database user's own.
    User,
}

/// A command that prints a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenCommand {
    /// Run by `sh -c`.
    Shell(String),
    /// Run without a shell; never empty.
    Words(Vec<String>),
}

/// A login with a configured password.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordLogin {
    /// The database user; the client's own when absent.
    pub user: Option<UserName>,
    /// The password.
    pub password: Secret,
}

// === impl TokenUsers ===

impl TokenUsers {
    /// True if a token may be minted for `user`.
    #[must_use]
    pub fn permits(&self, user: &UserName) -> bool {
        match self {
            Self::Any => true,
            Self::Listed(users) => users.contains(user),
        }
    }

    /// The users by name; none when every user is permitted.
    #[must_use]
    pub fn listed(&self) -> &[UserName] {
        match self {
            Self::Any => &[],
            Self::Listed(users) => users,
        }
    }
}

// === impl Login ===

impl Login {
    /// The word used in logs and the admin API.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Passthrough => "passthrough",
            Self::Token(_) => "token",
            Self::Password(_) => "password",
        }
    }
}
