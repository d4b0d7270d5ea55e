//! Rebuild of a node from another node, as AlloyDB replaces the nodes of a read pool.

use std::fs;

use super::{Node, SandboxError, Stop, run::run};

/// Files of a server to keep in the data directory.
const OWN: [&str; 2] = ["postgresql.conf", "pg_hba.conf"];

impl Node {
    /// Discards the data and makes the node a standby of `writer`: the way back after a promotion. Settings changed by
    /// [`Node::set`] are lost. Returns once the standby receives WAL.
    ///
    /// Cancel safety: none; a dropped call may leave the node without files.
    ///
    /// # Errors
    /// [`SandboxError::Command`] with the output of `pg_basebackup`, [`SandboxError::Ended`] with the end of the log.
    pub async fn rebuild(&self, writer: &Self) -> Result<(), SandboxError> {
        let what = format!("rebuilding `{}`", self.name());
        let data = self.data_dir();
        self.stop(Stop::Immediate).await?;
        let mut own = Vec::with_capacity(OWN.len());
        for file in OWN {
            own.push(fs::read(data.join(file)).map_err(SandboxError::io(&*what))?);
        }
        fs::remove_dir_all(&data).map_err(SandboxError::io(&*what))?;
        let mut backup = self.installation().command("pg_basebackup");
        backup.args(["-c", "fast", "-X", "stream", "--no-sync", "-U", "postgres", "-D"]).arg(&data);
        backup.arg("-h").arg(writer.socket_dir()).args(["-p", &writer.address().port().to_string()]);
        run(&what, backup).await?;
        for (file, text) in OWN.into_iter().zip(own) {
            // Written in place: the files stay the server's own.
            fs::write(data.join(file), text).map_err(SandboxError::io(&*what))?;
        }
        self.become_standby()?;
        self.start().await?;
        self.streaming().await
    }
}
