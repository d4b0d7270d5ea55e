//! Which tokens are kept, who waits for one, and what is minted next: a machine without clock and processes.
//!
//! Promises: one mint at a time for each user, and a few users at a time; waiting logins of one user share one result.
//! A token is kept until its own expiry, and renewed ahead of time while used. While mints fail, the last token is
//! given out past its time to live until the server refuses the token. Retries back off, never before the issuer's
//! retry time. With a time to live of zero, every login has a separate mint.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use tokio::time::Instant;

use super::{Secret, Token, TokenError, exchange::MintedToken};
use crate::{closed_set::closed_set, names::UserName};

closed_set! {
    /// Why a token is minted: a label of metrics and a field of the audit log.
    pub enum MintCause {
        /// A login needs one and none is kept.
        Login = "login",
        /// The kept one is near its end.
        Renewal = "renewal",
        /// The server refused the kept one.
        Refusal = "refusal",
    }
}

/// A moment, on the clock that measures and on the one that is shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    pub(super) instant: Instant,
    pub(super) shown: Timestamp,
}

/// A token that later logins may use.
pub(super) struct CachedToken {
    secret: Arc<Secret>,
    id: u64,
    pub(super) minted: Now,
    pub(super) expires: Now,
    /// Lifetime from `minted` to `expires`.
    life: Duration,
    /// Minted because its forerunner was refused.
    after_refusal: bool,
    /// Given to a login since it was minted: otherwise nobody needs a renewal.
    used: AtomicBool,
    /// Given out past `expires`: the last replacement mint failed.
    outlives_ttl: AtomicBool,
}

/// The machine. `W` is whoever waits for a token.
pub(super) struct TokenCache<W> {
    /// Upper limit of a token's time to live; `None`: the token's own expiry.
    ttl: Option<Duration>,
    /// Maximum number of concurrent mints.
    concurrency: usize,
    kept: HashMap<UserName, CacheEntry>,
    /// Users whose issuer asked for a later retry, with its error.
    deferred: HashMap<UserName, (Instant, TokenError)>,
    /// Mints to come, in the order in which they were asked for.
    queue: VecDeque<Job<W>>,
    /// Running mints: one for each user, at most `concurrency`.
    minting: Vec<Job<W>>,
    minted: u64,
    /// Whether `kept` has changed since it was last asked for.
    changed: bool,
}

struct CacheEntry {
    kept: Arc<CachedToken>,
    /// Time of the next renewal check.
    look_at: Instant,
    /// Renewals that failed in a row.
    failures: u32,
}

struct Job<W> {
    user: UserName,
    cause: MintCause,
    waiting: Vec<W>,
    started: Option<Now>,
}

/// What a login is answered at once.
pub(super) enum TokenAnswer<W> {
    /// This token is kept.
    Token(W, Token),
    /// The refused token is the freshest that makes sense: it was minted moments ago, because of a refusal.
    TooSoon(W),
    /// The issuer wants to be left alone for now.
    Deferred(W, TokenError),
    /// It waits.
    Later,
}

/// Token to keep: cause and start of its mint, lifetime, and use by a login.
struct Minted {
    cause: MintCause,
    from: Now,
    lifetime: Option<Duration>,
    used: bool,
}

/// A mint that ended.
pub(super) struct MintResult<W> {
    pub(super) user: UserName,
    pub(super) cause: MintCause,
    pub(super) took: Duration,
    /// End of the new token's use.
    pub(super) expires_at: Timestamp,
    pub(super) result: Result<Token, TokenError>,
    /// After a failure: the token still kept, given to the waiters.
    pub(super) fallback: Option<Token>,
    /// Who gets the result.
    pub(super) waiting: Vec<W>,
}

