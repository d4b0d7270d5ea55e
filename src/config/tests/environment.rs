//! The environment: alone, over a file, and unread variables.

use std::time::Duration;

use super::*;
use crate::{
    credentials::{
        GoogleCredentials, GoogleLogin, Impersonate, Login, TokenCommand, TokenOrigin, TokenUsers,
    },
    frontend::Auth,
};

#[test]
fn one_variable_is_enough() {
    let config = config(&variables(&[("GATEKEEPER_BACKEND_HOST", "127.0.0.1")]));
    assert_eq!(config.endpoints[0].endpoint.name.as_str(), "primary");
    assert_eq!(config.listeners[0].bind.to_string(), "127.0.0.1:15432");
    assert_eq!(config.listeners[0].route.to_string(), "endpoint:primary");
}

#[test]
fn one_endpoint_is_called_by_its_role() {
    let config = config(&variables(&[
        ("GATEKEEPER_BACKEND_HOST", "127.0.0.1"),
        ("GATEKEEPER_BACKEND_ROLE", "replica"),
    ]));
    assert_eq!(config.endpoints[0].endpoint.name.as_str(), "replica");
    assert_eq!(config.endpoints[0].endpoint.role.as_str(), "replica");
}

#[test]
fn several_endpoints_get_a_listener_each_and_share_what_has_no_name_in_front() {
    let config = config(&variables(&[
        ("GATEKEEPER_ENDPOINTS", "primary, read-1,dr"),
        ("GATEKEEPER_BACKEND_TLS_MODE", "require"),
        ("GATEKEEPER_PRIMARY_BACKEND_HOST", "10.0.0.1"),
        ("GATEKEEPER_READ_1_BACKEND_HOST", "10.0.0.2"),
        ("GATEKEEPER_READ_1_BACKEND_ROLE", "read-pool"),
        ("GATEKEEPER_READ_1_LISTEN_PORT", "7000"),
        ("GATEKEEPER_DR_BACKEND_HOST", "fd00::1"),
        ("GATEKEEPER_DR_BACKEND_PORT", "5433"),
        ("GATEKEEPER_DR_BACKEND_ROLE", "secondary"),
        ("GATEKEEPER_DR_BACKEND_TLS_MODE", "verify-full"),
        ("GATEKEEPER_DR_BACKEND_CLUSTER", "orders-dr"),
        ("GATEKEEPER_DR_BACKEND_REGION", "us-east1"),
    ]));
    let endpoints: Vec<_> = config
        .endpoints
        .iter()
        .map(|it| {
            format!(
                "{} {} {} {}",
                it.endpoint.name,
                it.endpoint.role,
                it.endpoint.address,
                it.tls.mode.as_str()
            )
        })
        .collect();
    assert_eq!(
        endpoints,
        [
            "primary primary 10.0.0.1:5432 require",
            "read-1 read-pool 10.0.0.2:5432 require",
            "dr secondary [fd00::1]:5433 verify-full"
        ]
    );
    let listeners: Vec<_> =
        config.listeners.iter().map(|it| format!("{} {} {}", it.name, it.bind, it.route)).collect();
    assert_eq!(
        listeners,
        [
            "primary 127.0.0.1:15432 endpoint:primary",
            "read-1 127.0.0.1:7000 endpoint:read-1",
            "dr 127.0.0.1:15434 endpoint:dr"
        ]
    );
    let clusters: Vec<_> =
        config.clusters.iter().map(|it| (it.name.as_str(), it.region.as_deref())).collect();
    assert_eq!(clusters, [("default", None), ("orders-dr", Some("us-east1"))]);
}

#[test]
fn a_port_for_all_is_the_first_of_several() {
    let config = config(&variables(&[
        ("GATEKEEPER_ENDPOINTS", "a,b"),
        ("GATEKEEPER_LISTEN_PORT", "6000"),
        ("GATEKEEPER_LISTEN_HOST", "::1"),
        ("GATEKEEPER_A_BACKEND_HOST", "127.0.0.1"),
        ("GATEKEEPER_B_BACKEND_HOST", "/run/postgresql"),
        ("GATEKEEPER_B_BACKEND_PORT", "5433"),
    ]));
    let binds: Vec<_> = config.listeners.iter().map(|it| it.bind.to_string()).collect();
    assert_eq!(binds, ["[::1]:6000", "[::1]:6001"]);
    assert_eq!(config.endpoints[1].endpoint.address.to_string(), "/run/postgresql/.s.PGSQL.5433");
}

