//! Prepared statements of a client: by name, unnamed, and on the backend under the client's own names.
//!
//! Promises: a name belongs to the statement that PostgreSQL would execute, as far as responses have arrived. Refuses to
//! know: messages, and statements of other sessions.

use std::{collections::HashMap, sync::Arc};

use foldhash::fast::RandomState;

use super::unnamed_statement::UnnamedStatement;
use crate::{
    session::{
        backend_statements::BackendStatements,
        database_state::DatabaseState,
        parsed::{Parsed, ParsedStatement},
        pending_request::{ClosedStatement, Forgotten, OwnName},
        result_shape::ResultShape,
        shared_statement::{Reading, SharedStatement},
    },
    sql::{Effects, TransactionCommands},
};

/// Prepared statements of the client.
pub(in crate::session) struct ClientStatements {
    named: HashMap<Box<[u8]>, Arc<SharedStatement>, RandomState>,
    /// Bytes of statement names and definitions, including statements closed since the last count.
    bytes: usize,
    parsed: Parsed,
    unnamed: UnnamedStatement,
    /// Statements on the backend under the client's own names, to be closed before the backend is returned.
    on_backend: Vec<Box<[u8]>>,
    /// A statement prepared by SQL may list prepared statements.
    has_sql_list: bool,
    /// Interpretation of the client's texts by the server.
    reading: Reading,
    /// Count of batches.
    batch: u32,
    /// Statement of the last Bind or Describe; 0 for the unnamed statement.
    last_used: u64,
    /// Statement of the unnamed portal's result, if a description is worth keeping; 0 otherwise.
    portal_of: u64,
    shape_check: ShapeCheck,
    /// Client's name of the statement in the last failed Bind, where a statement has several names.
    failed_name: Option<Box<[u8]>>,
    /// Last bound portal of an SQL deallocation, and the name of the deallocated statement.
    deallocating: Option<(PortalName, StatementName)>,
}

/// Check before the next Bind: the statement's result must match the client's description.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::session) enum ShapeCheck {
    /// No request was sent.
    #[default]
    None,
    /// A Describe was sent: the Bind waits.
    Asked,
    /// The server has answered.
    Answered,
}

/// Name of a client's portal.
type PortalName = Box<[u8]>;
/// Name of a client's statement.
type StatementName = Box<[u8]>;

/// Maximum count of a client's named statements.
const STATEMENTS_MAX: usize = 1 << 16;
/// Maximum bytes of the names and definitions of a client's named statements.
const STATEMENTS_MAX_BYTES: usize = 64 << 20;

// === impl ClientStatements ===

impl ClientStatements {
    /// Creates the state of a client without statements.
    pub(super) fn new(database: &DatabaseState, reading: Reading) -> Self {
        Self {
            named: HashMap::default(),
            bytes: 0,
            parsed: Parsed::default(),
            unnamed: UnnamedStatement::new(database.next_session() << 32),
            on_backend: Vec::new(),
            has_sql_list: false,
            reading,
            batch: 0,
            last_used: 0,
            portal_of: 0,
            shape_check: ShapeCheck::None,
            failed_name: None,
            deallocating: None,
        }
    }

    // --- names

    /// Statement of the name.
    pub(in crate::session) fn get(&self, name: &[u8]) -> Option<&Arc<SharedStatement>> {
        self.named.get(name)
    }

    /// Text of a named or unnamed statement.
    pub(in crate::session) fn text(&self, name: &[u8]) -> Option<&[u8]> {
        match name {
            b"" => self.unnamed.exists().then(|| self.unnamed.text()),
            name => self.named.get(name).map(|statement| statement.text()),
        }
    }

    /// Commands that begin or end a transaction, of a named or unnamed statement.
    pub(in crate::session) fn transaction_commands(&self, name: &[u8]) -> TransactionCommands {
        match name {
            b"" => self.unnamed.transaction_commands(),
            name => self
                .named
                .get(name)
                .map_or(TransactionCommands::NONE, |statement| statement.transaction_commands()),
        }
    }

    /// The unnamed statement, if any.
    pub(in crate::session) const fn unnamed(&self) -> &UnnamedStatement {
        &self.unnamed
    }

    /// The unnamed statement, to define or to remove.
    pub(in crate::session) const fn unnamed_mut(&mut self) -> &mut UnnamedStatement {
        &mut self.unnamed
    }

    /// True if the client has named statements.
    pub(in crate::session) fn has_named(&self) -> bool {
        !self.named.is_empty()
    }

    /// All named statements.
    pub(in crate::session) fn all_named(&self) -> Vec<(Box<[u8]>, Arc<SharedStatement>)> {
        self.named.iter().map(|(name, statement)| (name.clone(), Arc::clone(statement))).collect()
    }

    /// Client's name of the statement `id`; of several names that of the last failed Bind.
    pub(in crate::session) fn name_of(&self, id: u64) -> Option<&[u8]> {
        let failed = self.failed_name.as_deref().and_then(|name| self.named.get_key_value(name));
        let mut known = failed.into_iter().chain(self.named.iter());
        known.find(|(_, known)| known.id() == id).map(|(name, _)| &**name)
    }

