//! Passwords that a server has accepted from clients.
//!
//! Promises: a kept password was accepted by a server that requested a password; a dropped password is wiped and never
//! shown. Refuses to know: clients, and the lifetime of an accepted password.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::login_method::PasswordMethod;
use crate::{
    names::UserName,
    scram::{DEFAULT_ITERATIONS, SALT_BYTES, Verifier},
};

/// A user's password, accepted by a server.
///
/// A verifier suffices to check the next client, but not to log in. For an endpoint without a login of its own the
/// password is kept, so that a pool can open further backends for the user after the client has left.
pub struct AcceptedPassword {
    verifier: Verifier,
    since: Instant,
    login_method: Option<Arc<PasswordMethod>>,
}

/// Passwords accepted by an endpoint, by user.
#[derive(Default)]
pub(super) struct AcceptedPasswords {
    by_user: Mutex<HashMap<UserName, Arc<AcceptedPassword>>>,
    /// Passwords accepted before the instant are sent to the server again.
    judged_again: Mutex<Option<Instant>>,
}

// === impl AcceptedPassword ===

impl AcceptedPassword {
    /// The password of `way`, accepted just now.
    pub(super) fn new(login_method: PasswordMethod) -> Self {
        let mut salt = [0; SALT_BYTES];
        aws_lc_rs::rand::fill(&mut salt).expect("the system's random generator does not fail");
        let verifier = Verifier::derive(login_method.password().as_bytes(), &salt, DEFAULT_ITERATIONS)
            .expect("the default number of iterations is in range");
        Self { verifier, since: Instant::now(), login_method: Some(Arc::new(login_method)) }
    }

    /// The verifier without the password.
    #[must_use]
    pub fn verifier_only(self) -> Self {
        Self { login_method: None, ..self }
    }

    /// True if `password` is correct. Constant time.
    #[must_use]
    pub fn matches_password(&self, password: &str) -> bool {
        self.verifier.matches_password(password.as_bytes())
    }

    /// Time since the server accepted the password.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.since.elapsed()
    }

    /// Login method with the password.
    pub(super) const fn login_method(&self) -> Option<&Arc<PasswordMethod>> {
        self.login_method.as_ref()
    }
}

// === impl AcceptedPasswords ===

impl AcceptedPasswords {
    pub(super) fn get(&self, user: &UserName) -> Option<Arc<AcceptedPassword>> {
        self.lock().get(user).cloned()
    }

    /// Returns the password of `user`, unless the server must verify the password again.
    pub(super) fn get_current(&self, user: &UserName) -> Option<Arc<AcceptedPassword>> {
        let before = *self.judged_again.lock().unwrap_or_else(PoisonError::into_inner);
        self.get(user).filter(|accepted| before.is_none_or(|before| accepted.since > before))
    }

    /// Makes the server verify passwords accepted until now again.
    pub(super) fn judge_again(&self) {
        *self.judged_again.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    pub(super) fn keep(&self, user: &UserName, password: Arc<AcceptedPassword>) {
        self.lock().insert(user.clone(), password);
    }

    /// Removes `refused`, unless another password has replaced it.
    pub(super) fn forget(&self, user: &UserName, refused: &Arc<AcceptedPassword>) {
        let mut by_user = self.lock();
        if by_user.get(user).is_some_and(|kept| Arc::ptr_eq(kept, refused)) {
            by_user.remove(user);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<UserName, Arc<AcceptedPassword>>> {
        self.by_user.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::Secret;

    fn accepted(password: &str) -> Arc<AcceptedPassword> {
        Arc::new(AcceptedPassword::new(PasswordMethod::of_client(Secret::new(password.to_owned()))))
    }

    #[test]
    fn it_fits_itself_and_the_password_goes_where_only_the_verifier_is_needed() {
        let password = AcceptedPassword::new(PasswordMethod::of_client(Secret::new("hunter2".to_owned())));
        assert!(
            password.matches_password("hunter2")
                && !password.matches_password("hunter3")
                && !password.matches_password("")
        );
        assert_eq!(password.login_method().map(|login_method| login_method.password()), Some("hunter2"));
        let password = password.verifier_only();
        assert!(password.matches_password("hunter2"));
        assert!(password.login_method().is_none());
    }

    #[test]
    fn only_what_was_refused_is_forgotten() {
        let user = UserName::new("app").unwrap();
        let all = AcceptedPasswords::default();
        let (old, new) = (accepted("old"), accepted("new"));
        all.keep(&user, Arc::clone(&old));
        all.keep(&user, Arc::clone(&new));
        all.forget(&user, &old);
        assert!(all.get(&user).is_some_and(|kept| kept.matches_password("new")), "a newer one stays");
        all.forget(&user, &new);
        assert!(all.get(&user).is_none());
    }

    #[test]
    fn passwords_of_before_a_change_are_judged_again() {
        let user = UserName::new("app").unwrap();
        let all = AcceptedPasswords::default();
        all.keep(&user, accepted("old"));
        assert!(all.get_current(&user).is_some());
        all.judge_again();
        assert!(all.get_current(&user).is_none());
        assert!(all.get(&user).is_some(), "backends log in with it until the server refuses it");
        all.keep(&user, accepted("new"));
        assert!(all.get_current(&user).is_some());
    }
}
