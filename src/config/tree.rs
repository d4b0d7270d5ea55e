//! Values with positions, from file and environment alike.
//!
//! A file is read into a [`Table`], the environment is laid over it, and the settings are built from the result. serde
//! is not used, because serde stops at the first mistake.

use std::sync::Arc;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::problem::{Origin, ProblemReport};

/// A value with its source.
#[derive(Clone)]
pub(super) struct Item {
    pub(super) origin: Origin,
    pub(super) value: Value,
}

/// A value as written.
#[derive(Clone)]
pub(super) enum Value {
    Text(String),
    Integer(i64),
    Boolean(bool),
    List(Vec<Item>),
    Table(Table),
    /// A float, a date or a too large integer, which no setting accepts. Holds the type's name.
    Other(&'static str),
}

/// Keys with positions and values.
#[derive(Clone)]
pub(super) struct Table {
    entries: Vec<(String, Origin, Item)>,
}

// === impl Item ===

impl Item {
    pub(super) fn text(text: impl Into<String>, origin: &Origin) -> Self {
        Self { origin: origin.clone(), value: Value::Text(text.into()) }
    }

    pub(super) fn table(table: Table, origin: &Origin) -> Self {
        Self { origin: origin.clone(), value: Value::Table(table) }
    }

    pub(super) fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn as_table(&self) -> Option<&Table> {
        match &self.value {
            Value::Table(table) => Some(table),
            _ => None,
        }
    }

    /// Name of the type in messages.
    pub(super) fn kind(&self) -> &'static str {
        match &self.value {
            Value::Text(_) => "a string",
            Value::Integer(_) => "a number",
            Value::Boolean(_) => "a boolean",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
            Value::Other(kind) => kind,
        }
    }
}

// === impl Table ===

impl Table {
    /// An empty table.
    pub(super) const fn new() -> Self {
        Self { entries: Vec::new() }
    }

    pub(super) fn get(&self, key: &str) -> Option<&Item> {
        self.entries.iter().find(|(name, ..)| name == key).map(|(.., item)| item)
    }

    pub(super) fn get_mut(&mut self, key: &str) -> Option<&mut Item> {
        self.entries.iter_mut().find(|(name, ..)| name == key).map(|(.., item)| item)
    }

    /// The keys with their positions.
    pub(super) fn keys(&self) -> impl Iterator<Item = (&str, &Origin)> {
        self.entries.iter().map(|(name, origin, _)| (name.as_str(), origin))
    }

    pub(super) fn set(&mut self, key: &str, item: Item) {
        self.entries.retain(|(name, ..)| name != key);
        self.entries.push((key.to_owned(), item.origin.clone(), item));
    }

    pub(super) fn remove(&mut self, key: &str) {
        self.entries.retain(|(name, ..)| name != key);
    }

    /// The table at `key`, created if missing; replaces any other value.
    pub(super) fn table_mut(&mut self, key: &str, origin: &Origin) -> &mut Table {
        if self.get(key).is_none_or(|item| item.as_table().is_none()) {
            self.set(key, Item::table(Table::new(), origin));
        }
        match self.get_mut(key).map(|item| &mut item.value) {
            Some(Value::Table(table)) => table,
            _ => unreachable!("a table was just put there"),
        }
    }

    /// The list at `key`, created if missing; `None` if `key` has another value.
    fn list_mut(&mut self, key: &str, origin: &Origin) -> Option<&mut Vec<Item>> {
        if self.get(key).is_none() {
            self.set(key, Item { origin: origin.clone(), value: Value::List(Vec::new()) });
        }
        match self.get_mut(key).map(|item| &mut item.value) {
            Some(Value::List(list)) => Some(list),
            _ => None,
        }
    }

    /// Appends a table to the list at `key`, unless `key` has another value.
    pub(super) fn push_table(&mut self, key: &str, table: Table, origin: &Origin) {
        if let Some(list) = self.list_mut(key, origin) {
            list.push(Item::table(table, origin));
        }
    }

