//! Judges histories: rules that no session may ever see broken, whatever happens to the servers.
//!
//! The judge does not know the origin of a history, so that a test can show that each rule catches its fault.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use super::{
    history::{Entry, Fact, History, Outcome},
    statement::SUM,
};

/// A promise that was not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Broken {
    pub(super) client: usize,
    /// The entry that shows the fault.
    pub(super) at: Option<usize>,
    pub(super) why: String,
}

/// Contents of the primary at the end.
#[derive(Debug, Default)]
pub(super) struct Ending {
    /// How often each write was applied.
    pub(super) applied: HashMap<i64, usize>,
    /// Number of times that each append stands in its list.
    pub(super) listed: HashMap<i64, usize>,
}

/// When the primary's clients were hit.
pub(super) type Hits = [(Duration, Duration)];

/// Writes of a session, as far as acknowledged.
#[derive(Debug, Default, Clone)]
struct Own {
    registers: HashMap<i64, i64>,
    lists: HashMap<i64, Vec<i64>>,
}

/// Time after an attack on the primary's clients in which a session may still get a lost backend.
const AFTERMATH: Duration = Duration::from_secs(5);

/// The first thing in the history that must not be.
pub(super) fn judge(history: &History, hits: &Hits) -> Result<(), Broken> {
    let (mut own, mut before) = (Own::default(), Own::default());
    for (at, entry) in history.entries.iter().enumerate() {
        for fact in &entry.facts {
            let verdict = match fact {
                Fact::Met => {
                    own = Own::default();
                    Ok(())
                }
                Fact::Began => {
                    before = own.clone();
                    Ok(())
                }
                Fact::Undone => {
                    own = before.clone();
                    Ok(())
                }
                Fact::Failed { why } if !why.begun && !excused(entry, hits) => {
                    Err(format!("nothing excuses this: {why}"))
                }
                other => own.meets(other),
            };
            verdict.map_err(|why| Broken { client: history.client, at: Some(at), why })?;
        }
    }
    Ok(())
}

/// Whether the primary's clients were hit meanwhile.
fn excused(entry: &Entry, hits: &Hits) -> bool {
    hits.iter().any(|(from, to)| entry.began <= *to + AFTERMATH && entry.ended >= *from)
}

impl Own {
    fn meets(&mut self, fact: &Fact) -> Result<(), String> {
        match fact {
            Fact::Wrote { register, version: Some(version) } => {
                let last = self.registers.insert(*register, *version);
                if last.is_some_and(|last| last >= *version) {
                    return Err(format!("version {version} of register {register} after {last:?}"));
                }
            }
            Fact::Wrote { register, version: None } => {
                return Err(format!("a write of register {register} that wrote nothing"));
            }
            Fact::Grew { list, op } => self.lists.entry(*list).or_default().push(*op),
            Fact::Sees { register, version } => {
                let least = self.registers.get(register).copied();
                if *version < least || version.is_none() {
                    return Err(format!("register {register} is read as {version:?}, own write {least:?}"));
                }
            }
            Fact::SeesList { list, items } => {
                if items.iter().collect::<HashSet<_>>().len() < items.len() {
                    return Err(format!("list {list} holds an append twice: {items:?}"));
                }
                let own = self.lists.get(list).map(Vec::as_slice).unwrap_or_default();
                let mut rest = items.iter();
                if let Some(missed) = own.iter().find(|op| !rest.any(|item| item == *op)) {
                    return Err(format!(
                        "list {list} lacks own append {missed} in its place: {items:?}, own {own:?}"
                    ));
                }
            }
            Fact::Sum { pair, sum } if *sum != SUM => {
                return Err(format!("pair {pair} holds {sum} in one snapshot"));
            }
            Fact::Twice { register, versions: [one, two] } if one != two => {
                return Err(format!("register {register} changes within one snapshot: {one:?}, {two:?}"));
            }
            _ => {}
        }
        Ok(())
    }
}

