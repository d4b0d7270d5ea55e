//! Whatever sessions do, in whatever order: the pool's promises hold.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    task::{Context, Poll, Waker},
};

use tokio::time::Instant;

use super::*;
use crate::pool::{
    queue::{Queue, WaitTimes},
    slots::{Occupancy, Slots, Sought},
};

/// Numbers that look like chance, the same for the same seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(high).unwrap() % end
    }
}

#[test]
fn a_slot_holds_one_backend_and_old_places_change_nothing() {
    for seed in 1..300 {
        let mut chance = Chance(seed);
        let mut now = Instant::now();
        let mut slots: Slots<u32, u32> = Slots::new(3);
        let (mut backends, mut held, mut old) = (0, HashMap::new(), Vec::new());
        for _ in 0..400 {
            now += Duration::from_millis(chance.below(5) as u64);
            match chance.below(8) {
                0 if slots.used_count() < 9 => {
                    let place = slots.reserve_slot(now);
                    if chance.below(3) > 0 {
                        backends += 1;
                        slots.fill_reserved(place, backends, now);
                        assert!(held.insert(backends, place).is_none());
                    } else {
                        assert_eq!(slots.free_slot(place, now), Some(None));
                    }
                }
                1 | 2 => {
                    let last = old.get(chance.below(old.len().max(1))).copied();
                    let sought = Sought { worker: chance.below(3), mark: chance.below(3) as u64, last };
                    if let Some((place, backend)) = slots.take(&sought, now) {
                        assert_eq!(slots.record(place), Some(&backend));
                        assert!(held.insert(backend, place).is_none(), "seed {seed}: leased twice");
                    }
                }
                3 | 4 => {
                    if let Some((&backend, &place)) = held.iter().next() {
                        held.remove(&backend);
                        slots.make_idle(place, backend, chance.below(3), chance.below(3) as u64, now);
                        old.push(place);
                    }
                }
                5 => {
                    if let Some((&backend, &place)) = held.iter().next() {
                        held.remove(&backend);
                        assert_eq!(slots.free_slot(place, now), Some(Some(backend)));
                        old.push(place);
                    }
                }
                6 => {
                    if let Some((_, place)) = held.iter_mut().next() {
                        let before = *place;
                        *place = slots.pass_on(before, now);
                        old.push(before);
                    }
                }
                _ => {
                    if let Some((&backend, &place)) = held.iter().next() {
                        slots.park_backend(place, backend, now);
                        assert_eq!(slots.free_slot(place, now), None, "it is not outside");
                        assert_eq!(slots.resume(place.index), Some((place, backend)));
                        assert_eq!(slots.resume(place.index), None, "taken already");
                    }
                }
            }
            for place in &old {
                assert!(held.values().any(|now| now == place) || slots.free_slot(*place, now).is_none());
            }
            assert_eq!(slots.used_count(), held.len() + slots.count(Occupancy::Idle), "seed {seed}");
            let longest = (0..3).filter_map(|worker| slots.idle_at(worker, 0)).map(|(.., since)| since).min();
            assert_eq!(slots.longest_idle(), longest);
        }
    }
}

#[test]
fn the_queue_serves_each_worker_in_order_and_loses_nobody() {
    for seed in 1..300 {
        let mut chance = Chance(seed);
        let mut now = Instant::now();
        let mut queue = Queue::new(3);
        let mut model: [VecDeque<(u64, u32, Instant)>; 3] = Default::default();
        for who in 0..600 {
            now += Duration::from_micros(chance.below(900) as u64);
            let worker = chance.below(3);
            match chance.below(5) {
                0 | 1 => {
                    let ticket = queue.join(worker, WaitTimes { rank: now, since: now }, false, who);
                    model[worker].push_back((ticket, who, now));
                }
                2 | 3 => {
                    let next = queue.next(worker, || now);
                    let line = model.iter_mut().find(|line| {
                        next.as_ref().is_some_and(|next| {
                            line.front() == Some(&(next.ticket, next.who, next.times.since))
                        })
                    });
                    match line {
                        Some(line) => drop(line.pop_front()),
                        None => assert!(model.iter().all(VecDeque::is_empty), "seed {seed}: not the first"),
                    }
                }
                _ => {
                    if let Some(at) = model[worker].len().checked_sub(1).map(|last| chance.below(last + 1)) {
                        let (ticket, who, since) = model[worker].remove(at).unwrap();
                        assert_eq!(queue.leave(worker, since, ticket), Some(who));
                        assert_eq!(queue.leave(worker, since, ticket), None, "once");
                    }
                }
            }
            assert_eq!(queue.len(), model.iter().map(VecDeque::len).sum::<usize>());
        }
    }
}

