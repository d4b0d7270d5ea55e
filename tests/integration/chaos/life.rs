//! The life of a client: a sequence of actions, drawn from the seed and recorded in the history.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use super::{
    connection::{Answer, Together, Voice, Way},
    history::{Entry, Fact, Failure, History, Outcome},
    nemesis::Weather,
    statement::{Deed, FIRST_LIST, PAIRS, REGISTERS, Statement},
};
use crate::harness::draw::Draw;

pub(super) struct Life {
    listener: SocketAddr,
    weather: Arc<Weather>,
    mistake: Mistake,
    draw: Draw,
    voice: Option<Voice>,
    history: History,
    ops: i64,
    /// Start of the current action.
    began: Duration,
}

/// A mistake of the client itself, so that the judge has a fault to find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mistake {
    None,
    /// Now and then an append is sent twice, and recorded once.
    SaysTwice,
}

/// Number of lists with appends of all clients at a time.
const LISTS: usize = 4;
/// Number of writes before the next lists are used: no list grows without end.
const WRITES_PER_LISTS: i64 = 40;
/// Maximum pause between two actions of a client, in milliseconds.
const PAUSE: usize = 20;
/// After a login that failed.
const RECONNECT: Duration = Duration::from_millis(100);
const WAYS: [Way; 3] = [Way::Simple, Way::Extended, Way::Prepared];
const COMMIT: Deed = Deed::Control("COMMIT");
const ROLLBACK: Deed = Deed::Control("ROLLBACK");

impl Life {
    /// The client with the number `client`: even numbers use raw frames, odd numbers a driver.
    pub(super) fn new(
        client: usize,
        seed: u64,
        listener: SocketAddr,
        weather: Arc<Weather>,
        mistake: Mistake,
    ) -> Self {
        let draw = Draw::new(seed ^ (client as u64 + 1).wrapping_mul(0xd6e8_feb8_6659_fd93));
        let history = History { client, entries: Vec::new() };
        let began = weather.elapsed();
        Self { listener, weather, mistake, draw, voice: None, history, ops: 0, began }
    }

    /// Lives until `stop`.
    pub(super) async fn live(mut self, stop: Arc<AtomicBool>) -> History {
        while !stop.load(Ordering::Relaxed) {
            self.began = self.weather.elapsed();
            if self.voice.is_some() && self.draw.once_in(300) {
                self.voice = None;
            }
            if self.voice.is_none() {
                self.connect().await;
                continue;
            }
            self.something().await;
            let pause = self.draw.below(PAUSE);
            tokio::time::sleep(Duration::from_millis(pause as u64)).await;
        }
        self.history
    }

    async fn connect(&mut self) {
        match Voice::connect(self.listener, self.history.client.is_multiple_of(2)).await {
            Ok(voice) => {
                self.voice = Some(voice);
                self.note("log in".to_owned(), false, vec![Fact::Met]);
            }
            Err(why) => {
                self.note("log in".to_owned(), false, vec![Fact::Failed { why }]);
                tokio::time::sleep(RECONNECT).await;
            }
        }
    }

    async fn something(&mut self) {
        let way = self.draw.one(&WAYS);
        match self.draw.below(100) {
            0..14 => {
                let deed = self.write();
                self.do_at_once(&[deed], way, Together::Pipelined).await;
            }
            14..24 => {
                let deed = self.append();
                self.do_at_once(&[deed], way, Together::Pipelined).await;
            }
            24..26 => {
                let op = self.op();
                self.do_at_once(&[Deed::Lie { op }], way, Together::Pipelined).await;
            }
            26..36 => {
                let (deeds, together) =
                    (self.several(), self.draw.one(&[Together::Pipelined, Together::Batch]));
                self.do_at_once(&deeds, way, together).await;
            }
            36..43 => self.transaction(way).await,
            43..47 => self.move_some(way).await,
            47..55 => self.look(way).await,
            55..57 => {
                let register = self.register();
                self.do_at_once(&[Deed::ReadSlowly { register }], way, Together::Pipelined).await;
            }
            _ => {
                let deed = self.read();
                self.do_at_once(&[deed], way, Together::Pipelined).await;
            }
        }
    }

    fn op(&mut self) -> i64 {
        self.ops += 1;
        self.history.client as i64 * 100_000_000 + self.ops
    }

    fn register(&mut self) -> i64 {
        self.draw.below(REGISTERS) as i64
    }

    fn write(&mut self) -> Deed {
        Deed::Write { register: self.register(), op: self.op() }
    }