    /// Named statements whose names may stand in `text`.
    pub(in crate::session) fn named_in(&self, text: &[u8]) -> Vec<(Box<[u8]>, Arc<SharedStatement>)> {
        let folded = text.to_ascii_lowercase();
        let is_named = |name: &[u8]| {
            memchr::memmem::find(text, name).is_some() || memchr::memmem::find(&folded, name).is_some()
        };
        let named = self.named.iter().filter(|(name, _)| is_named(name));
        named.map(|(name, statement)| (name.clone(), Arc::clone(statement))).collect()
    }

    /// True if the client may have another named statement, with `bytes` of name and definition.
    pub(in crate::session) fn may_add(&mut self, bytes: usize) -> bool {
        if self.named.len() + self.on_backend.len() >= STATEMENTS_MAX {
            return false;
        }
        if self.bytes + bytes > STATEMENTS_MAX_BYTES {
            self.bytes = self.named.iter().map(|(name, known)| name.len() + known.definition().len()).sum();
        }
        let may = self.bytes + bytes <= STATEMENTS_MAX_BYTES;
        self.bytes += if may { bytes } else { 0 };
        may
    }

    /// Adds a statement parsed by the client; `parse` is the number of the Parse.
    pub(in crate::session) fn add(&mut self, name: Box<[u8]>, statement: Arc<SharedStatement>, parse: u64) {
        self.parsed.note(statement.id(), parse);
        self.named.insert(name, statement);
    }

    /// Removes a name, also from the backend. Returns the statement for [`Self::restore`].
    pub(in crate::session) fn remove(&mut self, name: &[u8]) -> Option<ClosedStatement> {
        let statement = self.named.remove(name)?;
        let expectations = self.parsed.forget(statement.id());
        let own_name = if self.forget_on_backend(name) { OwnName::OnBackend } else { OwnName::Absent };
        Some(ClosedStatement { statement, expectations, own_name })
    }

    /// Removes the name, if the name still belongs to `statement`.
    pub(in crate::session) fn remove_same(&mut self, name: &[u8], statement: &Arc<SharedStatement>) {
        if self.named.get(name).is_some_and(|other| Arc::ptr_eq(other, statement)) {
            self.remove(name);
        }
    }

    /// Removes all named statements, also from the backend: `DEALLOCATE ALL`.
    pub(in crate::session) fn clear(&mut self) {
        self.named.clear();
        self.parsed.clear();
        self.on_backend.clear();
        self.has_sql_list = false;
    }

    /// Notes a statement with `effects` that may list prepared statements.
    pub(in crate::session) fn note_list(&mut self, effects: Effects) {
        self.has_sql_list |= effects.contains(Effects::PREPARE);
    }

    /// True if an SQL `EXECUTE` in `text` may list prepared statements.
    pub(in crate::session) fn may_list_by_execute(&self, text: &[u8]) -> bool {
        self.has_sql_list || self.named_in(text).iter().any(|(_, statement)| statement.lists_prepared())
    }

    /// Statement of the name for use on a backend with the statements of `held`. A statement missing there, and
    /// interpreted differently by the session now, becomes a new statement: sessions of the earlier interpretation do not
    /// share it.
    pub(in crate::session) fn for_use(
        &mut self,
        name: &[u8],
        held: Option<&BackendStatements>,
        database: &DatabaseState,
    ) -> Option<Arc<SharedStatement>> {
        let statement = self.named.get_mut(name)?;
        let reading = self.reading.needed_by(statement.definition());
        if statement.reading() != reading && held.is_some_and(|held| !held.may_have(statement.id())) {
            let read = database.statement(statement.definition(), reading);
            self.parsed.replace(statement.id(), read.id());
            *statement = read;
        }
        Some(Arc::clone(statement))
    }

    /// Interpretation of the client's texts by the server.
    pub(in crate::session) const fn reading(&self) -> Reading {
        self.reading
    }

    /// Changes the interpretation of the client's texts.
    pub(in crate::session) fn set_reading(&mut self, reading: Reading) {
        self.reading = reading;
    }

    // --- statements on the backend under the client's own names

    /// True if the backend has statements under the client's own names.
    pub(in crate::session) fn is_on_backend(&self) -> bool {
        !self.on_backend.is_empty()
    }

    /// True if the backend has a statement of the client's own name.
    pub(in crate::session) fn has_on_backend(&self, name: &[u8]) -> bool {
        self.on_backend.iter().any(|own| **own == *name)
    }

    /// Notes a statement on the backend under the client's own name.
    pub(in crate::session) fn note_on_backend(&mut self, name: &[u8]) {
        if !self.has_on_backend(name) {
            self.on_backend.push(name.into());
        }
    }

