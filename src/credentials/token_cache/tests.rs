//! Scripts for the machine: logins by number, time by the second, no clock.

use super::*;
use crate::credentials::GoogleError;

const TTL: Duration = Duration::from_secs(300);
/// Maximum number of concurrent mints.
const MINTS: usize = 4;

/// The machine, the time since its start, and what its logins were told.
struct Script {
    start: Now,
    cached: TokenCache<usize>,
    seconds: f64,
    /// Users with a running mint, in start order.
    minting: Vec<UserName>,
}

impl Script {
    fn new(ttl: Duration) -> Self {
        let start = Now { instant: Instant::now(), shown: Timestamp::UNIX_EPOCH };
        Self {
            start,
            cached: TokenCache::new(Some(ttl), MINTS, &HashMap::new()),
            seconds: 0.0,
            minting: Vec::new(),
        }
    }

    /// Script in which tokens are kept until their own expiry.
    fn without_ttl() -> Self {
        let mut script = Self::new(TTL);
        script.cached = TokenCache::new(None, MINTS, &HashMap::new());
        script
    }

    fn now(&self) -> Now {
        let passed = Duration::from_secs_f64(self.seconds);
        Now { instant: self.start.instant + passed, shown: self.start.shown + passed }
    }

    /// What the login is told at once: a token, "too soon", or nothing.
    fn login(&mut self, user: &str, refused: Option<&Token>, who: usize) -> Option<Result<Token, ()>> {
        match self.cached.on_login(self.now(), UserName::new(user).unwrap(), refused, who) {
            TokenAnswer::Token(instant, token) => {
                assert_eq!(instant, who);
                Some(Ok(token))
            }
            TokenAnswer::TooSoon(_) | TokenAnswer::Deferred(..) => Some(Err(())),
            TokenAnswer::Later => None,
        }
    }

    fn start_mint(&mut self) -> Option<String> {
        let user = self.cached.poll_mint(self.now(), |_| false)?;
        self.minting.push(user.clone());
        Some(user.to_string())
    }

    /// Lets the oldest running mint succeed.
    fn minted(&mut self, text: &str) -> MintResult<usize> {
        let user = self.minting.remove(0);
        let result = Ok(MintedToken { secret: Secret::new(text.into()), lifetime: None });
        self.cached.on_minted(&user, self.now(), 0.0, result).expect("a mint was running")
    }

    /// Lets the oldest running mint fail.
    fn failed(&mut self) -> MintResult<usize> {
        let user = self.minting.remove(0);
        self.cached.on_minted(&user, self.now(), 1.0, Err(TokenError::NoText)).expect("a mint was running")
    }

    /// A first token of `user`, kept.
    fn with_token(ttl: Duration) -> (Self, Token) {
        let mut script = Self::new(ttl);
        assert!(script.login("a", None, 0).is_none());
        assert_eq!(script.start_mint().as_deref(), Some("a"));
        script.minted("first");
        let token = script.login("a", None, 0).unwrap().unwrap();
        (script, token)
    }

    /// In how many seconds the machine wants to be polled.
    fn timeout(&self) -> f64 {
        (self.cached.poll_timeout().unwrap() - self.start.instant).as_secs_f64() - self.seconds
    }
}

#[test]
fn a_hundred_logins_share_one_mint_and_later_ones_use_the_kept_token() {
    let mut script = Script::new(TTL);
    for who in 0..100 {
        assert!(script.login("a", None, who).is_none());
    }
    assert_eq!(script.start_mint().as_deref(), Some("a"));
    assert!(script.login("a", None, 100).is_none(), "it joins the running mint");
    assert_eq!(script.start_mint(), None);
    let done = script.minted("t");
    assert_eq!(done.waiting, (0..=100).collect::<Vec<_>>());
    assert!(!done.result.ok().unwrap().is_kept(), "it was minted for these logins");
    let kept = script.login("a", None, 101).unwrap().unwrap();
    assert!(kept.is_kept());
    assert_eq!(kept.secret.reveal(), "t");
    assert_eq!(script.start_mint(), None);
}

