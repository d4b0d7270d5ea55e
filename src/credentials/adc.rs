//! Application Default Credentials: search order, and formats of credentials files.
//!
//! <https://google.aip.dev/auth/4110>

use std::{
    collections::HashMap,
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;
use zeroize::Zeroizing;

use super::{
    GoogleCredentials, GoogleError, Secret,
    google_environment::{self as variable, GoogleEnvironment},
    http::WebUrl,
    subject::SubjectSource,
};

/// Default universe, for credentials outside sovereign clouds.
pub(super) const DEFAULT_UNIVERSE: &str = "googleapis.com";
/// Longest credentials file. A key has about 2.5 KiB.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// File written by `gcloud auth application-default login`.
const WELL_KNOWN_FILE: &str = "application_default_credentials.json";

/// Credentials and the location where the search found them.
pub(super) struct FoundCredential {
    pub(super) credential: Credential,
    /// The variable or file, for messages.
    pub(super) place: String,
    /// `None`: [`DEFAULT_UNIVERSE`], or the metadata server knows.
    pub(super) universe: Option<String>,
    /// Project charged for API requests.
    pub(super) quota_project: Option<String>,
    /// Locations searched before, each with its finding.
    pub(super) looked: Vec<String>,
}

/// Credential that requests a token.
pub(super) enum Credential {
    Metadata,
    ServiceAccount(ServiceAccountKey),
    AuthorizedUser(AuthorizedUser),
    Impersonated(Box<ImpersonatedAccount>),
    External(Box<ExternalAccount>),
    ExternalUser(ExternalUser),
}

/// The key of a service account.
pub(super) struct ServiceAccountKey {
    pub(super) email: String,
    pub(super) key_id: Option<String>,
    /// PEM.
    pub(super) private_key: Secret,
    pub(super) token_url: WebUrl,
}

/// The login of a person by gcloud.
pub(super) struct AuthorizedUser {
    pub(super) client_id: String,
    pub(super) client_secret: Secret,
    pub(super) refresh_token: Secret,
    pub(super) token_url: WebUrl,
}

/// Service account impersonated with a source credential.
pub(super) struct ImpersonatedAccount {
    pub(super) source: Credential,
    pub(super) url: WebUrl,
    pub(super) delegates: Vec<String>,
}

/// An identity of another cloud (workload identity federation).
pub(super) struct ExternalAccount {
    pub(super) audience: String,
    pub(super) subject_token_type: String,
    pub(super) token_url: WebUrl,
    pub(super) subject: SubjectSource,
    pub(super) client: Option<ClientSecret>,
    pub(super) workforce_project: Option<String>,
    pub(super) impersonation: Option<WebUrl>,
    pub(super) impersonated_lifetime: Option<Duration>,
}

/// The login of a person of another identity provider (workforce identity federation).
pub(super) struct ExternalUser {
    pub(super) token_url: WebUrl,
    pub(super) refresh_token: Secret,
    pub(super) client: ClientSecret,
}

/// An OAuth client, for HTTP basic authentication.
pub(super) struct ClientSecret {
    pub(super) id: String,
    pub(super) secret: Secret,
}

/// The JSON of any credentials file; each type uses some of the fields.
#[derive(Deserialize)]
struct CredentialFile {
    r#type: Option<String>,
    universe_domain: Option<String>,
    quota_project_id: Option<String>,
    client_email: Option<String>,
    private_key_id: Option<String>,
    private_key: Option<Secret>,
    token_uri: Option<String>,
    client_id: Option<String>,
    client_secret: Option<Secret>,
    refresh_token: Option<Secret>,
    service_account_impersonation_url: Option<String>,
    #[serde(default)]
    delegates: Option<Vec<String>>,
    source_credentials: Option<Box<Self>>,
    audience: Option<String>,
    subject_token_type: Option<String>,
    token_url: Option<String>,
    credential_source: Option<SubjectFile>,
    workforce_pool_user_project: Option<String>,
    service_account_impersonation: Option<ImpersonationFile>,
}

#[derive(Deserialize)]
struct ImpersonationFile {
    token_lifetime_seconds: Option<u64>,
}

/// The JSON of `credential_source`.
#[derive(Deserialize)]
pub(super) struct SubjectFile {
    pub(super) file: Option<PathBuf>,
    pub(super) url: Option<String>,
    #[serde(default)]
    pub(super) headers: HashMap<String, Secret>,
    pub(super) format: Option<SubjectFormatFile>,
    pub(super) executable: Option<ExecutableFile>,
    pub(super) environment_id: Option<String>,
    pub(super) region_url: Option<String>,
    pub(super) regional_cred_verification_url: Option<String>,
    pub(super) imdsv2_session_token_url: Option<String>,
    pub(super) certificate: Option<serde::de::IgnoredAny>,
}

/// The JSON of `credential_source.format`.
#[derive(Deserialize)]
pub(super) struct SubjectFormatFile {
    pub(super) r#type: Option<String>,
    pub(super) subject_token_field_name: Option<String>,
}

/// The JSON of `credential_source.executable`.
#[derive(Deserialize)]
pub(super) struct ExecutableFile {
    pub(super) command: String,
    pub(super) timeout_millis: Option<u64>,
    pub(super) output_file: Option<PathBuf>,
}

/// Finds the credentials described by `wanted`. Reads files anew on each call: keys rotate.
///
/// # Errors
/// [`GoogleError`] when a named file cannot be used. Without any file, returns the metadata server.
pub(super) fn find(
    wanted: &GoogleCredentials,
    environment: &GoogleEnvironment,
) -> Result<FoundCredential, GoogleError> {
    let mut found = match wanted {
        GoogleCredentials::Metadata => on_metadata_server(Vec::new()),
        GoogleCredentials::File(path) => read_file(path, &path.display().to_string())?,
        GoogleCredentials::Auto => find_default(environment)?,
    };
    if let Some(project) = environment.get(variable::QUOTA_PROJECT) {
        found.quota_project = Some(project.to_owned());
    }
    Ok(found)
}

fn find_default(environment: &GoogleEnvironment) -> Result<FoundCredential, GoogleError> {
    if let Some(path) = environment.get(variable::CREDENTIALS) {
        return read_file(Path::new(path), &format!("{}={path}", variable::CREDENTIALS));
    }
    let mut looked = vec![format!("{} is not set", variable::CREDENTIALS)];
    let folder = match environment.get(variable::CLOUDSDK_CONFIG) {
        Some(folder) => Some(PathBuf::from(folder)),
        None => environment.get(variable::HOME).map(|home| Path::new(home).join(".config/gcloud")),
    };
    match folder.map(|folder| folder.join(WELL_KNOWN_FILE)) {
        Some(path) if path.exists() => return read_file(&path, &path.display().to_string()),
        Some(path) => looked.push(format!("{} does not exist", path.display())),
        None => looked.push(format!("neither {} nor HOME is set", variable::CLOUDSDK_CONFIG)),
    }
    if environment.get(variable::NO_GCE_CHECK).is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        looked.push(format!("{} says that there is no metadata server", variable::NO_GCE_CHECK));
        return Err(GoogleError::NoCredentials { looked });
    }
    Ok(on_metadata_server(looked))
}

