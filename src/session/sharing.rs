//! What a session has to know when it shares backends with others: which backend it holds now, what is its own and has
//! to be there whichever backend it gets, and what may be left behind on this one.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use foldhash::fast::RandomState;

use super::{
    common::Common,
    memory::Memory,
    pin::{Pin, Pins},
    refusal::Refusal,
    reported::{Reported, of_its_kind},
    settings::Settings,
    split::{Assignment, Split},
    statement::{Statement, text_of},
};
use crate::{
    route::Side,
    sql::{self, Effects},
    wire::{TransactionStatus, backend::ParameterStatus},
};

/// The state of a session that shares backends.
pub(super) struct Sharing {
    pub(super) common: Arc<Common>,
    /// What is known of the backend that the session holds; `None` while it holds none.
    pub(super) held: Option<Box<Memory>>,
    /// The session cannot go on without a backend.
    pub(super) wants: bool,
    /// The held backend was leased for a message that has not been taken in yet. It stays until then: given back before, it
    /// would be leased again for the same message, and so on for ever.
    pub(super) unused: bool,
    /// The client's prepared statements by their names.
    pub(super) statements: HashMap<Box<[u8]>, Arc<Statement>, RandomState>,
    /// The client's unnamed statement.
    pub(super) unnamed: Unnamed,
    /// The client's settings.
    pub(super) settings: Settings,
    /// Its `application_name` as it said at its start: where `RESET` leads back to.
    pub(super) application: Option<Arc<[u8]>>,
    /// What the client was told of its settings.
    pub(super) known: Reported,
    pub(super) pins: Pins,
    /// Pins that nobody was told of.
    pub(super) new_pins: VecDeque<Pin>,
    /// What this transaction may have left behind.
    pub(super) suspicion: Effects,
    /// Settings that it may have changed.
    pub(super) touched: Vec<Arc<[u8]>>,
    /// Settings may go back to their defaults.
    pub(super) leads_back: bool,
    pub(super) untold: Untold,
    /// The state of sequences in the held backend is the session's own.
    pub(super) sequences_are_ours: bool,
    /// Nothing goes to the backend before its settings are known to hold.
    pub(super) confirming: bool,
    /// The client's next message is not understood before more answers have come.
    pub(super) awaiting: bool,
    /// The next request of the client is answered with this.
    pub(super) failing: Option<Refusal>,
    /// What the client says up to its Sync is skipped.
    pub(super) skipping: bool,
    /// The statement that was bound last.
    pub(super) bound: u64,
    /// Batches of the client so far.
    pub(super) batch: u32,
    /// The beginning of a message that no buffer holds and that has to be read whole.
    pub(super) gathered: Option<Gathered>,
    /// What follows of a message whose beginning was not passed on is not either.
    pub(super) drop_rest: bool,
    /// What goes to the backend before anything else does.
    pub(super) to_backend: Vec<u8>,
    /// What goes to the client before anything else does.
    pub(super) to_client: Vec<u8>,
    /// Statements that the backend has under the client's own names, to be closed before it is given back.
    pub(super) strays: Vec<Box<[u8]>>,
    /// `None` when all that the session says goes to one side.
    pub(super) split: Option<Box<Split>>,
}

/// What the client was told of its transaction, and no backend was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Untold {
    /// They know the same.
    Nothing,
    /// It has begun.
    Begun,
    /// It has begun, and failed since for want of a backend.
    Failed,
}

/// The client's unnamed prepared statement.
pub(super) struct Unnamed {
    /// Unique among all sessions of one [`Common`], 0 for none.
    pub(super) number: u64,
    last: u64,
    /// The body of its Parse behind the name.
    pub(super) definition: Vec<u8>,
    effects: Effects,
    /// The edition of the catalogue that `effects` goes by.
    edition: u32,
    /// It may list prepared statements.
    pub(super) lists: bool,
}

/// A message that is larger than a buffer.
pub(super) struct Gathered {
    pub(super) tag: u8,
    pub(super) octets: Vec<u8>,
    pub(super) missing: usize,
}

/// A backend that may hold some unnamed statement, nobody knows which.
pub(super) const SOME_UNNAMED: u64 = u64::MAX;

// === impl Sharing ===

