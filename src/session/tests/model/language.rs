//! SQL statements known to the fake server.
//!
//! A text outside this language is an error of the test: [`parse`] panics, so that no statement counts as executed that
//! the fake server does not understand.

/// Statement of the language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sql {
    Constant(String),
    /// `SELECT $1`.
    Echo,
    ThreeRows,
    DivisionByZero,
    Set {
        name: String,
        value: String,
        local: bool,
    },
    /// `None` resets all settings but the role.
    Reset(Option<String>),
    Show(String),
    CurrentSetting(String),
    SetConfig {
        name: Term,
        value: Term,
        local: bool,
    },
    CurrentUser,
    Begin,
    BeginReadOnly,
    SetReadOnly,
    Commit,
    Rollback,
    Savepoint(String),
    Release(String),
    RollbackTo(String),
    DiscardAll,
    DiscardSequences,
    Prepare {
        name: String,
        text: String,
    },
    Execute(String),
    /// `None` deallocates all.
    Deallocate(Option<String>),
    ListPrepared,
    Listen(String),
    Unlisten(Option<String>),
    ListChannels,
    Lock(i64),
    Unlock(i64),
    UnlockAll,
    CreateTemporary {
        name: String,
        drops_on_commit: bool,
    },
    DropTable(String),
    SelectFrom(String),
    Declare {
        name: String,
        holds: bool,
    },
    Fetch(String),
    CloseCursor(Option<String>),
    NextValue(String),
    LastValue,
    Insert(String),
    Count(String),
    Copy(String),
}

/// Argument of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Term {
    Literal(String),
    /// Number of a Bind parameter, from zero.
    Parameter(usize),
}

/// Statements of `text`; `None` for a syntax error.
pub(super) fn parse(text: &str) -> Option<Vec<Sql>> {
    let tokens = tokens(text);
    let statements = tokens.split(|token| *token == ";").filter(|statement| !statement.is_empty());
    statements.map(|statement| one(statement, text)).collect()
}

fn one(tokens: &[&str], text: &str) -> Option<Sql> {
    use Sql::{
        CloseCursor, Constant, Copy, Count, CreateTemporary, Deallocate, Declare, DropTable, Execute, Fetch,
        Insert, Listen, Lock, NextValue, Prepare, Reset, SelectFrom, Set, SetConfig, Show, Unlisten, Unlock,
    };
    let set = |name: &str, value: &str, local| Set { name: name.into(), value: bare(value), local };
    Some(match *tokens {
        ["SELEC"] => return None,
        ["SELECT", "$1"] => Sql::Echo,
        ["SELECT", "1", "/", "0"] => Sql::DivisionByZero,
        ["SELECT", "current_user"] => Sql::CurrentUser,
        ["SELECT", "*", "FROM", name] => SelectFrom(name.into()),
        ["SELECT", "name", "FROM", "pg_prepared_statements", "ORDER", "BY", "name"] => Sql::ListPrepared,
        ["SELECT", "count", "(", "*", ")", "FROM", name] => Count(name.into()),
        ["SELECT", "coalesce", "(", "current_setting", "(", name, ",", "true", ")", ",", "''", ")"] => {
            Sql::CurrentSetting(bare(name))
        }
        ["SELECT", "set_config", "(", name, ",", value, ",", local, ")"] => {
            SetConfig { name: term(name), value: term(value), local: local == "true" }
        }
        ["SELECT", "pg_listening_channels", "(", ")"] => Sql::ListChannels,
        ["SELECT", "pg_advisory_lock", "(", key, ")"] => Lock(key.parse().expect("a number")),
        ["SELECT", "pg_advisory_unlock", "(", key, ")"] => Unlock(key.parse().expect("a number")),
        ["SELECT", "pg_advisory_unlock_all", "(", ")"] => Sql::UnlockAll,
        ["SELECT", "nextval", "(", name, ")"] => NextValue(bare(name)),
        ["SELECT", "lastval", "(", ")"] => Sql::LastValue,
        ["SELECT", value] if value.starts_with('\'') => Constant(bare(value)),
        ["VALUES", "(", "1", ")", ",", "(", "2", ")", ",", "(", "3", ")"] => Sql::ThreeRows,
        ["SET", "ROLE", "NONE"] | ["RESET", "ROLE"] => Reset(Some("role".into())),
        ["SET", "ROLE", name] => set("role", name, false),
        ["SET", "LOCAL", name, "=", value] => set(name, value, true),
        ["SET", name, "=", value] => set(name, value, false),
        ["RESET", "ALL"] => Reset(None),
        ["RESET", name] => Reset(Some(name.into())),
        ["SHOW", name] => Show(name.into()),
        ["BEGIN"] => Sql::Begin,
        ["BEGIN", "READ", "ONLY"] => Sql::BeginReadOnly,
        ["SET", "TRANSACTION", "READ", "ONLY"] => Sql::SetReadOnly,
        ["COMMIT"] => Sql::Commit,
        ["ROLLBACK"] => Sql::Rollback,
        ["SAVEPOINT", name] => Sql::Savepoint(name.into()),
        ["RELEASE", name] => Sql::Release(name.into()),
        ["ROLLBACK", "TO", name] => Sql::RollbackTo(name.into()),
        ["DISCARD", "ALL"] => Sql::DiscardAll,
        ["DISCARD", "SEQUENCES"] => Sql::DiscardSequences,
        ["PREPARE", name, "AS", ..] => {
            let (_, body) = text.split_once(" AS ").expect("a PREPARE");
            Prepare { name: name.into(), text: body.into() }
        }
        ["EXECUTE", name] => Execute(bare(name)),
        ["DEALLOCATE", "ALL"] => Deallocate(None),
        ["DEALLOCATE", name] => Deallocate(Some(bare(name))),
        ["LISTEN", name] => Listen(name.into()),
        ["UNLISTEN", "*"] => Unlisten(None),
        ["UNLISTEN", name] => Unlisten(Some(name.into())),
        ["CREATE", "TEMP", "TABLE", name, "(", "a", "int", ")", ref rest @ ..] => {
            CreateTemporary { name: name.into(), drops_on_commit: !rest.is_empty() }
        }
        ["DROP", "TABLE", name] => DropTable(name.into()),
        ["DECLARE", name, "CURSOR", "WITH", "HOLD", "FOR", ..] => Declare { name: name.into(), holds: true },
        ["DECLARE", name, "CURSOR", "FOR", ..] => Declare { name: name.into(), holds: false },
        ["FETCH", "1", "FROM", name] => Fetch(name.into()),
        ["CLOSE", "ALL"] => CloseCursor(None),
        ["CLOSE", name] => CloseCursor(Some(name.into())),
        ["INSERT", "INTO", name, "VALUES", "(", "1", ")"] => Insert(name.into()),
        ["COPY", name, "FROM", "STDIN"] => Copy(name.into()),
        _ => panic!("the fake server does not know the statement {tokens:?}"),
    })
}

