//! Statements in progress on a fake server: portals and Query.

use super::{
    catalog::Row,
    execute::{FAILED_TRANSACTION, Failure, Position, check_writes, execute, executed_by},
    language::{Sql, Term, parse},
    server::{Event, PortalResult, Server, Step, Text},
    state::Block,
};
use crate::wire::Reader;

impl Server {
    pub(super) fn run_portal(&mut self, name: &str, limit: usize) -> Step {
        let portal = self.portal(name)?;
        let (text, parameters) = (portal.text.clone(), portal.parameters.clone());
        self.check_block(&text)?;
        self.take_interrupt()?;
        match &self.portals[name].result {
            None => {}
            Some(result) if result.rows.is_none() => {
                return Err(Failure("55000", format!("portal \"{name}\" cannot be run")));
            }
            Some(_) => return self.send_result(name, limit),
        }
        let (rows, tag) = match text {
            Text::Empty => {
                self.write(b'I', b"");
                return Ok(());
            }
            Text::Own(query, _) => (Some(query.run(&parameters, &mut self.state)?), "SELECT".to_owned()),
            Text::Client(statement @ Sql::Copy(_)) => {
                check_writes(&statement, &self.state)?;
                let Sql::Copy(table) = statement else { unreachable!("a COPY") };
                self.begin_copy(table, false);
                return Ok(());
            }
            Text::Client(statement) => {
                let statement = with_parameters(&statement, &parameters);
                let (rows, tag) = self.run(&statement, Position::Alone)?;
                if statement.is_transaction_command() || statement == Sql::DiscardAll {
                    if self.state.block == Block::None {
                        self.commit();
                    }
                } else {
                    self.state.is_pipelined = true;
                }
                (rows, tag)
            }
        };
        let result = PortalResult { rows, read: 0, tag };
        match self.portals.get_mut(name) {
            Some(portal) => portal.result = Some(result),
            // The statement has ended the transaction, and has no rows.
            None => {
                self.write(b'C', format!("{}\0", result.tag).as_bytes());
                return Ok(());
            }
        }
        self.send_result(name, limit)
    }

    /// Sends rows of a portal that has run, at most `limit` unless 0.
    fn send_result(&mut self, name: &str, limit: usize) -> Step {
        let result = self.portals.get_mut(name).and_then(|portal| portal.result.as_mut());
        let result = result.expect("the portal has run");
        let tag = result.tag.clone();
        let Some(rows) = &result.rows else {
            self.write(b'C', format!("{tag}\0").as_bytes());
            return Ok(());
        };
        let rest = &rows[result.read..];
        let count = if limit == 0 { rest.len() } else { rest.len().min(limit) };
        let sent = rest[..count].to_vec();
        result.read += count;
        sent.iter().for_each(|row| self.write_row(row));
        if limit > 0 && count == limit {
            self.write(b's', b"");
        } else {
            self.write(b'C', complete(&tag, count).as_bytes());
        }
        Ok(())
    }

    pub(super) fn query(&mut self, text: &str) {
        self.state.unnamed = None;
        self.portals.remove("");
        if let Err(failure) = self.query_statements(text) {
            self.fail(&failure);
        }
        if self.copying.is_none() {
            self.ready();
        }
    }

    fn query_statements(&mut self, text: &str) -> Step {
        let Some(statements) = parse(text) else {
            return Err(Failure("42601", "syntax error at or near \"SELEC\"".into()));
        };
        if statements.is_empty() {
            self.write(b'I', b"");
        }
        let position = if statements.len() > 1 { Position::AmongOthers } else { Position::Alone };
        for statement in &statements {
            self.state.start();
            if self.state.block == Block::Failed && !statement.ends_transaction() {
                return Err(Failure("25P02", FAILED_TRANSACTION.into()));
            }
            self.take_interrupt()?;
            if let Sql::Copy(table) = statement {
                check_writes(statement, &self.state)?;
                assert_eq!(position, Position::Alone, "COPY stands alone in this language");
                self.begin_copy(table.clone(), true);
                return Ok(());
            }
            if statement.parameters() > 0 {
                return Err(Failure("42P02", "there is no parameter $1".into()));
            }
            let (rows, tag) = self.run(statement, position)?;
            let Some(rows) = rows else {
                self.write(b'C', format!("{tag}\0").as_bytes());
                continue;
            };
            self.describe_row();
            rows.iter().for_each(|row| self.write_row(row));
            self.write(b'C', complete(&tag, rows.len()).as_bytes());
        }
        Ok(())
    }

