//! Sends requests to the collector.

use std::io;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};
use zeroize::Zeroizing;

use super::{ExportTarget, Resource, connection::Connector};

/// Sends requests to one collector, and logs the first failure and the first success after one.
pub(in crate::telemetry) struct OtlpSender {
    target: ExportTarget,
    connector: Connector,
    /// Content of the requests, for the log.
    what: &'static str,
    /// The collector accepted the last request; the next failure is logged.
    well: bool,
}

/// Size limit of a response in bytes: only the first line is used.
const MAX_RESPONSE_BYTES: usize = 512;

// === impl OtlpSender ===

impl OtlpSender {
    pub(in crate::telemetry) fn new(target: ExportTarget, what: &'static str) -> Self {
        let connector = Connector::new(target.ca_file.clone());
        Self { target, connector, what, well: true }
    }

    /// Attributes of the process.
    pub(in crate::telemetry) const fn resource(&self) -> &Resource {
        &self.target.resource
    }

    /// Sends a request; false if the collector does not accept it in time.
    pub(in crate::telemetry) async fn send(&mut self, body: &[u8]) -> bool {
        let sent = timeout(self.target.timeout, self.exchange(body)).await;
        let sent = sent.unwrap_or_else(|late| Err(late.into()));
        let (collector, what) = (&self.target.collector, self.what);
        match &sent {
            Ok(()) if !self.well => tracing::info!(%collector, "collector accepts {what} again"),
            Err(error) if self.well => {
                tracing::warn!(%collector, %error, "collector does not accept {what}; {what} are dropped");
            }
            _ => {}
        }
        self.well = sent.is_ok();
        self.well
    }

    /// <https://opentelemetry.io/docs/specs/otlp/#otlphttp-request>
    async fn exchange(&mut self, body: &[u8]) -> io::Result<()> {
        let ExportTarget { collector, headers, .. } = &self.target;
        let mut stream = self.connector.connect(collector).await?;
        let head = Zeroizing::new(format!(
            "POST {} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/x-protobuf\r\n\
             content-length: {}\r\nconnection: close\r\n{}\r\n",
            collector.path,
            collector.authority,
            body.len(),
            headers.lines(),
        ));
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(body).await?;
        stream.flush().await?;
        let mut answer = Vec::new();
        stream.take(MAX_RESPONSE_BYTES as u64).read_to_end(&mut answer).await?;
        let line = answer.split(|byte| *byte == b'\r').next().unwrap_or_default();
        match line.split(|byte| *byte == b' ').nth(1) {
            Some([b'2', _, _]) => Ok(()),
            _ => Err(io::Error::other(format!("it answered `{}`", line.escape_ascii()))),
        }
    }
}
