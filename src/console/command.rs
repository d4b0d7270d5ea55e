//! Console commands: text → [`Command`].
//!
//! Keywords are PgBouncer's and ignore case; names are case-sensitive. One command at a time.
//!
//! <https://www.pgbouncer.org/usage.html#admin-console>

use std::borrow::Cow;

use super::{
    settings::ConsoleAccess,
    show_target::ShowTarget,
    table::Column,
    word::{CommandWord, split_words},
};
use crate::{
    names::{DatabaseName, EndpointName},
    wire::{ErrorResponse, Severity, SqlState},
};

/// A console command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Command {
    /// SHOW.
    Show(ShowTarget),
    /// Reloads the configuration.
    Reload,
    /// Stops leasing backends; running transactions finish.
    Pause(PoolScope),
    /// Leases backends again, after PAUSE, DRAIN, DISABLE or KILL.
    Resume(PoolScope),
    /// Like PAUSE; also closes the backends.
    Drain(PoolScope),
    /// Replaces backends as they return.
    Reconnect(PoolScope),
    /// Waits until all backends that were in use at RECONNECT are closed.
    WaitClose(PoolScope),
    /// Terminates sessions at once, and pauses the scope against reconnecting clients.
    Kill(KillTarget),
    /// Drains and stops the program.
    Shutdown,
    /// Moves the writer to an endpoint.
    MoveWriter(WriterTarget),
    /// Ends the fence of an endpoint.
    EndFence(EndpointName),
    /// A setting that drivers make on their own; ignored.
    Set,
}

/// Scope of a command: all pools, those of a database, of an endpoint (`@endpoint`), or of both (`database@endpoint`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct PoolScope {
    pub(super) database: Option<DatabaseName>,
    pub(super) endpoint: Option<EndpointName>,
}

/// Target of a move, and the times in whole seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WriterTarget {
    pub(super) endpoint: EndpointName,
    /// Time for running transactions; the default if `None`.
    pub(super) wait: Option<u32>,
    /// Time for a promotion; none if `None`.
    pub(super) promotion_wait: Option<u32>,
}

/// Sessions to terminate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum KillTarget {
    /// One session, by its number.
    Session(u64),
    /// All sessions of a scope.
    PoolScope(PoolScope),
}

/// Expected words after a command's first word.
#[derive(Clone, Copy)]
enum Behind {
    Nothing,
    /// A scope, or no word for all pools.
    PerhapsScope,
    PoolScope,
}

/// Longest wait of MOVE, in seconds.
const MAX_MOVE_SECONDS: u32 = 3600;

/// Settings that drivers make on their own.
const DRIVERS_SET: [&str; 10] = [
    "application_name",
    "bytea_output",
    "client_encoding",
    "client_min_messages",
    "datestyle",
    "extra_float_digits",
    "intervalstyle",
    "standard_conforming_strings",
    "statement_timeout",
    "timezone",
];

// === impl Command ===

