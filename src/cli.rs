//! The command line.
//!
//! Promises: results go to standard output, errors to standard error; the exit code is 0 for success, 1 for a failure,
//! 2
//! for invalid arguments. Refuses to know: the work of the commands.

mod audit;
mod classify;
mod life_cycle;
mod verifier;

use std::{
    io::{self, IsTerminal, Read, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand};

use crate::{
    app::{self, Doctor, Form, KnowledgeError, PrincipalMistake, Verdict},
    blame::Chain,
    config::{Config, ConfigSource, LoadedConfig, Setting},
    names::{DatabaseName, UserName},
    sql::SchemaInfo,
};

/// One process in front of a whole AlloyDB cluster.
#[derive(Parser)]
#[command(
    name = "gatekeeper",
    version,
    arg_required_else_help = false,
    args_conflicts_with_subcommands = true
)]
struct Arguments {
    #[command(subcommand)]
    command: Option<CliCommand>,
    #[command(flatten)]
    run: Configured,
}

/// The commands.
#[derive(Subcommand)]
enum CliCommand {
    /// Serve clients until shutdown (the default command).
    Run(Configured),
    /// Check the configuration: print every mistake, or every effective setting with its origin.
    ///
    /// For logins with Google tokens, also looks up the principal of the tokens and compares the listed users.
    Check(Configured),
    /// Examine every endpoint and listener stage by stage, with a verdict and a remedy for each.
    ///
    /// Name resolution, route, TLS, token, login, role, lag and privileges of each endpoint; certificates and users
    /// files of each listener. Exits with 1 if a stage failed.
    Doctor {
        /// Only this endpoint.
        endpoint: Option<String>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        configured: Configured,
    },
    /// Show how a statement is classified, where a split listener would send it, and why.
    ///
    /// Without an endpoint, only PostgreSQL's built-in functions are known: other relations count as ordinary tables,
    /// other functions as unknown.
    Classify {
        /// The text of one or more statements; `-` reads it from standard input.
        #[arg(required_unless_present = "jsonl", conflicts_with = "jsonl")]
        sql: Option<String>,
        /// Read lines `{"sql": …}` from standard input, and write a line
        /// `{"access": …, "reason": …, "effects": […]}` for each.
        #[arg(long)]
        jsonl: bool,
        /// Use the current system catalogs of this endpoint.
        #[arg(long, value_name = "NAME")]
        endpoint: Option<String>,
        /// The database whose catalogs are read; by default the probe's.
        #[arg(long, value_name = "NAME", requires = "endpoint")]
        database: Option<DatabaseName>,
        #[command(flatten)]
        configured: Configured,
    },
    /// Start a throwaway cluster of PostgreSQL servers behind Gatekeeper and take a guided tour.
    Demo {
        /// End after the tour instead of at Ctrl-C.
        #[arg(long)]
        once: bool,
        /// Log in with tokens of a metadata server, as on GKE, instead of a token command.
        #[arg(long)]
        iam: bool,
    },
    /// Read a password from standard input and print the user's line for a users file.
    Verifier {
        /// The database user.
        user: UserName,
    },
    /// Verify audit logs.
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Check the readiness of the running Gatekeeper through its admin API: exit code 0 if ready, 1 if not.
    ///
    /// Address, key and certificate of the admin API come from the server's configuration.
    Healthcheck {
        #[command(flatten)]
        asked: life_cycle::HealthcheckArguments,
        #[command(flatten)]
        configured: Configured,
    },
    /// Wait until the running Gatekeeper is ready.
    Wait {
        #[command(flatten)]
        asked: life_cycle::WaitArguments,
        #[command(flatten)]
        configured: Configured,
    },
    /// Start another process that takes over the listeners of the running Gatekeeper, which drains.
    ///
    /// The new process has the same arguments and environment, and the program that is installed now.
    Restart {
        #[command(flatten)]
        asked: life_cycle::RestartArguments,
        #[command(flatten)]
        configured: Configured,
    },
    /// Drain and stop the running Gatekeeper, like SIGTERM.
    Stop {
        #[command(flatten)]
        asked: life_cycle::StopArguments,
        #[command(flatten)]
        configured: Configured,
    },
    /// Print the version.
    Version,
}