fn on_metadata_server(looked: Vec<String>) -> FoundCredential {
    FoundCredential {
        credential: Credential::Metadata,
        place: "metadata server".to_owned(),
        universe: None,
        quota_project: None,
        looked,
    }
}

/// Checks that a credentials file can be used.
///
/// # Errors
/// [`GoogleError`] names the defect.
pub fn check_credentials_file(path: &Path) -> Result<(), GoogleError> {
    read_file(path, &path.display().to_string()).map(drop)
}

/// Reads a credentials file, named `place` in messages.
///
/// # Errors
/// [`GoogleError::Unusable`] names the defect and quotes no content of the file.
pub(super) fn read_file(path: &Path, place: &str) -> Result<FoundCredential, GoogleError> {
    let unusable = |why: String| GoogleError::Unusable { place: place.to_owned(), why };
    let text = read_bounded(path).map_err(unusable)?;
    // serde's own message may quote a value.
    let file: CredentialFile = serde_json::from_slice(&text).map_err(|error| {
        unusable(format!("not the JSON of credentials (line {}, column {})", error.line(), error.column()))
    })?;
    let universe = file.universe_domain.clone();
    let quota_project = file.quota_project_id.clone();
    let credential = file.into_credential().map_err(unusable)?;
    Ok(FoundCredential { credential, place: place.to_owned(), universe, quota_project, looked: Vec::new() })
}

/// Reads a regular file of at most [`MAX_FILE_BYTES`]; a pipe could block.
pub(super) fn read_bounded(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let metadata = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        return Err("not a regular file".to_owned());
    }
    let file = File::open(path).map_err(|error| error.to_string())?;
    let size = usize::try_from(metadata.len().min(MAX_FILE_BYTES)).unwrap_or(0);
    // Allocates the full size at once: growth would leave copies in memory.
    let mut text = Zeroizing::new(Vec::with_capacity(size + 1));
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut text).map_err(|error| error.to_string())?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err("larger than 1 MiB".to_owned());
    }
    Ok(text)
}

