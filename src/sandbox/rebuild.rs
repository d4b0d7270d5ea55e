//! Making a node anew from another one, as AlloyDB replaces the nodes of a read pool.

use std::fs;

use super::{Node, SandboxError, Stop, run::run};

/// What is a server's own in its data directory.
const OWN: [&str; 2] = ["postgresql.conf", "pg_hba.conf"];

impl Node {
    /// Throws away all that it holds and makes it a standby with what `writer` holds now: the way back for a node that was
    /// promoted. What was set by [`Node::set`] is lost. Returns when it receives WAL.
    ///
    /// Cancel safety: none; it may be left without its files.
    ///
    /// # Errors
    /// [`SandboxError::Command`] with what `pg_basebackup` said, [`SandboxError::Ended`] with the end of its log.
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