/// A user whose every token is refused costs one mint in this time, not one for each login.
const REFUSED_TOKEN_MINT_INTERVAL: Duration = Duration::from_secs(5);
/// Before the second attempt of a renewal; doubled for each further one.
const MIN_RENEWAL_PAUSE: Duration = Duration::from_secs(1);
/// Before any attempt of a renewal.
const MAX_RENEWAL_PAUSE: Duration = Duration::from_secs(30);
/// Time to live of a token without a known lifetime.
const DEFAULT_TTL: Duration = Duration::from_secs(300);
/// Last part of a lifetime, in which the token is not given out: a login takes time, and clocks differ.
const EXPIRY_MARGIN: Duration = Duration::from_secs(4 * 60);
/// Time to live of a token within [`EXPIRY_MARGIN`] of expiry. The metadata server hands out the same token until
/// shortly before expiry, and must not be queried for each login.
const LAST_MINUTES_TTL: Duration = Duration::from_secs(30);
/// Upper limit of an issuer's retry time.
const MAX_DEFERRAL: Duration = Duration::from_secs(10 * 60);
/// Time that an expired token is kept as a fallback for failed mints. Google's tokens live one hour; tokens of some
/// issuers one day.
const RETAINED_PAST_TTL: Duration = Duration::from_secs(24 * 60 * 60);
/// Maximum number of users with kept tokens: without a list of users, clients may invent names.
const MAX_KEPT_TOKENS: usize = 1_000;

// === impl CachedToken ===

impl CachedToken {
    /// Hands the token out, if it is still good and is not the one that was `refused`.
    pub(super) fn hand_out(&self, now: Instant, refused: Option<&Token>) -> Option<Token> {
        if !self.is_given_out(now) || refused.is_some_and(|refused| refused.id == self.id) {
            return None;
        }
        self.used.store(true, Ordering::Relaxed);
        Some(Token { secret: Arc::clone(&self.secret), id: self.id, kept: true })
    }

    /// True while logins get the token without a mint.
    pub(super) fn is_given_out(&self, now: Instant) -> bool {
        now < self.expires.instant || self.outlives_ttl.load(Ordering::Relaxed)
    }
}

// === impl TokenCache ===

impl<W> TokenCache<W> {
    /// Tokens live for `ttl` at most; at most `concurrency` mints run at a time; `inherited` tokens come from an
    /// equivalent source.
    pub(super) fn new(
        ttl: Option<Duration>,
        concurrency: usize,
        inherited: &HashMap<UserName, Arc<CachedToken>>,
    ) -> Self {
        let keeps = ttl.is_none_or(|ttl| !ttl.is_zero());
        let inherited: Vec<_> = if keeps { inherited.iter().collect() } else { Vec::new() };
        let entry = |kept: &Arc<CachedToken>| CacheEntry {
            kept: Arc::clone(kept),
            look_at: kept.minted.instant + ttl.map_or(kept.life, |ttl| ttl.min(kept.life)).mul_f64(0.7),
            failures: 0,
        };
        Self {
            ttl,
            concurrency,
            deferred: HashMap::new(),
            kept: inherited.iter().map(|(user, kept)| ((*user).clone(), entry(kept))).collect(),
            queue: VecDeque::new(),
            minting: Vec::new(),
            // Continues after the inherited ids: a refused token of the previous source must not match a new token.
            minted: inherited.iter().map(|(_, kept)| kept.id).max().unwrap_or(0),
            changed: !inherited.is_empty(),
        }
    }

