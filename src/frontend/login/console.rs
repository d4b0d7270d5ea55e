//! The way to the console: a database that no endpoint has, and whoever asks for it talks to the program itself.
//!
//! Promises: a client gets there only after it has proved who it is. Refuses to know: what the console says.

use std::{pin::Pin, sync::Arc};

use super::handshake::ClientHandshake;
use crate::{
    frontend::registry::console_session::ConsoleSessionGuard,
    handshake::Negotiation,
    names::{DatabaseName, UserName},
    session::Refusal,
    telemetry::ClientPresence,
    tls::Stream,
    wire::StartupMessage,
};

/// What answers in place of a database.
pub trait Console: Send + Sync {
    /// Whether this is the name that clients ask for it by.
    fn is_called(&self, database: &DatabaseName) -> bool;

    /// True if clients of a listener without authentication are admitted.
    fn serves_unproved_users(&self) -> bool;

    /// Whether this user may come in.
    ///
    /// # Errors
    /// What the client is told otherwise.
    fn admit(&self, user: &UserName) -> Result<(), Refusal>;

    /// Serves a client until it leaves or is told to.
    fn serve<'a>(&'a self, client: ConsoleClient) -> Pin<Box<dyn Future<Output = ()> + 'a>>;
}

/// A client that may come in, and has not been told so.
pub struct ConsoleClient {
    /// Its connection.
    pub stream: Stream,
    /// What it said ahead.
    pub unread: Vec<u8>,
    /// What is to be said before AuthenticationOk.
    pub output: Vec<u8>,
    /// Its place among those that are served; orders and cancel requests come this way.
    pub visit: ConsoleSessionGuard,
    /// Counts it under what it is doing.
    pub presence: ClientPresence,
}

/// Every server has it, and every user may connect to it, unless somebody took that away.
const JUDGED_IN: &str = "postgres";

impl ClientHandshake {
    /// The console, if that is what the client asks for.
    pub(crate) fn console(&self) -> Option<Arc<dyn Console>> {
        let console = self.services.console.as_ref()?;
        console.is_called(self.facts.database.as_ref()?).then(|| Arc::clone(console))
    }

    /// Proof of identity and a visit to the console, to its end.
    pub(crate) async fn visit(
        mut self,
        console: Arc<dyn Console>,
        mut startup: StartupMessage,
        negotiation: Negotiation,
        presence: ClientPresence,
    ) -> Option<()> {
        let user = self.facts.user.clone()?;
        if self.is_relayed() {
            self.refuse(Refusal::console_needs_proof()).await;
            return None;
        }
        if self.asks_for_no_proof() && !console.serves_unproved_users() {
            self.refuse(Refusal::console_refuses_trust()).await;
            return None;
        }
        if let Err(refusal) = self.on_the_list(&user) {
            self.refuse(refusal).await;
            return None;
        }
        // Where a server judges the proof, it has to be asked for a database that it has.
        startup.set("database", JUDGED_IN);
        let (startup, _, proved) = self.prove(&user, startup, negotiation).await?;
        if let Err(refusal) = console.admit(&user) {
            self.reject(refusal).await;
            return None;
        }
        let Ok(visit) = self
            .services
            .sessions
            .register_console_session(Arc::clone(&self.facts), startup.version().secret_bytes())
        else {
            self.refuse(Refusal::internal("the system provides no random numbers")).await;
            return None;
        };
        let (stream, unread) = self.client?.into_parts();
        let client = ConsoleClient { stream, unread, output: proved.output, visit, presence };
        console.serve(client).await;
        Some(())
    }
}
