use super::*;

const VERIFIER: &str = "SCRAM-SHA-256$4096:Z2F0ZWtlZXBlci1kZW1vIQ==$DLtBO0flxocoZ5O9kGFS+haDIRKaGqItWUP6NaoqRUA=:22RkDzI/DPkA78Lw5mXKweyoMImX8t7pWb63INknRq8=";

fn read(text: &str) -> Result<UsersFile, UsersFileError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("users");
    std::fs::write(&path, text).unwrap();
    UsersFile::load(&path)
}

fn mistakes(text: &str) -> Vec<String> {
    match read(text) {
        Err(UsersFileError::Mistakes { mistakes, .. }) => {
            mistakes.iter().map(|mistake| format!("{}: {}", mistake.line, mistake.what)).collect()
        }
        Err(other) => vec![other.to_string()],
        Ok(_) => Vec::new(),
    }
}

#[test]
fn both_formats_say_the_same() {
    let toml =
        read(&format!("# ours\n[users]\n\"alice@example.com\" = \"{VERIFIER}\"\nbob = '{VERIFIER}'\n"))
            .ok()
            .unwrap();
    let list = read(&format!(
        "; PgBouncer's\n\"alice@example.com\" \"{VERIFIER}\"\n\"bob\"  \"{VERIFIER}\" more\n\n"
    ))
    .ok()
    .unwrap();
    assert!(toml == list);
    assert!(toml.verifier("alice@example.com").is_some_and(|found| found.to_string() == VERIFIER));
    assert!(toml.verifier("carol").is_none());
    assert_eq!(toml.usual_iterations(), 4096);
}

#[test]
fn a_quote_in_a_name_is_doubled_in_a_list() {
    let users = read(&format!("\"o\"\"neil\" \"{VERIFIER}\"\n")).ok().unwrap();
    assert!(users.verifier("o\"neil").is_some());
}

#[test]
fn every_line_that_cannot_be_used_is_named_and_no_secret_is_shown() {
    let md5 = "md5d41d8cd98f00b204e9800998ecf8427e";
    assert_eq!(
        mistakes(&format!(
            "[users]\na = \"hunter2\"\nb = \"{md5}\"\nc = \"SCRAM-SHA-256$x\"\nd = 1\nalice@example.com = \"x\"\n"
        )),
        ["6: invalid unquoted key, expected letters, numbers, `-`, `_`"]
    );
    assert_eq!(
        mistakes(&format!(
            "[users]\na = \"hunter2\"\nb = \"{md5}\"\nc = \"SCRAM-SHA-256$x\"\nd = 1\n\"\" = \"x\"\n[user]\n"
        )),
        [
            "2: \"a\" has a password where a SCRAM verifier belongs",
            "3: \"b\" has an MD5 hash where a SCRAM verifier belongs",
            "4: \"c\" has a damaged verifier where a SCRAM verifier belongs",
            "5: \"d\" has to be a name in quotes and a text",
            "6: a name cannot be empty",
            "7: `user` is unknown: write a table [users]",
        ]
    );
    assert_eq!(
        mistakes(&format!(
            "\"a\" \"hunter2\"\n\"b\" \"{md5}\"\n\"c\"\nd e\n\"f\" \"{VERIFIER}\"\n\"f\" \"{VERIFIER}\"\n"
        )),
        [
            "1: \"a\" has a password where a SCRAM verifier belongs",
            "2: \"b\" has an MD5 hash where a SCRAM verifier belongs",
            "3: is not of the form \"user\" \"verifier\"",
            "4: is not of the form \"user\" \"verifier\"",
            "6: \"f\" stands twice",
        ]
    );
    for text in ["", "[users]\n", "; nobody\n"] {
        assert!(!mistakes(text).is_empty(), "{text}");
    }
}

#[test]
fn a_changed_file_is_swapped_in_and_a_bad_one_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("users.toml");
    std::fs::write(&path, format!("[users]\na = \"{VERIFIER}\"\n")).unwrap();
    let users = Users::open(&path).ok().unwrap();
    assert_eq!(users.reload().unwrap(), Reload::Unchanged);

    std::fs::write(&path, format!("[users]\nb = \"{VERIFIER}\"\n")).unwrap();
    assert_eq!(users.reload().unwrap(), Reload::Swapped);
    assert!(users.load().verifier("b").is_some());

    std::fs::write(&path, "[users]\nb = \"hunter2\"\n").unwrap();
    assert!(users.reload().is_err());
    assert!(users.load().verifier("b").is_some());
}
