//! Why there is no token.

use std::{sync::Arc, time::Duration};

use super::GoogleError;
use crate::blame::Blame;

/// Why there is no token. Cloned for every login that waited. Holds what the command said on standard error, redacted,
/// and never what it printed as a token.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TokenError {
    /// There is no such command.
    #[error("command not found: {0}")]
    NotFound(String),
    /// The command could not be started or waited for.
    #[error("the command could not be run")]
    Run(#[source] Arc<std::io::Error>),
    /// The command exited with an error status.
    #[error("exited with status {status}{}", after_colon(stderr))]
    Failed {
        /// Its exit status.
        status: i32,
        /// The first line of its standard error, redacted; may be empty.
        stderr: String,
    },
    /// The command was killed, not by us.
    #[error("killed by signal {signal}{}", after_colon(stderr))]
    Killed {
        /// The signal's number.
        signal: i32,
        /// The first line of its standard error, redacted; may be empty.
        stderr: String,
    },
    /// The command ran for too long and was killed with all it had started.
    #[error("not finished within {}{}", seconds(*.limit), after_colon(stderr))]
    TimedOut {
        /// The limit.
        limit: Duration,
        /// The first line of its standard error so far, redacted; may be empty.
        stderr: String,
    },
    /// The command printed more than a token can have, and was killed.
    #[error("printed more than 64 KiB")]
    TooLong,
    /// The command succeeded and printed nothing.
    #[error("printed nothing{}", after_colon(.0))]
    Empty(String),
    /// The command printed bytes that are not valid UTF-8.
    #[error("printed something other than text")]
    NoText,
    /// The command printed several words or lines, or control characters, e.g. a warning next to the token.
    #[error("printed white space or control characters, which no token has inside")]
    NotOneWord,
    /// The command printed JSON without a token, or with white space inside the token.
    #[error("printed JSON without a token in `access_token`")]
    NotJsonToken,
    /// Google's servers gave none.
    #[error(transparent)]
    Google(GoogleError),
    /// The login stops waiting; the mint continues.
    #[error("no token within {}", seconds(*.limit))]
    NotYet {
        /// Duration of the wait.
        limit: Duration,
    },
    /// The keeper of the tokens has ended: the process is going down, or the endpoint was taken out.
    #[error("no tokens are minted any more")]
    Stopped,
}

// === impl TokenError ===

impl TokenError {
    /// Returns the issuer's retry time.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Google(error) => error.retry_after(),
            _ => None,
        }
    }

    /// Opening words of a message about the error; operators search for them.
    #[must_use]
    pub const fn headline(&self) -> &'static str {
        match self {
            Self::Google(_) => "backend token request failed",
            _ => "backend token command failed",
        }
    }

    /// Whose fault it is.
    #[must_use]
    pub fn blame(&self) -> Blame {
        match self {
            Self::Stopped => Blame::Us,
            _ => Blame::Credentials,
        }
    }

    /// What an operator can do about it.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::NotFound(_) => "install the command, or write its full path in `token_command`",
            Self::Run(_) => "check that the command may be executed and that processes can be started",
            Self::Failed { .. } | Self::Killed { .. } => {
                "run the command by hand, as the user and with the environment Gatekeeper has"
            }
            Self::TimedOut { .. } | Self::NotYet { .. } => {
                "run the command by hand; raise `token_timeout` if it is only slow, give it a longer `token_ttl`"
            }
            Self::TooLong | Self::Empty(_) | Self::NoText | Self::NotOneWord | Self::NotJsonToken => {
                "the command must print the token, or JSON with `access_token` and `expires_in`, on standard output"
            }
            Self::Google(error) => error.remedy(),
            Self::Stopped => "connect again",
        }
    }
}

fn after_colon(stderr: &str) -> String {
    if stderr.is_empty() { String::new() } else { format!(": {stderr}") }
}

fn seconds(limit: Duration) -> String {
    format!("{} s", limit.as_secs_f64())
}
