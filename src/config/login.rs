//! Login to an endpoint: `login = "passthrough"`, a token command, Google's tokens, or a password.

use std::time::Duration;

use super::{
    problem::{Origin, Setting},
    reader::{ReadContext, Section, Spot},
    secret,
    tree::{Item, Value},
};
use crate::{
    credentials::{
        GoogleCredentials, GoogleLogin, Impersonate, Login, PasswordLogin, Secret, TokenCommand,
        TokenLoginSettings, TokenOrigin, TokenUsers, check_credentials_file, is_service_account,
    },
    names::UserName,
};

/// Default time limit of a mint.
const DEFAULT_TOKEN_TIMEOUT: Duration = Duration::from_secs(10);

/// Reads the login of the endpoint called `title` from its own `item` or its cluster's; `None` after a mistake.
pub(super) fn read_login(
    context: &ReadContext,
    item: Option<&Item>,
    title: &str,
    endpoint: &Origin,
    insecure_without_verification: bool,
) -> Option<Spot<Login>> {
    let subject = format!("{title}.login");
    let passthrough = |origin: &Origin| {
        let (name, value) = (subject.clone(), "passthrough".to_owned());
        context.report.setting(Setting { name, value, hidden: None, origin: origin.clone() });
        Some(Spot { value: Login::Passthrough, origin: origin.clone() })
    };
    let Some(item) = item else { return passthrough(&Origin::Default) };
    match &item.value {
        Value::Text(text) if text == "passthrough" => passthrough(&item.origin),
        Value::Table(table) => {
            let section = Section::open(context, table, "cluster.endpoint.login", subject, &item.origin);
            let value = from_table(&section, insecure_without_verification)?;
            // An empty table has no position; the endpoint's position is more helpful.
            let origin = if item.origin == Origin::Default { endpoint } else { &item.origin };
            Some(Spot { value, origin: origin.clone() })
        }
        _ => {
            let remedy = "write \"passthrough\", { iam = \"auto\", users = […] }, { token_command = \"…\", users = […] } or { user = \"…\", password = { … } }";
            let what = match item.as_text() {
                Some(text) => format!("cannot be \"{text}\""),
                None => format!("cannot be {}", item.kind()),
            };
            context.report.problem(&item.origin, subject, what, remedy);
            None
        }
    }
}

/// Keys of token logins.
const ONLY_TOKEN: [&str; 3] = ["token_ttl", "token_timeout", "users"];
/// Keys of logins with Google's tokens.
const ONLY_IAM: [&str; 2] = ["impersonate", "delegates"];

fn from_table(section: &Section<'_>, insecure_without_verification: bool) -> Option<Login> {
    let kinds = ["iam", "token_command", "password"];
    let mut written = kinds.into_iter().filter(|key| section.has_key(key));
    let Some(kind) = written.next() else {
        let remedy = format!(
            "write {}, {} or {}, or login = \"passthrough\"",
            section.remedy_name("iam"),
            section.remedy_name("token_command"),
            section.remedy_name("password")
        );
        let key = ONLY_TOKEN.into_iter().chain(ONLY_IAM).chain(["user"]).find(|key| section.has_key(key));
        section.context.report.problem(
            &section.place(key.unwrap_or_default()),
            section.title.clone(),
            "has neither a source of tokens nor a password",
            remedy,
        );
        return None;
    };
    if let Some(second) = written.next() {
        let what = match second {
            "password" => "a login takes a token or a password, not both",
            _ => "a login takes its tokens from one source",
        };
        section.problem(second, what, "remove one of them");
        return None;
    }
    if kind != "iam" {
        for key in ONLY_IAM.into_iter().filter(|key| section.has_key(key)) {
            section.problem(key, "goes with `iam` only", "remove it");
        }
    }
    if kind == "password" {
        for key in ONLY_TOKEN.into_iter().filter(|key| section.has_key(key)) {
            section.problem(key, "goes with a token login only", "remove it");
        }
        return Some(Login::Password(read_password_login(section)));
    }
    if section.has_key("user") {
        let remedy = format!("list the users in {}", section.remedy_name("users"));
        section.problem("user", "does not go with a token login", remedy);
    }
    let origin = match kind {
        "iam" => TokenOrigin::Google(google_login(section)),
        _ => TokenOrigin::Command(token_command(section)),
    };
    Some(Login::Token(read_token_login(section, kind, origin, insecure_without_verification)))
}

fn read_password_login(section: &Section<'_>) -> PasswordLogin {
    let user = section.parsed("user", |text| UserName::new(text).map_err(|e| e.to_string()), "write a user");
    // Reports an unreadable password. An empty password lets the reader find further mistakes.
    let password = secret::read_secret(section, "password").unwrap_or_else(|| Secret::new(String::new()));
    PasswordLogin { user: user.map(|spot| spot.value), password }
}

/// Reads a token login; reports mistakes and reads on.
fn read_token_login(
    section: &Section<'_>,
    kind: &str,
    origin: TokenOrigin,
    insecure_without_verification: bool,
) -> TokenLoginSettings {
    let ttl = section.optional_duration("token_ttl");
    let timeout = section.positive_duration("token_timeout", DEFAULT_TOKEN_TIMEOUT);
    let users = read_token_users(section, kind);
    TokenLoginSettings { origin, ttl, timeout, users, insecure_without_verification }
}

