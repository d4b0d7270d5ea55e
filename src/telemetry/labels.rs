//! The closed sets of label values.
//!
//! Other values except configured names never become labels: no SQL text, no address, no user name.

mod route;

use crate::{blame::Blame, closed_set::closed_set, topology::ObservedRole};

pub use route::Fallback;

closed_set! {
    /// Success or failure.
    pub enum Outcome {
        /// Success.
        Ok = "ok",
        /// Failure.
        Error = "error",
    }
}

closed_set! {
    /// Outcome of a statement.
    pub enum StatementOutcome {
        /// The server reported success.
        Ok = "ok",
        /// The server reported an error, or the connection broke.
        Error = "error",
        /// Gatekeeper answered with an error of its own; no server received the statement.
        Refused = "refused",
    }
}

closed_set! {
    /// Outcome of a request to the admin API.
    pub enum AdminOutcome {
        /// Answered.
        Ok = "ok",
        /// Denied: the key is missing or wrong.
        Denied = "denied",
        /// Any other error response, including "not ready".
        Error = "error",
    }
}

closed_set! {
    /// Direction of relayed bytes.
    pub enum Direction {
        /// From the client to the endpoint.
        ToEndpoint = "to_endpoint",
        /// From the endpoint to the client.
        ToClient = "to_client",
    }
}

closed_set! {
    /// State of a client.
    pub enum ClientState {
        /// Connected, not logged in.
        Login = "login",
        /// Logged in, between transactions.
        Idle = "idle",
        /// In a statement or transaction.
        Active = "active",
    }
}

closed_set! {
    /// State of a pooled backend.
    pub enum PoolBackendState {
        /// Connecting or logging in.
        Dialing = "dialing",
        /// Available for a lease.
        Idle = "idle",
        /// Leased to a session.
        Leased = "leased",
        /// Being reset after a session.
        Resetting = "resetting",
        /// A cancel request is on its way to the backend, or may still take effect.
        Settling = "settling",
    }
}

closed_set! {
    /// Reason for closing a pooled backend.
    pub enum CloseReason {
        /// Maximum lifetime reached.
        Lifetime = "lifetime",
        /// Idle timeout reached.
        IdleTimeout = "idle_timeout",
        /// The connection broke, or the server violated the protocol.
        Broken = "broken",
        /// The session left an unknown state on the backend.
        Discarded = "discarded",
        /// The reset failed.
        NotClean = "not_clean",
        /// Another pool needed the connection slot in the endpoint's budget.
        Shared = "shared",
        /// The pool became smaller.
        Resized = "resized",
        /// The pool was reconnected, drained or withdrawn.
        Withdrawn = "withdrawn",
    }
}

closed_set! {
    /// Reason for ending the use of a backend whose connection has not ended.
    pub enum TerminationReason {
        /// Another server answers at the address.
        Node = "node",
        /// The endpoint is no longer the writer.
        Role = "role",
        /// The server answers nothing: for `hold`, or, with a read pool, for the deadline of a read.
        Silence = "silence",
    }
}

closed_set! {
    /// End of a client's wait for a writer.
    pub enum HoldOutcome {
        /// A server was available again.
        Served = "served",
        /// No writer was available within the listener's `hold`.
        Expired = "expired",
        /// The client left, or canceled its statement.
        Left = "left",
        /// The program is shutting down.
        Shutdown = "shutdown",
    }
}

closed_set! {
    /// Reason for rejecting a client before its session began, other than authentication.
    pub enum RefusalReason {
        /// The listener's limit on clients is reached.
        MaxClients = "max_clients",
        /// The listener's limit on clients per address is reached.
        MaxClientsPerAddress = "max_clients_per_address",
        /// The listener's limit on clients per user is reached.
        MaxClientsPerUser = "max_clients_per_user",
        /// The listener's limit on clients per database is reached.
        MaxClientsPerDatabase = "max_clients_per_database",
        /// The user or the database is not in the listener's lists.
        NotOnGuestList = "not_on_guest_list",
        /// The process is out of file descriptors.
        NoDescriptors = "no_descriptors",
        /// The process is draining.
        Draining = "draining",
        /// The client's TLS handshake failed.
        Tls = "tls",
        /// The client did not use TLS, which the listener requires.
        TlsRequired = "tls_required",
        /// The client sent an invalid startup packet.
        Protocol = "protocol",
        /// The login timed out.
        LoginTimeout = "login_timeout",
        /// The client disconnected during the login.
        ClientGone = "client_gone",
        /// No endpoint of the route was available.
        NoEndpoint = "no_endpoint",
        /// An internal error, or an audit log without room.
        Internal = "internal",
    }
}

