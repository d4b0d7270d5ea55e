//! Sessions whose transaction is stuck.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::{
    fault::{Fault, FaultKind},
    words::{describe_count, describe_duration, describe_name},
};
use crate::{
    admin::moment::Clock,
    frontend::{OpenTransactions, SessionEntry, SessionRegistry, TransactionTimes},
};

/// A session with an open transaction.
pub(super) struct OpenTransaction {
    pub(super) session: u64,
    pub(super) listener: String,
    /// Session with its state, as part of a sentence.
    pub(super) described: String,
    pub(super) times: TransactionTimes,
}

/// A client that takes longer between two statements of a transaction occupies its backend, and perhaps locks.
const MAX_IDLE_IN_TRANSACTION: Duration = Duration::from_secs(10);
/// A longer transaction keeps old rows from VACUUM on the primary, and replay from a standby.
const MAX_OPEN_TRANSACTION: Duration = Duration::from_secs(300);

impl OpenTransaction {
    /// The transaction of a session, if it is stuck.
    fn stuck(entry: &SessionEntry, now: Instant) -> Option<Self> {
        let times = TransactionTimes::of(entry, now)?;
        stuck_for(times)?;
        let listener = entry.facts.listener.to_string();
        Some(Self { session: entry.id, listener, described: describe_session(entry), times })
    }
}

/// The stuck transactions of `sessions`. No session is looked at if the ages of the last second show none.
pub(super) fn find_stuck(sessions: &SessionRegistry) -> Vec<OpenTransaction> {
    let is_stuck = |open: &OpenTransactions| {
        let idle_for = open.longest_idle.map(|longest| longest.age);
        stuck_for(TransactionTimes { open_for: open.oldest.age, idle_for }).is_some()
    };
    if !sessions.open_transactions().iter().any(is_stuck) {
        return Vec::new();
    }
    let now = Instant::now();
    sessions.list().iter().filter_map(|entry| OpenTransaction::stuck(entry, now)).collect()
}

/// Time since a transaction counts as stuck.
fn stuck_for(times: TransactionTimes) -> Option<Duration> {
    let idle = times.idle_for.filter(|idle| *idle >= MAX_IDLE_IN_TRANSACTION);
    idle.or_else(|| (times.open_for >= MAX_OPEN_TRANSACTION).then_some(times.open_for))
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
        if let Some(stuck_for) = stuck_for(transaction.times) {
            stuck.entry(transaction.listener.clone()).or_default().push((stuck_for, transaction));
        }
    }
    let fault = |(listener, mut found): (String, Vec<(Duration, OpenTransaction)>)| {
        found.sort_by_key(|(stuck_for, _)| std::cmp::Reverse(*stuck_for));
        let count = describe_count(found.len() as u64, "transaction");
        let (stuck_for, worst) = found.into_iter().next()?;
        let open_for = describe_duration(worst.times.open_for);
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