#[test]
fn a_mint_that_hangs_for_one_user_holds_up_no_other() {
    let mut script = Script::new(TTL);
    script.login("a", None, 0);
    script.login("b", None, 1);
    script.login("a", None, 4);
    assert_eq!(script.start_mint().as_deref(), Some("a"));
    assert_eq!(script.start_mint().as_deref(), Some("b"));
    assert_eq!(script.start_mint(), None, "one mint at a time for each");
    let hangs = script.minting.remove(0);
    assert_eq!(script.minted("of b").waiting, [1]);
    script.minting.push(hangs);
    assert_eq!(script.minted("of a").waiting, [0, 4]);
    assert_eq!(script.login("a", None, 2).unwrap().unwrap().secret.reveal(), "of a");
    assert_eq!(script.login("b", None, 3).unwrap().unwrap().secret.reveal(), "of b");
}

#[test]
fn only_a_few_users_are_minted_for_at_one_time() {
    let mut script = Script::new(TTL);
    for who in 0..=MINTS {
        script.login(&format!("user{who}"), None, who);
    }
    for _ in 0..MINTS {
        assert!(script.start_mint().is_some());
    }
    assert_eq!(script.start_mint(), None);
    script.minted("t");
    assert!(script.start_mint().is_some());
}

#[test]
fn invented_users_are_forgotten_beyond_a_bound() {
    let mut script = Script::new(TTL);
    for who in 0..MAX_KEPT_TOKENS + 10 {
        script.seconds += 0.001;
        script.login(&format!("user{who}"), None, who);
        script.start_mint().unwrap();
        script.minted("t");
    }
    assert_eq!(script.cached.poll_kept().unwrap().len(), MAX_KEPT_TOKENS);
    assert!(script.login("user0", None, 0).is_none(), "the oldest went first");
}

#[test]
fn a_time_to_live_of_zero_mints_for_each_login() {
    let mut script = Script::new(Duration::ZERO);
    for who in 0..3 {
        script.login("a", None, who);
    }
    for who in 0..3 {
        assert_eq!(script.start_mint().as_deref(), Some("a"));
        assert_eq!(script.minted("t").waiting, [who]);
    }
    assert_eq!(script.start_mint(), None);
    assert!(script.cached.poll_kept().is_none(), "nothing is kept");
}

#[test]
fn nobody_mints_for_logins_that_have_gone_away() {
    let mut script = Script::new(TTL);
    script.login("a", None, 0);
    script.login("b", None, 1);
    let user = script.cached.poll_mint(script.now(), |who| *who == 0);
    assert_eq!(user.unwrap().as_str(), "b");
}

#[test]
fn a_token_in_use_is_renewed_ahead_of_time_without_anybody_waiting() {
    let (mut script, first) = Script::with_token(TTL);
    script.seconds = script.timeout();
    assert_eq!(script.seconds, 240.0, "a fifth of its life is left");
    assert_eq!(script.start_mint().as_deref(), Some("a"));
    let meanwhile = script.login("a", None, 1).unwrap().unwrap();
    assert_eq!(meanwhile.id, first.id, "logins do not wait for a renewal");
    let done = script.minted("second");
    assert_eq!((done.cause, done.waiting.len()), (MintCause::Renewal, 0));
    assert_eq!(script.login("a", None, 2).unwrap().unwrap().secret.reveal(), "second");
}

#[test]
fn a_token_that_no_login_has_used_since_its_renewal_is_left_to_expire() {
    let (mut script, _) = Script::with_token(TTL);
    script.seconds = 240.0;
    script.start_mint().unwrap();
    script.minted("second");
    while script.seconds < 540.0 {
        script.seconds += script.timeout();
        assert_eq!(script.start_mint(), None, "at {} s", script.seconds);
    }
    assert!(script.login("a", None, 1).is_none());
    assert_eq!(script.start_mint().as_deref(), Some("a"), "the next login asks for one");
    script.minted("third");
    script.seconds += (TTL + RETAINED_PAST_TTL).as_secs_f64();
    assert_eq!(script.start_mint(), None);
    assert!(script.cached.poll_kept().unwrap().is_empty(), "in the end it is forgotten");
    assert!(script.cached.poll_timeout().is_none());
}

