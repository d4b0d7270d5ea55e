//! The metrics page for Prometheus.

use std::{io::Write as _, sync::Arc};

use axum::{
    extract::State,
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use flate2::{Compression, write::GzEncoder};

use super::context::AdminContext;

/// Format of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    /// <https://prometheus.io/docs/instrumenting/exposition_formats/#basic-info>
    Text,
    /// <https://prometheus.io/docs/specs/om/open_metrics_spec/#protocol-negotiation>
    OpenMetrics,
}

/// All metrics.
///
/// In the OpenMetrics format if the `Accept` header prefers that format, as Prometheus does; compressed if
/// `Accept-Encoding` permits gzip.
#[utoipa::path(get, path = "/metrics", tag = "metrics", responses(
    (status = 200, description = "Prometheus' text format, version 0.0.4, or OpenMetrics 1.0.", content(
        (String = "text/plain"), (String = "application/openmetrics-text"),
    )),
))]
pub(super) async fn metrics(State(context): State<Arc<AdminContext>>, headers: HeaderMap) -> Response {
    let accept = headers.get_all(header::ACCEPT).into_iter().filter_map(|value| value.to_str().ok());
    let format = Format::wanted_format(accept);
    let page = match format {
        Format::Text => context.api.metrics.render(),
        Format::OpenMetrics => context.api.metrics.render_openmetrics(),
    };
    let page = with_prefix(page, &context.metrics_prefix);
    let headers_of_page =
        [(header::CONTENT_TYPE, format.media_type()), (header::VARY, "accept, accept-encoding")];
    let encodings = headers.get_all(header::ACCEPT_ENCODING).into_iter();
    if accepts_gzip(encodings.filter_map(|value| value.to_str().ok()))
        && let Some(compressed) = compress(page.as_bytes())
    {
        return (headers_of_page, [(header::CONTENT_ENCODING, "gzip")], compressed).into_response();
    }
    (headers_of_page, page).into_response()
}

/// First part of the names in the catalog.
const CATALOG_PREFIX: &str = "gatekeeper_";

/// The page with other names: those that begin with `gatekeeper_` begin with `prefix` and an underscore.
fn with_prefix(page: String, prefix: &str) -> String {
    if CATALOG_PREFIX.strip_suffix('_') == Some(prefix) {
        return page;
    }
    let mut renamed = String::with_capacity(page.len() + page.len() / 8);
    for line in page.split_inclusive('\n') {
        let words = ["# HELP ", "# TYPE ", "# UNIT "].into_iter().find(|words| line.starts_with(words));
        let start = words.map_or(0, str::len);
        match line[start..].strip_prefix(CATALOG_PREFIX) {
            Some(rest) => {
                renamed.push_str(&line[..start]);
                renamed.push_str(prefix);
                renamed.push('_');
                renamed.push_str(rest);
            }
            None => renamed.push_str(line),
        }
    }
    renamed
}

/// True if `Accept-Encoding` permits gzip.
///
/// <https://www.rfc-editor.org/rfc/rfc9110#section-12.5.3>
fn accepts_gzip<'a>(mut values: impl Iterator<Item = &'a str>) -> bool {
    values.any(|value| {
        value.split(',').any(|offer| {
            let mut words = offer.split(';').map(str::trim);
            let is_gzip = words.next().is_some_and(|coding| coding.eq_ignore_ascii_case("gzip"));
            let quality = words.find_map(|word| word.strip_prefix("q=")).map(str::parse::<f64>);
            is_gzip && quality.is_none_or(|quality| quality.is_ok_and(|quality| quality > 0.0))
        })
    })
}

/// The page compressed with little effort: a tenth of the size in a millisecond or two.
fn compress(page: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(page).ok()?;
    encoder.finish().ok()
}

impl Format {
    /// OpenMetrics if requested by name with the highest preference, otherwise text.
    fn wanted_format<'a>(accept: impl Iterator<Item = &'a str>) -> Self {
        let (mut open, mut text) = (0.0, 0.0);
        for offer in accept.flat_map(|value| value.split(',')) {
            let mut words = offer.split(';').map(str::trim);
            let media_type = words.next().unwrap_or_default().to_ascii_lowercase();
            let (mut quality, mut known) = (1.0, true);
            for (name, value) in words.filter_map(|word| word.split_once('=')) {
                match name.trim() {
                    "q" => quality = value.trim().parse().unwrap_or(0.0),
                    "version" => known = value.trim().trim_matches('"') == "1.0.0",
                    _ => {}
                }
            }
            match media_type.as_str() {
                "application/openmetrics-text" if known => open = f64::max(open, quality),
                "text/plain" | "text/*" => text = f64::max(text, quality),
                _ => {}
            }
        }
        if open > 0.0 && open >= text { Self::OpenMetrics } else { Self::Text }
    }

    const fn media_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_compressed_for_those_who_permit_it() {
        for (accept, wanted) in [
            ("gzip", true),
            ("deflate, GZIP;q=0.5", true),
            ("identity", false),
            ("gzip;q=0", false),
            ("gzip; q=0.000, br", false),
            ("", false),
        ] {
            assert_eq!(accepts_gzip([accept].into_iter()), wanted, "{accept}");
        }
        let page = "gatekeeper_clients{listener=\"app\"} 1\n".repeat(1000);
        let compressed = compress(page.as_bytes()).unwrap();
        assert!(compressed.len() < page.len() / 10, "{} bytes", compressed.len());
        let mut unpacked = String::new();
        std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&*compressed), &mut unpacked)
            .unwrap();
        assert_eq!(unpacked, page);
    }

    #[test]
    fn a_prefix_renames_our_metrics_and_nothing_else() {
        let page = "# HELP gatekeeper_clients Sum of gatekeeper_clients.\n# TYPE gatekeeper_clients gauge\n\
                    gatekeeper_clients{listener=\"gatekeeper_app\"} 1\n\nprocess_threads 4\n# EOF\n";
        assert_eq!(with_prefix(page.to_owned(), "gatekeeper"), page);
        assert_eq!(
            with_prefix(page.to_owned(), "alloydb_gk"),
            "# HELP alloydb_gk_clients Sum of gatekeeper_clients.\n# TYPE alloydb_gk_clients gauge\n\
             alloydb_gk_clients{listener=\"gatekeeper_app\"} 1\n\nprocess_threads 4\n# EOF\n"
        );
    }

    #[test]
    fn openmetrics_is_for_those_who_prefer_it() {
        // Sent by Prometheus 2.42 and 3.
        let old = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                   text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        let new = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                   application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;q=0.4,*/*;q=0.2";
        for accept in
            [old, new, "application/openmetrics-text", "Application/OpenMetrics-Text; version=\"1.0.0\""]
        {
            assert_eq!(Format::wanted_format([accept].into_iter()), Format::OpenMetrics, "{accept}");
        }
        for accept in [
            "",
            "*/*",
            "text/html",
            "text/plain, application/openmetrics-text;q=0.5",
            "application/openmetrics-text;version=2.0.0",
            "application/openmetrics-text;q=0",
            "application/openmetrics-text;q=much",
        ] {
            assert_eq!(Format::wanted_format([accept].into_iter()), Format::Text, "{accept}");
        }
        let split = ["text/plain;q=0.5", "application/openmetrics-text"];
        assert_eq!(
            Format::wanted_format(split.into_iter()),
            Format::OpenMetrics,
            "a header may come in several lines"
        );
    }
}