    /// Forgets a statement on the backend; true if the backend had one.
    pub(in crate::session) fn forget_on_backend(&mut self, name: &[u8]) -> bool {
        let before = self.on_backend.len();
        self.on_backend.retain(|own| **own != *name);
        self.on_backend.len() < before
    }

    /// Takes the names on the backend: to close them, or because the backend is lost.
    pub(in crate::session) fn take_on_backend(&mut self) -> Vec<Box<[u8]>> {
        std::mem::take(&mut self.on_backend)
    }

    /// Notes the names found on the backend by a state check: `DEALLOCATE` has removed the others.
    pub(in crate::session) fn retain_found(&mut self, found: &[Box<[u8]>]) {
        let Self { on_backend, named, parsed, .. } = self;
        on_backend.retain(|name| {
            let is_there = found.contains(name);
            if !is_there && let Some(gone) = named.remove(name) {
                parsed.forget(gone.id());
            }
            is_there
        });
    }

    // --- deallocation by SQL

    /// Notes that `portal` deallocates the statement `name`.
    fn note_deallocation(&mut self, portal: &[u8], name: &[u8]) {
        self.deallocating = Some((portal.into(), name.into()));
    }

    /// Notes that `portal` deallocates the statement `name`, if the client has one. Returns the statement, with its name.
    pub(in crate::session) fn deallocated_by(
        &mut self,
        portal: &[u8],
        name: &[u8],
    ) -> Vec<(Box<[u8]>, Arc<SharedStatement>)> {
        let found = self.named.get(name).map(|statement| (name.into(), Arc::clone(statement)));
        if found.is_some() {
            self.note_deallocation(portal, name);
        }
        found.into_iter().collect()
    }

    /// Notes a Bind of `portal`.
    pub(in crate::session) fn on_bind(&mut self, portal: &[u8]) {
        self.deallocating.take_if(|(bound, _)| **bound == *portal);
        if portal.is_empty() {
            self.portal_of = 0;
        }
    }

    /// Removes the statement that an Execute of `portal` deallocates.
    pub(in crate::session) fn deallocate(&mut self, portal: &[u8]) -> Option<Box<Forgotten>> {
        let (_, name) = self.deallocating.take_if(|(bound, _)| **bound == *portal)?;
        let statement = self.remove(&name)?;
        Some(Box::new(Forgotten { name, statement }))
    }

    /// Restores a statement, after its Close or deallocation was skipped by the server.
    pub(in crate::session) fn restore(&mut self, name: Box<[u8]>, closed: ClosedStatement) {
        let ClosedStatement { statement, expectations, own_name } = closed;
        if own_name == OwnName::OnBackend {
            self.note_on_backend(&name);
        }
        self.parsed.restore(statement.id(), expectations);
        self.named.insert(name, statement);
    }

    // --- batches and results

    /// Number of the current batch.
    pub(in crate::session) const fn batch(&self) -> u32 {
        self.batch
    }

    /// Begins another batch.
    pub(in crate::session) fn begin_batch(&mut self) {
        self.batch = self.batch.wrapping_add(1);
    }

    /// Statement of the last Bind or Describe; 0 for the unnamed statement.
    pub(in crate::session) const fn last_used(&self) -> u64 {
        self.last_used
    }

    /// Notes the statement of a Bind or Describe.
    pub(in crate::session) fn note_use(&mut self, id: u64) {
        self.last_used = id;
    }

    /// Notes the name in a failed Bind.
    pub(in crate::session) fn note_failed(&mut self, name: Option<Box<[u8]>>) {
        self.failed_name = name;
    }

    /// Statement of the unnamed portal, if its description is worth keeping; 0 otherwise.
    pub(in crate::session) const fn portal_of(&self) -> u64 {
        self.portal_of
    }

    /// Notes the statement of the unnamed portal.
    pub(in crate::session) fn note_portal_of(&mut self, id: u64) {
        self.portal_of = id;
    }

    /// Expectations of the client about the statement `id`.
    pub(in crate::session) fn expectations(&self, id: u64) -> ParsedStatement {
        self.parsed.of(id)
    }

    /// Notes the result of the statement `id` as described to the client.
    pub(in crate::session) fn note_described(&mut self, id: u64, shape: ResultShape) {
        self.parsed.tell(id, shape);
    }

    /// True if the client may have several names for a statement: only a request tells the intended name.
    pub(in crate::session) fn has_synonyms(&self) -> bool {
        self.parsed.has_synonyms()
    }

    /// Check of a statement's result before the next Bind.
    pub(in crate::session) const fn shape_check(&self) -> ShapeCheck {
        self.shape_check
    }

    /// Changes the check of a statement's result.
    pub(in crate::session) fn set_shape_check(&mut self, check: ShapeCheck) {
        self.shape_check = check;
    }

    /// True if the server has described the result of the statement bound now; ends the check.
    pub(in crate::session) fn take_shape_check(&mut self) -> bool {
        std::mem::replace(&mut self.shape_check, ShapeCheck::None) == ShapeCheck::Answered
    }
}

#[cfg(test)]
mod tests;
