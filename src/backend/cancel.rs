//! Cancel requests: a connection of their own, of the same kind as the data's.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, timeout_at},
};

use super::ConnectFailure;
use crate::{telemetry::labels::ConnectPhase, tls::Stream, wire::BackendKey};

/// How long it is waited for the server to close: by then it has passed the signal on, or never will.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);

/// Sends the request and waits until the server has acted on it, which it says by closing.
///
/// <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-CANCELING-REQUESTS>
pub(super) async fn send(mut stream: Stream, key: &BackendKey) -> Result<(), ConnectFailure> {
    let mut request = zeroize::Zeroizing::new(Vec::new());
    key.write_cancel_request(&mut request);
    let until = Instant::now() + CLOSE_PATIENCE;
    let exchange = async {
        stream.write_all(&request).await?;
        stream.flush().await?;
        let mut nothing = [0; 64];
        // A server says nothing on this connection; whatever it says is no answer to us.
        while stream.read(&mut nothing).await? > 0 {}
        io::Result::Ok(())
    };
    match timeout_at(until, exchange).await {
        Ok(Ok(())) => Ok(()),
        // Some servers close without the TLS farewell, or with a reset: closed is closed.
        Ok(Err(error)) if is_closure(&error) => Ok(()),
        Ok(Err(source)) => Err(ConnectFailure::Broken { phase: ConnectPhase::Login, source }),
        Err(_elapsed) => {
            Err(ConnectFailure::Timeout { phase: Some(ConnectPhase::Login), limit: CLOSE_PATIENCE })
        }
    }
}

fn is_closure(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset)
}
