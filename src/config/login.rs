//! How an endpoint is logged in to: `login = "passthrough"`, a token command, or a password.

use std::time::Duration;

use super::{
    problem::Origin,
    reader::{Context, Section, Spot},
    secret,
    tree::{Item, Value},
};
use crate::{
    credentials::{Login, PasswordLogin, Secret, TokenCommand, TokenLoginSettings, TokenUsers},
    names::UserName,
};

/// How long a token is kept.
const TOKEN_TTL: Duration = Duration::from_secs(300);
/// How long the command may run.
const TOKEN_TIMEOUT: Duration = Duration::from_secs(10);

/// Reads the login of the endpoint called `title` from its own `item` or its cluster's; `None` after a mistake.
pub(super) fn read(
    context: &Context,
    item: Option<&Item>,
    title: &str,
    endpoint: &Origin,
    insecure_without_verification: bool,
) -> Option<Spot<Login>> {
    let subject = format!("{title}.login");
    let passthrough = |origin: &Origin| {
        context.report.setting(subject.clone(), "passthrough".to_owned(), origin);
        Some(Spot { value: Login::Passthrough, origin: origin.clone() })
    };
    let Some(item) = item else { return passthrough(&Origin::Default) };
    match &item.value {
        Value::Text(text) if text == "passthrough" => passthrough(&item.origin),
        Value::Table(table) => {
            let section = Section::open(context, table, "cluster.endpoint.login", subject, &item.origin);
            let value = from_table(&section, insecure_without_verification)?;
            // An empty table in front of nothing: the place of the endpoint says more.
            let origin = if item.origin == Origin::Default { endpoint } else { &item.origin };
            Some(Spot { value, origin: origin.clone() })
        }
        _ => {
            let remedy = "write \"passthrough\", { token_command = \"…\", users = […] } or { user = \"…\", password = { … } }";
            let what = match item.as_text() {
                Some(text) => format!("cannot be \"{text}\""),
                None => format!("cannot be {}", item.kind()),
            };
            context.report.problem(&item.origin, subject, what, remedy);
            None
        }
    }
}

fn from_table(section: &Section<'_>, insecure_without_verification: bool) -> Option<Login> {
    const ONLY_TOKEN: [&str; 3] = ["token_ttl", "token_timeout", "users"];
    match (section.has("token_command"), section.has("password")) {
        (true, true) => {
            section.problem(
                "password",
                "a login takes a token or a password, not both",
                "remove one of them",
            );
            None
        }
        (true, false) => {
            if section.has("user") {
                let remedy = format!("list the users in {}", section.spoken("users"));
                section.problem("user", "does not go with a token command", remedy);
            }
            Some(Login::Token(token(section, insecure_without_verification)))
        }
        (false, true) => {
            for key in ONLY_TOKEN.into_iter().filter(|key| section.has(key)) {
                section.problem(key, "goes with a token command only", "remove it");
            }
            let user =
                section.parsed("user", |text| UserName::new(text).map_err(|e| e.to_string()), "write a user");
            // A password that cannot be read is reported; with an empty one the mistakes behind it are found too.
            let password = secret::read(section, "password").unwrap_or_else(|| Secret::new(String::new()));
            Some(Login::Password(PasswordLogin { user: user.map(|spot| spot.value), password }))
        }
        (false, false) => {
            let remedy = format!(
                "write {} or {}, or login = \"passthrough\"",
                section.spoken("token_command"),
                section.spoken("password")
            );
            let key = ONLY_TOKEN.into_iter().chain(["user"]).find(|key| section.has(key)).unwrap_or_default();
            section.context.report.problem(
                &section.place(key),
                section.title.clone(),
                "has neither a token command nor a password",
                remedy,
            );
            None
        }
    }
}

/// A token login; what is wrong with it is reported, and the rest of it read.
fn token(section: &Section<'_>, insecure_without_verification: bool) -> TokenLoginSettings {
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
        // A command line may hold a secret: its program is enough.
        let program = match &spot.value {
            TokenCommand::Shell(text) => text.split_whitespace().find(|word| !word.contains('=')),
            TokenCommand::Words(words) => words.first().map(String::as_str),
        };
        section.record("token_command", format!("{} …", program.unwrap_or_default()), &spot.origin);
    }
    let ttl = section.duration("token_ttl", TOKEN_TTL).value;
    let timeout = section.positive_duration("token_timeout", TOKEN_TIMEOUT);
    let users = users(section);
    let command = command.map_or(TokenCommand::Words(Vec::new()), |spot| spot.value);
    TokenLoginSettings { command, ttl, timeout, users, insecure_without_verification }
}

/// The users that may be logged in with a token: at least one, each once. Without a file the list may be missing; the
/// listeners then check that only this machine reaches them.
fn users(section: &Section<'_>) -> TokenUsers {
    if !section.has("users") && section.context.environment_alone {
        return TokenUsers::Any;
    }
    TokenUsers::Listed(listed_users(section))
}

fn listed_users(section: &Section<'_>) -> Vec<UserName> {
    if !section.has("users") {
        let remedy =
            format!("list the database users that clients may log in as in {}", section.spoken("users"));
        let what = "a token login has to say for whom";
        section.context.report.problem(&section.place("token_command"), section.named("users"), what, remedy);
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
