//! Turns arguments and environment into a clap parser's struct, with the fallback to the file
//! that `runnel up` writes.

use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::path::PathBuf;

use clap::{Arg, ArgAction, Command, Parser};

use super::environment::{Environment, HOME_ENV_FILE, parse_env_file};

/// Exit code for wrong settings (`EX_USAGE` of sysexits).
pub const EXIT_USAGE: i32 = 64;

/// The file that was read because `DATABASE_URL` is unset; a process says so when it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HomeFile(
    /// Its path.
    pub PathBuf,
);

/// Parses arguments over an environment. Precedence: flag, environment, home file, default.
///
/// # Errors
/// As clap: unknown flags, missing arguments, and `--help` and `--version`, which are no errors.
pub fn load<P: Parser>(
    arguments: impl IntoIterator<Item = impl Into<OsString>>,
    mut environment: Environment,
) -> Result<(P, Option<HomeFile>), clap::Error> {
    let arguments: Vec<OsString> = arguments.into_iter().map(Into::into).collect();
    let home_file = read_home_file(&arguments, &mut environment);
    let command = with_environment(P::command(), &environment);
    let matches = command.try_get_matches_from(arguments)?;
    let parsed = P::from_arg_matches(&matches)?;
    Ok((parsed, home_file))
}

/// [`load`] with this process's arguments and environment. Help goes to standard output with exit
/// code 0, a wrong argument to standard error with 64; a home file that is read is announced.
#[must_use]
pub fn parse_or_exit<P: Parser>() -> P {
    match load::<P>(std::env::args_os(), Environment::of_process()) {
        Ok((parsed, home_file)) => {
            if let Some(HomeFile(path)) = home_file {
                let path = path.display();
                // A closed standard error is no reason not to start.
                let _ = writeln!(
                    std::io::stderr(),
                    "DATABASE_URL is not set: settings read from {path}"
                );
            }
            parsed
        }
        Err(error) => {
            let _ = error.print();
            std::process::exit(if error.use_stderr() { EXIT_USAGE } else { 0 });
        }
    }
}

/// Reads RUNNEL_HOME's file when nothing names a database.
fn read_home_file(arguments: &[OsString], environment: &mut Environment) -> Option<HomeFile> {
    let named = |name| environment.get(name).is_some();
    let flagged = flag_value(arguments, "--database-url").is_some()
        || flag_value(arguments, "--database-url-file").is_some();
    if named("DATABASE_URL") || named("DATABASE_URL_FILE") || flagged {
        return None;
    }
    let home =
        flag_value(arguments, "--runnel-home").map_or_else(|| environment.home(), PathBuf::from);
    let path = home.join(HOME_ENV_FILE);
    let text = std::fs::read_to_string(&path).ok()?;
    environment.add_below(parse_env_file(&text));
    Some(HomeFile(path))
}

/// A look ahead of clap, which can parse only once it knows the defaults.
fn flag_value(arguments: &[OsString], flag: &str) -> Option<String> {
    let mut rest = arguments
        .iter()
        .skip(1)
        .filter_map(|a| a.to_str())
        .take_while(|a| *a != "--");
    while let Some(argument) = rest.next() {
        if argument == flag {
            return rest.next().map(str::to_owned);
        }
        if let Some(value) = argument
            .strip_prefix(flag)
            .and_then(|v| v.strip_prefix('='))
        {
            return Some(value.to_owned());
        }
    }
    None
}

/// Hands the environment to clap as defaults, in every subcommand, so that nothing below this
/// line reads the process environment.
fn with_environment(command: Command, environment: &Environment) -> Command {
    command
        .mut_args(|argument| with_value(argument, environment))
        .mut_subcommands(|subcommand| with_environment(subcommand, environment))
}

