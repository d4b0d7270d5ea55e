//! The account that servers run as: PostgreSQL refuses to run as root.

use std::{
    ffi::OsStr,
    io,
    os::unix::{fs::chown, process::CommandExt as _},
    path::Path,
    process::{Command, Stdio},
};

use super::SandboxError;

/// The account that servers run as, and that owns their files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Account {
    /// The one we run as.
    Ours,
    /// User `postgres`, since we are root.
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

    /// A command run as this account, with an environment that says nothing of the caller's.
    pub(super) fn command(self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("LC_ALL", "C").env("PATH", "/usr/bin:/bin").current_dir("/");
        command.stdin(Stdio::null());
        if let Self::Postgres { user, group } = self {
            command.uid(user).gid(group);
        }
        command
    }

    /// Gives `path` to this account.
    pub(super) fn give(self, path: &Path) -> io::Result<()> {
        match self {
            Self::Ours => Ok(()),
            Self::Postgres { user, group } => chown(path, Some(user), Some(group)),
        }
    }
}

/// Whether we may write to `/etc` and become somebody else.
pub(super) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
