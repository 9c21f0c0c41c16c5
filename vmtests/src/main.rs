//! Topologies of real hosts: brings them up, sends mail through them, says what arrived.
//!
//! `mailstack-vmtests run FILE…` runs topologies at a level of proof. Runs the built `mailstack`, talks to it as
//! users and peers do, and links no part of the MTA. The hidden commands are this program in another part: the
//! first process of a host, a program entering one, the name server, the SMTP client.

mod agent;
mod backend;
mod bench;
mod check;
mod container;
mod dns;
mod evidence;
mod faults;
mod mailbox;
mod netns;
mod pipes;
mod plan;
mod policy;
mod report;
mod run;
mod served;
mod talk;
mod turns;
mod vm;
mod world;

use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use netns::host::{self, HostSpec, User};
use netns::namespaces as ns;

/// Brings up the hosts of a topology, sends mail through them and checks what arrives.
#[derive(Parser)]
#[command(name = "mailstack-vmtests", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run topologies: exit status 0 if every step passed, 1 if one failed or a file is wrong, 7 if this machine
    /// lacks what the level needs.
    Run(world::RunArguments),
    /// Say of topologies what they show, and at which levels they can run.
    List(world::ListArguments),
    /// Bring up the hosts of a topology in network namespaces, and give shells on them.
    Explore(world::RunArguments),
    /// Measure mailstack beside other MTAs: exit status 0 if every message arrived, 1 if one is missing, 7 if this
    /// machine lacks what it needs.
    Bench(bench::BenchArguments),
    #[command(hide = true)]
    Host,
    #[command(hide = true)]
    HostFirstProcess { root: PathBuf },
    #[command(hide = true)]
    Enter {
        pid: u32,
        user: String,
        id: u32,
        home: PathBuf,
        #[arg(last = true)]
        command: Vec<String>,
    },
    #[command(hide = true)]
    ServeDns { pid: u32 },
    #[command(hide = true)]
    ServeZones { file: PathBuf },
    #[command(hide = true)]
    Idle,
    #[command(hide = true)]
    Agent,
    #[command(hide = true)]
    AgentServe { port: PathBuf },
    #[command(hide = true)]
    Talk { pid: u32 },
}

fn main() -> ExitCode {
    if vm::guest::is_first() {
        let Err(error) = vm::guest::first_process();
        eprintln!("mailstack-vmtests: {error}");
        return ExitCode::FAILURE;
    }
    let done = match Arguments::parse().command {
        Command::Run(arguments) => world::run(&arguments),
        Command::List(arguments) => world::list(&arguments),
        Command::Explore(arguments) => world::explore(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Host => input().and_then(|spec: HostSpec| host::start(&spec)),
        Command::HostFirstProcess { root } => host::first_process(&root),
        Command::Enter { pid, user, id, home, command } => {
            host::enter(pid, &User { name: user, id, home }, &command)
        }
        Command::ServeDns { pid } => serve_dns(pid),
        Command::Talk { pid } => talk_from(pid),
        Command::ServeZones { file } => serve_zones(&file),
        Command::Idle => agent::idle(),
        Command::Agent => agent::once().map(|()| ExitCode::SUCCESS),
        Command::AgentServe { port } => agent::serve(&port).map(|()| ExitCode::SUCCESS),
    };
    done.unwrap_or_else(|error| {
        eprintln!("mailstack-vmtests: {error}");
        ExitCode::FAILURE
    })
}

fn serve_dns(pid: u32) -> io::Result<ExitCode> {
    ns::die_with_parent()?;
    ns::join_network(pid)?;
    serve(&input()?)
}

fn serve_zones(file: &std::path::Path) -> io::Result<ExitCode> {
    serve(&serde_json::from_slice(&std::fs::read(file)?)?)
}

fn serve(service: &dns::Service) -> io::Result<ExitCode> {
    let ready = || {
        // The runner waits for this line.
        println!("ready");
        let _ = io::stdout().flush();
    };
    dns::serve(service, ready).map_err(io::Error::other)?;
    Ok(ExitCode::SUCCESS)
}

fn talk_from(pid: u32) -> io::Result<ExitCode> {
    ns::die_with_parent()?;
    ns::join_network(pid)?;
    serde_json::to_writer(io::stdout(), &talk::talk(&input()?))?;
    Ok(ExitCode::SUCCESS)
}

fn input<T: serde::de::DeserializeOwned>() -> io::Result<T> {
    let mut json = String::new();
    io::stdin().read_to_string(&mut json)?;
    Ok(serde_json::from_str(&json)?)
}
