//! Reference model of one session: the state that its own statements have made, by PostgreSQL's rules.
//!
//! The model is a history of operations, applied in order. The fake server keeps values and restores them instead, so
//! that a mistake in one of the two is a difference.

use super::{
    language::{Sql, Term},
    state::{Startup, View, default_of},
};

/// Model of a session.
#[derive(Clone)]
pub(super) struct Expected {
    /// Values that a reset restores.
    startup: Startup,
    /// State after the last finished transaction.
    committed: View,
    /// Executed statements of the open transaction.
    open: Vec<Sql>,
}

// === impl Expected ===

impl Expected {
    /// Creates the model of a session with the start-up settings `startup`.
    pub(super) fn new(startup: Startup) -> Self {
        Self { startup, committed: first_view(startup), open: Vec::new() }
    }

    /// Notes a statement executed without an error.
    pub(super) fn executed(&mut self, statement: &Sql) {
        apply_at_once(&mut self.committed, statement);
        // No rollback brings a closed cursor back.
        self.open.retain(|earlier| !closes(statement, earlier));
        match statement {
            Sql::DiscardAll => {
                self.open.clear();
                self.committed = first_view(self.startup);
            }
            Sql::RollbackTo(name) => {
                let at = self.savepoint(|known| known == name).expect("the server knows the savepoint");
                self.open.truncate(at + 1);
            }
            Sql::Release(name) => {
                let at = self.savepoint(|known| known == name).expect("the server knows the savepoint");
                let behind = self.open.split_off(at);
                self.open.extend(behind.into_iter().filter(|earlier| !matches!(earlier, Sql::Savepoint(_))));
            }
            _ => self.open.push(statement.clone()),
        }
    }

    /// Notes an error behind a savepoint.
    pub(super) fn rolled_back_to_savepoint(&mut self) {
        let at = self.savepoint(|_| true).expect("there is a savepoint");
        self.open.truncate(at + 1);
    }

    /// Notes the loss of the server: the open transaction, and all that Gatekeeper does not make again.
    pub(super) fn lost(&mut self) {
        self.ended(false);
        let settings = std::mem::take(&mut self.committed.settings);
        self.committed = View { settings, ..View::default() };
    }

    /// Position of the last savepoint with a name that `is_meant`.
    fn savepoint(&self, is_meant: impl Fn(&str) -> bool) -> Option<usize> {
        self.open.iter().rposition(|earlier| matches!(earlier, Sql::Savepoint(name) if is_meant(name)))
    }

    /// Notes the end of a transaction.
    pub(super) fn ended(&mut self, is_committed: bool) {
        let open = std::mem::take(&mut self.open);
        if is_committed {
            for statement in &open {
                apply(&mut self.committed, statement, At::Commit, self.startup);
            }
        }
    }

    /// State visible to the next statement.
    pub(super) fn view(&self) -> View {
        let mut view = self.committed.clone();
        for statement in &self.open {
            apply(&mut view, statement, At::Statement, self.startup);
        }
        view
    }
}

/// View right behind a login with the settings `startup`, none of which has its default value.
fn first_view(startup: Startup) -> View {
    let settings = startup.iter().map(|(name, value)| ((*name).into(), (*value).into()));
    View { settings: settings.collect(), ..View::default() }
}

/// Point in time of a view.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    /// Within the transaction of the statement.
    Statement,
    Commit,
}

/// True if `statement` closes a cursor declared by `earlier`.
fn closes(statement: &Sql, earlier: &Sql) -> bool {
    match (statement, earlier) {
        (Sql::CloseCursor(closed), Sql::Declare { name, .. }) => {
            closed.as_ref().is_none_or(|closed| closed == name)
        }
        _ => false,
    }
}

/// Applies effects that no rollback undoes: locks, prepared statements and closed cursors.
fn apply_at_once(view: &mut View, statement: &Sql) {
    match statement {
        Sql::Lock(key) => *view.locks.entry(*key).or_default() += 1,
        Sql::Unlock(key) => {
            if let Some(count) = view.locks.get_mut(key) {
                *count -= 1;
            }
            view.locks.retain(|_, count| *count > 0);
        }
        Sql::UnlockAll => view.locks.clear(),
        Sql::Prepare { name, .. } => {
            view.prepared_by_sql.insert(name.clone());
        }
        Sql::Deallocate(Some(name)) => {
            view.prepared_by_sql.remove(name);
        }
        Sql::Deallocate(None) => view.prepared_by_sql.clear(),
        Sql::CloseCursor(Some(name)) => {
            view.cursors.remove(name);
        }
        Sql::CloseCursor(None) => view.cursors.clear(),
        _ => {}
    }
}

/// Applies effects that a rollback undoes.
fn apply(view: &mut View, statement: &Sql, at: At, startup: Startup) {
    match statement {
        Sql::Set { name, value, local } => set(view, name, value, *local, at),
        Sql::SetConfig { name: Term::Literal(name), value: Term::Literal(value), local } => {
            set(view, name, value, *local, at);
        }
        Sql::Reset(Some(name)) => {
            view.settings.remove(name);
            let first = startup.iter().filter(|(known, _)| known == name);
            view.settings.extend(first.map(|(name, value)| ((*name).into(), (*value).into())));
        }
        Sql::Reset(None) => {
            view.settings.retain(|name, _| name == "role");
            view.settings.extend(first_view(startup).settings);
        }
        Sql::CreateTemporary { name, drops_on_commit } if at == At::Statement || !drops_on_commit => {
            view.tables.insert(name.clone());
        }
        Sql::DropTable(name) => {
            view.tables.remove(name);
        }
        Sql::Listen(channel) if at == At::Commit => {
            view.listens.insert(channel.clone());
        }
        Sql::Unlisten(Some(channel)) if at == At::Commit => {
            view.listens.remove(channel);
        }
        Sql::Unlisten(None) if at == At::Commit => view.listens.clear(),
        Sql::Declare { name, holds } if at == At::Statement || *holds => {
            view.cursors.insert(name.clone());
        }
        Sql::CloseCursor(Some(name)) => {
            view.cursors.remove(name);
        }
        Sql::CloseCursor(None) => view.cursors.clear(),
        _ => {}
    }
}

fn set(view: &mut View, name: &str, value: &str, local: bool, at: At) {
    if local && at == At::Commit {
        return;
    }
    if value == default_of(name).unwrap_or_default() {
        view.settings.remove(name);
    } else {
        view.settings.insert(name.into(), value.into());
    }
}
