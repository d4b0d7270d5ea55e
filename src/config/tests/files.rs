//! The files named in a configuration.

use super::*;

/// A listener with a users file, and an endpoint with a password login.
fn with_users(users: &str) -> (tempfile::TempDir, ConfigSource) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("users.toml"), users).unwrap();
    std::fs::write(folder.path().join("password"), "secret\n").unwrap();
    let text = GOOD
        .replace(
            "address = \"127.0.0.1:5432\"",
            "address = \"127.0.0.1:5432\"\nlogin = { user = \"app\", password = { file = \"password\" } }",
        )
        .replace(
            "route = \"primary\"",
            "route = \"primary\"\nauth = { method = \"scram\", users_file = \"users.toml\" }",
        );
    let path = folder.path().join("g.toml");
    std::fs::write(&path, text).unwrap();
    let source = ConfigSource::of_process(Some(path)).with_variables([("HOME", "/")]);
    (folder, source)
}

const USERS: &str = "[users]\nalice = \"SCRAM-SHA-256$4096:Z2F0ZWtlZXBlci1kZW1vIQ==$DLtBO0flxocoZ5O9kGFS+haDIRKaGqItWUP6NaoqRUA=:22RkDzI/DPkA78Lw5mXKweyoMImX8t7pWb63INknRq8=\"\n";

#[test]
fn paths_in_a_file_begin_at_that_file() {
    let (folder, source) = with_users(USERS);
    let config = config(&source);
    let crate::frontend::Auth::Scram { users_file } = &config.listeners[0].auth else { panic!() };
    assert_eq!(*users_file, folder.path().join("users.toml"));
    let crate::credentials::Login::Password(login) = &config.endpoints[0].login else { panic!() };
    assert_eq!(login.password.reveal(), "secret");
}

#[test]
fn each_bad_line_of_a_users_file_is_a_mistake_with_its_place() {
    let (folder, source) = with_users("[users]\nalice = \"hunter2\"\n");
    let users = folder.path().join("users.toml");
    assert_eq!(
        mistakes(&source),
        [format!(
            "{}:2:1: listener.app.auth.users_file: \"alice\" has a password where a SCRAM verifier belongs; \
             `gatekeeper verifier USER` prints the line to write",
            users.display()
        )]
    );
}

#[test]
fn a_missing_file_is_found_where_it_is_named() {
    check(
        mistakes,
        &[
            (
                &[
                    ("name = \"orders\"", "name = \"orders\"\nca_file = \"/nowhere/ca.pem\""),
                    ("role =", "tls = { mode = \"verify-ca\" }\nrole ="),
                ],
                &[
                    "g.toml:3:11: cluster.orders.ca_file: cannot read /nowhere/ca.pem: No such file or directory (os error 2); name a file that this process may read",
                ],
            ),
            (
                &[("role =", "tls = { mode = \"verify-ca\", ca_file = \"/dev/null\" }\nrole =")],
                &[
                    "g.toml:6:39: endpoint.primary.tls.ca_file: `/dev/null` holds no certificate; write one or more certificates in PEM",
                ],
            ),
            (
                &[(
                    "role =",
                    "tls = { mode = \"require\", cert = \"/nowhere/c\", key = \"/nowhere/k\" }\nrole =",
                )],
                &[
                    "g.toml:6:34: endpoint.primary.tls.cert: cannot read /nowhere/c: No such file or directory (os error 2); name a file that this process may read",
                    "g.toml:6:54: endpoint.primary.tls.key: cannot read /nowhere/k: No such file or directory (os error 2); name a file that this process may read",
                ],
            ),
            (
                &[("route =", "tls = { cert = \"/nowhere/c\", key = \"/nowhere/k\" }\nroute =")],
                &[
                    "g.toml:12:16: listener.app.tls.cert: cannot read /nowhere/c: No such file or directory (os error 2); name a file that this process may read",
                    "g.toml:12:36: listener.app.tls.key: cannot read /nowhere/k: No such file or directory (os error 2); name a file that this process may read",
                ],
            ),
        ],
    );
    assert_eq!(
        mistakes(&spoiled(&[("[[listener]]", "[audit]\nfile = \"/nowhere/audit.jsonl\"\n[[listener]]")])),
        ["g.toml:10:8: audit.file: directory /nowhere does not exist; create it, or name another file"]
    );
    let missing = ConfigSource::of_process(Some("/nowhere/g.toml".into())).with_variables([("HOME", "/")]);
    assert_eq!(
        mistakes(&missing),
        [
            "configuration: /nowhere/g.toml: cannot read the configuration file: No such file or directory (os error 2); name a file that this process may read"
        ]
    );
}

#[test]
fn a_configuration_can_be_checked_without_the_files_it_mentions() {
    let (folder, source) = with_users("nonsense");
    std::fs::remove_file(folder.path().join("password")).unwrap();
    assert!(!mistakes(&source).is_empty());
    assert_eq!(mistakes(&source.without_references()), [""; 0]);
}