// === impl CredentialFile ===

impl CredentialFile {
    fn into_credential(self) -> Result<Credential, String> {
        match self.r#type.as_deref() {
            Some("service_account") => self.into_service_account().map(Credential::ServiceAccount),
            Some("authorized_user") => self.into_authorized_user().map(Credential::AuthorizedUser),
            Some("impersonated_service_account") => {
                self.into_impersonated().map(Box::new).map(Credential::Impersonated)
            }
            Some("external_account") => self.into_external().map(Box::new).map(Credential::External),
            Some("external_account_authorized_user") => {
                self.into_external_user().map(Credential::ExternalUser)
            }
            Some(other) => Err(format!("credentials of type {other:?} are not known")),
            None => Err("has no `type`: not the JSON of credentials".to_owned()),
        }
    }

    /// Returns the URL that receives the key or the refresh token.
    fn own_token_url(&self) -> Result<WebUrl, String> {
        let universe = self.universe_domain.as_deref().unwrap_or(DEFAULT_UNIVERSE);
        let default = format!("https://oauth2.{universe}/token");
        secure_url("token_uri", self.token_uri.as_deref().unwrap_or(&default))
    }

    fn into_service_account(self) -> Result<ServiceAccountKey, String> {
        let token_url = self.own_token_url()?;
        Ok(ServiceAccountKey {
            email: required("client_email", self.client_email)?,
            key_id: self.private_key_id,
            private_key: required("private_key", self.private_key)?,
            token_url,
        })
    }

    fn into_authorized_user(self) -> Result<AuthorizedUser, String> {
        let token_url = self.own_token_url()?;
        Ok(AuthorizedUser {
            client_id: required("client_id", self.client_id)?,
            client_secret: required("client_secret", self.client_secret)?,
            refresh_token: required("refresh_token", self.refresh_token)?,
            token_url,
        })
    }

    fn into_impersonated(self) -> Result<ImpersonatedAccount, String> {
        let url = required("service_account_impersonation_url", self.service_account_impersonation_url)?;
        let source = required("source_credentials", self.source_credentials)?;
        let universe = |file: Option<&str>| file.unwrap_or(DEFAULT_UNIVERSE).to_owned();
        let (inner, outer) =
            (universe(source.universe_domain.as_deref()), universe(self.universe_domain.as_deref()));
        if source.universe_domain.is_some() && inner != outer {
            return Err(format!("`source_credentials` are of universe {inner}, and the file of {outer}"));
        }
        Ok(ImpersonatedAccount {
            source: source.into_credential().map_err(|why| format!("`source_credentials`: {why}"))?,
            url: secure_url("service_account_impersonation_url", &url)?,
            delegates: self.delegates.unwrap_or_default(),
        })
    }

    fn into_external(self) -> Result<ExternalAccount, String> {
        let token_url = required("token_url", self.token_url)?;
        let subject = required("credential_source", self.credential_source)?;
        let impersonation = match &self.service_account_impersonation_url {
            Some(url) => Some(secure_url("service_account_impersonation_url", url)?),
            None => None,
        };
        let client = match (self.client_id, self.client_secret) {
            (Some(id), secret) => {
                Some(ClientSecret { id, secret: secret.unwrap_or_else(|| Secret::new(String::new())) })
            }
            (None, _) => None,
        };
        Ok(ExternalAccount {
            audience: required("audience", self.audience)?,
            subject_token_type: required("subject_token_type", self.subject_token_type)?,
            token_url: secure_url("token_url", &token_url)?,
            subject: SubjectSource::new(subject)?,
            client,
            workforce_project: self.workforce_pool_user_project,
            impersonation,
            impersonated_lifetime: self
                .service_account_impersonation
                .and_then(|settings| settings.token_lifetime_seconds)
                .map(Duration::from_secs),
        })
    }

    fn into_external_user(self) -> Result<ExternalUser, String> {
        let token_url = required("token_url", self.token_url)?;
        Ok(ExternalUser {
            token_url: secure_url("token_url", &token_url)?,
            refresh_token: required("refresh_token", self.refresh_token)?,
            client: ClientSecret {
                id: required("client_id", self.client_id)?,
                secret: required("client_secret", self.client_secret)?,
            },
        })
    }
}

fn required<T>(name: &str, value: Option<T>) -> Result<T, String> {
    value.ok_or_else(|| format!("`{name}` is missing"))
}

fn secure_url(name: &str, text: &str) -> Result<WebUrl, String> {
    WebUrl::parse_secure(text).ok_or_else(|| format!("`{name}` is not an https URL"))
}

#[cfg(test)]
mod tests;
