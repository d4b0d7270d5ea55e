//! Execution of statements on the state of a fake server.

use super::{
    language::{Sql, Term, parse},
    settings::{check_name, set},
    state::{Block, Cluster, Cursor, ListenChange, Prepared, State},
};

/// Error of a statement: SQLSTATE and message.
#[derive(Debug, Clone)]
pub(super) struct Failure(pub(super) &'static str, pub(super) String);

/// Result of a statement.
#[derive(Default, Debug)]
pub(super) struct Reply {
    /// Rows of one column; `None` for a statement without a result.
    pub(super) rows: Option<Vec<String>>,
    /// Tag of CommandComplete, without the row count of a result.
    pub(super) tag: String,
    /// Warning: SQLSTATE and message.
    pub(super) warning: Option<(&'static str, &'static str)>,
}

/// Position of a statement in its message and batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Position {
    Alone,
    /// One of several statements of a Query.
    AmongOthers,
}

pub(super) const FAILED_TRANSACTION: &str =
    "current transaction is aborted, commands ignored until end of transaction block";

/// Executes `statement`, with literals in place of parameters. COPY is executed by the server.
pub(super) fn execute(
    statement: &Sql,
    position: Position,
    state: &mut State,
    cluster: &mut Cluster,
) -> Result<Reply, Failure> {
    check_writes(statement, state)?;
    Ok(match statement {
        Sql::Constant(value) => row(value.clone()),
        Sql::Echo | Sql::Copy(_) => unreachable!("executed by the server"),
        Sql::ThreeRows => rows("SELECT", vec!["1".into(), "2".into(), "3".into()]),
        Sql::DivisionByZero => return fail("22012", "division by zero"),
        Sql::Set { name, value, local } => {
            set(state, name, value, *local)?;
            let warns = *local && state.block == Block::None && position == Position::Alone;
            let warning = ("25P01", "SET LOCAL can only be used in transaction blocks");
            Reply { warning: warns.then_some(warning), ..done("SET") }
        }
        Sql::Reset(Some(name)) => {
            check_name(name)?;
            state.reset(name);
            done("RESET")
        }
        Sql::Reset(None) => {
            state.reset_all();
            done("RESET")
        }
        Sql::Show(name) => {
            check_name(name)?;
            rows("SHOW", vec![state.value(name).unwrap_or_default().into()])
        }
        Sql::CurrentSetting(name) => row(state.value(name).unwrap_or_default().into()),
        Sql::SetConfig { name: Term::Literal(name), value: Term::Literal(value), local } => {
            set(state, name, value, *local)?;
            row(state.value(name).unwrap_or_default().into())
        }
        Sql::SetConfig { .. } => unreachable!("parameters are literals by now"),
        Sql::CurrentUser => {
            row(state.value("role").filter(|role| *role != "none").unwrap_or("login").to_owned())
        }
        Sql::Begin | Sql::BeginReadOnly | Sql::Commit | Sql::Rollback => {
            transaction(statement, state, cluster)
        }
        Sql::SetReadOnly => {
            state.kept.is_read_only = true;
            let warns = state.block == Block::None && position == Position::Alone;
            let warning = ("25P01", "SET TRANSACTION can only be used in transaction blocks");
            Reply { warning: warns.then_some(warning), ..done("SET") }
        }
        Sql::Savepoint(_) | Sql::Release(_) | Sql::RollbackTo(_) => return savepoint(statement, state),
        Sql::DiscardAll => {
            if state.block != Block::None {
                return fail("25001", "DISCARD ALL cannot run inside a transaction block");
            }
            if state.is_pipelined || position == Position::AmongOthers {
                return fail("25001", "DISCARD ALL cannot be executed within a pipeline");
            }
            state.discard();
            done("DISCARD ALL")
        }
        Sql::DiscardSequences => {
            state.last_value = None;
            done("DISCARD SEQUENCES")
        }
        Sql::Prepare { .. } | Sql::Execute(_) | Sql::Deallocate(_) | Sql::ListPrepared => {
            return prepared(statement, position, state, cluster);
        }
        Sql::Listen(channel) => {
            state.listen_changes.push(ListenChange::Listen(channel.clone()));
            done("LISTEN")
        }
        Sql::Unlisten(channel) => {
            state.listen_changes.push(ListenChange::Unlisten(channel.clone()));
            done("UNLISTEN")
        }
        Sql::ListChannels => rows("SELECT", state.listens.iter().cloned().collect()),
        Sql::Lock(key) => {
            *state.locks.entry(*key).or_default() += 1;
            row(String::new())
        }
        Sql::Unlock(key) => {
            let Some(count) = state.locks.get_mut(key) else {
                let warning = Some(("01000", "you don't own a lock of type ExclusiveLock"));
                return Ok(Reply { warning, ..row("f".into()) });
            };
            *count -= 1;
            state.locks.retain(|_, count| *count > 0);
            row("t".into())
        }
        Sql::UnlockAll => {
            state.locks.clear();
            row(String::new())
        }
        Sql::CreateTemporary { name, drops_on_commit } => {
            if state.kept.tables.contains_key(name) {
                return fail("42P07", format!("relation \"{name}\" already exists"));
            }
            state.kept.tables.insert(name.clone(), *drops_on_commit);
            done("CREATE TABLE")
        }
        Sql::DropTable(name) => {
            if state.kept.tables.remove(name).is_none() {
                return fail("42P01", format!("table \"{name}\" does not exist"));
            }
            done("DROP TABLE")
        }
        Sql::SelectFrom(name) => {
            if !state.kept.tables.contains_key(name) {
                return fail("42P01", format!("relation \"{name}\" does not exist"));
            }
            rows("SELECT", Vec::new())
        }
        Sql::Declare { .. } | Sql::Fetch(_) | Sql::CloseCursor(_) => {
            return cursor(statement, position, state);
        }
        Sql::NextValue(name) => {
            let value = cluster.sequences.entry(name.clone()).or_default();
            *value += 1;
            state.last_value = Some(*value);
            row(value.to_string())
        }
        Sql::LastValue => match state.last_value {
            Some(value) => row(value.to_string()),
            None => return fail("55000", "lastval is not yet defined in this session"),
        },
        Sql::Insert(table) => {
            *state.kept.rows.entry(table.clone()).or_default() += 1;
            done("INSERT 0 1")
        }
        Sql::Count(table) => {
            let of = |rows: &std::collections::BTreeMap<String, i64>| rows.get(table).copied().unwrap_or(0);
            let committed = match state.replayed {
                None => of(&cluster.rows),
                Some(replayed) => cluster.rows_at(table, replayed),
            };
            row((committed + of(&state.kept.rows)).to_string())
        }
    })
}

