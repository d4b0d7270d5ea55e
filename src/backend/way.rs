//! How an endpoint is logged in to: the settings, and what lives as long as they hold.

use std::sync::{Arc, Mutex, PoisonError};

use super::{ConnectFailure, login::Proof};
use crate::{
    credentials::{Login, PasswordLogin, Token, TokenKeeper, TokenLogin, TokenSource},
    names::UserName,
    scram::Keys,
    tls::VerifiedTls,
    topology::Endpoint,
    wire::StartupMessage,
};

/// How an endpoint is logged in to.
pub(super) enum Way {
    /// With nothing of ours: a server that asks for a proof refuses.
    Passthrough,
    /// With a configured password.
    Password(PasswordWay),
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
    users: Vec<UserName>,
    insecure_without_verification: bool,
}

// === impl Way ===

impl Way {
    /// The way that `login` describes, and the keeper of its tokens, which has to be run.
    pub(super) fn new(login: &Login, endpoint: &Endpoint) -> (Self, Option<TokenKeeper>) {
        match login {
            Login::Passthrough => (Self::Passthrough, None),
            Login::Password(login) => {
                (Self::Password(PasswordWay { login: login.clone(), keys: Mutex::default() }), None)
            }
            Login::Token(settings) => {
                let (source, keeper) = TokenSource::new(settings, endpoint);
                let way = TokenWay {
                    source,
                    users: settings.users.clone(),
                    insecure_without_verification: settings.insecure_without_verification,
                };
                (Self::Token(way), Some(keeper))
            }
        }
    }

    /// Tokens are spent for listed users alone: nobody whom a listener lets in may become just any principal.
    pub(super) fn permit(&self, user: &UserName) -> Result<(), ConnectFailure> {
        match self {
            Self::Token(way) if !way.users.contains(user) => {
                Err(ConnectFailure::UnlistedUser { user: user.clone() })
            }
            _ => Ok(()),
        }
    }

    /// The client's message, for the user who is logged in.
    pub(super) fn startup(&self, mut startup: StartupMessage, user: &UserName) -> StartupMessage {
        let mut shown = user;
        if let Self::Password(PasswordWay { login: PasswordLogin { user: Some(ours), .. }, .. }) = self {
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
            Self::Passthrough | Self::Password(_) => None,
        }
    }
}

// === impl PasswordWay ===

impl PasswordWay {
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
    /// What proves `user` to a server that was or was not verified: `token`, or one from the source.
    pub(super) async fn proof(
        &self,
        user: &UserName,
        token: Option<Token>,
        verified: Option<&VerifiedTls>,
    ) -> Result<Proof<'static>, ConnectFailure> {
        if verified.is_none() && !self.insecure_without_verification {
            return Err(ConnectFailure::Unverified);
        }
        let token = match token {
            Some(token) => token,
            None => self.source.token(user).await.map_err(ConnectFailure::Token)?,
        };
        Ok(Proof::Token(match verified {
            Some(evidence) => TokenLogin::new(token, evidence),
            None => TokenLogin::without_verification(token),
        }))
    }
}
