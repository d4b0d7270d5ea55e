//! State of a fake server's session, with PostgreSQL's rules for transactions.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

/// State shared by the fake servers of a cluster.
#[derive(Default, Clone, Debug)]
pub(super) struct Cluster {
    pub(super) sequences: BTreeMap<String, i64>,
    /// Committed rows by table.
    pub(super) rows: BTreeMap<String, i64>,
    /// Committed changes of rows, in order; the count of changes is the position in the log.
    pub(super) log: Vec<(String, i64)>,
}

/// Cluster of several fake servers in one thread.
pub(super) type SharedCluster = Rc<RefCell<Cluster>>;

/// Settings of a start-up packet.
pub(super) type Startup = &'static [(&'static str, &'static str)];

/// State of one session.
#[derive(Default, Clone, Debug)]
pub(super) struct State {
    /// Values that a reset restores.
    startup: Startup,
    /// State restored by a rollback.
    pub(super) kept: Transactional,
    before: Option<Transactional>,
    savepoints: Vec<Savepoint>,
    pub(super) block: Block,
    /// Names of custom settings known to the session; a name stays known after a rollback.
    pub(super) placeholders: BTreeSet<String>,
    pub(super) locks: BTreeMap<i64, u32>,
    pub(super) listens: BTreeSet<String>,
    /// Changes of `listens` at the next commit.
    pub(super) listen_changes: Vec<ListenChange>,
    pub(super) cursors: BTreeMap<String, Cursor>,
    pub(super) prepared: BTreeMap<String, Prepared>,
    pub(super) unnamed: Option<String>,
    /// Last value of any sequence.
    pub(super) last_value: Option<i64>,
    /// An Execute precedes in the implicit transaction.
    pub(super) is_pipelined: bool,
    /// Position in the log of a standby; `None` on the writer.
    pub(super) replayed: Option<usize>,
}

#[derive(Default, Clone, Debug)]
pub(super) struct Transactional {
    /// Values set for the session. A custom setting without a value is absent.
    pub(super) settings: BTreeMap<String, String>,
    /// Values set until the end of the transaction.
    pub(super) local: BTreeMap<String, String>,
    /// Temporary tables; true for `ON COMMIT DROP`.
    pub(super) tables: BTreeMap<String, bool>,
    /// Rows inserted by the transaction.
    pub(super) rows: BTreeMap<String, i64>,
    /// The transaction is READ ONLY.
    pub(super) is_read_only: bool,
}

/// Savepoint of the open transaction, with the state to restore.
#[derive(Clone, Debug)]
struct Savepoint {
    name: String,
    kept: Transactional,
    /// Count of listen changes before.
    listen_changes: usize,
}

#[derive(Clone, Debug)]
pub(super) enum ListenChange {
    Listen(String),
    Unlisten(Option<String>),
}

#[derive(Clone, Debug)]
pub(super) struct Cursor {
    pub(super) holds: bool,
    /// Declared by the open transaction.
    pub(super) is_new: bool,
    pub(super) is_read: bool,
    /// Count of savepoints around the cursor.
    pub(super) level: usize,
}

#[derive(Clone, Debug)]
pub(super) struct Prepared {
    pub(super) text: String,
    pub(super) by_sql: bool,
}

/// Transaction block of the session.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) enum Block {
    #[default]
    None,
    Open,
    Failed,
}

/// State visible to a statement, except for sequences.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct View {
    /// Settings with a value other than the default.
    pub(super) settings: BTreeMap<String, String>,
    pub(super) tables: BTreeSet<String>,
    /// Counts by key.
    pub(super) locks: BTreeMap<i64, u32>,
    pub(super) listens: BTreeSet<String>,
    pub(super) cursors: BTreeSet<String>,
    pub(super) prepared_by_sql: BTreeSet<String>,
}

/// Built-in settings and their defaults, in the form of `SHOW`.
pub(super) const SETTINGS: [(&str, &str); 4] =
    [("application_name", ""), ("role", "none"), ("search_path", "public"), ("work_mem", "4MB")];

pub(super) fn default_of(name: &str) -> Option<&'static str> {
    SETTINGS.iter().find(|(known, _)| *known == name).map(|(_, default)| *default)
}

// === impl Cluster ===

impl Cluster {
    /// Count of rows of a table at the position `at` in the log.
    pub(super) fn rows_at(&self, table: &str, at: usize) -> i64 {
        self.log[..at].iter().filter(|(changed, _)| changed == table).map(|(_, count)| count).sum()
    }
}

// === impl State ===

impl State {
    /// State behind a login with the settings `startup`.
    pub(super) fn new(startup: Startup) -> Self {
        let custom = startup.iter().filter(|(name, _)| default_of(name).is_none());
        let placeholders = custom.map(|(name, _)| (*name).to_owned()).collect();
        Self { startup, placeholders, ..Self::default() }
    }

    /// Starts the transaction of a message, unless a transaction is open.
    pub(super) fn start(&mut self) {
        if self.before.is_none() {
            self.before = Some(self.kept.clone());
        }
    }

    pub(super) fn is_started(&self) -> bool {
        self.before.is_some()
    }

