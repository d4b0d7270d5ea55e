//! Login by relaying the client's own dialog with the server.

use std::{io, sync::Arc, time::Instant};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant as Deadline, timeout_at},
};

use super::{
    backend_login::{BackendLogin, Failed, LoginResult, client_key, report_role},
    backend_source::BackendSource,
    greet::GreetError,
    unauthenticated_client::UnauthenticatedClient,
};
use crate::{
    backend::{Dialed, EndpointHandle, reported_role},
    blame::Chain,
    client_error::ClientError,
    frontend::{
        acquire::Connected,
        registry::current_backend::{CurrentBackend, OwnBackend},
    },
    handshake::{Relay, RelayError, Relayed},
    tls::Stream,
};

/// Relays the client's dialog, until `deadline`; time on hold does not count.
///
/// Cancel safety: dropped half-way, the connections break off.
pub(crate) async fn log_in(
    mut login: BackendLogin<'_>,
    client: &mut UnauthenticatedClient,
    deadline: Deadline,
) -> Result<LoginResult, Failed> {
    let began = Instant::now();
    login.tag_startup();
    let connect = |endpoint: EndpointHandle| async move { endpoint.dial().await };
    let (Connected { backend: dialed, endpoint, held }, reason) = login.connect(client, connect).await?;
    let Dialed { mut stream, peer, .. } = dialed;
    let mut entropy = [0; 32];
    aws_lc_rs::rand::fill(&mut entropy).map_err(|_| Failed::no_entropy())?;
    let relay = Relay::new(&login.startup, login.negotiation, entropy);
    let dialog = relay_login(relay, client, &mut stream);
    let (relayed, backend_unread, greeting) =
        timeout_at(deadline + held, dialog).await.map_err(|_| Failed::Late)??;
    match relayed {
        Relayed::Refused(refused) => {
            Err(Failed::ByServer { words: Vec::new(), sqlstate: refused.fault().sqlstate() })
        }
        Relayed::LoggedIn { version, method, parameters, server_key, client_key: given, status } => {
            tracing::debug!(endpoint = %endpoint.name(), ?method, "login relayed");
            report_role(&login.services.observers.evidence, &endpoint, reported_role(&parameters));
            let local = stream.tcp().and_then(|tcp| tcp.local_addr().ok());
            Ok(LoginResult {
                greeting,
                presence: Some(endpoint.metrics().connected()),
                backend: BackendSource::Own { stream, unread: backend_unread, status },
                current_backend: Some(CurrentBackend::Own(Arc::new(OwnBackend {
                    endpoint: endpoint.clone(),
                    server_key,
                    peer,
                    local,
                }))),
                endpoint,
                reason,
                user: login.user,
                client_key: match given {
                    Some(key) => key,
                    None => client_key(None, version)?,
                },
                took: began.elapsed(),
            })
        }
    }
}

/// Relays messages in both directions until the dialog ends. Returns the bytes read from the server after the dialog,
/// and the messages that an admitted client has not received yet.
async fn relay_login(
    mut relay: Relay,
    client: &mut UnauthenticatedClient,
    server: &mut Stream,
) -> Result<(Relayed, Vec<u8>, Vec<u8>), Failed> {
    let gone = |error| Failed::Greet(GreetError::Gone(error));
    let mut unread: Vec<u8> = Vec::with_capacity(1024);
    loop {
        let taken = relay.on_server(&unread).map_err(dialog_broke)?;
        unread.drain(..taken.bytes);
        let count = relay.on_client(client.unread()).map_err(dialog_broke)?;
        client.take(count);
        let to_client = relay.poll_client_output().unwrap_or_default();
        if let Some(ready @ Relayed::LoggedIn { .. }) = taken.outcome {
            return Ok((ready, unread, to_client));
        }
        client.say(&to_client).await.map_err(gone)?;
        if let Some(bytes) = relay.poll_server_output() {
            server.write_all(&bytes).await.map_err(server_gone)?;
            server.flush().await.map_err(server_gone)?;
        }
        if let Some(refused) = taken.outcome {
            return Ok((refused, unread, Vec::new()));
        }
        tokio::select! {
            read = server.read_buf(&mut unread) => if read.map_err(server_gone)? == 0 {
                return Err(server_gone(io::ErrorKind::UnexpectedEof.into()));
            },
            read = client.read_more(), if relay.listens_to_client() => read.map_err(gone)?,
        }
    }
}

fn server_gone(error: io::Error) -> Failed {
    tracing::warn!(%error, "server closed the connection during a relayed login");
    Failed::Refused(ClientError::backend_lost(false))
}

fn dialog_broke(error: RelayError) -> Failed {
    match error {
        RelayError::Client(violation) => Failed::Refused(ClientError::protocol(violation.to_string())),
        RelayError::Server(_) | RelayError::OnlyChannelBinding => {
            tracing::warn!(error = %Chain(&error), "relayed login failed");
            Failed::Refused(ClientError::endpoint(crate::blame::Blame::Endpoint, error.to_string()))
        }
        RelayError::ChannelBinding => Failed::Refused(ClientError::channel_binding(error.to_string())),
    }
}