    /// The tables of the list at `key`; skips other values.
    pub(super) fn tables(&self, key: &str) -> impl Iterator<Item = &Table> {
        let list = match self.get(key).map(|item| &item.value) {
            Some(Value::List(list)) => list.as_slice(),
            _ => &[],
        };
        list.iter().filter_map(Item::as_table)
    }

    /// Mutable form of [`Table::tables`].
    pub(super) fn tables_mut(&mut self, key: &str) -> impl Iterator<Item = &mut Table> {
        let list = match self.get_mut(key).map(|item| &mut item.value) {
            Some(Value::List(list)) => list.as_mut_slice(),
            _ => &mut [],
        };
        list.iter_mut().filter_map(|item| match &mut item.value {
            Value::Table(table) => Some(table),
            _ => None,
        })
    }
}

// === TOML ===

/// Parses a document; reports syntax errors and returns the readable part.
pub(super) fn parse_document(file: &Arc<str>, text: &str, report: &ProblemReport) -> Table {
    let (document, errors) = DeTable::parse_recoverable(text);
    let lines = Lines { file, text };
    for error in errors {
        let at = error.span().map_or(0, |span| span.start);
        let what = format!("invalid TOML: {}", error.message().trim_end().replace('\n', ", "));
        report.problem(&lines.origin(at), "", what, "https://toml.io describes the format");
    }
    lines.table(document.get_ref())
}

/// Converts offsets in a document to positions.
struct Lines<'t> {
    file: &'t Arc<str>,
    text: &'t str,
}

impl Lines<'_> {
    fn origin(&self, offset: usize) -> Origin {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = before.matches('\n').count() + 1;
        let column = before[line_start..].chars().count() + 1;
        Origin::File { file: Arc::clone(self.file), line, column }
    }

    fn table(&self, table: &DeTable<'_>) -> Table {
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        Table {
            entries: entries
                .into_iter()
                .map(|(key, value)| {
                    (key.get_ref().to_string(), self.origin(key.span().start), self.item(value))
                })
                .collect(),
        }
    }

    fn item(&self, value: &Spanned<DeValue<'_>>) -> Item {
        let origin = self.origin(value.span().start);
        let value = match value.get_ref() {
            DeValue::String(text) => Value::Text(text.to_string()),
            DeValue::Boolean(flag) => Value::Boolean(*flag),
            DeValue::Integer(integer) => {
                match i64::from_str_radix(&integer.as_str().replace('_', ""), integer.radix()) {
                    Ok(number) => Value::Integer(number),
                    Err(_) => Value::Other("a number that is too large"),
                }
            }
            DeValue::Float(_) => Value::Other("a number with a fraction"),
            DeValue::Datetime(_) => Value::Other("a date or time"),
            DeValue::Array(list) => Value::List(list.iter().map(|item| self.item(item)).collect()),
            DeValue::Table(table) => Value::Table(self.table(table)),
        };
        Item { origin, value }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_lines_and_columns_from_one() {
        let report = ProblemReport::default();
        let table = parse_document(
            &"g.toml".into(),
            "a = 1\n\n[[cluster]]\nname = \"ü\"\ntls = { mode = 1 }\n",
            &report,
        );
        assert_eq!(table.get("a").unwrap().origin.to_string(), "g.toml:1:5");
        let cluster = table.tables("cluster").next().unwrap();
        assert_eq!(cluster.get("name").unwrap().origin.to_string(), "g.toml:4:8");
        let tls = cluster.get("tls").unwrap();
        assert_eq!(tls.as_table().unwrap().get("mode").unwrap().origin.to_string(), "g.toml:5:16");
        let Some(Value::List(list)) = table.get("cluster").map(|item| &item.value) else { panic!() };
        assert_eq!(list[0].origin.to_string(), "g.toml:3:1");
    }

    #[test]
    fn every_line_that_is_no_toml_is_reported() {
        let report = ProblemReport::default();
        parse_document(&"g.toml".into(), "a = \nb = 1\nc = [1\nd = 2\n", &report);
        let (problems, ..) = report.finish();
        assert!(problems.len() >= 2, "{problems:?}");
        assert!(problems[0].to_string().starts_with("g.toml:1:"), "{}", problems[0]);
    }
}
