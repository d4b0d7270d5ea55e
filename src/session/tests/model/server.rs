//! Fake PostgreSQL server process: the wire protocol of one connection.
//!
//! Bytes are sent when PostgreSQL sends them: at ReadyForQuery, Flush, CopyInResponse and errors, and beyond 8 KiB.
//! <https://www.postgresql.org/docs/current/protocol-flow.html>

use std::{collections::BTreeMap, rc::Rc};

use super::{
    catalog::{OwnQuery, Row},
    execute::{FAILED_TRANSACTION, Failure},
    faults::Faults,
    language::{Sql, parse},
    run::read_parameters,
    state::{Block, Prepared, SharedCluster, Startup, State, View},
};
use crate::wire::{Frame, Speaker};

/// Bytes of a message ahead of the body.
pub(super) const HEADER_BYTES: usize = 5;

/// Fake server process.
pub(super) struct Server {
    pub(super) state: State,
    pub(super) cluster: SharedCluster,
    pub(super) portals: BTreeMap<String, Portal>,
    input: Vec<u8>,
    /// Output not sent yet.
    pub(super) unsent: Vec<u8>,
    pub(super) sent: Vec<u8>,
    pub(super) is_skipping: bool,
    pub(super) copying: Option<CopyIn>,
    pub(super) reported_name: String,
    /// The connection is closed.
    pub(super) is_closed: bool,
    pub(super) events: Vec<Event>,
    /// Count of messages that the server may process yet; `None` without a limit.
    pub(super) budget: Option<usize>,
    /// Error of the next statement.
    pub(super) interrupt: Option<Failure>,
    /// The connection breaks once the last output is read.
    pub(super) is_lost: bool,
    /// Faults of a dedicated server.
    pub(super) faults: Faults,
}

/// Executed client statement, or end of a transaction.
#[derive(Debug)]
pub(super) enum Event {
    /// A statement is about to run.
    Before(Sql, View),
    Executed(Sql),
    /// An error has rolled back to the last savepoint.
    RolledBackToSavepoint,
    Ended {
        is_committed: bool,
    },
    /// A fault: the connection is lost, and with it the running unit and the open transaction.
    Lost,
}

/// Portal of the extended protocol.
pub(super) struct Portal {
    pub(super) text: Text,
    pub(super) parameters: Vec<Option<Vec<u8>>>,
    pub(super) result: Option<PortalResult>,
    /// Count of savepoints around the portal.
    pub(super) level: usize,
}

/// Result of a portal that has run.
pub(super) struct PortalResult {
    /// `None` for a statement without a result.
    pub(super) rows: Option<Vec<Row>>,
    /// Count of rows sent.
    pub(super) read: usize,
    pub(super) tag: String,
}

/// Statement of a Parse or a portal.
#[derive(Clone)]
pub(super) enum Text {
    Empty,
    Own(OwnQuery, usize),
    Client(Sql),
}

/// COPY in progress.
pub(super) struct CopyIn {
    pub(super) table: String,
    pub(super) rows: i64,
    /// Started by a Query, not by an Execute.
    pub(super) by_query: bool,
}

/// Result of a step of the extended protocol.
pub(super) type Step = Result<(), Failure>;

// === impl Server ===

impl Server {
    /// Creates a server process behind a login with the settings `startup`.
    pub(super) fn new(cluster: &SharedCluster, startup: Startup) -> Self {
        let state = State::new(startup);
        let reported_name = state.value("application_name").unwrap_or_default().to_owned();
        Self {
            state,
            cluster: Rc::clone(cluster),
            portals: BTreeMap::new(),
            input: Vec::new(),
            unsent: Vec::new(),
            sent: Vec::new(),
            is_skipping: false,
            copying: None,
            reported_name,
            is_closed: false,
            events: Vec::new(),
            budget: None,
            interrupt: None,
            is_lost: false,
            faults: Faults::default(),
        }
    }

    /// Processes bytes of the client.
    pub(super) fn receive(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        let input = std::mem::take(&mut self.input);
        let mut rest = &input[..];
        while !self.is_closed
            && self.budget != Some(0)
            && let Some(frame) = Frame::read(Speaker::Client, rest).expect("messages of the protocol")
        {
            rest = &rest[HEADER_BYTES + frame.body().len()..];
            self.budget = self.budget.map(|budget| budget - 1);
            if self.faults.is_empty() {
                self.message(frame.tag(), frame.body());
            } else {
                self.message_with_faults(frame.tag(), frame.body());
            }
            // A cancel request is for the running message alone.
            self.interrupt = None;
        }
        self.input = rest.to_vec();
    }

    /// Output with bytes not sent yet.
    pub(super) fn output(&self) -> Vec<u8> {
        [&self.sent[..], &self.unsent].concat()
    }

    /// Ends the connection: the open transaction is rolled back.
    pub(super) fn close(&mut self) {
        self.abort();
        (self.is_closed, self.copying) = (true, None);
    }

    /// True if a statement runs: messages wait, or COPY data.
    pub(super) fn is_running(&self) -> bool {
        !self.input.is_empty() || self.copying.is_some()
    }

    /// Ends all connections of the server.
    pub(super) fn shut_down(&mut self) {
        self.report(b'E', "FATAL", "57P01", "terminating connection due to administrator command");
        self.flush();
        self.close();
        self.is_lost = true;
    }

    /// True if nothing is in progress.
    pub(super) fn is_at_rest(&self) -> bool {
        self.input.is_empty()
            && self.unsent.is_empty()
            && self.state.block == Block::None
            && !(self.state.is_started() || self.is_skipping || self.copying.is_some())
    }

