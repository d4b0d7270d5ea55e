//! The page in the [OpenMetrics](https://prometheus.io/docs/specs/om/open_metrics_spec/) 1.0 format.
//!
//! Promises: the same series with identical numbers, and names that are equal in queries. Refuses to know: the meaning
//! of metrics.
//!
//! The formats differ little, so the text page is converted: counter families lose `_total`, units get a line, bucket
//! bounds get a fraction, blank lines vanish, and an end mark shows that the page is complete.

use std::fmt::Write as _;

/// Converts a page in the text format 0.0.4.
pub(super) fn from_text(page: &str) -> String {
    let mut metrics = String::with_capacity(page.len() + page.len() / 16);
    for line in page.lines().filter(|line| !line.is_empty()) {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, help) = help.split_once(' ').unwrap_or((help, ""));
            let _ = writeln!(metrics, "# HELP {} {}", family_name(name), help.replace('"', "\\\""));
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap_or((kind, "unknown"));
            let family = family_name(name);
            let _ = writeln!(metrics, "# TYPE {family} {kind}");
            if let Some(unit) = unit_of(family) {
                let _ = writeln!(metrics, "# UNIT {family} {unit}");
            }
        } else {
            match split_bound(line) {
                Some((before, bound, after)) => {
                    let _ = writeln!(metrics, "{before}{}{after}", format_number(bound));
                }
                None => {
                    metrics.push_str(line);
                    metrics.push('\n');
                }
            }
        }
    }
    metrics.push_str("# EOF\n");
    metrics
}

/// Name of a metric's family.
fn family_name(name: &str) -> &str {
    name.strip_suffix("_total").unwrap_or(name)
}

/// The unit: the last word of the name.
pub(super) fn unit_of(family: &str) -> Option<&'static str> {
    ["seconds", "bytes"].into_iter().find(|unit| family.ends_with(unit))
}

/// A bucket's bound, with the text before and after.
fn split_bound(line: &str) -> Option<(&str, f64, &str)> {
    // A quotation mark within a value is escaped, so the match is a label's name.
    const LABEL: &str = "le=\"";
    let name = line.rfind(LABEL).filter(|name| line[..*name].ends_with([',', '{']))?;
    let start = name + LABEL.len();
    let end = start + line[start..].find('"')?;
    Some((&line[..start], line[start..end].parse().ok()?, &line[end..]))
}

/// A number in canonical form: with a fraction or an exponent.
fn format_number(bound: f64) -> String {
    if bound.is_infinite() {
        return "+Inf".to_owned();
    }
    if bound != 0.0 && bound < 1e-4 {
        // An exponent needs two digits.
        let short = format!("{bound:e}");
        let (digits, exponent) = short.split_once("e-").unwrap_or((&short, "0"));
        return format!("{digits}e-{exponent:0>2}");
    }
    format!("{bound:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# HELP gatekeeper_traffic_bytes_total Bytes, \"relayed\".
# TYPE gatekeeper_traffic_bytes_total counter
gatekeeper_traffic_bytes_total{endpoint=\"a le=\\\"7\"} 9007199254740993

# HELP gatekeeper_wait_seconds Waits.
# TYPE gatekeeper_wait_seconds histogram
gatekeeper_wait_seconds_bucket{endpoint=\"a\",le=\"0.00001\"} 1
gatekeeper_wait_seconds_bucket{endpoint=\"a\",le=\"0.0005\"} 1
gatekeeper_wait_seconds_bucket{endpoint=\"a\",le=\"10\"} 2
gatekeeper_wait_seconds_bucket{endpoint=\"a\",le=\"+Inf\"} 2
gatekeeper_wait_seconds_sum{endpoint=\"a\"} 1.000000001
gatekeeper_wait_seconds_count{endpoint=\"a\"} 2

# HELP gatekeeper_token_expiry_timestamp_seconds When.
# TYPE gatekeeper_token_expiry_timestamp_seconds gauge
gatekeeper_token_expiry_timestamp_seconds 1795012345.678
gatekeeper_token_expiry_timestamp_seconds{endpoint=\"b\"} NaN
# TYPE gatekeeper_clients gauge
gatekeeper_clients 0
";

    const OPEN: &str = "\
# HELP gatekeeper_traffic_bytes Bytes, \\\"relayed\\\".
# TYPE gatekeeper_traffic_bytes counter
# UNIT gatekeeper_traffic_bytes bytes
gatekeeper_traffic_bytes_total{endpoint=\"a le=\\\"7\"} 9007199254740993
# HELP gatekeeper_wait_seconds Waits.
# TYPE gatekeeper_wait_seconds histogram
# UNIT gatekeeper_wait_seconds seconds
gatekeeper_wait_seconds_bucket{endpoint=\"a\",le=\"1e-05\"} 1
gatekeeper_wait_seconds_bucket{endpoint=\"a\",le=\"0.0005\"} 1
gatekeeper_wait_seconds_bucket{endpoint=\"a\",le=\"10.0\"} 2
gatekeeper_wait_seconds_bucket{endpoint=\"a\",le=\"+Inf\"} 2
gatekeeper_wait_seconds_sum{endpoint=\"a\"} 1.000000001
gatekeeper_wait_seconds_count{endpoint=\"a\"} 2
# HELP gatekeeper_token_expiry_timestamp_seconds When.
# TYPE gatekeeper_token_expiry_timestamp_seconds gauge
# UNIT gatekeeper_token_expiry_timestamp_seconds seconds
gatekeeper_token_expiry_timestamp_seconds 1795012345.678
gatekeeper_token_expiry_timestamp_seconds{endpoint=\"b\"} NaN
# TYPE gatekeeper_clients gauge
gatekeeper_clients 0
# EOF
";

    #[test]
    fn both_formats_say_the_same() {
        assert_eq!(from_text(TEXT), OPEN);
        assert_eq!(from_text(""), "# EOF\n");
    }

    #[test]
    fn bounds_are_written_with_a_fraction_or_an_exponent() {
        for (bound, written) in
            [(0.00002, "2e-05"), (0.0001, "0.0001"), (0.5, "0.5"), (1.0, "1.0"), (30.0, "30.0")]
        {
            assert_eq!(format_number(bound), written);
        }
    }
}
