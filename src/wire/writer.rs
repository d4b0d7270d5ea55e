//! Messages of our own, appended to a buffer.

/// Appends a frame: `tag`, then a length that fits what `body` appends.
///
/// What we say ourselves is short; a body beyond `i32::MAX` bytes would be cut off by the protocol's length field, and
/// no caller can build one.
pub fn write_frame(out: &mut Vec<u8>, tag: u8, body: impl FnOnce(&mut Vec<u8>)) {
    out.push(tag);
    write_packet(out, body);
}

/// Appends a packet without a tag, as the first ones of a connection are: a length, then what `body` appends.
pub fn write_packet(out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    body(out);
    let length = i32::try_from(out.len() - start).expect("our own messages are short");
    if let Some(field) = out.get_mut(start..).and_then(|from| from.first_chunk_mut()) {
        *field = length.to_be_bytes();
    }
}

/// Appends a `String`. A NUL would end it early and shift what follows, so NULs are left out.
pub(super) fn write_string(out: &mut Vec<u8>, text: &[u8]) {
    out.extend(text.iter().filter(|&&byte| byte != 0));
    out.push(0);
}