    /// A login needs a token for `user`; `refused` is the one the server did not take, if this is the second attempt.
    pub(super) fn on_login(
        &mut self,
        now: Now,
        user: UserName,
        refused: Option<&Token>,
        who: W,
    ) -> TokenAnswer<W> {
        if let Some(entry) = self.kept.get(&user) {
            let kept = &entry.kept;
            if let Some(token) = kept.hand_out(now.instant, refused) {
                return TokenAnswer::Token(who, token);
            }
            if refused.is_some_and(|refused| refused.id == kept.id) {
                if kept.after_refusal && now.instant < kept.minted.instant + REFUSED_TOKEN_MINT_INTERVAL {
                    return TokenAnswer::TooSoon(who);
                }
                self.kept.remove(&user);
                self.changed = true;
            }
        }
        if let Some((until, error)) = self.deferred.get(&user)
            && now.instant < *until
        {
            return TokenAnswer::Deferred(who, error.clone());
        }
        let cause = if refused.is_some() { MintCause::Refusal } else { MintCause::Login };
        let shared = self.keeps();
        // A mint that is under way is newer than any refused token.
        let under_way = self.minting.iter_mut().chain(&mut self.queue).find(|job| shared && job.user == user);
        match under_way {
            Some(job) => job.waiting.push(who),
            None => self.queue.push_back(Job { user, cause, waiting: vec![who], started: None }),
        }
        TokenAnswer::Later
    }

    /// The running mint for `user` has ended. `random` is in 0..1.
    pub(super) fn on_minted(
        &mut self,
        user: &UserName,
        now: Now,
        random: f64,
        result: Result<MintedToken, TokenError>,
    ) -> Option<MintResult<W>> {
        let at = self.minting.iter().position(|job| job.user == *user)?;
        let Job { user, cause, waiting, started } = self.minting.swap_remove(at);
        let started = started.unwrap_or(now);
        let (mut fallback, mut expires_at) = (None, now.shown);
        let result = match result {
            Ok(MintedToken { secret, lifetime }) => {
                self.minted += 1;
                self.deferred.remove(&user);
                let token = Token { secret: Arc::new(secret), id: self.minted, kept: false };
                let used = !waiting.is_empty();
                expires_at =
                    self.keep(&user, Minted { cause, from: started, lifetime, used }, &token, random);
                Ok(token)
            }
            Err(error) => {
                let deferral = error.retry_after().map(|wanted| wanted.min(MAX_DEFERRAL));
                self.defer(&user, now.instant, deferral, &error);
                if let Some(entry) = self.kept.get_mut(&user) {
                    entry.failures += 1;
                    let pause = pause(entry.failures, random);
                    entry.look_at = now.instant + deferral.map_or(pause, |deferral| deferral.max(pause));
                    entry.kept.outlives_ttl.store(true, Ordering::Relaxed);
                    fallback = entry.kept.hand_out(now.instant, None).filter(|_| !waiting.is_empty());
                }
                Err(error)
            }
        };
        Some(MintResult {
            user,
            cause,
            took: now.instant - started.instant,
            expires_at,
            result,
            fallback,
            waiting,
        })
    }

    /// Returns the next user to mint for, unless `concurrency` mints are running. Drops jobs whose waiters are all
    /// `gone`.
    pub(super) fn poll_mint(&mut self, now: Now, gone: impl Fn(&W) -> bool) -> Option<UserName> {
        self.expire_and_renew(now.instant);
        if self.minting.len() >= self.concurrency {
            return None;
        }
        loop {
            let minting = &self.minting;
            let at = self.queue.iter().position(|job| minting.iter().all(|other| other.user != job.user))?;
            let mut job = self.queue.remove(at)?;
            if job.cause != MintCause::Renewal && job.waiting.iter().all(&gone) {
                continue;
            }
            job.started = Some(now);
            let user = job.user.clone();
            self.minting.push(job);
            return Some(user);
        }
    }

