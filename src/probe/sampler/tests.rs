//! A sampler with a pretended writer, on a paused clock.

use std::sync::{
    Mutex,
    atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
};

use super::*;
use crate::{
    backend::QueryError,
    names::ClusterName,
    tasks::Tasks,
    telemetry::Metrics,
    topology::{DeclaredRole, Endpoint, ObservedRole},
};

/// Behavior of the scripted writer, and received queries.
#[derive(Default)]
struct Script {
    opened: AtomicUsize,
    closed: AtomicUsize,
    /// Query times, on the paused clock.
    asked: Mutex<Vec<tokio::time::Instant>>,
    /// Every query breaks the connection.
    fails: AtomicBool,
    /// No query is answered.
    hangs: AtomicBool,
}

struct Pretended {
    script: Arc<Script>,
    open: bool,
}

impl SampleConnection for Pretended {
    async fn open(&mut self) -> Result<(), SampleError> {
        if !std::mem::replace(&mut self.open, true) {
            self.script.opened.fetch_add(1, SeqCst);
        }
        Ok(())
    }

    async fn ask(&mut self) -> Result<ProbeAnswer, SampleError> {
        self.script.asked.lock().unwrap().push(tokio::time::Instant::now());
        if self.script.hangs.load(SeqCst) {
            std::future::pending::<()>().await;
        }
        if self.script.fails.load(SeqCst) {
            return Err(SampleError::Ask(QueryError::Nothing));
        }
        sleep(Duration::from_millis(1)).await;
        let lsn = Some(self.script.asked.lock().unwrap().len() as u64);
        Ok(ProbeAnswer {
            role: ObservedRole::Primary,
            read_only: false,
            lsn,
            timeline: None,
            node: None,
            standby: None,
        })
    }

    async fn close(&mut self) {
        if std::mem::take(&mut self.open) {
            self.script.closed.fetch_add(1, SeqCst);
        }
    }
}

struct Stand {
    script: Arc<Script>,
    wanted: Arc<SampleRequest>,
    messages: mpsc::Receiver<ProbeMessage>,
    _inbox: mpsc::Sender<ProbeMessage>,
    _tasks: Tasks,
}

impl Stand {
    fn new() -> Self {
        let (inbox, messages) = mpsc::channel(1024);
        let (script, wanted, tasks) =
            (Arc::<Script>::default(), Arc::<SampleRequest>::default(), Tasks::new());
        let endpoint = Endpoint {
            name: EndpointName::new("primary").unwrap(),
            cluster: ClusterName::new("orders").unwrap(),
            region: None,
            role: DeclaredRole::Primary,
            address: "127.0.0.1".parse().unwrap(),
        };
        let sampler = Sampler {
            id: 1,
            endpoint: endpoint.name.clone(),
            line: Pretended { script: Arc::clone(&script), open: false },
            metrics: Metrics::new().endpoint(&endpoint),
            limit: Duration::from_secs(5),
            wanted: Arc::clone(&wanted),
            inbox: inbox.downgrade(),
        };
        tasks.spawn("sampler", sampler.run(Duration::ZERO));
        Self { script, wanted, messages, _inbox: inbox, _tasks: tasks }
    }

    fn asked(&self) -> usize {
        self.script.asked.lock().unwrap().len()
    }

    async fn sample(&mut self) -> Observation {
        match self.messages.recv().await {
            Some(ProbeMessage::Sampled { sampler: 1, observation }) => observation,
            _ => panic!("a sample was awaited"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn while_nobody_wants_to_know_nobody_asks() {
    let stand = Stand::new();
    sleep(Duration::from_secs(3600)).await;
    assert_eq!((stand.asked(), stand.script.opened.load(SeqCst)), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_thousand_who_want_it_at_one_time_cost_one_question() {
    let mut stand = Stand::new();
    (0..1000).for_each(|_| stand.wanted.request_sample());
    let before = Instant::now();
    let observation = stand.sample().await;
    assert!(matches!(observation.outcome, ProbeOutcome::Sampled(ProbeAnswer { lsn: Some(1), .. })));
    assert!(observation.asked_at <= before.max(observation.ended_at));
    sleep(Duration::from_secs(10)).await;
    assert_eq!(stand.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn whoever_wants_it_while_the_writer_is_asked_gets_another_sample() {
    let mut stand = Stand::new();
    stand.wanted.request_sample();
    while stand.asked() == 0 {
        tokio::task::yield_now().await;
    }
    stand.wanted.request_sample();
    stand.sample().await;
    stand.sample().await;
    assert_eq!(stand.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn however_often_it_is_wanted_the_writer_is_asked_each_five_milliseconds_at_most() {
    let mut stand = Stand::new();
    for _ in 0..50 {
        stand.wanted.request_sample();
        stand.sample().await;
    }
    let asked = stand.script.asked.lock().unwrap().clone();
    assert!(asked.windows(2).all(|pair| pair[1] - pair[0] >= MIN_SAMPLE_INTERVAL), "{asked:?}");
    assert_eq!(stand.script.opened.load(SeqCst), 1, "on one connection");
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_fails_is_asked_less_and_less_on_a_new_connection_each_time() {
    let stand = Stand::new();
    stand.script.fails.store(true, SeqCst);
    let minute = tokio::time::Instant::now() + Duration::from_secs(60);
    while tokio::time::Instant::now() < minute {
        stand.wanted.request_sample();
        sleep(Duration::from_millis(10)).await;
    }
    let asked = stand.asked();
    assert!((5..=20).contains(&asked), "asked {asked} times");
    assert_eq!(stand.script.closed.load(SeqCst), asked);
    // The request is kept, and is fulfilled once the writer answers.
    let mut stand = stand;
    stand.script.fails.store(false, SeqCst);
    stand.wanted.request_sample();
    stand.sample().await;
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_hangs_is_given_up() {
    let mut stand = Stand::new();
    stand.script.hangs.store(true, SeqCst);
    stand.wanted.request_sample();
    sleep(Duration::from_secs(6)).await;
    assert_eq!(stand.script.closed.load(SeqCst), 1);
    stand.script.hangs.store(false, SeqCst);
    stand.wanted.request_sample();
    stand.sample().await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_nobody_wants_anything_of_is_closed_and_made_again() {
    let mut stand = Stand::new();
    stand.wanted.request_sample();
    stand.sample().await;
    sleep(IDLE_TIMEOUT * 2).await;
    assert_eq!(stand.script.closed.load(SeqCst), 1);
    stand.wanted.request_sample();
    stand.sample().await;
    assert_eq!(stand.script.opened.load(SeqCst), 2);
}
