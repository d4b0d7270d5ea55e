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
    parsed::Parsed,
    pin::{Pin, Pins},
    refusal::Refusal,
    reported::{Reported, of_its_kind},
    settings::Settings,
    split::{Assignment, Split},
    startup::Startup,
    statement::{Reading, Statement, text_of},
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
    /// The held backend was leased for a message not consumed yet, and stays until then. After an earlier return the
    /// same message would lease a backend again, endlessly.
    pub(super) unused: bool,
    /// The client's prepared statements by their names.
    pub(super) statements: HashMap<Box<[u8]>, Arc<Statement>, RandomState>,
    /// Bytes of statement names and definitions, including statements closed since the last count.
    pub(super) statement_octets: usize,
    /// Parse history of the client's statements.
    pub(super) parsed: Parsed,
    /// The client's unnamed statement.
    pub(super) unnamed: Unnamed,
    /// The client's settings.
    pub(super) settings: Settings,
    /// Settings from the client's start-up packet.
    pub(super) startup: Startup,
    /// What the client was told of its settings.
    pub(super) known: Reported,
    /// Characters of the client's encoding may contain ASCII bytes: the server reads texts differently from Gatekeeper.
    unreadable: bool,
    /// Reading of the client's texts by the server.
    pub(super) reading: Reading,
    pub(super) pins: Pins,
    /// Pins that nobody was told of.
    pub(super) new_pins: VecDeque<Pin>,
    /// What this transaction may have left behind.
    pub(super) suspicion: Effects,
    /// Settings that it may have changed.
    pub(super) touched: Vec<Arc<[u8]>>,
    /// Count of failed state checks since the last answered check.
    pub(super) failed_looks: u8,
    /// Settings may go back to their defaults.
    pub(super) leads_back: bool,
    /// Catalog edition at the lease of the backend, or at the last catalog comparison.
    pub(super) edition: u32,
    /// Texts of the transaction to classify again with an up-to-date catalog.
    pub(super) outdated: OutdatedTexts,
    /// The catalog must be compared with the server's before the backend is returned.
    pub(super) wants_catalogue: bool,
    /// Count of state checks not reported to the driver yet.
    pub(super) state_checks: u32,
    /// Settings possibly changed by each execution of an SQL-prepared statement.
    pub(super) prepared_settings: Vec<Arc<[u8]>>,
    /// Client's name of the statement in the last failed Bind, where a statement has several names.
    pub(super) failed_statement: Option<Box<[u8]>>,
    /// A portal of the transaction may reset the session.
    pub(super) binds_reset: bool,
    pub(super) untold: Untold,
    /// State of the client's deferred BEGIN.
    pub(super) begin: HeldBegin,
    /// The state of sequences in the held backend is the session's own.
    pub(super) sequences_are_ours: bool,
    /// Use of the sequence state by the session.
    pub(super) sequence_use: SequenceUse,
    /// Nothing goes to the backend before its settings are known to hold.
    pub(super) confirming: bool,
    /// The client's next message is not understood before more answers have come.
    pub(super) awaiting: bool,
    /// The next request of the client is answered with this.
    pub(super) failing: Option<Refusal>,
    /// What the client says up to its Sync is skipped.
    pub(super) skipping: bool,
    /// Last bound portal of an SQL deallocation, and the name of the deallocated statement.
    pub(super) deallocating: Option<(PortalName, ForgottenName)>,
    /// The statement that was bound last.
    pub(super) bound: u64,
    /// Statement of the unnamed portal's result, if a description is worth keeping; 0 otherwise.
    pub(super) portal_of: u64,
    pub(super) shape_check: ShapeCheck,
    /// Batches of the client so far.
    pub(super) batch: u32,
    /// The beginning of a message that no buffer holds and that has to be read whole.
    pub(super) gathered: Option<Gathered>,
    /// Backend message larger than any buffer, and not forwarded to the client on arrival; without bytes if not even
    /// read.
    pub(super) kept_back: Option<Gathered>,
    /// What follows of a message whose beginning was not passed on is not either.
    pub(super) drop_rest: bool,
    /// What goes to the backend before anything else does.
    pub(super) to_backend: Vec<u8>,
    /// What goes to the client before anything else does.
    pub(super) to_client: Vec<u8>,
    /// Statements that the backend has under the client's own names, to be closed before it is given back.
    pub(super) strays: Vec<Box<[u8]>>,
    /// Process id sent to the client at login, and process id of the held backend.
    pub(super) told_pid: i32,
    pub(super) backend_pid: i32,
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

