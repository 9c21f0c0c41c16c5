//! The command line.

use std::path::PathBuf;
use std::sync::LazyLock;

use clap::builder::PossibleValue;
use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use mailstack_deploy::sendmail::process::Part as SendmailPart;
use mailstack_mta::message::QueueId;
use mailstack_policy::{Address, Client, ReversePath};
use mailstack_schema::host::Role;

use crate::exit;

/// One typed TOML file per host, one command, and a mail transfer agent that is proven before it goes live.
#[derive(Debug, Parser)]
#[command(name = "mailstack", version, after_help = exit::HELP, max_term_width = 100)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Args, Clone, Debug)]
pub struct Global {
    /// The directory that stands for `/`
    #[arg(long, global = true, env = "MAILSTACK_ROOT", default_value = "/", value_name = "DIR")]
    pub root: PathBuf,
    /// When to use colours
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, value_name = "WHEN")]
    pub color: Color,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print a starter host.toml
    Init {
        /// The role of the host
        #[arg(value_enum)]
        role: RoleArgument,
    },
    /// Say all that is wrong with declarations, and with topologies of hosts
    Check {
        /// The declarations and topologies
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// Print each key with the file and line, or the role's profile, that it comes from
        #[arg(long)]
        resolved: bool,
    },
    /// Explain what becomes of a message, with the line that decides
    Trace(TraceArguments),
    /// Show what an apply would change, and why
    Plan {
        /// The declaration
        file: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// End with 3 when there are changes
        #[arg(long)]
        exit_code: bool,
    },
    /// Write the generation into a directory, and print its digest
    Build {
        /// The declaration
        file: PathBuf,
        /// The directory: a new one, an empty one, or an earlier build
        #[arg(short, long, value_name = "DIR")]
        output: PathBuf,
    },
    /// Make the host what the declaration says
    Apply {
        /// The declaration
        file: PathBuf,
        /// Stay until the MTA ends, as the first process of a container; signals are passed on
        #[arg(long)]
        foreground: bool,
        /// What to do with an MTA that the host has already
        #[command(flatten)]
        take_over: TakeOverArguments,
        /// Options of all that changes what runs
        #[command(flatten)]
        change: Change,
    },
    /// End the MTA, and give the host back to the one that it had before: its files, its units, and what ran
    Deactivate {
        /// Go on where mail waits in mailstack's queue; it stays there
        #[arg(long)]
        leave_queue: bool,
        /// Wait for a lock that another command holds
        #[arg(long)]
        wait: bool,
    },
    /// Go back to the generation that was live before
    Rollback {
        /// Go to this one: the beginning of its digest
        #[arg(long, value_name = "DIGEST")]
        to: Option<String>,
        /// Options of all that changes what runs
        #[command(flatten)]
        change: Change,
    },
    /// List the generations of the host
    Generations {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove old generations; never the one that is live, nor the last that was found good
    Gc {
        /// How many of the newest stay
        #[arg(long, value_name = "N")]
        keep: usize,
        /// Wait for a lock that another command holds
        #[arg(long)]
        wait: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what runs, what is wrong, and what to do about it
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the JSON Schema of a file
    Schema {
        /// Which file
        #[arg(value_enum, default_value_t = Language::Host)]
        language: Language,
    },
    /// Print the reference: Markdown, manual pages, completions for shells
    Reference {
        /// Which part
        #[arg(value_enum)]
        part: Part,
    },
    /// Users who may authenticate
    Auth {
        /// What to do with them
        #[command(subcommand)]
        command: AuthCommand,
    },
    /// Run the MTA in the foreground
    Run {
        /// The MTA's configuration [default: that of the live generation]
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// End when there is nothing to do
        #[arg(long)]
        exit_when_idle: bool,
        /// Leave the session of the terminal
        #[arg(long, hide = true)]
        detached: bool,
        /// Become this part of the host's Sendmail: daemon or client
        #[arg(long, hide = true, value_parser = sendmail_part)]
        part: Option<SendmailPart>,
    },
    /// End the MTA
    Stop {
        /// Wait for a lock that another command holds
        #[arg(long)]
        wait: bool,
    },
    /// Have the running MTA show a renewed certificate, without a restart
    Reload,
    /// Print what the MTA counts, for Prometheus
    Metrics {
        /// Put it into this file instead, in one step: for node_exporter's textfile collector, `*.prom`
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Look at the queue, and change it
    Queue {
        /// What to do
        #[command(subcommand)]
        command: QueueCommand,
    },
}

/// What to do with an MTA that the host has already.
#[derive(Args, Clone, Copy, Debug)]
pub struct TakeOverArguments {
    /// Stop another MTA, keep it from starting, have it empty its queue, and keep the files that are replaced
    #[arg(long)]
    pub take_over: bool,
    /// How long it has to empty its queue
    #[arg(long, value_name = "SECONDS", default_value_t = 60, requires = "take_over")]
    pub drain: u64,
    /// Go on where mail is left in its queue; it stays there
    #[arg(long, requires = "take_over")]
    pub leave_queue: bool,
}

/// What is traced.
#[derive(Args, Clone, Debug)]
pub struct TraceArguments {
    /// The recipient
    pub address: Address,
    /// The sender; `<>` is the null sender; default: root, or `<>` where another host connects
    #[arg(long, value_name = "WHO", value_parser = sender)]
    pub from: Option<Sender>,
    /// Who hands the message in: `local`, a program of the host, or the address of another host
    #[arg(long, value_name = "IP|local", default_value = "local", value_parser = client)]
    pub client: By,
    /// The declaration [default: that of the live generation]
    #[arg(long, value_name = "FILE")]
    pub host: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// A sender, as an argument.
#[derive(Clone, Debug)]
pub struct Sender(pub ReversePath);

/// Who hands a message in, as an argument.
#[derive(Clone, Copy, Debug)]
pub struct By(pub Client);

fn sender(text: &str) -> Result<Sender, String> {
    let bare = text.strip_prefix('<').and_then(|text| text.strip_suffix('>')).unwrap_or(text);
    ReversePath::try_from(bare.to_owned()).map(Sender).map_err(|error| error.to_string())
}

fn client(text: &str) -> Result<By, String> {
    match (text, text.parse()) {
        ("local", _) => Ok(By(Client::Local { uid: 0 })),
        (_, Ok(addr)) => Ok(By(Client::Network { addr })),
        (_, Err(_)) => Err("neither `local` nor an IP address".to_owned()),
    }
}

fn sendmail_part(name: &str) -> Result<SendmailPart, String> {
    SendmailPart::named(name).ok_or_else(|| "daemon or client".to_owned())
}

/// Options of all that changes what runs.
#[derive(Args, Clone, Copy, Debug)]
pub struct Change {
    /// Wait for a lock that another command holds
    #[arg(long)]
    pub wait: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What to do with the queue.
#[derive(Debug, Subcommand)]
pub enum QueueCommand {
    /// List the messages
    List {
        /// At most so many
        #[arg(long, value_name = "N")]
        limit: Option<u64>,
        /// Only those behind this one
        #[arg(long, value_name = "ID")]
        after: Option<QueueId>,
        /// Which messages
        #[command(flatten)]
        select: Select,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Read all of the queue, and say what is damaged
    Verify {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Write the queue of an MTA that is stopped into a directory, as RFC 5322 files with their envelopes
    Export {
        /// The directory: a new one, or an empty one
        #[arg(value_name = "DIR")]
        directory: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Take an export into the queue of an MTA that is stopped: all of it, or nothing
    Import {
        /// The directory of the export
        #[arg(value_name = "DIR")]
        directory: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show all that is known of one message
    Show {
        /// The message
        id: QueueId,
        /// With its body
        #[arg(long)]
        body: bool,
        /// Print JSON; with the header, and the body where it is asked for
        #[arg(long)]
        json: bool,
    },
    /// Try what waits now: all of it, or what is selected
    Flush {
        /// Which messages
        #[command(flatten)]
        select: Select,
        /// Options of what is done with messages
        #[command(flatten)]
        options: Operate,
    },
    /// Try messages no more until they are released
    #[command(group = selected())]
    Hold {
        /// Which messages
        #[command(flatten)]
        select: Select,
        /// Options of what is done with messages
        #[command(flatten)]
        options: Operate,
    },
    /// Let go on what is held, whoever or whatever holds it
    #[command(group = selected())]
    Release {
        /// Which messages
        #[command(flatten)]
        select: Select,
        /// Options of what is done with messages
        #[command(flatten)]
        options: Operate,
    },
    /// Take messages out, or the recipients that are selected; nobody is told
    #[command(group = selected())]
    Remove {
        /// Which messages
        #[command(flatten)]
        select: Select,
        /// Options of what is done with messages
        #[command(flatten)]
        options: Operate,
    },
    /// Route messages anew, and try them now
    #[command(group = selected())]
    Requeue {
        /// Which messages
        #[command(flatten)]
        select: Select,
        /// Options of what is done with messages
        #[command(flatten)]
        options: Operate,
    },
    /// Return messages to their senders, or say so of the recipients that are selected
    #[command(group = selected())]
    Bounce {
        /// Why, for the sender
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        /// Which messages
        #[command(flatten)]
        select: Select,
        /// Options of what is done with messages
        #[command(flatten)]
        options: Operate,
    },
}

/// Nothing is done to everything by leaving something out.
fn selected() -> ArgGroup {
    let ways = ["ids", "sender", "recipient", "destination", "older_than", "younger_than", "all"];
    ArgGroup::new("selected").args(ways).multiple(true).required(true)
}

/// Which messages, and which of their recipients: all that is said must be so. `*` in a pattern stands for any
/// characters.
#[derive(Args, Clone, Debug, Default)]
pub struct Select {
    /// These messages; `-`: those named on standard input
    #[arg(value_name = "ID", value_parser = named)]
    pub ids: Vec<Named>,
    /// From this sender: `user@domain`, `@domain`, `user`, `<>`
    #[arg(long, value_name = "PATTERN")]
    pub sender: Option<String>,
    /// To this recipient, as it is or as it was before an alias
    #[arg(long, value_name = "PATTERN")]
    pub recipient: Option<String>,
    /// On the way there: `domain.example`, `[host.example]`, `local`
    #[arg(long, value_name = "PATTERN")]
    pub destination: Option<String>,
    /// Accepted at least so long ago: `30m`, `12h`, `2d`, `1d12h`
    #[arg(long, value_name = "AGE", value_parser = age)]
    pub older_than: Option<Age>,
    /// Accepted less than so long ago
    #[arg(long, value_name = "AGE", value_parser = age)]
    pub younger_than: Option<Age>,
    /// Everything
    #[arg(long, conflicts_with_all = ["ids", "sender", "recipient", "destination", "older_than", "younger_than"])]
    pub all: bool,
}

/// Options of what is done with messages.
#[derive(Args, Clone, Copy, Debug)]
pub struct Operate {
    /// Only say what would be done
    #[arg(long)]
    pub dry_run: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// A message that is named, or `-`: they are on standard input.
#[derive(Clone, Copy, Debug)]
pub enum Named {
    /// By its queue id.
    Id(QueueId),
    /// On standard input, one a line.
    Input,
}

fn named(text: &str) -> Result<Named, String> {
    match text {
        "-" => Ok(Named::Input),
        id => id.parse().map(Named::Id).map_err(|error: mailstack_mta::message::NoQueueId| error.to_string()),
    }
}

/// An age in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Age(pub u64);

fn age(text: &str) -> Result<Age, String> {
    let wrong = || "numbers, each with s, m, h, d or w behind it: 30m, 1d12h".to_owned();
    let (mut seconds, mut number) = (0_u64, None::<u64>);
    for c in text.chars() {
        if let Some(digit) = c.to_digit(10) {
            let before = number.unwrap_or(0).checked_mul(10);
            number = Some(before.and_then(|n| n.checked_add(u64::from(digit))).ok_or_else(wrong)?);
            continue;
        }
        let unit = match c {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            'w' => 604_800,
            _ => return Err(wrong()),
        };
        let part = number.take().and_then(|n| n.checked_mul(unit)).ok_or_else(wrong)?;
        seconds = seconds.checked_add(part).ok_or_else(wrong)?;
    }
    // A number alone could be of any unit.
    if number.is_some() || text.is_empty() { Err(wrong()) } else { Ok(Age(seconds)) }
}

/// What to do with users.
#[derive(Debug, Subcommand)]
pub enum AuthCommand {
    /// Print a user's line for the file of users; the password is read from standard input
    Hash {
        /// The user's name
        user: String,
    },
}

/// A role, as an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RoleArgument {
    /// All mail of the host goes to a mail host
    Nullclient,
    /// Message submission only
    Msp,
    /// An MTA for the programs of this host
    Loopback,
    /// A border relay
    Gateway,
}

impl From<RoleArgument> for Role {
    fn from(role: RoleArgument) -> Self {
        match role {
            RoleArgument::Nullclient => Role::Nullclient,
            RoleArgument::Msp => Role::Msp,
            RoleArgument::Loopback => Role::Loopback,
            RoleArgument::Gateway => Role::Gateway,
        }
    }
}

/// A language that has a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// host.toml
    Host,
    /// topology.toml
    Topology,
    /// host.toml of one role
    Role(Role),
}

impl ValueEnum for Language {
    fn value_variants<'a>() -> &'a [Self] {
        static ALL: LazyLock<Vec<Language>> = LazyLock::new(|| {
            let roles = Role::ALL.map(Language::Role);
            [Language::Host, Language::Topology].into_iter().chain(roles).collect()
        });
        &ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(match self {
            Self::Host => PossibleValue::new("host").help("host.toml, of any role"),
            Self::Topology => PossibleValue::new("topology").help("topology.toml"),
            Self::Role(role) => {
                PossibleValue::new(role.as_str()).help("host.toml of this role alone, for editors")
            }
        })
    }
}

/// A part of the reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Commands, exit codes and events, as Markdown
    Commands,
    /// Keys of host.toml, as Markdown
    Host,
    /// Keys of topology.toml, as Markdown
    Topology,
    /// The manual page of the command
    #[value(name = "mailstack.1")]
    MailstackPage,
    /// The manual page of host.toml
    #[value(name = "host.toml.5")]
    HostPage,
    /// The manual page of topology.toml
    #[value(name = "topology.toml.5")]
    TopologyPage,
    /// Completions for bash
    Bash,
    /// Completions for fish
    Fish,
    /// Completions for zsh
    Zsh,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(["mailstack", "queue"].into_iter().chain(line.split_whitespace()))
    }

    #[test]
    fn ages() {
        for (text, seconds) in [("30m", 1800), ("1d12h", 129_600), ("0s", 0), ("2w", 1_209_600)] {
            assert_eq!(age(text), Ok(Age(seconds)), "{text}");
        }
        for text in ["", "30", "m", "3x", "1d12", "-1d", "99999999999999999999d", "9999999999999999999w"] {
            assert!(age(text).is_err(), "{text}");
        }
    }

    #[test]
    fn nothing_is_done_to_everything_by_leaving_something_out() {
        for command in ["hold", "release", "remove", "requeue", "bounce"] {
            assert!(parse(command).is_err(), "{command}");
            for select in
                ["--all", "0000000000001", "--sender <>", "--older-than 2d --recipient @x.example", "-"]
            {
                parse(&format!("{command} {select}")).unwrap();
            }
            assert!(parse(&format!("{command} --all --sender <>")).is_err());
            assert!(parse(&format!("{command} 123")).is_err());
            assert!(parse(&format!("{command} --dry-run")).is_err());
        }
        for command in ["flush", "list", "flush --destination local", "list --sender @x.example"] {
            parse(command).unwrap();
        }
    }
}
