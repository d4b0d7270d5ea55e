//! `gatekeeper healthcheck`, `wait` and `stop`: a container without a shell.

use std::{fs, net::SocketAddr, path::Path, time::Duration};

use gatekeeper::testing::sandbox::{APP, AddressBlock, DATABASE, SandboxOptions, Single, Stop};
use rustix::process::Signal;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    time::timeout,
};

use crate::harness::{
    Checked, Frames, Gatekeeper, Stand,
    pki::{Identity, Pki},
    run_command,
    stand::{admin, config},
    until,
};

const LIMIT: Duration = Duration::from_secs(20);
const KEY: &str = "correct-horse-battery-staple";

/// A server behind Gatekeeper, `[runtime]` as written.
async fn stand(runtime: &str) -> Stand {
    stand_with("", runtime).await
}

/// The same with more keys of the listener.
async fn stand_with(listener: &str, runtime: &str) -> Stand {
    let server = Single::start(SandboxOptions::default()).await.unwrap();
    let listener = format!("auth = {{ method = \"passthrough\" }}\n{listener}");
    let config = config(&server, "login = \"passthrough\"", &listener, runtime);
    let stand = Stand::start(server, &config).await;
    until(LIMIT, async || match stand.gatekeeper.get("/readyz").await {
        Ok(answer) if answer.status == 200 => Ok(()),
        other => Err(other),
    })
    .await;
    stand
}

/// A command with the configuration of `gatekeeper`.
async fn ask(gatekeeper: &Gatekeeper, arguments: &[&str]) -> Checked {
    let file = gatekeeper.config_file().to_str().unwrap();
    run_command(&[arguments, &["--config", file]].concat(), &[]).await
}

/// Asserts exit status 1 and the words `words` in the output.
fn assert_failed(done: &Checked, words: &str) {
    assert!(
        done.code == Some(1) && done.stderr.contains(words) && done.settings.is_empty(),
        "{words}: {done:?}"
    );
    assert_eq!(done.stderr.lines().count(), 1, "{}", done.stderr);
    assert!(!done.stderr.contains(KEY), "{}", done.stderr);
}

