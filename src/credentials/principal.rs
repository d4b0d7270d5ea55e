//! Principal of a token, and the matching database user.

use crate::names::UserName;

/// Principal of a source's tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenPrincipal {
    /// One account, by e-mail address.
    Account(String),
    /// Each database user's own service account's.
    EachUser,
    /// Not named by the issuer.
    Unknown,
}

/// The end of a service account's e-mail address. AlloyDB's user names do without.
///
/// <https://cloud.google.com/alloydb/docs/database-users/manage-iam-auth>
pub(super) const SERVICE_ACCOUNT_SUFFIX: &str = ".gserviceaccount.com";

// === impl TokenPrincipal ===

impl TokenPrincipal {
    /// Returns the only database user of the tokens, if any.
    #[must_use]
    pub fn database_user(&self) -> Option<&str> {
        match self {
            Self::Account(email) => Some(email.strip_suffix(SERVICE_ACCOUNT_SUFFIX).unwrap_or(email)),
            Self::EachUser | Self::Unknown => None,
        }
    }

    /// True if a token of the principal can log in `user`, as far as known.
    #[must_use]
    pub fn may_log_in(&self, user: &UserName) -> bool {
        match self {
            Self::Account(_) => self.database_user() == Some(user.as_str()),
            Self::EachUser => service_account_of(user.as_str()).is_some(),
            Self::Unknown => true,
        }
    }
}

/// Returns the service account of a database user: `name@project.iam`, or a Google-managed `12345-compute@developer`.
pub(super) fn service_account_of(user: &str) -> Option<String> {
    let short = user.strip_suffix(SERVICE_ACCOUNT_SUFFIX).unwrap_or(user);
    let (name, domain) = short.split_once('@')?;
    // The name becomes part of a URL.
    let is_plain = |text: &str| {
        !text.is_empty() && text.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.' | b'_'))
    };
    let is_googles = domain.ends_with(".iam") || !domain.contains('.');
    (is_plain(name) && is_plain(domain) && is_googles).then(|| format!("{short}{SERVICE_ACCOUNT_SUFFIX}"))
}

/// True if `email` can be a service account's e-mail address.
#[must_use]
pub fn is_service_account(email: &str) -> bool {
    email.ends_with(SERVICE_ACCOUNT_SUFFIX) && service_account_of(email).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_user_leads_to_its_service_account() {
        for (user, account) in [
            ("orders-app@p.iam", Some("orders-app@p.iam.gserviceaccount.com")),
            ("orders-app@p.iam.gserviceaccount.com", Some("orders-app@p.iam.gserviceaccount.com")),
            ("app@p.example.com.iam", Some("app@p.example.com.iam.gserviceaccount.com")),
            ("123-compute@developer", Some("123-compute@developer.gserviceaccount.com")),
            ("alice@example.com", None),
            ("app", None),
            ("@p.iam", None),
            ("a/../b@p.iam", None),
            ("a@p.iam?x=.iam", None),
        ] {
            assert_eq!(service_account_of(user).as_deref(), account, "{user}");
        }
    }

    #[test]
    fn a_principal_logs_in_its_own_database_user_only() {
        let user = |name: &str| UserName::new(name).unwrap();
        let account = TokenPrincipal::Account("app@p.iam.gserviceaccount.com".to_owned());
        assert_eq!(account.database_user(), Some("app@p.iam"));
        assert!(account.may_log_in(&user("app@p.iam")));
        assert!(!account.may_log_in(&user("other@p.iam")));
        let person = TokenPrincipal::Account("alice@example.com".to_owned());
        assert!(person.may_log_in(&user("alice@example.com")));
        assert!(TokenPrincipal::EachUser.may_log_in(&user("other@p.iam")));
        assert!(!TokenPrincipal::EachUser.may_log_in(&user("alice@example.com")));
    }
}