#[test]
fn a_token_is_given_out_past_its_time_to_live_while_mints_fail() {
    let (mut script, first) = Script::with_token(TTL);
    script.seconds = 240.0;
    script.start_mint().unwrap();
    script.failed();
    script.seconds = 300.0 + 3_000.0;
    assert_eq!(script.start_mint().as_deref(), Some("a"), "it is still tried");
    assert_eq!(
        script.login("a", None, 1).unwrap().unwrap().id,
        first.id,
        "at once, whatever the command does"
    );
    script.failed();
    assert_eq!(script.login("a", None, 2).unwrap().unwrap().id, first.id);
    assert!(script.login("a", Some(&first), 3).is_none(), "the server has refused it");
    script.start_mint().unwrap();
    let done = script.failed();
    assert!(done.fallback.is_none() && done.waiting == [3]);
    assert!(script.login("a", None, 4).is_none(), "it is not given out any more");
}

#[test]
fn who_waited_for_a_mint_that_failed_gets_the_expired_token() {
    let (mut script, first) = Script::with_token(TTL);
    script.cached.kept.values().for_each(|entry| entry.kept.used.store(false, Ordering::Relaxed));
    script.seconds = 300.0;
    assert!(script.login("a", None, 1).is_none(), "nobody has used it, so nobody knows yet that mints fail");
    script.start_mint().unwrap();
    let done = script.failed();
    assert!(done.result.is_err());
    assert_eq!((done.waiting.as_slice(), done.fallback.unwrap().id), ([1].as_slice(), first.id));
    script.seconds += script.timeout();
    script.start_mint().expect("it is tried again");
    script.minted("second");
    assert_eq!(script.login("a", None, 2).unwrap().unwrap().secret.reveal(), "second");
}

#[test]
fn a_source_in_place_of_another_keeps_its_tokens() {
    let (mut script, first) = Script::with_token(TTL);
    let kept = script.cached.poll_kept().unwrap();
    script.cached = TokenCache::new(Some(TTL), MINTS, &kept);
    assert_eq!(script.login("a", None, 1).unwrap().unwrap().id, first.id);
    script.seconds = 250.0;
    assert_eq!(script.start_mint().as_deref(), Some("a"), "it is renewed as ever");
    script.minted("second");
    let second = script.login("a", None, 2).unwrap().unwrap();
    assert!(second.id > first.id);
    script.cached = TokenCache::new(Some(Duration::ZERO), MINTS, &kept);
    assert!(script.login("a", None, 3).is_none(), "with a time to live of zero nothing is kept");
}

#[test]
fn a_token_used_in_its_last_fifth_is_still_renewed() {
    let (mut script, _) = Script::with_token(TTL);
    script.seconds = 240.0;
    script.start_mint().unwrap();
    script.minted("second");
    script.seconds = 481.0;
    assert_eq!(script.start_mint(), None, "nobody has used it yet");
    script.login("a", None, 1).unwrap().unwrap();
    script.seconds += script.timeout();
    assert_eq!(script.start_mint().as_deref(), Some("a"));
}

#[test]
fn a_failed_renewal_keeps_the_token_and_is_tried_later_and_later() {
    let (mut script, first) = Script::with_token(TTL);
    script.seconds = 240.0;
    let mut pauses = Vec::new();
    for _ in 0..5 {
        assert_eq!(script.start_mint().as_deref(), Some("a"));
        assert!(script.failed().result.is_err());
        assert_eq!(script.login("a", None, 1).unwrap().unwrap().id, first.id);
        pauses.push(script.timeout());
        script.seconds += script.timeout();
    }
    assert_eq!(pauses, [1.0, 2.0, 4.0, 8.0, 16.0]);
}

#[test]
fn a_failed_mint_is_told_to_all_who_waited_and_the_next_login_tries_again() {
    let mut script = Script::new(TTL);
    script.login("a", None, 0);
    script.login("a", None, 1);
    script.start_mint().unwrap();
    let done = script.failed();
    assert!(done.result.is_err());
    assert_eq!(done.waiting, [0, 1]);
    script.login("a", None, 2);
    assert_eq!(script.start_mint().as_deref(), Some("a"));
}

