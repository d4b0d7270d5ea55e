//! Users files: users with their SCRAM verifiers.
//!
//! TOML with a `[users]` table of names and SCRAM verifiers, or PgBouncer's `userlist.txt`. A verifier suffices to
//! check a client but not to log in anywhere. A file with passwords or MD5 hashes, which PgBouncer accepts, is
//! therefore rejected, with each line to be replaced. Refuses to know: the SCRAM dialog.
//!
//! <https://www.pgbouncer.org/config.html#authentication-file-format>

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use toml::de::{DeTable, DeValue};

use crate::{
    files::{Reload, ReloadError, Reloadable},
    live::{Live, Publisher, live},
    names::UserName,
    scram::{DEFAULT_ITERATIONS, Verifier},
};

/// The users of one file.
#[derive(Clone, PartialEq, Eq)]
pub struct UsersFile {
    verifiers: HashMap<Box<str>, Verifier>,
}

/// The users of one file, reloaded after changes. An invalid new file is ignored.
pub struct Users {
    path: PathBuf,
    publisher: Mutex<Publisher<UsersFile>>,
    current: Live<UsersFile>,
}

/// Reason for an invalid users file. Messages never contain the values of users.
#[derive(Debug, thiserror::Error)]
pub enum UsersFileError {
    /// The file could not be read.
    #[error("reading `{}`: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// Some lines are invalid.
    #[error("`{}`, line {}", path.display(), first_mistake(mistakes))]
    Mistakes {
        /// The file.
        path: PathBuf,
        /// The mistakes; never empty.
        mistakes: Vec<UsersFileMistake>,
    },
    /// The file lists no user, probably because it is only partly written.
    #[error("`{}` lists no user", .0.display())]
    Empty(PathBuf),
}

/// An invalid line of a users file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsersFileMistake {
    /// The line, from 1.
    pub line: usize,
    /// Description of the mistake.
    pub what: String,
}

// === impl UsersFile ===

impl UsersFile {
    /// Reads the file at `path`. Blocks.
    ///
    /// # Errors
    /// [`UsersFileError`], with every invalid line.
    pub fn load(path: &Path) -> Result<Self, UsersFileError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| UsersFileError::Read { path: path.to_owned(), source })?;
        let mut reading = Reading::default();
        let mut lines = text.lines().map(str::trim_start);
        let first = lines.find(|line| !line.is_empty() && !line.starts_with('#'));
        if first.is_some_and(|line| line.starts_with(['"', ';'])) {
            reading.list(&text)
        } else {
            reading.toml(&text)
        }
        if !reading.mistakes.is_empty() {
            reading.mistakes.sort_by_key(|mistake| mistake.line);
            return Err(UsersFileError::Mistakes { path: path.to_owned(), mistakes: reading.mistakes });
        }
        if reading.verifiers.is_empty() {
            return Err(UsersFileError::Empty(path.to_owned()));
        }
        Ok(Self { verifiers: reading.verifiers })
    }

    /// The verifier of `user`.
    #[must_use]
    pub fn verifier(&self, user: &str) -> Option<&Verifier> {
        self.verifiers.get(user)
    }

    /// Number of iterations of most users, also used for unknown users.
    #[must_use]
    pub fn usual_iterations(&self) -> u32 {
        let mut counts: HashMap<u32, usize> = HashMap::new();
        for verifier in self.verifiers.values() {
            *counts.entry(verifier.iterations()).or_default() += 1;
        }
        let usual = counts.into_iter().max_by_key(|(iterations, count)| (*count, *iterations));
        usual.map_or(DEFAULT_ITERATIONS, |(iterations, _)| iterations)
    }
}

// === impl Users ===

impl Users {
    /// Reads the file at `path`. Blocks.
    ///
    /// # Errors
    /// [`UsersFileError`], with every invalid line.
    pub fn open(path: &Path) -> Result<Self, UsersFileError> {
        let (publisher, current) = live(UsersFile::load(path)?);
        Ok(Self { path: path.to_owned(), publisher: Mutex::new(publisher), current })
    }

    /// The current users.
    #[must_use]
    pub fn load(&self) -> Arc<UsersFile> {
        self.current.load()
    }
}

impl Reloadable for Users {
    fn describe(&self) -> String {
        format!("the users file {}", self.path.display())
    }

    fn files(&self) -> Vec<PathBuf> {
        vec![self.path.clone()]
    }