impl Command {
    /// Parses a text; `None` for an empty text.
    ///
    /// # Errors
    /// The error for the client.
    pub(super) fn parse(text: &str) -> Result<Option<Self>, ErrorResponse<'static>> {
        let found = split_words(text).map_err(|_| syntax_error("unterminated quote or comment", HELP))?;
        let mut found = found.as_slice();
        while let [before @ .., CommandWord::Mark(';')] = found {
            found = before;
        }
        let [CommandWord::Plain(first), behind @ ..] = found else {
            return match found {
                [] => Ok(None),
                [word, ..] => Err(unknown_command(word.text())),
            };
        };
        if behind.contains(&CommandWord::Mark(';')) {
            return Err(syntax_error("one command at a time", "Send them one after the other."));
        }
        let upper = first.to_ascii_uppercase();
        let command = match upper.as_str() {
            "SHOW" => return parse_show(behind).map(Some),
            "HELP" => parse_scope(&upper, behind, Behind::Nothing).map(|_| Self::Show(ShowTarget::Help)),
            "SET" => return parse_set(behind).map(Some),
            "KILL" | "KILL_CLIENT" => parse_kill(&upper, behind),
            "RELOAD" => parse_scope(&upper, behind, Behind::Nothing).map(|_| Self::Reload),
            "SHUTDOWN" => parse_scope(&upper, behind, Behind::Nothing).map(|_| Self::Shutdown),
            "PAUSE" => parse_scope(&upper, behind, Behind::PerhapsScope).map(Self::Pause),
            "RESUME" => parse_scope(&upper, behind, Behind::PerhapsScope).map(Self::Resume),
            "DRAIN" => parse_scope(&upper, behind, Behind::PerhapsScope).map(Self::Drain),
            "RECONNECT" => parse_scope(&upper, behind, Behind::PerhapsScope).map(Self::Reconnect),
            "WAIT_CLOSE" => parse_scope(&upper, behind, Behind::PerhapsScope).map(Self::WaitClose),
            "MOVE" => parse_move(behind),
            "UNFENCE" => parse_unfence(behind),
            "DISABLE" | "ENABLE" => {
                parse_scope(&upper, behind, Behind::PoolScope)?;
                Err(not_done(
                    format!("{upper} is not supported"),
                    "PAUSE keeps clients waiting; to turn them away, take the database from the listener's \
                     auth.databases and RELOAD.",
                ))
            }
            "SUSPEND" => Err(not_done(
                "SUSPEND is not supported".to_owned(),
                "A new process takes the listening sockets over by socket activation.",
            )),
            _ => Err(unknown_command(first)),
        };
        command.map(Some)
    }

    /// The right that the command requires.
    pub(super) const fn needs(&self) -> ConsoleAccess {
        match self {
            Self::Show(_) | Self::Set => ConsoleAccess::Stats,
            Self::Reload
            | Self::Pause(_)
            | Self::Resume(_)
            | Self::Drain(_)
            | Self::Reconnect(_)
            | Self::WaitClose(_)
            | Self::Kill(_)
            | Self::Shutdown
            | Self::MoveWriter(_)
            | Self::EndFence(_) => ConsoleAccess::Admin,
        }
    }

    /// Columns of the rows, if any.
    pub(super) const fn columns(&self) -> Option<&'static [Column]> {
        match self {
            Self::Show(target) => target.columns(),
            _ => None,
        }
    }

    /// The command tag of the response.
    pub(super) const fn tag(&self) -> &'static str {
        match self {
            Self::Show(_) => "SHOW",
            Self::Set => "SET",
            Self::Reload => "RELOAD",
            Self::Pause(_) => "PAUSE",
            Self::Resume(_) => "RESUME",
            Self::Drain(_) => "DRAIN",
            Self::Reconnect(_) => "RECONNECT",
            Self::WaitClose(_) => "WAIT_CLOSE",
            Self::Kill(_) => "KILL",
            Self::Shutdown => "SHUTDOWN",
            Self::MoveWriter(_) => "MOVE",
            Self::EndFence(_) => "UNFENCE",
        }
    }

    /// The command in canonical form, for log and audit log.
    pub(super) fn text(&self) -> String {
        let behind: Cow<'_, str> = match self {
            Self::Show(target) => target.as_str().into(),
            Self::Pause(scope)
            | Self::Resume(scope)
            | Self::Drain(scope)
            | Self::Reconnect(scope)
            | Self::WaitClose(scope)
            | Self::Kill(KillTarget::PoolScope(scope)) => scope.to_string().into(),
            Self::Kill(KillTarget::Session(id)) => id.to_string().into(),
            Self::MoveWriter(target) => target.to_string().into(),
            Self::EndFence(endpoint) => endpoint.to_string().into(),
            Self::Reload | Self::Shutdown | Self::Set => "".into(),
        };
        format!("{} {behind}", self.tag()).trim_end().to_owned()
    }
}

