//! Assessment of certificates: content and expiry.

use jiff::{SignedDuration, Timestamp};

use super::finding::Opinion;
use crate::tls::{CertificateFacts, CertificateUse};

/// Time to expiry that causes a warning.
const SOON: SignedDuration = SignedDuration::from_hours(14 * 24);

/// Adds the certificates in use to `opinion`: the server's and Gatekeeper's in full, trusted CAs only if they expire
/// soon.
pub(super) fn assess_certificates(opinion: &mut Opinion, certificates: &[CertificateFacts], now: Timestamp) {
    for facts in certificates {
        let what = match facts.usage {
            CertificateUse::Ca => "trusted CA",
            CertificateUse::Identity => "our certificate",
            CertificateUse::Peer => "server's certificate",
        };
        let ends = describe_expiry(facts.not_after, now);
        let line = match facts.usage {
            CertificateUse::Ca => format!("{what} {}; {ends}", facts.subject),
            _ => format!("{what} {}, for {}, by {}; {ends}", facts.subject, list_names(facts), facts.issuer),
        };
        if facts.not_after.duration_since(now) < SOON {
            opinion.warn(line, format!("renew the {what} {}", facts.subject));
        } else if facts.usage != CertificateUse::Ca {
            opinion.note(line);
        }
    }
}

fn describe_expiry(not_after: Timestamp, now: Timestamp) -> String {
    let date = not_after.strftime("%Y-%m-%d %H:%M UTC");
    let left = not_after.duration_since(now);
    let days = left.as_hours() / 24;
    match left.is_negative() {
        true => format!("it ended on {date}"),
        false if days == 1 => format!("it ends on {date}, in 1 day"),
        false => format!("it ends on {date}, in {days} days"),
    }
}

fn list_names(facts: &CertificateFacts) -> String {
    if facts.names.is_empty() { "no name at all".to_owned() } else { facts.names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::doctor::finding::Verdict;

    fn certificate(usage: CertificateUse, days: i64) -> CertificateFacts {
        CertificateFacts {
            usage,
            subject: "CN=primary".into(),
            issuer: "CN=orders CA".into(),
            names: vec!["primary.orders.example".into()],
            not_before: Timestamp::UNIX_EPOCH,
            not_after: Timestamp::UNIX_EPOCH + SignedDuration::from_hours(days * 24),
        }
    }

    fn verdict(certificates: &[CertificateFacts]) -> Verdict {
        let mut opinion = Opinion::ok("TLS");
        assess_certificates(&mut opinion, certificates, Timestamp::UNIX_EPOCH);
        opinion.verdict()
    }

    #[test]
    fn a_certificate_that_ends_within_two_weeks_is_a_warning() {
        for usage in CertificateUse::ALL {
            assert_eq!(verdict(&[certificate(usage, 15)]), Verdict::Ok, "{usage:?}");
            assert_eq!(verdict(&[certificate(usage, 13)]), Verdict::Warning, "{usage:?}");
            assert_eq!(verdict(&[certificate(usage, -1)]), Verdict::Warning, "{usage:?}");
        }
    }

    #[test]
    fn dates_are_told_with_the_days_that_are_left() {
        let now = Timestamp::UNIX_EPOCH;
        let day = |days: i64| now + SignedDuration::from_hours(days * 24);
        assert_eq!(describe_expiry(day(30), now), "it ends on 1970-01-31 00:00 UTC, in 30 days");
        assert_eq!(describe_expiry(day(1), now), "it ends on 1970-01-02 00:00 UTC, in 1 day");
        assert_eq!(describe_expiry(day(-1), now), "it ended on 1969-12-31 00:00 UTC");
    }
}
