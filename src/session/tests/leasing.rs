//! Pooled sessions with each message cut at each byte: a backend is leased for a message ready to send, and never twice
//! without news.

use std::{sync::Arc, time::Instant};

use super::{
    super::{
        AssignedBackend, CatalogInstant, DatabaseState, FreshnessCheck, ReportedParameters, RouteOptions,
        Session, SessionOptions, SettingValues,
    },
    frame, fresh_backend,
};
use crate::{
    handshake::Parameters,
    names::EndpointName,
    route::SplitSettings,
    sql::{ClassifierOptions, StatefulNames, StatefulNamesBuilder},
    wire::{Frame, Speaker},
};

/// Bytes of the driver's buffer.
const BUFFER_BYTES: usize = 16 << 10;
/// Maximum driver rounds for bytes received together; a driver with more rounds spins.
const MAX_ROUNDS: usize = 1000;

/// Session with a driver and an immediately answering server.
struct Driver {
    session: Session,
    unread: Vec<u8>,
    /// Bytes sent to the server and not read: an incomplete message.
    to_server: Vec<u8>,
    /// Server responses not read by the session.
    from_server: Vec<u8>,
    to_client: Vec<u8>,
    /// Count of messages sent to the server.
    served: usize,
    holds: bool,
    leases: usize,
}

impl Driver {
    fn new(splits: bool) -> Self {
        let database = if splits {
            DatabaseState::splitting(StatefulNames::default(), &ClassifierOptions::default())
        } else {
            DatabaseState::new(StatefulNames::default())
        };
        database.set_catalogue(StatefulNamesBuilder::new(), b"1", CatalogInstant::default());
        let known = ReportedParameters::new(Arc::new(Parameters::default()));
        let mut session =
            Session::shared(Arc::new(database), known, SettingValues::default(), SessionOptions::default());
        if splits {
            session.split(Arc::new(SplitSettings::default()), RouteOptions::default());
        }
        let (unread, to_server, from_server, to_client) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { session, unread, to_server, from_server, to_client, served: 0, holds: false, leases: 0 }
    }

    /// Sends `bytes` from the client, then waits until nothing moves any more.
    fn send(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(BUFFER_BYTES - self.unread.len()));
            self.unread.extend_from_slice(now);
            bytes = later;
            self.settle();
        }
        while self.session.is_waiting_for_more() {
            self.session.on_batch_timeout();
            self.settle();
        }
    }

    fn settle(&mut self) {
        let leases = self.leases;
        for _ in 0..MAX_ROUNDS {
            if !self.step() {
                return;
            }
        }
        panic!("the session spins, with {} leases since the client sent something", self.leases - leases);
    }

    /// Runs a single driver round; true if anything moved.
    fn step(&mut self) -> bool {
        let now = Instant::now();
        let full = self.unread.len() == BUFFER_BYTES;
        let consumed = self.session.on_client(now, &self.unread, full).expect("the client makes sense");
        let mut moved = consumed.byte_count() > 0;
        self.to_server.extend(self.session.to_backend().map(std::mem::take).unwrap_or_default());
        self.to_server.extend(self.unread.drain(..consumed.forward));
        self.unread.drain(..consumed.discard);
        if self.session.wants_backend() {
            assert!(!self.holds, "nobody has two backends");
            (self.leases, self.holds, moved) = (self.leases + 1, true, true);
            let tracked_state = fresh_backend();
            let need = self.session.need();
            let endpoint = EndpointName::new("e").expect("a name");
            let (side, reason, freshness) = (need.side, need.reason, FreshnessCheck::Enough);
            self.session.assign(
                tracked_state,
                false,
                AssignedBackend { side, reason, endpoint: &endpoint, freshness },
            );
        }
        moved |= self.serve();
        let consumed =
            self.session.on_backend(now, &self.from_server, false).expect("the server makes sense");
        self.to_client.extend(self.from_server.drain(..consumed.forward));
        self.from_server.drain(..consumed.discard);
        self.to_client.extend(self.session.to_client().map(std::mem::take).unwrap_or_default());
        moved |= consumed.byte_count() > 0;
        while self.session.poll_report().is_some() || self.session.poll_pin().is_some() {}
        if self.session.wants_catalogue() {
            self.session.on_catalogue(true);
            moved = true;
        }
        if self.from_server.is_empty() && self.session.detach().is_some() {
            assert!(self.to_server.is_empty(), "nothing is sent to a backend that was given back");
            // Unconsumed input is presented again.
            (self.holds, moved) = (false, moved || !self.unread.is_empty());
        }
        moved
    }

    /// Answers the messages sent to the server; true if any message was read.
    fn serve(&mut self) -> bool {
        let mut read = 0;
        while let Ok(Some(message)) = Frame::read(Speaker::Client, &self.to_server[read..]) {
            let answer = match message.tag() {
                b'P' => frame(b'1', b""),
                b'B' => frame(b'2', b""),
                b'C' => frame(b'3', b""),
                b'D' => frame(b'n', b""),
                b'E' => frame(b'C', b"SELECT 1\0"),
                b'S' => frame(b'Z', b"I"),
                b'Q' if message.body().starts_with(b"COPY") => frame(b'G', b"\0\0\0"),
                b'c' => [frame(b'C', b"COPY 1\0"), frame(b'Z', b"I")].concat(),
                b'f' => [frame(b'E', super::sharing::ERROR), frame(b'Z', b"I")].concat(),
                b'F' => [frame(b'V', b"\xff\xff\xff\xff"), frame(b'Z', b"I")].concat(),
                b'Q' => [frame(b'C', b"SELECT 1\0"), frame(b'Z', b"I")].concat(),
                _ => Vec::new(),
            };
            self.from_server.extend(answer);
            self.served += 1;
            read += message.as_bytes().len();
        }
        self.to_server.drain(..read);
        read > 0
    }
}

