//! An installed PostgreSQL: programs, version, build options.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use super::{SandboxError, account::Account};

/// An installed PostgreSQL server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installation {
    bin: PathBuf,
    psql: PathBuf,
    version: String,
    major: u32,
    pam: bool,
    account: Account,
}

impl Installation {
    /// Searches `bin_dir`, or else `GATEKEEPER_PG_BIN`, the folder of `pg_config` and Debian's
    /// `/usr/lib/postgresql/*/bin`. Selects the newest release of version `major`, or the newest.
    ///
    /// # Errors
    /// [`SandboxError::NoServer`] with the searched folders, [`SandboxError::NoAccount`] if servers cannot run here.
    pub fn find(bin_dir: Option<&Path>, major: Option<u32>) -> Result<Self, SandboxError> {
        let account = Account::find()?;
        let looked = match bin_dir {
            Some(folder) => vec![folder.to_owned()],
            None => usual_folders(),
        };
        looked
            .iter()
            .filter_map(|folder| Self::at(folder, account))
            .filter(|found| major.is_none_or(|wanted| found.major == wanted))
            .max_by_key(|found| found.major)
            .ok_or_else(|| SandboxError::NoServer {
                wanted: major.map(|wanted| format!("{wanted} ")).unwrap_or_default(),
                looked,
            })
    }

    fn at(folder: &Path, account: Account) -> Option<Self> {
        if !folder.join("initdb").is_file() {
            return None;
        }
        // "postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)", "18beta1" before a release.
        let version = output_of(Command::new(folder.join("postgres")).arg("--version").output())?;
        let number = version.split_whitespace().nth(2)?;
        let major = number.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()?;
        let pam = output_of(Command::new(folder.join("pg_config")).arg("--configure").output())
            .is_some_and(|configure| configure.contains("--with-pam"));
        let own = folder.join("psql");
        let psql = if own.is_file() { own } else { PathBuf::from("psql") };
        Some(Self { bin: folder.to_owned(), psql, version, major, pam, account })
    }

    /// Folder of the programs.
    #[must_use]
    pub fn bin_dir(&self) -> &Path {
        &self.bin
    }

    /// A `psql`, of the same version if installed.
    #[must_use]
    pub fn psql(&self) -> &Path {
        &self.psql
    }

    /// The major version, such as 15.
    #[must_use]
    pub const fn major(&self) -> u32 {
        self.major
    }

    /// Output of `postgres --version`.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    pub(super) const fn has_pam(&self) -> bool {
        self.pam
    }

    pub(super) const fn account(&self) -> Account {
        self.account
    }

    /// A program, run as the servers' account.
    pub(super) fn command(&self, program: &str) -> Command {
        self.account.command(self.bin.join(program))
    }

    /// `psql` as superuser over the Unix-domain socket in `socket_dir`; text and unaligned, stops at the first error.
    pub(super) fn control(&self, socket_dir: &Path, port: u16, database: &str) -> Command {
        let mut psql = self.account.command(&self.psql);
        psql.args([
            "-XAtq",
            "-v",
            "ON_ERROR_STOP=1",
            "-U",
            "postgres",
            "-d",
            database,
            "-p",
            &port.to_string(),
            "-h",
        ]);
        psql.arg(socket_dir);
        psql
    }
}

fn usual_folders() -> Vec<PathBuf> {
    let mut folders = Vec::new();
    if let Some(named) = env::var_os("GATEKEEPER_PG_BIN") {
        return vec![named.into()];
    }
    if let Some(folder) = output_of(Command::new("pg_config").arg("--bindir").output()) {
        folders.push(folder.trim().into());
    }
    if let Ok(versions) = fs::read_dir("/usr/lib/postgresql") {
        folders.extend(versions.flatten().map(|version| version.path().join("bin")));
    }
    folders.dedup();
    folders
}

fn output_of(output: std::io::Result<Output>) -> Option<String> {
    let output = output.ok()?;
    if !output.status.success() {
        return None;
    }
    String::from_utf8(output.stdout).ok()
}
