//! The stage: a cluster, Gatekeeper with two split listeners in front, and many clients.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::task::JoinSet;

use super::{
    history::History,
    judge::{Broken, Ending, judge, judge_end},
    life::{Life, Mistake},
    nemesis::{Weather, rage},
    plan::Strike,
    statement::{ANEW, SCHEMA},
    summary::Summary,
};
use crate::harness::{Split, SplitShape};

pub(super) struct Stage {
    split: Split,
}

/// All that is known when all is over.
pub(super) struct Run {
    seed: u64,
    plan: Vec<Strike>,
    histories: Vec<History>,
    hits: Vec<(Duration, Duration)>,
    ending: Ending,
    /// Gatekeeper's counters during the run, by series.
    counted: BTreeMap<String, f64>,
    log: String,
}

/// Clients at a time.
const CLIENTS: usize = 10;

impl Stage {
    /// Starts with further keys of the listener besides `route`.
    pub(super) async fn set(listener: &str) -> Self {
        let split = Split::start(SplitShape { size: 8, listener, ..SplitShape::default() }).await;
        split.primary(SCHEMA).await;
        Self { split }
    }

    /// Clients live while `plan` is carried out, then all is looked at.
    pub(super) async fn play(&self, seed: u64, plan: Vec<Strike>, mistake: Mistake) -> Run {
        self.split.primary(ANEW).await;
        self.split.settles().await;
        let before = self.counted().await;
        let (weather, stop) = (Arc::new(Weather::new()), Arc::new(AtomicBool::new(false)));
        let mut lives = JoinSet::new();
        for client in 0..CLIENTS {
            let life = Life::new(client, seed, self.split.listener(), Arc::clone(&weather), mistake);
            lives.spawn(life.live(Arc::clone(&stop)));
        }
        Box::pin(rage(&self.split, &plan, &weather)).await;
        stop.store(true, Ordering::Relaxed);
        let mut histories = lives.join_all().await;
        histories.sort_by_key(|history| history.client);
        let mut counted = self.counted().await;
        for (series, value) in &mut counted {
            *value -= before.get(series).copied().unwrap_or_default();
        }
        let (ending, hits, log) = (self.ending().await, weather.hits(), self.split.gatekeeper.stderr());
        Run { seed, plan, histories, hits, ending, counted, log }
    }

    /// Contents of the primary.
    async fn ending(&self) -> Ending {
        let counts = async |sql: &str| -> HashMap<i64, usize> {
            let rows = self.split.primary(sql).await;
            let pairs = rows.lines().filter_map(|line| line.split_once('|'));
            pairs.map(|(op, count)| (op.parse().unwrap(), count.parse().unwrap())).collect()
        };
        Ending {
            applied: counts("SELECT op, count(*) FROM applied GROUP BY op").await,
            listed: counts("SELECT item, count(*) FROM list, unnest(items) item GROUP BY item").await,
        }
    }

    /// Gatekeeper's counters of decisions.
    async fn counted(&self) -> BTreeMap<String, f64> {
        let page = self.split.gatekeeper.get("/metrics").await.unwrap().body;
        let ours = [
            "gatekeeper_route_decisions_total{",
            "gatekeeper_read_fallbacks_total{",
            "gatekeeper_reruns_total{",
        ];
        let routes = page.lines().filter(|line| ours.iter().any(|metric| line.starts_with(metric)));
        let pairs = routes.filter_map(|line| line.rsplit_once(' '));
        pairs.map(|(series, value)| (series.to_owned(), value.parse().unwrap())).collect()
    }
}

impl Run {
    /// The first promise to a session that was not kept.
    pub(super) fn verdict(&self) -> Result<(), Broken> {
        self.histories.iter().try_for_each(|history| judge(history, &self.hits))
    }

    /// The first write that contradicts its acknowledgment.
    pub(super) fn verdict_on_writes(&self) -> Result<(), Broken> {
        judge_end(&self.histories, &self.ending)
    }

    /// Passes if every write matches its acknowledgment.
    ///
    /// # Panics
    /// On a contradiction: with the seed, the plan, the client's history around the entry, and Gatekeeper's log.
    pub(super) fn is_as_promised(&self) {
        let Err(Broken { client, at, why }) = self.verdict().and_then(|()| self.verdict_on_writes()) else {
            return;
        };
        let plan: String =
            self.plan.iter().enumerate().map(|(number, strike)| format!("  {number}: {strike}\n")).collect();
        let around = at.map(|at| self.histories[client].around(at)).unwrap_or_default();
        panic!(
            "seed {}: client {client}: {why}\n{around}plan:\n{plan}gatekeeper said:\n{}\n{}",
            self.seed,
            self.log,
            self.summary()
        );
    }

    pub(super) fn summary(&self) -> Summary<'_> {
        Summary { seed: self.seed, plan: &self.plan, histories: &self.histories, counted: &self.counted }
    }
}
