//! Party responsible for a failure: a closed set.
//!
//! Metrics, logs and the audit log carry the party: the on-call engineer knows who must act.

use crate::closed_set::closed_set;
use std::{error::Error, fmt};

closed_set! {
    /// Party that must act to end a failure.
    pub enum Blame {
        /// The client: a malformed message, a wrong password, a dropped connection.
        Client = "client",
        /// The endpoint or the network path: refused, unreachable, restarting, an error of the server.
        Endpoint = "endpoint",
        /// A configured rule: a limit, an unlisted user, a route without an endpoint.
        Policy = "policy",
        /// The token or certificate presented to the endpoint, or the command that mints the token.
        Credentials = "credentials",
        /// Gatekeeper itself.
        Us = "us",
    }
}

/// Displays an error and all causes in a single line, outermost first. Used where an error ends, mostly in a log line;
/// an error's own `Display` covers a single level.
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
