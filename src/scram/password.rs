//! Password preparation for SCRAM.

use std::borrow::Cow;

use stringprep::{saslprep, tables::unassigned_code_point};

/// Normalizes `password` by SASLprep (RFC 4013); returns the bytes unchanged if SASLprep fails.
///
/// The same as PostgreSQL (`pg_saslprep` in `src/common/saslprep.c`): a password that is not UTF-8, holds a character
/// that is prohibited or unassigned in Unicode 3.2, or becomes empty, is used raw.
pub(super) fn prepare_password(password: &[u8]) -> Cow<'_, [u8]> {
    let Ok(text) = std::str::from_utf8(password) else { return Cow::Borrowed(password) };
    // Checked before normalization, which can turn such a character into an allowed character.
    if text.chars().any(unassigned_code_point) {
        return Cow::Borrowed(password);
    }
    match saslprep(text) {
        Ok(Cow::Owned(prepared)) if !prepared.is_empty() => Cow::Owned(prepared.into_bytes()),
        _ => Cow::Borrowed(password),
    }
}
