//! How a [`Knowledge`] is read from a server.

use std::borrow::Cow;

use super::{
    Ground, Knowledge,
    knowledge::{Names, Object},
};

/// Lists what is known of the current database: seven columns, for [`KnowledgeBuilder::row`]. One statement; sound under any
/// `search_path`; takes no locks but those of a catalogue's readers; PostgreSQL 14 to 18. To be run with `jit = off` and
/// `client_encoding = 'UTF8'` (`SET LOCAL` in its transaction).
pub(super) const KNOWLEDGE_SQL: &str = include_str!("knowledge.sql");

/// Returns [`KNOWLEDGE_SQL`], extended from the relations in `primary_only` (schema, or any; name) to all readers:
/// views, functions, parents and children.
#[must_use]
pub fn knowledge_sql(primary_only: &[(Option<String>, String)]) -> Cow<'static, str> {
    if primary_only.is_empty() {
        return Cow::Borrowed(KNOWLEDGE_SQL);
    }
    let rows: Vec<String> = primary_only
        .iter()
        .map(|(schema, name)| {
            format!("({}, {})", schema.as_deref().map_or("NULL".to_owned(), literal), literal(name))
        })
        .collect();
    Cow::Owned(KNOWLEDGE_SQL.replacen(LISTED, &rows.join(", "), 1))
}

/// Row in [`KNOWLEDGE_SQL`] without a relation, replaced by the rows of `primary_only`.
const LISTED: &str = "/* listed */ (NULL, NULL)";

/// Returns `text` as an expression with equal meaning under every quoting rule.
fn literal(text: &str) -> String {
    let digits: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("pg_catalog.convert_from(pg_catalog.decode('{digits}', 'hex'), 'UTF8')")
}

/// Takes the rows of [`knowledge_sql`].
#[derive(Default)]
pub struct KnowledgeBuilder {
    knowledge: Knowledge,
}

/// A row is not a row of [`knowledge_sql`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a row is not of the list of what a database has")]
pub struct UnknownRow;

// === impl KnowledgeBuilder ===

impl KnowledgeBuilder {
    /// Nothing was read yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One row, in text format, in UTF-8.
    ///
    /// # Errors
    /// [`UnknownRow`]: nothing of it was taken.
    pub fn row(&mut self, columns: &[&[u8]]) -> Result<(), UnknownRow> {
        let [kind, schema, name, why, least, most, of_row] = columns else { return Err(UnknownRow) };
        let number = |bytes: &[u8]| {
            let text = str::from_utf8(bytes).map_err(|_| UnknownRow)?;
            let number: i64 = text.parse().map_err(|_| UnknownRow)?;
            Ok(u16::try_from(number.max(0)).unwrap_or(u16::MAX))
        };
        let object = Object {
            schema: String::from_utf8_lossy(schema).into(),
            ground: ground(why)?,
            arguments: (number(least)?, number(most)?),
            of_row: *of_row == b"t",
        };
        let names: &mut Names = match *kind {
            b"f" => &mut self.knowledge.functions,
            b"r" => &mut self.knowledge.relations,
            b"o" => &mut self.knowledge.operators,
            b"t" => &mut self.knowledge.types,
            _ => return Err(UnknownRow),
        };
        names.entry(String::from_utf8_lossy(name).into()).or_default().push(object);
        Ok(())
    }

    /// All rows were read. `epoch` tells this edition from those before it.
    #[must_use]
    pub fn build(self, epoch: u64) -> Knowledge {
        self.knowledge.with_epoch(epoch)
    }
}

/// What the fourth column says.
fn ground(why: &[u8]) -> Result<Option<Ground>, UnknownRow> {
    Ok(Some(match why {
        b"" => return Ok(None),
        b"v" => Ground::VolatileFunction,
        b"d" => Ground::Definition,
        b"p" => Ground::PrimaryOnly,
        b"t" => Ground::Temporary,
        b"u" => Ground::Unlogged,
        b"f" => Ground::Foreign,
        b"s" => Ground::Sequence,
        _ => return Err(UnknownRow),
    }))
}