#[test]
fn logins_refused_with_the_same_token_share_one_fresh_one() {
    let (mut script, first) = Script::with_token(TTL);
    script.seconds = 20.0;
    for who in 0..50 {
        assert!(script.login("a", Some(&first), who).is_none());
    }
    assert!(script.login("a", None, 50).is_none(), "the refused token is not given out any more");
    script.start_mint().unwrap();
    assert!(script.login("a", Some(&first), 51).is_none(), "it joins the running mint");
    let done = script.minted("second");
    assert_eq!((done.cause, done.waiting.len()), (MintCause::Refusal, 52));
    let late = script.login("a", Some(&first), 52).unwrap().unwrap();
    assert_eq!(late.secret.reveal(), "second", "another login has fetched a newer one already");
    assert_eq!(script.start_mint(), None);
}

#[test]
fn a_user_whose_every_token_is_refused_does_not_have_the_command_run_for_each_login() {
    let (mut script, first) = Script::with_token(TTL);
    assert!(script.login("a", Some(&first), 1).is_none());
    script.start_mint().unwrap();
    script.minted("second");
    let second = script.login("a", None, 2).unwrap().unwrap();
    assert_eq!(script.login("a", Some(&second), 2).unwrap().err(), Some(()), "too soon");
    assert!(script.login("a", None, 3).unwrap().is_ok(), "it stays: others may fare better with it");
    script.seconds += REFUSED_TOKEN_MINT_INTERVAL.as_secs_f64();
    assert!(script.login("a", Some(&second), 4).is_none());
    assert_eq!(script.start_mint().as_deref(), Some("a"));
}

#[test]
fn a_token_lives_from_the_moment_its_mint_began() {
    let mut script = Script::new(TTL);
    script.login("a", None, 0);
    script.start_mint().unwrap();
    script.seconds = 9.0;
    let done = script.minted("t");
    assert_eq!(done.took, Duration::from_secs(9));
    let kept = script.cached.poll_kept().unwrap();
    let kept = &kept[&UserName::new("a").unwrap()];
    assert_eq!(kept.expires.shown, Timestamp::from_second(300).unwrap());
    assert!(script.cached.poll_kept().is_none(), "told once");
}

#[test]
fn pauses_are_jittered_and_bounded() {
    assert_eq!(pause(1, 0.0), Duration::from_millis(500));
    assert_eq!(pause(3, 1.0), Duration::from_secs(4));
    assert_eq!(pause(u32::MAX, 1.0), MAX_RENEWAL_PAUSE);
}

impl Script {
    /// Lets the oldest running mint succeed with a token of `lifetime` seconds.
    fn minted_for(&mut self, text: &str, lifetime: u64) -> MintResult<usize> {
        let user = self.minting.remove(0);
        let lifetime = Some(Duration::from_secs(lifetime));
        let result = Ok(MintedToken { secret: Secret::new(text.into()), lifetime });
        self.cached.on_minted(&user, self.now(), 0.0, result).expect("a mint was running")
    }

    /// Lets the oldest running mint fail with a retry time of `seconds`.
    fn put_off(&mut self, seconds: u64) -> MintResult<usize> {
        let user = self.minting.remove(0);
        let error = TokenError::Google(GoogleError::Refused {
            server: "issuer".into(),
            status: 429,
            code: String::new(),
            words: String::new(),
            retry_after: Some(Duration::from_secs(seconds)),
        });
        self.cached.on_minted(&user, self.now(), 1.0, Err(error)).expect("a mint was running")
    }
}

#[test]
fn a_token_is_kept_until_four_minutes_before_its_end() {
    let minutes = |minutes: u64| Some(Duration::from_secs(minutes * 60));
    for (ttl, lifetime, kept) in [
        (None, minutes(60), 56 * 60),
        (None, None, 5 * 60),
        (minutes(5), minutes(60), 5 * 60),
        (minutes(90), minutes(60), 56 * 60),
        (minutes(90), None, 90 * 60),
        // Last minutes: kept briefly, so that the issuer is not queried for each login.
        (None, minutes(4), 30),
        (None, Some(Duration::from_secs(20)), 10),
        (None, minutes(10_000_000), 24 * 60 * 60),
    ] {
        assert_eq!(life(ttl, lifetime), Duration::from_secs(kept), "{ttl:?} {lifetime:?}");
    }
    assert!(!life(None, Some(Duration::ZERO)).is_zero());
}

