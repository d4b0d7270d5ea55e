//! Metrics as OTLP's protocol buffers.
//!
//! <https://github.com/open-telemetry/opentelemetry-proto/blob/main/opentelemetry/proto/metrics/v1/metrics.proto>

use std::time::{SystemTime, UNIX_EPOCH};

use super::page::{Family, Sample};
use crate::telemetry::{
    openmetrics::unit_of,
    otlp::{
        Resource,
        protobuf::{
            write_bytes, write_fixed, write_message, write_number, write_resource, write_text_attribute,
        },
    },
};

/// `AGGREGATION_TEMPORALITY_CUMULATIVE`
const CUMULATIVE: u64 = 2;

/// Start of the process, and the time of the numbers.
type Period = (SystemTime, SystemTime);

/// `ExportMetricsServiceRequest` with all of `families`.
pub(super) fn encode_request(families: &[Family<'_>], resource: &Resource, period: Period) -> Vec<u8> {
    let mut out = Vec::new();
    write_message(&mut out, 1, |resource_metrics| {
        write_resource(resource_metrics, 1, resource);
        write_message(resource_metrics, 2, |scope_metrics| {
            write_message(scope_metrics, 1, |scope| write_bytes(scope, 1, b"gatekeeper"));
            for family in families.iter().filter(|family| !family.samples.is_empty()) {
                write_message(scope_metrics, 2, |out| write_metric(out, family, period));
            }
        });
    });
    out
}

/// `Metric`
fn write_metric(out: &mut Vec<u8>, family: &Family<'_>, period: Period) {
    write_bytes(out, 1, family.name.as_bytes());
    write_bytes(out, 2, family.help.as_bytes());
    // UCUM, in which a collector recognizes the unit at the end of the name.
    let unit = match unit_of(family.name.strip_suffix("_total").unwrap_or(family.name)) {
        Some("seconds") => "s",
        Some("bytes") => "By",
        _ => "",
    };
    write_bytes(out, 3, unit.as_bytes());
    match family.kind {
        "counter" => write_message(out, 7, |sum| {
            write_points(sum, family, period);
            write_number(sum, 2, CUMULATIVE);
            write_number(sum, 3, 1);
        }),
        "histogram" => write_message(out, 9, |histogram| {
            for series in series_of(&family.samples) {
                write_message(histogram, 1, |point| write_histogram_point(point, series, period));
            }
            write_number(histogram, 2, CUMULATIVE);
        }),
        _ => write_message(out, 5, |gauge| write_points(gauge, family, period)),
    }
}

/// `NumberDataPoint` of each sample.
fn write_points(out: &mut Vec<u8>, family: &Family<'_>, (started, now): Period) {
    for sample in &family.samples {
        write_message(out, 1, |point| {
            if family.kind == "counter" {
                write_fixed(point, 2, unix_nanoseconds(started));
            }
            write_fixed(point, 3, unix_nanoseconds(now));
            write_fixed(point, 4, sample.value.to_bits());
            write_labels(point, 7, sample);
        });
    }
}

/// The lines of each histogram: buckets in ascending order, sum, and count, which is the last.
fn series_of<'s, 'p>(samples: &'s [Sample<'p>]) -> impl Iterator<Item = &'s [Sample<'p>]> {
    samples.split_inclusive(|sample| sample.suffix == "_count")
}

