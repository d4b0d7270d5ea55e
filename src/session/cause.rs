//! Why a client is refused.

/// Why: a closed set, since it is a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The client's octets make no sense.
    Protocol,
    /// The login took too long.
    LoginTimeout,
    /// The listener has as many clients as it takes.
    MaxClients,
    /// The client's address has as many connections as one address may have.
    MaxClientsPerAddress,
    /// The user has as many clients as one user may have.
    MaxClientsPerUser,
    /// The database has as many clients as one database may have.
    MaxClientsPerDatabase,
    /// The process is out of descriptors.
    NoDescriptors,
    /// The listener wants TLS.
    TlsRequired,
    /// The proof of identity did not hold.
    Authentication,
    /// The user may not be logged in with a token.
    UserNotListed,
    /// The user or the database is not among those of the listener.
    NotOnGuestList,
    /// No endpoint of the route can serve.
    NoEndpoint,
    /// The endpoint could not be logged in to.
    Endpoint,
    /// The server went away without a word.
    BackendLost,
    /// The program is ending.
    Shutdown,
    /// An operator ended the session.
    Killed,
    /// What must be audited cannot be.
    Audit,
    /// The session's settings could not be given to another backend.
    SettingsLost,
    /// No backend came free in time.
    PoolTimeout,
    /// The client cancelled its statement while it waited for a backend.
    Cancelled,
    /// Our own mistake.
    Internal,
}

// === impl Cause ===

impl Cause {
    /// The word used in logs and the audit log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Protocol => "protocol",
            Self::LoginTimeout => "login_timeout",
            Self::MaxClients => "max_clients",
            Self::MaxClientsPerAddress => "max_clients_per_address",
            Self::MaxClientsPerUser => "max_clients_per_user",
            Self::MaxClientsPerDatabase => "max_clients_per_database",
            Self::NoDescriptors => "no_descriptors",
            Self::TlsRequired => "tls_required",
            Self::Authentication => "authentication",
            Self::UserNotListed => "user_not_listed",
            Self::NotOnGuestList => "not_on_guest_list",
            Self::NoEndpoint => "no_endpoint",
            Self::Endpoint => "endpoint",
            Self::BackendLost => "backend_lost",
            Self::Shutdown => "shutdown",
            Self::Killed => "killed",
            Self::Audit => "audit",
            Self::SettingsLost => "settings_lost",
            Self::PoolTimeout => "pool_timeout",
            Self::Cancelled => "cancelled",
            Self::Internal => "internal",
        }
    }
}
