//! Client authentication methods, and where they are refused.

use super::*;

/// `GOOD` with a password login, and a listener with these keys.
fn with_listener(keys: &str) -> ConfigSource {
    let login = "address = \"127.0.0.1:5432\"\nlogin = { user = \"app\", password = { env = \"P\" } }";
    let listener = format!("route = \"primary\"\n{keys}\n");
    spoiled(&[("address = \"127.0.0.1:5432\"", login), ("route = \"primary\"\n", &listener)])
        .without_references()
}

#[test]
fn certificates_take_a_listener_that_asks_for_them() {
    const TLS: &str =
        "tls = { cert = \"c\", key = \"k\", client_certificates = \"required\", client_ca_file = \"a\" }";
    let listener = |auth: &str| mistakes(&with_listener(auth));
    assert_eq!(listener(&format!("auth = {{ method = \"certificate\" }}\n{TLS}")), [""; 0]);
    assert_eq!(
        listener("auth = { method = \"certificate\" }"),
        [
            "g.toml:14:19: listener.app.auth.method: certificates come with TLS, which this listener does not speak; give it tls = { cert = \"…\", key = \"…\", client_certificates = \"required\", client_ca_file = \"…\" }"
        ]
    );
    assert_eq!(
        listener("auth = { method = \"certificate\" }\ntls = { cert = \"c\", key = \"k\" }"),
        [
            "g.toml:14:19: listener.app.auth.method: client certificates are not requested; write \"required\" in `tls.client_certificates`, and the CA that signs them in `tls.client_ca_file`"
        ]
    );
    assert_eq!(
        listener(&format!("auth = {{ method = \"certificate\", map = [\"a\", \"b => *\"] }}\n{TLS}")),
        [
            "g.toml:14:41: listener.app.auth.map: \"a\" is not of the form \"NAME => USER\"; write \"NAME => USER\", with one `*` at most on each side: \"*@example.com => *\"",
            "g.toml:14:46: listener.app.auth.map: \"b => *\" has a `*` for the user but none in the name; write \"NAME => USER\", with one `*` at most on each side: \"*@example.com => *\""
        ]
    );
    assert_eq!(
        listener("auth = { method = \"trust\", name = \"dns\", users_file = \"u\" }"),
        [
            "g.toml:14:35: listener.app.auth.name: goes with method = \"certificate\" only; remove it, or write \"certificate\"",
            "g.toml:14:55: listener.app.auth.users_file: goes with method = \"scram\" only; remove it, or write \"scram\""
        ]
    );
}

#[test]
fn passwords_in_the_clear_stay_on_this_machine_or_inside_tls() {
    let listener = |auth: &str| mistakes(&with_listener(auth));
    assert_eq!(listener("auth = { method = \"password\", remember = \"1m\" }"), [""; 0]);
    let open = |keys: &str| {
        let listener = format!("route = \"primary\"\nauth = {{ method = \"password\" }}\n{keys}\n");
        spoiled(&[("route = \"primary\"\n", listener.as_str()), ("127.0.0.1:15432", "0.0.0.0:15432")])
            .without_references()
    };
    assert_eq!(
        mistakes(&open("")),
        [
            "g.toml:13:19: listener.app.auth.method: clients would send their passwords over the network in the clear; give it tls = { cert = \"…\", key = \"…\" }, or listen on 127.0.0.1"
        ]
    );
    assert_eq!(mistakes(&open("tls = { cert = \"c\", key = \"k\" }")), [""; 0], "passthrough endpoints too");
    assert_eq!(
        listener("auth = { method = \"trust\", remember = \"1m\" }"),
        [
            "g.toml:14:39: listener.app.auth.remember: goes with method = \"password\" only; remove it, or write \"password\""
        ]
    );
}

#[test]
fn with_tls_on_both_sides_clients_say_passwords_by_default() {
    let method = |mode: &str, keys: &str| {
        let endpoint = format!("address = \"127.0.0.1:5432\"\ntls = {{ mode = \"{mode}\" }}");
        let listener = format!("route = \"primary\"\n{keys}\n");
        let changes = [
            ("address = \"127.0.0.1:5432\"", endpoint.as_str()),
            ("route = \"primary\"\n", listener.as_str()),
        ];
        loaded(&spoiled(&changes).without_references())
    };
    let tls = "tls = { cert = \"c\", key = \"k\" }";
    let explicit = format!("{tls}\nauth = {{ method = \"passthrough\" }}");
    for (mode, keys, word, warned) in [
        ("verify-ca", tls, "password", false),
        ("prefer", tls, "password", false),
        ("disable", tls, "passthrough", false),
        ("verify-ca", "", "passthrough", false),
        ("verify-ca", &explicit, "passthrough", true),
        ("disable", &explicit, "passthrough", false),
    ] {
        let loaded = method(mode, keys);
        let warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
        assert_eq!(loaded.config.listeners[0].auth.as_str(), word, "{mode} {keys}");
        assert_eq!(
            warnings.iter().any(|line| line.contains("channel_binding=disable")),
            warned,
            "{warnings:?}"
        );
    }
}

#[test]
fn a_list_of_guests_names_each_once_and_somebody() {
    assert_eq!(
        mistakes(&with_listener(
            "auth = { method = \"trust\", users = [\"a\", \"a\", \"\"], databases = [] }"
        )),
        [
            "g.toml:14:42: listener.app.auth.users: \"a\" stands twice; write each name once",
            "g.toml:14:47: listener.app.auth.users: \"\": a name cannot be empty; write each name once",
            "g.toml:14:64: listener.app.auth.databases: is empty, so no client could log in; leave it out to allow every user",
        ]
    );
}
