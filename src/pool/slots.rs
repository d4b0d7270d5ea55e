//! Where each backend of a pool is: idle, leased, being dialed or being cleaned.
//!
//! Promises: a backend is in a single place; an outdated [`SlotKey`] changes nothing; idle backends are ordered by last
//! use. Refuses to know: backends, limits. Plain data: no clock, no sockets.

use tokio::time::Instant;

/// A slot, with the generation of a single use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SlotKey {
    pub(super) index: u32,
    /// Incremented with each use of the slot: unique within the pool.
    pub(super) generation: u64,
    /// That of the use before.
    pub(super) before: u64,
}

/// Slots of a pool. `M` is a backend, absent while leased; `T` is the permanent record of the backend.
pub(super) struct Slots<M, T> {
    slots: Vec<Slot<M, T>>,
    free: Vec<u32>,
    /// By the worker of the backend's registration; the last used backends are last.
    idle: Box<[Vec<u32>]>,
    counts: [usize; Occupancy::ALL.len()],
    uses: u64,
}

struct Slot<M, T> {
    occupancy: Occupancy,
    generation: u64,
    before: u64,
    /// Start of the occupancy.
    since: Instant,
    /// Benefit of an idle backend for the next session: see [`Sought::mark`].
    mark: u64,
    worker: usize,
    member: Option<M>,
    record: Option<T>,
}

/// Occupancy of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Occupancy {
    /// Unused.
    Free,
    /// Login under way.
    Dialing,
    /// A backend that waits for a session.
    Idle,
    /// Leased to a session.
    Leased,
    /// Being reset.
    Resetting,
    /// Returned with a cancel request pending, or waiting until the request can have no more effect.
    Settling,
}

/// Preferences for an idle backend.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sought {
    /// The requesting worker: handing over a backend of the same worker is free.
    pub(super) worker: usize,
    /// The mark of a backend that needs no settings changed.
    pub(super) mark: u64,
    /// The backend that the session used last.
    pub(super) last: Option<SlotKey>,
}

/// Number of idle backends examined for a match: bounds the time of a lease in a large pool.
const MAX_EXAMINED_BACKENDS: usize = 16;

// === impl Occupancy ===

impl Occupancy {
    const ALL: [Self; 6] =
        [Self::Free, Self::Dialing, Self::Idle, Self::Leased, Self::Resetting, Self::Settling];
}

// === impl Slots ===

