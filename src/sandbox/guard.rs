//! What ends everything when the owner ends, even when it is killed.

use std::{
    io,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Stdio},
};

/// What the guard does, in `sh`.
const SCRIPT: &str = include_str!("sh/guard.sh");

/// A shell that outlives us: it reads from a pipe that only we hold the other end of, and when that closes it stops the
/// servers in the sandbox's folder and removes the folder. Dropping the guard waits for that.
///
/// The kernel closes the pipe whatever ends us, SIGKILL included; the shell has a process group of its own, so what a
/// terminal or a test runner sends to ours does not reach it.
#[derive(Debug)]
pub(super) struct Guard {
    shell: Child,
}

impl Guard {
    pub(super) fn start(folder: &Path) -> io::Result<Self> {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", SCRIPT, "sandbox-guard"]).arg(folder);
        shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).current_dir("/");
        Ok(Self { shell: shell.process_group(0).spawn()? })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}
