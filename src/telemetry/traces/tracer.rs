//! The sessions' handle for traces: sampling and submission of spans.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::sync::mpsc;

use super::{Exporter, Parent, Span, SpanId, TraceSettings};
use crate::telemetry::{TraceMetrics, labels::Outcome};

/// The tracer, or none. Cheap to clone.
#[derive(Clone)]
pub struct Tracer {
    on: Option<Arc<On>>,
}

struct On {
    /// Sampling threshold out of 2⁶⁴.
    threshold: u64,
    /// Number of spans without a parent.
    seen: AtomicU64,
    spans: mpsc::Sender<Span>,
    metrics: TraceMetrics,
}

/// Position of a span in a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpanContext {
    /// The trace.
    pub trace: [u8; 16],
    /// The span.
    pub span: SpanId,
    /// The parent span.
    pub parent: Option<SpanId>,
}

/// Scale of the sampling ratio.
const MILLION: u64 = 1_000_000;
/// 2⁶⁴ divided by the golden ratio: its multiples are evenly distributed.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

// === impl Tracer ===

impl Tracer {
    /// No traces.
    #[must_use]
    pub const fn off() -> Self {
        Self { on: None }
    }

    /// A tracer with its exporter.
    #[must_use]
    pub fn new(settings: &TraceSettings, metrics: TraceMetrics) -> (Self, Exporter) {
        let (spans, queue) = mpsc::channel(settings.queue);
        let exporter = Exporter::new(settings.target.clone(), queue, metrics.clone());
        let threshold = u64::MAX / MILLION * u64::from(settings.per_million).min(MILLION);
        let on = On { threshold, seen: AtomicU64::new(0), spans, metrics };
        (Self { on: Some(Arc::new(on)) }, exporter)
    }

    /// True if tracing is on.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.on.is_some()
    }

    /// Context of a new span if sampled: by its parent's decision, else by the ratio.
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
            None => random_id()?,
        };
        Some(SpanContext { trace, span: random_id()?, parent: parent.map(|parent| parent.span) })
    }

    /// Submits an ended span; drops and counts the span if the queue is full.
    pub fn submit(&self, span: Span) {
        if let Some(on) = &self.on
            && on.spans.try_send(span).is_err()
        {
            on.metrics.count_spans(Outcome::Error, 1);
        }
    }
}

// === impl SpanContext ===

impl SpanContext {
    /// Context of a child span; `None` if the system provides no random numbers.
    #[must_use]
    pub fn inside(&self) -> Option<Self> {
        Some(Self { trace: self.trace, span: random_id()?, parent: Some(self.span) })
    }
}

/// Random bytes, not all 0, because all-zero ids are invalid.
fn random_id<const N: usize>() -> Option<[u8; N]> {
    let mut drawn = [0; N];
    aws_lc_rs::rand::fill(&mut drawn).ok()?;
    (drawn != [0; N]).then_some(drawn)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{Metrics, otlp::ExportTarget};

    fn tracer(per_million: u32) -> (Tracer, Exporter) {
        let target = ExportTarget::at("http://127.0.0.1:9");
        let settings = TraceSettings { target, per_million, queue: 4 };
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
