//! A client of the console as others see it: it has no endpoint and no statements, and is told to end like a session.

use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

use tokio::sync::{Notify, watch};

use super::{entry::Order, sessions::Sessions};
use crate::{audit::record, wire::BackendKey};

/// A client of the console.
pub struct Visitor {
    /// Who it is and where it came from.
    pub facts: Arc<record::Session>,
    /// What it was told to cancel with.
    pub key: BackendKey,
    /// When it came in, by the wall clock.
    pub started_at: SystemTime,
    /// When it came in.
    pub started: Instant,
    orders: watch::Sender<Option<Order>>,
    cancel: Notify,
}

/// A visit under way; dropping it ends it.
pub struct Visit {
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) visitor: Arc<Visitor>,
}

// === impl Visitor ===

impl Visitor {
    pub(crate) fn new(facts: Arc<record::Session>, key: BackendKey) -> Self {
        Self {
            facts,
            key,
            started_at: SystemTime::now(),
            started: Instant::now(),
            orders: watch::Sender::new(None),
            cancel: Notify::new(),
        }
    }

    /// Tells it to do something: whatever it is, a visit ends.
    pub fn order(&self, order: Order) {
        self.orders.send_replace(Some(order));
    }

    /// Returns when it was told to end, and says by what.
    ///
    /// Cancel safe.
    pub async fn ordered(&self) -> Order {
        let mut orders = self.orders.subscribe();
        let order = orders.wait_for(Option::is_some).await.ok().and_then(|order| *order);
        order.unwrap_or(Order::Stop)
    }

    /// Cancels the command under way, if there is one that listens.
    pub(crate) fn cancel(&self) {
        self.cancel.notify_waiters();
    }

    /// Returns when the command under way is to be cancelled.
    ///
    /// Cancel safe.
    pub async fn cancelled(&self) {
        self.cancel.notified().await;
    }
}

// === impl Visit ===

impl std::ops::Deref for Visit {
    type Target = Arc<Visitor>;

    fn deref(&self) -> &Self::Target {
        &self.visitor
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.sessions.leave(&self.visitor);
    }
}
