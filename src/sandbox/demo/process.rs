//! Gatekeeper as a separate process.

use std::{
    fs::{self, File},
    io,
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{
    super::{FakeGoogle, FrontListener, Sandbox, run::POLL_INTERVAL},
    DemoError, PROCESS_WAIT_LIMIT, expect,
};

/// A listener of the tour alone, in transaction pooling.
pub(super) struct PooledListener {
    name: &'static str,
    route: &'static str,
    port: u16,
    /// Backends of one pool.
    size: usize,
}

/// A pool with one backend, which several sessions share, and a listener that splits reads from writes.
pub(super) const POOLED: [PooledListener; 2] = [
    PooledListener { name: "pooled", route: "primary", port: 15436, size: 1 },
    PooledListener { name: "split", route: "split", port: 15437, size: 20 },
];

// === impl PooledListener ===

impl PooledListener {
    /// The listener as the tour connects to it.
    pub(super) fn in_front_of(&self, sandbox: &Sandbox) -> FrontListener {
        let address = (sandbox.admin_address().ip(), self.port).into();
        FrontListener { name: self.name, route: self.route, address }
    }

    fn toml(&self, sandbox: &Sandbox) -> String {
        let FrontListener { name, route, address } = self.in_front_of(sandbox);
        format!(
            "\n[[listener]]\nname = \"{name}\"\nbind = \"{address}\"\nroute = \"{route}\"\n\
             auth = {{ method = \"scram\", users_file = \"users.toml\" }}\n\
             pool = {{ mode = \"transaction\", size = {} }}\n",
            self.size
        )
    }
}

/// A running Gatekeeper with the sandbox's configuration, killed when dropped.
pub(super) struct Process<'a> {
    sandbox: &'a Sandbox,
    child: Child,
    pub(super) log: PathBuf,
}

impl<'a> Process<'a> {
    /// Starts Gatekeeper. With `google`, tokens come from the fake metadata server.
    pub(super) fn start(sandbox: &'a Sandbox, google: Option<&FakeGoogle>) -> Result<Self, DemoError> {
        let io = |source| DemoError::Io { what: "starting gatekeeper", source };
        let folder = sandbox.folder();
        let (config, log) = (folder.join("gatekeeper.toml"), folder.join("gatekeeper.log"));
        let mut toml = if google.is_some() { sandbox.iam_config_toml()? } else { sandbox.config_toml()? };
        for listener in POOLED {
            toml += &listener.toml(sandbox);
        }
        fs::write(&config, toml).map_err(io)?;
        let mut gatekeeper = Command::new(std::env::current_exe().map_err(io)?);
        gatekeeper.args(["run", "--config"]).arg(&config);
        // The guard finds the process by working folder and process ID; a process group shields the process from
        // Ctrl-C.
        gatekeeper.current_dir(folder).process_group(0);
        for (name, _) in
            std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("GATEKEEPER_"))
        {
            gatekeeper.env_remove(name);
        }
        if let Some(google) = google {
            gatekeeper.env("GCE_METADATA_HOST", google.host());
        }
        gatekeeper.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log).map_err(io)?);
        let child = gatekeeper.spawn().map_err(io)?;
        let process = Self { sandbox, child, log };
        fs::write(folder.join("gatekeeper.pid"), process.child.id().to_string()).map_err(io)?;
        Ok(process)
    }

    /// Waits until every listener's route can serve.
    pub(super) async fn ready(&mut self) -> Result<(), DemoError> {
        let end = Instant::now() + PROCESS_WAIT_LIMIT;
        loop {
            self.check()?;
            let seen = match self.request("/readyz").await {
                Ok(answer) if answer.split(' ').nth(1) == Some("200") => return Ok(()),
                Ok(answer) => answer,
                Err(error) => error.to_string(),
            };
            expect(Instant::now() < end, "every listener ready", || seen)?;
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Waits for an unexpected exit.
    pub(super) async fn ended(&mut self) -> Result<(), DemoError> {
        loop {
            self.check()?;
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    fn check(&mut self) -> Result<(), DemoError> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            _ => Err(DemoError::Ended(fs::read_to_string(&self.log).unwrap_or_default())),
        }
    }

    /// Body of an admin API response.
    pub(super) async fn get(&self, path: &str) -> Result<String, DemoError> {
        self.request(path).await.map_err(|source| DemoError::Io { what: "asking the admin API", source })
    }

    async fn request(&self, path: &str) -> io::Result<String> {
        let mut stream = TcpStream::connect(self.sandbox.admin_address()).await?;
        // HTTP/1.0: the answer ends with the connection, and is not cut in chunks.
        stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    }
}

impl Drop for Process<'_> {
    fn drop(&mut self) {
        // No drain: the clients belong to the tour, and the servers are about to stop.
        let _ = kill_process(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }
}