    pub(super) fn commit(&mut self, cluster: &mut Cluster) {
        self.kept.local.clear();
        self.kept.tables.retain(|_, drops| !*drops);
        for (table, count) in std::mem::take(&mut self.kept.rows) {
            *cluster.rows.entry(table.clone()).or_default() += count;
            cluster.log.push((table, count));
        }
        self.kept.is_read_only = false;
        self.cursors.retain(|_, cursor| cursor.holds);
        self.cursors.values_mut().for_each(|cursor| (cursor.is_new, cursor.level) = (false, 0));
        for change in std::mem::take(&mut self.listen_changes) {
            match change {
                ListenChange::Listen(channel) => {
                    self.listens.insert(channel);
                }
                ListenChange::Unlisten(Some(channel)) => {
                    self.listens.remove(&channel);
                }
                ListenChange::Unlisten(None) => self.listens.clear(),
            }
        }
        self.savepoints.clear();
        (self.before, self.is_pipelined) = (None, false);
    }

    pub(super) fn roll_back(&mut self) {
        if let Some(before) = self.before.take() {
            self.kept = before;
        }
        self.cursors.retain(|_, cursor| !cursor.is_new);
        self.listen_changes.clear();
        self.savepoints.clear();
        self.is_pipelined = false;
    }

    /// True if the transaction takes no writes.
    pub(super) fn is_read_only(&self) -> bool {
        self.kept.is_read_only || self.replayed.is_some()
    }

    // --- savepoints

    /// Count of savepoints.
    pub(super) fn level(&self) -> usize {
        self.savepoints.len()
    }

    pub(super) fn begin_savepoint(&mut self, name: &str) {
        let (kept, listen_changes) = (self.kept.clone(), self.listen_changes.len());
        self.savepoints.push(Savepoint { name: name.into(), kept, listen_changes });
    }

    /// Merges the part behind a savepoint into the part ahead; false if there is no such savepoint.
    pub(super) fn release_savepoint(&mut self, name: &str) -> bool {
        let Some(at) = self.savepoints.iter().rposition(|savepoint| savepoint.name == name) else {
            return false;
        };
        self.savepoints.truncate(at);
        self.cursors.values_mut().for_each(|cursor| cursor.level = cursor.level.min(at));
        true
    }

    /// Restores the state at a savepoint; false if there is no such savepoint.
    pub(super) fn roll_back_to(&mut self, name: &str) -> bool {
        let Some(at) = self.savepoints.iter().rposition(|savepoint| savepoint.name == name) else {
            return false;
        };
        self.savepoints.truncate(at + 1);
        self.restore_savepoint();
        self.block = Block::Open;
        true
    }

    /// Restores the state at the last savepoint: behind an error, or for `ROLLBACK TO`.
    pub(super) fn restore_savepoint(&mut self) {
        let level = self.savepoints.len();
        let last = self.savepoints.last().cloned().expect("there is a savepoint");
        let Savepoint { kept, listen_changes, .. } = last;
        self.kept = kept;
        self.listen_changes.truncate(listen_changes);
        self.cursors.retain(|_, cursor| !cursor.is_new || cursor.level < level);
    }

    /// Value of a setting set in the session or the transaction.
    pub(super) fn value_set(&self, name: &str) -> Option<&str> {
        self.kept.local.get(name).or_else(|| self.kept.settings.get(name)).map(String::as_str)
    }

    /// Value as `current_setting(name, true)` shows it; `None` for NULL.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        let known = self.placeholders.contains(name).then_some("");
        let at_login = self.startup.iter().find(|(set, _)| *set == name).map(|(_, value)| *value);
        self.value_set(name).or(at_login).or_else(|| default_of(name)).or(known)
    }

    pub(super) fn set(&mut self, name: &str, value: &str, local: bool) {
        if default_of(name).is_none() {
            self.placeholders.insert(name.into());
        }
        if local {
            self.kept.local.insert(name.into(), value.into());
        } else {
            self.kept.local.remove(name);
            self.kept.settings.insert(name.into(), value.into());
        }
    }

    pub(super) fn reset(&mut self, name: &str) {
        self.kept.local.remove(name);
        self.kept.settings.remove(name);
    }

    /// `RESET ALL`, which keeps the role.
    pub(super) fn reset_all(&mut self) {
        self.kept.local.retain(|name, _| name == "role");
        self.kept.settings.retain(|name, _| name == "role");
    }

    /// Forgets state that a session loses with its backend.
    pub(super) fn forget_untracked(&mut self) {
        self.kept.tables.clear();
        self.locks.clear();
        self.listens.clear();
        self.cursors.clear();
        self.prepared.retain(|_, prepared| !prepared.by_sql);
        self.last_value = None;
    }

    /// `DISCARD ALL`.
    pub(super) fn discard(&mut self) {
        self.kept = Transactional { rows: std::mem::take(&mut self.kept.rows), ..Transactional::default() };
        self.locks.clear();
        self.listen_changes.push(ListenChange::Unlisten(None));
        self.cursors.clear();
        self.prepared.clear();
        self.last_value = None;
    }

    pub(super) fn view(&self) -> View {
        let names = SETTINGS.iter().map(|(name, _)| *name);
        let names = names.chain(self.placeholders.iter().map(String::as_str));
        let values = names.filter_map(|name| Some((name.to_owned(), self.value(name)?.to_owned())));
        let changed = values.filter(|(name, value)| default_of(name).unwrap_or_default() != value);
        let by_sql = self.prepared.iter().filter(|(_, prepared)| prepared.by_sql);
        View {
            settings: changed.collect(),
            tables: self.kept.tables.keys().cloned().collect(),
            locks: self.locks.clone(),
            listens: self.listens.clone(),
            cursors: self.cursors.keys().cloned().collect(),
            prepared_by_sql: by_sql.map(|(name, _)| name.clone()).collect(),
        }
    }
}
