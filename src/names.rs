//! Checked names: values that only checking can make.
//!
//! Names of clusters, endpoints and listeners belong to Gatekeeper: such a name becomes a metric label, a URL path and
//! an environment variable, so the alphabet is small. Names of databases and users belong to PostgreSQL and have no
//! NUL.

use std::{fmt, sync::Arc};

/// Reason to reject a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Empty text.
    #[error("a name cannot be empty")]
    Empty,
    /// Longer than allowed; carries the limit in bytes.
    #[error("a name has at most {0} characters")]
    TooLong(usize),
    /// A character outside the alphabet of Gatekeeper's names.
    #[error(
        "`{0}` is not allowed: lower-case letters, digits, `-` and `_`, beginning with a letter or digit"
    )]
    Character(char),
    /// A NUL byte, which the protocol uses as a terminator.
    #[error("a name cannot contain a NUL")]
    Nul,
}

/// Maximum length of a name of Gatekeeper, in bytes.
const MAX_OWN_NAME_BYTES: usize = 63;
/// Bytes allowed in a database or user name: PostgreSQL cuts at 63, but the cut is the server's to make.
const MAX_SERVER_NAME_BYTES: usize = 1024;

fn check_own(text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.len() > MAX_OWN_NAME_BYTES {
        return Err(NameError::TooLong(MAX_OWN_NAME_BYTES));
    }
    for (at, c) in text.chars().enumerate() {
        let plain = c.is_ascii_lowercase() || c.is_ascii_digit();
        if !(plain || (at > 0 && (c == '-' || c == '_'))) {
            return Err(NameError::Character(c));
        }
    }
    Ok(())
}

fn check_server(text: &str) -> Result<(), NameError> {
    match text {
        "" => Err(NameError::Empty),
        _ if text.len() > MAX_SERVER_NAME_BYTES => Err(NameError::TooLong(MAX_SERVER_NAME_BYTES)),
        _ if text.contains('\0') => Err(NameError::Nul),
        _ => Ok(()),
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $check:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks `text`.
            ///
            /// # Errors
            /// [`NameError`] if `text` is not a valid name.
            pub fn new(text: &str) -> Result<Self, NameError> {
                $check(text)?;
                Ok(Self(text.into()))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(&self.0)
            }
        }
    };
}

name!(
    /// The name of a cluster in configuration, metrics, logs and audit.
    ClusterName, check_own
);
name!(
    /// The name of an endpoint in configuration, metrics, logs and audit.
    EndpointName, check_own
);
name!(
    /// The name of a listener in configuration, metrics, logs and audit.
    ListenerName, check_own
);
name!(
    /// A database of the server.
    DatabaseName, check_server
);
name!(
    /// A database user (role) of the server; for IAM users the e-mail address.
    UserName, check_server
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_names_are_fit_for_labels_and_variables() {
        for good in ["primary", "reads-2", "0", "orders_dr"] {
            assert_eq!(EndpointName::new(good).unwrap().as_str(), good);
        }
        assert_eq!(EndpointName::new(""), Err(NameError::Empty));
        assert_eq!(EndpointName::new("Reads"), Err(NameError::Character('R')));
        assert_eq!(EndpointName::new("-a"), Err(NameError::Character('-')));
        assert_eq!(EndpointName::new("a b"), Err(NameError::Character(' ')));
        assert_eq!(EndpointName::new(&"a".repeat(64)), Err(NameError::TooLong(63)));
    }

    #[test]
    fn server_names_may_hold_anything_but_nul() {
        assert!(UserName::new("alice@example.com").is_ok());
        assert!(DatabaseName::new("Ünïcode \"db\"").is_ok());
        assert_eq!(UserName::new("a\0b"), Err(NameError::Nul));
    }
}
