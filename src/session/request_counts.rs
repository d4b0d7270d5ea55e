//! Counts of queued requests, to answer most questions about the queue without a search.

use super::pending_request::PendingRequest;

/// Counts of queued requests by their effects.
#[derive(Default)]
pub(super) struct RequestCounts {
    /// Requests that make or close the unnamed statement.
    unnamed: usize,
    /// Internal requests that make or close the unnamed statement.
    own_unnamed: usize,
    /// Requests that make or close a named statement.
    named: usize,
    /// Requests able to remove state left by earlier requests.
    resets: usize,
}

// === impl RequestCounts ===

impl RequestCounts {
    /// Counts a queued request.
    #[inline]
    pub(super) fn add(&mut self, request: &PendingRequest) {
        self.count(request, 1);
    }

    /// Ends the count of a request taken from the queue.
    #[inline]
    pub(super) fn remove(&mut self, request: &PendingRequest) {
        self.count(request, -1);
    }

    /// True if a request makes or closes the unnamed statement for an empty `name`, or else any named statement.
    pub(super) const fn has_name(&self, name: &[u8]) -> bool {
        if name.is_empty() { self.unnamed > 0 } else { self.has_named() }
    }

    /// True if a request makes or closes a named statement.
    pub(super) const fn has_named(&self) -> bool {
        self.named > 0
    }

    /// True if an internal request makes or closes the unnamed statement.
    pub(super) const fn has_own_unnamed(&self) -> bool {
        self.own_unnamed > 0
    }

    /// True if a request may remove state left by earlier requests.
    pub(super) const fn has_resets(&self) -> bool {
        self.resets > 0
    }

    /// Adds `by` to the counts that `request` belongs to.
    fn count(&mut self, request: &PendingRequest, by: isize) {
        match request.statement() {
            Some(b"") => self.unnamed = self.unnamed.saturating_add_signed(by),
            Some(_) => self.named = self.named.saturating_add_signed(by),
            None => {}
        }
        if request.is_own_unnamed() {
            self.own_unnamed = self.own_unnamed.saturating_add_signed(by);
        }
        if request.may_reset() {
            self.resets = self.resets.saturating_add_signed(by);
        }
    }
}
