//! What clients hear in our own name: a SQLSTATE, what happened, what to do. Nothing else can speak.
//!
//! Never an address, a path, a token or another user's name: whoever connects may be anybody.

use std::borrow::Cow;

use super::Cause;
use crate::{
    blame::Blame,
    wire::{
        SqlState,
        error_response::{self, Severity},
    },
};

/// An error said in our own name. All of them end the connection but those about a wait for a backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What kind it is.
    pub sqlstate: SqlState,
    /// What happened.
    pub message: Cow<'static, str>,
    /// What to do.
    pub hint: Option<Cow<'static, str>>,
    /// Whose fault it is; not said to the client.
    pub blame: Blame,
    /// Why.
    pub cause: Cause,
}

// === impl Refusal ===

impl Refusal {
    /// The client's bytes make no sense.
    #[must_use]
    pub fn protocol(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(SqlState::PROTOCOL_VIOLATION, Blame::Client, Cause::Protocol, message)
    }

    /// The client took too long to log in.
    #[must_use]
    pub fn login_timeout() -> Self {
        Self::new(
            SqlState::new(*b"57014"),
            Blame::Client,
            Cause::LoginTimeout,
            "canceling authentication due to timeout",
        )
    }

    /// The listener has as many clients as it takes.
    #[must_use]
    pub fn too_many_clients() -> Self {
        Self::new(
            SqlState::TOO_MANY_CONNECTIONS,
            Blame::Policy,
            Cause::MaxClients,
            "sorry, too many clients already on this listener",
        )
        .hint("Close idle connections, or raise the listener's max_clients.")
    }

    /// The process has no descriptor left for it.
    #[must_use]
    pub fn no_descriptors() -> Self {
        Self::new(
            SqlState::TOO_MANY_CONNECTIONS,
            Blame::Us,
            Cause::NoDescriptors,
            "sorry, the proxy is out of file descriptors",
        )
        .hint("Ask its operator to raise the limit on open files.")
    }

    /// The client's address has as many connections as one address may have.
    #[must_use]
    pub fn too_many_clients_of_address() -> Self {
        Self::new(
            SqlState::TOO_MANY_CONNECTIONS,
            Blame::Policy,
            Cause::MaxClientsPerAddress,
            "too many connections from your address",
        )
        .hint("Close idle connections, or raise the listener's max_clients_per_address.")
    }

    /// The user has as many clients as one user may have.
    #[must_use]
    pub fn too_many_clients_of_user(user: &str) -> Self {
        Self::new(
            SqlState::TOO_MANY_CONNECTIONS,
            Blame::Policy,
            Cause::MaxClientsPerUser,
            format!("too many connections for role \"{user}\""),
        )
        .hint("Close idle connections, or raise the listener's max_clients_per_user.")
    }

    /// The database has as many clients as one database may have.
    #[must_use]
    pub fn too_many_clients_of_database(database: &str) -> Self {
        Self::new(
            SqlState::TOO_MANY_CONNECTIONS,
            Blame::Policy,
            Cause::MaxClientsPerDatabase,
            format!("too many connections for database \"{database}\""),
        )
        .hint("Close idle connections, or raise the listener's max_clients_per_database.")
    }

    /// The listener wants TLS.
    #[must_use]
    pub fn tls_required() -> Self {
        Self::new(
            SqlState::INVALID_AUTHORIZATION,
            Blame::Client,
            Cause::TlsRequired,
            "this listener accepts TLS connections only",
        )
        .hint("Connect with sslmode=require or stronger.")
    }

    /// The proof of identity did not hold; nothing tells an unknown user from a wrong password.
    #[must_use]
    pub fn authentication(user: &str) -> Self {
        Self::new(
            SqlState::INVALID_PASSWORD,
            Blame::Client,
            Cause::Authentication,
            format!("password authentication failed for user \"{user}\""),
        )
    }

    /// The client's certificate does not stand for `user`; whether anybody's does, it is not told. PostgreSQL's words.
    #[must_use]
    pub fn certificate(user: &str) -> Self {
        Self::new(
            SqlState::INVALID_AUTHORIZATION,
            Blame::Client,
            Cause::Authentication,
            format!("certificate authentication failed for user \"{user}\""),
        )
    }

