//! `SHOW POOLS`, `SHOW DATABASES`, `SHOW LISTS`, `SHOW USERS`, `SHOW STATE`.
//!
//! PgBouncer has one pool for each database and user, and exporters require unique pairs. Gatekeeper's pools have more
//! keys:
//! pools with equal endpoint, database and user are added up, together with dedicated sessions.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{ShowContext, current_listeners};
use crate::{
    console::{
        client::Client,
        response::CommandResponse,
        table::{Row, Value},
    },
    credentials::Login,
    names::{DatabaseName, EndpointName, UserName},
    pool::{PoolMode, PoolPhase, PoolStatus},
    telemetry::labels::PoolBackendState,
    topology::Address,
};

/// Sum of all pools of one endpoint, database and user.
#[derive(Default)]
struct Group {
    clients: usize,
    waiting: usize,
    own: usize,
    leased: usize,
    idle: usize,
    resetting: usize,
    settling: usize,
    dialing: usize,
    cancels: usize,
    pinned: usize,
    longest_wait: Duration,
    size: usize,
    min_idle: usize,
    modes: BTreeSet<&'static str>,
    states: BTreeSet<&'static str>,
    listeners: BTreeSet<String>,
    paused: bool,
}

type Key = (DatabaseName, EndpointName, UserName);

/// `SHOW POOLS`: the console first, as in PgBouncer.
pub(super) fn show_pools(shown: ShowContext<'_>) -> CommandResponse {
    let console = shown.context.settings.load().database.to_string();
    let console_sessions = shown.context.sessions.console_sessions().len();
    let none = || Value::Number(0);
    let mut first: Row = vec![console.clone().into(), console.into(), console_sessions.into()];
    first.extend(std::iter::repeat_with(none).take(12));
    first.extend([Value::from("statement"), Value::Null, Value::Null, none(), none(), "open".into()]);
    let groups = group_pools(shown).into_iter().map(|((database, endpoint, user), group)| {
        vec![
            place_name(&database, &endpoint).into(),
            user.to_string().into(),
            group.clients.saturating_sub(group.waiting).into(),
            group.waiting.into(),
            group.cancels.into(),
            none(),
            (group.leased + group.own).into(),
            group.cancels.into(),
            group.settling.into(),
            group.idle.into(),
            none(),
            group.resetting.into(),
            group.dialing.into(),
            group.longest_wait.as_secs().into(),
            group.longest_wait.subsec_micros().into(),
            join_words(&group.modes).into(),
            endpoint.to_string().into(),
            join_words(&group.listeners).into(),
            group.size.into(),
            group.pinned.into(),
            join_words(&group.states).into(),
        ]
    });
    let groups: Vec<Row> = groups.collect();
    CommandResponse::rows(std::iter::once(first).chain(groups))
}

/// `SHOW DATABASES`: every database in use, at each endpoint.
pub(super) fn show_databases(shown: ShowContext<'_>) -> CommandResponse {
    let mut databases: BTreeMap<(DatabaseName, EndpointName), Group> = BTreeMap::new();
    for ((database, endpoint, _), group) in group_pools(shown) {
        let all = databases.entry((database, endpoint)).or_default();
        all.size = all.size.max(group.size);
        all.min_idle = all.min_idle.max(group.min_idle);
        all.own += group.servers();
        all.modes.extend(group.modes);
        all.paused |= group.paused;
    }
    let handles = shown.context.routing.endpoints.load();
    let rows: Vec<Row> = databases
        .into_iter()
        .map(|((database, endpoint), group)| {
            let handle = handles.get(&endpoint);
            let (host, port) = match handle.map(|handle| &handle.endpoint().address) {
                Some(Address::Tcp { host, port }) => (Some(host.clone()), *port),
                Some(Address::Unix(path)) => (Some(path.display().to_string()), 0),
                None => (None, 0),
            };
            let user = handle.and_then(|handle| match &handle.settings().login {
                Login::Password(login) => login.user.as_ref().map(ToString::to_string),
                Login::Passthrough | Login::Token(_) => None,
            });
            let (_, budget) = shown.context.routing.pools.budget(&endpoint);
            vec![
                place_name(&database, &endpoint).into(),
                host.into(),
                port.into(),
                database.to_string().into(),
                user.into(),
                group.size.into(),
                group.min_idle.into(),
                Value::Number(0),
                join_words(&group.modes).into(),
                budget.unwrap_or_default().into(),
                group.own.into(),
                group.paused.into(),
                Value::Number(0),
            ]
        })
        .collect();
    CommandResponse::rows(std::iter::once(console_database(shown)).chain(rows))
}

/// Row of the console's own database.
fn console_database(shown: ShowContext<'_>) -> Row {
    let console = shown.context.settings.load().database.to_string();
    let port = current_listeners(shown).find_map(|listener| match listener.settings.bind {
        crate::frontend::Bind::Tcp(address) => Some(address.port()),
        crate::frontend::Bind::Unix(_) => None,
    });
    let none = || Value::Number(0);
    vec![
        console.clone().into(),
        Value::Null,
        port.unwrap_or_default().into(),
        console.clone().into(),
        console.into(),
        none(),
        none(),
        none(),
        "statement".into(),
        none(),
        none(),
        none(),
        none(),
    ]
}