#[test]
fn a_token_login_in_the_environment_alone() {
    let config = config(&variables(&[
        ("GATEKEEPER_BACKEND_HOST", "10.0.0.1"),
        ("GATEKEEPER_BACKEND_TLS_MODE", "verify-ca"),
        ("GATEKEEPER_BACKEND_TOKEN_CMD", "gcloud auth print-access-token"),
        ("GATEKEEPER_BACKEND_TOKEN_USERS", "alice@example.com, sa@project.iam"),
        ("GATEKEEPER_BACKEND_TOKEN_TTL", "10m"),
        ("GATEKEEPER_LISTEN_AUTH", "trust"),
        ("GATEKEEPER_API_HOST", "0.0.0.0"),
        ("ADMIN_API_KEY", "key"),
    ]));
    let Login::Token(token) = &config.endpoints[0].login else { panic!() };
    assert_eq!(
        token.users.listed().iter().map(|user| user.as_str()).collect::<Vec<_>>(),
        ["alice@example.com", "sa@project.iam"]
    );
    assert_eq!(token.ttl, Some(Duration::from_secs(600)));
    let admin = config.admin.unwrap();
    assert_eq!((admin.bind.to_string().as_str(), admin.api_key.unwrap().reveal()), ("0.0.0.0:8080", "key"));
}

/// Variables of a deployment with a token command and without authentication settings.
const DROP_IN: [(&str, &str); 7] = [
    ("GATEKEEPER_BACKEND_HOST", "10.20.30.40"),
    ("GATEKEEPER_BACKEND_PORT", "5432"),
    ("GATEKEEPER_BACKEND_TLS_MODE", "verify-ca"),
    ("GATEKEEPER_BACKEND_TOKEN_CMD", "mint"),
    ("GATEKEEPER_LISTEN_PORT", "15432"),
    ("GATEKEEPER_API_PORT", "8080"),
    ("ADMIN_API_KEY", "key"),
];

/// `DROP_IN` and `more`.
fn drop_in(more: &[(&str, &str)]) -> ConfigSource {
    variables(&[&DROP_IN, more].concat())
}

#[test]
fn a_token_command_alone_lets_this_machine_in_with_one_warning() {
    let source = drop_in(&[]);
    let config = config(&source);
    assert!(config.listeners[0].auth == Auth::Trust);
    let Login::Token(token) = &config.endpoints[0].login else { panic!() };
    assert_eq!(token.users, TokenUsers::Any);
    assert_eq!(
        warnings(&source),
        [
            "configuration: listener.auth.method: everybody on this machine may log in at `primary` as any user that a token is minted for; set GATEKEEPER_BACKEND_TOKEN_USERS and GATEKEEPER_LISTEN_AUTH"
        ]
    );
    let several = drop_in(&[
        ("GATEKEEPER_ENDPOINTS", "primary,reads"),
        ("GATEKEEPER_READS_BACKEND_HOST", "10.20.30.41"),
        ("GATEKEEPER_READS_BACKEND_TOKEN_USERS", "alice@example.com"),
    ]);
    assert_eq!(
        warnings(&several),
        [
            "configuration: listener.auth.method: everybody on this machine may log in at `primary`, `reads` as any user that a token is minted for; set GATEKEEPER_BACKEND_TOKEN_USERS and GATEKEEPER_LISTEN_AUTH"
        ]
    );
}

/// The source of the tokens for `primary`.
fn google(source: &ConfigSource) -> GoogleLogin {
    let Login::Token(token) = &config(source).endpoints[0].login else {
        panic!("a token login was expected")
    };
    match &token.origin {
        TokenOrigin::Google(login) => login.clone(),
        TokenOrigin::Command(_) => panic!("Google's tokens were expected"),
    }
}

