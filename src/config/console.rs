//! Settings of the console: database name and users.

use super::{
    auth,
    problem::Origin,
    reader::{Section, Spot},
};
use crate::{
    console::ConsoleSettings,
    frontend::{Auth, ListenerSettings},
    names::{DatabaseName, UserName},
};

/// Reads `[console]`.
pub(super) fn read_console(root: &Section<'_>, listeners: &[Spot<ListenerSettings>]) -> ConsoleSettings {
    let section = root.table_or_empty("console", "console");
    let read = |text: &str| DatabaseName::new(text).map_err(|error| format!("\"{text}\": {error}"));
    let database = match section.parsed("database", read, "write the name of a database, as in \"pgbouncer\"")
    {
        Some(spot) => spot.value,
        None => {
            section.record("database", ConsoleSettings::DATABASE, &Origin::Default);
            DatabaseName::new(ConsoleSettings::DATABASE).expect("the default is a name")
        }
    };
    let settings = ConsoleSettings {
        database,
        admin_users: auth::read_names(&section, "admin_users", UserName::new),
        stats_users: auth::read_names(&section, "stats_users", UserName::new),
        insecure_trust: section.flag("insecure_trust").value,
    };
    let key = if settings.admin_users.is_empty() { "stats_users" } else { "admin_users" };
    if settings.is_open() {
        let believed = listeners.iter().map(|spot| &spot.value);
        for listener in
            believed.filter(|it| settings.insecure_trust && it.auth == Auth::Trust && !it.bind.is_local())
        {
            let what =
                format!("every client that can reach listener `{}` may use the console", listener.name);
            section.warning(key, what, "have that listener authenticate its clients");
        }
        let refused = |spot: &Spot<ListenerSettings>| match spot.value.auth {
            Auth::Passthrough => true,
            Auth::Trust => !settings.insecure_trust,
            _ => false,
        };
        if !listeners.is_empty() && listeners.iter().all(refused) {
            section.warning(
                key,
                "the console is unreachable: every listener leaves authentication to the server or requires none",
                "add a listener that authenticates its clients itself",
            );
        }
    }
    settings
}
