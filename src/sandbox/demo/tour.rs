//! The guided tour: each stop announces, shows and verifies a feature.

use std::{
    fs,
    io::Write,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use super::{
    super::{
        ALICE_AT_LISTENERS as ALICE, DATABASE, FakeGoogle, FrontListener, NativeUser, Node, Sandbox,
        SandboxOptions, run::wait_until,
    },
    DemoError, PATIENCE, expect,
    process::Process,
};

/// Starts the processes and takes the tour; without `once` the call then waits for the end of Gatekeeper.
///
/// Cancel safety: started processes are stopped.
pub(super) async fn take_tour(once: bool, iam: bool, out: &mut impl Write) -> Result<(), DemoError> {
    let began = Instant::now();
    let sandbox = Sandbox::start(SandboxOptions::default()).await?;
    let up = began.elapsed();
    let google = match iam {
        true => Some(start_google(&sandbox).await?),
        false => None,
    };
    let began = Instant::now();
    let front = Process::start(&sandbox, google.as_ref())?;
    let mut tour = Tour { sandbox: &sandbox, front, out };
    tour.opening(up)?;
    tour.front.ready().await?;
    if google.is_some() {
        tour.metadata_server(began.elapsed())?;
    }
    tour.how_to_connect()?;
    tour.every_endpoint().await?;
    tour.writes().await?;
    tour.refusals().await?;
    tour.expired_tokens().await?;
    tour.metrics().await?;
    tour.audit().await?;
    if !once {
        tour.say("\nEverything keeps running until Ctrl-C.\n")?;
        tour.front.ended().await?;
    }
    Ok(())
}

struct Tour<'a, W> {
    sandbox: &'a Sandbox,
    front: Process<'a>,
    out: &'a mut W,
}

/// Starts a metadata server with the account of the tour's login.
async fn start_google(sandbox: &Sandbox) -> Result<FakeGoogle, DemoError> {
    let started = FakeGoogle::start_for(sandbox.tokens()).await;
    let google = started.map_err(|source| DemoError::Io { what: "starting the metadata server", source })?;
    google.set_account(Some(ALICE.name));
    Ok(google)
}

/// Output of `psql`.
struct PsqlOutput {
    success: bool,
    text: String,
}

