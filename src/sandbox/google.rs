//! Fake of Google's token servers on one local address: metadata server, OAuth's token endpoint, Security Token
//! Service, IAM Credentials API and tokeninfo.

use std::{
    collections::HashMap,
    convert::Infallible,
    io,
    net::SocketAddr,
    process::Command,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use aws_lc_rs::{
    encoding::AsDer as _,
    rsa::{KeyPair, KeySize},
};
use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::{Request, State},
    http::StatusCode,
    response::Response,
};
use base64::{Engine as _, engine::general_purpose};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::{SandboxError, Tokens, run::run};
use crate::tasks::Tasks;

/// Fake servers, stopped on drop.
pub struct FakeGoogle {
    address: SocketAddr,
    shared: Arc<FakeServer>,
    _tasks: Tasks,
}

/// Received request.
#[derive(Debug, Clone)]
pub struct FakeRequest {
    /// The method.
    pub method: String,
    /// The path with the query.
    pub target: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

/// Fault in place of a proper response.
#[derive(Debug, Clone)]
pub enum GoogleFault {
    /// A status with a body.
    Status(u16, String),
    /// A status with `Retry-After` in seconds.
    RetryAfter(u16, u64),
    /// No response.
    Hang,
    /// Endless body, a byte per 50 ms.
    Trickle,
    /// A body of so many bytes.
    Flood(usize),
    /// Given body with status 200.
    Body(String),
    /// Redirect to the given URL.
    Redirect(String),
    /// A proper answer without `Metadata-Flavor`.
    WithoutFlavor,
}

/// Kind of issued tokens.
enum TokenIssue {
    /// `ya29.fake-N`, N counting.
    Counted,
    /// Tokens accepted by the sandbox's servers, from the minting command.
    Accepted(Vec<String>),
}

struct FakeServer {
    issue: TokenIssue,
    state: Mutex<FakeState>,
}

struct FakeState {
    requests: Vec<FakeRequest>,
    /// Faults by a part of the target, with the number of remaining uses.
    faults: Vec<(String, u32, GoogleFault)>,
    /// The account of the metadata server.
    account: Option<String>,
    universe: Option<String>,
    /// Principals of the issued tokens.
    issued: HashMap<String, String>,
    count: usize,
}

/// Default account of the metadata server: a service account known to the sandbox's servers.
const ACCOUNT: &str = "my-sa@my-project.iam.gserviceaccount.com";
/// Bytes of a request's body.
const MAX_BODY_BYTES: usize = 1 << 20;

/// Lifetime of issued tokens.
const TOKEN_LIFETIME_SECONDS: u64 = 3600;

impl FakeGoogle {
    /// Starts the servers on a free port; tokens are `ya29.fake-1` and so on.
    ///
    /// # Errors
    /// Without a free port.
    pub async fn start() -> io::Result<Self> {
        Self::start_with(TokenIssue::Counted).await
    }

    /// Starts the servers on a free port; `tokens` mints the tokens.
    ///
    /// # Errors
    /// Without a free port.
    pub async fn start_for(tokens: &Tokens) -> io::Result<Self> {
        Self::start_with(TokenIssue::Accepted(tokens.command_words())).await
    }

