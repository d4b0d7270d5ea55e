//! Scripted servers, and endpoints in front of the servers.

use std::{
    future::Future,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{
    backend::{ConnectRequest, EndpointHandle, EndpointSettings},
    credentials::{Login, PasswordLogin, Secret, TokenCommand, TokenLoginSettings, TokenOrigin, TokenUsers},
    names::{ClusterName, EndpointName, UserName},
    tasks::Tasks,
    telemetry::Metrics,
    tls::{EndpointTls, Negotiation, TlsMode},
    topology::{Address, DeclaredRole, Endpoint},
    wire::{
        ErrorResponse, FirstPacket, ProtocolVersion, Severity, SqlState, StartupMessage, tag, write_frame,
    },
};

/// A server that plays the same script for every connection, and counts connections.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    pub(super) tasks: Arc<Tasks>,
    connections: Arc<AtomicUsize>,
}

/// A connection of a scripted server.
pub(super) struct Guest {
    pub(super) tcp: TcpStream,
    /// Number of the connection, from 0.
    pub(super) number: usize,
}

// === impl Server ===

impl Server {
    pub(super) async fn start<F>(play: impl Fn(Guest) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tasks, connections) = (Arc::new(Tasks::new()), Arc::new(AtomicUsize::new(0)));
        let (guests, counter) = (Arc::downgrade(&tasks), Arc::clone(&connections));
        tasks.spawn("scripted server", async move {
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                let number = counter.fetch_add(1, Ordering::SeqCst);
                let Some(tasks) = guests.upgrade() else { return };
                tasks.spawn("scripted connection", play(Guest { tcp, number }));
            }
        });
        Self { address, tasks, connections }
    }

    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Settings of an endpoint for the server: plaintext, passthrough.
    pub(super) fn settings(&self) -> EndpointSettings {
        settings(&self.address.to_string())
    }
}

// === impl Guest ===

impl Guest {
    pub(super) async fn first_packet(&mut self) -> FirstPacket {
        let mut unread = Vec::new();
        loop {
            if let Some((packet, bytes)) = FirstPacket::read(&unread).unwrap() {
                assert_eq!(bytes, unread.len(), "nothing is sent before it was asked for");
                return packet;
            }
            assert_ne!(self.tcp.read_buf(&mut unread).await.unwrap(), 0, "the first packet is whole");
        }
    }

    pub(super) async fn startup(&mut self) -> StartupMessage {
        match self.first_packet().await {
            FirstPacket::Startup(startup) => startup,
            other => panic!("a StartupMessage was awaited: {other:?}"),
        }
    }

    pub(super) async fn say(&mut self, bytes: &[u8]) {
        self.tcp.write_all(bytes).await.unwrap();
    }

    /// Body of the next frame, which must have the tag.
    pub(super) async fn hear(&mut self, tag: u8) -> Vec<u8> {
        assert_eq!(self.tcp.read_u8().await.unwrap(), tag);
        let length = self.tcp.read_u32().await.unwrap();
        let mut body = vec![0; length as usize - 4];
        self.tcp.read_exact(&mut body).await.unwrap();
        body
    }

    /// Asks for the password in the clear.
    pub(super) async fn password(&mut self) -> String {
        self.say(b"R\0\0\0\x08\0\0\0\x03").await;
        let mut body = self.hear(tag::frontend::PASSWORD).await;
        assert_eq!(body.pop(), Some(0));
        String::from_utf8(body).unwrap()
    }

    /// Completes the login, and waits until the client leaves.
    pub(super) async fn welcome(mut self) {
        let mut words = b"R\0\0\0\x08\0\0\0\0".to_vec();
        write_frame(&mut words, tag::backend::PARAMETER_STATUS, |body| {
            body.extend_from_slice(b"in_hot_standby\0on\0");
        });
        words.extend_from_slice(b"K\0\0\0\x0c\0\0\0\x07\x01\x02\x03\x04Z\0\0\0\x05I");
        self.say(&words).await;
        self.wait_for_the_end().await;
    }

    pub(super) async fn refuse(mut self, sqlstate: &[u8; 5], message: &str) {
        let mut words = Vec::new();
        ErrorResponse::new(Severity::Fatal, SqlState::new(*sqlstate), message).write(&mut words);
        self.say(&words).await;
        self.wait_for_the_end().await;
    }

    pub(super) async fn wait_for_the_end(mut self) {
        let mut rest = Vec::new();
        self.tcp.read_to_end(&mut rest).await.ok();
    }
}

pub(super) fn settings(address: &str) -> EndpointSettings {
    EndpointSettings {
        endpoint: Arc::new(Endpoint {
            name: EndpointName::new("primary").unwrap(),
            cluster: ClusterName::new("orders").unwrap(),
            region: None,
            role: DeclaredRole::Primary,
            address: address.parse::<Address>().unwrap(),
        }),
        tls: EndpointTls {
            mode: TlsMode::Disable,
            negotiation: Negotiation::Postgres,
            ca_file: None,
            server_name: None,
            identity: None,
        },
        login: Login::Passthrough,
        insecure_plaintext: false,
        connect_timeout: Duration::from_secs(20),
        connect_concurrency: 32,
        max_backends: None,
        reserve: 0,
        probe_login: None,
    }
}

/// Handle for `settings`, with the token minter as a task of `tasks`.
pub(super) fn handle(settings: EndpointSettings, tasks: &Tasks) -> EndpointHandle {
    let metrics = Metrics::new().endpoint(&settings.endpoint);
    let (handle, keeper) = EndpointHandle::new(settings, metrics).unwrap();
    if let Some(keeper) = keeper {
        tasks.spawn("tokens", keeper.run(|_mint| {}));
    }
    handle
}

pub(super) fn user(name: &str) -> UserName {
    UserName::new(name).unwrap()
}

pub(super) fn request(name: &str) -> ConnectRequest {
    let mut startup = StartupMessage::new(ProtocolVersion::V3_0);
    startup.set("user", name);
    ConnectRequest { user: user(name), startup, token_wait: None }
}

pub(super) fn with_password(password: &str) -> Login {
    Login::Password(PasswordLogin { user: None, password: Secret::new(password.to_owned()) })
}

/// A login for `alice` with the tokens that `command` prints, sent over plaintext too.
pub(super) fn with_token(command: &str) -> Login {
    Login::Token(TokenLoginSettings {
        origin: TokenOrigin::Command(TokenCommand::Shell(command.to_owned())),
        ttl: Some(Duration::from_secs(300)),
        timeout: Duration::from_secs(10),
        users: TokenUsers::Listed(vec![user("alice")]),
        insecure_without_verification: true,
    })
}