/// Writes a configuration with an endpoint without a server, and the given keys of `[admin]`.
fn write_config(folder: &Path, block: &AddressBlock, admin_keys: &str) -> String {
    let file = folder.join("asking.toml");
    let text = format!(
        "[[cluster]]\nname = \"orders\"\n\n\
         [[cluster.endpoint]]\nname = \"primary\"\nrole = \"primary\"\naddress = \"{}\"\n\
         tls = {{ mode = \"disable\" }}\nlogin = \"passthrough\"\n\n\
         [[listener]]\nname = \"app\"\nbind = \"{}\"\nroute = \"primary\"\n\
         auth = {{ method = \"passthrough\" }}\n\n[admin]\n{admin_keys}\n",
        block.address(101),
        block.address(102),
    );
    fs::write(&file, text).unwrap();
    file.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn healthcheck_follows_readiness() {
    let stand = stand_with("hold = \"0s\"", "").await;
    let well = |line: &str| Checked { code: Some(0), settings: format!("{line}\n"), stderr: String::new() };
    let ask = async |arguments: &[&str]| ask(&stand.gatekeeper, arguments).await;
    assert_eq!(ask(&["healthcheck"]).await, well("ready"));
    assert_eq!(ask(&["healthcheck", "--listener", "app"]).await, well("ready"));
    assert_eq!(ask(&["healthcheck", "--live"]).await, well("alive"));
    assert_failed(&ask(&["healthcheck", "--listener", "nowhere"]).await, "unknown listener `nowhere`");
    assert_failed(&ask(&["wait", "--listener", "nowhere"]).await, "unknown listener `nowhere`");

    stand.server.node().stop(Stop::Immediate).await.unwrap();
    let problem = "not ready: listener `app`: endpoint `primary` is down: ";
    until(LIMIT, async || match ask(&["healthcheck"]).await {
        done if done.stderr.contains(problem) => {
            assert_failed(&done, problem);
            Ok(())
        }
        done => Err(done),
    })
    .await;
    assert_eq!(ask(&["healthcheck", "--live"]).await, well("alive"));
    let late = ask(&["wait", "--timeout", "300ms"]).await;
    assert_failed(&late, "not ready after 300ms");
    assert!(late.stderr.contains(problem), "{}", late.stderr);

    let (waited, started) = tokio::join!(ask(&["wait", "--max", "20s"]), stand.server.node().start());
    started.unwrap();
    assert_eq!(waited, well("ready"));
}

#[tokio::test]
async fn wait_covers_the_time_before_the_start() {
    let server = Single::start(SandboxOptions::default()).await.unwrap();
    let text = config(&server, "login = \"passthrough\"", "auth = { method = \"passthrough\" }", "");
    let file = server.folder().join("waiting.toml");
    fs::write(&file, &text).unwrap();
    let arguments = ["wait", "--config", file.to_str().unwrap()];
    let (waited, _gatekeeper) = tokio::join!(run_command(&arguments, &[]), async {
        let refused = run_command(&["healthcheck", "--config", arguments[2]], &[]).await;
        assert_failed(&refused, "cannot connect to the admin API at ");
        Gatekeeper::start(server.folder(), &text, admin(&server)).await
    });
    assert_eq!((waited.code, waited.settings.as_str()), (Some(0), "ready\n"), "{}", waited.stderr);
}

#[tokio::test]
async fn stop_waits_for_open_transactions() {
    /// Counts requests to `/readyz` of a draining program.
    const UNREADY: &str = "gatekeeper_admin_requests_total{outcome=\"error\"}";
    let mut stand = stand("").await;
    let mut open = Frames::log_in(stand.listener, APP, &[("database", DATABASE)]).await;
    open.ask("BEGIN").await.unwrap();
    for _ in 0..3 {
        let done = ask(&stand.gatekeeper, &["stop"]).await;
        assert_eq!(
            (done.code, done.settings.as_str()),
            (Some(0), "stopping; 1 sessions\n"),
            "{}",
            done.stderr
        );
    }
    stand.gatekeeper.wait_for_log("draining").await;
    assert_failed(&ask(&stand.gatekeeper, &["healthcheck"]).await, "not ready: the program is shutting down");
    let late = ask(&stand.gatekeeper, &["stop", "--wait", "--timeout", "200ms"]).await;
    assert_failed(&late, "still running after 200ms");
    assert_eq!(open.ask("SELECT 'not cut off'").await.unwrap(), "not cut off");
    let before = stand.gatekeeper.metric(UNREADY).await;
    let (done, ()) = tokio::join!(ask(&stand.gatekeeper, &["stop", "--wait"]), async {
        // The command has found the process, and waits.
        until(LIMIT, async || match stand.gatekeeper.metric(UNREADY).await {
            now if now > before => Ok(()),
            now => Err(now),
        })
        .await;
        open.ask("COMMIT").await.unwrap();
    });
    assert_eq!((done.code, done.settings.as_str()), (Some(0), "stopped\n"), "{}", done.stderr);
    assert!(stand.gatekeeper.ended().await.success());
    assert_failed(&ask(&stand.gatekeeper, &["stop", "--wait"]).await, "cannot connect to the admin API at ");
}

#[tokio::test]
async fn sessions_that_outlive_the_drain_leave_exit_status_zero() {
    let mut stand = stand("[runtime]\ndrain_timeout = \"200ms\"\n").await;
    let mut open = Frames::log_in(stand.listener, APP, &[("database", DATABASE)]).await;
    open.ask("BEGIN").await.unwrap();
    stand.gatekeeper.signal(Signal::TERM);
    let last = open.read_to_close().await.last().map(|message| message.field(b'C'));
    assert_eq!(last.as_deref(), Some("57P01"));
    assert_eq!(stand.gatekeeper.ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_wrong_key_stops_nothing() {
    let (folder, block) = (tempfile::tempdir().unwrap(), AddressBlock::claim().unwrap());
    let bind: SocketAddr = (block.ip(100), 8080).into();
    let keys = format!("bind = \"{bind}\"\napi_key = {{ env = \"KEY\" }}");
    let file = write_config(folder.path(), &block, &keys);
    let text = fs::read_to_string(&file).unwrap();
    let gatekeeper = Gatekeeper::launch(folder.path(), &text, bind, &[("KEY", KEY)]);
    gatekeeper.wait_for_log("gatekeeper is ready").await;
    let stop = ["stop", "--wait", "--config", &file];
    let refused = run_command(&stop, &[("KEY", "guess")]).await;
    assert_failed(&refused, "refused the configured key");
    assert!(!refused.stderr.contains("guess"), "{}", refused.stderr);
    let keyless = write_config(folder.path(), &block, &format!("bind = \"{bind}\""));
    assert_failed(&run_command(&["stop", "--config", &keyless], &[]).await, "requires a key, but none");
    assert_eq!(gatekeeper.get("/livez").await.unwrap().status, 200);
    let file = write_config(folder.path(), &block, &keys);
    let done = run_command(&["stop", "--wait", "--config", &file], &[("KEY", KEY)]).await;
    assert_eq!((done.code, done.settings.as_str()), (Some(0), "stopped\n"), "{}", done.stderr);
}

#[tokio::test]
async fn a_foreign_certificate_receives_no_key() {
    let (folder, block) = (tempfile::tempdir().unwrap(), AddressBlock::claim().unwrap());
    let bind: SocketAddr = (block.ip(100), 8080).into();
    let pki = Pki::new(folder.path(), "admin");
    let with = |Identity { cert, key }: &Identity| {
        let keys = format!(
            "bind = \"{bind}\"\napi_key = {{ env = \"KEY\" }}\ntls = {{ cert = {cert:?}, key = {key:?} }}"
        );
        write_config(folder.path(), &block, &keys)
    };
    // No certificate contains the address: the certificate itself is compared.
    let (own, other) = (pki.issue("admin.example"), pki.issue("other.example"));
    let text = fs::read_to_string(with(&own)).unwrap();
    let gatekeeper = Gatekeeper::launch(folder.path(), &text, bind, &[("KEY", KEY)]);
    gatekeeper.wait_for_log("gatekeeper is ready").await;
    let file = with(&other);
    let refused = run_command(&["stop", "--config", &file], &[("KEY", KEY)]).await;
    assert_failed(&refused, "presented another certificate");
    let plain = write_config(folder.path(), &block, &format!("bind = \"{bind}\""));
    assert_failed(&run_command(&["healthcheck", "--config", &plain], &[]).await, "the admin API");
    let file = with(&own);
    let live = run_command(&["healthcheck", "--live", "--config", &file], &[("KEY", KEY)]).await;
    assert_eq!((live.code, live.settings.as_str()), (Some(0), "alive\n"), "{}", live.stderr);
    let done = run_command(&["stop", "--wait", "--config", &file], &[("KEY", KEY)]).await;
    assert_eq!((done.code, done.settings.as_str()), (Some(0), "stopped\n"), "{}", done.stderr);
}

#[tokio::test]
async fn mistakes_elsewhere_in_the_file_do_not_count() {
    let stand = stand("").await;
    let file = stand.gatekeeper.config_file();
    let good = fs::read_to_string(file).unwrap();
    fs::write(file, good.replace("route = \"primary\"", "rout = \"primray\"")).unwrap();
    let done = ask(&stand.gatekeeper, &["healthcheck"]).await;
    assert_eq!((done.code, done.stderr.as_str()), (Some(0), ""));
    fs::write(file, format!("{good}\n[[listener\n")).unwrap();
    assert_failed(&ask(&stand.gatekeeper, &["healthcheck"]).await, "gatekeeper.toml:");
}

#[tokio::test]
async fn another_server_is_not_mistaken_for_gatekeeper() {
    let (folder, block) = (tempfile::tempdir().unwrap(), AddressBlock::claim().unwrap());
    let socket = TcpListener::bind((block.ip(100), 8080)).await.unwrap();
    let bind = socket.local_addr().unwrap();
    let file = write_config(folder.path(), &block, &format!("bind = \"{bind}\""));
    for (response, words) in [
        (&b"HTTP/1.1 200 OK\r\n\r\n<html>"[..], "is not Gatekeeper's admin API"),
        (b"HTTP/1.1 200 OK\r\n\r\n[[[[", "is not Gatekeeper's admin API"),
        (b"HTTP/1.1 404 Not Found\r\n\r\nok\n", "is not Gatekeeper's admin API"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "is not the admin API"),
        (b"", "is not the admin API"),
    ] {
        for command in [&["healthcheck"][..], &["healthcheck", "--live"], &["stop", "--wait"]] {
            let arguments = [command, &["--config", &file]].concat();
            let (done, ()) = tokio::join!(run_command(&arguments, &[]), async {
                let accepted = timeout(LIMIT, socket.accept()).await.expect("the command connects");
                let (mut client, _) = accepted.unwrap();
                let mut request = [0; 4096];
                assert!(client.read(&mut request).await.unwrap() > 0);
                client.write_all(response).await.unwrap();
            });
            assert_failed(&done, words);
        }
    }
    // The kernel accepts the connection, and no process answers.
    let silent = run_command(&["healthcheck", "--timeout", "200ms", "--config", &file], &[]).await;
    assert_failed(&silent, "did not answer within 200ms");
}

#[tokio::test]
async fn invalid_options_are_rejected() {
    let (folder, block) = (tempfile::tempdir().unwrap(), AddressBlock::claim().unwrap());
    for command in ["healthcheck", "wait", "stop"] {
        let missing = run_command(&[command, "--config", "/nonexistent/gatekeeper.toml"], &[]).await;
        assert_failed(&missing, "cannot read the configuration file");
        let off = write_config(folder.path(), &block, "enabled = false");
        assert_failed(&run_command(&[command, "--config", &off], &[]).await, "the admin API is turned off");
        let wrong = write_config(folder.path(), &block, "bind = \"nowhere\"");
        assert_failed(
            &run_command(&[command, "--config", &wrong], &[]).await,
            "cannot listen on \"nowhere\"",
        );
    }
    for arguments in [
        &["healthcheck", "--timeout", "5"][..],
        &["healthcheck", "--live", "--listener", "app"],
        &["wait", "--listener", "no name"],
        &["stop", "--timeout", "5s"],
    ] {
        assert_eq!(run_command(arguments, &[]).await.code, Some(2), "{arguments:?}");
    }
    // Variables give the address of the admin API, as for the server.
    let (host, port) = (block.ip(100).to_string(), "9123");
    let variables = [("GATEKEEPER_API_HOST", host.as_str()), ("GATEKEEPER_API_PORT", port)];
    assert_failed(
        &run_command(&["healthcheck"], &variables).await,
        &format!("at {host}:{port} (is Gatekeeper running"),
    );
}
