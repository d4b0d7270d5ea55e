//! Mints Google's tokens, from credentials to a token accepted by AlloyDB.
//!
//! Promises: a mint ends within its time limit. Each mint searches credentials anew, so a replaced key is used. All
//! users share a token used only for impersonation. A token is narrowed to `alloydb.login` where its issuer supports
//! narrowing. Refuses to know: keepers and lifetimes of tokens.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout},
};

use super::{
    GoogleCredentials, GoogleError, GoogleLogin, Impersonate, Secret, TokenPrincipal,
    adc::{self, Credential, ExternalAccount, FoundCredential},
    exchange::{self, CLOUD_SCOPE, ImpersonationRequest, LOGIN_SCOPE, MintedToken},
    google_environment::{self as variable, GoogleEnvironment},
    http::{HttpClient, HttpError, HttpRequest, HttpResponse, WebUrl},
    metadata::MetadataServer,
    principal::service_account_of,
    requester::Requester,
    subject::SubjectRequest,
};
use crate::{blame::Chain, names::UserName};

/// Mints the tokens of one login.
pub(super) struct GoogleMinter {
    login: GoogleLogin,
    /// Time limit of a mint with all its requests.
    limit: Duration,
    environment: GoogleEnvironment,
    client: HttpClient,
    metadata: MetadataServer,
    /// True once the metadata server has responded: requests then wait during an outage.
    metadata_seen: AtomicBool,
    /// Token used for impersonation, for all users.
    shared: Mutex<Option<Arc<SharedToken>>>,
    /// Permit for the one task that fetches the shared token.
    fetching: Semaphore,
}

/// Token that requests tokens of impersonated accounts.
struct SharedToken {
    secret: Secret,
    /// Location of its credentials.
    place: String,
    good_until: Instant,
}

type Minting<'a> = Pin<Box<dyn Future<Output = Result<MintedToken, GoogleError>> + Send + 'a>>;

/// Time limit of one request to a public Google server.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Extra time after a mint's own time limit, before the mint is aborted.
const ABORT_GRACE_TIME: Duration = Duration::from_millis(500);
/// Remaining lifetime at which a shared token is fetched anew.
const SHARED_MARGIN: Duration = Duration::from_secs(4 * 60);
/// Lifetime of a shared token without a stated expiry.
const SHARED_LIFETIME: Duration = Duration::from_secs(5 * 60);

impl GoogleMinter {
    pub(super) fn new(login: GoogleLogin, limit: Duration, environment: GoogleEnvironment) -> Self {
        Self {
            metadata: MetadataServer::new(&environment),
            metadata_seen: AtomicBool::new(false),
            client: HttpClient::new(),
            shared: Mutex::default(),
            fetching: Semaphore::new(1),
            login,
            limit,
            environment,
        }
    }

    /// Mints a token for `user`.
    ///
    /// Cancel safe: connections are closed, programs killed.
    ///
    /// # Errors
    /// [`GoogleError`] of the failed step.
    pub(super) async fn mint(&self, user: &UserName) -> Result<MintedToken, GoogleError> {
        // Requests end by themselves, with the better error; a wait behind another mint's request does not.
        let limit = self.limit + ABORT_GRACE_TIME;
        timeout(limit, Box::pin(self.mint_in_time(user))).await.unwrap_or_else(|_| {
            Err(GoogleError::Unreachable { server: "Google".to_owned(), source: HttpError::TimedOut(limit) })
        })
    }

    async fn mint_in_time(&self, user: &UserName) -> Result<MintedToken, GoogleError> {
        let requester = Requester::new(&self.client, Instant::now() + self.limit);
        let found = adc::find(&self.login.credentials, &self.environment)?;
        self.check_universe(&found, &requester).await?;
        let target = match &self.login.impersonate {
            None => return self.token_of(&found, &found.credential, LOGIN_SCOPE, &requester).await,
            Some(Impersonate::Account(email)) => email.clone(),
            Some(Impersonate::User) => service_account_of(user.as_str())
                .ok_or_else(|| GoogleError::NotServiceAccount { user: user.to_string() })?,
        };
        let url = self.impersonation_url(&found, &target, &requester).await?;
        let source = self.shared_token(&found, &requester).await?;
        match self.impersonate(&found, &url, &source.secret, &requester).await {
            // The shared token was revoked: a new token may succeed.
            Err(GoogleError::Refused { status: 401, .. }) => {
                self.forget_shared(&source);
                let source = self.shared_token(&found, &requester).await?;
                self.impersonate(&found, &url, &source.secret, &requester).await
            }
            result => result,
        }
    }

