//! Durations (`10s`, `500ms`, `1m30s`) and sizes (`8KiB`, `64MiB`): texts with units, read and written.

use std::time::Duration;

/// Remedy for a duration.
pub(super) const DURATION_FORM: &str =
    "a number with its unit (ms, s, m, h, d), as in \"500ms\", \"10s\", \"1m30s\"";
/// Remedy for a size.
pub(super) const SIZE_FORM: &str =
    "a number with its unit (B, KiB, MiB, GiB), as in \"512B\", \"8KiB\", \"64MiB\"";

/// Milliseconds of each unit, longest first.
const DURATION_UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
/// Bytes of each unit, largest first.
const SIZE_UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];
/// Maximum duration in milliseconds, which keeps sums with clock values from overflowing.
const MAX_DURATION_MILLISECONDS: u64 = 3_650 * 86_400_000;

/// Parses `500ms`, `10s`, `5m`, `1h`, `7d` or several of them in descending order; `0` needs no unit.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut units = DURATION_UNITS.iter();
    let mut total = 0_u64;
    while !rest.is_empty() {
        let (number, after) = split_number(rest)?;
        let end = after.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(after.len());
        let (unit, next) = after.split_at(end);
        let (_, milliseconds) = units.find(|(name, _)| *name == unit)?;
        total = total.checked_add(number.checked_mul(*milliseconds)?)?;
        rest = next;
    }
    (!text.is_empty() && total <= MAX_DURATION_MILLISECONDS).then(|| Duration::from_millis(total))
}

/// Formats a duration for [`parse_duration`]; truncates below a millisecond.
pub(super) fn show_duration(duration: Duration) -> String {
    let mut left = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (unit, milliseconds) in DURATION_UNITS {
        if left >= milliseconds {
            text.push_str(&format!("{}{unit}", left / milliseconds));
            left %= milliseconds;
        }
    }
    if text.is_empty() { "0".to_owned() } else { text }
}

/// Parses `512B`, `8KiB`, `64MiB` or `1GiB`.
pub(super) fn parse_size(text: &str) -> Option<u64> {
    let (number, unit) = split_number(text)?;
    let (_, bytes) = SIZE_UNITS.iter().find(|(name, _)| *name == unit)?;
    number.checked_mul(*bytes)
}

/// Formats a size in the largest unit that divides it.
pub(super) fn show_size(bytes: u64) -> String {
    let (unit, factor) = SIZE_UNITS
        .into_iter()
        .find(|(_, factor)| bytes > 0 && bytes.is_multiple_of(*factor))
        .unwrap_or(("B", 1));
    format!("{}{unit}", bytes / factor)
}

/// The leading digits of a text, at least one, and the rest.
fn split_number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    Some((digits.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written_back() {
        for (text, milliseconds) in [
            ("0", 0),
            ("500ms", 500),
            ("10s", 10_000),
            ("5m", 300_000),
            ("1m30s", 90_000),
            ("1h", 3_600_000),
            ("7d", 604_800_000),
            ("1s500ms", 1_500),
        ] {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(milliseconds)), "{text}");
            assert_eq!(show_duration(Duration::from_millis(milliseconds)), text);
        }
        let wrong = ["", "10", "s", "10 s", "1.5s", "-1s", "10sec", "30s1m", "1s1s", "9999999999d", "4000d"];
        for text in wrong {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_are_read_and_written_back() {
        for (text, bytes) in
            [("0B", 0), ("512B", 512), ("8KiB", 8192), ("64MiB", 64 << 20), ("3GiB", 3 << 30)]
        {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
            assert_eq!(show_size(bytes), text);
        }
        for wrong in ["", "10", "KiB", "1 KiB", "1kb", "1MB", "99999999999GiB"] {
            assert_eq!(parse_size(wrong), None, "{wrong}");
        }
    }
}
