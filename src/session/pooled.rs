//! Session that leases a backend connection per transaction: the components of its state, and the commands of the driver.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use foldhash::fast::RandomState;

use super::{
    common::Common,
    conversation::{Conversation, SessionOptions},
    memory::Memory,
    parsed::Parsed,
    pin::{Pin, Pins},
    refusal::Refusal,
    reported::{Reported, of_its_kind},
    settings::Settings,
    split::{Asked, Assignment, Split, WRITER},
    startup::Startup,
    statement::{Reading, Statement, text_of},
};
use crate::{
    route::{Need, Side, SplitSettings},
    sql::{self, Effects},
    wire::{
        SqlState, TransactionStatus,
        backend::ParameterStatus,
        fault::{self, Severity},
    },
};

/// State of a pooled session.
pub struct Pooled {
    pub(super) conversation: Conversation,
    /// State shared by all sessions of the database and user.
    pub(super) common: Arc<Common>,
    pub(super) backend: BackendLease,
    pub(super) request: RequestState,
    pub(super) statements: ClientStatements,
    pub(super) settings: SessionSettings,
    pub(super) cleanup: Cleanup,
    pub(super) begin: DeferredBegin,
    pub(super) outgoing: Outgoing,
    /// `None` for a listener with a single endpoint.
    pub(super) router: Option<Box<Split>>,
}

/// Backend of the session: leased, wanted, or neither.
pub(super) struct BackendLease {
    /// What is known of the backend that the session holds; `None` while it holds none.
    pub(super) held: Option<Box<Memory>>,
    /// The session cannot go on without a backend.
    pub(super) wants: bool,
    /// The held backend was leased for a message not consumed yet, and stays until then. After an earlier return the
    /// same message would lease a backend again, endlessly.
    pub(super) unused: bool,
    /// Nothing goes to the backend before its settings are known to hold.
    pub(super) confirming: bool,
    /// Process id sent to the client at login, and process id of the held backend.
    pub(super) told_pid: i32,
    pub(super) backend_pid: i32,
}

/// Processing state of the client message that comes next.
pub(super) struct RequestState {
    /// The client's next message is not understood before more answers have come.
    pub(super) awaiting: bool,
    /// The next request of the client is answered with this.
    pub(super) failing: Option<Refusal>,
    /// What the client says up to its Sync is skipped.
    pub(super) skipping: bool,
    /// The beginning of a message that no buffer holds and that has to be read whole.
    pub(super) gathered: Option<Gathered>,
    /// What follows of a message whose beginning was not passed on is not either.
    pub(super) drop_rest: bool,
}

/// Prepared statements of the client.
pub(super) struct ClientStatements {
    /// The client's prepared statements by their names.
    pub(super) named: HashMap<Box<[u8]>, Arc<Statement>, RandomState>,
    /// Bytes of statement names and definitions, including statements closed since the last count.
    pub(super) bytes: usize,
    /// Parse history of the client's statements.
    pub(super) parsed: Parsed,
    /// The client's unnamed statement.
    pub(super) unnamed: Unnamed,
    /// Reading of the client's texts by the server.
    pub(super) reading: Reading,
    /// Client's name of the statement in the last failed Bind, where a statement has several names.
    pub(super) failed_statement: Option<Box<[u8]>>,
    /// Last bound portal of an SQL deallocation, and the name of the deallocated statement.
    pub(super) deallocating: Option<(PortalName, ForgottenName)>,
    /// The statement that was bound last.
    pub(super) bound: u64,
    /// Statement of the unnamed portal's result, if a description is worth keeping; 0 otherwise.
    pub(super) portal_of: u64,
    pub(super) shape_check: ShapeCheck,
    /// Batches of the client so far.
    pub(super) batch: u32,
    /// Statements that the backend has under the client's own names, to be closed before it is given back.
    pub(super) strays: Vec<Box<[u8]>>,
}

/// Settings of the client, as far as a session may change them.
pub(super) struct SessionSettings {
    /// The client's settings.
    pub(super) values: Settings,
    /// Settings from the client's start-up packet.
    pub(super) startup: Startup,
    /// What the client was told of its settings.
    pub(super) known: Reported,
    /// Characters of the client's encoding may contain ASCII bytes: the server reads texts differently from Gatekeeper.
    pub(super) unreadable: bool,
    /// Settings may go back to their defaults.
    pub(super) leads_back: bool,
}

