//! A command's standard error, redacted and shortened for an error message.

/// Characters kept of a line.
const MAX_LINE_CHARACTERS: usize = 300;
/// What stands for a text that may be a secret.
const MASK: &str = "[redacted]";
/// A run of token characters as long as this, with small and capital letters and digits in it, may be a secret.
const SECRET_RUN_CHARACTERS: usize = 24;
/// What follows one of these words may be a secret.
const KEYS: [&str; 6] = ["token", "password", "secret", "bearer", "authorization", "key"];

/// The first non-empty line of `stderr`: without control characters, shortened, and with everything masked
/// that may be a secret. `printed`, what the command wrote to standard output, is masked wherever it is repeated.
pub(super) fn first_line(stderr: &[u8], printed: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let Some(line) = text.lines().map(str::trim).find(|line| !line.is_empty()) else { return String::new() };
    let mut line: String = line.chars().filter(|c| !c.is_control()).collect();
    if let Ok(printed) = str::from_utf8(printed)
        && printed.trim().len() >= 8
    {
        line = line.replace(printed.trim(), MASK);
    }
    shortened(mask_runs(&line))
}

/// Masks runs of token characters that look like secrets, or that stand behind a word that announces one.
fn mask_runs(line: &str) -> String {
    let mut masked = String::with_capacity(line.len());
    let mut announced = false;
    let mut rest = line;
    while let Some(c) = rest.chars().next() {
        let end = rest.find(|c| !is_token_character(c)).unwrap_or(rest.len());
        if end == 0 {
            masked.push(c);
            // `token=…`, `token: …` and `Bearer …` announce; the end of a clause takes it back.
            announced &= matches!(c, ' ' | '=' | ':' | '"' | '\'');
            rest = &rest[c.len_utf8()..];
            continue;
        }
        let (run, after) = rest.split_at(end);
        let secret = looks_secret(run) || (announced && run.len() >= 8 && run.contains(is_digit));
        masked.push_str(if secret { MASK } else { run });
        announced = KEYS.iter().any(|key| ends_with(run, key));
        rest = after;
    }
    masked
}

fn is_token_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '~' | '+' | '/')
}

fn is_digit(c: char) -> bool {
    c.is_ascii_digit()
}

fn looks_secret(run: &str) -> bool {
    // Google's access tokens and JSON Web Tokens, however short.
    if run.starts_with("ya29.") || run.starts_with("eyJ") {
        return true;
    }
    if run.len() < SECRET_RUN_CHARACTERS {
        return false;
    }
    let hex = run.bytes().all(|c| c.is_ascii_hexdigit());
    let mixed =
        run.contains(|c: char| c.is_ascii_lowercase()) && run.contains(|c: char| c.is_ascii_uppercase());
    run.contains(is_digit) && (hex || mixed)
}

fn ends_with(run: &str, key: &str) -> bool {
    run.len()
        .checked_sub(key.len())
        .and_then(|at| run.get(at..))
        .is_some_and(|end| end.eq_ignore_ascii_case(key))
}

fn shortened(line: String) -> String {
    match line.char_indices().nth(MAX_LINE_CHARACTERS) {
        None => line,
        Some((at, _)) => format!("{}…", &line[..at]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_that_says_something_is_kept_readable() {
        for (stderr, expected) in [
            ("", ""),
            ("\n \r\nERROR: (gcloud.auth) not logged in\nmore\n", "ERROR: (gcloud.auth) not logged in"),
            ("sh: 1: gclod: not found\n", "sh: 1: gclod: not found"),
            ("\x1b[31mred\x1b[0m\x07", "[31mred[0m"),
            (
                "no key for my-sa@my-project.iam.gserviceaccount.com in /home/app/.config/gcloud/access_tokens.db",
                "no key for my-sa@my-project.iam.gserviceaccount.com in /home/app/.config/gcloud/access_tokens.db",
            ),
        ] {
            assert_eq!(first_line(stderr.as_bytes(), b""), expected);
        }
        assert_eq!(first_line(&[0xff, b'x'], b""), "\u{fffd}x");
        assert_eq!(first_line("ä".repeat(1000).as_bytes(), b"").chars().count(), MAX_LINE_CHARACTERS + 1);
    }

    #[test]
    fn what_may_be_a_secret_is_masked() {
        for (stderr, expected) in [
            ("token ya29.a0AfB is bad", "token [redacted] is bad"),
            ("got eyJhbGciOiJSUzI1NiJ9.e30.x", "got [redacted]"),
            ("sent QWxhZGRpbjpvcGVuIHNlc2FtZQ1+/Zz== twice", "sent [redacted]== twice"),
            ("id 0123456789abcdef0123456789abcdef", "id [redacted]"),
            ("password=hunter2hunter2", "password=[redacted]"),
            ("Authorization: Bearer abc123def", "Authorization: Bearer [redacted]"),
            (r#"{"access_token": "abcd1234"}"#, r#"{"access_token": "[redacted]"}"#),
        ] {
            assert_eq!(first_line(stderr.as_bytes(), b""), expected);
        }
    }

    #[test]
    fn what_was_printed_as_the_token_is_masked_wherever_it_is_repeated() {
        assert_eq!(first_line(b"bad: tokentoken", b"tokentoken\n"), "bad: [redacted]");
        assert_eq!(first_line(b"x is bad", b"x\n"), "x is bad", "too short to be a token");
    }
}
