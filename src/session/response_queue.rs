//! What the server still owes: requests in the order they were sent, crossed off as their answers pass.
//!
//! The server answers in order, so the ledger is a queue. After an ErrorResponse it skips everything up to the next
//! Sync; while it takes COPY data it ignores Sync and Flush. Both are in
//! <https://www.postgresql.org/docs/current/protocol-flow.html>.

use std::{collections::VecDeque, time::Instant};

use super::{
    batch_facts::BatchFacts,
    captured_texts::CapturedTexts,
    pending_request::{CloseOrigin, Described, ParseOrigin, PendingRequest},
    pin::Pin,
    pooled::{InterruptedUnit, UnitEnd},
    proxy_batch::ProxyBatch,
    request_counts::RequestCounts,
    side_effects::SideEffects,
    statement_report::{StatementKind, StatementReport},
};
use crate::{
    sql::{Effects, SettingReset},
    wire::{SqlState, error_response},
};

/// Requests without a response, in the order sent.
#[derive(Default)]
pub(super) struct ResponseQueue {
    owed: VecDeque<QueuedRequest>,
    intake: ServerIntake,
    counts: RequestCounts,
}

/// Treatment of the next client message by the server.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum ServerIntake {
    #[default]
    Messages,
    /// COPY data; the client has not sent the end yet.
    CopyData,
    /// The server skips everything up to a Sync not sent yet.
    SkipsToSync,
}

/// Request without a response, with the state that the request may leave.
struct QueuedRequest {
    request: PendingRequest,
    /// Recorded until the response arrives; forgotten with a request that the server skips.
    side_effects: Option<Box<SideEffects>>,
}

/// Requests that may be owed before the client has to wait for answers. A server holds back up to 8 KiB of answers while
/// it hears no Sync or Flush: that is far fewer answers than these, so waiting for them never lasts for ever.
const BACKLOG: usize = 8192;
/// Room for this many is kept by a session that is idle.
const KEPT: usize = 32;

impl ResponseQueue {
    /// Whether so much is owed that no more should be asked.
    pub(super) fn is_full(&self) -> bool {
        self.owed.len() >= BACKLOG
    }

    /// How the statement was asked for that takes COPY data from the client, if there is one.
    pub(super) fn copies_in(&self) -> Option<StatementKind> {
        (self.intake == ServerIntake::CopyData).then(|| match self.front() {
            Some(PendingRequest::Whole { kind, .. }) => *kind,
            _ => StatementKind::Execute,
        })
    }

    /// Whether the server owes nothing.
    pub(super) fn is_settled(&self) -> bool {
        self.owed.is_empty()
    }

    /// Hands the unnamed statement kept by the failed `request` to the next queued request for the unnamed statement.
    /// Without a later request returns `request`, and the statement is the client's again.
    pub(super) fn pass_on_unnamed(&mut self, mut request: PendingRequest) -> Option<PendingRequest> {
        let Some(before) = request.unnamed_before() else { return Some(request) };
        let Some(later) = self.owed.iter_mut().find_map(|pending| pending.request.unnamed_before()) else {
            return Some(request);
        };
        *later = before.take();
        None
    }

    /// Takes the side effects of the request answered now.
    pub(super) fn take_side_effects(&mut self) -> Option<Box<SideEffects>> {
        self.owed.front_mut()?.side_effects.take()
    }

    /// True if a queued request may pin the session.
    pub(super) fn may_pin(&self, pin: Pin) -> bool {
        self.owed.iter().filter_map(|pending| pending.side_effects.as_deref()).any(|it| it.may_pin(pin))
    }

    /// True if a queued request may leave any state of `effects`.
    pub(super) fn may_leave(&self, effects: Effects) -> bool {
        let mut recorded = self.owed.iter().filter_map(|pending| pending.side_effects.as_deref());
        recorded.any(|side_effects| side_effects.may_leave(effects))
    }

    /// Client's name, if kept, of the statement in the Bind answered next.
    pub(super) fn statement_being_bound(&self) -> Option<&[u8]> {
        match self.front() {
            Some(PendingRequest::Bind { statement, .. }) if !statement.is_empty() => Some(statement),
            _ => None,
        }
    }

