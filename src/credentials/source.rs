//! Where logins get their tokens from, and the task that has them minted.

use std::{
    collections::HashMap,
    future::{Future, pending, poll_fn},
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use jiff::Timestamp;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until},
};

use super::{
    Token, TokenError, TokenLoginSettings, TokenPrincipal,
    exchange::MintedToken,
    minter::TokenMinter,
    token_cache::{CachedToken, MintCause, MintResult, Now, TokenAnswer, TokenCache},
};
use crate::{
    live::{Live, Publisher, live},
    names::UserName,
    topology::Endpoint,
};

/// The tokens of one endpoint. Cheap to clone. [`TokenKeeper::run`] must run for it to mint.
#[derive(Clone)]
pub struct TokenSource {
    kept: Live<HashMap<UserName, Arc<CachedToken>>>,
    asks: mpsc::Sender<Ask>,
    counts: Arc<TokenCounts>,
    minter: Arc<TokenMinter>,
}

/// Mints the tokens of one endpoint, a few users at a time, while a [`TokenSource`] of the keeper exists.
pub struct TokenKeeper {
    minter: Arc<TokenMinter>,
    cached: TokenCache<oneshot::Sender<Reply>>,
    published: Publisher<HashMap<UserName, Arc<CachedToken>>>,
    asks: mpsc::Receiver<Ask>,
    counts: Arc<TokenCounts>,
}

/// A mint that ended: for metrics, logs and the audit log.
#[derive(Debug)]
pub struct Mint {
    /// For whom.
    pub user: UserName,
    /// Why.
    pub cause: MintCause,
    /// Duration of the mint.
    pub took: Duration,
    /// End of the token's use for logins; later while mints fail.
    pub result: Result<Timestamp, TokenError>,
}

/// What is known of a source, for metrics and the admin API.
#[derive(Debug, Clone)]
pub struct TokenStatus {
    /// Mints that succeeded.
    pub mints: u64,
    /// Mints that failed.
    pub failures: u64,
    /// The last failure, until a mint succeeds.
    pub failing: Option<TokenError>,
    /// Time of the first failure since the last success.
    pub failing_since: Option<Timestamp>,
    /// The tokens kept now, by user.
    pub kept: Vec<KeptToken>,
}

/// A token that is kept, without its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptToken {
    /// Whose.
    pub user: UserName,
    /// When its mint began.
    pub minted_at: Timestamp,
    /// End of the token's use for logins; later while mints fail.
    pub expires_at: Timestamp,
}

#[derive(Default)]
struct TokenCounts {
    mints: AtomicU64,
    failures: AtomicU64,
    /// The last failure, with the time of the first one, until a mint succeeds.
    failing: Mutex<Option<(Timestamp, TokenError)>>,
}

/// A login that found no token it could use.
struct Ask {
    user: UserName,
    refused: Option<Token>,
    reply: oneshot::Sender<Reply>,
}

/// `None`: the refused token was minted moments ago.
type Reply = Result<Option<Token>, TokenError>;

type Minting = Pin<Box<dyn Future<Output = (UserName, Result<MintedToken, TokenError>)> + Send>>;

/// Logins that may stand at the keeper's door; more wait for their turn to ask.
const MINT_QUEUE_CAPACITY: usize = 1024;

// === impl TokenSource ===

impl TokenSource {
    /// Returns the source of `endpoint`, and its keeper, which the caller must run. Keeps the tokens of `before`, an
    /// equivalent source.
    #[must_use]
    pub fn new(
        settings: &TokenLoginSettings,
        endpoint: &Endpoint,
        before: Option<&Self>,
    ) -> (Self, TokenKeeper) {
        let inherited = before.map(|before| before.kept.load()).unwrap_or_default();
        let (published, kept) = live(HashMap::clone(&inherited));
        let (sender, asks) = mpsc::channel(MINT_QUEUE_CAPACITY);
        let counts = Arc::<TokenCounts>::default();
        let minter = Arc::new(TokenMinter::new(settings, endpoint));
        let keeper = TokenKeeper {
            cached: TokenCache::new(settings.ttl, minter.concurrency(), &inherited),
            minter: Arc::clone(&minter),
            published,
            asks,
            counts: Arc::clone(&counts),
        };
        (Self { kept, asks: sender, counts, minter }, keeper)
    }

    /// A token for `user`: a kept one, or the result of a mint that may be shared with other logins.
    ///
    /// Cancel safe: a mint that others wait for, or that will be kept, goes on.
    ///
    /// # Errors
    /// [`TokenError`] of the mint that was waited for.
    pub async fn token(&self, user: &UserName) -> Result<Token, TokenError> {
        if let Some(token) = self.hand_out(user, None) {
            return Ok(token);
        }
        // Without a refused token there is always an answer, unless the keeper has ended.
        self.ask(user, None).await?.ok_or(TokenError::Stopped)
    }

    /// A token for `user` that is newer than the `refused` one: one that another login has had minted since, or a mint
    /// of now. `None` when a newer one would be no better: the refused one was minted for that very login, or moments
    /// ago because of another refusal.
    ///
    /// Cancel safe, as [`TokenSource::token`] is.
    ///
    /// # Errors
    /// [`TokenError`] of the mint that was waited for.
    pub async fn fresh(&self, user: &UserName, refused: &Token) -> Result<Option<Token>, TokenError> {
        if !refused.is_kept() {
            return Ok(None);
        }
        if let Some(token) = self.hand_out(user, Some(refused)) {
            return Ok(Some(token));
        }
        self.ask(user, Some(refused.clone())).await
    }