    /// The client came without a certificate. PostgreSQL's words.
    #[must_use]
    pub fn certificate_required() -> Self {
        Self::new(
            SqlState::INVALID_AUTHORIZATION,
            Blame::Client,
            Cause::Authentication,
            "connection requires a valid client certificate",
        )
        .hint("Connect with sslmode=require or stronger, sslcert and sslkey.")
    }

    /// The user is not on the endpoint's list of token users.
    #[must_use]
    pub fn user_not_listed(user: &str) -> Self {
        Self::new(
            SqlState::INVALID_AUTHORIZATION,
            Blame::Policy,
            Cause::UserNotListed,
            format!("user \"{user}\" may not be logged in with a token here"),
        )
        .hint("Add the user to the endpoint's list of token users, or connect as one that is listed.")
    }

    /// The user is not on the listener's list, and was not asked for a proof.
    #[must_use]
    pub fn user_not_on_guest_list(user: &str) -> Self {
        Self::new(
            SqlState::INVALID_AUTHORIZATION,
            Blame::Policy,
            Cause::NotOnGuestList,
            format!("user \"{user}\" may not log in through this listener"),
        )
        .hint("Add the user to the listener's auth.users, or connect as one that is listed.")
    }

    /// The database is not on the listener's list.
    #[must_use]
    pub fn database_not_on_guest_list(database: &str) -> Self {
        Self::new(
            SqlState::INVALID_AUTHORIZATION,
            Blame::Policy,
            Cause::NotOnGuestList,
            format!("database \"{database}\" may not be reached through this listener"),
        )
        .hint("Add the database to the listener's auth.databases, or connect to one that is listed.")
    }

    /// The user may not use the console.
    #[must_use]
    pub fn console_denied(user: &str) -> Self {
        Self::new(
            SqlState::new(*b"42501"),
            Blame::Policy,
            Cause::UserNotListed,
            format!("user \"{user}\" may not use the console"),
        )
        .hint("Ask the operator of the proxy to list the user in the console's admin_users or stats_users.")
    }

    /// The console has nobody to ask who its clients are.
    #[must_use]
    pub fn console_needs_proof() -> Self {
        Self::new(
            SqlState::INVALID_AUTHORIZATION,
            Blame::Policy,
            Cause::Authentication,
            "the console cannot be reached through a listener that leaves authentication to the server",
        )
        .hint("Connect to a listener that authenticates its clients itself.")
    }

    /// Rejects the console on a listener with `trust` authentication.
    #[must_use]
    pub fn console_refuses_trust() -> Self {
        Self::new(
            SqlState::INVALID_AUTHORIZATION,
            Blame::Policy,
            Cause::Authentication,
            "the console cannot be reached through a listener that asks its clients for no proof",
        )
        .hint(
            "Connect to a listener with another auth.method than trust, or set insecure_trust in [console].",
        )
    }

    /// The client's proof is bound to one TLS channel, and a relayed login has two.
    #[must_use]
    pub fn channel_binding(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(SqlState::INVALID_AUTHORIZATION, Blame::Policy, Cause::Authentication, message).hint(
            "Connect with channel_binding=disable, or have the listener ask for passwords: auth = { method = \"password\" }.",
        )
    }

    /// No endpoint of the route can serve.
    #[must_use]
    pub fn no_endpoint(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(SqlState::CANNOT_CONNECT_NOW, Blame::Endpoint, Cause::NoEndpoint, message)
            .hint("Try again shortly.")
    }

    /// An endpoint could not be logged in to; `blame` says whose fault that is.
    #[must_use]
    pub fn endpoint(blame: Blame, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(SqlState::CANNOT_CONNECT, blame, Cause::Endpoint, message)
            .hint("Ask the operator of the proxy: its log says why.")
    }

    /// An endpoint refused a login with these words.
    #[must_use]
    pub fn by_server(blame: Blame, state: Option<SqlState>, message: String) -> Self {
        Self::new(state.unwrap_or(SqlState::CANNOT_CONNECT), blame, Cause::Endpoint, message)
    }

