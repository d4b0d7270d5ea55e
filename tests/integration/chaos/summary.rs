//! Summary of a run, in a few lines.

use std::{collections::BTreeMap, fmt, time::Duration};

use super::{
    history::{Fact, Failure, History, Outcome},
    plan::Strike,
};

pub(super) struct Summary<'a> {
    pub(super) seed: u64,
    pub(super) plan: &'a [Strike],
    pub(super) histories: &'a [History],
    /// Gatekeeper's counters, by series.
    pub(super) counted: &'a BTreeMap<String, f64>,
}

/// Reasons by which a read pool serves.
const SERVED: [&str; 2] = ["read", "read-only"];
/// Rerun reason of a read whose node turned out to be behind.
const TOO_OLD: &str = "answer-too-old";

impl Summary<'_> {
    /// Counts of a metric by the values of a label; zeros are left out.
    fn by(&self, label: &str, metric: &str) -> BTreeMap<&str, f64> {
        let mut counts = BTreeMap::new();
        let series =
            self.counted.iter().filter(|(series, value)| series.starts_with(metric) && **value > 0.0);
        for (series, count) in series {
            let value = series.split_once(&format!("{label}=\"")).and_then(|(_, rest)| rest.split_once('"'));
            if let Some((value, _)) = value {
                *counts.entry(value).or_default() += count;
            }
        }
        counts
    }

    fn facts(&self) -> impl Iterator<Item = &Fact> {
        self.histories.iter().flat_map(|history| &history.entries).flat_map(|entry| &entry.facts)
    }

    fn count(&self, which: impl Fn(&Fact) -> bool) -> usize {
        self.facts().filter(|fact| which(fact)).count()
    }

    /// How often each SQLSTATE was the answer.
    fn states<'f>(&'f self, which: impl Fn(&'f Fact) -> Option<&'f Failure>) -> BTreeMap<&'f str, usize> {
        let mut states = BTreeMap::new();
        for why in self.facts().filter_map(which) {
            let state = if why.state.is_empty() { "connection lost" } else { &why.state };
            *states.entry(state).or_default() += 1;
        }
        states
    }

    /// The longest single read during each kind of fault, and the number of reads.
    fn longest(&self) -> BTreeMap<&'static str, (usize, Duration)> {
        let mut longest: BTreeMap<_, (usize, Duration)> = BTreeMap::new();
        for entry in self.histories.iter().flat_map(|history| &history.entries).filter(|entry| entry.read) {
            let kind = entry.strike.map_or("no fault", |strike| self.plan[strike].fault.kind());
            let (count, most) = longest.entry(kind).or_default();
            *count += 1;
            *most = (*most).max(entry.ended.saturating_sub(entry.began));
        }
        longest
    }
}

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decisions = self.by("reason", "gatekeeper_route_decisions_total");
        let fallbacks = self.by("reason", "gatekeeper_read_fallbacks_total");
        let mut reruns = self.by("cause", "gatekeeper_reruns_total");
        reruns.extend(decisions.get_key_value(TOO_OLD));
        let leased: f64 = SERVED.iter().filter_map(|reason| decisions.get(reason)).sum();
        let fell_back: f64 = fallbacks.values().sum();
        let again: f64 = reruns.values().sum();
        let done = self.histories.iter().map(|history| history.entries.len()).sum::<usize>();
        let came_to =
            |outcome| self.count(|fact| matches!(fact, Fact::CameTo { outcome: o, .. } if *o == outcome));
        writeln!(f, "seed {}: {} clients, {done} operations", self.seed, self.histories.len())?;
        writeln!(
            f,
            "  writes: {} acknowledged, {} refused or rolled back, {} in doubt",
            came_to(Outcome::Done),
            came_to(Outcome::Never),
            came_to(Outcome::Unknown)
        )?;
        writeln!(
            f,
            "  looks: {} registers, {} lists, {} snapshots",
            self.count(|fact| matches!(fact, Fact::Sees { .. })),
            self.count(|fact| matches!(fact, Fact::SeesList { .. })),
            self.count(|fact| matches!(fact, Fact::Sum { .. }))
        )?;
        writeln!(f, "  sessions: {}", self.count(|fact| matches!(fact, Fact::Met)))?;
        for (what, states) in [
            (
                "errors that the primary's own trouble excuses, or an answer that had begun",
                self.states(|fact| if let Fact::Failed { why } = fact { Some(why) } else { None }),
            ),
            (
                "read-only transactions that ended with their node",
                self.states(|fact| if let Fact::Cut { why } = fact { Some(why) } else { None }),
            ),
            (
                "deadlocks and what follows an error",
                self.states(|fact| if let Fact::Refused { why } = fact { Some(why) } else { None }),
            ),
        ] {
            let listed: Vec<_> = states.iter().map(|(state, count)| format!("{state} {count}")).collect();
            writeln!(f, "  {what}: {} ({})", states.values().sum::<usize>(), listed.join(", "))?;
        }
        let share = 100.0 * (leased - again).max(0.0) / (leased + fell_back).max(1.0);
        writeln!(
            f,
            "  reads that asked for a read pool: {}, served by one: {share:.1} %; {fell_back} fell back, {again} ran again",
            leased + fell_back
        )?;
        for (reason, count) in fallbacks {
            writeln!(f, "    fell back, {reason}: {count}")?;
        }
        for (cause, count) in reruns {
            writeln!(f, "    ran again, {cause}: {count}")?;
        }
        let mut faults: BTreeMap<&str, usize> = BTreeMap::new();
        for strike in self.plan {
            *faults.entry(strike.fault.kind()).or_default() += 1;
        }
        let longest = self.longest();
        for (kind, (reads, most)) in &longest {
            let times = faults.get(kind).copied().unwrap_or_default();
            writeln!(f, "  {kind}: {times} times; {reads} reads, the longest {most:.3?}")?;
        }
        for (kind, times) in faults.iter().filter(|(kind, _)| !longest.contains_key(*kind)) {
            writeln!(f, "  {kind}: {times} times; no reads")?;
        }
        Ok(())
    }
}