/// State possibly left on the backend by the transaction, and pins.
pub(super) struct Cleanup {
    pub(super) pins: Pins,
    /// Pins that nobody was told of.
    pub(super) new_pins: VecDeque<Pin>,
    /// What this transaction may have left behind.
    pub(super) suspicion: Effects,
    /// Settings that it may have changed.
    pub(super) touched: Vec<Arc<[u8]>>,
    /// Count of failed state checks since the last answered check.
    pub(super) failed_looks: u8,
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
    /// A portal of the transaction may reset the session.
    pub(super) binds_reset: bool,
    /// The state of sequences in the held backend is the session's own.
    pub(super) sequences_are_ours: bool,
    /// Use of the sequence state by the session.
    pub(super) sequence_use: SequenceUse,
}

/// BEGIN that Gatekeeper has answered and not yet sent.
pub(super) struct DeferredBegin {
    pub(super) untold: Untold,
    /// State of the client's deferred BEGIN.
    pub(super) delay: HeldBegin,
}

/// Bytes written by Gatekeeper itself, in either direction.
pub(super) struct Outgoing {
    /// Backend message larger than any buffer, and not forwarded to the client on arrival; without bytes if not even
    /// read.
    pub(super) kept_back: Option<Gathered>,
    /// What goes to the backend before anything else does.
    pub(super) to_backend: Vec<u8>,
    /// What goes to the client before anything else does.
    pub(super) to_client: Vec<u8>,
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

// === impl Pooled ===

impl Pooled {
    /// Creates a session without a backend, as [`super::Session::pooled`].
    pub(super) fn new(
        common: Arc<Common>,
        known: Reported,
        startup: Settings,
        options: SessionOptions,
    ) -> Self {
        let unnamed = Unnamed {
            number: 0,
            last: common.next_session() << 32,
            definition: Vec::new(),
            effects: Effects::NONE,
            edition: 0,
            lists: false,
        };
        let mut new = Self {
            conversation: Conversation::new(TransactionStatus::Idle, options),
            common,
            backend: BackendLease {
                held: None,
                wants: false,
                unused: false,
                confirming: false,
                told_pid: 0,
                backend_pid: 0,
            },
            request: RequestState {
                awaiting: false,
                failing: None,
                skipping: false,
                gathered: None,
                drop_rest: false,
            },
            statements: ClientStatements {
                named: HashMap::default(),
                bytes: 0,
                parsed: Parsed::default(),
                unnamed,
                reading: Reading::of(&known),
                failed_statement: None,
                deallocating: None,
                bound: 0,
                portal_of: 0,
                shape_check: ShapeCheck::None,
                batch: 0,
                strays: Vec::new(),
            },
            settings: SessionSettings {
                values: startup.clone(),
                startup: Startup::new(startup),
                known,
                unreadable: false,
                leads_back: false,
            },
            cleanup: Cleanup {
                pins: Pins::NONE,
                new_pins: VecDeque::new(),
                suspicion: Effects::NONE,
                touched: Vec::new(),
                failed_looks: 0,
                edition: 0,
                outdated: OutdatedTexts::default(),
                wants_catalogue: false,
                state_checks: 0,
                prepared_settings: Vec::new(),
                binds_reset: false,
                sequences_are_ours: false,
                sequence_use: SequenceUse::default(),
            },
            begin: DeferredBegin { untold: Untold::Nothing, delay: HeldBegin::Waits },
            outgoing: Outgoing { kept_back: None, to_backend: Vec::new(), to_client: Vec::new() },
            router: None,
        };
        new.learn();
        new
    }

    /// A backend is held from now on.
    fn hold(&mut self, mut memory: Box<Memory>, untouched: bool, assignment: Option<Assignment<'_>>) {
        self.backend.wants = false;
        self.backend.unused = true;
        self.cleanup.edition = self.common.edition();
        self.statements.portal_of = 0;
        if let (Some(split), Some(assignment)) = (&mut self.router, assignment) {
            split.assigned(assignment);
        }
        self.cleanup.sequences_are_ours &= untouched;
        let fits = memory.settings == self.settings.values;
        if fits {
            self.settings.values.unite(&mut memory.settings);
        }
        // A client that is served by both sides sees one server, which takes writes.
        let reader = self.router.as_ref().is_some_and(|split| split.side == Side::Reader);
        let agrees = if reader {
            memory.reported.says_as(&self.settings.known)
        } else {
            memory.reported.agrees(&self.settings.known)
        };
        if fits && !agrees {
            // A reload of the server's configuration, say.
            let news: Vec<_> = memory
                .reported
                .iter()
                .filter(|(name, value)| self.settings.known.get(name) != Some(value))
                .filter(|(name, _)| !(reader && of_its_kind(name)))
                .map(|(name, value)| (name.to_vec(), value.to_vec()))
                .collect();
            for (name, value) in news {
                ParameterStatus { name: &name, value: &value }.write(&mut self.outgoing.to_client);
                self.settings.known.set(&name, &value);
            }
            self.learn();
        }
        self.backend.held = Some(memory);
    }

