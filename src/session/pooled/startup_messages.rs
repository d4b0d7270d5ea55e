//! Start-up settings of a pooled session: messages that apply them again.

use crate::session::{
    pooled::{BackendEvent, Pooled},
    proxy_batch::{self, BatchWriter},
    response_queue::PendingRequest,
};
use crate::{
    route::RouteSide,
    sql::{self, SettingReset, SettingResets},
    wire::{
        TransactionStatus,
        backend::{self, ParameterStatus},
    },
};

impl Pooled {
    /// True if a statement must wait, before Parse, for a backend logged in with the client's options.
    pub(in crate::session) fn moves_before_parse(&mut self, statement: &[u8]) -> bool {
        if !self.settings.startup.is_carried() {
            return false;
        }
        let effects = self.common.with_catalogue(|catalogue| sql::effects(statement, catalogue));
        let reset = self.settings.startup.reset_by(effects, statement);
        reset == SettingResets::Midway && self.move_apart()
    }

    /// True if the next message waits for another backend, though the current backend is held.
    pub(in crate::session) fn is_moving(&mut self) -> bool {
        if self.settings.startup.is_moving() {
            // Pins found by a state check tie the session to the current backend.
            let may_move = self.cleanup.pins().is_empty() && !self.statements.is_on_backend();
            self.settings.startup.begin_move(may_move);
        }
        self.settings.startup.is_moving()
    }

    /// Gives up the held backend for a backend logged in with the client's options, if nothing is in progress there.
    pub(in crate::session) fn move_apart(&mut self) -> bool {
        let is_outside = self.conversation.status == TransactionStatus::Idle
            && !self.conversation.in_batch
            && self.conversation.queue.owes_client_nothing();
        let may_move =
            is_outside && !self.begin.exists() && self.cleanup.is_clean() && !self.statements.is_on_backend();
        self.settings.startup.begin_move(may_move);
        let moves = self.settings.startup.is_moving();
        if moves {
            self.backend.note_use();
        }
        moves
    }

    /// Sends the withheld reports to the client, with ReadyForQuery behind them; false if there is nothing to report.
    pub(in crate::session) fn send_withheld_reports(&mut self) -> bool {
        let mut has_reported = false;
        for name in self.settings.startup.take_withheld() {
            let reported = self.backend.held().and_then(|held| held.reported.get(&name));
            if let Some(value) = reported
                && self.settings.set_reported(&name, value)
            {
                ParameterStatus { name: &name, value }.write(self.outgoing.client());
                has_reported = true;
            }
        }
        if has_reported {
            self.learn();
            backend::write_ready_for_query(self.outgoing.client(), self.conversation.status);
        }
        has_reported
    }

    /// Applies settings again within a client's batch, after a reset there.
    pub(in crate::session) fn give_due_settings(&mut self) {
        let due = self.settings.startup.take_due();
        self.give_again(&due, false);
    }

    /// Applies `reset` settings again. With `synced` the settings are a separate batch, and the client's request ends with
    /// the batch. False if there is nothing to apply.
    pub(in crate::session) fn give_again(&mut self, reset: &[SettingReset], synced: bool) -> bool {
        let side = self.router.as_ref().map_or(RouteSide::Writer, |split| split.side);
        if synced {
            self.statements.begin_batch();
        }
        let Self { backend, statements, common, outgoing, settings, .. } = self;
        let pen = backend.held_mut().map(|held| BatchWriter {
            internal_statements: &common.internal_statements,
            prepared: &mut held.prepared,
            batch: statements.batch(),
            parsed: common.last_parse(),
            out: outgoing.backend(),
        });
        let values = settings.startup.values_of(reset);
        let own = pen.and_then(|pen| proxy_batch::write_again(values, side, synced, pen));
        let Some(own) = own else { return false };
        self.settings.on_applied_again();
        if synced {
            self.on_backend_event(BackendEvent::SettingsSent);
        }
        self.owe(PendingRequest::Own(own));
        true
    }
}
