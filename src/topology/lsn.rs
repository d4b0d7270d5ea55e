//! WAL positions in PostgreSQL's text format.
//!
//! <https://www.postgresql.org/docs/current/datatype-pg-lsn.html>

/// Converts `16/B374D848` to bytes; `None` for an invalid `pg_lsn`.
#[must_use]
pub fn parse_lsn(text: &str) -> Option<u64> {
    let (high, low) = text.split_once('/')?;
    let part = |hex: &str| match hex.len() {
        1..=8 if hex.bytes().all(|byte| byte.is_ascii_hexdigit()) => u64::from_str_radix(hex, 16).ok(),
        _ => None,
    };
    Some(part(high)? << 32 | part(low)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_two_numbers_of_four_bytes() {
        assert_eq!(parse_lsn("16/B374D848"), Some(0x16_B374_D848));
        assert_eq!(parse_lsn("FFFFFFFF/FFFFFFFF"), Some(u64::MAX));
        for wrong in ["", "/", "1", "1/", "/1", "1/+2", "1/123456789", "g/1", "1/2/3"] {
            assert_eq!(parse_lsn(wrong), None, "{wrong}");
        }
    }
}