/// A session of the property test.
#[derive(Default)]
struct Session {
    waiter: Waiter,
    lease: Option<Lease>,
    trace: Option<Trace>,
    cancel: Option<CancelGuard>,
}

#[tokio::test(start_paused = true)]
async fn whatever_happens_no_backend_has_two_sessions_and_none_is_lost() {
    for seed in 1..60 {
        let mut chance = Chance(seed);
        let mut stand = Stand::with(3, Some(4)).await;
        stand.settings.min_idle = chance.below(2);
        stand.settings.query_wait_timeout = Duration::from_secs(3);
        stand.settings.max_lifetime = Duration::from_secs(20);
        let pools = [stand.pool_of("alice"), stand.pool_of("bob")];
        let mut sessions: Vec<Session> = (0..12).map(|_| Session::default()).collect();
        for _ in 0..300 {
            let at = chance.below(12);
            let (pool, want) = (&pools[at % 2], want());
            let session = &mut sessions[at];
            let want = AcquireOptions { worker: at % 2, last: session.trace, ..want };
            if let Some(lease) = session.lease.take() {
                match chance.below(8) {
                    0 => drop(lease),
                    1 => lease.release(Disposition::Reset),
                    2 => lease.release(Disposition::Discard),
                    3 => {
                        session.cancel = Some(lease.running().begin_cancel());
                        lease.release(Disposition::Clean);
                    }
                    4 | 5 => session.lease = Some(lease),
                    _ => {
                        session.trace = Some(lease.trace());
                        lease.release(Disposition::Clean);
                    }
                }
            } else if session.waiter.is_waiting() {
                if chance.below(6) == 0 {
                    session.waiter.leave();
                }
            } else {
                session.lease = pool.try_lease(&want);
                if session.lease.is_none() {
                    pool.wait(&mut session.waiter, &want);
                }
            }
            match chance.below(40) {
                0 => drop(stand.pools.reconnect(&Filter::all())),
                1 => drop(stand.pools.pause(&Filter::all())),
                2..5 => drop(stand.pools.resume(&Filter::all())),
                5 => stand.server.cut_all(),
                6 => stand.server.refuse(Some(b"57P03")),
                7..10 => stand.server.refuse(None),
                _ => {}
            }
            if chance.below(4) == 0 {
                sessions[chance.below(12)].cancel = None;
            }
            if chance.below(3) == 0 {
                tokio::time::sleep(Duration::from_millis(chance.below(300) as u64)).await;
            }
            take_up(&mut sessions, seed);
            let leased: Vec<_> = sessions.iter().filter_map(|session| session.lease.as_ref()).collect();
            let distinct: HashSet<_> = leased.iter().map(|lease| Arc::as_ptr(lease.running())).collect();
            assert_eq!(distinct.len(), leased.len(), "seed {seed}: two sessions have one backend");
            assert!(leased.iter().all(|lease| lease.running().cancels() == 0), "seed {seed}");
            for pool in &pools {
                let status = pool.status();
                assert!(status.backends.len() + status.dialing <= 3, "seed {seed}: too many");
            }
        }
        stand.server.refuse(None);
        stand.pools.resume(&Filter::all());
        drop(sessions);
        let all_idle = || pools.iter().all(|pool| pool.is_quiet() && pool.status().waiting == 0);
        until(&format!("seed {seed}: all came back"), all_idle).await;
        let counted = || pools.iter().map(|pool| idle(pool)).sum::<usize>();
        until(&format!("seed {seed}: the books agree"), || {
            let (taken, _) = stand.pools.budget(&EndpointName::new("primary").unwrap());
            taken == counted() && stand.server.open() == counted()
        })
        .await;
        stand.tasks.shutdown().await;
    }
}

/// Every session takes up what it was left with.
fn take_up(sessions: &mut [Session], seed: u64) {
    let mut context = Context::from_waker(Waker::noop());
    for session in sessions {
        while session.waiter.is_waiting() {
            match session.waiter.poll(&mut context) {
                Poll::Pending => break,
                Poll::Ready(Waited::Lease(lease)) => {
                    assert!(session.lease.is_none(), "seed {seed}");
                    session.lease = Some(lease);
                }
                Poll::Ready(Waited::Notice(_) | Waited::Held(_) | Waited::Failed(_)) => {}
            }
        }
    }
}
