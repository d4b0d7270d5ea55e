//! One table of the configuration: its keys, its place, and how problems and remedies call what is in it.

use std::path::PathBuf;

use super::{
    catalog,
    environment::Environment,
    problem::{Origin, ProblemReport, nearest},
    tree::{Item, Table, Value},
};

/// What the readers of all tables share.
pub(super) struct ReadContext {
    pub(super) report: ProblemReport,
    pub(super) environment: Environment,
    /// What relative paths in the file are relative to.
    pub(super) base: PathBuf,
    /// Whether there are several endpoints or listeners, so that a variable needs a name in front.
    pub(super) several: bool,
    /// Whether the files and variables that a configuration mentions are read.
    pub(super) follow: bool,
    /// True if variables alone configure the process, as in a container without a file.
    pub(super) environment_alone: bool,
}

/// A value and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Spot<T> {
    pub(super) value: T,
    pub(super) origin: Origin,
}

/// One table.
pub(super) struct Section<'c> {
    pub(super) context: &'c ReadContext,
    table: &'c Table,
    /// Its place in the catalog, as in `cluster.endpoint.tls`.
    path: &'static str,
    /// How problems call it, as in `endpoint.reads.tls`.
    pub(super) title: String,
    /// Where it begins.
    pub(super) origin: Origin,
}

/// A table where nothing is said.
pub(super) static EMPTY: Table = Table::new();

impl<'c> Section<'c> {
    /// Opens a table; keys that are not in the catalog are reported here.
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
                let remedy = match nearest(key, catalog::names_in(path)) {
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

    /// How a problem calls a key of this table.
    pub(super) fn named(&self, key: &str) -> String {
        if self.title.is_empty() { key.to_owned() } else { format!("{}.{key}", self.title) }
    }

    /// How a remedy calls a key of this table: as this table was written, in the file or in the environment.
    pub(super) fn spoken(&self, key: &str) -> String {
        if let Origin::File { .. } = self.origin {
            // Below its cluster, endpoint or listener a key is called by its path from there.
            let named =
                ["cluster.", "endpoint.", "listener."].iter().any(|list| self.title.starts_with(list));
            let below = self.title.splitn(3, '.').nth(if named { 2 } else { 0 }).unwrap_or_default();
            return if below.is_empty() { format!("`{key}`") } else { format!("`{below}.{key}`") };
        }
        let named = self.path.starts_with("cluster.endpoint") || self.path.starts_with("listener");
        let owner = self.title.split('.').nth(1).filter(|_| named && self.context.several);
        catalog::spoken(self.path, key, owner)
    }

    /// Where `key` was said, or else where this table begins.
    pub(super) fn place(&self, key: &str) -> Origin {
        self.table.get(key).map_or(&self.origin, |item| &item.origin).clone()
    }

    pub(super) fn has(&self, key: &str) -> bool {
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

    /// Reports that `key` has to be said, as in `example`.
    pub(super) fn missing(&self, key: &str, example: &str) {
        let remedy = match self.origin {
            Origin::File { .. } => format!("write {example}"),
            _ => format!("set {}", self.spoken(key)),
        };
        self.context.report.problem(&self.origin, self.named(key), "is missing", remedy);
    }

    /// Records a value for `check`.
    pub(super) fn record(&self, key: &str, shown: impl Into<String>, origin: &Origin) {
        self.context.report.setting(self.named(key), shown.into(), origin);
    }

    /// The table at `key`, `None` if there is none.
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

    /// The table at `key`, or one where nothing is said.
    pub(super) fn table_or_empty(&self, key: &str, path: &'static str) -> Self {
        self.table(key, path)
            .unwrap_or_else(|| Self::open(self.context, &EMPTY, path, self.named(key), &self.origin))
    }

    /// The tables of the list at `key`, as `[[key]]` writes them; `title` names each.
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
