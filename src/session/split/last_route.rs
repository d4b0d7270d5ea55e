//! Route of a session's last unit, for `SHOW gatekeeper.last_route`.

use crate::{
    names::EndpointName,
    route::{RouteReason, RouteSide},
};

/// Routes of a session's last unit, and of the next.
#[derive(Default)]
pub(in crate::session) struct LastRoute {
    /// Route of the last unit sent.
    last: Option<(RouteSide, RouteReason)>,
    /// Route of the assigned backend, until a unit is sent there.
    next: Option<(RouteSide, RouteReason)>,
    /// Names are kept by side: most sessions use one of each, again and again.
    writer: Option<EndpointName>,
    reader: Option<EndpointName>,
}

// === impl LastRoute ===

impl LastRoute {
    /// Notes an assigned backend.
    pub(in crate::session) fn goes(&mut self, side: RouteSide, endpoint: &EndpointName, reason: RouteReason) {
        let name = match side {
            RouteSide::Writer => &mut self.writer,
            RouteSide::Reader => &mut self.reader,
        };
        if name.as_ref() != Some(endpoint) {
            *name = Some(endpoint.clone());
        }
        self.next = Some((side, reason));
    }

    /// Notes a unit sent to the assigned backend.
    pub(in crate::session) fn note_sent(&mut self) {
        self.last = self.next.take().or(self.last);
    }

    /// Endpoint of the last unit, with the reason of the route decision.
    pub(in crate::session) fn last(&self) -> Option<(&EndpointName, RouteReason)> {
        let (side, reason) = self.last?;
        let name = match side {
            RouteSide::Writer => &self.writer,
            RouteSide::Reader => &self.reader,
        };
        name.as_ref().map(|name| (name, reason))
    }
}
