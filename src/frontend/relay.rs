//! Drives one session: moves octets between its two sockets as the machine says.
//!
//! One future for both directions, on the client's worker. It reads a side only when what it read before has been written
//! to the other: a slow reader stops the reads from its own backend and nothing else. An idle session holds no buffer.
//!
//! <https://www.postgresql.org/docs/current/protocol-flow.html>

use std::{
    future::poll_fn,
    io,
    task::{Context, Poll},
    time::Instant,
};

use super::{
    end::End,
    recorder::Recorder,
    session_entry::{Activity, Order},
    sessions::Registered,
    side::Side,
};
use crate::{
    session::{Refusal, Session},
    telemetry::labels::Direction,
};

/// One session and its two sockets.
pub(super) struct Relay {
    client: Side,
    backend: Side,
    session: Session,
    registered: Registered,
    recorder: Recorder,
    /// The backend takes no more; what it still has to say is read.
    backend_deaf: bool,
    /// The client takes no more, but said farewell: the backend is heard out.
    client_deaf: bool,
    /// Since when octets are in our hands, if that is being measured.
    held_since: Option<Instant>,
    turns: u8,
    activity: Activity,
}

/// One turn in so many is timed for the time spent in the proxy: two clock reads.
const TIMED: u8 = 16;

impl Relay {
    pub(super) fn new(
        client: Side,
        backend: Side,
        session: Session,
        registered: Registered,
        recorder: Recorder,
    ) -> Self {
        Self {
            client,
            backend,
            session,
            registered,
            recorder,
            backend_deaf: false,
            client_deaf: false,
            held_since: None,
            turns: 0,
            activity: Activity::default(),
        }
    }

    /// Relays until one of the two, or somebody else, ends it.
    ///
    /// Cancel safety: dropped half-way, both connections break off; a running statement is not cancelled.
    pub(super) async fn run(&mut self) -> End {
        // What was read along with the login counts as read now.
        let now = Instant::now();
        let early = self.judge_client(now).and_then(|()| self.judge_backend(now));
        let mut waker_known = false;
        poll_fn(|cx| {
            if let Err(end) = &early {
                return Poll::Ready(end.clone());
            }
            if !waker_known {
                self.registered.wake_with(cx.waker());
                waker_known = true;
            }
            match self.poll(cx) {
                Ok(()) => Poll::Pending,
                Err(end) => Poll::Ready(end),
            }
        })
        .await
    }

    /// Hands out what the end needs: sockets, machine, registration.
    pub(super) fn into_parts(self) -> (Side, Side, Session, Registered, Recorder) {
        (self.client, self.backend, self.session, self.registered, self.recorder)
    }

    /// Moves what can be moved; returns when both directions wait for a socket.
    fn poll(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        loop {
            if self.recorder.poll_ready(cx)?.is_pending() {
                return Ok(());
            }
            self.pump_client(cx)?;
            let held_back = self.session.is_backlogged();
            self.pump_backend(cx)?;
            // Each has waited for its socket, but for what only the other, or the audit log, could give it.
            let freed = held_back && !self.session.is_backlogged();
            if !(freed || self.recorder.is_waiting()) {
                break;
            }
        }
        self.client.rest();
        self.backend.rest();
        self.show_activity();
        match self.registered.ordered() {
            None => Ok(()),
            Some(Order::Drain) if !self.session.is_idle() => Ok(()),
            Some(Order::Drain | Order::Stop) => Err(End::Refused(Refusal::shutdown())),
            Some(Order::Kill) => Err(End::Refused(Refusal::killed())),
        }
    }

