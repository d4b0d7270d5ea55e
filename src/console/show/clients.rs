//! `SHOW CLIENTS`, `SHOW PINS`.

use std::{collections::HashMap, net::SocketAddr, sync::Arc, time::Duration};

use super::{Shown, socket::Socket};
use crate::{
    audit::record,
    console::{
        answer::Answer,
        table::{Row, Value},
    },
    frontend::{Bind, SessionEntry, Visitor},
    names::ListenerName,
};

/// Where each listener listens.
struct Binds(HashMap<ListenerName, SocketAddr>);

/// `SHOW CLIENTS`: the console's visitors, then the sessions, the oldest first.
pub(super) fn clients(shown: Shown<'_>) -> Answer {
    let binds = Arc::new(Binds::of(shown));
    let theirs = Arc::clone(&binds);
    let visitors = visitors(shown).map(move |visitor| {
        let ours = [visitor.facts.id.into(), listener(&visitor.facts), Value::Null, Value::Null];
        row(visitor_socket(&visitor, &theirs), ours)
    });
    let sessions = sessions(shown).map(move |entry| {
        let ours = [entry.id.into(), listener(&entry.facts), endpoint(&entry), pins(&entry)];
        row(session_socket(&entry, &binds), ours)
    });
    Answer::rows(visitors.chain(sessions))
}

/// The clients' part of `SHOW SOCKETS`.
pub(super) fn sockets(shown: Shown<'_>) -> impl Iterator<Item = Row> + use<> {
    let binds = Arc::new(Binds::of(shown));
    let theirs = Arc::clone(&binds);
    let visitors = visitors(shown).map(move |visitor| visitor_socket(&visitor, &theirs));
    let sessions = sessions(shown).map(move |entry| session_socket(&entry, &binds));
    visitors.chain(sessions).map(Socket::row_with_positions)
}

fn visitors(shown: Shown<'_>) -> impl Iterator<Item = Arc<Visitor>> + use<> {
    shown.world.sessions.visitors().into_iter()
}

fn sessions(shown: Shown<'_>) -> impl Iterator<Item = Arc<SessionEntry>> + use<> {
    let mut entries = shown.world.sessions.list();
    entries.sort_unstable_by_key(|entry| entry.id);
    entries.into_iter()
}

fn row(socket: Socket, ours: [Value; 4]) -> Row {
    let mut row = socket.row();
    row.extend(ours);
    row
}

fn visitor_socket(visitor: &Visitor, binds: &Binds) -> Socket {
    Socket { connected: visitor.started_at, requested: visitor.started_at, ..of(&visitor.facts, binds) }
}

fn session_socket(entry: &SessionEntry, binds: &Binds) -> Socket {
    Socket {
        connected: entry.started_at,
        requested: entry.started_at,
        link: entry.server_key.as_ref().map(|key| super::server_name(entry.endpoint.name(), key.pid())),
        ..of(&entry.facts, binds)
    }
}

fn of(facts: &record::Session, binds: &Binds) -> Socket {
    let name = |name: Option<&dyn ToString>| name.map(ToString::to_string).unwrap_or_default();
    Socket {
        kind: "C",
        user: name(facts.user.as_ref().map(|user| user as _)),
        database: name(facts.database.as_ref().map(|database| database as _)),
        state: "active",
        remote: facts.client,
        local: binds.0.get(&facts.listener).copied(),
        connected: std::time::UNIX_EPOCH,
        requested: std::time::UNIX_EPOCH,
        wait: Duration::ZERO,
        close_needed: false,
        ptr: format!("client-{}", facts.id),
        link: None,
        pid: None,
        tls: facts.tls.unwrap_or_default(),
        application: facts.application.as_deref().unwrap_or_default().to_owned(),
    }
}

fn listener(facts: &record::Session) -> Value {
    facts.listener.as_str().into()
}

fn endpoint(entry: &SessionEntry) -> Value {
    entry.endpoint.name().as_str().into()
}

fn pins(_entry: &SessionEntry) -> Value {
    Value::Null
}

impl Binds {
    fn of(shown: Shown<'_>) -> Self {
        let listeners = shown.office.listeners.load();
        let bound = listeners.iter().map(|listener| listener.load()).filter_map(|listener| {
            match listener.settings.bind {
                Bind::Tcp(address) => Some((listener.settings.name.clone(), address)),
                Bind::Unix(_) => None,
            }
        });
        Self(bound.collect())
    }
}
