//! Scripts: requests of several clients, with cuts and disconnects.

use super::{super::frame, state::Startup};

/// Script of all clients, and conditions of the run.
#[derive(Clone, Debug)]
pub(super) struct Script {
    pub(super) setup: Setup,
    pub(super) actions: Vec<Action>,
}

#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Setup {
    pub(super) backends: usize,
    pub(super) clients: usize,
    /// Maximum bytes of a client presented at once.
    pub(super) client_buffer: usize,
    /// Maximum bytes of a server presented at once.
    pub(super) server_buffer: usize,
    /// Bytes read at once.
    pub(super) step: usize,
    /// A state check follows every transaction.
    pub(super) is_strict: bool,
    /// Start-up settings of every other client.
    pub(super) startup: Startup,
    /// Count of read pools' backends; without any, all statements go to the writer.
    pub(super) readers: usize,
    pub(super) replay: ReplayMode,
}

/// Replay of the read pools, and how a session learns of it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) enum ReplayMode {
    /// A commit is replayed at once.
    #[default]
    AtOnce,
    /// A commit is replayed by [`Action::Replay`]; a read asks the node for its position.
    Asked,
    /// A commit is replayed by [`Action::Replay`]; a read goes to nodes known to be fresh, by [`Action::Probe`].
    Probed,
}

#[derive(Clone, Debug)]
pub(super) enum Action {
    /// A client sends a request. The last bytes are held until the client's next action.
    Say { client: usize, request: Request, held: usize, is_impatient: bool },
    /// A client sends a last request and disconnects. A new client takes its place.
    Leave { client: usize, request: Option<Request>, end: End },
    /// The catalog expires.
    Expire,
    /// A client sends a request, and something happens in the middle.
    Disturb { client: usize, request: Request, held: usize, progress: Progress, disturbance: Disturbance },
    /// The read pools replay all commits.
    Replay,
    /// The probe samples all servers.
    Probe,
}

/// Progress of a request at a disturbance.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    /// Count of messages that servers have processed.
    pub(super) messages: usize,
    /// Count of bytes of responses that the session has.
    pub(super) bytes: usize,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Disturbance {
    /// The client sends a cancel request.
    Cancel,
    /// The connection of the backend breaks; perhaps the server executes what it has received.
    Lose { goes_on: bool },
    /// The server shuts down.
    Shutdown,
    /// A standby fails the running statement with this SQLSTATE.
    Refuse(&'static str),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    Terminate,
    /// The socket closes; as many bytes at the end of the request are never sent.
    Close {
        unsent: usize,
    },
}

#[derive(Clone, Debug)]
pub(super) enum Request {
    Query(Vec<Text>),
    Batch(Vec<Step>),
    /// `COPY FROM STDIN` with its data.
    Copy {
        is_extended: bool,
        has_early_sync: bool,
        rows: Vec<usize>,
        end: CopyEnd,
    },
}

#[derive(Clone, Copy, Debug)]
pub(super) enum CopyEnd {
    Done,
    Fail,
    /// A row is not valid.
    BadRow,
}

/// Statement text: `#` is the client's number, `{long}` a value of the given length.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text(pub(super) &'static str, pub(super) usize);

/// Part of a batch.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Parse, Bind, perhaps Describe, and Execute.
    Run {
        name: &'static str,
        text: Text,
        portal: &'static str,
        describes: bool,
        limit: u32,
    },
    Parse {
        name: &'static str,
        text: Text,
    },
    Bind {
        portal: &'static str,
        name: &'static str,
        values: Vec<Text>,
    },
    Describe {
        kind: u8,
        name: &'static str,
    },
    Execute {
        portal: &'static str,
        limit: u32,
    },
    Close {
        kind: u8,
        name: &'static str,
    },
    Flush,
    Sync,
    Query(Text),
}

// === impl Request ===

