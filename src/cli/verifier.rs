//! `gatekeeper verifier`: the line of a users file for a password.

use std::io::{self, BufRead, IsTerminal, Write};

use aws_lc_rs::rand;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use crate::{
    names::UserName,
    scram::{DEFAULT_ITERATIONS, SALT_BYTES, Verifier},
};

/// Reads a password from standard input, without echo on a terminal, and writes the line to `out`.
///
/// # Errors
/// The password cannot be read, is empty, or differs the second time.
pub(super) fn print_verifier_line(user: &UserName, out: &mut impl Write) -> io::Result<()> {
    let password = read_password(user)?;
    let mut salt = [0; SALT_BYTES];
    rand::fill(&mut salt).map_err(|_| io::Error::other("the system has no randomness to give"))?;
    writeln!(out, "{}", users_file_line(user, &password, &salt)?)
}

/// The line for a users file; a JSON string is also a TOML string.
fn users_file_line(user: &UserName, password: &str, salt: &[u8]) -> io::Result<String> {
    let verifier =
        Verifier::derive(password.as_bytes(), salt, DEFAULT_ITERATIONS).map_err(io::Error::other)?;
    Ok(format!("{} = \"{verifier}\"", serde_json::to_string(user.as_str())?))
}

fn read_password(user: &UserName) -> io::Result<Zeroizing<String>> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return one_line();
    }
    let first = read_without_echo(&format!("Password of {user}: "))?;
    if *read_without_echo("Again: ")? != *first {
        return Err(io::Error::other("the two passwords differ"));
    }
    Ok(first)
}

/// Reads a line from the terminal without echo.
fn read_without_echo(prompt: &str) -> io::Result<Zeroizing<String>> {
    write!(io::stderr(), "{prompt}")?;
    let quiet = Quiet::begin()?;
    let line = one_line();
    drop(quiet);
    writeln!(io::stderr())?;
    line
}

/// The first line of standard input, without its line break.
fn one_line() -> io::Result<Zeroizing<String>> {
    let mut line = Zeroizing::new(String::new());
    io::stdin().lock().read_line(&mut line)?;
    let end = line.trim_end_matches(['\r', '\n']).len();
    line.truncate(end);
    if line.is_empty() { Err(io::Error::other("the password is empty")) } else { Ok(line) }
}

/// Turns off the terminal's echo until dropped.
struct Quiet {
    before: Termios,
}

impl Quiet {
    fn begin() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Flush, &quiet)?;
        Ok(Self { before })
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // An error means that the terminal is gone.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frontend::UsersFile;

    #[test]
    fn the_line_is_read_back_from_a_users_file() {
        let user = UserName::new("o\"neil@example.com").unwrap();
        let line = users_file_line(&user, "hunter2", &[7; SALT_BYTES]).unwrap();
        assert!(!line.contains("hunter2"));

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users.toml");
        std::fs::write(&path, format!("[users]\n{line}\n")).unwrap();
        let users = UsersFile::load(&path).unwrap();
        let expected = Verifier::derive(b"hunter2", &[7; SALT_BYTES], DEFAULT_ITERATIONS).unwrap();
        assert!(users.verifier(user.as_str()) == Some(&expected));
    }
}
