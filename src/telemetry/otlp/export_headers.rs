//! Request headers for the collector, as in `OTEL_EXPORTER_OTLP_HEADERS`.

use std::str::FromStr;

use zeroize::Zeroizing;

/// Headers of each request, ready to be sent. They may hold an API key: no `Debug`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ExportHeaders(Zeroizing<String>);

/// Reason for invalid headers. Without their text, which may be secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ExportHeadersError {
    /// An entry without `=`.
    #[error("an entry has no `=`")]
    Form,
    /// The name of a header is not allowed in HTTP, or set by Gatekeeper.
    #[error("the name of a header is invalid")]
    Name,
    /// The value of a header contains a control character, or is not percent-encoded well.
    #[error("the value of a header is invalid")]
    Value,
}

/// Headers that each request has already.
const OWN_HEADERS: [&str; 4] = ["host", "content-type", "content-length", "connection"];

// === impl ExportHeaders ===

impl ExportHeaders {
    /// Lines of a request's head.
    pub(super) fn lines(&self) -> &str {
        &self.0
    }
}

impl FromStr for ExportHeaders {
    type Err = ExportHeadersError;

    /// Reads `name=value,name=value`, with percent-encoded values.
    ///
    /// <https://opentelemetry.io/docs/specs/otel/protocol/exporter/#specifying-headers-via-environment-variables>
    fn from_str(text: &str) -> Result<Self, ExportHeadersError> {
        let mut lines = Zeroizing::new(String::with_capacity(text.len() * 2));
        for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            let (name, value) = entry.split_once('=').ok_or(ExportHeadersError::Form)?;
            let name = name.trim().to_ascii_lowercase();
            let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            if name.is_empty() || !name.bytes().all(is_token) || OWN_HEADERS.contains(&name.as_str()) {
                return Err(ExportHeadersError::Name);
            }
            let value = Zeroizing::new(percent_decode(value.trim()).ok_or(ExportHeadersError::Value)?);
            if !value.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
                return Err(ExportHeadersError::Value);
            }
            lines.push_str(&name);
            lines.push_str(": ");
            lines.push_str(&value);
            lines.push_str("\r\n");
        }
        Ok(Self(lines))
    }
}

/// `text` with each `%XX` replaced; `None` if a `%` is not followed by two hexadecimal digits, or the result is not
/// UTF-8.
pub(super) fn percent_decode(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digits = [bytes.next()?, bytes.next()?];
            let digits = std::str::from_utf8(&digits).ok().filter(|it| !it.starts_with('+'))?;
            decoded.push(u8::from_str_radix(digits, 16).ok()?);
        } else {
            decoded.push(byte);
        }
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Result<String, ExportHeadersError> {
        text.parse::<ExportHeaders>().map(|headers| headers.lines().to_owned())
    }

    #[test]
    fn headers_are_read_as_in_the_variable() {
        let two = lines("api-key=abc%20def, X-Scope = a=b ,").unwrap();
        assert_eq!(two, "api-key: abc def\r\nx-scope: a=b\r\n");
        assert_eq!(lines("").unwrap(), "");
    }

    #[test]
    fn a_header_cannot_smuggle_another() {
        for (text, error) in [
            ("a", ExportHeadersError::Form),
            ("=b", ExportHeadersError::Name),
            ("a b=c", ExportHeadersError::Name),
            ("Content-Length=0", ExportHeadersError::Name),
            ("a=b%0D%0Ac: d", ExportHeadersError::Value),
            ("a=%", ExportHeadersError::Value),
            ("a=%+1", ExportHeadersError::Value),
            ("a=%zz", ExportHeadersError::Value),
        ] {
            assert_eq!(lines(text).unwrap_err(), error, "{text}");
        }
    }
}
