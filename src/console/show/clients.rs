//! `SHOW CLIENTS`, `SHOW PINS`.

use std::{collections::HashMap, net::SocketAddr, sync::Arc, time::Duration};

use super::{ShowContext, current_listeners, server_name, socket::Socket};
use crate::{
    audit::record,
    console::{
        client::Client,
        response::CommandResponse,
        table::{Row, Value},
    },
    frontend::{Bind, ConsoleSessionEntry},
    names::ListenerName,
};

/// Address of each listener.
struct Binds(HashMap<ListenerName, SocketAddr>);

/// `SHOW CLIENTS`: console sessions, then other sessions, oldest first.
pub(super) fn show_clients(shown: ShowContext<'_>) -> CommandResponse {
    let binds = Arc::new(Binds::of(shown));
    let theirs = Arc::clone(&binds);
    let console_sessions = shown.context.sessions.console_sessions().into_iter().map(move |entry| {
        let ours = [entry.facts.id.into(), listener_value(&entry.facts), Value::Null, Value::Null];
        client_row(of_console_session(&entry, &theirs), ours)
    });
    let sessions = Client::all(&shown.context.sessions).map(move |client| {
        let pins = client.pins().join(",");
        let ours = [
            client.entry.id.into(),
            listener_value(&client.entry.facts),
            endpoint_value(&client),
            pins.into(),
        ];
        client_row(of_client(&client, &binds), ours)
    });
    CommandResponse::rows(console_sessions.chain(sessions))
}

/// The client rows of `SHOW SOCKETS`.
pub(super) fn client_sockets(shown: ShowContext<'_>) -> impl Iterator<Item = Socket> + use<> {
    let binds = Arc::new(Binds::of(shown));
    let theirs = Arc::clone(&binds);
    let console_sessions = shown.context.sessions.console_sessions().into_iter();
    let console_sessions = console_sessions.map(move |entry| of_console_session(&entry, &theirs));
    console_sessions.chain(Client::all(&shown.context.sessions).map(move |client| of_client(&client, &binds)))
}

/// `SHOW PINS`: one row per pin.
pub(super) fn show_pins(shown: ShowContext<'_>) -> CommandResponse {
    CommandResponse::rows(Client::all(&shown.context.sessions).flat_map(|client| {
        let facts = &client.entry.facts;
        let pid = client.backend.as_ref().and_then(|backend| u32::try_from(backend.pid).ok());
        let pinned: Vec<Row> = client
            .pins()
            .into_iter()
            .map(|pin| {
                vec![
                    client.entry.id.into(),
                    listener_value(facts),
                    facts.user.as_ref().map(ToString::to_string).into(),
                    facts.database.as_ref().map(ToString::to_string).into(),
                    endpoint_value(&client),
                    pid.into(),
                    pin.into(),
                ]
            })
            .collect();
        pinned
    }))
}

fn client_row(socket: Socket, ours: [Value; 4]) -> Row {
    let mut row = socket.row();
    row.extend(ours);
    row
}

fn of_console_session(entry: &ConsoleSessionEntry, binds: &Binds) -> Socket {
    Socket {
        connected: entry.started_at,
        requested: entry.started_at,
        ..socket_of_facts(&entry.facts, binds)
    }
}

fn of_client(client: &Client, binds: &Binds) -> Socket {
    Socket {
        state: if client.is_waiting_for_backend() { "waiting" } else { "active" },
        connected: client.connected(),
        requested: client.state_start(),
        wait: client.waited(),
        link: client.backend.as_ref().map(|backend| server_name(&backend.endpoint, backend.pid)),
        ..socket_of_facts(&client.entry.facts, binds)
    }
}

fn socket_of_facts(facts: &record::Session, binds: &Binds) -> Socket {
    Socket {
        kind: "C",
        user: facts.user.as_ref().map(ToString::to_string).unwrap_or_default(),
        database: facts.database.as_ref().map(ToString::to_string).unwrap_or_default(),
        state: "active",
        remote: facts.client,
        local: binds.0.get(&facts.listener).copied(),
        connected: std::time::UNIX_EPOCH,
        requested: std::time::UNIX_EPOCH,
        wait: Duration::ZERO,
        close_needed: false,
        ptr: super::client_name(facts.id),
        link: None,
        pid: None,
        tls: facts.tls.unwrap_or_default(),
        application: facts.application.as_deref().unwrap_or_default().to_owned(),
    }
}

fn listener_value(facts: &record::Session) -> Value {
    facts.listener.as_str().into()
}

fn endpoint_value(client: &Client) -> Value {
    client.backend.as_ref().map(|backend| backend.endpoint.to_string()).into()
}

impl Binds {
    fn of(shown: ShowContext<'_>) -> Self {
        let bound = current_listeners(shown).filter_map(|listener| match listener.settings.bind {
            Bind::Tcp(address) => Some((listener.settings.name.clone(), address)),
            Bind::Unix(_) => None,
        });
        Self(bound.collect())
    }
}
