//! Prepared statements under names that sessions share.

use std::{
    collections::HashMap,
    hash::BuildHasher,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use foldhash::fast::{FixedState, RandomState};

use super::{
    database_state::CatalogInstant, reported_parameters::ReportedParameters, setting_values::SettingValues,
};
use crate::sql::{self, Analysis, Effects, StatefulNames, TransactionCommands};

/// Prepared statement shared by all sessions that prepare the same text with the same parameter types.
pub(super) struct SharedStatement {
    /// Unique in this process.
    id: u64,
    /// Reading of the statement's text.
    reading: Reading,
    /// The body of its Parse behind the name: text, NUL, parameter types.
    definition: Arc<[u8]>,
    /// What its text may change of a session's state, and by which edition of the catalogue: [`Effects::bits`] in the lower
    /// half.
    judged: AtomicU64,
    /// It may list prepared statements.
    lists_prepared: bool,
    transaction_commands: TransactionCommands,
    /// The [`Circumstances`] in which a server accepted it last; 0 before.
    accepted: AtomicU64,
}

/// Interpretation of a text by a server, by the session settings: the encoding, and the settings for literals. A server
/// interprets a statement at Parse, so sessions with different readings share no statements. The default reads a text
/// with the same meaning for all sessions.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Reading(u64);

/// What decides, besides its text, whether a server accepts a statement, as far as it passes through here: a number that is
/// another one after each change of definitions, and for other settings.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Circumstances(u64);

/// Every statement that some session has prepared, by its definition.
#[derive(Default)]
pub(super) struct SharedStatements {
    known: Mutex<Known>,
}

/// Statement, with the reading of the text.
type Read = (Reading, Weak<SharedStatement>);

#[derive(Default)]
struct Known {
    by_definition: HashMap<Arc<[u8]>, Vec<Read>, RandomState>,
    last_id: u64,
    /// As many entries make it worth to look for those that nobody uses any more.
    sweep_at: usize,
}

/// With so many definitions it is worth to look for those that nobody uses any more.
const SWEEP: usize = 1024;

// === impl Reading ===

impl Reading {
    /// Settings relevant for the reading, all reported by a server.
    const SETTINGS: [&[u8]; 5] =
        [b"client_encoding", b"DateStyle", b"IntervalStyle", b"TimeZone", b"standard_conforming_strings"];

    /// Reading of a session with the reported settings `known`.
    pub(super) fn of(known: &ReportedParameters) -> Self {
        let values = Self::SETTINGS.map(|name| known.get(name));
        Self(FixedState::default().hash_one(values) | 1)
    }

    /// Reading needed by a statement's text.
    pub(super) fn needed_by(self, definition: &[u8]) -> Self {
        let text = text_of(definition);
        let quotes = |at: usize| text.get(at + 1).is_some_and(|next| !next.is_ascii_digit());
        let has_literals =
            memchr::memchr(b'\'', text).is_some() || memchr::memchr_iter(b'$', text).any(quotes);
        if text.is_ascii() && !has_literals { Self::default() } else { self }
    }
}

// === impl Circumstances ===

impl Circumstances {
    /// Circumstances at the `instant` of the database's definitions, for a session with `settings`.
    pub(super) fn of(instant: CatalogInstant, settings: &SettingValues) -> Self {
        Self(FixedState::default().hash_one((instant, settings.mark())) | 1)
    }
}

// === impl SharedStatement ===

impl SharedStatement {
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// Reading of the statement's text.
    pub(super) fn reading(&self) -> Reading {
        self.reading
    }

    /// True if the statement may list prepared statements.
    pub(super) const fn lists_prepared(&self) -> bool {
        self.lists_prepared
    }

    /// Commands of its text that begin or end a transaction.
    pub(super) const fn transaction_commands(&self) -> TransactionCommands {
        self.transaction_commands
    }

    /// What its text may change of a session's state, by this edition of the catalogue.
    pub(super) fn effects(&self, edition: u32, catalogue: impl FnOnce() -> Arc<StatefulNames>) -> Effects {
        let judged = self.judged.load(Ordering::Relaxed);
        #[expect(clippy::cast_possible_truncation, reason = "the lower half is what is wanted")]
        if judged >> 32 == u64::from(edition) {
            return Effects::from_bits(judged as u32);
        }
        let effects = sql::effects(self.text(), &catalogue());
        self.judged.store(pack(edition, effects), Ordering::Relaxed);
        effects
    }

    /// A server has accepted it.
    pub(super) fn accept(&self, circumstances: Circumstances) {
        // Mostly said already: sessions on other workers read it.
        if !self.is_accepted(circumstances) {
            self.accepted.store(circumstances.0, Ordering::Relaxed);
        }
    }

    /// Whether a server has accepted it in the same circumstances.
    pub(super) fn is_accepted(&self, circumstances: Circumstances) -> bool {
        self.accepted.load(Ordering::Relaxed) == circumstances.0
    }

    pub(super) fn definition(&self) -> &[u8] {
        &self.definition
    }

    /// Its text.
    pub(super) fn text(&self) -> &[u8] {
        text_of(&self.definition)
    }
}

fn pack(edition: u32, effects: Effects) -> u64 {
    u64::from(edition) << 32 | u64::from(effects.bits())
}

/// The text in a definition.
pub(super) fn text_of(definition: &[u8]) -> &[u8] {
    memchr::memchr(0, definition).map_or(definition, |end| &definition[..end])
}

// === impl SharedStatements ===

fn find(readings: &[(Reading, Weak<SharedStatement>)], reading: Reading) -> Option<Arc<SharedStatement>> {
    readings.iter().find(|(of, _)| *of == reading).and_then(|(_, statement)| statement.upgrade())
}

impl SharedStatements {
    /// Statement with the definition, if a session of the same reading has prepared the statement.
    pub(super) fn known(&self, definition: &[u8], reading: Reading) -> Option<Arc<SharedStatement>> {
        find(self.lock().by_definition.get(definition)?, reading.needed_by(definition))
    }

    /// The statement with this definition: the body of a Parse behind the name. `analysis` is that of the text, by the catalog of
    /// `edition` or a later one.
    pub(super) fn get(
        &self,
        definition: &[u8],
        reading: Reading,
        edition: u32,
        analysis: &Analysis,
    ) -> Arc<SharedStatement> {
        let mut known = self.lock();
        let reading = reading.needed_by(definition);
        if let Some(statement) =
            known.by_definition.get(definition).and_then(|readings| find(readings, reading))
        {
            return statement;
        }
        if known.by_definition.len() >= known.sweep_at {
            known.by_definition.retain(|_, readings| {
                readings.retain(|(_, statement)| statement.strong_count() > 0);
                !readings.is_empty()
            });
            known.sweep_at = (known.by_definition.len() * 2).max(SWEEP);
        }
        known.last_id += 1;
        let id = known.last_id;
        let definition: Arc<[u8]> = definition.into();
        let statement = Arc::new(SharedStatement {
            id,
            reading,
            judged: AtomicU64::new(pack(edition, analysis.effects)),
            lists_prepared: analysis.lists_prepared,
            transaction_commands: analysis.transaction_commands,
            definition: Arc::clone(&definition),
            accepted: AtomicU64::new(0),
        });
        let readings = known.by_definition.entry(definition).or_default();
        readings.retain(|(_, statement)| statement.strong_count() > 0);
        readings.push((reading, Arc::downgrade(&statement)));
        statement
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
