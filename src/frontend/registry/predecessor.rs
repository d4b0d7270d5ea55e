//! Cancel requests for sessions of the process that this one has replaced.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use crate::wire::BackendKey;

/// Sessions of the process that this one has replaced, until that process has ended.
pub struct PredecessorSessions {
    requests: mpsc::Sender<ForwardedCancel>,
}

/// A cancel request for another process.
pub struct ForwardedCancel {
    /// The key, which no session of this process has.
    pub key: BackendKey,
    /// Address of the client that requests it.
    pub client: Option<SocketAddr>,
    /// Receives true if a session of the other process has the key, once the request is carried out.
    pub found: oneshot::Sender<bool>,
}

/// Maximum number of requests that wait for the other process; further keys count as unknown.
pub const MAX_FORWARDED_CANCELS: usize = 64;
/// Limit on the wait for the other process, which repeats requests to a read pool for up to 5 s.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

// === impl PredecessorSessions ===

impl PredecessorSessions {
    /// Sessions whose cancel requests the receiver carries out. A dropped receiver: there are none.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<ForwardedCancel>) {
        let (requests, receiver) = mpsc::channel(MAX_FORWARDED_CANCELS);
        (Self { requests }, receiver)
    }

    /// Forwards a cancel request; true if a session has the key.
    ///
    /// Cancel safety: dropped half-way, the statement may or may not have been canceled.
    pub(super) async fn cancel(&self, key: &BackendKey, client: Option<SocketAddr>) -> bool {
        let (found, answer) = oneshot::channel();
        match self.requests.try_send(ForwardedCancel { key: key.clone(), client, found }) {
            Ok(()) => timeout(ANSWER_TIMEOUT, answer).await.is_ok_and(|answer| answer.unwrap_or(false)),
            Err(mpsc::error::TrySendError::Closed(_)) => false,
            Err(mpsc::error::TrySendError::Full(_)) => {
                tracing::warn!("too many cancel requests for the process before this one");
                false
            }
        }
    }
}