impl<W: Write> Tour<'_, W> {
    fn opening(&mut self, took: Duration) -> Result<(), DemoError> {
        let sandbox = self.sandbox;
        let mut text = format!(
            "A throwaway cluster shaped like AlloyDB, in {}, up in {:.1} s:\n{}\n\n",
            sandbox.folder().display(),
            took.as_secs_f32(),
            sandbox.installation().version().trim()
        );
        for cluster in sandbox.clusters() {
            for endpoint in cluster.endpoints() {
                let nodes: Vec<_> = endpoint.nodes().iter().map(Node::name).collect();
                text += &format!(
                    "  {:9} {:8}  {:9}  {:18}  {}\n",
                    cluster.name(),
                    endpoint.name(),
                    endpoint.role(),
                    endpoint.address(),
                    nodes.join(" + ")
                );
            }
        }
        self.say(&text)
    }

    /// `took`: time from the start until Gatekeeper had logged in everywhere.
    fn metadata_server(&mut self, took: Duration) -> Result<(), DemoError> {
        self.say(&format!(
            "\nTokens come from a metadata server of the sandbox, as on GKE. {} ms after its start Gatekeeper had\n\
             logged in to every endpoint with them.\n",
            took.as_millis()
        ))
    }

    fn how_to_connect(&mut self) -> Result<(), DemoError> {
        let mut text =
            "\nOne Gatekeeper in front of it, a listener for each endpoint. Try them:\n\n".to_owned();
        for listener in self.sandbox.listeners() {
            text += &format!("  {:9} psql '{}'\n", listener.name, target(&listener, ALICE));
        }
        text += &format!(
            "\n  metrics   curl http://{}/metrics\n  audit     tail -f {}\n  log       tail -f {}\n",
            self.sandbox.admin_address(),
            self.sandbox.audit_file().display(),
            self.front.log.display()
        );
        self.say(&text)
    }

    async fn every_endpoint(&mut self) -> Result<(), DemoError> {
        self.say(
            "\n1. Every endpoint, each with its own TLS and login. The client shows its password to Gatekeeper; the \
             server\n   sees a token that Gatekeeper minted, over a connection whose certificate was verified.\n\n",
        )?;
        let sql =
            "SELECT current_setting('cluster_name') AS node, pg_is_in_recovery() AS standby, current_user";
        for listener in self.sandbox.listeners() {
            self.succeeds(&listener, sql).await?;
        }
        let mints = self.sandbox.tokens().mint_count();
        self.say(&format!("   Tokens minted so far, for these logins and the probe's: {mints}.\n"))
    }

    async fn writes(&mut self) -> Result<(), DemoError> {
        self.say("\n2. A write goes to the primary, and is soon seen in the other region.\n\n")?;
        let [app, reads, dr_reads] =
            [self.listener("app"), self.listener("reads"), self.listener("dr-reads")];
        self.succeeds(
            &app,
            "INSERT INTO customers (name, country) VALUES ('Demo', 'NZ') RETURNING name, country",
        )
        .await?;
        self.sandbox.node("dr-reads-1").catch_up(self.sandbox.node("primary")).await?;
        self.succeeds(&dr_reads, "SELECT name, country FROM customers WHERE name = 'Demo'").await?;
        self.say("   A read pool refuses to write, in its own words:\n\n")?;
        self.fails(&reads, ALICE, "DELETE FROM customers", "read-only transaction").await
    }

    async fn refusals(&mut self) -> Result<(), DemoError> {
        self.say("\n3. Who may not come in. An unknown user and a wrong password look alike, and no token is spent.\n\n")?;
        let app = self.listener("app");
        let minted = |user: &str| self.sandbox.tokens().mints_for(user);
        let before = minted(ALICE.name);
        let refused = "password authentication failed";
        self.fails(&app, NativeUser { password: "guessed", ..ALICE }, "SELECT 1", refused).await?;
        let mallory = NativeUser { name: "mallory@example.com", password: "guessed" };
        self.fails(&app, mallory, "SELECT 1", refused).await?;
        let spent = minted(ALICE.name) - before + minted(mallory.name);
        expect(spent == 0, "no token for a refused login", || format!("{spent} were minted"))
    }

    async fn expired_tokens(&mut self) -> Result<(), DemoError> {
        self.say("\n4. Every token expires at once. The next login mints another, and its client notices nothing.\n\n")?;
        self.sandbox.tokens().expire_all(self.sandbox.node("primary")).await?;
        let app = self.listener("app");
        self.succeeds(&app, "SELECT 'logged in' AS result").await
    }

    async fn metrics(&mut self) -> Result<(), DemoError> {
        self.say(&format!(
            "\n5. All of it by endpoint and role.\n\n$ curl -s http://{}/metrics | grep …\n",
            self.sandbox.admin_address()
        ))?;
        let metrics = self.front.get("/metrics").await?;
        for name in SHOWN {
            let series = metrics.lines().filter(|line| line.starts_with(name) && !line.ends_with(" 0"));
            let lines: Vec<_> = series.collect();
            expect(!lines.is_empty(), &format!("a value of {name}"), || "none is there".to_owned())?;
            self.say(&format!("{}\n", lines.join("\n")))?;
        }
        Ok(())
    }

    async fn audit(&mut self) -> Result<(), DemoError> {
        let file = self.sandbox.audit_file();
        self.say(&format!("\n6. And the audit log.\n\n$ tail -n 3 {}\n", file.display()))?;
        let lines = wait_until("an audit record of the last login", PATIENCE, async || {
            let text = fs::read_to_string(&file).unwrap_or_default();
            let lines: Vec<_> = text.lines().map(str::to_owned).collect();
            Ok(if lines.len() >= 3 { Ok(lines) } else { Err(text) })
        });
        let lines = lines.await?;
        self.say(&format!("{}\n", lines[lines.len() - 3..].join("\n")))
    }

    async fn succeeds(&mut self, listener: &FrontListener, sql: &str) -> Result<(), DemoError> {
        let PsqlOutput { success, text } = self.ask(listener, ALICE, sql).await?;
        expect(success, "an answer", || text)
    }

    async fn fails(
        &mut self,
        listener: &FrontListener,
        user: NativeUser,
        sql: &str,
        words: &str,
    ) -> Result<(), DemoError> {
        let PsqlOutput { success, text } = self.ask(listener, user, sql).await?;
        expect(!success && text.contains(words), &format!("`{words}`"), || text)
    }

    /// Runs `psql` and prints the input and output.
    async fn ask(
        &mut self,
        listener: &FrontListener,
        user: NativeUser,
        sql: &str,
    ) -> Result<PsqlOutput, DemoError> {
        let mut psql = Command::new(self.sandbox.installation().psql());
        psql.args(["-X", "-d", &target(listener, user), "-c", sql]).stdin(Stdio::null());
        // Excludes settings, passwords and certificates of the current user.
        psql.env("HOME", "/nonexistent");
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PG")) {
            psql.env_remove(name);
        }
        let output = tokio::process::Command::from(psql).kill_on_drop(true).output().await;
        let output = output.map_err(|source| DemoError::Io { what: "running psql", source })?;
        let text =
            [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        self.say(&format!("{}@{}=> {sql};\n{}\n\n", user.name, listener.name, text.trim_end()))?;
        Ok(PsqlOutput { success: output.status.success(), text })
    }

    fn listener(&self, name: &str) -> FrontListener {
        let mut listeners = self.sandbox.listeners().into_iter();
        listeners
            .find(|listener| listener.name == name)
            .expect("the sandbox has a listener for each endpoint")
    }

    fn say(&mut self, text: &str) -> Result<(), DemoError> {
        self.out
            .write_all(text.as_bytes())
            .and_then(|()| self.out.flush())
            .map_err(|source| DemoError::Io { what: "writing to standard output", source })
    }
}

/// The series that the tour shows.
const SHOWN: [&str; 4] = [
    "gatekeeper_statements_total",
    "gatekeeper_connects_total",
    "gatekeeper_token_mints_total",
    "gatekeeper_authentication_failures_total",
];

fn target(listener: &FrontListener, user: NativeUser) -> String {
    let (ip, port) = (listener.address.ip(), listener.address.port());
    format!("host={ip} port={port} dbname={DATABASE} user={} password={}", user.name, user.password)
}
