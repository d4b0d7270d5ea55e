//! One table of the configuration: its keys and position, and the names of its keys in problems and remedies.

use std::path::PathBuf;

use super::{
    catalog,
    environment::Environment,
    problem::{Origin, ProblemReport, Setting, nearest_word},
    tree::{Item, Table, Value},
};
use crate::credentials::Secret;

/// State shared by the readers of all tables.
pub(super) struct ReadContext {
    pub(super) report: ProblemReport,
    pub(super) environment: Environment,
    /// Base of relative paths in the file.
    pub(super) base: PathBuf,
    /// True if there are several endpoints or listeners, so that a variable needs a name.
    pub(super) several: bool,
    /// True if files and variables named in the configuration are read.
    pub(super) follow: bool,
    /// True if variables alone configure the process, as in a container without a file.
    pub(super) environment_alone: bool,
}

/// A value with its source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Spot<T> {
    pub(super) value: T,
    pub(super) origin: Origin,
}

/// One table.
pub(super) struct Section<'c> {
    pub(super) context: &'c ReadContext,
    table: &'c Table,
    /// Path in the catalog, such as `cluster.endpoint.tls`.
    path: &'static str,
    /// Title in problems, such as `endpoint.reads.tls`.
    pub(super) title: String,
    /// Position of the table.
    pub(super) origin: Origin,
}

/// An empty table.
pub(super) static EMPTY: Table = Table::new();

impl<'c> Section<'c> {
    /// Opens a table and reports keys that are missing in the catalog.
    pub(super) fn open(
        context: &'c ReadContext,
        table: &'c Table,
        path: &'static str,
        title: impl Into<String>,
        origin: &Origin,
    ) -> Self {
        let section = Self { context, table, path, title: title.into(), origin: origin.clone() };
        for (key, place) in table.keys() {
            if !catalog::names_in(path).any(|name| name == key) {
                let remedy = match nearest_word(key, catalog::names_in(path)) {
                    Some(name) => format!("did you mean `{name}`?"),
                    None => {
                        format!("known here: {}", catalog::names_in(path).collect::<Vec<_>>().join(", "))
                    }
                };
                context.report.problem(place, section.named(key), "unknown key", remedy);
            }
        }
        section
    }

    /// Name of a key in problems.
    pub(super) fn named(&self, key: &str) -> String {
        if self.title.is_empty() { key.to_owned() } else { format!("{}.{key}", self.title) }
    }

    /// Name of a key in remedies, in the form of the table's source: file or environment.
    pub(super) fn remedy_name(&self, key: &str) -> String {
        if let Origin::File { .. } = self.origin {
            // Within a cluster, endpoint or listener, the name is the path from there.
            let named =
                ["cluster.", "endpoint.", "listener."].iter().any(|list| self.title.starts_with(list));
            let below = self.title.splitn(3, '.').nth(if named { 2 } else { 0 }).unwrap_or_default();
            return if below.is_empty() { format!("`{key}`") } else { format!("`{below}.{key}`") };
        }
        let named = self.path.starts_with("cluster.endpoint") || self.path.starts_with("listener");
        let owner = self.title.split('.').nth(1).filter(|_| named && self.context.several);
        catalog::name_in_remedy(self.path, key, owner)
    }

    /// Position of `key`, or else of the table.
    pub(super) fn place(&self, key: &str) -> Origin {
        self.table.get(key).map_or(&self.origin, |item| &item.origin).clone()
    }

    pub(super) fn has_key(&self, key: &str) -> bool {
        self.table.get(key).is_some()
    }

    pub(super) fn raw(&self, key: &str) -> Option<&'c Item> {
        self.table.get(key)
    }

    pub(super) fn problem(&self, key: &str, what: impl Into<String>, remedy: impl Into<String>) {
        self.context.report.problem(&self.place(key), self.named(key), what, remedy);
    }

    pub(super) fn warning(&self, key: &str, what: impl Into<String>, remedy: impl Into<String>) {
        self.context.report.warning(&self.place(key), self.named(key), what, remedy);
    }

    /// Reports the required `key` as missing, with an `example`.
    pub(super) fn missing(&self, key: &str, example: &str) {
        let remedy = match self.origin {
            Origin::File { .. } => format!("write {example}"),
            _ => format!("set {}", self.remedy_name(key)),
        };
        self.context.report.problem(&self.origin, self.named(key), "is missing", remedy);
    }

    /// Records a value for `check`.
    pub(super) fn record(&self, key: &str, shown: impl Into<String>, origin: &Origin) {
        let (name, origin) = (self.named(key), origin.clone());
        self.context.report.setting(Setting { name, value: shown.into(), hidden: None, origin });
    }

    /// Records a value of which `hidden` is not shown.
    pub(super) fn record_hidden(&self, key: &str, shown: impl Into<String>, hidden: Secret, origin: &Origin) {
        let (name, origin) = (self.named(key), origin.clone());
        self.context.report.setting(Setting { name, value: shown.into(), hidden: Some(hidden), origin });
    }

    /// The table at `key`, if present.
    pub(super) fn table(&self, key: &str, path: &'static str) -> Option<Self> {
        let item = self.table.get(key)?;
        match item.as_table() {
            Some(table) => Some(Self::open(self.context, table, path, self.named(key), &item.origin)),
            None => {
                self.problem(
                    key,
                    format!("cannot be {}", item.kind()),
                    format!("write a table: {key} = {{ … }}"),
                );
                None
            }
        }
    }

    /// The table at `key`, or an empty one.
    pub(super) fn table_or_empty(&self, key: &str, path: &'static str) -> Self {
        self.table(key, path)
            .unwrap_or_else(|| Self::open(self.context, &EMPTY, path, self.named(key), &self.origin))
    }

    /// The tables of the list `[[key]]`; `title` names each.
    pub(super) fn tables(
        &self,
        key: &str,
        path: &'static str,
        title: impl Fn(&Table) -> String,
    ) -> Vec<Self> {
        let Some(item) = self.table.get(key) else { return Vec::new() };
        let header = path.to_owned();
        let Value::List(list) = &item.value else {
            self.problem(
                key,
                format!("cannot be {}", item.kind()),
                format!("write [[{header}]], once for each"),
            );
            return Vec::new();
        };
        let mut found = Vec::new();
        for entry in list {
            match entry.as_table() {
                Some(table) => {
                    found.push(Self::open(self.context, table, path, title(table), &entry.origin));
                }
                None => {
                    let what = format!("cannot hold {}", entry.kind());
                    self.context.report.problem(
                        &entry.origin,
                        self.named(key),
                        what,
                        format!("write [[{header}]]"),
                    );
                }
            }
        }
        found
    }
}
