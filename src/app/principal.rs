//! Compares the principal of an endpoint's tokens with the listed users, for `check` and the doctor.

use std::{io, time::Duration};

use tokio::runtime::Builder;

use crate::{
    blame::Chain,
    config::Config,
    credentials::{
        GoogleLogin, Login, TokenError, TokenLoginSettings, TokenOrigin, TokenPrincipal, TokenSource,
        TokenUsers, find_principal,
    },
    names::{EndpointName, UserName},
};

/// Report of `check` on the tokens of one endpoint.
pub struct PrincipalReport {
    /// The endpoint.
    pub endpoint: EndpointName,
    /// Principal of the tokens, if known.
    pub principal: Option<String>,
    /// Mismatch with the listed users, with its remedy.
    pub mistake: Option<PrincipalMistake>,
}

/// Mistake that keeps listed users from logging in.
#[derive(Debug, PartialEq, Eq)]
pub struct PrincipalMistake {
    /// Description of the mistake.
    pub what: String,
    /// Advice for the operator.
    pub remedy: String,
}

/// Time limit of `check` for Google's servers.
const CHECK_TIMEOUT: Duration = Duration::from_secs(5);

/// Finds the principals of the tokens of `config`. Blocks for [`CHECK_TIMEOUT`] at most.
///
/// # Errors
/// The system cannot create the runtime.
pub fn find_principals(config: &Config) -> io::Result<Vec<PrincipalReport>> {
    let mut asked: Vec<(&EndpointName, &TokenLoginSettings, &GoogleLogin)> = Vec::new();
    for settings in &config.endpoints {
        if let Login::Token(token) = &settings.login
            && let TokenOrigin::Google(login) = &token.origin
        {
            asked.push((&settings.endpoint.name, token, login));
        }
    }
    if asked.is_empty() {
        return Ok(Vec::new());
    }
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let finding =
        asked.iter().map(|(_, token, login)| find_principal(login, token.timeout.min(CHECK_TIMEOUT)));
    let found = runtime.block_on(futures_util::future::join_all(finding));
    // A hung resolver keeps its thread; the shutdown does not wait.
    runtime.shutdown_background();
    Ok(asked
        .into_iter()
        .zip(found)
        .map(|((endpoint, token, _), found)| PrincipalReport {
            endpoint: endpoint.clone(),
            principal: found.as_ref().ok().and_then(describe_principal),
            mistake: compare_principal(&found, &token.users),
        })
        .collect())
}

/// Logs a warning if listed users cannot log in with the tokens of `source`.
///
/// Cancel safe: connections are closed, programs killed.
pub(super) async fn warn_of_mismatch(endpoint: EndpointName, source: TokenSource, users: TokenUsers) {
    let found = source.principal().await;
    // The failed mint also logs its failure.
    if found.is_ok()
        && let Some(PrincipalMistake { what, remedy }) = compare_principal(&found, &users)
    {
        tracing::warn!(%endpoint, remedy, "{what}");
    }
}

/// Describes the principal of the tokens; `None` if unknown.
pub(super) fn describe_principal(principal: &TokenPrincipal) -> Option<String> {
    match principal {
        TokenPrincipal::Account(email) => Some(format!("the token's principal is {email}")),
        TokenPrincipal::EachUser => {
            Some("the token's principal is each user's own service account".to_owned())
        }
        TokenPrincipal::Unknown => None,
    }
}

/// Compares the principal of the tokens with the listed users.
pub(super) fn compare_principal(
    found: &Result<TokenPrincipal, TokenError>,
    users: &TokenUsers,
) -> Option<PrincipalMistake> {
    let principal = match found {
        Ok(principal) => principal,
        Err(error) => {
            let what = format!("the token's principal is unknown: {}", Chain(error));
            return Some(PrincipalMistake { what, remedy: error.remedy().to_owned() });
        }
    };
    let shut_out: Vec<&UserName> = users.listed().iter().filter(|user| !principal.may_log_in(user)).collect();
    let names: Vec<String> = shut_out.iter().map(|user| format!("`{user}`")).collect();
    let (what, remedy) = match principal {
        TokenPrincipal::Unknown => (
            "the token's principal is unknown: the credentials belong to no account that can be a database user"
                .to_owned(),
            "set `impersonate`, or `service_account_impersonation_url` in the credentials file".to_owned(),
        ),
        _ if shut_out.is_empty() => return None,
        TokenPrincipal::Account(email) => {
            let own = principal.database_user().unwrap_or(email);
            let remedy = match users.listed().iter().any(|user| user.as_str() == own) {
                true => "take the others off `users`, or set `impersonate` = \"user\"".to_owned(),
                false => format!("list `{own}` in `users`, or set `impersonate` = \"user\""),
            };
            (format!("the token's principal is {email}, the list says {}", names.join(", ")), remedy)
        }
        TokenPrincipal::EachUser => (
            format!("no service account belongs to {} of the list", names.join(", ")),
            "list service accounts as in `name@project.iam`: they alone can be impersonated".to_owned(),
        ),
    };
    Some(PrincipalMistake { what, remedy })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users(names: &[&str]) -> TokenUsers {
        TokenUsers::Listed(names.iter().map(|name| UserName::new(name).unwrap()).collect())
    }

    fn compared(principal: TokenPrincipal, listed: &[&str]) -> String {
        compare_principal(&Ok(principal), &users(listed))
            .map_or_else(String::new, |it| format!("{}; {}", it.what, it.remedy))
    }

    #[test]
    fn a_principal_beside_the_list_is_named_with_its_database_user() {
        let account = || TokenPrincipal::Account("app@p.iam.gserviceaccount.com".to_owned());
        assert_eq!(compared(account(), &["app@p.iam"]), "");
        assert_eq!(
            compared(account(), &["orders@p.iam"]),
            "the token's principal is app@p.iam.gserviceaccount.com, the list says `orders@p.iam`; \
             list `app@p.iam` in `users`, or set `impersonate` = \"user\""
        );
        assert_eq!(
            compared(account(), &["app@p.iam", "orders@p.iam"]),
            "the token's principal is app@p.iam.gserviceaccount.com, the list says `orders@p.iam`; \
             take the others off `users`, or set `impersonate` = \"user\""
        );
    }

    #[test]
    fn users_that_cannot_be_impersonated_are_named() {
        assert_eq!(compared(TokenPrincipal::EachUser, &["app@p.iam"]), "");
        let text = compared(TokenPrincipal::EachUser, &["app@p.iam", "alice@example.com"]);
        assert!(
            text.starts_with("no service account belongs to `alice@example.com` of the list; "),
            "{text}"
        );
    }

    #[test]
    fn credentials_of_nobody_are_told() {
        let text = compared(TokenPrincipal::Unknown, &["app@p.iam"]);
        assert!(text.contains("set `impersonate`"), "{text}");
    }
}
