//! The answer to AuthenticationMD5Password.

use md5::{Digest, Md5};

/// `md5` and the digest of the salted digest of password and user.
///
/// <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-START-UP>
pub(super) fn md5_response(user: &[u8], password: &[u8], salt: [u8; 4]) -> String {
    let inner = to_hex(&[password, user]);
    format!("md5{}", to_hex(&[inner.as_bytes(), &salt]))
}

fn to_hex(parts: &[&[u8]]) -> String {
    let mut digest = Md5::new();
    parts.iter().for_each(|part| digest.update(part));
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
