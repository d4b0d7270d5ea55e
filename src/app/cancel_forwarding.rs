//! Cancel requests on their way from a successor to the process that it has replaced.
//!
//! Both use the connection of the handover, which lasts until one of them ends: lines of JSON, a request and its answer
//! with the same number.

use std::{collections::HashMap, net::SocketAddr, sync::Arc};

use futures_util::{StreamExt, stream::FuturesUnordered};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::{
    io::{
        AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader, Lines, ReadHalf, WriteHalf, split,
    },
    sync::{mpsc, oneshot},
};

use crate::{
    frontend::{ClientServices, ForwardedCancel, MAX_FORWARDED_CANCELS, cancel_for_successor},
    wire::BackendKey,
};

/// A cancel request. Has no `Debug`, because of the secret.
#[derive(Serialize, Deserialize)]
struct CancelMessage {
    id: u64,
    pid: i32,
    secret: Vec<u8>,
    client: Option<SocketAddr>,
}

/// The answer to a cancel request that has been carried out, or has an unknown key.
#[derive(Debug, Serialize, Deserialize)]
struct CancelAnswer {
    id: u64,
    found: bool,
}

/// Messages over one connection.
struct MessageStream<S> {
    lines: Lines<BufReader<ReadHalf<S>>>,
    to: WriteHalf<S>,
}

/// The successor's side: forwards `requests` until the predecessor has ended.
pub(super) async fn forward_cancels(
    stream: impl AsyncRead + AsyncWrite,
    mut requests: mpsc::Receiver<ForwardedCancel>,
) {
    let mut messages = MessageStream::new(stream);
    let mut waiting: HashMap<u64, oneshot::Sender<bool>> = HashMap::new();
    let mut last_id = 0;
    loop {
        tokio::select! {
            answer = messages.receive::<CancelAnswer>() => match answer {
                Some(CancelAnswer { id, found }) => {
                    // The client may have left.
                    waiting.remove(&id).map(|client| client.send(found));
                }
                None => break,
            },
            request = requests.recv(), if waiting.len() < MAX_FORWARDED_CANCELS => {
                let Some(ForwardedCancel { key, client, found }) = request else { break };
                last_id += 1;
                waiting.insert(last_id, found);
                let secret = key.secret().to_vec();
                if !messages.send(&CancelMessage { id: last_id, pid: key.pid(), secret, client }).await {
                    break;
                }
            }
        }
    }
    tracing::info!("the process before this one has ended");
}

/// The predecessor's side: carries out the requests of `stream` until the successor has ended.
pub(super) async fn serve_cancels(stream: impl AsyncRead + AsyncWrite, services: Arc<ClientServices>) {
    let cancel = |key: BackendKey, client| {
        let services = Arc::clone(&services);
        async move { cancel_for_successor(&key, client, &services).await }
    };
    serve_with(stream, cancel).await;
}

async fn serve_with<F: Future<Output = bool>>(
    stream: impl AsyncRead + AsyncWrite,
    cancel: impl Fn(BackendKey, Option<SocketAddr>) -> F,
) {
    let mut messages = MessageStream::new(stream);
    let mut running = FuturesUnordered::new();
    loop {
        tokio::select! {
            request = messages.receive::<CancelMessage>(), if running.len() < MAX_FORWARDED_CANCELS => {
                let Some(CancelMessage { id, pid, secret, client }) = request else { return };
                let canceled = BackendKey::new(pid, &secret).ok().map(|key| cancel(key, client));
                running.push(async move {
                    let found = match canceled {
                        Some(canceled) => canceled.await,
                        None => false,
                    };
                    CancelAnswer { id, found }
                });
            }
            Some(answer) = running.next() => {
                if !messages.send(&answer).await {
                    return;
                }
            }
        }
    }
}

// === impl MessageStream ===

impl<S: AsyncRead + AsyncWrite> MessageStream<S> {
    fn new(stream: S) -> Self {
        let (from, to) = split(stream);
        Self { lines: BufReader::new(from).lines(), to }
    }

    /// The next message; `None` at the end, or if the other process sends something else.
    ///
    /// Cancel safe.
    async fn receive<T: DeserializeOwned>(&mut self) -> Option<T> {
        let line = self.lines.next_line().await.ok()??;
        serde_json::from_str(&line).ok()
    }

    /// Sends a message; false if the other process has ended.
    async fn send(&mut self, message: &impl Serialize) -> bool {
        let Ok(mut line) = serde_json::to_vec(message) else { return false };
        line.push(b'\n');
        self.to.write_all(&line).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use tokio::{io::duplex, time::timeout};

    use super::*;

    fn key(pid: i32) -> BackendKey {
        BackendKey::new(pid, &[7; 32]).unwrap()
    }

    fn request(pid: i32) -> (ForwardedCancel, oneshot::Receiver<bool>) {
        let (found, answer) = oneshot::channel();
        (ForwardedCancel { key: key(pid), client: Some("192.0.2.1:4711".parse().unwrap()), found }, answer)
    }

    #[tokio::test]
    async fn each_request_gets_its_own_answer() {
        let (here, there) = duplex(4096);
        let (requests, receiver) = mpsc::channel(8);
        let serve = serve_with(there, |found: BackendKey, client| async move {
            assert_eq!(client, Some("192.0.2.1:4711".parse().unwrap()));
            // The first one takes longer.
            if found.pid() == 1 {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
            found == key(1)
        });
        let ask = async {
            let ((first, one), (second, two)) = (request(1), request(2));
            requests.send(first).await.unwrap();
            requests.send(second).await.unwrap();
            assert_eq!((two.await, one.await), (Ok(false), Ok(true)));
        };
        tokio::select! {
            () = forward_cancels(here, receiver) => panic!("the predecessor lives"),
            () = serve => panic!("the successor lives"),
            () = ask => {}
        }
    }

    #[tokio::test]
    async fn requests_fail_at_once_when_the_predecessor_has_ended() {
        let (here, there) = duplex(4096);
        let (requests, receiver) = mpsc::channel(8);
        let (waits, answer) = request(1);
        requests.send(waits).await.unwrap();
        let end = async {
            tokio::task::yield_now().await;
            drop(there);
        };
        let limit = std::time::Duration::from_secs(20);
        timeout(limit, async { tokio::join!(forward_cancels(here, receiver), end) }).await.unwrap();
        assert!(answer.await.is_err());
        assert!(requests.is_closed());
    }

    #[tokio::test]
    async fn other_bytes_end_the_connection() {
        let (mut here, there) = duplex(4096);
        here.write_all(b"{\"id\":1,\"pid\":1,\"secret\":[1],\"client\":null}\nHELLO\n").await.unwrap();
        serve_with(there, |_, _| async { panic!("the secret is too short") }).await;
    }
}
