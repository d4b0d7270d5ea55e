//! The OpenAPI 3.1 description of the API.

use axum::Json;
use utoipa::{
    Modify, OpenApi,
    openapi::{
        OpenApi as Description,
        path::Operation,
        security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityRequirement, SecurityScheme},
    },
};

use super::{
    diagnosis, events, health, info, login, metrics, operations, page, pools, sessions, stream, topology,
    writer,
};

/// The description of the API.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Gatekeeper's admin API",
        description = "Fields are added and never change their meaning within `/v1`. On a loopback address the paths for \
                       health and `/metrics` need no key; with `open_health` those for health need none anywhere; nothing does when no key is configured. A browser that \
                       has shown the key to `/v1/login` may look at everything with its cookie; what changes something \
                       needs the key itself. `viewer_key` permits reading only. A key may also be the password of HTTP \
                       basic authentication, with any user name.",
    ),
    paths(
        health::livez,
        health::readyz,
        health::startup,
        health::liveness,
        health::readiness,
        metrics::metrics,
        topology::topology,
        writer::move_writer,
        writer::cancel_move,
        writer::end_fence,
        diagnosis::verdict,
        events::list,
        sessions::list,
        sessions::kill,
        pools::list,
        pools::operate,
        pools::operate_endpoint,
        operations::reload,
        operations::set_log_filter,
        operations::restart,
        operations::stop,
        info::info,
        page::index,
        page::file,
        login::login,
        login::logout,
        stream::stream,
        openapi,
    ),
    components(schemas(pools::Operation)),
    modifiers(&KeyScheme),
)]
pub(super) struct Document;

struct KeyScheme;

/// The OpenAPI description of this API.
#[utoipa::path(get, path = "/openapi.json", tag = "info", security(("key" = [])), responses(
    (status = 200, description = "OpenAPI 3.1.", body = Object),
))]
pub(super) async fn openapi() -> Json<Description> {
    Json(Document::openapi())
}

/// The description, available without a running program.
#[must_use]
pub fn description() -> serde_json::Value {
    serde_json::to_value(Document::openapi()).unwrap_or_default()
}

impl Modify for KeyScheme {
    fn modify(&self, description: &mut Description) {
        let key = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        let words = "Set by `/v1/login`; over TLS its name is `__Host-gatekeeper`.";
        let cookie = ApiKeyValue::with_description("gatekeeper-PORT", words);
        let cookie = SecurityScheme::ApiKey(ApiKey::Cookie(cookie));
        let components = description.components.get_or_insert_default();
        components.add_security_scheme("key", key);
        components.add_security_scheme("session", cookie);
        let session = || SecurityRequirement::new("session", Vec::<String>::new());
        let needs_key = |operation: &&mut Operation| operation.security.is_some();
        for (path, item) in &mut description.paths.paths {
            let logout = item.post.as_mut().filter(|_| path == "/v1/logout");
            for operation in [item.get.as_mut(), logout].into_iter().flatten().filter(needs_key) {
                operation.security.get_or_insert_default().push(session());
            }
        }
    }
}
