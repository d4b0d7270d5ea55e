//! Deferred BEGIN: answered by Gatekeeper, and sent with the transaction's first statement.

use crate::{
    session::split::BeginScript,
    sql::{self, SessionStatement, TransactionControl, TransactionModes},
    wire::TransactionStatus,
};

/// BEGIN that the client got a response to, and no backend has received.
#[derive(Default)]
pub(in crate::session) struct DeferredBegin {
    stage: BeginStage,
    delay: BeginDelay,
    /// Commands of the client that began the transaction; empty without a split route, where BEGIN suffices.
    script: BeginScript,
    /// Commands sent ahead of a unit on a read pool, until the unit begins.
    sent: Option<BeginScript>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum BeginStage {
    #[default]
    None,
    Pending,
    /// The transaction has failed since, for want of a backend.
    Failed,
}

/// Event awaited by a deferred BEGIN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum BeginDelay {
    /// The client's first statement, for a limited time.
    #[default]
    Limited,
    /// A backend, not needed for anything else yet.
    Backend,
    /// The client's first statement: no backend came free for the BEGIN alone, or a read pool may serve the next
    /// messages.
    Unlimited,
}

/// Transaction to open on a backend ahead of the client's statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::session) enum OpenTransaction {
    /// The transaction is open.
    Begun,
    /// The transaction is open, and has failed.
    Failed,
}

// === impl DeferredBegin ===

impl DeferredBegin {
    /// True if a BEGIN is deferred, failed or not.
    pub(in crate::session) fn exists(&self) -> bool {
        self.stage != BeginStage::None
    }

    /// True if a BEGIN is deferred, and its transaction has not failed.
    pub(in crate::session) fn is_pending(&self) -> bool {
        self.stage == BeginStage::Pending
    }

    /// True if the transaction of a deferred BEGIN has failed.
    pub(in crate::session) fn has_failed(&self) -> bool {
        self.stage == BeginStage::Failed
    }

    /// Transaction modes of a deferred BEGIN, as far as set.
    pub(in crate::session) fn modes(&self) -> Option<TransactionModes> {
        self.is_pending().then(|| self.script.modes())
    }

    /// Defers a BEGIN. `is_wanted`: a backend is on its way, for an earlier transaction that the client has ended.
    fn defer(&mut self, is_wanted: bool) {
        self.stage = BeginStage::Pending;
        self.delay = if is_wanted { BeginDelay::Backend } else { BeginDelay::Limited };
    }

    /// Defers `script` for another backend: the transaction moves there, failed or not.
    pub(in crate::session) fn move_with(&mut self, script: BeginScript, has_failed: bool) {
        self.script = script;
        self.stage = if has_failed { BeginStage::Failed } else { BeginStage::Pending };
    }

    /// Ends the transaction without a backend.
    pub(in crate::session) fn end(&mut self) {
        self.stage = BeginStage::None;
        self.script.clear();
    }

    /// Takes the transaction, to open it on the held backend.
    pub(in crate::session) fn take(&mut self) -> Option<OpenTransaction> {
        self.delay = BeginDelay::Limited;
        match std::mem::take(&mut self.stage) {
            BeginStage::None => None,
            BeginStage::Pending => Some(OpenTransaction::Begun),
            BeginStage::Failed => Some(OpenTransaction::Failed),
        }
    }

    /// Takes the commands, for sending; they are kept until [`Self::take_sent`] or [`Self::on_return`].
    pub(in crate::session) fn send_script(&mut self) -> &BeginScript {
        self.sent.insert(std::mem::take(&mut self.script))
    }

    /// Commands sent ahead of the unit that begins now.
    pub(in crate::session) fn take_sent(&mut self) -> Option<BeginScript> {
        self.sent.take()
    }

    /// Forgets the commands sent: the backend is returned.
    pub(in crate::session) fn on_return(&mut self) {
        self.sent = None;
    }

    /// Restores the state before a unit that is replayed elsewhere. `before` holds commands sent ahead of the unit.
    pub(in crate::session) fn restore(&mut self, before: Option<BeginScript>) {
        if let Some(script) = self.sent.take().or(before) {
            self.move_with(script, false);
        }
    }

