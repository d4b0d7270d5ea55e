//! The status page: embedded files without secrets, readable without a key, and security headers for all responses. The
//! page gets its data from `/v1/stream`, which requires the key.

use axum::{
    extract::{Path, Request},
    http::{HeaderName, HeaderValue, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::error::{ErrorBody, Problem};

/// One file of the page.
struct File {
    name: &'static str,
    kind: &'static str,
    text: &'static str,
}

const INDEX: &str = include_str!("page/index.html");

const FILES: [File; 7] = [
    File { name: "page.css", kind: CSS, text: include_str!("page/page.css") },
    File { name: "main.js", kind: JAVASCRIPT, text: include_str!("page/main.js") },
    File { name: "dom.js", kind: JAVASCRIPT, text: include_str!("page/dom.js") },
    File { name: "words.js", kind: JAVASCRIPT, text: include_str!("page/words.js") },
    File { name: "topology.js", kind: JAVASCRIPT, text: include_str!("page/topology.js") },
    File { name: "lists.js", kind: JAVASCRIPT, text: include_str!("page/lists.js") },
    File { name: "icon.svg", kind: "image/svg+xml", text: include_str!("page/icon.svg") },
];

const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// The page runs only its own files, connects only to its own server, inserts no text as markup, and cannot be framed.
///
/// <https://www.w3.org/TR/CSP3/>
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                           form-action 'self'; base-uri 'none'; frame-ancestors 'none'; \
                           require-trusted-types-for 'script'; trusted-types 'none'";
/// Responses other than the page run nothing.
const OTHER_POLICY: &str = "default-src 'none'; frame-ancestors 'none'";

/// Headers of every response.
const HEADERS: [(HeaderName, &str); 6] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// The status page. Follows `/v1/stream`.
#[utoipa::path(get, path = "/", tag = "page", responses(
    (status = 200, description = "HTML.", body = String, content_type = "text/html"),
))]
pub(super) async fn index() -> Response {
    let policy = (header::CONTENT_SECURITY_POLICY, PAGE_POLICY);
    ([(header::CONTENT_TYPE, "text/html; charset=utf-8"), policy], INDEX).into_response()
}

/// A file of the status page.
#[utoipa::path(get, path = "/page/{file}", tag = "page",
    params(("file" = String, Path, description = "A file that the page names.")),
    responses(
        (status = 200, description = "The file.", body = String, content_type = "text/plain"),
        (status = 404, description = "Unknown file.", body = ErrorBody),
    ))]
pub(super) async fn file(Path(name): Path<String>) -> Result<Response, Problem> {
    let file = FILES.iter().find(|file| file.name == name);
    let file = file.ok_or_else(|| Problem::not_found("the page has no such file"))?;
    Ok(([(header::CONTENT_TYPE, file.kind)], file.text).into_response())
}

/// True for paths of the page.
pub(super) fn is_page(path: &str) -> bool {
    path == "/" || path.starts_with("/page/")
}

/// Adds [`HEADERS`] to every response.
pub(super) async fn add_headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static(OTHER_POLICY));
    response
}
