//! Scripts for the machine: logins by number, time by the second, no clock.

use super::*;

const TTL: Duration = Duration::from_secs(300);

/// The machine, the time since its start, and what its logins were told.
struct Script {
    start: Now,
    cached: Cached<usize>,
    seconds: f64,
}

impl Script {
    fn new(ttl: Duration) -> Self {
        let start = Now { instant: Instant::now(), shown: Timestamp::UNIX_EPOCH };
        Self { start, cached: Cached::new(ttl), seconds: 0.0 }
    }

    fn now(&self) -> Now {
        let passed = Duration::from_secs_f64(self.seconds);
        Now { instant: self.start.instant + passed, shown: self.start.shown + passed }
    }

    /// What the login is told at once: a token, "too soon", or nothing.
    fn login(&mut self, user: &str, refused: Option<&Token>, who: usize) -> Option<Result<Token, ()>> {
        match self.cached.on_login(self.now(), UserName::new(user).unwrap(), refused, who) {
            Answer::Token(told, token) => {
                assert_eq!(told, who);
                Some(Ok(token))
            }
            Answer::TooSoon(_) => Some(Err(())),
            Answer::Later => None,
        }
    }

    fn start_mint(&mut self) -> Option<String> {
        self.cached.poll_mint(self.now(), |_| false).map(|user| user.to_string())
    }

    fn minted(&mut self, text: &str) -> Done<usize> {
        let result = Ok(Secret::new(text.into()));
        self.cached.on_minted(self.now(), 0.0, result).expect("a mint was running")
    }

    fn failed(&mut self) -> Done<usize> {
        self.cached.on_minted(self.now(), 1.0, Err(TokenError::NoText)).expect("a mint was running")
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
fn users_have_tokens_of_their_own_and_are_minted_for_one_at_a_time() {
    let mut script = Script::new(TTL);
    script.login("a", None, 0);
    script.login("b", None, 1);
    assert_eq!(script.start_mint().as_deref(), Some("a"));
    assert_eq!(script.start_mint(), None, "one mint at a time");
    assert_eq!(script.minted("of a").waiting, [0]);
    assert_eq!(script.start_mint().as_deref(), Some("b"));
    script.minted("of b");
    assert_eq!(script.login("a", None, 2).unwrap().unwrap().secret.reveal(), "of a");
    assert_eq!(script.login("b", None, 3).unwrap().unwrap().secret.reveal(), "of b");
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
    while script.seconds < 539.0 {
        script.seconds += script.timeout();
        assert_eq!(script.start_mint(), None, "at {} s", script.seconds);
    }
    assert!(script.cached.poll_kept().unwrap().is_empty());
    assert!(script.cached.poll_timeout().is_none());
    assert!(script.login("a", None, 1).is_none());
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
    script.seconds = 300.0;
    assert!(script.login("a", None, 2).is_none(), "an expired token is not given out");
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
    script.seconds += CALM.as_secs_f64();
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
    assert_eq!(pause(u32::MAX, 1.0), LONGEST_PAUSE);
}