fn with_value(argument: Arg, environment: &Environment) -> Arg {
    let Some(name) = argument
        .get_env()
        .and_then(OsStr::to_str)
        .map(str::to_owned)
    else {
        return argument;
    };
    // `--help` goes on naming the variable and the built-in default, never a value found.
    let mut names = format!(" [env: {name}]");
    if let Some(default) = argument.get_default_values().first() {
        names.push_str(&format!(" [default: {}]", default.to_string_lossy()));
    }
    let help = argument
        .get_help()
        .map(ToString::to_string)
        .unwrap_or_default();
    let long_help = argument.get_long_help().map(ToString::to_string);
    let takes_value = matches!(argument.get_action(), ArgAction::Set | ArgAction::Append);
    let mut argument = argument
        .env(None::<&'static str>)
        .hide_default_value(true)
        .help(format!("{help}{names}"));
    if let Some(long_help) = long_help {
        argument = argument.long_help(format!("{long_help}{names}"));
    }
    match environment.get(&name) {
        Some(value) if takes_value => argument.default_value(value.to_owned()).required(false),
        _ => argument,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(clap::Parser, Debug)]
    struct Cli {
        #[command(subcommand)]
        verb: Verb,
    }

    #[derive(clap::Subcommand, Debug)]
    enum Verb {
        Run {
            /// How many.
            #[arg(long, env = "BATCH_MAX", default_value = "512")]
            batch_max: String,
            /// The database.
            #[arg(long, env = "DATABASE_URL")]
            database_url: Option<String>,
            /// The folder.
            #[arg(long, env = "RUNNEL_HOME", default_value = ".runnel")]
            runnel_home: String,
        },
    }

    fn run(arguments: &[&str], pairs: &[(&str, &str)]) -> (String, Option<String>, bool) {
        let environment = Environment::from_pairs(pairs.iter().copied());
        let arguments = ["test", "run"].iter().chain(arguments);
        let (cli, home_file) = load::<Cli>(arguments, environment).unwrap();
        let Verb::Run {
            batch_max,
            database_url,
            ..
        } = cli.verb;
        (batch_max, database_url, home_file.is_some())
    }

    #[test]
    fn a_flag_beats_the_environment_which_beats_the_home_file_which_beats_the_default() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(
            home.path().join("env"),
            "DATABASE_URL=postgres://file\nBATCH_MAX=7\n",
        )
        .unwrap();
        let home = home.path().to_str().unwrap();

        assert_eq!(
            run(&[], &[("RUNNEL_HOME", "/nowhere")]),
            ("512".into(), None, false)
        );
        let from_file = Some("postgres://file".to_owned());
        assert_eq!(
            run(&[], &[("RUNNEL_HOME", home)]),
            ("7".into(), from_file.clone(), true)
        );
        assert_eq!(
            run(&["--runnel-home", home], &[]),
            ("7".into(), from_file.clone(), true)
        );
        let over = [("RUNNEL_HOME", home), ("BATCH_MAX", "8")];
        assert_eq!(run(&[], &over), ("8".into(), from_file.clone(), true));
        assert_eq!(
            run(&["--batch-max=9"], &over),
            ("9".into(), from_file, true)
        );
    }

    #[test]
    fn a_home_file_is_not_read_when_a_database_is_named() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("env"), "BATCH_MAX=7\n").unwrap();
        let home = home.path().to_str().unwrap();
        let named = [("RUNNEL_HOME", home), ("DATABASE_URL", "postgres://env")];
        assert_eq!(
            run(&[], &named),
            ("512".into(), Some("postgres://env".into()), false)
        );
        let (batch, _, read) = run(
            &["--database-url=postgres://flag"],
            &[("RUNNEL_HOME", home)],
        );
        assert_eq!((batch.as_str(), read), ("512", false));
    }

    #[test]
    fn help_names_every_variable_and_default_but_no_value_of_the_environment() {
        let environment = Environment::from_pairs([("DATABASE_URL", "postgres://hidden")]);
        let help = load::<Cli>(["test", "run", "--help"], environment)
            .unwrap_err()
            .to_string();
        assert!(help.contains("[env: BATCH_MAX] [default: 512]"), "{help}");
        assert!(help.contains("[env: DATABASE_URL]"), "{help}");
        assert!(!help.contains("hidden"), "{help}");
    }
}
