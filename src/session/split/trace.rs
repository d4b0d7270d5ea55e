//! Route of a session's last unit, for `SHOW gatekeeper.last_route`.

use crate::{
    names::EndpointName,
    route::{Reason, Side},
};

/// Routes of a session's last unit, and of the next.
#[derive(Default)]
pub(in crate::session) struct LastRoute {
    /// Route of the last unit sent.
    last: Option<(Side, Reason)>,
    /// Route of the assigned backend, until a unit is sent there.
    next: Option<(Side, Reason)>,
    /// Names are kept by side: most sessions use one of each, again and again.
    writer: Option<EndpointName>,
    reader: Option<EndpointName>,
}

// === impl LastRoute ===

impl LastRoute {
    /// Notes an assigned backend.
    pub(in crate::session) fn goes(&mut self, side: Side, endpoint: &EndpointName, reason: Reason) {
        let name = match side {
            Side::Writer => &mut self.writer,
            Side::Reader => &mut self.reader,
        };
        if name.as_ref() != Some(endpoint) {
            *name = Some(endpoint.clone());
        }
        self.next = Some((side, reason));
    }

    /// Notes a unit sent to the assigned backend.
    pub(in crate::session) fn said(&mut self) {
        self.last = self.next.take().or(self.last);
    }

    /// Endpoint of the last unit, with the reason of the route decision.
    pub(in crate::session) fn last(&self) -> Option<(&EndpointName, Reason)> {
        let (side, reason) = self.last?;
        let name = match side {
            Side::Writer => &self.writer,
            Side::Reader => &self.reader,
        };
        name.as_ref().map(|name| (name, reason))
    }
}
