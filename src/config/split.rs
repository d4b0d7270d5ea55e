//! Settings of listeners with the route `split`.

use std::sync::Arc;

use super::{listener::WHEN_NO_READER, problem::Origin, reader::Section};
use crate::{
    backend::EndpointSettings,
    frontend::{Auth, ListenerSettings},
    pool::PoolMode,
    route::{Consistency, Hints, RelationName, RoutePolicy, SplitSettings, WhenNoReader},
    topology::DeclaredRole,
};

const CONSISTENCY: [(&str, Consistency); 3] = [
    ("session", Consistency::Session),
    ("bounded", Consistency::Bounded),
    ("eventual", Consistency::Eventual),
];
const HINTS: [(&str, Hints); 3] = [("off", Hints::Off), ("primary", Hints::Primary), ("all", Hints::All)];

/// Keys that are valid with the route `split` only.
const KEYS: [&str; 7] = [
    "consistency",
    "max_lag",
    "freshness_wait",
    "read_deadline",
    "hints",
    "primary_only",
    "secondary_read_pools",
];

/// Reads the keys of a split listener.
pub(super) fn read_split(section: &Section<'_>) -> SplitSettings {
    let default = SplitSettings::default();
    SplitSettings {
        when_no_reader: section.word_or("when_no_reader", &WHEN_NO_READER, WhenNoReader::default()).value,
        consistency: section.word_or("consistency", &CONSISTENCY, default.consistency).value,
        max_lag: section.positive_duration("max_lag", default.max_lag),
        freshness_wait: section.duration("freshness_wait", default.freshness_wait).value,
        read_deadline: section.duration("read_deadline", default.read_deadline).value,
        hints: section.word_or("hints", &HINTS, default.hints).value,
        primary_only: read_relations(section),
        // A setting of the process; see `locate`.
        local_region: None,
        secondary_read_pools: section.flag("secondary_read_pools").value,
    }
}

/// Reports keys that are valid on split listeners only.
pub(super) fn refuse_split_keys(section: &Section<'_>) {
    for key in KEYS.into_iter().filter(|key| section.has_key(key)) {
        section.problem(key, "goes with route = \"split\" only", "remove it");
    }
}

/// Reports settings that a split listener does not allow. `mode` is the mode of its pools.
pub(super) fn check_split(
    section: &Section<'_>,
    auth: Option<&Auth>,
    mode: PoolMode,
    reached: &[&EndpointSettings],
) {
    if matches!(auth, Some(Auth::Passthrough)) {
        section.problem(
            "route",
            "cannot split for a client that authenticates at the server itself: it keeps one backend for life",
            "give the endpoints a token command or a password and the listener auth = { method = \"scram\", … }, or \
             write \"primary\" or \"read-pool\"",
        );
    } else if mode == PoolMode::Session {
        let remedy = match section.origin {
            Origin::File { .. } => {
                "write pool = { mode = \"transaction\" }, or \"primary\" or \"read-pool\" here"
            }
            _ => "set GATEKEEPER_POOL_MODE=transaction, or write \"primary\" or \"read-pool\" here",
        };
        section.problem(
            "route",
            "cannot split for sessions that keep one backend for life (pool mode \"session\")",
            remedy,
        );
    }
    let blind = reached
        .iter()
        .find(|endpoint| endpoint.endpoint.role == DeclaredRole::Primary && endpoint.probe_login.is_none());
    if let Some(endpoint) = blind.filter(|_| !matches!(auth, Some(Auth::Passthrough))) {
        let what = format!(
            "endpoint `{}` has no probe login, so its WAL position is unknown: sessions that have written read from it only",
            endpoint.endpoint.name
        );
        section.warning("route", what, "give the endpoint a `login` of its own");
    }
}

/// Sets the region of the process on all split listeners.
pub(super) fn set_local_region(listeners: &mut [ListenerSettings], region: Option<&str>) {
    for listener in listeners {
        if let RoutePolicy::Split(settings) = &mut listener.route {
            Arc::make_mut(settings).local_region = region.map(str::to_owned);
        }
    }
}

/// Relation names in SQL syntax.
fn read_relations(section: &Section<'_>) -> Vec<RelationName> {
    let Some(listed) = section.texts("primary_only") else {
        section.record("primary_only", "", &Origin::Default);
        return Vec::new();
    };
    let mut relations = Vec::new();
    for name in listed.value {
        match name.value.parse() {
            Ok(relation) => relations.push(relation),
            Err(error) => section.context.report.problem(
                &name.origin,
                section.named("primary_only"),
                format!("cannot be \"{}\": {error}", name.value),
                "write \"schema.table\" or \"table\"",
            ),
        }
    }
    relations
}