    /// Client's name of the statement `id`, if a queued request closes the statement.
    pub(super) fn name_being_closed(&self, id: u64) -> Option<&[u8]> {
        self.requests().find_map(|request| match request {
            PendingRequest::Close { name, closed: CloseOrigin::Name(closed), .. }
                if closed.statement.id() == id =>
            {
                Some(&**name)
            }
            PendingRequest::Execute { forgets: Some(forgotten), .. }
                if forgotten.statement.statement.id() == id =>
            {
                Some(&*forgotten.name)
            }
            _ => None,
        })
    }

    /// Whether the server skips what it is sent, up to a Sync: one that counts when it comes, though it was sent while data
    /// was copied, where it would not have counted, answers as any other.
    pub(super) fn is_skipping(&self) -> bool {
        self.intake == ServerIntake::SkipsToSync
    }

    /// Whether all that the server owes are answers to batches of our own.
    pub(super) fn owes_client_nothing(&self) -> bool {
        self.requests().all(|owed| matches!(owed, PendingRequest::Own(_)))
    }

    /// True if a state check has no response yet.
    pub(super) fn has_state_check(&self) -> bool {
        self.requests().any(|owed| matches!(owed, PendingRequest::Own(ProxyBatch::StateCheck(_))))
    }

    /// Notes a request with its side effects. Comes back when the server will skip it without an answer.
    pub(super) fn owe(
        &mut self,
        request: PendingRequest,
        side_effects: Option<Box<SideEffects>>,
    ) -> Option<PendingRequest> {
        // The server ignores CopyDone and CopyFail outside of COPY: the client's COPY has failed before.
        let ignored = match (self.intake, &request) {
            (ServerIntake::SkipsToSync, PendingRequest::Sync { .. }) => {
                self.intake = ServerIntake::Messages;
                false
            }
            (ServerIntake::SkipsToSync, _) | (ServerIntake::CopyData, PendingRequest::Sync { .. }) => true,
            (_, PendingRequest::CopyEnd) => {
                self.intake = ServerIntake::Messages;
                self.owes_client_nothing()
            }
            _ => false,
        };
        if ignored {
            return Some(request);
        }
        self.counts.add(&request);
        self.owed.push_back(QueuedRequest { request, side_effects });
        None
    }

    /// Whether only an answer will tell if the client has a statement of this name: a request of an earlier batch makes or
    /// closes it. Within one batch all that follows shares its fate.
    pub(super) fn is_uncertain(&self, statement: &[u8]) -> bool {
        if !self.counts.has_name(statement) {
            return false;
        }
        let mut synced = false;
        for request in self.requests().rev() {
            match request {
                PendingRequest::Sync { .. } => synced = true,
                _ if request.statement() == Some(statement) => return synced,
                _ => {}
            }
        }
        false
    }

    /// True if an internal request of an earlier batch makes or closes the unnamed statement: the server may yet skip the
    /// request.
    pub(super) fn may_skip_own_unnamed(&self) -> bool {
        let mut synced = false;
        let mut latest = self.owed.iter().rev().filter(|QueuedRequest { request, .. }| {
            synced |= matches!(request, PendingRequest::Sync { .. });
            request.is_own_unnamed()
        });
        self.counts.has_own_unnamed() && latest.next().is_some() && synced
    }

    /// True if a response of an earlier batch is pending: the server may have skipped any request of that batch.
    pub(super) fn has_earlier_batch(&self) -> bool {
        self.owed.iter().any(|pending| matches!(pending.request, PendingRequest::Sync { .. }))
    }

    /// Whether requests that make or close named statements are owed.
    pub(super) fn names_statements(&self) -> bool {
        self.counts.has_named()
    }

    /// True if a queued request may remove session state. Later messages must wait for the response: effects noted
    /// earlier would be forgotten together with the older state.
    pub(super) fn is_resetting(&self) -> bool {
        self.counts.has_resets()
    }

    /// True if the request answered now is an Execute able to remove session state.
    pub(super) fn is_resetting_by_execute(&self) -> bool {
        matches!(self.front(), Some(PendingRequest::Execute { resets: Some(_), .. }))
    }