    /// Returns the principal of the tokens. A person's identity is requested with the person's own token.
    ///
    /// Cancel safe, as [`GoogleMinter::mint`] is.
    ///
    /// # Errors
    /// [`GoogleError`] of the failed step.
    pub(super) async fn principal(&self) -> Result<TokenPrincipal, GoogleError> {
        match &self.login.impersonate {
            Some(Impersonate::Account(email)) => return Ok(TokenPrincipal::Account(email.clone())),
            Some(Impersonate::User) => return Ok(TokenPrincipal::EachUser),
            None => {}
        }
        let requester = Requester::new(&self.client, Instant::now() + self.limit);
        let found = adc::find(&self.login.credentials, &self.environment)?;
        let email = match &found.credential {
            Credential::Metadata => {
                let request = self.metadata.request_email()?;
                let read = |response: &HttpResponse| self.metadata.read_email(response);
                Some(self.ask_metadata(&found, &request, read, &requester).await?)
            }
            Credential::ServiceAccount(key) => Some(key.email.clone()),
            Credential::Impersonated(account) => {
                exchange::impersonated_email(&account.url).map(str::to_owned)
            }
            Credential::External(account) => {
                account.impersonation.as_ref().and_then(exchange::impersonated_email).map(str::to_owned)
            }
            Credential::AuthorizedUser(user) => {
                let token = self.token_of(&found, &found.credential, LOGIN_SCOPE, &requester).await?;
                let server = server_name("token information", &user.token_url);
                match exchange::request_token_info(&user.token_url, &token.secret) {
                    None => None,
                    Some(request) => {
                        let read = |response: &HttpResponse| exchange::read_token_info(&server, response);
                        requester.send(&server, &request, REQUEST_TIMEOUT, read).await?
                    }
                }
            }
            Credential::ExternalUser(_) => None,
        };
        Ok(email.map_or(TokenPrincipal::Unknown, TokenPrincipal::Account))
    }