    /// The server went away without a word.
    #[must_use]
    pub fn backend_lost(mid_statement: bool) -> Self {
        let refusal = Self::new(
            SqlState::CONNECTION_FAILURE,
            Blame::Endpoint,
            Cause::BackendLost,
            "the connection to the server was lost",
        );
        if mid_statement {
            refusal.hint("Whether the statement under way took effect is unknown: look before repeating it.")
        } else {
            refusal.hint("Connect again.")
        }
    }

    /// A session's settings could not be given to another backend.
    #[must_use]
    pub fn settings_lost(state: SqlState) -> Self {
        Self::new(
            state,
            Blame::Endpoint,
            Cause::SettingsLost,
            "the session's settings could not be applied to another server connection",
        )
        .hint("Whether the statement under way took effect is unknown. Connect again.")
    }

    /// Session settings are too large to carry from a backend to the next.
    #[must_use]
    pub fn settings_too_large() -> Self {
        Self::new(
            SqlState::new(*b"54000"),
            Blame::Client,
            Cause::SettingsLost,
            "the session's settings take more than 1 MiB",
        )
        .hint("Keep long values in a table, or connect by a listener in session mode.")
    }

    /// The server did not begin the transaction that the client was told had begun.
    #[must_use]
    pub fn transaction_lost() -> Self {
        Self::new(
            SqlState::CONNECTION_FAILURE,
            Blame::Endpoint,
            Cause::SettingsLost,
            "the server refused to begin the transaction",
        )
        .hint("Whether the statement under way took effect is unknown. Connect again.")
    }

    /// No backend came free in time.
    #[must_use]
    pub fn pool_timeout(pool: &str, waited: std::time::Duration) -> Self {
        Self::new(
            SqlState::TOO_MANY_CONNECTIONS,
            Blame::Policy,
            Cause::PoolTimeout,
            format!("no server connection of pool \"{pool}\" came free within {:.1} s", waited.as_secs_f64()),
        )
        .hint("Try again, keep transactions shorter, or raise the pool's size.")
    }

    /// The client has cancelled its own wait for a backend.
    #[must_use]
    pub fn cancelled() -> Self {
        Self::new(
            SqlState::new(*b"57014"),
            Blame::Client,
            Cause::Cancelled,
            "canceling statement due to user request",
        )
    }

    /// The program is ending.
    #[must_use]
    pub fn shutdown() -> Self {
        Self::new(
            SqlState::ADMIN_SHUTDOWN,
            Blame::Policy,
            Cause::Shutdown,
            "terminating connection due to administrator command",
        )
        .hint("The proxy is shutting down. Connect again.")
    }

    /// An operator ended this session.
    #[must_use]
    pub fn killed() -> Self {
        Self::new(
            SqlState::ADMIN_SHUTDOWN,
            Blame::Policy,
            Cause::Killed,
            "terminating connection due to administrator command",
        )
    }

    /// The audit log cannot take what must be audited.
    #[must_use]
    pub fn audit() -> Self {
        Self::new(
            SqlState::new(*b"53400"),
            Blame::Us,
            Cause::Audit,
            "the audit log cannot be written, and statements must be audited",
        )
        .hint("Ask the operator of the proxy to look at its audit log.")
    }

    /// Our own mistake.
    #[must_use]
    pub fn internal(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(SqlState::INTERNAL_ERROR, Blame::Us, Cause::Internal, message)
    }

    fn new(sqlstate: SqlState, blame: Blame, cause: Cause, message: impl Into<Cow<'static, str>>) -> Self {
        Self { sqlstate, message: message.into(), hint: None, blame, cause }
    }

    fn hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Appends the ErrorResponse, with severity FATAL: the connection ends.
    pub fn write(&self, out: &mut Vec<u8>) {
        self.write_with(Severity::Fatal, out);
    }

    /// Appends the ErrorResponse, with severity ERROR: the session goes on.
    pub fn write_error(&self, out: &mut Vec<u8>) {
        self.write_with(Severity::Error, out);
    }

    fn write_with(&self, severity: Severity, out: &mut Vec<u8>) {
        error_response::ErrorResponse {
            severity,
            sqlstate: self.sqlstate,
            message: Cow::Borrowed(&self.message),
            detail: None,
            hint: self.hint.as_deref().map(Cow::Borrowed),
            routine: None,
        }
        .write(out);
    }
}
