//! Values that are valid alone but not together.

use super::*;

/// A token login, allowed for verified servers.
const TOKEN: &str = "login = { token_command = \"mint\", users = [\"alice@example.com\"] }";

/// `GOOD` with a token login over `verify-ca` and the client method `trust`.
fn with_token(changes: &[(&str, &str)]) -> ConfigSource {
    let login = format!("address = \"127.0.0.1:5432\"\ntls = {{ mode = \"verify-ca\" }}\n{TOKEN}");
    let mut all = vec![
        ("address = \"127.0.0.1:5432\"", login.as_str()),
        ("route = \"primary\"\n", "route = \"primary\"\nauth = { method = \"trust\" }\n"),
    ];
    all.extend_from_slice(changes);
    spoiled(&all)
}

#[test]
fn a_token_login_over_a_verified_connection_for_local_clients_is_fine() {
    let loaded = loaded(&with_token(&[]));
    assert_eq!(loaded.warnings, []);
    let probe = loaded.config.endpoints[0].probe_login.clone().unwrap();
    assert_eq!((probe.user.as_str(), probe.database.as_str()), ("alice@example.com", "postgres"));
}

#[test]
fn a_token_is_never_sent_without_verification_or_to_anybody() {
    let table: Cases<'_> = &[
        (
            &[("verify-ca", "require")],
            &[
                "g.toml:8:16: endpoint.primary.tls.mode: a token would be sent over a connection that is not verified (mode \"require\"); write \"verify-ca\" or \"verify-full\" in `tls.mode`, or insist with `insecure_token_without_verification` = true",
            ],
        ),
        (
            &[("tls = { mode = \"verify-ca\" }", "")],
            &[
                "g.toml:4:1: endpoint.primary.tls.mode: a token would be sent over a connection that is not verified (mode \"prefer\"); write \"verify-ca\" or \"verify-full\" in `tls.mode`, or insist with `insecure_token_without_verification` = true",
            ],
        ),
        (
            &[("verify-ca", "disable"), ("127.0.0.1:5432", "10.0.0.1")],
            &[
                "g.toml:8:16: endpoint.primary.tls.mode: plaintext to 10.0.0.1:5432, which is not on this machine; write \"verify-ca\" in `tls.mode`, or insist with `insecure_plaintext` = true",
                "g.toml:8:16: endpoint.primary.tls.mode: a token would be sent over a connection that is not verified (mode \"disable\"); write \"verify-ca\" or \"verify-full\" in `tls.mode`, or insist with `insecure_token_without_verification` = true",
            ],
        ),
        (
            &[(", users = [\"alice@example.com\"]", "")],
            &[
                "g.toml:9:27: endpoint.primary.login.users: a token login must list its users; list the database users that clients may log in as in `login.users`",
            ],
        ),
        (
            &[("[\"alice@example.com\"]", "[]")],
            &[
                "g.toml:9:43: endpoint.primary.login.users: is empty; list the database users that clients may log in as",
            ],
        ),
        (
            &[("[\"alice@example.com\"]", "[\"a\", \"a\", \"\"]")],
            &[
                "g.toml:9:49: endpoint.primary.login.users: \"a\" stands twice; name each user once",
                "g.toml:9:54: endpoint.primary.login.users: \"\": a name cannot be empty; write database users",
            ],
        ),
        (
            &[("auth = { method = \"trust\" }", "")],
            &[
                "g.toml:11:1: listener.app.auth.method: clients must authenticate: Gatekeeper logs in to `primary` on their behalf; write auth = { method = \"scram\", users_file = \"…\" }, or method = \"trust\" on a loopback address or a Unix-domain socket",
            ],
        ),
        (
            &[("trust", "passthrough")],
            &[
                "g.toml:15:19: listener.app.auth.method: \"passthrough\" relays the client's login, but the login of `primary` is its own; write auth = { method = \"scram\", users_file = \"…\" }, or method = \"trust\" on a loopback address or a Unix-domain socket, or give the endpoint login = \"passthrough\"",
            ],
        ),
        (
            &[("127.0.0.1:15432", "0.0.0.0:15432")],
            &[
                "g.toml:15:19: listener.app.auth.method: \"trust\" is for listeners that only this machine can reach; listen on 127.0.0.1, write \"scram\", or insist with `insecure_trust` = true",
            ],
        ),
        (
            &[("token_command = \"mint\"", "token_command = \"mint\", password = { env = \"P\" }")],
            &[
                "g.toml:9:46: endpoint.primary.login.password: a login takes a token or a password, not both; remove one of them",
            ],
        ),
        (
            &[("token_command = \"mint\"", "token_command = [\"\"]")],
            &[
                "g.toml:9:27: endpoint.primary.login.token_command: cannot be this list; write a command line for sh, or a list of words that begins with a program",
            ],
        ),
        (
            &[("token_command = \"mint\", ", "")],
            &[
                "g.toml:9:19: endpoint.primary.login: has neither a source of tokens nor a password; write `login.iam`, `login.token_command` or `login.password`, or login = \"passthrough\"",
            ],
        ),
        (
            &[("{ token_command = \"mint\", users = [\"alice@example.com\"] }", "\"token\"")],
            &[
                "g.toml:9:9: endpoint.primary.login: cannot be \"token\"; write \"passthrough\", { iam = \"auto\", users = […] }, { token_command = \"…\", users = […] } or { user = \"…\", password = { … } }",
            ],
        ),
        (
            &[("token_command = \"mint\"", "user = \"a\", token_command = \"mint\"")],
            &[
                "g.toml:9:18: endpoint.primary.login.user: does not go with a token login; list the users in `login.users`",
            ],
        ),
        (
            &[("token_command = \"mint\"", "iam = \"auto\", token_command = \"mint\"")],
            &[
                "g.toml:9:41: endpoint.primary.login.token_command: a login takes its tokens from one source; remove one of them",
            ],
        ),
        (
            &[("token_command = \"mint\"", "impersonate = \"user\", token_command = \"mint\"")],
            &["g.toml:9:25: endpoint.primary.login.impersonate: goes with `iam` only; remove it"],
        ),
        (
            &[("token_command = \"mint\"", "iam = \"gcloud\"")],
            &[
                "g.toml:9:17: endpoint.primary.login.iam: cannot be \"gcloud\"; write \"auto\", \"metadata\" or { file = \"/path/to/credentials.json\" }",
            ],
        ),
        (
            &[("token_command = \"mint\"", "iam = { file = \"/nonexistent.json\" }")],
            &[
                "g.toml:9:17: endpoint.primary.login.iam: /nonexistent.json: No such file or directory (os error 2); name a credentials file of Google's that this process may read",
            ],
        ),
        (
            &[("token_command = \"mint\"", "iam = \"auto\", impersonate = \"alice@example.com\"")],
            &[
                "g.toml:9:39: endpoint.primary.login.impersonate: cannot be \"alice@example.com\"; write \"user\" or the e-mail address of a service account",
            ],
        ),
        (
            &[("token_command = \"mint\"", "iam = \"auto\", delegates = [\"a@p.iam\"]")],
            &[
                "g.toml:9:37: endpoint.primary.login.delegates: requires `impersonate`; write `login.impersonate` too",
                "g.toml:9:38: endpoint.primary.login.delegates: \"a@p.iam\" is not the e-mail address of a service account; write service accounts as in \"sa@project.iam.gserviceaccount.com\"",
            ],
        ),
    ];
    let mut wrong = Vec::new();
    for (changes, expected) in table {
        let problems = mistakes(&with_token(changes));
        if problems != *expected {
            wrong.push(format!("{changes:?}\n  reported: {problems:#?}\n  expected: {expected:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_refused_together_says_what_to_change() {
    check(
        mistakes,
        &[
            (
                &[("address = \"127.0.0.1:5432\"", "address = \"10.0.0.1\"\ntls = { mode = \"disable\" }")],
                &[
                    "g.toml:8:16: endpoint.primary.tls.mode: plaintext to 10.0.0.1:5432, which is not on this machine; write \"verify-ca\" in `tls.mode`, or insist with `insecure_plaintext` = true",
                ],
            ),
            (
                &[(
                    "address = \"127.0.0.1:5432\"",
                    "address = \"/run/pg/.s.PGSQL.5432\"\ntls = { mode = \"require\" }",
                )],
                &[
                    "g.toml:8:16: endpoint.primary.tls.mode: Unix-domain sockets have no TLS, but the mode is \"require\"; write \"disable\" in `tls.mode`",
                ],
            ),
            (
                &[(
                    "address = \"127.0.0.1:5432\"",
                    "address = \"127.0.0.1:5432\"\nlogin = { password = \"p\", users = [\"a\"] }",
                )],
                &[
                    "g.toml:8:35: endpoint.primary.login.users: goes with a token login only; remove it",
                    "g.toml:10:1: listener.app.auth.method: clients must authenticate: Gatekeeper logs in to `primary` on their behalf; write auth = { method = \"scram\", users_file = \"…\" }, or method = \"trust\" on a loopback address or a Unix-domain socket",
                ],
            ),
            (
                &[(
                    "address = \"127.0.0.1:5432\"",
                    "address = \"127.0.0.1:5432\"\nprobe = { user = \"monitor\" }",
                )],
                &[
                    "g.toml:8:18: endpoint.primary.probe.user: a probe cannot log in to an endpoint with login = \"passthrough\"; give the endpoint a token command or a password, or remove it",
                ],
            ),
            (
                &[("route = \"primary\"", "route = \"primary\"\nauth = { method = \"trust\" }")],
                &[
                    "g.toml:13:19: listener.app.auth.method: Gatekeeper would verify clients itself and then could not log in to `primary`; write \"passthrough\" or \"password\", or give the endpoint a token command or a password",
                ],
            ),
            (
                &[("route = \"primary\"", "route = \"read-pool\"")],
                &[
                    "g.toml:12:9: listener.app.route: leads nowhere: no endpoint has the role \"read-pool\" or \"replica\"; add such an endpoint, or write \"endpoint:NAME\"",
                ],
            ),
            (
                &[("route = \"primary\"", "route = \"secondary\"")],
                &[
                    "g.toml:12:9: listener.app.route: leads nowhere: no endpoint has the role \"secondary\"; add such an endpoint, or write \"endpoint:NAME\"",
                ],
            ),
            (
                &[(
                    "[[listener]]",
                    "[[cluster.endpoint]]\nname = \"primary\"\nrole = \"primary\"\naddress = \"127.0.0.2\"\n[[listener]]",
                )],
                &[
                    "g.toml:10:8: endpoint.primary.name: another endpoint has this name; give each endpoint a name of its own",
                ],
            ),
            (
                &[(
                    "[[listener]]",
                    "[[cluster.endpoint]]\nname = \"other\"\nrole = \"primary\"\naddress = \"127.0.0.2\"\n[[listener]]",
                )],
                &[
                    "g.toml:16:9: listener.app.route: leads to several endpoints with the role \"primary\", and the role of `primary` cannot be read without a login; give each of them a login, leave that role to one of them, or write \"endpoint:NAME\"",
                ],
            ),
            (
                &[("[[listener]]", "[[cluster]]\nname = \"orders\"\nreplica_of = \"orders\"\n[[listener]]")],
                &[
                    "g.toml:9:1: cluster.orders: has no endpoint; write [[cluster.endpoint]] below it",
                    "g.toml:10:8: cluster.orders.name: another cluster has this name; give each cluster a name of its own",
                    "g.toml:11:14: cluster.orders.replica_of: a cluster cannot replicate from itself; name the primary cluster",
                ],
            ),
            (
                &[(
                    "[[listener]]",
                    "[[listener]]\nname = \"app\"\nbind = \"127.0.0.1:1\"\nroute = \"primary\"\n[[listener]]",
                )],
                &[
                    "g.toml:14:8: listener.app.name: another listener has this name; give each listener a name of its own",
                ],
            ),
            (
                &[(
                    "[[listener]]",
                    "[[listener]]\nname = \"all\"\nbind = \"[::]:15432\"\nroute = \"primary\"\n[[listener]]",
                )],
                &[
                    "g.toml:15:8: listener.app.bind: listener `all` listens on [::]:15432 already; write another port in `bind`",
                ],
            ),
            (
                &[(
                    "route = \"primary\"",
                    "route = \"primary\"\ntls = { cert = \"c\", key = \"k\", client_certificates = \"optional\" }",
                )],
                &[
                    "g.toml:13:54: listener.app.tls.client_certificates: clients' certificates cannot be verified without a CA; write the CA that signs them in `tls.client_ca_file`",
                ],
            ),
        ],
    );
}

#[test]
fn what_is_allowed_and_dangerous_gets_a_warning() {
    check(
        warnings,
        &[
            (
                &[("127.0.0.1:5432", "10.0.0.1")],
                &[
                    "g.toml:4:1: endpoint.primary.tls.mode: \"prefer\" falls back to plaintext and verifies no certificate; write \"verify-ca\" or \"verify-full\" in `tls.mode`",
                ],
            ),
            (&[("127.0.0.1:5432", "localhost")], &[]),
            (
                &[(
                    "address = \"127.0.0.1:5432\"",
                    "address = \"10.0.0.1\"\ntls = { mode = \"disable\" }\ninsecure_plaintext = true",
                )],
                &[
                    "g.toml:8:16: endpoint.primary.tls.mode: everything sent to 10.0.0.1:5432 is plaintext; write \"verify-ca\" as soon as the server has TLS",
                ],
            ),
            (
                &[("127.0.0.1:15432", "0.0.0.0:15432")],
                &[
                    "g.toml:11:8: listener.app.bind: clients may come from other machines (0.0.0.0:15432) and speak plaintext; give it a certificate: tls = { cert = \"…\", key = \"…\" }",
                ],
            ),
            (
                &[("[[listener]]", "[admin]\nbind = \"[::]:8080\"\napi_key = \"k\"\n[[listener]]")],
                &[
                    "g.toml:10:8: admin.bind: the admin API's key travels in plaintext to [::]:8080; give it a certificate: tls = { cert = \"…\", key = \"…\" }",
                    "g.toml:11:11: admin.api_key: a secret stands in the configuration file; keep it out of the file: write { env = \"VARIABLE\" } or { file = \"/path/to/secret\" }",
                ],
            ),
            (
                &[(
                    "[[listener]]",
                    "[[cluster.endpoint]]\nname = \"reads\"\nrole = \"read-pool\"\naddress = \"127.0.0.1\"\n[[listener]]",
                )],
                &[
                    "g.toml:12:11: endpoint.reads.address: endpoint `primary` has the same address; make sure that this is meant",
                ],
            ),
            (
                &[
                    (
                        "address = \"127.0.0.1:5432\"",
                        "address = \"10.0.0.1\"\nlogin = { user = \"app\", password = \"p\" }\ntls = { mode = \"require\" }",
                    ),
                    ("route = \"primary\"", "route = \"primary\"\nauth = { method = \"trust\" }"),
                    ("127.0.0.1:15432", "0.0.0.0:15432\"\ninsecure_trust = true #"),
                ],
                &[
                    "g.toml:8:36: endpoint.primary.login.password: a secret stands in the configuration file; keep it out of the file: write { env = \"VARIABLE\" } or { file = \"/path/to/secret\" }",
                    "g.toml:9:16: endpoint.primary.tls.mode: a password is sent to a server whose certificate is not verified (mode \"require\"); write \"verify-ca\" or \"verify-full\" in `tls.mode`",
                    "g.toml:13:8: listener.app.bind: clients may come from other machines (0.0.0.0:15432) and speak plaintext; give it a certificate: tls = { cert = \"…\", key = \"…\" }",
                    "g.toml:16:19: listener.app.auth.method: every client that can reach this listener may log in as any user; write \"scram\"",
                ],
            ),
        ],
    );
    let tokens = with_token(&[
        ("verify-ca", "require"),
        ("role =", "insecure_token_without_verification = true\nrole ="),
    ]);
    assert_eq!(
        warnings(&tokens),
        [
            "g.toml:9:16: endpoint.primary.tls.mode: tokens are sent to a server whose certificate is not verified (mode \"require\"); \
             write \"verify-ca\" or \"verify-full\" in `tls.mode`"
        ]
    );
}

#[test]
fn passthrough_endpoints_are_not_logged_in_to_by_the_probe() {
    assert!(config(&file(GOOD)).endpoints[0].probe_login.is_none());
}
