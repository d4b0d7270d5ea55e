//! What has to go ahead of a message: the session's settings, and a deferred BEGIN.

use super::{Requests, SessionFacts, settings::SettingRequests};
use crate::{
    session::{
        batch_writer,
        pin::Pin,
        pooled::{
            Pooled,
            client_input::ClientInput,
            client_message::ClientMessage,
            deferred_begin::{DeferredBegin, OpenTransaction},
            internal_error::InternalError,
            message_action::is_end,
        },
        proxy_batch::ProxyBatch,
        split::{FreshnessCheck, LAST_ROUTE, Router},
    },
    sql::Effects,
    wire::{TransactionStatus, tag::frontend as f},
};

/// Requests ahead of the client's next message.
pub(in crate::session::pooled) struct Prelude<'a> {
    settings: SettingRequests<'a>,
    begin: &'a mut DeferredBegin,
    router: Option<&'a mut Router>,
}

/// What the requests mean for the message behind them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::session::pooled) enum PreludeOutcome {
    /// The message may follow at once.
    Ready,
    /// The settings sent decide the permissions of the message: it waits for the response.
    Confirming,
}

/// Maximum length of a text that asks for the last route.
const LAST_ROUTE_MAX_BYTES: usize = 256;

// === impl Prelude ===

impl<'a> Prelude<'a> {
    /// Requests of `session` to the held backend.
    ///
    /// # Errors
    /// [`InternalError::NoBackend`]: the session holds no backend.
    pub(in crate::session::pooled) fn of(session: &'a mut Pooled) -> Result<Self, InternalError> {
        let (requests, SessionFacts { settings, startup, begin, router, .. }) = Requests::split_off(session)?;
        let settings = SettingRequests::new(requests, settings, startup, router.as_deref());
        Ok(Self { settings, begin, router })
    }

    fn requests(&mut self) -> &mut Requests<'a> {
        self.settings.requests()
    }

    /// Sends all that the backend needs ahead of the message.
    pub(in crate::session::pooled) fn prepare(
        &mut self,
        message: &ClientMessage<'_>,
        shown: &mut ClientInput<'_>,
    ) -> PreludeOutcome {
        let tag = message.tag();
        self.settings.apply_due(shown);
        // `DISCARD ALL` has ended the client's transaction, so an internal Sync ends no transaction.
        let ends_batch = tag == f::SYNC;
        if (!is_end(tag) || ends_batch)
            && self.settings.take_discarded(ends_batch)
            && self.settings.apply(shown)
        {
            return PreludeOutcome::Confirming;
        }
        // Not all parameters of the Bind are visible.
        if tag == f::BIND && message.is_cut() && self.binds_setting_name(message) {
            self.requests().cleanup.note_pin(Pin::HiddenSetting);
        }
        self.begin_work(tag, shown)
    }

    /// Whether a Bind has the name of a setting among its parameters.
    fn binds_setting_name(&mut self, message: &ClientMessage<'_>) -> bool {
        let requests = self.requests();
        let effects = match message.bound().statement() {
            b"" => requests.analyze_unnamed().map(|analysis| analysis.effects),
            name => requests.statements.get(name).map(|statement| requests.database.effects(statement)),
        };
        effects.is_some_and(|effects| effects.contains(Effects::SETTINGS_BOUND))
    }

    /// Sends all that goes ahead of a first message: the session's settings, and a deferred BEGIN.
    pub(in crate::session::pooled) fn begin_work(
        &mut self,
        tag: u8,
        shown: &mut ClientInput<'_>,
    ) -> PreludeOutcome {
        let has_begin = self.begin.exists();
        let requests = self.requests();
        if !requests.begins_work() {
            return PreludeOutcome::Ready;
        }
        if !requests.database.knows_database() {
            // Whatever it calls may leave something behind.
            requests.cleanup.note_pin(Pin::Unproved);
        }
        let outside = requests.conversation.status() == TransactionStatus::Idle || has_begin;
        if outside && !matches!(tag, f::QUERY | f::FUNCTION_CALL) && requests.database.reads_sequences() {
            // What a later statement of the transaction reads may be hidden in a function. Within the transaction the
            // command would take the snapshot.
            requests.sequences().clear(shown);
        }
        self.ask_position(shown);
        if outside && self.settings.differ() && self.settings.apply(shown) {
            return PreludeOutcome::Confirming;
        }
        if let Some(transaction) = self.begin.take() {
            self.requests().stage(shown);
            self.send_begin(transaction);
        }
        PreludeOutcome::Ready
    }

    /// Sends the commands that the client has begun its transaction with.
    fn send_begin(&mut self, transaction: OpenTransaction) {
        let requests = self.settings.requests();
        if self.router.is_none() {
            requests.send_query(b"BEGIN", ProxyBatch::Begin { failed: None });
        } else {
            for command in self.begin.send_script().commands() {
                requests.send_query(command, ProxyBatch::Begin { failed: None });
            }
        }
        if transaction == OpenTransaction::Failed {
            requests.fail_transaction();
        }
    }

    // --- a split route

    /// Asks a read pool's node for its replay position, ahead of a read that must not be older than the session's last write.
    fn ask_position(&mut self, shown: &mut ClientInput<'_>) {
        let freshness = self.router.as_deref_mut().and_then(Router::take_freshness);
        if let Some(FreshnessCheck::Ask { lsn }) = freshness {
            self.requests().stage(shown);
            self.requests().send_batch(|_, writer| batch_writer::write_position(lsn, writer));
        }
    }

    /// The client asks where its last statement went: the server is to know.
    pub(in crate::session::pooled) fn tell_last_route(
        &mut self,
        message: &ClientMessage<'_>,
        shown: &mut ClientInput<'_>,
    ) {
        if !self.asks_last_route(message) {
            return;
        }
        let last = self.router.as_deref().and_then(Router::last_route);
        let answer =
            last.map_or_else(String::new, |(endpoint, reason)| format!("{endpoint} ({})", reason.as_str()));
        let requests = self.requests();
        requests.stage(shown);
        requests.send_batch(|held, writer| batch_writer::write_last_route(held, answer.as_bytes(), writer));
    }

    /// True if a first message asks where the last statement went.
    fn asks_last_route(&mut self, message: &ClientMessage<'_>) -> bool {
        let requests = self.requests();
        let text = match message.tag() {
            f::QUERY | f::PARSE => message.text(),
            f::BIND => {
                let statement = requests.statements.get(message.bound().statement());
                statement.map_or(&b""[..], |statement| statement.text())
            }
            _ => b"",
        };
        text.len() <= LAST_ROUTE_MAX_BYTES
            && memchr::memmem::find(text, LAST_ROUTE).is_some()
            && requests.begins_work()
            && requests.conversation.status() != TransactionStatus::Failed
    }
}