    async fn start_with(issue: TokenIssue) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let state = FakeState {
            requests: Vec::new(),
            faults: Vec::new(),
            account: Some(ACCOUNT.to_owned()),
            universe: None,
            issued: HashMap::new(),
            count: 0,
        };
        let shared = Arc::new(FakeServer { issue, state: Mutex::new(state) });
        let router = Router::new().fallback(respond_to).with_state(Arc::clone(&shared));
        let tasks = Tasks::new();
        tasks.spawn("fake google", async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(%error, "fake Google ended");
            }
        });
        Ok(Self { address, shared, _tasks: tasks })
    }

    /// Returns host and port, for `GCE_METADATA_HOST`.
    #[must_use]
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// The URL of `path`.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Returns all requests so far.
    #[must_use]
    pub fn requests(&self) -> Vec<FakeRequest> {
        self.shared.lock().requests.clone()
    }

    /// Counts requests with `part` in the target.
    #[must_use]
    pub fn count(&self, part: &str) -> usize {
        self.shared.lock().requests.iter().filter(|request| request.target.contains(part)).count()
    }

    /// Answers later requests with `part` in the target with `fault`.
    pub fn fail(&self, part: &str, fault: GoogleFault) {
        self.fail_times(part, u32::MAX, fault);
    }

    /// Answers the next `times` requests with `part` in the target with `fault`.
    pub fn fail_times(&self, part: &str, times: u32, fault: GoogleFault) {
        self.shared.lock().faults.push((part.to_owned(), times, fault));
    }

    /// Ends all faults.
    pub fn heal(&self) {
        self.shared.lock().faults.clear();
    }

    /// Sets the metadata server's account, by e-mail address; `None` gives status 404.
    pub fn set_account(&self, email: Option<&str>) {
        self.shared.lock().account = email.map(str::to_owned);
    }

    /// Sets the metadata server's universe; `None` gives status 404.
    pub fn set_universe(&self, universe: Option<&str>) {
        self.shared.lock().universe = universe.map(str::to_owned);
    }

    /// Revokes every token: impersonation fails.
    pub fn revoke_all(&self) {
        self.shared.lock().issued.clear();
    }

    /// A credentials file with a key of the service account `email`.
    ///
    /// # Errors
    /// Key generation failed.
    pub fn key_file(&self, email: &str) -> Result<Value, SandboxError> {
        Ok(json!({
            "type": "service_account",
            "project_id": "my-project",
            "private_key_id": "key-1",
            "private_key": private_key().ok_or_else(no_key)?,
            "client_email": email,
            "token_uri": self.url("/token"),
            "universe_domain": "googleapis.com",
        }))
    }

    /// Returns a credentials file of the person `email`, as written by gcloud.
    #[must_use]
    pub fn user_file(&self, email: &str) -> Value {
        json!({
            "type": "authorized_user",
            "client_id": "client.apps.example",
            "client_secret": "client-secret",
            "refresh_token": format!("1//refresh-{email}"),
            "token_uri": self.url("/token"),
            "quota_project_id": "quota-project",
        })
    }

    /// Returns a credentials file of a foreign cloud's identity, with the subject token from `source`.
    #[must_use]
    pub fn external_file(&self, source: &Value, impersonated: Option<&str>) -> Value {
        let mut file = json!({
            "type": "external_account",
            "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool/providers/p",
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "token_url": self.url("/v1/token"),
            "credential_source": source,
        });
        if let Some(email) = impersonated {
            file["service_account_impersonation_url"] = json!(self.impersonation_url(email));
        }
        file
    }

    /// Returns a credentials file with which `source` impersonates `email` through `delegates`.
    #[must_use]
    pub fn impersonated_file(&self, source: &Value, email: &str, delegates: &[&str]) -> Value {
        json!({
            "type": "impersonated_service_account",
            "service_account_impersonation_url": self.impersonation_url(email),
            "delegates": delegates,
            "source_credentials": source,
        })
    }

    fn impersonation_url(&self, email: &str) -> String {
        self.url(&format!("/v1/projects/-/serviceAccounts/{email}:generateAccessToken"))
    }
}

// === impl FakeRequest ===

impl FakeRequest {
    /// Returns a header by lower-case name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The fields of a form, decoded.
    #[must_use]
    pub fn form(&self) -> Vec<(String, String)> {
        let pair = |text: &str| {
            let (name, value) = text.split_once('=').unwrap_or((text, ""));
            (percent_decoded(name), percent_decoded(value))
        };
        self.body.split('&').map(pair).collect()
    }

    fn field(&self, name: &str) -> Option<String> {
        self.form().into_iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }
}

// === impl FakeServer ===

impl FakeServer {
    fn lock(&self) -> MutexGuard<'_, FakeState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Mints a token of the account `email`.
    async fn issue_certificate(&self, email: &str) -> Result<String, String> {
        let token = match &self.issue {
            TokenIssue::Counted => {
                let mut state = self.lock();
                state.count += 1;
                format!("ya29.fake-{}", state.count)
            }
            TokenIssue::Accepted(words) => {
                let user = email.strip_suffix(".gserviceaccount.com").unwrap_or(email);
                let (program, arguments) = words.split_first().ok_or("no command")?;
                let mut command = Command::new(program);
                command.args(arguments).arg(user);
                let printed = run("minting a token", command).await.map_err(|error| error.to_string())?;
                printed.trim_end().to_owned()
            }
        };
        self.lock().issued.insert(token.clone(), email.to_owned());
        Ok(token)
    }