    fn append(&mut self) -> Deed {
        Deed::Append { list: self.list(), op: self.op() }
    }

    fn list(&mut self) -> i64 {
        let generation = self.ops / WRITES_PER_LISTS;
        FIRST_LIST + generation * LISTS as i64 + self.draw.below(LISTS) as i64
    }

    fn read(&mut self) -> Deed {
        if self.draw.once_in(3) {
            Deed::ReadList { list: self.list() }
        } else {
            Deed::Read { register: self.register(), wording: self.draw.below(4) }
        }
    }

    /// A write with reads of the same register, together.
    fn several(&mut self) -> Vec<Deed> {
        let write = if self.draw.once_in(2) { self.write() } else { self.append() };
        let read = match write {
            Deed::Write { register, .. } => Deed::Read { register, wording: self.draw.below(4) },
            Deed::Append { list, .. } => Deed::ReadList { list },
            other => other,
        };
        match self.draw.below(3) {
            0 => vec![write, read],
            1 => vec![self.read(), write, read, self.read()],
            _ => vec![self.read(), self.read(), self.read()],
        }
    }

    async fn say(&mut self, deeds: &[Deed], way: Way, together: Together) -> Vec<Answer> {
        let statements: Vec<Statement> = deeds.iter().map(|deed| deed.statement()).collect();
        let Some(voice) = &mut self.voice else {
            return deeds.iter().map(|_| Err(Failure::lost("no connection"))).collect();
        };
        let answers = voice.say(&statements, way, together).await;
        if answers.iter().any(|answer| answer.as_ref().is_err_and(|why| why.lost)) {
            self.voice = None;
        }
        answers
    }

    /// Runs one statement within a transaction.
    async fn say_one(&mut self, deed: Deed, way: Way) -> Answer {
        self.say(&[deed], way, Together::Pipelined).await.remove(0)
    }

    /// Runs statements outside any transaction.
    async fn do_at_once(&mut self, deeds: &[Deed], way: Way, together: Together) {
        let answers = self.say(deeds, way, together).await;
        let mut facts = Vec::new();
        for (deed, answer) in deeds.iter().zip(&answers) {
            match answer {
                Ok(rows) => {
                    facts.extend(deed.facts_from(rows));
                    facts.extend(deed.came_to(Outcome::Done));
                }
                Err(why) => {
                    facts.extend(deed.came_to(outcome(why)));
                    facts.push(failed(why));
                }
            }
        }
        if self.mistake == Mistake::SaysTwice
            && let [deed @ Deed::Append { .. }] = deeds
            && self.draw.once_in(10)
        {
            let _ = self.say(&[*deed], way, together).await;
        }
        let read = deeds.iter().all(|deed| deed.reads()) && answers.iter().all(Result::is_ok);
        self.note(format!("{way:?} {together:?} {deeds:?}"), read, facts);
    }

    /// Writes, and reads the write, in a transaction with COMMIT or ROLLBACK.
    async fn transaction(&mut self, way: Way) {
        let mut deeds = Vec::new();
        // A fixed order, so that few transactions deadlock.
        let write = self.write();
        if let Deed::Write { register, .. } = write {
            deeds.extend([write, Deed::Read { register, wording: self.draw.below(4) }]);
        }
        let append = self.append();
        if let Deed::Append { list, .. } = append {
            deeds.extend([append, Deed::ReadList { list }]);
        }
        let commits = !self.draw.once_in(4);
        self.through(deeds, commits, way).await;
    }

    /// Moves an amount from one account of a pair to the other.
    async fn move_some(&mut self, way: Way) {
        let (pair, amount) = (self.draw.below(PAIRS) as i64, self.draw.below(50) as i64);
        let deeds = vec![
            Deed::Move { account: 2 * pair, amount: -amount },
            Deed::Move { account: 2 * pair + 1, amount },
        ];
        self.through(deeds, true, way).await;
    }