    /// Fails the transaction, for want of a backend; false if no transaction is deferred.
    pub(in crate::session) fn fail(&mut self) -> bool {
        if self.exists() {
            self.stage = BeginStage::Failed;
        }
        self.exists()
    }

    /// True if the BEGIN is deferred for a limited time.
    pub(in crate::session) fn is_delayed(&self) -> bool {
        self.is_pending() && self.delay == BeginDelay::Limited
    }

    /// Ends the delay, with a backend for the BEGIN alone.
    pub(in crate::session) fn want_backend(&mut self) {
        self.delay = BeginDelay::Backend;
    }

    /// Ends the delay: the client's first statement decides.
    pub(in crate::session) fn wait_for_statement(&mut self) {
        self.delay = BeginDelay::Unlimited;
    }

    /// True if a backend is wanted for the BEGIN alone.
    pub(in crate::session) fn wants_backend(&self) -> bool {
        self.delay == BeginDelay::Backend
    }

    /// Forgets the wish for a backend: the client has ended the transaction in the meantime.
    pub(in crate::session) fn forget_wish(&mut self) {
        self.delay = BeginDelay::Limited;
    }

    // --- commands of the client that need no backend

    /// Answers a command that begins or ends a transaction, or sets its modes, if no backend is needed; `is_idle`: the client
    /// has no transaction. `is_wanted`: a backend is on its way. `control` tells the transaction control of the text, on a
    /// split route. Returns the command tag and the transaction status.
    pub(super) fn answer(
        &mut self,
        text: &[u8],
        is_idle: bool,
        is_wanted: bool,
        control: Option<impl Fn() -> TransactionControl>,
    ) -> Option<(&'static str, TransactionStatus)> {
        if !self.exists() {
            let is_candidate = is_idle && may_be_begin(text);
            let done = is_candidate.then(|| self.begin(text, control)).flatten()?;
            self.defer(is_wanted);
            return Some((done, TransactionStatus::Open));
        }
        if self.is_pending()
            && let Some(control) = control
            && self.set_modes(text, control())
        {
            return Some(("SET", TransactionStatus::Open));
        }
        let done = match sql::session_statement(text) {
            SessionStatement::Commit if self.is_pending() => "COMMIT",
            SessionStatement::Commit | SessionStatement::Rollback => "ROLLBACK",
            _ => return None,
        };
        self.end();
        Some((done, TransactionStatus::Idle))
    }

    /// Keeps the beginning of a transaction: with a split route in whatever modes. Returns the command tag.
    fn begin(
        &mut self,
        text: &[u8],
        control: Option<impl Fn() -> TransactionControl>,
    ) -> Option<&'static str> {
        let Some(control) = control else {
            return match sql::session_statement(text) {
                SessionStatement::Begin => Some("BEGIN"),
                SessionStatement::StartTransaction => Some("START TRANSACTION"),
                _ => None,
            };
        };
        match (control(), text.trim_ascii_start().first()) {
            (TransactionControl::Begin(modes), Some(b'b' | b'B')) => self.keep(text, modes, "BEGIN"),
            (TransactionControl::Begin(modes), Some(b's' | b'S')) => {
                self.keep(text, modes, "START TRANSACTION")
            }
            _ => None,
        }
    }

    fn keep(&mut self, text: &[u8], modes: TransactionModes, done: &'static str) -> Option<&'static str> {
        self.script.clear();
        self.script.say(text, modes).then_some(done)
    }

    /// Keeps a command that sets modes of the transaction; false for any other command.
    fn set_modes(&mut self, text: &[u8], control: TransactionControl) -> bool {
        match control {
            // Others import a snapshot, or are to be refused.
            TransactionControl::SetTransaction(modes)
                if self.script.takes_modes()
                    && (modes.read_only.is_some() || modes.serializable.is_some()) =>
            {
                self.script.say(text, modes)
            }
            _ => false,
        }
    }
}