impl Sharing {
    pub(super) fn new(common: Arc<Common>, known: Reported, application: Option<&[u8]>) -> Self {
        let unnamed = Unnamed {
            number: 0,
            last: common.next_session() << 32,
            definition: Vec::new(),
            effects: Effects::NONE,
            edition: 0,
            lists: false,
        };
        let mut new = Self {
            common,
            held: None,
            wants: false,
            unused: false,
            statements: HashMap::default(),
            unnamed,
            settings: Settings::default(),
            application: application.map(Into::into),
            known,
            pins: Pins::NONE,
            new_pins: VecDeque::new(),
            suspicion: Effects::NONE,
            touched: Vec::new(),
            leads_back: false,
            untold: Untold::Nothing,
            sequences_are_ours: false,
            confirming: false,
            awaiting: false,
            failing: None,
            skipping: false,
            bound: 0,
            batch: 0,
            gathered: None,
            drop_rest: false,
            to_backend: Vec::new(),
            to_client: Vec::new(),
            strays: Vec::new(),
            split: None,
        };
        new.settings = new.first_settings();
        new
    }

    /// A backend is held from now on.
    pub(super) fn attach(
        &mut self,
        mut memory: Box<Memory>,
        untouched: bool,
        assignment: Option<Assignment<'_>>,
    ) {
        self.wants = false;
        self.unused = true;
        if let (Some(split), Some(assignment)) = (&mut self.split, assignment) {
            split.assigned(assignment);
        }
        self.sequences_are_ours &= untouched;
        let fits = memory.settings == self.settings;
        if fits {
            self.settings.unite(&mut memory.settings);
        }
        // A client that is served by both sides sees one server, which takes writes.
        let reader = self.split.as_ref().is_some_and(|split| split.side == Side::Reader);
        let agrees =
            if reader { memory.reported.says_as(&self.known) } else { memory.reported.agrees(&self.known) };
        if fits && !agrees {
            // A reload of the server's configuration, say.
            let news: Vec<_> = memory
                .reported
                .iter()
                .filter(|(name, value)| self.known.get(name) != Some(value))
                .filter(|(name, _)| !(reader && of_its_kind(name)))
                .map(|(name, value)| (name.to_vec(), value.to_vec()))
                .collect();
            for (name, value) in news {
                ParameterStatus { name: &name, value: &value }.write(&mut self.to_client);
                self.known.set(&name, &value);
            }
            if let Some(split) = &mut self.split {
                split.learn(&self.known);
            }
        }
        self.held = Some(memory);
    }

    /// Whether the held backend is given up, whatever the client's transaction.
    pub(super) fn is_leaving(&self) -> bool {
        self.split.as_ref().is_some_and(|split| split.leaving)
    }

    /// Whether something has to go to the held backend ahead of what the client says first.
    pub(super) fn has_prelude(&self, status: TransactionStatus) -> bool {
        self.untold != Untold::Nothing || self.has_settings_to_apply(status)
    }

    /// Whether the held backend has to be given the client's settings, outside of a transaction.
    pub(super) fn has_settings_to_apply(&self, status: TransactionStatus) -> bool {
        let outside = status == TransactionStatus::Idle || self.untold != Untold::Nothing;
        outside && self.held.as_ref().is_some_and(|held| held.settings != self.settings)
    }

    /// The client's prepared statements whose names may stand in a text.
    pub(super) fn named_in(&self, text: &[u8]) -> Vec<(Box<[u8]>, Arc<Statement>)> {
        let folded = text.to_ascii_lowercase();
        let named = |name: &[u8]| {
            memchr::memmem::find(text, name).is_some() || memchr::memmem::find(&folded, name).is_some()
        };
        self.statements
            .iter()
            .filter(|(name, _)| named(name))
            .map(|(name, statement)| (name.clone(), Arc::clone(statement)))
            .collect()
    }

    /// The settings that the client said at its start.
    pub(super) fn first_settings(&self) -> Settings {
        match &self.application {
            Some(name) => Settings::default().with(b"application_name", Some(name)),
            None => Settings::default(),
        }
    }
}

// === impl Unnamed ===

impl Unnamed {
    /// The client has a new one; answers its number.
    pub(super) fn define(&mut self, definition: &[u8], effects: Effects, edition: u32, lists: bool) -> u64 {
        self.last += 1;
        self.number = self.last;
        self.definition.clear();
        self.definition.extend_from_slice(definition);
        (self.effects, self.edition, self.lists) = (effects, edition, lists);
        self.number
    }

    /// What it may leave behind, by what is known now.
    pub(super) fn effects(&mut self, common: &Common) -> Effects {
        let edition = common.edition();
        if self.edition != edition {
            let text = text_of(&self.definition);
            self.effects = common.with_catalogue(|catalogue| sql::effects(text, catalogue));
            self.edition = edition;
        }
        self.effects
    }
}
