//! Where a session's last unit went, for `SHOW gatekeeper.last_route`.

use crate::{
    names::EndpointName,
    route::{RouteReason, RouteSide},
};

/// Where a session's units go and went.
#[derive(Default)]
pub(in crate::session) struct LastRoute {
    now: Option<(RouteSide, RouteReason)>,
    before: Option<(RouteSide, RouteReason)>,
    /// Nothing was said on the backend of `now` yet.
    fresh: bool,
    /// Names are kept by side: most sessions meet one of each, again and again.
    writer: Option<EndpointName>,
    reader: Option<EndpointName>,
}

// === impl LastRoute ===

impl LastRoute {
    /// What is said next goes there.
    pub(in crate::session) fn goes(&mut self, side: RouteSide, endpoint: &EndpointName, reason: RouteReason) {
        let name = match side {
            RouteSide::Writer => &mut self.writer,
            RouteSide::Reader => &mut self.reader,
        };
        if name.as_ref() != Some(endpoint) {
            *name = Some(endpoint.clone());
        }
        if !self.fresh {
            self.before = self.now;
        }
        (self.now, self.fresh) = (Some((side, reason)), true);
    }

    /// A unit was said there.
    pub(in crate::session) const fn said(&mut self) {
        self.fresh = false;
    }

    /// Where the last unit went, and why.
    pub(in crate::session) fn last(&self) -> Option<(&EndpointName, RouteReason)> {
        let (side, reason) = if self.fresh { self.before } else { self.now }?;
        let name = match side {
            RouteSide::Writer => &self.writer,
            RouteSide::Reader => &self.reader,
        };
        name.as_ref().map(|name| (name, reason))
    }
}
