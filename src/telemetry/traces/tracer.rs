//! What sessions hold of the traces: whether something is sampled, and where its span is handed in.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::sync::mpsc;

use super::{Exporter, Parent, Span, SpanId, TraceSettings};
use crate::telemetry::{TraceMetrics, labels::Outcome};

/// Traces, or the absence of them. Cheap to clone.
#[derive(Clone)]
pub struct Tracer {
    on: Option<Arc<On>>,
}

struct On {
    /// Of 2⁶⁴: what falls below is sampled.
    threshold: u64,
    /// What had no parent so far.
    seen: AtomicU64,
    spans: mpsc::Sender<Span>,
    metrics: TraceMetrics,
}

/// Where a span belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpanContext {
    /// The trace.
    pub trace: [u8; 16],
    /// The span itself.
    pub span: SpanId,
    /// The span that it is part of.
    pub parent: Option<SpanId>,
}

/// All of a million.
const MILLION: u64 = 1_000_000;
/// The golden ratio of 2⁶⁴: its multiples spread evenly, however few are taken.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

// === impl Tracer ===

impl Tracer {
    /// No traces.
    #[must_use]
    pub const fn off() -> Self {
        Self { on: None }
    }

    /// Traces by `settings`, and who sends them.
    #[must_use]
    pub fn new(settings: &TraceSettings, metrics: TraceMetrics) -> (Self, Exporter) {
        let (spans, queue) = mpsc::channel(settings.queue);
        let exporter = Exporter::new(settings.collector.clone(), queue, metrics.clone());
        let threshold = u64::MAX / MILLION * u64::from(settings.per_million).min(MILLION);
        let on = On { threshold, seen: AtomicU64::new(0), spans, metrics };
        (Self { on: Some(Arc::new(on)) }, exporter)
    }

    /// Whether anything at all is traced.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.on.is_some()
    }

    /// A new span's place, if it is sampled: as its parent is, or, without one, as the ratio has it.
    #[must_use]
    pub fn sample(&self, parent: Option<Parent>) -> Option<SpanContext> {
        let on = self.on.as_ref()?;
        let sampled = match parent {
            Some(parent) => parent.sampled,
            None => {
                let turn = on.seen.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
                on.threshold > 0 && turn.wrapping_mul(GOLDEN) <= on.threshold
            }
        };
        if !sampled {
            return None;
        }
        let trace = match parent {
            Some(parent) => parent.trace,
            None => chance()?,
        };
        Some(SpanContext { trace, span: chance()?, parent: parent.map(|parent| parent.span) })
    }

    /// Hands in a span that is over. Without room it is dropped, and counted.
    pub fn submit(&self, span: Span) {
        if let Some(on) = &self.on
            && on.spans.try_send(span).is_err()
        {
            on.metrics.spans(Outcome::Error, 1);
        }
    }
}

// === impl SpanContext ===

impl SpanContext {
    /// The place of a span that is part of this one; `None`: the system has no chance to give.
    #[must_use]
    pub fn inside(&self) -> Option<Self> {
        Some(Self { trace: self.trace, span: chance()?, parent: Some(self.span) })
    }
}

/// Bytes that nobody else draws; not all of them 0, which would be none.
fn chance<const N: usize>() -> Option<[u8; N]> {
    let mut drawn = [0; N];
    aws_lc_rs::rand::fill(&mut drawn).ok()?;
    (drawn != [0; N]).then_some(drawn)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Metrics;

    fn tracer(per_million: u32) -> (Tracer, Exporter) {
        let settings =
            TraceSettings { collector: "http://127.0.0.1:9".parse().unwrap(), per_million, queue: 4 };
        Tracer::new(&settings, Metrics::new().traces())
    }

    #[test]
    fn as_many_are_sampled_as_the_ratio_has_it() {
        for (per_million, expected) in
            [(0, 0..=0), (10_000, 95..=105), (500_000, 4990..=5010), (1_000_000, 9_999..=10_000)]
        {
            let (tracer, _exporter) = tracer(per_million);
            let sampled = (0..10_000).filter(|_| tracer.sample(None).is_some()).count();
            assert!(expected.contains(&sampled), "{per_million}: {sampled}");
        }
        assert_eq!(Tracer::off().sample(None), None);
    }

    #[test]
    fn what_has_a_parent_is_sampled_as_its_parent_is() {
        let parent = |sampled| Some(Parent { trace: [1; 16], span: [2; 8], sampled });
        let (always, _exporter) = tracer(1_000_000);
        assert_eq!(always.sample(parent(false)), None);
        let (never, _exporter) = tracer(0);
        let context = never.sample(parent(true)).unwrap();
        assert_eq!((context.trace, context.parent), ([1; 16], Some([2; 8])));
        let inside = context.inside().unwrap();
        assert_eq!((inside.trace, inside.parent), ([1; 16], Some(context.span)));
        assert_eq!(Tracer::off().sample(parent(true)), None);
    }
}
