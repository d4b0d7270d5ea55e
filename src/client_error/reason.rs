//! Reasons of client errors.

use crate::closed_set::closed_set;

closed_set! {
    /// Reason of a client error; a label value of logs, events and metrics.
    pub enum ClientErrorReason {
        /// The client violated the protocol.
        Protocol = "protocol",
        /// The login exceeded its time limit.
        LoginTimeout = "login_timeout",
        /// The listener has reached `max_clients`.
        MaxClients = "max_clients",
        /// The client's address has reached `max_clients_per_address`.
        MaxClientsPerAddress = "max_clients_per_address",
        /// The user has reached `max_clients_per_user`.
        MaxClientsPerUser = "max_clients_per_user",
        /// The database has reached `max_clients_per_database`.
        MaxClientsPerDatabase = "max_clients_per_database",
        /// The process is out of descriptors.
        NoDescriptors = "no_descriptors",
        /// The listener requires TLS.
        TlsRequired = "tls_required",
        /// Authentication failed.
        Authentication = "authentication",
        /// The user may not be logged in with a token.
        UserNotListed = "user_not_listed",
        /// The user or the database is not among those of the listener.
        NotAllowed = "not_on_guest_list",
        /// No endpoint of the route can serve.
        NoEndpoint = "no_endpoint",
        /// The login to the endpoint failed.
        Endpoint = "endpoint",
        /// The server closed the connection without an error message.
        BackendLost = "backend_lost",
        /// The program is shutting down.
        Shutdown = "shutdown",
        /// An operator ended the session.
        Killed = "killed",
        /// The endpoint of a dedicated session is no longer the writer.
        Withdrawn = "withdrawn",
        /// A statement that must be audited cannot be recorded.
        Audit = "audit",
        /// The session's settings could not be applied to another backend.
        SettingsLost = "settings_lost",
        /// No backend became free in time.
        PoolTimeout = "pool_timeout",
        /// The wait for a backend would exceed `query_wait_timeout`.
        PoolOverloaded = "pool_overloaded",
        /// The client canceled its statement during the wait for a backend.
        Cancelled = "cancelled",
        /// A statement ran longer than `query_timeout`.
        QueryTimeout = "query_timeout",
        /// The client's transaction was idle for `idle_transaction_timeout`.
        IdleTransactionTimeout = "idle_transaction_timeout",
        /// The client was idle for `client_idle_timeout`.
        ClientIdleTimeout = "client_idle_timeout",
        /// The client has not read its response for `client_write_timeout`.
        ClientWriteTimeout = "client_write_timeout",
        /// Fault of Gatekeeper.
        Internal = "internal",
    }
}
