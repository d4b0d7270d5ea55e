//! Real commands, run by a real shell.

use std::{fs, path::Path};

use super::*;
use crate::{
    names::{ClusterName, EndpointName},
    topology::DeclaredRole,
};

pub(in crate::credentials) fn endpoint() -> Endpoint {
    Endpoint {
        name: EndpointName::new("reads").unwrap(),
        cluster: ClusterName::new("orders").unwrap(),
        region: None,
        role: DeclaredRole::ReadPool,
        address: "10.20.30.41:5432".parse().unwrap(),
    }
}

pub(in crate::credentials) fn user() -> UserName {
    UserName::new("alice@example.com").unwrap()
}

/// Runs `line` by a shell with time enough.
async fn run(line: &str) -> Result<String, TokenError> {
    run_command(TokenCommand::Shell(line.into()), Duration::from_secs(60)).await
}

async fn run_command(command: TokenCommand, limit: Duration) -> Result<String, TokenError> {
    let minter = Minter::new(&command, limit, &endpoint());
    minter.mint(&user()).await.map(|minted| minted.secret.reveal().to_owned())
}

/// Waits until no process of this number is left, or none but one nobody has waited for yet.
async fn until_gone(pid: &str) {
    let gone = async {
        loop {
            let stat = fs::read_to_string(Path::new("/proc").join(pid).join("stat")).unwrap_or_default();
            if stat.is_empty() || stat.contains(") Z ") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(20), gone).await.unwrap_or_else(|_| panic!("process {pid} still runs"));
}

/// What the command wrote to `path`, once it has written a whole line.
async fn until_written(path: &Path) -> String {
    let written = async {
        loop {
            match fs::read_to_string(path) {
                Ok(text) if text.ends_with('\n') => return text.trim().to_owned(),
                _ => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    timeout(Duration::from_secs(20), written).await.expect("the command writes its file")
}

#[tokio::test]
async fn what_the_command_prints_is_the_token_without_what_trails() {
    assert_eq!(run("printf 'ya29.token'").await.unwrap(), "ya29.token");
    assert_eq!(run("printf 'ya29.token \\r\\n\\n'").await.unwrap(), "ya29.token");
    assert_eq!(run("echo warned >&2; echo t").await.unwrap(), "t");
}

#[tokio::test]
async fn the_command_knows_endpoint_host_and_user_and_has_our_environment() {
    let line =
        r#"echo "$GATEKEEPER_ENDPOINT,$GATEKEEPER_BACKEND_HOST,$GATEKEEPER_BACKEND_USER,${PATH:+path}""#;
    assert_eq!(run(line).await.unwrap(), "reads,10.20.30.41,alice@example.com,path");
}

#[tokio::test]
async fn a_list_of_words_runs_without_a_shell() {
    let words = ["printf", "%s", "$HOME;echo"].map(String::from).to_vec();
    let token = run_command(TokenCommand::Words(words), Duration::from_secs(60)).await.unwrap();
    assert_eq!(token, "$HOME;echo");
}

#[tokio::test]
async fn a_failing_command_is_quoted_by_its_first_line_with_secrets_masked() {
    let error = run("echo 'no access with ya29.a0AfB' >&2; echo more >&2; exit 3").await.unwrap_err();
    assert_eq!(error.to_string(), "exited with status 3: no access with [redacted]");
    let error = run("echo sesame-open; echo got sesame-open >&2; false").await.unwrap_err();
    assert_eq!(error.to_string(), "exited with status 1: got [redacted]");
    assert_eq!(run("exit 1").await.unwrap_err().to_string(), "exited with status 1");
    assert!(matches!(run("kill -9 $$").await.unwrap_err(), TokenError::Killed { signal: 9, .. }));
}

#[tokio::test]
async fn a_command_that_does_not_exist_is_told_apart() {
    let error = run("gclod auth print-access-token").await.unwrap_err();
    assert!(matches!(&error, TokenError::NotFound(line) if line.contains("gclod")), "{error}");
    let words = vec!["gclod".to_owned()];
    let error = run_command(TokenCommand::Words(words), Duration::from_secs(60)).await.unwrap_err();
    assert_eq!(error.to_string(), "command not found: gclod");
    let words = vec!["/etc/hostname".to_owned()];
    let error = run_command(TokenCommand::Words(words), Duration::from_secs(60)).await.unwrap_err();
    assert!(matches!(error, TokenError::Run(_)), "{error}");
}

#[tokio::test]
async fn a_command_that_prints_no_token_is_an_error() {
    assert!(matches!(run("true").await.unwrap_err(), TokenError::Empty(_)));
    assert_eq!(run("echo; echo hm >&2").await.unwrap_err().to_string(), "printed nothing: hm");
    assert!(matches!(run(r"printf '\377'").await.unwrap_err(), TokenError::NoText));
    // A warning on the same line, several lines, colors, a no-break space.
    for printed in [" token", "two words", r"WARNING\ntoken", r"a\tb", r"a\000b", r"a\033[0mb", r"a\302\240b"]
    {
        let error = run(&format!("printf '{printed}\\n'")).await.unwrap_err();
        assert!(matches!(error, TokenError::NotOneWord), "{printed}: {error}");
    }
}

#[tokio::test]
async fn a_flood_is_cut_and_the_command_killed() {
    let folder = tempfile::tempdir().unwrap();
    let pid = folder.path().join("pid");
    let line = format!("echo $$ > {}; yes", pid.display());
    assert!(matches!(run(&line).await.unwrap_err(), TokenError::TooLong));
    until_gone(&until_written(&pid).await).await;
    let exactly = "head -c 65536 /dev/zero | tr '\\0' x";
    assert_eq!(run(exactly).await.unwrap().len(), MAX_TOKEN_OUTPUT_BYTES);
    assert!(matches!(run(&format!("{exactly}; echo y")).await.unwrap_err(), TokenError::TooLong));
}

#[tokio::test]
async fn a_flood_on_standard_error_blocks_nobody() {
    assert_eq!(run("head -c 1000000 /dev/zero | tr '\\0' x >&2; echo t").await.unwrap(), "t");
}

#[tokio::test]
async fn a_hanging_command_is_killed_with_all_it_has_started() {
    let folder = tempfile::tempdir().unwrap();
    let (shell, child) = (folder.path().join("shell"), folder.path().join("child"));
    let line = format!(
        "echo waiting for nobody >&2; sleep 1000 & echo $! > {}; echo $$ > {}; wait",
        child.display(),
        shell.display()
    );
    let limit = Duration::from_millis(500);
    let error = run_command(TokenCommand::Shell(line), limit).await.unwrap_err();
    assert_eq!(error.to_string(), "not finished within 0.5 s: waiting for nobody");
    until_gone(&until_written(&child).await).await;
    until_gone(&until_written(&shell).await).await;
}

#[tokio::test]
async fn a_mint_that_is_given_up_is_killed_with_all_it_has_started() {
    let folder = tempfile::tempdir().unwrap();
    let child = folder.path().join("child");
    let line = format!("sleep 1000 & echo $! > {}; wait", child.display());
    let minter = Minter::new(&TokenCommand::Shell(line), Duration::from_secs(60), &endpoint());
    let user = user();
    let pid = tokio::select! {
        _ = minter.mint(&user) => panic!("the command waits"),
        pid = until_written(&child) => pid,
    };
    until_gone(&pid).await;
}

#[tokio::test]
async fn a_process_left_behind_is_not_waited_for() {
    let token = run("sleep 1000 & echo $!").await.unwrap();
    let pid = Pid::from_raw(token.parse().unwrap()).unwrap();
    rustix::process::kill_process(pid, Signal::KILL).expect("it still runs: it was not ours to kill");
}

/// Runs a command that prints `json`; returns the token and its lifetime in seconds.
async fn printed(json: &str) -> Result<(String, Option<u64>), TokenError> {
    let command = TokenCommand::Words(["printf", "%s", json].map(String::from).to_vec());
    let minted = Minter::new(&command, Duration::from_secs(60), &endpoint()).mint(&user()).await?;
    // Some seconds may have passed since then: whole minutes are compared.
    let minutes = minted.lifetime.map(|left| left.as_secs().div_ceil(60));
    Ok((minted.secret.reveal().to_owned(), minutes))
}

#[tokio::test]
async fn a_command_may_say_when_its_token_ends() {
    let until = Timestamp::now() + Duration::from_secs(30 * 60);
    let (text, seconds) = (until.to_string(), until.as_second());
    for (json, minutes) in [
        (r#"{"access_token": "ya29.t", "expires_in": 1800, "token_type": "Bearer"}"#.to_owned(), Some(30)),
        (r#"{"access_token": "ya29.t", "expires_in": "1800"}"#.to_owned(), Some(30)),
        (format!(r#"{{"accessToken": "ya29.t", "expireTime": "{text}"}}"#), Some(30)),
        (format!(r#"{{"token": "ya29.t", "expiry": "{text}"}}"#), Some(30)),
        (format!(r#"{{"token": "ya29.t", "expiration_time": {seconds}}}"#), Some(30)),
        (
            format!(
                r#"{{"configuration": {{}}, "credential": {{"access_token": "ya29.t", "token_expiry": "{text}"}}}}"#
            ),
            Some(30),
        ),
        (r#"{"token": "ya29.t", "expiry": {"datetime": "?"}}"#.to_owned(), None),
        (r#" {"token": "ya29.t"}"#.to_owned(), None),
        (r#"{"token": "ya29.t", "expiry": "2001-01-01T00:00:00Z"}"#.to_owned(), Some(0)),
    ] {
        assert_eq!(printed(&json).await.unwrap(), ("ya29.t".to_owned(), minutes), "{json}");
    }
}

#[tokio::test]
async fn json_without_a_token_is_not_sent_as_one() {
    for json in ["{", "{}", r#"{"token": ""}"#, r#"{"token": "a b"}"#, r#"{"token": 5}"#, r#"{"error": "x"}"#]
    {
        assert!(matches!(printed(json).await, Err(TokenError::NotJsonToken)), "{json}");
    }
}