    /// Updates derived state after a settings report to the client.
    pub(super) fn learn(&mut self) {
        self.settings.unreadable = self
            .settings
            .known
            .get(b"client_encoding")
            .is_some_and(|encoding| UNREADABLE.contains(&encoding));
        self.statements.reading = Reading::of(&self.settings.known);
        if let Some(split) = &mut self.router {
            split.learn(&self.settings.known);
        }
    }

    /// Returns the possible effects of `text`, with the apparent `effects`.
    pub(super) fn proved(&self, effects: Effects, text: &[u8]) -> Effects {
        // Excludes sequences: all sessions would have to track sequence use.
        const ANYTHING: Effects =
            Effects::ALL.without(Effects::SEQUENCE_READ.union(Effects::SEQUENCE_MOVE).union(Effects::BLOCK));
        if self.settings.unreadable && !text.is_ascii() { effects.union(ANYTHING) } else { effects }
    }

    /// Whether the held backend is given up, whatever the client's transaction.
    pub(super) fn is_leaving(&self) -> bool {
        self.router.as_ref().is_some_and(|split| split.leaving)
    }

    /// Whether something has to go to the held backend ahead of what the client says first.
    pub(super) fn has_prelude(&self, status: TransactionStatus) -> bool {
        self.begin.untold != Untold::Nothing || self.has_settings_to_apply(status)
    }

    /// Whether the held backend has to be given the client's settings, outside of a transaction.
    pub(super) fn has_settings_to_apply(&self, status: TransactionStatus) -> bool {
        let outside = status == TransactionStatus::Idle || self.begin.untold != Untold::Nothing;
        outside && self.backend.held.as_ref().is_some_and(|held| held.settings != self.settings.values)
    }