impl<M, T> Slots<M, T> {
    /// No slots, for backends of `workers` workers.
    pub(super) fn new(workers: usize) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            idle: (0..workers.max(1)).map(|_| Vec::new()).collect(),
            counts: [0; Occupancy::ALL.len()],
            uses: 0,
        }
    }

    /// Number of slots in use.
    pub(super) fn used_count(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// How many slots are used for that.
    pub(super) fn count(&self, occupancy: Occupancy) -> usize {
        self.counts[occupancy as usize]
    }

    /// How many backends are logged in.
    pub(super) fn live_count(&self) -> usize {
        self.used_count() - self.count(Occupancy::Dialing)
    }

    /// Takes a slot for a backend that is being dialed.
    pub(super) fn reserve_slot(&mut self, now: Instant) -> SlotKey {
        let index = self.free.pop().unwrap_or_else(|| {
            let index = u32::try_from(self.slots.len()).expect("a pool is smaller than 2^32");
            self.slots.push(Slot {
                occupancy: Occupancy::Free,
                generation: 0,
                before: 0,
                since: now,
                mark: 0,
                worker: 0,
                member: None,
                record: None,
            });
            self.counts[Occupancy::Free as usize] += 1;
            index
        });
        self.set_occupancy(index, Occupancy::Dialing, now);
        self.use_anew(index)
    }

    /// The backend of a reserved slot has logged in, and counts as leased until placed.
    pub(super) fn fill_reserved(&mut self, place: SlotKey, record: T, now: Instant) {
        debug_assert!(self.has_occupancy(place, Occupancy::Dialing), "only who dialed arrives");
        self.slot(place.index).record = Some(record);
        self.set_occupancy(place.index, Occupancy::Leased, now);
    }

    /// Takes the idle backend that fits best.
    pub(super) fn take(&mut self, sought: &Sought, now: Instant) -> Option<(SlotKey, M)> {
        let (worker, at) = self.choose_idle(sought)?;
        self.take_idle_at(worker, at, now)
    }

    fn choose_idle(&self, sought: &Sought) -> Option<(usize, usize)> {
        if self.count(Occupancy::Idle) == 0 {
            return None;
        }
        if let Some(last) = sought.last
            && self.has_occupancy(last, Occupancy::Idle)
            && let slot = &self.slots[last.index as usize]
            && slot.worker == sought.worker
            && let Some(at) = self.idle[slot.worker].iter().rposition(|index| *index == last.index)
        {
            return Some((slot.worker, at));
        }
        let own = sought.worker % self.idle.len();
        if let Some(at) = self.find_fitting(own, sought.mark) {
            return Some((own, at));
        }
        // Otherwise a backend of the worker with the most idle backends.
        let other = (0..self.idle.len()).max_by_key(|worker| self.idle[*worker].len())?;
        Some((other, self.find_fitting(other, sought.mark)?))
    }

    /// An idle backend of the worker with the mark, or else the last used: the others may reach the idle timeout.
    fn find_fitting(&self, worker: usize, mark: u64) -> Option<usize> {
        let idle = &self.idle[worker];
        let looked_at = idle.iter().enumerate().rev().take(MAX_EXAMINED_BACKENDS);
        let fits = looked_at.into_iter().find(|(_, index)| self.slots[**index as usize].mark == mark);
        fits.map(|(at, _)| at).or_else(|| idle.len().checked_sub(1))
    }

    /// The backend goes directly to the next session.
    pub(super) fn pass_on(&mut self, place: SlotKey, now: Instant) -> SlotKey {
        debug_assert!(self.is_in_use(place), "only who has it passes it on");
        self.set_occupancy(place.index, Occupancy::Leased, now);
        self.use_anew(place.index)
    }

    /// The backend becomes idle. The generation stays: the last user can detect uses in between.
    pub(super) fn make_idle(&mut self, place: SlotKey, member: M, worker: usize, mark: u64, now: Instant) {
        debug_assert!(self.is_in_use(place), "only who has it puts it back");
        let worker = worker % self.idle.len();
        self.set_occupancy(place.index, Occupancy::Idle, now);
        let slot = self.slot(place.index);
        (slot.member, slot.worker, slot.mark) = (Some(member), worker, mark);
        self.idle[worker].push(place.index);
    }

    /// Like [`Slots::make_idle`], for a backend taken out briefly: returns to its previous place in the idle order, by
    /// `since`.
    pub(super) fn make_idle_since(
        &mut self,
        place: SlotKey,
        member: M,
        worker: usize,
        mark: u64,
        since: Instant,
    ) {
        self.make_idle(place, member, worker, mark, since);
        let worker = worker % self.idle.len();
        self.idle[worker].pop();
        let slots = &self.slots;
        let at = self.idle[worker].partition_point(|index| slots[*index as usize].since < since);
        self.idle[worker].insert(at, place.index);
    }

    /// Parks the backend until a cancel request has taken effect; [`Slots::resume`] takes the backend out.
    pub(super) fn park_backend(&mut self, place: SlotKey, member: M, now: Instant) {
        debug_assert!(self.is_in_use(place), "only who has it parks it");
        self.set_occupancy(place.index, Occupancy::Settling, now);
        self.slot(place.index).member = Some(member);
    }

    /// Takes a parked backend out; `None` if there is none.
    pub(super) fn resume(&mut self, index: u32) -> Option<(SlotKey, M)> {
        let slot = self.slots.get_mut(index as usize)?;
        if slot.occupancy != Occupancy::Settling {
            return None;
        }
        let place = SlotKey { index, generation: slot.generation, before: slot.before };
        slot.member.take().map(|member| (place, member))
    }

    /// The backend is being worked on: resetting or settling.
    pub(super) fn work_on(&mut self, place: SlotKey, occupancy: Occupancy, now: Instant) {
        debug_assert!(self.is_in_use(place), "only who has it works on it");
        self.set_occupancy(place.index, occupancy, now);
    }

    /// Frees the slot and returns the record, if any. `None` if the slot has another use now.
    pub(super) fn free_slot(&mut self, place: SlotKey, now: Instant) -> Option<Option<T>> {
        if !self.is_in_use(place) {
            return None;
        }
        self.set_occupancy(place.index, Occupancy::Free, now);
        self.free.push(place.index);
        let slot = self.slot(place.index);
        debug_assert!(slot.member.is_none(), "a backend that is here is taken out first");
        Some(slot.record.take())
    }

    /// The idle backend of `worker` at index `at`, with the idle time and the record. Index 0 is the longest idle.
    pub(super) fn idle_at(&self, worker: usize, at: usize) -> Option<(&M, &T, Instant)> {
        let slot = &self.slots[*self.idle.get(worker)?.get(at)? as usize];
        Some((slot.member.as_ref()?, slot.record.as_ref()?, slot.since))
    }

    /// Takes the idle backend of `worker` at `at` out.
    pub(super) fn take_idle_at(&mut self, worker: usize, at: usize, now: Instant) -> Option<(SlotKey, M)> {
        let idle = self.idle.get_mut(worker)?;
        let index = (at < idle.len()).then(|| idle.remove(at))?;
        let member = self.slot(index).member.take().expect("an idle slot has a backend");
        self.set_occupancy(index, Occupancy::Leased, now);
        Some((self.use_anew(index), member))
    }

    /// Since when the idle backend rests that was not used for longest.
    pub(super) fn longest_idle(&self) -> Option<Instant> {
        self.idle.iter().filter_map(|idle| idle.first()).map(|index| self.slots[*index as usize].since).min()
    }

    /// Takes the idle backend out that was not used for longest.
    pub(super) fn take_longest_idle(&mut self, now: Instant) -> Option<(SlotKey, M)> {
        let first =
            |(worker, idle): (usize, &Vec<u32>)| Some((self.slots[*idle.first()? as usize].since, worker));
        let (_, worker) = self.idle.iter().enumerate().filter_map(first).min()?;
        self.take_idle_at(worker, 0, now)
    }

    /// Record of the backend at `place`.
    pub(super) fn record(&self, place: SlotKey) -> Option<&T> {
        self.slots.get(place.index as usize).filter(|_| self.is_in_use(place))?.record.as_ref()
    }

    /// Record of the backend in the slot, leased or not.
    pub(super) fn record_at(&self, index: u32) -> Option<&T> {
        self.slots.get(index as usize)?.record.as_ref()
    }

    /// As [`Slots::record_at`], to be changed.
    pub(super) fn record_at_mut(&mut self, index: u32) -> Option<&mut T> {
        self.slots.get_mut(index as usize)?.record.as_mut()
    }

    /// Every backend: occupancy, start of the occupancy, and record.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Occupancy, Instant, &T)> {
        let occupied = self.slots.iter().filter(|slot| slot.occupancy != Occupancy::Free);
        occupied.filter_map(|slot| Some((slot.occupancy, slot.since, slot.record.as_ref()?)))
    }

    /// How many workers there are.
    pub(super) fn workers(&self) -> usize {
        self.idle.len()
    }

    fn has_occupancy(&self, place: SlotKey, occupancy: Occupancy) -> bool {
        let slot = self.slots.get(place.index as usize);
        slot.is_some_and(|slot| slot.generation == place.generation && slot.occupancy == occupancy)
    }

    /// True if the use of the slot continues with the backend taken out.
    fn is_in_use(&self, place: SlotKey) -> bool {
        self.slots.get(place.index as usize).is_some_and(|slot| {
            slot.generation == place.generation
                && slot.member.is_none()
                && slot.occupancy != Occupancy::Free
                && slot.occupancy != Occupancy::Idle
        })
    }

    fn slot(&mut self, index: u32) -> &mut Slot<M, T> {
        &mut self.slots[index as usize]
    }

    fn set_occupancy(&mut self, index: u32, occupancy: Occupancy, now: Instant) {
        let slot = &mut self.slots[index as usize];
        self.counts[slot.occupancy as usize] -= 1;
        self.counts[occupancy as usize] += 1;
        (slot.occupancy, slot.since) = (occupancy, now);
    }

    fn use_anew(&mut self, index: u32) -> SlotKey {
        self.uses += 1;
        let generation = self.uses;
        let slot = self.slot(index);
        let before = std::mem::replace(&mut slot.generation, generation);
        slot.before = before;
        SlotKey { index, generation, before }
    }
}
