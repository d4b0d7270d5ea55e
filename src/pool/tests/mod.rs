//! Pools in front of a pretended server, on a paused clock.

mod absence;
mod budget;
mod cancel;
mod growth;
mod identity;
mod lease;
mod metrics;
mod operations;
mod overload;
mod property;
mod renewal;
mod replacement_pool;
mod reset;
mod server;
mod turn_away;
mod upkeep;
mod wait;
mod workers;

use std::{
    future::poll_fn,
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::{
    backend::{EndpointHandle, EndpointSettings},
    credentials::Login,
    names::{ClusterName, DatabaseName, EndpointName, ListenerName, UserName},
    tasks::Tasks,
    telemetry::{Metrics, labels::PoolBackendState},
    tls::{EndpointTls, Negotiation, TlsMode},
    topology::{DeclaredRole, Endpoint},
    wire::{ProtocolVersion, StartupMessage, frontend},
};
use server::Server;

/// Tells backends apart, also those that are gone.
#[derive(Debug)]
struct BackendIdentity(Weak<BackendHandle>);

impl PartialEq for BackendIdentity {
    fn eq(&self, other: &Self) -> bool {
        Weak::ptr_eq(&self.0, &other.0)
    }
}

impl BackendHandle {
    fn id(self: &Arc<Self>) -> BackendIdentity {
        BackendIdentity(Arc::downgrade(self))
    }
}

/// A pretended server and the pools in front of it, for two workers that are both this thread.
struct Stand {
    server: Server,
    pools: Arc<Pools>,
    endpoint: EndpointHandle,
    settings: PoolSettings,
    metrics: Metrics,
    tasks: Arc<Tasks>,
}

impl Stand {
    async fn new(size: usize) -> Self {
        Self::with(size, None).await
    }

    /// With so many backends for all pools together.
    async fn with(size: usize, budget: Option<usize>) -> Self {
        let server = Server::start().await;
        let metrics = Metrics::new();
        let endpoint = endpoint(&server, budget, &metrics);
        let tasks = Arc::new(Tasks::new());
        let spawner = Arc::downgrade(&tasks);
        let spawn = move |_, name, work| {
            if let Some(tasks) = spawner.upgrade() {
                tasks.spawn(name, work);
            }
        };
        let pools = Pools::with(2, Box::new(spawn), metrics.clone(), Box::new(|_, _, _| ()));
        let settings = PoolSettings { size, ..PoolSettings::new(PoolMode::Transaction, 100) };
        let stand = Self { server, pools, endpoint, settings, metrics, tasks };
        stand.keep_up();
        stand
    }

    /// Ticks, as workers do.
    fn keep_up(&self) {
        let pools = Arc::downgrade(&self.pools);
        self.tasks.spawn("ticks", async move {
            let mut due = tokio::time::interval(Duration::from_millis(100));
            loop {
                due.tick().await;
                let Some(pools) = pools.upgrade() else { return };
                (0..2).for_each(|worker| pools.tick(worker));
            }
        });
    }

    fn pool(&self) -> Arc<Pool> {
        self.pool_of("alice")
    }

    fn pool_of(&self, user: &str) -> Arc<Pool> {
        self.pools.pool(&self.endpoint, &target(user), &Arc::new(self.settings.clone()))
    }
}

fn endpoint(server: &Server, budget: Option<usize>, metrics: &Metrics) -> EndpointHandle {
    endpoint_of(DeclaredRole::Primary, server, budget, metrics)
}

fn endpoint_of(
    role: DeclaredRole,
    server: &Server,
    budget: Option<usize>,
    metrics: &Metrics,
) -> EndpointHandle {
    let endpoint = Arc::new(Endpoint {
        name: EndpointName::new("primary").unwrap(),
        cluster: ClusterName::new("orders").unwrap(),
        region: None,
        role,
        address: server.address.to_string().parse().unwrap(),
    });
    let metrics = metrics.endpoint(&endpoint);
    let settings = EndpointSettings {
        endpoint,
        tls: EndpointTls {
            mode: TlsMode::Disable,
            negotiation: Negotiation::Postgres,
            ca_file: None,
            server_name: None,
            identity: None,
        },
        login: Login::Passthrough,
        insecure_plaintext: false,
        connect_timeout: Duration::from_secs(3600),
        connect_concurrency: 32,
        max_backends: budget,
        reserve: 0,
        probe_login: None,
    };
    EndpointHandle::new(settings, metrics).unwrap().0
}

fn target(user: &str) -> PoolKey {
    PoolKey {
        listener: ListenerName::new("app").unwrap(),
        endpoint: EndpointName::new("primary").unwrap(),
        database: DatabaseName::new("shop").unwrap(),
        user: UserName::new(user).unwrap(),
        startup: StartupMessage::new(ProtocolVersion::V3_0),
        mode: PoolMode::Transaction,
    }
}

fn want() -> AcquireOptions {
    AcquireOptions { worker: 0, settings: 0, last: None, terms: WaitTerms::default() }
}

/// A lease as a session gets it.
async fn lease(pool: &Arc<Pool>) -> Result<Lease, LeaseError> {
    lease_by(pool, &want()).await
}

async fn lease_by(pool: &Arc<Pool>, want: &AcquireOptions) -> Result<Lease, LeaseError> {
    match pool.try_lease(want) {
        Some(lease) => Ok(lease),
        None => {
            let mut waiter = Waiter::new();
            pool.wait(&mut waiter, want);
            outcome(&mut waiter).await
        }
    }
}

/// What comes of a wait, but for the notice.
async fn outcome(waiter: &mut Waiter) -> Result<Lease, LeaseError> {
    loop {
        match poll_fn(|cx| waiter.poll(cx)).await {
            Waited::Lease(lease) => return Ok(lease),
            Waited::Failed(error) => return Err(error),
            Waited::Notice(_) | Waited::Held(_) => {}
        }
    }
}

/// So many leases at one time.
async fn leases(pool: &Arc<Pool>, count: usize) -> Vec<Lease> {
    let mut waiters: Vec<_> = (0..count).map(|_| Waiter::new()).collect();
    waiters.iter_mut().for_each(|waiter| pool.wait(waiter, &want()));
    let mut all = Vec::new();
    for waiter in &mut waiters {
        all.push(outcome(waiter).await.unwrap());
    }
    all
}

/// Sends a simple query to the backend, and reads up to ReadyForQuery.
async fn query(lease: &mut Lease, text: &str) {
    let mut bytes = Vec::new();
    frontend::write_query(&mut bytes, text);
    lease.stream.write_all(&bytes).await.unwrap();
    let mut response = Vec::new();
    while !response.ends_with(b"Z\0\0\0\x05I") && !response.ends_with(b"Z\0\0\0\x05T") {
        assert_ne!(lease.stream.read_buf(&mut response).await.unwrap(), 0, "the server closed");
    }
}

/// Waits until it is so.
async fn until(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..10_000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never: {what}");
}

fn idle(pool: &Pool) -> usize {
    pool.status().count(PoolBackendState::Idle)
}