/// Bind of `statement` with two parameters, with formats, and `value` as the second parameter.
fn bind_two(statement: &[u8], value: &[u8]) -> Vec<u8> {
    let length = u32::try_from(value.len()).expect("short").to_be_bytes();
    let body = [b"\0", statement, b"\0\0\x01\0\0\0\x02\0\0\0\x08work_mem", &length, value, b"\0\x01\0\0"];
    frame(b'B', &body.concat())
}

fn parse(name: &[u8], text: &[u8]) -> Vec<u8> {
    frame(b'P', &[name, b"\0", text, b"\0\0\0"].concat())
}

/// Conversations with every possible client message, `long` bytes at a single place.
fn conversations(long: usize) -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let sync = frame(b'S', b"");
    let execute = frame(b'E', b"\0\0\0\0\0");
    let filler = vec![b'x'; long];
    let literal = [b"SELECT '", &filler[..], b"'"].concat();
    let query = |text: &[u8]| frame(b'Q', &[text, b"\0"].concat());
    let batch = |name: &[u8], text: &[u8], bind: Vec<u8>| {
        let describe = frame(b'D', &[b"S", name, b"\0"].concat());
        vec![parse(name, text), describe, bind, execute.clone(), sync.clone()]
    };
    let again = |name: &[u8], text: &[u8]| {
        let parsed = vec![parse(name, text), sync.clone()];
        [parsed, vec![bind_two(name, &filler), execute.clone(), sync.clone()]].concat()
    };
    let call =
        [b"\0\0\x08\x1e\0\0\0\x03\0\0\0\x08work_mem", &[0, 0, 0, 1][..], b"1", &[0, 0, 0, 1], b"t\0\0"];
    vec![
        ("Query", vec![query(&literal)]),
        ("Query that begins a transaction", vec![query(b"BEGIN"), query(&literal), query(b"COMMIT")]),
        ("Query that sets", vec![query(b"SET work_mem = '1MB'"), query(&literal)]),
        ("batch of an unnamed statement", batch(b"", &literal, bind_two(b"", b"1MB"))),
        ("batch of a named statement", batch(b"s", &literal, bind_two(b"s", b"1MB"))),
        ("Bind, unnamed", again(b"", b"SELECT $1, $2")),
        ("Bind, named", again(b"s", b"SELECT $1, $2")),
        ("Bind of set_config, unnamed", again(b"", b"SELECT set_config($1, $2, false)")),
        ("Bind of set_config, named", again(b"s", b"SELECT set_config($1, $2, false)")),
        ("Bind of what writes", again(b"s", b"INSERT INTO t VALUES ($1, $2)")),
        ("Close", vec![parse(b"s", b"SELECT 1"), frame(b'C', b"Ss\0"), frame(b'C', b"P\0"), sync.clone()]),
        ("Flush", vec![parse(b"s", b"SELECT 1"), frame(b'H', b""), sync.clone(), frame(b'H', b"")]),
        ("FunctionCall", vec![frame(b'F', &call.concat())]),
        ("COPY", vec![query(b"COPY t FROM STDIN"), frame(b'd', &filler), frame(b'c', b"")]),
        ("COPY that fails", vec![query(b"COPY t FROM STDIN"), frame(b'd', b"1\n"), frame(b'f', b"no\0")]),
        ("COPY data out of the blue", vec![frame(b'd', &filler), frame(b'c', b""), frame(b'f', b"no\0")]),
        ("Terminate", vec![query(b"SELECT 1"), frame(b'X', b"")]),
        ("Terminate in a batch", vec![parse(b"s", b"SELECT 1"), frame(b'X', b"")]),
    ]
}