/// Fails for a write in a READ ONLY transaction.
///
/// # Panics
/// A standby gets a write outside a READ ONLY transaction.
pub(super) fn check_writes(statement: &Sql, state: &State) -> Result<(), Failure> {
    let command = match statement {
        Sql::Insert(_) => "INSERT",
        Sql::Copy(_) => "COPY FROM",
        Sql::CreateTemporary { .. } => "CREATE TABLE",
        Sql::DropTable(_) => "DROP TABLE",
        Sql::NextValue(_) => "nextval()",
        _ => return Ok(()),
    };
    let is_sent_to_standby = state.replayed.is_some() && !state.kept.is_read_only;
    assert!(!is_sent_to_standby, "a read pool gets the write {statement:?}");
    if state.is_read_only() {
        return fail("25006", format!("cannot execute {command} in a read-only transaction"));
    }
    Ok(())
}

fn transaction(statement: &Sql, state: &mut State, cluster: &mut Cluster) -> Reply {
    let warning = |code, text| Some((code, text));
    let before = state.block;
    match statement {
        Sql::Begin | Sql::BeginReadOnly if before == Block::Open => {
            state.kept.is_read_only |= *statement == Sql::BeginReadOnly;
            return Reply {
                warning: warning("25001", "there is already a transaction in progress"),
                ..done("BEGIN")
            };
        }
        Sql::Begin | Sql::BeginReadOnly => {
            state.block = Block::Open;
            state.kept.is_read_only |= *statement == Sql::BeginReadOnly;
            return done("BEGIN");
        }
        Sql::Commit if before != Block::Failed => state.commit(cluster),
        _ => state.roll_back(),
    }
    state.block = Block::None;
    let warning = (before == Block::None).then_some(("25P01", "there is no transaction in progress"));
    let tag = if *statement == Sql::Commit && before != Block::Failed { "COMMIT" } else { "ROLLBACK" };
    Reply { warning, ..done(tag) }
}

