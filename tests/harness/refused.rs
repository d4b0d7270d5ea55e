//! Rejection of a client.

use std::path::Path;

use tokio_postgres::{Client, Error};

/// An ErrorResponse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    pub sqlstate: String,
    pub message: String,
    pub hint: Option<String>,
}

/// Error of a rejected login.
///
/// # Panics
/// If the login succeeded, or failed without an ErrorResponse.
pub fn refused(login: Result<Client, Error>) -> Refused {
    let error = login.expect_err("the login is refused");
    let Some(db_error) = error.as_db_error() else { panic!("not an ErrorResponse: {error:?}") };
    Refused {
        sqlstate: db_error.code().code().to_owned(),
        message: db_error.message().to_owned(),
        hint: db_error.hint().map(str::to_owned),
    }
}

impl Refused {
    /// Fails if the text contains an internal detail: an address, a path, a token.
    pub fn gives_nothing_away(&self, folder: &Path) -> &Self {
        let all = format!("{} {}", self.message, self.hint.as_deref().unwrap_or_default());
        for secret in ["127.", ":5432", "ya29.", ".pem", &folder.display().to_string()] {
            assert!(!all.contains(secret), "`{secret}` in: {all}");
        }
        self
    }
}
