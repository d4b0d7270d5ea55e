//! Check by a second parser of texts classified as reads.

use sqlparser::{
    ast::{Query, SetExpr, Statement, TableFactor, TableWithJoins},
    dialect::PostgreSqlDialect,
    parser::Parser,
};

/// Longer texts are not checked: dropping the tree of a long flat chain overflows the parser's stack.
pub(super) const LONGEST: usize = 16 * 1024;

/// True if the second parser reads `text` as anything but `statements` read-only statements. A text that the parser
/// rejects counts as agreement.
///
/// Checks only the tops of statements and nested statements: data changes stand at the top of a statement or in a WITH
/// query.
pub(super) fn disagrees(text: &str, statements: usize) -> bool {
    if text.len() > LONGEST {
        return false;
    }
    match Parser::parse_sql(&PostgreSqlDialect {}, text) {
        Err(_) => false,
        Ok(parsed) => parsed.len() != statements || !parsed.iter().all(is_read_only),
    }
}

fn is_read_only(statement: &Statement) -> bool {
    match statement {
        Statement::Query(query) => query_reads(query, 0),
        Statement::Explain { statement, .. } => is_read_only(statement),
        Statement::Copy { to, .. } => *to,
        // Read-only transactions within a text, with their statements.
        Statement::StartTransaction { .. }
        | Statement::Commit { .. }
        | Statement::Rollback { .. }
        | Statement::Savepoint { .. }
        | Statement::ReleaseSavepoint { .. }
        | Statement::Set(_)
        | Statement::Declare { .. } => true,
        _ => false,
    }
}

fn query_reads(query: &Query, depth: usize) -> bool {
    if depth > DEEPEST {
        return true;
    }
    query.locks.is_empty()
        && query.with.iter().flat_map(|with| &with.cte_tables).all(|cte| query_reads(&cte.query, depth + 1))
        && body_reads(&query.body, depth + 1)
}

fn body_reads(mut body: &SetExpr, depth: usize) -> bool {
    loop {
        match body {
            // Chains lean to the left.
            SetExpr::SetOperation { left, right, .. } => {
                if !body_reads(right, depth + 1) {
                    return false;
                }
                body = left;
            }
            SetExpr::Select(select) => {
                return select.into.is_none() && select.from.iter().all(|table| from_reads(table, depth));
            }
            SetExpr::Query(query) => return query_reads(query, depth),
            SetExpr::Values(_) | SetExpr::Table(_) => return true,
            SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => return false,
        }
    }
}

fn from_reads(table: &TableWithJoins, depth: usize) -> bool {
    std::iter::once(&table.relation).chain(table.joins.iter().map(|join| &join.relation)).all(|factor| {
        match factor {
            TableFactor::Derived { subquery, .. } => query_reads(subquery, depth + 1),
            TableFactor::NestedJoin { table_with_joins, .. } if depth <= DEEPEST => {
                from_reads(table_with_joins, depth + 1)
            }
            _ => true,
        }
    })
}

/// The parser rejects nesting deeper than 50.
const DEEPEST: usize = 100;
