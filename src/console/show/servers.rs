//! `SHOW SERVERS`: backends of pools, then backends of dedicated sessions.

use std::{
    collections::HashMap,
    net::SocketAddr,
    time::{Duration, SystemTime},
};

use super::{ShowContext, client_name, server_name, socket::Socket};
use crate::{
    console::{client::Client, response::CommandResponse, table::Value},
    names::EndpointName,
    pool::{BackendStatus, PoolKey, PoolStatus},
    telemetry::labels::PoolBackendState,
};

/// A backend with its endpoint and listener.
pub(super) struct ServerRow {
    socket: Socket,
    listener: String,
    endpoint: String,
}

/// `SHOW SERVERS`
pub(super) fn show_servers(shown: ShowContext<'_>) -> CommandResponse {
    CommandResponse::rows(all_servers(shown).map(|ServerRow { socket, listener, endpoint }| {
        let mut row = socket.row();
        row.extend([Value::from(listener), endpoint.into()]);
        row
    }))
}

/// The server rows of `SHOW SOCKETS`.
pub(super) fn server_sockets(shown: ShowContext<'_>) -> impl Iterator<Item = Socket> + use<> {
    all_servers(shown).map(|server| server.socket)
}

fn all_servers(shown: ShowContext<'_>) -> impl Iterator<Item = ServerRow> + use<> {
    let now = SystemTime::now();
    let mut users: HashMap<(EndpointName, i32), u64> = HashMap::new();
    let mut own = Vec::new();
    for client in Client::all(&shown.context.sessions) {
        if let Some(backend) = &client.backend {
            users.insert((backend.endpoint.clone(), backend.pid), client.entry.id);
            if backend.own {
                own.push(client);
            }
        }
    }
    let pooled = shown.context.routing.pools.list().into_iter().flat_map(|pool| {
        let PoolStatus { target, backends, .. } = pool.status();
        backends.into_iter().map(move |backend| (target.clone(), backend))
    });
    let pooled = pooled.map(move |(target, backend)| {
        let link = users.get(&(target.endpoint.clone(), backend.running.pid())).copied();
        of_pool(&target, &backend, link, now)
    });
    pooled.chain(own.into_iter().filter_map(|client| of_session(&client)))
}

fn of_pool(target: &PoolKey, backend: &BackendStatus, link: Option<u64>, now: SystemTime) -> ServerRow {
    let handle = &backend.running;
    let socket = Socket {
        kind: "S",
        user: target.user.to_string(),
        database: target.database.to_string(),
        state: match backend.state {
            PoolBackendState::Dialing => "new",
            PoolBackendState::Idle => "idle",
            PoolBackendState::Leased => "active",
            PoolBackendState::Resetting => "tested",
            PoolBackendState::Settling => "being_canceled",
        },
        remote: backend.peer(),
        local: handle.local(),
        connected: backend.opened(),
        requested: now.checked_sub(backend.state_for).unwrap_or(now),
        wait: Duration::ZERO,
        close_needed: backend.close_needed,
        ptr: server_name(&target.endpoint, handle.pid()),
        link: link.map(client_name),
        pid: u32::try_from(handle.pid()).ok(),
        tls: handle.tls().map_or("", |facts| facts.version),
        application: String::new(),
    };
    ServerRow { socket, listener: target.listener.to_string(), endpoint: target.endpoint.to_string() }
}

fn of_session(client: &Client) -> Option<ServerRow> {
    let backend = client.backend.as_ref()?;
    let socket = Socket {
        kind: "S",
        user: client.user().map(ToString::to_string).unwrap_or_default(),
        database: client.database().map(ToString::to_string).unwrap_or_default(),
        state: "active",
        remote: client.peer(),
        local: None::<SocketAddr>,
        connected: client.connected(),
        requested: client.connected(),
        wait: Duration::ZERO,
        close_needed: false,
        ptr: server_name(&backend.endpoint, backend.pid),
        link: Some(client_name(client.entry.id)),
        pid: u32::try_from(backend.pid).ok(),
        tls: "",
        application: client.entry.facts.application.as_deref().unwrap_or_default().to_owned(),
    };
    Some(ServerRow {
        socket,
        listener: client.listener().to_string(),
        endpoint: backend.endpoint.to_string(),
    })
}
