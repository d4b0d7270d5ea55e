//! Shared parts of a sandbox's servers: folder, installation, block of addresses, guard.

use std::{
    fmt::Write as _,
    fs, io,
    net::{IpAddr, SocketAddr},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    AddressBlock, Installation, SandboxError, SandboxOptions, ServerTls,
    authority::Authority,
    guard::Guard,
    node::{Node, NodeIdentity},
    run::run,
    template::{template, template_folder},
    tokens::Tokens,
};

/// Shared parts of a sandbox's servers.
pub(super) struct Site {
    /// The first field, dropped first: ends the servers and removes the folder.
    _guard: Guard,
    folder: PathBuf,
    template: PathBuf,
    options: SandboxOptions,
    installation: Arc<Installation>,
    block: AddressBlock,
    tokens: Tokens,
}

/// Plan of a server.
pub(super) struct NodePlan<'a> {
    pub(super) name: &'a str,
    pub(super) address: SocketAddr,
    pub(super) authority: &'a Arc<Authority>,
    pub(super) dns_name: &'a str,
    /// The address clients dial.
    pub(super) dialed: IpAddr,
    /// Socket folder of the upstream server, or address of a link to the upstream.
    pub(super) upstream: Option<&'a str>,
    pub(super) standby: bool,
}

impl Site {
    pub(super) async fn open(options: SandboxOptions) -> Result<Self, SandboxError> {
        let installation = Arc::new(Installation::find(options.bin_dir.as_deref(), options.major)?);
        let ground = template_folder()?;
        let template = template(&ground, &installation).await?;
        let folder = tempfile::Builder::new()
            .prefix("run-")
            .permissions(fs::Permissions::from_mode(0o711))
            .tempdir_in(&ground)
            .map_err(SandboxError::io("making the sandbox's folder"))?;
        let guard = Guard::start(folder.path()).map_err(SandboxError::io("starting the guard"))?;
        // From here on the guard removes the folder.
        let folder = folder.keep();
        let tokens = Tokens::new(&folder, &options, &installation)?;
        let block = AddressBlock::claim()?;
        Ok(Self { _guard: guard, folder, template, options, installation, block, tokens })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) const fn block(&self) -> &AddressBlock {
        &self.block
    }

    pub(super) const fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    pub(super) fn installation(&self) -> &Installation {
        &self.installation
    }

    /// Folder of a node's files, existing or not.
    pub(super) fn node_folder(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Makes a server's folder and files.
    pub(super) async fn node(&self, plan: NodePlan<'_>) -> Result<Node, SandboxError> {
        let what = format!("making the files of `{}`", plan.name);
        let folder = self.node_folder(plan.name);
        let data = folder.join("data");
        let account = self.installation.account();
        private_folder(&folder)
            .and_then(|()| account.give_ownership(&folder))
            .map_err(SandboxError::io(&*what))?;
        let mut copy = account.command("cp");
        copy.arg("-a").arg(&self.template).arg(&data);
        run(&what, copy).await?;
        self.configure(&plan, &data).map_err(SandboxError::io(&*what))?;
        let identity = (self.options.tls != ServerTls::Off).then(|| NodeIdentity {
            authority: Arc::clone(plan.authority),
            dns_name: plan.dns_name.to_owned(),
            dialed: plan.dialed,
        });
        Node::new(plan.name, folder, plan.address, Arc::clone(&self.installation), identity)
    }

    fn configure(&self, plan: &NodePlan<'_>, data: &Path) -> io::Result<()> {
        let mut conf = SETTINGS.to_owned();
        let mut set = |name: &str, value: &str| {
            // Writing to a String cannot fail.
            let _ = writeln!(conf, "{name} = '{}'", value.replace('\'', "''"));
        };
        set("listen_addresses", &plan.address.ip().to_string());
        set("port", &plan.address.port().to_string());
        set("unix_socket_directories", "..");
        set("cluster_name", plan.name);
        set("max_connections", &self.options.max_connections.to_string());
        if self.options.tls != ServerTls::Off {
            set("ssl", "on");
            set("ssl_cert_file", "../server.crt");
            set("ssl_key_file", "../server.key");
        }
        if let Some(upstream) = plan.upstream {
            set("primary_conninfo", upstream);
        }
        for (name, value) in &self.options.settings {
            set(name, value);
        }
        let mut all = fs::OpenOptions::new().append(true).open(data.join("postgresql.conf"))?;
        io::Write::write_all(&mut all, conf.as_bytes())?;

        let host = if self.options.tls == ServerTls::Required { "hostssl" } else { "host" };
        let token = self.tokens.hba_method();
        // Written in place: the files stay the servers' own.
        fs::write(
            data.join("pg_hba.conf"),
            format!(
                "local   all         all             trust\n\
                 local   replication all             trust\n\
                 {host} all         +alloydbiamuser 127.0.0.0/8 {token}\n\
                 {host} all         all             127.0.0.0/8 md5\n\
                 {host} replication all             127.0.0.0/8 md5\n"
            ),
        )?;
        if plan.standby {
            let signal = data.join("standby.signal");
            fs::write(&signal, "")?;
            self.installation.account().give_ownership(&signal)?;
        }
        Ok(())
    }
}

/// A folder for the owner and root only.
pub(super) fn private_folder(folder: &Path) -> io::Result<()> {
    fs::create_dir(folder)?;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))
}

/// Settings of every server: no durability, fast start, and logical WAL for both kinds of replication connections.
const SETTINGS: &str = "\
fsync = off
full_page_writes = off
shared_buffers = 16MB
dynamic_shared_memory_type = mmap
wal_level = logical
max_wal_senders = 20
max_replication_slots = 20
wal_keep_size = 128MB
wal_retrieve_retry_interval = 100ms
hot_standby = on
max_prepared_transactions = 20
jit = off
log_connections = on
log_line_prefix = '%m [%p] %q%u@%d '
";
