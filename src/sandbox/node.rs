//! A PostgreSQL server of a sandbox, with controls.

use std::{
    fs,
    net::SocketAddr,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use super::{
    Certificate, Installation, SandboxError,
    authority::Authority,
    run::{run, wait_until},
};

/// A PostgreSQL server. Methods may be called in any order; they act on the real server and report the result.
pub struct Node {
    name: String,
    folder: PathBuf,
    address: SocketAddr,
    installation: Arc<Installation>,
    identity: Option<NodeIdentity>,
    process: Mutex<Option<Child>>,
}

/// Name and issuer of a node's certificate.
pub(super) struct NodeIdentity {
    pub(super) authority: Arc<Authority>,
    pub(super) dns_name: String,
    /// The address clients dial, which need not be the node's own.
    pub(super) dialed: std::net::IpAddr,
}

/// How a server is asked to stop; see the signals of `postgres` in the server's manual.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// When the last client has gone (SIGTERM).
    Smart,
    /// Now, with a checkpoint; sessions are ended and standbys get the last WAL (SIGINT).
    Fast,
    /// At once, with a notice to every session (SIGQUIT).
    Immediate,
}

/// How long a server may take to start or stop, on a machine that is busy.
const SERVER_WAIT_LIMIT: Duration = Duration::from_secs(30);
/// Line of `postmaster.pid` with the server's state, counted from 0.
const STATE_LINE: usize = 7;

impl Node {
    /// A server not yet started, in `folder`, with an existing data directory.
    pub(super) fn new(
        name: &str,
        folder: PathBuf,
        address: SocketAddr,
        installation: Arc<Installation>,
        identity: Option<NodeIdentity>,
    ) -> Result<Self, SandboxError> {
        let node = Self {
            name: name.to_owned(),
            folder,
            address,
            installation,
            identity,
            process: Mutex::default(),
        };
        node.issue_certificate(Certificate::Named)?;
        Ok(node)
    }

    /// Name of the node.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// TCP address of the server, without middleman.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Folder of the Unix-domain socket, which lets superuser `postgres` in without password.
    #[must_use]
    pub fn socket_dir(&self) -> &Path {
        &self.folder
    }

