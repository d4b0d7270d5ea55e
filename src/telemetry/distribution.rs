//! Histograms that bypass the exporter, formatted for the page.
//!
//! Promises: the format of the exporter's own histograms, written by its functions. Refuses to know: the measured
//! events.
//!
//! The exporter stores durations one by one until the next upkeep sorts them into buckets. Durations of statements are
//! already counted in buckets; passing them on record by record would cost more time and memory than all other
//! counting.

use metrics_exporter_prometheus::{
    LabelSet,
    formatting::{write_help_line, write_metric_line, write_type_line},
};

use super::{
    catalog::{Metric, bound_seconds},
    timings::Total,
};

/// Adds a histogram to a page: all of its series, each with what fell into its buckets.
pub(super) fn write_histogram<'a, const N: usize>(
    page: &mut String,
    metric: &Metric,
    series: impl IntoIterator<Item = (&'a LabelSet, [Total; N])>,
) {
    let mut series = series.into_iter().peekable();
    if series.peek().is_none() {
        return;
    }
    write_help_line(page, metric.name, None, None, metric.help);
    write_type_line(page, metric.name, None, None, "histogram");
    for (labels, buckets) in series {
        show_series(page, metric, labels, &buckets);
    }
    page.push('\n');
}

#[expect(
    clippy::cast_precision_loss,
    reason = "exact up to 2^53 nanoseconds, and no reader keeps more digits"
)]
fn show_series(page: &mut String, metric: &Metric, labels: &LabelSet, buckets: &[Total]) {
    let mut all = Total::default();
    let bounds = metric.bounds().iter().map(|bound| bound_seconds(*bound)).chain([f64::INFINITY]);
    for (bound, bucket) in bounds.zip(buckets) {
        all.add(*bucket);
        // Prometheus writes infinity as `+Inf`.
        let bound = if bound.is_finite() { bound.to_string() } else { "+Inf".to_owned() };
        write_metric_line(page, metric.name, Some("bucket"), labels, Some(("le", bound)), all.count, None);
    }
    let sum = all.nanoseconds as f64 / 1e9;
    write_metric_line::<&str, _>(page, metric.name, Some("sum"), labels, None, sum, None);
    write_metric_line::<&str, _>(page, metric.name, Some("count"), labels, None, all.count, None);
}

#[cfg(test)]
mod tests;