    /// OAuth's answer with a new token of `email`.
    async fn oauth(&self, email: &str) -> Response {
        match self.issue_certificate(email).await {
            Ok(token) => {
                let expires_in = TOKEN_LIFETIME_SECONDS;
                json_response(
                    &json!({ "access_token": token, "expires_in": expires_in, "token_type": "Bearer" }),
                )
            }
            Err(error) => status_response(500, &error),
        }
    }

    async fn metadata(&self, request: &FakeRequest) -> Response {
        if request.header("metadata-flavor") != Some("Google") {
            return status_response(403, "Missing Metadata-Flavor:Google header.");
        }
        let (account, universe) = {
            let state = self.lock();
            (state.account.clone(), state.universe.clone())
        };
        let path = request.target.split('?').next().unwrap_or_default();
        let mut response = match (path.rsplit_once("/computeMetadata/v1/").map(|(_, rest)| rest), account) {
            (Some("universe/universe-domain"), _) => match universe {
                Some(universe) => status_response(200, &universe),
                None => status_response(404, ""),
            },
            (Some("instance/service-accounts/default/email"), Some(email)) => status_response(200, &email),
            (Some("instance/service-accounts/default/token"), Some(email)) => self.oauth(&email).await,
            _ => status_response(404, ""),
        };
        response.headers_mut().insert("metadata-flavor", axum::http::HeaderValue::from_static("Google"));
        response
    }

    async fn token(&self, request: &FakeRequest) -> Response {
        let grant = request.field("grant_type").unwrap_or_default();
        let refused = |error: &str| {
            let body = json!({ "error": error, "error_description": "Token has been expired or revoked." });
            status_response(400, &body.to_string())
        };
        match grant.as_str() {
            "refresh_token" => match request.field("refresh_token") {
                Some(token) if token.starts_with("1//refresh-") => {
                    self.oauth(&token["1//refresh-".len()..]).await
                }
                _ => refused("invalid_grant"),
            },
            "urn:ietf:params:oauth:grant-type:jwt-bearer" => {
                let assertion = request.field("assertion").unwrap_or_default();
                let claims = assertion.split('.').nth(1).unwrap_or_default().to_owned();
                let claims = general_purpose::URL_SAFE_NO_PAD.decode(claims).unwrap_or_default();
                match serde_json::from_slice::<Value>(&claims)
                    .ok()
                    .and_then(|it| it["iss"].as_str().map(str::to_owned))
                {
                    Some(email) => self.oauth(&email).await,
                    None => refused("invalid_grant"),
                }
            }
            "urn:ietf:params:oauth:grant-type:token-exchange" => self.oauth("federated").await,
            _ => refused("unsupported_grant_type"),
        }
    }

    async fn impersonate(&self, request: &FakeRequest) -> Response {
        let bearer = request.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
        if !bearer.is_some_and(|token| self.lock().issued.contains_key(token)) {
            let body = json!({ "error": { "code": 401, "message": "Invalid credentials", "status": "UNAUTHENTICATED" } });
            return status_response(401, &body.to_string());
        }
        let name = request.target.rsplit('/').next().unwrap_or_default();
        let email = name.strip_suffix(":generateAccessToken").unwrap_or_default().to_owned();
        match self.issue_certificate(&email).await {
            Ok(token) => {
                let until = jiff::Timestamp::now() + Duration::from_secs(TOKEN_LIFETIME_SECONDS);
                json_response(
                    &json!({ "accessToken": token, "expireTime": until.strftime("%Y-%m-%dT%H:%M:%SZ").to_string() }),
                )
            }
            Err(error) => status_response(500, &error),
        }
    }

