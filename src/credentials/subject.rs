//! Subject tokens: credentials of a foreign cloud, exchanged for Google's by the Security Token Service.
//!
//! <https://google.aip.dev/auth/4117>

use std::{path::PathBuf, time::Duration};

use jiff::Timestamp;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::{
    GoogleError, Secret,
    adc::{self, SubjectFile, SubjectFormatFile},
    aws::AwsSource,
    command::{CommandRun, run_command},
    google_environment::{self as variable, GoogleEnvironment},
    http::{HttpRequest, HttpResponse, WebUrl},
    requester::Requester,
};

/// Where a subject token comes from.
pub(super) enum SubjectSource {
    /// File kept fresh by another program, e.g. a projected volume of Kubernetes.
    File { path: PathBuf, format: SubjectFormat },
    /// A server nearby, as Azure's metadata server.
    Url { url: WebUrl, headers: Vec<(String, Secret)>, format: SubjectFormat },
    /// A program.
    Executable(ExecutableSource),
    /// AWS: a signed request that proves the signer's identity.
    Aws(AwsSource),
}

/// Encoding of a token.
pub(super) enum SubjectFormat {
    Text,
    /// The name of a field.
    Json(String),
}

/// Program that prints a token.
pub(super) struct ExecutableSource {
    command: String,
    limit: Duration,
    output_file: Option<PathBuf>,
}

/// Parameters of the requested token, passed to the source.
pub(super) struct SubjectRequest<'a> {
    pub(super) audience: &'a str,
    pub(super) token_type: &'a str,
    pub(super) impersonated: Option<&'a str>,
}

/// JSON printed by a program, or kept in its output file.
///
/// <https://google.aip.dev/auth/4117#determining-the-subject-token-in-executable-sourced-credentials>
#[derive(Deserialize)]
struct ExecutableOutput {
    version: Option<u32>,
    success: Option<bool>,
    token_type: Option<String>,
    id_token: Option<Secret>,
    saml_response: Option<Secret>,
    expiration_time: Option<i64>,
    code: Option<String>,
    message: Option<String>,
}

/// Time for a server nearby.
const URL_TIMEOUT: Duration = Duration::from_secs(5);
/// Default time limit of a program; Google's libraries allow 5 s to 120 s.
const DEFAULT_EXECUTABLE_TIMEOUT: Duration = Duration::from_secs(30);
/// The newest version of a program's output.
const OUTPUT_VERSION: u32 = 1;
const SAML: &str = "urn:ietf:params:oauth:token-type:saml2";

// === impl SubjectSource ===

impl SubjectSource {
    /// Reads `credential_source`.
    pub(super) fn new(file: SubjectFile) -> Result<Self, String> {
        if file.environment_id.is_some() {
            return AwsSource::new(&file).map(Self::Aws);
        }
        if let Some(executable) = file.executable {
            let limit = executable.timeout_millis.map_or(DEFAULT_EXECUTABLE_TIMEOUT, Duration::from_millis);
            return Ok(Self::Executable(ExecutableSource {
                command: executable.command,
                limit: limit.clamp(Duration::from_secs(5), Duration::from_secs(120)),
                output_file: executable.output_file,
            }));
        }
        let format = SubjectFormat::new(file.format)?;
        match (file.file, file.url) {
            (Some(path), None) => Ok(Self::File { path, format }),
            (None, Some(url)) => {
                let url = WebUrl::parse(&url).ok_or("`credential_source.url` is not a URL")?;
                Ok(Self::Url { url, headers: file.headers.into_iter().collect(), format })
            }
            _ if file.certificate.is_some() => {
                Err("`credential_source.certificate` (X.509) is not supported".to_owned())
            }
            _ => Err("`credential_source` names neither a file nor a URL, a program or AWS".to_owned()),
        }
    }

    /// Obtains a token.
    ///
    /// Cancel safe: a program is killed, a connection closed.
    pub(super) async fn obtain(
        &self,
        requester: &Requester<'_>,
        environment: &GoogleEnvironment,
        request: &SubjectRequest<'_>,
        now: Timestamp,
    ) -> Result<Secret, GoogleError> {
        match self {
            Self::File { path, format } => {
                let subject = |why: String| GoogleError::Subject(format!("{}: {why}", path.display()));
                let text = adc::read_bounded(path).map_err(subject)?;
                format.extract(&text).map_err(|why| subject(why.to_owned()))
            }
            Self::Url { url, headers, format } => {
                let mut asked = HttpRequest::get(url.clone());
                asked.headers.clone_from(headers);
                let server = format!("credential source {}", url.authority());
                let read = |response: &HttpResponse| match response.status {
                    200 => format
                        .extract(response.body())
                        .map_err(|why| GoogleError::Subject(format!("{server}: {why}"))),
                    _ => Err(GoogleError::of_response(&server, response)),
                };
                requester.send(&server, &asked, URL_TIMEOUT, read).await
            }
            Self::Executable(source) => source.obtain(requester, environment, request, now).await,
            Self::Aws(source) => source.obtain(requester, environment, request.audience, now).await,
        }
    }
}