/// Runs a conversation in parts of `sizes`, the last size as often as needed; returns the bytes received by the client.
fn held(what: &str, messages: &[Vec<u8>], sizes: &[usize], splits: bool) -> Vec<u8> {
    let bytes = messages.concat();
    let mut driver = Driver::new(splits);
    let (mut rest, mut sizes) = (&bytes[..], sizes.iter().copied().peekable());
    let mut size = usize::MAX;
    while !rest.is_empty() && !driver.session.terminate_received() {
        size = sizes.next().unwrap_or(size);
        let (part, behind) = rest.split_at(size.min(rest.len()));
        rest = behind;
        driver.send(part);
    }
    let name = format!("{what}, cut to {size} bytes at last, split: {splits}");
    assert!(driver.leases <= messages.len(), "{name}: {} leases", driver.leases);
    assert!(driver.unread.is_empty(), "{name}: {} bytes were not taken", driver.unread.len());
    driver.to_client
}

#[test]
fn no_cut_makes_a_session_lease_without_end() {
    for splits in [false, true] {
        for (what, messages) in conversations(3) {
            let whole = held(what, &messages, &[usize::MAX], splits);
            let bytes = messages.concat().len();
            for at in 1..bytes {
                assert_eq!(held(what, &messages, &[at, bytes], splits), whole, "{what} cut at {at}");
            }
            for size in 1..24 {
                assert_eq!(held(what, &messages, &[size], splits), whole, "{what} in parts of {size}");
            }
        }
    }
}

#[test]
fn no_cut_of_a_long_message_makes_a_session_lease_without_end() {
    for long in [9 << 10, 70 << 10, (1 << 20) + 5] {
        for splits in [false, true] {
            for (what, messages) in conversations(long) {
                let whole = held(what, &messages, &[usize::MAX], splits);
                let bytes = messages.concat().len();
                for at in [1, 5, 7, 60, 90, 8191, BUFFER_BYTES - 1, BUFFER_BYTES, BUFFER_BYTES + 1, bytes - 1]
                {
                    if at < bytes {
                        assert_eq!(held(what, &messages, &[at, bytes], splits), whole, "{what} cut at {at}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_message_that_is_not_whole_leases_no_backend() {
    for splits in [false, true] {
        for (what, messages) in conversations(3) {
            let mut driver = Driver::new(splits);
            for message in messages {
                for at in 1..message.len() {
                    let leases = driver.leases;
                    driver.send(&message[at - 1..at]);
                    assert_eq!(driver.leases, leases, "{what}: a lease for {at} bytes of {message:?}");
                }
                driver.send(&message[message.len() - 1..]);
            }
        }
    }
}
