//! Attributes of the process in its spans, as in `OTEL_RESOURCE_ATTRIBUTES`.

use std::{fmt, str::FromStr};

use super::export_headers::percent_decode;

/// Attributes by name, each name once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource(Vec<(String, String)>);

/// The attributes contain an entry that is not `name=value`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an attribute is not name=value with a percent-encoded value")]
pub struct ResourceError;

/// The name of the service.
const SERVICE_NAME: &str = "service.name";

// === impl Resource ===

impl Resource {
    /// These attributes with another `service.name`.
    #[must_use]
    pub fn with_service_name(mut self, name: &str) -> Self {
        self.set(SERVICE_NAME, name);
        self
    }

    /// The attributes.
    pub(super) fn attributes(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    fn set(&mut self, name: &str, value: &str) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => value.clone_into(known),
            None => self.0.push((name.to_owned(), value.to_owned())),
        }
    }
}

impl Default for Resource {
    /// Name and version of the program.
    fn default() -> Self {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Self(vec![
            (SERVICE_NAME.to_owned(), "gatekeeper".to_owned()),
            ("service.version".to_owned(), version),
        ])
    }
}

impl FromStr for Resource {
    type Err = ResourceError;

    /// Reads `name=value,name=value`, with percent-encoded values, beside the defaults.
    ///
    /// <https://opentelemetry.io/docs/specs/otel/resource/sdk/#specifying-resource-information-via-an-environment-variable>
    fn from_str(text: &str) -> Result<Self, ResourceError> {
        let mut resource = Self::default();
        for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            let (name, value) = entry.split_once('=').ok_or(ResourceError)?;
            let (name, value) = (name.trim(), percent_decode(value.trim()).ok_or(ResourceError)?);
            if name.is_empty() {
                return Err(ResourceError);
            }
            resource.set(name, &value);
        }
        Ok(resource)
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (name, value)) in self.attributes().enumerate() {
            write!(f, "{}{name}={value}", if at > 0 { "," } else { "" })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_stand_beside_the_defaults() {
        let read: Resource = "deployment.environment.name=prod%2Ceu, service.name=pooler".parse().unwrap();
        let named = |name: &str| {
            read.attributes().find(|(known, _)| *known == name).map(|(_, value)| value.to_owned())
        };
        assert_eq!(named("deployment.environment.name").as_deref(), Some("prod,eu"));
        assert_eq!(named("service.name").as_deref(), Some("pooler"));
        assert_eq!(named("service.version").as_deref(), Some(env!("CARGO_PKG_VERSION")));
        assert_eq!(read.attributes().count(), 3);
        assert_eq!("a".parse::<Resource>(), Err(ResourceError));
        assert_eq!("=b".parse::<Resource>(), Err(ResourceError));
    }
}