// === impl SubjectFormat ===

impl SubjectFormat {
    fn new(file: Option<SubjectFormatFile>) -> Result<Self, String> {
        let Some(file) = file else { return Ok(Self::Text) };
        match (file.r#type.as_deref(), file.subject_token_field_name) {
            (None | Some("text"), _) => Ok(Self::Text),
            (Some("json"), Some(name)) => Ok(Self::Json(name)),
            (Some("json"), None) => Err("`credential_source.format` has no field name".to_owned()),
            (Some(other), _) => Err(format!("`credential_source.format` of type {other:?} is not known")),
        }
    }

    fn extract(&self, text: &[u8]) -> Result<Secret, &'static str> {
        let token = match self {
            Self::Text => str::from_utf8(text).map_err(|_| "not a text")?.trim().to_owned(),
            Self::Json(name) => {
                let mut fields: std::collections::HashMap<String, OptionalText> =
                    serde_json::from_slice(text).map_err(|_| "not a JSON object")?;
                match fields.remove(name) {
                    Some(OptionalText::Text(token)) => return Ok(token),
                    _ => return Err("the field with the token is missing"),
                }
            }
        };
        if token.is_empty() { Err("empty") } else { Ok(Secret::new(token)) }
    }
}

/// Text field that may have any JSON type.
#[derive(Deserialize)]
#[serde(untagged)]
enum OptionalText {
    Text(Secret),
    Other(serde::de::IgnoredAny),
}

// === impl ExecutableSource ===

impl ExecutableSource {
    async fn obtain(
        &self,
        requester: &Requester<'_>,
        environment: &GoogleEnvironment,
        request: &SubjectRequest<'_>,
        now: Timestamp,
    ) -> Result<Secret, GoogleError> {
        if environment.get(variable::ALLOW_EXECUTABLES) != Some("1") {
            let name = variable::ALLOW_EXECUTABLES;
            return Err(GoogleError::Subject(format!("a program may be run only with {name}=1")));
        }
        if let Some(path) = &self.output_file
            && let Ok(text) = adc::read_bounded(path)
            && let Ok(token) = read_output(&text, now)
        {
            return Ok(token);
        }
        let mut variables = vec![
            ("GOOGLE_EXTERNAL_ACCOUNT_AUDIENCE", request.audience.to_owned()),
            ("GOOGLE_EXTERNAL_ACCOUNT_TOKEN_TYPE", request.token_type.to_owned()),
            ("GOOGLE_EXTERNAL_ACCOUNT_INTERACTIVE", "0".to_owned()),
        ];
        if let Some(email) = request.impersonated {
            variables.push(("GOOGLE_EXTERNAL_ACCOUNT_IMPERSONATED_EMAIL", email.to_owned()));
        }
        if let Some(path) = &self.output_file {
            variables.push(("GOOGLE_EXTERNAL_ACCOUNT_OUTPUT_FILE", path.display().to_string()));
        }
        let words = self.command.split_whitespace().map(str::to_owned).collect();
        let run = CommandRun { words, variables, limit: self.limit.min(requester.remaining()) };
        let printed: Zeroizing<Vec<u8>> =
            run_command(&run).await.map_err(|error| GoogleError::Subject(format!("program: {error}")))?;
        read_output(&printed, now).map_err(|why| GoogleError::Subject(format!("program: {why}")))
    }
}

/// The token in a program's output, unless the output reports a failure or has expired.
fn read_output(text: &[u8], now: Timestamp) -> Result<Secret, String> {
    let output: ExecutableOutput =
        serde_json::from_slice(text).map_err(|_| "printed something else than its JSON".to_owned())?;
    match (output.version, output.success) {
        (Some(version), _) if version > OUTPUT_VERSION => {
            return Err(format!("version {version} is not known"));
        }
        (Some(_), Some(true)) => {}
        (Some(_), Some(false)) => {
            let [code, message] = [output.code, output.message].map(Option::unwrap_or_default);
            let words = super::redact::first_line(format!("{code}: {message}").as_bytes(), b"");
            return Err(format!("failed: {words}"));
        }
        _ => return Err("`version` or `success` is missing".to_owned()),
    }
    if output.expiration_time.is_some_and(|until| until <= now.as_second()) {
        return Err("the token has expired".to_owned());
    }
    let token = match output.token_type.as_deref() {
        Some(SAML) => output.saml_response,
        _ => output.id_token,
    };
    token.ok_or_else(|| "the token is missing".to_owned())
}

#[cfg(test)]
mod tests;
