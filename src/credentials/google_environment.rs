//! Environment variables of Google's client libraries, and of AWS for credentials from AWS.

use std::collections::HashMap;

use super::Secret;

/// Snapshot of the variables. Some values are secrets, so there is no `Debug`.
#[derive(Clone, Default)]
pub(super) struct GoogleEnvironment(HashMap<&'static str, Secret>);

/// Names the file with the credentials.
pub(super) const CREDENTIALS: &str = "GOOGLE_APPLICATION_CREDENTIALS";
/// The folder of gcloud's configuration, instead of `~/.config/gcloud`.
pub(super) const CLOUDSDK_CONFIG: &str = "CLOUDSDK_CONFIG";
/// Where `~` is.
pub(super) const HOME: &str = "HOME";
/// `true` means that no metadata server exists.
pub(super) const NO_GCE_CHECK: &str = "NO_GCE_CHECK";
/// The metadata server's host, with a port or without.
pub(super) const METADATA_HOST: &str = "GCE_METADATA_HOST";
/// The older name of [`METADATA_HOST`].
pub(super) const METADATA_ROOT: &str = "GCE_METADATA_ROOT";
/// Address of the metadata server; overrides its host.
pub(super) const METADATA_IP: &str = "GCE_METADATA_IP";
/// Time limit of the metadata server's response, in seconds.
pub(super) const METADATA_TIMEOUT: &str = "GCE_METADATA_TIMEOUT";
/// Attempts after which a metadata server without any response counts as missing.
pub(super) const METADATA_RETRIES: &str = "GCE_METADATA_DETECT_RETRIES";
/// Project charged for API requests.
pub(super) const QUOTA_PROJECT: &str = "GOOGLE_CLOUD_QUOTA_PROJECT";
/// Required universe of the credentials.
pub(super) const UNIVERSE: &str = "GOOGLE_CLOUD_UNIVERSE_DOMAIN";
/// gcloud's name for the base URL of the IAM Service Account Credentials API, as with Private Service Connect.
pub(super) const IAM_CREDENTIALS_ENDPOINT: &str = "CLOUDSDK_API_ENDPOINT_OVERRIDES_IAMCREDENTIALS";
/// `1`: a credentials file may name a program to run.
pub(super) const ALLOW_EXECUTABLES: &str = "GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES";
/// The AWS region.
pub(super) const AWS_REGION: &str = "AWS_REGION";
/// The AWS region, if [`AWS_REGION`] is not set.
pub(super) const AWS_DEFAULT_REGION: &str = "AWS_DEFAULT_REGION";
/// The name of an AWS key.
pub(super) const AWS_ACCESS_KEY_ID: &str = "AWS_ACCESS_KEY_ID";
/// The AWS key.
pub(super) const AWS_SECRET_ACCESS_KEY: &str = "AWS_SECRET_ACCESS_KEY";
/// The token of a temporary AWS key.
pub(super) const AWS_SESSION_TOKEN: &str = "AWS_SESSION_TOKEN";

const NAMES: [&str; 18] = [
    CREDENTIALS,
    CLOUDSDK_CONFIG,
    HOME,
    NO_GCE_CHECK,
    METADATA_HOST,
    METADATA_ROOT,
    METADATA_IP,
    METADATA_TIMEOUT,
    METADATA_RETRIES,
    QUOTA_PROJECT,
    UNIVERSE,
    IAM_CREDENTIALS_ENDPOINT,
    ALLOW_EXECUTABLES,
    AWS_REGION,
    AWS_DEFAULT_REGION,
    AWS_ACCESS_KEY_ID,
    AWS_SECRET_ACCESS_KEY,
    AWS_SESSION_TOKEN,
];

impl GoogleEnvironment {
    /// Reads the environment of the process.
    pub(super) fn of_process() -> Self {
        Self(NAMES.iter().filter_map(|name| Some((*name, Secret::new(std::env::var(name).ok()?)))).collect())
    }

    /// Keeps the given variables; drops unknown names.
    #[cfg(test)]
    pub(super) fn with(variables: &[(&str, &str)]) -> Self {
        let known = |(name, value): &(&str, &str)| {
            let name = NAMES.iter().find(|known| *known == name)?;
            Some((*name, Secret::new((*value).to_owned())))
        };
        Self(variables.iter().filter_map(known).collect())
    }

    /// Returns the value of a variable; an empty value counts as unset.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(Secret::reveal).filter(|value| !value.is_empty())
    }
}