    pub(super) fn message(&mut self, tag: u8, body: &[u8]) {
        if self.copying.is_some() {
            return self.copy_message(tag, body);
        }
        match tag {
            b'X' => return self.close(),
            b'd' | b'c' | b'f' => return,
            _ if self.is_skipping && tag != b'S' => return,
            b'H' => return self.flush(),
            b'S' => {
                self.is_skipping = false;
                return self.ready();
            }
            _ => {}
        }
        self.state.start();
        let mut fields = body.split(|byte| *byte == 0).map(|field| std::str::from_utf8(field).unwrap_or("?"));
        let mut field = || fields.next().expect("a field").to_owned();
        let step = match tag {
            b'Q' => return self.query(&field()),
            b'P' => self.parse(&field(), &field()),
            b'B' => self.bind(&field(), &field(), body),
            b'D' => self.describe(body[0], &field()[1..]),
            b'C' => {
                self.close_object(body[0], &field()[1..]);
                Ok(())
            }
            b'E' => {
                let limit = body[body.len() - 4..].try_into().expect("four bytes");
                self.run_portal(&field(), u32::from_be_bytes(limit) as usize)
            }
            _ => panic!("the fake server does not know the message {}", char::from(tag)),
        };
        if let Err(failure) = step {
            self.fail(&failure);
            self.is_skipping = true;
        }
    }

    fn parse(&mut self, name: &str, text: &str) -> Step {
        if name.is_empty() {
            self.state.unnamed = None;
        }
        let parsed = self.read(text)?;
        self.check_block(&parsed)?;
        if name.is_empty() {
            self.state.unnamed = Some(text.into());
        } else if self.state.prepared.contains_key(name) {
            return Err(Failure("42P05", format!("prepared statement \"{name}\" already exists")));
        } else {
            self.state.prepared.insert(name.into(), Prepared { text: text.into(), by_sql: false });
        }
        self.write(b'1', b"");
        Ok(())
    }

    /// Reads a text of a single statement.
    fn read(&self, text: &str) -> Result<Text, Failure> {
        if let Some((query, parameters)) = OwnQuery::with_text(text) {
            return Ok(Text::Own(query, parameters));
        }
        match parse(text).as_deref() {
            None => Err(Failure("42601", "syntax error at or near \"SELEC\"".into())),
            Some([]) => Ok(Text::Empty),
            Some([statement]) => Ok(Text::Client(statement.clone())),
            Some(_) => {
                Err(Failure("42601", "cannot insert multiple commands into a prepared statement".into()))
            }
        }
    }

    fn named(&self, name: &str) -> Result<Text, Failure> {
        let missing = || match name {
            "" => "unnamed prepared statement does not exist".to_owned(),
            _ => format!("prepared statement \"{name}\" does not exist"),
        };
        let text = match name {
            "" => self.state.unnamed.clone(),
            _ => self.state.prepared.get(name).map(|prepared| prepared.text.clone()),
        };
        self.read(&text.ok_or_else(|| Failure("26000", missing()))?)
    }

    pub(super) fn check_block(&self, text: &Text) -> Step {
        let ends = matches!(text, Text::Client(statement) if statement.ends_transaction());
        if self.state.block == Block::Failed && !ends && !matches!(text, Text::Empty) {
            return Err(Failure("25P02", FAILED_TRANSACTION.into()));
        }
        Ok(())
    }

    fn bind(&mut self, portal: &str, name: &str, body: &[u8]) -> Step {
        let rest = &body[portal.len() + name.len() + 2..];
        let parameters = read_parameters(rest)?;
        let text = self.named(name)?;
        if parameters.len() != text.parameters() {
            let (given, wanted) = (parameters.len(), text.parameters());
            return Err(Failure(
                "08P01",
                format!(
                    "bind message supplies {given} parameters, but prepared statement \"{name}\" requires {wanted}\0Rexec_bind_message"
                ),
            ));
        }
        self.check_block(&text)?;
        if !portal.is_empty() && self.portals.contains_key(portal) {
            return Err(Failure("42P03", format!("cursor \"{portal}\" already exists")));
        }
        let level = self.state.level();
        self.portals.insert(portal.into(), Portal { text, parameters, result: None, level });
        self.write(b'2', b"");
        Ok(())
    }

    fn describe(&mut self, kind: u8, name: &str) -> Step {
        let text = if kind == b'S' { self.named(name)? } else { self.portal(name)?.text.clone() };
        self.check_block(&text)?;
        if kind == b'S' {
            let count = u16::try_from(text.parameters()).expect("few");
            let types = vec![25_u32.to_be_bytes(); text.parameters()].concat();
            self.write(b't', &[&count.to_be_bytes()[..], &types].concat());
        }
        if self.has_rows(&text) {
            self.describe_row()
        } else {
            self.write(b'n', b"")
        }
        Ok(())
    }

    pub(super) fn portal(&mut self, name: &str) -> Result<&mut Portal, Failure> {
        let missing = || Failure("34000", format!("portal \"{name}\" does not exist"));
        self.portals.get_mut(name).ok_or_else(missing)
    }

    fn close_object(&mut self, kind: u8, name: &str) {
        match (kind, name) {
            (b'P', _) => {
                self.portals.remove(name);
            }
            (_, "") => self.state.unnamed = None,
            _ => {
                if self.state.prepared.remove(name).is_some_and(|prepared| prepared.by_sql) {
                    self.events.push(Event::Executed(Sql::Deallocate(Some(name.into()))));
                }
            }
        }
        self.write(b'3', b"");
    }
}
