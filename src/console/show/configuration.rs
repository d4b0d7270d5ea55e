//! `SHOW CONFIG`.

use super::ShowContext;
use crate::console::{
    response::CommandResponse,
    table::{Row, Value},
};

/// Every setting, preceded by the two settings that PgBouncer's exporter reads, under PgBouncer's names.
pub(super) fn show_config(shown: ShowContext<'_>) -> CommandResponse {
    let clients: usize =
        super::current_listeners(shown).map(|listener| listener.settings.limits.max_clients).sum();
    let theirs = [
        vec!["max_client_conn".into(), clients.to_string().into(), Value::Null, "yes".into()],
        vec!["max_user_connections".into(), "0".into(), "0".into(), "no".into()],
    ];
    let lines = shown.context.config.load();
    let ours: Vec<Row> = lines
        .iter()
        .map(|line| {
            let default = line.is_default.then(|| line.value.clone());
            let changeable = if line.changeable { "yes" } else { "no" };
            vec![line.key.clone().into(), line.value.clone().into(), default.into(), changeable.into()]
        })
        .collect();
    CommandResponse::rows(theirs.into_iter().chain(ours))
}
