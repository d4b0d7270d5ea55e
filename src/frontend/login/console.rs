//! Login to the console: a database name served by the program itself.
//!
//! Promises: only authenticated clients reach the console. Refuses to know: the console's commands.

use std::{pin::Pin, sync::Arc};

use super::handshake::ClientHandshake;
use crate::{
    client_error::ClientError,
    frontend::registry::console_session::ConsoleSessionGuard,
    handshake::Negotiation,
    names::{DatabaseName, UserName},
    telemetry::ClientPresence,
    tls::Stream,
    wire::StartupMessage,
};

/// Serves clients in place of a database.
pub trait Console: Send + Sync {
    /// True if `database` is the console's name.
    fn is_called(&self, database: &DatabaseName) -> bool;

    /// True if clients of a listener without authentication are admitted.
    fn serves_unproved_users(&self) -> bool;

    /// Admits or rejects a user.
    ///
    /// # Errors
    /// The error for a rejected client.
    fn admit(&self, user: &UserName) -> Result<(), ClientError>;

    /// Serves a client until it leaves or its session is ended.
    fn serve<'a>(&'a self, client: ConsoleClient) -> Pin<Box<dyn Future<Output = ()> + 'a>>;
}

/// An admitted client, before AuthenticationOk.
pub struct ConsoleClient {
    /// Connection of the client.
    pub stream: Stream,
    /// Bytes read ahead.
    pub unread: Vec<u8>,
    /// Messages to send before AuthenticationOk.
    pub output: Vec<u8>,
    /// Registration of the session; commands and cancel requests arrive here.
    pub visit: ConsoleSessionGuard,
    /// Counts the client by state.
    pub presence: ClientPresence,
}

/// Database for password verification: exists on every server, and every user may connect by default.
const JUDGED_IN: &str = "postgres";

impl ClientHandshake {
    /// The console, if requested by the client.
    pub(crate) fn console(&self) -> Option<Arc<dyn Console>> {
        let console = self.services.console.as_ref()?;
        console.is_called(self.facts.database.as_ref()?).then(|| Arc::clone(console))
    }

    /// Authenticates the client and serves the console session to its end.
    pub(crate) async fn visit(
        mut self,
        console: Arc<dyn Console>,
        mut startup: StartupMessage,
        negotiation: Negotiation,
        presence: ClientPresence,
    ) -> Option<()> {
        let user = self.facts.user.clone()?;
        if self.is_relayed() {
            self.refuse(ClientError::console_needs_proof()).await;
            return None;
        }
        if self.asks_for_no_proof() && !console.serves_unproved_users() {
            self.refuse(ClientError::console_refuses_trust()).await;
            return None;
        }
        if let Err(client_error) = self.on_the_list(&user) {
            self.refuse(client_error).await;
            return None;
        }
        // A server that verifies the password needs an existing database.
        startup.set("database", JUDGED_IN);
        let (startup, _, proved) = self.prove(&user, startup, negotiation).await?;
        if let Err(client_error) = console.admit(&user) {
            self.reject(client_error).await;
            return None;
        }
        let Ok(visit) = self
            .services
            .sessions
            .register_console_session(Arc::clone(&self.facts), startup.version().secret_bytes())
        else {
            self.refuse(ClientError::internal("the system provides no random numbers")).await;
            return None;
        };
        let (stream, unread) = self.client?.into_parts();
        let client = ConsoleClient { stream, unread, output: proved.output, visit, presence };
        console.serve(client).await;
        Some(())
    }
}