/// The configuration of a command.
#[derive(Args)]
struct Configured {
    /// The configuration file; environment variables (`GATEKEEPER_…`) override it, and suffice without a file.
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Parses the arguments and runs the command.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => error.exit(),
    };
    let done = match arguments.command.unwrap_or(CliCommand::Run(arguments.run)) {
        CliCommand::Run(configured) => return run_program(configured),
        CliCommand::Check(configured) => check_config(configured),
        CliCommand::Doctor { endpoint, json, configured } => {
            run_doctor(configured, endpoint.as_deref(), json)
        }
        CliCommand::Classify { sql, jsonl: _, endpoint, database, configured } => {
            run_classify(configured, endpoint.as_deref(), database, sql)
        }
        CliCommand::Demo { once, iam } => run_demo(once, iam),
        CliCommand::Verifier { user } => print_verifier(&user),
        CliCommand::Audit(audit::AuditCommand::Verify(asked)) => {
            audit::verify_files(&asked, &mut io::stdout().lock())
                .map(|well| if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        CliCommand::Healthcheck { asked, configured } => {
            life_cycle::run_command(&ConfigSource::of_process(configured.config), &asked)
        }
        CliCommand::Wait { asked, configured } => {
            life_cycle::run_command(&ConfigSource::of_process(configured.config), &asked)
        }
        CliCommand::Restart { asked, configured } => {
            life_cycle::run_command(&ConfigSource::of_process(configured.config), &asked)
        }
        CliCommand::Stop { asked, configured } => {
            life_cycle::run_command(&ConfigSource::of_process(configured.config), &asked)
        }
        CliCommand::Version => {
            writeln!(io::stdout(), "gatekeeper {}", env!("CARGO_PKG_VERSION")).map(|()| ExitCode::SUCCESS)
        }
    };
    // A closed standard output is not an error.
    done.unwrap_or(ExitCode::FAILURE)
}

fn run_program(configured: Configured) -> ExitCode {
    let source = ConfigSource::of_process(configured.config);
    match load_config(&source) {
        Some(loaded) => app::run(loaded, source),
        None => ExitCode::FAILURE,
    }
}

fn check_config(configured: Configured) -> io::Result<ExitCode> {
    let Some(loaded) = load_config(&ConfigSource::of_process(configured.config)) else {
        return Ok(ExitCode::FAILURE);
    };
    print_settings(&mut io::stdout().lock(), &loaded.settings)?;
    print_principals(&loaded.config)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the principals of the endpoints' tokens, and mismatches as warnings: the program may run on another machine.
fn print_principals(config: &Config) -> io::Result<()> {
    for report in app::find_principals(config)? {
        if let Some(principal) = report.principal {
            writeln!(io::stdout(), "endpoint `{}`: {principal}", report.endpoint)?;
        }
        if let Some(PrincipalMistake { what, remedy }) = report.mistake {
            writeln!(io::stderr(), "warning: endpoint.{}.login: {what}; {remedy}", report.endpoint)?;
        }
    }
    Ok(())
}

fn run_doctor(configured: Configured, endpoint: Option<&str>, json: bool) -> io::Result<ExitCode> {
    let Some(loaded) = load_config(&ConfigSource::of_process(configured.config)) else {
        return Ok(ExitCode::FAILURE);
    };
    let doctor = match Doctor::new(loaded.config, endpoint) {
        Ok(doctor) => doctor,
        Err(error) => {
            writeln!(io::stderr(), "error: {error}")?;
            return Ok(ExitCode::from(INVALID_ARGUMENTS_EXIT_CODE));
        }
    };
    let form = match json {
        true => Form::Json,
        false => Form::Text { colour: io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() },
    };
    let verdict = doctor.examine(form, &mut io::stdout().lock())?;
    Ok(if verdict == Verdict::Failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn run_classify(
    configured: Configured,
    endpoint: Option<&str>,
    database: Option<DatabaseName>,
    sql: Option<String>,
) -> io::Result<ExitCode> {
    let knowledge = match endpoint {
        None => SchemaInfo::assumed(),
        Some(endpoint) => {
            let Some(loaded) = load_config(&ConfigSource::of_process(configured.config)) else {
                return Ok(ExitCode::FAILURE);
            };
            match app::knowledge_of(loaded.config, endpoint, database) {
                Ok(knowledge) => knowledge,
                Err(error) => {
                    writeln!(io::stderr(), "error: {}", Chain(&error))?;
                    let unknown = matches!(error, KnowledgeError::UnknownEndpoint(_));
                    return Ok(if unknown {
                        ExitCode::from(INVALID_ARGUMENTS_EXIT_CODE)
                    } else {
                        ExitCode::FAILURE
                    });
                }
            }
        }
    };
    let (mut input, mut out) = (io::stdin().lock(), io::stdout().lock());
    match sql {
        None => classify::classify_lines(&mut input, &mut out, &knowledge)?,
        Some(sql) if sql == "-" => {
            let mut text = Vec::new();
            input.read_to_end(&mut text)?;
            classify::classify_text(&text, &mut out, &knowledge)?;
        }
        Some(sql) => classify::classify_text(sql.as_bytes(), &mut out, &knowledge)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn print_verifier(user: &UserName) -> io::Result<ExitCode> {
    match verifier::print_verifier_line(user, &mut io::stdout().lock()) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => {
            writeln!(io::stderr(), "error: {error}")?;
            Ok(ExitCode::FAILURE)
        }
    }
}

#[cfg(feature = "demo")]
fn run_demo(once: bool, iam: bool) -> io::Result<ExitCode> {
    let Err(error) = crate::sandbox::demo(once, iam, &mut io::stdout().lock()) else {
        return Ok(ExitCode::SUCCESS);
    };
    writeln!(io::stderr(), "error: {}", Chain(&error))?;
    Ok(ExitCode::FAILURE)
}

#[cfg(not(feature = "demo"))]
fn run_demo(_: bool, _: bool) -> io::Result<ExitCode> {
    writeln!(
        io::stderr(),
        "error: this binary was built without the feature `demo`; `make demo` in the source tree builds and runs one with it"
    )?;
    Ok(ExitCode::FAILURE)
}

/// Reads the configuration; mistakes and warnings go to standard error.
fn load_config(source: &ConfigSource) -> Option<LoadedConfig> {
    let mut out = io::stderr().lock();
    // A closed standard error cannot be reported; the exit code still reports failures.
    match source.load() {
        Ok(loaded) => {
            for warning in &loaded.warnings {
                let _ = writeln!(out, "warning: {warning}");
            }
            Some(loaded)
        }
        Err(problems) => {
            for problem in &problems.0 {
                let _ = writeln!(out, "error: {problem}");
            }
            None
        }
    }
}

/// Three columns: setting, value, origin.
fn print_settings(out: &mut impl Write, settings: &[Setting]) -> io::Result<()> {
    let width = |text: fn(&Setting) -> &str| {
        settings.iter().map(|setting| text(setting).chars().count().min(MAX_COLUMN_WIDTH)).max().unwrap_or(0)
    };
    let (name, value) = (width(|setting| &setting.name), width(|setting| &setting.value));
    for setting in settings {
        writeln!(out, "{:name$}  {:value$}  {}", setting.name, setting.value, setting.origin)?;
    }
    Ok(())
}

/// Exit code for invalid arguments.
const INVALID_ARGUMENTS_EXIT_CODE: u8 = 2;
/// Maximum width of a column; longer values are not padded.
const MAX_COLUMN_WIDTH: usize = 56;
