//! The plan: faults of the servers and their times, drawn from a seed in advance.

use std::{fmt, time::Duration};

use crate::harness::draw::Draw;

/// A fault with the times around the fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Strike {
    /// Quiet time before the fault.
    pub(super) rest: Duration,
    /// Lags of the nodes meanwhile, in the order of the node names.
    pub(super) lags: [Duration; 2],
    pub(super) fault: Fault,
    pub(super) lasts: Duration,
}

/// Kinds of faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    /// Only the lags.
    Lag,
    /// The nodes stop replay.
    Paused(Nodes),
    /// A node stops responding, and its connections stay open.
    Frozen(Node),
    /// A node is killed with all processes.
    Killed(Node),
    /// A node ends all sessions and stops.
    Stopped(Node),
    /// A node's sessions are terminated, again and again.
    TerminatedStandby(Node),
    /// The primary's sessions are terminated, again and again.
    TerminatedPrimary,
    /// Connections to the read pool are reset, new connections refused.
    Cut,
    /// Connections to the read pool carry no data.
    BlackHole,
    /// All to and from the read pool takes longer.
    Delayed(Duration),
    /// Replay waits for no query, and the primary vacuums.
    Conflicts,
    /// A node is promoted by mistake, and rebuilt in the end.
    Promoted(Node),
}

/// A node of the read pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Node {
    First,
    Second,
}

/// A node, or both nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Nodes {
    One(Node),
    Both,
}

/// Length of a plan.
#[derive(Debug, Clone, Copy)]
pub(super) enum Length {
    /// Any number of faults within the given time.
    For(Duration),
    /// Each kind of fault once, for a moment.
    Tour,
}

const NODES: [Node; 2] = [Node::First, Node::Second];

// === impl Node ===

impl Node {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::First => "reads-1",
            Self::Second => "reads-2",
        }
    }
}

// === impl Nodes ===

impl Nodes {
    pub(super) fn names(self) -> impl Iterator<Item = &'static str> {
        NODES.into_iter().filter(move |node| self == Self::Both || self == Self::One(*node)).map(Node::name)
    }
}

// === impl Fault ===

impl Fault {
    /// Kinds of faults, the promotion last.
    const KINDS: usize = 12;

    fn draw(draw: &mut Draw, kind: usize) -> Self {
        let node = draw.one(&NODES);
        let nodes = if draw.once_in(2) { Nodes::Both } else { Nodes::One(node) };
        let delay = Duration::from_millis(10 + draw.below(190) as u64);
        match kind {
            0 => Self::Lag,
            1 => Self::Paused(nodes),
            2 => Self::Frozen(node),
            3 => Self::Killed(node),
            4 => Self::Stopped(node),
            5 => Self::TerminatedStandby(node),
            6 => Self::TerminatedPrimary,
            7 => Self::Cut,
            8 => Self::BlackHole,
            9 => Self::Delayed(delay),
            10 => Self::Conflicts,
            _ => Self::Promoted(node),
        }
    }

    /// The kind of the fault, without the node.
    pub(super) const fn kind(self) -> &'static str {
        match self {
            Self::Lag => "lag",
            Self::Paused(_) => "replay paused",
            Self::Frozen(_) => "node frozen",
            Self::Killed(_) => "node killed",
            Self::Stopped(_) => "node stopped",
            Self::TerminatedStandby(_) => "a node's sessions terminated",
            Self::TerminatedPrimary => "the primary's sessions terminated",
            Self::Cut => "read pool cut off",
            Self::BlackHole => "read pool black-holed",
            Self::Delayed(_) => "read pool delayed",
            Self::Conflicts => "recovery conflicts",
            Self::Promoted(_) => "node promoted by mistake",
        }
    }
}

/// The plan drawn from `seed`.
pub(super) fn draw(seed: u64, length: Length) -> Vec<Strike> {
    let mut draw = Draw::new(seed);
    match length {
        Length::Tour => {
            let mut kinds: Vec<usize> = (0..Fault::KINDS).collect();
            for at in (1..kinds.len()).rev() {
                kinds.swap(at, draw.below(at + 1));
            }
            kinds.into_iter().map(|kind| strike(&mut draw, kind, 300, 700)).collect()
        }
        Length::For(limit) => {
            let mut strikes = Vec::new();
            let mut total = Duration::ZERO;
            while total < limit {
                // A promotion costs a node's rebuilding: less often than the others.
                let mut kind = draw.below(Fault::KINDS);
                if kind == Fault::KINDS - 1 && !draw.once_in(2) {
                    kind = draw.below(Fault::KINDS - 1);
                }
                let strike = strike(&mut draw, kind, 1500, 5000);
                total += strike.rest + strike.lasts;
                strikes.push(strike);
            }
            strikes
        }
    }
}

/// A strike of the given kind; rest and duration are below the given milliseconds.
fn strike(draw: &mut Draw, kind: usize, rest: usize, lasts: usize) -> Strike {
    let mut millis = |from: usize, below: usize| Duration::from_millis((from + draw.below(below)) as u64);
    let (rest, lasts) = (millis(rest / 3, rest), millis(lasts / 3, lasts));
    let mut lag = || {
        if kind == 0 || draw.once_in(4) {
            Duration::from_millis(draw.below(1500) as u64)
        } else {
            Duration::ZERO
        }
    };
    // A lagging node would delay its promotion by the lag.
    let lags = if kind == Fault::KINDS - 1 { [Duration::ZERO; 2] } else { [lag(), lag()] };
    Strike { rest, lags, fault: Fault::draw(draw, kind), lasts }
}

impl fmt::Display for Strike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "after {:?}: {:?} for {:?}", self.rest, self.fault, self.lasts)?;
        if self.lags != [Duration::ZERO; 2] {
            write!(f, ", nodes behind by {:?}", self.lags)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn equal_seeds_draw_equal_plans_and_different_seeds_differ() {
        let length = Length::For(Duration::from_secs(600));
        assert_eq!(draw(7, length), draw(7, length));
        assert_ne!(draw(7, length), draw(8, length));
    }

    #[test]
    fn a_tour_has_every_fault_and_a_long_run_too() {
        for length in [Length::Tour, Length::For(Duration::from_secs(600))] {
            let kinds: BTreeSet<_> = draw(1, length).iter().map(|strike| strike.fault.kind()).collect();
            assert_eq!(kinds.len(), Fault::KINDS, "{kinds:?}");
        }
    }
}
