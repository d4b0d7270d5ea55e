//! The connection of a client: raw frames, or a driver. Every end of the connection counts as a response.

use std::{
    collections::HashMap,
    future::{Future, poll_fn},
    net::SocketAddr,
    pin::Pin,
    task::Poll,
    time::Duration,
};

use gatekeeper::testing::{
    sandbox::{APP, DATABASE},
    wire::{Frame, ProtocolVersion, Speaker, StartupMessage, tag::backend as b},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_postgres::{Client, Error, SimpleQueryMessage, types::ToSql};

use super::{history::Failure, statement::Statement};
use crate::harness::{
    connect,
    frames::{bind, execute, parse, query, sync},
    raw::Message,
};

/// An answer: the first column of each row.
pub(super) type Answer = Result<Vec<String>, Failure>;

/// Form of the messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Simple,
    Extended,
    Prepared,
}

/// How several statements belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Together {
    /// Each is a unit; all are sent before the first response.
    Pipelined,
    /// One unit: all statements happen, or none of them.
    Batch,
}

pub(super) enum Voice {
    Own(Own),
    Driver(Driver),
}

/// A client with raw frames.
pub(super) struct Own {
    stream: TcpStream,
    unread: Vec<u8>,
    prepared: HashMap<&'static str, String>,
    over: bool,
}

/// `tokio-postgres`.
pub(super) struct Driver {
    client: Client,
    prepared: HashMap<&'static str, tokio_postgres::Statement>,
}

/// Longer than any fault: a request without a response by then hangs for good.
const HANGS: Duration = Duration::from_secs(120);
const FATAL: &[&str] = &["FATAL", "PANIC"];

// === impl Voice ===

impl Voice {
    pub(super) async fn connect(listener: SocketAddr, own: bool) -> Result<Self, Failure> {
        let login = async {
            if own {
                return Own::connect(listener).await.map(Self::Own);
            }
            let client = connect(listener, &format!("user={} dbname={DATABASE}", APP.name)).await;
            client
                .map(|client| Self::Driver(Driver { client, prepared: HashMap::new() }))
                .map_err(|error| failure(&error, true))
        };
        timeout(HANGS, login).await.unwrap_or_else(|_| Err(Failure::lost("the login hangs")))
    }

    /// Sends statements, and reads the response to each.
    pub(super) async fn say(
        &mut self,
        statements: &[Statement],
        way: Way,
        together: Together,
    ) -> Vec<Answer> {
        let talk = async {
            match self {
                Self::Own(own) => own.say(statements, way, together).await,
                Self::Driver(driver) => driver.say(statements, way, together).await,
            }
        };
        match timeout(HANGS, talk).await {
            Ok(answers) => answers,
            Err(_) => statements.iter().map(|_| Err(Failure::lost("no answer: it hangs"))).collect(),
        }
    }
}

// === impl Own ===

impl Own {
    async fn connect(listener: SocketAddr) -> Result<Self, Failure> {
        let lost = |error: std::io::Error| Failure::lost(error.to_string());
        let mut stream = TcpStream::connect(listener).await.map_err(lost)?;
        let mut startup = StartupMessage::new(ProtocolVersion::V3_0);
        startup.set("user", APP.name);
        startup.set("database", DATABASE);
        let mut bytes = Vec::new();
        startup.write(&mut bytes);
        stream.write_all(&bytes).await.map_err(lost)?;
        let mut own = Self { stream, unread: Vec::new(), prepared: HashMap::new(), over: false };
        // Clients are trusted, so no proof is sent.
        match own.unit(0).await.1 {
            Some(why) => Err(why),
            None => Ok(own),
        }
    }

