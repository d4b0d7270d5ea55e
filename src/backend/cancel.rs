//! Cancel requests, each on a connection like the session's.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, timeout_at},
};

use super::ConnectFailure;
use crate::{telemetry::labels::ConnectPhase, tls::Stream, wire::BackendKey};

/// Maximum wait for the server to close the connection: by then the signal is sent, or never will be.
const CLOSE_WAIT_LIMIT: Duration = Duration::from_secs(5);

/// Sends the request and waits until the server has processed the request and closes the connection.
///
/// <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-CANCELING-REQUESTS>
pub(super) async fn send(mut stream: Stream, key: &BackendKey) -> Result<(), ConnectFailure> {
    let mut request = zeroize::Zeroizing::new(Vec::new());
    key.write_cancel_request(&mut request);
    let until = Instant::now() + CLOSE_WAIT_LIMIT;
    let exchange = async {
        stream.write_all(&request).await?;
        stream.flush().await?;
        let mut nothing = [0; 64];
        // The server sends nothing on a cancel connection; any bytes are ignored.
        while stream.read(&mut nothing).await? > 0 {}
        io::Result::Ok(())
    };
    match timeout_at(until, exchange).await {
        Ok(Ok(())) => Ok(()),
        // Some servers close without the TLS farewell, or with a reset: closed is closed.
        Ok(Err(error)) if is_closure(&error) => Ok(()),
        Ok(Err(source)) => Err(ConnectFailure::Broken { phase: ConnectPhase::Login, source }),
        Err(_elapsed) => {
            Err(ConnectFailure::Timeout { phase: Some(ConnectPhase::Login), limit: CLOSE_WAIT_LIMIT })
        }
    }
}

fn is_closure(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset)
}