fn parse_show(behind: &[CommandWord<'_>]) -> Result<Command, ErrorResponse<'static>> {
    match behind {
        [word @ (CommandWord::Plain(_) | CommandWord::Quoted(_))] => match ShowTarget::find(word.text()) {
            Some(target) => Ok(Command::Show(target)),
            None => Err(syntax_error(format!("unrecognized SHOW target \"{}\"", word.text()), HELP)),
        },
        [] => Err(syntax_error("SHOW what?", HELP)),
        _ => Err(syntax_error("SHOW takes one word", HELP)),
    }
}

fn parse_set(behind: &[CommandWord<'_>]) -> Result<Command, ErrorResponse<'static>> {
    let name = match behind {
        [CommandWord::Plain(scope), name, ..] if scope.eq_ignore_ascii_case("session") => name,
        [name, ..] => name,
        [] => return Err(syntax_error("SET what?", HELP)),
    };
    if DRIVERS_SET.iter().any(|known| name.text().eq_ignore_ascii_case(known)) {
        return Ok(Command::Set);
    }
    Err(not_done(
        format!("\"{}\" cannot be set here", name.text()),
        "Change the configuration file and RELOAD.",
    ))
}

fn parse_kill(first: &str, behind: &[CommandWord<'_>]) -> Result<Command, ErrorResponse<'static>> {
    if let [CommandWord::Plain(number)] = behind
        && let Ok(id) = number.parse()
    {
        return Ok(Command::Kill(KillTarget::Session(id)));
    }
    if first == "KILL_CLIENT" {
        return Err(syntax_error("KILL_CLIENT takes a session's number", "SHOW CLIENTS shows it as \"id\"."));
    }
    parse_scope(first, behind, Behind::PoolScope).map(|scope| Command::Kill(KillTarget::PoolScope(scope)))
}

fn parse_move(behind: &[CommandWord<'_>]) -> Result<Command, ErrorResponse<'static>> {
    let is_word = |word: &CommandWord<'_>, wanted: &str| matches!(word, CommandWord::Plain(text) if text.eq_ignore_ascii_case(wanted));
    let [writer, to, endpoint, options @ ..] = behind else { return Err(syntax_error("MOVE what?", MOVE)) };
    if !is_word(writer, "writer") || !is_word(to, "to") {
        return Err(syntax_error("MOVE moves the writer", MOVE));
    }
    let mut target = WriterTarget { endpoint: parse_endpoint(endpoint)?, wait: None, promotion_wait: None };
    let mut options = options.chunks_exact(2);
    for option in options.by_ref() {
        let [name, seconds] = option else { break };
        let seconds: Option<u32> = seconds.text().parse().ok().filter(|seconds| *seconds <= MAX_MOVE_SECONDS);
        let slot = match name {
            name if is_word(name, "wait") => &mut target.wait,
            name if is_word(name, "promotion_wait") => &mut target.promotion_wait,
            name => return Err(syntax_error(format!("\"{}\" is not an option of MOVE", name.text()), MOVE)),
        };
        *slot = Some(seconds.ok_or_else(|| syntax_error("a wait is a number of seconds up to 3600", MOVE))?);
    }
    match options.remainder() {
        [] => Ok(Command::MoveWriter(target)),
        _ => Err(syntax_error("an option of MOVE takes a number of seconds", MOVE)),
    }
}

fn parse_unfence(behind: &[CommandWord<'_>]) -> Result<Command, ErrorResponse<'static>> {
    match behind {
        [endpoint] => parse_endpoint(endpoint).map(Command::EndFence),
        _ => Err(syntax_error("UNFENCE takes an endpoint", "SHOW ENDPOINTS shows those that are fenced.")),
    }
}

/// An endpoint, written as in `dr` or `@dr`.
fn parse_endpoint(word: &CommandWord<'_>) -> Result<EndpointName, ErrorResponse<'static>> {
    let text = word.text();
    EndpointName::new(text.strip_prefix('@').unwrap_or(text))
        .map_err(|_| syntax_error(format!("\"{text}\" is not an endpoint"), "SHOW ENDPOINTS lists them."))
}

fn parse_scope(
    first: &str,
    behind: &[CommandWord<'_>],
    wanted: Behind,
) -> Result<PoolScope, ErrorResponse<'static>> {
    match (behind, wanted) {
        ([], Behind::Nothing | Behind::PerhapsScope) => Ok(PoolScope::default()),
        ([], Behind::PoolScope) => Err(syntax_error(format!("{first} what?"), PLACES)),
        (
            [word @ (CommandWord::Plain(_) | CommandWord::Quoted(_))],
            Behind::PerhapsScope | Behind::PoolScope,
        ) => PoolScope::parse(word).ok_or_else(|| {
            syntax_error(format!("\"{}\" is not a database or endpoint", word.text()), PLACES)
        }),
        (_, Behind::Nothing) => Err(syntax_error(format!("{first} takes no argument"), HELP)),
        _ => Err(syntax_error(format!("{first} takes one name"), PLACES)),
    }
}

// === impl PoolScope ===

impl PoolScope {
    /// A quoted name is always a database name.
    fn parse(word: &CommandWord<'_>) -> Option<Self> {
        let (database, endpoint) = match word {
            CommandWord::Quoted(name) => (name.as_str(), None),
            _ => match word.text().rsplit_once('@') {
                Some((database, endpoint)) => (database, Some(endpoint)),
                None => (word.text(), None),
            },
        };
        let database = (!database.is_empty()).then(|| DatabaseName::new(database)).transpose().ok()?;
        let endpoint = endpoint.map(EndpointName::new).transpose().ok()?;
        (database.is_some() || endpoint.is_some()).then_some(Self { database, endpoint })
    }
}

impl std::fmt::Display for PoolScope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(database) = &self.database {
            f.write_str(database.as_str())?;
        }
        match &self.endpoint {
            Some(endpoint) => write!(f, "@{endpoint}"),
            None => Ok(()),
        }
    }
}

// === impl WriterTarget ===

impl std::fmt::Display for WriterTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WRITER TO {}", self.endpoint)?;
        for (name, seconds) in [("WAIT", self.wait), ("PROMOTION_WAIT", self.promotion_wait)] {
            if let Some(seconds) = seconds {
                write!(f, " {name} {seconds}")?;
            }
        }
        Ok(())
    }
}

// === Messages ===

const HELP: &str = "SHOW HELP lists the commands.";
const MOVE: &str = "Write MOVE WRITER TO endpoint, and perhaps WAIT seconds and PROMOTION_WAIT seconds.";
const PLACES: &str =
    "Write a database, an endpoint as in @reads, or both as in orders@reads; SHOW DATABASES lists them.";

/// `42601`: invalid command.
fn syntax_error(message: impl Into<Cow<'static, str>>, hint: &'static str) -> ErrorResponse<'static> {
    ErrorResponse {
        hint: Some(hint.into()),
        ..ErrorResponse::new(Severity::Error, SqlState::new(*b"42601"), message)
    }
}

fn unknown_command(word: &str) -> ErrorResponse<'static> {
    // A driver may send a long text; the error repeats only its beginning.
    let word: String = word.chars().take(64).collect();
    syntax_error(format!("\"{word}\" is not a console command"), HELP)
}

fn not_done(message: String, hint: &'static str) -> ErrorResponse<'static> {
    let report = ErrorResponse::new(Severity::Error, SqlState::FEATURE_NOT_SUPPORTED, message);
    ErrorResponse { hint: Some(hint.into()), ..report }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed_text(text: &str) -> String {
        match Command::parse(text) {
            Ok(None) => String::new(),
            Ok(Some(command)) => command.text(),
            Err(report) => format!("{}: {}", report.sqlstate, report.message),
        }
    }

    #[test]
    fn commands_are_read_in_any_case_with_comments_and_semicolons() {
        for (text, expected) in [
            ("", ""),
            (";", ""),
            ("-- ping", ""),
            ("show pools;", "SHOW POOLS"),
            ("  Show /* all */ \"stats_totals\" ; ;", "SHOW STATS_TOTALS"),
            ("help", "SHOW HELP"),
            ("PAUSE", "PAUSE"),
            ("pause Orders", "PAUSE Orders"),
            ("PAUSE @reads", "PAUSE @reads"),
            ("RESUME orders@reads;", "RESUME orders@reads"),
            ("RECONNECT \"a@B c\"", "RECONNECT a@B c"),
            ("KILL 12", "KILL 12"),
            ("kill_client 12", "KILL 12"),
            ("KILL orders", "KILL orders"),
            ("move writer to dr;", "MOVE WRITER TO dr"),
            ("MOVE WRITER TO @dr promotion_wait 60 WAIT 0", "MOVE WRITER TO dr WAIT 0 PROMOTION_WAIT 60"),
            ("unfence primary", "UNFENCE primary"),
            ("SET extra_float_digits = 3", "SET"),
            ("set session DateStyle to 'ISO'", "SET"),
        ] {
            assert_eq!(parsed_text(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_command_is_answered_with_what_to_do() {
        for (text, expected) in [
            ("SELECT 1", "42601: \"SELECT\" is not a console command"),
            ("SHOW POOLS; SHOW CLIENTS", "42601: one command at a time"),
            ("SHOW", "42601: SHOW what?"),
            ("SHOW tables", "42601: unrecognized SHOW target \"tables\""),
            ("SHOW POOLS CLIENTS", "42601: SHOW takes one word"),
            ("RELOAD now", "42601: RELOAD takes no argument"),
            ("PAUSE a b", "42601: PAUSE takes one name"),
            ("PAUSE @", "42601: \"@\" is not a database or endpoint"),
            ("PAUSE orders@Reads", "42601: \"orders@Reads\" is not a database or endpoint"),
            ("KILL", "42601: KILL what?"),
            ("MOVE", "42601: MOVE what?"),
            ("MOVE writer dr now", "42601: MOVE moves the writer"),
            ("MOVE WRITER TO dr WAIT", "42601: an option of MOVE takes a number of seconds"),
            ("MOVE WRITER TO dr WAIT long", "42601: a wait is a number of seconds up to 3600"),
            ("MOVE WRITER TO dr WITH 1", "42601: \"WITH\" is not an option of MOVE"),
            ("MOVE WRITER TO 'A B'", "42601: \"A B\" is not an endpoint"),
            ("UNFENCE", "42601: UNFENCE takes an endpoint"),
            ("'x", "42601: unterminated quote or comment"),
            ("= 3", "42601: \"=\" is not a console command"),
            ("DISABLE orders", "0A000: DISABLE is not supported"),
            ("SUSPEND", "0A000: SUSPEND is not supported"),
            ("SET max_client_conn = 7", "0A000: \"max_client_conn\" cannot be set here"),
        ] {
            assert_eq!(parsed_text(text), expected, "{text}");
            assert!(Command::parse(text).is_err_and(|report| report.hint.is_some()), "{text}");
        }
    }
}
