//! Writers that append messages to a buffer.

/// Appends a frame: `tag`, the length, then the bytes that `body` appends.
///
/// Messages of Gatekeeper are short: no caller can build a body beyond `i32::MAX` bytes.
pub fn write_frame(out: &mut Vec<u8>, tag: u8, body: impl FnOnce(&mut Vec<u8>)) {
    out.push(tag);
    write_packet(out, body);
}

/// Appends a packet without tag, as used before the first frame: the length, then the bytes that `body` appends.
pub fn write_packet(out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    body(out);
    let length = i32::try_from(out.len() - start).expect("our own messages are short");
    if let Some(field) = out.get_mut(start..).and_then(|from| from.first_chunk_mut()) {
        *field = length.to_be_bytes();
    }
}

/// Appends a `String` without NULs: a NUL would end the string and shift the rest.
pub(super) fn write_string(out: &mut Vec<u8>, text: &[u8]) {
    out.extend(text.iter().filter(|&&byte| byte != 0));
    out.push(0);
}