    /// The client's prepared statements whose names may stand in a text.
    pub(super) fn named_in(&self, text: &[u8]) -> Vec<(Box<[u8]>, Arc<Statement>)> {
        let folded = text.to_ascii_lowercase();
        let named = |name: &[u8]| {
            memchr::memmem::find(text, name).is_some() || memchr::memmem::find(&folded, name).is_some()
        };
        self.statements
            .named
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
        if self.statements.named.len() + self.statements.strays.len() >= COUNT_MAX {
            return false;
        }
        if self.statements.bytes + octets > OCTETS_MAX {
            let each =
                self.statements.named.iter().map(|(name, known)| name.len() + known.definition().len());
            self.statements.bytes = each.sum();
        }
        let may = self.statements.bytes + octets <= OCTETS_MAX;
        self.statements.bytes += if may { octets } else { 0 };
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

impl Pooled {
    /// Whether the session cannot go on without a backend: lease one and [`Self::attach`] it, or [`Self::fail`].
    pub(super) fn wants_backend(&self) -> bool {
        self.backend.wants
    }

    /// The [`super::Settings::mark`] of the settings that its backend will have to hold.
    pub(super) fn settings_mark(&self) -> u64 {
        self.settings.values.mark()
    }

    /// True if the session's backends must have logged in with the client's options.
    pub(super) fn is_apart(&self) -> bool {
        self.settings.startup.is_apart()
    }

    /// A backend was leased. `untouched` says that it is the one the session gave back last, and that nobody has used it
    /// since.
    pub(super) fn attach(&mut self, memory: Box<Memory>, untouched: bool) {
        self.conversation.spoils_backend = false;
        self.hold(memory, untouched, None);
    }

    /// The same for a session that [splits](Self::split) what it says.
    pub(super) fn assign(&mut self, memory: Box<Memory>, untouched: bool, assignment: Assignment<'_>) {
        self.conversation.spoils_backend = false;
        self.hold(memory, untouched, Some(assignment));
    }

    /// Reads go to the read pools from now on, everything else to the writer.
    pub(super) fn split(&mut self, settings: Arc<SplitSettings>, asked: Asked) {
        let mut split = Split::new(settings, asked);
        split.learn(&self.settings.known);
        self.router = Some(Box::new(split));
    }

    /// What the backend is wanted for; anything will do for a session that does not split.
    pub(super) fn need(&self) -> Need {
        let split = self.router.as_ref();
        split.map_or(WRITER, |split| split.need)
    }

    /// What a read must not be older than, at `now`: by the session's own writes, or by what it asks for.
    pub(super) fn floor(&self, now: Instant) -> Option<Instant> {
        self.router.as_ref()?.floor(now, &self.settings.values)
    }

    /// Whether something is to be said that the driver has no octets of: [`Self::on_client`] is to be called, whatever the
    /// client has said.
    pub(super) fn has_something_to_say(&self) -> bool {
        // Until a backend has come, or has answered what was asked of it first, it is not to be said.
        self.router.as_ref().is_some_and(|split| !split.again.is_empty() && !split.leaving)
            && !(self.backend.wants || self.backend.confirming || self.request.awaiting)
    }

    /// True if the session has received all of a message larger than any buffer, and not sent the message yet.
    pub(super) fn has_gathered(&self) -> bool {
        let gathered = self.request.gathered.as_ref();
        gathered.is_some_and(|gathered| gathered.missing == 0)
    }

    /// True if the session waits for more client input, for classification or to send a deferred BEGIN with the next
    /// statement. [`Self::on_impatience`] ends the wait soon.
    pub(super) fn is_waiting_for_more(&self) -> bool {
        self.holds_begin_back() || self.router.as_ref().is_some_and(|split| split.unfinished)
    }

    /// Ends the wait for more client input: present input is classified as is, and the client's transaction begins.
    pub(super) fn on_impatience(&mut self) {
        if self.holds_begin_back() {
            self.want_for_begin();
        }
        if let Some(split) = self.router.as_mut() {
            split.impatient = true;
        }
    }

    /// Notes the process id sent to the client at login.
    pub(super) fn told_pid(&mut self, pid: i32) {
        self.backend.told_pid = pid;
    }

    /// Notes the process id of the leased backend.
    pub(super) fn serves_as(&mut self, pid: i32) {
        self.backend.backend_pid = pid;
    }

    /// What is known of the backend, when it can be given back: nothing is under way on it, and nothing of the session
    /// is left there.
    pub(super) fn detach(&mut self) -> Option<Box<Memory>> {
        if !self.is_done_with_backend() {
            return None;
        }
        if let Some(split) = &mut self.router {
            split.left();
        }
        if let Some(settings) = self.settings.startup.moved(&self.settings.values) {
            self.settings.values = settings;
        }
        self.backend.held.take()
    }

    /// Whether the client's next message can only be understood once more answers have come.
    pub(super) fn is_awaiting_answers(&self) -> bool {
        self.backend.confirming || self.request.awaiting
    }

    /// True if the session may end after the client's Terminate: the client has every response PostgreSQL would have
    /// sent. After Terminate the backend sends all pending responses, and ends the session by closing.
    pub(super) fn may_leave(&self) -> bool {
        self.conversation.may_leave() && !self.has_more_to_say_again()
    }

    /// The client is told that it has waited for a backend for so long.
    pub(super) fn notice_wait(&mut self, waited: Duration) {
        if self.begin.delay != HeldBegin::Wants {
            let message = format!("waiting for a server connection for {} s", waited.as_secs());
            fault::Report::new(Severity::Notice, SqlState::SUCCESSFUL_COMPLETION, message)
                .write(&mut self.outgoing.to_client);
        }
    }

    /// What is known of the backend, when the session ends, whatever is left on it.
    pub(super) fn abandon(&mut self) -> Option<Box<Memory>> {
        self.backend.held.take()
    }

    /// No backend is to be had: the client's next request is answered with `refusal`, and the session goes on. A transaction
    /// that the client was told of, and no backend, has failed.
    pub(super) fn fail(&mut self, refusal: Refusal) {
        self.backend.wants = false;
        if self.begin.delay == HeldBegin::Wants {
            // The client has requested nothing able to fail.
            self.begin.delay = HeldBegin::Stays;
            return;
        }
        self.request.failing = Some(refusal);
        if self.begin.untold != Untold::Nothing {
            self.begin.untold = Untold::Failed;
            self.conversation.status = TransactionStatus::Failed;
        }
    }

    /// Whether what is under way on the held backend, or has to go ahead of what the client says, is the session's own: a
    /// cancel request that came now would not end the client's statement, but what the statement relies on.
    pub(super) fn is_preparing(&self) -> bool {
        self.backend.held.is_some()
            && (self.conversation.ledger.is_own() || self.has_prelude(self.conversation.status))
    }

    /// What goes to the backend before anything of the client's.
    pub(super) fn backend_output(&mut self) -> Option<&mut Vec<u8>> {
        Some(&mut self.outgoing.to_backend).filter(|octets| !octets.is_empty())
    }

    /// What goes to the client behind everything of the backend's so far.
    pub(super) fn client_output(&mut self) -> Option<&mut Vec<u8>> {
        Some(&mut self.outgoing.to_client).filter(|octets| !octets.is_empty())
    }

    /// The next pin that nobody was told of.
    pub(super) fn poll_pin(&mut self) -> Option<Pin> {
        self.cleanup.new_pins.pop_front()
    }

    /// Returns the number of state checks started since the last poll.
    pub(super) fn poll_state_checks(&mut self) -> u32 {
        std::mem::take(&mut self.cleanup.state_checks)
    }

    /// Why the session may not give its backend back.
    pub(super) fn pins(&self) -> Pins {
        self.cleanup.pins
    }
}
