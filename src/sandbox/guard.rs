//! Guard that ends the sandbox with the owner, even after SIGKILL.

use std::{
    io,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Stdio},
};

/// The guard's script, in `sh`.
const SCRIPT: &str = include_str!("sh/guard.sh");

/// A shell that outlives the process: reads from a pipe whose other end belongs to the process. When the pipe closes,
/// the shell stops the servers in the sandbox's folder and removes the folder. Drop waits for completion.
///
/// The kernel closes the pipe at any end of the process, including SIGKILL. The shell has a separate process group, so
/// signals of a terminal or test runner do not reach the shell.
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
