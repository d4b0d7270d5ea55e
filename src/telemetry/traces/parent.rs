//! The parent span of a statement: sqlcommenter's `traceparent` in the comment at the end of its text.
//!
//! <https://google.github.io/sqlcommenter/spec/>, <https://www.w3.org/TR/trace-context/#traceparent-header>

/// A client's span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parent {
    /// The trace.
    pub trace: [u8; 16],
    /// The span.
    pub span: [u8; 8],
    /// True if the client's part of the trace is sampled.
    pub sampled: bool,
}

/// Maximum length of the searched comment in bytes.
const MAX_COMMENT_BYTES: usize = 4096;

/// The parent named in the comment at the end of `text`, if well-formed.
#[must_use]
pub fn parent_of(text: &[u8]) -> Option<Parent> {
    let text = text.trim_ascii_end();
    let text = text.strip_suffix(b";").unwrap_or(text).trim_ascii_end().strip_suffix(b"*/")?;
    let tail = &text[text.len().saturating_sub(MAX_COMMENT_BYTES)..];
    let open = tail.windows(2).rposition(|pair| pair == b"/*")?;
    // Planner hints and executable comments of other databases are not key-value pairs.
    let pairs = &tail[open + 2..];
    let mut found = None;
    for pair in pairs.split(|byte| *byte == b',') {
        let mut halves = pair.trim_ascii().splitn(2, |byte| *byte == b'=');
        let (name, value) = (halves.next()?, halves.next()?);
        let value = value.strip_prefix(b"'")?.strip_suffix(b"'")?;
        if name == b"traceparent" {
            // A repeated key is invalid.
            if found.is_some() {
                return None;
            }
            found = Some(parse_traceparent(value)?);
        }
    }
    found
}

/// Parses `00-TRACE-SPAN-FLAGS`. None of the characters may be percent-encoded.
fn parse_traceparent(value: &[u8]) -> Option<Parent> {
    let mut parts = value.split(|byte| *byte == b'-');
    let version: [u8; 1] = parse_hex(parts.next()?)?;
    let (trace, span): ([u8; 16], [u8; 8]) = (parse_hex(parts.next()?)?, parse_hex(parts.next()?)?);
    let [flags] = parse_hex(parts.next()?)?;
    // Version 0 has these four parts; later versions may have more; 255 is invalid.
    let whole = parts.next().is_none() || version[0] > 0;
    let real = version[0] < u8::MAX && trace != [0; 16] && span != [0; 8];
    (whole && real).then_some(Parent { trace, span, sampled: flags & 1 == 1 })
}

/// Parses exactly `N` pairs of lower-case hexadecimal digits.
fn parse_hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut read = [0; N];
    if digits.len() != 2 * N {
        return None;
    }
    for (byte, pair) in read.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn sampled(text: &str) -> Option<bool> {
        parent_of(text.as_bytes()).map(|parent| parent.sampled)
    }

    #[test]
    fn the_comment_at_the_end_names_the_parent() {
        for text in [
            format!("SELECT 1 /*traceparent='{PARENT}'*/"),
            format!("SELECT 1 /* action='%2Fpolls%2F1',traceparent='{PARENT}',tracestate='a%3Db' */ ; \n"),
            format!("/* app */ SELECT '/*' /*db_driver='x',traceparent='{PARENT}'*/;"),
        ] {
            let parent = parent_of(text.as_bytes()).unwrap();
            assert_eq!((parent.trace[0], parent.trace[15], parent.span[0]), (0x0a, 0x9c, 0xb7), "{text}");
            assert!(parent.sampled);
        }
        assert_eq!(sampled(&format!("SELECT 1 /*traceparent='{}0'*/", &PARENT[..54])), Some(false));
    }

    #[test]
    fn what_is_not_well_formed_names_nobody() {
        let zero = "0".repeat(32);
        for value in [
            "",
            "00",
            &PARENT[..54],
            &format!("{PARENT}-extra"),
            &PARENT.to_uppercase(),
            &PARENT.replacen("00", "ff", 1),
            &PARENT.replace("0af7651916cd43dd8448eb211c80319c", &zero),
            &PARENT.replace("b7ad6b7169203331", &zero[..16]),
            &PARENT.replace('-', "%2D"),
        ] {
            assert_eq!(sampled(&format!("SELECT 1 /*traceparent='{value}'*/")), None, "{value}");
        }
        for text in [
            format!("/*traceparent='{PARENT}'*/ SELECT 1"),
            format!("SELECT 1 -- traceparent='{PARENT}'"),
            format!("SELECT 1 /*traceparent={PARENT}*/"),
            format!("SELECT 1 /*traceparent='{PARENT}',traceparent='{PARENT}'*/"),
            format!("SELECT 1 /*traceparent='{PARENT}', and more*/"),
            format!("SELECT 1 /*{},traceparent='{PARENT}'*/", "x='y',".repeat(2000)),
            "*/".to_owned(),
            "/*/".to_owned(),
            String::new(),
        ] {
            assert_eq!(sampled(&text), None, "{text:.80}");
        }
    }
}