    /// Data directory.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Contents of the log.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read(self.folder.join("log"))
            .map(|log| String::from_utf8_lossy(&log).into_owned())
            .unwrap_or_default()
    }

    /// Process ID of a running postmaster.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        let mut process = self.process();
        let child = process.as_mut()?;
        // The check also collects the exit status.
        matches!(child.try_wait(), Ok(None)).then(|| child.id())
    }

    /// Starts the server and waits until connections are accepted. No effect on a running server.
    ///
    /// Cancel safety: the server may be left running.
    ///
    /// # Errors
    /// [`SandboxError::Ended`] with the end of the log.
    pub async fn start(&self) -> Result<(), SandboxError> {
        self.start_without_waiting()?;
        self.ready().await
    }

    /// Starts the server without waiting.
    pub(super) fn start_without_waiting(&self) -> Result<(), SandboxError> {
        if self.pid().is_some() {
            return Ok(());
        }
        let what = || format!("starting server `{}`", self.name);
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder.join("log"))
            .map_err(SandboxError::io(what()))?;
        let mut postgres = self.installation.command("postgres");
        postgres.arg("-D").arg(self.data_dir()).process_group(0);
        postgres.stdout(Stdio::null()).stderr(log);
        *self.process() = Some(postgres.spawn().map_err(SandboxError::io(what()))?);
        Ok(())
    }

    /// Waits until the server accepts connections.
    pub(super) async fn ready(&self) -> Result<(), SandboxError> {
        wait_until(&format!("server `{}` accepting connections", self.name), SERVER_WAIT_LIMIT, async || {
            let Some(pid) = self.pid() else {
                return Err(SandboxError::Ended { node: self.name.clone(), log: last_lines(&self.log()) });
            };
            let lock = fs::read_to_string(self.data_dir().join("postmaster.pid")).unwrap_or_default();
            let lines: Vec<_> = lock.lines().map(str::trim).collect();
            // A crashed server leaves the file behind, with the crashed server's process ID.
            let ours = lines.first().is_some_and(|first| *first == pid.to_string());
            let state = lines.get(STATE_LINE).filter(|_| ours).copied().unwrap_or("starting");
            Ok(if state == "ready" { Ok(()) } else { Err(state.to_owned()) })
        })
        .await
    }

    /// Stops the server and waits for the end. No effect on a stopped server.
    ///
    /// Cancel safety: the server may still be stopping.
    ///
    /// # Errors
    /// [`SandboxError::Timeout`] if the server does not end.
    pub async fn stop(&self, how: Stop) -> Result<(), SandboxError> {
        let signal = match how {
            Stop::Smart => Signal::TERM,
            Stop::Fast => Signal::INT,
            Stop::Immediate => Signal::QUIT,
        };
        self.send_signal(signal);
        self.ended().await
    }

    /// Kills all processes of the server, as a failing machine would: without notice to sessions.
    ///
    /// # Errors
    /// [`SandboxError::Timeout`] if the server does not end.
    pub async fn crash(&self) -> Result<(), SandboxError> {
        self.send_to_all(Signal::KILL);
        self.ended().await
    }

    /// Stops all processes (SIGSTOP): connections stay open, the kernel accepts new connections, and the server does
    /// not respond.
    pub fn freeze(&self) {
        self.send_to_all(Signal::STOP);
    }

    /// Lets a frozen server run on.
    pub fn thaw(&self) {
        self.send_to_all(Signal::CONT);
    }

    /// Reloads configuration and certificates.
    pub fn reload(&self) {
        self.send_signal(Signal::HUP);
    }

    /// Runs `sql` in `database` as superuser over the control socket; returns rows as printed by `psql -At`, without
    /// the last line break.
    ///
    /// Cancel safety: a dropped call may leave the statement running.
    ///
    /// # Errors
    /// [`SandboxError::Command`] with the server's message.
    pub async fn sql(&self, database: &str, sql: &str) -> Result<String, SandboxError> {
        let mut psql = self.installation.control(&self.folder, self.address.port(), database);
        psql.args(["-c", sql]);
        let rows = run(&format!("`{sql}` on `{}`", self.name), psql).await?;
        Ok(rows.trim_end_matches('\n').to_owned())
    }

    /// Changes a setting of the server and reloads. Works on standbys, too.
    ///
    /// # Errors
    /// [`SandboxError::Command`] with the server's message.
    pub async fn set(&self, setting: &str, value: &str) -> Result<(), SandboxError> {
        // Two commands: ALTER SYSTEM cannot run in a transaction, and `-c` wraps several statements into a transaction.
        self.sql("postgres", &format!("ALTER SYSTEM SET {setting} = '{}'", value.replace('\'', "''")))
            .await?;
        self.sql("postgres", "SELECT pg_reload_conf()").await.map(drop)
    }

    /// True for a standby.
    ///
    /// # Errors
    /// [`SandboxError::Command`] if the server does not respond.
    pub async fn is_standby(&self) -> Result<bool, SandboxError> {
        Ok(self.sql("postgres", "SELECT pg_is_in_recovery()").await? == "t")
    }

    /// Promotes a standby. The previous primary is not notified: there may be two writers afterwards.
    ///
    /// # Errors
    /// [`SandboxError::Command`] if the server is not a standby.
    pub async fn promote(&self) -> Result<(), SandboxError> {
        self.sql("postgres", "SELECT pg_promote()").await.map(drop)
    }

    /// Delays the replay of each commit by `delay`; zero ends the lag.
    ///
    /// # Errors
    /// [`SandboxError::Command`] with the server's message.
    pub async fn lag(&self, delay: Duration) -> Result<(), SandboxError> {
        self.set("recovery_min_apply_delay", &format!("{}ms", delay.as_millis())).await
    }

    /// The standby receives WAL without replay.
    ///
    /// # Errors
    /// [`SandboxError::Command`] if the server is not a standby.
    pub async fn pause_replay(&self) -> Result<(), SandboxError> {
        self.sql("postgres", "SELECT pg_wal_replay_pause()").await.map(drop)
    }

    /// A standby replays again.
    ///
    /// # Errors
    /// [`SandboxError::Command`] if the server is not a standby.
    pub async fn resume_replay(&self) -> Result<(), SandboxError> {
        self.sql("postgres", "SELECT pg_wal_replay_resume()").await.map(drop)
    }

    /// Waits until all current WAL of `writer` is replayed.
    ///
    /// # Errors
    /// [`SandboxError::Timeout`] if the standby does not catch up.
    pub async fn catch_up(&self, writer: &Self) -> Result<(), SandboxError> {
        let goal = writer.sql("postgres", "SELECT pg_current_wal_lsn()").await?;
        let sql = format!("SELECT pg_last_wal_replay_lsn() >= '{goal}', pg_last_wal_replay_lsn()");
        wait_until(&format!("`{}` replaying {goal}", self.name), SERVER_WAIT_LIMIT, async || {
            let seen = self.sql("postgres", &sql).await?;
            Ok(if seen.starts_with('t') { Ok(()) } else { Err(seen) })
        })
        .await
    }

    /// Waits until the standby receives WAL.
    ///
    /// # Errors
    /// [`SandboxError::Timeout`] without WAL.
    pub async fn streaming(&self) -> Result<(), SandboxError> {
        let sql = "SELECT coalesce(max(status), 'not connected') FROM pg_stat_wal_receiver";
        wait_until(&format!("`{}` streaming", self.name), SERVER_WAIT_LIMIT, async || {
            let seen = self.sql("postgres", sql).await?;
            Ok(if seen == "streaming" { Ok(()) } else { Err(seen) })
        })
        .await
    }

    /// Changes the certificate for new connections. Reloads the server.
    ///
    /// # Errors
    /// When the files cannot be written.
    pub fn present(&self, kind: Certificate) -> Result<(), SandboxError> {
        self.issue_certificate(kind)?;
        self.reload();
        Ok(())
    }

    /// Installation of the server.
    pub(super) fn installation(&self) -> &Installation {
        &self.installation
    }

    /// Position of the last record of a cleanly stopped server.
    pub(super) async fn last_checkpoint(&self) -> Result<String, SandboxError> {
        let mut controldata = self.installation.command("pg_controldata");
        controldata.arg("-D").arg(self.data_dir());
        let output = run("pg_controldata", controldata).await?;
        let position = output.lines().find_map(|line| line.strip_prefix("Latest checkpoint location:"));
        Ok(position.unwrap_or_default().trim().to_owned())
    }

    /// The next start is that of a standby.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn become_standby(&self) -> Result<(), SandboxError> {
        let signal = self.data_dir().join("standby.signal");
        fs::write(&signal, "")
            .and_then(|()| self.installation.account().give_ownership(&signal))
            .map_err(SandboxError::io(format!("making `{}` a standby", self.name)))
    }

    fn issue_certificate(&self, kind: Certificate) -> Result<(), SandboxError> {
        let Some(NodeIdentity { authority, dns_name, dialed }) = &self.identity else { return Ok(()) };
        authority
            .issue_certificate(kind, dns_name, *dialed)?
            .install(&self.folder, self.installation.account())
            .map_err(SandboxError::io(format!("installing the certificate of `{}`", self.name)))
    }

    async fn ended(&self) -> Result<(), SandboxError> {
        wait_until(&format!("server `{}` ending", self.name), SERVER_WAIT_LIMIT, async || {
            Ok(match self.pid() {
                None => Ok(()),
                Some(pid) => Err(format!("process {pid} running")),
            })
        })
        .await
    }

    fn send_signal(&self, signal: Signal) {
        if let Some(pid) = self.postmaster() {
            // The process may have ended already.
            let _ = kill_process(pid, signal);
        }
    }

    /// The postmaster first, so that no new children start, then the children, which have separate process groups.
    fn send_to_all(&self, signal: Signal) {
        let Some(postmaster) = self.postmaster() else { return };
        let id = postmaster.as_raw_pid();
        let children = || fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        // A killed postmaster has no children any more: children are listed before, and for a frozen postmaster again
        // afterwards.
        let mut all = children();
        let _ = kill_process(postmaster, signal);
        all += &children();
        for child in all.split_whitespace().filter_map(|id| id.parse().ok()).filter_map(Pid::from_raw) {
            let _ = kill_process(child, signal);
        }
    }

    fn postmaster(&self) -> Option<Pid> {
        self.pid().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw)
    }

    fn process(&self) -> MutexGuard<'_, Option<Child>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The last lines of a log, for an error message.
fn last_lines(log: &str) -> String {
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