#[test]
fn the_environment_asks_for_googles_tokens() {
    let iam = |more: &[(&str, &str)]| {
        let base = [
            ("GATEKEEPER_BACKEND_HOST", "10.20.30.40"),
            ("GATEKEEPER_BACKEND_TLS_MODE", "verify-ca"),
            ("GATEKEEPER_BACKEND_TOKEN_USERS", "app@p.iam"),
        ];
        google(&variables(&[&base, more].concat()).without_references())
    };
    let auto = iam(&[("GATEKEEPER_BACKEND_IAM", "auto")]);
    assert_eq!(auto.credentials, GoogleCredentials::Auto);
    assert_eq!((auto.impersonate, auto.delegates.len()), (None, 0));
    assert_eq!(iam(&[("GATEKEEPER_BACKEND_IAM", "metadata")]).credentials, GoogleCredentials::Metadata);
    let file = iam(&[("GATEKEEPER_BACKEND_IAM_FILE", "/run/secrets/key.json")]);
    assert_eq!(file.credentials, GoogleCredentials::File("/run/secrets/key.json".into()));
    let each = iam(&[("GATEKEEPER_BACKEND_IAM", "auto"), ("GATEKEEPER_BACKEND_IAM_IMPERSONATE", "user")]);
    assert_eq!(each.impersonate, Some(Impersonate::User));
    let one = iam(&[
        ("GATEKEEPER_BACKEND_IAM", "auto"),
        ("GATEKEEPER_BACKEND_IAM_IMPERSONATE", "app@p.iam.gserviceaccount.com"),
        ("GATEKEEPER_BACKEND_IAM_DELEGATES", "a@p.iam.gserviceaccount.com,b@p.iam.gserviceaccount.com"),
    ]);
    assert_eq!(one.impersonate, Some(Impersonate::Account("app@p.iam.gserviceaccount.com".into())));
    assert_eq!(one.delegates, ["a@p.iam.gserviceaccount.com", "b@p.iam.gserviceaccount.com"]);
}

#[test]
fn googles_tokens_replace_a_login_of_the_file() {
    let text = GOOD.replace(
        "address = \"127.0.0.1:5432\"",
        "address = \"127.0.0.1:5432\"\ntls = { mode = \"verify-ca\" }\nlogin = { token_command = \"mint\", users = [\"a\"] }",
    );
    let listener = ("GATEKEEPER_LISTEN_AUTH", "trust");
    let source = file(&text).with_variables([("GATEKEEPER_BACKEND_IAM", "metadata"), listener]);
    assert_eq!(google(&source).credentials, GoogleCredentials::Metadata);
    let iam = text.replace("token_command = \"mint\"", "iam = \"auto\", impersonate = \"user\"");
    let back = file(&iam).with_variables([("GATEKEEPER_BACKEND_TOKEN_CMD", "mint"), listener]);
    let Login::Token(token) = &config(&back).endpoints[0].login else { panic!() };
    assert_eq!(token.origin, TokenOrigin::Command(TokenCommand::Shell("mint".into())));
}

