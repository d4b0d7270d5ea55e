//! Ways to the servers of a sandbox.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use gatekeeper::testing::{
    backend::{ConnectRequest, EndpointHandle, EndpointSettings},
    credentials::{Login, PasswordLogin, Secret, TokenCommand, TokenLoginSettings, TokenOrigin, TokenUsers},
    names::{ClusterName, EndpointName, UserName},
    sandbox::{NativeUser, Tokens},
    tasks::Tasks,
    telemetry::Metrics,
    tls::{EndpointTls, Negotiation, TlsMode},
    topology::{Address, DeclaredRole, Endpoint},
    wire::{ProtocolVersion, StartupMessage},
};

/// Settings of an endpoint of cluster `orders`: verified by the cluster's CA, passthrough.
pub fn settings(name: &str, role: DeclaredRole, address: SocketAddr, ca_file: &Path) -> EndpointSettings {
    EndpointSettings {
        endpoint: Arc::new(Endpoint {
            name: EndpointName::new(name).unwrap(),
            cluster: ClusterName::new("orders").unwrap(),
            region: None,
            role,
            address: Address::Tcp { host: address.ip().to_string(), port: address.port() },
        }),
        tls: EndpointTls {
            mode: TlsMode::VerifyCa,
            negotiation: Negotiation::Postgres,
            ca_file: Some(ca_file.to_owned()),
            server_name: None,
            identity: None,
        },
        login: Login::Passthrough,
        insecure_plaintext: false,
        connect_timeout: Duration::from_secs(10),
        connect_concurrency: 32,
        max_backends: None,
        reserve: 0,
        probe_login: None,
    }
}

/// A login as `user`.
pub fn native(user: NativeUser) -> Login {
    Login::Password(PasswordLogin {
        user: Some(UserName::new(user.name).unwrap()),
        password: Secret::new(user.password.to_owned()),
    })
}

/// A login with tokens, for `users`.
pub fn iam(tokens: &Tokens, users: &[&str]) -> Login {
    Login::Token(TokenLoginSettings {
        origin: TokenOrigin::Command(TokenCommand::Words(tokens.command_words())),
        ttl: Some(Duration::from_secs(300)),
        timeout: Duration::from_secs(10),
        users: TokenUsers::Listed(users.iter().map(|user| UserName::new(user).unwrap()).collect()),
        insecure_without_verification: false,
    })
}

/// The handle for `settings`; a task of `tasks` keeps the tokens.
pub fn handle(settings: EndpointSettings, tasks: &Tasks) -> EndpointHandle {
    let metrics = Metrics::new().endpoint(&settings.endpoint);
    let (handle, keeper) = EndpointHandle::new(settings, metrics).unwrap();
    if let Some(keeper) = keeper {
        tasks.spawn("tokens", keeper.run(|_mint| {}));
    }
    handle
}

/// A login to `database` as `user`.
pub fn request(user: &str, database: &str) -> ConnectRequest {
    let mut startup = StartupMessage::new(ProtocolVersion::V3_0);
    startup.set("user", user);
    startup.set("database", database);
    ConnectRequest { user: UserName::new(user).unwrap(), startup, token_wait: None }
}