    /// A transaction that may write; in one message, or step by step.
    async fn through(&mut self, deeds: Vec<Deed>, commits: bool, way: Way) {
        let end = if commits { COMMIT } else { ROLLBACK };
        let begin = Deed::Control(self.draw.one(&[
            "BEGIN",
            "START TRANSACTION",
            "BEGIN ISOLATION LEVEL READ COMMITTED",
        ]));
        let at_once = self.draw.once_in(3);
        let what = format!(
            "{way:?} {} {begin:?} {deeds:?} {end:?}",
            if at_once { "at once" } else { "step by step" }
        );
        let mut facts = vec![Fact::Began];
        let mut broke: Option<Failure> = None;
        let mut said_commit = false;
        if at_once {
            let all = [&[begin][..], &deeds, &[end]].concat();
            let answers = self.say(&all, way, Together::Pipelined).await;
            for (deed, answer) in all.iter().zip(answers) {
                match answer {
                    Ok(rows) if broke.is_none() => facts.extend(deed.facts_from(&rows)),
                    Ok(_) => {}
                    // The first failure has the cause; the end of the connection outweighs all others.
                    Err(why) if broke.is_none() || why.lost => broke = Some(why),
                    Err(_) => {}
                }
            }
            said_commit = commits;
        } else {
            for deed in [begin].into_iter().chain(deeds.iter().copied()) {
                match self.say_one(deed, way).await {
                    Ok(rows) => facts.extend(deed.facts_from(&rows)),
                    Err(why) => {
                        broke = Some(why);
                        break;
                    }
                }
            }
            if broke.is_none() {
                said_commit = commits;
                broke = self.say_one(end, way).await.err();
            } else if self.voice.is_some() {
                let _ = self.say_one(ROLLBACK, Way::Simple).await;
            }
        }
        let (end, came_to) = match &broke {
            None if commits => (Fact::Kept, Outcome::Done),
            Some(why) if said_commit && why.leaves_doubt() => (Fact::Undone, Outcome::Unknown),
            _ => (Fact::Undone, Outcome::Never),
        };
        facts.push(end);
        facts.extend(deeds.iter().filter_map(|deed| deed.came_to(came_to)));
        facts.extend(broke.as_ref().map(failed));
        self.note(what, false, facts);
    }

    /// Reads several values in one read-only transaction.
    async fn look(&mut self, way: Way) {
        const REPEATABLE: [&[&str]; 3] = [
            &["BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"],
            &["START TRANSACTION READ ONLY, ISOLATION LEVEL REPEATABLE READ"],
            &["BEGIN", "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"],
        ];
        const COMMITTED: [&[&str]; 2] = [&["BEGIN READ ONLY"], &["BEGIN", "SET TRANSACTION READ ONLY"]];
        let repeatable = !self.draw.once_in(3);
        let begin = if repeatable { self.draw.one(&REPEATABLE) } else { self.draw.one(&COMMITTED) };
        let (pair, register) = (self.draw.below(PAIRS) as i64, self.register());
        let read = Deed::Read { register, wording: self.draw.below(4) };
        let deeds = [
            Deed::ReadAccount { account: 2 * pair },
            read,
            Deed::ReadList { list: self.list() },
            Deed::ReadAccount { account: 2 * pair + 1 },
            read,
        ];
        let what = format!("{way:?} {begin:?} {deeds:?} COMMIT");
        let (mut facts, mut balances, mut versions) = (Vec::new(), Vec::new(), Vec::new());
        for deed in begin.iter().map(|sql| Deed::Control(sql)).chain(deeds).chain([COMMIT]) {
            let rows = match self.say_one(deed, way).await {
                Ok(rows) => rows,
                Err(why) => {
                    if self.voice.is_some() {
                        let _ = self.say_one(ROLLBACK, Way::Simple).await;
                    }
                    facts.push(Fact::Cut { why });
                    return self.note(what, false, facts);
                }
            };
            let number = || rows.first().and_then(|text| text.parse::<i64>().ok());
            match deed {
                Deed::ReadAccount { .. } => balances.extend(number()),
                Deed::Read { .. } => versions.push(number()),
                _ => {}
            }
            facts.extend(deed.facts_from(&rows));
        }
        if repeatable {
            facts.push(Fact::Sum { pair, sum: balances.iter().sum() });
            facts.push(Fact::Twice { register, versions: [versions[0], versions[1]] });
        }
        self.note(what, false, facts);
    }

    fn note(&mut self, what: String, read: bool, facts: Vec<Fact>) {
        let (began, ended) = (self.began, self.weather.elapsed());
        let strike = self.weather.strike_since(began);
        self.history.entries.push(Entry { began, ended, strike, what, read, facts });
    }
}

fn outcome(why: &Failure) -> Outcome {
    if why.leaves_doubt() { Outcome::Unknown } else { Outcome::Never }
}

fn failed(why: &Failure) -> Fact {
    let why = why.clone();
    if why.is_the_servers_own() { Fact::Refused { why } } else { Fact::Failed { why } }
}
