//! What a client was told instead of being served.

use std::path::Path;

use tokio_postgres::{Client, Error};

/// An ErrorResponse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    pub sqlstate: String,
    pub message: String,
    pub hint: Option<String>,
}

/// What a login was refused with.
///
/// # Panics
/// When it was not refused, or not by an ErrorResponse.
pub fn refused(login: Result<Client, Error>) -> Refused {
    let error = login.expect_err("the login is refused");
    let Some(said) = error.as_db_error() else { panic!("not an ErrorResponse: {error:?}") };
    Refused {
        sqlstate: said.code().code().to_owned(),
        message: said.message().to_owned(),
        hint: said.hint().map(str::to_owned),
    }
}

impl Refused {
    /// Fails if it holds something that is no business of a client: an address, a path, a token.
    pub fn gives_nothing_away(&self, folder: &Path) -> &Self {
        let all = format!("{} {}", self.message, self.hint.as_deref().unwrap_or_default());
        for secret in ["127.", ":5432", "ya29.", ".pem", &folder.display().to_string()] {
            assert!(!all.contains(secret), "`{secret}` in: {all}");
        }
        self
    }
}
