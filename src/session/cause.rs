//! Why a client is refused.

use crate::closed_set::closed_set;

closed_set! {
    /// Why: a closed set, since it is a label.
    pub enum Cause {
        /// The client's bytes make no sense.
        Protocol = "protocol",
        /// The login took too long.
        LoginTimeout = "login_timeout",
        /// The listener has as many clients as it takes.
        MaxClients = "max_clients",
        /// The client's address has as many connections as one address may have.
        MaxClientsPerAddress = "max_clients_per_address",
        /// The user has as many clients as one user may have.
        MaxClientsPerUser = "max_clients_per_user",
        /// The database has as many clients as one database may have.
        MaxClientsPerDatabase = "max_clients_per_database",
        /// The process is out of descriptors.
        NoDescriptors = "no_descriptors",
        /// The listener wants TLS.
        TlsRequired = "tls_required",
        /// The proof of identity did not hold.
        Authentication = "authentication",
        /// The user may not be logged in with a token.
        UserNotListed = "user_not_listed",
        /// The user or the database is not among those of the listener.
        NotOnGuestList = "not_on_guest_list",
        /// No endpoint of the route can serve.
        NoEndpoint = "no_endpoint",
        /// The endpoint could not be logged in to.
        Endpoint = "endpoint",
        /// The server went away without a word.
        BackendLost = "backend_lost",
        /// The program is ending.
        Shutdown = "shutdown",
        /// An operator ended the session.
        Killed = "killed",
        /// What must be audited cannot be.
        Audit = "audit",
        /// The session's settings could not be given to another backend.
        SettingsLost = "settings_lost",
        /// No backend came free in time.
        PoolTimeout = "pool_timeout",
        /// The client cancelled its statement while it waited for a backend.
        Cancelled = "cancelled",
        /// Our own mistake.
        Internal = "internal",
    }
}
