//! A password as SCRAM sees it.

use std::borrow::Cow;

use stringprep::{saslprep, tables::unassigned_code_point};

/// `password` normalized by SASLprep (RFC 4013); as it is where that cannot be done.
///
/// So does PostgreSQL (`pg_saslprep` in `src/common/saslprep.c`): what is no UTF-8, holds a character that is prohibited or was
/// unassigned in Unicode 3.2, or has nothing left, is used raw.
pub(super) fn prepare(password: &[u8]) -> Cow<'_, [u8]> {
    let Ok(text) = std::str::from_utf8(password) else { return Cow::Borrowed(password) };
    // Looked for before normalization, which can turn such a character into one that is allowed.
    if text.chars().any(unassigned_code_point) {
        return Cow::Borrowed(password);
    }
    match saslprep(text) {
        Ok(Cow::Owned(prepared)) if !prepared.is_empty() => Cow::Owned(prepared.into_bytes()),
        _ => Cow::Borrowed(password),
    }
}
