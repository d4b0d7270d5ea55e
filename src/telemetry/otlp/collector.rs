//! The collector's address.

use std::fmt;

/// `http://HOST:PORT/PATH`, or `https`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collector {
    /// True for TLS.
    pub(super) is_https: bool,
    /// Host and port to connect to.
    pub(super) authority: String,
    /// Path of requests.
    pub(super) path: String,
}

/// Reason for an invalid collector address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CollectorError {
    /// The address does not begin with `http://` or `https://`.
    #[error("only http:// and https:// are supported")]
    Scheme,
    /// The host is missing.
    #[error("the host is missing")]
    Host,
    /// The address contains invalid characters.
    #[error("addresses contain only ASCII characters and no spaces")]
    NotGraphic,
}

/// Default port of OTLP over HTTP.
const DEFAULT_OTLP_PORT: u16 = 4318;
/// Default port of `https`: a collector beyond this machine has an ordinary address.
const DEFAULT_HTTPS_PORT: u16 = 443;

// === impl Collector ===

impl Collector {
    /// Reads `text`; without a path, requests go to `default_path`.
    ///
    /// # Errors
    /// [`CollectorError`]
    pub fn parse(text: &str, default_path: &str) -> Result<Self, CollectorError> {
        let (is_https, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => return Err(CollectorError::Scheme),
        };
        // The address is copied into a request's head.
        if !rest.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(CollectorError::NotGraphic);
        }
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let host = authority.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok());
        if host.map_or(authority, |(host, _)| host).is_empty() {
            return Err(CollectorError::Host);
        }
        let default_port = if is_https { DEFAULT_HTTPS_PORT } else { DEFAULT_OTLP_PORT };
        let authority =
            if host.is_some() { authority.to_owned() } else { format!("{authority}:{default_port}") };
        let path = if matches!(path, "" | "/") { default_path } else { path };
        Ok(Self { is_https, authority, path: path.to_owned() })
    }

    /// The host, without the brackets of an IPv6 address.
    pub(super) fn host(&self) -> &str {
        let host = self.authority.rsplit_once(':').map_or(&*self.authority, |(host, _)| host);
        host.trim_start_matches('[').trim_end_matches(']')
    }
}

impl fmt::Display for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_https { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_otlps_own_port_and_path_unless_it_says_others() {
        for (text, shown) in [
            ("http://localhost", "http://localhost:4318/v1/traces"),
            ("http://127.0.0.1:9/", "http://127.0.0.1:9/v1/traces"),
            ("http://[::1]:9/otlp/v1/traces", "http://[::1]:9/otlp/v1/traces"),
            ("https://otlp.example", "https://otlp.example:443/v1/traces"),
            ("https://otlp.example:4318/x", "https://otlp.example:4318/x"),
        ] {
            assert_eq!(Collector::parse(text, "/v1/traces").unwrap().to_string(), shown);
        }
    }

    #[test]
    fn what_is_no_address_is_told_apart() {
        for (text, error) in [
            ("grpc://collector", CollectorError::Scheme),
            ("collector:4318", CollectorError::Scheme),
            ("http://", CollectorError::Host),
            ("http://:4318", CollectorError::Host),
            ("http://a\r\nx: y", CollectorError::NotGraphic),
        ] {
            assert_eq!(Collector::parse(text, "/v1/traces").unwrap_err(), error, "{text}");
        }
    }
}