fn savepoint(statement: &Sql, state: &mut State) -> Result<Reply, Failure> {
    let (tag, command) = match statement {
        Sql::Savepoint(_) => ("SAVEPOINT", "SAVEPOINT"),
        Sql::Release(_) => ("RELEASE", "RELEASE SAVEPOINT"),
        _ => ("ROLLBACK", "ROLLBACK TO SAVEPOINT"),
    };
    if state.block == Block::None {
        return fail("25P01", format!("{command} can only be used in transaction blocks"));
    }
    let (Sql::Savepoint(name) | Sql::Release(name) | Sql::RollbackTo(name)) = statement else {
        unreachable!("a statement about savepoints")
    };
    let is_known = match statement {
        Sql::Savepoint(_) => {
            state.begin_savepoint(name);
            true
        }
        Sql::Release(_) => state.release_savepoint(name),
        _ => state.roll_back_to(name),
    };
    if is_known { Ok(done(tag)) } else { fail("3B001", format!("savepoint \"{name}\" does not exist")) }
}

fn prepared(
    statement: &Sql,
    position: Position,
    state: &mut State,
    cluster: &mut Cluster,
) -> Result<Reply, Failure> {
    match statement {
        Sql::Prepare { name, text } => {
            if state.prepared.contains_key(name) {
                return fail("42P05", format!("prepared statement \"{name}\" already exists"));
            }
            state.prepared.insert(name.clone(), Prepared { text: text.clone(), by_sql: true });
            Ok(done("PREPARE"))
        }
        Sql::Execute(name) => {
            let inner = executed_by(name, state)?;
            execute(&inner, position, state, cluster)
        }
        Sql::Deallocate(Some(name)) => match state.prepared.remove(name) {
            Some(_) => Ok(done("DEALLOCATE")),
            None => fail("26000", format!("prepared statement \"{name}\" does not exist")),
        },
        Sql::Deallocate(None) => {
            state.prepared.clear();
            Ok(done("DEALLOCATE ALL"))
        }
        _ => Ok(rows("SELECT", state.prepared.keys().cloned().collect())),
    }
}

/// Statement executed by `EXECUTE name`.
pub(super) fn executed_by(name: &str, state: &State) -> Result<Sql, Failure> {
    let Some(prepared) = state.prepared.get(name) else {
        return fail("26000", format!("prepared statement \"{name}\" does not exist"));
    };
    match parse(&prepared.text).as_deref() {
        Some([inner]) if inner.is_plannable() && inner.parameters() == 0 => Ok(inner.clone()),
        Some([inner]) if inner.is_plannable() => {
            fail("42601", format!("wrong number of parameters for prepared statement \"{name}\""))
        }
        // PostgreSQL executes most utility statements here; the language does without.
        _ => fail("0A000", format!("the fake server does not execute the text of \"{name}\"")),
    }
}

fn cursor(statement: &Sql, position: Position, state: &mut State) -> Result<Reply, Failure> {
    match statement {
        Sql::Declare { name, holds } => {
            let is_block = state.block == Block::Open || position == Position::AmongOthers;
            if !holds && !is_block {
                return fail("25P01", "DECLARE CURSOR can only be used in transaction blocks");
            }
            if state.cursors.contains_key(name) {
                return fail("42P03", format!("cursor \"{name}\" already exists"));
            }
            let cursor = Cursor { holds: *holds, is_new: true, is_read: false, level: state.level() };
            state.cursors.insert(name.clone(), cursor);
            Ok(done("DECLARE CURSOR"))
        }
        Sql::Fetch(name) => match state.cursors.get_mut(name) {
            Some(cursor) => {
                let was_read = std::mem::replace(&mut cursor.is_read, true);
                Ok(rows("FETCH", if was_read { Vec::new() } else { vec!["1".into()] }))
            }
            None => fail("34000", format!("cursor \"{name}\" does not exist")),
        },
        Sql::CloseCursor(Some(name)) => match state.cursors.remove(name) {
            Some(_) => Ok(done("CLOSE CURSOR")),
            None => fail("34000", format!("cursor \"{name}\" does not exist")),
        },
        _ => {
            state.cursors.clear();
            Ok(done("CLOSE CURSOR ALL"))
        }
    }
}

pub(super) fn fail<T>(code: &'static str, message: impl Into<String>) -> Result<T, Failure> {
    Err(Failure(code, message.into()))
}

fn done(tag: &str) -> Reply {
    Reply { tag: tag.into(), ..Reply::default() }
}

fn row(value: String) -> Reply {
    rows("SELECT", vec![value])
}

fn rows(tag: &str, rows: Vec<String>) -> Reply {
    Reply { rows: Some(rows), ..done(tag) }
}