/// True if the text may begin a transaction: it begins like BEGIN or START TRANSACTION.
fn may_be_begin(text: &[u8]) -> bool {
    let start = text.iter().position(|byte| !byte.is_ascii_whitespace()).unwrap_or(0);
    matches!(
        text.get(start..start + 2),
        Some([b'b' | b'B', b'e' | b'E'] | [b's' | b'S', b't' | b'T'] | b"/*" | b"--")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(command: &[u8]) -> BeginScript {
        let mut script = BeginScript::default();
        assert!(script.say(command, TransactionModes::default()));
        script
    }

    #[test]
    fn a_begin_is_taken_once() {
        let mut begin = DeferredBegin::default();
        assert_eq!(begin.take(), None);
        begin.defer(false);
        assert!(begin.is_pending() && begin.is_delayed());
        assert_eq!((begin.take(), begin.take()), (Some(OpenTransaction::Begun), None));
    }

    #[test]
    fn a_transaction_without_a_backend_fails() {
        let mut begin = DeferredBegin::default();
        assert!(!begin.fail() && !begin.exists());
        begin.defer(false);
        assert!(begin.fail() && begin.has_failed() && !begin.is_pending());
        assert_eq!(begin.take(), Some(OpenTransaction::Failed));
    }

    #[test]
    fn an_ended_transaction_leaves_nothing() {
        let mut begin = DeferredBegin::default();
        begin.defer(false);
        begin.script = script(b"BEGIN");
        begin.end();
        assert!(!begin.exists() && begin.script.commands().next().is_none());
    }

    #[test]
    fn commands_sent_are_restored_for_a_replay() {
        let mut begin = DeferredBegin::default();
        begin.defer(false);
        begin.script = script(b"BEGIN READ ONLY");
        begin.take();
        assert_eq!(begin.send_script().commands().count(), 1);
        begin.restore(Some(script(b"BEGIN")));
        assert!(begin.is_pending());
        let commands: Vec<_> = begin.script.commands().collect();
        assert_eq!(commands, [b"BEGIN READ ONLY"], "the last commands count");
        begin.take();
        begin.send_script();
        begin.on_return();
        begin.restore(None);
        assert!(!begin.exists());
    }

    #[test]
    fn a_delay_ends_with_a_wish_or_without() {
        let mut begin = DeferredBegin::default();
        begin.defer(true);
        assert!(begin.wants_backend() && !begin.is_delayed());
        begin.forget_wish();
        assert!(begin.is_delayed());
        begin.wait_for_statement();
        assert!(!begin.wants_backend() && !begin.is_delayed());
        begin.want_backend();
        assert!(begin.wants_backend());
    }

    fn answer(
        begin: &mut DeferredBegin,
        text: &[u8],
        is_idle: bool,
    ) -> Option<(&'static str, TransactionStatus)> {
        begin.answer(text, is_idle, false, None::<fn() -> TransactionControl>)
    }

    #[test]
    fn a_transaction_without_statements_is_answered() {
        let mut begin = DeferredBegin::default();
        assert_eq!(answer(&mut begin, b"SELECT 1", true), None);
        assert_eq!(answer(&mut begin, b"BEGIN", false), None, "the client has a transaction");
        assert_eq!(answer(&mut begin, b"BEGIN", true), Some(("BEGIN", TransactionStatus::Open)));
        assert_eq!(answer(&mut begin, b"SELECT 1", false), None);
        assert_eq!(answer(&mut begin, b"COMMIT", false), Some(("COMMIT", TransactionStatus::Idle)));
        assert!(!begin.exists());
    }

    #[test]
    fn a_failed_transaction_is_rolled_back() {
        let mut begin = DeferredBegin::default();
        let begun = answer(&mut begin, b"START TRANSACTION", true);
        assert_eq!(begun, Some(("START TRANSACTION", TransactionStatus::Open)));
        assert!(begin.fail());
        assert_eq!(answer(&mut begin, b"COMMIT", false), Some(("ROLLBACK", TransactionStatus::Idle)));
    }
}