#[test]
fn a_token_with_an_expiry_is_renewed_ahead_of_it() {
    let mut script = Script::without_ttl();
    script.login("a", None, 0);
    script.start_mint().unwrap();
    script.minted_for("first", 3600);
    assert!((script.timeout() - 0.8 * 3360.0).abs() < 1.0, "{}", script.timeout());
    script.seconds = 3000.0;
    assert_eq!(script.login("a", None, 1).unwrap().unwrap().secret.reveal(), "first");
    assert_eq!(script.start_mint().as_deref(), Some("a"));
    script.minted_for("second", 3600);
    assert_eq!(script.login("a", None, 2).unwrap().unwrap().secret.reveal(), "second");
}

#[test]
fn an_issuer_away_for_half_an_hour_is_not_noticed() {
    let mut script = Script::without_ttl();
    script.login("a", None, 0);
    script.start_mint().unwrap();
    let first = script.minted_for("first", 3600);
    let id = first.result.ok().unwrap().id;
    while script.seconds < 2400.0 + 1800.0 {
        assert_eq!(script.login("a", None, 1).unwrap().unwrap().id, id, "at {} s", script.seconds);
        if script.start_mint().is_some() {
            script.failed();
        }
        script.seconds += script.timeout().clamp(0.001, 10.0);
    }
    script.seconds += script.timeout();
    script.start_mint().expect("it is still tried");
    script.minted_for("second", 3600);
    assert_eq!(script.login("a", None, 2).unwrap().unwrap().secret.reveal(), "second");
}

#[test]
fn an_issuer_is_left_alone_for_as_long_as_it_says() {
    let mut script = Script::new(TTL);
    script.login("a", None, 0);
    script.start_mint().unwrap();
    assert_eq!(script.put_off(60).waiting, [0]);
    script.seconds = 59.0;
    assert!(matches!(script.login("a", None, 1), Some(Err(()))), "it is told at once");
    assert!(script.login("b", None, 2).is_none(), "others are asked for");
    assert_eq!(script.start_mint().as_deref(), Some("b"));
    script.minted("of b");
    script.seconds = 60.0;
    assert!(script.login("a", None, 3).is_none());
    assert_eq!(script.start_mint().as_deref(), Some("a"));
}

#[test]
fn a_renewal_that_was_put_off_waits_for_as_long() {
    let (mut script, first) = Script::with_token(TTL);
    script.seconds = 240.0;
    script.start_mint().unwrap();
    script.put_off(100);
    assert_eq!(script.timeout(), 100.0);
    assert_eq!(script.login("a", None, 1).unwrap().unwrap().id, first.id, "the kept one serves");
    script.seconds = 300.0;
    assert_eq!(script.start_mint(), None);
    assert_eq!(script.login("a", None, 2).unwrap().unwrap().id, first.id, "past its time, too");
    script.seconds = 340.0;
    assert_eq!(script.start_mint().as_deref(), Some("a"));
}

#[test]
fn an_issuer_cannot_put_off_mints_for_ever() {
    let mut script = Script::new(TTL);
    script.login("a", None, 0);
    script.start_mint().unwrap();
    script.put_off(u64::MAX);
    script.seconds = MAX_DEFERRAL.as_secs_f64();
    assert!(script.login("a", None, 1).is_none());
}

#[test]
fn a_thousand_logins_of_ten_users_cost_a_mint_each() {
    let mut script = Script::new(TTL);
    for who in 0..1_000 {
        assert!(script.login(&format!("user{}", who % 10), None, who).is_none());
    }
    let (mut mints, mut answered) = (0, 0);
    while script.start_mint().is_some() {
        mints += 1;
        answered += script.minted("t").waiting.len();
    }
    assert_eq!((mints, answered), (10, 1_000));
}
