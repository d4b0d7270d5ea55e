//! Whose fault a failure is: the closed set every failure belongs to.
//!
//! Metrics, logs and the audit log carry it, so that the person on call knows whom to wake.

/// Who has to act for a failure to go away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Blame {
    /// The client: a malformed message, a wrong password, a connection it dropped.
    Client,
    /// The endpoint or the network towards it: refused, unreachable, restarting, its own error.
    Endpoint,
    /// A rule that somebody wrote down: a limit, an unlisted user, a route without an endpoint.
    Policy,
    /// The token or certificate we present to the endpoint, or the command that mints it.
    Credentials,
    /// Gatekeeper itself.
    Us,
}

impl Blame {
    /// Every value, in the order of their declaration: label values exist from the start.
    pub const ALL: [Self; 5] = [Self::Client, Self::Endpoint, Self::Policy, Self::Credentials, Self::Us];

    /// The word used in metrics, logs and the audit log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Endpoint => "endpoint",
            Self::Policy => "policy",
            Self::Credentials => "credentials",
            Self::Us => "us",
        }
    }
}
