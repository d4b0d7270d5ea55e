//! Maps certificate names to database users.

use crate::names::UserName;

/// Lines of the form `NAME => USER`: a client with a certificate for NAME may log in as USER.
///
/// NAME may contain one `*` for any non-empty text; a `*` in USER stands for the same text. Names are compared byte by
/// byte, case-sensitively. A certificate may map to several users, one per line. Without lines, the name must equal the
/// user name, as with PostgreSQL's `cert` without a map. Regular expressions are not supported, because a forgotten
/// anchor admits strangers.
///
/// <https://www.postgresql.org/docs/current/auth-username-maps.html>
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IdentityMap {
    lines: Vec<IdentityMapLine>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct IdentityMapLine {
    name: Starred,
    user: Starred,
}

/// A text with at most one `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Starred {
    before: String,
    /// The text after the `*`; `None` without a `*`.
    after: Option<String>,
}

/// Reason for an invalid line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdentityMapError {
    /// A side is missing.
    #[error("is not of the form \"NAME => USER\"")]
    Form,
    /// Several `*` on one side are ambiguous.
    #[error("has more than one `*` on one side")]
    Stars,
    /// A `*` in USER without one in NAME.
    #[error("has a `*` for the user but none in the name")]
    Unbound,
}

// === impl IdentityMap ===

impl IdentityMap {
    /// Adds a line.
    ///
    /// # Errors
    /// [`IdentityMapError`]
    pub fn push(&mut self, text: &str) -> Result<(), IdentityMapError> {
        let (name, user) = text.split_once("=>").ok_or(IdentityMapError::Form)?;
        let (name, user) = (Starred::parse(name)?, Starred::parse(user)?);
        if user.after.is_some() && name.after.is_none() {
            return Err(IdentityMapError::Unbound);
        }
        self.lines.push(IdentityMapLine { name, user });
        Ok(())
    }

    /// True if a certificate with this `name` permits a login as `user`.
    #[must_use]
    pub fn permits(&self, name: &str, user: &UserName) -> bool {
        match self.lines.as_slice() {
            [] => name == user.as_str(),
            lines => lines.iter().any(|line| line.permits(name, user.as_str())),
        }
    }
}

// === impl IdentityMapLine ===

impl IdentityMapLine {
    fn permits(&self, name: &str, user: &str) -> bool {
        let Some(star) = self.name.matches(name) else { return false };
        match &self.user.after {
            None => user == self.user.before,
            Some(_) => self.user.matches(user) == Some(star),
        }
    }
}

// === impl Starred ===

impl Starred {
    fn parse(text: &str) -> Result<Self, IdentityMapError> {
        let text = text.trim();
        let (before, after) = match text.split_once('*') {
            Some((before, after)) => (before, Some(after.to_owned())),
            None => (text, None),
        };
        match &after {
            _ if text.is_empty() => Err(IdentityMapError::Form),
            Some(after) if after.contains('*') => Err(IdentityMapError::Stars),
            _ => Ok(Self { before: before.to_owned(), after }),
        }
    }

    /// The text that the `*` matches, empty without a `*`; `None` if `text` does not match.
    fn matches<'t>(&self, text: &'t str) -> Option<&'t str> {
        let Some(after) = &self.after else { return (text == self.before).then_some("") };
        let star = text.strip_prefix(self.before.as_str())?.strip_suffix(after.as_str())?;
        (!star.is_empty()).then_some(star)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(lines: &[&str]) -> IdentityMap {
        let mut map = IdentityMap::default();
        for line in lines {
            map.push(line).unwrap();
        }
        map
    }

    #[test]
    fn who_may_be_whom() {
        let table: &[(&[&str], &str, &str, bool)] = &[
            (&[], "app", "app", true),
            (&[], "app", "postgres", false),
            (&[], "App", "app", false),
            (&["orders.internal => app"], "orders.internal", "app", true),
            (&["orders.internal => app"], "orders.internal", "orders.internal", false),
            (&["orders.internal => app"], "xorders.internal", "app", false),
            (&["orders.internal => app", "orders.internal => reports"], "orders.internal", "reports", true),
            (&["*@example.com => *"], "alice@example.com", "alice", true),
            (&["*@example.com => *"], "alice@example.com", "bob", false),
            (&["*@example.com => *"], "alice@example.com.evil.org", "alice", false),
            (&["*@example.com => *"], "@example.com", "", false),
            (&["*@example.com => *@project.iam"], "sa@example.com", "sa@project.iam", true),
            (&["*@example.com => *@project.iam"], "sa@example.com", "sa", false),
            (&["spiffe://prod/*/orders => app"], "spiffe://prod/eu/orders", "app", true),
            (&["spiffe://prod/*/orders => app"], "spiffe://prod/orders", "app", false),
            (&["spiffe://prod/*/orders => app"], "spiffe://test/eu/orders", "app", false),
            // Both ends must not overlap.
            (&["ab*ba => app"], "aba", "app", false),
            (&["* => app"], "anybody", "app", true),
            (&["* => app"], "anybody", "anybody", false),
        ];
        for (lines, name, user, expected) in table {
            let Ok(user) = UserName::new(user) else {
                assert!(!expected);
                continue;
            };
            assert_eq!(map(lines).permits(name, &user), *expected, "{lines:?}: {name} as {user}");
        }
    }

    #[test]
    fn a_line_says_one_thing() {
        let mut map = IdentityMap::default();
        for (text, error) in [
            ("app", IdentityMapError::Form),
            ("=> app", IdentityMapError::Form),
            ("name =>  ", IdentityMapError::Form),
            ("*a* => app", IdentityMapError::Stars),
            ("*a => *b*", IdentityMapError::Stars),
            ("name => *", IdentityMapError::Unbound),
        ] {
            assert_eq!(map.push(text), Err(error), "{text}");
        }
        assert_eq!(map, IdentityMap::default());
    }
}
