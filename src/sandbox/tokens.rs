//! IAM tokens: a minting command, a store for the servers' checks, and revocation.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use super::{
    Installation, Node, SandboxError, SandboxOptions, TokenCheck,
    account::{Account, is_root},
    run::run,
    site::private_folder,
};

/// Tokens of a sandbox.
///
/// As root, with a server that supports PAM, a server runs `check-token` at each login of a member of `alloydbiamuser`.
/// PAM requires a service file in `/etc/pam.d`. The file is the same for every sandbox of a machine, names the script
/// relative to the server's data directory, and is never removed.
pub struct Tokens {
    folder: PathBuf,
    check: Check,
    psql: PathBuf,
    account: Account,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Check {
    Pam,
    RolePassword,
}

const CHECK_TOKEN: &str = include_str!("sh/check-token");
const MINT_TOKEN: &str = include_str!("sh/mint-token");
const PAM_SERVICE: &str = "gatekeeper-sandbox";
const PAM_RULES: &str = "\
# For the throwaway PostgreSQL servers of Gatekeeper's sandbox; the path is relative to a server's data directory.
auth    required pam_exec.so expose_authtok quiet /bin/sh ../../tokens/check-token
account required pam_permit.so
";

impl Tokens {
    pub(super) fn new(
        site: &Path,
        options: &SandboxOptions,
        installation: &Installation,
    ) -> Result<Self, SandboxError> {
        let pam = options.token_check == TokenCheck::Best
            && is_root()
            && installation.has_pam()
            && pam_exec_exists();
        let tokens = Self {
            folder: site.join("tokens"),
            check: if pam { Check::Pam } else { Check::RolePassword },
            psql: installation.psql().to_owned(),
            account: installation.account(),
        };
        tokens.write().map_err(SandboxError::io("making the token store"))?;
        tokens.set_ttl(options.token_ttl)?;
        if pam {
            install_service().map_err(SandboxError::io("writing the PAM service file"))?;
        }
        Ok(tokens)
    }

