//! Reads the schema of an endpoint's database once, for `gatekeeper classify`.

use std::{io, sync::Arc};

use tokio::runtime::Builder;

use super::doctor::UnknownEndpoint;
use crate::{
    backend::{ConnectError, ConnectRequest, EndpointHandle, EndpointSettings, QueryError},
    config::Config,
    frontend::read_schema_of_connection,
    names::DatabaseName,
    sql::SchemaInfo,
    tasks::Tasks,
    telemetry::Metrics,
    tls::TlsFileError,
    wire::{ProtocolVersion, StartupMessage},
};

/// Reason why an endpoint's system catalogs cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum KnowledgeError {
    /// The configuration has no such endpoint.
    #[error(transparent)]
    UnknownEndpoint(UnknownEndpoint),
    /// The endpoint has no user for a login.
    #[error("Gatekeeper has no login for this endpoint: set a user and a database for its probe")]
    NoLogin,
    /// Threads cannot be started.
    #[error("starting threads")]
    Threads(#[source] io::Error),
    /// The endpoint's certificate or key files are invalid.
    #[error("preparing the connection to the endpoint")]
    Endpoint(#[source] TlsFileError),
    /// The login failed.
    #[error("the login failed")]
    Login(#[source] ConnectError),
    /// The catalog query failed.
    #[error("reading the system catalogs")]
    Unlisted(#[source] QueryError),
}

/// Schema of `database`, or of the probe's database, on the endpoint `asked`. Blocks up to the endpoint's time limits.
///
/// # Errors
/// [`KnowledgeError`].
pub fn knowledge_of(
    config: Config,
    asked: &str,
    database: Option<DatabaseName>,
) -> Result<SchemaInfo, KnowledgeError> {
    let known = config.endpoints.iter().map(|settings| settings.endpoint.name.clone()).collect();
    let settings = config.endpoints.into_iter().find(|settings| settings.endpoint.name.as_str() == asked);
    let settings =
        settings.ok_or_else(|| KnowledgeError::UnknownEndpoint(UnknownEndpoint::new(asked, known)))?;
    let runtime = Builder::new_current_thread().enable_all().build().map_err(KnowledgeError::Threads)?;
    let read = runtime.block_on(read_schema(settings, database));
    // A hung resolver keeps its thread; the shutdown does not wait.
    runtime.shutdown_background();
    read
}

async fn read_schema(
    settings: EndpointSettings,
    database: Option<DatabaseName>,
) -> Result<SchemaInfo, KnowledgeError> {
    let login = settings.probe_login.clone().ok_or(KnowledgeError::NoLogin)?;
    let metrics = Metrics::new().endpoint(&settings.endpoint);
    let (handle, keeper) = EndpointHandle::new(settings, metrics).map_err(KnowledgeError::Endpoint)?;
    let tasks = Arc::new(Tasks::new());
    if let Some(keeper) = keeper {
        tasks.spawn("token keeper", keeper.run(|_mint| {}));
    }
    let database = database.unwrap_or(login.database);
    let mut startup = StartupMessage::new(ProtocolVersion::V3_0);
    startup.set("user", login.user.as_str());
    startup.set("database", database.as_str());
    startup.set("application_name", "gatekeeper classify");
    startup.set("client_encoding", "UTF8");
    let request = ConnectRequest { user: login.user, startup, token_wait: None };
    let connected = handle.connect(request).await.map_err(KnowledgeError::Login);
    let read = match connected {
        Ok(mut backend) => {
            read_schema_of_connection(&mut backend.stream, &[]).await.map_err(KnowledgeError::Unlisted)
        }
        Err(error) => Err(error),
    };
    tasks.shutdown().await;
    read.map(|builder| builder.build(1))
}
