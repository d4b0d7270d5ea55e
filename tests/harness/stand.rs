//! Gatekeeper in front of one server: the usual setup of the program's tests.

use std::net::SocketAddr;

use gatekeeper::testing::sandbox::{ALICE, SERVICE_ACCOUNT, SandboxOptions, Single};
use tokio_postgres::{Client, Error};

use super::{Gatekeeper, connect};

/// One server with Gatekeeper in front, the endpoint `primary` and the listener `app`.
pub struct Stand {
    // First field: dropped before the server.
    pub gatekeeper: Gatekeeper,
    pub server: Single,
    pub listener: SocketAddr,
}

impl Stand {
    /// Clients send their own passwords to the server.
    pub async fn passthrough() -> Self {
        let server = Single::start(SandboxOptions::default()).await.unwrap();
        let config = config(&server, "login = \"passthrough\"", "auth = { method = \"passthrough\" }", "");
        Self::start(server, &config).await
    }

    /// Clients are trusted, and Gatekeeper logs in with tokens.
    pub async fn tokens() -> Self {
        let server = Single::start(SandboxOptions::default()).await.unwrap();
        // Backends expire before a second use: each session gets a new login.
        let listener = "auth = { method = \"trust\" }\npool = { max_lifetime = \"1ms\" }";
        let config = config(&server, &token_login(&server), listener, "");
        Self::start(server, &config).await
    }

    /// Starts with a configuration of the test, from [`config`] or written by hand; the addresses must be [`listener`]
    /// and [`admin`].
    pub async fn start(server: Single, config: &str) -> Self {
        let gatekeeper = Gatekeeper::start(server.folder(), config, admin(&server)).await;
        let listener = listener(&server);
        Self { gatekeeper, server, listener }
    }

    /// Connects to the listener in the clear; `parameters` as in libpq.
    pub async fn connect(&self, parameters: &str) -> Result<Client, Error> {
        connect(self.listener, parameters).await
    }
}

/// Where the listener `app` is.
pub fn listener(server: &Single) -> SocketAddr {
    (server.block().ip(100), 15432).into()
}

/// Where the admin API is.
pub fn admin(server: &Single) -> SocketAddr {
    (server.block().ip(100), 8080).into()
}

/// Keys of an endpoint with token logins for the two IAM users.
pub fn token_login(server: &Single) -> String {
    let command = server.tokens().command_words();
    format!("login = {{ token_command = {command:?}, users = [\"{ALICE}\", \"{SERVICE_ACCOUNT}\"] }}")
}

/// The TLS of an endpoint that is verified by name.
pub fn verified(server: &Single) -> String {
    format!("tls = {{ mode = \"verify-full\", server_name = \"{}\" }}", server.dns_name())
}

/// A configuration with the endpoint `primary`, verified by name, and the listener `app`. `endpoint` and
/// `listener_keys` are further keys, `rest` is further tables.
pub fn config(server: &Single, endpoint: &str, listener_keys: &str, rest: &str) -> String {
    config_with_tls(server, &verified(server), endpoint, listener_keys, rest)
}

/// The same with another TLS towards the endpoint: `tls = { … }`.
pub fn config_with_tls(
    server: &Single,
    tls: &str,
    endpoint: &str,
    listener_keys: &str,
    rest: &str,
) -> String {
    let ca = server.authority().ca_file().display();
    format!(
        "[[cluster]]\nname = \"orders\"\nca_file = \"{ca}\"\n\n\
         [[cluster.endpoint]]\nname = \"primary\"\nrole = \"primary\"\naddress = \"{}\"\n{tls}\n{endpoint}\n\n\
         [[listener]]\nname = \"app\"\nbind = \"{}\"\nroute = \"primary\"\n{listener_keys}\n\n\
         [admin]\nbind = \"{}\"\n\n{rest}\n",
        server.address(),
        listener(server),
        admin(server),
    )
}
