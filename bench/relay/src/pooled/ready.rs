//! Finds the ReadyForQuery at which a backend is idle.

/// A tag and a length: what every message begins with
/// (<https://www.postgresql.org/docs/current/protocol-overview.html#PROTOCOL-MESSAGE-CONCEPTS>).
const HEADER: usize = 5;

/// Where in the stream of messages a backend is.
#[derive(Default)]
pub struct Finder {
    /// Bytes of the current message's body that are still to come.
    body: usize,
    /// The part of a header, or of a whole ReadyForQuery, that the last read ended with.
    partial: [u8; HEADER + 1],
    kept: usize,
}

impl Finder {
    /// Whether these bytes end with a ReadyForQuery that says idle.
    pub fn found(&mut self, mut bytes: &[u8]) -> bool {
        let mut last = None;
        loop {
            let skipped = self.body.min(bytes.len());
            self.body -= skipped;
            bytes = &bytes[skipped..];
            if bytes.is_empty() {
                break;
            }
            last = None;
            if self.kept == 0 && bytes.len() > HEADER {
                last = self.begin(bytes[0], [bytes[1], bytes[2], bytes[3], bytes[4]], bytes[HEADER]);
                bytes = &bytes[HEADER..];
                continue;
            }
            self.partial[self.kept] = bytes[0];
            self.kept += 1;
            bytes = &bytes[1..];
            // A message without a body is over before the byte that follows its header has come.
            if self.kept == HEADER && self.partial[1..HEADER] == [0, 0, 0, 4] {
                self.kept = 0;
            } else if self.kept > HEADER {
                let [tag, a, b, c, d, status] = self.partial;
                self.kept = 0;
                last = self.begin(tag, [a, b, c, d], status);
                self.body -= 1;
            }
        }
        self.kept == 0 && self.body == 0 && last == Some(b'I')
    }

    /// Notes how long the message is; its status if it is a ReadyForQuery.
    fn begin(&mut self, tag: u8, length: [u8; 4], first: u8) -> Option<u8> {
        self.body = (u32::from_be_bytes(length) as usize).saturating_sub(4);
        (tag == b'Z').then_some(first)
    }
}

#[cfg(test)]
mod tests {
    use super::Finder;

    const ROW: &[u8] = b"D\0\0\0\x0a\0\x01IIII";
    const NO_BODY: &[u8] = b"2\0\0\0\x04";
    const IDLE: &[u8] = b"Z\0\0\0\x05I";
    const IN_TRANSACTION: &[u8] = b"Z\0\0\0\x05T";

    #[test]
    fn an_idle_ready_for_query_is_found_however_the_stream_is_cut() {
        let stream = [NO_BODY, ROW, IN_TRANSACTION, ROW, NO_BODY, IDLE].concat();
        for length in 1..=stream.len() {
            let mut finder = Finder::default();
            let found: Vec<bool> = stream.chunks(length).map(|chunk| finder.found(chunk)).collect();
            let (last, others) = found.split_last().expect("there are bytes");
            assert!(*last, "in chunks of {length}");
            assert!(others.iter().all(|found| !found), "in chunks of {length}");
        }
    }
}
