//! Whose fault a failure is: the closed set every failure belongs to.
//!
//! Metrics, logs and the audit log carry it, so that the person on call knows whom to wake.

use crate::closed_set::closed_set;
use std::{error::Error, fmt};

closed_set! {
    /// Who has to act for a failure to go away.
    pub enum Blame {
        /// The client: a malformed message, a wrong password, a connection it dropped.
        Client = "client",
        /// The endpoint or the network towards it: refused, unreachable, restarting, its own error.
        Endpoint = "endpoint",
        /// A rule that somebody wrote down: a limit, an unlisted user, a route without an endpoint.
        Policy = "policy",
        /// The token or certificate we present to the endpoint, or the command that mints it.
        Credentials = "credentials",
        /// Gatekeeper itself.
        Us = "us",
    }
}

/// Shows an error and all its causes in one line: what failed, then why, then why that. For the place where an error
/// ends, mostly a line of the log; everywhere else an error speaks of its own level only.
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
