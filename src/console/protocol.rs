//! The server's side of the protocol for one client: messages in, commands to run, responses out.
//!
//! Promises: the simple and the extended protocol as in PostgreSQL: after an error in the extended protocol, messages
//! are skipped up to Sync; portals end with Sync and may be fetched in parts. Memory is bounded: the number of
//! statements and portals is limited, and rows are built on demand. Refuses to know: sockets, and the effect of
//! commands.
//!
//! <https://www.postgresql.org/docs/current/protocol-flow.html>

use std::collections::HashMap;

use super::{
    command::Command,
    response::{CommandResponse, Rows},
    table::{self, Column, Format},
};
use crate::wire::{
    DecodeError, ErrorResponse, Frame, Reader, Severity, SqlState, TransactionStatus, backend,
    frontend::{DescribeTarget, FrontendMessage},
    tag::backend as tag,
    write_frame,
};

/// Protocol state of one client.
#[derive(Default)]
pub(super) struct ConsoleProtocol {
    statements: HashMap<Vec<u8>, Option<Command>>,
    portals: HashMap<Vec<u8>, Portal>,
    /// Skipping messages up to Sync after an error in the extended protocol.
    skipping: bool,
    /// The running command, or the command whose rows are sent.
    running: Option<RunningCommand>,
    out: Vec<u8>,
}

/// A bound statement.
struct Portal {
    command: Option<Command>,
    formats: Vec<Format>,
    progress: Progress,
}

/// Progress of a portal.
enum Progress {
    /// Not executed.
    Fresh,
    /// Executed in part; the remaining rows.
    Rows(Rows),
    /// Executed to the end.
    Done,
}

/// The command in progress.
struct RunningCommand {
    /// The portal; `None` for a Query.
    portal: Option<Vec<u8>>,
    command: Command,
    /// Remaining rows; `None` before the response.
    rows: Option<Rows>,
    /// Maximum number of rows still to send; `None` for all.
    limit: Option<u32>,
}

/// Action after a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// No action beyond the output.
    Nothing,
    /// Run the command and pass the result to [`ConsoleProtocol::on_answer`].
    Run(Command),
    /// Terminate was received.
    Farewell,
}

/// Maximum number of statements and of portals of a client.
const MAX_HELD_STATEMENTS: usize = 256;
/// Number of rows built at a time.
const ROWS_PER_STEP: usize = 100;

