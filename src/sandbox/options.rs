//! What a caller may ask of a sandbox.

use std::{path::PathBuf, time::Duration};

/// What a caller may ask of a sandbox. The default is what most want.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxOptions {
    /// The folder of `postgres` and `initdb`; found by itself when absent (see [`super::Installation::find`]).
    pub bin_dir: Option<PathBuf>,
    /// The major version to use; the newest found when absent.
    pub major: Option<u32>,
    /// Whether servers speak TLS. Default [`ServerTls::Required`], as AlloyDB.
    pub tls: ServerTls,
    /// How tokens are checked. Default: by PAM where it is there.
    pub token_check: TokenCheck,
    /// How long a token is good for. Default 1 h, as Google's.
    pub token_ttl: Duration,
    /// `max_connections` of each server. Default 200.
    pub max_connections: u32,
    /// More settings for each server, as in `postgresql.conf`: name and value.
    pub settings: Vec<(String, String)>,
}

/// Whether servers speak TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ServerTls {
    /// Only (`hostssl`).
    #[default]
    Required,
    /// If the client asks for it.
    Optional,
    /// Not at all.
    Off,
}

/// How servers check the tokens of IAM users at login.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TokenCheck {
    /// By PAM when we are root and the server is built with it, otherwise as a role's password.
    #[default]
    Best,
    /// As the role's password with `VALID UNTIL`, set on the writer and replicated. A new token ends the one before.
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
