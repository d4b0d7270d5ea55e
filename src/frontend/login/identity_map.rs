//! Which holder of a certificate may be which database user.

use crate::names::UserName;

/// Lines of the form `NAME => USER`: the holder of a certificate with that name may log in as that user.
///
/// NAME may hold one `*`, which stands for any text that is not empty; a `*` in USER stands for the same text. Names are
/// compared byte by byte, case included. One holder may be several users, one a line. Without any line the name has to
/// be the user's own, as with PostgreSQL's `cert` without a map. There are no regular expressions: a forgotten anchor lets
/// strangers in.
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

/// A text in which one `*` may stand.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Starred {
    before: String,
    /// What follows the `*`; `None` without one.
    after: Option<String>,
}

/// Why a text is no line of a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdentityMapError {
    /// One of the two sides is missing.
    #[error("is not of the form \"NAME => USER\"")]
    Form,
    /// Which text each of them stands for would be anybody's guess.
    #[error("has more than one `*` on one side")]
    Stars,
    /// There is nothing that it could stand for.
    #[error("has a `*` for the user but none in the name")]
    Unbound,
}

// === impl IdentityMap ===

impl IdentityMap {
    /// Adds a line.
    ///
    /// # Errors
    /// [`IdentityMapError`] says what is wrong with it.
    pub fn push(&mut self, text: &str) -> Result<(), IdentityMapError> {
        let (name, user) = text.split_once("=>").ok_or(IdentityMapError::Form)?;
        let (name, user) = (Starred::parse(name)?, Starred::parse(user)?);
        if user.after.is_some() && name.after.is_none() {
            return Err(IdentityMapError::Unbound);
        }
        self.lines.push(IdentityMapLine { name, user });
        Ok(())
    }

    /// Whether the holder of a certificate with this `name` may log in as `user`.
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

    /// What the `*` stands for in `text`; nothing when there is none. `None` when the text is another.
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
            // The two ends must not overlap.
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