    /// True if a queued Execute resets start-up settings.
    pub(super) fn is_leading_back(&self) -> bool {
        let leads = |owed: &PendingRequest| matches!(owed, PendingRequest::Execute { resets: Some(settings), .. } if !settings.is_empty());
        self.counts.has_resets() && self.requests().any(leads)
    }

    /// Start-up settings reset by the Query answered now, unless the Query has failed.
    pub(super) fn led_back_by_query(&self) -> Vec<SettingReset> {
        match self.front() {
            Some(PendingRequest::Whole { changes: Some(changes), error: None, .. }) => {
                changes.leads_back.clone()
            }
            _ => Vec::new(),
        }
    }

    /// Start-up settings reset by the Execute answered now.
    pub(super) fn led_back_by_execute(&self) -> Vec<SettingReset> {
        match self.front() {
            Some(PendingRequest::Execute { resets: Some(settings), .. }) => settings.clone(),
            _ => Vec::new(),
        }
    }

    /// State possibly left or removed by the request answered now.
    pub(super) fn effects_now(&self) -> Effects {
        match self.front() {
            Some(PendingRequest::Whole { effects, .. }) => *effects,
            _ => Effects::NONE,
        }
    }

    /// Takes the client statement deallocated by the command completed now, if a Query has deallocated one.
    pub(super) fn take_deallocated(&mut self) -> Option<Box<[u8]>> {
        match self.front_mut() {
            Some(PendingRequest::Whole { changes: Some(changes), .. }) => changes.deallocates.pop_front(),
            _ => None,
        }
    }

    /// True if a pending Execute may end the transaction.
    pub(super) fn may_end_transaction(&self) -> bool {
        self.requests().any(|request| matches!(request, PendingRequest::Execute { .. }))
    }

    /// True if a pending ReadyForQuery may change the transaction status.
    pub(super) fn may_change_status(&self) -> bool {
        self.requests()
            .any(|request| matches!(request, PendingRequest::Sync { .. } | PendingRequest::Whole { .. }))
    }

    fn front(&self) -> Option<&PendingRequest> {
        self.owed.front().map(|pending| &pending.request)
    }

    fn front_mut(&mut self) -> Option<&mut PendingRequest> {
        self.owed.front_mut().map(|pending| &mut pending.request)
    }

    fn requests(&self) -> impl DoubleEndedIterator<Item = &PendingRequest> {
        self.owed.iter().map(|pending| &pending.request)
    }

    fn pop(&mut self) -> Option<PendingRequest> {
        let QueuedRequest { request, .. } = self.owed.pop_front()?;
        self.counts.remove(&request);
        Some(request)
    }

    /// Our own batch, if its answer comes next.
    pub(super) fn own(&mut self) -> Option<&mut ProxyBatch> {
        match self.front_mut() {
            Some(PendingRequest::Own(own)) => Some(own),
            _ => None,
        }
    }

    /// Whether the answer to a batch of our own comes next.
    #[inline]
    pub(super) fn is_own(&self) -> bool {
        matches!(self.front(), Some(PendingRequest::Own(_)))
    }

    /// True if the response to an internal Describe comes next.
    pub(super) fn describes_for_us(&self) -> bool {
        matches!(self.front(), Some(PendingRequest::Describe(Described::Ours(_))))
    }

    /// True if the next result description for the client is kept.
    pub(super) fn learns_result(&self) -> bool {
        matches!(
            self.front(),
            Some(PendingRequest::Describe(Described::Learned(_) | Described::LearnedByPortal(_)))
        )
    }

    /// The batch of our own that is over.
    pub(super) fn take_own(&mut self) -> Option<ProxyBatch> {
        self.is_own().then(|| self.pop())?.and_then(|owed| match owed {
            PendingRequest::Own(own) => Some(own),
            _ => None,
        })
    }

    /// Handles ParseComplete, BindComplete, CloseComplete or the end of a Describe response. Returns the request
    /// answered by the message with `tag`, if noted.
    pub(super) fn on_step_complete(
        &mut self,
        tag: u8,
        texts: Option<&mut CapturedTexts>,
    ) -> Option<PendingRequest> {
        self.drop_copy_ends();
        if !self.front()?.is_answered_by(tag) {
            return None;
        }
        let step = self.pop()?;
        if let Some(texts) = texts {
            step.note_names(texts);
        }
        Some(step)
    }