/// Dependence of a session on the state of sequences in the backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum SequenceUse {
    /// No statement of the session has read sequence state.
    #[default]
    Unread,
    /// No statement has read sequence state; a statement may have moved a sequence since the last report to the driver.
    Moved,
    /// A statement has read sequence state, or was prepared to do so.
    Read,
}

/// Check before the next Bind: the statement's result must match the client's description.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ShapeCheck {
    /// No request was sent.
    None,
    /// A Describe was sent: the Bind waits.
    Asked,
    /// The server has answered.
    Answered,
}

/// Event awaited by a deferred BEGIN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeldBegin {
    /// The client's first statement, for a limited time.
    Waits,
    /// A backend, not needed for anything else yet.
    Wants,
    /// The client's first statement: no backend came free for the BEGIN alone, or a read pool may serve the next
    /// messages.
    Stays,
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

/// Texts classified with a possibly outdated catalog.
#[derive(Default)]
pub(super) struct OutdatedTexts {
    texts: Vec<Box<[u8]>>,
    bytes: usize,
    /// More texts existed than are kept.
    incomplete: bool,
}

/// Maximum bytes of outdated texts in a session. A transaction seldom has more; the backend is closed after a larger
/// transaction.
const OUTDATED_TEXTS_BYTES: usize = 64 * 1024;
/// Client encodings with ASCII bytes as possible second bytes of a character. None is a server encoding.
/// <https://www.postgresql.org/docs/current/multibyte.html#MULTIBYTE-CHARSET-SUPPORTED>
const UNREADABLE: [&[u8]; 7] = [b"BIG5", b"GB18030", b"GBK", b"JOHAB", b"SHIFT_JIS_2004", b"SJIS", b"UHC"];

/// Name of a client's portal.
type PortalName = Box<[u8]>;
/// Name of a client's statement.
type ForgottenName = Box<[u8]>;

/// A backend that may hold some unnamed statement, nobody knows which.
pub(super) const SOME_UNNAMED: u64 = u64::MAX;

// === impl Sharing ===

