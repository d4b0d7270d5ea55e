//! Errors for prepared statements, in PostgreSQL's words where PostgreSQL has the error.

use crate::{
    session::shared_statement::text_of,
    sql,
    wire::{ErrorResponse, Reader, Severity, SqlState},
};

/// Error for a result different from the client's description; drivers recognize the routine.
pub(super) fn plan_changed() -> ErrorResponse<'static> {
    let message = "cached plan must not change result type";
    let report = ErrorResponse::new(Severity::Error, SqlState::FEATURE_NOT_SUPPORTED, message);
    ErrorResponse { routine: Some("RevalidateCachedQuery"), ..report }
}

/// Error for a Bind of a prepared statement, with the `rest` behind the names; `None` if the count of parameters is right,
/// or unknown. A server checks the count before the state of the transaction, but a backend without the statement refuses
/// the statement's Parse in a failed transaction.
pub(super) fn wrong_parameters(
    name: &[u8],
    definition: &[u8],
    rest: &[u8],
) -> Option<ErrorResponse<'static>> {
    // The client may speak another encoding.
    let name = std::str::from_utf8(name).ok().filter(|name| name.is_ascii())?;
    let text = text_of(definition);
    let declared = definition.get(text.len() + 1..).unwrap_or_default();
    let declared = usize::from(Reader::new(declared).i16().ok()?.cast_unsigned());
    let required = sql::highest_parameter(text)?.max(declared);
    let mut reader = Reader::new(rest);
    let formats = usize::from(reader.i16().ok()?.cast_unsigned());
    reader.bytes(formats * 2).ok()?;
    let supplied = usize::from(reader.i16().ok()?.cast_unsigned());
    let message = if formats > 1 && formats != supplied {
        Some(format!("bind message has {formats} parameter formats but {supplied} parameters"))
    } else {
        (supplied != required).then(|| {
            format!(
                "bind message supplies {supplied} parameters, but prepared statement \"{name}\" requires {required}"
            )
        })
    };
    let report = ErrorResponse::new(Severity::Error, SqlState::PROTOCOL_VIOLATION, message?);
    Some(ErrorResponse { routine: Some("exec_bind_message"), ..report })
}

/// Error for a client at the limit of prepared statements.
pub(super) fn too_many_statements() -> ErrorResponse<'static> {
    let message = "too many prepared statements in this session, or too long ones";
    let mut report = ErrorResponse::new(Severity::Error, SqlState::new(*b"54000"), message);
    report.hint = Some("Close statements that are not used any more.".into());
    report
}

/// Error for a reset of a start-up setting, if further statements would run before the setting is applied again.
pub(super) fn reset_midway() -> ErrorResponse<'static> {
    let message =
        "start-up options cannot be reset in the middle of a statement, or of several in one message, here";
    let mut report = ErrorResponse::new(Severity::Error, SqlState::FEATURE_NOT_SUPPORTED, message);
    report.hint = Some("Send RESET or SET ... TO DEFAULT in a message of its own.".into());
    report
}
