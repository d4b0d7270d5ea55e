//! The metrics page for Prometheus.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};

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
/// In the OpenMetrics format if the `Accept` header prefers that format, as Prometheus does.
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
    ([(header::CONTENT_TYPE, format.media_type()), (header::VARY, "accept")], page).into_response()
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