#[test]
fn the_warning_names_only_what_is_not_set() {
    let users = ("GATEKEEPER_BACKEND_TOKEN_USERS", "alice@example.com");
    let trust = ("GATEKEEPER_LISTEN_AUTH", "trust");
    let named = |more: &[(&str, &str)]| {
        let warnings_given = warnings(&drop_in(more));
        warnings_given
            .iter()
            .map(|line| line.rsplit("; set ").next().unwrap_or_default().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(named(&[users]), ["GATEKEEPER_LISTEN_AUTH"]);
    assert_eq!(named(&[trust]), ["GATEKEEPER_BACKEND_TOKEN_USERS"]);
    assert!(named(&[users, trust]).is_empty());
}

#[test]
fn a_token_command_alone_stays_a_mistake_where_other_machines_can_connect() {
    let problems = mistakes(&drop_in(&[("GATEKEEPER_LISTEN_HOST", "0.0.0.0")]));
    assert_eq!(
        problems,
        [
            "GATEKEEPER_LISTEN_HOST: endpoint.primary.login.users: a token login must list its users if other machines can connect; list the database users that clients may log in as in GATEKEEPER_BACKEND_TOKEN_USERS",
            "configuration: listener.primary.auth.method: clients must authenticate: Gatekeeper logs in to `primary` on their behalf; write GATEKEEPER_LISTEN_AUTH=scram and GATEKEEPER_LISTEN_USERS_FILE, or trust on a loopback address or a Unix-domain socket",
        ]
    );
    // With a file, or with a password login, clients must authenticate too.
    let over_file = mistakes(&file(GOOD).with_variables([
        ("GATEKEEPER_BACKEND_TLS_MODE", "verify-ca"),
        ("GATEKEEPER_BACKEND_TOKEN_CMD", "mint"),
    ]));
    assert_eq!(over_file.len(), 2, "{over_file:#?}");
    let password = mistakes(&variables(&[
        ("GATEKEEPER_BACKEND_HOST", "127.0.0.1"),
        ("GATEKEEPER_BACKEND_PASSWORD", "p"),
    ]));
    assert_eq!(password.len(), 1, "{password:#?}");
}

#[test]
fn one_host_over_a_file_with_several_endpoints_is_a_mistake_that_names_the_right_variables() {
    let text = GOOD.replace(
        "[[listener]]",
        "[[cluster.endpoint]]\nname = \"reads\"\nrole = \"read-pool\"\naddress = \"127.0.0.2:5432\"\n\n[[listener]]",
    );
    let host = ("GATEKEEPER_BACKEND_HOST", "127.0.0.9");
    assert_eq!(
        mistakes(&file(&text).with_variables([host])),
        [
            "GATEKEEPER_BACKEND_HOST: \"127.0.0.9\" would be the host of several endpoints of the file: `primary`, `reads`; set GATEKEEPER_PRIMARY_BACKEND_HOST or GATEKEEPER_READS_BACKEND_HOST for the one that is meant"
        ]
    );
    let one = config(&file(GOOD).with_variables([host]));
    assert_eq!(one.endpoints[0].endpoint.address.to_string(), "127.0.0.9:5432");
    let own = ("GATEKEEPER_READS_BACKEND_HOST", "127.0.0.8");
    let other = config(&file(&text).with_variables([host, own]));
    let addresses: Vec<_> = other.endpoints.iter().map(|it| it.endpoint.address.to_string()).collect();
    assert_eq!(addresses, ["127.0.0.9:5432", "127.0.0.8:5432"]);
}

#[test]
fn the_environment_alone_describes_a_secondary_cluster() {
    let three = [
        ("GATEKEEPER_ENDPOINTS", "primary,reads,dr,dr-reads"),
        ("GATEKEEPER_PRIMARY_BACKEND_HOST", "10.0.0.1"),
        ("GATEKEEPER_READS_BACKEND_HOST", "10.0.0.2"),
        ("GATEKEEPER_READS_BACKEND_ROLE", "read-pool"),
        ("GATEKEEPER_DR_BACKEND_HOST", "10.9.0.1"),
        ("GATEKEEPER_DR_BACKEND_ROLE", "secondary"),
        ("GATEKEEPER_DR_BACKEND_REGION", "us-east1"),
        ("GATEKEEPER_DR_LISTEN_ROUTE", "secondary"),
        ("GATEKEEPER_DR_READS_BACKEND_HOST", "10.9.0.2"),
        ("GATEKEEPER_DR_READS_BACKEND_ROLE", "secondary"),
    ];
    let clusters = |more: &[(&str, &str)]| -> Vec<String> {
        let config = config(&variables(&[&three, more].concat()));
        let of = |name: &str| -> Vec<&str> {
            let endpoints = config.endpoints.iter().map(|it| &it.endpoint);
            endpoints.filter(|it| it.cluster.as_str() == name).map(|it| it.name.as_str()).collect()
        };
        let show = |it: &crate::topology::Cluster| {
            let source = it.replica_of.as_ref().map_or("nothing", |of| of.as_str());
            format!("{} of {source} in {:?}: {:?}", it.name, it.region, of(it.name.as_str()))
        };
        config.clusters.iter().map(show).collect()
    };
    assert_eq!(
        clusters(&[]),
        [
            "default of nothing in None: [\"primary\", \"reads\"]",
            "secondary of default in Some(\"us-east1\"): [\"dr\", \"dr-reads\"]"
        ]
    );
    assert_eq!(
        clusters(&[
            ("GATEKEEPER_BACKEND_CLUSTER", "orders"),
            ("GATEKEEPER_BACKEND_REPLICA_OF", "orders"),
            ("GATEKEEPER_DR_BACKEND_CLUSTER", "orders-dr"),
            ("GATEKEEPER_DR_READS_BACKEND_CLUSTER", "orders-dr"),
        ]),
        [
            "orders of nothing in None: [\"primary\", \"reads\"]",
            "orders-dr of orders in Some(\"us-east1\"): [\"dr\", \"dr-reads\"]"
        ]
    );
}

#[test]
fn the_environment_wins_over_the_file_and_says_so() {
    let source = file(GOOD).with_variables([
        ("GATEKEEPER_PRIMARY_BACKEND_PORT", "6432"),
        ("GATEKEEPER_APP_LISTEN_HOST", "0.0.0.0"),
        ("GATEKEEPER_LOG_LEVEL", "debug"),
        ("GATEKEEPER_WORKERS", "3"),
        ("GATEKEEPER_AUDIT_FILE", "-"),
        ("GATEKEEPER_BACKEND_TLS_MODE", ""),
    ]);
    let loaded = loaded(&source);
    let came_from = |name: &str| {
        let setting = loaded.settings.iter().find(|setting| setting.name == name).expect(name);
        format!("{} {}", setting.value, setting.origin)
    };
    assert_eq!(came_from("endpoint.primary.address"), "127.0.0.1:6432 GATEKEEPER_PRIMARY_BACKEND_PORT");
    assert_eq!(came_from("listener.app.bind"), "0.0.0.0:15432 GATEKEEPER_APP_LISTEN_HOST");
    assert_eq!(came_from("listener.app.route"), "primary g.toml:12:9");
    assert_eq!(came_from("endpoint.primary.tls.mode"), "prefer default");
    assert_eq!(came_from("runtime.workers"), "3 GATEKEEPER_WORKERS");
    assert_eq!(came_from("audit.file"), "- GATEKEEPER_AUDIT_FILE");
    assert_eq!(loaded.config.log.filter, "debug");
}

#[test]
fn a_login_of_the_environment_replaces_the_files() {
    let text = GOOD.replace(
        "address = \"127.0.0.1:5432\"",
        "address = \"127.0.0.1:5432\"\nlogin = { token_command = \"mint\", users = [\"a\"] }",
    );
    let source =
        file(&text.replace("route = \"primary\"", "route = \"primary\"\nauth = { method = \"trust\" }"))
            .with_variables([("GATEKEEPER_BACKEND_USER", "app"), ("GATEKEEPER_BACKEND_PASSWORD", "hunter2")]);
    let loaded = loaded(&source);
    let Login::Password(login) = &loaded.config.endpoints[0].login else { panic!() };
    assert_eq!(login.password.reveal(), "hunter2");
    assert!(loaded.settings.iter().all(|setting| !setting.value.contains("hunter2")), "a secret is shown");
    assert_eq!(loaded.warnings, []);
}

#[test]
fn a_variable_changes_one_word_of_the_login_that_a_cluster_says() {
    let text = GOOD
        .replace(
            "name = \"orders\"",
            "name = \"orders\"\ntls = { mode = \"verify-ca\" }\nlogin = { token_command = \"mint\", users = [\"a\"] }",
        )
        .replace("route = \"primary\"", "route = \"primary\"\nauth = { method = \"trust\" }");
    let config = config(&file(&text).with_variables([("GATEKEEPER_BACKEND_TOKEN_TTL", "1m")]));
    let Login::Token(token) = &config.endpoints[0].login else { panic!() };
    assert_eq!((token.ttl, token.users.listed().len()), (Some(Duration::from_secs(60)), 1));
    assert_eq!(config.endpoints[0].tls.mode.as_str(), "verify-ca");
}

#[test]
fn an_endpoint_that_only_the_environment_knows_joins_the_cluster_of_the_file() {
    let source = file(GOOD).with_variables([
        ("GATEKEEPER_ENDPOINTS", "primary,reads"),
        ("GATEKEEPER_READS_BACKEND_HOST", "127.0.0.3"),
        ("GATEKEEPER_READS_BACKEND_ROLE", "read-pool"),
    ]);
    let config = config(&source);
    assert_eq!(config.endpoints[1].endpoint.cluster.as_str(), "orders");
    assert_eq!(config.listeners.len(), 2);
    assert_eq!(config.listeners[1].bind.to_string(), "127.0.0.1:15433");
}

#[test]
fn what_is_wrong_in_the_environment_is_named_with_its_variable() {
    let two = ("GATEKEEPER_ENDPOINTS", "a,b");
    let host = ("GATEKEEPER_BACKEND_HOST", "127.0.0.1");
    let table: Cases<'_> = &[
        (
            &[],
            &[
                "configuration: no endpoint is configured; name a configuration file by --config, or set GATEKEEPER_BACKEND_HOST",
            ],
        ),
        (
            &[host, ("GATEKEEPER_BACKEND_HSOT", "x")],
            &["GATEKEEPER_BACKEND_HSOT: unknown variable; did you mean GATEKEEPER_BACKEND_HOST?"],
        ),
        (
            &[host, ("GATEKEEPER_MAXIMUM_BACKEND_CONNECTIONS", "x")],
            &[
                "GATEKEEPER_MAXIMUM_BACKEND_CONNECTIONS: unknown variable; unset it (the nearest known one is GATEKEEPER_PRIMARY_BACKEND_CONNECT_TIMEOUT)",
            ],
        ),
        (
            &[host, ("GATEKEEPER_READS_BACKEND_HOST", "x")],
            &[
                "GATEKEEPER_READS_BACKEND_HOST: unknown variable; unknown endpoint `reads` (configured: primary); list it in GATEKEEPER_ENDPOINTS",
            ],
        ),
        (
            &[host, ("GATEKEEPER_PRIMARI_BACKEND_PORT", "1")],
            &[
                "GATEKEEPER_PRIMARI_BACKEND_PORT: unknown variable; did you mean GATEKEEPER_PRIMARY_BACKEND_PORT?",
            ],
        ),
        (
            &[host, ("GATEKEEPER_PRIMARY_API_PORT", "1")],
            &["GATEKEEPER_PRIMARY_API_PORT: unknown variable; write GATEKEEPER_API_PORT"],
        ),
        (
            &[host, ("GATEKEEPER_BACKEND_PORT", "none")],
            &[
                "GATEKEEPER_BACKEND_PORT: endpoint.primary.address: `none` is not a valid port: use a number from 1 to 65535; write a host and a port, as in \"10.20.30.40:5432\", or the path of a socket",
            ],
        ),
        (
            &[host, ("GATEKEEPER_LISTEN_PORT", "none")],
            &["GATEKEEPER_LISTEN_PORT: \"none\" is not a valid port; write a number from 1 to 65535"],
        ),
        (
            &[host, ("GATEKEEPER_API_PORT", "0x50")],
            &[
                "GATEKEEPER_API_PORT: admin.bind: cannot listen on \"127.0.0.1:0x50\"; write an IP address and a port, as in \"127.0.0.1:8080\"",
            ],
        ),
        (
            &[host, ("GATEKEEPER_WORKERS", "many")],
            &["GATEKEEPER_WORKERS: runtime.workers: cannot be \"many\"; write a whole number from 1 to 1024"],
        ),
        (
            &[host, ("GATEKEEPER_BACKEND_INSECURE_PLAINTEXT", "yes")],
            &[
                "GATEKEEPER_BACKEND_INSECURE_PLAINTEXT: endpoint.primary.insecure_plaintext: cannot be \"yes\"; write true or false",
            ],
        ),
        (
            &[host, ("GATEKEEPER_BACKEND_ROLE", "leader")],
            &[
                "GATEKEEPER_BACKEND_ROLE: endpoint.primary.role: cannot be \"leader\"; write one of \"primary\", \"replica\", \"read-pool\", \"secondary\"",
            ],
        ),
        (
            &[host, ("GATEKEEPER_LISTEN_ROUTE", "split")],
            &[
                "GATEKEEPER_LISTEN_ROUTE: listener.primary.route: leads nowhere: no endpoint has the role \"read-pool\" or \"replica\"; add such an endpoint, or write \"endpoint:NAME\"",
                "GATEKEEPER_LISTEN_ROUTE: listener.primary.route: cannot split for a client that authenticates at the server itself: it keeps one backend for life; give the endpoints a token command or a password and the listener auth = { method = \"scram\", … }, or write \"primary\" or \"read-pool\"",
            ],
        ),
        (
            &[host, ("GATEKEEPER_API_HOST", "0.0.0.0")],
            &[
                "GATEKEEPER_API_HOST: admin.api_key: other machines can reach 0.0.0.0:8080, so the admin API needs a key; set ADMIN_API_KEY",
            ],
        ),
        (
            &[host, ("GATEKEEPER_BACKEND_TOKEN_CMD", "mint")],
            &[
                "GATEKEEPER_BACKEND_HOST: endpoint.primary.tls.mode: a token would be sent over a connection that is not verified (mode \"prefer\"); write \"verify-ca\" or \"verify-full\" in GATEKEEPER_BACKEND_TLS_MODE, or insist with GATEKEEPER_BACKEND_INSECURE_TOKEN_WITHOUT_VERIFICATION = true",
            ],
        ),
        (
            &[host, ("GATEKEEPER_BACKEND_TOKEN_CMD", "mint"), ("GATEKEEPER_BACKEND_PASSWORD", "p")],
            &[
                "GATEKEEPER_BACKEND_PASSWORD: endpoint.primary.login.password: a login takes a token or a password, not both; remove one of them",
            ],
        ),
        (
            &[host, ("GATEKEEPER_LISTEN_AUTH", "scram")],
            &[
                "GATEKEEPER_LISTEN_AUTH: listener.primary.auth.method: Gatekeeper would verify clients itself and then could not log in to `primary`; write \"passthrough\" or \"password\", or give the endpoint a token command or a password",
                "GATEKEEPER_LISTEN_AUTH: listener.primary.auth.users_file: is missing; set GATEKEEPER_LISTEN_USERS_FILE",
            ],
        ),
        (
            &[host, ("GATEKEEPER_PROXY_TLS_CERT", "/nowhere.crt")],
            &[
                "GATEKEEPER_PROXY_TLS_CERT: listener.primary.tls.cert: a certificate needs its key; write GATEKEEPER_PROXY_TLS_KEY",
            ],
        ),
        (
            &[("GATEKEEPER_ENDPOINTS", "Primary,a-b,a_b,a-b"), host],
            &[
                "GATEKEEPER_ENDPOINTS: \"Primary\": `P` is not allowed: lower-case letters, digits, `-` and `_`, beginning with a letter or digit; write names as in primary,reads,dr",
                "GATEKEEPER_ENDPOINTS: `a-b` stands twice; name each endpoint once",
                "GATEKEEPER_ENDPOINTS: `a_b` and `a-b` would be described by the same variables; rename one of them",
            ],
        ),
        (
            &[two, ("GATEKEEPER_A_BACKEND_HOST", "127.0.0.1")],
            &[
                "GATEKEEPER_ENDPOINTS: endpoint.b.address: is missing; set GATEKEEPER_B_BACKEND_HOST, GATEKEEPER_B_BACKEND_PORT",
            ],
        ),
        (
            &[two, host, ("GATEKEEPER_A_LISTEN_PORT", "15433")],
            &[
                "configuration: listener.b.bind: listener `a` listens on 127.0.0.1:15433 already; write another port in GATEKEEPER_B_LISTEN_HOST, GATEKEEPER_B_LISTEN_PORT",
            ],
        ),
    ];
    let mut wrong = Vec::new();
    for (set, expected) in table {
        let problems = mistakes(&variables(set));
        if problems != *expected {
            wrong.push(format!("{set:?}\n  reported: {problems:#?}\n  expected: {expected:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
