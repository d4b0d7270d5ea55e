//! A listener's pools of backends.

use super::{problem::Origin, reader::Section};
use crate::{
    frontend::Auth,
    pool::{PoolMode, PoolSettings},
};

const MODES: [(&str, PoolMode); 2] = [("session", PoolMode::Session), ("transaction", PoolMode::Transaction)];
/// Values of `isolation`; true if a state check follows every transaction.
const ISOLATION: [(&str, bool); 2] = [("proved", false), ("strict", true)];

/// Reads `pool` of a listener with client authentication `auth` and at most `max_clients` clients.
pub(super) fn read_pool(section: &Section<'_>, auth: Option<&Auth>, max_clients: usize) -> PoolSettings {
    let pool = section.table_or_empty("pool", "listener.pool");
    let mode = pool.word_or("mode", &MODES, PoolMode::Session).value;
    if mode == PoolMode::Transaction && matches!(auth, Some(Auth::Passthrough)) {
        pool.problem(
            "mode",
            "a client that authenticates at the server itself keeps that backend for life",
            "give the endpoint a token command or a password and the listener auth = { method = \"scram\", … }, or \
             write \"session\"",
        );
    }
    let default = PoolSettings::new(mode, max_clients);
    let size = pool.count("size", 1, default.size);
    let min_idle = pool.count("min_idle", 0, default.min_idle);
    if min_idle > size {
        let remedy = format!("write {size} at most, or a larger {}", pool.remedy_name("size"));
        pool.problem("min_idle", format!("a pool of {size} backends cannot keep {min_idle} idle"), remedy);
    }
    PoolSettings {
        mode,
        size,
        min_idle,
        max_lifetime: pool.duration("max_lifetime", default.max_lifetime).value,
        idle_timeout: pool.duration("idle_timeout", default.idle_timeout).value,
        query_wait_timeout: pool.duration("query_wait_timeout", default.query_wait_timeout).value,
        wait_notice: pool.duration("wait_notice", default.wait_notice).value,
        pin_on_functions: read_functions(&pool),
        strict_isolation: pool.word_or("isolation", &ISOLATION, default.strict_isolation).value,
        splits: false,
        resolves_commits: false,
    }
}

/// Names of functions as SQL resolves them: in lower case, without a schema.
fn read_functions(pool: &Section<'_>) -> Vec<String> {
    let Some(listed) = pool.texts("pin_on_functions") else {
        pool.record("pin_on_functions", "", &Origin::Default);
        return Vec::new();
    };
    let mut names = Vec::new();
    for name in listed.value {
        let plain = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
        if name.value.is_empty() || !name.value.chars().all(plain) {
            pool.context.report.problem(
                &name.origin,
                pool.named("pin_on_functions"),
                format!("cannot be \"{}\"", name.value),
                "write the function's name alone, without a schema, parentheses or quotes",
            );
        } else {
            names.push(name.value.to_lowercase());
        }
    }
    names
}
