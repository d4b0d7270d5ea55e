//! Error of a server in response to an SSLRequest.
//!
//! The server is not authenticated yet, so the text is untrusted, and shown to operators only (CVE-2024-10977).

use std::time::Duration;

use tokio::{
    io::{AsyncRead, AsyncReadExt},
    time::timeout,
};

use super::refused::log_text;
use crate::wire::ErrorFields;

/// Bytes that are read at most.
const MAX_REFUSAL_BYTES: u64 = 8192;

/// Maximum wait for the rest of the text.
const REST_WAIT_LIMIT: Duration = Duration::from_secs(1);

/// Text of an ErrorResponse behind the tag, in the layout of protocol 3 or 2.
pub(super) async fn read_refusal(from: &mut (impl AsyncRead + Unpin)) -> String {
    let mut bytes = Vec::new();
    let mut from = from.take(MAX_REFUSAL_BYTES);
    // Servers close the connection afterwards; the bytes until then, or until the time limit, are the text.
    timeout(REST_WAIT_LIMIT, async { while from.read_buf(&mut bytes).await.is_ok_and(|read| read > 0) {} })
        .await
        .ok();
    match bytes.split_first_chunk::<4>() {
        Some((&length, body)) if u64::from(u32::from_be_bytes(length)) <= MAX_REFUSAL_BYTES => {
            log_text(&ErrorFields::new(body))
        }
        _ => {
            let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
            let text = String::from_utf8_lossy(bytes.get(..end).unwrap_or_default());
            text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
        }
    }
}
