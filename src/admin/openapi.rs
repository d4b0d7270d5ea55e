//! The description of the API for programs: OpenAPI 3.1.

use axum::Json;
use utoipa::{
    Modify, OpenApi,
    openapi::{
        OpenApi as Description,
        security::{Http, HttpAuthScheme, SecurityScheme},
    },
};

use super::{health, info, metrics, operations, pools, sessions, topology};

/// The description of the API.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Gatekeeper's admin API",
        description = "Fields are added and never change their meaning within `/v1`. On a loopback address `/livez`, \
                       `/readyz` and `/metrics` need no key, and nothing does when no key is configured.",
    ),
    paths(
        health::livez,
        health::readyz,
        metrics::metrics,
        topology::topology,
        sessions::list,
        sessions::kill,
        pools::list,
        pools::operate,
        pools::operate_endpoint,
        operations::reload,
        info::info,
        openapi,
    ),
    components(schemas(pools::Operation)),
    modifiers(&Key),
)]
pub(super) struct Document;

struct Key;

/// This description.
#[utoipa::path(get, path = "/openapi.json", tag = "info", security(("key" = [])), responses(
    (status = 200, description = "OpenAPI 3.1.", body = Object),
))]
pub(super) async fn openapi() -> Json<Description> {
    Json(Document::openapi())
}

/// The same for whoever has no running program at hand.
#[must_use]
pub fn description() -> serde_json::Value {
    serde_json::to_value(Document::openapi()).unwrap_or_default()
}

impl Modify for Key {
    fn modify(&self, description: &mut Description) {
        let key = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        description.components.get_or_insert_default().add_security_scheme("key", key);
    }
}