/// Checks all writes against the contents at the end.
pub(super) fn judge_end(histories: &[History], ending: &Ending) -> Result<(), Broken> {
    for history in histories {
        for (at, entry) in history.entries.iter().enumerate() {
            let lists: HashSet<i64> = entry
                .facts
                .iter()
                .filter_map(|fact| if let Fact::Grew { op, .. } = fact { Some(*op) } else { None })
                .collect();
            for fact in &entry.facts {
                let Fact::CameTo { op, outcome } = fact else { continue };
                let times = ending.applied.get(op).copied().unwrap_or_default();
                let wrong = match outcome {
                    Outcome::Done => times != 1,
                    Outcome::Never => times != 0,
                    Outcome::Unknown => times > 1,
                };
                let listed = ending.listed.get(op).copied().unwrap_or_default();
                let unlisted = *outcome == Outcome::Done && lists.contains(op) && listed != 1;
                if wrong || unlisted || listed > 1 {
                    let why =
                        format!("write {op} ({outcome:?}) was applied {times} times, listed {listed} times");
                    return Err(Broken { client: history.client, at: Some(at), why });
                }
            }
        }
    }
    let known: HashSet<i64> = histories
        .iter()
        .flat_map(|history| &history.entries)
        .flat_map(|entry| &entry.facts)
        .filter_map(|fact| if let Fact::CameTo { op, .. } = fact { Some(*op) } else { None })
        .collect();
    match ending.applied.keys().find(|op| !known.contains(op)) {
        Some(op) => Err(Broken { client: 0, at: None, why: format!("nobody wrote {op}") }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chaos::history::Failure;

    fn history(facts: Vec<Fact>) -> History {
        let (began, ended) = (Duration::from_secs(10), Duration::from_secs(11));
        let entry = Entry { began, ended, strike: None, what: String::new(), read: false, facts };
        History { client: 0, entries: vec![entry] }
    }

    fn verdict(facts: Vec<Fact>) -> Result<(), Broken> {
        judge(&history(facts), &[])
    }

    fn wrote(version: i64) -> Fact {
        Fact::Wrote { register: 1, version: Some(version) }
    }

    fn sees(version: i64) -> Fact {
        Fact::Sees { register: 1, version: Some(version) }
    }

    fn sees_list(items: &[i64]) -> Fact {
        Fact::SeesList { list: 5, items: items.to_vec() }
    }

    #[test]
    fn a_read_without_the_sessions_own_write_is_caught() {
        verdict(vec![Fact::Met, wrote(3), sees(3), sees(4), sees(3)]).unwrap();
        verdict(vec![Fact::Met, wrote(3), sees(2)]).unwrap_err();
        verdict(vec![Fact::Met, Fact::Sees { register: 1, version: None }]).unwrap_err();
        // Writes of another session do not bind the session.
        verdict(vec![Fact::Met, wrote(3), Fact::Met, sees(2)]).unwrap();
    }

    #[test]
    fn only_committed_writes_are_expected() {
        verdict(vec![Fact::Met, wrote(3), Fact::Began, wrote(4), sees(4), Fact::Undone, sees(3)]).unwrap();
        verdict(vec![Fact::Met, wrote(3), Fact::Began, wrote(4), sees(3)]).unwrap_err();
        verdict(vec![Fact::Met, Fact::Began, wrote(4), Fact::Kept, sees(3)]).unwrap_err();
        verdict(vec![Fact::Met, wrote(3), Fact::Began, wrote(4), Fact::Undone, sees(2)]).unwrap_err();
    }

    #[test]
    fn missing_and_reordered_appends_are_caught() {
        let grew = |op| Fact::Grew { list: 5, op };
        verdict(vec![Fact::Met, grew(1), grew(2), sees_list(&[7, 1, 8, 2])]).unwrap();
        verdict(vec![Fact::Met, grew(1), grew(2), sees_list(&[7, 2, 8, 1])]).unwrap_err();
        verdict(vec![Fact::Met, grew(1), sees_list(&[7])]).unwrap_err();
        verdict(vec![Fact::Met, sees_list(&[7, 7])]).unwrap_err();
    }

    #[test]
    fn a_torn_snapshot_is_caught() {
        verdict(vec![Fact::Sum { pair: 0, sum: SUM }]).unwrap();
        verdict(vec![Fact::Sum { pair: 0, sum: SUM - 1 }]).unwrap_err();
        verdict(vec![Fact::Twice { register: 0, versions: [Some(1), Some(2)] }]).unwrap_err();
    }

    #[test]
    fn only_faults_of_the_primary_excuse_an_error() {
        let failed = history(vec![Fact::Failed { why: Failure::lost("gone") }]);
        judge(&failed, &[]).unwrap_err();
        let at = |from, to| (Duration::from_secs(from), Duration::from_secs(to));
        judge(&failed, &[at(1, 2)]).unwrap_err();
        judge(&failed, &[at(12, 13)]).unwrap_err();
        judge(&failed, &[at(1, 2), at(8, 9)]).unwrap();
        // A response cannot be taken back once begun.
        let begun = Failure { begun: true, ..Failure::lost("gone") };
        verdict(vec![Fact::Failed { why: begun }]).unwrap();
    }

    #[test]
    fn lost_and_repeated_writes_are_caught_and_uncertain_writes_pass() {
        let end = |outcome, times| {
            let histories = [history(vec![Fact::CameTo { op: 9, outcome }])];
            let applied = HashMap::from([(9, times)]);
            judge_end(&histories, &Ending { applied, listed: HashMap::new() }).is_ok()
        };
        let kept: Vec<_> = [Outcome::Done, Outcome::Never, Outcome::Unknown]
            .into_iter()
            .map(|outcome| [0, 1, 2].map(|times| end(outcome, times)))
            .collect();
        assert_eq!(kept, [[false, true, false], [true, false, false], [true, true, false]]);
    }

    #[test]
    fn an_applied_append_missing_in_all_lists_is_caught() {
        let facts = vec![Fact::Grew { list: 5, op: 9 }, Fact::CameTo { op: 9, outcome: Outcome::Done }];
        let applied = HashMap::from([(9, 1)]);
        let ending = Ending { applied, listed: HashMap::new() };
        judge_end(&[history(facts)], &ending).unwrap_err();
    }
}
