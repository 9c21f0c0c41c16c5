//! Commands, exit codes and events, as Markdown.

use std::fmt::Write;

use clap::{Arg, Command};
use mailstack_mta::metrics::{ALL, Described};
use mailstack_mta::{event, sysexits};

use super::comments::{Documented, constants, variants};
use crate::exit;

/// All of it.
pub fn markdown(program: &Command) -> String {
    let mut text = String::from(
        "# Commands, exit codes, events, metrics\n\nMade from the types: `mailstack reference commands` prints it.\n\n\
         ## Options of every command\n\n",
    );
    arguments(options(program), &mut text);
    text.push_str("\n## Commands\n");
    for command in subcommands(program) {
        one(command, &mut text);
    }
    text.push_str("\n## Exit codes of mailstack\n\n| code | meaning |\n|---|---|\n");
    for (code, meaning) in exit_codes() {
        let _ = writeln!(text, "| {code} | {meaning} |");
    }
    text.push_str(
        "\n## Exit codes of sendmail, mailq and newaliases\n\n| code | name | meaning |\n|---|---|---|\n",
    );
    for (name, value, comment) in constants(sysexits::SOURCE, "EX_") {
        let _ = writeln!(text, "| {value} | `{name}` | {comment} |");
    }
    events(&mut text);
    metrics(&mut text);
    text
}

/// The exit codes with their meanings.
pub fn exit_codes() -> impl Iterator<Item = (&'static str, &'static str)> {
    exit::HELP
        .lines()
        .filter_map(|line| line.trim_start().split_once("  "))
        .filter(|(code, _)| code.chars().all(|c| c.is_ascii_digit()))
}

/// The commands that are shown, in their order.
pub fn subcommands(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|command| !command.is_hide_set() && command.get_name() != "help")
}

/// The arguments that are a command's own and are shown.
pub fn own(command: &Command) -> impl Iterator<Item = &Arg> {
    let clap = ["help", "version"];
    let own = move |arg: &&Arg| {
        !arg.is_hide_set() && !arg.is_global_set() && !clap.contains(&arg.get_id().as_str())
    };
    command.get_arguments().filter(own)
}

/// The arguments that every command has.
pub fn options(program: &Command) -> impl Iterator<Item = &Arg> {
    program.get_arguments().filter(|arg| arg.is_global_set() && !arg.is_hide_set())
}

/// How an argument is written.
pub fn spelling(arg: &Arg) -> String {
    let value = || {
        let names = arg.get_value_names().unwrap_or_default();
        names.iter().map(|name| format!("<{name}>")).collect::<Vec<_>>().join(" ")
    };
    if arg.is_positional() {
        let many = arg.get_num_args().is_some_and(|count| count.max_values() > 1);
        return value() + if many { "..." } else { "" };
    }
    let short = arg.get_short().map(|short| format!("-{short}"));
    let long = arg.get_long().map(|long| format!("--{long}"));
    let names = short.into_iter().chain(long).collect::<Vec<_>>().join(", ");
    if arg.get_action().takes_values() { format!("{names} {}", value()) } else { names }
}

/// What an argument means.
pub fn meaning(arg: &Arg) -> String {
    let mut text = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let values = arg.get_possible_values();
    if arg.get_action().takes_values() && !values.is_empty() {
        let names: Vec<String> = values.iter().map(|value| format!("`{}`", value.get_name())).collect();
        let _ = write!(text, ": {}", names.join(", "));
    }
    let defaults = arg.get_default_values();
    if arg.get_action().takes_values() && !defaults.is_empty() {
        let names: Vec<String> = defaults.iter().map(|value| format!("`{}`", value.display())).collect();
        let _ = write!(text, ". Default: {}", names.join(" "));
    }
    if let Some(variable) = arg.get_env() {
        let _ = write!(text, ". Environment: `{}`", variable.display());
    }
    text
}

/// A command line of a command, without the word `Usage`.
pub fn usage(command: &Command) -> String {
    let usage = command.clone().render_usage().to_string();
    let usage = usage.strip_prefix("Usage: ").unwrap_or(&usage);
    usage.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn one(command: &Command, text: &mut String) {
    let nested: Vec<&Command> = subcommands(command).collect();
    if nested.is_empty() {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        let _ = write!(text, "\n### `{}`\n\n{about}.\n", usage(command));
        if own(command).next().is_some() {
            text.push('\n');
            arguments(own(command), text);
        }
    }
    for command in nested {
        one(command, text);
    }
}

fn arguments<'a>(arguments: impl Iterator<Item = &'a Arg>, text: &mut String) {
    text.push_str("| argument | meaning |\n|---|---|\n");
    for arg in arguments {
        let _ = writeln!(text, "| `{}` | {} |", spelling(arg), meaning(arg).replace('|', "\\|"));
    }
}

fn events(text: &mut String) {
    text.push_str(
        "\n## Events\n\nEach is a line of the log, and what tests and monitors wait for.\n\n\
         | event | meaning | carries |\n|---|---|---|\n",
    );
    for Documented { name, comment, parts } in variants(event::SOURCE, "Event") {
        let lower = |comment: &str| comment.trim_end_matches('.').to_owned();
        let parts: Vec<String> =
            parts.iter().map(|part| format!("`{}`: {}", part.name, lower(&part.comment))).collect();
        let _ = writeln!(text, "| `{name}` | {comment} | {} |", parts.join("; "));
    }
}

fn metrics(text: &mut String) {
    text.push_str(
        "\n## Metrics\n\nWhat `mailstack metrics` prints. The end of a name is its unit; counters begin with 0 at each \
         start.\n\n| metric | type | labels | meaning |\n|---|---|---|---|\n",
    );
    for Described { name, kind, labels, help } in ALL {
        let _ = writeln!(text, "| `{name}` | {} | {labels} | {help} |", kind.as_str());
    }
}
