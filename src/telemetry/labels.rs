//! The closed sets that label values come from.
//!
//! Whatever is not here and not a configured name never becomes a label: no SQL text, no address, no user name.

mod route;

use crate::{blame::Blame, closed_set::closed_set, topology::ObservedRole};

pub use route::Fallback;

closed_set! {
    /// How something ended.
    pub enum Outcome {
        /// As it should.
        Ok = "ok",
        /// Otherwise.
        Error = "error",
    }
}

closed_set! {
    /// How a request to the admin API ended.
    pub enum AdminOutcome {
        /// It was answered.
        Ok = "ok",
        /// It needs a key, and showed none or a wrong one.
        Denied = "denied",
        /// Any other answer that is an error, not being ready included.
        Error = "error",
    }
}

closed_set! {
    /// Where bytes go.
    pub enum Direction {
        /// From the client to the endpoint.
        ToEndpoint = "to_endpoint",
        /// From the endpoint to the client.
        ToClient = "to_client",
    }
}

closed_set! {
    /// What a client is doing.
    pub enum ClientState {
        /// Connected, not yet through its login.
        Login = "login",
        /// Logged in, between transactions.
        Idle = "idle",
        /// In a statement or transaction.
        Active = "active",
    }
}

closed_set! {
    /// What a backend of a pool is doing.
    pub enum PoolBackendState {
        /// It is being dialed and logged in.
        Dialing = "dialing",
        /// It waits for a session.
        Idle = "idle",
        /// A session has it.
        Leased = "leased",
        /// What its last session left is being taken away.
        Resetting = "resetting",
        /// A cancel request is on its way to it, or may still have an effect.
        Settling = "settling",
    }
}

closed_set! {
    /// Why a backend of a pool was closed.
    pub enum CloseReason {
        /// It was old enough.
        Lifetime = "lifetime",
        /// Nobody used it for long enough.
        IdleTimeout = "idle_timeout",
        /// The connection broke, or the server said something out of turn.
        Broken = "broken",
        /// Its session left it in a state that cannot be trusted.
        Discarded = "discarded",
        /// It could not be reset.
        NotClean = "not_clean",
        /// Another pool needed its place in the endpoint's budget.
        Shared = "shared",
        /// The pool became smaller.
        Resized = "resized",
        /// Its pool was reconnected, drained or withdrawn.
        Withdrawn = "withdrawn",
    }
}

closed_set! {
    /// Why a client was turned away before its session began, other than by authentication.
    pub enum RefusalReason {
        /// The listener holds as many clients as it may.
        MaxClients = "max_clients",
        /// The listener holds as many clients from that address as it may.
        MaxClientsPerAddress = "max_clients_per_address",
        /// The user has as many clients at the listener as it may.
        MaxClientsPerUser = "max_clients_per_user",
        /// The database has as many clients at the listener as it may.
        MaxClientsPerDatabase = "max_clients_per_database",
        /// The user or the database is not among those of the listener.
        NotOnGuestList = "not_on_guest_list",
        /// The process is out of descriptors.
        NoDescriptors = "no_descriptors",
        /// The process is draining.
        Draining = "draining",
        /// The client's TLS handshake failed.
        Tls = "tls",
        /// The client would not use TLS where the listener requires it.
        TlsRequired = "tls_required",
        /// What the client sent is no PostgreSQL startup.
        Protocol = "protocol",
        /// The login took too long.
        LoginTimeout = "login_timeout",
        /// The client left before its login was finished.
        ClientGone = "client_gone",
        /// No endpoint of the route could serve.
        NoEndpoint = "no_endpoint",
        /// A mistake of ours, or an audit log that takes nothing.
        Internal = "internal",
    }
}

closed_set! {
    /// Why a client did not get past authentication.
    pub enum AuthFailure {
        /// The password, or the proof of it, is wrong.
        WrongPassword = "wrong_password",
        /// Nobody of that name. (The client cannot tell it from a wrong password.)
        UnknownUser = "unknown_user",
        /// The database user is not among those that a token may be spent for.
        UserNotListed = "user_not_listed",
        /// No certificate, or none that stands for that user.
        Certificate = "certificate",
        /// The endpoint refused the client's own dialog or password.
        Endpoint = "endpoint",
        /// The dialog broke its own rules.
        Protocol = "protocol",
    }
}

closed_set! {
    /// The parts of reaching an endpoint.
    pub enum ConnectPhase {
        /// Name resolution.
        Resolve = "resolve",
        /// The TCP or Unix-domain connection.
        Tcp = "tcp",
        /// The TLS handshake.
        Tls = "tls",
        /// Getting a token.
        Token = "token",
        /// The PostgreSQL startup dialog.
        Login = "login",
    }
}

closed_set! {
    /// The certificates of an endpoint whose end matters.
    pub enum Certificate {
        /// The earliest end among the trusted CA certificates.
        Ca = "ca",
        /// What the server last presented.
        Server = "server",
        /// What we present.
        Client = "client",
    }
}

closed_set! {
    /// What changed in the topology.
    pub enum ChangeKind {
        /// An endpoint came up.
        Up = "up",
        /// An endpoint went down.
        Down = "down",
        /// A server's observed role changed.
        Role = "role",
        /// Another endpoint is the writer.
        Writer = "writer",
        /// Two endpoints say that they are writable.
        TwoWriters = "two_writers",
        /// Declared and observed role began to differ.
        Mismatch = "mismatch",
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
        /// The client said goodbye, or the process was drained in order.
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
        /// Any other.
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
            ("0A000", "other"),
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