    /// A token of `credential` itself.
    fn token_of<'a>(
        &'a self,
        found: &'a FoundCredential,
        credential: &'a Credential,
        scope: &'a str,
        requester: &'a Requester<'_>,
    ) -> Minting<'a> {
        Box::pin(async move {
            match credential {
                Credential::Metadata => {
                    let request = self.metadata.request_token(scope)?;
                    let read = |response: &HttpResponse| self.metadata.read_token(response);
                    self.ask_metadata(found, &request, read, requester).await
                }
                Credential::ServiceAccount(key) => {
                    let request = exchange::request_by_key(key, scope, Timestamp::now())?;
                    ask_token_server(&request, requester).await
                }
                Credential::AuthorizedUser(user) => {
                    ask_token_server(&exchange::request_by_user(user), requester).await
                }
                Credential::ExternalUser(user) => {
                    ask_token_server(&exchange::request_by_external_user(user), requester).await
                }
                Credential::Impersonated(account) => {
                    let source = self.token_of(found, &account.source, CLOUD_SCOPE, requester).await?;
                    let wanted = ImpersonationRequest {
                        url: &account.url,
                        delegates: &account.delegates,
                        scope,
                        lifetime: None,
                        quota_project: found.quota_project.as_deref(),
                    };
                    ask_impersonated(&wanted, &source.secret, requester).await
                }
                Credential::External(account) => {
                    self.exchange_subject(found, account, scope, requester).await
                }
            }
        })
    }

    /// Returns a token for a foreign cloud's identity, or for the service account impersonated by the identity.
    async fn exchange_subject(
        &self,
        found: &FoundCredential,
        account: &ExternalAccount,
        scope: &str,
        requester: &Requester<'_>,
    ) -> Result<MintedToken, GoogleError> {
        let wanted = SubjectRequest {
            audience: &account.audience,
            token_type: &account.subject_token_type,
            impersonated: account.impersonation.as_ref().and_then(exchange::impersonated_email),
        };
        let subject = account.subject.obtain(requester, &self.environment, &wanted, Timestamp::now()).await?;
        let Some(url) = &account.impersonation else {
            return ask_token_server(&exchange::request_by_subject(account, scope, &subject), requester)
                .await;
        };
        let request = exchange::request_by_subject(account, CLOUD_SCOPE, &subject);
        let source = ask_token_server(&request, requester).await?;
        let wanted = ImpersonationRequest {
            url,
            delegates: &[],
            scope,
            lifetime: account.impersonated_lifetime,
            quota_project: found.quota_project.as_deref(),
        };
        ask_impersonated(&wanted, &source.secret, requester).await
    }

    async fn impersonate(
        &self,
        found: &FoundCredential,
        url: &WebUrl,
        source: &Secret,
        requester: &Requester<'_>,
    ) -> Result<MintedToken, GoogleError> {
        let wanted = ImpersonationRequest {
            url,
            delegates: &self.login.delegates,
            scope: LOGIN_SCOPE,
            lifetime: None,
            quota_project: found.quota_project.as_deref(),
        };
        ask_impersonated(&wanted, source, requester).await
    }

    /// Returns the token used for impersonation: the kept token, or a new token shared by all waiters.
    async fn shared_token(
        &self,
        found: &FoundCredential,
        requester: &Requester<'_>,
    ) -> Result<Arc<SharedToken>, GoogleError> {
        // The semaphore is never closed.
        let _turn = self.fetching.acquire().await;
        let began = Instant::now();
        let kept = self.shared.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(kept) = kept.filter(|kept| kept.place == found.place && began < kept.good_until) {
            return Ok(kept);
        }
        let minted = self.token_of(found, &found.credential, CLOUD_SCOPE, requester).await?;
        let lifetime = minted.lifetime.map_or(SHARED_LIFETIME, |life| life.saturating_sub(SHARED_MARGIN));
        let token = Arc::new(SharedToken {
            secret: minted.secret,
            place: found.place.clone(),
            good_until: began + lifetime,
        });
        *self.shared.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&token));
        Ok(token)
    }

    fn forget_shared(&self, refused: &Arc<SharedToken>) {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if shared.as_ref().is_some_and(|kept| Arc::ptr_eq(kept, refused)) {
            *shared = None;
        }
    }

    /// Returns the URL that issues tokens of `email`, in the universe of the credentials.
    async fn impersonation_url(
        &self,
        found: &FoundCredential,
        email: &str,
        requester: &Requester<'_>,
    ) -> Result<WebUrl, GoogleError> {
        let base = match self.environment.get(variable::IAM_CREDENTIALS_ENDPOINT) {
            Some(base) => base.to_owned(),
            None => exchange::iam_credentials_base(&self.universe(found, requester).await?),
        };
        exchange::impersonation_url(&base, email).ok_or_else(|| GoogleError::Unusable {
            place: base.clone(),
            why: "not the https URL of the IAM Credentials API".to_owned(),
        })
    }

    async fn check_universe(
        &self,
        found: &FoundCredential,
        requester: &Requester<'_>,
    ) -> Result<(), GoogleError> {
        let Some(wanted) = self.environment.get(variable::UNIVERSE) else { return Ok(()) };
        let universe = self.universe(found, requester).await?;
        match universe == wanted {
            true => Ok(()),
            false => Err(GoogleError::WrongUniverse { found: universe, wanted: wanted.to_owned() }),
        }
    }

    async fn universe(
        &self,
        found: &FoundCredential,
        requester: &Requester<'_>,
    ) -> Result<String, GoogleError> {
        match (&found.universe, &found.credential) {
            (Some(universe), _) => Ok(universe.clone()),
            (None, Credential::Metadata) => {
                let request = self.metadata.request_universe()?;
                let read = |response: &HttpResponse| self.metadata.read_universe(response);
                self.ask_metadata(found, &request, read, requester).await
            }
            (None, _) => Ok(adc::DEFAULT_UNIVERSE.to_owned()),
        }
    }

    /// Queries the metadata server. With automatic credentials, and before any response, a few failed attempts prove
    /// absence.
    async fn ask_metadata<T>(
        &self,
        found: &FoundCredential,
        request: &HttpRequest,
        read: impl Fn(&HttpResponse) -> Result<T, GoogleError> + Send,
        requester: &Requester<'_>,
    ) -> Result<T, GoogleError> {
        let guessed =
            self.login.credentials == GoogleCredentials::Auto && !self.metadata_seen.load(Ordering::Relaxed);
        let read = |response: &HttpResponse| {
            self.metadata_seen.store(true, Ordering::Relaxed);
            read(response)
        };
        let (server, limit) = (self.metadata.name(), self.metadata.limit());
        if !guessed {
            return requester.send(&server, request, limit, read).await;
        }
        let detecting = requester.with_attempts(self.metadata.detect_attempts);
        match detecting.send(&server, request, limit, &read).await {
            Err(error @ GoogleError::Unreachable { .. }) => {
                let mut looked = found.looked.clone();
                looked.push(Chain(&error).to_string());
                Err(GoogleError::NoCredentials { looked })
            }
            // The server exists: retry for the remaining time.
            Err(error) if error.is_transient() => requester.send(&server, request, limit, read).await,
            result => result,
        }
    }
}

fn server_name(what: &str, url: &WebUrl) -> String {
    format!("{what} endpoint {}", url.authority())
}

async fn ask_token_server(
    request: &HttpRequest,
    requester: &Requester<'_>,
) -> Result<MintedToken, GoogleError> {
    let server = server_name("token", &request.url);
    let read = |response: &HttpResponse| exchange::read_token(&server, response);
    requester.send(&server, request, REQUEST_TIMEOUT, read).await
}

async fn ask_impersonated(
    wanted: &ImpersonationRequest<'_>,
    source: &Secret,
    requester: &Requester<'_>,
) -> Result<MintedToken, GoogleError> {
    let server = server_name("impersonation", wanted.url);
    let read = |response: &HttpResponse| exchange::read_impersonated(&server, response, Timestamp::now());
    requester.send(&server, &wanted.to_http(source), REQUEST_TIMEOUT, read).await
}

#[cfg(test)]
mod tests;
