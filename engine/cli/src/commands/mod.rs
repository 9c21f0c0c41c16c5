//! The commands.

mod activate;
mod auth;
mod build;
mod check;
mod deactivate;
mod foreground;
mod generations;
mod metrics;
mod operate;
mod plan;
mod queue;
mod reload;
mod resolved;
mod run;
mod show;
mod spool;
mod status;
mod trace;

use std::io::Write;

use anstream::stdout;
use mailstack_mta::control::Operation;
use mailstack_schema::host::Host;
use mailstack_schema::topology::Topology;
use mailstack_schema::{profiles, role_schema_text, schema_text};
use serde::Serialize;

use crate::args::{AuthCommand, Cli, Command, Language, QueueCommand};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::host::HostTree;
use crate::reference;

/// Does what the command line says.
pub fn run(cli: Cli) -> Result<Exit, Failure> {
    let host = || HostTree::below(&cli.global.root);
    match cli.command {
        Command::Init { role } => print(profiles::starter(role.into())),
        Command::Schema { language: Language::Host } => print(&schema_text::<Host>()),
        Command::Schema { language: Language::Topology } => print(&schema_text::<Topology>()),
        Command::Schema { language: Language::Role(role) } => print(&role_schema_text(role)),
        Command::Reference { part } => print(&reference::text(part)),
        Command::Check { files, json, resolved: true } => resolved::resolved(&files, json),
        Command::Check { files, json, resolved: false } => check::check(&files, json),
        Command::Trace(arguments) => trace::trace(&host()?, &arguments),
        Command::Auth { command: AuthCommand::Hash { user } } => auth::hash(&user),
        Command::Plan { file, json, exit_code } => plan::plan(&host()?, &file, json, exit_code),
        Command::Build { file, output } => build::build(&file, &output),
        Command::Apply { file, foreground: false, take_over, change } => {
            activate::apply(&host()?, &file, take_over, change)
        }
        Command::Apply { file, foreground: true, take_over, change } => {
            foreground::apply(host()?, &file, take_over, change)
        }
        Command::Deactivate { leave_queue, wait } => deactivate::deactivate(&host()?, leave_queue, wait),
        Command::Rollback { to, change } => activate::rollback(&host()?, to.as_deref(), change),
        Command::Gc { keep, wait, json } => generations::collect(&host()?, keep, wait, json),
        Command::Generations { json } => generations::generations(&host()?, json),
        Command::Status { json } => status::status(&host()?, json),
        Command::Run { config, exit_when_idle, detached, part } => {
            run::run(&host()?, config, exit_when_idle, detached, part)
        }
        Command::Stop { wait } => activate::stop(&host()?, wait),
        Command::Reload => reload::reload(&host()?),
        Command::Metrics { output } => metrics::metrics(&host()?, output.as_deref()),
        Command::Queue { command } => queue(&host()?, command),
    }
}

fn queue(host: &HostTree, command: QueueCommand) -> Result<Exit, Failure> {
    let operate = |operation, select, options| operate::operate(host, &operation, &select, options);
    match command {
        QueueCommand::List { limit, after, select, json } => queue::list(host, after, limit, &select, json),
        QueueCommand::Show { id, body, json } => show::show(host, id, body, json),
        QueueCommand::Flush { select, options } => queue::flush(host, &select, options),
        QueueCommand::Hold { select, options } => operate(Operation::Hold, select, options),
        QueueCommand::Release { select, options } => operate(Operation::Release, select, options),
        QueueCommand::Remove { select, options } => operate(Operation::Remove, select, options),
        QueueCommand::Requeue { select, options } => operate(Operation::Requeue, select, options),
        QueueCommand::Bounce { reason, select, options } => {
            operate(Operation::Bounce { reason }, select, options)
        }
        QueueCommand::Verify { json } => spool::verify(host, json),
        QueueCommand::Export { directory, json } => spool::export(host, &directory, json),
        QueueCommand::Import { directory, json } => spool::import(host, &directory, json),
    }
}

/// Prints data.
fn print(text: &str) -> Result<Exit, Failure> {
    write!(stdout(), "{text}")?;
    Ok(Exit::Done)
}

/// Prints data as JSON.
fn print_json(value: &impl Serialize) -> Result<Exit, Failure> {
    let text = serde_json::to_string_pretty(value).map_err(std::io::Error::from)?;
    print(&(text + "\n"))
}

/// The role of a declaration, as it is written.
fn role(declaration: &crate::declaration::Declaration) -> &'static str {
    mailstack_deploy::build::role_name(declaration.model.role())
}
