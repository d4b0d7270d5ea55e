//! How the clients of a listener prove who they are, who of them may come in, and where to.

use super::{
    files,
    problem::Origin,
    reader::{Section, Spot},
    tree::Item,
};
use crate::{
    backend::EndpointSettings,
    credentials::Login,
    frontend::{Auth, Bind, GuestList},
    names::{DatabaseName, NameError, UserName},
};

const METHODS: [(&str, Method); 3] =
    [("passthrough", Method::Passthrough), ("scram", Method::Scram), ("trust", Method::Trust)];

#[derive(Clone, Copy, PartialEq)]
enum Method {
    Passthrough,
    Scram,
    Trust,
}

/// Reads `auth` of a listener on `bind` that leads to the endpoints in `reached`; no method after a mistake in it.
pub(super) fn read(
    section: &Section<'_>,
    bind: Option<&Bind>,
    reached: &[&EndpointSettings],
) -> (Option<Auth>, GuestList) {
    let auth = section.table_or_empty("auth", "listener.auth");
    let guests = GuestList {
        users: names(&auth, "users", UserName::new),
        databases: names(&auth, "databases", DatabaseName::new),
    };
    (method(section, &auth, bind, reached), guests)
}

/// The names in the list at `key`, each once; nobody is no list: it is left out.
fn names<N: PartialEq>(section: &Section<'_>, key: &str, new: fn(&str) -> Result<N, NameError>) -> Vec<N> {
    let Some(list) = section.texts(key) else { return Vec::new() };
    let mut names: Vec<N> = Vec::new();
    for Spot { value, origin } in &list.value {
        let mistake = match new(value) {
            Ok(name) if !names.contains(&name) => {
                names.push(name);
                continue;
            }
            Ok(_) => format!("\"{value}\" stands twice"),
            Err(error) => format!("\"{value}\": {error}"),
        };
        section.context.report.problem(origin, section.named(key), mistake, "write each name once");
    }
    if list.value.is_empty() {
        section.problem(key, "is empty, and nobody could come in", "leave it out to let everybody in");
    }
    names
}

fn method(
    section: &Section<'_>,
    auth: &Section<'_>,
    bind: Option<&Bind>,
    reached: &[&EndpointSettings],
) -> Option<Auth> {
    let insecure_trust = section.flag("insecure_trust").value;
    let (injecting, passing): (Vec<&EndpointSettings>, Vec<_>) =
        reached.iter().copied().partition(|endpoint| !matches!(endpoint.login, Login::Passthrough));
    let names = |endpoints: &[&EndpointSettings]| {
        endpoints
            .iter()
            .map(|endpoint| format!("`{}`", endpoint.endpoint.name))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let offer = match section.origin {
        Origin::File { .. } => {
            "auth = { method = \"scram\", users_file = \"…\" }, or method = \"trust\"".to_owned()
        }
        _ => format!("{}=scram and {}, or trust", auth.spoken("method"), auth.spoken("users_file")),
    } + " on a loopback address or a Unix-domain socket";
    let item = auth.raw("method").and_then(Item::as_text);
    let method = match item {
        Some(later @ ("certificate" | "password")) => {
            auth.problem("method", format!("\"{later}\" comes in a later version"), format!("write {offer}"));
            return None;
        }
        _ if auth.has("method") => auth.word("method", &METHODS)?.value,
        _ if injecting.is_empty() => {
            auth.record("method", "passthrough", &Origin::Default);
            Method::Passthrough
        }
        _ => {
            let what = format!(
                "clients have to prove who they are: Gatekeeper logs in to {} in their place",
                names(&injecting)
            );
            auth.problem("method", what, format!("write {offer}"));
            return None;
        }
    };
    if method == Method::Passthrough && !injecting.is_empty() {
        let what = format!(
            "\"passthrough\" relays the client's login, but the login of {} is its own",
            names(&injecting)
        );
        auth.problem("method", what, format!("write {offer}, or give the endpoint login = \"passthrough\""));
    }
    if method != Method::Passthrough && !passing.is_empty() {
        let what = format!(
            "Gatekeeper would verify clients itself and then could not log in to {}",
            names(&passing)
        );
        auth.problem(
            "method",
            what,
            "write \"passthrough\", or give the endpoint a token command or a password",
        );
    }
    if method == Method::Trust && bind.is_some_and(|bind| !bind.is_local()) {
        let flag = section.spoken("insecure_trust");
        if insecure_trust {
            auth.warning(
                "method",
                "anybody who reaches this listener may log in as anybody",
                "write \"scram\"",
            );
        } else {
            let what = "\"trust\" is for listeners that only this machine can reach";
            let remedy = format!("listen on 127.0.0.1, write \"scram\", or insist with {flag} = true");
            auth.problem("method", what, remedy);
        }
    }
    match method {
        Method::Scram => {
            let Some(file) = auth.path("users_file") else {
                if !auth.has("users_file") {
                    auth.missing("users_file", "users_file = \"users.toml\"");
                }
                return None;
            };
            files::users(auth, "users_file", &file.value);
            Some(Auth::Scram { users_file: file.value })
        }
        _ => {
            if auth.has("users_file") {
                auth.problem(
                    "users_file",
                    "goes with method = \"scram\" only",
                    "remove it, or write \"scram\"",
                );
            }
            Some(if method == Method::Trust { Auth::Trust } else { Auth::Passthrough })
        }
    }
}