/// `SHOW LISTS`
pub(super) fn show_lists(shown: ShowContext<'_>) -> CommandResponse {
    let groups = group_pools(shown);
    let databases: BTreeSet<_> = groups.keys().map(|(database, endpoint, _)| (database, endpoint)).collect();
    let (mut room, mut clients) = (0, 0);
    for listener in current_listeners(shown) {
        room += listener.settings.limits.max_clients;
        clients += listener.clients();
    }
    let sessions = shown.context.sessions.count();
    let idle: usize = groups.values().map(|group| group.idle).sum();
    let servers: usize = groups.values().map(Group::servers).sum();
    CommandResponse::rows(
        [
            // The console counts as a database, a pool and a user.
            ("databases", databases.len() + 1),
            ("users", users_of(shown, &groups).len()),
            ("pools", groups.len() + 1),
            ("free_clients", room.saturating_sub(clients)),
            ("used_clients", sessions),
            ("login_clients", clients.saturating_sub(sessions)),
            ("free_servers", idle),
            ("used_servers", servers - idle),
            ("dns_names", 0),
            ("dns_zones", 0),
            ("dns_queries", 0),
            ("dns_pending", 0),
        ]
        .map(|(list, items)| vec![list.into(), items.into()]),
    )
}

/// `SHOW USERS`: users of pools and console users.
pub(super) fn show_users(shown: ShowContext<'_>) -> CommandResponse {
    let users = users_of(shown, &group_pools(shown));
    CommandResponse::rows(users.into_iter().map(|user| vec![user.to_string().into(), Value::Null]))
}

/// `SHOW STATE`: paused if all pools are paused.
pub(super) fn show_state(shown: ShowContext<'_>) -> CommandResponse {
    let groups = group_pools(shown);
    let paused = !groups.is_empty() && groups.values().all(|group| group.paused);
    let word = |flag| if flag { "yes" } else { "no" };
    CommandResponse::rows(
        [("active", !paused), ("paused", paused), ("suspended", false)]
            .map(|(key, value)| vec![key.into(), word(value).into()]),
    )
}

/// Name of a database at an endpoint.
pub(super) fn place_name(database: &DatabaseName, endpoint: &EndpointName) -> String {
    format!("{database}@{endpoint}")
}

fn users_of(shown: ShowContext<'_>, groups: &BTreeMap<Key, Group>) -> BTreeSet<UserName> {
    let settings = shown.context.settings.load();
    let listed = settings.admin_users.iter().chain(&settings.stats_users);
    groups.keys().map(|(.., user)| user).chain(listed).cloned().collect()
}

fn group_pools(shown: ShowContext<'_>) -> BTreeMap<Key, Group> {
    let mut groups: BTreeMap<Key, Group> = BTreeMap::new();
    for pool in shown.context.routing.pools.list() {
        let status = pool.status();
        let target = &status.target;
        let key = (target.database.clone(), target.endpoint.clone(), target.user.clone());
        groups.entry(key).or_default().add(&status);
    }
    for client in Client::all(&shown.context.sessions) {
        let (Some(database), Some(user)) = (client.database(), client.user()) else { continue };
        let (database, user) = (database.clone(), user.clone());
        let listener = client.listener().to_string();
        let endpoint = match &client.backend {
            Some(backend) => Some(backend.endpoint.clone()),
            // A session without a backend counts for the pool that would serve its user and database, if known.
            None => groups
                .iter()
                .find(|((of, _, by), group)| {
                    *of == database && *by == user && group.listeners.contains(&listener)
                })
                .map(|((_, endpoint, _), _)| endpoint.clone()),
        };
        let Some(endpoint) = endpoint else { continue };
        let group = groups.entry((database, endpoint, user)).or_default();
        group.clients += 1;
        group.pinned += usize::from(!client.pins().is_empty());
        if client.backend.as_ref().is_some_and(|backend| backend.own) {
            group.own += 1;
            group.modes.insert(PoolMode::Session.as_str());
            group.states.insert(PoolPhase::Open.as_str());
            group.listeners.insert(listener);
        }
    }
    groups
}

fn join_words(words: &BTreeSet<impl AsRef<str>>) -> String {
    words.iter().map(AsRef::as_ref).collect::<Vec<&str>>().join(",")
}

// === impl Group ===

impl Group {
    fn add(&mut self, status: &PoolStatus) {
        self.waiting += status.waiting;
        self.leased += status.count(PoolBackendState::Leased);
        self.idle += status.count(PoolBackendState::Idle);
        self.resetting += status.count(PoolBackendState::Resetting);
        self.settling += status.count(PoolBackendState::Settling);
        self.dialing += status.dialing;
        self.cancels += status.backends.iter().map(|backend| backend.cancels()).sum::<usize>();
        self.longest_wait = self.longest_wait.max(status.longest_wait);
        self.size += status.settings.size;
        self.min_idle += status.settings.min_idle;
        self.modes.insert(status.target.mode.as_str());
        self.states.insert(status.phase.as_str());
        self.listeners.insert(status.target.listener.to_string());
        self.paused |= matches!(status.phase, PoolPhase::Paused | PoolPhase::Draining);
    }

    /// Number of backends, including those being opened.
    fn servers(&self) -> usize {
        self.own + self.leased + self.idle + self.resetting + self.settling + self.dialing
    }
}
