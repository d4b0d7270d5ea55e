//! A trial: a few clients take turns; each is compared on two connections, and a new session checks for leftover state.

use super::{
    grammar::{KINDS, Kind, PEEK, Step, step},
    pair::One,
    stage::{CLIENTS_MAX, Stage},
};
use crate::harness::{draw::Draw, frames::query};

/// The turn of one client.
#[derive(Clone)]
pub(super) struct Turn {
    client: usize,
    step: Step,
}

/// A client with both connections.
struct Both {
    pooled: One,
    direct: One,
    /// Status of the last ReadyForQuery.
    status: u8,
}

/// Turns of a trial.
const TURNS: usize = 40;

/// Runs the trial of `seed`; on failure, returns the fewest turns that reproduce the failure.
pub(super) async fn hold(stage: &Stage, seed: u64) -> Result<(), String> {
    let mut turns = Vec::new();
    let Err(first) = draw(stage, seed, &mut turns).await else { return Ok(()) };
    let mut why = first.clone();
    // Permanent leftover state fails every later trial: reducing the turns would not help.
    let lasts = replay(stage, &[]).await.is_err();
    let mut chunk = if lasts { 0 } else { turns.len() / 2 };
    while chunk > 0 {
        let mut at = 0;
        while at < turns.len() {
            let mut fewer = turns.clone();
            fewer.drain(at..(at + chunk).min(turns.len()));
            match replay(stage, &fewer).await {
                Err(still) => (turns, why) = (fewer, still),
                Ok(()) => at += chunk,
            }
        }
        chunk /= 2;
    }
    let script: String =
        turns.iter().map(|turn| format!("  client {}: {}\n", turn.client, turn.step)).collect();
    Err(format!("seed {seed}: {first}\nwith fewer turns: {why}, after\n{script}"))
}

async fn draw(stage: &Stage, seed: u64, turns: &mut Vec<Turn>) -> Result<(), String> {
    let mut draw = Draw::new(seed);
    let clients = 2 + draw.below(CLIENTS_MAX - 1);
    let kinds: Vec<Kind> = (0..1 + draw.below(4)).map(|_| draw.one(&KINDS)).collect();
    let mut trial = Trial::begin(stage).await?;
    for _ in 0..TURNS {
        let client = draw.below(clients);
        let status = trial.client(client).await.status;
        turns.push(Turn { client, step: step(&mut draw, &kinds, client, status) });
        trial.turn(turns.last().expect("one was drawn")).await?;
    }
    trial.end().await
}

async fn replay(stage: &Stage, turns: &[Turn]) -> Result<(), String> {
    let mut trial = Trial::begin(stage).await?;
    for turn in turns {
        trial.turn(turn).await?;
    }
    trial.end().await
}

struct Trial<'a> {
    stage: &'a Stage,
    clients: Vec<Option<Both>>,
    stranger: One,
}

impl<'a> Trial<'a> {
    async fn begin(stage: &'a Stage) -> Result<Self, String> {
        // All participants of the last trial have left.
        stage.only(0).await;
        stage.same_locks(true).await?;
        stage.no_temporary().await?;
        stage.prepare().await;
        Ok(Self { stage, clients: (0..CLIENTS_MAX).map(|_| None).collect(), stranger: stage.pooled().await })
    }

    async fn client(&mut self, at: usize) -> &mut Both {
        let slot = &mut self.clients[at];
        if slot.is_none() {
            *slot = Some(Both {
                pooled: self.stage.pooled().await,
                direct: self.stage.direct().await,
                status: b'I',
            });
        }
        slot.as_mut().expect("it is there now")
    }

    async fn turn(&mut self, turn: &Turn) -> Result<(), String> {
        let Turn { client, step } = turn;
        let both = self.client(*client).await;
        match step {
            Step::Say { bytes, ready, .. } => both.say(bytes, *ready).await?,
            Step::Vanish => self.part(*client, false, &[]).await?,
            Step::Leave => self.part(*client, true, &[]).await?,
            Step::Break { bytes, .. } => self.part(*client, false, bytes).await?,
        }
        self.stage.look(&mut self.stranger).await
    }

    /// A client goes.
    async fn part(&mut self, client: usize, farewell: bool, bytes: &[u8]) -> Result<(), String> {
        let Some(Both { pooled, direct, .. }) = self.clients[client].take() else { return Ok(()) };
        let pid = direct.pid();
        if bytes.is_empty() {
            pooled.end(farewell).await;
            direct.end(farewell).await;
        } else {
            pooled.break_off(bytes).await;
            direct.break_off(bytes).await;
        }
        self.stage.gone(pid).await;
        // The last request may be in progress for a while: no client reads the response.
        self.stage.only(self.clients.iter().flatten().count() + 1).await;
        self.stage.same_locks(false).await
    }

    /// Every client checks its own state and leaves; then no state may remain.
    async fn end(mut self) -> Result<(), String> {
        for both in self.clients.iter_mut().flatten() {
            for sql in ["ROLLBACK", PEEK] {
                both.say(&query(sql), 1).await?;
            }
        }
        // Notifications sent during other work have arrived by now.
        for client in 0..self.clients.len() {
            if let Some(both) = &mut self.clients[client] {
                both.say(&query("SELECT 1"), 1).await?;
                if both.pooled.notified != both.direct.notified {
                    return Err("notifications differ".into());
                }
            }
            self.part(client, client % 2 == 0, &[]).await?;
        }
        self.stranger.end(true).await;
        let mut strangers = Vec::new();
        for count in 0..self.stage.backends().await {
            let mut stranger = self.stage.pooled().await;
            stranger.ask("BEGIN").await?;
            self.stage.look(&mut stranger).await?;
            let currval = if count % 2 == 0 {
                stranger.ask("SELECT currval('kept')").await
            } else {
                stranger.ask_extended("SELECT currval('kept')").await
            };
            if currval != Err("55000".into()) {
                return Err(format!("another session's currval: {currval:?}"));
            }
            strangers.push(stranger);
        }
        self.stage.no_temporary().await
    }
}

impl Both {
    /// Sends equal bytes on both connections, and compares the responses.
    async fn say(&mut self, bytes: &[u8], ready: usize) -> Result<(), String> {
        let pooled = self.pooled.say(bytes, ready).await;
        let direct =
            self.direct.say(bytes, ready).await.map_err(|why| format!("the server itself: {why}"))?;
        let pooled = pooled?;
        if pooled != direct {
            return Err(format!("the answers differ:\n  pooled {pooled:?}\n  direct {direct:?}"));
        }
        self.status = direct.last().and_then(|last| last.body.first()).copied().unwrap_or(b'I');
        Ok(())
    }
}
