//! Options of a sandbox.

use std::{path::PathBuf, time::Duration};

/// Options of a sandbox, with defaults for most uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxOptions {
    /// Folder of `postgres` and `initdb`; searched if absent (see [`super::Installation::find`]).
    pub bin_dir: Option<PathBuf>,
    /// The major version to use; the newest found when absent.
    pub major: Option<u32>,
    /// TLS support of the servers. Default [`ServerTls::Required`], like AlloyDB.
    pub tls: ServerTls,
    /// Check of tokens. Default: by PAM if available.
    pub token_check: TokenCheck,
    /// How long a token is good for. Default 1 h, as Google's.
    pub token_ttl: Duration,
    /// `max_connections` of each server. Default 200.
    pub max_connections: u32,
    /// More settings for each server, as in `postgresql.conf`: name and value.
    pub settings: Vec<(String, String)>,
}

/// TLS support of the servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ServerTls {
    /// Only (`hostssl`).
    #[default]
    Required,
    /// At the client's choice.
    Optional,
    /// Not at all.
    Off,
}

/// How servers check the tokens of IAM users at login.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TokenCheck {
    /// By PAM as root with a server that supports PAM, otherwise as a role password.
    #[default]
    Best,
    /// As a role password with `VALID UNTIL`, set on the writer and replicated. A new token replaces the previous
    /// token.
    RolePassword,
}

impl Default for SandboxOptions {
    fn default() -> Self {
        Self {
            bin_dir: None,
            major: None,
            tls: ServerTls::default(),
            token_check: TokenCheck::default(),
            token_ttl: Duration::from_secs(3600),
            max_connections: 200,
            settings: Vec::new(),
        }
    }
}