impl Sharing {
    pub(super) fn new(common: Arc<Common>, known: Reported, startup: Settings) -> Self {
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
            statement_octets: 0,
            parsed: Parsed::default(),
            unnamed,
            settings: startup.clone(),
            startup: Startup::new(startup),
            unreadable: false,
            reading: Reading::of(&known),
            known,
            pins: Pins::NONE,
            new_pins: VecDeque::new(),
            suspicion: Effects::NONE,
            touched: Vec::new(),
            failed_looks: 0,
            leads_back: false,
            edition: 0,
            outdated: OutdatedTexts::default(),
            wants_catalogue: false,
            state_checks: 0,
            prepared_settings: Vec::new(),
            failed_statement: None,
            binds_reset: false,
            untold: Untold::Nothing,
            begin: HeldBegin::Waits,
            sequences_are_ours: false,
            sequence_use: SequenceUse::default(),
            confirming: false,
            awaiting: false,
            failing: None,
            skipping: false,
            deallocating: None,
            bound: 0,
            portal_of: 0,
            shape_check: ShapeCheck::None,
            batch: 0,
            gathered: None,
            kept_back: None,
            drop_rest: false,
            to_backend: Vec::new(),
            to_client: Vec::new(),
            strays: Vec::new(),
            told_pid: 0,
            backend_pid: 0,
            split: None,
        };
        new.learn();
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
        self.edition = self.common.edition();
        self.portal_of = 0;
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
            self.learn();
        }
        self.held = Some(memory);
    }

    /// Updates derived state after a settings report to the client.
    pub(super) fn learn(&mut self) {
        self.unreadable =
            self.known.get(b"client_encoding").is_some_and(|encoding| UNREADABLE.contains(&encoding));
        self.reading = Reading::of(&self.known);
        if let Some(split) = &mut self.split {
            split.learn(&self.known);
        }
    }

    /// Returns the possible effects of `text`, with the apparent `effects`.
    pub(super) fn proved(&self, effects: Effects, text: &[u8]) -> Effects {
        // Excludes sequences: all sessions would have to track sequence use.
        const ANYTHING: Effects =
            Effects::ALL.without(Effects::SEQUENCE_READ.union(Effects::SEQUENCE_MOVE).union(Effects::BLOCK));
        if self.unreadable && !text.is_ascii() { effects.union(ANYTHING) } else { effects }
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

    /// True if the client may have another prepared statement, with `octets` bytes of name and definition.
    pub(super) fn may_prepare(&mut self, octets: usize) -> bool {
        /// Maximum count of a client's named statements, and maximum bytes of names and definitions.
        const COUNT_MAX: usize = 1 << 16;
        const OCTETS_MAX: usize = 64 << 20;
        if self.statements.len() + self.strays.len() >= COUNT_MAX {
            return false;
        }
        if self.statement_octets + octets > OCTETS_MAX {
            let each = self.statements.iter().map(|(name, known)| name.len() + known.definition().len());
            self.statement_octets = each.sum();
        }
        let may = self.statement_octets + octets <= OCTETS_MAX;
        self.statement_octets += if may { octets } else { 0 };
        may
    }
}

// === impl OutdatedTexts ===

impl OutdatedTexts {
    pub(super) fn push(&mut self, text: &[u8]) {
        if self.texts.iter().any(|known| **known == *text) {
            return;
        }
        if self.bytes + text.len() > OUTDATED_TEXTS_BYTES {
            self.incomplete = true;
            return;
        }
        self.bytes += text.len();
        self.texts.push(text.into());
    }

    pub(super) fn clear(&mut self) {
        if self.incomplete || !self.texts.is_empty() {
            *self = Self::default();
        }
    }

    /// Takes the texts; the flag is true if the list is complete.
    pub(super) fn take(&mut self) -> (Vec<Box<[u8]>>, bool) {
        let Self { texts, incomplete, .. } = std::mem::take(self);
        (texts, !incomplete)
    }
}

// === impl Unnamed ===

impl Unnamed {
    /// Removes the client's statement, and returns the statement with the definition; `None` without a statement.
    pub(super) fn put_away(&mut self) -> Option<Box<Self>> {
        let number = std::mem::take(&mut self.number);
        let definition = if number == 0 { return None } else { std::mem::take(&mut self.definition) };
        let Self { last, effects, edition, lists, .. } = *self;
        Some(Box::new(Self { number, last, definition, effects, edition, lists }))
    }

    /// Restores the result of [`Self::put_away`]; numbers are not used twice.
    pub(super) fn bring_back(&mut self, before: Option<Box<Self>>) {
        match before {
            Some(before) => *self = Self { last: self.last, ..*before },
            None => self.number = 0,
        }
    }

    /// The client has a new one; answers its number.
    pub(super) fn define(&mut self, definition: &[u8], effects: Effects, edition: u32, lists: bool) -> u64 {
        self.last += 1;
        self.number = self.last;
        /// Bytes of capacity kept for the next definition.
        const ROOM: usize = 64 << 10;
        self.definition.clear();
        self.definition.shrink_to(ROOM);
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
