//! How a [`SchemaInfo`] is read from a server.

use std::borrow::Cow;

use super::{
    ClassifyReason, SchemaInfo,
    schema_info::{KnownObject, Names},
};

/// Lists the objects of the current database: seven columns, for [`SchemaInfoBuilder::row`]. A single statement; sound
/// under any `search_path`; takes only the locks of a catalog reader; PostgreSQL 14 to 18. Requires `jit = off` and
/// `client_encoding = 'UTF8'` (`SET LOCAL` in the same transaction).
pub(super) const SCHEMA_INFO_SQL: &str = include_str!("schema_info.sql");

/// Returns [`SCHEMA_INFO_SQL`], extended from the relations in `primary_only` (schema, or any; name) to all readers:
/// views, functions, parents and children.
#[must_use]
pub fn schema_info_sql(primary_only: &[(Option<String>, String)]) -> Cow<'static, str> {
    if primary_only.is_empty() {
        return Cow::Borrowed(SCHEMA_INFO_SQL);
    }
    let rows: Vec<String> = primary_only
        .iter()
        .map(|(schema, name)| {
            format!("({}, {})", schema.as_deref().map_or("NULL".to_owned(), literal), literal(name))
        })
        .collect();
    Cow::Owned(SCHEMA_INFO_SQL.replacen(LISTED, &rows.join(", "), 1))
}

/// Row in [`SCHEMA_INFO_SQL`] without a relation, replaced by the rows of `primary_only`.
const LISTED: &str = "/* listed */ (NULL, NULL)";

/// Returns `text` as an expression with equal meaning under every quoting rule.
fn literal(text: &str) -> String {
    let digits: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("pg_catalog.convert_from(pg_catalog.decode('{digits}', 'hex'), 'UTF8')")
}

/// Takes the rows of [`schema_info_sql`].
#[derive(Default)]
pub struct SchemaInfoBuilder {
    schema_info: SchemaInfo,
}

/// A row is not a row of [`schema_info_sql`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("invalid row in the response to the schema information query")]
pub struct UnknownRow;

// === impl SchemaInfoBuilder ===

impl SchemaInfoBuilder {
    /// A builder without rows.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a row, in text format and UTF-8.
    ///
    /// # Errors
    /// [`UnknownRow`] for an invalid row, which is ignored as a whole.
    pub fn row(&mut self, columns: &[&[u8]]) -> Result<(), UnknownRow> {
        let [kind, schema, name, why, least, most, of_row] = columns else { return Err(UnknownRow) };
        let number = |bytes: &[u8]| {
            let text = str::from_utf8(bytes).map_err(|_| UnknownRow)?;
            let number: i64 = text.parse().map_err(|_| UnknownRow)?;
            Ok(u16::try_from(number.max(0)).unwrap_or(u16::MAX))
        };
        let object = KnownObject {
            schema: String::from_utf8_lossy(schema).into(),
            reason: reason(why)?,
            arguments: (number(least)?, number(most)?),
            of_row: *of_row == b"t",
        };
        let names: &mut Names = match *kind {
            b"f" => &mut self.schema_info.functions,
            b"r" => &mut self.schema_info.relations,
            b"o" => &mut self.schema_info.operators,
            b"t" => &mut self.schema_info.types,
            _ => return Err(UnknownRow),
        };
        names.entry(String::from_utf8_lossy(name).into()).or_default().push(object);
        Ok(())
    }

    /// Builds the result. `epoch` identifies the catalog state.
    #[must_use]
    pub fn build(self, epoch: u64) -> SchemaInfo {
        self.schema_info.with_epoch(epoch)
    }
}

/// Parses the fourth column.
fn reason(why: &[u8]) -> Result<Option<ClassifyReason>, UnknownRow> {
    Ok(Some(match why {
        b"" => return Ok(None),
        b"v" => ClassifyReason::VolatileFunction,
        b"d" => ClassifyReason::Definition,
        b"p" => ClassifyReason::PrimaryOnly,
        b"t" => ClassifyReason::Temporary,
        b"u" => ClassifyReason::Unlogged,
        b"f" => ClassifyReason::Foreign,
        b"s" => ClassifyReason::Sequence,
        _ => return Err(UnknownRow),
    }))
}