    /// When to poll again, if nothing else happens.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.kept.values().map(|entry| entry.look_at.min(entry.end())).min()
    }

    /// The tokens kept now, if they are not those of the last call.
    pub(super) fn poll_kept(&mut self) -> Option<HashMap<UserName, Arc<CachedToken>>> {
        std::mem::take(&mut self.changed)
            .then(|| self.kept.iter().map(|(user, entry)| (user.clone(), Arc::clone(&entry.kept))).collect())
    }

    fn keeps(&self) -> bool {
        self.ttl.is_none_or(|ttl| !ttl.is_zero())
    }

    /// Records the issuer's retry time.
    fn defer(&mut self, user: &UserName, now: Instant, deferral: Option<Duration>, error: &TokenError) {
        self.deferred.retain(|_, (until, _)| now < *until);
        if let Some(deferral) = deferral
            && self.deferred.len() < MAX_KEPT_TOKENS
        {
            self.deferred.insert(user.clone(), (now + deferral, error.clone()));
        }
    }

    /// Keeps a token, if tokens are kept, and returns until when.
    fn keep(&mut self, user: &UserName, minted: Minted, token: &Token, random: f64) -> Timestamp {
        let Minted { cause, from, lifetime, used } = minted;
        if !self.keeps() {
            return from.shown;
        }
        let life = life(self.ttl, lifetime);
        let kept = Arc::new(CachedToken {
            secret: Arc::clone(&token.secret),
            id: token.id,
            minted: from,
            expires: Now {
                instant: from.instant + life,
                shown: from.shown.checked_add(life).unwrap_or(Timestamp::MAX),
            },
            life,
            after_refusal: cause == MintCause::Refusal,
            used: AtomicBool::new(used),
            outlives_ttl: AtomicBool::new(false),
        });
        // A fifth to three tenths of its life before its end.
        let look_at = from.instant + life.mul_f64(0.8 - 0.1 * random);
        self.changed = true;
        if self.kept.len() >= MAX_KEPT_TOKENS && !self.kept.contains_key(user) {
            let oldest = self.kept.iter().min_by_key(|(_, entry)| entry.kept.minted.instant);
            if let Some(oldest) = oldest.map(|(user, _)| user.clone()) {
                self.kept.remove(&oldest);
            }
        }
        let until = kept.expires.shown;
        self.kept.insert(user.clone(), CacheEntry { kept, look_at, failures: 0 });
        until
    }

    /// Forgets tokens long expired. Queues renewals of used tokens near expiry.
    fn expire_and_renew(&mut self, now: Instant) {
        let before = self.kept.len();
        self.kept.retain(|_, entry| now < entry.end());
        self.changed |= self.kept.len() < before;
        let Self { kept, queue, minting, .. } = self;
        for (user, entry) in kept.iter_mut().filter(|(_, entry)| entry.look_at <= now) {
            // Checks again later: a login may have used the token, or its mint may have been dropped. After expiry, the
            // next login requests a mint.
            entry.look_at = match entry.kept.is_given_out(now) {
                true => now + entry.kept.life.mul_f64(0.05).max(Duration::from_millis(1)),
                false => entry.end(),
            };
            let busy = minting.iter().chain(&*queue).any(|job| job.user == *user);
            if !busy && entry.kept.used.load(Ordering::Relaxed) {
                let user = user.clone();
                queue.push_back(Job { user, cause: MintCause::Renewal, waiting: Vec::new(), started: None });
            }
        }
    }
}

// === impl CacheEntry ===

impl CacheEntry {
    /// Time at which the entry is forgotten.
    fn end(&self) -> Instant {
        self.kept.expires.instant + RETAINED_PAST_TTL
    }
}

/// Returns the duration of a token's use. `lifetime` is stated by its issuer.
fn life(ttl: Option<Duration>, lifetime: Option<Duration>) -> Duration {
    let own = lifetime.map(|lifetime| {
        lifetime.saturating_sub(EXPIRY_MARGIN).max(LAST_MINUTES_TTL.min(lifetime / 2)).min(RETAINED_PAST_TTL)
    });
    match (ttl, own) {
        (Some(ttl), Some(own)) => ttl.min(own),
        (Some(ttl), None) => ttl,
        (None, own) => own.unwrap_or(DEFAULT_TTL),
    }
    .max(Duration::from_millis(1))
}

/// Between half of the doubled pause and the whole of it.
fn pause(failures: u32, random: f64) -> Duration {
    let whole =
        MIN_RENEWAL_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(8)).min(MAX_RENEWAL_PAUSE);
    whole.mul_f64(0.5 + 0.5 * random)
}

#[cfg(test)]
mod tests;
