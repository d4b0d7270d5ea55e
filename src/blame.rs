//! The party responsible for a failure: a closed set for all failures.
//!
//! Metrics, logs and the audit log contain the value, so that an operator knows where to act.

use crate::closed_set::closed_set;
use std::{error::Error, fmt};

closed_set! {
    /// The party that must act to remove a failure.
    pub enum Blame {
        /// The client: a malformed message, a wrong password, a connection it dropped.
        Client = "client",
        /// The endpoint or the network towards it: refused, unreachable, restarting, its own error.
        Endpoint = "endpoint",
        /// A configured rule: a limit, an unlisted user, a route without an endpoint.
        Policy = "policy",
        /// The token or client certificate for the endpoint, or the command that mints the token.
        Credentials = "credentials",
        /// Gatekeeper itself.
        Us = "us",
    }
}

/// Shows an error with all its causes in one line. For the place where an error ends, usually a log line; elsewhere, an
/// error describes its own level only.
pub struct Chain<'a>(pub &'a (dyn Error + 'static));

// === impl Chain ===

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("reading the CA of endpoint `reads`")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn a_chain_tells_the_causes_in_order() {
        let error = Outer(std::io::Error::other("no such file"));
        assert_eq!(Chain(&error).to_string(), "reading the CA of endpoint `reads`: no such file");
    }
}
