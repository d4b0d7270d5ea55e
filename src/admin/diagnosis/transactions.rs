//! Sessions whose transaction is stuck.

use std::{collections::BTreeMap, time::Duration};

use super::{
    fault::{Fault, FaultKind},
    words::{describe_count, describe_duration, describe_name},
};
use crate::{admin::moment::Clock, frontend::SessionEntry};

/// A session with an open transaction.
pub(super) struct OpenTransaction {
    pub(super) session: u64,
    pub(super) listener: String,
    /// Session with its state, as part of a sentence.
    pub(super) described: String,
    /// Time without a statement; `None` while a statement runs.
    pub(super) idle_for: Option<Duration>,
    pub(super) open_for: Duration,
}

/// A client that takes longer between two statements of a transaction occupies its backend, and perhaps locks.
const MAX_IDLE_IN_TRANSACTION: Duration = Duration::from_secs(10);
/// A longer transaction keeps old rows from VACUUM on the primary, and replay from a standby.
const MAX_OPEN_TRANSACTION: Duration = Duration::from_secs(300);

impl OpenTransaction {
    /// The open transaction of a session, if it has one.
    pub(super) fn of(entry: &SessionEntry) -> Option<Self> {
        let open_for = entry.transaction_start()?.elapsed();
        let idle_for = (!entry.activity().busy).then(|| entry.state_start().elapsed());
        let listener = entry.facts.listener.to_string();
        Some(Self { session: entry.id, listener, described: describe_session(entry), idle_for, open_for })
    }

    /// Time since the transaction counts as stuck.
    fn stuck_for(&self) -> Option<Duration> {
        let idle = self.idle_for.filter(|idle| *idle >= MAX_IDLE_IN_TRANSACTION);
        idle.or_else(|| (self.open_for >= MAX_OPEN_TRANSACTION).then_some(self.open_for))
    }
}

/// A session with its state, as part of a sentence: `session 12 (alice, billing), idle in transaction for 31 s`.
pub(super) fn describe_session(entry: &SessionEntry) -> String {
    let facts = &entry.facts;
    let user = facts.user.as_ref().map(|user| describe_name(user.as_str()));
    let application = facts.application.as_deref().filter(|name| !name.is_empty()).map(describe_name);
    let names: Vec<_> = user.into_iter().chain(application).collect();
    let state = entry.activity().as_str();
    let state_for = describe_duration(entry.state_start().elapsed());
    format!("session {} ({}), {state} for {state_for}", entry.id, names.join(", "))
}

/// One fault for each listener with stuck transactions.
pub(super) fn diagnose_transactions(
    transactions: impl IntoIterator<Item = OpenTransaction>,
    clock: Clock,
) -> Vec<Fault> {
    let mut stuck: BTreeMap<String, Vec<(Duration, OpenTransaction)>> = BTreeMap::new();
    for transaction in transactions {
        if let Some(stuck_for) = transaction.stuck_for() {
            stuck.entry(transaction.listener.clone()).or_default().push((stuck_for, transaction));
        }
    }
    let fault = |(listener, mut found): (String, Vec<(Duration, OpenTransaction)>)| {
        found.sort_by_key(|(stuck_for, _)| std::cmp::Reverse(*stuck_for));
        let count = describe_count(found.len() as u64, "transaction");
        let (stuck_for, worst) = found.into_iter().next()?;
        let open_for = describe_duration(worst.open_for);
        let text = format!(
            "Listener {listener}: {count} stuck, first that of {}; its transaction began {open_for} ago.",
            worst.described
        );
        let remedy = format!(
            "End it (DELETE /v1/sessions/{}), and let the application commit sooner; `idle_transaction_timeout` ends such \
             sessions.",
            worst.session
        );
        let fault = Fault::new(FaultKind::StuckTransaction, text, remedy, Some(clock.before(stuck_for)));
        Some(fault.of_listener(listener).of_session(Some(worst.session)))
    };
    stuck.into_iter().filter_map(fault).collect()
}
