//! `SHOW FAULTS`.

use super::ShowContext;
use crate::{
    admin::{Fault, diagnose},
    console::{
        response::CommandResponse,
        table::{Row, Value},
    },
};

/// One fault a row, alarms first: the faults of `/v1/verdict`. No row: no fault is known.
pub(super) fn show_faults(shown: ShowContext<'_>) -> CommandResponse {
    CommandResponse::rows(diagnose(&shown.context.monitor).into_iter().map(fault_row))
}

fn fault_row(fault: Fault) -> Row {
    let Fault { kind, severity, listener, endpoint, session, text, remedy, since } = fault;
    vec![
        severity.into(),
        kind.into(),
        listener.into(),
        endpoint.into(),
        session.map_or(Value::Null, Value::from),
        since.as_ref().map(|since| super::format_time(since.time().into())).into(),
        since.as_ref().map(|since| whole_seconds(since.age_seconds())).into(),
        text.into(),
        remedy.into(),
    ]
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an age: not negative, and finite"
)]
fn whole_seconds(seconds: f64) -> u64 {
    seconds as u64
}
