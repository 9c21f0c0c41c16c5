//! `mailstack reference`: what there is to know, made of the types that the program itself reads and writes.
//!
//! Owns the forms: Markdown, manual pages, completions. What is said stands in doc comments: of the schema's types, of
//! the command line, of exit codes and events.

mod commands;
mod comments;
mod page;

use clap::CommandFactory;
use clap_complete::Shell;
use mailstack_schema::host::Host;
use mailstack_schema::reference::markdown;
use mailstack_schema::topology::Topology;

use crate::args::{Cli, Part};

/// Returns a part of the reference.
pub fn text(part: Part) -> String {
    match part {
        Part::Commands => commands::markdown(&program()),
        Part::Host => markdown::<Host>(),
        Part::Topology => markdown::<Topology>(),
        Part::MailstackPage => page::of_program(&program()),
        Part::HostPage => page::of_language::<Host>(
            "what one host is for, as mailstack reads it",
            "One file in TOML declares one host: its role, and what the role needs. `mailstack check` says all that is \
             wrong with it, `mailstack apply` makes the host what it says. Unknown keys are errors.",
        ),
        Part::TopologyPage => page::of_language::<Topology>(
            "hosts, networks, zones, and what must come of what is sent",
            "One file in TOML names hosts with their host.toml, networks, DNS zones, and step by step what is sent and \
             what must come of it. `mailstack-vmtests` runs it. Unknown keys are errors.",
        ),
        Part::Bash => completions(Shell::Bash),
        Part::Fish => completions(Shell::Fish),
        Part::Zsh => completions(Shell::Zsh),
    }
}

/// The command line with everything that clap adds to it.
fn program() -> clap::Command {
    let mut program = Cli::command();
    program.build();
    program
}

fn completions(shell: Shell) -> String {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "mailstack", &mut text);
    String::from_utf8_lossy(&text).into_owned()
}