/// Words, quoted texts and symbols of `text`.
fn tokens(text: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let word = |c: char| c.is_ascii_alphanumeric() || "_.$".contains(c);
        let length = match first {
            '\'' | '"' => rest[1..].find(first).expect("a closing quote") + 2,
            _ if word(first) => rest.find(|c| !word(c)).unwrap_or(rest.len()),
            _ => first.len_utf8(),
        };
        let (token, behind) = rest.split_at(length);
        tokens.push(token);
        rest = behind.trim_start();
    }
    tokens
}

fn bare(token: &str) -> String {
    token.trim_matches(['\'', '"']).to_owned()
}

fn term(token: &str) -> Term {
    match token.strip_prefix('$') {
        Some(number) => Term::Parameter(number.parse::<usize>().expect("a number") - 1),
        None => Term::Literal(bare(token)),
    }
}

// === impl Sql ===

impl Sql {
    /// True if the statement may run in a failed transaction: it ends the transaction, or the failed part of it.
    pub(super) fn ends_transaction(&self) -> bool {
        matches!(self, Self::Commit | Self::Rollback | Self::RollbackTo(_))
    }

    /// True for BEGIN, COMMIT and ROLLBACK.
    pub(super) fn is_transaction_command(&self) -> bool {
        matches!(self, Self::Begin | Self::BeginReadOnly | Self::Commit | Self::Rollback)
    }

    /// True if `PREPARE` and `EXECUTE` accept the statement.
    pub(super) fn is_plannable(&self) -> bool {
        matches!(
            self,
            Self::Constant(_)
                | Self::Echo
                | Self::ThreeRows
                | Self::DivisionByZero
                | Self::CurrentSetting(_)
                | Self::SetConfig { .. }
                | Self::CurrentUser
                | Self::ListPrepared
                | Self::ListChannels
                | Self::Lock(_)
                | Self::Unlock(_)
                | Self::UnlockAll
                | Self::SelectFrom(_)
                | Self::NextValue(_)
                | Self::LastValue
                | Self::Insert(_)
                | Self::Count(_)
        )
    }

    /// Count of Bind parameters.
    pub(super) fn parameters(&self) -> usize {
        match self {
            Self::Echo => 1,
            Self::SetConfig { name, value, .. } => {
                [name, value].into_iter().filter(|term| matches!(term, Term::Parameter(_))).count()
            }
            _ => 0,
        }
    }
}
