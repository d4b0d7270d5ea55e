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
    /// The held backend was leased for a message that has not been taken in yet. It stays until then: given back before, it
    /// would be leased again for the same message, and so on for ever.
    pub(super) unused: bool,
    /// The client's prepared statements by their names.
    pub(super) statements: HashMap<Box<[u8]>, Arc<Statement>, RandomState>,
    /// Octets of their names and definitions, and of those that were closed since this was counted last.
    pub(super) statement_octets: usize,
    /// When it parsed them.
    pub(super) parsed: Parsed,
    /// The client's unnamed statement.
    pub(super) unnamed: Unnamed,
    /// The client's settings.
    pub(super) settings: Settings,
    /// What it has set at its start.
    pub(super) startup: Startup,
    /// What the client was told of its settings.
    pub(super) known: Reported,
    /// Letters of the client's encoding may contain bytes of ASCII: the server does not read its texts as they look here.
    unreadable: bool,
    /// How its texts are read.
    pub(super) reading: Reading,
    pub(super) pins: Pins,
    /// Pins that nobody was told of.
    pub(super) new_pins: VecDeque<Pin>,
    /// What this transaction may have left behind.
    pub(super) suspicion: Effects,
    /// Settings that it may have changed.
    pub(super) touched: Vec<Arc<[u8]>>,
    /// Looks that have failed since one was answered.
    pub(super) failed_looks: u8,
    /// Settings may go back to their defaults.
    pub(super) leads_back: bool,
    /// The edition of the catalogue when the backend was leased, or when the catalogue was compared last.
    pub(super) edition: u32,
    /// Texts of this transaction that are judged again once the catalogue is as new as they are.
    pub(super) outdated: OutdatedTexts,
    /// The catalogue has to be compared with the server's before the backend is given back.
    pub(super) wants_catalogue: bool,
    /// State checks that nobody was told of.
    pub(super) state_checks: u32,
    /// Settings that a statement prepared by SQL may change whenever it is executed.
    pub(super) prepared_settings: Vec<Arc<[u8]>>,
    /// The client's name of the statement whose Bind failed last, where one statement has several names.
    pub(super) failed_statement: Option<Box<[u8]>>,
    /// A portal of this transaction may reset the session.
    pub(super) binds_reset: bool,
    pub(super) untold: Untold,
    /// What became of the client's BEGIN, while it is held back.
    pub(super) begin: HeldBegin,
    /// The state of sequences in the held backend is the session's own.
    pub(super) sequences_are_ours: bool,
    /// What the session itself does with that state.
    pub(super) sequence_use: SequenceUse,
    /// Nothing goes to the backend before its settings are known to hold.
    pub(super) confirming: bool,
    /// The client's next message is not understood before more answers have come.
    pub(super) awaiting: bool,
    /// The next request of the client is answered with this.
    pub(super) failing: Option<Refusal>,
    /// What the client says up to its Sync is skipped.
    pub(super) skipping: bool,
    /// The portal bound last that forgets a statement by SQL, and the name of that statement.
    pub(super) deallocating: Option<(PortalName, ForgottenName)>,
    /// The statement that was bound last.
    pub(super) bound: u64,
    /// The statement whose result the unnamed portal has, if a description of it is worth keeping; 0 otherwise.
    pub(super) portal_of: u64,
    pub(super) shape_check: ShapeCheck,
    /// Batches of the client so far.
    pub(super) batch: u32,
    /// The beginning of a message that no buffer holds and that has to be read whole.
    pub(super) gathered: Option<Gathered>,
    /// A message of the backend that no buffer holds and that the client is not to see as it comes; without octets when it is
    /// not even to be read.
    pub(super) kept_back: Option<Gathered>,
    /// What follows of a message whose beginning was not passed on is not either.
    pub(super) drop_rest: bool,
    /// What goes to the backend before anything else does.
    pub(super) to_backend: Vec<u8>,
    /// What goes to the client before anything else does.
    pub(super) to_client: Vec<u8>,
    /// Statements that the backend has under the client's own names, to be closed before it is given back.
    pub(super) strays: Vec<Box<[u8]>>,
    /// The process id that the client was told at its login, and that of the backend it holds.
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

/// How far a session relies on the state of sequences in its backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum SequenceUse {
    /// No statement of the session has read it.
    #[default]
    Unread,
    /// No statement has read it, and one may have moved a sequence since the driver was told so.
    Moved,
    /// A statement has read it, or was prepared to.
    Read,
}

/// Before the Bind that comes next: whether the statement's result is what the client was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ShapeCheck {
    /// Nobody has asked.
    None,
    /// The server was asked: the Bind waits.
    Asked,
    /// The server has answered.
    Answered,
}

/// What a BEGIN that is held back waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeldBegin {
    /// For the client's first statement, though not for long.
    Waits,
    /// For a backend, which is wanted for nothing else yet.
    Wants,
    /// For the client's first statement: no backend came free for it alone, or a read pool may serve what follows.
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

/// Texts that were judged by a catalogue that may be out of date.
#[derive(Default)]
pub(super) struct OutdatedTexts {
    texts: Vec<Box<[u8]>>,
    bytes: usize,
    /// There were more than are kept.
    incomplete: bool,
}

/// How many bytes of such texts a session keeps: one transaction seldom has more, and the backend of one that has is closed.
const OUTDATED_TEXTS_BYTES: usize = 64 * 1024;
/// The encodings in which a byte of ASCII may be the second one of a letter. No server has one of them itself.
/// <https://www.postgresql.org/docs/current/multibyte.html#MULTIBYTE-CHARSET-SUPPORTED>
const UNREADABLE: [&[u8]; 7] = [b"BIG5", b"GB18030", b"GBK", b"JOHAB", b"SHIFT_JIS_2004", b"SJIS", b"UHC"];

/// The name of a portal of the client.
type PortalName = Box<[u8]>;
/// The name of a statement of the client.
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

    /// The client was told something new of its settings.
    pub(super) fn learn(&mut self) {
        self.unreadable =
            self.known.get(b"client_encoding").is_some_and(|encoding| UNREADABLE.contains(&encoding));
        self.reading = Reading::of(&self.known);
        if let Some(split) = &mut self.split {
            split.learn(&self.known);
        }
    }

    /// What `text` may leave behind, of which it looks as if it were `effects`.
    pub(super) fn proved(&self, effects: Effects, text: &[u8]) -> Effects {
        // Sequences aside, about which all sessions would have to mind.
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

    /// Whether the client may have one more prepared statement, whose name and definition are of so many octets.
    pub(super) fn may_prepare(&mut self, octets: usize) -> bool {
        /// Named statements that a client may have at a time, and octets of their names and definitions.
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

    /// The texts, and whether these are all.
    pub(super) fn take(&mut self) -> (Vec<Box<[u8]>>, bool) {
        let Self { texts, incomplete, .. } = std::mem::take(self);
        (texts, !incomplete)
    }
}

// === impl Unnamed ===

impl Unnamed {
    /// Puts the client's statement away, with its definition; `None` when there is none.
    pub(super) fn put_away(&mut self) -> Option<Box<Self>> {
        let number = std::mem::take(&mut self.number);
        let definition = if number == 0 { return None } else { std::mem::take(&mut self.definition) };
        let Self { last, effects, edition, lists, .. } = *self;
        Some(Box::new(Self { number, last, definition, effects, edition, lists }))
    }

    /// The client has again what [`Self::put_away`] gave; numbers are not used twice.
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
        /// Room that is kept for the next definition.
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
