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
use crate::wire::Fault;

/// Octets that are read at most.
const LIMIT: u64 = 8192;

/// How long it is waited for the rest of the words.
const PATIENCE: Duration = Duration::from_secs(1);

/// The words of an ErrorResponse whose tag was read already, in the layout of protocol 3 or 2.
pub(super) async fn read_refusal(from: &mut (impl AsyncRead + Unpin)) -> String {
    let mut octets = Vec::new();
    let mut from = from.take(LIMIT);
    // Servers close behind it; what came until then, or until patience ends, is all there is.
    timeout(PATIENCE, async { while from.read_buf(&mut octets).await.is_ok_and(|read| read > 0) {} })
        .await
        .ok();
    match octets.split_first_chunk::<4>() {
        Some((&length, body)) if u64::from(u32::from_be_bytes(length)) <= LIMIT => words(&Fault::new(body)),
        _ => {
            let end = octets.iter().position(|&octet| octet == 0).unwrap_or(octets.len());
            let text = String::from_utf8_lossy(octets.get(..end).unwrap_or_default());
            text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
        }
    }
}