/// `HistogramDataPoint`. Buckets of the page are cumulative, those of OTLP are not.
fn write_histogram_point(out: &mut Vec<u8>, series: &[Sample<'_>], (started, now): Period) {
    write_fixed(out, 2, unix_nanoseconds(started));
    write_fixed(out, 3, unix_nanoseconds(now));
    let value = |suffix: &str| series.iter().find(|it| it.suffix == suffix).map_or(0.0, |it| it.value);
    write_fixed(out, 4, whole(value("_count")));
    write_fixed(out, 5, value("_sum").to_bits());
    let (mut counts, mut bounds, mut before) = (Vec::new(), Vec::new(), 0.0);
    for bucket in series.iter().filter(|it| it.suffix == "_bucket") {
        counts.extend_from_slice(&whole(bucket.value - before).to_le_bytes());
        before = bucket.value;
        let bound = bucket.labels.iter().find(|(name, _)| *name == "le").map(|(_, bound)| bound.parse());
        if let Some(Ok(bound)) = bound
            && f64::is_finite(bound)
        {
            bounds.extend_from_slice(&bound.to_le_bytes());
        }
    }
    write_bytes(out, 6, &counts);
    write_bytes(out, 7, &bounds);
    if let Some(first) = series.first() {
        write_labels(out, 9, first);
    }
}

/// Attributes, without the bound of a bucket.
fn write_labels(out: &mut Vec<u8>, field: u64, sample: &Sample<'_>) {
    for (name, value) in sample.labels.iter().filter(|(name, _)| *name != "le") {
        write_text_attribute(out, field, name, value);
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts, exact up to 2^53")]
fn whole(count: f64) -> u64 {
    count.max(0.0) as u64
}

fn unix_nanoseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{super::page::read_page, *};

    /// The fields of a message: number, and bytes or the value's own bytes.
    fn fields(mut bytes: &[u8]) -> Vec<(u64, Vec<u8>)> {
        fn varint(bytes: &mut &[u8]) -> u64 {
            let (mut value, mut shift) = (0, 0);
            loop {
                let (first, rest) = bytes.split_first().unwrap();
                *bytes = rest;
                value |= u64::from(first & 0x7F) << shift;
                shift += 7;
                if first & 0x80 == 0 {
                    return value;
                }
            }
        }
        let mut found = Vec::new();
        while !bytes.is_empty() {
            let key = varint(&mut bytes);
            let length = match key & 7 {
                0 => {
                    found.push((key >> 3, varint(&mut bytes).to_le_bytes().to_vec()));
                    continue;
                }
                1 => 8,
                _ => usize::try_from(varint(&mut bytes)).unwrap(),
            };
            let (content, rest) = bytes.split_at(length);
            found.push((key >> 3, content.to_vec()));
            bytes = rest;
        }
        found
    }

    fn field(bytes: &[u8], number: u64) -> Vec<u8> {
        fields(bytes).into_iter().find(|(field, _)| *field == number).unwrap().1
    }

    fn numbers(bytes: &[u8]) -> Vec<u64> {
        bytes.chunks(8).map(|eight| u64::from_le_bytes(eight.try_into().unwrap())).collect()
    }

    fn metrics(page: &str) -> Vec<Vec<u8>> {
        let period = (UNIX_EPOCH + Duration::from_secs(1), UNIX_EPOCH + Duration::from_secs(2));
        let request = encode_request(&read_page(page), &Resource::default(), period);
        let scope = field(&field(&request, 1), 2);
        fields(&scope).into_iter().filter(|(number, _)| *number == 2).map(|(_, metric)| metric).collect()
    }

    #[test]
    fn a_counter_is_a_monotonic_sum() {
        let metrics =
            metrics("# HELP a_bytes_total Help.\n# TYPE a_bytes_total counter\na_bytes_total{x=\"1\"} 7\n");
        let metric = &metrics[0];
        assert_eq!((field(metric, 1), field(metric, 3)), (b"a_bytes_total".to_vec(), b"By".to_vec()));
        let sum = field(metric, 7);
        assert_eq!((numbers(&field(&sum, 2)), numbers(&field(&sum, 3))), (vec![CUMULATIVE], vec![1]));
        let point = field(&sum, 1);
        assert_eq!(numbers(&field(&point, 2)), [1_000_000_000]);
        assert_eq!(numbers(&field(&point, 3)), [2_000_000_000]);
        assert_eq!(numbers(&field(&point, 4)), [7.0_f64.to_bits()]);
        let attribute = field(&point, 7);
        assert_eq!((field(&attribute, 1), field(&field(&attribute, 2), 1)), (b"x".to_vec(), b"1".to_vec()));
    }

    #[test]
    fn a_histogram_has_counts_of_its_own_for_each_bucket() {
        let page = "# TYPE w_seconds histogram\nw_seconds_bucket{e=\"a\",le=\"0.5\"} 1\nw_seconds_bucket{e=\"a\",le=\"1\"} 4\n\
                    w_seconds_bucket{e=\"a\",le=\"+Inf\"} 6\nw_seconds_sum{e=\"a\"} 9.5\nw_seconds_count{e=\"a\"} 6\n\
                    w_seconds_bucket{e=\"b\",le=\"+Inf\"} 0\nw_seconds_sum{e=\"b\"} 0\nw_seconds_count{e=\"b\"} 0\n";
        let histogram = field(&metrics(page)[0], 9);
        let points: Vec<_> = fields(&histogram).into_iter().filter(|(number, _)| *number == 1).collect();
        assert_eq!(points.len(), 2);
        let point = &points[0].1;
        assert_eq!(numbers(&field(point, 4)), [6]);
        assert_eq!(numbers(&field(point, 5)), [9.5_f64.to_bits()]);
        assert_eq!(numbers(&field(point, 6)), [1, 3, 2]);
        assert_eq!(numbers(&field(point, 7)), [0.5_f64.to_bits(), 1.0_f64.to_bits()]);
        let labels = fields(point).into_iter().filter(|(number, _)| *number == 9).count();
        assert_eq!(labels, 1, "the bound is no attribute");
    }

    #[test]
    fn a_gauge_is_a_gauge() {
        let metric = &metrics("# TYPE g gauge\ng NaN\n")[0];
        let point = field(&field(metric, 5), 1);
        assert!(f64::from_bits(numbers(&field(&point, 4))[0]).is_nan());
        assert!(fields(&point).iter().all(|(number, _)| *number != 2), "a gauge has no start");
    }
}
