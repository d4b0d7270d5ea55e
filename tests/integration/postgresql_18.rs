//! PostgreSQL 18 on either side: direct TLS, protocol 3.2 and longer cancel keys. `make test` fetches the server.

use std::{env, fs, path::PathBuf, time::Duration};

use gatekeeper::testing::{
    sandbox::{ALICE, APP, SandboxOptions, Single},
    wire::{ProtocolVersion, tag},
};

use crate::harness::{
    Frames, Stand, connect,
    frames::{cancel, query},
    pki::{Identity, Pki, replace},
    psql_at, refused,
    stand::{config, config_with_tls, token_login},
    until,
};

/// The folder of the programs. `None` skips the tests; a path to broken programs fails them.
fn programs() -> Option<PathBuf> {
    let named = env::var_os("GATEKEEPER_TEST_PG18").filter(|folder| !folder.is_empty());
    if named.is_none() {
        eprintln!("skipped: GATEKEEPER_TEST_PG18 does not name the folder of PostgreSQL 18's programs");
    }
    named.map(PathBuf::from)
}

async fn server(programs: PathBuf) -> Single {
    let options = SandboxOptions { bin_dir: Some(programs), major: Some(18), ..SandboxOptions::default() };
    Single::start(options).await.unwrap()
}

/// TLS at once, verified by name.
fn direct(server: &Single) -> String {
    let name = server.dns_name();
    format!("tls = {{ mode = \"verify-full\", server_name = \"{name}\", negotiation = \"direct\" }}")
}

#[tokio::test]
async fn sessions_and_cancels_go_over_direct_tls_in_protocol_3_2() {
    let Some(programs) = programs() else { return };
    let server = server(programs).await;
    let text = config_with_tls(&server, &direct(&server), "", "", "");
    let stand = Stand::start(server, &text).await;
    let parameters = [("database", "app")];
    let mut session = Frames::log_in_with(stand.listener, APP, &parameters, ProtocolVersion::V3_2).await;
    assert_eq!(session.version, ProtocolVersion::V3_2);
    let key = session.key.clone().unwrap();
    assert_eq!(key.secret().len(), 32, "as PostgreSQL 18's own");
    session.send(&query("SELECT pg_sleep(600)")).await;
    let active =
        "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%pg_sleep(600)'";
    until(Duration::from_secs(15), async || match stand.server.node().sql("app", active).await.unwrap() {
        count if count == "1" => Ok(()),
        count => Err(count),
    })
    .await;
    cancel(stand.listener, &key).await;
    let received = session.read_until(tag::backend::READY_FOR_QUERY).await;
    let error = received.iter().find(|message| message.tag == tag::backend::ERROR_RESPONSE).unwrap();
    assert_eq!(error.field(b'C'), "57014");

    let older = Frames::log_in(stand.listener, APP, &parameters).await;
    assert_eq!(older.version, ProtocolVersion::V3_0);
    assert_eq!(older.key.unwrap().secret().len(), 4);
}

#[tokio::test]
async fn tokens_are_sent_over_direct_tls() {
    let Some(programs) = programs() else { return };
    let server = server(programs).await;
    let login = token_login(&server);
    let text = config_with_tls(&server, &direct(&server), &login, "auth = { method = \"trust\" }", "");
    let stand = Stand::start(server, &text).await;
    let client = stand.connect(&format!("user={ALICE} dbname=app")).await.unwrap();
    let row =
        client.query_one("SELECT current_user::text, current_setting('server_version')", &[]).await.unwrap();
    assert_eq!(row.get::<_, String>(0), ALICE);
    assert!(row.get::<_, String>(1).starts_with("18"));
}

#[tokio::test]
async fn direct_tls_to_an_older_server_fails_with_the_remedy() {
    let server = Single::start(SandboxOptions::default()).await.unwrap();
    if server.installation().major() >= 17 {
        eprintln!("skipped: the server of this machine speaks direct TLS");
        return;
    }
    let text = config_with_tls(&server, &direct(&server), "", "", "");
    let stand = Stand::start(server, &text).await;
    let client_error = refused(connect(stand.listener, "user=app password=app-password dbname=app").await);
    client_error.gives_nothing_away(stand.server.folder());
    assert_eq!(client_error.sqlstate, "08001");
    assert_eq!(client_error.message, "endpoint \"primary\" could not be spoken to over TLS");
    stand.gatekeeper.wait_for_log("older than PostgreSQL 17 or no PostgreSQL at all: try `negotiation").await;
}

#[tokio::test]
async fn libpq_18_connects_over_direct_tls_in_both_protocol_versions() {
    let Some(programs) = programs() else { return };
    let psql = programs.join("psql");
    let server = server(programs).await;
    let name = "gatekeeper.example";
    let pki = Pki::new(server.folder(), "clients");
    let Identity { cert, key } = pki.issue(name);
    let (users, password) = (server.folder().join("users"), server.folder().join("app-password"));
    fs::write(&password, "app-password").unwrap();
    let verifier = server.node().sql("app", "SELECT rolpassword FROM pg_authid WHERE rolname = 'app'").await;
    replace(&users, &format!("\"app\" \"{}\"\n", verifier.unwrap()));
    let listener = format!(
        "auth = {{ method = \"scram\", users_file = {users:?} }}\n\
         tls = {{ cert = {cert:?}, key = {key:?}, required = true }}"
    );
    let login = format!("login = {{ user = \"app\", password = {{ file = {password:?} }} }}");
    let text = config(&server, &login, &listener, "");
    let stand = Stand::start(server, &text).await;
    let (address, ca) = (stand.listener, pki.ca_file.display());
    for (negotiation, version) in [("direct", "3.2"), ("direct", "3.0"), ("postgres", "3.2")] {
        let to = format!(
            "host={name} hostaddr={} port={} user=app password=app-password dbname=app sslmode=verify-full \
             sslrootcert={ca} channel_binding=require sslnegotiation={negotiation} \
             min_protocol_version={version} max_protocol_version={version}",
            address.ip(),
            address.port()
        );
        let answer = psql_at(&psql, &to, "SELECT 'hello'").await;
        assert_eq!(answer.rows, "hello", "{negotiation} {version}: {}", answer.stderr);
    }
}