fn token_command(section: &Section<'_>) -> TokenCommand {
    let expected = "a command line for sh, or a list of words that begins with a program";
    let command = section.value("token_command", expected, |item| match &item.value {
        Value::Text(text) => (!text.trim().is_empty()).then(|| TokenCommand::Shell(text.clone())),
        Value::List(words) => {
            let words: Vec<String> =
                words.iter().map(|word| word.as_text().map(str::to_owned)).collect::<Option<_>>()?;
            words.first().is_some_and(|first| !first.is_empty()).then_some(TokenCommand::Words(words))
        }
        _ => None,
    });
    if let Some(spot) = &command {
        // Shows only the program, because a command line may contain a secret.
        let program = match &spot.value {
            TokenCommand::Shell(text) => text.split_whitespace().find(|word| !word.contains('=')),
            TokenCommand::Words(words) => words.first().map(String::as_str),
        };
        let words = match &spot.value {
            TokenCommand::Shell(text) => text.clone(),
            TokenCommand::Words(words) => words.join("\0"),
        };
        let shown = format!("{} …", program.unwrap_or_default());
        section.record_hidden("token_command", shown, Secret::new(words), &spot.origin);
    }
    command.map_or(TokenCommand::Words(Vec::new()), |spot| spot.value)
}

/// Reads `iam`, `impersonate` and `delegates`; reports mistakes.
fn google_login(section: &Section<'_>) -> GoogleLogin {
    GoogleLogin {
        credentials: read_google_credentials(section).unwrap_or(GoogleCredentials::Auto),
        impersonate: read_impersonate(section),
        delegates: read_delegates(section),
    }
}

fn read_google_credentials(section: &Section<'_>) -> Option<GoogleCredentials> {
    const FORM: &str = "\"auto\", \"metadata\" or { file = \"/path/to/credentials.json\" }";
    let Spot { value: credentials, origin } = section.value("iam", FORM, |item| match &item.value {
        Value::Text(text) if text == "auto" => Some(GoogleCredentials::Auto),
        Value::Text(text) if text == "metadata" => Some(GoogleCredentials::Metadata),
        Value::Table(table) => {
            let mut entries = table.keys();
            let (Some(("file", _)), None) = (entries.next(), entries.next()) else { return None };
            let path = section.path_of(table.get("file")?)?;
            Some(GoogleCredentials::File(path))
        }
        _ => None,
    })?;
    let shown = match &credentials {
        GoogleCredentials::Auto => "auto".to_owned(),
        GoogleCredentials::Metadata => "metadata".to_owned(),
        GoogleCredentials::File(path) => path.display().to_string(),
    };
    section.record("iam", shown, &origin);
    if let GoogleCredentials::File(path) = &credentials
        && section.context.follow
        && let Err(error) = check_credentials_file(path)
    {
        let remedy = "name a credentials file of Google's that this process may read";
        section.problem("iam", error.to_string(), remedy);
    }
    Some(credentials)
}

fn read_impersonate(section: &Section<'_>) -> Option<Impersonate> {
    const FORM: &str = "\"user\" or the e-mail address of a service account";
    let Spot { value: impersonate, origin } =
        section.value("impersonate", FORM, |item| match item.as_text()? {
            "user" => Some(Impersonate::User),
            email => is_service_account(email).then(|| Impersonate::Account(email.to_owned())),
        })?;
    let shown = match &impersonate {
        Impersonate::User => "user",
        Impersonate::Account(email) => email.as_str(),
    };
    section.record("impersonate", shown, &origin);
    Some(impersonate)
}

/// Reads `delegates`: service accounts, with `impersonate` alone.
fn read_delegates(section: &Section<'_>) -> Vec<String> {
    let delegates = section.texts("delegates").map(|spot| spot.value).unwrap_or_default();
    for delegate in delegates.iter().filter(|delegate| !is_service_account(&delegate.value)) {
        let what = format!("\"{}\" is not the e-mail address of a service account", delegate.value);
        section.context.report.problem(
            &delegate.origin,
            section.named("delegates"),
            what,
            "write service accounts as in \"sa@project.iam.gserviceaccount.com\"",
        );
    }
    if !delegates.is_empty() && !section.has_key("impersonate") {
        let remedy = format!("write {} too", section.remedy_name("impersonate"));
        section.problem("delegates", "requires `impersonate`", remedy);
    }
    delegates.into_iter().map(|delegate| delegate.value).collect()
}

/// Reads the users of a token login: at least one, each once. Without a file, the list may be missing; the listeners
/// then check that only the local machine can connect.
fn read_token_users(section: &Section<'_>, kind: &str) -> TokenUsers {
    if !section.has_key("users") && section.context.environment_alone {
        return TokenUsers::Any;
    }
    TokenUsers::Listed(listed_users(section, kind))
}

fn listed_users(section: &Section<'_>, kind: &str) -> Vec<UserName> {
    if !section.has_key("users") {
        let remedy =
            format!("list the database users that clients may log in as in {}", section.remedy_name("users"));
        let what = "a token login must list its users";
        section.context.report.problem(&section.place(kind), section.named("users"), what, remedy);
        return Vec::new();
    }
    let Some(list) = section.texts("users") else { return Vec::new() };
    let mut users: Vec<UserName> = Vec::new();
    for name in &list.value {
        match UserName::new(&name.value) {
            Ok(user) if users.contains(&user) => {
                section.context.report.problem(
                    &name.origin,
                    section.named("users"),
                    format!("\"{user}\" stands twice"),
                    "name each user once",
                );
            }
            Ok(user) => users.push(user),
            Err(error) => {
                let what = format!("\"{}\": {error}", name.value);
                section.context.report.problem(
                    &name.origin,
                    section.named("users"),
                    what,
                    "write database users",
                );
            }
        }
    }
    if list.value.is_empty() {
        section.problem("users", "is empty", "list the database users that clients may log in as");
    }
    users
}