impl Request {
    /// Messages of the request, sent by the client number `me`.
    pub(super) fn encode(&self, me: u64) -> Vec<u8> {
        match self {
            Self::Query(texts) => query(&texts.iter().map(|text| text.of(me)).collect::<Vec<_>>().join("; ")),
            Self::Batch(steps) => steps.iter().flat_map(|step| step.encode(me)).collect(),
            Self::Copy { is_extended, has_early_sync, rows, end } => {
                let text = format!("COPY rows_{me} FROM STDIN");
                let mut bytes = if *is_extended {
                    [
                        parse("copy", &text),
                        bind("copy", "copy", &[]),
                        execute("copy", 0),
                        frame(if *has_early_sync { b'S' } else { b'H' }, b""),
                    ]
                    .concat()
                } else {
                    query(&text)
                };
                rows.iter().for_each(|size| {
                    bytes.extend(frame(b'd', format!("{}\n", "1".repeat(*size)).as_bytes()))
                });
                bytes.extend(match end {
                    CopyEnd::Done => frame(b'c', b""),
                    CopyEnd::Fail => frame(b'f', b"enough\0"),
                    CopyEnd::BadRow => [frame(b'd', b"bad\n"), frame(b'c', b"")].concat(),
                });
                if *is_extended {
                    bytes.extend(close(b'S', "copy"));
                    bytes.extend(frame(b'S', b""));
                }
                bytes
            }
        }
    }

    /// True if a text of the request contains `word`.
    pub(super) fn contains(&self, word: &str) -> bool {
        match self {
            Self::Query(texts) => texts.iter().any(|text| text.0.contains(word)),
            Self::Batch(steps) => steps.iter().any(|step| match step {
                Step::Run { text, .. } | Step::Parse { text, .. } | Step::Query(text) => {
                    text.0.contains(word)
                }
                _ => false,
            }),
            Self::Copy { .. } => false,
        }
    }
}

// === impl Text ===

impl Text {
    pub(super) fn of(self, me: u64) -> String {
        self.0.replace('#', &me.to_string()).replace("{long}", &"x".repeat(self.1))
    }
}

// === impl Step ===

impl Step {
    fn encode(&self, me: u64) -> Vec<u8> {
        match self {
            Self::Run { name, text, portal, describes, limit } => {
                let text = text.of(me);
                let count = text.matches('$').count();
                let values = ["my.a".to_owned(), format!("bound{me}")];
                let described = if *describes { object(b'D', b'P', portal) } else { Vec::new() };
                let bound = bind(portal, name, &values[..count]);
                [parse(name, &text), bound, described, execute(portal, *limit)].concat()
            }
            Self::Parse { name, text } => parse(name, &text.of(me)),
            Self::Bind { portal, name, values } => {
                let values: Vec<_> = values.iter().map(|value| value.of(me)).collect();
                bind(portal, name, &values)
            }
            Self::Describe { kind, name } => object(b'D', *kind, name),
            Self::Execute { portal, limit } => execute(portal, *limit),
            Self::Close { kind, name } => close(*kind, name),
            Self::Flush => frame(b'H', b""),
            Self::Sync => frame(b'S', b""),
            Self::Query(text) => query(&text.of(me)),
        }
    }
}

pub(super) fn query(text: &str) -> Vec<u8> {
    frame(b'Q', format!("{text}\0").as_bytes())
}

pub(super) fn parse(name: &str, text: &str) -> Vec<u8> {
    frame(b'P', format!("{name}\0{text}\0\0\0").as_bytes())
}

pub(super) fn bind(portal: &str, name: &str, values: &[String]) -> Vec<u8> {
    let count = u16::try_from(values.len()).expect("few").to_be_bytes();
    let mut body = [format!("{portal}\0{name}\0").as_bytes(), b"\0\0", &count].concat();
    for value in values {
        body.extend(u32::try_from(value.len()).expect("short").to_be_bytes());
        body.extend(value.as_bytes());
    }
    body.extend(b"\0\0");
    frame(b'B', &body)
}

pub(super) fn execute(portal: &str, limit: u32) -> Vec<u8> {
    frame(b'E', &[portal.as_bytes(), b"\0", &limit.to_be_bytes()].concat())
}

fn close(kind: u8, name: &str) -> Vec<u8> {
    object(b'C', kind, name)
}

fn object(tag: u8, kind: u8, name: &str) -> Vec<u8> {
    frame(tag, &[&[kind], name.as_bytes(), b"\0"].concat())
}