impl ConsoleProtocol {
    /// Handles a message. Call only after the response to the previous message was sent.
    ///
    /// # Errors
    /// A fatal protocol error for the client; the connection must end.
    pub(super) fn on_frame(&mut self, frame: &Frame<'_>) -> Result<Ask, ErrorResponse<'static>> {
        let message = FrontendMessage::decode(frame).map_err(|error| {
            ErrorResponse::new(Severity::Fatal, SqlState::PROTOCOL_VIOLATION, error.to_string())
        })?;
        let done = match message {
            FrontendMessage::Terminate => return Ok(Ask::Farewell),
            FrontendMessage::Sync => {
                self.skipping = false;
                self.portals.clear();
                self.ready();
                return Ok(Ask::Nothing);
            }
            _ if self.skipping => return Ok(Ask::Nothing),
            FrontendMessage::Query { text } => return Ok(self.query(text)),
            FrontendMessage::Parse { name, text, .. } => self.parse(name, text),
            FrontendMessage::Bind { portal, statement, rest } => self.bind(portal, statement, rest),
            FrontendMessage::Describe(object) => self.describe(object),
            FrontendMessage::Execute { portal, rows } => match self.execute(portal, rows) {
                Ok(ask) => return Ok(ask),
                Err(report) => Err(report),
            },
            FrontendMessage::Close(object) => {
                match object {
                    DescribeTarget::Statement(name) => drop(self.statements.remove(name)),
                    DescribeTarget::Portal(name) => drop(self.portals.remove(name)),
                }
                self.say(tag::CLOSE_COMPLETE);
                Ok(())
            }
            FrontendMessage::Flush
            | FrontendMessage::CopyData(_)
            | FrontendMessage::CopyDone
            | FrontendMessage::CopyFail { .. } => Ok(()),
            FrontendMessage::FunctionCall { .. } => {
                Err(protocol_error(SqlState::FEATURE_NOT_SUPPORTED, "the console has no functions to call"))
            }
        };
        if let Err(report) = done {
            report.write(&mut self.out);
            // A FunctionCall is handled like a Query.
            match message {
                FrontendMessage::FunctionCall { .. } => self.ready(),
                _ => self.skipping = true,
            }
        }
        Ok(Ask::Nothing)
    }

    /// Takes the result of a command.
    pub(super) fn on_answer(&mut self, answer: Result<CommandResponse, ErrorResponse<'static>>) {
        let Some(running) = &mut self.running else { return };
        match answer {
            Ok(CommandResponse { notices, rows }) => {
                notices.iter().for_each(|notice| notice.write(&mut self.out));
                if let (None, Some(columns)) = (&running.portal, running.command.columns()) {
                    table::write_row_description(&mut self.out, columns, |_| Format::Text);
                }
                running.rows = Some(rows);
            }
            Err(report) => {
                report.write(&mut self.out);
                match self.running.take() {
                    Some(RunningCommand { portal: None, .. }) => self.ready(),
                    _ => self.skipping = true,
                }
            }
        }
    }

    /// The next output. Rows come in parts: call until `None`.
    pub(super) fn poll_output(&mut self) -> Option<Vec<u8>> {
        self.send_rows();
        (!self.out.is_empty()).then(|| std::mem::take(&mut self.out))
    }

    fn query(&mut self, text: &[u8]) -> Ask {
        // A Query ends the unnamed statement and portal.
        self.statements.remove(&b""[..]);
        self.portals.clear();
        match Command::parse(&String::from_utf8_lossy(text)) {
            Ok(Some(command)) => {
                self.running =
                    Some(RunningCommand { portal: None, command: command.clone(), rows: None, limit: None });
                return Ask::Run(command);
            }
            Ok(None) => self.say(tag::EMPTY_QUERY_RESPONSE),
            Err(report) => report.write(&mut self.out),
        }
        self.ready();
        Ask::Nothing
    }

    fn parse(&mut self, name: &[u8], text: &[u8]) -> Result<(), ErrorResponse<'static>> {
        if !name.is_empty() && self.statements.contains_key(name) {
            let name = String::from_utf8_lossy(name);
            let message = format!("prepared statement \"{name}\" already exists");
            return Err(protocol_error(SqlState::new(*b"42P05"), message));
        }
        let command = Command::parse(&String::from_utf8_lossy(text))?;
        check_limit(self.statements.len())?;
        self.statements.insert(name.to_vec(), command);
        self.say(tag::PARSE_COMPLETE);
        Ok(())
    }

