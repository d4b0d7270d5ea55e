//! The encoding of protocol buffers: <https://protobuf.dev/programming-guides/encoding/>.

use super::Resource;

/// `Resource`, as field `field`: <https://github.com/open-telemetry/opentelemetry-proto/blob/main/opentelemetry/proto/resource/v1/resource.proto>.
pub(in crate::telemetry) fn write_resource(out: &mut Vec<u8>, field: u64, resource: &Resource) {
    write_message(out, field, |out| {
        for (name, value) in resource.attributes() {
            write_text_attribute(out, 1, name, value);
        }
    });
}

/// `KeyValue` with a text.
pub(in crate::telemetry) fn write_text_attribute(out: &mut Vec<u8>, field: u64, name: &str, value: &str) {
    write_message(out, field, |pair| {
        write_bytes(pair, 1, name.as_bytes());
        write_message(pair, 2, |any| write_bytes(any, 1, value.as_bytes()));
    });
}

/// A nested message. Built separately, because its length precedes it.
pub(in crate::telemetry) fn write_message(out: &mut Vec<u8>, field: u64, fill: impl FnOnce(&mut Vec<u8>)) {
    let mut inner = Vec::new();
    fill(&mut inner);
    write_bytes(out, field, &inner);
}

/// A field with bytes, a text or an encoded message.
pub(in crate::telemetry) fn write_bytes(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    write_varint(out, field << 3 | 2);
    write_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// An integer of variable length.
pub(in crate::telemetry) fn write_number(out: &mut Vec<u8>, field: u64, value: u64) {
    write_varint(out, field << 3);
    write_varint(out, value);
}

/// Eight bytes.
pub(in crate::telemetry) fn write_fixed(out: &mut Vec<u8>, field: u64, value: u64) {
    write_varint(out, field << 3 | 1);
    out.extend_from_slice(&value.to_le_bytes());
}

fn write_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7F) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