    fn reload(&self) -> Result<Reload, ReloadError> {
        let new = UsersFile::load(&self.path)?;
        let mut publisher = self.publisher.lock().unwrap_or_else(PoisonError::into_inner);
        if *self.current.load() == new {
            return Ok(Reload::Unchanged);
        }
        publisher.publish(new);
        Ok(Reload::Swapped)
    }
}

// === Parsing ===

/// The parsed part of a file.
#[derive(Default)]
struct Reading {
    verifiers: HashMap<Box<str>, Verifier>,
    mistakes: Vec<UsersFileMistake>,
}

impl Reading {
    fn add_mistake(&mut self, line: usize, what: impl Into<String>) {
        self.mistakes.push(UsersFileMistake { line, what: what.into() });
    }

    fn entry(&mut self, line: usize, user: &str, secret: &str) {
        if let Err(error) = UserName::new(user) {
            return self.add_mistake(line, error.to_string());
        }
        if self.verifiers.contains_key(user) {
            return self.add_mistake(line, format!("\"{user}\" stands twice"));
        }
        match secret.parse() {
            Ok(verifier) => {
                self.verifiers.insert(user.into(), verifier);
            }
            Err(_) => {
                let is_md5 = secret.strip_prefix("md5").is_some_and(|hash| {
                    hash.len() == 32 && hash.bytes().all(|digit| digit.is_ascii_hexdigit())
                });
                let kind = match secret {
                    _ if is_md5 => "an MD5 hash",
                    _ if secret.starts_with("SCRAM-SHA-256$") => "a damaged verifier",
                    _ => "a password",
                };
                self.add_mistake(line, format!("\"{user}\" has {kind} where a SCRAM verifier belongs"));
            }
        }
    }

    fn toml(&mut self, text: &str) {
        let line_of = |offset: usize| text.get(..offset).unwrap_or(text).matches('\n').count() + 1;
        let (document, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            // The parser's message names the expected token, not the found one.
            let line = line_of(error.span().map_or(0, |span| span.start));
            self.add_mistake(line, error.message().replace('\n', ", "));
        }
        if !errors.is_empty() {
            return;
        }
        for (key, value) in document.get_ref() {
            let line = line_of(key.span().start);
            match (key.get_ref().as_ref(), value.get_ref()) {
                ("users", DeValue::Table(users)) => {
                    let mut users: Vec<_> = users.iter().collect();
                    users.sort_by_key(|(user, _)| user.span().start);
                    for (user, secret) in users {
                        let line = line_of(user.span().start);
                        match secret.get_ref().as_str() {
                            Some(secret) => self.entry(line, user.get_ref(), secret),
                            // TOML reads an unquoted name with a dot as a table.
                            None => self.add_mistake(
                                line,
                                format!("\"{}\" has to be a name in quotes and a text", user.get_ref()),
                            ),
                        }
                    }
                }
                (other, _) => self.add_mistake(line, format!("`{other}` is unknown: write a table [users]")),
            }
        }
    }

    /// Parses `"user" "secret"`, with quotes doubled; the rest is ignored, and `;` begins a comment.
    fn list(&mut self, text: &str) {
        for (at, line) in text.lines().enumerate() {
            let line_number = at + 1;
            let line = line.trim();
            if line.is_empty() || line.starts_with(';') {
                continue;
            }
            match take_quoted(line).and_then(|(user, rest)| Some((user, take_quoted(rest.trim_start())?.0))) {
                Some((user, secret)) => self.entry(line_number, &user, &secret),
                None => self.add_mistake(line_number, "is not of the form \"user\" \"verifier\""),
            }
        }
    }
}

/// The quoted text at the beginning of `text`, and the rest.
fn take_quoted(text: &str) -> Option<(String, &str)> {
    let mut rest = text.strip_prefix('"')?;
    let mut inside = String::new();
    loop {
        let (part, after) = rest.split_once('"')?;
        inside.push_str(part);
        match after.strip_prefix('"') {
            Some(more) => {
                inside.push('"');
                rest = more;
            }
            None => return Some((inside, after)),
        }
    }
}

fn first_mistake(mistakes: &[UsersFileMistake]) -> String {
    match mistakes {
        [] => String::new(),
        [only] => format!("{}: {}", only.line, only.what),
        [first, more @ ..] => format!("{}: {} (and {} more)", first.line, first.what, more.len()),
    }
}

#[cfg(test)]
mod tests;