    fn token_info(&self, request: &FakeRequest) -> Response {
        let token = request.target.split_once("access_token=").map(|(_, token)| percent_decoded(token));
        match token.and_then(|token| self.lock().issued.get(&token).cloned()) {
            Some(email) => json_response(&json!({ "email": email, "email_verified": "true" })),
            None => status_response(400, &json!({ "error": "invalid_token" }).to_string()),
        }
    }

    /// Returns the fault for `target`.
    fn fault(&self, target: &str) -> Option<GoogleFault> {
        let mut state = self.lock();
        let (_, times, fault) =
            state.faults.iter_mut().find(|(part, times, _)| *times > 0 && target.contains(part.as_str()))?;
        *times = if *times == u32::MAX { u32::MAX } else { *times - 1 };
        Some(fault.clone())
    }
}

async fn respond_to(State(shared): State<Arc<FakeServer>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, MAX_BODY_BYTES).await.unwrap_or_default();
    let request = FakeRequest {
        method: head.method.to_string(),
        target: head.uri.to_string(),
        headers: head
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect(),
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    shared.lock().requests.push(request.clone());
    let fault = shared.fault(&request.target);
    let mut response = match &fault {
        None | Some(GoogleFault::WithoutFlavor) => respond(&shared, &request).await,
        Some(fault) => apply_fault(fault).await,
    };
    if matches!(fault, Some(GoogleFault::WithoutFlavor)) {
        response.headers_mut().remove("metadata-flavor");
    }
    response
}

async fn respond(shared: &FakeServer, request: &FakeRequest) -> Response {
    let path = request.target.split('?').next().unwrap_or_default();
    match path {
        _ if path.starts_with("/computeMetadata/") => shared.metadata(request).await,
        "/token" | "/v1/token" => shared.token(request).await,
        "/tokeninfo" => shared.token_info(request),
        _ if path.ends_with(":generateAccessToken") => shared.impersonate(request).await,
        _ => status_response(404, ""),
    }
}

async fn apply_fault(fault: &GoogleFault) -> Response {
    match fault {
        GoogleFault::Status(status, body) => status_response(*status, body),
        GoogleFault::RetryAfter(status, seconds) => {
            let mut response = status_response(*status, "");
            response.headers_mut().insert("retry-after", (*seconds).into());
            response
        }
        GoogleFault::Trickle => {
            let bytes = futures_util::stream::unfold((), |()| async {
                tokio::time::sleep(Duration::from_millis(50)).await;
                Some((Ok::<_, Infallible>(Bytes::from_static(b" ")), ()))
            });
            Response::new(Body::from_stream(bytes))
        }
        GoogleFault::Flood(size) => Response::new(Body::from(vec![b' '; *size])),
        GoogleFault::Body(body) => status_response(200, body),
        GoogleFault::Redirect(url) => {
            let mut response = status_response(302, "");
            if let Ok(url) = url.parse() {
                response.headers_mut().insert("location", url);
            }
            response
        }
        GoogleFault::Hang | GoogleFault::WithoutFlavor => std::future::pending().await,
    }
}

fn json_response(body: &Value) -> Response {
    status_response(200, &body.to_string())
}

fn status_response(status: u16, body: &str) -> Response {
    let mut response = Response::new(Body::from(body.to_owned()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::IM_A_TEAPOT);
    response
}

fn percent_decoded(text: &str) -> String {
    let mut decoded = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escaped = after.get(..2).filter(|_| *first == b'%').and_then(|hex| str::from_utf8(hex).ok());
        match escaped.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                decoded.push(byte);
                rest = &after[2..];
            }
            None => {
                decoded.push(if *first == b'+' { b' ' } else { *first });
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// A new RSA key in PEM.
fn private_key() -> Option<String> {
    let pair = KeyPair::generate(KeySize::Rsa2048).ok()?;
    let der = pair.as_der().ok()?;
    let lines = general_purpose::STANDARD.encode(der.as_ref());
    Some(format!("-----BEGIN PRIVATE KEY-----\n{lines}\n-----END PRIVATE KEY-----\n"))
}

fn no_key() -> SandboxError {
    SandboxError::Command { what: "making a key".to_owned(), output: "no random numbers".to_owned() }
}