    /// Returns the principal of the tokens, as named by the issuer.
    ///
    /// Cancel safe: connections are closed, programs killed.
    ///
    /// # Errors
    /// [`TokenError`] when credentials are not found, or a server does not name the principal.
    pub async fn principal(&self) -> Result<TokenPrincipal, TokenError> {
        self.minter.principal().await
    }

    /// Status now.
    #[must_use]
    pub fn status(&self) -> TokenStatus {
        let now = Instant::now();
        let mut kept: Vec<_> = self
            .kept
            .load()
            .iter()
            .filter(|(_, kept)| kept.is_given_out(now))
            .map(|(user, kept)| KeptToken {
                user: user.clone(),
                minted_at: kept.minted.shown,
                expires_at: kept.expires.shown,
            })
            .collect();
        kept.sort_by(|a, b| a.user.cmp(&b.user));
        let failing = self.counts.failing.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (failing_since, failing) = failing.unzip();
        TokenStatus {
            mints: self.counts.mints.load(Ordering::Relaxed),
            failures: self.counts.failures.load(Ordering::Relaxed),
            failing,
            failing_since,
            kept,
        }
    }

    fn hand_out(&self, user: &UserName, refused: Option<&Token>) -> Option<Token> {
        self.kept.load().get(user)?.hand_out(Instant::now(), refused)
    }

    async fn ask(&self, user: &UserName, refused: Option<Token>) -> Reply {
        let (reply, answer) = oneshot::channel();
        let ask = Ask { user: user.clone(), refused, reply };
        self.asks.send(ask).await.map_err(|_| TokenError::Stopped)?;
        answer.await.map_err(|_| TokenError::Stopped)?
    }
}

// === impl TokenCounts ===

impl TokenCounts {
    /// Counts a mint; `error` is the reason of a failed one.
    fn note_result(&self, error: Option<&TokenError>, now: Timestamp) {
        let counter = if error.is_some() { &self.failures } else { &self.mints };
        counter.fetch_add(1, Ordering::Relaxed);
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        let since = failing.as_ref().map_or(now, |(since, _)| *since);
        *failing = error.map(|error| (since, error.clone()));
    }
}

// === impl TokenKeeper ===

impl TokenKeeper {
    /// Mints when logins ask and ahead of time, until every [`TokenSource`] is gone. Each mint is reported when it ended.
    ///
    /// Cancel safety: a running command is killed, and waiting logins get an error.
    pub async fn run(mut self, mut report: impl FnMut(Mint) + Send) {
        let mut minting: Vec<Minting> = Vec::new();
        loop {
            while let Some(user) = self.cached.poll_mint(now(), oneshot::Sender::is_closed) {
                let minter = Arc::clone(&self.minter);
                minting.push(Box::pin(async move {
                    let result = minter.mint(&user).await;
                    (user, result)
                }));
            }
            self.publish();
            tokio::select! {
                ask = self.asks.recv() => match ask {
                    Some(ask) => self.on_ask(ask),
                    None => return,
                },
                (user, result) = poll_fn(|context| poll_minted(&mut minting, context)) => {
                    self.on_minted(&user, result, &mut report);
                }
                () = until(self.cached.poll_timeout()) => {}
            }
        }
    }

    fn on_ask(&mut self, Ask { user, refused, reply }: Ask) {
        // Whoever has gone away in the meantime needs no answer.
        match self.cached.on_login(now(), user, refused.as_ref(), reply) {
            TokenAnswer::Token(reply, token) => _ = reply.send(Ok(Some(token))),
            TokenAnswer::TooSoon(reply) => _ = reply.send(Ok(None)),
            TokenAnswer::Deferred(reply, error) => _ = reply.send(Err(error)),
            TokenAnswer::Later => {}
        }
        self.publish();
    }

    fn on_minted(
        &mut self,
        user: &UserName,
        result: Result<MintedToken, TokenError>,
        report: &mut impl FnMut(Mint),
    ) {
        let Some(done) = self.cached.on_minted(user, now(), random(), result) else { return };
        self.publish();
        let MintResult { user, cause, took, expires_at, result, fallback, waiting } = done;
        self.counts.note_result(result.as_ref().err(), Timestamp::now());
        report(Mint { user, cause, took, result: result.as_ref().map(|_| expires_at).map_err(Clone::clone) });
        let result = fallback.map_or(result, Ok);
        for reply in waiting {
            _ = reply.send(result.clone().map(Some));
        }
    }

    fn publish(&mut self) {
        if let Some(kept) = self.cached.poll_kept() {
            self.published.publish(kept);
        }
    }
}

/// Removes and returns the first ended mint.
fn poll_minted(minting: &mut Vec<Minting>, context: &mut Context<'_>) -> Poll<<Minting as Future>::Output> {
    for at in 0..minting.len() {
        if let Poll::Ready(minted) = minting[at].as_mut().poll(context) {
            drop(minting.swap_remove(at));
            return Poll::Ready(minted);
        }
    }
    Poll::Pending
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}

fn now() -> Now {
    Now { instant: Instant::now(), shown: Timestamp::now() }
}

/// In 0..1.
pub(super) fn random() -> f64 {
    let mut bytes = [0; 4];
    // Jitter may do without randomness; nothing else hangs on it.
    _ = aws_lc_rs::rand::fill(&mut bytes);
    f64::from(u32::from_le_bytes(bytes)) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests;
