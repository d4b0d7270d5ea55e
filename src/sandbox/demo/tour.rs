//! The guided tour: each stop announces, shows and verifies a feature.

use std::{
    fs,
    io::Write,
    process::Stdio,
    time::{Duration, Instant},
};

use super::{
    super::{
        ALICE_AT_LISTENERS as ALICE, FakeGoogle, FrontListener, NativeUser, Node, Sandbox, SandboxOptions,
        run::wait_until,
    },
    DemoError, PROCESS_WAIT_LIMIT, expect,
    process::{POOLED, Process},
    psql::{PsqlSession, command, target},
};

/// Starts the processes and takes the tour; without `once` the call then waits for the end of Gatekeeper.
///
/// Cancel safety: what was started is stopped.
pub(super) async fn take_tour(once: bool, iam: bool, out: &mut impl Write) -> Result<(), DemoError> {
    write_to(out, PROGRAM)?;
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
    tour.transaction_pooling().await?;
    tour.split_reads().await?;
    tour.status_page().await?;
    tour.failover().await?;
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
            "\nOne Gatekeeper in front of it: a listener for each endpoint, one with a pool by transaction, and one that\n\
             splits reads from writes. Try them:\n\n"
                .to_owned();
        for listener in self.listeners() {
            text += &format!("  {:9} psql '{}'\n", listener.name, target(&listener, ALICE));
        }
        text += &format!(
            "\n  status    http://{0}/ in a browser\n  metrics   curl http://{0}/metrics\n  audit     tail -f {1}\n  log       tail -f {2}\n",
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
        self.say("\n2. A write goes to the primary, and soon appears in the other region.\n\n")?;
        let [app, reads, dr_reads] =
            [self.listener("app"), self.listener("reads"), self.listener("dr-reads")];
        self.succeeds(
            &app,
            "INSERT INTO customers (name, country) VALUES ('Demo', 'NZ') RETURNING name, country",
        )
        .await?;
        self.sandbox.node("dr-reads-1").catch_up(self.sandbox.node("primary")).await?;
        self.succeeds(&dr_reads, "SELECT name, country FROM customers WHERE name = 'Demo'").await?;
        self.say("   A read pool rejects writes, with PostgreSQL's error:\n\n")?;
        self.fails(&reads, ALICE, "DELETE FROM customers", "read-only transaction").await
    }

    async fn refusals(&mut self) -> Result<(), DemoError> {
        self.say("\n3. Rejected logins. An unknown user and a wrong password get the same error, and no token is minted.\n\n")?;
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
        self.say("\n4. All tokens expire at once. The next login mints a new token, without an error for the client.\n\n")?;
        self.sandbox.tokens().expire_all(self.sandbox.node("primary")).await?;
        let app = self.listener("app");
        self.succeeds(&app, "SELECT 'logged in' AS result").await
    }

    async fn transaction_pooling(&mut self) -> Result<(), DemoError> {
        self.say(
            "\n5. Transaction pooling. Two sessions share a pool with one backend: the process id of the server is the \
             same.\n   Each session keeps its own settings.\n\n",
        )?;
        let listener = self.listener("pooled");
        let mut sessions = [("one", "5MB"), ("two", "7MB")].map(|(name, memory)| {
            PsqlSession::open(self.sandbox, &listener, ALICE).map(|session| (name, memory, session))
        });
        let [Ok(one), Ok(two)] = &mut sessions else {
            return sessions.into_iter().find_map(Result::err).map_or(Ok(()), Err);
        };
        for (name, memory, session) in [&mut *one, &mut *two] {
            let sql = format!("SET work_mem = '{memory}'");
            self.ask_session(name, session, &sql).await?;
        }
        let sql = "SELECT pg_backend_pid(), current_setting('work_mem')";
        let mut processes = Vec::new();
        for (name, memory, session) in [&mut *one, &mut *two] {
            let rows = self.ask_session(name, session, sql).await?;
            let (process, shown) = rows.split_once('|').unwrap_or_default();
            expect(shown == *memory, &format!("work_mem of {memory}"), || rows.clone())?;
            processes.push(process.to_owned());
        }
        expect(processes[0] == processes[1], "one backend for both sessions", || processes.join(" and "))?;
        self.say("\n   LISTEN cannot be carried to another backend. It pins session one, and the reason is visible:\n\n")?;
        self.ask_session("one", &mut one.2, "LISTEN news").await?;
        self.shows_metric("gatekeeper_pins_total", "reason=\"listen\"").await?;
        self.ask_session("one", &mut one.2, "UNLISTEN *").await?;
        self.ask_session("two", &mut two.2, "SELECT 'session two has the backend again'").await?;
        Ok(())
    }

    async fn split_reads(&mut self) -> Result<(), DemoError> {
        self.say(
            "\n6. Read/write splitting. One listener: a proved read goes to a read pool, a write to the primary. The \
             reason is\n   an answer away, and a session sees its own writes.\n\n",
        )?;
        let listener = self.listener("split");
        let mut session = PsqlSession::open(self.sandbox, &listener, ALICE)?;
        let read = "SELECT count(*) FROM customers WHERE name = 'Demo'";
        // The first reads go to the primary: the catalog of the database is read meanwhile.
        wait_until("a read on a read pool", PROCESS_WAIT_LIMIT, async || {
            let rows = session.ask(&format!("{read};\nSHOW gatekeeper.last_route")).await;
            let rows = rows.unwrap_or_else(|error| error.to_string());
            Ok(if rows.contains("reads (") { Ok(()) } else { Err(rows) })
        })
        .await?;
        let write = "UPDATE customers SET country = 'AU' WHERE name = 'Demo'";
        for (sql, endpoint) in [(read, "reads ("), (write, "primary (")] {
            self.ask_session("split", &mut session, sql).await?;
            let route = self.ask_session("split", &mut session, "SHOW gatekeeper.last_route").await?;
            expect(route.starts_with(endpoint), &format!("a route to {endpoint}…)"), || route.clone())?;
        }
        let seen = self
            .ask_session("split", &mut session, "SELECT country FROM customers WHERE name = 'Demo'")
            .await?;
        expect(seen == "AU", "the session's own write", || seen.clone())?;
        self.ask_session("split", &mut session, "SHOW gatekeeper.last_route").await?;
        Ok(())
    }

    async fn status_page(&mut self) -> Result<(), DemoError> {
        let page = format!("http://{}/", self.sandbox.admin_address());
        let answer = self.front.get("/").await?;
        let is_page = answer.contains(" 200 ") && answer.contains("<title>Gatekeeper</title>");
        expect(is_page, "the status page", || answer.lines().next().unwrap_or_default().to_owned())?;
        self.say(&format!(
            "\n7. The status page: topology, sessions with their pins, pools and events, live ({} bytes, nothing from\n   \
             elsewhere). Open {page} in a browser.\n",
            answer.len()
        ))?;
        let answer = self.front.get("/v1/topology").await?;
        expect(answer.contains("\"writer\""), "the topology with its writer", || answer.clone())
    }

    async fn failover(&mut self) -> Result<(), DemoError> {
        self.say(
            "\n8. Failover. The primary is killed with all its connections, and starts again. Its clients stay \
             connected: session two\n   waits, and session one learns that its transaction has to run again.\n\n",
        )?;
        let listener = self.listener("split");
        let (mut one, mut two) = (
            PsqlSession::open(self.sandbox, &listener, ALICE)?,
            PsqlSession::open(self.sandbox, &listener, ALICE)?,
        );
        self.ask_session("one", &mut one, "BEGIN").await?;
        self.ask_session("one", &mut one, "UPDATE customers SET country = 'NZ' WHERE name = 'Demo'").await?;
        self.ask_session("two", &mut two, "UPDATE customers SET country = 'AU' WHERE name = 'customer 1'")
            .await?;
        let primary = self.sandbox.node("primary");
        primary.crash().await?;
        // A statement that reaches a connection before its end does would be in doubt.
        tokio::time::sleep(Duration::from_millis(100)).await;
        let began = Instant::now();
        let write = "UPDATE customers SET country = 'UK' WHERE name = 'customer 1' RETURNING country";
        let front = &self.front;
        let returns = async {
            // Session two waits by now, and the probe has found the primary down.
            let held = wait_until("clients on hold", PROCESS_WAIT_LIMIT, async || {
                let answer = front.get("/readyz?listener=split").await.unwrap_or_default();
                Ok(if answer.contains("\"holding\":true") { Ok(answer) } else { Err(answer) })
            });
            let held = held.await?;
            primary.start().await?;
            Ok::<_, DemoError>(held)
        };
        let (rows, held) = tokio::try_join!(two.ask(write), returns)?;
        let waited = began.elapsed();
        expect(rows.starts_with("UK"), "the row of session two", || rows.clone())?;
        let readiness = held.lines().last().unwrap_or_default();
        self.say(&format!(
            "$ curl -s http://{}/readyz?listener=split\n{readiness}\n",
            self.sandbox.admin_address()
        ))?;
        self.say(&format!("two=> {write};\n{rows}\n   (answered after {:.1} s)\n", waited.as_secs_f32()))?;
        self.ask_session("one", &mut one, "COMMIT").await?;
        let state = self.ask_session("one", &mut one, "\\echo :LAST_ERROR_SQLSTATE").await?;
        expect(state.starts_with("40001"), "SQLSTATE 40001 for session one", || state.clone())?;
        self.ask_session("one", &mut one, "SELECT 'still connected'").await.map(drop)
    }

    async fn metrics(&mut self) -> Result<(), DemoError> {
        self.say(&format!(
            "\n9. All of it by endpoint and role.\n\n$ curl -s http://{}/metrics | grep …\n",
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
        self.say(&format!("\n10. And the audit log.\n\n$ tail -n 3 {}\n", file.display()))?;
        let lines = wait_until("an audit record of the last login", PROCESS_WAIT_LIMIT, async || {
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
        let mut psql = command(self.sandbox, listener, user);
        psql.args(["-c", sql]).stdin(Stdio::null());
        let output = tokio::process::Command::from(psql).kill_on_drop(true).output().await;
        let output = output.map_err(|source| DemoError::Io { what: "running psql", source })?;
        let text =
            [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        self.say(&format!("{}@{}=> {sql};\n{}\n\n", user.name, listener.name, text.trim_end()))?;
        Ok(PsqlOutput { success: output.status.success(), text })
    }

    /// Runs a statement in an open session and shows both.
    async fn ask_session(
        &mut self,
        name: &str,
        session: &mut PsqlSession,
        sql: &str,
    ) -> Result<String, DemoError> {
        let rows = session.ask(sql).await?;
        self.say(&format!("{name}=> {sql};\n{rows}\n"))?;
        Ok(rows)
    }

    /// Shows the series of a metric with `label`, once it has a value.
    async fn shows_metric(&mut self, name: &str, label: &str) -> Result<(), DemoError> {
        let front = &self.front;
        let series = wait_until("a value of a metric", PROCESS_WAIT_LIMIT, async || {
            let metrics = front.get("/metrics").await.unwrap_or_default();
            let mut lines = metrics.lines().filter(|line| line.starts_with(name) && line.contains(label));
            let found = lines.find(|line| !line.ends_with(" 0")).map(str::to_owned);
            Ok(found.ok_or(metrics))
        });
        let series = series.await?;
        self.say(&format!(
            "$ curl -s http://{}/metrics | grep {name}\n{series}\n",
            self.sandbox.admin_address()
        ))
    }

    /// The listeners of the sandbox, and those of the tour.
    fn listeners(&self) -> Vec<FrontListener> {
        let mut listeners = self.sandbox.listeners();
        listeners.extend(POOLED.iter().map(|listener| listener.in_front_of(self.sandbox)));
        listeners
    }

    fn listener(&self, name: &str) -> FrontListener {
        let mut listeners = self.listeners().into_iter();
        listeners.find(|listener| listener.name == name).expect("the tour knows its listeners")
    }

    fn say(&mut self, text: &str) -> Result<(), DemoError> {
        write_to(self.out, text)
    }
}

fn write_to(out: &mut impl Write, text: &str) -> Result<(), DemoError> {
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|source| DemoError::Io { what: "writing to standard output", source })
}

/// What the tour shows, before anything is started.
const PROGRAM: &str = "\
Gatekeeper demo. It starts PostgreSQL servers in the shape of an AlloyDB cluster (a primary, a read pool of two nodes,
a secondary cluster in another region), in memory and on loopback, and Gatekeeper in front. The tour shows:

  1. every endpoint with its own TLS and token     6. read/write splitting, with the reason
  2. a write, and a read in the other region       7. the status page
  3. rejected logins                               8. metrics by endpoint and role
  4. expired tokens                                9. the audit log
  5. transaction pooling, and a pin

Everything is removed at the end.

";

/// The series that the tour shows.
const SHOWN: [&str; 4] = [
    "gatekeeper_statements_total",
    "gatekeeper_connects_total",
    "gatekeeper_token_mints_total",
    "gatekeeper_authentication_failures_total",
];