    fn bind(&mut self, name: &[u8], statement: &[u8], rest: &[u8]) -> Result<(), ErrorResponse<'static>> {
        let command = self.statement(statement)?.clone();
        if !name.is_empty() && self.portals.contains_key(name) {
            let name = String::from_utf8_lossy(name);
            return Err(protocol_error(
                SqlState::new(*b"42P03"),
                format!("cursor \"{name}\" already exists"),
            ));
        }
        check_limit(self.portals.len())?;
        let formats = parse_formats(rest)
            .map_err(|why| protocol_error(SqlState::PROTOCOL_VIOLATION, why.to_string()))?;
        let columns = command.as_ref().and_then(Command::columns).map_or(0, <[Column]>::len);
        if formats.len() > 1 && formats.len() != columns {
            let message = format!("there are {} formats for {columns} columns", formats.len());
            return Err(protocol_error(SqlState::PROTOCOL_VIOLATION, message));
        }
        self.portals.insert(name.to_vec(), Portal { command, formats, progress: Progress::Fresh });
        self.say(tag::BIND_COMPLETE);
        Ok(())
    }

    fn describe(&mut self, object: DescribeTarget<'_>) -> Result<(), ErrorResponse<'static>> {
        let (columns, formats) = match object {
            DescribeTarget::Statement(name) => {
                let columns = self.statement(name)?.as_ref().and_then(Command::columns);
                // Commands have no parameters.
                write_frame(&mut self.out, tag::PARAMETER_DESCRIPTION, |body| {
                    body.extend_from_slice(&[0, 0])
                });
                (columns, &[][..])
            }
            DescribeTarget::Portal(name) => {
                let portal = self.portals.get(name).ok_or_else(|| no_portal(name))?;
                (portal.command.as_ref().and_then(Command::columns), &portal.formats[..])
            }
        };
        match columns {
            Some(columns) => {
                table::write_row_description(&mut self.out, columns, |at| format_of(formats, at))
            }
            None => write_frame(&mut self.out, tag::NO_DATA, |_| {}),
        }
        Ok(())
    }

    fn execute(&mut self, name: &[u8], limit: i32) -> Result<Ask, ErrorResponse<'static>> {
        let portal = self.portals.get_mut(name).ok_or_else(|| no_portal(name))?;
        let Some(command) = portal.command.clone() else {
            self.say(tag::EMPTY_QUERY_RESPONSE);
            return Ok(Ask::Nothing);
        };
        let limit = u32::try_from(limit).ok().filter(|&limit| limit > 0);
        let (rows, ask) = match std::mem::replace(&mut portal.progress, Progress::Done) {
            Progress::Fresh => (None, Ask::Run(command.clone())),
            Progress::Rows(rows) => (Some(rows), Ask::Nothing),
            Progress::Done if command.columns().is_some() => {
                (Some(Box::new(std::iter::empty()) as Rows), Ask::Nothing)
            }
            Progress::Done => {
                return Err(protocol_error(SqlState::new(*b"55000"), "this command was executed already"));
            }
        };
        self.running = Some(RunningCommand { portal: Some(name.to_vec()), command, rows, limit });
        Ok(ask)
    }

    /// Sends the next part of the rows, and ends the command with the last.
    fn send_rows(&mut self) {
        let Some(running) = &mut self.running else { return };
        let Some(rows) = &mut running.rows else { return };
        let columns = running.command.columns().unwrap_or_default();
        let portal = running.portal.as_ref().and_then(|name| self.portals.get_mut(name));
        let formats = portal.as_ref().map_or(&[][..], |portal| &portal.formats);
        for _ in 0..ROWS_PER_STEP {
            if running.limit == Some(0) {
                if let (Some(portal), Some(rows)) = (portal, running.rows.take()) {
                    portal.progress = Progress::Rows(rows);
                }
                self.running = None;
                self.say(tag::PORTAL_SUSPENDED);
                return;
            }
            let Some(row) = rows.next() else {
                let tag = running.command.tag();
                let simple = running.portal.is_none();
                self.running = None;
                write_frame(&mut self.out, tag::COMMAND_COMPLETE, |body| {
                    body.extend_from_slice(tag.as_bytes());
                    body.push(0);
                });
                if simple {
                    self.ready();
                }
                return;
            };
            running.limit = running.limit.map(|limit| limit - 1);
            table::write_data_row(&mut self.out, columns, &row, |at| format_of(formats, at));
        }
    }

    fn statement(&self, name: &[u8]) -> Result<&Option<Command>, ErrorResponse<'static>> {
        self.statements.get(name).ok_or_else(|| {
            let name = String::from_utf8_lossy(name);
            protocol_error(SqlState::new(*b"26000"), format!("prepared statement \"{name}\" does not exist"))
        })
    }

    fn say(&mut self, tag: u8) {
        write_frame(&mut self.out, tag, |_| {});
    }

    fn ready(&mut self) {
        backend::write_ready_for_query(&mut self.out, TransactionStatus::Idle);
    }
}

/// Result formats in the rest of a Bind message; parameters are skipped, because commands have none.
fn parse_formats(rest: &[u8]) -> Result<Vec<Format>, DecodeError> {
    let mut reader = Reader::new(rest);
    for _ in 0..reader.i16()? {
        reader.i16()?;
    }
    for _ in 0..reader.i16()? {
        if let Ok(bytes) = usize::try_from(reader.i32()?) {
            reader.bytes(bytes)?;
        }
    }
    let count = reader.i16()?;
    let formats = (0..count).map(|_| Format::from_code(reader.i16()?).ok_or(DecodeError::Invalid("format")));
    let formats = formats.collect::<Result<_, _>>()?;
    reader.expect_end()?;
    Ok(formats)
}

/// Without formats, all columns are text; a single format applies to all columns.
fn format_of(formats: &[Format], column: usize) -> Format {
    match formats {
        [all] => *all,
        each => each.get(column).copied().unwrap_or(Format::Text),
    }
}

fn check_limit(held: usize) -> Result<(), ErrorResponse<'static>> {
    if held < MAX_HELD_STATEMENTS {
        return Ok(());
    }
    Err(protocol_error(
        SqlState::new(*b"54000"),
        format!("more than {MAX_HELD_STATEMENTS} statements or portals at a time"),
    ))
}

fn no_portal(name: &[u8]) -> ErrorResponse<'static> {
    let name = String::from_utf8_lossy(name);
    protocol_error(SqlState::new(*b"34000"), format!("portal \"{name}\" does not exist"))
}

fn protocol_error(
    sqlstate: SqlState,
    message: impl Into<std::borrow::Cow<'static, str>>,
) -> ErrorResponse<'static> {
    ErrorResponse::new(Severity::Error, sqlstate, message)
}

#[cfg(test)]
mod tests;
