//! Dials backends: as many at one time as there are waiters, within the pool's size and the endpoint's budget.

use std::sync::{Arc, PoisonError};

use tokio::time::Instant;

use super::{
    Event, LeaseError, Pool, Running, Welcome,
    budget::{Hunger, Permit},
    chore::{Chore, Workplace},
    member::{Member, Tenant},
    slots::Place,
    state::{Afterwards, Need},
    trouble::Trouble,
};
use crate::{
    backend::{Backend, ConnectError},
    blame::Chain,
    session::Memory,
    topology::NodeId,
};

/// <https://www.postgresql.org/docs/current/runtime-config-client.html>
const READ_ONLY: &str = "default_transaction_read_only";

impl Pool {
    /// Dials what is needed, from `worker`.
    pub(super) fn grow(self: &Arc<Self>, worker: usize) {
        let at_once = self.endpoint.settings().connect_concurrency.max(1);
        let now = Instant::now();
        // Decided once: work that nobody runs any more, at the end of the process, must not be decided upon for ever.
        let mut reserved = Vec::new();
        let mut state = self.lock();
        while let Some(need) = state.needs(now, at_once) {
            reserved.push((need, state.slots.reserve(now)));
        }
        drop(state);
        let mut hunger = Hunger::None;
        for (need, place) in reserved {
            let permit = self.budget.take().or_else(|| match need {
                Need::Waiters => self.pools.upgrade()?.steal(self),
                Need::Idle => None,
            });
            if let Some(permit) = permit {
                self.dial(worker, place, permit);
                continue;
            }
            let mut state = self.lock();
            state.slots.vacate(place, now);
            hunger = match need {
                Need::Waiters if state.slots.used() == 0 => Hunger::Starving,
                Need::Waiters => Hunger::Hungry,
                Need::Idle => hunger,
            };
        }
        self.set_hunger(hunger);
    }

    /// Whether it lacks what the budget does not have.
    pub(super) fn is_hungry(&self) -> bool {
        *self.hunger.lock().unwrap_or_else(PoisonError::into_inner) != Hunger::None
    }

    /// Its own hunger, for all pools of the endpoint to see.
    pub(super) fn set_hunger(&self, hunger: Hunger) {
        let mut own = self.hunger.lock().unwrap_or_else(PoisonError::into_inner);
        if *own != hunger {
            self.budget.hunger(*own, hunger);
            *own = hunger;
        }
    }

    fn dial(self: &Arc<Self>, worker: usize, place: Place, permit: Permit) {
        let pool = Arc::clone(self);
        let begun = Instant::now();
        let mut workplace = Workplace { pool: Arc::clone(self), place: Some(place) };
        self.spawn(worker, "pool dial", async move {
            let dialed = pool.greet().await;
            let Some(place) = workplace.leave() else { return };
            match dialed {
                Ok((backend, node)) => pool.arrived(place, permit, backend, node, worker),
                Err(error) => {
                    drop(permit);
                    pool.failed(place, error, begun, worker);
                }
            }
        });
    }

    /// Logs in, and where a listener splits asks a server that is to serve reads who it is.
    ///
    /// Such a backend is read-only from its start: should its server be promoted by mistake, then what was taken for a read is
    /// refused there like on a standby, instead of being written where nobody will find it. No client is told of that.
    ///
    /// Cancel safety: dropping it closes the connection that was being made.
    async fn greet(&self) -> Result<(Backend, Option<NodeId>), ConnectError> {
        let mut request = self.target.request();
        if !self.endpoint.endpoint().role.serves_reads() || !self.settings().splits {
            return Ok((self.endpoint.connect(request).await?, None));
        }
        let asked = request.startup.get(READ_ONLY).unwrap_or(b"off").to_vec();
        request.startup.set(READ_ONLY, "on");
        let mut backend = self.endpoint.connect(request).await?;
        backend.logged_in.parameters.pretend(READ_ONLY, &asked);
        let node = self.endpoint.identify_standby(&mut backend).await?;
        Ok((backend, node))
    }

    /// A backend has logged in on `worker`.
    fn arrived(
        self: &Arc<Self>,
        place: Place,
        permit: Permit,
        mut backend: Backend,
        node: Option<NodeId>,
        worker: usize,
    ) {
        let Some(pools) = self.pools.upgrade() else { return };
        let running = Arc::new(Running::new(pools.next_id(), self, place.index, &backend, node));
        let presence = backend.presence.take();
        let now = Instant::now();
        let mut after = Afterwards::default();
        self.tell(&running, Event::Opened(backend.durations.iter().map(|(_, took)| took).sum()));
        let mut state = self.lock();
        state.trouble = None;
        let login = match &state.welcome {
            Some(welcome) if welcome.says(&backend.logged_in) => Arc::clone(welcome),
            _ => Arc::new(Welcome::new(&backend.logged_in)),
        };
        state.welcome = Some(Arc::clone(&login));
        let lifetime = state.settings.max_lifetime;
        let tenant = Tenant {
            running: Arc::clone(&running),
            permit,
            presence,
            // Up to a tenth earlier.
            expires: (!lifetime.is_zero()).then(|| {
                now + lifetime - lifetime / 1000 * u32::try_from(chance() % 101).unwrap_or_default()
            }),
            epoch: state.epoch,
            chore: Chore::Settle,
        };
        state.slots.arrive(place, tenant, now);
        let memory = Box::new(Memory::new(Arc::clone(&login.parameters), key()));
        let member = Member { stream: backend.stream, memory, running, login, worker };
        if backend.unread.is_empty() {
            self.place(&mut state, place, member, &mut after);
            // There may be more to be done than one backend can.
            after.grow = true;
            drop(state);
            self.finish(worker, after);
        } else {
            state.slots.work_on(place, Self::occupancy(Chore::Settle), now);
            drop(state);
            self.start_chore(place, member, Chore::Settle, backend.unread);
        }
    }

    /// A login failed.
    fn failed(self: &Arc<Self>, place: Place, error: ConnectError, begun: Instant, worker: usize) {
        let now = Instant::now();
        let error = Arc::new(error);
        let mut after = Afterwards::default();
        let mut state = self.lock();
        state.slots.vacate(place, now);
        let trouble = Trouble::after(state.trouble.take(), Arc::clone(&error), begun, now, chance());
        let news = trouble.is_news();
        if trouble.is_hopeless(state.slots.live()) {
            state.fail_waiters(&LeaseError::Down(Arc::clone(&error)), &mut after);
        }
        state.trouble = Some(trouble);
        drop(state);
        if news {
            tracing::warn!(
                listener = %self.target.listener,
                endpoint = %self.target.endpoint,
                error = %Chain(&*error),
                remedy = error.remedy().as_deref(),
                "a pool cannot log in"
            );
        }
        self.finish(worker, after);
        // What the budget had for this pool may do for another.
        if self.budget.is_wanted()
            && let Some(pools) = self.pools.upgrade()
        {
            pools.feed(&self.target.endpoint, worker);
        }
    }
}

/// What nobody can guess.
fn key() -> [u8; 16] {
    let mut key = [0; 16];
    aws_lc_rs::rand::fill(&mut key).expect("the program does not start without random numbers");
    key
}

/// Any number, so that what happens together once does not happen together for ever.
fn chance() -> u64 {
    let mut octets = [0; 8];
    // Without entropy it is only less even.
    aws_lc_rs::rand::fill(&mut octets).ok();
    u64::from_ne_bytes(octets)
}
