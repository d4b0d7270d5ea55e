//! How an endpoint is logged in to: the settings, and what lives as long as they hold.

use std::sync::{Arc, Mutex, PoisonError};

use super::{ConnectFailure, EndpointSettings, accepted::AcceptedPasswords};
use crate::{
    credentials::{Login, PasswordLogin, Secret, TokenKeeper, TokenSource, TokenUsers},
    names::UserName,
    scram::Keys,
    wire::StartupMessage,
};

/// How an endpoint is logged in to.
pub(super) enum Way {
    /// With nothing of ours but the passwords that the server has accepted from clients; a server that asks anybody else for
    /// a proof refuses.
    Passthrough(Arc<AcceptedPasswords>),
    /// With a configured password.
    Password(Arc<PasswordWay>),
    /// With tokens.
    Token(TokenWay),
}

/// A login with a configured password.
pub(super) struct PasswordWay {
    login: PasswordLogin,
    /// What SCRAM derived from the password the last time: half a millisecond of computing saved for each login.
    keys: Mutex<Option<Arc<Keys>>>,
}

/// A login with tokens.
pub(super) struct TokenWay {
    pub(super) source: TokenSource,
    users: TokenUsers,
    verifies: bool,
    pub(super) insecure_without_verification: bool,
}

// === impl Way ===

impl Way {
    /// The way that the settings describe, and the keeper of its tokens, which has to be run. `accepted` is what the server
    /// accepts from clients; the tokens of `before` are kept.
    pub(super) fn new(
        settings: &EndpointSettings,
        accepted: &Arc<AcceptedPasswords>,
        before: Option<&TokenSource>,
    ) -> (Self, Option<TokenKeeper>) {
        match &settings.login {
            Login::Passthrough => (Self::Passthrough(Arc::clone(accepted)), None),
            Login::Password(login) => {
                let way = PasswordWay { login: login.clone(), keys: Mutex::default() };
                (Self::Password(Arc::new(way)), None)
            }
            Login::Token(login) => {
                let (source, keeper) = TokenSource::new(login, &settings.endpoint, before);
                let way = TokenWay {
                    source,
                    users: login.users.clone(),
                    verifies: settings.tls.mode.verifies(),
                    insecure_without_verification: login.insecure_without_verification,
                };
                (Self::Token(way), Some(keeper))
            }
        }
    }

    /// The client's message, for the user who is logged in.
    pub(super) fn startup(&self, mut startup: StartupMessage, user: &UserName) -> StartupMessage {
        let mut shown = user;
        if let Self::Password(way) = self
            && let Some(ours) = &way.login.user
        {
            // Without a database the client means the one of its own name, not of ours.
            if startup.get("database").is_none_or(<[u8]>::is_empty) {
                startup.set("database", user.as_str());
            }
            shown = ours;
        }
        startup.set("user", shown.as_str());
        startup
    }

    pub(super) fn tokens(&self) -> Option<&TokenSource> {
        match self {
            Self::Token(way) => Some(&way.source),
            Self::Passthrough(_) | Self::Password(_) => None,
        }
    }
}

// === impl PasswordWay ===

impl PasswordWay {
    /// With the password that a client said, as the user that it asked for.
    pub(super) fn of_client(password: Secret) -> Self {
        Self { login: PasswordLogin { user: None, password }, keys: Mutex::default() }
    }

    pub(super) fn password(&self) -> &str {
        self.login.password.reveal()
    }

    pub(super) fn keys(&self) -> Option<Arc<Keys>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn keep(&self, keys: Keys) {
        *self.keys.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(keys));
    }
}

// === impl TokenWay ===

impl TokenWay {
    /// Tokens are spent for listed users alone: nobody whom a listener lets in may become just any principal. And none is
    /// spent when it could not be sent.
    pub(super) fn permit(&self, user: &UserName) -> Result<(), ConnectFailure> {
        if !self.users.permits(user) {
            return Err(ConnectFailure::UnlistedUser { user: user.clone() });
        }
        if !(self.verifies || self.insecure_without_verification) {
            return Err(ConnectFailure::Unverified);
        }
        Ok(())
    }
}