    /// Executes a client's statement. Notes the statement for the reference model.
    fn run(&mut self, statement: &Sql, position: Position) -> Result<(Option<Vec<Row>>, String), Failure> {
        let is_own = *statement == Sql::DiscardSequences;
        if !is_own {
            self.events.push(Event::Before(statement.clone(), self.state.view()));
        }
        let inner = match statement {
            Sql::Execute(name) => executed_by(name, &self.state).ok(),
            _ => None,
        };
        let was_started = self.state.is_started();
        let reply = execute(statement, position, &mut self.state, &mut self.cluster.borrow_mut())?;
        self.events.extend(inner.map(Event::Executed));
        if !is_own {
            self.events.push(Event::Executed(statement.clone()));
        }
        let level = self.state.level();
        match statement {
            Sql::Release(_) => {
                self.portals.values_mut().for_each(|portal| portal.level = portal.level.min(level));
            }
            Sql::RollbackTo(_) => self.portals.retain(|_, portal| portal.level < level),
            _ => {}
        }
        if was_started && !self.state.is_started() {
            self.portals.clear();
            let is_committed = reply.tag == "COMMIT";
            self.events.push(Event::Ended { is_committed });
        }
        if let Some((code, message)) = reply.warning
            && !self.skips_warning()
        {
            self.report(b'N', "WARNING", code, message);
            self.flush();
        }
        let rows = reply.rows.map(|rows| rows.into_iter().map(|value| vec![Some(value.into_bytes())]));
        Ok((rows.map(Iterator::collect), reply.tag))
    }

    /// True if the statement has a result.
    pub(super) fn has_rows(&self, text: &Text) -> bool {
        match text {
            Text::Empty => false,
            Text::Own(..) => true,
            Text::Client(Sql::Execute(name)) => {
                executed_by(name, &self.state).is_ok_and(|inner| self.has_rows(&Text::Client(inner)))
            }
            Text::Client(Sql::Fetch(name)) => self.state.cursors.contains_key(name),
            Text::Client(Sql::Insert(_)) => false,
            Text::Client(Sql::Show(_)) => true,
            Text::Client(statement) => statement.is_plannable(),
        }
    }
}

/// Tag of CommandComplete with the row count of a result.
fn complete(tag: &str, count: usize) -> String {
    match tag {
        "SELECT" | "FETCH" => format!("{tag} {count}\0"),
        _ => format!("{tag}\0"),
    }
}

/// `statement` with the Bind's values in place of parameters.
fn with_parameters(statement: &Sql, parameters: &[Option<Vec<u8>>]) -> Sql {
    let value = |at: usize| {
        let value = parameters[at].clone().expect("no NULL in this language");
        String::from_utf8(value).expect("the language is ASCII")
    };
    let literal = |term: &Term| match term {
        Term::Parameter(at) => Term::Literal(value(*at)),
        Term::Literal(_) => term.clone(),
    };
    match statement {
        Sql::Echo => Sql::Constant(value(0)),
        Sql::SetConfig { name, value, local } => {
            Sql::SetConfig { name: literal(name), value: literal(value), local: *local }
        }
        _ => statement.clone(),
    }
}

// === impl Text ===

impl Text {
    /// Count of Bind parameters.
    pub(super) fn parameters(&self) -> usize {
        match self {
            Self::Empty => 0,
            Self::Own(_, count) => *count,
            Self::Client(statement) => statement.parameters(),
        }
    }
}

/// Values of a Bind, from the parameter formats on.
pub(super) fn read_parameters(bytes: &[u8]) -> Result<Vec<Option<Vec<u8>>>, Failure> {
    if bytes.starts_with(b"\xff\xff") {
        return Err(Failure("08P01", "invalid message format".into()));
    }
    let mut reader = Reader::new(bytes);
    let mut number = || reader.i16().expect("a count");
    for _ in 0..number() {
        number();
    }
    let count = number();
    let mut value = || {
        let length = reader.i32().expect("a length");
        let length = usize::try_from(length).ok()?;
        Some((0..length).map(|_| reader.u8().expect("a value")).collect())
    };
    Ok((0..count).map(|_| value()).collect())
}
