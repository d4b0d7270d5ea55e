//! Actions of sessions as SQL, and the meaning of the responses.

use super::history::{Fact, Outcome};

/// Registers, numbered from 0.
pub(super) const REGISTERS: usize = 16;
/// Pairs of accounts: pair `n` has the accounts `2n` and `2n + 1`.
pub(super) const PAIRS: usize = 4;
/// Constant sum of the accounts of a pair.
pub(super) const SUM: i64 = 1000;
/// Number of the first list: `applied.place` tells registers from lists by number.
pub(super) const FIRST_LIST: i64 = 1000;

/// A statement with the values of the parameters.
#[derive(Debug, Clone)]
pub(super) struct Statement {
    pub(super) sql: &'static str,
    pub(super) values: Vec<i64>,
}

/// An action of a session.
#[derive(Debug, Clone, Copy)]
pub(super) enum Deed {
    /// Writes a register: the version grows by 1.
    Write { register: i64, op: i64 },
    /// Appends to a list.
    Append { list: i64, op: i64 },
    /// Calls a function that promises not to write, and does.
    Lie { op: i64 },
    /// Moves an amount between accounts: one half of the move.
    Move { account: i64, amount: i64 },
    /// Reads a register, in one of several wordings.
    Read { register: i64, wording: usize },
    /// Reads a register, and takes long.
    ReadSlowly { register: i64 },
    /// Reads a list.
    ReadList { list: i64 },
    /// Reads an account.
    ReadAccount { account: i64 },
    /// Begins or ends a transaction.
    Control(&'static str),
}

/// Tables of all actions. A write leaves a row in `applied` for each application.
pub(super) const SCHEMA: &str = "\
CREATE TABLE register (id int8 PRIMARY KEY, version int8 NOT NULL, op int8);\
CREATE TABLE list (id int8 PRIMARY KEY, items int8[] NOT NULL);\
CREATE TABLE account (id int8 PRIMARY KEY, balance int8 NOT NULL);\
CREATE TABLE applied (op int8 NOT NULL, place int8, version int8);\
GRANT ALL ON ALL TABLES IN SCHEMA public TO app;\
CREATE FUNCTION write_down(op int8) RETURNS int8 LANGUAGE sql VOLATILE AS \
$$ INSERT INTO applied VALUES (op, -1, 0) RETURNING op $$;\
CREATE FUNCTION sly(op int8) RETURNS int8 LANGUAGE plpgsql STABLE AS \
$$ BEGIN RETURN write_down(op); END $$;";

/// Resets the tables to the beginning.
pub(super) const ANEW: &str = "\
TRUNCATE register, list, account, applied;\
INSERT INTO register SELECT n, 0 FROM generate_series(0, 15) n;\
INSERT INTO account SELECT n, 500 FROM generate_series(0, 7) n;";

const WRITE: &str = "WITH written AS (UPDATE register SET version = version + 1, op = $2 WHERE id = $1 RETURNING version) \
     INSERT INTO applied (op, place, version) SELECT $2, $1, version FROM written RETURNING version::text";
const APPEND: &str = "WITH grown AS (INSERT INTO list (id, items) VALUES ($1, ARRAY[$2::int8]) \
     ON CONFLICT (id) DO UPDATE SET items = list.items || excluded.items RETURNING id) \
     INSERT INTO applied (op, place, version) SELECT $2, id, 0 FROM grown RETURNING place::text";
const LIE: &str = "SELECT sly($1)::text";
const MOVE: &str = "UPDATE account SET balance = balance + $2 WHERE id = $1 RETURNING balance::text";
const READ: [&str; 4] = [
    "SELECT version::text FROM register WHERE id = $1",
    "WITH all_of_them AS (SELECT id, version FROM register) SELECT version::text FROM all_of_them WHERE id = $1",
    "SELECT max(r.version)::text FROM register r JOIN register s USING (id) WHERE s.id = $1",
    "SELECT (SELECT version FROM register WHERE id = $1)::text",
];
/// The fence prevents a sleep for every register.
const READ_SLOWLY: &str = "SELECT max(version)::text FROM (SELECT version FROM register WHERE id = $1 OFFSET 0) one \
                           WHERE pg_sleep(0.3) IS NOT NULL";
const READ_LIST: &str = "SELECT items::text FROM list WHERE id = $1";
const READ_ACCOUNT: &str = "SELECT balance::text FROM account WHERE id = $1";

// === impl Statement ===

impl Statement {
    /// The statement with its values inserted.
    pub(super) fn text(&self) -> String {
        let numbered = self.values.iter().enumerate();
        numbered.fold(self.sql.to_owned(), |sql, (at, value)| {
            sql.replace(&format!("${}", at + 1), &value.to_string())
        })
    }
}

// === impl Deed ===

impl Deed {
    pub(super) fn statement(self) -> Statement {
        let (sql, values) = match self {
            Self::Write { register, op } => (WRITE, vec![register, op]),
            Self::Append { list, op } => (APPEND, vec![list, op]),
            Self::Lie { op } => (LIE, vec![op]),
            Self::Move { account, amount } => (MOVE, vec![account, amount]),
            Self::Read { register, wording } => (READ[wording % READ.len()], vec![register]),
            Self::ReadSlowly { register } => (READ_SLOWLY, vec![register]),
            Self::ReadList { list } => (READ_LIST, vec![list]),
            Self::ReadAccount { account } => (READ_ACCOUNT, vec![account]),
            Self::Control(sql) => (sql, Vec::new()),
        };
        Statement { sql, values }
    }

    /// The number of an operation that must be applied once.
    pub(super) const fn op(self) -> Option<i64> {
        match self {
            Self::Write { op, .. } | Self::Append { op, .. } | Self::Lie { op } => Some(op),
            _ => None,
        }
    }

    /// True if the action only reads.
    pub(super) const fn reads(self) -> bool {
        matches!(
            self,
            Self::Read { .. } | Self::ReadSlowly { .. } | Self::ReadList { .. } | Self::ReadAccount { .. }
        )
    }

    /// Fact about the servers in the response, the first column of each row.
    pub(super) fn facts_from(self, rows: &[String]) -> Option<Fact> {
        let number = || rows.first().and_then(|text| text.parse().ok());
        match self {
            Self::Write { register, .. } => Some(Fact::Wrote { register, version: number() }),
            Self::Append { list, op } => Some(Fact::Grew { list, op }),
            Self::Read { register, .. } | Self::ReadSlowly { register } => {
                Some(Fact::Sees { register, version: number() })
            }
            Self::ReadList { list } => {
                let text = rows.first().map_or("{}", String::as_str);
                let items = text.trim_matches(['{', '}']).split(',').filter_map(|item| item.parse().ok());
                Some(Fact::SeesList { list, items: items.collect() })
            }
            Self::Lie { .. } | Self::Move { .. } | Self::ReadAccount { .. } | Self::Control(_) => None,
        }
    }

    /// Outcome of the write, if the action is a write.
    pub(super) fn came_to(self, outcome: Outcome) -> Option<Fact> {
        self.op().map(|op| Fact::CameTo { op, outcome })
    }
}