    /// CommandComplete, EmptyQueryResponse or PortalSuspended, with the rows and the command it speaks of.
    pub(super) fn on_statement_complete(
        &mut self,
        now: Instant,
        rows: u64,
        command: Option<Box<str>>,
        texts: Option<&CapturedTexts>,
    ) -> Option<StatementReport> {
        self.end_copy();
        match self.front_mut() {
            Some(PendingRequest::Whole { rows: so_far, operation, .. }) => {
                *so_far = so_far.saturating_add(rows);
                if operation.is_none() {
                    *operation = command;
                }
                None
            }
            Some(PendingRequest::Execute { started, portal, .. }) => {
                let text = texts.and_then(|texts| texts.of_portal(portal));
                let report = StatementReport {
                    kind: StatementKind::Execute,
                    started: *started,
                    ended: now,
                    rows,
                    operation: command,
                    error: None,
                    text,
                };
                self.pop();
                Some(report)
            }
            _ => None,
        }
    }

    /// Report for the client in place of the next error, if Gatekeeper provoked the error.
    pub(super) fn refused(&self) -> Option<&error_response::ErrorResponse<'static>> {
        match self.front() {
            Some(PendingRequest::Refused(report)) => Some(report),
            _ => None,
        }
    }

    /// ErrorResponse. What follows up to the next Sync is skipped by the server and never answered: it goes to `skipped`,
    /// in the order it was sent.
    pub(super) fn on_error(
        &mut self,
        now: Instant,
        state: SqlState,
        texts: Option<&CapturedTexts>,
        skipped: &mut Vec<PendingRequest>,
    ) -> Option<StatementReport> {
        self.end_copy();
        if let Some(PendingRequest::Whole { error, .. }) = self.front_mut() {
            error.get_or_insert(state);
            return None;
        }
        let Some(failed) = self.front() else {
            // No request was noted, as for a malformed message.
            self.intake = ServerIntake::SkipsToSync;
            return None;
        };
        let report = failed.report_failure(now, state, texts);
        let first = skipped.len();
        while self.front().is_some_and(|next| !matches!(next, PendingRequest::Sync { .. })) {
            skipped.extend(self.pop());
        }
        if let Some(PendingRequest::Sync { batch, .. }) = self.front_mut() {
            *batch = batch.failed();
        }
        // A rejected Parse, unlike a skipped Parse, has destroyed the previous unnamed statement.
        if let Some(PendingRequest::Parse { made: ParseOrigin::Unnamed(before), .. }) = skipped.get_mut(first)
        {
            *before = None;
        }
        self.intake = if self.is_settled() { ServerIntake::SkipsToSync } else { ServerIntake::Messages };
        Some(report)
    }

    /// CopyInResponse: the Syncs that were sent ahead of the end of the data will be ignored.
    pub(super) fn on_copy_in(&mut self) {
        let mut in_data = true;
        let mut first = true;
        self.owed.retain(|QueuedRequest { request, .. }| {
            if std::mem::take(&mut first) {
                return true;
            }
            in_data &= !matches!(request, PendingRequest::CopyEnd);
            !(in_data && matches!(request, PendingRequest::Sync { .. }))
        });
        self.intake = match self.intake {
            _ if in_data => ServerIntake::CopyData,
            ServerIntake::CopyData => ServerIntake::Messages,
            other => other,
        };
    }

    /// ReadyForQuery: the oldest request that ends so is done, and whatever stood before it was skipped.
    pub(super) fn on_ready(&mut self, now: Instant) -> Option<StatementReport> {
        self.intake = ServerIntake::Messages;
        let mut report = None;
        while let Some(request) = self.pop() {
            match request {
                PendingRequest::Sync { .. } => break,
                PendingRequest::Whole { kind, started, text, rows, operation, error, .. } => {
                    let operation = operation.filter(|_| error.is_none());
                    report =
                        Some(StatementReport { kind, started, ended: now, rows, operation, error, text });
                    break;
                }
                _ => {}
            }
        }
        // The end of data that the server did not want any more.
        self.drop_copy_ends();
        if self.is_settled() && self.owed.capacity() > KEPT {
            self.owed.shrink_to(KEPT);
        }
        report
    }

    /// The statement under way when the conversation breaks off: what the audit log says was cut short.
    pub(super) fn cut_short(
        &mut self,
        now: Instant,
        texts: Option<&CapturedTexts>,
    ) -> Option<StatementReport> {
        self.counts = RequestCounts::default();
        let error = Some(SqlState::CONNECTION_FAILURE);
        self.owed.drain(..).find_map(|pending| pending.request.report_interruption(now, error, texts))
    }

    /// Takes the client's requests without a response, by unit: the backend is lost. `open` are the facts about the batch
    /// without a Sync, if there is one. `sends_rows`: the client has received rows of the first unit.
    pub(super) fn interrupt(
        &mut self,
        open: Option<BatchFacts>,
        mut sends_rows: bool,
    ) -> Vec<InterruptedUnit> {
        let is_skipping = self.is_skipping();
        let mut takes_data = self.copies_in().is_some();
        let (mut units, mut requests) = (Vec::new(), Vec::new());
        // Facts about a Query behind steps of a batch: an error of the steps skips the Query, and all up to a Sync.
        let mut skippable = BatchFacts::default();
        let mut end = |end, facts: BatchFacts, requests: &mut Vec<PendingRequest>| {
            let facts = if std::mem::take(&mut sends_rows) { facts.sending_rows() } else { facts };
            let facts = if std::mem::take(&mut takes_data) { facts.taking_data() } else { facts };
            units.push(InterruptedUnit::new(end, facts, std::mem::take(requests)));
        };
        for QueuedRequest { request, .. } in std::mem::take(&mut self.owed) {
            let ended = match &request {
                // The end of COPY data belongs to the COPY, which may have ended with its Query.
                PendingRequest::Own(_) | PendingRequest::CopyEnd => continue,
                PendingRequest::Whole { commands, .. } if !requests.is_empty() => {
                    skippable = skippable.and(BatchFacts::whole(*commands));
                    None
                }
                PendingRequest::Whole { commands, error, .. } => {
                    let facts = BatchFacts::whole(*commands);
                    Some((UnitEnd::Whole, if error.is_some() { facts.failed() } else { facts }))
                }
                PendingRequest::Sync { batch, .. } => {
                    Some((UnitEnd::Sync, batch.and(std::mem::take(&mut skippable))))
                }
                _ => None,
            };
            requests.push(request);
            if let Some((unit_end, facts)) = ended {
                end(unit_end, facts, &mut requests);
            }
        }
        // The server has ignored the Sync of a batch that takes COPY data.
        let open = open.or_else(|| (!requests.is_empty()).then(BatchFacts::default));
        if let Some(facts) = open {
            let facts = facts.and(skippable);
            end(UnitEnd::Open, if is_skipping { facts.failed() } else { facts }, &mut requests);
        }
        self.clear();
        units
    }

    /// Nothing of what is owed to the client will be passed on: it is swallowed, up to the end of each batch. Comes back what
    /// was noted of it, in the order it was sent.
    pub(super) fn drop_answers(&mut self) -> Vec<PendingRequest> {
        self.counts = RequestCounts::default();
        self.intake = ServerIntake::Messages;
        let mut dropped = Vec::new();
        for QueuedRequest { request, .. } in std::mem::take(&mut self.owed) {
            let request = match request {
                PendingRequest::Own(_) => request,
                PendingRequest::Whole { .. } | PendingRequest::Sync { .. } => {
                    PendingRequest::Own(ProxyBatch::Dropped)
                }
                request => {
                    dropped.push(request);
                    continue;
                }
            };
            self.owed.push_back(QueuedRequest { request, side_effects: None });
        }
        dropped
    }

    /// Nothing will be answered any more.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Notes the end of a COPY, if one is in progress, by a message of the server.
    fn end_copy(&mut self) {
        if self.intake == ServerIntake::CopyData {
            self.intake = ServerIntake::Messages;
        }
        self.drop_copy_ends();
    }

    fn drop_copy_ends(&mut self) {
        while matches!(self.front(), Some(PendingRequest::CopyEnd)) {
            self.pop();
        }
    }
}