closed_set! {
    /// Reason for a failed authentication.
    pub enum AuthFailure {
        /// The password or its SCRAM proof is wrong.
        WrongPassword = "wrong_password",
        /// The user does not exist. (Clients cannot distinguish this case from a wrong password.)
        UnknownUser = "unknown_user",
        /// The database user is not listed for token logins.
        UserNotListed = "user_not_listed",
        /// The certificate is missing, or not valid for the user.
        Certificate = "certificate",
        /// The endpoint rejected the client's dialog or password.
        Endpoint = "endpoint",
        /// The dialog violated the protocol.
        Protocol = "protocol",
    }
}

closed_set! {
    /// Phases of opening a backend connection.
    pub enum ConnectPhase {
        /// Name resolution.
        Resolve = "resolve",
        /// The TCP or Unix-domain connection.
        Tcp = "tcp",
        /// The TLS handshake.
        Tls = "tls",
        /// Minting of a token.
        Token = "token",
        /// PostgreSQL startup and authentication.
        Login = "login",
    }
}

closed_set! {
    /// Kinds of endpoint certificates with an expiry metric.
    pub enum Certificate {
        /// The earliest expiry among the trusted CA certificates.
        Ca = "ca",
        /// The certificate last presented by the server.
        Server = "server",
        /// The certificate presented by Gatekeeper.
        Client = "client",
    }
}

closed_set! {
    /// Kinds of topology changes.
    pub enum ChangeKind {
        /// An endpoint came up.
        Up = "up",
        /// An endpoint went down.
        Down = "down",
        /// A server's observed role changed.
        Role = "role",
        /// Another endpoint is the writer.
        Writer = "writer",
        /// Two endpoints report that they are writable.
        TwoWriters = "two_writers",
        /// Declared and observed role began to differ.
        Mismatch = "mismatch",
        /// An endpoint takes no writes until an operator ends the fence.
        Fenced = "fenced",
        /// Replay of a standby stopped.
        Replay = "replay",
    }
}

closed_set! {
    /// Role that a server reported last, if any.
    pub enum RoleState {
        /// No server has reported a role.
        Unknown = "unknown",
    }
    includes {
        /// The reported role.
        Known(ObservedRole) = ObservedRole::as_str,
    }
}

closed_set! {
    /// Result of a session: in order, or the party to blame.
    pub enum SessionOutcome {
        /// The client sent Terminate, or the process drained in order.
        Ok = "ok",
    }
    includes {
        /// The party to blame.
        Failed(Blame) = Blame::as_str,
    }
}

closed_set! {
    /// The [SQLSTATE classes](https://www.postgresql.org/docs/current/errcodes-appendix.html) that operators act on; the rest is `other`.
    pub enum SqlstateClass {
        /// Connection exception.
        C08 = "08",
        /// Feature not supported.
        C0A = "0A",
        /// Data exception.
        C22 = "22",
        /// Integrity constraint violation.
        C23 = "23",
        /// Invalid transaction state.
        C25 = "25",
        /// Invalid authorization specification.
        C28 = "28",
        /// Transaction rollback: serialization failures, deadlocks, recovery conflicts.
        C40 = "40",
        /// Syntax error or access rule violation.
        C42 = "42",
        /// Insufficient resources.
        C53 = "53",
        /// Program limit exceeded.
        C54 = "54",
        /// Object not in prerequisite state: lock timeouts.
        C55 = "55",
        /// Operator intervention: cancels, shutdowns.
        C57 = "57",
        /// System error.
        C58 = "58",
        /// Errors raised by procedures.
        P0 = "P0",
        /// Internal error.
        XX = "XX",
        /// Any other class.
        Other = "other",
    }
}

impl SqlstateClass {
    /// The class of a SQLSTATE, by its first two characters.
    #[must_use]
    pub fn of(sqlstate: &str) -> Self {
        let known = sqlstate.get(..2).and_then(|two| Self::ALL.iter().find(|class| class.as_str() == two));
        known.copied().unwrap_or(Self::Other)
    }

    /// True if the reason is usually the text of the statement, its data, or a procedure: no fault of the service.
    pub(super) const fn is_about_the_statement(self) -> bool {
        matches!(self, Self::C22 | Self::C23 | Self::C42 | Self::P0)
    }
}

impl From<Option<ObservedRole>> for RoleState {
    fn from(observed: Option<ObservedRole>) -> Self {
        observed.map_or(Self::Unknown, Self::Known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sqlstate_belongs_to_one_class_of_a_closed_set() {
        for (sqlstate, class) in [
            ("40001", "40"),
            ("42P01", "42"),
            ("P0001", "P0"),
            ("0A000", "0A"),
            ("01000", "other"),
            ("5", "other"),
            ("", "other"),
        ] {
            assert_eq!(SqlstateClass::of(sqlstate).as_str(), class);
        }
    }

    #[test]
    fn a_failed_session_is_counted_under_the_word_of_its_blame() {
        for blame in Blame::ALL {
            assert_eq!(SessionOutcome::Failed(blame).as_str(), blame.as_str());
        }
    }
}
