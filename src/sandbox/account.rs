//! The account that servers run as: PostgreSQL refuses to run as root.

use std::{
    ffi::OsStr,
    io,
    os::unix::{fs::chown, process::CommandExt as _},
    path::Path,
    process::{Command, Stdio},
};

use super::SandboxError;

/// The account of the servers and their files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Account {
    /// The current account.
    Ours,
    /// User `postgres`, if the current user is root.
    Postgres { user: u32, group: u32 },
}

impl Account {
    pub(super) fn find() -> Result<Self, SandboxError> {
        if !is_root() {
            return Ok(Self::Ours);
        }
        let id = |flag: &str| {
            let output = Command::new("id").args([flag, "postgres"]).stderr(Stdio::null()).output().ok()?;
            String::from_utf8(output.stdout).ok()?.trim().parse().ok()
        };
        match (id("-u"), id("-g")) {
            (Some(user), Some(group)) => Ok(Self::Postgres { user, group }),
            _ => Err(SandboxError::NoAccount),
        }
    }

    /// A command for the account, with a clean environment.
    pub(super) fn command(self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("LC_ALL", "C").env("PATH", "/usr/bin:/bin").current_dir("/");
        command.stdin(Stdio::null());
        if let Self::Postgres { user, group } = self {
            command.uid(user).gid(group);
        }
        command
    }

    /// Makes the account the owner of `path`.
    pub(super) fn give_ownership(self, path: &Path) -> io::Result<()> {
        match self {
            Self::Ours => Ok(()),
            Self::Postgres { user, group } => chown(path, Some(user), Some(group)),
        }
    }
}

/// True if the process may write to `/etc` and change the user.
pub(super) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
