//! A server's own refusal of a login.

use std::{borrow::Cow, fmt};

use crate::{
    blame::Blame,
    credentials::Token,
    handshake::{self, Method},
    wire::{ErrorFields, SqlState},
};

/// ErrorResponse of a login, and the credential that was shown.
pub struct Refused {
    /// The ErrorResponse, forwarded unchanged, with the method requested before.
    pub response: handshake::Refused,
    /// Credential shown to the server.
    pub shown: CredentialKind,
    /// The token that was shown.
    pub(super) token: Option<Token>,
}

/// Kind of credential shown to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CredentialKind {
    /// A minted token.
    Token,
    /// A configured password.
    Password,
    /// None.
    Nothing,
}

/// Where PostgreSQL refuses a user that does not exist or may not log in: the field that names the routine is not
/// translated, as the message is.
const NO_SUCH_ROLE: &[u8] = b"InitializeSessionUserId";
/// Routine of PostgreSQL that rejects users without a matching line of `pg_hba.conf`.
const NO_RULE: &[u8] = b"ClientAuthentication";

/// Maximum length, in bytes, of a server's message in Gatekeeper's log.
const MAX_LOGGED_MESSAGE_BYTES: usize = 500;

// === impl Refused ===

impl Refused {
    /// SQLSTATE of the rejection.
    #[must_use]
    pub fn sqlstate(&self) -> Option<SqlState> {
        self.response.fault().sqlstate()
    }

    /// True if the rejection concerns the user (class 28), not the database or the server's state.
    #[must_use]
    pub fn is_authorization(&self) -> bool {
        self.is_class("28")
    }

    /// True if the database does not exist.
    #[must_use]
    pub fn is_unknown_database(&self) -> bool {
        self.is_class("3D")
    }

    fn is_class(&self, class: &str) -> bool {
        self.sqlstate().is_some_and(|state| state.class() == class)
    }

    /// A server needs a token in clear text: a request for SCRAM means that the user has a stored password.
    fn token_cannot_answer(&self) -> bool {
        self.shown == CredentialKind::Token
            && matches!(self.response.method(), Some(Method::ScramSha256 | Method::ScramSha256Plus))
    }

    /// Party responsible for the rejection.
    pub(super) fn blame(&self) -> Blame {
        if self.is_authorization() {
            return Blame::Credentials;
        }
        match self.sqlstate().map(|state| state.class().to_owned()).as_deref() {
            // No such database, no privilege, a start-up option that the server does not take.
            Some("3D" | "42" | "22") => Blame::Client,
            _ => Blame::Endpoint,
        }
    }

    /// Remedy for an operator, if known.
    pub(super) fn remedy(&self) -> Option<Cow<'static, str>> {
        if self.token_cannot_answer() {
            return Some(
                "the server checks a stored password for this user, not a token: create the user as an IAM user, and set \
                 `alloydb.iam_authentication=on` on this instance (each instance has its own)"
                    .into(),
            );
        }
        if self.is_authorization() {
            match self.response.fault().field(b'R') {
                Some(NO_SUCH_ROLE) => {
                    return Some(
                        "make this user on the server, with the right to log in (`gcloud alloydb users create`, or \
                         CREATE ROLE … LOGIN)"
                            .into(),
                    );
                }
                Some(NO_RULE) if self.response.method().is_none() => {
                    return Some(
                        "the server has no rule that lets this user in from here: check whether it wants TLS (the \
                         endpoint's `tls.mode`) and its `pg_hba.conf`"
                            .into(),
                    );
                }
                _ => {}
            }
            return Some(match self.shown {
                CredentialKind::Token => "the token is expired, of too small a scope (it takes `alloydb.login` or `cloud-platform`), or \
                     another principal's than this database user; its principal needs `alloydb.users.login`, as in \
                     roles/alloydb.databaseUser. The instance's log in Cloud Logging says which (severity ALERT)"
                    .into(),
                CredentialKind::Password => "check the password of this user, and the server's `pg_hba.conf`".into(),
                CredentialKind::Nothing => "the server wants a password: set the endpoint's `login`".into(),
            });
        }
        Some(match self.sqlstate()?.as_str() {
            "53300" => "the server's `max_connections` is used up".into(),
            "57P03" => "the server is starting up, shutting down or recovering: wait".into(),
            "3D000" => "the client asked for a database that does not exist on this endpoint".into(),
            "42501" => "grant this user the privilege to connect to the database".into(),
            _ => return None,
        })
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&log_text(&self.response.fault()))?;
        match self.response.method() {
            Some(method) if self.token_cannot_answer() => {
                write!(f, "; the server asked for {method}, which a token cannot answer")
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.response)
    }
}

/// A server's message and SQLSTATE, sanitized for a log line.
pub(crate) fn log_text(fault: &ErrorFields<'_>) -> String {
    let message = fault.message();
    let mut words: String = message
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(MAX_LOGGED_MESSAGE_BYTES)
        .collect();
    if let Some(state) = fault.sqlstate() {
        words.push_str(&format!(" (SQLSTATE {state})"));
    }
    words
}
