//! Many statements: no record is missing, however often the file rotates, and no literal of a statement appears.

use std::{fs, path::PathBuf, time::Duration};

use gatekeeper::testing::sandbox::{SandboxOptions, Single};
use rustix::process::Signal;
use tokio_postgres::Client;

use crate::harness::{
    Stand,
    audit::{audited_in_all, audited_until, files, verified},
    psql,
    stand::config,
    until,
};

const APP: &str = "user=app password=app-password dbname=app application_name=tests";
const PATIENCE: Duration = Duration::from_secs(20);
/// `make million` sets a million.
const EACH: usize = 4000;

async fn stand(keys: &str) -> (Stand, PathBuf) {
    let server = Single::start(SandboxOptions::default()).await.unwrap();
    let file = server.folder().join("audit.jsonl");
    let rest = format!("[audit]\nfile = {file:?}\nlevel = \"statements\"\n{keys}\n");
    let config = config(&server, "", "", &rest);
    (Stand::start(server, &config).await, file)
}

async fn load(client: Client) {
    for number in 0..EACH {
        client.simple_query(&format!("SELECT {number}, 'x'")).await.unwrap();
    }
}

#[tokio::test]
async fn no_statement_is_missing_while_the_file_is_rotated_and_renamed_under_load() {
    let keys =
        "on_full = \"block\"\nqueue = 256\nrotate_size = \"1MiB\"\nhash_chain = true\nsync = \"batch\"";
    let (mut stand, file) = stand(keys).await;
    let clients = [stand.connect(APP).await, stand.connect(APP).await, stand.connect(APP).await];
    let [one, two, three] = clients.map(Result::unwrap);
    let gatekeeper = &stand.gatekeeper;
    let reloads = "gatekeeper_config_reloads_total{outcome=\"ok\"}";
    let rename = async {
        for number in 0..5_u32 {
            // Gatekeeper's own rotation may interfere; logrotate would try again the next day.
            until(PATIENCE, async || fs::rename(&file, file.with_extension(format!("jsonl.moved{number}"))))
                .await;
            gatekeeper.signal(Signal::HUP);
            until(PATIENCE, async || match gatekeeper.metric(reloads).await {
                Some(now) if now > f64::from(number) => Ok(()),
                seen => Err(seen),
            })
            .await;
        }
    };
    tokio::join!(load(one), load(two), load(three), rename);
    stand.gatekeeper.signal(Signal::TERM);
    stand.gatekeeper.ended().await;

    let (code, report) = verified(&file, &["--strict"]);
    assert_eq!(code, Some(0), "{report}");
    assert!(report.contains("none is missing in between"), "{report}");
    let lines = audited_in_all(&file);
    let recorded = lines.iter().filter(|line| line.text("db.query.text") == "SELECT $1, $2").count();
    assert_eq!(recorded, 3 * EACH);
    let of = |reason: &str| lines.iter().filter(|line| line.text("event.reason") == reason).count();
    assert!(of("reopened") >= 10, "{}", of("reopened"));
    assert!(of("size") >= 4, "{} in {:?}", of("size"), files(&file));
}

#[tokio::test]
async fn no_text_level_audits_data_parameters_or_passwords() {
    const MARKER: &str = "zq7Marker";
    for level in ["none", "fingerprint", "normalized", "full"] {
        let (stand, file) = stand(&format!("statements = \"{level}\"")).await;
        let client = stand.connect(APP).await.unwrap();
        client.batch_execute("CREATE TABLE t (a text)").await.unwrap();
        let parameter = &[&MARKER as &(dyn tokio_postgres::types::ToSql + Sync)];
        client.execute("INSERT INTO t VALUES ($1)", parameter).await.unwrap();
        for sent in [
            format!("ALTER ROLE app PASSWORD '{MARKER}'; CREATE ROLE other PASSWORD '{MARKER}'"),
            format!("CREATE SUBSCRIPTION s CONNECTION 'postgres://me:{MARKER}@host/db' PUBLICATION p"),
            format!("SET my.password = '{MARKER}'"),
            format!("CREATE USER MAPPING FOR app SERVER s OPTIONS (password '{MARKER}"),
        ] {
            // The server rejects most of them, and all are audited.
            client.simple_query(&sent).await.err();
        }
        let data = stand.server.folder().join("data");
        fs::write(&data, format!("{MARKER}\n")).unwrap();
        let address = stand.listener;
        let connection = format!(
            "host={} port={} user=app password=app-password dbname=app sslmode=disable",
            address.ip(),
            address.port()
        );
        let copied = psql(&connection, &format!("\\copy t from '{}'", data.display())).await;
        assert!(copied.success, "{}", copied.stderr);
        client.simple_query("SELECT count(*) FROM t").await.unwrap();
        drop(client);
        let lines = audited_until(&file, |line| line.action() == "session.closed").await;
        let recorded = lines.iter().filter(|line| line.action() == "statement.executed").count();
        assert!(recorded >= 7, "{recorded}");
        let log = fs::read_to_string(&file).unwrap();
        assert!(!log.contains(MARKER), "{level}:\n{log}");
    }
}
