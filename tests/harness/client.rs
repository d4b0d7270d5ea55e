//! Clients: `tokio-postgres` and `psql`.

use std::{net::SocketAddr, path::Path, process::Stdio};

use tokio::{net::TcpStream, process::Command};
use tokio_postgres::{Client, Config, Error, NoTls, config::SslMode, tls::TlsConnect};

use super::tls::{Tls, client_tls};

/// Connects to `address` in the clear. `parameters` as in libpq: `user=app password=app-password dbname=app`.
pub async fn connect(address: SocketAddr, parameters: &str) -> Result<Client, Error> {
    raw(address, parameters, SslMode::Disable, NoTls).await
}

/// Connects to `address` with TLS, trusting the CAs in `ca_file` if the server's certificate carries `name`.
pub async fn connect_tls(
    address: SocketAddr,
    parameters: &str,
    ca_file: &Path,
    name: &str,
) -> Result<Client, Error> {
    raw(address, parameters, SslMode::Require, Tls { config: client_tls(ca_file), name: name.to_owned() })
        .await
}

async fn raw<T>(address: SocketAddr, parameters: &str, mode: SslMode, tls: T) -> Result<Client, Error>
where
    T: TlsConnect<TcpStream>,
    T::Stream: Send + 'static,
{
    let mut config: Config = parameters.parse()?;
    config.ssl_mode(mode);
    let stream =
        TcpStream::connect(address).await.unwrap_or_else(|error| panic!("connecting to {address}: {error}"));
    stream.set_nodelay(true).unwrap();
    let (client, connection) = config.connect_raw(stream, tls).await?;
    #[expect(
        clippy::disallowed_methods,
        reason = "it ends with its client, at the latest with the test's runtime"
    )]
    tokio::spawn(async move {
        // An error is the client's to notice.
        let _ = connection.await;
    });
    Ok(client)
}

/// Output of `psql`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Psql {
    pub success: bool,
    /// Rows, unaligned, without the last line break.
    pub rows: String,
    /// Standard error: errors and notices.
    pub stderr: String,
}

/// Runs `sql` with the `psql` on the path; `connection` as in libpq: `host=… sslmode=verify-full sslrootcert=…`.
pub async fn psql(connection: &str, sql: &str) -> Psql {
    psql_at(Path::new("psql"), connection, sql).await
}

/// Runs `psql` of another version.
pub async fn psql_at(program: &Path, connection: &str, sql: &str) -> Psql {
    let mut command = Command::new(program);
    // The caller's own settings, passwords and certificates stay out.
    command.env("HOME", "/nonexistent");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PG")) {
        command.env_remove(name);
    }
    command.args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-d", connection, "-c", sql]).stdin(Stdio::null());
    let output = command.kill_on_drop(true).output().await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end_matches('\n').to_owned();
    Psql { success: output.status.success(), rows: text(&output.stdout), stderr: text(&output.stderr) }
}