    async fn hear(&mut self) -> Option<Message> {
        loop {
            if let Some(frame) = Frame::read(Speaker::Server, &self.unread).unwrap() {
                let message = Message { tag: frame.tag(), body: frame.body().to_vec() };
                let length = frame.as_bytes().len();
                self.unread.drain(..length);
                return Some(message);
            }
            match self.stream.read_buf(&mut self.unread).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// Reads the response to a unit of `count` statements up to its ReadyForQuery: the results, and an early end.
    async fn unit(&mut self, count: usize) -> (Vec<Vec<String>>, Option<Failure>) {
        let (mut answers, mut rows, mut failure) = (Vec::with_capacity(count), Vec::new(), None);
        loop {
            let Some(message) = self.hear().await else {
                self.over = true;
                let mut why = failure.unwrap_or_else(|| Failure::lost("the connection ended"));
                why.lost = true;
                why.begun |= !answers.is_empty() || !rows.is_empty();
                return (answers, Some(why));
            };
            match message.tag {
                b::DATA_ROW => rows.push(first_column(&message)),
                b::COMMAND_COMPLETE => answers.push(std::mem::take(&mut rows)),
                b::ERROR_RESPONSE => {
                    let lost = FATAL.contains(&message.field(b'V').as_str());
                    let begun = !answers.is_empty() || !rows.is_empty();
                    let (state, message) = (message.field(b'C'), message.field(b'M'));
                    failure = Some(Failure { state, message, lost, begun });
                }
                b::READY_FOR_QUERY => return (answers, failure),
                _ => {}
            }
        }
    }

    async fn say(&mut self, statements: &[Statement], way: Way, together: Together) -> Vec<Answer> {
        if way == Way::Prepared {
            for statement in statements {
                if let Err(why) = self.prepare(statement.sql).await {
                    return statements.iter().map(|_| Err(why.clone())).collect();
                }
            }
        }
        let mut bytes = Vec::new();
        match (way, together) {
            (Way::Simple, Together::Batch) => {
                let texts: Vec<_> = statements.iter().map(Statement::text).collect();
                bytes.extend(query(&texts.join("; ")));
            }
            (Way::Simple, Together::Pipelined) => {
                for statement in statements {
                    bytes.extend(query(&statement.text()));
                }
            }
            (Way::Extended | Way::Prepared, _) => {
                for (at, statement) in statements.iter().enumerate() {
                    bytes.extend(self.extended(statement, way));
                    if together == Together::Pipelined || at + 1 == statements.len() {
                        bytes.extend(sync());
                    }
                }
            }
        }
        // A failed write has its response in the bytes read: an error, or the end of the connection.
        let _ = self.stream.write_all(&bytes).await;
        let units: Vec<usize> = match together {
            Together::Pipelined => vec![1; statements.len()],
            Together::Batch => vec![statements.len()],
        };
        let mut answers = Vec::new();
        let mut end: Option<Failure> = None;
        for count in units {
            if let Some(why) = &end {
                answers.extend((0..count).map(|_| Err(why.clone())));
                continue;
            }
            let (mut unit_answers, failure) = self.unit(count).await;
            match failure {
                Some(why) => {
                    answers.extend((0..count).map(|_| Err(why.clone())));
                    end = why.lost.then_some(why);
                }
                None => {
                    unit_answers.resize(count, Vec::new());
                    answers.extend(unit_answers.into_iter().map(Ok));
                }
            }
        }
        answers
    }

    fn extended(&self, statement: &Statement, way: Way) -> Vec<u8> {
        let values: Vec<String> = statement.values.iter().map(ToString::to_string).collect();
        let values: Vec<&[u8]> = values.iter().map(String::as_bytes).collect();
        let name = self.prepared.get(statement.sql).filter(|_| way == Way::Prepared);
        match name {
            Some(name) => [bind("", name, &values), execute("", 0)].concat(),
            None => [parse("", statement.sql), bind("", "", &values), execute("", 0)].concat(),
        }
    }

    async fn prepare(&mut self, sql: &'static str) -> Result<(), Failure> {
        if self.prepared.contains_key(sql) {
            return Ok(());
        }
        let name = format!("s{}", self.prepared.len());
        let _ = self.stream.write_all(&[parse(&name, sql), sync()].concat()).await;
        match self.unit(0).await.1 {
            Some(why) => Err(why),
            None => {
                self.prepared.insert(sql, name);
                Ok(())
            }
        }
    }
}

/// The first value of a DataRow; empty for NULL.
fn first_column(row: &Message) -> String {
    let length = row.body.get(2..6).map(|length| i32::from_be_bytes(length.try_into().expect("four bytes")));
    let length = usize::try_from(length.unwrap_or(-1)).unwrap_or_default();
    row.body.get(6..6 + length).map(|value| String::from_utf8_lossy(value).into_owned()).unwrap_or_default()
}

// === impl Driver ===

impl Driver {
    async fn say(&mut self, statements: &[Statement], way: Way, together: Together) -> Vec<Answer> {
        let mut answers = match (way, together) {
            // The only batch that the driver offers.
            (_, Together::Batch) => {
                let texts: Vec<_> = statements.iter().map(Statement::text).collect();
                match self.client.simple_query(&texts.join("; ")).await {
                    Ok(messages) => results(messages, statements.len()).into_iter().map(Ok).collect(),
                    Err(error) => statements.iter().map(|_| Err(failure(&error, false))).collect(),
                }
            }
            (Way::Simple, Together::Pipelined) => {
                let texts: Vec<_> = statements.iter().map(Statement::text).collect();
                let client = &self.client;
                all(texts.iter().map(|text| async move {
                    let messages = client.simple_query(text).await.map_err(|error| failure(&error, false))?;
                    Ok(results(messages, 1).remove(0))
                }))
                .await
            }
            (Way::Extended | Way::Prepared, Together::Pipelined) => self.extended(statements, way).await,
        };
        // The cause of the end may arrive after the end.
        if self.client.is_closed() {
            for why in answers.iter_mut().filter_map(|answer| answer.as_mut().err()) {
                why.lost = true;
            }
        }
        answers
    }

    async fn extended(&mut self, statements: &[Statement], way: Way) -> Vec<Answer> {
        let mut prepared_statements = Vec::new();
        for statement in statements {
            let known = self.prepared.get(statement.sql).filter(|_| way == Way::Prepared);
            let prepared = match known {
                Some(known) => known.clone(),
                None => match self.client.prepare(statement.sql).await {
                    Ok(prepared) => prepared,
                    Err(error) => return statements.iter().map(|_| Err(failure(&error, false))).collect(),
                },
            };
            if way == Way::Prepared {
                self.prepared.insert(statement.sql, prepared.clone());
            }
            prepared_statements.push(prepared);
        }
        let client = &self.client;
        all(statements.iter().zip(&prepared_statements).map(|(statement, prepared)| async move {
            let values: Vec<&(dyn ToSql + Sync)> = statement.values.iter().map(|value| value as _).collect();
            let rows = client.query(prepared, &values).await.map_err(|error| failure(&error, false))?;
            Ok(rows.iter().map(|row| row.get::<_, Option<String>>(0).unwrap_or_default()).collect())
        }))
        .await
    }
}

/// Rows by statement, of `count` statements.
fn results(messages: Vec<SimpleQueryMessage>, count: usize) -> Vec<Vec<String>> {
    let (mut answers, mut rows) = (Vec::new(), Vec::new());
    for message in messages {
        match message {
            SimpleQueryMessage::Row(row) => rows.push(row.get(0).unwrap_or_default().to_owned()),
            SimpleQueryMessage::CommandComplete(_) => answers.push(std::mem::take(&mut rows)),
            _ => {}
        }
    }
    answers.resize(count, Vec::new());
    answers
}

fn failure(error: &Error, login: bool) -> Failure {
    match error.as_db_error() {
        Some(error) => Failure {
            state: error.code().code().to_owned(),
            message: error.message().to_owned(),
            lost: login || FATAL.contains(&error.severity()),
            // The driver hides the messages received before.
            begun: !login && FATAL.contains(&error.severity()),
        },
        None => Failure::lost(error.to_string()),
    }
}

/// Polls all futures in order, until the last is done.
async fn all<T>(futures: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    type Running<F, T> = Result<T, Pin<Box<F>>>;
    let mut running: Vec<Option<Running<_, T>>> = futures.map(|future| Some(Err(Box::pin(future)))).collect();
    poll_fn(move |cx| {
        let mut pending = false;
        for slot in &mut running {
            if let Some(Err(future)) = slot {
                match future.as_mut().poll(cx) {
                    Poll::Ready(value) => *slot = Some(Ok(value)),
                    Poll::Pending => pending = true,
                }
            }
        }
        if pending {
            return Poll::Pending;
        }
        Poll::Ready(running.iter_mut().filter_map(|slot| slot.take()?.ok()).collect())
    })
    .await
}