    /// Client to backend, until a socket has to be waited for.
    fn pump_client(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        loop {
            if self.backend_deaf {
                self.client.discard_cleared();
            }
            let held = self.client.has_cleared();
            match self.client.poll_forward(&mut self.backend, cx) {
                Poll::Ready(Ok(0)) => {}
                Poll::Ready(Ok(count)) => {
                    self.recorder.traffic(Direction::ToEndpoint, count);
                    if self.client.has_cleared() {
                        continue;
                    }
                }
                // Its last words may still be on their way.
                Poll::Ready(Err(_)) => self.backend_deaf = true,
                Poll::Pending => return Ok(()),
            }
            if held {
                self.released();
            }
            if self.client.has_ended() || self.session.is_backlogged() {
                return Ok(());
            }
            match self.client.poll_fill(cx) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Ok(count)) if count > 0 => {
                    let now = Instant::now();
                    self.held(now);
                    self.judge_client(now)?;
                }
                Poll::Ready(gone) => self.client_gone(gone.err())?,
            }
        }
    }

    /// Shows the machine what the client said.
    fn judge_client(&mut self, now: Instant) -> Result<(), End> {
        let cleared = self
            .session
            .on_client(now, self.client.unjudged(), self.client.is_full())
            .map_err(|error| End::Refused(Refusal::protocol(error.to_string())))?;
        self.client.clear(cleared.pass);
        if self.session.said_farewell() {
            // Whatever it says after that, PostgreSQL would not read either.
            self.client.end();
        }
        Ok(())
    }

    /// Nothing more will come from the client.
    fn client_gone(&mut self, _error: Option<io::Error>) -> Result<(), End> {
        if self.session.is_idle() { Err(End::Left) } else { Err(End::Vanished) }
    }

    /// Backend to client, until a socket or the audit log has to be waited for.
    fn pump_backend(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        loop {
            if self.client_deaf {
                self.backend.discard_cleared();
            }
            let held = self.backend.has_cleared();
            match self.backend.poll_forward(&mut self.client, cx) {
                Poll::Ready(Ok(0)) => {}
                Poll::Ready(Ok(count)) => {
                    self.recorder.traffic(Direction::ToClient, count);
                    if self.backend.has_cleared() {
                        continue;
                    }
                }
                Poll::Ready(Err(error)) if !self.session.said_farewell() => {
                    self.client_gone(Some(error))?;
                }
                Poll::Ready(Err(_)) => self.client_deaf = true,
                Poll::Pending => return Ok(()),
            }
            if held {
                self.released();
            }
            if self.backend.has_ended() {
                return Err(self.backend_gone());
            }
            if self.recorder.is_waiting() {
                return Ok(());
            }
            match self.backend.poll_fill(cx) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Ok(count)) if count > 0 => {
                    let now = Instant::now();
                    self.held(now);
                    self.judge_backend(now)?;
                }
                Poll::Ready(_) => self.backend.end(),
            }
        }
    }

    /// Shows the machine what the backend said, and tells what it makes of it.
    fn judge_backend(&mut self, now: Instant) -> Result<(), End> {
        let before = self.session.transactions();
        let cleared = self
            .session
            .on_backend(now, self.backend.unjudged(), self.backend.is_full())
            .map_err(|error| End::ServerNonsense(error.to_string().into()))?;
        self.backend.clear(cleared.pass);
        for _ in before..self.session.transactions() {
            self.recorder.path().transaction();
        }
        while let Some(report) = self.session.poll_report() {
            self.recorder.statement(report);
        }
        Ok(())
    }

    fn backend_gone(&self) -> End {
        match self.session.fatal() {
            _ if self.session.said_farewell() => End::Farewell,
            Some(state) => End::ServerClosed(state),
            None => End::BackendLost { mid_statement: !self.session.is_settled() },
        }
    }

    fn held(&mut self, now: Instant) {
        self.turns = self.turns.wrapping_add(1);
        if self.turns.is_multiple_of(TIMED) {
            self.held_since = Some(now);
        }
    }

    fn released(&mut self) {
        if let Some(since) = self.held_since.take() {
            self.recorder.path().overhead(since.elapsed());
        }
    }

    fn show_activity(&mut self) {
        let activity = Activity {
            begun: self.session.begun(),
            busy: !self.session.is_settled(),
            status: self.session.status(),
        };
        if activity != self.activity {
            self.activity = activity;
            self.registered.set_activity(activity);
        }
        self.recorder.active(!self.session.is_idle());
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_session_is_small() {
        let octets = size_of::<super::Relay>();
        assert!(octets <= 1024, "{octets} octets for each client");
    }
}
