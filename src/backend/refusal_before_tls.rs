//! What a server says when it answers an SSLRequest with an error.
//!
//! It is not authenticated at that point, so the words are read with suspicion, and shown to nobody but the operator
//! (CVE-2024-10977).

use std::time::Duration;

use tokio::{
    io::{AsyncRead, AsyncReadExt},
    time::timeout,
};

use super::refused::words;
use crate::wire::ErrorFields;

/// Bytes that are read at most.
const LIMIT: u64 = 8192;

/// How long it is waited for the rest of the words.
const PATIENCE: Duration = Duration::from_secs(1);

/// The words of an ErrorResponse whose tag was read already, in the layout of protocol 3 or 2.
pub(super) async fn read_refusal(from: &mut (impl AsyncRead + Unpin)) -> String {
    let mut bytes = Vec::new();
    let mut from = from.take(LIMIT);
    // Servers close behind it; what came until then, or until patience ends, is all there is.
    timeout(PATIENCE, async { while from.read_buf(&mut bytes).await.is_ok_and(|read| read > 0) {} })
        .await
        .ok();
    match bytes.split_first_chunk::<4>() {
        Some((&length, body)) if u64::from(u32::from_be_bytes(length)) <= LIMIT => {
            words(&ErrorFields::new(body))
        }
        _ => {
            let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
            let text = String::from_utf8_lossy(bytes.get(..end).unwrap_or_default());
            text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
        }
    }
}