    fn write(&self) -> io::Result<()> {
        private_folder(&self.folder)?;
        self.account.give_ownership(&self.folder)?;
        for (name, script) in [("check-token", CHECK_TOKEN), ("mint-token", MINT_TOKEN)] {
            let file = self.folder.join(name);
            fs::write(&file, script)?;
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755))?;
        }
        fs::write(self.folder.join("mints"), "")
    }

    /// The command that prints a token for the user in `GATEKEEPER_BACKEND_USER`, for `sh -c`.
    #[must_use]
    pub fn command(&self) -> String {
        self.command_words().join(" ")
    }

    /// The command as words.
    #[must_use]
    pub fn command_words(&self) -> Vec<String> {
        // Through `sh`: memory file systems are often mounted `noexec`.
        vec!["/bin/sh".to_owned(), self.folder.join("mint-token").display().to_string()]
    }

    /// Mints a token for `user`, and counts the mint.
    ///
    /// # Errors
    /// [`SandboxError::Command`] with the command's output if set to fail.
    pub async fn mint(&self, user: &str) -> Result<String, SandboxError> {
        let [shell, script] = [self.command_words().remove(0), self.command_words().remove(1)];
        let mut command = Command::new(shell);
        command.arg(script).arg(user);
        Ok(run("minting a token", command).await?.trim_end().to_owned())
    }

    /// How many times the command was run, failures included.
    #[must_use]
    pub fn mint_count(&self) -> usize {
        self.mints().lines().count()
    }

    /// Number of mints for `user`.
    #[must_use]
    pub fn mints_for(&self, user: &str) -> usize {
        self.mints().lines().filter(|minted| *minted == user).count()
    }

    fn mints(&self) -> String {
        fs::read_to_string(self.folder.join("mints")).unwrap_or_default()
    }

    /// How long tokens minted from now on are good for, in whole seconds.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn set_ttl(&self, ttl: Duration) -> Result<(), SandboxError> {
        fs::write(self.folder.join("ttl"), ttl.as_secs().to_string())
            .map_err(SandboxError::io("setting the token's life"))
    }

    /// Ends the life of every token minted so far. Sessions live on, as with AlloyDB.
    ///
    /// Contacts `writer` only if tokens are role passwords; standbys follow by replay.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn expire_all(&self, writer: &Node) -> Result<(), SandboxError> {
        if self.check == Check::RolePassword {
            let sql = "SELECT format('ALTER ROLE %I VALID UNTIL ''2000-01-01''', r.rolname) FROM pg_roles r \
                       JOIN pg_auth_members m ON m.member = r.oid AND m.roleid = 'alloydbiamuser'::regrole";
            let statements = writer.sql("postgres", sql).await?;
            return writer.sql("postgres", &statements.replace('\n', ";")).await.map(drop);
        }
        self.expire_files().map_err(SandboxError::io("expiring tokens"))
    }

    fn expire_files(&self) -> io::Result<()> {
        for file in fs::read_dir(&self.folder)? {
            let path = file?.path();
            let is_token = path.file_name().is_some_and(|name| name.len() == 64);
            if is_token {
                let old = fs::read_to_string(&path)?;
                let user = old.split_once(' ').map_or("", |(_, user)| user);
                fs::write(&path, format!("0 {user}"))?;
            }
        }
        Ok(())
    }

    /// Makes the command fail with `message` on standard error.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn fail(&self, message: &str) -> Result<(), SandboxError> {
        self.fault(&format!("echo '{}' >&2; exit 1\n", message.replace('\'', "'\\''")))
    }

    /// From now on the command hangs.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn hang(&self) -> Result<(), SandboxError> {
        self.fault("sleep 3600\n")
    }

    /// The command works again.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn heal(&self) -> Result<(), SandboxError> {
        self.fault("")
    }

    fn fault(&self, script: &str) -> Result<(), SandboxError> {
        let (file, new) = (self.folder.join("fault"), self.folder.join("fault.new"));
        fs::write(&new, script)
            .and_then(|()| fs::rename(new, file))
            .map_err(SandboxError::io("changing the token command"))
    }

    /// Sets the writer, which stores tokens if tokens are role passwords.
    pub(super) fn set_writer(&self, writer: &Node) -> Result<(), SandboxError> {
        if self.check == Check::Pam {
            return Ok(());
        }
        let (psql, socket) = (self.psql.display(), writer.socket_dir().display());
        let text = format!("psql='{psql}' socket='{socket}' port={}\n", writer.address().port());
        fs::write(self.folder.join("writer"), text).map_err(SandboxError::io("naming the writer"))
    }

    /// The method in `pg_hba.conf`; either asks for the token in the clear.
    pub(super) fn hba_method(&self) -> String {
        match self.check {
            Check::Pam => format!("pam pamservice={PAM_SERVICE}"),
            Check::RolePassword => "password".to_owned(),
        }
    }
}

fn install_service() -> io::Result<()> {
    let file = Path::new("/etc/pam.d").join(PAM_SERVICE);
    if fs::read_to_string(&file).is_ok_and(|there| there == PAM_RULES) {
        return Ok(());
    }
    // Another sandbox may write the file at the same time.
    let mut new = tempfile::NamedTempFile::new_in("/etc/pam.d")?;
    io::Write::write_all(&mut new, PAM_RULES.as_bytes())?;
    fs::set_permissions(new.path(), fs::Permissions::from_mode(0o644))?;
    new.persist(file).map(drop).map_err(io::Error::from)
}

/// Module folders of Linux-PAM, by distribution.
fn pam_exec_exists() -> bool {
    let roots = ["/lib", "/usr/lib", "/lib64", "/usr/lib64"].map(Path::new);
    let by_architecture = roots.iter().filter_map(|root| fs::read_dir(root).ok()).flatten().flatten();
    let mut folders =
        roots.iter().map(|root| root.to_path_buf()).chain(by_architecture.map(|entry| entry.path()));
    Path::new("/etc/pam.d").is_dir() && folders.any(|folder| folder.join("security/pam_exec.so").is_file())
}
