//! Numbers, durations and names in sentences.

use std::time::Duration;

/// Maximum length of a name that a client has chosen.
const MAX_NAME_CHARACTERS: usize = 40;

/// `9 s`, `2 min 13 s`, `3 d 4 h`: two units at most.
pub(super) fn describe_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match (minutes, hours, days) {
        (0, ..) => format!("{seconds} s"),
        (_, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (_, _, 0) => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

/// `1 session`, `2 sessions`.
pub(super) fn describe_count(count: impl Into<u64>, noun: &str) -> String {
    let count = count.into();
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// A name that a client has chosen: cut, without control characters.
pub(super) fn describe_name(name: &str) -> String {
    let clean = |character: char| if character.is_control() { '\u{fffd}' } else { character };
    let mut text: String = name.chars().take(MAX_NAME_CHARACTERS).map(clean).collect();
    if name.chars().nth(MAX_NAME_CHARACTERS).is_some() {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_two_units_at_most() {
        for (seconds, text) in [
            (0, "0 s"),
            (59, "59 s"),
            (133, "2 min 13 s"),
            (3_600, "1 h 0 min"),
            (86_399, "23 h 59 min"),
            (273_600, "3 d 4 h"),
        ] {
            assert_eq!(describe_duration(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn a_hostile_name_is_short_and_has_one_line() {
        let text = describe_name(&format!("a\nb\x1b[2J{}", "x".repeat(100)));
        assert_eq!(text.chars().count(), MAX_NAME_CHARACTERS + 1);
        assert!(text.starts_with("a\u{fffd}b\u{fffd}[2Jxxx") && text.ends_with("x…"), "{text}");
    }
}
